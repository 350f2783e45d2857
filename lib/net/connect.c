/* lib/net/connect.c - client sessions on connections of a loop: from the list of hosts to the close.
 *
 * One host and address after the other is tried until the session with a server is open: only then can anything of a
 * message be sent, so that an alternate never gets what another server may have got. */
#include "address.h"
#include "carry.h"
#include "dial.h"
#include "handshake.h"
#include "question.h"
#include "rare.h"
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMTP_PORT = 25, SUBMISSIONS_PORT = 465, SUBMISSION_PORT = 587 };
enum { CONNECT_MS = 30000, TLS_MS = 60000, ADDRESSES_MAX = 8, ADDRESS_TEXT_MAX = 64, LAST_READS_MAX = 16 };

/* A connection that carries a client's session, in one block with it; before that, one that is still sought. */
typedef struct ehlo_outgoing {
    ehlo_carrier carrier; /* first, see ehlo_conn_open */
    ehlo_dial *dial;      /* NULL once the session is open */
    void *opening;        /* memory for that; NULL likewise: it has held secrets */
    ehlo_connect_callbacks callbacks;
    void *user;
    uint8_t refused;  /* 1: this server does not want us, or we do not want it, and was told QUIT */
    uint8_t broken;   /* 1: it takes nothing any more, but may have said why */
    uint8_t given_up; /* 1: nobody is sought any more */
    uint8_t again;    /* 1: this address is to be tried once more, in clear */
} ehlo_outgoing;

static const ehlo_conn_driver dialing_driver, session_driver;
static const ehlo_session_calls client_calls;

static ehlo_outgoing *outgoing_of(const ehlo_client *c)
{
    return (ehlo_outgoing *)((uintptr_t)c - ehlo_aligned(sizeof(ehlo_outgoing)));
}

static void *client_memory(ehlo_outgoing *out)
{
    return (char *)out + ehlo_aligned(sizeof *out);
}

static void settle(ehlo_outgoing *out, int result)
{
    ehlo_carry_settle(&client_calls, &out->carrier, result);
}

/* -- failures --------------------------------------------------------------------------------------- */

static void end_session(ehlo_outgoing *out)
{
    ehlo_client_close(out->carrier.session);
    out->carrier.session = NULL;
}

/* The dial is the callee's to free. */
static void end_search(ehlo_outgoing *out)
{
    out->dial = NULL;
    free(out->opening);
    out->opening = NULL;
}

/* No server is left, or none is to be sought any more. */
static void fail(ehlo_outgoing *out)
{
    ehlo_dial *dial = out->dial;
    ehlo_loop *loop = out->carrier.conn.loop;
    end_search(out);
    ehlo_dial_stop(dial); /* the application may free the resolver now */
    ehlo_conn_close(&out->carrier.conn);
    if (out->callbacks.on_failed != NULL) out->callbacks.on_failed(loop, &dial->failure, out->user);
    ehlo_dial_free(dial);
}

static void exhausted(ehlo_dial *dial)
{
    fail(dial->owner);
}

static void note(ehlo_outgoing *out, ehlo_stage stage, ehlo_str problem)
{
    ehlo_failure failure = { .stage = stage, .problem = problem };
    ehlo_dial_note(out->dial, &failure);
}

/* Before a session runs. */
static ehlo_stage early_stage(const ehlo_outgoing *out)
{
    if (out->carrier.conn.tls != NULL) return EHLO_STAGE_STARTTLS;
    return out->dial->lookup != NULL ? EHLO_STAGE_RESOLVE : EHLO_STAGE_CONNECT;
}

static const char given_up[] = "it was given up";

/* The opening, if one runs, notes at which stage. */
static void give_up(ehlo_outgoing *out)
{
    out->given_up = 1;
    if (out->carrier.session != NULL) {
        ehlo_client_lost(ehlo_carry_drive(&out->carrier));
        end_session(out);
        out->carrier.conn.loop->driven = NULL;
    } else
        note(out, early_stage(out), ehlo_str_from(given_up));
    fail(out);
}

/* -- a server that does not want us ----------------------------------------------------------------- */

