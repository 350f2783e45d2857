/* relay's spool: what goes in comes out, in which order, who may have it, and what it costs. */
#include "spool_watch.h"

#include <malloc.h>
#include <sys/wait.h>

static ehlo_batch *batches[4096];

static ehlo_claim make_claim(int64_t now, size_t max, size_t destination_max)
{
    ehlo_claim claim = { .now = now,
                         .lease_until = now + 60000,
                         .max = max,
                         .destination_max = destination_max,
                         .batches = batches,
                         .n = 99,
                         .next_due = -1 };
    return claim;
}

static void do_claim(struct place *p, ehlo_claim *claim)
{
    struct call call;
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.claim(p->spool, claim, &call.pending)), EHLO_OK);
}

static int do_renew(struct place *p, ehlo_batch *batch, int64_t until)
{
    struct call call;
    call_begin(&call);
    return call_end(&call, spool_store.renew(p->spool, batch, until, &call.pending));
}

static size_t do_hurry(struct place *p, char option, const char *node)
{
    struct call call;
    size_t n = 0;
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.hurry(p->spool, option, ehlo_str_from(node), &n, &call.pending)),
                     EHLO_OK);
    return n;
}

static void assert_text(ehlo_str text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    if (text.len > 0) assert_memory_equal(text.ptr, expected, text.len);
}

/* A message for one recipient, at `destination`. */
static void put(struct place *p, const char *destination, int64_t arrived, size_t len)
{
    static char content[4096];
    char to[300];
    struct call call;
    void *message = NULL;
    ehlo_str name;
    size_t taken = 0;
    snprintf(to, sizeof to, "b@%s", destination);
    ehlo_recipient rcpt = { .to = ehlo_str_from(to) };
    ehlo_str target = ehlo_str_from(destination);
    ehlo_envelope envelope = { .from = ehlo_str_from("a@x.example"), .rcpts = &rcpt, .nrcpts = 1 };
    ehlo_queued queued = { .envelope = &envelope, .destinations = &target, .arrived = arrived };
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.create(p->spool, &queued, &message, &name, &call.pending)), EHLO_OK);
    assert_int_equal(name.len, 16);
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.append(p->spool, message, content, len, &taken, &call.pending)),
                     EHLO_OK);
    assert_int_equal(taken, len);
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.commit(p->spool, message, &call.pending)), EHLO_OK);
}

/* -- life ------------------------------------------------------------------------------------------------ */

/* [C112] */
static void a_message_comes_out_as_it_went_in_whatever_its_size(void **state)
{
    static const size_t sizes[] = { 0,      1,      63,     1000,   4096,   65000,  65535,  65536,
                                    131072, 200000, 262143, 262144, 262145, 300000, 524288, 1000000 };
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct place p;
        struct mail mail = { (int)i, sizes[i], 1, 1 };
        place_make(&p);
        watch.write_max = 30000;
        assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
        for (int again = 0; again <= 1; again++) {
            assert_int_equal(claim_batches(&p, start_ms + 1000, batches, 5), 1);
            assert_int_equal(check_batch(&p, batches[0]), i);
            assert_int_equal(check_batch(&p, batches[0]), i); /* from 0 once more */
            release_all(&p, batches, 1);
            place_reopen(&p);
        }
        place_end(&p);
    }
}

static void a_body_may_be_asked_for_at_any_offset(void **state)
{
    static const size_t sizes[] = { 1000, 400000 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct place p;
        struct mail mail = { 3, sizes[i], 1, 1 };
        place_make(&p);
        assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
        assert_int_equal(claim_batches(&p, start_ms + 1000, batches, 1), 1);
        uint64_t offset = sizes[i];
        for (int round = 0; round < 200; round++, offset = offset * 7919 % (sizes[i] + 1)) {
            struct call call;
            ehlo_str piece = { NULL, 0 };
            int last = -1;
            call_begin(&call);
            assert_int_equal(
                call_end(&call, spool_store.body(p.spool, batches[0], offset, &piece, &last, &call.pending)), EHLO_OK);
            assert_int_equal(last, offset + piece.len == sizes[i]);
            assert_true(last || piece.len > 0);
            if (piece.len > 0) assert_int_equal(piece.ptr[0], content_of(3)[offset]);
            if (piece.len > 0) assert_int_equal(piece.ptr[piece.len - 1], content_of(3)[offset + piece.len - 1]);
        }
        ehlo_str piece;
        int last;
        struct call call;
        assert_int_equal(spool_store.body(p.spool, batches[0], sizes[i] + 1, &piece, &last, &call.pending),
                         EHLO_ERR_ARG);
        release_all(&p, batches, 1);
        place_end(&p);
    }
}

