/* The catalogues of the other nodes: fetched over TLS, for in TXT the names would be
 * everybody's to read, when TXT, HELLO or a notice tells a version that we do not have. */
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/node_int.h"

bool host_catalog_stale(const struct host *h)
{
    return !h->catalog_known || h->version_seen != h->version_got;
}

static void host_ask(struct host *h, uint32_t first)
{
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = MSG_CATALOG_GET;
    m.first = first;
    peer_send(h->contact->peer, &m);
}

void host_fetch_end(struct host *h)
{
    h->fetching = false;
    h->entry_count = 0;
    free(h->entries);
    h->entries = NULL;
}

void host_forget_catalog(struct host *h, struct node *n)
{
    if (h->id_known)
        catalog_drop(n->catalog, h->id);
    h->catalog_known = false;
    h->share_count = 0;
}

void host_fetch_catalog(struct host *h, struct node *n)
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
    host_fetch_end(h);
    host_hold(h);
    shares_on_host(n, h);
    if (host_catalog_stale(h))
        host_fetch_catalog(h, n);
    node_hurry(n); /* a `get` may have waited for just this */
}

/* Entries of all catalogues that are being fetched. */
static uint64_t hosts_fetched(const struct node *n)
{
    const struct host *h;
    uint64_t count = 0;

    TAILQ_FOREACH(h, &n->hosts, entry)
    {
        count += h->entry_count;
    }
    return count;
}

static bool host_take_entries(struct host *h, const struct node *n, const struct msg *m)
{
    uint32_t end = h->entry_count + m->catalog.count;
    size_t pos = 0;
    struct msg_entry e, *grown;

    if (m->catalog.total > CATALOG_HOST_ENTRIES_MAX)
        return false;
    if (end > m->catalog.total)
        end = m->catalog.total;
    if ((hosts_fetched(n) + m->catalog.count) * sizeof(e) > NODE_FETCHED_BYTES_MAX) {
        log_warn("too many long catalogues at once: that of %s later", h->name);
        return false;
    }
    grown = realloc(h->entries, (end + 1) * sizeof(*grown)); /* grows with what came */
    if (grown == NULL)
        return false;
    h->entries = grown;
    while (h->entry_count < end && msg_entry_next(m, &pos, &e))
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
        /* Changed between two answers: from the start. A notice (at the end of the
         * list, empty) only tells that there will be more to fetch. */
        if (m->catalog.count > 0 || m->catalog.first != m->catalog.total) {
            h->entry_count = 0;
            host_ask(h, 0);
        }
        return;
    }
    if (!host_take_entries(h, n, m)) {
        contact_free(c, ERR_LIMIT);
        host_failed(h, n, ERR_LIMIT);
        node_wake(n);
        return;
    }
    h->asked_ms = clock_ms();
    if (h->entry_count >= m->catalog.total)
        host_catalog_done(n, h);
    else if (m->catalog.count > 0)
        host_ask(h, h->entry_count);
}

void hosts_on_catalog_get(struct contact *c, const struct msg *m)
{
    struct msg_entry *entries;
    struct msg reply;

    if (!contact_may_ask(c))
        return;
    entries = calloc(MSG_CATALOG_MAX, sizeof(*entries));
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

void contact_notice(struct contact *c)
{
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = MSG_CATALOG;
    m.catalog.version = c->node->catalog_version;
    (void)node_entries(c->node, 0, NULL, 0, &m.catalog.total);
    m.catalog.first = m.catalog.total;
    peer_send(c->peer, &m);
}

void hosts_notice(struct node *n)
{
    struct contact *c;

    TAILQ_FOREACH(c, &n->contacts, entry)
    {
        if (c->open) /* the others are told when they are: contact_on_up() */
            contact_notice(c);
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
