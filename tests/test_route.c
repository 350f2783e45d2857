/* Where mail goes (RFC 5321 5.1, RFC 7505): the policy, destinations, the MX plan, what is our own. */
#include "table.h"

#include <ehlo/net.h>

#include "dns_message.h"
#include "seed.h"

/* -- a plan ----------------------------------------------------------------------------------------- */

enum { HOSTS_MAX = 32 };

static dns_message built;
static ehlo_str parsed; /* what the answer looks into */
static ehlo_dns_answer answer;

/* What a plan came to. Its hosts lie flush against an unreadable page. */
static struct {
    ehlo_route route;
    ehlo_mx *hosts;
    size_t max;
    size_t n;
} plan;

static void answer_now(const char *domain)
{
    if (parsed.ptr != NULL) unguard(parsed);
    parsed = guarded(ehlo_str_make(built.bytes, built.len));
    assert_int_equal(ehlo_dns_answer_parse(parsed.ptr, parsed.len, DNS_ID, ehlo_str_from(domain), EHLO_DNS_MX, &answer),
                     EHLO_OK);
}

/* Plans with what is built as the answer. */
static void make_plan(const char *domain, const ehlo_relay_policy *policy, uint64_t seed, size_t max)
{
    static const ehlo_mx nothing[HOSTS_MAX];
    answer_now(domain);
    if (plan.hosts != NULL) guard_free((char *)plan.hosts, plan.max * sizeof(ehlo_mx));
    plan.hosts = (void *)guard_copy(nothing, max * sizeof(ehlo_mx));
    plan.max = max;
    plan.n = 99;
    plan.route = ehlo_mx_plan(&answer, ehlo_str_from(domain), policy, seed, plan.hosts, max, &plan.n);
    assert_int_equal(plan.route == EHLO_ROUTE_FOUND, plan.n > 0);
    assert_true(plan.n <= max);
}

static ehlo_str host_name(size_t i)
{
    return ehlo_str_make(plan.hosts[i].name.text, plan.hosts[i].name.len);
}

/* "10 a.example 20 b.example" or what there is instead of records: "nodata", "nxdomain", "servfail", "truncated" */
static void build(const char *domain, const char *records)
{
    char target[300];
    unsigned preference;
    int used;
    unsigned flags = strcmp(records, "nxdomain") == 0    ? DNS_RESPONSE | DNS_NO_SUCH_NAME
                     : strcmp(records, "servfail") == 0  ? DNS_RESPONSE | DNS_SERVFAIL
                     : strcmp(records, "truncated") == 0 ? DNS_RESPONSE | DNS_TRUNCATION
                                                         : DNS_RESPONSE;
    dns_begin(&built, flags, domain, EHLO_DNS_MX);
    while (sscanf(records, " %u %299s%n", &preference, target, &used) == 2) {
        dns_add_mx(&built, domain, preference, strcmp(target, ".") == 0 ? "" : target);
        records += used;
    }
}

/* The plan as `records` has it. */
static const char *plan_text(void)
{
    static char text[HOSTS_MAX * 300];
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < plan.n; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u %.*s", i > 0 ? " " : "", plan.hosts[i].preference,
                                (int)plan.hosts[i].name.len, plan.hosts[i].name.text);
    }
    return text;
}

static void assert_plan(ehlo_route route, const char *hosts, const char *name)
{
    if (plan.route != route) fail_msg("%s: route %d, expected %d", name, plan.route, route);
    assert_text(ehlo_str_from(hosts), ehlo_str_from(plan_text()), "the plan", name);
}

/* -- routes ----------------------------------------------------------------------------------------- */

#define L61 "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvw"
#define LONGEST L61 "." L61 "." L61 "." L61 ".three"

typedef struct route_case {
    const char *records;
    const char *own; /* a name of ours, or NULL */
    ehlo_route route;
    const char *hosts;
} route_case;

