/* What the public headers declare, as far as text is concerned: functions with their parameters, structs with their
 * members. A reader of C as these headers write it, not of C. The folder above include/ is EHLO_SOURCE. */
#ifndef EHLO_TESTS_DECLARATIONS_H
#define EHLO_TESTS_DECLARATIONS_H

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DECLARED_MAX = 400, PARTS_MAX = 48, DECLARED_NAME = 64, HEADERS_MAX = 1 << 18 };

/* A parameter or a member. */
typedef struct part {
    char type[DECLARED_NAME]; /* without const and struct; "" for a pointer to a function */
    char name[DECLARED_NAME];
    int constant;
    int pointer;
    int asks_text; /* a pointer to a function that lets the application give a reply or a text */
} part;

typedef struct declared {
    char name[DECLARED_NAME];
    part parts[PARTS_MAX];
    size_t count;
} declared;

typedef struct declarations {
    declared functions[DECLARED_MAX];
    size_t function_count;
    declared structs[DECLARED_MAX];
    size_t struct_count;
} declarations;

static inline void declarations_fail(const char *why, const char *what)
{
    fprintf(stderr, "the headers can't be understood: %s: %.60s\n", why, what);
    exit(1);
}

static inline int declared_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* -- text ------------------------------------------------------------------------------------------- */

/* Comments and preprocessor lines become spaces. */
static inline void declarations_strip(char *text)
{
    int line_starts = 1;
    for (char *at = text; *at != '\0'; at++) {
        char *end = at;
        if (at[0] == '/' && at[1] == '*') {
            end = strstr(at, "*/");
            if (end == NULL) declarations_fail("a comment without an end", at);
            end += 2;
        } else if (line_starts && *at == '#') {
            while (*end != '\0' && (*end != '\n' || end[-1] == '\\')) end++;
        }
        if (end > at) memset(at, ' ', (size_t)(end - at));
        line_starts = *at == '\n' || (line_starts && *at == ' ');
    }
}

static inline size_t declarations_append(char *text, size_t len, const char *folder, const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) declarations_fail("no such file", path);
    len += fread(text + len, 1, HEADERS_MAX - 1 - len, file);
    fclose(file);
    if (len == HEADERS_MAX - 1) declarations_fail("the headers are too long", name);
    return len;
}

/* All headers, one behind the other. */
static inline char *declarations_text(void)
{
    char folder[4096];
    const char *source = getenv("EHLO_SOURCE");
    size_t len = 0;
    char *text = calloc(1, HEADERS_MAX);
    snprintf(folder, sizeof folder, "%s/include/ehlo", source != NULL ? source : ".");
    DIR *dir = opendir(folder);
    if (dir == NULL || text == NULL) declarations_fail("set EHLO_SOURCE; no folder", folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".h") == 0) len = declarations_append(text, len, folder, entry->d_name);
    }
    closedir(dir);
    declarations_strip(text);
    return text;
}

/* -- parts ------------------------------------------------------------------------------------------ */

static inline void declared_copy(char *out, const char *from, const char *to)
{
    size_t len = (size_t)(to - from);
    if (len >= DECLARED_NAME) declarations_fail("a long name", from);
    memcpy(out, from, len);
    out[len] = '\0';
}

/* 1 if [from, to) holds "TYPE *" without const in front. */
static inline int declared_fills(const char *from, const char *to, const char *type)
{
    size_t len = strlen(type);
    for (const char *at = from; at + len + 2 < to; at++) {
        if (memcmp(at, type, len) != 0 || at[len] != ' ' || at[len + 1] != '*') continue;
        if (at - from < 6 || memcmp(at - 6, "const ", 6) != 0) return 1;
    }
    return 0;
}

/* "int (*name)(...)" */
static inline void declared_function_pointer(part *p, const char *at, const char *to)
{
    const char *name = at + 2, *end = name;
    while (end < to && declared_is_word(*end)) end++;
    declared_copy(p->name, name, end);
    p->asks_text = declared_fills(end, to, "ehlo_reply") || declared_fills(end, to, "ehlo_str");
}

