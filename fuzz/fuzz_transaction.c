/* Transactions against a server that says what the input has it say.
 *
 * The first line of an input is "switches:letters", the rest the server's replies. The server here reads what the
 * client writes, knows which reply it owes, and takes the next one of the input for it, or says yes where there is
 * none; so it knows the truth about each recipient, and the client's outcomes are held against it. A line of "!word"
 * among the replies is something that happens instead (see happen). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ehlo/transaction.h>

#include "canon.h"
#include "check.h"

enum { LETTERS_MAX = 4, RCPTS_MAX = 5, OWED_MAX = 128, TEXT_MAX = 1 << 14, STEPS_MAX = 2000000 };

/* What the server owes a reply for. */
typedef enum debt {
    OWES_GREETING,
    OWES_ANY,
    OWES_HELLO,
    OWES_MAIL,
    OWES_RCPT,
    OWES_DATA,
    OWES_CHUNK,
    OWES_LAST, /* a last chunk: what it turns into depends on the replies before it */
    OWES_FINAL
} debt;

typedef struct owed {
    debt what;
    size_t letter, rcpt; /* RCPT */
    int synchronises;    /* nothing may follow before it is paid */
    size_t accepted_at;  /* FINAL: index among the accepted; SIZE_MAX: all of them */
    int unchanged;       /* FINAL, LAST: the octets are those of the letter that was addressed */
} owed;

typedef struct letter {
    struct run *r;
    size_t index;
    ehlo_str content;
    ehlo_envelope envelope;
    ehlo_recipient rcpts[RCPTS_MAX];
    char text[RCPTS_MAX][24];
    int pulls, pushes, sent_all;
    int started, done, cancelled;
    ehlo_transaction *t;
    void *mem;
    char *view;
    size_t view_len;
    uint64_t offset;
    int asked, waits;
    int took[RCPTS_MAX];   /* times that the server said 2yz in the final place of this recipient */
    int spoilt[RCPTS_MAX]; /* one of them for octets that are not the letter's */
} letter;

enum wire { WIRE_LINE, WIRE_CHUNK, WIRE_MESSAGE };

typedef struct run {
    ehlo_client *client;
    ehlo_client_config config;
    letter letters[LETTERS_MAX];
    size_t count, next;
    int chains, by_octets, ready, quit, failed, over, closes;
    size_t piece_max, write_max;
    unsigned writes, pulls;
    uint64_t now;
    int verbose;

    /* the server */
    const char *script;
    size_t script_left;
    owed debts[OWED_MAX];
    size_t debt_count;
    int holds;   /* replies only where nothing else can happen */
    int fails;   /* writes fail */
    int unasked; /* a reply was said that was not owed */
    int paused;  /* such a one is to be read before any more is written */
    int silent;  /* never says anything again */
    int in_mail; /* MAIL was accepted */
    size_t accepted[LETTERS_MAX * RCPTS_MAX][2];
    size_t accepted_count;
    size_t addressed; /* the letter of the last RCPT read */
    enum wire wire;
    char line[EHLO_LINE_MAX + 2];
    size_t column;
    uint64_t chunk_left;
    int chunk_last, chunked, dead; /* dead: a chunk was refused */
    ehlo_codec codec;
    ehlo_decoder decoder;
    char wired[TEXT_MAX];
    size_t wired_len, wired_at;
    char body[TEXT_MAX];
    size_t body_len;
    char *hold; /* said, not yet consumed by the client */
    size_t held, hold_cap;
    size_t offered; /* of it, where that is offered octet by octet */
    int due;        /* HAPPENS_*: what the script asked for, to be done outside the session */
} run;

/* -- the script ------------------------------------------------------------------------------------- */

static ehlo_str next_line(run *r)
{
    const char *end = r->script_left > 0 ? memchr(r->script, '\n', r->script_left) : NULL;
    size_t len = end != NULL ? (size_t)(end - r->script) + 1 : r->script_left;
    ehlo_str line = ehlo_str_make(r->script, len);
    r->script += len;
    r->script_left -= len;
    return line;
}

static void happen(run *r, ehlo_str word);

/* The next reply of the script: lines up to one that no '-' carries on; empty if it is used up. */
static ehlo_str next_reply(run *r)
{
    while (r->script_left > 0 && *r->script == '!') happen(r, next_line(r));
    ehlo_str reply = ehlo_str_make(r->script, 0);
    while (r->script_left > 0) {
        ehlo_str line = next_line(r);
        reply.len += line.len;
        if (line.len < 4 || line.ptr[3] != '-') break;
    }
    return reply;
}

