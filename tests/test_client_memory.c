/* A client session lives in exactly ehlo_client_size octets and one lent block, a transaction in ehlo_transaction_size:
 * each piece of memory ends where an unreadable page begins, and what is given back is unmapped. Where the lender has
 * no block, at whichever loan, everything still ends once and with the truth [C236] [C237]. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <ehlo/transaction.h>

#include "arena.h"
#include "dummy_server.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* -- a sender --------------------------------------------------------------------------------------- */

/* How the transport takes what the client writes. */
typedef enum taking { TAKES_ALL, TAKES_ONE_OCTET, TAKES_PARTS, TAKINGS } taking;

enum { MESSAGES = 3, RECIPIENTS = 2, COMMANDS_MAX = 16 };

typedef struct sender sender;

typedef struct message {
    sender *sender;
    ehlo_transaction *transaction;
    arena memory;
    ehlo_recipient recipients[RECIPIENTS];
    size_t at; /* octets that were pushed */
    unsigned dones;
    int outcome;
} message;

/* A completion of a command: each comes once. */
typedef struct completion {
    sender *sender;
    const char *name;
    unsigned calls;
} completion;

struct sender {
    ehlo_client *client;
    arena memory;
    taking takes;
    unsigned writes;
    dummy_server server;
    arena block; /* lent; len 0: none */
    unsigned lends;
    unsigned fail_lend; /* the n-th fails; 0: none */
    int lender;
    message messages[MESSAGES];
    size_t started;
    completion commands[COMMANDS_MAX];
    size_t command_count;
    unsigned closes;
    int result; /* the first that was fatal */
};

static void *lend(size_t len, void *ctx)
{
    sender *s = ctx;
    if (s->block.len != 0) fail_msg("a second block");
    if (++s->lends == s->fail_lend) return NULL;
    s->block = arena_new(len);
    return s->block.start;
}

static void give(void *mem, size_t len, void *ctx)
{
    sender *s = ctx;
    assert_ptr_equal(mem, s->block.start);
    assert_int_equal(len, s->block.len);
    arena_free(&s->block);
}

static size_t appetite(sender *s, size_t offered)
{
    s->writes++;
    switch (s->takes) {
    case TAKES_ALL:
        return offered;
    case TAKES_ONE_OCTET:
        return s->writes % 2;
    default:
        return s->writes % 3 * 50 < offered ? s->writes % 3 * 50 : offered;
    }
}

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    sender *s = user;
    size_t offered = 0;
    (void)c;
    for (size_t i = 0; i < n; i++) offered += parts[i].len;
    *taken = appetite(s, offered);
    for (size_t i = 0, left = *taken; i < n && left > 0; i++) {
        size_t len = parts[i].len < left ? parts[i].len : left;
        dummy_take(&s->server, parts[i].ptr, len);
        left -= len;
    }
    return 0;
}

static void on_close(ehlo_client *c, int reason, void *user)
{
    (void)c, (void)reason;
    ((sender *)user)->closes++;
}

/* Once a call was fatal only close is left. */
static int is_fatal(sender *s, int result)
{
    if (result < EHLO_ERR_FATAL && s->result == EHLO_OK) s->result = result;
    return s->result != EHLO_OK;
}

/* -- commands --------------------------------------------------------------------------------------- */

static completion *expect(sender *s, const char *name)
{
    assert_true(s->command_count < COMMANDS_MAX);
    completion *c = &s->commands[s->command_count++];
    *c = (completion){ .sender = s, .name = name };
    return c;
}

/* On an error nothing was queued: no completion comes. */
static void called(sender *s, completion *c, int result)
{
    assert_int_equal(c->calls, 0);
    if (result != EHLO_OK) {
        is_fatal(s, result);
        c->name = NULL;
    }
}

static void count_reply(ehlo_client *c, const ehlo_reply *r, void *user)
{
    (void)c, (void)r;
    ((completion *)user)->calls++;
}

static void say(sender *s, ehlo_verb verb, ehlo_str argument)
{
    completion *c = expect(s, ehlo_verb_name(verb).ptr);
    called(s, c, ehlo_client_command(s->client, verb, argument, count_reply, c, NULL));
}

