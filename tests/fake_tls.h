/* A TLS engine for tests: it keeps nothing secret, and does all that an engine may do to whoever uses it.
 *
 * On the wire each record is its kind, the octets' number, and the octets, none of them as it was. A handshake is
 * three of them: the client's, which names the server, the server's, the client's. */
#ifndef EHLO_TESTS_FAKE_TLS_H
#define EHLO_TESTS_FAKE_TLS_H

#include <ehlo/net.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

enum {
    FAKE_HANDSHAKE = 0x16,
    FAKE_DATA = 0x17,
    FAKE_END = 0x15,
    FAKE_ASK = 0x18, /* whoever reads it sends FAKE_ANSWER, before anything else */
    FAKE_ANSWER = 0x19,
    FAKE_HEAD = 3,
    FAKE_RECORD_MAX = 1 << 14,
    FAKE_ROOM = 1 << 17,
    FAKE_MASK = 0xa5
};

/* What the connections of an engine have in common: how they are to behave, and what was seen of them. */
typedef struct fake_plan {
    size_t give_max;     /* octets that one read gives at most; the others are held; 0: all */
    size_t take_max;     /* octets that one write takes at most */
    uint8_t trickle;     /* 1: the socket is asked for, or given, one octet a call */
    uint8_t reads_write; /* 1: every other read wants to write first, and has taken what the socket had by then */
    uint8_t writes_read; /* 1: each write asks the peer first, and wants to read until that has answered */
    uint8_t endless;     /* 1: the handshake goes on and on */
    uint8_t no_open;     /* 1: there is no memory */
    uint8_t cork;        /* 1: what is written is kept until it is 0 again, and leaves in one piece */
    unsigned fail_at;    /* the handshake fails at its step 1, 2 or 3 */

    unsigned opens, closes, handshakes_done, reads, writes, shutdowns, facts;
    unsigned reads_past_end; /* calls of read behind CLOSED or an error */
    unsigned flags;          /* of the last open */
    char name[64];           /* likewise: whom the client sought */
} fake_plan;

typedef struct fake_tls {
    fake_plan *plan;
    int fd;
    unsigned flags;
    unsigned step;  /* of the handshake: 3 when it is done */
    uint8_t ended;  /* the peer has said so */
    uint8_t cut;    /* nothing more comes */
    uint8_t mute;   /* nothing more goes */
    uint8_t broken; /* what came is no record */
    uint8_t over;   /* whoever reads was told */
    uint8_t turn;
    uint8_t asked, answered;
    const char *problem;
    char server_name[64]; /* as the client's first record told it */
    size_t in_len, plain_len, out_len;
    size_t record;  /* octets of ours in the record that is on its way; 0: there is none */
    size_t offered; /* octets of a write that has to be repeated */
    char in[FAKE_ROOM], plain[FAKE_ROOM], out[FAKE_ROOM], repeat[FAKE_ROOM];
} fake_tls;

/* -- records ---------------------------------------------------------------------------------------- */

static inline void fake_put(fake_tls *t, int kind, const char *bytes, size_t len)
{
    assert_true(t->out_len + FAKE_HEAD + len <= FAKE_ROOM);
    char *to = t->out + t->out_len;
    to[0] = (char)kind;
    to[1] = (char)(len >> 8);
    to[2] = (char)len;
    for (size_t i = 0; i < len; i++) to[FAKE_HEAD + i] = (char)(bytes[i] ^ FAKE_MASK);
    t->out_len += FAKE_HEAD + len;
}

/* 1 if nothing is left to be written. */
static inline int fake_flush(fake_tls *t)
{
    if (t->plan->cork) return 1;
    while (t->out_len > 0 && !t->mute) {
        ssize_t n = send(t->fd, t->out, t->plan->trickle ? 1 : t->out_len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) t->mute = 1;
        if (n <= 0) break;
        t->out_len -= (size_t)n;
        memmove(t->out, t->out + n, t->out_len);
        if (t->plan->trickle) break;
    }
    return t->out_len == 0;
}

static inline int fake_fail(fake_tls *t, const char *problem)
{
    if (t->problem == NULL) t->problem = problem;
    return -1;
}

static inline void fake_break(fake_tls *t)
{
    t->broken = 1;
    fake_fail(t, "what came is no record");
}

/* Takes what the socket has. */
static inline void fake_fill(fake_tls *t)
{
    while (!t->cut && t->in_len < FAKE_ROOM) {
        ssize_t n = recv(t->fd, t->in + t->in_len, t->plan->trickle ? 1 : FAKE_ROOM - t->in_len, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) t->cut = 1;
        if (n <= 0) return;
        t->in_len += (size_t)n;
        if (t->plan->trickle) return;
    }
}

