/* send - sends a message, and says of every recipient what became of it. */
#include "../program_tls.h"

#include "report.h"
#include "secret.h"
#include "sender.h"

#include <strings.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

enum { QUIT_MS = 10000 };

/* The worst outcome decides. */
enum { STATUS_REJECTED = 1, STATUS_AGAIN = 75, STATUS_UNCERTAIN = 76 };

static const char help[] =
    "usage: send --server HOST:PORT --from A --to B [options] [FILE|-]\n"
    "Sends the message in FILE, or standard input, and prints a line for each recipient:\n"
    "ADDRESS OUTCOME STAGE CODE ENHANCED TEXT (\"-\": there is none), where OUTCOME is\n"
    "delivered, not-sent, deferred, rejected, or uncertain: it may have arrived.\n"
    "\n"
    "  --server HOST:PORT    where to send it; may be repeated: later ones are tried where the\n"
    "                        ones before can't be reached (required)\n"
    "  --from A              reverse-path; '' or '<>': the null path (required)\n"
    "  --to B                recipient; may be repeated (required)\n"
    "  --ehlo NAME           our name; default: this host's, or its address\n"
    "  --lmtp                speak LMTP (RFC 2033)\n"
    "  --notify X            ask for delivery status: NEVER, or some of SUCCESS,FAILURE,DELAY\n"
    "  --ret FULL|HDRS       how much of the message a report is to hold\n"
    "  --envid X             a name for the message, which reports are to hold\n"
    "  --smtputf8            addresses or header fields are UTF-8 (RFC 6531)\n"
    "  --no-pipelining       one command at a time, whatever the server offers\n"
    "  --no-chunking         DATA, whatever the server offers\n"
    "  --count N             send N copies, one behind the other over one connection; 1\n"
    "  --timeout S           seconds to wait for each thing; default: those of RFC 5321\n"
    "  --trace               show the dialogue on standard error\n"
    "\n"
    "  --tls none            in clear\n"
    "        opportunistic   inside TLS where the server goes along, whoever it is: the default\n"
    "                        without --auth and --user\n"
    "        required        inside TLS (STARTTLS), to a server that proves its name, or not at\n"
    "                        all: the default with them\n"
    "        wrapped         likewise, TLS from the first octet on\n"
    "  --ca F                the authorities to trust (PEM); default: the system's\n"
    "  --cert F --key F      our certificate, for servers that ask for one (PEM)\n"
    "  --user U              who we are\n"
    "  --password-file F     its first line is the password, or the token of OAUTHBEARER and\n"
    "                        XOAUTH2\n"
    "  --auth MECH           this mechanism alone; default: the strongest that the server offers,\n"
    "                        but neither CRAM-MD5 nor ANONYMOUS. EXTERNAL: we are who --cert says\n"
    "  --auth-clear          with --tls none or opportunistic: the password may go in clear\n"
    "  --help                show this\n"
    "\n"
    "LF line ends in FILE become CRLF. Status: 0 all delivered, 1 some rejected, 75 some deferred or not\n"
    "sent, 76 some uncertain (76 before 1 before 75), 64 usage.\n";

struct options {
    struct job job;
    ehlo_client_config client;
    ehlo_host *hosts;
    const char *server; /* the first */
    const char *ehlo;
    const char *file;
    int have_from;
    uint8_t notify;
    const char *tls; /* the options as given; NULL: not given */
    const char *auth;
    const char *user;
    const char *password_file;
    int auth_clear;
    struct program_tls tls_files;
    ehlo_credentials credentials;
    struct secret secret;
};

static volatile sig_atomic_t signals;

/* -- options ---------------------------------------------------------------------------------------- */

/* One more element of zeroes. */
static void *grow(void *array, size_t count, size_t size)
{
    char *larger = realloc(array, (count + 1) * size);
    if (larger == NULL) program_fail("%s", strerror(ENOMEM));
    memset(larger + count * size, 0, size);
    return larger;
}

static void add_server(struct options *o, const char *value)
{
    ehlo_connect_config *connect = &o->job.connect;
    if (o->server == NULL) o->server = value;
    o->hosts = grow(o->hosts, connect->nhosts, sizeof *o->hosts);
    o->hosts[connect->nhosts++] = program_parse_host("--server", value);
    connect->hosts = o->hosts;
}

