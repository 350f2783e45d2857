/* auth.h - AUTH, from the server's side. Its context is that of session.h. */
#ifndef AUTH_H
#define AUTH_H

#include <ehlo/server.h>

/* One exchange: its memory exists while it runs. */
struct exchange;

/* A step of AUTH, as on_auth gets it; what it returns is its verdict. Checking a password takes milliseconds: a worker
 * does it, and the answer comes later. */
int auth_step(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r);
/* The exchange is over, if there is one. */
void auth_forget(struct exchange **exchange);

#endif
