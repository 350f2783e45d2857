/* One session without a transport, for programs that count what it costs: it accepts all mail and keeps none, and
 * what it writes is counted and thrown away. */
#ifndef EHLO_TESTS_LONE_SESSION_H
#define EHLO_TESTS_LONE_SESSION_H

#include <ehlo/server.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every extension there is but AUTH, whose longer lines ask for larger buffers. */
#define LONE_ALL_EXTENSIONS ((EHLO_CAP_XCLIENT * 2u - 1) & ~(uint32_t)EHLO_CAP_AUTH)

typedef struct lone_session {
    ehlo_server *server;
    ehlo_service *service;
    size_t written;  /* octets of replies */
    size_t refusals; /* writes that begin with a 4yz or 5yz */
    uint64_t body;   /* octets given to on_body */
    char *block;     /* the one output block, lent or not */
    void *service_memory;
    void *memory;
} lone_session;

static inline void lone_fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static inline void *lone_allocate(size_t len)
{
    void *mem = malloc(len);
    if (mem == NULL) lone_fail("no memory");
    return mem;
}

static inline int lone_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    lone_session *lone = user;
    (void)s;
    *taken = 0;
    for (size_t i = 0; i < n; i++) *taken += parts[i].len;
    lone->written += *taken;
    lone->refusals += parts[0].ptr[0] >= '4';
    return 0;
}

static inline int lone_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    (void)s, (void)bytes, (void)taken, (void)r;
    ((lone_session *)user)->body += len;
    return EHLO_OK;
}

static inline void *lone_lend(size_t len, void *ctx)
{
    lone_session *lone = ctx;
    if (lone->block == NULL) lone->block = lone_allocate(len);
    return lone->block;
}

static inline void lone_give(void *mem, size_t len, void *ctx)
{
    (void)mem, (void)len, (void)ctx;
}

/* config without its lender. */
static inline void lone_open(lone_session *lone, ehlo_service_config config, int lender)
{
    ehlo_server_callbacks callbacks = { .write = lone_write, .on_body = lone_body };
    memset(lone, 0, sizeof *lone);
    if (lender) config.lender = (ehlo_lender){ .lend = lone_lend, .give = lone_give, .ctx = lone };
    size_t size = ehlo_service_size(&config);
    lone->service_memory = lone_allocate(size);
    int result = ehlo_service_init(&lone->service, lone->service_memory, size, &config, &callbacks);
    if (result != EHLO_OK) lone_fail("the settings are refused");
    size = ehlo_server_size(lone->service);
    lone->memory = lone_allocate(size);
    result = ehlo_server_init(&lone->server, lone->memory, size, lone->service, NULL, lone);
    if (result == EHLO_OK) result = ehlo_server_start(lone->server, 0);
    if (result != EHLO_OK) lone_fail("the session does not start");
}

static inline void lone_close(lone_session *lone)
{
    ehlo_server_close(lone->server);
    free(lone->memory);
    free(lone->service_memory);
    free(lone->block);
}

/* Feeds all of it, `cut` octets more at a time; what feed leaves is offered again in front of the next. The end must
 * be one of a line or of a chunk. */
static inline void lone_feed(lone_session *lone, const char *bytes, size_t len, size_t cut)
{
    size_t at = 0, end = 0, used;
    while (end < len) {
        end = len - end < cut ? len : end + cut;
        if (ehlo_server_feed(lone->server, 0, bytes + at, end - at, &used) != EHLO_OK) lone_fail("feed failed");
        at += used;
    }
    if (at != len) lone_fail("the session stopped reading");
}

static inline void lone_say(lone_session *lone, const char *text)
{
    lone_feed(lone, text, strlen(text), strlen(text));
}

#endif
