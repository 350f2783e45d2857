/* lib/net/resolve.c - the addresses of a host, and the MX records of a domain. */
#include "address.h"
#include "hosts.h"
#include "question.h"
#include "resolver.h"

#include <ehlo/syntax.h>

#include <stdlib.h>
#include <string.h>

enum { ADDRESSES_MAX = 16 /* of one family */, IPV6 = 0, IPV4 = 1, FAMILIES = 2 };

/* Where one family was found, the other has so long to be found too: some servers never answer for AAAA. */
enum { OTHER_MS = 500 };

static const struct {
    ehlo_family family;
    ehlo_dns_type type;
    ehlo_address loopback;
} families[FAMILIES] = {
    [IPV6] = { EHLO_FAMILY_IPV6, EHLO_DNS_AAAA, { .family = EHLO_FAMILY_IPV6, .octets = { [15] = 1 } } },
    [IPV4] = { EHLO_FAMILY_IPV4, EHLO_DNS_A, { .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 1 } } },
};

/* What is known of the addresses of one family. */
typedef struct family_answer {
    ehlo_lookup *lookup;
    ehlo_question *question; /* NULL: answered */
    ehlo_dns_status status;
    size_t n;
    ehlo_address addresses[ADDRESSES_MAX];
} family_answer;

struct ehlo_lookup {
    ehlo_lookup *next;
    ehlo_lookup **link; /* what points to it */
    ehlo_resolver *resolver;
    ehlo_on_addresses on_addresses;
    ehlo_on_mx on_mx;
    void *arg;
    ehlo_question *mx;
    ehlo_timer timer; /* until what is known may be told */
    family_answer answers[FAMILIES];
};

/* -- life ------------------------------------------------------------------------------------------- */

static ehlo_lookup *lookup_new(ehlo_resolver *resolver, void *arg)
{
    ehlo_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL) return NULL;
    lookup->resolver = resolver;
    lookup->arg = arg;
    for (int i = 0; i < FAMILIES; i++) lookup->answers[i].lookup = lookup;
    lookup->next = resolver->lookups;
    if (lookup->next != NULL) lookup->next->link = &lookup->next;
    lookup->link = &resolver->lookups;
    resolver->lookups = lookup;
    return lookup;
}

void ehlo_lookup_cancel(ehlo_lookup *lookup)
{
    *lookup->link = lookup->next;
    if (lookup->next != NULL) lookup->next->link = lookup->link;
    for (int i = 0; i < FAMILIES; i++) ehlo_question_drop(lookup->answers[i].question);
    ehlo_question_drop(lookup->mx);
    ehlo_timer_stop(lookup->resolver->loop, &lookup->timer);
    free(lookup);
}

/* -- one answer of two ------------------------------------------------------------------------------ */

static int has_status(const ehlo_lookup *lookup, ehlo_dns_status status)
{
    return lookup->answers[IPV6].status == status || lookup->answers[IPV4].status == status;
}

/* Addresses of one family will do. Else nothing is certain unless both are known: RFC 4074 4.2 tells of servers that
 * deny the name itself where they should say that it has no AAAA records. */
static ehlo_dns_status joint_status(const ehlo_lookup *lookup)
{
    static const ehlo_dns_status order[] = { EHLO_DNS_FOUND, EHLO_DNS_FAILED, EHLO_DNS_NODATA };
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        if (has_status(lookup, order[i])) return order[i];
    }
    return EHLO_DNS_NXDOMAIN;
}

/* IPv6, IPv4, IPv6...: where one family leads nowhere, the other one is tried soon. */
static size_t interleave(const ehlo_lookup *lookup, ehlo_address *out)
{
    size_t n = 0;
    for (size_t i = 0; i < ADDRESSES_MAX; i++) {
        for (int f = 0; f < FAMILIES; f++) {
            if (i < lookup->answers[f].n) out[n++] = lookup->answers[f].addresses[i];
        }
    }
    return n;
}

/* The look-up is gone before its function is called, which may free whatever it likes. */
static void finish(ehlo_lookup *lookup)
{
    ehlo_address addresses[FAMILIES * ADDRESSES_MAX];
    ehlo_loop *loop = lookup->resolver->loop;
    ehlo_on_addresses fn = lookup->on_addresses;
    void *arg = lookup->arg;
    ehlo_dns_status status = joint_status(lookup);
    size_t n = interleave(lookup, addresses);
    ehlo_lookup_cancel(lookup);
    fn(loop, status, addresses, n, arg);
}

static void tell_known(ehlo_loop *loop, void *arg)
{
    (void)loop;
    finish(arg);
}

/* -- what has to be asked --------------------------------------------------------------------------- */

static void on_answer(void *arg, ehlo_dns_answer *answer)
{
    family_answer *of = arg;
    ehlo_dns_record record;
    of->question = NULL;
    of->status = answer->status;
    while (of->n < ADDRESSES_MAX && ehlo_dns_next(answer, &record)) of->addresses[of->n++] = record.address;
    ehlo_lookup *lookup = of->lookup;
    if (lookup->answers[IPV6].question == NULL && lookup->answers[IPV4].question == NULL)
        finish(lookup);
    else if (of->n > 0 &&
             ehlo_timer_start(lookup->resolver->loop, &lookup->timer, OTHER_MS, tell_known, lookup) != EHLO_OK)
        finish(lookup);
}

