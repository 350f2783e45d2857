#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_private.h"
#include "spool_folder.h"
#include "spool_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEQUENCE_BITS = 40 }; /* of an id; those above are the generation */

void spool_set_aside(struct spool *s, const char *name)
{
    if (renameat(s->queue, name, s->corrupt, name) == 0 || renameat(s->tmp, name, s->corrupt, name) == 0) {
        spool_problem(s, "%s: the file is damaged; it was moved to corrupt/", name);
    } else {
        spool_problem(s, "%s: the file is damaged, and cannot be moved to corrupt/: %s", name, strerror(errno));
    }
}

/* -- one message ------------------------------------------------------------------------------------ */

struct start {
    struct spool *s;
    struct ids all;      /* those in queue/, in order, then those that came from tmp/ */
    size_t first_moved;  /* of these */
    struct ids finished; /* to be removed */
};

static void queue_part(struct spool *s, struct part *part, const struct spool_part *stored)
{
    int64_t due = ehlo_schedule_sane(&s->settings.schedule, stored->next_try, s->settings.now);
    if (stored->attempt == 0 || due <= s->settings.now) {
        index_ready(&s->index, part, due);
    } else {
        index_wait(&s->index, part, due);
    }
}

static int queue_message(struct spool *s, const struct spool_file *f)
{
    struct message *m = spool_message_new(f->id, f->nparts);
    if (m == NULL) return ENOMEM;
    m->end = f->end;
    s->count++;
    for (uint32_t i = 0; i < f->nparts; i++) {
        struct part *part = &m->parts[i];
        if (spool_file_done(f, i)) continue;
        part->target = index_intern(&s->index, f->parts[i].destination);
        if (part->target == NULL) break;
        queue_part(s, part, &f->parts[i]);
        m->open++;
    }
    int whole = m->parts[f->nparts - 1].target != NULL || spool_file_done(f, f->nparts - 1);
    spool_message_unuse(s, m);
    return whole ? 0 : ENOMEM;
}

static int is_finished(const struct spool_file *f)
{
    uint32_t done = 0;
    while (done < f->nparts && spool_file_done(f, done)) done++;
    return done == f->nparts;
}

/* Reports that a record names, and that are in tmp/ still: their time has come. If they are in neither place, they have
 * been delivered. The record may have been found before it was synced. */
static int complete_reports(struct start *start, const struct spool_file *f, int fd)
{
    struct spool *s = start->s;
    int synced = 0;
    for (size_t i = 0; i < f->nreports; i++) {
        char name[SPOOL_NAME_SIZE];
        spool_name(name, f->reports[i]);
        if (faccessat(s->tmp, name, F_OK, 0) != 0) continue;
        if (!synced && fdatasync(fd) != 0) return errno;
        synced = 1;
        if (renameat(s->tmp, name, s->queue, name) != 0) return errno;
        if (ids_has(&start->all, start->first_moved, f->reports[i])) continue;
        if (ids_add(&start->all, f->reports[i]) != 0) return ENOMEM;
    }
    return 0;
}

static int take_up(struct start *start, struct spool_file *f, int fd)
{
    int error = complete_reports(start, f, fd);
    if (error != 0) return error;
    return is_finished(f) ? ids_add(&start->finished, f->id) : queue_message(start->s, f);
}

static void complain(const struct spool *s, const char *name, int error)
{
    spool_problem(s, "%s: %s", name, strerror(error));
}

/* A file that cannot be read, or is damaged, keeps nobody from starting. */
static int read_message(struct start *start, uint64_t id)
{
    struct spool *s = start->s;
    struct spool_file f;
    char name[SPOOL_NAME_SIZE];
    spool_name(name, id);
    int fd = openat(s->queue, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        complain(s, name, errno);
        return 0;
    }
    int result = 0;
    int error = spool_file_read(&f, fd, SPOOL_ALL, SPOOL_UNKNOWN);
    if (error == 0 && f.id != id) error = EBADMSG;
    if (error == 0) {
        result = take_up(start, &f, fd);
    } else if (error == EBADMSG) {
        spool_set_aside(s, name);
    } else {
        complain(s, name, error);
    }
    spool_file_free(&f);
    close(fd);
    return result;
}

/* -- all of them ------------------------------------------------------------------------------------ */

static int sweep_file(int folder, const char *name, void *arg)
{
    const struct spool *s = arg;
    if (unlinkat(folder, name, 0) != 0) complain(s, name, errno);
    return 0;
}

static int remove_finished(struct start *start)
{
    for (size_t i = 0; i < start->finished.n; i++) {
        char name[SPOOL_NAME_SIZE];
        spool_name(name, start->finished.at[i]);
        if (unlinkat(start->s->queue, name, 0) != 0) complain(start->s, name, errno);
    }
    return 0;
}

/* Reports that were moved are in their place for good before anything is removed, or one of them delivered. */
static int settle(struct start *start)
{
    struct spool *s = start->s;
    if (start->all.n > start->first_moved && (fsync(s->queue) != 0 || fsync(s->tmp) != 0)) return errno;
    int error = remove_finished(start);
    return error != 0 ? error : folder_each(s->root, "tmp", sweep_file, s);
}

static int read_queue(struct start *start)
{
    int error = folder_ids(start->s->root, "queue", &start->all);
    start->first_moved = start->all.n;
    for (size_t i = 0; i < start->all.n && error == 0; i++) error = read_message(start, start->all.at[i]);
    return error == 0 ? settle(start) : error;
}

/* -- the generation --------------------------------------------------------------------------------- */

/* 0 if it cannot be told. */
static uint64_t read_generation(const struct spool *s)
{
    char text[32] = " ";
    size_t len = sizeof text - 2;
    int fd = openat(s->root, "generation", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    int error = spool_read_at(fd, text + 1, &len, 0);
    close(fd);
    struct reader r = { .at = text, .end = text + 1 + (error == 0 ? len : 0) };
    uint64_t generation = read_number(&r, (UINT64_C(1) << (64 - SEQUENCE_BITS)) - 2);
    read_word(&r, "\n");
    return r.bad ? 0 : generation;
}

static int write_generation(const struct spool *s, uint64_t generation)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%" PRIu64 "\n", generation);
    int fd = openat(s->tmp, "generation", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    int error = spool_write_at(fd, text, (size_t)len, 0);
    if (error == 0 && fdatasync(fd) != 0) error = errno;
    close(fd);
    if (error == 0 && renameat(s->tmp, "generation", s->root, "generation") != 0) error = errno;
    if (error == 0 && fsync(s->root) != 0) error = errno;
    return error;
}

/* No id is ever used twice, whatever the clock says: each start has a number of its own in front of them. */
static int begin_generation(struct start *start)
{
    uint64_t generation = read_generation(start->s);
    for (size_t i = 0; i < start->all.n; i++) {
        uint64_t other = start->all.at[i] >> SEQUENCE_BITS;
        if (other > generation) generation = other;
    }
    generation++;
    start->s->next_id = generation << SEQUENCE_BITS;
    return write_generation(start->s, generation);
}

int spool_start(struct spool *s, const char **what)
{
    struct start start = { .s = s };
    *what = "queue";
    int error = read_queue(&start);
    if (error == 0) {
        *what = "generation";
        error = begin_generation(&start);
    }
    free(start.all.at);
    free(start.finished.at);
    return error;
}