static void on_verdict(ehlo_client *c, const ehlo_reply *r, void *user)
{
    sender *s = ((completion *)user)->sender;
    count_reply(c, r, user);
    if (r != NULL) say(s, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0));
}

static void on_challenge(ehlo_client *c, const ehlo_reply *r, void *user)
{
    sender *s = ((completion *)user)->sender;
    count_reply(c, r, user);
    if (r == NULL) return;
    completion *answer = expect(s, "the response");
    called(s, answer, ehlo_client_auth_answer(c, ehlo_str_from("secret"), on_verdict, answer));
}

/* Commands of their own behind the messages: words, then an exchange, then QUIT. */
static void on_words(ehlo_client *c, const ehlo_reply *r, void *user)
{
    sender *s = ((completion *)user)->sender;
    count_reply(c, r, user);
    if (r == NULL) return;
    completion *auth = expect(s, "AUTH");
    called(s, auth, ehlo_client_auth(c, ehlo_str_from("LOGIN"), ehlo_str_make(NULL, 0), on_challenge, auth, NULL));
}

/* -- messages --------------------------------------------------------------------------------------- */

static const char text[] = "Subject: x\r\n\r\n.\r\n..\r\nA line, and another one\r\n.x\r\nthe end\r\n";

static void start_message(sender *s);

/* The first is pulled, a few octets at a time. */
static int give_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    size_t left = sizeof text - 1 - (size_t)offset;
    (void)t, (void)user;
    *piece = ehlo_str_make(text + offset, left < 7 ? left : 7);
    *last = left <= 7;
    return EHLO_OK;
}

static void on_next(ehlo_transaction *t, void *user)
{
    (void)t;
    start_message(((message *)user)->sender);
}

/* Its memory is ours again: whoever still looks at it, dies. */
static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    message *m = user;
    sender *s = m->sender;
    assert_ptr_equal(t, m->transaction);
    m->dones++;
    m->outcome = outcome;
    m->transaction = NULL;
    arena_free(&m->memory);
    if (outcome == EHLO_OUTCOME_DELIVERED && s->started == MESSAGES && s->messages[MESSAGES - 1].dones == 1) {
        completion *c = expect(s, "NOOP");
        called(s, c, ehlo_client_command(s->client, EHLO_VERB_NOOP, ehlo_str_from("x"), on_words, c, NULL));
    }
}

/* The second is in memory; the third is pushed. */
static void start_message(sender *s)
{
    size_t index = s->started;
    message *m = &s->messages[index];
    ehlo_transaction_callbacks callbacks = { .on_next = on_next, .on_done = on_done };
    ehlo_envelope envelope = { .from = ehlo_str_from("ann@sender.example"),
                               .rcpts = m->recipients,
                               .nrcpts = RECIPIENTS };
    if (index == MESSAGES) return;
    if (index == 0) callbacks.body = give_body;
    if (index == 1) envelope.content = ehlo_str_make(text, sizeof text - 1);
    for (size_t i = 0; i < RECIPIENTS; i++) m->recipients[i].to = ehlo_str_from("bob@mx.example");
    m->sender = s;
    m->memory = arena_new(ehlo_transaction_size());
    int result = ehlo_transaction_start(&m->transaction, m->memory.start, m->memory.len, s->client, &envelope,
                                        &callbacks, m, NULL);
    if (result == EHLO_OK) {
        s->started++;
    } else {
        is_fatal(s, result);
        arena_free(&m->memory);
        m->transaction = NULL;
    }
}

static int push_body(sender *s)
{
    message *m = &s->messages[MESSAGES - 1];
    size_t used, left = sizeof text - 1 - m->at, len = left < 9 ? left : 9;
    if (m->transaction == NULL || left == 0 || ehlo_client_wants(s->client) & EHLO_WANT_WRITE) return 0;
    int result = ehlo_transaction_push(m->transaction, 0, text + m->at, len, len == left, &used);
    if (is_fatal(s, result)) return 0;
    assert_int_equal(result, EHLO_OK);
    m->at += used;
    return used > 0;
}

/* -- a session -------------------------------------------------------------------------------------- */

static void on_hello(ehlo_client *c, const ehlo_reply *r, void *user)
{
    completion *hello = user;
    count_reply(c, r, user);
    if (r != NULL) start_message(hello->sender);
}

