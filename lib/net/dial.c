/* lib/net/dial.c - from a list of hosts to a connected descriptor. */
#include "dial.h"

#include "address.h"
#include "socket.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void dial_ready(ehlo_loop *loop, ehlo_source *source, unsigned events);

/* -- life ------------------------------------------------------------------------------------------- */

/* Octets of the hosts, and of what they and the client point to. */
static size_t hosts_size(const ehlo_connect_config *cfg)
{
    size_t size = cfg->nhosts * sizeof *cfg->hosts + cfg->client->name.len;
    for (size_t i = 0; i < cfg->nhosts; i++) {
        size += cfg->hosts[i].naddresses * sizeof *cfg->hosts[i].addresses + cfg->hosts[i].name.len;
    }
    return size;
}

/* Copies text to *end, which moves on. */
static ehlo_str copy_text(char **end, ehlo_str text)
{
    ehlo_str copy = ehlo_str_make(*end, text.len);
    memcpy(*end, text.ptr, text.len);
    *end += text.len;
    return copy;
}

/* Addresses lie before all text, where they are aligned. */
static void copy_hosts(ehlo_dial *dial, const ehlo_connect_config *cfg)
{
    ehlo_address *addresses = (ehlo_address *)(dial->hosts + cfg->nhosts);
    for (size_t i = 0; i < cfg->nhosts; i++) {
        dial->hosts[i] = cfg->hosts[i];
        dial->hosts[i].addresses = addresses;
        for (size_t k = 0; k < cfg->hosts[i].naddresses; k++) *addresses++ = cfg->hosts[i].addresses[k];
    }
    char *end = (char *)addresses;
    dial->client.name = copy_text(&end, cfg->client->name);
    for (size_t i = 0; i < cfg->nhosts; i++) dial->hosts[i].name = copy_text(&end, cfg->hosts[i].name);
}

ehlo_dial *ehlo_dial_new(ehlo_loop *loop, const ehlo_connect_config *cfg)
{
    ehlo_dial *dial = calloc(1, sizeof *dial + hosts_size(cfg));
    if (dial == NULL) return NULL;
    dial->source.fd = -1;
    dial->source.ready = dial_ready;
    dial->loop = loop;
    dial->cfg = *cfg;
    dial->client = *cfg->client;
    dial->cfg.client = &dial->client;
    dial->cfg.hosts = dial->hosts;
    copy_hosts(dial, cfg);
    return dial;
}

void ehlo_dial_stop(ehlo_dial *dial)
{
    if (dial->lookup != NULL) ehlo_lookup_cancel(dial->lookup);
    dial->lookup = NULL;
    ehlo_timer_stop(dial->loop, &dial->timer);
    if (dial->source.fd >= 0) ehlo_loop_close_source(dial->loop, &dial->source);
}

void ehlo_dial_free(ehlo_dial *dial)
{
    ehlo_dial_stop(dial);
    free(dial->addresses);
    free(dial->text);
    free(dial->problem);
    ehlo_loop_free_later(dial->loop, &dial->source);
}

/* -- failures --------------------------------------------------------------------------------------- */

/* What is told is the session's, or the engine's: it is copied to *kept, as far as memory lets us. */
static ehlo_str keep_text(char **kept, ehlo_str text)
{
    free(*kept);
    *kept = text.len != 0 ? malloc(text.len) : NULL;
    if (*kept == NULL) return ehlo_str_make(NULL, 0);
    memcpy(*kept, text.ptr, text.len);
    return ehlo_str_make(*kept, text.len);
}

static const ehlo_reply *keep_reply(ehlo_dial *dial, const ehlo_reply *reply)
{
    ehlo_str text = keep_text(&dial->text, reply != NULL ? reply->text : ehlo_str_make(NULL, 0));
    if (reply == NULL) return NULL;
    dial->reply = *reply;
    dial->reply.text = text;
    return &dial->reply;
}

