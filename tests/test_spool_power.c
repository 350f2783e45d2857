/* relay's spool and the power: whatever was on its way to the disk when it failed, what was answered for is there. */
#include "spool_watch.h"

/* -- what is left on a disk ----------------------------------------------------------------------------- */

enum loss { ALL_LOST, ALL_KEPT, SOME_LOST };

struct file {
    char *bytes;
    size_t len;
};

/* A name that may be on the disk. */
struct left {
    int folder;
    int inode;
    char name[NAME_SIZE];
};

/* How much of a change has come to the disk. Half of a move is the new name, without the old one gone. */
enum extent { NOTHING, HALF, WHOLE };

/* A disk: what is there for sure, and what may be. */
struct disk {
    struct file files[INODES_MAX];
    struct left names[INODES_MAX];
    size_t nnames;
    int folders[FOLDERS_MAX];
    const struct entry **pending;
    enum extent *extents;
    size_t npending;
};

static uint32_t coin_state;

static int coin(void)
{
    coin_state = coin_state * 1664525 + 1013904223;
    return (int)(coin_state >> 16 & 1);
}

static void file_resize(struct file *f, size_t len)
{
    if (len == f->len) return;
    f->bytes = realloc(f->bytes, len + 1);
    if (len > f->len) memset(f->bytes + f->len, 0, len - f->len);
    f->len = len;
}

static void put_name(struct disk *d, int folder, const char *name, int inode)
{
    size_t i = 0;
    while (i < d->nnames && (d->names[i].folder != folder || strcmp(d->names[i].name, name) != 0)) i++;
    if (i == d->nnames) d->nnames++;
    d->names[i].folder = folder;
    d->names[i].inode = inode;
    snprintf(d->names[i].name, NAME_SIZE, "%s", name);
}

static void drop_left(struct disk *d, int folder, const char *name, int inode)
{
    for (size_t i = 0; i < d->nnames; i++) {
        struct left *l = &d->names[i];
        if (l->folder != folder || l->inode != inode || strcmp(l->name, name) != 0) continue;
        *l = d->names[--d->nnames];
        return;
    }
}

static void move_left(struct disk *d, const struct entry *e, enum extent before, enum extent now)
{
    if (before == NOTHING) put_name(d, e->to, e->to_name, e->inode);
    if (now == WHOLE) drop_left(d, e->folder, e->name, e->inode);
}

/* A change comes to the disk; of what is written, half of it may. */
static void apply(struct disk *d, const struct entry *e, enum extent before, enum extent now)
{
    struct file *f = &d->files[e->inode > 0 ? e->inode : 0];
    size_t len = now == WHOLE ? e->len : e->len / 2;
    switch (e->change) {
    case MADE:
        put_name(d, e->folder, e->name, e->inode);
        break;
    case WRITTEN:
        if (len == 0) break;
        if (e->at + len > f->len) file_resize(f, e->at + len);
        memcpy(f->bytes + e->at, e->bytes, len);
        break;
    case CUT:
        file_resize(f, e->at);
        break;
    case MOVED:
        move_left(d, e, before, now);
        break;
    case REMOVED:
        drop_left(d, e->folder, e->name, e->inode);
        break;
    case FOLDER_MADE:
        d->folders[e->folder] = 1;
        break;
    default:
        break;
    }
}

static int is_of_file(const struct entry *e)
{
    return e->change == WRITTEN || e->change == CUT;
}

static int is_of_folder(const struct entry *e, int folder)
{
    if (is_of_file(e)) return 0;
    if (e->change == FOLDER_MADE) return folder == ROOT;
    return e->folder == folder || (e->change == MOVED && e->to == folder);
}

/* What `sync` promises is there from now on. A folder that has the new name of a file may be synced before the one that
 * has the old one: that may come back. */
static void settle_pending(struct disk *d, const struct entry *sync)
{
    for (size_t i = 0; i < d->npending; i++) {
        const struct entry *e = d->pending[i];
        enum extent before = d->extents[i];
        int wanted = sync->change == ALL_SYNCED ||
                     (sync->change == SYNCED && is_of_file(e) && e->inode == sync->inode) ||
                     (sync->change == FOLDER_SYNCED && is_of_folder(e, sync->folder));
        if (before == WHOLE || !wanted) continue;
        int half = sync->change == FOLDER_SYNCED && e->change == MOVED && e->folder != sync->folder;
        d->extents[i] = half ? HALF : WHOLE;
        if (d->extents[i] != before) apply(d, e, before, d->extents[i]);
    }
}

