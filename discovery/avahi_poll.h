/* avahi_poll: Avahi's event loop interface (avahi-common/watch.h) on a libevent base.
 *
 * Avahi's timeouts are wall clock times; they are turned into distances when they
 * are set, so that a clock set later moves none that is already armed.
 */
#ifndef RONDA_DISCOVERY_AVAHI_POLL_H
#define RONDA_DISCOVERY_AVAHI_POLL_H

#include <avahi-common/watch.h>
#include <event2/event.h>

/* Nothing to free: api lives where the caller puts it, longer than all users of it. */
void avahi_poll_init(AvahiPoll *api, struct event_base *base);

#endif
