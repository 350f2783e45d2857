/* lib/net/address.c - addresses as users write them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ehlo/net.h>

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

static int parse_host(ehlo_str host, ehlo_address *address)
{
    char text[INET6_ADDRSTRLEN + 1];
    int bracketed = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed) host = ehlo_str_make(host.ptr + 1, host.len - 2);
    if (host.len >= sizeof text || memchr(host.ptr, '\0', host.len) != NULL) return EHLO_ERR_SYNTAX;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (bracketed) {
        address->family = EHLO_FAMILY_IPV6;
        return inet_pton(AF_INET6, text, address->octets) == 1 ? EHLO_OK : EHLO_ERR_SYNTAX;
    }
    if (strcmp(text, "*") == 0) return EHLO_OK;
    address->family = EHLO_FAMILY_IPV4;
    const char *dotted = strcmp(text, "localhost") == 0 ? "127.0.0.1" : text;
    return inet_pton(AF_INET, dotted, address->octets) == 1 ? EHLO_OK : EHLO_ERR_SYNTAX;
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
