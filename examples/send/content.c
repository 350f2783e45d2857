#define _POSIX_C_SOURCE 200809L
#include "content.h"

#include <ehlo/body.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SMALL_MAX = 4 << 20,    /* kept in memory, so that a copy costs no reading */
    WINDOW_SIZE = 256 << 10 /* of the others */
};

/* Reads until len octets are there or the end is reached. 0, or an errno. */
static int read_fully(int fd, char *bytes, size_t len, size_t *done)
{
    for (*done = 0; *done < len;) {
        ssize_t n = read(fd, bytes + *done, len - *done);
        if (n == 0) break;
        if (n > 0) {
            *done += (size_t)n;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

static int write_fully(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

/* Writes bytes to out as they will be on the wire, dots aside, and returns the length; out NULL: only tells it. Behind
 * an octet that may not be sent they are left as they are: the library refuses the message. */
static size_t write_text(const char *bytes, size_t len, char *out)
{
    ehlo_codec codec;
    ehlo_encoder encoder;
    ehlo_str slice;
    size_t size = 0, used = 0;
    int step = ehlo_codec_init(&codec, EHLO_BARE_REJECT, EHLO_BARE_NORMALISE, 0) == EHLO_OK;
    ehlo_encoder_init(&encoder);
    for (const char *end = bytes + len; bytes < end; bytes += used) {
        size_t left = (size_t)(end - bytes);
        if (step == EHLO_BODY_SLICE) step = ehlo_encode_counted(&encoder, &codec, bytes, left, 1, &used, &slice);
        if (step != EHLO_BODY_SLICE) slice = ehlo_str_make(bytes, used = left);
        if (out != NULL) memcpy(out + size, slice.ptr, slice.len);
        size += slice.len;
    }
    return size;
}

/* The library makes CRLF of LF by itself, but would do so anew for each copy. */
static int keep_in_memory(struct content *content, char *bytes, size_t len)
{
    size_t size = write_text(bytes, len, NULL);
    char *text = malloc(size > 0 ? size : 1);
    if (text != NULL) write_text(bytes, len, text);
    free(bytes);
    content->text = ehlo_str_make(text, size);
    content->size = size;
    return text != NULL ? 0 : ENOMEM;
}

/* A file that has no name any more, in TMPDIR. -1, errno. */
static int open_temporary(void)
{
    char path[4096];
    const char *folder = getenv("TMPDIR");
    int len = snprintf(path, sizeof path, "%s/send.XXXXXX", folder != NULL && *folder != '\0' ? folder : "/tmp");
    if (len < 0 || (size_t)len >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkstemp(path);
    if (fd >= 0) unlink(path);
    return fd;
}

/* A large message from a pipe goes to a file: nothing of it is sent before all of it has come, and it can be read
 * again. bytes[0..len) have been read already, and are its buffer then. */
static int keep_in_file(struct content *content, int from, char *bytes, size_t len)
{
    int error = 0;
    size_t have = len;
    content->fd = open_temporary();
    if (content->fd < 0) return errno;
    while (have > 0 && error == 0) {
        error = write_fully(content->fd, bytes, have);
        content->size += have;
        if (error == 0) error = read_fully(from, bytes, len, &have);
    }
    free(bytes);
    return error;
}

static int load(struct content *content, int fd, size_t most)
{
    size_t len;
    char *bytes = malloc(most);
    if (bytes == NULL) return ENOMEM;
    int error = read_fully(fd, bytes, most, &len);
    if (error == 0) return len < most ? keep_in_memory(content, bytes, len) : keep_in_file(content, fd, bytes, len);
    free(bytes);
    return error;
}

int content_open(struct content *content, const char *path)
{
    struct stat st;
    int is_input = strcmp(path, "-") == 0;
    int fd = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    content->fd = -1;
    if (fd < 0 || fstat(fd, &st) != 0) return errno;
    int readable_again = S_ISREG(st.st_mode) && lseek(fd, 0, SEEK_CUR) == 0;
    if (readable_again && st.st_size > SMALL_MAX) {
        content->fd = fd;
        content->size = (uint64_t)st.st_size;
        return 0;
    }
    /* One octet more than expected tells that the end was reached. */
    int error = load(content, fd, readable_again ? (size_t)st.st_size + 1 : SMALL_MAX);
    if (!is_input) close(fd);
    return error;
}

void content_close(struct content *content)
{
    free((void *)(uintptr_t)content->text.ptr); /* ours: from malloc */
    if (content->fd > STDIN_FILENO) close(content->fd);
}

static int fill(const struct content *content, struct content_window *window, uint64_t offset)
{
    uint64_t left = content->size - offset;
    ssize_t n;
    if (window->bytes == NULL && (window->bytes = malloc(WINDOW_SIZE)) == NULL) return ENOMEM;
    do {
        n = pread(content->fd, window->bytes, left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return errno;
    if (n == 0 && left > 0) return EIO; /* it has become shorter meanwhile: what is there is not the message */
    window->at = offset;
    window->len = (size_t)n;
    return 0;
}

int content_read(const struct content *content, struct content_window *window, uint64_t offset, ehlo_str *piece,
                 int *last)
{
    if (offset < window->at || offset >= window->at + window->len) {
        int error = fill(content, window, offset);
        if (error != 0) return error;
    }
    size_t skip = (size_t)(offset - window->at);
    *piece = ehlo_str_make(window->bytes + skip, window->len - skip);
    *last = window->at + window->len == content->size;
    return 0;
}

/* LFs behind no CR; before: the octet in front of them. */
static uint64_t count_bare_lfs(ehlo_str piece, char before)
{
    uint64_t count = 0;
    const char *end = piece.ptr + piece.len, *lf = piece.ptr;
    for (; lf < end && (lf = memchr(lf, '\n', (size_t)(end - lf))) != NULL; lf++) {
        count += (lf > piece.ptr ? lf[-1] : before) != '\r';
    }
    return count;
}

uint64_t content_wire_size(const struct content *content)
{
    struct content_window window = { 0 };
    uint64_t offset = 0, size = content->size;
    char before = '\0';
    int last = content->text.ptr != NULL, error = 0;
    while (!last && error == 0) {
        ehlo_str piece;
        error = content_read(content, &window, offset, &piece, &last);
        if (error != 0 || piece.len == 0) break;
        size += count_bare_lfs(piece, before);
        before = piece.ptr[piece.len - 1];
        offset += piece.len;
    }
    free(window.bytes);
    return error == 0 ? size : 0;
}
