/* One attempt at a batch: from its destination to hosts, to their addresses, to a session, to an outcome for each recipient.
 *
 *     destination --MX--> groups of hosts that are equally preferred
 *     each group  --ADDRESSES, host by host--> addresses
 *     each address --CONNECT--> a session --SEND--> outcomes
 *
 * until every recipient has an outcome, or nothing is left to be tried: RECORD. Smart hosts are groups of one each, a
 * literal is an address already. Recipients without an outcome stand in front. */
#include "dice.h"
#include "relay.h"
#include "transaction.h"

#include <string.h>

/* Of the many addresses that a host may have some are enough; so that others get their turn. */
enum { HOST_ADDRESSES_MAX = 8, ADDRESSES_MAX = 64, TRIED_MAX = 10, SMTP_PORT = 25 };

/* An address of the group that is being tried, and whose it is. */
typedef struct candidate {
    ehlo_address address;
    size_t host;
} candidate;

/* What failed: of all that did, what leaves most hope, and of several such the last. */
typedef struct delivery_failure {
    ehlo_outcome outcome; /* NONE: nothing failed yet */
    ehlo_stage stage;
    ehlo_reply reply; /* its codes; what is kept of the words is below */
    char text[EHLO_REPLY_KEPT];
    char host[EHLO_REPLY_KEPT];
    uint8_t text_len;
    uint8_t host_len;
} delivery_failure;

struct ehlo_delivery {
    ehlo_relay_policy policy;
    ehlo_batch *batch;
    ehlo_task task;
    uint64_t dice;
    size_t undecided; /* recipients in front that have no outcome yet */
    uint32_t tried;   /* addresses */

    ehlo_mx hosts[EHLO_MX_MAX + 1]; /* the last tells that there are more. Not smart ones: those are the policy's */
    size_t nhosts;
    size_t group, group_end; /* the hosts that are tried now */
    size_t asked;            /* of them: whose addresses are looked up */
    uint8_t implicit;        /* 1: the domain has no MX records and is its own host */
    uint8_t is_cut;          /* 1: there are hosts or addresses for which there was no room */
    candidate candidates[ADDRESSES_MAX];
    size_t ncandidates, next_candidate;

    uint8_t reused;      /* 1: a session that was open still was tried, or is */
    uint8_t over_reused; /* 1: it is; should it be lost, the task is `before` again */
    ehlo_task before;
    char host[EHLO_REPLY_KEPT]; /* of the session */
    uint8_t host_len;
    delivery_failure failure;
};

static void try_next_address(ehlo_delivery *d);

/* -- hosts: the plan's, or the policy's ------------------------------------------------------------- */

static int is_smart(const ehlo_delivery *d)
{
    return d->policy.nsmart_hosts > 0;
}

static ehlo_str host_name(const ehlo_delivery *d, size_t host)
{
    if (is_smart(d)) return d->policy.smart_hosts[host].name;
    if (d->nhosts == 0) return d->batch->destination; /* a literal */
    return ehlo_str_make(d->hosts[host].name.text, d->hosts[host].name.len);
}

static uint16_t host_port(const ehlo_delivery *d, size_t host)
{
    uint16_t port = is_smart(d) ? d->policy.smart_hosts[host].port : d->policy.mx_port;
    return port != 0 ? port : SMTP_PORT;
}

/* Smart hosts are tried one by one. */
static int are_equal(const ehlo_delivery *d, size_t a, size_t b)
{
    return !is_smart(d) && d->hosts[a].preference == d->hosts[b].preference;
}

/* -- text ------------------------------------------------------------------------------------------- */

static uint8_t keep_name(char kept[EHLO_REPLY_KEPT], ehlo_str name)
{
    size_t len;
    ehlo_text_clean(name, kept, EHLO_REPLY_KEPT, &len);
    return (uint8_t)len;
}

/* Adds words that a peer said, and a space before them. */
static uint8_t add_words(char kept[EHLO_REPLY_KEPT], uint8_t len, ehlo_str words)
{
    size_t added;
    if (len > 0 && len < EHLO_REPLY_KEPT) kept[len++] = ' ';
    ehlo_text_clean(words, kept + len, EHLO_REPLY_KEPT - (size_t)len, &added);
    return (uint8_t)(len + added);
}

