/* SASL: the client's side of an exchange, and of all mechanisms but SCRAM. */
#include "sasl_client.h"

int ehlo_sasl_client_fail(ehlo_sasl_client *x, int result, const char *problem)
{
    x->problem = ehlo_str_from(problem);
    x->next = NULL;
    x->may_succeed = 0;
    return result;
}

static int asked_too_much(ehlo_sasl_client *x, ehlo_str challenge, ehlo_str *response)
{
    (void)challenge, (void)response;
    return ehlo_sasl_client_fail(x, EHLO_ERR_SYNTAX, "the server asks for more than the mechanism has");
}

/* -- mechanisms ------------------------------------------------------------------------------------- */

/* RFC 4616 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd */
static int start_plain(ehlo_sasl_client *x, ehlo_str *initial)
{
    const ehlo_credentials *c = x->credentials;
    ehlo_writer_put_str(&x->text, c->authzid);
    ehlo_writer_put(&x->text, "", 1);
    ehlo_writer_put_str(&x->text, c->user);
    ehlo_writer_put(&x->text, "", 1);
    ehlo_writer_put_str(&x->text, c->password);
    *initial = ehlo_writer_since(&x->text, 0);
    x->may_succeed = 1;
    return EHLO_OK;
}

static int tell_password(ehlo_sasl_client *x, ehlo_str prompt, ehlo_str *response)
{
    (void)prompt;
    *response = x->credentials->password;
    x->may_succeed = 1;
    return EHLO_OK;
}

static int tell_user(ehlo_sasl_client *x, ehlo_str prompt, ehlo_str *response)
{
    (void)prompt;
    *response = x->credentials->user;
    x->next = tell_password;
    return EHLO_OK;
}

/* The server speaks first. Prompts differ from server to server; only their order counts. */
static int start_login(ehlo_sasl_client *x, ehlo_str *initial)
{
    (void)initial;
    x->next = tell_user;
    return EHLO_OK;
}

/* RFC 4422 A.2: extern-initial-resp = *( UTF8-octets ), the authorization identity */
static int start_external(ehlo_sasl_client *x, ehlo_str *initial)
{
    ehlo_writer_put_str(&x->text, x->credentials->authzid);
    *initial = ehlo_writer_since(&x->text, 0);
    x->may_succeed = 1;
    return EHLO_OK;
}

/* RFC 4505 2 */
static int start_anonymous(ehlo_sasl_client *x, ehlo_str *initial)
{
    if (!ehlo_sasl_is_trace(x->credentials->user)) return EHLO_ERR_ARG;
    ehlo_writer_put_str(&x->text, x->credentials->user);
    *initial = ehlo_writer_since(&x->text, 0);
    x->may_succeed = 1;
    return EHLO_OK;
}

static void put_pair(ehlo_sasl_client *x, const char *key, ehlo_str value)
{
    ehlo_writer_put_text(&x->text, key);
    ehlo_writer_put_str(&x->text, value);
    ehlo_writer_put_text(&x->text, EHLO_SASL_KVSEP);
}

/* The end of either bearer mechanism's response. */
static int put_token(ehlo_sasl_client *x, ehlo_str *initial)
{
    put_pair(x, "auth=Bearer ", x->credentials->token);
    ehlo_writer_put_text(&x->text, EHLO_SASL_KVSEP);
    *initial = ehlo_writer_since(&x->text, 0);
    x->may_succeed = 1;
    return EHLO_OK;
}

/* The challenge tells why the token was refused; the server fails the exchange once that is answered, by nothing. */
static int answer_refusal_xoauth2(ehlo_sasl_client *x, ehlo_str challenge, ehlo_str *response)
{
    (void)challenge;
    x->may_succeed = 0;
    *response = ehlo_str_make(x->text.out, 0);
    return EHLO_OK;
}

static int start_xoauth2(ehlo_sasl_client *x, ehlo_str *initial)
{
    x->next = answer_refusal_xoauth2;
    put_pair(x, "user=", x->credentials->user);
    return put_token(x, initial);
}

