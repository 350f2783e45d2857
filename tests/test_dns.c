/* DNS messages (RFC 1035 4). */
#include "table.h"

#include "dns_message.h"

/* -- query ------------------------------------------------------------------------------------------ */

#define L63 "abcdefghijklmnopqrstuvwxyz0123456789-abcdefghijklmnopqrstuvwxyz"

typedef struct query_case {
    ehlo_str name;
    ehlo_dns_type type;
    ehlo_str wire; /* empty: refused */
} query_case;

#define HEADER "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"

static const query_case queries[] = {
    { TEXT("a.b"), EHLO_DNS_A,
      TEXT(HEADER "\x01"
                  "a\x01"
                  "b\x00\x00\x01\x00\x01") },
    { TEXT("a.b."), EHLO_DNS_AAAA,
      TEXT(HEADER "\x01"
                  "a\x01"
                  "b\x00\x00\x1c\x00\x01") },
    { TEXT("Mail-1.Example"), EHLO_DNS_MX,
      TEXT(HEADER "\x06"
                  "Mail-1\x07"
                  "Example\x00\x00\x0f\x00\x01") },
    { TEXT("_dmarc.x"), EHLO_DNS_CNAME,
      TEXT(HEADER "\x06"
                  "_dmarc\x01x\x00\x00\x05\x00\x01") },
    { TEXT(L63), EHLO_DNS_A, TEXT(HEADER "\x3f" L63 "\x00\x00\x01\x00\x01") },
    { TEXT(""), EHLO_DNS_A, TEXT("") },
    { TEXT("."), EHLO_DNS_A, TEXT("") },
    { TEXT(".."), EHLO_DNS_A, TEXT("") },
    { TEXT("a..b"), EHLO_DNS_A, TEXT("") },
    { TEXT(".a"), EHLO_DNS_A, TEXT("") },
    { TEXT("a.."), EHLO_DNS_A, TEXT("") },
    { TEXT("-a.b"), EHLO_DNS_A, TEXT("") },
    { TEXT("a-.b"), EHLO_DNS_A, TEXT("") },
    { TEXT("a b"), EHLO_DNS_A, TEXT("") },
    { TEXT("a\0b"), EHLO_DNS_A, TEXT("") },
    { TEXT("a.b\r\n"), EHLO_DNS_A, TEXT("") },
    { TEXT("[192.0.2.1]"), EHLO_DNS_A, TEXT("") },
    { TEXT("b\xc3\xbc.example"), EHLO_DNS_A, TEXT("") },
    { TEXT("*.example"), EHLO_DNS_A, TEXT("") },
    { TEXT(L63 "x"), EHLO_DNS_A, TEXT("") },
    { TEXT("a.b"), (ehlo_dns_type)0, TEXT("") },
    { TEXT("a.b"), (ehlo_dns_type)255, TEXT("") },
};

static void a_query_asks_for_a_strict_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(queries); i++) {
        const query_case *c = &queries[i];
        ehlo_str name = guarded(c->name);
        char out[EHLO_DNS_QUERY_MAX];
        size_t len = 99;
        int result = ehlo_dns_query_write(0x1234, name, c->type, out, sizeof(out), &len);
        assert_int_equal(result, c->wire.len > 0 ? EHLO_OK : EHLO_ERR_ARG);
        assert_text(c->wire, ehlo_str_make(out, len), "query", c->name.ptr);
        for (size_t cap = 0; cap < c->wire.len; cap += 7) {
            char *little = guard_copy(out, cap);
            assert_int_equal(ehlo_dns_query_write(0x1234, name, c->type, little, cap, &len), EHLO_ERR_SPACE);
            assert_int_equal(len, c->wire.len);
            guard_free(little, cap);
        }
        unguard(name);
    }
}

static void a_name_has_253_octets_at_most(void **state)
{
    (void)state;
    char name[256];
    char out[EHLO_DNS_QUERY_MAX];
    size_t len;
    for (size_t i = 0; i < sizeof(name); i++) name[i] = i % 2 ? '.' : 'a';
    assert_int_equal(ehlo_dns_query_write(1, ehlo_str_make(name, 253), EHLO_DNS_A, out, sizeof(out), &len), EHLO_OK);
    assert_int_equal(len, EHLO_DNS_QUERY_MAX);
    assert_int_equal(ehlo_dns_query_write(1, ehlo_str_make(name, 254), EHLO_DNS_A, out, sizeof(out), &len), EHLO_OK);
    assert_int_equal(len, EHLO_DNS_QUERY_MAX);
    assert_int_equal(ehlo_dns_query_write(1, ehlo_str_make(name, 255), EHLO_DNS_A, out, sizeof(out), &len),
                     EHLO_ERR_ARG);
}

/* -- answers, built --------------------------------------------------------------------------------- */

enum { ID = DNS_ID, RESPONSE = DNS_RESPONSE, AA = 0x0400, TC = DNS_TRUNCATION, RA = 0x0080 };
enum { MESSAGE_ROOM = EHLO_DNS_MESSAGE_MAX };

