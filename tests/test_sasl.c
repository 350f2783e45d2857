/* SASL: mechanisms, secrets, and client against server, with cryptography that is none but behaves. */
#include "sasl_exchange.h"

static const uint32_t scrams[] = { EHLO_SASL_SCRAM_SHA_1, EHLO_SASL_SCRAM_SHA_256, EHLO_SASL_SCRAM_SHA_1_PLUS,
                                   EHLO_SASL_SCRAM_SHA_256_PLUS };

/* -- mechanisms ------------------------------------------------------------------------------------- */

static void names_are_found_both_ways(void **state)
{
    (void)state;
    for (uint32_t bit = 1; bit < ALL; bit <<= 1) {
        assert_true(ehlo_sasl_name(bit).len > 0);
        assert_int_equal(ehlo_sasl_find(ehlo_sasl_name(bit)), bit);
    }
    assert_int_equal(ehlo_sasl_name(0).len, 0);
    assert_int_equal(ehlo_sasl_name(ALL + 1).len, 0);
    assert_int_equal(ehlo_sasl_name(EHLO_SASL_PLAIN | EHLO_SASL_LOGIN).len, 0);
    assert_text(text("SCRAM-SHA-256-PLUS"), ehlo_sasl_name(EHLO_SASL_SCRAM_SHA_256_PLUS), "name", "PLUS");
    assert_int_equal(ehlo_sasl_find(text("cram-md5")), EHLO_SASL_CRAM_MD5);
    assert_int_equal(ehlo_sasl_find(text("CRAM")), 0);
}

static void four_mechanisms_reveal_the_secret(void **state) /* [C194] */
{
    (void)state;
    const uint32_t revealing = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN | EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER;
    for (uint32_t bit = 1; bit < ALL; bit <<= 1) assert_int_equal(ehlo_sasl_reveals(bit), (revealing & bit) != 0);
    assert_int_equal(ehlo_sasl_reveals(0), 0);
}

enum { TLS = 1, BINDING = 2, CRYPTO = 4, UNVERIFIED = 8 };

typedef struct choose_row {
    const char *name;
    ehlo_credentials credentials;
    uint32_t offered;
    unsigned has;
    uint32_t chosen;
} choose_row;

#define SHA_1 EHLO_SASL_SCRAM_SHA_1
#define SHA_256 EHLO_SASL_SCRAM_SHA_256
#define SHA_1_PLUS EHLO_SASL_SCRAM_SHA_1_PLUS
#define SHA_256_PLUS EHLO_SASL_SCRAM_SHA_256_PLUS

