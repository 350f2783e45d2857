/* What the parts of the relay's policy share. */
#ifndef EHLO_CORE_RELAY_H
#define EHLO_CORE_RELAY_H

#include <ehlo/relay.h>

/* 1 if text is an address, as text or literal: *address is it, with port 0. */
int ehlo_host_is_address(ehlo_str text, ehlo_address *address);

/* 1 if DNS may be asked for it. */
int ehlo_host_is_name(ehlo_str text);

#endif
