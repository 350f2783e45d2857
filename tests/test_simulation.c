/* test_simulation.c - relays in a world of machines, with a clock and a network of its own, where much goes wrong.
 *
 *     test_simulation              many seeds: EHLO_SIMULATION_SEEDS of them, from EHLO_SIMULATION_FIRST on
 *     test_simulation SEED         that one again, exactly; with EHLO_SIMULATION_TRACE=1, all that happens in it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "simulator/os.h"
#include "simulator/scene.h"

/* A sanitizer makes each of them take four times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SEEDS = 300 };
#else
enum { SEEDS = 1000 };
#endif

static void print_sums(const ledger_sums *s)
{
    printf("%u messages to %u recipients: %u accepted, %u delivered, %u ended otherwise with %u reports; %u attempts, "
           "%u uncertain, %u lost; %u copies too many, all explained\n",
           s->messages, s->rcpts, s->accepted, s->delivered, s->ended, s->reports, s->attempts, s->uncertain, s->lost,
           s->twice);
}

static void add(ledger_sums *to, const ledger_sums *s)
{
    to->messages += s->messages;
    to->rcpts += s->rcpts;
    to->accepted += s->accepted;
    to->delivered += s->delivered;
    to->twice += s->twice;
    to->ended += s->ended;
    to->attempts += s->attempts;
    to->uncertain += s->uncertain;
    to->lost += s->lost;
    to->reports += s->reports;
}

static int run_seed(uint64_t seed)
{
    scene_result result = scene_run(seed, NULL);
    printf("seed %llu: %.1f hours: %s\n", (unsigned long long)seed, (double)result.simulated_ms / HOUR,
           result.fault[0] == '\0' ? "fine" : result.fault);
    print_sums(&result.sums);
    return result.fault[0] != '\0';
}

/* -- many ------------------------------------------------------------------------------------------- */

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void whatever_goes_wrong_no_message_is_lost_and_no_copy_is_unexplained(void **state)
{
    uint64_t n = number_from("EHLO_SIMULATION_SEEDS", SEEDS), first = number_from("EHLO_SIMULATION_FIRST", 1);
    uint64_t began = os_real_ms();
    double hours = 0;
    unsigned failures = 0;
    ledger_sums sums = { .messages = 0 };
    (void)state;
    for (uint64_t seed = first; seed < first + n; seed++) {
        scene_result result = scene_run(seed, NULL);
        hours += (double)result.simulated_ms / HOUR;
        add(&sums, &result.sums);
        if (result.fault[0] == '\0') continue;
        failures++;
        print_error("seed %llu: %s\n", (unsigned long long)seed, result.fault);
    }
    printf("%llu seeds, %.0f simulated hours, %llu ms\n", (unsigned long long)n, hours,
           (unsigned long long)(os_real_ms() - began));
    print_sums(&sums);
    assert_int_equal(failures, 0);
}

static void a_seed_gives_the_same_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        scene_result one = scene_run(seed, NULL), other = scene_run(seed, NULL);
        assert_string_equal(one.fault, other.fault);
        assert_int_equal(one.simulated_ms, other.simulated_ms);
        assert_memory_equal(&one.sums, &other.sums, sizeof one.sums);
    }
}

/* -- what must be found ----------------------------------------------------------------------------- */

/* Runs seeds until one fails, and says which. */
static void assert_found(const ehlo_store *functions, const char *what)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        scene_result result = scene_run(seed, functions);
        if (result.fault[0] == '\0') continue;
        printf("%s: seed %llu: %s\n", what, (unsigned long long)seed, result.fault);
        return;
    }
    fail_msg("%s: nobody has noticed", what);
}

static int forget_record(void *ctx, ehlo_batch *batch, const ehlo_progress *progress, void *const *reports,
                         size_t nreports, ehlo_pending *pending)
{
    if (nreports == 0 && world_chance(50)) return EHLO_OK;
    return store_functions.record(ctx, batch, progress, reports, nreports, pending);
}

static void a_store_that_forgets_a_record_is_found_out(void **state)
{
    ehlo_store broken = store_functions;
    (void)state;
    broken.record = forget_record;
    assert_found(&broken, "a store that forgets a record");
}

static int forget_commit(void *ctx, void *message, ehlo_pending *pending)
{
    if (!world_chance(50)) return store_functions.commit(ctx, message, pending);
    store_functions.discard(ctx, message);
    return EHLO_OK;
}

static void a_store_that_forgets_a_message_is_found_out(void **state)
{
    ehlo_store broken = store_functions;
    (void)state;
    broken.commit = forget_commit;
    assert_found(&broken, "a store that forgets a message");
}

static int record_without_wait(void *ctx, ehlo_batch *batch, const ehlo_progress *progress, void *const *reports,
                               size_t nreports, ehlo_pending *pending)
{
    static ehlo_progress some[1024]; /* they stay until the answer */
    static size_t last;
    ehlo_progress *changed = &some[last++ % 1024];
    *changed = *progress;
    if (batch->rcpts[0].rcpt.outcome == EHLO_OUTCOME_UNCERTAIN && changed->next_try != EHLO_NEVER)
        changed->next_try = SIMULATOR_EPOCH_MS;
    return store_functions.record(ctx, batch, changed, reports, nreports, pending);
}

static void a_retry_at_once_after_an_uncertain_end_is_found_out(void **state)
{
    ehlo_store broken = store_functions;
    (void)state;
    broken.record = record_without_wait;
    assert_found(&broken, "a retry at once");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_goes_wrong_no_message_is_lost_and_no_copy_is_unexplained),
        cmocka_unit_test(a_seed_gives_the_same_again),
        cmocka_unit_test(a_store_that_forgets_a_record_is_found_out),
        cmocka_unit_test(a_store_that_forgets_a_message_is_found_out),
        cmocka_unit_test(a_retry_at_once_after_an_uncertain_end_is_found_out),
    };
    if (argc > 1) return run_seed(strtoull(argv[1], NULL, 10));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
