/* Parameters of MAIL and RCPT, on their way out. */
#ifndef EHLO_SYNTAX_ENVELOPE_WRITE_H
#define EHLO_SYNTAX_ENVELOPE_WRITE_H

#include <ehlo/syntax.h>

/* 1 if all of params is esmtp-params with one SP between, as the grammar has it; else 0, and *offset is the start
 * of the first that is not. An empty text is none. */
int ehlo_params_valid(ehlo_str params, size_t *offset);

#endif
