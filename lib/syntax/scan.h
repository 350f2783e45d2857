/* scan.h - finds where the plain run of a body ends: a bare CR, a bare LF, a dot at the start of a line.
 *
 * The trick: a text is clean where the set of octets behind a CR is the set of LFs. With one bit per octet,
 * ((CR << 1) | carry) ^ LF is 0 exactly then, and every bit left over is a fault. There is no need to shift
 * or to carry: the same registers are loaded one octet earlier (is it CR?) and one later (is it a dot?), so
 * each place is judged alone, any place can be the first, and a run is decided without a branch per line. */
#ifndef EHLO_SYNTAX_SCAN_H
#define EHLO_SYNTAX_SCAN_H

#include <stddef.h>

#include "inline.h"

/* Where a scan stops. */
typedef enum ehlo_scan_aim {
    EHLO_SCAN_FAULTS_AND_DOTS, /* a LF without CR before it; the octet behind a CR if not LF; as DOTS */
    EHLO_SCAN_DOTS             /* the LF of a CRLF that a dot follows */
} ehlo_scan_aim;

/* An engine: the same scan in one width of register. */
typedef struct ehlo_scan {
    const char *name;
    /* For each aim: the first stop in bytes[from..len), or len. from is 1 to len: the octet before it counts.
     * Nothing outside bytes[0..len) is read, and no dot is seen behind bytes[len - 1]. */
    size_t (*find[2])(const char *bytes, size_t from, size_t len);
} ehlo_scan;

/* The engines that this processor can run, the narrowest (portable C) at 0; NULL behind the widest. */
const ehlo_scan *ehlo_scan_engine(size_t index);

/* The widest of them. */
const ehlo_scan *ehlo_scan_widest(void);

#endif
