#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "list.h"

#include "log.h"
#include "reply.h"
#include "spool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CLEAN_MAX = 1024, SPAN_MAX = 24, FLUSH_STEPS = 500, FAILED = 1, USAGE = 64 };

struct table {
    int64_t now; /* Unix ms */
    size_t messages;
    size_t recipients;
};

/* -- columns ---------------------------------------------------------------------------------------- */

/* Of fixed width, but the last one, which is ragged: nothing is cut. */
static const char row[] = "%-20s %7s %6s  %-9s %8s  %s\n";

/* "45s" "12m" "3h05m" "2d04h" */
static const char *span(int64_t ms, char text[SPAN_MAX])
{
    long long s = ms > 0 ? (long long)(ms / 1000) : 0;
    if (s < 60) {
        snprintf(text, SPAN_MAX, "%llds", s);
    } else if (s < 3600) {
        snprintf(text, SPAN_MAX, "%lldm", s / 60);
    } else if (s < 86400) {
        snprintf(text, SPAN_MAX, "%lldh%02lldm", s / 3600, s / 60 % 60);
    } else {
        snprintf(text, SPAN_MAX, "%lldd%02lldh", s / 86400, s / 3600 % 24);
    }
    return text;
}

/* "812" "4.2K" "1.3M" */
static const char *size_text(uint64_t size, char text[SPAN_MAX])
{
    static const char units[] = "KMGTPE";
    double value = (double)size;
    int unit = -1;
    for (; value >= 1000 && unit < 5; unit++) value /= 1024;
    if (unit < 0) {
        snprintf(text, SPAN_MAX, "%llu", (unsigned long long)size);
    } else {
        snprintf(text, SPAN_MAX, value < 10 ? "%.1f%c" : "%.0f%c", value, units[unit]);
    }
    return text;
}

/* What others have said must not move the cursor. NUL-ended. */
static const char *clean(ehlo_str text, char out[CLEAN_MAX])
{
    size_t len = 0;
    ehlo_text_clean(text, out, CLEAN_MAX - 1, &len);
    out[len] = '\0';
    return out;
}

/* -- rows ------------------------------------------------------------------------------------------- */

/* What was said last, or why nothing was; below the recipient. */
static void print_reply(const struct spool_recipient *rcpt)
{
    char host[CLEAN_MAX], text[CLEAN_MAX], code[REPLY_CODE_MAX], line[3 * CLEAN_MAX];
    reply_code_write(rcpt->code, rcpt->enhanced, code);
    if (code[0] == '\0' && rcpt->text.len == 0) return;
    snprintf(line, sizeof line, "  %s%s%s%s", clean(rcpt->host, host), rcpt->host.len > 0 ? ": " : "", code,
             clean(rcpt->text, text));
    printf(row, "", "", "", "", "", line);
}

static void print_recipient(const struct table *table, const struct spool_recipient *rcpt)
{
    char to[CLEAN_MAX], next[SPAN_MAX] = "";
    char state[CLEAN_MAX];
    if (rcpt->state == EHLO_STATE_QUEUED) span(rcpt->next_try - table->now, next);
    printf(row, "", "", "", clean(ehlo_state_name((ehlo_state)rcpt->state), state), next, clean(rcpt->to, to));
    print_reply(rcpt);
}

static void print_entry(const struct spool_entry *entry, void *arg)
{
    struct table *table = arg;
    char id[CLEAN_MAX], from[CLEAN_MAX], age[SPAN_MAX], size[SPAN_MAX];
    if (table->messages++ == 0)
        printf(row, "MESSAGE", "AGE", "SIZE", "STATE", "NEXT TRY", "SENDER, RECIPIENTS AND LAST REPLIES");
    printf(row, clean(entry->id, id), span(table->now - entry->arrived, age), size_text(entry->size, size), "", "",
           entry->from.len > 0 ? clean(entry->from, from) : "<>");
    for (size_t i = 0; i < entry->nrcpts; i++) print_recipient(table, &entry->rcpts[i]);
    table->recipients += entry->nrcpts;
}

static int64_t now_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

/* 0, or what is wrong, said. */
static int complain(const char *dir, int error)
{
    log_line("--spool %s: %s", dir, error == ENOENT ? "there is no spool" : strerror(error));
    return FAILED;
}

int list_print(const char *dir)
{
    struct table table = { .now = now_ms() };
    int error = spool_list(dir, print_entry, &table);
    if (error != 0) return complain(dir, error);
    if (table.messages == 0) {
        puts("the queue is empty");
    } else {
        printf("%zu message%s, %zu recipient%s\n", table.messages, table.messages == 1 ? "" : "s", table.recipients,
               table.recipients == 1 ? "" : "s");
    }
    return fflush(stdout) == 0 ? 0 : FAILED;
}

/* -- flush ------------------------------------------------------------------------------------------ */

/* 1 if the relay has taken the request up, 0 if it has not in time. */
static int await_flush(const char *dir, ehlo_str destination)
{
    const struct timespec step = { .tv_nsec = 20 * 1000 * 1000 };
    for (int i = 0; i < FLUSH_STEPS; i++) {
        if (!spool_flush_waits(dir, destination)) return 1;
        nanosleep(&step, NULL);
    }
    return 0;
}

int list_flush(const char *dir, const char *destination)
{
    ehlo_str name = ehlo_str_from(destination);
    int error = spool_flush_request(dir, name);
    if (error == EINVAL) {
        log_line("--flush: \"%s\" is no domain", destination);
        return USAGE;
    }
    if (error != 0) return complain(dir, error);
    pid_t holder = spool_holder(dir);
    if (holder == 0) {
        printf("no relay runs on %s: %s will be tried when one starts\n", dir, destination);
    } else if (await_flush(dir, name)) {
        printf("what waits for %s is tried now\n", destination);
    } else {
        log_line("--flush: process %ld has not taken the request up yet", (long)holder);
        return FAILED;
    }
    return fflush(stdout) == 0 ? 0 : FAILED;
}
