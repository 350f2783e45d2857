/* The same for what a relay says, asks for and keeps: `wire` is what it wrote of it, or what its sockets sent. */
#ifndef EHLO_TESTS_INJECTION_RELAY_H
#define EHLO_TESTS_INJECTION_RELAY_H

#include "injection_net.h"

#include "dns_message.h"
#include "harness/store.h"

/* -- routes ----------------------------------------------------------------------------------------- */

static inline ehlo_relay_policy policy_of(args *a)
{
    if (a->host.name.len == 0) a->host.name = GOOD("smart.example");
    return (
        ehlo_relay_policy){ .own_names = &a->own_name, .nown_names = 1, .smart_hosts = &a->host, .nsmart_hosts = 1 };
}

static int check_policy(args *a)
{
    ehlo_relay_policy policy = policy_of(a);
    wire.len = 0;
    return ehlo_relay_policy_check(&policy);
}

WRITER(write_destination, ehlo_destination_write(&(ehlo_relay_policy){ 0 }, a->text, out, WIRE_MAX, &len))

/* A domain without MX is its own host: that is what will be asked for. */
static int plan_mx(args *a)
{
    static dns_message m;
    ehlo_dns_answer answer;
    ehlo_mx host;
    size_t n;
    wire.len = 0;
    dns_begin(&m, DNS_RESPONSE, "mx.example", EHLO_DNS_MX);
    assert_int_equal(ehlo_dns_answer_parse(m.bytes, m.len, DNS_ID, GOOD("mx.example"), EHLO_DNS_MX, &answer), EHLO_OK);
    if (ehlo_mx_plan(&answer, a->text, NULL, 1, &host, 1, &n) != EHLO_ROUTE_FOUND) return EHLO_ERR_ARG;
    wire_add(host.name.text, host.name.len);
    return EHLO_OK;
}

/* -- what is kept of an attempt --------------------------------------------------------------------- */

static max_align_t delivery_memory[(1 << 14) / sizeof(max_align_t)];

static inline ehlo_delivery *delivery_begin(ehlo_batch *batch, ehlo_batch_rcpt *rcpt)
{
    ehlo_delivery *d;
    memset(rcpt, 0, sizeof *rcpt);
    *batch = (ehlo_batch){ .destination = GOOD("[192.0.2.1]"), .rcpts = rcpt, .nrcpts = 1 };
    assert_true(ehlo_delivery_size() <= sizeof delivery_memory);
    assert_int_equal(ehlo_delivery_init(&d, delivery_memory, sizeof delivery_memory, NULL, batch, 1), EHLO_OK);
    return d;
}

static int fail_delivery(args *a)
{
    ehlo_batch batch;
    ehlo_batch_rcpt rcpt;
    ehlo_delivery *d = delivery_begin(&batch, &rcpt);
    a->reply.code = 450;
    wire.len = 0;
    int result = ehlo_delivery_failed(d, EHLO_STAGE_GREETING, EHLO_OUTCOME_DEFERRED, &a->reply);
    wire_add(rcpt.text, rcpt.text_len);
    return result;
}

static int reply_to_delivery(args *a)
{
    ehlo_batch batch;
    ehlo_batch_rcpt rcpt;
    ehlo_delivery *d = delivery_begin(&batch, &rcpt);
    wire.len = 0;
    assert_int_equal(ehlo_delivery_connected(d, GOOD("")), EHLO_OK);
    int result = ehlo_delivery_reply(d, 0, &a->reply);
    wire_add(rcpt.text, rcpt.text_len);
    return result;
}

static int connect_delivery(args *a)
{
    ehlo_batch batch;
    ehlo_batch_rcpt rcpt;
    ehlo_delivery *d = delivery_begin(&batch, &rcpt);
    wire.len = 0;
    int result = ehlo_delivery_connected(d, a->text);
    wire_add(rcpt.host, rcpt.host_len);
    return result;
}

/* -- reports ---------------------------------------------------------------------------------------- */

