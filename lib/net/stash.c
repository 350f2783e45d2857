/* lib/net/stash.c - octets that a session left, kept until it takes them. */
#include "stash.h"

#include <ehlo/sasl.h>

#include <stdlib.h>
#include <string.h>

struct ehlo_stash {
    size_t start; /* what is kept is bytes[start..end) */
    size_t end;
    size_t size;
    char bytes[];
};

enum { STASH_MIN = 64 - (int)sizeof(struct ehlo_stash) };

ehlo_str ehlo_stash_view(const ehlo_stash *stash)
{
    if (stash == NULL) return ehlo_str_make(NULL, 0);
    return ehlo_str_make(stash->bytes + stash->start, stash->end - stash->start);
}

size_t ehlo_stash_copy(const ehlo_stash *stash, char *to)
{
    ehlo_str kept = ehlo_stash_view(stash);
    if (kept.len > 0) memcpy(to, kept.ptr, kept.len);
    return kept.len;
}

/* What it held may have been a password's half. */
static void stash_free(ehlo_stash **stash)
{
    if (*stash == NULL) return;
    ehlo_secret_wipe((*stash)->bytes, (*stash)->end);
    free(*stash);
    *stash = NULL;
}

/* Sizes double, so that a line that grows octet by octet is not moved at each of them. */
static ehlo_stash *stash_new(size_t len)
{
    size_t size = STASH_MIN;
    while (size < len) size = 2 * size + sizeof(struct ehlo_stash);
    ehlo_stash *stash = malloc(sizeof *stash + size);
    if (stash == NULL) return NULL;
    stash->start = stash->end = 0;
    stash->size = size;
    return stash;
}

/* A block that once held a stalled message is not kept for the start of a line. */
static int is_oversized(const ehlo_stash *stash, size_t len)
{
    return stash->size > 4096 && stash->size / 4 > len;
}

int ehlo_stash_keep(ehlo_stash **stash, const char *bytes, size_t len)
{
    if (len == 0 || *stash == NULL || (*stash)->size < len || is_oversized(*stash, len)) stash_free(stash);
    if (len == 0) return EHLO_OK;
    if (*stash == NULL) *stash = stash_new(len);
    if (*stash == NULL) return EHLO_ERR_MEMORY;
    if ((*stash)->end > len) ehlo_secret_wipe((*stash)->bytes + len, (*stash)->end - len);
    memcpy((*stash)->bytes, bytes, len);
    (*stash)->start = 0;
    (*stash)->end = len;
    return EHLO_OK;
}

/* Moves what is left to a block of its size; where memory is short the large one serves on. */
static void stash_shrink(ehlo_stash **stash)
{
    ehlo_str left = ehlo_stash_view(*stash);
    ehlo_stash *smaller = NULL;
    if (!is_oversized(*stash, left.len) || ehlo_stash_keep(&smaller, left.ptr, left.len) != EHLO_OK) return;
    stash_free(stash);
    *stash = smaller;
}

void ehlo_stash_drop(ehlo_stash **stash, size_t len)
{
    if (*stash == NULL) return;
    (*stash)->start += len;
    if ((*stash)->start >= (*stash)->end)
        stash_free(stash);
    else
        stash_shrink(stash);
}
