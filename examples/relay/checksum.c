#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "checksum.h"

#include <pthread.h>

/* Eight octets at a time: sum_table[k] is what an octet does that k octets follow. */
static uint32_t sum_table[8][256];

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t sum = i;
        for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (sum & 1 ? UINT32_C(0x82f63b78) : 0);
        sum_table[0][i] = sum;
    }
    for (size_t k = 1; k < 8; k++) {
        for (size_t i = 0; i < 256; i++)
            sum_table[k][i] = sum_table[k - 1][i] >> 8 ^ sum_table[0][sum_table[k - 1][i] & 255];
    }
}

static uint32_t little_endian(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t checksum(uint32_t sum, const void *octets, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const unsigned char *p = octets;
    pthread_once(&once, make_table);
    sum = ~sum;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = sum ^ little_endian(p);
        uint32_t high = little_endian(p + 4);
        sum = sum_table[7][low & 255] ^ sum_table[6][low >> 8 & 255] ^ sum_table[5][low >> 16 & 255] ^
              sum_table[4][low >> 24] ^ sum_table[3][high & 255] ^ sum_table[2][high >> 8 & 255] ^
              sum_table[1][high >> 16 & 255] ^ sum_table[0][high >> 24];
    }
    for (; len > 0; len--) sum = sum >> 8 ^ sum_table[0][(sum ^ *p++) & 255];
    return ~sum;
}
