/* The table "Numbers" of the README says what the library does. The folder of the README is EHLO_SOURCE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ehlo/relay.h>
#include <ehlo/sasl.h>
#include <ehlo/transaction.h>

#include "bench/lone_session.h"

static char readme[65536];

static int read_readme(void **state)
{
    char path[4096];
    const char *source = getenv("EHLO_SOURCE");
    (void)state;
    snprintf(path, sizeof path, "%s/README.md", source != NULL ? source : ".");
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail_msg("there is no %s: set EHLO_SOURCE", path);
    size_t len = fread(readme, 1, sizeof readme - 1, file);
    fclose(file);
    readme[len] = '\0';
    return len == 0;
}

/* The n-th number in the second cell of the row whose first cell is `what`; commas may group its digits. */
static size_t number(const char *what, int n)
{
    char row[128];
    size_t value = 0;
    snprintf(row, sizeof row, "\n| %s | ", what);
    const char *at = strstr(readme, row);
    if (at == NULL) fail_msg("the README has no row \"%s\"", what);
    for (at += strlen(row); n >= 0 && *at != '|'; n--) {
        for (; *at != '|' && (*at < '0' || *at > '9'); at++) continue;
        for (value = 0; (*at >= '0' && *at <= '9') || *at == ','; at++) {
            if (*at != ',') value = value * 10 + (size_t)(*at - '0');
        }
    }
    if (value == 0) fail_msg("the row \"%s\" lacks a number", what);
    return value;
}

static ehlo_service_config defaults(void)
{
    return (ehlo_service_config){ .hostname = ehlo_str_from("mx.example") };
}

static void open_default(lone_session *lone)
{
    lone_open(lone, defaults(), 1);
    lone_say(lone, "EHLO client.example\r\n");
}

static int is_over(const lone_session *lone)
{
    return ehlo_server_wants(lone->server) == EHLO_WANT_CLOSE;
}

/* -- memory ----------------------------------------------------------------------------------------- */

static size_t session_size(int lender)
{
    lone_session lone;
    lone_open(&lone, defaults(), lender);
    size_t size = ehlo_server_size(lone.service);
    lone_close(&lone);
    return size;
}

static void the_memory_of_a_session_is_as_told(void **state)
{
    (void)state;
    assert_int_equal(session_size(1), number("a session's memory, with a lender", 0));
    assert_int_equal(session_size(0), number("a session's memory, without", 0));
    assert_int_equal(session_size(0) - session_size(1), number("the output block, lent while replies wait", 0));
}

static void the_input_buffer_is_as_told(void **state)
{
    lone_session plain, with_auth;
    ehlo_service_config config = defaults();
    (void)state;
    config.extensions = EHLO_CAP_AUTH;
    config.auth_mechanisms = ehlo_str_from("PLAIN");
    lone_open(&plain, defaults(), 1);
    lone_open(&with_auth, config, 1);
    assert_int_equal(ehlo_service_input_min(plain.service), number("an input buffer that never stalls", 0));
    assert_int_equal(ehlo_service_input_min(with_auth.service), number("an input buffer that never stalls", 1));
    assert_int_equal(ehlo_service_input_min(with_auth.service), number("AUTH exchange line", 0));
    lone_close(&plain);
    lone_close(&with_auth);
}

/* -- limits ----------------------------------------------------------------------------------------- */

static void say_noop_of(lone_session *lone, size_t len)
{
    char *line = lone_allocate(len);
    memset(line, 'x', len);
    memcpy(line, "NOOP ", 5);
    memcpy(line + len - 2, "\r\n", 2);
    lone_feed(lone, line, len, len);
    free(line);
}

static void the_longest_command_line_is_as_told(void **state)
{
    lone_session lone;
    size_t most = number("command line", 0);
    (void)state;
    open_default(&lone);
    say_noop_of(&lone, most);
    assert_int_equal(lone.refusals, 0);
    say_noop_of(&lone, most + 1);
    assert_int_equal(lone.refusals, 1);
    lone_close(&lone);
}

static void say_mail_of(lone_session *lone, size_t size)
{
    char line[128];
    snprintf(line, sizeof line, "MAIL FROM:<a@client.example> SIZE=%zu\r\n", size);
    lone_say(lone, "RSET\r\n");
    lone_say(lone, line);
}

