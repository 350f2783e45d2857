/* ehlo/dns.h - DNS messages as pure functions, as much of them as mail needs (RFC 1035): a query to bytes, an
 * answer to records. Sockets, time-outs and random ids are the caller's.
 *
 *     ehlo_dns_query_write(id, name, EHLO_DNS_MX, out, sizeof(out), &len);
 *     ...                                        by UDP; EHLO_DNS_TRUNCATED: again by TCP
 *     if (ehlo_dns_answer_parse(bytes, len, id, name, EHLO_DNS_MX, &answer) == EHLO_OK)
 *         while (ehlo_dns_next(&answer, &record)) ...
 *
 * Order: names, query, answer. */
#ifndef EHLO_DNS_H
#define EHLO_DNS_H

#include <ehlo/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EHLO_DNS_NAME_MAX 253      /* octets of a name as text, without a final dot */
#define EHLO_DNS_QUERY_MAX 271     /* octets of the longest query */
#define EHLO_DNS_MESSAGE_MAX 65535 /* octets of an answer. By UDP 512 (RFC 1035 2.3.4): not all servers keep to it */

/* -- names ------------------------------------------------------------------------------------------ */

/* A name as text: labels of letters, digits, '-' and '_' with dots between, in the case it came in; "." is the
 * root. */
typedef struct ehlo_dns_name {
    uint8_t len;
    char text[EHLO_DNS_NAME_MAX];
} ehlo_dns_name;

/* -- query ------------------------------------------------------------------------------------------ */

typedef enum ehlo_dns_type {
    EHLO_DNS_A = 1,
    EHLO_DNS_CNAME = 5,
    EHLO_DNS_MX = 15,
    EHLO_DNS_AAAA = 28 /* RFC 3596 */
} ehlo_dns_type;

/* Writes a query that asks a recursive server. name: labels of 1 to 63 letters, digits, '-' (neither first nor
 * last) and '_'; a final dot is optional. EHLO_ERR_ARG: it is no such name, or not one of these types.
 * EHLO_ERR_SPACE: *len is what it needs; EHLO_DNS_QUERY_MAX always suffices. */
EHLO_API int ehlo_dns_query_write(uint16_t id, ehlo_str name, ehlo_dns_type type, char *out, size_t cap, size_t *len);

/* -- answer ----------------------------------------------------------------------------------------- */

typedef enum ehlo_dns_status {
    EHLO_DNS_FAILED = 0, /* the server could not tell (SERVFAIL, REFUSED, a referral...): for now. rcode says more */
    EHLO_DNS_TRUNCATED,  /* it did not fit: ask again by TCP; nothing of it is told */
    EHLO_DNS_FOUND,      /* there are records of the type asked for */
    EHLO_DNS_NODATA,     /* the name exists, without any; behind aliases: as far as was told: ask for canonical */
    EHLO_DNS_NXDOMAIN    /* the name does not exist, or the last alias leads to none that does */
} ehlo_dns_status;

/* What was answered. It borrows the bytes it was parsed from: they stay until the last ehlo_dns_next. */
typedef struct ehlo_dns_answer {
    ehlo_dns_status status;
    uint8_t rcode;           /* RFC 1035 4.1.1 */
    uint8_t aliases;         /* CNAME records that led from the name asked for to `canonical` */
    uint16_t count;          /* records that ehlo_dns_next yields */
    ehlo_dns_name canonical; /* whose records they are */

    /* Private: where ehlo_dns_next stands. */
    const char *bytes;
    size_t len;
    size_t at;
    uint16_t left;
    uint16_t type;
    uint32_t ttl;
} ehlo_dns_answer;

/* Reads what was received as the answer to that query. CNAME records in it are followed (but where CNAME was
 * asked for), ten at most. The authority section is looked at only to tell NODATA from a referral, and no further.
 * EHLO_ERR_STALE: it answers no such query (or nothing at all): wait for the one that does.
 * EHLO_ERR_SYNTAX: it does, but it is broken: a name or record that ends outside it or outside its own length,
 * a compression pointer that does not point backwards, aliases in a loop or to what is no name.
 * EHLO_ERR_ARG: name or type is none that ehlo_dns_query_write takes. *answer is zero after an error. */
EHLO_API int ehlo_dns_answer_parse(const char *bytes, size_t len, uint16_t id, ehlo_str name, ehlo_dns_type type,
                                   ehlo_dns_answer *answer);

/* One record. */
typedef struct ehlo_dns_record {
    ehlo_dns_type type;
    uint32_t ttl;         /* seconds; the least of it and the aliases that led to it */
    uint16_t preference;  /* MX */
    uint8_t refused;      /* 1: MX or CNAME, and its target is no name as above: unusable, but it is there */
    ehlo_address address; /* A, AAAA; port 0 */
    ehlo_dns_name name;   /* MX, CNAME: the target, unless refused; "." with MX: no mail here (RFC 7505) */
} ehlo_dns_record;

/* Yields the next record of the type asked for: 1, or 0 at the end. */
EHLO_API int ehlo_dns_next(ehlo_dns_answer *answer, ehlo_dns_record *record);

#ifdef __cplusplus
}
#endif
#endif
