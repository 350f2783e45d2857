/* IP addresses to text (RFC 5321 4.1.3, RFC 5952). */
#include <ehlo/syntax.h>

#include "writer.h"

enum { GROUPS = 8 };

static void write_ipv4(ehlo_writer *writer, const uint8_t *octets)
{
    for (int i = 0; i < 4; i++) {
        if (i > 0) ehlo_writer_put(writer, ".", 1);
        ehlo_writer_put_number(writer, octets[i], 1);
    }
}

/* RFC 5952 4.1, 4.3: no leading zeros, lower case. */
static void write_group(ehlo_writer *writer, unsigned group)
{
    static const char digits[] = "0123456789abcdef";
    int shift = 12;
    while (shift > 0 && group >> shift == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) ehlo_writer_put(writer, &digits[group >> shift & 0xF], 1);
}

static unsigned group_at(const uint8_t *octets, int index)
{
    return (unsigned)octets[2 * index] << 8 | octets[2 * index + 1];
}

/* The first of the longest runs of zero groups; *len is 0 where no run has two (RFC 5952 4.2). */
static int longest_zeros(const uint8_t *octets, int *len)
{
    int best = GROUPS;
    *len = 0;
    for (int start = 0, end; start < GROUPS; start = end + 1) {
        for (end = start; end < GROUPS && group_at(octets, end) == 0;) end++;
        if (end - start > 1 && end - start > *len) {
            best = start;
            *len = end - start;
        }
    }
    return best;
}

/* RFC 5952 5: an address known to hold an IPv4 address is best written with it. */
static int is_ipv4_mapped(const uint8_t *octets)
{
    static const uint8_t prefix[12] = { [10] = 0xFF, [11] = 0xFF };
    return memcmp(octets, prefix, sizeof(prefix)) == 0;
}

static void write_ipv6(ehlo_writer *writer, const uint8_t *octets)
{
    int gap_len;
    int gap = longest_zeros(octets, &gap_len);
    if (is_ipv4_mapped(octets)) {
        ehlo_writer_put_text(writer, "::ffff:");
        write_ipv4(writer, octets + 12);
        return;
    }
    for (int i = 0; i < GROUPS; i++) {
        if (i == gap) {
            ehlo_writer_put(writer, "::", 2);
            i += gap_len - 1;
        } else {
            if (i > 0 && i != gap + gap_len) ehlo_writer_put(writer, ":", 1);
            write_group(writer, group_at(octets, i));
        }
    }
}

/*     address-literal      = "[" ( IPv4-address-literal / IPv6-address-literal ) "]"
 *     IPv6-address-literal = "IPv6:" IPv6-addr */
int ehlo_address_write(const ehlo_address *address, int literal, char *out, size_t cap, size_t *len)
{
    ehlo_writer writer = { out, cap, 0 };
    *len = 0;
    if (address->family != EHLO_FAMILY_IPV4 && address->family != EHLO_FAMILY_IPV6) return EHLO_ERR_ARG;
    if (literal) ehlo_writer_put(&writer, "[", 1);
    if (address->family == EHLO_FAMILY_IPV4) {
        write_ipv4(&writer, address->octets);
    } else {
        if (literal) ehlo_writer_put_text(&writer, "IPv6:");
        write_ipv6(&writer, address->octets);
    }
    if (literal) ehlo_writer_put(&writer, "]", 1);
    return ehlo_writer_end(&writer, len);
}
