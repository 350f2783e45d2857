/* lib/net/resolv_conf.c - which DNS servers to ask, and how. */
#include "resolv_conf.h"

#include "address.h"
#include "words.h"

#include <string.h>

/* The most that the options may ask for: what the C library takes. */
enum { TIMEOUT_MAX_S = 30, ATTEMPTS_MAX = 5 };

/* "nameserver 192.0.2.1". An IPv6 address with a scope ("fe80::1%eth0") is passed over: without its scope, which an
 * ehlo_address cannot hold, it leads nowhere. */
static void read_nameserver(ehlo_str words, ehlo_nameservers *servers)
{
    ehlo_address address;
    memset(&address, 0, sizeof address);
    address.port = EHLO_NAMESERVER_PORT;
    if (servers->n == EHLO_NAMESERVERS_MAX || ehlo_address_read(ehlo_take_word(&words), &address) != EHLO_OK) return;
    servers->address[servers->n++] = address;
}

/* Reads the digits behind prefix, at most `most`: *number is left alone if word is nothing like this, or 0. */
static void read_option(ehlo_str word, const char *prefix, uint32_t most, uint32_t *number)
{
    size_t len = strlen(prefix);
    uint32_t value = 0;
    if (word.len <= len || memcmp(word.ptr, prefix, len) != 0) return;
    for (size_t i = len; i < word.len; i++) {
        if (word.ptr[i] < '0' || word.ptr[i] > '9') return;
        value = value * 10 + (uint32_t)(word.ptr[i] - '0');
        if (value > most) value = most;
    }
    if (value > 0) *number = value;
}

/* "options timeout:2 attempts:3", in seconds and rounds. */
static void read_options(ehlo_str words, ehlo_nameservers *servers)
{
    uint32_t seconds = 0;
    for (ehlo_str word = ehlo_take_word(&words); word.len > 0; word = ehlo_take_word(&words)) {
        read_option(word, "timeout:", TIMEOUT_MAX_S, &seconds);
        read_option(word, "attempts:", ATTEMPTS_MAX, &servers->tries);
    }
    if (seconds > 0) servers->try_ms = seconds * 1000;
}

void ehlo_resolv_conf_parse(ehlo_str text, ehlo_nameservers *servers)
{
    ehlo_str line;
    memset(servers, 0, sizeof *servers);
    while (ehlo_take_line(&text, &line)) {
        ehlo_str keyword = ehlo_take_word(&line);
        if (ehlo_word_is(keyword, "nameserver")) read_nameserver(line, servers);
        if (ehlo_word_is(keyword, "options")) read_options(line, servers);
    }
}
