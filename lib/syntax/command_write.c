/* Commands to lines (RFC 5321 4.1.1), but for MAIL and RCPT made of values. */
#include <string.h>

#include "cursor.h"
#include "envelope_write.h"
#include "writer.h"

/* -- arguments, judged by the grammar that servers read them with ----------------------------------- */

/* EHLO_OK, or a negative result and *fault. */
typedef int argument_check(ehlo_str argument, ehlo_fault *fault);

static int refuse(ehlo_fault *fault, size_t offset, ehlo_rule rule)
{
    *fault = (ehlo_fault){ offset, rule };
    return EHLO_ERR_SYNTAX;
}

static int check_none(ehlo_str argument, ehlo_fault *fault)
{
    return argument.len == 0 ? EHLO_OK : refuse(fault, 0, EHLO_RULE_UNEXPECTED);
}

static int check_hello(ehlo_str argument, ehlo_fault *fault)
{
    ehlo_hello hello;
    return ehlo_hello_parse(EHLO_VERB_EHLO, argument, 0, &hello, fault);
}

/* RFC 5321 appendix F.2: "client SMTPs SHOULD NOT" generate source routes. */
static int check_no_route(ehlo_str argument, const ehlo_path *path, ehlo_fault *fault)
{
    if (path->route.len == 0) return EHLO_OK;
    return refuse(fault, (size_t)(path->route.ptr - argument.ptr), EHLO_RULE_ROUTE);
}

static const ehlo_param_rules strict = { UINT32_MAX, 0, 0 };

static int check_mail(ehlo_str argument, ehlo_fault *fault)
{
    ehlo_mail mail;
    int result = ehlo_mail_parse(argument, &strict, &mail, fault);
    return result < 0 ? result : check_no_route(argument, &mail.path, fault);
}

static int check_rcpt(ehlo_str argument, ehlo_fault *fault)
{
    ehlo_rcpt rcpt;
    int result = ehlo_rcpt_parse(argument, &strict, &rcpt, fault);
    return result < 0 ? result : check_no_route(argument, &rcpt.path, fault);
}

static int check_bdat(ehlo_str argument, ehlo_fault *fault)
{
    uint64_t size;
    int last;
    return ehlo_bdat_parse(argument, &size, &last, fault);
}

static int check_auth(ehlo_str argument, ehlo_fault *fault)
{
    ehlo_str mechanism;
    ehlo_str response;
    return ehlo_auth_parse(argument, &mechanism, &response, fault);
}

static int check_etrn(ehlo_str argument, ehlo_fault *fault)
{
    char option;
    ehlo_str node;
    return ehlo_etrn_parse(argument, &option, &node, fault);
}

/* Postfix's XCLIENT_README: 1*( SP attribute-name "=" attribute-value ), the value being xtext. */
static int check_xclient(ehlo_str argument, ehlo_fault *fault)
{
    ehlo_str rest = argument;
    ehlo_str name;
    ehlo_str value;
    ehlo_fault wrong;
    size_t offset;
    size_t decoded;
    if (argument.len == 0) return refuse(fault, 0, EHLO_RULE_MISSING);
    if (!ehlo_params_valid(argument, &offset)) return refuse(fault, offset, EHLO_RULE_PARAMETER);
    while (ehlo_param_next(&rest, &name, &value) > 0) {
        if (value.len == 0) return refuse(fault, (size_t)(name.ptr - argument.ptr), EHLO_RULE_PARAMETER_VALUE);
        if (ehlo_xtext_decode(value, NULL, 0, &decoded, &wrong) < 0) {
            return refuse(fault, (size_t)(value.ptr - argument.ptr) + wrong.offset, EHLO_RULE_XTEXT);
        }
    }
    return EHLO_OK;
}

/* RFC 5321 4.1.2: String = Atom / Quoted-string; here several with one SP between, and with dots in them. */
static int scan_words(ehlo_cursor *cursor)
{
    do {
        const char *word = cursor->at;
        if (ehlo_cursor_next_is(cursor, '"')) {
            if (ehlo_cursor_quoted_string(cursor) < 0) return EHLO_ERR_SYNTAX;
        } else {
            do {
                ehlo_cursor_skip(cursor, EHLO_CHAR_ATEXT);
            } while (ehlo_cursor_take(cursor, '.'));
        }
        if (cursor->at == word) return ehlo_cursor_refuse(cursor, EHLO_RULE_UNEXPECTED);
    } while (ehlo_cursor_take(cursor, ' '));
    return ehlo_cursor_more(cursor) ? ehlo_cursor_refuse(cursor, EHLO_RULE_UNEXPECTED) : EHLO_OK;
}

