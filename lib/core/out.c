#include "out.h"

#include <string.h>

ehlo_str ehlo_out_waiting(const ehlo_out *out)
{
    return ehlo_str_make(out->block + out->start, ehlo_out_length(out));
}

void ehlo_out_taken(ehlo_out *out, size_t taken)
{
    out->start += (uint32_t)taken;
    if (out->start == out->end) out->start = out->end = 0;
}

/* What was sent already makes room by moving the rest to the front: at most one block, and only when full. */
static void compact(ehlo_out *out)
{
    memmove(out->block, out->block + out->start, ehlo_out_length(out));
    out->end -= out->start;
    out->start = 0;
}

char *ehlo_out_room(ehlo_out *out, const ehlo_lender *lender, size_t need, int *failed)
{
    if (!ehlo_out_fits(out, need)) return NULL;
    if (out->block == NULL) {
        out->block = (char *)lender->lend(out->size, lender->ctx);
        if (out->block == NULL) {
            *failed = 1;
            return NULL;
        }
    }
    if (out->size - out->held - out->end < need) compact(out);
    return out->block + out->end;
}

void ehlo_out_added(ehlo_out *out, size_t len)
{
    out->end += (uint32_t)len;
}

void ehlo_out_hold(ehlo_out *out, size_t len)
{
    out->end -= (uint32_t)len;
    memmove(out->block + out->size - len, out->block + out->end, len);
    out->held = (uint32_t)len;
    if (out->start == out->end) out->start = out->end = 0;
}

void ehlo_out_release(ehlo_out *out)
{
    if (out->size - out->held - out->end < out->held) compact(out);
    memcpy(out->block + out->end, out->block + out->size - out->held, out->held);
    out->end += out->held;
}

void ehlo_out_drop_held(ehlo_out *out)
{
    out->held = 0;
}

void ehlo_out_settle(ehlo_out *out, const ehlo_lender *lender)
{
    if (lender->lend == NULL || out->block == NULL || out->held != 0 || !ehlo_out_empty(out)) return;
    lender->give(out->block, out->size, lender->ctx);
    out->block = NULL;
}

void ehlo_out_clear(ehlo_out *out, const ehlo_lender *lender)
{
    out->start = out->end = out->held = 0;
    ehlo_out_settle(out, lender);
}
