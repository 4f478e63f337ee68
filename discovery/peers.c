#include "discovery/peers.h"

#include "discovery/txt.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_FIRST_MS = 3000 }; /* doubled each time */

enum instance_state {
    INSTANCE_NEW,
    INSTANCE_RESOLVING,
    INSTANCE_RESOLVED,
    INSTANCE_FAILED,
    INSTANCE_DEAD
};

struct instance {
    struct mdns_key key;
    enum instance_state state;
    void *resolver;
    unsigned tries;
    uint64_t retry_at_ms;
    uint64_t serial; /* grows with each answer: the last one tells name, versions, flags */
    struct txt txt;
    uint16_t port;
    unsigned addr_count;
    struct sockaddr_storage addrs[DISCOVERY_ADDRS_MAX];
};

struct peer {
    bool told;
    bool dirty;
    uint64_t lost_at_ms; /* PEERS_NEVER: it is there */
    uint64_t grace_ms;
    struct discovery_peer as_told;
};

struct peers {
    uint8_t own_id[DISCOVERY_ID_BYTES];
    uint64_t serial;
    bool missed;  /* an instance was ignored for lack of room */
    bool orphans; /* an instance is resolved but its peer found no room */
    bool work;
    unsigned instance_count;
    struct instance *instances[PEERS_INSTANCES_MAX];
    unsigned peer_count;
    struct peer *peers[DISCOVERY_PEERS_MAX];
    struct discovery_peer lost; /* what peers_next points to when a peer is freed */
};

struct peers *peers_new(const uint8_t own_id[static DISCOVERY_ID_BYTES])
{
    struct peers *p = calloc(1, sizeof *p);
    if (p)
        memcpy(p->own_id, own_id, sizeof p->own_id);
    return p;
}

void peers_free(struct peers *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->instance_count; i++)
        free(p->instances[i]);
    for (unsigned i = 0; i < p->peer_count; i++)
        free(p->peers[i]);
    free(p);
}

static struct peer *peer_find(const struct peers *p, const uint8_t id[static DISCOVERY_ID_BYTES])
{
    for (unsigned i = 0; i < p->peer_count; i++) {
        if (memcmp(p->peers[i]->as_told.id, id, DISCOVERY_ID_BYTES) == 0)
            return p->peers[i];
    }
    return NULL;
}

static struct peer *peer_get(struct peers *p, const uint8_t id[static DISCOVERY_ID_BYTES])
{
    struct peer *peer = peer_find(p, id);
    if (peer)
        return peer;
    if (p->peer_count == DISCOVERY_PEERS_MAX || !(peer = calloc(1, sizeof *peer))) {
        p->orphans = true;
        return NULL;
    }
    memcpy(peer->as_told.id, id, DISCOVERY_ID_BYTES);
    peer->lost_at_ms = PEERS_NEVER;
    peer->grace_ms = PEERS_GRACE_MS;
    p->peers[p->peer_count++] = peer;
    return peer;
}

static void peer_touch(struct peers *p, const uint8_t id[static DISCOVERY_ID_BYTES])
{
    struct peer *peer = peer_find(p, id);
    if (peer)
        peer->dirty = true;
}

static struct instance *instance_find(const struct peers *p, const struct mdns_key *key)
{
    for (unsigned n = 0; n < p->instance_count; n++) {
        struct instance *i = p->instances[n];
        if (i->state != INSTANCE_DEAD && i->key.ifindex == key->ifindex &&
            i->key.protocol == key->protocol && strcmp(i->key.name, key->name) == 0)
            return i;
    }
    return NULL;
}

/* Not freed here: this may run inside the resolver's own callback. */
static void instance_kill(struct peers *p, struct instance *i)
{
    if (i->state == INSTANCE_RESOLVED)
        peer_touch(p, i->txt.id);
    i->state = INSTANCE_DEAD;
    p->work = true;
}

/* Those that never answered make room, so that junk can't keep peers out. */
static bool instance_evict(struct peers *p)
{
    for (unsigned n = 0; n < p->instance_count; n++) {
        if (p->instances[n]->state == INSTANCE_FAILED) {
            instance_kill(p, p->instances[n]);
            return true;
        }
    }
    return false;
}

