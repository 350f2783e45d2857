/* intake.h - takes the peer's octets, as many as may be taken now. */
#ifndef EHLO_CORE_INTAKE_H
#define EHLO_CORE_INTAKE_H

#include "line.h"
#include "session.h"

/* Returns how many octets were consumed; the rest is an incomplete line or end, or must wait. */
size_t ehlo_session_intake(ehlo_server *s, const char *bytes, size_t len);

#endif