static void say(run *r, ehlo_str s)
{
    if (r->held + s.len > r->hold_cap) {
        r->hold_cap = 2 * (r->held + s.len);
        r->hold = realloc(r->hold, r->hold_cap);
        CHECK(r->hold != NULL);
    }
    if (s.len > 0) memcpy(r->hold + r->held, s.ptr, s.len);
    r->held += s.len;
    if (r->verbose) fprintf(stderr, "S: %.*s", (int)s.len, s.ptr);
}

/* Its code if it is a whole, well-formed reply; otherwise 0. */
static uint16_t code_of(ehlo_str reply)
{
    uint16_t code = 0;
    while (reply.len > 0) {
        const char *end = memchr(reply.ptr, '\n', reply.len);
        if (end == NULL || end == reply.ptr || end[-1] != '\r') return 0;
        size_t len = (size_t)(end - reply.ptr);
        ehlo_reply_line line;
        if (ehlo_reply_line_parse(ehlo_str_make(reply.ptr, len - 1), &line, NULL) != EHLO_OK) return 0;
        if (line.code < 200 || (code != 0 && line.code != code)) return 0;
        code = line.code;
        reply = ehlo_str_make(end + 1, reply.len - len - 1);
        if (line.last) return reply.len == 0 ? code : 0;
    }
    return 0;
}

/* -- the truth -------------------------------------------------------------------------------------- */

static int is_unchanged(const run *r)
{
    const letter *l = &r->letters[r->addressed];
    canon_way way = { r->chunked, l->envelope.body, r->config.bare_cr, r->config.bare_lf };
    return canon_arrived(&way, l->content, r->body, r->body_len);
}

static void took(run *r, size_t index, int unchanged)
{
    letter *l = &r->letters[r->accepted[index][0]];
    size_t rcpt = r->accepted[index][1];
    l->took[rcpt]++;
    l->spoilt[rcpt] |= !unchanged;
}

static void paid_mail(run *r, int yes)
{
    r->in_mail = yes;
    r->accepted_count = 0;
    r->dead = 0;
}

static void paid_rcpt(run *r, const owed *o, int yes)
{
    if (!yes || !r->in_mail) return;
    r->accepted[r->accepted_count][0] = o->letter;
    r->accepted[r->accepted_count++][1] = o->rcpt;
}

static void paid_data(run *r, uint16_t code)
{
    if (code / 100 != 3) return; /* RFC 5321 4.2.1: the first digit decides */
    r->wire = WIRE_MESSAGE;
    r->wired_len = r->wired_at = 0;
    r->body_len = 0;
    r->chunked = 0;
    ehlo_decoder_init(&r->decoder);
}

static void paid_final(run *r, const owed *o, int yes)
{
    for (size_t i = 0; i < r->accepted_count && yes; i++) {
        if (o->accepted_at == SIZE_MAX || o->accepted_at == i) took(r, i, o->unchanged);
    }
    if (o->accepted_at == SIZE_MAX || o->accepted_at + 1 == r->accepted_count) r->in_mail = 0;
}

/* What a reply means, once it is said. */
static void paid(run *r, const owed *o, uint16_t code)
{
    int yes = code / 100 == 2;
    if (o->what == OWES_MAIL) paid_mail(r, yes);
    if (o->what == OWES_RCPT) paid_rcpt(r, o, yes);
    if (o->what == OWES_DATA) paid_data(r, code);
    if (o->what == OWES_CHUNK && !yes) r->dead = 1;
    if (o->what == OWES_FINAL) paid_final(r, o, yes);
}

/* -- replies ---------------------------------------------------------------------------------------- */

static ehlo_str default_reply(const run *r, const owed *o)
{
    static const char offers[] = "250-mx.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-SIZE\r\n"
                                 "250-SMTPUTF8\r\n250-DSN\r\n250 8BITMIME\r\n";
    if (o->what == OWES_GREETING) return ehlo_str_from("220 mx.example\r\n");
    if (o->what == OWES_HELLO) return ehlo_str_from(offers);
    if (o->what == OWES_RCPT && !r->in_mail) return ehlo_str_from("503 5.5.1 no\r\n");
    if (o->what == OWES_CHUNK && r->accepted_count == 0) return ehlo_str_from("503 5.5.1 no\r\n");
    if (o->what == OWES_DATA) return ehlo_str_from(r->accepted_count > 0 ? "354 go ahead\r\n" : "554 5.5.1 no\r\n");
    return ehlo_str_from("250 2.0.0 yes\r\n");
}

