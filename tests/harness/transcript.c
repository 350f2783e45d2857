#include "transcript.h"
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int complain(transcript *t, int line, const char *what)
{
    if (t->error[0] == '\0') snprintf(t->error, sizeof t->error, "line %d: %s", line, what);
    return 0;
}

/* -- names ------------------------------------------------------------------------------------------ */

static const script_named flags[] = {
    { "LMTP", EHLO_SERVICE_LMTP },
    { "NO_EXTENSIONS", EHLO_SERVICE_NO_EXTENSIONS },
    { "STRICT_COLON", EHLO_SERVICE_STRICT_COLON },
    { "EARLY_INPUT", EHLO_SERVICE_EARLY_INPUT },
    { "REQUIRE_TLS", EHLO_SERVICE_REQUIRE_TLS },
    { "REQUIRE_AUTH", EHLO_SERVICE_REQUIRE_AUTH },
    { "AUTH_CLEAR", EHLO_SERVICE_AUTH_CLEAR },
    { "REFUSE_8BIT", EHLO_SERVICE_REFUSE_8BIT },
    { "TRACE_SECRETS", EHLO_SERVICE_TRACE_SECRETS },
    { "SUBMISSION", EHLO_SERVICE_SUBMISSION },
};

enum { FACT_EXPORTER = 1, FACT_END_POINT = 2, FACT_SUBJECT = 4, FACT_VERIFIED = 8 };
static const script_named facts[] = {
    { "exporter", FACT_EXPORTER },
    { "end_point", FACT_END_POINT },
    { "subject", FACT_SUBJECT },
    { "verified", FACT_VERIFIED },
};

static const script_named callbacks[] = {
    { "on_connect", PEER_NO_CONNECT },   { "on_hello", PEER_NO_HELLO },     { "on_mail", PEER_NO_MAIL },
    { "on_rcpt", PEER_NO_RCPT },         { "on_data", PEER_NO_DATA },       { "on_body", PEER_NO_BODY },
    { "on_message", PEER_NO_MESSAGE },   { "on_result", PEER_NO_RESULT },   { "on_auth", PEER_NO_AUTH },
    { "on_starttls", PEER_NO_STARTTLS }, { "on_command", PEER_NO_COMMAND }, { "on_reset", PEER_NO_RESET },
    { "on_close", PEER_NO_CLOSE },       { "on_trace", PEER_NO_TRACE },     { "anything", PEER_NO_ANYTHING },
};

static const script_named leniencies[] = {
    { "BARE_PATH", EHLO_SYNTAX_BARE_PATH },       { "UNDERSCORE", EHLO_SYNTAX_UNDERSCORE },
    { "TRAILING_DOT", EHLO_SYNTAX_TRAILING_DOT }, { "LONG_LOCAL", EHLO_SYNTAX_LONG_LOCAL },
    { "DUPLICATES", EHLO_SYNTAX_DUPLICATES },
};

/* Adds them; 0 for names that are unknown, and for none. */
static int set_names(unsigned *names, const script_named *table, size_t count, const char *text)
{
    long value = script_names(table, count, text);
    if (value > 0) *names |= (unsigned)value;
    return value > 0;
}

static int set_policy(uint8_t *policy, const char *name)
{
    long value = script_name(script_policies, COUNT(script_policies), name, strlen(name));
    if (value > 0) *policy = (uint8_t)value;
    return value > 0;
}

/* What is known of TLS beside its version. */
static int set_facts(ehlo_tls_facts *known, const char *text)
{
    long value = script_names(facts, COUNT(facts), text);
    if (value <= 0) return 0;
    if (value & FACT_EXPORTER) known->exporter = ehlo_str_from("0123456789abcdef0123456789abcdef");
    if (value & FACT_END_POINT) known->end_point = ehlo_str_from("0123456789abcdef0123456789abcdef");
    if (value & FACT_SUBJECT) known->peer_subject = ehlo_str_from("CN=client");
    known->peer_verified = (value & FACT_VERIFIED) != 0;
    return 1;
}

/* -- settings --------------------------------------------------------------------------------------- */

#define AT(member) offsetof(ehlo_service_config, member)

typedef struct setting {
    const char *name;
    size_t offset;
} setting;

static const setting texts[] = {
    { "hostname", AT(hostname) },     { "greeting", AT(greeting) },   { "auth_mechanisms", AT(auth_mechanisms) },
    { "keywords", AT(keywords) },     { "deliverby", AT(deliverby) }, { "mt_priority", AT(mt_priority) },
    { "hold_until", AT(hold_until) }, { "xclient", AT(xclient) },
};