static void lose_power(struct disk *d, enum loss loss)
{
    for (size_t i = 0; i < d->npending && loss != ALL_LOST; i++) {
        if (d->extents[i] == WHOLE || (loss == SOME_LOST && coin())) continue;
        apply(d, d->pending[i], d->extents[i], loss == SOME_LOST && coin() ? HALF : WHOLE);
    }
}

/* The disk after the first n entries of a log. */
static void play(struct disk *d, const struct entry *log, size_t n, enum loss loss)
{
    d->pending = calloc(n + 1, sizeof(struct entry *));
    d->extents = calloc(n + 1, sizeof *d->extents);
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &log[i];
        if (e->change == SYNCED || e->change == FOLDER_SYNCED || e->change == ALL_SYNCED) {
            settle_pending(d, e);
        } else {
            d->pending[d->npending++] = e;
        }
    }
    lose_power(d, loss);
    free(d->pending);
    free(d->extents);
    d->pending = NULL;
    d->extents = NULL;
    d->npending = 0;
}

static void put_file(const char *path, const struct file *f)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (f->len > 0) assert_int_equal(fwrite(f->bytes, 1, f->len, file), f->len);
    assert_int_equal(fclose(file), 0);
}

/* The disk as a folder. */
static void put_disk(const struct disk *d, const char *dir)
{
    char path[256];
    assert_int_equal(mkdir(dir, 0700), 0);
    for (int i = 1; i < FOLDERS_MAX; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, i < 5 ? folder_names[i] : "");
        if (d->folders[i]) assert_int_equal(mkdir(path, 0700), 0);
    }
    for (size_t i = 0; i < d->nnames; i++) {
        const struct left *l = &d->names[i];
        if (l->folder != ROOT && !d->folders[l->folder]) continue;
        snprintf(path, sizeof path, "%s/%s/%s", dir, folder_names[l->folder], l->name);
        put_file(path, &d->files[l->inode]);
    }
}

static void disk_free(struct disk *d)
{
    for (size_t i = 0; i < INODES_MAX; i++) free(d->files[i].bytes);
    memset(d, 0, sizeof *d);
}

/* -- what was done, and when it was answered ------------------------------------------------------------- */

enum { MAILS = 12, EVENTS_MAX = 64, ACCEPTED = -1 };

/* What happened to a destination of a message, or to all of it: it was accepted. The log had so many entries before, and
 * when it was answered. */
struct event {
    int mail;
    int destination;
    ehlo_state state;
    int report; /* the message that was queued with it; 0: none */
    size_t began;
    size_t ended;
};

static struct event events[EVENTS_MAX];
static size_t nevents;

static const struct mail mails[MAILS] = {
    { 0, 0, 0, 0 },      { 1, 700, 1, 1 }, { 2, 1000, 5, 3 }, { 3, 300000, 2, 1 }, { 4, 2000, 1, 1 }, { 5, 100, 1, 1 },
    { 6, 270000, 1, 1 }, { 7, 50, 2, 2 },  { 8, 600, 2, 2 },  { 9, 400, 1, 1 },    { 10, 500, 2, 2 }, { 11, 300, 1, 1 },
};

static void note_event(int mail, int destination, ehlo_state state, int report, const struct call *call)
{
    assert_int_equal(call->result, EHLO_OK);
    assert_true(nevents < EVENTS_MAX);
    struct event e = { mail, destination, state, report, call->began, call->ended };
    events[nevents++] = e;
}

static void do_accept(struct place *p, int mail)
{
    struct call call;
    size_t began = watch.n;
    assert_int_equal(accept_mail(p, &mails[mail], &call), EHLO_OK);
    call.began = began;
    note_event(mail, ACCEPTED, EHLO_STATE_QUEUED, 0, &call);
}

