#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* syncfs, sync_file_range */
#endif

#include "spool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif

enum {
    GROUP_MIN = 2,
    SLOW_MS = 250,   /* syncing everything took so long: others write much on this file system. Not again, */
    APART_MS = 10000 /* for so long */
};

static int64_t clock_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

#ifdef __linux__
/* Those that are known to bring all of it to the disk, and to tell where that failed. */
static int is_known_file_system(int fd)
{
    struct statfs status;
    if (fstatfs(fd, &status) != 0) return 0;
    switch ((unsigned long)status.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case TMPFS_MAGIC:
        return 1;
    default:
        return 0;
    }
}

/* syncfs tells of all errors since Linux 5.17: before that it was no promise. */
static int can_sync_together(int fd)
{
    struct utsname system;
    if (uname(&system) != 0) return 0;
    char *end = NULL;
    long major = strtol(system.release, &end, 10);
    long minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return (major > 5 || (major == 5 && minor >= 17)) && is_known_file_system(fd);
}
#else
static int can_sync_together(int fd)
{
    (void)fd;
    return 0;
}
#endif

/* One flush of the disk for all, in place of one for each: where flushes are dear, it is far quicker. */
static int sync_together(const struct spool *s)
{
#ifdef __linux__
    return syncfs(s->root) == 0 ? 0 : errno;
#else
    (void)s;
    return ENOSYS;
#endif
}

/* An error that the file met before, while others were synced, or while nobody did: syncfs tells each only once, whoever
 * asks next. The file itself knows; nothing is left to be written, so this costs nothing. */
static int earlier_error(const struct work *w)
{
    int error = 0;
#ifdef __linux__
    for (size_t i = 0; i < w->nfds; i++) {
        if (sync_file_range(w->fds[i], 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) != 0 && error == 0) error = errno;
    }
#else
    (void)w;
#endif
    return error;
}

static size_t group_size(const struct work *first)
{
    size_t size = 0;
    unsigned folders = 0;
    for (const struct work *w = first; w != NULL; w = w->next) {
        size += w->nfds;
        folders |= w->folders;
    }
    return size + (folders & 1) + (folders >> 1);
}

static int sync_folder(int fd, int wanted)
{
    return !wanted || fsync(fd) == 0 ? 0 : errno;
}

static int sync_files(const struct work *w)
{
    int error = 0;
    for (size_t i = 0; i < w->nfds; i++) {
        if (fdatasync(w->fds[i]) != 0 && error == 0) error = errno;
    }
    return error;
}

/* A work as it goes on: its successor is to be known before. */
static void go_on(struct work *w, int error)
{
    w->nfds = 0;
    w->folders = 0;
    w->then(w, error);
}

static void finish_together(struct work *first, int error)
{
    while (first != NULL) {
        struct work *w = first;
        first = w->next;
        go_on(w, error == 0 ? earlier_error(w) : error);
    }
}

static void finish_apart(const struct spool *s, struct work *first)
{
    unsigned folders = 0;
    for (const struct work *w = first; w != NULL; w = w->next) folders |= w->folders;
    int queue_error = sync_folder(s->queue, folders & FOLDER_QUEUE);
    int tmp_error = sync_folder(s->tmp, folders & FOLDER_TMP);
    while (first != NULL) {
        struct work *w = first;
        first = w->next;
        int error = sync_files(w);
        if (error == 0 && w->folders & FOLDER_QUEUE) error = queue_error;
        if (error == 0 && w->folders & FOLDER_TMP) error = tmp_error;
        go_on(w, error);
    }
}

static void sync_group(struct spool *s, struct work *first)
{
    struct group *g = &s->group;
    int64_t began = clock_ms();
    if (!g->together || began < g->apart_until || group_size(first) < s->settings.group_min) {
        finish_apart(s, first);
        return;
    }
    int error = sync_together(s);
    int64_t now = clock_ms();
    if (now - began > SLOW_MS) g->apart_until = now + APART_MS;
    finish_together(first, error);
}

static struct work *take_group(struct group *g)
{
    pthread_mutex_lock(&g->lock);
    struct work *first = g->first;
    g->first = NULL;
    g->end = &g->first;
    if (first == NULL) g->busy = 0;
    pthread_mutex_unlock(&g->lock);
    return first;
}

void spool_sync(struct work *w, void (*then)(struct work *w, int error))
{
    struct spool *s = w->spool;
    struct group *g = &s->group;
    w->then = then;
    w->next = NULL;
    pthread_mutex_lock(&g->lock);
    *g->end = w;
    g->end = &w->next;
    int others = g->busy;
    g->busy = 1;
    pthread_mutex_unlock(&g->lock);
    if (others) return;
    for (struct work *first = take_group(g); first != NULL; first = take_group(g)) sync_group(s, first);
}

int spool_group_init(struct spool *s)
{
    if (s->settings.threads == 0) s->settings.threads = 4;
    if (s->settings.group_min == 0) s->settings.group_min = GROUP_MIN;
    s->group.end = &s->group.first;
    s->group.together = can_sync_together(s->root);
    return workers_start(&s->workers, s->settings.threads, SIZE_MAX);
}

void spool_group_end(struct spool *s)
{
    if (s->workers != NULL) workers_finish(s->workers);
    pthread_mutex_destroy(&s->group.lock);
}

void spool_submit(struct work *w, void (*run)(struct job *job))
{
    w->job.run = run;
    workers_submit(w->spool->workers, &w->job); /* its queue has no end */
}

int spool_result(int error)
{
    switch (error) {
    case 0:
        return EHLO_OK;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return EHLO_ERR_FULL;
    case EBADMSG:
        return EHLO_ERR_SYNTAX;
    case ESTALE:
        return EHLO_ERR_STALE;
    default:
        return EHLO_ERR_SYSTEM;
    }
}

void spool_answer(ehlo_pending *pending, int error)
{
    ehlo_store_answer(pending, spool_result(error));
}

void spool_problem(const struct spool *s, const char *format, ...)
{
    char text[512];
    va_list list;
    if (s->settings.on_problem == NULL) return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    s->settings.on_problem(text, s->settings.ctx);
}
