/* Octet classes and small text helpers. */
#include "chars.h"

/* One name for each set of classes that occurs, so that the table below can be read. */
enum {
    CT = 0,                                                      /* control */
    SP = EHLO_CHAR_QTEXT,                                        /* space */
    SC = EHLO_CHAR_QTEXT | EHLO_CHAR_DCONTENT | EHLO_CHAR_VALUE, /* special: ( ) , . : ; < > @ */
    DQ = EHLO_CHAR_DCONTENT | EHLO_CHAR_VALUE,                   /* double quote */
    BR = EHLO_CHAR_QTEXT | EHLO_CHAR_VALUE,                      /* [ ] */
    BS = EHLO_CHAR_VALUE,                                        /* backslash */
    EQ = EHLO_CHAR_ATEXT | EHLO_CHAR_QTEXT | EHLO_CHAR_DCONTENT, /* = */
    AT = EHLO_CHAR_ATEXT | SC,                                   /* atext that is no letter or digit */
    HY = AT | EHLO_CHAR_HYPHEN,
    US = AT | EHLO_CHAR_UNDERSCORE,
    DG = AT | EHLO_CHAR_DIGIT,
    AL = AT | EHLO_CHAR_ALPHA
};

/* clang-format off */
const uint8_t ehlo_char_classes[256] = {
    CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT,
    CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT, CT,
    SP, AT, DQ, AT, AT, AT, AT, AT, SC, SC, AT, AT, SC, HY, SC, AT, /*   ! " # $ % & ' ( ) * + , - . / */
    DG, DG, DG, DG, DG, DG, DG, DG, DG, DG, SC, SC, SC, EQ, SC, AT, /* 0 1 2 3 4 5 6 7 8 9 : ; < = > ? */
    SC, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, /* @ A B C D E F G H I J K L M N O */
    AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, BR, BS, BR, AT, US, /* P Q R S T U V W X Y Z [ \ ] ^ _ */
    AT, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, /* ` a b c d e f g h i j k l m n o */
    AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AL, AT, AT, AT, AT, CT, /* p q r s t u v w x y z { | } ~   */
};
/* clang-format on */

int ehlo_char_hex(char octet)
{
    if (ehlo_char_is_digit(octet)) return octet - '0';
    char lower = ehlo_char_lower(octet);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int ehlo_chars_equal_nocase(ehlo_str a, ehlo_str b)
{
    return a.len == b.len && ehlo_chars_start_nocase(a, b);
}

int ehlo_chars_are_atom(ehlo_str text)
{
    size_t at = 0;
    while (at < text.len && ehlo_char_is(text.ptr[at], EHLO_CHAR_ATEXT)) at++;
    return at == text.len && at > 0;
}

/* 1 if one of so many words of octets holds an octet above 127. */
static EHLO_ALWAYS_INLINE int words_have_high(const char *octets, size_t words)
{
    uint64_t any = 0;
    for (size_t i = 0; i < words; i++) {
        uint64_t word;
        memcpy(&word, octets + i * sizeof(word), sizeof(word));
        any |= word;
    }
    return (any & UINT64_C(0x8080808080808080)) != 0;
}

size_t ehlo_chars_find_high(ehlo_str text)
{
    enum { WORD = sizeof(uint64_t), BLOCK = 8 * WORD };
    size_t i = 0;
    while (text.len - i >= BLOCK && !words_have_high(text.ptr + i, BLOCK / WORD)) i += BLOCK;
    while (text.len - i >= WORD && !words_have_high(text.ptr + i, 1)) i += WORD;
    while (i < text.len && !ehlo_char_is_high(text.ptr[i])) i++;
    return i;
}

int ehlo_number_parse(ehlo_str text, size_t digits_max, uint64_t *number)
{
    int result = EHLO_OK;
    *number = 0;
    if (text.len == 0 || text.len > digits_max) return EHLO_ERR_SYNTAX;
    for (size_t i = 0; i < text.len; i++) {
        if (!ehlo_char_is_digit(text.ptr[i])) return EHLO_ERR_SYNTAX;
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        if (*number > (UINT64_MAX - digit) / 10) result = EHLO_ERR_SPACE;
        *number = result == EHLO_OK ? *number * 10 + digit : UINT64_MAX;
    }
    return result;
}
