/* MAIL and RCPT made of values (RFC 5321 4.1.1.2, 4.1.1.3). */
#include "envelope_write.h"

#include <string.h>

#include "datetime.h"
#include "orcpt.h"
#include "path.h"
#include "writer.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A line that is not too long leaves room for the padding of its last word. */
enum { WORD = 16, ROOM = EHLO_LINE_MAX + WORD };

/* Where values come from: one of mail and rcpt is set. */
typedef struct source {
    const ehlo_mail_command *mail;
    const ehlo_rcpt_command *rcpt;
    unsigned leniencies; /* EHLO_SYNTAX_UTF8 or 0 */
    ehlo_fault fault;    /* offset in the member that is wrong */
} source;

static int refuse(source *from, size_t offset, ehlo_rule rule)
{
    from->fault = (ehlo_fault){ offset, rule };
    return EHLO_ERR_ARG;
}

static int refuse_value(source *from)
{
    return refuse(from, 0, EHLO_RULE_PARAMETER_VALUE);
}

/* The mailbox holds no source route: RFC 5321 appendix F.2 has clients send none. */
static int check_mailbox(source *from, ehlo_str mailbox)
{
    ehlo_path path;
    if (ehlo_mailbox_parse(mailbox, from->leniencies, &path, &from->fault) < 0) return EHLO_ERR_ARG;
    return path.utf8 ? ehlo_token_check(mailbox, &from->fault) : EHLO_OK;
}

/* -- values ----------------------------------------------------------------------------------------- */

/* Writes a value, or refuses it. */
typedef int value_writer(source *from, ehlo_writer *to);

/* A short text that is copied with its padding, which is quicker than to ask how much of it there is. */
typedef struct word {
    char text[WORD];
    size_t len;
} word;

/* clang-format off */
#define WORD_OF(literal) { literal, sizeof(literal) - 1 }
/* clang-format on */

/* As ehlo_writer_put_text. */
static EHLO_ALWAYS_INLINE void put_word(ehlo_writer *to, const word *said)
{
    size_t at = to->len;
    to->len += said->len;
    if (at + WORD <= to->cap) memcpy(to->out + at, said->text, WORD);
}

/* A choice by its number, from names that begin with number 1. */
static int put_choice(source *from, ehlo_writer *to, const word *names, size_t count, unsigned chosen)
{
    if (chosen == 0 || chosen > count) return refuse_value(from);
    put_word(to, &names[chosen - 1]);
    return EHLO_OK;
}

/* A signed number as BY and MT-PRIORITY have it. */
static void put_signed(ehlo_writer *to, int32_t number)
{
    if (number < 0) ehlo_writer_put_text(to, "-");
    ehlo_writer_put_number(to, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 1);
}

/* Writes octets as xtext (RFC 3461 4), which is not empty and of at most max octets. */
static int put_xtext(source *from, ehlo_writer *to, ehlo_str octets, size_t max)
{
    char encoded[500];
    size_t len;
    if (octets.len == 0 || ehlo_xtext_encode(octets, encoded, max, &len) < 0) return refuse_value(from);
    ehlo_writer_put(to, encoded, len);
    return EHLO_OK;
}

/* RFC 3461 4.2, 4.4: what xtext is made of "MUST consist entirely of printable [...] characters from the US-ASCII
 * repertoire"; what it is made of goes into reports and logs once decoded. */
static int put_ascii_xtext(source *from, ehlo_writer *to, ehlo_str octets, size_t max)
{
    size_t high = ehlo_chars_find_high(octets);
    if (high < octets.len) return refuse(from, high, EHLO_RULE_NON_ASCII);
    if (ehlo_token_check(octets, &from->fault) < 0) return EHLO_ERR_ARG;
    return put_xtext(from, to, octets, max);
}

static int put_size(source *from, ehlo_writer *to)
{
    ehlo_writer_put_number(to, from->mail->size, 1);
    return EHLO_OK;
}

static int put_body(source *from, ehlo_writer *to)
{
    static const word bodies[] = { WORD_OF("7BIT"), WORD_OF("8BITMIME"), WORD_OF("BINARYMIME") }; /* as in ehlo_body */
    return put_choice(from, to, bodies, COUNT(bodies), from->mail->body);
}

static int put_ret(source *from, ehlo_writer *to)
{
    static const word rets[] = { WORD_OF("FULL"), WORD_OF("HDRS") }; /* as in ehlo_ret */
    return put_choice(from, to, rets, COUNT(rets), from->mail->ret);
}

