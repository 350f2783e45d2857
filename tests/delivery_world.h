/* A world around deliveries, made of octets: a policy, a batch, and what name servers and hosts say. It takes a batch
 * through its attempts until nobody waits any more, and checks at every step what has to hold whatever the world does:
 * an attempt ends; who has an outcome is not sent to again; no host is tried that policy or plan forbid; every recipient
 * ends with a state, and is reported on as its sender wants. */
#ifndef EHLO_TESTS_DELIVERY_WORLD_H
#define EHLO_TESTS_DELIVERY_WORLD_H

#include <string.h>

#include <ehlo/relay.h>
#include <ehlo/syntax.h>

#include "../fuzz/check.h"
#include "dns_message.h"

enum {
    WORLD_RCPTS = 5,
    WORLD_HOSTS = 3, /* smart ones */
    WORLD_TOLD = 256,
    WORLD_LIVES = 40,   /* attempts at one batch */
    WORLD_STEPS = 1000, /* of one attempt; far more than there may be */
    WORLD_TEXT = 600,
    WORLD_DELIVERY = 1 << 14 /* octets of a delivery, at most */
};

/* An address that was told for a host. */
typedef struct world_address {
    char host[32];
    ehlo_address address;
} world_address;

typedef struct world {
    const uint8_t *at;
    size_t left;

    ehlo_relay_policy policy;
    ehlo_str own_name;
    ehlo_address own_address;
    ehlo_host smart_hosts[WORLD_HOSTS];
    ehlo_address smart_addresses[2];

    ehlo_batch batch;
    ehlo_batch_rcpt rcpts[WORLD_RCPTS];
    size_t total;
    struct {
        ehlo_str to;
        unsigned notify;
        int ended, is_told, was_delayed; /* a report of failure, of delay */
        int will_report;                 /* the host that took it does */
    } facts[WORLD_RCPTS];                /* by number */

    ehlo_delivery *delivery;
    void *mem;
    int64_t now;

    /* This attempt. */
    int has_mx;
    struct {
        char name[32];
        unsigned preference;
    } mx[EHLO_MX_MAX];
    size_t nmx;
    unsigned forbidden; /* hosts of this preference and worse; 65536: none */
    unsigned reached;   /* the worst preference that was tried */
    world_address told[WORLD_TOLD];
    size_t ntold;
    unsigned connects, lookups, sends;
    int has_reused, is_over_reused;
    ehlo_task before;
    unsigned char final[WORLD_RCPTS]; /* by number: it has an outcome that no other host may change */
} world;

/* -- octets ----------------------------------------------------------------------------------------- */

/* 0 to n - 1; 0 where the octets have come to their end. */
static inline unsigned world_draw(world *w, unsigned n)
{
    if (w->left == 0) return 0;
    w->left--;
    return *w->at++ % n;
}

static inline ehlo_str world_text(world *w)
{
    size_t len = world_draw(w, 4) == 3 ? WORLD_TEXT : world_draw(w, 40);
    if (len > w->left) len = w->left;
    ehlo_str text = ehlo_str_make((const char *)w->at, len);
    w->at += len;
    w->left -= len;
    return text;
}

/* The last one is ours, and so is 127.0.0.1 most of the time. */
static inline ehlo_address world_draw_address(world *w)
{
    static const ehlo_address pool[] = {
        { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 1 } },
        { .family = EHLO_FAMILY_IPV6, .octets = { 0x20, 1, 0xd, 0xb8, [15] = 1 } },
        { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 2 } },
        { .family = EHLO_FAMILY_IPV6, .octets = { 0x20, 1, 0xd, 0xb8, [15] = 2 } },
        { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 3 } },
        { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 4 } },
        { .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 1 } },
        { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 9 } },
    };
    return pool[world_draw(w, sizeof(pool) / sizeof(pool[0]))];
}

/* -- policy and batch ------------------------------------------------------------------------------- */

static inline void world_draw_smart_hosts(world *w)
{
    static const char *const names[] = { "smart.x", "[192.0.2.7]", "192.0.2.8", "127.0.0.1" };
    w->policy.smart_hosts = w->smart_hosts;
    w->policy.nsmart_hosts = 1 + world_draw(w, WORLD_HOSTS);
    for (size_t i = 0; i < w->policy.nsmart_hosts; i++) {
        ehlo_host *host = &w->smart_hosts[i];
        host->name = ehlo_str_from(names[world_draw(w, 4)]);
        host->port = (uint16_t)(world_draw(w, 3) * 587);
        host->addresses = w->smart_addresses;
        host->naddresses = world_draw(w, 3);
    }
}