/* RFC 7628 3.2.3: the client "MUST then send ... a single %x01 (control A) character". */
static int answer_refusal_oauthbearer(ehlo_sasl_client *x, ehlo_str challenge, ehlo_str *response)
{
    (void)challenge;
    x->may_succeed = 0;
    *response = ehlo_str_from(EHLO_SASL_KVSEP);
    return EHLO_OK;
}

/* RFC 7628 3.1: client-resp = (gs2-header kvsep *kvpair kvsep), and kvpair = key "=" value kvsep. It has one name, whom
 * the token stands for. */
static int start_oauthbearer(ehlo_sasl_client *x, ehlo_str *initial)
{
    const ehlo_credentials *c = x->credentials;
    x->next = answer_refusal_oauthbearer;
    ehlo_gs2_put(&x->text, 'n', ehlo_str_make(NULL, 0), c->authzid.len > 0 ? c->authzid : c->user);
    ehlo_writer_put_text(&x->text, EHLO_SASL_KVSEP);
    if (c->host.len > 0) put_pair(x, "host=", c->host);
    if (c->port > 0) {
        ehlo_writer_put_text(&x->text, "port=");
        ehlo_writer_put_number(&x->text, c->port, 1);
        ehlo_writer_put_text(&x->text, EHLO_SASL_KVSEP);
    }
    return put_token(x, initial);
}

/* RFC 2195 2: "a string consisting of the user name, a space, and a 'digest'" */
static int answer_cram_md5(ehlo_sasl_client *x, ehlo_str challenge, ehlo_str *response)
{
    const ehlo_credentials *c = x->credentials;
    char digest[EHLO_CRAM_MD5_DIGEST];
    if (challenge.len == 0) return ehlo_sasl_client_fail(x, EHLO_ERR_SYNTAX, "the server's challenge is empty");
    if (ehlo_cram_md5_digest(c->crypto, c->password, challenge, digest) != EHLO_OK) {
        return ehlo_sasl_client_fail(x, EHLO_ERR_SYSTEM, "the cryptography failed");
    }
    size_t from = x->text.len;
    ehlo_writer_put_str(&x->text, c->user);
    ehlo_writer_put_text(&x->text, " ");
    ehlo_writer_put(&x->text, digest, sizeof digest);
    *response = ehlo_writer_since(&x->text, from);
    x->may_succeed = 1;
    return EHLO_OK;
}

static int start_cram_md5(ehlo_sasl_client *x, ehlo_str *initial)
{
    (void)initial;
    x->next = answer_cram_md5;
    return EHLO_OK;
}

static int start_mechanism(ehlo_sasl_client *x, ehlo_str *initial)
{
    switch (x->mechanism) {
    case EHLO_SASL_PLAIN:
        return start_plain(x, initial);
    case EHLO_SASL_LOGIN:
        return start_login(x, initial);
    case EHLO_SASL_EXTERNAL:
        return start_external(x, initial);
    case EHLO_SASL_ANONYMOUS:
        return start_anonymous(x, initial);
    case EHLO_SASL_XOAUTH2:
        return start_xoauth2(x, initial);
    case EHLO_SASL_OAUTHBEARER:
        return start_oauthbearer(x, initial);
    case EHLO_SASL_CRAM_MD5:
        return start_cram_md5(x, initial);
    default:
        return ehlo_scram_client_start(x, initial);
    }
}

/* -- exchange --------------------------------------------------------------------------------------- */

