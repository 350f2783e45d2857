/* The server's side of SASL, mechanism by mechanism, under any responses, with any answers to its questions, and with
 * cryptography that fails.
 *
 * The first octet of an input is the mechanism ('a' PLAIN to 'k' SCRAM-SHA-256-PLUS), the rest of its first line is
 * switches, a letter each (see switch_of). Records follow, RS (0x1E) between them, each an act of its first letter:
 * 'r' a response as it stands, 'b' one whose base64 is made here ("$s" is the nonce of SCRAM's challenge, "$c" the
 * channel binding, "$p" the proof over what stands before it, "$d" the digest of CRAM-MD5), '-' none; 'k' and 'K' the
 * user's keys, or that there are none; 'w' and 'W' his password, or that there is none; 'y' and 'n' a verdict. Nobody
 * is accepted who has not proved it. */
#include <stdint.h>

#include "sasl_model.h"

enum {
    MODEL_VERDICT = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN | EHLO_SASL_EXTERNAL | EHLO_SASL_ANONYMOUS | EHLO_SASL_XOAUTH2 |
                    EHLO_SASL_OAUTHBEARER,
    MODEL_SECRET = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN | EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER
};

typedef struct run {
    uint32_t mechanism;
    ehlo_sasl_server_config config;
    ehlo_tls_facts tls;
    fake_crypto crypto;
    ehlo_scram_keys keys;
    size_t response_max, cut;
    char *mem;
    size_t mem_len;
    ehlo_sasl_server *x;
    int last;  /* what the last step came to */
    int proof; /* the application has said yes: a right password, keys, or verdict was given */
    scram_model model;
    octets response, challenge; /* the last ones, decoded */
    octets wanted, signature, digest, binding;
} run;

/* -- what it comes to ------------------------------------------------------------------------------- */

static int is_over(int step)
{
    return step < 0 || step == EHLO_SASL_ACCEPTED || step == EHLO_SASL_REFUSED || step == EHLO_SASL_MALFORMED;
}

static int is_question(int step)
{
    return step == EHLO_SASL_NEED_KEYS || step == EHLO_SASL_NEED_PASSWORD || step == EHLO_SASL_NEED_VERDICT;
}

static void check_facts(const run *r)
{
    ehlo_str mem = ehlo_str_make(r->mem, r->mem_len);
    ehlo_str user = ehlo_sasl_server_user(r->x), authzid = ehlo_sasl_server_authzid(r->x);
    ehlo_str secret = ehlo_sasl_server_secret(r->x);
    CHECK(ehlo_sasl_server_mechanism(r->x) == r->mechanism);
    CHECK(is_clean(user) && is_clean(authzid) && ehlo_utf8_valid(secret, NULL));
    CHECK(is_within(user, mem) || r->mechanism == EHLO_SASL_EXTERNAL);
    CHECK(is_within(authzid, mem) && is_within(secret, mem));
    if (r->last != EHLO_SASL_NEED_VERDICT || !(r->mechanism & MODEL_SECRET)) CHECK(secret.len == 0);
    if (is_question(r->last) && r->mechanism & (MODEL_HASHED | EHLO_SASL_PLAIN | EHLO_SASL_LOGIN | EHLO_SASL_EXTERNAL))
        CHECK(user.len > 0);
}

