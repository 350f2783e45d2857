/* A cursor over the text of one parse. */
#include "cursor.h"

void ehlo_cursor_skip_utf8(ehlo_cursor *cursor, unsigned classes)
{
    while (ehlo_cursor_more(cursor)) {
        int high = ehlo_char_is_high(*cursor->at);
        if (!high && !ehlo_char_is(*cursor->at, classes)) return;
        size_t len = ehlo_utf8_sequence(cursor->at, cursor->end);
        if (len == 0) return;
        cursor->at += len;
        cursor->utf8 |= high;
    }
}

/* RFC 5321 4.1.2, with UTF8-non-ascii in qtextSMTP by RFC 6531 3.3:
 *     Quoted-string   = DQUOTE *QcontentSMTP DQUOTE
 *     QcontentSMTP    = qtextSMTP / quoted-pairSMTP
 *     quoted-pairSMTP = %d92 %d32-126 */
int ehlo_cursor_quoted_string(ehlo_cursor *cursor)
{
    cursor->at++;
    for (;;) {
        ehlo_cursor_skip(cursor, EHLO_CHAR_QTEXT);
        if (ehlo_cursor_take(cursor, '"')) return EHLO_OK;
        if (!ehlo_cursor_take(cursor, '\\')) break;
        if (!ehlo_cursor_more(cursor) || ehlo_char_is_control(*cursor->at) || ehlo_char_is_high(*cursor->at)) break;
        cursor->at++;
    }
    return ehlo_cursor_refuse(cursor, EHLO_RULE_QUOTED);
}

int ehlo_cursor_refuse_at(ehlo_cursor *cursor, const char *at, ehlo_rule rule)
{
    cursor->fault.offset = (size_t)(at - cursor->start);
    cursor->fault.rule = rule;
    return EHLO_ERR_SYNTAX;
}

int ehlo_cursor_refuse(ehlo_cursor *cursor, ehlo_rule rule)
{
    if (ehlo_cursor_more(cursor)) {
        if (ehlo_char_is_control(*cursor->at)) {
            rule = EHLO_RULE_CONTROL;
        } else if (ehlo_char_is_high(*cursor->at) && !(cursor->leniencies & EHLO_SYNTAX_UTF8)) {
            rule = EHLO_RULE_NON_ASCII;
        } else if (ehlo_utf8_sequence(cursor->at, cursor->end) == 0) {
            rule = EHLO_RULE_UTF8;
        }
    }
    return ehlo_cursor_refuse_at(cursor, cursor->at, rule);
}
