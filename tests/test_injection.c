/* Nothing that an application says can become a command, a reply or a line of its own [C44] [C45]: each text of each
 * public function is tried with each payload, alone and inside a good value. It is refused with a named error, and not
 * an octet has reached the wire; or the table of texts says why not. What functions and texts there are is read from
 * the headers, so that none can be forgotten. */
#include "injection_relay.h"

#include "declarations.h"
#include "harness/peer.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* -- payloads --------------------------------------------------------------------------------------- */

enum {
    RCPT_LINE = 1 << 0,
    QUIT_LINE = 1 << 1,
    DATA_LINE = 1 << 2,
    NUL = 1 << 3,
    END_OF_DATA = 1 << 4,
    PARAMETER = 1 << 5,
    BRACKET = 1 << 6,
    NOTIFY_LINE = 1 << 7,
    QUOTED_LINE = 1 << 8,
    DEL = 1 << 9,
    OCTET_85 = 1 << 10,
    LINE_SEPARATOR = 1 << 11,
    BAD_UTF8 = 1 << 12,
    LONG = 1 << 13,

    WORDS = PARAMETER | BRACKET,
    HIGH = OCTET_85 | LINE_SEPARATOR | BAD_UTF8,
    ANY = (1 << 14) - 1
};

typedef struct payload {
    unsigned bit;
    ehlo_str text;
} payload;

/* The last, 70 KiB of letters, is filled in by main. */
static payload payloads[] = {
    { RCPT_LINE, { "\r\nRCPT TO:<x@y>", 15 } },
    { QUIT_LINE, { "\nQUIT", 5 } },
    { DATA_LINE, { "\rDATA", 5 } },
    { NUL, { "\0", 1 } },
    { END_OF_DATA, { "x\r\n.\r\nMAIL", 10 } },
    { PARAMETER, { " SIZE=0", 7 } },
    { BRACKET, { "> SIZE=1", 8 } },
    { NOTIFY_LINE, { "> NOTIFY=NEVER\r\n", 16 } },
    { QUOTED_LINE, { "\"\r\n\"@x", 6 } },
    { DEL, { "\x7f", 1 } },
    { OCTET_85, { "\x85", 1 } },
    { LINE_SEPARATOR, { "\xe2\x80\xa8", 3 } },
    { BAD_UTF8, { "\xff\xc3(", 3 } },
    { LONG, { NULL, 70 * 1024 } },
};

enum { ALONE = 1 << 0, FRONT = 1 << 1, MIDDLE = 1 << 2, END = 1 << 3, ANYWHERE = 15 };

static const char *const positions[] = { "alone", "in front", "in the middle", "at the end" };

/* -- texts ------------------------------------------------------------------------------------------ */

typedef enum fate {
    REFUSED = 0,
    SAID,    /* it is legal there: it goes out as it is, in a line of well-formed text */
    ENCODED, /* it goes out as something else */
    REPLACED /* another text goes out instead */
} fate;

/* What is not refused, and why that is right. */
typedef struct exception {
    unsigned payloads;
    unsigned where;
    fate fate;
    const char *reason;
} exception;

enum { EXCEPTIONS_MAX = 4 };

/* A text that a function takes: a parameter of it, or a member of a struct. */
typedef struct text {
    const char *name;
    size_t at; /* where it is in args */
    const char *good;
    const char *seen; /* of it on the wire; NULL: itself */
    exception exceptions[EXCEPTIONS_MAX];
    ehlo_verb verb;
    const char *event;
    unsigned with; /* variants that it needs */
} text;

#define AT(member) offsetof(args, member)

