/* indexer_int: what the parts of the indexer share. indexer_walk.c finds the
 * files, indexer_hash.c reads them, indexer.c keeps the workers busy with both.
 */
#ifndef RONDA_INDEXER_INT_H
#define RONDA_INDEXER_INT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/hash.h"
#include "transfer/io/store.h"

/* A file longer than this is hashed in ranges of so many bytes, side by side. */
enum { INDEX_RANGE_BYTES = 16 << 20 };

struct index_file {
    size_t path_at; /* in paths of the tree */
    struct store_stamp stamp;
    uint8_t root[HASH_LEN];
    uint8_t *layer; /* malloc'd; NULL for a file of one piece */
    bool exec;
    bool known; /* root and layer are there */
    bool fresh; /* they were not in the cache */
};

struct index_tree {
    int root_fd; /* of a folder; -1 for a single file */
    char *root;  /* absolute path */
    char *paths; /* NUL-terminated, one after another */
    size_t paths_bytes, paths_cap;
    struct index_file *files; /* in the order of a file tree */
    uint32_t count, cap;
    uint64_t bytes; /* of all files */
    uint32_t skipped;
    int64_t begun_ns; /* wall clock */
    char *fault;      /* absolute path of what an error is about, or NULL; malloc'd */
};

/* Leaves the tree such that index_tree_free() works, whatever happened. -errno,
 * ERR_LIMIT, ERR_CANCELLED. name: what a single file is called in the share. */
int index_tree_walk(struct index_tree *t, const char *path, const char *name,
                    const atomic_bool *stop) RONDA_MUST_CHECK;
void index_tree_free(struct index_tree *t);
const char *index_tree_path(const struct index_tree *t, uint32_t file);
/* malloc'd; NULL without memory. */
char *index_tree_absolute(const struct index_tree *t, const char *path);

/* A run of files, or a range of pieces of one file. */
struct index_part {
    struct index_tree *tree;
    hash_fn *hash;
    hash_many_fn *hash_many; /* may be NULL */
    const atomic_bool *stop;
    uint32_t piece_bytes;
    uint32_t first, count; /* files */
    uint64_t from, to;     /* bytes of the only file; to == 0: all of every file */
    uint64_t hashed_bytes; /* out */
    uint32_t fault;        /* out: the file an error is about; -ENOMEM is about none */
};

/* [worker] Fills root and layer of the files (of a range: its part of the layer,
 * for which there is room). -errno, ERR_CHANGED, ERR_CANCELLED. */
int index_part_hash(struct index_part *p) RONDA_MUST_CHECK;

#endif