static int check_words(ehlo_str argument, unsigned leniencies, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, leniencies);
    return ehlo_cursor_result(&cursor, scan_words(&cursor), fault);
}

/* RFC 5321 4.1.1.7 to 4.1.1.9: the String is optional. */
static int check_optional_words(ehlo_str argument, ehlo_fault *fault)
{
    return argument.len == 0 ? EHLO_OK : check_words(argument, 0, fault);
}

/* All of text is "<mailbox>", without a source route. */
static int check_whole_path(ehlo_str text, unsigned leniencies, ehlo_fault *fault)
{
    ehlo_path path;
    size_t used;
    int result = ehlo_path_parse(text, leniencies, 0, &path, &used, fault);
    if (result < 0) return result;
    if (used < text.len) return refuse(fault, used, EHLO_RULE_UNEXPECTED);
    return path.mailbox.len > 0 ? check_no_route(text, &path, fault) : refuse(fault, 0, EHLO_RULE_MISSING);
}

/* RFC 5321 3.5.1: "The argument [...] is a string that identifies" a mailbox or a list, or names a user. */
static int check_vrfy(ehlo_str argument, ehlo_fault *fault)
{
    ehlo_str text;
    ehlo_path path;
    int utf8;
    int result = ehlo_string_parse(argument, EHLO_SYNTAX_UTF8, &text, &utf8, fault);
    unsigned leniencies = utf8 ? EHLO_SYNTAX_UTF8 : 0;
    if (result < 0) return result;
    if (*text.ptr == '<') return check_whole_path(text, leniencies, fault);
    if (ehlo_mailbox_parse(text, leniencies, &path, fault) == EHLO_OK) return EHLO_OK;
    return check_words(text, leniencies, fault);
}

/* A command of the caller's own is not to be one of ours, whose grammar it would get around. */
static int check_own(ehlo_str line, ehlo_fault *fault)
{
    ehlo_command_line parsed;
    size_t high = ehlo_chars_find_high(line);
    if (high < line.len) return refuse(fault, high, EHLO_RULE_NON_ASCII);
    int result = ehlo_command_parse(line, &parsed, fault);
    if (result < 0) return result;
    return parsed.verb == EHLO_VERB_UNKNOWN ? EHLO_OK : refuse(fault, 0, EHLO_RULE_COMMAND);
}

/* clang-format off */
static argument_check *const checks[EHLO_VERB_COUNT] = {
    [EHLO_VERB_UNKNOWN] = check_own,
    [EHLO_VERB_EHLO] = check_hello,
    [EHLO_VERB_HELO] = check_hello,
    [EHLO_VERB_LHLO] = check_hello,
    [EHLO_VERB_MAIL] = check_mail,
    [EHLO_VERB_RCPT] = check_rcpt,
    [EHLO_VERB_DATA] = check_none,
    [EHLO_VERB_BDAT] = check_bdat,
    [EHLO_VERB_RSET] = check_none,
    [EHLO_VERB_NOOP] = check_optional_words,
    [EHLO_VERB_QUIT] = check_none,
    [EHLO_VERB_HELP] = check_optional_words,
    [EHLO_VERB_VRFY] = check_vrfy,
    [EHLO_VERB_EXPN] = check_vrfy,
    [EHLO_VERB_VERB] = check_optional_words,
    [EHLO_VERB_ETRN] = check_etrn,
    [EHLO_VERB_STARTTLS] = check_none,
    [EHLO_VERB_AUTH] = check_auth,
    [EHLO_VERB_XCLIENT] = check_xclient,
};
/* clang-format on */

/* -- lines ------------------------------------------------------------------------------------------ */

/* RFC 5321 4.5.3.1.4: "The maximum total length of a command line including the command word and the <CRLF> is
 * 512 octets. SMTP extensions may be used to increase this limit." */
static size_t line_max(ehlo_verb verb)
{
    if (verb == EHLO_VERB_AUTH) return EHLO_AUTH_LINE_MAX;
    return verb == EHLO_VERB_MAIL || verb == EHLO_VERB_RCPT ? EHLO_LINE_MAX : 512;
}

/* Servers cut off trailing spaces, which a client has therefore no reason to send. */
static int check_argument(ehlo_verb verb, ehlo_str argument, ehlo_fault *fault)
{
    argument_check *check = (unsigned)verb < EHLO_VERB_COUNT ? checks[verb] : NULL;
    if (check == NULL) return refuse(fault, 0, EHLO_RULE_COMMAND);
    int result = check(argument, fault);
    if (result < 0 || argument.len == 0 || argument.ptr[argument.len - 1] != ' ') return result;
    return refuse(fault, argument.len - 1, EHLO_RULE_UNEXPECTED);
}

