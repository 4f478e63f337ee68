/* A full socket: its receiver is slow, or the uplink it shares. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/unit/share_fixture.h"
#include "transfer/io/clock.h"
#include "transfer/io/swarm_int.h"

enum {
    CHUNK = 128 << 10,
    LARGE_CHUNK = SWARM_FULL_BYTES,
    LINKS = 4,
    PER_S = 16 * SWARM_FULL_BYTES, /* of which 256 KiB take 62 ms */
    HOUR_MS = 3600 * 1000
};

/* As much of a swarm as the question needs. */
struct half {
    struct manifest *manifest;
    struct layout *layout;
    struct swarm *swarm;
    struct swarm_link link[LINKS];
    uint64_t begin_ms;
};

static void half_open(struct half *h, uint32_t chunk_bytes)
{
    struct fixture_file file = {"image.bin", 7, 2 * chunk_bytes, false};
    struct sched_cfg sc = {
        .chunks = 2, .chunk_bytes = chunk_bytes, .max_peers = LINKS, .source = true};

    *h = (struct half){.begin_ms = clock_ms()};
    h->swarm = calloc(1, sizeof(*h->swarm));
    cr_assert_eq(fixture_build("image.bin", true, chunk_bytes, &file, 1, &h->manifest), 0);
    cr_assert_eq(layout_new(h->manifest, &h->layout), 0);
    cr_assert_eq(layout_chunk_bytes_max(h->layout), chunk_bytes);
    h->swarm->cfg.layout = h->layout;
    cr_assert_eq(sched_new(&sc, NULL, h->begin_ms, &h->swarm->sched), 0);
    for (unsigned i = 0; i < LINKS; i++) {
        struct swarm_link *l = &h->link[i];

        l->swarm = h->swarm;
        cr_assert_eq(sched_peer_add(h->swarm->sched, h->begin_ms, SCHED_WIRED, &l->number), 0);
        h->swarm->links[h->swarm->link_count++] = l;
    }
}

static void half_close(struct half *h)
{
    sched_free(h->swarm->sched);
    layout_free(h->layout);
    manifest_free(h->manifest);
    free(h->swarm);
}

/* The uplink takes so much. No interval of the average ends before the test does. */
static void uplink_run(struct half *h, double per_s)
{
    h->swarm->up = (struct rate){.since_ms = h->begin_ms + HOUR_MS, .per_s = per_s};
}

static void full_since(struct half *h, unsigned links, uint64_t at_ms)
{
    for (unsigned i = 0; i < links; i++) {
        h->link[i].blocked = true;
        h->link[i].blocked_ms = at_ms;
    }
}

Test(swarm_full, of_a_large_chunk_the_scheduler_hears_at_once)
{
    struct half h;

    half_open(&h, LARGE_CHUNK);
    uplink_run(&h, PER_S);
    swarm_link_block(&h.link[0]);
    cr_assert(h.link[0].blocked);
    cr_assert(h.link[0].blocked_told);
    cr_assert_eq(h.swarm->serve_ms, 0);
    half_close(&h);
}

Test(swarm_full, with_no_rate_yet_the_scheduler_hears_at_once)
{
    struct half h;

    half_open(&h, CHUNK);
    swarm_link_block(&h.link[0]);
    cr_assert(h.link[0].blocked_told);
    half_close(&h);
}

Test(swarm_full, of_a_small_chunk_it_hears_only_once_that_lasts)
{
    struct half h;

    half_open(&h, CHUNK);
    uplink_run(&h, 1000);
    swarm_link_block(&h.link[0]);
    cr_assert(h.link[0].blocked, "nothing more is written");
    cr_assert_not(h.link[0].blocked_told);
    cr_assert_eq(h.swarm->serve_ms, h.link[0].blocked_ms + SWARM_FULL_MAX_MS, "looked at again");
    full_since(&h, 1, h.begin_ms - SWARM_FULL_MAX_MS);
    swarm_link_block(&h.link[0]);
    cr_assert(h.link[0].blocked_told, "the wait has an end, however slow the uplink is");
    half_close(&h);
}

Test(swarm_full, alone_it_had_the_whole_uplink)
{
    struct half h;

    half_open(&h, CHUNK);
    uplink_run(&h, PER_S);
    full_since(&h, 1, h.begin_ms - 1000 * SWARM_FULL_BYTES / PER_S);
    swarm_link_block(&h.link[0]);
    cr_assert(h.link[0].blocked_told);
    half_close(&h);
}

Test(swarm_full, each_that_is_full_makes_the_wait_longer)
{
    uint64_t wait_ms[LINKS + 1] = {0};

    for (unsigned links = 1; links <= LINKS; links++) {
        struct half h;

        half_open(&h, CHUNK);
        uplink_run(&h, PER_S / 10.0);
        full_since(&h, links, h.begin_ms + HOUR_MS);
        swarm_link_block(&h.link[0]);
        cr_assert_not(h.link[0].blocked_told);
        wait_ms[links] = h.swarm->serve_ms - h.link[0].blocked_ms;
        half_close(&h);
    }
    cr_assert_eq(wait_ms[1], 625);
    cr_assert_eq(wait_ms[2], 1250);
    cr_assert_eq(wait_ms[3], 1875);
    cr_assert_eq(wait_ms[4], SWARM_FULL_MAX_MS);
}