static inline void world_draw_policy(world *w)
{
    static const uint32_t addresses_max[] = { 0, 2, 3, 40 };
    w->own_name = ehlo_str_from("we.x");
    w->own_address = (ehlo_address){ .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 9 } };
    w->policy.own_names = &w->own_name;
    w->policy.nown_names = world_draw(w, 2);
    w->policy.own_addresses = &w->own_address;
    w->policy.nown_addresses = world_draw(w, 2);
    w->policy.allow_loopback = (uint8_t)world_draw(w, 2);
    w->policy.mx_port = (uint16_t)(world_draw(w, 2) * 2525);
    w->policy.uncertain = (uint8_t)world_draw(w, 3);
    w->policy.addresses_max = addresses_max[world_draw(w, 4)];
    if (world_draw(w, 2)) w->policy.schedule = (ehlo_schedule){ 1, 4, 20, 3 };
    for (size_t i = 0; i < 2; i++) w->smart_addresses[i] = world_draw_address(w);
    if (world_draw(w, 4) == 3) world_draw_smart_hosts(w);
    CHECK(ehlo_relay_policy_check(&w->policy) == EHLO_OK);
}

static inline void world_draw_recipient(world *w, size_t i)
{
    static const uint8_t notify[] = { 0,
                                      EHLO_NOTIFY_NEVER,
                                      EHLO_NOTIFY_SUCCESS,
                                      EHLO_NOTIFY_FAILURE,
                                      EHLO_NOTIFY_DELAY,
                                      EHLO_NOTIFY_SUCCESS | EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY };
    static const char *const names[WORLD_RCPTS] = { "a@example.org", "b@example.org", "c@example.org", "d@example.org",
                                                    "e@example.org" };
    ehlo_batch_rcpt *r = &w->rcpts[i];
    r->rcpt.to = ehlo_str_from(names[i]);
    r->rcpt.notify = notify[world_draw(w, sizeof(notify))];
    r->number = (uint32_t)i;
    w->facts[i].to = r->rcpt.to;
    w->facts[i].notify = r->rcpt.notify;
}

static inline void world_draw_batch(world *w)
{
    static const char *const destinations[] = {
        "example.org", "example.org",        "example.org", "[192.0.2.1]",
        "we.x",        "[ipv6:2001:db8::1]", "[127.0.0.1]", "b\xc3\xbc.example"
    };
    ehlo_batch *batch = &w->batch;
    w->now = 1795348800000;
    batch->destination = ehlo_str_from(destinations[world_draw(w, 8)]);
    batch->arrived = w->now;
    batch->attempt = world_draw(w, 16) == 15 ? UINT32_MAX - 2 : 0;
    batch->envelope.from = ehlo_str_from(world_draw(w, 4) == 3 ? "" : "ann@sender.example");
    batch->envelope.flags = world_draw(w, 4) == 3 ? EHLO_SEND_REQUIRETLS : 0;
    batch->rcpts = w->rcpts;
    batch->nrcpts = w->total = 1 + world_draw(w, WORLD_RCPTS);
    for (size_t i = 0; i < w->total; i++) world_draw_recipient(w, i);
}

/* -- events that do not fit ------------------------------------------------------------------------- */