/* What does not fit a line is not sent: a bound that spares us to think of overflow. */
static size_t bounded(ehlo_str text)
{
    return text.len < EHLO_AUTH_LINE_MAX ? text.len : EHLO_AUTH_LINE_MAX;
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Octets of text at most; a name may take thrice its length as a saslname. */
static size_t text_room(const ehlo_credentials *c)
{
    const size_t words = 128; /* what all the fixed words of a message take at most, and a channel binding */
    size_t names = bounded(c->user) + bounded(c->authzid);
    size_t plain = names + bounded(c->password) + words;
    size_t bearer = 3 * names + bounded(c->host) + bounded(c->token) + words;
    size_t cram_md5 = EHLO_SASL_MESSAGE_MAX + names + words;
    /* The first message; c= and what it is made of. The server's first message, its salt, and its nonce in our last. */
    size_t scram = 4 * (3 * names + words) + 3 * EHLO_SASL_MESSAGE_MAX;
    return largest(largest(plain, bearer), c->crypto != NULL ? largest(cram_md5, scram) : EHLO_SASL_MESSAGE_MAX);
}

size_t ehlo_sasl_client_size(const ehlo_credentials *credentials)
{
    return credentials == NULL ? 0 : sizeof(ehlo_sasl_client) + text_room(credentials);
}

static int fits(ehlo_str text)
{
    return text.len <= EHLO_AUTH_LINE_MAX;
}

static int may_be_said(const ehlo_credentials *c)
{
    if (!fits(c->user) || !fits(c->authzid) || !fits(c->password) || !fits(c->token) || !fits(c->host)) return 0;
    return ehlo_sasl_is_name(c->user) && ehlo_sasl_is_name(c->authzid) && ehlo_sasl_is_password(c->password) &&
           ehlo_sasl_is_visible(c->token) && ehlo_sasl_is_visible(c->host);
}

int ehlo_sasl_client_start(ehlo_sasl_client **x, void *mem, size_t len, uint32_t mechanism, uint32_t offered,
                           const ehlo_credentials *credentials, const ehlo_tls_facts *facts, ehlo_str *initial)
{
    *x = NULL;
    *initial = ehlo_str_make(NULL, 0);
    if (credentials == NULL || mem == NULL) return EHLO_ERR_ARG;
    int result = ehlo_sasl_has_means(mechanism, credentials, facts);
    if (result != EHLO_OK) return result;
    if (!may_be_said(credentials)) return EHLO_ERR_ARG;
    size_t size = ehlo_sasl_client_size(credentials);
    if (len < size) return EHLO_ERR_SPACE;
    ehlo_sasl_client *client = mem;
    memset(client, 0, sizeof *client);
    client->credentials = credentials;
    client->facts = facts;
    client->mechanism = mechanism;
    client->offered = offered;
    client->next = asked_too_much;
    client->size = size;
    client->text = (ehlo_writer){ (char *)(client + 1), size - sizeof *client, 0 };
    result = start_mechanism(client, initial);
    if (result != EHLO_OK) {
        *initial = ehlo_str_make(NULL, 0);
        ehlo_sasl_client_end(client);
        return result;
    }
    *x = client;
    return EHLO_OK;
}

int ehlo_sasl_client_step(ehlo_sasl_client *x, ehlo_str challenge, ehlo_str *response)
{
    ehlo_sasl_client_next next = x->next;
    ehlo_str octets;
    *response = ehlo_str_make(NULL, 0);
    if (next == NULL) return EHLO_ERR_STATE;
    x->next = asked_too_much;
    x->text.len = x->keep;
    switch (ehlo_sasl_decode(&x->text, challenge, EHLO_SASL_MESSAGE_MAX, &octets)) {
    case EHLO_OK:
        return next(x, octets, response);
    case EHLO_ERR_SPACE:
        return ehlo_sasl_client_fail(x, EHLO_ERR_SYNTAX, "the server's challenge is too long");
    default:
        return ehlo_sasl_client_fail(x, EHLO_ERR_SYNTAX, "the server's challenge is not base64");
    }
}

int ehlo_sasl_client_finish(ehlo_sasl_client *x)
{
    if (x->may_succeed) return EHLO_OK;
    if (x->problem.len > 0) return EHLO_ERR_SYNTAX;
    return ehlo_sasl_client_fail(x, EHLO_ERR_SYNTAX,
                                 x->scram.crypto != NULL ? "the server did not prove that it knows the password"
                                                         : "the server ended the exchange out of turn");
}

ehlo_str ehlo_sasl_client_problem(const ehlo_sasl_client *x)
{
    return x->problem;
}

void ehlo_sasl_client_end(ehlo_sasl_client *x)
{
    if (x != NULL) ehlo_secret_wipe(x, x->size);
}
