#include "tests/sim/options.h"

#include "tests/sim/ablate.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORDS_MAX = 64,   /* of a case */
    OPTION_BASE = 256 /* above any letter: getopt tells letters and options in one int */
};

enum option_kind { KIND_COUNT, KIND_SEED, KIND_REAL, KIND_FLAG, KIND_LIE, KIND_ABLATE, KIND_CHECK };

struct option_def {
    const char *name;
    enum option_kind kind;
    size_t at; /* in struct sim_command */
    double least, most;
};

#define RUN(field) offsetof(struct sim_command, run.field)

/* Ratios stop where a rate or a time would no longer be a sound double. */
static const struct option_def defs[] = {
    {"peers", KIND_COUNT, RUN(peers), 1, SIM_NODES_MAX - 1},
    {"sources", KIND_COUNT, RUN(sources), 1, SIM_NODES_MAX - 1},
    {"chunks", KIND_COUNT, RUN(chunks), 1, 1 << 24},
    {"chunk-bytes", KIND_COUNT, RUN(chunk_bytes), 1, 1 << 30},
    {"seed", KIND_SEED, RUN(seed), 0, 0},
    {"runs", KIND_COUNT, offsetof(struct sim_command, runs), 1, 1000000},
    {"mbit", KIND_REAL, RUN(mbit), 0.001, 1e6},
    {"source-factor", KIND_REAL, RUN(source_factor), 1e-4, 1e4},
    {"slow-peers", KIND_COUNT, RUN(slow_peers), 0, SIM_NODES_MAX - 1},
    {"slow-up", KIND_REAL, RUN(slow_up), 1e-4, 1e4},
    {"slow-down", KIND_REAL, RUN(slow_down), 1e-4, 1e4},
    {"join-spread", KIND_REAL, RUN(join_spread), 0, 1000},
    {"vanish", KIND_REAL, RUN(vanish), 0, 0.999},
    {"latency-min", KIND_REAL, RUN(latency_min_ms), 0, 60000},
    {"latency-max", KIND_REAL, RUN(latency_max_ms), 0, 60000},
    {"queue-ms", KIND_REAL, RUN(queue_ms), 0, 60000},
    {"queue-kib", KIND_COUNT, RUN(queue_kib), 0, 1 << 20},
    {"stations", KIND_COUNT, RUN(stations), 0, SIM_NODES_MAX - 1},
    {"air", KIND_REAL, RUN(air), 1e-4, 1e4},
    {"source-air", KIND_FLAG, RUN(source_air), 0, 0},
    {"leaves", KIND_FLAG, RUN(leaves), 0, 0},
    {"liars", KIND_COUNT, RUN(liars), 0, SIM_NODES_MAX - 1},
    {"lie", KIND_LIE, RUN(lie), 0, 0},
    {"source-leaves", KIND_FLAG, RUN(source_leaves), 0, 0},
    {"polite", KIND_FLAG, RUN(polite), 0, 0},
    {"valid-every", KIND_COUNT, RUN(valid_every), 0, UINT32_MAX},
    {"ablate", KIND_ABLATE, 0, 0, 0},
    {"tell", KIND_FLAG, RUN(tell), 0, 0},
    {"check", KIND_CHECK, offsetof(struct sim_command, check), 0, 0},
    {"quick", KIND_FLAG, offsetof(struct sim_command, quick), 0, 0},
    {"help", KIND_FLAG, offsetof(struct sim_command, help), 0, 0},
};

enum { DEFS = sizeof(defs) / sizeof(*defs) };

static const char *const checks[] = {"sweep", "large", "traps", NULL};
static const char *const lies[] = {
    [SIM_LIE_GRANT] = "grant", [SIM_LIE_HAVE] = "have", [SIM_LIE_COMPLETE] = "complete", NULL};

