/* network.c - what becomes of octets between two machines. */
#include "network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

/* What TCP does: openings are repeated after 1, 2, 4... seconds; what does not get through is given up after a while. */
enum { OPENINGS_MAX = 7, STUCK_MAX = 15 * MINUTE, WINDOW_MAX = 65536, BACKLOG_MAX = 64 };

typedef enum segment_kind { OCTETS, END, RESET, CUT } segment_kind;

typedef struct segment {
    struct segment *next;
    uint64_t due;
    segment_kind kind;
    size_t len;
    char octets[];
} segment;

/* A connection. */
typedef struct link {
    stream ends[2]; /* the one that opened it first */
    unsigned events;
    unsigned delay;
    unsigned openings;
    int silent; /* nothing arrives any more */
} link;

typedef struct datagram {
    struct datagram *next;
    ehlo_address from;
    ehlo_address to;
    size_t len;
    char octets[];
} datagram;

static network_faults faults;
static listening *listenings;
static datagrams *sockets;

void network_set(const network_faults *set)
{
    static const network_faults none;
    faults = set != NULL ? *set : none;
}

static void *must(void *mem)
{
    if (mem == NULL) abort();
    return mem;
}

static uint64_t delay_of_network(void)
{
    return 1 + (faults.delay_max > 1 ? world_between(0, faults.delay_max - 1) : 0);
}

static int same_address(const ehlo_address *a, const ehlo_address *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}

static int is_reachable(const machine *a, const machine *b)
{
    return a->up && b->up && a->island == b->island;
}

static uint16_t next_port(machine *m)
{
    m->last_port = m->last_port < 20000 || m->last_port >= 60000 ? 20000 : (uint16_t)(m->last_port + 1);
    return m->last_port;
}

/* -- links ------------------------------------------------------------------------------------------ */

static stream *other(const stream *s)
{
    return &s->link->ends[s == &s->link->ends[0]];
}

static void drop_segments(stream *s)
{
    while (s->first != NULL) {
        segment *dropped = s->first;
        s->first = dropped->next;
        free(dropped);
    }
    s->under_way = 0;
}

static void free_if_over(link *l)
{
    if (!l->ends[0].gone || !l->ends[1].gone || l->events > 0) return;
    for (int i = 0; i < 2; i++) {
        drop_segments(&l->ends[i]);
        free(l->ends[i].received);
    }
    free(l);
}

/* Something has happened to this end. */
static void touch(stream *s)
{
    if (s->gone) return;
    if (s->owner->loop == NULL && s->owner->on_stream != NULL)
        s->owner->on_stream(s->owner, s);
    else
        s->owner->ready = 1;
}

/* Where systems differ: what had arrived before a reset may be lost with it. */
static void break_off(stream *s, int error)
{
    if (s->broken) return;
    s->broken = 1;
    s->error = error;
    if (world_chance(300)) s->len = 0;
    drop_segments(s);
    touch(s);
}

static void after(link *l, uint64_t ms, void (*fn)(void *arg, int run), void *arg)
{
    l->events++;
    world_after(ms, fn, arg);
}

/* -- what is under way ------------------------------------------------------------------------------ */

static void send_on(void *arg, int run);

static void schedule(stream *s)
{
    if (s->scheduled || s->first == NULL) return;
    uint64_t due = s->first->due > world_now() ? s->first->due - world_now() : 0;
    s->scheduled = 1;
    after(s->link, due, send_on, s);
}

static void enqueue(stream *s, segment_kind kind, const char *bytes, size_t len)
{
    segment **last = &s->first;
    segment *added = must(malloc(sizeof *added + len));
    while (*last != NULL) last = &(*last)->next;
    *last = added;
    added->next = NULL;
    added->kind = kind;
    added->len = len;
    if (len > 0) memcpy(added->octets, bytes, len);
    uint64_t due = world_now() + s->link->delay;
    if (due < s->last_due) due = s->last_due;
    if (s->rate > 0) due += len * 1000 / s->rate;
    added->due = s->last_due = due;
    s->under_way += len;
    schedule(s);
}

/* "Silent": the network has forgotten the connection; or it looks to the one side like a proper end. */
static void cut(stream *from)
{
    stream *to = other(from);
    world_trace("a stream is cut behind octet %llu", (unsigned long long)from->sent);
    switch (world_draw(3)) {
    case 0:
        from->link->silent = 1;
        break;
    case 1:
        to->ended = 1;
        touch(to);
        break_off(from, ECONNRESET);
        break;
    default:
        break_off(to, ECONNRESET);
        break_off(from, ECONNRESET);
        break;
    }
}

