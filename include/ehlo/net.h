/* ehlo/net.h - sockets for sessions: an event loop, listeners, outgoing connections, name look-up, timers, and answers
 * from other threads.
 *
 * A thin wrapper: it does descriptors, left-over input, timers and threads, and nothing that the session
 * decides. It uses the public headers alone, as an application does. One loop belongs to one thread: every
 * function that takes a loop must be called from its thread (or before it runs), but for the four under
 * "from any thread". Sessions that a loop hosts are moved by these functions alone: after ehlo_server_answer or
 * ehlo_server_resume, called past the loop, it would not look at the session anew. POSIX.
 *
 * Order: service, loop, TLS, listeners, connections, resolver, sending, store, relay, timers, from any thread,
 * limits. */
#ifndef EHLO_NET_H
#define EHLO_NET_H

#include <ehlo/client.h>
#include <ehlo/dns.h>
#include <ehlo/opening.h>
#include <ehlo/relay.h>
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

/* Asks recursive DNS servers over UDP, and over TCP what did not fit, without blocking its loop. A server that is silent,
 * cannot tell, or talks nonsense is passed over for the next one; where no server of any round could tell, the status is
 * FAILED: NODATA and NXDOMAIN are what a server has said. Aliases are followed, ten at most: also where a server answers
 * with no more than the alias. It caches nothing. */
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
/* The MX records of a domain, as ehlo_mx_plan reads them, with the aliases that lead to them followed: status is FOUND,
 * NODATA, NXDOMAIN, or FAILED where no server could tell (it is zero then). The answer lives for the call. */
typedef void (*ehlo_on_mx)(ehlo_loop *loop, ehlo_dns_answer *answer, void *arg);

/* Looks up MX of domain, a name; otherwise as ehlo_resolve. Files are not asked; localhost has none. */
EHLO_API int ehlo_resolve_mx(ehlo_resolver *resolver, ehlo_str domain, ehlo_on_mx fn, void *arg, ehlo_lookup **lookup);

/* No more; fn is not called. From anywhere on the loop's thread, the functions of other look-ups among it. */
EHLO_API void ehlo_lookup_cancel(ehlo_lookup *lookup);

/* -- sending ---------------------------------------------------------------------------------------- */

