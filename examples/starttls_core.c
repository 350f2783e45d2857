/* starttls_core.c - the server core alone, with STARTTLS done by hand: sockets and OpenSSL of our own, one connection
 * at a time. It takes every message and keeps none.
 *
 *     starttls_core --listen 127.0.0.1:2525 --tls-cert cert.pem --tls-key key.pem
 *
 * When the core wants TLS, its 220 has left and it reads no more. Three things then matter: what was read and not
 * taken is clear text that nobody may execute (`held`); the handshake is ours; and what OpenSSL has decrypted no poll
 * reports. */
#include "program.h"

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_SIZE = 65536 };

static const char help[] = "usage: starttls_core --listen ADDR:PORT --tls-cert F --tls-key F\n"
                           "\n"
                           "A server on the bare core that offers STARTTLS. One connection at a time.\n";

typedef struct connection {
    int fd;
    SSL *tls; /* NULL: in clear */
    ehlo_tls_facts facts;
    ehlo_server *server;
    short waits; /* what poll is to wait for, beyond what the core wants */
    int lost;
    char input[INPUT_SIZE];
    size_t held; /* octets of input that the core has left to us */
} connection;

static volatile sig_atomic_t stopped;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* -- octets, in clear or not ------------------------------------------------------------------------ */

/* What an OpenSSL call that moved nothing means: 0, try again when poll says so; -1, there is nothing to try. */
static int consider(connection *c, int result)
{
    int error = SSL_get_error(c->tls, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return -1;
    c->waits = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    return 0;
}

static int consider_errno(void)
{
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* Octets taken; 0: none for now; -1: the connection is gone. */
static ssize_t put(connection *c, ehlo_str part)
{
    size_t taken = 0;
    if (c->tls == NULL) {
        ssize_t sent = send(c->fd, part.ptr, part.len, MSG_NOSIGNAL);
        return sent >= 0 ? sent : consider_errno();
    }
    ERR_clear_error();
    int result = SSL_write_ex(c->tls, part.ptr, part.len, &taken);
    return result == 1 ? (ssize_t)taken : consider(c, result);
}

/* Octets read; 0: none for now; -1: no more, or gone. An end that TLS does not confirm may be an attacker's: it is no
 * end of file, the connection is lost. */
static ssize_t get(connection *c, char *to, size_t room)
{
    size_t got = 0;
    if (c->tls == NULL) {
        ssize_t received = recv(c->fd, to, room, 0);
        if (received == 0) ehlo_server_eof(c->server, now_ms());
        if (received == 0) return -1;
        c->lost = received < 0 && consider_errno() < 0;
        return received > 0 ? received : c->lost ? -1 : 0;
    }
    ERR_clear_error();
    int result = SSL_read_ex(c->tls, to, room, &got);
    if (result == 1) return (ssize_t)got;
    if (SSL_get_error(c->tls, result) == SSL_ERROR_ZERO_RETURN) {
        ehlo_server_eof(c->server, now_ms());
        return -1;
    }
    c->lost = consider(c, result) < 0;
    return c->lost ? -1 : 0;
}

/* -- what the core calls ---------------------------------------------------------------------------- */

/* All of a part, or as much as goes now: 0 if it was all, 1 if the transport is full, -1 if it is gone. */
static int put_all(connection *c, ehlo_str part, size_t *taken)
{
    while (part.len > 0) {
        ssize_t n = put(c, part);
        if (n <= 0) return n < 0 ? -1 : 1;
        *taken += (size_t)n;
        part = ehlo_str_make(part.ptr + n, part.len - (size_t)n);
    }
    return 0;
}

static int write_parts(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    int full = 0;
    (void)s;
    *taken = 0;
    for (size_t i = 0; i < n && full == 0; i++) full = put_all(user, parts[i], taken);
    return full >= 0 ? EHLO_OK : EHLO_ERR_TRANSPORT;
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    (void)s, (void)bytes, (void)len, (void)taken, (void)r, (void)user;
    return EHLO_OK; /* *taken is len already */
}

/* -- STARTTLS --------------------------------------------------------------------------------------- */

/* RFC 3207 4.2: held octets were said in clear behind STARTTLS. The core ends the session for them, whatever the
 * handshake would have come to; so there is none. */
static void start_tls(connection *c, SSL_CTX *context)
{
    if (c->held == 0) c->tls = SSL_new(context);
    if (c->held != 0 || c->tls == NULL || SSL_set_fd(c->tls, c->fd) != 1) {
        ehlo_server_tls_started(c->server, now_ms(), c->held, NULL);
        c->lost = c->held == 0;
        return;
    }
    SSL_set_accept_state(c->tls);
}

/* The core asks until it has been told. */
static void shake_hands(connection *c)
{
    ERR_clear_error();
    int result = SSL_do_handshake(c->tls);
    if (result != 1) {
        c->lost = consider(c, result) < 0;
        return;
    }
    c->facts.version = ehlo_str_from(SSL_get_version(c->tls));
    c->facts.cipher = ehlo_str_from(SSL_get_cipher_name(c->tls));
    ehlo_server_tls_started(c->server, now_ms(), 0, &c->facts);
}

/* -- what calls the core ---------------------------------------------------------------------------- */

/* What feed leaves stays in front of what is read next. */
static void read_and_feed(connection *c)
{
    size_t used;
    ssize_t n = get(c, c->input + c->held, sizeof c->input - c->held);
    if (n <= 0) return;
    c->held += (size_t)n;
    ehlo_server_feed(c->server, now_ms(), c->input, c->held, &used);
    c->held -= used;
    memmove(c->input, c->input + used, c->held);
}

/* Waits until there is something to do. What OpenSSL holds is there already, and no descriptor says so. */
static void wait_for_peer(connection *c, unsigned wants, uint64_t deadline)
{
    struct pollfd p = { .fd = c->fd, .events = c->waits };
    uint64_t now = now_ms(), wait = deadline > now ? deadline - now : 0;
    if (wants & EHLO_WANT_READ) p.events |= POLLIN;
    if (wants & EHLO_WANT_WRITE) p.events |= POLLOUT;
    if (c->tls != NULL && (wants & EHLO_WANT_READ) && SSL_pending(c->tls) > 0) wait = 0;
    c->waits = 0;
    poll(&p, 1, wait < 1000 ? (int)wait : 1000);
}

static void serve(connection *c, SSL_CTX *context)
{
    unsigned wants;
    uint64_t deadline;
    ehlo_server_start(c->server, now_ms());
    while (((wants = ehlo_server_status(c->server, &deadline)) & EHLO_WANT_CLOSE) == 0) {
        if (stopped) ehlo_server_shutdown(c->server, now_ms());
        if ((wants & EHLO_WANT_TLS) && c->tls == NULL)
            start_tls(c, context);
        else if (wants & EHLO_WANT_TLS)
            shake_hands(c);
        if (c->lost) ehlo_server_lost(c->server);
        wants = ehlo_server_status(c->server, &deadline);
        if (wants & EHLO_WANT_CLOSE) break;
        wait_for_peer(c, wants, deadline);
        if (wants & EHLO_WANT_WRITE) ehlo_server_flush(c->server, now_ms());
        if (wants & EHLO_WANT_READ) read_and_feed(c);
        if (c->lost) ehlo_server_lost(c->server);
        ehlo_server_tick(c->server, now_ms());
    }
    ehlo_server_close(c->server);
}

/* -- the rest --------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

static void heed_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL); /* OpenSSL writes without MSG_NOSIGNAL */
}

static SSL_CTX *make_context(const char *cert, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL) program_fail("OpenSSL: %s", ERR_reason_error_string(ERR_get_error()));
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* A read is over behind a record without data too: a peer that sends no others must not keep us from our deadlines. */
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
        program_usage_error("--tls-cert %s cannot be used", cert);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        program_usage_error("--tls-key %s cannot be used", key);
    }
    return context;
}

