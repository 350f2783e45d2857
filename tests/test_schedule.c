/* When to try again, to warn and to give up (RFC 5321 4.5.4.1). */
#include "table.h"

#include <ehlo/relay.h>

#include "seed.h"

#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define YEAR (365 * DAY)
#define NOW (1795348800 * SECOND)

enum { SEEDS = 2000 };

/* -- next ------------------------------------------------------------------------------------------- */

typedef struct wait_case {
    ehlo_schedule schedule;
    uint32_t attempt;
    int64_t wait; /* without jitter */
} wait_case;

static const wait_case waits[] = {
    /* [C127] the defaults */
    { { 0 }, 1, 30 * MINUTE },
    { { 0 }, 2, 60 * MINUTE },
    { { 0 }, 3, 120 * MINUTE },
    { { 0 }, 4, 180 * MINUTE },
    { { 0 }, 5, 180 * MINUTE },
    { { 0 }, 1000, 180 * MINUTE },
    { { 0 }, UINT32_MAX, 180 * MINUTE },
    { { .first_s = 1 }, 1, SECOND },
    { { .first_s = 1 }, 2, 2 * SECOND },
    { { .first_s = 1 }, 14, 8192 * SECOND },
    { { .first_s = 1 }, 15, 180 * MINUTE },
    { { .max_s = 4000 }, 2, 3600 * SECOND },
    { { .max_s = 4000 }, 3, 4000 * SECOND },
    { { .first_s = 60, .max_s = 60 }, 1, MINUTE },
    { { .first_s = 60, .max_s = 60 }, 9, MINUTE },
    { { .max_s = 10 }, 1, 10 * SECOND },
    { { .first_s = UINT32_MAX, .max_s = UINT32_MAX }, 1, UINT32_MAX *SECOND },
    { { .first_s = UINT32_MAX, .max_s = UINT32_MAX }, UINT32_MAX, UINT32_MAX *SECOND },
    { { .first_s = 1, .max_s = UINT32_MAX }, 32, ((int64_t)1 << 31) * SECOND },
    { { .first_s = 1, .max_s = UINT32_MAX }, 33, UINT32_MAX *SECOND },
    { { .first_s = 1, .max_s = UINT32_MAX }, UINT32_MAX, UINT32_MAX *SECOND },
};

/* [C127] [Q11] */
static void waits_double_up_to_a_limit_and_have_an_eighth_of_jitter(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(waits); i++) {
        const wait_case *c = &waits[i];
        int64_t least = INT64_MAX, most = INT64_MIN;
        for (uint64_t k = 0; k < SEEDS; k++) {
            int64_t wait = ehlo_schedule_next(&c->schedule, c->attempt, NOW, seed_of(k)) - NOW;
            if (wait < c->wait || wait > c->wait + c->wait / 8) fail_msg("case %zu: %lld ms", i, (long long)wait);
            if (wait < least) least = wait;
            if (wait > most) most = wait;
        }
        /* Of 2000 seeds, one in each end's twentieth. */
        assert_true(least - c->wait <= c->wait / 160);
        assert_true(c->wait + c->wait / 8 - most <= c->wait / 160);
    }
}

/* Where a thousand batches are deferred at once, they do not come back at once. */
static void jitter_is_spread_evenly(void **state) /* [Q11] */
{
    (void)state;
    enum { SLOTS = 10, BATCHES = 10000 };
    static const ehlo_schedule schedule;
    unsigned counts[SLOTS] = { 0 };
    int64_t span = 30 * MINUTE / 8 + 1;
    for (uint64_t i = 0; i < BATCHES; i++) {
        int64_t jitter = ehlo_schedule_next(&schedule, 1, NOW, seed_of(i)) - NOW - 30 * MINUTE;
        counts[jitter * SLOTS / span]++;
    }
    for (size_t i = 0; i < SLOTS; i++)
        assert_in_range(counts[i], 850, 1150); /* 1000 are due, 30 a standard deviation */
}

