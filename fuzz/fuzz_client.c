/* A client session, command by command, under any octets of a server.
 *
 * The first line of an input is "switches:acts": what the session is and what happens to it, a letter each (see
 * switch_of and acts); the rest is what the server says. The same goes through twice, the second time with each line
 * in single octets: unless the acts themselves depend on the cuts, both must give the same events and output. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ehlo/client.h>

#include "canon.h"
#include "check.h"

enum { ENTRIES_MAX = 400, TEXT_MAX = 1 << 14 };

/* A command that was queued: its completions, so many. */
typedef struct entry {
    struct run *r;
    ehlo_verb verb;
    unsigned expected, heard, nulls;
} entry;

enum wire { WIRE_LINE, WIRE_CHUNK, WIRE_MESSAGE };
enum body { BODY_NONE, BODY_MESSAGE, BODY_CHUNK };

typedef struct run {
    ehlo_client *client;
    ehlo_client_config config;
    int by_octets;
    const uint8_t *server; /* what the server is still to say */
    size_t left;
    char *hold; /* fed, not yet consumed */
    size_t held;
    uint64_t now;
    uint64_t events, output; /* hashes */
    int depends_on_cuts;

    entry entries[ENTRIES_MAX];
    size_t queued, front; /* front: the oldest with a completion to come */
    char inside[16];      /* acts for completions to come */
    size_t inside_len;
    int in_callback;

    size_t write_max; /* octets that a write takes; SIZE_MAX: all */
    int fail_write, failed, over, closes;
    unsigned blocks;

    enum wire wire;
    char line[EHLO_AUTH_LINE_MAX + 2];
    size_t column;
    unsigned answers; /* lines to come that answer a 334 */
    int in_tls, starts_in_tls;
    uint64_t chunk_wire;
    ehlo_codec codec;
    ehlo_decoder decoder;
    char message[TEXT_MAX], decoded[TEXT_MAX], pushed[TEXT_MAX];
    size_t message_len, message_at, decoded_len, pushed_len;

    enum body body;
    uint64_t chunk_left;
    int ended, stuck; /* the last octet was pushed; the message cannot be ended */
    unsigned pieces;
    const char *owed;
    size_t owed_len;
} run;

static void hash(uint64_t *h, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++) *h = (*h ^ at[i]) * 1099511628211u;
}

/* -- the wire: what the session writes is commands, chunks as announced, and messages ---------------- */

static void wire_line_ends(run *r)
{
    ehlo_str line = ehlo_str_make(r->line, r->column - 2);
    ehlo_command_line command;
    r->column = 0;
    if (r->answers > 0) {
        r->answers--;
        int cancels = line.len == 1 && line.ptr[0] == '*';
        size_t len;
        CHECK(cancels || ehlo_base64_decode(line, NULL, 0, &len, NULL) == EHLO_OK);
        return;
    }
    CHECK(ehlo_command_parse(line, &command, NULL) == EHLO_OK);
    /* PLAIN is all that is said here, and shows the secret. */
    if (command.verb == EHLO_VERB_AUTH) CHECK(r->in_tls || (r->config.flags & EHLO_CLIENT_AUTH_CLEAR));
    if (command.verb != EHLO_VERB_BDAT) return;
    int last;
    CHECK(ehlo_bdat_parse(command.argument, &r->chunk_wire, &last, NULL) == EHLO_OK);
    if (r->chunk_wire > 0) r->wire = WIRE_CHUNK;
}

static void wire_line_octet(run *r, char octet)
{
    CHECK(r->column < sizeof r->line);
    CHECK(octet != '\0');
    CHECK(r->column == 0 || r->line[r->column - 1] != '\r' || octet == '\n');
    CHECK(octet != '\n' || (r->column > 0 && r->line[r->column - 1] == '\r'));
    r->line[r->column++] = octet;
    if (octet == '\n') wire_line_ends(r);
}

