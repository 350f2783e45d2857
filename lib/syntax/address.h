/* IP addresses as text. */
#ifndef EHLO_SYNTAX_ADDRESS_H
#define EHLO_SYNTAX_ADDRESS_H

#include <ehlo/types.h>

/* All of text is "192.0.2.1": 1, and four octets in network order. Otherwise 0; octets may have changed. */
int ehlo_ipv4_parse(ehlo_str text, uint8_t *octets);

/* All of text is "2001:db8::1" or "::ffff:192.0.2.1": 1, and sixteen octets in network order. Otherwise 0. */
int ehlo_ipv6_parse(ehlo_str text, uint8_t *octets);

#endif
