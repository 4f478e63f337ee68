/* mdns: what discovery.c asks of a back end (the host's avahi-daemon, or avahi-core
 * in this process), and what it is told by it. Internal to discovery/.
 *
 * Nothing is freed from inside a back end's callback: discovery.c only notes what
 * it is told and acts from its pump. Handles are freed before their back end.
 */
#ifndef RONDA_DISCOVERY_MDNS_H
#define RONDA_DISCOVERY_MDNS_H

#include "discovery/netwatch.h"

#include <avahi-common/address.h>
#include <avahi-common/strlst.h>
#include <avahi-common/watch.h>
#include <stdbool.h>
#include <stdint.h>

enum { MDNS_LABEL_BYTES = 64 };

/* One instance as one interface and protocol shows it. */
struct mdns_key {
    AvahiIfIndex ifindex;
    AvahiProtocol protocol;
    char name[MDNS_LABEL_BYTES]; /* unescaped UTF-8 */
};

/* What we publish. A new name_serial: all records are new; a new txt_serial: TXT alone. */
struct mdns_service {
    char name[MDNS_LABEL_BYTES];
    char host[MDNS_LABEL_BYTES + 8]; /* "ronda-0011aabb.local"; a daemon has its own */
    uint16_t port;                   /* host order */
    AvahiStringList *txt;
    uint32_t name_serial; /* never 0 */
    uint32_t txt_serial;
};

/* Lives for the callback only. */
struct mdns_answer {
    uint16_t port;
    const AvahiStringList *txt;
    bool new_host; /* addresses told before are no longer its */
};

struct mdns_events {
    /* true: publish and browse; false: withdraw what is published, wait. */
    void (*ready)(void *arg, bool ready);
    /* It will never work again; close it later. */
    void (*failed)(void *arg);
    /* Somebody else on the link has our name. */
    void (*collision)(void *arg);
    void (*published)(void *arg);
    void (*seen)(void *arg, const struct mdns_key *key);
    void (*gone)(void *arg, const struct mdns_key *key);
    /* Again when anything changed. The embedded back end sees that, and what becomes of the
     * addresses, within 2 s (mdns_lookup.h). */
    void (*resolved)(void *arg, void *instance, const struct mdns_answer *answer);
    /* Its host has this address, or no longer; each address for itself. */
    void (*address)(void *arg, void *instance, const AvahiAddress *address, bool present);
    /* No answer, or no longer one. */
    void (*unresolved)(void *arg, void *instance);
};

struct mdns_env {
    const AvahiPoll *poll;
    const char *host; /* label for the host's own name */
    bool point_to_point;
    const struct mdns_events *events;
    void *arg;
};

struct mdns_api {
    const char *name;
    /* 0, -ENOMEM, -ENOTCONN (no D-Bus), -ENETDOWN, -EIO. Events may come before it returns. */
    int (*open)(const struct mdns_env *env, void **out);
    void (*close)(void *backend);

    /* Handles: NULL when it did not work. */
    void *(*browser_new)(void *backend, unsigned ifindex);
    void (*browser_free)(void *browser);

    /* -EEXIST: a collision known at once. */
    int (*service_new)(void *backend, unsigned ifindex, const struct mdns_service *s, void **out);
    int (*service_update)(void *backend, void *service, unsigned ifindex,
                          const struct mdns_service *s);
    void (*service_free)(void *service);

    /* NULL, all three of them: the back end publishes its host's addresses by itself. */
    int (*address_new)(void *backend, unsigned ifindex, const struct mdns_service *s,
                       const struct netwatch_addr *addr, void **out);
    void (*address_free)(void *address);

    void *(*resolver_new)(void *backend, const struct mdns_key *key, void *instance);
    void (*resolver_free)(void *resolver);
};

extern const struct mdns_api mdns_embedded;
extern const struct mdns_api mdns_system;

#endif
