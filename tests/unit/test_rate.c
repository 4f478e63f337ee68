#include <criterion/criterion.h>
#include <math.h>

#include "transfer/core/rate.h"

static bool near(double got, double want, double tolerance)
{
    return fabs(got - want) <= want * tolerance;
}

/* bytes every 10 ms from *now_ms on, for ms. */
static void feed(struct rate *r, uint64_t *now_ms, uint64_t ms, uint64_t bytes)
{
    for (uint64_t end = *now_ms + ms; *now_ms < end; *now_ms += 10)
        rate_add(r, *now_ms, bytes);
}

Test(rate, is_zero_before_anything)
{
    struct rate r = {0};

    cr_assert_eq(rate_per_s(&r, 0), 0);
    cr_assert_eq(rate_per_s(&r, 100000), 0);
}

Test(rate, is_right_after_the_first_interval)
{
    struct rate r = {0};
    uint64_t now = 5000;

    feed(&r, &now, 300, 1000);
    cr_assert(near(rate_per_s(&r, now), 100000, 0.01), "%f", rate_per_s(&r, now));
}

Test(rate, follows_a_change_within_the_window)
{
    struct rate r = {0};
    uint64_t now = 1;

    feed(&r, &now, 10000, 1000);
    cr_assert(near(rate_per_s(&r, now), 100000, 0.01));
    feed(&r, &now, RATE_WINDOW_MS, 3000);
    cr_assert(rate_per_s(&r, now) > 200000);
    feed(&r, &now, 5 * RATE_WINDOW_MS, 3000);
    cr_assert(near(rate_per_s(&r, now), 300000, 0.02));
}

Test(rate, decays_while_nothing_is_added)
{
    struct rate r = {0};
    uint64_t now = 1;
    double before;

    feed(&r, &now, 4000, 1000);
    before = rate_per_s(&r, now);
    cr_assert(near(rate_per_s(&r, now + RATE_WINDOW_MS), before * 0.37, 0.15));
    cr_assert_eq(rate_per_s(&r, now + 3600000), 0);
    cr_assert(near(rate_per_s(&r, now), before, 0.001), "reading changes nothing");
}

Test(rate, starts_again_after_silence)
{
    struct rate r = {0};
    uint64_t now = 1;

    feed(&r, &now, 4000, 1000);
    now += 3600000;
    feed(&r, &now, 600, 2000);
    cr_assert(near(rate_per_s(&r, now), 200000, 0.2), "%f", rate_per_s(&r, now));
}

Test(rate, a_clock_of_zero_and_no_progress_is_no_trouble)
{
    struct rate r = {0};

    rate_add(&r, 0, 10);
    rate_add(&r, 0, 10);
    cr_assert_eq(rate_per_s(&r, 0), 0);
    cr_assert(rate_per_s(&r, 251) > 0);
}