/* Of the domain Example.ORG. */
static const route_case routes[] = {
    /* [C113] ascending preference, whatever the order of the records */
    { "10 a.x", NULL, EHLO_ROUTE_FOUND, "10 a.x" },
    { "0 a.x", NULL, EHLO_ROUTE_FOUND, "0 a.x" },
    { "65535 a.x", NULL, EHLO_ROUTE_FOUND, "65535 a.x" },
    { "30 c.x 10 a.x 20 b.x", NULL, EHLO_ROUTE_FOUND, "10 a.x 20 b.x 30 c.x" },
    { "65535 c.x 0 a.x 256 b.x 255 z.x", NULL, EHLO_ROUTE_FOUND, "0 a.x 255 z.x 256 b.x 65535 c.x" },
    { "10 mx_1.x", NULL, EHLO_ROUTE_FOUND, "10 mx_1.x" },
    { "10 " LONGEST, NULL, EHLO_ROUTE_FOUND, "10 " LONGEST },

    /* [C114] [C118] no MX: the domain is its own host */
    { "nodata", NULL, EHLO_ROUTE_FOUND, "0 example.org" },
    { "nodata", "other.example", EHLO_ROUTE_FOUND, "0 example.org" },
    { "nodata", "EXAMPLE.org", EHLO_ROUTE_SELF, "" },

    /* [C118] */
    { "nxdomain", NULL, EHLO_ROUTE_NO_DOMAIN, "" },
    { "servfail", NULL, EHLO_ROUTE_UNKNOWN, "" },
    { "truncated", NULL, EHLO_ROUTE_UNKNOWN, "" },

    /* [C116] [Q05] ours, and all that is not preferred to it */
    { "10 a.x", "a.x", EHLO_ROUTE_SELF, "" },
    { "10 a.x", "A.X", EHLO_ROUTE_SELF, "" },
    { "10 a.x 20 we.x 30 c.x", "We.X", EHLO_ROUTE_FOUND, "10 a.x" },
    { "10 we.x 20 b.x 30 c.x", "we.x", EHLO_ROUTE_SELF, "" },
    { "10 b.x 10 we.x", "we.x", EHLO_ROUTE_SELF, "" },
    { "10 a.x 20 b.x 20 we.x 20 c.x", "we.x", EHLO_ROUTE_FOUND, "10 a.x" },
    { "10 a.x 20 b.x 30 we.x", "we.x", EHLO_ROUTE_FOUND, "10 a.x 20 b.x" },
    { "10 a.x 20 we.x 15 we.x 16 b.x", "we.x", EHLO_ROUTE_FOUND, "10 a.x" },
    { "10 notwe.x 20 b.we.x", "we.x", EHLO_ROUTE_FOUND, "10 notwe.x 20 b.we.x" },
    { "5 . 10 we.x", "we.x", EHLO_ROUTE_SELF, "" },
    { "5 a!b.x 10 we.x", "we.x", EHLO_ROUTE_SELF, "" },

    /* [C121] [C122] [Q06] the null MX */
    { "0 .", NULL, EHLO_ROUTE_NULL_MX, "" },
    { "0 .", "we.x", EHLO_ROUTE_NULL_MX, "" },
    { "0 . 10 a.x", NULL, EHLO_ROUTE_FOUND, "10 a.x" },
    { "10 a.x 0 .", NULL, EHLO_ROUTE_FOUND, "10 a.x" },
    { "10 a.x 20 . 30 b.x", NULL, EHLO_ROUTE_FOUND, "10 a.x 30 b.x" },

    /* [C115] [C117] [Q06] there are records, but no host: the domain's addresses do not take their place */
    { "10 192.0.2.1", NULL, EHLO_ROUTE_NO_HOST, "" },
    { "10 127.0.0.1", NULL, EHLO_ROUTE_NO_HOST, "" },
    { "10 [192.0.2.1]", NULL, EHLO_ROUTE_NO_HOST, "" },
    { "10 a!b.x", NULL, EHLO_ROUTE_NO_HOST, "" },
    { "10 a!b.x 20 192.0.2.1", NULL, EHLO_ROUTE_NO_HOST, "" },
    { "10 a!b.x 0 .", NULL, EHLO_ROUTE_NO_HOST, "" },
    { "10 192.0.2.1 20 b.x", NULL, EHLO_ROUTE_FOUND, "20 b.x" },
    { "10 a!b.x 20 b.x", NULL, EHLO_ROUTE_FOUND, "20 b.x" },
    { "10 4.3.2.1.in-addr.arpa", NULL, EHLO_ROUTE_FOUND, "10 4.3.2.1.in-addr.arpa" },
    { "10 1.2.3.4x", NULL, EHLO_ROUTE_FOUND, "10 1.2.3.4x" },
};

