/* Routes: a plan has the best hosts of an answer in their order, and none that the policy forbids; a destination is its own
 * destination; what is ours is so in either family; schedules stay within their bounds. Of the input, the first octet
 * chooses which, and its settings. For a plan, header flags (2), number of answers (2), and the answer section follow. */
#include <stdint.h>
#include <string.h>

#include <ehlo/relay.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ID = 0x1234, QUESTION_LEN = 27, ROOM = 65535 };

static const ehlo_str asked = { "a.example", 9 };
static const ehlo_str own_names[] = { { "we.example", 10 }, { "a.example", 9 } };

/* -- plans ------------------------------------------------------------------------------------------ */

/* What the answer has, told without a plan. */
typedef struct facts {
    ehlo_dns_answer answer;
    size_t records, usable, dots;
    unsigned own_preference; /* 65536: we are not in it */
} facts;

static int is_own(const ehlo_relay_policy *policy, const ehlo_dns_name *name)
{
    for (size_t i = 0; i < policy->nown_names; i++) {
        if (ehlo_domain_equal(policy->own_names[i], ehlo_str_make(name->text, name->len))) return 1;
    }
    return 0;
}

/* Of numbers alone, four of them up to 255: an address. */
static int is_address(const ehlo_dns_name *name)
{
    ehlo_domain_kind kind;
    char literal[EHLO_DNS_NAME_MAX + 2] = "[";
    memcpy(literal + 1, name->text, name->len);
    literal[name->len + 1u] = ']';
    return ehlo_domain_parse(ehlo_str_make(literal, name->len + 2u), 0, &kind, NULL, NULL) == EHLO_OK &&
           kind == EHLO_DOMAIN_IPV4;
}

static int is_dot(const ehlo_dns_record *record)
{
    return record->name.len == 1 && record->name.text[0] == '.';
}

static int is_usable(const ehlo_dns_record *record)
{
    return !record->refused && !is_dot(record) && !is_address(&record->name);
}

static void gather(facts *f, const ehlo_relay_policy *policy)
{
    ehlo_dns_answer answer = f->answer;
    ehlo_dns_record record;
    f->own_preference = 65536;
    while (ehlo_dns_next(&answer, &record)) {
        f->records++;
        f->dots += !record.refused && is_dot(&record);
        if (is_usable(&record) && is_own(policy, &record.name) && record.preference < f->own_preference)
            f->own_preference = record.preference;
    }
    answer = f->answer;
    while (ehlo_dns_next(&answer, &record)) f->usable += is_usable(&record) && record.preference < f->own_preference;
}

/* How many records say this. */
static size_t count_records(const facts *f, const ehlo_mx *host)
{
    ehlo_dns_answer answer = f->answer;
    ehlo_dns_record record;
    size_t n = 0;
    while (ehlo_dns_next(&answer, &record)) {
        n += record.preference == host->preference && record.name.len == host->name.len &&
             memcmp(record.name.text, host->name.text, host->name.len) == 0;
    }
    return n;
}

/* How many usable records are better than the worst host of the plan: all of them are in it. */
static size_t count_better(const facts *f, unsigned preference)
{
    ehlo_dns_answer answer = f->answer;
    ehlo_dns_record record;
    size_t n = 0;
    while (ehlo_dns_next(&answer, &record)) n += is_usable(&record) && record.preference < preference;
    return n;
}

static void check_hosts(const facts *f, const ehlo_relay_policy *policy, const ehlo_mx *hosts, size_t n)
{
    size_t like = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(i == 0 || hosts[i - 1].preference <= hosts[i].preference);
        CHECK(hosts[i].preference < f->own_preference && !is_own(policy, &hosts[i].name));
        size_t times = 0;
        for (size_t k = 0; k < n; k++) times += memcmp(&hosts[k], &hosts[i], sizeof hosts[i]) == 0;
        CHECK(times <= count_records(f, &hosts[i]));
        like += hosts[i].preference < hosts[n - 1].preference;
    }
    CHECK(count_better(f, hosts[n - 1].preference) == like);
}

