/* lib/net/relay.c - claims batches, and comes to an end with its loop. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "relay.h"

#include "destination.h"
#include "record.h"
#include "relay_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONCURRENCY = 100, DESTINATION_CONCURRENCY = 20, SESSION_MESSAGES = 100 };
enum { ATTEMPT_MS = 900000, IDLE_MS = 2000, LEASE_MS = 300000, POLL_MS = 60000 };
enum { CLAIM_MAX = 1000 };   /* batches of one claim */
enum { RESTING_FACTOR = 4 }; /* so many times the concurrency may be under way, with those that rest */
enum { PATIENCE_MIN_MS = 100, PATIENCE_MAX_MS = 30000, PROBLEM_MAX = 512 };

/* A question to the store for batches, in one block with what the store fills. */
struct ehlo_claiming {
    ehlo_kept kept;    /* first, see ehlo_loop_keep */
    ehlo_relay *relay; /* NULL: nobody listens any more */
    ehlo_pending pending;
    ehlo_claim claim;
    ehlo_batch *batches[];
};

/* -- what the parts need ---------------------------------------------------------------------------- */

static int64_t system_ms(void *ctx)
{
    struct timespec now;
    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t ehlo_relay_now(const ehlo_relay *relay)
{
    return relay->cfg.unix_ms(relay->cfg.ctx);
}

void ehlo_relay_problem(const ehlo_relay *relay, const char *what, ehlo_str message, int error)
{
    char line[PROBLEM_MAX];
    ehlo_str why = error != EHLO_OK ? ehlo_error_text(error) : ehlo_str_make("", 0);
    if (relay->cfg.on_problem == NULL) return;
    size_t name_len = message.len < PROBLEM_MAX / 2 ? message.len : PROBLEM_MAX / 2;
    int len = snprintf(line, sizeof line, "%.*s%s%s%s%.*s", (int)name_len, name_len > 0 ? message.ptr : "",
                       name_len > 0 ? ": " : "", what, why.len > 0 ? ": " : "", (int)why.len, why.ptr);
    size_t shown = len < PROBLEM_MAX ? (size_t)len : PROBLEM_MAX - 1;
    relay->cfg.on_problem(ehlo_str_make(line, shown), relay->cfg.ctx);
}

uint32_t ehlo_patience(uint32_t *ms)
{
    *ms = *ms == 0 ? PATIENCE_MIN_MS : *ms < PATIENCE_MAX_MS / 2 ? *ms * 2 : PATIENCE_MAX_MS;
    return *ms;
}

/* -- its end ---------------------------------------------------------------------------------------- */

static void leave_if_done(ehlo_relay *relay)
{
    if (relay->guard == NULL || !ehlo_loop_stopping(relay->loop)) return;
    if (relay->busy > 0 || relay->claiming != NULL) return;
    ehlo_conn *guard = relay->guard;
    relay->guard = NULL;
    ehlo_conn_close(guard);
}

static void for_each_attempt(ehlo_relay *relay, void (*fn)(ehlo_attempt *attempt))
{
    for (ehlo_attempt *a = relay->attempts; a != NULL;) {
        ehlo_attempt *next = a->next;
        fn(a);
        a = next;
    }
}

/* A connection without a descriptor, at the start of its block: by it the loop tells of its end, and waits for ours. */
typedef struct relay_guard {
    ehlo_conn conn;
    ehlo_relay *relay;
} relay_guard;

static void guard_stop(ehlo_conn *conn)
{
    ehlo_relay *relay = ((relay_guard *)conn)->relay;
    ehlo_timer_stop(relay->loop, &relay->seek);
    for_each_attempt(relay, ehlo_attempt_stop);
    leave_if_done(relay);
}

/* Sessions are ended by the loop itself. */
static void guard_end(ehlo_conn *conn)
{
    ehlo_relay *relay = ((relay_guard *)conn)->relay;
    relay->out_of_grace = 1;
    for_each_attempt(relay, ehlo_attempt_hurry);
    leave_if_done(relay);
}

static void nothing(ehlo_conn *conn)
{
    (void)conn;
}

static const ehlo_conn_driver guard_driver = { NULL, nothing, guard_stop, guard_end, nothing };

static int guard_new(ehlo_relay *relay)
{
    relay_guard *guard = calloc(1, sizeof *guard);
    if (guard == NULL) return EHLO_ERR_MEMORY;
    guard->relay = relay;
    if (ehlo_conn_register(&guard->conn, relay->loop, &guard_driver) != EHLO_OK) {
        free(guard);
        return EHLO_ERR_MEMORY;
    }
    relay->guard = &guard->conn;
    return EHLO_OK;
}

/* -- attempts --------------------------------------------------------------------------------------- */

void ehlo_relay_begun(ehlo_relay *relay, ehlo_attempt *a)
{
    a->next = relay->attempts;
    a->link = &relay->attempts;
    if (a->next != NULL) a->next->link = &a->next;
    relay->attempts = a;
    relay->busy++;
}

void ehlo_relay_ended(ehlo_relay *relay, ehlo_attempt *a)
{
    *a->link = a->next;
    if (a->next != NULL) a->next->link = a->link;
    relay->busy--;
    if (relay->gone) return;
    ehlo_relay_kick(relay);
    leave_if_done(relay);
}

/* A store that cannot take one record, as its disk is full, may well take another, and make room by that. */
void ehlo_relay_rests(ehlo_relay *relay, ehlo_attempt *a)
{
    a->resting = 1;
    a->destination->resting++;
    relay->resting++;
    ehlo_relay_kick(relay);
}

void ehlo_relay_rested(ehlo_relay *relay, ehlo_attempt *a)
{
    if (!a->resting) return;
    a->resting = 0;
    a->destination->resting--;
    relay->resting--;
}

/* -- claims ----------------------------------------------------------------------------------------- */

static void seek(ehlo_loop *loop, void *arg);

/* What comes sooner counts, but not while the store has to be given time. */
static void seek_in(ehlo_relay *relay, uint64_t ms)
{
    ehlo_loop *loop = relay->loop;
    uint64_t due = loop->now + ms;
    if (due < relay->not_before) due = relay->not_before;
    if (ehlo_loop_stopping(loop) || (ehlo_timer_runs(&relay->seek) && relay->seek.due <= due)) return;
    relay->seek.fn = seek;
    relay->seek.arg = relay;
    if (ehlo_loop_time(loop, &relay->seek, due) != EHLO_OK)
        ehlo_relay_problem(relay, "nothing is claimed any more", ehlo_str_make(NULL, 0), EHLO_ERR_MEMORY);
}

static void hold_back(ehlo_relay *relay, const char *what, int error)
{
    ehlo_relay_problem(relay, what, ehlo_str_make(NULL, 0), error);
    relay->not_before = relay->loop->now + ehlo_patience(&relay->patience_ms);
    ehlo_timer_stop(relay->loop, &relay->seek);
    seek_in(relay, 0);
}

static void release_all(ehlo_relay *relay, const ehlo_claim *claim)
{
    for (size_t i = 0; i < claim->n; i++) relay->cfg.store->release(relay->cfg.store_ctx, claim->batches[i]);
}

/* The clocks of store and loop are two: the wait is never longer than poll_ms, whatever they say. */
static void start_all(ehlo_relay *relay, const ehlo_claim *claim)
{
    int error = EHLO_OK;
    for (size_t i = 0; i < claim->n; i++) {
        int result = ehlo_attempt_start(relay, claim->batches[i]);
        if (result != EHLO_OK) error = result;
    }
    if (error != EHLO_OK) {
        hold_back(relay, "a batch could not be begun", error);
        return;
    }
    int64_t now = ehlo_relay_now(relay);
    int64_t wait = claim->n < claim->max && claim->next_due > now ? claim->next_due - now : 0;
    relay->patience_ms = 0;
    seek_in(relay, wait < relay->cfg.poll_ms ? (uint64_t)wait : relay->cfg.poll_ms);
}

static void claimed(ehlo_relay *relay, int result)
{
    ehlo_claiming *claiming = relay->claiming;
    relay->claiming = NULL;
    if (result != EHLO_OK)
        hold_back(relay, "the store hands out nothing", result);
    else if (ehlo_loop_stopping(relay->loop))
        release_all(relay, &claiming->claim);
    else
        start_all(relay, &claiming->claim);
    free(claiming);
    if (relay->seek_again) ehlo_relay_kick(relay);
    leave_if_done(relay);
}

static void claim_answered(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    const ehlo_claiming *claiming = (ehlo_claiming *)((char *)pending - offsetof(ehlo_claiming, pending));
    (void)loop;
    if (claiming->relay != NULL) claimed(claiming->relay, result);
}

/* Behind the batches lie the rooms, then their names: the store may read them when the destinations are gone. */
static ehlo_claiming *claiming_new(ehlo_relay *relay, size_t max)
{
    size_t octets, nrooms = ehlo_destinations_sweep(relay, &octets);
    ehlo_claiming *claiming =
        calloc(1, sizeof *claiming + max * sizeof *claiming->batches + nrooms * sizeof(ehlo_room) + octets);
    if (claiming == NULL) return NULL;
    ehlo_room *rooms = (ehlo_room *)(claiming->batches + max);
    int64_t now = ehlo_relay_now(relay);
    ehlo_destinations_tell(relay, rooms, (char *)(rooms + nrooms));
    claiming->relay = relay;
    claiming->pending.loop = relay->loop;
    claiming->pending.fn = claim_answered;
    claiming->claim = (ehlo_claim){ .now = now,
                                    .lease_until = now + relay->cfg.lease_ms,
                                    .max = max,
                                    .destination_max = ehlo_destination_first_window(relay),
                                    .rooms = rooms,
                                    .nrooms = nrooms,
                                    .batches = claiming->batches,
                                    .next_due = EHLO_NEVER };
    return claiming;
}

static size_t less(size_t most, size_t taken)
{
    return most > taken ? most - taken : 0;
}

static size_t room_for_batches(const ehlo_relay *relay)
{
    size_t room = less(relay->cfg.concurrency, relay->busy - relay->resting);
    size_t in_all = less((size_t)relay->cfg.concurrency * RESTING_FACTOR, relay->busy);
    return room < in_all ? room : in_all;
}

static void claim(ehlo_relay *relay)
{
    size_t room = room_for_batches(relay);
    if (room == 0) return; /* whoever ends asks again */
    relay->seek_again = 0;
    relay->claiming = claiming_new(relay, room < CLAIM_MAX ? room : CLAIM_MAX);
    if (relay->claiming == NULL) {
        hold_back(relay, "nothing can be claimed", EHLO_ERR_MEMORY);
        return;
    }
    ehlo_claiming *claiming = relay->claiming;
    int result = relay->cfg.store->claim(relay->cfg.store_ctx, &claiming->claim, &claiming->pending);
    if (result != EHLO_LATER) claimed(relay, result);
}

static void seek(ehlo_loop *loop, void *arg)
{
    (void)loop;
    claim(arg);
}

void ehlo_relay_kick(ehlo_relay *relay)
{
    if (relay->claiming != NULL)
        relay->seek_again = 1;
    else
        seek_in(relay, 0);
}

size_t ehlo_relay_busy(const ehlo_relay *relay)
{
    return relay->busy;
}

/* -- life ------------------------------------------------------------------------------------------- */

static int is_whole(const ehlo_store *store)
{
    return store != NULL && store->create != NULL && store->append != NULL && store->commit != NULL &&
           store->discard != NULL && store->claim != NULL && store->renew != NULL && store->record != NULL &&
           store->release != NULL && store->body != NULL && store->hurry != NULL;
}

/* As ehlo_loop_connect would judge it, for every message. */
static int is_tls_possible(const ehlo_relay_config *cfg)
{
    int required = cfg->tls >= EHLO_TLS_REQUIRED || cfg->smart_tls >= EHLO_TLS_REQUIRED ||
                   (cfg->smart_tls == EHLO_TLS_DEFAULT && cfg->credentials != NULL);
    return cfg->tls <= EHLO_TLS_WRAPPED && cfg->smart_tls <= EHLO_TLS_WRAPPED && (!required || cfg->tls_engine != NULL);
}

static int is_valid(const ehlo_relay_config *cfg, const ehlo_relay_policy *policy)
{
    return is_whole(cfg->store) && cfg->client != NULL && ehlo_client_size(cfg->client) != 0 && is_tls_possible(cfg) &&
           ehlo_relay_policy_check(policy) == EHLO_OK;
}

static void set_default(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0) *value = otherwise;
}

