#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "dialogue.h"
#include "script.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- names ------------------------------------------------------------------------------------------ */

static const script_named errors[] = {
    { "OK", EHLO_OK },
    { "ARG", EHLO_ERR_ARG },
    { "STATE", EHLO_ERR_STATE },
    { "REENTRY", EHLO_ERR_REENTRY },
    { "SYNTAX", EHLO_ERR_SYNTAX },
    { "SPACE", EHLO_ERR_SPACE },
    { "FULL", EHLO_ERR_FULL },
    { "UNSUPPORTED", EHLO_ERR_UNSUPPORTED },
    { "MEMORY", EHLO_ERR_MEMORY },
    { "TRANSPORT", EHLO_ERR_TRANSPORT },
};

static const script_named client_flags[] = {
    { "LMTP", EHLO_CLIENT_LMTP },
    { "NO_PIPELINING", EHLO_CLIENT_NO_PIPELINING },
    { "NO_CHUNKING", EHLO_CLIENT_NO_CHUNKING },
    { "TRACE_SECRETS", EHLO_CLIENT_TRACE_SECRETS },
    { "AUTH_CLEAR", EHLO_CLIENT_AUTH_CLEAR },
};

static const script_named send_flags[] = {
    { "UTF8", EHLO_SEND_UTF8 },
    { "REQUIRETLS", EHLO_SEND_REQUIRETLS },
    { "ALL_OR_NONE", EHLO_SEND_ALL_OR_NONE },
};

static const script_named bodies[] = {
    { "7BIT", EHLO_BODY_7BIT },
    { "8BITMIME", EHLO_BODY_8BITMIME },
    { "BINARYMIME", EHLO_BODY_BINARYMIME },
};

static const script_named manners_of_giving[] = {
    { "memory", GIVE_MEMORY },
    { "pull", GIVE_PULL },
    { "push", GIVE_PUSH },
    { "any", GIVE_ANY },
};

static const script_named manners_of_lending[] = {
    { "always", LEND_ALWAYS },
    { "never", LEND_NEVER },
};

static const script_named policies[] = {
    { "default", EHLO_TLS_DEFAULT },   { "none", EHLO_TLS_NONE },       { "opportunistic", EHLO_TLS_OPPORTUNISTIC },
    { "required", EHLO_TLS_REQUIRED }, { "wrapped", EHLO_TLS_WRAPPED },
};

static const script_named outcomes[] = {
    { "delivered", EHLO_OUTCOME_DELIVERED }, { "not-sent", EHLO_OUTCOME_NOT_SENT },
    { "deferred", EHLO_OUTCOME_DEFERRED },   { "rejected", EHLO_OUTCOME_REJECTED },
    { "left", EHLO_OUTCOME_UNCERTAIN },
};

#define FIND(table, name) script_name((table), COUNT(table), (name), strlen(name))

const char *dialogue_error_name(int result)
{
    for (size_t i = 0; i < COUNT(errors); i++) {
        if (errors[i].value == result) return errors[i].name;
    }
    return "?";
}

/* -- reading a script: octets ----------------------------------------------------------------------- */

static int complain(dialogue *d, int line, const char *what)
{
    if (d->error[0] == '\0') snprintf(d->error, sizeof d->error, "line %d: %s", line, what);
    return 0;
}

/* Octets that settings and envelopes point to. */
static ehlo_str keep(dialogue *d, const char *text)
{
    peer_text out = { 0 };
    script_unescape(text, &out);
    if (d->text_count == COUNT(d->texts)) abort();
    d->texts[d->text_count++] = out.ptr;
    return ehlo_str_make(out.ptr, out.len);
}

/* -- reading a script: steps ------------------------------------------------------------------------ */

