/* test_relay.c - the relay over sockets, on the loopback interface, with a store in memory.
 *
 * Next hops are listeners of ours on the same loop, or puppets; the clock of relay and store is the test's. No sleep.
 * test_relay_poll.c runs all of it with the portable sources. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ehlo/net.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "dns_message.h"
#include "fake_tls.h"
#include "harness/store.h"
#include "puppet.h"

enum { PUPPETS_MAX = 3, TALKS_MAX = 512, SEEN_MAX = 1 << 16, LINE_MAX = 256 };

static const int64_t DAY = 86400000;

#define SIMPLE "Subject: hello\r\nX-Mark: in the header\r\n\r\nin the body\r\n"

/* -- the next hop: a listener of ours --------------------------------------------------------------- */

typedef struct talk {
    ehlo_conn_id id;
    ehlo_token token;
} talk;

typedef struct next_hop {
    unsigned connects, quits, losses, messages;
    unsigned rcpts;       /* accepted, in all messages */
    size_t rcpts_at_once; /* more of them are 452 4.5.3; 0: any number */
    size_t rcpts_now;     /* of this transaction */
    int holds;            /* 1: messages wait for hop_answer */
    talk held[TALKS_MAX];
    size_t nheld, most_held;
    char seen[SEEN_MAX]; /* the last message; NUL-ended */
    size_t len;
} next_hop;

static int begins(ehlo_str text, const char *with)
{
    return text.len >= strlen(with) && memcmp(text.ptr, with, strlen(with)) == 0;
}

static int hop_on_connect(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    next_hop *hop = ehlo_conn_ctx(s);
    (void)token;
    (void)r;
    (void)user;
    hop->connects++;
    return EHLO_OK;
}

static int hop_on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    next_hop *hop = ehlo_conn_ctx(s);
    (void)token;
    (void)mail;
    (void)r;
    (void)user;
    hop->rcpts_now = hop->len = 0;
    return EHLO_OK;
}

static int hop_on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    next_hop *hop = ehlo_conn_ctx(s);
    (void)token;
    (void)user;
    if (begins(rcpt->path.mailbox, "no"))
        *r = (ehlo_reply){ .code = 550, .enhanced = { 5, 1, 1 }, .text = ehlo_str_from("nobody here") };
    else if (begins(rcpt->path.mailbox, "later"))
        *r = (ehlo_reply){ .code = 450, .enhanced = { 4, 2, 0 }, .text = ehlo_str_from("not now") };
    else if (hop->rcpts_at_once != 0 && hop->rcpts_now == hop->rcpts_at_once)
        *r = (ehlo_reply){ .code = 452, .enhanced = { 4, 5, 3 } };
    else {
        hop->rcpts_now++;
        hop->rcpts++;
    }
    return EHLO_OK;
}

static int hop_on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    next_hop *hop = ehlo_conn_ctx(s);
    size_t room = SEEN_MAX - 1 - hop->len;
    size_t kept = len < room ? len : room;
    (void)taken;
    (void)r;
    (void)user;
    memcpy(hop->seen + hop->len, bytes, kept);
    hop->len += kept;
    hop->seen[hop->len] = '\0';
    return EHLO_OK;
}

static int hop_on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    next_hop *hop = ehlo_conn_ctx(s);
    (void)message;
    (void)r;
    (void)user;
    hop->messages++;
    if (!hop->holds) return EHLO_OK;
    assert_true(hop->nheld < TALKS_MAX);
    hop->held[hop->nheld++] = (talk){ .id = ehlo_conn_number(s), .token = token };
    if (hop->nheld > hop->most_held) hop->most_held = hop->nheld;
    return EHLO_LATER;
}

static void hop_on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    next_hop *hop = ehlo_conn_ctx(s);
    (void)pending;
    (void)user;
    if (reason == EHLO_CLOSE_QUIT)
        hop->quits++;
    else
        hop->losses++;
}

static const ehlo_server_callbacks hop_callbacks = { .on_connect = hop_on_connect,
                                                     .on_mail = hop_on_mail,
                                                     .on_rcpt = hop_on_rcpt,
                                                     .on_body = hop_on_body,
                                                     .on_message = hop_on_message,
                                                     .on_close = hop_on_close };

/* -- a DNS server ----------------------------------------------------------------------------------- */

typedef struct zone_record {
    const char *owner;
    const char *mx; /* "": the root; NULL: it is an address */
    uint8_t number; /* the preference; the last octet of 127.0.0.0 */
} zone_record;

static const zone_record zone[] = {
    { "two.example", "down.example", 10 }, { "two.example", "up.example", 20 }, { "up.example", NULL, 1 },
    { "down.example", NULL, 9 },           { "none.example", "", 0 },           { "loop.example", "self.example", 10 },
    { "loop.example", "up.example", 20 },  { "self.example", NULL, 5 },
};

/* The labels of a question as text. */
static size_t read_name(const char *query, char name[EHLO_DNS_NAME_MAX + 1])
{
    size_t at = 12, len = 0;
    while (query[at] != 0) {
        size_t label = (unsigned char)query[at++];
        assert_true(len + label < EHLO_DNS_NAME_MAX);
        memcpy(name + len, query + at, label);
        len += label;
        at += label;
        name[len++] = '.';
    }
    name[len > 0 ? len - 1 : 0] = '\0';
    return at + 1;
}

static void add_answers(dns_message *m, const char *name, unsigned type)
{
    for (size_t i = 0; i < sizeof zone / sizeof zone[0]; i++) {
        const unsigned char octets[] = { 127, 0, 0, zone[i].number };
        if (strcmp(zone[i].owner, name) != 0) continue;
        if (zone[i].mx != NULL && type == EHLO_DNS_MX) dns_add_mx(m, name, zone[i].number, zone[i].mx);
        if (zone[i].mx != NULL || type != EHLO_DNS_A) continue;
        dns_add_fields(m, name, type, 300, sizeof octets);
        dns_add(m, octets, sizeof octets);
    }
}

static void serve_dns(int fd)
{
    static dns_message m;
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    char query[EHLO_DNS_QUERY_MAX + 1], name[EHLO_DNS_NAME_MAX + 1];
    while (recvfrom(fd, query, sizeof query, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len) > 0) {
        size_t at = read_name(query, name);
        unsigned type = (unsigned char)query[at + 1];
        dns_begin(&m, DNS_RESPONSE, name, type);
        memcpy(m.bytes, query, 2);
        add_answers(&m, name, type);
        assert_true(sendto(fd, m.bytes, m.len, 0, (struct sockaddr *)&from, from_len) > 0);
    }
}

static int dns_socket(uint16_t *port)
{
    struct sockaddr_storage name;
    const ehlo_address address = loopback(0);
    socklen_t len = socket_name(&address, &name);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    *port = ntohs(((struct sockaddr_in *)&name)->sin_port);
    return fd;
}

/* -- the scene -------------------------------------------------------------------------------------- */

typedef struct scene {
    ehlo_loop *loop;
    ehlo_resolver *resolver; /* NULL: there is no DNS */
    int dns;
    fake_plan hop_plan, plan; /* of TLS: the listener's, the relay's */
    ehlo_tls_engine hop_engine, engine;
    ehlo_service *service;
    next_hop hop;
    puppet puppets[PUPPETS_MAX];
    size_t npuppets;
    store *store;
    store_door *door;
    store_setup setup;
    int pumping; /* 1: calls that the store puts off are answered as the rounds go */
    ehlo_relay *relay;
    ehlo_relay_policy policy;
    ehlo_relay_config cfg;
    ehlo_host hosts[PUPPETS_MAX];
    int64_t now;
    int stepped; /* what the last round returned */
    unsigned records, problems, refused_reports;
    char problem[LINE_MAX]; /* the last one */
    ehlo_progress progress; /* likewise, as all below */
    ehlo_state state;       /* of its first recipient */
    ehlo_recipient rcpt;
    char text[EHLO_REPLY_KEPT + 1];
    char host[EHLO_REPLY_KEPT + 1];
} scene;

