#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "peer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OFFER_MAX = 256 * 1024, STALLS_MAX = 4 };

/* -- growing text ----------------------------------------------------------------------------------- */

static void text_reserve(peer_text *text, size_t more)
{
    size_t need = text->len + more + 1;
    if (need > text->cap) {
        text->cap = need * 2 + 64;
        text->ptr = realloc(text->ptr, text->cap);
        if (text->ptr == NULL) abort();
    }
}

void peer_text_add(peer_text *text, const char *bytes, size_t len)
{
    text_reserve(text, len);
    if (len > 0) memcpy(text->ptr + text->len, bytes, len);
    text->len += len;
    text->ptr[text->len] = '\0';
}

void peer_text_format(peer_text *text, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len > (int)sizeof line - 1) len = (int)sizeof line - 1;
    if (len > 0) peer_text_add(text, line, (size_t)len);
}

void peer_text_free(peer_text *text)
{
    free(text->ptr);
    memset(text, 0, sizeof *text);
}

static void text_drop_front(peer_text *text, size_t len)
{
    if (len == 0) return;
    memmove(text->ptr, text->ptr + len, text->len - len + 1);
    text->len -= len;
}

static void text_add_str(peer_text *text, ehlo_str s)
{
    peer_text_add(text, s.ptr, s.len);
}

static void text_add_escaped(peer_text *text, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\r')
            peer_text_add(text, "\\r", 2);
        else if (c == '\n')
            peer_text_add(text, "\\n", 2);
        else if (c == '\\')
            peer_text_add(text, "\\\\", 2);
        else if (c < 0x20 || c > 0x7E)
            peer_text_format(text, "\\x%02X", c);
        else
            peer_text_add(text, (const char *)&bytes[i], 1);
    }
}

/* -- faults and chance ------------------------------------------------------------------------------ */

static void fault(peer *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fault(peer *p, const char *format, ...)
{
    if (p->fault[0] != '\0') return;
    va_list args;
    va_start(args, format);
    vsnprintf(p->fault, sizeof p->fault, format, args);
    va_end(args);
}

static uint32_t draw(peer *p, uint32_t below)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 17;
    p->random ^= p->random << 5;
    return p->random % below;
}

int peer_matches(const char *pattern, const char *text, size_t len)
{
    if (*pattern == '\0') return len == 0;
    if (*pattern != '*') return len > 0 && *pattern == *text && peer_matches(pattern + 1, text + 1, len - 1);
    if (pattern[1] == '\0') return 1;
    for (size_t i = 0; i <= len; i++) {
        if (peer_matches(pattern + 1, text + i, len - i)) return 1;
    }
    return 0;
}

/* -- the log ---------------------------------------------------------------------------------------- */

static void log_body_end(peer *p)
{
    if (!p->body_open) return;
    p->body_open = 0;
    peer_text_format(&p->log, "body %llu ", (unsigned long long)p->body_len);
    if (p->body_len <= sizeof p->body_head) {
        peer_text_add(&p->log, "\"", 1);
        text_add_escaped(&p->log, p->body_head, (size_t)p->body_len);
        peer_text_add(&p->log, "\"\n", 2);
    } else {
        peer_text_format(&p->log, "#%016llx\n", (unsigned long long)p->body_hash);
    }
    p->body_len = 0;
}

static void log_body(peer *p, const char *bytes, size_t len)
{
    if (!p->body_open) {
        p->body_open = 1;
        p->body_len = 0;
        p->body_hash = 14695981039346656037u;
    }
    for (size_t i = 0; i < len; i++) {
        if (p->body_len + i < sizeof p->body_head) p->body_head[p->body_len + i] = bytes[i];
        p->body_hash = (p->body_hash ^ (unsigned char)bytes[i]) * 1099511628211u;
    }
    p->body_len += len;
    p->message_len += len;
}

/* -- what no callback may do ------------------------------------------------------------------------ */

static void must_refuse(peer *p, const char *call, int result)
{
    if (result != EHLO_ERR_REENTRY) fault(p, "%s from inside a callback gave %d", call, result);
}

static void reenter_all(peer *p)
{
    ehlo_server *s = p->session;
    size_t used = 0;
    const ehlo_reply none = { 0 };
    if (!p->mode.reenter) return;
    must_refuse(p, "start", ehlo_server_start(s, p->now));
    must_refuse(p, "feed", ehlo_server_feed(s, p->now, "NOOP\r\n", 6, &used));
    must_refuse(p, "flush", ehlo_server_flush(s, p->now));
    must_refuse(p, "resume", ehlo_server_resume(s, p->now));
    must_refuse(p, "tick", ehlo_server_tick(s, p->now + 1000000000u));
    must_refuse(p, "eof", ehlo_server_eof(s, p->now));
    must_refuse(p, "lost", ehlo_server_lost(s));
    must_refuse(p, "shutdown", ehlo_server_shutdown(s, p->now));
    must_refuse(p, "tls_started", ehlo_server_tls_started(s, p->now, 0, NULL));
    must_refuse(p, "close", ehlo_server_close(s));
    int foreign = ehlo_server_answer(s, p->now, p->last_token + 77, &none);
    if (foreign != EHLO_ERR_STALE && foreign != EHLO_ERR_REENTRY) fault(p, "a foreign token inside gave %d", foreign);
    if (used != 0) fault(p, "a refused feed used octets");
    (void)ehlo_server_wants(s);
    (void)ehlo_server_deadline(s);
    (void)ehlo_server_with(s);
    if (ehlo_server_user(s) != p) fault(p, "user is not what was given");
    if (ehlo_server_service(s) != p->service) fault(p, "service is not what was given");
    if (ehlo_server_peer(s) != &p->setup->peer) fault(p, "peer is not what was given");
}

static void enter(peer *p)
{
    if (p->in_callback) fault(p, "a callback inside a callback");
    p->in_callback = 1;
    reenter_all(p);
}

static void leave(peer *p)
{
    p->in_callback = 0;
}

/* -- the application -------------------------------------------------------------------------------- */

static int tracks_transactions(const peer *p)
{
    return (p->setup->without & (PEER_NO_MAIL | PEER_NO_RCPT | PEER_NO_MESSAGE | PEER_NO_RESET)) == 0;
}

