/* ehlo/relay.h - where a message goes next and what becomes of it, as policy without I/O: routes, the retry schedule, and
 * the delivery of one message to one destination.
 *
 * A queue holds batches: a batch is one message and those of its recipients that share a next hop. A delivery is one
 * attempt at a batch. It says what is to be done, and is told what came of it:
 *
 *     ehlo_delivery_init(&d, mem, size, policy, batch, unix_ms, seed);
 *     for (;;) switch ((task = ehlo_delivery_task(d))->kind) {
 *         case EHLO_TASK_MX:        look up; ehlo_delivery_mx(d, &answer);
 *         case EHLO_TASK_ADDRESSES: look up; ehlo_delivery_addresses(d, status, addresses, n);
 *         case EHLO_TASK_CONNECT:   connect; ehlo_delivery_connected(d), or ehlo_delivery_failed(d, ...);
 *         case EHLO_TASK_SEND:      one transaction; ehlo_delivery_sent(d);
 *         case EHLO_TASK_RECORD:    ehlo_delivery_conclude(d, unix_ms, &progress); store it; done
 *     }
 *
 * What it learnt of names and hosts ends with the attempt; what lasts is in the batch: the state of each recipient, and when
 * to try again. net.h runs deliveries over sockets and a store. Times are Unix milliseconds: they outlive a boot.
 *
 * Order: policy, destinations, MX plan, schedule, batch, delivery. */
#ifndef EHLO_RELAY_H
#define EHLO_RELAY_H

#include <ehlo/dns.h>
#include <ehlo/dsn.h>
#include <ehlo/transaction.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A message with more Received fields than this is taken for one in a loop: 554 5.4.6 (RFC 5321 6.3). Count them with
 * ehlo_header_scan while it is received. */
#define EHLO_HOPS_MAX 100

/* No time. */
#define EHLO_NEVER INT64_MAX

/* -- policy ----------------------------------------------------------------------------------------- */

/* When to try again (RFC 5321 4.5.4.1). Zero members mean the default. */
typedef struct ehlo_schedule {
    uint32_t first_s;  /* after the first attempt; 1800: so that two fall into the first hour */
    uint32_t max_s;    /* the wait doubles from attempt to attempt up to this; 10800 */
    uint32_t expire_s; /* the age at which an attempt was the last; 432000: five days */
    uint32_t warn_s;   /* the age at which the sender is told of the delay, once; 14400; UINT32_MAX: never */
} ehlo_schedule;

/* What becomes of a recipient whose attempt ended UNCERTAIN. */
typedef enum ehlo_uncertain {
    EHLO_UNCERTAIN_RETRY = 0, /* tried again on the normal schedule: two copies are better than none */
    EHLO_UNCERTAIN_FAIL,      /* reported as failed; the report says that the message may have arrived */
    EHLO_UNCERTAIN_TRUST      /* taken for delivered: none is better than two */
} ehlo_uncertain;

/* Zero members mean the default. What it points to lives as long as it is used. */
typedef struct ehlo_relay_policy {
    /* Our host names and addresses. A route that leads to one of them is cut off there (RFC 5321 5.1). Beside these the
     * unspecified and the loopback addresses (0.0.0.0, ::, 127.0.0.0/8, ::1) are ours, unless allow_loopback. The ports of
     * addresses do not count. */
    const ehlo_str *own_names;
    size_t nown_names;
    const ehlo_address *own_addresses;
    size_t nown_addresses;
    /* 1: a loopback address is another host unless own_addresses has it; the unspecified ones never are. */
    uint8_t allow_loopback;
    /* Everything goes to the first of these that can be reached; no MX records are looked up, and they may be anybody.
     * Port 0: 25. */
    const ehlo_host *smart_hosts;
    size_t nsmart_hosts;
    uint16_t mx_port;       /* of hosts found in DNS; 25 */
    uint8_t uncertain;      /* ehlo_uncertain */
    uint32_t addresses_max; /* tried in one attempt; 10; at least 2 (RFC 5321 5.1) */
    ehlo_schedule schedule;
} ehlo_relay_policy;

