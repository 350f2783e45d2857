/* Servers that are puppets: each says its lines and awaits those of the client, moved between a loop's rounds. */
#ifndef EHLO_TESTS_PUPPET_H
#define EHLO_TESTS_PUPPET_H

#include <errno.h>

#include "sockets.h"

enum { HEARD_MAX = 1 << 16 };

/* Each entry of a script is done in turn, for every connection from its start. */
#define HEAR(text) "<" text /* until this was heard, somewhere behind what was heard before */
#define SAY(text) ">" text
#define CLOSE "." /* ends the connection */
#define RESET "!" /* the same, by a reset */
/* Behind its last entry a script only listens. */

#define GREET SAY("220 puppet.example ESMTP\r\n")
#define UP_TO_DATA                                                                                                     \
    GREET, HEAR("EHLO"), SAY("250 hello\r\n"), HEAR("MAIL"), SAY("250 ok\r\n"), HEAR("RCPT"), SAY("250 ok\r\n"),       \
        HEAR("DATA"), SAY("354 go\r\n")

typedef struct puppet {
    const char *const *script; /* NULL-ended */
    int listener;
    int fd; /* -1: nobody is connected */
    uint16_t port;
    const char *const *step;
    char heard[HEARD_MAX]; /* by all connections; NUL-ended */
    size_t len;
    size_t at;
    unsigned accepts;
    unsigned ends; /* connections that the client closed */
    int deaf;      /* 1: reads nothing */
} puppet;

static inline void puppet_open(puppet *p, const char *const *script)
{
    memset(p, 0, sizeof *p);
    p->script = script;
    p->fd = -1;
    p->listener = listening_socket(&p->port);
}

static inline void puppet_drop(puppet *p)
{
    if (p->fd >= 0) close(p->fd);
    p->fd = -1;
}

static inline void puppet_close(puppet *p)
{
    puppet_drop(p);
    if (p->listener >= 0) close(p->listener);
    p->listener = -1;
}

static inline void puppet_accept(puppet *p)
{
    int small = 4096;
    p->fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (p->fd < 0) return;
    if (p->deaf) setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    p->accepts++;
    p->step = p->script;
    p->at = p->len;
}

static inline void puppet_listen(puppet *p)
{
    if (p->deaf) return;
    ssize_t n = recv(p->fd, p->heard + p->len, HEARD_MAX - 1 - p->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n <= 0) {
        p->ends++;
        puppet_drop(p);
        return;
    }
    p->len += (size_t)n;
    p->heard[p->len] = '\0';
}

/* 1 if the step is done. */
static inline int puppet_step(puppet *p, const char *step)
{
    const char *found;
    switch (*step) {
    case '<':
        found = strstr(p->heard + p->at, step + 1);
        if (found == NULL) return 0;
        p->at = (size_t)(found - p->heard) + strlen(step + 1);
        return 1;
    case '>':
        return send(p->fd, step + 1, strlen(step + 1), MSG_NOSIGNAL) == (ssize_t)strlen(step + 1);
    case '!':
        close_will_reset(p->fd); /* fall through */
    default:
        puppet_drop(p);
        return 0;
    }
}

static inline void puppet_move(puppet *p)
{
    if (p->listener >= 0 && p->fd < 0) puppet_accept(p);
    if (p->fd >= 0) puppet_listen(p);
    while (p->fd >= 0 && *p->step != NULL && puppet_step(p, *p->step)) p->step++;
}

#endif
