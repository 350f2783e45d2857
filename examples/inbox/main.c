/* inbox - a mail server that files what it accepts into maildirs, one folder per recipient. */
#include "../program_tls.h"

#include "log.h"
#include "session.h"

enum {
    WORKERS = 8,  /* threads that sync: the disk gathers what they ask at the same time */
    CHECKERS = 2, /* threads that check passwords: no message waits behind those that somebody tries out */
    HANDSHAKE_MS = 60000,
    GRACE_MS = 10000 /* for messages in flight when we are asked to end */
};

static const char help[] =
    "usage: inbox --listen ADDR:PORT --maildir DIR [options]\n"
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
    "  --user NAME:PASSWORD  who may log in; may be repeated. Those who did may send to every\n"
    "                        domain\n"
    "  --require-auth        take mail from them alone, by the rules of submission (RFC 6409),\n"
    "                        and add the Date and Message-ID that it lacks\n"
    "  --tls-cert F          our certificate, and those that lead to its authority (PEM): offers\n"
    "                        STARTTLS, and AUTH only inside TLS\n"
    "  --tls-key F           its private key; default: in the same file\n"
    "  --tls-wrapped         TLS from the first octet on\n"
    "  --tls-ca F            the authorities of clients' certificates (PEM): asks for one, and\n"
    "                        offers EXTERNAL: it stands for the --user whose NAME is a CN or\n"
    "                        emailAddress of its subject\n"
    "  --auth-mechanisms M   offer these (\"PLAIN CRAM-MD5\"); where they take a token it is the\n"
    "                        password. Default: SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS\n"
    "                        SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN\n"
    "\n"
    "Prints \"ready ADDR:PORT\" once it listens, logs to standard error, ends on SIGTERM.\n";

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
    struct program_tls tls;
    const ehlo_tls_engine *engine; /* NULL: no TLS */
    int tls_wrapped;
    int require_auth;
    const char *mechanism_names; /* as given, or NULL */
    uint32_t mechanisms;
};

/* -- options ---------------------------------------------------------------------------------------- */

static void add_domain(struct inbox *inbox, const char *text)
{
    ehlo_str *domains = realloc(inbox->domains, (inbox->domain_count + 1) * sizeof *domains);
    if (domains == NULL) program_fail("%s", strerror(ENOMEM));
    domains[inbox->domain_count++] = program_parse_domain("--domain", text);
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

static void add_user(struct inbox *inbox, char *text)
{
    const char *problem = users_add(&inbox->users, text);
    const char *colon = strchr(text, ':');
    int name = colon != NULL ? (int)(colon - text) : 0; /* a password is not for the log */
    if (problem != NULL) program_usage_error("--user \"%.*s\": %s", name, text, problem);
}

/* "PLAIN LOGIN" */
static uint32_t parse_mechanisms(const char *text)
{
    uint32_t mechanisms = 0;
    for (size_t len = 0; *(text += strspn(text, " ")) != '\0'; text += len) {
        len = strcspn(text, " ");
        mechanisms |= program_parse_mechanism("--auth-mechanisms", ehlo_str_make(text, len));
    }
    if (mechanisms == 0) program_usage_error("--auth-mechanisms: it is empty");
    return mechanisms;
}

/* 1 if argv[*at] was about TLS or AUTH. */
static int parse_security(int argc, char **argv, int *at, struct options *o, struct inbox *inbox)
{
    const char *value;
    if (program_option(argc, argv, at, "--user", &value)) {
        add_user(inbox, argv[*at] + (value - argv[*at]));
    } else if (program_option(argc, argv, at, "--auth-mechanisms", &o->mechanism_names)) {
        o->mechanisms = parse_mechanisms(o->mechanism_names);
    } else if (program_flag(argv[*at], "--require-auth")) {
        o->require_auth = 1;
    } else if (program_flag(argv[*at], "--tls-wrapped")) {
        o->tls_wrapped = 1;
    } else {
        return program_option(argc, argv, at, "--tls-cert", &o->tls.certificate.path) ||
               program_option(argc, argv, at, "--tls-key", &o->tls.key.path) ||
               program_option(argc, argv, at, "--tls-ca", &o->tls.authorities.path);
    }
    return 1;
}

static void parse_options(int argc, char **argv, struct options *o, struct inbox *inbox)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (program_option(argc, argv, &i, "--maildir", &o->maildir)) continue;
        if (program_option(argc, argv, &i, "--hostname", &o->hostname)) continue;
        if (parse_limit(argc, argv, &i, o) || parse_security(argc, argv, &i, o, inbox)) continue;
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
            program_unknown_option(argv[i]);
        }
    }
    if (o->listen == NULL) program_usage_error("--listen is required");
    if (o->maildir == NULL || o->maildir[0] == '\0') program_usage_error("--maildir is required");
}

/* -- TLS and AUTH ----------------------------------------------------------------------------------- */

static void check_tls(const struct options *o)
{
    const char *option = o->tls.certificate.path != NULL   ? "--tls-cert"
                         : o->tls.key.path != NULL         ? "--tls-key"
                         : o->tls.authorities.path != NULL ? "--tls-ca"
                         : o->tls_wrapped                  ? "--tls-wrapped"
                                                           : NULL;
    if (option == NULL) return;
    program_need_tls(option);
    if (o->tls.certificate.path == NULL) program_usage_error("%s: --tls-cert is missing", option);
}