/* Header and question; the test itself says how many answers there are. */
static void begin(dns_message *m, unsigned flags, unsigned answers, const char *name, unsigned type)
{
    dns_begin(m, flags, name, type);
    m->bytes[6] = (char)(unsigned char)(answers >> 8);
    m->bytes[7] = (char)(unsigned char)(answers & 0xFF);
}

/* Type to length of a record in class IN. */
static void add_fields(dns_message *m, unsigned type, unsigned ttl, size_t data_len)
{
    dns_add_u16(m, type);
    dns_add_u16(m, 1);
    dns_add_u16(m, ttl >> 16);
    dns_add_u16(m, ttl & 0xFFFF);
    dns_add_u16(m, (unsigned)data_len);
}

static void add_record(dns_message *m, const char *owner, unsigned type, unsigned ttl, ehlo_str data)
{
    dns_add_name(m, owner);
    add_fields(m, type, ttl, data.len);
    if (data.len > 0) dns_add(m, data.ptr, data.len);
}

static void add_cname(dns_message *m, const char *owner, unsigned ttl, const char *target)
{
    dns_add_name(m, owner);
    add_fields(m, EHLO_DNS_CNAME, ttl, strlen(target) + 2);
    dns_add_name(m, target);
}

static void add_mx(dns_message *m, const char *owner, unsigned preference, const char *target)
{
    dns_add_name(m, owner);
    add_fields(m, EHLO_DNS_MX, 300, 2 + strlen(target) + (*target != '\0' ? 2 : 1));
    dns_add_u16(m, preference);
    dns_add_name(m, target);
}

static const ehlo_str an_ipv4 = TEXT("\xc0\x00\x02\x01");
static const ehlo_str an_ipv6 = TEXT("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01");

static dns_message built;
static ehlo_dns_answer answer;
static ehlo_dns_record record;
static ehlo_str parsed; /* what answer looks into */

/* Parses what is built, flush against an unreadable page. */
static int parse(const char *name, ehlo_dns_type type)
{
    if (parsed.ptr != NULL) unguard(parsed);
    parsed = guarded(ehlo_str_make(built.bytes, built.len));
    memset(&answer, 0x55, sizeof(answer));
    return ehlo_dns_answer_parse(parsed.ptr, parsed.len, ID, ehlo_str_from(name), type, &answer);
}

static void assert_name(const ehlo_dns_name *name, const char *expected)
{
    assert_text(ehlo_str_from(expected), ehlo_str_make(name->text, name->len), "name", expected);
}

static void assert_no_more(void)
{
    assert_int_equal(ehlo_dns_next(&answer, &record), 0);
    assert_zero(&record, sizeof(record), "the record behind the last");
}

static void addresses_of_both_families_are_told(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 2, "mail.example", EHLO_DNS_A);
    add_record(&built, "mail.example", EHLO_DNS_A, 300, an_ipv4);
    add_record(&built, "MAIL.Example", EHLO_DNS_A, 0x80000001, an_ipv4);
    assert_int_equal(parse("mail.example.", EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.status, EHLO_DNS_FOUND);
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.aliases, 0);
    assert_name(&answer.canonical, "mail.example");
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.type, EHLO_DNS_A);
    assert_int_equal(record.ttl, 300);
    assert_int_equal(record.address.family, EHLO_FAMILY_IPV4);
    assert_memory_equal(record.address.octets, an_ipv4.ptr, 4);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.ttl, 0);
    assert_no_more();

    begin(&built, RESPONSE, 1, "mail.example", EHLO_DNS_AAAA);
    add_record(&built, "mail.example", EHLO_DNS_AAAA, 5, an_ipv6);
    assert_int_equal(parse("MAIL.EXAMPLE", EHLO_DNS_AAAA), EHLO_OK);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.address.family, EHLO_FAMILY_IPV6);
    assert_memory_equal(record.address.octets, an_ipv6.ptr, 16);
    assert_no_more();
}

/* [C121] [C122] */
static void exchangers_come_with_their_preference_and_the_null_mx_is_a_dot(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 3, "example", EHLO_DNS_MX);
    add_mx(&built, "example", 10, "mx1.example");
    add_mx(&built, "example", 0, "");
    add_mx(&built, "example", 65535, "mx_2.example");
    assert_int_equal(parse("example", EHLO_DNS_MX), EHLO_OK);
    assert_int_equal(answer.count, 3);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.preference, 10);
    assert_name(&record.name, "mx1.example");
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.preference, 0);
    assert_int_equal(record.refused, 0);
    assert_name(&record.name, ".");
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.preference, 65535);
    assert_name(&record.name, "mx_2.example");
    assert_no_more();
}

static void what_belongs_to_others_is_passed_over(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 4, "a.example", EHLO_DNS_A);
    add_record(&built, "evil.example", EHLO_DNS_A, 1, an_ipv4);
    add_record(&built, "a.example", 46, 1, (ehlo_str)TEXT("any octets")); /* RRSIG */
    add_record(&built, "a.example", EHLO_DNS_AAAA, 1, an_ipv6);
    size_t at = built.len;
    add_record(&built, "a.example", EHLO_DNS_A, 1, an_ipv4);
    built.bytes[at + 14] = 3; /* of class CHAOS */
    assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.status, EHLO_DNS_NODATA);
    assert_int_equal(answer.count, 0);
    assert_no_more();
}

