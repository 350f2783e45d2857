#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_private.h"
#include "checksum.h"
#include "spool_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HELD_MAX = 256 * 1024 }; /* a shorter message is written when it is whole */

static struct incoming *incoming_of(struct work *w)
{
    return (struct incoming *)w;
}

/* -- create ----------------------------------------------------------------------------------------- */

/* A line of the header holds any text, but no control characters. What goes beyond an envelope is not kept. */
static int check_envelope(const ehlo_queued *queued)
{
    const ehlo_envelope *e = queued->envelope;
    int fine = field_allowed(queued->hello) && field_allowed(e->from) && field_allowed(e->envid) &&
               field_allowed(e->auth) && field_allowed(e->params) && e->nrcpts > 0 &&
               e->nrcpts <= SPOOL_RECIPIENTS_MAX && e->flags <= UINT16_MAX && e->body <= EHLO_BODY_BINARYMIME &&
               e->ret <= EHLO_RET_HDRS;
    for (size_t i = 0; i < e->nrcpts && fine; i++) {
        const ehlo_recipient *rcpt = &e->rcpts[i];
        ehlo_str destination = queued->destinations[i];
        fine = rcpt->to.len > 0 && field_allowed(rcpt->to) && field_allowed(rcpt->orcpt_type) &&
               field_allowed(rcpt->orcpt) && field_allowed(rcpt->params) && rcpt->notify <= 15 && destination.len > 0 &&
               destination.len <= 255 && field_allowed(destination);
    }
    if (!fine) return EHLO_ERR_ARG;
    return e->more == NULL ? EHLO_OK : EHLO_ERR_UNSUPPORTED;
}

/* The target of every recipient, and its number among them, as they come. */
static int intern_targets(struct spool *s, const ehlo_queued *queued, struct target **targets, uint32_t *parts,
                          uint32_t *nparts)
{
    size_t n = 0;
    *nparts = 0;
    for (; n < queued->envelope->nrcpts; n++) {
        targets[n] = index_intern(&s->index, queued->destinations[n]);
        if (targets[n] == NULL) break;
        if (targets[n]->mark == 0) targets[n]->mark = ++*nparts;
        parts[n] = targets[n]->mark - 1;
    }
    for (size_t i = 0; i < n; i++) targets[i]->mark = 0;
    if (n == queued->envelope->nrcpts) return EHLO_OK;
    while (n > 0) index_forget(&s->index, targets[--n]);
    return EHLO_ERR_SYSTEM;
}

/* Every recipient brought a use of its target; a part needs one. */
static struct message *make_message(struct spool *s, struct target **targets, const uint32_t *parts, size_t nrcpts,
                                    uint32_t nparts)
{
    struct message *m = spool_message_new(s->next_id, nparts);
    s->next_id += nparts;
    for (size_t i = 0; i < nrcpts; i++) {
        if (m != NULL && m->parts[parts[i]].target == NULL) {
            m->parts[parts[i]].target = targets[i];
        } else {
            index_forget(&s->index, targets[i]);
        }
    }
    return m;
}

static void link_incoming(struct spool *s, struct incoming *in)
{
    in->next = s->incoming;
    if (in->next != NULL) in->next->prev = in;
    s->incoming = in;
}

/* Finds the targets, and writes the header. */
static int begin(struct spool *s, struct incoming *in, const ehlo_queued *queued, struct target **targets,
                 uint32_t *parts)
{
    uint32_t nparts = 0;
    pthread_mutex_lock(&s->lock);
    int result = intern_targets(s, queued, targets, parts, &nparts);
    if (result == EHLO_OK) {
        in->message = make_message(s, targets, parts, queued->envelope->nrcpts, nparts);
        if (in->message == NULL) result = EHLO_ERR_SYSTEM;
    }
    if (result == EHLO_OK) link_incoming(s, in);
    pthread_mutex_unlock(&s->lock);
    if (result != EHLO_OK) return result;
    spool_name(in->name, in->message->id);
    spool_header_write(&in->header, in->message->id, queued, parts, nparts);
    return in->header.failed || in->header.len > SPOOL_HEADER_MAX ? EHLO_ERR_SYSTEM : EHLO_OK;
}

int spool_create(void *ctx, const ehlo_queued *queued, void **message, ehlo_str *name, ehlo_pending *pending)
{
    struct spool *s = ctx;
    int result = check_envelope(queued);
    if (result != EHLO_OK) return result;
    (void)pending;
    struct incoming *in = calloc(1, sizeof *in);
    struct target **targets = calloc(queued->envelope->nrcpts, sizeof(struct target *));
    uint32_t *parts = calloc(queued->envelope->nrcpts, sizeof *parts);
    if (in == NULL || targets == NULL || parts == NULL) {
        free(in);
        in = NULL;
        result = EHLO_ERR_SYSTEM;
    } else {
        in->work.spool = s;
        in->fd = -1;
        in->arrived = queued->arrived;
        result = begin(s, in, queued, targets, parts);
    }
    free(targets);
    free(parts);
    if (result == EHLO_OK) {
        *message = in;
        *name = ehlo_str_make(in->name, SPOOL_NAME_SIZE - 1);
    } else if (in != NULL) {
        spool_incoming_free(in);
    }
    return result;
}

