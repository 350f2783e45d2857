/* relay's spool and a disk that fails: whichever call does, the caller is told, nothing is half done, and the next start
 * finds what was answered for. */
#include "spool_watch.h"

static const struct mail small = { 1, 1000, 1, 1 };
static const struct mail several = { 2, 3000, 4, 2 };
static const struct mail large = { 3, 300000, 1, 1 };
static const struct mail report = { 4, 2000, 1, 1 };
static const struct mail long_report = { 5, 270000, 1, 1 };

/* What is done while a call fails. */
struct deed {
    const char *name;
    int (*prepare)(struct place *p); /* may be NULL */
    int (*act)(struct place *p);     /* EHLO_OK, or how it failed */
    /* Messages that are queued then, if it failed, and if it did not; whatever else is expected is looked at by it. */
    size_t before;
    size_t after;
    int may_succeed; /* 1: not every call matters */
    int removes;     /* 1: it is done by removing the file */
};

static ehlo_batch *batches[BATCHES_MAX];

static int prepare_small(struct place *p)
{
    return accept_mail(p, &small, NULL);
}

static int prepare_several(struct place *p)
{
    return accept_mail(p, &several, NULL);
}

static int prepare_large(struct place *p)
{
    return accept_mail(p, &large, NULL);
}

static int do_small(struct place *p)
{
    return accept_mail(p, &small, NULL);
}

static int do_large(struct place *p)
{
    return accept_mail(p, &large, NULL);
}

/* The first batch, recorded with this result; tried twice, as a runner does. */
static int do_record(struct place *p, ehlo_state state, const struct mail *with)
{
    watch_calls(0);
    assert_true(claim_batches(p, start_ms + DAY_MS, batches, 1) == 1);
    void *message = with == NULL ? NULL : write_mail(p, with, 50000);
    watch_calls(1);
    int result = record_batch(p, batches[0], state, message, NULL);
    if (result != EHLO_OK && message != NULL) spool_store.discard(p->spool, message);
    watch_calls(0);
    spool_store.release(p->spool, batches[0]);
    return result;
}

static int do_delivered(struct place *p)
{
    return do_record(p, EHLO_STATE_DELIVERED, NULL);
}

static int do_deferred(struct place *p)
{
    return do_record(p, EHLO_STATE_QUEUED, NULL);
}

static int do_failed(struct place *p)
{
    return do_record(p, EHLO_STATE_FAILED, &report);
}

static int do_failed_long(struct place *p)
{
    return do_record(p, EHLO_STATE_FAILED, &long_report);
}

static const struct deed deeds[] = {
    { "accept", NULL, do_small, 0, 1, 0, 0 },
    { "accept a large one", NULL, do_large, 0, 1, 0, 0 },
    { "delivered", prepare_small, do_delivered, 1, 0, 0, 1 },
    { "deferred", prepare_small, do_deferred, 1, 1, 0, 0 },
    { "one of two delivered", prepare_several, do_delivered, 1, 1, 0, 0 },
    { "deferred, large", prepare_large, do_deferred, 1, 1, 0, 0 },
    { "failed, with a report", prepare_small, do_failed, 1, 1, 1, 0 },
    { "one of two failed, with a report", prepare_several, do_failed, 1, 2, 1, 0 },
    { "failed, with a long report", prepare_large, do_failed_long, 1, 1, 1, 0 },
};

/* Reads every message that is queued: they are whole. How many there are. */
static size_t read_all_mails(struct place *p)
{
    size_t n = claim_batches(p, start_ms + 100 * (int64_t)DAY_MS, batches, BATCHES_MAX);
    for (size_t i = 0; i < n; i++) check_batch(p, batches[i]);
    release_all(p, batches, n);
    return spool_count(p->spool);
}