static dialogue_step *add_step(dialogue *d, int line, dialogue_kind kind, const char *text)
{
    peer_text out = { 0 };
    if (d->step_count == d->step_room) {
        d->step_room = d->step_room * 2 + 64;
        d->steps = must(realloc(d->steps, d->step_room * sizeof *d->steps));
    }
    dialogue_step *step = &d->steps[d->step_count++];
    memset(step, 0, sizeof *step);
    step->kind = kind;
    step->line = line;
    step->said = d->said.len;
    step->heard = d->heard.len;
    int octets = kind == DIALOGUE_SERVER || kind == DIALOGUE_CLIENT || kind == DIALOGUE_ACTION;
    if (octets)
        script_unescape(text, &out);
    else
        peer_text_add(&out, text, strlen(text));
    if ((kind == DIALOGUE_SERVER || kind == DIALOGUE_CLIENT) && !script_ends_open(text)) peer_text_add(&out, "\r\n", 2);
    step->text = out.ptr;
    step->len = out.len;
    if (kind == DIALOGUE_SERVER) peer_text_add(&d->heard, out.ptr, out.len);
    if (kind == DIALOGUE_CLIENT) peer_text_add(&d->said, out.ptr, out.len);
    return step;
}

static int read_action(dialogue *d, int line, char *text)
{
    char *arrow = strstr(text, " => ");
    long expected = EHLO_OK;
    if (arrow != NULL) {
        *arrow = '\0';
        expected = FIND(errors, arrow + 4);
        if (expected == SCRIPT_NO_NAME) return complain(d, line, "no such error");
    }
    dialogue_step *step = add_step(d, line, DIALOGUE_ACTION, text);
    snprintf(step->subject, sizeof step->subject, "%.*s", (int)strcspn(text, " "), text);
    step->expected = (int)expected;
    if (strcmp(text, "send") != 0) return 1;
    if (d->message_count + 1 >= DIALOGUE_MESSAGES) return complain(d, line, "too many messages");
    step->message = d->message_count++;
    return 1;
}

static int read_mark(dialogue *d, int line, char *text)
{
    char *address = strchr(text, ' ');
    if (address == NULL) return complain(d, line, "M: OUTCOME ADDRESS");
    *address++ = '\0';
    long outcome = FIND(outcomes, text);
    if (outcome == SCRIPT_NO_NAME) return complain(d, line, "no such outcome");
    dialogue_step *step = add_step(d, line, DIALOGUE_MARK, text);
    step->number = (uint64_t)outcome;
    snprintf(step->subject, sizeof step->subject, "%s", address);
    return 1;
}

static int read_numbered(dialogue *d, int line, dialogue_kind kind, const char *text)
{
    dialogue_step *step = add_step(d, line, kind, text);
    step->number = strcmp(text, "none") == 0 ? UINT64_MAX : strtoull(text, NULL, 10);
    return 1;
}

static int read_lettered(dialogue *d, int line, char *text)
{
    static const char letters[] = "SCENWKZ";
    static const dialogue_kind plain[] = { DIALOGUE_SERVER, DIALOGUE_CLIENT, DIALOGUE_EVENT, DIALOGUE_NO_EVENT,
                                           DIALOGUE_WANTS,  DIALOGUE_OFFERS, DIALOGUE_END };
    static const char numbers[] = "DGPTR";
    static const dialogue_kind numbered[] = { DIALOGUE_DEADLINE, DIALOGUE_WRITES, DIALOGUE_PASS, DIALOGUE_TLS,
                                              DIALOGUE_ROUNDS };
    char letter = text[0];
    char *rest = text + 2;
    const char *at;
    while (*rest == ' ') rest++;
    if (letter == 'A') return read_action(d, line, rest);
    if (letter == 'M') return read_mark(d, line, rest);
    if (letter == 'E' && text[1] == '!') return add_step(d, line, DIALOGUE_NEXT_EVENT, rest) != NULL;
    if ((at = strchr(letters, letter)) != NULL) return add_step(d, line, plain[at - letters], rest) != NULL;
    if ((at = strchr(numbers, letter)) != NULL) return read_numbered(d, line, numbered[at - numbers], rest);
    return complain(d, line, "unknown letter");
}

/* -- reading a script: settings and envelopes ------------------------------------------------------- */

#define AT(member) offsetof(ehlo_client_config, member)

static const struct {
    const char *name;
    size_t offset;
} numbers32[] = {
    { "text_line_max", AT(text_line_max) },
    { "reply_max", AT(reply_max) },
    { "reply_lines_max", AT(reply_lines_max) },
    { "window", AT(window) },
    { "out_max", AT(out_max) },
    { "greeting_ms", AT(greeting_ms) },
    { "command_ms", AT(command_ms) },
    { "data_ms", AT(data_ms) },
    { "write_ms", AT(write_ms) },
    { "final_ms", AT(final_ms) },
    { "tls_ms", AT(tls_ms) },
    { "quit_ms", AT(quit_ms) },
};

