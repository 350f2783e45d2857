/* lib/net/service.h - output blocks lent per thread. */
#ifndef EHLO_NET_SERVICE_H
#define EHLO_NET_SERVICE_H

/* Frees the block that this thread keeps. */
void ehlo_lender_forget(void);

#endif
