/* names.c - DNS messages as a server writes them (RFC 1035), as simple as may be: no name is compressed. */
#include "names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "network.h"

enum { HEADER_LEN = 12, UDP_LEN = 512, ANSWER_MAX = 4096, STREAMS_MAX = 64, ALIASES_MAX = 8 };
enum { NO_ERROR = 0, SERVER_FAILURE = 2, NAME_ERROR = 3, REFUSED = 5 };

typedef struct record {
    struct record *next;
    char name[80];
    ehlo_dns_type type;
    uint16_t preference;
    char target[80];
    ehlo_address address;
} record;

struct names {
    record *records;
    names_faults faults;
};

/* What a machine has open. */
typedef struct name_server {
    names *names;
    stream *streams[STREAMS_MAX];
    size_t n;
} name_server;

typedef struct question {
    char name[256];
    unsigned type;
    size_t len; /* of the query, up to the end of its question */
} question;

typedef struct answer {
    unsigned char bytes[ANSWER_MAX];
    size_t len;
    unsigned records;
} answer;

/* -- records ---------------------------------------------------------------------------------------- */

names *names_new(void)
{
    names *n = calloc(1, sizeof *n);
    if (n == NULL) abort();
    return n;
}

void names_free(names *n)
{
    while (n->records != NULL) {
        record *r = n->records;
        n->records = r->next;
        free(r);
    }
    free(n);
}

static record *add(names *n, const char *name, ehlo_dns_type type)
{
    record **last = &n->records;
    while (*last != NULL) last = &(*last)->next;
    *last = calloc(1, sizeof **last);
    if (*last == NULL) abort();
    snprintf((*last)->name, sizeof(*last)->name, "%s", name);
    (*last)->type = type;
    return *last;
}

void names_add_mx(names *n, const char *name, uint16_t preference, const char *target)
{
    record *r = add(n, name, EHLO_DNS_MX);
    r->preference = preference;
    snprintf(r->target, sizeof r->target, "%s", target);
}

void names_add_alias(names *n, const char *name, const char *target)
{
    record *r = add(n, name, EHLO_DNS_CNAME);
    snprintf(r->target, sizeof r->target, "%s", target);
}

void names_add_address(names *n, const char *name, const ehlo_address *address)
{
    record *r = add(n, name, address->family == EHLO_FAMILY_IPV4 ? EHLO_DNS_A : EHLO_DNS_AAAA);
    r->address = *address;
}

void names_set(names *n, const names_faults *faults)
{
    static const names_faults none;
    n->faults = faults != NULL ? *faults : none;
}

/* -- reading ---------------------------------------------------------------------------------------- */

/* 0: it is no query of one question. */
static int read_question(const char *bytes, size_t len, question *q)
{
    size_t at = HEADER_LEN, out = 0;
    if (len < HEADER_LEN + 5) return 0;
    while (at < len && bytes[at] != 0) {
        size_t label = (unsigned char)bytes[at++];
        if (label > 63 || at + label >= len || out + label + 2 > sizeof q->name) return 0;
        if (out > 0) q->name[out++] = '.';
        memcpy(q->name + out, bytes + at, label);
        out += label;
        at += label;
    }
    if (at + 5 > len) return 0;
    q->name[out] = '\0';
    q->type = (unsigned)(unsigned char)bytes[at + 1] << 8 | (unsigned char)bytes[at + 2];
    q->len = at + 5;
    return 1;
}

/* -- writing ---------------------------------------------------------------------------------------- */

static void put(answer *a, unsigned value, size_t octets)
{
    while (octets-- > 0) a->bytes[a->len++] = (unsigned char)(value >> 8 * octets);
}

static void put_name(answer *a, const char *name)
{
    while (*name != '\0' && strcmp(name, ".") != 0) {
        size_t label = strcspn(name, ".");
        put(a, (unsigned)label, 1);
        memcpy(a->bytes + a->len, name, label);
        a->len += label;
        name += label + (name[label] == '.');
    }
    put(a, 0, 1);
}

static void put_record(answer *a, const record *r)
{
    put_name(a, r->name);
    put(a, r->type, 2);
    put(a, 1, 2);
    put(a, 300, 4);
    size_t length_at = a->len;
    put(a, 0, 2);
    if (r->type == EHLO_DNS_MX) put(a, r->preference, 2);
    if (r->type == EHLO_DNS_MX || r->type == EHLO_DNS_CNAME) {
        put_name(a, r->target);
    } else {
        size_t len = r->type == EHLO_DNS_A ? 4 : 16;
        memcpy(a->bytes + a->len, r->address.octets, len);
        a->len += len;
    }
    size_t len = a->len - length_at - 2;
    a->bytes[length_at] = (unsigned char)(len >> 8);
    a->bytes[length_at + 1] = (unsigned char)len;
    a->records++;
}

