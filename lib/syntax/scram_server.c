/* SCRAM: the server's side. */
#include "sasl_server.h"

/* -- the client's first message --------------------------------------------------------------------- */

/* RFC 5802 6: 'y' from a client that was offered a -PLUS, of whatever hash, means that somebody took it off our offer:
 * "the server MUST fail authentication". A type of binding whose octets we do not have fails too. */
static ehlo_sasl_step check_binding(ehlo_sasl_server *x, const ehlo_gs2 *header)
{
    const ehlo_sasl_server_config *config = x->config;
    int is_plus = (x->mechanism & EHLO_SASL_SCRAM_PLUS) != 0;
    if ((header->flag == 'p') != is_plus) return EHLO_SASL_MALFORMED;
    if (header->flag == 'y' && (config->offered & EHLO_SASL_SCRAM_PLUS) != 0) return EHLO_SASL_REFUSED;
    if (header->flag != 'p') return EHLO_SASL_CHALLENGE;
    x->scram.binding = ehlo_gs2_binding(config->facts, header->type);
    return x->scram.binding.len > 0 ? EHLO_SASL_CHALLENGE : EHLO_SASL_REFUSED;
}

/* RFC 5802 7: client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions] */
static int read_bare(ehlo_str bare, ehlo_str *user, ehlo_str *nonce)
{
    ehlo_str rest = bare;
    if (ehlo_scram_attribute(&rest, user) != 'n' || ehlo_scram_attribute(&rest, nonce) != 'r') return EHLO_ERR_SYNTAX;
    if (!ehlo_sasl_is_visible(*nonce)) return EHLO_ERR_SYNTAX;
    return ehlo_scram_skip_extensions(rest);
}

ehlo_sasl_step ehlo_scram_server_first(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    ehlo_scram *s = &x->scram;
    ehlo_str bare = response;
    ehlo_str user;
    ehlo_gs2 header;
    (void)challenge;
    s->crypto = x->config->crypto;
    s->hash = ehlo_scram_hash(x->mechanism);
    if (!ehlo_scram_is_message(response) || ehlo_gs2_read(&bare, &header) != EHLO_OK) return EHLO_SASL_MALFORMED;
    s->header = header.text;
    s->first_bare = bare;
    if (read_bare(bare, &user, &s->nonce) != EHLO_OK) return EHLO_SASL_MALFORMED;
    if (ehlo_saslname_read(&x->text, user, &x->user) != EHLO_OK) return EHLO_SASL_MALFORMED;
    if (ehlo_saslname_read(&x->text, header.authzid, &x->authzid) != EHLO_OK) return EHLO_SASL_MALFORMED;
    ehlo_sasl_step step = check_binding(x, &header);
    return step == EHLO_SASL_CHALLENGE ? ehlo_sasl_server_ask(x, EHLO_SASL_NEED_KEYS) : step;
}

/* -- the server's first message --------------------------------------------------------------------- */

/* Keys that look like a user's, always the same for a name, though nobody has them. */
static int make_decoy(const ehlo_sasl_server *x, ehlo_scram_keys *keys)
{
    const ehlo_crypto *crypto = x->scram.crypto;
    uint8_t octets[EHLO_HASH_MAX];
    memset(keys, 0, sizeof *keys);
    if (crypto->hmac(crypto->ctx, x->scram.hash, x->config->decoy, &x->user, 1, octets) != EHLO_OK) {
        return EHLO_ERR_SYSTEM;
    }
    keys->iterations = x->config->decoy_iterations > 0 ? x->config->decoy_iterations : EHLO_SCRAM_ITERATIONS;
    keys->salt_len = 16;
    memcpy(keys->salt, octets, keys->salt_len);
    return EHLO_OK;
}

static ehlo_sasl_step take_final(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge);

/* RFC 5802 7: server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions] */
ehlo_sasl_step ehlo_scram_server_challenge(ehlo_sasl_server *x, const ehlo_scram_keys *keys, ehlo_str nonce,
                                           ehlo_str *challenge)
{
    ehlo_scram *s = &x->scram;
    size_t from = x->text.len;
    ehlo_writer_put_text(&x->text, "r=");
    ehlo_writer_put_str(&x->text, s->nonce);
    ehlo_writer_put_str(&x->text, nonce);
    size_t nonce_len = x->text.len - from - 2;
    ehlo_writer_put_text(&x->text, ",s=");
    ehlo_sasl_put_base64(&x->text, ehlo_str_make((const char *)keys->salt, keys->salt_len));
    ehlo_writer_put_text(&x->text, ",i=");
    ehlo_writer_put_number(&x->text, keys->iterations, 1);
    if (x->text.len > x->text.cap) return EHLO_SASL_MALFORMED;
    s->server_first = ehlo_writer_since(&x->text, from);
    s->nonce = ehlo_str_make(s->server_first.ptr + 2, nonce_len);
    memcpy(x->stored_key, keys->stored_key, sizeof x->stored_key);
    memcpy(x->server_key, keys->server_key, sizeof x->server_key);
    x->next = take_final;
    *challenge = s->server_first;
    return EHLO_SASL_CHALLENGE;
}

static int are_keys(const ehlo_scram_keys *keys)
{
    return keys->iterations > 0 && keys->salt_len > 0 && keys->salt_len <= EHLO_SCRAM_SALT_MAX;
}

