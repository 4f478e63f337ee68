/* A peer without a scheduler: says that it holds chunks, may GRANT, and never delivers. */
#include <stdlib.h>

#include "tests/sim/world.h"

enum { GRANT_EVERY_MS = 20 };

static void say(struct world *w, uint16_t n, uint16_t peer, enum sched_act_type type)
{
    struct sched_act act = {.type = type, .peer = peer, .pass = SCHED_PASS_NOTHING};

    conn_post(w, (struct sim_event){.type = SIM_MSG, .from = n, .from_peer = peer, .act = act});
}

static void half_say(struct world *w, uint16_t n, uint16_t peer)
{
    struct sim_event e = {.type = SIM_HAVES, .from = n, .from_peer = peer};

    e.chunks = calloc(w->o.chunks, sizeof(*e.chunks));
    if (!e.chunks)
        abort();
    for (uint32_t c = n % 2; c < w->o.chunks; c += 2)
        e.chunks[e.bytes++] = c;
    conn_post(w, e);
}

void liar_greet(struct world *w, uint16_t n, uint16_t peer)
{
    if (w->o.lie == SIM_LIE_HAVE)
        half_say(w, n, peer);
    else
        say(w, n, peer, SCHED_SEND_COMPLETE);
    conn_at(w, n, peer)->granted = false;
}

/* What is promised to it, it does not want; what is asked of it, it does not send. */
void liar_on_message(struct world *w, const struct sim_event *e)
{
    if (e->type != SIM_MSG)
        return;
    if (e->act.type == SCHED_SEND_OFFER || e->act.type == SCHED_SEND_GRANT)
        say(w, e->node, e->to_peer, SCHED_SEND_PASS);
    else if (e->act.type == SCHED_SEND_REQUEST || e->act.type == SCHED_SEND_PASS)
        conn_at(w, e->node, e->to_peer)->granted = false;
}

void liar_on_timer(struct world *w, uint16_t n)
{
    for (uint16_t i = 0; i < SIM_DEGREE_MAX; i++) {
        struct conn *c = conn_at(w, n, i);

        if (!c->up || c->granted)
            continue;
        c->granted = true;
        say(w, n, i, SCHED_SEND_GRANT);
    }
    liar_wait(w, n);
}

void liar_wait(struct world *w, uint16_t n)
{
    double at_ms = w->now_ms + GRANT_EVERY_MS;

    if (w->o.lie == SIM_LIE_COMPLETE)
        return;
    w->node[n].timer_ms = at_ms;
    sim_heap_push(&w->heap, (struct sim_event){.at_ms = at_ms, .type = SIM_TIMER, .node = n});
}
