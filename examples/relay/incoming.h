/* incoming.h - a message on its way from a session into the store.
 *
 * It begins at MAIL and ends in one of two ways: the store has it, and the peer is told so; or it is dropped. The store
 * may answer late: meanwhile the session waits, or is gone, and then its message is given up, but for one that is being
 * committed, which nobody can take back. */
#ifndef INCOMING_H
#define INCOMING_H

#include <ehlo/net.h>

/* Where messages go: what all sessions share. */
struct queue {
    const ehlo_store *store; /* NULL once it was closed */
    void *store_ctx;
    ehlo_relay *runner; /* is told of what is new; NULL once it was freed */
    const ehlo_relay_policy *policy;
    ehlo_str postmaster_domain; /* of a recipient "postmaster" */
};

struct incoming;

/* Begins one, with what MAIL said; hello: the name the peer gave. EHLO_ERR_ARG: its sender could not be told of a failure;
 * EHLO_ERR_MEMORY. *new is NULL then. */
int incoming_new(struct incoming **new, struct queue *queue, ehlo_server *s, ehlo_str hello, const ehlo_mail *mail);

/* Adds a recipient. EHLO_ERR_ARG: its address leads nowhere; EHLO_ERR_SPACE: its parameters cannot be passed on;
 * EHLO_ERR_MEMORY. */
int incoming_address(struct incoming *in, const ehlo_rcpt *rcpt);

/* DATA: makes a place for it in the store, and answers token. */
void incoming_open(struct incoming *in, ehlo_token token);

/* Its next octets, as on_body has them. EHLO_REFUSE with *r, or EHLO_OK. */
int incoming_append(struct incoming *in, const char *bytes, size_t len, size_t *taken, ehlo_reply *r);

/* It is whole: commits it, and answers token. in is gone. */
void incoming_commit(struct incoming *in, ehlo_token token);

/* It is not to be. in is gone. NULL is fine. */
void incoming_drop(struct incoming *in);

#endif
