/* One function per command: parse its argument, then ask the application. */
#include "session.h"

#include <string.h>

#include "chars.h"

/* -- faults ----------------------------------------------------------------------------------------- */

static int is_path_rule(ehlo_rule rule)
{
    return rule >= EHLO_RULE_BRACKET && rule <= EHLO_RULE_TOO_LONG_PATH;
}

/* RFC 5321 4.2.4, 4.1.1.11; RFC 6531 3.5. */
static ehlo_standard fault_reply(const ehlo_fault *fault, ehlo_standard bad_path)
{
    if (fault->rule == EHLO_RULE_PARAMETER_UNKNOWN) return EHLO_SAY_PARAMETER_UNKNOWN;
    if (fault->rule == EHLO_RULE_NON_ASCII) return EHLO_SAY_NON_ASCII;
    if (fault->rule >= EHLO_RULE_PARAMETER) return EHLO_SAY_PARAMETER;
    return is_path_rule(fault->rule) ? bad_path : EHLO_SAY_ARGUMENT;
}

/* Octets that no plain argument may hold: controls, and 8-bit ones (RFC 5321 2.4). */
static int is_plain(ehlo_str text)
{
    size_t i;
    for (i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\t') || c > 0x7E) return 0;
    }
    return 1;
}

/* Says 501 and returns 1 if a command that takes no argument has one. */
static int has_argument(ehlo_server *s, ehlo_str argument)
{
    if (argument.len == 0) return 0;
    ehlo_session_bad(s, EHLO_SAY_NO_ARGUMENT);
    return 1;
}

/* -- hello ------------------------------------------------------------------------------------------ */

