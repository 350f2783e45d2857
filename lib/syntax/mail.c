/* MAIL and RCPT (RFC 5321 4.1.1.2, 4.1.1.3). */
#include <string.h>

#include "param.h"
#include "path.h"

EHLO_COLD static int starts_nocase(ehlo_str text, ehlo_str keyword)
{
    return ehlo_chars_start_nocase(text, keyword);
}

/* 1 if text begins with the keyword, in upper case as most write it, or in any. */
static EHLO_ALWAYS_INLINE int starts_with(ehlo_str text, ehlo_str keyword)
{
    if (text.len < keyword.len) return 0;
    return memcmp(text.ptr, keyword.ptr, keyword.len) == 0 || starts_nocase(text, keyword);
}

/* "FROM:" or "TO:" and the path behind it. */
static EHLO_ALWAYS_INLINE int scan_keyword_and_path(ehlo_cursor *cursor, ehlo_str keyword, size_t path_max,
                                                    ehlo_path *path)
{
    if (!ehlo_cursor_more(cursor)) return ehlo_cursor_refuse(cursor, EHLO_RULE_MISSING);
    if (!starts_with(ehlo_cursor_rest(cursor), keyword)) return ehlo_cursor_refuse(cursor, EHLO_RULE_COLON);
    cursor->at += keyword.len;
    /* RFC 5321 3.3: "spaces are not permitted on either side of the colon", though many clients send one. */
    while (cursor->leniencies & EHLO_SYNTAX_COLON_SPACE && ehlo_cursor_take(cursor, ' ')) continue;
    int result = ehlo_cursor_path(cursor, path_max, path);
    if (result < 0 || !ehlo_cursor_more(cursor) || *cursor->at == ' ') return result;
    return ehlo_cursor_refuse(cursor, EHLO_RULE_UNEXPECTED);
}

/* Clears what stands behind the path in a struct of `size` octets: the path is written as a whole. */
static EHLO_ALWAYS_INLINE void clear_behind(void *at, size_t size, size_t path)
{
    ehlo_clear((char *)at + path, size - path);
}

/* RFC 6531 3.5: a mailbox beyond ASCII needs the parameter, which stands behind it. */
static int require_smtputf8(ehlo_cursor *cursor, const ehlo_mail *mail)
{
    if (!mail->path.utf8 || mail->present & EHLO_PARAM_SMTPUTF8) return EHLO_OK;
    const char *first = mail->path.text.ptr + ehlo_chars_find_high(mail->path.text);
    return ehlo_cursor_refuse_at(cursor, first, EHLO_RULE_NON_ASCII);
}

/*     mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
 *     Reverse-path = Path / "<>" */
static EHLO_ALWAYS_INLINE int scan_mail(ehlo_cursor *cursor, const ehlo_param_rules *rules, ehlo_mail *mail)
{
    static const ehlo_str from = EHLO_LITERAL("FROM:");
    int result = scan_keyword_and_path(cursor, from, rules->path_max, &mail->path);
    if (result < 0) return result;
    if (mail->path.mailbox.len > 0 && mail->path.domain.len == 0) {
        const char *behind = mail->path.mailbox.ptr + mail->path.mailbox.len;
        return ehlo_cursor_refuse_at(cursor, behind, EHLO_RULE_AT);
    }
    return ehlo_cursor_more(cursor) ? ehlo_cursor_mail_params(cursor, rules->offered, mail) : EHLO_OK;
}

int ehlo_mail_parse(ehlo_str argument, const ehlo_param_rules *rules, ehlo_mail *mail, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, rules->leniencies);
    if (rules->offered & EHLO_CAP_SMTPUTF8) cursor.leniencies |= EHLO_SYNTAX_UTF8;
    clear_behind(mail, sizeof(*mail), sizeof(mail->path));
    int result = scan_mail(&cursor, rules, mail);
    if (result == EHLO_OK && !(rules->leniencies & EHLO_SYNTAX_UTF8)) result = require_smtputf8(&cursor, mail);
    if (result < 0) memset(mail, 0, sizeof(*mail));
    return ehlo_cursor_result(&cursor, result, fault);
}

/*     rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
 *     Forward-path = Path */
static EHLO_ALWAYS_INLINE int scan_rcpt(ehlo_cursor *cursor, const ehlo_param_rules *rules, ehlo_rcpt *rcpt)
{
    static const ehlo_str to = EHLO_LITERAL("TO:");
    int result = scan_keyword_and_path(cursor, to, rules->path_max, &rcpt->path);
    if (result < 0) return result;
    if (rcpt->path.mailbox.len == 0) return ehlo_cursor_refuse_at(cursor, rcpt->path.text.ptr, EHLO_RULE_MISSING);
    return ehlo_cursor_more(cursor) ? ehlo_cursor_rcpt_params(cursor, rules->offered, rcpt) : EHLO_OK;
}

int ehlo_rcpt_parse(ehlo_str argument, const ehlo_param_rules *rules, ehlo_rcpt *rcpt, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, rules->leniencies);
    clear_behind(rcpt, sizeof(*rcpt), sizeof(rcpt->path));
    int result = scan_rcpt(&cursor, rules, rcpt);
    if (result < 0) memset(rcpt, 0, sizeof(*rcpt));
    return ehlo_cursor_result(&cursor, result, fault);
}
