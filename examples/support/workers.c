#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *first;
    struct job **end; /* where the next job goes */
    size_t waiting;
    size_t queue_max;
    int finishing;
    size_t thread_count;
    pthread_t threads[];
};

/* The next job; NULL when there will be no more. */
static struct job *take(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->first == NULL && !w->finishing) pthread_cond_wait(&w->work, &w->lock);
    struct job *job = w->first;
    if (job != NULL) {
        w->first = job->next;
        if (w->first == NULL) w->end = &w->first;
        w->waiting--;
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void *work(void *arg)
{
    for (struct job *job = take(arg); job != NULL; job = take(arg)) job->run(job);
    return NULL;
}

/* Signals are for the loop's thread: new threads inherit a mask that blocks them. */
static int start_threads(struct workers *w, size_t threads)
{
    sigset_t all;
    sigset_t before;
    int error = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    while (w->thread_count < threads && error == 0) {
        error = pthread_create(&w->threads[w->thread_count], NULL, work, w);
        if (error == 0) w->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int workers_start(struct workers **out, size_t threads, size_t queue_max)
{
    struct workers *w = calloc(1, sizeof *w + threads * sizeof w->threads[0]);
    if (w == NULL) return ENOMEM;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    w->end = &w->first;
    w->queue_max = queue_max;
    int error = start_threads(w, threads);
    if (error != 0) {
        workers_finish(w);
        return error;
    }
    *out = w;
    return 0;
}

int workers_submit(struct workers *w, struct job *job)
{
    int error = 0;
    job->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->waiting < w->queue_max) {
        *w->end = job;
        w->end = &job->next;
        w->waiting++;
        pthread_cond_signal(&w->work);
    } else {
        error = EAGAIN;
    }
    pthread_mutex_unlock(&w->lock);
    return error;
}

void workers_finish(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->finishing = 1;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (size_t i = 0; i < w->thread_count; i++) pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
