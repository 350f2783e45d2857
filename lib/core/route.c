/* Where mail for a domain goes (RFC 5321 5.1, RFC 7505). */
#include "relay.h"

#include "address.h"
#include "dice.h"

#include <string.h>

enum { ADDRESSES_MIN = 2, LENIENT = EHLO_SYNTAX_UTF8 | EHLO_SYNTAX_UNDERSCORE | EHLO_SYNTAX_LONG_LOCAL };

/* -- hosts ------------------------------------------------------------------------------------------ */

static int literal_address(ehlo_str text, ehlo_address *address)
{
    ehlo_domain_kind kind;
    if (ehlo_domain_parse(text, 0, &kind, address->octets, NULL) != EHLO_OK) return 0;
    address->family = kind == EHLO_DOMAIN_IPV4   ? EHLO_FAMILY_IPV4
                      : kind == EHLO_DOMAIN_IPV6 ? EHLO_FAMILY_IPV6
                                                 : EHLO_FAMILY_NONE;
    return address->family != EHLO_FAMILY_NONE;
}

int ehlo_host_is_address(ehlo_str text, ehlo_address *address)
{
    memset(address, 0, sizeof *address);
    if (text.len > 0 && text.ptr[0] == '[') return literal_address(text, address);
    address->family = ehlo_ipv4_parse(text, address->octets)   ? EHLO_FAMILY_IPV4
                      : ehlo_ipv6_parse(text, address->octets) ? EHLO_FAMILY_IPV6
                                                               : EHLO_FAMILY_NONE;
    return address->family != EHLO_FAMILY_NONE;
}

int ehlo_host_is_name(ehlo_str text)
{
    char query[EHLO_DNS_QUERY_MAX];
    size_t len;
    return text.len > 0 && ehlo_dns_query_write(0, text, EHLO_DNS_MX, query, sizeof query, &len) == EHLO_OK;
}

/* -- policy ----------------------------------------------------------------------------------------- */

static int are_hosts(const ehlo_relay_policy *policy)
{
    ehlo_address ignored;
    for (size_t i = 0; i < policy->nown_names; i++) {
        if (ehlo_domain_parse(policy->own_names[i], 0, NULL, NULL, NULL) != EHLO_OK) return 0;
    }
    for (size_t i = 0; i < policy->nsmart_hosts; i++) {
        ehlo_str name = policy->smart_hosts[i].name;
        if (!ehlo_host_is_address(name, &ignored) && !ehlo_host_is_name(name)) return 0;
    }
    return 1;
}

int ehlo_relay_policy_check_sized(const ehlo_relay_policy *given, size_t policy_size)
{
    ehlo_relay_policy policy = { 0 };
    if (given == NULL) return EHLO_OK;
    memcpy(&policy, given, policy_size < sizeof policy ? policy_size : sizeof policy);
    if (policy.uncertain > EHLO_UNCERTAIN_TRUST || !are_hosts(&policy)) return EHLO_ERR_ARG;
    return policy.addresses_max == 0 || policy.addresses_max >= ADDRESSES_MIN ? EHLO_OK : EHLO_ERR_ARG;
}

static int is_own_name(const ehlo_relay_policy *policy, ehlo_str name)
{
    for (size_t i = 0; policy != NULL && i < policy->nown_names; i++) {
        if (ehlo_domain_equal(policy->own_names[i], name)) return 1;
    }
    return 0;
}

/* -- own addresses ---------------------------------------------------------------------------------- */

/* RFC 4291 2.5.5.2: "::ffff:192.0.2.1" is the IPv4 address. */
static ehlo_address unmapped(const ehlo_address *address)
{
    static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };
    ehlo_address result = { .family = EHLO_FAMILY_IPV4 };
    if (address->family != EHLO_FAMILY_IPV6 || memcmp(address->octets, mapped, sizeof mapped) != 0) return *address;
    memcpy(result.octets, address->octets + sizeof mapped, 4);
    return result;
}

static size_t octets_of(const ehlo_address *address)
{
    return address->family == EHLO_FAMILY_IPV4 ? 4 : 16;
}

static int is_unspecified(const ehlo_address *address)
{
    static const uint8_t zero[16];
    return memcmp(address->octets, zero, octets_of(address)) == 0;
}

static int is_loopback(const ehlo_address *address)
{
    static const uint8_t ipv6_loopback[16] = { [15] = 1 };
    if (address->family == EHLO_FAMILY_IPV4) return address->octets[0] == 127;
    return memcmp(address->octets, ipv6_loopback, sizeof ipv6_loopback) == 0;
}

int ehlo_address_is_own(const ehlo_relay_policy *policy, const ehlo_address *given)
{
    static const ehlo_relay_policy usual;
    const ehlo_address address = unmapped(given);
    if (policy == NULL) policy = &usual;
    if (is_unspecified(&address) || (!policy->allow_loopback && is_loopback(&address))) return 1;
    for (size_t i = 0; i < policy->nown_addresses; i++) {
        const ehlo_address own = unmapped(&policy->own_addresses[i]);
        if (own.family == address.family && memcmp(own.octets, address.octets, octets_of(&own)) == 0) return 1;
    }
    return 0;
}

