/* inbox - a mail server that files what it accepts into maildirs, one folder per recipient. */
#include "../program.h"

#include "session.h"

#include <unistd.h>

enum {
    WORKERS = 8,      /* threads that sync: the disk gathers what they ask at the same time */
    GRACE_MS = 10000, /* for messages in flight when we are asked to end */
    HOST_MAX = 256
};

static const char help[] = "usage: inbox --listen ADDR:PORT --maildir DIR [options]\n"
                           "Receives mail by SMTP and files each message at DIR/<recipient>/new/.\n"
                           "\n"
                           "  --listen ADDR:PORT    where to listen; port 0 picks one (required)\n"
                           "  --maildir DIR         where to file; made if it is not there (required)\n"
                           "  --raw                 store exactly the received bytes: no Return-Path, no Received\n"
                           "  --hostname H          our name; default: this host's\n"
                           "  --lmtp                speak LMTP (RFC 2033)\n"
                           "  --domain D            accept mail for D alone; may be repeated; default: for all\n"
                           "  --max-size N          octets of a message; default 52428800\n"
                           "  --max-recipients N    recipients of a message; default 1000\n"
                           "  --max-connections N   connections at once; default 20000\n"
                           "  --timeout S           seconds to wait for the peer; default 300\n"
                           "  --trace               show the dialogue on standard error\n"
                           "  --help                show this\n"
                           "\n"
                           "Prints \"ready ADDR:PORT\" once it listens, logs to standard error, ends on SIGTERM.\n"
                           "--user, --require-auth, --tls-cert, --tls-key and --tls-wrapped are not built in.\n";

struct options {
    const char *listen;
    ehlo_address address;
    const char *maildir;
    const char *hostname;
    int lmtp;
    int trace;
    uint64_t max_size;
    uint32_t max_recipients;
    size_t max_connections;
    uint32_t timeout_ms;
};

/* -- options ---------------------------------------------------------------------------------------- */

static ehlo_str parse_domain(const char *option, const char *text)
{
    ehlo_str domain = ehlo_str_from(text);
    if (ehlo_domain_parse(domain, 0, NULL, NULL, NULL) != EHLO_OK) {
        program_usage_error("%s: \"%s\" is not a domain", option, text);
    }
    return domain;
}

static void add_domain(struct inbox *inbox, const char *text)
{
    ehlo_str *domains = realloc(inbox->domains, (inbox->domain_count + 1) * sizeof *domains);
    if (domains == NULL) program_fail("%s", strerror(ENOMEM));
    domains[inbox->domain_count++] = parse_domain("--domain", text);
    inbox->domains = domains;
}

/* 1 if argv[*at] was one of the limits. */
static int parse_limit(int argc, char **argv, int *at, struct options *o)
{
    const char *value;
    if (program_option(argc, argv, at, "--max-size", &value)) {
        o->max_size = program_parse_number("--max-size", value, 1, UINT64_MAX / 4);
    } else if (program_option(argc, argv, at, "--max-recipients", &value)) {
        o->max_recipients = (uint32_t)program_parse_number("--max-recipients", value, 1, 1000000);
    } else if (program_option(argc, argv, at, "--max-connections", &value)) {
        o->max_connections = (size_t)program_parse_number("--max-connections", value, 1, 10000000);
    } else if (program_option(argc, argv, at, "--timeout", &value)) {
        o->timeout_ms = (uint32_t)program_parse_number("--timeout", value, 1, 1000000) * 1000;
    } else {
        return 0;
    }
    return 1;
}

static void refuse_unbuilt(int argc, char **argv, int *at)
{
    static const char *const with_value[] = { "--user", "--tls-cert", "--tls-key" };
    const char *value;
    for (size_t i = 0; i < sizeof with_value / sizeof *with_value; i++) {
        if (program_option(argc, argv, at, with_value[i], &value))
            program_usage_error("%s: not built in", with_value[i]);
    }
    if (program_flag(argv[*at], "--require-auth") || program_flag(argv[*at], "--tls-wrapped")) {
        program_usage_error("%s: not built in", argv[*at]);
    }
}

static void parse_options(int argc, char **argv, struct options *o, struct inbox *inbox)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (program_option(argc, argv, &i, "--maildir", &o->maildir)) continue;
        if (program_option(argc, argv, &i, "--hostname", &o->hostname)) continue;
        if (parse_limit(argc, argv, &i, o)) continue;
        if (program_option(argc, argv, &i, "--listen", &o->listen)) {
            o->address = program_parse_listen("--listen", o->listen);
        } else if (program_option(argc, argv, &i, "--domain", &value)) {
            add_domain(inbox, value);
        } else if (program_flag(argv[i], "--raw")) {
            inbox->raw = 1;
        } else if (program_flag(argv[i], "--lmtp")) {
            o->lmtp = 1;
        } else if (program_flag(argv[i], "--trace")) {
            o->trace = 1;
        } else {
            refuse_unbuilt(argc, argv, &i);
            program_unknown_option(argv[i]);
        }
    }
    if (o->listen == NULL) program_usage_error("--listen is required");
    if (o->maildir == NULL || o->maildir[0] == '\0') program_usage_error("--maildir is required");
}

