#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "tls_openssl.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* then the loop's sockets have SO_NOSIGPIPE */
#endif

enum { HOST_MAX = 255, EXPORTER_LEN = 32 };

struct engine {
    ehlo_tls_engine table; /* what the others see; its ctx is us */
    SSL_CTX *context;
    BIO_METHOD *socket;
    int asks_clients; /* for certificates */
};

struct connection {
    SSL *ssl;
    int fd;
    int ended;  /* 1: no octet will come from the socket any more */
    int error;  /* errno of the socket, or 0 */
    int secure; /* 1: the handshake is done */
    int broken; /* 1: OpenSSL has given up; it may not be asked for a shutdown */
    int mute;   /* 1: nothing can be written any more */
    char host[HOST_MAX + 1];
    char *subject; /* of the peer's certificate */
    unsigned char exporter[EXPORTER_LEN];
    unsigned char end_point[EVP_MAX_MD_SIZE];
    char problem[512];
};

/* -- the socket: as OpenSSL's own, but that a peer which is gone raises no SIGPIPE ---------------------- */

static int would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

static int socket_write(BIO *bio, const char *bytes, size_t len, size_t *written)
{
    struct connection *c = BIO_get_data(bio);
    ssize_t n;
    BIO_clear_retry_flags(bio);
    do n = send(c->fd, bytes, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    *written = n > 0 ? (size_t)n : 0;
    if (n >= 0) return 1;
    if (would_block(errno)) {
        BIO_set_retry_write(bio);
    } else {
        c->error = errno;
    }
    return -1;
}

static int socket_read(BIO *bio, char *bytes, size_t len, size_t *got)
{
    struct connection *c = BIO_get_data(bio);
    ssize_t n;
    BIO_clear_retry_flags(bio);
    do n = recv(c->fd, bytes, len, 0);
    while (n < 0 && errno == EINTR);
    *got = n > 0 ? (size_t)n : 0;
    if (n > 0) return 1;
    if (n == 0) {
        c->ended = 1;
        return 0;
    }
    if (would_block(errno)) {
        BIO_set_retry_read(bio);
    } else {
        c->error = errno;
    }
    return -1;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    struct connection *c = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_FLUSH) return 1;
    return command == BIO_CTRL_EOF ? c->ended : 0;
}

static BIO_METHOD *make_socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE");
    if (method == NULL) return NULL;
    if (BIO_meth_set_write_ex(method, socket_write) && BIO_meth_set_read_ex(method, socket_read) &&
        BIO_meth_set_ctrl(method, socket_control)) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

/* -- problems, in words ------------------------------------------------------------------------------- */

static const char *error_text(unsigned long code)
{
    const char *text = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    return text != NULL ? text : "TLS failed";
}

static void describe_certificate(struct connection *c)
{
    long result = SSL_get_verify_result(c->ssl);
    if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        snprintf(c->problem, sizeof c->problem, "the certificate is for another name than %s", c->host);
    } else {
        snprintf(c->problem, sizeof c->problem, "%s", X509_verify_cert_error_string(result));
    }
}

static void describe_error(struct connection *c, unsigned long code)
{
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        describe_certificate(c);
    } else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST) {
        snprintf(c->problem, sizeof c->problem, "what the peer said is not TLS (%s)", error_text(code));
    } else {
        snprintf(c->problem, sizeof c->problem, "%s", error_text(code));
    }
}

/* The first error in the queue is the cause of those behind it. */
static int give_up(struct connection *c)
{
    unsigned long code = ERR_peek_error();
    c->broken = 1;
    if (c->ended) { /* and errno may be that of the alert which nobody took */
        const char *text = c->secure ? "the peer ended TLS without saying so"
                                     : "the peer ended the connection during the TLS handshake";
        snprintf(c->problem, sizeof c->problem, "%s", text);
    } else if (c->error != 0) {
        snprintf(c->problem, sizeof c->problem, "%s", strerror(c->error));
    } else {
        describe_error(c, code);
    }
    ERR_clear_error();
    return EHLO_ERR_TRANSPORT;
}

