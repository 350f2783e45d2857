/* The client's side of SASL exchanges. */
#include "sasl_exchange.h"

/* -- client: how it begins -------------------------------------------------------------------------- */

typedef struct begin_row {
    const char *name;
    uint32_t mechanism;
    ehlo_credentials credentials;
    ehlo_str said; /* ptr NULL: the server speaks first */
} begin_row;

static const begin_row begin_rows[] = {
    { "[C198] PLAIN", EHLO_SASL_PLAIN, { BOTH }, TEXT("\0u\0p") },
    { "[C198] PLAIN as another", EHLO_SASL_PLAIN, { BOTH, .authzid = TEXT("z") }, TEXT("z\0u\0p") },
    { "PLAIN of all that a password may be",
      EHLO_SASL_PLAIN,
      { .user = TEXT("u,=\xC3\xA4"), .password = TEXT("\x01 \xE2\x82\xAC") },
      TEXT("\0u,=\xC3\xA4\0\x01 \xE2\x82\xAC") },
    { "[C199] LOGIN", EHLO_SASL_LOGIN, { BOTH }, { NULL, 0 } },
    { "[C200] CRAM-MD5", EHLO_SASL_CRAM_MD5, { BOTH }, { NULL, 0 } },
    { "[C205] EXTERNAL as who the certificate says", EHLO_SASL_EXTERNAL, { .user = TEXT("u") }, TEXT("") },
    { "[C205] EXTERNAL as another", EHLO_SASL_EXTERNAL, { .authzid = TEXT("z@x") }, TEXT("z@x") },
    { "ANONYMOUS without a trace", EHLO_SASL_ANONYMOUS, { .port = 1 }, TEXT("") },
    { "ANONYMOUS with a trace", EHLO_SASL_ANONYMOUS, { .user = TEXT("sirhc") }, TEXT("sirhc") },
    { "XOAUTH2", EHLO_SASL_XOAUTH2, { TOKEN }, TEXT("user=u\1auth=Bearer t\1\1") },
    { "[C204] OAUTHBEARER", EHLO_SASL_OAUTHBEARER, { TOKEN }, TEXT("n,a=u,\1auth=Bearer t\1\1") },
    { "[C204] OAUTHBEARER with host and port",
      EHLO_SASL_OAUTHBEARER,
      { TOKEN, .host = TEXT("h.example"), .port = 587 },
      TEXT("n,a=u,\1host=h.example\1port=587\1auth=Bearer t\1\1") },
    { "[C204] OAUTHBEARER escapes",
      EHLO_SASL_OAUTHBEARER,
      { .user = TEXT("a=b,c"), .token = TEXT("t") },
      TEXT("n,a=a=3Db=2Cc,\1auth=Bearer t\1\1") },
    { "OAUTHBEARER of a token that tells the name",
      EHLO_SASL_OAUTHBEARER,
      { .token = TEXT("t==") },
      TEXT("n,,\1auth=Bearer t==\1\1") },
    { "OAUTHBEARER as another",
      EHLO_SASL_OAUTHBEARER,
      { TOKEN, .authzid = TEXT("z") },
      TEXT("n,a=z,\1auth=Bearer t\1\1") },
};

static void the_client_begins_as_its_mechanism_does(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    for (size_t i = 0; i < COUNT(begin_rows); i++) {
        const begin_row *row = &begin_rows[i];
        ehlo_credentials credentials = row->credentials;
        client c;
        credentials.crypto = &crypto;
        int result = client_start(&c, row->mechanism, ALL, &credentials, NULL);
        if (result != EHLO_OK) fail_msg("%s: %d", row->name, result);
        if ((c.said.ptr == NULL) != (row->said.ptr == NULL)) fail_msg("%s: who speaks first?", row->name);
        assert_text(row->said, c.said, "said", row->name);
        client_end(&c);
    }
}

typedef struct unfit_row {
    const char *name;
    uint32_t mechanism;
    ehlo_credentials credentials;
    int result;
} unfit_row;

static char long_text[EHLO_AUTH_LINE_MAX + 1];