static int64_t scene_ms(void *ctx)
{
    return ((scene *)ctx)->now;
}

static void scene_on_recorded(const ehlo_batch *batch, const ehlo_progress *progress, void *ctx)
{
    scene *s = ctx;
    const ehlo_batch_rcpt *r = &batch->rcpts[0];
    s->records++;
    s->progress = *progress;
    s->state = (ehlo_state)r->state;
    s->rcpt = r->rcpt;
    snprintf(s->text, sizeof s->text, "%.*s", (int)r->text_len, r->text);
    snprintf(s->host, sizeof s->host, "%.*s", (int)r->host_len, r->host);
}

static void scene_on_problem(ehlo_str text, void *ctx)
{
    scene *s = ctx;
    s->problems++;
    assert_null(memchr(text.ptr, '\n', text.len));
    snprintf(s->problem, sizeof s->problem, "%.*s", (int)text.len, text.ptr);
}

static const ehlo_client_config scene_client = { .name = { "relay.example", 13 } };

/* Everything goes to the listener, unless hosts or policy are changed before scene_start. extensions: of the listener
 * beside the usual ones. */
static void scene_open_as(scene *s, uint32_t extensions)
{
    const uint32_t usual =
        EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING | EHLO_CAP_ENHANCEDSTATUSCODES;
    const ehlo_service_config service = { .hostname = { "hop.example", 11 }, .extensions = usual | extensions };
    ehlo_listen_config listen = { .address = loopback(0), .ctx = &s->hop };
    ehlo_listener *listener;
    memset(s, 0, sizeof *s);
    s->dns = -1;
    s->stepped = 1;
    s->hop_engine = fake_engine(&s->hop_plan);
    s->engine = fake_engine(&s->plan);
    if (extensions & EHLO_CAP_STARTTLS) listen.tls = &s->hop_engine;
    assert_int_equal(ehlo_net_service_new(&s->service, &service, &hop_callbacks), EHLO_OK);
    assert_int_equal(ehlo_loop_new(&s->loop, NULL), EHLO_OK);
    listen.service = s->service;
    assert_int_equal(ehlo_loop_listen(s->loop, &listen, &listener), EHLO_OK);
    s->store = store_new(NULL);
    s->now = 100 * DAY;
    s->pumping = 1;
    s->policy = (ehlo_relay_policy){ .allow_loopback = 1, .mx_port = ehlo_listener_address(listener).port };
    s->cfg = (ehlo_relay_config){ .policy = &s->policy,
                                  .store = &store_functions,
                                  .client = &scene_client,
                                  .unix_ms = scene_ms,
                                  .ctx = s,
                                  .on_recorded = scene_on_recorded,
                                  .on_problem = scene_on_problem };
}

static void scene_open(scene *s)
{
    scene_open_as(s, 0);
}

static void scene_open_dns(scene *s)
{
    ehlo_address server = loopback(0);
    scene_open(s);
    s->dns = dns_socket(&server.port);
    const ehlo_resolver_config cfg = { .servers = &server, .nservers = 1, .hosts_file = ehlo_str_from("/dev/null") };
    assert_int_equal(ehlo_resolver_new(&s->resolver, s->loop, &cfg), EHLO_OK);
    s->cfg.resolver = s->resolver;
}

/* Everything goes to puppets, in turn. */
static puppet *scene_puppet(scene *s, const char *const *script)
{
    puppet *p = &s->puppets[s->npuppets];
    puppet_open(p, script);
    s->hosts[s->npuppets] = (ehlo_host){ .name = ehlo_str_from("127.0.0.1"), .port = p->port };
    s->policy.smart_hosts = s->hosts;
    s->policy.nsmart_hosts = ++s->npuppets;
    return p;
}

static void scene_start(scene *s)
{
    s->door = store_open(s->store, &s->setup);
    s->cfg.store_ctx = s->door;
    assert_int_equal(ehlo_relay_new(&s->relay, s->loop, &s->cfg), EHLO_OK);
}

static void scene_move(scene *s, int ms)
{
    for (size_t i = 0; i < s->npuppets; i++) puppet_move(&s->puppets[i]);
    if (s->dns >= 0) serve_dns(s->dns);
    while (s->pumping && s->door != NULL && store_pump(s->door)) continue;
    s->stepped = ehlo_loop_step(s->loop, ms);
    assert_true(s->stepped >= 0);
    assert_string_equal(s->store->fault, "");
}

#define play_until(scene, condition) repeat_until(condition, scene_move((scene), 1))

static void play_quiet(scene *s)
{
    for (int i = 0; i < 20; i++) scene_move(s, 1);
}

static void scene_close(scene *s)
{
    ehlo_relay_free(s->relay);
    if (s->door != NULL) store_close(s->door);
    ehlo_resolver_free(s->resolver);
    ehlo_loop_free(s->loop);
    if (s->dns >= 0) close(s->dns);
    assert_string_equal(s->store->fault, "");
    store_free(s->store);
    ehlo_net_service_free(s->service);
    for (size_t i = 0; i < s->npuppets; i++) puppet_close(&s->puppets[i]);
}

static store_message *put(scene *s, const char *from, const char *to, const char *content)
{
    store_message *m = store_put(s->store, &s->policy, from, to, ehlo_str_from(content), s->now);
    assert_non_null(m);
    if (s->relay != NULL) ehlo_relay_kick(s->relay);
    return m;
}

/* For the destination of our listener. */
static store_message *put_simple(scene *s)
{
    return put(s, "a@[127.0.0.1]", "b@[127.0.0.1]", SIMPLE);
}

static void pass_time(scene *s, int64_t ms)
{
    s->now += ms;
    if (s->relay != NULL) ehlo_relay_kick(s->relay);
}

/* -- delivery --------------------------------------------------------------------------------------- */

static void a_message_is_delivered_and_recorded(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put_simple(&s);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    assert_int_equal(s.progress.next_try, EHLO_NEVER);
    assert_int_equal(s.progress.attempt, 1);
    assert_string_equal(s.hop.seen, SIMPLE);
    assert_int_equal(s.hop.messages, 1);
    assert_int_equal(store_queued(s.store), 0);
    assert_int_equal(store_held(s.door), 0);
    assert_int_equal(ehlo_relay_busy(s.relay), 0);
    assert_int_equal(s.problems, 0);
    scene_close(&s);
}

/* The report that the store was given last; NULL: none. */
static const store_message *last_report(const scene *s)
{
    const store_message *report = NULL;
    for (const store_message *m = s->store->messages; m != NULL; m = m->next) {
        if (m->is_report) report = m;
    }
    return report;
}

static int says(const store_message *m, const char *text)
{
    return memmem(m->body, m->len, text, strlen(text)) != NULL;
}

static size_t count_reports(const scene *s)
{
    size_t count = 0;
    for (const store_message *m = s->store->messages; m != NULL; m = m->next) count += m->is_report != 0;
    return count;
}

