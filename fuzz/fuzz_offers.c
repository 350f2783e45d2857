/* EHLO keywords: what is understood stays in its range, a line that is none changes nothing, and a reply heard
 * twice offers what it offered once. The input is the lines, with '\n' between. */
#include <stdint.h>
#include <string.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_offers(const ehlo_offers *offers)
{
    CHECK(offers->caps < 1U << 21 && offers->mechanisms < 1U << 11);
    CHECK(offers->mail_max <= 999999 && offers->rcpt_max <= 999999 && offers->rcpt_domain_max <= 999999);
    CHECK(offers->by_min <= 999999999 && offers->hold_max <= 999999999);
    CHECK(offers->size_max == 0 || offers->caps & EHLO_CAP_SIZE);
    CHECK(offers->mechanisms == 0 || offers->caps & EHLO_CAP_AUTH);
    CHECK((offers->mail_max | offers->rcpt_max | offers->rcpt_domain_max) == 0 || offers->caps & EHLO_CAP_LIMITS);
    CHECK(offers->by_min == 0 || offers->caps & EHLO_CAP_DELIVERBY);
    CHECK(offers->hold_max == 0 || offers->caps & EHLO_CAP_FUTURERELEASE);
}

static void hear_line(ehlo_str line, ehlo_offers *offers)
{
    ehlo_offers before = *offers;
    ehlo_str keyword, args;
    int result = ehlo_offer_parse(line, offers, &keyword, &args);
    CHECK(result == EHLO_OK || result == EHLO_ERR_SYNTAX);
    CHECK((result == EHLO_OK) == (keyword.len > 0));
    CHECK(is_within(keyword, line) && is_within(args, line));
    CHECK((before.caps & ~offers->caps) == 0 && (before.mechanisms & ~offers->mechanisms) == 0);
    if (result < 0) CHECK(memcmp(&before, offers, sizeof(before)) == 0);
    check_offers(offers);
}

static void hear(ehlo_str reply, ehlo_offers *offers)
{
    for (;;) {
        const char *end = reply.len > 0 ? memchr(reply.ptr, '\n', reply.len) : NULL;
        size_t len = end != NULL ? (size_t)(end - reply.ptr) : reply.len;
        hear_line(ehlo_str_make(reply.ptr, len), offers);
        if (end == NULL) return;
        reply = ehlo_str_make(end + 1, reply.len - len - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ehlo_str reply = ehlo_str_make((const char *)data, size);
    ehlo_offers once, twice;
    memset(&once, 0, sizeof(once));
    hear(reply, &once);
    twice = once;
    hear(reply, &twice);
    CHECK(memcmp(&once, &twice, sizeof(once)) == 0);
    return 0;
}
