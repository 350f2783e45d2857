/* The server's side of SASL exchanges. */
#include "sasl_exchange.h"

/* -- server: what a client may say ------------------------------------------------------------------ */

typedef struct response_row {
    const char *name;
    uint32_t mechanism;
    ehlo_str response;
    ehlo_sasl_step step;
    ehlo_str user;
    ehlo_str authzid;
    ehlo_str secret;
} response_row;

#define REFUSED_AS_MALFORMED                                                                                           \
    EHLO_SASL_MALFORMED, { NULL, 0 }, { NULL, 0 },                                                                     \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

static const response_row response_rows[] = {
    { "[C198] PLAIN", EHLO_SASL_PLAIN, TEXT("\0tim\0tanstaaftanstaaf"), EHLO_SASL_NEED_VERDICT, TEXT("tim"), TEXT(""),
      TEXT("tanstaaftanstaaf") },
    { "[C198] PLAIN as another", EHLO_SASL_PLAIN, TEXT("Ursel\0Kurt\0xipj3plmq"), EHLO_SASL_NEED_VERDICT, TEXT("Kurt"),
      TEXT("Ursel"), TEXT("xipj3plmq") },
    { "[C198] PLAIN in UTF-8", EHLO_SASL_PLAIN, TEXT("\0\xC3\xA4\0\xE2\x82\xAC"), EHLO_SASL_NEED_VERDICT,
      TEXT("\xC3\xA4"), TEXT(""), TEXT("\xE2\x82\xAC") },
    { "[U16] PLAIN without a NUL", EHLO_SASL_PLAIN, TEXT("timtanstaaf"), REFUSED_AS_MALFORMED },
    { "[U16] PLAIN with one NUL", EHLO_SASL_PLAIN, TEXT("tim\0tanstaaf"), REFUSED_AS_MALFORMED },
    { "[U16] PLAIN with three NULs", EHLO_SASL_PLAIN, TEXT("\0tim\0tan\0staaf"), REFUSED_AS_MALFORMED },
    { "[U16] PLAIN with a NUL at the end", EHLO_SASL_PLAIN, TEXT("\0tim\0tan\0"), REFUSED_AS_MALFORMED },
    { "[U16] PLAIN without a user", EHLO_SASL_PLAIN, TEXT("\0\0tanstaaf"), REFUSED_AS_MALFORMED },
    { "[C198] PLAIN without a password", EHLO_SASL_PLAIN, TEXT("\0tim\0"), REFUSED_AS_MALFORMED },
    { "PLAIN of nothing", EHLO_SASL_PLAIN, TEXT(""), REFUSED_AS_MALFORMED },
    { "[C198] a user that is not UTF-8", EHLO_SASL_PLAIN, TEXT("\0\xE4\0p"), REFUSED_AS_MALFORMED },
    { "[C198] a password that is not UTF-8", EHLO_SASL_PLAIN, TEXT("\0u\0\xE4"), REFUSED_AS_MALFORMED },
    { "[C206][U16] a control in the user", EHLO_SASL_PLAIN, TEXT("\0u\x7F\0p"), REFUSED_AS_MALFORMED },
    { "[C206][U19] a line end in the user", EHLO_SASL_PLAIN, TEXT("\0a\nb\0p"), REFUSED_AS_MALFORMED },
    { "[C206][U19] a line end in authzid", EHLO_SASL_PLAIN, TEXT("a\nb\0u\0p"), REFUSED_AS_MALFORMED },
    { "[C206] a control of Latin-1", EHLO_SASL_PLAIN, TEXT("\0a\xC2\x9B\0p"), REFUSED_AS_MALFORMED },
    { "[U19] no PLAIN", EHLO_SASL_PLAIN, TEXT("test"), REFUSED_AS_MALFORMED },
    { "[C205] EXTERNAL", EHLO_SASL_EXTERNAL, TEXT(""), EHLO_SASL_NEED_VERDICT, TEXT("CN=u"), TEXT(""), TEXT("") },
    { "[C205] EXTERNAL as another", EHLO_SASL_EXTERNAL, TEXT("z"), EHLO_SASL_NEED_VERDICT, TEXT("CN=u"), TEXT("z"),
      TEXT("") },
    { "[C206] EXTERNAL with a NUL", EHLO_SASL_EXTERNAL, TEXT("z\0"), REFUSED_AS_MALFORMED },
    { "ANONYMOUS", EHLO_SASL_ANONYMOUS, TEXT("sirhc"), EHLO_SASL_NEED_VERDICT, TEXT("sirhc"), TEXT(""), TEXT("") },
    { "ANONYMOUS without a trace", EHLO_SASL_ANONYMOUS, TEXT(""), EHLO_SASL_NEED_VERDICT, TEXT(""), TEXT(""),
      TEXT("") },
    { "[C206] ANONYMOUS with a control", EHLO_SASL_ANONYMOUS, TEXT("a\rb"), REFUSED_AS_MALFORMED },
    { "XOAUTH2", EHLO_SASL_XOAUTH2, TEXT("user=u@x\1auth=Bearer ya29.t\1\1"), EHLO_SASL_NEED_VERDICT, TEXT("u@x"),
      TEXT(""), TEXT("ya29.t") },
    { "XOAUTH2 in other case", EHLO_SASL_XOAUTH2, TEXT("user=u\1auth=bearer T\1\1"), EHLO_SASL_NEED_VERDICT, TEXT("u"),
      TEXT(""), TEXT("T") },
    { "XOAUTH2 without a user", EHLO_SASL_XOAUTH2, TEXT("user=\1auth=Bearer t\1\1"), REFUSED_AS_MALFORMED },
    { "XOAUTH2 without a token", EHLO_SASL_XOAUTH2, TEXT("user=u\1auth=Bearer \1\1"), REFUSED_AS_MALFORMED },
    { "XOAUTH2 of another scheme", EHLO_SASL_XOAUTH2, TEXT("user=u\1auth=Basic dQ==\1\1"), REFUSED_AS_MALFORMED },
    { "XOAUTH2 with one separator", EHLO_SASL_XOAUTH2, TEXT("user=u\1auth=Bearer t\1"), REFUSED_AS_MALFORMED },
    { "XOAUTH2 with more behind", EHLO_SASL_XOAUTH2, TEXT("user=u\1auth=Bearer t\1\1x"), REFUSED_AS_MALFORMED },
    { "[C206] XOAUTH2 with a line end", EHLO_SASL_XOAUTH2, TEXT("user=a\nb\1auth=Bearer t\1\1"), REFUSED_AS_MALFORMED },
    { "XOAUTH2 with a control in the token", EHLO_SASL_XOAUTH2, TEXT("user=u\1auth=Bearer a\nb\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER", EHLO_SASL_OAUTHBEARER,
      TEXT("n,a=user@example.com,\1host=server.example.com\1port=587\1auth=Bearer vF9dft4q==\1\1"),
      EHLO_SASL_NEED_VERDICT, TEXT("user@example.com"), TEXT(""), TEXT("vF9dft4q==") },
    { "[C204] OAUTHBEARER without a name", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1auth=Bearer t\1\1"),
      EHLO_SASL_NEED_VERDICT, TEXT(""), TEXT(""), TEXT("t") },
    { "[C204] OAUTHBEARER with an escaped name", EHLO_SASL_OAUTHBEARER, TEXT("y,a=a=2Cb=3D,\1auth=Bearer t\1\1"),
      EHLO_SASL_NEED_VERDICT, TEXT("a,b="), TEXT(""), TEXT("t") },
    { "[C204] OAUTHBEARER with pairs that we do not know", EHLO_SASL_OAUTHBEARER,
      TEXT("n,,\1qs=a=b&c\td\1auth=BEARER  t\1path=\1\1"), EHLO_SASL_NEED_VERDICT, TEXT(""), TEXT(""), TEXT("t") },
    { "[C204] OAUTHBEARER with binding", EHLO_SASL_OAUTHBEARER, TEXT("p=tls-exporter,,\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER without a token", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1auth=Bearer \1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER without auth", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1host=h\1\1"), REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER with two", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1auth=Bearer a\1auth=Bearer b\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER of another scheme", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1auth=Basic a\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER, one separator at the end", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1auth=Bearer t\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER, more behind the end", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1auth=Bearer t\1\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER without a header", EHLO_SASL_OAUTHBEARER, TEXT("\1auth=Bearer t\1\1"), REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER with a broken escape", EHLO_SASL_OAUTHBEARER, TEXT("n,a=a=2cb,\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER with a bare =", EHLO_SASL_OAUTHBEARER, TEXT("n,a=a=,\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER with a key of digits", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1a1=x\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER with a control in a value", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1h=\0\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C206] OAUTHBEARER with a line end in the name", EHLO_SASL_OAUTHBEARER, TEXT("n,a=a\nb,\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER with a pair without a key", EHLO_SASL_OAUTHBEARER, TEXT("n,,\1=x\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER with more behind its header", EHLO_SASL_OAUTHBEARER, TEXT("n,,x\1auth=Bearer t\1\1"),
      REFUSED_AS_MALFORMED },
    { "[C204] OAUTHBEARER that ends behind its header", EHLO_SASL_OAUTHBEARER, TEXT("n,,"), REFUSED_AS_MALFORMED },
    { "[C204] only the answer to a refusal", EHLO_SASL_OAUTHBEARER, TEXT("\1"), REFUSED_AS_MALFORMED },
};

static const ehlo_tls_facts subject_facts = { .peer_subject = TEXT("CN=u"), .peer_verified = 1 };
static const ehlo_sasl_server_config plain_config = { .facts = &subject_facts };

/* [C206] Not even what was refused may be shown with controls: somebody logs it. */
static void assert_names_are_clean(const server *s, const char *name)
{
    const ehlo_str told[] = { ehlo_sasl_server_user(s->x), ehlo_sasl_server_authzid(s->x) };
    assert_int_equal(ehlo_sasl_server_secret(s->x).len, 0);
    for (size_t i = 0; i < COUNT(told); i++) {
        if (!ehlo_utf8_valid(told[i], NULL)) fail_msg("%s: a name that is not UTF-8", name);
        for (size_t at = 0; at < told[i].len; at++) {
            unsigned char octet = (unsigned char)told[i].ptr[at];
            if (octet < ' ' || octet == 0x7F) fail_msg("%s: a control in a name", name);
        }
    }
}

static void check_response(const response_row *row, server *s)
{
    ehlo_sasl_step step = server_hear(s, row->response);
    if (step != row->step) fail_msg("%s: step %d, expected %d", row->name, (int)step, (int)row->step);
    assert_int_equal(ehlo_sasl_server_mechanism(s->x), row->mechanism);
    if (step == EHLO_SASL_NEED_VERDICT) {
        assert_text(row->user, ehlo_sasl_server_user(s->x), "user", row->name);
        assert_text(row->authzid, ehlo_sasl_server_authzid(s->x), "authzid", row->name);
        assert_text(row->secret, ehlo_sasl_server_secret(s->x), "secret", row->name);
    } else {
        assert_names_are_clean(s, row->name);
        assert_int_equal(server_hear(s, row->response), EHLO_SASL_NOT_ASKED);
        assert_int_equal(server_verdict(s, 1), EHLO_SASL_NOT_ASKED);
    }
}

static void the_server_reads_what_clients_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(response_rows); i++) {
        const response_row *row = &response_rows[i];
        server s;
        assert_int_equal(server_start(&s, row->mechanism, &plain_config), EHLO_OK);
        check_response(row, &s);
        server_end(&s);
        /* the same behind an empty challenge, without an initial response */
        assert_int_equal(server_start(&s, row->mechanism, &plain_config), EHLO_OK);
        assert_int_equal(server_hear_base64(&s, none), EHLO_SASL_CHALLENGE);
        assert_int_equal(s.said.len, 0);
        check_response(row, &s);
        server_end(&s);
    }
}

static void the_server_survives_each_cut_of_what_clients_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(response_rows); i++) {
        const response_row *row = &response_rows[i];
        for (size_t cut = 0; cut < row->response.len; cut++) {
            server s;
            assert_int_equal(server_start(&s, row->mechanism, &plain_config), EHLO_OK);
            ehlo_sasl_step step = server_hear(&s, ehlo_str_make(row->response.ptr, cut));
            int is_bearer = (row->mechanism & (EHLO_SASL_OAUTHBEARER | EHLO_SASL_XOAUTH2)) != 0;
            if (is_bearer && row->step == EHLO_SASL_NEED_VERDICT) assert_int_equal(step, EHLO_SASL_MALFORMED);
            if (step != EHLO_SASL_MALFORMED) assert_int_equal(step, EHLO_SASL_NEED_VERDICT);
            if (step == EHLO_SASL_MALFORMED) assert_names_are_clean(&s, row->name);
            server_end(&s);
        }
    }
}

/* [U11] In memory that has just the room. */
static void each_length_and_each_end_of_base64_is_judged(void **state)
{
    (void)state;
    static const char *const ends[] = { "",   "YQ==", "YWE=", "=",    "==",   "===",      "Y",
                                        "YW", "YWF",  "Y=",   "YW=",  "Y==",  "YR==",     "YWF=",
                                        "=Y", " ",    "\n",   "Y-_Y", "=YWF", "YQ==YWFh", "\xFF" };
    for (size_t len = 0; len <= 1024; len++) {
        char line[1024 + 16];
        for (size_t i = 0; i < len; i++) line[i] = "YWFh"[i % 4];
        for (size_t i = 0; i < COUNT(ends); i++) {
            char out[1024];
            size_t decoded;
            size_t behind = strlen(ends[i]);
            memcpy(line + len, ends[i], behind);
            ehlo_str response = guarded(ehlo_str_make(line, len + behind));
            int is_base64 = ehlo_base64_decode(response, out, sizeof out, &decoded, NULL) == EHLO_OK;
            int is_user = is_base64 && decoded > 0 && out[decoded - 1] > ' '; /* all before it are 'a' */
            server s;
            s.memory = arena_new(ehlo_sasl_server_size(response.len + 1));
            assert_int_equal(ehlo_sasl_server_start(&s.x, s.memory.start, s.memory.len, EHLO_SASL_LOGIN, &plain_config),
                             EHLO_OK);
            assert_int_equal(server_hear_base64(&s, response), is_user ? EHLO_SASL_CHALLENGE : EHLO_SASL_MALFORMED);
            server_end(&s);
            unguard(response);
        }
    }
}

static void a_trace_has_255_characters(void **state)
{
    (void)state;
    char trace[256 * 2];
    for (size_t i = 0; i < sizeof trace; i++) trace[i] = "\xC3\xA4"[i % 2];
    for (size_t count = 254; count <= 256; count++) {
        const ehlo_credentials credentials = { .user = { trace, count * 2 } };
        client c;
        server s;
        assert_int_equal(server_start(&s, EHLO_SASL_ANONYMOUS, &plain_config), EHLO_OK);
        assert_int_equal(server_hear(&s, credentials.user),
                         count <= 255 ? EHLO_SASL_NEED_VERDICT : EHLO_SASL_MALFORMED);
        server_end(&s);
        int result = client_start(&c, EHLO_SASL_ANONYMOUS, ALL, &credentials, NULL);
        assert_int_equal(result, count <= 255 ? EHLO_OK : EHLO_ERR_ARG);
        if (result == EHLO_OK) client_end(&c);
    }
}

static void login_asks_for_the_user_then_for_the_password(void **state) /* [C199] */
{
    (void)state;
    for (int initial = 0; initial < 2; initial++) {
        server s;
        assert_int_equal(server_start(&s, EHLO_SASL_LOGIN, &plain_config), EHLO_OK);
        if (!initial) {
            assert_int_equal(server_hear_base64(&s, none), EHLO_SASL_CHALLENGE);
            assert_text(text("Username:"), s.said, "prompt", "LOGIN");
        }
        assert_int_equal(server_hear(&s, text("u")), EHLO_SASL_CHALLENGE);
        assert_text(text("Password:"), s.said, "prompt", "LOGIN");
        assert_int_equal(server_hear(&s, text(PASSWORD)), EHLO_SASL_NEED_VERDICT);
        assert_text(text("u"), ehlo_sasl_server_user(s.x), "user", "LOGIN");
        assert_text(text(PASSWORD), ehlo_sasl_server_secret(s.x), "secret", "LOGIN");
        assert_int_equal(server_verdict(&s, 1), EHLO_SASL_ACCEPTED);
        server_end(&s);
    }
}

static void login_refuses_what_cannot_be_a_user_or_a_password(void **state) /* [C199] [C206] */
{
    (void)state;
    static const ehlo_str users[] = { TEXT(""), TEXT("a\nb"), TEXT("a\0b"), TEXT("\xFF"), TEXT("\x1B[2J") };
    static const ehlo_str passwords[] = { TEXT(""), TEXT("a\0b"), TEXT("\xFF") };
    server s;
    for (size_t i = 0; i < COUNT(users); i++) {
        assert_int_equal(server_start(&s, EHLO_SASL_LOGIN, &plain_config), EHLO_OK);
        assert_int_equal(server_hear(&s, users[i]), EHLO_SASL_MALFORMED);
        assert_int_equal(server_hear(&s, text("p")), EHLO_SASL_NOT_ASKED);
        server_end(&s);
    }
    for (size_t i = 0; i < COUNT(passwords); i++) {
        assert_int_equal(server_start(&s, EHLO_SASL_LOGIN, &plain_config), EHLO_OK);
        assert_int_equal(server_hear(&s, text("u")), EHLO_SASL_CHALLENGE);
        assert_int_equal(server_hear(&s, passwords[i]), EHLO_SASL_MALFORMED);
        server_end(&s);
    }
}

static void a_verdict_ends_it_and_the_secret_is_gone(void **state)
{
    (void)state;
    for (int right = 0; right < 2; right++) {
        server s;
        assert_int_equal(server_start(&s, EHLO_SASL_PLAIN, &plain_config), EHLO_OK);
        assert_int_equal(server_hear(&s, ehlo_str_make("z\0u\0" PASSWORD, 4 + strlen(PASSWORD))),
                         EHLO_SASL_NEED_VERDICT);
        assert_true(holds(s.memory.start, s.memory.len, text(PASSWORD)));
        assert_int_equal(server_hear(&s, text("")), EHLO_SASL_NOT_ASKED);
        assert_int_equal(server_keys(&s, NULL), EHLO_SASL_NOT_ASKED);
        assert_int_equal(server_password(&s, none), EHLO_SASL_NOT_ASKED);
        assert_text(text(PASSWORD), ehlo_sasl_server_secret(s.x), "secret", "still asked");
        assert_int_equal(server_verdict(&s, right), right ? EHLO_SASL_ACCEPTED : EHLO_SASL_REFUSED);
        assert_false(holds(s.memory.start, s.memory.len, text(PASSWORD)));
        assert_int_equal(ehlo_sasl_server_secret(s.x).len, 0);
        assert_text(text("u"), ehlo_sasl_server_user(s.x), "user", "verdict");
        assert_text(text("z"), ehlo_sasl_server_authzid(s.x), "authzid", "verdict");
        assert_int_equal(server_verdict(&s, 1), EHLO_SASL_NOT_ASKED);
        assert_int_equal(server_hear(&s, text("")), EHLO_SASL_NOT_ASKED);
        server_end(&s);
    }
}

static void a_refused_token_is_given_a_reason(void **state) /* [C204] */
{
    (void)state;
    static const char *const answers[] = { "\1", "", "whatever" };
    static const uint32_t mechanisms[] = { EHLO_SASL_OAUTHBEARER, EHLO_SASL_XOAUTH2 };
    static const char *const responses[] = { "n,a=u,\1auth=Bearer t\1\1", "user=u\1auth=Bearer t\1\1" };
    static const char *const reasons[] = { "{\"status\":\"invalid_token\"}",
                                           "{\"status\":\"400\",\"schemes\":\"Bearer\"}" };
    for (size_t i = 0; i < COUNT(mechanisms) * COUNT(answers); i++) {
        server s;
        size_t which = i % COUNT(mechanisms);
        assert_int_equal(server_start(&s, mechanisms[which], &plain_config), EHLO_OK);
        assert_int_equal(server_hear(&s, text(responses[which])), EHLO_SASL_NEED_VERDICT);
        assert_int_equal(server_verdict(&s, 0), EHLO_SASL_CHALLENGE);
        assert_text(text(reasons[which]), s.said, "reason", "refused token");
        assert_int_equal(server_verdict(&s, 1), EHLO_SASL_NOT_ASKED);
        assert_int_equal(server_hear(&s, text(answers[i / COUNT(mechanisms)])), EHLO_SASL_REFUSED);
        assert_int_equal(server_hear(&s, text("")), EHLO_SASL_NOT_ASKED);
        server_end(&s);
    }
    server s; /* RFC 7628 4.3: without a token, only the reason is asked for */
    assert_int_equal(server_start(&s, EHLO_SASL_OAUTHBEARER, &plain_config), EHLO_OK);
    assert_int_equal(server_hear(&s, text("n,a=u,\1host=h\1port=143\1auth=\1\1")), EHLO_SASL_CHALLENGE);
    assert_text(text(reasons[0]), s.said, "reason", "no token");
    assert_int_equal(server_hear(&s, text("\1")), EHLO_SASL_REFUSED);
    server_end(&s);
}

/* -- server: what it needs -------------------------------------------------------------------------- */

static void a_server_offers_nothing_that_it_cannot_do(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const uint32_t always =
        EHLO_SASL_PLAIN | EHLO_SASL_LOGIN | EHLO_SASL_ANONYMOUS | EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER;
    const uint32_t scram = EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_256;
    ehlo_crypto no_digest = crypto, no_hmac = crypto, no_random = crypto, no_pbkdf2 = crypto;
    no_digest.digest = NULL, no_hmac.hmac = NULL, no_random.random = NULL, no_pbkdf2.pbkdf2 = NULL;
    const ehlo_tls_facts bound = { .exporter = TEXT(EXPORTER) };
    const ehlo_tls_facts unverified = { .peer_subject = TEXT("CN=u") };
    const ehlo_tls_facts nameless = { .peer_verified = 1 };
    const ehlo_tls_facts control = { .peer_verified = 1, .peer_subject = TEXT("CN=a\nb") };
    const struct {
        ehlo_sasl_server_config config;
        uint32_t can;
    } rows[] = {
        { { .crypto = NULL }, always },
        { { .crypto = &crypto }, always | scram },
        { { .crypto = &crypto, .hostname = TEXT("mx") }, always | scram | EHLO_SASL_CRAM_MD5 },
        { { .crypto = &crypto, .hostname = TEXT("m x") }, always | scram },
        { { .crypto = &crypto, .facts = &bound }, always | scram | SCRAM_PLUS },
        { { .facts = &subject_facts }, always | EHLO_SASL_EXTERNAL }, /* [C205] */
        { { .facts = &unverified }, always },
        { { .facts = &nameless }, always },
        { { .facts = &control }, always }, /* [C206] */
        { { .crypto = &no_digest, .hostname = TEXT("mx") }, always | EHLO_SASL_CRAM_MD5 },
        { { .crypto = &no_hmac, .hostname = TEXT("mx") }, always },
        { { .crypto = &no_random, .hostname = TEXT("mx") }, always },
        { { .crypto = &no_pbkdf2, .hostname = TEXT("mx") }, always | scram | EHLO_SASL_CRAM_MD5 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (uint32_t bit = 1; bit < ALL; bit <<= 1) {
            server s;
            int expected = (rows[i].can & bit) != 0 ? EHLO_OK : EHLO_ERR_UNSUPPORTED;
            int result = server_start(&s, bit, &rows[i].config);
            if (result != expected) fail_msg("row %zu, 0x%x: %d", i, bit, result);
            if (result == EHLO_OK) server_end(&s);
        }
    }
    server s;
    assert_int_equal(server_start(&s, 0, &plain_config), EHLO_ERR_UNSUPPORTED);
    assert_int_equal(server_start(&s, EHLO_SASL_PLAIN, NULL), EHLO_ERR_UNSUPPORTED);
    assert_int_equal(server_start(&s, EHLO_SASL_PLAIN | EHLO_SASL_LOGIN, &plain_config), EHLO_ERR_UNSUPPORTED);
    ehlo_sasl_server_end(NULL);
}

/* The server's memory, for responses of so many octets of base64. */
static ehlo_sasl_step fits(uint32_t mechanism, size_t response_max, ehlo_str response)
{
    server s;
    s.memory = arena_new(ehlo_sasl_server_size(response_max));
    assert_int_equal(ehlo_sasl_server_start(&s.x, s.memory.start, s.memory.len, mechanism, &plain_config), EHLO_OK);
    ehlo_sasl_step step = server_hear(&s, response);
    server_end(&s);
    return step;
}

static void the_server_has_room_for_the_responses_that_it_was_told_of(void **state) /* [U12] [U16] */
{
    (void)state;
    char octets[12 * 1024];
    static const size_t sizes[] = { 4, 8, 300, 1024, 4096, EHLO_AUTH_LINE_MAX };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t len = sizes[i] / 4 * 3;
        memset(octets, 'x', sizeof octets);
        octets[0] = octets[len - 1] = '\0'; /* no password: but it was read */
        assert_int_equal(fits(EHLO_SASL_PLAIN, sizes[i], ehlo_str_make(octets, len)), EHLO_SASL_MALFORMED);
        if (len < 5) continue;
        octets[0] = 'z', octets[1] = '\0', octets[3] = '\0', octets[len - 1] = 'x';
        assert_int_equal(fits(EHLO_SASL_PLAIN, sizes[i], ehlo_str_make(octets, len)), EHLO_SASL_NEED_VERDICT);
    }
    memset(octets, 'x', sizeof octets);
    octets[0] = octets[2] = '\0';
    assert_int_equal(fits(EHLO_SASL_PLAIN, 4096, ehlo_str_make(octets, sizeof octets)), EHLO_SASL_MALFORMED);
    octets[2] = 'x', octets[301] = '\0'; /* [U16] a user of 300 octets */
    assert_int_equal(fits(EHLO_SASL_PLAIN, 0, ehlo_str_make(octets, 602)), EHLO_SASL_NEED_VERDICT);
    ehlo_sasl_server *x;
    assert_int_equal(ehlo_sasl_server_start(&x, octets, 0, EHLO_SASL_PLAIN, &plain_config), EHLO_ERR_SPACE);
    assert_null(x);
    assert_int_equal(ehlo_sasl_server_start(&x, NULL, 9999, EHLO_SASL_PLAIN, &plain_config), EHLO_ERR_SPACE);
    assert_int_equal(ehlo_sasl_server_size(0), ehlo_sasl_server_size(EHLO_AUTH_LINE_MAX));
    assert_true(ehlo_sasl_server_size(64) < ehlo_sasl_server_size(0));
    assert_int_equal(ehlo_sasl_server_size(SIZE_MAX), 0);
    assert_true(ehlo_sasl_server_size(0) < 16 * (size_t)1024);
}

static void login_has_room_for_user_and_password(void **state)
{
    (void)state;
    char octets[EHLO_AUTH_LINE_MAX / 4 * 3];
    server s;
    memset(octets, 'x', sizeof octets);
    assert_int_equal(server_start(&s, EHLO_SASL_LOGIN, &plain_config), EHLO_OK);
    assert_int_equal(server_hear(&s, ehlo_str_make(octets, 1536)), EHLO_SASL_CHALLENGE);
    assert_int_equal(server_hear(&s, ehlo_str_make(octets, sizeof octets)), EHLO_SASL_NEED_VERDICT);
    server_end(&s);
    assert_int_equal(fits(EHLO_SASL_LOGIN, 0, ehlo_str_make(octets, 1537)), EHLO_SASL_MALFORMED);
}

/* -- server: CRAM-MD5 ------------------------------------------------------------------------------- */

static void cram_md5_challenges_are_random_and_unique(void **state) /* [C200] */
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto, .hostname = TEXT("mx.example") };
    char challenges[2][64];
    for (size_t i = 0; i < 2; i++) {
        server s;
        assert_int_equal(server_start(&s, EHLO_SASL_CRAM_MD5, &config), EHLO_OK);
        assert_int_equal(server_hear_base64(&s, none), EHLO_SASL_CHALLENGE);
        assert_int_equal(s.said.len, 1 + 16 + 1 + 16 + 1 + 10 + 1);
        memcpy(challenges[i], s.said.ptr, s.said.len);
        assert_int_equal(challenges[i][0], '<');
        assert_int_equal(challenges[i][17], '.');
        assert_memory_equal(challenges[i] + 34, "@mx.example>", 12);
        assert_int_equal(strspn(challenges[i] + 1, "0123456789abcdef"), 16);
        server_end(&s);
    }
    assert_memory_not_equal(challenges[0], challenges[1], 34);
}

