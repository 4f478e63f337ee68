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

/* host NULL: accepted. Only of these there can be too many unknown ones: whom we dial
 * is our own choice. */
static struct contact *contact_new(struct node *n, struct host *h)
{
    struct contact *c;

    if (n->contact_count >= NODE_CONTACTS_MAX ||
        (h == NULL && n->unknown_count >= NODE_UNKNOWN_MAX))
        return NULL;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->node = n;
    c->host = h;
    TAILQ_INSERT_TAIL(&n->contacts, c, entry);
    c->inbound = h == NULL;
    c->told_version = n->catalog_version;
    n->contact_count++;
    if (c->inbound)
        n->unknown_count++;
    return c;
}

bool contact_may_ask(struct contact *c)
{
    struct host *h = c->host;
    struct node *n = c->node;
    const struct contact *other;
    uint64_t unread = 0;

    if (peer_queued_bytes(c->peer) == 0)
        return true;
    TAILQ_FOREACH(other, &n->contacts, entry)
    {
        unread += peer_queued_bytes(other->peer);
    }
    if (unread < NODE_UNREAD_BYTES_MAX)
        return true;
    log_warn("%s asks for more than it reads, and %u MiB of answers wait: left",
             h != NULL ? h->name : "a peer", (unsigned)(unread >> 20));
    contact_free(c, ERR_LIMIT);
    if (h != NULL)
        host_failed(h, n, ERR_LIMIT);
    node_wake(n);
    return false;
}

void contact_free(struct contact *c, int err)
{
    struct node *n = c->node;

    if (!c->open && c->inbound)
        n->unknown_count--;
    n->contact_count--;
    TAILQ_REMOVE(&n->contacts, c, entry);
    if (c->host != NULL && c->host->contact == c) {
        c->host->contact = NULL;
        host_fetch_end(c->host);
    }
    shares_drop_contact(c);
    meta_drop_contact(c);
    if (c->peer != NULL) {
        swarm_drop_peer(c->peer);
        peer_free(c->peer, err);
    }
    free(c);
}

unsigned contact_links(const struct contact *c)
{
    unsigned count = 0;

    for (uint16_t sid = 0; sid < SESSION_JOINS_MAX; sid++)
        if (peer_link_at(c->peer, sid) != NULL)
            count++;
    return count;
}

static struct peer_cfg contact_cfg(struct contact *c)
{
    struct node *n = c->node;
    struct peer_cfg cfg = {
        .base = n->base,
        .tls = n->tls,
        .session = {.nick = n->discovery != NULL ? discovery_name(n->discovery) : n->name,
                    .port = n->listener != NULL ? listener_port(n->listener) : 0,
                    .catalog_version = n->catalog_version},
        .ops = &host_peer_ops,
        .arg = c,
    };

    return cfg;
}

/* Which interface the connection goes by is known now. */
static void contact_set_route(struct contact *c)
{
    struct sockaddr_storage own;
    int wireless = c->node->cfg->wireless;

    peer_own_addr(c->peer, &own);
    if (wireless < 0 ? discovery_wireless((const struct sockaddr *)&own) : wireless > 0)
        peer_set_leaf(c->peer);
}

void host_failed(struct host *h, struct node *n, int err)
{
    h->error = err;
    h->failures++;
    host_fetch_end(h);
    if (!h->discovered) /* not even mDNS says that it is there */
        host_forget_catalog(h, n);
    h->backoff_ms = h->backoff_ms == 0 ? NODE_DIAL_BACKOFF_MS : h->backoff_ms * 2;
    if (h->backoff_ms > NODE_DIAL_BACKOFF_MAX_MS)
        h->backoff_ms = NODE_DIAL_BACKOFF_MAX_MS;
    h->dial_ms = clock_ms() + h->backoff_ms + node_random(n) % (h->backoff_ms / 4 + 1);
    h->addr_next++;
    h->addr_tried = 0;
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
    contact_set_route(c);
    if (h->addr_count > 1)
        peer_set_reach_ms(c->peer, NODE_REACH_MS);
    h->contact = c;
    h->dial_ms = 0;
}

/* The address alone; IPv4 as it looks on an IPv6 socket (RFC 4291, 2.5.5.2). */
static struct in6_addr address_of(const struct sockaddr *addr)
{
    struct in6_addr a = IN6ADDR_ANY_INIT;