static void a_refused_recipient_is_reported_and_the_report_delivered(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put(&s, "a@[127.0.0.1]", "no@[127.0.0.1] b@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    const store_message *report = last_report(&s);
    assert_non_null(report);
    assert_int_equal(report->envelope.from.len, 0);
    assert_true(says(report, "Action: failed\r\n"));
    assert_true(says(report, "Status: 5.1.1\r\n"));
    assert_true(says(report, "Final-Recipient: rfc822;no@[127.0.0.1]\r\n") ||
                says(report, "Final-Recipient: rfc822; no@[127.0.0.1]\r\n"));
    assert_true(says(report, "nobody here"));
    assert_true(says(report, "X-Mark: in the header\r\n"));
    assert_false(says(report, "b@[127.0.0.1]"));
    play_until(&s, s.records == 2);
    assert_int_equal(s.hop.messages, 2);
    assert_int_equal(s.hop.len, report->len);
    assert_memory_equal(s.hop.seen, report->body, report->len);
    assert_int_equal(store_queued(s.store), 0);
    scene_close(&s);
}

/* [C24] [Q02] */
static void a_message_without_a_reverse_path_is_never_answered(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put(&s, "", "no@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_FAILED);
    assert_null(last_report(&s));
    assert_int_equal(store_queued(s.store), 0);
    scene_close(&s);
}

/* Whatever the message held, the report on it can be delivered to any host. */
static void what_a_message_may_not_hold_does_not_lose_its_report(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put(&s, "a@[127.0.0.1]", "no@[127.0.0.1]", "Subject: caf\xe9\r\n\r\n\xe9\r\n")->envelope.body = EHLO_BODY_7BIT;
    scene_start(&s);
    play_until(&s, s.records == 2);
    assert_int_equal(count_reports(&s), 1);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    assert_int_equal(s.hop.messages, 1);
    scene_close(&s);
}

static void what_is_deferred_is_tried_again_on_the_schedule(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put(&s, "a@[127.0.0.1]", "later@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_QUEUED);
    assert_in_range(s.progress.next_try, s.now + 1800000, s.now + 2025000);
    play_quiet(&s);
    assert_int_equal(s.records, 1);
    pass_time(&s, 2025000);
    play_until(&s, s.records == 2);
    assert_int_equal(s.progress.attempt, 2);
    assert_null(last_report(&s));
    scene_close(&s);
}

/* After four hours the sender is told of the delay, once; after five days that it was given up. */
static void a_delay_is_reported_once_and_then_the_end(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    const store_message *m = put(&s, "a@[127.0.0.1]", "later@[127.0.0.1]", SIMPLE);
    const store_batch *batch = store_batch_of(s.store, m, 0);
    scene_start(&s);
    for (unsigned attempts = 1; batch->next_try != EHLO_NEVER; attempts++) {
        unsigned records = s.records;
        play_until(&s, s.records > records && ehlo_relay_busy(s.relay) == 0);
        play_quiet(&s);
        assert_true(attempts < 100);
        pass_time(&s, 13000000);
    }
    play_quiet(&s);
    assert_int_equal(count_reports(&s), 2);
    const store_message *report = last_report(&s);
    assert_true(says(report, "Action: failed\r\n"));
    assert_true(says(report, "Status: 4.4.7\r\n"));
    scene_close(&s);
}

static void each_report_has_recipients_of_one_action(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    store_message *m = put(&s, "a@[127.0.0.1]", "no@[127.0.0.1] later@[127.0.0.1] b@[127.0.0.1]", SIMPLE);
    for (size_t i = 0; i < 3; i++)
        store_batch_of(s.store, m, 0)->rcpts[i].rcpt.notify =
            EHLO_NOTIFY_SUCCESS | EHLO_NOTIFY_FAILURE | EHLO_NOTIFY_DELAY;
    m->arrived -= 5 * 3600000;
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(count_reports(&s), 3);
    scene_close(&s);
}

static const char *const drops_behind_the_message[] = { UP_TO_DATA, HEAR("\r\n.\r\n"), CLOSE, NULL };
static const char *const takes_one[] = { UP_TO_DATA, HEAR("\r\n.\r\n"), SAY("250 2.0.0 ok\r\n"), NULL };

/* [Q13] [C24] What may have arrived is neither tried again at once, nor at another host. */
static void an_uncertain_message_waits_for_the_schedule(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    scene_puppet(&s, drops_behind_the_message);
    scene_puppet(&s, takes_one);
    put_simple(&s);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.rcpt.outcome, EHLO_OUTCOME_UNCERTAIN);
    assert_int_equal(s.state, EHLO_STATE_QUEUED);
    assert_in_range(s.progress.next_try, s.now + 1800000, s.now + 2025000);
    play_quiet(&s);
    assert_int_equal(s.puppets[0].accepts, 1);
    assert_int_equal(s.puppets[1].accepts, 0);
    s.puppets[0].script = takes_one;
    pass_time(&s, 2025000);
    play_until(&s, s.records == 2);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    scene_close(&s);
}

static const char *const closes_at_data[] = { GREET,        HEAR("EHLO"),      SAY("250 hello\r\n"),
                                              HEAR("MAIL"), SAY("250 ok\r\n"), CLOSE,
                                              NULL };
static const char *const says_nothing[] = { NULL };
static const char *const says_421[] = { SAY("421 4.3.2 not now\r\n"), CLOSE, NULL };

/* [C24] */
static void another_host_is_tried_while_nothing_was_sent(void **state)
{
    static const char *const *const firsts[] = { closes_at_data, says_421 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        scene s;
        scene_open(&s);
        scene_puppet(&s, firsts[i]);
        scene_puppet(&s, takes_one);
        put_simple(&s);
        scene_start(&s);
        play_until(&s, s.records == 1);
        assert_int_equal(s.state, EHLO_STATE_DELIVERED);
        assert_int_equal(s.puppets[0].accepts, 1);
        assert_int_equal(s.puppets[1].accepts, 1);
        scene_close(&s);
    }
}

/* [Q12] Each recipient gets the message once, in as many transactions as it takes. */
static void too_many_recipients_at_once_are_split(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.hop.rcpts_at_once = 2;
    put(&s, "a@[127.0.0.1]", "b@[127.0.0.1] c@[127.0.0.1] d@[127.0.0.1] e@[127.0.0.1] f@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.hop.messages, 3);
    assert_int_equal(s.hop.rcpts, 5);
    assert_int_equal(store_queued(s.store), 0);
    assert_int_equal(s.progress.next_try, EHLO_NEVER);
    scene_close(&s);
}

/* -- routes ----------------------------------------------------------------------------------------- */

static void hosts_are_found_by_mx_and_tried_in_their_order(void **state)
{
    scene s;
    (void)state;
    scene_open_dns(&s);
    put(&s, "a@[127.0.0.1]", "b@two.example", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    assert_string_equal(s.host, "up.example");
    scene_close(&s);
}

/* [Q04] [Q06] */
static void a_domain_without_a_way_to_it_is_reported(void **state)
{
    static const struct {
        const char *to, *status;
    } cases[] = {
        { "b@none.example", "Status: 5.1.10\r\n" },
        { "b@loop.example", "Status: 5.4.6\r\n" },
        { "b@nowhere.example", "Status: 5.1.2\r\n" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const ehlo_address own = { .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 5 } };
        scene s;
        scene_open_dns(&s);
        s.policy.own_addresses = &own;
        s.policy.nown_addresses = 1;
        put(&s, "a@[127.0.0.1]", cases[i].to, SIMPLE);
        scene_start(&s);
        play_until(&s, s.records == 1);
        assert_int_equal(s.state, EHLO_STATE_FAILED);
        assert_non_null(last_report(&s));
        assert_true(says(last_report(&s), cases[i].status));
        assert_false(says(last_report(&s), "Diagnostic-Code"));
        scene_close(&s);
    }
}

static void a_stop_during_a_look_up_gives_the_batch_back(void **state)
{
    scene s;
    (void)state;
    scene_open_dns(&s);
    put(&s, "a@[127.0.0.1]", "b@two.example", SIMPLE);
    scene_start(&s);
    while (ehlo_relay_busy(s.relay) == 0) assert_true(ehlo_loop_step(s.loop, 1) >= 0); /* DNS does not answer */
    ehlo_loop_stop(s.loop, 60000);
    play_until(&s, s.stepped == 0);
    assert_int_equal(s.records, 0);
    assert_int_equal(store_held(s.door), 0);
    scene_close(&s);
}

/* -- sessions --------------------------------------------------------------------------------------- */

static void put_many(scene *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) put_simple(s);
}

static void a_session_serves_one_batch_after_the_other(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.cfg.destination_concurrency = 1;
    s.cfg.idle_ms = 60000;
    put_many(&s, 30);
    scene_start(&s);
    play_until(&s, s.records == 30);
    assert_int_equal(s.hop.messages, 30);
    assert_int_equal(s.hop.connects, 1);
    scene_close(&s);
}

static void a_session_ends_when_it_was_idle_for_long(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.cfg.idle_ms = 20;
    put_simple(&s);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.hop.quits, 0);
    play_until(&s, s.hop.quits == 1);
    put_simple(&s);
    play_until(&s, s.records == 2);
    assert_int_equal(s.hop.connects, 2);
    scene_close(&s);
}

static void a_session_ends_when_it_has_served_enough(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.cfg.destination_concurrency = 1;
    s.cfg.session_messages = 4;
    put_many(&s, 10);
    scene_start(&s);
    play_until(&s, s.records == 10);
    assert_int_equal(s.hop.connects, 3);
    play_until(&s, s.hop.quits >= 2);
    scene_close(&s);
}

static const char *const takes_one_then_closes[] = {
    UP_TO_DATA, HEAR("\r\n.\r\n"), SAY("250 2.0.0 ok\r\n"), HEAR("MAIL"), CLOSE, NULL
};

/* The attempt goes on as if there had been no such session. */
static void a_session_that_was_lost_while_idle_is_no_failure(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.cfg.idle_ms = 60000;
    scene_puppet(&s, takes_one_then_closes);
    put_simple(&s);
    scene_start(&s);
    play_until(&s, s.records == 1);
    put_simple(&s);
    play_until(&s, s.records == 2);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    assert_int_equal(s.puppets[0].accepts, 2);
    scene_close(&s);
}

/* -- how many --------------------------------------------------------------------------------------- */

static void hop_answer(scene *s, size_t n)
{
    while (n-- > 0 && s->hop.nheld > 0) {
        talk held = s->hop.held[--s->hop.nheld];
        assert_int_equal(ehlo_loop_answer(s->loop, held.id, held.token, NULL), EHLO_OK);
    }
}

static void no_more_batches_are_under_way_than_allowed(void **state)
{
    scene s;
    char to[32];
    (void)state;
    scene_open(&s);
    s.hop.holds = 1;
    s.cfg.concurrency = 7;
    for (unsigned i = 0; i < 40; i++) {
        snprintf(to, sizeof to, "b@d%u.example", i);
        s.hosts[0] = (ehlo_host){ .name = ehlo_str_from("127.0.0.1"), .port = s.policy.mx_port };
        put(&s, "a@[127.0.0.1]", to, SIMPLE);
    }
    s.policy.smart_hosts = s.hosts;
    s.policy.nsmart_hosts = 1;
    scene_start(&s);
    play_until(&s, s.hop.nheld == 7);
    play_quiet(&s);
    assert_int_equal(s.hop.nheld, 7);
    assert_int_equal(ehlo_relay_busy(s.relay), 7);
    assert_int_equal(store_held(s.door), 7);
    repeat_until(s.records == 40, (hop_answer(&s, 1), scene_move(&s, 1)));
    assert_int_equal(s.hop.most_held, 7);
    scene_close(&s);
}

/* It begins with 2, and grows by one with each success. */
static void a_destination_is_given_more_as_it_takes_more(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.hop.holds = 1;
    s.cfg.destination_concurrency = 5;
    put_many(&s, 40);
    scene_start(&s);
    for (unsigned window = 2; window <= 5; window++) {
        play_until(&s, s.hop.nheld == window);
        play_quiet(&s);
        assert_int_equal(s.hop.nheld, window);
        hop_answer(&s, 1);
        play_until(&s, s.records == window - 1);
    }
    repeat_until(s.records == 40, (hop_answer(&s, 5), scene_move(&s, 1)));
    assert_int_equal(s.hop.most_held, 5);
    scene_close(&s);
}

/* Of a destination whose hosts cannot be reached, one batch at a time is under way. */
static void a_destination_that_is_down_holds_up_one_batch(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    scene_puppet(&s, says_421);
    put_many(&s, 6);
    scene_start(&s);
    play_until(&s, s.records == 2); /* it begins with 2 */
    s.puppets[0].script = says_nothing;
    play_until(&s, ehlo_relay_busy(s.relay) == 1 && s.puppets[0].accepts == 3);
    play_quiet(&s);
    assert_int_equal(ehlo_relay_busy(s.relay), 1);
    scene_close(&s);
}

static void a_busy_destination_does_not_delay_another(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.hop.holds = 1;
    for (unsigned i = 0; i < 10000; i++) put(&s, "a@[127.0.0.1]", "b@[127.0.0.1]", SIMPLE);
    s.now++;
    put(&s, "a@[127.0.0.1]", "c@[127.0.0.9]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1 && s.hop.nheld == 2);
    assert_int_equal(s.rcpt.outcome, EHLO_OUTCOME_NOT_SENT); /* nobody listens there */
    assert_int_equal(ehlo_relay_busy(s.relay), 2);
    assert_int_equal(store_held(s.door), 2);
    /* And what falls due while it is busy is not overlooked. */
    pass_time(&s, 2025000);
    play_until(&s, s.records == 2);
    scene_close(&s);
}

static void what_falls_due_is_claimed_without_a_kick(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.cfg.poll_ms = 20;
    scene_start(&s);
    play_quiet(&s);
    assert_non_null(store_put(s.store, &s.policy, "a@[127.0.0.1]", "b@[127.0.0.1]", ehlo_str_from(SIMPLE), s.now));
    play_until(&s, s.records == 1);
    scene_close(&s);
}

/* -- stores that answer later, or fail -------------------------------------------------------------- */

typedef struct plan {
    store_call call;
    unsigned from, times; /* which of its calls fail: times of them, behind the first `from` */
    int result;
    int later;   /* 1: every call is put off */
    size_t most; /* octets of a piece; 0: all */
    unsigned made[STORE_CALLS];
} plan;

static store_fate planned(void *ctx, store_call call)
{
    plan *p = ctx;
    unsigned nth = p->made[call]++;
    store_fate fate = { .later = p->later, .most = p->most };
    if (call == p->call && nth >= p->from && nth - p->from < p->times) fate.result = p->result;
    return fate;
}

static void scene_plan(scene *s, plan *p)
{
    s->setup = (store_setup){ .decide = planned, .ctx = p };
}

/* Until nothing is queued: time passes when nothing is under way. */
static void play_to_the_end(scene *s)
{
    while (store_queued(s->store) > 0) {
        play_until(s, ehlo_relay_busy(s->relay) == 0);
        play_quiet(s);
        if (ehlo_relay_busy(s->relay) == 0) pass_time(s, 2025000);
    }
}

static const store_call calls_of_an_attempt[] = { STORE_CLAIM,  STORE_BODY,   STORE_CREATE,
                                                  STORE_APPEND, STORE_RECORD, STORE_RENEW };
enum { CALLS_OF_AN_ATTEMPT = sizeof calls_of_an_attempt / sizeof calls_of_an_attempt[0] };

static void a_store_may_answer_later(void **state)
{
    plan p = { .later = 1, .most = 7 };
    scene s;
    (void)state;
    scene_open(&s);
    scene_plan(&s, &p);
    put(&s, "a@[127.0.0.1]", "no@[127.0.0.1] b@[127.0.0.1]", SIMPLE)->envelope.ret = EHLO_RET_FULL;
    put(&s, "a@[127.0.0.1]", "later@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 3);
    assert_int_equal(store_queued(s.store), 1);
    assert_int_equal(count_reports(&s), 1);
    assert_true(says(last_report(&s), "\r\n" SIMPLE "\r\n--"));
    assert_string_equal(s.hop.seen + s.hop.len - 4, "--\r\n");
    assert_true(store_count(s.door, STORE_CREATE) > 0);
    scene_close(&s);
}

/* Whatever fails for a while, each recipient is delivered to once, and reported on once. */
static void a_store_may_fail_for_a_while_at_any_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * CALLS_OF_AN_ATTEMPT; i++) {
        plan p = { .call = calls_of_an_attempt[i / 2], .times = 2, .result = EHLO_ERR_SYSTEM, .later = i % 2 };
        scene s;
        scene_open(&s);
        scene_plan(&s, &p);
        s.cfg.lease_ms = 50;
        s.hop.holds = p.call == STORE_RENEW;
        put(&s, "a@[127.0.0.1]", "no@[127.0.0.1] b@[127.0.0.1]", SIMPLE);
        scene_start(&s);
        if (p.call == STORE_RENEW) play_until(&s, p.made[STORE_RENEW] > 3);
        s.hop.holds = 0;
        hop_answer(&s, 1);
        play_to_the_end(&s);
        assert_true(s.problems > 0);
        assert_int_equal(s.hop.messages, 2); /* and the report */
        assert_int_equal(count_reports(&s), 1);
        scene_close(&s);
    }
}

/* [Q09] */
static void a_damaged_message_is_not_delivered(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put_simple(&s)->damaged = 1;
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_QUEUED);
    assert_int_equal(s.hop.messages, 0);
    assert_true(s.problems > 0);
    assert_non_null(strstr(s.problem, "M1"));
    assert_true(s.progress.next_try > s.now);
    put_simple(&s);
    play_until(&s, s.records == 2);
    assert_int_equal(s.hop.messages, 1);
    scene_close(&s);
}

static void a_damaged_message_is_reported_on_without_it(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put(&s, "a@[127.0.0.1]", "b@[0.0.0.0]", SIMPLE)->damaged = 1; /* [Q04] that is us */
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_FAILED);
    assert_int_equal(count_reports(&s), 1);
    assert_true(says(last_report(&s), "Status: 5.4.6\r\n"));
    assert_false(says(last_report(&s), "X-Mark"));
    scene_close(&s);
}