typedef struct digest_row {
    const char *name;
    ehlo_str response; /* $ stands for the right digest */
    ehlo_sasl_step step;
    const char *user;
} digest_row;

static const digest_row digest_rows[] = {
    { "right", TEXT("tim $"), EHLO_SASL_ACCEPTED, "tim" },
    { "a user with a space", TEXT("tim x $"), EHLO_SASL_ACCEPTED, "tim x" },
    { "wrong", TEXT("tim 00000000000000000000000000000000"), EHLO_SASL_REFUSED, "tim" },
    { "[C200] upper case", TEXT("tim B913A602C7EDA7A495B4E6E7334D3890"), EHLO_SASL_MALFORMED, NULL },
    { "[C200] one digit fewer", TEXT("tim 0000000000000000000000000000000"), EHLO_SASL_MALFORMED, NULL },
    { "[C200] one digit more", TEXT("tim $0"), EHLO_SASL_MALFORMED, NULL },
    { "[C200] no hex", TEXT("tim 0000000000000000000000000000000g"), EHLO_SASL_MALFORMED, NULL },
    { "no user", TEXT(" $"), EHLO_SASL_MALFORMED, NULL },
    { "no space", TEXT("tim$"), EHLO_SASL_MALFORMED, NULL },
    { "no digest", TEXT("tim "), EHLO_SASL_MALFORMED, NULL },
    { "nothing", TEXT(""), EHLO_SASL_MALFORMED, NULL },
    { "[C206] a line end", TEXT("a\nb $"), EHLO_SASL_MALFORMED, NULL },
    { "[C206] a NUL", TEXT("a\0b $"), EHLO_SASL_MALFORMED, NULL },
};