/* The first record, if it is whole: its kind, its octets as they were. 0: it is not. */
static inline int fake_head(const fake_tls *t, size_t *len)
{
    if (t->in_len < FAKE_HEAD) return 0;
    *len = (size_t)(uint8_t)t->in[1] << 8 | (uint8_t)t->in[2];
    return t->in_len >= FAKE_HEAD + *len ? (uint8_t)t->in[0] : 0;
}

static inline void fake_drop(fake_tls *t, size_t len)
{
    t->in_len -= FAKE_HEAD + len;
    memmove(t->in, t->in + FAKE_HEAD + len, t->in_len);
}

static inline int fake_known(int kind)
{
    return kind >= FAKE_END && kind <= FAKE_ANSWER;
}

/* What came behind the handshake. */
static inline void fake_sort(fake_tls *t)
{
    size_t len;
    if (t->in_len > 0 && !fake_known((uint8_t)t->in[0])) fake_break(t);
    for (int kind; !t->ended && !t->broken && (kind = fake_head(t, &len)) != 0; fake_drop(t, len)) {
        if (kind == FAKE_DATA) {
            if (t->plain_len + len > FAKE_ROOM) return;
            for (size_t i = 0; i < len; i++) t->plain[t->plain_len++] = (char)(t->in[FAKE_HEAD + i] ^ FAKE_MASK);
        } else if (kind == FAKE_ASK) {
            fake_put(t, FAKE_ANSWER, "", 0);
        } else if (kind == FAKE_ANSWER) {
            t->answered = 1;
        } else if (kind == FAKE_END) {
            t->ended = 1;
        } else {
            fake_break(t);
        }
    }
}

static inline void fake_take_in(fake_tls *t)
{
    fake_fill(t);
    fake_sort(t);
}

/* -- the table -------------------------------------------------------------------------------------- */

static inline void *fake_open(void *ctx, int fd, unsigned flags, ehlo_str server_name)
{
    fake_plan *plan = ctx;
    if (plan->no_open) return NULL;
    fake_tls *t = calloc(1, sizeof *t);
    assert_non_null(t);
    assert_true(server_name.len < sizeof plan->name);
    memset(plan->name, 0, sizeof plan->name);
    if (server_name.len > 0) memcpy(plan->name, server_name.ptr, server_name.len);
    plan->flags = flags;
    plan->opens++;
    t->plan = plan;
    t->fd = fd;
    t->flags = flags;
    return t;
}

static inline int fake_send_step(fake_tls *t, const char *bytes, size_t len)
{
    if (t->record == 0) fake_put(t, FAKE_HANDSHAKE, bytes, len);
    t->record = 1;
    if (!fake_flush(t)) return t->mute ? fake_fail(t, "the connection was cut") : EHLO_ENGINE_WRITE;
    t->record = 0;
    t->step++;
    return EHLO_ENGINE_DONE;
}

static inline int fake_hear_step(fake_tls *t)
{
    size_t len = 0;
    fake_fill(t);
    if (t->in_len > 0 && t->in[0] != FAKE_HANDSHAKE) return fake_fail(t, "what came is no handshake");
    if (fake_head(t, &len) == 0)
        return t->cut ? fake_fail(t, "the connection was cut in the handshake") : EHLO_ENGINE_READ;
    if (t->step == 0) {
        if (len >= sizeof t->server_name) return fake_fail(t, "what came is no handshake");
        for (size_t i = 0; i < len; i++) t->server_name[i] = (char)(t->in[FAKE_HEAD + i] ^ FAKE_MASK);
    }
    fake_drop(t, len);
    t->step++;
    return EHLO_ENGINE_DONE;
}

static inline int fake_handshake(void *tls)
{
    fake_tls *t = tls;
    int server = (t->flags & EHLO_ENGINE_AS_SERVER) != 0;
    while (t->step < 3) {
        if (t->plan->fail_at == t->step + 1) return fake_fail(t, "the handshake was made to fail");
        if (t->plan->endless && (server || t->step == 1)) {
            fake_fill(t);
            t->in_len = 0;
            return t->cut ? fake_fail(t, "the connection was cut in the handshake") : EHLO_ENGINE_READ;
        }
        int speaks = server == (t->step == 1);
        const char *name = t->step == 0 ? t->plan->name : "";
        int result = speaks ? fake_send_step(t, name, strlen(name)) : fake_hear_step(t);
        if (result != EHLO_ENGINE_DONE) return result;
    }
    t->plan->handshakes_done++;
    fake_sort(t);
    return EHLO_ENGINE_DONE;
}

static inline int fake_end(fake_tls *t)
{
    if (t->over) t->plan->reads_past_end++;
    t->over = 1;
    if (t->ended && !t->broken) return EHLO_ENGINE_CLOSED;
    return fake_fail(t, "the connection was cut");
}

