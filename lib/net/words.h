/* lib/net/words.h - the system's text files as lines of words. */
#ifndef EHLO_NET_WORDS_H
#define EHLO_NET_WORDS_H

#include <ehlo/types.h>

/* Takes the next line off *text, its end and a comment ('#' up to the end) left out. 0: there is none. */
int ehlo_take_line(ehlo_str *text, ehlo_str *line);
/* Takes the next word off *line; empty at the end. White space is between words. */
ehlo_str ehlo_take_word(ehlo_str *line);
int ehlo_word_is(ehlo_str word, const char *expected);

#endif
