/* mdns_lookup: what the two back ends of mdns.h do alike. Avahi's two libraries have
 * the same events with other types; what follows from an event stands here once.
 * Internal to the back ends.
 */
#ifndef RONDA_DISCOVERY_MDNS_LOOKUP_H
#define RONDA_DISCOVERY_MDNS_LOOKUP_H

#include "discovery/mdns.h"

#include <avahi-common/defs.h>
#include <avahi-common/domain.h>

/* Who is told; lives as long as the back end. */
struct mdns_listener {
    const struct mdns_events *events;
    void *arg;
    const AvahiPoll *glances; /* NULL: lookups stay open; see struct mdns_lookup */
    unsigned glance_phase_ms; /* 0..MDNS_GLANCE_MS - 1: when in each two seconds */
};

enum {
    MDNS_GLANCE_MS = 2000,
    MDNS_LOOKUP_ADDRS_MAX = 32 /* addresses of one host; further ones are ignored */
};

/* 0 or -errno for an AVAHI_ERR_: Avahi numbers its errors like errno, but otherwise. */
int mdns_error(int avahi);

/* A service browser says this of an instance; name may be NULL. */
void mdns_browsed(const struct mdns_listener *to, const struct mdns_key *key, const char *name,
                  AvahiBrowserEvent event, AvahiLookupResultFlags flags);
/* The state of the entry group that publishes our service. */
void mdns_group_changed(const struct mdns_listener *to, AvahiEntryGroupState state);

struct mdns_lookup;

/* What a lookup asks of its back end. Handles: NULL when it did not work. */
struct mdns_lookup_api {
    void *(*resolver_new)(void *backend, const struct mdns_key *key, struct mdns_lookup *l);
    void (*resolver_free)(void *resolver);
    /* type: AVAHI_DNS_TYPE_A or _AAAA */
    void *(*addresses_new)(void *backend, const struct mdns_key *key, const char *host,
                           uint16_t type, struct mdns_lookup *l);
    void (*addresses_free)(void *addresses);
};

struct mdns_lookup_addr {
    AvahiAddress address;
    bool seen; /* since the lookup was opened */
};

/* One instance being resolved. Avahi's own resolver tells one address and never takes
 * it back, so that the addresses of its host are browsed as records.
 *
 * An open lookup has four records asked for again and again, by each of a crowd of each
 * other, although all of them hear every answer. With `glances` it is closed as soon as
 * all is known and opened again after a while. What was heard meanwhile is found in the
 * cache, and avahi-core puts a question 100 ms later, which closing takes back: only
 * what has left the cache is asked for.
 */
struct mdns_lookup {
    const struct mdns_lookup_api *api;
    const struct mdns_listener *to;
    void *backend;
    void *instance;
    struct mdns_key key;
    char host[AVAHI_DOMAIN_NAME_MAX]; /* "": none yet */
    uint16_t port;                    /* as told */
    AvahiStringList *txt;
    unsigned addr_count;
    struct mdns_lookup_addr addrs[MDNS_LOOKUP_ADDRS_MAX];
    void *resolver;     /* NULL: closed */
    void *addresses[2]; /* A, AAAA */
    bool scanned[2];
    bool glanced; /* it was closed before */
    AvahiTimeout *timer;
};

/* NULL: no memory, or no resolver. */
struct mdns_lookup *mdns_lookup_new(const struct mdns_lookup_api *api, void *backend,
                                    const struct mdns_listener *to, const struct mdns_key *key,
                                    void *instance);
/* lookup: a struct mdns_lookup, as mdns_api.resolver_free() gets it. */
void mdns_lookup_free(void *lookup);

/* The resolver's answer; host NULL or "": there is none, or no longer. Told on unless it says the
 * same as the last. */
void mdns_lookup_answer(struct mdns_lookup *l, const char *host, uint16_t port,
                        const AvahiStringList *txt);
/* A record of the host came or went. bytes: 4 (A) or 16 (AAAA), in network order. */
void mdns_lookup_address(struct mdns_lookup *l, AvahiBrowserEvent event, uint16_t type,
                         const void *bytes);
/* The browser has told what the cache holds; for_now: and what was answered within a second. */
void mdns_lookup_scanned(struct mdns_lookup *l, const void *addresses, bool for_now);

#endif
