/* A server that accepts everything, for tests that look at a client: octets go in, replies come out, and what
 * arrived is counted. What a client may not send is its `fault`: a bare LF, a chunk for nobody. */
#ifndef EHLO_TESTS_DUMMY_SERVER_H
#define EHLO_TESTS_DUMMY_SERVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DUMMY_LINE = 16384, DUMMY_REPLIES = 1 << 17 };

#define DUMMY_GREETING "220 mx.example ESMTP\r\n"

/* Every extension that a client may be offered, but CHUNKING and BINARYMIME. */
#define DUMMY_EXTENSIONS                                                                                               \
    "250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-AUTH PLAIN LOGIN\r\n250-STARTTLS\r\n"            \
    "250-XCLIENT NAME ADDR LOGIN\r\n250-ETRN\r\n250-EXPN\r\n250-HELP\r\n250-VERB\r\n250-DELIVERBY\r\n"                 \
    "250-MT-PRIORITY\r\n250-FUTURERELEASE 604800 2039-01-01T00:00:00Z\r\n250-REQUIRETLS\r\n250-RRVS\r\n"               \
    "250-ENHANCEDSTATUSCODES\r\n250-SIZE 0\r\n"
#define DUMMY_CHUNKING "250-CHUNKING\r\n250-BINARYMIME\r\n"

typedef enum dummy_state { DUMMY_COMMANDS, DUMMY_TEXT, DUMMY_CHUNK } dummy_state;

typedef struct dummy_server {
    const char *extensions; /* lines of the EHLO reply between the first and the last */
    dummy_state state;
    char line[DUMMY_LINE]; /* the open line, as far as there is room */
    size_t line_len;
    int carriage; /* the octet before was a CR */
    uint64_t chunk;
    int last_chunk;
    int challenged;   /* 334 was said: a response follows */
    uint64_t content; /* octets of all messages, dots unstuffed */
    unsigned recipients;
    unsigned messages; /* whole ones */
    unsigned chunks;
    unsigned commands;
    char replies[DUMMY_REPLIES];
    size_t replies_len;
    char fault[128];
} dummy_server;

static inline void dummy_reply(dummy_server *d, const char *text)
{
    size_t len = strlen(text);
    if (len > DUMMY_REPLIES - d->replies_len) {
        snprintf(d->fault, sizeof d->fault, "more replies than anybody reads");
        return;
    }
    memcpy(d->replies + d->replies_len, text, len);
    d->replies_len += len;
}

static inline void dummy_open(dummy_server *d, const char *extensions)
{
    memset(d, 0, sizeof *d);
    d->extensions = extensions;
    dummy_reply(d, DUMMY_GREETING);
}

/* The first `len` octets of what was said were read. */
static inline void dummy_read(dummy_server *d, size_t len)
{
    memmove(d->replies, d->replies + len, d->replies_len - len);
    d->replies_len -= len;
}

static inline int dummy_is(const dummy_server *d, const char *verb)
{
    size_t len = strlen(verb);
    return d->line_len >= len && strncasecmp(d->line, verb, len) == 0;
}

static inline void dummy_message(dummy_server *d)
{
    d->messages++;
    dummy_reply(d, "250 2.0.0 Taken\r\n");
    d->recipients = 0;
    d->state = DUMMY_COMMANDS;
}

static inline void dummy_chunk_end(dummy_server *d)
{
    d->chunks++;
    d->state = DUMMY_COMMANDS;
    if (d->last_chunk) {
        dummy_message(d);
    } else {
        dummy_reply(d, "250 2.0.0 Go on\r\n");
    }
}

static inline void dummy_bdat(dummy_server *d)
{
    char *end;
    d->line[d->line_len] = '\0';
    d->chunk = strtoull(d->line + strlen("BDAT "), &end, 10);
    d->last_chunk = strcmp(end, " LAST") == 0;
    d->state = DUMMY_CHUNK;
    if (d->recipients == 0) snprintf(d->fault, sizeof d->fault, "BDAT without a recipient");
    if (d->chunk == 0) dummy_chunk_end(d);
}

/* The line is a whole command, without its CRLF. */
static inline void dummy_command(dummy_server *d)
{
    d->commands++;
    if (d->challenged) {
        d->challenged = 0;
        dummy_reply(d, "235 2.7.0 Welcome\r\n");
    } else if (dummy_is(d, "EHLO ")) {
        dummy_reply(d, "250-mx.example\r\n");
        dummy_reply(d, d->extensions);
        dummy_reply(d, "250 X-LAST\r\n");
    } else if (dummy_is(d, "DATA")) {
        dummy_reply(d, "354 Go on\r\n");
        d->state = DUMMY_TEXT;
    } else if (dummy_is(d, "BDAT ")) {
        dummy_bdat(d);
    } else if (dummy_is(d, "QUIT")) {
        dummy_reply(d, "221 2.0.0 Bye\r\n");
    } else if (dummy_is(d, "AUTH ")) {
        dummy_reply(d, "334 \r\n");
        d->challenged = 1;
    } else {
        if (dummy_is(d, "RCPT ")) d->recipients++;
        dummy_reply(d, "250 2.0.0 OK\r\n");
    }
}

/* RFC 5321 4.5.2 */
static inline void dummy_text_line(dummy_server *d, uint64_t len)
{
    if (d->line_len == 1 && d->line[0] == '.') {
        dummy_message(d);
    } else {
        d->content += len + 2 - (d->line_len > 0 && d->line[0] == '.');
    }
}

/* Takes octets up to the end of a line: how many. The octets of a line beyond the room for it are but counted. */
static inline size_t dummy_line(dummy_server *d, const char *bytes, size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    size_t used = lf == NULL ? len : (size_t)(lf - bytes) + 1;
    size_t room = DUMMY_LINE - 1 - d->line_len, fits = used < room ? used : room;
    memcpy(d->line + d->line_len, bytes, fits);
    d->line_len += fits;
    if (lf != NULL && !(used > 1 ? lf[-1] == '\r' : d->carriage)) {
        snprintf(d->fault, sizeof d->fault, "a bare LF");
    }
    d->carriage = bytes[used - 1] == '\r';
    if (lf == NULL) return used;
    /* A line that was cut here is a command's at most: DATA lines of a test are shorter. */
    if (d->line_len == DUMMY_LINE - 1) snprintf(d->fault, sizeof d->fault, "a line that is too long");
    d->line_len -= d->line_len >= 2 ? 2 : d->line_len;
    if (d->state == DUMMY_TEXT) {
        dummy_text_line(d, d->line_len);
    } else {
        dummy_command(d);
    }
    d->line_len = 0;
    return used;
}

static inline void dummy_take(dummy_server *d, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t used;
        if (d->state == DUMMY_CHUNK) {
            used = d->chunk < len ? (size_t)d->chunk : len;
            d->content += used;
            d->chunk -= used;
            if (d->chunk == 0) dummy_chunk_end(d);
        } else {
            used = dummy_line(d, bytes, len);
        }
        bytes += used;
        len -= used;
    }
}

#endif
