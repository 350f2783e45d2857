/* SASL: the mechanisms, which of them to use, and what both sides share. */
#include "sasl_text.h"

#include "scram.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What a mechanism needs: means, ... */
enum {
    NEEDS_USER = 1 << 0,
    NEEDS_PASSWORD = 1 << 1,
    NEEDS_TOKEN = 1 << 2,
    NEEDS_NO_AUTHZID = 1 << 3, /* it has no place for one */
    NEEDS_HMAC = 1 << 4,
    NEEDS_CRYPTO = 1 << 5, /* all of it */
    NEEDS_BINDING = 1 << 6,
    /* ... and circumstances, for it to be chosen. */
    NEEDS_SECRECY = 1 << 7,
    NEEDS_TLS = 1 << 8,
    NEEDS_NO_SECRET = 1 << 9, /* somebody who has one wants to use it */
    NEEDS_TO_BE_NAMED = 1 << 10,
    CIRCUMSTANCES = NEEDS_SECRECY | NEEDS_TLS | NEEDS_NO_SECRET | NEEDS_TO_BE_NAMED,

    NEEDS_OF_SCRAM = NEEDS_USER | NEEDS_PASSWORD | NEEDS_CRYPTO
};

typedef struct mechanism {
    ehlo_str name;
    uint32_t bit;
    unsigned needs;
} mechanism;

/* In order of preference. */
static const mechanism mechanisms[] = {
    { EHLO_LITERAL("SCRAM-SHA-256-PLUS"), EHLO_SASL_SCRAM_SHA_256_PLUS, NEEDS_OF_SCRAM | NEEDS_BINDING },
    { EHLO_LITERAL("SCRAM-SHA-1-PLUS"), EHLO_SASL_SCRAM_SHA_1_PLUS, NEEDS_OF_SCRAM | NEEDS_BINDING },
    { EHLO_LITERAL("SCRAM-SHA-256"), EHLO_SASL_SCRAM_SHA_256, NEEDS_OF_SCRAM },
    { EHLO_LITERAL("SCRAM-SHA-1"), EHLO_SASL_SCRAM_SHA_1, NEEDS_OF_SCRAM },
    { EHLO_LITERAL("EXTERNAL"), EHLO_SASL_EXTERNAL, NEEDS_TLS | NEEDS_NO_SECRET },
    { EHLO_LITERAL("OAUTHBEARER"), EHLO_SASL_OAUTHBEARER, NEEDS_TOKEN | NEEDS_SECRECY },
    { EHLO_LITERAL("XOAUTH2"), EHLO_SASL_XOAUTH2, NEEDS_USER | NEEDS_TOKEN | NEEDS_NO_AUTHZID | NEEDS_SECRECY },
    { EHLO_LITERAL("CRAM-MD5"), EHLO_SASL_CRAM_MD5,
      NEEDS_USER | NEEDS_PASSWORD | NEEDS_NO_AUTHZID | NEEDS_HMAC | NEEDS_TO_BE_NAMED },
    { EHLO_LITERAL("PLAIN"), EHLO_SASL_PLAIN, NEEDS_USER | NEEDS_PASSWORD | NEEDS_SECRECY },
    { EHLO_LITERAL("LOGIN"), EHLO_SASL_LOGIN, NEEDS_USER | NEEDS_PASSWORD | NEEDS_NO_AUTHZID | NEEDS_SECRECY },
    { EHLO_LITERAL("ANONYMOUS"), EHLO_SASL_ANONYMOUS, NEEDS_NO_AUTHZID | NEEDS_TO_BE_NAMED },
};

/* -- mechanisms ------------------------------------------------------------------------------------- */

uint32_t ehlo_sasl_find(ehlo_str name)
{
    for (size_t i = 0; i < COUNT(mechanisms); i++) {
        if (ehlo_chars_equal_nocase(mechanisms[i].name, name)) return mechanisms[i].bit;
    }
    return 0;
}

static const mechanism *find_bit(uint32_t bit)
{
    for (size_t i = 0; i < COUNT(mechanisms); i++) {
        if (mechanisms[i].bit == bit) return &mechanisms[i];
    }
    return NULL;
}

ehlo_str ehlo_sasl_name(uint32_t mechanism_bit)
{
    const mechanism *m = find_bit(mechanism_bit);
    return m == NULL ? ehlo_str_make("", 0) : m->name;
}

