/* DNS: an answer that is taken keeps every promise of ehlo_dns_answer; one to another question never is; and a query
 * answered with its own question says that there is nothing. Of the input, the first octet chooses the type and (128)
 * a message that is all input; else how many authority records there are (4, 8), header flags (2), number of answers (2),
 * and the sections. */
#include <stdint.h>
#include <string.h>

#include <ehlo/dns.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ID = 0x1234, QUESTION_LEN = 27, ROOM = 65535 };

static const ehlo_dns_type types[] = { EHLO_DNS_A, EHLO_DNS_AAAA, EHLO_DNS_MX, EHLO_DNS_CNAME };
static const ehlo_str asked = { "a.example", 9 };

/* It is what may be asked, or the root. */
static void check_name(const ehlo_dns_name *name)
{
    char query[EHLO_DNS_QUERY_MAX];
    size_t len;
    ehlo_str text = ehlo_str_make(name->text, name->len);
    if (name->len == 1 && name->text[0] == '.') return;
    CHECK(ehlo_dns_query_write(ID, text, EHLO_DNS_A, query, sizeof(query), &len) == EHLO_OK);
}

static void check_record(const ehlo_dns_record *record, ehlo_dns_type type)
{
    int has_name = type == EHLO_DNS_MX || type == EHLO_DNS_CNAME;
    CHECK(record->type == type && record->ttl <= INT32_MAX);
    CHECK(record->refused <= has_name && (record->name.len > 0) == (has_name && !record->refused));
    if (record->name.len > 0) check_name(&record->name);
    ehlo_family family = type == EHLO_DNS_A      ? EHLO_FAMILY_IPV4
                         : type == EHLO_DNS_AAAA ? EHLO_FAMILY_IPV6
                                                 : EHLO_FAMILY_NONE;
    CHECK(record->address.family == family && record->address.port == 0);
}

static void check_answer(ehlo_dns_answer *answer, ehlo_dns_type type)
{
    ehlo_dns_record record;
    unsigned told = 0;
    unsigned count = answer->count;
    CHECK((answer->status == EHLO_DNS_FOUND) == (count > 0));
    CHECK(answer->aliases <= 10 && (answer->aliases == 0 || type != EHLO_DNS_CNAME));
    CHECK((answer->status == EHLO_DNS_NXDOMAIN) <= (answer->rcode == 3));
    check_name(&answer->canonical);
    while (ehlo_dns_next(answer, &record) == 1) {
        check_record(&record, type);
        told++;
    }
    CHECK(told == count);
    CHECK(ehlo_dns_next(answer, &record) == 0);
}

static void read_message(const char *bytes, size_t len, ehlo_dns_type type)
{
    ehlo_dns_answer answer;
    int result = ehlo_dns_answer_parse(bytes, len, ID, asked, type, &answer);
    CHECK(result == EHLO_OK || result == EHLO_ERR_STALE || result == EHLO_ERR_SYNTAX);
    if (result == EHLO_OK) check_answer(&answer, type);
    CHECK(ehlo_dns_answer_parse(bytes, len, ID, ehlo_str_from("b.example"), type, &answer) == EHLO_ERR_STALE ||
          result < 0);
    if (result != EHLO_ERR_STALE) {
        CHECK(ehlo_dns_answer_parse(bytes, len, ID + 1, asked, type, &answer) == EHLO_ERR_STALE);
    }
}

/* Our question, with the sections that the input is. */
static void read_sections(const uint8_t *data, size_t size, ehlo_dns_type type, unsigned authorities)
{
    static char bytes[ROOM];
    size_t len;
    if (size < 4 || size - 4 > ROOM - QUESTION_LEN) return;
    CHECK(ehlo_dns_query_write(ID, asked, type, bytes, sizeof(bytes), &len) == EHLO_OK && len == QUESTION_LEN);
    memcpy(bytes + 2, data, 2);
    memcpy(bytes + 6, data + 2, 2);
    bytes[9] = (char)authorities;
    memcpy(bytes + len, data + 4, size - 4);
    char *exact = malloc(len + size - 4);
    CHECK(exact != NULL);
    memcpy(exact, bytes, len + size - 4);
    read_message(exact, len + size - 4, type);
    free(exact);
}

/* A query says what was asked. */
static void ask(ehlo_str name, ehlo_dns_type type)
{
    char query[EHLO_DNS_QUERY_MAX];
    ehlo_dns_answer answer;
    size_t len;
    int result = ehlo_dns_query_write(ID, name, type, query, sizeof(query), &len);
    CHECK(result == EHLO_OK || (result == EHLO_ERR_ARG && len == 0));
    if (result < 0) return;
    CHECK(ehlo_dns_answer_parse(query, len, ID, name, type, &answer) == EHLO_ERR_STALE);
    query[2] = (char)(unsigned char)0x81;
    CHECK(ehlo_dns_answer_parse(query, len, ID, name, type, &answer) == EHLO_OK);
    CHECK(answer.status == EHLO_DNS_FAILED);
    query[3] = (char)(unsigned char)0x80;
    CHECK(ehlo_dns_answer_parse(query, len, ID, name, type, &answer) == EHLO_OK);
    CHECK(answer.status == EHLO_DNS_NODATA);
    size_t dot = name.len > answer.canonical.len;
    CHECK(
        same_text(ehlo_str_make(answer.canonical.text, answer.canonical.len), ehlo_str_make(name.ptr, name.len - dot)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    ehlo_dns_type type = types[data[0] & 3];
    ehlo_str rest = ehlo_str_make((const char *)data + 1, size - 1);
    if (data[0] & 128) {
        read_message(rest.ptr, rest.len, type);
        ask(rest, type);
    } else {
        read_sections(data + 1, size - 1, type, data[0] >> 2 & 3);
    }
    return 0;
}