static const unfit_row unfit_rows[] = {
    { "no user", EHLO_SASL_PLAIN, { .password = TEXT("p") }, EHLO_ERR_ARG },
    { "no password", EHLO_SASL_LOGIN, { .user = TEXT("u") }, EHLO_ERR_ARG },
    { "no password for SCRAM", EHLO_SASL_SCRAM_SHA_1, { .user = TEXT("u") }, EHLO_ERR_ARG },
    { "no token", EHLO_SASL_XOAUTH2, { BOTH }, EHLO_ERR_ARG },
    { "no token for OAUTHBEARER", EHLO_SASL_OAUTHBEARER, { BOTH }, EHLO_ERR_ARG },
    { "LOGIN as another", EHLO_SASL_LOGIN, { BOTH, .authzid = TEXT("z") }, EHLO_ERR_ARG },
    { "XOAUTH2 as another", EHLO_SASL_XOAUTH2, { TOKEN, .authzid = TEXT("z") }, EHLO_ERR_ARG },
    { "CRAM-MD5 as another", EHLO_SASL_CRAM_MD5, { BOTH, .authzid = TEXT("z") }, EHLO_ERR_ARG },
    { "ANONYMOUS as another", EHLO_SASL_ANONYMOUS, { .authzid = TEXT("z") }, EHLO_ERR_ARG },
    { "[C206] a NUL in the name", EHLO_SASL_PLAIN, { .user = TEXT("a\0b"), .password = TEXT("p") }, EHLO_ERR_ARG },
    { "[C206] a line end in the name", EHLO_SASL_LOGIN, { .user = TEXT("a\nb"), .password = TEXT("p") }, EHLO_ERR_ARG },
    { "[C206] a control of Latin-1 in the name",
      EHLO_SASL_PLAIN,
      { .user = TEXT("a\xC2\x85"), .password = TEXT("p") },
      EHLO_ERR_ARG },
    { "[C206] a control in authzid", EHLO_SASL_EXTERNAL, { .authzid = TEXT("a\1") }, EHLO_ERR_ARG },
    { "a name that is not UTF-8",
      EHLO_SASL_SCRAM_SHA_1,
      { .user = TEXT("\xE4"), .password = TEXT("p") },
      EHLO_ERR_ARG },
    { "a NUL in the password", EHLO_SASL_PLAIN, { .user = TEXT("u"), .password = TEXT("p\0") }, EHLO_ERR_ARG },
    { "a password that is not UTF-8", EHLO_SASL_PLAIN, { .user = TEXT("u"), .password = TEXT("\xFF") }, EHLO_ERR_ARG },
    { "a separator in the token", EHLO_SASL_XOAUTH2, { .user = TEXT("u"), .token = TEXT("a\1b") }, EHLO_ERR_ARG },
    { "a space in the token", EHLO_SASL_OAUTHBEARER, { .user = TEXT("u"), .token = TEXT("a b") }, EHLO_ERR_ARG },
    { "a separator in the host", EHLO_SASL_OAUTHBEARER, { TOKEN, .host = TEXT("a\1b") }, EHLO_ERR_ARG },
    { "a token that no line can hold",
      EHLO_SASL_OAUTHBEARER,
      { .user = TEXT("u"), .token = { long_text, sizeof long_text } },
      EHLO_ERR_ARG },
    { "no mechanism", 0, { BOTH }, EHLO_ERR_UNSUPPORTED },
    { "two mechanisms", EHLO_SASL_PLAIN | EHLO_SASL_LOGIN, { BOTH }, EHLO_ERR_UNSUPPORTED },
    { "no channel binding", EHLO_SASL_SCRAM_SHA_256_PLUS, { BOTH }, EHLO_ERR_UNSUPPORTED },
};

static void credentials_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < COUNT(unfit_rows); i++) {
        const unfit_row *row = &unfit_rows[i];
        ehlo_credentials credentials = row->credentials;
        client c;
        credentials.crypto = &crypto;
        int result = client_start(&c, row->mechanism, ALL, &credentials, NULL);
        if (result != row->result) fail_msg("%s: %d, expected %d", row->name, result, row->result);
    }
}

static void a_client_without_cryptography_says_so(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    const ehlo_crypto whole = crypto_of(&t);
    for (int lacking = 0; lacking < 5; lacking++) {
        ehlo_crypto crypto = whole;
        if (lacking == 1) crypto.digest = NULL;
        if (lacking == 2) crypto.hmac = NULL;
        if (lacking == 3) crypto.pbkdf2 = NULL;
        if (lacking == 4) crypto.random = NULL;
        const ehlo_credentials credentials = { BOTH, .crypto = lacking > 0 ? &crypto : NULL };
        int cram_md5 = lacking == 0 || lacking == 2 ? EHLO_ERR_UNSUPPORTED : EHLO_OK;
        client c;
        assert_int_equal(client_start(&c, EHLO_SASL_SCRAM_SHA_1, ALL, &credentials, NULL), EHLO_ERR_UNSUPPORTED);
        assert_int_equal(client_start(&c, EHLO_SASL_CRAM_MD5, ALL, &credentials, NULL), cram_md5);
        if (cram_md5 == EHLO_OK) client_end(&c);
    }
}