/* A reply comes as it was received, line by line with its codes; a text of our own is nothing but that. */
static uint8_t keep_text(char kept[EHLO_REPLY_KEPT], const ehlo_reply *reply)
{
    ehlo_str line, rest = reply->text;
    uint8_t len = 0;
    int more;
    while ((more = ehlo_reply_next(&rest, &line)) > 0) len = add_words(kept, len, line);
    return more == 0 && reply->text.len > 0 ? len : add_words(kept, 0, reply->text);
}

/* -- failures --------------------------------------------------------------------------------------- */

/* What nobody said has no code of a reply. */
static ehlo_reply own_reply(uint16_t class, uint16_t subject, uint16_t detail, const char *text)
{
    ehlo_reply reply = { .enhanced = { class, subject, detail }, .text = ehlo_str_from(text) };
    return reply;
}

static void note(ehlo_delivery *d, ehlo_outcome outcome, ehlo_stage stage, const ehlo_reply *reply, ehlo_str host)
{
    delivery_failure *f = &d->failure;
    if (f->outcome != EHLO_OUTCOME_NONE && f->outcome < outcome) return;
    f->outcome = outcome;
    f->stage = stage;
    f->reply = *reply;
    f->reply.text = ehlo_str_make(NULL, 0);
    f->text_len = keep_text(f->text, reply);
    f->host_len = keep_name(f->host, host);
}

/* -- the end ---------------------------------------------------------------------------------------- */

/* RFC 8689 5: a report on a message that demands TLS demands it too. */
static void set_task(ehlo_delivery *d, ehlo_task_kind kind)
{
    ehlo_task task = { .kind = kind,
                       .smart = (uint8_t)is_smart(d),
                       .verified_tls = (d->batch->envelope.flags & EHLO_SEND_REQUIRETLS) != 0 };
    d->task = task;
}

/* Whoever has no outcome gets that of the failure. */
static void finish(ehlo_delivery *d)
{
    const delivery_failure *f = &d->failure;
    for (size_t i = 0; i < d->undecided; i++) {
        ehlo_batch_rcpt *r = &d->batch->rcpts[i];
        ehlo_recipient_settle(&r->rcpt, f->outcome, f->stage, &f->reply);
        memcpy(r->text, f->text, f->text_len);
        memcpy(r->host, f->host, f->host_len);
        r->text_len = f->text_len;
        r->host_len = f->host_len;
    }
    d->undecided = 0;
    set_task(d, EHLO_TASK_RECORD);
}

/* Where addresses are left that were not tried, nobody has said the last word. */
static void give_up(ehlo_delivery *d)
{
    if (d->failure.outcome == EHLO_OUTCOME_REJECTED) d->failure.outcome = EHLO_OUTCOME_DEFERRED;
    finish(d);
}

static void finish_without_route(ehlo_delivery *d, ehlo_route route)
{
    ehlo_reply reply = ehlo_route_reply(route);
    d->failure.outcome = EHLO_OUTCOME_NONE;
    note(d, ehlo_outcome_of(reply.code), EHLO_STAGE_RESOLVE, &reply, ehlo_str_make(NULL, 0));
    finish(d);
}

/* -- addresses of a group --------------------------------------------------------------------------- */

static void add_candidate(ehlo_delivery *d, size_t host, const ehlo_address *address)
{
    if (d->ncandidates == ADDRESSES_MAX) {
        d->is_cut = 1;
        return;
    }
    candidate *c = &d->candidates[d->ncandidates++];
    c->address = *address;
    c->address.port = host_port(d, host);
    c->host = host;
}

static void add_candidates(ehlo_delivery *d, size_t host, const ehlo_address *addresses, size_t n)
{
    size_t taken = n < HOST_ADDRESSES_MAX ? n : HOST_ADDRESSES_MAX;
    if (taken < n) d->is_cut = 1;
    for (size_t i = 0; i < taken; i++) add_candidate(d, host, &addresses[i]);
}

/* 1 if the addresses of the host need not be looked up. */
static int is_located(ehlo_delivery *d, size_t host)
{
    const ehlo_host *smart;
    ehlo_address address;
    if (!is_smart(d)) return 0;
    smart = &d->policy.smart_hosts[host];
    if (smart->naddresses > 0) {
        add_candidates(d, host, smart->addresses, smart->naddresses);
        return 1;
    }
    if (!ehlo_host_is_address(smart->name, &address)) return 0;
    add_candidate(d, host, &address);
    return 1;
}

static void look_up_group(ehlo_delivery *d)
{
    while (d->asked < d->group_end && is_located(d, d->asked)) d->asked++;
    if (d->asked == d->group_end) {
        try_next_address(d);
        return;
    }
    set_task(d, EHLO_TASK_ADDRESSES);
    d->task.name = host_name(d, d->asked);
}

