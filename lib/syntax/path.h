/* Paths and domains, as parts of larger grammars. */
#ifndef EHLO_SYNTAX_PATH_H
#define EHLO_SYNTAX_PATH_H

#include "cursor.h"

/* Reads a domain or an address literal at the cursor and steps over it. octets (16) must be zero before, and
 * are undefined, as *kind is, after EHLO_ERR_SYNTAX. */
int ehlo_cursor_domain(ehlo_cursor *cursor, uint8_t *kind, uint8_t *octets);

/* The same for a domain name alone; its length is not checked. */
int ehlo_cursor_domain_name(ehlo_cursor *cursor);

/* Reads a path at the cursor and steps over it; see ehlo_path_parse. *path must be zero before, and is
 * undefined after EHLO_ERR_SYNTAX. */
int ehlo_cursor_path(ehlo_cursor *cursor, size_t path_max, ehlo_path *path);

#endif
