#include "daemon/catalog.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    TYPED_BYTES_MAX = 64, /* of what was typed, compared for a suggestion */
    DISTANCE_MAX = 3,     /* edits between typed and suggested */
    SUGGEST_MAX = 16
};

struct entry {
    uint8_t id[HASH_LEN];
    uint8_t key[HASH_LEN];
    uint64_t bytes;
    uint32_t files;
    uint8_t state;
    const char *name; /* in the host's names */
};

struct host {
    uint8_t node[HASH_LEN];
    bool self;
    uint32_t count;
    struct entry *entries;
    char *names;
};

struct ref { /* one entry of one host, sorted by key, id, self first */
    const struct entry *entry;
    uint32_t host;
    uint32_t item;
    bool self;
};

struct item { /* one content: refs[first..first+count) */
    uint32_t first, count;
    const struct ref *chosen; /* whose id and name stand for it */
    uint32_t sources, partial;
    int state;
    uint32_t names_first, name_count;
};

/* What is derived from the hosts: made anew at the first question after a
 * change. catalog_set() sees to the room, so that making it cannot fail. */
struct view {
    bool stale;
    uint32_t cap;
    uint32_t ref_count, item_count, name_count;
    struct ref *refs;
    struct item *items;         /* by key */
    uint32_t *order;            /* items by name, id: what the caller's i means */
    uint32_t *rank;             /* and back */
    const struct ref **by_id;   /* all refs, by id */
    const struct ref **by_name; /* one of each (name, item), by name */
    const char **names;         /* of the items, one after another */
};

struct catalog {
    uint32_t host_count;
    uint32_t entry_count;
    struct host hosts[CATALOG_HOSTS_MAX + 1]; /* those beyond host_count are zeros */
    struct view *view; /* lives behind a pointer: questions are asked of a const catalog */
};

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

/* --- the view ------------------------------------------------------------- */

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

static const struct view *view_of(const struct catalog *c)
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
    return view_of(c)->item_count;
}

void catalog_at(const struct catalog *c, uint32_t i, struct catalog_item *out)
{
    const struct view *v = view_of(c);
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
    const struct view *v = view_of(c);
    const struct item *it = &v->items[v->order[i]];

    assert(i < v->item_count && j < it->name_count);
    return v->names[it->names_first + j];
}

/* --- what a user typed ---------------------------------------------------- */

/* Contents found so far: the best of them, and the first few. */
struct found {
    const struct ref *best; /* the first */
    uint32_t total;
    uint32_t written, room;
    uint32_t *others;
};

static void found_add(const struct view *v, struct found *f, const struct ref *r)
{
    uint32_t rank = v->rank[r->item];

    if (f->best && f->best->item == r->item)
        return;
    for (uint32_t i = 0; i < f->written; i++)
        if (f->others[i] == rank)
            return;
    if (f->total++ == 0)
        f->best = r;
    if (f->written < f->room)
        f->others[f->written++] = rank;
}

