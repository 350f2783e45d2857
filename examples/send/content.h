/* content.h - the message to send: in memory if it is small, else read piece by piece. */
#ifndef SEND_CONTENT_H
#define SEND_CONTENT_H

#include <ehlo/types.h>

/* Zero it first. What cannot be read twice is kept: copies, and recipients that a server does not take at once, need
 * the message again. */
struct content {
    ehlo_str text; /* all of it, where it is small; ptr NULL: it is read piece by piece */
    int fd;
    uint64_t size; /* octets; in memory, as they will be on the wire */
};

/* A part of a large one. Zero it first; free bytes at the end. */
struct content_window {
    char *bytes;
    uint64_t at;
    size_t len;
};

/* path "-" is standard input. 0, or an errno. */
int content_open(struct content *content, const char *path);
void content_close(struct content *content);

/* A view into the window of what begins at offset; *last: it reaches to the end. 0, or an errno. */
int content_read(const struct content *content, struct content_window *window, uint64_t offset, ehlo_str *piece,
                 int *last);

/* Its octets on the wire, where every LF is a CRLF: a large one is read through for it. 0: it cannot be read. */
uint64_t content_wire_size(const struct content *content);

#endif