/* What a call of OpenSSL's that was no success has come to. */
static int result_of(struct connection *c, int returned)
{
    switch (SSL_get_error(c->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return EHLO_ENGINE_READ;
    case SSL_ERROR_WANT_WRITE:
        return EHLO_ENGINE_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return EHLO_ENGINE_CLOSED;
    default:
        return give_up(c);
    }
}

/* -- one connection ----------------------------------------------------------------------------------- */

static void tls_close(void *tls)
{
    struct connection *c = tls;
    if (c == NULL) return;
    SSL_free(c->ssl);
    free(c->subject);
    free(c);
}

/* The octets of the address that host is, or 0. */
static size_t address_octets(const char *host, unsigned char octets[16])
{
    if (inet_pton(AF_INET, host, octets) == 1) return 4;
    return inet_pton(AF_INET6, host, octets) == 1 ? 16 : 0;
}

/* A name without the dot that may end it, an address without what makes a literal of it (RFC 5321 4.1.3). */
static int copy_host(struct connection *c, ehlo_str name)
{
    if (name.len > 1 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']') {
        name = ehlo_str_make(name.ptr + 1, name.len - 2);
        if (name.len > 5 && strncasecmp(name.ptr, "IPv6:", 5) == 0) name = ehlo_str_make(name.ptr + 5, name.len - 5);
    }
    if (name.len > 1 && name.ptr[name.len - 1] == '.') name.len--;
    if (name.len == 0 || name.len > HOST_MAX || memchr(name.ptr, '\0', name.len) != NULL) return 0;
    memcpy(c->host, name.ptr, name.len);
    return 1;
}

/* The host that is sought has to be in the certificate: a name among its subjectAltNames, where no subject's CN stands
 * in for them (RFC 9525 6.3), or an address. Only a name is told to the server (RFC 6066 3). */
static int seek_host(struct connection *c, ehlo_str name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
    unsigned char octets[16];
    if (!copy_host(c, name)) return 0;
    size_t len = address_octets(c->host, octets);
    if (len > 0) return X509_VERIFY_PARAM_set1_ip(param, octets, len);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_host(param, c->host, 0) && SSL_set_tlsext_host_name(c->ssl, c->host);
}

/* A server that asks for certificates takes every one of them: what cannot be verified counts for nothing, and is no
 * reason to turn its owner away. The result of the verification stays what it is. */
static int take_any(int verified, X509_STORE_CTX *store)
{
    (void)verified;
    (void)store;
    return 1;
}

static int prepare_role(const struct engine *engine, struct connection *c, unsigned flags, ehlo_str server_name)
{
    if (flags & EHLO_ENGINE_AS_SERVER) {
        if (engine->asks_clients) SSL_set_verify(c->ssl, SSL_VERIFY_PEER, take_any);
        SSL_set_accept_state(c->ssl);
        return SSL_CTX_get0_certificate(engine->context) != NULL;
    }
    if (flags & EHLO_ENGINE_VERIFY) SSL_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    SSL_set_connect_state(c->ssl);
    return server_name.len == 0 ? (flags & EHLO_ENGINE_VERIFY) == 0 : seek_host(c, server_name);
}

static int attach_socket(const struct engine *engine, struct connection *c)
{
    BIO *bio = BIO_new(engine->socket);
    if (bio == NULL) return 0;
    BIO_set_data(bio, c);
    SSL_set_bio(c->ssl, bio, bio);
    return 1;
}

static void *tls_open(void *ctx, int fd, unsigned flags, ehlo_str server_name)
{
    const struct engine *engine = ctx;
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    ERR_clear_error();
    c->fd = fd;
    c->ssl = SSL_new(engine->context);
    if (c->ssl != NULL && attach_socket(engine, c) && prepare_role(engine, c, flags, server_name)) return c;
    tls_close(c);
    ERR_clear_error();
    return NULL;
}

static int tls_handshake(void *tls)
{
    struct connection *c = tls;
    if (c->broken) return EHLO_ERR_TRANSPORT;
    ERR_clear_error();
    int returned = SSL_do_handshake(c->ssl);
    c->secure = returned == 1;
    if (c->secure) return EHLO_ENGINE_DONE;
    int result = result_of(c, returned);
    return result == EHLO_ENGINE_CLOSED ? give_up(c) : result;
}

static int tls_read(void *tls, char *bytes, size_t len, size_t *got)
{
    struct connection *c = tls;
    *got = 0;
    if (c->broken) return EHLO_ERR_TRANSPORT;
    c->error = 0; /* of a write */
    ERR_clear_error();
    int returned = SSL_read_ex(c->ssl, bytes, len, got);
    return returned == 1 ? EHLO_ENGINE_DONE : result_of(c, returned);
}

/* Where it was the socket that failed, what the peer has said before can still be read. */
static int tls_write(void *tls, const char *bytes, size_t len, size_t *taken)
{
    struct connection *c = tls;
    *taken = 0;
    if (c->broken || c->mute) return EHLO_ERR_TRANSPORT;
    ERR_clear_error();
    int returned = SSL_write_ex(c->ssl, bytes, len, taken);
    if (returned == 1) return EHLO_ENGINE_DONE;
    int result = result_of(c, returned);
    if (result == EHLO_ENGINE_CLOSED) result = give_up(c);
    c->mute = result < 0;
    if (c->error != 0) c->broken = 0;
    return result;
}

/* Nothing is read ahead of the record at hand, so what OpenSSL holds are its octets. */
static size_t tls_pending(void *tls)
{
    struct connection *c = tls;
    int pending = SSL_pending(c->ssl);
    return pending > 0 ? (size_t)pending : 0;
}

static ehlo_str tls_problem(void *tls)
{
    struct connection *c = tls;
    return ehlo_str_from(c->problem);
}

static int tls_shutdown(void *tls)
{
    struct connection *c = tls;
    if (c->broken || c->mute || !c->secure) return EHLO_ENGINE_DONE;
    ERR_clear_error();
    int returned = SSL_shutdown(c->ssl);
    return returned >= 0 ? EHLO_ENGINE_DONE : result_of(c, returned);
}

/* -- facts of a connection ---------------------------------------------------------------------------- */

/* "CN=alice,O=Example" (RFC 4514), UTF-8, controls escaped; free it. NULL: there is no memory. */
static char *subject_of(X509 *certificate)
{
    char *bytes = NULL, *subject = NULL;
    BIO *memory = BIO_new(BIO_s_mem());
    unsigned long form = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    if (memory != NULL && X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, form) >= 0) {
        long len = BIO_get_mem_data(memory, &bytes);
        if (len > 0) subject = strndup(bytes, (size_t)len);
    }
    BIO_free(memory);
    return subject;
}

