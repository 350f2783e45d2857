/* relay - a small mail transfer agent: accepts mail, keeps it on disk, delivers it, tries again, and reports. */
#include "../program_tls.h"

#include "etrn.h"
#include "list.h"
#include "log.h"
#include "outcomes.h"
#include "session.h"
#include "spool.h"

#include <time.h>

enum {
    SECONDS_MAX = 100000000,
    ADDRESS_SHARE_MIN = 50, /* connections that one address may have, however few there are */
    FLUSH_MS = 500,         /* how often requests of --flush are looked for */
    GRACE_MS = 10000        /* for what is under way when we are asked to end */
};

static const char help[] =
    "usage: relay --listen ADDR:PORT --spool DIR [options]\n"
    "       relay --spool DIR --list\n"
    "       relay --spool DIR --flush DOMAIN\n"
    "Accepts mail by SMTP, keeps it in a spool directory, and delivers it to where it goes next.\n"
    "\n"
    "  --listen ADDR:PORT      where to listen; port 0 picks one\n"
    "  --spool DIR             where messages wait; made if it is not there\n"
    "  --list                  show what waits there, and end\n"
    "  --flush DOMAIN          let the relay that runs there try DOMAIN now (@DOMAIN: and what is\n"
    "                          below it), and end\n"
    "  --hostname H            our name; default: this host's\n"
    "\n"
    "  --domain D              accept mail for D from anyone; may be repeated\n"
    "  --allow CIDR            let these clients send to anyone, and use ETRN (192.0.2.0/24,\n"
    "                          2001:db8::/32, an address); may be repeated\n"
    "  --max-size N            octets of a message; default 52428800\n"
    "  --max-recipients N      recipients of a message; default 1000\n"
    "  --max-connections N     connections of clients at once, as far as there are descriptors;\n"
    "                          default 20000; a quarter of them from one address\n"
    "\n"
    "  --resolver ADDR:PORT    a recursive DNS server; may be repeated; default: those of the system\n"
    "  --smarthost HOST:PORT   everything goes to the first of these that can be reached; may be\n"
    "                          repeated; default: to where DNS says\n"
    "  --mx-port N             the port of hosts found in DNS; default 25\n"
    "  --mx-loopback           hosts found in DNS may be at loopback addresses, 127.0.0.1 among them\n"
    "  --concurrency N         deliveries at once; default 100\n"
    "  --retry-first S         seconds until the second attempt; default 1800; then twice as long\n"
    "  --retry-max S           each time, up to this; default 10800\n"
    "  --warn S                seconds until the sender is told of a delay; 0: never; default 14400\n"
    "  --expire S              seconds until the sender is told that it failed; default 432000\n"
    "  --timeout S             seconds to wait for a peer; default: those of RFC 5321 4.5.3.2\n"
    "  --trace                 show the dialogues on standard error\n"
    "  --help                  show this\n"
    "\n"
    "Prints \"ready ADDR:PORT\" once it listens, logs to standard error, ends on SIGTERM.\n";

enum { RESOLVERS_MAX = 8 };

/* Text points into argv. */
struct options {
    const char *listen; /* NULL: --list or --flush */
    ehlo_address address;
    const char *spool;
    int list;
    const char *flush; /* a destination, or NULL */
    ehlo_str hostname;
    ehlo_address resolvers[RESOLVERS_MAX];
    size_t resolver_count;
    ehlo_host *smart_hosts;
    size_t smart_host_count;
    struct network *allowed;
    size_t allowed_count;
    ehlo_str *domains;
    size_t domain_count;
    uint16_t mx_port;
    int mx_loopback;
    ehlo_schedule schedule;
    uint32_t concurrency;
    uint64_t max_size;
    uint32_t max_recipients;
    size_t max_connections;
    uint32_t timeout_ms; /* 0: the times of RFC 5321 */
    int trace;
};

/* -- options ---------------------------------------------------------------------------------------- */

