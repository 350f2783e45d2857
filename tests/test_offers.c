/* What a server's EHLO reply offers (RFC 5321 4.1.1.1, and the RFC of each extension). */
#include "table.h"

/* A reply of up to eight lines, and what is made of it. */
typedef struct offers_case {
    const char *lines[8];
    ehlo_offers offers;
} offers_case;

#define CAP(name) EHLO_CAP_##name

static const offers_case offered[] = {
    { { "PIPELINING", "8BITMIME", "CHUNKING", "BINARYMIME", "STARTTLS", "DSN" },
      { .caps = CAP(PIPELINING) | CAP(8BITMIME) | CAP(CHUNKING) | CAP(BINARYMIME) | CAP(STARTTLS) | CAP(DSN) } },
    { { "ENHANCEDSTATUSCODES", "SMTPUTF8", "REQUIRETLS", "RRVS", "ETRN", "EXPN", "HELP", "VERB" },
      { .caps = CAP(ENHANCEDSTATUSCODES) | CAP(SMTPUTF8) | CAP(REQUIRETLS) | CAP(RRVS) | CAP(ETRN) | CAP(EXPN) |
                CAP(HELP) | CAP(VERB) } },
    { { "MT-PRIORITY MIXER", "XCLIENT NAME ADDR" }, { .caps = CAP(MT_PRIORITY) | CAP(XCLIENT) } },
    { { "pipelining", "8BitMime" }, { .caps = CAP(PIPELINING) | CAP(8BITMIME) } },
    { { "SIZEX 100", "SIZ", "XSIZE", "AUTHX PLAIN", "8BITMIME-", "X-AUTH=PLAIN" }, { 0 } },
    { { "SIZE 52428800" }, { .caps = CAP(SIZE), .size_max = 52428800 } },
    { { "size\t100" }, { .caps = CAP(SIZE), .size_max = 100 } },
    { { "SIZE" }, { .caps = CAP(SIZE) } },
    { { "SIZE 0" }, { .caps = CAP(SIZE) } },
    { { "SIZE " }, { .caps = CAP(SIZE) } },
    { { "SIZE 18446744073709551615" }, { .caps = CAP(SIZE), .size_max = UINT64_MAX } },
    { { "SIZE 18446744073709551616" }, { .caps = CAP(SIZE) } },
    { { "SIZE 99999999999999999999999" }, { .caps = CAP(SIZE) } },
    { { "SIZE -1" }, { .caps = CAP(SIZE) } },
    { { "SIZE 1e6" }, { .caps = CAP(SIZE) } },
    { { "SIZE 100 more" }, { .caps = CAP(SIZE), .size_max = 100 } },
    { { "SIZE 100", "SIZE 200" }, { .caps = CAP(SIZE), .size_max = 200 } },
    { { "SIZE 100", "SIZE -1" }, { .caps = CAP(SIZE), .size_max = 100 } },
    { { "SIZE 100", "SIZE" }, { .caps = CAP(SIZE) } },
    { { "SIZE=100" }, { 0 } },
    { { "AUTH PLAIN LOGIN" }, { .caps = CAP(AUTH), .mechanisms = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN } },
    { { "AUTH  plain\tLogin " }, { .caps = CAP(AUTH), .mechanisms = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN } },
    { { "AUTH=PLAIN" }, { .caps = CAP(AUTH), .mechanisms = EHLO_SASL_PLAIN } },
    { { "AUTH=LOGIN PLAIN", "AUTH CRAM-MD5" },
      { .caps = CAP(AUTH), .mechanisms = EHLO_SASL_LOGIN | EHLO_SASL_PLAIN | EHLO_SASL_CRAM_MD5 } },
    { { "AUTH EXTERNAL ANONYMOUS XOAUTH2 OAUTHBEARER" },
      { .caps = CAP(AUTH),
        .mechanisms = EHLO_SASL_EXTERNAL | EHLO_SASL_ANONYMOUS | EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER } },
    { { "AUTH SCRAM-SHA-1 SCRAM-SHA-256-PLUS" },
      { .caps = CAP(AUTH), .mechanisms = EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_256_PLUS } },
    { { "AUTH SCRAM-SHA-1-PLUS SCRAM-SHA-256" },
      { .caps = CAP(AUTH), .mechanisms = EHLO_SASL_SCRAM_SHA_1_PLUS | EHLO_SASL_SCRAM_SHA_256 } },
    { { "AUTH NTLM GSSAPI PLAINX XPLAIN SCRAM-SHA-1-" }, { .caps = CAP(AUTH) } },
    { { "AUTH" }, { .caps = CAP(AUTH) } },
    { { "AUTH=" }, { .caps = CAP(AUTH) } },
    { { "LIMITS RCPTMAX=100 MAILMAX=5 RCPTDOMAINMAX=1" },
      { .caps = CAP(LIMITS), .rcpt_max = 100, .mail_max = 5, .rcpt_domain_max = 1 } },
    { { "limits rcptmax=999999" }, { .caps = CAP(LIMITS), .rcpt_max = 999999 } },
    { { "LIMITS RCPTMAX=0 MAILMAX=x" }, { .caps = CAP(LIMITS) } },
    { { "LIMITS RCPTMAX=1000000 MAILMAX=-1 RCPTDOMAINMAX=" }, { .caps = CAP(LIMITS) } },
    { { "LIMITS RCPTMAX MAILMAX=5x =5 XMAX=7 RCPTMAXX=9 XRCPTMAX=9" }, { .caps = CAP(LIMITS) } },
    { { "LIMITS MAILMAX=x RCPTMAX=7" }, { .caps = CAP(LIMITS), .rcpt_max = 7 } },
    { { "LIMITS RCPTMAX=7", "LIMITS RCPTMAX=9" }, { .caps = CAP(LIMITS), .rcpt_max = 9 } },
    { { "LIMITS RCPTMAX=7", "LIMITS RCPTMAX=0" }, { .caps = CAP(LIMITS), .rcpt_max = 7 } },
    { { "LIMITS" }, { .caps = CAP(LIMITS) } },
    { { "DELIVERBY" }, { .caps = CAP(DELIVERBY) } },
    { { "DELIVERBY 120" }, { .caps = CAP(DELIVERBY), .by_min = 120 } },
    { { "DELIVERBY 120,X-Y" }, { .caps = CAP(DELIVERBY), .by_min = 120 } },
    { { "DELIVERBY 1234567890" }, { .caps = CAP(DELIVERBY) } },
    { { "DELIVERBY -5" }, { .caps = CAP(DELIVERBY) } },
    { { "FUTURERELEASE 604800 2030-01-01T00:00:00Z" }, { .caps = CAP(FUTURERELEASE), .hold_max = 604800 } },
    { { "FUTURERELEASE" }, { .caps = CAP(FUTURERELEASE) } },
    { { "FUTURERELEASE 0 x" }, { .caps = CAP(FUTURERELEASE) } },
    { { "FUTURERELEASE 9999999999 x" }, { .caps = CAP(FUTURERELEASE) } },
    { { "PIPELINING with words", "PIPELINING" }, { .caps = CAP(PIPELINING) } },
};

