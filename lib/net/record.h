/* lib/net/record.h - the store's side of an attempt: the lease, the message, and what is recorded at the end.
 *
 * The store is called once at a time for a batch, and may answer later: whatever is due then waits. */
#ifndef EHLO_NET_RECORD_H
#define EHLO_NET_RECORD_H

#include "attempt.h"

/* Goes on with the store, as far as it goes along. The last call of whoever calls it: the attempt may be over. */
void ehlo_attempt_advance(ehlo_attempt *attempt);
/* Watches over the lease from now on. EHLO_ERR_MEMORY. */
int ehlo_attempt_hold(ehlo_attempt *attempt);
/* `body` of its transaction. */
int ehlo_attempt_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user);
/* The delivery is over: reports are to be written, and all is to be recorded. */
void ehlo_attempt_conclude(ehlo_attempt *attempt);
/* The grace is over: what the store would not do is tried once more, at once. */
void ehlo_attempt_hurry(ehlo_attempt *attempt);
/* Its end: nothing of it runs any more. The batch is left to its lease, unless that has ended; the store is called no
 * more. */
void ehlo_attempt_leave(ehlo_attempt *attempt);

#endif
