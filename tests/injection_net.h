/* The same for the functions that have sockets: `wire` is what their sockets sent. */
#ifndef EHLO_TESTS_INJECTION_NET_H
#define EHLO_TESTS_INJECTION_NET_H

#include "injection_sasl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long anything may take that is to happen; what is not to happen gets a few rounds without a wait. */
enum { PATIENCE_MS = 5000, ROUNDS = 3 };

/* The loop under test, and the world around it: a server that listens, and one that is asked for names. */
static struct {
    ehlo_loop *loop;
    ehlo_resolver *resolver;
    int listener;
    int names;
    uint16_t port;
    int accepted; /* the connection that was accepted, or -1 */
} world;

static inline int socket_bound(int type, uint16_t *port)
{
    struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof local;
    int fd = socket(AF_INET, type, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof local), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&local, &len), 0);
    *port = ntohs(local.sin_port);
    return fd;
}

static inline void world_open(void)
{
    ehlo_address server = { .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 1 } };
    world.accepted = -1;
    world.names = socket_bound(SOCK_DGRAM, &server.port);
    world.listener = socket_bound(SOCK_STREAM, &world.port);
    assert_int_equal(listen(world.listener, 16), 0);
    assert_int_equal(ehlo_loop_new(&world.loop, NULL), EHLO_OK);
    ehlo_resolver_config config = { .servers = &server, .nservers = 1, .hosts_file = GOOD("/dev/null") };
    assert_int_equal(ehlo_resolver_new(&world.resolver, world.loop, &config), EHLO_OK);
}

static inline void world_close(void)
{
    ehlo_resolver_free(world.resolver);
    ehlo_loop_free(world.loop);
    close(world.listener);
    close(world.names);
}

static inline int is_readable(int fd)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    return fd >= 0 && poll(&ready, 1, 0) == 1;
}

static inline void world_receive(int fd)
{
    static char bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) wire_add(bytes, (size_t)n);
}

/* A connection is an octet on the wire as well: nobody who is refused may open one. */
static inline void world_look(void)
{
    if (is_readable(world.names)) world_receive(world.names);
    if (world.accepted >= 0) {
        if (is_readable(world.accepted)) world_receive(world.accepted);
    } else if (is_readable(world.listener)) {
        world.accepted = accept(world.listener, NULL, NULL);
        assert_int_equal(send(world.accepted, DUMMY_GREETING, strlen(DUMMY_GREETING), 0), strlen(DUMMY_GREETING));
    }
}

/* Runs the loop until something has reached the wire; after a refusal nothing may. */
static inline void world_run(int result)
{
    int step_ms = result == EHLO_OK ? 10 : 0;
    int rounds = result == EHLO_OK ? PATIENCE_MS / step_ms : ROUNDS;
    for (int i = 0; i < rounds && wire.len == 0; i++) {
        assert_int_equal(ehlo_loop_step(world.loop, step_ms), 1);
        world_look();
        if (result != EHLO_OK && world.accepted >= 0) fail_msg("refused, it opened a connection");
    }
}

static inline void world_forget(void)
{
    if (world.accepted >= 0) close(world.accepted);
    world.accepted = -1;
    while (is_readable(world.names)) world_receive(world.names);
}

/* -- names ------------------------------------------------------------------------------------------ */

static inline void on_addresses(ehlo_loop *loop, ehlo_dns_status status, const ehlo_address *addresses, size_t n,
                                void *arg)
{
    (void)loop, (void)status, (void)addresses, (void)n;
    *(ehlo_lookup **)arg = NULL;
}

static int resolve(args *a)
{
    ehlo_lookup *lookup = NULL;
    wire.len = 0;
    int result = ehlo_resolve(world.resolver, a->text, on_addresses, &lookup, &lookup);
    world_run(result);
    if (result == EHLO_OK && lookup != NULL) ehlo_lookup_cancel(lookup);
    size_t len = wire.len;
    world_forget();
    wire.len = len;
    return result;
}