static void set_defaults(ehlo_relay_config *cfg)
{
    set_default(&cfg->concurrency, CONCURRENCY);
    set_default(&cfg->destination_concurrency, DESTINATION_CONCURRENCY);
    set_default(&cfg->attempt_ms, ATTEMPT_MS);
    set_default(&cfg->session_messages, SESSION_MESSAGES);
    set_default(&cfg->idle_ms, IDLE_MS);
    set_default(&cfg->lease_ms, LEASE_MS);
    set_default(&cfg->poll_ms, POLL_MS);
    if (cfg->unix_ms == NULL) cfg->unix_ms = system_ms;
}

static int relay_new(ehlo_relay **result, ehlo_loop *loop, const ehlo_relay_config *cfg,
                     const ehlo_relay_policy *policy)
{
    ehlo_relay *relay = calloc(1, sizeof *relay + cfg->client->name.len);
    if (relay == NULL) return EHLO_ERR_MEMORY;
    relay->loop = loop;
    relay->cfg = *cfg;
    relay->policy = *policy;
    relay->client = *cfg->client;
    memcpy(relay->name, cfg->client->name.ptr, cfg->client->name.len);
    relay->client.name.ptr = relay->name;
    relay->cfg.policy = &relay->policy;
    relay->cfg.client = &relay->client;
    set_defaults(&relay->cfg);
    int error = guard_new(relay);
    if (error != EHLO_OK) {
        free(relay);
        return error;
    }
    *result = relay;
    ehlo_relay_kick(relay);
    return EHLO_OK;
}