static void on_greeting(ehlo_client *c, const ehlo_reply *r, void *user)
{
    sender *s = ((completion *)user)->sender;
    count_reply(c, r, user);
    if (r == NULL) return;
    completion *hello = expect(s, "EHLO");
    called(s, hello, ehlo_client_hello(c, on_hello, hello));
}

static sender *sender_new(taking takes, int lender, int chunking, unsigned fail_lend)
{
    static const ehlo_client_callbacks callbacks = { .write = on_write, .on_close = on_close };
    sender *s = calloc(1, sizeof *s);
    assert_non_null(s);
    ehlo_client_config config = { .name = ehlo_str_from("client.example"), .flags = EHLO_CLIENT_AUTH_CLEAR };
    if (lender) config.lender = (ehlo_lender){ .lend = lend, .give = give, .ctx = s };
    s->takes = takes;
    s->lender = lender;
    s->fail_lend = fail_lend;
    dummy_open(&s->server, chunking ? DUMMY_EXTENSIONS DUMMY_CHUNKING : DUMMY_EXTENSIONS);
    size_t size = ehlo_client_size(&config);
    s->memory = arena_new(size);
    assert_int_equal(ehlo_client_init(&s->client, s->memory.start, size - 1, &config, &callbacks, s), EHLO_ERR_SPACE);
    assert_int_equal(ehlo_client_init(&s->client, s->memory.start, size, &config, &callbacks, s), EHLO_OK);
    return s;
}

/* One round: 1 if anything has moved. */
static int move_on(sender *s, size_t cut)
{
    size_t used = 0, offered = s->server.replies_len < cut ? s->server.replies_len : cut;
    unsigned wants = ehlo_client_wants(s->client);
    if (wants & EHLO_WANT_READ && offered > 0) {
        int result = ehlo_client_feed(s->client, 0, s->server.replies, offered, &used);
        dummy_read(&s->server, used);
        if (is_fatal(s, result)) return 0;
        assert_int_equal(result, EHLO_OK);
    }
    if (ehlo_client_wants(s->client) & EHLO_WANT_WRITE) {
        used = 1;
        if (is_fatal(s, ehlo_client_flush(s->client, 0))) return 0;
    }
    if (push_body(s)) used = 1;
    if (s->takes == TAKES_ALL && s->block.len != 0) fail_msg("nothing waits, and a block is still lent");
    return (used > 0 || ehlo_client_wants(s->client) & EHLO_WANT_WRITE) && s->result == EHLO_OK;
}

static void converse(sender *s, size_t cut)
{
    completion *greeting = expect(s, "the greeting");
    called(s, greeting, ehlo_client_start(s->client, 0, on_greeting, greeting));
    size_t step = cut, rounds = 0;
    while (s->result == EHLO_OK && !(ehlo_client_wants(s->client) & EHLO_WANT_CLOSE)) {
        size_t waits = s->server.replies_len;
        assert_true(rounds++ < 1000000);
        if (move_on(s, step)) {
            step = cut;
        } else if (step < waits) {
            step += cut; /* what is incomplete is offered again, with more behind it */
        } else {
            break;
        }
    }
}

/* -- what must hold at the end ---------------------------------------------------------------------- */

/* What the server has got tells what the truth is. */
static void assert_truth(const sender *s, size_t index)
{
    const message *m = &s->messages[index];
    assert_int_equal(m->dones, 1);
    for (size_t i = 0; i < RECIPIENTS; i++) {
        ehlo_outcome outcome = m->recipients[i].outcome;
        int arrived = index < s->server.messages;
        int right = arrived ? outcome == EHLO_OUTCOME_DELIVERED || outcome == EHLO_OUTCOME_UNCERTAIN
                            : outcome == EHLO_OUTCOME_NOT_SENT;
        if (!right) fail_msg("loan %u: message %zu: outcome %d, arrived %d", s->fail_lend, index, outcome, arrived);
    }
}

static void sender_end(sender *s)
{
    assert_int_equal(ehlo_client_close(s->client), EHLO_OK);
    arena_free(&s->memory);
    assert_int_equal(s->closes, 1);
    assert_string_equal(s->server.fault, "");
    if (s->block.len != 0) fail_msg("a block was not given back");
    for (size_t i = 0; i < s->started; i++) assert_truth(s, i);
    for (size_t i = 0; i < s->command_count; i++) {
        const completion *c = &s->commands[i];
        if (c->name != NULL && c->calls != 1) fail_msg("%s: %u completions", c->name, c->calls);
        if (c->name == NULL && c->calls != 0) fail_msg("a completion of what was not queued");
    }
}