/* Its message lives on if it is queued. */
void spool_incoming_free(struct incoming *in)
{
    struct spool *s = in->work.spool;
    if (in->fd >= 0) close(in->fd);
    pthread_mutex_lock(&s->lock);
    if (in->message != NULL) {
        if (in->next != NULL) in->next->prev = in->prev;
        if (in->prev != NULL) in->prev->next = in->next;
        if (s->incoming == in) s->incoming = in->next;
        spool_message_unuse(s, in->message);
    }
    pthread_mutex_unlock(&s->lock);
    free(in->header.bytes);
    free(in->held.bytes);
    free(in);
}

/* -- the file in tmp/ ------------------------------------------------------------------------------- */

static int open_file(struct incoming *in)
{
    if (in->fd >= 0) return 0;
    in->fd = openat(in->work.spool->tmp, in->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return in->fd < 0 ? errno : 0;
}

/* What is held goes behind what was written. The header has its place in front; it is written last. */
static int write_held(struct incoming *in)
{
    int error = in->error != 0 ? in->error : open_file(in);
    if (error == 0) error = spool_write_at(in->fd, in->held.bytes, in->held.len, in->header.len + in->written);
    in->error = error;
    if (error == 0) {
        in->written += in->held.len;
        in->held.len = 0;
    }
    return error;
}

/* An error that a file of its own can mend: all octets are here still. */
static void start_over(struct incoming *in)
{
    if (in->fd >= 0) {
        close(in->fd);
        unlinkat(in->work.spool->tmp, in->name, 0);
    }
    in->fd = -1;
    in->error = 0;
}

int spool_incoming_write(struct incoming *in)
{
    if (in->error != 0 && in->written == 0) start_over(in);
    if (in->error != 0) return in->error;
    uint64_t written = in->written;
    spool_header_finish(&in->header, written + in->held.len, in->sum);
    int error = open_file(in);
    if (error == 0) error = spool_write_at(in->fd, in->header.bytes, in->header.len, 0);
    if (error == 0) error = spool_write_at(in->fd, in->held.bytes, in->held.len, in->header.len + written);
    in->error = error;
    in->message->end = in->header.len + written + in->held.len;
    return error;
}

/* -- append ----------------------------------------------------------------------------------------- */

static void run_append(struct job *job)
{
    struct incoming *in = (struct incoming *)job;
    spool_answer(in->work.pending, write_held(in));
}

int spool_append(void *ctx, void *message, const char *bytes, size_t len, size_t *taken, ehlo_pending *pending)
{
    struct incoming *in = message;
    (void)ctx;
    size_t room = HELD_MAX - in->held.len;
    *taken = 0;
    if (in->error != 0) return spool_result(in->error);
    size_t n = len < room ? len : room;
    text_add(&in->held, bytes, n);
    if (in->held.failed) return EHLO_ERR_SYSTEM;
    in->sum = checksum(in->sum, bytes, n);
    *taken = n;
    if (in->held.len < HELD_MAX) return EHLO_OK;
    in->work.pending = pending;
    spool_submit(&in->work, run_append);
    return EHLO_LATER;
}

/* -- commit ----------------------------------------------------------------------------------------- */

/* Nobody hears of a file that remains: it is swept at the next start. */
static void remove_file(struct incoming *in, int folder)
{
    unlinkat(folder, in->name, 0);
}

static void end_commit(struct incoming *in, int error)
{
    ehlo_pending *pending = in->work.pending;
    spool_incoming_free(in);
    spool_answer(pending, error);
}

/* Its name is on disk: it is queued. */
static void named(struct work *w, int error)
{
    struct incoming *in = incoming_of(w);
    struct spool *s = w->spool;
    if (error != 0) {
        remove_file(in, s->queue);
    } else {
        pthread_mutex_lock(&s->lock);
        spool_message_queue(s, in->message, in->arrived);
        pthread_mutex_unlock(&s->lock);
    }
    end_commit(in, error);
}

/* Its octets are. */
static void written(struct work *w, int error)
{
    struct incoming *in = incoming_of(w);
    struct spool *s = w->spool;
    if (error == 0 && renameat(s->tmp, in->name, s->queue, in->name) != 0) error = errno;
    if (error == 0) {
        w->folders = FOLDER_QUEUE;
        spool_sync(w, named);
        return;
    }
    remove_file(in, s->tmp);
    end_commit(in, error);
}

static void run_commit(struct job *job)
{
    struct incoming *in = (struct incoming *)job;
    struct work *w = &in->work;
    int error = spool_incoming_write(in);
    if (error != 0) {
        if (in->fd >= 0) remove_file(in, w->spool->tmp);
        end_commit(in, error);
        return;
    }
    w->fds[w->nfds++] = in->fd;
    spool_sync(w, written);
}

int spool_commit(void *ctx, void *message, ehlo_pending *pending)
{
    struct incoming *in = message;
    (void)ctx;
    in->work.pending = pending;
    spool_submit(&in->work, run_commit);
    return EHLO_LATER;
}

/* -- discard ---------------------------------------------------------------------------------------- */

static void run_discard(struct job *job)
{
    struct incoming *in = (struct incoming *)job;
    if (in->fd >= 0 && !in->named) remove_file(in, in->work.spool->tmp);
    spool_incoming_free(in);
}

/* A long file takes its time to vanish. */
void spool_discard(void *ctx, void *message)
{
    struct incoming *in = message;
    (void)ctx;
    if (in->fd < 0) {
        run_discard(&in->work.job);
    } else {
        spool_submit(&in->work, run_discard);
    }
}
