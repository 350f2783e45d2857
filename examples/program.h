/* program.h - what every program in this folder does alike: options, the "ready" line, signals.
 *
 * Include it first in the one source file of a program, and begin main with program_begin. All of it is
 * `static inline`; nothing here is part of the library.
 *
 *     int main(int argc, char **argv)
 *     {
 *         program_begin(argv[0], "usage: hello --listen ADDR:PORT [--count N] [--loud]\n");
 *         for (int i = 1; i < argc; i++) {
 *             const char *value;
 *             if (program_option(argc, argv, &i, "--listen", &value)) a = program_parse_listen("--listen", value);
 *             else if (program_option(argc, argv, &i, "--count", &value)) n = program_parse_number("--count", value, 1, 9);
 *             else if (program_flag(argv[i], "--loud")) loud = 1;
 *             else program_unknown_option(argv[i]);          (--help is handled there)
 *         }
 *         ...
 *         program_ready(ehlo_listener_address(listener));
 *         program_stop_on_signals(loops, n, 5000);
 *     } */
#ifndef PROGRAM_H
#define PROGRAM_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <ehlo/net.h>
#include <ehlo/syntax.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Exit statuses (sysexits.h is not everywhere). */
enum { PROGRAM_OK = 0, PROGRAM_FAILED = 1, PROGRAM_USAGE = 64 };

/* Loops that SIGTERM and SIGINT can stop. */
enum { PROGRAM_LOOPS_MAX = 256 };

static struct {
    const char *name;
    const char *help;
    ehlo_loop *loops[PROGRAM_LOOPS_MAX];
    volatile sig_atomic_t loop_count;
    int grace_ms;
} program;

/* Where one of the first three descriptors is closed, the next socket would be it, and a server hear what we log. */
static inline void program_keep_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0) exit(PROGRAM_FAILED);
    }
}

/* Remembers the program's name (argv0) and the text that --help prints. */
static inline void program_begin(const char *argv0, const char *help)
{
    const char *slash = argv0 != NULL ? strrchr(argv0, '/') : NULL;
    program.name = slash != NULL ? slash + 1 : argv0 != NULL ? argv0 : "program";
    program.help = help;
    program_keep_standard_descriptors();
}

/* One line to standard error: "name: text". */
static inline void program_log_list(const char *format, va_list list)
{
    char line[1024];
    vsnprintf(line, sizeof line, format, list);
    fprintf(stderr, "%s: %s\n", program.name, line); /* one call: lines of several threads stay whole */
}

__attribute__((format(printf, 1, 2))) static inline void program_log(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    program_log_list(format, list);
    va_end(list);
}

/* Says what is wrong with the command line, and ends with status 64. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void program_usage_error(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    program_log_list(format, list);
    va_end(list);
    fprintf(stderr, "%s --help says more\n", program.name);
    exit(PROGRAM_USAGE);
}

/* Says what failed, and ends with status 1. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void program_fail(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    program_log_list(format, list);
    va_end(list);
    exit(PROGRAM_FAILED);
}

/* Text for a result of the library: errno's where the system refused. Static storage. */
static inline const char *program_error(int result)
{
    static char text[256];
    if (result == EHLO_ERR_SYSTEM) return strerror(errno);
    ehlo_str s = ehlo_error_text(result);
    snprintf(text, sizeof text, "%.*s", (int)s.len, s.ptr);
    return text;
}

/* 1 if argument is this option, which has no value. */
static inline int program_flag(const char *argument, const char *option)
{
    return strcmp(argument, option) == 0;
}

/* 1 if argv[*at] is this option: *value is what follows, as "--option VALUE" (*at then moves on) or as
 * "--option=VALUE". A usage error if the value is missing. */
static inline int program_option(int argc, char **argv, int *at, const char *option, const char **value)
{
    size_t len = strlen(option);
    const char *argument = argv[*at];
    if (strncmp(argument, option, len) != 0) return 0;
    if (argument[len] == '=') {
        *value = argument + len + 1;
        return 1;
    }
    if (argument[len] != '\0') return 0;
    if (*at + 1 >= argc) program_usage_error("%s: a value is missing", option);
    *at += 1;
    *value = argv[*at];
    return 1;
}

/* For an argument that is no option of the program: --help prints the help and ends with status 0; anything
 * else is a usage error. */
__attribute__((noreturn)) static inline void program_unknown_option(const char *argument)
{
    if (program_flag(argument, "--help")) {
        fputs(program.help, stdout);
        exit(PROGRAM_OK);
    }
    if (argument[0] == '-') program_usage_error("%s: unknown option", argument);
    program_usage_error("%s: unexpected argument", argument);
}

/* The number that text is; a usage error unless it is one from min to max. */
static inline unsigned long long program_parse_number(const char *option, const char *text, unsigned long long min,
                                                      unsigned long long max)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0') program_usage_error("%s: \"%s\" is not a number", option, text);
    if (errno != 0 || number < min || number > max) {
        program_usage_error("%s: %s is not between %llu and %llu", option, text, min, max);
    }
    return number;
}

/* The address that text is, as ehlo_address_parse reads it; a usage error if it is none. */
static inline ehlo_address program_parse_listen(const char *option, const char *text)
{
    ehlo_address address;
    if (ehlo_address_parse(ehlo_str_from(text), &address) != EHLO_OK) {
        program_usage_error("%s: \"%s\" is not ADDR:PORT (192.0.2.1:25, [2001:db8::1]:25, *:25)", option, text);
    }
    return address;
}

