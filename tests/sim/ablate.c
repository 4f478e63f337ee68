#include "tests/sim/ablate.h"

#include <stddef.h>

#include "transfer/core/sched_int.h"

static enum sched_remedy off;

void sim_ablate(enum sched_remedy remedy)
{
    off = remedy;
}

bool sched_ablated(enum sched_remedy remedy)
{
    return remedy == off;
}

static uint32_t had(const struct sched_nb *nb)
{
    return off == SCHED_REMEDY_RANDOM ? nb->have.count : nb->served;
}

uint64_t sched_ablated_mask(const struct sched *s, uint64_t candidates)
{
    uint16_t best = sched_lowest(candidates);

    if (off != SCHED_REMEDY_RANDOM && off != SCHED_REMEDY_RECENT)
        return candidates;
    for (uint64_t m = candidates; m; m &= m - 1)
        if (had(&s->nb[sched_lowest(m)]) < had(&s->nb[best]))
            best = sched_lowest(m);
    return sched_bit(best);
}

const char *sim_remedy_name(enum sched_remedy remedy)
{
    static const char *const names[] = {
        [SCHED_REMEDY_NONE] = "none",       [SCHED_REMEDY_EXPIRY] = "expiry",
        [SCHED_REMEDY_SERVICE] = "service", [SCHED_REMEDY_ENDGAME] = "endgame",
        [SCHED_REMEDY_STALL] = "stall",     [SCHED_REMEDY_RANDOM] = "random",
        [SCHED_REMEDY_RECENT] = "recent",   [SCHED_REMEDY_PROMPT] = "prompt",
        [SCHED_REMEDY_TIMER] = "timer",     [SCHED_REMEDY_REVOKE] = "revoke",
        [SCHED_REMEDY_REVEAL] = "reveal",   [SCHED_REMEDY_LEAF_T] = "leaf-t"};

    return remedy < sizeof(names) / sizeof(*names) ? names[remedy] : NULL;
}