/* [C113] [C114] [C115] [C116] [C117] [C118] [C121] [C122] [Q05] [Q06] */
static void records_lead_to_hosts_in_order_or_to_the_reason_why_there_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(routes); i++) {
        const route_case *c = &routes[i];
        ehlo_str own = ehlo_str_from(c->own);
        ehlo_relay_policy policy = { .own_names = &own, .nown_names = c->own != NULL };
        for (uint64_t seed = 0; seed < 20; seed++) {
            build("Example.ORG", c->records);
            make_plan("Example.ORG", c->own == NULL && seed % 2 ? NULL : &policy, seed_of(seed), EHLO_MX_MAX);
            assert_plan(c->route, c->hosts, c->records);
        }
    }
}

static void each_of_our_names_counts(void **state) /* [C116] */
{
    (void)state;
    ehlo_str own[] = { TEXT("one.x"), TEXT("two.x"), TEXT("three.x") };
    ehlo_relay_policy policy = { .own_names = own, .nown_names = COUNT(own) };
    for (size_t i = 0; i < COUNT(own); i++) {
        char records[100];
        snprintf(records, sizeof(records), "5 a.x 10 b.x 10 %.*s", (int)own[i].len, own[i].ptr);
        build("x.org", records);
        make_plan("x.org", &policy, 1, EHLO_MX_MAX);
        assert_plan(EHLO_ROUTE_FOUND, "5 a.x", records);
    }
}

/* RFC 5321 5.1: "the aliased name is treated as if it were the initial name"; without MX it is the domain itself that is
 * looked up again. */
static void aliases_lead_to_the_records_behind_them(void **state) /* [C117] */
{
    (void)state;
    dns_begin(&built, DNS_RESPONSE, "alias.x", EHLO_DNS_MX);
    dns_add_cname(&built, "alias.x", "real.x");
    dns_add_mx(&built, "real.x", 10, "a.x");
    make_plan("alias.x", NULL, 1, EHLO_MX_MAX);
    assert_plan(EHLO_ROUTE_FOUND, "10 a.x", "an alias with MX");
    dns_begin(&built, DNS_RESPONSE, "alias.x", EHLO_DNS_MX);
    dns_add_cname(&built, "alias.x", "real.x");
    make_plan("alias.x", NULL, 1, EHLO_MX_MAX);
    assert_plan(EHLO_ROUTE_FOUND, "0 alias.x", "an alias without MX");
    static const ehlo_str own = TEXT("Real.X");
    const ehlo_relay_policy policy = { .own_names = &own, .nown_names = 1 };
    dns_begin(&built, DNS_RESPONSE, "alias.x", EHLO_DNS_MX);
    dns_add_cname(&built, "alias.x", "real.x");
    make_plan("alias.x", &policy, 1, EHLO_MX_MAX);
    assert_plan(EHLO_ROUTE_SELF, "", "an alias of ours without MX"); /* [C116] */
}

/* -- equal preferences ------------------------------------------------------------------------------ */

enum { FACTORIAL_4 = 24, ROUNDS = 24000 };

/* Which of the 24 orders of a.x b.x c.x d.x it is, behind the first `skip` hosts. */
static unsigned order_of(size_t skip)
{
    unsigned number = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned smaller = 0;
        for (size_t k = i + 1; k < 4; k++) smaller += host_name(skip + k).ptr[0] < host_name(skip + i).ptr[0];
        number = number * (unsigned)(4 - i) + smaller;
    }
    return number;
}

/* Each of 24 orders is to come 1000 times of 24000; 150 are almost five standard deviations (31). The seeds are fixed,
 * and so is the result. */
static void equal_preferences_are_shuffled_so_that_each_order_is_as_likely(void **state) /* [C113] */
{
    (void)state;
    unsigned counts[FACTORIAL_4] = { 0 };
    for (uint64_t i = 0; i < ROUNDS; i++) {
        build("x.org", "20 a.x 5 first.x 20 b.x 20 c.x 30 last.x 20 d.x");
        make_plan("x.org", NULL, seed_of(i), EHLO_MX_MAX);
        assert_int_equal(plan.n, 6);
        assert_text(ehlo_str_from("first.x"), host_name(0), "the best", "equal preferences");
        assert_text(ehlo_str_from("last.x"), host_name(5), "the last", "equal preferences");
        counts[order_of(1)]++;
    }
    for (size_t i = 0; i < FACTORIAL_4; i++) assert_in_range(counts[i], 850, 1150);
}

