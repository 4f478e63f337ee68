/* What the suites of the store share: shares of known bytes, and the calls below
 * it, wrapped, so that a test can fail or end them at the n-th one. Included once
 * a suite. */
#ifndef RONDA_TESTS_STORE_FIXTURE_H
#define RONDA_TESTS_STORE_FIXTURE_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transfer/core/merkle.h"
#include "transfer/io/journal.h"
#include "transfer/io/sha256.h"
#include "transfer/io/store_int.h"

enum { PIECE = 64 * 1024, FILES_MAX = 400, LEAF = MERKLE_LEAF_BYTES };
enum { KILL_CODE = 77, KILL_TRIES_MAX = 400 };

static atomic_int writes_left = -1; /* < 0: no limit; at 0 the process ends */
static atomic_int fsync_fails;      /* so many calls fail with EIO */
static atomic_int fsync_skip;       /* after so many that do not */
static atomic_int calls_seen;

static inline void call_count(void)
{
    atomic_fetch_add(&calls_seen, 1);
    if (atomic_load(&writes_left) >= 0 && atomic_fetch_sub(&writes_left, 1) == 0)
        _exit(KILL_CODE);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    call_count();
    return syscall(SYS_pwrite64, fd, buf, n, at);
}

static char sync_failed_at[300]; /* what the last one that failed was to sync */

static inline bool sync_fails(int fd)
{
    char link[40];
    ssize_t n;

    call_count();
    if (atomic_load(&fsync_fails) <= 0 || atomic_fetch_sub(&fsync_skip, 1) > 0)
        return false;
    atomic_fetch_sub(&fsync_fails, 1);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, sync_failed_at, sizeof(sync_failed_at) - 1);
    sync_failed_at[n > 0 ? n : 0] = 0;
    errno = EIO;
    return true;
}

