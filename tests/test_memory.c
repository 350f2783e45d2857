/* A session lives in exactly ehlo_server_size octets and one lent block, whatever its peer does [C237] [R08]: each
 * piece of memory ends where an unreadable page begins, and what is given back is unmapped. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <ehlo/server.h>

#include "arena.h"
#include "bench/lone_session.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* -- clients, and the application that serves them -------------------------------------------------- */

/* How a peer reads its replies. */
typedef enum reading { READS_ALL, READS_ONE_OCTET, READS_NOTHING, READS_THREE_TIMES } reading;

typedef struct client {
    ehlo_server *server;
    reading reads;
    unsigned writes;
    arena block; /* lent; len 0: none */
    unsigned lends;
    ehlo_token pending;
    int stalled; /* on_body took less than it was given */
    unsigned draws;
} client;

/* Whose call is under way: the lender is the service's and is not told. */
static client *current;
static char long_reply[1024];

static void *lend(size_t len, void *ctx)
{
    (void)ctx;
    assert_non_null(current);
    if (current->block.len != 0) fail_msg("a second block");
    current->block = arena_new(len);
    current->lends++;
    return current->block.start;
}

static void give(void *mem, size_t len, void *ctx)
{
    (void)ctx;
    assert_ptr_equal(mem, current->block.start);
    assert_int_equal(len, current->block.len);
    arena_free(&current->block);
}

static size_t appetite(client *c, size_t offered)
{
    c->writes++;
    switch (c->reads) {
    case READS_ALL:
        return offered;
    case READS_ONE_OCTET:
        return c->writes % 2;
    case READS_NOTHING:
        return 0;
    default:
        return c->writes <= 3 ? 20 : SIZE_MAX;
    }
}

static int app_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    size_t offered = 0;
    (void)s;
    for (size_t i = 0; i < n; i++) offered += parts[i].len;
    *taken = appetite(user, offered);
    if (*taken == SIZE_MAX) return -1;
    if (*taken > offered) *taken = offered;
    return 0;
}

static int is_to(const ehlo_rcpt *rcpt, const char *name)
{
    ehlo_str local_part = rcpt->path.local_part;
    return local_part.len == strlen(name) && memcmp(local_part.ptr, name, local_part.len) == 0;
}

/* "long" gets nearly the longest reply that there may be, "later" a late one, "reject" a refusal. */
static int app_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    (void)s;
    if (is_to(rcpt, "later")) {
        ((client *)user)->pending = token;
        return EHLO_LATER;
    }
    if (is_to(rcpt, "reject")) r->code = 550;
    if (is_to(rcpt, "long")) r->text = ehlo_str_from(long_reply);
    return EHLO_OK;
}

static int app_result(ehlo_server *s, ehlo_token token, size_t rcpt, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)user;
    r->code = rcpt % 2 ? 250 : 550;
    r->text = ehlo_str_from(long_reply);
    return EHLO_OK;
}

/* Every third time it takes but half. A message that begins with '!' is refused. */
static int app_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    client *c = user;
    (void)s;
    if (*bytes == '!') {
        r->text = ehlo_str_from(long_reply);
        r->code = 554;
        return EHLO_REFUSE;
    }
    if (++c->draws % 3 == 0) *taken = len / 2;
    c->stalled = *taken < len;
    return EHLO_OK;
}

static int app_auth(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)response, (void)user;
    if (mechanism.len == 0) return EHLO_OK;
    r->code = 334;
    r->text = ehlo_str_make(long_reply, 500);
    return EHLO_OK;
}

/* -- services --------------------------------------------------------------------------------------- */

typedef struct house {
    ehlo_service *service;
    void *memory;
    int lmtp;
} house;

