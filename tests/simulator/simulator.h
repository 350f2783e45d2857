/* simulator.h - machines, a network and a clock in one process, all of it drawn from one seed.
 *
 * The library runs as it is: the executable is linked so that the system calls of lib/net end in os.c (ld --wrap), which
 * knows the machine they come from. Every machine has one loop, which is stepped when something is ready for it; when
 * nothing is, time jumps to the next event. Nothing but the seed decides what happens: it happens again the same way.
 *
 * A machine may crash at any system call: from there on nothing that it does has any effect; at the end of the step it is
 * taken down, and later started anew.
 *
 * Order: the world, machines, the network. */
#ifndef EHLO_TESTS_SIMULATOR_H
#define EHLO_TESTS_SIMULATOR_H

#include <ehlo/net.h>

/* -- the world -------------------------------------------------------------------------------------- */

/* The Unix time at which every world begins. */
#define SIMULATOR_EPOCH_MS INT64_C(1800000000000)

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

void world_begin(uint64_t seed);
/* Takes down every machine. */
void world_end(void);
/* 1 between the two. */
int world_exists(void);

/* Milliseconds since the beginning. */
uint64_t world_now(void);
/* Runs until then, or until a breach. */
void world_run(uint64_t until);

/* Drawn: any number; 0 to n - 1; 1 in so many of a thousand cases. */
uint64_t world_random(void);
uint64_t world_draw(uint64_t n);
int world_chance(unsigned permille);
/* Drawn between the two, small ones as likely as large ones. */
uint64_t world_between(uint64_t least, uint64_t most);

/* Calls fn(arg, 1) in so many milliseconds; or fn(arg, 0), to free arg, if the world ends before. */
void world_after(uint64_t ms, void (*fn)(void *arg, int run), void *arg);

/* Something is wrong: the run ends. The first text counts. */
void world_breach(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* It, or an empty text. */
const char *world_fault(void);

/* A line with time and machine, where tracing is on. */
void world_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
int world_traces(void);

/* -- machines --------------------------------------------------------------------------------------- */

typedef struct machine machine;
struct stream;
struct machine {
    machine *next;
    char name[32];
    ehlo_address v4; /* 10.0.0.N */
    ehlo_address v6; /* 2001:db8::N */
    /* Starts what runs on it, and sets loop; or none, where the functions below do the work. */
    void (*boot)(machine *m);
    /* Frees all of that, loop included. crashed: as it is, without a word to anybody. */
    void (*halt)(machine *m, int crashed);
    /* Frees app at the end of the world; may be NULL. */
    void (*discard)(machine *m);
    void *app;
    ehlo_loop *loop;
    /* Without a loop: what comes to port 53. A stream's octets are there to be read, or its end. */
    void (*on_datagram)(machine *m, const ehlo_address *from, const char *bytes, size_t len);
    void (*on_stream)(machine *m, struct stream *s);

    int64_t clock_ms;  /* how far its Unix time is from the true one */
    unsigned crash_in; /* system calls until it crashes; 0: it does not */
    int island;        /* only machines of the same one reach each other */
    int up;
    int dead;   /* crashed, not yet taken down */
    int over;   /* its loop has ended, likewise */
    int ending; /* its loop was told to stop */
    unsigned boots;
    int ready; /* private: something may be ready for its loop */
    uint16_t last_port;
};

/* A machine that is down. */
machine *machine_new(const char *name, void (*boot)(machine *m), void (*halt)(machine *m, int crashed), void *app);
/* Nothing, if it is up already. */
void machine_start(machine *m);
void machine_stop(machine *m, int crashed);
/* Whose code is running; NULL: nobody's. */
machine *machine_current(void);
/* Runs fn as code of that machine. */
void machine_run(machine *m, void (*fn)(machine *m, void *arg), void *arg);
/* NULL: nobody has that address. */
machine *machine_at(const ehlo_address *address);
/* What its clock says. */
int64_t machine_unix_ms(const machine *m);
/* It makes a system call, which has no effect (0) from its crash on. */
int machine_acts(machine *m);
/* The list of all. */
machine *world_machines(void);

/* -- the network ------------------------------------------------------------------------------------ */

/* What it does to traffic, in so many of a thousand cases. */
typedef struct network_faults {
    unsigned drop;      /* a datagram is lost, */
    unsigned twice;     /* or comes twice */
    unsigned cut;       /* a stream breaks at some octet */
    unsigned slow;      /* a stream carries few octets in a second */
    unsigned refuse;    /* a stream is refused although somebody listens, */
    unsigned silent;    /* or its opening is never answered */
    unsigned delay_max; /* milliseconds */
} network_faults;

/* NULL: none, and from now on every stream is whole. */
void network_set(const network_faults *faults);

#endif
