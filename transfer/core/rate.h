/* rate: bytes per second, smoothed, from byte counts and a clock. PURE. */
#ifndef RONDA_RATE_H
#define RONDA_RATE_H

#include <stdint.h>

struct rate {
    uint64_t since_ms; /* start of the running interval; 0: never fed */
    uint64_t bytes;    /* in the running interval */
    double per_s;      /* exponential average over about RATE_WINDOW_MS */
};

enum { RATE_INTERVAL_MS = 250, RATE_WINDOW_MS = 2000 };

void rate_add(struct rate *r, uint64_t now_ms, uint64_t bytes);
/* Decays while nothing is added. */
double rate_per_s(const struct rate *r, uint64_t now_ms);

#endif
