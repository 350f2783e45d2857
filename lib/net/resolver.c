/* lib/net/resolver.c - a resolver's settings and files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "resolver.h"

#include "file.h"

#include <stdlib.h>
#include <string.h>

/* The defaults of the C library. */
enum { TRY_MS = 5000, TRIES = 2 };

/* With longer files, the rest of their lines is passed over. */
enum { RESOLV_FILE_MAX = 65536, HOSTS_FILE_MAX = 16 << 20 };

static int is_valid(const ehlo_resolver_config *cfg)
{
    if (cfg->nservers > 0 && cfg->servers == NULL) return 0;
    for (size_t i = 0; i < cfg->nservers; i++) {
        uint8_t family = cfg->servers[i].family;
        if (family != EHLO_FAMILY_IPV4 && family != EHLO_FAMILY_IPV6) return 0;
    }
    return 1;
}

static void copy_servers(ehlo_nameservers *servers, const ehlo_resolver_config *cfg)
{
    memset(servers, 0, sizeof *servers);
    while (servers->n < cfg->nservers && servers->n < EHLO_NAMESERVERS_MAX) {
        ehlo_address *address = &servers->address[servers->n];
        *address = cfg->servers[servers->n++];
        if (address->port == 0) address->port = EHLO_NAMESERVER_PORT;
    }
}

static int read_servers(ehlo_nameservers *servers, ehlo_str file)
{
    static const ehlo_address local = { .family = EHLO_FAMILY_IPV4,
                                        .port = EHLO_NAMESERVER_PORT,
                                        .octets = { 127, 0, 0, 1 } };
    ehlo_str text;
    int result = ehlo_file_read(file, RESOLV_FILE_MAX, &text);
    if (result != EHLO_OK) return result;
    ehlo_resolv_conf_parse(text, servers);
    ehlo_file_free(text);
    if (servers->n == 0) servers->address[servers->n++] = local;
    return EHLO_OK;
}

static ehlo_str text_or(ehlo_str text, const char *otherwise)
{
    return text.len > 0 ? text : ehlo_str_from(otherwise);
}

static int set_up(ehlo_resolver *resolver, const ehlo_resolver_config *cfg)
{
    ehlo_nameservers *servers = &resolver->servers;
    int result = EHLO_OK;
    copy_servers(servers, cfg);
    if (servers->n == 0) result = read_servers(servers, text_or(cfg->resolv_file, "/etc/resolv.conf"));
    if (cfg->try_ms != 0) servers->try_ms = cfg->try_ms;
    if (cfg->tries != 0) servers->tries = cfg->tries;
    if (servers->try_ms == 0) servers->try_ms = TRY_MS;
    if (servers->tries == 0) servers->tries = TRIES;
    if (result != EHLO_OK) return result;
    return ehlo_file_read(text_or(cfg->hosts_file, "/etc/hosts"), HOSTS_FILE_MAX, &resolver->hosts);
}

int ehlo_resolver_new_sized(ehlo_resolver **result, ehlo_loop *loop, const ehlo_resolver_config *cfg, size_t cfg_size)
{
    ehlo_resolver_config own = { 0 };
    if (cfg != NULL) memcpy(&own, cfg, cfg_size < sizeof own ? cfg_size : sizeof own);
    if (!is_valid(&own)) return EHLO_ERR_ARG;
    ehlo_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL) return EHLO_ERR_MEMORY;
    resolver->loop = loop;
    int error = set_up(resolver, &own);
    if (error != EHLO_OK) {
        free(resolver);
        return error;
    }
    *result = resolver;
    return EHLO_OK;
}

void ehlo_resolver_free(ehlo_resolver *resolver)
{
    if (resolver == NULL) return;
    while (resolver->lookups != NULL) ehlo_lookup_cancel(resolver->lookups);
    ehlo_file_free(resolver->hosts);
    free(resolver);
}
