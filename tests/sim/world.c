#include "tests/sim/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double begin_ms = 1000, dead_ms = 3000;

double random_unit(struct world *w)
{
    uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

void blame(struct world *w, uint16_t node, const char *what)
{
    if (!w->r->invalid)
        fprintf(stderr, "sim: node %u at %.1f ms: %s\n", node, w->now_ms - begin_ms, what);
    w->r->invalid = true;
}

/* Whoever's sockets filled or drained by a new share-out hears of it. */
static void blocked_tell(struct world *w)
{
    uint32_t poked = 0;

    for (uint32_t i = 0; i < w->net.changes; i++) {
        const struct sim_flow *f = &w->net.flow[w->net.changed[i]];

        if (f->blocked != f->told_blocked && w->node[f->from].alive && !w->node[f->from].poked) {
            w->node[f->from].poked = true;
            w->poked[poked++] = f->from;
        }
    }
    w->net.changes = 0;
    for (uint32_t i = 0; i < poked; i++) {
        w->node[w->poked[i]].poked = false;
        node_sync(w, w->poked[i]);
        node_pump(w, w->poked[i]);
    }
}

static void on_event(struct world *w, const struct sim_event *e)
{
    switch (e->type) {
    case SIM_MSG:
    case SIM_HAVES:
    case SIM_RECEIVED:
        node_on_message(w, e);
        break;
    case SIM_TIMER:
        node_on_timer(w, e);
        break;
    case SIM_JOIN:
        node_join(w, e->node);
        conn_dial(w, e->node);
        break;
    case SIM_DIAL_MORE:
        conn_dial_more(w, e->node);
        break;
    case SIM_VANISH:
        node_kill(w, e->node, dead_ms, true);
        break;
    case SIM_NOTICE:
        if (conn_at(w, e->node, e->to_peer)->epoch == e->epoch)
            conn_end(w, e->node, e->to_peer);
        break;
    case SIM_LEAVE:
        node_kill(w, e->node, 1, false);
        break;
    }
    if (e->type == SIM_HAVES)
        free(e->chunks);
}

static bool node_holds(const struct node *node, uint32_t c)
{
    return node->sched && chunkmap_has(sched_have(node->sched), c);
}

/* Without the sources, is every chunk still there? */
static bool spread_true(const struct world *w)
{
    for (uint32_t c = 0; c < w->o.chunks; c++) {
        uint16_t n = (uint16_t)w->o.sources;

        while (n < w->nodes && !(w->node[n].alive && node_holds(&w->node[n], c)))
            n++;
        if (n == w->nodes)
            return false;
    }
    return true;
}

/* Killed in the very moment in which it may leave, whatever is under way. */
static void source_check(struct world *w)
{
    struct sched_stat st;

    if (!w->o.source_leaves || w->leaving)
        return;
    sched_stat(w->node[0].sched, &st);
    if (st.spread < w->o.chunks)
        return;
    w->leaving = true;
    if (!spread_true(w))
        blame(w, 0, "it may leave, but a chunk is with nobody else");
    for (uint16_t n = 0; is_source(w, n); n++)
        sim_heap_push(&w->heap,
                      (struct sim_event){.at_ms = w->now_ms, .type = SIM_LEAVE, .node = n});
}

/* The next event or end of a flow, whichever comes first; false: nothing will. */
static bool step(struct world *w)
{
    uint32_t first;
    struct sim_event e;

    sim_net_share(&w->net, w->now_ms);
    for (int i = 0; w->net.changes && i < 100; i++) {
        blocked_tell(w);
        sim_net_share(&w->net, w->now_ms);
    }
    first = sim_net_first(&w->net);
    w->r->events++;
    if (first != SIM_NO_FLOW &&
        (w->heap.n == 0 || w->net.flow[first].end_ms <= w->heap.e[0].at_ms)) {
        w->now_ms = w->net.flow[first].end_ms;
        node_flow_end(w, first);
    } else {
        if (!sim_heap_pop(&w->heap, &e))
            return false;
        w->now_ms = e.at_ms;
        on_event(w, &e);
    }
    source_check(w);
    return true;
}

/* Neither slow nor wireless. */
static bool is_fast(const struct world *w, uint16_t n)
{
    return is_source(w, n) || !(w->node[n].slow || w->node[n].station);
}

static double share_bytes(const struct world *w)
{
    return (double)w->o.chunks * w->o.chunk_bytes;
}

static double fraction_ms(const struct world *w)
{
    return share_bytes(w) / (w->o.mbit * 125);
}

/* Kumar & Ross: max(F/u_s, F/d_min, N F/(u_s + sum u_i)), of all or of the fast
 * alone; and on a shared medium each station needs the air once for each byte. So does
 * a source that is a station, unless all are: then each byte takes it twice. */
static double bound_ms(const struct world *w, bool fast)
{
    double source_up = 0, up = 0, down = INFINITY, air = 0, n_in = 0;
    bool wired = false;

    for (uint16_t n = 0; n < w->nodes; n++) {
        if (w->node[n].liar || (fast && !is_fast(w, n)))
            continue;
        up += w->net.link[n].up;
        if (is_source(w, n)) {
            source_up += w->net.link[n].up;
            continue;
        }
        n_in++;
        down = fmin(down, w->net.link[n].down);
        if (w->node[n].station)
            air += 1 / w->net.air;
        else
            wired = true;
    }
    if (w->node[0].station)
        air += wired ? 1 / w->net.air : air;
    return share_bytes(w) * fmax(fmax(1 / source_up, 1 / down), fmax(n_in / up, air));
}

/* Slow peers come first, stations and liars last. */
static void links_set(struct world *w)
{
    double rate = w->o.mbit * 125;

    w->net.air = w->o.stations ? w->o.air * rate : 0;
    for (uint16_t n = 0; n < w->nodes; n++) {
        struct node *node = &w->node[n];
        struct sim_link *link = &w->net.link[n];

        node->slow = !is_source(w, n) && n < w->o.sources + w->o.slow_peers;
        node->liar = n + w->o.liars >= w->nodes;
        node->station = n + w->o.stations >= w->nodes || (w->o.source_air && is_source(w, n));
        link->station = node->station;
        link->up = rate * (is_source(w, n) ? w->o.source_factor : node->slow ? w->o.slow_up : 1);
        link->down = rate * (node->slow ? w->o.slow_down : 1);
        if (node->station)
            link->up = link->down = w->net.air;
    }
}

/* The source first; the others at once or one after another; some will vanish. */
static void events_plan(struct world *w)
{
    uint16_t vanish = (uint16_t)(w->o.vanish * w->o.peers);

    for (uint16_t n = 0; n < w->nodes; n++) {
        double at = begin_ms + w->o.join_spread * fraction_ms(w) * n / w->nodes;

        sim_heap_push(&w->heap, (struct sim_event){.at_ms = at, .type = SIM_JOIN, .node = n});
    }
    for (uint16_t i = 0; i < vanish; i++)
        sim_heap_push(&w->heap, (struct sim_event){.at_ms = begin_ms + fraction_ms(w) / 2,
                                                   .type = SIM_VANISH,
                                                   .node = (uint16_t)(w->nodes - 1 - i)});
}

/* When the last peer was done, the last fast one, and the longest that one took. */
struct finish {
    double last, fast, own;
    uint64_t duplicates;
};

static void finish_add(struct world *w, uint16_t n, struct finish *f)
{
    const struct node *node = &w->node[n];
    struct sched_stat st;

    if (!node->sched)
        return;
    sched_stat(node->sched, &st);
    f->duplicates += st.duplicate_bytes;
    if (!node->alive)
        return;
    f->last = fmax(f->last, node->done_ms);
    f->fast = fmax(f->fast, is_fast(w, n) ? node->done_ms : 0);
    f->own = fmax(f->own, node->done_ms - node->joined_ms);
}

static void result_fill(struct world *w, double bound, double fast_bound)
{
    struct sim_result *r = w->r;
    double needed = (double)(w->o.peers - w->o.liars) * w->o.chunks;
    struct finish f = {0};

    for (uint16_t n = (uint16_t)w->o.sources; n < w->nodes; n++)
        finish_add(w, n, &f);
    r->stalled = w->unfinished > 0 || f.last <= 0;
    r->seconds = fmax(f.last - begin_ms, 0) / 1000;
    r->ratio = w->o.join_spread > 0 ? f.own / fraction_ms(w) : r->seconds * 1000 / bound;
    r->fast = f.fast > 0 ? (f.fast - begin_ms) / fast_bound : 0;
    r->source_copies = w->source_bytes / share_bytes(w);
    r->duplicates = (double)f.duplicates / needed / w->o.chunk_bytes;
    for (int i = 0; i < SCHED_UPLOAD; i++) {
        r->by_type[i] = (double)w->sent[i] / needed;
        r->messages += r->by_type[i];
    }
    r->pass_full = (double)w->pass_full / needed;
}

static void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->heap.n; i++)
        if (w->heap.e[i].type == SIM_HAVES)
            free(w->heap.e[i].chunks);
    for (uint16_t n = 0; n < w->nodes; n++)
        sched_free(w->node[n].sched);
    sim_net_free(&w->net);
    free(w->heap.e);
    free(w->node);
    free(w->batch);
    free(w->poked);
    free(w);
}

