#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

/* No more than it can have: sched_valid() looks at what there is room for. */
static uint16_t peers_max(const struct world *w)
{
    return w->nodes <= SIM_DEGREE_MAX ? (uint16_t)(w->nodes - 1) : SIM_DEGREE_MAX;
}

void node_join(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];
    struct sched_cfg cfg = {.chunks = w->o.chunks,
                            .chunk_bytes = w->o.chunk_bytes,
                            .max_peers = peers_max(w),
                            .source = is_source(w, n),
                            .polite = is_source(w, n) && w->o.polite,
                            .salt = w->o.seed * 1000003 + n};

    node->alive = true;
    node->joined_ms = w->now_ms;
    if (node->liar)
        liar_wait(w, n);
    else if (sched_new(&cfg, NULL, clock_ms(w), &node->sched))
        abort();
}

static void inflow_sync(struct world *w, struct sched *s, struct sim_flow *f)
{
    double got;

    sim_flow_advance(f, w->now_ms);
    got = floor(f->total - f->left - f->told_in);
    if (got < 1)
        return;
    f->told_in += got;
    (void)sched_on_data(s, clock_ms(w), f->to_peer, f->chunk, (uint32_t)got);
}

static void outflow_sync(struct world *w, struct sched *s, struct sim_flow *f)
{
    double sent;

    sim_flow_advance(f, w->now_ms);
    sent = floor(f->total - f->left - f->told_out);
    if (sent < 1)
        return;
    f->told_out += sent;
    sched_on_sent(s, clock_ms(w), f->from_peer, f->chunk, (uint32_t)sent, false);
}

static void blocked_sync(struct world *w, struct sched *s, struct sim_flow *f)
{
    if (f->blocked != f->told_blocked)
        sched_on_blocked(s, clock_ms(w), f->from_peer, f->blocked);
    f->told_blocked = f->blocked;
}

/* A sched sees whole ms: within one there is nothing new but who is blocked. */
void node_sync(struct world *w, uint16_t n)
{
    const struct sim_link *link = &w->net.link[n];
    struct sched *s = w->node[n].sched;
    bool known = w->node[n].synced_ms == clock_ms(w);

    w->node[n].synced_ms = clock_ms(w);
    for (uint16_t i = 0; i < link->out_n; i++)
        blocked_sync(w, s, &w->net.flow[link->out[i]]);
    if (known)
        return;
    for (uint16_t i = 0; i < link->in_n; i++)
        inflow_sync(w, s, &w->net.flow[link->in[i]]);
    for (uint16_t i = 0; i < link->out_n; i++)
        outflow_sync(w, s, &w->net.flow[link->out[i]]);
}

static void node_valid(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];

    if (w->o.valid_every && ++node->events % w->o.valid_every == 0 && !sched_valid(node->sched))
        blame(w, n, "sched_valid() is false");
}

void node_flow_stop(struct world *w, uint32_t flow)
{
    struct sim_flow *f = &w->net.flow[flow];

    sim_flow_advance(f, w->now_ms);
    if (w->node[f->to].alive && conn_at(w, f->to, f->to_peer)->up) {
        inflow_sync(w, w->node[f->to].sched, f);
        node_valid(w, f->to);
    }
    if (is_source(w, f->from))
        w->source_bytes += f->total - f->left;
    sim_flow_remove(&w->net, flow);
}

static void flow_begin(struct world *w, uint16_t n, const struct sched_act *act)
{
    const struct conn *c = conn_at(w, n, act->peer);
    struct sim_flow f = {.from = n,
                         .to = c->other,
                         .from_peer = act->peer,
                         .to_peer = c->other_peer,
                         .chunk = act->chunk,
                         .total = w->o.chunk_bytes,
                         .at_ms = w->now_ms};

    sim_flow_add(&w->net, &f);
}

static void act_do(struct world *w, uint16_t n, const struct sched_act *act)
{
    uint32_t flow;

    if (!conn_at(w, n, act->peer)->up) {
        blame(w, n, "an action about a peer that left");
    } else if (act->type == SCHED_UPLOAD) {
        flow_begin(w, n, act);
    } else if (act->type == SCHED_UPLOAD_STOP) {
        flow = sim_flow_find(&w->net, n, act->peer, act->chunk);
        if (flow != SIM_NO_FLOW)
            node_flow_stop(w, flow);
    } else {
        w->sent[act->type]++;
        w->pass_full += act->type == SCHED_SEND_PASS && act->pass == SCHED_PASS_FULL;
        conn_post(
            w, (struct sim_event){.type = SIM_MSG, .from = n, .from_peer = act->peer, .act = *act});
    }
}

