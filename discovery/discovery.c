/* Joins the parts: netwatch (which links), a back end (avahi-daemon or avahi-core),
 * links (what is published and browsed there), peers (what was found).
 *
 * Whatever happens is only noted, and the pump acts on it from the event loop:
 * avahi's objects are never freed inside their own callbacks, and a burst of
 * events is one step.
 */
#include "discovery/discovery.h"

#include "discovery/avahi_poll.h"
#include "discovery/bus_watch.h"
#include "discovery/label.h"
#include "discovery/links.h"
#include "discovery/mdns.h"
#include "discovery/netwatch.h"
#include "discovery/peers.h"
#include "discovery/txt.h"

#include <avahi-common/alternative.h>
#include <avahi-common/malloc.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    UPDATE_INTERVAL_MS = 1000,   /* between two changes of our TXT */
    FALLBACK_MS = 1000,          /* a daemon that restarts at once is waited for */
    CHANGEOVER_GRACE_MS = 10000, /* peers unconfirmed by the new back end are then lost */
    EMBEDDED_RETRY_MS = 10000,
    SYSTEM_RETRY_MS = 60000, /* D-Bus itself is out of reach; bus_watch tells sooner */
    BUS_RETRY_MS = 1000,     /* ... and so often when it does */
    BUS_TRIES = 5,
    LINKS_RETRY_MS = 2000,
    HOLD_STEP_MS = 5000, /* more with each loss: a daemon that crashes again and again */
    HOLD_MAX_MS = 60000,
    HOLD_FORGET_MS = 600000,
    RENAME_FREE = 8, /* renames without a pause; then one each RENAME_PAUSE_MS */
    RENAME_PAUSE_MS = 5000
};

struct backend {
    struct discovery *owner;
    const struct mdns_api *api;
    void *handle; /* NULL: closed */
    bool ready;
    bool failed;
    uint64_t ready_since_ms;
    uint64_t open_at_ms; /* not before */
};

struct discovery {
    enum discovery_mode mode;
    const struct discovery_ops *ops;
    void *arg;
    AvahiPoll poll;
    bool point_to_point;
    char host_label[MDNS_LABEL_BYTES];
    struct event *pump;
    struct netwatch *netwatch;
    struct bus_watch *bus;
    struct peers *peers;

    struct backend system;
    struct backend embedded;
    struct backend *active;
    struct links *links; /* of the active back end */
    uint64_t fallback_at_ms;
    uint64_t hold_ms;
    uint64_t system_lost_ms;
    unsigned bus_tries;

    struct mdns_service service;
    struct txt txt;
    bool txt_changed;
    uint64_t txt_at_ms;
    bool links_due;
    uint64_t links_at_ms;
    bool collided;
    unsigned renames;
    uint64_t rename_at_ms;

    bool network_changed;
    bool published;
    char said[160];
};

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void pump_soon(struct discovery *d)
{
    event_active(d->pump, EV_TIMEOUT, 0);
}

const char *discovery_name(const struct discovery *d)
{
    return d->service.name;
}

const char *discovery_backend(const struct discovery *d)
{
    return d->active ? d->active->api->name : "off";
}

/* The same thing is not said twice in a row. */
static void say(struct discovery *d, const char *what)
{
    char line[sizeof d->said];
    snprintf(line, sizeof line, "%s: %s", discovery_backend(d), what);
    if (strcmp(line, d->said) == 0)
        return;
    memcpy(d->said, line, sizeof line);
    if (d->ops->on_state)
        d->ops->on_state(d->arg, discovery_backend(d), what);
}

/* -- events of a back end: note and wake the pump ------------------------------ */

static void backend_on_ready(void *arg, bool ready)
{
    struct backend *b = arg;
    if (ready && !b->ready)
        b->ready_since_ms = now_ms();
    b->ready = ready;
    b->owner->links_due = true;
    pump_soon(b->owner);
}

static void backend_on_failed(void *arg)
{
    struct backend *b = arg;
    b->failed = true;
    b->ready = false;
    pump_soon(b->owner);
}

static void backend_on_collision(void *arg)
{
    struct backend *b = arg;
    b->owner->collided = true;
    pump_soon(b->owner);
}

static void backend_on_published(void *arg)
{
    struct backend *b = arg;
    b->owner->published = true;
    pump_soon(b->owner);
}

static void backend_on_seen(void *arg, const struct mdns_key *key)
{
    struct backend *b = arg;
    peers_seen(b->owner->peers, key, now_ms());
    pump_soon(b->owner);
}

