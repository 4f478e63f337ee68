/* The nodes we know of: from mDNS, from --peer, from peer exchange, and those
 * that dialled us. */
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

struct host *host_by_prefix(const struct node *n, const uint8_t *id)
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

bool host_is_wanted(const struct host *h)
{
    return clock_ms() < h->wanted_until_ms;
}

/* A host that nothing points to any more: not seen, not connected, not wanted. */
static bool host_is_stale(const struct node *n, const struct host *h)
{
    const struct contact *c;

    if (h->discovered || h->fixed || h->contact != NULL || host_is_wanted(h) || h->resolving)
        return false;
    TAILQ_FOREACH(c, &n->contacts, entry)
    {
        if (c->host == h)
            return false; /* a dial that lost its place to another session */
    }
    return true;
}

void host_forget_stale(struct node *n, struct host *h)
{
    if (host_is_stale(n, h))
        host_free(n, h);
}

static void hosts_make_room(struct node *n)
{
    struct host *h, *next;

    for (h = TAILQ_FIRST(&n->hosts); h != NULL && n->host_count >= NODE_HOSTS_MAX; h = next) {
        next = TAILQ_NEXT(h, entry);
        host_forget_stale(n, h);
    }
}

struct host *host_new(struct node *n)
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

void host_prefer_good(struct host *h)
{
    for (unsigned i = 0; i < h->addr_count; i++)
        if (memcmp(&h->addrs[i], &h->good, sizeof(h->good)) == 0)
            h->addr_next = i;
}

void host_add_addr(struct host *h, const struct sockaddr_storage *addr)
{
    for (unsigned i = 0; i < h->addr_count; i++)
        if (memcmp(&h->addrs[i], addr, sizeof(*addr)) == 0)
            return;
    if (h->addr_count < DISCOVERY_ADDRS_MAX)
        h->addrs[h->addr_count++] = *addr;
    else
        h->addrs[h->addr_next % DISCOVERY_ADDRS_MAX] = *addr;
}

void host_check_name(struct host *h, const struct node *n)
{
    const struct host *other;

    TAILQ_FOREACH(other, &n->hosts, entry)
    {
        if (other == h || !other->id_known || h->name_warned || h->name[0] == '\0' ||
            strcmp(other->name, h->name) != 0)
            continue;
        h->name_warned = true;
        log_warn("\"%s\" is now also the name of another device (%02x%02x%02x%02x; the one known "
                 "before is %02x%02x%02x%02x)",
                 h->name, h->id[0], h->id[1], h->id[2], h->id[3], other->id[0], other->id[1],
                 other->id[2], other->id[3]);
    }
}

void host_drop_fixed(struct node *n, struct host *h)
{
    log_info("--peer %s is this node itself: left out", h->fixed_text);
    h->fixed = false;
    free(h->fixed_text);
    h->fixed_text = NULL;
    h->wanted_until_ms = 0;
    (void)n;
}

void host_take_fixed(struct node *n, struct host *h, struct host *old)
{
    log_debug("--peer %s is %s", old->fixed_text, h->name);
    for (unsigned i = 0; i < old->addr_count; i++)
        host_add_addr(h, &old->addrs[i]);
    free(h->fixed_text);
    h->fixed_text = old->fixed_text;
    h->fixed = true;
    h->exchanged = false;
    old->fixed_text = NULL;
    old->fixed = false;
    old->error = 0;
    (void)n;
}

/* Of a pair of nodes the smaller NodeID dials, the other waits a while. */
uint64_t host_turn_ms(const struct node *n, const struct host *h)
{
    return memcmp(n->id, h->id, DISCOVERY_ID_BYTES) < 0 ? 0 : NODE_DIAL_TURN_MS;
}