static int listen_on(ehlo_address *address)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(address->port) };
    socklen_t len = sizeof v4;
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    memcpy(&v4.sin_addr, address->octets, sizeof v4.sin_addr);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, (struct sockaddr *)&v4, sizeof v4) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&v4, &len) != 0) {
        program_fail("--listen: %s", strerror(errno));
    }
    address->port = ntohs(v4.sin_port);
    return fd;
}

static void serve_connections(int listener, SSL_CTX *context, const ehlo_service *service)
{
    static connection c;
    void *memory = malloc(ehlo_server_size(service));
    if (memory == NULL) program_fail("%s", strerror(ENOMEM));
    while (!stopped) {
        memset(&c, 0, sizeof c);
        c.fd = accept(listener, NULL, NULL);
        if (c.fd < 0) continue;
        fcntl(c.fd, F_SETFL, O_NONBLOCK);
        ehlo_server_init(&c.server, memory, ehlo_server_size(service), service, NULL, &c);
        serve(&c, context);
        if (c.tls != NULL && !c.lost) SSL_shutdown(c.tls);
        SSL_free(c.tls);
        close(c.fd);
    }
    free(memory);
}

static ehlo_address parse_options(int argc, char **argv, const char **cert, const char **key)
{
    ehlo_address address = { 0 };
    const char *value;
    program_begin(argv[0], help);
    for (int i = 1; i < argc; i++) {
        if (program_option(argc, argv, &i, "--tls-cert", cert) || program_option(argc, argv, &i, "--tls-key", key))
            continue;
        if (program_option(argc, argv, &i, "--listen", &value)) {
            address = program_parse_listen("--listen", value);
        } else {
            program_unknown_option(argv[i]);
        }
    }
    if (address.family != EHLO_FAMILY_IPV4) program_usage_error("--listen is missing, or no IPv4 address");
    if (*cert == NULL || *key == NULL) program_usage_error("--tls-cert and --tls-key are missing");
    return address;
}

int main(int argc, char **argv)
{
    const char *cert = NULL, *key = NULL;
    ehlo_address address = parse_options(argc, argv, &cert, &key);
    ehlo_service_config config = { .hostname = ehlo_str_from("mx.example.org") };
    ehlo_server_callbacks callbacks = { .write = write_parts, .on_body = on_body };
    ehlo_service *service;
    config.extensions = EHLO_CAP_STARTTLS | EHLO_CAP_PIPELINING | EHLO_CAP_8BITMIME | EHLO_CAP_ENHANCEDSTATUSCODES;
    size_t size = ehlo_service_size(&config);
    void *memory = malloc(size);
    int error = memory != NULL ? ehlo_service_init(&service, memory, size, &config, &callbacks) : EHLO_ERR_MEMORY;
    if (error != EHLO_OK) program_fail("%s", program_error(error));
    SSL_CTX *context = make_context(cert, key);
    int listener = listen_on(&address);
    heed_signals();
    program_ready(address);
    serve_connections(listener, context, service);
    close(listener);
    SSL_CTX_free(context);
    free(memory);
    return PROGRAM_OK;
}
