/* envelope.c - an envelope as commands, and names for what became of it. */
#include "transaction.h"

/* -- names ------------------------------------------------------------------------------------------ */

ehlo_str ehlo_outcome_name(ehlo_outcome outcome)
{
    static const char *const names[] = { "none", "delivered", "not-sent", "deferred", "rejected", "uncertain" };
    return ehlo_str_from((unsigned)outcome <= EHLO_OUTCOME_UNCERTAIN ? names[outcome] : names[0]);
}

ehlo_str ehlo_stage_name(ehlo_stage stage)
{
    static const char *const names[] = { "none", "resolve", "connect", "greeting", "hello", "starttls",
                                         "auth", "mail",    "rcpt",    "data",     "final" };
    return ehlo_str_from((unsigned)stage <= EHLO_STAGE_FINAL ? names[stage] : names[0]);
}

ehlo_outcome ehlo_outcome_of(uint16_t code)
{
    switch (code / 100) {
    case 2:
        return EHLO_OUTCOME_DELIVERED;
    case 4:
        return EHLO_OUTCOME_DEFERRED;
    case 5:
        return EHLO_OUTCOME_REJECTED;
    default:
        return EHLO_OUTCOME_NOT_SENT;
    }
}

/* -- MAIL ------------------------------------------------------------------------------------------- */

uint64_t ehlo_envelope_size(const ehlo_envelope *envelope)
{
    return envelope->size != 0 ? envelope->size : envelope->content.len;
}

/* RFC 6152 3, RFC 3030 3: what we leave open is 8BITMIME where that is taken. */
static ehlo_body body_parameter(const ehlo_envelope *envelope)
{
    return envelope->body == EHLO_BODY_DEFAULT ? EHLO_BODY_8BITMIME : (ehlo_body)envelope->body;
}

static void add_dsn(const ehlo_envelope *envelope, ehlo_mail_command *mail)
{
    mail->ret = envelope->ret;
    mail->envid = envelope->envid;
    if (envelope->ret != EHLO_RET_DEFAULT) mail->present |= EHLO_PARAM_RET;
    if (envelope->envid.len > 0) mail->present |= EHLO_PARAM_ENVID;
}

/* AUTH=<> is what an empty mailbox stands for in the command. */
static void add_auth(const ehlo_envelope *envelope, ehlo_mail_command *mail)
{
    static const ehlo_str none = { NULL, 0 };
    int null = envelope->auth.len == 2 && envelope->auth.ptr[0] == '<' && envelope->auth.ptr[1] == '>';
    mail->present |= EHLO_PARAM_AUTH;
    mail->auth = null ? none : envelope->auth;
}

static void add_more(const ehlo_mail_command *more, ehlo_mail_command *mail)
{
    mail->present |=
        more->present & (EHLO_PARAM_BY | EHLO_PARAM_MT_PRIORITY | EHLO_PARAM_HOLDFOR | EHLO_PARAM_HOLDUNTIL);
    mail->by_mode = more->by_mode;
    mail->by_trace = more->by_trace;
    mail->by_seconds = more->by_seconds;
    mail->mt_priority = more->mt_priority;
    mail->hold_for = more->hold_for;
    mail->hold_until = more->hold_until;
}

void ehlo_envelope_mail(const ehlo_envelope *envelope, uint32_t caps, ehlo_mail_command *mail)
{
    uint64_t size = ehlo_envelope_size(envelope);
    ehlo_body body = body_parameter(envelope);
    mail->mailbox = envelope->from;
    mail->params = envelope->params;
    mail->present = 0;
    mail->size = size;
    mail->body = (uint8_t)body;
    if (size > 0 && (caps & EHLO_CAP_SIZE)) mail->present |= EHLO_PARAM_SIZE;
    if ((caps & EHLO_CAP_8BITMIME) || body == EHLO_BODY_BINARYMIME) mail->present |= EHLO_PARAM_BODY;
    if (envelope->flags & EHLO_SEND_UTF8) mail->present |= EHLO_PARAM_SMTPUTF8;
    if (envelope->flags & EHLO_SEND_REQUIRETLS) mail->present |= EHLO_PARAM_REQUIRETLS;
    if (caps & EHLO_CAP_DSN) add_dsn(envelope, mail);
    if (envelope->auth.len > 0 && (caps & EHLO_CAP_AUTH)) add_auth(envelope, mail);
    if (envelope->more != NULL) add_more(envelope->more, mail);
}

/* -- RCPT ------------------------------------------------------------------------------------------- */

void ehlo_envelope_rcpt(const ehlo_envelope *envelope, const ehlo_recipient *rcpt, uint32_t caps,
                        ehlo_rcpt_command *command)
{
    command->mailbox = rcpt->to;
    command->params = rcpt->params;
    command->present = 0;
    command->utf8 = (envelope->flags & EHLO_SEND_UTF8) != 0;
    if (!(caps & EHLO_CAP_DSN)) return;
    command->notify = rcpt->notify;
    if (rcpt->notify != 0) command->present |= EHLO_PARAM_NOTIFY;
    if (rcpt->orcpt.len == 0 && rcpt->orcpt_type.len == 0) return;
    command->present |= EHLO_PARAM_ORCPT;
    command->orcpt = rcpt->orcpt;
    command->orcpt_type = rcpt->orcpt_type.len > 0 ? rcpt->orcpt_type : ehlo_str_from("rfc822");
}