void peers_seen(struct peers *p, const struct mdns_key *key, uint64_t now_ms)
{
    (void)now_ms;
    if (instance_find(p, key))
        return;
    if (p->instance_count == PEERS_INSTANCES_MAX) {
        instance_evict(p);
        p->missed = true;
        return;
    }
    struct instance *i = calloc(1, sizeof *i);
    if (!i) {
        p->missed = true;
        return;
    }
    i->key = *key;
    p->instances[p->instance_count++] = i;
    p->work = true;
}

void peers_gone(struct peers *p, const struct mdns_key *key, uint64_t now_ms)
{
    struct instance *i = instance_find(p, key);
    (void)now_ms;
    if (i)
        instance_kill(p, i);
}

/* Without the port: that is the service's. Loopback from the LAN is a trick. */
static bool addr_from_avahi(const AvahiAddress *address, AvahiIfIndex ifindex,
                            struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (address->proto == AVAHI_PROTO_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = address->data.ipv4.address;
        if (ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET)
            return false;
    } else {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
        in6->sin6_family = AF_INET6;
        memcpy(&in6->sin6_addr, address->data.ipv6.address, 16);
        if (IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) || IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            return false;
        if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
            in6->sin6_scope_id = (uint32_t)ifindex;
    }
    return discovery_dialable((const struct sockaddr *)out);
}

static unsigned instance_find_addr(const struct instance *i, const struct sockaddr_storage *addr)
{
    unsigned n = 0;
    while (n < i->addr_count && memcmp(&i->addrs[n], addr, sizeof *addr) != 0)
        n++;
    return n;
}

/* A peer is made for an instance with an address; one that has none now may be known. */
static void instance_show(struct peers *p, const struct instance *i)
{
    struct peer *peer = i->addr_count > 0 ? peer_get(p, i->txt.id) : peer_find(p, i->txt.id);
    if (peer)
        peer->dirty = true;
}

void peers_address(struct peers *p, struct instance *i, const AvahiAddress *address, bool present)
{
    struct sockaddr_storage addr;
    if (i->state == INSTANCE_DEAD || !addr_from_avahi(address, i->key.ifindex, &addr))
        return;
    unsigned at = instance_find_addr(i, &addr);
    if (present && at == i->addr_count && at < DISCOVERY_ADDRS_MAX) {
        i->addrs[i->addr_count++] = addr;
    } else if (!present && at < i->addr_count) {
        i->addr_count--;
        memmove(&i->addrs[at], &i->addrs[at + 1], (i->addr_count - at) * sizeof i->addrs[0]);
    }
    if (i->state == INSTANCE_RESOLVED)
        instance_show(p, i);
}

/* It stays known, asked for again less and less often; it may also answer by itself. */
static void instance_fail(struct peers *p, struct instance *i, uint64_t now_ms)
{
    if (i->state == INSTANCE_RESOLVED)
        peer_touch(p, i->txt.id);
    i->addr_count = 0;
    if (++i->tries >= PEERS_TRIES_MAX) {
        instance_kill(p, i);
        return;
    }
    i->state = INSTANCE_FAILED;
    p->work = true; /* a spare may take over */
    i->retry_at_ms = now_ms + ((uint64_t)RETRY_FIRST_MS << i->tries);
}

void peers_resolved(struct peers *p, struct instance *i, const struct mdns_answer *answer,
                    uint64_t now_ms)
{
    struct txt txt;
    if (i->state == INSTANCE_DEAD)
        return;
    if (txt_parse(answer->txt, &txt) < 0 || answer->port == 0) {
        instance_fail(p, i, now_ms);
        return;
    }
    if (memcmp(txt.id, p->own_id, sizeof txt.id) == 0)
        return; /* ourselves, seen through another interface or back end */
    if (i->state == INSTANCE_RESOLVED && memcmp(txt.id, i->txt.id, sizeof txt.id) != 0)
        peer_touch(p, i->txt.id);
    if (answer->new_host)
        i->addr_count = 0;
    i->state = INSTANCE_RESOLVED;
    i->tries = 0;
    i->txt = txt;
    i->port = answer->port;
    i->serial = ++p->serial;
    instance_show(p, i);
}

