#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_file.h"
#include "checksum.h"
#include "spool_io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    FIRST_LINE = 31,       /* octets of "ehlo-spool 1 LLLLLLLL CCCCCCCC\n" */
    BODY_LINE = 35,        /* of "body LENGTH CHECKSUM\n", the length with 20 digits */
    RECORD_HEAD = 29,      /* of "R LLLLLLLL CCCCCCCC HHHHHHHH " */
    BLOCK = 64 * 1024,     /* read at once */
    RECORD_MAX = 256 << 20 /* octets of a record that is one of ours */
};

/* -- names ------------------------------------------------------------------------------------------ */

void spool_name(char name[SPOOL_NAME_SIZE], uint64_t id)
{
    snprintf(name, SPOOL_NAME_SIZE, "%016llx", (unsigned long long)id);
}

uint64_t spool_id(const char *name)
{
    char copy[SPOOL_NAME_SIZE];
    size_t len = strlen(name);
    if (len + 1 != sizeof copy) return 0;
    memcpy(copy, name, sizeof copy);
    struct reader r = { .at = copy, .end = copy + len };
    return read_hex(&r, (int)len);
}

/* -- writing ---------------------------------------------------------------------------------------- */

static void write_recipient(struct text *t, const ehlo_recipient *rcpt)
{
    text_format(t, "rcpt");
    text_field(t, rcpt->to);
    text_field(t, rcpt->orcpt_type);
    text_field(t, rcpt->orcpt);
    text_field(t, rcpt->params);
    text_number(t, rcpt->notify);
    text_format(t, "\n");
}

/* Recipients in the order of their parts: *order is to be freed. */
static uint32_t *sort_by_part(const uint32_t *parts, size_t nrcpts, uint32_t nparts)
{
    uint32_t *order = calloc(nrcpts + nparts + 1, sizeof *order);
    uint32_t *start = order == NULL ? NULL : order + nrcpts;
    if (order == NULL) return NULL;
    for (size_t i = 0; i < nrcpts; i++) start[parts[i] + 1]++;
    for (uint32_t part = 0; part < nparts; part++) start[part + 1] += start[part];
    for (size_t i = 0; i < nrcpts; i++) order[start[parts[i]]++] = (uint32_t)i;
    return order;
}

static void write_recipients(struct text *t, const ehlo_queued *queued, const uint32_t *parts, uint32_t nparts)
{
    const ehlo_envelope *e = queued->envelope;
    uint32_t *order = sort_by_part(parts, e->nrcpts, nparts);
    if (order == NULL) t->failed = 1;
    for (size_t i = 0; i < e->nrcpts && !t->failed; i++) {
        uint32_t rcpt = order[i];
        if (i == 0 || parts[rcpt] != parts[order[i - 1]]) {
            text_format(t, "destination");
            text_field(t, queued->destinations[rcpt]);
            text_format(t, "\n");
        }
        write_recipient(t, &e->rcpts[rcpt]);
    }
    free(order);
}

void spool_header_write(struct text *t, uint64_t id, const ehlo_queued *queued, const uint32_t *parts, uint32_t nparts)
{
    const ehlo_envelope *e = queued->envelope;
    text_format(t, "ehlo-spool 1 %08x %08x\nid %016llx\narrived", 0U, 0U, (unsigned long long)id);
    text_signed(t, queued->arrived);
    text_format(t, "\nhello");
    text_field(t, queued->hello);
    text_format(t, "\nmail");
    text_field(t, e->from);
    text_number(t, e->flags);
    text_number(t, e->body);
    text_number(t, e->ret);
    text_field(t, e->envid);
    text_field(t, e->auth);
    text_field(t, e->params);
    text_format(t, "\n");
    write_recipients(t, queued, parts, nparts);
    text_format(t, "body %020llu %08x\n", 0ULL, 0U);
}

/* As snprintf, without the NUL. */
static void put_hex(char *to, uint32_t value)
{
    char digits[9];
    snprintf(digits, sizeof digits, "%08x", (unsigned)value);
    memcpy(to, digits, 8);
}

void spool_header_finish(struct text *t, uint64_t body_len, uint32_t body_sum)
{
    char line[BODY_LINE + 1];
    snprintf(line, sizeof line, "body %020llu %08x\n", (unsigned long long)body_len, (unsigned)body_sum);
    memcpy(t->bytes + t->len - BODY_LINE, line, BODY_LINE);
    size_t len = t->len - FIRST_LINE;
    put_hex(t->bytes + 13, (uint32_t)len);
    put_hex(t->bytes + 22, checksum(0, t->bytes + FIRST_LINE, len));
}

