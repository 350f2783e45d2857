/* SCRAM and the GS2 header: what both sides share. */
#include "scram.h"

/* -- GS2 header ------------------------------------------------------------------------------------- */

static const ehlo_str exporter_type = EHLO_LITERAL("tls-exporter");          /* RFC 9266 2 */
static const ehlo_str end_point_type = EHLO_LITERAL("tls-server-end-point"); /* RFC 5929 4 */

static int same(ehlo_str a, ehlo_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* RFC 5801 4: gs2-cb-flag = ("p=" cb-name) / "n" / "y", and cb-name = 1*(ALPHA / DIGIT / "." / "-") */
static int read_flag(ehlo_str text, ehlo_gs2 *header)
{
    header->flag = text.len > 0 ? text.ptr[0] : '\0';
    if (header->flag == 'n' || header->flag == 'y') return text.len == 1 ? EHLO_OK : EHLO_ERR_SYNTAX;
    if (header->flag != 'p' || text.len < 3 || text.ptr[1] != '=') return EHLO_ERR_SYNTAX;
    header->type = ehlo_str_make(text.ptr + 2, text.len - 2);
    for (size_t i = 0; i < header->type.len; i++) {
        char octet = header->type.ptr[i];
        if (!ehlo_char_is(octet, EHLO_CHAR_LDH) && octet != '.') return EHLO_ERR_SYNTAX;
    }
    return EHLO_OK;
}

/* RFC 5802 7: gs2-header = gs2-cbind-flag "," [ authzid ] ",", and authzid = "a=" saslname */
int ehlo_gs2_read(ehlo_str *rest, ehlo_gs2 *header)
{
    const char *start = rest->ptr;
    ehlo_str flag;
    ehlo_str authzid;
    memset(header, 0, sizeof *header);
    if (ehlo_sasl_take_to(rest, ',', &flag) != EHLO_OK || read_flag(flag, header) != EHLO_OK) return EHLO_ERR_SYNTAX;
    if (ehlo_sasl_take_to(rest, ',', &authzid) != EHLO_OK) return EHLO_ERR_SYNTAX;
    header->text = ehlo_str_make(start, (size_t)(rest->ptr - start));
    if (authzid.len == 0) return EHLO_OK;
    if (authzid.len < 3 || authzid.ptr[0] != 'a' || authzid.ptr[1] != '=') return EHLO_ERR_SYNTAX;
    header->authzid = ehlo_str_make(authzid.ptr + 2, authzid.len - 2);
    return EHLO_OK;
}

void ehlo_gs2_put(ehlo_writer *writer, char flag, ehlo_str type, ehlo_str authzid)
{
    ehlo_writer_put(writer, &flag, 1);
    if (type.len > 0) {
        ehlo_writer_put_text(writer, "=");
        ehlo_writer_put_str(writer, type);
    }
    ehlo_writer_put_text(writer, ",");
    if (authzid.len > 0) {
        ehlo_writer_put_text(writer, "a=");
        ehlo_saslname_put(writer, authzid);
    }
    ehlo_writer_put_text(writer, ",");
}

/* RFC 5802 5.1: "The characters ',' or '=' in usernames are sent as '=2C' and '=3D' respectively." */
void ehlo_saslname_put(ehlo_writer *writer, ehlo_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == ',') {
            ehlo_writer_put_text(writer, "=2C");
        } else if (name.ptr[i] == '=') {
            ehlo_writer_put_text(writer, "=3D");
        } else {
            ehlo_writer_put(writer, name.ptr + i, 1);
        }
    }
}

/* RFC 5802 5.1: "If the server receives a username that contains '=' not followed by either '2C' or '3D', then the
 * server MUST fail the authentication." */
int ehlo_saslname_read(ehlo_writer *writer, ehlo_str text, ehlo_str *name)
{
    size_t from = writer->len;
    for (size_t i = 0; i < text.len; i++) {
        char octet = text.ptr[i];
        if (octet == '=') {
            if (text.len - i < 3) return EHLO_ERR_SYNTAX;
            ehlo_str digits = ehlo_str_make(text.ptr + i + 1, 2);
            octet = same(digits, ehlo_str_make("2C", 2)) ? ',' : '=';
            if (octet == '=' && !same(digits, ehlo_str_make("3D", 2))) return EHLO_ERR_SYNTAX;
            i += 2;
        }
        ehlo_writer_put(writer, &octet, 1);
    }
    if (writer->len > writer->cap) return EHLO_ERR_SPACE;
    ehlo_str read = ehlo_writer_since(writer, from);
    if (!ehlo_sasl_is_name(read)) return EHLO_ERR_SYNTAX;
    *name = read;
    return EHLO_OK;
}

