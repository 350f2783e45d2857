/* Characters that may stand in one line of text. */
#ifndef EHLO_SYNTAX_PRINTABLE_H
#define EHLO_SYNTAX_PRINTABLE_H

#include <ehlo/types.h>

/* The length of the UTF-8 sequence at `at`, which is before end; 0 if it is malformed, a control (U+0080 to
 * U+009F are such too: terminals obey them) or a line or paragraph separator. */
size_t ehlo_printable_sequence(const char *at, const char *end);

#endif
