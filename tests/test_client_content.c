/* What a message is on the wire does not depend on how it was cut, pushed or pulled, nor on how the transport takes it;
 * and no reply is too long for what comes behind it. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <ehlo/transaction.h>

#include "arena.h"
#include "dummy_server.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { WIRE_MAX = 1 << 17 };

/* -- what should be on the wire --------------------------------------------------------------------- */

typedef struct growing {
    char bytes[WIRE_MAX];
    size_t len;
} growing;

static void grow(growing *g, const char *bytes, size_t len)
{
    assert_true(len <= WIRE_MAX - g->len);
    memcpy(g->bytes + g->len, bytes, len);
    g->len += len;
}

/* RFC 5321 2.3.8: lines end in CRLF, the last one too. */
static void write_lines(growing *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) grow(out, "\r", 1);
        grow(out, text + i, 1);
    }
}

/* RFC 5321 4.5.2 */
static void write_stuffed(growing *out, const growing *lines)
{
    for (size_t i = 0; i < lines->len; i++) {
        if (lines->bytes[i] == '.' && (i == 0 || lines->bytes[i - 1] == '\n')) grow(out, ".", 1);
        grow(out, lines->bytes + i, 1);
    }
    if (lines->len > 0 && lines->bytes[lines->len - 1] != '\n') grow(out, "\r\n", 2);
    grow(out, ".\r\n", 3);
}

/* -- a session that sends one message --------------------------------------------------------------- */

/* Who gives the octets: the caller of the protocol level, of a transaction, or a function of his. */
typedef enum giving { PUSHED_AT_CLIENT, PUSHED, PULLED, GIVINGS } giving;

/* How the text is cut, and how the transport takes it. */
typedef struct manner {
    giving how;
    const char *extensions;
    uint8_t body;
    size_t cuts[2];
    size_t take_max;
} manner;

typedef struct session {
    ehlo_client *client;
    ehlo_transaction *transaction;
    arena memory;
    arena transaction_memory;
    ehlo_recipient recipient;
    dummy_server server;
    growing wire; /* behind the envelope */
    int recording;
    size_t take_max; /* octets that one write takes; 0: all */
    giving how;
    uint8_t body;
    const char *text;
    size_t len;
    size_t cuts[2]; /* where the text is cut */
    size_t at;      /* octets that were pushed */
    int opened;     /* a message was announced at the client */
    int outcome;
} session;

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    session *s = user;
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        size_t room = s->take_max == 0 ? parts[i].len : s->take_max - *taken;
        size_t len = parts[i].len < room ? parts[i].len : room;
        if (s->recording) grow(&s->wire, parts[i].ptr, len);
        dummy_take(&s->server, parts[i].ptr, len);
        *taken += len;
        if (len < parts[i].len) break;
    }
    return 0;
}

/* The piece that begins at `at` reaches to the next cut. */
static size_t piece_at(const session *s, size_t at)
{
    for (size_t i = 0; i < COUNT(s->cuts); i++) {
        if (s->cuts[i] > at) return s->cuts[i] - at;
    }
    return s->len - at;
}

static int give_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    session *s = user;
    size_t at = (size_t)offset, len = piece_at(s, at);
    (void)t;
    *piece = ehlo_str_make(s->text + at, len);
    *last = at + len == s->len;
    return EHLO_OK;
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    session *s = user;
    (void)t;
    s->outcome = outcome;
    s->transaction = NULL;
}

static void on_final(ehlo_client *c, const ehlo_reply *r, void *user)
{
    (void)c;
    ((session *)user)->outcome = r != NULL && r->code == 250 ? EHLO_OUTCOME_DELIVERED : EHLO_OUTCOME_UNCERTAIN;
}

static void on_go_ahead(ehlo_client *c, const ehlo_reply *r, void *user)
{
    session *s = user;
    if (r == NULL) return;
    assert_int_equal(r->code, 354);
    assert_int_equal(ehlo_client_message(c, 1, on_final, s), EHLO_OK);
    s->opened = 1;
}

