#include "tests/sim/flow.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Links shared out for one change; what is still due then follows with the next. */
enum { SHARE_STEPS = 400 };

static const double tiny = 1e-2, almost = 0.999, notice = 1e-2, notice_air = 5e-4;

int sim_net_init(struct sim_net *net, uint32_t nodes)
{
    size_t flows = (size_t)nodes * SIM_OUT_MAX;

    memset(net, 0, sizeof(*net));
    net->nodes = nodes;
    net->air_level = INFINITY;
    net->link = calloc(nodes, sizeof(*net->link));
    net->flow = calloc(flows, sizeof(*net->flow));
    net->end = calloc(flows, sizeof(*net->end));
    net->changed = calloc(flows, sizeof(*net->changed));
    net->aired = calloc(flows, sizeof(*net->aired));
    net->due = calloc(2 * (size_t)nodes, sizeof(*net->due));
    for (uint32_t n = 0; net->link && n < nodes; n++)
        net->link[n].level = INFINITY;
    return net->link && net->flow && net->end && net->changed && net->aired && net->due ? 0
                                                                                        : -ENOMEM;
}

void sim_net_free(struct sim_net *net)
{
    free(net->link);
    free(net->flow);
    free(net->end);
    free(net->changed);
    free(net->aired);
    free(net->due);
}

static void due_put(struct sim_net *net, uint32_t link)
{
    net->due[(net->due_first + net->due_n++) % (2 * net->nodes)] = link;
}

static void up_due(struct sim_net *net, uint16_t node)
{
    if (!net->link[node].up_due)
        due_put(net, 2U * node);
    net->link[node].up_due = true;
}

static void down_due(struct sim_net *net, uint16_t node)
{
    if (!net->link[node].down_due)
        due_put(net, 2U * node + 1);
    net->link[node].down_due = true;
}

/* Heap of ends: parents end before their children, equals by number. */
static bool end_before(const struct sim_net *net, uint32_t a, uint32_t b)
{
    const struct sim_flow *fa = &net->flow[a], *fb = &net->flow[b];

    if (fa->end_ms < fb->end_ms || fa->end_ms > fb->end_ms)
        return fa->end_ms < fb->end_ms;
    return a < b;
}

static void end_put(struct sim_net *net, uint32_t at, uint32_t flow)
{
    net->end[at] = flow;
    net->flow[flow].end_at = at;
}

/* Moves flow, whose place is at, up or down to where it belongs. */
static void end_settle(struct sim_net *net, uint32_t at, uint32_t flow)
{
    for (; at > 0 && end_before(net, flow, net->end[(at - 1) / 2]); at = (at - 1) / 2)
        end_put(net, at, net->end[(at - 1) / 2]);
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child + 1 < net->ends && end_before(net, net->end[child + 1], net->end[child]))
            child++;
        if (child >= net->ends || !end_before(net, net->end[child], flow))
            break;
        end_put(net, at, net->end[child]);
        at = child;
    }
    end_put(net, at, flow);
}

static void end_remove(struct sim_net *net, uint32_t flow)
{
    uint32_t at = net->flow[flow].end_at;
    uint32_t last;

    if (at == SIM_NO_FLOW)
        return;
    net->flow[flow].end_at = SIM_NO_FLOW;
    last = net->end[--net->ends];
    if (last != flow)
        end_settle(net, at, last);
}

/* flow ends at another time than it did. */
static void end_update(struct sim_net *net, uint32_t flow)
{
    struct sim_flow *f = &net->flow[flow];

    if (f->rate <= 0 && f->left > 0) {
        end_remove(net, flow);
        return;
    }
    f->end_ms = f->at_ms + (f->left > 0 ? f->left / f->rate : 0);
    end_settle(net, f->end_at == SIM_NO_FLOW ? net->ends++ : f->end_at, flow);
}

uint32_t sim_net_first(const struct sim_net *net)
{
    return net->ends ? net->end[0] : SIM_NO_FLOW;
}

void sim_flow_add(struct sim_net *net, const struct sim_flow *f)
{
    struct sim_link *a = &net->link[f->from], *b = &net->link[f->to];
    uint32_t i = (uint32_t)f->from * SIM_OUT_MAX;

    if (a->out_n == SIM_OUT_MAX || b->in_n == SIM_IN_MAX)
        abort();
    while (net->flow[i].used)
        i++;
    net->flow[i] = *f;
    net->flow[i].used = true;
    net->flow[i].left = f->total;
    net->flow[i].end_at = SIM_NO_FLOW;
    net->flow[i].air = net->air > 0 ? (uint8_t)(a->station + b->station) : 0;
    a->out[a->out_n++] = i;
    b->in[b->in_n++] = i;
    if (net->flow[i].air)
        net->aired[net->aired_n++] = i;
    up_due(net, f->from);
}

static bool list_remove(uint32_t *list, uint32_t n, uint32_t flow)
{
    uint32_t i = 0;

    while (i < n && list[i] != flow)
        i++;
    if (i == n)
        return false;
    memmove(&list[i], &list[i + 1], (n - 1 - i) * sizeof(*list));
    return true;
}

void sim_flow_remove(struct sim_net *net, uint32_t flow)
{
    struct sim_flow *f = &net->flow[flow];
    struct sim_link *a = &net->link[f->from], *b = &net->link[f->to];

    a->out_n = (uint16_t)(a->out_n - list_remove(a->out, a->out_n, flow));
    b->in_n = (uint16_t)(b->in_n - list_remove(b->in, b->in_n, flow));
    if (f->air) {
        net->aired_n -= list_remove(net->aired, net->aired_n, flow);
        net->air_due = true;
    }
    if (f->changed)
        net->changes -= list_remove(net->changed, net->changes, flow);
    end_remove(net, flow);
    f->used = f->changed = false;
    up_due(net, f->from);
    down_due(net, f->to);
}

