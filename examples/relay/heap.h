/* heap.h - priority queues whose nodes are members of what waits in them: nothing is allocated, so nothing can fail.
 * A pairing heap: insert is constant, remove logarithmic on average. */
#ifndef HEAP_H
#define HEAP_H

#include <stdint.h>

/* Private members, but for key, which stays as it is while the node is in a heap. */
struct node {
    int64_t key;
    struct node *child;
    struct node *next;
    struct node *prev; /* the sibling before, or the parent */
};

/* Zeroed, it is empty. top: a node with the least key, or NULL. */
struct heap {
    struct node *top;
};

void heap_insert(struct heap *h, struct node *node);
/* node must be in h. */
void heap_remove(struct heap *h, struct node *node);
/* Takes all nodes out: a list by `next`, in no order. */
struct node *heap_empty(struct heap *h);

#endif