static int read_setting(dialogue *d, int line, char *name)
{
    char *value = strchr(name, ' ');
    if (value == NULL) return complain(d, line, "set NAME VALUE");
    *value++ = '\0';
    for (size_t i = 0; i < COUNT(numbers32); i++) {
        if (strcmp(name, numbers32[i].name) != 0) continue;
        *(uint32_t *)(void *)((char *)&d->config + numbers32[i].offset) = (uint32_t)strtoul(value, NULL, 10);
        return 1;
    }
    long policy = FIND(script_policies, value), bits = script_names(client_flags, COUNT(client_flags), value);
    if (strcmp(name, "name") == 0)
        d->config.name = keep(d, value);
    else if (strcmp(name, "bare_cr") == 0 && policy >= 0)
        d->config.bare_cr = (uint8_t)policy;
    else if (strcmp(name, "bare_lf") == 0 && policy >= 0)
        d->config.bare_lf = (uint8_t)policy;
    else if (strcmp(name, "flags") == 0 && bits >= 0)
        d->config.flags = (unsigned)bits;
    else
        return complain(d, line, "unknown setting or value");
    return 1;
}

static int read_give(dialogue *d, int line, char *text)
{
    char *space = strchr(text, ' ');
    if (space != NULL) *space++ = '\0';
    long give = FIND(manners_of_giving, text);
    if (give == SCRIPT_NO_NAME) return complain(d, line, "give memory, pull, push or any");
    d->give = (int)give;
    d->pieces = space != NULL ? strtoul(space, NULL, 10) : 0;
    return 1;
}

static int read_lend(dialogue *d, int line, const char *text)
{
    long lend = FIND(manners_of_lending, text);
    if (lend == SCRIPT_NO_NAME) return complain(d, line, "lend always or never");
    d->lend = (int)lend;
    return 1;
}

static int read_opening(dialogue *d, int line, const char *policy)
{
    long tls = FIND(policies, policy);
    if (tls == SCRIPT_NO_NAME) return complain(d, line, "no such policy");
    d->opens = 1;
    d->opening.tls = (uint8_t)tls;
    return 1;
}

/* EHLO_SASL_* of names joined by '|'. */
static uint32_t read_mechanisms(const char *names)
{
    uint32_t all = 0;
    while (*names != '\0') {
        size_t len = strcspn(names, "|");
        all |= ehlo_sasl_find(ehlo_str_make(names, len));
        names += len + (names[len] == '|');
    }
    return all;
}

#define OF_CREDENTIALS(d, offset) ((void *)((char *)&(d)->credentials + (offset)))

static int read_login(dialogue *d, int line, char *name)
{
    static const struct {
        const char *name;
        size_t offset;
    } texts[] = { { "user", offsetof(ehlo_credentials, user) },
                  { "password", offsetof(ehlo_credentials, password) },
                  { "token", offsetof(ehlo_credentials, token) },
                  { "authzid", offsetof(ehlo_credentials, authzid) },
                  { "host", offsetof(ehlo_credentials, host) } };
    char *value = strchr(name, ' ');
    if (value == NULL) return complain(d, line, "login MEMBER OCTETS");
    *value++ = '\0';
    d->opening.credentials = &d->credentials;
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (strcmp(name, texts[i].name) != 0) continue;
        *(ehlo_str *)OF_CREDENTIALS(d, texts[i].offset) = keep(d, value);
        return 1;
    }
    if (strcmp(name, "mechanisms") == 0)
        d->credentials.mechanisms = read_mechanisms(value);
    else if (strcmp(name, "clear") == 0)
        d->credentials.clear = value[0] == '1';
    else if (strcmp(name, "port") == 0)
        d->credentials.port = (uint16_t)strtoul(value, NULL, 10);
    else
        return complain(d, line, "no such member of the credentials");
    return 1;
}