/* The deed, with call n failing, and all behind it if fail_on. 0 when there is no such call. */
static int fail_at(const struct deed *deed, int n, int error, int fail_on, unsigned group_min)
{
    struct place p;
    place_init(&p);
    p.settings.group_min = group_min;
    place_open(&p);
    if (deed->prepare != NULL) assert_int_equal(deed->prepare(&p), EHLO_OK);
    watch.fail_at = n;
    watch.fail_on = fail_on;
    watch.error = error;
    watch.write_max = 100000;
    watch_calls(1);
    int result = deed->act(&p);
    watch_calls(0);
    watch.write_max = 0;
    int reached = watch.calls >= n;
    if (!reached || !deed->may_succeed) assert_int_equal(result == EHLO_OK, !reached);
    if (result != EHLO_OK) assert_int_equal(result, spool_result(error));
    for (int again = 0; again <= 1; again++) {
        size_t count = read_all_mails(&p);
        size_t wanted = result == EHLO_OK ? deed->after : deed->before;
        /* what could not be undone may be found done, never half: a file that was removed, a record on a dead disk */
        int done = result != EHLO_OK && (deed->removes || (fail_on && again)) && count == deed->after;
        if (count == wanted || done) {
            place_reopen(&p);
            continue;
        }
        fail_msg("%s: call %d%s fails (%d, group_min %u): %d, then %zu messages in place of %zu", deed->name, n,
                 fail_on ? " and more" : "", error, group_min, result, count, wanted);
    }
    assert_int_equal(count_files(&p, "tmp"), 0);
    assert_int_equal(count_files(&p, "corrupt"), 0);
    place_end(&p);
    return reached;
}

/* [Q08] */
static void whichever_call_fails_all_of_it_fails_and_nothing_is_half_done(void **state)
{
    static const int errors[] = { EIO, ENOSPC, EDQUOT };
    (void)state;
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        for (size_t e = 0; e < 3; e++) {
            for (int how = 0; how < 4; how++) {
                int n = 1;
                while (fail_at(&deeds[i], n, errors[e], how & 1, how & 2 ? 1 : UINT32_MAX)) n++;
                assert_true(n > 2); /* it did go through the calls */
            }
        }
    }
}

/* A disk that is full has a reply of its own. [Q08] */
static void a_full_disk_is_told_from_one_that_fails(void **state)
{
    (void)state;
    assert_int_equal(spool_result(ENOSPC), EHLO_ERR_FULL);
    assert_int_equal(spool_result(EDQUOT), EHLO_ERR_FULL);
    assert_int_equal(spool_result(EIO), EHLO_ERR_SYSTEM);
}

