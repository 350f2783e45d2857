/* script.h - what text files that tests follow have in common: names, and octets written with escapes. */
#ifndef EHLO_TESTS_SCRIPT_H
#define EHLO_TESTS_SCRIPT_H

#include <stdint.h>
#include <stdlib.h>

#include "peer.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static inline void *must(void *mem)
{
    if (mem == NULL) abort();
    return mem;
}

/* A table of names. */
typedef struct script_named {
    const char *name;
    long value;
} script_named;

enum { SCRIPT_NO_NAME = -1000 };

/* EHLO_CAP_* by the keywords of the extensions. */
extern const script_named script_caps[];
extern const size_t script_caps_count;
/* EHLO_BARE_* */
extern const script_named script_policies[3];

/* The value of a name of len octets; SCRIPT_NO_NAME if the table has none. */
long script_name(const script_named *table, size_t count, const char *name, size_t len);
/* Of names separated by '|' or ' ', or'ed. */
long script_names(const script_named *table, size_t count, const char *text);

/* Appends the octets that a text stands for: \r \n \t \0 \\ \xHH \[N:text] (text N times). */
void script_unescape(const char *text, peer_text *out);
/* 1 if the last backslash of a text has nothing to escape: no CRLF is added then. */
int script_ends_open(const char *text);

#endif