/* -- checks: the writers, without room to write ----------------------------------------------------- */

static int judge(int result, size_t len)
{
    return result == EHLO_ERR_SPACE && len <= EHLO_LINE_MAX ? EHLO_OK : result;
}

static int try_mail(const ehlo_envelope *envelope, ehlo_fault *fault)
{
    ehlo_mail_command mail;
    size_t len = 0;
    ehlo_envelope_mail(envelope, UINT32_MAX, &mail);
    int result = ehlo_mail_write(&mail, NULL, 0, &len, fault);
    return judge(result, len);
}

static int try_rcpt(const ehlo_envelope *envelope, const ehlo_recipient *rcpt, ehlo_fault *fault)
{
    ehlo_rcpt_command command;
    size_t len = 0;
    ehlo_envelope_rcpt(envelope, rcpt, UINT32_MAX, &command);
    int result = ehlo_rcpt_write(&command, NULL, 0, &len, fault);
    return judge(result, len);
}

/* Finds the member by leaving the others out. */
static const char *wrong_in_mail(const ehlo_envelope *envelope)
{
    ehlo_envelope only = { .from = envelope->from, .flags = envelope->flags };
    ehlo_fault ignored;
    if (try_mail(&only, &ignored) != EHLO_OK) return "from";
    only.from.len = 0;
    only.envid = envelope->envid;
    if (try_mail(&only, &ignored) != EHLO_OK) return "envid";
    only.envid.len = 0;
    only.auth = envelope->auth;
    if (try_mail(&only, &ignored) != EHLO_OK) return "auth";
    only.auth.len = 0;
    only.params = envelope->params;
    return try_mail(&only, &ignored) != EHLO_OK ? "params" : "more";
}

static const char *wrong_in_rcpt(const ehlo_envelope *envelope, const ehlo_recipient *rcpt)
{
    ehlo_recipient only = { .to = rcpt->to };
    ehlo_fault ignored;
    if (try_rcpt(envelope, &only, &ignored) != EHLO_OK) return "to";
    only.params = rcpt->params;
    return try_rcpt(envelope, &only, &ignored) != EHLO_OK ? "rcpt params" : "orcpt";
}

int ehlo_envelope_check_mail(const ehlo_envelope *envelope, ehlo_envelope_fault *fault)
{
    ehlo_fault why = { 0, EHLO_RULE_NONE };
    int result = try_mail(envelope, &why);
    if (result != EHLO_OK && fault != NULL) *fault = (ehlo_envelope_fault){ wrong_in_mail(envelope), 0, why };
    return result;
}

int ehlo_envelope_check_rcpt(const ehlo_envelope *envelope, const ehlo_recipient *rcpt, size_t index,
                             ehlo_envelope_fault *fault)
{
    ehlo_fault why = { 0, EHLO_RULE_NONE };
    int result = try_rcpt(envelope, rcpt, &why);
    if (result != EHLO_OK && fault != NULL) *fault = (ehlo_envelope_fault){ wrong_in_rcpt(envelope, rcpt), index, why };
    return result;
}

static int shaped(const ehlo_envelope *envelope, size_t envelope_size, size_t recipient_size)
{
    return envelope != NULL && envelope_size == sizeof(ehlo_envelope) && recipient_size >= sizeof(ehlo_recipient) &&
           envelope->rcpts != NULL && envelope->nrcpts > 0;
}

int ehlo_envelope_check_sized(const ehlo_envelope *envelope, size_t envelope_size, size_t recipient_size,
                              ehlo_envelope_fault *fault)
{
    if (!shaped(envelope, envelope_size, recipient_size)) {
        if (fault != NULL) *fault = (ehlo_envelope_fault){ "rcpts", 0, { 0, EHLO_RULE_MISSING } };
        return EHLO_ERR_ARG;
    }
    int result = ehlo_envelope_check_mail(envelope, fault);
    for (size_t i = 0; i < envelope->nrcpts && result == EHLO_OK; i++) {
        result = ehlo_envelope_check_rcpt(envelope, ehlo_envelope_recipient(envelope, recipient_size, i), i, fault);
    }
    return result;
}

/* -- outcomes --------------------------------------------------------------------------------------- */

ehlo_outcome ehlo_envelope_settle_sized(const ehlo_envelope *envelope, size_t envelope_size, size_t recipient_size,
                                        ehlo_outcome outcome, ehlo_stage stage, const ehlo_reply *r)
{
    unsigned worst = EHLO_OUTCOME_NONE;
    if (!shaped(envelope, envelope_size, recipient_size)) return EHLO_OUTCOME_NONE;
    for (size_t i = 0; i < envelope->nrcpts; i++) {
        ehlo_recipient *rcpt = ehlo_envelope_recipient(envelope, recipient_size, i);
        if (rcpt->outcome == EHLO_OUTCOME_NONE) ehlo_recipient_settle(rcpt, outcome, stage, r);
        if (rcpt->outcome > worst) worst = rcpt->outcome;
    }
    return (ehlo_outcome)worst;
}
