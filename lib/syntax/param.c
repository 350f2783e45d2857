/* The parameters of MAIL and RCPT, each with the grammar of its value. */
#include "param.h"

#include <string.h>

#include "datetime.h"

/* -- the parameter list ----------------------------------------------------------------------------- */

/* RFC 5321 4.1.2, with UTF8-non-ascii in values by RFC 6531 3.3:
 *     esmtp-param   = esmtp-keyword ["=" esmtp-value]
 *     esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *     esmtp-value   = 1*(%d33-60 / %d62-126) */
static int scan_param(ehlo_cursor *cursor, ehlo_str *keyword, ehlo_str *value)
{
    const char *start = cursor->at;
    ehlo_cursor_skip(cursor, EHLO_CHAR_LDH);
    *keyword = ehlo_cursor_since(cursor, start);
    if (keyword->len == 0 || *start == '-') return EHLO_ERR_SYNTAX;
    if (ehlo_cursor_take(cursor, '=')) {
        const char *behind = cursor->at;
        cursor->leniencies |= EHLO_SYNTAX_UTF8;
        ehlo_cursor_skip(cursor, EHLO_CHAR_VALUE);
        *value = ehlo_cursor_since(cursor, behind);
        if (value->len == 0) return EHLO_ERR_SYNTAX;
    }
    return !ehlo_cursor_more(cursor) || ehlo_cursor_take(cursor, ' ') ? EHLO_OK : EHLO_ERR_SYNTAX;
}

int ehlo_param_next(ehlo_str *rest, ehlo_str *keyword, ehlo_str *value)
{
    ehlo_cursor cursor = ehlo_cursor_make(*rest, 0);
    *keyword = *value = ehlo_str_make(NULL, 0);
    if (!ehlo_cursor_more(&cursor)) return 0;
    if (scan_param(&cursor, keyword, value) < 0) {
        *keyword = *value = ehlo_str_make(NULL, 0);
        return EHLO_ERR_SYNTAX;
    }
    *rest = ehlo_cursor_rest(&cursor);
    return 1;
}

/* -- values ----------------------------------------------------------------------------------------- */

/* Where a value goes: one of mail and rcpt is set. Readers write every member their parameter has, so that
 * where a parameter may be given twice nothing of the first is left. */
typedef struct destination {
    ehlo_mail *mail;
    ehlo_rcpt *rcpt;
    uint32_t offered;
    unsigned leniencies;
    size_t offset; /* where in the value the fault is */
} destination;

/* Reads a value; EHLO_RULE_NONE if it is good. */
typedef ehlo_rule value_reader(destination *to, ehlo_str value);

/* A keyword value and what it stands for. */
typedef struct choice {
    ehlo_str name;
    uint8_t meaning;
} choice;