static void try_next_group(ehlo_delivery *d)
{
    d->ncandidates = d->next_candidate = 0;
    d->group = d->asked = d->group_end;
    if (d->group == d->nhosts) {
        if (d->is_cut)
            give_up(d);
        else
            finish(d);
        return;
    }
    do {
        d->group_end++;
    } while (d->group_end < d->nhosts && are_equal(d, d->group, d->group_end));
    look_up_group(d);
}

/* RFC 5321 5.1: our own host, those equal to it and all behind it are no way to go. */
static void cut_off_group(ehlo_delivery *d)
{
    d->nhosts = d->group_end = d->group;
    if (d->group == 0) {
        finish_without_route(d, EHLO_ROUTE_SELF);
        return;
    }
    try_next_group(d);
}

static int is_own(const ehlo_delivery *d, const ehlo_address *addresses, size_t n)
{
    for (size_t i = 0; i < n && !is_smart(d); i++) {
        if (ehlo_address_is_own(&d->policy, &addresses[i])) return 1;
    }
    return 0;
}

/* A host without an address is none, for good; but the name of a smart host can be mended. */
static void note_unlocated(ehlo_delivery *d, ehlo_dns_status status)
{
    ehlo_outcome outcome = EHLO_OUTCOME_NOT_SENT;
    ehlo_reply reply = own_reply(4, 4, 3, "The server's name cannot be looked up for now");
    if (status == EHLO_DNS_NODATA || status == EHLO_DNS_NXDOMAIN) {
        outcome = is_smart(d) ? EHLO_OUTCOME_NOT_SENT : EHLO_OUTCOME_REJECTED;
        reply = is_smart(d) ? own_reply(4, 4, 4, "The server's name has no address")
                            : ehlo_route_reply(d->implicit ? EHLO_ROUTE_NO_DOMAIN : EHLO_ROUTE_NO_HOST);
    }
    note(d, outcome, EHLO_STAGE_RESOLVE, &reply, host_name(d, d->asked));
}

/* -- sessions --------------------------------------------------------------------------------------- */

static void set_connect(ehlo_delivery *d)
{
    const candidate *c = &d->candidates[d->next_candidate];
    set_task(d, EHLO_TASK_CONNECT);
    d->task.name = host_name(d, c->host);
    d->task.address = c->address;
}

static void try_next_address(ehlo_delivery *d)
{
    uint32_t most = d->policy.addresses_max != 0 ? d->policy.addresses_max : TRIED_MAX;
    if (d->next_candidate == d->ncandidates)
        try_next_group(d);
    else if (d->tried == most)
        give_up(d);
    else
        set_connect(d);
}

static void leave_address(ehlo_delivery *d)
{
    d->tried++;
    d->next_candidate++;
    try_next_address(d);
}

static void begin_sending(ehlo_delivery *d)
{
    set_task(d, EHLO_TASK_SEND);
    d->task.nrcpts = d->undecided;
    for (size_t i = 0; i < d->undecided; i++) {
        ehlo_batch_rcpt *r = &d->batch->rcpts[i];
        ehlo_recipient_settle(&r->rcpt, EHLO_OUTCOME_NONE, EHLO_STAGE_NONE, NULL);
        r->text_len = 0;
        r->host_len = keep_name(r->host, ehlo_str_make(d->host, d->host_len));
    }
}

/* -- life ------------------------------------------------------------------------------------------- */

size_t ehlo_delivery_size(void)
{
    return sizeof(ehlo_delivery);
}

static void begin_literal(ehlo_delivery *d, const ehlo_address *address)
{
    if (is_own(d, address, 1)) {
        finish_without_route(d, EHLO_ROUTE_SELF);
        return;
    }
    add_candidate(d, 0, address);
    try_next_address(d);
}

static void begin(ehlo_delivery *d)
{
    ehlo_address address;
    if (is_smart(d)) {
        d->nhosts = d->policy.nsmart_hosts;
        try_next_group(d);
    } else if (ehlo_host_is_address(d->batch->destination, &address)) {
        begin_literal(d, &address);
    } else if (!ehlo_host_is_name(d->batch->destination)) {
        finish_without_route(d, EHLO_ROUTE_NO_DOMAIN);
    } else {
        set_task(d, EHLO_TASK_MX);
        d->task.name = d->batch->destination;
    }
}