/* The digest that PASSWORD has for a challenge. */
static ehlo_str digest_of(ehlo_str challenge)
{
    static char hex[33];
    toy t = { 0, 0, 0 };
    uint8_t octets[16];
    assert_int_equal(toy_hmac(&t, EHLO_HASH_MD5, text(PASSWORD), &challenge, 1, octets), EHLO_OK);
    for (size_t i = 0; i < 16; i++) (void)snprintf(hex + 2 * i, 3, "%02x", octets[i]);
    return ehlo_str_make(hex, 32);
}

static void cram_md5_compares_digests(void **state) /* [C200] */
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto, .hostname = TEXT("mx.example") };
    for (size_t i = 0; i < COUNT(digest_rows); i++) {
        const digest_row *row = &digest_rows[i];
        for (int known = 0; known < 2; known++) {
            server s;
            assert_int_equal(server_start(&s, EHLO_SASL_CRAM_MD5, &config), EHLO_OK);
            assert_int_equal(server_hear_base64(&s, none), EHLO_SASL_CHALLENGE);
            ehlo_sasl_step step = server_hear(&s, filled(row->response, digest_of(s.said)));
            if (step == EHLO_SASL_NEED_PASSWORD) {
                assert_text(text(row->user), ehlo_sasl_server_user(s.x), "user", row->name);
                assert_int_equal(server_verdict(&s, 1), EHLO_SASL_NOT_ASKED);
                step = server_password(&s, known ? text(PASSWORD) : none);
            }
            ehlo_sasl_step expected = row->step == EHLO_SASL_ACCEPTED && !known ? EHLO_SASL_REFUSED : row->step;
            if (step != expected) fail_msg("%s: %d, expected %d", row->name, (int)step, (int)expected);
            server_end(&s);
        }
    }
    server s;
    assert_int_equal(server_start(&s, EHLO_SASL_CRAM_MD5, &config), EHLO_OK);
    assert_int_equal(server_hear(&s, text("tim 00000000000000000000000000000000")), EHLO_SASL_MALFORMED);
    server_end(&s);
}

