/* bus_watch: tells when the socket of the D-Bus system bus may have appeared, by
 * inotify on the folder it lives in (or, as long as there is none, on the one above). */
#ifndef RONDA_DISCOVERY_BUS_WATCH_H
#define RONDA_DISCOVERY_BUS_WATCH_H

#include <event2/event.h>

struct bus_watch;

/* 0, -ENOMEM, -errno of inotify_init1(2). */
int bus_watch_new(struct event_base *base, void (*on_appear)(void *arg), void *arg,
                  struct bus_watch **out);
void bus_watch_free(struct bus_watch *w);

#endif
