/* See store.h; who does what is told in store_int.h. Here: sharing stores,
 * reading, verifying, and what both kinds have in common. */
#include "transfer/io/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "transfer/io/store_int.h"

/* ---- stamps ---- */

static int64_t timespec_ns(const struct timespec *ts)
{
    return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

void store_stamp_from(const struct stat *st, struct store_stamp *out)
{
    *out = (struct store_stamp){.dev = st->st_dev,
                                .ino = st->st_ino,
                                .bytes = (uint64_t)st->st_size,
                                .mtime_ns = timespec_ns(&st->st_mtim),
                                .ctime_ns = timespec_ns(&st->st_ctim)};
}

bool store_stamp_same(const struct store_stamp *a, const struct store_stamp *b)
{
    return a->ino == b->ino && a->bytes == b->bytes && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

static int stamp_check(int fd, const struct store_stamp *want)
{
    struct store_stamp now;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    store_stamp_from(&st, &now);
    return now.dev == want->dev && store_stamp_same(&now, want) ? 0 : ERR_CHANGED;
}

/* ---- birth and death ---- */

int store_place_set(struct store *s, const char *name)
{
    size_t path_len = strlen(s->dest) + 1 + strlen(name) + 1;
    struct store_place *p = calloc(1, sizeof(*p) + path_len);
    bool slash = s->dest[0] && s->dest[strlen(s->dest) - 1] == '/';

    if (!p)
        return -ENOMEM;
    snprintf(p->name, sizeof(p->name), "%s", name);
    snprintf(p->path, path_len, "%s%s%s", s->dest, slash ? "" : "/", name);
    p->older = atomic_load(&s->place);
    atomic_store(&s->place, p);
    return 0;
}

static int lists_alloc(struct store *s)
{
    s->chunk_hash = calloc(s->chunks + (size_t)1, sizeof(*s->chunk_hash));
    s->fresh = calloc(s->chunks + (size_t)1, sizeof(*s->fresh));
    s->dirty = calloc(s->files + (size_t)1, sizeof(*s->dirty));
    s->whole = calloc(s->files + (size_t)1, sizeof(*s->whole));
    if (!s->chunk_hash || !s->fresh || !s->dirty || !s->whole)
        return -ENOMEM;
    return chunkmap_init(&s->writing, s->chunks);
}

int store_alloc(const struct store_cfg *cfg, bool shared, struct store **out)
{
    struct store *s = calloc(1, sizeof(*s));
    int err;

    *out = NULL;
    if (!s)
        return -ENOMEM;
    s->manifest = cfg->manifest;
    s->layout = cfg->layout;
    s->hash = cfg->hash;
    s->hash_many = cfg->hash_many;
    s->boot_mark = cfg->boot_mark;
    s->reserve_bytes = cfg->reserve_bytes;
    s->stop = cfg->stop;
    s->shared = shared;
    s->single = manifest_single(cfg->manifest);
    s->files = manifest_files(cfg->manifest);
    s->chunks = layout_chunks(cfg->layout);
    s->dest_fd = s->root_fd = s->stage_fd = -1;
    fds_init(&s->fds);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->journal_lock, NULL);
    pthread_mutex_init(&s->sync_lock, NULL);
    pthread_cond_init(&s->written, NULL);
    s->file = calloc(s->files + (size_t)1, sizeof(*s->file));
    err = s->file ? chunkmap_init(&s->have, s->chunks) : -ENOMEM;
    if (!err && !shared)
        err = lists_alloc(s);
    if (err) {
        store_close(s);
        return err;
    }
    *out = s;
    return 0;
}

static void fd_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

void store_close(struct store *s)
{
    struct store_place *p;

    if (!s)
        return;
    journal_close(s->journal);
    fds_close_all(&s->fds);
    fd_close(s->stage_fd);
    fd_close(s->root_fd);
    fd_close(s->dest_fd);
    while ((p = atomic_load(&s->place)) != NULL) {
        atomic_store(&s->place, p->older);
        free(p);
    }
    for (uint32_t i = 0; s->file && i < s->files; i++)
        free(s->file[i].steps);
    free(s->file);
    free(s->chunk_hash);
    free(s->fresh);
    free(s->dirty);
    free(s->whole);
    free(s->dest);
    chunkmap_free(&s->have);
    chunkmap_free(&s->writing);
    pthread_cond_destroy(&s->written);
    pthread_mutex_destroy(&s->sync_lock);
    pthread_mutex_destroy(&s->journal_lock);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- sharing stores ---- */

/* Splits path into the directory that holds the share and its name there. */
static int shared_place(struct store *s, const char *path)
{
    char name[NAME_BYTES_MAX + 1];
    size_t len = strlen(path);
    char *slash;

    while (len > 1 && path[len - 1] == '/')
        len--;
    s->dest = strndup(path, len);
    if (!s->dest)
        return -ENOMEM;
    slash = strrchr(s->dest, '/');
    if (!slash || !slash[1] || strlen(slash + 1) > NAME_BYTES_MAX)
        return -EINVAL;
    snprintf(name, sizeof(name), "%s", slash + 1);
    slash[slash == s->dest] = '\0';
    return store_place_set(s, name);
}

static int dir_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int shared_root_open(struct store *s)
{
    int fd = dir_open(s->single ? s->dest : atomic_load(&s->place)->path);

    if (fd < 0)
        return fd;
    if (s->single)
        s->dest_fd = fd;
    else
        s->root_fd = fd;
    return 0;
}

/* Tells nothing about the file. */
static bool is_fault_of_machine(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOSYS || err == -EIO;
}

/* The name may be the manifest's own bytes (shared from here), or one that an
 * earlier receiving store chose. */
static int shared_file_find(struct store *s, uint32_t file, const struct store_stamp *want)
{
    uint32_t last = s->single ? 0 : STORE_PROBE_MAX;

    for (uint32_t variant = 0; variant <= last; variant++) {
        int fd = tree_open(s, file, variant);
        struct stat st;

        if (is_fault_of_machine(fd))
            return fd;
        if (fd < 0)
            continue;
        if (fstat(fd, &st) < 0)
            memset(&st, 0, sizeof(st));
        close(fd);
        store_stamp_from(&st, &s->file[file].stamp);
        if (!store_stamp_same(&s->file[file].stamp, want))
            continue;
        s->file[file].variant = variant;
        s->file[file].in_place = true;
        return 0;
    }
    return ERR_CHANGED;
}

/* For an audit: the file itself if it stands somewhere, changed or not, else the
 * first of its names, where the audit misses it. */
static void shared_file_guess(struct store *s, uint32_t file, const struct store_stamp *was)
{
    uint32_t last = s->single ? 0 : STORE_PROBE_MAX;

    s->file[file].in_place = true;
    s->file[file].variant = 0;
    for (uint32_t variant = 0; variant <= last; variant++) {
        int fd = tree_open(s, file, variant);
        struct stat st;
        bool same = fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == was->ino;

        fd_close(fd);
        if (!same)
            continue;
        s->file[file].variant = variant;
        return;
    }
}

/* Neighbours in the manifest share a directory, which is opened once for all. */
struct finder {
    struct store *store;
    int dir_fd;
    const char *prefix; /* path of the last file, of which prefix_bytes name dir_fd */
    size_t prefix_bytes;
};

static bool finder_enter(struct finder *x, const char *path, const char **leaf)
{
    const char *slash = strrchr(path, '/');
    size_t bytes = slash ? (size_t)(slash - path) : 0;
    char dir[STORE_DISK_PATH_MAX] = ".";

    *leaf = slash ? slash + 1 : path;
    if (x->dir_fd >= 0 && bytes == x->prefix_bytes && memcmp(path, x->prefix, bytes) == 0)
        return true;
    if (bytes > 0)
        snprintf(dir, sizeof(dir), "%.*s", (int)bytes, path);
    fd_close(x->dir_fd);
    x->dir_fd = tree_folder(x->store->root_fd, dir);
    x->prefix = path;
    x->prefix_bytes = bytes;
    return x->dir_fd >= 0;
}

/* The usual case, for one call a file: it stands unchanged under the manifest's own
 * name. False tells nothing. */
static bool finder_sees(struct finder *x, uint32_t file, const struct store_stamp *want)
{
    struct store_file *f = &x->store->file[file];
    struct manifest_file mf;
    const char *leaf;
    struct stat st;

    manifest_file_at(x->store->manifest, file, &mf);
    if (x->store->single || !finder_enter(x, mf.path, &leaf) ||
        fstatat(x->dir_fd, leaf, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    store_stamp_from(&st, &f->stamp);
    f->in_place = store_stamp_same(&f->stamp, want);
    return f->in_place;
}

static int shared_files_find(struct store *s, const struct store_stamp *stamps, bool as_found)
{
    struct finder x = {.store = s, .dir_fd = -1};
    int err = 0;

    for (uint32_t i = 0; !err && i < s->files; i++) {
        if (finder_sees(&x, i, &stamps[i]))
            continue;
        err = shared_file_find(s, i, &stamps[i]);
        if (as_found && (err == ERR_CHANGED || err == -EIO)) {
            shared_file_guess(s, i, &stamps[i]);
            err = 0;
        }
    }
    fd_close(x.dir_fd);
    return err;
}

int store_open_shared(const struct store_cfg *cfg, const char *path,
                      const struct store_stamp *stamps, struct store **out)
{
    struct store *s;
    int err = store_alloc(cfg, true, &s);

    *out = NULL;
    if (err)
        return err;
    err = shared_place(s, path);
    if (!err)
        err = shared_root_open(s);
    if (!err)
        err = shared_files_find(s, stamps, cfg->as_found);
    if (err) {
        store_close(s);
        return err;
    }
    chunkmap_fill(&s->have);
    atomic_store(&s->files_done, s->files);
    atomic_store(&s->done, true);
    *out = s;
    return 0;
}

/* ---- reading ---- */

bool store_fs_is_memory(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* -EAGAIN: not all of it is in the page cache, or the filesystem (NFS, FUSE) cannot
 * tell; -ENODATA: the file ends before. */
static int fd_read(int fd, uint8_t *buf, uint32_t len_bytes, uint64_t offset_bytes, bool cached)
{
    uint32_t have = 0;

    while (have < len_bytes) {
        struct iovec iov = {.iov_base = buf + have, .iov_len = len_bytes - have};
        ssize_t n = preadv2(fd, &iov, 1, (off_t)(offset_bytes + have), cached ? RWF_NOWAIT : 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && cached && errno == EOPNOTSUPP) {
            /* tmpfs cannot be asked what it has, for it has all. */
            if (!store_fs_is_memory(fd))
                return -EAGAIN;
            cached = false;
            continue;
        }
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        have += (uint32_t)n;
    }
    return 0;
}

static int pinned_read(struct store *s, const struct layout_seg *seg, int fd, uint8_t *buf,
                       unsigned flags)
{
    struct store_stamp stamp;
    bool guarded;
    int err, after;

    pthread_mutex_lock(&s->lock);
    guarded = s->file[seg->file].in_place && !(flags & STORE_READ_LENIENT);
    stamp = s->file[seg->file].stamp;
    pthread_mutex_unlock(&s->lock);
    err = guarded ? stamp_check(fd, &stamp) : 0;
    if (err)
        return err;
    err = fd_read(fd, buf, seg->len_bytes, seg->offset_bytes, flags & STORE_READ_CACHED);
    if (err == -EAGAIN || !guarded)
        return err;
    after = stamp_check(fd, &stamp);
    return after ? after : err;
}

static int seg_read(struct store *s, const struct layout_seg *seg, uint8_t *buf, unsigned flags)
{
    struct fd_slot *slot;
    int err = fds_get(s, seg->file, false, flags & STORE_READ_CACHED, &slot);

    if (err)
        return err;
    err = pinned_read(s, seg, slot->fd, buf, flags);
    if (err == ERR_CHANGED && !(flags & STORE_READ_CACHED))
        fds_forget(s, seg->file);
    fds_put(s, slot);
    return err;
}

int store_chunk_read(struct store *s, uint32_t chunk, uint32_t offset_bytes, uint8_t *buf,
                     uint32_t len_bytes, unsigned flags)
{
    struct layout_iter it;
    struct layout_seg seg;
    uint32_t at = 0; /* of seg in the chunk */
    int err = 0;

    layout_iter_begin(s->layout, chunk, &it);
    while (!err && len_bytes > 0 && layout_iter_next(&it, &seg)) {
        uint32_t skip = offset_bytes > at ? offset_bytes - at : 0;
        uint32_t take;

        at += seg.len_bytes;
        if (skip >= seg.len_bytes)
            continue;
        take = seg.len_bytes - skip < len_bytes ? seg.len_bytes - skip : len_bytes;
        seg.offset_bytes += skip;
        seg.len_bytes = take;
        err = seg_read(s, &seg, buf, flags);
        buf += take;
        len_bytes -= take;
        offset_bytes += take;
    }
    return err;
}

static int held_read(struct store *s, uint32_t chunk, uint32_t offset_bytes, uint8_t *buf,
                     uint32_t len_bytes, unsigned flags)
{
    uint32_t bytes;
    bool held;

    if (chunk >= s->chunks)
        return -EINVAL;
    bytes = layout_chunk_bytes(s->layout, chunk);
    if (offset_bytes > bytes || len_bytes > bytes - offset_bytes)
        return -EINVAL;
    pthread_mutex_lock(&s->lock);
    held = chunkmap_has(&s->have, chunk);
    pthread_mutex_unlock(&s->lock);
    if (!held)
        return ERR_NOT_FOUND;
    return store_chunk_read(s, chunk, offset_bytes, buf, len_bytes, flags);
}

/* A held chunk whose file is gone or too short was changed by somebody. */
int store_read(struct store *s, uint32_t chunk, uint32_t offset_bytes, uint8_t *buf,
               uint32_t len_bytes)
{
    int err = held_read(s, chunk, offset_bytes, buf, len_bytes, 0);

    return err == -ENOENT || err == -ENODATA ? ERR_CHANGED : err;
}

int store_read_cached(struct store *s, uint32_t chunk, uint32_t offset_bytes, uint8_t *buf,
                      uint32_t len_bytes)
{
    int err = held_read(s, chunk, offset_bytes, buf, len_bytes, STORE_READ_CACHED);

    return err == -ENOENT || err == -ENODATA ? ERR_CHANGED : err;
}

/* ---- checking ---- */

int store_chunk_check(struct store *s, uint32_t chunk, const uint8_t *data, uint32_t *bad_file)
{
    struct verify v;
    int err;

    verify_begin(&v, s->hash, s->manifest, s->layout, chunk);
    v.many = s->hash_many;
    err = verify_advance(&v, data, layout_chunk_bytes(s->layout, chunk));
    if (err == VERIFY_DONE)
        return 0;
    if (bad_file)
        *bad_file = v.seg.file;
    return ERR_HASH;
}

struct audit {
    struct store *store;
    uint8_t *buf;
    uint32_t bad;
    uint32_t first_bad; /* file */
};

static void audit_bad(struct audit *a, uint32_t file)
{
    a->bad++;
    if (a->first_bad == STORE_NO_FILE || file < a->first_bad)
        a->first_bad = file;
}

/* Segment by segment, so that the file at fault is known when one is gone. */
static void audit_chunk(struct audit *a, uint32_t chunk)
{
    struct store *s = a->store;
    struct layout_iter it;
    struct layout_seg seg;
    uint32_t at = 0, file = 0;

    layout_iter_begin(s->layout, chunk, &it);
    while (layout_iter_next(&it, &seg)) {
        if (seg_read(s, &seg, a->buf + at, STORE_READ_LENIENT) != 0) {
            audit_bad(a, seg.file);
            return;
        }
        at += seg.len_bytes;
    }
    if (store_chunk_check(s, chunk, a->buf, &file) != 0)
        audit_bad(a, file);
}

/* Bytes after the end are in no chunk, and empty files have none. */
static void audit_sizes(struct audit *a)
{
    struct store *s = a->store;

    for (uint32_t i = 0; i < s->files; i++) {
        struct manifest_file mf;
        struct stat st;
        int fd;

        if (!s->file[i].in_place)
            continue;
        manifest_file_at(s->manifest, i, &mf);
        fd = tree_open(s, i, s->file[i].variant);
        if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size > mf.bytes)
            if (fd >= 0 || mf.bytes == 0)
                audit_bad(a, i);
        fd_close(fd);
    }
}

/* Every held chunk. ERR_CANCELLED. */
static int audit_chunks(struct audit *a, bool (*progress)(void *arg, uint64_t done_bytes),
                        void *arg)
{
    struct store *s = a->store;
    uint64_t done_bytes = 0;

    for (uint32_t c = 0; c < s->chunks; c++) {
        bool held;

        pthread_mutex_lock(&s->lock);
        held = chunkmap_has(&s->have, c);
        pthread_mutex_unlock(&s->lock);
        if (held)
            audit_chunk(a, c);
        done_bytes += layout_chunk_bytes(s->layout, c);
        if (progress && !progress(arg, done_bytes))
            return ERR_CANCELLED;
    }
    return 0;
}

int store_verify(struct store *s, bool (*progress)(void *arg, uint64_t done_bytes), void *arg,
                 const char **first_bad)
{
    struct audit a = {.store = s, .first_bad = STORE_NO_FILE};
    struct manifest_file mf;
    int err;

    *first_bad = NULL;
    a.buf = malloc(layout_chunk_bytes_max(s->layout) + (size_t)1);
    if (!a.buf)
        return -ENOMEM;
    fds_forget_all(s);
    err = audit_chunks(&a, progress, arg);
    free(a.buf);
    if (err)
        return err;
    audit_sizes(&a);
    if (a.first_bad != STORE_NO_FILE) {
        manifest_file_at(s->manifest, a.first_bad, &mf);
        *first_bad = mf.path;
    }
    return a.bad > INT_MAX ? INT_MAX : (int)a.bad;
}

/* ---- getters ---- */

const struct chunkmap *store_have(const struct store *s)
{
    return &s->have;
}

bool store_done(const struct store *s)
{
    return atomic_load(&s->done);
}

uint32_t store_files_done(const struct store *s)
{
    return atomic_load(&s->files_done);
}

const char *store_final_name(const struct store *s)
{
    return atomic_load(&s->place)->name;
}

const char *store_path(const struct store *s)
{
    return atomic_load(&s->place)->path;
}

int store_stamps(struct store *s, struct store_stamp *out)
{
    if (!store_done(s))
        return -EBUSY;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->files; i++)
        out[i] = s->file[i].stamp;
    pthread_mutex_unlock(&s->lock);
    return 0;
}
