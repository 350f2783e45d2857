/* The header of a message: which fields it has, and those that a submission server may add (RFC 5322 2.2, 3.6;
 * RFC 6409 8). */
#include <ehlo/syntax.h>

#include <string.h>

#include "chars.h"
#include "writer.h"

enum {
    DATE_MAX = 32,
    ID_MAX = 255 /* keeps the line far below the 998 of RFC 5322 2.1.1 */
};

/* -- scanning --------------------------------------------------------------------------------------- */

/* What the next octet belongs to. */
enum {
    STEP_FIRST = 0, /* the first line: there is no field that it could continue */
    STEP_LINE,      /* a line */
    STEP_NAME,      /* the name of a field: field = field-name ":" unstructured CRLF (RFC 5322 2.2) */
    STEP_BLANKS,    /* blanks between name and colon, which are obsolete (RFC 5322 4.5) */
    STEP_VALUE      /* what is not looked at */
};

/* RFC 5322 2.2: a field name is printable US-ASCII except colon. */
static int is_name_octet(char octet)
{
    return octet > 0x20 && octet < 0x7F && octet != ':';
}

static int is_blank(char octet)
{
    return octet == ' ' || octet == '\t';
}

/* A longer name than all that are asked for is not kept, but remembered as too long. */
static void keep_name_octet(ehlo_header *header, char octet)
{
    if (header->name_len < sizeof(header->name)) header->name[header->name_len] = octet;
    if (header->name_len <= sizeof(header->name)) header->name_len++;
}

static void count_field(ehlo_header *header)
{
    static const ehlo_str received = EHLO_LITERAL("Received");
    static const struct {
        ehlo_str name;
        unsigned field;
    } fields[] = {
        { EHLO_LITERAL("Date"), EHLO_FIELD_DATE },
        { EHLO_LITERAL("Message-ID"), EHLO_FIELD_MESSAGE_ID },
        { EHLO_LITERAL("From"), EHLO_FIELD_FROM },
        { EHLO_LITERAL("Sender"), EHLO_FIELD_SENDER },
    };
    ehlo_str name = ehlo_str_make(header->name, header->name_len);
    if (name.len > sizeof(header->name)) return;
    if (ehlo_chars_equal_nocase(name, received)) header->received++;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (ehlo_chars_equal_nocase(name, fields[i].name)) header->fields |= fields[i].field;
    }
}

/* The line is no field: what follows of it does not matter. */
static void malformed(ehlo_header *header)
{
    header->malformed = 1;
    header->step = STEP_VALUE;
}

/* RFC 5322 2.1: the header ends before an empty line. 2.2.3: a line that begins with a blank belongs to the one before.
 * 1 if the octet belongs to the header. */
static size_t take_first(ehlo_header *header, char octet)
{
    int continues = is_blank(octet) && header->step != STEP_FIRST;
    header->name_len = 0;
    if (octet == '\r' || octet == '\n') {
        header->ended = 1;
        return 0;
    }
    if (is_name_octet(octet)) {
        keep_name_octet(header, octet);
        header->step = STEP_NAME;
    } else if (continues) {
        header->step = STEP_VALUE;
    } else {
        malformed(header);
    }
    return 1;
}

/* Within the name of a field, or behind it. */
static size_t take_before_colon(ehlo_header *header, char octet)
{
    if (octet == ':') {
        count_field(header);
        header->step = STEP_VALUE;
    } else if (is_blank(octet)) {
        header->step = STEP_BLANKS;
    } else if (is_name_octet(octet) && header->step == STEP_NAME) {
        keep_name_octet(header, octet);
    } else {
        malformed(header);
        if (octet == '\n') header->step = STEP_LINE;
    }
    return 1;
}

/* The rest of the line, as far as it is there. */
static size_t take_value(ehlo_header *header, const char *bytes, size_t len)
{
    const char *lf = memchr(bytes, '\n', len);
    if (lf == NULL) return len;
    header->step = STEP_LINE;
    return (size_t)(lf - bytes) + 1;
}

size_t ehlo_header_scan(ehlo_header *header, const char *bytes, size_t len)
{
    size_t at = 0;
    while (at < len && !header->ended) {
        if (header->step == STEP_VALUE)
            at += take_value(header, bytes + at, len - at);
        else if (header->step <= STEP_LINE)
            at += take_first(header, bytes[at]);
        else
            at += take_before_colon(header, bytes[at]);
    }
    return at;
}

/* -- completing ------------------------------------------------------------------------------------- */

/*     dot-atom-text = 1*atext *("." 1*atext) */
static int is_dot_atom(ehlo_str text)
{
    char before = '.';
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '.' ? before == '.' : !ehlo_char_is(text.ptr[i], EHLO_CHAR_ATEXT)) return 0;
        before = text.ptr[i];
    }
    return before != '.';
}

/*     msg-id   = [CFWS] "<" id-left "@" id-right ">" [CFWS]
 *     id-left  = dot-atom-text / obs-id-left
 *     id-right = dot-atom-text / no-fold-literal / obs-id-right */
static int is_message_id(ehlo_str id, ehlo_str domain)
{
    return id.len <= ID_MAX && is_dot_atom(id) &&
           ehlo_domain_parse(domain, EHLO_SYNTAX_UNDERSCORE, NULL, NULL, NULL) == EHLO_OK;
}

/*     message-id = "Message-ID:" msg-id CRLF */
static void write_message_id(ehlo_writer *writer, const ehlo_header_additions *additions)
{
    ehlo_writer_put_text(writer, "Message-ID: <");
    ehlo_writer_put_str(writer, additions->id);
    ehlo_writer_put(writer, "@", 1);
    ehlo_writer_put_str(writer, additions->domain);
    ehlo_writer_put(writer, ">\r\n", 3);
}

/*     orig-date = "Date:" date-time CRLF */
static int write_date(ehlo_writer *writer, const ehlo_header_additions *additions)
{
    char date[DATE_MAX];
    size_t len;
    int result = ehlo_date_write(additions->time, additions->zone_minutes, date, sizeof(date), &len);
    if (result != EHLO_OK) return result;
    ehlo_writer_put_text(writer, "Date: ");
    ehlo_writer_put(writer, date, len);
    ehlo_writer_put(writer, "\r\n", 2);
    return EHLO_OK;
}

int ehlo_header_complete(const ehlo_header *header, const ehlo_header_additions *additions, char *out, size_t cap,
                         size_t *len)
{
    ehlo_writer writer = { out, cap, 0 };
    int lacks_id = !(header->fields & EHLO_FIELD_MESSAGE_ID);
    *len = 0;
    if (lacks_id && !is_message_id(additions->id, additions->domain)) return EHLO_ERR_ARG;
    if (!(header->fields & EHLO_FIELD_DATE) && write_date(&writer, additions) != EHLO_OK) return EHLO_ERR_ARG;
    if (lacks_id) write_message_id(&writer, additions);
    return ehlo_writer_end(&writer, len);
}