void peers_unresolved(struct peers *p, struct instance *i, uint64_t now_ms)
{
    if (i->state == INSTANCE_RESOLVING || i->state == INSTANCE_RESOLVED)
        instance_fail(p, i, now_ms);
}

static void instance_free(struct peers *p, unsigned at, const struct mdns_api *api)
{
    struct instance *i = p->instances[at];
    if (i->resolver)
        api->resolver_free(i->resolver);
    free(i);
    p->instances[at] = p->instances[--p->instance_count];
}

static void instance_start(struct peers *p, struct instance *i, const struct mdns_api *api,
                           void *backend, uint64_t now_ms)
{
    if (i->resolver)
        api->resolver_free(i->resolver);
    i->state = INSTANCE_RESOLVING;
    i->resolver = api->resolver_new(backend, &i->key, i);
    if (!i->resolver)
        instance_fail(p, i, now_ms);
}

/* Shown over IPv4 on the same link, and that one works or may yet. */
static bool instance_is_spare(const struct peers *p, const struct instance *i)
{
    struct mdns_key key = i->key;
    if (key.protocol != AVAHI_PROTO_INET6)
        return false;
    key.protocol = AVAHI_PROTO_INET;
    const struct instance *twin = instance_find(p, &key);
    return twin && twin->state != INSTANCE_FAILED;
}

static bool instance_due(const struct peers *p, const struct instance *i, uint64_t now_ms)
{
    if (i->state == INSTANCE_FAILED)
        return i->retry_at_ms <= now_ms;
    return i->state == INSTANCE_NEW && !instance_is_spare(p, i);
}

void peers_work(struct peers *p, const struct mdns_api *api, void *backend, uint64_t now_ms)
{
    p->work = false;
    for (unsigned n = 0; n < p->instance_count;) {
        struct instance *i = p->instances[n];
        if (i->state == INSTANCE_DEAD) {
            instance_free(p, n, api);
            continue;
        }
        if (instance_due(p, i, now_ms))
            instance_start(p, i, api, backend, now_ms);
        n++;
    }
}

void peers_drop_all(struct peers *p, const struct mdns_api *api, uint64_t grace_ms, uint64_t now_ms)
{
    (void)now_ms;
    for (unsigned i = 0; i < p->peer_count; i++) {
        p->peers[i]->grace_ms = grace_ms;
        p->peers[i]->dirty = true;
    }
    while (p->instance_count > 0)
        instance_free(p, p->instance_count - 1, api);
    p->missed = false;
}

bool peers_want_rebrowse(struct peers *p)
{
    const unsigned room = PEERS_INSTANCES_MAX / 8;
    if (!p->missed || p->instance_count > PEERS_INSTANCES_MAX - room ||
        p->peer_count == DISCOVERY_PEERS_MAX)
        return false;
    p->missed = false;
    return true;
}

static void addr_set_port(struct sockaddr_storage *addr, uint16_t port)
{
    if (addr->ss_family == AF_INET)
        ((struct sockaddr_in *)addr)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)addr)->sin6_port = htons(port);
}

static bool addr_known(const struct discovery_peer *out, const struct sockaddr_storage *addr,
                       uint16_t port)
{
    struct sockaddr_storage with_port = *addr;
    addr_set_port(&with_port, port);
    for (unsigned i = 0; i < out->addr_count; i++) {
        if (memcmp(&out->addrs[i], &with_port, sizeof with_port) == 0)
            return true;
    }
    return false;
}

/* The nth address of each instance in turn, so that no instance (a second host that
 * claims the same id) can crowd the others out. */
