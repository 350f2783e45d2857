#include "replies.h"

/* A whole reply line, so that saying it is one copy. `code` and `text_at` tell its parts. */
#define SAY(class, rest, subject, detail, text)                                                                        \
    {                                                                                                                  \
#class #rest " " #class "." #subject "." #detail " " text "\r\n",                                              \
            sizeof(#class #rest " " #class "." #subject "." #detail " " text "\r\n") - 1,                              \
            sizeof(#class #rest " " #class "." #subject "." #detail " ") - 1, class * 100 + rest, subject, detail      \
    }

/* RFC 2034 4: a 3yz has no enhanced code. */
#define GO_ON "354 End data with <CR><LF>.<CR><LF>\r\n"

const struct ehlo_standard_line ehlo_standard_lines[] = {
    [EHLO_SAY_OK] = SAY(2, 50, 0, 0, "OK"),
    [EHLO_SAY_MAIL_OK] = SAY(2, 50, 1, 0, "Sender OK"),
    [EHLO_SAY_RCPT_OK] = SAY(2, 50, 1, 5, "Recipient OK"),
    [EHLO_SAY_MESSAGE_OK] = SAY(2, 50, 0, 0, "Message accepted"),
    [EHLO_SAY_CHUNK_OK] = SAY(2, 50, 0, 0, "Chunk received"),
    [EHLO_SAY_START_DATA] = { GO_ON, sizeof(GO_ON) - 1, 4, 354, 0, 0 },
    [EHLO_SAY_BYE] = SAY(2, 21, 0, 0, "Bye"),
    [EHLO_SAY_HELP] = SAY(2, 14, 0, 0, "See RFC 5321"),
    [EHLO_SAY_VRFY] = SAY(2, 52, 0, 0, "Cannot verify, but will accept the message and try"),
    [EHLO_SAY_VERBOSE] = SAY(2, 50, 0, 0, "Verbose mode"),
    [EHLO_SAY_START_TLS] = SAY(2, 20, 0, 0, "Ready to start TLS"),
    [EHLO_SAY_AUTH_OK] = SAY(2, 35, 7, 0, "Authenticated"),
    [EHLO_SAY_UNKNOWN] = SAY(5, 00, 5, 1, "Command not recognised"),
    [EHLO_SAY_MALFORMED] = SAY(5, 00, 5, 2, "Malformed command line"),
    [EHLO_SAY_LINE_TOO_LONG] = SAY(5, 00, 5, 2, "Line too long"),
    [EHLO_SAY_AUTH_LINE_TOO_LONG] = SAY(5, 00, 5, 6, "Authentication exchange line is too long"),
    [EHLO_SAY_ARGUMENT] = SAY(5, 01, 5, 4, "Syntax error in argument"),
    [EHLO_SAY_NO_ARGUMENT] = SAY(5, 01, 5, 4, "No argument allowed"),
    [EHLO_SAY_MAIL_PATH] = SAY(5, 01, 1, 7, "Bad reverse-path"),
    [EHLO_SAY_RCPT_PATH] = SAY(5, 01, 1, 3, "Bad forward-path"),
    [EHLO_SAY_MAIL_DOMAIN] = SAY(5, 54, 1, 8, "Sender's domain is not fully qualified"),
    [EHLO_SAY_RCPT_DOMAIN] = SAY(5, 54, 1, 2, "Recipient's domain is not fully qualified"),
    [EHLO_SAY_NON_ASCII] = SAY(5, 53, 6, 7, "Non-ASCII address needs SMTPUTF8"),
    [EHLO_SAY_PARAMETER] = SAY(5, 01, 5, 4, "Bad parameter"),
    [EHLO_SAY_PARAMETER_UNKNOWN] = SAY(5, 55, 5, 4, "Parameter not recognised"),
    [EHLO_SAY_CHUNK_ARGUMENT] = SAY(5, 01, 5, 4, "Bad BDAT command, closing connection"),
    [EHLO_SAY_BASE64] = SAY(5, 01, 5, 2, "Cannot decode base64"),
    [EHLO_SAY_CANCELLED] = SAY(5, 01, 7, 0, "Authentication cancelled"),
    [EHLO_SAY_NOT_OFFERED] = SAY(5, 02, 5, 1, "Command not implemented"),
    [EHLO_SAY_HELLO_FIRST] = SAY(5, 03, 5, 1, "Say hello first"),
    [EHLO_SAY_SEQUENCE] = SAY(5, 03, 5, 1, "Bad sequence of commands"),
    [EHLO_SAY_NESTED_MAIL] = SAY(5, 03, 5, 1, "Transaction already open"),
    [EHLO_SAY_MAIL_FIRST] = SAY(5, 03, 5, 1, "MAIL first"),
    [EHLO_SAY_RCPT_FIRST] = SAY(5, 03, 5, 1, "RCPT first"),
    [EHLO_SAY_NO_RCPT] = SAY(5, 54, 5, 1, "No valid recipients"),
    [EHLO_SAY_CHUNKING] = SAY(5, 03, 5, 1, "Only BDAT or RSET may follow BDAT"),
    [EHLO_SAY_BINARY] = SAY(5, 03, 5, 1, "BINARYMIME needs BDAT"),
    [EHLO_SAY_DEAD] = SAY(5, 03, 5, 1, "Transaction failed, RSET first"),
    [EHLO_SAY_ALREADY] = SAY(5, 03, 5, 1, "Already authenticated"),
    [EHLO_SAY_TLS_ALREADY] = SAY(5, 03, 5, 1, "Already inside TLS"),
    [EHLO_SAY_TLS_FIRST] = SAY(5, 30, 7, 0, "Say STARTTLS first"),
    [EHLO_SAY_AUTH_FIRST] = SAY(5, 30, 7, 0, "Authentication required"),
    [EHLO_SAY_AUTH_NEEDS_TLS] = SAY(5, 38, 7, 11, "Encryption required for authentication"),
    [EHLO_SAY_MECHANISM] = SAY(5, 04, 5, 4, "Mechanism not offered"),
    [EHLO_SAY_TOO_BIG] = SAY(5, 52, 3, 4, "Message too big"),
    [EHLO_SAY_TOO_MANY_RCPT] = SAY(4, 52, 5, 3, "Too many recipients"),
    [EHLO_SAY_HOLD] = SAY(5, 01, 5, 4, "Hold time beyond the maximum"),
    [EHLO_SAY_DELIVERBY] = SAY(5, 55, 5, 4, "By-time below the minimum"),
    [EHLO_SAY_ETRN] = SAY(4, 58, 0, 0, "Unable to queue messages for this node"),
    [EHLO_SAY_XCLIENT] = SAY(5, 50, 7, 0, "Not authorised"),
    [EHLO_SAY_BARE] = SAY(5, 50, 6, 0, "Bare CR or LF in message"),
    [EHLO_SAY_TEXT_LINE] = SAY(5, 54, 6, 0, "Line too long in message"),
    [EHLO_SAY_8BIT] = SAY(5, 54, 6, 1, "8-bit message without BODY=8BITMIME"),
    [EHLO_SAY_CONTENT] = SAY(5, 54, 6, 0, "Message refused"),
    [EHLO_SAY_NO_SERVICE] = SAY(5, 03, 5, 1, "No mail service here"),
    [EHLO_SAY_HOST_NO_MAIL] = SAY(5, 21, 3, 2, "Host does not accept mail"),
    [EHLO_SAY_EARLY] = SAY(5, 54, 5, 0, "Talking before the greeting"),
    [EHLO_SAY_EARLY_DATA] = SAY(4, 21, 5, 0, "Talking before the go-ahead for data"),
    [EHLO_SAY_TOO_MANY_BAD] = SAY(4, 21, 7, 0, "Too many bad commands"),
    [EHLO_SAY_TOO_MANY_IDLE] = SAY(4, 21, 7, 0, "Too many commands without a message"),
    [EHLO_SAY_TOO_MANY] = SAY(4, 21, 7, 0, "Too many commands"),
    [EHLO_SAY_TIMEOUT] = SAY(4, 21, 4, 2, "Timeout"),
    [EHLO_SAY_NO_ANSWER] = SAY(4, 21, 3, 0, "Timeout in local processing"),
    [EHLO_SAY_TOO_SLOW] = SAY(4, 21, 4, 2, "Message arrives too slowly"),
    [EHLO_SAY_ENDLESS_LINE] = SAY(4, 21, 5, 2, "Line far too long"),
    [EHLO_SAY_NOT_HTTP] = SAY(4, 21, 7, 0, "This is not HTTP"),
    [EHLO_SAY_SHUTDOWN] = SAY(4, 21, 3, 2, "Shutting down"),
    [EHLO_SAY_FAILED] = SAY(4, 21, 3, 0, "Local error"),
};

ehlo_reply ehlo_standard_reply(ehlo_standard which)
{
    ehlo_reply r;
    r.code = ehlo_standard_lines[which].code;
    r.enhanced[0] = (uint16_t)(r.code / 100);
    r.enhanced[1] = ehlo_standard_lines[which].subject;
    r.enhanced[2] = ehlo_standard_lines[which].detail;
    r.text.ptr = ehlo_standard_lines[which].line + ehlo_standard_lines[which].text_at;
    r.text.len = (size_t)ehlo_standard_lines[which].len - ehlo_standard_lines[which].text_at - 2;
    return r;
}

size_t ehlo_standard_write_bare(ehlo_standard which, char *out)
{
    const struct ehlo_standard_line *standard = &ehlo_standard_lines[which];
    size_t text_len = (size_t)standard->len - standard->text_at;
    memcpy(out, standard->line, 4);
    memcpy(out + 4, standard->line + standard->text_at, text_len);
    return 4 + text_len;
}

const struct ehlo_success ehlo_successes[] = {
    [EHLO_ASKED_CONNECT] = { 220, 220, EHLO_SAY_NOTHING },    [EHLO_ASKED_HELLO] = { 250, 250, EHLO_SAY_NOTHING },
    [EHLO_ASKED_MAIL] = { 250, 252, EHLO_SAY_MAIL_OK },       [EHLO_ASKED_RCPT] = { 250, 252, EHLO_SAY_RCPT_OK },
    [EHLO_ASKED_DATA] = { 354, 354, EHLO_SAY_START_DATA },    [EHLO_ASKED_CHUNK] = { 354, 354, EHLO_SAY_START_DATA },
    [EHLO_ASKED_MESSAGE] = { 250, 250, EHLO_SAY_MESSAGE_OK }, [EHLO_ASKED_RESULT] = { 250, 250, EHLO_SAY_MESSAGE_OK },
    [EHLO_ASKED_AUTH] = { 235, 235, EHLO_SAY_MECHANISM },     [EHLO_ASKED_STARTTLS] = { 220, 220, EHLO_SAY_START_TLS },
    [EHLO_ASKED_COMMAND] = { 200, 259, EHLO_SAY_OK },
};

int ehlo_answer_allowed(ehlo_question question, ehlo_verb verb, unsigned code)
{
    if (code / 10 % 10 > 5) return 0; /* RFC 5321 4.2: the second digit is 0 to 5 */
    if (code >= 400 && code < 600) {
        return question != EHLO_ASKED_CONNECT || code == 421 || code == 521 || code == 554;
    }
    if (question == EHLO_ASKED_AUTH && code == 334) return 1;
    if (question == EHLO_ASKED_COMMAND && verb == EHLO_VERB_XCLIENT) return code == 220;
    return code >= ehlo_successes[question].from && code <= ehlo_successes[question].to;
}

ehlo_standard ehlo_command_default(ehlo_verb verb)
{
    switch (verb) {
    case EHLO_VERB_VRFY:
    case EHLO_VERB_EXPN:
        return EHLO_SAY_VRFY;
    case EHLO_VERB_HELP:
        return EHLO_SAY_HELP;
    case EHLO_VERB_VERB:
        return EHLO_SAY_VERBOSE;
    case EHLO_VERB_ETRN:
        return EHLO_SAY_ETRN;
    case EHLO_VERB_XCLIENT:
        return EHLO_SAY_XCLIENT;
    case EHLO_VERB_NOOP:
        return EHLO_SAY_OK;
    default:
        return EHLO_SAY_UNKNOWN;
    }
}

uint16_t ehlo_answer_code(ehlo_question question, ehlo_verb verb)
{
    ehlo_standard which = ehlo_answer_default(question, verb);
    return which == EHLO_SAY_NOTHING ? ehlo_successes[question].from : ehlo_standard_lines[which].code;
}

/* What was granted stays granted, what was refused for now or for good stays so, and 421 stays 421. */
uint16_t ehlo_answer_instead(ehlo_question question, ehlo_verb verb, uint16_t code)
{
    if (code == 0) code = ehlo_answer_code(question, verb);
    /* A challenge that can't be sent ends the exchange; nobody is authenticated by mistake. */
    if (question == EHLO_ASKED_AUTH && code < 400 && code != 235) return 454;
    if (ehlo_answer_allowed(question, verb, code)) return code;
    if (question == EHLO_ASKED_CONNECT && code >= 400) return code < 500 ? 421 : 554;
    if (code >= 400) return code < 500 ? 451 : 554;
    if (question == EHLO_ASKED_COMMAND) return verb == EHLO_VERB_XCLIENT ? 220 : 250;
    return ehlo_successes[question].from;
}

/* Enhanced code and text for a code that an application gave bare (RFC 3463; RFC 5248 where it lists them). */
static const struct {
    uint16_t code;
    uint8_t question; /* EHLO_ASKED_NOTHING: any */
    uint8_t subject, detail;
    const char *text;
} completion[] = {
    { 250, EHLO_ASKED_MAIL, 1, 0, "Sender OK" },
    { 250, EHLO_ASKED_RCPT, 1, 5, "Recipient OK" },
    { 251, EHLO_ASKED_NOTHING, 1, 5, "User not local, will forward" },
    { 252, EHLO_ASKED_NOTHING, 0, 0, "Cannot verify, but will accept the message and try" },
    { 235, EHLO_ASKED_NOTHING, 7, 0, "Authenticated" },
    { 220, EHLO_ASKED_STARTTLS, 0, 0, "Ready to start TLS" },
    { 354, EHLO_ASKED_NOTHING, 0, 0, "End data with <CR><LF>.<CR><LF>" },
    { 421, EHLO_ASKED_NOTHING, 3, 2, "Service not available, closing connection" },
    { 432, EHLO_ASKED_NOTHING, 7, 12, "A password transition is needed" },
    { 450, EHLO_ASKED_NOTHING, 2, 0, "Mailbox unavailable" },
    { 451, EHLO_ASKED_NOTHING, 3, 0, "Local error" },
    { 452, EHLO_ASKED_RCPT, 5, 3, "Too many recipients" },
    { 452, EHLO_ASKED_NOTHING, 3, 1, "Insufficient storage" },
    { 454, EHLO_ASKED_NOTHING, 7, 0, "Temporary authentication or TLS failure" },
    { 455, EHLO_ASKED_NOTHING, 5, 4, "Parameters cannot be accommodated" },
    { 458, EHLO_ASKED_NOTHING, 0, 0, "Unable to queue messages for this node" },
    { 459, EHLO_ASKED_NOTHING, 0, 0, "Node not allowed" },
    { 500, EHLO_ASKED_AUTH, 5, 6, "Authentication exchange line is too long" },
    { 500, EHLO_ASKED_NOTHING, 5, 1, "Command not recognised" },
    { 501, EHLO_ASKED_AUTH, 5, 2, "Malformed authentication response" },
    { 501, EHLO_ASKED_NOTHING, 5, 4, "Syntax error in argument" },
    { 502, EHLO_ASKED_NOTHING, 5, 1, "Command not implemented" },
    { 503, EHLO_ASKED_NOTHING, 5, 1, "Bad sequence of commands" },
    { 504, EHLO_ASKED_NOTHING, 5, 4, "Argument not implemented" },
    { 521, EHLO_ASKED_NOTHING, 3, 2, "Host does not accept mail" },
    { 525, EHLO_ASKED_NOTHING, 7, 13, "User account disabled" },
    { 530, EHLO_ASKED_NOTHING, 7, 0, "Authentication required" },
    { 534, EHLO_ASKED_NOTHING, 7, 9, "Authentication mechanism is too weak" },
    { 535, EHLO_ASKED_NOTHING, 7, 8, "Authentication credentials invalid" },
    { 538, EHLO_ASKED_NOTHING, 7, 11, "Encryption required for authentication" },
    { 550, EHLO_ASKED_RCPT, 1, 1, "Mailbox unavailable" },
    { 550, EHLO_ASKED_NOTHING, 7, 1, "Refused" },
    { 551, EHLO_ASKED_NOTHING, 1, 6, "User not local" },
    { 552, EHLO_ASKED_RCPT, 2, 2, "Mailbox full" },
    { 552, EHLO_ASKED_NOTHING, 3, 4, "Message too big" },
    { 553, EHLO_ASKED_MAIL, 1, 7, "Mailbox name not allowed" },
    { 553, EHLO_ASKED_NOTHING, 1, 3, "Mailbox name not allowed" },
    { 554, EHLO_ASKED_CONNECT, 0, 0, "No mail service here" },
    { 554, EHLO_ASKED_MESSAGE, 6, 0, "Message refused" },
    { 554, EHLO_ASKED_NOTHING, 0, 0, "Transaction failed" },
    { 555, EHLO_ASKED_NOTHING, 5, 4, "Parameter not recognised" },
    { 556, EHLO_ASKED_NOTHING, 1, 10, "Domain does not accept mail" },
};

void ehlo_answer_complete(ehlo_reply *reply, ehlo_question question)
{
    size_t i, n = sizeof completion / sizeof completion[0];
    unsigned subject = 0, detail = 0;
    const char *text = reply->code < 400 ? "OK" : "Refused";
    for (i = 0; i < n; i++) {
        if (completion[i].code != reply->code) continue;
        if (completion[i].question != EHLO_ASKED_NOTHING && completion[i].question != question) continue;
        subject = completion[i].subject;
        detail = completion[i].detail;
        text = completion[i].text;
        break;
    }
    if (reply->enhanced[0] == 0) {
        reply->enhanced[0] = (uint16_t)(reply->code / 100);
        reply->enhanced[1] = (uint16_t)subject;
        reply->enhanced[2] = (uint16_t)detail;
    }
    if (reply->text.len == 0) reply->text = ehlo_str_from(text);
}
