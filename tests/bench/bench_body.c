/* bench_body - what the body codec costs: gigabytes (1e9 octets) a second, and as a ratio to memcpy of the
 * same text in the same run. Usage: bench_body [megabytes out of cache, default 256]
 *
 * In each of nine rounds memcpy and every engine take turns, so that they see the same weather. The medians of
 * the rates and of the ratios are printed. */
#include <ehlo/body.h>

#include "scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 9, ENGINES_MAX = 8, LINE = 80, IN_CACHE = 128 * 1024, OFFSET = 2112 };

static char *copy_target;
static volatile size_t sunk;

static double seconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

typedef size_t work(const ehlo_codec *codec, const char *text, size_t len);

static size_t copy(const ehlo_codec *codec, const char *text, size_t len)
{
    (void)codec;
    memcpy(copy_target, text, len);
    return (unsigned char)copy_target[len / 2];
}

static size_t decode(const ehlo_codec *codec, const char *text, size_t len)
{
    ehlo_decoder decoder;
    ehlo_str slice;
    size_t used, octets = 0;
    ehlo_decoder_init(&decoder);
    while (ehlo_decode(&decoder, codec, text, len, &used, &slice) == EHLO_BODY_SLICE) {
        octets += slice.len;
        text += used;
        len -= used;
    }
    return octets;
}

static size_t encode(const ehlo_codec *codec, const char *text, size_t len)
{
    ehlo_encoder encoder;
    ehlo_str slice;
    size_t used, octets = 0;
    ehlo_encoder_init(&encoder);
    while (ehlo_encode(&encoder, codec, text, len, 1, &used, &slice) == EHLO_BODY_SLICE) {
        octets += slice.len;
        text += used;
        len -= used;
    }
    return octets;
}

/* Lines of 80 octets, CRLF among them, some dots inside; leading_dots: each starts with a dot as well. */
static void write_text(char *text, size_t len, int leading_dots, const char *line_end)
{
    for (size_t i = 0; i < len; i++) {
        size_t column = i % LINE;
        text[i] = (char)(column % 13 == 12 ? ' ' : column == 40 ? '.' : 'a' + (int)(i * 7 % 26));
        if (column >= LINE - 2) text[i] = line_end[column - (LINE - 2)];
        if (column == 0 && leading_dots) text[i] = '.';
    }
}

static double rate(work *run, const ehlo_codec *codec, const char *text, size_t len, size_t repeats)
{
    double start = seconds();
    for (size_t i = 0; i < repeats; i++) sunk += run(codec, text, len);
    return (double)len * (double)repeats / (seconds() - start) / 1e9;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare_doubles);
    return values[ROUNDS / 2];
}

/* One line of the table: memcpy and every engine over the same text. */
static void measure(const char *title, work *run, uint32_t line_max, const char *text, size_t len, size_t total)
{
    double copies[ROUNDS], rates[ENGINES_MAX][ROUNDS], ratios[ENGINES_MAX][ROUNDS];
    size_t repeats = total / len > 0 ? total / len : 1;
    ehlo_codec codec;
    ehlo_codec_init(&codec, EHLO_BARE_DEFAULT, EHLO_BARE_DEFAULT, line_max);
    for (int round = 0; round < ROUNDS; round++) {
        copies[round] = rate(copy, &codec, text, len, repeats);
        for (size_t i = 0; i < ENGINES_MAX && (codec.scan = ehlo_scan_engine(i)) != NULL; i++) {
            rates[i][round] = rate(run, &codec, text, len, repeats);
            ratios[i][round] = rates[i][round] / copies[round];
        }
    }
    printf("%-44s memcpy %6.2f", title, median(copies));
    for (size_t i = 0; i < ENGINES_MAX && ehlo_scan_engine(i) != NULL; i++) {
        printf("   %s %6.2f = %4.2f", ehlo_scan_engine(i)->name, median(rates[i]), median(ratios[i]));
    }
    puts("");
}

static void measure_texts(const char *where, char *text, size_t len, size_t total)
{
    printf("%s: GB/s, and as a part of memcpy\n", where);
    write_text(text, len, 0, "\r\n");
    measure("  decode, 80-column text", decode, 0, text, len, total);
    measure("  decode, the same with a line limit of 998", decode, 998, text, len, total);
    measure("  encode, 80-column text", encode, 0, text, len, total);
    write_text(text, len, 1, "\r\n");
    measure("  decode, every line dot-stuffed", decode, 0, text, len, total);
    measure("  encode, every line starts with a dot", encode, 0, text, len, total);
    write_text(text, len, 0, "x\n");
    measure("  encode, lines end in LF", encode, 0, text, len, total);
}

int main(int argc, char **argv)
{
    size_t len = (argc > 1 ? strtoul(argv[1], NULL, 10) : 256) * 1000000 / LINE * LINE;
    char *text = len > 0 ? malloc(len) : NULL;
    char *target = len > 0 ? malloc(len + OFFSET) : NULL;
    if (text == NULL || target == NULL) {
        fputs("bench_body: give a number of megabytes for which there is memory\n", stderr);
        return 1;
    }
    copy_target = target + OFFSET; /* loads and stores at the same place of a page hold each other up */
    memset(target, 1, len + OFFSET);
    measure_texts("in cache", text, len < IN_CACHE ? len : IN_CACHE / LINE * LINE, len / 4);
    measure_texts("out of cache", text, len, len);
    free(text);
    free(target);
    return 0;
}
