/* transaction_reply.c - replies to a transaction's commands, and what they mean for its recipients. */
#include "transaction.h"

/* -- outcomes --------------------------------------------------------------------------------------- */

static void settle_one(ehlo_transaction *t, size_t index, ehlo_outcome outcome, ehlo_stage stage, const ehlo_reply *r)
{
    ehlo_recipient *rcpt = ehlo_transaction_recipient(t, index);
    ehlo_recipient_settle(rcpt, outcome, stage, r);
    rcpt->unasked = t->unasked;
    if (outcome > t->worst) t->worst = (uint8_t)outcome;
    if (t->callbacks.on_rcpt != NULL) t->callbacks.on_rcpt(t, index, r, t->user);
}

void ehlo_transaction_settle(ehlo_transaction *t, unsigned least_step, ehlo_outcome outcome, ehlo_stage stage,
                             const ehlo_reply *r)
{
    size_t end = least_step == EHLO_STEP_WAITING ? t->envelope.nrcpts : t->asked;
    for (size_t i = t->first; i < end; i++) {
        const ehlo_recipient *rcpt = ehlo_transaction_recipient(t, i);
        if (rcpt->outcome == EHLO_OUTCOME_NONE && rcpt->step >= least_step) settle_one(t, i, outcome, stage, r);
    }
}

/* How far a recipient had come. */
static ehlo_stage stage_of(const ehlo_transaction *t, unsigned step)
{
    if (t->committed && step >= EHLO_STEP_ASKED) return EHLO_STAGE_FINAL;
    if (step == EHLO_STEP_ACCEPTED) return EHLO_STAGE_DATA;
    return step == EHLO_STEP_ASKED && t->mail_accepted ? EHLO_STAGE_RCPT : EHLO_STAGE_MAIL;
}

/* RFC 5321 4.2.5: once its end has left, a message may have arrived although nobody says so. */
void ehlo_transaction_lose(ehlo_transaction *t)
{
    for (size_t i = t->first; i < t->envelope.nrcpts; i++) {
        const ehlo_recipient *rcpt = ehlo_transaction_recipient(t, i);
        int uncertain = t->committed && rcpt->step >= EHLO_STEP_ASKED;
        if (rcpt->outcome != EHLO_OUTCOME_NONE) continue;
        settle_one(t, i, uncertain ? EHLO_OUTCOME_UNCERTAIN : EHLO_OUTCOME_NOT_SENT, stage_of(t, rcpt->step), NULL);
    }
    t->first = t->envelope.nrcpts; /* the replies that do not come either have nothing to add */
    ehlo_transaction_make_way(t);
}

/* A refusal that concerns recipients from that step on; after a 421 nothing more can be sent to anyone. */
static void refuse(ehlo_transaction *t, unsigned least_step, ehlo_stage stage, const ehlo_reply *r)
{
    ehlo_transaction_settle(t, r->code == 421 ? EHLO_STEP_WAITING : least_step, ehlo_outcome_of(r->code), stage, r);
    t->abandoned = 1;
}

/* One reply fewer to come. 0 if there is none, as the session is over. */
static int heard(ehlo_transaction *t, const ehlo_reply *r)
{
    t->pending--;
    if (r == NULL) ehlo_transaction_lose(t);
    return r != NULL;
}

/* -- MAIL ------------------------------------------------------------------------------------------- */

void ehlo_transaction_on_mail(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_transaction *t = user;
    (void)c;
    if (heard(t, r)) {
        t->mail_accepted = r->code / 100 == 2;
        t->mail_refused = !t->mail_accepted;
        if (t->mail_refused) refuse(t, EHLO_STEP_WAITING, EHLO_STAGE_MAIL, r);
    }
    ehlo_transaction_end_batch(t);
}

/* -- RCPT ------------------------------------------------------------------------------------------- */

/* RFC 5321 4.5.3.1.10: 452, and 552 from older servers, says that this is one recipient too many, unless an enhanced
 * code says something else (RFC 3463 3.6: X.5.3). */
static int says_too_many(const ehlo_reply *r)
{
    int said = r->enhanced[1] == 5 && r->enhanced[2] == 3;
    return (r->code == 452 || r->code == 552) && (r->enhanced[0] == 0 || said);
}

