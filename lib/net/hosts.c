/* lib/net/hosts.c - the file of hosts that are known without asking. */
#include "hosts.h"

#include "address.h"
#include "words.h"

#include <ehlo/syntax.h>

#include <string.h>

static int has_name(ehlo_str words, ehlo_str name)
{
    for (ehlo_str word = ehlo_take_word(&words); word.len > 0; word = ehlo_take_word(&words)) {
        if (ehlo_domain_equal(word, name)) return 1;
    }
    return 0;
}

/* A line is an address and the names of the host that has it. */
int ehlo_hosts_next(ehlo_str *text, ehlo_str name, ehlo_address *address)
{
    ehlo_str line;
    while (ehlo_take_line(text, &line)) {
        ehlo_str first = ehlo_take_word(&line);
        memset(address, 0, sizeof *address);
        if (has_name(line, name) && ehlo_address_read(first, address) == EHLO_OK) return 1;
    }
    return 0;
}
