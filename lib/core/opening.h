/* opening.h - what a client session tells the opening that drives it. */
#ifndef EHLO_CORE_OPENING_H
#define EHLO_CORE_OPENING_H

#include <ehlo/opening.h>

typedef struct ehlo_opening ehlo_opening;

/* The handshake is done: the session is as behind its greeting. */
void ehlo_opening_secured(ehlo_opening *o);
/* The session is over, and every completion has run. */
void ehlo_opening_abandon(ehlo_opening *o);

#endif
