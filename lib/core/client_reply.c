/* client_reply.c - replies: finding them in the stream, judging them, and telling whoever waits. */
#include "reply_read.h"
#include "transaction.h"

#include <string.h>

/* -- finding one ------------------------------------------------------------------------------------ */

enum { LINE_MORE, LINE_LAST, LINE_SKIPPED, LINE_BROKEN };

EHLO_COLD static int broken(ehlo_client *c, ehlo_close reason, const char *problem)
{
    ehlo_client_end(c, reason, problem);
    return LINE_BROKEN;
}

/* One line of a reply, without its CRLF, which is the fence behind it. */
static EHLO_ALWAYS_INLINE int take_line(ehlo_client *c, ehlo_str raw, ehlo_reply_line *line)
{
    size_t wrong;
    if (!ehlo_scan_reply_line(raw, EHLO_FENCE, line, &wrong)) {
        return broken(c, EHLO_CLOSE_PROTOCOL, "a reply line is malformed");
    }
    if (c->lines >= c->config.reply_lines_max) return broken(c, EHLO_CLOSE_LIMIT, "a reply has too many lines");
    if (line->code < 100) {
        /* sendmail's trace lines: they belong to no reply */
        if (c->verbose && c->line_start == 0) return LINE_SKIPPED;
        return broken(c, EHLO_CLOSE_PROTOCOL, "a reply has an unknown code");
    }
    if (c->line_start > 0 && line->code != c->code) {
        return broken(c, EHLO_CLOSE_PROTOCOL, "the lines of a reply have different codes");
    }
    if (line->last) return LINE_LAST;
    c->code = line->code;
    return LINE_MORE;
}

/* The length of the reply, or of a skipped line, at the start of bytes; 0 if it is not whole, or broken. *line is its
 * last line. */
static EHLO_ALWAYS_INLINE size_t find_reply(ehlo_client *c, const char *bytes, size_t len, ehlo_reply_line *line,
                                            int *kind)
{
    const char *lf;
    if (len <= c->searched) return 0;
    while ((lf = memchr(bytes + c->searched, '\n', len - c->searched)) != NULL) {
        size_t end = (size_t)(lf - bytes);
        size_t start = c->line_start;
        if (end >= c->config.reply_max) break;
        if (end == start || lf[-1] != '\r') {
            broken(c, EHLO_CLOSE_PROTOCOL, "a reply line ends without CR");
            return 0;
        }
        *kind = take_line(c, ehlo_str_make(bytes + start, end - start - 1), line);
        if (*kind == LINE_BROKEN) return 0;
        if (*kind == LINE_LAST) return end + 1;
        c->lines++;
        if (*kind == LINE_SKIPPED) return end + 1;
        c->searched = c->line_start = (uint32_t)end + 1;
    }
    if (len >= c->config.reply_max) {
        broken(c, EHLO_CLOSE_LIMIT, "a reply is too long");
        return 0;
    }
    c->searched = (uint32_t)len;
    return 0;
}

/* -- telling ---------------------------------------------------------------------------------------- */

/* The oldest command awaits one reply fewer. */
static void count_reply(ehlo_client *c)
{
    c->ring[c->head].replies--;
    c->outstanding--;
    ehlo_client_settle_ring(c);
}

/* The oldest command has its reply. The entry is settled first: done may queue more. */
static void tell(ehlo_client *c, const ehlo_reply *reply)
{
    const ehlo_awaited *oldest = &c->ring[c->head];
    ehlo_on_reply done = oldest->done;
    void *user = oldest->user;
    count_reply(c);
    if (done != NULL) done(c, reply, user);
}

void ehlo_client_abandon(ehlo_client *c)
{
    for (unsigned i = 0; i < c->count; i++) ehlo_client_entry(c, i)->open = 0;
    ehlo_client_settle_ring(c);
    while (c->count > 0) tell(c, NULL);
}

/* -- judging ---------------------------------------------------------------------------------------- */

/* Lines among the octets of the block, up to that one, which have not left. */
EHLO_COLD static unsigned lines_waiting(const ehlo_client *c, uint32_t end)
{
    ehlo_str waiting = ehlo_client_waiting(c);
    uint32_t len = end - c->left;
    unsigned lines = 0;
    for (uint32_t i = 0; i < len && i < waiting.len; i++) lines += waiting.ptr[i] == '\n';
    return lines;
}

/* 1 if the oldest command had not left when its reply came. */
static int premature(const ehlo_client *c, const ehlo_awaited *oldest)
{
    if (oldest->open) return 1;
    if ((int32_t)(oldest->end - c->left) <= 0) return 0;
    return lines_waiting(c, oldest->end) >= oldest->replies;
}

