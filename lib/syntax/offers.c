/* What a server's EHLO reply offers (RFC 5321 4.1.1.1). */
#include <string.h>

#include "cursor.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int is_blank(char octet)
{
    return octet == ' ' || octet == '\t';
}

/* Takes the next word off *rest; 0 if there is none. */
static int next_word(ehlo_str *rest, ehlo_str *word)
{
    size_t start = 0;
    while (start < rest->len && is_blank(rest->ptr[start])) start++;
    size_t end = start;
    while (end < rest->len && !is_blank(rest->ptr[end])) end++;
    if (end == start) return 0;
    *word = ehlo_str_make(rest->ptr + start, end - start);
    *rest = ehlo_str_make(rest->ptr + end, rest->len - end);
    return 1;
}

/* -- values ----------------------------------------------------------------------------------------- */

/* Reads all of text as a number into *value, unless it is none of that length or below least. */
static void read_number(ehlo_str text, size_t digits_max, uint32_t least, uint32_t *value)
{
    uint64_t number;
    if (ehlo_number_parse(text, digits_max, &number) == EHLO_OK && number >= least) *value = (uint32_t)number;
}

/* RFC 1870 4: "SIZE" [SP 1*20DIGIT]; no number, or 0, is no fixed limit. */
static void read_size(ehlo_offers *offers, ehlo_str args)
{
    ehlo_str word;
    uint64_t size = 0;
    if (!next_word(&args, &word) || ehlo_number_parse(word, 20, &size) == EHLO_OK) offers->size_max = size;
}

/* RFC 4954 3: "AUTH" *(SP sasl-mech) */
static void read_auth(ehlo_offers *offers, ehlo_str args)
{
    ehlo_str word;
    while (next_word(&args, &word)) offers->mechanisms |= ehlo_sasl_find(word);
}

/* RFC 2852 2: "DELIVERBY" [SP min-by-time *( "," extension-token )], min-by-time being 1*9DIGIT */
static void read_deliverby(ehlo_offers *offers, ehlo_str args)
{
    ehlo_str word;
    if (!next_word(&args, &word)) return;
    const char *comma = memchr(word.ptr, ',', word.len);
    if (comma != NULL) word.len = (size_t)(comma - word.ptr);
    read_number(word, 9, 0, &offers->by_min);
}

/* RFC 4865 3: "FUTURERELEASE" SP max-future-release-interval SP max-future-release-date-time; the interval has
 * at most nine digits. */
static void read_futurerelease(ehlo_offers *offers, ehlo_str args)
{
    ehlo_str word;
    if (next_word(&args, &word)) read_number(word, 9, 1, &offers->hold_max);
}

/* RFC 9422 4: "LIMITS" *(SP name "=" value); a value of these three is 1 to 999999. */
static void read_limits(ehlo_offers *offers, ehlo_str args)
{
    static const ehlo_str mail = EHLO_LITERAL("MAILMAX=");
    static const ehlo_str rcpt = EHLO_LITERAL("RCPTMAX=");
    static const ehlo_str rcpt_domain = EHLO_LITERAL("RCPTDOMAINMAX=");
    struct {
        ehlo_str name;
        uint32_t *value;
    } limits[] = { { mail, &offers->mail_max },
                   { rcpt, &offers->rcpt_max },
                   { rcpt_domain, &offers->rcpt_domain_max } };
    ehlo_str word;
    while (next_word(&args, &word)) {
        for (size_t i = 0; i < COUNT(limits); i++) {
            ehlo_str name = limits[i].name;
            if (!ehlo_chars_start_nocase(word, name)) continue;
            read_number(ehlo_str_make(word.ptr + name.len, word.len - name.len), 6, 1, limits[i].value);
        }
    }
}

/* -- keywords --------------------------------------------------------------------------------------- */

typedef struct offer {
    ehlo_str keyword;
    uint32_t cap;                                     /* EHLO_CAP_* */
    void (*read)(ehlo_offers *offers, ehlo_str args); /* NULL: the keyword says all, or the text the rest */
} offer;

