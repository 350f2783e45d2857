/* session.h - what inbox answers: the callbacks of its sessions. */
#ifndef SESSION_H
#define SESSION_H

#include "auth.h"
#include "maildir.h"
#include "users.h"
#include "workers.h"

#include <ehlo/net.h>

/* What all sessions share: the `ctx` of the listener. */
struct inbox {
    struct maildir maildir;
    struct workers *workers;  /* file messages */
    struct workers *checkers; /* check passwords */
    ehlo_str hostname;
    ehlo_str *domains; /* mail for others is refused; none: all are ours */
    size_t domain_count;
    struct users users;
    int raw;        /* store the octets as they came, without trace fields of ours */
    int completing; /* add the Date and Message-ID that a submitted message lacks (RFC 6409 8) */
};

struct transaction;

/* What one session keeps: its `user` memory, zero at first. */
struct session {
    char *hello;                     /* the name the peer gave; NULL before */
    struct exchange *exchange;       /* while AUTH runs */
    struct transaction *transaction; /* from MAIL until it is reset or handed to the workers */
};

/* trace: show the dialogue on standard error. */
ehlo_server_callbacks session_callbacks(int trace);

#endif
