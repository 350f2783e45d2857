/* checksum.h - CRC-32C (Castagnoli), as iSCSI has it (RFC 3720 B.4). */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `sum` is the checksum of, followed by these octets; 0 for nothing. */
uint32_t checksum(uint32_t sum, const void *octets, size_t len);

#endif
