/* Connections to other nodes. One session a pair of nodes: of two the one dialled
 * by the smaller NodeID stays. A session serves catalogues and all swarms; one
 * that nobody needs ends by itself (session.h, SESSION_IDLE_MS). */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node_int.h"

static const struct peer_ops host_peer_ops;

static struct contact *contact_new(struct node *n, struct host *h)
{
    struct contact *c;

    if (n->contact_count >= NODE_CONTACTS_MAX || n->unknown_count >= NODE_UNKNOWN_MAX)
        return NULL;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->node = n;
    c->host = h;
    TAILQ_INSERT_TAIL(&n->contacts, c, entry);
    n->contact_count++;
    n->unknown_count++;
    return c;
}

void contact_free(struct contact *c, int err)
{
    struct node *n = c->node;

    if (!c->open)
        n->unknown_count--;
    n->contact_count--;
    TAILQ_REMOVE(&n->contacts, c, entry);
    if (c->host != NULL && c->host->contact == c)
        c->host->contact = NULL;
    shares_drop_contact(c);
    meta_drop_contact(c);
    if (c->peer != NULL) {
        swarm_drop_peer(c->peer);
        peer_free(c->peer, err);
    }
    free(c);
}

static struct peer_cfg contact_cfg(struct contact *c)
{
    struct node *n = c->node;
    struct peer_cfg cfg = {
        .base = n->base,
        .tls = n->tls,
        .session = {.nick = n->discovery != NULL ? discovery_name(n->discovery) : n->name,
                    .port = n->listener != NULL ? listener_port(n->listener) : 0,
                    .flags = n->leaf ? MSG_FLAG_LEAF : 0,
                    .catalog_version = n->catalog_version},
        .ops = &host_peer_ops,
        .arg = c,
    };

    return cfg;
}

void host_failed(struct host *h, struct node *n, int err)
{
    h->error = err;
    h->fetching = false;
    h->backoff_ms = h->backoff_ms == 0 ? NODE_DIAL_BACKOFF_MS : h->backoff_ms * 2;
    if (h->backoff_ms > NODE_DIAL_BACKOFF_MAX_MS)
        h->backoff_ms = NODE_DIAL_BACKOFF_MAX_MS;
    h->dial_ms = clock_ms() + h->backoff_ms + node_random(n) % (h->backoff_ms / 4 + 1);
    h->addr_next++;
}

void host_dial(struct node *n, struct host *h)
{
    struct contact *c;
    struct peer_cfg cfg;
    int rc;

    if (h->addr_count == 0)
        return;
    c = contact_new(n, h);
    if (c == NULL) {
        h->dial_ms = clock_ms() + NODE_DIAL_BACKOFF_MS;
        return;
    }
    c->addr = h->addrs[h->addr_next % h->addr_count];
    cfg = contact_cfg(c);
    rc = peer_dial(&cfg, (const struct sockaddr *)&c->addr,
                   c->addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                 : sizeof(struct sockaddr_in),
                   &c->peer);
    if (rc < 0) {
        contact_free(c, rc);
        host_failed(h, n, rc);
        return;
    }
    h->contact = c;
    h->dial_ms = 0;
}

static unsigned contacts_unknown_from(const struct node *n, const struct sockaddr *addr)
{
    const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)(const void *)addr;
    struct contact *c;
    unsigned count = 0;

    TAILQ_FOREACH(c, &n->contacts, entry)
    {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&c->addr;

        if (!c->open && addr->sa_family == AF_INET6 && a->sin6_family == AF_INET6 &&
            memcmp(&a->sin6_addr, &b->sin6_addr, sizeof(a->sin6_addr)) == 0)
            count++;
    }
    return count;
}

