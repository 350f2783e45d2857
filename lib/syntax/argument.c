/* The arguments of the commands other than MAIL and RCPT. */
#include <string.h>

#include "path.h"

/* -- EHLO, HELO, LHLO ------------------------------------------------------------------------------- */

/* RFC 5321 4.1.1.1, RFC 2033 4.1:
 *     ehlo = "EHLO" SP ( Domain / address-literal ) CRLF
 *     helo = "HELO" SP Domain CRLF  ; but clients send literals here as well */
int ehlo_hello_parse(ehlo_verb verb, ehlo_str argument, unsigned leniencies, ehlo_hello *hello, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, leniencies);
    int result = EHLO_OK;
    memset(hello, 0, sizeof(*hello));
    if (!ehlo_cursor_more(&cursor)) {
        result = ehlo_cursor_refuse(&cursor, EHLO_RULE_MISSING);
    } else {
        result = ehlo_cursor_domain(&cursor, &hello->domain_kind, hello->octets);
    }
    if (result == EHLO_OK && ehlo_cursor_more(&cursor)) {
        result = ehlo_cursor_refuse(&cursor, *cursor.at == ' ' ? EHLO_RULE_UNEXPECTED : EHLO_RULE_DOMAIN);
    }
    hello->verb = verb;
    hello->name = argument;
    if (result < 0) memset(hello, 0, sizeof(*hello));
    return ehlo_cursor_result(&cursor, result, fault);
}

/* -- BDAT ------------------------------------------------------------------------------------------- */

static const ehlo_str last_keyword = EHLO_LITERAL("LAST");

/* RFC 3030 2, RFC 1870 3 for the digits:
 *     bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CR LF
 *     chunk-size = 1*20DIGIT
 *     end-marker = "LAST" */
static int scan_bdat(ehlo_cursor *cursor, uint64_t *size, int *last)
{
    if (!ehlo_cursor_more(cursor)) return ehlo_cursor_refuse(cursor, EHLO_RULE_MISSING);
    ehlo_cursor_skip(cursor, EHLO_CHAR_DIGIT);
    ehlo_str digits = ehlo_cursor_since(cursor, cursor->start);
    int is_separated = !ehlo_cursor_more(cursor) || *cursor->at == ' ';
    if (digits.len == 0 || !is_separated) return ehlo_cursor_refuse(cursor, EHLO_RULE_NUMBER);
    if (ehlo_number_parse(digits, 20, size) < 0) return ehlo_cursor_refuse_at(cursor, cursor->start, EHLO_RULE_NUMBER);
    if (!ehlo_cursor_take(cursor, ' ')) return EHLO_OK;
    *last = ehlo_chars_equal_nocase(ehlo_cursor_rest(cursor), last_keyword);
    return *last ? EHLO_OK : ehlo_cursor_refuse(cursor, EHLO_RULE_UNEXPECTED);
}

int ehlo_bdat_parse(ehlo_str argument, uint64_t *size, int *last, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, 0);
    *size = 0;
    *last = 0;
    int result = scan_bdat(&cursor, size, last);
    if (result < 0) *size = 0;
    return ehlo_cursor_result(&cursor, result, fault);
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

enum { MECHANISM_MAX = 20 };

/* RFC 4422 3.1, in any case:
 *     sasl-mech = 1*20mech-char
 *     mech-char = UPPER-ALPHA / DIGIT / HYPHEN / UNDERSCORE */
static int scan_mechanism(ehlo_cursor *cursor, ehlo_str *mechanism)
{
    ehlo_cursor_skip(cursor, EHLO_CHAR_LDH | EHLO_CHAR_UNDERSCORE);
    *mechanism = ehlo_cursor_since(cursor, cursor->start);
    if (mechanism->len > MECHANISM_MAX) {
        return ehlo_cursor_refuse_at(cursor, cursor->start + MECHANISM_MAX, EHLO_RULE_PARAMETER);
    }
    int is_separated = !ehlo_cursor_more(cursor) || *cursor->at == ' ';
    return mechanism->len > 0 && is_separated ? EHLO_OK : ehlo_cursor_refuse(cursor, EHLO_RULE_PARAMETER);
}

/* RFC 4954 4: "If the client is transmitting an initial response of zero length, it MUST instead transmit the
 * response as a single equals sign". */
static int scan_initial_response(ehlo_cursor *cursor, ehlo_str *response)
{
    ehlo_str text = ehlo_cursor_rest(cursor);
    ehlo_fault wrong;
    size_t len;
    if (text.len == 0) return ehlo_cursor_refuse(cursor, EHLO_RULE_MISSING);
    *response = text;
    if (text.len == 1 && *text.ptr == '=') {
        response->len = 0;
        return EHLO_OK;
    }
    if (ehlo_base64_decode(text, NULL, 0, &len, &wrong) == EHLO_OK) return EHLO_OK;
    return ehlo_cursor_refuse_at(cursor, cursor->at + wrong.offset, EHLO_RULE_BASE64);
}

