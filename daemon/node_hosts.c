/* The nodes we know of: from mDNS, from --peer, from peer exchange, and those
 * that dialled us. One session a pair of nodes; of two the one dialled by the
 * smaller NodeID stays. A session serves catalogues and all swarms; one that
 * nobody needs ends by itself (session.h, SESSION_IDLE_MS). */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/node_int.h"

/* --- table --------------------------------------------------------------------- */

struct host *host_by_id(const struct node *n, const uint8_t *id)
{
    struct host *h;

    TAILQ_FOREACH(h, &n->hosts, entry)
    {
        if (h->id_known && memcmp(h->id, id, HASH_LEN) == 0)
            return h;
    }
    return NULL;
}

static struct host *host_by_prefix(const struct node *n, const uint8_t *id)
{
    struct host *h;

    TAILQ_FOREACH(h, &n->hosts, entry)
    {
        if (memcmp(h->id, id, DISCOVERY_ID_BYTES) == 0 && (h->id_known || h->discovered))
            return h;
    }
    return NULL;
}

static void host_free(struct node *n, struct host *h)
{
    if (h->id_known)
        catalog_drop(n->catalog, h->id);
    TAILQ_REMOVE(&n->hosts, h, entry);
    n->host_count--;
    free(h->entries);
    free(h->fixed_text);
    free(h);
}

static bool host_is_wanted(const struct host *h)
{
    return clock_ms() < h->wanted_until_ms;
}

/* A host that nothing points to any more: not seen, not connected, not wanted. */
static bool host_is_stale(const struct host *h)
{
    return !h->discovered && !h->fixed && h->contact == NULL && !host_is_wanted(h) && !h->resolving;
}

static void hosts_make_room(struct node *n)
{
    struct host *h, *next;

    for (h = TAILQ_FIRST(&n->hosts); h != NULL && n->host_count >= NODE_HOSTS_MAX; h = next) {
        next = TAILQ_NEXT(h, entry);
        if (host_is_stale(h))
            host_free(n, h);
    }
}

static struct host *host_new(struct node *n)
{
    struct host *h;

    hosts_make_room(n);
    if (n->host_count >= NODE_HOSTS_MAX)
        return NULL;
    h = calloc(1, sizeof(*h));
    if (h == NULL)
        return NULL;
    TAILQ_INSERT_TAIL(&n->hosts, h, entry);
    n->host_count++;
    return h;
}

static void host_add_addr(struct host *h, const struct sockaddr_storage *addr)
{
    for (unsigned i = 0; i < h->addr_count; i++)
        if (memcmp(&h->addrs[i], addr, sizeof(*addr)) == 0)
            return;
    if (h->addr_count < DISCOVERY_ADDRS_MAX)
        h->addrs[h->addr_count++] = *addr;
    else
        h->addrs[h->addr_next % DISCOVERY_ADDRS_MAX] = *addr;
}

static bool host_catalog_stale(const struct host *h)
{
    return !h->catalog_known || h->version_seen != h->version_got;
}

/* Of a pair of nodes the smaller NodeID dials, the other waits a while. */
static uint64_t host_turn_ms(const struct node *n, const struct host *h)
{
    return memcmp(n->id, h->id, DISCOVERY_ID_BYTES) < 0 ? 0 : NODE_DIAL_TURN_MS;
}

void host_want(struct host *h, struct node *n, uint64_t delay_ms)
{
    uint64_t at = clock_ms() + delay_ms;

    h->wanted_until_ms = clock_ms() + NODE_WANT_MS;
    if (h->contact == NULL && (h->dial_ms == 0 || h->dial_ms > at) && h->backoff_ms == 0)
        h->dial_ms = at;
    node_wake(n);
}

/* Without mDNS between us the session stays, for it carries the notices. */
static void host_hold(struct host *h)
{
    if (h->contact != NULL && h->contact->open)
        peer_hold(h->contact->peer, h->fetching || h->fixed || !h->discovered);
}

/* --- connections ----------------------------------------------------------------- */

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

static void contact_free(struct contact *c, int err)
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
        .session = {.nick = n->name,
                    .port = n->listener != NULL ? listener_port(n->listener) : 0,
                    .flags = n->leaf ? MSG_FLAG_LEAF : 0,
                    .catalog_version = n->catalog_version},
        .ops = &host_peer_ops,
        .arg = c,
    };

    return cfg;
}

