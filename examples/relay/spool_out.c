#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_private.h"
#include "checksum.h"
#include "spool_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PIECE = 128 * 1024,     /* of a body that is read by pieces */
    UNREADABLE_MS = 60000,  /* a file that cannot be read is tried again after this, */
    WANT_MS = 1000,         /* and after this where descriptors or memory are wanting */
    CLOCK_BACK_MS = 3600000 /* the clock was put back by more than this: what waits is looked through */
};

/* -- leases ----------------------------------------------------------------------------------------- */

struct lease *spool_lease(ehlo_batch *batch)
{
    return (struct lease *)(void *)((char *)batch - offsetof(struct lease, batch));
}

/* With the lock held. NULL: no memory. */
static struct lease *lease_part(struct spool *s, struct part *part, int64_t until)
{
    struct lease *l = calloc(1, sizeof *l);
    if (l == NULL) return NULL;
    l->work.spool = s;
    l->fd = -1;
    l->due = part->node.key;
    l->end = part->message->end;
    l->part = part;
    l->message = part->message;
    l->message->users++;
    l->batch.id = part->message->id + (uint64_t)(part - part->message->parts);
    l->batch.fence = ++s->fence;
    l->batch.lease_until = until;
    l->next = s->leases;
    if (l->next != NULL) l->next->prev = l;
    s->leases = l;
    index_take(&s->index, part);
    part->lease = l;
    return l;
}

/* With the lock held. What was not recorded is due as it was. */
void spool_lease_free(struct lease *l)
{
    struct spool *s = l->work.spool;
    if (l->part != NULL) {
        l->part->lease = NULL;
        index_ready(&s->index, l->part, l->due);
    }
    if (l->next != NULL) l->next->prev = l->prev;
    if (l->prev != NULL) l->prev->next = l->next;
    if (s->leases == l) s->leases = l->next;
    spool_message_unuse(s, l->message);
    if (l->fd >= 0) close(l->fd);
    spool_file_free(&l->file);
    free(l->record.bytes);
    free(l->before);
    free(l->piece);
    free(l);
}

/* -- claim: which ----------------------------------------------------------------------------------- */

/* The time of what waits, by a clock that was put back. */
static int64_t sane_time(const struct part *part, void *arg)
{
    const struct spool *s = arg;
    return ehlo_schedule_sane(&s->settings.schedule, part->node.key, s->now);
}

static void come_due(struct spool *s, int64_t now)
{
    int back = now < s->now - CLOCK_BACK_MS;
    s->now = now;
    if (back) index_walk(&s->index, sane_time, s);
    for (struct part *part = index_come(&s->index, now); part != NULL; part = index_come(&s->index, now)) {
        index_ready(&s->index, part, part->node.key);
    }
}

static void note_rooms(struct spool *s, const ehlo_claim *claim)
{
    s->claims++;
    for (size_t i = 0; i < claim->nrooms; i++) {
        struct target *target = index_find(&s->index, claim->rooms[i].destination);
        if (target == NULL) continue;
        target->claim = s->claims;
        target->room = claim->rooms[i].room;
    }
}

static size_t room_of(struct spool *s, struct target *target, const ehlo_claim *claim)
{
    if (target->claim != s->claims) {
        target->claim = s->claims;
        target->room = claim->destination_max;
    }
    return target->room;
}

/* Targets without room are put aside meanwhile. */
static size_t choose(struct spool *s, ehlo_claim *claim, struct lease **leases)
{
    struct node *full = NULL;
    size_t n = 0;
    note_rooms(s, claim);
    while (n < claim->max) {
        struct part *part = index_first(&s->index);
        if (part == NULL) break;
        struct target *target = part->target;
        if (room_of(s, target, claim) == 0) {
            index_hide(&s->index, target);
            target->node.next = full;
            full = &target->node;
            continue;
        }
        leases[n] = lease_part(s, part, claim->lease_until);
        if (leases[n] == NULL) break;
        target->room--;
        n++;
    }
    while (full != NULL) {
        struct target *target = (struct target *)full;
        full = full->next;
        index_show(&s->index, target);
    }
    return n;
}

/* -- claim: what is in the file --------------------------------------------------------------------- */

struct claim_work {
    struct work work;
    ehlo_claim *claim;
    size_t n;
    struct lease *leases[];
};