static void the_largest_message_is_as_told(void **state)
{
    lone_session lone;
    size_t most = number("message", 0);
    (void)state;
    open_default(&lone);
    say_mail_of(&lone, most);
    assert_int_equal(lone.refusals, 0);
    say_mail_of(&lone, most + 1);
    assert_int_equal(lone.refusals, 1);
    lone_close(&lone);
}

static void the_most_recipients_are_as_told(void **state)
{
    lone_session lone;
    size_t most = number("recipients", 0);
    (void)state;
    open_default(&lone);
    lone_say(&lone, "MAIL FROM:<a@client.example>\r\n");
    for (size_t i = 0; i < most; i++) lone_say(&lone, "RCPT TO:<b@mx.example>\r\n");
    assert_int_equal(lone.refusals, 0);
    lone_say(&lone, "RCPT TO:<b@mx.example>\r\n");
    assert_int_equal(lone.refusals, 1);
    lone_close(&lone);
}

/* Angle brackets, a domain of 255 octets (RFC 5321 4.5.3.1.2), and what is left for the local part. */
static void say_rcpt_of(lone_session *lone, size_t len)
{
    char line[1024], *at = line;
    at += sprintf(at, "RCPT TO:<");
    memset(at, 'l', len - 258);
    at += len - 258;
    *at++ = '@';
    memset(at, 'd', 255);
    at[63] = at[127] = at[191] = '.';
    strcpy(at + 255, ">\r\n");
    lone_say(lone, line);
}

static void the_longest_path_is_as_told(void **state)
{
    lone_session lone;
    ehlo_service_config config = defaults();
    size_t most = number("path", 0);
    (void)state;
    config.leniencies = EHLO_SYNTAX_LONG_LOCAL; /* no other limit may be in the way */
    lone_open(&lone, config, 1);
    lone_say(&lone, "EHLO client.example\r\n");
    lone_say(&lone, "MAIL FROM:<a@client.example>\r\n");
    say_rcpt_of(&lone, most);
    assert_int_equal(lone.refusals, 0);
    say_rcpt_of(&lone, most + 1);
    assert_int_equal(lone.refusals, 1);
    lone_close(&lone);
}

/* That many are answered, and the next one with 421. */
static void assert_patience(const char *command, size_t most)
{
    lone_session lone;
    lone_open(&lone, defaults(), 1);
    for (size_t i = 0; i < most; i++) lone_say(&lone, command);
    assert_false(is_over(&lone));
    lone_say(&lone, command);
    assert_true(is_over(&lone));
    lone_close(&lone);
}

static void the_patience_with_bad_and_idle_commands_is_as_told(void **state)
{
    (void)state;
    assert_patience("NONSENSE\r\n", number("bad commands in a row", 0));
    assert_patience("NOOP\r\n", number("commands that move no mail, in a row", 0));
}

/* -- times: the clock of these sessions stands at 0 ------------------------------------------------- */

static void the_times_of_commands_and_messages_are_as_told(void **state)
{
    lone_session lone;
    size_t pause = number("a command, a pause in a message", 0) * 60000;
    size_t rate = number("a message's speed, after a minute", 0);
    char *text = lone_allocate(rate * 400);
    (void)state;
    memset(text, 'x', rate * 400);
    open_default(&lone);
    assert_int_equal(ehlo_server_deadline(lone.server), pause);
    lone_say(&lone, "MAIL FROM:<a@client.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n");
    assert_int_equal(ehlo_server_deadline(lone.server), 60000);
    lone_feed(&lone, text, rate * 100, SIZE_MAX);
    assert_int_equal(ehlo_server_deadline(lone.server), 160000);
    lone_feed(&lone, text, rate * 300, SIZE_MAX);
    assert_int_equal(ehlo_server_deadline(lone.server), pause);
    free(text);
    lone_close(&lone);
}

static int hello_later(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *r, void *user)
{
    (void)s, (void)token, (void)hello, (void)r, (void)user;
    return EHLO_LATER;
}

static int write_nothing(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)s, (void)parts, (void)n, (void)user;
    *taken = 0;
    return 0;
}