/* A last chunk ends a message, with a reply for each recipient in LMTP, or is one more that is refused. */
static void expand_last(run *r)
{
    owed o = r->debts[0];
    int ends = !r->dead && r->in_mail && r->accepted_count > 0;
    size_t n = ends && (r->config.flags & EHLO_CLIENT_LMTP) ? r->accepted_count : 1;
    CHECK(r->debt_count + n <= OWED_MAX);
    memmove(r->debts + n, r->debts + 1, (r->debt_count - 1) * sizeof o);
    r->debt_count += n - 1;
    o.what = ends ? OWES_FINAL : OWES_CHUNK;
    for (size_t i = 0; i < n; i++) {
        o.accepted_at = r->config.flags & EHLO_CLIENT_LMTP ? i : SIZE_MAX;
        r->debts[i] = o;
    }
}

/* Pays the oldest debt. Behind a reply that is none nothing is said any more: the client has to end of itself. */
static void pay(run *r)
{
    ehlo_str reply = r->silent ? ehlo_str_make(NULL, 0) : next_reply(r);
    if (r->silent || r->over) return;
    uint16_t code = code_of(reply);
    if (r->debt_count == 0) {
        r->unasked |= code != 0;
        r->paused = reply.len > 0;
        r->silent = reply.len > 0;
        say(r, reply);
        return;
    }
    if (r->debts[0].what == OWES_LAST) expand_last(r);
    owed o = r->debts[0];
    memmove(r->debts, r->debts + 1, --r->debt_count * sizeof o);
    if (reply.len == 0) reply = default_reply(r, &o);
    code = code_of(reply);
    r->silent |= code == 0;
    paid(r, &o, code);
    say(r, reply);
}

static void enlist(run *r, owed o)
{
    CHECK(r->debt_count < OWED_MAX);
    const owed *last = r->debt_count > 0 ? &r->debts[r->debt_count - 1] : NULL;
    int pipelines = (ehlo_client_offers(r->client)->caps & EHLO_CAP_PIPELINING) != 0;
    if (last != NULL && o.what != OWES_FINAL && !r->silent) {
        CHECK(pipelines && !(r->config.flags & EHLO_CLIENT_NO_PIPELINING) && !last->synchronises);
    }
    r->debts[r->debt_count++] = o;
}

static void pay_all(run *r)
{
    while (r->debt_count > 0 && !r->silent && !r->holds) pay(r);
}

static void owe(run *r, owed o)
{
    enlist(r, o);
    pay_all(r);
}

static void owe_finals(run *r)
{
    owed o = { OWES_FINAL, 0, 0, 0, SIZE_MAX, is_unchanged(r) };
    size_t n = r->config.flags & EHLO_CLIENT_LMTP ? r->accepted_count : 1;
    for (size_t i = 0; i < n; i++) {
        if (r->config.flags & EHLO_CLIENT_LMTP) o.accepted_at = i;
        enlist(r, o); /* all of them are owed at once, whenever each is said */
    }
    pay_all(r);
}

/* -- what the client writes ------------------------------------------------------------------------- */

static void find_rcpt(const run *r, ehlo_str mailbox, owed *o)
{
    for (o->letter = 0; o->letter < r->count; o->letter++) {
        const letter *l = &r->letters[o->letter];
        for (o->rcpt = 0; o->rcpt < l->envelope.nrcpts; o->rcpt++) {
            if (mailbox.len == strlen(l->text[o->rcpt]) && memcmp(mailbox.ptr, l->text[o->rcpt], mailbox.len) == 0)
                return;
        }
    }
    CHECK(o->letter < r->count);
}

/* Every parameter is one that was offered. */
static void read_mail(run *r, ehlo_str argument)
{
    ehlo_param_rules rules = { ehlo_client_offers(r->client)->caps, 0, 0 };
    ehlo_mail mail;
    owed o = { OWES_MAIL, 0, 0, 0, 0, 0 };
    CHECK(ehlo_mail_parse(argument, &rules, &mail, NULL) == EHLO_OK);
    r->body_len = 0;
    r->chunked = 0;
    owe(r, o);
}

static void read_rcpt(run *r, ehlo_str argument)
{
    ehlo_param_rules rules = { ehlo_client_offers(r->client)->caps, EHLO_SYNTAX_UTF8, 0 };
    ehlo_rcpt rcpt;
    owed o = { OWES_RCPT, 0, 0, 0, 0, 0 };
    CHECK(ehlo_rcpt_parse(argument, &rules, &rcpt, NULL) == EHLO_OK);
    find_rcpt(r, rcpt.path.mailbox, &o);
    r->addressed = o.letter;
    owe(r, o);
}