static void add_recipient(struct options *o, const char *value)
{
    ehlo_envelope *envelope = &o->job.envelope;
    envelope->rcpts = grow(envelope->rcpts, envelope->nrcpts, sizeof *envelope->rcpts);
    envelope->rcpts[envelope->nrcpts++].to = ehlo_str_from(value);
}

/* RFC 3461 4.1 */
static uint8_t parse_notify(const char *value)
{
    static const char *const names[] = { "NEVER", "SUCCESS", "FAILURE", "DELAY" }; /* in the order of EHLO_NOTIFY_* */
    unsigned notify = 0;
    for (const char *at = value; at != NULL; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL) {
        size_t len = strcspn(at, ",");
        unsigned bit = 0;
        for (unsigned i = 0; i < 4; i++) {
            if (len == strlen(names[i]) && strncasecmp(at, names[i], len) == 0) bit = 1U << i;
        }
        if (bit == 0) program_usage_error("--notify: \"%.*s\" is none of NEVER SUCCESS FAILURE DELAY", (int)len, at);
        notify |= bit;
    }
    if (notify > EHLO_NOTIFY_NEVER && (notify & EHLO_NOTIFY_NEVER)) {
        program_usage_error("--notify: NEVER stands alone");
    }
    return (uint8_t)notify;
}

static uint8_t parse_ret(const char *value)
{
    if (strcasecmp(value, "FULL") == 0) return EHLO_RET_FULL;
    if (strcasecmp(value, "HDRS") == 0) return EHLO_RET_HDRS;
    program_usage_error("--ret: \"%s\" is neither FULL nor HDRS", value);
}

static uint8_t parse_tls(const char *value)
{
    static const char *const names[] = { [EHLO_TLS_NONE] = "none",
                                         [EHLO_TLS_OPPORTUNISTIC] = "opportunistic",
                                         [EHLO_TLS_REQUIRED] = "required",
                                         [EHLO_TLS_WRAPPED] = "wrapped" };
    for (uint8_t policy = EHLO_TLS_NONE; policy <= EHLO_TLS_WRAPPED; policy++) {
        if (strcmp(value, names[policy]) == 0) return policy;
    }
    program_usage_error("--tls: \"%s\" is none of none opportunistic required wrapped", value);
}

/* 1 if argv[*at] is about TLS or AUTH. */
static int parse_security(int argc, char **argv, int *at, struct options *o)
{
    if (program_option(argc, argv, at, "--tls", &o->tls)) {
        o->job.connect.tls = parse_tls(o->tls);
    } else if (program_option(argc, argv, at, "--auth", &o->auth)) {
        o->credentials.mechanisms = program_parse_mechanism("--auth", ehlo_str_from(o->auth));
    } else if (program_flag(argv[*at], "--auth-clear")) {
        o->auth_clear = 1;
    } else {
        return program_option(argc, argv, at, "--ca", &o->tls_files.authorities.path) ||
               program_option(argc, argv, at, "--cert", &o->tls_files.certificate.path) ||
               program_option(argc, argv, at, "--key", &o->tls_files.key.path) ||
               program_option(argc, argv, at, "--user", &o->user) ||
               program_option(argc, argv, at, "--password-file", &o->password_file);
    }
    return 1;
}

static void set_timeout(struct options *o, const char *value)
{
    uint32_t ms = (uint32_t)program_parse_number("--timeout", value, 1, 1000000) * 1000;
    ehlo_client_config *c = &o->client;
    o->job.timeout_ms = o->job.connect.connect_ms = ms;
    c->greeting_ms = c->command_ms = c->data_ms = c->write_ms = c->final_ms = c->tls_ms = ms;
    c->quit_ms = ms < QUIT_MS ? ms : QUIT_MS;
}

/* 1 if argv[*at] is about the envelope. */
static int parse_envelope(int argc, char **argv, int *at, struct options *o)
{
    const char *value;
    ehlo_envelope *envelope = &o->job.envelope;
    if (program_option(argc, argv, at, "--from", &value)) {
        envelope->from = ehlo_str_from(strcmp(value, "<>") == 0 ? "" : value);
        o->have_from = 1;
    } else if (program_option(argc, argv, at, "--to", &value)) {
        add_recipient(o, value);
    } else if (program_option(argc, argv, at, "--notify", &value)) {
        o->notify = parse_notify(value);
    } else if (program_option(argc, argv, at, "--ret", &value)) {
        envelope->ret = parse_ret(value);
    } else if (program_option(argc, argv, at, "--envid", &value)) {
        envelope->envid = ehlo_str_from(value);
    } else if (program_flag(argv[*at], "--smtputf8")) {
        envelope->flags |= EHLO_SEND_UTF8;
    } else {
        return 0;
    }
    return 1;
}