static void the_client_needs_the_memory_that_it_says(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    memset(long_text, ',', sizeof long_text);
    const ehlo_tls_facts facts = { .exporter =
                                       TEXT("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef") };
    /* the largest that credentials may be, of octets that are escaped */
    const ehlo_str most = { long_text, EHLO_AUTH_LINE_MAX };
    const ehlo_credentials credentials = { .user = most, .password = most, .authzid = most, .crypto = &crypto };
    size_t size = ehlo_sasl_client_size(&credentials);
    char *mem = malloc(size);
    assert_non_null(mem);
    ehlo_sasl_client *x;
    ehlo_str said;
    assert_int_equal(
        ehlo_sasl_client_start(&x, mem, size - 1, EHLO_SASL_SCRAM_SHA_256_PLUS, ALL, &credentials, &facts, &said),
        EHLO_ERR_SPACE);
    assert_null(x);
    assert_null(said.ptr);
    assert_int_equal(
        ehlo_sasl_client_start(&x, mem, size, EHLO_SASL_SCRAM_SHA_256_PLUS, ALL, &credentials, &facts, &said), EHLO_OK);
    assert_true(said.len > 6 * (size_t)EHLO_AUTH_LINE_MAX);
    char challenge[1536];
    ehlo_str nonce = ehlo_str_make(said.ptr + said.len - 24, 24);
    int head = snprintf(challenge, sizeof challenge, "r=%.*s", (int)nonce.len, nonce.ptr);
    memset(challenge + head, 'x', sizeof challenge - (size_t)head);
    memcpy(challenge + sizeof challenge - 14, ",s=eHh4,i=4096", 14);
    ehlo_str line = armoured(ehlo_str_make(challenge, sizeof challenge));
    assert_int_equal(ehlo_sasl_client_step(x, line, &said), EHLO_OK);
    assert_true(said.len > 4 * (size_t)EHLO_AUTH_LINE_MAX + sizeof challenge - 100);
    unguard(line);
    ehlo_sasl_client_end(x);
    assert_zero(mem, size, "client");
    free(mem);
    const ehlo_credentials huge = { .user = { "", SIZE_MAX }, .password = { "", SIZE_MAX }, .token = { "", SIZE_MAX } };
    assert_true(ehlo_sasl_client_size(&huge) < 1024 * (size_t)1024);
    assert_int_equal(ehlo_sasl_client_size(NULL), 0);
    assert_int_equal(ehlo_sasl_client_start(&x, NULL, 0, EHLO_SASL_PLAIN, 0, &credentials, NULL, &said), EHLO_ERR_ARG);
    ehlo_sasl_client_end(NULL);
}

/* -- client: challenges ----------------------------------------------------------------------------- */

#define TOO_MUCH "the server asks for more than the mechanism has"
#define OUT_OF_TURN "the server ended the exchange out of turn"

/* What was refused stays refused, whatever the server says. */
static void assert_client_is_over(client *c, const char *problem)
{
    assert_problem(c, problem, "over");
    assert_null(c->said.ptr);
    assert_int_equal(client_hear(c, text("Password:")), EHLO_ERR_STATE);
    assert_int_equal(ehlo_sasl_client_finish(c->x), EHLO_ERR_SYNTAX);
    assert_problem(c, problem, "over");
    client_end(c);
}

static void login_answers_two_prompts_in_their_order(void **state) /* [C199] */
{
    (void)state;
    static const char *const prompts[][2] = { { "Username:", "Password:" }, { "Password:", "Username:" }, { "", "" } };
    const ehlo_credentials credentials = { BOTH };
    for (size_t i = 0; i < COUNT(prompts); i++) {
        client c;
        assert_int_equal(client_start(&c, EHLO_SASL_LOGIN, ALL, &credentials, NULL), EHLO_OK);
        assert_int_equal(client_hear(&c, text(prompts[i][0])), EHLO_OK);
        assert_text(text("u"), c.said, "said", "first");
        assert_int_equal(client_hear(&c, text(prompts[i][1])), EHLO_OK);
        assert_text(text("p"), c.said, "said", "second");
        assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_OK);
        assert_int_equal(client_hear(&c, text("Otp:")), EHLO_ERR_SYNTAX); /* [K11] */
        assert_client_is_over(&c, TOO_MUCH);
    }
}

