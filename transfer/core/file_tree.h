/* file_tree: the `file tree` of BEP 52, read and written. PURE.
 *
 * A tree of dictionaries: each key is a component of a path, and an empty key
 * marks a file, whose dictionary holds `length`, `pieces root` and BEP 47's
 * `attr`. The reader walks it without recursion and gives whole paths.
 */
#ifndef RONDA_FILE_TREE_H
#define RONDA_FILE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/bencode.h"
#include "transfer/core/manifest.h"
#include "transfer/core/name.h"

struct file_tree {
    struct bencode_in in;
    unsigned depth;                      /* components open now */
    bool empty;                          /* nothing was found yet in the innermost one */
    bool at_file;                        /* the innermost one is the file given last */
    uint16_t begins[MANIFEST_DEPTH_MAX]; /* length of the path without each component */
    uint16_t path_bytes;
    char path[NAME_PATH_BYTES_MAX + 1];
};

/* One file. Valid until the next call of file_tree_next(). */
struct file_tree_entry {
    const char *path;
    size_t path_bytes;   /* without the NUL */
    uint64_t bytes;      /* at most INT64_MAX */
    const uint8_t *root; /* HASH_LEN bytes in the input; NULL for an empty file */
    bool exec;
};

/* at: a cursor that has just given the tree's own DICT. */
void file_tree_begin(struct file_tree *t, const struct bencode_in *at);
/* 1: *e is the next file; 0: that was all. ERR_BENCODE, ERR_MANIFEST, ERR_NAME,
 * ERR_LIMIT. */
int file_tree_next(struct file_tree *t, struct file_tree_entry *e) RONDA_MUST_CHECK;

/* ERR_NAME when a component is not acceptable; ERR_LIMIT when path is too long or
 * too deep. */
int file_tree_check_path(const char *path) RONDA_MUST_CHECK;
/* The order of a tree's files: raw bytes, component by component. */
int file_tree_compare(const char *a, const char *b);
/* Writes the tree of files sorted by file_tree_compare(). */
void file_tree_put(struct bencode_out *out, const struct manifest_file *const *sorted,
                   uint32_t count);

#endif