/* How to reach a server. Zero members mean the default. All of it is copied. */
typedef struct ehlo_connect_config {
    /* Tried in order, each with its addresses in turn, until one greets, takes our hello, and goes along with the
     * policy below. A 5yz to AUTH ends it at once: what is wrong with the credentials is so everywhere. Their port 0
     * is 25, with WRAPPED 465, with credentials 587; with LMTP it has to be said. Required. */
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

/* -- store ------------------------------------------------------------------------------------------ */

/* One piece of work that waits for a loop. Private. */
typedef struct ehlo_item {
    struct ehlo_item *next;
    void (*run)(ehlo_loop *loop, struct ehlo_item *item);
} ehlo_item;

/* One call of a store whose answer comes later: in the caller's memory, which stays until fn has run. */
typedef struct ehlo_pending {
    ehlo_item item;  /* private */
    int result;      /* private */
    ehlo_loop *loop; /* set it, and fn, before the call */
    void (*fn)(ehlo_loop *loop, struct ehlo_pending *pending, int result);
} ehlo_pending;

/* The answer of a call that returned EHLO_LATER, once: fn(loop, pending, result) runs on the loop's thread, soon, never
 * from inside this. From any thread; it needs no memory, so it cannot fail. Not once the loop was freed. */
EHLO_API void ehlo_store_answer(ehlo_pending *pending, int result);

/* A message that is to be queued. */
typedef struct ehlo_queued {
    const ehlo_envelope *envelope; /* with its recipients; content is not looked at */
    const ehlo_str *destinations;  /* of each recipient, as ehlo_destination_write wrote it */
    ehlo_str hello;                /* the name in the hello of the client that brings it; may be empty */
    int64_t arrived;               /* Unix ms */
} ehlo_queued;

/* How many more batches of a destination may be under way. */
typedef struct ehlo_room {
    ehlo_str destination;
    size_t room;
} ehlo_room;

/* What a runner asks for, and is given. */
typedef struct ehlo_claim {
    int64_t now;            /* Unix ms */
    int64_t lease_until;    /* Unix ms */
    size_t max;             /* room in batches; at least 1 */
    size_t destination_max; /* of one destination that is not in rooms */
    const ehlo_room *rooms;
    size_t nrooms;
    /* The store fills in: */
    ehlo_batch **batches; /* the runner's array, of max */
    size_t n;             /* how many it has put there */
    int64_t next_due;     /* when, later than now, the next batch falls due or the next lease ends: Unix ms, EHLO_NEVER.
                             What is due already and had no room does not count */
} ehlo_claim;

/* Where messages are kept while they are under way: functions that the application supplies. Every one is called on the
 * loop's thread, and never twice at once for the same message or batch. Those with a `pending` may return EHLO_LATER, and
 * answer with ehlo_store_answer; what their other arguments point to stays until then. Else they return EHLO_OK, or an
 * error (ehlo_error_text), and pending is not used. Two stores may look at the same data, on machines of their own: the
 * lease and the fence keep them apart. All are required. */
typedef struct ehlo_store {
    /* A new message begins: *message is the store's name for it, until commit, record or discard; *name what logs and trace
     * fields call it (printable ASCII without spaces), which lives as long. Nothing of it is queued yet. After an error
     * there is no message. */
    int (*create)(void *ctx, const ehlo_queued *queued, void **message, ehlo_str *name, ehlo_pending *pending);
    /* Its next octets, which live for the call: *taken of them are the store's when it returns. Fewer than len only with
     * EHLO_LATER: the rest is offered again after the answer. After an error only discard follows. */
    int (*append)(void *ctx, void *message, const char *bytes, size_t len, size_t *taken, ehlo_pending *pending);
    /* It is whole. EHLO_OK: it is on stable storage, whatever happens now, and queued, due at once: only then a 250 may be
     * said. Otherwise nothing is queued. Either way message is gone. */
    int (*commit)(void *ctx, void *message, ehlo_pending *pending);
    /* It is not to be. message is gone. */
    void (*discard)(void *ctx, void *message);
    /* Fills claim->batches with batches that are due and leased to nobody, the longest due first as far as the rooms of
     * their destinations allow; n is 0 if there are none. Each is leased till claim->lease_until, and stays in memory
     * until its release. After an error there are none. */
    int (*claim)(void *ctx, ehlo_claim *claim, ehlo_pending *pending);
    /* Prolongs a lease. EHLO_ERR_STALE: it was lost, and nothing of the attempt can be recorded. */
    int (*renew)(void *ctx, ehlo_batch *batch, int64_t until, ehlo_pending *pending);
    /* The attempt's end, in one step that happens whole or not at all: the states of the recipients, *progress, the queueing
     * of the reports (messages that were created and are whole, as commit would queue them), and the end of the lease.
     * EHLO_OK: it is on stable storage, and the reports are gone. EHLO_ERR_STALE: the lease was lost: nothing was recorded.
     * Any other error: nothing was recorded, and it may be tried again, with reports that are new. After an error the
     * reports are still the caller's. */
    int (*record)(void *ctx, ehlo_batch *batch, const ehlo_progress *progress, void *const *reports, size_t nreports,
                  ehlo_pending *pending);
    /* The last call for every batch, but for those that the relay leaves to their leases: see ehlo_relay_new and
     * ehlo_relay_free. Its memory is the store's again. Unless it was recorded, or its lease was lost, it is due as it was
     * when it was claimed: no attempt was made. */
    void (*release)(void *ctx, ehlo_batch *batch);
    /* The message from `offset` on: *piece is a view that lives until the next `body` for this batch, its record, or its
     * release; *last with the final piece, which may be empty. EHLO_ERR_SYSTEM: it cannot be read for now;
     * EHLO_ERR_SYNTAX: what is stored is damaged, and none of it may be delivered: this is said in place of the last piece
     * at the latest. */
    int (*body)(void *ctx, ehlo_batch *batch, uint64_t offset, ehlo_str *piece, int *last, ehlo_pending *pending);
    /* Batches of destinations that an ETRN's option and node mean (ehlo_destination_matches), and that nobody has leased, are
     * due now. *n: how many those are. */
    int (*hurry)(void *ctx, char option, ehlo_str node, size_t *n, ehlo_pending *pending);
} ehlo_store;

/* -- relay ------------------------------------------------------------------------------------------ */

/* Takes batches from a store and delivers them, by the rules of relay.h: look-ups, sessions, transactions, reports, and what is
 * recorded at the end. Accepting mail is the application's: it creates and commits messages in the same store, then calls
 * ehlo_relay_kick. */
typedef struct ehlo_relay ehlo_relay;

/* Zero members mean the default. It is copied, and what is said to be; all else outlives the relay. */
typedef struct ehlo_relay_config {
    const ehlo_relay_policy *policy;     /* NULL: all defaults */
    const ehlo_store *store;             /* Required */
    void *store_ctx;                     /* handed to its functions */
    const ehlo_client_config *client;    /* of its sessions; copied, its name too: it is our host name. Required */
    ehlo_resolver *resolver;             /* NULL: the loop's own, over the system's files */
    const ehlo_tls_engine *tls_engine;   /* NULL: in clear, and what demands TLS is reported as failed */
    uint8_t tls;                         /* ehlo_tls_policy towards hosts found in DNS; default: opportunistic */
    uint8_t smart_tls;                   /* and towards smart hosts; default: as opening.h has it */
    const ehlo_credentials *credentials; /* for smart hosts; NULL: no AUTH */
    /* Batches under way at once; 100. Those that wait for a store that fails do not count, up to three times as many. */
    uint32_t concurrency;
    /* Of one destination; 20. It begins with 2, grows with each success, and falls to 1 where no host can be reached: a
     * destination that is down holds up few. */
    uint32_t destination_concurrency;
    /* An attempt that has not come to the end of its message by then is broken off, so that a peer that is slow on purpose
     * does not hold it up for ever; 900000, and a millisecond more for every 4 octets of the message. */
    uint32_t attempt_ms;
    uint32_t session_messages;     /* a session's transactions, then it ends; 100 */
    uint32_t idle_ms;              /* an open session waits so long for another batch of its destination; 2000 */
    uint32_t lease_ms;             /* asked for, and renewed at half of it; 300000 */
    uint32_t poll_ms;              /* the store is asked this often at least, for what others have put there; 60000 */
    int64_t (*unix_ms)(void *ctx); /* the time; NULL: the system's */
    void *ctx;                     /* of the functions here */
    /* An attempt was recorded: batch is as it was given to record, and lives for the call. It and the functions below
     * must not call the relay, but for ehlo_relay_kick and ehlo_relay_busy. May be NULL. */
    void (*on_recorded)(const ehlo_batch *batch, const ehlo_progress *progress, void *ctx);
    /* A report with this action is due on the batch, to its reverse-path. 0: it is not made: who sends to a forged address
     * is one of many. Asked again where the store failed and it is written anew. May be NULL. */
    int (*on_report)(const ehlo_batch *batch, ehlo_action action, void *ctx);
    /* Something went wrong that is nobody's outcome: the store failed, a batch was lost. One line of text. May be NULL. */
    void (*on_problem)(ehlo_str text, void *ctx);
    void (*on_trace)(ehlo_client *c, int direction, ehlo_str bytes, int secret,
                     void *ctx); /* see client.h; may be NULL */
} ehlo_relay_config;

/* Starts one on the loop: what is due is claimed at once. Once the loop is to stop it claims no more; attempts before
 * their message is under way are given back, the others end within the grace, and the loop waits for what is being
 * recorded; what the store refuses to record by then is left to its lease. Until then it counts as one of the loop's
 * connections. One relay on a loop; any number of loops and machines on the same data. EHLO_ERR_ARG, EHLO_ERR_MEMORY,
 * EHLO_ERR_STATE once the loop was stopped. */
#define ehlo_relay_new(relay, loop, cfg)                                                                               \
    ehlo_relay_new_sized((relay), (loop), (cfg), sizeof(ehlo_relay_config), sizeof(ehlo_relay_policy))
EHLO_API int ehlo_relay_new_sized(ehlo_relay **relay, ehlo_loop *loop, const ehlo_relay_config *cfg, size_t cfg_size,
                                  size_t policy_size);
/* Before its loop, and not from a function of its own. Batches that are still under way are left to their leases: it is
 * as if the power had failed. The store is not called any more; what it has still to answer it may answer until the loop
 * is freed, or never: nobody listens. NULL is fine. */
EHLO_API void ehlo_relay_free(ehlo_relay *relay);

/* Something may be due: a message was committed, or batches were hurried. */
EHLO_API void ehlo_relay_kick(ehlo_relay *relay);
/* Batches under way, those that wait for a store that fails among them. */
EHLO_API size_t ehlo_relay_busy(const ehlo_relay *relay);

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
