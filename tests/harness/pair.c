#include "pair.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../canon.h"
#include "toy_crypto.h"

enum { ROOM_DEFAULT = 64 * 1024 };

/* -- parts ------------------------------------------------------------------------------------------ */

typedef struct octets {
    char *ptr;
    size_t len;
    size_t cap;
} octets;

/* One way of the connection. */
typedef struct pipe_end {
    octets flow;   /* under way */
    uint64_t said; /* octets that ever went in */
    int ended;     /* nothing more comes out behind what is under way */
    int deaf;      /* whatever goes in is lost */
} pipe_end;

/* A session's side of it. */
typedef struct side {
    octets hold;    /* read, not yet consumed */
    int open;       /* from start to close */
    int gone;       /* lost, or failed: nothing more may be written */
    int eof_told;   /* */
    int unfinished; /* hold was offered and is an incomplete line or reply */
    unsigned writes;
} side;

/* A letter on its way. */
typedef struct sending {
    pair *p;
    const pair_letter *letter;
    size_t index;
    pair_fate fate;
    char text[PAIR_RCPTS_MAX + 1][64]; /* mailboxes; the last one is the sender's */
    ehlo_envelope envelope;
    ehlo_transaction *t;
    void *mem;
    char *piece;      /* the view last given */
    size_t piece_len; /* */
    uint64_t offset;  /* where it began; of a push: octets taken */
    int asked;        /* body was called */
    int waits;        /* body said LATER */
    int cancelled;
    size_t owed;   /* octets that were pushed and not taken */
    int said_last; /* with what was not taken: it must be said again */
    int pushed_all;
    enum { PUSH_FREE, PUSH_FOR_REPLY, PUSH_FOR_ROOM } push_waits; /* since the last one was short */
    unsigned push_feed;                                           /* the count of feeds then */
} sending;

enum decision { DECIDE_NOTHING, DECIDE_AUTH, DECIDE_MAIL, DECIDE_RCPT, DECIDE_MESSAGE, DECIDE_RESULT };

/* The server's application: the transaction as it sees it. */
typedef struct application {
    int open;
    uint32_t mails;      /* MAILs that came */
    enum decision asked; /* the decision that is pending or being taken */
    ehlo_token token;
    uint16_t code;
    char from[64];
    ehlo_mail mail;
    char envid[64];
    sending *to; /* whose recipients they are */
    size_t rcpt; /* the recipient or result asked about */
    size_t rcpts[PAIR_RCPTS_MAX * 2];
    size_t count;
    octets body;
    int stalled;
    unsigned fasts; /* times that on_body took nothing */
} application;

struct pair {
    const pair_plan *plan;
    pair_dice *dice;
    char fault[512];
    uint64_t now;
    uint32_t steps;
    ehlo_client *client;
    ehlo_service *service;
    ehlo_server *server;
    void *client_mem, *service_mem, *server_mem;
    side sides[2];
    pipe_end pipes[2]; /* from the client, from the server */
    int broken;
    unsigned feeds, turns;
    int client_wrote;
    application app;
    sending letters[PAIR_LETTERS_MAX];
    size_t next; /* the letter to start */
    ehlo_credentials credentials;
    ehlo_crypto crypto;
    unsigned drawn;
    void *opening_mem;
    ehlo_sasl_server *exchange;
    ehlo_sasl_server_config exchange_config;
    void *exchange_mem;
    ehlo_reply auth_reply;
    int opened, ready, refused, quit, authenticated;
    ehlo_reply refusal;
    unsigned noops_said, noops_heard;
    int quit_said, quit_heard;
    int client_closes, server_closes;
    unsigned loans, blocks;
    int starting; /* inside ehlo_transaction_start */
};

static void fault(pair *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fault(pair *p, const char *format, ...)
{
    if (p->fault[0] != '\0') return;
    va_list args;
    va_start(args, format);
    vsnprintf(p->fault, sizeof p->fault, format, args);
    va_end(args);
}

static void *must_have(void *mem)
{
    if (mem == NULL) abort();
    return mem;
}

static void octets_add(octets *o, const char *bytes, size_t len)
{
    if (len == 0) return;
    if (o->len + len > o->cap) {
        o->cap = (o->len + len) * 2;
        o->ptr = must_have(realloc(o->ptr, o->cap));
    }
    memcpy(o->ptr + o->len, bytes, len);
    o->len += len;
}

static void octets_drop(octets *o, size_t len)
{
    if (len == 0) return;
    memmove(o->ptr, o->ptr + len, o->len - len);
    o->len -= len;
}

static int same(ehlo_str a, const char *b)
{
    return a.len == strlen(b) && (a.len == 0 || memcmp(a.ptr, b, a.len) == 0);
}

/* A copy whose end is the end of its block, so that a sanitizer sees who reads on. */
static char *copy_of(const char *bytes, size_t len)
{
    char *copy = must_have(malloc(len > 0 ? len : 1));
    if (len > 0) memcpy(copy, bytes, len);
    return copy;
}

/* Frees a copy; a view that outlives it shows. */
static void copy_free(char *copy, size_t len)
{
    if (copy != NULL) memset(copy, 0xDD, len);
    free(copy);
}

/* -- chance ----------------------------------------------------------------------------------------- */

pair_dice pair_dice_seeded(unsigned seed)
{
    pair_dice dice = { NULL, 0, seed * 2654435761u + 0x9E3779B9u };
    if (dice.state == 0) dice.state = 1;
    for (int i = 0; i < 8; i++) (void)pair_draw(&dice, 2);
    return dice;
}

uint32_t pair_draw(pair_dice *dice, uint32_t below)
{
    uint32_t drawn = 0;
    if (below < 2) return 0;
    if (dice->bytes == NULL) {
        dice->state ^= dice->state << 13;
        dice->state ^= dice->state >> 17;
        dice->state ^= dice->state << 5;
        return dice->state % below;
    }
    for (uint32_t range = below - 1; range > 0 && dice->len > 0; range >>= 8) {
        drawn = drawn << 8 | *dice->bytes++;
        dice->len--;
    }
    return drawn % below;
}

/* 1 where what may answer later is to do so. */
static int answers_later(pair *p)
{
    if (p->plan->later == 0) return 0;
    return p->plan->later == 1 || pair_draw(p->dice, 2);
}

/* -- the connection --------------------------------------------------------------------------------- */

static size_t room(const pair *p, int from)
{
    const pipe_end *pipe = &p->pipes[from];
    size_t cap = p->plan->room[!from] != 0 ? p->plan->room[!from] : ROOM_DEFAULT;
    if (p->broken == PAIR_BREAK_SILENT) return 0;
    /* Who does not know of the end yet finds no room, the server as long as the client is there. */
    int has_peer = from == PAIR_CLIENT || !pipe->deaf;
    if (p->broken == PAIR_BREAK_EOF && has_peer && !p->sides[from].eof_told) return 0;
    if (pipe->deaf || p->broken) return SIZE_MAX;
    size_t left = cap > pipe->flow.len ? cap - pipe->flow.len : 0;
    if (p->plan->broken != PAIR_BREAK_NEVER && p->plan->broken_side == from) {
        uint64_t more = p->plan->broken_at - pipe->said;
        if (more < left) left = (size_t)more;
    }
    return left;
}

static int say(pair *p, int from, const ehlo_str *parts, size_t n, size_t *taken)
{
    pipe_end *pipe = &p->pipes[from];
    side *s = &p->sides[from];
    size_t left = room(p, from);
    *taken = 0;
    s->writes++;
    if (s->gone || !s->open)
        fault(p, "a write at the %s's end after its end", from == PAIR_CLIENT ? "client" : "server");
    if (p->broken == PAIR_BREAK_WRITE || p->broken == PAIR_BREAK_RESET) return -1;
    for (size_t i = 0; i < n && left > 0; i++) {
        size_t len = parts[i].len < left ? parts[i].len : left;
        if (!pipe->deaf && !p->broken) octets_add(&pipe->flow, parts[i].ptr, len);
        pipe->said += len;
        *taken += len;
        left -= len;
    }
    if (from == PAIR_CLIENT && *taken > 0) p->client_wrote = 1;
    return 0;
}

static int client_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)c;
    return say(user, PAIR_CLIENT, parts, n, taken);
}

