/* The cases, with sched_valid() after every event unless they say else. Bounds are at most 0.02
 * above the design's figure, in brackets below. */
#include "tests/sim/check.h"

#define SLOW_LINK "--mbit 100 --chunk-bytes 262144 "
#define SMALL     "--mbit 100 --chunk-bytes 131072 "

/* clang-format off */
const struct sim_case sim_sweep[] = {
    {"one peer", "--peers 1 --chunks 256", 2, {.ratio = 1.01}, 0},
    {"10 peers, 64 chunks [1.179]", "--chunks 64", 8, {.ratio = 1.199}, 0},
    {"32 peers, 64 chunks [1.280]", "--peers 32 --chunks 64", 8, {.ratio = 1.3}, 0},
    {"a fifth vanishes, few chunks", "--chunks 128 --vanish 0.2", 4, {.ratio = 1.2}, 0},
    {"4 peers, source leaves, 256 chunks", "--peers 4 --chunks 256 --chunk-bytes 131072 --mbit 50 --queue-ms 20 --source-leaves", 3, {.ratio = 1.07}, 0},
    {"leaves, the source left", "--chunks 128 --stations 10 --leaves --polite --source-leaves", 2, {.ratio = 1.95, .copies = 1.01, .messages = 16}, 0},
    {"2 of 10 lie, few chunks", "--chunks 64 --liars 2", 4, {.ratio = 2.8}, 0},
    {"10 peers, 256 chunks [1.049]", "--chunks 256", 8, {.ratio = 1.069}, 0},
    {"10 peers [1.015]", "", 3, {.ratio = 1.035, .copies = 1.03, .messages = 12}, 0},
    {"10 peers, 100 Mbit/s", "--mbit 100", 2, {.ratio = 1.035, .copies = 1.03, .messages = 14.5}, 0},
    {"10 peers, 100 Mbit/s, 256 KiB", SLOW_LINK, 2, {.ratio = 1.035, .copies = 1.03, .messages = 13.7}, 0},
    {"the same, behind 20 ms of data", SLOW_LINK "--queue-ms 20", 2, {.ratio = 1.05, .copies = 1.03, .messages = 10}, 0},
    {"the same, behind 128 KiB", SLOW_LINK "--queue-kib 128", 2, {.ratio = 1.05, .copies = 1.03, .messages = 9}, 0},
    {"10 peers, 256 KiB", "--chunk-bytes 262144", 2, {.ratio = 1.06, .copies = 1.03, .messages = 9}, 0},
    {"2048 chunks of 128 KiB", SMALL "--chunks 2048", 2, {.ratio = 1.02, .copies = 1.02, .messages = 10}, 0},
    {"the same, behind 16 KiB", SMALL "--chunks 2048 --queue-kib 16", 2, {.ratio = 1.02, .copies = 1.02, .messages = 9}, 0},
    {"the same, behind 64 KiB", SMALL "--chunks 2048 --queue-kib 64", 2, {.ratio = 1.02, .copies = 1.02, .messages = 8}, 0},
    {"512 chunks of 128 KiB, behind 16 KiB", SMALL "--chunks 512 --queue-kib 16", 4, {.ratio = 1.045}, 0},
    {"128 chunks of 128 KiB, behind 64 KiB", SMALL "--chunks 128 --queue-kib 64", 4, {.ratio = 1.15}, 0},
    {"24 peers, 40 Mbit/s, behind 64 KiB", "--peers 24 --chunk-bytes 131072 --mbit 40 --queue-kib 64", 2, {.ratio = 1.045, .copies = 1.04}, 0},
    {"32 peers, 256 chunks [1.074]", "--peers 32 --chunks 256", 4, {.ratio = 1.094}, 0},
    {"32 peers [1.021]", "--peers 32", 2, {.ratio = 1.041, .copies = 1.05, .messages = 14}, 0},
    {"32 peers, 100 Mbit/s, 256 KiB", SLOW_LINK "--peers 32", 1, {.ratio = 1.041, .copies = 1.05, .messages = 15}, 0},
    {"slow source [1.001]", "--chunks 256 --source-factor 0.1", 2, {.ratio = 1.021}, 0},
    {"fast source [1.005]", "--source-factor 10", 2, {.ratio = 1.025}, 0},
    {"one slow peer [1.002]", "--slow-peers 1 --slow-up 0.1 --slow-down 0.1 --chunks 512", 2, {.ratio = 1.022}, 0},
    {"half with slow uplinks [1.094]", "--slow-peers 5 --slow-up 0.1", 2, {.ratio = 1.1}, 0},
    {"one uplink of a thousandth", "--slow-peers 1 --slow-up 0.001", 2, {.ratio = 1.18}, 0},
    {"source leaves after one copy [1.015]", "--polite --source-leaves", 2, {.ratio = 1.035, .copies = 1.005}, 0},
    {"the same, behind 128 KiB", SLOW_LINK "--queue-kib 128 --polite --source-leaves", 2, {.ratio = 1.05, .copies = 1.005}, 0},
    {"source leaves when it may", SLOW_LINK "--queue-kib 128 --source-leaves", 2, {.ratio = 1.05, .copies = 1.02}, 0},
    {"two origins, one copy", SLOW_LINK "--sources 2 --polite", 2, {.ratio = 1.08, .copies = 1.25}, 0},
    {"two origins", SLOW_LINK "--sources 2", 2, {.ratio = 1.05, .messages = 11}, 0},
    {"a fifth vanishes [1.016]", "--vanish 0.2", 2, {.ratio = 1.036}, 0},
    {"joins over 1 D [1.010]", "--join-spread 1", 2, {.ratio = 1.03}, 0},
    {"joins over 3 D [1.006]", "--join-spread 3", 2, {.ratio = 1.026}, 0},
    {"Wi-Fi, no leaves [1.89]", "--stations 10 --chunks 256", 2, {.ratio = 1.95, .ratio_min = 1.8}, 0},
    {"Wi-Fi, all leaves [1.00]", "--stations 10 --leaves", 2, {.ratio = 1.01, .messages = 9.5}, 0},
    {"half on Wi-Fi, no leaves [1.84]", "--stations 5 --chunks 256", 2, {.ratio = 1.6, .ratio_min = 1.35}, 0},
    {"half on Wi-Fi, as leaves [1.002]", "--stations 5 --leaves", 2, {.ratio = 1.01, .fast = 1.03, .messages = 11}, 0},
    {"the same, behind 128 KiB", SLOW_LINK "--queue-kib 128 --stations 5 --leaves", 1, {.ratio = 1.01, .fast = 1.03, .messages = 9.5}, 0},
    {"one wired, the others leaves", "--stations 9 --leaves", 2, {.ratio = 1.01, .fast = 1.03}, 0},
    {"2 of 10 lie", "--liars 2", 2, {.ratio = 1.15, .duplicates = 0.01}, 0},
    {"half lie", "--liars 5 --chunks 256", 4, {.ratio = 3.5, .duplicates = 0.01}, 0},
    {"half say half", "--liars 5 --lie have --chunks 256", 4, {.ratio = 2.2, .duplicates = 0.01}, 0},
    {"half say all and no word more", "--liars 5 --lie complete", 2, {.ratio = 1.3, .duplicates = 0.01}, 0},
    {0},
};

