#include "tests/sim/sim.h"

#include "tests/sim/options.h"

#include <stdio.h>
#include <stdlib.h>

struct sim_options sim_defaults(void)
{
    return (struct sim_options){.peers = 10,
                                .sources = 1,
                                .chunks = 1024,
                                .chunk_bytes = 1 << 20,
                                .seed = 1,
                                .mbit = 1000,
                                .source_factor = 1,
                                .slow_up = 1,
                                .slow_down = 1,
                                .latency_min_ms = 0.5,
                                .latency_max_ms = 2,
                                .air = 0.3};
}

/* Which messages: HAVEs to one peer in a row are one. */
static void print_types(const struct sim_result *r)
{
    static const char *const names[SCHED_UPLOAD] = {
        [SCHED_SEND_MAP] = "map",           [SCHED_SEND_HAVE] = "have",
        [SCHED_SEND_COMPLETE] = "complete", [SCHED_SEND_GRANT] = "grant",
        [SCHED_SEND_REQUEST] = "request",   [SCHED_SEND_PASS] = "pass",
        [SCHED_SEND_OFFER] = "offer",       [SCHED_SEND_REVOKE] = "revoke",
        [SCHED_SEND_CANCEL] = "cancel"};

    printf("     ");
    for (int i = 0; i < SCHED_UPLOAD; i++)
        if (r->by_type[i] > 0.001)
            printf(" %s %.2f", names[i], r->by_type[i]);
    printf(" (pass full %.2f)\n", r->pass_full);
}

static int run_all(struct sim_command *c)
{
    int bad = 0;

    printf("seed    ratio  seconds  copies  duplicates  messages/chunk  events\n");
    for (uint32_t i = 0; i < c->runs; i++, c->run.seed++) {
        struct sim_result r;

        bad |= sim_run(&c->run, &r);
        printf("%4llu  %7.4f  %7.2f  %6.3f  %9.3f%%  %14.2f  %llu%s%s\n",
               (unsigned long long)c->run.seed, r.ratio, r.seconds, r.source_copies,
               r.duplicates * 100, r.messages, (unsigned long long)r.events,
               r.stalled ? "  STALLED" : "", r.invalid ? "  INVALID" : "");
        if (c->run.stations || c->run.slow_peers)
            printf("      fast peers alone: %.4f\n", r.fast);
        print_types(&r);
        fflush(stdout);
    }
    return bad;
}

int main(int argc, char **argv)
{
    struct sim_command c = {.run = sim_defaults(), .runs = 1};

    if (sim_command_read(&c, argc, argv))
        return 2;
    if (c.help) {
        sim_usage(stdout);
        return EXIT_SUCCESS;
    }
    if (c.check)
        return sim_check(c.check, c.quick) ? EXIT_FAILURE : EXIT_SUCCESS;
    return run_all(&c) ? EXIT_FAILURE : EXIT_SUCCESS;
}
