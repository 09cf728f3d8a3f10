#include "base/printable.h"
#include "cmd/cmd.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR_WIDTH = 40 };

static double seconds_since(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) + (double)(now.tv_nsec - t->tv_nsec) / 1e9;
}

void progress_end(struct command_line *l)
{
    if (l->bar.shown)
        fprintf(stderr, "\r\033[K");
    l->bar.shown = 0;
}

static void show_progress(struct command_line *l, const struct encrypt_event *e)
{
    if (e->done <= 1 || !l->bar.began.tv_sec) {
        clock_gettime(CLOCK_MONOTONIC, &l->bar.began);
        l->bar.next = 0;
    }
    double took = seconds_since(&l->bar.began);
    double rate = took > 0.05 ? (double)e->done / took : 0;
    size_t total = e->total > e->done ? e->total : e->done;
    if (isatty(STDERR_FILENO)) {
        char cells[BAR_WIDTH + 1];
        size_t full = total ? e->done * BAR_WIDTH / total : 0;
        memset(cells, '#', full);
        memset(cells + full, '.', BAR_WIDTH - full);
        cells[BAR_WIDTH] = '\0';
        fprintf(stderr, "\r\033[K[%s] [%s] %zu of %zu, %.0f/s", e->step, cells, e->done, total,
                rate);
        l->bar.shown = 1;
    } else if (e->done >= l->bar.next) {
        /* A line now and then: each tenth, but none below a thousand. */
        size_t step = total / 10 > 1000 ? total / 10 : 1000;
        if (l->bar.next)
            fprintf(stderr, "[%s] %zu of %zu, %.0f/s\n", e->step, e->done, total, rate);
        l->bar.next = e->done + step;
    }
}

void progress_event(void *ctx, const struct encrypt_event *e)
{
    struct command_line *l = ctx;
    if ((e->kind == ENCRYPT_DEBUG && !l->debug) ||
        (l->quiet && e->kind != ENCRYPT_WARNING && e->kind != ENCRYPT_STEP))
        return;
    if (e->kind == ENCRYPT_PROGRESS) {
        show_progress(l, e);
        return;
    }
    if (l->quiet && e->kind == ENCRYPT_STEP)
        return;
    progress_end(l);
    char *node CLEANUP(cleanup_mem) = make_printable(e->node);
    char *text CLEANUP(cleanup_mem) = in_words(l, e->text);
    if (e->step)
        fprintf(stderr, "[%s] ", e->step);
    if (node)
        fprintf(stderr, "%s: ", node);
    fprintf(stderr, "%s%s\n", e->kind == ENCRYPT_WARNING ? "warning: " : "", text ? text : "");
}
