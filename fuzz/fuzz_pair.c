/* A client and our own server in memory: the input draws what is offered, what is sent, and how it goes wrong. */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "harness/pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char arena[PAIR_ARENA];
    pair_dice dice = { data, size, 0 };
    pair_plan plan;
    if (size == 0) return 0;
    pair_plan_draw(&plan, &dice, arena);
    plan.verbose = getenv("EHLO_FUZZ_VERBOSE") != NULL;
    pair *p = pair_run(&plan, &dice);
    if (pair_fault(p)[0] != '\0') fprintf(stderr, "%s\n", pair_fault(p));
    CHECK(pair_fault(p)[0] == '\0');
    pair_free(p);
    return 0;
}