static int put_envid(source *from, ehlo_writer *to)
{
    return put_ascii_xtext(from, to, from->mail->envid, 100);
}

/* RFC 4954 5: a mailbox as xtext, or "<>". */
static int put_auth(source *from, ehlo_writer *to)
{
    ehlo_str mailbox = from->mail->auth;
    if (mailbox.len == 0) {
        ehlo_writer_put_text(to, "<>");
        return EHLO_OK;
    }
    if (check_mailbox(from, mailbox) < 0) return EHLO_ERR_ARG;
    return put_xtext(from, to, mailbox, 500);
}

/* RFC 2852 4: by-value = by-time ";" by-mode [by-trace] */
static int put_by(source *from, ehlo_writer *to)
{
    static const word modes[] = { WORD_OF(";R"), WORD_OF(";N") }; /* as in ehlo_by */
    const ehlo_mail_command *mail = from->mail;
    if (mail->by_seconds < -999999999 || mail->by_seconds > 999999999) return refuse_value(from);
    if (mail->by_mode == EHLO_BY_RETURN && mail->by_seconds <= 0) return refuse_value(from);
    put_signed(to, mail->by_seconds);
    if (put_choice(from, to, modes, COUNT(modes), mail->by_mode) < 0) return EHLO_ERR_ARG;
    if (mail->by_trace) ehlo_writer_put_text(to, "T");
    return EHLO_OK;
}

static int put_mt_priority(source *from, ehlo_writer *to)
{
    if (from->mail->mt_priority < -9 || from->mail->mt_priority > 9) return refuse_value(from);
    put_signed(to, from->mail->mt_priority);
    return EHLO_OK;
}

static int put_holdfor(source *from, ehlo_writer *to)
{
    if (from->mail->hold_for == 0 || from->mail->hold_for > 999999999) return refuse_value(from);
    ehlo_writer_put_number(to, from->mail->hold_for, 1);
    return EHLO_OK;
}

static int put_holduntil(source *from, ehlo_writer *to)
{
    if (from->mail->present & EHLO_PARAM_HOLDFOR) return refuse(from, 0, EHLO_RULE_PARAMETER_CLASH);
    if (!ehlo_datetime_valid(from->mail->hold_until, 1)) return refuse(from, 0, EHLO_RULE_TIME);
    ehlo_writer_put_str(to, from->mail->hold_until);
    return EHLO_OK;
}

/* RFC 3461 4.1: notify-esmtp-value = "NEVER" / 1#notify-list-element */
static int put_notify(source *from, ehlo_writer *to)
{
    static const char *const events[] = { "NEVER", "SUCCESS", "FAILURE", "DELAY" }; /* as in EHLO_NOTIFY_* */
    unsigned notify = from->rcpt->notify;
    int is_mixed = notify & EHLO_NOTIFY_NEVER && notify != EHLO_NOTIFY_NEVER;
    if (notify == 0 || notify >= 1U << COUNT(events) || is_mixed) return refuse_value(from);
    for (size_t i = 0; i < COUNT(events); i++) {
        if (!(notify & 1U << i)) continue;
        if (notify & ((1U << i) - 1)) ehlo_writer_put_text(to, ",");
        ehlo_writer_put_text(to, events[i]);
    }
    return EHLO_OK;
}

static int put_utf8_address(source *from, ehlo_writer *to, ehlo_str address)
{
    if (ehlo_token_check(address, &from->fault) < 0) return EHLO_ERR_ARG;
    ehlo_orcpt_put_utf8(to, address);
    return EHLO_OK;
}

/* RFC 3461 4.2, at most 500 characters: original-recipient-address = addr-type ";" xtext */
static int put_orcpt(source *from, ehlo_writer *to)
{
    static const ehlo_str utf8_type = EHLO_LITERAL("utf-8");
    enum { ORCPT_MAX = 500 };
    ehlo_str type = from->rcpt->orcpt_type;
    ehlo_str address = from->rcpt->orcpt;
    size_t start = to->len;
    int is_type = ehlo_chars_are_atom(type) && memchr(type.ptr, '=', type.len) == NULL; /* no esmtp-value has '=' */
    if (!is_type || type.len > ORCPT_MAX - 2 || address.len == 0 || address.len > ORCPT_MAX) {
        return refuse_value(from);
    }
    ehlo_writer_put_str(to, type);
    ehlo_writer_put_text(to, ";");
    int is_utf8 = ehlo_chars_equal_nocase(type, utf8_type);
    int result = is_utf8 ? put_utf8_address(from, to, address)
                         : put_ascii_xtext(from, to, address, ORCPT_MAX - (to->len - start));
    return result == EHLO_OK && to->len - start > ORCPT_MAX ? refuse_value(from) : result;
}

