/* SASL: the server's side of an exchange, and of all mechanisms but SCRAM. */
#include "sasl_server.h"

/* Takes a word off *rest, in any case, if it begins with it. */
static int take_word(ehlo_str *rest, const char *word)
{
    ehlo_str prefix = ehlo_str_from(word);
    if (!ehlo_chars_start_nocase(*rest, prefix)) return EHLO_ERR_SYNTAX;
    *rest = ehlo_str_make(rest->ptr + prefix.len, rest->len - prefix.len);
    return EHLO_OK;
}

static int is_user(ehlo_str text)
{
    return text.len > 0 && ehlo_sasl_is_name(text);
}

/* -- PLAIN, LOGIN ----------------------------------------------------------------------------------- */

static ehlo_sasl_step ask_password(ehlo_sasl_server *x, ehlo_str password)
{
    if (password.len == 0 || !ehlo_sasl_is_password(password)) return EHLO_SASL_MALFORMED;
    x->secret = password;
    return ehlo_sasl_server_ask(x, EHLO_SASL_NEED_VERDICT);
}

/* RFC 4616 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd, and authcid, passwd = 1*SAFE */
static ehlo_sasl_step take_plain(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    ehlo_str authzid;
    ehlo_str user;
    (void)challenge;
    if (ehlo_sasl_take_to(&response, '\0', &authzid) != EHLO_OK ||
        ehlo_sasl_take_to(&response, '\0', &user) != EHLO_OK) {
        return EHLO_SASL_MALFORMED;
    }
    if (!is_user(user) || !ehlo_sasl_is_name(authzid)) return EHLO_SASL_MALFORMED;
    x->user = user;
    x->authzid = authzid;
    return ask_password(x, response);
}

static ehlo_sasl_step take_login_password(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    (void)challenge;
    return ask_password(x, response);
}

static ehlo_sasl_step take_login_user(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    if (!is_user(response) || response.len > EHLO_SASL_MESSAGE_MAX) return EHLO_SASL_MALFORMED;
    x->user = response;
    x->next = take_login_password;
    *challenge = ehlo_str_from("Password:");
    return EHLO_SASL_CHALLENGE;
}

static ehlo_sasl_step prompt_login(ehlo_sasl_server *x, ehlo_str *challenge)
{
    (void)x;
    *challenge = ehlo_str_from("Username:");
    return EHLO_SASL_CHALLENGE;
}

/* -- EXTERNAL, ANONYMOUS ---------------------------------------------------------------------------- */

/* RFC 4422 A: without an authorization identity, the client acts as who it is. */
static ehlo_sasl_step take_external(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    (void)challenge;
    if (!ehlo_sasl_is_name(response)) return EHLO_SASL_MALFORMED;
    x->user = x->config->facts->peer_subject;
    x->authzid = response;
    return ehlo_sasl_server_ask(x, EHLO_SASL_NEED_VERDICT);
}

static ehlo_sasl_step take_anonymous(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    (void)challenge;
    if (!ehlo_sasl_is_trace(response)) return EHLO_SASL_MALFORMED;
    x->user = response;
    return ehlo_sasl_server_ask(x, EHLO_SASL_NEED_VERDICT);
}

/* -- XOAUTH2, OAUTHBEARER --------------------------------------------------------------------------- */

/* Whatever the client answers to the reason. */
static ehlo_sasl_step refuse_bearer(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    (void)x, (void)response, (void)challenge;
    return EHLO_SASL_REFUSED;
}

/* RFC 7628 3.2.2: the reason is told as JSON in a challenge, then the exchange fails. */
static ehlo_sasl_step tell_reason(ehlo_sasl_server *x, ehlo_str *challenge)
{
    const char *reason = x->mechanism == EHLO_SASL_OAUTHBEARER ? "{\"status\":\"invalid_token\"}"
                                                               : "{\"status\":\"400\",\"schemes\":\"Bearer\"}";
    *challenge = ehlo_str_from(reason);
    x->next = refuse_bearer;
    return EHLO_SASL_CHALLENGE;
}

/* RFC 6750 2.1: credentials = "Bearer" 1*SP b64token. Tokens of other visible octets are out there too. */
static ehlo_sasl_step ask_bearer(ehlo_sasl_server *x, ehlo_str value)
{
    if (take_word(&value, "Bearer ") != EHLO_OK) return EHLO_SASL_MALFORMED;
    while (value.len > 0 && value.ptr[0] == ' ') value = ehlo_str_make(value.ptr + 1, value.len - 1);
    if (value.len == 0 || !ehlo_sasl_is_visible(value)) return EHLO_SASL_MALFORMED;
    x->secret = value;
    return ehlo_sasl_server_ask(x, EHLO_SASL_NEED_VERDICT);
}