/* One word of what follows a recipient's address; the first that is no key begins its parameters. */
static char *read_rcpt_word(dialogue *d, ehlo_recipient *r, char *word)
{
    char *next = strchr(word, ' ');
    if (strncmp(word, "notify=", 7) != 0 && strncmp(word, "orcpt=", 6) != 0) {
        r->params = keep(d, word);
        return NULL;
    }
    if (next != NULL) *next++ = '\0';
    if (word[0] == 'n') {
        r->notify = (uint8_t)strtoul(word + 7, NULL, 10);
        return next;
    }
    char *text = strchr(word, ';');
    if (text != NULL) *text++ = '\0';
    r->orcpt_type = keep(d, word + 6);
    if (text != NULL) r->orcpt = keep(d, text);
    return next;
}

static int read_rcpt(dialogue *d, dialogue_message *m, int line, char *address)
{
    if (m->nrcpts == DIALOGUE_RCPTS) return complain(d, line, "too many recipients");
    m->rcpts = must(realloc(m->rcpts, (m->nrcpts + 1) * sizeof *m->rcpts));
    ehlo_recipient *r = &m->rcpts[m->nrcpts++];
    memset(r, 0, sizeof *r);
    char *rest = strchr(address, ' ');
    if (rest != NULL) *rest++ = '\0';
    r->to = keep(d, address);
    while (rest != NULL) rest = read_rcpt_word(d, r, rest);
    return 1;
}

static int read_envelope(dialogue *d, int line, const char *key, char *value)
{
    dialogue_message *m = &d->messages[d->message_count];
    ehlo_envelope *e = &m->envelope;
    static const struct {
        const char *name;
        size_t offset;
    } texts[] = { { "from", offsetof(ehlo_envelope, from) },
                  { "envid", offsetof(ehlo_envelope, envid) },
                  { "auth", offsetof(ehlo_envelope, auth) },
                  { "params", offsetof(ehlo_envelope, params) } };
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (strcmp(key, texts[i].name) != 0) continue;
        *(ehlo_str *)(void *)((char *)e + texts[i].offset) = keep(d, value);
        return 1;
    }
    long bits = script_names(send_flags, COUNT(send_flags), value), body = FIND(bodies, value);
    if (strcmp(key, "to") == 0) return read_rcpt(d, m, line, value);
    if (strcmp(key, "content") == 0)
        script_unescape(value, &m->content);
    else if (strcmp(key, "flags") == 0 && bits >= 0)
        e->flags = (unsigned)bits;
    else if (strcmp(key, "body") == 0 && body >= 0)
        e->body = (uint8_t)body;
    else if (strcmp(key, "ret") == 0)
        e->ret = value[0] == 'F' ? EHLO_RET_FULL : EHLO_RET_HDRS;
    else if (strcmp(key, "size") == 0)
        e->size = strtoull(value, NULL, 10);
    else
        return complain(d, line, "not understood");
    return 1;
}

/* The opening of a session that is not about it: what EHLO offers, separated by '|'; "-" for nothing. */
static int read_greet(dialogue *d, int line, const char *keywords)
{
    char hello[] = "hello";
    int lmtp = (d->config.flags & EHLO_CLIENT_LMTP) != 0;
    add_step(d, line, DIALOGUE_SERVER, "220 mx.example");
    read_action(d, line, hello);
    add_step(d, line, DIALOGUE_CLIENT, lmtp ? "LHLO c.example" : "EHLO c.example");
    add_step(d, line, DIALOGUE_SERVER, keywords[0] == '-' ? "250 mx.example" : "250-mx.example");
    while (*keywords != '\0' && *keywords != '-') {
        char said[200];
        size_t len = strcspn(keywords, "|");
        snprintf(said, sizeof said, "250%c%.*s", keywords[len] == '|' ? '-' : ' ', (int)len, keywords);
        add_step(d, line, DIALOGUE_SERVER, said);
        keywords += len + (keywords[len] == '|');
    }
    return 1;
}

