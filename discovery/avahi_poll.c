#include "discovery/avahi_poll.h"

#include <avahi-common/timeval.h>
#include <stdbool.h>
#include <stdlib.h>

/* libevent's clock is a coarse one: a timeout may come so much too early, and avahi then
 * asks for the rest again and again, with no wait in between. */
enum { CLOCK_GRAIN_US = 5000 };

struct AvahiWatch {
    struct event_base *base;
    struct event *event;
    int fd;
    AvahiWatchEvent happened;
    AvahiWatchCallback callback;
    void *userdata;
};

struct AvahiTimeout {
    struct event *event;
    AvahiTimeoutCallback callback;
    void *userdata;
};

/* libevent has no HUP or ERR of its own: both come as readable (or writable). */
static void watch_on_event(evutil_socket_t fd, short what, void *arg)
{
    AvahiWatch *w = arg;
    unsigned happened = 0;
    if (what & EV_READ)
        happened |= AVAHI_WATCH_IN;
    if (what & EV_WRITE)
        happened |= AVAHI_WATCH_OUT;
    w->happened = (AvahiWatchEvent)happened;
    w->callback(w, fd, w->happened, w->userdata); /* may free w */
}

static short watch_wants(AvahiWatchEvent event)
{
    int what = 0;
    if (event & (AVAHI_WATCH_IN | AVAHI_WATCH_HUP | AVAHI_WATCH_ERR))
        what |= EV_READ;
    if (event & AVAHI_WATCH_OUT)
        what |= EV_WRITE;
    return (short)what;
}

static bool watch_arm(AvahiWatch *w, AvahiWatchEvent event)
{
    short what = watch_wants(event);
    event_del(w->event);
    if (what == 0)
        return true;
    return event_assign(w->event, w->base, w->fd, (short)(what | EV_PERSIST), watch_on_event, w) ==
               0 &&
           event_add(w->event, NULL) == 0;
}

static void watch_free(AvahiWatch *w)
{
    if (w->event)
        event_free(w->event);
    free(w);
}

static AvahiWatch *watch_new(const AvahiPoll *api, int fd, AvahiWatchEvent event,
                             AvahiWatchCallback callback, void *userdata)
{
    AvahiWatch *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    *w = (AvahiWatch){.base = api->userdata, .fd = fd, .callback = callback, .userdata = userdata};
    w->event = event_new(w->base, fd, EV_READ | EV_PERSIST, watch_on_event, w);
    if (!w->event || !watch_arm(w, event)) {
        watch_free(w);
        return NULL;
    }
    return w;
}

static void watch_update(AvahiWatch *w, AvahiWatchEvent event)
{
    watch_arm(w, event);
}

static AvahiWatchEvent watch_get_events(AvahiWatch *w)
{
    return w->happened;
}

static void timeout_on_event(evutil_socket_t fd, short what, void *arg)
{
    AvahiTimeout *t = arg;
    (void)fd;
    (void)what;
    t->callback(t, t->userdata); /* may free t */
}

static void timeout_update(AvahiTimeout *t, const struct timeval *tv)
{
    struct timeval wait = {0, 0};
    if (!tv) {
        event_del(t->event);
        return;
    }
    AvahiUsec late = avahi_age(tv); /* negative: still to come */
    if (late < 0) {
        late -= CLOCK_GRAIN_US;
        wait.tv_sec = (time_t)(-late / 1000000);
        wait.tv_usec = (suseconds_t)(-late % 1000000);
    }
    event_add(t->event, &wait);
}

static void timeout_free(AvahiTimeout *t)
{
    if (t->event)
        event_free(t->event);
    free(t);
}

static AvahiTimeout *timeout_new(const AvahiPoll *api, const struct timeval *tv,
                                 AvahiTimeoutCallback callback, void *userdata)
{
    AvahiTimeout *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->callback = callback;
    t->userdata = userdata;
    t->event = event_new(api->userdata, -1, 0, timeout_on_event, t);
    if (!t->event) {
        timeout_free(t);
        return NULL;
    }
    timeout_update(t, tv);
    return t;
}

void avahi_poll_init(AvahiPoll *api, struct event_base *base)
{
    *api = (AvahiPoll){.userdata = base,
                       .watch_new = watch_new,
                       .watch_update = watch_update,
                       .watch_get_events = watch_get_events,
                       .watch_free = watch_free,
                       .timeout_new = timeout_new,
                       .timeout_update = timeout_update,
                       .timeout_free = timeout_free};
}
