/* rules.h - which command may come when: a pure function of the state and of what is offered. */
#ifndef EHLO_CORE_RULES_H
#define EHLO_CORE_RULES_H

#include "replies.h"
#include "state.h"

/* What the rules need to know of the service. */
typedef struct ehlo_offer {
    uint32_t extensions; /* EHLO_CAP_* configured */
    unsigned flags;      /* EHLO_SERVICE_* */
} ehlo_offer;

/* EHLO_SAY_NOTHING if the command may be carried out, else the reply that says why not. */
ehlo_standard ehlo_rules_judge(const ehlo_state *state, const ehlo_offer *offer, ehlo_verb verb);

/* The extensions offered in this state: EHLO_CAP_*, what the next EHLO reply would list. */
uint32_t ehlo_rules_offered(const ehlo_state *state, const ehlo_offer *offer);

/* The extensions whose parameters MAIL and RCPT may carry now: those offered, and none after HELO. */
uint32_t ehlo_rules_parameters(const ehlo_state *state, const ehlo_offer *offer);

#endif