int ehlo_auth_parse(ehlo_str argument, ehlo_str *mechanism, ehlo_str *response, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, 0);
    int result;
    *mechanism = *response = ehlo_str_make(NULL, 0);
    if (!ehlo_cursor_more(&cursor)) {
        result = ehlo_cursor_refuse(&cursor, EHLO_RULE_MISSING);
    } else {
        result = scan_mechanism(&cursor, mechanism);
    }
    if (result == EHLO_OK && ehlo_cursor_take(&cursor, ' ')) result = scan_initial_response(&cursor, response);
    if (result < 0) *mechanism = *response = ehlo_str_make(NULL, 0);
    return ehlo_cursor_result(&cursor, result, fault);
}

/* -- VRFY, EXPN ------------------------------------------------------------------------------------- */

static const ehlo_str smtputf8_keyword = EHLO_LITERAL(" SMTPUTF8");

/* RFC 6531 3.7.4.2: the keyword follows the argument of VRFY and EXPN. Cuts it off; 1 if it was there. */
static int cut_smtputf8(ehlo_cursor *cursor)
{
    if (!(cursor->leniencies & EHLO_SYNTAX_UTF8)) return 0;
    ehlo_str rest = ehlo_cursor_rest(cursor);
    if (rest.len <= smtputf8_keyword.len) return 0;
    const char *cut = cursor->end - smtputf8_keyword.len;
    if (!ehlo_chars_equal_nocase(ehlo_str_make(cut, smtputf8_keyword.len), smtputf8_keyword)) return 0;
    cursor->end = cut;
    return 1;
}

/* RFC 5321 4.1.2: String = Atom / Quoted-string. Users type mailboxes and words as well, so all that can be
 * printed will do, but a quote that opens must close. */
static int scan_string(ehlo_cursor *cursor)
{
    if (!ehlo_cursor_more(cursor)) return ehlo_cursor_refuse(cursor, EHLO_RULE_MISSING);
    if (*cursor->at == ' ') return ehlo_cursor_refuse(cursor, EHLO_RULE_UNEXPECTED);
    while (ehlo_cursor_more(cursor)) {
        int result = EHLO_OK;
        const char *before = cursor->at;
        if (*before == '"') {
            result = ehlo_cursor_quoted_string(cursor);
        } else {
            ehlo_cursor_skip(cursor, EHLO_CHAR_QTEXT);
            int is_stuck = cursor->at == before && !ehlo_cursor_take(cursor, '\\');
            if (is_stuck) result = ehlo_cursor_refuse(cursor, EHLO_RULE_CONTROL);
        }
        if (result < 0) return result;
    }
    return EHLO_OK;
}

int ehlo_string_parse(ehlo_str argument, unsigned leniencies, ehlo_str *text, int *utf8, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, leniencies);
    *utf8 = cut_smtputf8(&cursor);
    if (!*utf8) cursor.leniencies &= ~(unsigned)EHLO_SYNTAX_UTF8;
    int result = scan_string(&cursor);
    *text = ehlo_cursor_since(&cursor, cursor.start);
    if (result < 0) {
        *text = ehlo_str_make(NULL, 0);
        *utf8 = 0;
    }
    return ehlo_cursor_result(&cursor, result, fault);
}

/* -- ETRN ------------------------------------------------------------------------------------------- */

/* RFC 1985 5: '#' stands before the name of a queue, whose form is the server's to define. */
static int scan_queue_name(ehlo_cursor *cursor)
{
    do {
        ehlo_cursor_skip(cursor, EHLO_CHAR_ATEXT);
    } while (ehlo_cursor_take(cursor, '.'));
    return ehlo_cursor_more(cursor) ? ehlo_cursor_refuse(cursor, EHLO_RULE_PARAMETER) : EHLO_OK;
}

/* RFC 1985 5: '@' stands before a domain whose subdomains are meant too. */
static int scan_etrn_domain(ehlo_cursor *cursor)
{
    ehlo_str rest = ehlo_cursor_rest(cursor);
    if (*rest.ptr == '[') return ehlo_cursor_refuse(cursor, EHLO_RULE_DOMAIN);
    uint8_t kind;
    uint8_t octets[16] = { 0 };
    int result = ehlo_cursor_domain(cursor, &kind, octets);
    if (result < 0 || !ehlo_cursor_more(cursor)) return result;
    return ehlo_cursor_refuse(cursor, EHLO_RULE_DOMAIN);
}

/* RFC 1985 5: ETRN SP [<option character>]<node name> */
static int scan_etrn(ehlo_cursor *cursor, char *option)
{
    if (ehlo_cursor_next_is(cursor, '@') || ehlo_cursor_next_is(cursor, '#')) *option = *cursor->at++;
    if (!ehlo_cursor_more(cursor)) return ehlo_cursor_refuse(cursor, EHLO_RULE_MISSING);
    return *option == '#' ? scan_queue_name(cursor) : scan_etrn_domain(cursor);
}

int ehlo_etrn_parse(ehlo_str argument, char *option, ehlo_str *node, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(argument, 0);
    *option = '\0';
    int result = scan_etrn(&cursor, option);
    *node = ehlo_cursor_since(&cursor, cursor.start + (*option != '\0'));
    if (result < 0) {
        *option = '\0';
        *node = ehlo_str_make(NULL, 0);
    }
    return ehlo_cursor_result(&cursor, result, fault);
}
