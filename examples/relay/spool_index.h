/* spool_index.h - what is in memory of the messages that are queued: when each is due, and where it goes. The rest is read
 * from its file when it is. Nothing here locks. */
#ifndef SPOOL_INDEX_H
#define SPOOL_INDEX_H

#include "heap.h"

#include <ehlo/net.h>

struct lease;

/* A destination: one for all messages that go there. */
struct target {
    struct node node;  /* among the targets that have something due */
    struct heap ready; /* its parts that are due */
    struct target *next;
    uint32_t hash;
    uint32_t users;  /* parts */
    uint32_t nready; /* of them */
    uint32_t mark;   /* 0 but while somebody is at work with all of them */
    size_t room;     /* while batches are claimed */
    uint64_t claim;  /* which claim that was */
    uint8_t len;
    char name[];
};

enum part_state { PART_OUT, PART_READY, PART_WAITING }; /* OUT: claimed, or not queued yet */

/* The recipients of a message that share a target. */
struct part {
    struct node node;      /* key: since when it is due, or will be */
    struct target *target; /* NULL: nothing is left to do */
    struct message *message;
    struct lease *lease; /* or NULL */
    uint8_t state;       /* part_state */
};

struct message {
    uint64_t id;
    uint64_t end;         /* of its file */
    struct lease *writer; /* whose record is being written, and those behind it */
    uint32_t users;       /* those at work with it */
    uint32_t open;        /* parts with something left to do */
    uint32_t nparts;
    uint8_t in_tmp; /* 1: its file is in tmp/ still */
    struct part parts[];
};

struct index {
    struct target **buckets;
    size_t nbuckets;
    size_t ntargets;
    struct heap targets; /* that have something due, by the part that is the longest */
    struct heap waiting; /* parts that are not due */
};

int index_init(struct index *x);
/* Of nothing but what was taken out. */
void index_end(struct index *x);

/* NULL if there is none. */
struct target *index_find(const struct index *x, ehlo_str name);
/* The target of this name, with one user more; NULL: no memory. */
struct target *index_intern(struct index *x, ehlo_str name);
void index_forget(struct index *x, struct target *target);

/* A part comes in: due since then; or to wait till then. */
void index_ready(struct index *x, struct part *part, int64_t since);
void index_wait(struct index *x, struct part *part, int64_t until);
/* And goes out, wherever it is. */
void index_take(struct index *x, struct part *part);

/* The next part that waits and whose time has come; it waits no more. NULL: there is none. */
struct part *index_come(struct index *x, int64_t now);
/* When the next one's time comes. */
int64_t index_next(const struct index *x);

/* The longest due part of the target that has the longest due one; NULL: nothing is due. */
struct part *index_first(const struct index *x);
/* Leaves a target out, with all that is due there; and takes it back. */
void index_hide(struct index *x, struct target *target);
void index_show(struct index *x, struct target *target);

/* Calls each for every target there is. */
void index_targets(struct index *x, void (*each)(struct target *target, void *arg), void *arg);
/* Calls each for every part that waits: it waits until what is returned; INT64_MIN: it is due. */
void index_walk(struct index *x, int64_t (*each)(const struct part *part, void *arg), void *arg);
/* Takes any part that waits or is due; NULL: there are none. */
struct part *index_any(struct index *x);

#endif
