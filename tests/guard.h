/* Octets flush against a page that cannot be read: a parser that looks one octet too far dies on the spot.
 * Include it before any other header, or define _DEFAULT_SOURCE (for MAP_ANONYMOUS). */
#ifndef EHLO_TESTS_GUARD_H
#define EHLO_TESTS_GUARD_H

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is mapped for len octets, without the guard page. */
static inline size_t guard_room(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (len / page + 1) * page;
}

/* A copy of len octets whose end is the start of an unreadable page; for len 0 the pointer is that page.
 * The copy may be written to. Aborts if the system refuses. */
static inline char *guard_copy(const void *bytes, size_t len)
{
    size_t room = guard_room(len);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *base = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + room, page, PROT_NONE) != 0) abort();
    char *copy = base + room - len;
    if (len > 0) memcpy(copy, bytes, len);
    return copy;
}

/* Gives back what guard_copy made for len octets. */
static inline void guard_free(char *copy, size_t len)
{
    size_t room = guard_room(len);
    if (munmap(copy + len - room, room + (size_t)sysconf(_SC_PAGESIZE)) != 0) abort();
}

#endif
