/* flow: chunks on their way, and at which rates.
 *
 * A sender serves its slots oldest first: the next only gets what the one before
 * cannot take. A receiver shares its downlink fairly (max-min) among what comes in;
 * so does a wireless medium among all that takes its air, where a byte between two
 * stations counts twice. When something changes, its two links are shared out anew, then
 * those that notice by more than a hundredth of a link, and so on: rates are as
 * good as that, and a change costs what it touches, not the size of the world.
 */
#ifndef RONDA_SIM_FLOW_H
#define RONDA_SIM_FLOW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SIM_OUT_MAX = 20, /* chunks that a node sends at once */
    SIM_IN_MAX = 64,
};

#define SIM_NO_FLOW UINT32_MAX

struct sim_flow {
    bool used;
    bool blocked, told_blocked; /* its receiver, or the air, takes less than its sender has */
    bool changed;               /* its rate did; listed in changed[] */
    uint8_t air;                /* how often each byte takes the air */
    uint16_t from, to;
    uint16_t from_peer, to_peer; /* what the sender calls the receiver; the reverse */
    uint32_t chunk;
    uint32_t end_at;                       /* place in end[], or SIM_NO_FLOW */
    double left, total, told_in, told_out; /* bytes; left as of at_ms */
    double at_ms;
    double want;   /* what its sender has left for it */
    double rate;   /* bytes a ms */
    double end_ms; /* when its last byte is sent */
};

struct sim_link {
    double up, down; /* bytes a ms; 0: dead */
    double level;    /* no flow comes in faster than this */
    bool station;
    bool up_due, down_due;     /* in due[] */
    uint32_t out[SIM_OUT_MAX]; /* oldest first */
    uint32_t in[SIM_IN_MAX];
    uint16_t out_n, in_n;
};

struct sim_net {
    struct sim_link *link;
    uint32_t nodes;
    struct sim_flow *flow; /* SIM_OUT_MAX a node */
    uint32_t *end;         /* heap of flows by end_ms */
    uint32_t ends;
    uint32_t *changed; /* flows with another rate since the last sim_net_share() */
    uint32_t changes;
    uint32_t *due; /* ring of links to share out: 2 * node, + 1 for the downlink */
    uint32_t due_first, due_n;
    double air, air_level; /* bytes a ms; air 0: no medium */
    bool air_due;
    uint32_t *aired; /* flows that take the air */
    uint32_t aired_n;
};

int sim_net_init(struct sim_net *net, uint32_t nodes);
void sim_net_free(struct sim_net *net);
/* f: the first fields up to chunk, and total. */
void sim_flow_add(struct sim_net *net, const struct sim_flow *f);
void sim_flow_remove(struct sim_net *net, uint32_t flow);
/* A change of link[node].up or down. */
void sim_link_changed(struct sim_net *net, uint16_t node);
uint32_t sim_flow_find(const struct sim_net *net, uint16_t from, uint16_t from_peer,
                       uint32_t chunk);
void sim_flow_advance(struct sim_flow *f, double at_ms);
/* Shares out what changed, as of at_ms. What happens to a flow it lists in changed[];
 * the caller empties the list (changes = 0). */
void sim_net_share(struct sim_net *net, double at_ms);
/* The flow that ends first; SIM_NO_FLOW: none does. */
uint32_t sim_net_first(const struct sim_net *net);

#endif
