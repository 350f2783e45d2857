/* lib/net/destination.h - how many batches may be under way to one place. */
#ifndef EHLO_NET_DESTINATION_H
#define EHLO_NET_DESTINATION_H

#include "relay.h"

struct ehlo_destination {
    ehlo_destination *next;
    size_t busy;     /* batches under way */
    size_t resting;  /* of them: those that wait for a store that fails */
    size_t window;   /* how many may be */
    size_t sessions; /* that serve its batches */
    size_t name_len;
    char name[];
};

/* The window of one of whom nothing is known. */
size_t ehlo_destination_first_window(const ehlo_relay *relay);

/* A batch is under way, until destination->busy is counted down. NULL: no memory. */
ehlo_destination *ehlo_destination_join(ehlo_relay *relay, ehlo_str name);
/* A host of it has taken a message, or none could be reached. */
void ehlo_destination_widen(const ehlo_relay *relay, ehlo_destination *destination);
void ehlo_destination_narrow(ehlo_destination *destination);

/* Forgets those of whom nothing need be known, and counts the others: them, and the octets of their names. */
size_t ehlo_destinations_sweep(ehlo_relay *relay, size_t *octets);
/* The room that each of them has, in arrays of as many. */
void ehlo_destinations_tell(const ehlo_relay *relay, ehlo_room *rooms, char *names);
void ehlo_destinations_free(ehlo_relay *relay);

#endif
