/* SCRAM: the client's side. */
#include "sasl_client.h"

typedef struct server_first {
    ehlo_str nonce;
    ehlo_str salt; /* base64 */
    uint32_t iterations;
} server_first;

static int refuse(ehlo_sasl_client *x, const char *problem)
{
    return ehlo_sasl_client_fail(x, EHLO_ERR_SYNTAX, problem);
}

static int no_scram(ehlo_sasl_client *x)
{
    return refuse(x, "the server's challenge is no message of SCRAM");
}

/* -- the client's first message --------------------------------------------------------------------- */

/* RFC 5802 6: who can bind the channel says 'p' in a -PLUS form, and 'y' where the server seems to have none, of
 * whatever hash; 'n' is for who cannot, or does not want to. */
static void put_header(ehlo_sasl_client *x)
{
    ehlo_str type = ehlo_gs2_best_binding(x->facts);
    char flag = type.len > 0 && (x->offered & EHLO_SASL_SCRAM_PLUS) == 0 ? 'y' : 'n';
    if ((x->mechanism & EHLO_SASL_SCRAM_PLUS) != 0) {
        flag = 'p';
        x->scram.binding = ehlo_gs2_binding(x->facts, type);
    } else {
        type.len = 0;
    }
    ehlo_gs2_put(&x->text, flag, type, x->credentials->authzid);
    x->scram.header = ehlo_writer_since(&x->text, 0);
}

static int take_server_first(ehlo_sasl_client *x, ehlo_str message, ehlo_str *response);

/* RFC 5802 7: client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions] */
int ehlo_scram_client_first(ehlo_sasl_client *x, ehlo_str nonce, ehlo_str *initial)
{
    put_header(x);
    size_t bare = x->text.len;
    ehlo_writer_put_text(&x->text, "n=");
    ehlo_saslname_put(&x->text, x->credentials->user);
    ehlo_writer_put_text(&x->text, ",r=");
    size_t at = x->text.len;
    ehlo_writer_put_str(&x->text, nonce);
    x->scram.nonce = ehlo_writer_since(&x->text, at);
    x->scram.first_bare = ehlo_writer_since(&x->text, bare);
    *initial = ehlo_writer_since(&x->text, 0);
    x->keep = x->text.len;
    x->next = take_server_first;
    return EHLO_OK;
}

int ehlo_scram_client_start(ehlo_sasl_client *x, ehlo_str *initial)
{
    char nonce[EHLO_SCRAM_NONCE];
    x->scram.crypto = x->credentials->crypto;
    x->scram.hash = ehlo_scram_hash(x->mechanism);
    if (ehlo_scram_nonce(x->scram.crypto, nonce) != EHLO_OK) return EHLO_ERR_SYSTEM;
    return ehlo_scram_client_first(x, ehlo_str_make(nonce, sizeof nonce), initial);
}

/* -- the server's first message --------------------------------------------------------------------- */

/* RFC 5802 5.1: "The client MUST verify that the initial part of the nonce used in subsequent messages is the same as
 * the nonce it initially specified." */
static int check_nonce(ehlo_sasl_client *x, ehlo_str nonce)
{
    ehlo_str ours = x->scram.nonce;
    if (nonce.len <= ours.len || memcmp(nonce.ptr, ours.ptr, ours.len) != 0 || !ehlo_sasl_is_visible(nonce)) {
        return refuse(x, "the server's nonce does not continue ours");
    }
    return EHLO_OK;
}

/* RFC 5802 7: posit-number = %x31-39 *DIGIT. RFC 7677 4: 4096 at least; how many more is a matter of our time. */
static int check_iterations(ehlo_sasl_client *x, ehlo_str text, uint32_t *iterations)
{
    const ehlo_credentials *c = x->credentials;
    uint32_t least = c->iterations_min > 0 ? c->iterations_min : EHLO_SCRAM_ITERATIONS;
    uint32_t most = c->iterations_max > 0 ? c->iterations_max : 100000;
    uint64_t number;
    int result = ehlo_number_parse(text, 100, &number);
    if (result == EHLO_ERR_SYNTAX || (text.ptr[0] == '0' && text.len > 1)) return no_scram(x);
    if (number < least) return refuse(x, "the server asks for too few iterations");
    if (number > most) return refuse(x, "the server asks for too many iterations");
    *iterations = (uint32_t)number;
    return EHLO_OK;
}