static void peer_collect_addrs(const struct peers *p, struct discovery_peer *out)
{
    for (unsigned nth = 0; nth < DISCOVERY_ADDRS_MAX; nth++) {
        for (unsigned n = 0; n < p->instance_count; n++) {
            const struct instance *i = p->instances[n];
            if (i->state != INSTANCE_RESOLVED || nth >= i->addr_count ||
                memcmp(i->txt.id, out->id, sizeof out->id) != 0 ||
                out->addr_count == DISCOVERY_ADDRS_MAX || addr_known(out, &i->addrs[nth], i->port))
                continue;
            out->ifindexes[out->addr_count] = (unsigned)i->key.ifindex;
            out->addrs[out->addr_count] = i->addrs[nth];
            addr_set_port(&out->addrs[out->addr_count++], i->port);
        }
    }
}

/* False: nothing shows this peer now. */
static bool peer_describe(const struct peers *p, const uint8_t id[static DISCOVERY_ID_BYTES],
                          struct discovery_peer *out)
{
    const struct instance *last = NULL;
    for (unsigned n = 0; n < p->instance_count; n++) {
        const struct instance *i = p->instances[n];
        if (i->state == INSTANCE_RESOLVED && i->addr_count > 0 &&
            memcmp(i->txt.id, id, DISCOVERY_ID_BYTES) == 0 && (!last || i->serial > last->serial))
            last = i;
    }
    memset(out, 0, sizeof *out);
    memcpy(out->id, id, DISCOVERY_ID_BYTES);
    if (!last)
        return false;
    snprintf(out->instance, sizeof out->instance, "%s", last->key.name);
    out->catalog_version = last->txt.catalog_version;
    out->version = last->txt.version;
    out->flags = last->txt.flags;
    out->port = last->port;
    peer_collect_addrs(p, out);
    return true;
}

/* True: the owner must be told that it is found or other than before. */
static bool peer_refresh(struct peers *p, struct peer *peer, uint64_t now_ms)
{
    struct discovery_peer now_is;
    peer->dirty = false;
    if (!peer_describe(p, peer->as_told.id, &now_is)) {
        if (peer->lost_at_ms == PEERS_NEVER)
            peer->lost_at_ms = now_ms + (peer->told ? peer->grace_ms : 0);
        return false;
    }
    peer->lost_at_ms = PEERS_NEVER;
    peer->grace_ms = PEERS_GRACE_MS;
    if (peer->told && memcmp(&now_is, &peer->as_told, sizeof now_is) == 0)
        return false;
    peer->as_told = now_is;
    peer->told = true;
    return true;
}

static void peers_adopt(struct peers *p)
{
    p->orphans = false;
    for (unsigned n = 0; n < p->instance_count; n++) {
        const struct instance *i = p->instances[n];
        if (i->state == INSTANCE_RESOLVED)
            instance_show(p, i);
    }
}

static bool peer_drop(struct peers *p, unsigned at)
{
    bool told = p->peers[at]->told;
    p->lost = p->peers[at]->as_told;
    free(p->peers[at]);
    p->peers[at] = p->peers[--p->peer_count];
    if (p->orphans)
        peers_adopt(p);
    return told;
}

bool peers_next(struct peers *p, uint64_t now_ms, enum peers_news *news,
                const struct discovery_peer **out)
{
    for (unsigned i = 0; i < p->peer_count;) {
        struct peer *peer = p->peers[i];
        if (peer->dirty && peer_refresh(p, peer, now_ms)) {
            *news = PEERS_FOUND;
            *out = &peer->as_told;
            return true;
        }
        if (peer->lost_at_ms > now_ms) {
            i++;
            continue;
        }
        if (peer_drop(p, i)) {
            *news = PEERS_LOST;
            *out = &p->lost;
            return true;
        }
    }
    return false;
}

uint64_t peers_deadline_ms(const struct peers *p)
{
    uint64_t deadline = p->work ? 0 : PEERS_NEVER;
    for (unsigned n = 0; n < p->instance_count; n++) {
        const struct instance *i = p->instances[n];
        if (i->state == INSTANCE_FAILED && i->retry_at_ms < deadline)
            deadline = i->retry_at_ms;
    }
    for (unsigned n = 0; n < p->peer_count; n++) {
        uint64_t at = p->peers[n]->dirty ? 0 : p->peers[n]->lost_at_ms;
        if (at < deadline)
            deadline = at;
    }
    return deadline;
}
