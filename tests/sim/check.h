/* check: what the scheduler must reach among virtual peers, case by case. */
#ifndef RONDA_SIM_CHECK_H
#define RONDA_SIM_CHECK_H

#include <stdint.h>

#include "tests/sim/ablate.h"

/* At most so much, as the mean of the runs; 0: whatever it is. */
struct sim_bounds {
    double ratio;      /* time / bound of the network */
    double fast;       /* the same of those neither slow nor wireless */
    double copies;     /* that the source sends */
    double duplicates; /* bytes that came twice */
    double messages;   /* control messages a chunk */
    double ratio_min;  /* at least: what a rule saves is shown without it */
};

struct sim_case {
    const char *name;
    const char *options; /* of ronda-sim, as on its command line */
    uint32_t runs;       /* seeds 1, 2, .. */
    struct sim_bounds most;
    enum sched_remedy without; /* a trap: with this one off the case must break a bound */
};

/* Each ends with a case without a name. */
extern const struct sim_case sim_sweep[];
extern const struct sim_case sim_large[];
extern const struct sim_case sim_traps[];

#endif