static int server_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)s;
    return say(user, PAIR_SERVER, parts, n, taken);
}

static void break_connection(pair *p)
{
    p->broken = p->plan->broken;
    for (int from = 0; from < 2; from++) {
        if (p->broken == PAIR_BREAK_RESET || p->broken == PAIR_BREAK_SILENT) p->pipes[from].flow.len = 0;
        if (p->broken != PAIR_BREAK_SILENT) p->pipes[from].ended = 1;
    }
}

static void break_if_due(pair *p)
{
    if (p->plan->broken == PAIR_BREAK_NEVER || p->broken) return;
    if (p->pipes[p->plan->broken_side].said >= p->plan->broken_at) break_connection(p);
}

/* -- loans ------------------------------------------------------------------------------------------ */

static void *lend(size_t len, void *ctx)
{
    pair *p = ctx;
    if (++p->loans == p->plan->fail_lend) return NULL;
    p->blocks++;
    return malloc(len);
}

static void *lend_always(size_t len, void *ctx)
{
    pair *p = ctx;
    p->blocks++;
    return malloc(len);
}

static void give(void *mem, size_t len, void *ctx)
{
    pair *p = ctx;
    p->blocks--;
    copy_free(mem, len);
}

/* -- the application of the server ------------------------------------------------------------------ */

static int granted(uint16_t code)
{
    return code == 0 || code / 100 == 2;
}

static int has_param(pair *p, uint32_t param)
{
    return (p->app.mail.present & param) != 0;
}

static void check_dsn(pair *p, const sending *s)
{
    int offered = (p->plan->caps & EHLO_CAP_DSN) != 0 && s->letter->dsn;
    if (has_param(p, EHLO_PARAM_RET) != offered || has_param(p, EHLO_PARAM_ENVID) != offered) {
        fault(p, "letter %zu: RET and ENVID came, or did not", s->index);
    }
    if (!offered) return;
    if (p->app.mail.ret != EHLO_RET_HDRS) fault(p, "letter %zu: another RET", s->index);
    if (strcmp(p->app.envid, "id+1=2") != 0) fault(p, "letter %zu: ENVID is \"%s\"", s->index, p->app.envid);
}

/* MAIL was about this letter, as its first recipient shows. */
static void check_mail(pair *p, const sending *s)
{
    const pair_letter *letter = s->letter;
    const ehlo_mail *mail = &p->app.mail;
    int knows_size = letter->source == PAIR_CONTENT || letter->sized;
    if (strcmp(p->app.from, s->text[PAIR_RCPTS_MAX]) != 0)
        fault(p, "letter %zu comes from <%s>", s->index, p->app.from);
    if ((p->plan->caps & EHLO_CAP_SIZE) && knows_size && letter->content.len > 0 && mail->size != letter->content.len) {
        fault(p, "letter %zu: SIZE=%llu", s->index, (unsigned long long)mail->size);
    }
    if (letter->body != EHLO_BODY_DEFAULT && letter->body != EHLO_BODY_7BIT && mail->body != letter->body) {
        fault(p, "letter %zu: BODY is %d", s->index, mail->body);
    }
    if (has_param(p, EHLO_PARAM_SMTPUTF8) != ((letter->flags & EHLO_SEND_UTF8) != 0)) {
        fault(p, "letter %zu: SMTPUTF8 came, or did not", s->index);
    }
    check_dsn(p, s);
}

/* Which letter, and which of its recipients, a mailbox is. */
static sending *find_recipient(pair *p, ehlo_str mailbox, size_t *rcpt)
{
    for (size_t i = 0; i < p->plan->count; i++) {
        for (size_t r = 0; r < p->letters[i].letter->nrcpts; r++) {
            *rcpt = r;
            if (same(mailbox, p->letters[i].text[r])) return &p->letters[i];
        }
    }
    return NULL;
}

static void record(pair *p, size_t rcpt)
{
    p->app.to->fate.recorded[rcpt]++;
}

/* What a decision brings about; the session acts on it behind this. */
static void decided(pair *p, uint16_t code)
{
    application *app = &p->app;
    enum decision asked = app->asked;
    app->asked = DECIDE_NOTHING;
    if (code == PAIR_FAIL || !granted(code)) return;
    if (asked == DECIDE_MAIL) {
        app->open = 1;
        app->to = NULL;
        app->count = 0;
        app->body.len = 0;
    } else if (asked == DECIDE_RCPT) {
        if (app->count < sizeof app->rcpts / sizeof app->rcpts[0]) app->rcpts[app->count++] = app->rcpt;
    } else if (asked == DECIDE_MESSAGE && (!p->plan->lmtp || p->plan->no_result)) {
        for (size_t i = 0; i < app->count; i++) record(p, app->rcpts[i]);
    } else if (asked == DECIDE_RESULT) {
        record(p, app->rcpts[app->rcpt]);
    }
}

static ehlo_reply reply_of(uint16_t code)
{
    ehlo_reply reply = { 0 };
    reply.code = code;
    if (code == 452) { /* too many recipients, for now */
        reply.enhanced[0] = 4;
        reply.enhanced[1] = 5;
        reply.enhanced[2] = 3;
    }
    return reply;
}

/* What is answered to the question that is pending, or taken. */
static ehlo_reply answer_of(const pair *p)
{
    return p->app.asked == DECIDE_AUTH ? p->auth_reply : reply_of(p->app.code);
}

static int decide(pair *p, ehlo_token token, ehlo_reply *reply, enum decision asked, uint16_t code)
{
    application *app = &p->app;
    if (app->token != 0) fault(p, "a decision while one is pending");
    app->asked = asked;
    app->code = code;
    if (code != PAIR_FAIL && answers_later(p)) {
        app->token = token;
        return EHLO_LATER;
    }
    *reply = answer_of(p);
    decided(p, code);
    return code == PAIR_FAIL ? -1 : EHLO_OK;
}

static int on_connect(ehlo_server *s, ehlo_token token, ehlo_reply *reply, void *user)
{
    pair *p = user;
    (void)s;
    return decide(p, token, reply, DECIDE_NOTHING, p->plan->greeting_code);
}

static int on_hello(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *reply, void *user)
{
    pair *p = user;
    (void)s, (void)hello;
    return decide(p, token, reply, DECIDE_NOTHING, p->plan->hello_code);
}

static const char right_secret[] = "sesame-of-ann";

static ehlo_sasl_step take_response(pair *p, ehlo_str response, ehlo_str *challenge)
{
    ehlo_sasl_step step = ehlo_sasl_server_step(p->exchange, response, challenge);
    int right = ehlo_secret_equal(ehlo_sasl_server_secret(p->exchange), ehlo_str_from(right_secret));
    return toy_answer(p->exchange, step, &p->crypto, right_secret, right, challenge);
}

static void end_exchange(pair *p)
{
    ehlo_sasl_server_end(p->exchange);
    p->exchange = NULL;
}

/* A challenge may be asked for before the answer is given: it stays where it is until the next step. */
static int on_auth(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *reply,
                   void *user)
{
    pair *p = user;
    ehlo_str challenge = { NULL, 0 };
    if (mechanism.ptr == NULL && response.ptr == NULL) {
        end_exchange(p);
        return EHLO_OK;
    }
    if (mechanism.len > 0) {
        end_exchange(p);
        p->exchange_config.facts = ehlo_server_tls_facts(s);
        if (ehlo_sasl_server_start(&p->exchange, p->exchange_mem, ehlo_sasl_server_size(0), ehlo_sasl_find(mechanism),
                                   &p->exchange_config) != EHLO_OK) {
            fault(p, "the server cannot start its exchange");
        }
    }
    int step = (int)take_response(p, response, &challenge);
    p->authenticated |= step == EHLO_SASL_ACCEPTED;
    ehlo_sasl_reply(step, challenge, &p->auth_reply);
    return decide(p, token, reply, DECIDE_AUTH, p->auth_reply.code);
}

