/* Octet classes and small text helpers that the grammar and the sessions share. */
#ifndef EHLO_SYNTAX_CHARS_H
#define EHLO_SYNTAX_CHARS_H

#include <ehlo/types.h>

#include "inline.h"

/* A constant view of a string literal, as an initializer. */
/* clang-format off */
#define EHLO_LITERAL(text) { (text), sizeof(text) - 1 }
/* clang-format on */

/* Classes of ASCII octets. Octets above 127 are in none: UTF-8 is judged by sequence, not by octet. */
enum {
    EHLO_CHAR_DIGIT = 1 << 0,
    EHLO_CHAR_ALPHA = 1 << 1,
    EHLO_CHAR_HYPHEN = 1 << 2,
    EHLO_CHAR_UNDERSCORE = 1 << 3,
    EHLO_CHAR_ATEXT = 1 << 4,    /* RFC 5322 3.2.3 */
    EHLO_CHAR_QTEXT = 1 << 5,    /* RFC 5321 4.1.2 qtextSMTP: %d32-33 / %d35-91 / %d93-126 */
    EHLO_CHAR_DCONTENT = 1 << 6, /* RFC 5321 4.1.3: %d33-90 / %d94-126 */
    EHLO_CHAR_VALUE = 1 << 7,    /* RFC 5321 4.1.2 esmtp-value: %d33-60 / %d62-126 */
    EHLO_CHAR_LET_DIG = EHLO_CHAR_ALPHA | EHLO_CHAR_DIGIT,
    EHLO_CHAR_LDH = EHLO_CHAR_LET_DIG | EHLO_CHAR_HYPHEN
};

extern const uint8_t ehlo_char_classes[256];

/* 1 if the octet is in one of the classes. */
static inline int ehlo_char_is(char octet, unsigned classes)
{
    return (ehlo_char_classes[(unsigned char)octet] & classes) != 0;
}

static inline int ehlo_char_is_digit(char octet)
{
    return octet >= '0' && octet <= '9';
}

/* 1 for 0 to 31 and 127. */
static inline int ehlo_char_is_control(char octet)
{
    return (unsigned char)octet < 0x20 || octet == 0x7F;
}

/* 1 for an octet above 127. */
static inline int ehlo_char_is_high(char octet)
{
    return (unsigned char)octet > 0x7F;
}

/* ASCII letters to lower case, all else unchanged. */
static inline char ehlo_char_lower(char octet)
{
    return octet >= 'A' && octet <= 'Z' ? (char)(octet + ('a' - 'A')) : octet;
}

/* The value of a hex digit, -1 for any other octet. */
int ehlo_char_hex(char octet);

/* 1 if both are the same but for the case of ASCII letters. */
int ehlo_chars_equal_nocase(ehlo_str a, ehlo_str b);

/* 1 if text begins with prefix, but for the case of ASCII letters. */
static inline int ehlo_chars_start_nocase(ehlo_str text, ehlo_str prefix)
{
    const int case_bit = 'a' ^ 'A';
    if (text.len < prefix.len) return 0;
    for (size_t i = 0; i < prefix.len; i++) {
        if (text.ptr[i] == prefix.ptr[i]) continue;
        if ((text.ptr[i] ^ prefix.ptr[i]) != case_bit || !ehlo_char_is(text.ptr[i], EHLO_CHAR_ALPHA)) return 0;
    }
    return 1;
}

/* 1 if text is one atom: 1*atext. */
int ehlo_chars_are_atom(ehlo_str text);

/* The offset of the first octet above 127; text.len if there is none. */
size_t ehlo_chars_find_high(ehlo_str text);

/* Reads 1 to digits_max decimal digits that are all of text. EHLO_ERR_SYNTAX: they are not.
 * EHLO_ERR_SPACE: they are, but the number is above 2^64-1; *number is then UINT64_MAX. */
int ehlo_number_parse(ehlo_str text, size_t digits_max, uint64_t *number);

/* The length of the well-formed UTF-8 sequence at `at`, ASCII included; 0 if there is none before end. */
size_t ehlo_utf8_sequence(const char *at, const char *end);

#endif
