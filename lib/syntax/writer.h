/* Builds text in a caller's buffer. What does not fit is counted but not written, so that the length tells how
 * much room the whole needs. */
#ifndef EHLO_SYNTAX_WRITER_H
#define EHLO_SYNTAX_WRITER_H

#include <string.h>

#include <ehlo/syntax.h>

#include "plain.h"

typedef struct ehlo_writer {
    char *out;
    size_t cap;
    size_t len;
} ehlo_writer;

/* Counts len octets more: where they are to be written, or NULL if they do not fit. */
static inline char *ehlo_writer_room(ehlo_writer *writer, size_t len)
{
    size_t at = writer->len;
    writer->len += len;
    return at < writer->cap && len <= writer->cap - at ? writer->out + at : NULL;
}

static inline void ehlo_writer_put(ehlo_writer *writer, const char *octets, size_t len)
{
    char *room = ehlo_writer_room(writer, len);
    if (room != NULL && len > 0) memcpy(room, octets, len);
}

static inline void ehlo_writer_put_str(ehlo_writer *writer, ehlo_str text)
{
    ehlo_writer_put(writer, text.ptr, text.len);
}

/* text: NUL-terminated. */
static inline void ehlo_writer_put_text(ehlo_writer *writer, const char *text)
{
    ehlo_writer_put(writer, text, strlen(text));
}

/* Writes number in decimal, with zeros in front up to `digits`. */
static inline void ehlo_writer_put_number(ehlo_writer *writer, uint64_t number, size_t digits)
{
    char text[20];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (sizeof(text) - at < digits) text[--at] = '0';
    ehlo_writer_put(writer, text + at, sizeof(text) - at);
}

/* ehlo_token_check, octet by octet. */
EHLO_COLD int ehlo_token_check_octets(ehlo_str token, ehlo_fault *fault);

/* Judges what is to stand in a line that goes out: EHLO_ERR_ARG, and *fault says where, at CR, LF, NUL, any other
 * control (those beyond ASCII and line separators among them) or malformed UTF-8. */
static inline int ehlo_token_check(ehlo_str token, ehlo_fault *fault)
{
    return ehlo_chars_are_plain(token) ? EHLO_OK : ehlo_token_check_octets(token, fault);
}

/* Writes a whole command line: name, SP and argument, if there are both, CRLF. The argument's grammar was judged
 * before; its octets are judged here, where all lines pass. line_max: how long the line may be. Results and *len are
 * as for ehlo_command_write; fault is not NULL. */
static EHLO_ALWAYS_INLINE int ehlo_line_write(ehlo_str name, ehlo_str argument, size_t line_max, char *out, size_t cap,
                                              size_t *len, ehlo_fault *fault)
{
    size_t space = name.len > 0 && argument.len > 0;
    *len = 0;
    if (ehlo_token_check(argument, fault) < 0) return EHLO_ERR_ARG;
    size_t needed = name.len + space + argument.len + 2;
    *len = needed;
    if (needed > cap || needed > line_max) return EHLO_ERR_SPACE;
    if (name.len > 0) memcpy(out, name.ptr, name.len);
    out += name.len;
    if (space) *out++ = ' ';
    if (argument.len > 0) memcpy(out, argument.ptr, argument.len);
    memcpy(out + argument.len, "\r\n", 2);
    return EHLO_OK;
}

/* Tells the length; EHLO_ERR_SPACE if not all of it was written. */
static inline int ehlo_writer_end(const ehlo_writer *writer, size_t *len)
{
    *len = writer->len;
    return writer->len <= writer->cap ? EHLO_OK : EHLO_ERR_SPACE;
}

#endif
