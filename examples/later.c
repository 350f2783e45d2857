/* later.c - answers that come later: every RCPT is answered by a timer, as a lookup somewhere else would be.
 *
 *     later --listen 127.0.0.1:2525 [--delay MS]
 *
 * on_rcpt keeps its token and returns EHLO_LATER; the timer hands the answer to the loop. The session waits
 * meanwhile, and every other session goes on. */
#include "program.h"

enum { DELAY_MS = 100, DELAY_MS_MAX = 600000, GRACE_MS = 5000 };

static const char help[] = "usage: later --listen ADDR:PORT [--delay MS]\n"
                           "\n"
                           "Accepts every message and keeps none; answers each RCPT after a while.\n"
                           "\n"
                           "  --listen ADDR:PORT  where to listen; port 0 picks one; *:PORT is every address\n"
                           "  --delay MS          milliseconds until a recipient is answered; 100\n"
                           "  --help              print this\n"
                           "\n"
                           "Prints \"ready ADDR:PORT\" once it listens. SIGTERM ends it.\n";

typedef struct later_options {
    ehlo_address listen;
    uint32_t delay_ms;
} later_options;

/* One per session, in the memory that the loop gives it: zeroed before, gone after on_close. */
typedef struct lookup {
    ehlo_timer timer;
    ehlo_conn_id id;
    ehlo_token token;
} lookup;

static void lookup_done(ehlo_loop *loop, void *arg)
{
    const lookup *l = arg;
    ehlo_reply reply = { .code = 250,
                         .enhanced = { 2, 1, 5 },
                         .text = ehlo_str_from("Recipient found, after a while") };
    ehlo_loop_answer(loop, l->id, l->token, &reply);
}

static int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    lookup *l = user;
    const later_options *options = ehlo_conn_ctx(s);
    (void)rcpt; /* a view that dies with this call: who needs it later copies it */
    (void)r;
    l->id = ehlo_conn_number(s);
    l->token = token;
    int error = ehlo_timer_start(ehlo_conn_loop(s), &l->timer, options->delay_ms, lookup_done, l);
    return error == EHLO_OK ? EHLO_LATER : error;
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    lookup *l = user;
    (void)reason;
    (void)pending; /* it will not be answered any more: the timer must not fire into freed memory */
    ehlo_timer_stop(ehlo_conn_loop(s), &l->timer);
}

static later_options parse_options(int argc, char **argv)
{
    later_options options = { .delay_ms = DELAY_MS };
    int have_listen = 0;
    const char *value;
    program_begin(argv[0], help);
    for (int i = 1; i < argc; i++) {
        if (program_option(argc, argv, &i, "--listen", &value)) {
            options.listen = program_parse_listen("--listen", value);
            have_listen = 1;
        } else if (program_option(argc, argv, &i, "--delay", &value)) {
            options.delay_ms = (uint32_t)program_parse_number("--delay", value, 0, DELAY_MS_MAX);
        } else {
            program_unknown_option(argv[i]);
        }
    }
    if (!have_listen) program_usage_error("--listen is missing");
    return options;
}

static ehlo_service *make_service(void)
{
    ehlo_service *service;
    ehlo_service_config cfg = {
        .hostname = ehlo_str_from("later.example"), .answer_ms = 2 * DELAY_MS_MAX, /* more than the longest delay */
    };
    ehlo_server_callbacks callbacks = { .on_rcpt = on_rcpt, .on_close = on_close };
    int error = ehlo_net_service_new(&service, &cfg, &callbacks);
    if (error != EHLO_OK) program_fail("the service: %s", program_error(error));
    return service;
}

int main(int argc, char **argv)
{
    ehlo_loop *loop;
    ehlo_listener *listener;
    later_options options = parse_options(argc, argv);
    program_raise_descriptors();
    ehlo_service *service = make_service();
    int error = ehlo_loop_new(&loop, NULL);
    if (error != EHLO_OK) program_fail("the loop: %s", program_error(error));
    ehlo_listen_config cfg = {
        .address = options.listen, .service = service, .ctx = &options, .user_size = sizeof(lookup)
    };
    error = ehlo_loop_listen(loop, &cfg, &listener);
    if (error != EHLO_OK) {
        char text[64];
        program_fail("cannot listen on %s: %s", program_address(options.listen, text), program_error(error));
    }
    program_stop_on_signals(&loop, 1, GRACE_MS);
    program_ready(ehlo_listener_address(listener));
    error = ehlo_loop_run(loop);
    program_ignore_signals();
    ehlo_loop_free(loop);
    ehlo_net_service_free(service);
    return error == EHLO_OK ? PROGRAM_OK : PROGRAM_FAILED;
}
