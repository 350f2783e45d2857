/* lib/net/dial.h - from a list of hosts to a connected descriptor: each host is looked up, each of its addresses is
 * tried, until its owner is content with one or none is left. It remembers what failed. */
#ifndef EHLO_NET_DIAL_H
#define EHLO_NET_DIAL_H

#include "loop.h"

typedef struct ehlo_dial ehlo_dial;

struct ehlo_dial {
    ehlo_source source; /* first: of the connection under way; its descriptor is -1 where none is */
    ehlo_timer timer;   /* for it */
    ehlo_loop *loop;
    ehlo_connect_config cfg;   /* what it points to lies behind */
    ehlo_client_config client; /* likewise */
    ehlo_lookup *lookup;       /* NULL: none runs */
    size_t next_host;
    ehlo_address *addresses; /* of the host before that */
    size_t naddresses;
    size_t next_address;
    ehlo_address address; /* the one that is tried; family NONE: the host has not been looked up */
    int again;            /* 1: it is, for the second time */

    ehlo_failure failure; /* the one that leaves most hope; outcome NONE: there was none */
    ehlo_reply reply;     /* lent to it */
    char *text;           /* of that */
    char *problem;        /* of the failure */

    void (*connected)(ehlo_dial *dial, int fd); /* fd is the callee's */
    void (*exhausted)(ehlo_dial *dial);         /* nothing is left to be tried */
    void *owner;
    ehlo_host hosts[];
};

/* The resolver that was given or, where that is NULL, the loop's own, over the system's files. NULL: no memory. */
ehlo_resolver *ehlo_loop_resolver(ehlo_loop *loop, ehlo_resolver *given);

/* Copies cfg, whose numbers are set; the functions are still to be filled in. NULL: no memory. */
ehlo_dial *ehlo_dial_new(ehlo_loop *loop, const ehlo_connect_config *cfg);
/* Seeks no more: nothing of it runs. */
void ehlo_dial_stop(ehlo_dial *dial);
/* Its memory stays until the end of the round. */
void ehlo_dial_free(ehlo_dial *dial);

/* Tries the first, or the next. Neither function is called from inside. EHLO_ERR_MEMORY: neither will be. */
int ehlo_dial_start(ehlo_dial *dial);
/* The same from inside the loop, where `exhausted` may be called at once. */
void ehlo_dial_next(ehlo_dial *dial);
/* Likewise, and the address of now is the next. */
void ehlo_dial_again(ehlo_dial *dial);
/* The name of the host of now; lives as long as the dial. */
ehlo_str ehlo_dial_host(const ehlo_dial *dial);

/* Something has failed with the host and address of now, which are filled in; stage and problem are set, and what else
 * is known. Text is copied. */
void ehlo_dial_note(ehlo_dial *dial, const ehlo_failure *failure);
/* The same, and it counts for more than all that failed before. */
void ehlo_dial_note_final(ehlo_dial *dial, const ehlo_failure *failure);

#endif
