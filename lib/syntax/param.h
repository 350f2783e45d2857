/* The parameters of MAIL and RCPT. */
#ifndef EHLO_SYNTAX_PARAM_H
#define EHLO_SYNTAX_PARAM_H

#include "cursor.h"

/* Reads "[SP parameter ...]" from the cursor to the end into *mail or *rcpt, by the keywords its command has. */
int ehlo_cursor_mail_params(ehlo_cursor *cursor, uint32_t offered, ehlo_mail *mail);
int ehlo_cursor_rcpt_params(ehlo_cursor *cursor, uint32_t offered, ehlo_rcpt *rcpt);

#endif
