/* users.h - who may log in, and what is kept to tell. */
#ifndef USERS_H
#define USERS_H

#include <ehlo/sasl.h>

enum { USERS_ITERATIONS = 4096, USERS_SALT = 16 };

/* Of the password only what SCRAM needs is kept: it tells whether a password is the right one, and cannot be used in
 * its place. CRAM-MD5 needs more, and so does a build without cryptography: there the password is kept as it is. */
struct user {
    ehlo_str name;
    char *password; /* NULL: not kept */
    ehlo_scram_keys sha_1, sha_256;
};

struct users {
    struct user *list;
    size_t count;
    const ehlo_crypto *crypto; /* NULL: there is none */
    uint8_t decoy[32];         /* see ehlo_sasl_server_config */
};

/* text is "NAME:PASSWORD", split at the first colon, and stays where it is. NULL, or what is wrong with it. */
const char *users_add(struct users *users, char *text);
/* Derives what is kept, and overwrites the passwords in the texts above unless keep_passwords. EHLO_OK or an error. */
int users_prepare(struct users *users, const ehlo_crypto *crypto, int keep_passwords);
void users_free(struct users *users);

/* NULL: there is none of that name. */
const struct user *users_find(const struct users *users, ehlo_str name);
/* Whom the subject of a certificate names by its CN or emailAddress; NULL: nobody. */
const struct user *users_find_subject(const struct users *users, ehlo_str subject);
/* 1 if the user exists and this is the password, 0 if not, in the same time; negative: an error of the cryptography. It
 * takes milliseconds, as it should. */
int users_check(const struct users *users, ehlo_str name, ehlo_str password);

#endif
