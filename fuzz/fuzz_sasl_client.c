/* The client's side of SASL, mechanism by mechanism, under any challenges, with any credentials, and with cryptography
 * that fails.
 *
 * The first octet of an input is the mechanism ('a' PLAIN to 'k' SCRAM-SHA-256-PLUS), the rest of its first line is
 * switches, a letter each (see switch_of). Records follow, RS (0x1E) between them: first the texts that switches ask
 * for, then challenges: 'r' and base64, or 'b' and what base64 is made of here, where "$n" is the client's nonce and
 * "$v" the signature that only a server has who knows the keys. What the client says is held against what it should. */
#include <stdint.h>

#include "sasl_model.h"

enum { SCRAM_STEPS = 2, LOGIN_STEPS = 2 };

typedef struct run {
    uint32_t mechanism, offered;
    ehlo_credentials who;
    ehlo_tls_facts tls;
    const ehlo_tls_facts *facts; /* NULL outside TLS */
    fake_crypto crypto;
    records input;
    size_t cut; /* octets that the memory lacks */
    char *mem;
    size_t mem_len;
    ehlo_sasl_client *x;
    int steps, failed, proven;
    scram_model model;
    octets nonce, proof, signature, binding;
} run;

/* -- what is to be said ----------------------------------------------------------------------------- */

static void check_text(ehlo_str said, ehlo_str expected)
{
    CHECK(same_text(said, expected));
}

static void check_plain(const run *r, ehlo_str said)
{
    static octets expected;
    octets_set(&expected, r->who.authzid);
    octets_add(&expected, ehlo_str_make("", 1));
    octets_add(&expected, r->who.user);
    octets_add(&expected, ehlo_str_make("", 1));
    octets_add(&expected, r->who.password);
    check_text(said, octets_view(&expected));
}

/* RFC 7628 3.1: the header as in SCRAM, then fields, and an empty one. */
static void check_oauthbearer(const run *r, ehlo_str said)
{
    static octets expected;
    octets_set(&expected, ehlo_str_from("\x01"
                                        "auth=Bearer "));
    octets_add(&expected, r->who.token);
    octets_add(&expected, ehlo_str_from("\x01\x01"));
    CHECK(said.len >= expected.len + 3 && memcmp(said.ptr, "n,", 2) == 0);
    check_text(ehlo_str_make(said.ptr + said.len - expected.len, expected.len), octets_view(&expected));
}

static void check_xoauth2(const run *r, ehlo_str said)
{
    static octets expected;
    octets_set(&expected, ehlo_str_from("user="));
    octets_add(&expected, r->who.user);
    octets_add(&expected, ehlo_str_from("\x01"
                                        "auth=Bearer "));
    octets_add(&expected, r->who.token);
    octets_add(&expected, ehlo_str_from("\x01\x01"));
    check_text(said, octets_view(&expected));
}

/* "user", and the keyed hash of the challenge in hexadecimal (RFC 2195 2). */
static void check_cram_md5(const run *r, ehlo_str said, ehlo_str challenge)
{
    static const char digits[] = "0123456789abcdef";
    static octets expected;
    uint8_t mac[EHLO_HASH_MAX];
    fake_hmac_of(EHLO_HASH_MD5, r->who.password, &challenge, 1, mac);
    octets_set(&expected, r->who.user);
    octets_add(&expected, ehlo_str_from(" "));
    for (size_t i = 0; i < fake_len(EHLO_HASH_MD5); i++) {
        octets_add(&expected, ehlo_str_make(&digits[mac[i] >> 4], 1));
        octets_add(&expected, ehlo_str_make(&digits[mac[i] & 15], 1));
    }
    check_text(said, octets_view(&expected));
}

/* RFC 5802 6: "p=" with channel binding; "y" where we have one and the server has none with any hash; else "n". */
static void check_client_first(run *r, ehlo_str said)
{
    scram_client_first(&r->model, said);
    octets_set(&r->nonce, scram_attribute(&r->model.bare, 'r'));
    CHECK(r->model.gs2.len >= 3 && r->nonce.len > 0);
    const char *gs2 = r->model.gs2.bytes;
    int has_binding = r->facts != NULL && (r->facts->exporter.len > 0 || r->facts->end_point.len > 0);
    if (r->mechanism & MODEL_PLUS) {
        CHECK(has_binding && memcmp(gs2, "p=tls-", 6) == 0);
    } else {
        CHECK(memcmp(gs2, has_binding && !(r->offered & MODEL_PLUS) ? "y," : "n,", 2) == 0);
    }
}

