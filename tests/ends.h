/* The test's ends of connections, inside TLS by the engine of fake_tls.h or in clear, moved between a loop's rounds. */
#ifndef EHLO_TESTS_ENDS_H
#define EHLO_TESTS_ENDS_H

#include "fake_tls.h"
#include "sockets.h"

#define HELLO "EHLO client.example\r\n"
#define ENVELOPE "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"

typedef struct end {
    struct end *next;
    ehlo_loop *loop;
    int fd;
    fake_plan plan;
    fake_tls *tls; /* NULL: in clear */
    int shaken;    /* 1: the handshake is done */
    char *got;     /* all that was received inside TLS or in clear, and is not forgotten; NUL-ended */
    size_t len, room;
    int eof;    /* the connection has ended */
    int closed; /* by a close_notify */
    int failed; /* in the engine, or by a reset */
} end;

static end *ends; /* all that there are */

static inline end *end_new(ehlo_loop *loop, int fd)
{
    end *e = calloc(1, sizeof *e);
    assert_non_null(e);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    e->next = ends;
    e->loop = loop;
    e->fd = fd;
    e->room = 4096;
    e->got = calloc(1, e->room);
    assert_non_null(e->got);
    ends = e;
    return e;
}

/* Closes the connection; what was received stays. */
static inline void end_drop(end *e)
{
    if (e->tls != NULL) fake_close(e->tls);
    if (e->fd >= 0) close(e->fd);
    e->tls = NULL;
    e->fd = -1;
}

static inline void end_reset(end *e)
{
    close_will_reset(e->fd);
    end_drop(e);
}

static inline void ends_close(void)
{
    while (ends != NULL) {
        end *e = ends;
        ends = e->next;
        end_drop(e);
        free(e->got);
        free(e);
    }
}

/* From now on inside TLS. */
static inline void end_tls(end *e, unsigned flags)
{
    e->tls = fake_open(&e->plan, e->fd, flags, ehlo_str_from("sought.example"));
    assert_non_null(e->tls);
    e->shaken = 0;
}

/* What is to be read next has its place behind what was: how much. */
static inline size_t end_room(end *e)
{
    if (e->room - e->len < 4096) {
        e->room *= 2;
        e->got = realloc(e->got, e->room);
        assert_non_null(e->got);
    }
    return e->room - 1 - e->len;
}

static inline void end_take(end *e, size_t n)
{
    e->len += n;
    e->got[e->len] = '\0';
}

static inline void end_move_tls(end *e)
{
    size_t got = 0;
    int result = e->shaken ? EHLO_ENGINE_DONE : fake_handshake(e->tls);
    if (result == EHLO_ENGINE_DONE) e->shaken = 1;
    while (result == EHLO_ENGINE_DONE) {
        size_t room = end_room(e);
        result = fake_read(e->tls, e->got + e->len, room, &got);
        if (result == EHLO_ENGINE_DONE) end_take(e, got);
    }
    e->closed = result == EHLO_ENGINE_CLOSED;
    e->failed = result < 0;
    e->eof = e->closed || e->failed;
}

static inline void end_move_clear(end *e)
{
    for (;;) {
        size_t room = end_room(e);
        ssize_t n = recv(e->fd, e->got + e->len, room, 0);
        e->failed = n < 0 && errno != EAGAIN;
        e->eof = n == 0 || e->failed;
        if (n <= 0) return;
        end_take(e, (size_t)n);
    }
}

/* Takes what is here. */
static inline void end_move(end *e)
{
    if (e->eof || e->fd < 0) return;
    if (e->tls != NULL)
        end_move_tls(e);
    else
        end_move_clear(e);
}

static inline int end_has(end *e, const char *text)
{
    end_move(e);
    return strstr(e->got, text) != NULL;
}

static inline int end_ended(end *e)
{
    end_move(e);
    return e->eof;
}

static inline int end_shaken(end *e)
{
    end_move(e);
    return e->shaken;
}

static inline void end_forget(end *e)
{
    e->len = 0;
    e->got[0] = '\0';
}

/* Forgets all up to what was awaited. */
static inline void await(end *e, const char *text)
{
    pump_until(e->loop, end_has(e, text));
    const char *behind = strstr(e->got, text) + strlen(text);
    e->len -= (size_t)(behind - e->got);
    memmove(e->got, behind, e->len + 1);
}

#define await_end(e) pump_until((e)->loop, end_ended(e))
#define await_shaken(e) pump_until((e)->loop, end_shaken(e))

static inline ssize_t end_write_some(end *e, const char *bytes, size_t len)
{
    size_t taken = 0;
    if (e->tls == NULL) return send(e->fd, bytes, len, MSG_NOSIGNAL);
    int result = fake_write(e->tls, bytes, len, &taken);
    assert_true(result >= 0);
    errno = EAGAIN;
    return result == EHLO_ENGINE_DONE ? (ssize_t)taken : -1;
}

static inline void end_write(end *e, const char *bytes, size_t len)
{
    uint64_t patience = now_ms() + PATIENCE_MS;
    if (e->tls != NULL) await_shaken(e);
    while (len > 0) {
        ssize_t n = end_write_some(e, bytes, len);
        assert_true(n > 0 || errno == EAGAIN);
        assert_true(now_ms() < patience);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else {
            ehlo_loop_step(e->loop, 0);
            end_move(e);
        }
    }
}

static inline void say(end *e, const char *text)
{
    end_write(e, text, strlen(text));
}

/* Past the engine. */
static inline void say_clear(end *e, const char *bytes, size_t len)
{
    assert_int_equal(send(e->fd, bytes, len, MSG_NOSIGNAL), len);
}

static inline size_t count_lines(const char *text, const char *start)
{
    size_t count = 0, len = strlen(start);
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, start, len) == 0) count++;
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    return count;
}

#endif