/* RFC 5321 2.4: values are not case-sensitive. The meaning, 0 if there is none. */
static uint8_t choose(const choice *choices, size_t count, ehlo_str name)
{
    for (size_t i = 0; i < count; i++) {
        if (ehlo_chars_equal_nocase(choices[i].name, name)) return choices[i].meaning;
    }
    return 0;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A view of text from `from` on. */
static ehlo_str tail(ehlo_str text, size_t from)
{
    return ehlo_str_make(text.ptr + from, text.len - from);
}

/* The offset of the first `octet`; text.len if there is none. */
static size_t find(ehlo_str text, char octet)
{
    const char *found = memchr(text.ptr, octet, text.len);
    return found != NULL ? (size_t)(found - text.ptr) : text.len;
}

/* RFC 1870 6.1: size-value ::= 1*20DIGIT. Too large for us is larger than any limit. */
static ehlo_rule read_size(destination *to, ehlo_str value)
{
    int result = ehlo_number_parse(value, 20, &to->mail->size);
    return result == EHLO_ERR_SYNTAX ? EHLO_RULE_PARAMETER_VALUE : EHLO_RULE_NONE;
}

/* RFC 6152 2: body-value ::= "7BIT" / "8BITMIME"; RFC 3030 3 adds "BINARYMIME". */
static ehlo_rule read_body(destination *to, ehlo_str value)
{
    static const choice bodies[] = {
        { EHLO_LITERAL("7BIT"), EHLO_BODY_7BIT },
        { EHLO_LITERAL("8BITMIME"), EHLO_BODY_8BITMIME },
        { EHLO_LITERAL("BINARYMIME"), EHLO_BODY_BINARYMIME },
    };
    uint8_t body = choose(bodies, COUNT(bodies), value);
    uint32_t needed = body == EHLO_BODY_BINARYMIME ? EHLO_CAP_BINARYMIME : EHLO_CAP_8BITMIME;
    to->mail->body = body;
    return body != 0 && to->offered & needed ? EHLO_RULE_NONE : EHLO_RULE_PARAMETER_VALUE;
}

/* RFC 3461 4.3: ret-value = "FULL" / "HDRS" */
static ehlo_rule read_ret(destination *to, ehlo_str value)
{
    static const choice rets[] = {
        { EHLO_LITERAL("FULL"), EHLO_RET_FULL },
        { EHLO_LITERAL("HDRS"), EHLO_RET_HDRS },
    };
    to->mail->ret = choose(rets, COUNT(rets), value);
    return to->mail->ret != 0 ? EHLO_RULE_NONE : EHLO_RULE_PARAMETER_VALUE;
}

static ehlo_rule check_xtext(destination *to, ehlo_str value)
{
    ehlo_fault fault;
    size_t len;
    ehlo_xtext_decode(value, NULL, 0, &len, &fault);
    to->offset = fault.offset;
    return fault.rule;
}

/* RFC 3461 4.4: "envid-parameter = "ENVID=" xtext", of at most 100 characters. */
static ehlo_rule read_envid(destination *to, ehlo_str value)
{
    if (value.len > 100) return EHLO_RULE_PARAMETER_VALUE;
    to->mail->envid = value;
    return check_xtext(to, value);
}

/* RFC 4954 5: a mailbox as xtext, or "<>". The section adds 500 octets to the command, so no value is longer. */
static ehlo_rule read_auth(destination *to, ehlo_str value)
{
    char decoded[500];
    size_t len;
    ehlo_path mailbox;
    to->mail->auth = value;
    if (value.len == 2 && memcmp(value.ptr, "<>", 2) == 0) return EHLO_RULE_NONE;
    if (value.len > sizeof(decoded)) return EHLO_RULE_PARAMETER_VALUE;
    ehlo_rule rule = check_xtext(to, value);
    if (rule != EHLO_RULE_NONE) return rule;
    if (ehlo_xtext_decode(value, decoded, sizeof(decoded), &len, NULL) < 0) return EHLO_RULE_XTEXT;
    int result = ehlo_mailbox_parse(ehlo_str_make(decoded, len), to->leniencies, &mailbox, NULL);
    return result == EHLO_OK ? EHLO_RULE_NONE : EHLO_RULE_PARAMETER_VALUE;
}

/* RFC 2852 4:
 *     by-value = by-time ";" by-mode [by-trace]
 *     by-time  = ["-" / "+"]1*9digit
 *     by-mode  = "N" / "R"
 *     by-trace = "T"
 * A message that must be returned once its time is over cannot start without any: by-mode R needs a by-time
 * above zero. */
static ehlo_rule read_by(destination *to, ehlo_str value)
{
    static const choice modes[] = {
        { EHLO_LITERAL("R"), EHLO_BY_RETURN },
        { EHLO_LITERAL("N"), EHLO_BY_NOTIFY },
        { EHLO_LITERAL("RT"), EHLO_BY_RETURN },
        { EHLO_LITERAL("NT"), EHLO_BY_NOTIFY },
    };
    size_t semicolon = find(value, ';');
    if (semicolon == value.len) return EHLO_RULE_PARAMETER_VALUE;
    size_t sign = *value.ptr == '-' || *value.ptr == '+';
    ehlo_str mode = tail(value, semicolon + 1);
    uint64_t seconds;
    if (ehlo_number_parse(ehlo_str_make(value.ptr + sign, semicolon - sign), 9, &seconds) < 0) {
        return EHLO_RULE_PARAMETER_VALUE;
    }
    to->mail->by_seconds = *value.ptr == '-' ? -(int32_t)seconds : (int32_t)seconds;
    to->mail->by_mode = choose(modes, COUNT(modes), mode);
    to->mail->by_trace = mode.len == 2;
    if (to->mail->by_mode == EHLO_BY_RETURN && to->mail->by_seconds <= 0) return EHLO_RULE_PARAMETER_VALUE;
    return to->mail->by_mode != 0 ? EHLO_RULE_NONE : EHLO_RULE_PARAMETER_VALUE;
}

/* RFC 6710 3: priority-value = (["-"] NZDIGIT) / "0" */
static ehlo_rule read_mt_priority(destination *to, ehlo_str value)
{
    size_t sign = *value.ptr == '-';
    uint64_t number;
    if (ehlo_number_parse(tail(value, sign), 1, &number) < 0) return EHLO_RULE_PARAMETER_VALUE;
    if (sign && number == 0) return EHLO_RULE_PARAMETER_VALUE;
    to->mail->mt_priority = (int8_t)(sign ? -(int)number : (int)number);
    return EHLO_RULE_NONE;
}

/* RFC 4865 3: future-release-integer = %x31-39 *8DIGIT */
static ehlo_rule read_holdfor(destination *to, ehlo_str value)
{
    uint64_t seconds;
    if (*value.ptr == '0' || ehlo_number_parse(value, 9, &seconds) < 0) return EHLO_RULE_PARAMETER_VALUE;
    to->mail->hold_for = (uint32_t)seconds;
    return EHLO_RULE_NONE;
}

/* RFC 4865 3: a date-time of RFC 3339 in UTC. */
static ehlo_rule read_holduntil(destination *to, ehlo_str value)
{
    to->mail->hold_until = value;
    return ehlo_datetime_valid(value, 1) ? EHLO_RULE_NONE : EHLO_RULE_TIME;
}

/* RFC 3461 4.1:
 *     notify-esmtp-value   = "NEVER" / 1#notify-list-element
 *     notify-list-element  = "SUCCESS" / "FAILURE" / "DELAY" */
static ehlo_rule read_notify(destination *to, ehlo_str value)
{
    static const choice events[] = {
        { EHLO_LITERAL("NEVER"), EHLO_NOTIFY_NEVER },
        { EHLO_LITERAL("SUCCESS"), EHLO_NOTIFY_SUCCESS },
        { EHLO_LITERAL("FAILURE"), EHLO_NOTIFY_FAILURE },
        { EHLO_LITERAL("DELAY"), EHLO_NOTIFY_DELAY },
    };
    unsigned notify = 0;
    for (size_t at = 0; at <= value.len;) {
        ehlo_str rest = tail(value, at);
        ehlo_str name = ehlo_str_make(rest.ptr, find(rest, ','));
        unsigned event = choose(events, COUNT(events), name);
        to->offset = at;
        if (event == 0 || notify & (event | EHLO_NOTIFY_NEVER)) return EHLO_RULE_PARAMETER_VALUE;
        if (event == EHLO_NOTIFY_NEVER && notify != 0) return EHLO_RULE_PARAMETER_VALUE;
        notify |= event;
        at += name.len + 1;
    }
    to->rcpt->notify = (uint8_t)notify;
    return EHLO_RULE_NONE;
}

/* RFC 3461 4.2, at most 500 characters:
 *     original-recipient-address = addr-type ";" xtext
 *     addr-type                  = atom */
static ehlo_rule read_orcpt(destination *to, ehlo_str value)
{
    ehlo_fault fault;
    size_t len;
    size_t semicolon = find(value, ';');
    ehlo_str type = ehlo_str_make(value.ptr, semicolon);
    if (value.len > 500 || semicolon + 1 >= value.len || !ehlo_chars_are_atom(type)) return EHLO_RULE_PARAMETER_VALUE;
    ehlo_str address = tail(value, semicolon + 1);
    to->rcpt->orcpt_type = type;
    to->rcpt->orcpt = address;
    ehlo_orcpt_decode(type, address, NULL, 0, &len, &fault);
    to->offset = fault.offset + semicolon + 1;
    return fault.rule;
}

/* RFC 7293 3.1: rrvs-param = "RRVS=" date-time [ ";" ( "C" / "R" ) ] */
static ehlo_rule read_rrvs(destination *to, ehlo_str value)
{
    static const choice actions[] = {
        { EHLO_LITERAL("C"), 'C' },
        { EHLO_LITERAL("R"), 'R' },
    };
    size_t semicolon = find(value, ';');
    to->rcpt->rrvs = ehlo_str_make(value.ptr, semicolon);
    to->rcpt->rrvs_action = 0;
    if (!ehlo_datetime_valid(to->rcpt->rrvs, 0)) return EHLO_RULE_TIME;
    if (semicolon == value.len) return EHLO_RULE_NONE;
    to->rcpt->rrvs_action = choose(actions, COUNT(actions), tail(value, semicolon + 1));
    to->offset = semicolon;
    return to->rcpt->rrvs_action != 0 ? EHLO_RULE_NONE : EHLO_RULE_PARAMETER_VALUE;
}

/* -- keywords --------------------------------------------------------------------------------------- */

typedef struct param {
    ehlo_str keyword;
    uint32_t bit;       /* EHLO_PARAM_* */
    uint32_t excludes;  /* EHLO_PARAM_* that may not stand beside it */
    uint32_t caps;      /* known if one of these is offered */
    value_reader *read; /* NULL: it has no value */
} param;

static const param mail_params[] = {
    { EHLO_LITERAL("SIZE"), EHLO_PARAM_SIZE, 0, EHLO_CAP_SIZE, read_size },
    { EHLO_LITERAL("BODY"), EHLO_PARAM_BODY, 0, EHLO_CAP_8BITMIME | EHLO_CAP_BINARYMIME, read_body },
    { EHLO_LITERAL("SMTPUTF8"), EHLO_PARAM_SMTPUTF8, 0, EHLO_CAP_SMTPUTF8, NULL },
    { EHLO_LITERAL("RET"), EHLO_PARAM_RET, 0, EHLO_CAP_DSN, read_ret },
    { EHLO_LITERAL("ENVID"), EHLO_PARAM_ENVID, 0, EHLO_CAP_DSN, read_envid },
    { EHLO_LITERAL("AUTH"), EHLO_PARAM_AUTH, 0, EHLO_CAP_AUTH, read_auth },
    { EHLO_LITERAL("REQUIRETLS"), EHLO_PARAM_REQUIRETLS, 0, EHLO_CAP_REQUIRETLS, NULL },
    { EHLO_LITERAL("BY"), EHLO_PARAM_BY, 0, EHLO_CAP_DELIVERBY, read_by },
    { EHLO_LITERAL("MT-PRIORITY"), EHLO_PARAM_MT_PRIORITY, 0, EHLO_CAP_MT_PRIORITY, read_mt_priority },
    { EHLO_LITERAL("HOLDFOR"), EHLO_PARAM_HOLDFOR, EHLO_PARAM_HOLDUNTIL, EHLO_CAP_FUTURERELEASE, read_holdfor },
    { EHLO_LITERAL("HOLDUNTIL"), EHLO_PARAM_HOLDUNTIL, EHLO_PARAM_HOLDFOR, EHLO_CAP_FUTURERELEASE, read_holduntil },
};

static const param rcpt_params[] = {
    { EHLO_LITERAL("NOTIFY"), EHLO_PARAM_NOTIFY, 0, EHLO_CAP_DSN, read_notify },
    { EHLO_LITERAL("ORCPT"), EHLO_PARAM_ORCPT, 0, EHLO_CAP_DSN, read_orcpt },
    { EHLO_LITERAL("RRVS"), EHLO_PARAM_RRVS, 0, EHLO_CAP_RRVS, read_rrvs },
};

/* The keywords of one command. */
typedef struct vocabulary {
    const param *params;
    size_t count;
} vocabulary;

static const param *find_param(vocabulary known, uint32_t offered, ehlo_str keyword)
{
    for (size_t i = 0; i < known.count; i++) {
        const param *candidate = &known.params[i];
        if (!ehlo_chars_equal_nocase(candidate->keyword, keyword)) continue;
        return candidate->caps & offered ? candidate : NULL;
    }
    return NULL;
}

/* Judges the value of a parameter and stores it. */
static int read_value(ehlo_cursor *cursor, const param *which, ehlo_str keyword, ehlo_str value, destination *to)
{
    const char *at = value.ptr != NULL ? value.ptr : keyword.ptr;
    int has_value = value.ptr != NULL;
    if (has_value != (which->read != NULL)) return ehlo_cursor_refuse_at(cursor, at, EHLO_RULE_PARAMETER_VALUE);
    if (!has_value) return EHLO_OK;
    to->offset = 0;
    ehlo_rule rule = which->read(to, value);
    return rule == EHLO_RULE_NONE ? EHLO_OK : ehlo_cursor_refuse_at(cursor, at + to->offset, rule);
}

/* RFC 5321 4.1.1.11: a parameter that is not known is refused, here as one rule apart from the others. */
static int read_param(ehlo_cursor *cursor, vocabulary known, ehlo_str keyword, ehlo_str value, uint32_t *present,
                      destination *to)
{
    size_t high = ehlo_chars_find_high(value);
    if (high < value.len && !(cursor->leniencies & EHLO_SYNTAX_UTF8)) {
        return ehlo_cursor_refuse_at(cursor, value.ptr + high, EHLO_RULE_NON_ASCII);
    }
    const param *which = find_param(known, to->offered, keyword);
    if (which == NULL) return ehlo_cursor_refuse_at(cursor, keyword.ptr, EHLO_RULE_PARAMETER_UNKNOWN);
    if (*present & which->bit && !(cursor->leniencies & EHLO_SYNTAX_DUPLICATES)) {
        return ehlo_cursor_refuse_at(cursor, keyword.ptr, EHLO_RULE_PARAMETER_TWICE);
    }
    if (*present & which->excludes) return ehlo_cursor_refuse_at(cursor, keyword.ptr, EHLO_RULE_PARAMETER_CLASH);
    *present |= which->bit;
    return read_value(cursor, which, keyword, value, to);
}

/*     Mail-parameters = esmtp-param *(SP esmtp-param), and Rcpt-parameters likewise */
static int scan_params(ehlo_cursor *cursor, vocabulary known, ehlo_str *params, uint32_t *present, destination *to)
{
    ehlo_str keyword;
    ehlo_str value;
    if (!ehlo_cursor_take(cursor, ' ')) return EHLO_OK;
    ehlo_str rest = *params = ehlo_cursor_rest(cursor);
    to->leniencies = cursor->leniencies;
    int next = ehlo_param_next(&rest, &keyword, &value);
    for (; next > 0; next = ehlo_param_next(&rest, &keyword, &value)) {
        int result = read_param(cursor, known, keyword, value, present, to);
        if (result < 0) return result;
    }
    return next == 0 ? EHLO_OK : ehlo_cursor_refuse_at(cursor, rest.ptr, EHLO_RULE_PARAMETER);
}

int ehlo_cursor_mail_params(ehlo_cursor *cursor, uint32_t offered, ehlo_mail *mail)
{
    destination to = { mail, NULL, offered, 0, 0 };
    vocabulary known = { mail_params, COUNT(mail_params) };
    return scan_params(cursor, known, &mail->params, &mail->present, &to);
}

int ehlo_cursor_rcpt_params(ehlo_cursor *cursor, uint32_t offered, ehlo_rcpt *rcpt)
{
    destination to = { NULL, rcpt, offered, 0, 0 };
    vocabulary known = { rcpt_params, COUNT(rcpt_params) };
    return scan_params(cursor, known, &rcpt->params, &rcpt->present, &to);
}
