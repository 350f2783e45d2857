#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LARGE = 1000000, BAR_WIDTH = 30 };

static struct {
    uint64_t total; /* 0: none is shown */
    uint64_t started_ms;
    int drawn; /* columns */
} progress;

void progress_start(uint64_t now_ms, uint64_t total, uint64_t message)
{
    if (message < LARGE || !isatty(STDERR_FILENO)) return;
    progress.total = total;
    progress.started_ms = now_ms;
}

/* Columns of the terminal: what is longer would wrap, and could not be drawn over. */
static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* "1:02:03" or "2:03" */
static void write_time(char text[32], uint64_t seconds)
{
    unsigned long long hours = seconds / 3600;
    unsigned minutes = (unsigned)(seconds / 60 % 60), rest = (unsigned)(seconds % 60);
    if (hours > 0) {
        snprintf(text, 32, "%llu:%02u:%02u", hours, minutes, rest);
    } else {
        snprintf(text, 32, "%u:%02u", minutes, rest);
    }
}

void progress_show(uint64_t now_ms, uint64_t sent)
{
    char bar[BAR_WIDTH + 1], left[32] = "-:--";
    if (progress.total == 0) return;
    if (sent > progress.total) sent = progress.total;
    double share = (double)sent / (double)progress.total;
    double seconds = (double)(now_ms - progress.started_ms) / 1000;
    double rate = seconds > 0 ? (double)sent / seconds : 0;
    for (int i = 0; i < BAR_WIDTH; i++) bar[i] = i < (int)(share * BAR_WIDTH) ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    if (rate >= 1) write_time(left, (uint64_t)((double)(progress.total - sent) / rate));
    char line[128];
    int most = columns() - 1;
    int width =
        snprintf(line, sizeof line, "[%s] %3d%%  %.1f MB/s  %s left", bar, (int)(share * 100), rate / 1e6, left);
    if (width > most) width = snprintf(line, sizeof line, "%3d%%  %.1f MB/s", (int)(share * 100), rate / 1e6);
    if (width > most) width = most;
    fprintf(stderr, "\r%.*s", width, line);
    /* What was longer before is overwritten. */
    fprintf(stderr, "%*s", progress.drawn > width ? progress.drawn - width : 0, "");
    if (width > progress.drawn) progress.drawn = width;
    fflush(stderr);
}

void progress_clear(void)
{
    if (progress.drawn == 0) return;
    fprintf(stderr, "\r%*s\r", progress.drawn, "");
    fflush(stderr);
    progress.drawn = 0;
}
