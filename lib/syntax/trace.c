/* Trace fields and dates (RFC 5321 4.4, RFC 5322 3.3, RFC 3848, RFC 6531 4.3). */
#include <ehlo/syntax.h>

#include "chars.h"
#include "writer.h"

enum {
    TOKEN_MAX = 255,     /* octets of hello, tls and id */
    RECIPIENT_MAX = 512, /* keeps its line far below the 998 of RFC 5322 2.1.1 */
    LITERAL_MAX = 48,
    DATE_MAX = 32
};

/* -- the protocol ----------------------------------------------------------------------------------- */

/* RFC 3848, RFC 6531 4.3. TLS and AUTH have no keyword without ESMTP. */
ehlo_str ehlo_with_keyword(unsigned with)
{
    static const ehlo_str keywords[2][2][4] = {
        { { EHLO_LITERAL("ESMTP"), EHLO_LITERAL("ESMTPS"), EHLO_LITERAL("ESMTPA"), EHLO_LITERAL("ESMTPSA") },
          { EHLO_LITERAL("UTF8SMTP"), EHLO_LITERAL("UTF8SMTPS"), EHLO_LITERAL("UTF8SMTPA"),
            EHLO_LITERAL("UTF8SMTPSA") } },
        { { EHLO_LITERAL("LMTP"), EHLO_LITERAL("LMTPS"), EHLO_LITERAL("LMTPA"), EHLO_LITERAL("LMTPSA") },
          { EHLO_LITERAL("UTF8LMTP"), EHLO_LITERAL("UTF8LMTPS"), EHLO_LITERAL("UTF8LMTPA"),
            EHLO_LITERAL("UTF8LMTPSA") } },
    };
    static const ehlo_str smtp = EHLO_LITERAL("SMTP");
    int lmtp = (with & EHLO_WITH_LMTP) != 0;
    int utf8 = (with & EHLO_WITH_UTF8) != 0;
    int suffix = ((with & EHLO_WITH_TLS) != 0 ? 1 : 0) + ((with & EHLO_WITH_AUTH) != 0 ? 2 : 0);
    return lmtp || (with & EHLO_WITH_ESMTP) != 0 ? keywords[lmtp][utf8][suffix] : smtp;
}

/* -- dates ------------------------------------------------------------------------------------------ */

#define FIRST_SECOND INT64_C(-2208988800) /* 1900-01-01 00:00:00 */
#define LAST_SECOND INT64_C(253402300799) /* 9999-12-31 23:59:59 */

enum { DAY_SECONDS = 86400, ZONE_MAX = 1439, DAYS_TO_1970 = 25567 /* from 1900-01-01, a Monday */ };