static void assert_all_delivered(const sender *s)
{
    assert_int_equal(s->result, EHLO_OK);
    assert_int_equal(s->server.messages, MESSAGES);
    assert_int_equal(s->server.content, MESSAGES * (sizeof text - 1));
    for (size_t i = 0; i < MESSAGES; i++) assert_int_equal(s->messages[i].outcome, EHLO_OUTCOME_DELIVERED);
    assert_true(ehlo_client_reason(s->client) == EHLO_CLOSE_QUIT);
}

static const size_t cuts[] = { 1, 7, 64, SIZE_MAX };

static void run_all(int lender)
{
    for (int chunking = 0; chunking <= 1; chunking++) {
        for (int takes = 0; takes < TAKINGS; takes++) {
            for (size_t i = 0; i < COUNT(cuts); i++) {
                sender *s = sender_new((taking)takes, lender, chunking, 0);
                converse(s, cuts[i]);
                assert_all_delivered(s);
                sender_end(s);
                free(s);
            }
        }
    }
}

static void a_session_stays_in_its_memory_and_one_lent_block(void **state) /* [C237] */
{
    (void)state;
    run_all(1);
}

static void a_session_stays_in_its_memory_without_a_lender(void **state) /* [C237] */
{
    (void)state;
    run_all(0);
}

/* -- no block --------------------------------------------------------------------------------------- */

/* One session whose n-th loan is refused: 0 if it needs fewer. */
static int run_without_loan(unsigned n, taking takes, int chunking, size_t cut)
{
    sender *s = sender_new(takes, 1, chunking, n);
    converse(s, cut);
    int refused = s->lends >= n;
    if (refused) {
        assert_int_equal(s->lends, n); /* and no other was asked for */
        assert_int_equal(s->result, EHLO_ERR_MEMORY);
    } else {
        assert_all_delivered(s);
    }
    sender_end(s);
    free(s);
    return refused;
}

static void where_the_lender_has_no_block_everything_ends_once_and_with_the_truth(void **state) /* [C236] */
{
    (void)state;
    for (int chunking = 0; chunking <= 1; chunking++) {
        for (int takes = 0; takes < TAKINGS; takes++) {
            for (size_t i = 0; i < COUNT(cuts); i++) {
                unsigned n = 1;
                while (run_without_loan(n, (taking)takes, chunking, cuts[i])) n++;
                assert_true(n > 4); /* hello, envelopes, commands */
            }
        }
    }
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* A lender that knows what it lent. */
typedef struct loans {
    size_t now, most;
    unsigned count;
    int seen; /* the secret was in what came back */
    unsigned fail;
} loans;

static void *lend_some(size_t len, void *ctx)
{
    loans *l = ctx;
    if (++l->count == l->fail) return NULL;
    l->now += len;
    if (l->now > l->most) l->most = l->now;
    return calloc(1, len);
}

static void give_some(void *mem, size_t len, void *ctx)
{
    loans *l = ctx;
    const char *octets = mem;
    for (size_t i = 0; i + 8 <= len; i++) l->seen |= memcmp(octets + i, "eHh4eHh4", 8) == 0;
    l->now -= len;
    free(mem);
}

/* Takes as many octets as the user points to. */
static int take_few(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    size_t left = *(const size_t *)user;
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = parts[i].len < left ? parts[i].len : left;
        *taken += len;
        left -= len;
    }
    return EHLO_OK;
}

static void hear_in_one(ehlo_client *c, const char *said)
{
    size_t used, len = strlen(said);
    assert_int_equal(ehlo_client_feed(c, 0, said, len, &used), EHLO_OK);
    assert_int_equal(used, len);
}

static void send_all(ehlo_client *c)
{
    for (unsigned i = 0; ehlo_client_wants(c) & EHLO_WANT_WRITE; i++) {
        assert_true(i < 20000);
        assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
    }
}