/* What a peer said is cleaned before it comes here; a field that could not be read again would be damage, though. */
static void write_kept(struct text *t, const char *kept, size_t len)
{
    char clean[EHLO_REPLY_KEPT];
    for (size_t i = 0; i < len; i++) clean[i] = field_allowed(ehlo_str_make(kept + i, 1)) ? kept[i] : ' ';
    text_field(t, ehlo_str_make(clean, len));
}

static void write_result(struct text *t, const ehlo_batch_rcpt *b)
{
    text_number(t, b->number);
    text_number(t, b->state);
    text_number(t, b->uncertain);
    text_number(t, b->rcpt.outcome);
    text_number(t, b->rcpt.stage);
    text_number(t, b->rcpt.code);
    for (size_t i = 0; i < 3; i++) text_number(t, b->rcpt.enhanced[i]);
    write_kept(t, b->text, b->text_len);
    write_kept(t, b->host, b->host_len);
}

uint32_t spool_result_sum(const ehlo_batch_rcpt *b)
{
    const uint16_t numbers[] = { b->state,     b->uncertain,        b->rcpt.outcome,     b->rcpt.stage,
                                 b->rcpt.code, b->rcpt.enhanced[0], b->rcpt.enhanced[1], b->rcpt.enhanced[2],
                                 b->text_len,  b->host_len };
    uint32_t sum = checksum(0, numbers, sizeof numbers);
    sum = checksum(sum, b->text, b->text_len);
    return checksum(sum, b->host, b->host_len);
}

/* A final result is always told again. */
static int is_as_before(const ehlo_batch_rcpt *b, const uint32_t *before, uint32_t first)
{
    return before != NULL && b->state == EHLO_STATE_QUEUED && before[b->number - first] == spool_result_sum(b);
}

static void write_results(struct text *t, const ehlo_batch *batch, const uint32_t *before, uint32_t first)
{
    size_t n = 0;
    for (size_t i = 0; i < batch->nrcpts; i++) n += !is_as_before(&batch->rcpts[i], before, first);
    text_number(t, n);
    for (size_t i = 0; i < batch->nrcpts; i++) {
        if (!is_as_before(&batch->rcpts[i], before, first)) write_result(t, &batch->rcpts[i]);
    }
}

void spool_record_write(struct text *t, const struct spool_attempt *record)
{
    const ehlo_progress *progress = record->progress;
    text_format(t, "R %08x %08x %08x ", 0U, 0U, 0U);
    text_format(t, "%u", (unsigned)record->part);
    text_number(t, progress->attempt);
    text_signed(t, progress->next_try);
    text_number(t, progress->warned);
    text_number(t, record->nreports);
    for (size_t i = 0; i < record->nreports; i++) text_format(t, " %016llx", (unsigned long long)record->reports[i]);
    write_results(t, record->batch, record->before, record->first);
    if (t->failed) return;
    put_hex(t->bytes + 2, (uint32_t)(t->len - RECORD_HEAD));
    put_hex(t->bytes + 11, checksum(0, t->bytes + RECORD_HEAD, t->len - RECORD_HEAD));
    put_hex(t->bytes + 20, checksum(0, t->bytes, 19));
    text_format(t, "\n");
}

/* -- reading: the header ---------------------------------------------------------------------------- */

/* 0, EBADMSG where the file is too short for it, or an errno. */
static int read_at(int fd, char *to, size_t len, uint64_t at)
{
    size_t got = len;
    int error = spool_read_at(fd, to, &got, at);
    return error == 0 && got < len ? EBADMSG : error;
}

/* Reads what a header may fit into, and its length. */
static int read_block(struct spool_file *f, int fd, uint64_t size, size_t *block_len, size_t *header_len)
{
    *block_len = size < BLOCK ? (size_t)size : BLOCK;
    f->block = malloc(*block_len + 1);
    if (f->block == NULL) return ENOMEM;
    int error = *block_len < FIRST_LINE ? EBADMSG : read_at(fd, f->block, *block_len, 0);
    if (error != 0) return error;
    struct reader r = { .at = f->block, .end = f->block + FIRST_LINE };
    read_word(&r, "ehlo-spool 1 ");
    *header_len = FIRST_LINE + (size_t)read_hex(&r, 8);
    if (r.bad || *header_len > SPOOL_HEADER_MAX || *header_len > size) return EBADMSG;
    if (*header_len <= *block_len) return 0;
    char *longer = realloc(f->block, *header_len);
    if (longer == NULL) return ENOMEM;
    f->block = longer;
    error = read_at(fd, f->block + *block_len, *header_len - *block_len, *block_len);
    *block_len = *header_len;
    return error;
}

