/* layout: which bytes of which files make each chunk of a share. PURE.
 *
 * Walking the pieces of all files in manifest order, a chunk takes pieces while
 * their bytes together stay within the piece length: a full piece is a chunk, a run
 * of short ones (small files, tails) is a bundle. Empty files have no piece and
 * belong to no chunk. Every node computes the same.
 */
#ifndef RONDA_LAYOUT_H
#define RONDA_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/manifest.h"

enum { LAYOUT_CHUNKS_MAX = 1 << 17 }; /* bundles may fill only half: twice 65,536 */

struct layout;

/* One piece of one file inside a chunk. */
struct layout_seg {
    uint32_t file;
    uint32_t len_bytes;
    uint64_t offset_bytes; /* in the file; a multiple of the piece length */
};

struct layout_iter {
    const struct layout *layout;
    uint32_t file;
    uint64_t offset_bytes;
    uint32_t left_bytes; /* of the chunk */
};

/* m must outlive the layout. -ENOMEM, ERR_LIMIT. */
int layout_new(const struct manifest *m, struct layout **out) RONDA_MUST_CHECK;
void layout_free(struct layout *l);

uint32_t layout_chunks(const struct layout *l);
uint32_t layout_chunk_bytes(const struct layout *l, uint32_t chunk);
uint32_t layout_chunk_bytes_max(const struct layout *l);

/* The segments of chunk, in order. */
void layout_iter_begin(const struct layout *l, uint32_t chunk, struct layout_iter *it);
bool layout_iter_next(struct layout_iter *it, struct layout_seg *seg);

/* The chunks that hold file: first..last inclusive; false for an empty file. */
bool layout_file_chunks(const struct layout *l, uint32_t file, uint32_t *first, uint32_t *last);

#endif
