/* What is derived from the hosts' lists: contents, their names, who holds them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/catalog_int.h"

static int ref_cmp(const void *a, const void *b)
{
    const struct ref *x = a, *y = b;
    int d = memcmp(x->entry->key, y->entry->key, HASH_LEN);

    if (d == 0)
        d = memcmp(x->entry->id, y->entry->id, HASH_LEN);
    if (d == 0)
        d = (int)y->self - (int)x->self;
    return d ? d : (x->host > y->host) - (x->host < y->host);
}

static int id_cmp(const void *a, const void *b)
{
    const struct ref *x = *(const struct ref *const *)a, *y = *(const struct ref *const *)b;
    int d = memcmp(x->entry->id, y->entry->id, HASH_LEN);

    return d ? d : (x > y) - (x < y);
}

static int name_cmp(const void *a, const void *b)
{
    const struct ref *x = *(const struct ref *const *)a, *y = *(const struct ref *const *)b;
    int d = strcmp(x->entry->name, y->entry->name);

    if (d == 0)
        d = (x->item > y->item) - (x->item < y->item);
    if (d == 0)
        d = (int)y->self - (int)x->self;
    return d ? d : (x > y) - (x < y);
}

static int order_cmp(const void *a, const void *b, void *arg)
{
    const struct item *items = arg;
    const struct entry *x = items[*(const uint32_t *)a].chosen->entry;
    const struct entry *y = items[*(const uint32_t *)b].chosen->entry;
    int d = strcmp(x->name, y->name);

    if (d == 0)
        d = memcmp(x->id, y->id, HASH_LEN);
    return d ? d : memcmp(x->key, y->key, HASH_LEN);
}

static void collect_refs(const struct catalog *c, struct view *v)
{
    v->ref_count = 0;
    for (uint32_t i = 0; i < c->host_count; i++)
        for (uint32_t j = 0; j < c->hosts[i].count; j++)
            v->refs[v->ref_count++] =
                (struct ref){.entry = &c->hosts[i].entries[j], .host = i, .self = c->hosts[i].self};
    if (v->ref_count > 0)
        qsort(v->refs, v->ref_count, sizeof(*v->refs), ref_cmp);
}

/* What each host holds of one content: 0 nothing, 1 a part, 2 all of it. */
static void item_hosts(const struct view *v, const struct item *it,
                       uint8_t held[static CATALOG_HOSTS_MAX])
{
    memset(held, 0, CATALOG_HOSTS_MAX);
    for (uint32_t i = it->first; i < it->first + it->count; i++) {
        uint8_t now = v->refs[i].entry->state == MSG_STATE_COMPLETE ? 2 : 1;
        if (held[v->refs[i].host] < now)
            held[v->refs[i].host] = now;
    }
}

static void item_count_hosts(const struct catalog *c, const struct view *v, struct item *it)
{
    uint8_t held[CATALOG_HOSTS_MAX];

    item_hosts(v, it, held);
    for (uint32_t h = 0; h < c->host_count; h++) {
        it->sources += held[h] == 2;
        it->partial += held[h] == 1;
        if (c->hosts[h].self && held[h])
            it->state = held[h] == 2 ? CATALOG_HERE : CATALOG_PARTIAL;
    }
}

/* Ours, else the id that most hosts name; refs come by id, so the smallest wins a tie. */
static const struct ref *item_choose(const struct view *v, const struct item *it)
{
    const struct ref *refs = &v->refs[it->first], *best = NULL;
    uint32_t best_hosts = 0;

    for (uint32_t i = 0; i < it->count;) {
        uint32_t hosts = 0, begin = i;
        for (; i < it->count && memcmp(refs[i].entry->id, refs[begin].entry->id, HASH_LEN) == 0;
             i++)
            hosts += i == begin || refs[i].host != refs[i - 1].host;
        if (refs[begin].self)
            return &refs[begin];
        if (hosts > best_hosts) {
            best_hosts = hosts;
            best = &refs[begin];
        }
    }
    return best;
}

static void make_items(const struct catalog *c, struct view *v)
{
    v->item_count = 0;
    for (uint32_t i = 0; i < v->ref_count;) {
        struct item *it = &v->items[v->item_count];
        *it = (struct item){.first = i, .state = CATALOG_REMOTE};
        const uint8_t *key = v->refs[i].entry->key;
        for (; i < v->ref_count && memcmp(v->refs[i].entry->key, key, HASH_LEN) == 0; i++)
            v->refs[i].item = v->item_count;
        it->count = i - it->first;
        it->chosen = item_choose(v, it);
        item_count_hosts(c, v, it);
        v->order[v->item_count] = v->item_count;
        v->item_count++;
    }
}

static void sort_items(struct view *v)
{
    if (v->item_count > 0)
        qsort_r(v->order, v->item_count, sizeof(*v->order), order_cmp, v->items);
    for (uint32_t i = 0; i < v->item_count; i++)
        v->rank[v->order[i]] = i;
}

/* by_name keeps one ref of each (name, item); being in order of name it hands
 * every item its names sorted. */
static void make_names(struct view *v)
{
    uint32_t at = 0;

    v->name_count = 0;
    if (v->ref_count > 0)
        qsort(v->by_name, v->ref_count, sizeof(struct ref *), name_cmp);
    for (uint32_t i = 0; i < v->ref_count; i++) {
        const struct ref *r = v->by_name[i],
                         *last = v->name_count ? v->by_name[v->name_count - 1] : NULL;
        if (last && last->item == r->item && strcmp(last->entry->name, r->entry->name) == 0)
            continue;
        v->by_name[v->name_count++] = r;
        v->items[r->item].name_count++;
    }
    for (uint32_t i = 0; i < v->item_count; i++) {
        v->items[i].names_first = at;
        at += v->items[i].name_count;
        v->items[i].name_count = 0;
    }
    for (uint32_t i = 0; i < v->name_count; i++) {
        struct item *it = &v->items[v->by_name[i]->item];
        v->names[it->names_first + it->name_count++] = v->by_name[i]->entry->name;
    }
}

const struct view *catalog_view(const struct catalog *c)
{
    struct view *v = c->view;

    if (!v->stale)
        return v;
    collect_refs(c, v);
    make_items(c, v);
    sort_items(v);
    for (uint32_t i = 0; i < v->ref_count; i++)
        v->by_id[i] = v->by_name[i] = &v->refs[i];
    if (v->ref_count > 0)
        qsort(v->by_id, v->ref_count, sizeof(struct ref *), id_cmp);
    make_names(v);
    v->stale = false;
    return v;
}

uint32_t catalog_count(const struct catalog *c)
{
    return catalog_view(c)->item_count;
}

void catalog_at(const struct catalog *c, uint32_t i, struct catalog_item *out)
{
    const struct view *v = catalog_view(c);
    const struct item *it = &v->items[v->order[i]];
    const struct entry *e = it->chosen->entry;

    assert(i < v->item_count);
    out->id = e->id;
    out->key = e->key;
    out->name = e->name;
    out->bytes = e->bytes;
    out->files = e->files;
    out->sources = it->sources;
    out->partial = it->partial;
    out->state = it->state == CATALOG_HERE      ? CATALOG_HERE
                 : it->state == CATALOG_PARTIAL ? CATALOG_PARTIAL
                                                : CATALOG_REMOTE;
    out->name_count = it->name_count;
}

const char *catalog_name_at(const struct catalog *c, uint32_t i, uint32_t j)
{
    const struct view *v = catalog_view(c);
    const struct item *it = &v->items[v->order[i]];

    assert(i < v->item_count && j < it->name_count);
    return v->names[it->names_first + j];
}
