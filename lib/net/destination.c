/* lib/net/destination.c - how many batches may be under way to one place.
 *
 * They are few: those with batches under way or open sessions, and some that are down. */
#include "destination.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW_FIRST = 2 };

size_t ehlo_destination_first_window(const ehlo_relay *relay)
{
    return relay->cfg.destination_concurrency < WINDOW_FIRST ? relay->cfg.destination_concurrency : WINDOW_FIRST;
}

static ehlo_destination *find(const ehlo_relay *relay, ehlo_str name)
{
    ehlo_destination *d = relay->destinations;
    while (d != NULL && (d->name_len != name.len || memcmp(d->name, name.ptr, name.len) != 0)) d = d->next;
    return d;
}

static ehlo_destination *add(ehlo_relay *relay, ehlo_str name)
{
    ehlo_destination *d = calloc(1, sizeof *d + name.len);
    if (d == NULL) return NULL;
    d->window = ehlo_destination_first_window(relay);
    d->name_len = name.len;
    memcpy(d->name, name.ptr, name.len);
    d->next = relay->destinations;
    relay->destinations = d;
    return d;
}

ehlo_destination *ehlo_destination_join(ehlo_relay *relay, ehlo_str name)
{
    ehlo_destination *d = find(relay, name);
    if (d == NULL) d = add(relay, name);
    if (d != NULL) d->busy++;
    return d;
}

void ehlo_destination_widen(const ehlo_relay *relay, ehlo_destination *d)
{
    if (d->window < relay->cfg.destination_concurrency) d->window++;
}

void ehlo_destination_narrow(ehlo_destination *d)
{
    d->window = 1;
}

/* That one is down is worth knowing, but only of as many as there may be batches under way. */
static int is_worth_knowing(const ehlo_relay *relay, const ehlo_destination *d, size_t known)
{
    if (d->busy + d->sessions > 0) return 1;
    return d->window < ehlo_destination_first_window(relay) && known < relay->cfg.concurrency;
}

size_t ehlo_destinations_sweep(ehlo_relay *relay, size_t *octets)
{
    size_t known = 0;
    *octets = 0;
    for (ehlo_destination **at = &relay->destinations; *at != NULL;) {
        ehlo_destination *d = *at;
        if (is_worth_knowing(relay, d, known)) {
            known++;
            *octets += d->name_len;
            at = &d->next;
        } else {
            *at = d->next;
            free(d);
        }
    }
    return known;
}

void ehlo_destinations_tell(const ehlo_relay *relay, ehlo_room *rooms, char *names)
{
    for (const ehlo_destination *d = relay->destinations; d != NULL; d = d->next) {
        size_t busy = d->busy - d->resting;
        size_t room = d->window > busy ? d->window - busy : 0;
        memcpy(names, d->name, d->name_len);
        *rooms++ = (ehlo_room){ .destination = ehlo_str_make(names, d->name_len), .room = room };
        names += d->name_len;
    }
}

void ehlo_destinations_free(ehlo_relay *relay)
{
    while (relay->destinations != NULL) {
        ehlo_destination *d = relay->destinations;
        relay->destinations = d->next;
        free(d);
    }
}