static int is_leap_year(unsigned year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned days_of_year(unsigned year)
{
    return is_leap_year(year) ? 366 : 365;
}

static unsigned days_of_month(unsigned month, unsigned year)
{
    static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return days[month] + (month == 1 && is_leap_year(year) ? 1U : 0U);
}

/*     day-name "," day month year ; days counts from 1900-01-01 */
static void write_day(ehlo_writer *writer, unsigned days)
{
    static const char names[] = "MonTueWedThuFriSatSun";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    /* A multiple of 400 years has the same calendar: the walk below stays under that many steps. */
    unsigned year = 1900 + days / 146097 * 400;
    unsigned rest = days % 146097;
    unsigned month = 0;
    for (; rest >= days_of_year(year); year++) rest -= days_of_year(year);
    for (; rest >= days_of_month(month, year); month++) rest -= days_of_month(month, year);
    ehlo_writer_put(writer, names + 3 * (days % 7), 3);
    ehlo_writer_put(writer, ", ", 2);
    ehlo_writer_put_number(writer, rest + 1, 2);
    ehlo_writer_put(writer, " ", 1);
    ehlo_writer_put(writer, months + 3 * (size_t)month, 3);
    ehlo_writer_put(writer, " ", 1);
    ehlo_writer_put_number(writer, year, 4);
}

/*     time = hour ":" minute ":" second FWS ( "+" / "-" ) 4DIGIT */
static void write_time(ehlo_writer *writer, unsigned seconds, int32_t zone_minutes)
{
    unsigned zone = (unsigned)(zone_minutes < 0 ? -zone_minutes : zone_minutes);
    ehlo_writer_put_number(writer, seconds / 3600, 2);
    ehlo_writer_put(writer, ":", 1);
    ehlo_writer_put_number(writer, seconds / 60 % 60, 2);
    ehlo_writer_put(writer, ":", 1);
    ehlo_writer_put_number(writer, seconds % 60, 2);
    ehlo_writer_put(writer, zone_minutes < 0 ? " -" : " +", 2);
    ehlo_writer_put_number(writer, zone / 60 * 100 + zone % 60, 4);
}

int ehlo_date_write(int64_t unix_seconds, int32_t zone_minutes, char *out, size_t cap, size_t *len)
{
    ehlo_writer writer = { out, cap, 0 };
    *len = 0;
    if (zone_minutes < -ZONE_MAX || zone_minutes > ZONE_MAX) return EHLO_ERR_ARG;
    if (unix_seconds < FIRST_SECOND - DAY_SECONDS || unix_seconds > LAST_SECOND + DAY_SECONDS) return EHLO_ERR_ARG;
    int64_t local = unix_seconds + (int64_t)zone_minutes * 60;
    if (local < FIRST_SECOND || local > LAST_SECOND) return EHLO_ERR_ARG;
    uint64_t since_1900 = (uint64_t)(local - FIRST_SECOND);
    write_day(&writer, (unsigned)(since_1900 / DAY_SECONDS));
    ehlo_writer_put(&writer, " ", 1);
    write_time(&writer, (unsigned)(since_1900 % DAY_SECONDS), zone_minutes);
    return ehlo_writer_end(&writer, len);
}

/* -- the Received field ----------------------------------------------------------------------------- */

/* Octets of a Domain or address-literal that mean nothing else in a structured field. */
static int is_token_octet(char octet)
{
    return ehlo_char_is(octet, EHLO_CHAR_ATEXT) || octet == '.' || octet == ':' || octet == '[' || octet == ']';
}

/* RFC 5322 3.2.2: ctext, and the spaces between. */
static int is_comment_octet(char octet)
{
    return !ehlo_char_is_control(octet) && !ehlo_char_is_high(octet) && octet != '(' && octet != ')' && octet != '\\';
}

/* Writes what somebody else said: an octet that may not stand there becomes '?'. */
static void write_cleaned(ehlo_writer *writer, ehlo_str text, int (*is_allowed)(char octet))
{
    size_t len = text.len < TOKEN_MAX ? text.len : TOKEN_MAX;
    for (size_t i = 0; i < len; i++) ehlo_writer_put(writer, is_allowed(text.ptr[i]) ? &text.ptr[i] : "?", 1);
}

/*     From-domain     = "FROM" FWS Extended-Domain
 *     Extended-Domain = Domain / ( Domain FWS "(" TCP-info ")" ) / ( address-literal FWS "(" TCP-info ")" )
 * Where no name was given, the address stands in for it. */
static void write_from(ehlo_writer *writer, const ehlo_received *received)
{
    char literal[LITERAL_MAX];
    size_t literal_len;
    int known = ehlo_address_write(&received->remote, 1, literal, sizeof(literal), &literal_len) == EHLO_OK;
    if (received->hello.len == 0 && !known) return;
    ehlo_writer_put_text(writer, "from ");
    if (received->hello.len > 0) {
        write_cleaned(writer, received->hello, is_token_octet);
    } else {
        ehlo_writer_put(writer, literal, literal_len);
    }
    if (known) {
        ehlo_writer_put(writer, " (", 2);
        ehlo_writer_put(writer, literal, literal_len);
        ehlo_writer_put(writer, ")", 1);
    }
    ehlo_writer_put_text(writer, "\r\n\t");
}

/*     By-domain = CFWS "BY" FWS Extended-Domain
 *     With      = CFWS "WITH" FWS Protocol */
static void write_by(ehlo_writer *writer, const ehlo_received *received)
{
    if (received->by.len > 0) {
        ehlo_writer_put_text(writer, "by ");
        ehlo_writer_put_str(writer, received->by);
        ehlo_writer_put(writer, " ", 1);
    }
    ehlo_writer_put_text(writer, "with ");
    ehlo_writer_put_str(writer, ehlo_with_keyword(received->with));
    if (received->tls.len > 0) {
        ehlo_writer_put_text(writer, "\r\n\t(");
        write_cleaned(writer, received->tls, is_comment_octet);
        ehlo_writer_put(writer, ")", 1);
    }
}

/*     ID  = CFWS "ID" FWS ( Atom / msg-id )
 *     For = CFWS "FOR" FWS ( Path / Mailbox ) */
static void write_message(ehlo_writer *writer, const ehlo_received *received)
{
    if (received->id.len > 0) {
        ehlo_writer_put_text(writer, "\r\n\tid ");
        ehlo_writer_put_str(writer, received->id);
    }
    if (received->recipient.len > 0) {
        ehlo_writer_put_text(writer, "\r\n\tfor <");
        ehlo_writer_put_str(writer, received->recipient);
        ehlo_writer_put(writer, ">", 1);
    }
}

/* An atom with dots, or a message-id: nothing that could end the field, or begin another clause of it. */
static int is_id(ehlo_str id)
{
    if (id.len > TOKEN_MAX) return 0;
    for (size_t i = 0; i < id.len; i++) {
        char octet = id.ptr[i];
        if (!is_token_octet(octet) && octet != '<' && octet != '>' && octet != '@') return 0;
    }
    return 1;
}

/* Any mailbox that a session can have accepted; RFC 5321 4.1.1.3: "postmaster" needs no domain. */
static int is_recipient(ehlo_str mailbox, unsigned with)
{
    static const ehlo_str postmaster = EHLO_LITERAL("postmaster");
    unsigned leniencies = EHLO_SYNTAX_UNDERSCORE | EHLO_SYNTAX_TRAILING_DOT | EHLO_SYNTAX_LONG_LOCAL;
    ehlo_path path;
    if ((with & EHLO_WITH_UTF8) != 0) leniencies |= EHLO_SYNTAX_UTF8;
    if (mailbox.len > RECIPIENT_MAX) return 0;
    return ehlo_chars_equal_nocase(mailbox, postmaster) ||
           ehlo_mailbox_parse(mailbox, leniencies, &path, NULL) == EHLO_OK;
}

static int is_host_name(ehlo_str by)
{
    return ehlo_domain_parse(by, EHLO_SYNTAX_UNDERSCORE | EHLO_SYNTAX_TRAILING_DOT, NULL, NULL, NULL) == EHLO_OK;
}

/*     Time-stamp-line = "Received:" FWS Stamp <CRLF>
 *     Stamp           = From-domain By-domain Opt-info [CFWS] ";" FWS date-time */
int ehlo_received_write(const ehlo_received *received, char *out, size_t cap, size_t *len)
{
    char date[DATE_MAX];
    size_t date_len;
    ehlo_writer writer = { out, cap, 0 };
    *len = 0;
    if (received->by.len > 0 && !is_host_name(received->by)) return EHLO_ERR_ARG;
    if (!is_id(received->id)) return EHLO_ERR_ARG;
    if (received->recipient.len > 0 && !is_recipient(received->recipient, received->with)) return EHLO_ERR_ARG;
    int result = ehlo_date_write(received->time, received->zone_minutes, date, sizeof(date), &date_len);
    if (result != EHLO_OK) return result;
    ehlo_writer_put_text(&writer, "Received: ");
    write_from(&writer, received);
    write_by(&writer, received);
    write_message(&writer, received);
    ehlo_writer_put_text(&writer, ";\r\n\t");
    ehlo_writer_put(&writer, date, date_len);
    ehlo_writer_put(&writer, "\r\n", 2);
    return ehlo_writer_end(&writer, len);
}
