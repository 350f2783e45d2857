/* A SASL client and server that talk to each other, through somebody who changes octets.
 *
 * The first octet of an input is the mechanism ('a' PLAIN to 'k' SCRAM-SHA-256-PLUS), the rest of its first line is
 * switches, a letter each (see switch_of). Behind it are changes, three octets each: which message, which octet of it,
 * and what that is xored with. Left alone, who may log in is accepted on both sides, and nobody else. Changed, nobody
 * is whom the mechanism protects, and of the others only who is still the same. */
#include <stdint.h>

#include "sasl_model.h"

enum { ROUNDS_MAX = 12, MODEL_WHOLE = MODEL_HASHED /* what protects every octet */ };

typedef struct run {
    uint32_t mechanism;
    ehlo_credentials who;
    ehlo_tls_facts tls, other_tls;
    const ehlo_tls_facts *facts;
    fake_crypto client_crypto, server_crypto;
    uint32_t client_offered;
    ehlo_sasl_server_config config;
    ehlo_scram_keys keys;
    int wrong, unknown, late_initial, in_base64, other_binding, stripped;
    const uint8_t *changes;
    size_t changes_len;
    unsigned message; /* that is under way */
    int changed;
    ehlo_sasl_client *client;
    ehlo_sasl_server *server;
} run;

/* -- the wire --------------------------------------------------------------------------------------- */

static void change(run *r, octets *text)
{
    for (size_t i = 0; i + 3 <= r->changes_len; i += 3) {
        const uint8_t *c = r->changes + i;
        if (c[0] != r->message || text->len == 0 || c[2] == 0) continue;
        text->bytes[c[1] % text->len] = (char)((unsigned char)text->bytes[c[1] % text->len] ^ c[2]);
    }
}

/* The base64 of a message, as it arrives. */
static ehlo_str carried(run *r, ehlo_str message)
{
    static octets plain, base64, before;
    octets_set(&plain, message);
    base64.len = before.len = 0;
    octets_add_base64(&before, message);
    if (!r->in_base64) change(r, &plain);
    octets_add_base64(&base64, octets_view(&plain));
    if (r->in_base64) change(r, &base64);
    r->message++;
    if (!same_text(octets_view(&base64), octets_view(&before))) r->changed = 1;
    return octets_view(&base64);
}

/* -- who may log in --------------------------------------------------------------------------------- */

/* As on_auth would judge it: it is the one whom the server knows, who may act as the one whom he names. */
static int is_right(const run *r)
{
    ehlo_str user = ehlo_sasl_server_user(r->server), secret = ehlo_sasl_server_secret(r->server);
    ehlo_str authzid = ehlo_sasl_server_authzid(r->server), name = r->who.user;
    if (r->mechanism == EHLO_SASL_OAUTHBEARER && r->who.authzid.len > 0) {
        name = r->who.authzid; /* it has one name, whom the token stands for */
    } else if (!same_text(authzid, r->who.authzid)) {
        return 0;
    }
    if (r->unknown) return 0;
    if (r->mechanism == EHLO_SASL_EXTERNAL) return same_text(user, r->tls.peer_subject);
    if (r->mechanism == EHLO_SASL_OAUTHBEARER || r->mechanism == EHLO_SASL_XOAUTH2) {
        return same_text(user, name) && ehlo_secret_equal(secret, ehlo_str_from("vF9dft4q"));
    }
    if (r->mechanism & (EHLO_SASL_PLAIN | EHLO_SASL_LOGIN) && !ehlo_secret_equal(secret, ehlo_str_from("pencil")))
        return 0;
    return same_text(user, name);
}

static int answer(run *r, int step, ehlo_str *challenge)
{
    ehlo_str none = { NULL, 0 };
    if (step == EHLO_SASL_NEED_KEYS) return ehlo_sasl_server_keys(r->server, is_right(r) ? &r->keys : NULL, challenge);
    if (step == EHLO_SASL_NEED_PASSWORD)
        return ehlo_sasl_server_password(r->server, is_right(r) ? ehlo_str_from("pencil") : none, challenge);
    if (step == EHLO_SASL_NEED_VERDICT) return ehlo_sasl_server_verdict(r->server, is_right(r), challenge);
    return step;
}

/* -- a run ------------------------------------------------------------------------------------------ */

/* 1 if both sides say that it is done. */
static int talk(run *r, ehlo_str initial)
{
    ehlo_str none = { NULL, 0 }, challenge = none, response = initial;
    int held = initial.ptr != NULL && r->late_initial;
    ehlo_str first = initial.ptr == NULL || held ? none : carried(r, initial);
    int step = ehlo_sasl_server_step(r->server, first, &challenge);
    for (int rounds = 0;; rounds++) {
        CHECK(rounds < ROUNDS_MAX);
        step = answer(r, step, &challenge);
        if (step != EHLO_SASL_CHALLENGE)
            return step == EHLO_SASL_ACCEPTED && ehlo_sasl_client_finish(r->client) == EHLO_OK;
        ehlo_str heard = carried(r, challenge);
        if (held) {
            CHECK(challenge.len == 0);
            response = initial;
            held = 0;
        } else if (ehlo_sasl_client_step(r->client, heard, &response) != EHLO_OK) {
            CHECK(ehlo_sasl_client_finish(r->client) != EHLO_OK);
            return 0;
        }
        step = ehlo_sasl_server_step(r->server, carried(r, response), &challenge);
    }
}