/* [Q06] Of the wrong owner, class, type or section: none of these may send mail anywhere. */
static void exchangers_of_others_are_passed_over(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 7, "a.example", EHLO_DNS_MX);
    add_mx(&built, "evil.example", 0, "mx.evil.example");
    add_mx(&built, "example", 0, "mx.evil.example");
    add_mx(&built, "b.a.example", 0, "mx.evil.example");
    add_mx(&built, "", 0, "mx.evil.example");
    size_t at = built.len;
    add_mx(&built, "a.example", 0, "mx.evil.example");
    built.bytes[at + 14] = 3; /* of class CHAOS */
    add_record(&built, "a.example", 16, 300,
               (ehlo_str)TEXT("\0\0\x02mx\x04"
                              "evil\0"));
    add_mx(&built, "A.example", 10, "mx.example");
    add_mx(&built, "a.example", 0, "additional.example");
    built.bytes[11] = 1;
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
    assert_int_equal(answer.status, EHLO_DNS_FOUND);
    assert_int_equal(answer.count, 1);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.preference, 10);
    assert_name(&record.name, "mx.example");
    assert_no_more();
}

/* [C117] [Q06] It has the form of a name; whoever plans the route passes it over. */
static void an_exchanger_that_looks_like_an_address_is_told_as_a_name(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 2, "a.example", EHLO_DNS_MX);
    add_mx(&built, "a.example", 10, "192.0.2.1");
    add_mx(&built, "a.example", 20, "[192.0.2.1]");
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
    assert_int_equal(answer.count, 2);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_name(&record.name, "192.0.2.1");
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.refused, 1);
    assert_no_more();
}

/* -- what the server says without records ----------------------------------------------------------- */

/* [C118] */
static void no_such_name_no_such_data_and_failure_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        unsigned flags;
        ehlo_dns_status status;
    } cases[] = {
        { RESPONSE, EHLO_DNS_NODATA },         { RESPONSE | 1, EHLO_DNS_FAILED },
        { RESPONSE | 2, EHLO_DNS_FAILED },     { RESPONSE | 3, EHLO_DNS_NXDOMAIN },
        { RESPONSE | 5, EHLO_DNS_FAILED },     { RESPONSE | 15, EHLO_DNS_FAILED },
        { RESPONSE | TC, EHLO_DNS_TRUNCATED }, { RESPONSE | TC | 2, EHLO_DNS_TRUNCATED },
        { RESPONSE | AA, EHLO_DNS_NODATA },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        begin(&built, cases[i].flags, 0, "a.example", EHLO_DNS_MX);
        assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
        assert_int_equal(answer.status, cases[i].status);
        assert_int_equal(answer.rcode, cases[i].flags & 15);
        assert_no_more();
    }
}

typedef struct denial_case {
    const char *what;
    unsigned flags;
    unsigned authority[2]; /* types of its records: 0: none */
    ehlo_dns_status status;
} denial_case;

enum { NS = 2, SOA = 6 };

static const denial_case denials[] = {
    { "a recursive server", RESPONSE, { 0 }, EHLO_DNS_NODATA },
    { "one that has the zone", (RESPONSE & ~RA) | AA, { 0 }, EHLO_DNS_NODATA },
    { "one that is neither", RESPONSE & ~RA, { 0 }, EHLO_DNS_FAILED },
    { "SOA", RESPONSE, { SOA }, EHLO_DNS_NODATA },
    { "SOA of one that is neither", RESPONSE & ~RA, { SOA }, EHLO_DNS_NODATA },
    { "NS and SOA", RESPONSE, { NS, SOA }, EHLO_DNS_NODATA },
    { "SOA and NS", RESPONSE & ~RA, { SOA, NS }, EHLO_DNS_NODATA },
    { "referral", RESPONSE & ~RA, { NS }, EHLO_DNS_FAILED },
    { "referral that a recursive server passes on", RESPONSE, { NS, NS }, EHLO_DNS_FAILED },
    { "referral of one that has the zone above", (RESPONSE & ~RA) | AA, { NS }, EHLO_DNS_FAILED },
    { "other records", RESPONSE, { 46, 47 }, EHLO_DNS_NODATA },
};

/* The header counts them. */
static void add_authority(dns_message *m, const unsigned types[2])
{
    for (int i = 0; i < 2 && types[i] != 0; i++) {
        add_record(m, "example", types[i], 60, (ehlo_str)TEXT("\0"));
        m->bytes[9]++;
    }
}

