/* load - a client for measurements: many sessions on 127.0.0.1 from one thread.
 *
 *     load PORT idle SESSIONS
 *         Opens them, says EHLO in each, prints "ready SESSIONS", and holds them until its input ends.
 *     load PORT send SESSIONS MESSAGES OCTETS [dots]
 *         Sends that many messages in all, fully pipelined: each goes in one write with the envelope of the next (RFC
 *         2920 3.1). dots: every line of them begins with one, which is doubled on the wire.
 *
 * Any reply but those of a server that takes everything is a failure. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { SESSIONS_MAX = 60000, SENDING_MAX = 1000, LINE = 80, WAIT_S = 60 };

static const char envelope[] = "MAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\nDATA\r\n";
static const char replies_first[] = "223"; /* to the envelope */
static const char replies_next[] = "2223"; /* to a message and an envelope */
static const char replies_last[] = "2";

typedef struct session {
    int descriptor;
    const char *expected; /* first digits of the replies to come */
    size_t column;        /* where in a reply line the next octet is */
    char line[4];         /* its first octets */
} session;

static void fail(const char *why)
{
    perror(why);
    exit(1);
}

static void fail_reply(const session *s)
{
    fprintf(stderr, "load: a reply %.3s, where one of class %c was due\n", s->line, s->expected[0]);
    exit(1);
}

static void send_all(const session *s, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(s->descriptor, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0) fail("load: send");
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void take_octet(session *s, char octet)
{
    if (s->column < sizeof s->line) s->line[s->column] = octet;
    s->column++;
    if (octet != '\n') return;
    int last = s->line[3] == ' ';
    s->column = 0;
    if (*s->expected == '\0' || s->line[0] != *s->expected) fail_reply(s);
    if (last) s->expected++;
}

/* Reads once; the replies due are in `expected` until they have come. */
static void read_replies(session *s)
{
    char octets[4096];
    ssize_t len = recv(s->descriptor, octets, sizeof octets, 0);
    if (len <= 0) fail("load: receive");
    for (ssize_t i = 0; i < len; i++) take_octet(s, octets[i]);
}

static void expect(session *s, const char *classes)
{
    s->expected = classes;
    while (*s->expected != '\0') read_replies(s);
}

static void open_session(session *s, in_port_t port)
{
    static const struct timeval patience = { .tv_sec = WAIT_S };
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    int on = 1;
    memset(s, 0, sizeof *s);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (s->descriptor < 0) fail("load: socket");
    if (connect(s->descriptor, (struct sockaddr *)&address, sizeof address) != 0) fail("load: connect");
    setsockopt(s->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(s->descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(s->descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    expect(s, "2");
    send_all(s, "EHLO load.example\r\n", 19);
    expect(s, "2");
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void hold(session *sessions, size_t count)
{
    char octet;
    printf("ready %zu\n", count);
    fflush(stdout);
    while (read(STDIN_FILENO, &octet, 1) > 0) continue;
    for (size_t i = 0; i < count; i++) close(sessions[i].descriptor);
}

/* -- sending ---------------------------------------------------------------------------------------- */

/* A message of about len octets, its end, and the next envelope behind it. */
static char *make_message(size_t len, int dots, size_t *message_len)
{
    size_t lines = len / LINE;
    char *message = malloc(lines * LINE + sizeof envelope + 3), *at = message;
    if (message == NULL) fail("load");
    memset(message, 'x', lines * LINE);
    for (; lines > 0; lines--, at += LINE) {
        if (dots) memcpy(at, "..", 2);
        memcpy(at + LINE - 2, "\r\n", 2);
    }
    memcpy(at, ".\r\n", 3);
    memcpy(at + 3, envelope, sizeof envelope);
    *message_len = (size_t)(at + 3 - message);
    return message;
}

/* What is still to be done by all sessions together. */
typedef struct plan {
    const char *message;
    size_t len;
    size_t left;    /* messages not yet sent */
    size_t owing;   /* sessions with an open envelope: each of them must send one */
    size_t running; /* sessions that wait for replies */
} plan;

/* All replies that a session waited for have come: its next message, or nothing. */
static void send_next(session *s, plan *p)
{
    if (s->expected == replies_last + 1) {
        p->running--;
        return;
    }
    if (p->left > p->owing) {
        send_all(s, p->message, p->len + sizeof envelope - 1);
        s->expected = replies_next;
    } else {
        send_all(s, p->message, p->len);
        s->expected = replies_last;
        p->owing--;
    }
    p->left--;
}

static void send_messages(session *sessions, size_t count, plan p)
{
    struct pollfd polls[SENDING_MAX];
    p.owing = p.running = count;
    for (size_t i = 0; i < count; i++) {
        polls[i] = (struct pollfd){ .fd = sessions[i].descriptor, .events = POLLIN };
        send_all(&sessions[i], envelope, sizeof envelope - 1);
        sessions[i].expected = replies_first;
    }
    while (p.running > 0) {
        if (poll(polls, (nfds_t)count, WAIT_S * 1000) <= 0) fail("load: no reply");
        for (size_t i = 0; i < count; i++) {
            if (polls[i].revents == 0) continue;
            read_replies(&sessions[i]);
            if (*sessions[i].expected == '\0') send_next(&sessions[i], &p);
        }
    }
}

static size_t number(const char *text, size_t least, size_t most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < least || value > most) {
        fprintf(stderr, "load: %s is not a number from %zu to %zu\n", text, least, most);
        exit(64);
    }
    return value;
}

int main(int argc, char **argv)
{
    static session sessions[SESSIONS_MAX];
    int idle = argc == 4 && strcmp(argv[2], "idle") == 0;
    int dots = argc == 7 && strcmp(argv[6], "dots") == 0;
    if (!idle && !dots && !(argc == 6 && strcmp(argv[2], "send") == 0)) {
        fputs("usage: load PORT idle SESSIONS | load PORT send SESSIONS MESSAGES OCTETS [dots]\n", stderr);
        return 64;
    }
    size_t port = number(argv[1], 1, 65535), count = number(argv[3], 1, idle ? SESSIONS_MAX : SENDING_MAX);
    raise_descriptors();
    for (size_t i = 0; i < count; i++) open_session(&sessions[i], (in_port_t)port);
    if (idle) {
        hold(sessions, count);
        return 0;
    }
    plan p = { .left = number(argv[4], count, 1000000000) };
    char *message = make_message(number(argv[5], 0, 100000000), dots, &p.len);
    p.message = message;
    send_messages(sessions, count, p);
    free(message);
    return 0;
}
