/* sched_ablate: remedies of the scheduler that a test can switch off. PURE.
 *
 * In the product none is ever off, and the question costs nothing. The simulator compiles
 * the scheduler once more with RONDA_SCHED_ABLATE and answers it: so each trap of the
 * design notes is shown to be one (tests/sim/cases.c).
 */
#ifndef RONDA_SCHED_ABLATE_H
#define RONDA_SCHED_ABLATE_H

#include <stdbool.h>
#include <stdint.h>

enum { SCHED_ABLATED_MS = 3600000 }; /* so long takes what never happens */

struct sched;

enum sched_remedy {
    SCHED_REMEDY_NONE,
    SCHED_REMEDY_EXPIRY,  /* OFFERs and GRANTs without an answer are given up */
    SCHED_REMEDY_SERVICE, /* who takes offered chunks slowly is offered few; off: all in turn */
    SCHED_REMEDY_ENDGAME, /* the last chunks may come from two */
    SCHED_REMEDY_STALL,   /* STALL grows with tau */
    SCHED_REMEDY_RANDOM,  /* GRANTs go to anybody at random; off: to the neediest */
    SCHED_REMEDY_RECENT,  /* the same; off: to whoever was served least */
    SCHED_REMEDY_PROMPT,  /* GRANTs are answered at once; off: together with HAVEs */
    SCHED_REMEDY_TIMER,   /* a backoff that ends wakes the uploader */
    SCHED_REMEDY_REVOKE,  /* an OFFER given up is taken back */
    SCHED_REMEDY_REVEAL,  /* COMPLETE once the last chunk is offered; off: delivered */
    SCHED_REMEDY_LEAF_T   /* a wireless receiver asks for two chunks at once */
};

#ifdef RONDA_SCHED_ABLATE
bool sched_ablated(enum sched_remedy remedy);
/* Of those that may get a GRANT, those that would get it without SCHED_REMEDY_RANDOM or _RECENT. */
uint64_t sched_ablated_mask(const struct sched *s, uint64_t candidates);
#else
static inline bool sched_ablated(enum sched_remedy remedy)
{
    (void)remedy;
    return false;
}

static inline uint64_t sched_ablated_mask(const struct sched *s, uint64_t candidates)
{
    (void)s;
    return candidates;
}
#endif

#endif
