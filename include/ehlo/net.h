/* ehlo/net.h - sockets for sessions: an event loop, listeners, timers, and answers from other threads.
 *
 * A thin wrapper: it does descriptors, left-over input, timers and threads, and nothing that the session
 * decides. It uses the public headers alone, as an application does. One loop belongs to one thread: every
 * function that takes a loop must be called from its thread (or before it runs), but for the four under
 * "from any thread". Sessions that a loop hosts are moved by these functions alone: after ehlo_server_answer or
 * ehlo_server_resume, called past the loop, it would not look at the session anew. POSIX.
 *
 * Order: service, loop, listeners, connections, timers, from any thread, limits. */
#ifndef EHLO_NET_H
#define EHLO_NET_H

#include <ehlo/server.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ehlo_loop ehlo_loop;
typedef struct ehlo_listener ehlo_listener;
typedef struct ehlo_limits ehlo_limits;

/* Names a connection of a loop; never reused by that loop; 0 names none. */
typedef uint64_t ehlo_conn_id;

/* -- service ---------------------------------------------------------------------------------------- */

/* As ehlo_service_init, in memory of its own, with `write` set to the loop's and, where cfg->lender.lend is
 * NULL, with a lender that keeps one block per thread. One service may serve listeners of many loops.
 * EHLO_ERR_MEMORY, or as ehlo_service_init. */
#define ehlo_net_service_new(service, cfg, callbacks)                                                                  \
    ehlo_net_service_new_sized((service), (cfg), sizeof(ehlo_service_config), (callbacks),                             \
                               sizeof(ehlo_server_callbacks))
EHLO_API int ehlo_net_service_new_sized(ehlo_service **service, const ehlo_service_config *cfg, size_t cfg_size,
                                        const ehlo_server_callbacks *callbacks, size_t callbacks_size);
/* After the last loop that used it was freed. NULL is fine. */
EHLO_API void ehlo_net_service_free(ehlo_service *service);

/* -- loop ------------------------------------------------------------------------------------------- */

/* Zero members mean the default. */
typedef struct ehlo_loop_config {
    size_t input_size; /* the one receive buffer; 262144 octets, at least the input_min of every service */
} ehlo_loop_config;

/* cfg may be NULL. EHLO_ERR_MEMORY, EHLO_ERR_SYSTEM (errno). */
#define ehlo_loop_new(loop, cfg) ehlo_loop_new_sized((loop), (cfg), sizeof(ehlo_loop_config))
EHLO_API int ehlo_loop_new_sized(ehlo_loop **loop, const ehlo_loop_config *cfg, size_t cfg_size);
/* Closes what is still open (sessions get on_close) and frees all. From its thread, not from a callback. */
EHLO_API void ehlo_loop_free(ehlo_loop *loop);

/* Runs until ehlo_loop_stop has taken effect: EHLO_OK; EHLO_ERR_SYSTEM if waiting itself fails. */
EHLO_API int ehlo_loop_run(ehlo_loop *loop);
/* One round: waits at most max_ms (-1: until something is due; 0: not at all) and handles what is ready.
 * Returns 1 while there is more to come, 0 when the loop was stopped and is done. EHLO_ERR_SYSTEM,
 * EHLO_ERR_REENTRY from inside a callback of this loop. */
EHLO_API int ehlo_loop_step(ehlo_loop *loop, int max_ms);
/* To run inside another loop: a descriptor that is readable when step has work (epoll only; elsewhere
 * EHLO_ERR_UNSUPPORTED), and the milliseconds until step is due anyway, -1 for never. */
EHLO_API int ehlo_loop_fd(const ehlo_loop *loop);
EHLO_API int ehlo_loop_timeout(const ehlo_loop *loop);
/* Milliseconds of the loop's clock, as taken at the start of this round. */
EHLO_API uint64_t ehlo_loop_now(const ehlo_loop *loop);

/* -- listeners -------------------------------------------------------------------------------------- */

typedef struct ehlo_listen_config {
    ehlo_address address;        /* family NONE: every address, both families; port 0: one is picked */
    const ehlo_service *service; /* outlives the loop. Required */
    void *ctx;                   /* the application's, for ehlo_conn_ctx */
    size_t user_size;            /* octets of zeroed memory per session: the `user` of its callbacks */
    int backlog;                 /* 4096 */
    uint8_t share_port;          /* 1: other loops listen on the same port (SO_REUSEPORT) */
    uint8_t proxy;               /* 1: every connection starts with a PROXY preface; without one it is closed */
    uint8_t implicit_tls;        /* reserved; must be 0 */
    uint32_t proxy_ms;           /* for the preface; 10000 */
    ehlo_limits *limits;         /* connections are counted there (by the address that a PROXY preface told); may be
                                    NULL; outlives the loop */
} ehlo_listen_config;

