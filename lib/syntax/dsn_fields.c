/* The part of a report that programs read (RFC 3464 2, RFC 6533 4). */
#include "chars.h"
#include "dsn_text.h"
#include "orcpt.h"

/* Types of what follows them (RFC 3464 2.1.2; RFC 6533 3). */
static const ehlo_str dns = EHLO_LITERAL("dns"), rfc822 = EHLO_LITERAL("rfc822"), utf_8 = EHLO_LITERAL("utf-8");
static const ehlo_str untyped = EHLO_LITERAL("");

/* Left out where nothing of the value is left. Behind a type it is folded where it is long. */
static void put_field(ehlo_writer *writer, const char *name, ehlo_str type, ehlo_str value)
{
    size_t start = writer->len;
    if (value.len == 0) return;
    ehlo_writer_put_text(writer, name);
    ehlo_writer_put_text(writer, ": ");
    if (type.len > 0) {
        ehlo_writer_put_str(writer, type);
        int is_long = writer->len - start + 2 + value.len > EHLO_DSN_LINE_PREFERRED;
        ehlo_writer_put_text(writer, is_long ? ";\r\n " : "; ");
    }
    ehlo_writer_put_str(writer, value);
    ehlo_writer_put(writer, "\r\n", 2);
}

/* RFC 3464 2.2.2: mta-name-type ";" mta-name */
static void put_mta(ehlo_writer *writer, const ehlo_dsn *dsn, const char *name, ehlo_str mta)
{
    char octets[EHLO_DSN_TEXT_MAX];
    put_field(writer, name, dns, ehlo_dsn_clean(mta, EHLO_DSN_NAME_MAX, dsn->utf8, octets));
}

static void put_date(ehlo_writer *writer, const ehlo_dsn *dsn, const char *name, int64_t time)
{
    char octets[EHLO_DSN_DATE_MAX];
    put_field(writer, name, untyped, ehlo_dsn_date(dsn, time, octets));
}

/* RFC 3464 2.2:
 *     per-message-fields = [ original-envelope-id-field CRLF ] reporting-mta-field CRLF [ dsn-gateway-field CRLF ]
 *                          [ received-from-mta-field CRLF ] [ arrival-date-field CRLF ] *( extension-field CRLF ) */
void ehlo_dsn_put_message_fields(ehlo_writer *writer, const ehlo_dsn *dsn)
{
    char octets[EHLO_DSN_TEXT_MAX];
    put_field(writer, "Original-Envelope-Id", untyped,
              ehlo_dsn_clean(dsn->envid, EHLO_DSN_NAME_MAX, dsn->utf8, octets));
    put_mta(writer, dsn, "Reporting-MTA", dsn->reporting_mta);
    put_mta(writer, dsn, "Received-From-MTA", dsn->received_from);
    put_date(writer, dsn, "Arrival-Date", dsn->arrived);
}

/* RFC 3464 2.3.1: what ORCPT said, decoded. RFC 6533 3: without UTF-8 an address of type utf-8 stands as
 * utf-8-addr-xtext; if that is longer than ORCPT can be, it was none. */
static void put_original_recipient(ehlo_writer *writer, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    char octets[EHLO_DSN_TEXT_MAX], encoded[EHLO_DSN_TEXT_MAX];
    int is_utf8 = ehlo_chars_equal_nocase(rcpt->orcpt_type, utf_8);
    ehlo_str address = ehlo_dsn_clean(rcpt->orcpt, EHLO_DSN_ORCPT_MAX, is_utf8 || dsn->utf8, octets);
    if (is_utf8 && !dsn->utf8) {
        ehlo_writer to = { encoded, sizeof(encoded), 0 };
        ehlo_orcpt_put_utf8(&to, address);
        address = ehlo_str_make(encoded, to.len <= sizeof(encoded) ? to.len : 0);
    }
    put_field(writer, "Original-Recipient", rcpt->orcpt_type, address);
}

/* RFC 3464 2.3.2; RFC 6533 4: an address that is not ASCII is of type utf-8, and stands as it is. */
static void put_final_recipient(ehlo_writer *writer, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    char octets[EHLO_DSN_TEXT_MAX];
    ehlo_str address = ehlo_dsn_clean(rcpt->to, sizeof(octets), dsn->utf8, octets);
    int is_ascii = ehlo_chars_find_high(address) == address.len;
    put_field(writer, "Final-Recipient", is_ascii ? rfc822 : utf_8, address);
}

/* RFC 3464 2.3.6; RFC 3461 9.2: type "smtp" is the reply as it was. */
static void put_diagnostic_code(ehlo_writer *writer, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    ehlo_dsn_line line = { .writer = writer, .indent = " ", .start = writer->len, .begun = 1 };
    if (rcpt->code == 0) return;
    ehlo_writer_put_text(writer, "Diagnostic-Code: smtp;");
    ehlo_dsn_line_put_reply(&line, dsn, rcpt);
    ehlo_writer_put(writer, "\r\n", 2);
}

/* RFC 3464 2.3:
 *     per-recipient-fields = [ original-recipient-field CRLF ] final-recipient-field CRLF action-field CRLF
 *                            status-field CRLF [ remote-mta-field CRLF ] [ diagnostic-code-field CRLF ]
 *                            [ last-attempt-date-field CRLF ] [ final-log-id-field CRLF ]
 *                            [ will-retry-until-field CRLF ] *( extension-field CRLF ) */
void ehlo_dsn_put_recipient_fields(ehlo_writer *writer, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    put_original_recipient(writer, dsn, rcpt);
    put_final_recipient(writer, dsn, rcpt);
    ehlo_writer_put_text(writer, "Action: ");
    ehlo_writer_put_str(writer, ehlo_action_name((ehlo_action)rcpt->action));
    ehlo_writer_put_text(writer, "\r\nStatus: ");
    ehlo_dsn_put_status(writer, rcpt);
    ehlo_writer_put(writer, "\r\n", 2);
    if (rcpt->code != 0) put_mta(writer, dsn, "Remote-MTA", rcpt->remote_mta);
    put_diagnostic_code(writer, dsn, rcpt);
    put_date(writer, dsn, "Last-Attempt-Date", rcpt->last_attempt);
    if (rcpt->action == EHLO_ACTION_DELAYED) put_date(writer, dsn, "Will-Retry-Until", rcpt->retry_until);
}
