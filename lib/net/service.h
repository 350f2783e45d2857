/* lib/net/service.h - output blocks lent per thread. */
#ifndef EHLO_NET_SERVICE_H
#define EHLO_NET_SERVICE_H

#include <ehlo/types.h>

/* This lender or, where it is none, one that keeps a block per thread. */
ehlo_lender ehlo_lender_or_kept(ehlo_lender lender);
/* Frees the block that this thread keeps. */
void ehlo_lender_forget(void);

#endif
