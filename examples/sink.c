/* sink.c - the smallest server: accepts every message, keeps none.
 *
 *     sink --listen 127.0.0.1:2525 [--threads N] [--lmtp]
 *
 * A service with no callbacks at all accepts everything, since a callback that is not there takes the default.
 * All that is left to do is to say which extensions can be kept: for a server that throws mail away, nearly all. */
#include "program.h"

#include <pthread.h>

enum { GRACE_MS = 5000 };

static const char help[] = "usage: sink --listen ADDR:PORT [--threads N] [--lmtp]\n"
                           "\n"
                           "Accepts every message and keeps none.\n"
                           "\n"
                           "  --listen ADDR:PORT  where to listen; port 0 picks one; *:PORT is every address\n"
                           "  --threads N         event loops that share the port; 1\n"
                           "  --lmtp              speak LMTP\n"
                           "  --help              print this\n"
                           "\n"
                           "Prints \"ready ADDR:PORT\" once it listens. SIGTERM ends it.\n";

typedef struct sink_options {
    ehlo_address listen;
    size_t threads;
    int lmtp;
} sink_options;

static sink_options parse_options(int argc, char **argv)
{
    sink_options options = { .threads = 1 };
    int have_listen = 0;
    const char *value;
    program_begin(argv[0], help);
    for (int i = 1; i < argc; i++) {
        if (program_option(argc, argv, &i, "--listen", &value)) {
            options.listen = program_parse_listen("--listen", value);
            have_listen = 1;
        } else if (program_option(argc, argv, &i, "--threads", &value)) {
            options.threads = (size_t)program_parse_number("--threads", value, 1, PROGRAM_LOOPS_MAX);
        } else if (program_flag(argv[i], "--lmtp")) {
            options.lmtp = 1;
        } else {
            program_unknown_option(argv[i]);
        }
    }
    if (!have_listen) program_usage_error("--listen is missing");
    return options;
}

/* What must be honoured can be honoured by throwing the message away, but for what needs a secret or a queue:
 * STARTTLS, AUTH, REQUIRETLS, XCLIENT, ETRN. */
static ehlo_service *make_service(int lmtp)
{
    ehlo_service *service;
    ehlo_service_config cfg = {
        .hostname = ehlo_str_from("sink.example"),
        .flags = lmtp ? EHLO_SERVICE_LMTP : 0,
        .extensions = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING |
                      EHLO_CAP_BINARYMIME | EHLO_CAP_DSN | EHLO_CAP_ENHANCEDSTATUSCODES | EHLO_CAP_SMTPUTF8 |
                      EHLO_CAP_DELIVERBY | EHLO_CAP_MT_PRIORITY | EHLO_CAP_FUTURERELEASE | EHLO_CAP_LIMITS |
                      EHLO_CAP_RRVS | EHLO_CAP_HELP,
        .max_size = EHLO_UNLIMITED,
    };
    ehlo_server_callbacks callbacks = { .write = NULL }; /* the loop has its own */
    int error = ehlo_net_service_new(&service, &cfg, &callbacks);
    if (error != EHLO_OK) program_fail("the service: %s", program_error(error));
    return service;
}

/* The first loop picks the port where it is 0; the others listen on the same. */
static ehlo_loop *make_loop(const ehlo_service *service, ehlo_address *address, int share_port)
{
    ehlo_loop *loop;
    ehlo_listener *listener;
    int error = ehlo_loop_new(&loop, NULL);
    if (error != EHLO_OK) program_fail("the loop: %s", program_error(error));
    ehlo_listen_config cfg = { .address = *address, .service = service, .share_port = share_port != 0 };
    error = ehlo_loop_listen(loop, &cfg, &listener);
    if (error != EHLO_OK) {
        char text[64];
        program_fail("cannot listen on %s: %s", program_address(*address, text), program_error(error));
    }
    *address = ehlo_listener_address(listener);
    return loop;
}

static void *run_loop(void *loop)
{
    ehlo_loop_run(loop);
    return NULL;
}

/* One loop on this thread, each further one on a thread of its own. */
static void run_loops(ehlo_loop *const *loops, size_t count)
{
    pthread_t threads[PROGRAM_LOOPS_MAX];
    for (size_t i = 1; i < count; i++) {
        if (pthread_create(&threads[i], NULL, run_loop, loops[i]) != 0) program_fail("cannot start a thread");
    }
    run_loop(loops[0]);
    for (size_t i = 1; i < count; i++) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    ehlo_loop *loops[PROGRAM_LOOPS_MAX];
    sink_options options = parse_options(argc, argv);
    program_raise_descriptors();
    ehlo_service *service = make_service(options.lmtp);
    for (size_t i = 0; i < options.threads; i++) {
        loops[i] = make_loop(service, &options.listen, options.threads > 1);
    }
    program_stop_on_signals(loops, options.threads, GRACE_MS);
    program_ready(options.listen);
    run_loops(loops, options.threads);
    program_ignore_signals();
    for (size_t i = 0; i < options.threads; i++) ehlo_loop_free(loops[i]);
    ehlo_net_service_free(service);
    return PROGRAM_OK;
}