/* What the server offers, line by line behind the first. */
static void learn(ehlo_client *c, const ehlo_reply *reply)
{
    ehlo_str rest = reply->text, text, keyword, args;
    if (ehlo_reply_next(&rest, &text) <= 0) return;
    while (ehlo_reply_next(&rest, &text) > 0) {
        if (ehlo_offer_parse(text, &c->offers, &keyword, &args) != EHLO_OK) continue;
        if (c->callbacks.on_capability == NULL) continue;
        c->quiet = 1;
        c->callbacks.on_capability(c, keyword, args, c->user);
        c->quiet = 0;
    }
}

/* What cannot count: extensions without those they need, or in the wrong place, or that we were told not to use. */
static uint32_t masked(const ehlo_client *c)
{
    int trusted = c->tls && ehlo_tls_trusted(c->facts); /* RFC 8689 4.2.1 */
    uint32_t mask = (c->tls ? EHLO_CAP_STARTTLS : 0) | (trusted ? 0 : EHLO_CAP_REQUIRETLS);
    if (c->config.flags & EHLO_CLIENT_NO_PIPELINING) mask |= EHLO_CAP_PIPELINING;
    if (c->config.flags & EHLO_CLIENT_NO_CHUNKING) mask |= EHLO_CAP_CHUNKING;
    if (!(c->offers.caps & ~mask & EHLO_CAP_CHUNKING)) mask |= EHLO_CAP_BINARYMIME; /* RFC 3030 3 */
    if (!(c->offers.caps & EHLO_CAP_8BITMIME)) mask |= EHLO_CAP_SMTPUTF8;           /* RFC 6531 3.1 */
    return mask;
}

static void greeted(ehlo_client *c, ehlo_verb verb, const ehlo_reply *reply)
{
    c->greeted = (uint8_t)verb;
    c->dirty = 0; /* RFC 5321 4.1.4: a hello clears what was open */
    memset(&c->offers, 0, sizeof c->offers);
    if (verb == EHLO_VERB_HELO) return;
    learn(c, reply);
    c->offers.caps &= ~masked(c);
}

/* RFC 5321 3.2: where EHLO is not implemented, HELO may be. */
static int speaks_no_esmtp(unsigned code)
{
    return code == 500 || code == 502 || code == 504 || code == 550;
}

/* 1 if the hello goes on with HELO, and the reply concerns nobody. */
EHLO_COLD static int take_hello(ehlo_client *c, ehlo_verb verb, const ehlo_reply *reply)
{
    if (reply->code / 100 == 2) {
        greeted(c, verb, reply);
        return 0;
    }
    if (verb != EHLO_VERB_EHLO || !speaks_no_esmtp(reply->code)) return 0;
    const ehlo_awaited *oldest = &c->ring[c->head];
    if (ehlo_client_say_hello(c, EHLO_VERB_HELO, oldest->done, oldest->user) != EHLO_OK)
        return 1; /* the session is over: abandoned with the rest */
    count_reply(c);
    return 1;
}

/* What a reply changes in the session, beyond its command. State is settled before anybody is told. */
static void act(ehlo_client *c, unsigned what, const ehlo_reply *reply)
{
    unsigned reply_class = reply->code / 100U;
    switch (what) {
    case EHLO_AWAIT_GREETING:
        c->phase = reply_class == 2 ? EHLO_CLIENT_READY : EHLO_CLIENT_REFUSED;
        break;
    case EHLO_VERB_DATA:
        if (reply_class == 3) c->phase = EHLO_CLIENT_GO_AHEAD;
        if (reply_class == 2) ehlo_client_end(c, EHLO_CLOSE_PROTOCOL, "DATA was answered as if it were a message");
        break;
    case EHLO_VERB_AUTH:
        c->phase = reply_class == 3 ? EHLO_CLIENT_CHALLENGED : EHLO_CLIENT_READY;
        c->has_secret = 0;
        break;
    case EHLO_VERB_STARTTLS:
        if (reply->code == 220) c->phase = EHLO_CLIENT_TLS;
        break;
    case EHLO_VERB_XCLIENT:
        if (reply->code == 220) ehlo_client_forget_hello(c);
        break;
    case EHLO_VERB_VERB:
        c->verbose = reply_class == 2;
        break;
    case EHLO_VERB_QUIT:
        ehlo_client_end(c, EHLO_CLOSE_QUIT, NULL);
        break;
    default:
        break;
    }
}

static int is_hello(unsigned what)
{
    return what == EHLO_VERB_EHLO || what == EHLO_VERB_HELO || what == EHLO_VERB_LHLO;
}