/* RFC 9266: 32 octets of the exporter, with an empty context. Before TLS 1.3 they are the connection's own only where
 * the master secret is (RFC 7627). */
static ehlo_str exporter_of(struct connection *c)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    static const unsigned char empty[1];
    if (SSL_version(c->ssl) < TLS1_3_VERSION && SSL_get_extms_support(c->ssl) != 1) return ehlo_str_make(NULL, 0);
    if (SSL_export_keying_material(c->ssl, c->exporter, EXPORTER_LEN, label, sizeof label - 1, empty, 0, 1) != 1) {
        return ehlo_str_make(NULL, 0);
    }
    return ehlo_str_make((const char *)c->exporter, EXPORTER_LEN);
}

/* RFC 5929 4.1: the hash of the server's certificate, by the hash function of its signature, but by SHA-256 where that
 * is MD5 or SHA-1. A signature that has none of its own (Ed25519) leaves it undefined. */
static ehlo_str end_point_of(struct connection *c, X509 *server)
{
    unsigned len = 0;
    int hash = NID_undef;
    if (server == NULL || X509_get_signature_info(server, &hash, NULL, NULL, NULL) != 1) return ehlo_str_make(NULL, 0);
    if (hash == NID_md5 || hash == NID_sha1 || hash == NID_md5_sha1) hash = NID_sha256;
    const EVP_MD *md = EVP_get_digestbynid(hash);
    if (md == NULL || X509_digest(server, md, c->end_point, &len) != 1) return ehlo_str_make(NULL, 0);
    return ehlo_str_make((const char *)c->end_point, len);
}

static void tls_facts(void *tls, ehlo_tls_facts *facts)
{
    struct connection *c = tls;
    X509 *peer = SSL_get0_peer_certificate(c->ssl);
    int as_server = SSL_is_server(c->ssl);
    memset(facts, 0, sizeof *facts);
    ERR_clear_error();
    facts->version = ehlo_str_from(SSL_get_version(c->ssl));
    facts->cipher = ehlo_str_from(SSL_get_cipher_name(c->ssl));
    if (peer != NULL) {
        free(c->subject);
        c->subject = subject_of(peer);
        facts->peer_subject = ehlo_str_from(c->subject);
        /* of a server that nobody sought by name it says nothing */
        facts->peer_verified = SSL_get_verify_result(c->ssl) == X509_V_OK && (as_server || c->host[0] != '\0');
    }
    facts->server_name = ehlo_str_from(SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name));
    facts->exporter = exporter_of(c);
    facts->end_point = end_point_of(c, as_server ? SSL_get_certificate(c->ssl) : peer);
    ERR_clear_error();
}

/* -- the engine --------------------------------------------------------------------------------------- */

