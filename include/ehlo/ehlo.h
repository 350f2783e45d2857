/* ehlo/ehlo.h - everything that needs no operating system: values, grammar, DNS messages, body codec, server
 * session, client session, transaction, delivery reports, relay policy.
 *
 * The event loop with its sockets and threads is apart, in <ehlo/net.h>: it needs POSIX, and libehlo-net
 * beside libehlo. */
#ifndef EHLO_EHLO_H
#define EHLO_EHLO_H

#include <ehlo/types.h>
#include <ehlo/syntax.h>
#include <ehlo/dns.h>
#include <ehlo/body.h>
#include <ehlo/sasl.h>
#include <ehlo/server.h>
#include <ehlo/client.h>
#include <ehlo/transaction.h>
#include <ehlo/opening.h>
#include <ehlo/dsn.h>
#include <ehlo/relay.h>

#endif
