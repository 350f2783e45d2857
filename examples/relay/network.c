#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* getifaddrs */
#endif

#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static unsigned address_bits(const ehlo_address *address)
{
    return address->family == EHLO_FAMILY_IPV4 ? 32 : 128;
}

static int parse_address(const char *text, size_t len, ehlo_address *address)
{
    char copy[INET6_ADDRSTRLEN];
    if (len >= sizeof copy) return -1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    memset(address, 0, sizeof *address);
    address->family = memchr(copy, ':', len) != NULL ? EHLO_FAMILY_IPV6 : EHLO_FAMILY_IPV4;
    int family = address->family == EHLO_FAMILY_IPV4 ? AF_INET : AF_INET6;
    return inet_pton(family, copy, address->octets) == 1 ? 0 : -1;
}

int network_parse(const char *text, struct network *network)
{
    size_t len = strcspn(text, "/");
    if (parse_address(text, len, &network->address) != 0) return -1;
    network->bits = address_bits(&network->address);
    if (text[len] == '\0') return 0;
    const char *digits = text + len + 1;
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 3 || digits[count] != '\0') return -1;
    unsigned bits = (unsigned)strtoul(digits, NULL, 10);
    if (bits > network->bits) return -1;
    network->bits = bits;
    return 0;
}

int network_has(const struct network *network, const ehlo_address *address)
{
    size_t whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    const uint8_t *ours = network->address.octets;
    if (network->address.family != address->family || memcmp(ours, address->octets, whole) != 0) return 0;
    return rest == 0 || (ours[whole] ^ address->octets[whole]) >> (8 - rest) == 0;
}

int network_is_loopback(const ehlo_address *address)
{
    static const uint8_t six[16] = { [15] = 1 };
    if (address->family == EHLO_FAMILY_IPV4) return address->octets[0] == 127;
    return address->family == EHLO_FAMILY_IPV6 && memcmp(address->octets, six, sizeof six) == 0;
}

/* -- our own ---------------------------------------------------------------------------------------- */

struct list {
    ehlo_address *addresses;
    size_t count;
};

static int is_wildcard(const ehlo_address *address)
{
    static const uint8_t none[16];
    return address->family == EHLO_FAMILY_NONE || memcmp(address->octets, none, address_bits(address) / 8) == 0;
}

static int add(struct list *list, const ehlo_address *address)
{
    ehlo_address *larger = realloc(list->addresses, (list->count + 1) * sizeof *larger);
    if (larger == NULL) return ENOMEM;
    list->addresses = larger;
    larger[list->count++] = *address;
    return 0;
}

static int read_sockaddr(const struct sockaddr *from, ehlo_address *address)
{
    memset(address, 0, sizeof *address);
    if (from != NULL && from->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, from, sizeof four);
        address->family = EHLO_FAMILY_IPV4;
        memcpy(address->octets, &four.sin_addr, 4);
        return 1;
    }
    if (from != NULL && from->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, from, sizeof six);
        address->family = EHLO_FAMILY_IPV6;
        memcpy(address->octets, &six.sin6_addr, 16);
        return 1;
    }
    return 0;
}

static int add_interfaces(struct list *list)
{
    struct ifaddrs *interfaces = NULL;
    int error = 0;
    if (getifaddrs(&interfaces) != 0) return errno;
    for (const struct ifaddrs *each = interfaces; each != NULL && error == 0; each = each->ifa_next) {
        ehlo_address address;
        if (read_sockaddr(each->ifa_addr, &address) && !network_is_loopback(&address)) error = add(list, &address);
    }
    freeifaddrs(interfaces);
    return error;
}

static int add_loopback(struct list *list)
{
    static const ehlo_address four = { .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 1 } };
    static const ehlo_address six = { .family = EHLO_FAMILY_IPV6, .octets = { [15] = 1 } };
    int error = add(list, &four);
    return error == 0 ? add(list, &six) : error;
}

int network_own_addresses(const ehlo_address *listening, int loopback, ehlo_address **addresses, size_t *count)
{
    struct list list = { NULL, 0 };
    int error = 0;
    if (is_wildcard(listening)) {
        error = add_interfaces(&list);
    } else if (loopback || !network_is_loopback(listening)) {
        error = add(&list, listening);
    }
    if (error == 0 && loopback) error = add_loopback(&list);
    if (error != 0) free(list.addresses);
    *addresses = error == 0 ? list.addresses : NULL;
    *count = error == 0 ? list.count : 0;
    return error;
}