static void take_octets(stream *to, const segment *arrived)
{
    to->received = must(realloc(to->received, to->len + arrived->len));
    memcpy(to->received + to->len, arrived->octets, arrived->len);
    to->len += arrived->len;
}

/* Nobody is there any more: whoever sends is told so. */
static void arrive_at_nobody(stream *from, const segment *arrived)
{
    if (arrived->kind == OCTETS) enqueue(other(from), RESET, NULL, 0);
}

static void arrive(stream *from, const segment *arrived)
{
    stream *to = other(from);
    from->under_way -= arrived->len;
    if (to->gone) {
        arrive_at_nobody(from, arrived);
    } else if (arrived->kind == RESET) {
        break_off(to, ECONNRESET);
    } else if (arrived->kind == CUT) {
        cut(from);
    } else if (!to->broken) {
        if (arrived->kind == OCTETS)
            take_octets(to, arrived);
        else
            to->ended = 1;
        touch(to);
    }
}

/* The segment that is due can't get through: it is sent again. */
static void wait_for_network(stream *s)
{
    if (s->stuck == 0) s->stuck = world_now();
    if (world_now() - s->stuck > STUCK_MAX) {
        break_off(s, ETIMEDOUT);
        drop_segments(s);
        return;
    }
    s->first->due = world_now() + world_between(200, 60 * SECOND);
}

static int gets_through(const stream *s)
{
    return !s->link->silent && is_reachable(s->owner, other(s)->owner);
}

/* What its owner sent before it crashed may arrive, or not. */
static int is_over(stream *s)
{
    if (s->owner->up || !s->gone) return 0;
    drop_segments(s);
    return 1;
}

static void send_on(void *arg, int run)
{
    stream *s = arg;
    link *l = s->link;
    s->scheduled = 0;
    while (run && s->first != NULL && s->first->due <= world_now() && !is_over(s)) {
        segment *due = s->first;
        if (!gets_through(s)) {
            wait_for_network(s);
            continue;
        }
        s->stuck = 0;
        s->first = due->next;
        arrive(s, due);
        free(due);
    }
    if (run) schedule(s);
    l->events--; /* it had to stay, whatever came of it */
    free_if_over(l);
}

/* -- opening ---------------------------------------------------------------------------------------- */

static void try_opening(void *arg, int run);

static void end_opening(void *arg, int run)
{
    stream *s = arg;
    s->link->events--;
    if (run && !s->broken) {
        s->open = 1;
        touch(s);
    }
    free_if_over(s->link);
}

static void end_refused(void *arg, int run)
{
    stream *s = arg;
    s->link->events--;
    if (run) break_off(s, ECONNREFUSED);
    free_if_over(s->link);
}

static listening *who_listens(const ehlo_address *address)
{
    listening *l = listenings;
    while (l != NULL && !same_address(&l->address, address)) l = l->next;
    return l;
}

/* typical: octets that this end sends in a session. */
static void draw_course(stream *s, uint64_t typical)
{
    s->cut_at = world_chance(faults.cut) ? world_draw(typical) : UINT64_MAX;
    s->window = world_chance(faults.slow) ? world_between(1, 2000) : WINDOW_MAX;
    s->rate = world_chance(faults.slow) ? (unsigned)world_between(20, 20000) : 0;
}

static void accept_link(link *l, machine *server, listening *at)
{
    stream *end = &l->ends[1];
    end->owner = server;
    end->gone = 0;
    end->open = 1;
    if (at != NULL) at->waiting[at->n++] = end;
    touch(end);
    after(l, l->delay, end_opening, &l->ends[0]);
}

/* An opening has come to where it leads. */
static void open_at(link *l, machine *server)
{
    listening *at = who_listens(&l->ends[0].remote);
    int direct = at == NULL && server->on_stream != NULL && l->ends[0].remote.port == 53;
    if (world_chance(faults.silent)) return;
    if ((at == NULL && !direct) || (at != NULL && at->n == BACKLOG_MAX) || world_chance(faults.refuse))
        after(l, l->delay, end_refused, &l->ends[0]);
    else
        accept_link(l, server, at);
}