/* The state that an answer brings about; a code that grants grants, even one that has to be amended. */
static void note_answer(peer *p, const ehlo_reply *r)
{
    int accepted = r->code < 400;
    if (p->mail_pending && accepted) {
        p->open = 1;
        p->recipients = 0;
        p->message_len = 0;
    }
    if (p->rcpt_pending && accepted) p->recipients++;
    p->mail_pending = p->rcpt_pending = 0;
}

static const peer_rule *find_rule(const peer *p, const char *event, const char *subject, size_t len)
{
    for (size_t i = 0; i < p->setup->rule_count; i++) {
        const peer_rule *rule = &p->setup->rules[i];
        if (strcmp(rule->event, event) != 0) continue;
        if (rule->subject == NULL || peer_matches(rule->subject, subject, len)) return rule;
    }
    return NULL;
}

static ehlo_reply reply_of(uint16_t code, uint16_t subject, uint16_t detail, const char *text)
{
    ehlo_reply r = { 0 };
    r.code = code;
    r.enhanced[0] = (uint16_t)(code / 100);
    r.enhanced[1] = subject;
    r.enhanced[2] = detail;
    r.text = ehlo_str_from(text);
    return r;
}

static const peer_rule *built_in_rule(const char *event, const char *subject, peer_rule *rule)
{
    memset(rule, 0, sizeof *rule);
    if (strcmp(event, "mail") != 0 && strcmp(event, "rcpt") != 0) return rule;
    if (strncmp(subject, "<reject", 7) == 0) rule->reply = reply_of(550, 1, 1, "No such mailbox");
    if (strncmp(subject, "<defer", 6) == 0) rule->reply = reply_of(451, 3, 0, "Try again");
    if (strncmp(subject, "<later", 6) == 0) rule->later = 1;
    return rule;
}

static int answer_inside(peer *p, ehlo_token token, const ehlo_reply *r)
{
    int result = ehlo_server_answer(p->session, p->now, token, r);
    if (result != EHLO_OK)
        fault(p, "answer inside its callback gave %d", result);
    else if (ehlo_server_answer(p->session, p->now, token, r) != EHLO_ERR_STALE)
        fault(p, "a token answered twice");
    note_answer(p, r);
    return EHLO_LATER;
}

static int how_to_answer(peer *p, const peer_rule *rule)
{
    if (rule->later && p->mode.answers != PEER_BY_HAND) return PEER_LATER;
    if (p->mode.answers != PEER_MIXED) return p->mode.answers;
    return (int)draw(p, 3);
}

static int verdict(peer *p, const peer_rule *rule, ehlo_token token, ehlo_reply *r)
{
    if (rule->fail) return -1;
    switch (how_to_answer(p, rule)) {
    case PEER_VERDICT:
        *r = rule->reply;
        note_answer(p, r);
        return EHLO_OK;
    case PEER_INSIDE:
        return answer_inside(p, token, &rule->reply);
    default:
        p->token = token;
        p->reply = rule->reply;
        return EHLO_LATER;
    }
}

/* Logs an event that wants an answer, and answers it. line holds "event subject". */
static int decide(peer *p, ehlo_token token, ehlo_reply *r, const char *event, peer_text *line)
{
    peer_rule built_in;
    const char *subject = line->ptr + strlen(event);
    if (*subject == ' ') subject++;
    const peer_rule *rule = find_rule(p, event, subject, (size_t)(line->ptr + line->len - subject));
    if (rule == NULL) rule = built_in_rule(event, subject, &built_in);
    log_body_end(p);
    peer_text_add(&p->log, line->ptr, line->len);
    peer_text_add(&p->log, "\n", 1);
    if (token == 0) fault(p, "%s: token 0", event);
    if (p->token != 0) fault(p, "%s: a second decision while one is pending", event);
    if (r->code != 0 || r->text.len != 0 || r->enhanced[0] != 0) fault(p, "%s: the reply does not come zero", event);
    p->last_token = token;
    enter(p);
    int result = verdict(p, rule, token, r);
    leave(p);
    peer_text_free(line);
    return result;
}

static int app_connect(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    peer_text line = { 0 };
    (void)s;
    peer_text_format(&line, "connect");
    return decide(user, token, r, "connect", &line);
}

static int app_hello(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *r, void *user)
{
    peer_text line = { 0 };
    (void)s;
    peer_text_format(&line, "hello ");
    text_add_str(&line, ehlo_verb_name(hello->verb));
    peer_text_format(&line, " ");
    text_add_str(&line, hello->name);
    return decide(user, token, r, "hello", &line);
}

static void show_by(peer_text *line, const ehlo_mail *mail)
{
    if (!(mail->present & EHLO_PARAM_BY)) return;
    peer_text_format(line, " BY=%d;%s%s", (int)mail->by_seconds, mail->by_mode == EHLO_BY_RETURN ? "R" : "N",
                     mail->by_trace ? "T" : "");
}

static void show_str(peer_text *line, const char *name, int present, ehlo_str value)
{
    if (!present) return;
    peer_text_format(line, " %s=", name);
    text_add_escaped(line, value.ptr, value.len);
}

static void show_mail(peer_text *line, const ehlo_mail *mail)
{
    static const char *const bodies[] = { "?", "7BIT", "8BITMIME", "BINARYMIME" };
    uint32_t present = mail->present;
    if (present & EHLO_PARAM_SIZE) peer_text_format(line, " SIZE=%llu", (unsigned long long)mail->size);
    if (present & EHLO_PARAM_BODY) peer_text_format(line, " BODY=%s", bodies[mail->body]);
    if (present & EHLO_PARAM_SMTPUTF8) peer_text_format(line, " SMTPUTF8");
    if (present & EHLO_PARAM_RET) peer_text_format(line, " RET=%s", mail->ret == EHLO_RET_FULL ? "FULL" : "HDRS");
    show_str(line, "ENVID", (present & EHLO_PARAM_ENVID) != 0, mail->envid);
    show_str(line, "AUTH", (present & EHLO_PARAM_AUTH) != 0, mail->auth);
    if (present & EHLO_PARAM_REQUIRETLS) peer_text_format(line, " REQUIRETLS");
    show_by(line, mail);
    if (present & EHLO_PARAM_MT_PRIORITY) peer_text_format(line, " MT-PRIORITY=%d", mail->mt_priority);
    if (present & EHLO_PARAM_HOLDFOR) peer_text_format(line, " HOLDFOR=%u", (unsigned)mail->hold_for);
    show_str(line, "HOLDUNTIL", (present & EHLO_PARAM_HOLDUNTIL) != 0, mail->hold_until);
}