/* The message on the wire is over where its terminator is, and is then what was pushed. */
static void wire_message_octet(run *r, char octet)
{
    static const canon_way way = { 0, 0, 0, 0 };
    CHECK(r->message_len < sizeof r->message);
    r->message[r->message_len++] = octet;

    for (int step = EHLO_BODY_SLICE; step == EHLO_BODY_SLICE;) {
        size_t used;
        ehlo_str slice;
        step = ehlo_decode(&r->decoder, &r->codec, r->message + r->message_at, r->message_len - r->message_at, &used,
                           &slice);
        CHECK(step == EHLO_BODY_MORE || step == EHLO_BODY_SLICE || step == EHLO_BODY_END);
        r->message_at += used;
        if (slice.len > 0) memcpy(r->decoded + r->decoded_len, slice.ptr, slice.len);
        r->decoded_len += slice.len;
        if (step != EHLO_BODY_END) continue;
        canon_way mine = way;
        mine.bare_cr = r->config.bare_cr;
        mine.bare_lf = r->config.bare_lf;
        CHECK(r->ended && r->message_at == r->message_len);
        CHECK(canon_arrived(&mine, ehlo_str_make(r->pushed, r->pushed_len), r->decoded, r->decoded_len));
        r->wire = WIRE_LINE;
    }
}

static void wire_octets(run *r, ehlo_str part)
{
    hash(&r->output, part.ptr, part.len);
    for (size_t i = 0; i < part.len; i++) {
        if (r->wire == WIRE_LINE)
            wire_line_octet(r, part.ptr[i]);
        else if (r->wire == WIRE_MESSAGE)
            wire_message_octet(r, part.ptr[i]);
        else if (--r->chunk_wire == 0)
            r->wire = WIRE_LINE;
    }
}

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    run *r = user;
    size_t room = r->write_max;
    (void)c;
    CHECK(!r->over && !r->failed && n > 0);
    *taken = 0;
    if (r->fail_write) {
        r->failed = 1;
        return -1;
    }
    for (size_t i = 0; i < n && room > 0; i++) {
        size_t len = parts[i].len < room ? parts[i].len : room;
        wire_octets(r, ehlo_str_make(parts[i].ptr, len));
        *taken += len;
        room -= len;
    }
    return 0;
}

/* -- completions: in order, each as often as was said, or NULL once ---------------------------------- */

static void act(run *r, char what);

static void on_reply(ehlo_client *c, const ehlo_reply *reply, void *user)
{
    entry *e = user;
    run *r = e->r;
    CHECK(!r->in_callback);
    while (r->front < r->queued &&
           r->entries[r->front].heard + r->entries[r->front].nulls >= r->entries[r->front].expected) {
        r->front++;
    }
    CHECK(e == &r->entries[r->front]);
    hash(&r->events, &e->verb, sizeof e->verb);
    if (reply == NULL) {
        CHECK(ehlo_client_reason(c) != 0 && e->heard + ++e->nulls <= e->expected);
        return;
    }
    CHECK(++e->heard <= e->expected && e->nulls == 0);
    CHECK(reply->code >= 200 && reply->code <= 599);
    CHECK(reply->enhanced[0] == 0 || reply->enhanced[0] == reply->code / 100);
    hash(&r->events, &reply->code, sizeof reply->code);
    hash(&r->events, reply->enhanced, sizeof reply->enhanced);
    hash(&r->events, reply->text.ptr, reply->text.len);
    ehlo_str rest = reply->text, text;
    int more;
    while ((more = ehlo_reply_next(&rest, &text)) == 1) continue;
    CHECK(more == 0);
    if (r->inside_len == 0) return;
    char what = r->inside[0];
    memmove(r->inside, r->inside + 1, --r->inside_len);
    r->in_callback = 1;
    act(r, what);
    r->in_callback = 0;
}

static void on_capability(ehlo_client *c, ehlo_str keyword, ehlo_str args, void *user)
{
    run *r = user;
    (void)c;
    hash(&r->events, keyword.ptr, keyword.len);
    hash(&r->events, args.ptr, args.len);
}

static void on_close(ehlo_client *c, int reason, void *user)
{
    run *r = user;
    (void)c;
    CHECK(reason == ehlo_client_reason(c) && reason != 0);
    hash(&r->events, &reason, sizeof reason);
    r->closes++;
}