/* Room for one more at the end of a list, which moves. */
static void *grow(void *list, size_t count, size_t size)
{
    void *larger = realloc(list, (count + 1) * size);
    if (larger == NULL) program_fail("%s", strerror(ENOMEM));
    return larger;
}

static void add_allowed(struct options *o, const char *text)
{
    o->allowed = grow(o->allowed, o->allowed_count, sizeof *o->allowed);
    if (network_parse(text, &o->allowed[o->allowed_count++]) != 0) {
        program_usage_error("--allow: \"%s\" is no network (192.0.2.0/24, 2001:db8::/32, 192.0.2.1)", text);
    }
}

static void add_domain(struct options *o, const char *text)
{
    o->domains = grow(o->domains, o->domain_count, sizeof *o->domains);
    o->domains[o->domain_count++] = program_parse_domain("--domain", text);
}

static void add_smart_host(struct options *o, const char *text)
{
    o->smart_hosts = grow(o->smart_hosts, o->smart_host_count, sizeof *o->smart_hosts);
    o->smart_hosts[o->smart_host_count++] = program_parse_host("--smarthost", text);
}

static void add_resolver(struct options *o, const char *text)
{
    ehlo_address address = program_parse_listen("--resolver", text);
    if (address.family == EHLO_FAMILY_NONE || address.port == 0) {
        program_usage_error("--resolver: \"%s\" is not the address and port of a server", text);
    }
    if (o->resolver_count == RESOLVERS_MAX) program_usage_error("--resolver: %d at most", RESOLVERS_MAX);
    o->resolvers[o->resolver_count++] = address;
}

/* A domain, and perhaps '@' in front; or an address, as a smart host may be one. */
static void check_flush(const char *text)
{
    struct network address;
    ehlo_str domain = ehlo_str_from(text[0] == '@' ? text + 1 : text);
    if (ehlo_domain_parse(domain, 0, NULL, NULL, NULL) == EHLO_OK || network_parse(text, &address) == 0) return;
    program_usage_error("--flush: \"%s\" is not a domain", text);
}

/* 1 if argv[*at] was this option, with a number. */
static int parse_number(int argc, char **argv, int *at, const char *option, uint64_t min, uint64_t max, uint64_t *n)
{
    const char *value;
    if (!program_option(argc, argv, at, option, &value)) return 0;
    *n = program_parse_number(option, value, min, max);
    return 1;
}

/* 1 if argv[*at] was one of the times. */
static int parse_time(int argc, char **argv, int *at, struct options *o)
{
    uint64_t n;
    if (parse_number(argc, argv, at, "--retry-first", 1, SECONDS_MAX, &n)) {
        o->schedule.first_s = (uint32_t)n;
    } else if (parse_number(argc, argv, at, "--retry-max", 1, SECONDS_MAX, &n)) {
        o->schedule.max_s = (uint32_t)n;
    } else if (parse_number(argc, argv, at, "--expire", 1, SECONDS_MAX, &n)) {
        o->schedule.expire_s = (uint32_t)n;
    } else if (parse_number(argc, argv, at, "--warn", 0, SECONDS_MAX, &n)) {
        o->schedule.warn_s = n == 0 ? UINT32_MAX : (uint32_t)n;
    } else if (parse_number(argc, argv, at, "--timeout", 1, 1000000, &n)) {
        o->timeout_ms = (uint32_t)n * 1000;
    } else {
        return 0;
    }
    return 1;
}

/* 1 if argv[*at] was one of the limits. */
static int parse_limit(int argc, char **argv, int *at, struct options *o)
{
    uint64_t n;
    if (parse_number(argc, argv, at, "--max-size", 1, UINT64_MAX / 4, &n)) {
        o->max_size = n;
    } else if (parse_number(argc, argv, at, "--max-recipients", 1, 1000000, &n)) {
        o->max_recipients = (uint32_t)n;
    } else if (parse_number(argc, argv, at, "--max-connections", 1, 10000000, &n)) {
        o->max_connections = (size_t)n;
    } else if (parse_number(argc, argv, at, "--concurrency", 1, 10000, &n)) {
        o->concurrency = (uint32_t)n;
    } else if (parse_number(argc, argv, at, "--mx-port", 1, UINT16_MAX, &n)) {
        o->mx_port = (uint16_t)n;
    } else {
        return 0;
    }
    return 1;
}