/* EHLO_ERR_ARG: a setting is out of range, or a name is none. */
#define ehlo_relay_policy_check(policy) ehlo_relay_policy_check_sized((policy), sizeof(ehlo_relay_policy))
EHLO_API int ehlo_relay_policy_check_sized(const ehlo_relay_policy *policy, size_t policy_size);

/* -- destinations ----------------------------------------------------------------------------------- */

/* Writes the destination of a mailbox: recipients with the same one share a next hop, and so a batch. It is the domain or
 * literal in lower case; with smart hosts the name of the first, in lower case, for every mailbox (so that is what
 * ehlo_destination_matches then sees). At most 255 octets. policy may be NULL. EHLO_ERR_ARG: it is no mailbox; or, without
 * smart hosts, no name that DNS may be asked for, nor the literal of an address, is behind its '@': UTF-8 has to be
 * given as its A-labels, and "postmaster" be completed with a domain. EHLO_ERR_SPACE: *len is what it needs. */
EHLO_API int ehlo_destination_write(const ehlo_relay_policy *policy, ehlo_str mailbox, char *out, size_t cap,
                                    size_t *len);

/* 1 if the node of an ETRN (RFC 1985 5.3) means this destination: the same domain, or, with option '@', it or one below. */
EHLO_API int ehlo_destination_matches(ehlo_str destination, char option, ehlo_str node);

/* -- MX plan (RFC 5321 5.1, RFC 7505) --------------------------------------------------------------- */

#define EHLO_MX_MAX 16 /* hosts of a plan: the best ones */

typedef struct ehlo_mx {
    uint16_t preference;
    ehlo_dns_name name;
} ehlo_mx;

/* Where the MX records of a domain lead. */
typedef enum ehlo_route {
    EHLO_ROUTE_FOUND = 0, /* to n > 0 hosts */
    EHLO_ROUTE_UNKNOWN,   /* it cannot be told for now: 451 4.4.3 */
    EHLO_ROUTE_NO_DOMAIN, /* the domain does not exist, or has neither MX nor address: 550 5.1.2 */
    EHLO_ROUTE_NULL_MX,   /* the domain takes no mail: 556 5.1.10 (RFC 7505 4.1) */
    EHLO_ROUTE_SELF,      /* back to us: 554 5.4.6 */
    EHLO_ROUTE_NO_HOST    /* there are MX records, but no host with an address behind them: 550 5.4.4. The domain's own
                             addresses do not take their place */
} ehlo_route;

/* Orders the hosts of a domain: ascending preference, equal ones shuffled. Without MX records the domain is its own host,
 * with preference 0. Our own host and all that are not preferred to it are cut off. A "." beside other records, and what is
 * no name, or an address, are passed over. answer: of the question for the MX of domain; it is read up.
 * policy: own_names; NULL: none. seed: a random number of the caller's. hosts has room for max, at least 1; of more
 * the best are taken. *n is 0 unless FOUND. */
EHLO_API ehlo_route ehlo_mx_plan(ehlo_dns_answer *answer, ehlo_str domain, const ehlo_relay_policy *policy,
                                 uint64_t seed, ehlo_mx *hosts, size_t max, size_t *n);

/* The reply that stands for it, with its text; code 0 for FOUND. Static storage. */
EHLO_API ehlo_reply ehlo_route_reply(ehlo_route route);

/* 1 if the address is ours, as the policy says; NULL: all defaults. */
EHLO_API int ehlo_address_is_own(const ehlo_relay_policy *policy, const ehlo_address *address);

/* -- schedule --------------------------------------------------------------------------------------- */

/* When to try again after attempt number `attempt` (1: the first) that ended now: first_s, doubled for each one behind it,
 * max_s at most; and up to an eighth more, by seed, so that not all come at once. */
EHLO_API int64_t ehlo_schedule_next(const ehlo_schedule *schedule, uint32_t attempt, int64_t now, uint64_t seed);

/* When a message is too old: the attempt that ends then, or behind it, is its last. */
EHLO_API int64_t ehlo_schedule_expires(const ehlo_schedule *schedule, int64_t arrived);

