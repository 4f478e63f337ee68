/* sim: the real scheduler for every peer of a virtual LAN, on virtual time.
 *
 *   sim.c      what a run starts from, printing
 *   options.c  the command line
 *   check.c    what ctest runs; cases.c its cases and bounds
 *   ablate.c   remedies of the scheduler, switched off
 *   world.c    what there is and when: a run from its options to its result
 *   node.c     one node: pumps its sched, tells it what its links and neighbours do
 *   liar.c     a peer that promises and does not deliver
 *   conn.c     who is connected to whom; messages on their way
 *   flow.c     links: who sends at which rate
 *   heap.c     events by (time, sequence)
 *
 * Time is ms in a double; sched sees whole ms. Everything random comes from one
 * seed: a run can be repeated.
 */
#ifndef RONDA_SIM_H
#define RONDA_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/sched.h"

enum { SIM_NODES_MAX = 20000 };

enum sim_lie {
    SIM_LIE_GRANT,    /* all chunks, and GRANTs */
    SIM_LIE_HAVE,     /* half of them, and GRANTs */
    SIM_LIE_COMPLETE, /* all, and never a word more */
};

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
    uint32_t stations;  /* peers on one wireless medium; the others are wired */
    double air;         /* what the medium carries, times mbit */
    bool source_air;    /* the sources are on it as well */
    bool leaves;        /* stations say that they are wireless */
    uint32_t liars;     /* peers that say they hold chunks, and deliver none */
    enum sim_lie lie;
    bool source_leaves; /* gone once every chunk is with some peer, with all that is under way */
    bool polite;
    bool tell;            /* progress on stderr */
    uint32_t valid_every; /* events between two sched_valid() of a node; 0: never */
};

struct sim_result {
    bool stalled; /* somebody alive did not finish, or nobody did */
    bool invalid; /* sched_valid() said no, or a sched refused a message */
    double ratio; /* time over the bound; with joins: the worst own time over D */
    double fast;  /* the same of those neither slow nor wireless, over their own bound */
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
/* Reads options of the command line (no others than a run's) into o; aborts when they are wrong. */
void sim_options_parse(const char *text, struct sim_options *o);
/* what: sweep, large or traps. quick: one seed each. */
int sim_check(const char *what, bool quick);

#endif