/* What the transaction is not to be given again goes behind the rest, and is forgotten. */
static void keep_queued(struct lease *l)
{
    ehlo_batch *b = &l->batch;
    for (uint32_t i = 0; i < l->file.nrcpts; i++) {
        ehlo_batch_rcpt *rcpt = &l->file.rcpts[i];
        if (rcpt->state != EHLO_STATE_QUEUED) continue;
        if (rcpt != &b->rcpts[b->nrcpts]) b->rcpts[b->nrcpts] = *rcpt;
        b->nrcpts++;
    }
}

/* Without memory for it, everything is told again. */
static void note_before(struct lease *l, uint32_t first)
{
    l->first = first;
    l->before = malloc(l->file.nrcpts * sizeof *l->before);
    for (uint32_t i = 0; i < l->file.nrcpts && l->before != NULL; i++) {
        l->before[i] = spool_result_sum(&l->file.rcpts[i]);
    }
}

static void fill_batch(struct lease *l, const char *name)
{
    ehlo_batch *b = &l->batch;
    const struct spool_file *f = &l->file;
    const struct spool_part *part = &f->parts[b->id - f->id];
    snprintf(l->name, sizeof l->name, "%s", name);
    b->message = ehlo_str_make(l->name, SPOOL_NAME_SIZE - 1);
    b->destination = part->destination;
    b->hello = f->hello;
    b->arrived = f->arrived;
    b->attempt = part->attempt;
    b->warned = part->warned;
    b->envelope = f->envelope;
    b->rcpts = f->rcpts;
    note_before(l, part->first);
    keep_queued(l);
}