/* A user who does not exist is not let in by the digest of an empty password. */
static void cram_md5_lets_nobody_in_without_a_password(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto, .hostname = TEXT("mx.example") };
    server s;
    char response[64];
    uint8_t octets[16];
    assert_int_equal(server_start(&s, EHLO_SASL_CRAM_MD5, &config), EHLO_OK);
    assert_int_equal(server_hear_base64(&s, none), EHLO_SASL_CHALLENGE);
    assert_int_equal(toy_hmac(&t, EHLO_HASH_MD5, none, &s.said, 1, octets), EHLO_OK);
    int len = snprintf(response, sizeof response, "u ");
    for (size_t i = 0; i < 16; i++) {
        len += snprintf(response + len, sizeof response - (size_t)len, "%02x", octets[i]);
    }
    assert_int_equal(server_hear(&s, ehlo_str_make(response, (size_t)len)), EHLO_SASL_NEED_PASSWORD);
    assert_int_equal(server_password(&s, none), EHLO_SASL_REFUSED);
    server_end(&s);
}

/* -- server: SCRAM ---------------------------------------------------------------------------------- */

typedef struct client_first_row {
    const char *name;
    uint32_t mechanism;
    uint32_t offered;
    ehlo_str message;
    ehlo_sasl_step step;
} client_first_row;