/* RFC 5802 3: the proof is the one that the keys demand, over these very messages. */
static void check_proof(run *r)
{
    scram_client_final(&r->model, octets_view(&r->response));
    scram_compute(&r->model, &r->wanted, &r->signature);
    CHECK(r->model.proof.len > 0 && same_text(octets_view(&r->model.proof), octets_view(&r->wanted)));
    octets_set(&r->binding, octets_view(&r->model.gs2));
    if (r->mechanism & MODEL_PLUS) {
        int is_exporter = r->model.gs2.len > 7 && memcmp(r->model.gs2.bytes, "p=tls-e", 7) == 0;
        CHECK(is_exporter || (r->model.gs2.len > 7 && memcmp(r->model.gs2.bytes, "p=tls-s", 7) == 0));
        octets_add(&r->binding, is_exporter ? r->tls.exporter : r->tls.end_point);
    }
    static octets bound;
    CHECK(octets_decode(&bound, scram_attribute(&r->model.client_final, 'c')));
    CHECK(same_text(octets_view(&bound), octets_view(&r->binding)));
    CHECK(same_text(scram_attribute(&r->model.client_final, 'r'), scram_attribute(&r->model.server_first, 'r')));
    /* The server proves itself as well. */
    CHECK(r->challenge.len == r->signature.len + 2 && memcmp(r->challenge.bytes, "v=", 2) == 0);
    CHECK(memcmp(r->challenge.bytes + 2, r->signature.bytes, r->signature.len) == 0);
}

static void check_challenge(run *r, ehlo_str challenge)
{
    static octets before;
    CHECK(challenge.len <= EHLO_AUTH_LINE_MAX / 4 * 3 - 8);
    octets_set(&before, octets_view(&r->challenge));
    octets_set(&r->challenge, challenge);
    if (!(r->mechanism & MODEL_SCRAM)) return;
    if (challenge.len > 2 && memcmp(challenge.ptr, "r=", 2) == 0) {
        octets_set(&r->model.server_first, challenge);
        scram_client_first(&r->model, octets_view(&r->response));
        CHECK(r->model.gs2.bytes[0] != 'y' || !(r->config.offered & MODEL_PLUS)); /* it was lied to (RFC 5802 6) */
        ehlo_str nonce = scram_attribute(&r->model.server_first, 'r');
        ehlo_str asked = scram_attribute(&r->model.bare, 'r');
        CHECK(nonce.len > asked.len && asked.len > 0 && memcmp(nonce.ptr, asked.ptr, asked.len) == 0);
    } else if (challenge.len > 2 && memcmp(challenge.ptr, "v=", 2) == 0) {
        CHECK(r->proof);
        check_proof(r);
    }
}

static void hex_digest(run *r)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t mac[EHLO_HASH_MAX];
    ehlo_str challenge = octets_view(&r->challenge);
    fake_hmac_of(EHLO_HASH_MD5, ehlo_str_from("pencil"), &challenge, 1, mac);
    r->digest.len = 0;
    for (size_t i = 0; i < fake_len(EHLO_HASH_MD5); i++) {
        octets_add(&r->digest, ehlo_str_make(&digits[mac[i] >> 4], 1));
        octets_add(&r->digest, ehlo_str_make(&digits[mac[i] & 15], 1));
    }
}

static void check_accepted(run *r)
{
    CHECK(r->proof);
    if (r->mechanism & MODEL_SCRAM) CHECK(r->challenge.len > 2 && r->challenge.bytes[0] == 'v');
    if (r->mechanism != EHLO_SASL_CRAM_MD5) return;
    hex_digest(r);
    CHECK(r->response.len > r->digest.len);
    CHECK(memcmp(r->response.bytes + r->response.len - r->digest.len, r->digest.bytes, r->digest.len) == 0);
}

static void came_to(run *r, int step, ehlo_str challenge)
{
    ehlo_reply reply = { 0, { 0 }, { NULL, 0 } };
    CHECK(step <= EHLO_SASL_MALFORMED && step != 0);
    CHECK(!is_over(r->last) || step < 0 || step == EHLO_SASL_REFUSED || step == EHLO_SASL_MALFORMED);
    CHECK(step >= 0 || is_over(r->last) || r->crypto.failed);
    r->last = step;
    if (step == EHLO_SASL_NEED_KEYS) CHECK(r->mechanism & MODEL_SCRAM);
    if (step == EHLO_SASL_NEED_PASSWORD) CHECK(r->mechanism == EHLO_SASL_CRAM_MD5);
    if (step == EHLO_SASL_NEED_VERDICT) CHECK(r->mechanism & MODEL_VERDICT);
    if (step == EHLO_SASL_CHALLENGE) check_challenge(r, challenge);
    if (step == EHLO_SASL_ACCEPTED) check_accepted(r);
    check_facts(r);
    ehlo_sasl_reply(step, challenge, &reply);
    CHECK(is_question(step) || reply.code != 0);
    CHECK((reply.code == 235) == (step == EHLO_SASL_ACCEPTED) && (reply.code == 334) == (step == EHLO_SASL_CHALLENGE));
}