/* 1 if argv[*at] was one of those that may be repeated. */
static int parse_list(int argc, char **argv, int *at, struct options *o)
{
    static const struct {
        const char *option;
        void (*add)(struct options *o, const char *text);
    } lists[] = {
        { "--domain", add_domain },
        { "--allow", add_allowed },
        { "--smarthost", add_smart_host },
        { "--resolver", add_resolver },
    };
    const char *value;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (!program_option(argc, argv, at, lists[i].option, &value)) continue;
        lists[i].add(o, value);
        return 1;
    }
    return 0;
}

static void parse_option(int argc, char **argv, int *at, struct options *o)
{
    const char *value;
    if (parse_time(argc, argv, at, o) || parse_limit(argc, argv, at, o) || parse_list(argc, argv, at, o)) return;
    if (program_option(argc, argv, at, "--spool", &o->spool)) return;
    if (program_option(argc, argv, at, "--flush", &o->flush)) {
        check_flush(o->flush);
    } else if (program_option(argc, argv, at, "--listen", &o->listen)) {
        o->address = program_parse_listen("--listen", o->listen);
    } else if (program_option(argc, argv, at, "--hostname", &value)) {
        o->hostname = program_parse_domain("--hostname", value);
    } else if (program_flag(argv[*at], "--list")) {
        o->list = 1;
    } else if (program_flag(argv[*at], "--mx-loopback")) {
        o->mx_loopback = 1;
    } else if (program_flag(argv[*at], "--trace")) {
        o->trace = 1;
    } else {
        program_unknown_option(argv[*at]);
    }
}

static void options_parse(int argc, char **argv, struct options *o)
{
    memset(o, 0, sizeof *o);
    o->max_size = 52428800;
    o->max_recipients = 1000;
    o->max_connections = 20000;
    o->concurrency = 100;
    program_begin(argv[0], help);
    for (int i = 1; i < argc; i++) parse_option(argc, argv, &i, o);
    if (o->spool == NULL || o->spool[0] == '\0') program_usage_error("--spool is required");
    if (o->list && o->flush != NULL) program_usage_error("--list and --flush: one at a time");
    if ((o->list || o->flush != NULL) && o->listen != NULL) {
        program_usage_error("--listen: not with %s, which asks a relay that runs, or none",
                            o->list ? "--list" : "--flush");
    }
    if (!o->list && o->flush == NULL && o->listen == NULL) program_usage_error("--listen is required");
    if (o->hostname.len == 0) o->hostname = program_hostname();
}

static void options_free(struct options *o)
{
    free(o->smart_hosts);
    free(o->allowed);
    free(o->domains);
}

/* -- the parts -------------------------------------------------------------------------------------- */

/* What runs until it is asked to end. */
struct server {
    struct options o;
    struct relay relay; /* what sessions share */
    struct spool *spool;
    ehlo_relay_policy policy;
    ehlo_address *own_addresses;
    const ehlo_tls_engine *engine; /* NULL: no TLS */
    ehlo_loop *loop;
    ehlo_resolver *resolver;
    ehlo_relay *runner;
    ehlo_service *service;
    ehlo_limits *limits;
    ehlo_listener *listener;
    ehlo_timer flush;
};

static void need(int result, const char *what)
{
    if (result != EHLO_OK) program_fail("%s: %s", what, program_error(result));
}

static void on_spool_problem(const char *text, void *ctx)
{
    (void)ctx;
    log_line("spool: %s", text);
}

static void open_spool(struct server *server)
{
    char why[SPOOL_WHY_MAX];
    struct spool_settings settings = { .schedule = server->o.schedule,
                                       .now = (int64_t)time(NULL) * 1000,
                                       .on_problem = on_spool_problem };
    if (spool_open(&server->spool, server->o.spool, &settings, why) != 0) program_fail("--spool %s", why);
}