static void host_failed(struct host *h, struct node *n, int err)
{
    h->error = err;
    h->fetching = false;
    h->backoff_ms = h->backoff_ms == 0 ? NODE_DIAL_BACKOFF_MS : h->backoff_ms * 2;
    if (h->backoff_ms > NODE_DIAL_BACKOFF_MAX_MS)
        h->backoff_ms = NODE_DIAL_BACKOFF_MAX_MS;
    h->dial_ms = clock_ms() + h->backoff_ms + node_random(n) % (h->backoff_ms / 4 + 1);
    h->addr_next++;
}

static void host_dial(struct node *n, struct host *h)
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

static void host_fetch_catalog(struct host *h, struct node *n);

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
    node_wake(n);
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

/* --- catalogues ------------------------------------------------------------------------ */

static void host_ask(struct host *h, uint32_t first)
{
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = MSG_CATALOG_GET;
    m.first = first;
    peer_send(h->contact->peer, &m);
}

static void host_fetch_catalog(struct host *h, struct node *n)
{
    (void)n;
    if (h->fetching)
        return;
    h->fetching = true;
    h->asked_ms = clock_ms();
    h->entry_count = 0;
    h->fetch_total = 0;
    host_hold(h);
    host_ask(h, 0);
}

static void host_catalog_done(struct node *n, struct host *h)
{
    if (catalog_set(n->catalog, h->id, false, h->entries, h->entry_count) < 0)
        log_warn("no room for the catalogue of %s", h->name);
    h->version_got = h->fetch_version;
    h->share_count = h->entry_count;
    h->catalog_known = true;
    h->fetching = false;
    free(h->entries);
    h->entries = NULL;
    host_hold(h);
    shares_on_host(n, h);
    if (host_catalog_stale(h))
        host_fetch_catalog(h, n);
    node_wake(n);
}

static bool host_take_entries(struct host *h, const struct msg *m)
{
    size_t pos = 0;
    struct msg_entry e, *grown;

    if (m->catalog.total > CATALOG_HOST_ENTRIES_MAX)
        return false;
    grown = realloc(h->entries, (m->catalog.total + 1) * sizeof(*grown));
    if (grown == NULL)
        return false;
    h->entries = grown;
    while (h->entry_count < m->catalog.total && msg_entry_next(m, &pos, &e))
        h->entries[h->entry_count++] = e;
    return true;
}

void hosts_on_catalog(struct contact *c, const struct msg *m)
{
    struct host *h = c->host;
    struct node *n = c->node;

    if (h == NULL || h->contact != c)
        return;
    h->version_seen = m->catalog.version;
    if (!h->fetching) { /* a notice that something changed */
        if (host_catalog_stale(h))
            host_fetch_catalog(h, n);
        return;
    }
    if (m->catalog.first == 0) {
        h->fetch_version = m->catalog.version;
        h->entry_count = 0;
    }
    if (m->catalog.first != h->entry_count || m->catalog.version != h->fetch_version) {
        if (m->catalog.count > 0) { /* changed between two answers: from the start */
            h->entry_count = 0;
            host_ask(h, 0);
        }
        return;
    }
    if (!host_take_entries(h, m)) {
        contact_free(c, ERR_LIMIT);
        host_failed(h, n, ERR_LIMIT);
        return;
    }
    if (h->entry_count >= m->catalog.total)
        host_catalog_done(n, h);
    else if (m->catalog.count > 0)
        host_ask(h, h->entry_count);
}

void hosts_on_catalog_get(struct contact *c, const struct msg *m)
{
    struct msg_entry *entries = calloc(MSG_CATALOG_MAX, sizeof(*entries));
    struct msg reply;

    if (entries == NULL)
        return;
    memset(&reply, 0, sizeof(reply));
    reply.type = MSG_CATALOG;
    reply.catalog.version = c->node->catalog_version;
    reply.catalog.first = m->first;
    reply.catalog.count =
        (uint16_t)node_entries(c->node, m->first, entries, MSG_CATALOG_MAX, &reply.catalog.total);
    reply.catalog.entries = entries;
    peer_send(c->peer, &reply);
    free(entries);
}

void hosts_notice(struct node *n)
{
    struct contact *c;
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = MSG_CATALOG;
    m.catalog.version = n->catalog_version;
    (void)node_entries(n, 0, NULL, 0, &m.catalog.total);
    m.catalog.first = m.catalog.total;
    TAILQ_FOREACH(c, &n->contacts, entry)
    {
        if (c->open)
            peer_send(c->peer, &m);
    }
}

void hosts_refresh(struct node *n)
{
    struct host *h;

    TAILQ_FOREACH(h, &n->hosts, entry)
    {
        if (h->contact != NULL && h->contact->open) {
            host_fetch_catalog(h, n);
        } else if (h->discovered || h->fixed) {
            h->catalog_known = false;
            h->backoff_ms = 0;
            h->asked_ms = clock_ms();
            h->dial_ms = clock_ms();
        }
    }
    node_wake(n);
}

