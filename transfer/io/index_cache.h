/* index_cache: hashes of files already read, so that sharing an unchanged 10 GB
 * file again is instant.
 *
 * A file in the state directory, appended to, one XXH3-checked record a file
 * and piece length: {dev, ino, size, mtime_ns, ctime_ns, piece length -> pieces
 * root, piece layer}. A file changed less than 2 s before it was hashed is not
 * put in (its next change could keep the same time stamps).
 *
 * All of it blocks: index_cache_open() reads the whole file, and may write it anew, so
 * up to INDEX_CACHE_BYTES_MAX each way: before the loop runs. get and put, for workers,
 * any thread at a time, read or write one record and never sync: 88 bytes, and 32 more
 * for each piece of a file longer than one, 64 MiB at most. A full cache takes no more
 * until it is opened again, which makes room.
 */
#ifndef RONDA_INDEX_CACHE_H
#define RONDA_INDEX_CACHE_H

#include "transfer/core/hash.h"
#include "transfer/io/store.h"

enum { INDEX_CACHE_RECORDS_MAX = 2000000, INDEX_CACHE_BYTES_MAX = 512 << 20 };

struct index_cache;

/* path: made when absent; damaged records are dropped (the file is rewritten
 * without them), and all of them when it is nearly full of good ones. -errno,
 * -ENOMEM. */
int index_cache_open(const char *path, struct index_cache **out) RONDA_MUST_CHECK;
void index_cache_close(struct index_cache *c);

/* The root and, when the file is longer than a piece, the layer (malloc'd, for
 * the caller to free; else *layer is NULL). ERR_NOT_FOUND. */
int index_cache_get(struct index_cache *c, const struct store_stamp *stamp, uint32_t piece_bytes,
                    uint8_t root[static HASH_LEN], uint8_t **layer) RONDA_MUST_CHECK;
/* Best effort: an error only costs a later hashing. */
void index_cache_put(struct index_cache *c, const struct store_stamp *stamp, uint32_t piece_bytes,
                     const uint8_t root[static HASH_LEN], const uint8_t *layer);

#endif
