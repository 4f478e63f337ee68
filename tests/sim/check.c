/* Runs the cases and says which bounds hold. */
#include "tests/sim/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

/* One seed alone strays further from the mean. */
static const double quick_slack = 0.03;
enum { QUICK_VALID_EVERY = 20 }; /* events: under sanitizers each costs ten times as much */

struct outcome {
    struct sim_result mean;
    bool failed; /* a run stalled, or was invalid */
};

static void result_add(struct sim_result *sum, const struct sim_result *r, double part)
{
    sum->ratio += r->ratio * part;
    sum->fast += r->fast * part;
    sum->source_copies += r->source_copies * part;
    sum->duplicates += r->duplicates * part;
    sum->messages += r->messages * part;
    sum->stalled |= r->stalled;
    sum->invalid |= r->invalid;
}

static struct outcome case_run(const struct sim_case *c, uint32_t runs, bool quick)
{
    struct outcome out = {.failed = false};

    for (uint32_t i = 0; i < runs; i++) {
        struct sim_options o = sim_defaults();
        struct sim_result r;

        o.valid_every = quick ? QUICK_VALID_EVERY : 1;
        sim_options_parse(c->options, &o);
        o.seed = i + 1;
        out.failed |= sim_run(&o, &r) != 0;
        result_add(&out.mean, &r, 1.0 / runs);
    }
    return out;
}

/* What is negative, or no number at all, was never measured. */
static bool within(double value, double most, double slack)
{
    return isfinite(value) && value >= 0 && (most <= 0 || value <= most + slack);
}

static bool bounds_hold(const struct sim_bounds *b, const struct outcome *out, double slack)
{
    const struct sim_result *r = &out->mean;

    return !out->failed && r->ratio > 0 && within(r->ratio, b->ratio, slack) &&
           within(r->fast, b->fast, slack) && within(r->source_copies, b->copies, slack) &&
           within(r->duplicates, b->duplicates, slack) &&
           within(r->messages, b->messages, slack * 10) && r->ratio >= b->ratio_min - slack;
}

static void print_bound(const char *name, double value, double most)
{
    if (most > 0)
        printf(" %s %.4f (%.4g)", name, value, most);
    else
        printf(" %s %.4f", name, value);
}

static void print_case(bool good, const char *name, const struct sim_bounds *b,
                       const struct outcome *out)
{
    const struct sim_result *r = &out->mean;

    printf("%-4s %-38s", good ? "ok" : "BAD", name);
    print_bound("ratio", r->ratio, b->ratio);
    if (b->fast > 0)
        print_bound("fast", r->fast, b->fast);
    print_bound("copies", r->source_copies, b->copies);
    print_bound("twice", r->duplicates, b->duplicates);
    print_bound("messages", r->messages, b->messages);
    printf("%s%s\n", r->stalled ? ", STALLED" : "", r->invalid ? ", INVALID" : "");
    fflush(stdout);
}

/* A case whose bounds hold without the remedy as well tests nothing. */
static bool trap_shown(const struct sim_case *c, uint32_t runs, bool quick)
{
    struct outcome out;
    char name[64];
    bool good;

    if (c->without == SCHED_REMEDY_NONE)
        return true;
    sim_ablate(c->without);
    out = case_run(c, runs, quick);
    sim_ablate(SCHED_REMEDY_NONE);
    good = !out.mean.invalid && !bounds_hold(&c->most, &out, 0);
    snprintf(name, sizeof(name), "  without %s", sim_remedy_name(c->without));
    print_case(good, name, &c->most, &out);
    return good;
}

static int cases_check(const struct sim_case *c, bool quick)
{
    int bad = 0;

    for (; c->name; c++) {
        bool one = quick && c->without == SCHED_REMEDY_NONE;
        uint32_t runs = one ? 1 : c->runs;
        struct outcome out = case_run(c, runs, quick);
        bool good = bounds_hold(&c->most, &out, one && c->runs > 1 ? quick_slack : 0);

        print_case(good, c->name, &c->most, &out);
        bad += !good + !trap_shown(c, runs, quick);
    }
    return bad;
}

/* The same seed, the same summary: to the last bit. */
static int replay_check(void)
{
    static const char *const options = "--peers 40 --chunks 64 --vanish 0.2 --queue-ms 5 --liars 2";
    struct sim_result r[2];

    memset(r, 0, sizeof(r));
    for (int i = 0; i < 2; i++) {
        struct sim_options o = sim_defaults();

        sim_options_parse(options, &o);
        (void)sim_run(&o, &r[i]);
    }
    printf("%-4s the same seed twice\n", memcmp(&r[0], &r[1], sizeof(r[0])) ? "BAD" : "ok");
    return memcmp(&r[0], &r[1], sizeof(r[0])) != 0;
}

int sim_check(const char *what, bool quick)
{
    int bad = 0;

    if (strcmp(what, "sweep") == 0)
        bad = cases_check(sim_sweep, quick) + replay_check();
    else if (strcmp(what, "large") == 0)
        bad = cases_check(sim_large, quick);
    else if (strcmp(what, "traps") == 0)
        bad = cases_check(sim_traps, quick);
    else
        bad = 1;
    return bad ? -1 : 0;
}