/* Whatever an envelope may hold is there again, after a restart too. */
static void an_envelope_is_kept_to_the_octet(void **state)
{
    struct place p;
    struct call call;
    void *message = NULL;
    ehlo_str name;
    (void)state;
    place_make(&p);
    ehlo_recipient rcpts[] = {
        { .to = ehlo_str_from("\"a b%20\\\"\"@x.example"),
          .orcpt_type = ehlo_str_from("rfc822"),
          .orcpt = ehlo_str_from("-"),
          .notify = EHLO_NOTIFY_SUCCESS | EHLO_NOTIFY_DELAY },
        { .to = ehlo_str_from("-\xc3\xa9@\xc3\xa9.example"), .params = ehlo_str_from("XFOO=1 X=%") },
        { .to = ehlo_str_from("postmaster"), .orcpt = ehlo_str_from("--"), .notify = EHLO_NOTIFY_NEVER },
    };
    ehlo_str destinations[] = { ehlo_str_from("x.example"), ehlo_str_from("\xc3\xa9.example"),
                                ehlo_str_from("x.example") };
    ehlo_envelope envelope = { .from = ehlo_str_from("-"),
                               .rcpts = rcpts,
                               .nrcpts = 3,
                               .flags = EHLO_SEND_UTF8 | EHLO_SEND_REQUIRETLS,
                               .body = EHLO_BODY_BINARYMIME,
                               .ret = EHLO_RET_HDRS,
                               .envid = ehlo_str_from("id +%41 "),
                               .auth = ehlo_str_from("<>"),
                               .params = ehlo_str_from("X=y") };
    ehlo_queued queued = { .envelope = &envelope, .destinations = destinations, .arrived = -5 };
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.create(p.spool, &queued, &message, &name, &call.pending)), EHLO_OK);
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.commit(p.spool, message, &call.pending)), EHLO_OK);
    for (int again = 0; again <= 1; again++) {
        assert_int_equal(claim_batches(&p, start_ms, batches, 5), 2);
        const ehlo_batch *b = batches[batches[0]->nrcpts == 2 ? 0 : 1];
        const ehlo_batch *other = batches[batches[0]->nrcpts == 2 ? 1 : 0];
        assert_text(b->destination, "x.example");
        assert_text(b->envelope.from, "-");
        assert_text(b->envelope.envid, "id +%41 ");
        assert_text(b->envelope.auth, "<>");
        assert_text(b->envelope.params, "X=y");
        assert_text(b->hello, "");
        assert_int_equal(b->envelope.flags, envelope.flags);
        assert_int_equal(b->envelope.body, EHLO_BODY_BINARYMIME);
        assert_int_equal(b->envelope.ret, EHLO_RET_HDRS);
        assert_int_equal(b->arrived, -5);
        assert_text(b->rcpts[0].rcpt.to, "\"a b%20\\\"\"@x.example");
        assert_text(b->rcpts[0].rcpt.orcpt_type, "rfc822");
        assert_text(b->rcpts[0].rcpt.orcpt, "-");
        assert_int_equal(b->rcpts[0].rcpt.notify, EHLO_NOTIFY_SUCCESS | EHLO_NOTIFY_DELAY);
        assert_text(b->rcpts[1].rcpt.to, "postmaster");
        assert_text(b->rcpts[1].rcpt.orcpt, "--");
        assert_int_equal(b->rcpts[1].rcpt.notify, EHLO_NOTIFY_NEVER);
        assert_text(other->destination, "\xc3\xa9.example");
        assert_text(other->rcpts[0].rcpt.to, "-\xc3\xa9@\xc3\xa9.example");
        assert_text(other->rcpts[0].rcpt.params, "XFOO=1 X=%");
        assert_int_not_equal(b->id, other->id);
        release_all(&p, batches, 2);
        place_reopen(&p);
    }
    place_end(&p);
}

/* A line of the file holds no line end. [Q09] */
static void what_could_break_a_line_is_not_taken(void **state)
{
    static const char *const bad[] = { "a\nb", "a\rb", "\x7f", "a\tb" };
    struct place p;
    (void)state;
    place_make(&p);
    for (size_t i = 0; i < 4; i++) {
        for (int member = 0; member < 8; member++) {
            struct mail mail = { 1, 0, 1, 1 };
            struct envelope_memory m;
            struct call call;
            void *message = NULL;
            ehlo_str name;
            make_envelope(&mail, &m);
            ehlo_str *members[] = { &m.envelope.from, &m.envelope.envid, &m.envelope.auth,   &m.envelope.params,
                                    &m.rcpts[0].to,   &m.rcpts[0].orcpt, &m.destinations[0], &m.queued.hello };
            *members[member] = ehlo_str_from(bad[i]);
            assert_int_equal(spool_store.create(p.spool, &m.queued, &message, &name, &call.pending), EHLO_ERR_ARG);
        }
    }
    place_end(&p);
}

static void recipients_with_a_next_hop_in_common_are_one_batch(void **state)
{
    struct place p;
    struct mail mail = { 1, 100, 7, 3 };
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
    assert_int_equal(spool_count(p.spool), 1);
    assert_int_equal(claim_batches(&p, start_ms + 1000, batches, 10), 3);
    for (size_t i = 0; i < 3; i++) {
        int destination = batch_destination(batches[i]);
        assert_int_equal(batches[i]->nrcpts, destination == 0 ? 3 : 2);
        for (size_t k = 0; k < batches[i]->nrcpts; k++) {
            char to[TEXT_SIZE];
            snprintf(to, sizeof to, "r%zu@d%d.example", (size_t)destination + 3 * k, destination);
            assert_text(batches[i]->rcpts[k].rcpt.to, to);
        }
    }
    release_all(&p, batches, 3);
    place_end(&p);
}

/* [C128] A retry has only recipients without a final result, and what was learnt of them. The delivery changes the order
 * of recipients. */