void host_want(struct host *h, struct node *n, uint64_t delay_ms)
{
    uint64_t at = clock_ms() + delay_ms;
    bool sooner = h->dial_ms == 0 || h->dial_ms > at;

    h->wanted_until_ms = clock_ms() + NODE_WANT_MS;
    node_wake(n);
    if (h->contact != NULL || h->backoff_ms != 0 || !sooner)
        return;
    h->dial_ms = at;
    if (delay_ms == 0)
        node_hurry(n);
}

/* Without mDNS between us the session stays, for it carries the notices. */
void host_hold(struct host *h)
{
    if (h->contact != NULL && h->contact->open)
        peer_hold(h->contact->peer,
                  h->fetching || h->fixed || !h->discovered || meta_uses(h->contact));
}

/* What failed before may work now, and a dial under way may have gone nowhere. */
static void host_forgive(struct host *h, struct node *n)
{
    if (h->contact != NULL && !h->contact->open && h->contact->host == h)
        contact_free(h->contact, 0);
    if (h->contact != NULL)
        return;
    h->backoff_ms = 0;
    h->failures = 0;
    h->addr_tried = 0;
    host_fetch_end(h);
    h->dial_ms = clock_ms() + host_turn_ms(n, h) / 2;
}

/* --- where hosts come from ------------------------------------------------------------- */

static void host_dial_soon(struct host *h, struct node *n)
{
    /* A crowd that comes up at once must not dial in one instant; and of each
     * pair one dial is enough for both catalogues. */
    uint64_t jitter = node_random(n) % (50 + 4 * (uint64_t)n->host_count);

    h->asked_ms = clock_ms();
    h->backoff_ms = 0;
    /* Only at the first meeting both sides want to know: later there is nobody to wait for. */
    h->dial_ms = h->asked_ms + (h->catalog_known ? 0 : host_turn_ms(n, h)) + jitter;
}

/* mDNS tells which version h's catalogue has now: true when a dial is needed to get it.
 * Notices over an open session are ahead of mDNS, unless one was missed. */
static bool host_told_version(struct host *h, struct node *n, uint64_t version)
{
    bool open = h->contact != NULL && h->contact->open;

    if (!open || version > h->version_seen)
        h->version_seen = version;
    if (!host_catalog_stale(h))
        return false;
    if (open)
        host_fetch_catalog(h, n);
    return h->contact == NULL;
}

void hosts_on_found(struct node *n, const struct discovery_peer *p)
{
    struct host *h = host_by_prefix(n, p->id);

    if (memcmp(p->id, n->id, DISCOVERY_ID_BYTES) == 0 || n->stopping)
        return;
    if (h == NULL) {
        h = host_new(n);
        if (h == NULL)
            return;
        memcpy(h->id, p->id, DISCOVERY_ID_BYTES);
    }
    if (!h->discovered) /* it is back: what failed while it was away counts no more */
        host_forgive(h, n);
    h->discovered = true;
    h->exchanged = false;
    host_hold(h);
    snprintf(h->name, sizeof(h->name), "%s", p->instance);
    h->addr_count = 0;
    for (unsigned i = 0; i < p->addr_count; i++)
        if (discovery_dialable((const struct sockaddr *)&p->addrs[i]))
            host_add_addr(h, &p->addrs[i]);
    host_prefer_good(h);
    if (host_told_version(h, n, p->catalog_version))
        host_dial_soon(h, n);
    node_wake(n);
}

void hosts_on_lost(struct node *n, const uint8_t *id)
{
    struct host *h = host_by_prefix(n, id);

    if (h == NULL)
        return;
    h->discovered = false;
    host_hold(h);
    if (h->contact != NULL) /* a live session is never dropped because of mDNS */
        return;
    h->dial_ms = host_is_wanted(h) ? h->dial_ms : 0;
    host_forget_catalog(h, n);
}

/* Links and addresses changed. */
void hosts_on_network(struct node *n)
{
    struct host *h;

    TAILQ_FOREACH(h, &n->hosts, entry)
    {
        host_forgive(h, n);
    }
    node_wake(n);
}