/* -- acts ------------------------------------------------------------------------------------------- */

static void respond(run *r, ehlo_str base64, int is_none)
{
    ehlo_str challenge = { NULL, 0 }, copy = copied(base64);
    int asked = is_question(r->last);
    if (!asked && !is_over(r->last) && !octets_decode(&r->response, base64)) r->response.len = 0;
    int step = ehlo_sasl_server_step(r->x, is_none ? challenge : copy, &challenge);
    uncopied(copy);
    if (asked) {
        CHECK(step < 0); /* an answer is awaited, not a response */
    } else {
        came_to(r, step, challenge);
    }
}

static const octets *value_of(void *ctx, char name)
{
    static octets nonce, base64;
    run *r = ctx;
    if (name == 's') {
        octets_set(&nonce, scram_attribute(&r->model.server_first, 'r'));
        return &nonce;
    }
    if (name == 'c') {
        octets_set(&nonce, octets_view(&r->model.gs2));
        if (r->mechanism & MODEL_PLUS)
            octets_add(&nonce, memcmp(nonce.bytes, "p=tls-e", 7) == 0 ? r->tls.exporter : r->tls.end_point);
        base64.len = 0;
        octets_add_base64(&base64, octets_view(&nonce));
        return &base64;
    }
    if (name == 'd') {
        hex_digest(r);
        return &r->digest;
    }
    return NULL;
}

/* "$p" at the end, behind ",p=". */
static void add_proof(run *r, octets *response)
{
    ehlo_str text = octets_view(response);
    if (text.len < 2 || memcmp(text.ptr + text.len - 2, "$p", 2) != 0) return;
    scram_client_final(&r->model, ehlo_str_make(text.ptr, text.len - 2));
    scram_compute(&r->model, &r->wanted, &r->signature);
    response->len -= 2;
    octets_add(response, octets_view(&r->wanted));
}

static void respond_with(run *r, ehlo_str text)
{
    static octets plain, base64;
    if (!expand(&plain, text, value_of, r)) return;
    add_proof(r, &plain);
    base64.len = 0;
    octets_add_base64(&base64, octets_view(&plain));
    respond(r, octets_view(&base64), 0);
}

static void answered(run *r, int question, int says_yes, int step, ehlo_str challenge)
{
    if (r->last != question) {
        CHECK(step == EHLO_ERR_STATE);
        check_facts(r);
        return;
    }
    if (says_yes) r->proof = 1;
    came_to(r, step, challenge);
}

static void act(run *r, ehlo_str record)
{
    ehlo_str challenge = { NULL, 0 }, rest = ehlo_str_make(record.ptr + 1, record.len - 1);
    char what = record.ptr[0];
    /* What is passed is not kept. */
    ehlo_str password = copied(ehlo_str_from("pencil"));
    if (what == 'r') respond(r, rest, 0);
    if (what == 'b') respond_with(r, rest);
    if (what == '-') respond(r, ehlo_str_make(NULL, 0), 1);
    if (what == 'k' || what == 'K') {
        ehlo_scram_keys keys = r->keys;
        int step = ehlo_sasl_server_keys(r->x, what == 'k' ? &keys : NULL, &challenge);
        memset(&keys, 0xDD, sizeof keys);
        answered(r, EHLO_SASL_NEED_KEYS, what == 'k', step, challenge);
    }
    if (what == 'w' || what == 'W') {
        int step = ehlo_sasl_server_password(r->x, what == 'w' ? password : ehlo_str_make(NULL, 0), &challenge);
        answered(r, EHLO_SASL_NEED_PASSWORD, what == 'w', step, challenge);
    }
    if (what == 'y' || what == 'n') {
        int step = ehlo_sasl_server_verdict(r->x, what == 'y', &challenge);
        answered(r, EHLO_SASL_NEED_VERDICT, what == 'y', step, challenge);
    }
    uncopied(password);
}

