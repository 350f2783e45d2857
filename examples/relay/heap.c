#include "heap.h"

#include <stddef.h>

static struct node *meld(struct node *a, struct node *b)
{
    if (a == NULL || b == NULL) return a == NULL ? b : a;
    if (b->key < a->key) {
        struct node *swap = a;
        a = b;
        b = swap;
    }
    b->prev = a;
    b->next = a->child;
    if (b->next != NULL) b->next->prev = b;
    a->child = b;
    return a;
}

/* Siblings are melded in pairs, and the pairs one after the other. */
static struct node *meld_siblings(struct node *first)
{
    struct node *pairs = NULL;
    struct node *all = NULL;
    while (first != NULL) {
        struct node *a = first;
        struct node *b = a->next;
        first = b == NULL ? NULL : b->next;
        a->next = NULL;
        if (b != NULL) b->next = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct node *next = pairs->next;
        pairs->next = NULL;
        all = meld(all, pairs);
        pairs = next;
    }
    if (all != NULL) all->prev = NULL;
    return all;
}

void heap_insert(struct heap *h, struct node *node)
{
    node->child = node->next = node->prev = NULL;
    h->top = meld(h->top, node);
}

void heap_remove(struct heap *h, struct node *node)
{
    struct node *below = meld_siblings(node->child);
    if (node == h->top) {
        h->top = below;
        return;
    }
    if (node->prev->child == node) {
        node->prev->child = node->next;
    } else {
        node->prev->next = node->next;
    }
    if (node->next != NULL) node->next->prev = node->prev;
    h->top = meld(h->top, below);
}

struct node *heap_empty(struct heap *h)
{
    struct node *left = h->top;
    struct node *out = NULL;
    while (left != NULL) {
        struct node *node = left;
        left = node->next;
        if (node->child != NULL) {
            struct node *last = node->child;
            while (last->next != NULL) last = last->next;
            last->next = left;
            left = node->child;
        }
        node->next = out;
        out = node;
    }
    h->top = NULL;
    return out;
}
