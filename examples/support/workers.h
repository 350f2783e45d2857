/* workers.h - a few threads for work that takes long, as the disk does, so that the loop never waits for it. */
#ifndef WORKERS_H
#define WORKERS_H

#include <stddef.h>

struct workers;

/* One piece of work: the first member of what it works on. It belongs to the workers until run was called. */
struct job {
    void (*run)(struct job *job);
    struct job *next;
};

/* queue_max: jobs that may wait. 0, or an errno. */
int workers_start(struct workers **w, size_t threads, size_t queue_max);
/* From any thread. 0, or EAGAIN if too many wait: the job is still the caller's. */
int workers_submit(struct workers *w, struct job *job);
/* Does what is waiting, then ends the threads. */
void workers_finish(struct workers *w);

#endif