/* Every piece goes to the wire by itself: a report that is refused has written none. */
static int write_report(args *a)
{
    static char piece[EHLO_DSN_PIECE_MAX];
    ehlo_dsn_cursor cursor = { 0 };
    size_t len;
    int more;
    a->dsn.rcpts = &a->dsn_rcpt;
    wire.len = 0;
    while ((more = ehlo_dsn_next(&a->dsn, &cursor, piece, sizeof piece, &len)) > 0) wire_add(piece, len);
    if (more < 0) return more;
    int result = ehlo_dsn_end(&a->dsn, piece, sizeof piece, &len);
    wire_add(piece, len);
    return result;
}

/* -- names ------------------------------------------------------------------------------------------ */

static inline void on_mx(ehlo_loop *loop, ehlo_dns_answer *answer, void *arg)
{
    (void)loop, (void)answer;
    *(ehlo_lookup **)arg = NULL;
}

static int resolve_mx(args *a)
{
    ehlo_lookup *lookup = NULL;
    wire.len = 0;
    int result = ehlo_resolve_mx(world.resolver, a->text, on_mx, &lookup, &lookup);
    world_run(result);
    if (result == EHLO_OK && lookup != NULL) ehlo_lookup_cancel(lookup);
    size_t len = wire.len;
    world_forget();
    wire.len = len;
    return result;
}

/* -- the relay -------------------------------------------------------------------------------------- */

static inline void on_recorded(const ehlo_batch *batch, const ehlo_progress *p, void *ctx)
{
    (void)p;
    *(ehlo_stage *)ctx = (ehlo_stage)batch->rcpts[0].rcpt.stage;
}

/* A relay with one message, on its way to the listener. */
typedef struct relaying {
    store *store;
    store_door *door;
    ehlo_relay *relay;
    ehlo_stage failed; /* of the attempt, once it was recorded */
} relaying;

static inline int relay_begin(relaying *r, args *a)
{
    ehlo_relay_policy policy = policy_of(a);
    ehlo_relay_config config = { .policy = &policy,
                                 .store = &store_functions,
                                 .client = &a->client,
                                 .resolver = world.resolver,
                                 .smart_tls = EHLO_TLS_NONE,
                                 .credentials = a->event != NULL ? &a->credentials : NULL,
                                 .on_recorded = on_recorded,
                                 .ctx = &r->failed };
    memset(r, 0, sizeof *r);
    a->host.port = world.port;
    r->store = store_new(NULL);
    assert_non_null(store_put(r->store, NULL, "ann@sender.example", "bob@mx.example", GOOD("x\r\n"), 0));
    config.store_ctx = r->door = store_open(r->store, NULL);
    wire.len = 0;
    return ehlo_relay_new(&r->relay, world.loop, &config);
}

static inline void relay_end(relaying *r)
{
    ehlo_relay_free(r->relay);
    store_close(r->door);
    store_free(r->store);
    size_t len = wire.len;
    world_forget();
    wire.len = len;
}

/* The name of a host that is looked up reaches the wire as a question, else as a hello. */
static int run_relay(args *a)
{
    relaying r;
    if (a->host.name.len == 0) a->host.name = GOOD("127.0.0.1");
    int result = relay_begin(&r, a);
    world_run(result);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(ehlo_loop_step(world.loop, 0), 1);
        world_look();
    }
    relay_end(&r);
    return result;
}

static int relay_with_credentials(args *a)
{
    relaying r;
    a->host.name = GOOD("127.0.0.1");
    a->credentials.mechanisms = sasl_mechanism(a);
    int result = relay_begin(&r, a);
    assert_int_equal(result, EHLO_OK);
    world_log_in(&r.failed);
    if (r.failed != EHLO_STAGE_NONE) {
        assert_int_equal(r.failed, EHLO_STAGE_AUTH);
        result = EHLO_ERR_ARG;
    }
    wire_keep_auth();
    relay_end(&r);
    return result;
}

#endif