/* Every event that does not fit the task is refused, and nothing is different then. */
static inline void world_try_wrong_events(world *w)
{
    ehlo_delivery *d = w->delivery;
    ehlo_task_kind kind = ehlo_delivery_task(d)->kind;
    size_t nrcpts = ehlo_delivery_task(d)->nrcpts;
    ehlo_str none = ehlo_str_make(NULL, 0);
    ehlo_address address = { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 66 } };
    ehlo_reply reply = { .code = 250, .text = ehlo_str_from("wrong") };
    ehlo_progress progress = { .attempt = 77 };
    int is_seeking = kind == EHLO_TASK_MX || kind == EHLO_TASK_ADDRESSES || kind == EHLO_TASK_CONNECT;
    static char before[WORLD_DELIVERY];
    static ehlo_batch_rcpt rcpts[WORLD_RCPTS];
    memcpy(before, w->mem, ehlo_delivery_size());
    memcpy(rcpts, w->rcpts, sizeof rcpts);
    if (kind != EHLO_TASK_MX) CHECK(ehlo_delivery_mx(d, NULL) == EHLO_ERR_STATE);
    if (kind != EHLO_TASK_ADDRESSES) CHECK(ehlo_delivery_addresses(d, EHLO_DNS_FOUND, &address, 1) == EHLO_ERR_STATE);
    if (kind != EHLO_TASK_CONNECT) {
        CHECK(ehlo_delivery_connected(d, none) == EHLO_ERR_STATE);
        CHECK(ehlo_delivery_failed(d, EHLO_STAGE_CONNECT, EHLO_OUTCOME_NOT_SENT, &reply) == EHLO_ERR_STATE);
    }
    if (!is_seeking || w->has_reused) CHECK(ehlo_delivery_connected(d, ehlo_str_from("wrong.x")) == EHLO_ERR_STATE);
    if (!is_seeking) CHECK(ehlo_delivery_stop(d) == EHLO_ERR_STATE);
    if (kind != EHLO_TASK_SEND) CHECK(ehlo_delivery_sent(d, 0) == EHLO_ERR_STATE);
    CHECK(ehlo_delivery_reply(d, kind == EHLO_TASK_SEND ? nrcpts : 0, &reply) == EHLO_ERR_STATE);
    if (kind != EHLO_TASK_RECORD) CHECK(ehlo_delivery_conclude(d, w->now, &progress) == EHLO_ERR_STATE);
    CHECK(progress.attempt == 77 && memcmp(rcpts, w->rcpts, sizeof rcpts) == 0);
    CHECK(memcmp(before, w->mem, ehlo_delivery_size()) == 0);
}

/* -- name servers ----------------------------------------------------------------------------------- */

static inline int world_is_own_name(const world *w, const char *name)
{
    return w->policy.nown_names > 0 && strcmp(name, "we.x") == 0;
}

static inline void world_add_mx(world *w, dns_message *m, const char *domain)
{
    static const char *const names[] = { "a.x", "b.x", "c.x", "d.x", "we.x", "", "192.0.2.1", "bad!.x" };
    const char *name = names[world_draw(w, 8)];
    unsigned preference = world_draw(w, 3) * 10;
    dns_add_mx(m, domain, preference, name);
    strcpy(w->mx[w->nmx].name, name);
    w->mx[w->nmx++].preference = preference;
    if (world_is_own_name(w, name) && preference < w->forbidden) w->forbidden = preference;
}

static inline void world_answer_mx(world *w)
{
    static dns_message m;
    static const unsigned flags[] = { DNS_RESPONSE, DNS_RESPONSE, DNS_RESPONSE | DNS_NO_SUCH_NAME,
                                      DNS_RESPONSE | DNS_SERVFAIL };
    ehlo_dns_answer answer;
    unsigned kind = world_draw(w, 8);
    char domain[64] = { 0 };
    ehlo_str name = ehlo_delivery_task(w->delivery)->name;
    memcpy(domain, name.ptr, name.len);
    if (kind == 7) {
        CHECK(ehlo_delivery_mx(w->delivery, NULL) == EHLO_OK);
        return;
    }
    dns_begin(&m, kind < 4 ? DNS_RESPONSE : flags[kind - 3], domain, EHLO_DNS_MX);
    for (unsigned i = 0, n = kind < 4 ? 1 + world_draw(w, EHLO_MX_MAX) : 0; i < n; i++) world_add_mx(w, &m, domain);
    CHECK(ehlo_dns_answer_parse(m.bytes, m.len, DNS_ID, name, EHLO_DNS_MX, &answer) == EHLO_OK);
    w->has_mx = answer.status == EHLO_DNS_FOUND;
    CHECK(ehlo_delivery_mx(w->delivery, &answer) == EHLO_OK);
}

/* The best preference of a host that is not better than those that were tried; 0 without MX records. */
static inline unsigned world_preference(const world *w, ehlo_str host)
{
    unsigned best = 65536;
    if (!w->has_mx) return 0;
    for (size_t i = 0; i < w->nmx; i++) {
        if (strlen(w->mx[i].name) == host.len && memcmp(w->mx[i].name, host.ptr, host.len) == 0 &&
            w->mx[i].preference < best && w->mx[i].preference >= w->reached)
            best = w->mx[i].preference;
    }
    return best;
}