static void nothing(ehlo_conn *conn)
{
    (void)conn;
}

static const ehlo_conn_driver farewell_driver = { ehlo_linger_ready, ehlo_conn_close, ehlo_linger_stop, ehlo_conn_close,
                                                  nothing };

/* It has been told QUIT and may answer, which nobody waits for. */
static void part_with(ehlo_loop *loop, int fd)
{
    ehlo_conn *conn = calloc(1, sizeof *conn);
    if (conn != NULL && ehlo_conn_open(conn, loop, fd, &farewell_driver) == 0) {
        ehlo_linger(conn, &farewell_driver);
        return;
    }
    free(conn);
    close(fd);
}

/* Leaves this connection for another one, unless nobody is sought any more. */
static void try_next(ehlo_outgoing *out)
{
    ehlo_conn *conn = &out->carrier.conn;
    ehlo_conn_drive(conn, &dialing_driver);
    int fd = ehlo_conn_detach(conn);
    if (out->refused)
        part_with(conn->loop, fd);
    else
        close(fd);
    if (out->given_up)
        fail(out);
    else if (out->again)
        ehlo_dial_again(out->dial);
    else
        ehlo_dial_next(out->dial);
}

/* -- opening ---------------------------------------------------------------------------------------- */

/* What went wrong: the engine knows more of it than the session. */
static ehlo_str problem_of(const ehlo_outgoing *out, ehlo_str problem)
{
    const ehlo_tls *tls = out->carrier.conn.tls;
    if (out->given_up) return ehlo_str_from(given_up);
    if (tls != NULL && tls->failed) problem = ehlo_tls_problem(tls);
    return problem.len != 0 ? problem : ehlo_str_from("the connection was closed");
}

/* Other servers would say the same to these credentials: each try might be one too many. */
static void note_failure(ehlo_outgoing *out, const ehlo_opened *opened)
{
    ehlo_failure failure = { .stage = opened->stage, .outcome = opened->outcome, .reply = opened->reply };
    failure.problem = problem_of(out, opened->problem);
    if (opened->stage == EHLO_STAGE_AUTH && opened->outcome == EHLO_OUTCOME_REJECTED) {
        ehlo_dial_note_final(out->dial, &failure);
        out->given_up = 1;
    } else
        ehlo_dial_note(out->dial, &failure);
}

/* Under OPPORTUNISTIC it does not matter whether there is TLS (RFC 7435): where it fails, there is none. */
static int goes_without(const ehlo_outgoing *out, const ehlo_opened *opened)
{
    return opened->stage == EHLO_STAGE_STARTTLS && out->dial->cfg.tls == EHLO_TLS_OPPORTUNISTIC && !out->dial->again;
}

static void on_opened(ehlo_client *c, const ehlo_opened *opened, void *user)
{
    ehlo_outgoing *out = user;
    if (opened->stage == EHLO_STAGE_NONE) {
        ehlo_dial_free(out->dial);
        end_search(out);
        out->callbacks.on_ready(c, out->user);
        return;
    }
    note_failure(out, opened);
    out->again = (uint8_t)goes_without(out, opened);
    out->refused = ehlo_client_command(c, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL) == EHLO_OK;
}

static ehlo_opening_config opening_config(const ehlo_dial *dial)
{
    uint8_t tls = dial->again ? EHLO_TLS_NONE : dial->cfg.tls;
    return (ehlo_opening_config){ .tls = tls, .credentials = dial->cfg.credentials };
}

/* Inside TLS already, under WRAPPED. */
static int open_session(ehlo_outgoing *out, ehlo_client *c)
{
    uint64_t now = out->dial->loop->now;
    const ehlo_tls *tls = out->carrier.conn.tls;
    ehlo_opening_config config = opening_config(out->dial);
    int result = tls != NULL ? ehlo_client_tls_started(c, now, 0, &tls->facts) : EHLO_OK;
    if (result != EHLO_OK) return result;
    return ehlo_opening_start(out->opening, ehlo_opening_size(&config), c, now, &config, on_opened, out);
}

/* -- session ---------------------------------------------------------------------------------------- */