static void keep_text(char *out, size_t cap, ehlo_str text)
{
    size_t len = text.len < cap - 1 ? text.len : cap - 1;
    if (len > 0) memcpy(out, text.ptr, len);
    out[len] = '\0';
}

/* The letter is not known before its first recipient, and a null path does not name it: it is the latest one. */
static uint16_t mail_code(const pair *p, ehlo_str mailbox)
{
    for (size_t i = p->plan->count; i-- > 0;) {
        const sending *s = &p->letters[i];
        if (s->fate.started && same(mailbox, s->text[PAIR_RCPTS_MAX])) return s->letter->mail_code;
    }
    return 0;
}

static int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *reply, void *user)
{
    pair *p = user;
    if (p->plan->auth != 0 && !p->authenticated) fault(p, "MAIL of somebody who has not logged in");
    size_t len = 0;
    (void)s;
    if (p->app.open) fault(p, "on_mail inside a transaction");
    p->app.mails++;
    p->app.mail = *mail;
    keep_text(p->app.from, sizeof p->app.from, mail->path.mailbox);
    (void)ehlo_xtext_decode(mail->envid, p->app.envid, sizeof p->app.envid - 1, &len, NULL);
    p->app.envid[len] = '\0';
    return decide(p, token, reply, DECIDE_MAIL, mail_code(p, mail->path.mailbox));
}

static int on_rcpt(ehlo_server *server, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *reply, void *user)
{
    pair *p = user;
    size_t index = 0;
    sending *s = find_recipient(p, rcpt->path.mailbox, &index);
    (void)server;
    if (!p->app.open) fault(p, "on_rcpt outside a transaction");
    if (s == NULL || !s->fate.started) {
        fault(p, "a recipient that nobody is sending to");
        return EHLO_OK;
    }
    if (p->app.to != NULL && p->app.to != s) fault(p, "recipients of two letters in one transaction");
    p->app.to = s;
    check_mail(p, s);
    int notifies = (p->plan->caps & EHLO_CAP_DSN) != 0 && s->letter->dsn;
    if (rcpt->notify != (notifies ? EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY : 0))
        fault(p, "NOTIFY is %d", rcpt->notify);
    if (notifies && !same(rcpt->orcpt, "x+2By@z")) fault(p, "ORCPT is another one");
    p->app.rcpt = index;
    return decide(p, token, reply, DECIDE_RCPT, s->letter->rcpt_code[index]);
}

static int on_data(ehlo_server *s, ehlo_token token, ehlo_reply *reply, void *user)
{
    pair *p = user;
    (void)s;
    if (!p->app.open || p->app.count == 0) fault(p, "on_data without a recipient");
    return decide(p, token, reply, DECIDE_NOTHING, p->app.to->letter->data_code);
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *reply, void *user)
{
    pair *p = user;
    const pair_letter *letter = p->app.to->letter;
    (void)s;
    if (!p->app.open || p->app.stalled || len == 0) fault(p, "on_body out of place");
    if (letter->body_code != 0 && p->app.body.len + len > letter->body_after) {
        *reply = reply_of(letter->body_code);
        return letter->body_code == PAIR_FAIL ? -1 : EHLO_REFUSE;
    }
    if (p->plan->body_max != 0) {
        size_t appetite = pair_draw(p->dice, p->plan->body_max + 1);
        if (appetite == 0 && p->app.fasts++ % 2 == 1) appetite = p->plan->body_max;
        if (appetite < len) *taken = appetite;
        p->app.stalled = *taken < len;
    }
    octets_add(&p->app.body, bytes, *taken);
    return EHLO_OK;
}

/* What was taken must be what was sent. */
static void check_message(pair *p, const ehlo_message *message)
{
    const pair_letter *letter = p->app.to->letter;
    canon_way way = { message->chunked, letter->body, p->plan->bare_cr, p->plan->bare_lf };
    if (!canon_arrived(&way, letter->content, p->app.body.ptr, p->app.body.len)) {
        fault(p, "letter %zu: %zu octets were sent, others arrived, %zu", p->app.to->index, letter->content.len,
              p->app.body.len);
    }
    if (message->recipients != p->app.count) fault(p, "on_message: other recipients");
    int admits_8bit = letter->body == EHLO_BODY_BINARYMIME ||
                      (letter->body != EHLO_BODY_7BIT && (p->plan->caps & EHLO_CAP_8BITMIME) != 0);
    if (!admits_8bit && canon_has_8bit(letter->content)) fault(p, "letter %zu: 8-bit octets came", p->app.to->index);
}

static int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *reply, void *user)
{
    pair *p = user;
    (void)s;
    if (!p->app.open) fault(p, "on_message outside a transaction");
    p->app.open = 0;
    p->app.to->fate.chunked = message->chunked;
    uint16_t code = p->app.to->letter->message_code;
    if (granted(code)) check_message(p, message);
    return decide(p, token, reply, DECIDE_MESSAGE, code);
}

static int on_result(ehlo_server *s, ehlo_token token, size_t rcpt, ehlo_reply *reply, void *user)
{
    pair *p = user;
    (void)s;
    p->app.rcpt = rcpt;
    if (rcpt >= p->app.count) {
        fault(p, "on_result for recipient %zu of %zu", rcpt, p->app.count);
        return EHLO_OK;
    }
    return decide(p, token, reply, DECIDE_RESULT, p->app.to->letter->result_code[p->app.rcpts[rcpt]]);
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    pair *p = user;
    (void)s, (void)reason;
    if (!p->app.open) fault(p, "on_reset outside a transaction");
    p->app.open = 0;
    p->app.stalled = 0;
}

static void on_server_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    pair *p = user;
    (void)s, (void)reason, (void)pending;
    p->server_closes++;
}

/* -- what was said, for those who look for a fault -------------------------------------------------- */

static void show(const char *who, int direction, ehlo_str bytes)
{
    fprintf(stderr, "%s%s ", who, direction == EHLO_TRACE_IN ? "<" : ">");
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        if (c >= 0x20 && c < 0x7F)
            fputc(c, stderr);
        else if (c != '\r')
            fprintf(stderr, "\\x%02X", c);
    }
    fputc('\n', stderr);
}

/* What the client's application does. */
static void tell(const sending *s, const char *what, size_t at, size_t len, size_t used)
{
    if (!s->p->plan->verbose) return;
    fprintf(stderr, "letter %zu: %s at %zu: %zu of %zu octets, %zu used\n", s->index, what, at, len,
            s->letter->content.len, used);
}

static void on_client_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    const pair *p = user;
    (void)c, (void)secret;
    if (p->plan->verbose) show("client", direction, bytes);
}

static void on_server_trace(ehlo_server *s, int direction, ehlo_str bytes, int secret, void *user)
{
    const pair *p = user;
    (void)s, (void)secret;
    if (p->plan->verbose) show("            server", direction, bytes);
}

/* -- the letters of the client ---------------------------------------------------------------------- */

static void start_next(pair *p);

static int pulled(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    sending *s = user;
    pair *p = s->p;
    ehlo_str content = s->letter->content;
    (void)t;
    if (s->fate.done) fault(p, "a body is asked for after on_done");
    if (offset != 0 && (offset < s->offset || offset > s->offset + s->piece_len)) {
        fault(p, "a body is asked for at %llu; the piece was %zu at %llu", (unsigned long long)offset, s->piece_len,
              (unsigned long long)s->offset);
        return -1;
    }
    copy_free(s->piece, s->piece_len);
    s->piece = NULL;
    s->piece_len = 0;
    s->offset = offset;
    if (s->letter->give_up_at != 0 && offset >= s->letter->give_up_at) return -1;
    if (!s->asked && answers_later(p)) {
        s->asked = 1;
        tell(s, "later", (size_t)offset, 0, 0);
        if (pair_draw(p->dice, 4) == 1) {
            int result = ehlo_transaction_resume(t, p->now);
            if (result != EHLO_OK) fault(p, "resume inside body gave %d", result);
        } else {
            s->waits = 1;
        }
        return EHLO_LATER;
    }
    s->asked = 0;
    size_t left = content.len - (size_t)offset;
    size_t len = p->plan->piece_max != 0 ? 1 + pair_draw(p->dice, p->plan->piece_max) : left;
    if (len > left) len = left;
    *last = len == left && (len == 0 || pair_draw(p->dice, 2) == 0);
    tell(s, *last ? "last piece" : "piece", (size_t)offset, len, 0);
    s->piece = copy_of(content.ptr + offset, len);
    s->piece_len = len;
    *piece = ehlo_str_make(s->piece, len);
    return EHLO_OK;
}

