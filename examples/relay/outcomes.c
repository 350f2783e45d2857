#include "outcomes.h"

#include "log.h"
#include "reply.h"

#include <stdio.h>
#include <time.h>

/* "ID: to <b@example.org>: deferred, mx.example.org (451 4.3.0 Try again later), again in 1800 s" */
static void log_recipient(const ehlo_batch *batch, const ehlo_batch_rcpt *rcpt, int64_t wait_s)
{
    char code[REPLY_CODE_MAX];
    char again[48] = "";
    ehlo_str state = rcpt->state == EHLO_STATE_QUEUED ? ehlo_outcome_name((ehlo_outcome)rcpt->rcpt.outcome)
                                                      : ehlo_state_name((ehlo_state)rcpt->state);
    reply_code_write(rcpt->rcpt.code, rcpt->rcpt.enhanced, code);
    if (rcpt->state == EHLO_STATE_QUEUED) snprintf(again, sizeof again, ", again in %lld s", (long long)wait_s);
    log_line("%.*s: to <%.*s>: %.*s%s%.*s (%s%.*s)%s", (int)batch->message.len, batch->message.ptr,
             (int)rcpt->rcpt.to.len, rcpt->rcpt.to.ptr, (int)state.len, state.ptr, rcpt->host_len > 0 ? ", " : "",
             (int)rcpt->host_len, rcpt->host, code, (int)rcpt->text_len, rcpt->text, again);
}

static void log_reports(const ehlo_batch *batch, const ehlo_progress *progress)
{
    for (int action = EHLO_ACTION_FAILED; action <= EHLO_ACTION_EXPANDED; action++) {
        ehlo_str name = ehlo_action_name((ehlo_action)action);
        if (!progress->reports[action]) continue;
        log_line("%.*s: report to <%.*s>: %.*s", (int)batch->message.len, batch->message.ptr,
                 (int)batch->envelope.from.len, batch->envelope.from.ptr, (int)name.len, name.ptr);
    }
}

void outcomes_recorded(const ehlo_batch *batch, const ehlo_progress *progress, void *ctx)
{
    int64_t wait_s = progress->next_try == EHLO_NEVER ? 0 : progress->next_try / 1000 - (int64_t)time(NULL);
    (void)ctx;
    for (size_t i = 0; i < batch->nrcpts; i++) log_recipient(batch, &batch->rcpts[i], wait_s > 0 ? wait_s : 0);
    log_reports(batch, progress);
}

void outcomes_problem(ehlo_str text, void *ctx)
{
    (void)ctx;
    log_octets("", text);
}

void outcomes_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *ctx)
{
    (void)ctx;
    log_dialogue(ehlo_client_number(c), direction == EHLO_TRACE_IN ? "server" : "we", bytes, secret);
}