/* [C118] A server that does not know, and says so by naming others, is no witness that there is nothing. */
static void a_referral_is_no_denial(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(denials); i++) {
        const denial_case *c = &denials[i];
        begin(&built, c->flags, 0, "a.example", EHLO_DNS_MX);
        add_authority(&built, c->authority);
        assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
        if (answer.status != c->status) fail_msg("%s: status %d", c->what, (int)answer.status);
        assert_no_more();
        if (c->authority[0] == 0) continue;
        built.len--;
        if (parse("a.example", EHLO_DNS_MX) != EHLO_ERR_SYNTAX) fail_msg("%s: taken although it is cut", c->what);

        begin(&built, c->flags, 1, "a.example", EHLO_DNS_MX);
        add_mx(&built, "a.example", 10, "mx.example");
        add_authority(&built, c->authority);
        assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
        assert_int_equal(answer.status, EHLO_DNS_FOUND);
    }
}

static void a_truncated_or_failed_answer_tells_no_record(void **state)
{
    (void)state;
    static const unsigned flags[] = { RESPONSE | TC, RESPONSE | 2, RESPONSE | 3 };
    for (size_t i = 0; i < COUNT(flags); i++) {
        begin(&built, flags[i], 1, "a.example", EHLO_DNS_A);
        add_record(&built, "a.example", EHLO_DNS_A, 1, an_ipv4);
        assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_OK);
        assert_int_equal(answer.count, 0);
        assert_no_more();
    }
    begin(&built, RESPONSE | TC, 9, "a.example", EHLO_DNS_A);
    dns_add(&built, "\xc0", 1);
    assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.status, EHLO_DNS_TRUNCATED);
}

static void an_answer_to_another_question_is_no_answer(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 0, "a.example", EHLO_DNS_A);
    assert_int_equal(parse("b.example", EHLO_DNS_A), EHLO_ERR_STALE);
    assert_zero(&answer, sizeof(answer), "another name");
    assert_int_equal(parse("a.example.example", EHLO_DNS_A), EHLO_ERR_STALE);
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_ERR_STALE);
    assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_OK);
    static const struct {
        size_t at;
        char value;
    } changes[] = {
        { 0, 0x13 },                      /* another id */
        { 2, 0x01 },                      /* a query */
        { 2, (char)(unsigned char)0xA8 }, /* another opcode */
        { 5, 0 },                         /* no question */
        { 5, 2 },                         /* two */
        { 12, (char)(unsigned char)0xC0 },
        { 26, 3 }, /* of class CHAOS */
    };
    for (size_t i = 0; i < COUNT(changes); i++) {
        begin(&built, RESPONSE, 0, "a.example", EHLO_DNS_A);
        built.bytes[changes[i].at] = changes[i].value;
        if (parse("a.example", EHLO_DNS_A) != EHLO_ERR_STALE) fail_msg("change %zu was taken", i);
    }
    for (size_t len = 0; len < 27; len++) {
        begin(&built, RESPONSE, 0, "a.example", EHLO_DNS_A);
        built.len = len;
        assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_ERR_STALE);
    }
}

static void a_question_that_could_not_be_asked_has_no_answer(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 0, "a.example", EHLO_DNS_A);
    assert_int_equal(parse("", EHLO_DNS_A), EHLO_ERR_ARG);
    assert_int_equal(parse("a b", EHLO_DNS_A), EHLO_ERR_ARG);
    assert_int_equal(parse("a.example", (ehlo_dns_type)16), EHLO_ERR_ARG);
    assert_zero(&answer, sizeof(answer), "a type we do not know");
}

/* -- aliases ---------------------------------------------------------------------------------------- */

/* [C117] */
static void aliases_are_followed_in_any_order(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 4, "a.example", EHLO_DNS_A);
    add_record(&built, "c.example", EHLO_DNS_A, 300, an_ipv4);
    add_record(&built, "a.example", EHLO_DNS_A, 300, an_ipv4);
    add_cname(&built, "B.example", 60, "c.example");
    add_cname(&built, "a.example", 90, "b.Example");
    assert_int_equal(parse("A.example", EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.aliases, 2);
    assert_name(&answer.canonical, "c.example");
    assert_int_equal(answer.count, 1);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.ttl, 60);
    assert_no_more();
}

static void an_alias_that_leads_nowhere_says_where_it_ended(void **state)
{
    (void)state;
    begin(&built, RESPONSE | 3, 1, "a.example", EHLO_DNS_A);
    add_cname(&built, "a.example", 90, "gone.example");
    assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.status, EHLO_DNS_NXDOMAIN);
    assert_int_equal(answer.aliases, 1);
    assert_name(&answer.canonical, "gone.example");
    assert_no_more();
}