    if (addr->sa_family == AF_INET6) {
        a = ((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    } else {
        a.s6_addr[10] = a.s6_addr[11] = 0xff;
        memcpy(a.s6_addr + 12, &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
    }
    return a;
}

static unsigned contacts_unknown_from(const struct node *n, const struct sockaddr *addr)
{
    struct in6_addr from = address_of(addr), a;
    const struct contact *c;
    unsigned count = 0;

    TAILQ_FOREACH(c, &n->contacts, entry)
    {
        a = address_of((const struct sockaddr *)&c->addr);
        if (!c->open && c->inbound && memcmp(&a, &from, sizeof(a)) == 0)
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
    else
        contact_set_route(c);
}

/* --- a session opens --------------------------------------------------------------- */

/* c was dialled for `told`, but h answered. */
static void contact_rehost(struct contact *c, struct host *told, struct host *h)
{
    struct node *n = c->node;

    c->host = h;
    if (told->contact == c)
        told->contact = NULL;
    told->wanted_until_ms = 0;
    if (told->fixed)
        host_take_fixed(n, h, told);
    else
        host_failed(told, n, ERR_CLOSED);
    host_forget_stale(n, told);
}

/* The host of an open session; known ones by mDNS get their whole id now. */
static struct host *host_for_session(struct contact *c)
{
    struct node *n = c->node;
    const uint8_t *id = peer_node(c->peer);
    struct host *h = host_by_id(n, id), *told = c->host;

    if (h == NULL)
        h = host_by_prefix(n, id);
    if (h == NULL && told != NULL && !told->id_known &&
        (told->fixed || memcmp(told->id, id, DISCOVERY_ID_BYTES) == 0))
        h = told;
    if (h == NULL)
        h = host_new(n);
    if (h == NULL)
        return NULL;
    if (h->id_known && memcmp(h->id, id, HASH_LEN) != 0)
        host_forget_catalog(h, n);
    memcpy(h->id, id, HASH_LEN);
    h->id_known = true;
    c->host = h;
    if (told != NULL && told != h)
        contact_rehost(c, told, h);
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

/* Nothing comes of c; whoever it was dialled for is not tried again at once. */
static void contact_useless(struct contact *c, bool ourselves)
{
    struct node *n = c->node;
    struct host *told = c->host;

    contact_free(c, 0);
    if (told == NULL || told->contact != NULL)
        return;
    if (ourselves && told->fixed)
        host_drop_fixed(n, told);
    else
        host_failed(told, n, ERR_LIMIT);
    host_forget_stale(n, told);
    node_wake(n);
}

/* The host that c is the session of from now on; NULL: c is gone. */
static struct host *contact_host(struct contact *c)
{
    bool ourselves = memcmp(peer_node(c->peer), c->node->id, HASH_LEN) == 0;
    struct host *h = ourselves ? NULL : host_for_session(c);

    if (h == NULL) { /* ourselves, or no room */
        contact_useless(c, ourselves);
        return NULL;
    }
    if (h->contact != NULL && h->contact != c && h->contact->open) {
        if (!contact_wins(c, h->contact)) {
            contact_free(c, 0);
            return NULL;
        }
        contact_free(h->contact, 0);
    }
    return h;
}

/* Where it can be dialled later. */
static void contact_learn_addr(struct contact *c)
{
    struct msg_peer where;
    struct sockaddr_storage addr;

    if (!peer_listen_addr(c->peer, &where))
        return;
    peer_addr(c->peer, &addr);
    if (addr.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&addr)->sin6_port = htons(where.port);
    else
        ((struct sockaddr_in *)&addr)->sin_port = htons(where.port);
    host_add_addr(c->host, &addr);
}

static void contact_on_up(void *arg, struct peer *p)
{
    struct contact *c = arg;
    struct node *n = c->node;
    struct host *h;

    c->open = true;
    if (c->inbound)
        n->unknown_count--;
    h = contact_host(c);
    if (h == NULL)
        return;
    h->contact = c; /* a dial of ours still under way goes on, and may win when it is up */
    h->exchanged = false;
    h->error = 0;
    h->failures = 0;
    h->addr_tried = 0;
    if (peer_is_dialer(p)) {
        h->good = c->addr;
        host_prefer_good(h);
    }
    h->backoff_ms = 0;
    h->dial_ms = 0;
    if (!h->discovered) /* mDNS sees to it that names differ */
        snprintf(h->name, sizeof(h->name), "%s", peer_hello(p)->hello.nick);
    host_check_name(h, n);
    h->version_seen = peer_hello(p)->hello.catalog_version;
    contact_learn_addr(c);
    host_hold(h);
    if (c->told_version != n->catalog_version) /* it moved while we shook hands */
        contact_notice(c);
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

/* The other addresses are tried at once; only when all have failed it backs off. */
static void host_unreached(struct host *h, struct node *n, int err)
{
    if (++h->addr_tried >= h->addr_count) {
        host_failed(h, n, err);
        return;
    }
    h->addr_next++;
    h->dial_ms = clock_ms();
    node_hurry(n);
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
    if (was_open && !h->discovered && !h->fixed) /* with its last sign of life go its shares */
        host_forget_catalog(h, n);
    if (!was_open)
        host_unreached(h, n, err);
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
