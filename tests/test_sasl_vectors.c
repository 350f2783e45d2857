/* The SASL mechanisms with real cryptography, against what the RFCs print. */
#include "table.h"

#include <ehlo/sasl.h>

#include "sasl_client.h"
#include "sasl_server.h"
#include "tls_openssl.h"

enum { ROOM = 64 * 1024 };

static _Alignas(max_align_t) char client_room[ROOM];
static _Alignas(max_align_t) char server_room[ROOM];

/* OpenSSL's functions, but for octets that are not random. */
static uint8_t fixed_octets[32];

static int fixed_random(void *ctx, uint8_t *out, size_t len)
{
    (void)ctx;
    assert_true(len <= sizeof fixed_octets);
    memcpy(out, fixed_octets, len);
    return EHLO_OK;
}

static ehlo_crypto fixed_crypto(void)
{
    ehlo_crypto crypto = *tls_openssl_crypto();
    crypto.random = fixed_random;
    return crypto;
}

static ehlo_str base64(ehlo_str octets)
{
    static char text[4][8192];
    static size_t turn;
    size_t len;
    char *out = text[turn++ % COUNT(text)];
    assert_int_equal(ehlo_base64_encode(octets, out, sizeof text[0], &len), EHLO_OK);
    return ehlo_str_make(out, len);
}

static ehlo_str literal(const char *text)
{
    return ehlo_str_from(text);
}

static void must_say(ehlo_str expected, ehlo_str got, const char *what)
{
    assert_text(expected, got, what, "exchange");
}

/* -- the hashes ------------------------------------------------------------------------------------- */

static void must_be_hex(const char *expected, const uint8_t *octets, size_t count)
{
    char hex[2 * EHLO_HASH_MAX];
    ehlo_writer writer = { hex, sizeof hex, 0 };
    ehlo_sasl_put_hex(&writer, octets, count);
    must_say(literal(expected), ehlo_str_make(hex, 2 * count), "hash");
}

static void the_table_computes_what_its_names_say(void **state) /* RFC 1321, 2202, 3174, 4231, 6070 */
{
    (void)state;
    const ehlo_crypto *c = tls_openssl_crypto();
    uint8_t out[EHLO_HASH_MAX];
    const ehlo_str abc = TEXT("abc");
    assert_int_equal(c->digest(c->ctx, EHLO_HASH_MD5, abc, out), EHLO_OK);
    must_be_hex("900150983cd24fb0d6963f7d28e17f72", out, 16);
    assert_int_equal(c->digest(c->ctx, EHLO_HASH_SHA_1, abc, out), EHLO_OK);
    must_be_hex("a9993e364706816aba3e25717850c26c9cd0d89d", out, 20);
    assert_int_equal(c->digest(c->ctx, EHLO_HASH_SHA_256, abc, out), EHLO_OK);
    must_be_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", out, 32);
    const ehlo_str parts[] = { TEXT("what do ya want "), TEXT(""), TEXT("for nothing?") };
    assert_int_equal(c->hmac(c->ctx, EHLO_HASH_MD5, literal("Jefe"), parts, 3, out), EHLO_OK);
    must_be_hex("750c783e6ab0b503eaa86e310a5db738", out, 16);
    assert_int_equal(c->hmac(c->ctx, EHLO_HASH_SHA_256, literal("Jefe"), parts, 3, out), EHLO_OK);
    must_be_hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", out, 32);
    assert_int_equal(c->pbkdf2(c->ctx, EHLO_HASH_SHA_1, literal("password"), literal("salt"), 4096, out), EHLO_OK);
    must_be_hex("4b007901b765489abead49d926f721d065a429c1", out, 20);
}

/* -- what the RFCs print ---------------------------------------------------------------------------- */

typedef struct scram_row {
    const char *name;
    uint32_t mechanism;
    ehlo_hash hash;
    ehlo_str salt;
    const char *client_nonce;
    const char *server_nonce;
    const char *client_first;
    const char *server_first;
    const char *client_final;
    const char *server_final;
} scram_row;