static int check_header(const struct spool_file *f, size_t header_len)
{
    struct reader r = { .at = f->block + 21, .end = f->block + FIRST_LINE };
    read_word(&r, " ");
    uint64_t sum = read_hex(&r, 8);
    read_word(&r, "\n");
    return !r.bad && sum == checksum(0, f->block + FIRST_LINE, header_len - FIRST_LINE) ? 0 : EBADMSG;
}

/* Room for as many destinations and wanted recipients as there are lines of theirs. */
static int make_room(struct spool_file *f, const struct reader *r, uint32_t only)
{
    uint32_t parts = 0;
    uint32_t rcpts = 0;
    for (const char *at = r->at; at < r->end; at++) {
        if (at[-1] != '\n') continue;
        if (*at == 'd') parts++;
        if (*at == 'r' && (only == SPOOL_ALL || only + 1 == parts)) rcpts++;
    }
    if (parts == 0 || rcpts == 0 || rcpts > SPOOL_RECIPIENTS_MAX) return EBADMSG;
    f->parts = calloc(parts, sizeof *f->parts);
    f->rcpts = calloc(rcpts, sizeof *f->rcpts);
    return f->parts == NULL || f->rcpts == NULL ? ENOMEM : 0;
}

static void read_recipient(struct reader *r, ehlo_recipient *rcpt)
{
    rcpt->to = read_field(r);
    rcpt->orcpt_type = read_field(r);
    rcpt->orcpt = read_field(r);
    rcpt->params = read_field(r);
    rcpt->notify = (uint8_t)read_number(r, 15);
    read_word(r, "\n");
}

/* The destinations and their recipients, of which those of part `only` are kept. */
static void read_parts(struct spool_file *f, struct reader *r, uint32_t only)
{
    ehlo_batch_rcpt unwanted = { .number = 0 };
    uint32_t number = 0;
    while (read_if(r, "destination")) {
        struct spool_part *part = &f->parts[f->nparts++];
        part->destination = read_field(r);
        part->first = number;
        part->next_try = f->arrived;
        read_word(r, "\n");
        while (read_if(r, "rcpt")) {
            int wanted = only == SPOOL_ALL || only + 1 == f->nparts;
            ehlo_batch_rcpt *b = wanted ? &f->rcpts[f->nrcpts++] : &unwanted;
            read_recipient(r, &b->rcpt);
            b->number = number++;
            part->count++;
        }
        if (part->count == 0 || part->destination.len == 0 || part->destination.len > 255) r->bad = 1;
    }
    if (f->nparts == 0 || (only != SPOOL_ALL && only >= f->nparts)) r->bad = 1;
}

static void read_mail(struct spool_file *f, struct reader *r)
{
    read_word(r, "id ");
    f->id = read_hex(r, 16);
    read_word(r, "\narrived");
    f->arrived = read_signed(r);
    read_word(r, "\nhello");
    f->hello = read_field(r);
    read_word(r, "\nmail");
    f->envelope.from = read_field(r);
    f->envelope.flags = (unsigned)read_number(r, UINT16_MAX);
    f->envelope.body = (uint8_t)read_number(r, EHLO_BODY_BINARYMIME);
    f->envelope.ret = (uint8_t)read_number(r, EHLO_RET_HDRS);
    f->envelope.envid = read_field(r);
    f->envelope.auth = read_field(r);
    f->envelope.params = read_field(r);
    read_word(r, "\n");
}

static int read_header(struct spool_file *f, size_t header_len, uint32_t only)
{
    struct reader r = { .at = f->block + FIRST_LINE, .end = f->block + header_len };
    int error = make_room(f, &r, only);
    if (error != 0) return error;
    read_mail(f, &r);
    read_parts(f, &r, only);
    read_word(&r, "body");
    f->body_len = read_number(&r, INT64_MAX);
    read_word(&r, " ");
    f->body_sum = (uint32_t)read_hex(&r, 8);
    read_word(&r, "\n");
    f->envelope.size = f->body_len;
    return r.bad || r.at != r.end ? EBADMSG : 0;
}

/* -- reading: records ------------------------------------------------------------------------------- */

enum record { RECORD_WHOLE, RECORD_LONGER, RECORD_TORN, RECORD_DAMAGED };

