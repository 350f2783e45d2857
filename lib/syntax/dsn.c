/* Reports on the delivery of a message (RFC 3464, RFC 6522, RFC 6533). */
#include <ehlo/dsn.h>

#include "chars.h"
#include "dsn_text.h"

enum {
    ID_MAX = 64, /* RFC 2046 5.1.1: a boundary has 70 octets at most */
    TYPE_MAX = 64,
    FIELDS_MAX = 512, /* Date and Message-ID */
    FULL_MAX = 1048576
};

/* -- actions ---------------------------------------------------------------------------------------- */

enum { ACTIONS = EHLO_ACTION_EXPANDED + 1 };

ehlo_str ehlo_action_name(ehlo_action action)
{
    static const ehlo_str names[ACTIONS] = {
        [EHLO_ACTION_FAILED] = EHLO_LITERAL("failed"),       [EHLO_ACTION_DELAYED] = EHLO_LITERAL("delayed"),
        [EHLO_ACTION_DELIVERED] = EHLO_LITERAL("delivered"), [EHLO_ACTION_RELAYED] = EHLO_LITERAL("relayed"),
        [EHLO_ACTION_EXPANDED] = EHLO_LITERAL("expanded"),
    };
    return names[(unsigned)action < ACTIONS ? action : EHLO_ACTION_NONE];
}

int ehlo_action_wanted(ehlo_action action, unsigned notify)
{
    static const unsigned events[ACTIONS] = {
        [EHLO_ACTION_FAILED] = EHLO_NOTIFY_FAILURE,    [EHLO_ACTION_DELAYED] = EHLO_NOTIFY_DELAY,
        [EHLO_ACTION_DELIVERED] = EHLO_NOTIFY_SUCCESS, [EHLO_ACTION_RELAYED] = EHLO_NOTIFY_SUCCESS,
        [EHLO_ACTION_EXPANDED] = EHLO_NOTIFY_SUCCESS,
    };
    if (notify == 0) notify = EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY;
    if (notify & EHLO_NOTIFY_NEVER || (unsigned)action >= ACTIONS) return 0;
    return (events[action] & notify) != 0;
}

/* What all recipients that the report speaks of have in common; NONE where that is nothing. */
static ehlo_action common_action(const ehlo_dsn *dsn)
{
    unsigned common = EHLO_ACTION_NONE;
    for (size_t i = 0; i < dsn->nrcpts; i++) {
        unsigned action = dsn->rcpts[i].action;
        if (action == EHLO_ACTION_NONE || action == common) continue;
        if (common != EHLO_ACTION_NONE) return EHLO_ACTION_NONE;
        common = action;
    }
    return (ehlo_action)common;
}

static int any_failed(const ehlo_dsn *dsn)
{
    size_t i = 0;
    while (i < dsn->nrcpts && dsn->rcpts[i].action != EHLO_ACTION_FAILED) i++;
    return i < dsn->nrcpts;
}

/* RFC 3463 3.7: X.6.X is about the content: what could not be sent then cannot be returned either. */
static int content_failed(const ehlo_dsn *dsn)
{
    for (size_t i = 0; i < dsn->nrcpts; i++) {
        const ehlo_dsn_recipient *r = &dsn->rcpts[i];
        if (r->action == EHLO_ACTION_FAILED && (r->status[1] == 6 || r->enhanced[1] == 6)) return 1;
    }
    return 0;
}

/* RFC 3461 4.3: RET applies to reports that tell of a failure; "if a DSN contains no indications of delivery failure, only
 * the headers of the message should be returned." */
int ehlo_dsn_returns_full(const ehlo_dsn *dsn)
{
    uint64_t full_max = dsn->full_max > 0 ? dsn->full_max : FULL_MAX;
    return dsn->ret == EHLO_RET_FULL && dsn->body != EHLO_BODY_BINARYMIME && dsn->size <= full_max && any_failed(dsn) &&
           !content_failed(dsn);
}

/* -- what is returned ------------------------------------------------------------------------------- */

/* What the message was declared to be does not count: nobody has looked. */
static int returns_8bit(const ehlo_dsn *dsn)
{
    return dsn->utf8 || ehlo_dsn_returns_full(dsn);
}

static char fit_octet(char octet, int is_8bit)
{
    int is_fit = octet != '\0' && octet != '\r' && octet != '\n' && (is_8bit || (unsigned char)octet < 0x80);
    return is_fit ? octet : '?';
}

size_t ehlo_dsn_fit(const ehlo_dsn *dsn, uint8_t *held, const char *bytes, size_t len, char *out)
{
    int is_8bit = returns_8bit(dsn);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int ends_line = *held && bytes[i] == '\n';
        if (*held) out[n++] = ends_line ? '\r' : '?';
        *held = bytes[i] == '\r';
        if (ends_line)
            out[n++] = '\n';
        else if (!*held)
            out[n++] = fit_octet(bytes[i], is_8bit);
    }
    return n;
}

/* -- checks ----------------------------------------------------------------------------------------- */

