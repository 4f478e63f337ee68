/* manifest: what a share is. PURE.
 *
 * Owns the bencoded BEP 52 (BitTorrent v2) info dictionary of one share, the
 * list of files read from it, and their piece layers, which come separately
 * and are checked against the pieces roots. The exec bit is BEP 47 `attr x`.
 *
 * id  = SHA-256 of the info dictionary: the v2 infohash, what libtorrent
 *       computes and `magnet:?xt=urn:btmh:1220<id>` names.
 * key = SHA-256 of the same dictionary with the share's own name taken out
 *       (`name` emptied; for a single file the key of its file tree too): equal
 *       for the same content under two names, whose holders therefore form one
 *       swarm and one row of `ls`.
 *
 * Whatever comes in is a peer's: every length, count, sum and name is checked.
 */
#ifndef RONDA_MANIFEST_H
#define RONDA_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/err.h"
#include "transfer/core/hash.h"

enum {
    MANIFEST_META_VERSION = 2,     /* BEP 52 */
    MANIFEST_BYTES_MAX = 64 << 20, /* of the info dictionary */
    MANIFEST_FILES_MAX = 1000000,
    MANIFEST_DEPTH_MAX = 32,    /* path components below the share's root */
    MANIFEST_PIECE_MIN = 16384, /* BEP 52 */
    MANIFEST_PIECE_MAX = 128 << 20,
    MANIFEST_PIECES_MAX = 2 << 20 /* pieces in layers: 64 MiB of hashes */
};

struct manifest;

struct manifest_file {
    const char *path; /* '/'-separated below the root; a single file: its name.
                         Owned by the manifest. Every component passed name_check(). */
    uint64_t bytes;
    uint8_t root[HASH_LEN]; /* pieces root; zeros when bytes == 0 */
    bool exec;
    const uint8_t *layer; /* only for manifest_build: piece hashes when bytes > piece_bytes,
                             ceil(bytes / piece_bytes) of them, else NULL */
};

/* Piece length for a share of total_bytes: pow2ceil(F/2048) within 128 KiB..4 MiB;
 * doubled above 128 GiB so that a share has at most 65,536 chunks. */
uint32_t manifest_piece_bytes(uint64_t total_bytes);

/* Parses and checks an info dictionary, of which a copy is kept. ERR_BENCODE,
 * ERR_MANIFEST, ERR_NAME, ERR_LIMIT, -ENOMEM; *out is NULL then. Piece layers
 * are absent afterwards (manifest_layers_load). */
int manifest_parse(hash_fn *hash, const uint8_t *info, size_t len_bytes,
                   struct manifest **out) RONDA_MUST_CHECK;

/* Builds the manifest of a share. files: any order, sorted inside as BEP 52
 * wants it; single: one file whose path is name itself. The layers are taken
 * in as well, so that manifest_complete() holds. Errors as manifest_parse();
 * ERR_HASH when a layer does not match its root; ERR_NAME also for a folder that
 * holds just one file of its own name (BEP 52 cannot tell it from that file:
 * give the share another name). */
int manifest_build(hash_fn *hash, const char *name, bool single, uint32_t piece_bytes,
                   const struct manifest_file *files, uint32_t count,
                   struct manifest **out) RONDA_MUST_CHECK;

void manifest_free(struct manifest *m);

const uint8_t *manifest_id(const struct manifest *m);  /* HASH_LEN bytes */
const uint8_t *manifest_key(const struct manifest *m); /* HASH_LEN bytes */
const char *manifest_name(const struct manifest *m);
bool manifest_single(const struct manifest *m);
uint32_t manifest_piece_len(const struct manifest *m); /* bytes */
uint64_t manifest_bytes(const struct manifest *m);     /* sum over the files */
uint32_t manifest_files(const struct manifest *m);
/* File i in the order of the info dictionary (layer is NULL here). */
void manifest_file_at(const struct manifest *m, uint32_t i, struct manifest_file *out);
const uint8_t *manifest_info(const struct manifest *m, size_t *len_bytes);

/* The piece layers of all files longer than a piece, one after another in file
 * order, HASH_LEN bytes a piece: how they travel and are kept. */
size_t manifest_layers_bytes(const struct manifest *m);
/* Checks each layer against its pieces root, then keeps a copy of blob.
 * ERR_HASH (nothing is kept), ERR_MESSAGE when len_bytes is wrong, -ENOMEM. */
int manifest_layers_load(struct manifest *m, hash_fn *hash, const uint8_t *blob,
                         size_t len_bytes) RONDA_MUST_CHECK;
const uint8_t *manifest_layers(const struct manifest *m); /* NULL while absent */
/* All layers are here (true at once when no file is longer than a piece). */
bool manifest_complete(const struct manifest *m);
/* What piece of file must hash to: from the layer, or the root of a file of one
 * piece. NULL while the layers are absent. Never for an empty file. */
const uint8_t *manifest_piece_hash(const struct manifest *m, uint32_t file, uint64_t piece);

/* A whole .torrent file (info + piece layers), malloc'd, for the caller to free.
 * -ENOMEM; ERR_DAMAGED while the layers are absent. */
int manifest_torrent(const struct manifest *m, uint8_t **out, size_t *len_bytes) RONDA_MUST_CHECK;

#endif