static void the_same_seed_gives_the_same_time(void **state)
{
    (void)state;
    static const ehlo_schedule schedule;
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(ehlo_schedule_next(&schedule, 3, NOW, seed_of(i)),
                         ehlo_schedule_next(&schedule, 3, NOW, seed_of(i)));
    }
}

/* With the same luck, a later attempt is never followed by a shorter wait, and later is later. */
static void waits_never_get_shorter(void **state) /* [Q11] */
{
    (void)state;
    static const ehlo_schedule schedules[] = {
        { 0 }, { .first_s = 1 }, { .first_s = 7, .max_s = 11 }, { .first_s = 3, .max_s = UINT32_MAX }
    };
    for (size_t i = 0; i < COUNT(schedules); i++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            int64_t before = 0;
            for (uint32_t attempt = 1; attempt < 70; attempt++) {
                int64_t at = ehlo_schedule_next(&schedules[i], attempt, NOW, seed_of(seed));
                assert_true(at - NOW >= before - before / 8);
                assert_true(ehlo_schedule_next(&schedules[i], attempt, NOW + 1, seed_of(seed)) == at + 1);
                before = at - NOW;
            }
        }
    }
}

/* -- expiry and warning ----------------------------------------------------------------------------- */

typedef struct age_case {
    ehlo_schedule schedule;
    int64_t arrived;
    int64_t now;
    int expired;
    int warns;
} age_case;

static const age_case ages[] = {
    { { 0 }, NOW, NOW, 0, 0 },
    { { 0 }, NOW, NOW + 4 * HOUR - 1, 0, 0 },
    { { 0 }, NOW, NOW + 4 * HOUR, 0, 1 },
    { { 0 }, NOW, NOW + 5 * DAY - 1, 0, 1 },
    { { 0 }, NOW, NOW + 5 * DAY, 1, 1 },
    { { .expire_s = 1, .warn_s = UINT32_MAX }, NOW, NOW + 999, 0, 0 },
    { { .expire_s = 1, .warn_s = UINT32_MAX }, NOW, NOW + 1000, 1, 0 },
    { { .warn_s = 1 }, NOW, NOW + 999, 0, 0 },
    { { .warn_s = 1 }, NOW, NOW + 1000, 0, 1 },
    { { .warn_s = UINT32_MAX }, NOW, NOW + 200 * YEAR, 1, 0 },
    { { .expire_s = UINT32_MAX }, NOW, NOW + UINT32_MAX *SECOND - 1, 0, 1 },
    { { .expire_s = UINT32_MAX }, NOW, NOW + UINT32_MAX *SECOND, 1, 1 },
    /* [Q10] the clock was put back: nothing is older than it is */
    { { 0 }, NOW, NOW - 1, 0, 0 },
    { { 0 }, NOW, NOW - 10 * YEAR, 0, 0 },
    { { 0 }, NOW, NOW + 10 * YEAR, 1, 1 },
    { { 0 }, INT64_MAX, INT64_MIN, 0, 0 },
    { { 0 }, INT64_MIN, INT64_MAX, 1, 1 },
    { { 0 }, 0, INT64_MAX, 1, 1 },
    { { 0 }, INT64_MIN, INT64_MIN, 0, 0 },
    { { .expire_s = UINT32_MAX, .warn_s = UINT32_MAX }, INT64_MIN, INT64_MAX, 1, 0 },
};

static void messages_expire_and_senders_are_warned_by_age(void **state) /* [C127] [Q10] [Q11] */
{
    (void)state;
    for (size_t i = 0; i < COUNT(ages); i++) {
        const age_case *c = &ages[i];
        int expired = ehlo_schedule_expired(&c->schedule, c->arrived, c->now);
        int warns = ehlo_schedule_warns(&c->schedule, c->arrived, c->now);
        int is_over = ehlo_schedule_expires(&c->schedule, c->arrived) <= c->now;
        if (c->now < EHLO_NEVER - 1) assert_int_equal(is_over, expired);
        if (expired != c->expired || warns != c->warns) fail_msg("case %zu: expired %d, warns %d", i, expired, warns);
    }
}

/* -- a life in the queue ---------------------------------------------------------------------------- */