/* A record that failed may be tried again: the second time it holds, and the reports are the ones of the first. */
static void what_failed_once_is_recorded_by_the_second_attempt(void **state)
{
    static const struct {
        const struct mail *mail;
        ehlo_state state;
        const struct mail *report;
        size_t after;
    } table[] = {
        { &small, EHLO_STATE_DELIVERED, NULL, 0 }, { &small, EHLO_STATE_QUEUED, NULL, 1 },
        { &small, EHLO_STATE_FAILED, &report, 1 }, { &several, EHLO_STATE_FAILED, &report, 2 },
        { &several, EHLO_STATE_QUEUED, NULL, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (int n = 1, reached = 1; reached; n++) {
            struct place p;
            place_make(&p);
            assert_int_equal(accept_mail(&p, table[i].mail, NULL), EHLO_OK);
            assert_int_equal(claim_batches(&p, start_ms + DAY_MS, batches, 1), 1);
            void *message = table[i].report == NULL ? NULL : write_mail(&p, table[i].report, 50000);
            watch.fail_at = n;
            watch.error = EIO;
            watch_calls(1);
            int result = record_batch(&p, batches[0], table[i].state, message, NULL);
            reached = watch.calls >= n;
            watch_calls(0);
            batches[0]->attempt = 0;
            if (result != EHLO_OK) result = record_batch(&p, batches[0], table[i].state, message, NULL);
            assert_int_equal(result, EHLO_OK);
            spool_store.release(p.spool, batches[0]);
            assert_int_equal(read_all_mails(&p), table[i].after);
            place_reopen(&p);
            assert_int_equal(read_all_mails(&p), table[i].after);
            size_t left = claim_batches(&p, start_ms + 100 * (int64_t)DAY_MS, batches, BATCHES_MAX);
            for (size_t k = 0; k < left; k++) {
                int deferred = table[i].state == EHLO_STATE_QUEUED && batch_destination(batches[k]) == 0;
                assert_int_equal(batches[k]->attempt, deferred);
            }
            release_all(&p, batches, left);
            place_end(&p);
        }
    }
}

/* What a record left that could neither be made nor taken back is cut off before the next one, which may be shorter. */
static void the_rest_of_a_record_is_cut_off(void **state)
{
    (void)state;
    for (int n = 2; n <= 7; n++) { /* from here on, up to its sync, nothing works */
        struct place p;
        ehlo_progress progress = { .next_try = start_ms, .attempt = 1 };
        struct call call;
        place_make(&p);
        assert_int_equal(accept_mail(&p, &several, NULL), EHLO_OK);
        assert_int_equal(claim_batches(&p, start_ms + DAY_MS, batches, 1), 1);
        watch.fail_at = n;
        watch.fail_on = 1;
        watch.error = EIO;
        watch.write_max = 50;
        watch_calls(1);
        assert_int_equal(record_batch(&p, batches[0], EHLO_STATE_QUEUED, NULL, NULL), EHLO_ERR_SYSTEM);
        watch_calls(0);
        batches[0]->nrcpts = 1;
        batches[0]->rcpts[0].text_len = 0;
        call_begin(&call);
        assert_int_equal(call_end(&call, spool_store.record(p.spool, batches[0], &progress, NULL, 0, &call.pending)),
                         EHLO_OK);
        release_all(&p, batches, 1);
        place_reopen(&p);
        assert_int_equal(read_all_mails(&p), 1);
        assert_int_equal(count_files(&p, "corrupt"), 0);
        place_end(&p);
    }
}

/* An octet that a sync has lost is not brought back by another sync: the file is given up. */
static void a_sync_that_failed_is_not_tried_again(void **state)
{
    static const char *const calls[] = { "fdatasync", "syncfs" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct place p;
        place_init(&p);
        p.settings.group_min = i == 0 ? UINT32_MAX : 1;
        place_open(&p);
        watch.only = calls[i];
        watch.fail_at = 1;
        watch.error = EIO;
        watch_calls(1);
        assert_int_equal(accept_mail(&p, &small, NULL), EHLO_ERR_SYSTEM);
        watch_calls(0);
        assert_int_equal(watch.calls, 1);
        assert_int_equal(count_files(&p, "tmp"), 0);
        assert_int_equal(count_files(&p, "queue"), 0);
        assert_int_equal(accept_mail(&p, &small, NULL), EHLO_OK);
        place_end(&p);
    }
}

/* syncfs tells of a lost octet once, to whoever asks next: a file that is being written meanwhile has to be asked itself. */
static void a_file_that_lost_octets_while_others_were_synced_is_not_accepted(void **state)
{
    struct place p;
    struct call call;
    (void)state;
    place_init(&p);
    p.settings.group_min = 1;
    place_open(&p);
    void *message = write_mail(&p, &large, 50000); /* some of it is in its file */
    watch.only = "syncfs";
    watch.fail_at = 1;
    watch.error = EIO;
    watch_calls(1);
    assert_int_equal(accept_mail(&p, &small, NULL), EHLO_ERR_SYSTEM);
    watch_calls(0);
    watch.only = "range"; /* now syncfs finds nothing wrong any more, but the file knows */
    watch.calls = 0;
    watch_calls(1);
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.commit(p.spool, message, &call.pending)), EHLO_ERR_SYSTEM);
    watch_calls(0);
    assert_int_equal(watch.calls, 1);
    assert_int_equal(read_all_mails(&p), 0);
    assert_int_equal(count_files(&p, "queue"), 0);
    place_end(&p);
}

/* One call for all is good enough only where it promises as much as one for each. */
static void all_are_synced_together_only_where_that_is_a_promise(void **state)
{
    static const struct {
        const char *release;
        long file_system;
        int together;
    } rows[] = {
        { "5.17.0", EXT4_SUPER_MAGIC, 1 },      { "5.16.20-generic", EXT4_SUPER_MAGIC, 0 },
        { "4.19", XFS_SUPER_MAGIC, 0 },         { "6.0.1", XFS_SUPER_MAGIC, 1 },
        { "10.2", (long)BTRFS_SUPER_MAGIC, 1 }, { "", EXT4_SUPER_MAGIC, 0 },
        { "6.1", 0x65735546 /* FUSE */, 0 },    { "6.1", NFS_SUPER_MAGIC, 0 },
        { "6", EXT4_SUPER_MAGIC, 1 },           { "6.1", OVERLAYFS_SUPER_MAGIC, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct place p;
        place_init(&p);
        p.settings.group_min = 1;
        watch.release = rows[i].release;
        watch.file_system = rows[i].file_system;
        place_open(&p);
        watch.only = "syncfs";
        watch_calls(1);
        assert_int_equal(accept_mail(&p, &small, NULL), EHLO_OK);
        watch_calls(0);
        if ((watch.calls > 0) != rows[i].together) fail_msg("%s, %lx", rows[i].release, rows[i].file_system);
        place_end(&p);
    }
}

/* Without a descriptor nothing is wrong with the message: a second later there may be one. */
static void for_want_of_a_descriptor_a_message_waits_for_a_second(void **state)
{
    static const int errors[] = { EMFILE, ENFILE };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct place p;
        place_make(&p);
        assert_int_equal(accept_mail(&p, &small, NULL), EHLO_OK);
        watch.only = "open";
        watch.fail_at = 1;
        watch.error = errors[i];
        watch_calls(1);
        assert_int_equal(claim_batches(&p, start_ms + 1000, batches, 1), 0);
        watch_calls(0);
        assert_int_equal(claim_batches(&p, start_ms + 1999, batches, 1), 0);
        assert_int_equal(claim_batches(&p, start_ms + 2000, batches, 1), 1);
        release_all(&p, batches, 1);
        place_end(&p);
    }
}

