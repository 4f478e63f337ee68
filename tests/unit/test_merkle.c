#include "transfer/core/merkle.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/io/sha256.h"

/* The definition, taken literally: pad to a power of two, hash level by level. */
static void slow_root(const uint8_t *leaves, uint64_t count, uint64_t width, const uint8_t *pad,
                      uint8_t out[static HASH_LEN])
{
    uint64_t padded = width ? width : 1;
    while (padded < count)
        padded *= 2;
    uint8_t *level = calloc(padded, HASH_LEN);
    memcpy(level, leaves, count * HASH_LEN);
    for (uint64_t i = count; pad && i < padded; i++)
        memcpy(level + i * HASH_LEN, pad, HASH_LEN);
    for (; padded > 1; padded /= 2) {
        for (uint64_t i = 0; i < padded / 2; i++) {
            uint8_t node[HASH_LEN];
            sha256(level + 2 * i * HASH_LEN, 2 * HASH_LEN, node);
            memcpy(level + i * HASH_LEN, node, HASH_LEN);
        }
    }
    memcpy(out, level, HASH_LEN);
    free(level);
}

static void make_leaves(uint8_t *leaves, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        sha256(&i, sizeof(i), leaves + i * HASH_LEN);
}

static void fast_root(const uint8_t *leaves, uint64_t count, uint64_t width, const uint8_t *pad,
                      uint8_t out[static HASH_LEN])
{
    struct merkle t;
    merkle_begin(&t, sha256);
    for (uint64_t i = 0; i < count; i++)
        merkle_add_hash(&t, leaves + i * HASH_LEN);
    merkle_end(&t, width, pad, out);
}

Test(merkle, agrees_with_the_slow_reference)
{
    enum { MOST = 70 };
    uint8_t leaves[MOST * HASH_LEN], pad[HASH_LEN], want[HASH_LEN], got[HASH_LEN];
    make_leaves(leaves, MOST);
    sha256("pad", 3, pad);
    for (uint64_t count = 1; count <= MOST; count++) {
        for (uint64_t width = 0; width <= 256; width = width ? width * 2 : 1) {
            if (width && width < count)
                continue;
            slow_root(leaves, count, width, NULL, want);
            fast_root(leaves, count, width, NULL, got);
            cr_assert_arr_eq(got, want, HASH_LEN, "%lu leaves of %lu", count, width);
            slow_root(leaves, count, width, pad, want);
            fast_root(leaves, count, width, pad, got);
            cr_assert_arr_eq(got, want, HASH_LEN, "%lu leaves of %lu, padded", count, width);
        }
    }
}

Test(merkle, one_leaf_is_its_own_root)
{
    uint8_t leaf[HASH_LEN], root[HASH_LEN];
    sha256("x", 1, leaf);
    struct merkle t;
    merkle_begin(&t, sha256);
    merkle_add_block(&t, "x", 1);
    merkle_end(&t, 0, NULL, root);
    cr_assert_arr_eq(root, leaf, HASH_LEN);
}

Test(merkle, a_tree_can_be_begun_again)
{
    uint8_t leaves[5 * HASH_LEN], first[HASH_LEN], again[HASH_LEN];
    make_leaves(leaves, 5);
    struct merkle t;
    for (int round = 0; round < 2; round++) {
        merkle_begin(&t, sha256);
        for (unsigned i = 0; i < 5; i++)
            merkle_add_hash(&t, leaves + i * HASH_LEN);
        merkle_end(&t, 8, NULL, round ? again : first);
    }
    cr_assert_arr_eq(first, again, HASH_LEN);
}

/* The root over the leaves of a file and the root over its piece hashes are one. */
Test(merkle, layer_root_is_the_root_over_the_leaves)
{
    enum { LEAVES = 45, PER_PIECE = 4 };
    uint8_t leaves[LEAVES * HASH_LEN], layer[(LEAVES + 3) / 4 * HASH_LEN];
    uint8_t want[HASH_LEN], got[HASH_LEN];
    make_leaves(leaves, LEAVES);
    for (unsigned count = PER_PIECE + 1; count <= LEAVES; count++) {
        unsigned pieces = (count + PER_PIECE - 1) / PER_PIECE;
        for (unsigned p = 0; p < pieces; p++) {
            unsigned left = count - p * PER_PIECE;
            slow_root(leaves + p * PER_PIECE * HASH_LEN, left < PER_PIECE ? left : PER_PIECE,
                      PER_PIECE, NULL, layer + p * HASH_LEN);
        }
        slow_root(leaves, count, 0, NULL, want);
        merkle_layer_root(sha256, layer, pieces, PER_PIECE * MERKLE_LEAF_BYTES, got);
        cr_assert_arr_eq(got, want, HASH_LEN, "%u leaves", count);
    }
}

enum { LEAF = MERKLE_LEAF_BYTES, LEAVES_MOST = 3 * MERKLE_BLOCKS_MAX };

/* What one call for so many bytes has to take. */
static uint32_t leaves_bytes(bool many, uint32_t len)
{
    uint32_t most = many ? MERKLE_BLOCKS_MAX * LEAF : LEAF;
    if (len < LEAF)
        return len;
    return len < most ? len / LEAF * LEAF : most;
}

static void root_of_bytes(const uint8_t *data, uint32_t len, uint8_t out[static HASH_LEN])
{
    uint8_t leaves[LEAVES_MOST * HASH_LEN];
    uint32_t count = 0;
    for (uint32_t at = 0; at < len; at += LEAF, count++)
        sha256(data + at, len - at < LEAF ? len - at : LEAF, leaves + count * HASH_LEN);
    slow_root(leaves, count, 0, NULL, out);
}

static void expect_leaves(hash_many_fn *many, const uint8_t *data, uint32_t len)
{
    uint8_t want[HASH_LEN], got[HASH_LEN];
    struct merkle t;
    merkle_begin(&t, sha256);
    for (uint32_t at = 0, took; at < len; at += took) {
        took = merkle_add_leaves(&t, many, data + at, len - at);
        cr_assert_eq(took, leaves_bytes(many != NULL, len - at), "%u at %u of %u", took, at, len);
    }
    merkle_end(&t, 0, NULL, got);
    root_of_bytes(data, len, want);
    cr_assert_arr_eq(got, want, HASH_LEN, "%u bytes, many: %d", len, many != NULL);
}

/* Side by side or one by one, each leaf is the hash of its own block, in its order. */
Test(merkle, leaves_are_taken_as_blocks_of_the_data)
{
    static const uint32_t counts[] = {0,  1,  2,  7,  8, MERKLE_BLOCKS_MAX - 1, MERKLE_BLOCKS_MAX,
                                      17, 31, 32, 33, 47};
    uint8_t *data = malloc(LEAVES_MOST * LEAF);
    for (uint32_t i = 0; i < LEAVES_MOST * LEAF; i++)
        data[i] = (uint8_t)(i * 2654435761U >> 21);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        for (unsigned rest = counts[i] > 0 ? 0 : 1; rest < LEAF; rest += rest < 2 ? 1 : LEAF - 3) {
            expect_leaves(NULL, data, counts[i] * LEAF + rest);
            expect_leaves(sha256_many, data, counts[i] * LEAF + rest);
        }
    }
    free(data);
}