static const choose_row choose_rows[] = {
    { "the strongest of all", { BOTH }, ALL, TLS | BINDING | CRYPTO, SHA_256_PLUS },
    { "binding before hash", { BOTH }, SHA_256 | SHA_1_PLUS, TLS | BINDING | CRYPTO, SHA_1_PLUS },
    { "no octets of a binding", { BOTH }, ALL, TLS | CRYPTO, SHA_256 },
    { "facts outside TLS are none", { BOTH }, ALL, BINDING | CRYPTO, SHA_256 },
    { "SHA-1 where there is no better", { BOTH }, ALL & ~SCRAM_PLUS & ~SHA_256, TLS | BINDING | CRYPTO, SHA_1 },
    { "no cryptography", { BOTH }, ALL, TLS | BINDING, EHLO_SASL_PLAIN },
    { "[C194] nothing that reveals, in clear", { BOTH }, ALL, 0, 0 },
    { "[C194] but where the caller insists", { BOTH, .clear = 1 }, ALL, 0, EHLO_SASL_PLAIN },
    { "nothing that reveals, to a server that is not verified", { BOTH }, ALL, TLS | BINDING | UNVERIFIED, 0 },
    { "but where the caller insists", { BOTH, .clear = 1 }, ALL, TLS | UNVERIFIED, EHLO_SASL_PLAIN },
    { "a server that is not verified may prove itself", { BOTH }, ALL, TLS | CRYPTO | UNVERIFIED, SHA_256 },
    { "[C194] no token in clear", { TOKEN }, ALL & ~EHLO_SASL_EXTERNAL, CRYPTO, 0 },
    { "[C194] what is not offered", { BOTH }, EHLO_SASL_XOAUTH2 | EHLO_SASL_ANONYMOUS, TLS | BINDING | CRYPTO, 0 },
    { "nothing offered", { BOTH }, 0, TLS | BINDING | CRYPTO, 0 },
    { "LOGIN behind PLAIN", { BOTH }, EHLO_SASL_LOGIN, TLS | CRYPTO, EHLO_SASL_LOGIN },
    { "CRAM-MD5 is not used unnamed", { BOTH }, EHLO_SASL_CRAM_MD5 | EHLO_SASL_LOGIN, TLS | CRYPTO, EHLO_SASL_LOGIN },
    { "CRAM-MD5 named",
      { BOTH, .mechanisms = EHLO_SASL_CRAM_MD5 | EHLO_SASL_LOGIN },
      EHLO_SASL_CRAM_MD5 | EHLO_SASL_LOGIN,
      CRYPTO,
      EHLO_SASL_CRAM_MD5 },
    { "only what is named", { BOTH, .mechanisms = EHLO_SASL_LOGIN }, ALL, TLS | BINDING | CRYPTO, EHLO_SASL_LOGIN },
    { "a token, and OAUTHBEARER first", { TOKEN }, ALL, TLS | BINDING | CRYPTO, EHLO_SASL_OAUTHBEARER },
    { "a token, XOAUTH2", { TOKEN }, ALL & ~EHLO_SASL_OAUTHBEARER, TLS | BINDING | CRYPTO, EHLO_SASL_XOAUTH2 },
    { "a password is safer in SCRAM than a token beside it", { BOTH, .token = TEXT("t") }, ALL, TLS | CRYPTO, SHA_256 },
    { "a token before a password that shows", { BOTH, .token = TEXT("t") }, ALL, TLS, EHLO_SASL_OAUTHBEARER },
    { "no secret: EXTERNAL", { .user = TEXT("u") }, ALL, TLS | BINDING | CRYPTO, EHLO_SASL_EXTERNAL },
    { "EXTERNAL is of TLS", { .user = TEXT("u") }, ALL, CRYPTO, 0 },
    { "a password, but no user", { .password = TEXT("p") }, ALL, TLS | BINDING | CRYPTO, 0 },
    { "ANONYMOUS named", { .mechanisms = EHLO_SASL_ANONYMOUS }, ALL, 0, EHLO_SASL_ANONYMOUS },
    { "whom to act as has no place in LOGIN", { BOTH, .authzid = TEXT("z") }, EHLO_SASL_LOGIN, TLS | CRYPTO, 0 },
    { "whom to act as has a place in PLAIN",
      { BOTH, .authzid = TEXT("z") },
      EHLO_SASL_LOGIN | EHLO_SASL_PLAIN,
      TLS | CRYPTO,
      EHLO_SASL_PLAIN },
};

static void the_strongest_that_all_allow_is_chosen(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    for (size_t i = 0; i < COUNT(choose_rows); i++) {
        const choose_row *row = &choose_rows[i];
        ehlo_credentials credentials = row->credentials;
        ehlo_tls_facts facts = { .version = TEXT("TLSv1.3"), .peer_verified = !(row->has & UNVERIFIED) };
        if (row->has & BINDING) facts.end_point = ehlo_str_from(END_POINT);
        if (row->has & CRYPTO) credentials.crypto = &crypto;
        uint32_t chosen = ehlo_sasl_choose(row->offered, &credentials, (row->has & TLS) != 0, &facts);
        if (chosen != row->chosen) fail_msg("%s: 0x%x, expected 0x%x", row->name, chosen, row->chosen);
    }
    assert_int_equal(ehlo_sasl_choose(ALL, NULL, 1, NULL), 0);
}

/* -- secrets ---------------------------------------------------------------------------------------- */

static void secrets_are_compared_whole(void **state)
{
    (void)state;
    assert_int_equal(ehlo_secret_equal(none, none), 1);
    assert_int_equal(ehlo_secret_equal(none, text("")), 1);
    assert_int_equal(ehlo_secret_equal(text("a"), none), 0);
    assert_int_equal(ehlo_secret_equal(text("abc"), text("abcd")), 0);
    assert_int_equal(ehlo_secret_equal(text("abc"), text("abc")), 1);
    for (size_t i = 0; i < 64; i++) {
        char a[8] = "secrets", b[8] = "secrets";
        b[i / 8] = (char)(b[i / 8] ^ 1 << i % 8);
        assert_int_equal(ehlo_secret_equal(ehlo_str_make(a, 8), ehlo_str_make(b, 8)), 0);
    }
}

static void a_wipe_overwrites_what_it_is_given_and_no_more(void **state)
{
    (void)state;
    char octets[] = "abcdef";
    ehlo_secret_wipe(octets + 1, 3);
    assert_memory_equal(octets, "a\0\0\0ef", 7);
    ehlo_secret_wipe(octets, 0);
    ehlo_secret_wipe(NULL, 0);
    assert_int_equal(octets[0], 'a');
}