/* "const TYPE *name", "TYPE name[3]", or, behind a comma, "name" of the type before. */
static inline void declared_read(part *p, const char *from, const char *to)
{
    for (const char *at = from; at + 1 < to; at++) {
        if (at[0] == '(' && at[1] == '*') {
            p->type[0] = '\0';
            declared_function_pointer(p, at, to);
            while (isspace((unsigned char)*from)) from++;
            if (memcmp(from, "ehlo_str ", 9) == 0) p->asks_text = 1;
            return;
        }
    }
    while (from < to) {
        const char *end = from;
        while (end < to && declared_is_word(*end)) end++;
        size_t len = (size_t)(end - from);
        if (*from == '*') p->pointer = 1;
        if (*from == '[') break;
        if (len == 5 && memcmp(from, "const", 5) == 0) {
            p->constant = 1;
        } else if (len > 0) {
            if (p->name[0] != '\0') strcpy(p->type, p->name);
            declared_copy(p->name, from, end);
        }
        from = len > 0 ? end : from + 1;
    }
}

static inline part *declared_add(declared *d)
{
    if (d->count == PARTS_MAX) declarations_fail("more parts than there is room for", d->name);
    return memset(&d->parts[d->count++], 0, sizeof(part));
}

/* Splits [from, to) at `separator` outside parentheses. */
static inline void declared_split(declared *d, const char *from, const char *to, char separator)
{
    int depth = 0;
    const char *start = from;
    for (const char *at = from; at <= to; at++) {
        if (at < to && *at == '(') depth++;
        if (at < to && *at == ')') depth--;
        if (at < to && (depth > 0 || *at != separator)) continue;
        while (start < at && isspace((unsigned char)*start)) start++;
        if (start < at) declared_read(declared_add(d), start, at);
        start = at + 1;
    }
}

/* "ehlo_str a, b;" is two members. */
static inline void declared_members(declared *d, const char *from, const char *to)
{
    for (const char *end; from < to; from = end + 1) {
        end = memchr(from, ';', (size_t)(to - from));
        if (end == NULL) return;
        size_t first = d->count;
        const char *pointer = strstr(from, "(*");
        if (pointer != NULL && pointer < end) {
            declared_read(declared_add(d), from, end);
            continue;
        }
        declared_split(d, from, end, ',');
        for (size_t i = first + 1; i < d->count; i++) strcpy(d->parts[i].type, d->parts[first].type);
    }
}

/* -- declarations ----------------------------------------------------------------------------------- */

static inline declared *declarations_add(declared *list, size_t *count, const char *from, const char *to)
{
    if (*count == DECLARED_MAX) declarations_fail("more declarations than there is room for", from);
    declared *d = &list[(*count)++];
    declared_copy(d->name, from, to);
    return d;
}

static inline void declarations_functions(declarations *all, const char *text)
{
    for (const char *at = text; (at = strstr(at, "EHLO_API")) != NULL;) {
        at += strlen("EHLO_API");
        const char *open = strchr(at, '('), *end = strchr(at, ';');
        if (open == NULL || end == NULL || open > end) declarations_fail("no function", at);
        const char *name = open, *close = end;
        while (declared_is_word(name[-1])) name--;
        while (*close != ')') close--;
        declared_split(declarations_add(all->functions, &all->function_count, name, open), open + 1, close, ',');
    }
}

static inline void declarations_structs(declarations *all, const char *text)
{
    static const char opening[] = "typedef struct ";
    for (const char *at = text; (at = strstr(at, opening)) != NULL;) {
        at += strlen(opening);
        const char *end = at;
        while (declared_is_word(*end)) end++;
        const char *open = end + strspn(end, " \n");
        if (*open != '{') continue;
        const char *close = strchr(open, '}');
        if (close == NULL) declarations_fail("a struct without an end", at);
        declared_members(declarations_add(all->structs, &all->struct_count, at, end), open + 1, close);
    }
}

static inline declarations *declarations_new(void)
{
    declarations *all = calloc(1, sizeof *all);
    if (all == NULL) declarations_fail("no memory", "");
    char *text = declarations_text();
    declarations_functions(all, text);
    declarations_structs(all, text);
    free(text);
    return all;
}

static inline const declared *declared_find(const declared *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, name) == 0) return &list[i];
    }
    return NULL;
}

static inline const declared *declarations_struct(const declarations *all, const char *name)
{
    return declared_find(all->structs, all->struct_count, name);
}

/* 1 if what this member holds is text that the application gives. */
static inline int part_is_text(const part *p)
{
    return p->asks_text || strcmp(p->type, "ehlo_str") == 0;
}

#endif