static inline void world_tell(world *w, ehlo_str host, const ehlo_address *address)
{
    CHECK(w->ntold < WORLD_TOLD && host.len < sizeof w->told[0].host);
    world_address *told = &w->told[w->ntold++];
    memset(told, 0, sizeof *told);
    memcpy(told->host, host.ptr, host.len);
    told->address = *address;
}

/* RFC 5321 5.1: a host with an address of ours is us, and so are those that are not preferred to it. */
static inline void world_answer_addresses(world *w)
{
    ehlo_address addresses[12];
    ehlo_str host = ehlo_delivery_task(w->delivery)->name;
    unsigned kind = world_draw(w, 8);
    size_t n = 1 + world_draw(w, 12);
    int is_own = 0;
    if (kind >= 5) {
        ehlo_dns_status status = kind == 5 ? EHLO_DNS_NODATA : kind == 6 ? EHLO_DNS_NXDOMAIN : EHLO_DNS_FAILED;
        CHECK(ehlo_delivery_addresses(w->delivery, status, NULL, 0) == EHLO_OK);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        addresses[i] = world_draw_address(w);
        is_own |= ehlo_address_is_own(&w->policy, &addresses[i]);
        world_tell(w, host, &addresses[i]);
    }
    if (is_own && w->policy.nsmart_hosts == 0 && world_preference(w, host) < w->forbidden)
        w->forbidden = world_preference(w, host);
    CHECK(ehlo_delivery_addresses(w->delivery, EHLO_DNS_FOUND, addresses, n) == EHLO_OK);
}

/* -- hosts ------------------------------------------------------------------------------------------ */

static inline ehlo_reply world_draw_reply(world *w, unsigned class)
{
    ehlo_reply reply = { .code = (uint16_t)(class * 100 + world_draw(w, 60)) };
    if (class == 4 && world_draw(w, 3) == 2) reply.code = 421;
    if (class == 0) reply.code = 0;
    if (world_draw(w, 2)) {
        reply.enhanced[0] = (uint16_t) class;
        reply.enhanced[1] = (uint16_t)world_draw(w, 8);
        reply.enhanced[2] = (uint16_t)(world_draw(w, 4) * 300);
    }
    reply.text = world_text(w);
    return reply;
}

static inline void world_answer_connect(world *w)
{
    static const ehlo_outcome outcomes[] = { EHLO_OUTCOME_NOT_SENT, EHLO_OUTCOME_DEFERRED, EHLO_OUTCOME_REJECTED };
    static const unsigned classes[] = { 0, 4, 5 };
    unsigned kind = world_draw(w, 8);
    if (kind >= 4) {
        CHECK(ehlo_delivery_connected(w->delivery, ehlo_str_make(NULL, 0)) == EHLO_OK);
        return;
    }
    ehlo_stage stage = (ehlo_stage)(EHLO_STAGE_RESOLVE + (int)world_draw(w, 6));
    ehlo_reply reply = world_draw_reply(w, classes[kind % 3]);
    CHECK(ehlo_delivery_failed(w->delivery, stage, outcomes[kind % 3], kind == 3 ? NULL : &reply) == EHLO_OK);
}

/* What a transaction would say of a recipient. */
static inline void world_settle(world *w, size_t index)
{
    static const ehlo_outcome outcomes[] = { EHLO_OUTCOME_NOT_SENT, EHLO_OUTCOME_DELIVERED, EHLO_OUTCOME_DEFERRED,
                                             EHLO_OUTCOME_REJECTED, EHLO_OUTCOME_UNCERTAIN };
    static const unsigned classes[] = { 0, 2, 4, 5, 0 };
    ehlo_batch_rcpt *r = &w->rcpts[index];
    unsigned kind = world_draw(w, 5);
    ehlo_reply reply = world_draw_reply(w, classes[kind]);
    int is_last = kind == 1 || kind == 4;
    r->rcpt.outcome = (uint8_t)outcomes[kind];
    r->rcpt.stage = (uint8_t)(is_last ? EHLO_STAGE_FINAL : EHLO_STAGE_MAIL + (int)world_draw(w, kind == 0 ? 3 : 4));
    r->rcpt.code = reply.code;
    memcpy(r->rcpt.enhanced, reply.enhanced, sizeof reply.enhanced);
    if (world_draw(w, 4) < 3) CHECK(ehlo_delivery_reply(w->delivery, index, classes[kind] ? &reply : NULL) == EHLO_OK);
    int is_closing = kind == 2 && r->rcpt.code == 421 && r->rcpt.stage < EHLO_STAGE_FINAL;
    w->final[r->number] = kind != 0 && !is_closing;
}