/* 1 if an attempt that ended now was the last. Nothing expires but behind an attempt. */
EHLO_API int ehlo_schedule_expired(const ehlo_schedule *schedule, int64_t arrived, int64_t now);

/* 1 if the sender is to be told of a delay now, unless that has been done. */
EHLO_API int ehlo_schedule_warns(const ehlo_schedule *schedule, int64_t arrived, int64_t now);

/* When to try a batch whose next_try was stored: that time, or sooner, if the clock was put back since: never later than
 * max_s and its eighth from now. For a store that reads its batches. */
EHLO_API int64_t ehlo_schedule_sane(const ehlo_schedule *schedule, int64_t next_try, int64_t now);

/* -- batch ------------------------------------------------------------------------------------------ */

typedef enum ehlo_state {
    EHLO_STATE_QUEUED = 0, /* to be tried, or tried again */
    EHLO_STATE_DELIVERED,  /* the next hop answers for it */
    EHLO_STATE_FAILED,     /* refused, or without a route */
    EHLO_STATE_EXPIRED     /* deferred until it was too old */
} ehlo_state;

/* "queued" "delivered" "failed" "expired"; static storage. */
EHLO_API ehlo_str ehlo_state_name(ehlo_state state);

/* Octets of a reply that are kept, cleaned; and of the name of the host that gave it. */
#define EHLO_REPLY_KEPT 255

/* One recipient of a batch. The first half of rcpt, and number, are the store's to fill in; what was recorded of it before,
 * too. The delivery writes the rest. */
typedef struct ehlo_batch_rcpt {
    ehlo_recipient rcpt; /* first: what the transaction sees, and the outcome of the last attempt */
    uint32_t number;     /* the store's own name for it: the delivery changes the order */
    uint8_t state;       /* ehlo_state */
    uint8_t uncertain;   /* 1: an attempt ended UNCERTAIN: it may have arrived */
    uint8_t action;      /* ehlo_action: the report that is due on it now */
    uint8_t text_len;    /* the last reply, or why there was none */
    uint8_t host_len;    /* the host that was spoken to, or tried last */
    char text[EHLO_REPLY_KEPT];
    char host[EHLO_REPLY_KEPT];
} ehlo_batch_rcpt;

/* One message for one destination, as a store hands it out. All of it is the store's, and stays as it is (but for what
 * the delivery writes) until the batch is recorded or released. */
typedef struct ehlo_batch {
    uint64_t id;            /* the store's name for it; unique in the store, never reused */
    uint64_t fence;         /* which claim this is: it rises with each */
    int64_t lease_until;    /* Unix ms: till then nobody else is given this batch */
    ehlo_str message;       /* the message's name, for logs: printable ASCII without spaces */
    ehlo_str destination;   /* as ehlo_destination_write wrote it */
    ehlo_str hello;         /* the name in the hello of the client that it came from; may be empty */
    int64_t arrived;        /* Unix ms */
    uint32_t attempt;       /* attempts before this one */
    uint8_t warned;         /* 1: the sender was told of the delay */
    ehlo_envelope envelope; /* without recipients and content */
    ehlo_batch_rcpt *rcpts; /* those that are QUEUED, no others */
    size_t nrcpts;          /* at least one */
} ehlo_batch;

/* What an attempt led to, beside what is written to the recipients. */
typedef struct ehlo_progress {
    int64_t next_try;   /* Unix ms; EHLO_NEVER: no recipient is QUEUED any more */
    uint32_t attempt;   /* attempts so far: as it was, or one more */
    uint8_t warned;     /* as it was, or 1 */
    uint8_t reports[8]; /* by ehlo_action: 1: some recipient has this action: one report on them is due */
} ehlo_progress;

/* -- delivery --------------------------------------------------------------------------------------- */

typedef struct ehlo_delivery ehlo_delivery;