/* The header again, and the octets of the binding that it names; the nonce of both; the proof. */
static void check_client_final(run *r, ehlo_str said)
{
    scram_client_final(&r->model, said);
    scram_compute(&r->model, &r->proof, &r->signature);
    CHECK(r->proof.len > 0);
    check_text(octets_view(&r->model.proof), octets_view(&r->proof));
    CHECK(scram_iterations(&r->model) >= r->crypto.iterations_min);
    CHECK(scram_iterations(&r->model) <= r->crypto.iterations_max);

    octets_set(&r->binding, octets_view(&r->model.gs2));
    if (memcmp(r->model.gs2.bytes, "p=tls-e", 7) == 0) octets_add(&r->binding, r->facts->exporter);
    if (memcmp(r->model.gs2.bytes, "p=tls-s", 7) == 0) octets_add(&r->binding, r->facts->end_point);
    static octets decoded;
    CHECK(octets_decode(&decoded, scram_attribute(&r->model.client_final, 'c')));
    check_text(octets_view(&decoded), octets_view(&r->binding));
    ehlo_str nonce = scram_attribute(&r->model.client_final, 'r');
    check_text(nonce, scram_attribute(&r->model.server_first, 'r'));
    CHECK(nonce.len > r->nonce.len && memcmp(nonce.ptr, r->nonce.bytes, r->nonce.len) == 0);
}

/* RFC 5802 5.1: "v=" and the signature, perhaps with extensions behind. */
static int is_server_final(const run *r, ehlo_str challenge)
{
    size_t len = r->signature.len + 2;
    return challenge.len >= len && memcmp(challenge.ptr, "v=", 2) == 0 &&
           memcmp(challenge.ptr + 2, r->signature.bytes, r->signature.len) == 0 &&
           (challenge.len == len || challenge.ptr[len] == ',');
}

static void check_initial(run *r, ehlo_str said)
{
    CHECK((said.ptr != NULL) == !(r->mechanism & (EHLO_SASL_LOGIN | EHLO_SASL_CRAM_MD5)));
    CHECK(is_within(said, ehlo_str_make(r->mem, r->mem_len)));
    if (r->mechanism == EHLO_SASL_PLAIN) check_plain(r, said);
    if (r->mechanism == EHLO_SASL_EXTERNAL) check_text(said, r->who.authzid);
    if (r->mechanism == EHLO_SASL_ANONYMOUS) check_text(said, r->who.user);
    if (r->mechanism == EHLO_SASL_XOAUTH2) check_xoauth2(r, said);
    if (r->mechanism == EHLO_SASL_OAUTHBEARER) check_oauthbearer(r, said);
    if (r->mechanism & MODEL_SCRAM) check_client_first(r, said);
}

static void check_response(run *r, ehlo_str said, ehlo_str challenge)
{
    CHECK(!(r->mechanism & (EHLO_SASL_PLAIN | EHLO_SASL_EXTERNAL | EHLO_SASL_ANONYMOUS)));
    CHECK(r->steps == 1 || (r->mechanism & (MODEL_SCRAM | EHLO_SASL_LOGIN) && r->steps == 2));
    if (r->mechanism == EHLO_SASL_LOGIN) check_text(said, r->steps == 1 ? r->who.user : r->who.password);
    if (r->mechanism == EHLO_SASL_CRAM_MD5) check_cram_md5(r, said, challenge);
    if (r->mechanism == EHLO_SASL_XOAUTH2) CHECK(said.len == 0);
    if (r->mechanism == EHLO_SASL_OAUTHBEARER) check_text(said, ehlo_str_from("\x01"));
    if (!(r->mechanism & MODEL_SCRAM)) return;
    if (r->steps == 1) {
        octets_set(&r->model.server_first, challenge);
        check_client_final(r, said);
    } else {
        CHECK(said.len == 0 && is_server_final(r, challenge));
        r->proven = 1;
    }
}