/* 1 if argv[*at] is about the session. */
static int parse_session(int argc, char **argv, int *at, struct options *o)
{
    const char *value;
    if (program_option(argc, argv, at, "--server", &value)) {
        add_server(o, value);
    } else if (program_option(argc, argv, at, "--ehlo", &o->ehlo)) {
        o->client.name = ehlo_str_from(o->ehlo);
    } else if (program_flag(argv[*at], "--lmtp")) {
        o->client.flags |= EHLO_CLIENT_LMTP;
    } else if (program_flag(argv[*at], "--no-pipelining")) {
        o->client.flags |= EHLO_CLIENT_NO_PIPELINING;
    } else if (program_flag(argv[*at], "--no-chunking")) {
        o->client.flags |= EHLO_CLIENT_NO_CHUNKING;
    } else if (program_option(argc, argv, at, "--timeout", &value)) {
        set_timeout(o, value);
    } else {
        return 0;
    }
    return 1;
}

static void parse_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (parse_session(argc, argv, &i, o) || parse_envelope(argc, argv, &i, o)) continue;
        if (program_option(argc, argv, &i, "--count", &value)) {
            o->job.copies = program_parse_number("--count", value, 1, UINT32_MAX);
        } else if (program_flag(argv[i], "--trace")) {
            o->job.trace = 1;
        } else if (parse_security(argc, argv, &i, o)) {
            continue;
        } else if (o->file == NULL && (argv[i][0] != '-' || argv[i][1] == '\0')) {
            o->file = argv[i];
        } else {
            program_unknown_option(argv[i]);
        }
    }
    if (o->hosts == NULL) program_usage_error("--server is required");
    if (!o->have_from) program_usage_error("--from is required");
    if (o->job.envelope.nrcpts == 0) program_usage_error("--to is required");
}

/* -- what the options mean together ----------------------------------------------------------------- */

/* RFC 2033 5: port 25 is not for LMTP. */
static void check_ports(const struct options *o)
{
    for (size_t i = 0; i < o->job.connect.nhosts; i++) {
        if ((o->client.flags & EHLO_CLIENT_LMTP) && o->hosts[i].port == 25) {
            program_usage_error("--lmtp: port 25 is for SMTP alone");
        }
    }
}

static void check_envelope(const ehlo_envelope *envelope)
{
    ehlo_envelope_fault fault;
    int error = ehlo_envelope_check(envelope, &fault);
    if (error == EHLO_OK) return;
    int is_recipient = strcmp(fault.member, "to") == 0;
    ehlo_str text = is_recipient                        ? envelope->rcpts[fault.recipient].to
                    : strcmp(fault.member, "from") == 0 ? envelope->from
                                                        : envelope->envid;
    ehlo_str why = error == EHLO_ERR_SPACE ? ehlo_error_text(error) : ehlo_rule_text(fault.fault.rule);
    program_usage_error("--%s: \"%.*s\": %.*s at octet %zu", fault.member, (int)text.len, text.ptr, (int)why.len,
                        why.ptr, fault.fault.offset + 1);
}

/* Our end of the way to a server; of a UDP socket, as nothing is sent then. */
static int find_local_address(ehlo_address *address, const char *server)
{
    struct sockaddr_in peer = { .sin_family = AF_INET }, local;
    socklen_t len = sizeof local;
    if (ehlo_address_parse(ehlo_str_from(server), address) != EHLO_OK || address->family != EHLO_FAMILY_IPV4) {
        memcpy(address->octets, (uint8_t[]){ 192, 0, 2, 1 }, 4); /* anywhere outside: RFC 5737 */
        address->port = 25;
    }
    memcpy(&peer.sin_addr, address->octets, 4);
    peer.sin_port = htons(address->port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) return 0;
    int found = connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0 &&
                getsockname(fd, (struct sockaddr *)&local, &len) == 0;
    close(fd);
    if (!found) return 0;
    address->family = EHLO_FAMILY_IPV4;
    memcpy(address->octets, &local.sin_addr, 4);
    return 1;
}