int ehlo_delivery_init_sized(ehlo_delivery **result, void *mem, size_t len, const ehlo_relay_policy *policy,
                             size_t policy_size, ehlo_batch *batch, uint64_t seed)
{
    ehlo_delivery *d = mem;
    if (batch->nrcpts == 0 || batch->destination.len == 0) return EHLO_ERR_ARG;
    if (len < sizeof *d) return EHLO_ERR_SPACE;
    memset(d, 0, sizeof *d);
    if (policy != NULL) memcpy(&d->policy, policy, policy_size < sizeof d->policy ? policy_size : sizeof d->policy);
    d->batch = batch;
    d->dice = seed;
    d->undecided = batch->nrcpts;
    for (size_t i = 0; i < batch->nrcpts; i++) batch->rcpts[i].action = EHLO_ACTION_NONE;
    begin(d);
    *result = d;
    return EHLO_OK;
}

const ehlo_task *ehlo_delivery_task(const ehlo_delivery *d)
{
    return &d->task;
}

/* -- events ----------------------------------------------------------------------------------------- */

static ehlo_route plan(ehlo_delivery *d, ehlo_dns_answer *answer)
{
    d->implicit = answer->status == EHLO_DNS_NODATA;
    ehlo_route route = ehlo_mx_plan(answer, d->batch->destination, &d->policy, ehlo_dice_next(&d->dice), d->hosts,
                                    EHLO_MX_MAX + 1, &d->nhosts);
    if (d->nhosts <= EHLO_MX_MAX) return route;
    d->nhosts = EHLO_MX_MAX;
    d->is_cut = 1;
    return route;
}

int ehlo_delivery_mx(ehlo_delivery *d, ehlo_dns_answer *answer)
{
    if (d->task.kind != EHLO_TASK_MX) return EHLO_ERR_STATE;
    ehlo_route route = answer != NULL ? plan(d, answer) : EHLO_ROUTE_UNKNOWN;
    if (route != EHLO_ROUTE_FOUND)
        finish_without_route(d, route);
    else
        try_next_group(d);
    return EHLO_OK;
}

int ehlo_delivery_addresses(ehlo_delivery *d, ehlo_dns_status status, const ehlo_address *addresses, size_t n)
{
    if (d->task.kind != EHLO_TASK_ADDRESSES) return EHLO_ERR_STATE;
    if (status != EHLO_DNS_FOUND || n == 0) {
        note_unlocated(d, status);
    } else if (is_own(d, addresses, n)) {
        cut_off_group(d);
        return EHLO_OK;
    } else {
        add_candidates(d, d->asked, addresses, n);
    }
    d->asked++;
    look_up_group(d);
    return EHLO_OK;
}

static int seeks_session(const ehlo_delivery *d)
{
    return d->task.kind == EHLO_TASK_MX || d->task.kind == EHLO_TASK_ADDRESSES || d->task.kind == EHLO_TASK_CONNECT;
}

int ehlo_delivery_connected(ehlo_delivery *d, ehlo_str host)
{
    if (host.len == 0) {
        if (d->task.kind != EHLO_TASK_CONNECT) return EHLO_ERR_STATE;
        host = d->task.name;
    } else {
        if (!seeks_session(d) || d->reused) return EHLO_ERR_STATE;
        d->reused = d->over_reused = 1;
        d->before = d->task;
    }
    d->host_len = keep_name(d->host, host);
    begin_sending(d);
    return EHLO_OK;
}

/* A login that fails is ours to mend: no message is to be refused for it. RFC 8689 4.2.1: a message that demands TLS goes
 * back where none can be had. */
static ehlo_outcome judge(const ehlo_delivery *d, ehlo_stage stage, ehlo_outcome outcome)
{
    if (stage == EHLO_STAGE_AUTH && outcome == EHLO_OUTCOME_REJECTED) return EHLO_OUTCOME_DEFERRED;
    if (stage == EHLO_STAGE_STARTTLS && outcome == EHLO_OUTCOME_NOT_SENT && d->task.verified_tls)
        return EHLO_OUTCOME_REJECTED;
    return outcome;
}

/* RFC 3463 3.5: X.4.1 no answer from the host, X.4.2 bad connection, X.4.3 directory server failure; 3.8: X.7.5
 * cryptographic failure. */