/* -- the exchange ----------------------------------------------------------------------------------- */

static int may_finish(const run *r)
{
    if (r->failed) return 0;
    if (r->mechanism & MODEL_SCRAM) return r->proven;
    if (r->mechanism == EHLO_SASL_LOGIN) return r->steps == LOGIN_STEPS;
    if (r->mechanism == EHLO_SASL_CRAM_MD5) return r->steps == 1;
    return 1;
}

static void finish(run *r)
{
    int result = ehlo_sasl_client_finish(r->x);
    CHECK(result <= EHLO_OK);
    if (!may_finish(r)) CHECK(result != EHLO_OK);
    if (may_finish(r) && r->steps == 0) CHECK(result == EHLO_OK);
    if (may_finish(r) && r->mechanism & MODEL_SCRAM) CHECK(result == EHLO_OK);
    if (result != EHLO_OK) r->failed = 1;
}

static void hear(run *r, ehlo_str base64)
{
    static octets decoded;
    ehlo_str copy = copied(base64), response = { NULL, 0 };
    int result = ehlo_sasl_client_step(r->x, copy, &response);
    uncopied(copy);
    if (result == EHLO_OK) {
        CHECK(!r->failed && octets_decode(&decoded, base64));
        r->steps++;
        check_response(r, response, octets_view(&decoded));
        return;
    }
    CHECK(r->failed || result == EHLO_ERR_SYNTAX || (r->crypto.failed && result == EHLO_ERR_SYSTEM) ||
          (r->crypto.lacks_hashes && result == EHLO_ERR_UNSUPPORTED));
    r->failed = 1;
    CHECK(result < 0 && ehlo_sasl_client_problem(r->x).len > 0);
    finish(r);
}

static const octets *value_of(void *ctx, char name)
{
    run *r = ctx;
    if (name == 'n') return &r->nonce;
    if (name == 'v') return &r->signature;
    return NULL;
}

static void hear_record(run *r, ehlo_str record)
{
    static octets plain, base64;
    if (record.len > 0 && record.ptr[0] == 'b') {
        if (!expand(&plain, ehlo_str_make(record.ptr + 1, record.len - 1), value_of, r)) return;
        base64.len = 0;
        octets_add_base64(&base64, octets_view(&plain));
        hear(r, octets_view(&base64));
    } else if (record.len > 0 && record.ptr[0] == 'r') {
        hear(r, ehlo_str_make(record.ptr + 1, record.len - 1));
    } else {
        finish(r);
    }
}

/* What it chooses is offered, allowed and possible, and then it can begin. */
static void check_choice(run *r)
{
    const ehlo_credentials *who = &r->who;
    uint32_t allowed = who->mechanisms != 0 ? who->mechanisms : MODEL_ALL & ~(EHLO_SASL_CRAM_MD5 | EHLO_SASL_ANONYMOUS);
    uint32_t chosen = ehlo_sasl_choose(r->offered, who, r->facts != NULL, r->facts);
    CHECK((chosen & (chosen - 1)) == 0 && (chosen & r->offered & allowed) == chosen);
    if (chosen == 0) return;
    CHECK(same_text(ehlo_sasl_name(chosen), ehlo_sasl_name(chosen)) &&
          ehlo_sasl_find(ehlo_sasl_name(chosen)) == chosen);
    if (r->facts == NULL && !who->clear) CHECK(!ehlo_sasl_reveals(chosen));
    if (chosen & MODEL_PLUS) CHECK(r->facts != NULL && r->facts->exporter.len + r->facts->end_point.len > 0);
    if (chosen & MODEL_HASHED) CHECK(who->crypto != NULL);

    ehlo_str initial;
    ehlo_sasl_client *x;
    fake_crypto before = r->crypto;
    size_t len = ehlo_sasl_client_size(who);
    void *mem = malloc(len);
    int result = ehlo_sasl_client_start(&x, mem, len, chosen, r->offered, who, r->facts, &initial);
    CHECK(result == EHLO_OK || result == EHLO_ERR_ARG || (result == EHLO_ERR_SYSTEM && r->crypto.failed));
    if (result == EHLO_OK) ehlo_sasl_client_end(x);
    free(mem);
    r->crypto = before;
}

