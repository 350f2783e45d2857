#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const ehlo_store spool_store = {
    .create = spool_create,
    .append = spool_append,
    .commit = spool_commit,
    .discard = spool_discard,
    .claim = spool_claim,
    .renew = spool_renew,
    .record = spool_record,
    .release = spool_release,
    .body = spool_body,
    .hurry = spool_hurry,
};

/* -- opening ---------------------------------------------------------------------------------------- */

static int open_folder(int at, const char *name, int *fd)
{
    *fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? errno : 0;
}

static int make_folder(int at, const char *name, int *fd)
{
    if (mkdirat(at, name, 0700) != 0 && errno != EEXIST) return errno;
    return open_folder(at, name, fd);
}

static int sync_parent(const struct spool *s)
{
    int parent = -1;
    int error = open_folder(s->root, "..", &parent);
    if (error == 0 && fsync(parent) != 0) error = errno;
    if (parent >= 0) close(parent);
    return error;
}

/* A lock of fcntl goes with the process, however that ends. */
static int take_lock(struct spool *s, const char **what)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    *what = "lock";
    s->lock_fd = openat(s->root, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) return errno;
    if (fcntl(s->lock_fd, F_SETLK, &lock) == 0) return 0;
    return errno == EACCES || errno == EAGAIN ? EBUSY : errno;
}

static int make_folders(struct spool *s, const char *dir, const char **what)
{
    int made = mkdir(dir, 0700) == 0;
    int error = open_folder(AT_FDCWD, dir, &s->root);
    if (error == 0 && made) error = sync_parent(s);
    if (error == 0) error = take_lock(s, what);
    if (error != 0) return error;
    *what = "queue";
    error = make_folder(s->root, "queue", &s->queue);
    if (error == 0) error = make_folder(s->root, *what = "tmp", &s->tmp);
    if (error == 0) error = make_folder(s->root, *what = "corrupt", &s->corrupt);
    if (error == 0) error = make_folder(s->root, *what = "flush", &s->flush);
    if (error == 0 && fsync(s->root) != 0) error = errno;
    return error;
}

static void explain(const char *dir, const char *what, int error, char why[SPOOL_WHY_MAX])
{
    if (error == EBUSY) {
        snprintf(why, SPOOL_WHY_MAX, "%.200s: process %ld has this spool", dir, (long)spool_holder(dir));
    } else {
        snprintf(why, SPOOL_WHY_MAX, "%.200s%s%s: %s", dir, *what == '\0' ? "" : "/", what, strerror(error));
    }
}

static struct spool *make_spool(const struct spool_settings *settings)
{
    struct spool *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->settings = *settings;
    s->now = settings->now;
    s->lock_fd = s->root = s->queue = s->tmp = s->corrupt = s->flush = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->group.lock, NULL);
    return s;
}

int spool_open(struct spool **spool, const char *dir, const struct spool_settings *settings, char why[SPOOL_WHY_MAX])
{
    const char *what = "";
    struct spool *s = make_spool(settings);
    int error = s == NULL || index_init(&s->index) != EHLO_OK ? ENOMEM : 0;
    why[0] = '\0';
    *spool = NULL;
    if (error == 0) error = make_folders(s, dir, &what);
    if (error == 0) error = spool_start(s, &what);
    if (error == 0) error = spool_group_init(s);
    if (error != 0) {
        explain(dir, what, error, why);
        if (s != NULL) spool_close(s);
        return error;
    }
    *spool = s;
    return 0;
}

/* -- closing ---------------------------------------------------------------------------------------- */

/* Messages live as long as somebody uses them, or a part of theirs is open. */
static void free_all(struct spool *s)
{
    while (s->incoming != NULL) spool_incoming_free(s->incoming);
    pthread_mutex_lock(&s->lock);
    while (s->leases != NULL) spool_lease_free(s->leases);
    for (struct part *part = index_any(&s->index); part != NULL; part = index_any(&s->index)) spool_part_close(s, part);
    pthread_mutex_unlock(&s->lock);
}

void spool_close(struct spool *s)
{
    const int fds[] = { s->queue, s->tmp, s->corrupt, s->flush, s->root, s->lock_fd };
    spool_group_end(s);
    free_all(s);
    index_end(&s->index);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) close(fds[i]);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

size_t spool_count(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    size_t count = s->count;
    pthread_mutex_unlock(&s->lock);
    return count;
}
