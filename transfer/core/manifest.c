#include "transfer/core/manifest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/bencode.h"
#include "transfer/core/file_tree.h"
#include "transfer/core/merkle.h"
#include "transfer/core/name.h"

enum {
    LEAST_PIECE_BYTES = 128 << 10,
    MOST_PIECE_BYTES = 4 << 20,
    PIECES_WANTED = 2048,
    PIECES_MANY = 32768 /* bundles may be only half full: 65,536 chunks at worst */
};

/* Paths repeat what the tree says once. So that the memory stays in proportion
 * to the bytes of the dictionary, all of them together may take so much. */
enum { PATHS_PER_INFO_BYTE = 8, PATHS_BYTES_FREE = 1 << 20, PATHS_BYTES_MAX = 128 << 20 };

struct file {
    uint64_t bytes;
    uint32_t path_at;  /* in paths */
    uint32_t root_at;  /* in info; 0: none */
    uint32_t layer_at; /* index of its first hash in layers; only when longer than a piece */
    bool exec;
};

struct manifest {
    uint8_t *info;
    size_t info_bytes;
    uint8_t id[HASH_LEN], key[HASH_LEN];
    char name[NAME_BYTES_MAX + 1];
    bool single;
    uint32_t piece_bytes;
    uint64_t bytes;
    struct file *files;
    uint32_t count;
    char *paths;           /* NUL-terminated, one after another */
    uint32_t layer_hashes; /* in all layers */
    uint8_t *layers;       /* NULL while absent, or when there are none */
};

/* What the top level of an info dictionary says. */
struct info {
    struct bencode_item tree, name; /* tree: type DONE while not seen */
    struct bencode_in tree_at;      /* the cursor right behind the tree's 'd' */
    int64_t piece_bytes, version;
};

uint32_t manifest_piece_bytes(uint64_t total_bytes)
{
    uint32_t piece = LEAST_PIECE_BYTES;
    while (piece < MOST_PIECE_BYTES && (uint64_t)piece * PIECES_WANTED < total_bytes)
        piece *= 2;
    while (piece < MANIFEST_PIECE_MAX && (uint64_t)piece * PIECES_MANY < total_bytes)
        piece *= 2;
    return piece;
}

static uint64_t count_pieces(uint64_t bytes, uint32_t piece_bytes)
{
    return bytes / piece_bytes + (bytes % piece_bytes != 0);
}

/* --- parsing --- */

static int read_info_item(struct bencode_in *in, const struct bencode_item *item, struct info *info)
{
    if (bencode_key_is(item, "file tree")) {
        info->tree = *item;
        info->tree_at = *in;
    } else if (bencode_key_is(item, "name")) {
        info->name = *item;
    } else if (bencode_key_is(item, "piece length") && item->type == BENCODE_INT) {
        info->piece_bytes = item->number;
    } else if (bencode_key_is(item, "meta version") && item->type == BENCODE_INT) {
        info->version = item->number;
    }
    bencode_skip(in, item); /* keys that we do not know are part of the id all the same */
    return in->bad ? ERR_BENCODE : 0;
}

static int read_info(const uint8_t *data, size_t len_bytes, struct info *info)
{
    struct bencode_in in;
    struct bencode_item item;

    *info = (struct info){.tree.type = BENCODE_DONE, .name.type = BENCODE_DONE};
    bencode_begin(&in, data, len_bytes);
    if (bencode_next(&in, &item) != BENCODE_DICT)
        return item.type == BENCODE_BAD ? ERR_BENCODE : ERR_MANIFEST;
    while (bencode_next(&in, &item) != BENCODE_END) {
        int err = item.type == BENCODE_BAD ? ERR_BENCODE : read_info_item(&in, &item, info);
        if (err)
            return err;
    }
    return bencode_next(&in, &item) == BENCODE_DONE ? 0 : ERR_BENCODE;
}

static bool is_piece_length(int64_t bytes)
{
    return bytes >= MANIFEST_PIECE_MIN && bytes <= MANIFEST_PIECE_MAX && (bytes & (bytes - 1)) == 0;
}

static int check_info(const struct info *info)
{
    if (info->version != MANIFEST_META_VERSION || !is_piece_length(info->piece_bytes))
        return ERR_MANIFEST;
    if (info->tree.type != BENCODE_DICT || info->name.type != BENCODE_BYTES)
        return ERR_MANIFEST;
    return name_check((const char *)info->name.bytes, info->name.len_bytes);
}