/* The transaction has ended. */
static inline int world_sent(world *w, int has_dsn)
{
    size_t n = ehlo_delivery_task(w->delivery)->nrcpts;
    for (size_t i = 0; i < n; i++) w->facts[w->rcpts[i].number].will_report = has_dsn;
    return ehlo_delivery_sent(w->delivery, has_dsn);
}

static inline void world_answer_send(world *w)
{
    size_t n = ehlo_delivery_task(w->delivery)->nrcpts;
    int undecided = 0;
    for (size_t i = 0; i < n; i++) {
        world_settle(w, i);
        undecided |= w->rcpts[i].rcpt.outcome == EHLO_OUTCOME_NOT_SENT;
    }
    CHECK(world_sent(w, (int)world_draw(w, 2)) == EHLO_OK);
    const ehlo_task *task = ehlo_delivery_task(w->delivery);
    if (w->is_over_reused && undecided) CHECK(task->kind == w->before.kind && task->name.ptr == w->before.name.ptr);
    w->is_over_reused = 0;
}

/* -- a step ----------------------------------------------------------------------------------------- */

static inline int world_was_told(const world *w, ehlo_str host, const ehlo_address *address)
{
    for (size_t i = 0; i < w->ntold; i++) {
        const world_address *told = &w->told[i];
        if (strlen(told->host) == host.len && memcmp(told->host, host.ptr, host.len) == 0 &&
            told->address.family == address->family && memcmp(told->address.octets, address->octets, 16) == 0)
            return 1;
    }
    return 0;
}

/* Hosts come in the order of their preference, and none that is forbidden. */
static inline void world_check_host(world *w, ehlo_str host)
{
    unsigned preference = world_preference(w, host);
    if (w->policy.nsmart_hosts > 0 || w->batch.destination.ptr[0] == '[') return;
    CHECK(preference < w->forbidden);
    w->reached = preference;
}

static inline void world_check_connect(world *w, const ehlo_task *task)
{
    int is_smart = w->policy.nsmart_hosts > 0;
    unsigned most = w->policy.addresses_max != 0 ? w->policy.addresses_max : 10;
    world_check_host(w, task->name);
    CHECK(++w->connects <= most && task->smart == is_smart);
    CHECK(task->verified_tls == ((w->batch.envelope.flags & EHLO_SEND_REQUIRETLS) != 0));
    if (is_smart) return;
    CHECK(!ehlo_address_is_own(&w->policy, &task->address));
    CHECK(task->address.port == (w->policy.mx_port != 0 ? w->policy.mx_port : 25));
    if (w->batch.destination.ptr[0] != '[') CHECK(world_was_told(w, task->name, &task->address));
}

static inline void world_check_send(world *w, const ehlo_task *task)
{
    CHECK(task->nrcpts > 0 && task->nrcpts <= w->batch.nrcpts && ++w->sends <= 42);
    for (size_t i = 0; i < w->batch.nrcpts; i++) CHECK(w->final[w->rcpts[i].number] == (i >= task->nrcpts));
}

/* Another session, or the end, at any time. */
static inline int world_interrupts(world *w, const ehlo_task *task)
{
    unsigned kind = world_draw(w, 32);
    if (task->kind == EHLO_TASK_SEND || kind < 30) return 0;
    if (kind == 31) {
        CHECK(ehlo_delivery_stop(w->delivery) == EHLO_OK);
        CHECK(ehlo_delivery_task(w->delivery)->kind == EHLO_TASK_RECORD);
        return 1;
    }
    if (w->has_reused) return 0;
    w->has_reused = w->is_over_reused = 1;
    w->before = *task;
    CHECK(ehlo_delivery_connected(w->delivery, ehlo_str_from("open.x")) == EHLO_OK);
    CHECK(ehlo_delivery_task(w->delivery)->kind == EHLO_TASK_SEND);
    return 1;
}