typedef enum ehlo_task_kind {
    EHLO_TASK_MX = 1,    /* look up the MX records of name */
    EHLO_TASK_ADDRESSES, /* look up the addresses of name */
    EHLO_TASK_CONNECT,   /* open a session with address; name is its host */
    EHLO_TASK_SEND,      /* one transaction for the first nrcpts of batch->rcpts */
    EHLO_TASK_RECORD     /* the attempt is over: conclude */
} ehlo_task_kind;

typedef struct ehlo_task {
    ehlo_task_kind kind;
    ehlo_str name;        /* lives until the next event */
    ehlo_address address; /* CONNECT: with its port */
    uint8_t smart;        /* 1: it goes to a smart host */
    uint8_t verified_tls; /* 1: inside verified TLS, or not at all (RFC 8689), whatever session it is */
    size_t nrcpts;        /* SEND */
} ehlo_task;

/* Octets of one delivery. */
EHLO_API size_t ehlo_delivery_size(void);

/* Begins an attempt in mem (aligned for anything). policy is copied (NULL: all defaults), what it points to is not; the
 * batch is borrowed: until conclude. seed: random, of the caller's. *d is mem. EHLO_ERR_ARG: the batch has no recipient,
 * or no destination; EHLO_ERR_SPACE. */
#define ehlo_delivery_init(d, mem, len, policy, batch, seed)                                                           \
    ehlo_delivery_init_sized((d), (mem), (len), (policy), sizeof(ehlo_relay_policy), (batch), (seed))
EHLO_API int ehlo_delivery_init_sized(ehlo_delivery **d, void *mem, size_t len, const ehlo_relay_policy *policy,
                                      size_t policy_size, ehlo_batch *batch, uint64_t seed);

/* What is to be done now. It lives until the next event. */
EHLO_API const ehlo_task *ehlo_delivery_task(const ehlo_delivery *d);

/* Events. Each is EHLO_ERR_STATE unless it fits the task. */

/* The answer to the question for MX; NULL: nobody could tell. It is read up. */
EHLO_API int ehlo_delivery_mx(ehlo_delivery *d, ehlo_dns_answer *answer);
/* As ehlo_on_addresses has them: both families, interleaved. */
EHLO_API int ehlo_delivery_addresses(ehlo_delivery *d, ehlo_dns_status status, const ehlo_address *addresses, size_t n);
/* A session is open. host empty: the one that CONNECT asked for. Else it is one that was open still, to that host, from an
 * earlier batch of the same destination: MX, ADDRESSES and CONNECT may be answered so, once in a delivery. Should that one
 * be lost before the message was sent, the task is as it was before. host: at most 255 octets. */
EHLO_API int ehlo_delivery_connected(ehlo_delivery *d, ehlo_str host);
/* None could be opened: stage and outcome as ehlo_failure has them; reply: what was said, with its text, or 0 and a
 * text of our own. May be NULL. EHLO_ERR_ARG: an outcome but NOT_SENT, DEFERRED, REJECTED. */
EHLO_API int ehlo_delivery_failed(ehlo_delivery *d, ehlo_stage stage, ehlo_outcome outcome, const ehlo_reply *reply);
/* A reply that gives recipient `index` its outcome has come (on_rcpt of the transaction): its text is kept. NULL: there is
 * none. */
EHLO_API int ehlo_delivery_reply(ehlo_delivery *d, size_t index, const ehlo_reply *reply);
/* The transaction has ended: each of its recipients has an outcome. relayed: 1 if DSN was offered, and so the next hop
 * reports success (RFC 3461 5.2.1); 0: we report that it was relayed to where nobody will (5.2.2). */
EHLO_API int ehlo_delivery_sent(ehlo_delivery *d, int reports);
/* Whatever is under way is given up, as if the connection were lost. EHLO_ERR_STATE during SEND: cancel the transaction, and
 * say what came of it. */
EHLO_API int ehlo_delivery_stop(ehlo_delivery *d);

/* The attempt is over, at this time: settles the state of every recipient, what is to be reported, and when to go on.
 * EHLO_ERR_STATE unless the task is RECORD. */
EHLO_API int ehlo_delivery_conclude(ehlo_delivery *d, int64_t now, ehlo_progress *progress);

#ifdef __cplusplus
}
#endif
#endif
