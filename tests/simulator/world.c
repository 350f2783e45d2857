/* world.c - time, chance and machines. */
#include "simulator.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"
#include "os.h"

/* More steps than this while time stands still: a loop that is ready for ever. */
enum { STEPS_AT_ONCE_MAX = 20000 };

typedef struct event {
    uint64_t at;
    uint64_t number; /* of two at the same time, the older one comes first */
    void (*fn)(void *arg, int run);
    void *arg;
} event;

static struct {
    int exists;
    uint64_t now;
    uint64_t random;
    uint64_t last_number;
    event *events; /* a heap */
    size_t n;
    size_t room;
    machine *machines;
    machine *current;
    unsigned steps;
    char fault[512];
} world;

/* -- chance: splitmix64 ----------------------------------------------------------------------------- */

uint64_t world_random(void)
{
    uint64_t z = world.random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint64_t world_draw(uint64_t n)
{
    return world_random() % n;
}

int world_chance(unsigned permille)
{
    return permille > 0 && world_draw(1000) < permille;
}

uint64_t world_between(uint64_t least, uint64_t most)
{
    uint64_t span = most - least + 1, some = span;
    for (unsigned halvings = (unsigned)world_draw(16); halvings > 0 && some > 2; halvings--) some /= 2;
    return least + world_draw(some);
}

/* -- events ----------------------------------------------------------------------------------------- */

static int is_sooner(const event *a, const event *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void swap(size_t a, size_t b)
{
    event kept = world.events[a];
    world.events[a] = world.events[b];
    world.events[b] = kept;
}

static void push(event added)
{
    if (world.n == world.room) {
        world.room = world.room * 2 + 64;
        world.events = realloc(world.events, world.room * sizeof *world.events);
        if (world.events == NULL) abort();
    }
    size_t at = world.n++;
    world.events[at] = added;
    for (; at > 0 && is_sooner(&world.events[at], &world.events[(at - 1) / 2]); at = (at - 1) / 2) {
        swap(at, (at - 1) / 2);
    }
}

static event pop(void)
{
    event first = world.events[0];
    world.events[0] = world.events[--world.n];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < world.n; child++) {
            if (is_sooner(&world.events[child], &world.events[least])) least = child;
        }
        if (least == at) return first;
        swap(at, least);
        at = least;
    }
}

void world_after(uint64_t ms, void (*fn)(void *arg, int run), void *arg)
{
    push((event){ .at = world.now + ms, .number = ++world.last_number, .fn = fn, .arg = arg });
}

/* -- life ------------------------------------------------------------------------------------------- */

void world_begin(uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.exists = 1;
    world.now = 1;
    world.random = seed;
    network_set(NULL);
}

void world_end(void)
{
    for (machine *m = world.machines; m != NULL; m = m->next) machine_stop(m, 1);
    while (world.n > 0) {
        event dropped = pop();
        dropped.fn(dropped.arg, 0);
    }
    free(world.events);
    network_reset();
    os_reset();
    while (world.machines != NULL) {
        machine *m = world.machines;
        world.machines = m->next;
        if (m->discard != NULL) m->discard(m);
        free(m);
    }
    world.exists = 0;
}

int world_exists(void)
{
    return world.exists;
}

uint64_t world_now(void)
{
    return world.now;
}

void world_breach(const char *format, ...)
{
    va_list args;
    if (world.fault[0] != '\0') return;
    va_start(args, format);
    vsnprintf(world.fault, sizeof world.fault, format, args);
    va_end(args);
    world_trace("BREACH: %s", world.fault);
}

const char *world_fault(void)
{
    return world.fault;
}

int world_traces(void)
{
    static int traces = -1;
    if (traces < 0) traces = getenv("EHLO_SIMULATION_TRACE") != NULL;
    return traces;
}