static void on_rcpt_told(ehlo_transaction *t, size_t index, const ehlo_reply *r, void *user)
{
    sending *s = user;
    (void)t, (void)r;
    if (s->fate.done) fault(s->p, "on_rcpt after on_done");
    if (index >= s->letter->nrcpts)
        fault(s->p, "on_rcpt for recipient %zu", index);
    else
        s->fate.told[index]++;
}

static void on_next(ehlo_transaction *t, void *user)
{
    sending *s = user;
    (void)t;
    if (s->fate.done) fault(s->p, "on_next after on_done");
    if (s->p->plan->chain == PAIR_CHAIN_ON_NEXT) start_next(s->p);
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    sending *s = user;
    int worst = EHLO_OUTCOME_NONE;
    (void)t;
    if (s->fate.done++ > 0) fault(s->p, "letter %zu: on_done twice", s->index);
    for (size_t i = 0; i < s->letter->nrcpts; i++) {
        const ehlo_recipient *r = &s->fate.rcpts[i];
        if (r->outcome == EHLO_OUTCOME_NONE) fault(s->p, "letter %zu: recipient %zu has no outcome", s->index, i);
        if (r->outcome > worst) worst = r->outcome;
    }
    if (outcome != worst) fault(s->p, "letter %zu: on_done says %d, the worst is %d", s->index, outcome, worst);
    s->fate.outcome = outcome;
    copy_free(s->mem, ehlo_transaction_size()); /* it is ours again */
    s->mem = NULL;
    copy_free(s->piece, s->piece_len);
    s->piece = NULL;
    s->piece_len = 0;
    if (s->p->plan->chain == PAIR_CHAIN_ON_DONE) start_next(s->p);
}

/* 1 if a result is that of a session which broke under the call, and has to be closed. */
static int has_failed(pair *p, const char *call, int result)
{
    if (result >= 0) return 0;
    if (result > EHLO_ERR_FATAL) {
        fault(p, "%s gave %d", call, result);
    } else if (p->broken != PAIR_BREAK_WRITE && p->broken != PAIR_BREAK_RESET &&
               (p->plan->fail_lend == 0 || p->loans < p->plan->fail_lend)) {
        fault(p, "%s gave %d, though nothing broke", call, result);
    }
    return 1;
}

static void client_result(pair *p, const char *call, int result)
{
    if (has_failed(p, call, result)) p->sides[PAIR_CLIENT].gone = 1;
    uint64_t deadline = 0;
    unsigned wants = ehlo_client_status(p->client, &deadline);
    if (wants != ehlo_client_wants(p->client) || deadline != ehlo_client_deadline(p->client)) {
        fault(p, "status of the client says something else than wants and deadline");
    }
    if (result < EHLO_ERR_FATAL && wants != EHLO_WANT_CLOSE) fault(p, "%s failed, and CLOSE is not all it wants", call);
}

static void server_result(pair *p, const char *call, int result)
{
    if (has_failed(p, call, result)) p->sides[PAIR_SERVER].gone = 1;
}

/* 1 if a call from wherever has queued what it was to queue. */
static int has_queued(pair *p, const char *call, int result)
{
    if (has_failed(p, call, result)) p->sides[PAIR_CLIENT].gone |= result < EHLO_ERR_FATAL;
    return result == EHLO_OK;
}

static void start_next(pair *p)
{
    static const ehlo_transaction_callbacks pull = { pulled, on_rcpt_told, on_next, on_done };
    static const ehlo_transaction_callbacks others = { NULL, on_rcpt_told, on_next, on_done };
    if (p->next >= p->plan->count || !(ehlo_client_wants(p->client) & EHLO_WANT_NEXT) || p->starting) return;
    sending *s = &p->letters[p->next++];
    s->mem = must_have(malloc(ehlo_transaction_size()));
    s->fate.started = 1;
    p->starting = 1;
    int result = ehlo_transaction_start(&s->t, s->mem, ehlo_transaction_size(), p->client, &s->envelope,
                                        s->letter->source == PAIR_PULL ? &pull : &others, s, NULL);
    p->starting = 0;
    if (has_queued(p, "transaction_start", result)) return;
    s->fate.started = 0;
    copy_free(s->mem, ehlo_transaction_size());
    s->mem = NULL;
}

static int is_under_way(const sending *s)
{
    return s->fate.started && !s->fate.done;
}

static size_t count_under_way(const pair *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->plan->count; i++) count += (size_t)is_under_way(&p->letters[i]);
    return count;
}

/* -- the client's commands -------------------------------------------------------------------------- */

/* The session is open, or refused to us. */
static void on_opened(ehlo_client *c, const ehlo_opened *opened, void *user)
{
    pair *p = user;
    free(p->opening_mem);
    p->opening_mem = NULL;
    p->opened++;
    if (opened->stage != EHLO_STAGE_NONE) {
        p->refused = 1;
        if (opened->reply != NULL) p->refusal.code = opened->reply->code;
        if (opened->reply == NULL && ehlo_client_reason(c) == 0) {
            fault(p, "not opened: %.*s", (int)opened->problem.len, opened->problem.ptr);
        }
        return;
    }
    if (opened->mechanism != p->plan->auth) fault(p, "logged in by mechanism %#x", opened->mechanism);
    if (p->plan->imposter && p->plan->auth != 0) fault(p, "logged in with a wrong secret");
    p->ready = 1;
    if (p->plan->chain == PAIR_CHAIN_ON_NEXT) start_next(p);
}

static void on_noop(ehlo_client *c, const ehlo_reply *r, void *user)
{
    pair *p = user;
    (void)c, (void)r;
    p->noops_heard++;
}

static void on_quit(ehlo_client *c, const ehlo_reply *r, void *user)
{
    pair *p = user;
    (void)c, (void)r;
    p->quit_heard++;
}

static void on_client_close(ehlo_client *c, int reason, void *user)
{
    pair *p = user;
    (void)c, (void)reason;
    p->client_closes++;
}

/* -- both sides alike ------------------------------------------------------------------------------- */

static unsigned wants(const pair *p, int who)
{
    return who == PAIR_CLIENT ? ehlo_client_wants(p->client) : ehlo_server_wants(p->server);
}

static uint64_t deadline_of(const pair *p, int who)
{
    return who == PAIR_CLIENT ? ehlo_client_deadline(p->client) : ehlo_server_deadline(p->server);
}

static void note(pair *p, int who, const char *call, int result)
{
    if (who == PAIR_CLIENT)
        client_result(p, call, result);
    else
        server_result(p, call, result);
}

static int is_live(const pair *p, int who)
{
    return p->sides[who].open && !p->sides[who].gone && !(wants(p, who) & EHLO_WANT_CLOSE);
}

static void feed(pair *p, int who)
{
    side *s = &p->sides[who];
    size_t used = 0, len = s->hold.len;
    char *bytes = copy_of(s->hold.ptr, len);
    size_t least = who == PAIR_CLIENT ? ehlo_client_input_min(p->client) : ehlo_service_input_min(p->service);
    int result = who == PAIR_CLIENT ? ehlo_client_feed(p->client, p->now, bytes, len, &used)
                                    : ehlo_server_feed(p->server, p->now, bytes, len, &used);
    copy_free(bytes, len);
    if (who == PAIR_CLIENT) p->feeds++;
    note(p, who, "feed", result);
    if (used > len) {
        fault(p, "feed used %zu of %zu octets", used, len);
        return;
    }
    octets_drop(&s->hold, used);
    s->unfinished = s->hold.len > 0 && result == EHLO_OK && (wants(p, who) & EHLO_WANT_READ) != 0;
    if (s->unfinished && s->hold.len >= least)
        fault(p, "live-lock: READ wanted, %zu octets left of %zu", s->hold.len, len);
}