static void try_opening(void *arg, int run)
{
    link *l = arg;
    stream *client = &l->ends[0];
    machine *server = machine_at(&client->remote);
    l->events--;
    if (run && !client->gone && !client->broken) {
        if (server != NULL && is_reachable(client->owner, server))
            open_at(l, server);
        else if (++l->openings == OPENINGS_MAX)
            break_off(client, server != NULL ? ETIMEDOUT : EHOSTUNREACH);
        else
            after(l, UINT64_C(1000) << l->openings, try_opening, l);
    }
    free_if_over(l);
}

stream *stream_open(machine *owner, const ehlo_address *remote, const ehlo_address *local)
{
    link *l = must(calloc(1, sizeof *l));
    stream *client = &l->ends[0], *server = &l->ends[1];
    client->link = server->link = l;
    client->owner = owner;
    client->remote = server->local = *remote;
    client->local = local != NULL ? *local : remote->family == EHLO_FAMILY_IPV4 ? owner->v4 : owner->v6;
    if (client->local.port == 0) client->local.port = next_port(owner);
    server->remote = client->local;
    server->gone = 1;
    l->delay = (unsigned)delay_of_network();
    draw_course(client, 8000);
    draw_course(server, 900);
    after(l, l->delay, try_opening, l);
    return client;
}

/* -- an end ----------------------------------------------------------------------------------------- */

static int error_of(stream *s)
{
    int error = s->error != 0 ? s->error : EPIPE;
    s->error = 0;
    return error;
}

static size_t space_of(const stream *s)
{
    size_t taken = s->under_way + other(s)->len;
    return taken < s->window ? s->window - taken : 0;
}

/* In pieces, as the network likes it. */
static void send_pieces(stream *s, const char *bytes, size_t len)
{
    if (s->sent >= s->cut_at) return;
    size_t whole = s->cut_at - s->sent < len ? (size_t)(s->cut_at - s->sent) : len;
    for (size_t at = 0; at < whole;) {
        size_t piece = world_chance(200) ? 1 + (size_t)world_draw(whole - at) : whole - at;
        enqueue(s, OCTETS, bytes + at, piece);
        at += piece;
    }
    s->sent += whole;
    if (s->sent == s->cut_at) enqueue(s, CUT, NULL, 0);
}