static int app_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    peer *p = user;
    peer_text line = { 0 };
    (void)s;
    if (p->open && tracks_transactions(p)) fault(p, "on_mail inside a transaction");
    peer_text_format(&line, "mail <");
    text_add_escaped(&line, mail->path.mailbox.ptr, mail->path.mailbox.len);
    peer_text_format(&line, ">");
    show_mail(&line, mail);
    p->mail_pending = 1;
    p->rcpt_pending = 0;
    return decide(p, token, r, "mail", &line);
}

static void show_notify(peer_text *line, unsigned notify)
{
    static const char *const names[] = { "NEVER", "SUCCESS", "FAILURE", "DELAY" };
    const char *separator = " NOTIFY=";
    for (unsigned i = 0; i < 4; i++) {
        if (!(notify & (1u << i))) continue;
        peer_text_format(line, "%s%s", separator, names[i]);
        separator = ",";
    }
}

static int app_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    peer *p = user;
    peer_text line = { 0 };
    (void)s;
    if (!p->open && tracks_transactions(p)) fault(p, "on_rcpt outside a transaction");
    peer_text_format(&line, "rcpt <");
    text_add_escaped(&line, rcpt->path.mailbox.ptr, rcpt->path.mailbox.len);
    peer_text_format(&line, ">");
    if (rcpt->present & EHLO_PARAM_NOTIFY) show_notify(&line, rcpt->notify);
    if (rcpt->present & EHLO_PARAM_ORCPT) {
        peer_text_format(&line, " ORCPT=");
        text_add_str(&line, rcpt->orcpt_type);
        peer_text_format(&line, ";");
        text_add_escaped(&line, rcpt->orcpt.ptr, rcpt->orcpt.len);
    }
    show_str(&line, "RRVS", (rcpt->present & EHLO_PARAM_RRVS) != 0, rcpt->rrvs);
    if (rcpt->rrvs_action != 0) peer_text_format(&line, ";%c", rcpt->rrvs_action);
    p->rcpt_pending = 1;
    p->mail_pending = 0;
    return decide(p, token, r, "rcpt", &line);
}

static int app_data(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    peer *p = user;
    peer_text line = { 0 };
    (void)s;
    if (tracks_transactions(p) && (!p->open || p->recipients == 0)) fault(p, "on_data without a recipient");
    peer_text_format(&line, "data");
    return decide(p, token, r, "data", &line);
}

/* Where the application's appetite ends: the rule's limit counts octets, not calls, so no cut can move it. */
static int app_body_rule(peer *p, const peer_rule *rule, const char *bytes, size_t len, ehlo_reply *r)
{
    if (rule == NULL || p->message_len + len <= rule->after) return EHLO_OK;
    log_body(p, bytes, (size_t)(rule->after - p->message_len));
    *r = rule->reply;
    return rule->fail ? -1 : EHLO_REFUSE;
}

static size_t app_appetite(peer *p, size_t len)
{
    if (p->mode.body_max == 0) return len;
    if (p->body_calls++ % 2 == 0) return 0;
    return len < p->mode.body_max ? len : p->mode.body_max;
}

static int app_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    peer *p = user;
    (void)s;
    if (*taken != len) fault(p, "on_body: taken does not come as len");
    if (len == 0) fault(p, "on_body without octets");
    if (p->body_blocked) fault(p, "on_body before resume");
    if (!p->open && tracks_transactions(p)) fault(p, "on_body outside a transaction");
    enter(p);
    int result = app_body_rule(p, find_rule(p, "body", "", 0), bytes, len, r);
    if (result == EHLO_OK) {
        *taken = app_appetite(p, len);
        p->body_blocked = *taken < len;
        if (*taken > 0) log_body(p, bytes, *taken);
    }
    leave(p);
    return result;
}

static int app_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    static const char *const bodies[] = { "", " 7BIT", " 8BITMIME", " BINARYMIME" };
    peer *p = user;
    peer_text line = { 0 };
    (void)s;
    if (tracks_transactions(p) && !p->open) fault(p, "on_message outside a transaction");
    if (tracks_transactions(p) && message->recipients != p->recipients) fault(p, "on_message: wrong recipients");
    if (!(p->setup->without & PEER_NO_BODY) && message->size != p->message_len) fault(p, "on_message: wrong size");
    p->open = 0;
    peer_text_format(&line, "message %llu to %u%s%s%s", (unsigned long long)message->size,
                     (unsigned)message->recipients, bodies[message->body & 3], message->smtputf8 ? " SMTPUTF8" : "",
                     message->chunked ? " chunked" : "");
    return decide(p, token, r, "message", &line);
}

static int app_result(ehlo_server *s, ehlo_token token, size_t rcpt, ehlo_reply *r, void *user)
{
    peer_text line = { 0 };
    (void)s;
    peer_text_format(&line, "result %zu", rcpt);
    return decide(user, token, r, "result", &line);
}

static void show_response(peer_text *line, ehlo_str s)
{
    if (s.ptr == NULL)
        peer_text_format(line, " -");
    else if (s.len == 0)
        peer_text_format(line, " =");
    else if (s.len > 200)
        peer_text_format(line, " (%zu octets)", s.len);
    else {
        peer_text_format(line, " ");
        text_add_escaped(line, s.ptr, s.len);
    }
}

static int app_auth(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r, void *user)
{
    peer *p = user;
    peer_text line = { 0 };
    (void)s;
    if (mechanism.ptr == NULL && response.ptr == NULL) {
        log_body_end(p);
        peer_text_format(&p->log, "auth cancelled\n");
        enter(p);
        leave(p);
        return EHLO_OK;
    }
    peer_text_format(&line, "auth ");
    if (mechanism.len == 0)
        peer_text_format(&line, "-");
    else
        text_add_escaped(&line, mechanism.ptr, mechanism.len);
    show_response(&line, response);
    return decide(p, token, r, "auth", &line);
}

