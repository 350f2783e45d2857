#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_private.h"
#include "spool_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How an attempt is recorded. A message with nothing left to do, and nothing to report, is removed: that its name is gone
 * is the record. Otherwise
 *
 *     the reports are written to tmp/, and synced, with their names;
 *     the record, which names them, is appended to the message's file, and synced: this is the moment;
 *     the reports are renamed into queue/, which is synced, and tmp/ too: they must not come back from there once they
 *     were delivered;
 *     a message with nothing left to do is removed.
 *
 * A start completes what it finds behind the moment, and sweeps what is before it. */

static struct lease *lease_of(struct work *w)
{
    return (struct lease *)w;
}

static void run_record(struct job *job);

/* -- the end of it ---------------------------------------------------------------------------------- */

/* Records of one message are written one after the other. With the lock held. */
static void pass_on(struct lease *l)
{
    l->message->writer = l->next_writer;
    if (l->next_writer != NULL) spool_submit(&l->next_writer->work, run_record);
}

static int is_done(const struct lease *l)
{
    for (size_t i = 0; i < l->batch.nrcpts; i++) {
        if (l->batch.rcpts[i].state == EHLO_STATE_QUEUED) return 0;
    }
    return 1;
}

/* It is recorded: the lease has ended. */
static void settle_part(struct lease *l)
{
    struct spool *s = l->work.spool;
    struct part *part = l->part;
    if (part == NULL) return;
    if (is_done(l)) {
        spool_part_close(s, part);
    } else {
        index_wait(&s->index, part, l->progress->next_try);
        part->lease = NULL;
        l->part = NULL;
    }
}

static void end_record(struct lease *l, int error)
{
    struct spool *s = l->work.spool;
    ehlo_pending *pending = l->work.pending;
    pthread_mutex_lock(&s->lock);
    pass_on(l);
    if (error == 0) settle_part(l);
    pthread_mutex_unlock(&s->lock);
    free(l->record.bytes);
    memset(&l->record, 0, sizeof l->record);
    spool_answer(pending, error);
}

/* 1 if nothing will be left to do for the message. Nobody else records it meanwhile. */
static int is_last(struct lease *l)
{
    struct spool *s = l->work.spool;
    pthread_mutex_lock(&s->lock);
    int last = l->message->open == 1 && is_done(l);
    pthread_mutex_unlock(&s->lock);
    return last;
}

static int folder_of(const struct lease *l)
{
    return l->message->in_tmp ? l->work.spool->tmp : l->work.spool->queue;
}

/* -- by removing it --------------------------------------------------------------------------------- */

static void removed(struct work *w, int error)
{
    end_record(lease_of(w), error);
}

/* It was removed before, but its folder could not be synced. That a second sync finds nothing to do says nothing: there
 * has to be something new. */
static int touch_folder(const struct lease *l)
{
    char name[SPOOL_NAME_SIZE + 1];
    snprintf(name, sizeof name, ".%s", l->name);
    int fd = openat(folder_of(l), name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    close(fd);
    return unlinkat(folder_of(l), name, 0) == 0 ? 0 : errno;
}

static void remove_message(struct lease *l)
{
    int error = unlinkat(folder_of(l), l->name, 0) == 0 ? 0 : errno;
    if (error == ENOENT) error = touch_folder(l);
    if (error != 0) {
        end_record(l, error);
        return;
    }
    l->work.folders = FOLDER_QUEUE | (l->message->in_tmp ? FOLDER_TMP : 0);
    spool_sync(&l->work, removed);
}

/* -- by a record, and reports ----------------------------------------------------------------------- */

/* They are queued now, wherever their files are. */
static void queue_reports(struct lease *l)
{
    struct spool *s = l->work.spool;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < l->nreports; i++) spool_message_queue(s, l->reports[i]->message, l->reports[i]->arrived);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < l->nreports; i++) spool_incoming_free(l->reports[i]);
}

/* A file that the record made superfluous; it names no report that is not in its place. */
static void finish(struct lease *l)
{
    if (is_last(l) && unlinkat(folder_of(l), l->name, 0) != 0) {
        spool_problem(l->work.spool, "%s: cannot be removed: %s", l->name, strerror(errno));
    }
    end_record(l, 0);
}

static void moved(struct work *w, int error)
{
    struct lease *l = lease_of(w);
    queue_reports(l);
    if (error == 0) {
        finish(l);
        return;
    }
    spool_problem(w->spool, "%s: its reports are moved at the next start: %s", l->name, strerror(error));
    end_record(l, 0);
}

/* What cannot be moved is delivered from where it is; the file that names it stays, for the next start. */
static int move_reports(struct lease *l)
{
    const struct spool *s = l->work.spool;
    int error = 0;
    for (size_t i = 0; i < l->nreports; i++) {
        struct incoming *in = l->reports[i];
        if (renameat(s->tmp, in->name, s->queue, in->name) == 0) continue;
        error = errno;
        in->message->in_tmp = 1;
    }
    return error;
}

/* A record that is not on disk must not be found there later, when another one was made in its place. Where that cannot
 * be had, what it names must be found too. */