static struct world *world_new(const struct sim_options *o, struct sim_result *r)
{
    struct world *w = calloc(1, sizeof(*w));

    memset(r, 0, sizeof(*r));
    if (!w || o->peers == 0 || o->sources == 0 || o->peers + o->sources > SIM_NODES_MAX ||
        o->stations > o->peers || o->liars >= o->peers)
        abort();
    w->o = *o;
    w->r = r;
    w->nodes = (uint16_t)(o->peers + o->sources);
    w->unfinished = o->peers - o->liars;
    w->random = o->seed;
    w->now_ms = begin_ms;
    w->node = calloc(w->nodes, sizeof(*w->node));
    w->poked = calloc(w->nodes, sizeof(*w->poked));
    w->batch = calloc(o->chunks, sizeof(*w->batch));
    if (!w->node || !w->poked || !w->batch || sim_net_init(&w->net, w->nodes))
        abort();
    return w;
}

int sim_run(const struct sim_options *o, struct sim_result *r)
{
    struct world *w = world_new(o, r);
    double bound, fast_bound, limit;

    links_set(w);
    bound = bound_ms(w, false);
    fast_bound = bound_ms(w, true);
    limit = begin_ms + 60000 + (10 + o->join_spread) * bound;
    events_plan(w);
    while (w->unfinished > 0 && w->now_ms < limit && !r->invalid && step(w))
        if (o->tell && r->events % 1000000 == 0)
            fprintf(stderr, "%.1f s, %u left\n", (w->now_ms - begin_ms) / 1000, w->unfinished);
    result_fill(w, bound, fast_bound);
    world_free(w);
    return r->stalled || r->invalid ? -1 : 0;
}
