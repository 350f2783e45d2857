/* The text files of the resolver: whatever is in them, what is read out of them is of use; and the line that a user adds
 * counts. The input is the file. The functions are the socket floor's own, which show themselves to nobody: so their
 * sources are part of this program. */
#include <stdint.h>
#include <string.h>

#include "../lib/net/address.c"
#include "../lib/net/hosts.c"
#include "../lib/net/resolv_conf.c"
#include "../lib/net/words.c"

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FOUND_MAX = 4 };

/* A copy of text with a line behind it, in memory of its exact size; the caller frees it. */
static ehlo_str with_line(ehlo_str text, const char *line)
{
    size_t len = strlen(line);
    char *copy = malloc(text.len + len);
    CHECK(copy != NULL);
    if (text.len > 0) memcpy(copy, text.ptr, text.len);
    memcpy(copy + text.len, line, len);
    return ehlo_str_make(copy, text.len + len);
}

static void free_text(ehlo_str text)
{
    free((void *)(uintptr_t)text.ptr);
}

static void check_same(const ehlo_address *a, const ehlo_address *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        CHECK(a[i].family == b[i].family && a[i].port == b[i].port);
        CHECK(memcmp(a[i].octets, b[i].octets, sizeof a[i].octets) == 0);
    }
}

/* -- lines and words -------------------------------------------------------------------------------- */

/* Together they are all of the text but line ends, comments and white space. */
static void check_words(ehlo_str text)
{
    ehlo_str rest = text;
    ehlo_str line;
    while (ehlo_take_line(&rest, &line)) {
        CHECK(is_within(line, text) && is_within(rest, text));
        CHECK(line.len == 0 || (memchr(line.ptr, '\n', line.len) == NULL && memchr(line.ptr, '#', line.len) == NULL));
        ehlo_str words = line;
        for (ehlo_str word = ehlo_take_word(&words); word.len > 0; word = ehlo_take_word(&words)) {
            CHECK(is_within(word, line));
            for (size_t i = 0; i < word.len; i++) CHECK(!is_blank(word.ptr[i]));
        }
        CHECK(words.len == 0);
    }
    CHECK(rest.len == 0);
}

/* -- resolv.conf ------------------------------------------------------------------------------------ */

static void check_servers(const ehlo_nameservers *servers)
{
    CHECK(servers->n <= EHLO_NAMESERVERS_MAX && servers->tries <= ATTEMPTS_MAX);
    CHECK(servers->try_ms % 1000 == 0 && servers->try_ms <= TIMEOUT_MAX_S * 1000);
    for (size_t i = 0; i < servers->n; i++) {
        CHECK(servers->address[i].family == EHLO_FAMILY_IPV4 || servers->address[i].family == EHLO_FAMILY_IPV6);
        CHECK(servers->address[i].port == EHLO_NAMESERVER_PORT);
    }
}

static void read_conf(ehlo_str text)
{
    ehlo_nameservers servers;
    ehlo_nameservers more;
    ehlo_resolv_conf_parse(text, &servers);
    check_servers(&servers);
    ehlo_str longer = with_line(text, "\nnameserver 192.0.2.99\noptions timeout:7");
    ehlo_resolv_conf_parse(longer, &more);
    check_servers(&more);
    CHECK(more.n == servers.n + (servers.n < EHLO_NAMESERVERS_MAX) && more.tries == servers.tries);
    CHECK(more.try_ms == 7000);
    check_same(more.address, servers.address, servers.n);
    free_text(longer);
}

/* -- hosts ------------------------------------------------------------------------------------------ */

static size_t find(ehlo_str text, ehlo_str name, ehlo_address *found)
{
    size_t n = 0;
    ehlo_address address;
    while (ehlo_hosts_next(&text, name, &address)) {
        CHECK(address.family == EHLO_FAMILY_IPV4 || address.family == EHLO_FAMILY_IPV6);
        CHECK(address.port == 0);
        if (n < FOUND_MAX) found[n++] = address;
    }
    return n;
}

static void read_hosts(ehlo_str text)
{
    ehlo_address before[FOUND_MAX];
    ehlo_address after[FOUND_MAX];
    ehlo_str name = ehlo_str_from("a.example");
    ehlo_str longer = with_line(text, "\n::1\tb.example A.Example # a.example");
    size_t n = find(text, name, before);
    CHECK(find(longer, name, after) == n + (n < FOUND_MAX));
    check_same(before, after, n);
    free_text(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ehlo_str text = ehlo_str_make((const char *)data, size);
    check_words(text);
    read_conf(text);
    read_hosts(text);
    return 0;
}
