/* relay.c - a relay: an intake that files messages in a store, and the runner of net.h. */
#include "hosts.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INTAKE_RCPTS_MAX = 64, HEADER_MAX = 2048, HOPS_MAX = 10 };

typedef struct relay_host {
    machine *machine;
    char name[64];
    ehlo_address own[2];
    relay_settings settings;
    ledger_rules rules;
    uint64_t cut_off_until;
    ehlo_pending hurrying;
    size_t hurried;
    int hurries;  /* that call has not been answered yet */
    int has_left; /* a batch to its lease, at the end of its loop */
    ehlo_service *service;
    store_door *door;
    ehlo_resolver *resolver;
    ehlo_relay *relay;
    struct filing *filings; /* that wait for the store */
} relay_host;

/* What a session gathers of a message. */
typedef struct intake {
    char from[LEDGER_ADDRESS_MAX];
    ehlo_recipient rcpts[INTAKE_RCPTS_MAX];
    char mailboxes[INTAKE_RCPTS_MAX][LEDGER_ADDRESS_MAX];
    char domains[INTAKE_RCPTS_MAX][LEDGER_ADDRESS_MAX];
    ehlo_str destinations[INTAKE_RCPTS_MAX];
    size_t n;
    char *content;
    size_t len;
} intake;

/* A whole message on its way into the store. */
typedef struct filing {
    ehlo_pending pending; /* first */
    struct filing *next;
    relay_host *host;
    intake message;
    ehlo_envelope envelope;
    ehlo_queued queued;
    ehlo_conn_id conn;
    ehlo_token token;
    void *stored; /* the store's name for it */
    ehlo_str name;
    char header[HEADER_MAX];
    size_t header_len;
    size_t done; /* octets of header and content */
} filing;

static store_faults faults;

void relay_set(const store_faults *set)
{
    static const store_faults none;
    faults = set != NULL ? *set : none;
}

/* -- the store -------------------------------------------------------------------------------------- */

typedef struct pumping {
    relay_host *host;
    unsigned boots; /* it is the same door still */
} pumping;

static void pump(void *arg, int run)
{
    pumping *p = arg;
    if (run && p->host->machine->up && p->boots == p->host->machine->boots) store_pump(p->host->door);
    free(p);
}

static void on_put_off(void *ctx, store_door *door)
{
    relay_host *host = ctx;
    pumping *p = malloc(sizeof *p);
    (void)door;
    if (p == NULL) abort();
    *p = (pumping){ .host = host, .boots = host->machine->boots };
    world_after(world_between(0, world_chance(faults.slow) ? 20 * MINUTE : 3 * SECOND), pump, p);
}

/* From a crash on nothing gets to the store. */
static store_fate on_decide(void *ctx, store_call call)
{
    const relay_host *host = ctx;
    if (!machine_acts(host->machine)) return (store_fate){ .later = 1, .result = EHLO_ERR_SYSTEM };
    store_fate fate = { .later = world_chance(faults.later) };
    if (world_chance(faults.fail) || world_now() < host->cut_off_until) fate.result = EHLO_ERR_SYSTEM;
    if (call == STORE_BODY || call == STORE_APPEND) fate.most = (size_t)world_between(1, 20000);
    return fate;
}

static void on_committed(void *ctx, store_message *message)
{
    const relay_host *host = ctx;
    message->damaged = world_chance(faults.damage);
    ledger_committed(host->machine, &host->rules, message, host->settings.store);
}

static void on_happened(void *ctx, store_call call, const ehlo_batch *batch, const ehlo_progress *progress, int result)
{
    const relay_host *host = ctx;
    if (call == STORE_CLAIM)
        ledger_claimed(host->machine, &host->rules, batch);
    else if (call == STORE_RECORD)
        ledger_recorded(host->machine, &host->rules, batch, progress, result);
    else if (call == STORE_HURRY)
        ledger_hurried(&host->rules);
    else
        ledger_lease_lost(&host->rules, batch);
}

static void on_patch(void *ctx, const ehlo_batch *batch, uint64_t offset, char *piece, size_t len)
{
    const relay_host *host = ctx;
    const store_message *message = store_find(host->settings.store, batch->message);
    if (!message->is_report) ledger_patch(batch, offset, piece, len);
}

/* -- filing ----------------------------------------------------------------------------------------- */

static void take_out(filing *f)
{
    filing **link = &f->host->filings;
    while (*link != f) link = &(*link)->next;
    *link = f->next;
    free(f->message.content);
    free(f);
}