static void on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    (void)c, (void)user;
    CHECK(direction == EHLO_TRACE_IN || direction == EHLO_TRACE_OUT);
    CHECK(!secret || bytes.ptr == NULL);
    for (size_t i = 0; bytes.ptr != NULL && i < bytes.len; i++) CHECK(bytes.ptr[i] != '\n');
}

/* -- commands --------------------------------------------------------------------------------------- */

/* What a call may give; the session of a full ring or in another state refuses, and nothing was queued. */
static void queued(run *r, entry *e, int result)
{
    hash(&r->events, &result, sizeof result);
    if (result == EHLO_OK) return;
    CHECK(result == EHLO_ERR_FULL || result == EHLO_ERR_STATE || result == EHLO_ERR_UNSUPPORTED ||
          (result == EHLO_ERR_SPACE && e->verb == EHLO_VERB_AUTH));
    CHECK(e == &r->entries[r->queued - 1] && e->heard + e->nulls == 0);
    r->queued--;
}

static entry *new_entry(run *r, ehlo_verb verb, unsigned expected)
{
    if (r->queued == ENTRIES_MAX) return NULL;
    entry *e = &r->entries[r->queued++];
    memset(e, 0, sizeof *e);
    e->r = r;
    e->verb = verb;
    e->expected = expected;
    return e;
}

static void say(run *r, ehlo_verb verb, const char *argument)
{
    entry *e = new_entry(r, verb, 1);
    if (e == NULL) return;
    queued(r, e, ehlo_client_command(r->client, verb, ehlo_str_from(argument), on_reply, e, NULL));
}

static void say_mail(run *r)
{
    ehlo_mail_command mail = { 0 };
    entry *e = new_entry(r, EHLO_VERB_MAIL, 1);
    mail.mailbox = ehlo_str_from("a@a.example");
    mail.present = EHLO_PARAM_SIZE;
    mail.size = r->pieces;
    if (e != NULL) queued(r, e, ehlo_client_mail(r->client, &mail, on_reply, e, NULL));
}

static void say_rcpt(run *r)
{
    ehlo_rcpt_command rcpt = { 0 };
    entry *e = new_entry(r, EHLO_VERB_RCPT, 1);
    rcpt.mailbox = ehlo_str_from("b@b.example");
    if (e != NULL) queued(r, e, ehlo_client_rcpt(r->client, &rcpt, on_reply, e, NULL));
}

static void say_hello(run *r)
{
    entry *e = new_entry(r, EHLO_VERB_EHLO, 1);
    if (e != NULL) queued(r, e, ehlo_client_hello(r->client, on_reply, e));
}

static void say_auth(run *r, int initial)
{
    entry *e = new_entry(r, EHLO_VERB_AUTH, 1);
    if (e == NULL) return;
    queued(r, e,
           ehlo_client_auth(r->client, ehlo_str_from("PLAIN"),
                            initial ? ehlo_str_make("\0u\0p", 4) : ehlo_str_make(NULL, 0), on_reply, e, NULL));
}

/* A line that no idle session has room for. */
static void say_long(run *r, int answers)
{
    static char response[9000];
    ehlo_str text = ehlo_str_make(response, sizeof response);
    entry *e = new_entry(r, EHLO_VERB_AUTH, 1);
    if (e == NULL) return;
    size_t before = r->queued;
    queued(r, e,
           answers ? ehlo_client_auth_answer(r->client, text, on_reply, e)
                   : ehlo_client_auth(r->client, ehlo_str_from("PLAIN"), text, on_reply, e, NULL));
    r->answers += answers && r->queued == before;
}

static void say_answer(run *r, int cancels)
{
    entry *e = new_entry(r, EHLO_VERB_AUTH, 1);
    if (e == NULL) return;
    size_t before = r->queued;
    queued(r, e,
           ehlo_client_auth_answer(r->client, ehlo_str_make(cancels ? NULL : "secret", cancels ? 0 : 6), on_reply, e));
    r->answers += r->queued == before;
}

