/* IP addresses as text (RFC 5321 4.1.3). */
#include "address.h"

#include <string.h>

#include "chars.h"

enum { GROUPS = 8 };

/* The length of the run of text at `from` that ends before `stop` or at the end. */
static size_t run_length(ehlo_str text, size_t from, char stop)
{
    size_t end = from;
    while (end < text.len && text.ptr[end] != stop) end++;
    return end - from;
}

/*     IPv4-address-literal = Snum 3("."  Snum)
 *     Snum                 = 1*3DIGIT ; a decimal integer value in the range 0 through 255 */
int ehlo_ipv4_parse(ehlo_str text, uint8_t *octets)
{
    size_t at = 0;
    for (int i = 0; i < 4; i++) {
        size_t len = i < 3 ? run_length(text, at, '.') : text.len - at;
        uint64_t number;
        if (ehlo_number_parse(ehlo_str_make(text.ptr + at, len), 3, &number) != EHLO_OK || number > 255) return 0;
        octets[i] = (uint8_t)number;
        at += len;
        if (i < 3 && at++ == text.len) return 0;
    }
    return 1;
}

/*     IPv6-hex = 1*4HEXDIG */
static int parse_group(ehlo_str text, uint8_t *octets)
{
    unsigned group = 0;
    if (text.len == 0 || text.len > 4) return 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = ehlo_char_hex(text.ptr[i]);
        if (digit < 0) return 0;
        group = group << 4 | (unsigned)digit;
    }
    octets[0] = (uint8_t)(group >> 8);
    octets[1] = (uint8_t)(group & 0xFF);
    return 1;
}

/* Reads groups with a colon between, the last two as IPv4 if they are written so. The number of groups, -1 if
 * they are malformed or more than eight; 0 for no text at all. */
static int parse_groups(ehlo_str text, uint8_t *octets)
{
    size_t at = 0;
    if (text.len == 0) return 0;
    for (int count = 0; count < GROUPS;) {
        size_t len = run_length(text, at, ':');
        ehlo_str group = ehlo_str_make(text.ptr + at, len);
        if (at + len == text.len && count <= GROUPS - 2 && ehlo_ipv4_parse(group, octets + 2 * count)) return count + 2;
        if (!parse_group(group, octets + 2 * count)) return -1;
        count++;
        at += len;
        if (at++ == text.len) return count;
    }
    return -1;
}

/* The offset of the first "::"; text.len if there is none. */
static size_t find_gap(ehlo_str text)
{
    for (size_t at = 1; at < text.len; at++) {
        if (text.ptr[at - 1] == ':' && text.ptr[at] == ':') return at - 1;
    }
    return text.len;
}

/*     IPv6-addr = IPv6-full / IPv6-comp / IPv6v4-full / IPv6v4-comp
 * "The "::" represents at least 2 16-bit groups of zeros. No more than 6 groups in addition to the "::" may be
 * present", or 4 and an IPv4 address. IPv4 may end the address only, so not what stands before the gap. */
int ehlo_ipv6_parse(ehlo_str text, uint8_t *octets)
{
    uint8_t tail[2 * GROUPS];
    size_t gap = find_gap(text);
    memset(octets, 0, 2 * GROUPS);
    if (gap == text.len) return parse_groups(text, octets) == GROUPS;
    ehlo_str before = ehlo_str_make(text.ptr, gap);
    ehlo_str behind = ehlo_str_make(text.ptr + gap + 2, text.len - gap - 2);
    if (run_length(before, 0, '.') < before.len) return 0;
    int head_count = parse_groups(before, octets);
    int tail_count = parse_groups(behind, tail);
    if (head_count < 0 || tail_count < 0 || head_count + tail_count > GROUPS - 2) return 0;
    memcpy(octets + 2 * (GROUPS - tail_count), tail, 2 * (size_t)tail_count);
    return 1;
}
