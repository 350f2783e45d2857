/* lib/net/slots.c - the connections of a loop, by id. */
#include "slots.h"

#include <stdlib.h>

/* The slot of id; there is a table. */
static ehlo_slot *slot_of(const ehlo_slots *slots, ehlo_conn_id id)
{
    return &slots->table[id & (slots->room - 1)];
}

/* Ids that had slots of their own in the smaller table have them in the larger one. */
static int reserve(ehlo_slots *slots)
{
    if (slots->count < slots->room / 2) return EHLO_OK;
    ehlo_slots larger = *slots;
    larger.room = slots->room == 0 ? 16 : slots->room * 2;
    larger.table = calloc(larger.room, sizeof *larger.table);
    if (larger.table == NULL) return EHLO_ERR_MEMORY;
    for (size_t i = 0; i < slots->room; i++) {
        if (slots->table[i].conn != NULL) *slot_of(&larger, slots->table[i].id) = slots->table[i];
    }
    free(slots->table);
    *slots = larger;
    return EHLO_OK;
}

int ehlo_slots_add(ehlo_slots *slots, ehlo_conn *conn, ehlo_conn_id *id)
{
    if (reserve(slots) != EHLO_OK) return EHLO_ERR_MEMORY;
    do {
        slots->last++;
    } while (slot_of(slots, slots->last)->conn != NULL);
    *slot_of(slots, slots->last) = (ehlo_slot){ .conn = conn, .id = slots->last };
    slots->count++;
    *id = slots->last;
    return EHLO_OK;
}

void ehlo_slots_remove(ehlo_slots *slots, ehlo_conn_id id)
{
    slot_of(slots, id)->conn = NULL;
    slots->count--;
}

ehlo_conn *ehlo_slots_find(const ehlo_slots *slots, ehlo_conn_id id)
{
    if (slots->room == 0) return NULL;
    const ehlo_slot *slot = slot_of(slots, id);
    return slot->id == id ? slot->conn : NULL;
}