/* Several at once: they are synced together. */
static void do_accept_all(struct place *p, int first, int last)
{
    struct call calls[MAILS];
    size_t began = watch.n;
    void *messages[MAILS];
    for (int i = first; i <= last; i++) messages[i] = write_mail(p, &mails[i], 70000);
    for (int i = first; i <= last; i++) {
        call_begin(&calls[i]);
        assert_int_equal(spool_store.commit(p->spool, messages[i], &calls[i].pending), EHLO_LATER);
    }
    for (int i = first; i <= last; i++) {
        call_end(&calls[i], EHLO_LATER);
        calls[i].began = began;
        note_event(i, ACCEPTED, EHLO_STATE_QUEUED, 0, &calls[i]);
    }
}

/* Claims everything, and records one batch of it; the rest is given back. */
static void do_record(struct place *p, int mail, int destination, ehlo_state state, int report)
{
    ehlo_batch *batches[BATCHES_MAX];
    struct call call;
    size_t began = watch.n;
    int found = 0;
    void *message = report == 0 ? NULL : write_mail(p, &mails[report], 90000);
    size_t n = claim_batches(p, start_ms + 10 * (int64_t)DAY_MS, batches, BATCHES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (check_batch(p, batches[i]) != mail || batch_destination(batches[i]) != destination) continue;
        found++;
        assert_int_equal(record_batch(p, batches[i], state, message, &call), EHLO_OK);
    }
    release_all(p, batches, n);
    assert_int_equal(found, 1);
    call.began = began;
    note_event(mail, destination, state, report, &call);
}

/* Results for all destinations of a message at once. */
static void do_record_all(struct place *p, int mail, ehlo_state state)
{
    static ehlo_progress progress = { .next_try = EHLO_NEVER, .attempt = 1 };
    ehlo_batch *batches[BATCHES_MAX];
    struct call calls[BATCHES_MAX];
    size_t began = watch.n;
    size_t n = claim_batches(p, start_ms + 10 * (int64_t)DAY_MS, batches, BATCHES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (check_batch(p, batches[i]) != mail) continue;
        set_states(batches[i], state);
        call_begin(&calls[i]);
        assert_int_equal(spool_store.record(p->spool, batches[i], &progress, NULL, 0, &calls[i].pending), EHLO_LATER);
    }
    for (size_t i = 0; i < n; i++) {
        if (check_batch(p, batches[i]) != mail) continue;
        call_end(&calls[i], EHLO_LATER);
        calls[i].began = began;
        note_event(mail, batch_destination(batches[i]), state, 0, &calls[i]);
    }
    release_all(p, batches, n);
}

/* The record is made, but its report cannot be moved: the next start does that. */
static void do_record_and_not_move(struct place *p, int mail, int report)
{
    watch.only = "rename";
    watch.fail_at = 1;
    watch.error = EIO;
    watch_calls(1);
    do_record(p, mail, 0, EHLO_STATE_FAILED, report);
    watch_calls(0);
    assert_int_equal(watch.calls, 1);
    place_reopen(p);
}

/* The record cannot be synced, nor taken back. Who opens the spool then finds it, and relies on it: from there on it has
 * to be on disk. */
static void do_record_unsynced(struct place *p, int mail, int report)
{
    ehlo_batch *batches[BATCHES_MAX];
    struct call call;
    size_t began = watch.n;
    void *message = write_mail(p, &mails[report], 90000);
    size_t n = claim_batches(p, start_ms + 10 * (int64_t)DAY_MS, batches, BATCHES_MAX);
    watch.only = NULL;
    watch.calls = 0;
    watch.fail_at = 9; /* the report was written and synced, and the record written */
    watch.fail_on = 1;
    for (size_t i = 0; i < n; i++) {
        if (check_batch(p, batches[i]) != mail || batch_destination(batches[i]) != 0) continue;
        watch_calls(1);
        assert_int_equal(record_batch(p, batches[i], EHLO_STATE_FAILED, message, &call), EHLO_ERR_SYSTEM);
        watch_calls(0);
    }
    release_all(p, batches, n);
    spool_store.discard(p->spool, message);
    assert_int_equal(watch.log[watch.n - 1].change, WRITTEN);
    place_reopen(p);
    call.began = began;
    call.ended = watch.n;
    call.result = EHLO_OK;
    note_event(mail, 0, EHLO_STATE_FAILED, report, &call);
}