/* -- destinations ----------------------------------------------------------------------------------- */

static int write_lower(ehlo_str text, char *out, size_t cap, size_t *len)
{
    *len = text.len;
    if (text.len > cap) return EHLO_ERR_SPACE;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return EHLO_OK;
}

/* Where it is DNS that tells the way: a name that DNS may be asked for, or a literal. */
static int leads_somewhere(ehlo_str domain)
{
    ehlo_address ignored;
    return domain.len > 0 && ehlo_host_is_address(domain, &ignored) == (domain.ptr[0] == '[') &&
           (domain.ptr[0] == '[' || ehlo_host_is_name(domain));
}

int ehlo_destination_write(const ehlo_relay_policy *policy, ehlo_str mailbox, char *out, size_t cap, size_t *len)
{
    static const ehlo_str postmaster = { "postmaster", 10 };
    ehlo_path path;
    *len = 0;
    int is_mailbox = ehlo_mailbox_parse(mailbox, LENIENT, &path, NULL) == EHLO_OK;
    if (policy != NULL && policy->nsmart_hosts > 0 && (is_mailbox || ehlo_domain_equal(mailbox, postmaster)))
        return write_lower(policy->smart_hosts[0].name, out, cap, len);
    if (!is_mailbox || !leads_somewhere(path.domain)) return EHLO_ERR_ARG;
    return write_lower(path.domain, out, cap, len);
}

int ehlo_destination_matches(ehlo_str destination, char option, ehlo_str node)
{
    if (option == '#' || node.len == 0 || destination.len < node.len) return 0;
    if (ehlo_domain_equal(destination, node)) return 1;
    if (destination.ptr[0] == '[') return 0; /* nothing is below an address */
    size_t above = destination.len - node.len;
    return option == '@' && above > 0 && destination.ptr[above - 1] == '.' &&
           ehlo_domain_equal(ehlo_str_make(destination.ptr + above, node.len), node);
}

/* -- MX plan ---------------------------------------------------------------------------------------- */

/* The hosts so far, in the order in which they are to be tried. Of those that did not fit only the number counts, and only
 * of the preference at the end: it keeps the shuffling even. */
typedef struct mx_plan {
    ehlo_mx *hosts;
    size_t max;
    size_t n;
    size_t dropped;
    uint16_t dropped_preference;
    uint16_t own_preference; /* the least of our own host's records */
    uint8_t has_own;         /* 1: there is one */
    uint64_t dice;
} mx_plan;

/* One was dropped, and max are kept. */
static void count_dropped(mx_plan *plan, uint16_t preference)
{
    uint16_t last = plan->hosts[plan->n - 1].preference;
    if (last != plan->dropped_preference) plan->dropped = 0;
    plan->dropped_preference = last;
    if (preference == last) plan->dropped++;
}

/* RFC 5321 5.1: "If there are multiple destinations with the same preference and there is no clear reason to favor one
 * [...], then the sender-SMTP MUST randomize them". Each one goes to a random place among those like it. */
static size_t choose_place(mx_plan *plan, uint16_t preference)
{
    size_t first = 0, like = 0;
    while (first < plan->n && plan->hosts[first].preference < preference) first++;
    while (first + like < plan->n && plan->hosts[first + like].preference == preference) like++;
    if (first + like == plan->n && plan->dropped > 0 && plan->dropped_preference == preference) like += plan->dropped;
    return first + (size_t)ehlo_dice_below(&plan->dice, like + 1);
}

static void add_host(mx_plan *plan, const ehlo_dns_record *record)
{
    size_t at = choose_place(plan, record->preference);
    if (at >= plan->max) {
        if (plan->n > 0) count_dropped(plan, record->preference);
        return;
    }
    int is_full = plan->n == plan->max;
    if (is_full) plan->n--;
    uint16_t pushed_out = is_full ? plan->hosts[plan->n].preference : 0;
    memmove(plan->hosts + at + 1, plan->hosts + at, (plan->n - at) * sizeof *plan->hosts);
    plan->hosts[at].preference = record->preference;
    plan->hosts[at].name = record->name;
    plan->n++;
    if (is_full) count_dropped(plan, pushed_out);
}

static void note_own(mx_plan *plan, uint16_t preference)
{
    if (!plan->has_own || preference < plan->own_preference) plan->own_preference = preference;
    plan->has_own = 1;
}

/* RFC 5321 5.1: "it MUST discard [...] all MX records of equal or lower priority" than our own host's. */
static void cut_off_at_own(mx_plan *plan)
{
    while (plan->has_own && plan->n > 0 && plan->hosts[plan->n - 1].preference >= plan->own_preference) plan->n--;
}

