/* relay's spool and files that somebody, or a disk, has changed: they are put aside, whole, and the rest goes on. [Q09] */
#include "spool_watch.h"

enum { FILE_MAX = 400000 };

static const struct mail victim = { 1, 300, 3, 2 };
static const struct mail bystander = { 2, 500, 1, 1 };
static const struct mail large = { 3, 290000, 1, 1 };

static ehlo_batch *batches[BATCHES_MAX];

/* A spool with a message that has two records, and another one beside it. The first file, as octets. */
struct scene {
    struct place place;
    char path[256];
    char name[32];
    char bytes[FILE_MAX];
    size_t len;
    size_t ends[4]; /* of the header and the body; of the first record; of the second */
};

static struct scene scene;

static void file_load(struct scene *s)
{
    FILE *file = fopen(s->path, "rb");
    assert_non_null(file);
    s->len = fread(s->bytes, 1, sizeof s->bytes, file);
    fclose(file);
    assert_true(s->len > 0 && s->len < sizeof s->bytes);
}

static void file_store(const struct scene *s, const char *bytes, size_t len)
{
    FILE *file = fopen(s->path, "wb");
    assert_non_null(file);
    if (len > 0) assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static void record_first(struct scene *s, ehlo_state state)
{
    size_t n = claim_batches(&s->place, start_ms + 100 * (int64_t)DAY_MS, batches, BATCHES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (check_batch(&s->place, batches[i]) != 1 || batch_destination(batches[i]) != 0) continue;
        assert_int_equal(record_batch(&s->place, batches[i], state, NULL, NULL), EHLO_OK);
    }
    release_all(&s->place, batches, n);
}

static struct scene *set_scene(const struct mail *first)
{
    struct scene *s = &scene;
    place_make(&s->place);
    snprintf(s->name, sizeof s->name, "%016llx", (unsigned long long)s->place.spool->next_id);
    snprintf(s->path, sizeof s->path, "%.60s/queue/%.20s", s->place.dir, s->name);
    assert_int_equal(accept_mail(&s->place, first, NULL), EHLO_OK);
    assert_int_equal(accept_mail(&s->place, &bystander, NULL), EHLO_OK);
    file_load(s);
    s->ends[0] = s->len - first->len;
    s->ends[1] = s->len;
    if (first != &victim) return s;
    for (size_t i = 2; i < 4; i++) {
        record_first(s, EHLO_STATE_QUEUED);
        file_load(s);
        s->ends[i] = s->len;
    }
    return s;
}

static void end_scene(struct scene *s)
{
    if (s->place.spool == NULL) place_open(&s->place);
    place_end(&s->place);
}

/* Everything that can be claimed is as it was put in; 1 if the victim is there, with so many attempts at its first
 * destination. -1: it is not. */
static int look(struct place *p)
{
    int attempts = -1;
    int bystanders = 0;
    size_t victims = 0;
    size_t n = claim_batches(p, start_ms + 200 * (int64_t)DAY_MS, batches, BATCHES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (check_batch(p, batches[i]) == bystander.number) {
            bystanders++;
            continue;
        }
        victims++;
        if (batch_destination(batches[i]) == 0) attempts = (int)batches[i]->attempt;
    }
    release_all(p, batches, n);
    assert_int_equal(bystanders, 1);
    assert_true(victims == 0 || victims == victim.ndestinations); /* all or nothing of it */
    return attempts;
}

/* Opens what was changed. The attempts, or -1: then it was put aside, and somebody was told. */
static int open_changed(struct scene *s, const char *bytes, size_t len)
{
    struct place *p = &s->place;
    if (p->spool != NULL) place_close(p);
    file_store(s, bytes, len);
    watch.problems = 0;
    place_open(p);
    int attempts = look(p);
    assert_int_equal(count_files(p, "corrupt"), attempts < 0);
    assert_int_equal(watch.problems, attempts < 0);
    assert_int_equal(count_files(p, "queue"), attempts < 0 ? 1 : 2);
    place_close(p);
    if (attempts < 0) {
        char aside[256];
        snprintf(aside, sizeof aside, "%.60s/corrupt/%.20s", p->dir, s->name);
        assert_int_equal(unlink(aside), 0);
    }
    return attempts;
}

static void whichever_bit_is_another_the_message_is_put_aside(void **state)
{
    struct scene *s = set_scene(&victim);
    (void)state;
    for (size_t bit = 0; bit < 8 * s->len; bit++) {
        s->bytes[bit / 8] = (char)(s->bytes[bit / 8] ^ 1 << bit % 8);
        if (open_changed(s, s->bytes, s->len) != -1) fail_msg("bit %zu of octet %zu", bit % 8, bit / 8);
        s->bytes[bit / 8] = (char)(s->bytes[bit / 8] ^ 1 << bit % 8);
    }
    assert_int_equal(open_changed(s, s->bytes, s->len), 2);
    end_scene(s);
}

/* Where a record was cut short it was never answered for: what was before it holds. */
static void cut_short_it_is_put_aside_unless_only_a_record_is_missing(void **state)
{
    struct scene *s = set_scene(&victim);
    (void)state;
    for (size_t len = 0; len <= s->len; len++) {
        int expected = len < s->ends[1] ? -1 : len < s->ends[2] ? 0 : len < s->ends[3] ? 1 : 2;
        if (open_changed(s, s->bytes, len) != expected) fail_msg("after %zu octets", len);
    }
    end_scene(s);
}

/* The file grew, but the octets of the last record did not come, or not all of them. */
static void a_record_with_holes_was_never_made(void **state)
{
    struct scene *s = set_scene(&victim);
    static char bytes[FILE_MAX];
    (void)state;
    size_t len = s->ends[3] - s->ends[2];
    for (size_t from = 0; from < len; from += 7) {
        for (size_t to = from + 2; to <= len; to += 5) {
            memcpy(bytes, s->bytes, s->len);
            memset(bytes + s->ends[2] + from, 0, to - from);
            if (open_changed(s, bytes, s->len) != 1) fail_msg("octets %zu to %zu of the record", from, to);
        }
    }
    memcpy(bytes, s->bytes, s->len); /* zeros only, and more than a record */
    memset(bytes + s->len, 0, 100000);
    assert_int_equal(open_changed(s, bytes, s->len + 100000), 2);
    /* before another record they are damage: that one was answered for later */
    memset(bytes + s->ends[1] + 40, 0, 8);
    assert_int_equal(open_changed(s, bytes, s->len), -1);
    end_scene(s);
}

static void octets_behind_the_last_record_are_damage(void **state)
{
    struct scene *s = set_scene(&victim);
    (void)state;
    memset(s->bytes + s->len, 'x', 64);
    assert_int_equal(open_changed(s, s->bytes, s->len + 64), -1);
    end_scene(s);
}

/* -- files that were made on purpose: their checksums hold ------------------------------------------------ */

/* Puts the right checksums over a header of header_len octets. */
static void reseal(char *bytes, size_t header_len)
{
    char digits[9];
    snprintf(digits, sizeof digits, "%08zx", header_len - 31);
    memcpy(bytes + 13, digits, 8);
    snprintf(digits, sizeof digits, "%08x", (unsigned)checksum(0, bytes + 31, header_len - 31));
    memcpy(bytes + 22, digits, 8);
}

/* The victim's file with `from` in its header replaced. */
static int open_edited(struct scene *s, const char *from, const char *to)
{
    static char bytes[FILE_MAX];
    size_t header_len = s->ends[0];
    char *at = memmem(s->bytes, header_len, from, strlen(from));
    if (at == NULL) fail_msg("no %s", from);
    size_t before = (size_t)(at - s->bytes);
    size_t rest = s->len - before - strlen(from);
    memcpy(bytes, s->bytes, before);
    memcpy(bytes + before, to, strlen(to));
    memcpy(bytes + before + strlen(to), at + strlen(from), rest);
    reseal(bytes, header_len - strlen(from) + strlen(to));
    return open_changed(s, bytes, before + strlen(to) + rest);
}

static void a_header_that_lies_is_refused(void **state)
{
    static const char *const edits[][2] = {
        { "body 00000000000000000300", "body 00000000010737418240" }, /* 10 GiB */
        { "body 00000000000000000300", "body 18446744073709551615" },
        { "body 00000000000000000300", "body 09223372036854775807" },
        { "body 00000000000000000300", "body 00000000000000000299" }, /* the records begin with the body's last octet */
        { "body 00000000000000000300", "body 99999999999999999999" },
        { "body 00000000000000000300", "body -0000000000000000001" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example%0aRCPT%20TO:<x@y>" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example%0d" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example%00" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example\nrcpt x@y.example" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example%7f" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example%4" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example%4G" },
        { "rcpt r0@d0.example", "rcpt r0@d0.example\xff" },
        { "rcpt r0@d0.example", "rcpt  r0@d0.example" },
        { "rcpt r0@d0.example", "rcpt" },
        { "rcpt r0@d0.example", "rcptr0@d0.example" },
        { "hello client.example", "hello" },
        { "hello client.example", "hello client.example x" },
        { "destination d0.example", "destination -" },
        { "destination d0.example\n", "" },
        { "destination d1.example\n", "destination d1.example\ndestination d2.example\n" },
        { "mail s1@x.example", "mail s1@x.example 1" },
        { "mail s1@x.example 0 0 0", "mail s1@x.example 0 4 0" },
        { "mail s1@x.example 0 0 0", "mail s1@x.example 0 0 3" },
        { "mail s1@x.example 0 0 0", "mail s1@x.example 65536 0 0" },
        { "mail s1@x.example 0 0 0", "mail s1@x.example 99999999999999999999999 0 0" },
        { "mail s1@x.example 0 0 0", "mail s1@x.example x 0 0" },
        { " - - - 4\n", " - - - 16\n" },
        { " - - - 4\n", " - - - 4\n\n" },
        { " - - - 4\n", " - - - 4" },
        { "id 0", "id f" }, /* of another message */
    };
    struct scene *s = set_scene(&victim);
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        if (open_edited(s, edits[i][0], edits[i][1]) != -1) fail_msg("%s", edits[i][1]);
    }
    assert_int_equal(open_edited(s, "hello client.example", "hello -"), 2); /* the way it is done holds */
    end_scene(s);
}

/* A first line that names more octets than there are, or more than any header has. */
static void a_first_line_that_lies_is_refused(void **state)
{
    static const char *const lines[] = {
        "ehlo-spool 1 ffffffff 00000000\n", "ehlo-spool 1 00000000 00000000\n", "ehlo-spool 2 00000010 00000000\n",
        "ehlo-spool 1 0000001x 00000000\n", "ehlo-spool 1 03ffffe1 00000000\n",
    };
    struct scene *s = set_scene(&victim);
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        memcpy(s->bytes, lines[i], 31);
        assert_int_equal(open_changed(s, s->bytes, s->len), -1);
    }
    end_scene(s);
}

