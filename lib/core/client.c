/* client.c - a client session: its settings, its beginning and end, time, and what may be asked of it. */
#include "transaction.h"

#include <string.h>

/* -- settings --------------------------------------------------------------------------------------- */

enum {
    DEFAULT_REPLY_MAX = 16384,
    DEFAULT_REPLY_LINES = 512,
    DEFAULT_WINDOW = 100,
    DEFAULT_OUT_MAX = 2048,
    OUT_MAX_LIMIT = 1 << 30
};

static uint32_t or_default(uint32_t value, uint32_t by_default)
{
    return value != 0 ? value : by_default;
}

static void apply_defaults(ehlo_client_config *config)
{
    config->reply_max = or_default(config->reply_max, DEFAULT_REPLY_MAX);
    config->reply_lines_max = or_default(config->reply_lines_max, DEFAULT_REPLY_LINES);
    config->window = or_default(config->window, DEFAULT_WINDOW);
    config->out_max = or_default(config->out_max, DEFAULT_OUT_MAX);
    config->greeting_ms = or_default(config->greeting_ms, 300000); /* RFC 5321 4.5.3.2.1 */
    config->command_ms = or_default(config->command_ms, 300000);   /* 4.5.3.2.2, 4.5.3.2.3 */
    config->data_ms = or_default(config->data_ms, 120000);         /* 4.5.3.2.4 */
    config->write_ms = or_default(config->write_ms, 180000);       /* 4.5.3.2.5 */
    config->final_ms = or_default(config->final_ms, 600000);       /* 4.5.3.2.6 */
    config->tls_ms = or_default(config->tls_ms, 60000);
    config->quit_ms = or_default(config->quit_ms, 10000);
}

static int valid(const ehlo_client_config *config)
{
    unsigned flags = EHLO_CLIENT_LMTP | EHLO_CLIENT_NO_PIPELINING | EHLO_CLIENT_NO_CHUNKING |
                     EHLO_CLIENT_TRACE_SECRETS | EHLO_CLIENT_AUTH_CLEAR;
    return (config->flags & ~flags) == 0 && config->bare_cr <= EHLO_BARE_PASS && config->bare_lf <= EHLO_BARE_PASS &&
           (config->bare_cr == EHLO_BARE_PASS) == (config->bare_lf == EHLO_BARE_PASS) && config->reply_max >= 512 &&
           config->window <= UINT16_MAX && config->out_max >= EHLO_LINE_MAX && config->out_max <= OUT_MAX_LIMIT &&
           (config->lender.lend == NULL) == (config->lender.give == NULL) &&
           ehlo_domain_parse(config->name, 0, NULL, NULL, NULL) == EHLO_OK;
}

/* cfg, which may be of an older or newer layout, with its defaults: 0 if it is not valid. */
static int normalise(const ehlo_client_config *cfg, size_t cfg_size, ehlo_client_config *config)
{
    if (cfg == NULL || cfg_size > sizeof *config) return 0;
    memset(config, 0, sizeof *config);
    memcpy(config, cfg, cfg_size);
    apply_defaults(config);
    return valid(config);
}

/* Sessions may lie side by side. */
static size_t size_of(const ehlo_client_config *config)
{
    return ehlo_aligned(sizeof(ehlo_client) + (config->lender.lend == NULL ? config->out_max : 0) + config->name.len);
}

size_t ehlo_client_size_sized(const ehlo_client_config *cfg, size_t cfg_size)
{
    ehlo_client_config config;
    return normalise(cfg, cfg_size, &config) ? size_of(&config) : 0;
}

/* DATA cannot pass bare octets (RFC 5321 2.3.8): the encoder then rejects them. */
static ehlo_bare_policy encodable(uint8_t policy)
{
    return policy == EHLO_BARE_PASS ? EHLO_BARE_REJECT : (ehlo_bare_policy)policy;
}

/* Behind the session lie its block, where there is no lender, and its name. */
static void place(ehlo_client *c)
{
    char *behind = (char *)c + sizeof *c;
    c->out.size = c->config.out_max;
    if (c->config.lender.lend == NULL) {
        c->out.block = behind;
        behind += c->config.out_max;
    }
    memcpy(behind, c->config.name.ptr, c->config.name.len);
    c->config.name.ptr = behind;
}

