/* network.h - addresses: the networks that may send anywhere, and our own. */
#ifndef NETWORK_H
#define NETWORK_H

#include <ehlo/types.h>

/* An address, and how many of its first bits count. */
struct network {
    ehlo_address address;
    unsigned bits;
};

/* Reads "192.0.2.0/24", "2001:db8::/32", or an address alone, which is a network of one. 0, or -1 if it is none. */
int network_parse(const char *text, struct network *network);

int network_has(const struct network *network, const ehlo_address *address);

/* The addresses that mail for us would come to, if it is `listening` that we listen on: that one, or those of all
 * interfaces where it is a wildcard, and, with loopback, 127.0.0.1 and ::1; without, no loopback address is among them.
 * The caller frees *addresses. 0, or an errno. */
int network_own_addresses(const ehlo_address *listening, int loopback, ehlo_address **addresses, size_t *count);

/* 1 for 127.0.0.0/8 and ::1. */
int network_is_loopback(const ehlo_address *address);

#endif