/* A server that refuses a message in its midst and closes has the kernel reset the connection: its reply is there to be
 * read, and is the truth. So the session is only told that the transport is full, until all was read. */
static int write_out(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    ehlo_outgoing *out = outgoing_of(c);
    (void)user;
    if (ehlo_carry_write(&out->carrier, parts, n, taken) != EHLO_OK) out->broken = 1;
    return EHLO_OK;
}

static void on_close(ehlo_client *c, int reason, void *user)
{
    const ehlo_outgoing *out = outgoing_of(c);
    if (out->dial == NULL && out->callbacks.on_closed != NULL) out->callbacks.on_closed(c, reason, user);
}

/* The settings were found good when the first of these was built. */
static int init_client(ehlo_outgoing *out)
{
    ehlo_client *client;
    const ehlo_client_config *cfg = &out->dial->client;
    ehlo_client_callbacks callbacks = { .write = write_out,
                                        .on_close = on_close,
                                        .on_capability = out->callbacks.on_capability,
                                        .on_trace = out->callbacks.on_trace };
    int error = ehlo_client_init(&client, client_memory(out), ehlo_client_size(cfg), cfg, &callbacks, out->user);
    if (error == EHLO_OK && ehlo_client_input_min(client) > out->dial->loop->input_size) error = EHLO_ERR_ARG;
    return error;
}

static void begin_session(ehlo_outgoing *out)
{
    init_client(out);
    ehlo_client *c = ehlo_carry_host(&out->carrier, client_memory(out), &session_driver);
    settle(out, open_session(out, c));
}

static int client_feed(void *session, uint64_t now, const char *bytes, size_t len, size_t *used)
{
    return ehlo_client_feed(session, now, bytes, len, used);
}

static int client_flush(void *session, uint64_t now)
{
    return ehlo_client_flush(session, now);
}

static int client_tick(void *session, uint64_t now)
{
    return ehlo_client_tick(session, now);
}

static int client_eof(void *session, uint64_t now)
{
    return ehlo_client_eof(session, now);
}

static int client_tls_started(void *session, uint64_t now, size_t held, const ehlo_tls_facts *facts)
{
    return ehlo_client_tls_started(session, now, held, facts);
}

/* Whether another transaction may start is nothing to the connection. */
static unsigned client_status(const void *session, uint64_t *deadline)
{
    unsigned wants = ehlo_client_status(session, deadline);
    const ehlo_outgoing *out = outgoing_of(session);
    return out->refused || out->broken ? EHLO_WANT_CLOSE : wants & ~(unsigned)EHLO_WANT_NEXT;
}

static int has_last_words(const ehlo_outgoing *out)
{
    return out->broken && !(ehlo_client_wants(out->carrier.session) & EHLO_WANT_CLOSE);
}

/* Inside TLS, what a read has found may be no words: so it is tried again, a few times. */
static void hear_last_words(ehlo_outgoing *out)
{
    ehlo_carrier *carrier = &out->carrier;
    ehlo_str bytes;
    int tries = LAST_READS_MAX;
    while (tries > 0 && has_last_words(out)) {
        ptrdiff_t received = ehlo_carry_read(carrier, carrier->read_size, &bytes);
        if (received > 0)
            ehlo_carry_feed(&client_calls, carrier, bytes);
        else
            tries = received == EHLO_RECEIVE_NOTHING ? tries - 1 : 0;
    }
}

/* A host's name as certificates have it: an address as text, a name "without a trailing dot" (RFC 6066 3). */
static ehlo_str certified_name(ehlo_str host, char text[ADDRESS_TEXT_MAX])
{
    ehlo_address address;
    size_t len;
    if (ehlo_address_of_host(host, &address) == EHLO_OK &&
        ehlo_address_write(&address, 0, text, ADDRESS_TEXT_MAX, &len) == EHLO_OK) {
        return ehlo_str_make(text, len);
    }
    if (host.ptr[host.len - 1] == '.') host.len--;
    return host;
}

