/* ehlo/net.h - sockets for sessions: an event loop, listeners, outgoing connections, name look-up, timers, and answers
 * from other threads.
 *
 * A thin wrapper: it does descriptors, left-over input, timers and threads, and nothing that the session
 * decides. It uses the public headers alone, as an application does. One loop belongs to one thread: every
 * function that takes a loop must be called from its thread (or before it runs), but for the four under
 * "from any thread". Sessions that a loop hosts are moved by these functions alone: after ehlo_server_answer or
 * ehlo_server_resume, called past the loop, it would not look at the session anew. POSIX.
 *
 * Order: service, loop, TLS, listeners, connections, resolver, sending, timers, from any thread, limits. */
#ifndef EHLO_NET_H
#define EHLO_NET_H

#include <ehlo/client.h>
#include <ehlo/dns.h>
#include <ehlo/opening.h>
#include <ehlo/server.h>
#include <ehlo/transaction.h>

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

/* -- TLS -------------------------------------------------------------------------------------------- */

/* How a call of an engine ended; negative: the connection is gone, or must be, and `problem` says why. */
typedef enum ehlo_engine_result {
    EHLO_ENGINE_DONE = 0,
    EHLO_ENGINE_READ,  /* nothing was done: call again, likewise, when the descriptor is readable */
    EHLO_ENGINE_WRITE, /* nothing was done: call again, likewise, when it is writable */
    EHLO_ENGINE_CLOSED /* read: the peer has properly ended its side (close_notify). An end without that is negative: an
                       attacker can cut a connection anywhere (RFC 8446 6.1) */
} ehlo_engine_result;

enum {
    EHLO_ENGINE_AS_SERVER = 1 << 0,
    EHLO_ENGINE_VERIFY = 1 << 1 /* client: the handshake fails unless the certificate is one for server_name, of an
                                authority that the engine trusts, and is valid now */
};

/* A TLS library, as the application lends it. One engine may serve any number of connections, and threads if its
 * functions may. They never block: the descriptor does not. */
typedef struct ehlo_tls_engine {
    /* TLS for one connected descriptor, which stays ours. server_name: the host that is sought, as a name without a
     * final dot or an address as text (an address goes into no server name indication, RFC 6066 3); empty for a server;
     * lives for the call. NULL: it cannot be. */
    void *(*open)(void *ctx, int fd, unsigned flags, ehlo_str server_name);
    int (*handshake)(void *tls);
    /* *got octets, at least one with DONE. */
    int (*read)(void *tls, char *bytes, size_t len, size_t *got);
    /* *taken octets, at least one with DONE. A call after READ or WRITE has the same octets in front, perhaps elsewhere
     * and with more behind. After a negative one read is called all the same: the peer may have said why. */
    int (*write)(void *tls, const char *bytes, size_t len, size_t *taken);
    /* Octets that read would give at once, or 1 where it would tell of an end at once: no poll tells of them. */
    size_t (*pending)(void *tls);
    /* Once, behind the handshake. Its views live until close. */
    void (*facts)(void *tls, ehlo_tls_facts *facts);
    /* Why a call was negative, in words: "certificate has expired"; lives until close. */
    ehlo_str (*problem)(void *tls);
    /* Tells the peer that nothing follows; tried once. */
    int (*shutdown)(void *tls);
    void (*close)(void *tls);
    void *ctx;
} ehlo_tls_engine;

/* -- listeners -------------------------------------------------------------------------------------- */