static int is_binding(ehlo_str octets)
{
    return octets.len > 0 && octets.len <= EHLO_GS2_BINDING_MAX;
}

ehlo_str ehlo_gs2_binding(const ehlo_tls_facts *facts, ehlo_str type)
{
    ehlo_str octets = { NULL, 0 };
    if (facts == NULL) return octets;
    if (same(type, exporter_type)) octets = facts->exporter;
    if (same(type, end_point_type)) octets = facts->end_point;
    return is_binding(octets) ? octets : ehlo_str_make(NULL, 0);
}

ehlo_str ehlo_gs2_best_binding(const ehlo_tls_facts *facts)
{
    if (ehlo_gs2_binding(facts, exporter_type).len > 0) return exporter_type;
    if (ehlo_gs2_binding(facts, end_point_type).len > 0) return end_point_type;
    return ehlo_str_make(NULL, 0);
}

/* -- grammar of SCRAM ------------------------------------------------------------------------------- */

ehlo_hash ehlo_scram_hash(uint32_t mechanism)
{
    return (mechanism & (EHLO_SASL_SCRAM_SHA_256 | EHLO_SASL_SCRAM_SHA_256_PLUS)) != 0 ? EHLO_HASH_SHA_256
                                                                                       : EHLO_HASH_SHA_1;
}

int ehlo_scram_is_message(ehlo_str message)
{
    return message.len <= EHLO_SASL_MESSAGE_MAX && ehlo_sasl_is_name(message);
}

/* RFC 5802 7: attr-val = ALPHA "=" value, and value = 1*value-char, which is any but NUL and "," */
char ehlo_scram_attribute(ehlo_str *rest, ehlo_str *value)
{
    ehlo_str text = *rest;
    const char *comma = text.len > 0 ? memchr(text.ptr, ',', text.len) : NULL;
    if (comma != NULL) {
        text.len = (size_t)(comma - text.ptr);
        *rest = ehlo_str_make(comma + 1, rest->len - text.len - 1);
        if (rest->len == 0) return '\0';
    } else {
        *rest = ehlo_str_make(text.ptr, 0);
    }
    if (text.len < 3 || !ehlo_char_is(text.ptr[0], EHLO_CHAR_ALPHA) || text.ptr[1] != '=') return '\0';
    *value = ehlo_str_make(text.ptr + 2, text.len - 2);
    return text.ptr[0];
}

/* RFC 5802 5.1, of m: "The presence of this attribute in a client or a server message MUST cause authentication
 * failure when the attribute is parsed by the other end." Other extensions are optional. */
int ehlo_scram_skip_extensions(ehlo_str rest)
{
    ehlo_str value;
    while (rest.len > 0) {
        char name = ehlo_scram_attribute(&rest, &value);
        if (name == '\0' || name == 'm') return EHLO_ERR_SYNTAX;
    }
    return EHLO_OK;
}

/* RFC 5802 7: cbind-input = gs2-header [ cbind-data ], channel-binding = "c=" base64; the input is left before it. */
ehlo_str ehlo_scram_put_binding(ehlo_writer *writer, const ehlo_scram *scram)
{
    size_t input = writer->len;
    ehlo_writer_put_str(writer, scram->header);
    ehlo_writer_put_str(writer, scram->binding);
    size_t attribute = writer->len;
    ehlo_writer_put_text(writer, "c=");
    if (writer->len > writer->cap) return ehlo_str_make(NULL, 0);
    ehlo_sasl_put_base64(writer, ehlo_str_make(writer->out + input, attribute - input));
    return writer->len <= writer->cap ? ehlo_writer_since(writer, attribute) : ehlo_str_make(NULL, 0);
}

/* -- cryptography of SCRAM -------------------------------------------------------------------------- */

size_t ehlo_hash_size(ehlo_hash hash)
{
    return hash == EHLO_HASH_SHA_256 ? 32 : hash == EHLO_HASH_SHA_1 ? 20 : 16;
}

static ehlo_str octets_of(const uint8_t *octets, ehlo_hash hash)
{
    return ehlo_str_make((const char *)octets, ehlo_hash_size(hash));
}

/* What a function of the caller's has said. */
static int settle(int result)
{
    return result == EHLO_OK || result == EHLO_ERR_UNSUPPORTED ? result : EHLO_ERR_SYSTEM;
}