ptrdiff_t stream_send(stream *s, const char *bytes, size_t len)
{
    size_t space = space_of(s);
    if (s->broken || s->shut) errno = error_of(s);
    if (s->broken || s->shut) return -1;
    if (!s->open || space == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (len > space) len = space;
    send_pieces(s, bytes, len);
    return (ptrdiff_t)len;
}

ptrdiff_t stream_receive(stream *s, char *bytes, size_t len, int peek)
{
    if (len > s->len) len = s->len;
    if (len > 0) {
        memcpy(bytes, s->received, len);
        if (peek) return (ptrdiff_t)len;
        memmove(s->received, s->received + len, s->len - len);
        s->len -= len;
        touch(other(s)); /* there is space again */
        return (ptrdiff_t)len;
    }
    if (s->ended || (s->broken && s->error == 0)) return 0;
    errno = s->broken ? error_of(s) : EAGAIN;
    return -1;
}

void stream_shut(stream *s)
{
    if (s->shut || s->broken) return;
    s->shut = 1;
    enqueue(s, END, NULL, 0);
}

void stream_close(stream *s, int crashed)
{
    link *l = s->link;
    l->events++;
    if (!crashed && !s->broken && s->open) {
        if (s->len > 0)
            enqueue(s, RESET, NULL, 0);
        else
            stream_shut(s);
    }
    s->gone = 1;
    s->len = 0;
    l->events--;
    free_if_over(l);
}

int stream_readable(const stream *s)
{
    return s->len > 0 || s->ended || s->broken;
}

int stream_writable(const stream *s)
{
    return s->broken || s->shut || (s->open && space_of(s) > 0);
}

/* -- listening -------------------------------------------------------------------------------------- */

listening *listening_open(machine *owner, const ehlo_address *address)
{
    listening *l = must(calloc(1, sizeof *l));
    l->owner = owner;
    l->address = *address;
    if (l->address.port == 0) l->address.port = next_port(owner);
    if (who_listens(&l->address) != NULL || machine_at(address) != owner) {
        errno = machine_at(address) != owner ? EADDRNOTAVAIL : EADDRINUSE;
        free(l);
        return NULL;
    }
    l->next = listenings;
    listenings = l;
    return l;
}

stream *listening_accept(listening *l)
{
    if (l->n == 0) {
        errno = EAGAIN;
        return NULL;
    }
    stream *first = l->waiting[0];
    memmove(l->waiting, l->waiting + 1, --l->n * sizeof l->waiting[0]);
    return first;
}

void listening_close(listening *l, int crashed)
{
    listening **at = &listenings;
    while (*at != l) at = &(*at)->next;
    *at = l->next;
    for (size_t i = 0; i < l->n; i++) {
        if (!crashed) enqueue(l->waiting[i], RESET, NULL, 0);
        stream_close(l->waiting[i], 1);
    }
    free(l);
}

/* -- datagrams -------------------------------------------------------------------------------------- */

datagrams *datagrams_open(machine *owner, const ehlo_address *remote)
{
    datagrams *d = must(calloc(1, sizeof *d));
    d->owner = owner;
    d->remote = *remote;
    d->local = remote->family == EHLO_FAMILY_IPV4 ? owner->v4 : owner->v6;
    d->local.port = next_port(owner);
    d->next = sockets;
    sockets = d;
    return d;
}

static datagrams *find_socket(const ehlo_address *local, const ehlo_address *remote)
{
    datagrams *d = sockets;
    while (d != NULL && !(same_address(&d->local, local) && same_address(&d->remote, remote))) d = d->next;
    return d;
}

/* Takes it over. */
static void give_datagram(datagrams *to, datagram *arrived)
{
    datagram **last = &to->first;
    while (*last != NULL) last = &(*last)->next;
    arrived->next = NULL;
    *last = arrived;
    to->owner->ready = 1;
}

static void refuse_datagram(const datagram *arrived)
{
    datagrams *from = find_socket(&arrived->from, &arrived->to);
    if (from == NULL || !from->owner->up) return;
    from->error = ECONNREFUSED;
    from->owner->ready = 1;
}

static void datagram_arrives(void *arg, int run)
{
    datagram *arrived = arg;
    machine *to = machine_at(&arrived->to), *from = machine_at(&arrived->from);
    if (run && to != NULL && from != NULL && is_reachable(from, to)) {
        datagrams *socket = find_socket(&arrived->to, &arrived->from);
        if (socket != NULL) {
            give_datagram(socket, arrived);
            return;
        }
        if (to->on_datagram != NULL && arrived->to.port == 53)
            to->on_datagram(to, &arrived->from, arrived->octets, arrived->len);
        else
            refuse_datagram(arrived);
    }
    free(arrived);
}

static void send_datagram(const ehlo_address *from, const ehlo_address *to, const char *bytes, size_t len)
{
    unsigned copies = world_chance(faults.drop) ? 0 : world_chance(faults.twice) ? 2 : 1;
    for (; copies > 0; copies--) {
        datagram *sent = must(calloc(1, sizeof *sent + len));
        sent->from = *from;
        sent->to = *to;
        sent->len = len;
        memcpy(sent->octets, bytes, len);
        world_after(delay_of_network(), datagram_arrives, sent);
    }
}

void datagrams_send(datagrams *d, const char *bytes, size_t len)
{
    send_datagram(&d->local, &d->remote, bytes, len);
}

void datagram_answer(machine *from, const ehlo_address *to, const char *bytes, size_t len)
{
    ehlo_address own = to->family == EHLO_FAMILY_IPV4 ? from->v4 : from->v6;
    own.port = 53;
    send_datagram(&own, to, bytes, len);
}

ptrdiff_t datagrams_receive(datagrams *d, char *bytes, size_t len)
{
    datagram *first = d->first;
    if (first == NULL) {
        errno = d->error != 0 ? d->error : EAGAIN;
        d->error = 0;
        return -1;
    }
    if (len > first->len) len = first->len;
    memcpy(bytes, first->octets, len);
    d->first = first->next;
    free(first);
    return (ptrdiff_t)len;
}

void datagrams_close(datagrams *d)
{
    datagrams **at = &sockets;
    while (*at != d) at = &(*at)->next;
    *at = d->next;
    while (d->first != NULL) {
        datagram *dropped = d->first;
        d->first = dropped->next;
        free(dropped);
    }
    free(d);
}

void network_reset(void)
{
    listenings = NULL;
    sockets = NULL;
}