typedef struct ehlo_listen_config {
    ehlo_address address;        /* family NONE: every address, both families; port 0: one is picked */
    const ehlo_service *service; /* outlives the loop. Required */
    void *ctx;                   /* the application's, for ehlo_conn_ctx */
    size_t user_size;            /* octets of zeroed memory per session: the `user` of its callbacks */
    int backlog;                 /* 4096 */
    uint8_t share_port;          /* 1: other loops listen on the same port (SO_REUSEPORT) */
    uint8_t proxy;               /* 1: every connection starts with a PROXY preface; without one it is closed */
    uint8_t implicit_tls;        /* 1: every connection starts with a TLS handshake (RFC 8314 3.3), behind the PROXY
                                    preface if there is one; needs tls */
    uint32_t proxy_ms;           /* for the preface; 10000 */
    ehlo_limits *limits;         /* connections are counted there (by the address that a PROXY preface told); may be
                                    NULL; outlives the loop */
    const ehlo_tls_engine *tls;  /* outlives the loop. Without it STARTTLS must not be offered: the loop would close the
                                    connection behind its 220 */
    uint32_t tls_ms;             /* for the handshake of implicit_tls; 60000. That of STARTTLS: the service's tls_ms */
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

/* -- resolver --------------------------------------------------------------------------------------- */

/* Asks recursive DNS servers over UDP, and over TCP what did not fit, without blocking its loop. It caches nothing. */
typedef struct ehlo_resolver ehlo_resolver;
typedef struct ehlo_lookup ehlo_lookup;

typedef struct ehlo_resolver_config {
    const ehlo_address *servers; /* asked in order; copied; port 0: 53 */
    size_t nservers;             /* 0: those of resolv_file, or 127.0.0.1:53 if it names none; 8 at most are used */
    ehlo_str resolv_file;        /* "/etc/resolv.conf"; read where nservers is 0. Names are absolute: its search list is
                                    not used */
    ehlo_str hosts_file;         /* "/etc/hosts" */
    uint32_t try_ms;             /* for one answer of one server; 0: the timeout option of resolv_file, or 5000 */
    uint32_t tries;              /* rounds over all servers; 0: the attempts option of resolv_file, or 2 */
} ehlo_resolver_config;

/* cfg may be NULL. The files are read now; one that cannot be read is as if it were empty. EHLO_ERR_MEMORY;
 * EHLO_ERR_ARG: a server of no family. */
#define ehlo_resolver_new(resolver, loop, cfg)                                                                         \
    ehlo_resolver_new_sized((resolver), (loop), (cfg), sizeof(ehlo_resolver_config))
EHLO_API int ehlo_resolver_new_sized(ehlo_resolver **resolver, ehlo_loop *loop, const ehlo_resolver_config *cfg,
                                     size_t cfg_size);
/* Before its loop; from a look-up's function too. Look-ups that run are dropped: their functions are not called. NULL
 * is fine. */
EHLO_API void ehlo_resolver_free(ehlo_resolver *resolver);

/* The addresses of a host: status is FOUND with n > 0 of them, both families interleaved, IPv6 first, port 0; NODATA:
 * the name exists, without any; NXDOMAIN: it does not exist; FAILED: it cannot be known for now. Where one family was
 * found, that is enough; else the servers have to have told of both. At most 16 of each family. Addresses live for the
 * call. */
typedef void (*ehlo_on_addresses)(ehlo_loop *loop, ehlo_dns_status status, const ehlo_address *addresses, size_t n,
                                  void *arg);

/* Looks up A and AAAA of host: a name, or an address as text or literal, which is its own answer; names in the hosts
 * file are answered from there, and localhost with the loopback addresses (RFC 6761 6.3). Calls fn once, from the
 * loop, never from inside this call. *lookup (may be NULL) is valid until then. EHLO_ERR_ARG: host is no name;
 * EHLO_ERR_MEMORY. */
EHLO_API int ehlo_resolve(ehlo_resolver *resolver, ehlo_str host, ehlo_on_addresses fn, void *arg,
                          ehlo_lookup **lookup);
/* No more; fn is not called. From anywhere on the loop's thread, the functions of other look-ups among it. */
EHLO_API void ehlo_lookup_cancel(ehlo_lookup *lookup);

/* -- sending ---------------------------------------------------------------------------------------- */

/* Where mail may go. */
typedef struct ehlo_host {
    ehlo_str name; /* a name, or an address as text or literal */
    uint16_t port; /* 0: 25, with WRAPPED 465, with credentials 587; with LMTP it has to be said */
} ehlo_host;

/* How to reach a server. Zero members mean the default. All of it is copied. */
typedef struct ehlo_connect_config {
    /* Tried in order, each with its addresses in turn, until one greets, takes our hello, and goes along with the
     * policy below. A 5yz to AUTH ends it at once: what is wrong with the credentials is so everywhere. Required. */
    const ehlo_host *hosts;
    size_t nhosts;
    /* Settings of the session; without a lender, it is the loop's. Required. EHLO_CLIENT_LMTP and port 25 is
     * EHLO_ERR_ARG (RFC 2033 5). */
    const ehlo_client_config *client;
    /* Of the same loop; outlives the connection. NULL: the loop's own, over the system's files. */
    ehlo_resolver *resolver;
    /* Our end; family NONE: the system's choice; port 0: any. Servers of the other family are passed over. */
    ehlo_address local;
    uint32_t connect_ms;    /* for one address to accept the connection; 30000 */
    uint32_t addresses_max; /* tried of one host; 8 */
    /* The policy, see opening.h. Where there is no engine, REQUIRED and WRAPPED are EHLO_ERR_ARG (so is DEFAULT with
     * credentials), and OPPORTUNISTIC is NONE. Under REQUIRED and WRAPPED the certificate is verified, for the name of
     * the host. Under OPPORTUNISTIC it is not, and an address whose handshake fails is tried once more, in clear. */
    uint8_t tls;                       /* ehlo_tls_policy */
    uint8_t unverified;                /* 1: under REQUIRED and WRAPPED too any certificate will do. Whoever has got
                                            between can then read and change everything; so secrets are not shown to
                                            such a server, unless the credentials say `clear` */
    const ehlo_tls_engine *tls_engine; /* outlives the connection; may be NULL */
    const ehlo_credentials
        *credentials; /* for AUTH; borrowed, with all it points to, until on_ready or on_failed; NULL:
                                            no AUTH */
} ehlo_connect_config;

/* Why no server could be reached: of all that failed what leaves most hope, and of several such the last. */
typedef struct ehlo_failure {
    ehlo_stage stage;        /* RESOLVE, CONNECT, GREETING, HELLO, STARTTLS (of the handshake too), AUTH */
    ehlo_outcome outcome;    /* for a message: NOT_SENT, then DEFERRED, then REJECTED, where all servers say so */
    size_t host;             /* index of the server */
    ehlo_address address;    /* family NONE before CONNECT */
    int error;               /* errno of CONNECT, or 0 */
    ehlo_dns_status dns;     /* of RESOLVE; that is NOT_SENT, whatever it is: names can be mended */
    const ehlo_reply *reply; /* of GREETING, HELLO, STARTTLS and AUTH, if there was one; lives for the call */
    ehlo_str problem;        /* in words, the TLS engine's own where its handshake failed; lives for the call */
} ehlo_failure;

/* Any may be NULL but on_ready. */
typedef struct ehlo_connect_callbacks {
    /* The session is open, as the policy asks: transactions may start, from here too. c lives until on_closed. */
    void (*on_ready)(ehlo_client *c, void *user);
    /* No server could be reached; nothing was sent. Once, last, instead of on_ready. */
    void (*on_failed)(ehlo_loop *loop, const ehlo_failure *failure, void *user);
    /* The session has ended; every completion has run. Once, last. reason: ehlo_close. */
    void (*on_closed)(ehlo_client *c, int reason, void *user);
    void (*on_capability)(ehlo_client *c, ehlo_str keyword, ehlo_str args, void *user);      /* see client.h */
    void (*on_trace)(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user); /* see client.h */
} ehlo_connect_callbacks;

/* Connects and opens a session, without blocking. *id (may be NULL) names the connection from now on. The callbacks
 * never run inside this call. Once the loop is to stop, what is still sought fails, sessions say QUIT when nothing is
 * under way, and this is EHLO_ERR_STATE. EHLO_ERR_ARG, EHLO_ERR_MEMORY, EHLO_ERR_SYSTEM. */
#define ehlo_loop_connect(loop, cfg, callbacks, user, id)                                                              \
    ehlo_loop_connect_sized((loop), (cfg), sizeof(ehlo_connect_config), (callbacks), sizeof(ehlo_connect_callbacks),   \
                            (user), (id))
EHLO_API int ehlo_loop_connect_sized(ehlo_loop *loop, const ehlo_connect_config *cfg, size_t cfg_size,
                                     const ehlo_connect_callbacks *callbacks, size_t callbacks_size, void *user,
                                     ehlo_conn_id *id);
/* The session behind an id, NULL if it is gone or not ready yet. */
EHLO_API ehlo_client *ehlo_loop_client(ehlo_loop *loop, ehlo_conn_id id);
/* Gives up, whatever it has come to: the session is lost and closed, or on_failed comes, from inside this call. From a
 * callback of that session: EHLO_ERR_REENTRY. A gone id is fine. */
EHLO_API int ehlo_loop_disconnect(ehlo_loop *loop, ehlo_conn_id id);
EHLO_API ehlo_loop *ehlo_client_loop(const ehlo_client *c);
EHLO_API ehlo_conn_id ehlo_client_number(const ehlo_client *c);
/* Acts on what was called outside the callbacks of this session: commands, transactions. Inside them it need not be
 * called, and does nothing; inside those of another session it is put off a little. */
EHLO_API void ehlo_client_kick(ehlo_client *c);
/* ehlo_transaction_push and _resume for sessions that a loop hosts. */
EHLO_API int ehlo_loop_push(ehlo_transaction *t, const char *bytes, size_t len, int last, size_t *used);
EHLO_API int ehlo_loop_body_ready(ehlo_transaction *t);

/* Sends one message and waits: connects as cfg says, on a loop of its own (cfg->resolver must be NULL; `resolver` may
 * be NULL), and ends with QUIT. callbacks (may be NULL) are those of the transaction; `body` may not be LATER. Returns
 * the worst outcome (ehlo_outcome, above 0), and each recipient has its own; where no server could be reached,
 * on_failed (may be NULL) is told why. Negative: nothing was done. EHLO_ERR_ARG, EHLO_ERR_MEMORY, EHLO_ERR_SYSTEM. */
#define ehlo_send(cfg, resolver, envelope, callbacks, on_failed, user)                                                 \
    ehlo_send_sized((cfg), sizeof(ehlo_connect_config), (resolver), sizeof(ehlo_resolver_config), (envelope),          \
                    sizeof(ehlo_envelope), sizeof(ehlo_recipient), (callbacks), sizeof(ehlo_transaction_callbacks),    \
                    (on_failed), (user))
EHLO_API int ehlo_send_sized(const ehlo_connect_config *cfg, size_t cfg_size, const ehlo_resolver_config *resolver,
                             size_t resolver_size, const ehlo_envelope *envelope, size_t envelope_size,
                             size_t recipient_size, const ehlo_transaction_callbacks *callbacks, size_t callbacks_size,
                             void (*on_failed)(ehlo_loop *loop, const ehlo_failure *failure, void *user), void *user);

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
/* Stops accepting, says 421 to idle peers, lets messages in flight finish for at most grace_ms, then closes what is
 * left; ehlo_loop_run then returns. Outgoing sessions: see ehlo_loop_connect. From a signal handler too. A second call
 * may shorten the grace. */
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