int ehlo_scram_nonce(const ehlo_crypto *crypto, char nonce[EHLO_SCRAM_NONCE])
{
    uint8_t octets[EHLO_SCRAM_RANDOM];
    size_t len;
    int result = settle(crypto->random(crypto->ctx, octets, sizeof octets));
    if (result != EHLO_OK) return result;
    return ehlo_base64_encode(ehlo_str_make((const char *)octets, sizeof octets), nonce, EHLO_SCRAM_NONCE, &len);
}

static int hmac_text(const ehlo_crypto *crypto, ehlo_hash hash, const uint8_t *key, const char *text, uint8_t *out)
{
    ehlo_str part = ehlo_str_from(text);
    return settle(crypto->hmac(crypto->ctx, hash, octets_of(key, hash), &part, 1, out));
}

static int digest_key(const ehlo_crypto *crypto, ehlo_hash hash, const uint8_t *client_key, uint8_t *stored_key)
{
    return settle(crypto->digest(crypto->ctx, hash, octets_of(client_key, hash), stored_key));
}

/* RFC 5802 3:
 *     SaltedPassword := Hi(Normalize(password), salt, i)
 *     ClientKey := HMAC(SaltedPassword, "Client Key")
 *     StoredKey := H(ClientKey)
 *     ServerKey := HMAC(SaltedPassword, "Server Key") */
int ehlo_scram_keys_of(const ehlo_crypto *crypto, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations,
                       uint8_t *client_key, ehlo_scram_keys *keys)
{
    uint8_t salted[EHLO_HASH_MAX];
    int result = settle(crypto->pbkdf2(crypto->ctx, hash, password, salt, iterations, salted));
    if (result == EHLO_OK) result = hmac_text(crypto, hash, salted, "Client Key", client_key);
    if (result == EHLO_OK) result = digest_key(crypto, hash, client_key, keys->stored_key);
    if (result == EHLO_OK) result = hmac_text(crypto, hash, salted, "Server Key", keys->server_key);
    ehlo_secret_wipe(salted, sizeof salted);
    return result;
}

int ehlo_scram_hash_key(const ehlo_scram *scram, const uint8_t *client_key, uint8_t *stored_key)
{
    return digest_key(scram->crypto, scram->hash, client_key, stored_key);
}

/* RFC 5802 3: AuthMessage := client-first-message-bare + "," + server-first-message + "," +
 * client-final-message-without-proof */
int ehlo_scram_sign(const ehlo_scram *scram, const uint8_t *key, ehlo_str final_bare, uint8_t *signature)
{
    const ehlo_str comma = EHLO_LITERAL(",");
    const ehlo_str message[] = { scram->first_bare, comma, scram->server_first, comma, final_bare };
    const ehlo_crypto *crypto = scram->crypto;
    return settle(crypto->hmac(crypto->ctx, scram->hash, octets_of(key, scram->hash), message, 5, signature));
}

void ehlo_scram_xor(const ehlo_scram *scram, uint8_t *a, const uint8_t *b)
{
    for (size_t i = 0; i < ehlo_hash_size(scram->hash); i++) a[i] = (uint8_t)(a[i] ^ b[i]);
}

int ehlo_scram_derive(const ehlo_crypto *crypto, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations,
                      ehlo_scram_keys *keys)
{
    uint8_t client_key[EHLO_HASH_MAX];
    memset(keys, 0, sizeof *keys);
    if (hash != EHLO_HASH_SHA_1 && hash != EHLO_HASH_SHA_256) return EHLO_ERR_ARG;
    if (password.len == 0 || !ehlo_sasl_is_password(password)) return EHLO_ERR_ARG;
    if (salt.len == 0 || salt.len > EHLO_SCRAM_SALT_MAX || iterations < EHLO_SCRAM_ITERATIONS) return EHLO_ERR_ARG;
    if (crypto == NULL || crypto->digest == NULL || crypto->hmac == NULL || crypto->pbkdf2 == NULL) {
        return EHLO_ERR_UNSUPPORTED;
    }
    int result = ehlo_scram_keys_of(crypto, hash, password, salt, iterations, client_key, keys);
    ehlo_secret_wipe(client_key, sizeof client_key);
    if (result != EHLO_OK) {
        ehlo_secret_wipe(keys, sizeof *keys);
        return result;
    }
    keys->iterations = iterations;
    keys->salt_len = (uint8_t)salt.len;
    memcpy(keys->salt, salt.ptr, salt.len);
    return EHLO_OK;
}