#define SHA_1 EHLO_SASL_SCRAM_SHA_1, EHLO_SASL_SCRAM_SHA_1
#define SHA_1_PLUS EHLO_SASL_SCRAM_SHA_1_PLUS, EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS

static const client_first_row client_first_rows[] = {
    { "as it should be", SHA_1, TEXT("n,,n=u,r=abc"), EHLO_SASL_NEED_KEYS },
    { "an extension that may be ignored", SHA_1, TEXT("n,,n=u,r=abc,x=y"), EHLO_SASL_NEED_KEYS },
    { "as another", SHA_1, TEXT("n,a=z,n=u,r=abc"), EHLO_SASL_NEED_KEYS },
    { "[C203] a client that could bind, and we could not", SHA_1, TEXT("y,,n=u,r=abc"), EHLO_SASL_NEED_KEYS },
    { "[C203] a client that was told that we could not", EHLO_SASL_SCRAM_SHA_1,
      EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS, TEXT("y,,n=u,r=abc"), EHLO_SASL_REFUSED },
    { "[C203] a client that could not bind", EHLO_SASL_SCRAM_SHA_1, EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS,
      TEXT("n,,n=u,r=abc"), EHLO_SASL_NEED_KEYS },
    { "[C203] a client that was told that we could not with any hash", EHLO_SASL_SCRAM_SHA_1,
      EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_256_PLUS, TEXT("y,,n=u,r=abc"), EHLO_SASL_REFUSED },
    { "[C203] a client that could not bind with any hash", EHLO_SASL_SCRAM_SHA_1,
      EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_256_PLUS, TEXT("n,,n=u,r=abc"), EHLO_SASL_NEED_KEYS },
    { "[C203] binding without -PLUS", SHA_1, TEXT("p=tls-exporter,,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "[C203] -PLUS by the exporter", SHA_1_PLUS, TEXT("p=tls-exporter,,n=u,r=abc"), EHLO_SASL_NEED_KEYS },
    { "[C203] -PLUS by the end point", SHA_1_PLUS, TEXT("p=tls-server-end-point,,n=u,r=abc"), EHLO_SASL_NEED_KEYS },
    { "[C203] -PLUS by what we do not know", SHA_1_PLUS, TEXT("p=tls-unique,,n=u,r=abc"), EHLO_SASL_REFUSED },
    { "[C203] -PLUS without", SHA_1_PLUS, TEXT("n,,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "[C203] -PLUS not believed", SHA_1_PLUS, TEXT("y,,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "a binding without a name", SHA_1_PLUS, TEXT("p=,,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "a binding with a strange name", SHA_1_PLUS, TEXT("p=a_b,,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "a flag that is none", SHA_1, TEXT("x,,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "a flag of two letters", SHA_1, TEXT("nn,,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "no flag", SHA_1, TEXT(",,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "no header", SHA_1, TEXT("n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "half a header", SHA_1, TEXT("n,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "an empty authzid", SHA_1, TEXT("n,a=,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "[C201] a mandatory extension", SHA_1, TEXT("n,,m=x,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "[C201] a mandatory extension behind", SHA_1, TEXT("n,,n=u,r=abc,m=x"), EHLO_SASL_MALFORMED },
    { "no user", SHA_1, TEXT("n,,n=,r=abc"), EHLO_SASL_MALFORMED },
    { "no nonce", SHA_1, TEXT("n,,n=u,r="), EHLO_SASL_MALFORMED },
    { "a space in the nonce", SHA_1, TEXT("n,,n=u,r=a b"), EHLO_SASL_MALFORMED },
    { "another order", SHA_1, TEXT("n,,r=abc,n=u"), EHLO_SASL_MALFORMED },
    { "a bare = in the user", SHA_1, TEXT("n,,n=a=b,r=abc"), EHLO_SASL_MALFORMED },
    { "an escape in lower case", SHA_1, TEXT("n,,n=a=2c,r=abc"), EHLO_SASL_MALFORMED },
    { "an escape of something else", SHA_1, TEXT("n,,n==41,r=abc"), EHLO_SASL_MALFORMED },
    { "half an escape", SHA_1, TEXT("n,,n=a=2,r=abc"), EHLO_SASL_MALFORMED },
    { "[C206] a control in the user", SHA_1, TEXT("n,,n=a\nb,r=abc"), EHLO_SASL_MALFORMED },
    { "[C206] a NUL in the user", SHA_1, TEXT("n,,n=a\0b,r=abc"), EHLO_SASL_MALFORMED },
    { "[C206] a control in authzid", SHA_1, TEXT("n,a=\x7F,n=u,r=abc"), EHLO_SASL_MALFORMED },
    { "no UTF-8", SHA_1, TEXT("n,,n=\xFF,r=abc"), EHLO_SASL_MALFORMED },
    { "a comma behind", SHA_1, TEXT("n,,n=u,r=abc,"), EHLO_SASL_MALFORMED },
    { "only a header", SHA_1, TEXT("n,,"), EHLO_SASL_MALFORMED },
    { "nothing", SHA_1, TEXT(""), EHLO_SASL_MALFORMED },
};

static void the_server_reads_first_messages_of_scram(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    for (size_t i = 0; i < COUNT(client_first_rows); i++) {
        const client_first_row *row = &client_first_rows[i];
        const ehlo_sasl_server_config config = { .crypto = &crypto, .facts = &both_bindings, .offered = row->offered };
        for (size_t cut = row->message.len;; cut--) {
            server s;
            assert_int_equal(server_start(&s, row->mechanism, &config), EHLO_OK);
            ehlo_sasl_step step = server_hear(&s, ehlo_str_make(row->message.ptr, cut));
            if (cut == row->message.len && step != row->step) {
                fail_msg("%s: %d, expected %d", row->name, (int)step, (int)row->step);
            }
            if (step == EHLO_SASL_NEED_KEYS) assert_int_equal(ehlo_sasl_server_user(s.x).len, 1);
            assert_names_are_clean(&s, row->name);
            server_end(&s);
            if (cut == 0) break;
        }
    }
}

static void the_server_has_room_for_long_messages_of_scram(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    ehlo_scram_keys keys = keys_of(EHLO_SASL_SCRAM_SHA_1, PASSWORD);
    char message[1537];
    for (size_t len = 1536; len <= 1537; len++) {
        server s;
        memset(message, 'x', sizeof message);
        memcpy(message, "n,a=z,n=u,r=", 12);
        assert_int_equal(server_start(&s, EHLO_SASL_SCRAM_SHA_1, &config), EHLO_OK);
        ehlo_sasl_step step = server_hear(&s, ehlo_str_make(message, len));
        assert_int_equal(step, len == 1536 ? EHLO_SASL_NEED_KEYS : EHLO_SASL_MALFORMED);
        if (step == EHLO_SASL_NEED_KEYS) assert_int_equal(server_keys(&s, &keys), EHLO_SASL_CHALLENGE);
        server_end(&s);
    }
}

/* Messages longer than those that the memory is for are refused at one step or another, and overrun nothing. */
static void scram_stays_in_little_memory(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    ehlo_scram_keys keys = keys_of(EHLO_SASL_SCRAM_SHA_1, PASSWORD);
    size_t outcomes[2] = { 0, 0 };
    for (size_t len = 12; len < 600; len++) {
        char message[600];
        server s;
        memset(message, 'x', sizeof message);
        memcpy(message, "n,,n=u,r=", 9);
        s.memory = arena_new(ehlo_sasl_server_size(1));
        assert_int_equal(ehlo_sasl_server_start(&s.x, s.memory.start, s.memory.len, EHLO_SASL_SCRAM_SHA_1, &config),
                         EHLO_OK);
        ehlo_sasl_step step = server_hear(&s, ehlo_str_make(message, len));
        if (step == EHLO_SASL_NEED_KEYS) {
            step = server_keys(&s, &keys);
            outcomes[step == EHLO_SASL_CHALLENGE]++;
            if (step == EHLO_SASL_CHALLENGE) step = server_hear(&s, ehlo_str_make(message, len));
        }
        assert_int_equal(step, EHLO_SASL_MALFORMED);
        server_end(&s);
    }
    assert_true(outcomes[0] > 0 && outcomes[1] > 0);
}

/* How the client's final message is changed on its way. */
typedef struct change_row {
    const char *name;
    char letter;          /* the attribute that is changed */
    const char *value;    /* its new value; NULL: as it was */
    const char *in_front; /* what is put before it */
    const char *behind;   /* what is put behind the message */
    ehlo_sasl_step step;
} change_row;

static const change_row change_rows[] = {
    { "as it was", 'c', NULL, "", "", EHLO_SASL_CHALLENGE },
    { "[C203] another header", 'c', "eSws", "", "", EHLO_SASL_REFUSED },
    { "[C203] no header", 'c', "AAAA", "", "", EHLO_SASL_REFUSED },
    { "[C203] more than a header", 'c', "biwsAAAA", "", "", EHLO_SASL_REFUSED },
    { "another nonce", 'r', "abcdefghijklmnopqrstuvwxyzabcdef", "", "", EHLO_SASL_REFUSED },
    { "another proof", 'p', "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "", "", EHLO_SASL_REFUSED },
    { "a short proof", 'p', "AAAA", "", "", EHLO_SASL_MALFORMED },
    { "a long proof", 'p', "AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", "", EHLO_SASL_MALFORMED },
    { "a proof that is not base64", 'p', "AAA", "", "", EHLO_SASL_MALFORMED },
    { "a proof that is too long", 'p', "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", "",
      EHLO_SASL_MALFORMED },
    { "an extension that was not signed", 'p', NULL, "x=y,", "", EHLO_SASL_REFUSED },
    { "[C201] a mandatory extension", 'p', NULL, "m=x,", "", EHLO_SASL_MALFORMED },
    { "something behind the proof", 'p', NULL, "", ",x=y", EHLO_SASL_MALFORMED },
    { "a comma behind the proof", 'p', NULL, "", ",", EHLO_SASL_MALFORMED },
    { "something before all", 'c', NULL, "x=y,", "", EHLO_SASL_MALFORMED },
    { "a control", 'p', NULL, "x=\n,", "", EHLO_SASL_MALFORMED },
    { "another nonce in front", 'r', NULL, "r=a,", "", EHLO_SASL_REFUSED },
};

static ehlo_str changed(const change_row *row, ehlo_str message)
{
    static char out[512];
    size_t len = 0;
    ehlo_str rest = message;
    while (rest.len > 0) {
        const char *comma = memchr(rest.ptr, ',', rest.len);
        size_t part = comma == NULL ? rest.len : (size_t)(comma - rest.ptr);
        int is_it = rest.ptr[0] == row->letter;
        len += (size_t)snprintf(out + len, sizeof out - len, "%s%s", len > 0 ? "," : "", is_it ? row->in_front : "");
        if (is_it && row->value != NULL) {
            len += (size_t)snprintf(out + len, sizeof out - len, "%c=%s", row->letter, row->value);
        } else {
            len += (size_t)snprintf(out + len, sizeof out - len, "%.*s", (int)part, rest.ptr);
        }
        part += comma != NULL;
        rest = ehlo_str_make(rest.ptr + part, rest.len - part);
    }
    len += (size_t)snprintf(out + len, sizeof out - len, "%s", row->behind);
    return ehlo_str_make(out, len);
}

static void the_server_believes_none_but_a_proper_final_message(void **state) /* [C201] */
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { .user = TEXT("u"), .password = TEXT(PASSWORD), .crypto = &crypto };
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    for (size_t i = 0; i < COUNT(change_rows); i++) {
        client c;
        server s;
        exchange_to_proof(&c, &s, EHLO_SASL_SCRAM_SHA_1, &credentials, &config);
        ehlo_sasl_step step = server_hear(&s, changed(&change_rows[i], c.said));
        if (step != change_rows[i].step) {
            fail_msg("%s: %d, expected %d", change_rows[i].name, (int)step, (int)change_rows[i].step);
        }
        client_end(&c);
        server_end(&s);
    }
}

static void the_server_believes_no_cut_and_no_flipped_bit_of_a_proof(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { .user = TEXT("u"), .password = TEXT(PASSWORD), .crypto = &crypto };
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    size_t len = 1;
    for (size_t at = 0; at < len; at++) {
        client c;
        server s;
        exchange_to_proof(&c, &s, EHLO_SASL_SCRAM_SHA_1, &credentials, &config);
        len = c.said.len;
        assert_int_not_equal(server_hear(&s, ehlo_str_make(c.said.ptr, at)), EHLO_SASL_CHALLENGE);
        client_end(&c);
        server_end(&s);
        exchange_to_proof(&c, &s, EHLO_SASL_SCRAM_SHA_1, &credentials, &config);
        c.copy[at] = (char)(c.copy[at] ^ 1);
        assert_int_not_equal(server_hear(&s, c.said), EHLO_SASL_CHALLENGE);
        client_end(&c);
        server_end(&s);
    }
}

static void the_client_has_the_last_and_empty_word(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { .user = TEXT("u"), .password = TEXT(PASSWORD), .crypto = &crypto };
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    for (int says = 0; says < 2; says++) {
        client c;
        server s;
        exchange_to_proof(&c, &s, EHLO_SASL_SCRAM_SHA_256, &credentials, &config);
        assert_int_equal(server_hear(&s, c.said), EHLO_SASL_CHALLENGE);
        assert_int_equal(server_keys(&s, NULL), EHLO_SASL_NOT_ASKED);
        assert_int_equal(server_hear(&s, text(says ? "x" : "")), says ? EHLO_SASL_MALFORMED : EHLO_SASL_ACCEPTED);
        assert_int_equal(server_hear(&s, text("")), EHLO_SASL_NOT_ASKED);
        client_end(&c);
        server_end(&s);
    }
}

/* The server's first message to a user, without its nonces. */
static void told_to(const char *user, const ehlo_scram_keys *keys, ehlo_str decoy, uint32_t iterations, char out[64])
{
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto, .decoy = decoy, .decoy_iterations = iterations };
    char first[64];
    server s;
    int len = snprintf(first, sizeof first, "n,,n=%s,r=abc", user);
    assert_int_equal(server_start(&s, EHLO_SASL_SCRAM_SHA_256, &config), EHLO_OK);
    assert_int_equal(server_hear(&s, ehlo_str_make(first, (size_t)len)), EHLO_SASL_NEED_KEYS);
    assert_int_equal(server_keys(&s, keys), EHLO_SASL_CHALLENGE);
    (void)snprintf(out, 64, "%.*s", (int)s.said.len - 29, s.said.ptr + 29);
    server_end(&s);
}

static void a_user_who_does_not_exist_looks_like_one_who_does(void **state)
{
    (void)state;
    ehlo_scram_keys keys = keys_of(EHLO_SASL_SCRAM_SHA_256, PASSWORD);
    char real[64], nobody[64], again[64], another[64], elsewhere[64];
    keys.salt_len = 16;
    told_to("u", &keys, none, 0, real);
    told_to("nobody", NULL, text("secret"), 0, nobody);
    told_to("nobody", NULL, text("secret"), 0, again);
    told_to("nobody2", NULL, text("secret"), 0, another);
    told_to("nobody", NULL, text("secret of another"), 0, elsewhere);
    assert_int_equal(strlen(real), strlen(nobody));
    assert_string_equal(real + strlen(real) - 7, ",i=4096");
    assert_string_equal(nobody + strlen(nobody) - 7, ",i=4096");
    assert_string_equal(nobody, again);
    assert_string_not_equal(nobody, another);
    assert_string_not_equal(nobody, elsewhere);
    keys.iterations = 10000;
    told_to("u", &keys, none, 0, real);
    told_to("nobody", NULL, text("secret"), 10000, nobody);
    assert_int_equal(strlen(real), strlen(nobody));
    assert_string_equal(real + strlen(real) - 8, ",i=10000");
    assert_string_equal(nobody + strlen(nobody) - 8, ",i=10000");
}

static void a_user_who_does_not_exist_never_gets_in(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { .user = TEXT("u"), .password = TEXT(PASSWORD), .crypto = &crypto };
    ehlo_sasl_server_config config = { .crypto = &crypto, .decoy = TEXT("secret") };
    client c;
    server s;
    assert_int_equal(client_start(&c, EHLO_SASL_SCRAM_SHA_1, ALL, &credentials, NULL), EHLO_OK);
    assert_int_equal(server_start(&s, EHLO_SASL_SCRAM_SHA_1, &config), EHLO_OK);
    assert_int_equal(server_hear(&s, c.said), EHLO_SASL_NEED_KEYS);
    assert_int_equal(server_keys(&s, NULL), EHLO_SASL_CHALLENGE);
    assert_int_equal(client_hear(&c, s.said), EHLO_OK);
    assert_int_equal(server_hear(&s, c.said), EHLO_SASL_REFUSED);
    client_end(&c);
    server_end(&s);
    config.decoy = none;
    assert_int_equal(server_start(&s, EHLO_SASL_SCRAM_SHA_1, &config), EHLO_OK);
    assert_int_equal(server_hear(&s, text("n,,n=u,r=abc")), EHLO_SASL_NEED_KEYS);
    assert_int_equal(server_keys(&s, NULL), EHLO_SASL_REFUSED);
    assert_int_equal(server_hear(&s, text("")), EHLO_SASL_NOT_ASKED);
    server_end(&s);
}

static void keys_that_are_none_are_a_failure_of_ours(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    for (int i = 0; i < 3; i++) {
        ehlo_scram_keys keys = keys_of(EHLO_SASL_SCRAM_SHA_1, PASSWORD);
        server s;
        if (i == 0) keys.iterations = 0;
        if (i == 1) keys.salt_len = 0;
        if (i == 2) keys.salt_len = EHLO_SCRAM_SALT_MAX + 1;
        assert_int_equal(server_start(&s, EHLO_SASL_SCRAM_SHA_1, &config), EHLO_OK);
        assert_int_equal(server_hear(&s, text("n,,n=u,r=abc")), EHLO_SASL_NEED_KEYS);
        ehlo_sasl_step step = server_keys(&s, &keys);
        assert_int_equal(step, EHLO_SASL_FAILED);
        assert_true(step < 0);
        server_end(&s);
    }
}

static void keys_are_derived_from_what_is_fit_for_it(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    ehlo_crypto lacking = crypto;
    ehlo_scram_keys keys;
    char salt[65] = "a salt";
    const ehlo_str p = TEXT("p"), most = { salt, 64 }, more = { salt, 65 };
    lacking.pbkdf2 = NULL;
    assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_SHA_256, p, most, 4096, &keys), EHLO_OK);
    assert_int_equal(keys.salt_len, 64);
    assert_int_equal(keys.iterations, 4096);
    assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_SHA_256, p, more, 4096, &keys), EHLO_ERR_ARG);
    assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_SHA_256, p, none, 4096, &keys), EHLO_ERR_ARG);
    assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_SHA_256, p, most, 4095, &keys), EHLO_ERR_ARG);
    assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_SHA_256, none, most, 4096, &keys), EHLO_ERR_ARG);
    assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_SHA_256, text("\xFF"), most, 4096, &keys), EHLO_ERR_ARG);
    assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_MD5, p, most, 4096, &keys), EHLO_ERR_ARG);
    assert_int_equal(ehlo_scram_derive(NULL, EHLO_HASH_SHA_1, p, most, 4096, &keys), EHLO_ERR_UNSUPPORTED);
    assert_int_equal(ehlo_scram_derive(&lacking, EHLO_HASH_SHA_1, p, most, 4096, &keys), EHLO_ERR_UNSUPPORTED);
    for (unsigned call = 1; call <= 4; call++) {
        t.calls = 0;
        t.fail_at = call;
        assert_int_equal(ehlo_scram_derive(&crypto, EHLO_HASH_SHA_1, p, most, 4096, &keys), EHLO_ERR_SYSTEM);
        assert_zero(&keys, sizeof keys, "keys");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_reads_what_clients_say),
        cmocka_unit_test(the_server_survives_each_cut_of_what_clients_say),
        cmocka_unit_test(each_length_and_each_end_of_base64_is_judged),
        cmocka_unit_test(a_trace_has_255_characters),
        cmocka_unit_test(login_asks_for_the_user_then_for_the_password),
        cmocka_unit_test(login_refuses_what_cannot_be_a_user_or_a_password),
        cmocka_unit_test(a_verdict_ends_it_and_the_secret_is_gone),
        cmocka_unit_test(a_refused_token_is_given_a_reason),
        cmocka_unit_test(a_server_offers_nothing_that_it_cannot_do),
        cmocka_unit_test(the_server_has_room_for_the_responses_that_it_was_told_of),
        cmocka_unit_test(login_has_room_for_user_and_password),
        cmocka_unit_test(cram_md5_challenges_are_random_and_unique),
        cmocka_unit_test(cram_md5_compares_digests),
        cmocka_unit_test(cram_md5_lets_nobody_in_without_a_password),
        cmocka_unit_test(the_server_reads_first_messages_of_scram),
        cmocka_unit_test(the_server_has_room_for_long_messages_of_scram),
        cmocka_unit_test(scram_stays_in_little_memory),
        cmocka_unit_test(the_server_believes_none_but_a_proper_final_message),
        cmocka_unit_test(the_server_believes_no_cut_and_no_flipped_bit_of_a_proof),
        cmocka_unit_test(the_client_has_the_last_and_empty_word),
        cmocka_unit_test(a_user_who_does_not_exist_looks_like_one_who_does),
        cmocka_unit_test(a_user_who_does_not_exist_never_gets_in),
        cmocka_unit_test(keys_that_are_none_are_a_failure_of_ours),
        cmocka_unit_test(keys_are_derived_from_what_is_fit_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