static const setting numbers32[] = {
    { "hold_max", AT(hold_max) },
    { "text_line_max", AT(text_line_max) },
    { "line_max", AT(line_max) },
    { "line_drain_max", AT(line_drain_max) },
    { "auth_line_max", AT(auth_line_max) },
    { "path_max", AT(path_max) },
    { "max_recipients", AT(max_recipients) },
    { "max_messages", AT(max_messages) },
    { "max_rcpt_domains", AT(max_rcpt_domains) },
    { "max_bad", AT(max_bad) },
    { "max_idle_commands", AT(max_idle_commands) },
    { "tiny_chunk", AT(tiny_chunk) },
    { "max_auth_failures", AT(max_auth_failures) },
    { "out_max", AT(out_max) },
    { "command_ms", AT(command_ms) },
    { "data_ms", AT(data_ms) },
    { "answer_ms", AT(answer_ms) },
    { "write_ms", AT(write_ms) },
    { "tls_ms", AT(tls_ms) },
    { "close_ms", AT(close_ms) },
    { "data_rate", AT(data_rate) },
    { "data_rate_grace_ms", AT(data_rate_grace_ms) },
};

static const setting numbers64[] = {
    { "max_size", AT(max_size) },
    { "drain_max", AT(drain_max) },
    { "max_commands", AT(max_commands) },
};

static void *find_setting(transcript *t, const setting *table, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) == 0) return (char *)&t->setup.config + table[i].offset;
    }
    return NULL;
}

/* In memory of their own. */
static ehlo_str unescaped(const char *text)
{
    peer_text octets = { 0 };
    script_unescape(text, &octets);
    return ehlo_str_make(octets.ptr, octets.len);
}

static int set_special(transcript *t, const char *name, const char *value)
{
    ehlo_service_config *c = &t->setup.config;
    if (strcmp(name, "flags") == 0) return set_names(&c->flags, flags, COUNT(flags), value);
    if (strcmp(name, "extensions") == 0) return set_names(&c->extensions, script_caps, script_caps_count, value);
    if (strcmp(name, "leniencies") == 0) return set_names(&c->leniencies, leniencies, COUNT(leniencies), value);
    if (strcmp(name, "bare_cr") == 0) return set_policy(&c->bare_cr, value);
    if (strcmp(name, "bare_lf") == 0) return set_policy(&c->bare_lf, value);
    if (strcmp(name, "facts") == 0) return set_facts(&t->setup.facts, value);
    if (strcmp(name, "tls") == 0) return (t->setup.peer.tls = 1);
    if (strcmp(name, "wrapped") == 0) return (t->setup.wrapped = 1);
    if (strcmp(name, "pipelined") == 0) return (t->stop_and_wait = 1);
    return 0;
}

static int set(transcript *t, int line, char *rest)
{
    char *value = rest + strcspn(rest, " ");
    void *at;
    if (*value != '\0') *value++ = '\0';
    if ((at = find_setting(t, texts, COUNT(texts), rest)) != NULL) {
        *(ehlo_str *)at = unescaped(value);
    } else if ((at = find_setting(t, numbers32, COUNT(numbers32), rest)) != NULL) {
        *(uint32_t *)at = (uint32_t)strtoul(value, NULL, 10);
    } else if ((at = find_setting(t, numbers64, COUNT(numbers64), rest)) != NULL) {
        *(uint64_t *)at = strtoull(value, NULL, 10);
    } else if (!set_special(t, rest, value)) {
        return complain(t, line, "unknown setting or value");
    }
    return 1;
}

/* -- lines ------------------------------------------------------------------------------------------ */

static int add_step(transcript *t, int line, peer_act act, uint64_t number)
{
    if (t->step_count == TRANSCRIPT_STEPS) return complain(t, line, "too many steps");
    t->steps[t->step_count].act = act;
    t->steps[t->step_count].number = number;
    t->step_count++;
    return 1;
}

static int client_line(transcript *t, int line, char *text)
{
    peer_text octets = { 0 };
    script_unescape(text, &octets);
    if (!script_ends_open(text)) peer_text_add(&octets, "\r\n", 2);
    if (!add_step(t, line, PEER_SEND, 0)) return 0;
    t->steps[t->step_count - 1].bytes = octets.ptr;
    t->steps[t->step_count - 1].len = octets.len;
    t->octets += octets.len;
    return 1;
}

/* A reply is awaited before the next line is sent. */
static void wait_here(transcript *t, int line)
{
    if (t->step_count == 0 || t->steps[t->step_count - 1].act == PEER_SEND) add_step(t, line, PEER_WAIT, 0);
}