/* Clients must not take the descriptors that deliveries and the spool need: each delivery may have a session, an idle one
 * beside it, and an open file. Of a client the message may be in a file, too. */
static void limit_connections(struct server *server)
{
    struct rlimit limit;
    size_t most = server->o.max_connections;
    size_t reserve = 64 + 3 * (size_t)server->o.concurrency;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        size_t room = limit.rlim_cur > reserve ? (size_t)(limit.rlim_cur - reserve) / 2 : 0;
        if (room == 0) program_fail("too few descriptors: --concurrency %u takes %zu", server->o.concurrency, reserve);
        if (room < most) most = room;
    }
    if (most < server->o.max_connections) {
        log_line("at most %zu clients at once: there are %llu descriptors", most, (unsigned long long)limit.rlim_cur);
    }
    size_t share = most / 4 > ADDRESS_SHARE_MIN ? most / 4 : ADDRESS_SHARE_MIN;
    need(ehlo_limits_new(&server->limits, most, share), "limits");
}

static ehlo_service *make_service(const struct options *o)
{
    ehlo_service *service;
    ehlo_server_callbacks callbacks = session_callbacks(o->trace);
    /* Neither DELIVERBY nor FUTURERELEASE, MT-PRIORITY or RRVS: nobody here would act on them. */
    ehlo_service_config cfg = {
        .hostname = o->hostname,
        .extensions = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING |
                      EHLO_CAP_BINARYMIME | EHLO_CAP_ENHANCEDSTATUSCODES | EHLO_CAP_SMTPUTF8 | EHLO_CAP_HELP |
                      EHLO_CAP_DSN | EHLO_CAP_ETRN,
        .max_size = o->max_size,
        .max_recipients = o->max_recipients,
        .command_ms = o->timeout_ms,
        .data_ms = o->timeout_ms,
        .write_ms = o->timeout_ms,
    };
    need(ehlo_net_service_new(&service, &cfg, &callbacks), "the service");
    return service;
}

static void listen_for_clients(struct server *server)
{
    const struct options *o = &server->o;
    ehlo_listen_config cfg = { .address = o->address,
                               .service = server->service,
                               .ctx = &server->relay,
                               .user_size = sizeof(struct session),
                               .limits = server->limits };
    int result = ehlo_loop_listen(server->loop, &cfg, &server->listener);
    if (result != EHLO_OK) program_fail("--listen %s: %s", o->listen, program_error(result));
}

/* Who listens on a loopback address has its neighbours there: they are other hosts. */
static void make_policy(struct server *server)
{
    const struct options *o = &server->o;
    ehlo_relay_policy *policy = &server->policy;
    ehlo_address listening = ehlo_listener_address(server->listener);
    policy->own_names = &o->hostname;
    policy->nown_names = 1;
    policy->smart_hosts = o->smart_hosts;
    policy->nsmart_hosts = o->smart_host_count;
    policy->mx_port = o->mx_port;
    policy->schedule = o->schedule;
    policy->allow_loopback = (uint8_t)(o->mx_loopback || network_is_loopback(&listening));
    int error = network_own_addresses(&listening, !o->mx_loopback, &server->own_addresses, &policy->nown_addresses);
    if (error != 0) program_fail("our addresses: %s", strerror(error));
    policy->own_addresses = server->own_addresses;
}

static void open_resolver(struct server *server)
{
    ehlo_resolver_config cfg = { .servers = server->o.resolvers, .nservers = server->o.resolver_count };
    need(ehlo_resolver_new(&server->resolver, server->loop, &cfg), "the resolver");
}