static inline int fake_read(void *tls, char *bytes, size_t len, size_t *got)
{
    fake_tls *t = tls;
    assert_int_equal(t->step, 3);
    assert_true(len > 0);
    t->plan->reads++;
    if (t->plain_len == 0) fake_take_in(t);
    t->turn = !t->turn;
    if (t->plan->reads_write && t->turn) return EHLO_ENGINE_WRITE;
    if (t->record == 0 && !fake_flush(t) && !t->mute) return EHLO_ENGINE_WRITE;
    if (t->plain_len == 0) return t->ended || t->cut || t->broken ? fake_end(t) : EHLO_ENGINE_READ;
    size_t most = t->plan->give_max != 0 ? t->plan->give_max : len;
    if (most > len) most = len;
    *got = t->plain_len < most ? t->plain_len : most;
    memcpy(bytes, t->plain, *got);
    t->plain_len -= *got;
    memmove(t->plain, t->plain + *got, t->plain_len);
    return EHLO_ENGINE_DONE;
}

/* A write that has to be repeated is repeated: with the same octets in front, and no fewer. */
static inline int fake_repeat(fake_tls *t, const char *bytes, size_t len, int result)
{
    t->offered = len < FAKE_ROOM ? len : FAKE_ROOM;
    memcpy(t->repeat, bytes, t->offered);
    return result;
}

static inline int fake_write(void *tls, const char *bytes, size_t len, size_t *taken)
{
    fake_tls *t = tls;
    assert_int_equal(t->step, 3);
    assert_true(len >= t->offered && len > 0);
    assert_memory_equal(bytes, t->repeat, t->offered);
    t->offered = 0;
    t->plan->writes++;
    if (t->plan->writes_read && t->record == 0) {
        if (!t->asked) fake_put(t, FAKE_ASK, "", 0);
        t->asked = 1;
        if (!fake_flush(t) && !t->mute) return fake_repeat(t, bytes, len, EHLO_ENGINE_WRITE);
        fake_take_in(t);
        if (!t->answered && (t->cut || t->mute || t->broken)) return fake_fail(t, "the connection was cut");
        if (!t->answered) return fake_repeat(t, bytes, len, EHLO_ENGINE_READ);
        t->asked = t->answered = 0;
    }
    if (t->record == 0) {
        t->record = len < FAKE_RECORD_MAX ? len : FAKE_RECORD_MAX;
        if (t->plan->take_max != 0 && t->record > t->plan->take_max) t->record = t->plan->take_max;
        fake_put(t, FAKE_DATA, bytes, t->record);
    }
    if (!fake_flush(t)) {
        return t->mute ? fake_fail(t, "the connection was cut") : fake_repeat(t, bytes, len, EHLO_ENGINE_WRITE);
    }
    *taken = t->record;
    t->record = 0;
    return EHLO_ENGINE_DONE;
}

/* An end, or a record that lies behind what could be taken in, is told at once too. */
static inline size_t fake_pending(void *tls)
{
    const fake_tls *t = tls;
    size_t len;
    if (t->plain_len > 0 || t->over) return t->plain_len;
    return t->ended || t->broken || fake_head(t, &len) != 0;
}

static inline void fake_facts(void *tls, ehlo_tls_facts *facts)
{
    fake_tls *t = tls;
    assert_int_equal(t->step, 3);
    t->plan->facts++;
    *facts = (ehlo_tls_facts){ .version = ehlo_str_from("FAKEv1"),
                               .cipher = ehlo_str_from("FAKE_MASK"),
                               .peer_verified = (t->flags & EHLO_ENGINE_VERIFY) != 0,
                               .server_name = ehlo_str_from(t->server_name),
                               .exporter = ehlo_str_from("the exporter's thirty-two octets") };
}

static inline ehlo_str fake_problem(void *tls)
{
    return ehlo_str_from(((const fake_tls *)tls)->problem);
}

static inline int fake_shutdown(void *tls)
{
    fake_tls *t = tls;
    t->plan->shutdowns++;
    fake_put(t, FAKE_END, "", 0);
    return fake_flush(t) ? EHLO_ENGINE_DONE : EHLO_ENGINE_WRITE;
}

static inline void fake_close(void *tls)
{
    ((fake_tls *)tls)->plan->closes++;
    free(tls);
}

static inline ehlo_tls_engine fake_engine(fake_plan *plan)
{
    return (ehlo_tls_engine){ .open = fake_open,
                              .handshake = fake_handshake,
                              .read = fake_read,
                              .write = fake_write,
                              .pending = fake_pending,
                              .facts = fake_facts,
                              .problem = fake_problem,
                              .shutdown = fake_shutdown,
                              .close = fake_close,
                              .ctx = plan };
}

#endif