static void open_message(run *r, unsigned replies)
{
    entry *e = new_entry(r, EHLO_VERB_DATA, replies);
    if (e == NULL) return;
    size_t before = r->queued;
    queued(r, e, ehlo_client_message(r->client, replies, on_reply, e));
    if (r->queued != before) return;
    CHECK(r->wire == WIRE_LINE && r->column == 0 && r->body == BODY_NONE);
    r->wire = WIRE_MESSAGE;
    r->body = BODY_MESSAGE;
    r->ended = 0;
    r->message_len = r->message_at = r->decoded_len = r->pushed_len = 0;
    ehlo_decoder_init(&r->decoder);
}

static void open_chunk(run *r, uint64_t size, int last)
{
    unsigned replies = last && (r->config.flags & EHLO_CLIENT_LMTP) ? 2 : 1;
    entry *e = new_entry(r, EHLO_VERB_BDAT, replies);
    if (e == NULL) return;
    size_t before = r->queued;
    queued(r, e, ehlo_client_chunk(r->client, size, last, replies, on_reply, e));
    if (r->queued != before) return;
    CHECK(r->body == BODY_NONE);
    r->body = size > 0 ? BODY_CHUNK : BODY_NONE;
    r->chunk_left = size;
}

/* -- calls that move the session -------------------------------------------------------------------- */

static unsigned waiting(const run *r)
{
    unsigned count = 0;
    for (size_t i = r->front; i < r->queued; i++) {
        count += r->entries[i].heard + r->entries[i].nulls < r->entries[i].expected;
    }
    return count;
}

static void check_facts(run *r)
{
    uint64_t deadline = 0;
    unsigned wants = ehlo_client_status(r->client, &deadline);
    CHECK(wants == ehlo_client_wants(r->client) && deadline == ehlo_client_deadline(r->client));
    if (wants & EHLO_WANT_CLOSE) {
        CHECK(wants == EHLO_WANT_CLOSE && ehlo_client_reason(r->client) != 0);
        r->over = 1;
        return;
    }
    CHECK(!r->over && !r->failed);
    if (wants & EHLO_WANT_TLS) CHECK(!(wants & EHLO_WANT_READ));
    if (waiting(r) > 0 && r->body == BODY_NONE && !r->stuck) CHECK(deadline != UINT64_MAX);
}

static void moved(run *r, int result)
{
    CHECK(result == EHLO_OK || (r->failed && result == EHLO_ERR_TRANSPORT));
    check_facts(r);
}

/* Offers what is held, flush against the end of its own block; views must not outlive the call. */
static void offer(run *r)
{
    size_t used = 0;
    unsigned before = ehlo_client_wants(r->client);
    char *block = malloc(r->held > 0 ? r->held : 1);
    CHECK(block != NULL);
    memcpy(block, r->hold, r->held);
    moved(r, ehlo_client_feed(r->client, r->now, block, r->held, &used));
    memset(block, 0xDD, r->held);
    free(block);
    CHECK(used <= r->held);
    if (!(before & (EHLO_WANT_READ | EHLO_WANT_CLOSE))) CHECK(used == 0);
    memmove(r->hold, r->hold + used, r->held - used);
    r->held -= used;
    if (r->held > 0 && (ehlo_client_wants(r->client) & EHLO_WANT_READ)) {
        CHECK(r->held < ehlo_client_input_min(r->client));
    }
    if (before & EHLO_WANT_CLOSE) CHECK(r->held == 0 || r->failed);
}

static void feed(run *r, size_t len)
{
    if (len > r->left) len = r->left;
    memcpy(r->hold + r->held, r->server, len);
    r->held += len;
    r->server += len;
    r->left -= len;
    if (r->held > 0) offer(r);
}

static void feed_line(run *r)
{
    const uint8_t *end = r->left > 0 ? memchr(r->server, '\n', r->left) : NULL;
    size_t len = end != NULL ? (size_t)(end - r->server) + 1 : r->left;
    if (!r->by_octets || len == 0) {
        feed(r, len);
        return;
    }
    for (; len > 0; len--) feed(r, 1);
}

static void feed_lines(run *r)
{
    while (r->left > 0) feed_line(r);
}