static void the_same_seed_gives_the_same_order(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        char first[HOSTS_MAX * 300];
        build("x.org", "20 a.x 20 b.x 20 c.x 20 d.x 10 e.x 10 f.x");
        make_plan("x.org", NULL, seed_of(i), EHLO_MX_MAX);
        strcpy(first, plan_text());
        build("x.org", "20 a.x 20 b.x 20 c.x 20 d.x 10 e.x 10 f.x");
        make_plan("x.org", NULL, seed_of(i), EHLO_MX_MAX);
        assert_string_equal(first, plan_text());
    }
}

static size_t number_of(ehlo_str name)
{
    return (size_t)strtoul(name.ptr + 1, NULL, 10);
}

static void build_numbered(size_t n, unsigned (*preference)(size_t i))
{
    dns_begin(&built, DNS_RESPONSE, "x.org", EHLO_DNS_MX);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "m%zu.example", i);
        dns_add_mx(&built, "x.org", preference(i), name);
    }
}

static unsigned alike(size_t i)
{
    (void)i;
    return 10;
}

/* Those that are a multiple of three are worse. */
static unsigned alike_but_a_third(size_t i)
{
    return i % 3 == 0 ? 20 : 10;
}

/* Of 32 that are as good there is room for 16. Each is in for half of the time: none is left out for ever because of where
 * it stands in the answer. 400 of 800 are due, and 85 are six standard deviations (14); 25 to be the first. */
static void check_those_without_room(size_t total, unsigned (*preference)(size_t i))
{
    enum { TRIES = 800, TOTAL_MAX = 48 };
    unsigned counts[TOTAL_MAX] = { 0 }, firsts[TOTAL_MAX] = { 0 };
    for (uint64_t i = 0; i < TRIES; i++) {
        build_numbered(total, preference);
        make_plan("x.org", NULL, seed_of(i), EHLO_MX_MAX);
        assert_int_equal(plan.n, EHLO_MX_MAX);
        for (size_t k = 0; k < plan.n; k++) counts[number_of(host_name(k))]++;
        firsts[number_of(host_name(0))]++;
    }
    for (size_t i = 0; i < total; i++) {
        int is_good = preference(i) == 10;
        assert_in_range(counts[i], is_good ? 315 : 0, is_good ? 485 : 0);
        assert_in_range(firsts[i], is_good ? 5 : 0, is_good ? 50 : 0);
    }
}

static void those_that_have_no_room_change_from_seed_to_seed(void **state) /* [C113] [Q06] */
{
    (void)state;
    check_those_without_room(2 * EHLO_MX_MAX, alike);
    check_those_without_room(3 * EHLO_MX_MAX, alike_but_a_third);
}

/* -- many targets ----------------------------------------------------------------------------------- */

enum { MANY = 500 };

/* 0 to 499, in no order. */
static unsigned scattered(size_t i)
{
    return (unsigned)(i * 263 % MANY);
}

static void of_500_targets_the_best_are_taken(void **state) /* [Q06] */
{
    (void)state;
    for (size_t max = 1; max <= EHLO_MX_MAX; max++) {
        build_numbered(MANY, scattered);
        make_plan("x.org", NULL, seed_of(max), max);
        assert_int_equal(plan.route, EHLO_ROUTE_FOUND);
        assert_int_equal(plan.n, max);
        for (size_t i = 0; i < max; i++) {
            assert_int_equal(plan.hosts[i].preference, i);
            assert_int_equal(scattered(number_of(host_name(i))), i);
        }
    }
}

/* Ours has no room in the plan, or is found last: it cuts off all the same. */
static void ours_among_500_cuts_off_wherever_it_stands(void **state) /* [Q05] [Q06] [C116] */
{
    (void)state;
    for (size_t i = 0; i < MANY; i += 7) {
        char own_text[32];
        snprintf(own_text, sizeof(own_text), "M%zu.EXAMPLE", i);
        ehlo_str own = ehlo_str_from(own_text);
        ehlo_relay_policy policy = { .own_names = &own, .nown_names = 1 };
        size_t better = scattered(i);
        build_numbered(MANY, scattered);
        make_plan("x.org", &policy, seed_of(i), EHLO_MX_MAX);
        assert_int_equal(plan.route, better > 0 ? EHLO_ROUTE_FOUND : EHLO_ROUTE_SELF);
        assert_int_equal(plan.n, better < EHLO_MX_MAX ? better : EHLO_MX_MAX);
        for (size_t k = 0; k < plan.n; k++) assert_int_equal(plan.hosts[k].preference, k);
        build_numbered(MANY, alike);
        make_plan("x.org", &policy, seed_of(i), EHLO_MX_MAX);
        assert_int_equal(plan.route, EHLO_ROUTE_SELF);
    }
}