/* A record of this text behind what is there. */
static int open_recorded(struct scene *s, const char *text)
{
    char head[32];
    size_t len = strlen(text);
    static char bytes[FILE_MAX];
    memcpy(bytes, s->bytes, s->len);
    char *at = bytes + s->len;
    snprintf(head, sizeof head, "R %08zx %08x ", len, (unsigned)checksum(0, text, len));
    memcpy(at, head, 20);
    snprintf(head, sizeof head, "%08x ", (unsigned)checksum(0, at, 19));
    memcpy(at + 20, head, 9);
    memcpy(at + 29, text, len);
    at[29 + len] = '\n';
    return open_changed(s, bytes, s->len + 30 + len);
}

static void a_record_that_lies_is_refused(void **state)
{
    static const char *const records[] = {
        "",
        "2 3 0 0 0 0",                       /* no such destination */
        "4294967296 3 0 0 0 0",              /* nor that */
        "0 3 0 2 0 0",                       /* warned is 0 or 1 */
        "0 3 0 0 256 0",                     /* so many reports */
        "0 3 0 0 1 0",                       /* and none named */
        "0 3 0 0 0 3 0 0 0 0 0 0 0 0 0 - -", /* more recipients than it has */
        "0 3 0 0 0 1 2 0 0 0 0 0 0 0 0 - -", /* one of another destination */
        "0 3 0 0 0 1 0 4 0 0 0 0 0 0 0 - -", /* no such state */
        "0 3 0 0 0 1 0 0 2 0 0 0 0 0 0 - -",
        "0 3 0 0 0 1 0 0 0 6 0 0 0 0 0 - -",
        "0 3 0 0 0 1 0 0 0 0 11 0 0 0 0 - -",
        "0 3 0 0 0 1 0 0 0 0 0 65536 0 0 0 - -",
        "0 3 0 0 0 1 0 0 0 0 0 0 0 0 0 - - ",
        "0 3 0 0 0 1 0 0 0 0 0 0 0 0 0 a%0ab -",
        "0 3 -9223372036854775808 0 0 0",
        "0 3 9223372036854775808 0 0 0",
        "0  3 0 0 0 0",
        " 0 3 0 0 0 0",
    };
    char text[600];
    struct scene *s = set_scene(&victim);
    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        if (open_recorded(s, records[i]) != -1) fail_msg("%s", records[i]);
    }
    memset(text, 0, sizeof text);
    strcpy(text, "0 3 0 0 0 1 0 0 0 0 0 0 0 0 0 - ");
    memset(text + strlen(text), 'x', 256); /* longer than what is kept of a reply */
    assert_int_equal(open_recorded(s, text), -1);
    text[strlen(text) - 1] = '\0';
    assert_int_equal(open_recorded(s, text), 3);
    assert_int_equal(open_recorded(s, "0 7 1 1 0 0"), 7);
    end_scene(s);
}