static int move_read(pair *p, int who)
{
    side *s = &p->sides[who];
    octets *flow = &p->pipes[!who].flow;
    if (!is_live(p, who) || !(wants(p, who) & EHLO_WANT_READ)) return 0;
    uint32_t most = p->plan->read_max[who];
    size_t len = most != 0 ? 1 + pair_draw(p->dice, most) : flow->len;
    if (len > flow->len) len = flow->len;
    if (len == 0 && (s->hold.len == 0 || s->unfinished)) return 0;
    if (who == PAIR_CLIENT && len > 0) {
        p->turns += (unsigned)p->client_wrote;
        p->client_wrote = 0;
    }
    octets_add(&s->hold, flow->ptr, len);
    octets_drop(flow, len);
    feed(p, who);
    return 1;
}

static int move_flush(pair *p, int who)
{
    side *s = &p->sides[who];
    unsigned before = s->writes;
    int stuck = room(p, who) == 0;
    if (!is_live(p, who) || !(wants(p, who) & EHLO_WANT_WRITE) || stuck) return 0;
    int result = who == PAIR_CLIENT ? ehlo_client_flush(p->client, p->now) : ehlo_server_flush(p->server, p->now);
    note(p, who, "flush", result);
    if (s->writes == before && (wants(p, who) & EHLO_WANT_WRITE))
        fault(p, "flush writes nothing though WRITE is wanted");
    return 1;
}

static int move_end(pair *p, int who)
{
    side *s = &p->sides[who];
    const pipe_end *pipe = &p->pipes[!who];
    if (!is_live(p, who) || !pipe->ended) return 0;
    if (p->broken == PAIR_BREAK_RESET || (wants(p, who) & EHLO_WANT_TLS)) {
        note(p, who, "lost", who == PAIR_CLIENT ? ehlo_client_lost(p->client) : ehlo_server_lost(p->server));
        if ((wants(p, who) & ~(unsigned)EHLO_WANT_SECRET) != EHLO_WANT_CLOSE)
            fault(p, "CLOSE is not all that is wanted after lost");
        s->gone = 1;
        return 1;
    }
    if (pipe->flow.len > 0 || s->eof_told || (s->hold.len > 0 && !s->unfinished)) return 0;
    s->eof_told = 1;
    note(p, who, "eof", who == PAIR_CLIENT ? ehlo_client_eof(p->client, p->now) : ehlo_server_eof(p->server, p->now));
    return 1;
}

static int tick(pair *p, int who)
{
    if (!is_live(p, who) || deadline_of(p, who) > p->now) return 0;
    note(p, who, "tick",
         who == PAIR_CLIENT ? ehlo_client_tick(p->client, p->now) : ehlo_server_tick(p->server, p->now));
    if (is_live(p, who) && deadline_of(p, who) <= p->now) fault(p, "tick leaves its deadline in the past");
    return 1;
}

static int move_close(pair *p, int who)
{
    side *s = &p->sides[who];
    if (!s->open || (!s->gone && !(wants(p, who) & EHLO_WANT_CLOSE))) return 0;
    s->gone = 1;
    int result = who == PAIR_CLIENT ? ehlo_client_close(p->client) : ehlo_server_close(p->server);
    if (result != EHLO_OK) fault(p, "close gave %d", result);
    s->open = 0;
    p->pipes[who].ended = 1;
    p->pipes[!who].deaf = 1;
    return 1;
}

static const ehlo_tls_facts facts = { .version = { "TLSv1.3", 7 },
                                      .peer_verified = 1,
                                      .exporter = { "thirty-two octets, all the same.", 32 },
                                      .end_point = { "of the certificate", 18 } };

static int move_tls(pair *p, int who)
{
    int both = is_live(p, PAIR_CLIENT) && is_live(p, PAIR_SERVER) && (wants(p, PAIR_CLIENT) & EHLO_WANT_TLS) &&
               (wants(p, PAIR_SERVER) & EHLO_WANT_TLS);
    if (who != PAIR_CLIENT || !both) return 0;
    for (int i = 0; i < 2; i++) {
        if (p->pipes[i].flow.len > 0 || p->sides[i].hold.len > 0) fault(p, "octets in clear behind STARTTLS");
    }
    note(p, PAIR_SERVER, "tls_started", ehlo_server_tls_started(p->server, p->now, 0, &facts));
    note(p, PAIR_CLIENT, "tls_started", ehlo_client_tls_started(p->client, p->now, 0, &facts));
    return 1;
}

/* -- what only one side does ------------------------------------------------------------------------ */

static int move_answer(pair *p)
{
    application *app = &p->app;
    if (app->token == 0 || !p->sides[PAIR_SERVER].open) return 0;
    ehlo_token token = app->token;
    ehlo_reply reply = answer_of(p);
    app->token = 0;
    if (p->sides[PAIR_SERVER].gone || !(wants(p, PAIR_SERVER) & EHLO_WANT_ANSWER)) return 0; /* it is spent */
    decided(p, app->code);
    note(p, PAIR_SERVER, "answer", ehlo_server_answer(p->server, p->now, token, &reply));
    return 1;
}

static int move_body(pair *p)
{
    if (!p->app.stalled || !is_live(p, PAIR_SERVER)) return 0;
    p->app.stalled = 0;
    note(p, PAIR_SERVER, "resume", ehlo_server_resume(p->server, p->now));
    return 1;
}

static int move_pull(pair *p)
{
    for (size_t i = 0; i < p->plan->count; i++) {
        sending *s = &p->letters[i];
        if (!is_under_way(s) || !s->waits) continue;
        s->waits = 0;
        note(p, PAIR_CLIENT, "transaction_resume", ehlo_transaction_resume(s->t, p->now));
        return 1;
    }
    return 0;
}

static void push(pair *p, sending *s)
{
    ehlo_str content = s->letter->content;
    size_t used = 0, left = content.len - (size_t)s->offset;
    size_t len = p->plan->piece_max != 0 ? s->owed + (s->owed == 0) + pair_draw(p->dice, p->plan->piece_max) : left;
    if (len > left) len = left;
    int last = len == left && (s->said_last || pair_draw(p->dice, 2) == 0);
    char *bytes = copy_of(content.ptr + s->offset, len);
    int result = ehlo_transaction_push(s->t, p->now, bytes, len, last, &used);
    copy_free(bytes, len);
    tell(s, last ? "last push" : "push", (size_t)s->offset, len, used);
    if (result == EHLO_ERR_STATE) { /* nobody is to get it any more */
        s->pushed_all = 1;
        return;
    }
    note(p, PAIR_CLIENT, "push", result);
    if (used > len) fault(p, "push used %zu of %zu octets", used, len);
    s->offset += used;
    s->owed = len - used;
    s->pushed_all = last && used == len;
    s->said_last = last;
    s->push_feed = p->feeds;
    s->push_waits = PUSH_FREE;
    if (used < len) s->push_waits = wants(p, PAIR_CLIENT) & EHLO_WANT_WRITE ? PUSH_FOR_ROOM : PUSH_FOR_REPLY;
}

/* A short push is repeated when WRITE is not wanted any more, or when another reply has come. */
static int may_push(const pair *p, const sending *s)
{
    if (!is_under_way(s) || s->letter->source != PAIR_PUSH || s->pushed_all) return 0;
    if (s->push_waits == PUSH_FOR_ROOM && !(wants(p, PAIR_CLIENT) & EHLO_WANT_WRITE)) return 1;
    return s->push_waits == PUSH_FREE || s->push_feed != p->feeds;
}

