/* The address of ORCPT, on its way out. */
#ifndef EHLO_SYNTAX_ORCPT_H
#define EHLO_SYNTAX_ORCPT_H

#include "writer.h"

/* Writes a UTF-8 address without controls as utf-8-addr-xtext (RFC 6533 3), which passes where UTF-8 does not. */
void ehlo_orcpt_put_utf8(ehlo_writer *to, ehlo_str address);

#endif