/* -- bodies that are read by pieces ------------------------------------------------------------------------ */

static void damage_in_a_long_body_is_told_before_its_last_piece(void **state)
{
    static const size_t places[] = { 0, 1, 70000, 131071, 131072, 200000, 262144, 289999 };
    struct scene *s = set_scene(&large);
    char *content = malloc(large.len);
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct place *p = &s->place;
        size_t got = 0;
        if (p->spool != NULL) place_close(p);
        s->bytes[s->ends[0] + places[i]] ^= 4;
        file_store(s, s->bytes, s->len);
        s->bytes[s->ends[0] + places[i]] ^= 4;
        place_open(p);
        size_t n = claim_batches(p, start_ms + DAY_MS, batches, BATCHES_MAX);
        assert_int_equal(n, 2);
        size_t damaged = batches[0]->envelope.size == large.len ? 0 : 1;
        assert_int_equal(read_body(p, batches[damaged], content, large.len, &got), EHLO_ERR_SYNTAX);
        assert_true(got < large.len);
        assert_int_equal(check_batch(p, batches[1 - damaged]), bystander.number);
        assert_int_equal(record_batch(p, batches[damaged], EHLO_STATE_DELIVERED, NULL, NULL), EHLO_ERR_STALE);
        release_all(p, batches, n);
        assert_int_equal(count_files(p, "corrupt"), 1);
        assert_int_equal(spool_count(p->spool), 1);
    }
    free(content);
    end_scene(s);
}