static void find_name(const struct view *v, const char *name, struct found *f)
{
    uint32_t lo = 0, hi = v->name_count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (strcmp(v->by_name[mid]->entry->name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < v->name_count && strcmp(v->by_name[lo]->entry->name, name) == 0; lo++)
        found_add(v, f, v->by_name[lo]);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Hex digits into bytes, the rest zero; the number of digits, 0 when it is no
 * prefix of an id. */
static size_t hex_parse(const char *what, uint8_t id[static HASH_LEN])
{
    size_t digits = strnlen(what, 2 * HASH_LEN + 1);

    memset(id, 0, HASH_LEN);
    if (digits < CATALOG_PREFIX_MIN || digits > 2 * HASH_LEN)
        return 0;
    for (size_t i = 0; i < digits; i++) {
        int v = hex_value(what[i]);
        if (v < 0)
            return 0;
        id[i / 2] = (uint8_t)(id[i / 2] | (i % 2 ? v : v << 4));
    }
    return digits;
}

static bool id_begins(const uint8_t *id, const uint8_t *prefix, size_t digits)
{
    if (memcmp(id, prefix, digits / 2) != 0)
        return false;
    return digits % 2 == 0 || id[digits / 2] >> 4 == prefix[digits / 2] >> 4;
}

/* The first ref by id that is not before id. */
static uint32_t id_lower(const struct view *v, const uint8_t *id)
{
    uint32_t lo = 0, hi = v->ref_count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (memcmp(v->by_id[mid]->entry->id, id, HASH_LEN) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const struct ref *find_id(const struct view *v, const uint8_t *id)
{
    const struct ref *best = NULL;

    for (uint32_t i = id_lower(v, id);
         i < v->ref_count && memcmp(v->by_id[i]->entry->id, id, HASH_LEN) == 0; i++) {
        const struct ref *r = v->by_id[i];
        const struct item *it = &v->items[r->item], *top = best ? &v->items[best->item] : NULL;
        if (r->self)
            return r;
        if (!top || it->sources + it->partial > top->sources + top->partial)
            best = r;
    }
    return best;
}

static void find_prefix(const struct view *v, const uint8_t *prefix, size_t digits, struct found *f)
{
    for (uint32_t i = id_lower(v, prefix);
         i < v->ref_count && id_begins(v->by_id[i]->entry->id, prefix, digits); i++)
        found_add(v, f, v->by_id[i]);
}

int catalog_resolve(const struct catalog *c, const char *what, uint32_t *item,
                    uint8_t id[static HASH_LEN], uint32_t *others, uint32_t *count)
{
    const struct view *v = view_of(c);
    struct found f = {.room = count ? *count : 0, .others = others};
    uint8_t prefix[HASH_LEN];
    size_t digits = hex_parse(what, prefix);
    const struct ref *whole = digits == 2 * HASH_LEN ? find_id(v, prefix) : NULL;

    if (whole)
        found_add(v, &f, whole);
    if (f.total == 0)
        find_name(v, what, &f);
    if (f.total == 0 && digits > 0)
        find_prefix(v, prefix, digits, &f);
    if (count)
        *count = f.written;
    if (f.total == 0)
        return ERR_NOT_FOUND;
    if (f.total > 1)
        return ERR_AMBIGUOUS;
    *item = v->rank[f.best->item];
    memcpy(id, f.best->entry->id, HASH_LEN);
    return 0;
}

static const struct item *item_find(const struct view *v, const uint8_t *key)
{
    uint32_t lo = 0, hi = v->item_count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int d = memcmp(v->refs[v->items[mid].first].entry->key, key, HASH_LEN);
        if (d == 0)
            return &v->items[mid];
        if (d < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static uint32_t hosts_add(const struct catalog *c, const uint8_t *held, uint8_t how,
                          const uint8_t **hosts, uint32_t n, uint32_t max)
{
    for (uint32_t h = 0; h < c->host_count && n < max; h++)
        if (held[h] == how && !c->hosts[h].self)
            hosts[n++] = c->hosts[h].node;
    return n;
}

uint32_t catalog_hosts(const struct catalog *c, const uint8_t key[static HASH_LEN],
                       const uint8_t **hosts, uint32_t max, uint32_t *whole)
{
    const struct view *v = view_of(c);
    const struct item *it = item_find(v, key);
    uint8_t held[CATALOG_HOSTS_MAX];
    uint32_t complete;

    if (whole)
        *whole = 0;
    if (!it)
        return 0;
    item_hosts(v, it, held);
    complete = hosts_add(c, held, 2, hosts, 0, max);
    if (whole)
        *whole = complete;
    return hosts_add(c, held, 1, hosts, complete, max);
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

/* --- did you mean ---------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;

    return m < c ? m : c;
}

/* Levenshtein's distance of bytes, case aside; anything above DISTANCE_MAX is
 * DISTANCE_MAX + 1. Both at most TYPED_BYTES_MAX long. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned row[TYPED_BYTES_MAX + 1];

    if (a_len > b_len + DISTANCE_MAX || b_len > a_len + DISTANCE_MAX)
        return DISTANCE_MAX + 1;
    for (unsigned j = 0; j <= b_len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0], best = row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned up = row[j];
            row[j] = least(up + 1, row[j - 1] + 1, diagonal + !same);
            diagonal = up;
            if (row[j] < best)
                best = row[j];
        }
        if (best > DISTANCE_MAX)
            return DISTANCE_MAX + 1;
    }
    return row[b_len] <= DISTANCE_MAX ? row[b_len] : DISTANCE_MAX + 1;
}

/* Less is nearer; above DISTANCE_MAX + 1: not alike at all. */
static unsigned unlikeness(const char *what, const char *name)
{
    size_t typed = strlen(what), len = strlen(name);
    unsigned d;

    if (strcasecmp(what, name) == 0)
        return 0;
    if (typed > 1 && strcasestr(name, what))
        return 1;
    if (typed > TYPED_BYTES_MAX || len > TYPED_BYTES_MAX)
        return DISTANCE_MAX + 2;
    d = distance(what, typed, name, len);
    return d > DISTANCE_MAX || d >= typed ? DISTANCE_MAX + 2 : d + 1;
}

uint32_t catalog_suggest(const struct catalog *c, const char *what, const char **names,
                         uint32_t max)
{
    const struct view *v = view_of(c);
    unsigned levels[SUGGEST_MAX];
    uint32_t n = 0, at;

    max = max < SUGGEST_MAX ? max : SUGGEST_MAX;
    for (uint32_t i = 0; i < v->name_count; i++) {
        const char *name = v->by_name[i]->entry->name;
        if (i > 0 && strcmp(v->by_name[i - 1]->entry->name, name) == 0)
            continue;
        unsigned level = unlikeness(what, name);
        if (level > DISTANCE_MAX + 1)
            continue;
        for (at = n; at > 0 && levels[at - 1] > level; at--) {
            if (at < max) {
                levels[at] = levels[at - 1];
                names[at] = names[at - 1];
            }
        }
        if (at < max) {
            levels[at] = level;
            names[at] = name;
            n += n < max;
        }
    }
    return n;
}