/* clang-format off */
#define TAKES(what, member, value) { .name = what, .at = AT(member), .good = value }
#define TAKES_BUT(what, member, value, ...) { .name = what, .at = AT(member), .good = value, __VA_ARGS__ }
#define COMMAND(command, value) { .name = "argument", .at = AT(text), .good = value, .verb = EHLO_VERB_##command }
#define COMMAND_BUT(command, value, ...) \
    { .name = "argument", .at = AT(text), .good = value, .verb = EHLO_VERB_##command, __VA_ARGS__ }

#define EXCEPT(...) .exceptions = { __VA_ARGS__ }
#define ARE_WORDS EXCEPT({ PARAMETER, MIDDLE | END, SAID, "the argument is words with spaces between" })
#define ARE_PARAMETERS EXCEPT({ PARAMETER, END, SAID, "parameters are a part of the argument" })
#define ARE_ATTRIBUTES EXCEPT({ WORDS, MIDDLE | END, SAID, "it is attributes with spaces between, values in xtext" })
#define OWN_WORDS \
    EXCEPT({ PARAMETER, MIDDLE | END, SAID, "the words of the caller's own command" }, \
           { BRACKET, END, SAID, "the words of the caller's own command" })
#define BECOMES_XTEXT EXCEPT({ WORDS, ANYWHERE, ENCODED, "it is printable ASCII, of which xtext is made" })
#define BECOMES_BASE64 EXCEPT({ ANY & ~LONG, ANYWHERE, ENCODED, "it is any octets, of which base64 is made" })

#define ANY_COMMANDS \
    COMMAND_BUT(MAIL, "FROM:<ann@sender.example>", ARE_PARAMETERS), \
    COMMAND(RCPT, "TO:<bob@mx.example>"), \
    COMMAND(DATA, ""), \
    COMMAND(RSET, ""), \
    COMMAND(QUIT, ""), \
    COMMAND(STARTTLS, ""), \
    COMMAND_BUT(VRFY, "bob", ARE_WORDS), \
    COMMAND(EXPN, "list@mx.example"), \
    COMMAND(ETRN, "mx.example"), \
    COMMAND_BUT(NOOP, "here", ARE_WORDS), \
    COMMAND_BUT(HELP, "MAIL", ARE_WORDS), \
    COMMAND_BUT(VERB, "ON", ARE_WORDS), \
    COMMAND_BUT(XCLIENT, "NAME=a.example", ARE_ATTRIBUTES), \
    COMMAND_BUT(UNKNOWN, "XFOO bar", OWN_WORDS)

static const text written_commands[] = {
    COMMAND(EHLO, "client.example"),
    COMMAND(HELO, "client.example"),
    COMMAND(LHLO, "client.example"),
    COMMAND(BDAT, "10 LAST"),
    COMMAND(AUTH, "PLAIN AGEAYg=="),
    ANY_COMMANDS,
};

static const text client_commands[] = { ANY_COMMANDS };

static const text hello_names[] = { TAKES("name", text, "client.example") };
static const text host_names[] = { TAKES_BUT("name", text, "mx.example", .seen = "example") };
static const text asked_names[] = { TAKES_BUT("host", text, "mx.example", .seen = "example") };

static const text mails[] = {
    TAKES("ehlo_mail_command.mailbox", mail.mailbox, "ann@sender.example"),
    TAKES_BUT("ehlo_mail_command.envid", mail.envid, "envelope-7", BECOMES_XTEXT),
    TAKES("ehlo_mail_command.auth", mail.auth, "login@sender.example"),
    TAKES("ehlo_mail_command.hold_until", mail.hold_until, "2030-01-01T00:00:00Z"),
    TAKES("ehlo_mail_command.params", mail.params, "XFOO=1"),
};

static const text rcpts[] = {
    TAKES("ehlo_rcpt_command.mailbox", rcpt.mailbox, "bob@mx.example"),
    TAKES("ehlo_rcpt_command.orcpt_type", rcpt.orcpt_type, "rfc822"),
    TAKES_BUT("ehlo_rcpt_command.orcpt", rcpt.orcpt, "original@mx.example", BECOMES_XTEXT),
    TAKES_BUT("ehlo_rcpt_command.orcpt", rcpt.orcpt, "original@mx.example", BECOMES_XTEXT, .with = WITH_UTF8_ORCPT),
    TAKES("ehlo_rcpt_command.rrvs", rcpt.rrvs, "2014-04-03T23:01:00Z"),
    TAKES("ehlo_rcpt_command.params", rcpt.params, "XBAR=2"),
};

#define ENVELOPES \
    TAKES("ehlo_envelope.from", envelope.from, "ann@sender.example"), \
    TAKES_BUT("ehlo_envelope.envid", envelope.envid, "envelope-7", BECOMES_XTEXT), \
    TAKES("ehlo_envelope.auth", envelope.auth, "login@sender.example"), \
    TAKES("ehlo_envelope.params", envelope.params, "XFOO=1"), \
    TAKES("ehlo_mail_command.hold_until", more.hold_until, "2030-01-01T00:00:00Z"), \
    TAKES("ehlo_recipient.to", recipient.to, "bob@mx.example"), \
    TAKES("ehlo_recipient.orcpt_type", recipient.orcpt_type, "rfc822"), \
    TAKES_BUT("ehlo_recipient.orcpt", recipient.orcpt, "original@mx.example", BECOMES_XTEXT), \
    TAKES_BUT("ehlo_recipient.orcpt", recipient.orcpt, "original@mx.example", BECOMES_XTEXT, .with = WITH_UTF8_ORCPT), \
    TAKES("ehlo_recipient.params", recipient.params, "XBAR=2")

#define CLIENT_CONFIGS TAKES("ehlo_client_config.name", client.name, "client.example")

static const text envelopes[] = { ENVELOPES };
static const text client_configs[] = { CLIENT_CONFIGS };
static const text connect_configs[] = {
    CLIENT_CONFIGS,
    TAKES_BUT("ehlo_host.name", host.name, "mx.example", .seen = "example"),
};
static const text sends[] = {
    ENVELOPES,
    CLIENT_CONFIGS,
    TAKES_BUT("ehlo_host.name", host.name, "127.0.0.1", .seen = ""), /* an address need not be said */
};

static const text auths[] = {
    TAKES("mechanism", text, "PLAIN"),
    TAKES_BUT("response", second, "secret", .seen = "c2VjcmV0", BECOMES_BASE64),
};
static const text auth_responses[] = { TAKES_BUT("response", second, "secret", .seen = "c2VjcmV0", BECOMES_BASE64) };
static const text octets_for_xtext[] = {
    TAKES_BUT("octets", text, "plain+", .seen = "plain+2B",
              EXCEPT({ WORDS | DEL | HIGH, ANYWHERE, ENCODED, "it is any octets but CR, LF and NUL" })),
};
static const text octets_for_base64[] = { TAKES_BUT("octets", text, "secret", .seen = "c2VjcmV0", BECOMES_BASE64) };
static const text cleaned[] = {
    TAKES_BUT("text", text, "from a peer",
              EXCEPT({ WORDS | LONG, ANYWHERE, SAID, "printable ASCII is clean, and the buffer holds 70 KiB" },
                     { ANY & ~(WORDS | LONG), ANYWHERE, ENCODED, "it is a peer's, cleaned for a line of a log" })),
};

#define IS_TEXT { WORDS, ANYWHERE, SAID, "a reply's text may have any of ASCII" }
#define HAS_LINES { QUIT_LINE, ANYWHERE, ENCODED, "LF begins another line of the same reply" }
#define IS_UTF8 { LINE_SEPARATOR, ANYWHERE, SAID, "any UTF-8 may be said to who asked for SMTPUTF8" }
#define ANY_LENGTH { LONG, ANYWHERE, ENCODED, "a reply may have any number of lines" }

static const text written_replies[] = {
    TAKES_BUT("ehlo_reply.text", reply.text, "Fine by me", EXCEPT(IS_TEXT, HAS_LINES, ANY_LENGTH)),
    TAKES_BUT("ehlo_reply.text", reply.text, "Fine by me", EXCEPT(IS_TEXT, HAS_LINES, ANY_LENGTH, IS_UTF8),
              .with = WITH_UTF8),
};
static const text answers[] = { TAKES_BUT("ehlo_reply.text", reply.text, "Fine by me", EXCEPT(IS_TEXT, HAS_LINES)) };
static const text late_answers[] = {
    TAKES_BUT("ehlo_reply.text", reply.text, "Fine by me",
              EXCEPT(IS_TEXT, HAS_LINES, { ANY, ANYWHERE, REPLACED, "the peer must not wait for ever" })),
};

#define ARE_EHLO_WORDS \
    EXCEPT({ PARAMETER, MIDDLE | END, SAID, "an EHLO line is words with spaces between" }, \
           { BRACKET, ANYWHERE, SAID, "an EHLO line is words with spaces between" })

#define BECOMES_NAME \
    EXCEPT({ WORDS, ANYWHERE, ENCODED, "it is UTF-8 without controls, of which base64 is made" })
#define BECOMES_PASSWORD \
    EXCEPT({ ANY & ~(NUL | OCTET_85 | BAD_UTF8 | LONG), ANYWHERE, ENCODED, \
             "a password is any UTF-8 without NUL, of which base64 is made" })
#define NAME(mechanism, member, value, base64) \
    TAKES_BUT("ehlo_credentials." #member, credentials.member, value, .seen = base64, BECOMES_NAME, .event = mechanism)
#define PASSWORD(mechanism, base64) \
    TAKES_BUT("ehlo_credentials.password", credentials.password, "pencil", .seen = base64, BECOMES_PASSWORD, \
              .event = mechanism)
#define WORD(mechanism, member, value, base64) \
    TAKES_BUT("ehlo_credentials." #member, credentials.member, value, .seen = base64, .event = mechanism)

/* What sessions say in an initial response. */
#define LOGINS \
    NAME("PLAIN", user, "user", "AHVzZXIAcGVuY2ls"), \
    PASSWORD("PLAIN", "AHVzZXIAcGVuY2ls"), \
    NAME("PLAIN", authzid, "admin", "YWRtaW4AdXNlcgBwZW5jaWw="), \
    NAME("XOAUTH2", user, "user", "dXNlcj11c2VyAWF1dGg9QmVhcmVyIHRva2VuAQE="), \
    WORD("XOAUTH2", token, "token", "dXNlcj11c2VyAWF1dGg9QmVhcmVyIHRva2VuAQE="), \
    NAME("OAUTHBEARER", user, "user", "bixhPXVzZXIsAWhvc3Q9bXguZXhhbXBsZQFhdXRoPUJlYXJlciB0b2tlbgEB"), \
    WORD("OAUTHBEARER", token, "token", "bixhPXVzZXIsAWhvc3Q9bXguZXhhbXBsZQFhdXRoPUJlYXJlciB0b2tlbgEB"), \
    WORD("OAUTHBEARER", host, "mx.example", "bixhPXVzZXIsAWhvc3Q9bXguZXhhbXBsZQFhdXRoPUJlYXJlciB0b2tlbgEB")

static const text logins[] = { LOGINS };
static const text exchanges[] = {
    LOGINS,
    NAME("LOGIN", user, "user", "dXNlcg=="),
    PASSWORD("LOGIN", "cGVuY2ls"),
    NAME("EXTERNAL", authzid, "admin", "YWRtaW4="),
    NAME("ANONYMOUS", user, "user", "dXNlcg=="),
    NAME("OAUTHBEARER", authzid, "admin", "bixhPWFkbWluLAFo"),
    NAME("CRAM-MD5", user, "user", "dXNl"),
    NAME("SCRAM-SHA-256", user, "user", "eSwsbj11c2VyLHI9"),
    NAME("SCRAM-SHA-256", authzid, "admin", "eSxhPWFkbWluLG49"),
    TAKES_BUT("ehlo_tls_facts.exporter", facts.exporter, "0123456789abcdef0123456789ABCDEF",
              .seen = "Yz1jRDEwYkhNdFpYaHdiM0owWlhJc0xEQXhNak0wTlRZM09EbGhZbU5rWldZ"
                      "d01USXpORFUyTnpnNVFVSkRSRVZHLHI9",
              BECOMES_BASE64, .event = "SCRAM-SHA-256-PLUS"),
};
static const text challenges[] = {
    TAKES_BUT("challenge", second, "secret", .seen = "334 c2VjcmV0",
              EXCEPT({ ANY & ~LONG, ANYWHERE, ENCODED, "it is any octets, of which base64 is made" },
                     { LONG, ANYWHERE, REPLACED, "the command was heard: its code is said, its text is not" }),
              .event = "ehlo_sasl_reply"),
};
static const text sasl_servers[] = {
    TAKES_BUT("ehlo_sasl_server_config.hostname", sasl.hostname, "mx.example", .seen = "334 PDcyNzI3MjcyNzI3MjcyNzIuNzI3MjcyNzI3MjcyNzI3MkBteC5leGFtcGxlPg==",
              .event = "ehlo_sasl_server_start"),
};
static const text additions[] = {
    TAKES("ehlo_header_additions.id", additions.id, "20261122.4Fxyz"),
    TAKES("ehlo_header_additions.domain", additions.domain, "mx.example"),
};

static const text services[] = {
    TAKES("ehlo_service_config.hostname", service.hostname, "mx.example"),
    TAKES_BUT("ehlo_service_config.greeting", service.greeting, "ESMTP ready", EXCEPT(IS_TEXT)),
    TAKES_BUT("ehlo_service_config.auth_mechanisms", service.auth_mechanisms, "PLAIN LOGIN", ARE_EHLO_WORDS),
    TAKES_BUT("ehlo_service_config.keywords", service.keywords, "XFOO 1",
              EXCEPT({ QUIT_LINE, MIDDLE | END, ENCODED, "LF begins another line of the EHLO reply" },
                     { PARAMETER, MIDDLE | END, SAID, "an EHLO line is words with spaces between" },
                     { BRACKET, END, SAID, "an EHLO line is words with spaces between" })),
    TAKES("ehlo_service_config.deliverby", service.deliverby, "120"),
    TAKES_BUT("ehlo_service_config.mt_priority", service.mt_priority, "STANAG4406", ARE_EHLO_WORDS),
    TAKES("ehlo_service_config.hold_until", service.hold_until, "2038-01-01T00:00:00Z"),
    TAKES_BUT("ehlo_service_config.xclient", service.xclient, "NAME ADDR", ARE_EHLO_WORDS),
};

#define KEEPS_CODE { ANY, ANYWHERE, REPLACED, "the command was heard: its code is said, its text is not" }
#define IS_SAID_OR_NOT EXCEPT(IS_TEXT, HAS_LINES, KEEPS_CODE)
#define IS_SAID_OR_NOT_UTF8 EXCEPT(IS_TEXT, HAS_LINES, IS_UTF8, KEEPS_CODE)
#define EVENT(on) \
    TAKES_BUT("ehlo_server_callbacks." on, reply.text, "Fine by me", IS_SAID_OR_NOT, .event = on)
#define EVENT_UTF8(on) \
    TAKES_BUT("ehlo_server_callbacks." on, reply.text, "Fine by me", IS_SAID_OR_NOT_UTF8, .event = on, \
              .with = WITH_UTF8)

static const text events[] = {
    EVENT("on_connect"),
    TAKES_BUT("ehlo_server_callbacks.on_hello", reply.text, "Fine by me",
              EXCEPT(IS_TEXT, KEEPS_CODE), .event = "on_hello"),
    EVENT("on_mail"), EVENT("on_rcpt"), EVENT("on_data"), EVENT("on_body"),
    EVENT("on_message"), EVENT("on_result"), EVENT("on_auth"), EVENT("on_starttls"), EVENT("on_command"),
    EVENT_UTF8("on_mail"), EVENT_UTF8("on_rcpt"), EVENT_UTF8("on_data"), EVENT_UTF8("on_body"),
    EVENT_UTF8("on_message"), EVENT_UTF8("on_result"),
    TAKES_BUT("ehlo_server_callbacks.on_auth", reply.text, "secret", .seen = "334 c2VjcmV0",
              EXCEPT({ ANY & ~LONG, ANYWHERE, ENCODED, "it is any octets, of which base64 is made" }, KEEPS_CODE),
              .event = "on_auth", .with = WITH_CHALLENGE),
};

#define IS_CLEANED { ANY, ANYWHERE, ENCODED, "it is the peer's word: cleaned, and cut at 255 octets" }

static const text trace_fields[] = {
    TAKES_BUT("ehlo_received.hello", received.hello, "client.example", EXCEPT(IS_CLEANED)),
    TAKES("ehlo_received.by", received.by, "mx.example"),
    TAKES_BUT("ehlo_received.tls", received.tls, "TLSv1.3",
              EXCEPT({ WORDS, ANYWHERE, SAID, "a comment may have any of ASCII but brackets" }, IS_CLEANED)),
    TAKES("ehlo_received.id", received.id, "4Fxyz"),
    TAKES("ehlo_received.recipient", received.recipient, "bob@mx.example"),
};

#define KEPT_CLEAN \
    EXCEPT({ WORDS, ANYWHERE, SAID, "it is the peer's word, which may have any of ASCII" }, \
           { ANY & ~WORDS, ANYWHERE, ENCODED, "it is the peer's word: cleaned, and cut at 255 octets" })

static const text kept_replies[] = { TAKES_BUT("ehlo_reply.text", reply.text, "Fine by me", KEPT_CLEAN) };
static const text kept_hosts[] = { TAKES_BUT("host", text, "next.example", KEPT_CLEAN) };
static const text policies[] = {
    TAKES("ehlo_relay_policy.own_names", own_name, "relay.example"),
    TAKES("ehlo_host.name", host.name, "smart.example"),
};
static const text mailboxes[] = {
    TAKES_BUT("mailbox", text, "bob@mx.example", .seen = "mx.example",
              EXCEPT({ LINE_SEPARATOR, FRONT, ENCODED, "a local part may have any UTF-8 but controls" },
                     { LONG, FRONT, ENCODED, "a local part may be long" })),
};
static const text domains[] = { TAKES("domain", text, "mx.example") };
static const text domains_asked[] = { TAKES_BUT("domain", text, "mx.example", .seen = "example") };
static const text relay_policies[] = {
    TAKES("ehlo_client_config.name", client.name, "client.example"),
    TAKES_BUT("ehlo_relay_policy.own_names", own_name, "relay.example", .seen = ""),
    TAKES_BUT("ehlo_host.name", host.name, "smart.example", .seen = "example"),
};

#define IS_REPORTED \
    { WORDS, ANYWHERE, SAID, "it was said by others: a field may have any of ASCII" }, \
    { ANY & ~WORDS, ANYWHERE, ENCODED, "it was said by others: it is cleaned and cut, and stands in a line of its field" }
#define REPORTED(what, member, value) TAKES_BUT(what, member, value, EXCEPT(IS_REPORTED))

static const text reports[] = {
    TAKES("ehlo_dsn.reporting_mta", dsn.reporting_mta, "relay.example"),
    TAKES("ehlo_dsn.to", dsn.to, "ann@sender.example"),
    TAKES("ehlo_dsn.id", dsn.id, "20261122.4fxyz"),
    REPORTED("ehlo_dsn.envid", dsn.envid, "envelope-7"),
    REPORTED("ehlo_dsn.received_from", dsn.received_from, "client.example"),
    REPORTED("ehlo_dsn_recipient.to", dsn_rcpt.to, "bob@mx.example"),
    TAKES("ehlo_dsn_recipient.orcpt_type", dsn_rcpt.orcpt_type, "rfc822"),
    REPORTED("ehlo_dsn_recipient.orcpt", dsn_rcpt.orcpt, "original@mx.example"),
    TAKES_BUT("ehlo_dsn_recipient.text", dsn_rcpt.text, "Unheard of",
              EXCEPT({ NOTIFY_LINE, ALONE | END, SAID, "that line is at its end" }, IS_REPORTED)),
    REPORTED("ehlo_dsn_recipient.remote_mta", dsn_rcpt.remote_mta, "next.example"),
};
/* clang-format on */

/* -- functions -------------------------------------------------------------------------------------- */

/* What they make of text, or'ed. */
enum {
    SILENT = 1,   /* nothing: they judge it for others */
    BINARY = 2,   /* no text */
    FRAGMENT = 4, /* a part of a line */
    REPLIES = 8,  /* replies, not commands */
    FOLDED = 16   /* a text may go on in further lines, which begin with a space */
};

typedef struct carrier {
    const char *function;
    int (*call)(args *a);
    const text *texts;
    size_t count;
    unsigned makes;
    unsigned variants; /* of the arguments: each is tried too */
} carrier;

#define CARRIES(function, call, texts, makes, variants)                                                                \
    {                                                                                                                  \
        function, call, texts, COUNT(texts), makes, variants                                                           \
    }

static const carrier carriers[] = {
    CARRIES("ehlo_command_write", write_command, written_commands, 0, 0),
    CARRIES("ehlo_hello_write", write_hello, hello_names, 0, 0),
    CARRIES("ehlo_mail_write", write_mail, mails, 0, WITH_UTF8),
    CARRIES("ehlo_rcpt_write", write_rcpt, rcpts, 0, WITH_UTF8),
    CARRIES("ehlo_auth_write", write_auth, auths, 0, 0),
    CARRIES("ehlo_auth_response_write", write_auth_response, auth_responses, 0, 0),
    CARRIES("ehlo_xtext_encode", encode_xtext, octets_for_xtext, FRAGMENT, 0),
    CARRIES("ehlo_base64_encode", encode_base64, octets_for_base64, FRAGMENT, 0),
    CARRIES("ehlo_text_clean", clean_text, cleaned, FRAGMENT, 0),
    CARRIES("ehlo_reply_check", check_reply, written_replies, SILENT, 0),
    CARRIES("ehlo_reply_write", write_reply, written_replies, REPLIES, 0),
    CARRIES("ehlo_received_write", write_received, trace_fields, 0, 0),
    CARRIES("ehlo_header_complete", complete_header, additions, 0, 0),
    CARRIES("ehlo_dns_query_write", write_query, host_names, BINARY, 0),

    CARRIES("ehlo_sasl_client_start", sasl_client, exchanges, 0, 0),
    CARRIES("ehlo_opening_start_sized", open_session, logins, 0, 0),
    CARRIES("ehlo_sasl_server_start", sasl_server, sasl_servers, REPLIES, 0),
    CARRIES("ehlo_sasl_reply", sasl_server, challenges, REPLIES, 0),

    CARRIES("ehlo_service_size_sized", size_service, services, SILENT, 0),
    CARRIES("ehlo_service_init_sized", init_service, services, REPLIES, 0),
    CARRIES("ehlo_service_init_sized", reply_from_callback, events, REPLIES, 0),
    CARRIES("ehlo_server_answer", answer_server, answers, REPLIES, 0),

    CARRIES("ehlo_client_size_sized", size_client, client_configs, SILENT, 0),
    CARRIES("ehlo_client_init_sized", init_client, client_configs, 0, 0),
    CARRIES("ehlo_client_command", client_command, client_commands, 0, 0),
    CARRIES("ehlo_client_mail", client_mail, mails, 0, WITH_UTF8),
    CARRIES("ehlo_client_rcpt", client_rcpt, rcpts, 0, WITH_UTF8),
    CARRIES("ehlo_client_auth", client_auth, auths, 0, 0),
    CARRIES("ehlo_client_auth_answer", client_auth_answer, auth_responses, 0, 0),

    CARRIES("ehlo_envelope_check_sized", check_envelope, envelopes, SILENT, WITH_UTF8),
    CARRIES("ehlo_transaction_start_sized", start_transaction, envelopes, 0, WITH_UTF8),

    CARRIES("ehlo_relay_policy_check_sized", check_policy, policies, SILENT, 0),
    CARRIES("ehlo_destination_write", write_destination, mailboxes, FRAGMENT, 0),
    CARRIES("ehlo_mx_plan", plan_mx, domains, FRAGMENT, 0),
    CARRIES("ehlo_delivery_failed", fail_delivery, kept_replies, FRAGMENT, 0),
    CARRIES("ehlo_delivery_reply", reply_to_delivery, kept_replies, FRAGMENT, 0),
    CARRIES("ehlo_delivery_connected", connect_delivery, kept_hosts, FRAGMENT, 0),
    CARRIES("ehlo_dsn_next", write_report, reports, FOLDED, WITH_UTF8),

    CARRIES("ehlo_net_service_new_sized", new_net_service, services, SILENT, 0),
    CARRIES("ehlo_loop_answer", answer_through_loop, late_answers, REPLIES, 0),
    CARRIES("ehlo_resolve", resolve, asked_names, BINARY, 0),
    CARRIES("ehlo_resolve_mx", resolve_mx, domains_asked, BINARY, 0),
    CARRIES("ehlo_relay_new_sized", run_relay, relay_policies, BINARY, 0),
    CARRIES("ehlo_relay_new_sized", relay_with_credentials, logins, 0, 0),
    CARRIES("ehlo_loop_connect_sized", connect_client, connect_configs, BINARY, 0),
    CARRIES("ehlo_loop_connect_sized", connect_with_credentials, logins, 0, 0),
    CARRIES("ehlo_send_sized", send_message, sends, 0, WITH_UTF8),
    CARRIES("ehlo_send_sized", send_with_credentials, logins, 0, 0),
};

/* -- one attempt ------------------------------------------------------------------------------------ */

static unsigned failures;

/* Which attempt is under way. */
static struct {
    const carrier *carrier;
    const text *text;
    unsigned with;
    char how[64];
    size_t good_lines; /* that a good value leads to */
    uint64_t good_starts;
} trial;

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *format, ...)
{
    va_list arguments;
    char why[256];
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    print_error("%s, %s%s%s, variant %u, %s: %s\n", trial.carrier->function, trial.text->name,
                trial.text->verb != 0 ? " of " : "", ehlo_verb_name(trial.text->verb).ptr, trial.with, trial.how, why);
    failures++;
}

static int on_wire(ehlo_str value)
{
    for (size_t at = 0; at + value.len <= wire.len; at++) {
        if (value.len == 0 || memcmp(wire.bytes + at, value.ptr, value.len) == 0) return 1;
    }
    return value.len == 0;
}

static size_t lines_on_wire(void)
{
    size_t lines = 0;
    for (size_t i = 0; i < wire.len; i++) lines += wire.bytes[i] == '\n';
    return lines;
}

/* How the lines begin, but those that go on with another: their first words, as one number. */
static uint64_t starts_on_wire(void)
{
    uint64_t hash = 14695981039346656037u;
    int in_word = 1;
    for (size_t i = 0; i < wire.len; i++) {
        if (wire.bytes[i] == ' ' || wire.bytes[i] == ':') in_word = 0;
        if (in_word) hash = (hash ^ (unsigned char)wire.bytes[i]) * 1099511628211u;
        if (wire.bytes[i] == '\n') in_word = 1;
    }
    return hash;
}

/* Whole lines of printable text. */
static const char *malformed(void)
{
    unsigned makes = trial.carrier->makes;
    for (size_t i = 0; i < wire.len; i++) {
        unsigned char c = (unsigned char)wire.bytes[i];
        if (c == '\r' && i + 1 < wire.len && wire.bytes[i + 1] == '\n') continue;
        if (c == '\n' && i > 0 && wire.bytes[i - 1] == '\r' && !(makes & FRAGMENT)) continue;
        if (c == '\t' && i > 0 && wire.bytes[i - 1] == '\n') continue; /* a folded field */
        if (c < ' ' || c == 0x7F) return "a control got out";
        if (c > 0x7F && !(trial.with & WITH_UTF8) && !(makes & FRAGMENT)) return "an 8-bit octet got out";
    }
    if (!ehlo_utf8_valid(ehlo_str_make(wire.bytes, wire.len), NULL)) return "malformed UTF-8 got out";
    if (!(makes & FRAGMENT) && (wire.len < 2 || memcmp(wire.bytes + wire.len - 2, "\r\n", 2) != 0))
        return "no line end";
    return NULL;
}

static int attempt(ehlo_str value)
{
    args a = good_args(trial.with);
    ehlo_str guarded = ehlo_str_make(guard_copy(value.ptr, value.len), value.len);
    a.verb = trial.text->verb;
    a.event = trial.text->event;
    memcpy((char *)&a + trial.text->at, &guarded, sizeof guarded);
    int result = trial.carrier->call(&a);
    guard_free((char *)(uintptr_t)guarded.ptr, guarded.len);
    return result;
}

static void must_be_refused(int result)
{
    if (result >= 0) {
        complain("accepted: %.*s", (int)(wire.len > 60 ? 60 : wire.len), wire.bytes);
    } else if (result != EHLO_ERR_ARG && result != EHLO_ERR_SYNTAX && result != EHLO_ERR_SPACE) {
        complain("refused by %d", result);
    } else if (wire.len != 0) {
        complain("refused, and %zu octets got out", wire.len);
    }
}

/* What is not refused is well-formed all the same. */
static void must_come_out(int result, ehlo_str value, const exception *e, unsigned bit)
{
    const char *why = NULL;
    if (result < 0) {
        complain("refused by %d, though %s", result, e->reason);
        return;
    }
    if (trial.carrier->makes & SILENT) return;
    if (on_wire(value) != (e->fate == SAID)) complain("it came out otherwise than the table says");
    if (!(trial.carrier->makes & BINARY)) why = malformed();
    if (why == NULL && trial.carrier->makes & REPLIES) peer_replies_valid(wire.bytes, wire.len, &why);
    if (why != NULL) complain("%s", why);
    if (trial.carrier->makes & FOLDED) {
        if (starts_on_wire() != trial.good_starts) complain("its lines begin with other words");
    } else if (lines_on_wire() != trial.good_lines && !(bit & (QUIT_LINE | LONG))) {
        complain("%zu lines", lines_on_wire());
    }
}

static const exception *exception_for(unsigned bit, unsigned where)
{
    for (size_t i = 0; i < EXCEPTIONS_MAX; i++) {
        const exception *e = &trial.text->exceptions[i];
        if (e->payloads & bit && e->where & where) return e;
    }
    return NULL;
}

/* The payload alone, or inside the good value. */
static ehlo_str embed(ehlo_str bad, unsigned where)
{
    static char value[1 << 17];
    size_t len = where == ALONE ? 0 : strlen(trial.text->good);
    size_t at = where == END ? len : where == MIDDLE ? len / 2 : 0;
    memcpy(value, trial.text->good, at);
    memcpy(value + at, bad.ptr, bad.len);
    memcpy(value + at + bad.len, trial.text->good + at, len - at);
    return ehlo_str_make(value, len + bad.len);
}

static void attack(const payload *p, unsigned position)
{
    unsigned where = 1u << position;
    ehlo_str value = embed(p->text, where);
    snprintf(trial.how, sizeof trial.how, "payload %zu %s", (size_t)(p - payloads), positions[position]);
    const exception *e = exception_for(p->bit, where);
    int result = attempt(value);
    if (e == NULL) {
        must_be_refused(result);
    } else {
        must_come_out(result, value, e, p->bit);
    }
}

/* A good value goes out: otherwise a refusal would say nothing. */
static int goes_out(void)
{
    const char *seen = trial.text->seen != NULL ? trial.text->seen : trial.text->good;
    int silent = (trial.carrier->makes & SILENT) != 0;
    snprintf(trial.how, sizeof trial.how, "a good value");
    int result = attempt(ehlo_str_from(trial.text->good));
    trial.good_lines = lines_on_wire();
    trial.good_starts = starts_on_wire();
    if (result < 0) {
        complain("refused by %d", result);
    } else if (silent ? wire.len > 0 : wire.len == 0 || !on_wire(ehlo_str_from(seen))) {
        complain("it is not on the wire, or what should be silent is not");
    } else {
        return 1;
    }
    return 0;
}

static void attack_with_all(const carrier *c, const text *t, unsigned with)
{
    trial.carrier = c;
    trial.text = t;
    trial.with = with;
    if (!goes_out()) return;
    for (size_t i = 0; i < COUNT(payloads); i++) {
        for (unsigned k = 0; k < COUNT(positions); k++) {
            if (t->good[0] != '\0' || k == 0) attack(&payloads[i], k);
        }
    }
}

static void attack_through(const carrier *c)
{
    for (size_t i = 0; i < c->count; i++) {
        attack_with_all(c, &c->texts[i], c->texts[i].with);
        if (c->variants != 0) attack_with_all(c, &c->texts[i], c->texts[i].with | c->variants);
    }
}

static void no_text_of_an_application_becomes_a_line(void **state) /* [N] [C44] [C45] [C46] */
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < COUNT(carriers); i++) attack_through(&carriers[i]);
    assert_int_equal(failures, 0);
}

