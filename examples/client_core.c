/* client_core.c - the client core alone, without the library's sockets: sends a message over a socket of our own.
 *
 *     client_core --server 127.0.0.1:2525 --from a@example.com --to b@example.org <message
 *
 * The core needs four things from its surroundings: a `write` for what it has to say, `feed` for what was read, `tick`
 * when its deadline has passed, and one block of memory. Everything else here is connect, poll and recv. */
#include "program.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_SIZE = 65536, PARTS_MAX = 64 };

static const char help[] = "usage: client_core --server ADDR:PORT --from A --to B [--to B]... <MESSAGE\n"
                           "\n"
                           "Sends the message on standard input, and prints what became of each recipient.\n";

/* One session, and the one message that it is for. */
typedef struct session {
    int fd;
    ehlo_client *client;
    ehlo_envelope envelope;
    void *transaction;
    char input[INPUT_SIZE];
    size_t held; /* octets of input that the core has left to us */
} session;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* -- what the core calls ---------------------------------------------------------------------------- */

static int write_parts(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    struct iovec io[PARTS_MAX];
    struct msghdr message = { .msg_iov = io };
    const session *s = user;
    (void)c;
    for (; message.msg_iovlen < n && message.msg_iovlen < PARTS_MAX; message.msg_iovlen++) {
        io[message.msg_iovlen].iov_base = (void *)(uintptr_t)parts[message.msg_iovlen].ptr; /* only read */
        io[message.msg_iovlen].iov_len = parts[message.msg_iovlen].len;
    }
    ssize_t sent = sendmsg(s->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    *taken = sent > 0 ? (size_t)sent : 0;
    return sent >= 0 || errno == EAGAIN || errno == EINTR ? EHLO_OK : EHLO_ERR_TRANSPORT;
}

static void say_quit(ehlo_client *c)
{
    ehlo_client_command(c, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
}

/* 1 if the reply says go on. If not, it is every recipient's outcome. */
static int is_welcome(session *s, ehlo_stage stage, const ehlo_reply *r)
{
    if (r == NULL) return 0;
    if (r->code / 100 == 2) return 1;
    ehlo_envelope_settle(&s->envelope, ehlo_outcome_of(r->code), stage, r);
    say_quit(s->client);
    return 0;
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    (void)outcome, (void)user;
    say_quit(ehlo_transaction_client(t));
}

static void on_hello(ehlo_client *c, const ehlo_reply *r, void *user)
{
    session *s = user;
    ehlo_transaction *t;
    ehlo_transaction_callbacks callbacks = { .on_done = on_done };
    if (!is_welcome(s, EHLO_STAGE_HELLO, r)) return;
    int error =
        ehlo_transaction_start(&t, s->transaction, ehlo_transaction_size(), c, &s->envelope, &callbacks, s, NULL);
    if (error != EHLO_OK) program_fail("the message: %s", program_error(error));
}

static void on_greeting(ehlo_client *c, const ehlo_reply *r, void *user)
{
    if (is_welcome(user, EHLO_STAGE_GREETING, r)) ehlo_client_hello(c, on_hello, user);
}

/* -- what calls the core ---------------------------------------------------------------------------- */

static int connect_to(ehlo_address address)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(address.port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(address.port) };
    int is_v6 = address.family == EHLO_FAMILY_IPV6;
    memcpy(&v4.sin_addr, address.octets, sizeof v4.sin_addr);
    memcpy(&v6.sin6_addr, address.octets, sizeof v6.sin6_addr);
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    if (fd < 0) program_fail("%s", strerror(errno));
    int result =
        is_v6 ? connect(fd, (struct sockaddr *)&v6, sizeof v6) : connect(fd, (struct sockaddr *)&v4, sizeof v4);
    if (result != 0) program_fail("cannot connect: %s", strerror(errno));
    return fd;
}

/* What feed leaves stays in front of what is read next. */
static void read_and_feed(session *s)
{
    size_t used;
    ssize_t n = recv(s->fd, s->input + s->held, sizeof s->input - s->held, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) ehlo_client_lost(s->client);
    if (n == 0) ehlo_client_eof(s->client, now_ms());
    if (n <= 0) return;
    s->held += (size_t)n;
    ehlo_client_feed(s->client, now_ms(), s->input, s->held, &used);
    s->held -= used;
    memmove(s->input, s->input + used, s->held);
}

static void run(session *s)
{
    unsigned wants;
    uint64_t deadline;
    ehlo_client_start(s->client, now_ms(), on_greeting, s);
    while (((wants = ehlo_client_status(s->client, &deadline)) & EHLO_WANT_CLOSE) == 0) {
        struct pollfd p = { .fd = s->fd };
        uint64_t now = now_ms();
        if (wants & EHLO_WANT_READ) p.events |= POLLIN;
        if (wants & EHLO_WANT_WRITE) p.events |= POLLOUT;
        uint64_t wait = deadline > now ? deadline - now : 0;
        poll(&p, 1, wait < 60000 ? (int)wait : 60000);
        if (p.revents & POLLIN) read_and_feed(s);
        if (p.revents & POLLOUT) ehlo_client_flush(s->client, now_ms());
        if ((p.revents & POLLIN) == 0 && (p.revents & (POLLHUP | POLLERR)) != 0) ehlo_client_lost(s->client);
        ehlo_client_tick(s->client, now_ms());
    }
    ehlo_client_close(s->client);
}

static ehlo_address parse_options(int argc, char **argv, ehlo_envelope *envelope, ehlo_recipient *rcpts)
{
    ehlo_address server = { 0 };
    const char *value;
    program_begin(argv[0], help);
    for (int i = 1; i < argc; i++) {
        if (program_option(argc, argv, &i, "--server", &value)) {
            server = program_parse_listen("--server", value);
        } else if (program_option(argc, argv, &i, "--from", &value)) {
            envelope->from = ehlo_str_from(value);
        } else if (program_option(argc, argv, &i, "--to", &value)) {
            rcpts[envelope->nrcpts++].to = ehlo_str_from(value);
        } else {
            program_unknown_option(argv[i]);
        }
    }
    if (server.family == EHLO_FAMILY_NONE) program_usage_error("--server is missing");
    if (envelope->nrcpts == 0) program_usage_error("--to is missing");
    envelope->rcpts = rcpts;
    return server;
}

int main(int argc, char **argv)
{
    static session s;
    ehlo_recipient *rcpts = calloc((size_t)argc, sizeof *rcpts);
    ehlo_client_config config = { .name = ehlo_str_from("client.example") };
    ehlo_client_callbacks callbacks = { .write = write_parts };
    size_t size = ehlo_client_size(&config);
    void *memory = malloc(size);
    s.transaction = malloc(ehlo_transaction_size());
    if (rcpts == NULL || memory == NULL || s.transaction == NULL) program_fail("%s", strerror(ENOMEM));

    ehlo_address server = parse_options(argc, argv, &s.envelope, rcpts);
    s.envelope.content = program_read_input();
    int error = ehlo_client_init(&s.client, memory, size, &config, &callbacks, &s);
    if (error != EHLO_OK) program_fail("the session: %s", program_error(error));
    s.fd = connect_to(server);
    run(&s);
    close(s.fd);
    ehlo_outcome worst = ehlo_envelope_settle(&s.envelope, EHLO_OUTCOME_NOT_SENT, EHLO_STAGE_GREETING, NULL);
    program_print_outcomes(&s.envelope);
    free((void *)(uintptr_t)s.envelope.content.ptr);
    free(s.transaction);
    free(memory);
    free(rcpts);
    return worst == EHLO_OUTCOME_DELIVERED ? PROGRAM_OK : PROGRAM_FAILED;
}