static ehlo_reply complete(ehlo_stage stage, const ehlo_reply *reply)
{
    ehlo_reply result = own_reply(4, 4, 2, "The connection was lost before the message was sent");
    if (stage == EHLO_STAGE_CONNECT) result = own_reply(4, 4, 1, "The server could not be reached");
    if (stage == EHLO_STAGE_RESOLVE) result = own_reply(4, 4, 3, "The server's name cannot be looked up for now");
    if (stage == EHLO_STAGE_STARTTLS) result = own_reply(4, 7, 5, "TLS with the server failed");
    if (reply == NULL) return result;
    if (reply->code != 0) return *reply;
    if (reply->text.len > 0) result.text = reply->text;
    if (reply->enhanced[0] != 0) memcpy(result.enhanced, reply->enhanced, sizeof result.enhanced);
    return result;
}

int ehlo_delivery_failed(ehlo_delivery *d, ehlo_stage stage, ehlo_outcome outcome, const ehlo_reply *reply)
{
    static const uint16_t no_tls[3] = { 5, 7, 10 }; /* RFC 8689 4.2.1: no session inside TLS can be had */
    if (d->task.kind != EHLO_TASK_CONNECT) return EHLO_ERR_STATE;
    if (outcome < EHLO_OUTCOME_NOT_SENT || outcome > EHLO_OUTCOME_REJECTED) return EHLO_ERR_ARG;
    ehlo_outcome judged = judge(d, stage, outcome);
    ehlo_reply said = complete(stage, reply);
    if (judged == EHLO_OUTCOME_REJECTED && outcome == EHLO_OUTCOME_NOT_SENT)
        memcpy(said.enhanced, no_tls, sizeof no_tls);
    note(d, judged, stage, &said, d->task.name);
    leave_address(d);
    return EHLO_OK;
}

int ehlo_delivery_reply(ehlo_delivery *d, size_t index, const ehlo_reply *reply)
{
    if (d->task.kind != EHLO_TASK_SEND || index >= d->undecided) return EHLO_ERR_STATE;
    ehlo_batch_rcpt *r = &d->batch->rcpts[index];
    r->text_len = reply != NULL ? keep_text(r->text, reply) : 0;
    return EHLO_OK;
}

int ehlo_delivery_stop(ehlo_delivery *d)
{
    if (!seeks_session(d)) return EHLO_ERR_STATE;
    ehlo_reply said = own_reply(4, 3, 2, "The attempt was broken off");
    d->failure.outcome = EHLO_OUTCOME_NONE;
    note(d, EHLO_OUTCOME_NOT_SENT, EHLO_STAGE_CONNECT, &said, ehlo_str_make(NULL, 0));
    finish(d);
    return EHLO_OK;
}

/* -- what a transaction came to --------------------------------------------------------------------- */

/* The next host may be tried at once where nothing of the message was taken: the connection was lost before its end, or
 * the server closes down (421). */
static int may_fail_over(const ehlo_recipient *rcpt)
{
    return rcpt->outcome == EHLO_OUTCOME_NONE || rcpt->outcome == EHLO_OUTCOME_NOT_SENT ||
           (rcpt->outcome == EHLO_OUTCOME_DEFERRED && rcpt->code == 421 && rcpt->stage < EHLO_STAGE_FINAL);
}

static void note_recipient(ehlo_delivery *d, const ehlo_batch_rcpt *r)
{
    ehlo_reply reply = { .code = r->rcpt.code, .text = ehlo_str_make(r->text, r->text_len) };
    ehlo_outcome outcome = r->rcpt.code == 421 ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_NOT_SENT;
    memcpy(reply.enhanced, r->rcpt.enhanced, sizeof reply.enhanced);
    reply = complete((ehlo_stage)r->rcpt.stage, &reply);
    note(d, outcome, (ehlo_stage)r->rcpt.stage, &reply, ehlo_str_make(r->host, r->host_len));
}

static void settle(ehlo_batch_rcpt *r, int reports)
{
    ehlo_reply lost = own_reply(4, 4, 2, "The connection was lost behind the message, before the server answered it");
    if (r->rcpt.outcome == EHLO_OUTCOME_UNCERTAIN && r->rcpt.code == 0) {
        memcpy(r->rcpt.enhanced, lost.enhanced, sizeof lost.enhanced);
        r->text_len = keep_text(r->text, &lost);
    }
    /* RFC 3461 5.2.2: where the next hop will not report success, we report that it was relayed there, if it was. */
    if (!reports) r->action = EHLO_ACTION_RELAYED;
}

static void swap(ehlo_batch_rcpt *a, ehlo_batch_rcpt *b)
{
    ehlo_batch_rcpt held = *a;
    *a = *b;
    *b = held;
}

