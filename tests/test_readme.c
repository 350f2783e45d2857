/* The table "Numbers" of the README says what the library does. The folder of the README is EHLO_SOURCE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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
    };
    return cmocka_run_group_tests(tests, read_readme, NULL);
}