static int move_push(pair *p)
{
    for (size_t i = 0; i < p->plan->count; i++) {
        if (!is_live(p, PAIR_CLIENT) || !may_push(p, &p->letters[i])) continue;
        push(p, &p->letters[i]);
        return 1;
    }
    return 0;
}

static int move_cancel(pair *p)
{
    for (size_t i = 0; i < p->plan->count; i++) {
        sending *s = &p->letters[i];
        int is_due = s->letter->cancel_at != 0 && p->steps >= s->letter->cancel_at;
        if (!is_under_way(s) || s->cancelled || !is_due) continue;
        if (!is_live(p, PAIR_CLIENT)) continue;
        int result = ehlo_transaction_cancel(s->t, p->now);
        if (result != EHLO_ERR_STATE) note(p, PAIR_CLIENT, "cancel", result);
        s->cancelled = result == EHLO_OK;
        return s->cancelled;
    }
    return 0;
}

static int move_start(pair *p)
{
    size_t before = p->next;
    if (!p->ready || !is_live(p, PAIR_CLIENT)) return 0;
    if (p->plan->chain == PAIR_CHAIN_DONE && count_under_way(p) > 0) return 0;
    start_next(p);
    if (p->next == before) return 0;
    note(p, PAIR_CLIENT, "flush", ehlo_client_flush(p->client, p->now));
    return 1;
}

static int move_noop(pair *p)
{
    if (!p->ready || !is_live(p, PAIR_CLIENT) || p->noops_said >= p->plan->noops || p->quit) return 0;
    int result = ehlo_client_command(p->client, EHLO_VERB_NOOP, ehlo_str_make(NULL, 0), on_noop, p, NULL);
    if (result == EHLO_ERR_FULL || result == EHLO_ERR_STATE) return 0;
    if (result == EHLO_OK) p->noops_said++;
    note(p, PAIR_CLIENT, "noop", result);
    note(p, PAIR_CLIENT, "flush", ehlo_client_flush(p->client, p->now));
    return 1;
}

/* The server takes no more messages in this session (RFC 9422 4.1). */
static int is_spent(const pair *p)
{
    uint32_t most = ehlo_client_offers(p->client)->mail_max;
    return most != 0 && p->app.mails >= most;
}

static int move_quit(pair *p)
{
    int is_last = p->next >= p->plan->count || is_spent(p);
    int through = is_last && count_under_way(p) == 0 && p->noops_said >= p->plan->noops;
    if (!is_live(p, PAIR_CLIENT) || p->quit || (!p->refused && !(p->ready && through))) return 0;
    int result = ehlo_client_command(p->client, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), on_quit, p, NULL);
    if (result == EHLO_ERR_FULL) return 0;
    p->quit = 1;
    p->quit_said += result == EHLO_OK;
    note(p, PAIR_CLIENT, "quit", result);
    note(p, PAIR_CLIENT, "flush", ehlo_client_flush(p->client, p->now));
    return 1;
}

/* -- a run ------------------------------------------------------------------------------------------ */

typedef int (*side_move)(pair *p, int who);
typedef int (*own_move)(pair *p);

static int step(pair *p)
{
    static const side_move of_sides[] = { move_close, move_flush, move_read, move_end, move_tls };
    static const own_move own[] = { move_answer, move_body,  move_cancel, move_pull,
                                    move_push,   move_start, move_noop,   move_quit };
    enum { SIDES = 2 * sizeof of_sides / sizeof of_sides[0], ALL = SIDES + sizeof own / sizeof own[0] };
    unsigned first = p->plan->lazy ? pair_draw(p->dice, ALL) : 0;
    for (unsigned i = 0; i < ALL; i++) {
        unsigned move = (first + i) % ALL;
        if (move < SIDES ? of_sides[move / 2](p, (int)(move % 2)) : own[move - SIDES](p)) return 1;
    }
    return 0;
}

/* Nothing can happen: time passes. */
static int wait_for_time(pair *p)
{
    uint64_t next = UINT64_MAX;
    for (int who = 0; who < 2; who++) {
        if (is_live(p, who) && deadline_of(p, who) < next) next = deadline_of(p, who);
    }
    if (p->broken != PAIR_BREAK_SILENT) {
        fault(p, "they wait for each other: the client wants %#x, the server %#x",
              p->sides[PAIR_CLIENT].open ? wants(p, PAIR_CLIENT) : 0,
              p->sides[PAIR_SERVER].open ? wants(p, PAIR_SERVER) : 0);
        return 0;
    }
    if (next == UINT64_MAX) {
        fault(p, "nothing will ever happen");
        return 0;
    }
    if (next > p->now) p->now = next;
    return 1;
}

static void pass_time(pair *p)
{
    if (p->plan->jumps != 0 && pair_draw(p->dice, p->plan->jumps) == 1) p->now += 100000 + pair_draw(p->dice, 600000);
    for (int who = 0; who < 2; who++) tick(p, who);
}

static uint64_t budget(const pair_plan *plan)
{
    uint64_t all = 0;
    for (size_t i = 0; i < plan->count; i++) all += 4 * plan->letters[i].content.len * plan->letters[i].nrcpts;
    return 20000 + 8 * all;
}

static void talk(pair *p)
{
    uint64_t left = budget(p->plan);
    while ((p->sides[PAIR_CLIENT].open || p->sides[PAIR_SERVER].open) && p->fault[0] == '\0') {
        p->steps++;
        if (left-- == 0) fault(p, "it never ends");
        break_if_due(p);
        pass_time(p);
        if (!step(p) && !wait_for_time(p)) return;
    }
}

static void write_mailboxes(sending *s, const pair_letter *letter)
{
    const char *u = letter->flags & EHLO_SEND_UTF8 ? "\xC3\xBC" : "";
    for (size_t i = 0; i < letter->nrcpts; i++) {
        snprintf(s->text[i], sizeof s->text[i], "r%zu.%zu%s@b.example", s->index, i, u);
    }
    if (!letter->null_path) {
        snprintf(s->text[PAIR_RCPTS_MAX], sizeof s->text[0], "s%zu%s@a.example", s->index, u);
    }
}

static void write_envelope(sending *s, const pair_letter *letter)
{
    ehlo_envelope *e = &s->envelope;
    e->from = ehlo_str_from(s->text[PAIR_RCPTS_MAX]);
    e->rcpts = s->fate.rcpts;
    e->nrcpts = letter->nrcpts;
    e->flags = letter->flags;
    e->body = letter->body;
    if (letter->source == PAIR_CONTENT)
        e->content = letter->content.ptr != NULL ? letter->content : ehlo_str_make("", 0);
    else if (letter->sized)
        e->size = letter->content.len;
    for (size_t i = 0; i < letter->nrcpts; i++) s->fate.rcpts[i].to = ehlo_str_from(s->text[i]);
    if (!letter->dsn) return;
    e->ret = EHLO_RET_HDRS;
    e->envid = ehlo_str_from("id+1=2");
    for (size_t i = 0; i < letter->nrcpts; i++) {
        s->fate.rcpts[i].notify = EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY;
        s->fate.rcpts[i].orcpt_type = ehlo_str_from("rfc822");
        s->fate.rcpts[i].orcpt = ehlo_str_from("x+y@z");
    }
}

