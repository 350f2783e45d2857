/* The reply reader: views lie in the text, a whole reply is walked to its end, and what is cleaned can be shown. Of
 * the input, the first octet is the room for cleaned text and the class of enhanced codes, the rest the reply. */
#include <stdint.h>
#include <string.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_separator(ehlo_str text, size_t at)
{
    return text.len - at >= 3 && memcmp(text.ptr + at, "\xe2\x80", 2) == 0 &&
           (text.ptr[at + 2] == '\xa8' || text.ptr[at + 2] == '\xa9');
}

static void check_clean(ehlo_str text, size_t cap)
{
    char out[256], again[256];
    size_t len, len_again;
    int cut = ehlo_text_clean(text, out, cap, &len);
    ehlo_str clean = ehlo_str_make(out, len);
    CHECK((cut == 0 || cut == 1) && len <= cap);
    CHECK(ehlo_utf8_valid(clean, NULL));
    for (size_t i = 0; i < len; i++) {
        CHECK((unsigned char)out[i] >= 0x20 && out[i] != 0x7F);
        CHECK(out[i] != '\xc2' || (unsigned char)out[i + 1] >= 0xA0);
        CHECK(!is_separator(clean, i));
    }
    CHECK(ehlo_text_clean(clean, again, sizeof(again), &len_again) == 0);
    CHECK(same_text(clean, ehlo_str_make(again, len_again)));
}

static void check_line(ehlo_str line)
{
    ehlo_reply_line out;
    ehlo_fault fault;
    int result = ehlo_reply_line_parse(line, &out, &fault);
    check_result(result, fault, line);
    if (result < 0) {
        CHECK(fault.rule == EHLO_RULE_REPLY && fault.offset <= 3);
        return;
    }
    CHECK(out.code < 100 || (out.code >= 200 && out.code <= 599));
    CHECK(out.text.ptr + out.text.len == line.ptr + line.len);
    CHECK(line.len - out.text.len == (line.len == 3 ? 3 : 4));
    CHECK(out.last == (line.len == 3 || line.ptr[3] == ' '));
}

static void check_enhanced(ehlo_str text, unsigned reply_class)
{
    uint16_t enhanced[3];
    size_t used;
    int result = ehlo_enhanced_parse(text, reply_class, enhanced, &used);
    CHECK(used <= text.len && (result == EHLO_OK) == (used > 0));
    CHECK(result == EHLO_OK || (enhanced[0] | enhanced[1] | enhanced[2]) == 0);
    if (result < 0) return;
    CHECK(enhanced[0] == reply_class && enhanced[1] <= 999 && enhanced[2] <= 999);
    CHECK(used == text.len || text.ptr[used - 1] == ' ');
}

/* Each step takes something, and every line that was taken has the first one's code. */
static void check_walk(ehlo_str raw)
{
    ehlo_str rest = raw, text;
    int next = 1;
    while (next == 1) {
        ehlo_str before = rest;
        next = ehlo_reply_next(&rest, &text);
        CHECK(rest.ptr + rest.len == raw.ptr + raw.len && is_within(text, raw));
        if (next != 1) {
            CHECK(rest.len == before.len && text.len == 0);
        } else {
            CHECK(rest.len < before.len && memcmp(before.ptr, raw.ptr, 3) == 0);
        }
    }
    CHECK(next == 0 ? rest.len == 0 : next == EHLO_ERR_SYNTAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    ehlo_str text = ehlo_str_make((const char *)data + 1, size - 1);
    check_line(text);
    check_walk(text);
    check_enhanced(text, data[0] % 10);
    check_clean(text, data[0]);
    return 0;
}
