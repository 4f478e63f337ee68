/* catalog: what the LAN holds, merged by content key. PURE (no socket, no clock).
 *
 * node.c feeds it each host's list; it answers names, ids and prefixes. Our own
 * library is merged in as the host "self".
 */
#ifndef RONDA_CATALOG_H
#define RONDA_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/msg.h"

enum {
    CATALOG_HOSTS_MAX = 256,
    CATALOG_HOST_ENTRIES_MAX = 4096,
    CATALOG_ENTRIES_MAX = 65536, /* in all */
    CATALOG_PREFIX_MIN = 4       /* hex digits of an id that are taken as a prefix */
};

struct catalog;

int catalog_new(struct catalog **out) RONDA_MUST_CHECK;
void catalog_free(struct catalog *c);

/* Replaces all that host (a NodeID) holds. Entries over a ceiling are dropped.
 * ERR_LIMIT: too many hosts; -ENOMEM: what was there stays. */
int catalog_set(struct catalog *c, const uint8_t host[static HASH_LEN], bool self,
                const struct msg_entry *entries, uint32_t count) RONDA_MUST_CHECK;
void catalog_drop(struct catalog *c, const uint8_t host[static HASH_LEN]);

/* One content: all entries of all hosts with the same key. */
struct catalog_item {
    const uint8_t *id; /* ours if we hold it, else the one most hosts name, ties: smallest */
    const uint8_t *key;
    const char *name; /* of that id */
    uint64_t bytes;
    uint32_t files;
    uint32_t sources; /* hosts that hold all of it, we included */
    uint32_t partial; /* hosts that hold a part */
    enum { CATALOG_REMOTE, CATALOG_PARTIAL, CATALOG_HERE } state; /* as to us */
    uint32_t name_count; /* different names, name included */
};

/* Walks the items sorted by name, then id; i < catalog_count(). Pointers live
 * until the next catalog_set or catalog_drop. */
uint32_t catalog_count(const struct catalog *c);
void catalog_at(const struct catalog *c, uint32_t i, struct catalog_item *out);
/* j-th name of item i, sorted. */
const char *catalog_name_at(const struct catalog *c, uint32_t i, uint32_t j);

/* What a user typed: a whole id, an id prefix of >= CATALOG_PREFIX_MIN hex
 * digits, or a name (exact). A name wins over a prefix. *item = index.
 * ERR_NOT_FOUND; ERR_AMBIGUOUS: several contents fit (first few indexes into
 * others; *count: room in, how many were written out). *id = the id meant (that
 * of the name typed). A whole id wins over all: hosts that disagree about its
 * key make no ambiguity, ours or else the most held is meant. */
int catalog_resolve(const struct catalog *c, const char *what, uint32_t *item,
                    uint8_t id[static HASH_LEN], uint32_t *others,
                    uint32_t *count) RONDA_MUST_CHECK;

/* Hosts (NodeIDs, HASH_LEN bytes each) that hold the content with this key, self left
 * out; whole ones first, and how many these are in *whole (may be NULL). Returns how many
 * were written, at most max. */
uint32_t catalog_hosts(const struct catalog *c, const uint8_t key[static HASH_LEN],
                       const uint8_t **hosts, uint32_t max, uint32_t *whole);
/* Does host name exactly this id (and so has its manifest)? */
bool catalog_host_has_id(const struct catalog *c, const uint8_t host[static HASH_LEN],
                         const uint8_t id[static HASH_LEN]);
/* Names nearest to what was typed, for "did you mean": at most max, static until the next set. */
uint32_t catalog_suggest(const struct catalog *c, const char *what, const char **names,
                         uint32_t max);

#endif
