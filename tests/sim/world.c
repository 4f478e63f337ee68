#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { NONE = UINT16_MAX };

static const double begin_ms = 1000, dead_ms = 3000;

struct node {
    struct sched *sched; /* NULL: not joined */
    bool alive;
    bool slow;
    double joined_ms, done_ms; /* done_ms 0: not yet */
    double timer_ms;           /* of the pending SIM_TIMER; 0: none */
    uint16_t node_of[SCHED_PEERS_MAX];
    uint16_t degree;
    uint32_t events;
};

struct conn { /* one direction of a connection */
    bool up;
    uint16_t peer; /* the other end's number in our sched */
    uint32_t epoch;
    double fifo_ms; /* nothing arrives before what was sent earlier */
};

struct world {
    struct sim_options o;
    struct sim_result *r;
    struct sim_heap heap;
    struct sim_net net;
    struct node node[SIM_NODES_MAX];
    struct conn *conn; /* [from][to] */
    uint16_t nodes;
    uint16_t poked[SIM_NODES_MAX];
    double now_ms;
    uint64_t random;
    uint64_t sent[SCHED_UPLOAD]; /* control messages */
    uint64_t pass_full;
    double source_bytes;
    uint32_t unfinished;
    bool leaving;
};

static double random_unit(struct world *w)
{
    uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static struct conn *conn_at(struct world *w, uint16_t from, uint16_t to)
{
    return &w->conn[(size_t)from * w->nodes + to];
}

static uint64_t clock_ms(const struct world *w)
{
    return (uint64_t)(w->now_ms + 1e-6);
}

/* The first nodes are the origins. */
static bool is_source(const struct world *w, uint16_t n)
{
    return n < w->o.sources;
}

static void blame(struct world *w, uint16_t node, const char *what)
{
    if (!w->r->invalid)
        fprintf(stderr, "sim: node %u at %.1f ms: %s\n", node, w->now_ms - begin_ms, what);
    w->r->invalid = true;
}

/* What waits before e on its way out: the interface's queue, and the chunk that
 * is half handed to the same socket. */
static double queue_wait_ms(struct world *w, const struct sim_event *e)
{
    const struct sim_link *link = &w->net.link[e->from];
    double ms = link->out_n ? w->o.queue_ms * (0.5 + 0.5 * random_unit(w)) : 0;

    for (uint16_t i = 0; e->type == SIM_MSG && w->o.queue_kib && i < link->out_n; i++) {
        struct sim_flow *f = &w->net.flow[link->out[i]];
        double rate = fmax(f->rate, link->up / link->out_n);

        if (f->to != e->node || rate <= 0)
            continue;
        sim_flow_advance(f, w->now_ms);
        ms += fmin(f->left, w->o.queue_kib * 1024.0) / rate;
    }
    return ms;
}

/* Control and data share a connection: both arrive in order. */
static void post(struct world *w, struct sim_event e)
{
    struct conn *c = conn_at(w, e.from, e.node);
    double range = w->o.latency_max_ms - w->o.latency_min_ms;

    e.at_ms = w->now_ms + w->o.latency_min_ms + range * random_unit(w) + queue_wait_ms(w, &e);
    if (e.at_ms < c->fifo_ms)
        e.at_ms = c->fifo_ms;
    c->fifo_ms = e.at_ms;
    e.epoch = c->epoch;
    sim_heap_push(&w->heap, e);
}

/* Tells a sched what its links did since the last time. */
static void node_sync(struct world *w, uint16_t n)
{
    struct sim_link *link = &w->net.link[n];
    struct sched *s = w->node[n].sched;

    for (uint16_t i = 0; i < link->in_n; i++) {
        struct sim_flow *f = &w->net.flow[link->in[i]];
        double got;

        sim_flow_advance(f, w->now_ms);
        got = floor(f->total - f->left - f->told_in);
        if (got < 1 || !conn_at(w, n, f->from)->up)
            continue;
        f->told_in += got;
        (void)sched_on_data(s, clock_ms(w), conn_at(w, n, f->from)->peer, f->chunk, (uint32_t)got);
    }
    for (uint16_t i = 0; i < link->out_n; i++) {
        struct sim_flow *f = &w->net.flow[link->out[i]];
        uint16_t peer = conn_at(w, n, f->to)->peer;
        double sent;

        sim_flow_advance(f, w->now_ms);
        sent = floor(f->total - f->left - f->told_out);
        if (f->blocked != f->told_blocked)
            sched_on_blocked(s, clock_ms(w), peer, f->blocked);
        f->told_blocked = f->blocked;
        if (sent < 1)
            continue;
        f->told_out += sent;
        sched_on_sent(s, clock_ms(w), peer, f->chunk, (uint32_t)sent, false);
    }
}

static void flow_stop(struct world *w, uint16_t at)
{
    struct sim_flow *f = &w->net.flow[at];
    struct conn *back = conn_at(w, f->to, f->from);
    double got;

    sim_flow_advance(f, w->now_ms);
    got = floor(f->total - f->left - f->told_in);
    if (got >= 1 && back->up && w->node[f->to].alive)
        (void)sched_on_data(w->node[f->to].sched, clock_ms(w), back->peer, f->chunk, (uint32_t)got);
    if (is_source(w, f->from))
        w->source_bytes += f->total - f->left;
    sim_flow_remove(&w->net, at);
}

static void act_do(struct world *w, uint16_t n, const struct sched_act *act)
{
    uint16_t to = w->node[n].node_of[act->peer];
    uint16_t flow;

    if (!conn_at(w, n, to)->up) {
        blame(w, n, "an action about a peer that left");
        return;
    }
    if (act->type == SCHED_UPLOAD) {
        (void)sim_flow_add(&w->net, n, to, act->chunk, w->o.chunk_bytes, w->now_ms);
    } else if (act->type == SCHED_UPLOAD_STOP) {
        flow = sim_flow_find(&w->net, n, to, act->chunk);
        if (flow != NONE)
            flow_stop(w, flow);
    } else {
        post(w, (struct sim_event){.type = SIM_MSG, .node = to, .from = n, .act = *act});
    }
}

static void node_valid(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];

    if (w->o.valid_every && ++node->events % w->o.valid_every == 0 && !sched_valid(node->sched))
        blame(w, n, "sched_valid() is false");
}