/* "user=" user ^A "auth=Bearer " token ^A ^A */
static ehlo_sasl_step take_xoauth2(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    const char separator = EHLO_SASL_KVSEP[0];
    ehlo_str user;
    ehlo_str value;
    (void)challenge;
    if (take_word(&response, "user=") != EHLO_OK || ehlo_sasl_take_to(&response, separator, &user) != EHLO_OK) {
        return EHLO_SASL_MALFORMED;
    }
    if (take_word(&response, "auth=") != EHLO_OK || ehlo_sasl_take_to(&response, separator, &value) != EHLO_OK) {
        return EHLO_SASL_MALFORMED;
    }
    if (response.len != 1 || response.ptr[0] != separator || !is_user(user)) return EHLO_SASL_MALFORMED;
    x->user = user;
    return ask_bearer(x, value);
}

/* RFC 7628 3.1: kvpair = key "=" value kvsep, key = 1*(ALPHA), value = *(VCHAR / SP / HTAB / CR / LF) */
static int take_pair(ehlo_str *rest, ehlo_str *key, ehlo_str *value)
{
    if (ehlo_sasl_take_to(rest, EHLO_SASL_KVSEP[0], value) != EHLO_OK ||
        ehlo_sasl_take_to(value, '=', key) != EHLO_OK) {
        return EHLO_ERR_SYNTAX;
    }
    for (size_t i = 0; i < key->len; i++) {
        if (!ehlo_char_is(key->ptr[i], EHLO_CHAR_ALPHA)) return EHLO_ERR_SYNTAX;
    }
    for (size_t i = 0; i < value->len; i++) {
        char octet = value->ptr[i];
        int is_space = octet == '\t' || octet == '\r' || octet == '\n';
        if (ehlo_char_is_high(octet) || (ehlo_char_is_control(octet) && !is_space)) return EHLO_ERR_SYNTAX;
    }
    return key->len > 0 ? EHLO_OK : EHLO_ERR_SYNTAX;
}

/* The value of the one "auth" among the pairs, which end with a separator of their own. Keys that we do
 * not know are ignored. */
static int find_auth(ehlo_str rest, ehlo_str *auth)
{
    const ehlo_str wanted = EHLO_LITERAL("auth");
    ehlo_str key;
    ehlo_str value;
    int found = 0;
    while (rest.len > 1) {
        if (take_pair(&rest, &key, &value) != EHLO_OK) return EHLO_ERR_SYNTAX;
        if (!ehlo_chars_equal_nocase(key, wanted)) continue;
        *auth = value;
        if (++found > 1) return EHLO_ERR_SYNTAX;
    }
    return found == 1 && rest.len == 1 && rest.ptr[0] == EHLO_SASL_KVSEP[0] ? EHLO_OK : EHLO_ERR_SYNTAX;
}

/* RFC 7628 3.1: client-resp = (gs2-header kvsep *kvpair kvsep). The binding flag is 'n' or 'y': there is no -PLUS. An
 * empty "auth" asks for nothing but the reason (4.3). */
static ehlo_sasl_step take_oauthbearer(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    ehlo_gs2 header;
    ehlo_str auth;
    ehlo_str separator;
    if (ehlo_gs2_read(&response, &header) != EHLO_OK || header.flag == 'p') return EHLO_SASL_MALFORMED;
    if (ehlo_sasl_take_to(&response, EHLO_SASL_KVSEP[0], &separator) != EHLO_OK || separator.len > 0)
        return EHLO_SASL_MALFORMED;
    if (find_auth(response, &auth) != EHLO_OK) return EHLO_SASL_MALFORMED;
    if (ehlo_saslname_read(&x->text, header.authzid, &x->user) != EHLO_OK) return EHLO_SASL_MALFORMED;
    return auth.len == 0 ? tell_reason(x, challenge) : ask_bearer(x, auth);
}

ehlo_sasl_step ehlo_sasl_server_verdict(ehlo_sasl_server *x, int right, ehlo_str *challenge)
{
    *challenge = ehlo_str_make(NULL, 0);
    if (!ehlo_sasl_server_was_asked(x, EHLO_SASL_NEED_VERDICT)) return EHLO_SASL_NOT_ASKED;
    if (x->secret.len > 0) ehlo_secret_wipe(x->text.out + (x->secret.ptr - x->text.out), x->secret.len);
    x->secret = ehlo_str_make(NULL, 0);
    if (right) return EHLO_SASL_ACCEPTED;
    int is_bearer = (x->mechanism & (EHLO_SASL_OAUTHBEARER | EHLO_SASL_XOAUTH2)) != 0;
    return is_bearer ? tell_reason(x, challenge) : EHLO_SASL_REFUSED;
}