/* A reply before its command. A 421 may come at any time (RFC 5321 3.8), and a server may refuse a message before it
 * has all of it; but then there is no way to go on. */
EHLO_COLD static void take_early(ehlo_client *c, const ehlo_reply *reply)
{
    const ehlo_awaited *oldest = &c->ring[c->head];
    int awaited = c->count > 0 && oldest->replies > 0; /* a message for nobody (LMTP) has no reply */
    int refusal = awaited && oldest->open && reply->code >= 400;
    if (reply->code == 421)
        ehlo_client_end(c, EHLO_CLOSE_REFUSED, "the server closes the session");
    else if (refusal)
        ehlo_client_end(c, EHLO_CLOSE_PROTOCOL, "the server refused a message before its end");
    else
        ehlo_client_end(c, EHLO_CLOSE_PROTOCOL,
                        awaited ? "a reply came before its command" : "a reply came that no command waits for");
    if (refusal || (awaited && reply->code == 421)) tell(c, reply);
}

/* RFC 5321 4.2.1: the first digit decides; 3yz belongs to DATA alone, and 334 to AUTH (RFC 4954 4). */
static void take_reply(ehlo_client *c, const ehlo_reply *reply)
{
    const ehlo_awaited *oldest = &c->ring[c->head];
    unsigned what = oldest->what;
    if (c->count == 0 || premature(c, oldest)) {
        take_early(c, reply);
        return;
    }
    if (reply->code / 100 == 3 && what != EHLO_VERB_DATA && (what != EHLO_VERB_AUTH || reply->code != 334)) {
        ehlo_client_end(c, EHLO_CLOSE_PROTOCOL, "a reply does not fit its command");
        return;
    }
    if (reply->code == 421 && what != EHLO_VERB_QUIT) {
        ehlo_client_end(c, EHLO_CLOSE_REFUSED, "the server closes the session");
    }
    if (!ehlo_client_chainable(what)) {
        if (is_hello(what) && take_hello(c, (ehlo_verb)what, reply)) return;
        if (!ehlo_client_over(c)) act(c, what, reply);
    }
    tell(c, reply);
}

/* -- the whole -------------------------------------------------------------------------------------- */

EHLO_COLD static void trace_lines(ehlo_client *c, unsigned code, ehlo_str rest)
{
    int secret = c->count > 0 && c->ring[c->head].what == EHLO_VERB_AUTH && code == 334;
    while (rest.len > 0) {
        const char *lf = memchr(rest.ptr, '\n', rest.len);
        size_t len = (size_t)(lf - rest.ptr);
        ehlo_client_trace(c, EHLO_TRACE_IN, ehlo_str_make(rest.ptr, len - 1), secret);
        rest = ehlo_str_make(lf + 1, rest.len - len - 1);
    }
}

/* The text of a reply's first line. */
EHLO_COLD static ehlo_str first_text(ehlo_str reply)
{
    ehlo_reply_line line;
    const char *lf = memchr(reply.ptr, '\n', reply.len);
    ehlo_reply_line_parse(ehlo_str_make(reply.ptr, (size_t)(lf - reply.ptr) - 1), &line, NULL);
    return line.text;
}

/* Takes the whole reply at the start of bytes: its length, 0 if there is none. */
static size_t take_next(ehlo_client *c, const char *bytes, size_t len)
{
    ehlo_reply_line line = { 0, 0, { NULL, 0 } };
    int kind = LINE_MORE;
    size_t lead, size = find_reply(c, bytes, len, &line, &kind);
    if (size == 0) return 0;
    c->searched = c->line_start = 0;
    if (c->callbacks.on_trace != NULL) trace_lines(c, line.code, ehlo_str_make(bytes, size));
    if (kind == LINE_SKIPPED) return size;
    ehlo_reply reply = { line.code, { 0, 0, 0 }, ehlo_str_make(bytes, size) };
    ehlo_str text = c->lines == 0 ? line.text : first_text(reply.text);
    ehlo_scan_enhanced(text, EHLO_FENCE, ehlo_digit(bytes[0]), reply.enhanced, &lead);
    c->lines = 0;
    c->since = c->now;
    take_reply(c, &reply);
    return size;
}

size_t ehlo_client_take_replies(ehlo_client *c, const char *bytes, size_t len)
{
    size_t size = 1, used = 0;
    while (size > 0 && used < len && ehlo_client_reads(c)) {
        size = take_next(c, bytes + used, len - used);
        used += size;
        if (size > 0) ehlo_transaction_go_on(c);
    }
    return used;
}
