/* The writing side of manifest.h: a share's manifest from its files, and .torrent. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/bencode.h"
#include "transfer/core/file_tree.h"
#include "transfer/core/manifest.h"

static size_t layer_bytes(uint64_t bytes, uint32_t piece_bytes)
{
    uint64_t pieces = bytes / piece_bytes + (bytes % piece_bytes != 0);
    return bytes > piece_bytes ? (size_t)pieces * HASH_LEN : 0;
}

static int compare_files(const void *a, const void *b)
{
    const struct manifest_file *const *left = a, *const *right = b;
    return file_tree_compare((*left)->path, (*right)->path);
}

static int check_build_file(const struct manifest_file *f, uint32_t piece_bytes)
{
    if (f->bytes > INT64_MAX)
        return ERR_LIMIT;
    if ((f->bytes > piece_bytes) != (f->layer != NULL))
        return ERR_MANIFEST;
    return file_tree_check_path(f->path);
}

/* Neighbours in order: twice the same path, or one a file and a folder at once. */
static bool clashes(const char *before, const char *path)
{
    size_t len = strlen(before);
    return strncmp(before, path, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static int sort_files(const struct manifest_file *files, uint32_t count, uint32_t piece_bytes,
                      const struct manifest_file **sorted)
{
    for (uint32_t i = 0; i < count; i++) {
        int err = check_build_file(&files[i], piece_bytes);
        if (err)
            return err;
        sorted[i] = &files[i];
    }
    qsort(sorted, count, sizeof(*sorted), compare_files);
    for (uint32_t i = 1; i < count; i++) {
        if (clashes(sorted[i - 1]->path, sorted[i]->path))
            return ERR_MANIFEST;
    }
    return 0;
}

static void put_info(struct bencode_out *out, const char *name, uint32_t piece_bytes,
                     const struct manifest_file *const *sorted, uint32_t count)
{
    bencode_put_dict(out);
    bencode_put_text(out, "file tree");
    file_tree_put(out, sorted, count);
    bencode_put_text(out, "meta version");
    bencode_put_int(out, MANIFEST_META_VERSION);
    bencode_put_text(out, "name");
    bencode_put_text(out, name);
    bencode_put_text(out, "piece length");
    bencode_put_int(out, piece_bytes);
    bencode_put_end(out);
}

static int encode_info(const char *name, uint32_t piece_bytes,
                       const struct manifest_file *const *sorted, uint32_t count, uint8_t **info,
                       size_t *len_bytes)
{
    struct bencode_out out = bencode_out(NULL, 0);
    put_info(&out, name, piece_bytes, sorted, count);
    if (out.used_bytes > MANIFEST_BYTES_MAX)
        return ERR_LIMIT;
    *len_bytes = out.used_bytes;
    *info = calloc(1, *len_bytes);
    if (!*info)
        return -ENOMEM;
    out = bencode_out(*info, *len_bytes);
    put_info(&out, name, piece_bytes, sorted, count);
    return 0;
}

/* The parsed manifest has the files in the order of sorted. */
static int load_layers(struct manifest *m, hash_fn *hash, const struct manifest_file *const *sorted)
{
    size_t len_bytes = manifest_layers_bytes(m);
    uint8_t *blob = calloc(1, len_bytes ? len_bytes : 1);
    if (!blob)
        return -ENOMEM;
    uint8_t *at = blob;
    for (uint32_t i = 0; i < manifest_files(m); i++) {
        size_t len = layer_bytes(sorted[i]->bytes, manifest_piece_len(m));
        if (len > 0)
            memcpy(at, sorted[i]->layer, len);
        at += len;
    }
    int err = manifest_layers_load(m, hash, blob, len_bytes);
    free(blob);
    return err;
}

static int build_sorted(hash_fn *hash, const char *name, uint32_t piece_bytes,
                        const struct manifest_file *const *sorted, uint32_t count,
                        struct manifest **out)
{
    uint8_t *info;
    size_t len_bytes;
    struct manifest *m = NULL;
    int err = encode_info(name, piece_bytes, sorted, count, &info, &len_bytes);
    if (err)
        return err;
    /* Our own output goes through the same checks as a peer's. */
    err = manifest_parse(hash, info, len_bytes, &m);
    free(info);
    if (!err)
        err = load_layers(m, hash, sorted);
    if (err)
        manifest_free(m);
    else
        *out = m;
    return err;
}

int manifest_build(hash_fn *hash, const char *name, bool single, uint32_t piece_bytes,
                   const struct manifest_file *files, uint32_t count, struct manifest **out)
{
    *out = NULL;
    if (count == 0)
        return ERR_MANIFEST;
    if (count > MANIFEST_FILES_MAX)
        return ERR_LIMIT;
    /* A folder that holds just one file of its own name reads as that file. */
    if (single != (count == 1 && strcmp(files[0].path, name) == 0))
        return single ? ERR_MANIFEST : ERR_NAME;
    const struct manifest_file **sorted = calloc(count, sizeof(struct manifest_file *));
    if (!sorted)
        return -ENOMEM;
    int err = sort_files(files, count, piece_bytes, sorted);
    if (!err)
        err = build_sorted(hash, name, piece_bytes, sorted, count, out);
    free(sorted);
    return err;
}

/* --- .torrent --- */

struct root_layer {
    uint8_t root[HASH_LEN];
    const uint8_t *layer;
    size_t bytes;
};

static int compare_roots(const void *a, const void *b)
{
    const struct root_layer *left = a, *right = b;
    return memcmp(left->root, right->root, HASH_LEN);
}

/* The layers by root, in the order of a dictionary; files with the same content
 * share one entry. Returns how many. */
static uint32_t list_layers(const struct manifest *m, struct root_layer *list)
{
    uint32_t count = 0, kept = 0;
    for (uint32_t i = 0; i < manifest_files(m); i++) {
        struct manifest_file f;
        manifest_file_at(m, i, &f);
        size_t bytes = layer_bytes(f.bytes, manifest_piece_len(m));
        if (bytes == 0)
            continue;
        struct root_layer *entry = &list[count++];
        entry->layer = manifest_piece_hash(m, i, 0);
        entry->bytes = bytes;
        memcpy(entry->root, f.root, HASH_LEN);
    }
    qsort(list, count, sizeof(*list), compare_roots);
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || compare_roots(&list[kept - 1], &list[i]) != 0)
            list[kept++] = list[i];
    }
    return kept;
}