static int app_starttls(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    peer_text line = { 0 };
    (void)s;
    peer_text_format(&line, "starttls");
    return decide(user, token, r, "starttls", &line);
}

static int app_command(ehlo_server *s, ehlo_token token, const ehlo_command *command, ehlo_reply *r, void *user)
{
    peer_text line = { 0 };
    (void)s;
    peer_text_format(&line, "command ");
    if (command->verb == EHLO_VERB_UNKNOWN) peer_text_format(&line, "UNKNOWN:");
    text_add_escaped(&line, command->name.ptr, command->name.len);
    if (command->option != 0) peer_text_format(&line, " %c", command->option);
    if (command->argument.ptr != NULL) {
        peer_text_format(&line, " ");
        text_add_escaped(&line, command->argument.ptr, command->argument.len);
    }
    if (command->utf8) peer_text_format(&line, " SMTPUTF8");
    return decide(user, token, r, "command", &line);
}

static void app_reset(ehlo_server *s, int reason, void *user)
{
    static const char *const names[] = {
        [EHLO_RESET_RSET] = "RSET",       [EHLO_RESET_HELLO] = "HELLO", [EHLO_RESET_REFUSED] = "REFUSED",
        [EHLO_RESET_QUIT] = "QUIT",       [EHLO_RESET_EOF] = "EOF",     [EHLO_RESET_LOST] = "LOST",
        [EHLO_RESET_TIMEOUT] = "TIMEOUT", [EHLO_RESET_LIMIT] = "LIMIT", [EHLO_RESET_CLOSED] = "CLOSED",
    };
    peer *p = user;
    (void)s;
    if (reason < EHLO_RESET_RSET || reason > EHLO_RESET_CLOSED) {
        fault(p, "on_reset: reason %d", reason);
        return;
    }
    if (tracks_transactions(p) && !p->open) fault(p, "on_reset outside a transaction");
    p->open = 0;
    p->body_blocked = 0;
    enter(p);
    leave(p);
    log_body_end(p);
    peer_text_format(&p->log, "reset %s\n", names[reason]);
}

static void app_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    static const char *const names[] = {
        [EHLO_CLOSE_QUIT] = "QUIT",       [EHLO_CLOSE_EOF] = "EOF",           [EHLO_CLOSE_LOST] = "LOST",
        [EHLO_CLOSE_TIMEOUT] = "TIMEOUT", [EHLO_CLOSE_LIMIT] = "LIMIT",       [EHLO_CLOSE_PROTOCOL] = "PROTOCOL",
        [EHLO_CLOSE_REFUSED] = "REFUSED", [EHLO_CLOSE_SHUTDOWN] = "SHUTDOWN", [EHLO_CLOSE_CLOSED] = "CLOSED",
    };
    peer *p = user;
    (void)s;
    p->closes++;
    if (reason < EHLO_CLOSE_QUIT || reason > EHLO_CLOSE_CLOSED) {
        fault(p, "on_close: reason %d", reason);
        return;
    }
    if (pending != 0 && pending != p->last_token) fault(p, "on_close: a foreign token");
    enter(p);
    leave(p);
    log_body_end(p);
    peer_text_format(&p->log, "close %s%s\n", names[reason], pending != 0 ? " pending" : "");
}

static void app_trace(ehlo_server *s, int direction, ehlo_str bytes, int secret, void *user)
{
    peer *p = user;
    (void)s;
    if (secret && bytes.ptr != NULL && !(p->setup->config.flags & EHLO_SERVICE_TRACE_SECRETS)) {
        fault(p, "on_trace shows a secret");
    }
    if (!p->in_callback) {
        enter(p);
        leave(p);
    }
    if (direction == EHLO_TRACE_OUT) {
        for (size_t i = 0; i < bytes.len; i++) peer_text_add(&p->trace_out, bytes.ptr != NULL ? bytes.ptr + i : "", 1);
        return;
    }
    if (bytes.ptr == NULL)
        peer_text_format(&p->trace_in, "(secret %zu)", bytes.len);
    else
        text_add_escaped(&p->trace_in, bytes.ptr, bytes.len);
    peer_text_add(&p->trace_in, "\n", 1);
}

/* -- the transport ---------------------------------------------------------------------------------- */

static int transport_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    peer *p = user;
    size_t room = p->mode.write_max != 0 ? p->mode.write_max : SIZE_MAX;
    size_t offered = 0;
    (void)s;
    enter(p);
    leave(p);
    for (size_t i = 0; i < n; i++) offered += parts[i].len;
    if (offered == 0) fault(p, "write without octets");
    if (p->closing) fault(p, "write after the transport was gone");
    *taken = 0;
    if (++p->write_calls == p->mode.fail_write) return -1;
    if (p->mode.write_blocks && p->write_calls % 2 == 0) return 0;
    for (size_t i = 0; i < n && room > 0; i++) {
        size_t len = parts[i].len < room ? parts[i].len : room;
        peer_text_add(&p->out, parts[i].ptr, len);
        *taken += len;
        room -= len;
    }
    p->writes++;
    p->last_write = *taken;
    return 0;
}

static void *lender_lend(size_t len, void *ctx)
{
    peer *p = ctx;
    if (++p->lends == p->mode.fail_lend) return NULL;
    if (++p->blocks_lent > 1) fault(p, "a second output block");
    return malloc(len);
}

static void lender_give(void *mem, size_t len, void *ctx)
{
    peer *p = ctx;
    if (p->blocks_lent-- == 0) fault(p, "gave back more than was lent");
    if (len > 0) memset(mem, 0xDB, len);
    free(mem);
}

/* -- making a run ----------------------------------------------------------------------------------- */

void peer_setup_default(peer_setup *setup)
{
    memset(setup, 0, sizeof *setup);
    setup->config.hostname = ehlo_str_from("mx.example");
    setup->facts.version = ehlo_str_from("TLSv1.3");
    setup->facts.cipher = ehlo_str_from("X");
}

