#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transfer/core/merkle.h"
#include "transfer/io/file.h"
#include "transfer/io/indexer_int.h"
#include "transfer/io/store_int.h"

enum {
    READ_BYTES = 256 << 10, /* stays in the cache of a core until it is hashed */
    STAT_BLOCK_BYTES = 512
};

/* A file being read, piece by piece. */
struct reading {
    const struct index_part *part;
    struct index_file *file;
    int fd;
    bool sparse;
    uint64_t at;      /* everything before is hashed */
    uint64_t data_at; /* no data from at up to there */
    struct merkle piece;
    uint8_t buf[READ_BYTES];
};

static uint64_t count_pieces(uint64_t bytes, uint32_t piece_bytes)
{
    return bytes / piece_bytes + (bytes % piece_bytes != 0);
}

/* The walk's inode or none: so a link or a folder swapped in on the way to it is
 * found, wherever it stands. */
static int check_stamp(int fd, const struct store_stamp *want)
{
    struct stat st;
    struct store_stamp now;
    if (fstat(fd, &st) != 0)
        return -errno;
    store_stamp_from(&st, &now);
    return now.dev == want->dev && store_stamp_same(&now, want) ? 0 : ERR_CHANGED;
}

static int open_file(const struct index_tree *t, uint32_t file)
{
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd =
        t->root_fd < 0 ? open(t->root, flags) : openat(t->root_fd, index_tree_path(t, file), flags);
    if (fd >= 0)
        return fd;
    return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? ERR_CHANGED : -errno;
}

static int read_full(int fd, uint8_t *buf, size_t len_bytes, uint64_t at)
{
    int err = file_read_at(fd, buf, len_bytes, at);

    return err == -ENODATA ? ERR_CHANGED : err; /* cut short */
}

/* A piece, or the file, ends at r->at. */
static void end_piece(struct reading *r)
{
    uint32_t piece_bytes = r->part->piece_bytes;
    struct index_file *f = r->file;
    if (f->layer)
        merkle_end(&r->piece, piece_bytes / MERKLE_LEAF_BYTES, NULL,
                   f->layer + (r->at - 1) / piece_bytes * HASH_LEN);
    else
        merkle_end(&r->piece, 0, NULL, f->root);
    merkle_begin(&r->piece, r->part->hash);
}

/* The next leaves of the same piece -> bytes. */
static uint32_t hash_leaves(struct reading *r, const uint8_t *data, uint32_t left_bytes)
{
    const struct index_part *p = r->part;
    uint32_t of_piece = p->piece_bytes - (uint32_t)(r->at % p->piece_bytes);

    return merkle_add_leaves(&r->piece, p->hash_many, data,
                             left_bytes < of_piece ? left_bytes : of_piece);
}

static void hash_buffer(struct reading *r, uint32_t len_bytes)
{
    for (uint32_t done = 0; done < len_bytes;) {
        uint32_t hashed = hash_leaves(r, r->buf + done, len_bytes - done);
        done += hashed;
        r->at += hashed;
        if (r->at % r->part->piece_bytes == 0 || r->at == r->file->stamp.bytes)
            end_piece(r);
    }
}

/* --- holes: a piece of nothing but zeros has the same hash everywhere --- */

static bool is_sparse(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_blocks < st.st_size / STAT_BLOCK_BYTES;
}

/* Is what follows up to end one hole? A change meanwhile changes the stamp. */
static bool is_hole(struct reading *r, uint64_t end)
{
    if (r->data_at >= end)
        return true;
    off_t data = lseek(r->fd, (off_t)r->at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        data = (off_t)r->file->stamp.bytes;
    r->data_at = data < 0 ? 0 : (uint64_t)data;
    return r->data_at >= end;
}

static void hash_zero_piece(struct reading *r, uint8_t out[static HASH_LEN])
{
    struct merkle zeros;
    uint8_t leaf[HASH_LEN];
    memset(r->buf, 0, MERKLE_LEAF_BYTES);
    r->part->hash(r->buf, MERKLE_LEAF_BYTES, leaf);
    merkle_begin(&zeros, r->part->hash);
    merkle_add_hash(&zeros, leaf);
    merkle_end(&zeros, r->part->piece_bytes / MERKLE_LEAF_BYTES, leaf, out);
}

/* Goes over the whole pieces of a hole that begins here. */
static void pass_hole(struct reading *r, uint64_t to)
{
    uint32_t piece_bytes = r->part->piece_bytes;
    uint8_t zero[HASH_LEN];
    bool known = false;
    while (r->at + piece_bytes <= to && is_hole(r, r->at + piece_bytes)) {
        if (!known)
            hash_zero_piece(r, zero);
        known = true;
        memcpy(r->file->layer + r->at / piece_bytes * HASH_LEN, zero, HASH_LEN);
        r->at += piece_bytes;
    }
}

static int hash_bytes(struct reading *r, uint64_t from, uint64_t to)
{
    merkle_begin(&r->piece, r->part->hash);
    r->data_at = 0;
    for (r->at = from; r->at < to;) {
        if (r->sparse && r->at % r->part->piece_bytes == 0)
            pass_hole(r, to);
        uint32_t len = to - r->at < READ_BYTES ? (uint32_t)(to - r->at) : READ_BYTES;
        if (atomic_load(r->part->stop))
            return ERR_CANCELLED;
        int err = read_full(r->fd, r->buf, len, r->at);
        if (err)
            return err;
        hash_buffer(r, len);
    }
    return 0;
}

static int hash_checked(struct reading *r, uint64_t from, uint64_t to)
{
    int err = check_stamp(r->fd, &r->file->stamp);
    r->sparse = r->file->layer && is_sparse(r->fd);
    if (!err)
        err = hash_bytes(r, from, to);
    return err ? err : check_stamp(r->fd, &r->file->stamp);
}

static int hash_whole(struct reading *r)
{
    struct index_file *f = r->file;
    uint32_t piece_bytes = r->part->piece_bytes;
    uint64_t pieces = count_pieces(f->stamp.bytes, piece_bytes);
    if (pieces > 1 && !f->layer && !(f->layer = calloc(pieces, HASH_LEN)))
        return -ENOMEM;
    int err = hash_checked(r, 0, f->stamp.bytes);
    if (err)
        return err;
    if (f->layer)
        merkle_layer_root(r->part->hash, f->layer, pieces, piece_bytes, f->root);
    f->known = true;
    return 0;
}

static int hash_file(struct index_part *p, struct reading *r, uint32_t file)
{
    r->file = &p->tree->files[file];
    if (r->file->known)
        return 0;
    p->fault = file;
    r->fd = open_file(p->tree, file);
    if (r->fd < 0)
        return r->fd;
    int err = p->to > 0 ? hash_checked(r, p->from, p->to) : hash_whole(r);
    close(r->fd);
    if (!err)
        p->hashed_bytes += p->to > 0 ? p->to - p->from : r->file->stamp.bytes;
    return err;
}

int index_part_hash(struct index_part *p)
{
    struct reading *r = malloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    r->part = p;
    int err = 0;
    for (uint32_t i = 0; !err && i < p->count; i++)
        err = hash_file(p, r, p->first + i);
    free(r);
    return err;
}