/* [K07] [C33] [C228] */
static void each_keyword_is_understood_whole_and_what_is_malformed_is_ignored(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(offered); i++) {
        const offers_case *c = &offered[i];
        ehlo_offers offers;
        memset(&offers, 0, sizeof(offers));
        for (size_t n = 0; n < COUNT(c->lines) && c->lines[n] != NULL; n++) {
            ehlo_str line = guarded(ehlo_str_from(c->lines[n]));
            ehlo_str keyword, args;
            ehlo_offer_parse(line, &offers, &keyword, &args);
            assert_within(line, keyword, c->lines[n]);
            assert_within(line, args, c->lines[n]);
            unguard(line);
        }
        const char *name = c->lines[0];
        if (offers.caps != c->offers.caps) fail_msg("%s: caps are %x", name, (unsigned)offers.caps);
        if (offers.mechanisms != c->offers.mechanisms) fail_msg("%s: mechanisms", name);
        if (offers.size_max != c->offers.size_max) fail_msg("%s: size_max", name);
        if (offers.mail_max != c->offers.mail_max) fail_msg("%s: mail_max", name);
        if (offers.rcpt_max != c->offers.rcpt_max) fail_msg("%s: rcpt_max", name);
        if (offers.rcpt_domain_max != c->offers.rcpt_domain_max) fail_msg("%s: rcpt_domain_max", name);
        if (offers.by_min != c->offers.by_min) fail_msg("%s: by_min", name);
        if (offers.hold_max != c->offers.hold_max) fail_msg("%s: hold_max", name);
    }
}