/* RFC 5321 4.1.4: a name that is fully qualified, or else an address literal. */
static ehlo_str choose_name(const struct options *o)
{
    static char host[256];
    ehlo_address address = { 0 };
    size_t len;
    if (o->ehlo != NULL) {
        if (ehlo_domain_parse(o->client.name, 0, NULL, NULL, NULL) != EHLO_OK) {
            program_usage_error("--ehlo: \"%s\" is neither a domain nor an address literal", o->ehlo);
        }
        return o->client.name;
    }
    if (gethostname(host, sizeof host - 1) == 0 && strchr(host, '.') != NULL &&
        ehlo_domain_parse(ehlo_str_from(host), 0, NULL, NULL, NULL) == EHLO_OK) {
        return ehlo_str_from(host);
    }
    if (find_local_address(&address, o->server) &&
        ehlo_address_write(&address, 1, host, sizeof host, &len) == EHLO_OK) {
        return ehlo_str_make(host, len);
    }
    return ehlo_str_from("[127.0.0.1]");
}

/* -- TLS and AUTH ----------------------------------------------------------------------------------- */

static int has_credentials(const struct options *o)
{
    return o->auth != NULL || o->user != NULL;
}

/* Fills in the default; without an engine, what takes none is all there is. */
static void choose_policy(struct options *o)
{
    uint8_t *policy = &o->job.connect.tls;
    int given = *policy != EHLO_TLS_DEFAULT;
    if (!given) *policy = has_credentials(o) ? EHLO_TLS_REQUIRED : EHLO_TLS_OPPORTUNISTIC;
    if (EHLO_OPENSSL || *policy == EHLO_TLS_NONE) return;
    if (*policy == EHLO_TLS_OPPORTUNISTIC) {
        if (given) program_log("--tls opportunistic: the message goes in clear: %s", program_no_tls);
        *policy = EHLO_TLS_NONE;
    } else if (given) {
        program_usage_error("--tls %s: %s", o->tls, program_no_tls);
    } else {
        program_usage_error("%s: needs TLS, unless \"--tls none\" says otherwise; %s",
                            o->auth != NULL ? "--auth" : "--user", program_no_tls);
    }
}

static void check_tls_files(const struct options *o)
{
    const struct program_tls *files = &o->tls_files;
    uint8_t policy = o->job.connect.tls;
    if (files->authorities.path != NULL) program_need_tls("--ca");
    if (files->certificate.path != NULL) program_need_tls("--cert");
    if (files->authorities.path != NULL && policy < EHLO_TLS_REQUIRED) {
        program_usage_error("--ca: only \"--tls required\" and \"--tls wrapped\" ask who the server is");
    }
    if (files->certificate.path != NULL && policy == EHLO_TLS_NONE) {
        program_usage_error("--cert: there is none to show with \"--tls none\"");
    }
    if (files->key.path != NULL && files->certificate.path == NULL) program_usage_error("--key: --cert is missing");
}

/* What a mechanism goes by. */
static void check_credentials(const struct options *o)
{
    uint32_t mechanism = o->credentials.mechanisms;
    if (!secret_is_text(ehlo_str_from(o->user)))
        program_usage_error("--user: it is not UTF-8, or holds a control character");
    if (mechanism == EHLO_SASL_EXTERNAL) {
        if (o->tls_files.certificate.path == NULL) program_usage_error("--auth %s: --cert is missing", o->auth);
        if (o->password_file != NULL) program_usage_error("--password-file: %s takes none", o->auth);
    } else if (mechanism == EHLO_SASL_ANONYMOUS) {
        if (o->password_file != NULL) program_usage_error("--password-file: %s takes none", o->auth);
    } else {
        if (o->user == NULL) program_usage_error("--auth %s: --user is missing", o->auth);
        if (o->user[0] == '\0') program_usage_error("--user: it is empty");
        if (o->password_file == NULL) program_usage_error("--user %s: --password-file is missing", o->user);
    }
}

