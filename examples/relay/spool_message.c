#include "spool_private.h"

#include <errno.h>
#include <stdlib.h>

struct message *spool_message_new(uint64_t id, uint32_t nparts)
{
    struct message *m = calloc(1, sizeof *m + nparts * sizeof m->parts[0]);
    if (m == NULL) return NULL;
    m->id = id;
    m->nparts = nparts;
    m->users = 1;
    for (uint32_t i = 0; i < nparts; i++) m->parts[i].message = m;
    return m;
}

void spool_message_queue(struct spool *s, struct message *m, int64_t since)
{
    for (uint32_t i = 0; i < m->nparts; i++) index_ready(&s->index, &m->parts[i], since);
    m->open = m->nparts;
    s->count++;
}

/* No part is open any more, and nobody uses it. */
static void end_if_unused(struct spool *s, struct message *m)
{
    if (m->users > 0 || m->open > 0) return;
    for (uint32_t i = 0; i < m->nparts; i++) { /* of a message that was never queued */
        if (m->parts[i].target != NULL) index_forget(&s->index, m->parts[i].target);
    }
    free(m);
}

void spool_part_close(struct spool *s, struct part *part)
{
    struct message *m = part->message;
    index_take(&s->index, part);
    index_forget(&s->index, part->target);
    part->target = NULL;
    if (part->lease != NULL) part->lease->part = NULL;
    part->lease = NULL;
    if (--m->open > 0) return;
    s->count--;
    end_if_unused(s, m);
}

void spool_message_unuse(struct spool *s, struct message *m)
{
    m->users--;
    end_if_unused(s, m);
}

/* No part of it will be claimed, and those that are, are lost. */
static void drop(struct spool *s, struct message *m)
{
    m->users++;
    for (uint32_t i = 0; i < m->nparts; i++) {
        if (m->parts[i].target != NULL) spool_part_close(s, &m->parts[i]);
    }
    spool_message_unuse(s, m);
}

void spool_lose_message(struct spool *s, struct message *m, int error)
{
    char name[SPOOL_NAME_SIZE];
    spool_name(name, m->id);
    if (error == EBADMSG) spool_set_aside(s, name);
    if (error == ENOENT) spool_problem(s, "%s: the file has vanished", name);
    pthread_mutex_lock(&s->lock);
    drop(s, m);
    pthread_mutex_unlock(&s->lock);
}
