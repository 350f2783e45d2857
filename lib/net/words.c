/* lib/net/words.c - the system's text files as lines of words. */
#include "words.h"

#include <string.h>

/* The octets before the next c, or before the end. */
static size_t length_before(ehlo_str text, char c)
{
    const char *found = text.len > 0 ? memchr(text.ptr, c, text.len) : NULL;
    return found != NULL ? (size_t)(found - text.ptr) : text.len;
}

static ehlo_str without_first(ehlo_str text, size_t len)
{
    return len == 0 ? text : ehlo_str_make(text.ptr + len, text.len - len);
}

int ehlo_take_line(ehlo_str *text, ehlo_str *line)
{
    if (text->len == 0) return 0;
    *line = ehlo_str_make(text->ptr, length_before(*text, '\n'));
    *text = without_first(*text, line->len < text->len ? line->len + 1 : line->len);
    line->len = length_before(*line, '#');
    return 1;
}

static int is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

ehlo_str ehlo_take_word(ehlo_str *line)
{
    size_t from = 0;
    while (from < line->len && is_blank(line->ptr[from])) from++;
    size_t to = from;
    while (to < line->len && !is_blank(line->ptr[to])) to++;
    ehlo_str word = ehlo_str_make(without_first(*line, from).ptr, to - from);
    *line = without_first(*line, to);
    return word;
}

int ehlo_word_is(ehlo_str word, const char *expected)
{
    return word.len == strlen(expected) && memcmp(word.ptr, expected, word.len) == 0;
}
