/* sim: the real scheduler for every peer of a virtual LAN, on virtual time.
 *
 *   sim.c    command line, printing
 *   check.c  the sweep that ctest runs, with its bounds
 *   world.c  nodes, connections, messages: pumps every sched
 *   flow.c   links: who sends at which rate
 *   heap.c   events by (time, sequence)
 *
 * Time is ms in a double; sched sees whole ms. Everything random comes from one
 * seed: a run can be repeated.
 */
#ifndef RONDA_SIM_H
#define RONDA_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/sched.h"

enum { SIM_NODES_MAX = 1200, SIM_DEGREE_MAX = 40, SIM_DIAL = 16, SIM_MESH_MAX = 33 };

struct sim_options {
    uint32_t peers;   /* receivers */
    uint32_t sources; /* origins of the same share, each with all chunks */
    uint32_t chunks;
    uint32_t chunk_bytes;
    uint64_t seed;
    double mbit;          /* of every link, each way */
    double source_factor; /* the source's uplink, times mbit */
    uint32_t slow_peers;
    double slow_up, slow_down; /* of slow peers, times mbit */
    double join_spread;        /* joins over so many D */
    double vanish;             /* fraction of the peers that die silently at D/2 */
    double latency_min_ms, latency_max_ms;
    double queue_ms;    /* what waits in a busy uplink's queue, control and data alike */
    uint32_t queue_kib; /* handed to a socket ahead of the wire: control waits behind it */
    uint32_t leaves;    /* peers on a shared wireless medium (no limit of the air here) */
    bool source_leaves; /* gone once every chunk is with some peer, with all that is under way */
    bool polite;
    bool tell;            /* progress on stderr */
    uint32_t valid_every; /* events between two sched_valid() of a node; 0: never */
};

struct sim_result {
    bool stalled; /* somebody alive did not finish */
    bool invalid; /* sched_valid() said no, or a sched refused a message */
    double ratio; /* time over the bound; with joins: the worst own time over D */
    double source_copies;
    double duplicates; /* of what the peers needed */
    double messages;   /* control messages a chunk and receiver */
    double by_type[SCHED_UPLOAD];
    double pass_full; /* of the PASSes */
    double seconds;   /* virtual */
    uint64_t events;
};

int sim_run(const struct sim_options *o, struct sim_result *r);
struct sim_options sim_defaults(void);
int sim_check(bool quick);

/* heap.c */
enum sim_event_type {
    SIM_MSG,
    SIM_RECEIVED,
    SIM_TIMER,
    SIM_JOIN,
    SIM_VANISH,
    SIM_NOTICE,
    SIM_LEAVE
};

struct sim_event {
    double at_ms;
    uint64_t seq;
    enum sim_event_type type;
    uint16_t node, from;
    uint32_t epoch; /* of the connection; a later one does not hear it */
    uint32_t bytes; /* SIM_RECEIVED: not told to the receiver yet */
    struct sched_act act;
};

struct sim_heap {
    struct sim_event *e;
    uint32_t n, cap;
    uint64_t seq;
};

void sim_heap_push(struct sim_heap *h, struct sim_event e);
bool sim_heap_pop(struct sim_heap *h, struct sim_event *e);

/* flow.c: a chunk on its way. Slots of a sender are served oldest first, the
 * next only gets what the one before cannot take; receivers share fairly. */
struct sim_flow {
    bool used;
    uint16_t from, to;
    uint32_t chunk;
    double left, total, told_in, told_out; /* bytes; left as of at_ms */
    double at_ms;
    double rate; /* bytes a ms */
    double cap;  /* what the receiver can take of it */
    bool sated;  /* has all that its sender has left for it */
    bool blocked, told_blocked;
};

struct sim_link {
    double up, down; /* bytes a ms; 0: dead */
    uint16_t out[SCHED_PEERS_MAX];
    uint16_t out_n; /* oldest first */
    uint16_t in[SCHED_PEERS_MAX * 2];
    uint16_t in_n;
};

struct sim_net {
    struct sim_link link[SIM_NODES_MAX];
    uint16_t nodes;
    struct sim_flow *flow;
    uint16_t flows_max;
    bool dirty;      /* shares and first are out of date */
    uint16_t first;  /* the flow that ends first; UINT16_MAX: none */
    double first_ms; /* when */
};

int sim_net_init(struct sim_net *net, uint16_t nodes);
void sim_net_free(struct sim_net *net);
uint16_t sim_flow_add(struct sim_net *net, uint16_t from, uint16_t to, uint32_t chunk,
                      uint32_t bytes, double at_ms);
void sim_flow_remove(struct sim_net *net, uint16_t flow);
uint16_t sim_flow_find(const struct sim_net *net, uint16_t from, uint16_t to, uint32_t chunk);
void sim_flow_advance(struct sim_flow *f, double at_ms);
/* Shares out the links anew as of at_ms, and finds the flow that ends first. */
void sim_net_share(struct sim_net *net, double at_ms);

#endif
