/* ablate: switches a remedy of the scheduler off, in the simulator alone. */
#ifndef RONDA_SIM_ABLATE_H
#define RONDA_SIM_ABLATE_H

#include "transfer/core/sched_ablate.h"

/* For all schedulers from now on; SCHED_REMEDY_NONE: all remedies are there again. */
void sim_ablate(enum sched_remedy remedy);
/* Its name on the command line; NULL: no such remedy. */
const char *sim_remedy_name(enum sched_remedy remedy);

#endif