int ehlo_client_init_sized(ehlo_client **out, void *mem, size_t len, const ehlo_client_config *cfg, size_t cfg_size,
                           const ehlo_client_callbacks *callbacks, size_t callbacks_size, void *user)
{
    ehlo_client_config config;
    ehlo_client *c = mem;
    if (out == NULL || mem == NULL || callbacks == NULL || callbacks_size > sizeof c->callbacks) return EHLO_ERR_ARG;
    if (!normalise(cfg, cfg_size, &config)) return EHLO_ERR_ARG;
    if (len < size_of(&config)) return EHLO_ERR_SPACE;
    memset(c, 0, sizeof *c);
    memcpy(&c->callbacks, callbacks, callbacks_size);
    if (c->callbacks.write == NULL) return EHLO_ERR_ARG;
    c->config = config;
    c->user = user;
    place(c);
    int error = ehlo_codec_init(&c->codec, encodable(config.bare_cr), encodable(config.bare_lf), config.text_line_max);
    if (error != EHLO_OK) return error;
    *out = c;
    return EHLO_OK;
}

size_t ehlo_client_input_min(const ehlo_client *c)
{
    return c->config.reply_max;
}

/* -- the end ---------------------------------------------------------------------------------------- */

void ehlo_client_end(ehlo_client *c, ehlo_close reason, const char *problem)
{
    if (ehlo_client_over(c)) return;
    c->phase = EHLO_CLIENT_OVER;
    c->reason = (uint8_t)reason;
    c->problem = problem;
}

/* Nothing is written any more; whoever waits is told, once. */
static void finish(ehlo_client *c)
{
    ehlo_transaction *t;
    ehlo_client_abandon(c);
    while ((t = c->sending != NULL ? c->sending : c->waiting) != NULL) ehlo_transaction_abandon(t);
    if (c->body.mode != EHLO_SEND_NONE && c->body.owner != NULL) ehlo_transaction_abandon(c->body.owner);
    c->body.mode = EHLO_SEND_NONE;
    c->blocked = c->eager = 0;
    ehlo_client_wipe(c);
    ehlo_out_clear(&c->out, &c->config.lender);
    if (c->opening != NULL) ehlo_opening_abandon(c->opening);
}

/* -- around every call ------------------------------------------------------------------------------ */

int ehlo_client_enter(ehlo_client *c, uint64_t now)
{
    if (c->running) return EHLO_ERR_REENTRY;
    if (c->error != EHLO_OK) return c->error;
    c->running = 1;
    c->now = now;
    return EHLO_OK;
}

/* Queueing and writing make room for each other. */
static void pump(ehlo_client *c)
{
    int moved;
    do {
        do {
            c->eager = 0;
            ehlo_transaction_go_on(c);
        } while (c->eager && !ehlo_client_over(c));
        moved = !ehlo_client_over(c) && !c->blocked && ehlo_client_sendable(c) && ehlo_client_write(c);
    } while (moved);
}

int ehlo_client_leave(ehlo_client *c)
{
    if (!ehlo_client_over(c)) pump(c);
    if (ehlo_client_over(c))
        finish(c);
    else
        ehlo_out_settle(&c->out, &c->config.lender);
    c->running = 0;
    return c->error;
}

void ehlo_client_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret)
{
    uint8_t quiet = c->quiet;
    if (c->callbacks.on_trace == NULL) return;
    if (secret && !(c->config.flags & EHLO_CLIENT_TRACE_SECRETS)) bytes.ptr = NULL;
    c->quiet = 1;
    c->callbacks.on_trace(c, direction, bytes, secret, c->user);
    c->quiet = quiet;
}

/* -- session ---------------------------------------------------------------------------------------- */

int ehlo_client_start(ehlo_client *c, uint64_t now, ehlo_on_reply done, void *user)
{
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    if (c->phase != EHLO_CLIENT_FRESH) {
        c->running = 0;
        return EHLO_ERR_STATE;
    }
    c->phase = EHLO_CLIENT_GREETING;
    c->since = now;
    c->ring[0] = (ehlo_awaited){ done, user, 0, 1, EHLO_AWAIT_GREETING, 0 };
    c->count = 1;
    c->outstanding = 1;
    return ehlo_client_leave(c);
}

int ehlo_client_feed(ehlo_client *c, uint64_t now, const char *bytes, size_t len, size_t *used)
{
    *used = 0;
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    *used = ehlo_client_take_replies(c, bytes, len);
    if (ehlo_client_over(c)) *used = len;
    return ehlo_client_leave(c);
}

int ehlo_client_flush(ehlo_client *c, uint64_t now)
{
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    c->blocked = 0;
    return ehlo_client_leave(c);
}

int ehlo_client_tls_started(ehlo_client *c, uint64_t now, size_t held, const ehlo_tls_facts *facts)
{
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    if (c->phase != EHLO_CLIENT_TLS && (c->phase != EHLO_CLIENT_FRESH || c->tls)) {
        c->running = 0;
        return EHLO_ERR_STATE;
    }
    if (held != 0) {
        ehlo_client_end(c, EHLO_CLOSE_PROTOCOL, "clear text behind the reply to STARTTLS");
        return ehlo_client_leave(c);
    }
    /* RFC 3207 4.2: "The client MUST discard any knowledge obtained from the server, such as the list of SMTP service
     * extensions, which was not obtained from the TLS negotiation itself." */
    ehlo_client_forget_hello(c);
    c->verbose = 0;
    c->tls = 1;
    c->facts = facts;
    if (c->phase == EHLO_CLIENT_TLS) c->phase = EHLO_CLIENT_READY;
    if (c->phase == EHLO_CLIENT_READY && c->opening != NULL) ehlo_opening_secured(c->opening);
    return ehlo_client_leave(c);
}