/* The certificate is verified where TLS is required: what cannot be refused need not be looked at. */
static int open_tls(ehlo_carrier *carrier)
{
    const ehlo_dial *dial = ((ehlo_outgoing *)carrier)->dial;
    if (dial == NULL) return EHLO_ERR_UNSUPPORTED; /* a STARTTLS of the application's own */
    const ehlo_connect_config *cfg = &dial->cfg;
    unsigned flags = cfg->tls != EHLO_TLS_OPPORTUNISTIC && !cfg->unverified ? EHLO_ENGINE_VERIFY : 0;
    char text[ADDRESS_TEXT_MAX];
    return ehlo_tls_open(&carrier->conn, cfg->tls_engine, flags, certified_name(ehlo_dial_host(dial), text));
}

/* Nothing of ours is on its way that a peer could lose: it is closed at once. The input may be lent to a session that
 * runs further out. */
static EHLO_RARE void client_over(ehlo_carrier *carrier, int lost)
{
    ehlo_outgoing *out = (ehlo_outgoing *)carrier;
    if (has_last_words(out) && carrier->conn.loop->lent) {
        ehlo_carry_put_off(carrier);
        return;
    }
    hear_last_words(out);
    lost |= out->broken;
    if (lost) ehlo_client_lost(carrier->session);
    end_session(out);
    if (!lost) ehlo_tls_shutdown(&carrier->conn);
    if (out->dial != NULL)
        try_next(out);
    else
        ehlo_conn_close(&carrier->conn);
}

static const ehlo_session_calls client_calls = { client_feed,        client_flush,  client_tick, client_eof,
                                                 client_tls_started, client_status, open_tls,    client_over };

/* -- driver ----------------------------------------------------------------------------------------- */

/* Nothing is under way: another transaction could start, and no reply is waited for. */
static int is_idle(const ehlo_client *c)
{
    uint64_t deadline;
    return (ehlo_client_status(c, &deadline) & EHLO_WANT_NEXT) && deadline == UINT64_MAX;
}

static void outgoing_stop(ehlo_conn *conn)
{
    ehlo_outgoing *out = (ehlo_outgoing *)conn;
    if (out->dial != NULL) {
        give_up(out);
        return;
    }
    if (!is_idle(out->carrier.session)) return;
    ehlo_client *c = ehlo_carry_drive(&out->carrier);
    ehlo_client_command(c, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
    settle(out, ehlo_client_flush(c, conn->loop->now));
}

static void outgoing_end(ehlo_conn *conn)
{
    ehlo_outgoing *out = (ehlo_outgoing *)conn;
    if (out->dial != NULL) {
        give_up(out);
        return;
    }
    ehlo_carry_drive(&out->carrier);
    end_session(out);
    ehlo_conn_close(conn);
    conn->loop->driven = NULL;
}

/* Those of implicit TLS have no session yet that could tell of them. */
static void handshake_failed(ehlo_outgoing *out, ehlo_str problem)
{
    note(out, EHLO_STAGE_STARTTLS, problem);
    try_next(out);
}

static void handshake_expired(ehlo_conn *conn)
{
    handshake_failed((ehlo_outgoing *)conn, ehlo_str_from("the handshake took too long"));
}

/* A transaction may have been the last that a loop which is to stop waited for. */
static void outgoing_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_carry_ready(&client_calls, source, events);
    if (ehlo_loop_stopping(loop) && source->fd >= 0) outgoing_stop((ehlo_conn *)source);
}

static const ehlo_conn_driver dialing_driver = { NULL, handshake_expired, outgoing_stop, outgoing_end, nothing };
static const ehlo_conn_driver session_driver = { outgoing_ready, ehlo_carry_expired, outgoing_stop, outgoing_end,
                                                 nothing };

/* -- a connection ----------------------------------------------------------------------------------- */

static void handshake_done(ehlo_conn *conn, int established)
{
    ehlo_outgoing *out = (ehlo_outgoing *)conn;
    ehlo_timer_stop(conn->loop, &conn->timer);
    if (established)
        begin_session(out);
    else
        handshake_failed(out, ehlo_tls_problem(conn->tls));
}