/* RFC 7293 3.1: rrvs-param = "RRVS=" date-time [ ";" ( "C" / "R" ) ] */
static int put_rrvs(source *from, ehlo_writer *to)
{
    char action = (char)from->rcpt->rrvs_action;
    if (!ehlo_datetime_valid(from->rcpt->rrvs, 0)) return refuse(from, 0, EHLO_RULE_TIME);
    ehlo_writer_put_str(to, from->rcpt->rrvs);
    if (action == '\0') return EHLO_OK;
    if (action != 'C' && action != 'R') return refuse_value(from);
    ehlo_writer_put_text(to, ";");
    ehlo_writer_put(to, &action, 1);
    return EHLO_OK;
}

/* -- parameters ------------------------------------------------------------------------------------- */

typedef struct param {
    word lead;         /* SP, keyword and, if there is a value, "=" */
    value_writer *put; /* NULL: it has no value */
} param;

/* In the order of EHLO_PARAM_*: those of MAIL, then those of RCPT. */
static const param params[] = {
    { WORD_OF(" SIZE="), put_size },
    { WORD_OF(" BODY="), put_body },
    { WORD_OF(" SMTPUTF8"), NULL },
    { WORD_OF(" RET="), put_ret },
    { WORD_OF(" ENVID="), put_envid },
    { WORD_OF(" AUTH="), put_auth },
    { WORD_OF(" REQUIRETLS"), NULL },
    { WORD_OF(" BY="), put_by },
    { WORD_OF(" MT-PRIORITY="), put_mt_priority },
    { WORD_OF(" HOLDFOR="), put_holdfor },
    { WORD_OF(" HOLDUNTIL="), put_holduntil },
    { WORD_OF(" NOTIFY="), put_notify },
    { WORD_OF(" ORCPT="), put_orcpt },
    { WORD_OF(" RRVS="), put_rrvs },
};

enum {
    OF_MAIL = EHLO_PARAM_NOTIFY - 1, /* all before the first of RCPT's */
    OF_RCPT = EHLO_PARAM_NOTIFY | EHLO_PARAM_ORCPT | EHLO_PARAM_RRVS
};

/* Writes each parameter that is present, of those that the command may have. */
static int put_typed(source *from, ehlo_writer *to, uint32_t present, uint32_t allowed)
{
    if (present & ~allowed) return refuse(from, 0, EHLO_RULE_PARAMETER_UNKNOWN);
    for (const param *which = params; present != 0; which++, present >>= 1) {
        if (!(present & 1)) continue;
        put_word(to, &which->lead);
        if (which->put != NULL && which->put(from, to) < 0) return EHLO_ERR_ARG;
    }
    return EHLO_OK;
}

int ehlo_params_valid(ehlo_str text, size_t *offset)
{
    ehlo_str rest = text;
    ehlo_str keyword;
    ehlo_str value;
    int next;
    do {
        next = ehlo_param_next(&rest, &keyword, &value);
    } while (next > 0);
    int ends_well = text.len == 0 || text.ptr[text.len - 1] != ' ';
    *offset = text.len - rest.len;
    return next == 0 && ends_well;
}

static ehlo_str keyword_of(const param *which)
{
    size_t around = which->put != NULL ? 2 : 1;
    return ehlo_str_make(which->lead.text + 1, which->lead.len - around);
}

static int is_known(ehlo_str keyword)
{
    for (size_t i = 0; i < COUNT(params); i++) {
        if (ehlo_chars_equal_nocase(keyword, keyword_of(&params[i]))) return 1;
    }
    return 0;
}

/* A parameter that has a member of its own is told there, so that it is judged, and said once; and none of MAIL's
 * slips into RCPT. */
static int check_keywords(source *from, ehlo_str text)
{
    ehlo_str rest = text;
    ehlo_str keyword;
    ehlo_str value;
    while (ehlo_param_next(&rest, &keyword, &value) > 0) {
        if (!is_known(keyword)) continue;
        return refuse(from, (size_t)(keyword.ptr - text.ptr), EHLO_RULE_PARAMETER_CLASH);
    }
    return EHLO_OK;
}