/* -- what there is in the headers ------------------------------------------------------------------- */

/* What takes no text that can reach the wire, and why: functions, members ("struct.member"), all members of a struct,
 * and members as far as one function is concerned ("function struct.member"). */
typedef struct harmless {
    const char *reason;
    const char *names[48];
} harmless;

/* clang-format off */
static const harmless harmless_names[] = {
    { "reads what is there, into values",
      { "ehlo_path_parse", "ehlo_mailbox_parse", "ehlo_domain_parse", "ehlo_command_parse", "ehlo_mail_parse",
        "ehlo_rcpt_parse", "ehlo_param_next", "ehlo_hello_parse", "ehlo_bdat_parse", "ehlo_auth_parse",
        "ehlo_string_parse", "ehlo_etrn_parse", "ehlo_xtext_decode", "ehlo_base64_decode", "ehlo_reply_line_parse",
        "ehlo_reply_next", "ehlo_enhanced_parse", "ehlo_offer_parse", "ehlo_proxy_parse", "ehlo_dns_answer_parse",
        "ehlo_dns_next", "ehlo_orcpt_decode", "ehlo_address_parse", "ehlo_header_scan", "ehlo_sasl_client_step", "ehlo_sasl_server_step" } },
    { "compares, finds or judges: its answer is a number",
      { "ehlo_domain_equal", "ehlo_utf8_valid", "ehlo_sasl_find", "ehlo_outcome_of", "ehlo_sasl_choose",
        "ehlo_sasl_reveals", "ehlo_sasl_client_size", "ehlo_opening_size_sized", "ehlo_secret_equal",
        "ehlo_sasl_server_password", "ehlo_destination_matches", "ehlo_address_is_own", "ehlo_action_wanted",
        "ehlo_dsn_returns_full", "ehlo_schedule_next", "ehlo_schedule_expired", "ehlo_schedule_expires", "ehlo_schedule_warns",
        "ehlo_schedule_sane", "ehlo_mx_plan ehlo_relay_policy.own_names", "ehlo_mx_plan ehlo_host.name" } },
    { "is octets that only a hash sees", { "ehlo_scram_derive", "ehlo_sasl_server_config.decoy" } },
    { "gives a text of the library's own",
      { "ehlo_error_text", "ehlo_rule_text", "ehlo_verb_name", "ehlo_with_keyword", "ehlo_outcome_name",
        "ehlo_stage_name", "ehlo_state_name", "ehlo_action_name", "ehlo_route_reply", "ehlo_sasl_name", "ehlo_sasl_client_problem" } },
    { "writes numbers", { "ehlo_date_write", "ehlo_address_write", "ehlo_bdat_write" } },
    { "writes what a parser found, for a store or a comparison: who sends it has it judged again",
      { "ehlo_local_part_write" } },
    { "is about the message's content: any octets, which are judged and encoded on their way (body.h)",
      { "ehlo_codec_init", "ehlo_decoder_init", "ehlo_decode", "ehlo_encoder_init", "ehlo_encode",
        "ehlo_encode_counted", "ehlo_encoder_end", "ehlo_client_message", "ehlo_client_chunk", "ehlo_client_push",
        "ehlo_transaction_push", "ehlo_transaction_resume", "ehlo_loop_push", "ehlo_loop_body_ready",
        "ehlo_envelope.content", "ehlo_transaction_callbacks.body", "ehlo_store.body" } },
    { "says what was judged when the session was built", { "ehlo_client_hello" } },
    { "moves a session, with what was judged before or came from its peer",
      { "ehlo_server_init", "ehlo_server_start", "ehlo_server_feed", "ehlo_server_flush", "ehlo_server_resume",
        "ehlo_server_tls_started", "ehlo_server_tick", "ehlo_server_eof", "ehlo_server_lost", "ehlo_server_shutdown",
        "ehlo_server_close", "ehlo_client_start", "ehlo_client_feed", "ehlo_client_flush", "ehlo_client_tls_started",
        "ehlo_client_tick", "ehlo_client_eof", "ehlo_client_lost", "ehlo_client_close", "ehlo_transaction_cancel",
        "ehlo_client_kick", "ehlo_loop_disconnect" } },
    { "tells a fact",
      { "ehlo_service_input_min", "ehlo_service_hostname", "ehlo_service_reply_max", "ehlo_server_size",
        "ehlo_server_wants", "ehlo_server_deadline", "ehlo_server_status", "ehlo_server_peer",
        "ehlo_server_tls_facts", "ehlo_server_user", "ehlo_server_service", "ehlo_server_with",
        "ehlo_client_input_min", "ehlo_client_wants", "ehlo_client_deadline", "ehlo_client_status",
        "ehlo_client_offers", "ehlo_client_greeted", "ehlo_client_reason", "ehlo_client_problem",
        "ehlo_client_tls_facts", "ehlo_client_user", "ehlo_transaction_size", "ehlo_transaction_client",
        "ehlo_transaction_sent", "ehlo_loop_fd", "ehlo_loop_timeout", "ehlo_loop_now", "ehlo_listener_address",
        "ehlo_conn_loop", "ehlo_conn_number", "ehlo_conn_ctx", "ehlo_loop_server", "ehlo_loop_connections",
        "ehlo_loop_client", "ehlo_client_loop", "ehlo_client_number" } },
    { "is about an exchange of SASL, whose texts were judged when they came in",
      { "ehlo_sasl_client_finish", "ehlo_sasl_client_end", "ehlo_sasl_server_size", "ehlo_sasl_server_keys",
        "ehlo_sasl_server_verdict", "ehlo_sasl_server_mechanism", "ehlo_sasl_server_user", "ehlo_sasl_server_authzid",
        "ehlo_sasl_server_secret", "ehlo_sasl_server_end", "ehlo_secret_wipe", "ehlo_server_mechanisms" } },
    { "is a policy's: see ehlo_relay_policy_check_sized, which a relay asks",
      { "ehlo_destination_write ehlo_relay_policy.own_names", "ehlo_destination_write ehlo_host.name",
        "ehlo_delivery_init_sized ehlo_relay_policy.own_names", "ehlo_delivery_init_sized ehlo_host.name" } },
    { "moves an attempt, with what was judged before or is judged by DNS queries and transactions",
      { "ehlo_delivery_size", "ehlo_delivery_init_sized", "ehlo_delivery_task", "ehlo_delivery_mx",
        "ehlo_delivery_addresses", "ehlo_delivery_sent", "ehlo_delivery_stop", "ehlo_delivery_conclude" } },
    { "has no text but what ehlo_dsn_next has judged", { "ehlo_dsn_end" } },
    { "writes what is returned, which no text of the report changes", { "ehlo_dsn_fit" } },
    { "is between the application and its store, which keeps it as it is",
      { "ehlo_batch.message", "ehlo_batch.destination", "ehlo_batch.hello", "ehlo_queued.destinations",
        "ehlo_queued.hello", "ehlo_room.destination", "ehlo_store.create" } },
    { "is about loops, listeners, timers and memory, which have no text",
      { "ehlo_net_service_free", "ehlo_loop_new_sized", "ehlo_loop_free", "ehlo_loop_run", "ehlo_loop_step",
        "ehlo_loop_listen_sized", "ehlo_listener_close", "ehlo_resolver_free", "ehlo_lookup_cancel",
        "ehlo_timer_start", "ehlo_timer_stop", "ehlo_loop_resume", "ehlo_loop_post", "ehlo_loop_stop",
        "ehlo_limits_new", "ehlo_limits_free", "ehlo_store_answer", "ehlo_relay_free", "ehlo_relay_kick",
        "ehlo_relay_busy" } },
    { "keeps numbers of a reply alone", { "ehlo_envelope_settle_sized" } },
    { "names files to read", { "ehlo_resolver_new_sized", "ehlo_resolver_config" } },
    { "is read by the application alone, but for channel bindings, see ehlo_sasl_client_start", { "ehlo_tls_facts" } },
    { "is the library's answer",
      { "ehlo_path", "ehlo_command_line", "ehlo_mail", "ehlo_rcpt", "ehlo_hello", "ehlo_reply_line", "ehlo_command",
        "ehlo_failure.problem", "ehlo_opened.problem", "ehlo_task.name" } },
    { "is told to the application", { "ehlo_tls_engine.problem" } },
    { "is not read: of `more` only parameters that the envelope itself has not",
      { "ehlo_envelope_check_sized ehlo_mail_command.mailbox", "ehlo_envelope_check_sized ehlo_mail_command.envid",
        "ehlo_envelope_check_sized ehlo_mail_command.auth", "ehlo_envelope_check_sized ehlo_mail_command.params",
        "ehlo_transaction_start_sized ehlo_mail_command.mailbox",
        "ehlo_transaction_start_sized ehlo_mail_command.envid", "ehlo_transaction_start_sized ehlo_mail_command.auth",
        "ehlo_transaction_start_sized ehlo_mail_command.params", "ehlo_send_sized ehlo_mail_command.mailbox",
        "ehlo_send_sized ehlo_mail_command.envid", "ehlo_send_sized ehlo_mail_command.auth",
        "ehlo_send_sized ehlo_mail_command.params" } },
    { "is what sessions of a service call, whoever built it: see ehlo_service_init_sized",
      { "ehlo_net_service_new_sized ehlo_server_callbacks.on_connect",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_hello",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_mail",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_rcpt",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_data",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_body",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_message",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_result",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_auth",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_starttls",
        "ehlo_net_service_new_sized ehlo_server_callbacks.on_command" } },
};
/* clang-format on */

