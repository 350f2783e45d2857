/* canon.h - what a message is where it arrives, given what was sent: canon of body.h, and its like for BDAT. */
#ifndef EHLO_TESTS_CANON_H
#define EHLO_TESTS_CANON_H

#include <ehlo/body.h>
#include <ehlo/syntax.h>

#include <stdlib.h>
#include <string.h>

/* How a message came: by BDAT or by DATA, of which kind, and the policies of the client that sent it. */
typedef struct canon_way {
    int chunked;
    uint8_t body; /* ehlo_body */
    uint8_t bare_cr, bare_lf;
} canon_way;

/* A bare octet by DATA is never passed; the defaults are the sender's. */
static inline unsigned canon_policy(const canon_way *way, unsigned policy, unsigned otherwise)
{
    if (policy == EHLO_BARE_DEFAULT) return otherwise;
    return policy == EHLO_BARE_PASS && !way->chunked ? EHLO_BARE_REJECT : policy;
}

/* Writes it to out (2 * x.len + 2 octets) and returns its length; SIZE_MAX if x must not be sent at all. */
static inline size_t canon_write(const canon_way *way, ehlo_str x, char *out)
{
    int binary = way->chunked && way->body == EHLO_BODY_BINARYMIME;
    unsigned cr = binary ? EHLO_BARE_PASS : canon_policy(way, way->bare_cr, EHLO_BARE_REJECT);
    unsigned lf = binary ? EHLO_BARE_PASS : canon_policy(way, way->bare_lf, EHLO_BARE_NORMALISE);
    size_t len = 0;
    for (size_t i = 0; i < x.len; i++) {
        int bare_cr = x.ptr[i] == '\r' && (i + 1 == x.len || x.ptr[i + 1] != '\n');
        int bare_lf = x.ptr[i] == '\n' && (i == 0 || x.ptr[i - 1] != '\r');
        if ((bare_cr && cr == EHLO_BARE_REJECT) || (bare_lf && lf == EHLO_BARE_REJECT)) return SIZE_MAX;
        if (bare_lf && lf == EHLO_BARE_NORMALISE) out[len++] = '\r';
        out[len++] = x.ptr[i];
        if (bare_cr && cr == EHLO_BARE_NORMALISE) out[len - 1] = ' ';
    }
    if (!way->chunked && len > 0 && (len < 2 || memcmp(out + len - 2, "\r\n", 2) != 0)) {
        out[len++] = '\r';
        out[len++] = '\n';
    }
    return len;
}

/* 1 if got is what x has to become on that way. */
static inline int canon_arrived(const canon_way *way, ehlo_str x, const char *got, size_t len)
{
    char *out = malloc(2 * x.len + 2);
    if (out == NULL) abort();
    size_t expected = canon_write(way, x, out);
    int equal = expected == len && (len == 0 || memcmp(out, got, len) == 0);
    free(out);
    return equal;
}

static inline int canon_has_8bit(ehlo_str x)
{
    for (size_t i = 0; i < x.len; i++) {
        if ((unsigned char)x.ptr[i] > 127) return 1;
    }
    return 0;
}

#endif