int ehlo_sasl_reveals(uint32_t mechanism_bit)
{
    const mechanism *m = find_bit(mechanism_bit);
    return m != NULL && (m->needs & NEEDS_SECRECY) != 0;
}

static int has_certificate(const ehlo_tls_facts *facts)
{
    return facts != NULL && facts->peer_verified && facts->peer_subject.len > 0 &&
           ehlo_sasl_is_name(facts->peer_subject);
}

int ehlo_sasl_fits_tls(uint32_t mechanism_bit, const ehlo_tls_facts *facts)
{
    if ((mechanism_bit & EHLO_SASL_SCRAM_PLUS) != 0) return ehlo_gs2_best_binding(facts).len > 0;
    return mechanism_bit != EHLO_SASL_EXTERNAL || has_certificate(facts);
}

static unsigned means_of_crypto(const ehlo_crypto *crypto)
{
    unsigned means = 0;
    if (crypto == NULL || crypto->hmac == NULL) return 0;
    means |= NEEDS_HMAC;
    if (crypto->digest != NULL && crypto->pbkdf2 != NULL && crypto->random != NULL) means |= NEEDS_CRYPTO;
    return means;
}

static unsigned means_of(const ehlo_credentials *credentials, const ehlo_tls_facts *facts)
{
    unsigned means = means_of_crypto(credentials->crypto);
    if (credentials->user.len > 0) means |= NEEDS_USER;
    if (credentials->password.len > 0) means |= NEEDS_PASSWORD;
    if (credentials->token.len > 0) means |= NEEDS_TOKEN;
    if (credentials->authzid.len == 0) means |= NEEDS_NO_AUTHZID;
    if (ehlo_gs2_best_binding(facts).len > 0) means |= NEEDS_BINDING;
    return means;
}

int ehlo_sasl_has_means(uint32_t mechanism_bit, const ehlo_credentials *credentials, const ehlo_tls_facts *facts)
{
    const mechanism *m = find_bit(mechanism_bit);
    if (m == NULL) return EHLO_ERR_UNSUPPORTED;
    unsigned lacks = m->needs & ~(means_of(credentials, facts) | CIRCUMSTANCES);
    if ((lacks & (NEEDS_HMAC | NEEDS_CRYPTO | NEEDS_BINDING)) != 0) return EHLO_ERR_UNSUPPORTED;
    return lacks == 0 ? EHLO_OK : EHLO_ERR_ARG;
}

static unsigned circumstances_of(const ehlo_credentials *credentials, int tls, const ehlo_tls_facts *facts)
{
    unsigned circumstances = 0;
    if (tls) circumstances |= NEEDS_TLS;
    if ((tls && ehlo_tls_trusted(facts)) || credentials->clear) circumstances |= NEEDS_SECRECY;
    if (credentials->password.len == 0 && credentials->token.len == 0) circumstances |= NEEDS_NO_SECRET;
    if (credentials->mechanisms != 0) circumstances |= NEEDS_TO_BE_NAMED;
    return circumstances;
}

uint32_t ehlo_sasl_choose(uint32_t offered, const ehlo_credentials *credentials, int tls, const ehlo_tls_facts *facts)
{
    if (credentials == NULL) return 0;
    unsigned has = means_of(credentials, tls ? facts : NULL) | circumstances_of(credentials, tls, facts);
    if (credentials->mechanisms != 0) offered &= credentials->mechanisms;
    for (size_t i = 0; i < COUNT(mechanisms); i++) {
        if ((offered & mechanisms[i].bit) != 0 && (mechanisms[i].needs & ~has) == 0) return mechanisms[i].bit;
    }
    return 0;
}

/* -- text ------------------------------------------------------------------------------------------- */

int ehlo_sasl_decode(ehlo_writer *writer, ehlo_str text, size_t max, ehlo_str *octets)
{
    size_t len;
    size_t room = writer->cap - writer->len;
    char *out = writer->out + writer->len;
    *octets = ehlo_str_make(out, 0);
    int result = ehlo_base64_decode(text, out, room < max ? room : max, &len, NULL);
    if (result != EHLO_OK) return result;
    octets->len = len;
    writer->len += len;
    return EHLO_OK;
}

