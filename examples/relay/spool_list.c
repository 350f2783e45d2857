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
#include <sys/stat.h>
#include <unistd.h>

/* -- the queue -------------------------------------------------------------------------------------- */

static void tell_recipient(struct spool_recipient *r, const struct spool_part *part, const ehlo_batch_rcpt *b)
{
    r->to = b->rcpt.to;
    r->destination = part->destination;
    r->state = b->state;
    r->uncertain = b->uncertain;
    r->attempt = part->attempt;
    r->next_try = b->state == EHLO_STATE_QUEUED ? part->next_try : EHLO_NEVER;
    r->code = b->rcpt.code;
    memcpy(r->enhanced, b->rcpt.enhanced, sizeof r->enhanced);
    r->text = ehlo_str_make(b->text, b->text_len);
    r->host = ehlo_str_make(b->host, b->host_len);
}

static int tell(const struct spool_file *f, const char *name, void (*each)(const struct spool_entry *entry, void *arg),
                void *arg)
{
    struct spool_recipient *rcpts = calloc(f->nrcpts, sizeof *rcpts);
    if (rcpts == NULL) return ENOMEM;
    for (uint32_t i = 0; i < f->nparts; i++) {
        const struct spool_part *part = &f->parts[i];
        for (uint32_t k = part->first; k < part->first + part->count; k++)
            tell_recipient(&rcpts[k], part, &f->rcpts[k]);
    }
    struct spool_entry entry = {
        .id = ehlo_str_from(name),
        .arrived = f->arrived,
        .size = f->body_len,
        .from = f->envelope.from,
        .rcpts = rcpts,
        .nrcpts = f->nrcpts,
    };
    each(&entry, arg);
    free(rcpts);
    return 0;
}

static int is_open(const struct spool_file *f)
{
    for (uint32_t i = 0; i < f->nparts; i++) {
        if (!spool_file_done(f, i)) return 1;
    }
    return 0;
}

int spool_list(const char *dir, void (*each)(const struct spool_entry *entry, void *arg), void *arg)
{
    struct ids ids = { .n = 0 };
    int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int queue = root < 0 ? -1 : openat(root, "queue", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = queue < 0 ? errno : folder_ids(root, "queue", &ids);
    for (size_t i = 0; i < ids.n && error == 0; i++) {
        struct spool_file f;
        char name[SPOOL_NAME_SIZE];
        spool_name(name, ids.at[i]);
        int fd = openat(queue, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        if (spool_file_read(&f, fd, SPOOL_ALL, SPOOL_UNKNOWN) == 0 && is_open(&f)) error = tell(&f, name, each, arg);
        spool_file_free(&f);
        close(fd);
    }
    free(ids.at);
    if (queue >= 0) close(queue);
    if (root >= 0) close(root);
    return error;
}

/* -- who has it ------------------------------------------------------------------------------------- */

pid_t spool_holder(const char *dir)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = root < 0 ? -1 : openat(root, "lock", O_RDONLY | O_CLOEXEC);
    int told = fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0) close(fd);
    if (root >= 0) close(root);
    return told ? lock.l_pid : 0;
}

/* -- flush requests: files with a destination in them ------------------------------------------------- */

enum { REQUEST_MAX = 256, REQUEST_NAME = 24 };

/* One file for each destination; a dot in front while it is written. */
static void request_name(char name[REQUEST_NAME], ehlo_str destination)
{
    snprintf(name, REQUEST_NAME, ".%016" PRIx64, text_hash(destination));
}

static int open_requests(const char *dir)
{
    int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int flush = root < 0 ? -1 : openat(root, "flush", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = errno;
    if (root >= 0) close(root);
    errno = error;
    return flush;
}

static int write_request(int flush, const char *name, ehlo_str destination)
{
    int fd = openat(flush, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    int error = spool_write_at(fd, destination.ptr, destination.len, 0);
    if (error == 0 && fchmod(fd, 0644) != 0)
        error = errno; /* the relay may be another user: its folder keeps others out */
    if (close(fd) != 0 && error == 0) error = errno;
    if (error == 0 && renameat(flush, name, flush, name + 1) != 0) error = errno;
    if (error != 0) unlinkat(flush, name, 0);
    return error;
}

int spool_flush_request(const char *dir, ehlo_str destination)
{
    char name[REQUEST_NAME];
    size_t at = destination.len > 0 && destination.ptr[0] == '@';
    if (destination.len == at || destination.len - at > 255 || !field_allowed(destination)) return EINVAL;
    int flush = open_requests(dir);
    if (flush < 0) return errno;
    request_name(name, destination);
    int error = write_request(flush, name, destination);
    close(flush);
    return error;
}

int spool_flush_waits(const char *dir, ehlo_str destination)
{
    char name[REQUEST_NAME];
    int flush = open_requests(dir);
    if (flush < 0) return 0;
    request_name(name, destination);
    int waits = faccessat(flush, name + 1, F_OK, 0) == 0;
    close(flush);
    return waits;
}

struct take {
    struct spool *spool;
    void (*each)(char option, ehlo_str node, void *arg);
    void *arg;
};

static int read_request(int folder, const char *name, char text[REQUEST_MAX], size_t *len)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return errno;
    *len = REQUEST_MAX;
    int error = spool_read_at(fd, text, len, 0);
    close(fd);
    return error;
}

/* It is gone before it is told: a request may come again meanwhile. */
static int take_request(int folder, const char *name, void *arg)
{
    const struct take *take = arg;
    char text[REQUEST_MAX];
    size_t len = 0;
    int error = read_request(folder, name, text, &len);
    if (unlinkat(folder, name, 0) != 0) return 0;
    if (error != 0) spool_problem(take->spool, "flush/%s: %s", name, strerror(error));
    size_t at = len > 0 && text[0] == '@';
    if (error == 0 && len > at && field_allowed(ehlo_str_make(text, len))) {
        take->each(at ? '@' : '\0', ehlo_str_make(text + at, len - at), take->arg);
    }
    return 0;
}

void spool_flush_take(struct spool *s, void (*each)(char option, ehlo_str node, void *arg), void *arg)
{
    struct take take = { .spool = s, .each = each, .arg = arg };
    folder_each(s->root, "flush", take_request, &take);
}