static void a_retry_has_the_recipients_that_are_left(void **state)
{
    struct place p;
    struct mail mail = { 1, 100, 4, 1 };
    struct call call;
    ehlo_progress progress = { .next_try = start_ms + 5000, .attempt = 1, .warned = 1 };
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
    assert_int_equal(claim_batches(&p, start_ms + 1, batches, 1), 1);
    ehlo_batch *b = batches[0];
    ehlo_batch_rcpt first = b->rcpts[0];
    b->rcpts[0] = b->rcpts[3];
    b->rcpts[3] = first;
    b->rcpts[0].state = EHLO_STATE_DELIVERED; /* r3 */
    b->rcpts[1].state = EHLO_STATE_QUEUED;    /* r1 */
    b->rcpts[1].uncertain = 1;
    b->rcpts[2].state = EHLO_STATE_FAILED; /* r2 */
    b->rcpts[3].state = EHLO_STATE_QUEUED; /* r0 */
    b->rcpts[3].rcpt.outcome = EHLO_OUTCOME_DEFERRED;
    b->rcpts[3].rcpt.stage = EHLO_STAGE_RCPT;
    b->rcpts[3].rcpt.code = 452;
    b->rcpts[3].rcpt.enhanced[0] = 4;
    b->rcpts[3].rcpt.enhanced[2] = 705;
    b->rcpts[3].text_len = EHLO_REPLY_KEPT;
    memset(b->rcpts[3].text, '%', EHLO_REPLY_KEPT); /* [Q14] as long as it can be, and longer in the file */
    b->rcpts[3].host_len = 3;
    memcpy(b->rcpts[3].host, "a\nb", 3);
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.record(p.spool, b, &progress, NULL, 0, &call.pending)), EHLO_OK);
    assert_int_equal(b->nrcpts, 4); /* as it was given to record, until its release */
    release_all(&p, batches, 1);
    for (int again = 0; again <= 1; again++) {
        assert_int_equal(claim_batches(&p, start_ms + 4999, batches, 1), 0);
        assert_int_equal(claim_batches(&p, start_ms + 5000, batches, 1), 1);
        b = batches[0];
        assert_int_equal(b->attempt, 1);
        assert_int_equal(b->warned, 1);
        assert_int_equal(b->nrcpts, 2);
        assert_text(b->rcpts[0].rcpt.to, "r0@d0.example");
        assert_int_equal(b->rcpts[0].rcpt.outcome, EHLO_OUTCOME_DEFERRED);
        assert_int_equal(b->rcpts[0].rcpt.stage, EHLO_STAGE_RCPT);
        assert_int_equal(b->rcpts[0].rcpt.code, 452);
        assert_int_equal(b->rcpts[0].rcpt.enhanced[2], 705);
        assert_int_equal(b->rcpts[0].text_len, EHLO_REPLY_KEPT);
        assert_int_equal(b->rcpts[0].text[254], '%');
        assert_text(ehlo_str_make(b->rcpts[0].host, b->rcpts[0].host_len), "a b");
        assert_int_equal(b->rcpts[0].uncertain, 0);
        assert_text(b->rcpts[1].rcpt.to, "r1@d0.example");
        assert_int_equal(b->rcpts[1].uncertain, 1);
        release_all(&p, batches, 1);
        place_reopen(&p);
    }
    place_end(&p);
}

static void a_message_is_gone_with_its_last_recipient(void **state)
{
    struct place p;
    struct mail mail = { 1, 100, 2, 2 };
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
    assert_int_equal(claim_batches(&p, start_ms + 1, batches, 2), 2);
    assert_int_equal(record_batch(&p, batches[0], EHLO_STATE_DELIVERED, NULL, NULL), EHLO_OK);
    assert_int_equal(spool_count(p.spool), 1);
    assert_int_equal(record_batch(&p, batches[1], EHLO_STATE_FAILED, NULL, NULL), EHLO_OK);
    assert_int_equal(spool_count(p.spool), 0);
    release_all(&p, batches, 2);
    assert_int_equal(count_files(&p, "queue"), 0);
    place_reopen(&p);
    assert_int_equal(spool_count(p.spool), 0);
    place_end(&p);
}

/* Reports are messages as any other; they are due at once. */
static void reports_are_queued_with_the_record(void **state)
{
    static const struct mail reports[] = { { 7, 10, 1, 1 }, { 8, 300000, 1, 1 } };
    struct place p;
    struct mail mail = { 1, 100, 1, 1 };
    struct call call;
    ehlo_progress progress = { .next_try = EHLO_NEVER, .attempt = 1 };
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
    assert_int_equal(claim_batches(&p, start_ms + 1, batches, 2), 1);
    void *messages[] = { write_mail(&p, &reports[0], 10), write_mail(&p, &reports[1], 70000) };
    assert_int_equal(spool_count(p.spool), 1);
    set_states(batches[0], EHLO_STATE_FAILED);
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.record(p.spool, batches[0], &progress, messages, 2, &call.pending)),
                     EHLO_OK);
    release_all(&p, batches, 1);
    for (int again = 0; again <= 1; again++) {
        assert_int_equal(spool_count(p.spool), 2);
        assert_int_equal(claim_batches(&p, start_ms + 10, batches, 5), 2);
        assert_int_equal(check_batch(&p, batches[0]) + check_batch(&p, batches[1]), 15);
        release_all(&p, batches, 2);
        place_reopen(&p);
    }
    assert_int_equal(count_files(&p, "queue"), 2);
    place_end(&p);
}

