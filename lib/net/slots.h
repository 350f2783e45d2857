/* lib/net/slots.h - the connections of a loop, by id.
 *
 * Ids are counted up and so never come a second time. A connection's slot is its id modulo the size of the table;
 * an id whose slot is taken is left out. */
#ifndef EHLO_NET_SLOTS_H
#define EHLO_NET_SLOTS_H

#include <ehlo/net.h>

typedef struct ehlo_conn ehlo_conn;

typedef struct ehlo_slot {
    ehlo_conn *conn; /* NULL: free */
    ehlo_conn_id id;
} ehlo_slot;

typedef struct ehlo_slots {
    ehlo_slot *table;
    size_t room; /* a power of two, or 0; at most half of it is taken */
    size_t count;
    ehlo_conn_id last; /* the last id given; 0: none was */
} ehlo_slots;

/* *id names it from now on. EHLO_ERR_MEMORY. */
int ehlo_slots_add(ehlo_slots *slots, ehlo_conn *conn, ehlo_conn_id *id);
void ehlo_slots_remove(ehlo_slots *slots, ehlo_conn_id id);
/* NULL if it is gone. */
ehlo_conn *ehlo_slots_find(const ehlo_slots *slots, ehlo_conn_id id);

#endif