static void check_reason(const facts *f, const ehlo_relay_policy *policy, ehlo_route route)
{
    switch (f->answer.status) {
    case EHLO_DNS_NODATA:
        CHECK(route == EHLO_ROUTE_SELF && policy->nown_names > 1);
        return;
    case EHLO_DNS_NXDOMAIN:
        CHECK(route == EHLO_ROUTE_NO_DOMAIN);
        return;
    case EHLO_DNS_FOUND:
        CHECK(f->usable == 0);
        CHECK((route == EHLO_ROUTE_SELF) == (f->own_preference < 65536));
        CHECK((route == EHLO_ROUTE_NULL_MX) == (f->dots == f->records));
        CHECK(route == EHLO_ROUTE_SELF || route == EHLO_ROUTE_NULL_MX || route == EHLO_ROUTE_NO_HOST);
        return;
    default:
        CHECK(route == EHLO_ROUTE_UNKNOWN);
    }
}

static void check_plan(const facts *f, const ehlo_relay_policy *policy, size_t max, uint64_t seed)
{
    ehlo_mx hosts[EHLO_MX_MAX], again[EHLO_MX_MAX];
    size_t n, n_again;
    ehlo_dns_answer answer = f->answer;
    memset(hosts, 0, sizeof hosts);
    memset(again, 0, sizeof again);
    ehlo_route route = ehlo_mx_plan(&answer, asked, policy, seed, hosts, max, &n);
    answer = f->answer;
    CHECK(ehlo_mx_plan(&answer, asked, policy, seed, again, max, &n_again) == route && n_again == n);
    CHECK(memcmp(hosts, again, n * sizeof hosts[0]) == 0);
    CHECK((route == EHLO_ROUTE_FOUND) == (n > 0) && (route == EHLO_ROUTE_FOUND) == (ehlo_route_reply(route).code == 0));
    if (n == 0) {
        check_reason(f, policy, route);
    } else if (f->answer.status == EHLO_DNS_NODATA) {
        CHECK(n == 1 && hosts[0].preference == 0);
        CHECK(ehlo_domain_equal(ehlo_str_make(hosts[0].name.text, hosts[0].name.len), asked));
    } else {
        CHECK(n == (f->usable < max ? f->usable : max));
        check_hosts(f, policy, hosts, n);
    }
}

/* Our question, with the answer section that the input is. */
static void plan(unsigned settings, const uint8_t *data, size_t size)
{
    static char bytes[ROOM];
    size_t len;
    facts f = { .records = 0 };
    ehlo_relay_policy policy = { .own_names = own_names, .nown_names = settings % 3 };
    if (size < 4 || size - 4 > ROOM - QUESTION_LEN) return;
    CHECK(ehlo_dns_query_write(ID, asked, EHLO_DNS_MX, bytes, sizeof bytes, &len) == EHLO_OK && len == QUESTION_LEN);
    memcpy(bytes + 2, data, 2);
    memcpy(bytes + 6, data + 2, 2);
    memcpy(bytes + len, data + 4, size - 4);
    if (ehlo_dns_answer_parse(bytes, len + size - 4, ID, asked, EHLO_DNS_MX, &f.answer) != EHLO_OK) return;
    gather(&f, &policy);
    check_plan(&f, &policy, EHLO_MX_MAX, settings);
    check_plan(&f, &policy, 1, settings);
    check_plan(&f, &policy, 3, settings * UINT64_C(0x9E3779B97F4A7C15));
}

/* -- destinations ----------------------------------------------------------------------------------- */

static void check_matches(ehlo_str destination, ehlo_str node)
{
    int same = ehlo_domain_equal(destination, node);
    int below = destination.len > node.len && destination.ptr[destination.len - node.len - 1] == '.' &&
                ehlo_domain_equal(ehlo_str_make(destination.ptr + destination.len - node.len, node.len), node);
    if (node.len == 0) return;
    CHECK(ehlo_destination_matches(destination, 0, node) == same);
    CHECK(ehlo_destination_matches(destination, '@', node) == (same || (below && destination.ptr[0] != '[')));
    CHECK(ehlo_destination_matches(destination, 0, destination) == 1);
}