static void backend_on_gone(void *arg, const struct mdns_key *key)
{
    struct backend *b = arg;
    peers_gone(b->owner->peers, key, now_ms());
    pump_soon(b->owner);
}

static void backend_on_resolved(void *arg, void *instance, const struct mdns_answer *answer)
{
    struct backend *b = arg;
    peers_resolved(b->owner->peers, instance, answer, now_ms());
    pump_soon(b->owner);
}

static void backend_on_address(void *arg, void *instance, const AvahiAddress *address, bool present)
{
    struct backend *b = arg;
    peers_address(b->owner->peers, instance, address, present);
    pump_soon(b->owner);
}

static void backend_on_unresolved(void *arg, void *instance)
{
    struct backend *b = arg;
    peers_unresolved(b->owner->peers, instance, now_ms());
    pump_soon(b->owner);
}

static const struct mdns_events backend_events = {.ready = backend_on_ready,
                                                  .failed = backend_on_failed,
                                                  .collision = backend_on_collision,
                                                  .published = backend_on_published,
                                                  .seen = backend_on_seen,
                                                  .gone = backend_on_gone,
                                                  .resolved = backend_on_resolved,
                                                  .address = backend_on_address,
                                                  .unresolved = backend_on_unresolved};

/* -- back ends: open, close, change over --------------------------------------- */

static int backend_open(struct backend *b)
{
    struct discovery *d = b->owner;
    const struct mdns_env env = {.poll = &d->poll,
                                 .host = d->host_label,
                                 .point_to_point = d->point_to_point,
                                 .events = &backend_events,
                                 .arg = b};
    b->ready = false;
    b->failed = false;
    return b->api->open(&env, &b->handle);
}

static void backend_close(struct backend *b)
{
    if (b->handle)
        b->api->close(b->handle);
    b->handle = NULL;
    b->ready = false;
    b->failed = false;
}

static void deactivate(struct discovery *d, uint64_t now)
{
    if (!d->active)
        return;
    peers_drop_all(d->peers, d->active->api, CHANGEOVER_GRACE_MS, now);
    links_free(d->links);
    d->links = NULL;
    d->active = NULL;
}

static void activate(struct discovery *d, struct backend *b)
{
    d->links = links_new(b->api, b->handle);
    if (!d->links)
        return; /* the next step of the pump tries again */
    d->active = b;
    d->links_due = true;
    d->links_at_ms = 0;
    d->published = false;
    d->collided = false;
}

static void system_lost(struct discovery *d, uint64_t now)
{
    if (now - d->system_lost_ms > HOLD_FORGET_MS)
        d->hold_ms = 0;
    if (d->hold_ms < HOLD_MAX_MS)
        d->hold_ms += HOLD_STEP_MS;
    d->system_lost_ms = now;
    d->fallback_at_ms = now + FALLBACK_MS;
}

static void system_step(struct discovery *d, uint64_t now)
{
    struct backend *b = &d->system;
    if (d->mode != DISCOVERY_AUTO && d->mode != DISCOVERY_SYSTEM)
        return;
    if (b->failed) {
        if (d->active == b) {
            system_lost(d, now);
            deactivate(d, now);
            say(d, "avahi-daemon went away");
        }
        backend_close(b);
    }
    if (!b->handle && now >= b->open_at_ms && backend_open(b) < 0) {
        b->open_at_ms = now + (d->bus_tries > 0 ? BUS_RETRY_MS : SYSTEM_RETRY_MS);
        if (d->bus_tries > 0)
            d->bus_tries--;
    }
    if (!b->ready || d->active == b || (d->active && now < b->ready_since_ms + d->hold_ms))
        return;
    deactivate(d, now);
    backend_close(&d->embedded); /* before: two responders would fight for one name */
    activate(d, b);
}

static void embedded_step(struct discovery *d, uint64_t now)
{
    struct backend *b = &d->embedded;
    if (d->mode != DISCOVERY_AUTO && d->mode != DISCOVERY_EMBEDDED)
        return;
    if (b->failed) {
        if (d->active == b)
            deactivate(d, now);
        backend_close(b);
        b->open_at_ms = now + EMBEDDED_RETRY_MS;
    }
    if (d->active)
        return;
    if (!b->handle && now >= d->fallback_at_ms && now >= b->open_at_ms && backend_open(b) < 0) {
        b->open_at_ms = now + EMBEDDED_RETRY_MS;
        say(d, "no network yet");
    }
    if (b->ready)
        activate(d, b);
}

/* -- what we publish ------------------------------------------------------------ */