/* -- CRAM-MD5 --------------------------------------------------------------------------------------- */

static int is_digest(ehlo_str text)
{
    if (text.len != EHLO_CRAM_MD5_DIGEST) return 0;
    for (size_t i = 0; i < text.len; i++) {
        if (ehlo_char_hex(text.ptr[i]) < 0 || ehlo_char_lower(text.ptr[i]) != text.ptr[i]) return 0;
    }
    return 1;
}

/* RFC 2195 2: "a string consisting of the user name, a space, and a 'digest'". The name may hold spaces. */
static ehlo_sasl_step take_cram_md5(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    (void)challenge;
    if (response.len < EHLO_CRAM_MD5_DIGEST + 2) return EHLO_SASL_MALFORMED;
    size_t space = response.len - EHLO_CRAM_MD5_DIGEST - 1;
    x->digest = ehlo_str_make(response.ptr + space + 1, EHLO_CRAM_MD5_DIGEST);
    if (response.ptr[space] != ' ' || !is_digest(x->digest)) return EHLO_SASL_MALFORMED;
    if (!is_user(ehlo_str_make(response.ptr, space))) return EHLO_SASL_MALFORMED;
    x->user = ehlo_str_make(response.ptr, space);
    return ehlo_sasl_server_ask(x, EHLO_SASL_NEED_PASSWORD);
}

/* The server speaks first: there is nothing yet to respond to. */
static ehlo_sasl_step refuse_initial(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    (void)x, (void)response, (void)challenge;
    return EHLO_SASL_MALFORMED;
}

/* RFC 2195 2: "a presumptively arbitrary string of random digits, a timestamp, and the fully-qualified primary host
 * name of the server", in the form of a msg-id. Random digits do for the timestamp, as all that is asked of it is that
 * it comes but once. */
static ehlo_sasl_step prompt_cram_md5(ehlo_sasl_server *x, ehlo_str *challenge)
{
    const ehlo_crypto *crypto = x->config->crypto;
    uint8_t octets[16];
    if (crypto->random(crypto->ctx, octets, sizeof octets) != EHLO_OK) return EHLO_SASL_FAILED;
    size_t from = x->text.len;
    ehlo_writer_put_text(&x->text, "<");
    ehlo_sasl_put_hex(&x->text, octets, 8);
    ehlo_writer_put_text(&x->text, ".");
    ehlo_sasl_put_hex(&x->text, octets + 8, 8);
    ehlo_writer_put_text(&x->text, "@");
    ehlo_writer_put_str(&x->text, x->config->hostname);
    ehlo_writer_put_text(&x->text, ">");
    x->challenge = ehlo_writer_since(&x->text, from);
    x->next = take_cram_md5;
    *challenge = x->challenge;
    return EHLO_SASL_CHALLENGE;
}

/* Where there is no such user, the same is done, so that time does not tell. */
ehlo_sasl_step ehlo_sasl_server_password(ehlo_sasl_server *x, ehlo_str password, ehlo_str *challenge)
{
    char digest[EHLO_CRAM_MD5_DIGEST];
    *challenge = ehlo_str_make(NULL, 0);
    if (!ehlo_sasl_server_was_asked(x, EHLO_SASL_NEED_PASSWORD)) return EHLO_SASL_NOT_ASKED;
    ehlo_str key = password.ptr != NULL ? password : ehlo_str_make("", 0);
    if (ehlo_cram_md5_digest(x->config->crypto, key, x->challenge, digest) != EHLO_OK) return EHLO_SASL_FAILED;
    int right = ehlo_secret_equal(ehlo_str_make(digest, sizeof digest), x->digest);
    ehlo_secret_wipe(digest, sizeof digest);
    return right && password.ptr != NULL ? EHLO_SASL_ACCEPTED : EHLO_SASL_REFUSED;
}

/* -- exchange --------------------------------------------------------------------------------------- */

/* An empty challenge asks for the response that a mechanism begins with (RFC 4954 4). */
static ehlo_sasl_step prompt_nothing(ehlo_sasl_server *x, ehlo_str *challenge)
{
    *challenge = ehlo_str_make(x->text.out, 0);
    return EHLO_SASL_CHALLENGE;
}

typedef struct behaviour {
    uint32_t mechanisms;
    ehlo_sasl_step (*prompt)(ehlo_sasl_server *x, ehlo_str *challenge);
    ehlo_sasl_server_next first;
} behaviour;