/* A life of the spool. */
static void live(struct place *p)
{
    do_accept(p, 1);
    do_accept_all(p, 2, 3);
    do_record(p, 2, 0, EHLO_STATE_QUEUED, 0);
    do_record(p, 1, 0, EHLO_STATE_DELIVERED, 0);
    do_record(p, 2, 1, EHLO_STATE_FAILED, 5);
    do_record(p, 5, 0, EHLO_STATE_QUEUED, 0);
    do_record(p, 5, 0, EHLO_STATE_DELIVERED, 0);
    place_reopen(p);
    do_record(p, 2, 0, EHLO_STATE_QUEUED, 0);
    do_record(p, 3, 0, EHLO_STATE_EXPIRED, 6);
    do_accept(p, 4);
    do_record(p, 2, 2, EHLO_STATE_DELIVERED, 0);
    do_record(p, 2, 0, EHLO_STATE_DELIVERED, 0);
    do_accept(p, 7);
    do_record_all(p, 7, EHLO_STATE_DELIVERED);
    place_reopen(p);
    do_record(p, 6, 0, EHLO_STATE_QUEUED, 0);
    do_accept(p, 8);
    do_record_and_not_move(p, 8, 9);
    do_record(p, 9, 0, EHLO_STATE_DELIVERED, 0);
    do_accept(p, 10);
    do_record_unsynced(p, 10, 11);
}

/* -- what has to be there ------------------------------------------------------------------------------- */

/* What was found of a destination: the number of its attempts, or that nothing is left to do. */
enum { GONE = -1 };
static int found[MAILS][RCPTS_MAX];

static void look(struct place *p)
{
    ehlo_batch *batches[BATCHES_MAX];
    for (int i = 0; i < MAILS; i++) {
        for (int k = 0; k < RCPTS_MAX; k++) found[i][k] = GONE;
    }
    size_t n = claim_batches(p, start_ms + 100 * (int64_t)DAY_MS, batches, BATCHES_MAX);
    for (size_t i = 0; i < n; i++) {
        int mail = check_batch(p, batches[i]);
        int destination = batch_destination(batches[i]);
        assert_int_equal(found[mail][destination], GONE); /* not twice */
        found[mail][destination] = (int)batches[i]->attempt;
        for (size_t k = 0; k < batches[i]->nrcpts; k++) {
            assert_int_equal(batches[i]->rcpts[k].text_len > 0, batches[i]->attempt > 0);
        }
    }
    release_all(p, batches, n);
}

/* Of the records of a destination, how many were begun, and answered for, when the power failed. */
static void count_records(int mail, int destination, size_t cut, int *begun, int *answered)
{
    *begun = *answered = 0;
    for (size_t i = 0; i < nevents; i++) {
        if (events[i].mail != mail || events[i].destination != destination) continue;
        *begun += events[i].began < cut;
        *answered += events[i].ended <= cut;
    }
}

/* What there is to be found when so many records have come to the disk. */
static int expected(int mail, int destination, int records)
{
    int n = 0;
    if (records == 0) return 0;
    for (size_t i = 0; i < nevents; i++) {
        if (events[i].mail != mail || events[i].destination != destination || ++n < records) continue;
        return events[i].state == EHLO_STATE_QUEUED ? n : GONE;
    }
    return GONE;
}

/* How many records have come to the disk, as it seems; -1: no number that may be. */
static int records_found(int mail, int destination, size_t cut)
{
    int begun;
    int answered;
    count_records(mail, destination, cut, &begun, &answered);
    for (int n = answered; n <= begun; n++) {
        if (found[mail][destination] == expected(mail, destination, n)) return n;
    }
    return -1;
}

/* 1 if record number `record` of that event's destination is the one. */
static int is_recorded(const struct event *event, size_t cut)
{
    int number = 0;
    for (const struct event *e = events; e <= event; e++) {
        number += e->mail == event->mail && e->destination == event->destination;
    }
    return records_found(event->mail, event->destination, cut) >= number;
}