static void a_server_that_accepts_too_early_is_not_believed(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
    client c;
    assert_int_equal(client_start(&c, EHLO_SASL_LOGIN, ALL, &credentials, NULL), EHLO_OK);
    assert_int_equal(client_hear(&c, text("Username:")), EHLO_OK);
    assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_ERR_SYNTAX);
    client_keep(&c, none);
    assert_client_is_over(&c, OUT_OF_TURN);
    assert_int_equal(client_start(&c, EHLO_SASL_CRAM_MD5, ALL, &credentials, NULL), EHLO_OK);
    assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_ERR_SYNTAX);
    assert_client_is_over(&c, OUT_OF_TURN);
}

static void what_asks_for_more_is_refused(void **state) /* [K11] [C195] */
{
    (void)state;
    const ehlo_credentials credentials = { BOTH };
    static const uint32_t mechanisms[] = { EHLO_SASL_PLAIN, EHLO_SASL_EXTERNAL, EHLO_SASL_ANONYMOUS };
    for (size_t i = 0; i < COUNT(mechanisms); i++) {
        client c;
        assert_int_equal(client_start(&c, mechanisms[i], ALL, &credentials, NULL), EHLO_OK);
        assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_OK);
        assert_int_equal(client_hear(&c, text("")), EHLO_ERR_SYNTAX);
        assert_client_is_over(&c, TOO_MUCH);
    }
}

static void a_thousand_challenges_are_not_answered(void **state) /* [K11] */
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .token = TEXT("t"), .crypto = &crypto };
    const ehlo_tls_facts facts = { .exporter = TEXT(EXPORTER) };
    for (uint32_t bit = 1; bit < ALL; bit <<= 1) {
        client c;
        int answered = 0;
        assert_int_equal(client_start(&c, bit, ALL, &credentials, &facts), EHLO_OK);
        for (int i = 0; i < 1000; i++) answered += client_hear(&c, text("r=x,s=eA==,i=4096")) == EHLO_OK;
        assert_true(answered <= 2);
        assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_ERR_SYNTAX);
        client_end(&c);
    }
}

static void a_challenge_must_be_base64_and_short(void **state) /* [K11] [C195] */
{
    (void)state;
    static const char *const none_of_base64[] = { "!!!!", "=", "AAA", "AA==AAAA", "AA-_", "AAAA AAAA", "AB==" };
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
    static char octets[10 * 1024];
    client c;
    for (size_t i = 0; i < COUNT(none_of_base64); i++) {
        ehlo_str line = guarded(text(none_of_base64[i]));
        assert_int_equal(client_start(&c, EHLO_SASL_LOGIN, ALL, &credentials, NULL), EHLO_OK);
        assert_int_equal(client_hear_base64(&c, line), EHLO_ERR_SYNTAX);
        assert_client_is_over(&c, "the server's challenge is not base64");
        unguard(line);
    }
    for (size_t len = 1535; len < 1539; len++) {
        assert_int_equal(client_start(&c, EHLO_SASL_CRAM_MD5, ALL, &credentials, NULL), EHLO_OK);
        assert_int_equal(client_hear(&c, ehlo_str_make(octets, len)), len <= 1536 ? EHLO_OK : EHLO_ERR_SYNTAX);
        if (len > 1536) assert_problem(&c, "the server's challenge is too long", "length");
        client_end(&c);
    }
    assert_int_equal(client_start(&c, EHLO_SASL_LOGIN, ALL, &credentials, NULL), EHLO_OK);
    assert_int_equal(client_hear(&c, ehlo_str_make(octets, sizeof octets)), EHLO_ERR_SYNTAX);
    assert_client_is_over(&c, "the server's challenge is too long");
}