/* -- both sides ------------------------------------------------------------------------------------- */

/* Runs an exchange to its end. t may fail: then the step that fails is what is returned, and *error is set if that was
 * the client's. */
static ehlo_sasl_step run(client *c, server *s, uint32_t mechanism, const ehlo_scram_keys *keys, ehlo_str password,
                          int *error)
{
    *error = EHLO_OK;
    ehlo_sasl_step step = c->said.ptr == NULL ? server_hear_base64(s, none) : server_hear(s, c->said);
    for (int i = 0; i < 10; i++) {
        switch (step) {
        case EHLO_SASL_CHALLENGE:
            *error = client_hear(c, s->said);
            if (*error < 0) return step;
            step = server_hear(s, c->said);
            break;
        case EHLO_SASL_NEED_KEYS:
            step = server_keys(s, keys);
            break;
        case EHLO_SASL_NEED_PASSWORD:
            step = server_password(s, password);
            break;
        case EHLO_SASL_NEED_VERDICT:
            if ((mechanism & (EHLO_SASL_EXTERNAL | EHLO_SASL_ANONYMOUS)) != 0) {
                step = server_verdict(s, 1);
            } else {
                step = server_verdict(s, ehlo_secret_equal(ehlo_sasl_server_secret(s->x), password));
            }
            break;
        default:
            return step;
        }
    }
    fail_msg("0x%x does not end", mechanism);
    return step;
}

static void client_and_server_agree_on_every_mechanism(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    ehlo_credentials credentials = { .user = TEXT("b\xC3\xA9,=x"),
                                     .password = TEXT(PASSWORD),
                                     .token = TEXT("PASS"),
                                     .host = TEXT("h"),
                                     .port = 25,
                                     .crypto = &crypto };
    const ehlo_tls_facts bindings[] = {
        { .peer_subject = TEXT("b\xC3\xA9,=x"), .peer_verified = 1, .exporter = TEXT(EXPORTER) },
        { .peer_subject = TEXT("b\xC3\xA9,=x"), .peer_verified = 1, .end_point = TEXT(END_POINT) },
    };
    for (uint32_t bit = 1; bit < ALL; bit <<= 1) {
        for (int variant = 0; variant < 4; variant++) {
            const ehlo_tls_facts *facts = &bindings[variant % 2];
            int right = variant < 2;
            const ehlo_sasl_server_config config = {
                .crypto = &crypto, .facts = facts, .offered = bit, .hostname = TEXT("mx"), .decoy = TEXT("d")
            };
            ehlo_scram_keys keys = keys_of(bit, right ? PASSWORD : "wrong");
            int is_bearer = (bit & (EHLO_SASL_OAUTHBEARER | EHLO_SASL_XOAUTH2)) != 0;
            int is_free = (bit & (EHLO_SASL_EXTERNAL | EHLO_SASL_ANONYMOUS)) != 0;
            const char *secret = !right ? "wrong" : is_bearer ? "PASS" : PASSWORD;
            int error;
            client c;
            server s;
            assert_int_equal(client_start(&c, bit, bit, &credentials, facts), EHLO_OK);
            assert_int_equal(server_start(&s, bit, &config), EHLO_OK);
            ehlo_sasl_step step = run(&c, &s, bit, &keys, text(secret), &error);
            assert_int_equal(error, EHLO_OK);
            assert_int_equal(step, right || is_free ? EHLO_SASL_ACCEPTED : EHLO_SASL_REFUSED);
            if (step == EHLO_SASL_ACCEPTED) assert_int_equal(ehlo_sasl_client_finish(c.x), EHLO_OK);
            assert_text(credentials.user, ehlo_sasl_server_user(s.x), "user", "agree");
            client_end(&c);
            server_end(&s);
        }
    }
}

/* [C203] Somebody stands between the two: each has a channel of its own. */
static void another_channel_is_found_out(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
    const ehlo_tls_facts ours[] = { { .exporter = TEXT(EXPORTER) }, { .end_point = TEXT(END_POINT) } };
    const ehlo_tls_facts theirs[] = { { .exporter = TEXT("0123456789abcdef0123456789abcdeF") },
                                      { .end_point = TEXT("the hash of a certificat") } };
    for (size_t i = 0; i < 4; i++) {
        uint32_t mechanism = scrams[2 + i % 2];
        const ehlo_sasl_server_config config = { .crypto = &crypto, .facts = &theirs[i / 2], .offered = mechanism };
        ehlo_scram_keys keys = keys_of(mechanism, "p");
        int error;
        client c;
        server s;
        assert_int_equal(client_start(&c, mechanism, mechanism, &credentials, &ours[i / 2]), EHLO_OK);
        assert_int_equal(server_start(&s, mechanism, &config), EHLO_OK);
        assert_int_equal(run(&c, &s, mechanism, &keys, none, &error), EHLO_SASL_REFUSED);
        client_end(&c);
        server_end(&s);
    }
}

