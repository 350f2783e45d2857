#include "report.h"

#include "progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* -- texts ------------------------------------------------------------------------------------------ */

void report_text_set(struct report_text *text, ehlo_str words)
{
    ehlo_text_clean(words, text->bytes, sizeof text->bytes, &text->len);
    text->reply_len = 0;
}

static void add_words(struct report_text *text, ehlo_str words)
{
    size_t len;
    if (text->len > 0 && text->len < sizeof text->bytes) text->bytes[text->len++] = ' ';
    ehlo_text_clean(words, text->bytes + text->len, sizeof text->bytes - text->len, &len);
    text->len += len;
}

void report_text_reply(struct report_text *text, ehlo_str reply)
{
    ehlo_str line, rest = reply;
    if (text->reply_len > 0 && text->reply_len == reply.len && memcmp(text->reply, reply.ptr, reply.len) == 0) return;
    for (text->len = 0; ehlo_reply_next(&rest, &line) > 0;) add_words(text, line);
    text->reply_len = reply.len <= sizeof text->reply ? reply.len : 0;
    memcpy(text->reply, reply.ptr, text->reply_len);
}

/* -- lines: gathered, as there may be one for each of a million copies ------------------------------- */

static char lines[65536]; /* an address has a command line's length at most */
static size_t lines_len;
static int failure;

void report_flush(void)
{
    if (lines_len == 0) return;
    progress_clear();
    if ((fwrite(lines, 1, lines_len, stdout) < lines_len || fflush(stdout) != 0) && failure == 0) failure = errno;
    lines_len = 0;
}

int report_failure(void)
{
    return failure;
}

static char *put(char *at, const char *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

/* A column and the space behind it; "-" if it is empty. */
static char *put_column(char *at, ehlo_str column)
{
    at = column.len > 0 ? put(at, column.ptr, column.len) : put(at, "-", 1);
    *at++ = ' ';
    return at;
}

/* number has three digits at most. */
static char *put_number(char *at, unsigned number)
{
    if (number >= 100) *at++ = (char)('0' + number / 100 % 10);
    if (number >= 10) *at++ = (char)('0' + number / 10 % 10);
    *at++ = (char)('0' + number % 10);
    return at;
}

static char *put_codes(char *at, unsigned code, const uint16_t enhanced[3])
{
    at = code > 0 ? put_number(at, code) : put(at, "-", 1);
    *at++ = ' ';
    if (enhanced[0] == 0) return put(at, "- ", 2);
    for (int i = 0; i < 3; i++) {
        at = put_number(at, enhanced[i]);
        *at++ = i < 2 ? '.' : ' ';
    }
    return at;
}

/* What became of a recipient, in columns. Many have the same: it is written anew only where it is another one. */
struct fate {
    uint8_t outcome, stage;
    uint16_t code, enhanced[3];
    char columns[128];
    size_t len;
};

static int is_fate_of(const struct fate *fate, const ehlo_recipient *rcpt)
{
    return fate->len > 0 && fate->outcome == rcpt->outcome && fate->stage == rcpt->stage && fate->code == rcpt->code &&
           memcmp(fate->enhanced, rcpt->enhanced, sizeof fate->enhanced) == 0;
}

static void set_fate(struct fate *fate, const ehlo_recipient *rcpt)
{
    fate->outcome = rcpt->outcome;
    fate->stage = rcpt->stage;
    fate->code = rcpt->code;
    memcpy(fate->enhanced, rcpt->enhanced, sizeof fate->enhanced);
    char *at = put_column(fate->columns, ehlo_outcome_name((ehlo_outcome)rcpt->outcome));
    at = put_column(at, ehlo_stage_name((ehlo_stage)rcpt->stage));
    at = put_codes(at, rcpt->code, rcpt->enhanced);
    fate->len = (size_t)(at - fate->columns);
}

void report_recipient(const ehlo_recipient *rcpt, const struct report_text *text)
{
    static struct fate fate;
    if (!is_fate_of(&fate, rcpt)) set_fate(&fate, rcpt);
    if (rcpt->to.len + sizeof fate.columns + text->len > sizeof lines - lines_len) report_flush();
    char *at = put_column(lines + lines_len, rcpt->to);
    at = put(at, fate.columns, fate.len);
    at = text->len > 0 ? put(at, text->bytes, text->len) : put(at, "-", 1);
    *at++ = '\n';
    lines_len = (size_t)(at - lines);
}

void report_trace(int direction, ehlo_str bytes, int secret)
{
    char clean[2048];
    size_t len;
    char who = direction == EHLO_TRACE_IN ? 'S' : 'C';
    progress_clear();
    if (secret && bytes.ptr == NULL) {
        fprintf(stderr, "%c: (%zu secret octets)\n", who, bytes.len);
        return;
    }
    int cut = ehlo_text_clean(bytes, clean, sizeof clean, &len);
    fprintf(stderr, "%c: %.*s%s\n", who, (int)len, clean, cut ? "..." : "");
}
