/* heap: what is due, by (time, sequence). */
#ifndef RONDA_SIM_HEAP_H
#define RONDA_SIM_HEAP_H

#include "transfer/core/sched.h"

enum sim_event_type {
    SIM_MSG,
    SIM_HAVES, /* a run of HAVEs: one message */
    SIM_RECEIVED,
    SIM_TIMER,
    SIM_JOIN,
    SIM_DIAL_MORE,
    SIM_VANISH,
    SIM_NOTICE,
    SIM_LEAVE
};

/* from_peer: what the sender calls the receiver; to_peer: the reverse. */
struct sim_event {
    double at_ms;
    uint64_t seq;
    enum sim_event_type type;
    uint16_t node, from;
    uint16_t from_peer, to_peer;
    uint32_t epoch; /* of the connection; a later one does not hear it */
    uint32_t bytes; /* SIM_RECEIVED: not told to the receiver yet; SIM_HAVES: how many */
    union {
        struct sched_act act;
        uint32_t *chunks; /* SIM_HAVES: owned by the event */
    };
};

struct sim_heap {
    struct sim_event *e;
    uint32_t n, cap;
    uint64_t seq;
};

void sim_heap_push(struct sim_heap *h, struct sim_event e);
bool sim_heap_pop(struct sim_heap *h, struct sim_event *e);

#endif