/* RFC 8314 3.3: "TLS negotiation begins immediately" */
static void begin_handshake(ehlo_outgoing *out)
{
    ehlo_conn *conn = &out->carrier.conn;
    uint32_t ms = out->dial->client.tls_ms;
    if (ehlo_conn_expire_in(conn, ms != 0 ? ms : TLS_MS) == EHLO_OK && open_tls(&out->carrier) == EHLO_OK)
        ehlo_handshake_start(conn, handshake_done);
    else
        handshake_failed(out, ehlo_str_from("there is no memory for TLS"));
}

static void connected(ehlo_dial *dial, int fd)
{
    ehlo_outgoing *out = dial->owner;
    if (ehlo_conn_attach(&out->carrier.conn, fd) != 0) {
        ehlo_failure failure = { .stage = EHLO_STAGE_CONNECT, .error = errno };
        failure.problem = ehlo_str_from("the connection could not be watched");
        ehlo_dial_note(dial, &failure);
        close(fd);
        ehlo_dial_next(dial);
        return;
    }
    ehlo_carry_prepare(&out->carrier, &client_calls);
    out->refused = out->broken = out->again = 0;
    if (dial->cfg.tls == EHLO_TLS_WRAPPED)
        begin_handshake(out);
    else
        begin_session(out);
}

/* -- connect ---------------------------------------------------------------------------------------- */

/* A name is what can be asked for. */
static int is_host(const ehlo_host *host, int lmtp)
{
    ehlo_address address;
    /* "The LMTP protocol MUST NOT be used on TCP port 25" (RFC 2033 5) */
    if (lmtp && (host->port == 0 || host->port == SMTP_PORT)) return 0;
    if (ehlo_address_of_host(host->name, &address) == EHLO_OK) return 1;
    return ehlo_question_may_ask(host->name, EHLO_DNS_A);
}

static uint8_t policy(const ehlo_connect_config *cfg)
{
    uint8_t tls = cfg->tls;
    if (tls == EHLO_TLS_DEFAULT) tls = cfg->credentials != NULL ? EHLO_TLS_REQUIRED : EHLO_TLS_OPPORTUNISTIC;
    return tls == EHLO_TLS_OPPORTUNISTIC && cfg->tls_engine == NULL ? EHLO_TLS_NONE : tls;
}

static uint16_t default_port(const ehlo_connect_config *cfg)
{
    if (cfg->tls == EHLO_TLS_WRAPPED) return SUBMISSIONS_PORT;
    return cfg->credentials != NULL ? SUBMISSION_PORT : SMTP_PORT;
}

static int is_valid(const ehlo_connect_config *cfg)
{
    ehlo_opening_config opening = { .tls = cfg->tls, .credentials = cfg->credentials };
    if (cfg->nhosts == 0 || cfg->hosts == NULL || cfg->client == NULL || ehlo_opening_size(&opening) == 0) return 0;
    if (policy(cfg) >= EHLO_TLS_REQUIRED && cfg->tls_engine == NULL) return 0;
    if (cfg->local.family > EHLO_FAMILY_IPV6 || ehlo_client_size(cfg->client) == 0) return 0;
    for (size_t i = 0; i < cfg->nhosts; i++) {
        if (!is_host(&cfg->hosts[i], (cfg->client->flags & EHLO_CLIENT_LMTP) != 0)) return 0;
    }
    return 1;
}

static ehlo_dial *dial_new(ehlo_loop *loop, const ehlo_connect_config *cfg)
{
    ehlo_dial *dial = ehlo_dial_new(loop, cfg);
    if (dial == NULL) return NULL;
    for (size_t i = 0; i < cfg->nhosts; i++) {
        if (dial->hosts[i].port == 0) dial->hosts[i].port = default_port(cfg);
    }
    dial->cfg.tls = policy(cfg);
    if (cfg->connect_ms == 0) dial->cfg.connect_ms = CONNECT_MS;
    if (cfg->addresses_max == 0) dial->cfg.addresses_max = ADDRESSES_MAX;
    dial->client.lender = ehlo_lender_or_kept(dial->client.lender);
    dial->connected = connected;
    dial->exhausted = exhausted;
    return dial;
}