static void end_filing(filing *f, int result)
{
    relay_host *host = f->host;
    ehlo_reply r = { .code = result == EHLO_OK ? 0 : 451 };
    ehlo_loop_answer(host->machine->loop, f->conn, f->token, &r);
    take_out(f);
    if (result == EHLO_OK) ehlo_relay_kick(host->relay);
}

/* The machine is being taken down. */
static int is_over(const filing *f)
{
    return f->host->door == NULL;
}

static const ehlo_store *functions_of(const relay_host *host)
{
    return host->settings.functions != NULL ? host->settings.functions : &store_functions;
}

static void on_filed(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    (void)loop;
    if (!is_over((filing *)pending)) end_filing((filing *)pending, result);
}

static void file_end(filing *f)
{
    f->pending.fn = on_filed;
    int result = functions_of(f->host)->commit(f->host->door, f->stored, &f->pending);
    if (result != EHLO_LATER) end_filing(f, result);
}

static void on_appended(ehlo_loop *loop, ehlo_pending *pending, int result);

/* The next octets: of the header, then of the content. */
static int append_more(filing *f)
{
    int in_header = f->done < f->header_len;
    const char *bytes = in_header ? f->header + f->done : f->message.content + (f->done - f->header_len);
    size_t len = in_header ? f->header_len - f->done : f->message.len + f->header_len - f->done;
    size_t taken = 0;
    int result = functions_of(f->host)->append(f->host->door, f->stored, bytes, len, &taken, &f->pending);
    f->done += taken;
    return result;
}

static void file_content(filing *f)
{
    int result = EHLO_OK;
    f->pending.fn = on_appended;
    while (result == EHLO_OK && f->done < f->header_len + f->message.len) result = append_more(f);
    if (result == EHLO_LATER) return;
    if (result == EHLO_OK) {
        file_end(f);
        return;
    }
    functions_of(f->host)->discard(f->host->door, f->stored);
    end_filing(f, result);
}

static void on_appended(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    filing *f = (filing *)pending;
    (void)loop;
    if (is_over(f)) return;
    if (result == EHLO_OK) {
        file_content(f);
        return;
    }
    functions_of(f->host)->discard(f->host->door, f->stored);
    end_filing(f, result);
}

/* Our line and our Received field. */
static void write_header(filing *f)
{
    size_t len = 0;
    ehlo_received received = { .hello = f->queued.hello,
                               .by = ehlo_str_from(f->host->name),
                               .with = EHLO_WITH_ESMTP,
                               .id = f->name,
                               .time = f->queued.arrived / 1000 };
    ledger_line(f->host->settings.store_number, f->name, f->header);
    if (ehlo_received_write(&received, f->header + LEDGER_LINE_LEN, HEADER_MAX - LEDGER_LINE_LEN, &len) != EHLO_OK)
        world_breach("a Received field can't be written");
    f->header_len = LEDGER_LINE_LEN + len;
}

static void on_created(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    filing *f = (filing *)pending;
    (void)loop;
    if (is_over(f)) return;
    if (result != EHLO_OK) {
        end_filing(f, result);
        return;
    }
    write_header(f);
    file_content(f);
}

/* Takes over what was gathered. */
static void begin_filing(relay_host *host, intake *from, ehlo_conn_id conn, ehlo_token token)
{
    filing *f = calloc(1, sizeof *f);
    if (f == NULL) abort();
    f->message = *from;
    from->content = NULL;
    from->n = from->len = 0;
    f->host = host;
    f->conn = conn;
    f->token = token;
    f->next = host->filings;
    host->filings = f;
    for (size_t i = 0; i < f->message.n; i++) {
        f->message.rcpts[i].to = ehlo_str_from(f->message.mailboxes[i]);
        f->message.destinations[i] = ehlo_str_from(f->message.domains[i]);
    }
    f->envelope =
        (ehlo_envelope){ .from = ehlo_str_from(f->message.from), .rcpts = f->message.rcpts, .nrcpts = f->message.n };
    f->queued = (ehlo_queued){ .envelope = &f->envelope,
                               .destinations = f->message.destinations,
                               .hello = ehlo_str_from("client.example"),
                               .arrived = machine_unix_ms(host->machine) };
    f->pending.loop = host->machine->loop;
    f->pending.fn = on_created;
    int result = functions_of(host)->create(host->door, &f->queued, &f->stored, &f->name, &f->pending);
    if (result != EHLO_LATER) on_created(f->pending.loop, &f->pending, result);
}