/* Limits that would end a dialogue too soon are far away. */
static house house_new(int lmtp, int lender)
{
    house h = { .lmtp = lmtp };
    ehlo_service_config config = {
        .hostname = ehlo_str_from("mx.example"),
        .flags = EHLO_SERVICE_AUTH_CLEAR | (lmtp ? EHLO_SERVICE_LMTP : 0u),
        .extensions = EHLO_CAP_XCLIENT * 2 - 1,
        .auth_mechanisms = ehlo_str_from("PLAIN LOGIN"),
        .max_bad = UINT32_MAX,
        .max_idle_commands = UINT32_MAX,
        .max_size = 20000,
    };
    ehlo_server_callbacks callbacks = {
        .write = app_write,
        .on_rcpt = app_rcpt,
        .on_body = app_body,
        .on_result = app_result,
        .on_auth = app_auth,
    };
    if (lender) config.lender = (ehlo_lender){ .lend = lend, .give = give };
    size_t size = ehlo_service_size(&config);
    assert_int_not_equal(size, 0);
    h.memory = malloc(size);
    assert_int_equal(ehlo_service_init(&h.service, h.memory, size, &config, &callbacks), EHLO_OK);
    memset(long_reply, 'y', sizeof long_reply);
    for (size_t i = 70; i < sizeof long_reply; i += 70) long_reply[i] = '\n';
    long_reply[ehlo_service_reply_max(h.service) * 4 / 5] = '\0';
    return h;
}

static void house_free(house *h)
{
    free(h->memory);
}

/* -- dialogues -------------------------------------------------------------------------------------- */

#define HELLO "EHLO c.example\r\n"
#define ENVELOPE "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\n"
#define TEXT_80 "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwx\r\n"

/* What a hostile peer sends: a beginning, something over and over, and an end. */
typedef struct dialogue {
    const char *begins;
    const char *repeats;
    size_t times;
    const char *ends;
    int waits; /* at its end a refusal is held back: the peer can't expect it yet */
} dialogue;

static const dialogue dialogues[] = {
    { HELLO, "NOOP\r\n", 5000, "", 0 },
    { "", "\xFF\x01GET / HTTP/1.1\r\n\r\n", 500, "", 0 },
    { HELLO, "xxxxxxxxxxxxxxxxxxxxxxxx", 4000, "\r\n", 0 },
    { HELLO "MAIL FROM:<a@c.example>\r\n", "RCPT TO:<b@x.example>\r\n", 1500, "DATA\r\n.\r\n", 0 },
    { HELLO "MAIL FROM:<a@c.example>\r\n", "RCPT TO:<long@x.example>\r\n", 300, "RSET\r\n", 0 },
    { HELLO "MAIL FROM:<a@c.example>\r\n", "RCPT TO:<later@x.example>\r\nNOOP\r\n", 300, "DATA\r\n", 0 },
    { HELLO, ENVELOPE "RCPT TO:<reject@x.example>\r\nDATA\r\n..x\r\n.\r\n", 200, "QUIT\r\n", 0 },
    { HELLO ENVELOPE "DATA\r\n", "a\rb\nc\r.\r\n", 500, "\r\n.\r\nNOOP\r\n", 0 },
    { HELLO ENVELOPE "DATA\r\n!", TEXT_80, 100, "", 1 },
    { HELLO ENVELOPE "DATA\r\n", TEXT_80, 300, ".\r\n", 0 },
    { HELLO ENVELOPE "DATA\r\n", TEXT_80, 300, "", 1 },
    { HELLO ENVELOPE, "BDAT 1\r\nx", 1500, "BDAT 0 LAST\r\n", 0 },
    { HELLO ENVELOPE "BDAT 90000\r\n", TEXT_80, 300, "", 1 },
    { HELLO ENVELOPE "BDAT 5\r\n!1234", "BDAT 3\r\nabcRSET\r\n" ENVELOPE, 200, "BDAT 0 LAST\r\n", 0 },
    { HELLO ENVELOPE "BDAT 12x\r\n", TEXT_80, 100, "", 0 },
    { "", HELLO "MAIL FROM:<>\r\n", 300, "", 0 },
    { HELLO "AUTH PLAIN ", "AAAAAAAA", 1400, "\r\n*\r\n", 0 },
    { HELLO "AUTH LOGIN\r\n", "QUJD\r\n", 200, "*\r\nVRFY x\r\n", 0 },
    { HELLO "STARTTLS\r\n", "NOOP\r\n", 100, "", 0 },
    { HELLO "MAIL FROM:<a@c.example>\r\n", "RCPT TO:<b@x.example>\r\n", 200, "DATA\r\nx\r\n.\r\nQUIT\r\n", 0 },
    { HELLO ENVELOPE "RCPT TO:<c@x.example>\r\n", "BDAT 1\r\n!", 100, "RSET\r\n", 0 },
};