static void timer_set(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];
    uint64_t at = sched_deadline_ms(node->sched);
    double at_ms = (double)at;

    if (at == SCHED_NEVER)
        return;
    if (at_ms < w->now_ms)
        at_ms = (double)(clock_ms(w) + 1);
    if (node->timer_ms > 0 && node->timer_ms <= at_ms)
        return;
    node->timer_ms = at_ms;
    sim_heap_push(&w->heap, (struct sim_event){.at_ms = at_ms, .type = SIM_TIMER, .node = n});
}

static void node_finished(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];

    if (is_source(w, n) || node->done_ms > 0 || !chunkmap_full(sched_have(node->sched)))
        return;
    node->done_ms = w->now_ms;
    w->unfinished--;
}

static void pump(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];
    struct sched_act act;
    uint16_t have_to = NONE;
    uint32_t steps = 0;

    while (sched_next(node->sched, clock_ms(w), &act)) {
        bool batched = act.type == SCHED_SEND_HAVE && act.peer == have_to;

        have_to = act.type == SCHED_SEND_HAVE ? act.peer : NONE;
        if (!batched && act.type < SCHED_UPLOAD)
            w->sent[act.type]++;
        w->pass_full += act.type == SCHED_SEND_PASS && act.pass == SCHED_PASS_FULL;
        act_do(w, n, &act);
        if (++steps > 1000000) {
            blame(w, n, "sched_next() does not end");
            return;
        }
    }
    node_valid(w, n);
    node_finished(w, n);
    timer_set(w, n);
}

static void connect_pair(struct world *w, uint16_t a, uint16_t b)
{
    uint16_t ends[2] = {a, b};

    for (int i = 0; i < 2; i++) {
        uint16_t n = ends[i], other = ends[1 - i];
        struct conn *c = conn_at(w, n, other);

        if (sched_peer_add(w->node[n].sched, clock_ms(w), w->node[other].slow && w->o.leaves,
                           &c->peer))
            abort();
        c->up = true;
        c->epoch++;
        c->fifo_ms = w->now_ms;
        w->node[n].node_of[c->peer] = other;
        w->node[n].degree++;
    }
    pump(w, a);
    pump(w, b);
}

static bool connectable(struct world *w, uint16_t a, uint16_t b)
{
    return a != b && w->node[b].sched && w->node[b].alive && !conn_at(w, a, b)->up &&
           w->node[b].degree < SIM_DEGREE_MAX && w->node[a].degree < SIM_DEGREE_MAX;
}

