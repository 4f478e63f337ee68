/* verify: is this chunk what the manifest says? PURE.
 *
 * Hashes a chunk, as far as it is there, 16 KiB leaf by leaf, segment by
 * segment, and compares every piece with the manifest (BEP 52 merkle trees). One
 * struct verify for one chunk; ~2 KiB.
 */
#ifndef RONDA_VERIFY_H
#define RONDA_VERIFY_H

#include "transfer/core/layout.h"
#include "transfer/core/merkle.h"

enum { VERIFY_DONE = 1 };

struct verify {
    const struct manifest *manifest;
    struct layout_iter iter;
    struct layout_seg seg;
    struct merkle tree;
    hash_many_fn *many; /* NULL, or set after verify_begin(): whole leaves go side by side */
    uint32_t seg_begin; /* of seg, in the chunk, bytes */
    uint32_t hashed;    /* bytes of the chunk hashed so far */
    uint32_t total;     /* bytes of the chunk */
};

/* manifest_complete(m) must hold; m and l must outlive v. */
void verify_begin(struct verify *v, hash_fn *hash, const struct manifest *m, const struct layout *l,
                  uint32_t chunk);

/* chunk_data[0..have_bytes) has arrived (have_bytes only grows). Hashes every
 * leaf newly complete. 0: so far so good; VERIFY_DONE: the whole chunk is
 * right; ERR_HASH: a piece is wrong, v is used up. */
int verify_advance(struct verify *v, const uint8_t *chunk_data,
                   uint32_t have_bytes) RONDA_MUST_CHECK;

#endif
