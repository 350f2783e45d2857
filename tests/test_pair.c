/* The client against our own server: what it says became of a letter is what became of it. */
#include "table.h"

#include "canon.h"
#include "harness/pair.h"
#include "harness/toy_crypto.h"

static char long_lines[5 * 1000 + 1];
static char large[200 * 1024];

/* To look into a failure: EHLO_PAIR_VERBOSE shows what is said, EHLO_PAIR_SEED runs one schedule, EHLO_PAIR_COUNT so
 * many. */
static int is_verbose(void)
{
    return getenv("EHLO_PAIR_VERBOSE") != NULL;
}

static void run_seed(unsigned seed)
{
    static char arena[PAIR_ARENA];
    pair_dice dice = pair_dice_seeded(seed);
    pair_plan plan;
    pair_plan_draw(&plan, &dice, arena);
    plan.verbose = is_verbose();
    pair *p = pair_run(&plan, &dice);
    if (pair_fault(p)[0] != '\0') fail_msg("EHLO_PAIR_SEED=%u: %s", seed, pair_fault(p));
    pair_free(p);
}

/* Runs a plan that leaves nothing to chance; the caller frees the result. */
static pair *run_plan(pair_plan *plan, const char *name)
{
    pair_dice dice = pair_dice_seeded(1);
    plan->verbose = is_verbose();
    pair *p = pair_run(plan, &dice);
    if (pair_fault(p)[0] != '\0') {
        fail_msg("%s (%s, offers %#x, chain %d, source %d): %s", name, plan->lmtp ? "LMTP" : "SMTP", plan->caps,
                 plan->chain, plan->letters[0].source, pair_fault(p));
    }
    return p;
}

static void assert_outcome(const pair *p, size_t letter, size_t rcpt, ehlo_outcome expected, const char *name)
{
    const ehlo_recipient *r = &pair_fate_of(p, letter)->rcpts[rcpt];
    if (r->outcome == expected) return;
    ehlo_str got = ehlo_outcome_name(r->outcome), want = ehlo_outcome_name(expected), stage = ehlo_stage_name(r->stage);
    fail_msg("%s: letter %zu, recipient %zu: %.*s (%.*s, %u), expected %.*s", name, letter, rcpt, (int)got.len, got.ptr,
             (int)stage.len, stage.ptr, r->code, (int)want.len, want.ptr);
}

/* -- every offer, every body ------------------------------------------------------------------------ */

static const struct shape {
    const char *name;
    ehlo_str content;
    uint8_t body;
} shapes[] = {
    { "empty", TEXT(""), 0 },
    { "one dot", TEXT("."), 0 },
    { "lines of dots", TEXT(".\r\n..\r\n.\r\n\r\n...\r\n.."), 0 },
    { "no final CRLF", TEXT("Subject: x\r\n\r\nno end"), 0 },
    { "a line end", TEXT("\r\n"), 0 },
    { "lines of 998 octets", { long_lines, sizeof long_lines - 1 }, 0 },
    { "NULs", TEXT("a\0b\0\0\r\n\0\r\n.\0\r\n"), 0 },
    { "8-bit", TEXT("gr\xC3\xBC\xC3\x9F\x80\xFF\r\n"), 0 },
    { "declared 8-bit", TEXT("gr\xC3\xBC\xC3\x9F\x80\xFF\r\n"), EHLO_BODY_8BITMIME },
    { "declared 7-bit", TEXT("text\r\n"), EHLO_BODY_7BIT },
    { "bare LF", TEXT("files\nhave\n\n.\n.\r\nthem\n"), 0 },
    { "binary", TEXT("\r\r\n\n\0.\r\n.\r\nx\r"), EHLO_BODY_BINARYMIME },
    { "200 KB", { large, sizeof large }, 0 },
};

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof long_lines - 1; i++) {
        size_t column = i % 1000;
        long_lines[i] = column == 998 ? '\r' : column == 999 ? '\n' : column == 0 ? '.' : 'x';
    }
    for (size_t i = 0; i < sizeof large; i++) {
        size_t column = i % 71;
        large[i] = column == 69 ? '\r' : column == 70 ? '\n' : column == 0 && i % 5 == 0 ? '.' : (char)('a' + i % 26);
    }
    return 0;
}

static const uint16_t refusals[] = { 0, 550, 0, 451 };

