/* out.h - replies that wait for the transport, in one bounded block.
 *
 * The block is [sent | waiting | room | held]. `held` is one whole reply that is not yet due: the answer to a
 * message that is still being drained, or the one that every recipient of an LMTP message gets. A reply of the
 * library's own that waits alone needs no block: it is sent from where it stands. */
#ifndef EHLO_CORE_OUT_H
#define EHLO_CORE_OUT_H

#include <ehlo/server.h>

typedef struct ehlo_out {
    char *block;       /* NULL while none is needed and a lender is used */
    const char *alone; /* what waits, in place of the block: a reply that stays where it is for good */
    uint32_t size;     /* octets of the block */
    uint32_t start;    /* first octet that waits */
    uint32_t end;      /* behind the last one */
    uint32_t held;     /* octets of the held reply, at the end of the block */
} ehlo_out;

static inline uint32_t ehlo_out_length(const ehlo_out *out)
{
    return out->end - out->start;
}

static inline int ehlo_out_empty(const ehlo_out *out)
{
    return out->start == out->end;
}

static inline ehlo_str ehlo_out_waiting(const ehlo_out *out)
{
    return ehlo_str_make((out->alone != NULL ? out->alone : out->block) + out->start, ehlo_out_length(out));
}

/* Octets of what waits were taken by the transport. */
static inline void ehlo_out_taken(ehlo_out *out, size_t taken)
{
    out->start += (uint32_t)taken;
    if (out->start != out->end) return;
    out->start = out->end = 0;
    out->alone = NULL;
}

/* Queues a reply that stays where it is for good, if nothing else waits; 1 if it did. */
static inline int ehlo_out_stand(ehlo_out *out, const char *reply, size_t len)
{
    if (!ehlo_out_empty(out)) return 0;
    out->alone = reply;
    out->start = 0;
    out->end = (uint32_t)len;
    return 1;
}

/* 1 if `need` more octets fit, without borrowing anything. */
static inline int ehlo_out_fits(const ehlo_out *out, size_t need)
{
    return out->size - out->held - ehlo_out_length(out) >= need;
}

/* Brings what waits to the front of the block: what was sent makes room, and what stands alone joins. */
void ehlo_out_compact(ehlo_out *out);

/* Where a reply of up to `need` octets may be written: NULL if it does not fit, or if the lender, who is asked for
 * the block if it must be, has none: then *failed is set. */
static inline char *ehlo_out_room(ehlo_out *out, const ehlo_lender *lender, size_t need, int *failed)
{
    if (!ehlo_out_fits(out, need)) return NULL;
    if (out->block == NULL) {
        out->block = (char *)lender->lend(out->size, lender->ctx);
        *failed = out->block == NULL;
        if (out->block == NULL) return NULL;
    }
    if (out->alone != NULL || out->size - out->held - out->end < need) ehlo_out_compact(out);
    return out->block + out->end;
}

/* len octets were written at ehlo_out_room. */
static inline void ehlo_out_added(ehlo_out *out, size_t len)
{
    out->end += (uint32_t)len;
}

/* The len octets written last become the held reply: they leave the queue. */
void ehlo_out_hold(ehlo_out *out, size_t len);
/* A copy of the held reply joins the queue; ehlo_out_fits of its length must be true. */
void ehlo_out_release(ehlo_out *out);
/* The held reply itself joins the queue; it always fits. */
void ehlo_out_promote(ehlo_out *out);
/* The held reply is not needed any more. */
void ehlo_out_drop_held(ehlo_out *out);
/* Gives the block back, if it is borrowed and nothing is in it. */
static inline void ehlo_out_settle(ehlo_out *out, const ehlo_lender *lender)
{
    if (lender->lend == NULL || out->block == NULL || out->held != 0 || !ehlo_out_empty(out)) return;
    lender->give(out->block, out->size, lender->ctx);
    out->block = NULL;
}

/* Forgets everything and gives the block back. */
void ehlo_out_clear(ehlo_out *out, const ehlo_lender *lender);

#endif