int ehlo_client_eof(ehlo_client *c, uint64_t now)
{
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    ehlo_client_end(c, EHLO_CLOSE_EOF, "the server closed the connection");
    return ehlo_client_leave(c);
}

int ehlo_client_lost(ehlo_client *c)
{
    int error = ehlo_client_enter(c, c->now);
    if (error != EHLO_OK) return error;
    ehlo_client_end(c, EHLO_CLOSE_LOST, "the connection was lost");
    return ehlo_client_leave(c);
}

int ehlo_client_close(ehlo_client *c)
{
    if (c->running) return EHLO_ERR_REENTRY;
    c->running = 1;
    ehlo_client_end(c, EHLO_CLOSE_CLOSED, NULL);
    finish(c);
    c->quiet = 1;
    if (c->callbacks.on_close != NULL) c->callbacks.on_close(c, c->reason, c->user);
    return EHLO_OK;
}

/* -- time ------------------------------------------------------------------------------------------- */

static uint32_t patience(const ehlo_client *c, unsigned what)
{
    switch (what) {
    case EHLO_AWAIT_GREETING:
        return c->config.greeting_ms;
    case EHLO_AWAIT_MESSAGE:
        return c->config.final_ms;
    case EHLO_VERB_DATA:
        return c->config.data_ms;
    case EHLO_VERB_QUIT:
        return c->config.quit_ms;
    default:
        return c->config.command_ms;
    }
}

static uint64_t after(uint64_t since, uint32_t ms)
{
    return since > UINT64_MAX - ms ? UINT64_MAX : since + ms;
}

/* A reply is due only once its command, and its body, has left. */
uint64_t ehlo_client_deadline(const ehlo_client *c)
{
    const ehlo_awaited *oldest = &c->ring[c->head];
    uint64_t due = UINT64_MAX;
    if (ehlo_client_over(c)) return due;
    if (c->phase == EHLO_CLIENT_TLS) return after(c->since, c->config.tls_ms);
    if (c->blocked) due = after(c->since, c->config.write_ms);
    if (c->count > 0 && !oldest->open && (int32_t)(oldest->end - c->left) <= 0) {
        uint64_t reply = after(c->since, patience(c, oldest->what));
        if (reply < due) due = reply;
    }
    return due;
}

int ehlo_client_tick(ehlo_client *c, uint64_t now)
{
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    if (ehlo_client_deadline(c) <= now) {
        ehlo_client_end(c, EHLO_CLOSE_TIMEOUT,
                        c->blocked                    ? "the server took too long to read"
                        : c->phase == EHLO_CLIENT_TLS ? "the handshake took too long"
                                                      : "the server took too long to answer");
    }
    return ehlo_client_leave(c);
}

/* -- facts ------------------------------------------------------------------------------------------ */

unsigned ehlo_client_wants(const ehlo_client *c)
{
    unsigned wants = 0;
    if (ehlo_client_over(c) || c->error != EHLO_OK) return EHLO_WANT_CLOSE;
    if (ehlo_client_reads(c)) wants |= EHLO_WANT_READ;
    if (c->blocked || c->eager || ehlo_client_sendable(c)) wants |= EHLO_WANT_WRITE;
    if (c->phase == EHLO_CLIENT_TLS) wants |= EHLO_WANT_TLS;
    if (ehlo_client_next(c)) wants |= EHLO_WANT_NEXT;
    return wants;
}

unsigned ehlo_client_status(const ehlo_client *c, uint64_t *deadline)
{
    *deadline = ehlo_client_deadline(c);
    return ehlo_client_wants(c);
}

const ehlo_offers *ehlo_client_offers(const ehlo_client *c)
{
    return &c->offers;
}

ehlo_verb ehlo_client_greeted(const ehlo_client *c)
{
    return (ehlo_verb)c->greeted;
}

int ehlo_client_reason(const ehlo_client *c)
{
    return c->reason;
}

ehlo_str ehlo_client_problem(const ehlo_client *c)
{
    return ehlo_str_from(c->problem);
}

const ehlo_tls_facts *ehlo_client_tls_facts(const ehlo_client *c)
{
    return c->facts;
}

void *ehlo_client_user(const ehlo_client *c)
{
    return c->user;
}