static void service_txt(struct discovery *d, uint64_t now)
{
    if (!d->txt_changed || now < d->txt_at_ms)
        return;
    AvahiStringList *txt = txt_build(&d->txt);
    if (!txt)
        return;
    avahi_string_list_free(d->service.txt);
    d->service.txt = txt;
    d->service.txt_serial++;
    d->txt_changed = false;
    d->txt_at_ms = now + UPDATE_INTERVAL_MS;
    d->links_due = true;
}

static void service_host(struct discovery *d)
{
    if (d->renames == 0)
        snprintf(d->service.host, sizeof d->service.host, "%s.local", d->host_label);
    else /* the host name may be what collided: a copied state directory */
        snprintf(d->service.host, sizeof d->service.host, "%s-%u.local", d->host_label,
                 d->renames + 1);
}

static void service_rename(struct discovery *d, uint64_t now)
{
    char clause[MDNS_LABEL_BYTES + 32];
    if (!d->collided || now < d->rename_at_ms)
        return;
    d->collided = false;
    char *name = avahi_alternative_service_name(d->service.name);
    if (!name)
        return;
    snprintf(d->service.name, sizeof d->service.name, "%s", name);
    avahi_free(name);
    if (++d->renames >= RENAME_FREE)
        d->rename_at_ms = now + RENAME_PAUSE_MS;
    service_host(d);
    d->service.name_serial++;
    d->published = false;
    d->links_due = true;
    snprintf(clause, sizeof clause, "renamed to \"%s\"", d->service.name);
    say(d, clause);
}

static void links_step(struct discovery *d, uint64_t now)
{
    unsigned count;
    if (!d->active || !d->links_due || now < d->links_at_ms)
        return;
    const struct netwatch_link *links = netwatch_links(d->netwatch, &count);
    const struct mdns_service *service = d->active->ready && d->service.txt ? &d->service : NULL;
    int err = links_sync(d->links, links, count, service);
    if (err == -EEXIST)
        d->collided = true;
    d->links_due = err == -EAGAIN;
    d->links_at_ms = d->links_due ? now + LINKS_RETRY_MS : 0;
    if (count == 0)
        say(d, "no interface yet");
}

static void tell_published(struct discovery *d)
{
    char clause[MDNS_LABEL_BYTES + 32];
    unsigned count;
    netwatch_links(d->netwatch, &count);
    if (!d->published || d->collided || count == 0)
        return;
    d->published = false;
    snprintf(clause, sizeof clause, "published as \"%s\"", d->service.name);
    say(d, clause);
}

/* -- what was found --------------------------------------------------------------- */

static void peers_step(struct discovery *d, uint64_t now)
{
    const struct discovery_peer *peer;
    enum peers_news news;
    if (d->active)
        peers_work(d->peers, d->active->api, d->active->handle, now);
    while (peers_next(d->peers, now, &news, &peer)) {
        if (news == PEERS_FOUND)
            d->ops->peer_found(d->arg, peer);
        else
            d->ops->peer_lost(d->arg, peer->id);
    }
    if (d->active && peers_want_rebrowse(d->peers))
        links_rebrowse(d->links);
}

/* -- the pump --------------------------------------------------------------------- */

static void sooner(uint64_t *deadline, uint64_t at)
{
    if (at < *deadline)
        *deadline = at;
}

static uint64_t backends_deadline(const struct discovery *d)
{
    uint64_t deadline = PEERS_NEVER;
    bool want_system = d->mode == DISCOVERY_AUTO || d->mode == DISCOVERY_SYSTEM;
    if (want_system && !d->system.handle)
        sooner(&deadline, d->system.open_at_ms);
    if (d->system.ready && d->active != &d->system)
        sooner(&deadline, d->system.ready_since_ms + d->hold_ms);
    bool want_embedded = d->mode == DISCOVERY_AUTO || d->mode == DISCOVERY_EMBEDDED;
    if (want_embedded && !d->active && !d->embedded.handle)
        sooner(&deadline, d->fallback_at_ms > d->embedded.open_at_ms ? d->fallback_at_ms
                                                                     : d->embedded.open_at_ms);
    return deadline;
}

static void pump_arm(struct discovery *d, uint64_t now)
{
    uint64_t deadline = backends_deadline(d);
    if (d->mode == DISCOVERY_OFF)
        return;
    sooner(&deadline, peers_deadline_ms(d->peers));
    if (d->txt_changed)
        sooner(&deadline, d->txt_at_ms);
    if (d->collided)
        sooner(&deadline, d->rename_at_ms);
    if (d->active && d->links_due)
        sooner(&deadline, d->links_at_ms);
    if (deadline == PEERS_NEVER) {
        event_del(d->pump);
        return;
    }
    uint64_t wait_ms = deadline > now ? deadline - now : 0;
    const struct timeval tv = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000)};
    event_add(d->pump, &tv);
}

