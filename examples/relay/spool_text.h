/* spool_text.h - lines of fields. Fields stand apart by one space; text in them is printable ASCII but '%', and %HH for
 * all else, "-" where it is empty: no field can end a line or begin another one. */
#ifndef SPOOL_TEXT_H
#define SPOOL_TEXT_H

#include <ehlo/types.h>

/* Text that grows. Zero it; bytes is to be freed. */
struct text {
    char *bytes;
    size_t len;
    size_t room;
    int failed; /* there was no memory: what follows is dropped */
};

void text_add(struct text *t, const char *bytes, size_t len);
__attribute__((format(printf, 2, 3))) void text_format(struct text *t, const char *format, ...);
/* A space and the field. */
void text_field(struct text *t, ehlo_str field);
void text_number(struct text *t, uint64_t number);
void text_signed(struct text *t, int64_t number);

/* 1 if it may be a field: it holds no control characters. */
int field_allowed(ehlo_str field);

/* FNV-1a. */
uint64_t text_hash(ehlo_str text);

/* Reads what was written. `bad` once anything was not as asked for: what is read then is empty, or 0. */
struct reader {
    char *at;
    char *end;
    int bad;
};

/* Exactly this. */
void read_word(struct reader *r, const char *word);
/* 1, and behind it, if this stands there. */
int read_if(struct reader *r, const char *word);
/* A space and a field, which is decoded where it stands. */
ehlo_str read_field(struct reader *r);
/* A space and a number. */
uint64_t read_number(struct reader *r, uint64_t max);
int64_t read_signed(struct reader *r);
/* digits of lower-case hex. */
uint64_t read_hex(struct reader *r, int digits);

#endif