/* A disk that is full is emptied by delivering: the spool starts. */
static void a_full_disk_keeps_nobody_from_starting(void **state)
{
    struct place p;
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &small, NULL), EHLO_OK);
    for (int i = 0; i < 5; i++) {
        place_close(&p);
        watch.only = "create"; /* nothing new has room; what there is may be overwritten */
        watch.calls = 0;
        watch.fail_at = 3; /* the lock, and the generation, are there */
        watch.fail_on = 1;
        watch.error = ENOSPC;
        watch_calls(1);
        place_open(&p);
        watch_calls(0);
        assert_int_equal(p.spool->next_id >> 40, i + 2);
        assert_int_equal(read_all_mails(&p), 1);
    }
    char path[256];
    struct stat status;
    snprintf(path, sizeof path, "%s/generation", p.dir);
    assert_int_equal(stat(path, &status), 0);
    assert_in_range(status.st_size, 1, 1024);
    place_end(&p);
}

/* One message of a group fails alone where files are synced one by one; together, all do. */
static void a_group_fails_as_far_as_its_sync_did(void **state)
{
    (void)state;
    for (int together = 0; together <= 1; together++) {
        struct place p;
        struct call calls[6];
        size_t failed = 0;
        place_init(&p);
        p.settings.group_min = together ? 1 : UINT32_MAX;
        place_open(&p);
        watch.only = together ? "syncfs" : "fdatasync";
        watch.fail_at = 1;
        watch.error = EIO;
        watch_calls(1);
        for (int i = 0; i < 6; i++) {
            struct mail mail = { i, 10, 1, 1 };
            void *message = write_mail(&p, &mail, 10);
            call_begin(&calls[i]);
            assert_int_equal(spool_store.commit(p.spool, message, &calls[i].pending), EHLO_LATER);
        }
        for (int i = 0; i < 6; i++) failed += call_end(&calls[i], EHLO_LATER) != EHLO_OK;
        watch_calls(0);
        assert_true(failed >= 1);
        if (!together) assert_int_equal(failed, 1);
        assert_int_equal(read_all_mails(&p), 6 - failed);
        assert_int_equal(count_files(&p, "queue"), 6 - failed);
        place_end(&p);
    }
}

/* A file that cannot be read for now stays where it is, and is tried again later. */
static void what_cannot_be_read_is_claimed_later(void **state)
{
    static const char *const calls[] = { "open", "stat", "read" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct place p;
        place_make(&p);
        assert_int_equal(accept_mail(&p, &small, NULL), EHLO_OK);
        watch.only = calls[i];
        watch.fail_at = 1;
        watch.error = EIO;
        watch_calls(1);
        assert_int_equal(claim_batches(&p, start_ms + 1000, batches, 1), 0);
        assert_int_equal(claim_batches(&p, start_ms + 2000, batches, 1), 0);
        watch_calls(0);
        assert_int_equal(watch.calls, 1);
        assert_int_equal(claim_batches(&p, start_ms + 3600000, batches, 1), 1);
        assert_int_equal(check_batch(&p, batches[0]), 1);
        release_all(&p, batches, 1);
        assert_int_equal(spool_count(p.spool), 1);
        place_end(&p);
    }
}

/* The body fails for now: an error, and it may be asked for again. */
static void a_body_that_cannot_be_read_may_be_asked_for_again(void **state)
{
    struct place p;
    char *content = malloc(large.len);
    size_t len = 0;
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &large, NULL), EHLO_OK);
    assert_int_equal(claim_batches(&p, start_ms + 1000, batches, 1), 1);
    for (int n = 1; n <= 3; n++) {
        watch.only = "read";
        watch.calls = 0;
        watch.fail_at = n;
        watch.error = EIO;
        watch_calls(1);
        assert_int_equal(read_body(&p, batches[0], content, large.len, &len), EHLO_ERR_SYSTEM);
        watch_calls(0);
        assert_int_equal(check_batch(&p, batches[0]), large.number);
    }
    release_all(&p, batches, 1);
    assert_int_equal(count_files(&p, "corrupt"), 0);
    place_end(&p);
    free(content);
}