static void network_step(struct discovery *d)
{
    if (!d->network_changed)
        return;
    d->network_changed = false;
    d->links_due = true;
    d->links_at_ms = 0;
    d->embedded.open_at_ms = 0;
    if (d->ops->on_network)
        d->ops->on_network(d->arg);
}

static void discovery_pump(struct discovery *d)
{
    uint64_t now = now_ms();
    network_step(d);
    system_step(d, now);
    embedded_step(d, now);
    service_txt(d, now);
    service_rename(d, now);
    links_step(d, now);
    tell_published(d);
    peers_step(d, now);
    if (d->mode == DISCOVERY_OFF)
        say(d, "not discovering");
    pump_arm(d, now);
}

static void discovery_on_pump(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    discovery_pump(arg);
}

static void discovery_on_links(void *arg)
{
    struct discovery *d = arg;
    d->network_changed = true;
    pump_soon(d);
}

static void discovery_on_bus(void *arg)
{
    struct discovery *d = arg;
    /* The socket is there a moment before anybody answers. */
    d->bus_tries = BUS_TRIES;
    d->system.open_at_ms = now_ms() + BUS_RETRY_MS / 4;
    pump_soon(d);
}

/* -- birth, death, changes ---------------------------------------------------------- */

static void discovery_init(struct discovery *d, const struct discovery_cfg *cfg)
{
    d->mode = cfg->mode;
    d->ops = cfg->ops;
    d->arg = cfg->arg;
    d->point_to_point = cfg->only_interfaces != NULL;
    d->system = (struct backend){.owner = d, .api = &mdns_system};
    d->embedded = (struct backend){.owner = d, .api = &mdns_embedded};
    /* Never the host's own name: it may be empty, too long, or already defended by
     * another responder on this host. */
    snprintf(d->host_label, sizeof d->host_label, "ronda-%02x%02x%02x%02x", cfg->id[0], cfg->id[1],
             cfg->id[2], cfg->id[3]);
    label_from_name(cfg->name, d->host_label, d->service.name, sizeof d->service.name);
    d->service.port = cfg->port;
    d->service.name_serial = 1;
    service_host(d);
    d->txt = (struct txt){
        .version = cfg->version, .flags = cfg->flags, .catalog_version = cfg->catalog_version};
    memcpy(d->txt.id, cfg->id, sizeof d->txt.id);
    d->txt_changed = true;
    avahi_poll_init(&d->poll, cfg->base);
}

int discovery_new(const struct discovery_cfg *cfg, struct discovery **out)
{
    int err = -ENOMEM;
    *out = NULL;
    struct discovery *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    discovery_init(d, cfg);
    const struct netwatch_cfg watch = {.base = cfg->base,
                                       .skip = cfg->skip_interfaces,
                                       .only = cfg->only_interfaces,
                                       .on_change = discovery_on_links,
                                       .arg = d};
    d->pump = evtimer_new(cfg->base, discovery_on_pump, d);
    d->peers = peers_new(cfg->id);
    if (!d->pump || !d->peers)
        goto fail;
    err = netwatch_new(&watch, &d->netwatch);
    if (err < 0)
        goto fail;
    /* Without it the slow retry finds the daemon as well. */
    if (cfg->mode == DISCOVERY_AUTO || cfg->mode == DISCOVERY_SYSTEM)
        bus_watch_new(cfg->base, discovery_on_bus, d, &d->bus);
    pump_soon(d);
    *out = d;
    return 0;
fail:
    discovery_free(d);
    return err;
}

void discovery_free(struct discovery *d)
{
    if (!d)
        return;
    if (d->active)
        deactivate(d, 0);
    backend_close(&d->system);
    backend_close(&d->embedded);
    bus_watch_free(d->bus);
    netwatch_free(d->netwatch);
    peers_free(d->peers);
    avahi_string_list_free(d->service.txt);
    if (d->pump)
        event_free(d->pump);
    free(d);
}

void discovery_update(struct discovery *d, uint64_t catalog_version, uint8_t flags)
{
    if (d->txt.catalog_version == catalog_version && d->txt.flags == flags)
        return;
    d->txt.catalog_version = catalog_version;
    d->txt.flags = flags;
    d->txt_changed = true;
    pump_soon(d);
}