static void what_is_discarded_leaves_nothing(void **state)
{
    static const struct mail rows[] = { { 1, 0, 1, 1 }, { 2, 1000, 3, 2 }, { 3, 300000, 1, 1 } };
    struct place p;
    (void)state;
    place_make(&p);
    for (size_t i = 0; i < 3; i++) spool_store.discard(p.spool, write_mail(&p, &rows[i], 60000));
    place_close(&p);
    assert_int_equal(count_files(&p, "tmp"), 0);
    place_open(&p);
    assert_int_equal(spool_count(p.spool), 0);
    place_end(&p);
}

/* What is under way when the spool is closed is as after a power cut. */
static void closing_frees_what_is_under_way(void **state)
{
    static const struct mail mail = { 1, 1000, 2, 2 };
    static const struct mail large = { 2, 300000, 1, 1 };
    struct place p;
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
    assert_int_equal(accept_mail(&p, &large, NULL), EHLO_OK);
    assert_int_equal(claim_batches(&p, start_ms + 10, batches, 5), 3);
    assert_non_null(write_mail(&p, &large, 60000));
    place_reopen(&p);
    assert_int_equal(count_files(&p, "tmp"), 0);
    assert_int_equal(spool_count(p.spool), 2);
    assert_int_equal(claim_batches(&p, start_ms + 10, batches, 5), 3);
    place_end(&p);
}

static void ids_are_never_used_twice(void **state)
{
    struct place p;
    uint64_t last = 0;
    (void)state;
    place_make(&p);
    for (int i = 0; i < 20; i++) {
        struct mail mail = { i, 10, 4, 4 };
        assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
        size_t n = claim_batches(&p, start_ms + 1000, batches, 4);
        assert_int_equal(n, 4);
        uint64_t highest = last;
        for (size_t k = 0; k < n; k++) {
            assert_true(batches[k]->id > last);
            if (batches[k]->id > highest) highest = batches[k]->id;
            assert_int_equal(record_batch(&p, batches[k], EHLO_STATE_DELIVERED, NULL, NULL), EHLO_OK);
        }
        last = highest;
        release_all(&p, batches, n);
        if (i % 3 == 0) p.settings.now -= 1000000; /* whatever the clock says */
        if (i % 3 == 0) place_reopen(&p);
    }
    place_end(&p);
}

/* -- many at once, for real ------------------------------------------------------------------------------ */

enum { CROWD = 200 };

/* With threads, and synced: every message is accepted, delivered and gone, once. */
static void crowd(unsigned group_min)
{
    static struct call calls[CROWD];
    static ehlo_progress progress = { .next_try = EHLO_NEVER, .attempt = 1 };
    static void *messages[CROWD];
    struct place p;
    int seen[CROWD] = { 0 };
    place_init(&p);
    watch.no_sync = 0;
    p.settings.threads = 4;
    p.settings.group_min = group_min;
    place_open(&p);
    for (int i = 0; i < CROWD; i++) {
        struct mail mail = { i, (size_t)(i * 37), 2, 2 };
        messages[i] = write_mail(&p, &mail, 1000);
    }
    for (int i = 0; i < CROWD; i++) {
        call_begin(&calls[i]);
        assert_int_equal(spool_store.commit(p.spool, messages[i], &calls[i].pending), EHLO_LATER);
    }
    for (int i = 0; i < CROWD; i++) assert_int_equal(call_end(&calls[i], EHLO_LATER), EHLO_OK);
    place_reopen(&p);
    for (int round = 0; round < 2 * CROWD / 100; round++) {
        ehlo_claim claim = make_claim(start_ms + DAY_MS, 100, 100);
        do_claim(&p, &claim);
        assert_int_equal(claim.n, 100);
        for (size_t i = 0; i < claim.n; i++) {
            seen[check_batch(&p, batches[i])]++;
            set_states(batches[i], EHLO_STATE_DELIVERED);
            call_begin(&calls[i]);
            assert_int_equal(spool_store.record(p.spool, batches[i], &progress, NULL, 0, &calls[i].pending),
                             EHLO_LATER);
        }
        for (size_t i = 0; i < claim.n; i++) assert_int_equal(call_end(&calls[i], EHLO_LATER), EHLO_OK);
        release_all(&p, batches, claim.n);
    }
    for (int i = 0; i < CROWD; i++) assert_int_equal(seen[i], 2);
    assert_int_equal(spool_count(p.spool), 0);
    assert_int_equal(count_files(&p, "queue"), 0);
    place_end(&p);
}

static void many_at_once_are_all_accepted_and_delivered(void **state)
{
    (void)state;
    crowd(UINT32_MAX);
    crowd(0);
}

/* -- order and fairness ---------------------------------------------------------------------------------- */

static void the_longest_due_comes_first(void **state)
{
    static const int arrivals[] = { 50, 10, 40, 30, 20 };
    struct place p;
    (void)state;
    place_make(&p);
    for (size_t i = 0; i < 5; i++) {
        char destination[16];
        snprintf(destination, sizeof destination, "d%d.example", arrivals[i] % 20);
        put(&p, destination, start_ms + arrivals[i], 10);
    }
    for (int again = 0; again <= 1; again++) {
        ehlo_claim claim = make_claim(start_ms + 1000, 4, 4);
        do_claim(&p, &claim);
        assert_int_equal(claim.n, 4);
        for (size_t i = 0; i < 4; i++) assert_int_equal(batches[i]->arrived, start_ms + 10 * ((int)i + 1));
        release_all(&p, batches, claim.n);
        place_reopen(&p);
    }
    place_end(&p);
}