static void make_server(pair *p)
{
    ehlo_server_callbacks callbacks = { server_write, on_connect, on_hello,   on_mail,         on_rcpt,
                                        on_data,      on_body,    on_message, on_result,       on_auth,
                                        NULL,         NULL,       on_reset,   on_server_close, on_server_trace };
    ehlo_service_config config = { 0 };
    config.hostname = ehlo_str_from("mx.example");
    config.flags = EHLO_SERVICE_NO_EXTENSIONS | (p->plan->lmtp ? EHLO_SERVICE_LMTP : 0u);
    config.extensions = p->plan->caps;
    if (p->plan->auth != 0) {
        config.extensions |= EHLO_CAP_AUTH;
        config.flags |= EHLO_SERVICE_REQUIRE_AUTH | (p->plan->tls ? 0u : EHLO_SERVICE_AUTH_CLEAR);
        config.auth_mechanisms = ehlo_sasl_name(p->plan->auth);
    }
    config.max_recipients = p->plan->max_recipients;
    config.max_messages = p->plan->max_messages;
    config.max_size = p->plan->max_size;
    config.data_rate_grace_ms = UINT32_MAX;
    config.max_idle_commands = 100000; /* small chunks come in any number here */
    if (p->plan->lender) config.lender = (ehlo_lender){ lend_always, give, p };
    if (p->plan->no_result) callbacks.on_result = NULL;
    size_t size = ehlo_service_size(&config);
    p->service_mem = must_have(malloc(size + 1));
    if (ehlo_service_init(&p->service, p->service_mem, size, &config, &callbacks) != EHLO_OK) abort();
    size = ehlo_server_size(p->service);
    p->server_mem = must_have(malloc(size));
    if (ehlo_server_init(&p->server, p->server_mem, size, p->service, NULL, p) != EHLO_OK) abort();
}

static void make_client(pair *p)
{
    static const ehlo_client_callbacks callbacks = { client_write, NULL, on_client_close, on_client_trace };
    ehlo_client_config config = { 0 };
    config.name = ehlo_str_from("c.example");
    config.flags = p->plan->client_flags | (p->plan->lmtp ? EHLO_CLIENT_LMTP : 0u);
    config.bare_cr = p->plan->bare_cr;
    config.bare_lf = p->plan->bare_lf;
    config.window = p->plan->window;
    if (p->plan->lender) config.lender = (ehlo_lender){ lend, give, p };
    size_t size = ehlo_client_size(&config);
    p->client_mem = must_have(malloc(size + 1));
    if (ehlo_client_init(&p->client, p->client_mem, size, &config, &callbacks, p) != EHLO_OK) abort();
}

/* In clear only where the plan has no TLS at all. */
static void start_client(pair *p)
{
    ehlo_opening_config opening = { .tls = p->plan->tls ? EHLO_TLS_REQUIRED : EHLO_TLS_NONE };
    p->crypto = toy_crypto(&p->drawn);
    p->credentials.user = ehlo_str_from("ann");
    p->credentials.password = ehlo_str_from(p->plan->imposter ? "guess" : right_secret);
    p->credentials.token = p->credentials.password;
    p->credentials.mechanisms = p->plan->auth;
    p->credentials.clear = !p->plan->tls;
    p->credentials.crypto = &p->crypto;
    p->exchange_config.crypto = &p->crypto;
    p->exchange_config.offered = p->plan->auth;
    p->exchange_config.hostname = ehlo_str_from("mx.example");
    p->exchange_mem = must_have(malloc(ehlo_sasl_server_size(0)));
    if (p->plan->auth != 0) opening.credentials = &p->credentials;
    size_t size = ehlo_opening_size(&opening);
    p->opening_mem = must_have(malloc(size));
    note(p, PAIR_CLIENT, "opening",
         ehlo_opening_start(p->opening_mem, size, p->client, p->now, &opening, on_opened, p));
}

static void make_letters(pair *p)
{
    for (size_t i = 0; i < p->plan->count; i++) {
        sending *s = &p->letters[i];
        s->p = p;
        s->letter = &p->plan->letters[i];
        s->index = i;
        write_mailboxes(s, s->letter);
        write_envelope(s, s->letter);
    }
}

static int may_be(const ehlo_recipient *r, unsigned recorded)
{
    switch (r->outcome) {
    case EHLO_OUTCOME_DELIVERED:
        return recorded == 1 && r->code / 100 == 2 && r->stage == EHLO_STAGE_FINAL;
    case EHLO_OUTCOME_UNCERTAIN:
        return recorded <= 1 && r->stage == EHLO_STAGE_FINAL;
    case EHLO_OUTCOME_DEFERRED:
        return recorded == 0 && (r->code == 0 || r->code / 100 == 4);
    case EHLO_OUTCOME_REJECTED:
        return recorded == 0 && (r->code == 0 || r->code / 100 == 5);
    default:
        return recorded == 0 && r->outcome == EHLO_OUTCOME_NOT_SENT;
    }
}

static void judge(pair *p, sending *s)
{
    if (s->fate.started && s->fate.done != 1) fault(p, "letter %zu: on_done came %d times", s->index, s->fate.done);
    if (!s->fate.started) {
        ehlo_outcome outcome = p->refusal.code / 100 >= 4 ? ehlo_outcome_of(p->refusal.code) : EHLO_OUTCOME_NOT_SENT;
        if (ehlo_envelope_settle(&s->envelope, outcome, EHLO_STAGE_HELLO, p->refusal.code ? &p->refusal : NULL) !=
            outcome) {
            fault(p, "letter %zu: settled otherwise", s->index);
        }
    }
    for (size_t i = 0; i < s->letter->nrcpts; i++) {
        const ehlo_recipient *r = &s->fate.rcpts[i];
        if (!may_be(r, s->fate.recorded[i])) {
            ehlo_str outcome = ehlo_outcome_name(r->outcome), stage = ehlo_stage_name(r->stage);
            fault(p, "letter %zu: recipient %zu is %.*s (%.*s, %d), and was recorded %u times", s->index, i,
                  (int)outcome.len, outcome.ptr, (int)stage.len, stage.ptr, r->code, s->fate.recorded[i]);
        }
        if (s->fate.done && s->fate.told[i] == 0) fault(p, "letter %zu: recipient %zu was never told of", s->index, i);
    }
}

static void end(pair *p)
{
    for (int who = 0; who < 2; who++) { /* after a fault */
        p->sides[who].gone = 1;
        move_close(p, who);
    }
    if (p->app.open) fault(p, "an accepted MAIL without on_message or on_reset");
    if (p->client_closes != 1 || p->server_closes != 1)
        fault(p, "on_close came %d, %d times", p->client_closes, p->server_closes);
    if (p->opened != 1) fault(p, "the opening ended %d times", p->opened);
    if (p->quit_heard != p->quit_said) fault(p, "%d QUITs, %d completions", p->quit_said, p->quit_heard);
    if (p->noops_heard != p->noops_said) fault(p, "%u NOOPs, %u completions", p->noops_said, p->noops_heard);
    if (p->blocks != 0) fault(p, "%u blocks were not given back", p->blocks);
    for (size_t i = 0; i < p->plan->count; i++) judge(p, &p->letters[i]);
}

pair *pair_run(const pair_plan *plan, pair_dice *dice)
{
    pair *p = must_have(calloc(1, sizeof *p));
    p->plan = plan;
    p->dice = dice;
    p->now = 1000;
    make_letters(p);
    make_server(p);
    make_client(p);
    p->sides[PAIR_CLIENT].open = p->sides[PAIR_SERVER].open = 1;
    start_client(p);
    note(p, PAIR_SERVER, "start", ehlo_server_start(p->server, p->now));
    talk(p);
    end(p);
    return p;
}

void pair_free(pair *p)
{
    for (size_t i = 0; i < p->plan->count; i++) {
        free(p->letters[i].mem);
        free(p->letters[i].piece);
    }
    for (int i = 0; i < 2; i++) {
        free(p->pipes[i].flow.ptr);
        free(p->sides[i].hold.ptr);
    }
    free(p->app.body.ptr);
    ehlo_sasl_server_end(p->exchange);
    free(p->exchange_mem);
    free(p->opening_mem);
    free(p->client_mem);
    free(p->server_mem);
    free(p->service_mem);
    free(p);
}

const char *pair_fault(const pair *p)
{
    return p->fault;
}

const pair_fate *pair_fate_of(const pair *p, size_t letter)
{
    return &p->letters[letter].fate;
}

uint64_t pair_said(const pair *p, int who)
{
    return p->pipes[who].said;
}

unsigned pair_turns(const pair *p)
{
    return p->turns;
}

/* -- plans by chance -------------------------------------------------------------------------------- */

