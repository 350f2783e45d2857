/* A cursor over the text of one parse, which remembers the first fault. */
#ifndef EHLO_SYNTAX_CURSOR_H
#define EHLO_SYNTAX_CURSOR_H

#include <ehlo/syntax.h>

#include "chars.h"

typedef struct ehlo_cursor {
    const char *start; /* fault offsets count from here */
    const char *at;
    const char *end;
    unsigned leniencies; /* EHLO_SYNTAX_* */
    int utf8;            /* 1: a UTF-8 sequence was skipped */
    ehlo_fault fault;
} ehlo_cursor;

/* A cursor at the start of text. */
static inline ehlo_cursor ehlo_cursor_make(ehlo_str text, unsigned leniencies)
{
    const char *start = text.ptr != NULL ? text.ptr : ""; /* so that no arithmetic is done on NULL */
    return (ehlo_cursor){ start, start, start + text.len, leniencies, 0, { 0, EHLO_RULE_NONE } };
}

static inline int ehlo_cursor_more(const ehlo_cursor *cursor)
{
    return cursor->at < cursor->end;
}

/* 1 if `octet` comes next. */
static inline int ehlo_cursor_next_is(const ehlo_cursor *cursor, char octet)
{
    return cursor->at < cursor->end && *cursor->at == octet;
}

/* Steps over `octet` if it comes next; 1 if it did. */
static inline int ehlo_cursor_take(ehlo_cursor *cursor, char octet)
{
    if (!ehlo_cursor_next_is(cursor, octet)) return 0;
    cursor->at++;
    return 1;
}

/* The view from `from` to the cursor. */
static inline ehlo_str ehlo_cursor_since(const ehlo_cursor *cursor, const char *from)
{
    return ehlo_str_make(from, (size_t)(cursor->at - from));
}

/* The view from the cursor to the end. */
static inline ehlo_str ehlo_cursor_rest(const ehlo_cursor *cursor)
{
    return ehlo_str_make(cursor->at, (size_t)(cursor->end - cursor->at));
}

/* ehlo_cursor_skip from the first octet above ASCII on. */
EHLO_COLD void ehlo_cursor_skip_utf8(ehlo_cursor *cursor, unsigned classes);

/* Steps over octets of the classes and, with EHLO_SYNTAX_UTF8, over UTF-8 sequences above ASCII. */
static inline void ehlo_cursor_skip(ehlo_cursor *cursor, unsigned classes)
{
    const char *at = cursor->at;
    const char *end = cursor->end;
    while (at < end && ehlo_char_is(*at, classes)) at++;
    cursor->at = at;
    if (at < end && ehlo_char_is_high(*at) && cursor->leniencies & EHLO_SYNTAX_UTF8) {
        ehlo_cursor_skip_utf8(cursor, classes);
    }
}

/* Steps over a quoted string, whose opening quote comes next. */
EHLO_COLD int ehlo_cursor_quoted_string(ehlo_cursor *cursor);

/* Notes a fault at `at`; EHLO_ERR_SYNTAX. */
EHLO_COLD int ehlo_cursor_refuse_at(ehlo_cursor *cursor, const char *at, ehlo_rule rule);

/* Notes that the octet at the cursor, or the end there, breaks `rule`, unless the octet may occur nowhere:
 * a control, an octet above 127 without EHLO_SYNTAX_UTF8, or one that begins no UTF-8 sequence. */
EHLO_COLD int ehlo_cursor_refuse(ehlo_cursor *cursor, ehlo_rule rule);

/* Tells the caller's fault (may be NULL) how the parse ended, and hands `result` through. */
static inline int ehlo_cursor_result(const ehlo_cursor *cursor, int result, ehlo_fault *fault)
{
    if (fault != NULL) *fault = cursor->fault;
    return result;
}

#endif
