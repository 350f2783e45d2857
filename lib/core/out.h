/* out.h - replies that wait for the transport, in one bounded block.
 *
 * The block is [sent | waiting | room | held]. `held` is one whole reply that is not yet due: the answer to a
 * message that is still being drained, or the one that every recipient of an LMTP message gets. */
#ifndef EHLO_CORE_OUT_H
#define EHLO_CORE_OUT_H

#include <ehlo/server.h>

typedef struct ehlo_out {
    char *block;    /* NULL while nothing waits and a lender is used */
    uint32_t size;  /* octets of the block */
    uint32_t start; /* first octet that waits */
    uint32_t end;   /* behind the last one */
    uint32_t held;  /* octets of the held reply, at the end of the block */
} ehlo_out;

static inline uint32_t ehlo_out_length(const ehlo_out *out)
{
    return out->end - out->start;
}

static inline int ehlo_out_empty(const ehlo_out *out)
{
    return out->start == out->end;
}

ehlo_str ehlo_out_waiting(const ehlo_out *out);
/* Octets of `want` were taken by the transport. */
void ehlo_out_taken(ehlo_out *out, size_t taken);
/* Where a reply of up to `need` octets may be written: NULL if it does not fit. Borrows the block if it must;
 * *failed is set where the lender had none. */
char *ehlo_out_room(ehlo_out *out, const ehlo_lender *lender, size_t need, int *failed);
/* 1 if `need` more octets fit, without borrowing anything. */
static inline int ehlo_out_fits(const ehlo_out *out, size_t need)
{
    return out->size - out->held - ehlo_out_length(out) >= need;
}

/* len octets were written at ehlo_out_room. */
void ehlo_out_added(ehlo_out *out, size_t len);
/* The len octets written last become the held reply: they leave the queue. */
void ehlo_out_hold(ehlo_out *out, size_t len);
/* A copy of the held reply joins the queue; ehlo_out_fits of its length must be true. */
void ehlo_out_release(ehlo_out *out);
/* The held reply is not needed any more. */
void ehlo_out_drop_held(ehlo_out *out);
/* Gives the block back if nothing is in it. */
void ehlo_out_settle(ehlo_out *out, const ehlo_lender *lender);
/* Forgets everything and gives the block back. */
void ehlo_out_clear(ehlo_out *out, const ehlo_lender *lender);

#endif