/* The file changes while it is claimed. */
static void a_body_that_is_cut_off_meanwhile_is_damage(void **state)
{
    struct scene *s = set_scene(&large);
    struct place *p = &s->place;
    char *content = malloc(large.len);
    size_t got = 0;
    (void)state;
    size_t n = claim_batches(p, start_ms + DAY_MS, batches, BATCHES_MAX);
    size_t victim_at = batches[0]->envelope.size == large.len ? 0 : 1;
    assert_int_equal(truncate(s->path, 200000), 0);
    assert_int_equal(read_body(p, batches[victim_at], content, large.len, &got), EHLO_ERR_SYNTAX);
    assert_true(got < 200000);
    release_all(p, batches, n);
    assert_int_equal(count_files(p, "corrupt"), 1);
    free(content);
    end_scene(s);
}

static void what_is_no_message_stays_where_it_is(void **state)
{
    struct scene *s = set_scene(&victim);
    char path[256];
    (void)state;
    static const char *const names[] = { "README", "00000100000000", "0000010000000000x", "000001000000000G",
                                         ".hidden" };
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/queue/%s", s->place.dir, names[i]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fclose(file);
    }
    place_reopen(&s->place);
    assert_int_equal(look(&s->place), 2);
    assert_int_equal(count_files(&s->place, "queue"), 7);
    end_scene(s);
}