static void chunk_ends(run *r)
{
    owed o = { r->chunk_last ? OWES_LAST : OWES_CHUNK, 0, 0, 0, 0, r->chunk_last && is_unchanged(r) };
    r->wire = WIRE_LINE;
    owe(r, o);
}

static void read_bdat(run *r, ehlo_str argument)
{
    CHECK(ehlo_bdat_parse(argument, &r->chunk_left, &r->chunk_last, NULL) == EHLO_OK);
    r->chunked = 1;
    r->wire = WIRE_CHUNK;
    if (r->chunk_left == 0) chunk_ends(r);
}

static void read_line(run *r)
{
    ehlo_command_line command;
    ehlo_str line = ehlo_str_make(r->line, r->column - 2);
    owed o = { OWES_ANY, 0, 0, 1, 0, 0 };
    r->column = 0;
    if (r->verbose) fprintf(stderr, "C: %.*s\n", (int)line.len, line.ptr);
    CHECK(ehlo_command_parse(line, &command, NULL) == EHLO_OK);
    switch (command.verb) {
    case EHLO_VERB_MAIL:
        read_mail(r, command.argument);
        return;
    case EHLO_VERB_RCPT:
        read_rcpt(r, command.argument);
        return;
    case EHLO_VERB_BDAT:
        read_bdat(r, command.argument);
        return;
    case EHLO_VERB_DATA:
        o.what = OWES_DATA;
        break;
    case EHLO_VERB_RSET:
        o.synchronises = 0;
        break;
    default:
        CHECK(command.verb == EHLO_VERB_EHLO || command.verb == EHLO_VERB_HELO || command.verb == EHLO_VERB_LHLO ||
              command.verb == EHLO_VERB_QUIT);
        if (command.verb != EHLO_VERB_QUIT) o.what = OWES_HELLO;
    }
    owe(r, o);
}

static void read_line_octet(run *r, char octet)
{
    CHECK(r->column < sizeof r->line && octet != '\0');
    CHECK(r->column == 0 || r->line[r->column - 1] != '\r' || octet == '\n');
    CHECK(octet != '\n' || (r->column > 0 && r->line[r->column - 1] == '\r'));
    r->line[r->column++] = octet;
    if (octet == '\n') read_line(r);
}

/* "!early" among the replies: one is said while the message is on its way. */
static void read_early(run *r)
{
    static const char word[] = "!early\n";
    if (r->script_left < sizeof word - 1 || memcmp(r->script, word, sizeof word - 1) != 0 || r->debt_count > 0) return;
    (void)next_line(r);
    pay(r);
}

static void read_message_octet(run *r, char octet)
{
    CHECK(r->wired_len < sizeof r->wired);
    r->wired[r->wired_len++] = octet;

    for (int step = EHLO_BODY_SLICE; step == EHLO_BODY_SLICE;) {
        size_t used;
        ehlo_str slice;
        step = ehlo_decode(&r->decoder, &r->codec, r->wired + r->wired_at, r->wired_len - r->wired_at, &used, &slice);
        CHECK(step == EHLO_BODY_MORE || step == EHLO_BODY_SLICE || step == EHLO_BODY_END);
        r->wired_at += used;
        if (slice.len > 0) memcpy(r->body + r->body_len, slice.ptr, slice.len);
        r->body_len += slice.len;
        if (step != EHLO_BODY_END) continue;
        r->wire = WIRE_LINE;
        if (r->accepted_count > 0 || !(r->config.flags & EHLO_CLIENT_LMTP)) owe_finals(r);
    }
    if (r->wire == WIRE_MESSAGE) read_early(r);
}

static void read_chunk_octet(run *r, char octet)
{
    CHECK(r->body_len < sizeof r->body);
    r->body[r->body_len++] = octet;
    if (--r->chunk_left == 0)
        chunk_ends(r);
    else
        read_early(r);
}

/* How many of them were read. */
static size_t read_octets(run *r, ehlo_str part)
{
    size_t i = 0;
    for (; i < part.len && !r->paused; i++) {
        if (r->wire == WIRE_LINE)
            read_line_octet(r, part.ptr[i]);
        else if (r->wire == WIRE_CHUNK)
            read_chunk_octet(r, part.ptr[i]);
        else
            read_message_octet(r, part.ptr[i]);
    }
    return i;
}

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    run *r = user;
    size_t room = r->write_max;
    (void)c;
    CHECK(!r->over && !r->failed && n > 0);
    *taken = 0;
    if (r->fails) {
        r->failed = 1;
        return -1;
    }
    if (r->write_max != SIZE_MAX && r->writes++ % 2 == 0) return 0;
    for (size_t i = 0; i < n && room > 0 && !r->paused; i++) {
        size_t len = parts[i].len < room ? parts[i].len : room;
        len = read_octets(r, ehlo_str_make(parts[i].ptr, len));
        *taken += len;
        room -= len;
    }
    return 0;
}

