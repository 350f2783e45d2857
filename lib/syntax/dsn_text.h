/* The two texts of a report: for people and for programs. What somebody else said is cleaned and cut before it stands in
 * either. */
#ifndef EHLO_SYNTAX_DSN_TEXT_H
#define EHLO_SYNTAX_DSN_TEXT_H

#include <ehlo/dsn.h>

#include "writer.h"

enum {
    EHLO_DSN_LINE_PREFERRED = 78, /* RFC 5322 2.1.1 */
    EHLO_DSN_TEXT_MAX = 900,      /* of any one text: keeps its line below the 998 of the same */
    EHLO_DSN_ORCPT_MAX = 500,     /* RFC 3461 4.2 */
    EHLO_DSN_NAME_MAX = 255,
    EHLO_DSN_DATE_MAX = 32
};

/* A line that is being written, and goes on in others where it becomes longer than RFC 5322 2.1.1 would have it. */
typedef struct ehlo_dsn_line {
    ehlo_writer *writer;
    const char *indent; /* what a line begins with */
    size_t start;       /* where the one under way begins, by the writer's count */
    int begun;          /* 1: something stands in it */
} ehlo_dsn_line;

/* What of text may be shown (ehlo_text_clean), without spaces around it, in at most max octets; and, unless utf8, with
 * '?' for each character that is not ASCII. It is written to out. */
ehlo_str ehlo_dsn_clean(ehlo_str text, size_t max, int utf8, char out[EHLO_DSN_TEXT_MAX]);

/* A time in the report's zone; empty if it is 0, or beyond what a date can tell. */
ehlo_str ehlo_dsn_date(const ehlo_dsn *dsn, int64_t time, char out[EHLO_DSN_DATE_MAX]);

/* Goes on in another line, if something stands in this one. */
void ehlo_dsn_line_break(ehlo_dsn_line *line);

/* Words, which have to be clean; a line is never broken inside of one. */
void ehlo_dsn_line_put(ehlo_dsn_line *line, ehlo_str words);

/* The reply, with its codes, or the text that stands in its place; each of its lines begins one. */
void ehlo_dsn_line_put_reply(ehlo_dsn_line *line, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt);

/* The value of the Status field. */
void ehlo_dsn_put_status(ehlo_writer *writer, const ehlo_dsn_recipient *rcpt);

/* For people: how it begins, and what happened to one recipient. */
void ehlo_dsn_put_opening(ehlo_writer *writer, const ehlo_dsn *dsn, ehlo_action action);
void ehlo_dsn_put_words(ehlo_writer *writer, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt);

/* For programs: the fields of the message, and those of one recipient. */
void ehlo_dsn_put_message_fields(ehlo_writer *writer, const ehlo_dsn *dsn);
void ehlo_dsn_put_recipient_fields(ehlo_writer *writer, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt);

#endif
