/* DNS answers as bytes, for those who read them (RFC 1035 4). */
#ifndef EHLO_TESTS_DNS_MESSAGE_H
#define EHLO_TESTS_DNS_MESSAGE_H

#include <stdlib.h>
#include <string.h>

#include <ehlo/dns.h>

enum { DNS_ID = 0x1234, DNS_RESPONSE = 0x8180, DNS_TRUNCATION = 0x0200, DNS_SERVFAIL = 2, DNS_NO_SUCH_NAME = 3 };

/* A message in the making. */
typedef struct dns_message {
    char bytes[EHLO_DNS_MESSAGE_MAX];
    size_t len;
} dns_message;

static inline void dns_add(dns_message *m, const void *octets, size_t len)
{
    if (len > sizeof(m->bytes) - m->len) abort();
    memcpy(m->bytes + m->len, octets, len);
    m->len += len;
}

static inline void dns_add_u16(dns_message *m, unsigned number)
{
    unsigned char octets[2] = { (unsigned char)(number >> 8), (unsigned char)number };
    dns_add(m, octets, 2);
}

/* text: labels with dots between; "" is the root. */
static inline void dns_add_name(dns_message *m, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ".");
        unsigned char octet = (unsigned char)len;
        dns_add(m, &octet, 1);
        dns_add(m, text, len);
        text += len + (text[len] == '.');
    }
    dns_add(m, "", 1);
}

/* Header and question, with no answers so far. */
static inline void dns_begin(dns_message *m, unsigned flags, const char *name, unsigned type)
{
    m->len = 0;
    dns_add_u16(m, DNS_ID);
    dns_add_u16(m, flags);
    dns_add_u16(m, 1);
    dns_add_u16(m, 0);
    dns_add_u16(m, 0);
    dns_add_u16(m, 0);
    dns_add_name(m, name);
    dns_add_u16(m, type);
    dns_add_u16(m, 1);
}

/* Octets of a name as dns_add_name writes it. */
static inline size_t dns_name_size(const char *text)
{
    return strlen(text) + (*text != '\0' ? 2 : 1);
}

/* A record in class IN, up to and with the length of its data; the header counts it. */
static inline void dns_add_fields(dns_message *m, const char *owner, unsigned type, unsigned ttl, size_t data_len)
{
    dns_add_name(m, owner);
    dns_add_u16(m, type);
    dns_add_u16(m, 1);
    dns_add_u16(m, ttl >> 16);
    dns_add_u16(m, ttl & 0xFFFF);
    dns_add_u16(m, (unsigned)data_len);
    unsigned char *count = (unsigned char *)m->bytes + 6;
    if (++count[1] == 0) count[0]++;
}

static inline void dns_add_cname(dns_message *m, const char *owner, const char *target)
{
    dns_add_fields(m, owner, EHLO_DNS_CNAME, 300, dns_name_size(target));
    dns_add_name(m, target);
}

/* target "": the root. */
static inline void dns_add_mx(dns_message *m, const char *owner, unsigned preference, const char *target)
{
    dns_add_fields(m, owner, EHLO_DNS_MX, 300, 2 + dns_name_size(target));
    dns_add_u16(m, preference);
    dns_add_name(m, target);
}

#endif