/* Listens. listener may be NULL; it belongs to the loop. EHLO_ERR_SYSTEM (errno), EHLO_ERR_ARG (also where the
 * loop's input buffer is too small for the service), EHLO_ERR_STATE once the loop was stopped. */
#define ehlo_loop_listen(loop, cfg, listener)                                                                          \
    ehlo_loop_listen_sized((loop), (cfg), sizeof(ehlo_listen_config), (listener))
EHLO_API int ehlo_loop_listen_sized(ehlo_loop *loop, const ehlo_listen_config *cfg, size_t cfg_size,
                                    ehlo_listener **listener);
/* The address it listens on, with the port that was picked. */
EHLO_API ehlo_address ehlo_listener_address(const ehlo_listener *listener);
/* Accepts no more; its connections go on. The listener is gone. */
EHLO_API void ehlo_listener_close(ehlo_listener *listener);

/* Reads "192.0.2.1:25", "[2001:db8::1]:25", "*:25" (family NONE) or "localhost:25" (127.0.0.1). EHLO_ERR_SYNTAX. */
EHLO_API int ehlo_address_parse(ehlo_str text, ehlo_address *address);

/* -- connections: for sessions that a loop hosts ---------------------------------------------------- */

EHLO_API ehlo_loop *ehlo_conn_loop(const ehlo_server *s);
EHLO_API ehlo_conn_id ehlo_conn_number(const ehlo_server *s);
EHLO_API void *ehlo_conn_ctx(const ehlo_server *s); /* ehlo_listen_config.ctx */
/* The session behind an id, NULL if it is gone. */
EHLO_API ehlo_server *ehlo_loop_server(ehlo_loop *loop, ehlo_conn_id id);
/* Connections open now. */
EHLO_API size_t ehlo_loop_connections(const ehlo_loop *loop);

/* -- timers ----------------------------------------------------------------------------------------- */

/* One-shot, in the caller's memory; zero it once. Private members. */
typedef struct ehlo_timer {
    uint64_t due;
    size_t slot;
    void (*fn)(ehlo_loop *loop, void *arg);
    void *arg;
} ehlo_timer;

/* Calls fn(loop, arg) once, ms from now (0 is as 1); a running timer is set anew. The timer must stay where it
 * is until it has fired or was stopped. EHLO_ERR_MEMORY. */
EHLO_API int ehlo_timer_start(ehlo_loop *loop, ehlo_timer *timer, uint32_t ms, void (*fn)(ehlo_loop *loop, void *arg),
                              void *arg);
/* No more; does nothing if it does not run. */
EHLO_API void ehlo_timer_stop(ehlo_loop *loop, ehlo_timer *timer);

/* -- from any thread -------------------------------------------------------------------------------- */

/* ehlo_server_answer on the loop's thread. The reply is copied; NULL is the default. A gone id or spent token
 * does nothing. A reply that may not be sent there becomes the default text of its code, or 451: the peer must
 * not wait for ever. From the loop's own thread, inside a callback of that session too. EHLO_ERR_MEMORY. */
EHLO_API int ehlo_loop_answer(ehlo_loop *loop, ehlo_conn_id id, ehlo_token token, const ehlo_reply *reply);
/* on_body has room again: ehlo_server_resume on the loop's thread, soon. A gone id is fine. EHLO_ERR_MEMORY. */
EHLO_API int ehlo_loop_resume(ehlo_loop *loop, ehlo_conn_id id);
/* Calls fn(loop, arg) on the loop's thread, soon, in order. EHLO_ERR_MEMORY. What was posted before the loop
 * is freed is called, at the latest from ehlo_loop_free. */
EHLO_API int ehlo_loop_post(ehlo_loop *loop, void (*fn)(ehlo_loop *loop, void *arg), void *arg);
/* Stops accepting, says 421 to idle peers, lets messages in flight finish for at most grace_ms, then closes
 * what is left; ehlo_loop_run then returns. From a signal handler too. A second call may shorten the grace. */
EHLO_API void ehlo_loop_stop(ehlo_loop *loop, int grace_ms);

/* -- limits ----------------------------------------------------------------------------------------- */

/* Connections open at once, counted over every listener that names this object, on whatever thread: total,
 * and per remote address (IPv6: per /64). 0: no limit. Beyond: 421 4.7.0, and closed. EHLO_ERR_MEMORY. */
EHLO_API int ehlo_limits_new(ehlo_limits **limits, size_t total, size_t per_address);
EHLO_API void ehlo_limits_free(ehlo_limits *limits);

#ifdef __cplusplus
}
#endif
#endif