/* Full mesh when small, else dial some at random (SWARM.md, K). */
static void node_dial(struct world *w, uint16_t n)
{
    uint32_t dialled = 0;

    if (w->nodes <= SIM_MESH_MAX) {
        for (uint16_t b = 0; b < w->nodes; b++)
            if (connectable(w, n, b))
                connect_pair(w, n, b);
        return;
    }
    for (uint32_t tries = 0; tries < 400 && dialled < SIM_DIAL; tries++) {
        uint16_t b = (uint16_t)(random_unit(w) * w->nodes);

        if (!connectable(w, n, b))
            continue;
        connect_pair(w, n, b);
        dialled++;
    }
}

static void on_join(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];
    struct sched_cfg cfg = {.chunks = w->o.chunks,
                            .chunk_bytes = w->o.chunk_bytes,
                            .max_peers = SIM_DEGREE_MAX,
                            .source = is_source(w, n),
                            .leaf = node->slow && w->o.leaves,
                            .polite = is_source(w, n) && w->o.polite,
                            .salt = w->o.seed * 1000003 + n};

    if (sched_new(&cfg, NULL, clock_ms(w), &node->sched))
        abort();
    node->alive = true;
    node->joined_ms = w->now_ms;
}

/* n learns that the other end is gone, as its session would tell it. */
static void conn_end(struct world *w, uint16_t n, uint16_t gone)
{
    struct conn *c = conn_at(w, n, gone);
    struct sim_link *link = &w->net.link[n];

    if (!c->up || !w->node[n].alive)
        return;
    node_sync(w, n);
    c->up = false;
    c->epoch++;
    w->node[n].degree--;
    sched_peer_gone(w->node[n].sched, clock_ms(w), c->peer);
    for (uint16_t i = link->out_n; i-- > 0;)
        if (w->net.flow[link->out[i]].to == gone)
            flow_stop(w, link->out[i]);
    for (uint16_t i = link->in_n; i-- > 0;)
        if (w->net.flow[link->in[i]].from == gone)
            flow_stop(w, link->in[i]);
    pump(w, n);
}

/* flushed: what its sockets took still arrives. */
static void node_kill(struct world *w, uint16_t n, double notice_ms, bool flushed)
{
    struct node *node = &w->node[n];

    if (!node->alive)
        return;
    node->alive = false;
    if (!is_source(w, n) && node->done_ms <= 0)
        w->unfinished--;
    w->net.link[n].up = w->net.link[n].down = 0;
    w->net.dirty = true;
    for (uint16_t b = 0; b < w->nodes; b++) {
        if (!conn_at(w, n, b)->up)
            continue;
        conn_at(w, n, b)->up = false;
        conn_at(w, n, b)->epoch += !flushed;
        sim_heap_push(&w->heap, (struct sim_event){.at_ms = w->now_ms + notice_ms,
                                                   .type = SIM_NOTICE,
                                                   .node = b,
                                                   .from = n,
                                                   .epoch = conn_at(w, b, n)->epoch});
    }
}

static int msg_take(struct world *w, const struct sim_event *e)
{
    struct sched *s = w->node[e->node].sched;
    uint16_t p = conn_at(w, e->node, e->from)->peer;
    uint64_t now = clock_ms(w);
    const struct sched_act *a = &e->act;

    switch (a->type) {
    case SCHED_SEND_MAP:
        return sched_on_map(s, now, p, sched_have(w->node[e->from].sched));
    case SCHED_SEND_HAVE:
        return sched_on_have(s, now, p, a->chunk);
    case SCHED_SEND_COMPLETE:
        return sched_on_complete(s, now, p);
    case SCHED_SEND_GRANT:
        return sched_on_grant(s, now, p);
    case SCHED_SEND_REQUEST:
        return sched_on_request(s, now, p, a->chunk);
    case SCHED_SEND_PASS:
        return sched_on_pass(s, now, p, a->pass);
    case SCHED_SEND_OFFER:
        return sched_on_offer(s, now, p, a->chunk);
    case SCHED_SEND_REVOKE:
        return sched_on_revoke(s, now, p, a->chunk);
    case SCHED_SEND_CANCEL:
        return sched_on_cancel(s, now, p, a->chunk);
    case SCHED_UPLOAD:
    case SCHED_UPLOAD_STOP:
        break;
    }
    return ERR_PROTOCOL;
}

