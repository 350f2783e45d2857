/* The application of a server on a loop: what it saw of all connections. */
#ifndef EHLO_TESTS_APP_H
#define EHLO_TESTS_APP_H

#include <ehlo/net.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* What it saw, and how it is to behave: the ctx of its listener. */
typedef struct app {
    ehlo_conn_id id; /* of the last connection */
    ehlo_peer peer;  /* likewise */
    unsigned connects, messages, resets, closes;
    int reset_reason, close_reason;
    size_t octets;               /* of bodies */
    char last_octets[4];         /* NUL-ended */
    const ehlo_tls_facts *facts; /* as of on_connect */
    size_t body_at_once;         /* taken by one call; 0: all */
    ehlo_timer resume;
} app;

static inline int app_on_connect(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)token;
    (void)r;
    (void)user;
    a->connects++;
    a->id = ehlo_conn_number(s);
    a->peer = *ehlo_server_peer(s);
    a->facts = ehlo_server_tls_facts(s);
    assert_ptr_equal(ehlo_loop_server(ehlo_conn_loop(s), a->id), s);
    return EHLO_OK;
}

static inline void app_resume(ehlo_loop *loop, void *arg)
{
    assert_int_equal(ehlo_loop_resume(loop, ((app *)arg)->id), EHLO_OK);
}

static inline int app_on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    enum { LAST = sizeof((app *)NULL)->last_octets - 1 };
    app *a = ehlo_conn_ctx(s);
    (void)r;
    (void)user;
    if (a->body_at_once != 0 && len > a->body_at_once) {
        *taken = a->body_at_once;
        assert_int_equal(ehlo_timer_start(ehlo_conn_loop(s), &a->resume, 1, app_resume, a), EHLO_OK);
    }
    for (size_t i = *taken > LAST ? *taken - LAST : 0; i < *taken; i++) {
        memmove(a->last_octets, a->last_octets + 1, LAST - 1);
        a->last_octets[LAST - 1] = bytes[i];
    }
    a->octets += *taken;
    return EHLO_OK;
}

static inline int app_on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r,
                                 void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)token;
    (void)message;
    (void)r;
    (void)user;
    a->messages++;
    return EHLO_OK;
}

static inline void app_on_reset(ehlo_server *s, int reason, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)user;
    a->resets++;
    a->reset_reason = reason;
}

static inline void app_on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)pending;
    (void)user;
    a->closes++;
    a->close_reason = reason;
}

static const ehlo_server_callbacks app_callbacks = { .on_connect = app_on_connect,
                                                     .on_body = app_on_body,
                                                     .on_message = app_on_message,
                                                     .on_reset = app_on_reset,
                                                     .on_close = app_on_close };

#endif
