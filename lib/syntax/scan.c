/* scan.c - the line-end scan in 8, 16 and 32 octets a step. See scan.h for the trick. */
#include "scan.h"

#include <stdint.h>
#include <string.h>

/* The rule itself, for a truth value, a word or a register of them. cr_before: the octet before is CR;
 * lf: the octet is LF; dot_after: the octet behind is a dot. */
#define STOPS(aim, cr_before, lf, dot_after)                                                                           \
    ((aim) == EHLO_SCAN_DOTS ? (cr_before) & (lf) & (dot_after) : ((cr_before) ^ (lf)) | ((lf) & (dot_after)))

enum { BLOCK = 64 };

static int is_stop(ehlo_scan_aim aim, const char *bytes, size_t at, size_t len)
{
    int cr_before = bytes[at - 1] == '\r';
    int lf = bytes[at] == '\n';
    int dot_after = at + 1 < len && bytes[at + 1] == '.';
    return STOPS(aim, cr_before, lf, dot_after);
}

/* The stops among the 64 octets at a place, the first in the lowest bit. */
typedef uint64_t block_stops(ehlo_scan_aim aim, const char *at);

static EHLO_ALWAYS_INLINE size_t lowest_bit(uint64_t bits)
{
#if defined(__GNUC__)
    return (size_t)__builtin_ctzll(bits);
#else
    size_t place = 0;
    while ((bits >> place & 1) == 0) place++;
    return place;
#endif
}

static size_t find_by_octets(ehlo_scan_aim aim, const char *bytes, size_t from, size_t len)
{
    size_t at = from;
    while (at < len && !is_stop(aim, bytes, at, len)) at++;
    return at;
}

/* What every engine does with its blocks; inlined, so that `block` is no call. A block may not reach the last
 * octet, which has none behind it. The last block overlaps the one before it instead of leaving octets that
 * would have to be looked at one by one. */
static EHLO_ALWAYS_INLINE size_t find_in_blocks(block_stops *block, ehlo_scan_aim aim, const char *bytes, size_t from,
                                                size_t len)
{
    const char *at = bytes + from, *last = bytes + len - 1, *last_block;
    uint64_t stops;
    if (len < BLOCK + 2) return find_by_octets(aim, bytes, from, len);
    last_block = last - BLOCK;
    for (; at <= last_block; at += BLOCK) {
        stops = block(aim, at);
        if (stops != 0) return (size_t)(at - bytes) + lowest_bit(stops);
    }
    if (at < last) {
        stops = block(aim, last_block) >> (at - last_block);
        if (stops != 0) return (size_t)(at - bytes) + lowest_bit(stops);
        at = last;
    }
    return find_by_octets(aim, bytes, (size_t)(at - bytes), len);
}

/* -- portable C: eight octets in a word --------------------------------------------------------------- */

static const uint64_t each_01 = 0x0101010101010101U;
static const uint64_t each_7f = 0x7f7f7f7f7f7f7f7fU;

static EHLO_ALWAYS_INLINE uint64_t load_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* 0x80 in each octet of word that equals octet, 0 in the others. */
static EHLO_ALWAYS_INLINE uint64_t equal_octets(uint64_t word, char octet)
{
    uint64_t differ = word ^ (each_01 * (unsigned char)octet);
    return ~(((differ & each_7f) + each_7f) | differ | each_7f);
}

/* One bit for each octet that is not 0, in the order of memory whatever the byte order of words. */
static uint64_t octets_to_bits(uint64_t word)
{
    unsigned char octets[sizeof word];
    uint64_t bits = 0;
    memcpy(octets, &word, sizeof word);
    for (unsigned i = 0; i < sizeof word; i++) bits |= (uint64_t)(octets[i] >> 7) << i;
    return bits;
}

static EHLO_ALWAYS_INLINE uint64_t word_block(ehlo_scan_aim aim, const char *at)
{
    uint64_t stops = 0;
    for (unsigned i = 0; i < BLOCK; i += sizeof(uint64_t)) {
        uint64_t word = STOPS(aim, equal_octets(load_word(at + i - 1), '\r'), equal_octets(load_word(at + i), '\n'),
                              equal_octets(load_word(at + i + 1), '.'));
        if (word != 0) stops |= octets_to_bits(word) << i;
    }
    return stops;
}

static size_t word_faults_and_dots(const char *bytes, size_t from, size_t len)
{
    return find_in_blocks(word_block, EHLO_SCAN_FAULTS_AND_DOTS, bytes, from, len);
}