/* Up to a line that no '-' carries on. */
static void feed_reply(run *r)
{
    for (int more = 1; more && r->left > 0;) {
        const uint8_t *end = memchr(r->server, '\n', r->left);
        more = end != NULL && end - r->server > 3 && r->server[3] == '-';
        feed_line(r);
    }
}

static void flush(run *r)
{
    moved(r, ehlo_client_flush(r->client, r->now));
}

static void starttls(run *r, size_t held)
{
    unsigned wants = ehlo_client_wants(r->client);
    if (wants & EHLO_WANT_TLS) r->in_tls = held + r->held == 0;
    int result = ehlo_client_tls_started(r->client, r->now, held + r->held, NULL);
    if (!(wants & EHLO_WANT_TLS)) {
        CHECK(result == EHLO_ERR_STATE || result < EHLO_ERR_FATAL);
        return;
    }
    moved(r, result);
    if (held + r->held > 0) CHECK(r->over);
    r->held = 0;
    if (!r->over) CHECK(ehlo_client_offers(r->client)->caps == 0);
}

static void tick(run *r, int is_early)
{
    uint64_t deadline = ehlo_client_deadline(r->client);
    if (deadline == UINT64_MAX || (is_early && deadline <= r->now)) return;
    unsigned before = ehlo_client_wants(r->client);
    if (is_early) {
        moved(r, ehlo_client_tick(r->client, deadline - 1));
        CHECK(ehlo_client_wants(r->client) == before);
        r->now = deadline - 1;
        return;
    }
    if (deadline > r->now) r->now = deadline;
    moved(r, ehlo_client_tick(r->client, r->now));
    CHECK(r->over || ehlo_client_deadline(r->client) > r->now);
}

static void lose(run *r)
{
    CHECK(ehlo_client_lost(r->client) == EHLO_OK);
    r->over = 1;
    check_facts(r);
    CHECK(ehlo_client_wants(r->client) == EHLO_WANT_CLOSE);
}

static const struct {
    const char *text;
    size_t len;
} pieces[] = { { "a\r\n", 3 }, { ".", 1 },  { "\r\n.\r\n", 5 }, { "x\n.", 3 },
               { "\r", 1 },    { "\n", 1 }, { "\0\xE9", 2 },    { "", 0 } };

static void note_pushed(run *r, const char *text, size_t used)
{
    CHECK(r->pushed_len + used <= sizeof r->pushed);
    memcpy(r->pushed + r->pushed_len, text, used);
    r->pushed_len += used;
    if (r->body != BODY_CHUNK) return;
    r->chunk_left -= used;
    if (r->chunk_left == 0) r->body = BODY_NONE;
}

static void push(run *r, int last)
{
    size_t used = 0;
    const char *text = r->owed;
    size_t len = r->owed_len;
    if (len == 0) {
        text = pieces[r->pieces % (sizeof pieces / sizeof pieces[0])].text;
        len = pieces[r->pieces++ % (sizeof pieces / sizeof pieces[0])].len;
    }
    if (r->pushed_len + len > sizeof r->pushed / 4) return;
    int too_many = r->body == BODY_CHUNK && len > r->chunk_left;
    if (r->body == BODY_CHUNK && r->pieces % 3 != 0 && too_many) {
        len = (size_t)r->chunk_left;
        too_many = 0;
    }
    int is_open = r->body != BODY_NONE && !r->stuck && !r->over;
    /* The session looks into what is to be written before push returns. */
    if (r->body == BODY_MESSAGE && last && is_open) r->ended = 1;
    size_t before = r->pushed_len;
    if (is_open && !too_many) {
        memcpy(r->pushed + before, text, len);
        r->pushed_len += len;
    }
    int result = ehlo_client_push(r->client, r->now, text, len, last, &used);
    r->pushed_len = before;
    CHECK(used <= len);
    if (!is_open || too_many) {
        CHECK((result == EHLO_ERR_STATE || r->stuck || result < EHLO_ERR_FATAL) && result != EHLO_OK && used == 0);
        return;
    }
    if (result == EHLO_ERR_STATE) { /* a reply came first: the body is no more */
        CHECK(used == 0);
        r->ended = 0;
        return;
    }
    note_pushed(r, text, used);
    if (result == EHLO_ERR_SYNTAX) {
        CHECK(r->body == BODY_MESSAGE);
        r->stuck = 1;
        return;
    }
    moved(r, result);
    r->owed = text + used;
    r->owed_len = len - used;
    if (r->owed_len > 0) {
        r->ended = 0;
        CHECK(r->over || (ehlo_client_wants(r->client) & EHLO_WANT_WRITE) || text[used] == '\r');
    } else if (last && r->body == BODY_MESSAGE) {
        r->body = BODY_NONE;
    }
}