/* 0, EBADMSG, or an errno. */
static int read_lease(struct lease *l)
{
    struct spool *s = l->work.spool;
    char name[SPOOL_NAME_SIZE];
    spool_name(name, l->message->id);
    int fd = openat(l->message->in_tmp ? s->tmp : s->queue, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = spool_file_read(&l->file, fd, (uint32_t)(l->batch.id - l->message->id), l->end);
    if (error == 0 && l->file.id != l->message->id) error = EBADMSG;
    if (error == 0 && l->file.body == NULL) {
        l->fd = fd;
        l->piece = malloc(PIECE);
        if (l->piece == NULL) error = ENOMEM;
    } else {
        close(fd);
    }
    if (error == 0) fill_batch(l, name);
    return error == 0 && l->batch.nrcpts == 0 ? EBADMSG : error;
}

/* Nothing is wrong with the file. */
static int is_want(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/* This one cannot be handed out. */
static void give_up(struct lease *l, int error)
{
    struct spool *s = l->work.spool;
    if (error == EBADMSG || error == ENOENT) {
        spool_lose_message(s, l->message, error);
    } else {
        spool_problem(s, "%016llx: %s", (unsigned long long)l->message->id, strerror(error));
    }
    pthread_mutex_lock(&s->lock);
    if (l->part != NULL) {
        l->part->lease = NULL;
        index_wait(&s->index, l->part, s->now + (is_want(error) ? WANT_MS : UNREADABLE_MS));
        l->part = NULL;
    }
    spool_lease_free(l);
    pthread_mutex_unlock(&s->lock);
}

static void run_claim(struct job *job)
{
    struct claim_work *w = (struct claim_work *)job;
    ehlo_claim *claim = w->claim;
    ehlo_pending *pending = w->work.pending;
    for (size_t i = 0; i < w->n; i++) {
        struct lease *l = w->leases[i];
        int error = read_lease(l);
        if (error == 0) {
            claim->batches[claim->n++] = &l->batch;
        } else {
            give_up(l, error);
        }
    }
    free(w);
    spool_answer(pending, 0);
}

int spool_claim(void *ctx, ehlo_claim *claim, ehlo_pending *pending)
{
    struct spool *s = ctx;
    struct claim_work *w = calloc(1, sizeof *w + claim->max * sizeof w->leases[0]);
    claim->n = 0;
    if (w == NULL) return EHLO_ERR_SYSTEM;
    w->work.spool = s;
    w->work.pending = pending;
    w->claim = claim;
    pthread_mutex_lock(&s->lock);
    come_due(s, claim->now);
    w->n = choose(s, claim, w->leases);
    claim->next_due = index_next(&s->index);
    pthread_mutex_unlock(&s->lock);
    if (w->n > 0) {
        spool_submit(&w->work, run_claim);
        return EHLO_LATER;
    }
    free(w);
    return EHLO_OK;
}

/* -- renew, release, hurry -------------------------------------------------------------------------- */

int spool_renew(void *ctx, ehlo_batch *batch, int64_t until, ehlo_pending *pending)
{
    struct spool *s = ctx;
    struct lease *l = spool_lease(batch);
    (void)pending;
    pthread_mutex_lock(&s->lock);
    int result = l->part == NULL ? EHLO_ERR_STALE : EHLO_OK;
    if (result == EHLO_OK) batch->lease_until = until;
    pthread_mutex_unlock(&s->lock);
    return result;
}

void spool_release(void *ctx, ehlo_batch *batch)
{
    struct spool *s = ctx;
    struct lease *l = spool_lease(batch);
    pthread_mutex_lock(&s->lock);
    spool_lease_free(l);
    pthread_mutex_unlock(&s->lock);
}

struct hurry {
    char option;
    ehlo_str node;
    size_t targets;
    size_t n;
};

static void mark_meant(struct target *target, void *arg)
{
    struct hurry *h = arg;
    target->mark = ehlo_destination_matches(ehlo_str_make(target->name, target->len), h->option, h->node) != 0;
    if (!target->mark) return;
    h->targets++;
    h->n += target->nready;
}

static void clear_mark(struct target *target, void *arg)
{
    (void)arg;
    target->mark = 0;
}

static int64_t hurry_part(const struct part *part, void *arg)
{
    struct hurry *h = arg;
    if (!part->target->mark) return part->node.key;
    h->n++;
    return INT64_MIN;
}

int spool_hurry(void *ctx, char option, ehlo_str node, size_t *n, ehlo_pending *pending)
{
    struct spool *s = ctx;
    struct hurry h = { .option = option, .node = node };
    (void)pending;
    pthread_mutex_lock(&s->lock);
    index_targets(&s->index, mark_meant, &h);
    if (h.targets > 0) {
        index_walk(&s->index, hurry_part, &h);
        index_targets(&s->index, clear_mark, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    *n = h.n;
    return EHLO_OK;
}

/* -- body ------------------------------------------------------------------------------------------- */

/* The piece behind the one at hand; from the beginning if there was none, or it is to be read anew. */
static int read_piece(struct lease *l, int anew)
{
    uint64_t at = anew ? 0 : l->piece_at + l->piece_len;
    uint64_t left = l->file.body_len - at;
    size_t len = left < PIECE ? (size_t)left : PIECE;
    size_t got = len;
    uint32_t sum = anew ? 0 : l->sum;
    int error = spool_read_at(l->fd, l->piece, &got, l->file.body_at + at);
    if (error == 0 && got < len) error = EBADMSG;
    l->piece_at = at;
    l->piece_len = 0; /* nothing, unless all is well */
    l->sum = sum;
    if (error != 0) return error;
    sum = checksum(sum, l->piece, len);
    if (len == left && sum != l->file.body_sum) return EBADMSG;
    l->piece_len = len;
    l->sum = sum;
    return 0;
}

static void run_body(struct job *job)
{
    struct lease *l = (struct lease *)job;
    int error = read_piece(l, l->offset < l->piece_at + l->piece_len);
    while (error == 0 && l->offset >= l->piece_at + l->piece_len && l->piece_at + l->piece_len < l->file.body_len) {
        error = read_piece(l, 0);
    }
    if (error == 0) {
        size_t skip = (size_t)(l->offset - l->piece_at);
        *l->out = ehlo_str_make(l->piece + skip, l->piece_len - skip);
        *l->last = l->piece_at + l->piece_len == l->file.body_len;
    }
    if (error == EBADMSG) spool_lose_message(l->work.spool, l->message, error);
    spool_answer(l->work.pending, error);
}

static int give_piece(const struct lease *l, uint64_t skip, const char *bytes, uint64_t len, uint64_t end,
                      ehlo_str *piece, int *last)
{
    *piece = ehlo_str_make(bytes + skip, (size_t)(len - skip));
    *last = end == l->file.body_len;
    return EHLO_OK;
}

int spool_body(void *ctx, ehlo_batch *batch, uint64_t offset, ehlo_str *piece, int *last, ehlo_pending *pending)
{
    struct lease *l = spool_lease(batch);
    uint64_t end = l->piece_at + l->piece_len;
    (void)ctx;
    if (offset > l->file.body_len) return EHLO_ERR_ARG;
    if (l->file.body != NULL)
        return give_piece(l, offset, l->file.body, l->file.body_len, l->file.body_len, piece, last);
    int at_hand = offset >= l->piece_at && (offset < end || (offset == end && end == l->file.body_len));
    if (at_hand) return give_piece(l, offset - l->piece_at, l->piece, l->piece_len, end, piece, last);
    l->offset = offset;
    l->out = piece;
    l->last = last;
    l->work.pending = pending;
    spool_submit(&l->work, run_body);
    return EHLO_LATER;
}