static size_t word_dots(const char *bytes, size_t from, size_t len)
{
    return find_in_blocks(word_block, EHLO_SCAN_DOTS, bytes, from, len);
}

static const ehlo_scan word_scan = { "C", { word_faults_and_dots, word_dots } };

/* -- SSE2: sixteen octets in a register ----------------------------------------------------------------- */

#if defined(__SSE2__)
#include <immintrin.h>

static EHLO_ALWAYS_INLINE __m128i sse2_equal(const char *at, char octet)
{
    return _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)at), _mm_set1_epi8(octet));
}

static EHLO_ALWAYS_INLINE __m128i sse2_stops(ehlo_scan_aim aim, const char *at)
{
    __m128i cr_before = sse2_equal(at - 1, '\r'), lf = sse2_equal(at, '\n'), dot_after = sse2_equal(at + 1, '.');
    return STOPS(aim, cr_before, lf, dot_after);
}

static EHLO_ALWAYS_INLINE uint64_t sse2_bits(__m128i stops)
{
    return (uint64_t)(uint32_t)_mm_movemask_epi8(stops);
}

static EHLO_ALWAYS_INLINE uint64_t sse2_block(ehlo_scan_aim aim, const char *at)
{
    __m128i a = sse2_stops(aim, at), b = sse2_stops(aim, at + 16);
    __m128i c = sse2_stops(aim, at + 32), d = sse2_stops(aim, at + 48);
    if (_mm_movemask_epi8((a | b) | (c | d)) == 0) return 0;
    return sse2_bits(a) | sse2_bits(b) << 16 | sse2_bits(c) << 32 | sse2_bits(d) << 48;
}

static size_t sse2_faults_and_dots(const char *bytes, size_t from, size_t len)
{
    return find_in_blocks(sse2_block, EHLO_SCAN_FAULTS_AND_DOTS, bytes, from, len);
}

static size_t sse2_dots(const char *bytes, size_t from, size_t len)
{
    return find_in_blocks(sse2_block, EHLO_SCAN_DOTS, bytes, from, len);
}

static const ehlo_scan sse2_scan = { "SSE2", { sse2_faults_and_dots, sse2_dots } };

/* -- AVX2: thirty-two octets in a register, where the processor has it ------------------------------------ */

#define AVX2 __attribute__((target("avx2")))

AVX2 static EHLO_ALWAYS_INLINE __m256i avx2_equal(const char *at, char octet)
{
    return _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(const void *)at), _mm256_set1_epi8(octet));
}

AVX2 static EHLO_ALWAYS_INLINE __m256i avx2_stops(ehlo_scan_aim aim, const char *at)
{
    __m256i cr_before = avx2_equal(at - 1, '\r'), lf = avx2_equal(at, '\n'), dot_after = avx2_equal(at + 1, '.');
    return STOPS(aim, cr_before, lf, dot_after);
}

AVX2 static inline uint64_t avx2_block(ehlo_scan_aim aim, const char *at)
{
    __m256i a = avx2_stops(aim, at), b = avx2_stops(aim, at + 32);
    if (_mm256_testz_si256(a | b, a | b)) return 0;
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(a) | (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32;
}

AVX2 static size_t avx2_faults_and_dots(const char *bytes, size_t from, size_t len)
{
    return find_in_blocks(avx2_block, EHLO_SCAN_FAULTS_AND_DOTS, bytes, from, len);
}

AVX2 static size_t avx2_dots(const char *bytes, size_t from, size_t len)
{
    return find_in_blocks(avx2_block, EHLO_SCAN_DOTS, bytes, from, len);
}

static const ehlo_scan avx2_scan = { "AVX2", { avx2_faults_and_dots, avx2_dots } };
#endif

/* -- the choice ------------------------------------------------------------------------------------------- */

const ehlo_scan *ehlo_scan_engine(size_t index)
{
    if (index == 0) return &word_scan;
#if defined(__SSE2__)
    if (index == 1) return &sse2_scan;
    if (index == 2 && __builtin_cpu_supports("avx2")) return &avx2_scan;
#endif
    return NULL;
}

const ehlo_scan *ehlo_scan_widest(void)
{
    size_t widest = 0;
    while (ehlo_scan_engine(widest + 1) != NULL) widest++;
    return ehlo_scan_engine(widest);
}
