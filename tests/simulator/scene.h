/* scene.h - a whole world from one seed: relays, final servers, name servers and a sender; a time of troubles; and then
 * peace, in which all has to come to its end. */
#ifndef EHLO_TESTS_SCENE_H
#define EHLO_TESTS_SCENE_H

#include "ledger.h"

typedef struct scene_result {
    char fault[512]; /* what was wrong, or empty */
    uint64_t simulated_ms;
    ledger_sums sums;
} scene_result;

/* functions: of the relays' stores; NULL: store_functions. */
scene_result scene_run(uint64_t seed, const ehlo_store *functions);

#endif