static void what_is_no_host_takes_nobodys_room(void **state) /* [C117] [Q06] */
{
    (void)state;
    dns_begin(&built, DNS_RESPONSE, "x.org", EHLO_DNS_MX);
    for (size_t i = 0; i < 100; i++) dns_add_mx(&built, "x.org", 1, i % 2 ? "192.0.2.1" : "a!b.x");
    dns_add_mx(&built, "x.org", 0, "");
    dns_add_mx(&built, "x.org", 2, "good.x");
    make_plan("x.org", NULL, 1, 1);
    assert_plan(EHLO_ROUTE_FOUND, "2 good.x", "a good one behind a hundred");
}

/* -- the replies that stand for routes -------------------------------------------------------------- */

typedef struct reply_case {
    ehlo_route route;
    uint16_t code;
    uint16_t enhanced[3];
} reply_case;

static const reply_case route_replies[] = {
    { EHLO_ROUTE_UNKNOWN, 451, { 4, 4, 3 } },   /* [C118] */
    { EHLO_ROUTE_NO_DOMAIN, 550, { 5, 1, 2 } }, /* [C118] */
    { EHLO_ROUTE_NULL_MX, 556, { 5, 1, 10 } },  /* [C121] */
    { EHLO_ROUTE_SELF, 554, { 5, 4, 6 } },      /* [C116] [Q04] */
    { EHLO_ROUTE_NO_HOST, 550, { 5, 4, 4 } },   /* [C115] */
};

static void each_route_that_leads_nowhere_has_a_reply(void **state) /* [C115] [C116] [C118] [C121] [Q04] */
{
    (void)state;
    assert_int_equal(ehlo_route_reply(EHLO_ROUTE_FOUND).code, 0);
    for (size_t i = 0; i < COUNT(route_replies); i++) {
        const reply_case *c = &route_replies[i];
        ehlo_reply reply = ehlo_route_reply(c->route);
        assert_int_equal(reply.code, c->code);
        assert_memory_equal(reply.enhanced, c->enhanced, sizeof(c->enhanced));
        assert_true(reply.text.len > 0);
        assert_int_equal(ehlo_reply_check(&reply, 0, NULL), EHLO_OK);
        assert_null(memchr(reply.text.ptr, '\n', reply.text.len));
        for (size_t k = 0; k < i; k++)
            assert_false(same_text(reply.text, ehlo_route_reply(route_replies[k].route).text));
    }
}

/* -- what is ours ----------------------------------------------------------------------------------- */

typedef struct own_case {
    const char *address;
    uint8_t by_default;
    uint8_t with_loopback_allowed;
    uint8_t with_both_in_own_addresses;
} own_case;

/* own_addresses are 192.0.2.9, 127.0.0.1, 2001:db8::9 and ::1. */
static const own_case own_cases[] = {
    { "192.0.2.1:25", 0, 0, 0 },
    { "192.0.2.9:25", 0, 0, 1 },
    { "192.0.2.9:2525", 0, 0, 1 },
    { "[2001:db8::1]:25", 0, 0, 0 },
    { "[2001:db8::9]:25", 0, 0, 1 },
    /* [Q04] */
    { "0.0.0.0:25", 1, 1, 1 },
    { "[::]:25", 1, 1, 1 },
    { "127.0.0.1:25", 1, 0, 1 },
    { "127.0.0.1:0", 1, 0, 1 },
    { "127.0.0.2:25", 1, 0, 0 },
    { "127.255.255.255:25", 1, 0, 0 },
    { "126.255.255.255:25", 0, 0, 0 },
    { "128.0.0.0:25", 0, 0, 0 },
    { "[::1]:25", 1, 0, 1 },
    { "[::2]:25", 0, 0, 0 },
    { "[1::1]:25", 0, 0, 0 },
    { "[7f00::]:25", 0, 0, 0 },
    /* IPv4 in IPv6 (RFC 4291 2.5.5.2) is where the IPv4 address leads. */
    { "[::ffff:127.0.0.1]:25", 1, 0, 1 },
    { "[::ffff:127.9.9.9]:25", 1, 0, 0 },
    { "[::ffff:0.0.0.0]:25", 1, 1, 1 },
    { "[::ffff:192.0.2.9]:25", 0, 0, 1 },
    { "[::ffff:192.0.2.1]:25", 0, 0, 0 },
};

