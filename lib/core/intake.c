/* The peer's octets: lines to commands, the rest to message.c. */
#include "intake.h"

#include "chars.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A line, as far as it is known, that holds a response of AUTH. */
static int is_auth(const ehlo_server *s, ehlo_str line)
{
    static const ehlo_str auth = EHLO_LITERAL("AUTH ");
    if (s->phase == EHLO_PHASE_AUTH) return 1;
    return (s->service->config.extensions & EHLO_CAP_AUTH) && ehlo_chars_start_nocase(line, auth);
}

/* RFC 4954 4: AUTH lines may be long. RFC 5321 4.5.3.1.4: MAIL and RCPT may be as long as what is offered needs. */
EHLO_COLD static size_t line_limit(const ehlo_server *s, const char *bytes, size_t len)
{
    static const ehlo_str mail = EHLO_LITERAL("MAIL "), rcpt = EHLO_LITERAL("RCPT ");
    const ehlo_service_config *c = &s->service->config;
    ehlo_str line = ehlo_str_make(bytes, len);
    if (is_auth(s, line)) return larger(c->line_max, c->auth_line_max);
    if (ehlo_chars_start_nocase(line, mail) || ehlo_chars_start_nocase(line, rcpt)) {
        return larger(c->line_max, s->service->param_line_max);
    }
    return c->line_max;
}

/* A BDAT line that is too long can't be drained and forgotten: its octets would be taken for commands. */
static int is_bdat(const ehlo_server *s, const char *bytes, size_t len)
{
    static const ehlo_str bdat = EHLO_LITERAL("BDAT");
    return s->phase == EHLO_PHASE_COMMAND && ehlo_chars_start_nocase(ehlo_str_make(bytes, len), bdat);
}

/* RFC 5321 4.5.3.1.9 and 4.5.3.1.4: one reply for an over-long line, and its tail is never a command. */
static void answer_long_line(ehlo_server *s)
{
    s->urgent = 1;
    if (s->line_skipped > s->service->config.line_drain_max) {
        ehlo_session_end_saying(s, EHLO_SAY_ENDLESS_LINE, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
    } else if (s->phase == EHLO_PHASE_AUTH) {
        ehlo_session_auth_give_up(s, EHLO_SAY_AUTH_LINE_TOO_LONG);
    } else {
        ehlo_session_bad(s, s->verb == EHLO_VERB_AUTH ? EHLO_SAY_AUTH_LINE_TOO_LONG : EHLO_SAY_LINE_TOO_LONG);
    }
}

EHLO_COLD static size_t skip_line(ehlo_server *s, const char *bytes, size_t len)
{
    size_t used;
    int ended = ehlo_line_skip(bytes, len, &s->line_cr, &used);
    if (s->verb == EHLO_VERB_AUTH) s->secret = 1;
    s->line_skipped += used;
    if (!ended && s->line_skipped < s->service->config.line_drain_max) return used;
    if (!ended) s->line_skipped++; /* at least one more octet belongs to it */
    s->line_skipping = 0;
    answer_long_line(s);
    return used;
}

/* The line at bytes, as far as it is known, passes its limit. */
EHLO_COLD static size_t begin_skipping(ehlo_server *s, const char *bytes, size_t len)
{
    if (is_bdat(s, bytes, len)) {
        ehlo_session_chunk_unreadable(s);
        return len;
    }
    s->verb = is_auth(s, ehlo_str_make(bytes, len)) ? EHLO_VERB_AUTH : EHLO_VERB_UNKNOWN;
    s->searched = 0;
    s->line_skipping = 1;
    s->line_skipped = 0;
    s->line_cr = 0;
    return skip_line(s, bytes, len);
}

/* The line has not ended yet. */
EHLO_COLD static size_t take_part(ehlo_server *s, const char *bytes, size_t len)
{
    if (is_auth(s, ehlo_str_make(bytes, len))) s->secret = 1;
    return len >= line_limit(s, bytes, len) ? begin_skipping(s, bytes, len) : 0;
}

static size_t take_line(ehlo_server *s, const char *bytes, size_t len)
{
    size_t line;
    if (s->line_skipping) return skip_line(s, bytes, len);
    if (!ehlo_line_find(bytes, len, &s->searched, &line)) return take_part(s, bytes, len);
    if (line + 2 > s->service->config.line_max && line + 2 > line_limit(s, bytes, line)) {
        return begin_skipping(s, bytes, len);
    }
    if (s->phase == EHLO_PHASE_AUTH)
        ehlo_session_auth_line(s, ehlo_str_make(bytes, line));
    else
        ehlo_session_command(s, ehlo_str_make(bytes, line), len - line - 2);
    return line + 2;
}

/* Octets before the greeting, where the service minds (RFC 5321 4.3.1: the peer waits for it). */
EHLO_COLD static size_t take_early(ehlo_server *s, size_t len)
{
    ehlo_session_end_saying(s, EHLO_SAY_EARLY, EHLO_CLOSE_PROTOCOL, EHLO_RESET_LIMIT);
    return len;
}

static size_t take(ehlo_server *s, const char *bytes, size_t len)
{
    if (s->phase == EHLO_PHASE_DATA) return ehlo_session_take_data(s, bytes, len);
    if (s->phase == EHLO_PHASE_CHUNK) return ehlo_session_take_chunk(s, bytes, len);
    return s->phase == EHLO_PHASE_GREETING ? take_early(s, len) : take_line(s, bytes, len);
}

/* Makes room for the largest reply, if that is all that is missing, and then says if octets may be taken. */
EHLO_COLD static int settle(ehlo_server *s)
{
    if (s->urgent || !ehlo_out_fits(&s->out, s->service->reply_max)) ehlo_session_flush(s);
    if (s->shutdown) ehlo_session_stop_if_told(s);
    return ehlo_session_reads(s);
}

/* What comes now is fed last from here on; inside an exchange that is secret too. */
EHLO_COLD static void forget_secret(ehlo_server *s, size_t len)
{
    if (len > 0 && ehlo_session_flows(s)) s->secret = s->phase == EHLO_PHASE_AUTH;
}

size_t ehlo_session_intake(ehlo_server *s, const char *bytes, size_t len)
{
    size_t at = 0, n;
    if (s->secret) forget_secret(s, len);
    while (at < len && (ehlo_session_flows(s) || settle(s))) {
        n = take(s, bytes + at, len - at);
        at += n;
        if (n == 0) break;
    }
    return s->phase >= EHLO_PHASE_CLOSING ? len : at;
}
