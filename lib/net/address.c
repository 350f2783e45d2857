/* lib/net/address.c - addresses as users write them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "address.h"

#include "words.h"

#include <ehlo/net.h>
#include <ehlo/syntax.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

static int parse_port(ehlo_str text, uint16_t *port)
{
    unsigned value = 0;
    if (text.len < 1 || text.len > 5) return EHLO_ERR_SYNTAX;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return EHLO_ERR_SYNTAX;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    if (value > 65535) return EHLO_ERR_SYNTAX;
    *port = (uint16_t)value;
    return EHLO_OK;
}

int ehlo_address_read(ehlo_str text, ehlo_address *address)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t octets[sizeof address->octets] = { 0 };
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len) != NULL) return EHLO_ERR_SYNTAX;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    ehlo_family family = memchr(copy, ':', text.len) != NULL ? EHLO_FAMILY_IPV6 : EHLO_FAMILY_IPV4;
    if (inet_pton(family == EHLO_FAMILY_IPV6 ? AF_INET6 : AF_INET, copy, octets) != 1) return EHLO_ERR_SYNTAX;
    address->family = (uint8_t)family;
    memcpy(address->octets, octets, sizeof octets);
    return EHLO_OK;
}

int ehlo_address_of_host(ehlo_str host, ehlo_address *address)
{
    ehlo_domain_kind kind;
    if (host.len < 2 || host.ptr[0] != '[' || host.ptr[host.len - 1] != ']') return ehlo_address_read(host, address);
    if (ehlo_domain_parse(host, 0, &kind, NULL, NULL) == EHLO_OK && kind == EHLO_DOMAIN_IPV6) {
        host = ehlo_str_make(host.ptr + strlen("IPv6:"), host.len - strlen("IPv6:"));
    }
    return ehlo_address_read(ehlo_str_make(host.ptr + 1, host.len - 2), address);
}

/* Brackets keep the colons of IPv6 from that of the port. */
static int parse_host(ehlo_str host, ehlo_address *address)
{
    int bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed) host = ehlo_str_make(host.ptr + 1, host.len - 2);
    if (!bracketed && ehlo_word_is(host, "*")) return EHLO_OK;
    if (!bracketed && ehlo_word_is(host, "localhost")) host = ehlo_str_from("127.0.0.1");
    if (ehlo_address_read(host, address) != EHLO_OK) return EHLO_ERR_SYNTAX;
    return address->family == (bracketed ? EHLO_FAMILY_IPV6 : EHLO_FAMILY_IPV4) ? EHLO_OK : EHLO_ERR_SYNTAX;
}

int ehlo_address_parse(ehlo_str text, ehlo_address *address)
{
    size_t colon = text.len;
    memset(address, 0, sizeof *address);
    while (colon > 0 && text.ptr[colon - 1] != ':') colon--;
    if (colon < 2) return EHLO_ERR_SYNTAX;
    ehlo_address parsed;
    memset(&parsed, 0, sizeof parsed);
    int result = parse_port(ehlo_str_make(text.ptr + colon, text.len - colon), &parsed.port);
    if (result == EHLO_OK) result = parse_host(ehlo_str_make(text.ptr, colon - 1), &parsed);
    if (result == EHLO_OK) *address = parsed;
    return result;
}