/* -- inputs ----------------------------------------------------------------------------------------- */

static void switch_of(run *r, char letter)
{
    ehlo_sasl_server_config *c = &r->config;
    if (model_facts(&r->tls, letter)) c->facts = &r->tls;
    if (letter == 'u') r->tls.peer_verified = 0;
    if (letter >= '1' && letter <= '9') r->crypto.fail_at = (unsigned)(letter - '0');
    if (letter == 'h') r->crypto.lacks_hashes = 1;
    if (letter == 'c') c->crypto = NULL;
    if (letter == 'b') r->crypto.table.pbkdf2 = NULL;
    if (letter == 's') r->cut = 1;
    if (letter == 'Z') r->cut = SIZE_MAX;
    if (letter == 'L') r->response_max = 64;
    if (letter == 'O') c->offered = MODEL_ALL;
    if (letter == 'D') c->decoy = ehlo_str_from("secret octets that stay the same");
    if (letter == 'H') c->hostname = ehlo_str_make(NULL, 0);
}

static void configure(run *r, ehlo_str head)
{
    r->mechanism = r->config.offered = model_mechanism((uint8_t)(head.len > 0 ? head.ptr[0] : 'a'));
    fake_crypto_init(&r->crypto, 7);
    scram_model_init(&r->model, r->mechanism, ehlo_str_from("pencil"));
    r->config.crypto = &r->crypto.table;
    r->config.hostname = ehlo_str_from("mx.example");
    CHECK(ehlo_scram_derive(&r->crypto.table, r->model.hash, r->model.password, ehlo_str_from("sixteen octets.."), 4096,
                            &r->keys) == EHLO_OK);
    r->crypto.calls = 0;
    for (size_t i = 1; i < head.len; i++) switch_of(r, head.ptr[i]);
}

static int begin(run *r)
{
    size_t need = ehlo_sasl_server_size(r->response_max);
    r->mem_len = r->cut < need ? need - r->cut : 0;
    r->mem = malloc(r->mem_len > 0 ? r->mem_len : 1);
    CHECK(need > 0 && r->mem != NULL);
    memset(r->mem, MODEL_FILL, r->mem_len);
    int result = ehlo_sasl_server_start(&r->x, r->mem, r->mem_len, r->mechanism, &r->config);
    if (result == EHLO_OK) {
        CHECK((r->mechanism & (r->mechanism - 1)) == 0);
        CHECK(!(r->mechanism & MODEL_HASHED) || r->config.crypto != NULL);
        CHECK(!(r->mechanism & MODEL_PLUS) ||
              (r->config.facts != NULL && r->tls.exporter.len + r->tls.end_point.len > 0));
        CHECK(r->mechanism != EHLO_SASL_EXTERNAL || (r->config.facts != NULL && r->tls.peer_verified));
        return 1;
    }
    CHECK(result == EHLO_ERR_UNSUPPORTED || (result == EHLO_ERR_SPACE && r->cut > 0));
    check_wiped(r->mem, r->mem_len);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run r;
    records input;
    ehlo_str record;
    if (size > MODEL_MAX / 4) return 0;
    memset(&r, 0, sizeof r);
    configure(&r, records_head(&input, data, size));
    if (begin(&r)) {
        while (records_next(&input, &record)) {
            if (record.len > 0) act(&r, record);
        }
        ehlo_sasl_server_end(r.x);
        check_wiped(r.mem, r.mem_len);
    }
    free(r.mem);
    return 0;
}