/* -- the intake ------------------------------------------------------------------------------------- */

static void forget(intake *in)
{
    in->n = in->len = 0;
    free(in->content);
    in->content = NULL;
}

static int copy_text(char *out, ehlo_str text)
{
    if (text.len >= LEDGER_ADDRESS_MAX) return 0;
    if (text.len > 0) memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return 1;
}

static int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    intake *in = user;
    (void)s;
    (void)token;
    forget(in);
    if (!copy_text(in->from, mail->path.mailbox)) r->code = 550;
    return EHLO_OK;
}

static int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    intake *in = user;
    const relay_host *host = ehlo_conn_ctx(s);
    size_t len;
    (void)token;
    if (in->n == INTAKE_RCPTS_MAX || !copy_text(in->mailboxes[in->n], rcpt->path.mailbox) ||
        ehlo_destination_write(&host->settings.policy, rcpt->path.mailbox, in->domains[in->n], LEDGER_ADDRESS_MAX - 1,
                               &len) != EHLO_OK) {
        r->code = 452;
        return EHLO_OK;
    }
    in->domains[in->n][len] = '\0';
    memset(&in->rcpts[in->n], 0, sizeof in->rcpts[0]);
    in->rcpts[in->n++].notify = rcpt->notify;
    return EHLO_OK;
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    intake *in = user;
    (void)s;
    (void)taken;
    (void)r;
    in->content = realloc(in->content, in->len + len + 1);
    if (in->content == NULL) abort();
    memcpy(in->content + in->len, bytes, len);
    in->len += len;
    return EHLO_OK;
}

static int is_looping(const intake *in)
{
    ehlo_header header = { .fields = 0 };
    ehlo_header_scan(&header, in->content, in->len);
    return header.received > HOPS_MAX;
}

static int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    (void)message;
    if (is_looping(user)) {
        r->code = 554;
        return EHLO_OK;
    }
    begin_filing(ehlo_conn_ctx(s), user, ehlo_conn_number(s), token);
    return EHLO_LATER;
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    (void)s;
    (void)reason;
    forget(user);
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    (void)s;
    (void)reason;
    (void)pending;
    forget(user);
}

/* -- the machine ------------------------------------------------------------------------------------ */

static void listen_on(relay_host *host, ehlo_address address)
{
    address.port = 25;
    ehlo_listen_config cfg = { .address = address, .service = host->service, .ctx = host, .user_size = sizeof(intake) };
    if (ehlo_loop_listen(host->machine->loop, &cfg, NULL) != EHLO_OK) abort();
}

static void boot_intake(relay_host *host)
{
    static const ehlo_server_callbacks callbacks = { .on_mail = on_mail,
                                                     .on_rcpt = on_rcpt,
                                                     .on_body = on_body,
                                                     .on_message = on_message,
                                                     .on_reset = on_reset,
                                                     .on_close = on_close };
    /* A 421 while the store is still at it would tell the sender what may turn out to be wrong. */
    ehlo_service_config cfg = { .hostname = ehlo_str_from(host->name),
                                .answer_ms = 6 * HOUR,
                                .extensions = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING |
                                              EHLO_CAP_CHUNKING | EHLO_CAP_ENHANCEDSTATUSCODES | EHLO_CAP_DSN };
    if (ehlo_net_service_new(&host->service, &cfg, &callbacks) != EHLO_OK) abort();
    listen_on(host, host->machine->v4);
    listen_on(host, host->machine->v6);
}

static int contains(ehlo_str text, const char *part)
{
    size_t len = strlen(part);
    for (size_t i = 0; i + len <= text.len; i++) {
        if (memcmp(text.ptr + i, part, len) == 0) return 1;
    }
    return 0;
}

static void on_problem(ehlo_str text, void *ctx)
{
    relay_host *host = ctx;
    if (contains(text, "left to its lease")) host->has_left = 1;
    world_trace("problem: %.*s", (int)text.len, text.ptr);
}

static void on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *ctx)
{
    (void)ctx;
    (void)secret;
    world_trace("%llu %s %.*s", (unsigned long long)ehlo_client_number(c), direction == EHLO_TRACE_OUT ? ">" : "<",
                (int)bytes.len, bytes.ptr);
}