/* -- the client's application ----------------------------------------------------------------------- */

static int pulled(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    letter *l = user;
    run *r = l->r;
    CHECK(!l->done && offset <= l->content.len);
    CHECK(offset == 0 || (offset >= l->offset && offset <= l->offset + l->view_len));
    if (l->view != NULL) memset(l->view, 0xDD, l->view_len);
    free(l->view);
    l->view = NULL;
    l->view_len = 0;
    l->offset = offset;
    if (r->piece_max != SIZE_MAX && !l->asked++) {
        l->waits = r->pulls++ % 2 == 0;
        if (!l->waits) CHECK(ehlo_transaction_resume(t, r->now) == EHLO_OK);
        return EHLO_LATER;
    }
    l->asked = 0;
    size_t left = l->content.len - (size_t)offset;
    l->view_len = left < r->piece_max ? left : r->piece_max;
    l->view = malloc(l->view_len > 0 ? l->view_len : 1);
    CHECK(l->view != NULL);
    memcpy(l->view, l->content.ptr + offset, l->view_len);
    *piece = ehlo_str_make(l->view, l->view_len);
    *last = l->view_len == left && (left == 0 || r->pulls % 3 != 0);
    return EHLO_OK;
}

static void start_next(run *r);

static void on_next(ehlo_transaction *t, void *user)
{
    letter *l = user;
    (void)t;
    if (l->r->chains) start_next(l->r);
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    letter *l = user;
    int worst = EHLO_OUTCOME_NONE;
    (void)t;
    CHECK(l->done++ == 0);
    for (size_t i = 0; i < l->envelope.nrcpts; i++) {
        CHECK(l->rcpts[i].outcome != EHLO_OUTCOME_NONE);
        if (l->rcpts[i].outcome > worst) worst = l->rcpts[i].outcome;
    }
    CHECK(outcome == worst);
    free(l->view);
    free(l->mem);
    l->view = l->mem = NULL;
}

static void start_next(run *r)
{
    static const ehlo_transaction_callbacks pull = { pulled, NULL, on_next, on_done };
    static const ehlo_transaction_callbacks other = { NULL, NULL, on_next, on_done };
    if (r->next >= r->count || !(ehlo_client_wants(r->client) & EHLO_WANT_NEXT)) return;
    letter *l = &r->letters[r->next++];
    l->mem = malloc(ehlo_transaction_size());
    l->started = 1;
    CHECK(ehlo_transaction_start(&l->t, l->mem, ehlo_transaction_size(), r->client, &l->envelope,
                                 l->pulls ? &pull : &other, l, NULL) == EHLO_OK);
}

static void on_hello(ehlo_client *c, const ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)c;
    if (reply != NULL && reply->code / 100 == 2) r->ready = 1;
    if (r->ready && r->chains) start_next(r);
}

static void on_greeting(ehlo_client *c, const ehlo_reply *reply, void *user)
{
    if (reply != NULL && reply->code / 100 == 2) CHECK(ehlo_client_hello(c, on_hello, user) == EHLO_OK);
}

static void on_close(ehlo_client *c, int reason, void *user)
{
    run *r = user;
    CHECK(reason != 0 && reason == ehlo_client_reason(c));
    r->closes++;
}

/* -- what happens ----------------------------------------------------------------------------------- */

static int under_way(const letter *l)
{
    return l->started && !l->done;
}

static void moved(run *r, int result)
{
    CHECK(result == EHLO_OK || (r->failed && result == EHLO_ERR_TRANSPORT));
    unsigned wants = ehlo_client_wants(r->client);
    if (!(wants & EHLO_WANT_CLOSE)) {
        CHECK(!r->over && !r->failed);
        return;
    }
    CHECK(wants == EHLO_WANT_CLOSE);
    r->over = 1;
}

enum { HAPPENS_NOTHING, HAPPENS_EOF, HAPPENS_LOST, HAPPENS_TIME, HAPPENS_CANCEL };

static int is_word(ehlo_str line, const char *word)
{
    return line.len >= strlen(word) && memcmp(line.ptr, word, strlen(word)) == 0;
}

