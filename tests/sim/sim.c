#include "tests/sim/sim.h"

#include "tests/sim/ablate.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

enum { WORDS_MAX = 64 }; /* of a case */

enum option_id {
    OPT_PEERS,
    OPT_SOURCES,
    OPT_CHUNKS,
    OPT_CHUNK_BYTES,
    OPT_SEED,
    OPT_RUNS,
    OPT_MBIT,
    OPT_SOURCE,
    OPT_SLOW,
    OPT_SLOW_UP,
    OPT_SLOW_DOWN,
    OPT_JOIN,
    OPT_VANISH,
    OPT_LATENCY_MIN,
    OPT_LATENCY_MAX,
    OPT_QUEUE_MS,
    OPT_QUEUE_KIB,
    OPT_STATIONS,
    OPT_AIR,
    OPT_SOURCE_AIR,
    OPT_LEAVES,
    OPT_LIARS,
    OPT_LIE,
    OPT_LEAVE,
    OPT_POLITE,
    OPT_VALID,
    OPT_ABLATE,
    OPT_TELL,
    OPT_CHECK,
    OPT_QUICK,
    OPT_HELP
};

static const struct option options[] = {
    {"peers", required_argument, NULL, OPT_PEERS},
    {"sources", required_argument, NULL, OPT_SOURCES},
    {"chunks", required_argument, NULL, OPT_CHUNKS},
    {"chunk-bytes", required_argument, NULL, OPT_CHUNK_BYTES},
    {"seed", required_argument, NULL, OPT_SEED},
    {"runs", required_argument, NULL, OPT_RUNS},
    {"mbit", required_argument, NULL, OPT_MBIT},
    {"source-factor", required_argument, NULL, OPT_SOURCE},
    {"slow-peers", required_argument, NULL, OPT_SLOW},
    {"slow-up", required_argument, NULL, OPT_SLOW_UP},
    {"slow-down", required_argument, NULL, OPT_SLOW_DOWN},
    {"join-spread", required_argument, NULL, OPT_JOIN},
    {"vanish", required_argument, NULL, OPT_VANISH},
    {"latency-min", required_argument, NULL, OPT_LATENCY_MIN},
    {"latency-max", required_argument, NULL, OPT_LATENCY_MAX},
    {"queue-ms", required_argument, NULL, OPT_QUEUE_MS},
    {"queue-kib", required_argument, NULL, OPT_QUEUE_KIB},
    {"stations", required_argument, NULL, OPT_STATIONS},
    {"air", required_argument, NULL, OPT_AIR},
    {"source-air", no_argument, NULL, OPT_SOURCE_AIR},
    {"leaves", no_argument, NULL, OPT_LEAVES},
    {"liars", required_argument, NULL, OPT_LIARS},
    {"lie", required_argument, NULL, OPT_LIE},
    {"source-leaves", no_argument, NULL, OPT_LEAVE},
    {"polite", no_argument, NULL, OPT_POLITE},
    {"valid-every", required_argument, NULL, OPT_VALID},
    {"ablate", required_argument, NULL, OPT_ABLATE},
    {"tell", no_argument, NULL, OPT_TELL},
    {"check", required_argument, NULL, OPT_CHECK},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static void usage(FILE *to)
{
    fputs("usage: ronda-sim", to);
    for (const struct option *o = options; o->name; o++)
        fprintf(to, " [--%s%s]", o->name, o->has_arg == required_argument ? " X" : "");
    fputs("\nSimulates one share from one source; prints time / bound.\n"
          "--check sweep|large|traps [--quick] runs the cases of the tests.\n",
          to);
}

struct command {
    struct sim_options o;
    uint32_t runs;
    const char *check;
    bool quick;
};

static int ablate(const char *name)
{
    for (enum sched_remedy r = SCHED_REMEDY_NONE; sim_remedy_name(r); r++)
        if (strcmp(sim_remedy_name(r), name) == 0) {
            sim_ablate(r);
            return 0;
        }
    return -1;
}

static int lie(struct command *c, const char *name)
{
    static const char *const names[] = {
        [SIM_LIE_GRANT] = "grant", [SIM_LIE_HAVE] = "have", [SIM_LIE_COMPLETE] = "complete"};

    for (c->o.lie = SIM_LIE_GRANT; c->o.lie <= SIM_LIE_COMPLETE; c->o.lie++)
        if (strcmp(names[c->o.lie], name) == 0)
            return 0;
    return -1;
}

/* A number out of its range is cut by the cast: this is a tool for developers. */
static int option_take(struct command *c, int id, const char *arg)
{
    double v = arg ? strtod(arg, NULL) : 0;

    switch ((enum option_id)id) {
    case OPT_PEERS:
        c->o.peers = (uint32_t)v;
        break;
    case OPT_SOURCES:
        c->o.sources = (uint32_t)v;
        break;
    case OPT_CHUNKS:
        c->o.chunks = (uint32_t)v;
        break;
    case OPT_CHUNK_BYTES:
        c->o.chunk_bytes = (uint32_t)v;
        break;
    case OPT_SEED:
        c->o.seed = (uint64_t)v;
        break;
    case OPT_RUNS:
        c->runs = (uint32_t)v;
        break;
    case OPT_MBIT:
        c->o.mbit = v;
        break;
    case OPT_SOURCE:
        c->o.source_factor = v;
        break;
    case OPT_SLOW:
        c->o.slow_peers = (uint32_t)v;
        break;
    case OPT_SLOW_UP:
        c->o.slow_up = v;
        break;
    case OPT_SLOW_DOWN:
        c->o.slow_down = v;
        break;
    case OPT_JOIN:
        c->o.join_spread = v;
        break;
    case OPT_VANISH:
        c->o.vanish = v;
        break;
    case OPT_LATENCY_MIN:
        c->o.latency_min_ms = v;
        break;
    case OPT_LATENCY_MAX:
        c->o.latency_max_ms = v;
        break;
    case OPT_QUEUE_MS:
        c->o.queue_ms = v;
        break;
    case OPT_QUEUE_KIB:
        c->o.queue_kib = (uint32_t)v;
        break;
    case OPT_STATIONS:
        c->o.stations = (uint32_t)v;
        break;
    case OPT_AIR:
        c->o.air = v;
        break;
    case OPT_SOURCE_AIR:
        c->o.source_air = true;
        break;
    case OPT_LEAVES:
        c->o.leaves = true;
        break;
    case OPT_LIARS:
        c->o.liars = (uint32_t)v;
        break;
    case OPT_LIE:
        return lie(c, arg);
    case OPT_LEAVE:
        c->o.source_leaves = true;
        break;
    case OPT_POLITE:
        c->o.polite = true;
        break;
    case OPT_VALID:
        c->o.valid_every = (uint32_t)v;
        break;
    case OPT_ABLATE:
        return ablate(arg);
    case OPT_TELL:
        c->o.tell = true;
        break;
    case OPT_CHECK:
        c->check = arg;
        break;
    case OPT_QUICK:
        c->quick = true;
        break;
    case OPT_HELP:
        return -1;
    }
    return 0;
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

static int run_all(struct command *c)
{
    int bad = 0;

    printf("seed    ratio  seconds  copies  duplicates  messages/chunk  events\n");
    for (uint32_t i = 0; i < c->runs; i++, c->o.seed++) {
        struct sim_result r;

        bad |= sim_run(&c->o, &r);
        printf("%4llu  %7.4f  %7.2f  %6.3f  %9.3f%%  %14.2f  %llu%s%s\n",
               (unsigned long long)c->o.seed, r.ratio, r.seconds, r.source_copies,
               r.duplicates * 100, r.messages, (unsigned long long)r.events,
               r.stalled ? "  STALLED" : "", r.invalid ? "  INVALID" : "");
        if (c->o.stations || c->o.slow_peers)
            printf("      fast peers alone: %.4f\n", r.fast);
        print_types(&r);
        fflush(stdout);
    }
    return bad;
}

/* 0, or what getopt_long() or option_take() found: '?', -1. */
static int command_read(struct command *c, int argc, char **argv)
{
    int id;

    optind = 0; /* once more from the start */
    while ((id = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (id == '?' || option_take(c, id, optarg))
            return id == '?' ? id : -1;
    return 0;
}

void sim_options_parse(const char *text, struct sim_options *o)
{
    struct command c = {.o = *o};
    char *copy = strdup(text), *rest = copy, *word;
    char *argv[WORDS_MAX + 1] = {"case"};
    int argc = 1;

    if (!copy)
        abort();
    while (argc < WORDS_MAX && (word = strsep(&rest, " ")))
        if (*word)
            argv[argc++] = word;
    if (command_read(&c, argc, argv))
        abort();
    *o = c.o;
    free(copy);
}

int main(int argc, char **argv)
{
    struct command c = {.o = sim_defaults(), .runs = 1};
    int err = command_read(&c, argc, argv);

    if (err) {
        usage(err < 0 ? stdout : stderr);
        return err < 0 ? 0 : 2;
    }
    if (c.check)
        return sim_check(c.check, c.quick) ? EXIT_FAILURE : EXIT_SUCCESS;
    return run_all(&c) ? EXIT_FAILURE : EXIT_SUCCESS;
}