/* Recipients 0 to n-1, of which some are refused: the second for good, the fourth for now. */
static pair_letter letter_of(const struct shape *shape, uint8_t source, size_t n)
{
    pair_letter letter = { 0 };
    letter.content = shape->content;
    letter.body = shape->body;
    letter.source = source;
    letter.nrcpts = n;
    letter.dsn = source == PAIR_PULL;
    letter.sized = source == PAIR_PUSH;
    for (size_t i = 0; i < n; i++) letter.rcpt_code[i] = refusals[i % 4];
    return letter;
}

static int cannot_be_sent(uint32_t caps, const pair_letter *letter)
{
    if (letter->body == EHLO_BODY_BINARYMIME) return !(caps & EHLO_CAP_BINARYMIME);
    if (letter->flags & EHLO_SEND_UTF8 && !(caps & EHLO_CAP_SMTPUTF8)) return 1;
    if (caps & EHLO_CAP_8BITMIME) return 0;
    return letter->body == EHLO_BODY_8BITMIME || canon_has_8bit(letter->content);
}

static void assert_letter(const pair *p, const pair_plan *plan, size_t l, int after_failure, const char *name)
{
    const pair_letter *letter = &plan->letters[l];
    if (after_failure) return; /* the session may have ended: the run itself has checked what can be */
    for (size_t i = 0; i < letter->nrcpts; i++) {
        ehlo_outcome expected = EHLO_OUTCOME_DELIVERED;
        if (letter->rcpt_code[i] != 0) expected = ehlo_outcome_of(letter->rcpt_code[i]);
        if (cannot_be_sent(plan->caps, letter)) {
            const ehlo_recipient *r = &pair_fate_of(p, l)->rcpts[i];
            expected = r->code == 451 ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_REJECTED;
        }
        assert_outcome(p, l, i, expected, name);
    }
}

static void run_shape(uint32_t caps, int lmtp, size_t shape, uint8_t source, int chain)
{
    pair_plan plan = { 0 };
    int failed = 0;
    plan.caps = caps;
    plan.lmtp = lmtp;
    plan.chain = chain;
    plan.count = 3;
    for (size_t i = 0; i < plan.count; i++) {
        const struct shape *s = &shapes[(shape + i) % (COUNT(shapes) - (i > 0))]; /* the largest comes first or never */
        plan.letters[i] = letter_of(s, (uint8_t)((source + i) % 3), i == 0 ? 1 : 2 * i);
    }
    if (caps & EHLO_CAP_SMTPUTF8) plan.letters[1].flags = EHLO_SEND_UTF8;
    pair *p = run_plan(&plan, shapes[shape].name);
    for (size_t i = 0; i < plan.count; i++) {
        assert_letter(p, &plan, i, failed, shapes[shape].name);
        failed |= cannot_be_sent(caps, &plan.letters[i]);
    }
    pair_free(p);
}

/* The n-th valid set of offers, or 1 behind the last. */
static int offer_of(unsigned n, uint32_t *caps)
{
    static const uint32_t single[] = { EHLO_CAP_PIPELINING, EHLO_CAP_SIZE, EHLO_CAP_DSN, EHLO_CAP_ENHANCEDSTATUSCODES };
    static const uint32_t chunking[] = { 0, EHLO_CAP_CHUNKING, EHLO_CAP_CHUNKING | EHLO_CAP_BINARYMIME };
    static const uint32_t eight_bit[] = { 0, EHLO_CAP_8BITMIME, EHLO_CAP_8BITMIME | EHLO_CAP_SMTPUTF8 };
    *caps = 0;
    for (size_t i = 0; i < COUNT(single); i++) {
        if (n >> i & 1) *caps |= single[i];
    }
    n >>= COUNT(single);
    *caps |= chunking[n % 3] | eight_bit[n / 3 % 3];
    return n >= 9;
}

static void every_body_arrives_unchanged_whatever_is_offered(void **state)
{
    uint32_t caps;
    (void)state;
    for (unsigned n = 0; !offer_of(n, &caps); n++) {
        for (size_t shape = 0; shape < COUNT(shapes); shape++) {
            /* The large one is much of the time, and most offers mean nothing to it. */
            if (shape == COUNT(shapes) - 1 && (n & 14) != 0) continue;
            for (unsigned i = 0; i < 12; i++) run_shape(caps, i % 2 == 1, shape, (uint8_t)(i / 2 % 3), i < 6 ? 0 : 2);
        }
    }
}

static void letters_chain_in_every_manner(void **state)
{
    uint32_t caps;
    (void)state;
    for (unsigned n = 0; !offer_of(n, &caps); n++) {
        for (int chain = PAIR_CHAIN_DONE; chain <= PAIR_CHAIN_ON_DONE; chain++) {
            for (unsigned i = 0; i < 6; i++) run_shape(caps, i % 2 == 1, 1 + n % 4, (uint8_t)(i / 2), chain);
        }
    }
}