/* 1: the message was queued; 0: it was not; -1: either may be. */
static int was_queued(int mail, size_t cut)
{
    for (size_t i = 0; i < nevents; i++) {
        if (events[i].report == mail) return is_recorded(&events[i], cut); /* then, and only then */
        if (events[i].mail != mail || events[i].destination != ACCEPTED) continue;
        return events[i].ended <= cut ? 1 : events[i].began < cut ? -1 : 0;
    }
    return 0;
}

static int is_absent(int mail)
{
    for (size_t k = 0; k < mails[mail].ndestinations; k++) {
        if (found[mail][k] != GONE) return 0;
    }
    return 1;
}

static void check_mail(int mail, size_t cut)
{
    int queued = was_queued(mail, cut);
    if (queued <= 0 && is_absent(mail)) return;
    if (queued == 0) fail_msg("mail %d is there, after %zu changes", mail, cut);
    for (size_t k = 0; k < mails[mail].ndestinations; k++) {
        if (records_found(mail, (int)k, cut) >= 0) continue;
        fail_msg("mail %d, destination %zu: %d, after %zu changes", mail, k, found[mail][k], cut);
    }
}

static void check_place(struct place *p, size_t cut)
{
    look(p);
    for (int i = 1; i < MAILS; i++) check_mail(i, cut);
    assert_int_equal(count_files(p, "tmp"), 0);
    assert_int_equal(count_files(p, "corrupt"), 0);
    assert_int_equal(watch.problems, 0);
}

/* -- every instant -------------------------------------------------------------------------------------- */

/* The log of a life, kept apart. */
struct story {
    struct entry *log;
    size_t n;
};

static struct story take_story(void)
{
    struct story story = { watch.log, watch.n };
    watch.log = NULL;
    watch.n = watch.room = 0;
    return story;
}

static void story_free(struct story *story)
{
    for (size_t i = 0; i < story->n; i++) free(story->log[i].bytes);
    free(story->log);
}

/* The files of a folder on a disk are inodes of the log that is to come. */
static void name_inodes(const struct disk *d)
{
    watch.nnames = 0;
    watch.inodes = INODES_MAX / 2; /* of what was there before: at most as many */
    for (size_t i = 0; i < d->nnames; i++) {
        struct name *n = &watch.names[watch.nnames++];
        n->folder = d->names[i].folder;
        n->inode = d->names[i].inode;
        memcpy(n->name, d->names[i].name, NAME_SIZE);
        assert_in_range(n->inode, 1, INODES_MAX / 2);
    }
}

/* What is on the disk, opened. */
static void open_disk(struct place *p, const struct disk *d, const struct place *as)
{
    *p = *as;
    p->spool = NULL;
    snprintf(p->dir, sizeof p->dir, "%.50s-left", as->dir);
    put_disk(d, p->dir);
    watch.problems = 0;
    p->settings.now = start_ms + DAY_MS;
    place_open(p);
}

static void close_disk(struct place *p)
{
    place_close(p);
    remove_tree(p->dir);
}

/* The power fails a second time, while the spool starts: after each of its changes. */
static void fail_again(const struct place *as, const struct disk *first, size_t cut)
{
    struct place p;
    static struct disk second;
    name_inodes(first);
    watch.logging = 1;
    open_disk(&p, first, as);
    watch.logging = 0;
    struct story start = take_story();
    close_disk(&p);
    for (size_t n = 0; n <= start.n; n++) {
        for (enum loss loss = ALL_LOST; loss <= SOME_LOST; loss++) {
            memcpy(&second, first, sizeof second);
            for (size_t i = 0; i < INODES_MAX; i++) {
                if (first->files[i].bytes == NULL) continue;
                second.files[i].bytes = malloc(first->files[i].len + 1);
                memcpy(second.files[i].bytes, first->files[i].bytes, first->files[i].len);
            }
            play(&second, start.log, n, loss);
            open_disk(&p, &second, as);
            check_place(&p, cut);
            close_disk(&p);
            disk_free(&second);
        }
    }
    story_free(&start);
}

/* 1 if a start has more to do there than to sweep: files in tmp/ that a record may name. */
static int has_half_done(const struct disk *d)
{
    size_t in_tmp = 0;
    for (size_t i = 0; i < d->nnames; i++) in_tmp += d->names[i].folder == 2;
    return in_tmp > 0;
}