/* Opening: no failing call leaves anything locked or lost. */
static void a_start_that_fails_can_be_repeated(void **state)
{
    int n = 1;
    (void)state;
    for (int reached = 1; reached; n++) {
        struct place p;
        place_make(&p);
        assert_int_equal(accept_mail(&p, &small, NULL), EHLO_OK);
        assert_int_equal(accept_mail(&p, &large, NULL), EHLO_OK);
        place_close(&p);
        watch.fail_at = n;
        watch.error = EIO;
        watch_calls(1);
        int error = place_try(&p);
        watch_calls(0);
        reached = watch.calls >= n;
        assert_true(error == 0 || error == EIO);
        if (error == 0) place_close(&p);
        place_open(&p);
        assert_int_equal(read_all_mails(&p), 2);
        place_end(&p);
    }
    assert_true(n > 10);
}

/* Everything again, without memory for one allocation after the other. */
static int fail_memory(const struct deed *deed, int n)
{
    struct place p;
    place_make(&p);
    if (deed->prepare != NULL) assert_int_equal(deed->prepare(&p), EHLO_OK);
    watch.allocations = 0;
    watch.fail_memory = n;
    watch_calls(1);
    int result = deed->act(&p);
    watch_calls(0);
    int reached = watch.allocations >= n;
    if (!reached) assert_int_equal(result, EHLO_OK);
    assert_int_equal(read_all_mails(&p), result == EHLO_OK ? deed->after : deed->before);
    place_reopen(&p);
    assert_int_equal(read_all_mails(&p), result == EHLO_OK ? deed->after : deed->before);
    place_end(&p);
    return reached;
}

static void without_memory_nothing_is_half_done(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof deeds / sizeof *deeds; i++) {
        int n = 1;
        while (fail_memory(&deeds[i], n)) n++;
    }
}

/* Somebody removes a file by hand. */
static void a_message_whose_file_vanished_is_forgotten(void **state)
{
    struct place p;
    char path[256];
    (void)state;
    for (int claimed = 0; claimed <= 1; claimed++) {
        place_make(&p);
        assert_int_equal(accept_mail(&p, &small, NULL), EHLO_OK);
        if (claimed) assert_int_equal(claim_batches(&p, start_ms + 1000, batches, 1), 1);
        snprintf(path, sizeof path, "%s/queue/%016llx", p.dir, (unsigned long long)p.spool->next_id - 1);
        assert_int_equal(unlink(path), 0);
        if (claimed) {
            assert_int_equal(record_batch(&p, batches[0], EHLO_STATE_QUEUED, NULL, NULL), EHLO_ERR_STALE);
            release_all(&p, batches, 1);
        }
        assert_int_equal(claim_batches(&p, start_ms + DAY_MS, batches, 1), 0);
        assert_int_equal(spool_count(p.spool), 0);
        assert_int_equal(watch.problems, 1);
        place_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whichever_call_fails_all_of_it_fails_and_nothing_is_half_done),
        cmocka_unit_test(a_full_disk_is_told_from_one_that_fails),
        cmocka_unit_test(what_failed_once_is_recorded_by_the_second_attempt),
        cmocka_unit_test(the_rest_of_a_record_is_cut_off),
        cmocka_unit_test(a_sync_that_failed_is_not_tried_again),
        cmocka_unit_test(a_file_that_lost_octets_while_others_were_synced_is_not_accepted),
        cmocka_unit_test(all_are_synced_together_only_where_that_is_a_promise),
        cmocka_unit_test(for_want_of_a_descriptor_a_message_waits_for_a_second),
        cmocka_unit_test(a_full_disk_keeps_nobody_from_starting),
        cmocka_unit_test(a_group_fails_as_far_as_its_sync_did),
        cmocka_unit_test(what_cannot_be_read_is_claimed_later),
        cmocka_unit_test(a_body_that_cannot_be_read_may_be_asked_for_again),
        cmocka_unit_test(a_start_that_fails_can_be_repeated),
        cmocka_unit_test(without_memory_nothing_is_half_done),
        cmocka_unit_test(a_message_whose_file_vanished_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
