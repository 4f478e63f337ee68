/* options: the command line of ronda-sim, read strictly. */
#ifndef RONDA_SIM_OPTIONS_H
#define RONDA_SIM_OPTIONS_H

#include <stdio.h>

#include "tests/sim/sim.h"

struct sim_command {
    struct sim_options run;
    uint32_t runs;
    const char *check; /* NULL: run */
    bool quick, help;
};

void sim_usage(FILE *to);
/* Reads argv over what c holds; -1: one sentence on stderr names what is wrong. With help or
 * check set, nothing else is to be done. */
int sim_command_read(struct sim_command *c, int argc, char **argv);

#endif