/* -- refusals --------------------------------------------------------------------------------------- */

static const uint32_t all_caps = EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING | EHLO_CAP_BINARYMIME | EHLO_CAP_8BITMIME |
                                 EHLO_CAP_SMTPUTF8 | EHLO_CAP_SIZE | EHLO_CAP_DSN | EHLO_CAP_ENHANCEDSTATUSCODES;

/* A plan of one large letter for three, that the others are made of. Large, so that it goes by BDAT where it may. */
static pair_plan plain_plan(unsigned variant)
{
    pair_plan plan = { 0 };
    plan.caps = all_caps;
    plan.lmtp = variant & 1;
    if (variant & 2) plan.caps &= ~(uint32_t)EHLO_CAP_PIPELINING;
    if (variant & 4) plan.caps &= ~(uint32_t)(EHLO_CAP_CHUNKING | EHLO_CAP_BINARYMIME);
    plan.count = 1;
    plan.letters[0].content = ehlo_str_make(large, 20000);
    plan.letters[0].source = (uint8_t)(variant / 8 % 3);
    plan.letters[0].nrcpts = 3;
    return plan;
}
enum { VARIANTS = 24 };

static void a_refusal_anywhere_is_every_recipients_outcome(void **state)
{
    static const struct {
        const char *name;
        size_t at;
    } places[] = {
        { "greeting", offsetof(pair_plan, greeting_code) },
        { "hello", offsetof(pair_plan, hello_code) },
        { "mail", offsetof(pair_plan, letters[0].mail_code) },
        { "data", offsetof(pair_plan, letters[0].data_code) },
        { "body", offsetof(pair_plan, letters[0].body_code) },
        { "message", offsetof(pair_plan, letters[0].message_code) },
    };
    static const uint16_t said[] = { 554, 451, 421, PAIR_FAIL };
    (void)state;
    for (size_t i = 0; i < VARIANTS * COUNT(places) * COUNT(said); i++) {
        size_t place = i / COUNT(said) % COUNT(places);
        uint16_t code = said[i % COUNT(said)];
        pair_plan plan = plain_plan((unsigned)(i / COUNT(said) / COUNT(places)));
        *(uint16_t *)(void *)((char *)&plan + places[place].at) = code;
        plan.letters[0].body_after = 9000;
        pair *p = run_plan(&plan, places[place].name);
        ehlo_outcome expected = code == PAIR_FAIL ? EHLO_OUTCOME_DEFERRED : ehlo_outcome_of(code);
        for (size_t r = 0; r < 3; r++) {
            /* LMTP: a 421 in the place of the first result leaves the others without one. */
            int unheard = plan.lmtp && r > 0 && code < 451 && pair_fate_of(p, 0)->rcpts[0].stage == EHLO_STAGE_FINAL;
            assert_outcome(p, 0, r, unheard ? EHLO_OUTCOME_UNCERTAIN : expected, places[place].name);
        }
        pair_free(p);
    }
}

static void recipients_fare_each_as_the_server_says(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        pair_plan plan = plain_plan(variant);
        plan.letters[0].rcpt_code[1] = 550;
        plan.letters[0].nrcpts = 4;
        plan.letters[0].result_code[2] = 452;
        plan.letters[0].result_code[3] = 554;
        pair *p = run_plan(&plan, "results");
        assert_outcome(p, 0, 0, EHLO_OUTCOME_DELIVERED, "first");
        assert_outcome(p, 0, 1, EHLO_OUTCOME_REJECTED, "refused at RCPT");
        assert_outcome(p, 0, 2, plan.lmtp ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_DELIVERED, "452 of LMTP");
        assert_outcome(p, 0, 3, plan.lmtp ? EHLO_OUTCOME_REJECTED : EHLO_OUTCOME_DELIVERED, "554 of LMTP");
        pair_free(p);
    }
}

static void a_letter_that_nobody_may_have_ends_alone(void **state) /* [K14] */
{
    (void)state;
    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        for (int chain = PAIR_CHAIN_DONE; chain <= PAIR_CHAIN_ON_DONE; chain++) {
            pair_plan plan = plain_plan(variant);
            plan.chain = chain;
            plan.count = 2;
            plan.letters[1] = plan.letters[0];
            for (size_t i = 0; i < 3; i++) plan.letters[0].rcpt_code[i] = i == 1 ? 451 : 550;
            pair *p = run_plan(&plan, "all refused");
            for (size_t i = 0; i < 3; i++) {
                assert_outcome(p, 0, i, i == 1 ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_REJECTED, "all refused");
                assert_outcome(p, 1, i, EHLO_OUTCOME_DELIVERED, "behind it");
            }
            pair_free(p);
        }
    }
}