/* A folder, or a device, under the name of a message. */
static void what_is_no_file_keeps_nobody_from_starting(void **state)
{
    struct scene *s = set_scene(&victim);
    char path[256];
    (void)state;
    place_close(&s->place);
    snprintf(path, sizeof path, "%s/queue/00000f0000000000", s->place.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    place_open(&s->place);
    assert_int_equal(look(&s->place), 2);
    end_scene(s);
}

static void write_text(const struct place *p, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%.60s/%s", p->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* The generation is lost: ids are still none that were used. */
static void a_damaged_generation_is_taken_from_the_messages(void **state)
{
    static const char *const texts[] = { "", "x", "1", "99999999999999999999\n", "-1\n", "16777216\n" };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct scene *s = set_scene(&victim);
        uint64_t used = s->place.spool->next_id;
        place_close(&s->place);
        write_text(&s->place, "generation", texts[i]);
        place_open(&s->place);
        assert_true(s->place.spool->next_id > used);
        end_scene(s);
    }
}

/* What was put aside had an id too; but one that we never gave says nothing. */
static void ids_of_what_was_put_aside_count_too(void **state)
{
    struct scene *s = set_scene(&victim);
    (void)state;
    place_close(&s->place);
    write_text(&s->place, "generation", "");
    write_text(&s->place, "corrupt/0000ab0000000000", "");
    write_text(&s->place, "corrupt/ffffffffffffffff", "");
    write_text(&s->place, "queue/fffffffffffffff0", "");
    place_open(&s->place);
    assert_int_equal(s->place.spool->next_id >> 40, 0xac);
    end_scene(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whichever_bit_is_another_the_message_is_put_aside),
        cmocka_unit_test(cut_short_it_is_put_aside_unless_only_a_record_is_missing),
        cmocka_unit_test(a_record_with_holes_was_never_made),
        cmocka_unit_test(octets_behind_the_last_record_are_damage),
        cmocka_unit_test(a_header_that_lies_is_refused),
        cmocka_unit_test(a_first_line_that_lies_is_refused),
        cmocka_unit_test(a_record_that_lies_is_refused),
        cmocka_unit_test(damage_in_a_long_body_is_told_before_its_last_piece),
        cmocka_unit_test(a_body_that_is_cut_off_meanwhile_is_damage),
        cmocka_unit_test(what_is_no_message_stays_where_it_is),
        cmocka_unit_test(what_is_no_file_keeps_nobody_from_starting),
        cmocka_unit_test(a_damaged_generation_is_taken_from_the_messages),
        cmocka_unit_test(ids_of_what_was_put_aside_count_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