static const offer known[] = {
    { EHLO_LITERAL("SIZE"), EHLO_CAP_SIZE, read_size },
    { EHLO_LITERAL("8BITMIME"), EHLO_CAP_8BITMIME, NULL },
    { EHLO_LITERAL("PIPELINING"), EHLO_CAP_PIPELINING, NULL },
    { EHLO_LITERAL("CHUNKING"), EHLO_CAP_CHUNKING, NULL },
    { EHLO_LITERAL("BINARYMIME"), EHLO_CAP_BINARYMIME, NULL },
    { EHLO_LITERAL("STARTTLS"), EHLO_CAP_STARTTLS, NULL },
    { EHLO_LITERAL("AUTH"), EHLO_CAP_AUTH, read_auth },
    { EHLO_LITERAL("DSN"), EHLO_CAP_DSN, NULL },
    { EHLO_LITERAL("ENHANCEDSTATUSCODES"), EHLO_CAP_ENHANCEDSTATUSCODES, NULL },
    { EHLO_LITERAL("SMTPUTF8"), EHLO_CAP_SMTPUTF8, NULL },
    { EHLO_LITERAL("REQUIRETLS"), EHLO_CAP_REQUIRETLS, NULL },
    { EHLO_LITERAL("DELIVERBY"), EHLO_CAP_DELIVERBY, read_deliverby },
    { EHLO_LITERAL("MT-PRIORITY"), EHLO_CAP_MT_PRIORITY, NULL },
    { EHLO_LITERAL("FUTURERELEASE"), EHLO_CAP_FUTURERELEASE, read_futurerelease },
    { EHLO_LITERAL("LIMITS"), EHLO_CAP_LIMITS, read_limits },
    { EHLO_LITERAL("RRVS"), EHLO_CAP_RRVS, NULL },
    { EHLO_LITERAL("ETRN"), EHLO_CAP_ETRN, NULL },
    { EHLO_LITERAL("EXPN"), EHLO_CAP_EXPN, NULL },
    { EHLO_LITERAL("HELP"), EHLO_CAP_HELP, NULL },
    { EHLO_LITERAL("VERB"), EHLO_CAP_VERB, NULL },
    { EHLO_LITERAL("XCLIENT"), EHLO_CAP_XCLIENT, NULL },
};

/*     ehlo-line    = ehlo-keyword *( SP ehlo-param )
 *     ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 * and "AUTH=", which clients of drafts before RFC 2554 look for. */
static int scan_offer(ehlo_cursor *cursor, ehlo_str *keyword)
{
    static const ehlo_str auth = EHLO_LITERAL("AUTH");
    ehlo_cursor_skip(cursor, EHLO_CHAR_LDH);
    *keyword = ehlo_cursor_since(cursor, cursor->start);
    if (keyword->len == 0 || *keyword->ptr == '-') return EHLO_ERR_SYNTAX;
    if (!ehlo_cursor_more(cursor) || is_blank(*cursor->at)) return EHLO_OK;
    return ehlo_chars_equal_nocase(*keyword, auth) && ehlo_cursor_take(cursor, '=') ? EHLO_OK : EHLO_ERR_SYNTAX;
}

static ehlo_str trim(ehlo_str text)
{
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) text.len--;
    while (text.len > 0 && is_blank(*text.ptr)) text = ehlo_str_make(text.ptr + 1, text.len - 1);
    return text;
}

int ehlo_offer_parse(ehlo_str line, ehlo_offers *offers, ehlo_str *keyword, ehlo_str *args)
{
    ehlo_cursor cursor = ehlo_cursor_make(line, 0);
    if (scan_offer(&cursor, keyword) < 0) {
        *keyword = *args = ehlo_str_make(NULL, 0);
        return EHLO_ERR_SYNTAX;
    }
    *args = trim(ehlo_cursor_rest(&cursor));
    for (size_t i = 0; i < COUNT(known); i++) {
        if (!ehlo_chars_equal_nocase(known[i].keyword, *keyword)) continue;
        offers->caps |= known[i].cap;
        if (known[i].read != NULL) known[i].read(offers, *args);
    }
    return EHLO_OK;
}
