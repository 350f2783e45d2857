/* lib/net/pending.c - the answers of a store. */
#include "loop.h"

static void run_answer(ehlo_loop *loop, ehlo_item *item)
{
    ehlo_pending *pending = (ehlo_pending *)item;
    pending->fn(loop, pending, pending->result);
}

void ehlo_store_answer(ehlo_pending *pending, int result)
{
    pending->item.run = run_answer;
    pending->result = result;
    ehlo_inbox_put(&pending->loop->inbox, &pending->item);
}
