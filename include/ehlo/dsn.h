/* ehlo/dsn.h - reports on the delivery of a message (RFC 3464), as multipart/report (RFC 6522), written piece by piece.
 *
 *     ehlo_dsn_cursor cursor = { 0 };
 *     while ((more = ehlo_dsn_next(&dsn, &cursor, out, sizeof out, &len)) > 0) append(out, len);
 *     append all of the message reported on, as it is, or only its header, without the empty line behind it
 *     (ehlo_dsn_returns_full says which)
 *     ehlo_dsn_end(&dsn, out, sizeof out, &len); append(out, len);
 *
 * The report goes to the reverse-path of the message, from the null reverse-path (RFC 5321 6.1); so none is ever written
 * about a message that has none itself. It needs SMTPUTF8 only where that reverse-path is not ASCII; what else of it is
 * UTF-8 stands in its parts, and needs 8BITMIME, as does what is returned, unless that is 7BIT. */
#ifndef EHLO_DSN_H
#define EHLO_DSN_H

#include <ehlo/syntax.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What became of a recipient (RFC 3464 2.3.3). */
typedef enum ehlo_action {
    EHLO_ACTION_NONE = 0, /* nothing is to be told */
    EHLO_ACTION_FAILED,
    EHLO_ACTION_DELAYED,
    EHLO_ACTION_DELIVERED,
    EHLO_ACTION_RELAYED, /* to where delivery is not reported */
    EHLO_ACTION_EXPANDED /* to several addresses */
} ehlo_action;

/* "failed" "delayed"...; empty for NONE; static storage. */
EHLO_API ehlo_str ehlo_action_name(ehlo_action action);

/* What NOTIFY says of a report (RFC 3461 4.1, 5.2.7): 1 if one with this action is wanted. notify: EHLO_NOTIFY_*; 0, where it
 * was not said, means FAILURE and DELAY. RELAYED, DELIVERED and EXPANDED are wanted with SUCCESS alone. */
EHLO_API int ehlo_action_wanted(ehlo_action action, unsigned notify);

/* One recipient that a report speaks of. What stands here came from elsewhere: whatever it holds, it is cleaned and cut
 * while it is written (ehlo_text_clean; and, unless the report is UTF-8, '?' for each character that is not ASCII). */
typedef struct ehlo_dsn_recipient {
    ehlo_str to;         /* Final-Recipient: the mailbox, or "postmaster". Required */
    ehlo_str orcpt_type; /* Original-Recipient, as ORCPT told it: its type, an atom of 64 octets at most, */
    ehlo_str orcpt;      /* and the address as plain text (ehlo_orcpt_decode); empty: left out */
    uint8_t action;      /* ehlo_action; NONE: the report does not speak of this recipient */

    /* Status (RFC 3463). Where its class is not one of the action's (FAILED: 4 and 5, DELAYED: 4, others: 2), `enhanced`
     * takes its place; else it is 5.0.0, 4.0.0 or 2.0.0. 4.4.7 with FAILED: people are told that the message has become
     * too old. */
    uint16_t status[3];

    /* Diagnostic-Code: the reply, as the host in remote_mta has said it. Code 0: there was none; then text is of our own,
     * remote_mta the host that was tried last, and both are in the words for people alone. */
    uint16_t code;
    uint16_t enhanced[3]; /* 0.0.0: it had none */
    ehlo_str text;        /* without the codes; lines may be divided by '\n'; 900 octets of it are told */
    ehlo_str remote_mta;  /* Remote-MTA; empty: left out */

    int64_t last_attempt;     /* Last-Attempt-Date: Unix seconds; 0: left out */
    int64_t retry_until;      /* Will-Retry-Until, with DELAYED: Unix seconds; 0: left out */
    uint8_t may_have_arrived; /* 1: an attempt had an uncertain end: people are told that copies may exist */
} ehlo_dsn_recipient;

/* A report. Zero members are left out, unless said otherwise. Everything is borrowed until the end. */
typedef struct ehlo_dsn {
    ehlo_str reporting_mta; /* Reporting-MTA: our host name, or a literal. Required */
    ehlo_str to;            /* whom it goes to: the reverse-path of the message, 900 octets at most. Required */

    /* What stands before the @ of its Message-ID: unique, dot-atom, 64 octets at most. The boundary is made of it, so
     * nobody who writes messages may be able to foresee it. Required. */
    ehlo_str id;

    int64_t time;           /* Date: Unix seconds */
    int32_t zone_minutes;   /* of all dates: east of UTC, -1439 to 1439 */
    ehlo_str envid;         /* Original-Envelope-Id, as plain text; cleaned, as those of the recipients are */
    ehlo_str received_from; /* Received-From-MTA: the name in the client's hello; cleaned too */
    int64_t arrived;        /* Arrival-Date: Unix seconds */
    uint8_t ret;            /* ehlo_ret, as the message asked */
    uint8_t body;           /* ehlo_body of the message */
    uint8_t utf8;           /* 1: the message was sent with SMTPUTF8: the report takes the forms of RFC 6533 */
    uint64_t size;          /* octets of the message; 0: not known, and not too many for FULL */
    uint64_t full_max;      /* a larger one has its header alone returned, whatever RET says; 0: 1048576 */

    const ehlo_dsn_recipient *rcpts; /* at least one of them with an action */
    size_t nrcpts;
} ehlo_dsn;

/* Where the writing stands. Zero it. Private members. */
typedef struct ehlo_dsn_cursor {
    uint8_t part;
    size_t recipient;
} ehlo_dsn_cursor;

/* Octets of the longest piece. */
#define EHLO_DSN_PIECE_MAX 8192

/* 1 if the whole message belongs into the report, 0 if only its header does: FULL was asked for, something failed, but not
 * for its content (X.6.X), it is not BINARYMIME and not too large (RFC 3461 4.3: RET is about failures alone; other
 * reports return the header). */
EHLO_API int ehlo_dsn_returns_full(const ehlo_dsn *dsn);

/* Writes the next piece, whole lines with CRLF: 1 and *len octets; 0 when the returned message or header has to follow.
 * EHLO_ERR_ARG, at the first call: something required is missing, or one of reporting_mta, to, id, the dates' zone, time,
 * an action or an orcpt_type is not what it may be; nothing was written. EHLO_ERR_SPACE: *len is what it needs, the cursor
 * stays; EHLO_DSN_PIECE_MAX always suffices. */
EHLO_API int ehlo_dsn_next(const ehlo_dsn *dsn, ehlo_dsn_cursor *cursor, char *out, size_t cap, size_t *len);

/* Makes octets of the returned header or message fit to go where the report goes: NUL, CR and LF that are no CRLF, and, in a
 * header that goes into no UTF-8 report, octets above 127, become '?'. However the octets are cut: *held is 0 before the
 * first ones, and remembers a CR at the end. out has room for len + 1. Returns how many octets it wrote. So the report is
 * 7BIT, unless it is UTF-8 or returns the whole message. */
EHLO_API size_t ehlo_dsn_fit(const ehlo_dsn *dsn, uint8_t *held, const char *bytes, size_t len, char *out);

/* Writes what follows the returned message: a CRLF, and the closing delimiter. Results as for ehlo_dsn_next, but EHLO_OK
 * for 1. */
EHLO_API int ehlo_dsn_end(const ehlo_dsn *dsn, char *out, size_t cap, size_t *len);

#ifdef __cplusplus
}
#endif
#endif