/* The domain or address literal that text is; a usage error if it is none. */
static inline ehlo_str program_parse_domain(const char *option, const char *text)
{
    ehlo_str domain = ehlo_str_from(text);
    if (ehlo_domain_parse(domain, 0, NULL, NULL, NULL) != EHLO_OK) {
        program_usage_error("%s: \"%s\" is not a domain", option, text);
    }
    return domain;
}

/* This host's name, if it is one that may be said in a reply, or else "localhost". Static storage, NUL-ended. */
static inline ehlo_str program_hostname(void)
{
    static char host[256];
    if (gethostname(host, sizeof host - 1) == 0 &&
        ehlo_domain_parse(ehlo_str_from(host), 0, NULL, NULL, NULL) == EHLO_OK) {
        return ehlo_str_from(host);
    }
    return ehlo_str_from("localhost");
}

/* The host and port that "HOST:PORT" names, where HOST is a name, an IPv4 address, or an IPv6 address in brackets; a
 * usage error if text is none. It points into text. */
static inline ehlo_host program_parse_host(const char *option, const char *text)
{
    ehlo_host host = { .port = 0 };
    ehlo_address address;
    const char *colon = strrchr(text, ':');
    if (colon == NULL) program_usage_error("%s: \"%s\" is not HOST:PORT", option, text);
    host.port = (uint16_t)program_parse_number(option, colon + 1, 1, 65535);
    host.name = ehlo_str_make(text, (size_t)(colon - text));
    int is_address = ehlo_address_parse(ehlo_str_from(text), &address) == EHLO_OK && address.family != EHLO_FAMILY_NONE;
    if (!is_address && (text[0] == '[' || ehlo_domain_parse(host.name, 0, NULL, NULL, NULL) != EHLO_OK)) {
        program_usage_error("%s: \"%.*s\" is no host", option, (int)host.name.len, text);
    }
    if (text[0] == '[') host.name = ehlo_str_make(text + 1, host.name.len - 2);
    return host;
}

/* All of standard input, in memory that is the caller's to free. */
static inline ehlo_str program_read_input(void)
{
    size_t len = 0, n, room = 65536;
    char *bytes = malloc(room);
    while (bytes != NULL && (n = fread(bytes + len, 1, room - len, stdin)) > 0) {
        len += n;
        if (len < room) continue;
        room *= 2;
        char *larger = realloc(bytes, room);
        if (larger == NULL) free(bytes);
        bytes = larger;
    }
    if (bytes == NULL) program_fail("%s", strerror(ENOMEM));
    if (ferror(stdin)) program_fail("standard input: %s", strerror(errno));
    return ehlo_str_make(bytes, len);
}

/* What became of each recipient, a line for each: "b@example.org: delivered, final, 250". */
static inline void program_print_outcomes(const ehlo_envelope *envelope)
{
    for (size_t i = 0; i < envelope->nrcpts; i++) {
        const ehlo_recipient *r = &envelope->rcpts[i];
        ehlo_str outcome = ehlo_outcome_name((ehlo_outcome)r->outcome);
        ehlo_str stage = ehlo_stage_name((ehlo_stage)r->stage);
        printf("%.*s: %.*s, %.*s, %u\n", (int)r->to.len, r->to.ptr, (int)outcome.len, outcome.ptr, (int)stage.len,
               stage.ptr, (unsigned)r->code);
    }
}

/* Writes "ADDR:PORT" to text, NUL-ended; a wildcard of both families is "*". */
static inline const char *program_address(ehlo_address address, char text[64])
{
    char host[48] = "*";
    size_t len = 1;
    if (address.family != EHLO_FAMILY_NONE) ehlo_address_write(&address, 0, host, sizeof host, &len);
    const char *form = address.family == EHLO_FAMILY_IPV6 ? "[%.*s]:%u" : "%.*s:%u";
    snprintf(text, 64, form, (int)len, host, (unsigned)address.port);
    return text;
}

/* Tells whoever started us that we listen: "ready ADDR:PORT" on standard output, at once. */
static inline void program_ready(ehlo_address address)
{
    char text[64];
    printf("ready %s\n", program_address(address, text));
    fflush(stdout);
}

static inline void program_on_signal(int number)
{
    int saved = errno;
    (void)number;
    for (int i = 0; i < program.loop_count; i++) ehlo_loop_stop(program.loops[i], program.grace_ms);
    errno = saved;
}

/* SIGTERM and SIGINT stop these loops, letting messages in flight finish for grace_ms. Also ignores SIGPIPE, and
 * SIGXFSZ: a file over a limit is an error of the write, not the end of the program.
 * The loops must live until program_ignore_signals. */
static inline void program_stop_on_signals(ehlo_loop *const *loops, size_t count, int grace_ms)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);

    if (count > PROGRAM_LOOPS_MAX) count = PROGRAM_LOOPS_MAX;
    for (size_t i = 0; i < count; i++) program.loops[i] = loops[i];
    program.grace_ms = grace_ms;
    program.loop_count = (sig_atomic_t)count;
    action.sa_handler = program_on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

/* Before the loops are freed: a late signal must not reach them. */
static inline void program_ignore_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    program.loop_count = 0;
}

/* Each connection is a descriptor: asks for as many as we may have. */
static inline void program_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

#endif
