#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "secret.h"

#include <ehlo/sasl.h>
#include <ehlo/syntax.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int secret_is_text(ehlo_str text)
{
    char clean[SECRET_MAX];
    size_t len = 0;
    int is_text = ehlo_text_clean(text, clean, sizeof clean, &len) == EHLO_OK && len == text.len &&
                  (len == 0 || memcmp(clean, text.ptr, len) == 0);
    ehlo_secret_wipe(clean, sizeof clean);
    return is_text;
}

/* Past stdio, which would keep a copy. 0, or an errno. */
static int read_start(struct secret *secret, int fd)
{
    while (secret->len < sizeof secret->bytes) {
        ssize_t n = read(fd, secret->bytes + secret->len, sizeof secret->bytes - secret->len);
        if (n == 0) break;
        if (n < 0 && errno != EINTR) return errno;
        if (n > 0) secret->len += (size_t)n;
    }
    return 0;
}

/* Leaves the first line of what was read. */
static const char *cut_line(struct secret *secret)
{
    const char *lf = memchr(secret->bytes, '\n', secret->len);
    size_t read = secret->len;
    size_t len = lf != NULL ? (size_t)(lf - secret->bytes) : read;
    if (len > 0 && secret->bytes[len - 1] == '\r') len--;
    ehlo_secret_wipe(secret->bytes + len, read - len);
    secret->len = len;
    if (len == 0) return "its first line is empty";
    if (len > SECRET_MAX) return "its first line is too long";
    return secret_is_text(secret_text(secret)) ? NULL : "its first line is not UTF-8, or holds a control character";
}

const char *secret_read(struct secret *secret, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return strerror(errno);
    int error = read_start(secret, fd);
    close(fd);
    return error != 0 ? strerror(error) : cut_line(secret);
}

void secret_wipe(struct secret *secret)
{
    ehlo_secret_wipe(secret, sizeof *secret);
}