static void start_commands(session *s)
{
    ehlo_mail_command mail = { .mailbox = ehlo_str_from("a@b") };
    ehlo_rcpt_command rcpt = { .mailbox = ehlo_str_from("c@d") };
    const ehlo_str none = { NULL, 0 };
    assert_int_equal(ehlo_client_mail(s->client, &mail, NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_rcpt(s->client, &rcpt, NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_command(s->client, EHLO_VERB_DATA, none, on_go_ahead, s, NULL), EHLO_OK);
}

static void start_transaction(session *s)
{
    ehlo_transaction_callbacks callbacks = { .body = s->how == PULLED ? give_body : NULL, .on_done = on_done };
    s->recipient.to = ehlo_str_from("c@d");
    ehlo_envelope envelope = { .from = ehlo_str_from("a@b"), .rcpts = &s->recipient, .nrcpts = 1, .body = s->body };
    s->transaction_memory = arena_new(ehlo_transaction_size());
    assert_int_equal(ehlo_transaction_start(&s->transaction, s->transaction_memory.start, s->transaction_memory.len,
                                            s->client, &envelope, &callbacks, s, NULL),
                     EHLO_OK);
}

static void on_hello(ehlo_client *c, const ehlo_reply *r, void *user)
{
    session *s = user;
    (void)c;
    if (r == NULL) return;
    if (s->how == PUSHED_AT_CLIENT) {
        start_commands(s);
    } else {
        start_transaction(s);
    }
}

static void on_greeting(ehlo_client *c, const ehlo_reply *r, void *user)
{
    if (r != NULL) assert_int_equal(ehlo_client_hello(c, on_hello, user), EHLO_OK);
}

static void session_open(session *s, const manner *m)
{
    static const ehlo_client_callbacks callbacks = { .write = on_write };
    ehlo_client_config config = { .name = ehlo_str_from("client.example") };
    memset(s, 0, sizeof *s);
    s->how = m->how;
    s->body = m->body;
    s->take_max = m->take_max;
    memcpy(s->cuts, m->cuts, sizeof s->cuts);
    s->memory = arena_new(ehlo_client_size(&config));
    dummy_open(&s->server, m->extensions);
    assert_int_equal(ehlo_client_init(&s->client, s->memory.start, s->memory.len, &config, &callbacks, s), EHLO_OK);
    assert_int_equal(ehlo_client_start(s->client, 0, on_greeting, s), EHLO_OK);
}

static void session_close(session *s)
{
    assert_int_equal(ehlo_client_close(s->client), EHLO_OK);
    arena_free(&s->memory);
    if (s->transaction_memory.len != 0) arena_free(&s->transaction_memory);
}

/* Pushes what there is to push: 1 if any of it was taken. */
static int push(session *s)
{
    size_t used, len = piece_at(s, s->at);
    int result, last = s->at + len == s->len;
    int ready = s->how == PUSHED ? s->transaction != NULL : s->how == PUSHED_AT_CLIENT && s->opened;
    if (!ready || (s->at == s->len && s->len > 0) || ehlo_client_wants(s->client) & EHLO_WANT_WRITE) return 0;
    if (s->how == PUSHED) {
        result = ehlo_transaction_push(s->transaction, 0, s->text + s->at, len, last, &used);
    } else {
        result = ehlo_client_push(s->client, 0, s->text + s->at, len, last, &used);
    }
    assert_int_equal(result, EHLO_OK);
    s->at += used;
    return used > 0;
}

/* One round: 1 if anything has moved. What follows the server's reply to RCPT is recorded. */
static int move_on(session *s)
{
    size_t used = 0;
    if (s->server.replies_len > 0) {
        assert_int_equal(ehlo_client_feed(s->client, 0, s->server.replies, s->server.replies_len, &used), EHLO_OK);
        dummy_read(&s->server, used);
    }
    int moved = used > 0;
    if (ehlo_client_wants(s->client) & EHLO_WANT_WRITE) {
        assert_int_equal(ehlo_client_flush(s->client, 0), EHLO_OK);
        moved = 1;
    }
    return push(s) || moved || ehlo_client_wants(s->client) & EHLO_WANT_WRITE;
}

static const char data_command[] = "DATA\r\n";

/* What is on the wire behind the envelope is in s->wire. */
static void send_text(session *s, const manner *m, const char *text, size_t len)
{
    session_open(s, m);
    s->text = text;
    s->len = len;
    s->recording = 1;
    for (size_t rounds = 0; move_on(s); rounds++) assert_true(rounds < 1000000);
    if (s->outcome != EHLO_OUTCOME_DELIVERED) {
        fail_msg("by %d, cut at %zu and %zu, %zu octets at a time: outcome %d", m->how, m->cuts[0], m->cuts[1],
                 m->take_max, s->outcome);
    }
    assert_string_equal(s->server.fault, "");
    session_close(s);
}

/* -- DATA ------------------------------------------------------------------------------------------- */

/* Where the message begins; NULL if it went by chunks. */
static const char *after_data(const growing *wire, size_t *len)
{
    for (size_t at = 0; at + sizeof data_command - 1 <= wire->len; at++) {
        const char *behind = wire->bytes + at + sizeof data_command - 1;
        if (memcmp(wire->bytes + at, data_command, sizeof data_command - 1) != 0) continue;
        *len = wire->len - (size_t)(behind - wire->bytes);
        return behind;
    }
    return NULL;
}

static void assert_same(const manner *m, const growing *expected, const char *got, size_t len)
{
    if (len == expected->len && memcmp(got, expected->bytes, len) == 0) return;
    fail_msg("by %d, cut at %zu and %zu, %zu octets at a time: \"%.*s\"", m->how, m->cuts[0], m->cuts[1], m->take_max,
             (int)len, got);
}

/* -- BDAT ------------------------------------------------------------------------------------------- */

static size_t line_at(const growing *wire, size_t at)
{
    const char *lf = memchr(wire->bytes + at, '\n', wire->len - at);
    assert_non_null(lf);
    return (size_t)(lf - wire->bytes) + 1 - at;
}

/* All chunks, joined. */
static void join_chunks(const growing *wire, growing *out)
{
    size_t at = 0;
    while (at < wire->len) {
        const char *line = wire->bytes + at;
        at += line_at(wire, at);
        if (memcmp(line, "BDAT ", 5) != 0) continue;
        size_t size = strtoul(line + 5, NULL, 10);
        assert_true(size <= wire->len - at);
        grow(out, wire->bytes + at, size);
        at += size;
    }
}

/* -- what arrives ----------------------------------------------------------------------------------- */

/* By DATA, lines with dots added; by chunks, the same lines without, or, as BINARYMIME, the octets as they are. */
static void assert_arrives(const manner *m, const char *text, size_t len)
{
    static session s;
    static growing lines, expected, chunks;
    size_t data_len;
    lines.len = expected.len = chunks.len = 0;
    send_text(&s, m, text, len);
    const char *data = after_data(&s.wire, &data_len);
    if (m->body == EHLO_BODY_BINARYMIME) {
        grow(&lines, text, len);
    } else {
        write_lines(&lines, text, len);
    }
    if (data != NULL) {
        write_stuffed(&expected, &lines);
        assert_same(m, &expected, data, data_len);
    } else {
        join_chunks(&s.wire, &chunks);
        assert_same(m, &lines, chunks.bytes, chunks.len);
    }
    if (m->body == EHLO_BODY_BINARYMIME) assert_null(data); /* RFC 3030 3 */
}

/* -- cuts ------------------------------------------------------------------------------------------- */

static const char *const texts[] = {
    "a\r\n.b\r\n..\r\n.\r\n\r\n.\r\nend\r\n",
    "a\n.b\n..\n.\n\n.\r\n.end",
    ".\r\n",
    ".",
    ".\n.\n",
    "\n.\n",
    "x\r\n.\r\nMAIL",
};

static void cut_everywhere(ehlo_str text, manner m)
{
    for (m.cuts[0] = 0; m.cuts[0] <= text.len; m.cuts[0]++) {
        for (m.cuts[1] = m.cuts[0]; m.cuts[1] <= text.len; m.cuts[1]++) {
            for (m.take_max = 0; m.take_max <= 3; m.take_max++) assert_arrives(&m, text.ptr, text.len);
        }
    }
}

static void dots_are_stuffed_wherever_the_text_is_cut(void **state) /* [N40] [C70] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        for (int how = 0; how < GIVINGS; how++) {
            cut_everywhere(ehlo_str_from(texts[i]), (manner){ .how = (giving)how, .extensions = DUMMY_EXTENSIONS });
        }
    }
}

/* A linker may make one of equal constants: the dot that transparency adds, or the terminator, can be the very octets
 * of a message. */
static void the_encoders_own_constants_are_a_message_like_any(void **state) /* [N40] */
{
    ehlo_codec codec;
    ehlo_encoder encoder;
    ehlo_str constants[3];
    size_t used;
    (void)state;
    assert_int_equal(ehlo_codec_init(&codec, EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, 0), EHLO_OK);
    ehlo_encoder_init(&encoder);
    constants[0] = ehlo_encoder_end(&encoder);
    assert_int_equal(ehlo_encode(&encoder, &codec, ".", 1, 1, &used, &constants[1]), EHLO_BODY_SLICE);
    assert_int_equal(used, 0);
    encoder.line.inside = 1;
    constants[2] = ehlo_encoder_end(&encoder);
    for (size_t i = 0; i < COUNT(constants); i++) {
        for (int how = 0; how < GIVINGS; how++) {
            cut_everywhere(constants[i], (manner){ .how = (giving)how, .extensions = DUMMY_EXTENSIONS });
            if (how == PUSHED_AT_CLIENT) continue;
            cut_everywhere(constants[i], (manner){ .how = (giving)how, .extensions = DUMMY_EXTENSIONS DUMMY_CHUNKING });
        }
    }
}

static void chunks_have_no_dots_added_wherever_the_text_is_cut(void **state) /* [N40] [C157] */
{
    static const uint8_t bodies[] = { EHLO_BODY_DEFAULT, EHLO_BODY_BINARYMIME };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        for (int how = PUSHED; how < GIVINGS; how++) {
            for (size_t k = 0; k < COUNT(bodies); k++) {
                cut_everywhere(
                    ehlo_str_from(texts[i]),
                    (manner){ .how = (giving)how, .extensions = DUMMY_EXTENSIONS DUMMY_CHUNKING, .body = bodies[k] });
            }
        }
    }
}

/* Every line doubles: nothing of it is kept in the session, whose memory ends at an unreadable page. */
static void lines_of_dots_need_no_room_in_the_session(void **state) /* [N41] */
{
    enum { LINES = 5000 };
    static char dots[3 * LINES];
    static const size_t takes[] = { 0, 1, 3, 1000 };
    (void)state;
    for (size_t i = 0; i < LINES; i++) memcpy(dots + 3 * i, ".\r\n", 3);
    for (int how = 0; how < GIVINGS; how++) {
        for (size_t i = 0; i < COUNT(takes); i++) {
            manner m = { .how = (giving)how, .extensions = DUMMY_EXTENSIONS, .cuts = { 1, 2 }, .take_max = takes[i] };
            assert_arrives(&m, dots, sizeof dots);
        }
    }
}

/* -- long replies ----------------------------------------------------------------------------------- */

typedef struct listener {
    unsigned replies;
    size_t longest;
    int lost;
} listener;

static void listen_to(ehlo_client *c, const ehlo_reply *r, void *user)
{
    listener *l = user;
    (void)c;
    if (r == NULL) {
        l->lost++;
        return;
    }
    l->replies++;
    if (r->text.len > l->longest) l->longest = r->text.len;
}

static int swallow(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)c, (void)user;
    *taken = 0;
    for (size_t i = 0; i < n; i++) *taken += parts[i].len;
    return 0;
}