typedef struct life {
    unsigned attempts;
    unsigned in_first_hour;
    int64_t first_warning; /* the age */
    int64_t given_up;
} life;

/* Every attempt takes no time, and fails. */
static life live(const ehlo_schedule *schedule, uint64_t seed)
{
    life l = { .given_up = -1, .first_warning = -1 };
    int64_t now = NOW;
    for (l.attempts = 1; !ehlo_schedule_expired(schedule, NOW, now); l.attempts++) {
        if (now - NOW < HOUR) l.in_first_hour++;
        if (l.first_warning < 0 && ehlo_schedule_warns(schedule, NOW, now)) l.first_warning = now - NOW;
        int64_t next = ehlo_schedule_next(schedule, l.attempts, now, seed_of(seed + l.attempts));
        if (next - now < 30 * MINUTE && schedule->first_s == 0) fail_msg("attempts come too close");
        assert_true(l.attempts < 100000);
        now = next;
    }
    l.given_up = now - NOW;
    return l;
}

/* RFC 5321 4.5.4.1: "it seems reasonable to limit [...] two connection attempts in the first hour the message is in the
 * queue, and then back off to one every two or three hours"; "the give-up time generally needs to be at least 4-5
 * days". */
static void by_default_a_message_is_tried_twice_in_the_first_hour_and_given_up_after_days(void **state)
{ /* [C127] [Q11] */
    (void)state;
    static const ehlo_schedule schedule;
    for (uint64_t seed = 0; seed < 200; seed++) {
        life l = live(&schedule, 1000 * seed);
        assert_int_equal(l.in_first_hour, 2);
        assert_in_range(l.first_warning, 4 * HOUR, 4 * HOUR + 3 * HOUR * 9 / 8);
        assert_in_range(l.given_up, 5 * DAY, 5 * DAY + 3 * HOUR * 9 / 8);
        assert_in_range(l.attempts, 36, 44); /* every three hours and a bit for five days */
    }
}

static void settings_make_a_life_shorter_or_longer(void **state) /* [C127] */
{
    (void)state;
    ehlo_schedule quick = { .first_s = 1, .max_s = 2, .expire_s = 10, .warn_s = 3 };
    life l = live(&quick, 1);
    assert_in_range(l.attempts, 5, 8);
    assert_in_range(l.first_warning, 3 * SECOND, 3 * SECOND + 2 * SECOND * 9 / 8);
    assert_in_range(l.given_up, 10 * SECOND, 10 * SECOND + 2 * SECOND * 9 / 8);
    ehlo_schedule once = { .expire_s = 1, .warn_s = UINT32_MAX };
    l = live(&once, 1);
    assert_int_equal(l.attempts, 2);
    assert_int_equal(l.first_warning, -1);
}

/* -- clocks ----------------------------------------------------------------------------------------- */

static void a_clock_at_its_ends_overflows_nothing(void **state) /* [Q10] */
{
    (void)state;
    static const ehlo_schedule schedules[] = {
        { 0 }, { .first_s = UINT32_MAX, .max_s = UINT32_MAX, .expire_s = UINT32_MAX, .warn_s = UINT32_MAX }
    };
    static const int64_t times[] = { INT64_MIN,     INT64_MIN + 1,   -NOW,     -1, 0, 1, INT64_MAX - 2,
                                     INT64_MAX - 1, INT64_MAX - DAY, INT64_MAX };
    static const uint32_t attempts[] = { 1, 2, 33, 64, 65, UINT32_MAX - 1, UINT32_MAX };
    static const uint64_t seeds[] = { 0, 1, UINT64_MAX, UINT64_MAX - 1, (uint64_t)1 << 63 };
    for (size_t i = 0; i < COUNT(schedules) * COUNT(times) * COUNT(attempts) * COUNT(seeds); i++) {
        const ehlo_schedule *schedule = &schedules[i % COUNT(schedules)];
        int64_t now = times[i / COUNT(schedules) % COUNT(times)];
        uint32_t attempt = attempts[i / COUNT(schedules) / COUNT(times) % COUNT(attempts)];
        int64_t next =
            ehlo_schedule_next(schedule, attempt, now, seeds[i / COUNT(schedules) / COUNT(times) / COUNT(attempts)]);
        /* NEVER would say that nobody waits any more. */
        assert_true(next != EHLO_NEVER && (next >= now || now == INT64_MAX));
        if (now < 0) assert_true(next > now);
    }
}