static void run_hello(ehlo_server *s, const ehlo_command_line *line)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_hello hello;
    ehlo_token token;
    int verdict = EHLO_OK;
    s->urgent = 1;
    if (ehlo_hello_parse(line->verb, line->argument, s->service->param_rules.leniencies, &hello, NULL) != EHLO_OK) {
        ehlo_session_bad(s, EHLO_SAY_ARGUMENT);
        return;
    }
    if (ehlo_session_idle(s)) return;
    token = ehlo_session_ask(s, EHLO_ASKED_HELLO, line->verb);
    if (s->service->callbacks.on_hello != NULL) {
        verdict = s->service->callbacks.on_hello(s, token, &hello, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
}

/* -- MAIL ------------------------------------------------------------------------------------------- */

static ehlo_param_rules param_rules(const ehlo_server *s)
{
    ehlo_param_rules rules = s->service->param_rules;
    rules.offered = ehlo_rules_parameters(&s->state, &s->service->offer);
    return rules;
}

/* RFC 4865 3: beyond the announced maximum is 501. Both times are UTC in one form, so they compare as text. */
static int held_too_long(const ehlo_server *s, const ehlo_mail *mail)
{
    const ehlo_service_config *c = &s->service->config;
    size_t len = mail->hold_until.len < c->hold_until.len ? mail->hold_until.len : c->hold_until.len;
    if (mail->hold_for > c->hold_max) return 1;
    return mail->hold_until.len > 0 && memcmp(mail->hold_until.ptr, c->hold_until.ptr, len < 19 ? len : 19) > 0;
}

EHLO_COLD static int is_unqualified(const ehlo_path *path)
{
    return path->domain_kind == EHLO_DOMAIN_NAME && memchr(path->domain.ptr, '.', path->domain.len) == NULL;
}

/* RFC 6409 4.2: "The MSA MUST ensure that all domains in the SMTP envelope are fully qualified"; others are 554. */
static int lacks_qualification(const ehlo_server *s, const ehlo_path *path)
{
    return (s->service->offer.flags & EHLO_SERVICE_SUBMISSION) && is_unqualified(path);
}

/* RFC 4954 5: a server that does not trust who the client is behaves as if AUTH=<> had been supplied. */
static void distrust(const ehlo_server *s, ehlo_mail *mail)
{
    static const ehlo_str nobody = EHLO_LITERAL("<>");
    if ((mail->present & EHLO_PARAM_AUTH) && !s->state.authenticated) mail->auth = nobody;
}

/* What the grammar can't know: the limits of this service, and whom it knows. */
static ehlo_standard judge_mail(const ehlo_server *s, ehlo_mail *mail)
{
    if (lacks_qualification(s, &mail->path)) return EHLO_SAY_MAIL_DOMAIN;
    if (mail->present == 0) return EHLO_SAY_NOTHING;                       /* all the rest is about parameters */
    if (mail->size > s->service->config.max_size) return EHLO_SAY_TOO_BIG; /* RFC 1870 6 */
    if (held_too_long(s, mail)) return EHLO_SAY_HOLD;
    distrust(s, mail);
    /* RFC 2852 4: a by-time below the announced minimum, where failing it means return. */
    if (mail->by_mode == EHLO_BY_RETURN && (uint64_t)mail->by_seconds < s->service->deliverby_min) {
        return EHLO_SAY_DELIVERBY;
    }
    return EHLO_SAY_NOTHING;
}

/* RFC 9422 4: MAILMAX transactions, then the session is over. */
static int too_many_messages(const ehlo_server *s)
{
    uint32_t max = s->service->config.max_messages;
    return max != 0 && s->state.messages >= max;
}

static void ask_mail(ehlo_server *s, const ehlo_mail *mail)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_token token;
    int verdict = EHLO_OK;
    ehlo_state_mail(&s->state, mail);
    token = ehlo_session_ask(s, EHLO_ASKED_MAIL, EHLO_VERB_MAIL);
    if (s->service->callbacks.on_mail != NULL) {
        verdict = s->service->callbacks.on_mail(s, token, mail, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
}

static void run_mail(ehlo_server *s, const ehlo_command_line *line)
{
    ehlo_param_rules rules = param_rules(s);
    ehlo_mail mail;
    ehlo_fault fault;
    ehlo_standard no;
    if (too_many_messages(s)) {
        ehlo_session_end_saying(s, EHLO_SAY_TOO_MANY, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
        return;
    }
    if (ehlo_mail_parse(line->argument, &rules, &mail, &fault) != EHLO_OK) {
        ehlo_session_bad(s, fault_reply(&fault, EHLO_SAY_MAIL_PATH));
        return;
    }
    no = judge_mail(s, &mail);
    if (no != EHLO_SAY_NOTHING)
        ehlo_session_bad(s, no);
    else
        ask_mail(s, &mail);
}

/* -- RCPT ------------------------------------------------------------------------------------------- */

static void ask_rcpt(ehlo_server *s, const ehlo_rcpt *rcpt)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_token token = ehlo_session_ask(s, EHLO_ASKED_RCPT, EHLO_VERB_RCPT);
    int verdict = EHLO_OK;
    if (s->service->callbacks.on_rcpt != NULL) {
        verdict = s->service->callbacks.on_rcpt(s, token, rcpt, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
}

EHLO_COLD static void refuse_rcpt(ehlo_server *s, ehlo_standard why)
{
    ehlo_state_rcpt(&s->state, 0);
    ehlo_session_bad(s, why);
}

static void run_rcpt(ehlo_server *s, const ehlo_command_line *line)
{
    ehlo_param_rules rules = param_rules(s);
    ehlo_rcpt rcpt;
    ehlo_fault fault;
    if (s->state.utf8) rules.leniencies |= EHLO_SYNTAX_UTF8;
    if (ehlo_rcpt_parse(line->argument, &rules, &rcpt, &fault) != EHLO_OK) {
        refuse_rcpt(s, fault_reply(&fault, EHLO_SAY_RCPT_PATH));
    } else if (rcpt.path.domain_kind == EHLO_DOMAIN_GENERAL) { /* RFC 5321 4.1.3: no such network is known here */
        refuse_rcpt(s, EHLO_SAY_RCPT_PATH);
    } else if (lacks_qualification(s, &rcpt.path)) {
        refuse_rcpt(s, EHLO_SAY_RCPT_DOMAIN);
    } else if (s->state.recipients >= s->service->config.max_recipients) { /* RFC 5321 4.5.3.1.10 */
        refuse_rcpt(s, EHLO_SAY_TOO_MANY_RCPT);
    } else {
        ask_rcpt(s, &rcpt);
    }
}

/* -- RSET, QUIT ------------------------------------------------------------------------------------- */

static void run_rset(ehlo_server *s, const ehlo_command_line *line)
{
    if (has_argument(s, line->argument) || ehlo_session_idle(s)) return;
    ehlo_session_reset(s, EHLO_RESET_RSET);
    ehlo_session_say(s, EHLO_SAY_OK);
}

static void run_quit(ehlo_server *s, const ehlo_command_line *line)
{
    s->urgent = 1;
    if (has_argument(s, line->argument)) return;
    ehlo_session_end_saying(s, EHLO_SAY_BYE, EHLO_CLOSE_QUIT, EHLO_RESET_QUIT);
}

/* -- what on_command gets --------------------------------------------------------------------------- */

static void ask_command(ehlo_server *s, const ehlo_command *command)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_token token = ehlo_session_ask(s, EHLO_ASKED_COMMAND, command->verb);
    int verdict = EHLO_OK;
    s->urgent = 1;
    s->utf8 = command->utf8;
    if (s->service->callbacks.on_command != NULL) {
        verdict = s->service->callbacks.on_command(s, token, command, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
}

static ehlo_command make_command(const ehlo_command_line *line)
{
    ehlo_command command;
    memset(&command, 0, sizeof command);
    command.verb = line->verb;
    command.name = line->name;
    command.argument = line->argument;
    return command;
}

/* NOOP, HELP, VERB, XCLIENT and unknown verbs: the argument is any plain text. */
static void run_plain(ehlo_server *s, const ehlo_command_line *line)
{
    ehlo_command command = make_command(line);
    s->urgent = 1;
    if (!is_plain(line->argument)) {
        ehlo_session_bad(s, line->verb == EHLO_VERB_UNKNOWN ? EHLO_SAY_UNKNOWN : EHLO_SAY_ARGUMENT);
        return;
    }
    if ((line->verb == EHLO_VERB_NOOP || line->verb == EHLO_VERB_HELP) && ehlo_session_idle(s)) return;
    ask_command(s, &command);
}

/* A browser, or a page that makes one talk to us: nothing that follows is mail. */
static int is_http(ehlo_str name)
{
    static const ehlo_str methods[] = {
        EHLO_LITERAL("GET"),  EHLO_LITERAL("POST"),    EHLO_LITERAL("PUT"),
        EHLO_LITERAL("HEAD"), EHLO_LITERAL("CONNECT"), EHLO_LITERAL("OPTIONS"),
    };
    size_t i;
    for (i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (ehlo_chars_equal_nocase(name, methods[i])) return 1;
    }
    return 0;
}

static void run_unknown(ehlo_server *s, const ehlo_command_line *line)
{
    if (is_http(line->name))
        ehlo_session_end_saying(s, EHLO_SAY_NOT_HTTP, EHLO_CLOSE_PROTOCOL, EHLO_RESET_LIMIT);
    else
        run_plain(s, line);
}

static void run_vrfy(ehlo_server *s, const ehlo_command_line *line)
{
    ehlo_command command = make_command(line);
    unsigned leniencies = s->service->param_rules.leniencies;
    ehlo_fault fault;
    int utf8 = 0;
    s->urgent = 1;
    if (ehlo_rules_parameters(&s->state, &s->service->offer) & EHLO_CAP_SMTPUTF8) leniencies |= EHLO_SYNTAX_UTF8;
    if (ehlo_string_parse(line->argument, leniencies, &command.argument, &utf8, &fault) != EHLO_OK) {
        ehlo_session_bad(s, fault.rule == EHLO_RULE_NON_ASCII ? EHLO_SAY_NON_ASCII : EHLO_SAY_ARGUMENT);
        return;
    }
    if (ehlo_session_idle(s)) return;
    command.utf8 = (uint8_t)utf8;
    ask_command(s, &command);
}

static void run_etrn(ehlo_server *s, const ehlo_command_line *line)
{
    ehlo_command command = make_command(line);
    s->urgent = 1;
    if (ehlo_etrn_parse(line->argument, &command.option, &command.argument, NULL) != EHLO_OK) {
        ehlo_session_bad(s, EHLO_SAY_ARGUMENT);
        return;
    }
    ask_command(s, &command);
}

/* -- STARTTLS, AUTH --------------------------------------------------------------------------------- */

static void run_starttls(ehlo_server *s, const ehlo_command_line *line)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_token token;
    int verdict = EHLO_OK;
    s->urgent = 1;
    if (has_argument(s, line->argument)) return; /* RFC 3207 4 */
    token = ehlo_session_ask(s, EHLO_ASKED_STARTTLS, EHLO_VERB_STARTTLS);
    if (s->service->callbacks.on_starttls != NULL) {
        verdict = s->service->callbacks.on_starttls(s, token, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
}

static void run_auth(ehlo_server *s, const ehlo_command_line *line)
{
    s->urgent = 1;
    ehlo_session_auth(s, line->argument);
}

/* -- dispatch --------------------------------------------------------------------------------------- */

static void (*const runners[EHLO_VERB_COUNT])(ehlo_server *s, const ehlo_command_line *line) = {
    [EHLO_VERB_UNKNOWN] = run_unknown, [EHLO_VERB_EHLO] = run_hello,    [EHLO_VERB_HELO] = run_hello,
    [EHLO_VERB_LHLO] = run_hello,      [EHLO_VERB_MAIL] = run_mail,     [EHLO_VERB_RCPT] = run_rcpt,
    [EHLO_VERB_RSET] = run_rset,       [EHLO_VERB_NOOP] = run_plain,    [EHLO_VERB_QUIT] = run_quit,
    [EHLO_VERB_HELP] = run_plain,      [EHLO_VERB_VRFY] = run_vrfy,     [EHLO_VERB_EXPN] = run_vrfy,
    [EHLO_VERB_VERB] = run_plain,      [EHLO_VERB_ETRN] = run_etrn,     [EHLO_VERB_STARTTLS] = run_starttls,
    [EHLO_VERB_AUTH] = run_auth,       [EHLO_VERB_XCLIENT] = run_plain,
};

/* RFC 2920 3.2: replies to these may wait for others; all the rest leave at once. */
static int may_gather(ehlo_verb verb)
{
    return verb == EHLO_VERB_MAIL || verb == EHLO_VERB_RCPT || verb == EHLO_VERB_RSET || verb == EHLO_VERB_BDAT;
}

static void run(ehlo_server *s, const ehlo_command_line *line, size_t behind)
{
    ehlo_standard no = ehlo_rules_judge(&s->state, &s->service->offer, line->verb);
    if (!may_gather(line->verb)) {
        s->urgent = 1;
        s->verb = (uint8_t)line->verb;
    }
    if (line->verb == EHLO_VERB_BDAT) { /* even a refused one is followed by its octets */
        ehlo_session_chunk(s, line->argument, no);
    } else if (no != EHLO_SAY_NOTHING) {
        ehlo_session_bad(s, no);
    } else if (line->verb == EHLO_VERB_DATA) {
        if (!has_argument(s, line->argument)) ehlo_session_data(s, behind);
    } else {
        runners[line->verb](s, line);
    }
}

/* RFC 5321 3.1: after a 554 greeting only QUIT is served; RFC 7504 3: after 521 not even another code. */
EHLO_COLD static void run_refused(ehlo_server *s, const ehlo_command_line *line)
{
    s->urgent = 1;
    if (line->verb == EHLO_VERB_QUIT)
        runners[EHLO_VERB_QUIT](s, line);
    else
        ehlo_session_bad(s, s->refused == 21 ? EHLO_SAY_HOST_NO_MAIL : EHLO_SAY_NO_SERVICE);
}

/* A line with NUL, bare CR or LF, or without a verb. If it meant to be BDAT, what follows is of unknown length. */
EHLO_COLD static void run_malformed(ehlo_server *s, ehlo_str line)
{
    static const ehlo_str bdat = EHLO_LITERAL("BDAT");
    s->urgent = 1;
    if (ehlo_chars_start_nocase(line, bdat)) {
        ehlo_session_chunk_unreadable(s);
    } else {
        ehlo_session_bad(s, EHLO_SAY_MALFORMED);
    }
}

/* Where AUTH is offered, what is no command may be a password that came at the wrong time. */
static int may_be_secret(const ehlo_server *s, ehlo_verb verb)
{
    return verb == EHLO_VERB_AUTH || (verb == EHLO_VERB_UNKNOWN && (s->service->offer.extensions & EHLO_CAP_AUTH) != 0);
}

static int is_hello(ehlo_verb verb)
{
    return verb == EHLO_VERB_EHLO || verb == EHLO_VERB_HELO || verb == EHLO_VERB_LHLO;
}

/* Hellos, AUTH, and what is no command. */
static int is_rare(ehlo_verb verb)
{
    return verb <= EHLO_VERB_LHLO || verb == EHLO_VERB_AUTH;
}

/* What is to be remembered of a rare line; 1 if it is secret. */
EHLO_COLD static int note_rare(ehlo_server *s, const ehlo_command_line *command, int understood)
{
    int secret = !understood || may_be_secret(s, command->verb);
    if (secret) s->secret = 1;
    if (understood && is_hello(command->verb)) s->bare = 1;
    return secret;
}

void ehlo_session_command(ehlo_server *s, ehlo_str line, size_t behind)
{
    ehlo_command_line command;
    uint64_t max = s->service->config.max_commands;
    int understood = ehlo_command_parse(line, &command, NULL) == EHLO_OK;
    int secret = !understood || is_rare(command.verb) ? note_rare(s, &command, understood) : 0;
    if (ehlo_session_traces(s)) ehlo_session_trace(s, EHLO_TRACE_IN, line, secret);
    if (max != 0 && ++s->commands > max) {
        ehlo_session_end_saying(s, EHLO_SAY_TOO_MANY, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
    } else if (!understood) {
        run_malformed(s, line);
    } else if (s->refused != 0) {
        run_refused(s, &command);
    } else {
        run(s, &command, behind);
    }
    if (s->question == EHLO_ASKED_NOTHING) s->bare = 0;
}
