/* catalog_int: shared by catalog.c (what each host lists), catalog_view.c (what is derived
 * from that) and catalog_find.c (what a user typed). */
#ifndef RONDA_CATALOG_INT_H
#define RONDA_CATALOG_INT_H

#include "daemon/catalog.h"

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

/* The view as of now. */
const struct view *catalog_view(const struct catalog *c);

#endif