static void all_or_none_sends_to_all_or_to_none(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 2 * VARIANTS; variant++) {
        pair_plan plan = plain_plan(variant % VARIANTS);
        int refused = variant >= VARIANTS;
        plan.letters[0].flags = EHLO_SEND_ALL_OR_NONE;
        plan.letters[0].rcpt_code[1] = refused ? 550 : 0;
        pair *p = run_plan(&plan, "all or none");
        for (size_t i = 0; i < 3; i++) {
            ehlo_outcome alone = i == 1 ? EHLO_OUTCOME_REJECTED : EHLO_OUTCOME_NOT_SENT;
            assert_outcome(p, 0, i, refused ? alone : EHLO_OUTCOME_DELIVERED, "all or none");
        }
        pair_free(p);
    }
}

static void recipients_beyond_the_servers_limit_get_a_transaction_of_their_own(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 2 * VARIANTS; variant++) {
        pair_plan plan = plain_plan(variant % VARIANTS);
        if (variant >= VARIANTS) plan.caps |= EHLO_CAP_LIMITS;
        plan.max_recipients = 2;
        plan.letters[0].nrcpts = 5;
        pair *p = run_plan(&plan, "too many");
        for (size_t i = 0; i < 5; i++) {
            int cannot = plan.letters[0].source == PAIR_PUSH && i >= 2;
            assert_outcome(p, 0, i, cannot ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_DELIVERED, "too many");
        }
        pair_free(p);
    }
}

static void recipients_that_are_always_too_many_are_deferred(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        pair_plan plan = plain_plan(variant);
        plan.letters[0].rcpt_code[2] = 452;
        pair *p = run_plan(&plan, "always too many");
        assert_outcome(p, 0, 0, EHLO_OUTCOME_DELIVERED, "always too many");
        assert_outcome(p, 0, 1, EHLO_OUTCOME_DELIVERED, "always too many");
        assert_outcome(p, 0, 2, EHLO_OUTCOME_DEFERRED, "always too many");
        pair_free(p);
    }
}

static void bare_octets_go_by_the_policy(void **state)
{
    static const struct {
        const char *name;
        ehlo_str content;
        uint8_t bare_cr, bare_lf;
        int by_data, by_bdat; /* it arrives */
    } rows[] = {
        { "CR by default", TEXT("a\rb\r\n"), 0, 0, 0, 0 },
        { "CR normalised", TEXT("a\rb\r\n.\r"), EHLO_BARE_NORMALISE, 0, 1, 1 },
        { "CR passed", TEXT("a\rb\r\n"), EHLO_BARE_PASS, EHLO_BARE_PASS, 0, 1 },
        { "LF by default", TEXT("a\nb\n"), 0, 0, 1, 1 },
        { "LF rejected", TEXT("a\nb\n"), 0, EHLO_BARE_REJECT, 0, 0 },
        { "LF passed", TEXT("a\nb\r\n"), EHLO_BARE_PASS, EHLO_BARE_PASS, 0, 1 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows) * VARIANTS; i++) {
        size_t row = i / VARIANTS;
        pair_plan plan = plain_plan((unsigned)(i % VARIANTS));
        plan.bare_cr = rows[row].bare_cr;
        plan.bare_lf = rows[row].bare_lf;
        plan.letters[0].content = rows[row].content;
        pair *p = run_plan(&plan, rows[row].name);
        /* A small letter may go by DATA though BDAT is offered. */
        int arrives = pair_fate_of(p, 0)->chunked ? rows[row].by_bdat : rows[row].by_data;
        if (rows[row].by_data == rows[row].by_bdat || pair_fate_of(p, 0)->chunked) {
            assert_outcome(p, 0, 0, arrives ? EHLO_OUTCOME_DELIVERED : EHLO_OUTCOME_REJECTED, rows[row].name);
        }
        pair_free(p);
    }
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* In clear without -PLUS, which there is nothing to bind to. */
static void whoever_knows_the_secret_sends_and_nobody_else(void **state) /* [C191] [C194] [C211] */
{
    (void)state;
    for (unsigned i = 0; i < VARIANTS * 4 * TOY_WITH_SECRET; i++) {
        pair_plan plan = plain_plan(i % VARIANTS);
        size_t mechanism = i / VARIANTS / 4;
        plan.auth = toy_mechanisms[mechanism];
        plan.letters[0].content.len = 300;
        plan.imposter = (int)(i / VARIANTS & 1);
        plan.tls = mechanism >= TOY_WITHOUT_BINDING || (i / VARIANTS & 2);
        if (plan.tls) plan.caps |= EHLO_CAP_STARTTLS;
        plan.later = (int)(i & 1);
        pair *p = run_plan(&plan, ehlo_sasl_name(plan.auth).ptr);
        for (size_t r = 0; r < 3; r++) {
            assert_outcome(p, 0, r, plan.imposter ? EHLO_OUTCOME_REJECTED : EHLO_OUTCOME_DELIVERED, "login");
        }
        pair_free(p);
    }
}

/* -- breaks ----------------------------------------------------------------------------------------- */

static pair_plan short_plan(unsigned variant)
{
    pair_plan plan = plain_plan(variant);
    plan.letters[0].content = ehlo_str_from("Subject: x\r\n\r\n.text\r\n");
    plan.letters[0].body = plan.caps & EHLO_CAP_BINARYMIME ? EHLO_BODY_BINARYMIME : EHLO_BODY_DEFAULT;
    plan.letters[0].nrcpts = 2;
    return plan;
}

static void a_break_is_not_sent_before_the_last_octet_and_uncertain_behind_it(void **state) /* [C82] [K17] */
{
    (void)state;
    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        pair_plan plan = short_plan(variant);
        pair *whole = run_plan(&plan, "whole");
        uint64_t all = pair_said(whole, PAIR_CLIENT), end = all - strlen("QUIT\r\n");
        pair_free(whole);
        for (uint64_t i = 0; i < 4 * all; i++) {
            plan.broken = PAIR_BREAK_EOF + (int)(i % 4);
            plan.broken_at = i / 4;
            pair *p = run_plan(&plan, "broken");
            ehlo_outcome expected = plan.broken_at < end ? EHLO_OUTCOME_NOT_SENT : EHLO_OUTCOME_UNCERTAIN;
            if (plan.broken_at > end) expected = EHLO_OUTCOME_DELIVERED;
            for (size_t r = 0; r < 2; r++) assert_outcome(p, 0, r, expected, "broken");
            pair_free(p);
        }
    }
}