/* -- acts ------------------------------------------------------------------------------------------- */

/* Those that may come from inside a completion, too. 1 if it was one. */
static int act_command(run *r, char what)
{
    switch (what) {
    case 'h':
        say_hello(r);
        break;
    case 'm':
        say_mail(r);
        break;
    case 'r':
        say_rcpt(r);
        break;
    case 'd':
        say(r, EHLO_VERB_DATA, "");
        break;
    case 'D':
        open_message(r, 1);
        break;
    case 'E':
        open_message(r, 2);
        break;
    case 'b':
        open_chunk(r, 5, 0);
        break;
    case 'B':
        open_chunk(r, 5, 1);
        break;
    case 'Z':
        open_chunk(r, 0, 1);
        break;
    case 'n':
        say(r, EHLO_VERB_NOOP, "words");
        break;
    case 's':
        say(r, EHLO_VERB_RSET, "");
        break;
    case 'q':
        say(r, EHLO_VERB_QUIT, "");
        break;
    case 't':
        say(r, EHLO_VERB_STARTTLS, "");
        break;
    case 'v':
        say(r, EHLO_VERB_VRFY, "someone");
        break;
    case 'x':
        say(r, EHLO_VERB_XCLIENT, "NAME=a.example");
        break;
    case 'k':
        say(r, EHLO_VERB_UNKNOWN, "XFOO bar");
        break;
    case 'V':
        say(r, EHLO_VERB_VERB, "");
        break;
    case 'a':
        say_auth(r, 1);
        break;
    case 'A':
        say_auth(r, 0);
        break;
    case 'w':
        say_answer(r, 0);
        break;
    case 'L':
        say_long(r, 0);
        break;
    case 'W':
        say_long(r, 1);
        break;
    case 'c':
        say_answer(r, 1);
        break;
    default:
        return 0;
    }
    return 1;
}

static void act_move(run *r, char what)
{
    switch (what) {
    case '.':
        feed_line(r);
        break;
    case ',':
        feed(r, 1);
        break;
    case '=':
        feed_reply(r);
        break;
    case '+':
        feed_lines(r);
        break;
    case '*':
        feed(r, r->left);
        break;
    case 'f':
        flush(r);
        break;
    case 'p':
        push(r, 0);
        break;
    case 'P':
        push(r, 1);
        break;
    case 'T':
        starttls(r, 0);
        break;
    case 'U':
        starttls(r, 3);
        break;
    case 'i':
        tick(r, 0);
        break;
    case 'I':
        tick(r, 1);
        break;
    case 'e':
        moved(r, ehlo_client_eof(r->client, r->now));
        break;
    case 'l':
        lose(r);
        break;
    case 'F':
        r->fail_write = 1;
        break;
    case '0':
        r->write_max = SIZE_MAX;
        break;
    default:
        if (what >= '1' && what <= '9') r->write_max = (size_t)(what - '1') * 3; /* '1': blocked */
        break;
    }
}

static void act(run *r, char what)
{
    if (r->failed || (r->over && what != '.' && what != '+')) return;
    if (act_command(r, what)) {
        if (!r->in_callback) flush(r);
        return;
    }
    if (r->in_callback) {
        CHECK(ehlo_client_flush(r->client, r->now) == EHLO_ERR_REENTRY);
        CHECK(ehlo_client_close(r->client) == EHLO_ERR_REENTRY);
        return;
    }
    act_move(r, what);
}

static void act_all(run *r, const uint8_t *acts, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (acts[i] != '@') {
            act(r, (char)acts[i]);
        } else if (++i < len && r->inside_len < sizeof r->inside) {
            r->inside[r->inside_len++] = (char)acts[i];
        }
    }
}

