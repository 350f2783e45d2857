/* What table-driven tests of the grammar share. */
#ifndef EHLO_TESTS_TABLE_H
#define EHLO_TESTS_TABLE_H

#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <ehlo/syntax.h>

/* A string literal as an ehlo_str, NUL octets inside it included. */
/* clang-format off */
#define TEXT(literal) { literal, sizeof(literal) - 1 }
/* clang-format on */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A guarded copy of text; unguard gives it back. */
static inline ehlo_str guarded(ehlo_str text)
{
    return ehlo_str_make(guard_copy(text.ptr, text.len), text.len);
}

static inline void unguard(ehlo_str text)
{
    guard_free((char *)(uintptr_t)text.ptr, text.len);
}

/* 1 if both are the same octets. */
static inline int same_text(ehlo_str a, ehlo_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* what and name say which member of which row it is. */
static inline void assert_text(ehlo_str expected, ehlo_str got, const char *what, const char *name)
{
    if (same_text(expected, got)) return;
    fail_msg("%s: %s is \"%.*s\" (%zu octets), expected \"%.*s\" (%zu)", name, what, (int)got.len, got.ptr, got.len,
             (int)expected.len, expected.ptr, expected.len);
}

/* A view is empty, or lies within text. */
static inline void assert_within(ehlo_str text, ehlo_str view, const char *name)
{
    if (view.len == 0) return;
    if (view.ptr < text.ptr || view.ptr + view.len > text.ptr + text.len) fail_msg("%s: a view lies outside", name);
}

/* The parse was refused for that rule at that octet. */
static inline void assert_refused(int result, ehlo_fault fault, ehlo_rule rule, size_t offset, const char *name)
{
    if (result == EHLO_ERR_SYNTAX && fault.rule == rule && fault.offset == offset) return;
    ehlo_str expected = ehlo_rule_text(rule);
    ehlo_str got = ehlo_rule_text(fault.rule);
    fail_msg("%s: result %d, \"%.*s\" at %zu, expected \"%.*s\" at %zu", name, result, (int)got.len, got.ptr,
             fault.offset, (int)expected.len, expected.ptr, offset);
}

/* The parse went well. */
static inline void assert_accepted(int result, ehlo_fault fault, const char *name)
{
    if (result == EHLO_OK && fault.rule == EHLO_RULE_NONE && fault.offset == 0) return;
    ehlo_str got = ehlo_rule_text(fault.rule);
    fail_msg("%s: result %d, \"%.*s\" at %zu, expected success", name, result, (int)got.len, got.ptr, fault.offset);
}

/* All of a struct that a refused parse leaves behind is zero. */
static inline void assert_zero(const void *value, size_t size, const char *name)
{
    const unsigned char *octets = value;
    for (size_t i = 0; i < size; i++) {
        if (octets[i] != 0) fail_msg("%s: the output is not zero after a refusal", name);
    }
}

#endif