int ehlo_command_write(ehlo_verb verb, ehlo_str argument, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    ehlo_fault found = { 0, EHLO_RULE_NONE };
    int result = EHLO_ERR_ARG;
    *len = 0;
    if (check_argument(verb, argument, &found) == EHLO_OK) {
        result = ehlo_line_write(ehlo_verb_name(verb), argument, line_max(verb), out, cap, len, &found);
    }
    if (fault != NULL) *fault = found;
    return result;
}

int ehlo_hello_write(ehlo_verb verb, ehlo_str name, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    int is_hello = verb == EHLO_VERB_EHLO || verb == EHLO_VERB_HELO || verb == EHLO_VERB_LHLO;
    if (is_hello) return ehlo_command_write(verb, name, out, cap, len, fault);
    *len = 0;
    if (fault != NULL) *fault = (ehlo_fault){ 0, EHLO_RULE_COMMAND };
    return EHLO_ERR_ARG;
}

/* RFC 3030 2: bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ] CR LF */
int ehlo_bdat_write(uint64_t size, int last, char *out, size_t cap, size_t *len)
{
    char text[40];
    ehlo_fault fault;
    ehlo_writer line = { text, sizeof(text), 0 };
    ehlo_writer_put_text(&line, "BDAT ");
    ehlo_writer_put_number(&line, size, 1);
    if (last) ehlo_writer_put_text(&line, " LAST");
    ehlo_str written = ehlo_str_make(text, line.len);
    return ehlo_line_write(ehlo_str_make(NULL, 0), written, line_max(EHLO_VERB_BDAT), out, cap, len, &fault);
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* Writes lead, the response as base64 and CRLF, if all that is a line. */
static int write_response(ehlo_str lead, ehlo_str response, char *out, size_t cap, size_t *len)
{
    size_t encoded = (response.len / 3 + (response.len % 3 != 0)) * 4;
    *len = lead.len + encoded + 2;
    if (response.len > EHLO_AUTH_LINE_MAX || *len > EHLO_AUTH_LINE_MAX || *len > cap) return EHLO_ERR_SPACE;
    if (lead.len > 0) memcpy(out, lead.ptr, lead.len);
    int result = ehlo_base64_encode(response, out + lead.len, encoded, &encoded);
    memcpy(out + *len - 2, "\r\n", 2);
    return result;
}

static int check_mechanism(ehlo_str mechanism, ehlo_fault *fault)
{
    ehlo_str name;
    ehlo_str response;
    int result = ehlo_auth_parse(mechanism, &name, &response, fault);
    if (result < 0 || name.len == mechanism.len) return result;
    return refuse(fault, name.len, EHLO_RULE_UNEXPECTED);
}

/* RFC 4954 4: "AUTH" SP sasl-mech [SP initial-response], and initial-response = base64 / "=" */
int ehlo_auth_write(ehlo_str mechanism, ehlo_str response, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    char text[40]; /* "AUTH ", a mechanism's 20 octets, " =" */
    ehlo_writer lead = { text, sizeof(text), 0 };
    ehlo_fault found = { 0, EHLO_RULE_NONE };
    int result = check_mechanism(mechanism, &found);
    *len = 0;
    if (fault != NULL) *fault = found;
    if (result < 0) return EHLO_ERR_ARG;
    if (response.ptr == NULL) return ehlo_command_write(EHLO_VERB_AUTH, mechanism, out, cap, len, fault);
    if (response.len > 0) ehlo_writer_put_text(&lead, "AUTH ");
    ehlo_writer_put_str(&lead, mechanism);
    ehlo_writer_put_text(&lead, response.len > 0 ? " " : " =");
    ehlo_str written = ehlo_str_make(text, lead.len);
    if (response.len > 0) return write_response(written, response, out, cap, len);
    return ehlo_command_write(EHLO_VERB_AUTH, written, out, cap, len, fault);
}

/* RFC 4954 4: the client answers a challenge with base64, or "*" to cancel. */
int ehlo_auth_response_write(ehlo_str response, char *out, size_t cap, size_t *len)
{
    static const ehlo_str cancel = EHLO_LITERAL("*");
    static const ehlo_str nothing = EHLO_LITERAL("");
    ehlo_fault fault;
    if (response.ptr != NULL) return write_response(nothing, response, out, cap, len);
    return ehlo_line_write(nothing, cancel, line_max(EHLO_VERB_AUTH), out, cap, len, &fault);
}