/* Writes the further parameters. */
static int put_further(source *from, ehlo_writer *to, ehlo_str text)
{
    size_t offset;
    size_t high = ehlo_chars_find_high(text);
    if (!ehlo_params_valid(text, &offset)) return refuse(from, offset, EHLO_RULE_PARAMETER);
    if (high < text.len && from->leniencies == 0) return refuse(from, high, EHLO_RULE_NON_ASCII);
    if (ehlo_token_check(text, &from->fault) < 0) return EHLO_ERR_ARG;
    ehlo_writer_put_text(to, " ");
    ehlo_writer_put_str(to, text);
    return check_keywords(from, text);
}

/* -- commands --------------------------------------------------------------------------------------- */

/* Judges a mailbox, or what stands for one, that is not plain. */
EHLO_COLD static int check_odd_path(source *from, ehlo_str mailbox)
{
    static const ehlo_str postmaster = EHLO_LITERAL("postmaster");
    if (from->rcpt == NULL) return mailbox.len == 0 ? EHLO_OK : check_mailbox(from, mailbox);
    if (mailbox.len == 0) return refuse(from, 0, EHLO_RULE_MISSING);
    /* RFC 5321 4.1.1.3: "<Postmaster>" needs no domain. */
    return ehlo_chars_equal_nocase(mailbox, postmaster) ? EHLO_OK : check_mailbox(from, mailbox);
}

/* Writes "mailbox>", and judges it where it stands: '>' is what lets the first look be quick. */
static EHLO_ALWAYS_INLINE int put_path(source *from, ehlo_writer *to, ehlo_str mailbox)
{
    char *room = ehlo_writer_room(to, mailbox.len + 1);
    if (room == NULL) return check_odd_path(from, mailbox);
    if (mailbox.len > 0) memcpy(room, mailbox.ptr, mailbox.len);
    room[mailbox.len] = '>';
    return ehlo_mailbox_is_plain(ehlo_str_make(room, mailbox.len)) ? EHLO_OK : check_odd_path(from, mailbox);
}

/* Hands the line, made with that result, to the line writer. */
static EHLO_ALWAYS_INLINE int finish(source *from, int result, const ehlo_writer *line, char *out, size_t cap,
                                     size_t *len, ehlo_fault *fault)
{
    *len = 0;
    if (result == EHLO_OK && line->len > EHLO_LINE_MAX) {
        *len = line->len + 2;
        result = EHLO_ERR_SPACE;
    } else if (result == EHLO_OK) {
        ehlo_str text = ehlo_str_make(line->out, line->len);
        result = ehlo_line_write(ehlo_str_make(NULL, 0), text, EHLO_LINE_MAX, out, cap, len, &from->fault);
    }
    if (fault != NULL) *fault = from->fault;
    return result;
}

/*     mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF */
int ehlo_mail_write(const ehlo_mail_command *mail, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    char text[ROOM];
    ehlo_writer line = { text, sizeof(text), 0 };
    unsigned leniencies = mail->present & EHLO_PARAM_SMTPUTF8 ? EHLO_SYNTAX_UTF8 : 0;
    source from = { mail, NULL, leniencies, { 0, EHLO_RULE_NONE } };
    ehlo_writer_put_text(&line, "MAIL FROM:<");
    int result = put_path(&from, &line, mail->mailbox);
    if (result == EHLO_OK && mail->present != 0) result = put_typed(&from, &line, mail->present, OF_MAIL);
    if (result == EHLO_OK && mail->params.len > 0) result = put_further(&from, &line, mail->params);
    return finish(&from, result, &line, out, cap, len, fault);
}

/*     rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF */
int ehlo_rcpt_write(const ehlo_rcpt_command *rcpt, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    char text[ROOM];
    ehlo_writer line = { text, sizeof(text), 0 };
    source from = { NULL, rcpt, rcpt->utf8 ? EHLO_SYNTAX_UTF8 : 0, { 0, EHLO_RULE_NONE } };
    ehlo_writer_put_text(&line, "RCPT TO:<");
    int result = put_path(&from, &line, rcpt->mailbox);
    if (result == EHLO_OK && rcpt->present != 0) result = put_typed(&from, &line, rcpt->present, OF_RCPT);
    if (result == EHLO_OK && rcpt->params.len > 0) result = put_further(&from, &line, rcpt->params);
    return finish(&from, result, &line, out, cap, len, fault);
}
