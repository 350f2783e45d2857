#include "users.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* -- the list --------------------------------------------------------------------------------------- */

static int is_same(ehlo_str a, ehlo_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

const char *users_add(struct users *users, char *text)
{
    char *colon = strchr(text, ':');
    if (colon == NULL || colon == text) return "it is not NAME:PASSWORD";
    if (colon[1] == '\0') return "the password is empty";
    struct user user = { .name = ehlo_str_make(text, (size_t)(colon - text)), .password = colon + 1 };
    if (users_find(users, user.name) != NULL) return "this user is there already";
    struct user *larger = realloc(users->list, (users->count + 1) * sizeof user);
    if (larger == NULL) return "there is no memory";
    users->list = larger;
    users->list[users->count++] = user;
    return NULL;
}

static int derive(const struct users *users, struct user *user)
{
    ehlo_str password = ehlo_str_from(user->password);
    uint8_t salt[USERS_SALT] = { 0 };
    ehlo_str view = ehlo_str_make((const char *)salt, sizeof salt);
    int result = users->crypto->random(users->crypto->ctx, salt, sizeof salt);
    if (result == EHLO_OK) {
        result = ehlo_scram_derive(users->crypto, EHLO_HASH_SHA_1, password, view, USERS_ITERATIONS, &user->sha_1);
    }
    if (result == EHLO_OK) {
        result = ehlo_scram_derive(users->crypto, EHLO_HASH_SHA_256, password, view, USERS_ITERATIONS, &user->sha_256);
    }
    return result;
}

static void forget_password(struct user *user)
{
    if (user->password != NULL) ehlo_secret_wipe(user->password, strlen(user->password));
    user->password = NULL;
}

int users_prepare(struct users *users, const ehlo_crypto *crypto, int keep_passwords)
{
    users->crypto = crypto;
    if (crypto == NULL) return EHLO_OK;
    int result = crypto->random(crypto->ctx, users->decoy, sizeof users->decoy);
    for (size_t i = 0; i < users->count && result == EHLO_OK; i++) {
        result = derive(users, &users->list[i]);
        if (!keep_passwords) forget_password(&users->list[i]);
    }
    return result;
}

void users_free(struct users *users)
{
    for (size_t i = 0; i < users->count; i++) {
        forget_password(&users->list[i]);
        ehlo_secret_wipe(&users->list[i], sizeof users->list[i]);
    }
    free(users->list);
}

/* -- looking up ------------------------------------------------------------------------------------- */

const struct user *users_find(const struct users *users, ehlo_str name)
{
    for (size_t i = 0; i < users->count; i++) {
        if (is_same(users->list[i].name, name)) return &users->list[i];
    }
    return NULL;
}

/* Takes the next "TYPE=VALUE" off a subject (RFC 4514: "CN=alice+UID=7,O=Example"), as it is written. */
static int next_attribute(ehlo_str *rest, ehlo_str *type, ehlo_str *value)
{
    size_t equals = 0, end;
    while (equals < rest->len && rest->ptr[equals] != '=') equals++;
    if (equals == rest->len) return 0;
    for (end = equals + 1; end < rest->len && rest->ptr[end] != ',' && rest->ptr[end] != '+'; end++) {
        if (rest->ptr[end] == '\\' && end + 1 < rest->len) end++;
    }
    *type = ehlo_str_make(rest->ptr, equals);
    *value = ehlo_str_make(rest->ptr + equals + 1, end - equals - 1);
    size_t next = end < rest->len ? end + 1 : end;
    *rest = ehlo_str_make(rest->ptr + next, rest->len - next);
    return 1;
}

static int type_is(ehlo_str type, const char *name)
{
    return type.len == strlen(name) && strncasecmp(type.ptr, name, type.len) == 0;
}

/* A value with an escape in it is nobody's name, as names on the command line have none. */
const struct user *users_find_subject(const struct users *users, ehlo_str subject)
{
    ehlo_str type, value;
    while (next_attribute(&subject, &type, &value)) {
        if (!type_is(type, "CN") && !type_is(type, "emailAddress")) continue;
        if (value.len == 0 || memchr(value.ptr, '\\', value.len) != NULL) continue;
        const struct user *user = users_find(users, value);
        if (user != NULL) return user;
    }
    return NULL;
}

/* -- passwords -------------------------------------------------------------------------------------- */

static ehlo_str octets(const uint8_t *bytes, size_t len)
{
    return ehlo_str_make((const char *)bytes, len);
}

/* The same is computed for a user who is not there: else the time would tell. */
static int check_derived(const struct users *users, const struct user *user, ehlo_str password)
{
    const struct user nobody = { .sha_256 = { .iterations = USERS_ITERATIONS, .salt_len = USERS_SALT } };
    const ehlo_scram_keys *kept = user != NULL ? &user->sha_256 : &nobody.sha_256;
    ehlo_scram_keys keys;
    int result = ehlo_scram_derive(users->crypto, EHLO_HASH_SHA_256, password, octets(kept->salt, kept->salt_len),
                                   kept->iterations, &keys);
    int same = ehlo_secret_equal(octets(keys.stored_key, EHLO_HASH_MAX), octets(kept->stored_key, EHLO_HASH_MAX));
    ehlo_secret_wipe(&keys, sizeof keys);
    return result != EHLO_OK ? result : same && user != NULL;
}

int users_check(const struct users *users, ehlo_str name, ehlo_str password)
{
    const struct user *user = users_find(users, name);
    if (users->crypto != NULL) return check_derived(users, user, password);
    return user != NULL && ehlo_secret_equal(ehlo_str_from(user->password), password);
}
