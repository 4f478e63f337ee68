#include "discovery/avahi_poll.h"

#include <avahi-common/timeval.h>
#include <criterion/criterion.h>
#include <unistd.h>

struct seen {
    const AvahiPoll *api;
    AvahiWatch *watch;
    AvahiTimeout *timeout;
    unsigned calls;
    unsigned events;
    bool free_inside;
};

static struct event_base *base;
static AvahiPoll api;
static int pipes[2];

static void setup(void)
{
    base = event_base_new();
    avahi_poll_init(&api, base);
    cr_assert_eq(pipe(pipes), 0);
}

static void teardown(void)
{
    event_base_free(base);
    close(pipes[0]);
    close(pipes[1]);
}

TestSuite(avahi_poll, .init = setup, .fini = teardown, .timeout = 20);

static void on_watch(AvahiWatch *w, int fd, AvahiWatchEvent event, void *arg)
{
    struct seen *seen = arg;
    char byte;
    seen->calls++;
    seen->events = event;
    cr_assert_eq(api.watch_get_events(w), event);
    if (event & AVAHI_WATCH_IN)
        cr_assert_geq(read(fd, &byte, 1), 0);
    if (seen->free_inside) {
        api.watch_free(w);
        seen->watch = NULL;
    }
}

static void on_timeout(AvahiTimeout *t, void *arg)
{
    struct seen *seen = arg;
    seen->calls++;
    if (seen->free_inside) {
        api.timeout_free(t);
        seen->timeout = NULL;
    }
}

Test(avahi_poll, watch_tells_what_can_be_read)
{
    struct seen seen = {0};
    AvahiWatch *w = api.watch_new(&api, pipes[0], AVAHI_WATCH_IN, on_watch, &seen);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 0);
    cr_assert_eq(write(pipes[1], "ab", 2), 2);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 2);
    cr_assert_eq(seen.events, AVAHI_WATCH_IN);
    api.watch_free(w);
}

Test(avahi_poll, watch_tells_what_can_be_written)
{
    struct seen seen = {0};
    AvahiWatch *w = api.watch_new(&api, pipes[1], AVAHI_WATCH_OUT, on_watch, &seen);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.events, AVAHI_WATCH_OUT);
    api.watch_free(w);
}

Test(avahi_poll, watch_with_no_events_is_silent_until_updated)
{
    struct seen seen = {0};
    cr_assert_eq(write(pipes[1], "a", 1), 1);
    AvahiWatch *w = api.watch_new(&api, pipes[0], 0, on_watch, &seen);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 0);
    api.watch_update(w, AVAHI_WATCH_IN);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 1);
    api.watch_free(w);
}

Test(avahi_poll, end_of_file_wakes_the_watch)
{
    struct seen seen = {0};
    AvahiWatch *w =
        api.watch_new(&api, pipes[0], AVAHI_WATCH_IN | AVAHI_WATCH_HUP, on_watch, &seen);
    close(pipes[1]);
    pipes[1] = dup(pipes[0]);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 1);
    api.watch_free(w);
}

Test(avahi_poll, watch_may_be_freed_inside_its_callback)
{
    struct seen seen = {.free_inside = true};
    seen.watch = api.watch_new(&api, pipes[0], AVAHI_WATCH_IN, on_watch, &seen);
    cr_assert_eq(write(pipes[1], "ab", 2), 2);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 1);
    cr_assert_null(seen.watch);
}

Test(avahi_poll, past_timeout_fires_once_at_once)
{
    struct seen seen = {0};
    struct timeval past;
    avahi_elapse_time(&past, 0, 0);
    past.tv_sec -= 3600;
    AvahiTimeout *t = api.timeout_new(&api, &past, on_timeout, &seen);
    event_base_loop(base, EVLOOP_ONCE);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 1);
    api.timeout_free(t);
}

Test(avahi_poll, future_timeout_waits_and_null_disables)
{
    struct seen seen = {0};
    struct timeval soon;
    avahi_elapse_time(&soon, 60000, 0);
    AvahiTimeout *t = api.timeout_new(&api, &soon, on_timeout, &seen);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 0);
    avahi_elapse_time(&soon, 20, 0);
    api.timeout_update(t, &soon);
    event_base_loop(base, EVLOOP_ONCE);
    cr_assert_eq(seen.calls, 1);
    cr_assert_geq(avahi_age(&soon), 0); /* never before its time */
    avahi_elapse_time(&soon, 0, 0);
    api.timeout_update(t, &soon);
    api.timeout_update(t, NULL);
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    cr_assert_eq(seen.calls, 1);
    api.timeout_free(t);
}

Test(avahi_poll, timeout_may_be_freed_inside_its_callback)
{
    struct seen seen = {.free_inside = true};
    struct timeval now;
    avahi_elapse_time(&now, 0, 0);
    seen.timeout = api.timeout_new(&api, &now, on_timeout, &seen);
    event_base_loop(base, EVLOOP_ONCE);
    cr_assert_eq(seen.calls, 1);
    cr_assert_null(seen.timeout);
}