static ehlo_outgoing *outgoing_new(ehlo_dial *dial, const ehlo_connect_callbacks *callbacks, void *user)
{
    ehlo_opening_config opening = opening_config(dial);
    ehlo_outgoing *out = malloc(ehlo_aligned(sizeof *out) + ehlo_client_size(&dial->client));
    if (out == NULL) return NULL;
    memset(out, 0, sizeof *out);
    out->opening = malloc(ehlo_opening_size(&opening));
    if (out->opening == NULL) {
        free(out);
        return NULL;
    }
    out->dial = dial;
    out->callbacks = *callbacks;
    out->user = user;
    dial->owner = out;
    return out;
}

static int outgoing_start(ehlo_outgoing *out, ehlo_loop *loop)
{
    ehlo_conn *conn = &out->carrier.conn;
    int error = init_client(out);
    if (error == EHLO_OK) error = ehlo_conn_register(conn, loop, &dialing_driver);
    if (error != EHLO_OK) return error;
    error = ehlo_dial_start(out->dial);
    if (error != EHLO_OK) ehlo_slots_remove(&loop->conns, conn->id);
    return error;
}

static int connect_new(ehlo_loop *loop, const ehlo_connect_config *cfg, const ehlo_connect_callbacks *callbacks,
                       void *user, ehlo_conn_id *id)
{
    ehlo_dial *dial = dial_new(loop, cfg);
    if (dial == NULL) return EHLO_ERR_MEMORY;
    ehlo_outgoing *out = outgoing_new(dial, callbacks, user);
    int error = out != NULL ? outgoing_start(out, loop) : EHLO_ERR_MEMORY;
    if (error == EHLO_OK) {
        if (id != NULL) *id = out->carrier.conn.id;
        return EHLO_OK;
    }
    if (out != NULL) end_search(out);
    free(out);
    ehlo_dial_free(dial);
    return error;
}

int ehlo_loop_connect_sized(ehlo_loop *loop, const ehlo_connect_config *cfg, size_t cfg_size,
                            const ehlo_connect_callbacks *callbacks, size_t callbacks_size, void *user,
                            ehlo_conn_id *id)
{
    ehlo_connect_config own_cfg = { 0 };
    ehlo_connect_callbacks own_callbacks = { 0 };
    memcpy(&own_cfg, cfg, cfg_size < sizeof own_cfg ? cfg_size : sizeof own_cfg);
    memcpy(&own_callbacks, callbacks, callbacks_size < sizeof own_callbacks ? callbacks_size : sizeof own_callbacks);
    if (own_callbacks.on_ready == NULL || !is_valid(&own_cfg)) return EHLO_ERR_ARG;
    if (ehlo_loop_stopping(loop)) return EHLO_ERR_STATE;
    ehlo_loop *outer = ehlo_loop_enter(loop);
    int result = connect_new(loop, &own_cfg, &own_callbacks, user, id);
    ehlo_loop_leave(loop, outer);
    return result;
}

/* -- what applications see of it -------------------------------------------------------------------- */

/* The connection behind an id, whatever it has come to; NULL if it is gone or a server's. */
static ehlo_outgoing *find_outgoing(const ehlo_loop *loop, ehlo_conn_id id)
{
    ehlo_conn *conn = ehlo_slots_find(&loop->conns, id);
    if (conn == NULL || (conn->driver != &dialing_driver && conn->driver != &session_driver)) return NULL;
    return (ehlo_outgoing *)conn;
}

ehlo_client *ehlo_loop_client(ehlo_loop *loop, ehlo_conn_id id)
{
    const ehlo_outgoing *out = find_outgoing(loop, id);
    return out != NULL && out->dial == NULL ? out->carrier.session : NULL;
}

ehlo_loop *ehlo_client_loop(const ehlo_client *c)
{
    return outgoing_of(c)->carrier.conn.loop;
}

ehlo_conn_id ehlo_client_number(const ehlo_client *c)
{
    return outgoing_of(c)->carrier.conn.id;
}

/* -- calls from outside the session's callbacks ----------------------------------------------------- */

/* Where we were before such a call. */
typedef struct visit {
    ehlo_loop *outer;
    ehlo_conn *driven;
    int lent;
} visit;

