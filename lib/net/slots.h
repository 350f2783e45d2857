/* lib/net/slots.h - the connections of a loop, by id. An id is a place in a table and how often it was taken. */
#ifndef EHLO_NET_SLOTS_H
#define EHLO_NET_SLOTS_H

#include <ehlo/net.h>

typedef struct ehlo_conn ehlo_conn;

typedef struct ehlo_slot {
    ehlo_conn *conn;     /* NULL: free */
    uint32_t generation; /* of the connection here, or the next one; from 1 */
    uint32_t next_free;
} ehlo_slot;

typedef struct ehlo_slots {
    ehlo_slot *table;
    uint32_t used; /* of the table, ever */
    uint32_t room;
    uint32_t first_free; /* index plus one; 0: none */
    size_t count;
} ehlo_slots;

/* *index names the place. EHLO_ERR_MEMORY. */
int ehlo_slots_add(ehlo_slots *slots, ehlo_conn *conn, uint32_t *index);
void ehlo_slots_remove(ehlo_slots *slots, uint32_t index);
ehlo_conn_id ehlo_slots_id(const ehlo_slots *slots, uint32_t index);
/* NULL if it is gone. */
ehlo_conn *ehlo_slots_find(const ehlo_slots *slots, ehlo_conn_id id);

#endif
