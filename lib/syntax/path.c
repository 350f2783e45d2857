/* Paths and mailboxes (RFC 5321 4.1.2; RFC 6531 3.3). */
#include "path.h"

#include <string.h>

/* In octets; RFC 5321 4.5.3.1.1, and as long as mailbox and brackets can get. */
enum { LOCAL_PART_MAX = 64, PATH_MAX_DEFAULT = 322 };

static const ehlo_str postmaster = EHLO_LITERAL("postmaster");

/* -- local part ------------------------------------------------------------------------------------- */

/*     Dot-string = Atom *("."  Atom)
 *     Atom       = 1*atext */
static int scan_dot_string(ehlo_cursor *cursor)
{
    do {
        const char *atom = cursor->at;
        ehlo_cursor_skip(cursor, EHLO_CHAR_ATEXT);
        if (cursor->at == atom) return ehlo_cursor_refuse(cursor, EHLO_RULE_LOCAL_PART);
    } while (ehlo_cursor_take(cursor, '.'));
    return EHLO_OK;
}

/*     Local-part = Dot-string / Quoted-string */
static int scan_local_part(ehlo_cursor *cursor, ehlo_path *path)
{
    const char *start = cursor->at;
    path->quoted = (uint8_t)ehlo_cursor_next_is(cursor, '"');
    int result = path->quoted ? ehlo_cursor_quoted_string(cursor) : scan_dot_string(cursor);
    if (result < 0) return result;
    path->local_part = ehlo_cursor_since(cursor, start);
    if (path->local_part.len > LOCAL_PART_MAX && !(cursor->leniencies & EHLO_SYNTAX_LONG_LOCAL)) {
        return ehlo_cursor_refuse_at(cursor, start + LOCAL_PART_MAX, EHLO_RULE_TOO_LONG_LOCAL);
    }
    return EHLO_OK;
}

/* -- mailbox ---------------------------------------------------------------------------------------- */

/* The "@" and domain behind the local part that *path holds. */
static int scan_mailbox_domain(ehlo_cursor *cursor, ehlo_path *path)
{
    if (!ehlo_cursor_take(cursor, '@')) {
        int ended = !ehlo_cursor_more(cursor) || *cursor->at == '>';
        return ehlo_cursor_refuse(cursor, ended ? EHLO_RULE_AT : EHLO_RULE_LOCAL_PART);
    }
    const char *start = cursor->at;
    int result = ehlo_cursor_domain(cursor, &path->domain_kind, path->octets);
    path->domain = ehlo_cursor_since(cursor, start);
    return result;
}

/*     Mailbox = Local-part "@" ( Domain / address-literal ) */
static int scan_mailbox(ehlo_cursor *cursor, ehlo_path *path)
{
    const char *start = cursor->at;
    int result = scan_local_part(cursor, path);
    if (result == EHLO_OK) result = scan_mailbox_domain(cursor, path);
    path->mailbox = ehlo_cursor_since(cursor, start);
    return result;
}

/* 1 where a path may end: at '>', or without brackets at SP or the end. */
static int is_path_end(const ehlo_cursor *cursor, int bracketed)
{
    if (bracketed) return ehlo_cursor_next_is(cursor, '>');
    return !ehlo_cursor_more(cursor) || *cursor->at == ' ';
}

/* RFC 5321 4.1.1.3: RCPT takes "<Postmaster>" without a domain, in any case. */
static int scan_mailbox_or_postmaster(ehlo_cursor *cursor, int bracketed, ehlo_path *path)
{
    ehlo_cursor ahead = *cursor;
    if (!ehlo_chars_start_nocase(ehlo_cursor_rest(cursor), postmaster)) return scan_mailbox(cursor, path);
    ahead.at += postmaster.len;
    if (!is_path_end(&ahead, bracketed)) return scan_mailbox(cursor, path);
    path->local_part = path->mailbox = ehlo_cursor_since(&ahead, cursor->at);
    cursor->at = ahead.at;
    return EHLO_OK;
}

/* -- path ------------------------------------------------------------------------------------------- */

