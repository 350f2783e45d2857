#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

ehlo_reply reply_make(uint16_t code, uint16_t subject, uint16_t detail, const char *text)
{
    ehlo_reply r;
    memset(&r, 0, sizeof r);
    r.code = code;
    r.enhanced[0] = (uint16_t)(code / 100);
    r.enhanced[1] = subject;
    r.enhanced[2] = detail;
    r.text = ehlo_str_from(text);
    return r;
}

ehlo_reply reply_failure(int error)
{
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
        return reply_make(452, 3, 1, "Insufficient system storage");
    }
    if (error == ENOMEM || error == EAGAIN) return reply_make(451, 3, 2, "Too busy, try again later");
    return reply_make(451, 3, 0, "Message could not be stored, try again later");
}

ehlo_reply reply_mail_loop(void)
{
    return reply_make(554, 4, 6, "Too many Received fields: a mail loop");
}

void reply_code_write(uint16_t code, const uint16_t enhanced[3], char out[REPLY_CODE_MAX])
{
    int len = 0;
    out[0] = '\0';
    if (code != 0) len = snprintf(out, REPLY_CODE_MAX, "%u ", (unsigned)code);
    if (enhanced[0] == 0) return;
    snprintf(out + len, REPLY_CODE_MAX - (size_t)len, "%u.%u.%u ", (unsigned)enhanced[0], (unsigned)enhanced[1],
             (unsigned)enhanced[2]);
}
