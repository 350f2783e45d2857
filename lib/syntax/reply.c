/* Replies to commands (RFC 5321 4.2, RFC 2034). */
#include <ehlo/syntax.h>

#include "chars.h"
#include "plain.h"
#include "writer.h"

enum {
    LINE_MAX = 512, /* RFC 5321 4.5.3.1.5, with CRLF */
    LEAD_MAX = 16   /* "250-5.999.999 " */
};

/* -- judging a reply -------------------------------------------------------------------------------- */

/*     Reply-code = %x32-35 %x30-35 %x30-39 */
static int is_reply_code(unsigned code)
{
    return code >= 200 && code <= 559 && code / 10 % 10 <= 5;
}

static int has_enhanced(const ehlo_reply *reply)
{
    return (reply->enhanced[0] | reply->enhanced[1] | reply->enhanced[2]) != 0;
}

/*     status-code = class "." subject "." detail ; subject and detail: 1*3DIGIT
 * RFC 2034 4: "The class of the enhanced status code must match the first digit of the reply code." */
static int is_enhanced_code(const ehlo_reply *reply)
{
    return reply->enhanced[0] == reply->code / 100 && reply->enhanced[1] <= 999 && reply->enhanced[2] <= 999;
}

static int refuse(ehlo_fault *fault, size_t offset, ehlo_rule rule)
{
    if (fault != NULL) *fault = (ehlo_fault){ offset, rule };
    return EHLO_ERR_SYNTAX;
}

/*     textstring = 1*(%d09 / %d32-126) ; HT, SP, Printable US-ASCII
 * RFC 6531 3.7.4.2 adds UTF-8. '\n' is where the caller wants another line. */
static int check_text(ehlo_str text, unsigned flags, ehlo_fault *fault)
{
    size_t bad;
    for (size_t at = 0; at < text.len; at++) {
        char octet = text.ptr[at];
        if (ehlo_char_is_control(octet) && octet != '\t' && octet != '\n') return refuse(fault, at, EHLO_RULE_CONTROL);
        if (ehlo_char_is_high(octet) && (flags & EHLO_REPLY_UTF8) == 0) return refuse(fault, at, EHLO_RULE_NON_ASCII);
    }
    return ehlo_utf8_valid(text, &bad) ? EHLO_OK : refuse(fault, bad, EHLO_RULE_UTF8);
}

int ehlo_reply_check(const ehlo_reply *reply, unsigned flags, ehlo_fault *fault)
{
    if (fault != NULL) *fault = (ehlo_fault){ 0, EHLO_RULE_NONE };
    if (!is_reply_code(reply->code)) return refuse(fault, 0, EHLO_RULE_REPLY);
    if (has_enhanced(reply) && !is_enhanced_code(reply)) return refuse(fault, 0, EHLO_RULE_REPLY);
    return ehlo_chars_are_plain(reply->text) ? EHLO_OK : check_text(reply->text, flags, fault);
}

/* -- writing a reply -------------------------------------------------------------------------------- */

/* Writes 0 to 999 in decimal; returns where it ends. */
static char *write_number(char *at, unsigned number)
{
    if (number > 99) *at++ = (char)('0' + number / 100);
    if (number > 9) {
        *at++ = (char)('0' + number / 10 % 10);
        number %= 10;
    }
    *at++ = (char)('0' + number);
    return at;
}

/* What each line starts with: code, the separator's place, enhanced code. Returns its length.
 * RFC 2034 4: "all 2xx, 4xx, and 5xx responses" have an enhanced code, and so no 3yz. */
static size_t write_lead(const ehlo_reply *reply, unsigned flags, char lead[LEAD_MAX])
{
    char *at = write_number(lead, reply->code);
    *at++ = ' ';
    if ((flags & EHLO_REPLY_ENHANCED) != 0 && reply->enhanced[0] != 0 && reply->enhanced[0] != 3) {
        at = write_number(at, reply->enhanced[0]);
        *at++ = '.';
        at = write_number(at, reply->enhanced[1]);
        *at++ = '.';
        at = write_number(at, reply->enhanced[2]);
        *at++ = ' ';
    }
    return (size_t)(at - lead);
}

/* Adds lead, line and CRLF, or their length alone where they do not fit. */
static void write_line(ehlo_writer *writer, const char *lead, size_t lead_len, ehlo_str line)
{
    size_t need = lead_len + line.len + 2;
    if (writer->len <= writer->cap && need <= writer->cap - writer->len) {
        char *at = writer->out + writer->len;
        memcpy(at, lead, lead_len);
        if (line.len > 0) memcpy(at + lead_len, line.ptr, line.len);
        memcpy(at + need - 2, "\r\n", 2);
    }
    writer->len += need;
}

static int is_utf8_continuation(char octet)
{
    return ((unsigned char)octet & 0xC0) == 0x80;
}

/* How much of text, which is longer than max, the next line takes. *skip: 1 if a space behind it becomes the
 * break. */
static size_t cut(ehlo_str text, size_t max, size_t *skip)
{
    size_t len = max;
    while (len > 0 && text.ptr[len] != ' ') len--;
    *skip = len > 0;
    if (len > 0) return len;
    for (len = max; is_utf8_continuation(text.ptr[len]);) len--;
    return len;
}

/* Takes the next line off *text: up to '\n', or as much as fits in max octets. *last: nothing follows it. */
static ehlo_str next_line(ehlo_str *text, size_t max, int *last)
{
    const char *end = text->len > 0 ? memchr(text->ptr, '\n', text->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text->ptr) : text->len;
    size_t skip = end != NULL;
    if (len > max) len = cut(*text, max, &skip);
    ehlo_str line = ehlo_str_make(text->ptr, len);
    *last = len == text->len;
    if (!*last) *text = ehlo_str_make(text->ptr + len + skip, text->len - len - skip);
    return line;
}

/*     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 * RFC 5321 4.2.1: "servers SHOULD send the <SP> if subsequent text is not sent". */
int ehlo_reply_write(const ehlo_reply *reply, unsigned flags, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    char lead[LEAD_MAX];
    ehlo_writer writer = { out, cap, 0 };
    ehlo_str text = reply->text;
    int last;
    *len = 0;
    if (ehlo_reply_check(reply, flags, fault) != EHLO_OK) return EHLO_ERR_SYNTAX;
    size_t lead_len = write_lead(reply, flags, lead);
    do {
        ehlo_str line = next_line(&text, LINE_MAX - 2 - lead_len, &last);
        lead[3] = last ? ' ' : '-';
        write_line(&writer, lead, lead_len, line);
    } while (!last);
    return ehlo_writer_end(&writer, len);
}
