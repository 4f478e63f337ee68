/* clock: the monotonic clock that everything timed is measured by. The wall
 * clock may jump and is used for nothing but display. */
#ifndef RONDA_CLOCK_H
#define RONDA_CLOCK_H

#include <stdint.h>
#include <sys/time.h>
#include <time.h>

/* Milliseconds, CLOCK_MONOTONIC; never 0. */
static inline uint64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + 1;
}

static inline void clock_timeval(uint64_t ms, struct timeval *tv)
{
    tv->tv_sec = (time_t)(ms / 1000);
    tv->tv_usec = (suseconds_t)(ms % 1000 * 1000);
}

#endif