static const scram_row scram_rows[] = {
    { "[C201] RFC 5802 5", EHLO_SASL_SCRAM_SHA_1, EHLO_HASH_SHA_1, TEXT("QSXCR+Q6sek8bf92"), "fyko+d2lbbFgONRv9qkxdawL",
      "3rfcNHYJY1ZVvWVs7j", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
      "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
      "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
    { "[C201] RFC 7677 3", EHLO_SASL_SCRAM_SHA_256, EHLO_HASH_SHA_256, TEXT("W22ZaJ0SNY7soEsUEjb6gQ=="),
      "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
};

static void the_client_says_what_the_scram_rfcs_print(void **state)
{
    (void)state;
    const ehlo_credentials credentials = { .user = TEXT("user"),
                                           .password = TEXT("pencil"),
                                           .crypto = tls_openssl_crypto() };
    for (size_t i = 0; i < COUNT(scram_rows); i++) {
        const scram_row *row = &scram_rows[i];
        ehlo_sasl_client *x;
        ehlo_str said;
        assert_int_equal(ehlo_sasl_client_start(&x, client_room, sizeof client_room, row->mechanism, row->mechanism,
                                                &credentials, NULL, &said),
                         EHLO_OK);
        x->text.len = 0; /* once more, with the nonce that is printed */
        assert_int_equal(ehlo_scram_client_first(x, literal(row->client_nonce), &said), EHLO_OK);
        assert_text(literal(row->client_first), said, "client-first", row->name);
        assert_int_equal(ehlo_sasl_client_finish(x), EHLO_ERR_SYNTAX);
        ehlo_sasl_client_end(x);

        assert_int_equal(ehlo_sasl_client_start(&x, client_room, sizeof client_room, row->mechanism, row->mechanism,
                                                &credentials, NULL, &said),
                         EHLO_OK);
        x->text.len = 0;
        assert_int_equal(ehlo_scram_client_first(x, literal(row->client_nonce), &said), EHLO_OK);
        assert_int_equal(ehlo_sasl_client_step(x, base64(literal(row->server_first)), &said), EHLO_OK);
        assert_text(literal(row->client_final), said, "client-final", row->name);
        assert_int_equal(ehlo_sasl_client_step(x, base64(literal(row->server_final)), &said), EHLO_OK);
        assert_int_equal(said.len, 0);
        assert_non_null(said.ptr);
        assert_int_equal(ehlo_sasl_client_finish(x), EHLO_OK);
        ehlo_sasl_client_end(x);
    }
}

/* The nonce of RFC 5802 is base64 of 18 octets, as ours are. */
static void the_client_nonce_is_base64_of_what_random_gives(void **state)
{
    (void)state;
    const scram_row *row = &scram_rows[0];
    ehlo_crypto crypto = fixed_crypto();
    const ehlo_credentials credentials = { .user = TEXT("user"), .password = TEXT("pencil"), .crypto = &crypto };
    ehlo_sasl_client *x;
    ehlo_str said;
    size_t len;
    assert_int_equal(
        ehlo_base64_decode(literal(row->client_nonce), (char *)fixed_octets, sizeof fixed_octets, &len, NULL), EHLO_OK);
    assert_int_equal(ehlo_sasl_client_start(&x, client_room, sizeof client_room, row->mechanism, row->mechanism,
                                            &credentials, NULL, &said),
                     EHLO_OK);
    must_say(literal(row->client_first), said, "client-first");
    assert_int_equal(ehlo_sasl_client_step(x, base64(literal(row->server_first)), &said), EHLO_OK);
    must_say(literal(row->client_final), said, "client-final");
    assert_int_equal(ehlo_sasl_client_step(x, base64(literal(row->server_final)), &said), EHLO_OK);
    assert_int_equal(ehlo_sasl_client_finish(x), EHLO_OK);
    ehlo_sasl_client_end(x);
}

static ehlo_scram_keys keys_of(ehlo_hash hash, const char *password, ehlo_str salt_text)
{
    char salt[EHLO_SCRAM_SALT_MAX];
    size_t len;
    ehlo_scram_keys keys;
    assert_int_equal(ehlo_base64_decode(salt_text, salt, sizeof salt, &len, NULL), EHLO_OK);
    assert_int_equal(
        ehlo_scram_derive(tls_openssl_crypto(), hash, literal(password), ehlo_str_make(salt, len), 4096, &keys),
        EHLO_OK);
    return keys;
}

/* What a server says to the final message of row, whose keys are of this password. */
static ehlo_sasl_step serve_row(const scram_row *row, const char *password, ehlo_str *said)
{
    const ehlo_sasl_server_config config = { .crypto = tls_openssl_crypto(), .offered = row->mechanism };
    ehlo_scram_keys keys = keys_of(row->hash, password, row->salt);
    ehlo_sasl_server *x;
    assert_int_equal(ehlo_sasl_server_start(&x, server_room, sizeof server_room, row->mechanism, &config), EHLO_OK);
    assert_int_equal(ehlo_sasl_server_step(x, base64(literal(row->client_first)), said), EHLO_SASL_NEED_KEYS);
    assert_text(literal("user"), ehlo_sasl_server_user(x), "user", row->name);
    assert_true(ehlo_sasl_server_was_asked(x, EHLO_SASL_NEED_KEYS));
    assert_int_equal(ehlo_scram_server_challenge(x, &keys, literal(row->server_nonce), said), EHLO_SASL_CHALLENGE);
    assert_text(literal(row->server_first), *said, "server-first", row->name);
    ehlo_sasl_step step = ehlo_sasl_server_step(x, base64(literal(row->client_final)), said);
    if (step != EHLO_SASL_CHALLENGE) return step;
    assert_text(literal(row->server_final), *said, "server-final", row->name);
    return ehlo_sasl_server_step(x, literal(""), said);
}

static void the_server_says_what_the_scram_rfcs_print(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(scram_rows); i++) {
        ehlo_str said;
        assert_int_equal(serve_row(&scram_rows[i], "pencil", &said), EHLO_SASL_ACCEPTED);
        assert_int_equal(serve_row(&scram_rows[i], "pencils", &said), EHLO_SASL_REFUSED);
    }
}

/* The keys of RFC 7677's user as other software stores them: {salt, StoredKey, ServerKey}. */
static void derived_keys_are_those_of_other_software(void **state)
{
    (void)state;
    ehlo_scram_keys keys = keys_of(EHLO_HASH_SHA_256, "pencil", literal("W22ZaJ0SNY7soEsUEjb6gQ=="));
    must_say(literal("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="),
             base64(ehlo_str_make((const char *)keys.stored_key, 32)), "StoredKey");
    must_say(literal("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="),
             base64(ehlo_str_make((const char *)keys.server_key, 32)), "ServerKey");
    assert_int_equal(keys.iterations, 4096);
    assert_int_equal(keys.salt_len, 16);
}

/* What a client says at once: mechanism, credentials, as the texts print it. */
static void must_begin(uint32_t mechanism, const ehlo_credentials *credentials, const char *expected)
{
    ehlo_sasl_client *x;
    ehlo_str said;
    assert_int_equal(
        ehlo_sasl_client_start(&x, client_room, sizeof client_room, mechanism, mechanism, credentials, NULL, &said),
        EHLO_OK);
    must_say(literal(expected), base64(said), "initial response");
    ehlo_sasl_client_end(x);
}

static void the_client_begins_as_the_texts_print_it(void **state)
{
    (void)state;
    const ehlo_credentials tim = { .user = TEXT("tim"), .password = TEXT("tanstaaftanstaaf") };
    must_begin(EHLO_SASL_PLAIN, &tim, "AHRpbQB0YW5zdGFhZnRhbnN0YWFm"); /* [C198] RFC 4616 4 */
    const ehlo_credentials kurt = { .user = TEXT("Kurt"), .password = TEXT("xipj3plmq"), .authzid = TEXT("Ursel") };
    must_begin(EHLO_SASL_PLAIN, &kurt, "VXJzZWwAS3VydAB4aXBqM3BsbXE=");
    /* [C204] RFC 7628 4.1, and the same for the port of submission */
    ehlo_credentials bearer = { .user = TEXT("user@example.com"),
                                .host = TEXT("server.example.com"),
                                .port = 143,
                                .token = TEXT("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==") };
    must_begin(EHLO_SASL_OAUTHBEARER, &bearer,
               "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxb"
               "VRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB");
    bearer.port = 587;
    must_begin(EHLO_SASL_OAUTHBEARER, &bearer,
               "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9NTg3AWF1dGg9QmVhcmVyIHZGOWRmdDRxb"
               "VRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB");
    const ehlo_credentials google = { .user = TEXT("someuser@example.com"),
                                      .token = TEXT("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg") };
    must_begin(EHLO_SASL_XOAUTH2, &google,
               "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHR"
               "XVZMjl0Q2cBAQ==");
}

/* [C204] RFC 7628 4.3: a token that is refused, its reason as printed. */
static void the_client_answers_a_refused_token_with_a_control_a(void **state)
{
    (void)state;
    const ehlo_credentials bearer = { .user = TEXT("user@example.com"), .token = TEXT("a") };
    ehlo_sasl_client *x;
    ehlo_str said;
    assert_int_equal(
        ehlo_sasl_client_start(&x, client_room, sizeof client_room, EHLO_SASL_OAUTHBEARER, 0, &bearer, NULL, &said),
        EHLO_OK);
    assert_int_equal(
        ehlo_sasl_client_step(x,
                              literal("eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLW"
                                      "NvbmZpZ3VyYXRpb24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25m"
                                      "aWd1cmF0aW9uIn0="),
                              &said),
        EHLO_OK);
    must_say(literal("AQ=="), base64(said), "answer");
    ehlo_sasl_client_end(x);
}

/* [C200] RFC 2195 2 */
static void cram_md5_is_what_its_rfc_prints(void **state)
{
    (void)state;
    const ehlo_credentials tim = { .user = TEXT("tim"),
                                   .password = TEXT("tanstaaftanstaaf"),
                                   .crypto = tls_openssl_crypto() };
    const ehlo_str challenge = TEXT("<1896.697170952@postoffice.reston.mci.net>");
    char digest[EHLO_CRAM_MD5_DIGEST];
    ehlo_sasl_client *x;
    ehlo_str said;
    assert_int_equal(
        ehlo_sasl_client_start(&x, client_room, sizeof client_room, EHLO_SASL_CRAM_MD5, 0, &tim, NULL, &said), EHLO_OK);
    assert_null(said.ptr);
    assert_int_equal(ehlo_sasl_client_step(x, base64(challenge), &said), EHLO_OK);
    must_say(literal("tim b913a602c7eda7a495b4e6e7334d3890"), said, "answer");
    ehlo_sasl_client_end(x);
    assert_int_equal(ehlo_cram_md5_digest(tls_openssl_crypto(), tim.password, challenge, digest), EHLO_OK);
    must_say(literal("b913a602c7eda7a495b4e6e7334d3890"), ehlo_str_make(digest, sizeof digest), "digest");
}

/* -- client and server ------------------------------------------------------------------------------ */

typedef struct pair_row {
    const char *name;
    uint32_t mechanism;
    const char *stored; /* the password that the server knows; NULL: nobody is known */
    ehlo_sasl_step outcome;
} pair_row;

static const pair_row pair_rows[] = {
    { "SHA-1", EHLO_SASL_SCRAM_SHA_1, "p\xC3\xA4ss,=\x09", EHLO_SASL_ACCEPTED },
    { "SHA-1-PLUS", EHLO_SASL_SCRAM_SHA_1_PLUS, "p\xC3\xA4ss,=\x09", EHLO_SASL_ACCEPTED },
    { "SHA-256", EHLO_SASL_SCRAM_SHA_256, "p\xC3\xA4ss,=\x09", EHLO_SASL_ACCEPTED },
    { "SHA-256-PLUS", EHLO_SASL_SCRAM_SHA_256_PLUS, "p\xC3\xA4ss,=\x09", EHLO_SASL_ACCEPTED },
    { "CRAM-MD5", EHLO_SASL_CRAM_MD5, "p\xC3\xA4ss,=\x09", EHLO_SASL_ACCEPTED },
    { "a wrong password, SHA-1", EHLO_SASL_SCRAM_SHA_1, "p", EHLO_SASL_REFUSED },
    { "a wrong password, SHA-256", EHLO_SASL_SCRAM_SHA_256, "p", EHLO_SASL_REFUSED },
    { "a wrong password, CRAM-MD5", EHLO_SASL_CRAM_MD5, "p", EHLO_SASL_REFUSED },
    { "an unknown user, SHA-1", EHLO_SASL_SCRAM_SHA_1, NULL, EHLO_SASL_REFUSED },
    { "an unknown user, SHA-256-PLUS", EHLO_SASL_SCRAM_SHA_256_PLUS, NULL, EHLO_SASL_REFUSED },
    { "an unknown user, CRAM-MD5", EHLO_SASL_CRAM_MD5, NULL, EHLO_SASL_REFUSED },
};

static ehlo_sasl_step answer_question(ehlo_sasl_server *x, ehlo_sasl_step step, const pair_row *row, ehlo_str *said)
{
    int is_sha_1 = (row->mechanism & (EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS)) != 0;
    ehlo_scram_keys keys;
    if (step == EHLO_SASL_NEED_PASSWORD) return ehlo_sasl_server_password(x, literal(row->stored), said);
    if (step != EHLO_SASL_NEED_KEYS) return step;
    if (row->stored == NULL) return ehlo_sasl_server_keys(x, NULL, said);
    keys = keys_of(is_sha_1 ? EHLO_HASH_SHA_1 : EHLO_HASH_SHA_256, row->stored, literal("c2FsdHNhbHQ="));
    return ehlo_sasl_server_keys(x, &keys, said);
}

static void client_and_server_agree(void **state)
{
    (void)state;
    const ehlo_tls_facts facts = { .version = TEXT("TLSv1.3"), .exporter = TEXT("0123456789abcdef0123456789abcdef") };
    const ehlo_credentials credentials = { .user = TEXT("b\xC3\xA9,=x"),
                                           .password = TEXT("p\xC3\xA4ss,=\x09"),
                                           .crypto = tls_openssl_crypto() };
    for (size_t i = 0; i < COUNT(pair_rows); i++) {
        const pair_row *row = &pair_rows[i];
        const ehlo_sasl_server_config config = { .crypto = tls_openssl_crypto(),
                                                 .facts = &facts,
                                                 .offered = row->mechanism,
                                                 .hostname = TEXT("mx.example"),
                                                 .decoy = TEXT("a secret of the server's") };
        ehlo_sasl_client *client;
        ehlo_sasl_server *server;
        ehlo_str said;
        ehlo_str heard;
        const ehlo_tls_facts *clients = (row->mechanism & EHLO_SASL_SCRAM_PLUS) != 0 ? &facts : NULL;
        assert_int_equal(ehlo_sasl_server_start(&server, server_room, sizeof server_room, row->mechanism, &config),
                         EHLO_OK);
        assert_int_equal(ehlo_sasl_client_start(&client, client_room, sizeof client_room, row->mechanism,
                                                row->mechanism, &credentials, clients, &said),
                         EHLO_OK);
        ehlo_sasl_step step = ehlo_sasl_server_step(server, said.ptr == NULL ? said : base64(said), &heard);
        while (step != EHLO_SASL_ACCEPTED && step != EHLO_SASL_REFUSED) {
            if (step == EHLO_SASL_CHALLENGE) {
                assert_int_equal(ehlo_sasl_client_step(client, base64(heard), &said), EHLO_OK);
                step = ehlo_sasl_server_step(server, base64(said), &heard);
            } else {
                step = answer_question(server, step, row, &heard);
            }
            if (step < 0 || step == EHLO_SASL_MALFORMED) fail_msg("%s: step %d", row->name, (int)step);
        }
        if (step != row->outcome) fail_msg("%s: step %d, expected %d", row->name, (int)step, (int)row->outcome);
        if (step == EHLO_SASL_ACCEPTED) assert_int_equal(ehlo_sasl_client_finish(client), EHLO_OK);
        assert_text(credentials.user, ehlo_sasl_server_user(server), "user", row->name);
        ehlo_sasl_client_end(client);
        ehlo_sasl_server_end(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_computes_what_its_names_say),
        cmocka_unit_test(the_client_says_what_the_scram_rfcs_print),
        cmocka_unit_test(the_client_nonce_is_base64_of_what_random_gives),
        cmocka_unit_test(the_server_says_what_the_scram_rfcs_print),
        cmocka_unit_test(derived_keys_are_those_of_other_software),
        cmocka_unit_test(the_client_begins_as_the_texts_print_it),
        cmocka_unit_test(the_client_answers_a_refused_token_with_a_control_a),
        cmocka_unit_test(cram_md5_is_what_its_rfc_prints),
        cmocka_unit_test(client_and_server_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