static void fill_callbacks(ehlo_server_callbacks *cb, unsigned without)
{
    memset(cb, 0, sizeof *cb);
    cb->write = transport_write;
    if (!(without & PEER_NO_CONNECT)) cb->on_connect = app_connect;
    if (!(without & PEER_NO_HELLO)) cb->on_hello = app_hello;
    if (!(without & PEER_NO_MAIL)) cb->on_mail = app_mail;
    if (!(without & PEER_NO_RCPT)) cb->on_rcpt = app_rcpt;
    if (!(without & PEER_NO_DATA)) cb->on_data = app_data;
    if (!(without & PEER_NO_BODY)) cb->on_body = app_body;
    if (!(without & PEER_NO_MESSAGE)) cb->on_message = app_message;
    if (!(without & PEER_NO_RESULT)) cb->on_result = app_result;
    if (!(without & PEER_NO_AUTH)) cb->on_auth = app_auth;
    if (!(without & PEER_NO_STARTTLS)) cb->on_starttls = app_starttls;
    if (!(without & PEER_NO_COMMAND)) cb->on_command = app_command;
    if (!(without & PEER_NO_RESET)) cb->on_reset = app_reset;
    if (!(without & PEER_NO_CLOSE)) cb->on_close = app_close;
    if (!(without & PEER_NO_TRACE)) cb->on_trace = app_trace;
}

static int make_service(peer *p, const ehlo_server_callbacks *cb)
{
    ehlo_service_config config = p->setup->config;
    if (p->mode.lender && config.lender.lend == NULL) {
        config.lender.lend = lender_lend;
        config.lender.give = lender_give;
        config.lender.ctx = p;
    }
    size_t size = ehlo_service_size(&config);
    if (size == 0) return EHLO_ERR_ARG;
    p->service_mem = malloc(size);
    int result = ehlo_service_init(&p->service, p->service_mem, size, &config, cb);
    memset(&config, 0xEE, sizeof config); /* nothing is kept of it */
    return result;
}

peer *peer_new(const peer_setup *setup, const peer_mode *mode)
{
    ehlo_server_callbacks cb;
    peer *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    p->setup = setup;
    p->mode = *mode;
    p->now = 1000;
    p->random = mode->seed * 2654435761u + 1;
    if (p->random == 0) p->random = 1;
    fill_callbacks(&cb, setup->without);
    peer_text_add(&p->log, "", 0);
    peer_text_add(&p->out, "", 0);
    peer_text_add(&p->hold, "", 0);
    peer_text_add(&p->trace_in, "", 0);
    if (make_service(p, &cb) != EHLO_OK) {
        peer_free(p);
        return NULL;
    }
    p->session_size = ehlo_server_size(p->service);
    p->session_mem = malloc(p->session_size);
    if (p->session_mem == NULL) abort();
    memset(p->session_mem, 0xA5, p->session_size);
    if (ehlo_server_init(&p->session, p->session_mem, p->session_size, p->service, &setup->peer, p) != EHLO_OK) {
        fault(p, "ehlo_server_init failed");
    }
    return p;
}

static void arena_free(peer *p)
{
    if (p->arena != NULL) munmap(p->arena, p->arena_len + (size_t)sysconf(_SC_PAGESIZE));
    p->arena = NULL;
}

void peer_free(peer *p)
{
    if (p == NULL) return;
    arena_free(p);
    free(p->session_mem);
    free(p->service_mem);
    peer_text_free(&p->log);
    peer_text_free(&p->out);
    peer_text_free(&p->trace_in);
    peer_text_free(&p->trace_out);
    peer_text_free(&p->hold);
    free(p);
}

/* -- what must hold after every call ---------------------------------------------------------------- */

static void check_token(peer *p, unsigned wants)
{
    const ehlo_reply none = { 0 };
    if ((wants & EHLO_WANT_ANSWER) != 0 && p->token == 0) fault(p, "wants an answer, none is pending");
    if (p->token == 0 || (wants & EHLO_WANT_ANSWER) != 0) return;
    /* The session gave the decision up; then it is over, and the token is spent. */
    if (wants & EHLO_WANT_READ) fault(p, "reads on while a decision is pending");
    if (ehlo_server_answer(p->session, p->now, p->token, &none) != EHLO_ERR_STALE) fault(p, "a spent token was taken");
    p->token = 0;
    p->mail_pending = p->rcpt_pending = 0;
}

/* What it wants to be done: that something is secret may be told beside anything. */
static unsigned wants_done(const peer *p)
{
    return ehlo_server_wants(p->session) & ~(unsigned)EHLO_WANT_SECRET;
}

static void check(peer *p)
{
    unsigned wants = wants_done(p);
    uint64_t deadline = ehlo_server_deadline(p->session), same = 0;
    if (ehlo_server_status(p->session, &same) != ehlo_server_wants(p->session) || same != deadline)
        fault(p, "status is not wants and deadline");
    if ((wants & EHLO_WANT_CLOSE) != 0 && wants != EHLO_WANT_CLOSE) fault(p, "CLOSE and more: %u", wants);
    /* Who minds early input has to read it while the greeting is pending. */
    if ((wants & EHLO_WANT_ANSWER) != 0 && (wants & EHLO_WANT_READ) != 0 &&
        !(p->setup->config.flags & EHLO_SERVICE_EARLY_INPUT)) {
        fault(p, "ANSWER and READ");
    }
    if (p->body_blocked && (wants & EHLO_WANT_READ) != 0) fault(p, "READ while the body is blocked");
    if ((wants & EHLO_WANT_TLS) != 0 && wants != EHLO_WANT_TLS) fault(p, "TLS and more: %u", wants);
    check_token(p, wants);
    if (wants & EHLO_WANT_CLOSE) {
        p->body_blocked = 0;
        return;
    }
    if (wants == 0 && !p->body_blocked) fault(p, "wants nothing");
    if (wants != 0 && deadline == UINT64_MAX) fault(p, "waits for %u without a deadline", wants);
    if (deadline <= p->now) fault(p, "a deadline passed unheard");
}