static ehlo_address address_of(const char *text)
{
    ehlo_address address;
    if (ehlo_address_parse(ehlo_str_from(text), &address) != EHLO_OK) fail_msg("%s is no address", text);
    return address;
}

static void loopback_unspecified_and_named_addresses_are_ours(void **state) /* [Q04] */
{
    (void)state;
    ehlo_address own[] = { address_of("192.0.2.9:25"), address_of("127.0.0.1:25"), address_of("[2001:db8::9]:25"),
                           address_of("[::1]:25") };
    ehlo_relay_policy by_default = { 0 }, allows = { .allow_loopback = 1 };
    ehlo_relay_policy named = { .allow_loopback = 1, .own_addresses = own, .nown_addresses = COUNT(own) };
    for (size_t i = 0; i < COUNT(own_cases); i++) {
        const own_case *c = &own_cases[i];
        ehlo_address address = address_of(c->address);
        int got[] = { ehlo_address_is_own(&by_default, &address), ehlo_address_is_own(&allows, &address),
                      ehlo_address_is_own(&named, &address) };
        if (got[0] != c->by_default || got[1] != c->with_loopback_allowed || got[2] != c->with_both_in_own_addresses)
            fail_msg("%s: %d %d %d", c->address, got[0], got[1], got[2]);
    }
}

/* Only what belongs to the family counts: the octets behind an IPv4 address are anything. */
static void octets_behind_an_ipv4_address_do_not_count(void **state) /* [Q04] */
{
    (void)state;
    ehlo_address own = address_of("192.0.2.9:25"), other = own;
    memset(other.octets + 4, 0xAA, sizeof(other.octets) - 4);
    ehlo_relay_policy policy = { .own_addresses = &own, .nown_addresses = 1 };
    assert_int_equal(ehlo_address_is_own(&policy, &other), 1);
    ehlo_address looks_alike = { .family = EHLO_FAMILY_IPV6, .octets = { 192, 0, 2, 9 } };
    assert_int_equal(ehlo_address_is_own(&policy, &looks_alike), 0);
}

/* -- destinations ----------------------------------------------------------------------------------- */

typedef struct destination_case {
    ehlo_str mailbox;
    ehlo_str destination; /* empty: refused */
    ehlo_str smart;       /* with a smart host: Smart.Example */
} destination_case;

#define SMART TEXT("smart.example")

static const destination_case destinations[] = {
    { TEXT("a@example.org"), TEXT("example.org"), SMART },
    { TEXT("A.b+c@EXAMPLE.Org"), TEXT("example.org"), SMART },
    { TEXT("a@b"), TEXT("b"), SMART },
    { TEXT("a@AZ.az-09"), TEXT("az.az-09"), SMART },
    { TEXT("\"a@b\"@C.example"), TEXT("c.example"), SMART },
    { TEXT("\"a\\\"@x.example\"@D.example"), TEXT("d.example"), SMART },
    { TEXT("a@[192.0.2.1]"), TEXT("[192.0.2.1]"), SMART },
    { TEXT("a@[IPv6:2001:DB8::1]"), TEXT("[ipv6:2001:db8::1]"), SMART },
    { TEXT("a@B\xc3\xbc"
           "CHER.Example"),
      TEXT(""), SMART }, /* no name that DNS may be asked for */
    { TEXT("a@192.0.2.1"), TEXT(""), SMART },
    { TEXT("a@[x:192.0.2.1]"), TEXT(""), SMART },
    { TEXT("a@" LONGEST), TEXT(LONGEST), SMART },
    { TEXT("postmaster"), TEXT(""), SMART },
    { TEXT("PostMaster"), TEXT(""), SMART },
    { TEXT(""), TEXT(""), TEXT("") },
    { TEXT("someone"), TEXT(""), TEXT("") },
    { TEXT("a@"), TEXT(""), TEXT("") },
    { TEXT("@b.example"), TEXT(""), TEXT("") },
    { TEXT("a@b.example "), TEXT(""), TEXT("") },
    { TEXT("a@b.example\r\n"), TEXT(""), TEXT("") },
    { TEXT("a@b.example\0"), TEXT(""), TEXT("") },
    { TEXT("a@b..example"), TEXT(""), TEXT("") },
    { TEXT("a@b/../../etc"), TEXT(""), TEXT("") },
    { TEXT("a b@c.example"), TEXT(""), TEXT("") },
    { TEXT("<a@b.example>"), TEXT(""), TEXT("") },
    { TEXT("a@[300.0.0.1]"), TEXT(""), TEXT("") },
};