void hosts_waiting(const struct node *n, uint32_t *asked, uint32_t *waiting)
{
    const struct host *h;

    *asked = *waiting = 0;
    TAILQ_FOREACH(h, &n->hosts, entry)
    {
        if (!h->discovered && !h->fixed && h->contact == NULL)
            continue;
        (*asked)++;
        if (!h->catalog_known || h->fetching)
            (*waiting)++;
    }
}

/* --- where hosts come from ------------------------------------------------------------- */

void hosts_on_found(struct node *n, const struct discovery_peer *p)
{
    struct host *h = host_by_prefix(n, p->id);
    uint64_t jitter;

    if (memcmp(p->id, n->id, DISCOVERY_ID_BYTES) == 0 || n->stopping)
        return;
    if (h == NULL) {
        h = host_new(n);
        if (h == NULL)
            return;
        memcpy(h->id, p->id, DISCOVERY_ID_BYTES);
    }
    h->discovered = true;
    host_hold(h);
    snprintf(h->name, sizeof(h->name), "%s", p->instance);
    h->addr_count = 0;
    for (unsigned i = 0; i < p->addr_count; i++)
        if (discovery_dialable((const struct sockaddr *)&p->addrs[i]))
            host_add_addr(h, &p->addrs[i]);
    if (h->contact == NULL || !h->contact->open)
        h->version_seen = p->catalog_version;
    if (!host_catalog_stale(h) || h->contact != NULL)
        return;
    /* A crowd that comes up at once must not dial in one instant; and of each
     * pair one dial is enough for both catalogues. */
    jitter = node_random(n) % (50 + 4 * (uint64_t)n->host_count);
    h->asked_ms = clock_ms();
    h->backoff_ms = 0;
    h->dial_ms = h->asked_ms + host_turn_ms(n, h) + jitter;
    node_wake(n);
}

void hosts_on_lost(struct node *n, const uint8_t *id)
{
    struct host *h = host_by_prefix(n, id);

    if (h == NULL)
        return;
    h->discovered = false;
    if (h->contact != NULL) /* a live session is never dropped because of mDNS */
        return;
    h->dial_ms = host_is_wanted(h) ? h->dial_ms : 0;
    if (h->id_known)
        catalog_drop(n->catalog, h->id);
    h->catalog_known = false;
}

struct host *host_from_exchange(struct node *n, const struct msg_peer *who, struct peer *via)
{
    struct sockaddr_storage ss, told_by;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
    struct host *h = host_by_id(n, who->node);

    memset(&ss, 0, sizeof(ss));
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(who->port);
    memcpy(&in6->sin6_addr, who->addr, sizeof(who->addr));
    if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)) { /* means the link that told us */
        peer_addr(via, &told_by);
        if (told_by.ss_family == AF_INET6)
            in6->sin6_scope_id = ((const struct sockaddr_in6 *)&told_by)->sin6_scope_id;
    }
    if (!discovery_dialable((const struct sockaddr *)&ss))
        return h;
    if (h == NULL)
        h = host_by_prefix(n, who->node);
    if (h == NULL)
        h = host_new(n);
    if (h == NULL)
        return NULL;
    memcpy(h->id, who->node, HASH_LEN);
    h->id_known = true;
    host_add_addr(h, &ss);
    return h;
}

struct resolve_job {
    struct node *node;
    struct host *target;
    char host[256];
    char port[8];
    struct addrinfo *found;
};

static int resolve_run(void *arg)
{
    struct resolve_job *r = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};

    return getaddrinfo(r->host, r->port, &hints, &r->found) == 0 ? 0 : ERR_NOT_FOUND;
}

static void resolve_done(void *arg, int result)
{
    struct resolve_job *r = arg;
    struct host *h = r->target;
    struct sockaddr_storage ss;

    h->resolving = false;
    if (result == 0) {
        h->addr_count = 0;
        for (struct addrinfo *a = r->found; a != NULL; a = a->ai_next) {
            memset(&ss, 0, sizeof(ss));
            memcpy(&ss, a->ai_addr, a->ai_addrlen);
            host_add_addr(h, &ss);
        }
        freeaddrinfo(r->found);
        h->dial_ms = clock_ms();
    } else {
        host_failed(h, r->node, result);
    }
    if (!r->node->stopping)
        node_wake(r->node);
    free(r);
}

