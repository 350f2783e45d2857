/* names.h - a simulated name server: a machine that knows one zone, and answers by UDP and TCP on port 53. */
#ifndef EHLO_TESTS_NAMES_H
#define EHLO_TESTS_NAMES_H

#include "simulator.h"

typedef struct names names;

/* What it does with a question, in so many of a thousand cases. */
typedef struct names_faults {
    unsigned silent;
    unsigned failed;  /* SERVFAIL */
    unsigned refused; /* REFUSED */
    unsigned cut;     /* TC: "ask by TCP" */
    unsigned other;   /* an answer to another question: its id is wrong */
} names_faults;

/* Adds records; what was never named does not exist. */
names *names_new(void);
void names_free(names *n);
void names_add_mx(names *n, const char *name, uint16_t preference, const char *target);
void names_add_alias(names *n, const char *name, const char *target);
void names_add_address(names *n, const char *name, const ehlo_address *address);
/* NULL: none. */
void names_set(names *n, const names_faults *faults);

/* A machine, not started, that answers from these names; several may. */
machine *names_machine(names *n, const char *name);

#endif
