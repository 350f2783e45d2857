/* The preface that a proxy sends in front of a connection: HAProxy's PROXY protocol, versions 1 and 2. */
#include <ehlo/syntax.h>

#include <string.h>

#include "address.h"
#include "chars.h"

enum {
    V1_MAX = 107,   /* with CRLF */
    V2_FIXED = 16,  /* signature, version and command, family, length */
    V2_TCP4 = 0x11, /* family and transport, as one octet */
    V2_TCP6 = 0x21,
    V2_UNIX = 0x31,
    V2_UNKNOWN = 0x00,
    IPV4_LEN = 4,
    IPV6_LEN = 16
};

static const ehlo_str v1_signature = EHLO_LITERAL("PROXY ");
static const ehlo_str v2_signature = EHLO_LITERAL("\r\n\r\n\0\r\nQUIT\n");

/* -- version 1: a line of text ---------------------------------------------------------------------- */

/* Takes the next word off *line, which must be followed by one SP or the end; empty where there is none. */
static ehlo_str next_word(ehlo_str *line)
{
    const char *space = line->len > 0 ? memchr(line->ptr, ' ', line->len) : NULL;
    size_t len = space != NULL ? (size_t)(space - line->ptr) : line->len;
    size_t taken = space != NULL ? len + 1 : len;
    ehlo_str word = ehlo_str_make(line->ptr, len);
    *line = ehlo_str_make(line->ptr + taken, line->len - taken);
    return word;
}

static int is_word(ehlo_str word, const char *expected)
{
    return word.len == strlen(expected) && memcmp(word.ptr, expected, word.len) == 0;
}

/* "Heading zeroes are not permitted": some read such a number as octal. */
static int has_heading_zero(ehlo_str text)
{
    for (size_t i = 0; i + 1 < text.len; i++) {
        int starts = i == 0 || !ehlo_char_is_digit(text.ptr[i - 1]);
        if (starts && text.ptr[i] == '0' && ehlo_char_is_digit(text.ptr[i + 1])) return 1;
    }
    return 0;
}

static int parse_v1_address(ehlo_str word, uint8_t family, ehlo_address *address)
{
    address->family = family;
    if (family == EHLO_FAMILY_IPV6) return ehlo_ipv6_parse(word, address->octets);
    return ehlo_ipv4_parse(word, address->octets) && !has_heading_zero(word);
}

static int parse_v1_port(ehlo_str word, ehlo_address *address)
{
    uint64_t port;
    if (ehlo_number_parse(word, 5, &port) != EHLO_OK || port > UINT16_MAX || has_heading_zero(word)) return 0;
    address->port = (uint16_t)port;
    return 1;
}

/* line: what stands behind "PROXY TCP4 " or "PROXY TCP6 ": source, destination, source port, destination port. */
static int parse_v1_addresses(ehlo_str line, uint8_t family, ehlo_peer *told)
{
    ehlo_str source = next_word(&line);
    ehlo_str destination = next_word(&line);
    ehlo_str source_port = next_word(&line);
    told->proxied = 1;
    int ok = parse_v1_address(source, family, &told->remote) && parse_v1_address(destination, family, &told->local) &&
             parse_v1_port(source_port, &told->remote) && parse_v1_port(line, &told->local);
    return ok ? EHLO_OK : EHLO_ERR_SYNTAX;
}

/*     "PROXY" SP ( "TCP4" / "TCP6" ) SP address SP address SP port SP port CRLF
 *     "PROXY" SP "UNKNOWN" *anything CRLF */
static int parse_v1(ehlo_str bytes, ehlo_peer *told, size_t *used)
{
    size_t max = bytes.len < V1_MAX ? bytes.len : V1_MAX;
    const char *end = memchr(bytes.ptr, '\n', max);
    if (end == NULL) return bytes.len < V1_MAX ? EHLO_ERR_INCOMPLETE : EHLO_ERR_SYNTAX;
    if (end[-1] != '\r') return EHLO_ERR_SYNTAX;
    ehlo_str line = ehlo_str_make(bytes.ptr + v1_signature.len, (size_t)(end - 1 - bytes.ptr) - v1_signature.len);
    ehlo_str protocol = next_word(&line);
    *used = (size_t)(end + 1 - bytes.ptr);
    if (is_word(protocol, "UNKNOWN")) return EHLO_OK;
    if (is_word(protocol, "TCP4")) return parse_v1_addresses(line, EHLO_FAMILY_IPV4, told);
    if (is_word(protocol, "TCP6")) return parse_v1_addresses(line, EHLO_FAMILY_IPV6, told);
    return EHLO_ERR_SYNTAX;
}

