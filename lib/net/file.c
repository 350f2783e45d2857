/* lib/net/file.c - text files of the system, as a whole. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_ROOM = 4096 };

/* -1 with errno. Whatever is at that path, opening it does not wait. */
static int open_file(ehlo_str path)
{
    char *name = malloc(path.len + 1);
    if (name == NULL) return -1;
    memcpy(name, path.ptr, path.len);
    name[path.len] = '\0';
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int saved = errno;
    free(name);
    errno = saved;
    return fd;
}

/* Makes room for one more octet, if max allows it: 1; 0: it does not. */
static int grow(char **bytes, size_t *room, size_t len, size_t max)
{
    if (len < *room) return 1;
    size_t more = *room == 0 ? FIRST_ROOM : *room * 2;
    if (more > max) more = max;
    if (more <= len) return 0;
    char *grown = realloc(*bytes, more);
    if (grown == NULL) return EHLO_ERR_MEMORY;
    *bytes = grown;
    *room = more;
    return 1;
}

/* Half a line could say something else than the whole one. */
static size_t whole_lines(const char *bytes, size_t len)
{
    while (len > 0 && bytes[len - 1] != '\n') len--;
    return len;
}

static int read_all(int fd, size_t max, char **bytes, size_t *len)
{
    size_t room = 0;
    for (;;) {
        int result = grow(bytes, &room, *len, max);
        if (result < 0) return result;
        if (result == 0) {
            *len = whole_lines(*bytes, *len);
            return EHLO_OK;
        }
        ssize_t got = read(fd, *bytes + *len, room - *len);
        if (got <= 0) return EHLO_OK;
        *len += (size_t)got;
    }
}

int ehlo_file_read(ehlo_str path, size_t max, ehlo_str *text)
{
    char *bytes = NULL;
    size_t len = 0;
    int fd = open_file(path);
    *text = ehlo_str_make(NULL, 0);
    if (fd < 0) return errno == ENOMEM ? EHLO_ERR_MEMORY : EHLO_OK;
    int result = read_all(fd, max, &bytes, &len);
    close(fd);
    *text = ehlo_str_make(bytes, len);
    if (result != EHLO_OK) ehlo_file_free(*text);
    return result;
}

void ehlo_file_free(ehlo_str text)
{
    free((void *)(uintptr_t)text.ptr); /* it was ours before it was a view */
}