/* [C117] Whoever asked goes on from there: whether the server could have told more does not matter. */
static void an_answer_may_end_in_an_alias(void **state)
{
    (void)state;
    static const char *const targets[] = { "gone.example", "" };
    for (size_t i = 0; i < COUNT(denials) * COUNT(targets); i++) {
        const denial_case *c = &denials[i / COUNT(targets)];
        const char *target = targets[i % COUNT(targets)];
        begin(&built, c->flags, 2, "a.example", EHLO_DNS_MX);
        add_cname(&built, "a.example", 90, "b.example");
        dns_add_name(&built, "b.example");
        add_fields(&built, EHLO_DNS_CNAME, 90, strlen(target) + (*target != '\0' ? 2 : 1));
        dns_add_name(&built, target);
        add_authority(&built, c->authority);
        assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
        assert_int_equal(answer.status, EHLO_DNS_NODATA);
        assert_int_equal(answer.aliases, 2);
        assert_name(&answer.canonical, *target != '\0' ? target : ".");
        assert_no_more();
    }
}

static void an_alias_that_was_asked_for_is_a_record(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 1, "a.example", EHLO_DNS_CNAME);
    add_cname(&built, "a.example", 90, "a.example");
    assert_int_equal(parse("a.example", EHLO_DNS_CNAME), EHLO_OK);
    assert_int_equal(answer.aliases, 0);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_name(&record.name, "a.example");
    assert_no_more();
}

/* A chain of that many aliases, n0 to n<count>, with an address at its end. */
static void build_chain(unsigned count)
{
    char owner[16], target[16];
    begin(&built, RESPONSE, count + 1, "n0", EHLO_DNS_A);
    for (unsigned i = 0; i < count; i++) {
        snprintf(owner, sizeof(owner), "n%u", i);
        snprintf(target, sizeof(target), "n%u", i + 1);
        add_cname(&built, owner, 90, target);
    }
    snprintf(owner, sizeof(owner), "n%u", count);
    add_record(&built, owner, EHLO_DNS_A, 90, an_ipv4);
}

/* [Q06] */
static void aliases_in_a_loop_or_without_end_are_refused(void **state)
{
    (void)state;
    build_chain(10);
    assert_int_equal(parse("n0", EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.aliases, 10);
    assert_int_equal(answer.count, 1);
    build_chain(11);
    assert_int_equal(parse("n0", EHLO_DNS_A), EHLO_ERR_SYNTAX);
    assert_zero(&answer, sizeof(answer), "eleven aliases");

    begin(&built, RESPONSE, 1, "a.example", EHLO_DNS_A);
    add_cname(&built, "a.example", 90, "a.example");
    assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_ERR_SYNTAX);
    begin(&built, RESPONSE, 2, "a.example", EHLO_DNS_MX);
    add_cname(&built, "a.example", 90, "b.example");
    add_cname(&built, "b.example", 90, "a.example");
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_ERR_SYNTAX);
}

/* -- names in messages ------------------------------------------------------------------------------ */

/* A record of an owner in wire form. */
static void add_raw_record(dns_message *m, ehlo_str owner, unsigned type, ehlo_str data)
{
    dns_add(m, owner.ptr, owner.len);
    add_fields(m, type, 300, data.len);
    if (data.len > 0) dns_add(m, data.ptr, data.len);
}

static void compressed_names_are_read(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 2, "a.example", EHLO_DNS_MX); /* a at 12, example at 14 */
    add_raw_record(&built, (ehlo_str)TEXT("\xc0\x0c"), EHLO_DNS_MX, (ehlo_str)TEXT("\x00\x05\x02mx\xc0\x0e"));
    add_raw_record(&built,
                   (ehlo_str)TEXT("\x01"
                                  "A\xc0\x0e"),
                   EHLO_DNS_MX, (ehlo_str)TEXT("\x00\x06\xc0\x0c"));
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
    assert_int_equal(answer.count, 2);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_name(&record.name, "mx.example");
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.preference, 6);
    assert_name(&record.name, "a.example");
    assert_no_more();
}

typedef struct raw_case {
    const char *what;
    ehlo_str owner;
    unsigned type;
    ehlo_str data;
} raw_case;

