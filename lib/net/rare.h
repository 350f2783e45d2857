/* lib/net/rare.h - for what most events have no need of. */
#ifndef EHLO_NET_RARE_H
#define EHLO_NET_RARE_H

/* Stays a function of its own: inside the one that calls it, it would cost every event registers to save. */
#if defined(__GNUC__)
#define EHLO_RARE __attribute__((noinline))
#else
#define EHLO_RARE
#endif

#endif
