/* The PROXY preface: the same whatever is cut off its end, and what it tells can be said and read again. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <ehlo/syntax.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int same_peer(const ehlo_peer *a, const ehlo_peer *b)
{
    return a->proxied == b->proxied && a->tls == b->tls && a->remote.family == b->remote.family &&
           a->remote.port == b->remote.port && a->local.family == b->local.family && a->local.port == b->local.port &&
           memcmp(a->remote.octets, b->remote.octets, 16) == 0 && memcmp(a->local.octets, b->local.octets, 16) == 0;
}

/* Says in version 1 what a preface told; it must be understood alike. */
static void check_round_trip(const ehlo_peer *told)
{
    char remote[48], local[48], line[128];
    size_t remote_len, local_len, used;
    ehlo_peer again = { .tls = told->tls };
    CHECK(told->remote.family == told->local.family);
    CHECK(ehlo_address_write(&told->remote, 0, remote, sizeof(remote), &remote_len) == EHLO_OK);
    CHECK(ehlo_address_write(&told->local, 0, local, sizeof(local), &local_len) == EHLO_OK);
    int len = snprintf(line, sizeof(line), "PROXY %s %.*s %.*s %u %u\r\n",
                       told->remote.family == EHLO_FAMILY_IPV4 ? "TCP4" : "TCP6", (int)remote_len, remote,
                       (int)local_len, local, told->remote.port, told->local.port);
    CHECK(len > 0 && len <= 107);
    CHECK(ehlo_proxy_parse(line, (size_t)len, &again, &used) == EHLO_OK);
    CHECK(used == (size_t)len && same_peer(&again, told));
}

/* A shorter view of the same octets must not be judged otherwise, only left open. */
static void check_cut(const char *bytes, size_t cut, int result, size_t used, const ehlo_peer *told)
{
    static const ehlo_peer before = { .tls = 1 };
    ehlo_peer peer = before;
    size_t cut_used;
    int cut_result = ehlo_proxy_parse(bytes, cut, &peer, &cut_used);
    CHECK(cut_result == EHLO_ERR_INCOMPLETE || cut_result == result);
    CHECK(cut_result != EHLO_ERR_INCOMPLETE || cut < EHLO_PROXY_MAX);
    CHECK(cut_result == EHLO_OK ? cut_used == used && same_peer(&peer, told)
                                : cut_used == 0 && same_peer(&peer, &before));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    ehlo_peer told = { .tls = 1 };
    size_t used;
    int result = ehlo_proxy_parse(bytes, size, &told, &used);
    CHECK(result == EHLO_OK || result == EHLO_ERR_SYNTAX || result == EHLO_ERR_INCOMPLETE);
    CHECK(used <= size && used <= EHLO_PROXY_MAX);
    for (size_t cut = 0; cut < size && cut <= 600; cut++) check_cut(bytes, cut, result, used, &told);
    if (told.proxied) check_round_trip(&told);
    return 0;
}