static void note_result(peer *p, const char *call, int result)
{
    int expected = EHLO_OK;
    if (p->mode.fail_write != 0 && p->write_calls >= p->mode.fail_write) expected = EHLO_ERR_TRANSPORT;
    if (p->mode.fail_lend != 0 && p->lends >= p->mode.fail_lend) expected = EHLO_ERR_MEMORY;
    if (result == EHLO_OK) return;
    p->result = result;
    if (result != expected) fault(p, "%s gave %d", call, result);
    if (result < EHLO_ERR_FATAL) p->closing = 1;
    if (p->closing && wants_done(p) != EHLO_WANT_CLOSE) fault(p, "%s: fatal, but no CLOSE", call);
}

static void pester(peer *p)
{
    ehlo_server *s = p->session;
    const ehlo_reply none = { 0 };
    size_t used = 0;
    unsigned wants = wants_done(p);
    if (p->closing || (wants & EHLO_WANT_CLOSE) != 0) return;
    if (ehlo_server_start(s, p->now) != EHLO_ERR_STATE) fault(p, "a second start");
    if (!(wants & EHLO_WANT_TLS) && ehlo_server_tls_started(s, p->now, 0, NULL) != EHLO_ERR_STATE) {
        fault(p, "tls_started unasked");
    }
    if (ehlo_server_answer(s, p->now, 0, &none) != EHLO_ERR_STALE) fault(p, "token 0 was taken");
    if (ehlo_server_answer(s, p->now, p->last_token + 99, &none) != EHLO_ERR_STALE) fault(p, "a foreign token");
    if (p->token == 0 && ehlo_server_answer(s, p->now, p->last_token, &none) != EHLO_ERR_STALE) {
        fault(p, "a spent token");
    }
    if (!p->body_blocked) {
        int result = ehlo_server_resume(s, p->now);
        if (result != EHLO_OK && result != EHLO_ERR_STATE) fault(p, "resume unasked gave %d", result);
    }
    note_result(p, "feed of nothing", ehlo_server_feed(s, p->now, "", 0, &used));
    if ((wants & (EHLO_WANT_ANSWER | EHLO_WANT_TLS)) != 0 && (wants & EHLO_WANT_READ) == 0) {
        note_result(p, "feed", ehlo_server_feed(s, p->now, "QUIT\r\n", 6, &used));
        if (used != 0) fault(p, "feed took octets while READ was not wanted");
    }
    if (wants_done(p) != wants) fault(p, "pestering changed wants");
}

static void after_call(peer *p, const char *call, int result)
{
    note_result(p, call, result);
    if (p->fault[0] == '\0') check(p);
    if (p->mode.ticks && !p->closing && p->fault[0] == '\0') {
        note_result(p, "tick", ehlo_server_tick(p->session, p->now));
        check(p);
    }
    if (p->mode.pester && p->fault[0] == '\0') pester(p);
}

/* -- the four things that move a session ------------------------------------------------------------ */

static const char *at_the_edge(peer *p, const char *bytes, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (p->arena == NULL || p->arena_len < len) {
        arena_free(p);
        p->arena_len = (len / page + 1) * page;
        void *mem = mmap(NULL, p->arena_len + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mem == MAP_FAILED) abort();
        p->arena = mem;
        if (mprotect(p->arena + p->arena_len, page, PROT_NONE) != 0) abort();
    }
    char *start = p->arena + p->arena_len - len;
    if (len > 0) memcpy(start, bytes, len);
    return start;
}

static int move_feed(peer *p)
{
    size_t used = 0, len = p->hold.len < OFFER_MAX ? p->hold.len : OFFER_MAX;
    unsigned before = wants_done(p);
    if (len == 0 || p->closing) return 0;
    const char *bytes = at_the_edge(p, p->hold.ptr, len);
    int result = ehlo_server_feed(p->session, p->now, bytes, len, &used);
    memset(p->arena + p->arena_len - len, 0xDD, len); /* no view may outlive the call */
    if (used > len) {
        fault(p, "feed used more than it was given");
        return 0;
    }
    unsigned after = wants_done(p);
    size_t rest = len - used;
    if (!(before & EHLO_WANT_READ) && used != 0 && used != len) fault(p, "feed took octets without READ");
    if (result == EHLO_OK && rest != 0 && (after & EHLO_WANT_READ) && rest >= ehlo_service_input_min(p->service)) {
        fault(p, "live-lock: READ wanted, %zu octets offered, %zu used", len, used);
    }
    text_drop_front(&p->hold, used);
    p->fed += used;
    after_call(p, "feed", result);
    return used > 0 || before != after;
}

int peer_answer(peer *p, const ehlo_reply *reply)
{
    ehlo_token token = p->token;
    p->token = 0;
    int result = ehlo_server_answer(p->session, p->now, token, reply);
    if (result == EHLO_OK) {
        /* Another decision may have been asked for meanwhile; its flags are its own. */
        if (p->token == 0 || p->last_token == token) note_answer(p, reply);
        return result;
    }
    if (p->token == 0 && result > EHLO_ERR_FATAL) p->token = token;
    return result;
}

static int move_answer(peer *p)
{
    ehlo_reply reply = p->reply;
    if (p->token == 0 || p->mode.answers == PEER_BY_HAND || p->closing) return 0;
    /* The library acts on the answer inside the call; the flags must be right before it calls back. */
    ehlo_token token = p->token;
    p->token = 0;
    note_answer(p, &reply);
    after_call(p, "answer", ehlo_server_answer(p->session, p->now, token, &reply));
    return 1;
}

static int move_resume(peer *p)
{
    if (!p->body_blocked || p->closing) return 0;
    p->body_blocked = 0;
    after_call(p, "resume", ehlo_server_resume(p->session, p->now));
    return 1;
}

static int move_flush(peer *p)
{
    unsigned before = p->write_calls;
    if (!(ehlo_server_wants(p->session) & EHLO_WANT_WRITE) || p->closing) return 0;
    after_call(p, "flush", ehlo_server_flush(p->session, p->now));
    if (p->write_calls == before) fault(p, "flush writes nothing though WRITE is wanted");
    return 1;
}

static int move_once(peer *p)
{
    static int (*const moves[])(peer *) = { move_answer, move_resume, move_flush, move_feed };
    unsigned first = p->mode.lazy ? draw(p, 4) : 0;
    if (p->fault[0] != '\0') return 0;
    for (unsigned i = 0; i < 4; i++) {
        if (moves[(first + i) % 4](p)) return 1;
    }
    return 0;
}