static inline void world_step(world *w)
{
    const ehlo_task *task = ehlo_delivery_task(w->delivery);
    world_try_wrong_events(w);
    if (world_interrupts(w, task)) return;
    switch (task->kind) {
    case EHLO_TASK_MX:
        CHECK(task->name.len == w->batch.destination.len && ++w->lookups == 1);
        world_answer_mx(w);
        return;
    case EHLO_TASK_ADDRESSES:
        CHECK(task->name.len > 0 && ++w->lookups <= 1 + EHLO_MX_MAX);
        world_check_host(w, task->name);
        world_answer_addresses(w);
        return;
    case EHLO_TASK_CONNECT:
        world_check_connect(w, task);
        world_answer_connect(w);
        return;
    default:
        world_check_send(w, task);
        world_answer_send(w);
    }
}

/* -- the end of an attempt -------------------------------------------------------------------------- */

/* One line, for logs, files and reports [Q14]. */
static inline void world_check_text(const char *text, size_t len)
{
    CHECK(len <= EHLO_REPLY_KEPT && ehlo_utf8_valid(ehlo_str_make(text, len), NULL));
    for (size_t i = 0; i < len; i++) CHECK((unsigned char)text[i] >= ' ' && text[i] != 0x7F);
}

/* What of the recipient was not told so far is told if its sender wants that, and nothing else is. */
static inline void world_check_report(world *w, const ehlo_batch_rcpt *r, int warns)
{
    unsigned notify = w->facts[r->number].notify;
    int has_sender = w->batch.envelope.from.len > 0;
    int has_failed = r->state == EHLO_STATE_FAILED || r->state == EHLO_STATE_EXPIRED;
    int is_delayed = r->state == EHLO_STATE_QUEUED && warns;
    int wants_failure = has_sender && (notify == 0 || notify & EHLO_NOTIFY_FAILURE);
    int wants_success = has_sender && notify & EHLO_NOTIFY_SUCCESS;
    int wants_delay = has_sender && (notify == 0 || notify & EHLO_NOTIFY_DELAY);
    CHECK((r->action == EHLO_ACTION_FAILED) == (has_failed && wants_failure));
    CHECK((r->action == EHLO_ACTION_DELAYED) == (is_delayed && wants_delay));
    CHECK((r->action == EHLO_ACTION_RELAYED) ==
          (r->state == EHLO_STATE_DELIVERED && !w->facts[r->number].will_report && wants_success));
    CHECK(r->action <= EHLO_ACTION_DELAYED || r->action == EHLO_ACTION_RELAYED);
    if (r->action == EHLO_ACTION_FAILED) CHECK(!w->facts[r->number].is_told++);
    if (r->action == EHLO_ACTION_DELAYED) CHECK(!w->facts[r->number].was_delayed++);
}

static inline void world_check_recipient(world *w, const ehlo_batch_rcpt *r, int expired, int warns)
{
    unsigned outcome = r->rcpt.outcome;
    CHECK(outcome >= EHLO_OUTCOME_DELIVERED && outcome <= EHLO_OUTCOME_UNCERTAIN);
    if (outcome == EHLO_OUTCOME_DELIVERED) CHECK(r->state == EHLO_STATE_DELIVERED);
    if (outcome == EHLO_OUTCOME_REJECTED) CHECK(r->state == EHLO_STATE_FAILED);
    if (outcome == EHLO_OUTCOME_NOT_SENT || outcome == EHLO_OUTCOME_DEFERRED)
        CHECK(r->state == (expired ? EHLO_STATE_EXPIRED : EHLO_STATE_QUEUED));
    if (outcome == EHLO_OUTCOME_UNCERTAIN) {
        static const uint8_t states[] = { EHLO_STATE_QUEUED, EHLO_STATE_FAILED, EHLO_STATE_DELIVERED };
        uint8_t state = states[w->policy.uncertain];
        CHECK(r->uncertain == 1);
        CHECK(r->state == (state == EHLO_STATE_QUEUED && expired ? EHLO_STATE_EXPIRED : state));
    }
    CHECK(r->number < w->total && !w->facts[r->number].ended);
    CHECK(r->rcpt.to.ptr == w->facts[r->number].to.ptr && r->rcpt.notify == w->facts[r->number].notify);
    world_check_text(r->text, r->text_len);
    world_check_text(r->host, r->host_len);
    world_check_report(w, r, warns);
    w->facts[r->number].ended = r->state != EHLO_STATE_QUEUED;
}

