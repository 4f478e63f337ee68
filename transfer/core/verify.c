#include "transfer/core/verify.h"

#include <string.h>

void verify_begin(struct verify *v, hash_fn *hash, const struct manifest *m, const struct layout *l,
                  uint32_t chunk)
{
    v->manifest = m;
    v->many = NULL;
    v->seg_begin = 0;
    v->hashed = 0;
    v->total = layout_chunk_bytes(l, chunk);
    layout_iter_begin(l, chunk, &v->iter);
    (void)layout_iter_next(&v->iter, &v->seg); /* a chunk is never empty */
    merkle_begin(&v->tree, hash);
}

/* BEP 52: in a file longer than a piece every piece is a subtree of full height;
 * a shorter file is a tree of its own. */
static uint64_t tree_width(const struct verify *v)
{
    struct manifest_file f;
    uint32_t piece_bytes = manifest_piece_len(v->manifest);
    manifest_file_at(v->manifest, v->seg.file, &f);
    return f.bytes > piece_bytes ? piece_bytes / MERKLE_LEAF_BYTES : 0;
}

static bool piece_is_right(struct verify *v)
{
    uint8_t got[HASH_LEN];
    uint64_t piece = v->seg.offset_bytes / manifest_piece_len(v->manifest);
    const uint8_t *want = manifest_piece_hash(v->manifest, v->seg.file, piece);
    merkle_end(&v->tree, tree_width(v), NULL, got);
    return want && memcmp(got, want, HASH_LEN) == 0;
}

/* Hashes the next leaves. How many bytes; 0: the next one is not complete. */
static uint32_t leaves_add(struct verify *v, const uint8_t *data, uint32_t have_bytes)
{
    uint32_t left = v->seg_begin + v->seg.len_bytes - v->hashed;
    uint32_t leaf = left < MERKLE_LEAF_BYTES ? left : MERKLE_LEAF_BYTES;
    uint32_t have = have_bytes > v->hashed ? have_bytes - v->hashed : 0;

    if (have < leaf)
        return 0;
    return merkle_add_leaves(&v->tree, v->many, data + v->hashed, have < left ? have : left);
}

int verify_advance(struct verify *v, const uint8_t *chunk_data, uint32_t have_bytes)
{
    while (v->hashed < v->total) {
        uint32_t added = leaves_add(v, chunk_data, have_bytes);
        if (added == 0)
            return 0;
        v->hashed += added;
        if (v->hashed < v->seg_begin + v->seg.len_bytes)
            continue;
        if (!piece_is_right(v))
            return ERR_HASH;
        v->seg_begin = v->hashed;
        merkle_begin(&v->tree, v->tree.hash);
        (void)layout_iter_next(&v->iter, &v->seg);
    }
    return VERIFY_DONE;
}