void peer_settle(peer *p)
{
    size_t budget = 4096 + 16 * (p->hold.len + ehlo_service_reply_max(p->service));
    while (move_once(p)) {
        if (ehlo_server_wants(p->session) & EHLO_WANT_CLOSE) break;
        if (budget-- == 0) {
            budget = 16 * p->hold.len;
            if (p->hold.len == 0) fault(p, "it never settles");
        }
    }
}

/* -- steps ------------------------------------------------------------------------------------------ */

static int tell_tls(peer *p, size_t held)
{
    const ehlo_tls_facts *facts = &p->setup->facts;
    int result = ehlo_server_tls_started(p->session, p->now, held, facts);
    if (held == 0 && ehlo_server_tls_facts(p->session) != facts) fault(p, "TLS facts are not what was given");
    return result;
}

int peer_start(peer *p)
{
    if (p->setup->wrapped) note_result(p, "tls_started", tell_tls(p, 0));
    after_call(p, "start", ehlo_server_start(p->session, p->now));
    if (!p->mode.lazy) peer_settle(p);
    return p->result;
}

static size_t next_piece(peer *p, size_t left)
{
    if (p->mode.cut == PEER_WHOLE || left == 0) return left;
    if (p->mode.cut == PEER_BYTES) return 1;
    size_t len = draw(p, 8) == 0 ? 1 + draw(p, 400) : 1 + draw(p, 9);
    return len < left ? len : left;
}

static void stop_here(peer *p)
{
    peer_step step = { p->mode.stop == PEER_STOP_EOF ? PEER_EOF : PEER_LOST, NULL, 0, 0 };
    /* eof speaks of the octets consumed: what a READ to come would take goes first. */
    if (!p->mode.stop_early || (p->mode.stop == PEER_STOP_EOF && p->hold.len > 0)) peer_settle(p);
    peer_act_on(p, &step);
    p->stopped = 1;
}

void peer_send(peer *p, const char *bytes, size_t len)
{
    int stops = 0;
    if (p->stopped) return;
    if (p->mode.stop != PEER_STOP_NEVER && p->sent + len >= p->mode.stop_at) {
        len = p->mode.stop_at - p->sent;
        stops = 1;
    }
    p->sent += len;
    for (size_t i = 0; i < len && p->fault[0] == '\0';) {
        size_t piece = next_piece(p, len - i);
        if (p->closing || (ehlo_server_wants(p->session) & EHLO_WANT_CLOSE) != 0) break;
        peer_text_add(&p->hold, bytes + i, piece);
        i += piece;
        if (!p->mode.lazy)
            peer_settle(p);
        else if (draw(p, 2))
            move_once(p);
    }
    if (stops) stop_here(p);
}

void peer_say(peer *p, const char *text)
{
    peer_send(p, text, strlen(text));
}

static void begin_tls(peer *p, size_t held)
{
    peer_settle(p);
    if (ehlo_server_wants(p->session) & EHLO_WANT_CLOSE) return;
    if (!(ehlo_server_wants(p->session) & EHLO_WANT_TLS)) {
        fault(p, "TLS is not wanted");
        return;
    }
    held += p->hold.len; /* what is not consumed was said in clear */
    text_drop_front(&p->hold, p->hold.len);
    after_call(p, "tls_started", tell_tls(p, held));
}

static void end_input(peer *p)
{
    after_call(p, "eof", ehlo_server_eof(p->session, p->now));
    text_drop_front(&p->hold, p->hold.len);
    peer_settle(p);
    if (p->closing || p->fault[0] != '\0' || p->mode.answers == PEER_BY_HAND) return;
    if (!(ehlo_server_wants(p->session) & EHLO_WANT_CLOSE)) fault(p, "does not end after eof");
}

static void lose(peer *p)
{
    p->closing = 1;
    int result = ehlo_server_lost(p->session);
    if (result != EHLO_OK) fault(p, "lost gave %d", result);
    if (wants_done(p) != EHLO_WANT_CLOSE) fault(p, "does not end after lost");
    check(p);
}

void peer_act_on(peer *p, const peer_step *step)
{
    int over = p->closing || (ehlo_server_wants(p->session) & EHLO_WANT_CLOSE) != 0;
    if (over || p->fault[0] != '\0') return;
    switch (step->act) {
    case PEER_SEND:
        peer_send(p, step->bytes, step->len);
        break;
    case PEER_WAIT:
        peer_settle(p);
        break;
    case PEER_TLS:
        begin_tls(p, (size_t)step->number);
        break;
    case PEER_ADVANCE:
        peer_settle(p);
        p->now += step->number;
        after_call(p, "tick", ehlo_server_tick(p->session, p->now));
        peer_settle(p);
        break;
    case PEER_EOF:
        if (!p->mode.stop_early) peer_settle(p);
        end_input(p);
        break;
    case PEER_LOST:
        if (!p->mode.stop_early) peer_settle(p);
        lose(p);
        break;
    case PEER_SHUTDOWN:
        peer_settle(p);
        after_call(p, "shutdown", ehlo_server_shutdown(p->session, p->now));
        peer_settle(p);
        break;
    }
}

/* -- the end ---------------------------------------------------------------------------------------- */

int peer_replies_valid(const char *bytes, size_t len, const char **why)
{
    size_t start = 0;
    *why = NULL;
    for (size_t i = 0; i < len && *why == NULL; i++) {
        if (bytes[i] != '\n') continue;
        const char *line = bytes + start;
        size_t n = i + 1 - start;
        if (n > 512)
            *why = "a line over 512 octets";
        else if (n < 5 || line[n - 2] != '\r')
            *why = "a bare LF or a short line";
        else if (line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '5')
            *why = "a bad code";
        else if (line[2] < '0' || line[2] > '9')
            *why = "a bad code";
        else if (n > 5 && line[3] != ' ' && line[3] != '-')
            *why = "no separator behind the code";
        else if (memchr(line, '\0', n) != NULL)
            *why = "a NUL";
        else if (memchr(line, '\r', n) != line + n - 2)
            *why = "a bare CR";
        start = i + 1;
    }
    if (*why == NULL && start != len) *why = "an unfinished line";
    return *why == NULL;
}