static ehlo_client *greeted(const ehlo_client_config *config, void *mem, size_t *room)
{
    static const ehlo_client_callbacks callbacks = { .write = take_few };
    ehlo_client *c;
    assert_int_equal(ehlo_client_init(&c, mem, ehlo_client_size(config), config, &callbacks, room), EHLO_OK);
    assert_int_equal(ehlo_client_tls_started(c, 0, 0, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_start(c, 0, NULL, NULL), EHLO_OK);
    hear_in_one(c, "220 x\r\n");
    assert_int_equal(ehlo_client_hello(c, NULL, NULL), EHLO_OK);
    send_all(c);
    hear_in_one(c, "250-x\r\n250 AUTH XOAUTH2\r\n");
    return c;
}

/* Only a line that needs it is given a larger block, wiped and given back when it has left: whatever comes before and
 * behind has the usual one, and a session that waits has none. */
static void long_auth_lines_borrow_for_as_long_as_they_take(void **state) /* [C196] [C237] [C238] */
{
    static const size_t rooms[] = { SIZE_MAX, 5000, 100, 1 }, lengths[] = { 30, 1500, 1530, 1600, 9000, 9195 };
    static char octets[9195];
    (void)state;
    memset(octets, 'x', sizeof octets);
    for (size_t i = 0; i < COUNT(rooms) * COUNT(lengths); i++) {
        size_t room = rooms[i / COUNT(lengths)], len = lengths[i % COUNT(lengths)], line = 13 + (len + 2) / 3 * 4 + 2;
        loans l = { 0 };
        ehlo_client_config config = { .name = ehlo_str_from("c.example"), .lender = { lend_some, give_some, &l } };
        void *mem = malloc(ehlo_client_size(&config));
        ehlo_client *c = greeted(&config, mem, &room);
        assert_int_equal(l.now, 0);
        assert_int_equal(l.most, 2048);
        ehlo_str response = ehlo_str_make(octets, len);
        assert_int_equal(ehlo_client_auth(c, ehlo_str_from("XOAUTH2"), response, NULL, NULL, NULL), EHLO_OK);
        assert_int_equal(l.now, line > 2048 ? EHLO_AUTH_LINE_MAX : 2048);
        send_all(c);
        assert_int_equal(l.now, 0);
        hear_in_one(c, "334 \r\n");
        assert_int_equal(ehlo_client_auth_answer(c, response, NULL, NULL), EHLO_OK);
        send_all(c);
        assert_int_equal(l.now, 0);
        hear_in_one(c, "235 ok\r\n");
        l.most = 0;
        assert_int_equal(ehlo_client_command(c, EHLO_VERB_NOOP, ehlo_str_make(NULL, 0), NULL, NULL, NULL), EHLO_OK);
        send_all(c);
        assert_int_equal(l.most, 2048);
        assert_false(l.seen);
        assert_int_equal(ehlo_client_close(c), EHLO_OK);
        free(mem);
    }
}

static void a_long_line_that_never_leaves_is_wiped_and_given_back(void **state) /* [C236] [C238] */
{
    static char octets[9000];
    (void)state;
    memset(octets, 'x', sizeof octets);
    for (unsigned fail = 0; fail < 8; fail++) {
        size_t room = SIZE_MAX;
        loans l = { 0 };
        ehlo_client_config config = { .name = ehlo_str_from("c.example"), .lender = { lend_some, give_some, &l } };
        void *mem = malloc(ehlo_client_size(&config));
        ehlo_client *c = greeted(&config, mem, &room);
        room = fail * 1000;
        l.fail = fail == 0 ? 0 : l.count + fail;
        int result =
            ehlo_client_auth(c, ehlo_str_from("XOAUTH2"), ehlo_str_make(octets, sizeof octets), NULL, NULL, NULL);
        assert_int_equal(result, fail == 1 || fail == 2 ? EHLO_ERR_MEMORY : EHLO_OK);
        if (result == EHLO_OK) assert_int_equal(ehlo_client_flush(c, 0), EHLO_OK);
        assert_int_equal(ehlo_client_close(c), EHLO_OK);
        assert_int_equal(l.now, 0);
        assert_false(l.seen);
        free(mem);
    }
}

/* -- hostile servers -------------------------------------------------------------------------------- */

/* What a server says: something, something over and over, and an end. */
typedef struct monologue {
    const char *begins;
    const char *repeats;
    size_t times;
    const char *ends;
} monologue;

#define EHLO_OK_LINES "250-mx.example\r\n" DUMMY_EXTENSIONS "250 X\r\n"

static const monologue monologues[] = {
    { "", "220-x\r\n", 20000, "" },                                       /* [K01] */
    { "", "220-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 5000, "" }, /* [K02] */
    { "220 x\r\n250-mx\r\n", "250-AUTH PLAIN\r\n", 20000, "250 x\r\n" },  /* [K07] */
    { "220 x\r\n250-mx\r\n", "250-X\r\n", 500, "250 x\r\n" },
    { "220 x\r\n", "250 x\r\n", 5000, "" }, /* [K06] */
    { "220 x\r\n" EHLO_OK_LINES, "250 x\r\n", 5000, "" },
    { "220 x\r\n" EHLO_OK_LINES "250 x\r\n250 x\r\n250 x\r\n354 x\r\n", "354 x\r\n", 100, "" }, /* [K13] */
    { "220 x\r\n" EHLO_OK_LINES, "421 x\r\n", 100, "" },                                        /* [K15] */
    { "HTTP/1.1 400 Bad Request\r\n", "x: y\r\n", 1000, "\r\n" },                               /* [K19] */
    { "\x15\x03\x01\x00\x02\x02\x46", "\xff", 20000, "" },
};

static char *write_out(const monologue *m, size_t *len)
{
    size_t begins = strlen(m->begins), each = strlen(m->repeats);
    *len = begins + each * m->times + strlen(m->ends);
    char *said = malloc(*len + 1), *at = said + begins;
    assert_non_null(said);
    memcpy(said, m->begins, begins);
    for (size_t i = 0; i < m->times; i++, at += each) memcpy(at, m->repeats, each);
    strcpy(at, m->ends);
    return said;
}

/* Replies are longer than a block is: nothing of them is kept [N42]. */
static void listen_to(const monologue *m, int lender, size_t cut)
{
    sender *s = sender_new(TAKES_ALL, lender, 1, 0);
    size_t len, used = 0, at = 0, end = 0;
    char *said = write_out(m, &len);
    completion *greeting = expect(s, "the greeting");
    called(s, greeting, ehlo_client_start(s->client, 0, on_greeting, greeting));
    while (end < len && !(ehlo_client_wants(s->client) & EHLO_WANT_CLOSE)) {
        end = len - end < cut ? len : end + cut;
        assert_int_equal(ehlo_client_feed(s->client, 0, said + at, end - at, &used), EHLO_OK);
        at += used;
        if (s->block.len != 0) fail_msg("nothing waits, and a block is still lent");
        int whole = at == end || !(ehlo_client_wants(s->client) & EHLO_WANT_READ);
        assert_true(whole || end - at < ehlo_client_input_min(s->client));
    }
    s->server.messages = 0; /* what this one says is no answer to what it was told */
    s->server.fault[0] = '\0';
    assert_int_equal(ehlo_client_close(s->client), EHLO_OK);
    for (size_t i = 0; i < s->started; i++) assert_int_equal(s->messages[i].dones, 1);
    assert_int_equal(s->block.len, 0);
    arena_free(&s->memory);
    free(said);
    free(s);
}

static void what_hostile_servers_say_stays_outside_the_session(void **state) /* [C237] [K01] [K02] [N42] */
{
    static const size_t pieces[] = { 1, 100, 5000, SIZE_MAX };
    (void)state;
    for (size_t i = 0; i < COUNT(monologues); i++) {
        for (size_t k = 0; k < COUNT(pieces); k++) {
            listen_to(&monologues[i], 0, pieces[k]);
            listen_to(&monologues[i], 1, pieces[k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_stays_in_its_memory_and_one_lent_block),
        cmocka_unit_test(a_session_stays_in_its_memory_without_a_lender),
        cmocka_unit_test(where_the_lender_has_no_block_everything_ends_once_and_with_the_truth),
        cmocka_unit_test(long_auth_lines_borrow_for_as_long_as_they_take),
        cmocka_unit_test(a_long_line_that_never_leaves_is_wiped_and_given_back),
        cmocka_unit_test(what_hostile_servers_say_stays_outside_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