/* Those that are still undecided come to stand in front. */
static void divide(ehlo_delivery *d, int reports)
{
    ehlo_batch_rcpt *rcpts = d->batch->rcpts;
    for (size_t i = d->undecided; i-- > 0;) {
        if (may_fail_over(&rcpts[i].rcpt)) {
            note_recipient(d, &rcpts[i]);
            continue;
        }
        settle(&rcpts[i], reports);
        if (i != --d->undecided) swap(&rcpts[i], &rcpts[d->undecided]);
    }
}

int ehlo_delivery_sent(ehlo_delivery *d, int reports)
{
    if (d->task.kind != EHLO_TASK_SEND) return EHLO_ERR_STATE;
    divide(d, reports);
    if (d->undecided == 0)
        set_task(d, EHLO_TASK_RECORD);
    else if (d->over_reused)
        d->task = d->before;
    else
        leave_address(d);
    d->over_reused = 0;
    return EHLO_OK;
}

/* -- conclusion ------------------------------------------------------------------------------------- */

static ehlo_state state_of(const ehlo_delivery *d, const ehlo_batch_rcpt *r, int expired)
{
    if (r->rcpt.outcome == EHLO_OUTCOME_DELIVERED) return EHLO_STATE_DELIVERED;
    if (r->rcpt.outcome == EHLO_OUTCOME_REJECTED) return EHLO_STATE_FAILED;
    if (r->rcpt.outcome == EHLO_OUTCOME_UNCERTAIN && d->policy.uncertain == EHLO_UNCERTAIN_FAIL)
        return EHLO_STATE_FAILED;
    if (r->rcpt.outcome == EHLO_OUTCOME_UNCERTAIN && d->policy.uncertain == EHLO_UNCERTAIN_TRUST)
        return EHLO_STATE_DELIVERED;
    return expired ? EHLO_STATE_EXPIRED : EHLO_STATE_QUEUED;
}

static ehlo_action action_of(const ehlo_batch_rcpt *r, int warns)
{
    if (r->state == EHLO_STATE_FAILED || r->state == EHLO_STATE_EXPIRED) return EHLO_ACTION_FAILED;
    if (r->state == EHLO_STATE_DELIVERED) return (ehlo_action)r->action;
    return warns ? EHLO_ACTION_DELAYED : EHLO_ACTION_NONE;
}

/* RFC 5321 6.1: a message from the null reverse-path is never answered with another one. */
static int is_wanted(const ehlo_delivery *d, const ehlo_batch_rcpt *r, ehlo_action action)
{
    return d->batch->envelope.from.len > 0 && ehlo_action_wanted(action, r->rcpt.notify);
}

static void conclude_recipient(const ehlo_delivery *d, ehlo_batch_rcpt *r, int expired, int warns)
{
    if (r->rcpt.outcome == EHLO_OUTCOME_UNCERTAIN) r->uncertain = 1;
    r->state = (uint8_t)state_of(d, r, expired);
    ehlo_action action = action_of(r, warns);
    r->action = (uint8_t)(is_wanted(d, r, action) ? action : EHLO_ACTION_NONE);
}

int ehlo_delivery_conclude(ehlo_delivery *d, int64_t now, ehlo_progress *progress)
{
    const ehlo_batch *batch = d->batch;
    const ehlo_schedule *schedule = &d->policy.schedule;
    ehlo_progress result = { .next_try = EHLO_NEVER,
                             .attempt = batch->attempt + (batch->attempt < UINT32_MAX),
                             .warned = batch->warned };
    if (d->task.kind != EHLO_TASK_RECORD) return EHLO_ERR_STATE;
    int expired = ehlo_schedule_expired(schedule, batch->arrived, now);
    int warns = !batch->warned && ehlo_schedule_warns(schedule, batch->arrived, now);
    for (size_t i = 0; i < batch->nrcpts; i++) {
        conclude_recipient(d, &batch->rcpts[i], expired, warns);
        result.reports[batch->rcpts[i].action] = 1;
        if (batch->rcpts[i].state != EHLO_STATE_QUEUED) continue;
        result.next_try = ehlo_schedule_next(schedule, result.attempt, now, d->dice);
        if (warns) result.warned = 1;
    }
    result.reports[EHLO_ACTION_NONE] = 0;
    *progress = result;
    return EHLO_OK;
}

ehlo_str ehlo_state_name(ehlo_state state)
{
    static const char *const names[] = { "queued", "delivered", "failed", "expired" };
    return ehlo_str_from((unsigned)state <= EHLO_STATE_EXPIRED ? names[state] : names[0]);
}