static void a_break_at_any_octet_of_the_server_loses_and_doubles_nothing(void **state) /* [K17] */
{
    (void)state;
    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        pair_plan plan = short_plan(variant);
        plan.count = 2;
        plan.chain = PAIR_CHAIN_ON_NEXT;
        plan.broken_side = PAIR_SERVER;
        plan.letters[1] = plan.letters[0];
        plan.letters[1].rcpt_code[0] = 550;
        pair *whole = run_plan(&plan, "whole");
        uint64_t all = pair_said(whole, PAIR_SERVER);
        pair_free(whole);
        for (uint64_t i = 0; i < 4 * all; i++) {
            plan.broken = PAIR_BREAK_EOF + (int)(i % 4);
            plan.broken_at = i / 4;
            pair_free(run_plan(&plan, "broken"));
        }
    }
}

static void whatever_the_schedule_a_delivered_letter_arrived_once(void **state)
{
    const char *one = getenv("EHLO_PAIR_SEED");
    const char *count = getenv("EHLO_PAIR_COUNT");
    unsigned last = count != NULL ? (unsigned)strtoul(count, NULL, 10) : 2000;
    (void)state;
    if (one != NULL) {
        run_seed((unsigned)strtoul(one, NULL, 10));
        return;
    }
    for (unsigned seed = 1; seed <= last; seed++) run_seed(seed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_body_arrives_unchanged_whatever_is_offered),
        cmocka_unit_test(letters_chain_in_every_manner),
        cmocka_unit_test(a_refusal_anywhere_is_every_recipients_outcome),
        cmocka_unit_test(recipients_fare_each_as_the_server_says),
        cmocka_unit_test(a_letter_that_nobody_may_have_ends_alone),
        cmocka_unit_test(all_or_none_sends_to_all_or_to_none),
        cmocka_unit_test(recipients_beyond_the_servers_limit_get_a_transaction_of_their_own),
        cmocka_unit_test(recipients_that_are_always_too_many_are_deferred),
        cmocka_unit_test(bare_octets_go_by_the_policy),
        cmocka_unit_test(whoever_knows_the_secret_sends_and_nobody_else),
        cmocka_unit_test(a_break_is_not_sent_before_the_last_octet_and_uncertain_behind_it),
        cmocka_unit_test(a_break_at_any_octet_of_the_server_loses_and_doubles_nothing),
        cmocka_unit_test(whatever_the_schedule_a_delivered_letter_arrived_once),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup, NULL);
}