/* [Q03] */
static int no_report(const ehlo_batch *batch, ehlo_action action, void *ctx)
{
    scene *s = ctx;
    assert_string_equal(batch->message.ptr, "M1");
    assert_int_equal(action, EHLO_ACTION_FAILED);
    s->refused_reports++;
    return 0;
}

static void a_report_that_is_not_wanted_is_not_made(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.cfg.on_report = no_report;
    put(&s, "a@[127.0.0.1]", "no@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_FAILED);
    assert_int_equal(s.refused_reports, 1);
    assert_int_equal(count_reports(&s), 0);
    assert_int_equal(store_queued(s.store), 0);
    scene_close(&s);
}

static void a_report_that_cannot_be_addressed_keeps_nothing_back(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put(&s, "postmaster", "no@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_FAILED);
    assert_int_equal(count_reports(&s), 0);
    assert_true(s.problems > 0);
    scene_close(&s);
}

/* What was delivered is not forgotten while the store cannot take it: the lease is renewed meanwhile. */
static void a_record_is_tried_until_it_succeeds(void **state)
{
    plan p = { .call = STORE_RECORD, .times = 4, .result = EHLO_ERR_SYSTEM };
    scene s;
    (void)state;
    scene_open(&s);
    scene_plan(&s, &p);
    s.cfg.lease_ms = 200;
    put_simple(&s);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    assert_int_equal(s.hop.messages, 1);
    assert_int_equal(p.made[STORE_RECORD], 5);
    assert_true(p.made[STORE_RENEW] > 0);
    assert_int_equal(s.problems, 4);
    scene_close(&s);
}

static void a_record_that_fails_has_its_reports_written_anew(void **state)
{
    plan p = { .call = STORE_RECORD, .times = 2, .result = EHLO_ERR_SYSTEM };
    scene s;
    (void)state;
    scene_open(&s);
    scene_plan(&s, &p);
    put(&s, "a@[127.0.0.1]", "no@[127.0.0.1]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(p.made[STORE_CREATE], 3);
    assert_int_equal(count_reports(&s), 1);
    scene_close(&s);
}

/* With a full disk, say: those that can be recorded get their turn. */
static void a_batch_that_cannot_be_recorded_makes_room(void **state)
{
    plan p = { .call = STORE_RECORD, .times = 3, .result = EHLO_ERR_SYSTEM };
    scene s;
    (void)state;
    scene_open(&s);
    scene_plan(&s, &p);
    s.cfg.concurrency = 1;
    put_many(&s, 4);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.hop.messages, 4);
    assert_int_equal(ehlo_relay_busy(s.relay), 3);
    play_until(&s, s.records == 4);
    assert_int_equal(s.hop.messages, 4);
    scene_close(&s);
}

static void a_message_that_cannot_be_read_is_reported_on_all_the_same(void **state)
{
    plan p = { .call = STORE_BODY, .times = UINT32_MAX, .result = EHLO_ERR_SYSTEM };
    scene s;
    (void)state;
    scene_open(&s);
    scene_plan(&s, &p);
    put(&s, "a@[127.0.0.1]", "b@[0.0.0.0]", SIMPLE);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(count_reports(&s), 1);
    assert_true(p.made[STORE_BODY] > 1);
    assert_false(says(last_report(&s), "X-Mark"));
    scene_close(&s);
}

/* -- answers from another thread -------------------------------------------------------------------- */

typedef struct slow_answer {
    struct slow_answer *next;
    ehlo_pending *pending;
    int result;
} slow_answer;

/* A store whose answers come from a thread of its own. Its calls are done at once, by the store in memory. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    slow_answer *first;
    int over;
} slow = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static void *give_answers(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&slow.lock);
    while (!slow.over || slow.first != NULL) {
        slow_answer *a = slow.first;
        if (a == NULL) {
            pthread_cond_wait(&slow.more, &slow.lock);
            continue;
        }
        slow.first = a->next;
        pthread_mutex_unlock(&slow.lock);
        ehlo_store_answer(a->pending, a->result);
        free(a);
        pthread_mutex_lock(&slow.lock);
    }
    pthread_mutex_unlock(&slow.lock);
    return NULL;
}

static int answer_slowly(int result, ehlo_pending *pending)
{
    slow_answer *a = malloc(sizeof *a);
    assert_non_null(a);
    *a = (slow_answer){ .pending = pending, .result = result };
    pthread_mutex_lock(&slow.lock);
    a->next = slow.first;
    slow.first = a;
    pthread_cond_signal(&slow.more);
    pthread_mutex_unlock(&slow.lock);
    return EHLO_LATER;
}

static int slow_create(void *ctx, const ehlo_queued *queued, void **message, ehlo_str *name, ehlo_pending *pending)
{
    return answer_slowly(store_functions.create(ctx, queued, message, name, pending), pending);
}

static int slow_append(void *ctx, void *message, const char *bytes, size_t len, size_t *taken, ehlo_pending *pending)
{
    size_t some = len > 100 ? 100 : len;
    return answer_slowly(store_functions.append(ctx, message, bytes, some, taken, pending), pending);
}

static int slow_claim(void *ctx, ehlo_claim *claim, ehlo_pending *pending)
{
    return answer_slowly(store_functions.claim(ctx, claim, pending), pending);
}

static int slow_renew(void *ctx, ehlo_batch *batch, int64_t until, ehlo_pending *pending)
{
    return answer_slowly(store_functions.renew(ctx, batch, until, pending), pending);
}

static int slow_record(void *ctx, ehlo_batch *batch, const ehlo_progress *progress, void *const *reports,
                       size_t nreports, ehlo_pending *pending)
{
    return answer_slowly(store_functions.record(ctx, batch, progress, reports, nreports, pending), pending);
}

static int slow_body(void *ctx, ehlo_batch *batch, uint64_t offset, ehlo_str *piece, int *last, ehlo_pending *pending)
{
    return answer_slowly(store_functions.body(ctx, batch, offset, piece, last, pending), pending);
}

static void answers_come_from_another_thread(void **state)
{
    ehlo_store functions = store_functions;
    scene s;
    pthread_t thread;
    (void)state;
    functions.create = slow_create;
    functions.append = slow_append;
    functions.claim = slow_claim;
    functions.renew = slow_renew;
    functions.record = slow_record;
    functions.body = slow_body;
    slow.over = 0;
    assert_int_equal(pthread_create(&thread, NULL, give_answers, NULL), 0);
    scene_open(&s);
    s.cfg.store = &functions;
    s.cfg.lease_ms = 10;
    put(&s, "a@[127.0.0.1]", "no@[127.0.0.1] b@[127.0.0.1]", SIMPLE);
    put_many(&s, 200);
    scene_start(&s);
    play_until(&s, s.records == 202);
    assert_int_equal(s.hop.messages, 202);
    assert_int_equal(count_reports(&s), 1);
    ehlo_loop_stop(s.loop, 1000);
    play_until(&s, s.stepped == 0);
    pthread_mutex_lock(&slow.lock);
    slow.over = 1;
    pthread_cond_signal(&slow.more);
    pthread_mutex_unlock(&slow.lock);
    pthread_join(thread, NULL);
    scene_close(&s);
}

/* -- leases ----------------------------------------------------------------------------------------- */

/* The lease runs out unnoticed, and another machine claims the batch. */
static store_door *steal(scene *s)
{
    store_door *thief = store_open(s->store, NULL);
    ehlo_batch *batch = NULL;
    s->now += s->cfg.lease_ms + 1;
    ehlo_claim claim = {
        .now = s->now, .lease_until = s->now + 1000 * DAY, .max = 1, .destination_max = 1, .batches = &batch
    };
    assert_int_equal(store_functions.claim(thief, &claim, NULL), EHLO_OK);
    assert_int_equal(claim.n, 1);
    return thief;
}

static const char *const waits_at_rcpt[] = { GREET,        HEAR("EHLO"),      SAY("250 hello\r\n"),
                                             HEAR("MAIL"), SAY("250 ok\r\n"), HEAR("RCPT"),
                                             NULL };

static int reached_connect(const scene *s)
{
    return s->puppets[0].accepts == 1;
}

static int reached_rcpt(const scene *s)
{
    return strstr(s->puppets[0].heard, "RCPT") != NULL;
}

static int reached_end(const scene *s)
{
    return s->hop.nheld == 1;
}

/* Moments of an attempt. */
static const struct moment {
    const char *const *script; /* NULL: the listener, which holds its answer to the message */
    int (*reached)(const scene *s);
    int begun; /* something was sent */
} moments[] = {
    { says_nothing, reached_connect, 0 },
    { waits_at_rcpt, reached_rcpt, 1 },
    { NULL, reached_end, 1 },
};
enum { MOMENTS = sizeof moments / sizeof moments[0] };

static void scene_open_at(scene *s, const struct moment *m)
{
    scene_open(s);
    s->hop.holds = 1;
    s->cfg.lease_ms = 100;
    if (m->script != NULL) scene_puppet(s, m->script);
    put_simple(s);
}

static void play_to(scene *s, const struct moment *m)
{
    scene_start(s);
    play_until(s, m->reached(s));
}

static void a_batch_whose_lease_is_lost_is_dropped(void **state)
{
    (void)state;
    for (size_t i = 0; i < MOMENTS; i++) {
        scene s;
        scene_open_at(&s, &moments[i]);
        play_to(&s, &moments[i]);
        store_door *thief = steal(&s);
        play_until(&s, s.problems > 0);
        assert_non_null(strstr(s.problem, "M1: the lease was lost"));
        hop_answer(&s, 1);
        play_until(&s, ehlo_relay_busy(s.relay) == 0);
        play_quiet(&s);
        assert_int_equal(s.records, 0);
        assert_int_equal(store_held(s.door), 0);
        assert_int_equal(store_count(s.door, STORE_RECORD), 0);
        if (i == 1) assert_null(strstr(s.puppets[0].heard, "Subject"));
        store_close(thief);
        scene_close(&s);
    }
}

static void a_lease_that_was_lost_unnoticed_is_found_out_at_the_record(void **state)
{
    scene s;
    (void)state;
    scene_open_at(&s, &moments[2]);
    s.cfg.lease_ms = 1000000;
    play_to(&s, &moments[2]);
    store_door *thief = steal(&s);
    hop_answer(&s, 1);
    play_until(&s, ehlo_relay_busy(s.relay) == 0);
    assert_int_equal(s.records, 0);
    assert_int_equal(s.problems, 1);
    assert_int_equal(store_count(s.door, STORE_RECORD), 1);
    assert_int_equal(store_held(s.door), 0);
    store_close(thief);
    scene_close(&s);
}

static void a_long_attempt_keeps_its_lease(void **state)
{
    scene s;
    (void)state;
    scene_open_at(&s, &moments[2]);
    play_to(&s, &moments[2]);
    for (unsigned renewals = 1; renewals <= 5; renewals++) {
        play_until(&s, store_count(s.door, STORE_RENEW) >= renewals);
        s.now += 60;
    }
    hop_answer(&s, 1);
    play_until(&s, s.records == 1);
    assert_int_equal(s.problems, 0);
    scene_close(&s);
}

static const char *const waits_at_data[] = {
    GREET,        HEAR("EHLO"),      SAY("250 hello\r\n"), HEAR("MAIL"), SAY("250 ok\r\n"),
    HEAR("RCPT"), SAY("250 ok\r\n"), HEAR("DATA"),         NULL
};

/* Whoever is slow on purpose holds nothing up for ever. */
static void an_attempt_that_takes_too_long_is_broken_off(void **state)
{
    static const char *const *const scripts[] = { says_nothing, waits_at_rcpt, waits_at_data };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        scene s;
        scene_open(&s);
        s.cfg.attempt_ms = 200;
        const puppet *p = scene_puppet(&s, scripts[i]);
        put_simple(&s);
        scene_start(&s);
        play_until(&s, p->accepts == 1 && *p->step == NULL);
        play_until(&s, s.records == 1);
        assert_int_equal(p->accepts, 1);
        assert_int_equal(s.rcpt.outcome, EHLO_OUTCOME_NOT_SENT);
        assert_int_equal(s.state, EHLO_STATE_QUEUED);
        assert_int_equal(s.progress.attempt, 1);
        scene_close(&s);
    }
}

static void an_attempt_is_broken_off_in_the_midst_of_its_message(void **state)
{
    plan p = { .later = 1, .most = 7 };
    scene s;
    (void)state;
    scene_open(&s);
    scene_plan(&s, &p);
    s.cfg.attempt_ms = 200;
    put_simple(&s);
    scene_start(&s);
    play_until(&s, p.made[STORE_BODY] == 3);
    s.pumping = 0;
    play_until(&s, s.hop.quits + s.hop.losses == 1);
    assert_int_equal(s.records, 0);
    s.pumping = 1; /* what the store was asked is waited for */
    play_until(&s, s.records == 1);
    assert_int_equal(s.rcpt.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(s.hop.messages, 0);
    scene_close(&s);
}

/* Its reply is waited for, as the message may have arrived. */
static void an_attempt_is_not_broken_off_behind_its_message(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    s.cfg.attempt_ms = 50;
    s.hop.holds = 1;
    put_simple(&s)->envelope.size = 0;
    scene_start(&s);
    play_until(&s, s.hop.nheld == 1);
    uint64_t end = now_ms() + 150;
    while (now_ms() < end) scene_move(&s, 10);
    assert_int_equal(s.records, 0);
    hop_answer(&s, 1);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    scene_close(&s);
}

/* -- the end of the loop ---------------------------------------------------------------------------- */

/* What has not begun is given back as it was; the rest is waited for. */
static void stop_gives_back_what_has_not_begun(void **state)
{
    (void)state;
    for (size_t i = 0; i < MOMENTS; i++) {
        scene s;
        scene_open_at(&s, &moments[i]);
        play_to(&s, &moments[i]);
        const store_batch *batch = s.store->batches;
        ehlo_loop_stop(s.loop, 60000);
        play_quiet(&s);
        assert_int_equal(s.stepped, moments[i].begun);
        assert_int_equal(batch->lease_until != 0, moments[i].begun);
        assert_int_equal(batch->attempt, 0);
        if (i == 1) puppet_drop(&s.puppets[0]);
        hop_answer(&s, 1);
        play_until(&s, s.stepped == 0);
        assert_int_equal(s.records, moments[i].begun);
        assert_int_equal(batch->attempt, moments[i].begun);
        assert_int_equal(store_held(s.door), 0);
        scene_close(&s);
    }
}

static void stop_ends_what_takes_longer_than_the_grace(void **state)
{
    (void)state;
    for (size_t i = 1; i < MOMENTS; i++) {
        scene s;
        scene_open_at(&s, &moments[i]);
        play_to(&s, &moments[i]);
        ehlo_loop_stop(s.loop, 20);
        play_until(&s, s.stepped == 0);
        assert_int_equal(s.records, 1);
        assert_int_equal(s.rcpt.outcome, i == 1 ? EHLO_OUTCOME_NOT_SENT : EHLO_OUTCOME_UNCERTAIN);
        assert_int_equal(s.state, EHLO_STATE_QUEUED);
        scene_close(&s);
    }
}

static void stop_waits_for_what_the_store_has_still_to_answer(void **state)
{
    static const store_call calls[] = { STORE_CLAIM, STORE_BODY, STORE_CREATE, STORE_APPEND, STORE_RECORD };
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        plan p = { .later = 1 };
        scene s;
        scene_open(&s);
        scene_plan(&s, &p);
        put(&s, "a@[127.0.0.1]", "no@[127.0.0.1] b@[127.0.0.1]", SIMPLE);
        scene_start(&s);
        s.pumping = 0;
        repeat_until(p.made[calls[i]] > 0, (store_pump(s.door), scene_move(&s, 1)));
        ehlo_loop_stop(s.loop, 20);
        for (int k = 0; k < 60; k++) scene_move(&s, 1);
        assert_int_equal(s.stepped, 1);
        s.pumping = 1;
        play_until(&s, s.stepped == 0);
        assert_int_equal(store_held(s.door), 0);
        assert_int_equal(s.records, calls[i] != STORE_CLAIM);
        scene_close(&s);
    }
}

static void stop_does_not_wait_for_a_store_that_fails_for_ever(void **state)
{
    plan p = { .call = STORE_RECORD, .times = UINT32_MAX, .result = EHLO_ERR_SYSTEM };
    scene s;
    (void)state;
    scene_open(&s);
    scene_plan(&s, &p);
    put_simple(&s);
    scene_start(&s);
    play_until(&s, p.made[STORE_RECORD] == 1);
    ehlo_loop_stop(s.loop, 50);
    play_until(&s, s.stepped == 0);
    assert_int_equal(s.records, 0);
    assert_non_null(strstr(s.problem, "left to its lease"));
    assert_int_equal(store_held(s.door), 1);
    scene_close(&s);
}

/* Afterwards it is as if the power had failed: the store is called no more, whatever it answers. */
static void a_relay_may_be_freed_at_any_time(void **state)
{
    (void)state;
    for (int rounds = 0; rounds < 120; rounds++) {
        plan p = { .later = rounds % 2 };
        scene s;
        scene_open(&s);
        scene_plan(&s, &p);
        put(&s, "a@[127.0.0.1]", "no@[127.0.0.1] b@[127.0.0.1]", SIMPLE);
        put(&s, "a@[127.0.0.1]", "c@[127.0.0.7]", SIMPLE);
        scene_start(&s);
        s.pumping = 0;
        for (int i = 0; i < rounds / 2; i++) {
            store_pump(s.door);
            scene_move(&s, 1);
        }
        unsigned records = s.records;
        ehlo_relay_free(s.relay);
        s.relay = NULL;
        plan then = p;
        s.pumping = 1;
        play_quiet(&s);
        assert_memory_equal(&then, &p, sizeof p);
        assert_int_equal(s.records, records);
        scene_close(&s);
    }
}

static void what_cannot_work_is_refused(void **state)
{
    ehlo_store lame = store_functions;
    ehlo_relay *relay;
    scene s;
    (void)state;
    scene_open(&s);
    const ehlo_relay_config good = s.cfg;
    lame.record = NULL;
    s.cfg.store = &lame;
    assert_int_equal(ehlo_relay_new(&relay, s.loop, &s.cfg), EHLO_ERR_ARG);
    s.cfg.store = NULL;
    assert_int_equal(ehlo_relay_new(&relay, s.loop, &s.cfg), EHLO_ERR_ARG);
    s.cfg = good;
    s.cfg.client = NULL;
    assert_int_equal(ehlo_relay_new(&relay, s.loop, &s.cfg), EHLO_ERR_ARG);
    s.cfg = good;
    s.cfg.tls = EHLO_TLS_REQUIRED; /* without an engine */
    assert_int_equal(ehlo_relay_new(&relay, s.loop, &s.cfg), EHLO_ERR_ARG);
    s.cfg = good;
    s.policy.uncertain = 99;
    assert_int_equal(ehlo_relay_new(&relay, s.loop, &s.cfg), EHLO_ERR_ARG);
    s.policy.uncertain = 0;
    ehlo_loop_stop(s.loop, 0);
    play_until(&s, s.stepped == 0);
    assert_int_equal(ehlo_relay_new(&relay, s.loop, &s.cfg), EHLO_ERR_STATE);
    ehlo_relay_free(NULL);
    scene_close(&s);
}

/* -- TLS that is demanded (RFC 8689) ---------------------------------------------------------------- */

static void what_demands_tls_goes_back_where_there_is_none(void **state)
{
    scene s;
    (void)state;
    scene_open(&s);
    put_simple(&s)->envelope.flags |= EHLO_SEND_REQUIRETLS;
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_FAILED);
    assert_int_equal(s.hop.connects, 0);
    assert_true(says(last_report(&s), "Status: 5.7.10\r\n"));
    assert_false(says(last_report(&s), "in the body"));
    play_until(&s, s.records == 2); /* what it returns is protected in the same way, or not sent */
    assert_int_equal(s.state, EHLO_STATE_FAILED);
    assert_int_equal(s.hop.connects, 0);
    scene_close(&s);
}