/* Sums that the walk over the tree arrives at. */
struct totals {
    uint64_t bytes, layer_hashes, path_bytes;
    uint32_t files;
};

static int add_to_totals(struct totals *t, const struct file_tree_entry *e, uint32_t piece_bytes)
{
    /* Each length is at most INT64_MAX, so that these sums cannot wrap. */
    t->bytes += e->bytes;
    t->path_bytes += e->path_bytes + 1;
    if (e->bytes > piece_bytes)
        t->layer_hashes += count_pieces(e->bytes, piece_bytes);
    t->files++;
    if (t->bytes > INT64_MAX || t->layer_hashes > MANIFEST_PIECES_MAX ||
        t->files > MANIFEST_FILES_MAX)
        return ERR_LIMIT;
    return 0;
}

/* First walk: everything is checked and counted before anything is allocated. */
static int measure_tree(const struct manifest *m, const struct info *info, struct totals *t)
{
    struct file_tree tree;
    struct file_tree_entry e;
    int more;
    uint64_t most = PATHS_BYTES_FREE + (uint64_t)PATHS_PER_INFO_BYTE * m->info_bytes;

    *t = (struct totals){0};
    file_tree_begin(&tree, &info->tree_at);
    while ((more = file_tree_next(&tree, &e)) > 0) {
        int err = add_to_totals(t, &e, m->piece_bytes);
        if (err)
            return err;
        if (t->path_bytes > most || t->path_bytes > PATHS_BYTES_MAX)
            return ERR_LIMIT;
    }
    if (more < 0)
        return more;
    return t->files > 0 ? 0 : ERR_MANIFEST;
}

static void store_file(struct manifest *m, const struct file_tree_entry *e, uint32_t *path_at)
{
    struct file *f = &m->files[m->count++];
    f->bytes = e->bytes;
    f->exec = e->exec;
    f->path_at = *path_at;
    f->root_at = e->root ? (uint32_t)(e->root - m->info) : 0;
    memcpy(m->paths + *path_at, e->path, e->path_bytes + 1);
    *path_at += (uint32_t)e->path_bytes + 1;
    if (e->bytes > m->piece_bytes) {
        f->layer_at = m->layer_hashes;
        m->layer_hashes += (uint32_t)count_pieces(e->bytes, m->piece_bytes);
    }
}

/* Second walk: into memory of the exact size. */
static int store_tree(struct manifest *m, const struct info *info, const struct totals *t)
{
    struct file_tree tree;
    struct file_tree_entry e;
    uint32_t path_at = 0;

    m->files = calloc(t->files, sizeof(*m->files));
    m->paths = calloc(1, t->path_bytes);
    if (!m->files || !m->paths)
        return -ENOMEM;
    m->bytes = t->bytes;
    file_tree_begin(&tree, &info->tree_at);
    while (file_tree_next(&tree, &e) > 0)
        store_file(m, &e, &path_at);
    return 0;
}

/* Hashes info again with the share's own name emptied wherever it stands. */
static int make_key(struct manifest *m, hash_fn *hash, const struct info *info)
{
    /* A bencoded string begins with its length: cut from there to its end. Within
     * a single file's tree the name is the first thing behind the tree's 'd'. */
    size_t digits = info->name.len_bytes < 10 ? 1 : info->name.len_bytes < 100 ? 2 : 3;
    size_t string_bytes = digits + 1 + info->name.len_bytes;
    size_t name_at = (size_t)(info->name.bytes - m->info) - digits - 1;
    size_t tree_at = (size_t)(info->tree_at.at - m->info);
    uint8_t *copy = calloc(1, m->info_bytes);
    if (!copy)
        return -ENOMEM;

    struct bencode_out out = bencode_out(copy, m->info_bytes);
    size_t from = 0;
    if (m->single) {
        bencode_put_raw(&out, m->info, tree_at);
        bencode_put_text(&out, "");
        from = tree_at + string_bytes;
    }
    bencode_put_raw(&out, m->info + from, name_at - from);
    bencode_put_text(&out, "");
    from = name_at + string_bytes;
    bencode_put_raw(&out, m->info + from, m->info_bytes - from);
    hash(copy, out.used_bytes, m->key);
    free(copy);
    return 0;
}

static int copy_info(struct manifest *m, const uint8_t *info, size_t len_bytes)
{
    m->info = calloc(1, len_bytes);
    if (!m->info)
        return -ENOMEM;
    memcpy(m->info, info, len_bytes);
    m->info_bytes = len_bytes;
    return 0;
}

