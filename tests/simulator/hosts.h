/* hosts.h - what runs on the machines of a scene: final servers, relays, and a sender. */
#ifndef EHLO_TESTS_HOSTS_H
#define EHLO_TESTS_HOSTS_H

#include "ledger.h"
#include "simulator.h"
#include "store.h"

/* -- final servers ---------------------------------------------------------------------------------- */

/* What they do, in so many of a thousand cases, whatever they are asked. Beside that recipients whose local part begins
 * with "reject" are 550, with "defer" 451, always. */
typedef struct mail_faults {
    unsigned defer;  /* 4yz */
    unsigned reject; /* 5yz */
    unsigned end;    /* 421 */
    unsigned slow;   /* an answer after a while */
    unsigned never;  /* no answer at all; or a crash, where a message has just been taken */
} mail_faults;

/* Of all of them; NULL: none. */
void mail_set(const mail_faults *faults);

typedef struct mail_settings {
    uint32_t extensions; /* EHLO_CAP_*; 0: none */
    uint32_t max_recipients;
} mail_settings;

/* A machine, not started. */
machine *mail_machine(const char *name, const mail_settings *settings);

/* -- relays ----------------------------------------------------------------------------------------- */

/* What stores do, in so many of a thousand calls. */
typedef struct store_faults {
    unsigned later; /* answered after seconds, */
    unsigned slow;  /* and of these: after minutes */
    unsigned fail;
    unsigned damage; /* of messages: what was stored is broken */
} store_faults;

/* Of all of them; NULL: none. */
void relay_set(const store_faults *faults);

typedef struct relay_settings {
    unsigned store_number;
    store *store;      /* may be shared */
    int leases_run_on; /* they outlive a crash */
    const ehlo_address *nameservers;
    size_t n;
    ehlo_relay_policy policy;
    int knows_its_addresses;
    uint32_t lease_ms;
    uint32_t concurrency; /* as in ehlo_relay_config, these too */
    uint32_t destination_concurrency;
    uint32_t session_messages;
    const ehlo_store *functions; /* NULL: store_functions */
} relay_settings;

/* A machine, not started; settings are copied, what they point to is not. */
machine *relay_machine(const char *name, const relay_settings *settings);
/* Ends it as a signal would: its loop is told to stop. */
void relay_stop(machine *m, int grace_ms);
/* For so long it can't reach its store. */
void relay_cut_off(machine *m, uint64_t ms);
/* As an ETRN does: node has its option in front. */
void relay_hurry(machine *m, char *node);

/* -- the sender ------------------------------------------------------------------------------------- */

machine *sender_machine(const char *name);
/* Hands a message to the relay at that address, once, some time from now. */
void sender_send(machine *m, uint64_t ms, ledger_message *message, const ehlo_address *relay);

#endif