static void the_reason_why_a_token_was_refused_is_answered(void **state) /* [C204] */
{
    (void)state;
    const ehlo_credentials credentials = { TOKEN };
    static const uint32_t mechanisms[] = { EHLO_SASL_OAUTHBEARER, EHLO_SASL_XOAUTH2 };
    static const ehlo_str answers[] = { TEXT("\1"), TEXT("") };
    for (size_t i = 0; i < COUNT(mechanisms); i++) {
        client c;
        assert_int_equal(client_start(&c, mechanisms[i], ALL, &credentials, NULL), EHLO_OK);
        assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_OK);
        assert_int_equal(client_hear(&c, text("{\"status\":\"invalid_token\"}")), EHLO_OK);
        assert_non_null(c.said.ptr);
        assert_text(answers[i], c.said, "said", "refused token");
        assert_int_equal(client_hear(&c, text("{}")), EHLO_ERR_SYNTAX);
        assert_client_is_over(&c, TOO_MUCH);
        assert_int_equal(client_start(&c, mechanisms[i], ALL, &credentials, NULL), EHLO_OK);
        assert_int_equal(client_hear(&c, text("{}")), EHLO_OK);
        assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_ERR_SYNTAX); /* refused, then accepted? */
        client_end(&c);
    }
}

static void cram_md5_wants_a_challenge(void **state) /* [C200] */
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
    client c;
    assert_int_equal(client_start(&c, EHLO_SASL_CRAM_MD5, ALL, &credentials, NULL), EHLO_OK);
    assert_int_equal(client_hear(&c, text("")), EHLO_ERR_SYNTAX);
    assert_client_is_over(&c, "the server's challenge is empty");
    t.fail_at = t.calls + 1;
    assert_int_equal(client_start(&c, EHLO_SASL_CRAM_MD5, ALL, &credentials, NULL), EHLO_OK);
    assert_int_equal(client_hear(&c, text("<1.2@x>")), EHLO_ERR_SYSTEM);
    assert_client_is_over(&c, "the cryptography failed");
}

/* -- client: SCRAM ---------------------------------------------------------------------------------- */

#define NO_SCRAM "the server's challenge is no message of SCRAM"
#define NONCE "the server's nonce does not continue ours"
#define FEW "the server asks for too few iterations"
#define MANY "the server asks for too many iterations"
#define FAILED "the server says that it failed"
#define LIED "the server could not prove that it knows the password"

/* The client's nonce: what stands behind the last r= of what it said first. */
static ehlo_str nonce_of(ehlo_str said)
{
    return ehlo_str_make(said.ptr + said.len - 24, 24);
}

typedef struct first_row {
    const char *name;
    ehlo_str message;
    const char *problem; /* NULL: it is answered */
    uint32_t iterations_min;
    uint32_t iterations_max;
} first_row;

