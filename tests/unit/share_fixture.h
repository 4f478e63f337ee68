/* Shares made in memory, for suites that need a manifest with its bytes. */
#ifndef RONDA_TESTS_SHARE_FIXTURE_H
#define RONDA_TESTS_SHARE_FIXTURE_H

#include <stdint.h>
#include <stdlib.h>

#include "transfer/core/manifest.h"
#include "transfer/core/merkle.h"
#include "transfer/io/sha256.h"

struct fixture_file {
    const char *path;
    uint32_t seed;
    uint32_t bytes;
    bool exec;
};

/* The same bytes for the same seed, everywhere: a linear congruence. */
static inline uint8_t *fixture_content(uint32_t seed, uint32_t bytes)
{
    uint8_t *content = malloc(bytes ? bytes : 1);
    for (uint32_t i = 0; i < bytes; i++) {
        seed = seed * 1103515245U + 12345U;
        content[i] = (uint8_t)(seed >> 16);
    }
    return content;
}

/* Root over the leaves of data, padded to width leaves (0: as few as fit). */
static inline void fixture_root(const uint8_t *data, uint32_t bytes, uint64_t width,
                                uint8_t out[static HASH_LEN])
{
    struct merkle t;
    merkle_begin(&t, sha256);
    for (uint32_t at = 0; at < bytes; at += MERKLE_LEAF_BYTES)
        merkle_add_block(&t, data + at,
                         bytes - at < MERKLE_LEAF_BYTES ? bytes - at : MERKLE_LEAF_BYTES);
    merkle_end(&t, width, NULL, out);
}

/* Fills f from content; f->layer, when there is one, is malloc'd. */
static inline void fixture_hash_file(struct manifest_file *f, const uint8_t *content,
                                     uint32_t piece_bytes)
{
    uint32_t bytes = (uint32_t)f->bytes;
    f->layer = NULL;
    if (bytes == 0)
        return;
    fixture_root(content, bytes, 0, f->root);
    if (bytes <= piece_bytes)
        return;
    uint8_t *layer = malloc((size_t)(bytes / piece_bytes + 1) * HASH_LEN);
    for (uint32_t at = 0, i = 0; at < bytes; at += piece_bytes, i++)
        fixture_root(content + at, bytes - at < piece_bytes ? bytes - at : piece_bytes,
                     piece_bytes / MERKLE_LEAF_BYTES, layer + (size_t)i * HASH_LEN);
    f->layer = layer;
}

static inline int fixture_build(const char *name, bool single, uint32_t piece_bytes,
                                const struct fixture_file *files, uint32_t count,
                                struct manifest **out)
{
    struct manifest_file *list = calloc(count ? count : 1, sizeof(*list));
    for (uint32_t i = 0; i < count; i++) {
        list[i].path = files[i].path;
        list[i].bytes = files[i].bytes;
        list[i].exec = files[i].exec;
        uint8_t *content = fixture_content(files[i].seed, files[i].bytes);
        fixture_hash_file(&list[i], content, piece_bytes);
        free(content);
    }
    int err = manifest_build(sha256, name, single, piece_bytes, list, count, out);
    for (uint32_t i = 0; i < count; i++)
        free((void *)list[i].layer);
    free(list);
    return err;
}

#endif