/* The question ends at 27, where the owner begins; data begins ten octets behind the owner. */
static const raw_case broken[] = {
    { "owner points at itself", TEXT("\xc0\x1b"), EHLO_DNS_A, TEXT("\xc0\x00\x02\x01") },
    { "owner points forwards", TEXT("\xc0\x1d"), EHLO_DNS_A, TEXT("\xc0\x00\x02\x01") },
    { "owner points beyond the message", TEXT("\xff\xff"), EHLO_DNS_A, TEXT("\xc0\x00\x02\x01") },
    { "owner points into the header", TEXT("\xc0\x06"), EHLO_DNS_A, TEXT("\xc0\x00\x02\x01") },
    { "label before a pointer to it",
      TEXT("\x01"
           "a\xc0\x1b"),
      EHLO_DNS_A, TEXT("\xc0\x00\x02\x01") },
    { "label of a reserved kind",
      TEXT("\x41"
           "a\x00"),
      EHLO_DNS_A, TEXT("\xc0\x00\x02\x01") },
    { "label of another reserved kind",
      TEXT("\x80"
           "a\x00"),
      EHLO_DNS_A, TEXT("\xc0\x00\x02\x01") },
    { "address too short", TEXT("\xc0\x0c"), EHLO_DNS_A, TEXT("\xc0\x00\x02") },
    { "address too long", TEXT("\xc0\x0c"), EHLO_DNS_A, TEXT("\xc0\x00\x02\x01\x00") },
    { "address missing", TEXT("\xc0\x0c"), EHLO_DNS_A, TEXT("") },
    { "IPv6 address of four octets", TEXT("\xc0\x0c"), EHLO_DNS_AAAA, TEXT("\xc0\x00\x02\x01") },
    { "MX without anything", TEXT("\xc0\x0c"), EHLO_DNS_MX, TEXT("") },
    { "MX of one octet", TEXT("\xc0\x0c"), EHLO_DNS_MX, TEXT("\x00") },
    { "MX without a name", TEXT("\xc0\x0c"), EHLO_DNS_MX, TEXT("\x00\x0a") },
    { "MX with half a pointer", TEXT("\xc0\x0c"), EHLO_DNS_MX, TEXT("\x00\x0a\xc0") },
    { "MX whose label ends outside", TEXT("\xc0\x0c"), EHLO_DNS_MX,
      TEXT("\x00\x0a\x05"
           "ab") },
    { "MX whose name does not end", TEXT("\xc0\x0c"), EHLO_DNS_MX,
      TEXT("\x00\x0a\x02"
           "ab") },
    { "MX with octets behind its name", TEXT("\xc0\x0c"), EHLO_DNS_MX,
      TEXT("\x00\x0a\x02"
           "ab\x00\x00") },
    { "MX that points at itself", TEXT("\xc0\x0c"), EHLO_DNS_MX, TEXT("\x00\x0a\xc0\x29") },
    { "CNAME without a name", TEXT("\xc0\x0c"), EHLO_DNS_CNAME, TEXT("") },
    { "CNAME that points at itself", TEXT("\xc0\x0c"), EHLO_DNS_CNAME, TEXT("\xc0\x27") },
};

/* [Q06] */
static void broken_names_and_records_are_refused_whoever_they_belong_to(void **state)
{
    (void)state;
    static const ehlo_dns_type types[] = { EHLO_DNS_A, EHLO_DNS_MX };
    for (size_t i = 0; i < COUNT(broken); i++) {
        for (size_t t = 0; t < COUNT(types); t++) {
            begin(&built, RESPONSE, 1, "a.example", types[t]);
            assert_int_equal(built.len, 27);
            add_raw_record(&built, broken[i].owner, broken[i].type, broken[i].data);
            if (parse("a.example", types[t]) != EHLO_ERR_SYNTAX) fail_msg("%s was taken", broken[i].what);
            assert_zero(&answer, sizeof(answer), broken[i].what);
            assert_no_more();
            built.bytes[7]++; /* what is missing here is there, but it is the next record's */
            add_raw_record(&built, (ehlo_str)TEXT("\xc0\x0c"), types[t],
                           types[t] == EHLO_DNS_A ? an_ipv4 : (ehlo_str)TEXT("\x00\x05\xc0\x0c"));
            if (parse("a.example", types[t]) != EHLO_ERR_SYNTAX) fail_msg("%s, and more, was taken", broken[i].what);
        }
    }
}

/* [Q06] */
static void an_answer_cut_anywhere_is_refused(void **state)
{
    (void)state;
    begin(&built, RESPONSE, 3, "a.example", EHLO_DNS_MX);
    add_cname(&built, "a.example", 90, "b.example");
    add_mx(&built, "b.example", 10, "mx.example");
    add_raw_record(&built, (ehlo_str)TEXT("\xc0\x0e"), EHLO_DNS_A, an_ipv4);
    size_t whole = built.len;
    for (size_t len = 27; len < whole; len++) {
        built.len = len;
        if (parse("a.example", EHLO_DNS_MX) != EHLO_ERR_SYNTAX) fail_msg("%zu octets were taken", len);
    }
    built.len = whole;
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
    dns_add(&built, "behind", 6);
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
}

static const ehlo_str no_names[] = {
    TEXT("\x02"
         "a\0\x00"),
    TEXT("\x03"
         "a.b\x00"),
    TEXT("\x02"
         "a \x00"),
    TEXT("\x02-a\x00"),
    TEXT("\x02"
         "a-\x00"),
    TEXT("\x02"
         "a\xff\x00"),
    TEXT("\x04"
         "a\r\nb\x00"),
    TEXT("\x01*\x00"),
    TEXT("\x05"
         "a@b.c\x00"),
    TEXT("\x01"
         "a\x01/\x01"
         "b\x00"),
};