static int begin(run *r)
{
    ehlo_str initial = { NULL, 0 };
    size_t need = ehlo_sasl_client_size(&r->who);
    r->mem_len = r->cut < need ? need - r->cut : 0;
    r->mem = malloc(r->mem_len > 0 ? r->mem_len : 1);
    CHECK(need > 0 && r->mem != NULL);
    memset(r->mem, MODEL_FILL, r->mem_len);
    int result =
        ehlo_sasl_client_start(&r->x, r->mem, r->mem_len, r->mechanism, r->offered, &r->who, r->facts, &initial);
    if (result == EHLO_OK) {
        CHECK((r->mechanism & (r->mechanism - 1)) == 0);
        CHECK(!(r->mechanism & MODEL_HASHED) || r->who.crypto != NULL);
        check_initial(r, initial);
        return 1;
    }
    CHECK(result == EHLO_ERR_ARG || result == EHLO_ERR_UNSUPPORTED || (result == EHLO_ERR_SPACE && r->cut > 0) ||
          (result == EHLO_ERR_SYSTEM && r->crypto.failed));
    check_wiped(r->mem, r->mem_len);
    return 0;
}

/* -- inputs ----------------------------------------------------------------------------------------- */

static void set_text(run *r, ehlo_str *text)
{
    ehlo_str record = { NULL, 0 };
    if (records_next(&r->input, &record)) *text = record;
}

static void switch_of(run *r, char letter)
{
    ehlo_credentials *who = &r->who;
    if (model_facts(&r->tls, letter)) r->facts = &r->tls;
    if (letter >= '1' && letter <= '9') r->crypto.fail_at = (unsigned)(letter - '0');
    if (letter == 'h') r->crypto.lacks_hashes = 1;
    if (letter == 'c') who->crypto = NULL;
    if (letter == 's') r->cut = 1;
    if (letter == 'S') r->cut = 64;
    if (letter == 'Z') r->cut = SIZE_MAX;
    if (letter == 'O') r->offered = MODEL_ALL;
    if (letter == 'o') r->offered = MODEL_ALL & ~(uint32_t)MODEL_PLUS;
    if (letter == 'C') who->clear = 1;
    if (letter == 'm') who->mechanisms = r->mechanism;
    if (letter == 'i') {
        who->iterations_min = r->crypto.iterations_min = 5000;
        who->iterations_max = r->crypto.iterations_max = 6000;
    }
    if (letter == 'p') who->port = 143;
    if (letter == 'U') set_text(r, &who->user);
    if (letter == 'P') set_text(r, &who->password);
    if (letter == 'K') set_text(r, &who->token);
    if (letter == 'I') set_text(r, &who->authzid);
    if (letter == 'H') set_text(r, &who->host);
}

static void configure(run *r, ehlo_str head)
{
    r->mechanism = r->offered = model_mechanism((uint8_t)(head.len > 0 ? head.ptr[0] : 'a'));
    fake_crypto_init(&r->crypto, 1);
    r->crypto.iterations_min = 4096;
    r->crypto.iterations_max = 100000;
    r->who.user = ehlo_str_from("user");
    r->who.password = ehlo_str_from("pencil");
    r->who.token = ehlo_str_from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    r->who.crypto = &r->crypto.table;
    for (size_t i = 1; i < head.len; i++) switch_of(r, head.ptr[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run r;
    ehlo_str record;
    if (size > MODEL_MAX / 4) return 0;
    memset(&r, 0, sizeof r);
    configure(&r, records_head(&r.input, data, size));
    scram_model_init(&r.model, r.mechanism, r.who.password);
    check_choice(&r);
    if (begin(&r)) {
        while (records_next(&r.input, &record)) hear_record(&r, record);
        finish(&r);
        ehlo_sasl_client_end(r.x);
        check_wiped(r.mem, r.mem_len);
    }
    free(r.mem);
    return 0;
}
