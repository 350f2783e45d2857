/* client_command.c - commands: whether one may be queued, and the entry that awaits its replies. */
#include "client_session.h"

#include "chars.h"

#include <ehlo/sasl.h>

#include <string.h>

/* -- the ring --------------------------------------------------------------------------------------- */

/* RCPTs in a row share an entry: they need no more than to be counted. */
static int joins(const ehlo_client *c, unsigned what, ehlo_on_reply done, const void *user)
{
    const ehlo_awaited *newest = ehlo_client_newest(c);
    return what == EHLO_VERB_RCPT && newest != NULL && newest->what == what && newest->done == done &&
           newest->user == user;
}

static EHLO_ALWAYS_INLINE void await(ehlo_client *c, unsigned what, unsigned replies, ehlo_on_reply done, void *user)
{
    uint32_t end = c->left + ehlo_out_length(&c->out);
    if (joins(c, what, done, user)) {
        ehlo_awaited *newest = ehlo_client_entry(c, c->count - 1U);
        newest->replies = (uint16_t)(newest->replies + replies);
        newest->end = end;
    } else {
        *ehlo_client_entry(c, c->count++) = (ehlo_awaited){ done, user, end, (uint16_t)replies, (uint8_t)what, 0 };
    }
    c->outstanding = (uint16_t)(c->outstanding + replies);
}

void ehlo_client_rewind(ehlo_client *c, const ehlo_client_mark *mark)
{
    c->out.end = c->out.start + mark->length;
    c->outstanding = mark->outstanding;
    c->count = mark->count;
    c->dirty = mark->dirty;
    c->doubtful = mark->doubtful;
    if (c->count > 0) *ehlo_client_entry(c, c->count - 1U) = mark->newest;
}

/* -- lines ------------------------------------------------------------------------------------------ */

static int fail(ehlo_client *c, int error)
{
    c->error = error;
    ehlo_client_end(c, EHLO_CLOSE_LOST, "there is no memory for the output block");
    return error;
}

/* A line on its way into the block: where it is written, how much fits, and its length. */
typedef struct line {
    char *at;
    size_t cap;
    size_t len;
} line;

/* What has left makes room before it is short, so that a line is never written twice. */
static int open_line(ehlo_client *c, line *l)
{
    ehlo_out *out = &c->out;
    if (out->block == NULL) {
        out->block = (char *)c->config.lender.lend(out->size, c->config.lender.ctx);
        if (out->block == NULL) return fail(c, EHLO_ERR_MEMORY);
    }
    if (out->start > 0 && out->size - out->end < EHLO_LINE_MAX) ehlo_out_compact(out);
    l->at = out->block + out->end;
    l->cap = out->size - out->end;
    l->len = 0;
    return EHLO_OK;
}

/* result is the writer's. A line that fits an empty block waits for one. */
static int close_line(ehlo_client *c, const line *l, int result, unsigned what, unsigned replies, ehlo_on_reply done,
                      void *user)
{
    if (result == EHLO_ERR_SPACE && l->len > l->cap && l->len <= c->out.size) return EHLO_ERR_FULL;
    if (result != EHLO_OK) return result;
    ehlo_out_added(&c->out, l->len);
    await(c, what, replies, done, user);
    c->eager = 1;
    return EHLO_OK;
}

/* -- leave ------------------------------------------------------------------------------------------ */

static int in_body(const ehlo_client *c)
{
    return c->body.mode != EHLO_SEND_NONE && !c->body.whole;
}

/* EHLO_OK if a command may be queued in this phase. The commands of a transaction stay together: it says so before
 * each. */
static int admit(ehlo_client *c, ehlo_client_phase phase)
{
    int amid = phase == EHLO_CLIENT_READY && c->sending != NULL && !c->own;
    c->own = 0;
    if (c->quiet) return EHLO_ERR_REENTRY;
    if (c->error != EHLO_OK) return c->error;
    if (c->phase != phase || in_body(c)) return EHLO_ERR_STATE;
    return !amid && ehlo_client_ready(c) && c->count < EHLO_RING ? EHLO_OK : EHLO_ERR_FULL;
}