static void on_received(struct world *w, const struct sim_event *e)
{
    struct sched *s = w->node[e->node].sched;
    uint16_t p = conn_at(w, e->node, e->from)->peer;

    if (!sched_on_data(s, clock_ms(w), p, e->act.chunk, e->bytes))
        return;
    sched_on_received(s, clock_ms(w), p, e->act.chunk);
    sched_on_stored(s, clock_ms(w), e->act.chunk, true);
}

static void on_message(struct world *w, const struct sim_event *e)
{
    struct conn *c = conn_at(w, e->node, e->from);

    if (!w->node[e->node].alive || !c->up || conn_at(w, e->from, e->node)->epoch != e->epoch)
        return;
    node_sync(w, e->node);
    if (e->type == SIM_RECEIVED)
        on_received(w, e);
    else if (msg_take(w, e))
        blame(w, e->node, "a message was refused");
    pump(w, e->node);
}

/* The last byte of a flow left the sender. */
static void flow_end(struct world *w, uint16_t at)
{
    struct sim_flow *f = &w->net.flow[at];
    struct sim_event e = {.type = SIM_RECEIVED, .node = f->to, .from = f->from};
    uint16_t from = f->from, to = f->to;
    uint32_t chunk = f->chunk;
    double rest;

    sim_flow_advance(f, w->now_ms);
    f->left = 0;
    node_sync(w, from);
    rest = f->total - f->told_out;
    e.act.chunk = chunk;
    e.bytes = (uint32_t)(f->total - f->told_in);
    if (is_source(w, from))
        w->source_bytes += f->total;
    sim_flow_remove(&w->net, at);
    post(w, e);
    sched_on_sent(w->node[from].sched, clock_ms(w), conn_at(w, from, to)->peer, chunk,
                  (uint32_t)rest, true);
    pump(w, from);
}

/* Whoever's sockets filled or drained by a new share-out hears of it. */
static void blocked_tell(struct world *w)
{
    uint16_t n_poked = 0;

    for (uint16_t n = 0; n < w->nodes; n++) {
        const struct sim_link *link = &w->net.link[n];

        for (uint16_t i = 0; w->node[n].alive && i < link->out_n; i++)
            if (w->net.flow[link->out[i]].blocked != w->net.flow[link->out[i]].told_blocked) {
                w->poked[n_poked++] = n;
                break;
            }
    }
    for (uint16_t i = 0; i < n_poked; i++) {
        node_sync(w, w->poked[i]);
        pump(w, w->poked[i]);
    }
}

static void on_timer(struct world *w, const struct sim_event *e)
{
    struct node *node = &w->node[e->node];

    if (!node->alive || node->timer_ms < e->at_ms || node->timer_ms > e->at_ms)
        return;
    node->timer_ms = 0;
    node_sync(w, e->node);
    pump(w, e->node);
}

static void on_event(struct world *w, const struct sim_event *e)
{
    switch (e->type) {
    case SIM_MSG:
    case SIM_RECEIVED:
        on_message(w, e);
        break;
    case SIM_TIMER:
        on_timer(w, e);
        break;
    case SIM_JOIN:
        on_join(w, e->node);
        node_dial(w, e->node);
        break;
    case SIM_VANISH:
        node_kill(w, e->node, dead_ms, true);
        break;
    case SIM_NOTICE:
        if (conn_at(w, e->node, e->from)->epoch == e->epoch)
            conn_end(w, e->node, e->from);
        break;
    case SIM_LEAVE:
        node_kill(w, e->node, 1, false);
        break;
    }
}