/* RFC 7505 3: "." alone means that the domain takes no mail. */
static int is_null_mx(const ehlo_dns_record *record)
{
    return !record->refused && record->name.len == 1 && record->name.text[0] == '.';
}

/* RFC 5321 5.1: an MX record names a host, never an address. */
static int is_usable(const ehlo_dns_record *record)
{
    ehlo_address ignored;
    ehlo_str name = ehlo_str_make(record->name.text, record->name.len);
    return !record->refused && ehlo_host_is_name(name) && !ehlo_host_is_address(name, &ignored);
}

static ehlo_route plan_records(mx_plan *plan, ehlo_dns_answer *answer, const ehlo_relay_policy *policy)
{
    ehlo_dns_record record;
    size_t unusable = 0;
    while (ehlo_dns_next(answer, &record)) {
        if (is_null_mx(&record)) continue;
        if (!is_usable(&record))
            unusable++;
        else if (is_own_name(policy, ehlo_str_make(record.name.text, record.name.len)))
            note_own(plan, record.preference);
        else
            add_host(plan, &record);
    }
    cut_off_at_own(plan);
    if (plan->n > 0) return EHLO_ROUTE_FOUND;
    return plan->has_own ? EHLO_ROUTE_SELF : unusable > 0 ? EHLO_ROUTE_NO_HOST : EHLO_ROUTE_NULL_MX;
}

/* RFC 5321 5.1: "If an empty list of MXs is returned, the address is treated as if it was associated with an implicit MX
 * RR with a preference of 0, pointing to that host." Its name may be an alias of ours. */
static ehlo_route plan_implicit(mx_plan *plan, const ehlo_dns_name *canonical, ehlo_str domain,
                                const ehlo_relay_policy *policy)
{
    size_t len = 0;
    if (is_own_name(policy, domain) || is_own_name(policy, ehlo_str_make(canonical->text, canonical->len)))
        return EHLO_ROUTE_SELF;
    if (plan->max == 0 || !ehlo_host_is_name(domain)) return EHLO_ROUTE_NO_DOMAIN;
    if (domain.ptr[domain.len - 1] == '.') domain.len--;
    write_lower(domain, plan->hosts[0].name.text, EHLO_DNS_NAME_MAX, &len);
    plan->hosts[0].name.len = (uint8_t)len;
    plan->hosts[0].preference = 0;
    plan->n = 1;
    return EHLO_ROUTE_FOUND;
}

static ehlo_route make_plan(mx_plan *plan, ehlo_dns_answer *answer, ehlo_str domain, const ehlo_relay_policy *policy)
{
    switch (answer->status) {
    case EHLO_DNS_FOUND:
        return plan_records(plan, answer, policy);
    case EHLO_DNS_NODATA:
        return plan_implicit(plan, &answer->canonical, domain, policy);
    case EHLO_DNS_NXDOMAIN:
        return EHLO_ROUTE_NO_DOMAIN;
    default:
        return EHLO_ROUTE_UNKNOWN;
    }
}

ehlo_route ehlo_mx_plan(ehlo_dns_answer *answer, ehlo_str domain, const ehlo_relay_policy *policy, uint64_t seed,
                        ehlo_mx *hosts, size_t max, size_t *n)
{
    mx_plan plan = { .hosts = hosts, .max = max, .dice = seed };
    ehlo_route route = make_plan(&plan, answer, domain, policy);
    *n = route == EHLO_ROUTE_FOUND ? plan.n : 0;
    return route;
}

ehlo_reply ehlo_route_reply(ehlo_route route)
{
    static const struct {
        uint16_t code, enhanced[3];
        const char *text;
    } replies[] = {
        [EHLO_ROUTE_FOUND] = { 0, { 0, 0, 0 }, "" },
        [EHLO_ROUTE_UNKNOWN] = { 451, { 4, 4, 3 }, "The domain's mail servers cannot be looked up for now" },
        [EHLO_ROUTE_NO_DOMAIN] = { 550, { 5, 1, 2 }, "There is no such domain, or it has no mail server" },
        [EHLO_ROUTE_NULL_MX] = { 556, { 5, 1, 10 }, "The domain does not accept mail" },
        [EHLO_ROUTE_SELF] = { 554, { 5, 4, 6 }, "Mail for the domain loops back to us" },
        [EHLO_ROUTE_NO_HOST] = { 550, { 5, 4, 4 }, "None of the domain's mail servers has an address" },
    };
    size_t i = (size_t)route < sizeof replies / sizeof replies[0] ? (size_t)route : EHLO_ROUTE_UNKNOWN;
    ehlo_reply reply = { .code = replies[i].code, .text = ehlo_str_from(replies[i].text) };
    memcpy(reply.enhanced, replies[i].enhanced, sizeof reply.enhanced);
    return reply;
}