static inline void world_check_progress(const world *w, const ehlo_progress *p, int warns)
{
    const ehlo_schedule *s = &w->policy.schedule;
    int64_t most = s->max_s != 0 ? (int64_t)s->max_s * 1000 : 10800000;
    uint8_t reports[8] = { 0 };
    size_t queued = 0;
    for (size_t i = 0; i < w->batch.nrcpts; i++) {
        reports[w->rcpts[i].action] = w->rcpts[i].action != EHLO_ACTION_NONE;
        queued += w->rcpts[i].state == EHLO_STATE_QUEUED;
    }
    CHECK(memcmp(reports, p->reports, sizeof reports) == 0);
    CHECK((p->next_try == EHLO_NEVER) == (queued == 0));
    if (queued > 0) CHECK(p->next_try > w->now && p->next_try <= w->now + most + most / 8);
    CHECK(p->attempt > w->batch.attempt || (w->batch.attempt == UINT32_MAX && p->attempt == UINT32_MAX));
    CHECK(p->warned == (w->batch.warned || (warns && queued > 0)));
}

static inline void world_conclude(world *w, ehlo_progress *progress)
{
    const ehlo_schedule *s = &w->policy.schedule;
    world_try_wrong_events(w);
    w->now += (int64_t)world_draw(w, 256) * 40;
    int expired = ehlo_schedule_expired(s, w->batch.arrived, w->now);
    int warns = !w->batch.warned && ehlo_schedule_warns(s, w->batch.arrived, w->now);
    CHECK(ehlo_delivery_conclude(w->delivery, w->now, progress) == EHLO_OK);
    for (size_t i = 0; i < w->batch.nrcpts; i++) world_check_recipient(w, &w->rcpts[i], expired, warns);
    world_check_progress(w, progress, warns);
}

/* -- an attempt, and a life ------------------------------------------------------------------------- */

static inline void world_attempt(world *w, ehlo_progress *progress)
{
    w->nmx = w->ntold = 0;
    w->connects = w->lookups = w->sends = w->reached = 0;
    w->has_mx = w->has_reused = w->is_over_reused = 0;
    w->forbidden = 65536;
    for (size_t i = 0; i < w->total; i++) w->final[i] = 0;
    uint64_t seed = world_draw(w, 256);
    CHECK(ehlo_delivery_init(&w->delivery, w->mem, ehlo_delivery_size(), &w->policy, &w->batch, seed) == EHLO_OK);
    for (unsigned steps = 0; ehlo_delivery_task(w->delivery)->kind != EHLO_TASK_RECORD; steps++) {
        CHECK(steps < WORLD_STEPS);
        world_step(w);
    }
    world_conclude(w, progress);
}

/* As a store would give the batch out again: with those who wait still. */
static inline void world_store(world *w, const ehlo_progress *progress)
{
    size_t n = 0;
    for (size_t i = 0; i < w->batch.nrcpts; i++) {
        if (w->rcpts[i].state == EHLO_STATE_QUEUED) w->rcpts[n++] = w->rcpts[i];
    }
    w->batch.nrcpts = n;
    w->batch.attempt = progress->attempt;
    w->batch.warned = progress->warned;
    w->now = progress->next_try;
}

/* From its arrival until nobody waits. Where the octets have come to their end nobody can be reached any more. */
static inline void world_live(const uint8_t *octets, size_t len)
{
    static world w;
    unsigned attempts = 0;
    memset(&w, 0, sizeof w);
    w.at = octets;
    w.left = len;
    w.mem = malloc(ehlo_delivery_size());
    CHECK(w.mem != NULL && ehlo_delivery_size() <= WORLD_DELIVERY);
    world_draw_policy(&w);
    world_draw_batch(&w);
    while (w.batch.nrcpts > 0) {
        ehlo_progress progress;
        if (++attempts > WORLD_LIVES || w.left == 0) w.now += 500000000; /* it is old enough */
        CHECK(attempts < WORLD_LIVES + 3);
        world_attempt(&w, &progress);
        world_store(&w, &progress);
    }
    for (size_t i = 0; i < w.total; i++) CHECK(w.facts[i].ended);
    free(w.mem);
}

#endif