static void happen(run *r, ehlo_str line)
{
    if (is_word(line, "!hold")) r->holds = 1;
    if (is_word(line, "!go")) r->holds = 0;
    if (is_word(line, "!fail")) r->fails = 1;
    if (is_word(line, "!silent")) r->silent = 1;
    if (is_word(line, "!twice") && r->debt_count > 0) pay(r); /* and one more, which perhaps nobody asked for */
    if (is_word(line, "!eof")) r->due = HAPPENS_EOF;
    if (is_word(line, "!lost")) r->due = HAPPENS_LOST;
    if (is_word(line, "!time")) r->due = HAPPENS_TIME;
    if (is_word(line, "!cancel")) r->due = HAPPENS_CANCEL;
    if (r->due == HAPPENS_EOF || r->due == HAPPENS_LOST) r->silent = 1;
}

static void pass_time(run *r)
{
    uint64_t deadline = ehlo_client_deadline(r->client);
    CHECK(deadline != UINT64_MAX);
    if (deadline > r->now) r->now = deadline;
    moved(r, ehlo_client_tick(r->client, r->now));
    CHECK(r->over || ehlo_client_deadline(r->client) > r->now);
}

static void cancel(run *r)
{
    for (size_t i = 0; i < r->count; i++) {
        letter *l = &r->letters[i];
        if (!under_way(l) || l->cancelled) continue;
        int result = ehlo_transaction_cancel(l->t, r->now);
        if (result == EHLO_ERR_STATE) continue;
        moved(r, result);
        l->cancelled = 1;
        return;
    }
}

static int feed(run *r)
{
    size_t used = 0, len = r->held, before = r->offered;
    unsigned wants = ehlo_client_wants(r->client);

    if (r->held == 0 || !(wants & EHLO_WANT_READ)) return 0;
    if (r->by_octets && before < r->held) len = before + 1;
    char *block = malloc(len);
    CHECK(block != NULL);
    memcpy(block, r->hold, len);
    moved(r, ehlo_client_feed(r->client, r->now, block, len, &used));
    memset(block, 0xDD, len);
    free(block);
    CHECK(used <= len);
    memmove(r->hold, r->hold + used, r->held - used);
    r->held -= used;
    if (r->held == 0) r->paused = 0;
    r->offered = used > 0 ? 0 : len;
    if (!r->over && used == 0 && (ehlo_client_wants(r->client) & EHLO_WANT_READ)) {
        CHECK(len < ehlo_client_input_min(r->client));
    }
    return used > 0 || len > before;
}

static int push(run *r)
{
    for (size_t i = 0; i < r->count; i++) {
        letter *l = &r->letters[i];
        if (!under_way(l) || !l->pushes || l->sent_all) continue;
        size_t used = 0, left = l->content.len - (size_t)l->offset, len = left < r->piece_max ? left : r->piece_max;
        char *block = malloc(len > 0 ? len : 1);
        CHECK(block != NULL);
        memcpy(block, l->content.ptr + l->offset, len);
        int result = ehlo_transaction_push(l->t, r->now, block, len, len == left, &used);
        memset(block, 0xDD, len);
        free(block);
        CHECK(used <= len);
        if (result != EHLO_ERR_STATE) moved(r, result);
        l->offset += used;
        l->sent_all = used == left || result == EHLO_ERR_STATE; /* nobody is to get it any more */
        if (used > 0 || l->sent_all || l->done) return 1;
    }
    return 0;
}

static int resume(run *r)
{
    for (size_t i = 0; i < r->count; i++) {
        letter *l = &r->letters[i];
        if (!under_way(l) || !l->waits) continue;
        l->waits = 0;
        moved(r, ehlo_transaction_resume(l->t, r->now));
        return 1;
    }
    return 0;
}

static int do_due(run *r)
{
    int what = r->due;
    r->due = HAPPENS_NOTHING;
    if (what == HAPPENS_EOF && r->held > 0 && (ehlo_client_wants(r->client) & EHLO_WANT_READ) && feed(r)) {
        r->due = what; /* what was said before comes first */
        return 1;
    }
    if (r->over) return 0;
    if (what == HAPPENS_EOF) moved(r, ehlo_client_eof(r->client, r->now));
    if (what == HAPPENS_TIME) pass_time(r);
    if (what == HAPPENS_CANCEL) cancel(r);
    if (what == HAPPENS_LOST) {
        CHECK(ehlo_client_lost(r->client) == EHLO_OK);
        r->over = 1;
        CHECK(ehlo_client_wants(r->client) == EHLO_WANT_CLOSE);
    }
    return what != HAPPENS_NOTHING;
}