static const uint16_t codes[] = { 0, 550, 451, 452, 421, 554, PAIR_FAIL };

static uint16_t draw_code(pair_dice *dice, uint32_t odds)
{
    if (pair_draw(dice, odds) != 1) return 0;
    return codes[pair_draw(dice, sizeof codes / sizeof codes[0])];
}

/* A text of pieces that matter to a codec. */
static ehlo_str draw_content(pair_dice *dice, char **arena, size_t *left)
{
    static const char *const atoms[] = { "a",  ".",        "\r\n", "..", "\r\n.", "\r\n.\r\n", "text of some length",
                                         "\n", "\xC3\xA9", "\r" };
    static const size_t sizes[] = { 0, 1, 12, 80, 600, 4000, 15000 };
    size_t size = sizes[pair_draw(dice, pair_draw(dice, 4) == 1 ? 7 : 5)]; /* the large ones take their time */
    uint32_t kinds = pair_draw(dice, 4) == 1 ? 10 : 7;
    char *start = *arena;
    size_t len = 0;
    if (size > *left) size = *left;
    while (len < size) {
        const char *atom = atoms[pair_draw(dice, kinds)];
        for (size_t i = 0; atom[i] != '\0' && len < size; i++) start[len++] = atom[i];
        if (pair_draw(dice, 40) == 1 && len < size) start[len++] = '\0';
        for (uint32_t n = pair_draw(dice, 30) == 1 ? 997 : 0; n > 0 && len < size; n--) start[len++] = 'x';
    }
    *arena += len;
    *left -= len;
    return ehlo_str_make(start, len);
}

static void draw_codes(pair_letter *letter, pair_dice *dice)
{
    letter->mail_code = draw_code(dice, 20);
    letter->data_code = draw_code(dice, 20);
    letter->message_code = draw_code(dice, 12);
    letter->body_code = draw_code(dice, 20);
    letter->body_after = pair_draw(dice, 700);
    for (size_t i = 0; i < letter->nrcpts; i++) {
        letter->rcpt_code[i] = draw_code(dice, 6);
        letter->result_code[i] = draw_code(dice, 6);
    }
}

static void draw_letter(pair_letter *letter, pair_dice *dice, char **arena, size_t *left)
{
    letter->content = draw_content(dice, arena, left);
    letter->source = (uint8_t)pair_draw(dice, 3);
    letter->nrcpts = 1 + pair_draw(dice, PAIR_RCPTS_MAX);
    if (pair_draw(dice, 3) == 1) letter->body = (uint8_t)pair_draw(dice, 4);
    letter->dsn = (uint8_t)pair_draw(dice, 2);
    letter->null_path = pair_draw(dice, 8) == 1;
    letter->sized = (uint8_t)pair_draw(dice, 2);
    if (pair_draw(dice, 6) == 1) letter->flags |= EHLO_SEND_UTF8;
    if (pair_draw(dice, 6) == 1) letter->flags |= EHLO_SEND_ALL_OR_NONE;
    if (pair_draw(dice, 3) == 1) draw_codes(letter, dice);
    if (pair_draw(dice, 20) == 1) letter->cancel_at = 1 + pair_draw(dice, 200);
    if (pair_draw(dice, 20) == 1) letter->give_up_at = 1 + pair_draw(dice, 300);
}

static void draw_login(pair_plan *plan, pair_dice *dice)
{
    plan->tls = pair_draw(dice, 6) == 1;
    if (plan->tls) plan->caps |= EHLO_CAP_STARTTLS;
    if (pair_draw(dice, 4) == 1)
        plan->auth = toy_mechanisms[pair_draw(dice, plan->tls ? TOY_WITH_SECRET : TOY_WITHOUT_BINDING)];
    plan->imposter = plan->auth != 0 && pair_draw(dice, 8) == 1;
}

static void draw_offer(pair_plan *plan, pair_dice *dice)
{
    static const uint32_t caps[] = { EHLO_CAP_PIPELINING, EHLO_CAP_CHUNKING, EHLO_CAP_8BITMIME,
                                     EHLO_CAP_SIZE,       EHLO_CAP_DSN,      EHLO_CAP_ENHANCEDSTATUSCODES,
                                     EHLO_CAP_LIMITS };
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        if (pair_draw(dice, 4) != 1) plan->caps |= caps[i];
    }
    if ((plan->caps & EHLO_CAP_CHUNKING) && pair_draw(dice, 2)) plan->caps |= EHLO_CAP_BINARYMIME;
    if ((plan->caps & EHLO_CAP_8BITMIME) && pair_draw(dice, 2)) plan->caps |= EHLO_CAP_SMTPUTF8;
    plan->lmtp = (int)pair_draw(dice, 2);
    draw_login(plan, dice);
    if (pair_draw(dice, 8) == 1) plan->client_flags |= EHLO_CLIENT_NO_PIPELINING;
    if (pair_draw(dice, 8) == 1) plan->client_flags |= EHLO_CLIENT_NO_CHUNKING;
    plan->bare_cr = (uint8_t)pair_draw(dice, 4);
    plan->bare_lf = (uint8_t)pair_draw(dice, 4);
    if (plan->bare_cr == EHLO_BARE_PASS || plan->bare_lf == EHLO_BARE_PASS) { /* both or none */
        plan->bare_cr = plan->bare_lf = EHLO_BARE_PASS;
    }
    if (pair_draw(dice, 5) == 1) plan->window = 1 + pair_draw(dice, 8);
    if (pair_draw(dice, 5) == 1) plan->max_recipients = 1 + pair_draw(dice, 4);
    if (pair_draw(dice, 8) == 1) plan->max_messages = 1 + pair_draw(dice, 4);
    if (pair_draw(dice, 8) == 1) plan->max_size = 1 + pair_draw(dice, 5000);
    plan->no_result = pair_draw(dice, 4) == 1;
}

static void draw_manner(pair_plan *plan, pair_dice *dice)
{
    static const uint32_t cuts[] = { 0, 1, 3, 20, 100, 700, 5000 };
    plan->chain = (int)pair_draw(dice, 4);
    plan->noops = pair_draw(dice, 3) == 1 ? pair_draw(dice, 5) : 0;
    plan->lazy = (int)pair_draw(dice, 2);
    for (int i = 0; i < 2; i++) {
        plan->room[i] = pair_draw(dice, 2) ? 1 + pair_draw(dice, 3000) : 0;
        plan->read_max[i] = cuts[pair_draw(dice, 7)];
    }
    plan->piece_max = cuts[pair_draw(dice, 7)];
    plan->body_max = cuts[pair_draw(dice, 7)];
    plan->later = (int)pair_draw(dice, 3);
    plan->lender = (int)pair_draw(dice, 2);
}

static void draw_faults(pair_plan *plan, pair_dice *dice)
{
    uint16_t greeting = draw_code(dice, 30);
    if (greeting > PAIR_FAIL) greeting = greeting < 500 ? 421 : 554; /* no other may greet */
    plan->greeting_code = greeting;
    plan->hello_code = draw_code(dice, 30);
    if (pair_draw(dice, 2) == 1) {
        plan->broken = 1 + (int)pair_draw(dice, 4);
        plan->broken_side = (int)pair_draw(dice, 2);
        plan->broken_at = pair_draw(dice, pair_draw(dice, 3) == 1 ? 16000 : 700);
    }
    if (pair_draw(dice, 10) == 1) plan->jumps = 20 + pair_draw(dice, 200);
    if (plan->lender && pair_draw(dice, 10) == 1) plan->fail_lend = 1 + pair_draw(dice, 12);
}

void pair_plan_draw(pair_plan *plan, pair_dice *dice, char *arena)
{
    size_t left = PAIR_ARENA;
    memset(plan, 0, sizeof *plan);
    draw_offer(plan, dice);
    draw_manner(plan, dice);
    draw_faults(plan, dice);
    plan->count = 1 + pair_draw(dice, PAIR_LETTERS_MAX);
    for (size_t i = 0; i < plan->count; i++) draw_letter(&plan->letters[i], dice, &arena, &left);
}
