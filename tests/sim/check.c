/* The sweep of ctest: figures of the design, loose by 0.05 and more where seeds differ much; of
 * messages a chunk, 1.3 times what it takes. quick: one seed each. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

struct check {
    const char *name;
    double ratio_max, copies_max, messages_max;
    double ratio_min; /* what the remedy would save: shown with the remedy off */
    double fast_max;  /* of those neither slow nor wireless */
    uint32_t peers, sources, chunks, chunk_bytes, runs;
    double mbit;
    double source_factor, slow_up, slow_down, join_spread, vanish, queue_ms;
    uint32_t queue_kib;
    uint32_t slow_peers, stations;
    bool leaves, source_leaves, polite;
};

static const struct check checks[] = {
    {.name = "one peer", .ratio_max = 1.01, .peers = 1, .chunks = 256, .runs = 2},
    {.name = "10 peers", .ratio_max = 1.065, .copies_max = 1.07, .messages_max = 13, .runs = 3},
    {.name = "10 peers, 100 Mbit/s",
     .ratio_max = 1.065,
     .copies_max = 1.07,
     .messages_max = 14.5,
     .runs = 2,
     .mbit = 100},
    {.name = "10 peers, 100 Mbit/s, 256 KiB",
     .ratio_max = 1.04,
     .copies_max = 1.03,
     .messages_max = 13.7,
     .runs = 2,
     .mbit = 100,
     .chunk_bytes = 256 << 10},
    {.name = "the same, behind 20 ms of data",
     .ratio_max = 1.05,
     .copies_max = 1.03,
     .messages_max = 10,
     .runs = 2,
     .mbit = 100,
     .chunk_bytes = 256 << 10,
     .queue_ms = 20},
    {.name = "the same, behind 128 KiB",
     .ratio_max = 1.05,
     .copies_max = 1.03,
     .messages_max = 9,
     .runs = 2,
     .mbit = 100,
     .chunk_bytes = 256 << 10,
     .queue_kib = 128},
    {.name = "two origins, one copy",
     .ratio_max = 1.05,
     .copies_max = 1.25,
     .runs = 2,
     .mbit = 100,
     .chunk_bytes = 256 << 10,
     .sources = 2,
     .polite = true},
    {.name = "two origins",
     .ratio_max = 1.05,
     .messages_max = 11,
     .runs = 2,
     .mbit = 100,
     .chunk_bytes = 256 << 10,
     .sources = 2},
    {.name = "10 peers, 256 KiB",
     .ratio_max = 1.09,
     .copies_max = 1.07,
     .messages_max = 9,
     .runs = 2,
     .chunk_bytes = 256 << 10},
    {.name = "10 peers, 64 chunks", .ratio_max = 1.28, .chunks = 64, .runs = 5},
    {.name = "10 peers, 256 chunks", .ratio_max = 1.12, .chunks = 256, .runs = 3},
    {.name = "32 peers, 256 chunks", .ratio_max = 1.2, .peers = 32, .chunks = 256, .runs = 1},
    {.name = "32 peers",
     .ratio_max = 1.08,
     .copies_max = 1.07,
     .messages_max = 23.5,
     .peers = 32,
     .runs = 1},
    {.name = "32 peers, 100 Mbit/s, 256 KiB",
     .ratio_max = 1.08,
     .copies_max = 1.07,
     .messages_max = 24,
     .peers = 32,
     .runs = 1,
     .mbit = 100,
     .chunk_bytes = 256 << 10},
    {.name = "slow source", .ratio_max = 1.051, .chunks = 256, .runs = 2, .source_factor = 0.1},
    {.name = "fast source", .ratio_max = 1.055, .runs = 2, .source_factor = 10},
    {.name = "one slow peer",
     .ratio_max = 1.052,
     .chunks = 256,
     .runs = 3,
     .slow_peers = 1,
     .slow_up = 0.1,
     .slow_down = 0.1},
    {.name = "half with slow uplinks",
     .ratio_max = 1.2,
     .runs = 2,
     .slow_peers = 5,
     .slow_up = 0.1},
    {.name = "one uplink of a thousandth",
     .ratio_max = 1.25,
     .runs = 3,
     .slow_peers = 1,
     .slow_up = 0.001},
    {.name = "source leaves after one copy",
     .ratio_max = 1.065,
     .copies_max = 1.01,
     .runs = 3,
     .polite = true,
     .source_leaves = true},
    {.name = "the same, behind 128 KiB",
     .ratio_max = 1.065,
     .copies_max = 1.01,
     .runs = 3,
     .mbit = 100,
     .chunk_bytes = 256 << 10,
     .queue_kib = 128,
     .polite = true,
     .source_leaves = true},
    {.name = "source leaves when it may",
     .ratio_max = 1.065,
     .copies_max = 1.07,
     .runs = 3,
     .mbit = 100,
     .chunk_bytes = 256 << 10,
     .queue_kib = 128,
     .source_leaves = true},
    {.name = "the same, 256 chunks",
     .ratio_max = 1.12,
     .peers = 4,
     .chunks = 256,
     .runs = 3,
     .mbit = 50,
     .chunk_bytes = 128 << 10,
     .queue_ms = 20,
     .source_leaves = true},
    {.name = "a fifth vanishes", .ratio_max = 1.066, .runs = 3, .vanish = 0.2},
    {.name = "a fifth vanishes, few chunks",
     .ratio_max = 1.5,
     .chunks = 128,
     .runs = 2,
     .vanish = 0.2},
    {.name = "Wi-Fi, no leaves", .ratio_max = 1.95, .ratio_min = 1.8, .runs = 1, .stations = 10},
    {.name = "Wi-Fi, all leaves",
     .ratio_max = 1.01,
     .messages_max = 9.5,
     .runs = 3,
     .stations = 10,
     .leaves = true},
    {.name = "half on Wi-Fi, no leaves",
     .ratio_max = 1.5,
     .ratio_min = 1.4,
     .runs = 1,
     .stations = 5},
    {.name = "half on Wi-Fi, as leaves",
     .ratio_max = 1.01,
     .fast_max = 1.03,
     .messages_max = 11,
     .runs = 3,
     .stations = 5,
     .leaves = true},
    {.name = "the same, behind 128 KiB",
     .ratio_max = 1.01,
     .fast_max = 1.03,
     .messages_max = 9.5,
     .runs = 2,
     .mbit = 100,
     .chunk_bytes = 256 << 10,
     .queue_kib = 128,
     .stations = 5,
     .leaves = true},
    {.name = "one wired, the others leaves",
     .ratio_max = 1.01,
     .fast_max = 1.03,
     .runs = 2,
     .stations = 9,
     .leaves = true},
    {.name = "leaves, the source left",
     .ratio_max = 1.95,
     .copies_max = 1.01,
     .messages_max = 15,
     .chunks = 256,
     .runs = 2,
     .stations = 10,
     .leaves = true,
     .source_leaves = true,
     .polite = true},
    {.name = "joins over 1 D", .ratio_max = 1.06, .runs = 2, .join_spread = 1},
    {.name = "joins over 3 D", .ratio_max = 1.056, .runs = 2, .join_spread = 3},
};