/* When a session with these callbacks gives up, after its greeting and an EHLO. */
static uint64_t deadline_with(const ehlo_server_callbacks *callbacks)
{
    static const char hello[] = "EHLO client.example\r\n";
    lone_session lone = { 0 };
    ehlo_service_config config = defaults();
    size_t used, size = ehlo_service_size(&config);
    void *service_memory = lone_allocate(size);
    assert_int_equal(ehlo_service_init(&lone.service, service_memory, size, &config, callbacks), EHLO_OK);
    size = ehlo_server_size(lone.service);
    void *memory = lone_allocate(size);
    assert_int_equal(ehlo_server_init(&lone.server, memory, size, lone.service, NULL, &lone), EHLO_OK);
    ehlo_server_start(lone.server, 0);
    ehlo_server_feed(lone.server, 0, hello, sizeof hello - 1, &used);
    uint64_t deadline = ehlo_server_deadline(lone.server);
    ehlo_server_close(lone.server);
    free(memory);
    free(service_memory);
    return deadline;
}

static void the_times_of_answers_and_of_peers_that_do_not_read_are_as_told(void **state)
{
    const ehlo_server_callbacks later = { .write = lone_write, .on_hello = hello_later };
    const ehlo_server_callbacks stuck = { .write = write_nothing };
    (void)state;
    assert_int_equal(deadline_with(&later), number("your answer", 0) * 60000);
    assert_int_equal(deadline_with(&stuck), number("a peer that does not read", 0) * 60000);
}

/* -- clients ---------------------------------------------------------------------------------------- */

/* A client whose transport takes all or nothing; its clock stands at 0. */
typedef struct lone_client {
    ehlo_client *client;
    ehlo_client_config config;
    void *memory;
    char *block;
    size_t lent; /* octets of it */
    int stuck;
} lone_client;

static void *client_lend(size_t len, void *ctx)
{
    lone_client *lone = ctx;
    lone->lent = len;
    lone->block = lone_allocate(len);
    return lone->block;
}

static void client_give(void *mem, size_t len, void *ctx)
{
    (void)len, (void)ctx;
    free(mem);
}

static int client_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n && !((lone_client *)user)->stuck; i++) *taken += parts[i].len;
    return 0;
}

static void client_open(lone_client *lone, int lender)
{
    static const ehlo_client_callbacks callbacks = { .write = client_write };
    memset(lone, 0, sizeof *lone);
    lone->config.name = ehlo_str_from("client.example");
    if (lender) lone->config.lender = (ehlo_lender){ .lend = client_lend, .give = client_give, .ctx = lone };
    size_t size = ehlo_client_size(&lone->config);
    lone->memory = lone_allocate(size);
    assert_int_equal(ehlo_client_init(&lone->client, lone->memory, size, &lone->config, &callbacks, lone), EHLO_OK);
    assert_int_equal(ehlo_client_start(lone->client, 0, NULL, NULL), EHLO_OK);
}

static void client_close(lone_client *lone)
{
    assert_int_equal(ehlo_client_close(lone->client), EHLO_OK);
    free(lone->memory);
}

static void client_hears(lone_client *lone, const char *text)
{
    size_t used;
    assert_int_equal(ehlo_client_feed(lone->client, 0, text, strlen(text), &used), EHLO_OK);
}

