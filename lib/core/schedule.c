/* When to try again, to warn, and to give up (RFC 5321 4.5.4.1). */
#include "dice.h"

#include <ehlo/relay.h>

enum { MS = 1000, FIRST_S = 1800, MAX_S = 10800, EXPIRE_S = 432000, WARN_S = 14400 };

static uint64_t setting(uint32_t seconds, uint32_t usual)
{
    return (uint64_t)(seconds != 0 ? seconds : usual) * MS;
}

/* RFC 5321 4.5.4.1: "The sender MUST delay retrying a particular destination after one attempt has failed." */
static uint64_t wait_after(const ehlo_schedule *schedule, uint32_t attempt)
{
    uint64_t wait = setting(schedule->first_s, FIRST_S);
    uint64_t most = setting(schedule->max_s, MAX_S);
    while (attempt-- > 1 && wait < most) wait *= 2;
    return wait < most ? wait : most;
}

static uint64_t jitter_of(uint64_t wait)
{
    return wait / 8;
}

static int64_t later_by(int64_t now, uint64_t ms)
{
    return now < EHLO_NEVER - 1 - (int64_t)ms ? now + (int64_t)ms : EHLO_NEVER - 1;
}

int64_t ehlo_schedule_next(const ehlo_schedule *schedule, uint32_t attempt, int64_t now, uint64_t seed)
{
    uint64_t wait = wait_after(schedule, attempt);
    return later_by(now, wait + ehlo_dice_below(&seed, jitter_of(wait) + 1));
}

/* A clock that was put back makes nothing older than it is. */
static uint64_t age(int64_t arrived, int64_t now)
{
    return now > arrived ? (uint64_t)now - (uint64_t)arrived : 0;
}

int64_t ehlo_schedule_expires(const ehlo_schedule *schedule, int64_t arrived)
{
    return later_by(arrived, setting(schedule->expire_s, EXPIRE_S));
}

int ehlo_schedule_expired(const ehlo_schedule *schedule, int64_t arrived, int64_t now)
{
    return age(arrived, now) >= setting(schedule->expire_s, EXPIRE_S);
}

int ehlo_schedule_warns(const ehlo_schedule *schedule, int64_t arrived, int64_t now)
{
    return schedule->warn_s != UINT32_MAX && age(arrived, now) >= setting(schedule->warn_s, WARN_S);
}

int64_t ehlo_schedule_sane(const ehlo_schedule *schedule, int64_t next_try, int64_t now)
{
    uint64_t most = wait_after(schedule, UINT32_MAX);
    int64_t latest = later_by(now, most + jitter_of(most));
    return next_try < latest ? next_try : latest;
}