/* As asked for, or this host's if it is one that may be said in a reply. */
static ehlo_str choose_hostname(const struct options *o)
{
    static char host[HOST_MAX];
    if (o->hostname != NULL) return parse_domain("--hostname", o->hostname);
    if (gethostname(host, sizeof host - 1) == 0) {
        ehlo_str name = ehlo_str_from(host);
        if (ehlo_domain_parse(name, 0, NULL, NULL, NULL) == EHLO_OK) return name;
    }
    return ehlo_str_from("localhost");
}

/* -- the server ------------------------------------------------------------------------------------- */

static ehlo_service *make_service(const struct options *o, ehlo_str hostname)
{
    ehlo_service *service = NULL;
    ehlo_service_config cfg;
    ehlo_server_callbacks callbacks = session_callbacks(o->trace);
    memset(&cfg, 0, sizeof cfg);
    cfg.hostname = hostname;
    cfg.flags = o->lmtp ? EHLO_SERVICE_LMTP : 0;
    /* All that is on by default but DSN: who offers it owes reports (RFC 3461 5.2), and we send no mail. */
    cfg.extensions = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING | EHLO_CAP_BINARYMIME |
                     EHLO_CAP_ENHANCEDSTATUSCODES | EHLO_CAP_SMTPUTF8 | EHLO_CAP_HELP;
    cfg.max_size = o->max_size;
    cfg.max_recipients = o->max_recipients;
    cfg.command_ms = o->timeout_ms;
    cfg.data_ms = o->timeout_ms;
    cfg.write_ms = o->timeout_ms;
    int result = ehlo_net_service_new(&service, &cfg, &callbacks);
    if (result != EHLO_OK) program_fail("%s", program_error(result));
    return service;
}

static void start_listening(ehlo_loop *loop, const struct options *o, const ehlo_service *service, struct inbox *inbox,
                            ehlo_limits *limits)
{
    ehlo_listener *listener = NULL;
    ehlo_listen_config cfg;
    memset(&cfg, 0, sizeof cfg);
    cfg.address = o->address;
    cfg.service = service;
    cfg.ctx = inbox;
    cfg.user_size = sizeof(struct session);
    cfg.limits = limits;
    int result = ehlo_loop_listen(loop, &cfg, &listener);
    if (result != EHLO_OK) program_fail("--listen %s: %s", o->listen, program_error(result));
    program_stop_on_signals(&loop, 1, GRACE_MS);
    program_ready(ehlo_listener_address(listener));
}

/* The workers end before the loop is freed: their answers go to it. */
static int serve(const struct options *o, struct inbox *inbox)
{
    ehlo_loop *loop = NULL;
    ehlo_limits *limits = NULL;
    ehlo_service *service = make_service(o, inbox->hostname);
    int result = ehlo_limits_new(&limits, o->max_connections, 0);
    if (result == EHLO_OK) result = ehlo_loop_new(&loop, NULL);
    if (result != EHLO_OK) program_fail("%s", program_error(result));
    start_listening(loop, o, service, inbox, limits);
    result = ehlo_loop_run(loop);
    if (result != EHLO_OK) program_log("%s", program_error(result));
    program_ignore_signals();
    workers_finish(inbox->workers);
    ehlo_loop_free(loop);
    ehlo_net_service_free(service);
    ehlo_limits_free(limits);
    return result == EHLO_OK ? PROGRAM_OK : PROGRAM_FAILED;
}

int main(int argc, char **argv)
{
    struct inbox inbox;
    struct options o;
    memset(&inbox, 0, sizeof inbox);
    memset(&o, 0, sizeof o);
    o.max_size = 52428800;
    o.max_recipients = 1000;
    o.max_connections = 20000;
    o.timeout_ms = 300000;
    program_begin(argv[0], help);
    parse_options(argc, argv, &o, &inbox);
    inbox.hostname = choose_hostname(&o);
    program_raise_descriptors();
    int error = maildir_open(&inbox.maildir, o.maildir, inbox.hostname.ptr);
    if (error != 0) program_fail("--maildir %s: %s", o.maildir, strerror(error));
    maildir_sweep(&inbox.maildir);
    error = workers_start(&inbox.workers, WORKERS, o.max_connections);
    if (error != 0) program_fail("%s", strerror(error));
    int status = serve(&o, &inbox);
    maildir_close(&inbox.maildir);
    free(inbox.domains);
    return status;
}
