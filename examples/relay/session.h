/* session.h - what relay answers: the callbacks of its sessions. */
#ifndef SESSION_H
#define SESSION_H

#include "incoming.h"
#include "network.h"

/* What all sessions share: the `ctx` of the listener. */
struct relay {
    struct queue queue;
    struct network *allowed; /* clients that may send anywhere */
    size_t allowed_count;
    ehlo_str *domains; /* that anyone may send to */
    size_t domain_count;
};

/* What one session keeps: its `user` memory, zero at first. */
struct session {
    char *hello;               /* the name the peer gave, NUL-ended; NULL before */
    struct incoming *incoming; /* from MAIL until it is dropped or committed */
};

/* trace: show the dialogue on standard error. */
ehlo_server_callbacks session_callbacks(int trace);

#endif