void world_trace(const char *format, ...)
{
    va_list args;
    if (!world_traces()) return;
    fprintf(stderr, "%10" PRIu64 ".%03u %-10s ", world.now / 1000, (unsigned)(world.now % 1000),
            world.current != NULL ? world.current->name : "");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* -- machines --------------------------------------------------------------------------------------- */

machine *machine_new(const char *name, void (*boot)(machine *m), void (*halt)(machine *m, int crashed), void *app)
{
    machine *m = calloc(1, sizeof *m);
    machine **last = &world.machines;
    uint8_t number = 1;
    if (m == NULL) abort();
    for (; *last != NULL; last = &(*last)->next) number++;
    *last = m;
    snprintf(m->name, sizeof m->name, "%s", name);
    m->boot = boot;
    m->halt = halt;
    m->app = app;
    m->v4 = (ehlo_address){ .family = EHLO_FAMILY_IPV4, .octets = { 10, 0, 0, number } };
    m->v6 = (ehlo_address){ .family = EHLO_FAMILY_IPV6, .octets = { 0x20, 0x01, 0x0D, 0xB8, [15] = number } };
    return m;
}

machine *machine_current(void)
{
    return world.current;
}

machine *world_machines(void)
{
    return world.machines;
}

void machine_run(machine *m, void (*fn)(machine *m, void *arg), void *arg)
{
    machine *outer = world.current;
    world.current = m;
    fn(m, arg);
    world.current = outer;
    m->ready = 1;
}

static void boot(machine *m, void *arg)
{
    (void)arg;
    world_trace("starts");
    if (m->boot != NULL) m->boot(m);
}

static void halt(machine *m, void *arg)
{
    int crashed = *(int *)arg;
    world_trace(crashed ? "crashes" : "stops");
    if (m->halt != NULL) m->halt(m, crashed);
}

void machine_start(machine *m)
{
    if (m->up) return;
    m->up = 1;
    m->boots++;
    m->ending = 0;
    m->dead = m->over = 0;
    m->crash_in = 0;
    machine_run(m, boot, NULL);
}

void machine_stop(machine *m, int crashed)
{
    if (!m->up) return;
    m->dead = crashed;
    machine_run(m, halt, &crashed);
    m->loop = NULL;
    m->up = 0;
    os_check_closed(m);
}

int machine_acts(machine *m)
{
    if (m == NULL || m->dead) return 0;
    if (m->crash_in == 0 || --m->crash_in > 0) return 1;
    m->dead = 1;
    return 0;
}

static int same_octets(const ehlo_address *a, const ehlo_address *b)
{
    return a->family == b->family && memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}

machine *machine_at(const ehlo_address *address)
{
    machine *m = world.machines;
    while (m != NULL && !same_octets(&m->v4, address) && !same_octets(&m->v6, address)) m = m->next;
    return m;
}

int64_t machine_unix_ms(const machine *m)
{
    return SIMULATOR_EPOCH_MS + (int64_t)world.now + (m != NULL ? m->clock_ms : 0);
}

/* -- running ---------------------------------------------------------------------------------------- */

static void step(machine *m, void *arg)
{
    int result = ehlo_loop_step(m->loop, 0);
    (void)arg;
    if (result < 0) world_breach("%s: ehlo_loop_step gives %d", m->name, result);
    if (result == 0) m->over = 1;
}

static int timeout_of(machine *m)
{
    machine *outer = world.current;
    world.current = m;
    int ms = ehlo_loop_timeout(m->loop);
    world.current = outer;
    return ms;
}

/* 1: it had something to do. */
static int step_machine(machine *m)
{
    if (!m->up || m->loop == NULL) return 0;
    if (!(m->ready && os_ready(m)) && timeout_of(m) != 0) {
        m->ready = 0;
        return 0;
    }
    machine_run(m, step, NULL);
    if (m->dead || m->over) machine_stop(m, m->dead);
    if (++world.steps > STEPS_AT_ONCE_MAX) world_breach("%s is ready for ever", m->name);
    return 1;
}

static int step_machines(void)
{
    int busy = 0;
    for (machine *m = world.machines; m != NULL && world.fault[0] == '\0'; m = m->next) busy |= step_machine(m);
    return busy;
}

static uint64_t next_time(uint64_t until)
{
    uint64_t next = until;
    if (world.n > 0 && world.events[0].at < next) next = world.events[0].at;
    for (machine *m = world.machines; m != NULL; m = m->next) {
        int ms = m->up && m->loop != NULL ? timeout_of(m) : -1;
        if (ms >= 0 && world.now + (uint64_t)ms < next) next = world.now + (uint64_t)ms;
    }
    return next;
}

void world_run(uint64_t until)
{
    while (world.fault[0] == '\0') {
        while (world.n > 0 && world.events[0].at <= world.now) {
            event due = pop();
            due.fn(due.arg, 1);
        }
        if (step_machines()) continue;
        if (world.n > 0 && world.events[0].at <= world.now) continue;
        if (world.now >= until) return;
        world.now = next_time(until);
        world.steps = 0;
    }
}