/* A time that was stored is due when it said, but never later than the longest wait from now. */
static void what_was_stored_under_another_clock_is_tried_soon(void **state) /* [Q10] */
{
    (void)state;
    static const ehlo_schedule usual, longest = { .first_s = UINT32_MAX, .max_s = UINT32_MAX }, odd = { .max_s = 10 };
    int64_t most = 3 * HOUR * 9 / 8;
    assert_int_equal(ehlo_schedule_sane(&usual, NOW + HOUR, NOW), NOW + HOUR);
    assert_int_equal(ehlo_schedule_sane(&usual, NOW - HOUR, NOW), NOW - HOUR);
    assert_int_equal(ehlo_schedule_sane(&usual, NOW + most, NOW), NOW + most);
    assert_int_equal(ehlo_schedule_sane(&usual, NOW + most + 1, NOW), NOW + most);
    assert_int_equal(ehlo_schedule_sane(&usual, NOW + 10 * YEAR, NOW), NOW + most);
    assert_int_equal(ehlo_schedule_sane(&usual, NOW - 10 * YEAR, NOW), NOW - 10 * YEAR);
    assert_int_equal(ehlo_schedule_sane(&usual, INT64_MAX, NOW), NOW + most);
    assert_int_equal(ehlo_schedule_sane(&usual, INT64_MIN, NOW), INT64_MIN);
    assert_int_equal(ehlo_schedule_sane(&odd, NOW + HOUR, NOW), NOW + 10 * SECOND * 9 / 8);
    assert_true(ehlo_schedule_sane(&longest, INT64_MAX, INT64_MAX) > NOW);
    assert_true(ehlo_schedule_sane(&longest, INT64_MAX, INT64_MAX) != EHLO_NEVER);
    assert_true(ehlo_schedule_sane(&usual, INT64_MAX, INT64_MIN) < 0);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int64_t next = ehlo_schedule_next(&usual, 9, NOW, seed_of(seed));
        assert_int_equal(ehlo_schedule_sane(&usual, next, NOW), next); /* what it said itself is sane */
    }
}

/* The clock jumps between two attempts: the next one comes in hours at most. */
static void a_clock_that_jumps_ten_years_costs_hours_at_most(void **state) /* [Q10] */
{
    (void)state;
    static const ehlo_schedule schedule;
    static const int64_t jumps[] = { -10 * YEAR, 10 * YEAR, -DAY, DAY, -HOUR };
    for (size_t i = 0; i < COUNT(jumps); i++) {
        int64_t next = ehlo_schedule_next(&schedule, 5, NOW + DAY, seed_of(i)), now = NOW + DAY + jumps[i];
        int64_t sane = ehlo_schedule_sane(&schedule, next, now);
        assert_true(sane <= now + 3 * HOUR * 9 / 8);
        assert_int_equal(ehlo_schedule_expired(&schedule, NOW, now), jumps[i] > 4 * DAY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_up_to_a_limit_and_have_an_eighth_of_jitter),
        cmocka_unit_test(jitter_is_spread_evenly),
        cmocka_unit_test(the_same_seed_gives_the_same_time),
        cmocka_unit_test(waits_never_get_shorter),
        cmocka_unit_test(messages_expire_and_senders_are_warned_by_age),
        cmocka_unit_test(by_default_a_message_is_tried_twice_in_the_first_hour_and_given_up_after_days),
        cmocka_unit_test(settings_make_a_life_shorter_or_longer),
        cmocka_unit_test(a_clock_at_its_ends_overflows_nothing),
        cmocka_unit_test(what_was_stored_under_another_clock_is_tried_soon),
        cmocka_unit_test(a_clock_that_jumps_ten_years_costs_hours_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