/* -- hello ------------------------------------------------------------------------------------------ */

int ehlo_client_say_hello(ehlo_client *c, ehlo_verb verb, ehlo_on_reply done, void *user)
{
    line l;
    int error = open_line(c, &l);
    if (error != EHLO_OK) return error;
    error = ehlo_hello_write(verb, c->config.name, l.at, l.cap, &l.len, NULL);
    return close_line(c, &l, error, verb, 1, done, user);
}

int ehlo_client_hello(ehlo_client *c, ehlo_on_reply done, void *user)
{
    int error = admit(c, EHLO_CLIENT_READY);
    if (error != EHLO_OK) return error;
    return ehlo_client_say_hello(c, c->config.flags & EHLO_CLIENT_LMTP ? EHLO_VERB_LHLO : EHLO_VERB_EHLO, done, user);
}

/* -- commands with text ----------------------------------------------------------------------------- */

static int has_own_call(ehlo_verb verb)
{
    return verb == EHLO_VERB_EHLO || verb == EHLO_VERB_HELO || verb == EHLO_VERB_LHLO || verb == EHLO_VERB_BDAT ||
           verb == EHLO_VERB_AUTH;
}

/* RFC 5321 3.1: after a greeting that refuses us, QUIT is left. */
static ehlo_client_phase phase_for(const ehlo_client *c, ehlo_verb verb)
{
    int refused = c->phase == EHLO_CLIENT_REFUSED && verb == EHLO_VERB_QUIT;
    return refused ? EHLO_CLIENT_REFUSED : EHLO_CLIENT_READY;
}

/* What is to be forgotten then must not be under way. */
static int begins_anew(ehlo_verb verb)
{
    return verb == EHLO_VERB_STARTTLS || verb == EHLO_VERB_XCLIENT;
}

static int is_offered(const ehlo_client *c, ehlo_verb verb)
{
    return verb != EHLO_VERB_STARTTLS || (!c->tls && (c->offers.caps & EHLO_CAP_STARTTLS));
}

int ehlo_client_command(ehlo_client *c, ehlo_verb verb, ehlo_str argument, ehlo_on_reply done, void *user,
                        ehlo_fault *fault)
{
    line l;
    int error = admit(c, phase_for(c, verb));
    if (error == EHLO_OK && has_own_call(verb)) error = EHLO_ERR_ARG;
    if (error == EHLO_OK && !is_offered(c, verb)) error = EHLO_ERR_UNSUPPORTED;
    if (error == EHLO_OK && begins_anew(verb) && c->count > 0) error = EHLO_ERR_FULL;
    if (error == EHLO_OK) error = open_line(c, &l);
    if (error != EHLO_OK) return error;
    error = ehlo_command_write(verb, argument, l.at, l.cap, &l.len, fault);
    error = close_line(c, &l, error, verb, 1, done, user);
    if (error == EHLO_OK && verb == EHLO_VERB_QUIT) c->phase = EHLO_CLIENT_QUITTING;
    return error;
}

/* RFC 5321 4.1.1.4: data = "DATA" CRLF, of which nothing is to be judged. */
int ehlo_client_data(ehlo_client *c, ehlo_on_reply done, void *user)
{
    static const ehlo_str data = EHLO_LITERAL("DATA\r\n");
    line l;
    int error = admit(c, EHLO_CLIENT_READY);
    if (error == EHLO_OK) error = open_line(c, &l);
    if (error != EHLO_OK) return error;
    l.len = data.len;
    if (l.len > l.cap) return close_line(c, &l, EHLO_ERR_SPACE, EHLO_VERB_DATA, 1, done, user);
    memcpy(l.at, data.ptr, data.len);
    return close_line(c, &l, EHLO_OK, EHLO_VERB_DATA, 1, done, user);
}