static void rooms_bound_what_a_destination_gets(void **state)
{
    struct place p;
    size_t got[3] = { 0 };
    (void)state;
    place_make(&p);
    for (int i = 0; i < 30; i++) {
        static const char *const names[] = { "a.example", "b.example", "c.example" };
        put(&p, names[i % 3], start_ms + i, 10);
    }
    ehlo_room rooms[] = { { ehlo_str_from("b.example"), 0 },
                          { ehlo_str_from("c.example"), 5 },
                          { ehlo_str_from("z"), 1 } };
    ehlo_claim claim = make_claim(start_ms + 1000, 100, 2);
    claim.rooms = rooms;
    claim.nrooms = 3;
    do_claim(&p, &claim);
    for (size_t i = 0; i < claim.n; i++) got[batches[i]->destination.ptr[0] - 'a']++;
    assert_int_equal(got[0], 2);
    assert_int_equal(got[1], 0);
    assert_int_equal(got[2], 5);
    assert_int_equal(claim.next_due, EHLO_NEVER); /* what found no room does not count */
    release_all(&p, batches, claim.n);
    claim = make_claim(start_ms + 1000, 100, 100);
    do_claim(&p, &claim);
    assert_int_equal(claim.n, 30);
    release_all(&p, batches, claim.n);
    place_end(&p);
}

/* A destination with thousands of messages holds up nobody, nor does looking past them take long. */
static void a_destination_with_thousands_starves_nobody(void **state)
{
    struct place p;
    ehlo_room room = { ehlo_str_from("big.example"), 0 };
    (void)state;
    place_make(&p);
    for (int i = 0; i < 3000; i++) put(&p, "big.example", start_ms + i, 10);
    for (int i = 0; i < 10; i++) put(&p, "small.example", start_ms + 5000 + i, 10);
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    for (int round = 0; round < 2000; round++) {
        ehlo_claim claim = make_claim(start_ms + 10000, 1, 1);
        claim.rooms = &room;
        claim.nrooms = 1;
        do_claim(&p, &claim);
        assert_int_equal(claim.n, 1);
        assert_text(batches[0]->destination, "small.example");
        release_all(&p, batches, 1);
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec < 20);
    ehlo_claim claim = make_claim(start_ms + 10000, 100, 20);
    do_claim(&p, &claim);
    assert_int_equal(claim.n, 30);
    release_all(&p, batches, claim.n);
    place_end(&p);
}

static void next_due_is_when_something_comes_to_pass(void **state)
{
    struct place p;
    (void)state;
    place_make(&p);
    ehlo_claim claim = make_claim(start_ms, 10, 10);
    do_claim(&p, &claim);
    assert_int_equal(claim.n, 0);
    assert_int_equal(claim.next_due, EHLO_NEVER);
    put(&p, "a.example", start_ms, 10);
    put(&p, "b.example", start_ms, 10);
    claim = make_claim(start_ms, 10, 10);
    do_claim(&p, &claim);
    assert_int_equal(claim.n, 2);
    assert_int_equal(claim.next_due, EHLO_NEVER); /* leases do not end here */
    ehlo_batch *second = batches[1];
    assert_int_equal(record_batch(&p, batches[0], EHLO_STATE_QUEUED, NULL, NULL), EHLO_OK);
    release_all(&p, batches, 1);
    claim = make_claim(start_ms + 1, 10, 10);
    do_claim(&p, &claim);
    assert_int_equal(claim.n, 0);
    assert_int_equal(claim.next_due, start_ms + DAY_MS);
    release_all(&p, &second, 1);
    claim = make_claim(start_ms + 1, 10, 10);
    do_claim(&p, &claim);
    assert_int_equal(claim.n, 1);
    assert_text(batches[0]->destination, "b.example");
    release_all(&p, batches, 1);
    place_end(&p);
}

/* Nobody else has the spool: however the clock jumps, what is under way is not handed out a second time. [Q10] */
static void a_lease_lasts_until_its_release(void **state)
{
    struct place p;
    ehlo_batch *first[1];
    (void)state;
    place_make(&p);
    put(&p, "a.example", start_ms, 10);
    assert_int_equal(claim_batches(&p, start_ms, first, 1), 1);
    assert_int_equal(claim_batches(&p, start_ms + 3650 * (int64_t)DAY_MS, batches, 1), 0);
    assert_int_equal(do_renew(&p, first[0], start_ms + 100000), EHLO_OK);
    assert_int_equal(first[0]->lease_until, start_ms + 100000);
    assert_int_equal(claim_batches(&p, start_ms - 3650 * (int64_t)DAY_MS, batches, 1), 0);
    release_all(&p, first, 1);
    assert_int_equal(claim_batches(&p, start_ms, batches, 1), 1);
    assert_true(batches[0]->fence > 1);
    assert_int_equal(record_batch(&p, batches[0], EHLO_STATE_DELIVERED, NULL, NULL), EHLO_OK);
    assert_text(batches[0]->destination, "a.example"); /* it stays until its release */
    release_all(&p, batches, 1);
    assert_int_equal(spool_count(p.spool), 0);
    place_end(&p);
}

