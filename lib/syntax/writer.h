/* Builds text in a caller's buffer. What does not fit is counted but not written, so that the length tells how
 * much room the whole needs. */
#ifndef EHLO_SYNTAX_WRITER_H
#define EHLO_SYNTAX_WRITER_H

#include <string.h>

#include <ehlo/syntax.h>

typedef struct ehlo_writer {
    char *out;
    size_t cap;
    size_t len;
} ehlo_writer;

static inline void ehlo_writer_put(ehlo_writer *writer, const char *octets, size_t len)
{
    if (len > 0 && writer->len < writer->cap && len <= writer->cap - writer->len) {
        memcpy(writer->out + writer->len, octets, len);
    }
    writer->len += len;
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
    char text[3 * sizeof(number)];
    size_t at = sizeof(text);
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (sizeof(text) - at < digits) text[--at] = '0';
    ehlo_writer_put(writer, text + at, sizeof(text) - at);
}

/* Judges what is to stand in a line that goes out: EHLO_ERR_ARG, and *fault says where, at CR, LF, NUL, any other
 * control (those beyond ASCII and line separators among them) or malformed UTF-8. */
int ehlo_token_check(ehlo_str token, ehlo_fault *fault);

/* Writes a whole command line: the verb's name, SP and argument, if there is one, CRLF. The argument's grammar was
 * judged before; its octets are judged here, where all lines pass. Results and *len are as for
 * ehlo_command_write; fault is not NULL. */
int ehlo_command_line_write(ehlo_verb verb, ehlo_str argument, char *out, size_t cap, size_t *len, ehlo_fault *fault);

/* Tells the length; EHLO_ERR_SPACE if not all of it was written. */
static inline int ehlo_writer_end(const ehlo_writer *writer, size_t *len)
{
    *len = writer->len;
    return writer->len <= writer->cap ? EHLO_OK : EHLO_ERR_SPACE;
}

#endif
