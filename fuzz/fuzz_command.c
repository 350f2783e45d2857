/* Command lines and the arguments behind them. The first octet of the input is the leniencies. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_hello(ehlo_str argument, unsigned leniencies)
{
    ehlo_hello hello;
    ehlo_fault fault;
    int result = ehlo_hello_parse(EHLO_VERB_EHLO, argument, leniencies, &hello, &fault);
    check_result(result, fault, argument);
    CHECK((result == EHLO_OK) == (ehlo_domain_parse(argument, leniencies, NULL, NULL, NULL) == EHLO_OK));
    if (result == EHLO_OK) CHECK(same_text(hello.name, argument) && argument.len <= 255);
}

/* A number that was read is written and read again. */
static void check_bdat(ehlo_str argument)
{
    uint64_t size, again;
    int last, again_last;
    char text[40];
    ehlo_fault fault;
    int result = ehlo_bdat_parse(argument, &size, &last, &fault);
    check_result(result, fault, argument);
    if (result < 0) {
        CHECK(size == 0 && last == 0);
        return;
    }
    snprintf(text, sizeof(text), "%llu%s", (unsigned long long)size, last ? " LAST" : "");
    CHECK(ehlo_bdat_parse(ehlo_str_from(text), &again, &again_last, NULL) == EHLO_OK);
    CHECK(size == again && last == again_last);
}

static void check_auth(ehlo_str argument)
{
    ehlo_str mechanism, response;
    ehlo_fault fault;
    size_t len;
    int result = ehlo_auth_parse(argument, &mechanism, &response, &fault);
    check_result(result, fault, argument);
    if (result < 0) {
        CHECK(mechanism.len == 0 && response.ptr == NULL);
        return;
    }
    CHECK(mechanism.len > 0 && mechanism.len <= 20);
    CHECK(is_within(mechanism, argument) && is_within(response, argument));
    CHECK(ehlo_base64_decode(response, NULL, 0, &len, NULL) == EHLO_OK);
}

static void check_string(ehlo_str argument, unsigned leniencies)
{
    ehlo_str text;
    ehlo_fault fault;
    int utf8;
    int result = ehlo_string_parse(argument, leniencies, &text, &utf8, &fault);
    check_result(result, fault, argument);
    CHECK(is_within(text, argument) && (result == EHLO_OK) == (text.len > 0));
    CHECK(!utf8 || leniencies & EHLO_SYNTAX_UTF8);
    for (size_t i = 0; i < text.len; i++) CHECK((unsigned char)text.ptr[i] >= 32 && text.ptr[i] != 127);
    CHECK(ehlo_utf8_valid(text, NULL));
}

static void check_etrn(ehlo_str argument)
{
    char option;
    ehlo_str node;
    ehlo_fault fault;
    int result = ehlo_etrn_parse(argument, &option, &node, &fault);
    check_result(result, fault, argument);
    CHECK(is_within(node, argument) && (result == EHLO_OK) == (node.len > 0));
    if (result == EHLO_OK) CHECK(node.len + (option != '\0') == argument.len);
}

/* Verb, SP and argument make the same line again. */
static void check_line(const ehlo_command_line *line, ehlo_str text)
{
    ehlo_command_line again;
    CHECK(line->name.ptr == text.ptr && line->name.len > 0 && is_within(line->argument, text));
    size_t len = line->name.len;
    if (line->argument.ptr != NULL) len += 1 + line->argument.len;
    CHECK(ehlo_command_parse(ehlo_str_make(text.ptr, len), &again, NULL) == EHLO_OK);
    CHECK(line->verb == again.verb && same_text(line->name, again.name) && same_text(line->argument, again.argument));
    if (line->verb != EHLO_VERB_UNKNOWN) CHECK(ehlo_domain_equal(line->name, ehlo_verb_name(line->verb)));
    for (size_t i = 0; i < len; i++) {
        unsigned octet = (unsigned char)text.ptr[i];
        CHECK((octet >= 32 && octet != 127) || octet == '\t');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    unsigned leniencies = data[0] & 0x7F;
    ehlo_str text = ehlo_str_make((const char *)data + 1, size - 1);
    ehlo_command_line line;
    ehlo_fault fault;
    int result = ehlo_command_parse(text, &line, &fault);
    check_result(result, fault, text);
    if (result == EHLO_OK) check_line(&line, text);
    ehlo_str argument = result == EHLO_OK ? line.argument : text;
    check_hello(argument, leniencies);
    check_bdat(argument);
    check_auth(argument);
    check_string(argument, leniencies);
    check_etrn(argument);
    return 0;
}