/* The goals are 1.05, 1.10 and 1.15 with 1024 chunks. */
const struct sim_case sim_large[] = {
    {"100 peers [goal 1.05]", "--peers 100 --valid-every 300", 3, {.ratio = 1.05, .copies = 1.05}, 0},
    {"300 peers [goal 1.10]", "--peers 300 --valid-every 300", 1, {.ratio = 1.1, .copies = 1.07}, 0},
    {"1000 peers [goal 1.15], 512 chunks", "--peers 1000 --chunks 512 --valid-every 20000", 1, {.ratio = 1.15, .copies = 1.15}, 0},
    {0},
};

/* The traps of the design, in its order. Neediest first (--ablate random) is none any more: where
 * newcomers draw it most, what it costs is within what seeds differ. */
const struct sim_case sim_traps[] = {
    {"1 silent deaths starve the source", "--vanish 0.5", 2, {.ratio = 1.05}, SCHED_REMEDY_EXPIRY},
    {"2 slow peers absorb first copies", "--slow-peers 5 --slow-up 0.1 --slow-down 0.1 --chunks 256", 2, {.fast = 1.5}, SCHED_REMEDY_SERVICE},
    {"3 no endgame", "--slow-peers 1 --slow-up 0.001", 2, {.ratio = 1.2}, SCHED_REMEDY_ENDGAME},
    {"4 STALL fixed", "--mbit 20 --chunks 256 --peers 32", 1, {.ratio = 1.14, .duplicates = 0.03}, SCHED_REMEDY_STALL},
    {"5 the least served first", "--peers 100 --chunks 128", 4, {.ratio = 1.325}, SCHED_REMEDY_RECENT},
    {"6 answers wait for HAVEs", "", 1, {.ratio = 1.035}, SCHED_REMEDY_PROMPT},
    {"7 no timer", "--peers 3 --slow-peers 2 --slow-up 0.01 --chunks 64", 8, {.ratio = 5}, SCHED_REMEDY_TIMER},
    {"7 no REVOKE", "--peers 2 --chunks 128 --latency-min 40 --latency-max 60", 1, {.ratio = 7}, SCHED_REMEDY_REVOKE},
    {"8 first copies must be delivered", "--slow-peers 1 --slow-up 0.01 --slow-down 0.01 --chunks 256", 2, {.fast = 1.5}, SCHED_REMEDY_REVEAL},
    {"9 wireless receivers ask for more", "--peers 20 --stations 15 --leaves --chunks 256", 2, {.fast = 1.1}, SCHED_REMEDY_LEAF_T},
    {0},
};
/* clang-format on */