enum { WAYS_MAX = 1000, NAME_MAX_LEN = 2 * DECLARED_NAME };

/* All that the headers ask about, each by its name: "function", "function text", "struct", "struct.member". */
static struct {
    char names[WAYS_MAX][NAME_MAX_LEN];
    size_t count;
} ways;

static void add_way(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void add_way(const char *format, ...)
{
    va_list arguments;
    if (ways.count == WAYS_MAX) fail_msg("more ways than there is room for");
    va_start(arguments, format);
    vsnprintf(ways.names[ways.count++], NAME_MAX_LEN, format, arguments);
    va_end(arguments);
}

static int is_way(const char *name)
{
    for (size_t i = 0; i < ways.count; i++) {
        if (strcmp(ways.names[i], name) == 0) return 1;
    }
    return 0;
}

/* The texts in a struct, and in those that it holds or points to: of a function, or, for NULL, of the struct itself. */
static void add_members(const declarations *all, const char *function, const declared *type)
{
    if (function == NULL) add_way("%s", type->name);
    for (size_t i = 0; i < type->count; i++) {
        const part *p = &type->parts[i];
        const declared *inner = declarations_struct(all, p->type);
        if (function == NULL) {
            if (part_is_text(p)) add_way("%s.%s", type->name, p->name);
        } else if (part_is_text(p)) {
            add_way("%s %s.%s", function, type->name, p->name);
        } else if (inner != NULL) {
            add_members(all, function, inner);
        }
    }
}

/* What it takes by value, or by a pointer to what it may not change. */
static void add_function(const declarations *all, const declared *function)
{
    add_way("%s", function->name);
    for (size_t i = 0; i < function->count; i++) {
        const part *p = &function->parts[i];
        const declared *type = declarations_struct(all, p->type);
        if (p->pointer && !p->constant) continue;
        if (part_is_text(p)) {
            add_way("%s %s", function->name, p->name);
        } else if (type != NULL) {
            add_members(all, function->name, type);
        }
    }
}

static int read_headers(void **state)
{
    declarations *all = declarations_new();
    (void)state;
    ways.count = 0;
    for (size_t i = 0; i < all->function_count; i++) add_function(all, &all->functions[i]);
    for (size_t i = 0; i < all->struct_count; i++) add_members(all, NULL, &all->structs[i]);
    free(all);
    return ways.count < 300; /* that few there never were: they were not understood */
}

static int is_harmless(const char *name, size_t len)
{
    for (size_t i = 0; i < COUNT(harmless_names); i++) {
        for (const char *const *at = harmless_names[i].names; *at != NULL; at++) {
            if (strlen(*at) == len && memcmp(*at, name, len) == 0) return 1;
        }
    }
    return 0;
}

/* "function text", "function" for any of its texts, or "struct.member" for any function. */
static int is_attacked(const char *way)
{
    char name[NAME_MAX_LEN];
    for (size_t i = 0; i < COUNT(carriers); i++) {
        if (strcmp(carriers[i].function, way) == 0) return 1;
        for (size_t k = 0; k < carriers[i].count; k++) {
            const char *taken = carriers[i].texts[k].name;
            snprintf(name, sizeof name, "%s %s", carriers[i].function, taken);
            if (strcmp(name, way) == 0 || strcmp(taken, way) == 0) return 1;
        }
    }
    return 0;
}

/* By its name, or the name of a part of it: its function, its text, the struct of that. */
static int is_accounted_for(const char *way)
{
    const char *space = strchr(way, ' '), *what = space == NULL ? way : space + 1, *dot = strchr(what, '.');
    if (is_attacked(way) || is_harmless(way, strlen(way))) return 1;
    if (space != NULL && (is_harmless(way, (size_t)(space - way)) || is_harmless(what, strlen(what)))) return 1;
    return dot != NULL && is_harmless(what, (size_t)(dot - what));
}

/* A struct needs no word of its own: its members have. */
static int is_struct(const declarations *all, const char *name)
{
    return declarations_struct(all, name) != NULL;
}

static void every_function_and_text_of_the_headers_is_tried_or_known_to_be_harmless(void **state) /* [N] */
{
    size_t forgotten = 0;
    declarations *all = declarations_new();
    (void)state;
    for (size_t i = 0; i < ways.count; i++) {
        if (is_accounted_for(ways.names[i]) || is_struct(all, ways.names[i])) continue;
        print_error("%s: neither tried nor named as harmless\n", ways.names[i]);
        forgotten++;
    }
    free(all);
    assert_int_equal(forgotten, 0);
}

static void nothing_is_tried_or_named_that_the_headers_do_not_have(void **state) /* [N] */
{
    char name[NAME_MAX_LEN];
    size_t stale = 0;
    (void)state;
    for (size_t i = 0; i < COUNT(carriers); i++) {
        for (size_t k = 0; k < carriers[i].count; k++) {
            snprintf(name, sizeof name, "%s %s", carriers[i].function, carriers[i].texts[k].name);
            if (is_way(name)) continue;
            print_error("%s: the headers have no such thing\n", name);
            stale++;
        }
    }
    for (size_t i = 0; i < COUNT(harmless_names); i++) {
        for (const char *const *at = harmless_names[i].names; *at != NULL; at++) {
            if (is_way(*at) && !is_attacked(*at)) continue;
            print_error("%s: the headers have no such thing, or it is tried above\n", *at);
            stale++;
        }
    }
    assert_int_equal(stale, 0);
}

static int open_everything(void **state)
{
    world_open();
    return read_headers(state);
}

static int close_everything(void **state)
{
    (void)state;
    world_close();
    return 0;
}

int main(void)
{
    static char letters[70 * 1024];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_and_text_of_the_headers_is_tried_or_known_to_be_harmless),
        cmocka_unit_test(nothing_is_tried_or_named_that_the_headers_do_not_have),
        cmocka_unit_test(no_text_of_an_application_becomes_a_line),
    };
    memset(letters, 'x', sizeof letters);
    payloads[COUNT(payloads) - 1].text.ptr = letters;
    return cmocka_run_group_tests(tests, open_everything, close_everything);
}