ehlo_sasl_step ehlo_sasl_server_keys(ehlo_sasl_server *x, const ehlo_scram_keys *keys, ehlo_str *challenge)
{
    ehlo_scram_keys decoy;
    char nonce[EHLO_SCRAM_NONCE];
    *challenge = ehlo_str_make(NULL, 0);
    if (!ehlo_sasl_server_was_asked(x, EHLO_SASL_NEED_KEYS)) return EHLO_SASL_NOT_ASKED;
    x->nobody = keys == NULL;
    if (x->nobody) {
        if (x->config->decoy.len == 0) return EHLO_SASL_REFUSED;
        if (make_decoy(x, &decoy) != EHLO_OK) return EHLO_SASL_FAILED;
        keys = &decoy;
    }
    if (!are_keys(keys) || ehlo_scram_nonce(x->scram.crypto, nonce) != EHLO_OK) return EHLO_SASL_FAILED;
    return ehlo_scram_server_challenge(x, keys, ehlo_str_make(nonce, sizeof nonce), challenge);
}

/* -- the client's final message --------------------------------------------------------------------- */

typedef struct client_final {
    ehlo_str bare; /* client-final-message-without-proof */
    ehlo_str binding;
    ehlo_str nonce;
    ehlo_str proof; /* base64 */
} client_final;

/* RFC 5802 7:
 *     client-final-message-without-proof = channel-binding "," nonce ["," extensions]
 *     client-final-message = client-final-message-without-proof "," proof */
static int read_final(ehlo_str message, client_final *final)
{
    ehlo_str rest = message;
    char name;
    if (ehlo_scram_attribute(&rest, &final->binding) != 'c') return EHLO_ERR_SYNTAX;
    if (ehlo_scram_attribute(&rest, &final->nonce) != 'r') return EHLO_ERR_SYNTAX;
    do {
        final->bare = ehlo_str_make(message.ptr, message.len - rest.len - 1);
        name = ehlo_scram_attribute(&rest, &final->proof);
        if (name == '\0' || name == 'm') return EHLO_ERR_SYNTAX;
    } while (name != 'p');
    return rest.len == 0 ? EHLO_OK : EHLO_ERR_SYNTAX;
}

/* RFC 5802 3: ClientKey is ClientProof XOR ClientSignature, and H(ClientKey) must be StoredKey. */
static int check_proof(ehlo_sasl_server *x, ehlo_str proof, ehlo_str final_bare, int *right)
{
    const ehlo_scram *s = &x->scram;
    size_t size = ehlo_hash_size(s->hash);
    uint8_t client_key[EHLO_HASH_MAX];
    uint8_t stored_key[EHLO_HASH_MAX];
    int result = ehlo_scram_sign(s, x->stored_key, final_bare, client_key);
    if (result == EHLO_OK) ehlo_scram_xor(s, client_key, (const uint8_t *)proof.ptr);
    if (result == EHLO_OK) result = ehlo_scram_hash_key(s, client_key, stored_key);
    if (result == EHLO_OK) {
        *right = ehlo_secret_equal(ehlo_str_make((const char *)stored_key, size),
                                   ehlo_str_make((const char *)x->stored_key, size)) &
                 !x->nobody;
    }
    ehlo_secret_wipe(client_key, sizeof client_key);
    ehlo_secret_wipe(stored_key, sizeof stored_key);
    return result;
}

/* RFC 4954 4: there is no room for data in a 235, so that the client must say something empty before it. */
static ehlo_sasl_step take_end(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    (void)x, (void)challenge;
    return response.len == 0 ? EHLO_SASL_ACCEPTED : EHLO_SASL_MALFORMED;
}

/* RFC 5802 3, 7: ServerSignature := HMAC(ServerKey, AuthMessage); verifier = "v=" base64 */
static ehlo_sasl_step prove(ehlo_sasl_server *x, ehlo_str final_bare, ehlo_str *challenge)
{
    uint8_t signature[EHLO_HASH_MAX];
    if (ehlo_scram_sign(&x->scram, x->server_key, final_bare, signature) != EHLO_OK) return EHLO_SASL_FAILED;
    size_t from = x->text.len;
    ehlo_writer_put_text(&x->text, "v=");
    ehlo_sasl_put_base64(&x->text, ehlo_str_make((const char *)signature, ehlo_hash_size(x->scram.hash)));
    if (x->text.len > x->text.cap) return EHLO_SASL_MALFORMED;
    *challenge = ehlo_writer_since(&x->text, from);
    x->next = take_end;
    return EHLO_SASL_CHALLENGE;
}

/* The attribute c= must be what we would write (RFC 5802 5.1: what is in the channel binding, and the header, must be
 * as they were), and the nonce the whole. */
static ehlo_sasl_step take_final(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    ehlo_scram *s = &x->scram;
    client_final final;
    ehlo_str proof;
    int right = 0;
    if (!ehlo_scram_is_message(response) || read_final(response, &final) != EHLO_OK) return EHLO_SASL_MALFORMED;
    if (ehlo_sasl_decode(&x->text, final.proof, EHLO_HASH_MAX, &proof) != EHLO_OK) return EHLO_SASL_MALFORMED;
    if (proof.len != ehlo_hash_size(s->hash)) return EHLO_SASL_MALFORMED;
    ehlo_str binding = ehlo_scram_put_binding(&x->text, s);
    if (binding.len == 0) return EHLO_SASL_MALFORMED;
    binding = ehlo_str_make(binding.ptr + 2, binding.len - 2);
    if (!ehlo_secret_equal(binding, final.binding) || !ehlo_secret_equal(s->nonce, final.nonce)) {
        return EHLO_SASL_REFUSED;
    }
    if (check_proof(x, proof, final.bare, &right) != EHLO_OK) return EHLO_SASL_FAILED;
    return right ? prove(x, final.bare, challenge) : EHLO_SASL_REFUSED;
}
