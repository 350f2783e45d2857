/* spool.h - a queue in a directory: the store of a relay, for one process on one machine.
 *
 *     DIR/lock        held by the process that has the spool open
 *     DIR/generation  how often it was opened: the front half of every id
 *     DIR/queue/ID    one message: envelope, octets, then a record for each attempt; all of it under checksums
 *     DIR/tmp/        messages that are not accepted yet; swept at the start
 *     DIR/corrupt/    what did not hold its checksums, for people to look at; never delivered
 *     DIR/flush/      requests of `relay --flush`
 *
 * What was answered with EHLO_OK survives a power cut: a file is synced, renamed, and its folder synced, before. */
#ifndef SPOOL_H
#define SPOOL_H

#include <ehlo/net.h>

#include <sys/types.h>

struct spool;

/* Zero members mean the default. Copied. */
struct spool_settings {
    ehlo_schedule schedule; /* what is read at the start is never tried later than this allows */
    int64_t now;            /* Unix ms. Required */
    unsigned threads;       /* that read, write and sync; 4; at least 2 */
    unsigned group_min;     /* from so many on, what waits to be synced is synced by one call for all; 2 */
    /* A line on what nobody is answered for: a damaged message, a file that cannot be removed. From any thread. */
    void (*on_problem)(const char *text, void *ctx);
    void *ctx;
};

enum { SPOOL_WHY_MAX = 320 };

/* Opens the spool in dir, which is made if its parent is there, and reads what it holds. 0, or an errno, and why (its
 * first octet is NUL otherwise): EBUSY if another process has it. */
int spool_open(struct spool **spool, const char *dir, const struct spool_settings *settings, char why[SPOOL_WHY_MAX]);

/* Waits for what is under way: every EHLO_LATER is answered by then. What was claimed, or not yet committed, is as after
 * a power cut. The relay is freed before, the loop after. */
void spool_close(struct spool *spool);

/* The functions of the store; their ctx is the struct spool. They may be called from several threads. Leases do not end by
 * themselves, whatever the clock says: nobody else has the spool, so what was claimed is at work until it is released. */
extern const ehlo_store spool_store;

/* Messages that are queued. */
size_t spool_count(struct spool *spool);

/* -- for other processes, while a relay runs or not --------------------------------------------------- */

/* A recipient as it was last recorded. */
struct spool_recipient {
    ehlo_str to;
    ehlo_str destination;
    uint8_t state;     /* ehlo_state */
    uint8_t uncertain; /* 1: it may have arrived */
    uint32_t attempt;  /* attempts so far, of its batch */
    int64_t next_try;  /* Unix ms; EHLO_NEVER if it is not QUEUED */
    uint16_t code;     /* the last reply; 0: there was none, and text says why */
    uint16_t enhanced[3];
    ehlo_str text; /* printable; may be empty */
    ehlo_str host; /* that was spoken to; may be empty */
};

/* A message. Everything lives for the call. */
struct spool_entry {
    ehlo_str id;
    int64_t arrived; /* Unix ms */
    uint64_t size;   /* octets of the message */
    ehlo_str from;   /* reverse-path; empty: the null path */
    const struct spool_recipient *rcpts;
    size_t nrcpts;
};

/* Calls each(entry, arg) for every message that is queued, in the order of their arrival. It takes no lock: what comes and
 * goes meanwhile may be told or not, and what is damaged is passed over. 0, or an errno; ENOENT: there is no spool. */
int spool_list(const char *dir, void (*each)(const struct spool_entry *entry, void *arg), void *arg);

/* The process that has the spool in dir open; 0: none, or it cannot be told. Not from that process itself: a lock of fcntl goes
 * with any descriptor of the file. */
pid_t spool_holder(const char *dir);

/* Asks the relay that has the spool, or will have it, to try a destination now: "example.org", or "@example.org" for it
 * and what is below. 0, or an errno; EINVAL: that is no destination. */
int spool_flush_request(const char *dir, ehlo_str destination);

/* 1 while a request for this destination waits to be taken. */
int spool_flush_waits(const char *dir, ehlo_str destination);

/* Calls each(option, node, arg) for every request that was left, as the store's hurry wants them; they are gone then. */
void spool_flush_take(struct spool *spool, void (*each)(char option, ehlo_str node, void *arg), void *arg);

#endif