static void host_resolve(struct node *n, struct host *h)
{
    struct resolve_job *r = calloc(1, sizeof(*r));
    uint16_t port;

    if (r == NULL)
        return;
    r->node = n;
    r->target = h;
    if (config_split_peer(h->fixed_text, r->host, &port) == 0) {
        snprintf(r->port, sizeof(r->port), "%u", port);
        h->resolving = workers_submit(n->workers, NULL, resolve_run, resolve_done, r) == 0;
    }
    if (!h->resolving) {
        h->dial_ms = clock_ms() + NODE_DIAL_BACKOFF_MS;
        free(r);
    }
}

int hosts_add_fixed(struct node *n, const char *text)
{
    char host[256];
    uint16_t port;
    struct host *h;
    int rc = config_split_peer(text, host, &port);

    if (rc < 0)
        return rc;
    h = host_new(n);
    if (h == NULL)
        return -ENOMEM;
    h->fixed = true;
    h->fixed_text = strdup(text);
    snprintf(h->name, sizeof(h->name), "%.63s", text);
    h->dial_ms = h->asked_ms = clock_ms();
    return h->fixed_text == NULL ? -ENOMEM : 0;
}

/* --- the tick --------------------------------------------------------------------------- */

static unsigned hosts_dialling(const struct node *n)
{
    const struct contact *c;
    unsigned count = 0;

    TAILQ_FOREACH(c, &n->contacts, entry)
    {
        if (!c->open && c->host != NULL)
            count++;
    }
    return count;
}

static bool host_wants_dial(const struct host *h)
{
    return h->contact == NULL && !h->resolving &&
           (host_is_wanted(h) || h->fixed || (h->discovered && host_catalog_stale(h)));
}

/* A host that does not answer is not waited for without end. */
static void host_give_up(struct host *h, struct node *n, uint64_t now)
{
    if (!h->fetching || now < h->asked_ms + NODE_CATALOG_MS || h->contact == NULL)
        return;
    contact_free(h->contact, ERR_TIMEOUT);
    host_failed(h, n, ERR_TIMEOUT);
}

static bool host_tick(struct node *n, struct host *h, uint64_t now)
{
    host_give_up(h, n, now);
    if (!host_wants_dial(h))
        return h->fetching;
    if (h->dial_ms == 0)
        h->dial_ms = now + host_turn_ms(n, h);
    if (now < h->dial_ms || hosts_dialling(n) >= NODE_DIALS_MAX)
        return true;
    if (h->fixed && (h->addr_count == 0 || h->error != 0)) {
        h->error = 0;
        host_resolve(n, h);
    } else {
        host_dial(n, h);
    }
    return true;
}

bool hosts_tick(struct node *n, uint64_t now)
{
    struct host *h, *next;
    bool more = false;

    for (h = TAILQ_FIRST(&n->hosts); h != NULL; h = next) {
        next = TAILQ_NEXT(h, entry);
        more = host_tick(n, h, now) || more;
    }
    return more;
}

void hosts_close(struct node *n)
{
    while (!TAILQ_EMPTY(&n->contacts))
        contact_free(TAILQ_FIRST(&n->contacts), 0);
}

void hosts_free(struct node *n)
{
    while (!TAILQ_EMPTY(&n->hosts))
        host_free(n, TAILQ_FIRST(&n->hosts));
}

/* --- for the control API ------------------------------------------------------------------ */

uint32_t node_peer_count(const struct node *n)
{
    return n->host_count;
}

void node_peer_at(const struct node *n, uint32_t i, struct node_peer *out)
{
    const struct host *h = TAILQ_FIRST(&n->hosts);

    memset(out, 0, sizeof(*out));
    while (i-- > 0 && h != NULL)
        h = TAILQ_NEXT(h, entry);
    if (h == NULL)
        return;
    memcpy(out->id, h->id, HASH_LEN);
    out->name = h->name;
    if (h->addr_count > 0)
        out->addr = h->addrs[h->addr_next % h->addr_count];
    out->error = h->error;
    out->catalog_known = h->catalog_known;
    out->shares = h->share_count;
    out->state = h->error != 0 ? NODE_PEER_FAILED : NODE_PEER_KNOWN;
    if (h->contact == NULL)
        return;
    out->state = h->contact->open ? NODE_PEER_CONNECTED : NODE_PEER_DIALLING;
    peer_addr(h->contact->peer, &out->addr);
    peer_bytes(h->contact->peer, &out->in_bytes, &out->out_bytes);
    for (uint16_t sid = 0; sid < SESSION_JOINS_MAX; sid++)
        if (peer_link_at(h->contact->peer, sid) != NULL)
            out->swarms++;
}