/* -- version 2: octets ------------------------------------------------------------------------------ */

static uint16_t read_u16(const char *bytes)
{
    return (uint16_t)((unsigned)(unsigned char)bytes[0] << 8 | (unsigned char)bytes[1]);
}

/* Addresses, then ports, in network order. What follows them (TLVs) says nothing we need. */
static int read_v2_addresses(ehlo_str block, uint8_t family, size_t address_len, ehlo_peer *told)
{
    const char *ports = block.ptr + 2 * address_len;
    if (block.len < 2 * address_len + 4) return EHLO_ERR_SYNTAX;
    told->remote.family = told->local.family = family;
    memcpy(told->remote.octets, block.ptr, address_len);
    memcpy(told->local.octets, block.ptr + address_len, address_len);
    told->remote.port = read_u16(ports);
    told->local.port = read_u16(ports + 2);
    told->proxied = 1;
    return EHLO_OK;
}

/* block: what the length field counts. */
static int parse_v2_block(unsigned family, ehlo_str block, ehlo_peer *told)
{
    if (family == V2_TCP4) return read_v2_addresses(block, EHLO_FAMILY_IPV4, IPV4_LEN, told);
    if (family == V2_TCP6) return read_v2_addresses(block, EHLO_FAMILY_IPV6, IPV6_LEN, told);
    /* A proxy that serves a local socket knows no address either. */
    return family == V2_UNKNOWN || family == V2_UNIX ? EHLO_OK : EHLO_ERR_SYNTAX;
}

static int parse_v2(ehlo_str bytes, ehlo_peer *told, size_t *used)
{
    enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
    if (bytes.len < V2_FIXED) return EHLO_ERR_INCOMPLETE;
    unsigned command = (unsigned char)bytes.ptr[12];
    size_t block_len = read_u16(bytes.ptr + 14);
    if (command != COMMAND_LOCAL && command != COMMAND_PROXY) return EHLO_ERR_SYNTAX;
    if (V2_FIXED + block_len > EHLO_PROXY_MAX) return EHLO_ERR_SYNTAX;
    if (bytes.len < V2_FIXED + block_len) return EHLO_ERR_INCOMPLETE;
    *used = V2_FIXED + block_len;
    /* LOCAL: the proxy speaks for itself (a health check), whatever family it names. */
    if (command == COMMAND_LOCAL) return EHLO_OK;
    return parse_v2_block((unsigned char)bytes.ptr[13], ehlo_str_make(bytes.ptr + V2_FIXED, block_len), told);
}

/* -- either ----------------------------------------------------------------------------------------- */

/* 1 if bytes begin with signature, or are a beginning of it. */
static int may_start(ehlo_str bytes, ehlo_str signature)
{
    size_t len = bytes.len < signature.len ? bytes.len : signature.len;
    return len == 0 || memcmp(bytes.ptr, signature.ptr, len) == 0;
}

int ehlo_proxy_parse(const char *bytes, size_t len, ehlo_peer *peer, size_t *used)
{
    ehlo_str text = ehlo_str_make(bytes, len);
    ehlo_peer told = { .tls = peer->tls };
    size_t preface = 0;
    int result = EHLO_ERR_SYNTAX;
    if (may_start(text, v1_signature)) {
        result = len < v1_signature.len ? EHLO_ERR_INCOMPLETE : parse_v1(text, &told, &preface);
    } else if (may_start(text, v2_signature)) {
        result = parse_v2(text, &told, &preface);
    }
    *used = result == EHLO_OK ? preface : 0;
    if (result == EHLO_OK && told.proxied) *peer = told;
    return result;
}
