/* A lookup that closes once all is known and glances at the cache from then on, with a
 * back end and a timer that do nothing by themselves. */
#include "discovery/mdns_lookup.h"

#include <avahi-common/timeval.h>
#include <criterion/criterion.h>
#include <stdlib.h>

struct AvahiTimeout {
    bool armed;
    struct timeval at;
    AvahiTimeoutCallback callback;
    void *arg;
};

static struct {
    unsigned open; /* resolvers and address browsers */
    unsigned resolved, unresolved, came, went;
    void *browsers[2]; /* A, AAAA */
    struct AvahiTimeout timer;
} fake;

static void *fake_resolver_new(void *backend, const struct mdns_key *key, struct mdns_lookup *l)
{
    (void)backend, (void)key, (void)l;
    fake.open++;
    return malloc(1);
}

static void fake_free(void *handle)
{
    fake.open--;
    free(handle);
}

static void *fake_addresses_new(void *backend, const struct mdns_key *key, const char *host,
                                uint16_t type, struct mdns_lookup *l)
{
    (void)backend, (void)key, (void)host, (void)l;
    fake.open++;
    return fake.browsers[type == AVAHI_DNS_TYPE_AAAA] = malloc(1);
}

static const struct mdns_lookup_api api = {.resolver_new = fake_resolver_new,
                                           .resolver_free = fake_free,
                                           .addresses_new = fake_addresses_new,
                                           .addresses_free = fake_free};

static void on_resolved(void *arg, void *instance, const struct mdns_answer *answer)
{
    (void)arg, (void)instance, (void)answer;
    fake.resolved++;
}

static void on_address(void *arg, void *instance, const AvahiAddress *address, bool present)
{
    (void)arg, (void)instance, (void)address;
    fake.came += present;
    fake.went += !present;
}

static void on_unresolved(void *arg, void *instance)
{
    (void)arg, (void)instance;
    fake.unresolved++;
}

static AvahiTimeout *fake_timeout_new(const AvahiPoll *poll, const struct timeval *tv,
                                      AvahiTimeoutCallback callback, void *arg)
{
    (void)poll;
    fake.timer = (struct AvahiTimeout){.armed = tv, .callback = callback, .arg = arg};
    return &fake.timer;
}

static void fake_timeout_update(AvahiTimeout *t, const struct timeval *tv)
{
    t->armed = tv != NULL;
    if (tv)
        t->at = *tv;
}

static void fake_timeout_free(AvahiTimeout *t)
{
    t->armed = false;
}

static const struct mdns_events events = {
    .resolved = on_resolved, .address = on_address, .unresolved = on_unresolved};
static const AvahiPoll poll_api = {.timeout_new = fake_timeout_new,
                                   .timeout_update = fake_timeout_update,
                                   .timeout_free = fake_timeout_free};
static struct mdns_listener to;
static struct mdns_lookup *lookup;
static AvahiStringList *txt;

static void start(const AvahiPoll *glances)
{
    static const struct mdns_key key = {.ifindex = 2, .protocol = AVAHI_PROTO_INET, .name = "ana"};
    to = (struct mdns_listener){.events = &events, .glances = glances};
    lookup = mdns_lookup_new(&api, NULL, &to, &key, NULL);
    cr_assert_not_null(lookup);
}

static void setup(void)
{
    memset(&fake, 0, sizeof fake);
    txt = avahi_string_list_new("v=1", NULL);
    start(&poll_api);
}

static void teardown(void)
{
    mdns_lookup_free(lookup);
    avahi_string_list_free(txt);
    cr_assert_eq(fake.open, 0, "a browser leaks");
    cr_assert_not(fake.timer.armed, "a timer leaks");
}

TestSuite(lookup, .init = setup, .fini = teardown, .timeout = 20);

static void elapse(void)
{
    cr_assert(fake.timer.armed);
    fake.timer.armed = false;
    fake.timer.callback(&fake.timer, fake.timer.arg);
}

static void answer(const char *host)
{
    mdns_lookup_answer(lookup, host, 4000, txt);
}

static void cached_a(uint8_t last)
{
    const uint8_t bytes[4] = {10, 0, 0, last};
    mdns_lookup_address(lookup, AVAHI_BROWSER_NEW, AVAHI_DNS_TYPE_A, bytes);
}

static void scanned(bool for_now)
{
    mdns_lookup_scanned(lookup, fake.browsers[0], for_now);
    mdns_lookup_scanned(lookup, fake.browsers[1], for_now);
}

