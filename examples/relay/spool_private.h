/* spool_private.h - what the files of the spool share. Whatever waits for the disk is a work: a worker does its first step,
 * then it joins the group of those that are to be synced, and goes on behind that, until it is answered. */
#ifndef SPOOL_PRIVATE_H
#define SPOOL_PRIVATE_H

#include "spool.h"
#include "spool_file.h"
#include "spool_index.h"
#include "workers.h"

#include <pthread.h>

enum { WORK_FDS = 8 };

/* Folders to be synced. */
enum { FOLDER_QUEUE = 1, FOLDER_TMP = 2 };

struct work {
    struct job job; /* first */
    struct spool *spool;
    ehlo_pending *pending; /* NULL: nobody waits for it */
    struct work *next;     /* in the group */
    void (*then)(struct work *w, int error);
    unsigned folders;
    size_t nfds;
    int fds[WORK_FDS]; /* files to be synced */
};

/* What waits to be synced. Who comes while nobody does it, does it for all, until nothing is left. */
struct group {
    pthread_mutex_t lock;
    struct work *first;
    struct work **end;
    int busy;
    int together;        /* 1: the system can sync all of a file system, and tells of errors */
    int64_t apart_until; /* ms of a clock that does not go back: that took too long */
};

/* A message that is not accepted yet. */
struct incoming {
    struct work work; /* first */
    struct incoming *prev;
    struct incoming *next;
    struct message *message;
    char name[SPOOL_NAME_SIZE];
    int64_t arrived;
    struct text header;
    struct text held; /* octets that are not in the file */
    int fd;           /* of the file in tmp/; -1: there is none */
    uint64_t written; /* octets of the message in the file */
    uint32_t sum;
    int error;      /* an errno: the file is not to be trusted any more */
    uint8_t synced; /* 1: all of it is on disk, in tmp/ */
    uint8_t named;  /* 1: a record that failed names it, and may be on disk: the file stays, for the next start */
};

/* A batch that was claimed. */
struct lease {
    struct work work; /* first */
    ehlo_batch batch;
    struct lease *prev;
    struct lease *next;
    struct part *part; /* NULL: lost, or recorded */
    struct message *message;
    int64_t due;  /* what the part's key was */
    uint64_t end; /* of the file, when it was claimed */
    char name[SPOOL_NAME_SIZE];
    struct spool_file file;
    uint32_t first;    /* recipient of the part, */
    uint32_t *before;  /* and what was recorded of all, see spool_attempt */
    int fd;            /* of the file, where the body is read by pieces; -1 otherwise */
    char *piece;       /* what was read last, */
    uint64_t piece_at; /* from where, */
    size_t piece_len;  /* how much, */
    uint32_t sum;      /* and the checksum of all up to its end */
    uint64_t offset;   /* what `body` asks for, and where to put it */
    ehlo_str *out;
    int *last;
    const ehlo_progress *progress; /* what is to be recorded */
    struct incoming *reports[WORK_FDS];
    size_t nreports;
    struct text record;
    int record_fd;
    struct lease *next_writer; /* whose record is to be written behind this one */
};

struct spool {
    pthread_mutex_t lock; /* of all below, up to the settings */
    struct index index;
    struct incoming *incoming;
    struct lease *leases;
    uint64_t next_id;
    uint64_t fence;
    uint64_t claims;
    size_t count;
    int64_t now; /* of the last claim */

    struct spool_settings settings;
    struct group group;
    struct workers *workers;
    int lock_fd;
    int root;
    int queue;
    int tmp;
    int corrupt;
    int flush;
};

/* spool_sync.c */
int spool_group_init(struct spool *s);
void spool_group_end(struct spool *s);
/* A worker calls run(job). */
void spool_submit(struct work *w, void (*run)(struct job *job));
/* then(w, error) is called once all that w names is on disk, or cannot be brought there. */
void spool_sync(struct work *w, void (*then)(struct work *w, int error));
/* Its last step; w may be gone behind it. */
void spool_answer(ehlo_pending *pending, int error);
/* What the callers of the store are told of an errno. */
int spool_result(int error);
__attribute__((format(printf, 2, 3))) void spool_problem(const struct spool *s, const char *format, ...);

/* spool_message.c: what is in memory of a message; with the lock held */
struct message *spool_message_new(uint64_t id, uint32_t nparts);
/* All its parts are due. */
void spool_message_queue(struct spool *s, struct message *m, int64_t since);
/* Nothing is left to do for a part. */
void spool_part_close(struct spool *s, struct part *part);
void spool_message_unuse(struct spool *s, struct message *m);
/* Without the lock: its file is damaged (EBADMSG), or not there (ENOENT): it is a message no more. */
void spool_lose_message(struct spool *s, struct message *m, int error);

/* spool_in.c */
int spool_create(void *ctx, const ehlo_queued *queued, void **message, ehlo_str *name, ehlo_pending *pending);
int spool_append(void *ctx, void *message, const char *bytes, size_t len, size_t *taken, ehlo_pending *pending);
int spool_commit(void *ctx, void *message, ehlo_pending *pending);
void spool_discard(void *ctx, void *message);
/* Brings all of it into its file. Afterwards that is still to be synced, unless it was. */
int spool_incoming_write(struct incoming *in);
void spool_incoming_free(struct incoming *in);

/* spool_out.c */
int spool_claim(void *ctx, ehlo_claim *claim, ehlo_pending *pending);
int spool_renew(void *ctx, ehlo_batch *batch, int64_t until, ehlo_pending *pending);
void spool_release(void *ctx, ehlo_batch *batch);
int spool_body(void *ctx, ehlo_batch *batch, uint64_t offset, ehlo_str *piece, int *last, ehlo_pending *pending);
int spool_hurry(void *ctx, char option, ehlo_str node, size_t *n, ehlo_pending *pending);
struct lease *spool_lease(ehlo_batch *batch);
void spool_lease_free(struct lease *lease);

/* spool_record.c */
int spool_record(void *ctx, ehlo_batch *batch, const ehlo_progress *progress, void *const *reports, size_t nreports,
                 ehlo_pending *pending);

/* spool_start.c */
int spool_start(struct spool *s, const char **what);
/* Moves the file of a message to corrupt/. */
void spool_set_aside(struct spool *s, const char *name);

#endif
