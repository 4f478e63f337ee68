/* See workers.h. One mutex guards every list; a strand has at most one job on
 * the ready list or running, its others wait on the strand itself. */
#include "transfer/io/workers.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_THREADS_MIN = 2, WORKERS_THREADS_MAX = 8, WORKERS_THREADS_LIMIT = 64 };

struct job {
    struct job *next;
    struct strand *strand;
    workers_run_fn *run;
    workers_done_fn *done;
    void *arg;
    int result;
};

struct job_list {
    struct job *head, *tail;
};

struct strand {
    struct workers *workers;
    struct job_list waiting;
    bool busy; /* one of its jobs is ready or running */
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job_list ready;
    struct job_list finished;
    uint32_t waiting; /* jobs on ready and on all strands */
    uint32_t running;
    pthread_cond_t idle; /* none runs */
    bool stop;
    int event_fd;
    struct event *event;
    unsigned threads;
    pthread_t thread[];
};

static void list_push(struct job_list *l, struct job *j)
{
    j->next = NULL;
    if (l->tail)
        l->tail->next = j;
    else
        l->head = j;
    l->tail = j;
}

static struct job *list_pop(struct job_list *l)
{
    struct job *j = l->head;

    if (!j)
        return NULL;
    l->head = j->next;
    if (!l->head)
        l->tail = NULL;
    return j;
}

static void event_fd_raise(int fd)
{
    uint64_t one = 1;
    ssize_t n;

    do
        n = write(fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
}

/* The strand moves on before the result is posted: once done is called, the
 * strand may be freed. Lock held. */
static void job_finish(struct workers *w, struct job *j)
{
    struct strand *s = j->strand;
    bool first = !w->finished.head;

    if (s) {
        struct job *next = list_pop(&s->waiting);

        if (next) {
            list_push(&w->ready, next);
            pthread_cond_signal(&w->wake);
        } else {
            s->busy = false;
        }
    }
    list_push(&w->finished, j);
    if (first)
        event_fd_raise(w->event_fd);
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct job *j;

        while (!w->stop && !w->ready.head)
            pthread_cond_wait(&w->wake, &w->lock);
        if (w->stop)
            break;
        j = list_pop(&w->ready);
        w->waiting--;
        w->running++;
        pthread_mutex_unlock(&w->lock);
        j->result = j->run(j->arg);
        pthread_mutex_lock(&w->lock);
        if (--w->running == 0)
            pthread_cond_signal(&w->idle);
        job_finish(w, j);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Takes the jobs one by one: a done callback may submit more. */
static void jobs_deliver(struct job_list *l)
{
    struct job *j;

    while ((j = list_pop(l)) != NULL) {
        workers_done_fn *done = j->done;
        void *arg = j->arg;
        int result = j->result;

        free(j);
        if (done)
            done(arg, result);
    }
}

static void workers_on_event(evutil_socket_t fd, short what, void *arg)
{
    struct workers *w = arg;
    struct job_list finished;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN && errno != EINTR)
        return;
    pthread_mutex_lock(&w->lock);
    finished = w->finished;
    w->finished = (struct job_list){NULL, NULL};
    pthread_mutex_unlock(&w->lock);
    jobs_deliver(&finished);
}

bool workers_stop(struct workers *w, uint32_t wait_ms)
{
    struct timespec until;
    int err = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    while (w->running > 0 && err == 0)
        err = pthread_cond_clockwait(&w->idle, &w->lock, CLOCK_MONOTONIC, &until);
    bool idle = w->running == 0;
    pthread_mutex_unlock(&w->lock);
    return idle;
}

static void workers_join(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->threads; i++)
        pthread_join(w->thread[i], NULL);
}

/* Workers take no signal: the loop's thread handles them all. */
static int threads_start(struct workers *w, unsigned threads)
{
    sigset_t all, old;
    int err = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (w->threads < threads && !err) {
        err = pthread_create(&w->thread[w->threads], NULL, worker_main, w);
        if (!err)
            pthread_setname_np(w->thread[w->threads++], "ronda-worker");
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -err;
}

static unsigned threads_default(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (cores < WORKERS_THREADS_MIN)
        return WORKERS_THREADS_MIN;
    return cores > WORKERS_THREADS_MAX ? WORKERS_THREADS_MAX : (unsigned)cores;
}

int workers_new(struct event_base *base, unsigned threads, struct workers **out)
{
    struct workers *w;
    int err;

    *out = NULL;
    if (threads == 0)
        threads = threads_default();
    if (threads > WORKERS_THREADS_LIMIT)
        return -EINVAL;
    w = calloc(1, sizeof(*w) + threads * sizeof(w->thread[0]));
    if (!w)
        return -ENOMEM;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    pthread_cond_init(&w->idle, NULL);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0) {
        err = -errno;
        goto fail;
    }
    err = -ENOMEM;
    w->event = event_new(base, w->event_fd, EV_READ | EV_PERSIST, workers_on_event, w);
    if (!w->event || event_add(w->event, NULL) < 0)
        goto fail;
    err = threads_start(w, threads);
    if (err)
        goto fail;
    *out = w;
    return 0;
fail:
    workers_free(w);
    return err;
}

/* All that will never run, strand by strand in the order of submission. */
static void jobs_cancel(struct workers *w, struct job_list *out)
{
    struct job *j;

    while ((j = list_pop(&w->ready)) != NULL) {
        struct strand *s = j->strand;

        j->result = ERR_CANCELLED;
        list_push(out, j);
        if (!s)
            continue;
        s->busy = false;
        while ((j = list_pop(&s->waiting)) != NULL) {
            j->result = ERR_CANCELLED;
            list_push(out, j);
        }
    }
    w->waiting = 0;
}

void workers_free(struct workers *w)
{
    struct job_list left;

    if (!w)
        return;
    workers_join(w);
    left = w->finished;
    w->finished = (struct job_list){NULL, NULL};
    jobs_cancel(w, &left);
    jobs_deliver(&left);
    if (w->event)
        event_free(w->event);
    if (w->event_fd >= 0)
        close(w->event_fd);
    pthread_cond_destroy(&w->wake);
    pthread_cond_destroy(&w->idle);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

unsigned workers_threads(const struct workers *w)
{
    return w->threads;
}

static int job_queue(struct workers *w, struct job *j)
{
    if (w->stop)
        return ERR_CANCELLED;
    if (w->waiting >= WORKERS_QUEUE_MAX)
        return ERR_LIMIT;
    w->waiting++;
    if (j->strand && j->strand->busy) {
        list_push(&j->strand->waiting, j);
        return 0;
    }
    if (j->strand)
        j->strand->busy = true;
    list_push(&w->ready, j);
    pthread_cond_signal(&w->wake);
    return 0;
}

int workers_submit(struct workers *w, struct strand *strand, workers_run_fn *run,
                   workers_done_fn *done, void *arg)
{
    struct job *j = calloc(1, sizeof(*j));
    int err;

    if (!j)
        return -ENOMEM;
    j->strand = strand;
    j->run = run;
    j->done = done;
    j->arg = arg;
    pthread_mutex_lock(&w->lock);
    err = job_queue(w, j);
    pthread_mutex_unlock(&w->lock);
    if (err)
        free(j);
    return err;
}

int strand_new(struct workers *w, struct strand **out)
{
    struct strand *s = calloc(1, sizeof(*s));

    *out = s;
    if (!s)
        return -ENOMEM;
    s->workers = w;
    return 0;
}

void strand_free(struct strand *s)
{
    assert(!s || (!s->busy && !s->waiting.head));
    free(s);
}