/* RFC 5321 4.1.2; appendix C: to be accepted and ignored.
 *     A-d-l     = At-domain *( "," At-domain )
 *     At-domain = "@" Domain */
static int scan_route(ehlo_cursor *cursor, ehlo_path *path)
{
    const char *start = cursor->at;
    do {
        if (!ehlo_cursor_take(cursor, '@')) return ehlo_cursor_refuse(cursor, EHLO_RULE_ROUTE);
        int result = ehlo_cursor_domain_name(cursor);
        if (result < 0) return result;
    } while (ehlo_cursor_take(cursor, ','));
    path->route = ehlo_cursor_since(cursor, start);
    return ehlo_cursor_take(cursor, ':') ? EHLO_OK : ehlo_cursor_refuse(cursor, EHLO_RULE_ROUTE);
}

/*     Path = "<" [ A-d-l ":" ] Mailbox ">"
 * or "<>" (Reverse-path), or "<Postmaster>". */
static int scan_bracketed_path(ehlo_cursor *cursor, ehlo_path *path)
{
    if (!ehlo_cursor_take(cursor, '<')) return ehlo_cursor_refuse(cursor, EHLO_RULE_BRACKET);
    if (ehlo_cursor_take(cursor, '>')) return EHLO_OK;
    int result = EHLO_OK;
    if (ehlo_cursor_next_is(cursor, '@')) result = scan_route(cursor, path);
    if (result == EHLO_OK) result = scan_mailbox_or_postmaster(cursor, 1, path);
    if (result < 0) return result;
    if (ehlo_cursor_take(cursor, '>')) return EHLO_OK;
    return ehlo_cursor_refuse(cursor, ehlo_cursor_more(cursor) ? EHLO_RULE_DOMAIN : EHLO_RULE_BRACKET);
}

/* A mailbox without brackets, which many programs write. */
static int scan_bare_path(ehlo_cursor *cursor, ehlo_path *path)
{
    int result = scan_mailbox_or_postmaster(cursor, 0, path);
    if (result < 0 || is_path_end(cursor, 0)) return result;
    return ehlo_cursor_refuse(cursor, *cursor->at == '>' ? EHLO_RULE_BRACKET : EHLO_RULE_DOMAIN);
}

int ehlo_cursor_path(ehlo_cursor *cursor, size_t path_max, ehlo_path *path)
{
    const char *start = cursor->at;
    int bare = cursor->leniencies & EHLO_SYNTAX_BARE_PATH && ehlo_cursor_more(cursor) && *cursor->at != '<';
    int result = bare ? scan_bare_path(cursor, path) : scan_bracketed_path(cursor, path);
    if (result < 0) return result;
    path->text = ehlo_cursor_since(cursor, start);
    path->utf8 = (uint8_t)cursor->utf8;
    size_t route = path->route.len > 0 ? path->route.len + 1 : 0;
    size_t limit = path_max > 0 ? path_max : PATH_MAX_DEFAULT;
    if (path->text.len - route <= limit) return EHLO_OK;
    return ehlo_cursor_refuse_at(cursor, start + route + limit, EHLO_RULE_TOO_LONG_PATH);
}

int ehlo_path_parse(ehlo_str text, unsigned leniencies, size_t path_max, ehlo_path *path, size_t *used,
                    ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(text, leniencies);
    memset(path, 0, sizeof(*path));
    int result = ehlo_cursor_path(&cursor, path_max, path);
    if (result < 0) memset(path, 0, sizeof(*path));
    if (used != NULL) *used = path->text.len;
    return ehlo_cursor_result(&cursor, result, fault);
}

int ehlo_mailbox_parse(ehlo_str text, unsigned leniencies, ehlo_path *path, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(text, leniencies);
    memset(path, 0, sizeof(*path));
    int result = scan_mailbox(&cursor, path);
    if (result == EHLO_OK && ehlo_cursor_more(&cursor)) result = ehlo_cursor_refuse(&cursor, EHLO_RULE_DOMAIN);
    path->text = path->mailbox;
    path->utf8 = (uint8_t)cursor.utf8;
    if (result < 0) memset(path, 0, sizeof(*path));
    return ehlo_cursor_result(&cursor, result, fault);
}
