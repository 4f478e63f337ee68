#include "transfer/core/pace.h"

/* Of tau: idle for so long, the uplink wants more. Daemons, 64 MiB to 24 at 20 Mbit/s, one
 * chunk begun, time / bound: no waiting 1.141, 0.1 tau 1.126, 0.25 tau 1.118, 0.5 tau 1.142.
 * One or two begun: 1.130, 1.113; 128 MiB to 10 at 100 Mbit/s 1.054, 1.036 (no waiting 1.038). */
static const double patience = 0.25;

void pace_init(struct pace *p, uint32_t chunk_bytes)
{
    *p = (struct pace){.chunk_bytes = chunk_bytes};
}

static double tau_ms(const struct pace *p, double guess_ms)
{
    double best = 0;

    for (int i = 0; i < PACE_WINDOWS; i++)
        if (p->best[i] > best)
            best = p->best[i];
    return best > 0 ? p->chunk_bytes / best : guess_ms;
}

/* Closes the running window. One with a pause behind it says nothing, nor does the first
 * after that: it filled the sockets. */
static void window_roll(struct pace *p, uint64_t now_ms)
{
    uint64_t ms = now_ms - p->since_ms;
    bool whole = p->since_ms > 0 && ms < (uint64_t)2 * PACE_WINDOW_MS;

    if (p->since_ms > 0 && ms < PACE_WINDOW_MS)
        return;
    if (whole && p->steady)
        p->best[p->next++ % PACE_WINDOWS] = (double)p->bytes / (double)ms;
    p->steady = whole;
    p->since_ms = now_ms;
    p->bytes = 0;
}

void pace_add(struct pace *p, uint64_t now_ms, uint32_t bytes, bool first, double guess_tau_ms)
{
    double tau, least;

    window_roll(p, now_ms);
    p->bytes += bytes;
    tau = tau_ms(p, guess_tau_ms);
    least = (double)now_ms - (first ? 0 : tau * patience);
    if (p->due_ms < least)
        p->due_ms = least;
    p->due_ms += tau * bytes / p->chunk_bytes;
}

uint64_t pace_idle_ms(const struct pace *p, double guess_tau_ms)
{
    double tau = tau_ms(p, guess_tau_ms);

    return tau < PACE_TAU_MIN_MS ? 0 : (uint64_t)(p->due_ms + tau * patience) + 1;
}
