/* lib/net/handshake.h - a connection during its TLS handshake, a server's or a client's. */
#ifndef EHLO_NET_HANDSHAKE_H
#define EHLO_NET_HANDSHAKE_H

#include "tls.h"

/* Does the handshake of a connection whose TLS is open. done is called once, perhaps from inside: established is 0 if
 * it failed. Whose deadline is to be heeded is the driver's to know: until then only its `ready` is another. */
void ehlo_handshake_start(ehlo_conn *conn, void (*done)(ehlo_conn *conn, int established));

#endif