/* [C130] RFC 1985: what an ETRN means is due now. */
static void hurried_batches_are_due(void **state)
{
    static const char *const names[] = { "example.org", "a.example.org", "example.com" };
    struct place p;
    (void)state;
    place_make(&p);
    for (size_t i = 0; i < 3; i++) put(&p, names[i], start_ms + (int)i, 10);
    assert_int_equal(claim_batches(&p, start_ms + 10, batches, 3), 3);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(record_batch(&p, batches[i], EHLO_STATE_QUEUED, NULL, NULL), EHLO_OK);
    }
    assert_int_equal(do_hurry(&p, '\0', "example.com"), 0); /* it is leased */
    release_all(&p, batches, 3);
    assert_int_equal(do_hurry(&p, '\0', "nowhere.example"), 0);
    assert_int_equal(do_hurry(&p, '\0', "EXAMPLE.org"), 1);
    assert_int_equal(claim_batches(&p, start_ms + 20, batches, 9), 2);
    release_all(&p, batches, 2);
    assert_int_equal(do_hurry(&p, '@', "example.org"), 2);
    assert_int_equal(claim_batches(&p, start_ms + 30, batches, 9), 3);
    release_all(&p, batches, 3);
    place_end(&p);
}

/* -- clocks [Q10] ------------------------------------------------------------------------------------------ */

static void wherever_the_clock_goes_nothing_waits_for_ever(void **state)
{
    static const int64_t jumps[] = { 0, 3650 * (int64_t)DAY_MS, -3650 * (int64_t)DAY_MS };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (int restart = 0; restart <= 1; restart++) {
            struct place p;
            place_make(&p);
            put(&p, "new.example", start_ms, 10);
            put(&p, "old.example", start_ms, 10);
            assert_int_equal(claim_batches(&p, start_ms, batches, 2), 2);
            size_t old = batches[0]->destination.ptr[0] == 'o' ? 0 : 1;
            assert_int_equal(record_batch(&p, batches[old], EHLO_STATE_QUEUED, NULL, NULL), EHLO_OK);
            release_all(&p, batches, 2);
            int64_t now = start_ms + jumps[i];
            p.settings.now = now;
            if (restart) place_reopen(&p);
            /* what was never tried is due; the other within the longest wait and its eighth */
            size_t due = claim_batches(&p, now, batches, 2);
            assert_int_equal(due, jumps[i] > 0 ? 2 : 1);
            release_all(&p, batches, due);
            int64_t limit = jumps[i] < 0 || restart ? 10800 * INT64_C(1125) : DAY_MS;
            assert_int_equal(claim_batches(&p, now + limit, batches, 2), 2);
            release_all(&p, batches, 2);
            place_end(&p);
        }
    }
}

/* -- others ------------------------------------------------------------------------------------------------ */

