#include "spool_index.h"
#include "spool_text.h"

#include <stdlib.h>
#include <string.h>

static struct part *part_of(struct node *node)
{
    return (struct part *)node;
}

static struct target *target_of(struct node *node)
{
    return (struct target *)node;
}

/* -- targets ---------------------------------------------------------------------------------------- */

enum { FIRST_BUCKETS = 64 };

int index_init(struct index *x)
{
    memset(x, 0, sizeof *x);
    x->buckets = calloc(FIRST_BUCKETS, sizeof(struct target *));
    x->nbuckets = FIRST_BUCKETS;
    return x->buckets == NULL ? EHLO_ERR_MEMORY : EHLO_OK;
}

void index_end(struct index *x)
{
    free(x->buckets);
}

static uint32_t hash_name(ehlo_str name)
{
    uint64_t hash = text_hash(name);
    return (uint32_t)(hash ^ hash >> 32);
}

static struct target **find_place(const struct index *x, ehlo_str name, uint32_t hash)
{
    struct target **at = &x->buckets[hash & (x->nbuckets - 1)];
    while (*at != NULL &&
           ((*at)->hash != hash || (*at)->len != name.len || memcmp((*at)->name, name.ptr, name.len) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

struct target *index_find(const struct index *x, ehlo_str name)
{
    return *find_place(x, name, hash_name(name));
}

/* Without memory for more buckets, the old ones are slower, and good enough. */
static void add_buckets(struct index *x)
{
    size_t nbuckets = 2 * x->nbuckets;
    struct target **buckets = calloc(nbuckets, sizeof(struct target *));
    if (buckets == NULL) return;
    for (size_t i = 0; i < x->nbuckets; i++) {
        while (x->buckets[i] != NULL) {
            struct target *target = x->buckets[i];
            struct target **to = &buckets[target->hash & (nbuckets - 1)];
            x->buckets[i] = target->next;
            target->next = *to;
            *to = target;
        }
    }
    free(x->buckets);
    x->buckets = buckets;
    x->nbuckets = nbuckets;
}

struct target *index_intern(struct index *x, ehlo_str name)
{
    uint32_t hash = hash_name(name);
    struct target *target = *find_place(x, name, hash);
    if (target == NULL) {
        target = calloc(1, sizeof *target + name.len);
        if (target == NULL) return NULL;
        if (x->ntargets++ == x->nbuckets) add_buckets(x);
        target->hash = hash;
        target->len = (uint8_t)name.len;
        memcpy(target->name, name.ptr, name.len);
        *find_place(x, name, hash) = target;
    }
    target->users++;
    return target;
}

void index_forget(struct index *x, struct target *target)
{
    if (--target->users > 0) return;
    struct target **at = &x->buckets[target->hash & (x->nbuckets - 1)];
    while (*at != target) at = &(*at)->next;
    *at = target->next;
    x->ntargets--;
    free(target);
}

/* -- parts ------------------------------------------------------------------------------------------ */

void index_hide(struct index *x, struct target *target)
{
    heap_remove(&x->targets, &target->node);
}

void index_show(struct index *x, struct target *target)
{
    if (target->ready.top == NULL) return;
    target->node.key = target->ready.top->key;
    heap_insert(&x->targets, &target->node);
}

void index_ready(struct index *x, struct part *part, int64_t since)
{
    struct target *target = part->target;
    if (target->ready.top != NULL) index_hide(x, target);
    part->node.key = since;
    part->state = PART_READY;
    heap_insert(&target->ready, &part->node);
    target->nready++;
    index_show(x, target);
}

void index_wait(struct index *x, struct part *part, int64_t until)
{
    part->node.key = until;
    part->state = PART_WAITING;
    heap_insert(&x->waiting, &part->node);
}

void index_take(struct index *x, struct part *part)
{
    if (part->state == PART_WAITING) heap_remove(&x->waiting, &part->node);
    if (part->state == PART_READY) {
        index_hide(x, part->target);
        heap_remove(&part->target->ready, &part->node);
        part->target->nready--;
        index_show(x, part->target);
    }
    part->state = PART_OUT;
}

struct part *index_come(struct index *x, int64_t now)
{
    if (x->waiting.top == NULL || x->waiting.top->key > now) return NULL;
    struct part *part = part_of(x->waiting.top);
    index_take(x, part);
    return part;
}

int64_t index_next(const struct index *x)
{
    return x->waiting.top == NULL ? EHLO_NEVER : x->waiting.top->key;
}

struct part *index_first(const struct index *x)
{
    return x->targets.top == NULL ? NULL : part_of(target_of(x->targets.top)->ready.top);
}

void index_targets(struct index *x, void (*each)(struct target *target, void *arg), void *arg)
{
    for (size_t i = 0; i < x->nbuckets; i++) {
        for (struct target *target = x->buckets[i]; target != NULL; target = target->next) each(target, arg);
    }
}

void index_walk(struct index *x, int64_t (*each)(const struct part *part, void *arg), void *arg)
{
    struct node *node = heap_empty(&x->waiting);
    while (node != NULL) {
        struct part *part = part_of(node);
        node = node->next;
        int64_t until = each(part, arg);
        if (until == INT64_MIN) {
            index_ready(x, part, part->node.key);
        } else {
            index_wait(x, part, until);
        }
    }
}

struct part *index_any(struct index *x)
{
    struct part *part = x->waiting.top == NULL ? index_first(x) : part_of(x->waiting.top);
    if (part != NULL) index_take(x, part);
    return part;
}
