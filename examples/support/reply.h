/* reply.h - replies that the servers here give, and those that others gave. */
#ifndef REPLY_H
#define REPLY_H

#include <ehlo/types.h>

/* code, with the enhanced code of its class, subject and detail. */
ehlo_reply reply_make(uint16_t code, uint16_t subject, uint16_t detail, const char *text);

/* The message could not be kept, for this errno: 451 or 452, as another try may succeed, whatever failed here. */
ehlo_reply reply_failure(int error);

/* RFC 5321 6.3: a message that has passed too many hosts goes round in circles. */
ehlo_reply reply_mail_loop(void);

enum { REPLY_CODE_MAX = 32 };

/* "451 4.3.0 ", to stand in front of a text, NUL-ended; a code of 0 and an enhanced code of 0.0.0 are left out. */
void reply_code_write(uint16_t code, const uint16_t enhanced[3], char out[REPLY_CODE_MAX]);

#endif
