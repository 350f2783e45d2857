/* lib/net/stash.h - octets that a session left, kept until it takes them. NULL is the empty stash. */
#ifndef EHLO_NET_STASH_H
#define EHLO_NET_STASH_H

#include <ehlo/types.h>

typedef struct ehlo_stash ehlo_stash;

/* What is kept; valid until the stash changes. */
ehlo_str ehlo_stash_view(const ehlo_stash *stash);
/* The same as a copy; the number of octets. */
size_t ehlo_stash_copy(const ehlo_stash *stash, char *to);
/* Keeps these octets, which lie elsewhere, instead of what was kept. EHLO_ERR_MEMORY. */
int ehlo_stash_keep(ehlo_stash **stash, const char *bytes, size_t len);
/* Drops the first len octets; costs little, however often it is called: a block that has become far too large is
 * changed for a smaller one, once in a while. */
void ehlo_stash_drop(ehlo_stash **stash, size_t len);

#endif
