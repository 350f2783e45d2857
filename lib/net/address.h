/* lib/net/address.h - addresses as text. */
#ifndef EHLO_NET_ADDRESS_H
#define EHLO_NET_ADDRESS_H

#include <ehlo/types.h>

/* Reads "192.0.2.1" or "2001:db8::1" into family and octets; the port stays. EHLO_ERR_SYNTAX: nothing changed. */
int ehlo_address_read(ehlo_str text, ehlo_address *address);
/* The same for what stands for a host: in brackets too, or as the literal of RFC 5321 4.1.3, "[IPv6:2001:db8::1]". */
int ehlo_address_of_host(ehlo_str host, ehlo_address *address);

#endif