/* One more that only peer exchange tells of; these can be lies. */
static struct host *host_new_exchanged(struct node *n)
{
    struct host *h, *next;
    unsigned count = 0;

    for (h = TAILQ_FIRST(&n->hosts); h != NULL; h = next) {
        next = TAILQ_NEXT(h, entry);
        if (!h->exchanged)
            continue;
        count++;
        if (count >= NODE_EXCHANGED_MAX && host_is_stale(n, h)) {
            host_free(n, h);
            count--;
        }
    }
    h = count < NODE_EXCHANGED_MAX ? host_new(n) : NULL;
    if (h != NULL)
        h->exchanged = true;
    return h;
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
        h = host_new_exchanged(n);
    if (h == NULL)
        return NULL;
    if (!h->id_known) {
        memcpy(h->id, who->node, HASH_LEN);
        h->id_known = true;
    }
    if (h->exchanged || h->addr_count == 0) /* what is told must not displace what is known */
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
        if (!h->discovered)
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
    return h->contact == NULL && !h->resolving && (h->fixed || h->addr_count > 0) &&
           (host_is_wanted(h) || h->fixed || (h->discovered && host_catalog_stale(h)));
}

/* A host that does not answer is not waited for without end. */
static void host_give_up(struct host *h, struct node *n, uint64_t now)
{
    if (!h->fetching || now < h->asked_ms + NODE_CATALOG_MS || h->contact == NULL)
        return;
    host_fetch_end(h);
    h->catalog_known = false; /* told as not answered */
    if (contact_links(h->contact) > 0)
        return; /* it is busy with more important things than its list */
    contact_free(h->contact, ERR_TIMEOUT);
    host_failed(h, n, ERR_TIMEOUT);
}

/* Told by peer exchange alone, and nobody answers there. */
static bool host_is_lie(const struct node *n, struct host *h)
{
    if (!h->exchanged || h->failures < 2 || h->failures < h->addr_count)
        return false;
    h->wanted_until_ms = 0;
    return host_is_stale(n, h);
}

/* When to look at h again; NODE_NEVER when something else will tell. */
static uint64_t host_tick(struct node *n, struct host *h, uint64_t now)
{
    host_give_up(h, n, now);
    if (h->fetching)
        return h->asked_ms + NODE_CATALOG_MS;
    if (!host_wants_dial(h))
        return NODE_NEVER;
    if (h->dial_ms == 0)
        h->dial_ms = now + host_turn_ms(n, h);
    if (now < h->dial_ms)
        return h->dial_ms;
    if (hosts_dialling(n) >= NODE_DIALS_MAX)
        return now + NODE_TICK_MS;
    if (h->fixed && (h->addr_count == 0 || h->error != 0)) {
        h->error = 0;
        host_resolve(n, h);
    } else {
        host_dial(n, h);
    }
    return host_wants_dial(h) ? h->dial_ms : NODE_NEVER;
}

uint64_t hosts_tick(struct node *n, uint64_t now)
{
    struct host *h, *next;
    uint64_t due, first = NODE_NEVER;

    for (h = TAILQ_FIRST(&n->hosts); h != NULL; h = next) {
        next = TAILQ_NEXT(h, entry);
        due = host_tick(n, h, now);
        if (host_is_lie(n, h))
            host_free(n, h);
        else if (due < first)
            first = due;
    }
    return first;
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

static void set_port(struct sockaddr_storage *ss, uint16_t port)
{
    if (ss->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)ss)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)ss)->sin_port = htons(port);
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
    out->swarms = contact_links(h->contact);
    if (!h->contact->open)
        return;
    /* The port that it called from is of no use to anybody. */
    if (!peer_is_dialer(h->contact->peer))
        set_port(&out->addr, peer_hello(h->contact->peer)->hello.port);
    out->wireless = (peer_hello(h->contact->peer)->hello.flags & MSG_FLAG_LEAF) != 0;
    out->wireless_here = peer_is_leaf(h->contact->peer);
}
