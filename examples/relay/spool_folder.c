#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_folder.h"
#include "spool_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int ids_add(struct ids *ids, uint64_t id)
{
    if (ids->n == ids->room) {
        size_t room = ids->room == 0 ? 64 : 2 * ids->room;
        uint64_t *at = realloc(ids->at, room * sizeof *at);
        if (at == NULL) return ENOMEM;
        ids->at = at;
        ids->room = room;
    }
    ids->at[ids->n++] = id;
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a;
    uint64_t second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

int ids_has(const struct ids *ids, size_t n, uint64_t id)
{
    return n > 0 && bsearch(&id, ids->at, n, sizeof id, compare_ids) != NULL;
}

int folder_each(int at, const char *name, int (*each)(int folder, const char *name, void *arg), void *arg)
{
    int error = 0;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        error = errno;
        if (fd >= 0) close(fd);
        return error;
    }
    while (error == 0) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            error = errno;
            break;
        }
        if (entry->d_name[0] != '.') error = each(fd, entry->d_name, arg);
    }
    closedir(folder);
    return error;
}

static int add_name(int folder, const char *name, void *arg)
{
    uint64_t id = spool_id(name);
    (void)folder;
    return id == 0 ? 0 : ids_add(arg, id);
}

int folder_ids(int at, const char *name, struct ids *ids)
{
    int error = folder_each(at, name, add_name, ids);
    if (ids->n > 0) qsort(ids->at, ids->n, sizeof *ids->at, compare_ids);
    return error;
}