/* A run of HAVEs to one neighbour is one message. */
static void haves_post(struct world *w, uint16_t n, uint16_t peer, uint32_t count)
{
    struct sim_event e = {.type = SIM_HAVES, .from = n, .from_peer = peer, .bytes = count};

    if (count == 0)
        return;
    w->sent[SCHED_SEND_HAVE]++;
    e.chunks = malloc(count * sizeof(*e.chunks));
    if (!e.chunks)
        abort();
    memcpy(e.chunks, w->batch, count * sizeof(*e.chunks));
    conn_post(w, e);
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

void node_pump(struct world *w, uint16_t n)
{
    struct node *node = &w->node[n];
    uint32_t steps = 0, haves = 0;
    uint16_t have_to = 0;
    struct sched_act act;

    while (sched_next(node->sched, clock_ms(w), &act)) {
        bool have = act.type == SCHED_SEND_HAVE;

        if (!have || act.peer != have_to || haves == w->o.chunks) {
            haves_post(w, n, have_to, haves);
            haves = 0;
        }
        if (have) {
            have_to = act.peer;
            w->batch[haves++] = act.chunk;
        } else {
            act_do(w, n, &act);
        }
        if (++steps > 1000000) {
            blame(w, n, "sched_next() does not end");
            return;
        }
    }
    haves_post(w, n, have_to, haves);
    node_valid(w, n);
    node_finished(w, n);
    timer_set(w, n);
}

static int msg_take(struct world *w, const struct sim_event *e)
{
    struct sched *s = w->node[e->node].sched;
    uint64_t now = clock_ms(w);
    uint16_t p = e->to_peer;
    const struct sched_act *a = &e->act;

    switch (a->type) {
    case SCHED_SEND_MAP:
        return sched_on_map(s, now, p, sched_have(w->node[e->from].sched));
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
    case SCHED_SEND_HAVE: /* come as SIM_HAVES */
    case SCHED_UPLOAD:
    case SCHED_UPLOAD_STOP:
        break;
    }
    return ERR_PROTOCOL;
}

static int haves_take(struct world *w, const struct sim_event *e)
{
    int err = 0;

    for (uint32_t i = 0; i < e->bytes && !err; i++)
        err = sched_on_have(w->node[e->node].sched, clock_ms(w), e->to_peer, e->chunks[i]);
    return err;
}

static int received_take(struct world *w, const struct sim_event *e)
{
    struct sched *s = w->node[e->node].sched;

    if (!sched_on_data(s, clock_ms(w), e->to_peer, e->act.chunk, e->bytes))
        return 0;
    sched_on_received(s, clock_ms(w), e->to_peer, e->act.chunk);
    sched_on_stored(s, clock_ms(w), e->act.chunk, true);
    return 0;
}

void node_on_message(struct world *w, const struct sim_event *e)
{
    int err;

    if (!conn_heard(w, e))
        return;
    if (w->node[e->node].liar) {
        liar_on_message(w, e);
        return;
    }
    node_sync(w, e->node);
    if (e->type == SIM_RECEIVED)
        err = received_take(w, e);
    else
        err = e->type == SIM_HAVES ? haves_take(w, e) : msg_take(w, e);
    if (err)
        blame(w, e->node, "a message was refused");
    node_pump(w, e->node);
}

void node_flow_end(struct world *w, uint32_t flow)
{
    struct sim_flow *at = &w->net.flow[flow], f;
    struct sim_event e = {.type = SIM_RECEIVED, .from = at->from, .from_peer = at->from_peer};

    sim_flow_advance(at, w->now_ms);
    at->left = 0;
    node_sync(w, at->from);
    f = *at;
    e.act.chunk = f.chunk;
    e.bytes = (uint32_t)(f.total - f.told_in);
    if (is_source(w, f.from))
        w->source_bytes += f.total;
    sim_flow_remove(&w->net, flow);
    conn_post(w, e);
    sched_on_sent(w->node[f.from].sched, clock_ms(w), f.from_peer, f.chunk,
                  (uint32_t)(f.total - f.told_out), true);
    node_pump(w, f.from);
}

void node_on_timer(struct world *w, const struct sim_event *e)
{
    struct node *node = &w->node[e->node];

    if (!node->alive || node->timer_ms < e->at_ms || node->timer_ms > e->at_ms)
        return;
    node->timer_ms = 0;
    if (node->liar) {
        liar_on_timer(w, e->node);
        return;
    }
    node_sync(w, e->node);
    node_pump(w, e->node);
}
