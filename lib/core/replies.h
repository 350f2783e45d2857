/* replies.h - the replies that a server makes itself, and what an application may answer where. */
#ifndef EHLO_CORE_REPLIES_H
#define EHLO_CORE_REPLIES_H

#include <string.h>

#include <ehlo/types.h>

/* Replies of the library's own. */
typedef enum ehlo_standard {
    EHLO_SAY_NOTHING = 0,
    EHLO_SAY_OK,
    EHLO_SAY_MAIL_OK,
    EHLO_SAY_RCPT_OK,
    EHLO_SAY_MESSAGE_OK,
    EHLO_SAY_CHUNK_OK,
    EHLO_SAY_START_DATA,
    EHLO_SAY_HELP,
    EHLO_SAY_VRFY,
    EHLO_SAY_VERBOSE,
    EHLO_SAY_START_TLS,
    EHLO_SAY_AUTH_OK,
    EHLO_SAY_UNKNOWN,
    EHLO_SAY_MALFORMED, /* control characters, or no verb */
    EHLO_SAY_LINE_TOO_LONG,
    EHLO_SAY_AUTH_LINE_TOO_LONG,
    EHLO_SAY_ARGUMENT,
    EHLO_SAY_NO_ARGUMENT,
    EHLO_SAY_MAIL_PATH,
    EHLO_SAY_RCPT_PATH,
    EHLO_SAY_MAIL_DOMAIN,
    EHLO_SAY_RCPT_DOMAIN,
    EHLO_SAY_NON_ASCII,
    EHLO_SAY_PARAMETER,
    EHLO_SAY_PARAMETER_UNKNOWN,
    EHLO_SAY_CHUNK_ARGUMENT,
    EHLO_SAY_BASE64,
    EHLO_SAY_CANCELLED,
    EHLO_SAY_NOT_OFFERED,
    EHLO_SAY_HELLO_FIRST,
    EHLO_SAY_SEQUENCE,
    EHLO_SAY_NESTED_MAIL,
    EHLO_SAY_MAIL_FIRST,
    EHLO_SAY_RCPT_FIRST,
    EHLO_SAY_NO_RCPT,
    EHLO_SAY_CHUNKING,
    EHLO_SAY_BINARY,
    EHLO_SAY_DEAD,
    EHLO_SAY_ALREADY,
    EHLO_SAY_TLS_ALREADY,
    EHLO_SAY_TLS_FIRST,
    EHLO_SAY_AUTH_FIRST,
    EHLO_SAY_AUTH_NEEDS_TLS,
    EHLO_SAY_MECHANISM,
    EHLO_SAY_TOO_BIG,
    EHLO_SAY_TOO_MANY_RCPT,
    EHLO_SAY_HOLD,
    EHLO_SAY_DELIVERBY,
    EHLO_SAY_ETRN,
    EHLO_SAY_XCLIENT,
    EHLO_SAY_BARE,
    EHLO_SAY_TEXT_LINE,
    EHLO_SAY_8BIT,
    EHLO_SAY_CONTENT,
    EHLO_SAY_NO_SERVICE,
    EHLO_SAY_HOST_NO_MAIL,
    EHLO_SAY_EARLY,
    EHLO_SAY_NAMING_US, /* from here on our domain leads the text (RFC 5321 4.2.3) */
    EHLO_SAY_BYE = EHLO_SAY_NAMING_US,
    EHLO_SAY_EARLY_DATA,
    EHLO_SAY_TOO_MANY_BAD,
    EHLO_SAY_TOO_MANY_IDLE,
    EHLO_SAY_TOO_MANY,
    EHLO_SAY_TIMEOUT,
    EHLO_SAY_NO_ANSWER,
    EHLO_SAY_TOO_SLOW,
    EHLO_SAY_ENDLESS_LINE,
    EHLO_SAY_NOT_HTTP,
    EHLO_SAY_SHUTDOWN,
    EHLO_SAY_FAILED
} ehlo_standard;

/* A standard reply as it is said, "250 2.1.0 Sender OK\r\n", and where its parts are. */
#define EHLO_STANDARD_MAX 64
struct ehlo_standard_line {
    char line[EHLO_STANDARD_MAX];
    uint8_t len, text_at;
    uint16_t code;
    uint8_t subject, detail;
};
extern const struct ehlo_standard_line ehlo_standard_lines[];

static inline uint16_t ehlo_standard_code(ehlo_standard which)
{
    return ehlo_standard_lines[which].code;
}

/* The whole of a standard reply; its text is static. */
ehlo_reply ehlo_standard_reply(ehlo_standard which);

/* Writes it whole, with CRLF; returns its length. out has room for EHLO_STANDARD_MAX octets, and all of it may be
 * written to: a copy of one fixed size is a few instructions, and no call. */
static inline size_t ehlo_standard_write(ehlo_standard which, char *out)
{
    memcpy(out, ehlo_standard_lines[which].line, EHLO_STANDARD_MAX);
    return ehlo_standard_lines[which].len;
}

/* The same without its enhanced code. */
size_t ehlo_standard_write_bare(ehlo_standard which, char *out);

/* A decision that a session waits for: which callback was asked. */
typedef enum ehlo_question {
    EHLO_ASKED_NOTHING = 0,
    EHLO_ASKED_CONNECT,
    EHLO_ASKED_HELLO,
    EHLO_ASKED_MAIL,
    EHLO_ASKED_RCPT,
    EHLO_ASKED_DATA,
    EHLO_ASKED_CHUNK, /* on_data, at the first BDAT */
    EHLO_ASKED_MESSAGE,
    EHLO_ASKED_RESULT,
    EHLO_ASKED_AUTH,
    EHLO_ASKED_STARTTLS,
    EHLO_ASKED_COMMAND
} ehlo_question;

/* 1 if the application may answer the question with this code. verb: which command, for COMMAND. */
int ehlo_answer_allowed(ehlo_question question, ehlo_verb verb, unsigned code);

/* Codes that grant a question, from..to, and the reply of an application that says nothing. */
struct ehlo_success {
    uint16_t from, to;
    uint8_t standard;
};
extern const struct ehlo_success ehlo_successes[];

ehlo_standard ehlo_command_default(ehlo_verb verb);

/* What an application that says nothing says. */
static inline ehlo_standard ehlo_answer_default(ehlo_question question, ehlo_verb verb)
{
    if (question == EHLO_ASKED_COMMAND) return ehlo_command_default(verb);
    return (ehlo_standard)ehlo_successes[question].standard;
}

/* And its code. */
uint16_t ehlo_answer_code(ehlo_question question, ehlo_verb verb);

/* The code to say, with default text, for an answer that is not allowed or not sendable. */
uint16_t ehlo_answer_instead(ehlo_question question, ehlo_verb verb, uint16_t code);

/* Fills in what an application's answer left open: enhanced code and text, by question and code. */
void ehlo_answer_complete(ehlo_reply *reply, ehlo_question question);

#endif
