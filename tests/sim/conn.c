#include <math.h>
#include <stdlib.h>

#include "tests/sim/world.h"

static const uint32_t dial_tries = 400;
static const double more_ms = 1000;

/* What waits before e on its way out: the interface's queue, and the chunk that
 * is half handed to the same socket. */
static double queue_wait_ms(struct world *w, const struct sim_event *e)
{
    const struct sim_link *link = &w->net.link[e->from];
    double ms = link->out_n ? w->o.queue_ms * (0.5 + 0.5 * random_unit(w)) : 0;

    for (uint16_t i = 0; e->type != SIM_RECEIVED && w->o.queue_kib && i < link->out_n; i++) {
        struct sim_flow *f = &w->net.flow[link->out[i]];
        double rate = fmax(f->rate, link->up / link->out_n);

        if (f->from_peer != e->from_peer || rate <= 0)
            continue;
        sim_flow_advance(f, w->now_ms);
        ms += fmin(f->left, w->o.queue_kib * 1024.0) / rate;
    }
    return ms;
}

/* Control and data share a connection: both arrive in order. */
void conn_post(struct world *w, struct sim_event e)
{
    struct conn *c = conn_at(w, e.from, e.from_peer);
    double range = w->o.latency_max_ms - w->o.latency_min_ms;

    e.at_ms = w->now_ms + w->o.latency_min_ms + range * random_unit(w) + queue_wait_ms(w, &e);
    if (e.at_ms < c->fifo_ms)
        e.at_ms = c->fifo_ms;
    c->fifo_ms = e.at_ms;
    e.node = c->other;
    e.to_peer = c->other_peer;
    e.epoch = c->epoch;
    sim_heap_push(&w->heap, e);
}

bool conn_heard(struct world *w, const struct sim_event *e)
{
    const struct conn *c = conn_at(w, e->node, e->to_peer);

    return w->node[e->node].alive && c->up && c->other == e->from &&
           conn_at(w, e->from, e->from_peer)->epoch == e->epoch;
}

/* A liar says that it is wired: so it is relied on. */
static unsigned route_of(const struct node *here, const struct node *there)
{
    return (here->station ? SCHED_LEAF_HERE : 0U) |
           (there->station && !there->liar ? SCHED_LEAF_THERE : 0U);
}

/* What n will call its new neighbour. */
static uint16_t peer_add(struct world *w, uint16_t n, uint16_t other)
{
    struct node *node = &w->node[n];
    unsigned route = w->o.leaves ? route_of(node, &w->node[other]) : SCHED_WIRED;
    uint16_t peer = 0;

    node->degree++;
    if (node->liar)
        while (node->conn[peer].up)
            peer++;
    else if (sched_peer_add(node->sched, clock_ms(w), route, &peer))
        abort();
    return peer;
}

static void pair_connect(struct world *w, uint16_t a, uint16_t b)
{
    uint16_t ends[2] = {a, b}, peer[2] = {peer_add(w, a, b), peer_add(w, b, a)};

    for (int i = 0; i < 2; i++) {
        struct conn *c = conn_at(w, ends[i], peer[i]);

        *c = (struct conn){.up = true,
                           .other = ends[1 - i],
                           .other_peer = peer[1 - i],
                           .epoch = c->epoch + 1,
                           .fifo_ms = w->now_ms};
    }
    for (int i = 0; i < 2; i++) {
        if (w->node[ends[i]].liar)
            liar_greet(w, ends[i], peer[i]);
        else
            node_pump(w, ends[i]);
    }
}

static bool connected(struct world *w, uint16_t a, uint16_t b)
{
    for (uint16_t i = 0; i < SIM_DEGREE_MAX; i++)
        if (conn_at(w, a, i)->up && conn_at(w, a, i)->other == b)
            return true;
    return false;
}

static bool connectable(struct world *w, uint16_t a, uint16_t b)
{
    return a != b && w->node[b].alive && !(w->node[a].liar && w->node[b].liar) &&
           w->node[b].degree < SIM_DEGREE_MAX && w->node[a].degree < SIM_DEGREE_MAX &&
           !connected(w, a, b);
}

static void dial_random(struct world *w, uint16_t n, uint32_t count)
{
    for (uint32_t tries = 0; tries < dial_tries && count > 0; tries++) {
        uint16_t b = (uint16_t)(random_unit(w) * w->nodes);

        if (!connectable(w, n, b))
            continue;
        pair_connect(w, n, b);
        count--;
    }
}

static void dial_later(struct world *w, uint16_t n)
{
    sim_heap_push(&w->heap, (struct sim_event){
                                .at_ms = w->now_ms + more_ms, .type = SIM_DIAL_MORE, .node = n});
}

void conn_dial(struct world *w, uint16_t n)
{
    if (w->nodes > SIM_MESH_MAX) {
        dial_random(w, n, SIM_DIAL);
        dial_later(w, n);
        return;
    }
    for (uint16_t b = 0; b < w->nodes; b++)
        if (connectable(w, n, b))
            pair_connect(w, n, b);
}

void conn_dial_more(struct world *w, uint16_t n)
{
    const struct node *node = &w->node[n];

    if (!node->alive || node->done_ms > 0 || is_source(w, n))
        return;
    if (node->degree < SIM_DEGREE_WANTED)
        dial_random(w, n, SIM_DEGREE_WANTED - node->degree);
    dial_later(w, n);
}

static void flows_stop(struct world *w, const uint32_t *flows, uint16_t n, uint16_t with)
{
    while (n-- > 0)
        if (w->net.flow[flows[n]].from == with || w->net.flow[flows[n]].to == with)
            node_flow_stop(w, flows[n]);
}

void conn_end(struct world *w, uint16_t n, uint16_t peer)
{
    struct conn *c = conn_at(w, n, peer);
    const struct sim_link *link = &w->net.link[n];

    if (!c->up || !w->node[n].alive)
        return;
    c->epoch++;
    w->node[n].degree--;
    if (w->node[n].liar) {
        c->up = false;
        return;
    }
    node_sync(w, n);
    c->up = false;
    sched_peer_gone(w->node[n].sched, clock_ms(w), peer);
    flows_stop(w, link->out, link->out_n, c->other);
    flows_stop(w, link->in, link->in_n, c->other);
    node_pump(w, n);
}

void node_kill(struct world *w, uint16_t n, double notice_ms, bool flushed)
{
    struct node *node = &w->node[n];

    if (!node->alive)
        return;
    node->alive = false;
    if (!is_source(w, n) && !node->liar && node->done_ms <= 0) /* nobody waits for a liar */
        w->unfinished--;
    w->net.link[n].up = w->net.link[n].down = 0;
    sim_link_changed(&w->net, n);
    for (uint16_t i = 0; i < SIM_DEGREE_MAX; i++) {
        struct conn *c = &node->conn[i];

        if (!c->up)
            continue;
        c->up = false;
        c->epoch += !flushed;
        sim_heap_push(&w->heap,
                      (struct sim_event){.at_ms = w->now_ms + notice_ms,
                                         .type = SIM_NOTICE,
                                         .node = c->other,
                                         .from = n,
                                         .to_peer = c->other_peer,
                                         .epoch = conn_at(w, c->other, c->other_peer)->epoch});
    }
}