static const first_row first_rows[] = {
    { "as it should be", TEXT("r=$x,s=c2FsdA==,i=4096"), NULL, 0, 0 },
    { "an extension that may be ignored", TEXT("r=$x,s=c2FsdA==,i=4096,x=y"), NULL, 0, 0 },
    { "a nonce of all visible octets", TEXT("r=$!\"#%&'()*+-./09:;<=>?@AZ[\\]^_`az{|}~,s=c2FsdA==,i=4096"), NULL, 0,
      0 },
    { "[C202] as many iterations as may be", TEXT("r=$x,s=c2FsdA==,i=100000"), NULL, 0, 0 },
    { "[C202] one too many", TEXT("r=$x,s=c2FsdA==,i=100001"), MANY, 0, 0 },
    { "[C202] one too few", TEXT("r=$x,s=c2FsdA==,i=4095"), FEW, 0, 0 },
    { "[K12] no iterations", TEXT("r=$x,s=c2FsdA==,i=0"), FEW, 0, 0 },
    { "[K12] 2^31 iterations", TEXT("r=$x,s=c2FsdA==,i=2147483648"), MANY, 0, 0 },
    { "[K12] 2^32 + 4096 iterations", TEXT("r=$x,s=c2FsdA==,i=4294971392"), MANY, 0, 0 },
    { "[K12] 2^64 + 4096 iterations", TEXT("r=$x,s=c2FsdA==,i=18446744073709555712"), MANY, 0, 0 },
    { "[C202] bounds of the caller's: least", TEXT("r=$x,s=c2FsdA==,i=1"), NULL, 1, 0 },
    { "[C202] bounds of the caller's: fewer", TEXT("r=$x,s=c2FsdA==,i=9999"), FEW, 10000, 0 },
    { "[C202] bounds of the caller's: more", TEXT("r=$x,s=c2FsdA==,i=10001"), MANY, 0, 10000 },
    { "[C202] bounds of the caller's: most", TEXT("r=$x,s=c2FsdA==,i=1000000"), NULL, 0, 1000000 },
    { "a count with a zero in front", TEXT("r=$x,s=c2FsdA==,i=04096"), NO_SCRAM, 0, 0 },
    { "a count with a sign", TEXT("r=$x,s=c2FsdA==,i=+4096"), NO_SCRAM, 0, 0 },
    { "a count that is none", TEXT("r=$x,s=c2FsdA==,i=4096a"), NO_SCRAM, 0, 0 },
    { "no count", TEXT("r=$x,s=c2FsdA==,i="), NO_SCRAM, 0, 0 },
    { "[K12] a nonce of its own", TEXT("r=abcdefghijklmnopqrstuvwxyz,s=c2FsdA==,i=4096"), NONCE, 0, 0 },
    { "[K12] ours behind its own", TEXT("r=x$,s=c2FsdA==,i=4096"), NONCE, 0, 0 },
    { "[K12] nothing of its own", TEXT("r=$,s=c2FsdA==,i=4096"), NONCE, 0, 0 },
    { "a space in the nonce", TEXT("r=$ x,s=c2FsdA==,i=4096"), NONCE, 0, 0 },
    { "a nonce beyond ASCII", TEXT("r=$\xC3\xA4,s=c2FsdA==,i=4096"), NONCE, 0, 0 },
    { "no nonce", TEXT("s=c2FsdA==,i=4096"), NO_SCRAM, 0, 0 },
    { "[K12] an empty salt", TEXT("r=$x,s=,i=4096"), NO_SCRAM, 0, 0 },
    { "a salt that is not base64", TEXT("r=$x,s=c2FsdA,i=4096"), NO_SCRAM, 0, 0 },
    { "a salt of padding", TEXT("r=$x,s====,i=4096"), NO_SCRAM, 0, 0 },
    { "[C201] a mandatory extension", TEXT("m=x,r=$x,s=c2FsdA==,i=4096"), "the server demands an extension of SCRAM", 0,
      0 },
    { "[C201] a mandatory extension at the end", TEXT("r=$x,s=c2FsdA==,i=4096,m=x"), NO_SCRAM, 0, 0 },
    { "[K12] an error", TEXT("e=unknown-user"), FAILED, 0, 0 },
    { "another order", TEXT("s=c2FsdA==,r=$x,i=4096"), NO_SCRAM, 0, 0 },
    { "a comma at the end", TEXT("r=$x,s=c2FsdA==,i=4096,"), NO_SCRAM, 0, 0 },
    { "two commas", TEXT("r=$x,,s=c2FsdA==,i=4096"), NO_SCRAM, 0, 0 },
    { "an extension without a name", TEXT("r=$x,s=c2FsdA==,i=4096,=x"), NO_SCRAM, 0, 0 },
    { "an extension without a value", TEXT("r=$x,s=c2FsdA==,i=4096,x="), NO_SCRAM, 0, 0 },
    { "a NUL", TEXT("r=$x,s=c2FsdA==,i=4096,x=\0"), NO_SCRAM, 0, 0 },
    { "no UTF-8", TEXT("r=$x,s=c2FsdA==,i=4096,x=\xFF"), NO_SCRAM, 0, 0 },
    { "nothing", TEXT(""), NO_SCRAM, 0, 0 },
    { "something else", TEXT("Password:"), NO_SCRAM, 0, 0 },
};

static void the_client_answers_none_but_a_proper_first_message(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    for (size_t i = 0; i < COUNT(first_rows); i++) {
        const first_row *row = &first_rows[i];
        const ehlo_credentials credentials = { BOTH, .crypto = &crypto, .iterations_min = row->iterations_min,
                                               .iterations_max = row->iterations_max };
        client c;
        assert_int_equal(client_start(&c, EHLO_SASL_SCRAM_SHA_256, ALL, &credentials, NULL), EHLO_OK);
        int result = client_hear(&c, filled(row->message, nonce_of(c.said)));
        if (result != (row->problem == NULL ? EHLO_OK : EHLO_ERR_SYNTAX)) fail_msg("%s: %d", row->name, result);
        assert_problem(&c, row->problem, row->name);
        assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_ERR_SYNTAX); /* [K12] nothing was proven yet */
        if (row->problem != NULL) {
            client_keep(&c, none);
            assert_client_is_over(&c, row->problem);
        } else {
            assert_problem(&c, "the server did not prove that it knows the password", row->name);
            client_end(&c);
        }
    }
}