static int expect(transcript *t, int line, transcript_kind kind, const char *pattern)
{
    if (t->expected_count == TRANSCRIPT_EXPECTED) return complain(t, line, "too many expectations");
    if (kind == EXPECT_LINE || kind == EXPECT_REPLY) wait_here(t, line);
    t->expected[t->expected_count].kind = kind;
    t->expected[t->expected_count].pattern = pattern;
    t->expected[t->expected_count].line = line;
    t->expected_count++;
    return 1;
}

static void read_reply(const char *text, ehlo_reply *reply)
{
    char *end;
    unsigned x, y, z;
    int used = 0;
    reply->code = (uint16_t)strtoul(text, &end, 10);
    while (*end == ' ') end++;
    if (sscanf(end, "%u.%u.%u%n", &x, &y, &z, &used) == 3) {
        reply->enhanced[0] = (uint16_t)x;
        reply->enhanced[1] = (uint16_t)y;
        reply->enhanced[2] = (uint16_t)z;
        end += used;
        while (*end == ' ') end++;
    }
    if (*end != '\0') reply->text = unescaped(end);
}

static int app(transcript *t, int line, char *rest)
{
    if (t->setup.rule_count == TRANSCRIPT_RULES) return complain(t, line, "too many rules");
    peer_rule *rule = &t->rules[t->setup.rule_count++];
    char *subject = rest + strcspn(rest, " ");
    if (*subject == '\0') return complain(t, line, "app EVENT SUBJECT VERDICT");
    *subject++ = '\0';
    char *verdict = subject + strcspn(subject, " ");
    if (*verdict != '\0') *verdict++ = '\0';
    rule->event = rest;
    rule->subject = subject;
    if (strcmp(rest, "body") == 0) {
        rule->after = strtoull(subject, NULL, 10);
        rule->subject = NULL;
    }
    if (strncmp(verdict, "later", 5) == 0) {
        rule->later = 1;
        verdict += 5;
        while (*verdict == ' ') verdict++;
    }
    if (strcmp(verdict, "fail") == 0)
        rule->fail = 1;
    else
        read_reply(verdict, &rule->reply);
    return 1;
}

static int ending(transcript *t, int line, const char *text)
{
    wait_here(t, line);
    if (strcmp(text, "eof") == 0) return add_step(t, line, PEER_EOF, 0);
    if (strcmp(text, "lost") == 0) return add_step(t, line, PEER_LOST, 0);
    if (strcmp(text, "shutdown") == 0) return add_step(t, line, PEER_SHUTDOWN, 0);
    return complain(t, line, "Z: eof, lost or shutdown");
}

static int lettered(transcript *t, int line, char *text)
{
    char *rest = text + 2;
    while (*rest == ' ') rest++;
    switch (text[0]) {
    case 'C':
        return client_line(t, line, rest);
    case 'S':
        return expect(t, line, EXPECT_LINE, rest);
    case 'R':
        return expect(t, line, EXPECT_REPLY, rest);
    case 'K':
        return expect(t, line, EXPECT_KEYWORD, rest);
    case 'E':
        return expect(t, line, text[1] == '!' ? EXPECT_NEXT_EVENT : EXPECT_EVENT, rest);
    case 'N':
        return expect(t, line, EXPECT_NO_EVENT, rest);
    case 'T':
        wait_here(t, line);
        return add_step(t, line, PEER_TLS, strtoull(rest, NULL, 10));
    case 'P':
        wait_here(t, line);
        return add_step(t, line, PEER_ADVANCE, strtoull(rest, NULL, 10));
    case 'Z':
        return ending(t, line, rest);
    default:
        return complain(t, line, "unknown letter");
    }
}

static int read_line(transcript *t, int line, char *text)
{
    if (text[0] == '\0' || text[0] == '#') return 1;
    if (strncmp(text, "set ", 4) == 0) return set(t, line, text + 4);
    if (strncmp(text, "app ", 4) == 0) return app(t, line, text + 4);
    if (strncmp(text, "without ", 8) == 0) {
        return set_names(&t->setup.without, callbacks, COUNT(callbacks), text + 8) ||
               complain(t, line, "unknown callback");
    }
    if (text[1] == ':' || text[1] == '!') return lettered(t, line, text);
    return complain(t, line, "not understood");
}