void ehlo_sasl_put_base64(ehlo_writer *writer, ehlo_str octets)
{
    size_t len = (octets.len + 2) / 3 * 4;
    char *room = ehlo_writer_room(writer, len);
    if (room != NULL) (void)ehlo_base64_encode(octets, room, len, &len);
}

void ehlo_sasl_put_hex(ehlo_writer *writer, const uint8_t *octets, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        const char pair[2] = { digits[octets[i] >> 4], digits[octets[i] & 15] };
        ehlo_writer_put(writer, pair, 2);
    }
}

int ehlo_sasl_is_name(ehlo_str text)
{
    ehlo_fault fault;
    return ehlo_token_check(text, &fault) == EHLO_OK;
}

int ehlo_sasl_is_password(ehlo_str text)
{
    return text.len == 0 || (memchr(text.ptr, '\0', text.len) == NULL && ehlo_utf8_valid(text, NULL));
}

int ehlo_sasl_is_visible(ehlo_str text)
{
    size_t at = 0;
    while (at < text.len && text.ptr[at] > ' ' && text.ptr[at] < 0x7F) at++;
    return at == text.len;
}

/* RFC 4505 2: message = [ email / token ], token = 1*255TCHAR. An address has no more than that either. */
int ehlo_sasl_is_trace(ehlo_str text)
{
    size_t characters = 0;
    if (!ehlo_sasl_is_name(text)) return 0;
    for (size_t i = 0; i < text.len; i++) characters += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    return characters <= 255;
}

/* RFC 2195 2: digest = MD5((password XOR opad), MD5((password XOR ipad), challenge)), "in hexadecimal format,
 * using lower-case ASCII characters". */
int ehlo_cram_md5_digest(const ehlo_crypto *crypto, ehlo_str password, ehlo_str challenge,
                         char digest[EHLO_CRAM_MD5_DIGEST])
{
    uint8_t octets[EHLO_HASH_MAX];
    ehlo_writer writer = { digest, EHLO_CRAM_MD5_DIGEST, 0 };
    int result = crypto->hmac(crypto->ctx, EHLO_HASH_MD5, password, &challenge, 1, octets);
    ehlo_sasl_put_hex(&writer, octets, EHLO_CRAM_MD5_DIGEST / 2);
    ehlo_secret_wipe(octets, sizeof octets);
    return result == EHLO_OK ? EHLO_OK : EHLO_ERR_SYSTEM;
}

/* -- secrets ---------------------------------------------------------------------------------------- */

int ehlo_secret_equal(ehlo_str a, ehlo_str b)
{
    volatile unsigned char difference = 0; /* so that no compiler stops at the first one */
    if (a.len != b.len) return 0;
    for (size_t i = 0; i < a.len; i++) difference = (unsigned char)(difference | (a.ptr[i] ^ b.ptr[i]));
    return difference == 0;
}

/* A call through a pointer that may have changed is not optimised away. */
void ehlo_secret_wipe(void *mem, size_t len)
{
    static void *(*const volatile set)(void *, int, size_t) = memset;
    if (len > 0) set(mem, 0, len);
}

/* -- reply ------------------------------------------------------------------------------------------ */

/* RFC 4954 4: 334; 501 for what cannot be decoded or is invalid. 6: 235, 535, 454. */
void ehlo_sasl_reply(int step, ehlo_str challenge, ehlo_reply *r)
{
    static const ehlo_reply accepted = { 235, { 2, 7, 0 }, EHLO_LITERAL("Authentication successful") };
    static const ehlo_reply refused = { 535, { 5, 7, 8 }, EHLO_LITERAL("Authentication credentials invalid") };
    static const ehlo_reply malformed = { 501, { 5, 5, 2 }, EHLO_LITERAL("Malformed authentication response") };
    static const ehlo_reply failed = { 454, { 4, 7, 0 }, EHLO_LITERAL("Temporary authentication failure") };
    switch (step) {
    case EHLO_SASL_CHALLENGE:
        *r = (ehlo_reply){ 334, { 0, 0, 0 }, challenge };
        break;
    case EHLO_SASL_ACCEPTED:
        *r = accepted;
        break;
    case EHLO_SASL_REFUSED:
        *r = refused;
        break;
    case EHLO_SASL_MALFORMED:
        *r = malformed;
        break;
    default:
        *r = failed;
    }
}