int ehlo_relay_new_sized(ehlo_relay **relay, ehlo_loop *loop, const ehlo_relay_config *cfg, size_t cfg_size,
                         size_t policy_size)
{
    ehlo_relay_config own = { 0 };
    ehlo_relay_policy policy = { 0 };
    memcpy(&own, cfg, cfg_size < sizeof own ? cfg_size : sizeof own);
    if (own.policy != NULL) memcpy(&policy, own.policy, policy_size < sizeof policy ? policy_size : sizeof policy);
    if (!is_valid(&own, &policy)) return EHLO_ERR_ARG;
    if (ehlo_loop_stopping(loop)) return EHLO_ERR_STATE;
    return relay_new(relay, loop, &own, &policy);
}

void ehlo_relay_free(ehlo_relay *relay)
{
    if (relay == NULL) return;
    ehlo_loop *loop = relay->loop;
    ehlo_loop *outer = ehlo_loop_enter(loop);
    relay->gone = 1;
    ehlo_timer_stop(loop, &relay->seek);
    ehlo_relay_sessions_end(relay);
    for_each_attempt(relay, ehlo_attempt_leave);
    if (relay->claiming != NULL) {
        relay->claiming->relay = NULL;
        ehlo_loop_keep(loop, &relay->claiming->kept);
    }
    ehlo_destinations_free(relay);
    if (relay->guard != NULL) ehlo_conn_close(relay->guard);
    ehlo_loop_leave(loop, outer);
    free(relay);
}