/* -- a run ------------------------------------------------------------------------------------------ */

static void *lend(size_t len, void *ctx)
{
    run *r = ctx;
    r->blocks++;
    return malloc(len);
}

static void give(void *mem, size_t len, void *ctx)
{
    run *r = ctx;
    (void)len;
    r->blocks--;
    free(mem);
}

static void switch_of(run *r, uint8_t letter)
{
    ehlo_client_config *c = &r->config;
    if (letter == 'l') c->flags |= EHLO_CLIENT_LMTP;
    if (letter == 'p') c->flags |= EHLO_CLIENT_NO_PIPELINING;
    if (letter == 'n') c->bare_cr = EHLO_BARE_NORMALISE;
    if (letter == 'j') c->bare_lf = EHLO_BARE_REJECT;
    if (letter == 't') c->text_line_max = 5;
    if (letter == 'w') c->window = 2;
    if (letter == 'g') c->reply_lines_max = 3;
    if (letter == 'c') c->flags |= EHLO_CLIENT_AUTH_CLEAR;
    if (letter == 's') r->starts_in_tls = 1;
    if (letter == 'm') c->lender = (ehlo_lender){ lend, give, r };
}

static void end(run *r)
{
    r->write_max = SIZE_MAX;
    r->fail_write = 0;
    if (!r->over) flush(r);
    if (!r->failed) feed_lines(r);
    if (!r->over) moved(r, ehlo_client_eof(r->client, r->now));
    for (int i = 0; i < 8 && !r->over; i++) tick(r, 0);
    CHECK(r->over);
    CHECK(ehlo_client_close(r->client) == EHLO_OK);
    CHECK(r->closes == 1 && r->blocks == 0 && waiting(r) == 0);
}

static int manner_depends_on_cuts(const uint8_t *acts, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (acts[i] >= '1' && acts[i] <= '9') return 1;
    }
    return 0;
}

static void do_run(run *r, int by_octets, const uint8_t *data, size_t size)
{
    static const ehlo_client_callbacks callbacks = { on_write, on_capability, on_close, on_trace };
    const uint8_t *newline = memchr(data, '\n', size), *colon = memchr(data, ':', size);
    size_t head = newline != NULL ? (size_t)(newline - data) : size;
    size_t switches = colon != NULL && colon < data + head ? (size_t)(colon - data) : 0;
    memset(r, 0, sizeof *r);
    r->by_octets = by_octets;
    r->write_max = SIZE_MAX;
    r->now = 1;
    r->config.name = ehlo_str_from("c.example");
    for (size_t i = 0; i < switches; i++) switch_of(r, data[i]);
    r->depends_on_cuts = manner_depends_on_cuts(data + switches, head - switches);
    r->server = data + (head < size ? head + 1 : size);
    r->left = size - (size_t)(r->server - data);
    r->hold = malloc(r->left + 1);
    CHECK(ehlo_codec_init(&r->codec, EHLO_BARE_REJECT, EHLO_BARE_REJECT, r->config.text_line_max) == EHLO_OK);
    size_t len = ehlo_client_size(&r->config);
    void *mem = malloc(len);
    CHECK(len > 0 && ehlo_client_init(&r->client, mem, len, &r->config, &callbacks, r) == EHLO_OK);
    if (r->starts_in_tls) {
        CHECK(ehlo_client_tls_started(r->client, r->now, 0, NULL) == EHLO_OK);
        r->in_tls = 1;
    }
    CHECK(ehlo_client_start(r->client, r->now, on_reply, new_entry(r, EHLO_VERB_UNKNOWN, 1)) == EHLO_OK);
    check_facts(r);
    act_all(r, data + switches, head - switches);
    end(r);
    free(mem);
    free(r->hold);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run whole, cut;
    if (size > TEXT_MAX / 2) return 0;
    do_run(&whole, 0, data, size);
    do_run(&cut, 1, data, size);
    if (whole.depends_on_cuts) return 0;
    CHECK(whole.events == cut.events);
    CHECK(whole.output == cut.output);
    return 0;
}
