/* lib/net/slots.c - the connections of a loop, by id. */
#include "slots.h"

#include <stdlib.h>

static int reserve(ehlo_slots *slots)
{
    if (slots->first_free != 0 || slots->used < slots->room) return EHLO_OK;
    uint32_t room = slots->room == 0 ? 16 : slots->room + slots->room / 2;
    ehlo_slot *table = room < UINT32_MAX / 2 ? realloc(slots->table, room * sizeof *table) : NULL;
    if (table == NULL) return EHLO_ERR_MEMORY;
    slots->table = table;
    slots->room = room;
    return EHLO_OK;
}

int ehlo_slots_add(ehlo_slots *slots, ehlo_conn *conn, uint32_t *index)
{
    if (reserve(slots) != EHLO_OK) return EHLO_ERR_MEMORY;
    if (slots->first_free == 0) {
        *index = slots->used++;
        slots->table[*index].generation = 1;
    } else {
        *index = slots->first_free - 1;
        slots->first_free = slots->table[*index].next_free;
    }
    slots->table[*index].conn = conn;
    slots->count++;
    return EHLO_OK;
}

/* A slot whose generations are used up is never used again: its ids would come a second time. */
void ehlo_slots_remove(ehlo_slots *slots, uint32_t index)
{
    ehlo_slot *slot = &slots->table[index];
    slot->conn = NULL;
    slots->count--;
    if (slot->generation == UINT32_MAX) return;
    slot->generation++;
    slot->next_free = slots->first_free;
    slots->first_free = index + 1;
}

ehlo_conn_id ehlo_slots_id(const ehlo_slots *slots, uint32_t index)
{
    return (ehlo_conn_id)slots->table[index].generation << 32 | index;
}

ehlo_conn *ehlo_slots_find(const ehlo_slots *slots, ehlo_conn_id id)
{
    uint32_t index = (uint32_t)id;
    if (index >= slots->used || slots->table[index].generation != (uint32_t)(id >> 32)) return NULL;
    return slots->table[index].conn;
}
