/* lib/net/limits.c - connections counted in total and per remote address, for loops of many threads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An address that is counted by: IPv4, or the /64 of IPv6, since a host has all of its /64. */
typedef struct address_key {
    uint64_t bits;
    uint64_t family;
} address_key;

typedef struct address_count {
    address_key key;
    size_t count; /* 0: this place is empty */
} address_count;

/* The addresses are in an open hash table with linear probing, at most half full. */
struct ehlo_limits {
    pthread_mutex_t lock;
    size_t total_max;
    size_t per_address_max;
    size_t total;
    address_count *table;
    size_t room; /* a power of two, or 0 */
    size_t used;
    uint64_t seed; /* so that nobody can choose addresses that collide */
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

int ehlo_limits_new(ehlo_limits **result, size_t total, size_t per_address)
{
    struct timespec time;
    ehlo_limits *limits = calloc(1, sizeof *limits);
    if (limits == NULL) return EHLO_ERR_MEMORY;
    if (pthread_mutex_init(&limits->lock, NULL) != 0) {
        free(limits);
        return EHLO_ERR_MEMORY;
    }
    clock_gettime(CLOCK_REALTIME, &time);
    limits->seed = mix((uint64_t)time.tv_nsec ^ (uint64_t)time.tv_sec << 32) ^ mix((uintptr_t)limits);
    limits->total_max = total;
    limits->per_address_max = per_address;
    *result = limits;
    return EHLO_OK;
}

void ehlo_limits_free(ehlo_limits *limits)
{
    if (limits == NULL) return;
    pthread_mutex_destroy(&limits->lock);
    free(limits->table);
    free(limits);
}

static address_key key_of(const ehlo_address *address)
{
    address_key key = { 0, address->family };
    memcpy(&key.bits, address->octets, address->family == EHLO_FAMILY_IPV4 ? 4 : sizeof key.bits);
    return key;
}

static size_t home_of(const ehlo_limits *limits, const address_key *key)
{
    return (size_t)mix(key->bits + mix(limits->seed ^ key->family)) & (limits->room - 1);
}

/* The place of key, or the empty one where it would be. The table is not full. */
static address_count *find(const ehlo_limits *limits, const address_key *key)
{
    size_t place = home_of(limits, key);
    for (;; place = (place + 1) & (limits->room - 1)) {
        address_count *entry = &limits->table[place];
        if (entry->count == 0 || (entry->key.bits == key->bits && entry->key.family == key->family)) return entry;
    }
}

static int reserve(ehlo_limits *limits)
{
    if (limits->used < limits->room / 2) return 1;
    address_count *old = limits->table;
    size_t old_room = limits->room;
    size_t room = old_room == 0 ? 64 : old_room * 2;
    address_count *table = calloc(room, sizeof *table);
    if (table == NULL) return 0;
    limits->table = table;
    limits->room = room;
    for (size_t i = 0; i < old_room; i++) {
        if (old[i].count != 0) *find(limits, &old[i].key) = old[i];
    }
    free(old);
    return 1;
}

static int count_address(ehlo_limits *limits, const address_key *key)
{
    if (!reserve(limits)) return 0;
    address_count *entry = find(limits, key);
    if (entry->count >= limits->per_address_max) return 0;
    if (entry->count++ == 0) limits->used++;
    entry->key = *key;
    return 1;
}

/* Moves back what was pushed on past the place that is empty now. */
static void close_gap(ehlo_limits *limits, size_t gap)
{
    size_t mask = limits->room - 1;
    for (size_t place = (gap + 1) & mask; limits->table[place].count != 0; place = (place + 1) & mask) {
        size_t home = home_of(limits, &limits->table[place].key);
        if (((place - home) & mask) < ((place - gap) & mask)) continue;
        limits->table[gap] = limits->table[place];
        limits->table[place].count = 0;
        gap = place;
    }
}

int ehlo_limits_take(ehlo_limits *limits, const ehlo_address *remote)
{
    if (limits == NULL) return 1;
    address_key key = key_of(remote);
    pthread_mutex_lock(&limits->lock);
    int free_place = limits->total_max == 0 || limits->total < limits->total_max;
    if (free_place && limits->per_address_max != 0) free_place = count_address(limits, &key);
    if (free_place) limits->total++;
    pthread_mutex_unlock(&limits->lock);
    return free_place;
}

void ehlo_limits_give(ehlo_limits *limits, const ehlo_address *remote)
{
    if (limits == NULL) return;
    address_key key = key_of(remote);
    pthread_mutex_lock(&limits->lock);
    limits->total--;
    if (limits->per_address_max != 0) {
        address_count *entry = find(limits, &key);
        if (--entry->count == 0) {
            limits->used--;
            close_gap(limits, (size_t)(entry - limits->table));
        }
    }
    pthread_mutex_unlock(&limits->lock);
}
