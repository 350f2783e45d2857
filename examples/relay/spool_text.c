#include "spool_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- writing ---------------------------------------------------------------------------------------- */

static int text_reserve(struct text *t, size_t len)
{
    size_t room = t->room == 0 ? 512 : t->room;
    while (!t->failed && room - t->len < len) room *= 2;
    if (t->failed || room == t->room) return !t->failed;
    char *bytes = realloc(t->bytes, room);
    if (bytes == NULL) {
        t->failed = 1;
        return 0;
    }
    t->bytes = bytes;
    t->room = room;
    return 1;
}

void text_add(struct text *t, const char *bytes, size_t len)
{
    if (len == 0 || !text_reserve(t, len)) return;
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

void text_format(struct text *t, const char *format, ...)
{
    char line[128];
    va_list list;
    va_start(list, format);
    int len = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (len < 0 || (size_t)len >= sizeof line) t->failed = 1;
    if (!t->failed) text_add(t, line, (size_t)len);
}

static int is_plain(char c)
{
    return c > ' ' && c < 0x7f && c != '%';
}

void text_field(struct text *t, ehlo_str field)
{
    static const char hex[] = "0123456789abcdef";
    if (!text_reserve(t, 3 * field.len + 4)) return;
    char *at = t->bytes + t->len;
    int dash = field.len == 1 && field.ptr[0] == '-';
    *at++ = ' ';
    if (field.len == 0) *at++ = '-';
    for (size_t i = 0; i < field.len; i++) {
        unsigned char octet = (unsigned char)field.ptr[i];
        if (is_plain(field.ptr[i]) && !dash) {
            *at++ = field.ptr[i];
            continue;
        }
        *at++ = '%';
        *at++ = hex[octet >> 4];
        *at++ = hex[octet & 15];
    }
    t->len = (size_t)(at - t->bytes);
}

void text_number(struct text *t, uint64_t number)
{
    text_format(t, " %llu", (unsigned long long)number);
}

void text_signed(struct text *t, int64_t number)
{
    text_format(t, " %lld", (long long)number);
}

int field_allowed(ehlo_str field)
{
    for (size_t i = 0; i < field.len; i++) {
        unsigned char octet = (unsigned char)field.ptr[i];
        if (octet < ' ' || octet == 0x7f) return 0;
    }
    return 1;
}

uint64_t text_hash(ehlo_str text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.len; i++) hash = (hash ^ (unsigned char)text.ptr[i]) * UINT64_C(1099511628211);
    return hash;
}

/* -- reading ---------------------------------------------------------------------------------------- */

int read_if(struct reader *r, const char *word)
{
    size_t len = strlen(word);
    if (r->bad || (size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0) return 0;
    r->at += len;
    return 1;
}

void read_word(struct reader *r, const char *word)
{
    if (!read_if(r, word)) r->bad = 1;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

uint64_t read_hex(struct reader *r, int digits)
{
    uint64_t value = 0;
    for (int i = 0; i < digits && !r->bad; i++) {
        int digit = r->at < r->end ? hex_value(*r->at++) : -1;
        if (digit < 0) r->bad = 1;
        value = value << 4 | (uint64_t)(digit & 15);
    }
    return r->bad ? 0 : value;
}

static int goes_on(const struct reader *r)
{
    return !r->bad && r->at < r->end && (is_plain(*r->at) || *r->at == '%');
}

ehlo_str read_field(struct reader *r)
{
    read_word(r, " ");
    char *start = r->at;
    char *to = start;
    int empty = read_if(r, "-") && !goes_on(r);
    if (!empty) r->at = start;
    while (!empty && goes_on(r)) {
        char c = *r->at++;
        if (c == '%') c = (char)read_hex(r, 2);
        *to++ = c;
    }
    ehlo_str field = ehlo_str_make(start, (size_t)(to - start));
    if (!empty && (field.len == 0 || !field_allowed(field))) r->bad = 1;
    return r->bad ? ehlo_str_make(NULL, 0) : field;
}

static uint64_t read_digits(struct reader *r, uint64_t max)
{
    uint64_t value = 0;
    char *start = r->at;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        uint64_t digit = (uint64_t)(*r->at - '0');
        if (digit > max || value > (max - digit) / 10) r->bad = 1;
        if (!r->bad) value = value * 10 + digit;
    }
    if (r->at == start) r->bad = 1;
    return r->bad ? 0 : value;
}

uint64_t read_number(struct reader *r, uint64_t max)
{
    read_word(r, " ");
    return r->bad ? 0 : read_digits(r, max);
}

int64_t read_signed(struct reader *r)
{
    read_word(r, " ");
    int negative = read_if(r, "-");
    int64_t value = r->bad ? 0 : (int64_t)read_digits(r, INT64_MAX);
    return negative ? -value : value;
}