static void check_auth(const struct options *o, const struct inbox *inbox)
{
    const char *option = o->require_auth ? "--require-auth" : o->mechanism_names != NULL ? "--auth-mechanisms" : NULL;
    if (option != NULL && inbox->users.count == 0) program_usage_error("%s: --user is missing", option);
    if (o->require_auth && o->lmtp) program_usage_error("--require-auth: submission is by SMTP, not by --lmtp");
    if (inbox->users.count > 0 && o->tls.certificate.path == NULL) {
        program_log("warning: --user without --tls-cert: whoever can listen on the way learns the passwords");
    }
}

static uint32_t default_mechanisms(const struct options *o)
{
    uint32_t mechanisms = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN;
    if (program_crypto() != NULL) {
        mechanisms |=
            EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS | EHLO_SASL_SCRAM_SHA_256 | EHLO_SASL_SCRAM_SHA_256_PLUS;
    }
    if (o->tls.authorities.path != NULL) mechanisms |= EHLO_SASL_EXTERNAL;
    return mechanisms;
}

static void secure(struct options *o, struct inbox *inbox)
{
    check_tls(o);
    check_auth(o, inbox);
    o->tls.trusts_nobody = 1; /* clients' certificates are looked at with --tls-ca alone */
    if (o->tls.certificate.path != NULL) o->engine = program_tls_open(&o->tls);
    if (o->mechanisms == 0) o->mechanisms = default_mechanisms(o);
    int result = users_prepare(&inbox->users, program_crypto(), (o->mechanisms & EHLO_SASL_CRAM_MD5) != 0);
    if (result != EHLO_OK) program_fail("--user: %s", program_error(result));
    inbox->completing = o->require_auth && !inbox->raw;
}

/* -- the server ------------------------------------------------------------------------------------- */

/* RFC 5321 knows none: a minute, unless less is asked for. */
static uint32_t handshake_ms(const struct options *o)
{
    return o->timeout_ms < HANDSHAKE_MS ? o->timeout_ms : HANDSHAKE_MS;
}

/* What TLS and AUTH make of a service. */
static void configure_security(ehlo_service_config *cfg, const struct options *o, const struct inbox *inbox)
{
    cfg->tls_ms = handshake_ms(o);
    if (o->engine != NULL && !o->tls_wrapped) cfg->extensions |= EHLO_CAP_STARTTLS;
    if (inbox->users.count == 0) return;
    cfg->extensions |= EHLO_CAP_AUTH;
    cfg->auth_mechanisms = ehlo_str_from(program_mechanism_names(o->mechanisms));
    if (o->engine == NULL) cfg->flags |= EHLO_SERVICE_AUTH_CLEAR;
    if (o->require_auth) cfg->flags |= EHLO_SERVICE_SUBMISSION;
}

static ehlo_service *make_service(const struct options *o, const struct inbox *inbox)
{
    ehlo_service *service = NULL;
    ehlo_service_config cfg;
    ehlo_server_callbacks callbacks = session_callbacks(o->trace);
    memset(&cfg, 0, sizeof cfg);
    cfg.hostname = inbox->hostname;
    cfg.flags = o->lmtp ? EHLO_SERVICE_LMTP : 0;
    /* All that is on by default but DSN: who offers it owes reports (RFC 3461 5.2), and we send no mail. */
    cfg.extensions = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING | EHLO_CAP_CHUNKING | EHLO_CAP_BINARYMIME |
                     EHLO_CAP_ENHANCEDSTATUSCODES | EHLO_CAP_SMTPUTF8 | EHLO_CAP_HELP;
    cfg.max_size = o->max_size;
    cfg.max_recipients = o->max_recipients;
    cfg.command_ms = o->timeout_ms;
    cfg.data_ms = o->timeout_ms;
    cfg.write_ms = o->timeout_ms;
    configure_security(&cfg, o, inbox);
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
    cfg.tls = o->engine;
    cfg.implicit_tls = (uint8_t)o->tls_wrapped;
    cfg.tls_ms = handshake_ms(o);
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
    ehlo_service *service = make_service(o, inbox);
    int result = ehlo_limits_new(&limits, o->max_connections, 0);
    if (result == EHLO_OK) result = ehlo_loop_new(&loop, NULL);
    if (result != EHLO_OK) program_fail("%s", program_error(result));
    start_listening(loop, o, service, inbox, limits);
    result = ehlo_loop_run(loop);
    if (result != EHLO_OK) program_log("%s", program_error(result));
    program_ignore_signals();
    workers_finish(inbox->workers);
    workers_finish(inbox->checkers);
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
    o.tls.certificate.option = "--tls-cert";
    o.tls.key.option = "--tls-key";
    o.tls.authorities.option = "--tls-ca";
    o.max_size = 52428800;
    o.max_recipients = 1000;
    o.max_connections = 20000;
    o.timeout_ms = 300000;
    program_begin(argv[0], help);
    log_begin(program.name);
    parse_options(argc, argv, &o, &inbox);
    inbox.hostname = o.hostname != NULL ? program_parse_domain("--hostname", o.hostname) : program_hostname();
    secure(&o, &inbox);
    program_raise_descriptors();
    int error = maildir_open(&inbox.maildir, o.maildir, inbox.hostname.ptr);
    if (error != 0) program_fail("--maildir %s: %s", o.maildir, strerror(error));
    maildir_sweep(&inbox.maildir);
    error = workers_start(&inbox.workers, WORKERS, o.max_connections);
    if (error == 0) error = workers_start(&inbox.checkers, CHECKERS, o.max_connections);
    if (error != 0) program_fail("%s", strerror(error));
    int status = serve(&o, &inbox);
    maildir_close(&inbox.maildir);
    program_tls_free(o.engine);
    users_free(&inbox.users);
    free(inbox.domains);
    return status;
}
