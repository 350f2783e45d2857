/* secret.h - a password or token, from its file. */
#ifndef SEND_SECRET_H
#define SEND_SECRET_H

#include <ehlo/types.h>

enum { SECRET_MAX = 8192 }; /* a token within an AUTH line, which base64 makes longer */

/* Zero it first; wipe it with secret_wipe. */
struct secret {
    size_t len;
    char bytes[SECRET_MAX + 2]; /* and the line end */
};

/* 1 if it is UTF-8 without controls, as names and passwords are (RFC 4013 2.3). */
int secret_is_text(ehlo_str text);
/* Reads the first line of the file. NULL, or what is wrong with it, in words. */
const char *secret_read(struct secret *secret, const char *path);
void secret_wipe(struct secret *secret);

static inline ehlo_str secret_text(const struct secret *secret)
{
    return ehlo_str_make(secret->bytes, secret->len);
}

#endif