static struct sim_options options_of(const struct check *c, uint64_t seed)
{
    struct sim_options o = sim_defaults();

    o.seed = seed;
    o.valid_every = 300;
    o.peers = c->peers ? c->peers : o.peers;
    o.chunks = c->chunks ? c->chunks : o.chunks;
    o.mbit = c->mbit > 0 ? c->mbit : o.mbit;
    o.source_factor = c->source_factor > 0 ? c->source_factor : 1;
    o.slow_up = c->slow_up > 0 ? c->slow_up : 1;
    o.slow_down = c->slow_down > 0 ? c->slow_down : 1;
    o.slow_peers = c->slow_peers;
    o.join_spread = c->join_spread;
    o.vanish = c->vanish;
    o.stations = c->stations;
    o.leaves = c->leaves;
    o.source_leaves = c->source_leaves;
    o.sources = c->sources ? c->sources : 1;
    o.chunk_bytes = c->chunk_bytes ? c->chunk_bytes : o.chunk_bytes;
    o.queue_ms = c->queue_ms;
    o.queue_kib = c->queue_kib;
    o.polite = c->polite;
    return o;
}

static bool run_check(const struct check *c, uint64_t seed)
{
    struct sim_options o = options_of(c, seed);
    struct sim_result r;
    int err = sim_run(&o, &r);
    bool good = !err && r.ratio <= c->ratio_max && r.ratio >= c->ratio_min &&
                (c->fast_max <= 0 || r.fast <= c->fast_max) &&
                (c->copies_max <= 0 || r.source_copies <= c->copies_max) &&
                (c->messages_max <= 0 || r.messages <= c->messages_max);

    printf("%-4s %-30s seed %llu: ratio %.4f (at most %.3f), %.3f copies, %.2f%% duplicates, "
           "%.1f messages a chunk%s%s\n",
           good ? "ok" : "BAD", c->name, (unsigned long long)seed, r.ratio, c->ratio_max,
           r.source_copies, r.duplicates * 100, r.messages, r.stalled ? ", STALLED" : "",
           r.invalid ? ", INVALID" : "");
    fflush(stdout);
    return good;
}

int sim_check(bool quick)
{
    int bad = 0;

    for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++) {
        uint32_t runs = quick ? 1 : checks[i].runs;

        for (uint32_t seed = 1; seed <= runs; seed++)
            bad += !run_check(&checks[i], seed);
    }
    return bad ? -1 : 0;
}