/* The recipient that the oldest RCPT without a reply was for. */
static size_t next_heard(ehlo_transaction *t)
{
    while (t->heard < t->asked && ehlo_transaction_recipient(t, t->heard)->step != EHLO_STEP_ASKED) t->heard++;
    return t->heard++;
}

static void take_rcpt(ehlo_transaction *t, size_t index, const ehlo_reply *r)
{
    ehlo_recipient *rcpt = ehlo_transaction_recipient(t, index);
    int whole = (t->envelope.flags & EHLO_SEND_ALL_OR_NONE) != 0;
    if (rcpt->outcome != EHLO_OUTCOME_NONE) return;
    if (r->code / 100 == 2) {
        rcpt->step = EHLO_STEP_ACCEPTED;
        t->accepted++;
        if (t->callbacks.on_rcpt != NULL) t->callbacks.on_rcpt(t, index, r, t->user);
    } else if (says_too_many(r) && t->accepted > 0 && !whole) {
        rcpt->step = EHLO_STEP_WAITING;
        t->crowded = 1;
    } else if (r->code == 421) {
        refuse(t, EHLO_STEP_WAITING, EHLO_STAGE_RCPT, r);
    } else {
        /* as "too many" a 552 is no more than a delay */
        ehlo_outcome outcome = says_too_many(r) ? EHLO_OUTCOME_DEFERRED : ehlo_outcome_of(r->code);
        settle_one(t, index, outcome, EHLO_STAGE_RCPT, r);
        t->any_refused = 1;
    }
}

void ehlo_transaction_on_rcpt(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_transaction *t = user;
    (void)c;
    t->unanswered--;
    if (heard(t, r)) take_rcpt(t, next_heard(t), r);
    ehlo_transaction_end_batch(t);
}

/* -- DATA and chunks -------------------------------------------------------------------------------- */

void ehlo_transaction_on_data(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_transaction *t = user;
    if (heard(t, r)) {
        if (r->code / 100 == 3) {
            ehlo_transaction_open_message(t);
        } else {
            /* a success here means nothing: no message was sent */
            ehlo_outcome outcome = r->code / 100 == 2 ? EHLO_OUTCOME_DEFERRED : ehlo_outcome_of(r->code);
            unsigned least = r->code == 421 ? EHLO_STEP_WAITING : EHLO_STEP_ACCEPTED;
            ehlo_transaction_settle(t, least, outcome, EHLO_STAGE_DATA, r);
            c->dirty |= t->mail_accepted;
            ehlo_transaction_make_way(t);
        }
    }
    ehlo_transaction_end_batch(t);
}

/* RFC 3030 2: after a refused chunk no other may be sent, and "A RSET command MUST be sent to clear the transaction
 * before continuing." */
void ehlo_transaction_on_chunk(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_transaction *t = user;
    if (heard(t, r) && r->code / 100 != 2) {
        refuse(t, EHLO_STEP_ACCEPTED, EHLO_STAGE_DATA, r);
        c->dirty = 1;
    }
    ehlo_transaction_end_batch(t);
}

/* -- the message ------------------------------------------------------------------------------------ */

/* RFC 2033 4.2: the next result is that of the next accepted recipient. */
static void take_result(ehlo_transaction *t, const ehlo_reply *r)
{
    while (t->told < t->asked) {
        const ehlo_recipient *rcpt = ehlo_transaction_recipient(t, t->told++);
        if (rcpt->step != EHLO_STEP_ACCEPTED || rcpt->outcome != EHLO_OUTCOME_NONE) continue;
        settle_one(t, t->told - 1, ehlo_outcome_of(r->code), EHLO_STAGE_FINAL, r);
        return;
    }
}

/* The last chunk of a batch that had no recipient was refused: what the server then keeps, nobody knows. */
static void clear_doubt(ehlo_client *c, const ehlo_transaction *t)
{
    if (c->doubtful != t) return;
    c->doubtful = NULL;
    c->dirty |= t->accepted == 0;
}

void ehlo_transaction_on_final(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_transaction *t = user;
    if (heard(t, r)) {
        clear_doubt(c, t);
        if (ehlo_transaction_is_lmtp(t) && t->committed)
            take_result(t, r);
        else
            ehlo_transaction_settle(t, EHLO_STEP_ACCEPTED, ehlo_outcome_of(r->code), stage_of(t, EHLO_STEP_ACCEPTED),
                                    r);
    }
    ehlo_transaction_end_batch(t);
}