static void put_torrent(struct bencode_out *out, const struct manifest *m,
                        const struct root_layer *layers, uint32_t count)
{
    size_t info_bytes;
    const uint8_t *info = manifest_info(m, &info_bytes);
    bencode_put_dict(out);
    bencode_put_text(out, "info");
    bencode_put_raw(out, info, info_bytes);
    bencode_put_text(out, "piece layers");
    bencode_put_dict(out);
    for (uint32_t i = 0; i < count; i++) {
        bencode_put_bytes(out, layers[i].root, HASH_LEN);
        bencode_put_bytes(out, layers[i].layer, layers[i].bytes);
    }
    bencode_put_end(out);
    bencode_put_end(out);
}

int manifest_torrent(const struct manifest *m, uint8_t **out, size_t *len_bytes)
{
    *out = NULL;
    *len_bytes = 0;
    if (!manifest_complete(m))
        return ERR_DAMAGED;
    struct root_layer *layers = calloc(manifest_files(m), sizeof(*layers));
    if (!layers)
        return -ENOMEM;
    uint32_t count = list_layers(m, layers);
    struct bencode_out size = bencode_out(NULL, 0);
    put_torrent(&size, m, layers, count);
    *out = calloc(1, size.used_bytes);
    if (*out) {
        struct bencode_out text = bencode_out(*out, size.used_bytes);
        put_torrent(&text, m, layers, count);
        *len_bytes = text.used_bytes;
    }
    free(layers);
    return *out ? 0 : -ENOMEM;
}
