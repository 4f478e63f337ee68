#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* Shares settle in a few rounds: each only moves what a sender left unused. */
enum { NONE = UINT16_MAX, SHARE_ROUNDS = 6 };

static const double tiny = 1e-2, almost = 0.999;

int sim_net_init(struct sim_net *net, uint16_t nodes)
{
    memset(net, 0, sizeof(*net));
    net->nodes = nodes;
    net->flows_max = (uint16_t)(nodes * 20 < 65000 ? nodes * 20 : 65000);
    net->flow = calloc(net->flows_max, sizeof(*net->flow));
    return net->flow ? 0 : -ENOMEM;
}

void sim_net_free(struct sim_net *net)
{
    free(net->flow);
}

uint16_t sim_flow_add(struct sim_net *net, uint16_t from, uint16_t to, uint32_t chunk,
                      uint32_t bytes, double at_ms)
{
    uint16_t i = (uint16_t)(from * 20);
    struct sim_link *a = &net->link[from], *b = &net->link[to];

    while (i < net->flows_max && net->flow[i].used)
        i++;
    if (i == net->flows_max || a->out_n == SCHED_PEERS_MAX || b->in_n == SCHED_PEERS_MAX * 2)
        abort();
    net->flow[i] = (struct sim_flow){.used = true,
                                     .from = from,
                                     .to = to,
                                     .chunk = chunk,
                                     .left = bytes,
                                     .total = bytes,
                                     .at_ms = at_ms};
    a->out[a->out_n++] = i;
    b->in[b->in_n++] = i;
    net->dirty = true;
    return i;
}

static void list_remove(uint16_t *list, uint16_t *n, uint16_t flow)
{
    uint16_t i = 0;

    while (list[i] != flow)
        i++;
    --*n;
    memmove(&list[i], &list[i + 1], (size_t)(*n - i) * sizeof(*list));
}

void sim_flow_remove(struct sim_net *net, uint16_t flow)
{
    struct sim_flow *f = &net->flow[flow];

    list_remove(net->link[f->from].out, &net->link[f->from].out_n, flow);
    list_remove(net->link[f->to].in, &net->link[f->to].in_n, flow);
    f->used = false;
    net->dirty = true;
}

uint16_t sim_flow_find(const struct sim_net *net, uint16_t from, uint16_t to, uint32_t chunk)
{
    const struct sim_link *a = &net->link[from];

    for (uint16_t i = 0; i < a->out_n; i++) {
        const struct sim_flow *f = &net->flow[a->out[i]];

        if (f->to == to && f->chunk == chunk)
            return a->out[i];
    }
    return NONE;
}

void sim_flow_advance(struct sim_flow *f, double at_ms)
{
    if (at_ms > f->at_ms)
        f->left -= f->rate * (at_ms - f->at_ms);
    f->at_ms = at_ms;
    if (f->left < tiny)
        f->left = 0;
}

/* One receiver's downlink: whoever cannot use an equal share keeps what it uses,
 * the others share the rest. */
static void receiver_share(struct sim_net *net, const struct sim_link *b)
{
    double left = b->down;
    uint32_t open = 0;

    for (uint16_t i = 0; i < b->in_n; i++) {
        const struct sim_flow *f = &net->flow[b->in[i]];

        if (f->sated)
            left -= f->rate;
        else
            open++;
    }
    for (uint16_t i = 0; i < b->in_n; i++) {
        struct sim_flow *f = &net->flow[b->in[i]];

        f->cap = f->sated ? f->rate : left > 0 ? left / open : 0;
    }
}

/* One sender's uplink: the oldest takes all that its receiver lets it. */
static void sender_share(struct sim_net *net, const struct sim_link *a)
{
    double left = a->up;

    for (uint16_t i = 0; i < a->out_n; i++) {
        struct sim_flow *f = &net->flow[a->out[i]];

        f->rate = f->cap < left ? f->cap : left;
        f->blocked = f->rate < left * almost;
        f->sated = !f->blocked;
        left -= f->rate;
    }
}

static void caps_reset(struct sim_net *net, const struct sim_link *b)
{
    for (uint16_t i = 0; i < b->in_n; i++)
        net->flow[b->in[i]].cap = b->down / b->in_n;
}

static void flows_advance(struct sim_net *net, double at_ms)
{
    for (uint16_t n = 0; n < net->nodes; n++) {
        const struct sim_link *a = &net->link[n];

        for (uint16_t i = 0; i < a->out_n; i++)
            sim_flow_advance(&net->flow[a->out[i]], at_ms);
    }
}

static void first_find(struct sim_net *net)
{
    net->first = NONE;
    for (uint16_t n = 0; n < net->nodes; n++)
        for (uint16_t i = 0; i < net->link[n].out_n; i++) {
            const struct sim_flow *f = &net->flow[net->link[n].out[i]];
            double at;

            if (f->rate <= 0 && f->left > 0)
                continue;
            at = f->at_ms + (f->left > 0 ? f->left / f->rate : 0);
            if (net->first == NONE || at < net->first_ms) {
                net->first = net->link[n].out[i];
                net->first_ms = at;
            }
        }
}

void sim_net_share(struct sim_net *net, double at_ms)
{
    flows_advance(net, at_ms);
    for (uint16_t n = 0; n < net->nodes; n++)
        caps_reset(net, &net->link[n]);
    for (int round = 0; round < SHARE_ROUNDS; round++) {
        for (uint16_t n = 0; n < net->nodes; n++)
            sender_share(net, &net->link[n]);
        for (uint16_t n = 0; round < SHARE_ROUNDS - 1 && n < net->nodes; n++)
            receiver_share(net, &net->link[n]);
    }
    first_find(net);
    net->dirty = false;
}