static const behaviour *find_behaviour(uint32_t mechanism)
{
    static const behaviour behaviours[] = {
        { EHLO_SASL_PLAIN, prompt_nothing, take_plain },
        { EHLO_SASL_LOGIN, prompt_login, take_login_user },
        { EHLO_SASL_EXTERNAL, prompt_nothing, take_external },
        { EHLO_SASL_ANONYMOUS, prompt_nothing, take_anonymous },
        { EHLO_SASL_XOAUTH2, prompt_nothing, take_xoauth2 },
        { EHLO_SASL_OAUTHBEARER, prompt_nothing, take_oauthbearer },
        { EHLO_SASL_CRAM_MD5, prompt_cram_md5, refuse_initial },
        { EHLO_SASL_SCRAM_SHA_1, prompt_nothing, ehlo_scram_server_first },
        { EHLO_SASL_SCRAM_SHA_1_PLUS, prompt_nothing, ehlo_scram_server_first },
        { EHLO_SASL_SCRAM_SHA_256, prompt_nothing, ehlo_scram_server_first },
        { EHLO_SASL_SCRAM_SHA_256_PLUS, prompt_nothing, ehlo_scram_server_first },
    };
    for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++) {
        if (behaviours[i].mechanisms == mechanism) return &behaviours[i];
    }
    return NULL;
}

/* 1 if the server has what the mechanism needs. */
static int can_serve(uint32_t mechanism, const ehlo_sasl_server_config *config)
{
    const uint32_t hashed = EHLO_SASL_CRAM_MD5 | EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_256 | EHLO_SASL_SCRAM_PLUS;
    const ehlo_crypto *crypto = config->crypto;
    if (!ehlo_sasl_fits_tls(mechanism, config->facts)) return 0;
    if ((mechanism & hashed) == 0) return 1;
    if (crypto == NULL || crypto->hmac == NULL || crypto->random == NULL) return 0;
    if (mechanism == EHLO_SASL_CRAM_MD5) {
        return config->hostname.len > 0 && config->hostname.len <= 255 && ehlo_sasl_is_visible(config->hostname);
    }
    return crypto->digest != NULL;
}

/* Octets of text: a response as large as may be and a name; or the messages of SCRAM: two of the client's, its names,
 * one of ours with the client's nonce, and c= (base64) with what it is made of, beside what these have of our own. */
static size_t text_room(size_t response_max)
{
    size_t response = response_max / 4 * 3 + 3;
    size_t message = response < EHLO_SASL_MESSAGE_MAX ? response : EHLO_SASL_MESSAGE_MAX;
    size_t scram = 7 * message + 512;
    return response + message > scram ? response + message : scram;
}

size_t ehlo_sasl_server_size(size_t response_max)
{
    if (response_max == 0) response_max = EHLO_AUTH_LINE_MAX;
    if (response_max > SIZE_MAX / 2) return 0;
    return sizeof(ehlo_sasl_server) + text_room(response_max);
}

int ehlo_sasl_server_start(ehlo_sasl_server **x, void *mem, size_t len, uint32_t mechanism,
                           const ehlo_sasl_server_config *config)
{
    const behaviour *b = find_behaviour(mechanism);
    *x = NULL;
    if (b == NULL || config == NULL || !can_serve(mechanism, config)) return EHLO_ERR_UNSUPPORTED;
    if (mem == NULL || len < ehlo_sasl_server_size(1)) return EHLO_ERR_SPACE;
    ehlo_sasl_server *server = mem;
    memset(server, 0, sizeof *server);
    server->config = config;
    server->mechanism = mechanism;
    server->next = b->first;
    server->size = len;
    server->text = (ehlo_writer){ (char *)(server + 1), len - sizeof *server, 0 };
    *x = server;
    return EHLO_OK;
}

ehlo_sasl_step ehlo_sasl_server_step(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge)
{
    ehlo_sasl_server_next next = x->next;
    int is_first = !x->begun;
    ehlo_str octets;
    *challenge = ehlo_str_make(NULL, 0);
    if (next == NULL) return EHLO_SASL_NOT_ASKED;
    x->begun = 1;
    if (is_first && response.ptr == NULL) return find_behaviour(x->mechanism)->prompt(x, challenge);
    x->next = NULL;
    if (ehlo_sasl_decode(&x->text, response, SIZE_MAX, &octets) != EHLO_OK) return EHLO_SASL_MALFORMED;
    return next(x, octets, challenge);
}

uint32_t ehlo_sasl_server_mechanism(const ehlo_sasl_server *x)
{
    return x->mechanism;
}

ehlo_str ehlo_sasl_server_user(const ehlo_sasl_server *x)
{
    return x->user;
}

ehlo_str ehlo_sasl_server_authzid(const ehlo_sasl_server *x)
{
    return x->authzid;
}

ehlo_str ehlo_sasl_server_secret(const ehlo_sasl_server *x)
{
    return x->secret;
}

void ehlo_sasl_server_end(ehlo_sasl_server *x)
{
    if (x != NULL) ehlo_secret_wipe(x, x->size);
}
