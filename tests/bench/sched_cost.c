/* What the scheduler takes of a CPU for each chunk that a node receives: the real
 * sched of one receiver, and neighbours that do as little as they can.
 *
 *   sched-cost CHUNKS NEIGHBOURS
 *
 * All receive alike: while the node gets one chunk each neighbour gets one, in an order of
 * its own, and says so; one GRANTs, is sent a REQUEST and delivers; those that the node
 * GRANTs answer with a chunk they lack, and are sent it. So a chunk costs one download,
 * about one upload, and a HAVE to and from each neighbour. Prints JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "transfer/core/sched.h"

enum { CHUNK_BYTES = 1 << 20, STEPS_A_CHUNK_MAX = 64 };

struct neighbour {
    uint32_t *order; /* in which it gets its chunks */
    uint32_t next;   /* in it */
    uint32_t asked;  /* in world.held: it has looked at these */
    bool *has;
};

struct world {
    struct sched *s;
    struct neighbour *all;
    uint32_t chunks, neighbours;
    uint32_t *held, held_count; /* the node's, in the order they came */
    uint64_t now_ms, random, messages;
};

static void die(const char *what)
{
    fprintf(stderr, "sched-cost: %s\n", what);
    exit(1);
}

static void must(int err)
{
    if (err < 0)
        die("the scheduler says that this cannot be");
}

static void *room(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (p == NULL)
        die("out of memory");
    return p;
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" */
static uint32_t random_below(struct world *w, uint32_t n)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return (uint32_t)(((w->random * 0x2545f4914f6cdd1dULL) >> 32) * n >> 32);
}

static void neighbour_begin(struct world *w, struct neighbour *n)
{
    uint16_t peer;

    n->order = room(w->chunks, sizeof(*n->order));
    n->has = room(w->chunks, sizeof(*n->has));
    for (uint32_t c = 0; c < w->chunks; c++) {
        uint32_t other = random_below(w, c + 1);

        n->order[c] = n->order[other];
        n->order[other] = c;
    }
    must(sched_peer_add(w->s, w->now_ms, SCHED_WIRED, &peer));
    if (&w->all[peer] != n)
        die("numbers out of order");
}

static void world_begin(struct world *w, const struct sched_cfg *cfg)
{
    must(sched_new(cfg, NULL, w->now_ms, &w->s));
    w->held = room(w->chunks, sizeof(*w->held));
    w->all = room(w->neighbours, sizeof(*w->all));
    for (uint32_t i = 0; i < w->neighbours; i++)
        neighbour_begin(w, &w->all[i]);
}

static void world_end(struct world *w)
{
    for (uint32_t i = 0; i < w->neighbours; i++) {
        free(w->all[i].order);
        free(w->all[i].has);
    }
    free(w->all);
    free(w->held);
    sched_free(w->s);
}

/* The next chunk it lacks, in its order; w->chunks: it has all. */
static uint32_t neighbour_gains(struct world *w, struct neighbour *n)
{
    uint32_t chunk;

    while (n->next < w->chunks && n->has[n->order[n->next]])
        n->next++;
    if (n->next == w->chunks)
        return w->chunks;
    chunk = n->order[n->next];
    n->has[chunk] = true;
    return chunk;
}

static void neighbour_says_have(struct world *w, uint16_t peer, uint32_t chunk)
{
    w->messages++;
    must(sched_on_have(w->s, w->now_ms, peer, chunk));
}

static void neighbour_delivers(struct world *w, uint16_t peer, uint32_t chunk)
{
    if (!sched_on_data(w->s, w->now_ms, peer, chunk, CHUNK_BYTES))
        return;
    sched_on_received(w->s, w->now_ms, peer, chunk);
    sched_on_stored(w->s, w->now_ms, chunk, true);
    w->held[w->held_count++] = chunk;
}

static void neighbour_answers_grant(struct world *w, uint16_t peer)
{
    struct neighbour *n = &w->all[peer];

    while (n->asked < w->held_count && n->has[w->held[n->asked]])
        n->asked++;
    if (n->asked < w->held_count)
        must(sched_on_request(w->s, w->now_ms, peer, w->held[n->asked++]));
    else
        must(sched_on_pass(w->s, w->now_ms, peer, SCHED_PASS_NOTHING));
}

static void upload(struct world *w, uint16_t peer, uint32_t chunk)
{
    sched_on_sent(w->s, w->now_ms, peer, chunk, CHUNK_BYTES, true);
    if (!w->all[peer].has[chunk])
        neighbour_says_have(w, peer, chunk);
    w->all[peer].has[chunk] = true;
}

static void act(struct world *w, const struct sched_act *a)
{
    w->messages++;
    if (a->type == SCHED_SEND_REQUEST)
        neighbour_delivers(w, a->peer, a->chunk);
    else if (a->type == SCHED_SEND_GRANT)
        neighbour_answers_grant(w, a->peer);
    else if (a->type == SCHED_UPLOAD)
        upload(w, a->peer, a->chunk);
}

static void pump(struct world *w)
{
    struct sched_act a;

    while (sched_next(w->s, w->now_ms, &a))
        act(w, &a);
}

static double cpu_now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* A millisecond in which everybody may get one chunk -> the CPU seconds it took; which chunks the
 * neighbours get is not in them. */
static double step(struct world *w)
{
    uint16_t granter = (uint16_t)random_below(w, w->neighbours);
    uint32_t gained[SCHED_PEERS_MAX];
    double started;

    for (uint32_t peer = 0; peer < w->neighbours; peer++)
        gained[peer] = neighbour_gains(w, &w->all[peer]);
    started = cpu_now_s();
    w->now_ms++;
    for (uint16_t peer = 0; peer < w->neighbours; peer++)
        if (gained[peer] < w->chunks)
            neighbour_says_have(w, peer, gained[peer]);
    must(sched_on_grant(w->s, w->now_ms, granter));
    pump(w);
    return cpu_now_s() - started;
}

int main(int argc, char **argv)
{
    struct world w = {.now_ms = 1000, .random = 1};
    struct sched_cfg cfg = {.chunk_bytes = CHUNK_BYTES, .salt = 1};
    double seconds = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: sched-cost CHUNKS NEIGHBOURS\n");
        return 2;
    }
    cfg.chunks = w.chunks = (uint32_t)strtoul(argv[1], NULL, 10);
    w.neighbours = (uint32_t)strtoul(argv[2], NULL, 10);
    if (w.chunks == 0 || w.neighbours == 0 || w.neighbours > SCHED_PEERS_MAX)
        die("there is no such swarm");
    cfg.max_peers = (uint16_t)w.neighbours;
    world_begin(&w, &cfg);
    for (uint64_t i = 0; w.held_count < w.chunks; i++) {
        if (i >= (uint64_t)w.chunks * STEPS_A_CHUNK_MAX)
            die("it does not come to an end");
        seconds += step(&w);
    }
    printf("{\"chunks\": %" PRIu32 ", \"neighbours\": %" PRIu32 ", \"ns_a_chunk\": %.0f, "
           "\"messages_a_chunk\": %.1f, \"memory_bytes\": %zu}\n",
           w.chunks, w.neighbours, seconds * 1e9 / w.chunks, (double)w.messages / w.chunks,
           sched_memory_bytes(&cfg));
    world_end(&w);
    return 0;
}