static void a_second_process_is_told_who_has_it(void **state)
{
    struct place p;
    int status = 0;
    (void)state;
    place_make(&p);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char why[SPOOL_WHY_MAX];
        char holder[32];
        struct spool *other;
        snprintf(holder, sizeof holder, "process %ld ", (long)getppid());
        int fine = spool_open(&other, p.dir, &p.settings, why) == EBUSY && strstr(why, holder) != NULL &&
                   spool_holder(p.dir) == getppid();
        _exit(fine ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    place_close(&p);
    assert_int_equal(spool_holder(p.dir), 0);
    place_open(&p);
    place_end(&p);
}

static void a_spool_that_cannot_be_made_says_why(void **state)
{
    struct spool *s;
    char why[SPOOL_WHY_MAX];
    struct spool_settings settings = { .now = start_ms };
    (void)state;
    assert_int_equal(spool_open(&s, "no-such-folder/spool", &settings, why), ENOENT);
    assert_string_equal(why, "no-such-folder/spool: No such file or directory");
    assert_int_equal(spool_holder("no-such-folder/spool"), 0);
    assert_int_equal(spool_list("no-such-folder/spool", NULL, NULL), ENOENT);
}

struct told {
    size_t n;
    char text[8][400];
};

static void tell_entry(const struct spool_entry *entry, void *arg)
{
    struct told *told = arg;
    char *to = told->text[told->n++];
    int len = snprintf(to, 400, "%.*s %lld %llu %.*s", (int)entry->id.len, entry->id.ptr,
                       (long long)(entry->arrived - start_ms), (unsigned long long)entry->size, (int)entry->from.len,
                       entry->from.ptr);
    for (size_t i = 0; i < entry->nrcpts; i++) {
        const struct spool_recipient *r = &entry->rcpts[i];
        len += snprintf(to + len, 400 - (size_t)len, " | %.*s %.*s %d %u %lld %u %.*s", (int)r->to.len, r->to.ptr,
                        (int)r->destination.len, r->destination.ptr, r->state, (unsigned)r->attempt,
                        r->next_try == EHLO_NEVER ? -1LL : (long long)(r->next_try - start_ms), r->code,
                        (int)r->text.len, r->text.ptr);
    }
}

/* Without a lock, while it is open or not. */
static void the_list_tells_what_is_queued(void **state)
{
    static const struct mail first = { 1, 300, 3, 2 };
    static const struct mail second = { 2, 400000, 1, 1 };
    struct place p;
    struct told told = { 0 };
    (void)state;
    place_make(&p);
    assert_int_equal(accept_mail(&p, &first, NULL), EHLO_OK);
    assert_int_equal(accept_mail(&p, &second, NULL), EHLO_OK);
    size_t n = claim_batches(&p, start_ms + 10, batches, 9);
    for (size_t i = 0; i < n; i++) {
        if (check_batch(&p, batches[i]) != 1) continue;
        ehlo_state state_of = batch_destination(batches[i]) == 0 ? EHLO_STATE_QUEUED : EHLO_STATE_DELIVERED;
        assert_int_equal(record_batch(&p, batches[i], state_of, NULL, NULL), EHLO_OK);
    }
    release_all(&p, batches, n);
    for (int open = 1; open >= 0; open--) {
        told.n = 0;
        assert_int_equal(spool_list(p.dir, tell_entry, &told), 0);
        assert_int_equal(told.n, 2);
        assert_string_equal(told.text[0], "0000010000000000 1 300 s1@x.example"
                                          " | r0@d0.example d0.example 0 1 86400000 450 not now, says mx.example"
                                          " | r2@d0.example d0.example 0 1 86400000 450 not now, says mx.example"
                                          " | r1@d1.example d1.example 1 1 -1 450 not now, says mx.example");
        assert_string_equal(told.text[1], "0000010000000002 2 400000 s2@x.example | r0@d0.example d0.example 0 0 2 0 ");
        if (open) place_close(&p);
    }
    place_end(&p);
}

static void take_flush(char option, ehlo_str node, void *arg)
{
    struct told *told = arg;
    snprintf(told->text[told->n++], 400, "%c%.*s", option == '\0' ? ' ' : option, (int)node.len, node.ptr);
}

static void flush_requests_are_taken_once(void **state)
{
    struct place p;
    struct told told = { 0 };
    char longest[300];
    (void)state;
    place_make(&p);
    spool_flush_take(p.spool, take_flush, &told);
    assert_int_equal(told.n, 0);
    memset(longest, 'x', 255);
    longest[255] = '\0';
    assert_int_equal(spool_flush_request(p.dir, ehlo_str_from("example.org")), 0);
    assert_int_equal(spool_flush_request(p.dir, ehlo_str_from("example.org")), 0);
    assert_int_equal(spool_flush_request(p.dir, ehlo_str_from("")), EINVAL);
    assert_int_equal(spool_flush_request(p.dir, ehlo_str_from("@")), EINVAL);
    assert_int_equal(spool_flush_request(p.dir, ehlo_str_from("a\nb")), EINVAL);
    assert_int_equal(spool_flush_request("no-such-folder", ehlo_str_from("a")), ENOENT);
    assert_int_equal(spool_flush_waits(p.dir, ehlo_str_from("example.org")), 1);
    assert_int_equal(spool_flush_waits(p.dir, ehlo_str_from("example.com")), 0);
    spool_flush_take(p.spool, take_flush, &told);
    assert_int_equal(told.n, 1);
    assert_string_equal(told.text[0], " example.org");
    assert_int_equal(spool_flush_waits(p.dir, ehlo_str_from("example.org")), 0);
    assert_int_equal(spool_flush_request(p.dir, ehlo_str_from("@[192.0.2.1]")), 0);
    place_reopen(&p);
    spool_flush_take(p.spool, take_flush, &told);
    assert_int_equal(told.n, 2);
    assert_string_equal(told.text[1], "@[192.0.2.1]");
    struct stat status; /* the one who asks may be another user than the relay */
    char path[256];
    assert_int_equal(spool_flush_request(p.dir, ehlo_str_from(longest)), 0);
    DIR *folder = opendir((snprintf(path, sizeof path, "%.60s/flush", p.dir), path));
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        assert_int_equal(fstatat(dirfd(folder), entry->d_name, &status, 0), 0);
        assert_int_equal(status.st_mode & 0777, 0644);
    }
    closedir(folder);
    spool_flush_take(p.spool, take_flush, &told);
    assert_int_equal(told.n, 3);
    assert_string_equal(told.text[2] + 1, longest);
    place_end(&p);
}

/* -- costs ------------------------------------------------------------------------------------------------- */

static size_t octets_in_use(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33) && !defined(__SANITIZE_ADDRESS__)
    return mallinfo2().uordblks;
#else
    return 0;
#endif
}

enum { MANY = 5000 };

static size_t file_size(const struct place *p, uint64_t id)
{
    char path[256];
    struct stat status;
    snprintf(path, sizeof path, "%.60s/queue/%016llx", p->dir, (unsigned long long)id);
    assert_int_equal(stat(path, &status), 0);
    return (size_t)status.st_size;
}

/* One attempt after the other: all recipients are deferred with a text of this length, which ends with `last`. */
static void defer(struct place *p, char last, size_t len)
{
    ehlo_progress progress = { .next_try = start_ms };
    struct call call;
    assert_int_equal(claim_batches(p, start_ms + 1, batches, 1), 1);
    progress.attempt = batches[0]->attempt + 1;
    for (size_t i = 0; i < batches[0]->nrcpts; i++) {
        ehlo_batch_rcpt *b = &batches[0]->rcpts[i];
        memset(b->text, ' ', len); /* three octets each in the file */
        b->text[len - 1] = last;
        b->text_len = (uint8_t)len;
    }
    call_begin(&call);
    assert_int_equal(call_end(&call, spool_store.record(p->spool, batches[0], &progress, NULL, 0, &call.pending)),
                     EHLO_OK);
    release_all(p, batches, 1);
}

