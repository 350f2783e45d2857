/* What the compiler is told about the few functions where it matters. */
#ifndef EHLO_SYNTAX_INLINE_H
#define EHLO_SYNTAX_INLINE_H

#include <string.h>

/* ALWAYS_INLINE: a call or a switch would be dearer than the work.
 * COLD: rarely called; inlined, it would cost its caller registers to save each time. */
#if defined(__GNUC__)
#define EHLO_ALWAYS_INLINE inline __attribute__((always_inline))
#define EHLO_COLD __attribute__((cold, noinline))
#else
#define EHLO_ALWAYS_INLINE inline
#define EHLO_COLD
#endif

/* Clears a struct in steps that become plain stores: more at once becomes a string instruction, slow to start. */
static EHLO_ALWAYS_INLINE void ehlo_clear(void *at, size_t len)
{
    const size_t step = 64;
    char *octets = (char *)at;
    for (; len > step; len -= step, octets += step) memset(octets, 0, step);
    memset(octets, 0, len);
}

#endif