static void boot_runner(relay_host *host)
{
    const relay_settings *settings = &host->settings;
    const ehlo_client_config client = { .name = ehlo_str_from(host->name) };
    const store_setup setup = { .decide = on_decide,
                                .put_off = on_put_off,
                                .committed = on_committed,
                                .happened = on_happened,
                                .patch = on_patch,
                                .ctx = host };
    const ehlo_resolver_config names = { .servers = settings->nameservers,
                                         .nservers = settings->n,
                                         .hosts_file = ehlo_str_from("/dev/null") };
    host->door = store_open(settings->store, &setup);
    if (ehlo_resolver_new(&host->resolver, host->machine->loop, &names) != EHLO_OK) abort();
    const ehlo_relay_config cfg = { .policy = &settings->policy,
                                    .store = functions_of(host),
                                    .store_ctx = host->door,
                                    .client = &client,
                                    .resolver = host->resolver,
                                    .lease_ms = settings->lease_ms,
                                    .concurrency = settings->concurrency,
                                    .destination_concurrency = settings->destination_concurrency,
                                    .session_messages = settings->session_messages,
                                    .on_problem = on_problem,
                                    .on_trace = world_traces() ? on_trace : NULL,
                                    .ctx = host };
    int result = ehlo_relay_new(&host->relay, host->machine->loop, &cfg);
    if (result != EHLO_OK) world_breach("%s: ehlo_relay_new gives %d", host->name, result);
}

static void boot(machine *m)
{
    relay_host *host = m->app;
    host->has_left = host->hurries = 0;
    if (ehlo_loop_new(&m->loop, NULL) != EHLO_OK) abort();
    boot_intake(host);
    boot_runner(host);
}

static int on_survives(void *ctx, store_call call)
{
    (void)ctx;
    (void)call;
    return world_chance(500);
}

/* A proper end leaves nothing behind, where the store lets it. */
static void check_end(const relay_host *host)
{
    if (host->filings == NULL && !host->has_left && store_held(host->door) > 0)
        world_breach("%s: its loop has ended, and %zu things are held still", host->name, store_held(host->door));
}

static void halt(machine *m, int crashed)
{
    relay_host *host = m->app;
    if (!crashed) check_end(host);
    ehlo_relay_free(host->relay);
    store_crash(host->door, on_survives, host->settings.leases_run_on);
    if (crashed || host->has_left) ledger_crashed(m);
    host->door = NULL;
    ehlo_resolver_free(host->resolver);
    ehlo_loop_free(m->loop);
    ehlo_net_service_free(host->service);
    while (host->filings != NULL) take_out(host->filings);
    host->relay = NULL;
}

static void discard(machine *m)
{
    free(m->app);
}

machine *relay_machine(const char *name, const relay_settings *settings)
{
    relay_host *host = calloc(1, sizeof *host);
    if (host == NULL) abort();
    host->settings = *settings;
    snprintf(host->name, sizeof host->name, "%s.example", name);
    host->machine = machine_new(name, boot, halt, host);
    host->machine->discard = discard;
    host->own[0] = host->machine->v4;
    host->own[1] = host->machine->v6;
    if (settings->knows_its_addresses) {
        host->settings.policy.own_addresses = host->own;
        host->settings.policy.nown_addresses = 2;
    }
    host->rules = (ledger_rules){ .store_number = settings->store_number, .policy = &host->settings.policy };
    return host->machine;
}

static void stop(machine *m, void *arg)
{
    ehlo_loop_stop(m->loop, *(int *)arg);
}

void relay_stop(machine *m, int grace_ms)
{
    if (!m->up) return;
    m->ending = 1;
    machine_run(m, stop, &grace_ms);
}

void relay_cut_off(machine *m, uint64_t ms)
{
    relay_host *host = m->app;
    world_trace("%s can't reach its store for %llu ms", m->name, (unsigned long long)ms);
    host->cut_off_until = world_now() + ms;
}

static void on_hurried(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    relay_host *host = (relay_host *)((char *)pending - offsetof(relay_host, hurrying));
    (void)loop;
    (void)result;
    host->hurries = 0;
    if (host->door != NULL) ehlo_relay_kick(host->relay);
}

static void hurry(machine *m, void *arg)
{
    relay_host *host = m->app;
    const char *node = arg;
    host->hurries = 1;
    host->hurrying = (ehlo_pending){ .loop = m->loop, .fn = on_hurried };
    int result =
        functions_of(host)->hurry(host->door, node[0], ehlo_str_from(node + 1), &host->hurried, &host->hurrying);
    if (result != EHLO_LATER) on_hurried(m->loop, &host->hurrying, result);
}

void relay_hurry(machine *m, char *node)
{
    const relay_host *host = m->app;
    if (m->up && !host->hurries) machine_run(m, hurry, node);
}
