/* Internet date-times. */
#ifndef EHLO_SYNTAX_DATETIME_H
#define EHLO_SYNTAX_DATETIME_H

#include <ehlo/types.h>

/* 1 if all of text is an RFC 3339 date-time that exists; with utc_only, one that ends in "Z". */
int ehlo_datetime_valid(ehlo_str text, int utc_only);

#endif