/* What is known already is not told again. */
static void an_attempt_that_brings_nothing_new_costs_little(void **state)
{
    static const struct mail mail = { 1, 100, 16, 1 };
    struct place p;
    (void)state;
    place_make(&p);
    uint64_t id = p.spool->next_id;
    assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
    defer(&p, 'x', 200);
    size_t before = file_size(&p, id);
    for (int i = 0; i < 100; i++) defer(&p, 'x', 200);
    assert_true(file_size(&p, id) - before < 100 * 80);
    place_reopen(&p);
    assert_int_equal(claim_batches(&p, start_ms + 1, batches, 1), 1);
    assert_int_equal(batches[0]->attempt, 101);
    for (size_t i = 0; i < 16; i++) assert_int_equal(batches[0]->rcpts[i].text[199], 'x');
    release_all(&p, batches, 1);
    place_end(&p);
}

/* More records than are read at once, and each of them cut by the end of what is. [Q14] */
static void a_long_history_is_read_to_its_end(void **state)
{
    static const struct mail mail = { 1, 70000, 16, 1 };
    struct place p;
    (void)state;
    place_make(&p);
    uint64_t id = p.spool->next_id;
    assert_int_equal(accept_mail(&p, &mail, NULL), EHLO_OK);
    for (int i = 0; i < 40; i++) defer(&p, (char)('A' + i % 26), (size_t)(255 - i));
    assert_true(file_size(&p, id) > 5 * 65536);
    for (int again = 0; again <= 1; again++) {
        assert_int_equal(claim_batches(&p, start_ms + 1, batches, 1), 1);
        assert_int_equal(batches[0]->attempt, 40);
        for (size_t i = 0; i < 16; i++) {
            assert_int_equal(batches[0]->rcpts[i].text_len, 216);
            assert_int_equal(batches[0]->rcpts[i].text[215], 'A' + 13);
        }
        release_all(&p, batches, 1);
        place_reopen(&p);
    }
    place_end(&p);
}

/* A message that waits costs little memory, in destinations of its own or not, and little time at the start. */
static void a_message_that_waits_costs_little(void **state)
{
    static const struct {
        int destinations;
        size_t octets;
    } rows[] = { { 100, 160 }, { MANY, 280 } };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct place p;
        struct timespec before;
        struct timespec after;
        place_make(&p);
        for (int k = 0; k < MANY; k++) {
            char destination[40];
            snprintf(destination, sizeof destination, "host%d.example", k % rows[i].destinations);
            put(&p, destination, start_ms + k, 1000);
        }
        place_close(&p);
        size_t octets = octets_in_use();
        clock_gettime(CLOCK_MONOTONIC, &before);
        place_open(&p);
        clock_gettime(CLOCK_MONOTONIC, &after);
        octets = octets_in_use() - octets;
        assert_int_equal(spool_count(p.spool), MANY);
        if (octets > MANY * rows[i].octets) fail_msg("%zu octets each", octets / MANY);
        assert_true(after.tv_sec - before.tv_sec < 10);
        place_end(&p);
    }
}

/* RFC 3720 B.4 */
static void the_checksum_is_the_one_of_iscsi(void **state)
{
    unsigned char octets[48];
    (void)state;
    memset(octets, 0, 32);
    assert_int_equal(checksum(0, octets, 32), 0x8a9136aa);
    memset(octets, 0xff, 32);
    assert_int_equal(checksum(0, octets, 32), 0x62a8ab43);
    for (size_t i = 0; i < 32; i++) octets[i] = (unsigned char)i;
    assert_int_equal(checksum(0, octets, 32), 0x46dd794e);
    for (size_t cut = 0; cut <= 32; cut++) {
        assert_int_equal(checksum(checksum(0, octets, cut), octets + cut, 32 - cut), 0x46dd794e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_out_as_it_went_in_whatever_its_size),
        cmocka_unit_test(a_body_may_be_asked_for_at_any_offset),
        cmocka_unit_test(an_envelope_is_kept_to_the_octet),
        cmocka_unit_test(what_could_break_a_line_is_not_taken),
        cmocka_unit_test(recipients_with_a_next_hop_in_common_are_one_batch),
        cmocka_unit_test(a_retry_has_the_recipients_that_are_left),
        cmocka_unit_test(a_message_is_gone_with_its_last_recipient),
        cmocka_unit_test(reports_are_queued_with_the_record),
        cmocka_unit_test(what_is_discarded_leaves_nothing),
        cmocka_unit_test(closing_frees_what_is_under_way),
        cmocka_unit_test(ids_are_never_used_twice),
        cmocka_unit_test(many_at_once_are_all_accepted_and_delivered),
        cmocka_unit_test(the_longest_due_comes_first),
        cmocka_unit_test(rooms_bound_what_a_destination_gets),
        cmocka_unit_test(a_destination_with_thousands_starves_nobody),
        cmocka_unit_test(next_due_is_when_something_comes_to_pass),
        cmocka_unit_test(a_lease_lasts_until_its_release),
        cmocka_unit_test(hurried_batches_are_due),
        cmocka_unit_test(wherever_the_clock_goes_nothing_waits_for_ever),
        cmocka_unit_test(a_second_process_is_told_who_has_it),
        cmocka_unit_test(a_spool_that_cannot_be_made_says_why),
        cmocka_unit_test(the_list_tells_what_is_queued),
        cmocka_unit_test(flush_requests_are_taken_once),
        cmocka_unit_test(an_attempt_that_brings_nothing_new_costs_little),
        cmocka_unit_test(a_long_history_is_read_to_its_end),
        cmocka_unit_test(a_message_that_waits_costs_little),
        cmocka_unit_test(the_checksum_is_the_one_of_iscsi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