static int ask(ehlo_lookup *lookup, ehlo_str host)
{
    ehlo_resolver *resolver = lookup->resolver;
    int result = EHLO_OK;
    for (int i = 0; i < FAMILIES && result == EHLO_OK; i++) {
        family_answer *of = &lookup->answers[i];
        ehlo_dns_type type = families[i].type;
        result = ehlo_question_ask(&of->question, resolver->loop, &resolver->servers, host, type, on_answer, of);
    }
    return result;
}

/* -- what is known at once -------------------------------------------------------------------------- */

static void add_address(ehlo_lookup *lookup, const ehlo_address *address)
{
    family_answer *of = &lookup->answers[address->family == families[IPV6].family ? IPV6 : IPV4];
    of->status = EHLO_DNS_FOUND;
    if (of->n < ADDRESSES_MAX) of->addresses[of->n++] = *address;
}

/* RFC 6761 6.3: "localhost." and the names below it have the loopback addresses, and no other records: DNS servers are not
 * asked. */
static int is_localhost(ehlo_str host)
{
    static const ehlo_str localhost = { "localhost", 9 };
    if (host.len < localhost.len) return 0;
    ehlo_str end = ehlo_str_make(host.ptr + host.len - localhost.len, localhost.len);
    return ehlo_domain_equal(end, localhost) && (host.len == end.len || end.ptr[-1] == '.');
}

static int add_loopback(ehlo_lookup *lookup)
{
    for (int i = 0; i < FAMILIES; i++) add_address(lookup, &families[i].loopback);
    return 1;
}

static int is_in_hosts(ehlo_lookup *lookup, ehlo_str host)
{
    ehlo_str text = lookup->resolver->hosts;
    ehlo_address address;
    while (ehlo_hosts_next(&text, host, &address)) add_address(lookup, &address);
    return has_status(lookup, EHLO_DNS_FOUND);
}

static int is_known(ehlo_lookup *lookup, ehlo_str host)
{
    return is_localhost(host) ? add_loopback(lookup) : is_in_hosts(lookup, host);
}

static int begin(ehlo_lookup *lookup, ehlo_str host)
{
    ehlo_address address = { 0 };
    if (ehlo_address_of_host(host, &address) == EHLO_OK) {
        add_address(lookup, &address);
    } else if (!ehlo_question_may_ask(host, EHLO_DNS_A)) {
        return EHLO_ERR_ARG;
    } else if (!is_known(lookup, ehlo_without_final_dot(host))) {
        return ask(lookup, host);
    }
    return ehlo_timer_start(lookup->resolver->loop, &lookup->timer, 0, tell_known, lookup);
}

/* error: how its beginning ended. */
static int begun(ehlo_lookup *lookup, int error, ehlo_lookup **result)
{
    if (error != EHLO_OK)
        ehlo_lookup_cancel(lookup);
    else if (result != NULL)
        *result = lookup;
    return error;
}

int ehlo_resolve(ehlo_resolver *resolver, ehlo_str host, ehlo_on_addresses fn, void *arg, ehlo_lookup **result)
{
    ehlo_lookup *lookup = lookup_new(resolver, arg);
    if (lookup == NULL) return EHLO_ERR_MEMORY;
    lookup->on_addresses = fn;
    return begun(lookup, begin(lookup, host), result);
}

/* -- MX --------------------------------------------------------------------------------------------- */

static void on_mx_answer(void *arg, ehlo_dns_answer *answer)
{
    ehlo_lookup *lookup = arg;
    ehlo_loop *loop = lookup->resolver->loop;
    ehlo_on_mx fn = lookup->on_mx;
    void *fn_arg = lookup->arg;
    lookup->mx = NULL;
    ehlo_lookup_cancel(lookup);
    fn(loop, answer, fn_arg);
}

static void tell_no_mx(ehlo_loop *loop, void *arg)
{
    ehlo_dns_answer none;
    (void)loop;
    memset(&none, 0, sizeof none);
    none.status = EHLO_DNS_NODATA;
    on_mx_answer(arg, &none);
}

static int begin_mx(ehlo_lookup *lookup, ehlo_str domain)
{
    ehlo_resolver *resolver = lookup->resolver;
    if (ehlo_question_may_ask(domain, EHLO_DNS_MX) && is_localhost(ehlo_without_final_dot(domain)))
        return ehlo_timer_start(resolver->loop, &lookup->timer, 0, tell_no_mx, lookup);
    return ehlo_question_ask(&lookup->mx, resolver->loop, &resolver->servers, domain, EHLO_DNS_MX, on_mx_answer,
                             lookup);
}

int ehlo_resolve_mx(ehlo_resolver *resolver, ehlo_str domain, ehlo_on_mx fn, void *arg, ehlo_lookup **result)
{
    ehlo_lookup *lookup = lookup_new(resolver, arg);
    if (lookup == NULL) return EHLO_ERR_MEMORY;
    lookup->on_mx = fn;
    return begun(lookup, begin_mx(lookup, domain), result);
}
