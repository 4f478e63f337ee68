/* indexer: from a path to a manifest, hashing on all workers.
 *
 * Walks a file or a folder (regular files only: symlinks, devices, FIFOs and
 * sockets are counted and left out; so are empty folders, which BEP 52 cannot
 * name), takes the hashes of unchanged files from a cache, hashes the others in
 * ranges of pieces side by side, and builds the manifest. Pieces that lie in a hole
 * of the file (lseek SEEK_DATA) are not read: 100 GB without data take 1 s. A file
 * that changes while it is hashed is hashed again, then ERR_CHANGED.
 *
 * Memory: 256 KiB a worker; 32 bytes a piece, three times while the manifest is built;
 * about 650 bytes a file (58,236 files of /usr/share: 36 MiB), of which all but the
 * manifest goes at the end.
 *
 * Walking, hashing, building and the cache are for the workers; the loop only hands out.
 */
#ifndef RONDA_INDEXER_H
#define RONDA_INDEXER_H

#include "transfer/core/manifest.h"
#include "transfer/io/store.h"
#include "transfer/io/workers.h"

struct indexer;
struct index_cache; /* index_cache.h */

struct indexer_result {
    struct manifest *manifest;  /* complete; the callee's to free */
    struct store_stamp *stamps; /* manifest order; the callee's to free */
    uint64_t hashed_bytes;      /* read and hashed now; the rest came from the cache */
    uint32_t skipped;           /* symlinks, devices, empty folders, unreadable names... */
};

struct indexer_cfg {
    struct workers *workers;
    struct index_cache *cache; /* may be NULL */
    hash_fn *hash;
    hash_many_fn *hash_many; /* may be NULL */
    const char *path;        /* absolute */
    const char *name;        /* NULL: the last component of path */
    /* Loop thread, a few times a second. total_bytes is 0 until the walk is over. */
    void (*on_progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    /* Loop thread, once; the indexer is freed after it returns. result is NULL
     * when err != 0, and what names the path at fault: -errno (-ELOOP: the path
     * is a symlink; -EINVAL: neither a file nor a folder), ERR_NOT_FOUND: a folder
     * without one file; ERR_CHANGED, ERR_NAME, ERR_LIMIT, ERR_CANCELLED. */
    void (*on_done)(void *arg, int err, const char *what, struct indexer_result *result);
    void *arg;
};

int indexer_start(const struct indexer_cfg *cfg, struct indexer **out) RONDA_MUST_CHECK;
/* on_done follows with ERR_CANCELLED. */
void indexer_cancel(struct indexer *x);

#endif
