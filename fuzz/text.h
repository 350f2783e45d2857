/* What fuzz targets of the grammar check of every parse. */
#ifndef EHLO_FUZZ_TEXT_H
#define EHLO_FUZZ_TEXT_H

#include <string.h>

#include <ehlo/syntax.h>

#include "check.h"

/* 1 if both are the same octets. */
static inline int same_text(ehlo_str a, ehlo_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* 1 if the view is empty, or lies within text. */
static inline int is_within(ehlo_str view, ehlo_str text)
{
    return view.len == 0 || (view.ptr >= text.ptr && view.ptr + view.len <= text.ptr + text.len);
}

/* A fault is told exactly where a parse is refused, and lies in the text or at its end. */
static inline void check_result(int result, ehlo_fault fault, ehlo_str text)
{
    CHECK(result == EHLO_OK || result == EHLO_ERR_SYNTAX);
    CHECK((result == EHLO_OK) == (fault.rule == EHLO_RULE_NONE) && fault.offset <= text.len);
}

#endif