static void tls_is_used_where_it_is_offered(void **state)
{
    scene s;
    (void)state;
    scene_open_as(&s, EHLO_CAP_STARTTLS);
    s.cfg.tls_engine = &s.engine;
    put_simple(&s);
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_DELIVERED);
    assert_int_equal(s.plan.handshakes_done, 1);
    assert_int_equal(s.plan.flags & EHLO_ENGINE_VERIFY, 0);
    scene_close(&s);
}

/* A session that was not verified does not serve a message that insists on it. */
static void what_demands_tls_goes_over_sessions_of_its_own(void **state)
{
    scene s;
    (void)state;
    scene_open_as(&s, EHLO_CAP_STARTTLS | EHLO_CAP_REQUIRETLS);
    s.cfg.tls_engine = &s.engine;
    s.cfg.idle_ms = 60000;
    put_simple(&s);
    scene_start(&s);
    play_until(&s, s.records == 1);
    for (unsigned i = 2; i <= 3; i++) {
        put_simple(&s)->envelope.flags |= EHLO_SEND_REQUIRETLS;
        play_until(&s, s.records == i);
        assert_int_equal(s.state, EHLO_STATE_DELIVERED);
        assert_int_equal(s.plan.flags & EHLO_ENGINE_VERIFY, EHLO_ENGINE_VERIFY);
        assert_int_equal(s.hop.connects, 2);
    }
    scene_close(&s);
}