/* Adds those of this name and type; 1 if the name exists. *alias: where a CNAME leads. */
static int put_records(answer *a, const names *n, const char *name, unsigned type, const char **alias)
{
    int exists = 0;
    for (const record *r = n->records; r != NULL; r = r->next) {
        if (strcasecmp(r->name, name) != 0) continue;
        exists = 1;
        if ((unsigned)r->type == type || r->type == EHLO_DNS_CNAME) put_record(a, r);
        if (r->type == EHLO_DNS_CNAME) *alias = r->target;
    }
    return exists;
}

/* Returns the code. */
static unsigned look_up(answer *a, const names *n, const question *q)
{
    const char *name = q->name;
    for (int i = 0; i < ALIASES_MAX; i++) {
        const char *alias = NULL;
        if (!put_records(a, n, name, q->type, &alias)) return NAME_ERROR;
        if (alias == NULL) return NO_ERROR;
        name = alias;
    }
    return SERVER_FAILURE;
}

static void begin(answer *a, const char *query, const question *q)
{
    memcpy(a->bytes, query, q->len);
    a->len = q->len;
    a->records = 0;
    memset(a->bytes + 6, 0, 6);
}

static void end(answer *a, unsigned code, int is_cut)
{
    a->bytes[2] = (unsigned char)(0x81 | is_cut << 1);
    a->bytes[3] = (unsigned char)(0x80 | code);
    a->bytes[7] = (unsigned char)a->records;
}

/* 0: there is none. */
static int make_answer(answer *a, const names *n, const char *query, size_t len, int by_udp)
{
    question q;
    unsigned code = NO_ERROR;
    if (!read_question(query, len, &q) || world_chance(n->faults.silent)) return 0;
    begin(a, query, &q);
    if (world_chance(n->faults.failed))
        code = SERVER_FAILURE;
    else if (world_chance(n->faults.refused))
        code = REFUSED;
    else
        code = look_up(a, n, &q);
    int is_cut = by_udp && (a->len > UDP_LEN || world_chance(n->faults.cut));
    if (is_cut) begin(a, query, &q);
    end(a, code, is_cut);
    if (world_chance(n->faults.other)) a->bytes[world_draw(2)] ^= (unsigned char)(1 + world_draw(255));
    world_trace("names: %s %u: %u with %u records%s", q.name, q.type, code, a->records, is_cut ? ", cut" : "");
    return 1;
}

/* -- the machine ------------------------------------------------------------------------------------ */

static void on_datagram(machine *m, const ehlo_address *from, const char *bytes, size_t len)
{
    const name_server *server = m->app;
    answer a;
    if (make_answer(&a, server->names, bytes, len, 1)) datagram_answer(m, from, (const char *)a.bytes, a.len);
}

static void forget(name_server *server, stream *s, int crashed)
{
    for (size_t i = 0; i < server->n; i++) {
        if (server->streams[i] == s) server->streams[i--] = server->streams[--server->n];
    }
    stream_close(s, crashed);
}

static void remember(name_server *server, stream *s)
{
    if (s->app != NULL) return;
    s->app = server;
    server->streams[server->n++] = s;
}

static void answer_stream(const name_server *server, stream *s)
{
    char query[2 + 512];
    answer a;
    ptrdiff_t got = stream_receive(s, query, sizeof query, 1);
    if (got < 2 || got - 2 < (unsigned char)query[0] * 256 + (unsigned char)query[1]) return;
    stream_receive(s, query, sizeof query, 0);
    if (!make_answer(&a, server->names, query + 2, (size_t)got - 2, 0)) return;
    unsigned char prefix[2] = { (unsigned char)(a.len >> 8), (unsigned char)a.len };
    stream_send(s, (const char *)prefix, 2);
    stream_send(s, (const char *)a.bytes, a.len);
}

static void on_stream(machine *m, stream *s)
{
    name_server *server = m->app;
    if (s->app == NULL && server->n == STREAMS_MAX) {
        stream_close(s, 0);
        return;
    }
    remember(server, s);
    answer_stream(server, s);
    if (s->ended || s->broken) forget(server, s, 0);
}

static void halt(machine *m, int crashed)
{
    name_server *server = m->app;
    while (server->n > 0) forget(server, server->streams[0], crashed);
}

static void discard(machine *m)
{
    free(m->app);
}

machine *names_machine(names *n, const char *name)
{
    name_server *server = calloc(1, sizeof *server);
    if (server == NULL) abort();
    server->names = n;
    machine *m = machine_new(name, NULL, halt, server);
    m->discard = discard;
    m->on_datagram = on_datagram;
    m->on_stream = on_stream;
    return m;
}