/* [C203] Somebody took -PLUS off what the server offered. */
static void a_downgrade_is_found_out(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
    for (size_t i = 0; i < 2; i++) {
        uint32_t offered = scrams[i] | scrams[i + 2];
        const ehlo_sasl_server_config config = { .crypto = &crypto, .facts = &both_bindings, .offered = offered };
        client c;
        server s;
        assert_int_equal(ehlo_sasl_choose(offered, &credentials, 1, &both_bindings), scrams[i + 2]);
        assert_int_equal(client_start(&c, scrams[i], scrams[i], &credentials, &both_bindings), EHLO_OK);
        assert_int_equal(server_start(&s, scrams[i], &config), EHLO_OK);
        assert_int_equal(server_hear(&s, c.said), EHLO_SASL_REFUSED);
        client_end(&c);
        server_end(&s);
    }
}

/* Wherever the cryptography fails, both sides fail clearly, and leave nothing behind. */
static void cryptography_may_fail_at_every_call(void **state)
{
    (void)state;
    static const uint32_t mechanisms[] = { EHLO_SASL_CRAM_MD5, EHLO_SASL_SCRAM_SHA_1, EHLO_SASL_SCRAM_SHA_256_PLUS };
    for (size_t i = 0; i < COUNT(mechanisms) * 2; i++) {
        uint32_t mechanism = mechanisms[i / 2];
        ehlo_scram_keys keys = keys_of(mechanism, "p");
        ehlo_sasl_step step = EHLO_SASL_FAILED;
        for (unsigned call = 1; step != EHLO_SASL_ACCEPTED && step != EHLO_SASL_REFUSED; call++) {
            toy t = { 0, call, 0 };
            ehlo_crypto crypto = crypto_of(&t);
            const ehlo_credentials credentials = { BOTH, .crypto = &crypto };
            const ehlo_sasl_server_config config = { .crypto = &crypto,
                                                     .facts = &both_bindings,
                                                     .offered = mechanism,
                                                     .hostname = TEXT("mx"),
                                                     .decoy = TEXT("d") };
            int error;
            client c;
            server s;
            assert_true(call < 20);
            error = client_start(&c, mechanism, mechanism, &credentials, &both_bindings);
            if (error != EHLO_OK) {
                assert_int_equal(error, EHLO_ERR_SYSTEM);
                continue;
            }
            assert_int_equal(server_start(&s, mechanism, &config), EHLO_OK);
            step = run(&c, &s, mechanism, i % 2 == 0 ? &keys : NULL, i % 2 == 0 ? text("p") : none, &error);
            if (t.calls >= call) {
                assert_true(error == EHLO_ERR_SYSTEM || step == EHLO_SASL_FAILED);
                if (error == EHLO_ERR_SYSTEM) assert_problem(&c, "the cryptography failed", "call");
                step = EHLO_SASL_FAILED;
            }
            client_end(&c);
            server_end(&s);
        }
        assert_int_equal(step, i % 2 == 0 ? EHLO_SASL_ACCEPTED : EHLO_SASL_REFUSED);
    }
}

/* [C192] [U14] What failed before leaves nothing behind for the next. */
static void exchanges_follow_one_another_in_the_same_memory(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_sasl_server_config config = { .crypto = &crypto, .hostname = TEXT("mx") };
    server s;
    s.memory = arena_new(ehlo_sasl_server_size(0));
    assert_int_equal(ehlo_sasl_server_start(&s.x, s.memory.start, s.memory.len, EHLO_SASL_CRAM_MD5, &config), EHLO_OK);
    assert_int_equal(server_hear_base64(&s, none), EHLO_SASL_CHALLENGE);
    assert_int_equal(server_hear(&s, text("tim 00000000000000000000000000000000")), EHLO_SASL_NEED_PASSWORD);
    assert_int_equal(server_password(&s, text("p")), EHLO_SASL_REFUSED);
    ehlo_sasl_server_end(s.x);
    assert_zero(s.memory.start, s.memory.len, "CRAM-MD5");
    assert_int_equal(ehlo_sasl_server_start(&s.x, s.memory.start, s.memory.len, EHLO_SASL_PLAIN, &config), EHLO_OK);
    assert_int_equal(ehlo_sasl_server_user(s.x).len, 0);
    assert_int_equal(server_hear(&s, ehlo_str_make("z\0u\0p", 5)), EHLO_SASL_NEED_VERDICT);
    assert_int_equal(server_verdict(&s, 0), EHLO_SASL_REFUSED);
    ehlo_sasl_server_end(s.x);
    assert_zero(s.memory.start, s.memory.len, "PLAIN");
    assert_int_equal(ehlo_sasl_server_start(&s.x, s.memory.start, s.memory.len, EHLO_SASL_SCRAM_SHA_1, &config),
                     EHLO_OK);
    assert_int_equal(server_hear(&s, text("n,,n=v,r=abc")), EHLO_SASL_NEED_KEYS);
    assert_text(text("v"), ehlo_sasl_server_user(s.x), "user", "third");
    assert_int_equal(ehlo_sasl_server_authzid(s.x).len, 0);
    server_end(&s);
}