static int flush(run *r)
{
    if (r->paused || !(ehlo_client_wants(r->client) & EHLO_WANT_WRITE)) return 0;
    unsigned before = r->writes;
    moved(r, ehlo_client_flush(r->client, r->now));
    CHECK(r->over || r->write_max == SIZE_MAX || r->writes > before ||
          !(ehlo_client_wants(r->client) & EHLO_WANT_WRITE));
    return 1;
}

static int begin_letter(run *r)
{
    size_t before = r->next;
    if (!r->ready || (!r->chains && r->next > 0 && !r->letters[r->next - 1].done)) return 0;
    start_next(r);
    if (r->next == before) return 0;
    moved(r, ehlo_client_flush(r->client, r->now));
    return 1;
}

static int say_quit(run *r)
{
    if (r->quit) return 0;
    for (size_t i = 0; i < r->count; i++) {
        if (under_way(&r->letters[i])) return 0;
    }
    int result = ehlo_client_command(r->client, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
    r->quit = result == EHLO_OK;
    if (!r->quit) return 0;
    moved(r, ehlo_client_flush(r->client, r->now));
    return 1;
}

static int pay_late(run *r)
{
    if (r->debt_count == 0 || r->silent) return 0;
    pay(r);
    return 1;
}

static void talk(run *r)
{
    static int (*const moves[])(run *) = { do_due, flush, feed, resume, push, begin_letter, pay_late, say_quit };
    for (int steps = 0; !r->over; steps++) {
        size_t i = 0;
        CHECK(steps < STEPS_MAX);
        while (i < sizeof moves / sizeof moves[0] && !r->over && !moves[i](r)) i++;
        if (i < sizeof moves / sizeof moves[0]) continue;
        CHECK(!r->unasked || r->held > 0 || r->over);
        if (!r->over) pass_time(r);
    }
}

/* -- a run ------------------------------------------------------------------------------------------ */

/* 552 to RCPT may mean too many recipients, and a 250 to DATA nothing. */
static int may_defer(const ehlo_recipient *rcpt)
{
    return rcpt->code == 0 || rcpt->code / 100 == 4 || (rcpt->code == 552 && rcpt->stage == EHLO_STAGE_RCPT) ||
           (rcpt->code / 100 == 2 && rcpt->stage == EHLO_STAGE_DATA);
}

static void judge(const run *r, const letter *l)
{
    for (size_t i = 0; i < l->envelope.nrcpts; i++) {
        int outcome = l->rcpts[i].outcome;
        if (r->verbose)
            fprintf(stderr, "letter %zu: %zu: outcome %d, %d, took %d\n", l->index, i, outcome, l->rcpts[i].code,
                    l->took[i]);
        if (outcome == EHLO_OUTCOME_DELIVERED) {
            CHECK(l->took[i] == 1 && !l->spoilt[i]);
            CHECK(l->rcpts[i].code / 100 == 2 && l->rcpts[i].stage == EHLO_STAGE_FINAL);
        } else if (outcome == EHLO_OUTCOME_UNCERTAIN) {
            CHECK(l->took[i] <= 1 && l->rcpts[i].stage == EHLO_STAGE_FINAL);
        } else {
            CHECK(l->took[i] == 0);
        }
        if (outcome == EHLO_OUTCOME_REJECTED) CHECK(l->rcpts[i].code == 0 || l->rcpts[i].code / 100 == 5);
        if (outcome == EHLO_OUTCOME_DEFERRED) CHECK(may_defer(&l->rcpts[i]));
    }
}

static const struct {
    const char *text;
    size_t len;
} contents[] = { { "text\r\n", 6 },       { "", 0 },       { ".\r\n..\r\n.", 8 }, { "a\nb\n", 4 }, { "no end", 6 },
                 { "gr\xC3\xBC\r\n", 6 }, { "\0\r\n", 3 }, { "a\rb\r\n", 5 } };

static void letter_switch(letter *l, char c, char *large)
{
    ehlo_envelope *e = &l->envelope;
    if (c >= '1' && c <= '5') e->nrcpts = (size_t)(c - '0');
    if (c >= 'A' && c <= 'H') l->content = ehlo_str_make(contents[c - 'A'].text, contents[c - 'A'].len);
    if (c == 'L') l->content = ehlo_str_make(large, 4500);
    if (c == 'f') l->pulls = 1;
    if (c == 'q') l->pushes = 1;
    if (c == '7') e->body = EHLO_BODY_7BIT;
    if (c == '8') e->body = EHLO_BODY_8BITMIME;
    if (c == 'b') e->body = EHLO_BODY_BINARYMIME;
    if (c == 'u') e->flags |= EHLO_SEND_UTF8;
    if (c == 'r') e->flags |= EHLO_SEND_REQUIRETLS;
    if (c == 'a') e->flags |= EHLO_SEND_ALL_OR_NONE;
    if (c == 's') e->size = 100;
    if (c == 'd') {
        e->envid = ehlo_str_from("id");
        e->ret = EHLO_RET_FULL;
    }
}

static letter *new_letter(run *r)
{
    letter *l = &r->letters[r->count];
    l->r = r;
    l->index = r->count++;
    l->content = ehlo_str_make(contents[0].text, contents[0].len);
    l->envelope.from = ehlo_str_from("a@a.example");
    l->envelope.rcpts = l->rcpts;
    l->envelope.nrcpts = 1;
    for (size_t i = 0; i < RCPTS_MAX; i++) {
        snprintf(l->text[i], sizeof l->text[i], "r%zu.%zu@b.example", l->index, i);
        l->rcpts[i].to = ehlo_str_from(l->text[i]);
    }
    return l;
}

static void run_switch(run *r, char c)
{
    ehlo_client_config *config = &r->config;
    if (c == 'l') config->flags |= EHLO_CLIENT_LMTP;
    if (c == 'p') config->flags |= EHLO_CLIENT_NO_PIPELINING;
    if (c == 'c') config->flags |= EHLO_CLIENT_NO_CHUNKING;
    if (c == 'n') config->bare_cr = config->bare_lf = EHLO_BARE_NORMALISE;
    if (c == 'P') config->bare_cr = config->bare_lf = EHLO_BARE_PASS;
    if (c == 'w') config->window = 2;
    if (c == 'o') r->by_octets = 1;
    if (c == 'x') r->chains = 1;
    if (c == '1') r->piece_max = 1;
    if (c == '3') r->piece_max = 3;
    if (c == '9') r->piece_max = 900;
    if (c == 'y') r->write_max = 1;
    if (c == 'z') r->write_max = 37;
}

static void read_head(run *r, const char *at, const char *end, char *large)
{
    letter *l = NULL;
    for (; at < end && *at != ':'; at++) run_switch(r, *at);
    for (l = new_letter(r), at += at < end; at < end; at++) {
        if (*at == '|' && r->count < LETTERS_MAX)
            l = new_letter(r);
        else
            letter_switch(l, *at, large);
    }
    for (size_t i = 0; i < r->count; i++) {
        l = &r->letters[i];
        if (!l->pulls && !l->pushes) l->envelope.content = l->content.len > 0 ? l->content : ehlo_str_make("", 0);
        if (l->pulls) l->pushes = 0;
    }
}

static void set_up(run *r, const char *text, size_t size)
{
    static char large[4500];
    const char *end = memchr(text, '\n', size);
    if (end == NULL) end = text + size;
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = i % 60 == 58 ? '\r' : i % 60 == 59 ? '\n' : (char)('a' + i % 25);
    memset(r, 0, sizeof *r);
    r->verbose = getenv("EHLO_FUZZ_VERBOSE") != NULL;
    r->piece_max = r->write_max = SIZE_MAX;
    r->now = 1;
    r->config.name = ehlo_str_from("c.example");
    CHECK(ehlo_codec_init(&r->codec, EHLO_BARE_REJECT, EHLO_BARE_REJECT, 0) == EHLO_OK);
    read_head(r, text, end, large);
    r->script = end < text + size ? end + 1 : end;
    r->script_left = (size_t)(text + size - r->script);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ehlo_client_callbacks callbacks = { on_write, NULL, on_close, NULL };
    static run r;
    if (size == 0) return 0;
    set_up(&r, (const char *)data, size);
    size_t len = ehlo_client_size(&r.config);
    void *mem = malloc(len);
    CHECK(ehlo_client_init(&r.client, mem, len, &r.config, &callbacks, &r) == EHLO_OK);
    moved(&r, ehlo_client_start(r.client, r.now, on_greeting, &r));
    owed greeting = { OWES_GREETING, 0, 0, 1, 0, 0 };
    owe(&r, greeting);
    talk(&r);
    CHECK(ehlo_client_close(r.client) == EHLO_OK);
    CHECK(r.closes == 1);
    for (size_t i = 0; i < r.count; i++) {
        CHECK(!r.letters[i].started || r.letters[i].done == 1);
        if (r.letters[i].started) judge(&r, &r.letters[i]);
    }
    free(mem);
    free(r.hold);
    return 0;
}
