/* Memory that tells: octets flush against an unreadable page, with canaries around them. Include it behind cmocka.h. */
#ifndef EHLO_TESTS_ARENA_H
#define EHLO_TESTS_ARENA_H

#include "guard.h"

enum { ARENA_ALIGNMENT = _Alignof(max_align_t), ARENA_CANARY = 0x5A };

/* len octets, aligned for anything, flush against an unreadable page but for what alignment needs; what lies
 * around them on their pages is checked when they are given back. */
typedef struct arena {
    char *page;  /* of guard_copy */
    char *start; /* of the len octets */
    size_t len;
    size_t room;
} arena;

static inline arena arena_new(size_t len)
{
    arena a = { .len = len, .room = guard_room(len + ARENA_ALIGNMENT) };
    char *canaries = malloc(a.room);
    assert_non_null(canaries);
    memset(canaries, ARENA_CANARY, a.room);
    a.page = guard_copy(canaries, a.room);
    a.start = a.page + (a.room - len) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    free(canaries);
    return a;
}

static inline void arena_check(const char *from, const char *to)
{
    for (; from < to; from++) assert_int_equal(*from, ARENA_CANARY);
}

static inline void arena_free(arena *a)
{
    arena_check(a->page, a->start);
    arena_check(a->start + a->len, a->page + a->room);
    guard_free(a->page, a->room);
    memset(a, 0, sizeof *a);
}

#endif