/* Where a file grew and its octets never came, there are zeros: many, or at an edge. What changed otherwise is damage: no
 * single bit makes such zeros of what we write. */
static int has_holes(const char *bytes, size_t len)
{
    if (bytes[0] == '\0' || bytes[len - 1] == '\0') return 1;
    for (size_t i = 1; i < len; i++) {
        if (bytes[i] == '\0' && bytes[i - 1] == '\0') return 1;
    }
    return 0;
}

/* What stands at the start of the `left` octets that are left of a file, of which len are here: a record of *record_len
 * octets, or one whose writing was cut short, with nothing behind it. RECORD_LONGER: more of it is wanted. */
static enum record look_at_record(const char *bytes, size_t len, uint64_t left, size_t *record_len)
{
    char head[RECORD_HEAD];
    if (left < RECORD_HEAD) return RECORD_TORN; /* no record is as short */
    memcpy(head, bytes, sizeof head);
    struct reader r = { .at = head, .end = head + sizeof head };
    read_word(&r, "R ");
    size_t text_len = (size_t)read_hex(&r, 8);
    read_word(&r, " ");
    uint64_t sum = read_hex(&r, 8);
    read_word(&r, " ");
    uint64_t head_sum = read_hex(&r, 8);
    read_word(&r, " ");
    if (r.bad || head_sum != checksum(0, bytes, 19)) return has_holes(bytes, len) ? RECORD_TORN : RECORD_DAMAGED;
    *record_len = RECORD_HEAD + text_len + 1;
    if (*record_len > RECORD_MAX) return RECORD_DAMAGED;
    if (*record_len > left) return RECORD_TORN;
    if (*record_len > len) return RECORD_LONGER;
    if (sum == checksum(0, bytes + RECORD_HEAD, text_len) && bytes[*record_len - 1] == '\n') return RECORD_WHOLE;
    return *record_len == left && has_holes(bytes, *record_len) ? RECORD_TORN : RECORD_DAMAGED;
}

static size_t read_kept(struct reader *r, char kept[EHLO_REPLY_KEPT])
{
    ehlo_str text = read_field(r);
    if (text.len > EHLO_REPLY_KEPT) r->bad = 1;
    if (r->bad || text.len == 0) return 0;
    memcpy(kept, text.ptr, text.len);
    return text.len;
}

static void read_result(struct reader *r, ehlo_batch_rcpt *b)
{
    b->state = (uint8_t)read_number(r, EHLO_STATE_EXPIRED);
    b->uncertain = (uint8_t)read_number(r, 1);
    b->rcpt.outcome = (uint8_t)read_number(r, EHLO_OUTCOME_UNCERTAIN);
    b->rcpt.stage = (uint8_t)read_number(r, EHLO_STAGE_FINAL);
    b->rcpt.code = (uint16_t)read_number(r, UINT16_MAX);
    for (size_t i = 0; i < 3; i++) b->rcpt.enhanced[i] = (uint16_t)read_number(r, UINT16_MAX);
    b->text_len = (uint8_t)read_kept(r, b->text);
    b->host_len = (uint8_t)read_kept(r, b->host);
}

static int read_reports(struct spool_file *f, struct reader *r)
{
    uint64_t n = read_number(r, 255);
    if (n == 0 || r->bad) return 0;
    uint64_t *reports = realloc(f->reports, (f->nreports + (size_t)n) * sizeof *reports);
    if (reports == NULL) return ENOMEM;
    f->reports = reports;
    for (; n > 0; n--) {
        read_word(r, " ");
        reports[f->nreports++] = read_hex(r, 16);
    }
    return 0;
}

/* Where the results of recipient `number` of a part belong; NULL: it is not of that part. */
static ehlo_batch_rcpt *find_recipient(struct spool_file *f, const struct spool_part *part, uint64_t number)
{
    if (number < part->first || number - part->first >= part->count) return NULL;
    return &f->rcpts[number - f->rcpts[0].number];
}