/* A reply of exactly len octets, in lines of at most 500. */
static char *make_reply(unsigned code, size_t len)
{
    char *reply = malloc(len + 1);
    assert_non_null(reply);
    memset(reply, 'x', len);
    for (size_t at = 0; at < len;) {
        size_t left = len - at, line = left > 1000 ? 500 : left > 500 ? left / 2 : left;
        char head[16];
        snprintf(head, sizeof head, "%03u%c", code, line == left ? ' ' : '-');
        memcpy(reply + at, head, 4);
        memcpy(reply + at + line - 2, "\r\n", 2);
        at += line;
    }
    return reply;
}

/* Flush against an unreadable page, so that nobody looks behind it. */
static void hear(ehlo_client *c, unsigned code, size_t len)
{
    size_t used;
    char *reply = make_reply(code, len), *guarded = guard_copy(reply, len);
    assert_int_equal(ehlo_client_feed(c, 0, guarded, len, &used), EHLO_OK);
    assert_int_equal(used, len);
    guard_free(guarded, len);
    free(reply);
}

static void call(ehlo_client *c, ehlo_verb verb, const char *argument, listener *l)
{
    assert_int_equal(ehlo_client_command(c, verb, ehlo_str_from(argument), listen_to, l, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
}

/* Greeting, hello, commands, challenges, the go-ahead, the end: the longest reply at each, in a session whose only
 * memory of its own holds 2048 octets of commands. */
static void replies_longer_than_any_buffer_harm_no_later_phase(void **state) /* [N42] */
{
    static const ehlo_client_callbacks callbacks = { .write = swallow };
    ehlo_client_config config = { .name = ehlo_str_from("client.example"),
                                  .flags = EHLO_CLIENT_AUTH_CLEAR,
                                  .reply_max = 16384 };
    ehlo_client *c;
    listener l = { 0 };
    size_t used, longest = config.reply_max;
    static const char offers[] = "250-mx.example\r\n250-AUTH LOGIN\r\n250 X\r\n";
    arena memory = arena_new(ehlo_client_size(&config));
    (void)state;
    assert_int_equal(ehlo_client_init(&c, memory.start, memory.len, &config, &callbacks, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_start(c, 0, listen_to, &l), EHLO_OK);
    hear(c, 220, longest);
    assert_int_equal(ehlo_client_hello(c, listen_to, &l), EHLO_OK);
    assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
    assert_int_equal(ehlo_client_feed(c, 0, offers, sizeof offers - 1, &used), EHLO_OK);
    call(c, EHLO_VERB_NOOP, "", &l);
    hear(c, 250, longest);
    assert_int_equal(ehlo_client_auth(c, ehlo_str_from("LOGIN"), ehlo_str_make(NULL, 0), listen_to, &l, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
    hear(c, 334, longest);
    /* An answer as long as the challenge was is more than a line, or the block, may hold: it is refused. */
    char *challenge = make_reply(334, longest);
    assert_int_equal(ehlo_client_auth_answer(c, ehlo_str_make(challenge, longest), listen_to, &l), EHLO_ERR_SPACE);
    free(challenge);
    assert_int_equal(ehlo_client_auth_answer(c, ehlo_str_make(NULL, 0), listen_to, &l), EHLO_OK);
    assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
    hear(c, 501, longest);
    call(c, EHLO_VERB_MAIL, "FROM:<a@b>", &l);
    hear(c, 250, longest);
    call(c, EHLO_VERB_RCPT, "TO:<c@d>", &l);
    hear(c, 250, longest);
    call(c, EHLO_VERB_DATA, "", &l);
    hear(c, 354, longest);
    assert_int_equal(ehlo_client_message(c, 1, listen_to, &l), EHLO_OK);
    assert_int_equal(ehlo_client_push(c, 0, ".\r\n", 3, 1, &used), EHLO_OK);
    hear(c, 250, longest);
    call(c, EHLO_VERB_QUIT, "", &l);
    hear(c, 221, longest);
    assert_int_equal(l.replies, 10);
    assert_int_equal(l.longest, longest);
    assert_int_equal(ehlo_client_reason(c), EHLO_CLOSE_QUIT);
    assert_int_equal(ehlo_client_close(c), EHLO_OK);
    arena_free(&memory);
}

static void a_reply_of_one_octet_more_ends_the_session(void **state) /* [N42] [K02] */
{
    static const ehlo_client_callbacks callbacks = { .write = swallow };
    ehlo_client_config config = { .name = ehlo_str_from("client.example"), .reply_max = 4096 };
    ehlo_client *c;
    listener l = { 0 };
    arena memory = arena_new(ehlo_client_size(&config));
    (void)state;
    assert_int_equal(ehlo_client_init(&c, memory.start, memory.len, &config, &callbacks, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_start(c, 0, listen_to, &l), EHLO_OK);
    hear(c, 220, config.reply_max + 1);
    assert_int_equal(l.replies, 0);
    assert_int_equal(ehlo_client_reason(c), EHLO_CLOSE_LIMIT);
    assert_int_equal(ehlo_client_wants(c), EHLO_WANT_CLOSE);
    assert_int_equal(ehlo_client_close(c), EHLO_OK);
    assert_int_equal(l.lost, 1);
    arena_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots_are_stuffed_wherever_the_text_is_cut),
        cmocka_unit_test(the_encoders_own_constants_are_a_message_like_any),
        cmocka_unit_test(chunks_have_no_dots_added_wherever_the_text_is_cut),
        cmocka_unit_test(lines_of_dots_need_no_room_in_the_session),
        cmocka_unit_test(replies_longer_than_any_buffer_harm_no_later_phase),
        cmocka_unit_test(a_reply_of_one_octet_more_ends_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