static void check_destination(const ehlo_relay_policy *policy, ehlo_str mailbox, ehlo_str expected)
{
    ehlo_str text = guarded(mailbox);
    size_t len = 99;
    char *out = guard_copy(expected.ptr, expected.len);
    int result = ehlo_destination_write(policy, text, out, expected.len, &len);
    if (expected.len == 0) {
        if (result != EHLO_ERR_ARG) fail_msg("%.*s: %d, expected a refusal", (int)mailbox.len, mailbox.ptr, result);
    } else {
        assert_int_equal(result, EHLO_OK);
        assert_text(expected, ehlo_str_make(out, len), "the destination", mailbox.ptr);
    }
    guard_free(out, expected.len);
    for (size_t cap = 0; cap < expected.len; cap++) {
        char *little = guard_copy(expected.ptr, cap);
        assert_int_equal(ehlo_destination_write(policy, text, little, cap, &len), EHLO_ERR_SPACE);
        assert_int_equal(len, expected.len);
        guard_free(little, cap);
    }
    unguard(text);
}

static void a_destination_is_the_domain_in_lower_case_or_the_first_smart_host(void **state)
{
    (void)state;
    static const ehlo_host hosts[] = { { .name = TEXT("Smart.Example") }, { .name = TEXT("second.example") } };
    ehlo_relay_policy direct = { 0 }, smart = { .smart_hosts = hosts, .nsmart_hosts = COUNT(hosts) };
    for (size_t i = 0; i < COUNT(destinations); i++) {
        check_destination(&direct, destinations[i].mailbox, destinations[i].destination);
        check_destination(&smart, destinations[i].mailbox, destinations[i].smart);
    }
}

typedef struct match_case {
    const char *destination;
    char option;
    const char *node;
    int matches;
} match_case;

/* RFC 1985 5.3: '@' asks for the node and all below it. */
static const match_case matches[] = {
    { "example.org", 0, "example.org", 1 },
    { "example.org", 0, "EXAMPLE.Org", 1 },
    { "a.example.org", 0, "example.org", 0 },
    { "example.org", 0, "a.example.org", 0 },
    { "example.org", 0, "example.or", 0 },
    { "example.org", 0, "", 0 },
    { "example.org", '@', "example.org", 1 },
    { "a.example.org", '@', "Example.ORG", 1 },
    { "b.a.example.org", '@', "example.org", 1 },
    { "notexample.org", '@', "example.org", 0 },
    { "example.org", '@', "a.example.org", 0 },
    { "org", '@', "example.org", 0 },
    { "example.org", '@', "", 0 },
    { "example.org", '@', "org", 1 },
    { "example.org", '#', "example.org", 0 },
    { "[192.0.2.1]", 0, "[192.0.2.1]", 1 },
    { "[192.0.2.1]", 0, "[192.0.2.2]", 0 },
    { "[192.0.2.1]", '@', "[192.0.2.1]", 1 },
    { "[192.0.2.1]", '@', "1]", 0 },
};

static void etrn_means_a_domain_or_all_below_it(void **state) /* [C221] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(matches); i++) {
        const match_case *c = &matches[i];
        ehlo_str destination = guarded(ehlo_str_from(c->destination)), node = guarded(ehlo_str_from(c->node));
        if (ehlo_destination_matches(destination, c->option, node) != c->matches)
            fail_msg("%s, %c%s", c->destination, c->option ? c->option : ' ', c->node);
        unguard(destination);
        unguard(node);
    }
}

/* -- policy ----------------------------------------------------------------------------------------- */

typedef struct policy_case {
    const char *own_name;   /* NULL: none */
    const char *smart_name; /* NULL: none */
    ehlo_relay_policy policy;
    int result;
} policy_case;