/* [Q06] [C115] */
static void a_target_that_is_no_name_is_refused_but_counted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(no_names); i++) {
        char data[64] = { 0, 7 };
        memcpy(data + 2, no_names[i].ptr, no_names[i].len);
        begin(&built, RESPONSE, 2, "a.example", EHLO_DNS_MX);
        add_raw_record(&built, (ehlo_str)TEXT("\xc0\x0c"), EHLO_DNS_MX, ehlo_str_make(data, 2 + no_names[i].len));
        add_mx(&built, "a.example", 10, "mx.example");
        assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
        assert_int_equal(answer.count, 2);
        assert_int_equal(ehlo_dns_next(&answer, &record), 1);
        assert_int_equal(record.refused, 1);
        assert_int_equal(record.preference, 7);
        assert_int_equal(record.name.len, 0);
        assert_int_equal(ehlo_dns_next(&answer, &record), 1);
        assert_int_equal(record.refused, 0);
        assert_no_more();

        begin(&built, RESPONSE, 1, "a.example", EHLO_DNS_A);
        add_raw_record(&built, (ehlo_str)TEXT("\xc0\x0c"), EHLO_DNS_CNAME, no_names[i]);
        assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_ERR_SYNTAX);
    }
}

/* A target of that many octets with the root's, its labels of one octet, or the first of two. */
static void build_long_target(size_t wire_len)
{
    begin(&built, RESPONSE, 1, "a.example", EHLO_DNS_MX);
    dns_add(&built, "\xc0\x0c", 2);
    add_fields(&built, EHLO_DNS_MX, 300, 2 + wire_len);
    dns_add_u16(&built, 1);
    if (wire_len % 2 == 0) dns_add(&built, "\x02xx", 3);
    for (size_t len = wire_len % 2 == 0 ? 4 : 1; len < wire_len; len += 2) dns_add(&built, "\x01x", 2);
    dns_add(&built, "", 1);
}

static void a_name_of_255_octets_is_the_longest(void **state)
{
    (void)state;
    build_long_target(255);
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
    assert_int_equal(ehlo_dns_next(&answer, &record), 1);
    assert_int_equal(record.name.len, EHLO_DNS_NAME_MAX);
    build_long_target(256);
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_ERR_SYNTAX);
    build_long_target(257);
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_ERR_SYNTAX);
}

/* As deep as compression can go: the owner of a record is a label and a pointer to the owner of the one before. */
static void a_name_of_127_labels_is_read_out_of_127_places(void **state)
{
    (void)state;
    char name[EHLO_DNS_NAME_MAX + 1];
    size_t target = 12;
    for (size_t i = 0; i < sizeof(name); i++) name[i] = i % 2 ? '.' : 'a';
    name[EHLO_DNS_NAME_MAX] = '\0';
    begin(&built, RESPONSE, 1, name, EHLO_DNS_A);
    target = built.len - 4 - 3; /* the last label */
    for (unsigned i = 0; i < 127; i++) {
        size_t at = built.len;
        if (i > 0)
            dns_add(&built,
                    "\x01"
                    "a",
                    2);
        dns_add_u16(&built, 0xC000U | (unsigned)target);
        if (i < 126) add_fields(&built, 16, 0, 0);
        target = at;
        built.bytes[7] = (char)(unsigned char)(i + 1);
    }
    add_fields(&built, EHLO_DNS_A, 300, 4);
    dns_add(&built, an_ipv4.ptr, 4);
    assert_int_equal(parse(name, EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.count, 1);
}

/* -- a great deal ----------------------------------------------------------------------------------- */

/* [Q06] */
static void five_hundred_exchangers_are_told(void **state)
{
    (void)state;
    char target[32];
    begin(&built, RESPONSE, 500, "a.example", EHLO_DNS_MX);
    for (unsigned i = 0; i < 500; i++) {
        snprintf(target, sizeof(target), "mx%u.example", i);
        add_mx(&built, "a.example", i, target);
    }
    assert_int_equal(parse("a.example", EHLO_DNS_MX), EHLO_OK);
    assert_int_equal(answer.count, 500);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(ehlo_dns_next(&answer, &record), 1);
        assert_int_equal(record.preference, i);
    }
    assert_no_more();
}

/* [Q06] */
static void an_answer_of_64_kilobytes_is_read_to_its_end(void **state)
{
    (void)state;
    unsigned count = (MESSAGE_ROOM - 27) / 16;
    begin(&built, RESPONSE, count, "a.example", EHLO_DNS_A);
    for (unsigned i = 0; i < count; i++) add_raw_record(&built, (ehlo_str)TEXT("\xc0\x0c"), EHLO_DNS_A, an_ipv4);
    assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_OK);
    assert_int_equal(answer.count, count);
    unsigned told = 0;
    while (ehlo_dns_next(&answer, &record) == 1) told++;
    assert_int_equal(told, count);
    built.bytes[6] = built.bytes[7] = (char)(unsigned char)0xFF; /* it claims more */
    assert_int_equal(parse("a.example", EHLO_DNS_A), EHLO_ERR_SYNTAX);
}

/* The longest answer of records without data, all owned by the name asked for, with the longest chain of aliases behind
 * them, last alias first: whoever reads it has to look at all of them once for each alias. */
static void build_reverse_aliases(const char *name)
{
    static const char *aliases[] = { "z0", "z1", "z2", "z3", "z4", "z5", "z6", "z7", "z8", "z9" };
    unsigned count = 5000;
    begin(&built, RESPONSE, count + COUNT(aliases), name, EHLO_DNS_MX);
    for (unsigned i = 0; i < count; i++) add_raw_record(&built, (ehlo_str)TEXT("\xc0\x0c"), 16, (ehlo_str)TEXT(""));
    for (size_t i = COUNT(aliases) - 1; i > 0; i--) add_cname(&built, aliases[i - 1], 300, aliases[i]);
    add_cname(&built, name, 300, aliases[0]);
}