/* RFC 2033 4.1: LMTP has LHLO in the place of EHLO. */
static char *write_out(const dialogue *d, int lmtp, size_t *len)
{
    size_t begins = strlen(d->begins), each = strlen(d->repeats);
    *len = begins + each * d->times + strlen(d->ends);
    char *text = malloc(*len + 1), *at = text + begins;
    assert_non_null(text);
    memcpy(text, d->begins, begins);
    for (size_t i = 0; i < d->times; i++, at += each) memcpy(at, d->repeats, each);
    strcpy(at, d->ends);
    for (at = text; lmtp && (at = strstr(at, "EHLO")) != NULL;) *at = 'L';
    return text;
}

/* -- driving ---------------------------------------------------------------------------------------- */

static int is_fatal(int result)
{
    return result < EHLO_ERR_FATAL;
}

/* Answers, resumes and flushes as long as one of them is called for; 1 if something was done. */
static int move_on(client *c)
{
    unsigned wants = ehlo_server_wants(c->server);
    const ehlo_reply standard = { 0 };
    if (wants & EHLO_WANT_CLOSE) return 0;
    if (wants & EHLO_WANT_ANSWER) return !is_fatal(ehlo_server_answer(c->server, 0, c->pending, &standard));
    if (c->stalled) {
        c->stalled = 0;
        return !is_fatal(ehlo_server_resume(c->server, 0));
    }
    if (!(wants & EHLO_WANT_WRITE) || c->reads == READS_NOTHING) return 0;
    return !is_fatal(ehlo_server_flush(c->server, 0));
}

/* Gives a session more and more of the text; returns how much of it was taken. */
static size_t converse(client *c, const char *text, size_t len, size_t cut)
{
    size_t at = 0, end = 0, used = 1;
    current = c;
    while (end < len || used > 0) {
        if (ehlo_server_wants(c->server) & EHLO_WANT_CLOSE) break;
        if (ehlo_server_wants(c->server) & EHLO_WANT_READ) end = len - end < cut ? len : end + cut;
        if (is_fatal(ehlo_server_feed(c->server, 0, text + at, end - at, &used))) break;
        at += used;
        while (move_on(c)) used = 1;
        if (used == 0 && !(ehlo_server_wants(c->server) & EHLO_WANT_READ)) break;
    }
    return at;
}

static client client_new(const house *h, reading reads, arena *memory)
{
    client c = { .reads = reads };
    *memory = arena_new(ehlo_server_size(h->service));
    assert_int_equal(ehlo_server_init(&c.server, memory->start, memory->len - 1, h->service, NULL, &c), EHLO_ERR_SPACE);
    return c;
}

/* One session from its beginning to its end. */
static void run(const house *h, const dialogue *d, reading reads, size_t cut)
{
    size_t len;
    arena memory;
    char *text = write_out(d, h->lmtp, &len);
    client c = client_new(h, reads, &memory);
    current = &c;
    assert_int_equal(ehlo_server_init(&c.server, memory.start, memory.len, h->service, NULL, &c), EHLO_OK);
    ehlo_server_start(c.server, 0);
    while (move_on(&c)) continue;
    converse(&c, text, len, cut);
    if (!d->waits && (reads == READS_ALL || reads == READS_ONE_OCTET) && c.block.len != 0) {
        fail_msg("\"%.30s\": nothing waits, and a block is still lent", d->begins);
    }
    assert_int_equal(ehlo_server_close(c.server), EHLO_OK);
    if (c.block.len != 0) fail_msg("\"%.30s\": a block was not given back", d->begins);
    arena_free(&memory);
    free(text);
}

static void run_all(int lmtp, int lender)
{
    static const size_t cuts[] = { 1, 7, 1000, SIZE_MAX };
    house h = house_new(lmtp, lender);
    for (size_t i = 0; i < COUNT(dialogues); i++) {
        for (int reads = READS_ALL; reads <= READS_THREE_TIMES; reads++) {
            /* Small pieces are slow, and say nothing new with every way of reading. */
            for (size_t k = reads == READS_ALL ? 0 : 2; k < COUNT(cuts); k++) {
                run(&h, &dialogues[i], (reading)reads, cuts[k]);
            }
        }
    }
    house_free(&h);
}

static void hostile_dialogues_stay_in_the_session_and_one_lent_block(void **state) /* [C237] */
{
    (void)state;
    run_all(0, 1);
}

static void hostile_dialogues_stay_in_the_session_without_a_lender(void **state) /* [C237] */
{
    (void)state;
    run_all(0, 0);
}