/* -- connections ------------------------------------------------------------------------------------ */

static inline void on_ready(ehlo_client *c, void *user)
{
    (void)c, (void)user;
}

/* The host is the listener, but where its name is what is tried: then a question about it is what reaches the wire. */
static inline void choose_host(args *a)
{
    if (a->host.name.len == 0) a->host = (ehlo_host){ .name = GOOD("127.0.0.1") };
    a->host.port = world.port;
}

static int connect_client(args *a)
{
    static const ehlo_connect_callbacks callbacks = { .on_ready = on_ready };
    ehlo_conn_id id = 0;
    choose_host(a);
    ehlo_connect_config config = { .hosts = &a->host, .nhosts = 1, .client = &a->client, .resolver = world.resolver };
    wire.len = 0;
    int result = ehlo_loop_connect(world.loop, &config, &callbacks, NULL, &id);
    world_run(result);
    if (result == EHLO_OK) assert_int_equal(ehlo_loop_disconnect(world.loop, id), EHLO_OK);
    size_t len = wire.len;
    world_forget();
    wire.len = len;
    return result;
}

/* It ends with AUTH on the wire, or with a failure before that. */
static inline void on_failed(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    (void)loop;
    *(ehlo_stage *)user = failure->stage;
}

static inline int wire_holds(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i + len <= wire.len; i++) {
        if (memcmp(wire.bytes + i, text, len) == 0) return 1;
    }
    return 0;
}

/* Plays a server up to AUTH. */
static inline void world_log_in(const ehlo_stage *failed)
{
    int offered = 0;
    for (int i = 0; i < PATIENCE_MS / 10 && *failed == EHLO_STAGE_NONE && !wire_holds("AUTH "); i++) {
        assert_int_equal(ehlo_loop_step(world.loop, 10), 1);
        world_look();
        if (offered || world.accepted < 0 || !wire_holds("EHLO ")) continue;
        assert_int_equal(send(world.accepted, SASL_OFFER, strlen(SASL_OFFER), 0), strlen(SASL_OFFER));
        offered = 1;
    }
}

static int connect_with_credentials(args *a)
{
    static const ehlo_connect_callbacks callbacks = { .on_ready = on_ready, .on_failed = on_failed };
    ehlo_stage failed = EHLO_STAGE_NONE;
    ehlo_conn_id id = 0;
    choose_host(a);
    a->credentials.mechanisms = sasl_mechanism(a);
    ehlo_connect_config config = {
        .hosts = &a->host, .nhosts = 1, .client = &a->client, .tls = EHLO_TLS_NONE, .credentials = &a->credentials
    };
    wire.len = 0;
    assert_int_equal(ehlo_loop_connect(world.loop, &config, &callbacks, &failed, &id), EHLO_OK);
    world_log_in(&failed);
    int result = EHLO_OK;
    if (failed == EHLO_STAGE_NONE) {
        assert_int_equal(ehlo_loop_disconnect(world.loop, id), EHLO_OK);
    } else {
        assert_int_equal(failed, EHLO_STAGE_AUTH);
        result = EHLO_ERR_ARG;
    }
    wire_keep_auth();
    size_t len = wire.len;
    world_forget();
    wire.len = len;
    return result;
}

/* -- ehlo_send, which blocks ------------------------------------------------------------------------ */

static dummy_server send_server;
static const char *send_extensions = DUMMY_EXTENSIONS;