static int may_log_in(const run *r)
{
    int uses_password = r->mechanism & (MODEL_HASHED | EHLO_SASL_PLAIN | EHLO_SASL_LOGIN) ? 1 : 0;
    int uses_token = r->mechanism & (EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER) ? 1 : 0;
    if (r->client_crypto.failed || r->server_crypto.failed || r->unknown) return 0;
    if (r->wrong && (uses_password || uses_token)) return 0;
    if (r->other_binding && r->mechanism & MODEL_PLUS) return 0;
    /* A client who could bind the channel and was told that the server cannot (RFC 5802 6). */
    if (r->stripped && r->mechanism & (MODEL_SCRAM & ~MODEL_PLUS) && r->facts != NULL &&
        r->tls.exporter.len + r->tls.end_point.len > 0)
        return 0;
    return 1;
}

static void try_to_log_in(run *r, char *client_mem, size_t client_len, char *server_mem, size_t server_len)
{
    ehlo_str initial = { NULL, 0 };
    int result = ehlo_sasl_client_start(&r->client, client_mem, client_len, r->mechanism, r->client_offered, &r->who,
                                        r->facts, &initial);
    CHECK(result == EHLO_OK || r->client_crypto.failed || r->mechanism & MODEL_PLUS ||
          (r->mechanism & (r->mechanism - 1)) != 0);
    if (result != EHLO_OK) return;
    result = ehlo_sasl_server_start(&r->server, server_mem, server_len, r->mechanism, &r->config);
    CHECK(result == EHLO_OK || r->facts == NULL);
    if (result == EHLO_OK) {
        int done = talk(r, initial);
        CHECK(!done || may_log_in(r));
        if (r->changed && r->mechanism & MODEL_WHOLE) CHECK(!done);
        if (!r->changed && may_log_in(r)) CHECK(done);
        ehlo_sasl_server_end(r->server);
    }
    ehlo_sasl_client_end(r->client);
    check_wiped(client_mem, client_len);
    check_wiped(server_mem, server_len);
}

/* -- inputs ----------------------------------------------------------------------------------------- */

static void switch_of(run *r, char letter)
{
    if (model_facts(&r->tls, letter)) r->facts = &r->tls;
    if (letter >= '1' && letter <= '9') r->client_crypto.fail_at = (unsigned)(letter - '0');
    if (letter >= 'A' && letter <= 'I') r->server_crypto.fail_at = (unsigned)(letter - 'A' + 1);
    if (letter == 'w') r->wrong = 1;
    if (letter == 'n') r->unknown = 1;
    if (letter == 'd') r->config.decoy = ehlo_str_from("secret octets that stay the same");
    if (letter == 'i') r->late_initial = 1;
    if (letter == 'r') r->in_base64 = 1;
    if (letter == 'b') r->other_binding = 1;
    if (letter == 'm') r->stripped = 1;
    if (letter == 'z') r->who.authzid = ehlo_str_from("ad,min=\xC3\xA9");
    if (letter == 'u') r->who.user = ehlo_str_from("us,er=");
    if (letter == 'p') r->who.port = 587;
    if (letter == 'o') r->who.host = ehlo_str_from("mx.example");
}

static void configure(run *r, ehlo_str head)
{
    uint32_t no_authzid = EHLO_SASL_LOGIN | EHLO_SASL_XOAUTH2 | EHLO_SASL_CRAM_MD5 | EHLO_SASL_ANONYMOUS;
    r->mechanism = model_mechanism((uint8_t)(head.len > 0 ? head.ptr[0] : 'a'));
    fake_crypto_init(&r->client_crypto, 1);
    fake_crypto_init(&r->server_crypto, 1000);
    r->who.user = ehlo_str_from("user");
    r->who.crypto = &r->client_crypto.table;
    r->config.crypto = &r->server_crypto.table;
    r->config.hostname = ehlo_str_from("mx.example");
    for (size_t i = 1; i < head.len; i++) switch_of(r, head.ptr[i]);
    r->who.password = ehlo_str_from(r->wrong ? "pencils" : "pencil");
    r->who.token = ehlo_str_from(r->wrong ? "vF9dft4r" : "vF9dft4q");
    if (r->mechanism & no_authzid) r->who.authzid = ehlo_str_make(NULL, 0);
    r->config.offered = r->facts != NULL ? MODEL_ALL : MODEL_ALL & ~(uint32_t)MODEL_PLUS;
    r->client_offered = r->stripped ? r->config.offered & ~(uint32_t)MODEL_PLUS : r->config.offered;
    r->other_tls = r->tls;
    if (r->other_binding) {
        r->other_tls.exporter = ehlo_str_from("0123456789abcdef0123456789ABCDEX");
        r->other_tls.end_point = ehlo_str_from("the hash of another certificate!");
    }
    if (r->facts != NULL) r->config.facts = &r->other_tls;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run r;
    records rest;
    memset(&r, 0, sizeof r);
    configure(&r, records_head(&rest, data, size));
    r.changes = rest.at;
    r.changes_len = rest.at != NULL ? rest.len : 0;
    ehlo_hash hash = r.mechanism & MODEL_SHA_1 ? EHLO_HASH_SHA_1 : EHLO_HASH_SHA_256;
    unsigned fail_at = r.server_crypto.fail_at;
    r.server_crypto.fail_at = 0;
    CHECK(ehlo_scram_derive(&r.server_crypto.table, hash, ehlo_str_from("pencil"), ehlo_str_from("salt"), 4096,
                            &r.keys) == EHLO_OK);
    r.server_crypto.calls = 0;
    r.server_crypto.fail_at = fail_at;

    size_t client_len = ehlo_sasl_client_size(&r.who), server_len = ehlo_sasl_server_size(0);
    char *client_mem = malloc(client_len), *server_mem = malloc(server_len);
    CHECK(client_mem != NULL && server_mem != NULL);
    memset(client_mem, MODEL_FILL, client_len);
    memset(server_mem, MODEL_FILL, server_len);
    try_to_log_in(&r, client_mem, client_len, server_mem, server_len);
    free(client_mem);
    free(server_mem);
    return 0;
}