void sim_link_changed(struct sim_net *net, uint16_t node)
{
    up_due(net, node);
    down_due(net, node);
}

uint32_t sim_flow_find(const struct sim_net *net, uint16_t from, uint16_t from_peer, uint32_t chunk)
{
    const struct sim_link *a = &net->link[from];

    for (uint16_t i = 0; i < a->out_n; i++) {
        const struct sim_flow *f = &net->flow[a->out[i]];

        if (f->from_peer == from_peer && f->chunk == chunk)
            return a->out[i];
    }
    return SIM_NO_FLOW;
}

void sim_flow_advance(struct sim_flow *f, double at_ms)
{
    if (at_ms > f->at_ms)
        f->left -= f->rate * (at_ms - f->at_ms);
    f->at_ms = at_ms;
    if (f->left < tiny)
        f->left = 0;
}

/* Of a difference in f's rate, so much is not worth another round. Many share the air, each
 * at a small part of a link's rate. */
static double unnoticed(const struct sim_net *net, const struct sim_flow *f)
{
    return (f->air ? notice_air : notice) * fmin(net->link[f->from].up, net->link[f->to].down);
}

static double flow_limit(const struct sim_net *net, const struct sim_flow *f)
{
    double level = net->link[f->to].level;

    return f->air ? fmin(level, net->air_level) : level;
}

/* Max-min: whoever wants less than an equal share gets what it wants, the others
 * share the rest. weight: of what a flow takes for a byte. INFINITY: enough for all. */
static double level_find(const struct sim_net *net, const uint32_t *flows, uint32_t n, double left,
                         bool air)
{
    double level = left > 0 ? 0 : INFINITY, before;

    if (left <= 0)
        return 0;
    do { /* rises until nobody falls below it any more */
        double rest = left, open = 0;

        before = level;
        for (uint32_t i = 0; i < n; i++) {
            const struct sim_flow *f = &net->flow[flows[i]];
            double weight = air ? f->air : 1;
            double want = air ? fmin(f->want, net->link[f->to].level)
                              : fmin(f->want, f->air ? net->air_level : INFINITY);

            if (want <= level)
                rest -= want * weight;
            else
                open += weight;
        }
        if (open <= 0)
            return INFINITY;
        level = rest / open;
    } while (level > before);
    return level;
}

/* Senders whose flows would run at another rate. */
static void senders_due(struct sim_net *net, const uint32_t *flows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct sim_flow *f = &net->flow[flows[i]];

        if (fabs(fmin(f->want, flow_limit(net, f)) - f->rate) > unnoticed(net, f))
            up_due(net, f->from);
    }
}

static void receiver_share(struct sim_net *net, uint16_t node)
{
    struct sim_link *b = &net->link[node];

    b->level = level_find(net, b->in, b->in_n, b->down, false);
    senders_due(net, b->in, b->in_n);
}

static void air_share(struct sim_net *net)
{
    net->air_due = false;
    net->air_level = level_find(net, net->aired, net->aired_n, net->air, true);
    senders_due(net, net->aired, net->aired_n);
}

static void flow_rate_set(struct sim_net *net, uint32_t flow, double rate, bool blocked,
                          double at_ms)
{
    struct sim_flow *f = &net->flow[flow];
    bool same = fabs(rate - f->rate) <= f->rate * 1e-9;

    if (same && f->blocked == blocked)
        return;
    sim_flow_advance(f, at_ms);
    f->rate = rate;
    f->blocked = blocked;
    if (!f->changed)
        net->changed[net->changes++] = flow;
    f->changed = true;
}

/* The sender has another rate for f: do its receiver and the air notice? */
static void want_set(struct sim_net *net, struct sim_flow *f, double want)
{
    double before = f->want, level = net->link[f->to].level;

    f->want = want;
    if (fabs(fmin(want, level) - fmin(before, level)) > unnoticed(net, f))
        down_due(net, f->to);
    if (f->air && fabs(fmin(want, net->air_level) - fmin(before, net->air_level)) > 0)
        net->air_due = true;
}

/* The oldest takes all that its receiver lets it. */
static void sender_share(struct sim_net *net, uint16_t node, double at_ms)
{
    const struct sim_link *a = &net->link[node];
    double left = a->up;

    for (uint16_t i = 0; i < a->out_n; i++) {
        struct sim_flow *f = &net->flow[a->out[i]];
        double rate;

        want_set(net, f, left);
        rate = fmin(left, flow_limit(net, f));
        flow_rate_set(net, a->out[i], rate, rate < left * almost, at_ms);
        left -= rate;
    }
}

static void due_share(struct sim_net *net, double at_ms)
{
    uint32_t link = net->due[net->due_first];
    uint16_t node = (uint16_t)(link / 2);

    net->due_first = (net->due_first + 1) % (2 * net->nodes);
    net->due_n--;
    if (link % 2) {
        net->link[node].down_due = false;
        receiver_share(net, node);
    } else {
        net->link[node].up_due = false;
        sender_share(net, node, at_ms);
    }
}

void sim_net_share(struct sim_net *net, double at_ms)
{
    for (int step = 0; step < SHARE_STEPS && (net->due_n || net->air_due); step++) {
        if (net->due_n)
            due_share(net, at_ms);
        else
            air_share(net);
    }
    for (uint32_t i = 0; i < net->changes; i++) {
        struct sim_flow *f = &net->flow[net->changed[i]];

        f->changed = false;
        end_update(net, net->changed[i]);
    }
}
