/* merkle: SHA-256 trees over 16 KiB leaves. PURE.
 *
 * Source: BEP 52, "pieces root" and "piece layers". Leaves are the hashes of
 * 16 KiB blocks (the last one short); a tree is padded to a power of two of
 * leaves with all-zero hashes, an interior node is SHA-256(left | right).
 */
#ifndef RONDA_MERKLE_H
#define RONDA_MERKLE_H

#include <stdint.h>

#include "transfer/core/hash.h"

enum {
    MERKLE_LEAF_BYTES = 16384,
    MERKLE_BLOCKS_MAX = 16, /* hashed side by side */
    MERKLE_DEPTH_MAX = 50   /* 2^50 leaves of 16 KiB: more than a 64-bit file size */
};

/* A tree being built from its leaves, left to right, in O(depth) memory. */
struct merkle {
    hash_fn *hash;
    uint64_t leaves; /* added so far */
    uint8_t stack[MERKLE_DEPTH_MAX][HASH_LEN];
};

void merkle_begin(struct merkle *t, hash_fn *hash);

/* Hashes one block (1..MERKLE_LEAF_BYTES bytes) and adds it as the next leaf. */
void merkle_add_block(struct merkle *t, const void *block, uint32_t len_bytes);

/* Hashes the next leaves, data[0..len_bytes] of the tree's bytes or the beginning of that: one
 * block, or where many is not NULL up to MERKLE_BLOCKS_MAX whole ones side by side. How many
 * bytes it took. len_bytes > 0; only the last block of all may be short. */
uint32_t merkle_add_leaves(struct merkle *t, hash_many_fn *many, const uint8_t *data,
                           uint32_t len_bytes);

/* Adds a node of any level as the next leaf of this tree. */
void merkle_add_hash(struct merkle *t, const uint8_t hash[static HASH_LEN]);

/* Root of the tree padded to width leaves (a power of two, >= leaves added;
 * 0: the smallest that fits). pad is the hash that stands for a missing leaf:
 * NULL for all zeros. The tree is used up: call merkle_begin() again. At least
 * one leaf must have been added. */
void merkle_end(struct merkle *t, uint64_t width, const uint8_t *pad, uint8_t out[static HASH_LEN]);

/* Root of a piece layer: count piece hashes of piece_bytes each (BEP 52: the
 * padding is the root of an all-zero subtree as high as a piece). */
void merkle_layer_root(hash_fn *hash, const uint8_t *hashes, uint64_t count, uint32_t piece_bytes,
                       uint8_t out[static HASH_LEN]);

#endif