static const policy_case policies[] = {
    { NULL, NULL, { 0 }, EHLO_OK },
    { "mx.example", "smart.example", { 0 }, EHLO_OK },
    { "[192.0.2.1]", "192.0.2.1", { 0 }, EHLO_OK },
    { NULL, "[192.0.2.1]", { 0 }, EHLO_OK },
    { NULL, "[IPv6:2001:db8::1]", { 0 }, EHLO_OK },
    { NULL, "2001:db8::1", { 0 }, EHLO_OK },
    { NULL, NULL, { .addresses_max = 2 }, EHLO_OK },
    { NULL, NULL, { .addresses_max = UINT32_MAX }, EHLO_OK },
    { NULL, NULL, { .uncertain = EHLO_UNCERTAIN_TRUST }, EHLO_OK },
    { NULL, NULL, { .schedule = { 1, 1, 1, UINT32_MAX } }, EHLO_OK },
    /* RFC 5321 5.1: "the SMTP client SHOULD try at least two addresses" */
    { NULL, NULL, { .addresses_max = 1 }, EHLO_ERR_ARG },
    { NULL, NULL, { .uncertain = EHLO_UNCERTAIN_TRUST + 1 }, EHLO_ERR_ARG },
    { NULL, NULL, { .uncertain = 255 }, EHLO_ERR_ARG },
    { "", NULL, { 0 }, EHLO_ERR_ARG },
    { "a..b", NULL, { 0 }, EHLO_ERR_ARG },
    { "mx.example\r\n", NULL, { 0 }, EHLO_ERR_ARG },
    { "mx example", NULL, { 0 }, EHLO_ERR_ARG },
    { NULL, "", { 0 }, EHLO_ERR_ARG },
    { NULL, "a..b", { 0 }, EHLO_ERR_ARG },
    { NULL, "smart.example\n", { 0 }, EHLO_ERR_ARG },
    { NULL, "[300.0.0.1]", { 0 }, EHLO_ERR_ARG },
    { NULL, "[192.0.2.1", { 0 }, EHLO_ERR_ARG },
    { NULL, "smart.example:25", { 0 }, EHLO_ERR_ARG },
};

static void a_policy_is_judged_beforehand(void **state) /* [C119] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(policies); i++) {
        const policy_case *c = &policies[i];
        ehlo_relay_policy policy = c->policy;
        ehlo_str good = ehlo_str_from("good.example");
        size_t bad = i % 2; /* the other one is good */
        ehlo_str own[] = { good, good };
        ehlo_host smart[] = { { .name = good }, { .name = good } };
        own[bad] = guarded(ehlo_str_from(c->own_name));
        smart[bad].name = guarded(ehlo_str_from(c->smart_name));
        policy.own_names = own;
        policy.nown_names = c->own_name != NULL ? 2 : 0;
        policy.smart_hosts = smart;
        policy.nsmart_hosts = c->smart_name != NULL ? 2 : 0;
        if (ehlo_relay_policy_check(&policy) != c->result) fail_msg("policy %zu is judged otherwise", i);
        unguard(own[bad]);
        unguard(smart[bad].name);
    }
}

/* Of a struct of an older header only what it has is looked at. */
static void members_that_a_caller_does_not_have_are_defaults(void **state)
{
    (void)state;
    ehlo_relay_policy policy = { .uncertain = 99, .addresses_max = 1 };
    char *old = guard_copy(&policy, offsetof(ehlo_relay_policy, uncertain));
    assert_int_equal(ehlo_relay_policy_check_sized((const void *)old, offsetof(ehlo_relay_policy, uncertain)), EHLO_OK);
    guard_free(old, offsetof(ehlo_relay_policy, uncertain));
    assert_int_equal(ehlo_relay_policy_check(&policy), EHLO_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_lead_to_hosts_in_order_or_to_the_reason_why_there_is_none),
        cmocka_unit_test(each_of_our_names_counts),
        cmocka_unit_test(aliases_lead_to_the_records_behind_them),
        cmocka_unit_test(equal_preferences_are_shuffled_so_that_each_order_is_as_likely),
        cmocka_unit_test(the_same_seed_gives_the_same_order),
        cmocka_unit_test(those_that_have_no_room_change_from_seed_to_seed),
        cmocka_unit_test(of_500_targets_the_best_are_taken),
        cmocka_unit_test(ours_among_500_cuts_off_wherever_it_stands),
        cmocka_unit_test(what_is_no_host_takes_nobodys_room),
        cmocka_unit_test(each_route_that_leads_nowhere_has_a_reply),
        cmocka_unit_test(loopback_unspecified_and_named_addresses_are_ours),
        cmocka_unit_test(octets_behind_an_ipv4_address_do_not_count),
        cmocka_unit_test(a_destination_is_the_domain_in_lower_case_or_the_first_smart_host),
        cmocka_unit_test(etrn_means_a_domain_or_all_below_it),
        cmocka_unit_test(a_policy_is_judged_beforehand),
        cmocka_unit_test(members_that_a_caller_does_not_have_are_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
