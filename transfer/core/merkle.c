#include "transfer/core/merkle.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

/* The stack is a binary counter: stack[k] holds the root of a finished subtree
 * of 2^k leaves whenever bit k of `leaves` is set. */

static void hash_pair(hash_fn *hash, const uint8_t left[static HASH_LEN],
                      const uint8_t right[static HASH_LEN], uint8_t out[static HASH_LEN])
{
    uint8_t pair[2 * HASH_LEN];
    memcpy(pair, left, HASH_LEN);
    memcpy(pair + HASH_LEN, right, HASH_LEN);
    hash(pair, sizeof(pair), out);
}

void merkle_begin(struct merkle *t, hash_fn *hash)
{
    t->hash = hash;
    t->leaves = 0;
}

void merkle_add_block(struct merkle *t, const void *block, uint32_t len_bytes)
{
    assert(len_bytes > 0 && len_bytes <= MERKLE_LEAF_BYTES);
    uint8_t leaf[HASH_LEN];
    t->hash(block, len_bytes, leaf);
    merkle_add_hash(t, leaf);
}

uint32_t merkle_add_leaves(struct merkle *t, hash_many_fn *many, const uint8_t *data,
                           uint32_t len_bytes)
{
    uint8_t leaves[MERKLE_BLOCKS_MAX * HASH_LEN];
    uint32_t whole = len_bytes / MERKLE_LEAF_BYTES;

    if (!many || whole < 2) {
        uint32_t leaf = whole > 0 ? MERKLE_LEAF_BYTES : len_bytes;
        merkle_add_block(t, data, leaf);
        return leaf;
    }
    if (whole > MERKLE_BLOCKS_MAX)
        whole = MERKLE_BLOCKS_MAX;
    many(data, MERKLE_LEAF_BYTES, whole, leaves);
    for (uint32_t i = 0; i < whole; i++)
        merkle_add_hash(t, leaves + i * HASH_LEN);
    return whole * MERKLE_LEAF_BYTES;
}

void merkle_add_hash(struct merkle *t, const uint8_t hash[static HASH_LEN])
{
    assert(t->leaves < (UINT64_C(1) << (MERKLE_DEPTH_MAX - 1)));
    uint8_t node[HASH_LEN];
    memcpy(node, hash, HASH_LEN);
    unsigned level = 0;
    for (; t->leaves >> level & 1; level++)
        hash_pair(t->hash, t->stack[level], node, node);
    memcpy(t->stack[level], node, HASH_LEN);
    t->leaves++;
}

/* Height of the tree over width leaves, or over as many as there are. */
static unsigned tree_height(uint64_t leaves, uint64_t width)
{
    assert(leaves > 0 && (width & (width - 1)) == 0 && (width == 0 || width >= leaves));
    unsigned height = 0;
    while ((UINT64_C(1) << height) < (width ? width : leaves))
        height++;
    return height;
}

void merkle_end(struct merkle *t, uint64_t width, const uint8_t *pad, uint8_t out[static HASH_LEN])
{
    unsigned height = tree_height(t->leaves, width);
    uint8_t empty[HASH_LEN] = {0}; /* root of 2^level missing leaves */
    uint8_t node[HASH_LEN];        /* what is left over below level, padded to 2^level leaves */
    bool pending = false;          /* is there anything in node yet */

    if (t->leaves == UINT64_C(1) << height) {
        memcpy(out, t->stack[height], HASH_LEN);
        return;
    }
    if (pad)
        memcpy(empty, pad, HASH_LEN);
    for (unsigned level = 0; level < height; level++) {
        bool left = t->leaves >> level & 1;
        if (left)
            hash_pair(t->hash, t->stack[level], pending ? node : empty, node);
        else if (pending)
            hash_pair(t->hash, node, empty, node);
        pending |= left;
        hash_pair(t->hash, empty, empty, empty);
    }
    memcpy(out, node, HASH_LEN);
}

void merkle_layer_root(hash_fn *hash, const uint8_t *hashes, uint64_t count, uint32_t piece_bytes,
                       uint8_t out[static HASH_LEN])
{
    uint8_t pad[HASH_LEN] = {0};
    for (uint32_t bytes = MERKLE_LEAF_BYTES; bytes < piece_bytes; bytes *= 2)
        hash_pair(hash, pad, pad, pad);

    struct merkle layer;
    merkle_begin(&layer, hash);
    for (uint64_t i = 0; i < count; i++)
        merkle_add_hash(&layer, hashes + i * HASH_LEN);
    merkle_end(&layer, 0, pad, out);
}