__attribute__((format(printf, 1, 2))) static int refuse(const char *format, ...)
{
    va_list args;

    fputs("ronda-sim: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return -1;
}

void sim_usage(FILE *to)
{
    fputs("usage: ronda-sim", to);
    for (int i = 0; i < DEFS; i++)
        fprintf(to, " [--%s%s]", defs[i].name, defs[i].kind == KIND_FLAG ? "" : " X");
    fputs("\nSimulates one share from one or more sources; prints time / bound.\n"
          "--check sweep|large|traps [--quick] runs the cases of the tests.\n",
          to);
}

/* What an option wants, in words. */
static void allowed(const struct option_def *d, char *to, size_t size)
{
    int n = 0;

    switch (d->kind) {
    case KIND_COUNT:
        snprintf(to, size, "a whole number from %.0f to %.0f", d->least, d->most);
        return;
    case KIND_SEED:
        snprintf(to, size, "a whole number from 0 to %llu", (unsigned long long)UINT64_MAX);
        return;
    case KIND_REAL:
        snprintf(to, size, "a number from %.7g to %.7g", d->least, d->most);
        return;
    case KIND_LIE:
        snprintf(to, size, "one of grant, have, complete");
        return;
    case KIND_CHECK:
        snprintf(to, size, "one of sweep, large, traps");
        return;
    case KIND_ABLATE:
        n = snprintf(to, size, "one of");
        for (enum sched_remedy r = SCHED_REMEDY_NONE; sim_remedy_name(r); r++)
            n += snprintf(to + n, size - (size_t)n, "%s %s", r ? "," : "", sim_remedy_name(r));
        return;
    case KIND_FLAG:
        snprintf(to, size, "no value");
        return;
    }
}

static int option_refuse(const struct option_def *d, const char *arg)
{
    char text[256];

    allowed(d, text, sizeof(text));
    if (!arg)
        return refuse("--%s takes %s", d->name, text);
    return refuse("--%s takes %s, not '%s'", d->name, text, arg);
}

static bool whole_read(const char *arg, uint64_t *v)
{
    char *end;

    if (*arg < '0' || *arg > '9') /* strtoull() takes a sign, and negates */
        return false;
    errno = 0;
    *v = strtoull(arg, &end, 10);
    return !*end && !errno;
}

static bool real_read(const char *arg, double *v)
{
    char *end;

    if (!*arg || arg[strspn(arg, "0123456789.eE+-")]) /* no nan, inf, hexadecimal, blank */
        return false;
    *v = strtod(arg, &end);
    return !*end && isfinite(*v);
}

/* The place of arg in names; -1: not there. */
static int name_find(const char *const *names, const char *arg)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], arg) == 0)
            return i;
    return -1;
}

static int ablate(const char *name)
{
    for (enum sched_remedy r = SCHED_REMEDY_NONE; sim_remedy_name(r); r++)
        if (strcmp(sim_remedy_name(r), name) == 0) {
            sim_ablate(r);
            return 0;
        }
    return -1;
}

/* arg into its field of c; false: it is not what d allows. */
static bool option_take(struct sim_command *c, const struct option_def *d, const char *arg)
{
    char *field = (char *)c + d->at;
    uint64_t whole = 0;
    uint32_t count;
    double real = 0;
    int i;

    switch (d->kind) {
    case KIND_COUNT:
        if (!whole_read(arg, &whole) || (double)whole < d->least || (double)whole > d->most)
            return false;
        count = (uint32_t)whole;
        memcpy(field, &count, sizeof(count));
        return true;
    case KIND_SEED:
        if (!whole_read(arg, &whole))
            return false;
        memcpy(field, &whole, sizeof(whole));
        return true;
    case KIND_REAL:
        if (!real_read(arg, &real) || real < d->least || real > d->most)
            return false;
        memcpy(field, &real, sizeof(real));
        return true;
    case KIND_FLAG:
        memcpy(field, &(bool){true}, sizeof(bool));
        return true;
    case KIND_LIE:
        i = name_find(lies, arg);
        if (i >= 0)
            c->run.lie = (enum sim_lie)i;
        return i >= 0;
    case KIND_ABLATE:
        return ablate(arg) == 0;
    case KIND_CHECK:
        c->check = arg;
        return name_find(checks, arg) >= 0;
    }
    return false;
}