typedef struct parts_case {
    ehlo_str line;
    int result;
    ehlo_str keyword;
    ehlo_str args;
} parts_case;

static const parts_case parts[] = {
    { TEXT("XFOO"), EHLO_OK, TEXT("XFOO"), TEXT("") },
    { TEXT("XFOO a=b  c"), EHLO_OK, TEXT("XFOO"), TEXT("a=b  c") },
    { TEXT("X-foo-1 \xff\x01"), EHLO_OK, TEXT("X-foo-1"), TEXT("\xff\x01") },
    { TEXT("SIZE  100 "), EHLO_OK, TEXT("SIZE"), TEXT("100") },
    { TEXT("Auth=Login Plain"), EHLO_OK, TEXT("Auth"), TEXT("Login Plain") },
    { TEXT("250-SIZE"), EHLO_OK, TEXT("250-SIZE"), TEXT("") },
    { TEXT(""), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
    { TEXT(" SIZE"), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
    { TEXT("-SIZE"), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
    { TEXT("SIZE=100"), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
    { TEXT("SIZE\0 100"), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
    { TEXT("SIZE\r"), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
    { TEXT("PIPELINING, 8BITMIME"), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
    { TEXT("S\xc4\xb0ZE"), EHLO_ERR_SYNTAX, TEXT(""), TEXT("") },
};

/* [C33] */
static void unknown_keywords_are_left_as_text_and_malformed_ones_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(parts); i++) {
        const parts_case *c = &parts[i];
        ehlo_str line = guarded(c->line);
        ehlo_str keyword, args;
        ehlo_offers offers;
        memset(&offers, 0x55, sizeof(offers));
        ehlo_offers before = offers;
        assert_int_equal(ehlo_offer_parse(line, &offers, &keyword, &args), c->result);
        assert_text(c->keyword, keyword, "keyword", c->line.ptr);
        assert_text(c->args, args, "args", c->line.ptr);
        if (c->result < 0) assert_memory_equal(&offers, &before, sizeof(offers));
        unguard(line);
    }
}

/* [K07] */
static void endless_keywords_and_mechanisms_add_up_to_the_same(void **state)
{
    (void)state;
    static char line[70000];
    ehlo_offers offers;
    ehlo_str keyword, args;
    memset(&offers, 0, sizeof(offers));
    memset(line, 'X', sizeof(line));
    assert_int_equal(ehlo_offer_parse(ehlo_str_make(line, 10240), &offers, &keyword, &args), EHLO_OK);
    assert_int_equal(keyword.len, 10240);
    memcpy(line, "AUTH", 4);
    for (size_t at = 4; at + 6 <= sizeof(line); at += 6) memcpy(line + at, " PLAIN", 6);
    assert_int_equal(ehlo_offer_parse(ehlo_str_make(line, 4 + 6 * 10000), &offers, &keyword, &args), EHLO_OK);
    for (int i = 0; i < 100000; i++) ehlo_offer_parse(ehlo_str_from("SIZE 7"), &offers, &keyword, &args);
    assert_int_equal(offers.caps, EHLO_CAP_AUTH | EHLO_CAP_SIZE);
    assert_int_equal(offers.mechanisms, EHLO_SASL_PLAIN);
    assert_int_equal(offers.size_max, 7);
}

static void a_mechanism_is_found_by_its_whole_name(void **state)
{
    (void)state;
    assert_int_equal(ehlo_sasl_find(ehlo_str_from("scram-sha-1-plus")), EHLO_SASL_SCRAM_SHA_1_PLUS);
    assert_int_equal(ehlo_sasl_find(ehlo_str_from("SCRAM-SHA-1")), EHLO_SASL_SCRAM_SHA_1);
    assert_int_equal(ehlo_sasl_find(ehlo_str_from("SCRAM-SHA")), 0);
    assert_int_equal(ehlo_sasl_find(ehlo_str_from("PLAIN ")), 0);
    assert_int_equal(ehlo_sasl_find(ehlo_str_make(NULL, 0)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_keyword_is_understood_whole_and_what_is_malformed_is_ignored),
        cmocka_unit_test(unknown_keywords_are_left_as_text_and_malformed_ones_change_nothing),
        cmocka_unit_test(endless_keywords_and_mechanisms_add_up_to_the_same),
        cmocka_unit_test(a_mechanism_is_found_by_its_whole_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
