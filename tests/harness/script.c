#include "script.h"

#include <string.h>

/* -- names ------------------------------------------------------------------------------------------ */

const script_named script_caps[] = {
    { "SIZE", EHLO_CAP_SIZE },
    { "8BITMIME", EHLO_CAP_8BITMIME },
    { "PIPELINING", EHLO_CAP_PIPELINING },
    { "CHUNKING", EHLO_CAP_CHUNKING },
    { "BINARYMIME", EHLO_CAP_BINARYMIME },
    { "STARTTLS", EHLO_CAP_STARTTLS },
    { "AUTH", EHLO_CAP_AUTH },
    { "DSN", EHLO_CAP_DSN },
    { "ENHANCEDSTATUSCODES", EHLO_CAP_ENHANCEDSTATUSCODES },
    { "SMTPUTF8", EHLO_CAP_SMTPUTF8 },
    { "REQUIRETLS", EHLO_CAP_REQUIRETLS },
    { "DELIVERBY", EHLO_CAP_DELIVERBY },
    { "MT-PRIORITY", EHLO_CAP_MT_PRIORITY },
    { "FUTURERELEASE", EHLO_CAP_FUTURERELEASE },
    { "LIMITS", EHLO_CAP_LIMITS },
    { "RRVS", EHLO_CAP_RRVS },
    { "ETRN", EHLO_CAP_ETRN },
    { "EXPN", EHLO_CAP_EXPN },
    { "HELP", EHLO_CAP_HELP },
    { "VERB", EHLO_CAP_VERB },
    { "XCLIENT", EHLO_CAP_XCLIENT },
};
const size_t script_caps_count = COUNT(script_caps);

const script_named script_policies[3] = {
    { "reject", EHLO_BARE_REJECT },
    { "normalise", EHLO_BARE_NORMALISE },
    { "pass", EHLO_BARE_PASS },
};

long script_name(const script_named *table, size_t count, const char *name, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0) return table[i].value;
    }
    return SCRIPT_NO_NAME;
}

long script_names(const script_named *table, size_t count, const char *text)
{
    long all = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, "| ");
        long one = script_name(table, count, text, len);
        if (one == SCRIPT_NO_NAME) return one;
        all |= one;
        text += len + strspn(text + len, "| ");
    }
    return all;
}

/* -- octets ----------------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return 0;
}

/* "[N:text]", in which other escapes may stand: returns what follows it. */
static const char *unescape_repeat(const char *at, peer_text *out)
{
    char *text;
    unsigned long n = strtoul(at + 1, &text, 10);
    const char *end = strchr(text, ']');
    peer_text inner = { 0 }, once = { 0 };
    if (*text != ':' || end == NULL) return at + 1;
    peer_text_add(&inner, text + 1, (size_t)(end - text - 1));
    script_unescape(inner.ptr, &once);
    for (; n > 0; n--) peer_text_add(out, once.ptr, once.len);
    peer_text_free(&inner);
    peer_text_free(&once);
    return end + 1;
}

static const char *unescape_one(const char *at, peer_text *out)
{
    static const char letters[] = "rnt0", octets[] = "\r\n\t";
    const char *letter = strchr(letters, *at);
    char c = letter != NULL ? octets[letter - letters] : *at;
    if (*at == '[') return unescape_repeat(at, out);
    if (*at == 'x') {
        c = (char)(hex(at[1]) * 16 + hex(at[2]));
        at += 2;
    }
    peer_text_add(out, &c, 1);
    return at + 1;
}

void script_unescape(const char *at, peer_text *out)
{
    peer_text_add(out, "", 0);
    while (*at != '\0') {
        if (*at == '\\' && at[1] != '\0') {
            at = unescape_one(at + 1, out);
        } else {
            if (*at != '\\') peer_text_add(out, at, 1);
            at++;
        }
    }
}

int script_ends_open(const char *text)
{
    size_t len = strlen(text), slashes = 0;
    while (slashes < len && text[len - 1 - slashes] == '\\') slashes++;
    return slashes % 2 == 1;
}
