/* ledger.h - what was sent, what was promised and what arrived, and whether that fits together.
 *
 * Every recipient of every message has an address of its own, so that it can be followed wherever it turns up. What a
 * relay stores begins with a line that names its copy; while the store hands it out, the number of the attempt is put in:
 * so whoever takes a message can tell which attempt brought it. */
#ifndef EHLO_TESTS_LEDGER_H
#define EHLO_TESTS_LEDGER_H

#include "simulator.h"
#include "store.h"

enum { LEDGER_RCPTS_MAX = 16, LEDGER_ADDRESS_MAX = 64 };

/* A message that a sender makes up. */
typedef struct ledger_message {
    struct ledger_message *next;
    unsigned number;
    char from[LEDGER_ADDRESS_MAX]; /* empty: the null reverse-path */
    char *content;
    size_t len;
    uint64_t deadline; /* by which it has to be delivered; 0: none */
    struct ledger_rcpt {
        char to[LEDGER_ADDRESS_MAX];
        uint8_t notify;
        int told;           /* the outcome that the sender was told; -1: none yet */
        unsigned accepted;  /* by a relay, from the sender */
        unsigned delivered; /* by a final server */
        unsigned ended;     /* copies of it that failed or expired */
    } rcpts[LEDGER_RCPTS_MAX];
    size_t n;
} ledger_message;

void ledger_begin(void);
void ledger_end(void);

/* Makes up a message, without recipients. */
ledger_message *ledger_new(const char *from, size_t lines);
/* prefix: begins the local part. */
void ledger_add(ledger_message *message, const char *prefix, const char *domain, uint8_t notify);
void ledger_told(ledger_message *message, size_t rcpt, ehlo_outcome outcome);

/* -- relays ----------------------------------------------------------------------------------------- */

/* The line that a relay's copy begins with; out has room for LEDGER_LINE_LEN + 1. */
#define LEDGER_LINE_LEN 35
void ledger_line(unsigned store_number, ehlo_str name, char *out);
/* Puts the attempt in, if the line is in this piece. */
void ledger_patch(const ehlo_batch *batch, uint64_t offset, char *piece, size_t len);

/* What a relay works by. */
typedef struct ledger_rules {
    unsigned store_number;
    const ehlo_relay_policy *policy;
} ledger_rules;

void ledger_committed(machine *by, const ledger_rules *rules, const store_message *message, const store *s);
void ledger_claimed(machine *by, const ledger_rules *rules, const ehlo_batch *batch);
void ledger_recorded(machine *by, const ledger_rules *rules, const ehlo_batch *batch, const ehlo_progress *progress,
                     int result);

/* Batches of that store were hurried. */
void ledger_hurried(const ledger_rules *rules);
/* What may have happened in attempts that are not recorded is known to nobody: their lease is gone, or this machine. */
void ledger_lease_lost(const ledger_rules *rules, const ehlo_batch *batch);
void ledger_crashed(const machine *m);

/* -- final servers ---------------------------------------------------------------------------------- */

/* reports: it offers DSN. */
void ledger_delivered(machine *by, ehlo_str content, const ehlo_str *rcpts, size_t n, int reports);

/* -- the end ---------------------------------------------------------------------------------------- */

/* 1 if every sender was told what became of its messages. */
int ledger_all_told(void);
/* Counts what the stores say in the end, and checks all of it. */
void ledger_check(const store *const *stores, size_t n);

typedef struct ledger_sums {
    unsigned messages, rcpts, accepted, delivered, twice, ended, attempts, uncertain, lost, reports;
} ledger_sums;
ledger_sums ledger_sum(void);

#endif
