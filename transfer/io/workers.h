/* workers: a small pool of threads for what may block: hashing, cold reads,
 * writes, fsync. Results come back on the loop's thread.
 *
 * Jobs of one strand run one at a time, in the order submitted; jobs with a
 * NULL strand, or of different strands, run side by side.
 */
#ifndef RONDA_WORKERS_H
#define RONDA_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/err.h"

struct event_base;
struct workers;
struct strand;

enum { WORKERS_QUEUE_MAX = 4096 }; /* jobs waiting in all */

/* run: on a worker; returns the job's result. done: on the loop, with it. */
typedef int workers_run_fn(void *arg);
typedef void workers_done_fn(void *arg, int result);

/* threads 0: one a core, at least 2, at most 8. -ENOMEM, -errno. */
int workers_new(struct event_base *base, unsigned threads, struct workers **out) RONDA_MUST_CHECK;
/* Waits for running jobs, drops waiting ones (their done is called with
 * ERR_CANCELLED), frees. Loop thread only. */
void workers_free(struct workers *w);
/* Takes no more jobs and begins none. true: none runs any more, within wait_ms; false:
 * workers_free() would wait, perhaps for a disk that never answers. Loop thread only. */
bool workers_stop(struct workers *w, uint32_t wait_ms) RONDA_MUST_CHECK;
unsigned workers_threads(const struct workers *w);

/* Loop thread only. ERR_LIMIT: the queue is full, nothing was taken. */
int workers_submit(struct workers *w, struct strand *strand, workers_run_fn *run,
                   workers_done_fn *done, void *arg) RONDA_MUST_CHECK;

int strand_new(struct workers *w, struct strand **out) RONDA_MUST_CHECK;
/* Only when none of its jobs is waiting or running. */
void strand_free(struct strand *s);

#endif
