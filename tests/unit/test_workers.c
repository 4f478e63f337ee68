/* The worker pool: results on the loop, order inside a strand, side by side
 * outside one, ceilings, and an orderly end. */
#include <criterion/criterion.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "transfer/io/workers.h"

enum { ORDER_JOBS = 500, GATE_WAITERS = 2 };

struct fixture {
    struct event_base *base;
    struct workers *workers;
    pthread_t loop_thread;
    int done_count;
    int cancelled;
    int wrong_thread;
    int order[ORDER_JOBS];
    int ordered;
};

/* A door that opens once enough threads stand before it: no sleep needed. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int inside;
    int wanted;
    bool open;
};

struct task {
    struct fixture *f;
    int number;
    struct gate *gate;
    atomic_int *running;
    atomic_int *overlaps;
};

static void fixture_begin(struct fixture *f, unsigned threads)
{
    memset(f, 0, sizeof(*f));
    f->loop_thread = pthread_self();
    f->base = event_base_new();
    cr_assert_not_null(f->base);
    cr_assert_eq(workers_new(f->base, threads, &f->workers), 0);
}

static void fixture_end(struct fixture *f)
{
    workers_free(f->workers);
    event_base_free(f->base);
}

static void loop_until(struct fixture *f, int done_count)
{
    while (f->done_count < done_count)
        cr_assert_eq(event_base_loop(f->base, EVLOOP_ONCE), 0);
}

static void on_done(void *arg, int result)
{
    struct task *t = arg;
    struct fixture *f = t->f;

    f->done_count++;
    if (result == ERR_CANCELLED)
        f->cancelled++;
    if (!pthread_equal(pthread_self(), f->loop_thread))
        f->wrong_thread++;
    if (f->ordered < ORDER_JOBS)
        f->order[f->ordered++] = t->number;
}

static int run_number(void *arg)
{
    return ((struct task *)arg)->number;
}

static int run_alone(void *arg)
{
    struct task *t = arg;

    if (atomic_fetch_add(t->running, 1) != 0)
        atomic_fetch_add(t->overlaps, 1);
    atomic_fetch_sub(t->running, 1);
    return 0;
}

/* Returns once gate->wanted jobs are inside at the same time, or it is opened. */
static int run_gate(void *arg)
{
    struct gate *g = ((struct task *)arg)->gate;

    pthread_mutex_lock(&g->lock);
    if (++g->inside >= g->wanted)
        g->open = true;
    pthread_cond_broadcast(&g->wake);
    while (!g->open)
        pthread_cond_wait(&g->wake, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return 0;
}

static void gate_init(struct gate *g, int wanted)
{
    memset(g, 0, sizeof(*g));
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, NULL);
    g->wanted = wanted;
}