/* Lines of one reply agree in their code; an enhanced code agrees with it in its class. */
static void check_replies(peer *p)
{
    const char *why, *line = p->out.ptr, *before = NULL;
    if (!peer_replies_valid(p->out.ptr, p->out.len, &why)) {
        fault(p, "output: %s", why);
        return;
    }
    while (line < p->out.ptr + p->out.len) {
        if (before != NULL && before[3] == '-' && memcmp(before, line, 3) != 0) fault(p, "output: the code changes");
        if (line[4] >= '2' && line[4] <= '5' && line[5] == '.' && line[4] != line[0]) fault(p, "output: wrong class");
        before = line;
        line = strchr(line, '\n') + 1;
    }
    if (before != NULL && before[3] == '-') fault(p, "output: a reply without its last line");
}

static void check_trace(peer *p)
{
    if (p->setup->without & PEER_NO_TRACE) return;
    if (p->trace_out.len != p->out.len) {
        fault(p, "the trace has %zu octets of %zu", p->trace_out.len, p->out.len);
        return;
    }
    for (size_t i = 0; i < p->out.len; i++) {
        if (p->trace_out.ptr[i] != p->out.ptr[i] && p->trace_out.ptr[i] != '\0') {
            fault(p, "the trace differs at octet %zu", i);
            return;
        }
    }
}

void peer_end(peer *p)
{
    if (p->fault[0] == '\0' && !p->closing && p->mode.answers != PEER_BY_HAND) peer_settle(p);
    p->token = 0;
    int result = ehlo_server_close(p->session);
    if (result != EHLO_OK) fault(p, "close gave %d", result);
    memset(p->session_mem, 0xA5, p->session_size);
    log_body_end(p);
    if (!(p->setup->without & PEER_NO_CLOSE) && p->closes != 1) fault(p, "on_close came %d times", p->closes);
    if (p->open && tracks_transactions(p)) fault(p, "an accepted MAIL without on_message or on_reset");
    if (p->blocks_lent != 0) fault(p, "an output block was not given back");
    if (!p->closing && p->mode.answers != PEER_BY_HAND) check_replies(p);
    check_trace(p);
}

unsigned peer_wants(const peer *p)
{
    return ehlo_server_wants(p->session);
}

static int joins(const peer_mode *mode, const peer_step *step)
{
    return step->act == PEER_SEND || (step->act == PEER_WAIT && mode->pipelined);
}

peer *peer_run(const peer_setup *setup, const peer_step *steps, size_t count, const peer_mode *mode)
{
    peer *p = peer_new(setup, mode);
    if (p == NULL) return NULL;
    peer_start(p);
    for (size_t i = 0; i < count;) {
        peer_text batch = { 0 };
        for (; i < count && joins(mode, &steps[i]); i++) {
            if (steps[i].act == PEER_SEND) peer_text_add(&batch, steps[i].bytes, steps[i].len);
        }
        if (batch.len > 0) peer_send(p, batch.ptr, batch.len);
        peer_text_free(&batch);
        if (i < count && !p->stopped) peer_act_on(p, &steps[i]);
        if (i < count) i++;
    }
    peer_end(p);
    return p;
}

void peer_codes(const peer *p, peer_text *codes)
{
    const char *line = p->out.ptr, *end = p->out.ptr + p->out.len;
    peer_text_add(codes, "", 0);
    while (line + 4 < end) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (next == NULL) break;
        if (line[3] != '-') peer_text_format(codes, "%.3s ", line);
        line = next + 1;
    }
}

/* -- manners ---------------------------------------------------------------------------------------- */

const peer_mode peer_modes[] = {
    { .name = "whole" },
    { .name = "whole, pipelined", .pipelined = 1 },
    { .name = "bytes", .cut = PEER_BYTES },
    { .name = "bytes, ticks", .cut = PEER_BYTES, .ticks = 1, .pipelined = 1 },
    { .name = "whole, answers inside", .answers = PEER_INSIDE, .pipelined = 1 },
    { .name = "whole, answers later", .answers = PEER_LATER, .pipelined = 1 },
    { .name = "bytes, answers later, lender", .cut = PEER_BYTES, .answers = PEER_LATER, .lender = 1 },
    { .name = "whole, writer takes one octet", .write_max = 1, .pipelined = 1 },
    { .name = "whole, writer takes three, blocks, lender",
      .write_max = 3,
      .write_blocks = 1,
      .pipelined = 1,
      .lender = 1 },
    { .name = "whole, body taken by ones", .body_max = 1, .pipelined = 1 },
    { .name = "whole, body taken by sevens", .body_max = 7 },
    { .name = "whole, pestered", .pester = 1, .pipelined = 1 },
    { .name = "bytes, pestered, later", .cut = PEER_BYTES, .pester = 1, .answers = PEER_LATER, .body_max = 2 },
    { .name = "whole, re-entered", .reenter = 1, .pipelined = 1 },
    { .name = "random, re-entered, inside", .cut = PEER_RANDOM, .seed = 5, .reenter = 1, .answers = PEER_INSIDE },
};
const size_t peer_mode_count = sizeof peer_modes / sizeof peer_modes[0];

peer_mode peer_mode_random(unsigned seed)
{
    peer dice = { 0 };
    peer_mode mode = { .name = "random" };
    dice.random = seed * 2246822519u + 3266489917u;
    if (dice.random == 0) dice.random = 1;
    for (int i = 0; i < 8; i++) (void)draw(&dice, 2);
    mode.seed = seed;
    mode.cut = draw(&dice, 4) == 0 ? PEER_WHOLE : PEER_RANDOM;
    mode.answers = (int)draw(&dice, 4);
    mode.write_max = draw(&dice, 3) == 0 ? 0 : 1 + draw(&dice, 20);
    mode.write_blocks = (int)draw(&dice, 2);
    mode.body_max = draw(&dice, 3) == 0 ? 0 : 1 + draw(&dice, 12);
    mode.pipelined = (int)draw(&dice, 2);
    mode.lazy = (int)draw(&dice, 2);
    mode.ticks = (int)draw(&dice, 2);
    mode.pester = draw(&dice, 4) == 0;
    mode.reenter = draw(&dice, 4) == 0;
    mode.lender = (int)draw(&dice, 2);
    return mode;
}
