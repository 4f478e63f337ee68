#include "transfer/core/rate.h"

/* exp(-RATE_INTERVAL_MS / RATE_WINDOW_MS): what one interval leaves of the past. */
static const double interval_keep = 0.8824969025845955;

/* After so many empty intervals less than 1e-6 of the average is left. */
enum { INTERVALS_FORGOTTEN = 111 };

/* Closes the intervals that ended by now_ms. The first one starts the average
 * at its own value: a transfer of three seconds shall not be shown too slow. */
static void rate_roll(struct rate *r, uint64_t now_ms)
{
    uint64_t ended = now_ms > r->since_ms ? (now_ms - r->since_ms) / RATE_INTERVAL_MS : 0;
    double last = (double)r->bytes * 1000 / RATE_INTERVAL_MS;

    if (!ended)
        return;
    if (r->per_s > 0)
        r->per_s = r->per_s * interval_keep + last * (1 - interval_keep);
    else
        r->per_s = last;
    for (uint64_t i = 1; i < ended && i < INTERVALS_FORGOTTEN; i++)
        r->per_s *= interval_keep;
    if (ended >= INTERVALS_FORGOTTEN)
        r->per_s = 0;
    r->bytes = 0;
    r->since_ms += ended * RATE_INTERVAL_MS;
}

void rate_add(struct rate *r, uint64_t now_ms, uint64_t bytes)
{
    if (r->since_ms == 0)
        r->since_ms = now_ms ? now_ms : 1;
    rate_roll(r, now_ms);
    r->bytes += bytes;
}

double rate_per_s(const struct rate *r, uint64_t now_ms)
{
    struct rate copy = *r;

    if (r->since_ms == 0)
        return 0;
    rate_roll(&copy, now_ms);
    return copy.per_s;
}