static char *read_file(const char *path)
{
    peer_text text = { 0 };
    char part[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    peer_text_add(&text, "", 0);
    while ((n = fread(part, 1, sizeof part, file)) > 0) peer_text_add(&text, part, n);
    fclose(file);
    return text.ptr;
}

transcript *transcript_read(const char *path)
{
    transcript *t = calloc(1, sizeof *t);
    if (t == NULL) abort();
    peer_setup_default(&t->setup);
    t->default_hostname = t->setup.config.hostname.ptr;
    t->setup.rules = t->rules;
    t->text = read_file(path);
    if (t->text == NULL) complain(t, 0, "cannot be read");
    int number = 1;
    for (char *line = t->text; line != NULL && t->error[0] == '\0'; number++) {
        char *next = strchr(line, '\n');
        if (next != NULL) *next++ = '\0';
        read_line(t, number, line);
        line = next;
    }
    return t;
}

void transcript_free(transcript *t)
{
    if (t->setup.config.hostname.ptr == t->default_hostname) t->setup.config.hostname.ptr = NULL;
    for (size_t i = 0; i < COUNT(texts); i++) {
        free((void *)(uintptr_t)((ehlo_str *)find_setting(t, texts, COUNT(texts), texts[i].name))->ptr);
    }
    for (size_t i = 0; i < t->step_count; i++) free((void *)(uintptr_t)t->steps[i].bytes);
    for (size_t i = 0; i < t->setup.rule_count; i++) free((void *)(uintptr_t)t->rules[i].reply.text.ptr);
    free(t->text);
    free(t);
}

/* -- judgement -------------------------------------------------------------------------------------- */

typedef struct judge {
    const peer *p;
    peer_text *why;
    const char *out;   /* the next line of output */
    const char *reply; /* the reply of the R before */
    const char *reply_end;
    const char *event; /* the next event */
} judge;

static size_t line_length(const char *line)
{
    return strcspn(line, "\r\n");
}

static const char *line_after(const char *line)
{
    const char *nl = strchr(line, '\n');
    return nl == NULL ? line + strlen(line) : nl + 1;
}

static int differs(judge *j, const transcript_expected *e, const char *got)
{
    peer_text_format(j->why, "line %d: expected `%s`, got `%.*s`\n", e->line, e->pattern, (int)line_length(got), got);
    return 0;
}

static int judge_line(judge *j, const transcript_expected *e)
{
    if (!peer_matches(e->pattern, j->out, line_length(j->out))) return differs(j, e, j->out);
    j->out = line_after(j->out);
    return 1;
}

/* The pattern is written as if the reply had one line. */
static int judge_reply(judge *j, const transcript_expected *e)
{
    char first[600];
    size_t len = line_length(j->out);
    if (len < 4 || len >= sizeof first) return differs(j, e, j->out);
    memcpy(first, j->out, len);
    first[3] = ' ';
    if (!peer_matches(e->pattern, first, len)) return differs(j, e, j->out);
    j->reply = j->out;
    while (j->out[0] != '\0' && j->out[3] == '-') j->out = line_after(j->out);
    j->out = line_after(j->out);
    j->reply_end = j->out;
    return 1;
}

static int judge_keyword(judge *j, const transcript_expected *e)
{
    int unwanted = e->pattern[0] == '!';
    const char *line = j->reply;
    if (line == NULL) return differs(j, e, "(no reply)");
    for (line = line_after(line); line < j->reply_end; line = line_after(line)) {
        if (peer_matches(e->pattern + unwanted, line + 4, line_length(line) - 4)) {
            return unwanted ? differs(j, e, line) : 1;
        }
    }
    return unwanted ? 1 : differs(j, e, "(no such line)");
}

static int judge_event(judge *j, const transcript_expected *e)
{
    const char *event = j->event;
    while (*event != '\0') {
        if (peer_matches(e->pattern, event, line_length(event))) {
            j->event = line_after(event);
            return 1;
        }
        if (e->kind == EXPECT_NEXT_EVENT) break;
        event = line_after(event);
    }
    return differs(j, e, *event != '\0' ? event : "(no such event)");
}

static int judge_no_event(judge *j, const transcript_expected *e)
{
    for (const char *event = j->p->log.ptr; *event != '\0'; event = line_after(event)) {
        if (peer_matches(e->pattern, event, line_length(event))) return differs(j, e, event);
    }
    return 1;
}

static int judge_one(judge *j, const transcript_expected *e)
{
    switch (e->kind) {
    case EXPECT_LINE:
        return judge_line(j, e);
    case EXPECT_REPLY:
        return judge_reply(j, e);
    case EXPECT_KEYWORD:
        return judge_keyword(j, e);
    case EXPECT_NO_EVENT:
        return judge_no_event(j, e);
    default:
        return judge_event(j, e);
    }
}

int transcript_judge(const transcript *t, const peer *p, peer_text *out)
{
    judge j = { p, out, p->out.ptr, NULL, NULL, p->log.ptr };
    peer_text_add(out, "", 0);
    for (size_t i = 0; i < t->expected_count; i++) {
        if (!judge_one(&j, &t->expected[i])) return 0;
    }
    if (*j.out == '\0') return 1;
    peer_text_format(out, "more output: `%.*s`\n", (int)line_length(j.out), j.out);
    return 0;
}