typedef struct final_row {
    const char *name;
    const char *front;
    const char *behind; /* of the true proof; NULL: it is not there */
    const char *problem;
} final_row;

static const final_row final_rows[] = {
    { "the proof", "v=", "", NULL },
    { "the proof and an extension", "v=", ",x=y", NULL },
    { "[K12] an error", "e=invalid-proof", NULL, FAILED },
    { "[K12] another proof", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL, LIED },
    { "[K12] a short proof", "v=AAAA", NULL, LIED },
    { "no base64", "v=AAA", NULL, NO_SCRAM },
    { "no value", "v=", NULL, NO_SCRAM },
    { "nothing", "", NULL, NO_SCRAM },
    { "[C201] a mandatory extension", "v=", ",m=x", NO_SCRAM },
    { "another attribute in front", "x=y,v=", "", NO_SCRAM },
    { "a comma behind", "v=", ",", NO_SCRAM },
    { "another letter", "w=", "", NO_SCRAM },
};

static void the_client_believes_none_but_a_server_that_knows_the_password(void **state) /* [C201] */
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { .user = TEXT("u"), .password = TEXT(PASSWORD), .crypto = &crypto };
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    for (size_t i = 0; i < COUNT(final_rows); i++) {
        const final_row *row = &final_rows[i];
        char message[256];
        client c;
        server s;
        exchange_to_proof(&c, &s, EHLO_SASL_SCRAM_SHA_256, &credentials, &config);
        assert_int_equal(server_hear(&s, c.said), EHLO_SASL_CHALLENGE);
        int len =
            snprintf(message, sizeof message, "%s%.*s%s", row->front, row->behind == NULL ? 0 : (int)s.said.len - 2,
                     s.said.ptr + 2, row->behind == NULL ? "" : row->behind);
        int result = client_hear(&c, ehlo_str_make(message, (size_t)len));
        if (result != (row->problem == NULL ? EHLO_OK : EHLO_ERR_SYNTAX)) fail_msg("%s: %d", row->name, result);
        if (row->problem == NULL) {
            assert_non_null(c.said.ptr);
            assert_int_equal(c.said.len, 0);
            assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_OK);
            assert_int_equal(client_hear(&c, text("")), EHLO_ERR_SYNTAX);
            assert_client_is_over(&c, TOO_MUCH);
        } else {
            assert_client_is_over(&c, row->problem);
        }
        server_end(&s);
    }
}

static void the_client_survives_each_cut_of_what_the_server_says(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { .user = TEXT("u"), .password = TEXT(PASSWORD), .crypto = &crypto };
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    size_t len = 1;
    for (size_t cut = 0; cut < len; cut++) {
        client c;
        server s;
        exchange_to_proof(&c, &s, EHLO_SASL_SCRAM_SHA_1, &credentials, &config);
        assert_int_equal(server_hear(&s, c.said), EHLO_SASL_CHALLENGE);
        len = s.said.len;
        assert_int_equal(client_hear(&c, ehlo_str_make(s.said.ptr, cut)), EHLO_ERR_SYNTAX);
        client_end(&c);
        server_end(&s);
    }
    assert_int_equal(len, 2 + 28);
    const ehlo_str first = TEXT("r=$xyz,s=c2FsdA==,i=4096");
    for (size_t cut = 0; cut < first.len; cut++) {
        client c;
        assert_int_equal(client_start(&c, EHLO_SASL_SCRAM_SHA_1, ALL, &credentials, NULL), EHLO_OK);
        ehlo_str part = ehlo_str_make(first.ptr, cut);
        assert_int_equal(client_hear(&c, filled(part, nonce_of(c.said))), EHLO_ERR_SYNTAX);
        client_end(&c);
    }
}

typedef struct flag_row {
    const char *name;
    uint32_t mechanism;
    uint32_t offered;
    ehlo_tls_facts facts;
    const char *header;
} flag_row;