/* Outcomes are in the order of the hope they leave. */
void ehlo_dial_note(ehlo_dial *dial, const ehlo_failure *failure)
{
    ehlo_outcome outcome = failure->outcome != EHLO_OUTCOME_NONE ? failure->outcome : EHLO_OUTCOME_NOT_SENT;
    if (dial->failure.outcome != EHLO_OUTCOME_NONE && dial->failure.outcome < outcome) return;
    dial->failure = *failure;
    dial->failure.outcome = outcome;
    dial->failure.host = dial->next_host - 1;
    dial->failure.address = dial->address;
    dial->failure.reply = keep_reply(dial, failure->reply);
    dial->failure.problem = keep_text(&dial->problem, failure->problem);
}

void ehlo_dial_note_final(ehlo_dial *dial, const ehlo_failure *failure)
{
    dial->failure.outcome = EHLO_OUTCOME_NONE;
    ehlo_dial_note(dial, failure);
}

static const char *connect_problem(int error)
{
    switch (error) {
    case ETIMEDOUT:
        return "the server did not accept the connection in time";
    case ECONNREFUSED:
        return "the server refused the connection";
    case ENETUNREACH:
    case EHOSTUNREACH:
        return "there is no way to the server";
    default:
        return "the server could not be reached";
    }
}

static void note_connect(ehlo_dial *dial, int error)
{
    ehlo_failure failure = { .stage = EHLO_STAGE_CONNECT, .error = error };
    failure.problem = ehlo_str_from(connect_problem(error));
    ehlo_dial_note(dial, &failure);
}

static void note_resolve(ehlo_dial *dial, ehlo_dns_status status)
{
    ehlo_failure failure = { .stage = EHLO_STAGE_RESOLVE, .dns = status };
    failure.problem = ehlo_str_from(status == EHLO_DNS_NXDOMAIN ? "the server's name does not exist"
                                    : status == EHLO_DNS_NODATA ? "the server's name has no address"
                                                                : "the server's name cannot be looked up for now");
    ehlo_dial_note(dial, &failure);
}

/* -- addresses -------------------------------------------------------------------------------------- */

static void connect_expired(ehlo_loop *loop, void *arg)
{
    ehlo_dial *dial = arg;
    ehlo_loop_close_source(loop, &dial->source);
    note_connect(dial, ETIMEDOUT);
    ehlo_dial_next(dial);
}

/* 1: it is under way. */
static int await_connection(ehlo_dial *dial, int fd)
{
    ehlo_loop *loop = dial->loop;
    dial->timer.fn = connect_expired;
    dial->timer.arg = dial;
    dial->source.fd = fd;
    errno = ENOMEM;
    if (ehlo_loop_time(loop, &dial->timer, loop->now + dial->cfg.connect_ms) == EHLO_OK) {
        if (ehlo_poller_add(loop->poller, &dial->source, EHLO_POLL_WRITE) == 0) return 1;
        ehlo_timer_stop(loop, &dial->timer);
    }
    dial->source.fd = -1;
    return 0;
}

static int try_address(ehlo_dial *dial, const ehlo_address *address)
{
    int fd;
    dial->address = *address;
    int began = ehlo_socket_connect(address, &dial->cfg.local, &fd) >= 0;
    if (began && await_connection(dial, fd)) return 1;
    note_connect(dial, errno);
    if (began) close(fd);
    return 0;
}

static void dial_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_dial *dial = (ehlo_dial *)source;
    int fd = ehlo_loop_release_source(loop, source);
    int error = ehlo_socket_error(fd);
    (void)events;
    ehlo_timer_stop(loop, &dial->timer);
    if (error == 0) {
        dial->connected(dial, fd);
        return;
    }
    close(fd);
    note_connect(dial, error);
    ehlo_dial_next(dial);
}

/* -- hosts ------------------------------------------------------------------------------------------ */

