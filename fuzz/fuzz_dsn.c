/* Reports on delivery: whatever is told in one, it is a report, of the lines and fields that it has to have. */
#include <stdint.h>
#include <string.h>

#include <ehlo/dsn.h>

#include "check.h"
#include "report_form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RCPTS = 4, PIECES_MAX = 2 * RCPTS + 5 };

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

static unsigned take(input *in)
{
    if (in->left == 0) return 0;
    in->left--;
    return *in->at++;
}

static uint16_t take_number(input *in)
{
    unsigned high = take(in);
    return (uint16_t)(high << 8 | take(in));
}

static int64_t take_time(input *in)
{
    int64_t time = 0;
    for (int i = 0; i < 5; i++) time = time * 256 + take(in);
    return time;
}

/* A text of eight times as many octets as the next octet says, or one that is well-formed. */
static ehlo_str take_text(input *in, const char *otherwise)
{
    size_t len = 8 * (size_t)take(in);
    if (len == 0) return ehlo_str_from(otherwise);
    if (len > in->left) len = in->left;
    ehlo_str text = ehlo_str_make((const char *)in->at, len);
    in->at += len;
    in->left -= len;
    return text;
}

static void take_code(input *in, uint16_t code[3])
{
    code[0] = (uint16_t)(take(in) % 7);
    code[1] = take_number(in);
    code[2] = (uint16_t)take(in);
}

static void take_recipient(input *in, ehlo_dsn_recipient *rcpt)
{
    rcpt->action = (uint8_t)(take(in) % 7);
    rcpt->code = take(in) % 2 ? take_number(in) : (uint16_t)0;
    take_code(in, rcpt->status);
    take_code(in, rcpt->enhanced);
    rcpt->last_attempt = take_time(in);
    rcpt->retry_until = take_time(in);
    rcpt->may_have_arrived = take(in) & 1;
    rcpt->to = take_text(in, "b@example.org");
    rcpt->orcpt_type = take_text(in, "utf-8");
    rcpt->orcpt = take_text(in, "c@example.org");
    rcpt->remote_mta = take_text(in, "");
    rcpt->text = take_text(in, "No such user");
}

static void take_report(input *in, ehlo_dsn *dsn, ehlo_dsn_recipient *rcpts)
{
    unsigned flags = take(in);
    dsn->utf8 = flags & 1;
    dsn->ret = (uint8_t)(flags >> 1 & 3);
    dsn->body = (uint8_t)(flags >> 3 & 3);
    dsn->nrcpts = flags >> 5 & 3;
    dsn->size = take_number(in);
    dsn->full_max = take_number(in);
    dsn->zone_minutes = (int32_t)(take(in) * 16) - 2048;
    dsn->time = take_time(in);
    dsn->arrived = take_time(in);
    dsn->reporting_mta = take_text(in, "mx.example.com");
    dsn->to = take_text(in, "a@sender.example");
    dsn->id = take_text(in, "4f2a9c.0b51e7d3");
    dsn->envid = take_text(in, "");
    dsn->received_from = take_text(in, "client.example");
    for (size_t i = 0; i < dsn->nrcpts; i++) take_recipient(in, &rcpts[i]);
    dsn->rcpts = rcpts;
}

/* The pieces, one behind the other; a room too small for one changes nothing. */
static int write_pieces(const ehlo_dsn *dsn, size_t odd, char *out, size_t *total)
{
    static char little[EHLO_DSN_PIECE_MAX];
    ehlo_dsn_cursor cursor = { 0 };
    for (*total = 0;;) {
        ehlo_dsn_cursor before = cursor;
        size_t len, need;
        int result = ehlo_dsn_next(dsn, &cursor, out + *total, EHLO_DSN_PIECE_MAX, &len);
        if (result <= 0) CHECK(len == 0 && memcmp(&before, &cursor, sizeof(cursor)) == 0);
        if (result <= 0) return result;
        CHECK(len > 0 && len <= EHLO_DSN_PIECE_MAX);
        CHECK(ehlo_dsn_next(dsn, &before, little, odd % len, &need) == EHLO_ERR_SPACE && need == len);
        *total += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[PIECES_MAX * EHLO_DSN_PIECE_MAX];
    ehlo_dsn_recipient rcpts[RCPTS] = { { .action = 0 } };
    ehlo_dsn dsn = { .utf8 = 0 };
    input in = { data, size };
    size_t total, len;
    take_report(&in, &dsn, rcpts);
    int result = write_pieces(&dsn, size, out, &total);
    CHECK(result == 0 || (result == EHLO_ERR_ARG && total == 0));
    if (result != 0) return 0;
    memcpy(out + total, REPORT_RETURNED, sizeof(REPORT_RETURNED) - 1);
    total += sizeof(REPORT_RETURNED) - 1;
    CHECK(ehlo_dsn_end(&dsn, out + total, EHLO_DSN_PIECE_MAX, &len) == EHLO_OK);
    const char *fault = report_fault(ehlo_str_make(out, total + len), &dsn);
    if (fault != NULL) fprintf(stderr, "%s in\n%.*s", fault, (int)(total + len), out);
    CHECK(fault == NULL);
    return 0;
}