/* A secret that anybody may read on its way is sent by those alone who say so twice. */
static void check_clear(const struct options *o)
{
    uint32_t mechanism = o->credentials.mechanisms;
    uint8_t policy = o->job.connect.tls;
    if (o->auth_clear && policy >= EHLO_TLS_REQUIRED) {
        program_usage_error("--auth-clear: only \"--tls none\" and \"--tls opportunistic\" send anything in clear");
    }
    if (o->auth_clear) {
        program_log("warning: --auth-clear: whoever can listen on the way to the server learns the password");
    } else if (policy == EHLO_TLS_NONE && (ehlo_sasl_reveals(mechanism) || (!EHLO_OPENSSL && mechanism == 0))) {
        program_usage_error("--tls none: the password would go in clear; --auth-clear insists on it");
    }
}

static void read_secret(struct options *o)
{
    const char *problem = secret_read(&o->secret, o->password_file);
    if (problem == NULL) return;
    secret_wipe(&o->secret);
    program_usage_error("--password-file %s: %s", o->password_file, problem);
}

static void set_credentials(struct options *o)
{
    ehlo_credentials *credentials = &o->credentials;
    int is_token = (credentials->mechanisms & (EHLO_SASL_OAUTHBEARER | EHLO_SASL_XOAUTH2)) != 0;
    if (o->password_file != NULL) read_secret(o);
    *(is_token ? &credentials->token : &credentials->password) = secret_text(&o->secret);
    /* the certificate says who we are: a name beside it is whom to act as */
    *(credentials->mechanisms == EHLO_SASL_EXTERNAL ? &credentials->authzid : &credentials->user) =
        ehlo_str_from(o->user);
    credentials->clear = (uint8_t)o->auth_clear;
    credentials->crypto = program_crypto();
    o->job.connect.credentials = credentials;
}

static void secure(struct options *o)
{
    choose_policy(o);
    check_tls_files(o);
    if (has_credentials(o)) {
        check_credentials(o);
        check_clear(o);
        set_credentials(o);
    } else if (o->password_file != NULL) {
        program_usage_error("--password-file: --user is missing");
    } else if (o->auth_clear) {
        program_usage_error("--auth-clear: --user is missing");
    }
    o->tls_files.trusts_nobody = o->job.connect.tls < EHLO_TLS_REQUIRED;
    if (o->job.connect.tls != EHLO_TLS_NONE) o->job.connect.tls_engine = program_tls_open(&o->tls_files);
}

/* -- all of it -------------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    signals++;
}

static void count_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

static void open_message(struct job *job, const char *file)
{
    int error = content_open(&job->content, file);
    if (error != 0) program_usage_error("%s: %s", file, strerror(error));
    job->envelope.content = job->content.text;
    job->envelope.size = content_wire_size(&job->content);
}

static int status_of(int worst)
{
    switch (worst) {
    case EHLO_OUTCOME_DELIVERED:
        return PROGRAM_OK;
    case EHLO_OUTCOME_REJECTED:
        return STATUS_REJECTED;
    case EHLO_OUTCOME_UNCERTAIN:
        return STATUS_UNCERTAIN;
    default:
        return STATUS_AGAIN;
    }
}

int main(int argc, char **argv)
{
    static struct options o = {
        .tls_files = { .certificate.option = "--cert", .key.option = "--key", .authorities.option = "--ca" }
    };
    o.job.copies = 1;
    o.job.signals = &signals;
    program_begin(argv[0], help);
    parse_options(argc, argv, &o);
    check_ports(&o);
    o.client.name = choose_name(&o);
    o.job.connect.client = &o.client;
    for (size_t i = 0; i < o.job.envelope.nrcpts; i++) o.job.envelope.rcpts[i].notify = o.notify;
    check_envelope(&o.job.envelope);
    secure(&o);
    open_message(&o.job, o.file != NULL ? o.file : "-");
    count_signals();
    int worst = sender_run(&o.job);
    secret_wipe(&o.secret);
    program_tls_free(o.job.connect.tls_engine);
    if (worst < 0) program_log("%s", program_error(worst));
    content_close(&o.job.content);
    free(o.hosts);
    free(o.job.envelope.rcpts);
    int status = status_of(worst);
    if (report_failure() == 0) return status;
    program_log("standard output: %s", strerror(report_failure()));
    return status == PROGRAM_OK ? STATUS_AGAIN : status; /* nobody knows of the outcomes */
}
