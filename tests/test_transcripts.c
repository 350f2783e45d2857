#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
/* Every transcript, in every manner [C234] [R01] [E28]; and, for the small ones, cut off at every octet [S15] and
 * at every write and loan [C236]. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/transcript.h"

enum { RANDOM_MODES = 24, SWEEP_OCTETS = 1500, FILES_MAX = 512 };

static void show(const char *what, const peer *p)
{
    print_error("-- %s [%s seed %u]\n%s\n-- events\n%s-- output\n%s-- unfed: %zu\n", what, p->mode.name, p->mode.seed,
                p->fault, p->log.ptr, p->out.ptr, p->hold.len);
}

static peer *run(const transcript *t, const peer_mode *mode)
{
    peer_mode wanted = *mode;
    if (t->stop_and_wait) wanted.pipelined = 0;
    peer *p = peer_run(&t->setup, t->steps, t->step_count, &wanted);
    if (p == NULL) fail_msg("the service refuses the settings");
    if (p->fault[0] != '\0') {
        show("a breach of the contract", p);
        fail();
    }
    return p;
}

static int same(const peer_text *a, const peer_text *b)
{
    return a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
}

static void must_be_alike(const peer *reference, const peer *p)
{
    if (same(&reference->log, &p->log) && same(&reference->out, &p->out) && same(&reference->trace_in, &p->trace_in))
        return;
    show("the reference", reference);
    show("differs", p);
    if (!same(&reference->trace_in, &p->trace_in)) {
        print_error("-- traces\n%s--\n%s", reference->trace_in.ptr, p->trace_in.ptr);
    }
    fail();
}

static void compare(const transcript *t, const peer *reference, const peer_mode *mode)
{
    peer *p = run(t, mode);
    must_be_alike(reference, p);
    peer_free(p);
}

static void in_every_manner(const transcript *t, const peer *reference)
{
    for (size_t i = 1; i < peer_mode_count; i++) compare(t, reference, &peer_modes[i]);
    for (unsigned seed = 1; seed <= RANDOM_MODES; seed++) {
        peer_mode mode = peer_mode_random(seed);
        compare(t, reference, &mode);
    }
}

/* The peer ends at octet `at`: however the octets before came, the same must come of it. */
static void ends_at(const transcript *t, int stop, size_t at)
{
    peer_mode whole = { .name = "whole, stops", .stop = stop, .stop_at = at };
    peer_mode bytes = { .name = "bytes, stops", .cut = PEER_BYTES, .stop = stop, .stop_at = at, .lender = 1 };
    peer_mode later = { .name = "later, stops early",
                        .answers = PEER_LATER,
                        .write_max = 5,
                        .body_max = 3,
                        .stop = stop,
                        .stop_at = at,
                        .stop_early = 1,
                        .seed = (unsigned)at };
    peer *reference = run(t, &whole);
    compare(t, reference, &bytes);
    if (stop == PEER_STOP_EOF)
        compare(t, reference, &later);
    else
        peer_free(run(t, &later));
    peer_free(reference);
}

static void ends_at_every_octet(const transcript *t)
{
    for (size_t at = 0; at <= t->octets; at++) {
        ends_at(t, PEER_STOP_EOF, at);
        ends_at(t, PEER_STOP_LOST, at);
    }
}

/* Each write, and each loan, fails in its turn, until none is left to fail. */
static void fails_at_every(const transcript *t, int lending)
{
    for (unsigned n = 1; n < 10000; n++) {
        peer_mode mode = { .name = "fails", .write_max = 40, .lender = 1, .pipelined = (int)(n & 1) };
        mode.answers = n % 3 == 0 ? PEER_LATER : PEER_VERDICT;
        if (lending)
            mode.fail_lend = n;
        else
            mode.fail_write = n;
        peer *p = run(t, &mode);
        int reached = lending ? p->lends >= n : p->write_calls >= n;
        if (reached) {
            assert_int_equal(p->result, lending ? EHLO_ERR_MEMORY : EHLO_ERR_TRANSPORT);
        }
        peer_free(p);
        if (!reached) return;
    }
}

static void transcript_holds_in_every_manner(void **state)
{
    peer_text why = { 0 };
    transcript *t = transcript_read(*state);
    if (t->error[0] != '\0') fail_msg("%s: %s", (const char *)*state, t->error);
    assert_true(t->expected_count > 0);
    peer *reference = run(t, &peer_modes[0]);
    if (!transcript_judge(t, reference, &why)) {
        show(why.ptr, reference);
        fail_msg("%s: %s", (const char *)*state, why.ptr);
    }
    in_every_manner(t, reference);
    fails_at_every(t, 0);
    fails_at_every(t, 1);
    if (t->octets <= SWEEP_OCTETS) ends_at_every_octet(t);
    peer_free(reference);
    peer_text_free(&why);
    transcript_free(t);
}

static int by_name(const void *a, const void *b)
{
    const struct CMUnitTest *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static size_t find_transcripts(const char *folder, struct CMUnitTest *tests)
{
    size_t count = 0;
    struct dirent *entry;
    DIR *dir = opendir(folder);
    if (dir == NULL) return 0;
    while ((entry = readdir(dir)) != NULL && count < FILES_MAX) {
        size_t len = strlen(entry->d_name);
        if (len < 5 || strcmp(entry->d_name + len - 4, ".txt") != 0) continue;
        char *path = malloc(strlen(folder) + len + 2);
        if (path == NULL) break;
        sprintf(path, "%s/%s", folder, entry->d_name);
        tests[count].name = path;
        tests[count].test_func = transcript_holds_in_every_manner;
        tests[count].initial_state = path;
        count++;
    }
    closedir(dir);
    qsort(tests, count, sizeof tests[0], by_name);
    return count;
}

/* Without arguments: the transcripts of the source tree (EHLO_SOURCE). With: those files. */
int main(int argc, char **argv)
{
    static struct CMUnitTest tests[FILES_MAX];
    const char *source = getenv("EHLO_SOURCE");
    char folder[1024];
    size_t count = 0;
    snprintf(folder, sizeof folder, "%s/tests/transcripts", source != NULL ? source : ".");
    if (argc == 1) count = find_transcripts(folder, tests);
    for (int i = 1; i < argc && i < FILES_MAX; i++, count++) {
        tests[count].name = argv[i];
        tests[count].test_func = transcript_holds_in_every_manner;
        tests[count].initial_state = argv[i];
    }
    if (count == 0) {
        fprintf(stderr, "no transcripts in %s\n", folder);
        return 1;
    }
    int failed = _cmocka_run_group_tests("transcripts", tests, count, NULL, NULL);
    for (size_t i = 0; argc == 1 && i < count; i++) free(tests[i].initial_state);
    return failed != 0;
}