/* Known at 10.0.0.1 and closed. */
static void resolve(void)
{
    answer("ana.local");
    cached_a(1);
    scanned(true);
    elapse();
}

Test(lookup, asks_for_nothing_once_all_is_known)
{
    cr_assert_eq(fake.open, 1);
    resolve();
    cr_assert_eq(fake.open, 0, "%u questions go on", fake.open);
    cr_assert_eq(fake.resolved, 1);
    cr_assert_eq(fake.came, 1);
}

/* However many peers there are, a node that has nothing to do wakes once. */
Test(lookup, all_glances_of_a_node_come_in_the_same_instant)
{
    struct timeval first;
    to.glance_phase_ms = 1234;
    resolve();
    first = fake.timer.at;
    cr_assert_eq((first.tv_sec * 1000 + first.tv_usec / 1000) % MDNS_GLANCE_MS, 1234);
    cr_assert_gt(avahi_age(&first), -1000 * MDNS_GLANCE_MS);
    cr_assert_eq(first.tv_usec % 1000, 0);
}

Test(lookup, a_family_that_is_not_cached_is_asked_for_once)
{
    answer("ana.local");
    cached_a(1);
    scanned(false);
    cr_assert_not(fake.timer.armed, "closed before anybody could tell of an IPv6 address");
    mdns_lookup_scanned(lookup, fake.browsers[1], true);
    elapse();
    elapse();
    answer("ana.local");
    cached_a(1);
    scanned(false);
    elapse();
    cr_assert_eq(fake.open, 0, "asked for again");
}

Test(lookup, a_glance_at_the_same_tells_nothing)
{
    resolve();
    for (unsigned i = 0; i < 3; i++) {
        elapse();
        answer("ana.local");
        cached_a(1);
        scanned(false);
        elapse();
    }
    cr_assert_eq(fake.resolved, 1);
    cr_assert_eq(fake.came, 1);
    cr_assert_eq(fake.went, 0);
    cr_assert_eq(fake.open, 0);
}

Test(lookup, a_glance_tells_of_a_new_txt)
{
    resolve();
    elapse();
    avahi_string_list_free(txt);
    txt = avahi_string_list_new("v=1", "c=2", NULL);
    answer("ana.local");
    cr_assert_eq(fake.resolved, 2);
    cr_assert_eq(fake.went, 0);
}

Test(lookup, a_glance_tells_of_another_address)
{
    resolve();
    elapse();
    answer("ana.local");
    cached_a(2);
    scanned(false);
    cr_assert_eq(fake.came, 2);
    cr_assert_eq(fake.went, 1, "the address it had before is kept");
}

Test(lookup, an_address_that_left_the_cache_is_asked_for_before_it_goes)
{
    resolve();
    elapse();
    answer("ana.local");
    scanned(false);
    cr_assert_eq(fake.went, 0);
    cr_assert_not(fake.timer.armed, "closed before the question was put");
    scanned(true);
    cr_assert_eq(fake.went, 1);
    cr_assert_not(fake.timer.armed, "closed without an address");
    cached_a(1);
    cr_assert_eq(fake.came, 2);
    elapse();
    cr_assert_eq(fake.open, 0, "its questions go on, for the address came late");
}

/* The root's name: avahi would ask the network for its addresses. */
Test(lookup, a_host_without_a_name_is_no_answer)
{
    answer("");
    cr_assert_eq(fake.unresolved, 1);
    cr_assert_eq(fake.resolved, 0);
    cr_assert_eq(fake.open, 1, "its addresses are asked for");
}

Test(lookup, of_another_host_nothing_is_taken_as_absent_unasked)
{
    resolve();
    elapse();
    answer("eva.local");
    cached_a(2);
    scanned(false);
    cr_assert_not(fake.timer.armed, "closed before anybody could tell of an IPv6 address");
}

Test(lookup, one_that_does_not_answer_any_more_is_told)
{
    resolve();
    elapse();
    answer(NULL);
    cr_assert_eq(fake.unresolved, 1);
    answer("ana.local");
    cached_a(1);
    cr_assert_eq(fake.resolved, 2);
    cr_assert_eq(fake.came, 2);
}

Test(lookup, stays_open_where_the_back_end_tells_of_changes)
{
    mdns_lookup_free(lookup);
    start(NULL);
    answer("ana.local");
    cached_a(1);
    scanned(true);
    cr_assert_eq(fake.open, 3);
    answer("ana.local");
    cr_assert_eq(fake.resolved, 1);
}