static void write_destination(ehlo_str text)
{
    static const ehlo_relay_policy policy;
    char out[256], mailbox[300] = "x@", again[256];
    size_t len, again_len;
    ehlo_path path;
    int result = ehlo_destination_write(&policy, text, out, sizeof out, &len);
    int is_mailbox = ehlo_mailbox_parse(text, EHLO_SYNTAX_UTF8 | EHLO_SYNTAX_LONG_LOCAL | EHLO_SYNTAX_UNDERSCORE, &path,
                                        NULL) == EHLO_OK;
    CHECK(result == EHLO_OK || result == EHLO_ERR_ARG);
    if (result != EHLO_OK) return;
    CHECK(is_mailbox && path.domain.len > 0);
    for (size_t i = 0; i < len; i++) CHECK((unsigned char)out[i] < 0x80);
    CHECK(len <= 255 && ehlo_domain_equal(ehlo_str_make(out, len), path.domain));
    for (size_t i = 0; i < len; i++) CHECK(out[i] < 'A' || out[i] > 'Z');
    memcpy(mailbox + 2, out, len);
    CHECK(ehlo_destination_write(&policy, ehlo_str_make(mailbox, len + 2), again, sizeof again, &again_len) == EHLO_OK);
    CHECK(same_text(ehlo_str_make(again, again_len), ehlo_str_make(out, len)));
    check_matches(ehlo_str_make(out, len), path.local_part);
}

/* -- addresses -------------------------------------------------------------------------------------- */

static void judge_address(unsigned settings, const uint8_t *data, size_t size)
{
    ehlo_address own = { .family = EHLO_FAMILY_IPV4 }, ipv4 = own, mapped = { .family = EHLO_FAMILY_IPV6 };
    if (size < 8) return;
    memcpy(own.octets, data, 4);
    memcpy(ipv4.octets, data + 4, 4);
    memset(mapped.octets + 10, 0xFF, 2);
    memcpy(mapped.octets + 12, data + 4, 4);
    ehlo_relay_policy policy = { .own_addresses = &own, .nown_addresses = 1, .allow_loopback = settings & 1 };
    int is_ours = ehlo_address_is_own(&policy, &ipv4);
    int is_zero = memcmp(data + 4, "\0\0\0\0", 4) == 0;
    CHECK(ehlo_address_is_own(&policy, &mapped) == is_ours);
    CHECK(is_ours == (memcmp(data, data + 4, 4) == 0 || is_zero || (data[4] == 127 && !policy.allow_loopback)));
}

/* -- schedules -------------------------------------------------------------------------------------- */

static void plan_retries(const uint8_t *data, size_t size)
{
    struct {
        ehlo_schedule schedule;
        uint32_t attempt;
        uint32_t unused;
        int64_t now, arrived;
        uint64_t seed;
    } input;
    if (size < sizeof input) return;
    memcpy(&input, data, sizeof input);
    const ehlo_schedule *s = &input.schedule;
    int64_t first = (s->first_s != 0 ? (int64_t)s->first_s : 1800) * 1000, now = input.now;
    int64_t most = (s->max_s != 0 ? (int64_t)s->max_s : 10800) * 1000;
    int64_t least = first < most ? first : most, latest = most + most / 8;
    int64_t next = ehlo_schedule_next(s, input.attempt, now, input.seed);
    int64_t sane = ehlo_schedule_sane(s, input.arrived, now);
    CHECK(next < EHLO_NEVER && sane < EHLO_NEVER && sane <= input.arrived);
    if (now < EHLO_NEVER - 1 - latest) {
        CHECK(next >= now + least && next <= now + latest);
        CHECK(sane <= now + latest && (sane == input.arrived || sane == now + latest));
        CHECK(ehlo_schedule_sane(s, next, now) == next);
    }
    if (ehlo_schedule_expired(s, input.arrived, now)) CHECK(now > input.arrived);
    if (ehlo_schedule_warns(s, input.arrived, now)) CHECK(now > input.arrived && s->warn_s != UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    if (data[0] < 128) {
        plan(data[0], data + 1, size - 1);
    } else if (data[0] < 192) {
        write_destination(ehlo_str_make((const char *)data + 1, size - 1));
    } else if (data[0] < 224) {
        judge_address(data[0], data + 1, size - 1);
    } else {
        plan_retries(data + 1, size - 1);
    }
    return 0;
}