static void a_host_that_does_not_offer_what_is_demanded_is_passed_over(void **state)
{
    scene s;
    (void)state;
    scene_open_as(&s, EHLO_CAP_STARTTLS);
    s.cfg.tls_engine = &s.engine;
    put_simple(&s)->envelope.flags |= EHLO_SEND_REQUIRETLS;
    scene_start(&s);
    play_until(&s, s.records == 1);
    assert_int_equal(s.state, EHLO_STATE_FAILED);
    assert_int_equal(s.plan.handshakes_done, 1);
    assert_int_equal(s.hop.messages, 0);
    assert_true(says(last_report(&s), "Status: 5.7.30\r\n"));
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_delivered_and_recorded),
        cmocka_unit_test(a_refused_recipient_is_reported_and_the_report_delivered),
        cmocka_unit_test(a_message_without_a_reverse_path_is_never_answered),
        cmocka_unit_test(what_a_message_may_not_hold_does_not_lose_its_report),
        cmocka_unit_test(what_is_deferred_is_tried_again_on_the_schedule),
        cmocka_unit_test(a_delay_is_reported_once_and_then_the_end),
        cmocka_unit_test(each_report_has_recipients_of_one_action),
        cmocka_unit_test(an_uncertain_message_waits_for_the_schedule),
        cmocka_unit_test(another_host_is_tried_while_nothing_was_sent),
        cmocka_unit_test(too_many_recipients_at_once_are_split),
        cmocka_unit_test(hosts_are_found_by_mx_and_tried_in_their_order),
        cmocka_unit_test(a_domain_without_a_way_to_it_is_reported),
        cmocka_unit_test(a_stop_during_a_look_up_gives_the_batch_back),
        cmocka_unit_test(a_session_serves_one_batch_after_the_other),
        cmocka_unit_test(a_session_ends_when_it_was_idle_for_long),
        cmocka_unit_test(a_session_ends_when_it_has_served_enough),
        cmocka_unit_test(a_session_that_was_lost_while_idle_is_no_failure),
        cmocka_unit_test(no_more_batches_are_under_way_than_allowed),
        cmocka_unit_test(a_destination_is_given_more_as_it_takes_more),
        cmocka_unit_test(a_destination_that_is_down_holds_up_one_batch),
        cmocka_unit_test(a_busy_destination_does_not_delay_another),
        cmocka_unit_test(what_falls_due_is_claimed_without_a_kick),
        cmocka_unit_test(a_store_may_answer_later),
        cmocka_unit_test(a_store_may_fail_for_a_while_at_any_call),
        cmocka_unit_test(a_damaged_message_is_not_delivered),
        cmocka_unit_test(a_damaged_message_is_reported_on_without_it),
        cmocka_unit_test(a_report_that_is_not_wanted_is_not_made),
        cmocka_unit_test(a_report_that_cannot_be_addressed_keeps_nothing_back),
        cmocka_unit_test(a_record_is_tried_until_it_succeeds),
        cmocka_unit_test(answers_come_from_another_thread),
        cmocka_unit_test(a_batch_whose_lease_is_lost_is_dropped),
        cmocka_unit_test(a_lease_that_was_lost_unnoticed_is_found_out_at_the_record),
        cmocka_unit_test(a_long_attempt_keeps_its_lease),
        cmocka_unit_test(an_attempt_that_takes_too_long_is_broken_off),
        cmocka_unit_test(an_attempt_is_broken_off_in_the_midst_of_its_message),
        cmocka_unit_test(an_attempt_is_not_broken_off_behind_its_message),
        cmocka_unit_test(a_record_that_fails_has_its_reports_written_anew),
        cmocka_unit_test(a_batch_that_cannot_be_recorded_makes_room),
        cmocka_unit_test(a_message_that_cannot_be_read_is_reported_on_all_the_same),
        cmocka_unit_test(stop_gives_back_what_has_not_begun),
        cmocka_unit_test(stop_ends_what_takes_longer_than_the_grace),
        cmocka_unit_test(stop_waits_for_what_the_store_has_still_to_answer),
        cmocka_unit_test(stop_does_not_wait_for_a_store_that_fails_for_ever),
        cmocka_unit_test(a_relay_may_be_freed_at_any_time),
        cmocka_unit_test(what_cannot_work_is_refused),
        cmocka_unit_test(what_demands_tls_goes_back_where_there_is_none),
        cmocka_unit_test(tls_is_used_where_it_is_offered),
        cmocka_unit_test(what_demands_tls_goes_over_sessions_of_its_own),
        cmocka_unit_test(a_host_that_does_not_offer_what_is_demanded_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