static int apply_record(struct spool_file *f, struct reader *r, uint32_t only)
{
    ehlo_batch_rcpt unwanted = { .number = 0 };
    r->at--; /* the space before the first number */
    uint32_t number = (uint32_t)read_number(r, f->nparts - 1);
    struct spool_part *part = &f->parts[number];
    part->attempt = (uint32_t)read_number(r, UINT32_MAX);
    part->next_try = read_signed(r);
    part->warned = (uint8_t)read_number(r, 1);
    int error = read_reports(f, r);
    if (error != 0) return error;
    for (uint64_t left = read_number(r, part->count); left > 0 && !r->bad; left--) {
        uint64_t rcpt = read_number(r, UINT32_MAX);
        ehlo_batch_rcpt *b = only == SPOOL_ALL || only == number ? find_recipient(f, part, rcpt) : &unwanted;
        if (b == NULL) return EBADMSG;
        read_result(r, b);
    }
    read_word(r, "\n");
    return r->bad || r->at != r->end ? EBADMSG : 0;
}

/* Applies the records that are whole in the len octets of the `left` that are left; *used are theirs. RECORD_LONGER: more
 * is wanted, *wanted octets at least. */
static int apply_records(struct spool_file *f, char *bytes, size_t len, uint64_t left, uint32_t only, size_t *used,
                         size_t *wanted)
{
    enum record record = RECORD_WHOLE;
    int error = 0;
    *used = 0;
    *wanted = RECORD_HEAD;
    while (error == 0 && record == RECORD_WHOLE && *used < len) {
        if (len - *used < RECORD_HEAD && len < left) return 0;
        record = look_at_record(bytes + *used, len - *used, left - *used, wanted);
        if (record == RECORD_DAMAGED) return EBADMSG;
        if (record == RECORD_TORN) *wanted = 0;
        if (record != RECORD_WHOLE) return 0;
        struct reader r = { .at = bytes + *used + RECORD_HEAD, .end = bytes + *used + *wanted };
        error = apply_record(f, &r, only);
        *used += *wanted;
        f->end += *wanted;
    }
    return error;
}

/* Reads on by pieces: a long life has many records, of which only the last ones count. */
static int read_tail(struct spool_file *f, int fd, uint64_t size, uint32_t only)
{
    size_t wanted = RECORD_HEAD;
    int error = 0;
    while (f->end < size && wanted > 0 && error == 0) {
        uint64_t left = size - f->end;
        size_t room = wanted < BLOCK ? BLOCK : wanted;
        size_t len = left < room ? (size_t)left : room;
        size_t used = 0;
        char *bytes = malloc(len);
        if (bytes == NULL) return ENOMEM;
        error = read_at(fd, bytes, len, f->end);
        if (error == 0) error = apply_records(f, bytes, len, left, only, &used, &wanted);
        free(bytes);
    }
    return error;
}

static int read_records(struct spool_file *f, int fd, uint64_t size, size_t block_len, uint32_t only)
{
    size_t used = 0;
    size_t wanted = 0;
    if (size > block_len) return read_tail(f, fd, size, only);
    uint64_t left = size - f->end;
    return apply_records(f, f->block + f->end, (size_t)left, left, only, &used, &wanted);
}

/* -- reading: all of it ----------------------------------------------------------------------------- */

static int read_all(struct spool_file *f, int fd, uint64_t size, uint32_t only)
{
    size_t block_len = 0;
    size_t header_len = 0;
    int error = read_block(f, fd, size, &block_len, &header_len);
    if (error == 0) error = check_header(f, header_len);
    if (error == 0) error = read_header(f, header_len, only);
    if (error != 0) return error;
    f->body_at = header_len;
    if (f->body_len > size - header_len) return EBADMSG;
    f->end = f->body_at + f->body_len;
    if (f->end <= block_len) {
        f->body = f->block + f->body_at;
        if (checksum(0, f->body, (size_t)f->body_len) != f->body_sum) return EBADMSG;
    }
    return read_records(f, fd, size, block_len, only);
}

int spool_file_read(struct spool_file *f, int fd, uint32_t only, uint64_t end)
{
    struct stat status;
    memset(f, 0, sizeof *f);
    if (fstat(fd, &status) != 0) return errno;
    uint64_t size = (uint64_t)status.st_size;
    if (!S_ISREG(status.st_mode) || (end != SPOOL_UNKNOWN && size < end)) return EBADMSG;
    return read_all(f, fd, end < size ? end : size, only);
}

void spool_file_free(struct spool_file *f)
{
    free(f->parts);
    free(f->rcpts);
    free(f->reports);
    free(f->block);
    memset(f, 0, sizeof *f);
}

int spool_file_done(const struct spool_file *f, uint32_t part)
{
    const struct spool_part *p = &f->parts[part];
    for (uint32_t i = 0; i < p->count; i++) {
        if (f->rcpts[p->first - f->rcpts[0].number + i].state == EHLO_STATE_QUEUED) return 0;
    }
    return 1;
}