/* OpenSSL's own one would ask on the terminal. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* No session is kept: what a client needs to resume one is in its ticket. In TLS 1.3 that ticket, one of them, has a
 * second use: it acknowledges the end of the handshake at once. Without it the first command of a client whose system
 * gathers small segments (RFC 896) waits for an acknowledgement that ours delays. Buffers are given back while a
 * connection is idle. A read is over behind each record, with data or without: a peer that sends KeyUpdates without end
 * (RFC 8446 4.6.3) would otherwise keep it from returning. */
static SSL_CTX *make_context(void)
{
    static const unsigned char name[] = "ehlo";
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (context == NULL) return NULL;
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_dh_auto(context, 1);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) && SSL_CTX_set_num_tickets(context, 1) &&
        SSL_CTX_set_session_id_context(context, name, sizeof name - 1)) {
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}

/* NULL: it is for those who know OpenSSL. */
static const char *known_text(unsigned long code)
{
    static const struct {
        int library, reason;
        const char *text;
    } known[] = { { ERR_LIB_PEM, PEM_R_BAD_PASSWORD_READ, "the key is encrypted" },
                  { ERR_LIB_X509, X509_R_KEY_VALUES_MISMATCH, "the key is not the certificate's" },
                  { ERR_LIB_X509, X509_R_KEY_TYPE_MISMATCH, "the key is not the certificate's" },
                  { ERR_LIB_SSL, SSL_R_EE_KEY_TOO_SMALL, "the certificate's key is too small" },
                  { ERR_LIB_SSL, SSL_R_CA_KEY_TOO_SMALL, "the key of the certificate's authority is too small" },
                  { ERR_LIB_SSL, SSL_R_CA_MD_TOO_WEAK, "the hash of the certificate's signature is too weak" } };
    if (ERR_SYSTEM_ERROR(code)) return strerror(ERR_GET_REASON(code));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (ERR_GET_LIB(code) == known[i].library && ERR_GET_REASON(code) == known[i].reason) return known[i].text;
    }
    return NULL;
}

/* 0, with the problem: it is with this file. OpenSSL tells what every layer of it thinks of that; `what` is said where
 * none of it helps. */
static int file_fails(struct tls_openssl_problem *problem, const char *file, const char *what)
{
    const char *text = NULL;
    for (unsigned long code = ERR_get_error(); code != 0 && text == NULL; code = ERR_get_error()) {
        text = known_text(code);
    }
    problem->file = file;
    snprintf(problem->text, sizeof problem->text, "%s", text != NULL ? text : what);
    return 0;
}

static int load_certificate(SSL_CTX *context, const struct tls_openssl_config *config,
                            struct tls_openssl_problem *problem)
{
    const char *key = config->key_file != NULL ? config->key_file : config->certificate_file;
    if (SSL_CTX_use_certificate_chain_file(context, config->certificate_file) != 1) {
        return file_fails(problem, config->certificate_file, "it holds no certificate in PEM form");
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        return file_fails(problem, key, "it holds no private key in PEM form");
    }
    if (SSL_CTX_check_private_key(context) != 1) return file_fails(problem, key, "the key is not the certificate's");
    return 1;
}

static int load_authorities(SSL_CTX *context, const struct tls_openssl_config *config,
                            struct tls_openssl_problem *problem)
{
    const char *file = config->ca_file;
    if (file == NULL) return config->trusts_nobody || SSL_CTX_set_default_verify_paths(context);
    if (SSL_CTX_load_verify_file(context, file) == 1) return 1;
    return file_fails(problem, file, "it holds no certificate in PEM form");
}

static int set_up(struct engine *engine, const struct tls_openssl_config *config, struct tls_openssl_problem *problem)
{
    engine->socket = make_socket_method();
    engine->context = make_context();
    if (engine->socket == NULL || engine->context == NULL) return 0;
    if (config->certificate_file != NULL && !load_certificate(engine->context, config, problem)) return 0;
    engine->asks_clients = config->ca_file != NULL;
    return load_authorities(engine->context, config, problem);
}

const ehlo_tls_engine *tls_openssl_new(const struct tls_openssl_config *config, struct tls_openssl_problem *problem)
{
    static const ehlo_tls_engine table = {
        .open = tls_open,
        .handshake = tls_handshake,
        .read = tls_read,
        .write = tls_write,
        .pending = tls_pending,
        .facts = tls_facts,
        .problem = tls_problem,
        .shutdown = tls_shutdown,
        .close = tls_close,
    };
    struct engine *engine = calloc(1, sizeof *engine);
    memset(problem, 0, sizeof *problem);
    if (engine == NULL) {
        snprintf(problem->text, sizeof problem->text, "%s", strerror(ENOMEM));
        return NULL;
    }
    engine->table = table;
    engine->table.ctx = engine;
    ERR_clear_error();
    int made = set_up(engine, config, problem);
    if (!made && problem->file == NULL) {
        snprintf(problem->text, sizeof problem->text, "OpenSSL: %s", error_text(ERR_peek_error()));
    }
    ERR_clear_error();
    if (made) return &engine->table;
    tls_openssl_free(&engine->table);
    return NULL;
}