/* Date and Message-ID: as a submission server adds them, so they are judged there. */
static int write_origin(const ehlo_dsn *dsn, char out[FIELDS_MAX], size_t *len)
{
    ehlo_header nothing = { 0 };
    ehlo_header_additions additions = {
        .time = dsn->time, .zone_minutes = dsn->zone_minutes, .id = dsn->id, .domain = dsn->reporting_mta
    };
    if (dsn->id.len > ID_MAX) return EHLO_ERR_ARG;
    return ehlo_header_complete(&nothing, &additions, out, FIELDS_MAX, len);
}

/* Any that a session can have accepted. RFC 5321 4.5.5: a null reverse-path gets no report. */
static int is_reverse_path(ehlo_str mailbox, int utf8)
{
    unsigned leniencies = EHLO_SYNTAX_UNDERSCORE | EHLO_SYNTAX_TRAILING_DOT | EHLO_SYNTAX_LONG_LOCAL;
    ehlo_fault fault;
    ehlo_path path;
    if (utf8) leniencies |= EHLO_SYNTAX_UTF8;
    return mailbox.len <= EHLO_DSN_TEXT_MAX && ehlo_mailbox_parse(mailbox, leniencies, &path, NULL) == EHLO_OK &&
           ehlo_token_check(mailbox, &fault) == EHLO_OK;
}

static int is_recipient(const ehlo_dsn_recipient *rcpt, int utf8)
{
    char octets[EHLO_DSN_TEXT_MAX];
    if (rcpt->action >= ACTIONS) return 0;
    if (rcpt->orcpt.len > 0 && (rcpt->orcpt_type.len > TYPE_MAX || !ehlo_chars_are_atom(rcpt->orcpt_type))) return 0;
    return ehlo_dsn_clean(rcpt->to, sizeof(octets), utf8, octets).len > 0;
}

static int is_sound(const ehlo_dsn *dsn)
{
    char fields[FIELDS_MAX];
    size_t len, told = 0;
    if (write_origin(dsn, fields, &len) != EHLO_OK || !is_reverse_path(dsn->to, dsn->utf8)) return 0;
    for (size_t i = 0; i < dsn->nrcpts; i++) {
        if (dsn->rcpts[i].action == EHLO_ACTION_NONE) continue;
        if (!is_recipient(&dsn->rcpts[i], dsn->utf8)) return 0;
        told++;
    }
    return told > 0;
}

/* -- parts ------------------------------------------------------------------------------------------ */

/* RFC 2046 5.1.1: bchars are fewer than atext. "=_" comes out of no encoding (RFC 2045 6.7). */
static void put_boundary(ehlo_writer *writer, const ehlo_dsn *dsn)
{
    ehlo_writer_put(writer, "=_", 2);
    for (size_t i = 0; i < dsn->id.len; i++) {
        char octet = dsn->id.ptr[i];
        int is_bchar = ehlo_char_is(octet, EHLO_CHAR_LET_DIG) || memchr("'+_-./=?", octet, 8) != NULL;
        ehlo_writer_put(writer, is_bchar ? &octet : "_", 1);
    }
}

/* RFC 2046 5.1.1: delimiter := CRLF "--" boundary ; the CRLF is no part of what stands before it. */
static void put_part(ehlo_writer *writer, const ehlo_dsn *dsn, const char *type, int is_8bit)
{
    ehlo_writer_put_text(writer, "\r\n--");
    put_boundary(writer, dsn);
    ehlo_writer_put_text(writer, "\r\nContent-Type: ");
    ehlo_writer_put_text(writer, type);
    ehlo_writer_put_text(writer, "\r\n");
    if (is_8bit) ehlo_writer_put_text(writer, "Content-Transfer-Encoding: 8bit\r\n");
    ehlo_writer_put_text(writer, "\r\n");
}

/* RFC 6522 3: report-type is the subtype of the second part. */
static void put_content_type(ehlo_writer *writer, const ehlo_dsn *dsn)
{
    ehlo_writer_put_text(writer, "MIME-Version: 1.0\r\nContent-Type: multipart/report;\r\n report-type=");
    ehlo_writer_put_text(writer, dsn->utf8 ? "global-delivery-status" : "delivery-status");
    ehlo_writer_put_text(writer, ";\r\n boundary=\"");
    put_boundary(writer, dsn);
    ehlo_writer_put_text(writer, "\"\r\n");
    if (returns_8bit(dsn)) ehlo_writer_put_text(writer, "Content-Transfer-Encoding: 8bit\r\n");
}