static int read_line(dialogue *d, int line, char *text)
{
    static char nothing[] = "";
    if (text[0] == '\0' || text[0] == '#') return 1;
    if (text[1] == ':' || text[1] == '!') return read_lettered(d, line, text);
    char *rest = strchr(text, ' ');
    if (rest != NULL) *rest++ = '\0';
    if (rest == NULL) rest = nothing;
    if (strcmp(text, "set") == 0) return read_setting(d, line, rest);
    if (strcmp(text, "give") == 0) return read_give(d, line, rest);
    if (strcmp(text, "greet") == 0) return read_greet(d, line, rest);
    if (strcmp(text, "outside") == 0) return d->outside = 1;
    if (strcmp(text, "wrapped") == 0) return d->wrapped = 1;
    if (strcmp(text, "unverified") == 0) return d->unverified = 1;
    if (strcmp(text, "lend") == 0) return read_lend(d, line, rest);
    if (strcmp(text, "open") == 0) return read_opening(d, line, rest);
    if (strcmp(text, "login") == 0) return read_login(d, line, rest);
    return read_envelope(d, line, text, rest);
}

dialogue *dialogue_parse(const char *text)
{
    dialogue *d = must(calloc(1, sizeof *d));
    d->messages = must(calloc(DIALOGUE_MESSAGES, sizeof *d->messages));
    d->config.name = ehlo_str_from("c.example");
    peer_text_add(&d->said, "", 0);
    peer_text_add(&d->heard, "", 0);
    for (int line = 1; *text != '\0' && d->error[0] == '\0'; line++) {
        size_t len = strcspn(text, "\n");
        peer_text copy = { 0 };
        peer_text_add(&copy, text, len);
        read_line(d, line, copy.ptr);
        peer_text_free(&copy);
        text += len + (text[len] == '\n');
    }
    return d;
}

dialogue *dialogue_read(const char *path)
{
    peer_text text = { 0 };
    char part[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    peer_text_add(&text, "", 0);
    while (file != NULL && (n = fread(part, 1, sizeof part, file)) > 0) peer_text_add(&text, part, n);
    dialogue *d = dialogue_parse(text.ptr);
    if (file == NULL)
        complain(d, 0, "cannot be read");
    else
        fclose(file);
    peer_text_free(&text);
    return d;
}

void dialogue_free(dialogue *d)
{
    for (size_t i = 0; i < d->step_count; i++) free(d->steps[i].text);
    for (size_t i = 0; i < d->text_count; i++) free(d->texts[i]);
    for (size_t i = 0; i < DIALOGUE_MESSAGES; i++) {
        peer_text_free(&d->messages[i].content);
        free(d->messages[i].rcpts);
    }
    peer_text_free(&d->said);
    peer_text_free(&d->heard);
    free(d->messages);
    free(d->steps);
    free(d);
}

/* -- marks ------------------------------------------------------------------------------------------ */

ehlo_outcome dialogue_outcome(const dialogue *d, const char *address, size_t taken, size_t heard)
{
    ehlo_outcome outcome = EHLO_OUTCOME_NOT_SENT;
    for (size_t i = 0; i < d->step_count; i++) {
        const dialogue_step *step = &d->steps[i];
        if (step->kind != DIALOGUE_MARK || strcmp(step->subject, address) != 0) continue;
        int reached = step->number == EHLO_OUTCOME_UNCERTAIN ? taken >= step->said : heard >= step->heard;
        if (reached) outcome = (ehlo_outcome)step->number;
    }
    return outcome;
}

/* -- finding scripts -------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t dialogue_find(const char *group, char **paths, size_t max)
{
    const char *source = getenv("EHLO_SOURCE");
    char folder[1024];
    size_t count = 0;
    struct dirent *entry;
    snprintf(folder, sizeof folder, "%s/tests/dialogues", source != NULL ? source : ".");
    DIR *dir = opendir(folder);
    while (dir != NULL && count < max && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name), prefix = strlen(group);
        if (strncmp(entry->d_name, group, prefix) != 0 || entry->d_name[prefix] != '_') continue;
        if (len < 5 || strcmp(entry->d_name + len - 4, ".txt") != 0) continue;
        paths[count] = must(malloc(strlen(folder) + len + 2));
        sprintf(paths[count++], "%s/%s", folder, entry->d_name);
    }
    if (dir != NULL) closedir(dir);
    qsort(paths, count, sizeof paths[0], by_name);
    return count;
}
