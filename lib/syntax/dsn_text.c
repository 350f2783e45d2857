/* What the texts of a report are written with. */
#include "dsn_text.h"

#include "chars.h"

enum { STATUS_PART_MAX = 999 };

/* -- cleaning --------------------------------------------------------------------------------------- */

/* In place: one '?' for each character that is not ASCII. What is left of len octets. */
static size_t make_ascii(char *octets, size_t len)
{
    size_t left = 0;
    for (size_t at = 0, next; at < len; at = next) {
        next = at + ehlo_utf8_sequence(octets + at, octets + len);
        octets[left++] = ehlo_char_is_high(octets[at]) ? '?' : octets[at];
    }
    return left;
}

static ehlo_str trim(ehlo_str text)
{
    for (; text.len > 0 && *text.ptr == ' '; text.len--) text.ptr++;
    while (text.len > 0 && text.ptr[text.len - 1] == ' ') text.len--;
    return text;
}

ehlo_str ehlo_dsn_clean(ehlo_str text, size_t max, int utf8, char out[EHLO_DSN_TEXT_MAX])
{
    size_t len;
    ehlo_text_clean(text, out, max, &len);
    return trim(ehlo_str_make(out, utf8 ? len : make_ascii(out, len)));
}

/* -- lines ------------------------------------------------------------------------------------------ */

void ehlo_dsn_line_break(ehlo_dsn_line *line)
{
    if (!line->begun) return;
    ehlo_writer_put(line->writer, "\r\n", 2);
    line->start = line->writer->len;
    line->begun = 0;
}

/* The next word with the spaces in front of it. It is never divided. No line has spaces alone (RFC 5322 3.2.2). */
static void put_word(ehlo_dsn_line *line, ehlo_str spaces, ehlo_str word)
{
    size_t column = line->writer->len - line->start;
    if (column + spaces.len + word.len > EHLO_DSN_LINE_PREFERRED) ehlo_dsn_line_break(line);
    ehlo_writer_put_str(line->writer, line->begun ? spaces : ehlo_str_from(line->indent));
    ehlo_writer_put_str(line->writer, word);
    line->begun = 1;
}

static size_t count(ehlo_str text, int spaces)
{
    size_t len = 0;
    while (len < text.len && (text.ptr[len] == ' ') == spaces) len++;
    return len;
}

void ehlo_dsn_line_put(ehlo_dsn_line *line, ehlo_str words)
{
    ehlo_str spaces = ehlo_str_make(" ", 1);
    for (words = trim(words); words.len > 0;) {
        ehlo_str word = ehlo_str_make(words.ptr, count(words, 0));
        put_word(line, spaces, word);
        words = ehlo_str_make(words.ptr + word.len, words.len - word.len);
        spaces = ehlo_str_make(words.ptr, count(words, 1));
        words = ehlo_str_make(words.ptr + spaces.len, words.len - spaces.len);
    }
}

/* -- dates and codes -------------------------------------------------------------------------------- */

ehlo_str ehlo_dsn_date(const ehlo_dsn *dsn, int64_t time, char out[EHLO_DSN_DATE_MAX])
{
    size_t len = 0;
    if (time != 0) ehlo_date_write(time, dsn->zone_minutes, out, EHLO_DSN_DATE_MAX, &len);
    return ehlo_str_make(out, len);
}

/* RFC 3463 2: status-code = class "." subject "." detail */
static int is_status(const uint16_t status[3])
{
    return status[0] != 0 && status[1] <= STATUS_PART_MAX && status[2] <= STATUS_PART_MAX;
}

static void put_status(ehlo_writer *writer, const uint16_t status[3])
{
    for (size_t i = 0; i < 3; i++) {
        if (i > 0) ehlo_writer_put(writer, ".", 1);
        ehlo_writer_put_number(writer, status[i], 1);
    }
}

/* RFC 3464 2.3.4: what failed may have done so by a "persistent transient" error; else the class follows from the
 * action. */
static int fits(const uint16_t status[3], unsigned action)
{
    if (!is_status(status)) return 0;
    if (action == EHLO_ACTION_FAILED) return status[0] == 4 || status[0] == 5;
    return status[0] == (action == EHLO_ACTION_DELAYED ? 4 : 2);
}

void ehlo_dsn_put_status(ehlo_writer *writer, const ehlo_dsn_recipient *rcpt)
{
    if (fits(rcpt->status, rcpt->action)) {
        put_status(writer, rcpt->status);
    } else if (fits(rcpt->enhanced, rcpt->action)) {
        put_status(writer, rcpt->enhanced);
    } else {
        const char *of_delay = rcpt->action == EHLO_ACTION_DELAYED ? "4.0.0" : "2.0.0";
        ehlo_writer_put_text(writer, rcpt->action == EHLO_ACTION_FAILED ? "5.0.0" : of_delay);
    }
}

/* -- replies ---------------------------------------------------------------------------------------- */

/* RFC 2034 4: the enhanced code stands behind a code of its class. */
static void put_codes(ehlo_dsn_line *line, const ehlo_dsn_recipient *rcpt)
{
    char octets[24];
    ehlo_writer codes = { octets, sizeof(octets), 0 };
    ehlo_writer_put_number(&codes, rcpt->code, 3);
    if (is_status(rcpt->enhanced) && rcpt->enhanced[0] == rcpt->code / 100) {
        ehlo_writer_put(&codes, " ", 1);
        put_status(&codes, rcpt->enhanced);
    }
    ehlo_dsn_line_put(line, ehlo_str_make(octets, codes.len));
}

/* What is before the next '\n', which is taken too. */
static ehlo_str take_line(ehlo_str *rest)
{
    const char *end = memchr(rest->ptr, '\n', rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
    size_t used = end != NULL ? len + 1 : len;
    ehlo_str text = ehlo_str_make(rest->ptr, len > 0 && rest->ptr[len - 1] == '\r' ? len - 1 : len);
    *rest = ehlo_str_make(rest->ptr + used, rest->len - used);
    return text;
}

void ehlo_dsn_line_put_reply(ehlo_dsn_line *line, const ehlo_dsn *dsn, const ehlo_dsn_recipient *rcpt)
{
    char octets[EHLO_DSN_TEXT_MAX];
    size_t room = sizeof(octets);
    int lines = 0;
    if (rcpt->code != 0) put_codes(line, rcpt);
    for (ehlo_str rest = rcpt->text; rest.len > 0 && room > 0;) {
        ehlo_str text = ehlo_dsn_clean(take_line(&rest), room, dsn->utf8, octets);
        if (text.len == 0) continue;
        if (lines++ > 0) ehlo_dsn_line_break(line);
        ehlo_dsn_line_put(line, text);
        room -= text.len < room ? text.len + 1 : room;
    }
}
