/* The part of a report that people read. */
#include "chars.h"
#include "dsn_text.h"

/* By what all recipients have in common. */
static const char *const openings[] = {
    [EHLO_ACTION_NONE] = "What became of your message is told below, recipient by recipient.",
    [EHLO_ACTION_FAILED] = "Your message could not be delivered to the recipients below, and will not be tried "
                           "again. Where another server has refused it, that server's own words are shown.",
    [EHLO_ACTION_DELAYED] = "Your message has not been delivered to the recipients below yet. This is a warning "
                            "only: it is still being tried, and you need not do anything, nor send the message again.",
    [EHLO_ACTION_DELIVERED] = "Your message was delivered to the recipients below.",
    [EHLO_ACTION_RELAYED] = "Your message was passed on to the recipients below, by way of servers that do not "
                            "report what becomes of it. You may hear nothing further of it.",
    [EHLO_ACTION_EXPANDED] = "Your message was delivered to the addresses below, each of which stands for several "
                             "others, and passed on to those. You may hear nothing further of it.",
};

static const char *const outcomes[] = {
    [EHLO_ACTION_FAILED] = "Not delivered.",
    [EHLO_ACTION_DELAYED] = "Not delivered yet.",
    [EHLO_ACTION_DELIVERED] = "Delivered.",
    [EHLO_ACTION_RELAYED] = "Passed on to a server that does not report on delivery.",
    [EHLO_ACTION_EXPANDED] = "Delivered, and passed on to the addresses that it stands for.",
};

static void put_text(ehlo_dsn_line *line, const char *words)
{
    ehlo_dsn_line_put(line, ehlo_str_from(words));
}

/* A sentence of its own, which ends in a value. */
static void put_sentence(ehlo_dsn_line *line, const char *words, ehlo_str value)
{
    put_text(line, words);
    ehlo_dsn_line_put(line, value);
    ehlo_writer_put_text(line->writer, ".");
    ehlo_dsn_line_break(line);
}

void ehlo_dsn_put_opening(ehlo_writer *writer, const ehlo_dsn *dsn, ehlo_action action)
{
    char octets[EHLO_DSN_DATE_MAX];
    ehlo_str arrived = ehlo_dsn_date(dsn, dsn->arrived, octets);
    ehlo_dsn_line line = { .writer = writer, .indent = "" };
    ehlo_writer_put_text(writer, "This is the mail system at ");
    ehlo_writer_put_str(writer, dsn->reporting_mta);
    ehlo_writer_put_text(writer, ".\r\n\r\n");
    line.start = writer->len;
    put_text(&line, openings[action]);
    ehlo_dsn_line_break(&line);
    ehlo_writer_put_text(writer, "\r\n");
    line.start = writer->len;
    put_text(&line, ehlo_dsn_returns_full(dsn) ? "The message" : "The header of the message");
    if (arrived.len > 0) put_text(&line, "that arrived here on");
    ehlo_dsn_line_put(&line, arrived);
    put_text(&line, "is attached.");
    ehlo_dsn_line_break(&line);
}

/* RFC 3463 3.5: X.4.7 is "Delivery time expired". */
static int is_expired(const ehlo_dsn_recipient *rcpt)
{
    return rcpt->action == EHLO_ACTION_FAILED && rcpt->status[1] == 4 && rcpt->status[2] == 7;
}

/* The sender may know the recipient by another address alone, from which the message was sent on. */
static void put_original_recipient(ehlo_dsn_line *line, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    char octets[EHLO_DSN_TEXT_MAX];
    ehlo_str address = ehlo_dsn_clean(rcpt->orcpt, EHLO_DSN_ORCPT_MAX, dsn->utf8, octets);
    if (address.len == 0 || ehlo_chars_equal_nocase(rcpt->orcpt, rcpt->to)) return;
    put_sentence(line, "You addressed it as", address);
}

/* Who said the reply, or where it was that none came. */
static void put_speaker(ehlo_dsn_line *line, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    char octets[EHLO_DSN_TEXT_MAX];
    ehlo_str host = ehlo_dsn_clean(rcpt->remote_mta, EHLO_DSN_NAME_MAX, dsn->utf8, octets);
    ehlo_dsn_line_break(line);
    if (host.len == 0) {
        put_text(line, "The reason:");
        return;
    }
    put_text(line, rcpt->code != 0 ? "The server" : "What happened with the server");
    ehlo_dsn_line_put(line, host);
    ehlo_writer_put_text(line->writer, rcpt->code != 0 ? " said:" : ":");
}

/* What was replied, deeper than all else. */
static void put_reply(ehlo_dsn_line *line, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    if (rcpt->code == 0 && rcpt->text.len == 0) return;
    put_speaker(line, dsn, rcpt);
    ehlo_dsn_line_break(line);
    line->indent = "        ";
    ehlo_dsn_line_put_reply(line, dsn, rcpt);
    ehlo_dsn_line_break(line);
    line->indent = "    ";
}

/* What may happen yet, or may have happened. */
static void put_prospect(ehlo_dsn_line *line, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    char octets[EHLO_DSN_DATE_MAX];
    ehlo_str until = ehlo_dsn_date(dsn, rcpt->retry_until, octets);
    if (rcpt->may_have_arrived) {
        put_text(line, "An attempt broke off while the server's answer was awaited: the message may have arrived");
        put_text(line, "all the same, and may arrive more than once.");
        ehlo_dsn_line_break(line);
    }
    if (rcpt->action == EHLO_ACTION_DELAYED && until.len > 0) put_sentence(line, "It will be tried until", until);
}

/*     To <b@example.org>:
 *         Not delivered.
 *         The server mx.example.org said:
 *             550 5.1.1 No such user */
void ehlo_dsn_put_words(ehlo_writer *writer, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    char octets[EHLO_DSN_TEXT_MAX];
    ehlo_dsn_line line = { .writer = writer, .indent = "    " };
    ehlo_writer_put_text(writer, "To <");
    ehlo_writer_put_str(writer, ehlo_dsn_clean(rcpt->to, sizeof(octets), dsn->utf8, octets));
    ehlo_writer_put_text(writer, ">:\r\n");
    line.start = writer->len;
    put_original_recipient(&line, dsn, rcpt);
    put_text(&line, outcomes[rcpt->action]);
    if (is_expired(rcpt)) put_text(&line, "The message has become too old to be tried again.");
    put_reply(&line, dsn, rcpt);
    ehlo_dsn_line_break(&line);
    put_prospect(&line, dsn, rcpt);
}