void hosts_on_accept(struct node *n, int fd, const struct sockaddr *addr)
{
    struct contact *c = NULL;
    struct peer_cfg cfg;

    if (!n->stopping && contacts_unknown_from(n, addr) < NODE_UNKNOWN_PER_ADDR)
        c = contact_new(n, NULL);
    if (c == NULL) {
        evutil_closesocket(fd);
        return;
    }
    memcpy(&c->addr, addr,
           addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    cfg = contact_cfg(c);
    if (peer_accept(&cfg, fd, &c->peer) < 0)
        contact_free(c, 0);
}

/* --- a session opens --------------------------------------------------------------- */

/* The host of an open session; known ones by mDNS get their whole id now. */
static struct host *host_for_session(struct contact *c)
{
    struct node *n = c->node;
    const uint8_t *id = peer_node(c->peer);
    struct host *h = host_by_id(n, id);

    if (h == NULL)
        h = host_by_prefix(n, id);
    if (h == NULL && c->host != NULL && !c->host->id_known &&
        (c->host->fixed || memcmp(c->host->id, id, DISCOVERY_ID_BYTES) == 0))
        h = c->host;
    if (h == NULL)
        h = host_new(n);
    if (h == NULL)
        return NULL;
    if (c->host != NULL && c->host != h && c->host->contact == c) {
        c->host->contact = NULL; /* something else answered there than was told */
        c->host->wanted_until_ms = 0;
        if (!c->host->fixed)
            host_failed(c->host, n, ERR_CLOSED);
    }
    memcpy(h->id, id, HASH_LEN);
    h->id_known = true;
    c->host = h;
    return h;
}

/* Does the new session c win over the one that h has? Both ends decide alike. */
static bool contact_wins(const struct contact *c, const struct contact *old)
{
    const struct node *n = c->node;
    bool smaller = memcmp(n->id, peer_node(c->peer), HASH_LEN) < 0;

    if (peer_is_dialer(c->peer) == peer_is_dialer(old->peer))
        return true; /* the other end began anew */
    return peer_is_dialer(c->peer) == smaller;
}

static void contact_on_up(void *arg, struct peer *p)
{
    struct contact *c = arg;
    struct node *n = c->node;
    struct msg_peer where;
    struct sockaddr_storage addr;
    struct host *h;

    c->open = true;
    n->unknown_count--;
    h = memcmp(peer_node(p), n->id, HASH_LEN) == 0 ? NULL : host_for_session(c);
    if (h == NULL) { /* ourselves, or no room */
        contact_free(c, 0);
        return;
    }
    if (h->contact != NULL && h->contact != c && h->contact->open) {
        if (!contact_wins(c, h->contact)) {
            contact_free(c, 0);
            return;
        }
        contact_free(h->contact, 0);
    }
    h->contact = c; /* a dial of ours still under way goes on, and may win when it is up */
    h->error = 0;
    h->backoff_ms = 0;
    h->dial_ms = 0;
    if (!h->discovered) /* mDNS sees to it that names differ */
        snprintf(h->name, sizeof(h->name), "%s", peer_hello(p)->hello.nick);
    h->version_seen = peer_hello(p)->hello.catalog_version;
    if (peer_listen_addr(p, &where)) {
        peer_addr(p, &addr);
        if (addr.ss_family == AF_INET6)
            ((struct sockaddr_in6 *)&addr)->sin6_port = htons(where.port);
        else
            ((struct sockaddr_in *)&addr)->sin_port = htons(where.port);
        host_add_addr(h, &addr);
    }
    host_hold(h);
    if (host_catalog_stale(h))
        host_fetch_catalog(h, n);
    shares_on_host(n, h);
    node_hurry(n);
}

static void contact_on_msg(void *arg, struct peer *p, const struct msg *m)
{
    (void)p;
    node_on_msg(arg, m);
}

static void contact_on_writable(void *arg, struct peer *p)
{
    (void)arg;
    swarm_on_writable(p);
}

static void contact_on_closed(void *arg, struct peer *p, int err)
{
    struct contact *c = arg;
    struct node *n = c->node;
    struct host *h = c->host;
    bool was_open = c->open, current = h != NULL && h->contact == c;

    (void)p;
    contact_free(c, err);
    if (!current)
        return;
    h->fetching = false;
    if (!was_open)
        host_failed(h, n, err);
    else if (host_is_wanted(h) || h->fixed || host_catalog_stale(h))
        h->dial_ms = clock_ms() + host_turn_ms(n, h) / 2;
    node_wake(n);
}

static const struct peer_ops host_peer_ops = {
    .on_up = contact_on_up,
    .on_msg = contact_on_msg,
    .on_writable = contact_on_writable,
    .on_closed = contact_on_closed,
};