/* getopt_long() found no option, none it can take so, or no value. */
static int unknown_refuse(int id, char **argv)
{
    if (optopt >= OPTION_BASE && id == ':')
        return option_refuse(&defs[optopt - OPTION_BASE], NULL);
    if (optopt >= OPTION_BASE)
        return refuse("--%s takes no value", defs[optopt - OPTION_BASE].name);
    if (optopt)
        return refuse("no option '-%c'; --help lists them", optopt);
    return refuse("no option '%s', or the start of several; --help lists them", argv[optind - 1]);
}

static int options_read(struct sim_command *c, int argc, char **argv, const char **of_run)
{
    struct option options[DEFS + 1] = {{NULL, 0, NULL, 0}};
    int id;

    for (int i = 0; i < DEFS; i++)
        options[i] = (struct option){defs[i].name,
                                     defs[i].kind == KIND_FLAG ? no_argument : required_argument,
                                     NULL, OPTION_BASE + i};
    optind = 0; /* once more from the start */
    opterr = 0;
    while ((id = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        const struct option_def *d;

        if (id < OPTION_BASE)
            return unknown_refuse(id, argv);
        d = &defs[id - OPTION_BASE];
        if (!option_take(c, d, optarg))
            return option_refuse(d, optarg);
        if (c->help)
            return 0;
        if (d->kind != KIND_CHECK && d->at != offsetof(struct sim_command, quick))
            *of_run = d->name;
    }
    if (optind < argc)
        return refuse("'%s' is no option; --help lists them", argv[optind]);
    return 0;
}

/* Each alone is good; may they be together? */
static int run_check(const struct sim_options *o)
{
    if (o->peers + o->sources > SIM_NODES_MAX)
        return refuse("--peers and --sources: %u and %u are more than %d nodes", o->peers,
                      o->sources, SIM_NODES_MAX);
    if (o->stations > o->peers)
        return refuse("--stations takes at most --peers, %u, not %u", o->peers, o->stations);
    if (o->slow_peers > o->peers)
        return refuse("--slow-peers takes at most --peers, %u, not %u", o->peers, o->slow_peers);
    if (o->liars >= o->peers)
        return refuse("--liars takes less than --peers, %u, not %u: somebody must finish", o->peers,
                      o->liars);
    if (o->latency_min_ms > o->latency_max_ms)
        return refuse("--latency-min takes at most --latency-max, %g, not %g", o->latency_max_ms,
                      o->latency_min_ms);
    if (o->leaves && !o->stations)
        return refuse("--leaves needs --stations of at least 1");
    if (o->source_air && !o->stations)
        return refuse("--source-air needs --stations of at least 1");
    return 0;
}

int sim_command_read(struct sim_command *c, int argc, char **argv)
{
    const char *of_run = NULL;

    if (options_read(c, argc, argv, &of_run))
        return -1;
    if (c->help)
        return 0;
    if (c->check && of_run)
        return refuse("--check takes only --quick beside it, not --%s", of_run);
    if (c->quick && !c->check)
        return refuse("--quick needs --check");
    return run_check(&c->run);
}

void sim_options_parse(const char *text, struct sim_options *o)
{
    struct sim_command c = {.run = *o};
    char *copy = strdup(text), *rest = copy, *word;
    char *argv[WORDS_MAX + 1] = {"case"};
    int argc = 1;

    if (!copy)
        abort();
    while (argc < WORDS_MAX && (word = strsep(&rest, " ")))
        if (*word)
            argv[argc++] = word;
    if (sim_command_read(&c, argc, argv))
        abort();
    *o = c.run;
    free(copy);
}
