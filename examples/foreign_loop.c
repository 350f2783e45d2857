/* foreign_loop.c - the library's outgoing connection inside somebody else's event loop, here libuv's.
 *
 *     foreign_loop --server mx.example.org:25 --from a@example.com --to b@example.org <message
 *
 * Three calls are enough: ehlo_loop_fd is readable when ehlo_loop_step has work, and ehlo_loop_timeout says when it has
 * work anyway. Listeners would run there just so. */
#include "program.h"

#include <uv.h>

static const char help[] = "usage: foreign_loop --server HOST:PORT --from A --to B [--to B]... <MESSAGE\n"
                           "\n"
                           "Sends the message on standard input, and prints what became of each recipient.\n";

typedef struct mailer {
    ehlo_loop *loop;
    uv_poll_t readable;
    uv_timer_t due;
    ehlo_host server;
    ehlo_envelope envelope;
    void *transaction;
    int finished;
} mailer;

/* -- the library's loop inside libuv's ---------------------------------------------------------------- */

static void step(mailer *m);

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)status, (void)events;
    step(handle->data);
}

static void on_due(uv_timer_t *handle)
{
    step(handle->data);
}

/* Does what can be done without waiting, and says when to be called again. */
static void step(mailer *m)
{
    ehlo_loop_step(m->loop, 0);
    if (m->finished) {
        uv_poll_stop(&m->readable);
        uv_timer_stop(&m->due); /* nothing is active any more, and uv_run returns */
        return;
    }
    int wait = ehlo_loop_timeout(m->loop);
    if (wait >= 0) {
        uv_timer_start(&m->due, on_due, (uint64_t)wait, 0);
    } else {
        uv_timer_stop(&m->due);
    }
}

static void run(mailer *m)
{
    uv_loop_t *uv = uv_default_loop();
    if (uv_poll_init(uv, &m->readable, ehlo_loop_fd(m->loop)) != 0) program_fail("libuv cannot watch the loop");
    uv_timer_init(uv, &m->due);
    m->readable.data = m->due.data = m;
    uv_poll_start(&m->readable, UV_READABLE, on_readable);
    step(m);
    uv_run(uv, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&m->readable, NULL);
    uv_close((uv_handle_t *)&m->due, NULL);
    uv_run(uv, UV_RUN_DEFAULT);
    uv_loop_close(uv);
}

/* -- the message: as in any program that uses the library's loop -------------------------------------- */

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    (void)outcome, (void)user;
    ehlo_client_command(ehlo_transaction_client(t), EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
}

static void on_ready(ehlo_client *c, void *user)
{
    mailer *m = user;
    ehlo_transaction *t;
    ehlo_transaction_callbacks callbacks = { .on_done = on_done };
    int error =
        ehlo_transaction_start(&t, m->transaction, ehlo_transaction_size(), c, &m->envelope, &callbacks, m, NULL);
    if (error != EHLO_OK) program_fail("the message: %s", program_error(error));
}

static void on_failed(ehlo_loop *loop, const ehlo_failure *f, void *user)
{
    mailer *m = user;
    (void)loop;
    ehlo_envelope_settle(&m->envelope, f->outcome, f->stage, f->reply);
    m->finished = 1;
}

static void on_closed(ehlo_client *c, int reason, void *user)
{
    mailer *m = user;
    (void)c, (void)reason;
    m->finished = 1;
}

static void connect_to_server(mailer *m)
{
    ehlo_client_config client = { .name = ehlo_str_from("client.example") };
    ehlo_connect_config cfg = { .hosts = &m->server, .nhosts = 1, .client = &client };
    ehlo_connect_callbacks callbacks = { .on_ready = on_ready, .on_failed = on_failed, .on_closed = on_closed };
    int error = ehlo_loop_connect(m->loop, &cfg, &callbacks, m, NULL);
    if (error != EHLO_OK) program_fail("the connection: %s", program_error(error));
}

static void parse_options(int argc, char **argv, mailer *m, ehlo_recipient *rcpts)
{
    const char *value;
    program_begin(argv[0], help);
    for (int i = 1; i < argc; i++) {
        if (program_option(argc, argv, &i, "--server", &value)) {
            m->server = program_parse_host("--server", value);
        } else if (program_option(argc, argv, &i, "--from", &value)) {
            m->envelope.from = ehlo_str_from(value);
        } else if (program_option(argc, argv, &i, "--to", &value)) {
            rcpts[m->envelope.nrcpts++].to = ehlo_str_from(value);
        } else {
            program_unknown_option(argv[i]);
        }
    }
    if (m->server.port == 0) program_usage_error("--server is missing");
    if (m->envelope.nrcpts == 0) program_usage_error("--to is missing");
    m->envelope.rcpts = rcpts;
}

int main(int argc, char **argv)
{
    static mailer m;
    ehlo_recipient *rcpts = calloc((size_t)argc, sizeof *rcpts);
    m.transaction = malloc(ehlo_transaction_size());
    if (rcpts == NULL || m.transaction == NULL) program_fail("%s", strerror(ENOMEM));
    parse_options(argc, argv, &m, rcpts);
    m.envelope.content = program_read_input();
    int error = ehlo_loop_new(&m.loop, NULL);
    if (error != EHLO_OK) program_fail("the loop: %s", program_error(error));
    connect_to_server(&m);
    run(&m);
    ehlo_loop_free(m.loop);
    ehlo_outcome worst = ehlo_envelope_settle(&m.envelope, EHLO_OUTCOME_NOT_SENT, EHLO_STAGE_NONE, NULL);
    program_print_outcomes(&m.envelope);
    free((void *)(uintptr_t)m.envelope.content.ptr);
    free(m.transaction);
    free(rcpts);
    return worst == EHLO_OUTCOME_DELIVERED ? PROGRAM_OK : PROGRAM_FAILED;
}