static void hostile_lmtp_dialogues_stay_in_the_session_and_one_lent_block(void **state) /* [C237] */
{
    (void)state;
    run_all(1, 1);
}

static void hostile_lmtp_dialogues_stay_in_the_session_without_a_lender(void **state) /* [C237] */
{
    (void)state;
    run_all(1, 0);
}

static void a_peer_that_never_reads_costs_one_block_and_is_not_read_from(void **state) /* [C237] */
{
    static const dialogue noops = { HELLO, "NOOP\r\n", 20000, "", 0 };
    size_t len;
    arena memory;
    char *text = write_out(&noops, 0, &len);
    house h = house_new(0, 1);
    client c = client_new(&h, READS_NOTHING, &memory);
    (void)state;
    current = &c;
    assert_int_equal(ehlo_server_init(&c.server, memory.start, memory.len, h.service, NULL, &c), EHLO_OK);
    ehlo_server_start(c.server, 0);
    size_t taken = converse(&c, text, len, SIZE_MAX);
    assert_true(taken < 1000);
    assert_int_equal(ehlo_server_wants(c.server), EHLO_WANT_WRITE);
    assert_int_equal(c.lends, 1);
    assert_int_not_equal(c.block.len, 0);
    ehlo_server_close(c.server);
    assert_int_equal(c.block.len, 0);
    arena_free(&memory);
    house_free(&h);
    free(text);
}

static void a_thousand_idle_sessions_hold_their_own_octets_alone(void **state) /* [R08] [C237] */
{
    enum { SESSIONS = 1000 };
    static client clients[SESSIONS];
    house h = house_new(0, 1);
    size_t each = ehlo_server_size(h.service);
    arena memory = arena_new(each * SESSIONS);
    (void)state;
    assert_int_equal(each % ARENA_ALIGNMENT, 0);
    for (size_t i = 0; i < SESSIONS; i++) {
        client *c = current = &clients[i];
        memset(c, 0, sizeof *c);
        assert_int_equal(ehlo_server_init(&c->server, memory.start + i * each, each, h.service, NULL, c), EHLO_OK);
        ehlo_server_start(c->server, 0);
        assert_int_equal(converse(c, HELLO, strlen(HELLO), SIZE_MAX), strlen(HELLO));
    }
    /* Each is woken once more, next to all the others, and rests again. */
    for (size_t i = 0; i < SESSIONS; i++) {
        unsigned writes = clients[i].writes;
        assert_int_equal(clients[i].block.len, 0);
        converse(&clients[i], ENVELOPE, strlen(ENVELOPE), SIZE_MAX);
        assert_int_equal(clients[i].block.len, 0);
        assert_true(clients[i].writes > writes);
        assert_int_equal(ehlo_server_wants(clients[i].server), EHLO_WANT_READ);
    }
    for (size_t i = 0; i < SESSIONS; i++) {
        current = &clients[i];
        assert_int_equal(ehlo_server_close(clients[i].server), EHLO_OK);
    }
    arena_free(&memory);
    house_free(&h);
}

/* -- how much it is --------------------------------------------------------------------------------- */

static size_t session_size(uint32_t extensions, int lender)
{
    lone_session lone;
    ehlo_service_config config = { .hostname = ehlo_str_from("mx.example"), .extensions = extensions };
    lone_open(&lone, config, lender);
    size_t size = ehlo_server_size(lone.service);
    lone_close(&lone);
    return size;
}

static void a_session_with_every_extension_but_auth_is_small(void **state)
{
    (void)state;
    assert_in_range(session_size(LONE_ALL_EXTENSIONS, 1), 1, 512);
    assert_in_range(session_size(LONE_ALL_EXTENSIONS, 0), 1, 2048);
    assert_in_range(session_size(0, 1), 1, 512);
    assert_in_range(session_size(0, 0), 1, 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_dialogues_stay_in_the_session_and_one_lent_block),
        cmocka_unit_test(hostile_dialogues_stay_in_the_session_without_a_lender),
        cmocka_unit_test(hostile_lmtp_dialogues_stay_in_the_session_and_one_lent_block),
        cmocka_unit_test(hostile_lmtp_dialogues_stay_in_the_session_without_a_lender),
        cmocka_unit_test(a_peer_that_never_reads_costs_one_block_and_is_not_read_from),
        cmocka_unit_test(a_thousand_idle_sessions_hold_their_own_octets_alone),
        cmocka_unit_test(a_session_with_every_extension_but_auth_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