static void start_runner(struct server *server)
{
    const struct options *o = &server->o;
    const struct program_tls trust = { .certificate = { .option = "TLS" },
                                       .key = { .option = "TLS" },
                                       .authorities = { .option = "TLS" },
                                       .trusts_nobody = 1 }; /* opportunistic TLS verifies nobody */
    ehlo_client_config client = { .name = o->hostname,
                                  .greeting_ms = o->timeout_ms,
                                  .command_ms = o->timeout_ms,
                                  .data_ms = o->timeout_ms,
                                  .write_ms = o->timeout_ms,
                                  .final_ms = o->timeout_ms };
    if (program_crypto() != NULL) server->engine = program_tls_open(&trust);
    ehlo_relay_config cfg = { .policy = &server->policy,
                              .store = &spool_store,
                              .store_ctx = server->spool,
                              .client = &client,
                              .resolver = server->resolver,
                              .tls_engine = server->engine,
                              .concurrency = o->concurrency,
                              .on_recorded = outcomes_recorded,
                              .on_problem = outcomes_problem,
                              .on_trace = o->trace ? outcomes_trace : NULL };
    need(ehlo_relay_new(&server->runner, server->loop, &cfg), "the relay");
}

static void prepare_sessions(struct server *server)
{
    const struct options *o = &server->o;
    struct queue *queue = &server->relay.queue;
    queue->store = &spool_store;
    queue->store_ctx = server->spool;
    queue->policy = &server->policy;
    queue->postmaster_domain = o->domain_count > 0 ? o->domains[0] : o->hostname;
    server->relay.allowed = o->allowed;
    server->relay.allowed_count = o->allowed_count;
    server->relay.domains = o->domains;
    server->relay.domain_count = o->domain_count;
}

/* -- requests of --flush ---------------------------------------------------------------------------- */

static void flush(char option, ehlo_str node, void *arg)
{
    struct server *server = arg;
    etrn_flush(&server->relay.queue, server->loop, option, node);
}

static void look_for_flush(ehlo_loop *loop, void *arg)
{
    struct server *server = arg;
    spool_flush_take(server->spool, flush, server);
    ehlo_timer_start(loop, &server->flush, FLUSH_MS, look_for_flush, server);
}

/* -- life ------------------------------------------------------------------------------------------- */

static void start(struct server *server)
{
    limit_connections(server);
    need(ehlo_loop_new(&server->loop, NULL), "the loop");
    open_spool(server);
    prepare_sessions(server);
    server->service = make_service(&server->o);
    listen_for_clients(server);
    make_policy(server);
    open_resolver(server);
    start_runner(server);
    server->relay.queue.runner = server->runner;
    look_for_flush(server->loop, server);
    if (server->o.domain_count + server->o.allowed_count == 0) log_line("neither --domain nor --allow: all is refused");
    log_line("%zu messages are queued", spool_count(server->spool));
    program_stop_on_signals(&server->loop, 1, GRACE_MS);
    program_ready(ehlo_listener_address(server->listener));
}

/* What the spool has still to answer goes to the loop; whoever closes last must not be called any more. */
static void finish(struct server *server)
{
    program_ignore_signals();
    server->relay.queue.runner = NULL;
    ehlo_relay_free(server->runner);
    spool_close(server->spool);
    server->relay.queue.store = NULL;
    ehlo_resolver_free(server->resolver);
    ehlo_loop_free(server->loop);
    ehlo_net_service_free(server->service);
    ehlo_limits_free(server->limits);
    if (server->engine != NULL) program_tls_free(server->engine);
    free(server->own_addresses);
}

int main(int argc, char **argv)
{
    static struct server server;
    int status = PROGRAM_OK;
    options_parse(argc, argv, &server.o);
    log_begin(program.name);
    if (server.o.list) {
        status = list_print(server.o.spool);
    } else if (server.o.flush != NULL) {
        status = list_flush(server.o.spool, server.o.flush);
    } else {
        program_raise_descriptors();
        start(&server);
        int result = ehlo_loop_run(server.loop);
        if (result != EHLO_OK) log_line("%s", program_error(result));
        status = result == EHLO_OK ? PROGRAM_OK : PROGRAM_FAILED;
        finish(&server);
    }
    options_free(&server.o);
    return status;
}