static const flag_row flag_rows[] = {
    { "no TLS", EHLO_SASL_SCRAM_SHA_1, EHLO_SASL_SCRAM_SHA_1, { .peer_verified = 0 }, "n,," },
    { "[C203] we could, the server could not",
      EHLO_SASL_SCRAM_SHA_1,
      EHLO_SASL_SCRAM_SHA_1,
      { .exporter = TEXT(EXPORTER) },
      "y,," },
    { "[C203] the server could with another hash alone",
      EHLO_SASL_SCRAM_SHA_256,
      EHLO_SASL_SCRAM_SHA_256 | EHLO_SASL_SCRAM_SHA_1_PLUS,
      { .end_point = TEXT(END_POINT) },
      "n,," },
    { "[C203] both could, and it is not wanted", EHLO_SASL_SCRAM_SHA_256, ALL, { .exporter = TEXT(EXPORTER) }, "n,," },
    { "[C203] the exporter first",
      EHLO_SASL_SCRAM_SHA_256_PLUS,
      ALL,
      { .exporter = TEXT(EXPORTER), .end_point = TEXT(END_POINT) },
      "p=tls-exporter,," },
    { "[C203] the end point else",
      EHLO_SASL_SCRAM_SHA_1_PLUS,
      ALL,
      { .end_point = TEXT(END_POINT) },
      "p=tls-server-end-point,," },
};

static void the_client_tells_what_it_knows_of_channel_binding(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
    for (size_t i = 0; i < COUNT(flag_rows); i++) {
        const flag_row *row = &flag_rows[i];
        client c;
        assert_int_equal(client_start(&c, row->mechanism, row->offered, &credentials, &row->facts), EHLO_OK);
        size_t len = strlen(row->header);
        assert_true(c.said.len > len);
        assert_text(text(row->header), ehlo_str_make(c.said.ptr, len), "header", row->name);
        assert_text(text("n=u,r="), ehlo_str_make(c.said.ptr + len, 6), "bare", row->name);
        assert_int_equal(c.said.len, len + 6 + 24);
        client_end(&c);
    }
}

static void names_in_scram_are_escaped(void **state) /* [C201] */
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = {
        .user = TEXT("a=b,c=2C"), .password = TEXT("p"), .authzid = TEXT(",=z"), .crypto = &crypto
    };
    const ehlo_sasl_server_config config = { .crypto = &crypto };
    client c;
    server s;
    assert_int_equal(client_start(&c, EHLO_SASL_SCRAM_SHA_1, ALL, &credentials, NULL), EHLO_OK);
    const ehlo_str expected = TEXT("n,a==2C=3Dz,n=a=3Db=2Cc=3D2C,r=");
    assert_text(expected, ehlo_str_make(c.said.ptr, expected.len), "first", "escapes");
    assert_int_equal(server_start(&s, EHLO_SASL_SCRAM_SHA_1, &config), EHLO_OK);
    assert_int_equal(server_hear(&s, c.said), EHLO_SASL_NEED_KEYS);
    assert_text(credentials.user, ehlo_sasl_server_user(s.x), "user", "escapes");
    assert_text(credentials.authzid, ehlo_sasl_server_authzid(s.x), "authzid", "escapes");
    client_end(&c);
    server_end(&s);
}

static void every_nonce_is_another(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
    char nonces[2][24];
    for (size_t i = 0; i < 2; i++) {
        client c;
        assert_int_equal(client_start(&c, EHLO_SASL_SCRAM_SHA_1, ALL, &credentials, NULL), EHLO_OK);
        memcpy(nonces[i], nonce_of(c.said).ptr, 24);
        client_end(&c);
    }
    assert_memory_not_equal(nonces[0], nonces[1], 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_begins_as_its_mechanism_does),
        cmocka_unit_test(credentials_that_do_not_fit_are_refused),
        cmocka_unit_test(a_client_without_cryptography_says_so),
        cmocka_unit_test(the_client_needs_the_memory_that_it_says),
        cmocka_unit_test(login_answers_two_prompts_in_their_order),
        cmocka_unit_test(a_server_that_accepts_too_early_is_not_believed),
        cmocka_unit_test(what_asks_for_more_is_refused),
        cmocka_unit_test(a_thousand_challenges_are_not_answered),
        cmocka_unit_test(a_challenge_must_be_base64_and_short),
        cmocka_unit_test(the_reason_why_a_token_was_refused_is_answered),
        cmocka_unit_test(cram_md5_wants_a_challenge),
        cmocka_unit_test(the_client_answers_none_but_a_proper_first_message),
        cmocka_unit_test(the_client_believes_none_but_a_server_that_knows_the_password),
        cmocka_unit_test(the_client_survives_each_cut_of_what_the_server_says),
        cmocka_unit_test(the_client_tells_what_it_knows_of_channel_binding),
        cmocka_unit_test(names_in_scram_are_escaped),
        cmocka_unit_test(every_nonce_is_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
