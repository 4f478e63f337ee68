/* world: what a run consists of; shared by world.c, node.c and conn.c. */
#ifndef RONDA_SIM_WORLD_H
#define RONDA_SIM_WORLD_H

#include "tests/sim/flow.h"
#include "tests/sim/heap.h"
#include "tests/sim/sim.h"

/* The rule of transfer/PROTOCOL.md, "Peer exchange". */
enum {
    SIM_MESH_MAX = 33,      /* so few nodes: each is linked to all */
    SIM_DIAL = 16,          /* else a newcomer links to so many at random, */
    SIM_DEGREE_WANTED = 24, /* and later to more, until there are so many; */
    SIM_DEGREE_MAX = 40     /* so many are accepted */
};

struct conn { /* one direction of a connection */
    bool up;
    bool granted;        /* a liar's GRANT is unanswered */
    uint16_t other;      /* the node at the other end */
    uint16_t other_peer; /* what its sched calls us */
    uint32_t epoch;      /* counts connections, and their ends */
    double fifo_ms;      /* nothing arrives before what was sent earlier */
};

struct node {
    struct sched *sched; /* NULL: not joined, or a liar */
    bool alive;
    bool slow, station, liar;
    bool poked;                /* listed by blocked_tell() */
    double joined_ms, done_ms; /* done_ms 0: not yet */
    double timer_ms;           /* of the pending SIM_TIMER; 0: none */
    uint64_t synced_ms;
    uint16_t degree;
    uint32_t events;
    struct conn conn[SIM_DEGREE_MAX]; /* by the sched's number of the neighbour */
};

struct world {
    struct sim_options o;
    struct sim_result *r;
    struct sim_heap heap;
    struct sim_net net;
    struct node *node;
    uint16_t nodes;
    double now_ms;
    uint64_t random;
    uint64_t sent[SCHED_UPLOAD]; /* control messages */
    uint64_t pass_full;
    double source_bytes;
    uint32_t unfinished;
    bool leaving;
    uint32_t *batch; /* the run of HAVEs that a pump is in; chunks long */
    uint16_t *poked;
};

static inline uint64_t clock_ms(const struct world *w)
{
    return (uint64_t)(w->now_ms + 1e-6);
}

/* The first nodes are the origins. */
static inline bool is_source(const struct world *w, uint16_t n)
{
    return n < w->o.sources;
}

static inline struct conn *conn_at(struct world *w, uint16_t n, uint16_t peer)
{
    return &w->node[n].conn[peer];
}

double random_unit(struct world *w);
void blame(struct world *w, uint16_t node, const char *what);

/* conn.c */
/* Sends e from e.from to its neighbour e.from_peer; it arrives after what went before. */
void conn_post(struct world *w, struct sim_event e);
/* Is the connection on which e came still there? */
bool conn_heard(struct world *w, const struct sim_event *e);
/* A newcomer links to the others. */
void conn_dial(struct world *w, uint16_t n);
/* Links n to as many more as it lacks, and looks again later. */
void conn_dial_more(struct world *w, uint16_t n);
/* n learns that the other end is gone, as its session would tell it. */
void conn_end(struct world *w, uint16_t n, uint16_t peer);
/* n ends, and its neighbours hear of it later. flushed: what its sockets took still arrives. */
void node_kill(struct world *w, uint16_t n, double notice_ms, bool flushed);

/* liar.c */
void liar_greet(struct world *w, uint16_t n, uint16_t peer);
void liar_on_message(struct world *w, const struct sim_event *e);
void liar_on_timer(struct world *w, uint16_t n);
void liar_wait(struct world *w, uint16_t n);

/* node.c */
void node_join(struct world *w, uint16_t n);
/* Tells a sched what its links did since the last time. */
void node_sync(struct world *w, uint16_t n);
void node_pump(struct world *w, uint16_t n);
void node_on_message(struct world *w, const struct sim_event *e);
void node_on_timer(struct world *w, const struct sim_event *e);
/* The last byte of a flow left the sender. */
void node_flow_end(struct world *w, uint32_t flow);
void node_flow_stop(struct world *w, uint32_t flow);

#endif