/* Takes those that our end can reach. */
static void take_addresses(ehlo_dial *dial, const ehlo_address *addresses, size_t n)
{
    size_t most = dial->cfg.addresses_max;
    uint8_t family = dial->cfg.local.family;
    int error = EAFNOSUPPORT;
    free(dial->addresses);
    dial->naddresses = dial->next_address = 0;
    dial->addresses = malloc((n < most ? n : most) * sizeof *addresses);
    if (dial->addresses == NULL) {
        error = ENOMEM;
        most = 0;
    }
    for (size_t i = 0; i < n && dial->naddresses < most; i++) {
        if (family != EHLO_FAMILY_NONE && addresses[i].family != family) continue;
        dial->addresses[dial->naddresses] = addresses[i];
        dial->addresses[dial->naddresses++].port = dial->hosts[dial->next_host - 1].port;
    }
    if (dial->naddresses == 0) note_connect(dial, error);
}

static void on_addresses(ehlo_loop *loop, ehlo_dns_status status, const ehlo_address *addresses, size_t n, void *arg)
{
    ehlo_dial *dial = arg;
    (void)loop;
    dial->lookup = NULL;
    if (status == EHLO_DNS_FOUND)
        take_addresses(dial, addresses, n);
    else
        note_resolve(dial, status);
    ehlo_dial_next(dial);
}

ehlo_resolver *ehlo_loop_resolver(ehlo_loop *loop, ehlo_resolver *given)
{
    ehlo_resolver *resolver;
    if (given != NULL) return given;
    if (loop->resolver == NULL && ehlo_resolver_new(&resolver, loop, NULL) == EHLO_OK) {
        loop->resolver = resolver;
        loop->resolver_free = ehlo_resolver_free;
    }
    return loop->resolver;
}

/* Afterwards it has addresses, or is being looked up, or has failed. */
static void begin_host(ehlo_dial *dial, const ehlo_host *host)
{
    ehlo_address address;
    memset(&address, 0, sizeof address);
    dial->address = address;
    dial->naddresses = dial->next_address = 0;
    if (host->naddresses > 0) {
        take_addresses(dial, host->addresses, host->naddresses);
        return;
    }
    if (ehlo_address_of_host(host->name, &address) == EHLO_OK) {
        take_addresses(dial, &address, 1);
        return;
    }
    ehlo_resolver *resolver = ehlo_loop_resolver(dial->loop, dial->cfg.resolver);
    if (resolver != NULL && ehlo_resolve(resolver, host->name, on_addresses, dial, &dial->lookup) == EHLO_OK) return;
    dial->lookup = NULL;
    note_resolve(dial, EHLO_DNS_FAILED);
}

static void tell_exhausted(ehlo_loop *loop, void *arg)
{
    ehlo_dial *dial = arg;
    (void)loop;
    dial->exhausted(dial);
}

int ehlo_dial_start(ehlo_dial *dial)
{
    for (;;) {
        while (dial->next_address < dial->naddresses) {
            if (try_address(dial, &dial->addresses[dial->next_address++])) return EHLO_OK;
            dial->again = 0;
        }
        if (dial->next_host == dial->cfg.nhosts) break;
        begin_host(dial, &dial->hosts[dial->next_host++]);
        if (dial->lookup != NULL) return EHLO_OK;
    }
    dial->timer.fn = tell_exhausted;
    dial->timer.arg = dial;
    return ehlo_loop_time(dial->loop, &dial->timer, dial->loop->now);
}

void ehlo_dial_next(ehlo_dial *dial)
{
    dial->again = 0;
    if (ehlo_dial_start(dial) != EHLO_OK) dial->exhausted(dial);
}

void ehlo_dial_again(ehlo_dial *dial)
{
    dial->again = 1;
    dial->next_address--;
    if (ehlo_dial_start(dial) != EHLO_OK) dial->exhausted(dial);
}

ehlo_str ehlo_dial_host(const ehlo_dial *dial)
{
    return dial->hosts[dial->next_host - 1].name;
}
