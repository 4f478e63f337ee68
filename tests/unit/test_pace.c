#include <criterion/criterion.h>

#include "transfer/core/pace.h"

/* Chunks of 128 KiB at 20 Mbit/s: tau is 52.4 ms. */
enum { CHUNK = 128 << 10, PIECE = 16 << 10 };
static const double per_ms = 2500, tau = CHUNK / 2500.0;

/* Sockets take part of the uplink, piece after piece, for ms. How often was it idle, so that
 * another chunk was begun? */
static int begun_while_sending(struct pace *p, uint64_t *now_ms, double part, double ms)
{
    double at = (double)*now_ms, end = at + ms;
    int begun = 0;

    while (at < end) {
        bool idle = (uint64_t)at >= pace_idle_ms(p, tau);

        begun += idle;
        pace_add(p, (uint64_t)at, PIECE, idle, tau);
        at += PIECE / (per_ms * part);
    }
    *now_ms = (uint64_t)at;
    return begun;
}

Test(pace, what_fills_the_uplink_leaves_it_busy)
{
    struct pace p;
    uint64_t now = 1000;

    pace_init(&p, CHUNK);
    cr_assert_leq(begun_while_sending(&p, &now, 1, 3000), 2);
}

Test(pace, what_was_measured_counts_more_than_the_guess)
{
    struct pace p;
    int begun = 0;

    pace_init(&p, CHUNK);
    for (uint64_t now = 1000; now < 4000; now += PIECE / 2500) {
        bool idle = now >= pace_idle_ms(&p, tau / 2);

        begun += idle && now > 2000;
        pace_add(&p, now, PIECE, idle, tau / 2);
    }
    cr_assert_leq(begun, 4);
}

Test(pace, half_of_the_uplink_leaves_it_idle)
{
    struct pace p;
    uint64_t now = 1000;

    pace_init(&p, CHUNK);
    (void)begun_while_sending(&p, &now, 1, 1000);
    cr_assert_geq(begun_while_sending(&p, &now, 0.5, 10 * tau), 9, "one a tau");
}

/* The next is given a quarter of tau, and what it took at first, to show what it can. */
Test(pace, a_chunk_begun_has_its_chance)
{
    struct pace p;

    pace_init(&p, CHUNK);
    pace_add(&p, 1000, PIECE, true, tau);
    cr_assert_gt(pace_idle_ms(&p, tau), (uint64_t)(1000 + tau / 4));
    cr_assert_leq(pace_idle_ms(&p, tau), (uint64_t)(1001 + tau / 4 + PIECE / per_ms));
    pace_add(&p, 9000, PIECE, true, tau);
    cr_assert_gt(pace_idle_ms(&p, tau), (uint64_t)(9000 + tau / 4));
}

/* A slower neighbour is no slower uplink; only if all were slow for seconds it is. */
Test(pace, the_best_of_the_last_seconds_counts)
{
    struct pace p;
    uint64_t now = 1000;

    pace_init(&p, CHUNK);
    (void)begun_while_sending(&p, &now, 1, 2000);
    cr_assert_geq(begun_while_sending(&p, &now, 0.5, 3000), 30);
    (void)begun_while_sending(&p, &now, 0.5, 4000);
    cr_assert_leq(begun_while_sending(&p, &now, 0.5, 3000), 3);
}

/* What sockets swallow after a pause did not go out: a burst teaches no rate. */
Test(pace, a_burst_after_a_pause_is_no_rate)
{
    struct pace p;
    uint64_t now = 1000;

    pace_init(&p, CHUNK);
    (void)begun_while_sending(&p, &now, 1, 1000);
    now += 2000;
    for (int i = 0; i < 20; i++)
        pace_add(&p, now, PIECE, true, tau);
    (void)begun_while_sending(&p, &now, 1, 300);
    cr_assert_leq(begun_while_sending(&p, &now, 1, 2000), 2);
}

Test(pace, short_chunks_do_not_wait)
{
    struct pace p;

    pace_init(&p, CHUNK);
    pace_add(&p, 1000, CHUNK, true, 1);
    cr_assert_eq(pace_idle_ms(&p, 1), 0);
    cr_assert_gt(pace_idle_ms(&p, 10), 1000);
}
