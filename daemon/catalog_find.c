/* What a user typed: a name, an id, or something near to a name. */
#include <ctype.h>
#include <string.h>

#include "daemon/catalog_int.h"

enum {
    TYPED_BYTES_MAX = 64, /* of what was typed, compared for a suggestion */
    DISTANCE_MAX = 3,     /* edits between typed and suggested */
    SUGGEST_MAX = 16
};

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
    const struct view *v = catalog_view(c);
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
    const struct view *v = catalog_view(c);
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