static void gate_wait_inside(struct gate *g, int inside)
{
    pthread_mutex_lock(&g->lock);
    while (g->inside < inside)
        pthread_cond_wait(&g->wake, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

Test(workers, result_comes_back_on_the_loop)
{
    struct fixture f;
    struct task t = {.f = &f, .number = 42};

    fixture_begin(&f, 2);
    cr_assert_eq(workers_threads(f.workers), 2);
    cr_assert_eq(workers_submit(f.workers, NULL, run_number, on_done, &t), 0);
    loop_until(&f, 1);
    cr_assert_eq(f.wrong_thread, 0);
    cr_assert_eq(f.order[0], 42);
    fixture_end(&f);
}

Test(workers, zero_threads_means_two_to_eight)
{
    struct fixture f;

    fixture_begin(&f, 0);
    cr_assert_geq(workers_threads(f.workers), 2);
    cr_assert_leq(workers_threads(f.workers), 8);
    fixture_end(&f);
}

Test(workers, strand_keeps_order_and_never_overlaps)
{
    static struct task t[ORDER_JOBS];
    struct fixture f;
    struct strand *s;
    atomic_int running = 0, overlaps = 0;

    fixture_begin(&f, 4);
    cr_assert_eq(strand_new(f.workers, &s), 0);
    for (int i = 0; i < ORDER_JOBS; i++) {
        t[i] = (struct task){.f = &f, .number = i, .running = &running, .overlaps = &overlaps};
        cr_assert_eq(workers_submit(f.workers, s, run_alone, on_done, &t[i]), 0);
    }
    loop_until(&f, ORDER_JOBS);
    cr_assert_eq(atomic_load(&overlaps), 0);
    for (int i = 0; i < ORDER_JOBS; i++)
        cr_assert_eq(f.order[i], i);
    strand_free(s);
    fixture_end(&f);
}

Test(workers, without_a_strand_jobs_run_side_by_side, .timeout = 20)
{
    struct fixture f;
    struct gate g;
    struct task t = {.f = &f, .gate = &g};

    gate_init(&g, GATE_WAITERS);
    fixture_begin(&f, GATE_WAITERS);
    for (int i = 0; i < GATE_WAITERS; i++)
        cr_assert_eq(workers_submit(f.workers, NULL, run_gate, on_done, &t), 0);
    loop_until(&f, GATE_WAITERS);
    fixture_end(&f);
}

Test(workers, different_strands_run_side_by_side, .timeout = 20)
{
    struct fixture f;
    struct gate g;
    struct task t = {.f = &f, .gate = &g};
    struct strand *s[GATE_WAITERS];

    gate_init(&g, GATE_WAITERS);
    fixture_begin(&f, GATE_WAITERS);
    for (int i = 0; i < GATE_WAITERS; i++) {
        cr_assert_eq(strand_new(f.workers, &s[i]), 0);
        cr_assert_eq(workers_submit(f.workers, s[i], run_gate, on_done, &t), 0);
    }
    loop_until(&f, GATE_WAITERS);
    for (int i = 0; i < GATE_WAITERS; i++)
        strand_free(s[i]);
    fixture_end(&f);
}

Test(workers, queue_has_a_ceiling, .timeout = 20)
{
    struct fixture f;
    struct gate g;
    struct task door = {.f = &f, .gate = &g};
    struct task t = {.f = &f};

    gate_init(&g, 99);
    fixture_begin(&f, 1);
    cr_assert_eq(workers_submit(f.workers, NULL, run_gate, on_done, &door), 0);
    gate_wait_inside(&g, 1);
    for (int i = 0; i < WORKERS_QUEUE_MAX; i++)
        cr_assert_eq(workers_submit(f.workers, NULL, run_number, on_done, &t), 0);
    cr_assert_eq(workers_submit(f.workers, NULL, run_number, on_done, &t), ERR_LIMIT);
    gate_open(&g);
    loop_until(&f, WORKERS_QUEUE_MAX + 1);
    cr_assert_eq(workers_submit(f.workers, NULL, run_number, on_done, &t), 0);
    loop_until(&f, WORKERS_QUEUE_MAX + 2);
    fixture_end(&f);
}

static void *open_later(void *arg)
{
    gate_open(arg);
    return NULL;
}

Test(workers, free_finishes_the_running_and_cancels_the_waiting, .timeout = 20)
{
    struct fixture f;
    struct gate g;
    struct task door = {.f = &f, .gate = &g, .number = 0};
    struct task t[4];
    struct strand *s;
    pthread_t opener;

    gate_init(&g, 99);
    fixture_begin(&f, 1);
    cr_assert_eq(strand_new(f.workers, &s), 0);
    cr_assert_eq(workers_submit(f.workers, s, run_gate, on_done, &door), 0);
    gate_wait_inside(&g, 1);
    for (int i = 0; i < 4; i++) {
        t[i] = (struct task){.f = &f, .number = i + 1};
        cr_assert_eq(workers_submit(f.workers, i < 3 ? s : NULL, run_number, on_done, &t[i]), 0);
    }
    cr_assert_eq(pthread_create(&opener, NULL, open_later, &g), 0);
    workers_free(f.workers);
    pthread_join(opener, NULL);
    /* The free may come before or after the gate opens, so a worker may take
     * some of the others first; each is told exactly once. */
    cr_assert_eq(f.done_count, 5);
    cr_assert_eq(f.wrong_thread, 0);
    strand_free(s);
    event_base_free(f.base);
}

struct chain {
    struct fixture *f;
    struct strand *strand;
    int left;
};

static int chain_run(void *arg)
{
    (void)arg;
    return 0;
}

static void chain_done(void *arg, int result)
{
    struct chain *c = arg;

    cr_assert_eq(result, 0);
    c->f->done_count++;
    if (c->left-- > 0)
        cr_assert_eq(workers_submit(c->f->workers, c->strand, chain_run, chain_done, c), 0);
    else
        strand_free(c->strand);
}

Test(workers, done_may_submit_again_and_free_its_strand)
{
    struct fixture f;
    struct chain c = {.f = &f, .left = 100};

    fixture_begin(&f, 2);
    cr_assert_eq(strand_new(f.workers, &c.strand), 0);
    cr_assert_eq(workers_submit(f.workers, c.strand, chain_run, chain_done, &c), 0);
    loop_until(&f, 101);
    fixture_end(&f);
}

Test(workers, free_of_nothing)
{
    workers_free(NULL);
    strand_free(NULL);
}

/* --- the end, with a disk that does not answer ------------------------------- */

static pthread_mutex_t silent_disk = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool asked_disk;

static int run_silent(void *arg)
{
    (void)arg;
    asked_disk = true;
    pthread_mutex_lock(&silent_disk);
    pthread_mutex_unlock(&silent_disk);
    return 0;
}

Test(workers, the_end_is_not_put_off_by_a_job_that_does_not_return)
{
    struct event_base *base = event_base_new();
    struct workers *w;

    cr_assert_eq(workers_new(base, 2, &w), 0);
    pthread_mutex_lock(&silent_disk);
    cr_assert_eq(workers_submit(w, NULL, run_silent, NULL, NULL), 0);
    while (!asked_disk)
        sched_yield();
    cr_assert_not(workers_stop(w, 1), "a job runs");
    cr_assert_eq(workers_submit(w, NULL, run_silent, NULL, NULL), ERR_CANCELLED);
    pthread_mutex_unlock(&silent_disk);
    cr_assert(workers_stop(w, 60000));
    workers_free(w);
    event_base_free(base);
}
