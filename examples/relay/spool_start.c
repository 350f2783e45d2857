#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_private.h"
#include "checksum.h"
#include "spool_folder.h"
#include "spool_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEQUENCE_BITS = 40, GENERATION_MAX = (1 << 24) - 2 }; /* the bits of an id above are the generation */

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
    uint64_t highest;    /* id that records name */
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
        if (f->reports[i] > start->highest) start->highest = f->reports[i];
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
        if (errno == EMFILE || errno == ENFILE) return errno;
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
    } else if (error == ENOMEM) {
        result = error;
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

/* It stands in one of two places, in turn, under a checksum: what is there is overwritten, which needs no room on a disk
 * that is full, and one of them is whole whenever the power fails. */
enum { SLOT = 512, SLOT_LEN = 30 };

/* 0 if it cannot be told. */
static uint64_t read_slot(int fd, uint64_t slot)
{
    char text[SLOT_LEN];
    size_t len = sizeof text;
    int error = spool_read_at(fd, text, &len, slot * SLOT);
    struct reader r = { .at = text, .end = text + (error == 0 ? len : 0) };
    uint64_t generation = read_number(&r, GENERATION_MAX + 1);
    read_word(&r, " ");
    size_t summed = (size_t)(r.at - text);
    uint64_t sum = read_hex(&r, 8);
    read_word(&r, "\n");
    return r.bad || sum != checksum(0, text, summed) ? 0 : generation;
}

static int write_slot(int fd, uint64_t generation)
{
    char text[SLOT_LEN + 1];
    int len = snprintf(text, sizeof text, " %019" PRIu64 " ", generation);
    snprintf(text + len, sizeof text - (size_t)len, "%08x\n", (unsigned)checksum(0, text, (size_t)len));
    int error = spool_write_at(fd, text, SLOT_LEN, generation % 2 * SLOT);
    return error == 0 && fdatasync(fd) != 0 ? errno : error;
}

/* An id that no start would have given says nothing. */
static void note_id(uint64_t *generation, uint64_t id)
{
    uint64_t other = id >> SEQUENCE_BITS;
    if (other > *generation && other <= GENERATION_MAX) *generation = other;
}

/* Where it was lost, the ids that are still to be seen tell. */
static uint64_t last_generation(const struct start *start, int fd)
{
    struct ids corrupt = { .n = 0 };
    uint64_t generation = read_slot(fd, 0);
    uint64_t other = read_slot(fd, 1);
    if (other > generation) generation = other;
    folder_ids(start->s->root, "corrupt", &corrupt);
    for (size_t i = 0; i < corrupt.n; i++) note_id(&generation, corrupt.at[i]);
    for (size_t i = 0; i < start->all.n; i++) note_id(&generation, start->all.at[i]);
    note_id(&generation, start->highest);
    free(corrupt.at);
    return generation;
}

/* No id is ever used twice, whatever the clock says: each start has a number of its own in front of them. */
static int begin_generation(struct start *start)
{
    struct spool *s = start->s;
    int fd = openat(s->root, "generation", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    uint64_t generation = last_generation(start, fd) + 1;
    s->next_id = generation << SEQUENCE_BITS;
    int error = write_slot(fd, generation);
    close(fd);
    return error == 0 && fsync(s->root) != 0 ? errno : error;
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