/* Lives, and then dies after every change, with what was not synced lost, or not. */
static void die_everywhere(unsigned group_min, int again, int random_rounds)
{
    static struct disk disk;
    struct place p;
    struct place left;
    place_init(&p);
    p.settings.group_min = group_min;
    nevents = 0;
    watch.logging = 1;
    place_open(&p);
    live(&p);
    place_close(&p);
    watch.logging = 0;
    struct story story = take_story();
    assert_true(story.n > 70);
    for (size_t cut = 0; cut <= story.n; cut++) {
        for (int round = 0; round < 2 + random_rounds; round++) {
            play(&disk, story.log, cut, round < 2 ? (enum loss)round : SOME_LOST);
            open_disk(&left, &disk, &p);
            check_place(&left, cut);
            close_disk(&left);
            if (again && has_half_done(&disk)) fail_again(&p, &disk, cut);
            disk_free(&disk);
        }
    }
    story_free(&story);
    place_end(&p);
}

/* [C134] [Q07] */
static void a_power_cut_loses_nothing_that_was_answered_for(void **state)
{
    (void)state;
    die_everywhere(UINT32_MAX, 0, 4);
}

/* [C134] [Q07] */
static void nor_where_all_is_synced_together(void **state)
{
    (void)state;
    die_everywhere(1, 0, 4);
}

/* [C134] [Q07] */
static void nor_does_a_second_one_while_the_spool_starts(void **state)
{
    (void)state;
    die_everywhere(UINT32_MAX, 1, 1);
}

/* What the test itself relies on: where a sync is left out, it fails. */
static void a_disk_that_was_not_synced_is_empty(void **state)
{
    static struct disk disk;
    struct place p;
    (void)state;
    place_init(&p);
    watch.logging = 1;
    place_open(&p);
    size_t before = watch.n;
    assert_int_equal(accept_mail(&p, &mails[1], NULL), EHLO_OK);
    size_t syncs = 0;
    for (size_t i = before; i < watch.n; i++) {
        syncs += watch.log[i].change == SYNCED || watch.log[i].change == FOLDER_SYNCED;
        if (watch.log[i].change == SYNCED) {
            assert_int_equal(watch.log[i - 1].change, WRITTEN);
            assert_int_equal(watch.log[i + 1].change, MOVED);
        }
    }
    assert_int_equal(syncs, 2);
    play(&disk, watch.log, watch.n, ALL_LOST);
    assert_int_equal(disk.nnames, 3); /* the lock, the generation, the message */
    disk_free(&disk);
    play(&disk, watch.log, watch.n - 1, ALL_LOST);
    assert_int_equal(disk.nnames, 2);
    disk_free(&disk);
    place_end(&p);
}

static size_t last_change(enum change change, int folder)
{
    size_t found_at = 0;
    for (size_t i = 0; i < watch.n; i++) {
        if (watch.log[i].change == change && watch.log[i].folder == folder) found_at = i;
    }
    return found_at;
}

/* A message goes once the reports on it are in their place for good. */
static void reports_are_on_disk_before_the_message_is_removed(void **state)
{
    struct place p;
    (void)state;
    place_init(&p);
    watch.logging = 1;
    nevents = 0;
    place_open(&p);
    do_accept(&p, 1);
    do_record(&p, 1, 0, EHLO_STATE_FAILED, 5);
    size_t moved_at = last_change(MOVED, 2);
    size_t removed_at = last_change(REMOVED, 1);
    assert_true(moved_at > last_change(SYNCED, -1));
    assert_in_range(last_change(FOLDER_SYNCED, 1), moved_at + 1, removed_at - 1);
    assert_in_range(last_change(FOLDER_SYNCED, 2), moved_at + 1, removed_at - 1);
    place_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_was_not_synced_is_empty),
        cmocka_unit_test(reports_are_on_disk_before_the_message_is_removed),
        cmocka_unit_test(a_power_cut_loses_nothing_that_was_answered_for),
        cmocka_unit_test(nor_where_all_is_synced_together),
        cmocka_unit_test(nor_does_a_second_one_while_the_spool_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