/* Without the sources, is every chunk still there? */
static bool spread_true(const struct world *w)
{
    for (uint32_t c = 0; c < w->o.chunks; c++) {
        uint16_t n = (uint16_t)w->o.sources;

        while (n < w->nodes && !(w->node[n].alive && chunkmap_has(sched_have(w->node[n].sched), c)))
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
    struct sim_event e;
    bool flow;

    for (int i = 0; w->net.dirty && i < 100; i++) {
        sim_net_share(&w->net, w->now_ms);
        blocked_tell(w);
    }
    flow = w->net.first != NONE && (w->heap.n == 0 || w->net.first_ms <= w->heap.e[0].at_ms);
    w->r->events++;
    if (flow) {
        w->now_ms = w->net.first_ms;
        flow_end(w, w->net.first);
    } else {
        if (!sim_heap_pop(&w->heap, &e))
            return false;
        w->now_ms = e.at_ms;
        on_event(w, &e);
    }
    source_check(w);
    return true;
}

static double fraction_ms(const struct world *w)
{
    return (double)w->o.chunks * w->o.chunk_bytes / (w->o.mbit * 125);
}

/* Kumar & Ross: max(F/u_s, F/d_min, N F/(u_s + sum u_i)). */
static double bound_ms(const struct world *w)
{
    double bytes = (double)w->o.chunks * w->o.chunk_bytes;
    double source_up = 0, up = 0, down = w->net.link[w->o.sources].down;

    for (uint16_t n = 0; n < w->nodes; n++) {
        up += w->net.link[n].up;
        if (is_source(w, n))
            source_up += w->net.link[n].up;
        else
            down = fmin(down, w->net.link[n].down);
    }
    return fmax(fmax(bytes / source_up, bytes / down), w->o.peers * bytes / up);
}

static void links_set(struct world *w)
{
    double rate = w->o.mbit * 125;

    for (uint16_t n = 0; n < w->nodes; n++) {
        struct node *node = &w->node[n];

        node->slow = !is_source(w, n) && n < w->o.sources + w->o.slow_peers;
        w->net.link[n].up = rate * (is_source(w, n) ? w->o.source_factor
                                    : node->slow    ? w->o.slow_up
                                                    : 1);
        w->net.link[n].down = rate * (node->slow ? w->o.slow_down : 1);
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

static void result_fill(struct world *w, double bound)
{
    struct sim_result *r = w->r;
    double last = 0, own = 0, needed = (double)w->o.peers * w->o.chunks;
    uint64_t duplicates = 0;

    for (uint16_t n = (uint16_t)w->o.sources; n < w->nodes; n++) {
        struct sched_stat st;

        if (!w->node[n].sched)
            continue;
        sched_stat(w->node[n].sched, &st);
        duplicates += st.duplicate_bytes;
        if (!w->node[n].alive)
            continue;
        last = fmax(last, w->node[n].done_ms);
        own = fmax(own, w->node[n].done_ms - w->node[n].joined_ms);
    }
    r->stalled = w->unfinished > 0;
    r->seconds = (last - begin_ms) / 1000;
    r->ratio = w->o.join_spread > 0 ? own / fraction_ms(w) : (last - begin_ms) / bound;
    r->source_copies = w->source_bytes / w->o.chunks / w->o.chunk_bytes;
    r->duplicates = (double)duplicates / needed / w->o.chunk_bytes;
    for (int i = 0; i < SCHED_UPLOAD; i++) {
        r->by_type[i] = (double)w->sent[i] / needed;
        r->messages += r->by_type[i];
    }
    r->pass_full = (double)w->pass_full / needed;
}

static void world_free(struct world *w)
{
    for (uint16_t n = 0; n < w->nodes; n++)
        sched_free(w->node[n].sched);
    sim_net_free(&w->net);
    free(w->heap.e);
    free(w->conn);
    free(w);
}

int sim_run(const struct sim_options *o, struct sim_result *r)
{
    struct world *w = calloc(1, sizeof(*w));
    double bound, limit;

    memset(r, 0, sizeof(*r));
    if (!w || o->peers == 0 || o->sources == 0 || o->peers + o->sources > SIM_NODES_MAX)
        abort();
    w->o = *o;
    w->r = r;
    w->nodes = (uint16_t)(o->peers + o->sources);
    w->unfinished = o->peers;
    w->random = o->seed;
    w->now_ms = begin_ms;
    w->conn = calloc((size_t)w->nodes * w->nodes, sizeof(*w->conn));
    if (!w->conn || sim_net_init(&w->net, w->nodes))
        abort();
    w->net.first = NONE;
    links_set(w);
    bound = bound_ms(w);
    limit = begin_ms + 60000 + (10 + o->join_spread) * bound;
    events_plan(w);
    while (w->unfinished > 0 && w->now_ms < limit && !r->invalid && step(w))
        if (o->tell && r->events % 1000000 == 0)
            fprintf(stderr, "%.1f s, %u left\n", (w->now_ms - begin_ms) / 1000, w->unfinished);
    result_fill(w, bound);
    world_free(w);
    return r->stalled || r->invalid ? -1 : 0;
}