void tls_openssl_free(const ehlo_tls_engine *engine)
{
    if (engine == NULL) return;
    struct engine *e = engine->ctx;
    SSL_CTX_free(e->context);
    BIO_meth_free(e->socket);
    free(e);
}

/* -- cryptography ------------------------------------------------------------------------------------- */

static const char *hash_name(ehlo_hash hash)
{
    switch (hash) {
    case EHLO_HASH_MD5:
        return "MD5";
    case EHLO_HASH_SHA_1:
        return "SHA1";
    case EHLO_HASH_SHA_256:
        return "SHA256";
    }
    return "";
}

/* EHLO_OK, or an error with OpenSSL's queue cleared. */
static int crypto_result(int done)
{
    if (done) return EHLO_OK;
    ERR_clear_error();
    return EHLO_ERR_SYSTEM;
}

/* NULL where this OpenSSL does not have it: MD5 under FIPS. Free it. */
static EVP_MD *fetch_hash(ehlo_hash hash)
{
    EVP_MD *md = EVP_MD_fetch(NULL, hash_name(hash), NULL);
    if (md == NULL) ERR_clear_error();
    return md;
}

static int crypto_digest(void *ctx, ehlo_hash hash, ehlo_str data, uint8_t *out)
{
    EVP_MD *md = fetch_hash(hash);
    (void)ctx;
    if (md == NULL) return EHLO_ERR_UNSUPPORTED;
    int done = EVP_Digest(data.ptr, data.len, out, NULL, md, NULL);
    EVP_MD_free(md);
    return crypto_result(done == 1);
}

static int run_mac(EVP_MAC_CTX *mac, const char *hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out)
{
    char name[8];
    size_t len;
    snprintf(name, sizeof name, "%s", hash);
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                            OSSL_PARAM_construct_end() };
    const char *octets = key.ptr != NULL ? key.ptr : "";
    int done = EVP_MAC_init(mac, (const unsigned char *)octets, key.len, params);
    for (size_t i = 0; i < n && done == 1; i++) {
        if (parts[i].len > 0) done = EVP_MAC_update(mac, (const unsigned char *)parts[i].ptr, parts[i].len);
    }
    return done == 1 && EVP_MAC_final(mac, out, &len, EHLO_HASH_MAX) == 1;
}

static int crypto_hmac(void *ctx, ehlo_hash hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out)
{
    uint8_t result[EHLO_HASH_MAX];
    EVP_MD *md = fetch_hash(hash);
    (void)ctx;
    if (md == NULL) return EHLO_ERR_UNSUPPORTED;
    size_t size = (size_t)EVP_MD_get_size(md);
    EVP_MD_free(md);
    EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(algorithm);
    int done = mac != NULL && run_mac(mac, hash_name(hash), key, parts, n, result);
    if (done) memcpy(out, result, size);
    OPENSSL_cleanse(result, sizeof result);
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(algorithm);
    return crypto_result(done);
}

static int crypto_pbkdf2(void *ctx, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations, uint8_t *out)
{
    EVP_MD *md;
    (void)ctx;
    if (password.len > INT32_MAX || salt.len > INT32_MAX || iterations > INT32_MAX) return EHLO_ERR_SYSTEM;
    md = fetch_hash(hash);
    if (md == NULL) return EHLO_ERR_UNSUPPORTED;
    int done = PKCS5_PBKDF2_HMAC(password.ptr, (int)password.len, (const unsigned char *)salt.ptr, (int)salt.len,
                                 (int)iterations, md, EVP_MD_get_size(md), out);
    EVP_MD_free(md);
    return crypto_result(done == 1);
}

static int crypto_random(void *ctx, uint8_t *out, size_t len)
{
    (void)ctx;
    return crypto_result(len <= INT32_MAX && RAND_bytes(out, (int)len) == 1);
}

const ehlo_crypto *tls_openssl_crypto(void)
{
    static const ehlo_crypto crypto = {
        .digest = crypto_digest, .hmac = crypto_hmac, .pbkdf2 = crypto_pbkdf2, .random = crypto_random
    };
    return &crypto;
}