static void take_back(struct lease *l, int fd)
{
    if (ftruncate(fd, (off_t)l->message->end) == 0 && fdatasync(fd) == 0) return;
    spool_problem(l->work.spool, "%s: a record cannot be taken back: %s", l->name, strerror(errno));
    for (size_t i = 0; i < l->nreports; i++) l->reports[i]->named = 1;
}

static void add_to_end(struct lease *l)
{
    struct spool *s = l->work.spool;
    pthread_mutex_lock(&s->lock);
    l->message->end += l->record.len;
    pthread_mutex_unlock(&s->lock);
}

static void appended(struct work *w, int error)
{
    struct lease *l = lease_of(w);
    if (error != 0) take_back(l, l->record_fd);
    close(l->record_fd);
    if (error != 0) {
        end_record(l, error);
        return;
    }
    add_to_end(l);
    if (l->nreports == 0) {
        finish(l);
        return;
    }
    error = move_reports(l);
    if (error != 0) {
        moved(w, error);
        return;
    }
    w->folders = FOLDER_QUEUE | FOLDER_TMP;
    spool_sync(w, moved);
}

/* What is behind the end is the rest of a record that came to nothing. It has to be gone for good before the next one. */
static int cut_off_rest(struct lease *l, int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0) return errno;
    if ((uint64_t)status.st_size == l->message->end) return 0;
    if ((uint64_t)status.st_size < l->message->end) return EBADMSG;
    return ftruncate(fd, (off_t)l->message->end) == 0 && fdatasync(fd) == 0 ? 0 : errno;
}

static int write_record(struct lease *l)
{
    uint64_t ids[WORK_FDS];
    for (size_t i = 0; i < l->nreports; i++) ids[i] = l->reports[i]->message->id;
    struct spool_attempt record = { .part = (uint32_t)(l->batch.id - l->message->id),
                                    .batch = &l->batch,
                                    .progress = l->progress,
                                    .reports = ids,
                                    .nreports = l->nreports,
                                    .before = l->before,
                                    .first = l->first };
    spool_record_write(&l->record, &record);
    if (l->record.failed) return ENOMEM;
    l->record_fd = openat(folder_of(l), l->name, O_RDWR | O_CLOEXEC);
    if (l->record_fd < 0) return errno;
    int error = cut_off_rest(l, l->record_fd);
    if (error == 0) error = spool_write_at(l->record_fd, l->record.bytes, l->record.len, l->message->end);
    if (error == 0) return 0;
    take_back(l, l->record_fd);
    close(l->record_fd);
    return error;
}

static void append_record(struct lease *l)
{
    int error = write_record(l);
    if (error == ENOENT || error == EBADMSG) {
        spool_lose_message(l->work.spool, l->message, error);
        error = ESTALE;
    }
    if (error != 0) {
        end_record(l, error);
        return;
    }
    l->work.fds[l->work.nfds++] = l->record_fd;
    spool_sync(&l->work, appended);
}

static void reports_written(struct work *w, int error)
{
    struct lease *l = lease_of(w);
    for (size_t i = 0; i < l->nreports; i++) {
        if (l->reports[i]->synced) continue;
        l->reports[i]->synced = error == 0;
        l->reports[i]->error = error;
    }
    if (error == 0) {
        append_record(l);
    } else {
        end_record(l, error);
    }
}

static void write_reports(struct lease *l)
{
    int error = 0;
    for (size_t i = 0; i < l->nreports && error == 0; i++) {
        struct incoming *in = l->reports[i];
        if (in->synced) continue;
        error = spool_incoming_write(in);
        l->work.fds[l->work.nfds++] = in->fd;
    }
    if (error != 0) {
        l->work.nfds = 0;
        end_record(l, error);
        return;
    }
    l->work.folders = FOLDER_TMP;
    spool_sync(&l->work, reports_written);
}

/* -- the beginning ---------------------------------------------------------------------------------- */

static void run_record(struct job *job)
{
    struct lease *l = (struct lease *)job;
    if (l->nreports > 0) {
        write_reports(l);
    } else if (is_last(l)) {
        remove_message(l);
    } else {
        append_record(l);
    }
}

/* With the lock held. */
static void wait_for_turn(struct lease *l)
{
    struct lease **at = &l->message->writer;
    int first = *at == NULL;
    while (*at != NULL) at = &(*at)->next_writer;
    *at = l;
    l->next_writer = NULL;
    if (first) spool_submit(&l->work, run_record);
}

int spool_record(void *ctx, ehlo_batch *batch, const ehlo_progress *progress, void *const *reports, size_t nreports,
                 ehlo_pending *pending)
{
    struct spool *s = ctx;
    struct lease *l = spool_lease(batch);
    if (nreports > WORK_FDS) return EHLO_ERR_ARG;
    l->progress = progress;
    l->nreports = nreports;
    for (size_t i = 0; i < nreports; i++) l->reports[i] = reports[i];
    l->work.pending = pending;
    pthread_mutex_lock(&s->lock);
    int result = l->part == NULL ? EHLO_ERR_STALE : EHLO_LATER;
    if (result == EHLO_LATER) wait_for_turn(l);
    pthread_mutex_unlock(&s->lock);
    return result;
}
