/* bench_session - what a message costs in one session, without sockets: nanoseconds a message, megabytes (1e6
 * octets) a second of what the client sends, and as a multiple of the time that memcpy of the same octets takes.
 * Usage: bench_session
 *
 * The session and memcpy take turns in each of nine rounds, so that they see the same weather; medians are printed,
 * and of the multiple its extremes too. Then the memory that services and sessions need. */
#include "lone_session.h"

#include <time.h>

enum { ROUNDS = 9, PARTS = 4, LINE = 80, RECEIVE = 256 * 1024, ROUND_NS = 20 * 1000 * 1000 };

typedef struct text {
    char *ptr;
    size_t len;
} text;

/* What the client sends for one message, in the parts between which it waits. */
typedef struct dialogue {
    const char *title;
    text parts[PARTS];
    size_t count;
} dialogue;

static void add(text *to, const char *bytes, size_t len)
{
    to->ptr = realloc(to->ptr, to->len + len);
    if (to->ptr == NULL) lone_fail("no memory");
    memcpy(to->ptr + to->len, bytes, len);
    to->len += len;
}

static void say(text *to, const char *words)
{
    add(to, words, strlen(words));
}

/* Lines of 80 octets with their CRLF; with dots, each begins with one, which is doubled on the wire. */
static void add_lines(text *to, size_t len, int dots)
{
    char line[LINE];
    memset(line, 'x', sizeof line);
    memcpy(line + LINE - 2, "\r\n", 2);
    if (dots) memcpy(line, "..", 2);
    for (size_t i = 0; i < len / LINE; i++) add(to, line, LINE);
}

static void say_envelope(text *to, size_t recipients)
{
    say(to, "MAIL FROM:<sender@client.example>\r\n");
    for (size_t i = 0; i < recipients; i++) {
        char command[64];
        snprintf(command, sizeof command, "RCPT TO:<recipient%zu@mx.example>\r\n", i);
        say(to, command);
    }
}

/* RFC 2920 3.1: DATA ends a group, and the next group may follow the message. */
static dialogue by_data(const char *title, size_t recipients, size_t len, int dots)
{
    dialogue d = { .title = title, .count = 2 };
    say_envelope(&d.parts[0], recipients);
    say(&d.parts[0], "DATA\r\n");
    add_lines(&d.parts[1], len, dots);
    say(&d.parts[1], ".\r\n");
    return d;
}

static dialogue stop_and_wait(const char *title, size_t len)
{
    dialogue d = { .title = title, .count = 4 };
    say(&d.parts[0], "MAIL FROM:<sender@client.example>\r\n");
    say(&d.parts[1], "RCPT TO:<recipient@mx.example>\r\n");
    say(&d.parts[2], "DATA\r\n");
    add_lines(&d.parts[3], len, 0);
    say(&d.parts[3], ".\r\n");
    return d;
}

static dialogue by_bdat(const char *title, size_t len)
{
    dialogue d = { .title = title, .count = 1 };
    char command[40];
    say_envelope(&d.parts[0], 1);
    snprintf(command, sizeof command, "BDAT %zu LAST\r\n", len / LINE * LINE);
    say(&d.parts[0], command);
    add_lines(&d.parts[0], len, 0);
    return d;
}

static double nanoseconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double feed(lone_session *lone, const dialogue *d, size_t times)
{
    double start = nanoseconds();
    for (size_t i = 0; i < times; i++) {
        for (size_t part = 0; part < d->count; part++) {
            lone_feed(lone, d->parts[part].ptr, d->parts[part].len, RECEIVE);
        }
    }
    return (nanoseconds() - start) / (double)times;
}

static double copy(char *target, const dialogue *d, size_t times)
{
    static volatile char seen;
    double start = nanoseconds();
    for (size_t i = 0; i < times; i++) {
        char *to = target;
        for (size_t part = 0; part < d->count; part++) {
            memcpy(to, d->parts[part].ptr, d->parts[part].len);
            to += d->parts[part].len;
        }
        seen = target[i % d->parts[0].len];
    }
    (void)seen;
    return (nanoseconds() - start) / (double)times;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static size_t dialogue_len(const dialogue *d)
{
    size_t len = 0;
    for (size_t part = 0; part < d->count; part++) len += d->parts[part].len;
    return len;
}

static size_t repeats_for(double each)
{
    return 1 + (size_t)(ROUND_NS / (each > 1 ? each : 1));
}

/* One line of the table. */
static void measure(lone_session *lone, dialogue d)
{
    double feeds[ROUNDS], copies[ROUNDS], ratios[ROUNDS];
    size_t len = dialogue_len(&d);
    char *target = lone_allocate(len);
    size_t feed_times = repeats_for(feed(lone, &d, 3)), copy_times = repeats_for(copy(target, &d, 3));
    for (int round = 0; round < ROUNDS; round++) {
        feeds[round] = feed(lone, &d, feed_times);
        copies[round] = copy(target, &d, copy_times);
        ratios[round] = feeds[round] / copies[round];
    }
    if (lone->refusals != 0) lone_fail("a message was refused");
    qsort(feeds, ROUNDS, sizeof *feeds, compare_doubles);
    qsort(copies, ROUNDS, sizeof *copies, compare_doubles);
    qsort(ratios, ROUNDS, sizeof *ratios, compare_doubles);
    printf("%-40s %9zu %10.0f %9.0f %10.0f %8.2f [%.2f-%.2f]\n", d.title, len, feeds[ROUNDS / 2],
           (double)len * 1e3 / feeds[ROUNDS / 2], copies[ROUNDS / 2], ratios[ROUNDS / 2], ratios[0],
           ratios[ROUNDS - 1]);
    free(target);
    for (size_t part = 0; part < d.count; part++) free(d.parts[part].ptr);
}

static void measure_speed(void)
{
    lone_session lone;
    lone_open(&lone, (ehlo_service_config){ .hostname = ehlo_str_from("mx.example") }, 1);
    lone_say(&lone, "EHLO client.example\r\n");
    printf("%-40s %9s %10s %9s %10s %8s\n", "a message", "octets", "ns", "MB/s", "memcpy ns", "times memcpy");
    measure(&lone, stop_and_wait("1 KB, stop and wait", 1024));
    measure(&lone, by_data("1 KB, pipelined", 1, 1024, 0));
    measure(&lone, by_bdat("1 KB, BDAT", 1024));
    measure(&lone, by_data("1 KB to 100 recipients, pipelined", 100, 1024, 0));
    measure(&lone, by_data("1 MB", 1, 1000000, 0));
    measure(&lone, by_data("1 MB, every line dot-stuffed", 1, 1000000, 1));
    measure(&lone, by_bdat("1 MB, BDAT", 1000000));
    lone_close(&lone);
}

static void print_memory(const char *title, uint32_t extensions, int lender)
{
    lone_session lone;
    ehlo_service_config config = { .hostname = ehlo_str_from("mx.example"), .extensions = extensions };
    lone_open(&lone, config, lender);
    printf("%-40s %9zu %10zu\n", title, ehlo_server_size(lone.service), ehlo_service_size(&config));
    lone_close(&lone);
}

int main(void)
{
    measure_speed();
    printf("\n%-40s %9s %10s\n", "octets of memory", "a session", "a service");
    print_memory("default, with a lender", 0, 1);
    print_memory("default, without", 0, 0);
    print_memory("every extension but AUTH, with a lender", LONE_ALL_EXTENSIONS, 1);
    print_memory("every extension but AUTH, without", LONE_ALL_EXTENSIONS, 0);
    return 0;
}
