#include "daemon/catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalog_int.h"

int catalog_new(struct catalog **out)
{
    struct catalog *c = calloc(1, sizeof(*c));

    *out = NULL;
    if (!c)
        return -ENOMEM;
    c->view = calloc(1, sizeof(*c->view));
    if (!c->view) {
        free(c);
        return -ENOMEM;
    }
    *out = c;
    return 0;
}

static void host_clear(struct host *h)
{
    free(h->entries);
    free(h->names);
    memset(h, 0, sizeof(*h));
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->host_count; i++)
        host_clear(&c->hosts[i]);
    free(c->view->refs);
    free(c->view->items);
    free(c->view->order);
    free(c->view->rank);
    free(c->view->by_id);
    free(c->view->by_name);
    free(c->view->names);
    free(c->view);
    free(c);
}

static bool grow(void *array, uint32_t cap, size_t size)
{
    void *old, *more;

    memcpy(&old, array, sizeof(old));
    more = reallocarray(old, cap, size);
    if (!more)
        return false;
    memcpy(array, &more, sizeof(more));
    return true;
}

static int view_reserve(struct view *v, uint32_t count)
{
    uint32_t cap = v->cap ? v->cap : 64;

    while (cap < count)
        cap *= 2;
    if (cap == v->cap)
        return 0;
    v->stale = true;
    if (!grow(&v->refs, cap, sizeof(*v->refs)) || !grow(&v->items, cap, sizeof(*v->items)) ||
        !grow(&v->order, cap, sizeof(*v->order)) || !grow(&v->rank, cap, sizeof(*v->rank)) ||
        !grow(&v->by_id, cap, sizeof(*v->by_id)) || !grow(&v->by_name, cap, sizeof(*v->by_name)) ||
        !grow(&v->names, cap, sizeof(*v->names)))
        return -ENOMEM;
    v->cap = cap;
    return 0;
}

/* c->host_count when it is not there. */
static uint32_t host_find(const struct catalog *c, const uint8_t *node)
{
    uint32_t i;

    for (i = 0; i < c->host_count; i++)
        if (memcmp(c->hosts[i].node, node, HASH_LEN) == 0)
            break;
    return i;
}

static int host_fill(struct host *h, const struct msg_entry *entries, uint32_t count)
{
    size_t names_bytes = 1;
    char *name;

    for (uint32_t i = 0; i < count; i++)
        names_bytes += strlen(entries[i].name) + 1;
    h->entries = calloc(count ? count : 1, sizeof(*h->entries));
    h->names = name = malloc(names_bytes);
    if (!h->entries || !name)
        return -ENOMEM;
    h->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct entry *e = &h->entries[i];
        memcpy(e->id, entries[i].id, HASH_LEN);
        memcpy(e->key, entries[i].key, HASH_LEN);
        e->bytes = entries[i].bytes;
        e->files = entries[i].files;
        e->state = entries[i].state;
        e->name = name;
        name = stpcpy(name, entries[i].name) + 1;
    }
    return 0;
}

/* The last place is kept for ourselves. */
static bool host_fits(const struct catalog *c, bool self)
{
    for (uint32_t i = 0; i < c->host_count; i++)
        self = self || c->hosts[i].self;
    return c->host_count < (self ? CATALOG_HOSTS_MAX : CATALOG_HOSTS_MAX - 1);
}

int catalog_set(struct catalog *c, const uint8_t host[static HASH_LEN], bool self,
                const struct msg_entry *entries, uint32_t count)
{
    uint32_t at = host_find(c, host);
    uint32_t others = c->entry_count - c->hosts[at].count;
    struct host fresh = {.self = self};
    int rc;

    if (at == c->host_count && !host_fits(c, self))
        return ERR_LIMIT;
    if (count > CATALOG_HOST_ENTRIES_MAX)
        count = CATALOG_HOST_ENTRIES_MAX;
    if (count > CATALOG_ENTRIES_MAX - others)
        count = CATALOG_ENTRIES_MAX - others;
    memcpy(fresh.node, host, HASH_LEN);
    rc = host_fill(&fresh, entries, count);
    if (rc == 0)
        rc = view_reserve(c->view, others + count);
    if (rc < 0) {
        host_clear(&fresh);
        return rc;
    }
    c->host_count += at == c->host_count;
    host_clear(&c->hosts[at]);
    c->hosts[at] = fresh;
    c->entry_count = others + count;
    c->view->stale = true;
    return 0;
}

void catalog_drop(struct catalog *c, const uint8_t host[static HASH_LEN])
{
    uint32_t at = host_find(c, host), last = c->host_count - 1;

    if (at == c->host_count)
        return;
    c->entry_count -= c->hosts[at].count;
    host_clear(&c->hosts[at]);
    c->hosts[at] = c->hosts[last];
    memset(&c->hosts[last], 0, sizeof(c->hosts[last]));
    c->host_count--;
    c->view->stale = true;
}

bool catalog_host_has_id(const struct catalog *c, const uint8_t host[static HASH_LEN],
                         const uint8_t id[static HASH_LEN])
{
    const struct host *h = &c->hosts[host_find(c, host)];

    for (uint32_t i = 0; i < h->count; i++)
        if (memcmp(h->entries[i].id, id, HASH_LEN) == 0)
            return true;
    return false;
}

/* What h lists of one content: 0 nothing, 1 a part, 2 all of it. */
static uint8_t host_holds(const struct host *h, const uint8_t *key)
{
    uint8_t held = 0;

    for (uint32_t i = 0; i < h->count && held < 2; i++)
        if (memcmp(h->entries[i].key, key, HASH_LEN) == 0)
            held = h->entries[i].state == MSG_STATE_COMPLETE ? 2 : 1;
    return held;
}

static uint32_t hosts_add(const struct catalog *c, const uint8_t *held, uint8_t how,
                          const uint8_t **hosts, uint32_t n, uint32_t max)
{
    for (uint32_t h = 0; h < c->host_count && n < max; h++)
        if (held[h] == how && !c->hosts[h].self)
            hosts[n++] = c->hosts[h].node;
    return n;
}

/* Asked after every change of a crowd's catalogues: looks through the lists, which takes less
 * than making the view anew. */
uint32_t catalog_hosts(const struct catalog *c, const uint8_t key[static HASH_LEN],
                       const uint8_t **hosts, uint32_t max, uint32_t *whole)
{
    uint8_t held[CATALOG_HOSTS_MAX];
    uint32_t complete;

    for (uint32_t h = 0; h < c->host_count; h++)
        held[h] = host_holds(&c->hosts[h], key);
    complete = hosts_add(c, held, 2, hosts, 0, max);
    if (whole)
        *whole = complete;
    return hosts_add(c, held, 1, hosts, complete, max);
}
