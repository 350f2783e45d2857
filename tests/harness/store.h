/* store.h - a store in memory (ehlo_store of net.h), and what may go wrong with one.
 *
 * The store itself is what lies on stable storage: it outlives every crash. A runner reaches it through a door of its
 * own, the ctx of store_functions: what a door holds that is not committed or recorded dies with it. Several doors to
 * one store are machines that share a database: leases and fences keep them apart.
 *
 *     store *s = store_new(NULL);
 *     store_door *door = store_open(s, &setup);
 *     ehlo_relay_config cfg = { .store = &store_functions, .store_ctx = door, ... };
 *     ... ehlo_relay_free(relay); store_close(door); ehlo_loop_free(loop); store_free(s);
 *
 * A call is done and answered at once, or it is put off, as the setup decides: then it waits in the door until it is
 * pumped. What breaks the contract of ehlo_store is kept in `fault`: a test has to look at it. */
#ifndef EHLO_TESTS_STORE_H
#define EHLO_TESTS_STORE_H

#include <ehlo/net.h>

typedef struct store store;
typedef struct store_door store_door;

/* -- what lies on stable storage -------------------------------------------------------------------- */

typedef struct store_message {
    struct store_message *next; /* in the order of their commits */
    char name[24];              /* "M1", "M2"... */
    ehlo_envelope envelope;     /* without recipients, content and `more` */
    ehlo_str hello;
    int64_t arrived;
    char *body;
    size_t len;
    size_t room;
    int is_report;            /* queued by a record, not by a commit */
    int damaged;              /* by the test: its body is EHLO_ERR_SYNTAX with the last piece */
    struct store_text *texts; /* private: what the views point to */
} store_message;

typedef struct store_batch {
    struct store_batch *next; /* in the order of their commits */
    store_message *message;
    ehlo_str destination;
    uint64_t id;
    uint64_t fence;
    int64_t lease_until; /* 0: leased to nobody */
    store_door *holder;  /* who has that lease */
    int64_t next_try;    /* EHLO_NEVER: finished */
    int fresh;           /* due, whatever the clock says */
    uint32_t attempt;
    uint8_t warned;
    ehlo_batch_rcpt *rcpts; /* all of them, finished or not; their numbers are their indices */
    size_t nrcpts;
} store_batch;

struct store {
    store_message *messages;
    store_batch *batches;
    store_door *doors;
    ehlo_schedule schedule; /* for ehlo_schedule_sane */
    uint64_t last_message;
    uint64_t last_batch;
    uint64_t last_fence;
    int64_t now;     /* of the last claim */
    char fault[256]; /* the first breach of the contract, or empty */
};

/* schedule: of the runners' policy; NULL: the defaults. */
store *store_new(const ehlo_schedule *schedule);
/* Its doors must be closed. */
void store_free(store *s);

/* Batches that are not finished. */
size_t store_queued(const store *s);
/* The committed message of that name, or NULL; its batch number `index`, in order of destinations' first recipients. */
store_message *store_find(const store *s, ehlo_str name);
store_batch *store_batch_of(const store *s, const store_message *message, size_t index);

/* -- doors ------------------------------------------------------------------------------------------ */

typedef enum store_call {
    STORE_CREATE,
    STORE_APPEND,
    STORE_COMMIT,
    STORE_CLAIM,
    STORE_RENEW,
    STORE_RECORD,
    STORE_BODY,
    STORE_HURRY,
    STORE_CALLS
} store_call;

/* "create", "append"... */
const char *store_call_name(store_call call);

/* How one call is to go. Zero: done, and answered at once. */
typedef struct store_fate {
    int later;   /* 1: put off until store_pump */
    int result;  /* not EHLO_OK: it fails with this, and nothing is done */
    size_t most; /* append (with later), body: this many octets at most; 0: all */
} store_fate;

typedef struct store_setup {
    store_fate (*decide)(void *ctx, store_call call); /* NULL: all zero */
    void (*put_off)(void *ctx, store_door *door);     /* a call waits for store_pump; may be NULL */
    /* A message is on stable storage; may be NULL, as the two below. */
    void (*committed)(void *ctx, store_message *message);
    /* A batch was claimed, its lease was lost, or its record was done or refused; or batches (NULL) were hurried. */
    void (*happened)(void *ctx, store_call call, const ehlo_batch *batch, const ehlo_progress *progress, int result);
    /* A piece of a body is about to be handed out: its octets may be changed. */
    void (*patch)(void *ctx, const ehlo_batch *batch, uint64_t offset, char *piece, size_t len);
    void *ctx;
} store_setup;

/* The functions; their ctx is a door. */
extern const ehlo_store store_functions;

/* setup is copied; NULL: everything goes well and at once. */
store_door *store_open(store *s, const store_setup *setup);

/* Does the call that waits longest, and answers it: 1; 0: none waits. */
int store_pump(store_door *door);
/* Until none waits. */
void store_pump_all(store_door *door);
/* Calls that wait. */
size_t store_waiting(const store_door *door);

/* How many calls of a kind were made. */
size_t store_count(const store_door *door, store_call call);
/* Batches that were claimed and not released, and messages that were created and neither committed nor discarded. */
size_t store_held(const store_door *door);

/* The machine behind the door crashes, or ends: to be said behind ehlo_relay_free, before the loop is freed. Messages that
 * are not committed are lost, and nothing is answered any more. A call that waits has been done or not, as survives
 * (NULL: not) says. leases: 1: they run on, as in a database; 0: they end, as where they are
 * kept in memory. The door is gone. */
void store_crash(store_door *door, int (*survives)(void *ctx, store_call call), int leases);
/* A crash after which leases run on. */
void store_close(store_door *door);

/* -- queueing --------------------------------------------------------------------------------------- */

/* Queues a message as an application does, at once. Recipients are separated by spaces; their destinations are what
 * policy (NULL: the default) makes of them. NULL: refused. */
store_message *store_put(store *s, const ehlo_relay_policy *policy, const char *from, const char *recipients,
                         ehlo_str content, int64_t arrived);

#endif
