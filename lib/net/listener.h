/* lib/net/listener.h - a listening socket of a loop. */
#ifndef EHLO_NET_LISTENER_H
#define EHLO_NET_LISTENER_H

#include "poller.h"

/* It outlives its closing as long as a connection came from it: `refs` counts those, and one for being open. */
struct ehlo_listener {
    ehlo_source source; /* first, see ehlo_loop_free_later */
    ehlo_loop *loop;
    ehlo_listener *next;
    ehlo_listen_config cfg;
    ehlo_address address;
    ehlo_timer pause;
    size_t refs;
};

void ehlo_listener_release(ehlo_listener *listener);

#endif