/* Accepts connections until told to stop, which counts only when no connection waits. */
static inline void *serve(void *stop)
{
    struct pollfd ready[2] = { { .fd = world.listener, .events = POLLIN }, { .fd = *(int *)stop, .events = POLLIN } };
    static char bytes[65536];
    for (;;) {
        if (poll(ready, 2, PATIENCE_MS) <= 0 || !(ready[0].revents & POLLIN)) return NULL;
        int fd = accept(world.listener, NULL, NULL);
        dummy_open(&send_server, send_extensions);
        for (ssize_t n = 0; n >= 0;) {
            ssize_t sent = send(fd, send_server.replies, send_server.replies_len, MSG_NOSIGNAL);
            if (sent < 0) break;
            dummy_read(&send_server, (size_t)sent);
            n = recv(fd, bytes, sizeof bytes, 0);
            if (n <= 0) break;
            wire_add(bytes, (size_t)n);
            dummy_take(&send_server, bytes, (size_t)n);
        }
        close(fd);
    }
}

/* A worst outcome is a success here. The host's name is the only thing that is looked up, by an address that does not
 * need it; see connect_client for names that are asked for. */
static inline int send_through(args *a, const ehlo_connect_config *config)
{
    int stop[2], result;
    pthread_t thread;
    wire.len = 0;
    assert_int_equal(pipe(stop), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, &stop[0]), 0);
    result = ehlo_send(config, NULL, envelope_of(a), NULL, NULL, NULL);
    assert_int_equal(write(stop[1], "", 1), 1);
    pthread_join(thread, NULL);
    close(stop[0]);
    close(stop[1]);
    return result > 0 ? EHLO_OK : result;
}

static int send_message(args *a)
{
    choose_host(a);
    ehlo_connect_config config = { .hosts = &a->host, .nhosts = 1, .client = &a->client };
    return send_through(a, &config);
}

static int send_with_credentials(args *a)
{
    choose_host(a);
    a->credentials.mechanisms = sasl_mechanism(a);
    ehlo_connect_config config = {
        .hosts = &a->host, .nhosts = 1, .client = &a->client, .tls = EHLO_TLS_NONE, .credentials = &a->credentials
    };
    send_extensions = "250-AUTH PLAIN XOAUTH2 OAUTHBEARER\r\n";
    int result = send_through(a, &config);
    send_extensions = DUMMY_EXTENSIONS;
    return wire_keep_auth() ? result : EHLO_ERR_ARG;
}

/* -- ehlo_loop_answer ------------------------------------------------------------------------------- */

static inline int connect_later(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    args *a = ehlo_conn_ctx(s);
    (void)r, (void)user;
    assert_int_equal(ehlo_loop_answer(ehlo_conn_loop(s), ehlo_conn_number(s), token, &a->reply), EHLO_OK);
    return EHLO_LATER;
}

static inline int client_of(const ehlo_listener *listener)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_port = htons(ehlo_listener_address(listener).port);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline void run_until(ehlo_loop *loop, int (*done)(ehlo_loop *loop, int fd), int fd)
{
    for (int i = 0; i < PATIENCE_MS / 10 && !done(loop, fd); i++) assert_int_equal(ehlo_loop_step(loop, 10), 1);
}

static inline int has_received(ehlo_loop *loop, int fd)
{
    (void)loop;
    if (is_readable(fd)) world_receive(fd);
    return wire.len > 0;
}

/* The greeting is answered through the loop; a text that may not be sent is not said, but the peer gets its reply. */
static int answer_through_loop(args *a)
{
    static const ehlo_server_callbacks callbacks = { .on_connect = connect_later };
    ehlo_loop *loop;
    ehlo_service *service;
    ehlo_listener *listener;
    a->reply.code = 220;
    wire.len = 0;
    assert_int_equal(ehlo_net_service_new(&service, &a->service, &callbacks), EHLO_OK);
    assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
    ehlo_listen_config listen = { .address = { .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 1 } },
                                  .service = service,
                                  .ctx = a };
    assert_int_equal(ehlo_loop_listen(loop, &listen, &listener), EHLO_OK);
    int fd = client_of(listener);
    run_until(loop, has_received, fd);
    close(fd);
    ehlo_loop_free(loop);
    ehlo_net_service_free(service);
    return EHLO_OK;
}

#endif
