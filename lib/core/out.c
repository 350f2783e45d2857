#include "out.h"

#include <string.h>

void ehlo_out_compact(ehlo_out *out)
{
    ehlo_str waiting = ehlo_out_waiting(out);
    memmove(out->block, waiting.ptr, waiting.len);
    out->end = (uint32_t)waiting.len;
    out->start = 0;
    out->alone = NULL;
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
    if (out->alone != NULL || out->size - out->held - out->end < out->held) ehlo_out_compact(out);
    memcpy(out->block + out->end, out->block + out->size - out->held, out->held);
    out->end += out->held;
}

void ehlo_out_promote(ehlo_out *out)
{
    if (out->held == 0) return;
    if (out->alone != NULL || out->start > 0) ehlo_out_compact(out);
    memmove(out->block + out->end, out->block + out->size - out->held, out->held);
    out->end += out->held;
    out->held = 0;
}

void ehlo_out_drop_held(ehlo_out *out)
{
    out->held = 0;
}

void ehlo_out_clear(ehlo_out *out, const ehlo_lender *lender)
{
    out->start = out->end = out->held = 0;
    out->alone = NULL;
    ehlo_out_settle(out, lender);
}