/* RFC 5802 7: server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions] */
static int read_server_first(ehlo_sasl_client *x, ehlo_str message, server_first *first)
{
    ehlo_str rest = message;
    ehlo_str count;
    if (!ehlo_scram_is_message(message)) return no_scram(x);
    char name = ehlo_scram_attribute(&rest, &first->nonce);
    if (name == 'm') return refuse(x, "the server demands an extension of SCRAM");
    if (name == 'e') return refuse(x, "the server says that it failed");
    if (name != 'r') return no_scram(x);
    if (check_nonce(x, first->nonce) != EHLO_OK) return EHLO_ERR_SYNTAX;
    if (ehlo_scram_attribute(&rest, &first->salt) != 's') return no_scram(x);
    if (ehlo_scram_attribute(&rest, &count) != 'i') return no_scram(x);
    if (check_iterations(x, count, &first->iterations) != EHLO_OK) return EHLO_ERR_SYNTAX;
    return ehlo_scram_skip_extensions(rest) == EHLO_OK ? EHLO_OK : no_scram(x);
}

/* -- the client's final message --------------------------------------------------------------------- */

/* RFC 5802 3:
 *     ClientSignature := HMAC(StoredKey, AuthMessage)
 *     ClientProof := ClientKey XOR ClientSignature
 *     ServerSignature := HMAC(ServerKey, AuthMessage) */
static int prove(ehlo_sasl_client *x, ehlo_str salt, uint32_t iterations, ehlo_str final_bare, uint8_t *proof)
{
    const ehlo_scram *s = &x->scram;
    uint8_t signature[EHLO_HASH_MAX];
    ehlo_scram_keys keys;
    int result = ehlo_scram_keys_of(s->crypto, s->hash, x->credentials->password, salt, iterations, proof, &keys);
    if (result == EHLO_OK) result = ehlo_scram_sign(s, keys.stored_key, final_bare, signature);
    if (result == EHLO_OK) result = ehlo_scram_sign(s, keys.server_key, final_bare, x->server_signature);
    if (result == EHLO_OK) ehlo_scram_xor(s, proof, signature);
    ehlo_secret_wipe(&keys, sizeof keys);
    ehlo_secret_wipe(signature, sizeof signature);
    if (result != EHLO_OK) ehlo_secret_wipe(proof, EHLO_HASH_MAX); /* it is the ClientKey still */
    return result;
}

static int take_server_final(ehlo_sasl_client *x, ehlo_str message, ehlo_str *response);

/* RFC 5802 7: client-final-message = channel-binding "," nonce ["," extensions] "," proof */
static int take_server_first(ehlo_sasl_client *x, ehlo_str message, ehlo_str *response)
{
    server_first first;
    ehlo_str salt;
    uint8_t proof[EHLO_HASH_MAX];
    x->scram.server_first = message;
    if (read_server_first(x, message, &first) != EHLO_OK) return EHLO_ERR_SYNTAX;
    if (ehlo_sasl_decode(&x->text, first.salt, EHLO_SASL_MESSAGE_MAX, &salt) != EHLO_OK) return no_scram(x);
    size_t from = (size_t)(ehlo_scram_put_binding(&x->text, &x->scram).ptr - x->text.out);
    ehlo_writer_put_text(&x->text, ",r=");
    ehlo_writer_put_str(&x->text, first.nonce);
    if (prove(x, salt, first.iterations, ehlo_writer_since(&x->text, from), proof) != EHLO_OK) {
        return ehlo_sasl_client_fail(x, EHLO_ERR_SYSTEM, "the cryptography failed");
    }
    ehlo_writer_put_text(&x->text, ",p=");
    ehlo_sasl_put_base64(&x->text, ehlo_str_make((const char *)proof, ehlo_hash_size(x->scram.hash)));
    *response = ehlo_writer_since(&x->text, from);
    x->keep = 0;
    x->next = take_server_final;
    return EHLO_OK;
}

/* -- the server's final message --------------------------------------------------------------------- */

/* RFC 5802 7: server-final-message = (server-error / verifier) ["," extensions] */
static int take_server_final(ehlo_sasl_client *x, ehlo_str message, ehlo_str *response)
{
    ehlo_str rest = message;
    ehlo_str value;
    ehlo_str signature;
    ehlo_str expected = ehlo_str_make((const char *)x->server_signature, ehlo_hash_size(x->scram.hash));
    if (!ehlo_scram_is_message(message)) return no_scram(x);
    char name = ehlo_scram_attribute(&rest, &value);
    if (name == 'e') return refuse(x, "the server says that it failed");
    if (name != 'v' || ehlo_scram_skip_extensions(rest) != EHLO_OK) return no_scram(x);
    if (ehlo_sasl_decode(&x->text, value, EHLO_SASL_MESSAGE_MAX, &signature) != EHLO_OK) return no_scram(x);
    if (!ehlo_secret_equal(signature, expected)) {
        return refuse(x, "the server could not prove that it knows the password");
    }
    *response = ehlo_str_make(x->text.out, 0);
    x->may_succeed = 1;
    return EHLO_OK;
}