/* The header of the report, and the beginning of the part for people. RFC 3834 5 tells others not to answer. */
static void put_header(ehlo_writer *writer, const ehlo_dsn *dsn)
{
    static const char *const subjects[ACTIONS] = {
        "Report on the delivery of your message",
        "Your message could not be delivered",
        "Your message is delayed",
        "Your message was delivered",
        "Your message was passed on",
        "Your message was passed on to several addresses",
    };
    char origin[FIELDS_MAX];
    size_t origin_len;
    ehlo_action action = common_action(dsn);
    write_origin(dsn, origin, &origin_len);
    ehlo_writer_put(writer, origin, origin_len);
    ehlo_writer_put_text(writer, "From: Mail Delivery System <mailer-daemon@");
    ehlo_writer_put_str(writer, dsn->reporting_mta);
    ehlo_writer_put_text(writer, ">\r\nTo: <");
    ehlo_writer_put_str(writer, dsn->to);
    ehlo_writer_put_text(writer, ">\r\nSubject: ");
    ehlo_writer_put_text(writer, subjects[action]);
    ehlo_writer_put_text(writer, "\r\nAuto-Submitted: auto-replied\r\n");
    put_content_type(writer, dsn);
    put_part(writer, dsn, dsn->utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii", dsn->utf8);
    ehlo_dsn_put_opening(writer, dsn, action);
}

static void put_status(ehlo_writer *writer, const ehlo_dsn *dsn)
{
    put_part(writer, dsn, dsn->utf8 ? "message/global-delivery-status" : "message/delivery-status", dsn->utf8);
    ehlo_dsn_put_message_fields(writer, dsn);
}

/* RFC 6522 4, RFC 6533 4. */
static void put_returned(ehlo_writer *writer, const ehlo_dsn *dsn)
{
    const char *full = dsn->utf8 ? "message/global" : "message/rfc822";
    const char *header = dsn->utf8 ? "message/global-headers" : "text/rfc822-headers";
    put_part(writer, dsn, ehlo_dsn_returns_full(dsn) ? full : header, returns_8bit(dsn));
}

/* -- pieces ----------------------------------------------------------------------------------------- */

enum { PIECE_HEADER = 0, PIECE_WORDS, PIECE_STATUS, PIECE_FIELDS, PIECE_RETURNED, PIECE_NONE };

/* The next recipient that the report speaks of; NULL at the end. */
static const ehlo_dsn_recipient *find_recipient(const ehlo_dsn *dsn, ehlo_dsn_cursor *cursor)
{
    while (cursor->recipient < dsn->nrcpts && dsn->rcpts[cursor->recipient].action == EHLO_ACTION_NONE) {
        cursor->recipient++;
    }
    return cursor->recipient < dsn->nrcpts ? &dsn->rcpts[cursor->recipient] : NULL;
}

static void next_part(ehlo_dsn_cursor *cursor)
{
    cursor->part++;
    cursor->recipient = 0;
}

/* RFC 3464 2.1: delivery-status-content = per-message-fields 1*( CRLF per-recipient-fields ) */
static void put_recipient(ehlo_writer *writer, const ehlo_dsn *dsn, ehlo_dsn_cursor *cursor)
{
    const ehlo_dsn_recipient *rcpt = &dsn->rcpts[cursor->recipient++];
    ehlo_writer_put(writer, "\r\n", 2);
    if (cursor->part == PIECE_WORDS) {
        ehlo_dsn_put_words(writer, dsn, rcpt);
    } else {
        ehlo_dsn_put_recipient_fields(writer, dsn, rcpt);
    }
}

static void put_piece(ehlo_writer *writer, const ehlo_dsn *dsn, ehlo_dsn_cursor *cursor)
{
    if (cursor->part == PIECE_WORDS || cursor->part == PIECE_FIELDS) {
        put_recipient(writer, dsn, cursor);
        return;
    }
    if (cursor->part == PIECE_HEADER) {
        put_header(writer, dsn);
    } else if (cursor->part == PIECE_STATUS) {
        put_status(writer, dsn);
    } else {
        put_returned(writer, dsn);
    }
    next_part(cursor);
}

int ehlo_dsn_next(const ehlo_dsn *dsn, ehlo_dsn_cursor *cursor, char *out, size_t cap, size_t *len)
{
    ehlo_writer writer = { out, cap, 0 };
    ehlo_dsn_cursor next = *cursor;
    *len = 0;
    if (next.part == PIECE_HEADER && !is_sound(dsn)) return EHLO_ERR_ARG;
    if ((next.part == PIECE_WORDS || next.part == PIECE_FIELDS) && find_recipient(dsn, &next) == NULL) next_part(&next);
    if (next.part >= PIECE_NONE) return 0;
    put_piece(&writer, dsn, &next);
    int result = ehlo_writer_end(&writer, len);
    if (result != EHLO_OK) return result;
    *cursor = next;
    return 1;
}

int ehlo_dsn_end(const ehlo_dsn *dsn, char *out, size_t cap, size_t *len)
{
    char fields[FIELDS_MAX];
    ehlo_writer writer = { out, cap, 0 };
    *len = 0;
    if (write_origin(dsn, fields, len) != EHLO_OK) return EHLO_ERR_ARG;
    ehlo_writer_put_text(&writer, "\r\n--");
    put_boundary(&writer, dsn);
    ehlo_writer_put_text(&writer, "--\r\n");
    return ehlo_writer_end(&writer, len);
}