/* -- envelope --------------------------------------------------------------------------------------- */

int ehlo_client_mail(ehlo_client *c, const ehlo_mail_command *mail, ehlo_on_reply done, void *user, ehlo_fault *fault)
{
    line l;
    int error = admit(c, EHLO_CLIENT_READY);
    if (error == EHLO_OK) error = open_line(c, &l);
    if (error != EHLO_OK) return error;
    error = ehlo_mail_write(mail, l.at, l.cap, &l.len, fault);
    return close_line(c, &l, error, EHLO_VERB_MAIL, 1, done, user);
}

int ehlo_client_rcpt(ehlo_client *c, const ehlo_rcpt_command *rcpt, ehlo_on_reply done, void *user, ehlo_fault *fault)
{
    line l;
    int error = admit(c, EHLO_CLIENT_READY);
    if (error == EHLO_OK) error = open_line(c, &l);
    if (error != EHLO_OK) return error;
    error = ehlo_rcpt_write(rcpt, l.at, l.cap, &l.len, fault);
    return close_line(c, &l, error, EHLO_VERB_RCPT, 1, done, user);
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* An AUTH line that is too long for the block gets a larger one, for as long as it takes to leave: sessions do not pay
 * for what they seldom need. */
static int widen(ehlo_client *c, line *l)
{
    const ehlo_lender *lender = &c->config.lender;
    if (lender->lend == NULL || c->out.size >= EHLO_AUTH_LINE_MAX) return EHLO_ERR_SPACE;
    if (!ehlo_out_empty(&c->out)) return EHLO_ERR_FULL;
    ehlo_out_settle(&c->out, lender);
    c->out.size = EHLO_AUTH_LINE_MAX;
    return open_line(c, l);
}

void ehlo_client_narrow(ehlo_client *c)
{
    if (c->out.block != NULL) c->config.lender.give(c->out.block, c->out.size, c->config.lender.ctx);
    c->out.block = NULL;
    c->out.size = c->config.out_max;
}

/* mechanism: NULL where the line answers a challenge. */
static int write_auth(const ehlo_str *mechanism, ehlo_str response, line *l, ehlo_fault *fault)
{
    if (mechanism == NULL) return ehlo_auth_response_write(response, l->at, l->cap, &l->len);
    return ehlo_auth_write(*mechanism, response, l->at, l->cap, &l->len, fault);
}

/* Neither AUTH nor an answer to a challenge is ever followed by another command: the secret is the last in the block. */
static int queue_auth(ehlo_client *c, const ehlo_str *mechanism, ehlo_str response, ehlo_on_reply done, void *user,
                      ehlo_fault *fault)
{
    line l;
    int error = open_line(c, &l);
    if (error != EHLO_OK) return error;
    error = write_auth(mechanism, response, &l, fault);
    if (error == EHLO_ERR_SPACE && l.len > c->out.size && l.len <= EHLO_AUTH_LINE_MAX) {
        error = widen(c, &l);
        if (error == EHLO_OK) error = write_auth(mechanism, response, &l, fault);
    }
    error = close_line(c, &l, error, EHLO_VERB_AUTH, 1, done, user);
    if (error != EHLO_OK) return error;
    c->phase = EHLO_CLIENT_READY;
    c->secret = c->left + ehlo_out_length(&c->out);
    c->has_secret = 1;
    return EHLO_OK;
}

/* RFC 4954 4: only what is offered, in the state we are in. */
static int offers_mechanism(const ehlo_client *c, uint32_t known)
{
    return (c->offers.caps & EHLO_CAP_AUTH) && (known == 0 || (c->offers.mechanisms & known));
}

/* RFC 4954 4, RFC 8314 3: no secret goes where anybody may listen, or to who knows whom, unless the caller insisted. */
static int is_safe(const ehlo_client *c, uint32_t known)
{
    return (c->tls && ehlo_tls_trusted(c->facts)) || (c->config.flags & EHLO_CLIENT_AUTH_CLEAR) || known == 0 ||
           !ehlo_sasl_reveals(known);
}

int ehlo_client_auth(ehlo_client *c, ehlo_str mechanism, ehlo_str response, ehlo_on_reply done, void *user,
                     ehlo_fault *fault)
{
    uint32_t known = ehlo_sasl_find(mechanism);
    int error = admit(c, EHLO_CLIENT_READY);
    if (error == EHLO_OK && !offers_mechanism(c, known)) error = EHLO_ERR_UNSUPPORTED;
    if (error == EHLO_OK && !is_safe(c, known)) error = EHLO_ERR_STATE;
    return error == EHLO_OK ? queue_auth(c, &mechanism, response, done, user, fault) : error;
}

int ehlo_client_auth_answer(ehlo_client *c, ehlo_str response, ehlo_on_reply done, void *user)
{
    int error = admit(c, EHLO_CLIENT_CHALLENGED);
    return error == EHLO_OK ? queue_auth(c, NULL, response, done, user, NULL) : error;
}

/* -- bodies ----------------------------------------------------------------------------------------- */

static int countable(const ehlo_client *c, unsigned replies)
{
    return replies <= (unsigned)UINT16_MAX - c->outstanding;
}

/* The replies to the newest entry come when all of the body has left. */
static void open_entry(ehlo_client *c)
{
    c->body.entry = (uint8_t)((c->head + c->count - 1U) % EHLO_RING);
    c->ring[c->body.entry].open = 1;
}

int ehlo_client_message(ehlo_client *c, unsigned replies, ehlo_on_reply done, void *user)
{
    int error = admit(c, EHLO_CLIENT_GO_AHEAD);
    if (error != EHLO_OK) return error;
    if (!countable(c, replies)) return EHLO_ERR_ARG;
    await(c, EHLO_AWAIT_MESSAGE, replies, done, user);
    ehlo_clear(&c->body, sizeof c->body);
    c->body.mode = EHLO_SEND_TEXT;
    c->body.gap = ehlo_out_length(&c->out);
    open_entry(c);
    c->phase = EHLO_CLIENT_READY;
    return EHLO_OK;
}

int ehlo_client_announce(ehlo_client *c, uint64_t size, int last, unsigned replies, ehlo_on_reply done, void *user)
{
    line l;
    int error = admit(c, EHLO_CLIENT_READY);
    if (error == EHLO_OK && !(c->offers.caps & EHLO_CAP_CHUNKING)) error = EHLO_ERR_UNSUPPORTED;
    if (error == EHLO_OK && c->body.mode != EHLO_SEND_NONE) error = EHLO_ERR_FULL;
    if (error == EHLO_OK && !countable(c, replies)) error = EHLO_ERR_ARG;
    if (error == EHLO_OK) error = open_line(c, &l);
    if (error != EHLO_OK) return error;
    error = ehlo_bdat_write(size, last, l.at, l.cap, &l.len);
    error = close_line(c, &l, error, last ? EHLO_AWAIT_MESSAGE : EHLO_VERB_BDAT, replies, done, user);
    if (error == EHLO_OK) open_entry(c);
    return error;
}

int ehlo_client_chunk(ehlo_client *c, uint64_t size, int last, unsigned replies, ehlo_on_reply done, void *user)
{
    int error = ehlo_client_announce(c, size, last, replies, done, user);
    if (error != EHLO_OK) return error;
    uint8_t entry = c->body.entry;
    ehlo_clear(&c->body, sizeof c->body);
    c->body.entry = entry;
    ehlo_client_open_chunk(c, EHLO_SEND_RAW, size, size);
    c->body.whole = size == 0;
    return EHLO_OK;
}