static void client_says(lone_client *lone, ehlo_verb verb, const char *argument)
{
    ehlo_str text = ehlo_str_from(argument);
    assert_int_equal(ehlo_client_command(lone->client, verb, text, NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(lone->client, 0), EHLO_OK);
}

/* One that may send mail. */
static void client_greet(lone_client *lone)
{
    client_open(lone, 1);
    client_hears(lone, "220 mx.example\r\n");
    assert_int_equal(ehlo_client_hello(lone->client, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(lone->client, 0), EHLO_OK);
    client_hears(lone, "250-mx.example\r\n250 PIPELINING\r\n");
}

static size_t client_size(int lender)
{
    lone_client lone;
    client_open(&lone, lender);
    size_t size = ehlo_client_size(&lone.config);
    client_close(&lone);
    return size;
}

static void the_memory_of_a_client_and_of_a_login_is_as_told(void **state)
{
    lone_client lone;
    size_t name = strlen("client.example");
    (void)state;
    assert_int_equal(ehlo_sasl_server_size(0), number("an AUTH exchange of a server, while it lasts", 0));
    assert_int_equal(client_size(1) - name, number("a client session's memory, with a lender", 0));
    assert_int_equal(client_size(0) - name, number("a client session's memory, without", 0));
    assert_true(client_size(1) <= 1024);
    assert_true(client_size(0) <= 3072);
    client_greet(&lone);
    assert_int_equal(lone.lent, number("its output block, lent while commands wait", 0));
    client_close(&lone);
    assert_int_equal(ehlo_transaction_size(), number("a transaction's memory", 0));
}

/* A greeting of so many octets and lines is taken. */
static int takes_greeting(size_t octets, size_t lines)
{
    lone_client lone;
    size_t used;
    char *text = lone_allocate(octets), *at = text;
    memset(text, 'x', octets);
    for (size_t i = 1; i < lines; i++, at += 6) memcpy(at, "220-\r\n", 6);
    memcpy(at, "220 ", 4);
    memcpy(text + octets - 2, "\r\n", 2);
    client_open(&lone, 1);
    assert_int_equal(ehlo_client_feed(lone.client, 0, text, octets, &used), EHLO_OK);
    int taken = !(ehlo_client_wants(lone.client) & EHLO_WANT_CLOSE);
    client_close(&lone);
    free(text);
    return taken;
}

static void the_longest_reply_to_a_client_is_as_told(void **state)
{
    lone_client lone;
    size_t octets = number("a reply to a client", 0), lines = number("a reply to a client", 1);
    (void)state;
    client_open(&lone, 1);
    assert_int_equal(ehlo_client_input_min(lone.client), octets);
    client_close(&lone);
    assert_true(takes_greeting(octets, 1));
    assert_false(takes_greeting(octets + 1, 1));
    assert_true(takes_greeting(lines * 6, lines));
    assert_false(takes_greeting((lines + 1) * 6, lines + 1));
}

static void the_window_of_a_client_is_as_told(void **state)
{
    lone_client lone;
    ehlo_rcpt_command rcpt = { .mailbox = ehlo_str_from("b@c") };
    size_t most = number("commands that wait for replies", 0);
    (void)state;
    client_greet(&lone);
    for (size_t i = 0; i < most; i++) {
        assert_int_equal(ehlo_client_rcpt(lone.client, &rcpt, NULL, NULL, NULL), EHLO_OK);
        assert_int_equal(ehlo_client_flush(lone.client, 0), EHLO_OK);
    }
    assert_int_equal(ehlo_client_rcpt(lone.client, &rcpt, NULL, NULL, NULL), EHLO_ERR_FULL);
    client_close(&lone);
}

static void assert_deadline(const lone_client *lone, const char *what, size_t unit_ms)
{
    assert_int_equal(ehlo_client_deadline(lone->client), number(what, 0) * unit_ms);
}

static void the_times_of_a_client_are_as_told(void **state)
{
    lone_client lone;
    size_t used;
    (void)state;
    client_open(&lone, 1);
    assert_deadline(&lone, "the greeting, the reply to a command", 60000);
    client_close(&lone);
    client_greet(&lone);
    client_says(&lone, EHLO_VERB_MAIL, "FROM:<>");
    assert_deadline(&lone, "the greeting, the reply to a command", 60000);
    client_says(&lone, EHLO_VERB_RCPT, "TO:<b@c>");
    client_hears(&lone, "250 OK\r\n250 OK\r\n");
    client_says(&lone, EHLO_VERB_DATA, "");
    assert_deadline(&lone, "the reply to DATA", 60000);
    client_hears(&lone, "354 Go on\r\n");
    assert_int_equal(ehlo_client_message(lone.client, 1, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_push(lone.client, 0, "x\r\n", 3, 1, &used), EHLO_OK);
    assert_deadline(&lone, "the reply to a message", 60000);
    client_hears(&lone, "250 OK\r\n");
    client_says(&lone, EHLO_VERB_QUIT, "");
    assert_deadline(&lone, "the reply to QUIT", 1000);
    client_close(&lone);
    client_greet(&lone);
    lone.stuck = 1;
    client_says(&lone, EHLO_VERB_NOOP, "");
    assert_deadline(&lone, "a server that does not read", 60000);
    client_close(&lone);
}

/* -- relay ------------------------------------------------------------------------------------------ */

static void the_memory_of_an_attempt_is_as_told(void **state)
{
    (void)state;
    assert_int_equal(ehlo_delivery_size(), number("an attempt at a batch, while it lasts", 0));
    assert_int_equal(sizeof(ehlo_batch_rcpt), number("an attempt at a batch, while it lasts", 1));
}

static void the_schedule_of_a_relay_is_as_told(void **state)
{
    const ehlo_schedule usual = { .first_s = 0 };
    const int64_t minute = 60000, hour = 60 * minute, day = 24 * hour;
    int64_t first = (int64_t)number("the first retry", 0) * minute;
    int64_t most = (int64_t)number("the first retry", 1) * hour;
    int64_t warn = (int64_t)number("a delay is told after", 0) * hour;
    int64_t expire = (int64_t)number("a message expires after", 0) * day;
    (void)state;
    assert_in_range(ehlo_schedule_next(&usual, 1, 0, 7), first, first + first / 8);
    assert_in_range(ehlo_schedule_next(&usual, 2, 0, 7), 2 * first, 2 * first + first / 4);
    assert_in_range(ehlo_schedule_next(&usual, 9, 0, 7), most, most + most / 8);
    assert_false(ehlo_schedule_warns(&usual, 0, warn - 1));
    assert_true(ehlo_schedule_warns(&usual, 0, warn));
    assert_false(ehlo_schedule_expired(&usual, 0, expire - 1));
    assert_true(ehlo_schedule_expired(&usual, 0, expire));
    assert_int_equal(EHLO_HOPS_MAX, number("hops", 0));
}

static size_t addresses_tried(void)
{
    enum { MANY = 8, HOSTS = 4 }; /* of a host that many are taken */
    ehlo_address addresses[MANY] = { { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 1 } } };
    ehlo_host hosts[HOSTS];
    for (int i = 1; i < MANY; i++) addresses[i] = addresses[0];
    for (int i = 0; i < HOSTS; i++) hosts[i] = (ehlo_host){ ehlo_str_from("mx.example"), 25, addresses, MANY };
    ehlo_relay_policy policy = { .smart_hosts = hosts, .nsmart_hosts = HOSTS };
    ehlo_batch_rcpt rcpt = { .rcpt = { .to = ehlo_str_from("a@b.example") } };
    ehlo_batch batch = { .destination = ehlo_str_from("mx.example"), .rcpts = &rcpt, .nrcpts = 1 };
    void *memory = malloc(ehlo_delivery_size());
    ehlo_delivery *d;
    size_t tried = 0;
    assert_int_equal(ehlo_delivery_init(&d, memory, ehlo_delivery_size(), &policy, &batch, 1), EHLO_OK);
    while (ehlo_delivery_failed(d, EHLO_STAGE_CONNECT, EHLO_OUTCOME_NOT_SENT, NULL) == EHLO_OK) tried++;
    free(memory);
    return tried;
}

static void the_addresses_that_are_tried_are_as_told(void **state)
{
    (void)state;
    assert_int_equal(addresses_tried(), number("addresses tried in an attempt", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_memory_of_a_session_is_as_told),
        cmocka_unit_test(the_input_buffer_is_as_told),
        cmocka_unit_test(the_longest_command_line_is_as_told),
        cmocka_unit_test(the_largest_message_is_as_told),
        cmocka_unit_test(the_most_recipients_are_as_told),
        cmocka_unit_test(the_longest_path_is_as_told),
        cmocka_unit_test(the_patience_with_bad_and_idle_commands_is_as_told),
        cmocka_unit_test(the_times_of_commands_and_messages_are_as_told),
        cmocka_unit_test(the_times_of_answers_and_of_peers_that_do_not_read_are_as_told),
        cmocka_unit_test(the_memory_of_a_client_and_of_a_login_is_as_told),
        cmocka_unit_test(the_longest_reply_to_a_client_is_as_told),
        cmocka_unit_test(the_window_of_a_client_is_as_told),
        cmocka_unit_test(the_times_of_a_client_are_as_told),
        cmocka_unit_test(the_memory_of_an_attempt_is_as_told),
        cmocka_unit_test(the_schedule_of_a_relay_is_as_told),
        cmocka_unit_test(the_addresses_that_are_tried_are_as_told),
    };
    return cmocka_run_group_tests(tests, read_readme, NULL);
}