/* With a name of one label, and with the longest, of 127. [Q06] */
static void aliases_are_found_among_thousands_of_other_records(void **state)
{
    (void)state;
    char longest[254] = { 0 };
    for (size_t i = 0; i < sizeof(longest) - 1; i++) longest[i] = i % 2 ? '.' : 'a';
    const char *names[] = { "a", longest };
    for (size_t i = 0; i < COUNT(names); i++) {
        build_reverse_aliases(names[i]);
        assert_int_equal(parse(names[i], EHLO_DNS_MX), EHLO_OK);
        assert_int_equal(answer.aliases, 10);
    }
}

/* Each of them would have to be compared with the name at each alias that is followed. [Q06] */
static void an_answer_with_more_aliases_than_are_followed_is_broken(void **state)
{
    (void)state;
    for (unsigned count = 10; count <= 11; count++) {
        begin(&built, RESPONSE, count, "a.x", EHLO_DNS_MX);
        for (unsigned i = 0; i < count; i++) add_cname(&built, "other.x", 300, "b.x");
        int result = parse("a.x", EHLO_DNS_MX);
        assert_int_equal(result, count == 10 ? EHLO_OK : EHLO_ERR_SYNTAX);
    }
}

/* A name may hop from pointer to pointer, each before the last, as often as it has labels and no oftener. */
static void a_name_of_pointers_alone_ends(void **state)
{
    (void)state;
    static const struct {
        unsigned hops;
        int result;
    } cases[] = { { 2, EHLO_OK }, { 200, EHLO_OK }, { 300, EHLO_ERR_SYNTAX }, { 5000, EHLO_ERR_SYNTAX } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        begin(&built, RESPONSE, 2, "a.example", EHLO_DNS_A);
        dns_add(&built, "\xc0\x0c", 2);
        add_fields(&built, 16, 0, cases[i].hops * 2);
        size_t target = 12;
        for (unsigned hop = 0; hop < cases[i].hops; hop++) {
            size_t at = built.len;
            dns_add_u16(&built, 0xC000U | (unsigned)target);
            target = at;
        }
        dns_add_u16(&built, 0xC000U | (unsigned)target);
        add_fields(&built, EHLO_DNS_A, 300, 4);
        dns_add(&built, an_ipv4.ptr, 4);
        assert_int_equal(parse("a.example", EHLO_DNS_A), cases[i].result);
        assert_int_equal(answer.count, cases[i].result == EHLO_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_asks_for_a_strict_name),
        cmocka_unit_test(a_name_has_253_octets_at_most),
        cmocka_unit_test(addresses_of_both_families_are_told),
        cmocka_unit_test(exchangers_come_with_their_preference_and_the_null_mx_is_a_dot),
        cmocka_unit_test(what_belongs_to_others_is_passed_over),
        cmocka_unit_test(exchangers_of_others_are_passed_over),
        cmocka_unit_test(an_exchanger_that_looks_like_an_address_is_told_as_a_name),
        cmocka_unit_test(no_such_name_no_such_data_and_failure_are_told_apart),
        cmocka_unit_test(a_referral_is_no_denial),
        cmocka_unit_test(a_truncated_or_failed_answer_tells_no_record),
        cmocka_unit_test(an_answer_to_another_question_is_no_answer),
        cmocka_unit_test(a_question_that_could_not_be_asked_has_no_answer),
        cmocka_unit_test(aliases_are_followed_in_any_order),
        cmocka_unit_test(an_alias_that_leads_nowhere_says_where_it_ended),
        cmocka_unit_test(an_answer_may_end_in_an_alias),
        cmocka_unit_test(an_alias_that_was_asked_for_is_a_record),
        cmocka_unit_test(aliases_in_a_loop_or_without_end_are_refused),
        cmocka_unit_test(compressed_names_are_read),
        cmocka_unit_test(broken_names_and_records_are_refused_whoever_they_belong_to),
        cmocka_unit_test(an_answer_cut_anywhere_is_refused),
        cmocka_unit_test(a_target_that_is_no_name_is_refused_but_counted),
        cmocka_unit_test(a_name_of_255_octets_is_the_longest),
        cmocka_unit_test(a_name_of_127_labels_is_read_out_of_127_places),
        cmocka_unit_test(five_hundred_exchangers_are_told),
        cmocka_unit_test(an_answer_of_64_kilobytes_is_read_to_its_end),
        cmocka_unit_test(aliases_are_found_among_thousands_of_other_records),
        cmocka_unit_test(an_answer_with_more_aliases_than_are_followed_is_broken),
        cmocka_unit_test(a_name_of_pointers_alone_ends),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (parsed.ptr != NULL) unguard(parsed);
    return failed;
}