/* [U13] An exchange that is given up at any step leaves nothing behind. */
static void an_exchange_may_end_at_every_step(void **state)
{
    (void)state;
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    const ehlo_credentials credentials = { BOTH, .token = TEXT("t"), .crypto = &crypto };
    const ehlo_tls_facts facts = { .exporter = TEXT(EXPORTER), .peer_verified = 1, .peer_subject = TEXT("CN=u") };
    for (uint32_t bit = 1; bit < ALL; bit <<= 1) {
        for (int steps = 0; steps < 4; steps++) {
            const ehlo_sasl_server_config config = {
                .crypto = &crypto, .facts = &facts, .offered = bit, .hostname = TEXT("mx"), .decoy = TEXT("d")
            };
            client c;
            server s;
            assert_int_equal(client_start(&c, bit, bit, &credentials, &facts), EHLO_OK);
            assert_int_equal(server_start(&s, bit, &config), EHLO_OK);
            ehlo_sasl_step step = EHLO_SASL_CHALLENGE;
            for (int i = 0; i < steps && step == EHLO_SASL_CHALLENGE; i++) {
                step = c.said.ptr == NULL ? server_hear_base64(&s, none) : server_hear(&s, c.said);
                if (step == EHLO_SASL_NEED_KEYS) step = server_keys(&s, NULL);
                if (step == EHLO_SASL_CHALLENGE) assert_int_equal(client_hear(&c, s.said), EHLO_OK);
            }
            client_end(&c);
            server_end(&s);
        }
    }
}

/* -- replies ---------------------------------------------------------------------------------------- */

static void each_outcome_has_its_reply(void **state) /* [C191] */
{
    (void)state;
    static const struct {
        int step;
        uint16_t code;
        uint16_t enhanced[3];
    } rows[] = {
        { EHLO_SASL_ACCEPTED, 235, { 2, 7, 0 } },     { EHLO_SASL_REFUSED, 535, { 5, 7, 8 } },
        { EHLO_SASL_MALFORMED, 501, { 5, 5, 2 } },    { EHLO_SASL_FAILED, 454, { 4, 7, 0 } },
        { EHLO_ERR_UNSUPPORTED, 454, { 4, 7, 0 } },   { EHLO_SASL_NOT_ASKED, 454, { 4, 7, 0 } },
        { EHLO_SASL_NEED_VERDICT, 454, { 4, 7, 0 } },
    };
    ehlo_reply r;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ehlo_sasl_reply(rows[i].step, text("unseen"), &r);
        assert_int_equal(r.code, rows[i].code);
        assert_memory_equal(r.enhanced, rows[i].enhanced, sizeof r.enhanced);
        assert_true(r.text.len > 10);
    }
    ehlo_sasl_reply(EHLO_SASL_CHALLENGE, text("octets"), &r);
    assert_int_equal(r.code, 334);
    assert_text(text("octets"), r.text, "text", "challenge");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_both_ways),
        cmocka_unit_test(four_mechanisms_reveal_the_secret),
        cmocka_unit_test(the_strongest_that_all_allow_is_chosen),
        cmocka_unit_test(secrets_are_compared_whole),
        cmocka_unit_test(a_wipe_overwrites_what_it_is_given_and_no_more),
        cmocka_unit_test(client_and_server_agree_on_every_mechanism),
        cmocka_unit_test(another_channel_is_found_out),
        cmocka_unit_test(a_downgrade_is_found_out),
        cmocka_unit_test(cryptography_may_fail_at_every_call),
        cmocka_unit_test(exchanges_follow_one_another_in_the_same_memory),
        cmocka_unit_test(an_exchange_may_end_at_every_step),
        cmocka_unit_test(each_outcome_has_its_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