static visit begin_visit(ehlo_outgoing *out)
{
    ehlo_loop *loop = out->carrier.conn.loop;
    visit v = { .outer = ehlo_loop_enter(loop), .driven = loop->driven, .lent = loop->lent };
    if (v.driven != NULL) loop->lent = 1;
    ehlo_carry_drive(&out->carrier);
    return v;
}

static int end_visit(ehlo_loop *loop, visit v, int result)
{
    loop->driven = v.driven;
    loop->lent = v.lent;
    ehlo_loop_leave(loop, v.outer);
    return result;
}

/* From a callback of another session we may be inside of one of this session too, further out: it settles then. */
static int settle_visit(ehlo_outgoing *out, visit v, int result)
{
    if (result != EHLO_ERR_REENTRY) settle(out, result);
    return end_visit(out->carrier.conn.loop, v, result);
}

int ehlo_loop_disconnect(ehlo_loop *loop, ehlo_conn_id id)
{
    ehlo_outgoing *out = find_outgoing(loop, id);
    if (out == NULL) return EHLO_OK;
    if (loop->driven == &out->carrier.conn) return EHLO_ERR_REENTRY;
    visit v = begin_visit(out);
    /* Further out we may be inside one of its callbacks: it says so. */
    int error = out->carrier.session != NULL ? ehlo_client_lost(out->carrier.session) : EHLO_OK;
    if (error == EHLO_ERR_REENTRY) return end_visit(loop, v, error);
    if (out->dial != NULL)
        give_up(out);
    else
        client_over(&out->carrier, 1);
    return end_visit(loop, v, EHLO_OK);
}

typedef struct posted_kick {
    ehlo_item item;
    ehlo_conn_id id;
} posted_kick;

static void run_posted_kick(ehlo_loop *loop, ehlo_item *item)
{
    ehlo_client *c = ehlo_loop_client(loop, ((posted_kick *)item)->id);
    free(item);
    if (c != NULL) ehlo_client_kick(c);
}

/* Without memory the deadline does it, a little later: a tick takes along what waits. */
static void post_kick(ehlo_conn *conn)
{
    posted_kick *kick = malloc(sizeof *kick);
    if (kick == NULL) {
        ehlo_conn_expire_by(conn, conn->loop->now);
        return;
    }
    kick->item.run = run_posted_kick;
    kick->id = conn->id;
    ehlo_inbox_put(&conn->loop->inbox, &kick->item);
}

/* From a callback of another session it is posted: a chain of sessions that start each other must not become a chain
 * of calls. */
void ehlo_client_kick(ehlo_client *c)
{
    ehlo_outgoing *out = outgoing_of(c);
    ehlo_conn *conn = &out->carrier.conn;
    if (conn->loop->driven == conn) return;
    if (conn->loop->driven != NULL) {
        post_kick(conn);
        return;
    }
    visit v = begin_visit(out);
    settle_visit(out, v, ehlo_client_flush(c, conn->loop->now));
}

int ehlo_loop_push(ehlo_transaction *t, const char *bytes, size_t len, int last, size_t *used)
{
    ehlo_outgoing *out = outgoing_of(ehlo_transaction_client(t));
    visit v = begin_visit(out);
    return settle_visit(out, v, ehlo_transaction_push(t, out->carrier.conn.loop->now, bytes, len, last, used));
}

/* Where the session runs further out, to resume is to leave word: flush tells, and the session goes on there. */
int ehlo_loop_body_ready(ehlo_transaction *t)
{
    ehlo_client *c = ehlo_transaction_client(t);
    ehlo_outgoing *out = outgoing_of(c);
    ehlo_loop *loop = out->carrier.conn.loop;
    if (loop->driven == &out->carrier.conn) return ehlo_transaction_resume(t, loop->now);
    visit v = begin_visit(out);
    int result = ehlo_transaction_resume(t, loop->now);
    if (result == EHLO_OK) result = ehlo_client_flush(c, loop->now);
    result = settle_visit(out, v, result);
    return result == EHLO_ERR_REENTRY ? EHLO_OK : result;
}