static int parse_copy(struct manifest *m, hash_fn *hash)
{
    struct info info;
    struct totals totals;
    int err = read_info(m->info, m->info_bytes, &info);
    if (!err)
        err = check_info(&info);
    if (err)
        return err;
    m->piece_bytes = (uint32_t)info.piece_bytes;
    memcpy(m->name, info.name.bytes, info.name.len_bytes);

    err = measure_tree(m, &info, &totals);
    if (!err)
        err = store_tree(m, &info, &totals);
    if (err)
        return err;
    m->single = m->count == 1 && strcmp(m->paths, m->name) == 0;
    hash(m->info, m->info_bytes, m->id);
    return make_key(m, hash, &info);
}

int manifest_parse(hash_fn *hash, const uint8_t *info, size_t len_bytes, struct manifest **out)
{
    *out = NULL;
    if (len_bytes == 0)
        return ERR_BENCODE;
    if (len_bytes > MANIFEST_BYTES_MAX)
        return ERR_LIMIT;
    struct manifest *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    int err = copy_info(m, info, len_bytes);
    if (!err)
        err = parse_copy(m, hash);
    if (err)
        manifest_free(m);
    else
        *out = m;
    return err;
}

void manifest_free(struct manifest *m)
{
    if (!m)
        return;
    free(m->info);
    free(m->files);
    free(m->paths);
    free(m->layers);
    free(m);
}

/* --- what it says --- */

const uint8_t *manifest_id(const struct manifest *m)
{
    return m->id;
}

const uint8_t *manifest_key(const struct manifest *m)
{
    return m->key;
}

const char *manifest_name(const struct manifest *m)
{
    return m->name;
}

bool manifest_single(const struct manifest *m)
{
    return m->single;
}

uint32_t manifest_piece_len(const struct manifest *m)
{
    return m->piece_bytes;
}

uint64_t manifest_bytes(const struct manifest *m)
{
    return m->bytes;
}

uint32_t manifest_files(const struct manifest *m)
{
    return m->count;
}

void manifest_file_at(const struct manifest *m, uint32_t i, struct manifest_file *out)
{
    assert(i < m->count);
    const struct file *f = &m->files[i];
    *out = (struct manifest_file){
        .path = m->paths + f->path_at, .bytes = f->bytes, .exec = f->exec, .layer = NULL};
    if (f->root_at)
        memcpy(out->root, m->info + f->root_at, HASH_LEN);
}

const uint8_t *manifest_info(const struct manifest *m, size_t *len_bytes)
{
    *len_bytes = m->info_bytes;
    return m->info;
}

/* --- piece layers --- */

size_t manifest_layers_bytes(const struct manifest *m)
{
    return (size_t)m->layer_hashes * HASH_LEN;
}

/* Do the layers hash to the pieces roots? */
static int check_layers(const struct manifest *m, hash_fn *hash, const uint8_t *layers)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct file *f = &m->files[i];
        if (f->bytes <= m->piece_bytes)
            continue;
        uint8_t root[HASH_LEN];
        merkle_layer_root(hash, layers + (size_t)f->layer_at * HASH_LEN,
                          count_pieces(f->bytes, m->piece_bytes), m->piece_bytes, root);
        if (memcmp(root, m->info + f->root_at, HASH_LEN) != 0)
            return ERR_HASH;
    }
    return 0;
}

int manifest_layers_load(struct manifest *m, hash_fn *hash, const uint8_t *blob, size_t len_bytes)
{
    if (len_bytes != manifest_layers_bytes(m))
        return ERR_MESSAGE;
    int err = check_layers(m, hash, blob);
    if (err || len_bytes == 0)
        return err;
    uint8_t *copy = calloc(1, len_bytes);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, blob, len_bytes);
    free(m->layers);
    m->layers = copy;
    return 0;
}

const uint8_t *manifest_layers(const struct manifest *m)
{
    return m->layers;
}

bool manifest_complete(const struct manifest *m)
{
    return m->layers || m->layer_hashes == 0;
}

const uint8_t *manifest_piece_hash(const struct manifest *m, uint32_t file, uint64_t piece)
{
    assert(file < m->count);
    const struct file *f = &m->files[file];
    assert(piece < count_pieces(f->bytes, m->piece_bytes));
    if (f->bytes <= m->piece_bytes)
        return m->info + f->root_at;
    return m->layers ? m->layers + (f->layer_at + piece) * HASH_LEN : NULL;
}