int fdatasync(int fd)
{
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return sync_fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

static bool syncfs_broken;

int syncfs(int fd)
{
    if (syncfs_broken)
        errno = EIO;
    return syncfs_broken ? -1 : (int)syscall(SYS_syncfs, fd);
}

static bool nowait_unknown;         /* as on a filesystem without RWF_NOWAIT */
static const char *edit_after_read; /* this file is cut short once after a read */

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
    ssize_t n;

    if (nowait_unknown && (flags & RWF_NOWAIT)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    n = syscall(SYS_preadv2, fd, iov, (long)count, (long)at, 0L, (long)flags);
    if (edit_after_read) {
        cr_assert_eq(truncate(edit_after_read, 5 * PIECE), 0);
        edit_after_read = NULL;
    }
    return n;
}

/* Called once inside the next open of a staged file. */
static void (*_Atomic inside_open)(void);
static bool no_room_for_journal; /* a new one */

int openat(int fd, const char *path, int flags, ...)
{
    void (*call)(void) = atomic_exchange(&inside_open, NULL);
    mode_t mode = 0;
    va_list ap;

    va_start(ap, flags);
    if (flags & O_CREAT)
        mode = va_arg(ap, mode_t);
    va_end(ap);
    if (call)
        call();
    if (no_room_for_journal && strcmp(path, "journal.new") == 0) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_openat, fd, path, flags, mode);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    call_count();
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

/* ---- a share made of known bytes ---- */

struct share {
    struct manifest *m;
    struct layout *l;
    uint32_t files;
    char dir[64];
    char dest[80];
};

/* Byte at of a file: cheap, and different for each file and place. */
static inline uint8_t content(uint32_t seed, uint64_t at)
{
    uint64_t x = (at / 8 + 1) * 0x9e3779b97f4a7c15ULL + seed * 0xbf58476d1ce4e5b9ULL;

    x ^= x >> 29;
    return (uint8_t)(x >> (at % 8 * 8));
}

static inline uint32_t seed_of(const char *path)
{
    uint32_t h = 2166136261u;

    for (; *path; path++)
        h = (h ^ (uint8_t)*path) * 16777619u;
    return h;
}

static inline void fill(uint8_t *out, uint32_t seed, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = content(seed, at + i);
}

static inline void piece_root(const uint8_t *data, size_t len, uint64_t width,
                              uint8_t out[HASH_LEN])
{
    struct merkle t;

    merkle_begin(&t, sha256);
    for (size_t i = 0; i < len; i += LEAF)
        merkle_add_block(&t, data + i, (uint32_t)(len - i < LEAF ? len - i : LEAF));
    merkle_end(&t, width, NULL, out);
}

static inline void file_hash(struct manifest_file *f)
{
    uint64_t pieces = (f->bytes + PIECE - 1) / PIECE;
    uint8_t *buf = malloc(PIECE), *layer = malloc(pieces * HASH_LEN + 1);

    memset(f->root, 0, HASH_LEN);
    for (uint64_t p = 0; p < pieces; p++) {
        size_t len = f->bytes - p * PIECE < PIECE ? f->bytes - p * PIECE : PIECE;

        fill(buf, seed_of(f->path), p * PIECE, len);
        piece_root(buf, len, pieces > 1 ? PIECE / LEAF : 0, layer + p * HASH_LEN);
    }
    if (pieces > 1)
        merkle_layer_root(sha256, layer, pieces, PIECE, f->root);
    else if (pieces == 1)
        memcpy(f->root, layer, HASH_LEN);
    f->layer = pieces > 1 ? layer : NULL;
    free(buf);
    if (pieces <= 1)
        free(layer);
}

static inline void share_make(struct share *s, const char *name, bool single,
                              struct manifest_file *files, uint32_t count)
{
    snprintf(s->dir, sizeof(s->dir), "/tmp/test_store.XXXXXX");
    cr_assert_not_null(mkdtemp(s->dir));
    snprintf(s->dest, sizeof(s->dest), "%s/dest", s->dir);
    cr_assert_eq(mkdir(s->dest, 0755), 0);
    for (uint32_t i = 0; i < count; i++)
        file_hash(&files[i]);
    cr_assert_eq(manifest_build(sha256, name, single, PIECE, files, count, &s->m), 0);
    cr_assert_eq(layout_new(s->m, &s->l), 0);
    s->files = count;
    for (uint32_t i = 0; i < count; i++)
        free((void *)files[i].layer);
}

static inline void tree_remove(const char *path)
{
    char cmd[200];

    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", path);
    cr_assert_eq(system(cmd), 0);
}

static inline void share_end(struct share *s)
{
    layout_free(s->l);
    manifest_free(s->m);
    tree_remove(s->dir);
}

/* A folder with a big file, empty ones, an executable, a deep one, small ones. */
static inline void folder_make(struct share *s)
{
    struct manifest_file f[] = {
        {.path = "big.bin", .bytes = 5 * PIECE + 1234},
        {.path = "bin/tool", .bytes = 3000, .exec = true},
        {.path = "empty", .bytes = 0},
        {.path = "a/b/c/deep.txt", .bytes = 1},
        {.path = "a/b/empty2", .bytes = 0},
        {.path = "small1", .bytes = 10000},
        {.path = "small2", .bytes = 20000},
        {.path = "small3", .bytes = LEAF},
        {.path = "exact", .bytes = PIECE},
        {.path = "over", .bytes = PIECE + 1},
        {.path = "under", .bytes = PIECE - 1},
    };

    share_make(s, "talk", false, f, sizeof(f) / sizeof(f[0]));
}

static inline struct store_cfg cfg_of(const struct share *s)
{
    return (struct store_cfg){.manifest = s->m,
                              .layout = s->l,
                              .hash = sha256,
                              .hash_many = sha256_many,
                              .dest = s->dest,
                              .boot_mark = 1,
                              .reserve_bytes = 0};
}

static inline struct store *open_ok(const struct share *s)
{
    struct store_cfg cfg = cfg_of(s);
    struct store *st;

    cr_assert_eq(store_open_receive(&cfg, &st), 0);
    return st;
}

static inline struct store *folder_open(struct share *s)
{
    folder_make(s);
    return open_ok(s);
}

static inline void chunk_fill(const struct share *s, uint32_t chunk, uint8_t *out)
{
    struct layout_iter it;
    struct layout_seg seg;

    layout_iter_begin(s->l, chunk, &it);
    while (layout_iter_next(&it, &seg)) {
        struct manifest_file f;

        manifest_file_at(s->m, seg.file, &f);
        fill(out, seed_of(f.path), seg.offset_bytes, seg.len_bytes);
        out += seg.len_bytes;
    }
}

static inline int chunk_write(const struct share *s, struct store *st, uint32_t chunk)
{
    uint8_t *buf = malloc(PIECE);
    int err;

    chunk_fill(s, chunk, buf);
    err = store_write(st, chunk, buf, layout_chunk_bytes(s->l, chunk));
    free(buf);
    return err;
}

static inline void write_missing(const struct share *s, struct store *st)
{
    for (uint32_t c = 0; c < layout_chunks(s->l); c++)
        if (!chunkmap_has(store_have(st), c))
            cr_assert_eq(chunk_write(s, st, c), 0);
}

/* What was written is all of it, and becomes durable. */
static inline void finish(struct store *st)
{
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
}

static inline void finish_missing(const struct share *s, struct store *st)
{
    write_missing(s, st);
    finish(st);
}

static inline void chunk_expect(const struct share *s, struct store *st, uint32_t chunk)
{
    uint8_t want[PIECE], got[PIECE];
    uint32_t len = layout_chunk_bytes(s->l, chunk);

    chunk_fill(s, chunk, want);
    cr_assert_eq(store_read(st, chunk, 0, got, len), 0);
    cr_assert_eq(memcmp(want, got, len), 0, "chunk %u", chunk);
    cr_assert_eq(store_read(st, chunk, len / 3, got, len - len / 3), 0);
    cr_assert_eq(memcmp(want + len / 3, got, len - len / 3), 0);
}

static inline void chunks_expect(const struct share *s, struct store *st)
{
    for (uint32_t c = 0; c < layout_chunks(s->l); c++)
        chunk_expect(s, st, c);
}

/* dest/NAME/PATH holds exactly what the manifest's file of that path does. */
static inline void file_expect(const struct share *s, const char *below, const char *path,
                               uint64_t bytes, mode_t mode)
{
    char full[600];
    struct stat st;
    uint8_t *got, *want;
    int fd;

    snprintf(full, sizeof(full), "%s/%s", s->dest, below);
    cr_assert_eq(lstat(full, &st), 0, "%s", full);
    cr_assert(S_ISREG(st.st_mode));
    cr_assert_eq(st.st_size, (off_t)bytes, "%s", full);
    cr_assert_eq(st.st_mode & 07777, mode, "%s: %o", full, st.st_mode);
    got = malloc(bytes + 1);
    want = malloc(bytes + 1);
    fd = open(full, O_RDONLY);
    cr_assert_eq(read(fd, got, bytes + 1), (ssize_t)bytes);
    close(fd);
    fill(want, seed_of(path), 0, bytes);
    cr_assert_eq(memcmp(got, want, bytes), 0, "%s", full);
    free(got);
    free(want);
}

static inline mode_t umask_now(void)
{
    mode_t m = umask(0);

    umask(m);
    return m;
}

static inline void folder_expect(const struct share *s, const char *root)
{
    for (uint32_t i = 0; i < s->files; i++) {
        struct manifest_file f;
        char below[400];

        manifest_file_at(s->m, i, &f);
        snprintf(below, sizeof(below), "%s/%s", root, f.path);
        file_expect(s, below, f.path, f.bytes, (f.exec ? 0777 : 0666) & ~umask_now());
    }
}

static inline void file_put(const char *dir, const char *name, const void *data, size_t len)
{
    char full[600];
    FILE *f;

    snprintf(full, sizeof(full), "%s/%s", dir, name);
    f = fopen(full, "w");
    cr_assert_not_null(f, "%s", full);
    cr_assert_eq(fwrite(data, 1, len, f), len);
    fclose(f);
}

/* Entries of a folder, hidden ones included. */
static inline int dir_entries(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static inline int dest_entries(const struct share *s)
{
    return dir_entries(s->dest);
}

static inline uint32_t file_index(const struct share *s, const char *path)
{
    for (uint32_t i = 0; i < s->files; i++) {
        struct manifest_file f;

        manifest_file_at(s->m, i, &f);
        if (strcmp(f.path, path) == 0)
            return i;
    }
    cr_assert_fail("no %s", path);
    return 0;
}

static inline void stage_path(const struct share *s, const char *entry, char out[300])
{
    const uint8_t *id = manifest_id(s->m);

    snprintf(out, 300, "%s/.%s-%02x%02x%02x%02x/%s", s->dest, manifest_name(s->m), id[0], id[1],
             id[2], id[3], entry);
}

/* Where a file of the share is until it has its name. */
static inline void staged_path(const struct share *s, const char *path, char out[300])
{
    char entry[16];

    snprintf(entry, sizeof(entry), "%u", file_index(s, path));
    stage_path(s, entry, out);
}

static inline int verify_count(struct store *st, const char **first)
{
    return store_verify(st, NULL, NULL, first);
}

static inline void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    uint8_t b;

    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(pread(fd, &b, 1, at), 1);
    b ^= 0x10;
    cr_assert_eq(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

#endif
