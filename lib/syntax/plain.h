/* Tells in wide registers whether a text is plain: of nothing but 0x20 to 0x7E, as nearly all are. */
#ifndef EHLO_SYNTAX_PLAIN_H
#define EHLO_SYNTAX_PLAIN_H

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "chars.h"

/* Judges so many octets: clear where all are plain. Verdicts add up by `|`. */
#if defined(__SSE2__)
typedef __m128i ehlo_verdict;

static inline ehlo_verdict ehlo_verdict_on(const char *octets)
{
    __m128i above = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)octets), _mm_set1_epi8(0x20));
    return _mm_subs_epu8(above, _mm_set1_epi8(0x7E - 0x20));
}

static inline int ehlo_verdict_is_clear(ehlo_verdict verdict)
{
    return _mm_movemask_epi8(_mm_cmpeq_epi8(verdict, _mm_setzero_si128())) == 0xFFFF;
}
#else
typedef uint64_t ehlo_verdict;

/* In the top bits. The lowest octet that is not plain always shows, for no borrow or carry can reach it from below. */
static inline ehlo_verdict ehlo_verdict_on(const char *octets)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, octets, sizeof(word));
    return (word - 0x20 * ones) | (word + ones);
}

static inline int ehlo_verdict_is_clear(ehlo_verdict verdict)
{
    return (verdict & UINT64_C(0x8080808080808080)) == 0;
}
#endif

static inline int ehlo_few_are_plain(ehlo_str text)
{
    size_t at = 0;
    while (at < text.len && ehlo_char_is(text.ptr[at], EHLO_CHAR_QTEXT | EHLO_CHAR_VALUE)) at++;
    return at == text.len;
}

/* 1 if all of text is plain. The last step overlaps the one before it. */
static EHLO_ALWAYS_INLINE int ehlo_chars_are_plain(ehlo_str text)
{
    const size_t step = sizeof(ehlo_verdict);
    if (text.len < step) return ehlo_few_are_plain(text);
    ehlo_verdict verdict = ehlo_verdict_on(text.ptr + text.len - step);
    for (size_t at = 0; at < text.len - step; at += step) verdict |= ehlo_verdict_on(text.ptr + at);
    return ehlo_verdict_is_clear(verdict);
}

#endif
