/* The store: what was written is there after any end, finished files are whole,
 * and nothing of the user's is touched. pwrite() and fdatasync() are wrapped
 * here, so that a test can fail or end them at the n-th call. */
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

static void call_count(void)
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

static bool sync_fails(void)
{
    call_count();
    if (atomic_load(&fsync_fails) <= 0 || atomic_fetch_sub(&fsync_skip, 1) > 0)
        return false;
    atomic_fetch_sub(&fsync_fails, 1);
    errno = EIO;
    return true;
}

int fdatasync(int fd)
{
    return sync_fails() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return sync_fails() ? -1 : (int)syscall(SYS_fsync, fd);
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
static uint8_t content(uint32_t seed, uint64_t at)
{
    uint64_t x = (at / 8 + 1) * 0x9e3779b97f4a7c15ULL + seed * 0xbf58476d1ce4e5b9ULL;

    x ^= x >> 29;
    return (uint8_t)(x >> (at % 8 * 8));
}

static uint32_t seed_of(const char *path)
{
    uint32_t h = 2166136261u;

    for (; *path; path++)
        h = (h ^ (uint8_t)*path) * 16777619u;
    return h;
}

static void fill(uint8_t *out, uint32_t seed, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = content(seed, at + i);
}

static void piece_root(const uint8_t *data, size_t len, uint64_t width, uint8_t out[HASH_LEN])
{
    struct merkle t;

    merkle_begin(&t, sha256);
    for (size_t i = 0; i < len; i += LEAF)
        merkle_add_block(&t, data + i, (uint32_t)(len - i < LEAF ? len - i : LEAF));
    merkle_end(&t, width, NULL, out);
}

static void file_hash(struct manifest_file *f)
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

static void share_make(struct share *s, const char *name, bool single, struct manifest_file *files,
                       uint32_t count)
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

static void tree_remove(const char *path)
{
    char cmd[200];

    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", path);
    cr_assert_eq(system(cmd), 0);
}

static void share_end(struct share *s)
{
    layout_free(s->l);
    manifest_free(s->m);
    tree_remove(s->dir);
}

/* A folder with a big file, empty ones, an executable, a deep one, small ones. */
static void folder_make(struct share *s)
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

static struct store_cfg cfg_of(const struct share *s)
{
    return (struct store_cfg){.manifest = s->m,
                              .layout = s->l,
                              .hash = sha256,
                              .dest = s->dest,
                              .boot_mark = 1,
                              .reserve_bytes = 0};
}

static struct store *open_ok(const struct share *s)
{
    struct store_cfg cfg = cfg_of(s);
    struct store *st;

    cr_assert_eq(store_open_receive(&cfg, &st), 0);
    return st;
}

static void chunk_fill(const struct share *s, uint32_t chunk, uint8_t *out)
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

static int chunk_write(const struct share *s, struct store *st, uint32_t chunk)
{
    uint8_t *buf = malloc(PIECE);
    int err;

    chunk_fill(s, chunk, buf);
    err = store_write(st, chunk, buf, layout_chunk_bytes(s->l, chunk));
    free(buf);
    return err;
}

static void write_missing(const struct share *s, struct store *st)
{
    for (uint32_t c = 0; c < layout_chunks(s->l); c++)
        if (!chunkmap_has(store_have(st), c))
            cr_assert_eq(chunk_write(s, st, c), 0);
}

static void chunk_expect(const struct share *s, struct store *st, uint32_t chunk)
{
    uint8_t want[PIECE], got[PIECE];
    uint32_t len = layout_chunk_bytes(s->l, chunk);

    chunk_fill(s, chunk, want);
    cr_assert_eq(store_read(st, chunk, 0, got, len), 0);
    cr_assert_eq(memcmp(want, got, len), 0, "chunk %u", chunk);
    cr_assert_eq(store_read(st, chunk, len / 3, got, len - len / 3), 0);
    cr_assert_eq(memcmp(want + len / 3, got, len - len / 3), 0);
}

/* dest/NAME/PATH holds exactly what the manifest's file of that path does. */
static void file_expect(const struct share *s, const char *below, const char *path, uint64_t bytes,
                        mode_t mode)
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

static mode_t umask_now(void)
{
    mode_t m = umask(0);

    umask(m);
    return m;
}

static void folder_expect(const struct share *s, const char *root)
{
    for (uint32_t i = 0; i < s->files; i++) {
        struct manifest_file f;
        char below[400];

        manifest_file_at(s->m, i, &f);
        snprintf(below, sizeof(below), "%s/%s", root, f.path);
        file_expect(s, below, f.path, f.bytes, (f.exec ? 0777 : 0666) & ~umask_now());
    }
}

static void file_put(const char *dir, const char *name, const void *data, size_t len)
{
    char full[600];
    FILE *f;

    snprintf(full, sizeof(full), "%s/%s", dir, name);
    f = fopen(full, "w");
    cr_assert_not_null(f, "%s", full);
    cr_assert_eq(fwrite(data, 1, len, f), len);
    fclose(f);
}

/* Entries of dest, hidden ones included. */
static int dest_entries(const struct share *s)
{
    DIR *d = opendir(s->dest);
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void stage_path(const struct share *s, const char *entry, char out[300])
{
    const uint8_t *id = manifest_id(s->m);

    snprintf(out, 300, "%s/.%s-%02x%02x%02x%02x/%s", s->dest, manifest_name(s->m), id[0], id[1],
             id[2], id[3], entry);
}

static int verify_count(struct store *st, const char **first)
{
    return store_verify(st, NULL, NULL, first);
}

/* ---- the plain way ---- */

Test(store, folder_from_nothing_to_done)
{
    struct share s;
    struct store *st;
    const char *first;
    char path[200];

    folder_make(&s);
    st = open_ok(&s);
    cr_assert_eq(store_have(st)->count, 0);
    cr_assert_not(store_done(st));
    cr_assert_str_eq(store_final_name(st), "talk");
    snprintf(path, sizeof(path), "%s/talk", s.dest);
    cr_assert_str_eq(store_path(st), path);
    for (uint32_t c = 0; c < layout_chunks(s.l); c++) {
        cr_assert_eq(chunk_write(&s, st, c), 0);
        chunk_expect(&s, st, c);
    }
    cr_assert(store_sync_due(st, 0));
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    cr_assert_not(store_sync_due(st, UINT64_MAX));
    cr_assert_eq(store_files_done(st), s.files);
    for (uint32_t c = 0; c < layout_chunks(s.l); c++)
        chunk_expect(&s, st, c);
    cr_assert_eq(verify_count(st, &first), 0);
    cr_assert_null(first);
    store_close(st);
    folder_expect(&s, "talk");
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

Test(store, sizes_around_leaf_and_chunk_single)
{
    static const uint64_t sizes[] = {
        0,     1,         LEAF - 1,      LEAF,      LEAF + 1,      PIECE - 1,
        PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, 3 * PIECE + LEAF};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct manifest_file f = {.path = "one.iso", .bytes = sizes[i]};
        struct share s;
        struct store *st;
        const char *first;

        share_make(&s, "one.iso", true, &f, 1);
        st = open_ok(&s);
        write_missing(&s, st);
        cr_assert_eq(store_sync(st), 0);
        cr_assert(store_done(st));
        cr_assert_eq(verify_count(st, &first), 0);
        store_close(st);
        file_expect(&s, "one.iso", "one.iso", sizes[i], 0666 & ~umask_now());
        cr_assert_eq(dest_entries(&s), 1);
        share_end(&s);
    }
}

Test(store, files_appear_one_by_one_each_whole)
{
    struct share s;
    struct store *st;

    folder_make(&s);
    st = open_ok(&s);
    cr_assert(store_sync_due(st, 0), "empty files wait");
    cr_assert_eq(store_sync(st), 0);
    cr_assert_eq(store_files_done(st), 2);
    file_expect(&s, "talk/empty", "empty", 0, 0666 & ~umask_now());
    for (uint32_t c = 0; c < layout_chunks(s.l); c++) {
        uint32_t before = store_files_done(st);

        cr_assert_eq(chunk_write(&s, st, c), 0);
        cr_assert_eq(store_files_done(st), before);
        cr_assert_eq(store_sync(st), 0);
    }
    cr_assert(store_done(st));
    store_close(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

Test(store, wrong_arguments)
{
    struct share s;
    struct store *st;
    uint8_t buf[PIECE] = {0};

    folder_make(&s);
    st = open_ok(&s);
    cr_assert_eq(store_write(st, layout_chunks(s.l), buf, PIECE), -EINVAL);
    cr_assert_eq(store_write(st, 0, buf, layout_chunk_bytes(s.l, 0) + 1), -EINVAL);
    cr_assert_eq(store_read(st, 0, 0, buf, 1), ERR_NOT_FOUND);
    cr_assert_eq(chunk_write(&s, st, 0), 0);
    cr_assert_eq(store_read(st, 0, PIECE + 1, buf, 1), -EINVAL);
    cr_assert_eq(store_read(st, 0, 0, buf, PIECE + 1), -EINVAL);
    cr_assert_eq(chunk_write(&s, st, 0), 0, "a second time is no fault");
    store_close(st);
    share_end(&s);
}

Test(store, cached_reads)
{
    struct share s;
    struct store *st;
    uint8_t want[PIECE], got[PIECE];
    int err;

    folder_make(&s);
    st = open_ok(&s);
    cr_assert_eq(chunk_write(&s, st, 0), 0);
    chunk_fill(&s, 0, want);
    err = store_read_cached(st, 0, 0, got, layout_chunk_bytes(s.l, 0));
    cr_assert(err == 0 || err == -EAGAIN);
    if (err == 0)
        cr_assert_eq(memcmp(want, got, layout_chunk_bytes(s.l, 0)), 0);
    store_close(st);
    share_end(&s);
}

Test(store, without_nowait_every_read_is_a_workers)
{
    struct share s;
    struct store *st;
    uint8_t byte;

    folder_make(&s);
    st = open_ok(&s);
    cr_assert_eq(chunk_write(&s, st, 0), 0);
    nowait_unknown = true;
    cr_assert_eq(store_read_cached(st, 0, 0, &byte, 1), -EAGAIN);
    chunk_expect(&s, st, 0);
    cr_assert_eq(store_read_cached(st, 0, 0, &byte, 1), -EAGAIN);
    nowait_unknown = false;
    store_close(st);
    share_end(&s);
}

Test(store, no_destination_is_an_error_and_makes_nothing)
{
    struct share s;
    struct store_cfg cfg;
    struct store *st;

    folder_make(&s);
    cfg = cfg_of(&s);
    cfg.dest = "/nonexistent/ronda";
    cr_assert_eq(store_open_receive(&cfg, &st), -ENOENT);
    cr_assert_null(st);
    share_end(&s);
}

/* ---- resuming ---- */

Test(store, closed_after_every_chunk_goes_on)
{
    struct share s;

    folder_make(&s);
    for (uint32_t c = 0; c < layout_chunks(s.l); c++) {
        struct store *st = open_ok(&s);

        cr_assert_eq(store_have(st)->count, c);
        for (uint32_t d = 0; d < c; d++)
            chunk_expect(&s, st, d);
        cr_assert_eq(chunk_write(&s, st, c), 0);
        if (c % 2)
            cr_assert_eq(store_sync(st), 0);
        store_close(st);
    }
    struct store *st = open_ok(&s);
    cr_assert(chunkmap_full(store_have(st)));
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
    folder_expect(&s, "talk");
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

Test(store, after_a_reboot_only_what_was_synced_counts)
{
    struct share s;
    struct store_cfg cfg;
    struct store *st;

    folder_make(&s);
    st = open_ok(&s);
    cr_assert_eq(chunk_write(&s, st, 0), 0);
    cr_assert_eq(chunk_write(&s, st, 1), 0);
    cr_assert_eq(store_sync(st), 0);
    cr_assert_eq(chunk_write(&s, st, 2), 0);
    store_close(st);
    cfg = cfg_of(&s);
    cfg.boot_mark = 2;
    cr_assert_eq(store_open_receive(&cfg, &st), 0);
    cr_assert(chunkmap_has(store_have(st), 0));
    cr_assert(chunkmap_has(store_have(st), 1));
    cr_assert_not(chunkmap_has(store_have(st), 2));
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

/* What the child had done when it was ended: opens again, and again, until the
 * share is done. Each end comes one call later than the one before. */
static int run_until_killed(const struct share *s, int calls)
{
    pid_t pid = fork();
    int status;

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct store_cfg cfg = cfg_of(s);
        struct store *st;

        atomic_store(&writes_left, calls);
        if (store_open_receive(&cfg, &st) != 0)
            _exit(1);
        for (uint32_t c = 0; c < layout_chunks(s->l); c++) {
            if (!chunkmap_has(store_have(st), c) && chunk_write(s, st, c) != 0)
                _exit(2);
            if (c % 3 == 2 && store_sync(st) != 0)
                _exit(3);
        }
        if (store_sync(st) != 0)
            _exit(4);
        _exit(store_done(st) ? 0 : 5);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* No final name may hold anything but the whole file. */
static void finished_files_expect_whole(const struct share *s)
{
    for (uint32_t i = 0; i < s->files; i++) {
        struct manifest_file f;
        char below[400], full[600];

        manifest_file_at(s->m, i, &f);
        snprintf(below, sizeof(below), "talk/%s", f.path);
        snprintf(full, sizeof(full), "%s/%s", s->dest, below);
        if (access(full, F_OK) == 0)
            file_expect(s, below, f.path, f.bytes, (f.exec ? 0777 : 0666) & ~umask_now());
    }
}

Test(store, killed_at_every_call_and_resumed, .timeout = 120)
{
    int calls, code = KILL_CODE;

    for (calls = 0; code == KILL_CODE && calls < KILL_TRIES_MAX; calls++) {
        struct share s;
        struct store *st;

        folder_make(&s);
        code = run_until_killed(&s, calls);
        cr_assert(code == KILL_CODE || code == 0, "code %d at call %d", code, calls);
        finished_files_expect_whole(&s);
        st = open_ok(&s);
        write_missing(&s, st);
        cr_assert_eq(store_sync(st), 0);
        cr_assert(store_done(st));
        store_close(st);
        folder_expect(&s, "talk");
        cr_assert_eq(dest_entries(&s), 1, "at call %d", calls);
        share_end(&s);
    }
    cr_assert_eq(code, 0, "never got to the end");
    cr_assert_gt(calls, 20);
}

Test(store, killed_again_and_again_still_ends, .timeout = 120)
{
    struct share s;
    int code = KILL_CODE, tries = 0;

    folder_make(&s);
    while (code == KILL_CODE && tries++ < KILL_TRIES_MAX) {
        code = run_until_killed(&s, 9);
        finished_files_expect_whole(&s);
    }
    cr_assert_eq(code, 0);
    folder_expect(&s, "talk");
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    uint8_t b;

    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(pread(fd, &b, 1, at), 1);
    b ^= 0x10;
    cr_assert_eq(pwrite(fd, &b, 1, at), 1);
    close(fd);
}

static uint32_t file_index(const struct share *s, const char *path)
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

Test(store, a_flipped_bit_costs_one_chunk)
{
    struct share s;
    struct store *st;
    char path[300], entry[16];
    uint32_t first, last, big;

    folder_make(&s);
    st = open_ok(&s);
    big = file_index(&s, "big.bin");
    cr_assert(layout_file_chunks(s.l, big, &first, &last));
    for (uint32_t c = first; c < last; c++)
        cr_assert_eq(chunk_write(&s, st, c), 0);
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    snprintf(entry, sizeof(entry), "%u", big);
    stage_path(&s, entry, path);
    flip(path, 2 * PIECE + 77);
    st = open_ok(&s);
    cr_assert_eq(store_have(st)->count, last - first - 1);
    cr_assert_not(chunkmap_has(store_have(st), first + 2));
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

/* In the middle (damage: all is verified by SHA-256), in the header, gone. */
Test(store, a_damaged_journal_costs_nothing_that_is_right)
{
    for (int way = 0; way < 3; way++) {
        struct share s;
        struct store *st;
        char journal[300], part[300], entry[16];
        uint32_t first, last, big;

        folder_make(&s);
        st = open_ok(&s);
        big = file_index(&s, "big.bin");
        cr_assert(layout_file_chunks(s.l, big, &first, &last));
        for (uint32_t c = 0; c + 1 < layout_chunks(s.l); c++)
            cr_assert_eq(chunk_write(&s, st, c), 0);
        store_close(st);
        stage_path(&s, "journal", journal);
        snprintf(entry, sizeof(entry), "%u", big);
        stage_path(&s, entry, part);
        if (way == 2)
            cr_assert_eq(unlink(journal), 0);
        else
            flip(journal, way ? 3 : JOURNAL_HEAD_BYTES + 30);
        flip(part, 5);
        st = open_ok(&s);
        cr_assert_eq(store_have(st)->count, layout_chunks(s.l) - 2, "way %d", way);
        cr_assert_not(chunkmap_has(store_have(st), first));
        write_missing(&s, st);
        cr_assert_eq(store_sync(st), 0);
        store_close(st);
        folder_expect(&s, "talk");
        share_end(&s);
    }
}

Test(store, two_stores_on_one_staging_directory)
{
    struct share s;
    struct store *st, *other;
    struct store_cfg cfg;

    folder_make(&s);
    st = open_ok(&s);
    cfg = cfg_of(&s);
    cr_assert_eq(store_open_receive(&cfg, &other), -EBUSY);
    cr_assert_null(other);
    store_close(st);
    st = open_ok(&s);
    store_close(st);
    share_end(&s);
}

Test(store, discard_leaves_only_what_was_finished)
{
    struct share s;
    struct store *st;

    folder_make(&s);
    st = open_ok(&s);
    cr_assert_eq(store_sync(st), 0);
    cr_assert_eq(chunk_write(&s, st, 0), 0);
    cr_assert_eq(dest_entries(&s), 2);
    cr_assert_eq(store_discard(st), 0);
    store_close(st);
    cr_assert_eq(dest_entries(&s), 1);
    file_expect(&s, "talk/empty", "empty", 0, 0666 & ~umask_now());
    share_end(&s);
}

Test(store, a_foreign_file_in_the_staging_directory_stays)
{
    struct share s;
    struct store *st;
    char stage[300], foreign[300];

    folder_make(&s);
    st = open_ok(&s);
    stage_path(&s, "", stage);
    file_put(stage, "notes.txt", "mine", 4);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    folder_expect(&s, "talk");
    stage_path(&s, "notes.txt", foreign);
    cr_assert_eq(access(foreign, F_OK), 0);
    stage_path(&s, "journal", foreign);
    cr_assert_eq(access(foreign, F_OK), -1, "ours is gone");
    st = open_ok(&s);
    cr_assert(store_done(st), "and at the next open");
    store_close(st);
    share_end(&s);
}

Test(store, discard_leaves_a_foreign_file)
{
    struct share s;
    struct store *st;
    char path[300];

    folder_make(&s);
    st = open_ok(&s);
    stage_path(&s, "", path);
    file_put(path, "notes.txt", "mine", 4);
    cr_assert_eq(chunk_write(&s, st, 0), 0);
    cr_assert_eq(store_discard(st), 0);
    store_close(st);
    stage_path(&s, "notes.txt", path);
    cr_assert_eq(access(path, F_OK), 0);
    stage_path(&s, "0", path);
    cr_assert_eq(access(path, F_OK), -1);
    share_end(&s);
}

/* ---- what stands there already ---- */

Test(store, what_is_there_already_is_not_fetched)
{
    struct share s;
    struct store *st;
    uint32_t chunks;

    folder_make(&s);
    st = open_ok(&s);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    st = open_ok(&s);
    cr_assert(store_done(st));
    cr_assert_str_eq(store_final_name(st), "talk");
    chunks = layout_chunks(s.l);
    cr_assert_eq(store_have(st)->count, chunks);
    store_close(st);
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

Test(store, single_file_identical_and_different)
{
    struct manifest_file f = {.path = "one.tar.gz", .bytes = 2 * PIECE + 5};
    struct share s;
    struct store *st;

    share_make(&s, "one.tar.gz", true, &f, 1);
    file_put(s.dest, "one.tar.gz", "mine", 4);
    st = open_ok(&s);
    cr_assert_str_eq(store_final_name(st), "one.tar (2).gz");
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    file_expect(&s, "one.tar (2).gz", "one.tar.gz", f.bytes, 0666 & ~umask_now());
    st = open_ok(&s);
    cr_assert(store_done(st));
    cr_assert_str_eq(store_final_name(st), "one.tar (2).gz");
    store_close(st);
    cr_assert_eq(dest_entries(&s), 2);
    share_end(&s);
}

Test(store, the_name_is_taken_while_it_is_fetched)
{
    struct manifest_file f = {.path = "one.iso", .bytes = PIECE};
    struct share s;
    struct store *st;
    char mine[5] = {0}, path[200];
    FILE *fp;

    share_make(&s, "one.iso", true, &f, 1);
    st = open_ok(&s);
    cr_assert_str_eq(store_final_name(st), "one.iso");
    file_put(s.dest, "one.iso", "mine", 4);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert_str_eq(store_final_name(st), "one (2).iso");
    chunk_expect(&s, st, 0);
    store_close(st);
    snprintf(path, sizeof(path), "%s/one.iso", s.dest);
    fp = fopen(path, "r");
    cr_assert_eq(fread(mine, 1, 4, fp), 4);
    fclose(fp);
    cr_assert_str_eq(mine, "mine");
    file_expect(&s, "one (2).iso", "one.iso", PIECE, 0666 & ~umask_now());
    share_end(&s);
}

Test(store, files_of_the_user_in_a_folder_stay)
{
    struct share s;
    struct store *st;
    char talk[100], path[300];
    struct stat sb;

    folder_make(&s);
    snprintf(talk, sizeof(talk), "%s/talk", s.dest);
    cr_assert_eq(mkdir(talk, 0755), 0);
    file_put(talk, "small1", "mine", 4);
    file_put(talk, "own", "mine", 4);
    file_put(talk, "a", "not a folder", 12);
    st = open_ok(&s);
    cr_assert_str_eq(store_final_name(st), "talk");
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    for (uint32_t c = 0; c < layout_chunks(s.l); c++)
        chunk_expect(&s, st, c);
    store_close(st);
    snprintf(path, sizeof(path), "%s/small1", talk);
    cr_assert_eq(stat(path, &sb), 0);
    cr_assert_eq(sb.st_size, 4);
    file_expect(&s, "talk/small1 (2)", "small1", 10000, 0666 & ~umask_now());
    file_expect(&s, "talk/a (2)/b/c/deep.txt", "a/b/c/deep.txt", 1, 0666 & ~umask_now());
    st = open_ok(&s);
    cr_assert(store_done(st), "found under their other names");
    store_close(st);
    share_end(&s);
}

Test(store, a_file_where_the_folder_should_be)
{
    struct share s;
    struct store *st;

    folder_make(&s);
    file_put(s.dest, "talk", "mine", 4);
    st = open_ok(&s);
    cr_assert_str_eq(store_final_name(st), "talk (2)");
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    folder_expect(&s, "talk (2)");
    cr_assert_eq(dest_entries(&s), 2);
    share_end(&s);
}

static void symlink_put(const char *dir, const char *name, const char *target)
{
    char full[300];

    snprintf(full, sizeof(full), "%s/%s", dir, name);
    cr_assert_eq(symlink(target, full), 0);
}

Test(store, planted_symlinks_are_not_followed)
{
    struct share s;
    struct store *st;
    char outside[100], talk[100];
    DIR *d;
    int n = 0;

    folder_make(&s);
    snprintf(outside, sizeof(outside), "%s/outside", s.dir);
    cr_assert_eq(mkdir(outside, 0755), 0);
    symlink_put(s.dest, "talk", outside);
    st = open_ok(&s);
    cr_assert_str_eq(store_final_name(st), "talk (2)");
    cr_assert_eq(store_discard(st), 0);
    store_close(st);

    snprintf(talk, sizeof(talk), "%s/talk", s.dest);
    cr_assert_eq(unlink(talk), 0);
    cr_assert_eq(mkdir(talk, 0755), 0);
    symlink_put(talk, "a", outside);
    symlink_put(talk, "small2", "../../outside/victim");
    st = open_ok(&s);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
    file_expect(&s, "talk/a (2)/b/c/deep.txt", "a/b/c/deep.txt", 1, 0666 & ~umask_now());
    file_expect(&s, "talk/small2 (2)", "small2", 20000, 0666 & ~umask_now());
    d = opendir(outside);
    while (readdir(d))
        n++;
    closedir(d);
    cr_assert_eq(n, 2, "nothing was made outside");
    share_end(&s);
}

Test(store, a_staging_directory_that_is_a_symlink_is_refused)
{
    struct share s;
    struct store_cfg cfg;
    struct store *st;
    char path[300];

    folder_make(&s);
    stage_path(&s, "", path);
    path[strlen(path) - 1] = '\0';
    cr_assert_eq(symlink(s.dir, path), 0);
    cfg = cfg_of(&s);
    cr_assert_lt(store_open_receive(&cfg, &st), 0);
    cr_assert_null(st);
    share_end(&s);
}

Test(store, names_that_become_the_same_on_disk)
{
    struct manifest_file f[] = {{.path = "x\x01.txt", .bytes = 100},
                                {.path = "x\x02.txt", .bytes = 200},
                                {.path = "x_.txt", .bytes = 300},
                                {.path = "d\x01/y", .bytes = 400},
                                {.path = "d\x02/y", .bytes = 500}};
    static const char *const names[] = {"x_.txt", "x_ (2).txt", "x_ (3).txt"};
    struct share s;
    struct store *st;
    off_t sum = 0;

    share_make(&s, "talk", false, f, 5);
    st = open_ok(&s);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    for (uint32_t c = 0; c < layout_chunks(s.l); c++)
        chunk_expect(&s, st, c);
    store_close(st);
    for (int i = 0; i < 3; i++) {
        char full[300];
        struct stat sb;

        snprintf(full, sizeof(full), "%s/talk/%s", s.dest, names[i]);
        cr_assert_eq(stat(full, &sb), 0, "%s", full);
        sum += sb.st_size;
    }
    cr_assert_eq(sum, 600);
    file_expect(&s, "talk/d_/y", "d\x01/y", 400, 0666 & ~umask_now());
    file_expect(&s, "talk/d_/y (2)", "d\x02/y", 500, 0666 & ~umask_now());
    st = open_ok(&s);
    cr_assert(store_done(st));
    store_close(st);
    share_end(&s);
}

/* ---- modes ---- */

Test(store, modes_follow_the_umask)
{
    static const mode_t masks[] = {0, 022, 077, 027};

    for (size_t i = 0; i < 4; i++) {
        struct share s;
        struct store *st;
        mode_t old = umask(masks[i]);

        folder_make(&s);
        st = open_ok(&s);
        write_missing(&s, st);
        cr_assert_eq(store_sync(st), 0);
        store_close(st);
        folder_expect(&s, "talk");
        umask(old);
        share_end(&s);
    }
}

/* ---- many files ---- */

Test(store, bundles_of_small_files, .timeout = 60)
{
    static struct manifest_file f[FILES_MAX];
    static char path[FILES_MAX][32];
    struct share s;
    struct store *st;
    char fds[32];
    DIR *d;
    int n = 0;

    for (uint32_t i = 0; i < FILES_MAX; i++) {
        snprintf(path[i], sizeof(path[i]), "d%u/f%u", i / 50, i);
        f[i] = (struct manifest_file){.path = path[i], .bytes = i * 37 % 9000};
    }
    share_make(&s, "talk", false, f, FILES_MAX);
    st = open_ok(&s);
    write_missing(&s, st);
    snprintf(fds, sizeof(fds), "/proc/self/fd");
    d = opendir(fds);
    while (readdir(d))
        n++;
    closedir(d);
    cr_assert_lt(n, STORE_FDS_MAX + 16);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    for (uint32_t c = 0; c < layout_chunks(s.l); c++)
        chunk_expect(&s, st, c);
    store_close(st);
    folder_expect(&s, "talk");
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

/* ---- failing syncs ---- */

Test(store, a_failed_sync_is_verified_from_disk_then_tried_once)
{
    struct share s;
    struct store *st;

    folder_make(&s);
    st = open_ok(&s);
    write_missing(&s, st);
    atomic_store(&fsync_fails, 1);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

Test(store, two_failed_syncs_in_a_row_are_an_error)
{
    struct share s;
    struct store *st;

    folder_make(&s);
    st = open_ok(&s);
    write_missing(&s, st);
    atomic_store(&fsync_fails, 2);
    cr_assert_eq(store_sync(st), -EIO);
    cr_assert_eq(store_files_done(st), 0);
    cr_assert_not(store_done(st));
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

Test(store, what_a_failed_sync_lost_is_no_longer_held)
{
    struct share s;
    struct store *st;
    char path[300], entry[16];
    uint32_t first, last, big;

    folder_make(&s);
    st = open_ok(&s);
    big = file_index(&s, "big.bin");
    cr_assert(layout_file_chunks(s.l, big, &first, &last));
    write_missing(&s, st);
    snprintf(entry, sizeof(entry), "%u", big);
    stage_path(&s, entry, path);
    flip(path, PIECE + 3);
    atomic_store(&fsync_fails, 1);
    cr_assert_eq(store_sync(st), -EIO);
    cr_assert_not(chunkmap_has(store_have(st), first + 1));
    cr_assert_eq(store_have(st)->count, layout_chunks(s.l) - 1);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

/* Whichever sync fails, the open or the sync says so or gets over it, and the
 * next try ends well. */
Test(store, each_sync_may_fail_once, .timeout = 120)
{
    int n;

    for (n = 0; atomic_load(&fsync_fails) == 0 && n < KILL_TRIES_MAX; n++) {
        struct share s;
        struct store_cfg cfg;
        struct store *st;
        int err;

        folder_make(&s);
        cfg = cfg_of(&s);
        atomic_store(&fsync_skip, n);
        atomic_store(&fsync_fails, 1);
        err = store_open_receive(&cfg, &st);
        if (err)
            cr_assert_eq(store_open_receive(&cfg, &st), 0, "sync %d", n);
        for (uint32_t c = 0; c < layout_chunks(s.l); c++) {
            cr_assert_eq(chunk_write(&s, st, c), 0);
            if (c % 4 == 3)
                (void)!store_sync(st);
        }
        err = store_sync(st);
        cr_assert(err == 0 || err == -EIO);
        cr_assert_eq(store_sync(st), 0, "sync %d", n);
        cr_assert(store_done(st));
        store_close(st);
        folder_expect(&s, "talk");
        cr_assert_eq(dest_entries(&s), 1);
        share_end(&s);
    }
    cr_assert_gt(n, 10);
    cr_assert_eq(atomic_load(&fsync_fails), 1, "never got to the end");
}

/* ---- space ---- */

Test(store, too_little_room_is_said_at_open)
{
    struct share s;
    struct store_cfg cfg;
    struct store *st;

    folder_make(&s);
    cfg = cfg_of(&s);
    cfg.reserve_bytes = UINT64_MAX - 1;
    cr_assert_eq(store_open_receive(&cfg, &st), -ENOSPC);
    cr_assert_eq(dest_entries(&s), 0);
    share_end(&s);
}

/* A tmpfs in a mount namespace of the test's own process. */
static bool tmpfs_mount(const char *at, const char *options)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return false;
    return mount("tmpfs", at, "tmpfs", 0, options) == 0;
}

Test(store, full_disk_is_no_loss)
{
    struct manifest_file f = {.path = "one.iso", .bytes = 20 * PIECE};
    struct share s;
    struct store *st;
    char *junk = calloc(1, 1 << 20), path[200];
    uint32_t written = 0;
    int err = 0, fd;

    share_make(&s, "one.iso", true, &f, 1);
    if (!tmpfs_mount(s.dest, "size=2m,mode=755")) {
        share_end(&s);
        cr_skip_test("NOT TESTED: a full disk needs the right to mount a tmpfs");
    }
    st = open_ok(&s);
    snprintf(path, sizeof(path), "%s/junk", s.dest);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_gt(write(fd, junk, 1 << 20), 0);
    for (uint32_t c = 0; c < layout_chunks(s.l) && !err; c++) {
        err = chunk_write(&s, st, c);
        written += err == 0;
    }
    cr_assert_eq(err, -ENOSPC);
    cr_assert_gt(written, 4);
    cr_assert_eq(store_have(st)->count, written);
    cr_assert_eq(store_sync(st), 0, "progress is saved on a full disk");
    for (uint32_t c = 0; c < written; c++)
        chunk_expect(&s, st, c);
    cr_assert_eq(ftruncate(fd, 0), 0);
    close(fd);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
    file_expect(&s, "one.iso", "one.iso", f.bytes, 0666 & ~umask_now());
    umount(s.dest);
    free(junk);
    share_end(&s);
}

/* ---- sharing ---- */

static struct store *shared_open(const struct share *s, struct store_stamp *stamps)
{
    struct store_cfg cfg = cfg_of(s);
    struct store *st = open_ok(s), *shared;
    char path[200];

    write_missing(s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert_eq(store_stamps(st, stamps), 0);
    snprintf(path, sizeof(path), "%s", store_path(st));
    store_close(st);
    cr_assert_eq(store_open_shared(&cfg, path, stamps, &shared), 0);
    return shared;
}

Test(store, shared_folder_reads_and_verifies)
{
    struct share s;
    struct store_stamp stamps[16];
    struct store *st;
    const char *first;

    folder_make(&s);
    st = shared_open(&s, stamps);
    cr_assert(chunkmap_full(store_have(st)));
    cr_assert(store_done(st));
    cr_assert_str_eq(store_final_name(st), "talk");
    for (uint32_t c = 0; c < layout_chunks(s.l); c++)
        chunk_expect(&s, st, c);
    cr_assert_eq(verify_count(st, &first), 0);
    cr_assert_eq(chunk_write(&s, st, 0), -EINVAL);
    store_close(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

enum change {
    CHANGE_EDIT,
    CHANGE_TRUNCATE,
    CHANGE_DELETE,
    CHANGE_REPLACE,
    CHANGE_SYMLINK,
    CHANGES
};

static void change_do(enum change how, const char *path, const char *other)
{
    int fd;

    switch (how) {
    case CHANGE_EDIT:
        flip(path, 70000);
        return;
    case CHANGE_TRUNCATE:
        cr_assert_eq(truncate(path, 10), 0);
        return;
    case CHANGE_DELETE:
        cr_assert_eq(unlink(path), 0);
        return;
    case CHANGE_REPLACE:
        fd = open(other, O_WRONLY | O_CREAT, 0600);
        cr_assert_eq(ftruncate(fd, 5 * PIECE + 1234), 0);
        close(fd);
        cr_assert_eq(rename(other, path), 0);
        return;
    case CHANGE_SYMLINK:
        cr_assert_eq(unlink(path), 0);
        cr_assert_eq(symlink("/etc/passwd", path), 0);
        return;
    case CHANGES:
        return;
    }
}

/* Each with the file open in the store, and not. */
Test(store, a_changed_source_is_refused)
{
    for (int i = 0; i < CHANGES * 2; i++) {
        struct share s;
        struct store_stamp stamps[16];
        struct store *st, *again;
        struct store_cfg cfg;
        uint8_t buf[PIECE];
        uint32_t first, last;
        const char *bad;
        char path[200], other[200], root[200];
        int wrong;

        folder_make(&s);
        st = shared_open(&s, stamps);
        snprintf(root, sizeof(root), "%s", store_path(st));
        cr_assert(layout_file_chunks(s.l, file_index(&s, "big.bin"), &first, &last));
        if (i % 2)
            cr_assert_eq(store_read(st, first + 1, 0, buf, PIECE), 0);
        snprintf(path, sizeof(path), "%s/talk/big.bin", s.dest);
        snprintf(other, sizeof(other), "%s/other", s.dir);
        change_do((enum change)(i / 2), path, other);
        cr_assert_eq(store_read(st, first + 1, 0, buf, PIECE), ERR_CHANGED, "change %d", i);
        cr_assert_eq(store_read(st, first + 1, 0, buf, PIECE), ERR_CHANGED, "again %d", i);
        wrong = verify_count(st, &bad);
        cr_assert_gt(wrong, 0, "change %d", i);
        cr_assert_str_eq(bad, "big.bin");
        store_close(st);
        cfg = cfg_of(&s);
        cr_assert_eq(store_open_shared(&cfg, root, stamps, &again), ERR_CHANGED);
        cr_assert_null(again);
        cfg.as_found = true;
        cr_assert_eq(store_open_shared(&cfg, root, stamps, &again), 0, "change %d", i);
        cr_assert_eq(verify_count(again, &bad), wrong, "change %d", i);
        cr_assert_str_eq(bad, "big.bin");
        store_close(again);
        share_end(&s);
    }
}

Test(store, what_was_only_touched_is_found_right)
{
    struct share s;
    struct store_stamp stamps[16];
    struct store *st;
    struct store_cfg cfg;
    const char *bad;
    char root[200], path[200];

    folder_make(&s);
    st = shared_open(&s, stamps);
    snprintf(root, sizeof(root), "%s", store_path(st));
    store_close(st);
    snprintf(path, sizeof(path), "%s/talk/big.bin", s.dest);
    cr_assert_eq(utimensat(AT_FDCWD, path, (struct timespec[2]){{1, 0}, {1, 0}}, 0), 0);
    cfg = cfg_of(&s);
    cr_assert_eq(store_open_shared(&cfg, root, stamps, &st), ERR_CHANGED);
    cfg.as_found = true;
    cr_assert_eq(store_open_shared(&cfg, root, stamps, &st), 0);
    cr_assert_eq(verify_count(st, &bad), 0);
    cr_assert_null(bad);
    store_close(st);
    share_end(&s);
}

Test(store, a_change_during_the_read_is_seen)
{
    struct share s;
    struct store_stamp stamps[16];
    struct store *st;
    uint8_t buf[PIECE];
    uint32_t first, last;
    char path[200];

    folder_make(&s);
    st = shared_open(&s, stamps);
    cr_assert(layout_file_chunks(s.l, file_index(&s, "big.bin"), &first, &last));
    snprintf(path, sizeof(path), "%s/talk/big.bin", s.dest);
    edit_after_read = path;
    cr_assert_eq(store_read(st, first, 0, buf, PIECE), ERR_CHANGED);
    store_close(st);
    share_end(&s);
}

Test(store, a_finished_file_that_is_edited_is_refused)
{
    struct share s;
    struct store *st;
    uint8_t buf[PIECE];
    uint32_t first, last;
    char path[200];

    folder_make(&s);
    st = open_ok(&s);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(layout_file_chunks(s.l, file_index(&s, "big.bin"), &first, &last));
    snprintf(path, sizeof(path), "%s/talk/big.bin", s.dest);
    flip(path, 3);
    cr_assert_eq(store_read(st, first, 0, buf, 100), ERR_CHANGED);
    store_close(st);
    share_end(&s);
}

Test(store, verify_names_the_wrong_file)
{
    struct share s;
    struct store_stamp stamps[16];
    struct store *st;
    const char *bad;
    char path[200];

    folder_make(&s);
    st = shared_open(&s, stamps);
    snprintf(path, sizeof(path), "%s/talk/small2", s.dest);
    flip(path, 19999);
    cr_assert_eq(verify_count(st, &bad), 1);
    cr_assert_str_eq(bad, "small2");
    flip(path, 19999);
    cr_assert_eq(verify_count(st, &bad), 0, "the bytes are what count");
    cr_assert_eq(truncate(path, 20001), 0);
    cr_assert_eq(verify_count(st, &bad), 1);
    store_close(st);
    share_end(&s);
}

static bool stop_at(void *arg, uint64_t done_bytes)
{
    return done_bytes < *(const uint64_t *)arg;
}

Test(store, verify_stops_when_told)
{
    struct share s;
    struct store *st;
    const char *first;
    uint64_t at = 2 * PIECE;

    folder_make(&s);
    st = open_ok(&s);
    write_missing(&s, st);
    cr_assert_eq(store_verify(st, stop_at, &at, &first), ERR_CANCELLED);
    cr_assert_null(first);
    at = UINT64_MAX;
    cr_assert_eq(store_verify(st, stop_at, &at, &first), 0);
    store_close(st);
    share_end(&s);
}

static void stopped_open(struct share *s)
{
    _Atomic bool stop = true;
    struct store_cfg cfg = cfg_of(s);
    struct store *st;

    st = open_ok(s);
    write_missing(s, st);
    store_close(st);
    cfg.stop = &stop;
    cr_assert_eq(store_open_receive(&cfg, &st), ERR_CANCELLED);
    cr_assert_null(st);
    stop = false;
    cr_assert_eq(store_open_receive(&cfg, &st), 0);
    cr_assert(chunkmap_full(store_have(st)), "nothing was lost");
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    store_close(st);
    stop = true;
    cr_assert_eq(store_open_receive(&cfg, &st), ERR_CANCELLED,
                 "while looking at what stands there");
    cr_assert_eq(dest_entries(s), 1);
}

Test(store, an_open_stops_when_told)
{
    struct manifest_file f[] = {{.path = "one.bin", .bytes = 3 * PIECE}};
    struct share s;

    folder_make(&s);
    stopped_open(&s);
    share_end(&s);
    share_make(&s, "one.bin", true, f, 1);
    stopped_open(&s);
    share_end(&s);
}

/* ---- several workers at once ---- */

struct crowd {
    const struct share *s;
    struct store *st;
    bool rewrite; /* the journal at every sync */
    uint32_t end; /* chunks to write */
    atomic_uint next;
    atomic_int failures;
    atomic_bool over;
};

static void *crowd_write(void *arg)
{
    struct crowd *c = arg;
    uint32_t chunk;

    while ((chunk = atomic_fetch_add(&c->next, 1)) < 2 * c->end)
        if (chunk_write(c->s, c->st, chunk / 2) != 0)
            atomic_fetch_add(&c->failures, 1);
    return NULL;
}

static void *crowd_sync(void *arg)
{
    struct crowd *c = arg;

    while (!atomic_load(&c->over)) {
        if (c->rewrite)
            c->st->journal_limit_bytes = 0;
        if (store_sync(c->st) != 0)
            atomic_fetch_add(&c->failures, 1);
    }
    return NULL;
}

static void *crowd_read(void *arg)
{
    struct crowd *c = arg;
    uint8_t want[PIECE], got[PIECE];

    for (uint32_t i = 0; !atomic_load(&c->over); i = (i + 7) % layout_chunks(c->s->l)) {
        uint32_t len = layout_chunk_bytes(c->s->l, i);
        int err =
            i % 2 ? store_read(c->st, i, 0, got, len) : store_read_cached(c->st, i, 0, got, len);

        if (err == 0) {
            chunk_fill(c->s, i, want);
            if (memcmp(want, got, len) != 0)
                atomic_fetch_add(&c->failures, 1);
        }
        if (err != 0 && err != ERR_NOT_FOUND && err != -EAGAIN)
            atomic_fetch_add(&c->failures, 1);
        (void)store_sync_due(c->st, 1);
        (void)store_files_done(c->st);
        (void)store_final_name(c->st);
    }
    return NULL;
}

static struct store *open_meanwhile;
static int read_meanwhile;

static void read_cached_chunk_0(void)
{
    uint8_t byte;

    read_meanwhile = store_read_cached(open_meanwhile, 0, 0, &byte, 1);
}

Test(store, the_loop_reads_while_a_worker_opens_another_file)
{
    struct share s;
    uint32_t last;

    folder_make(&s);
    last = layout_chunks(s.l) - 1;
    open_meanwhile = open_ok(&s);
    cr_assert_eq(chunk_write(&s, open_meanwhile, 0), 0);
    read_meanwhile = 1;
    inside_open = read_cached_chunk_0;
    cr_assert_eq(chunk_write(&s, open_meanwhile, last), 0);
    cr_assert_null(inside_open, "it was another file");
    cr_assert(read_meanwhile == 0 || read_meanwhile == -EAGAIN);
    read_cached_chunk_0();
    if (read_meanwhile == 0) { /* what a filesystem can at rest, it can meanwhile */
        fds_forget_all(open_meanwhile);
        chunk_expect(&s, open_meanwhile, 0);
        read_meanwhile = 1;
        inside_open = read_cached_chunk_0;
        chunk_expect(&s, open_meanwhile, last);
        cr_assert_eq(read_meanwhile, 0);
    }
    store_close(open_meanwhile);
    share_end(&s);
}

static void crowd_share(struct share *s)
{
    static struct manifest_file f[FILES_MAX / 4];
    static char path[FILES_MAX / 4][32];

    for (uint32_t i = 0; i < FILES_MAX / 4; i++) {
        snprintf(path[i], sizeof(path[i]), "d%u/f%u", i % 7, i);
        f[i] = (struct manifest_file){.path = path[i], .bytes = i % 5 ? 3000 : 2 * PIECE + i};
    }
    share_make(s, "talk", false, f, FILES_MAX / 4);
}

static void crowd_run(struct crowd *c)
{
    pthread_t writer[2], syncer, reader[2];

    for (int i = 0; i < 2; i++) {
        pthread_create(&writer[i], NULL, crowd_write, c);
        pthread_create(&reader[i], NULL, crowd_read, c);
    }
    pthread_create(&syncer, NULL, crowd_sync, c);
    for (int i = 0; i < 2; i++)
        pthread_join(writer[i], NULL);
    atomic_store(&c->over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(reader[i], NULL);
    pthread_join(syncer, NULL);
    cr_assert_eq(atomic_load(&c->failures), 0);
}

Test(store, writes_syncs_and_reads_at_once, .timeout = 120)
{
    struct share s;
    struct crowd c = {.s = &s};

    crowd_share(&s);
    c.st = open_ok(&s);
    c.end = layout_chunks(s.l);
    crowd_run(&c);
    cr_assert_eq(store_sync(c.st), 0);
    cr_assert(store_done(c.st));
    store_close(c.st);
    folder_expect(&s, "talk");
    share_end(&s);
}

/* A rewrite beside running writes forgets none of them. */
struct late_reader {
    struct store *st;
    uint32_t file;
    atomic_bool begun;
    int result;
};

static void *late_pin(void *arg)
{
    struct late_reader *r = arg;
    struct fd_slot *slot;

    atomic_store(&r->begun, true);
    r->result = fds_get(r->st, r->file, true, false, &slot);
    fds_put(r->st, slot);
    return NULL;
}

Test(store, with_every_slot_in_use_the_next_one_waits)
{
    struct fd_slot *pinned[STORE_SLOTS];
    struct late_reader r = {.file = STORE_SLOTS, .result = 1};
    struct share s;
    pthread_t thread;

    crowd_share(&s);
    r.st = open_ok(&s);
    for (uint32_t i = 0; i < STORE_SLOTS; i++)
        cr_assert_eq(fds_get(r.st, i, true, false, &pinned[i]), 0);
    pthread_create(&thread, NULL, late_pin, &r);
    while (!atomic_load(&r.begun))
        sched_yield();
    for (int i = 0; i < 1000; i++)
        sched_yield();
    fds_put(r.st, pinned[3]);
    pthread_join(thread, NULL);
    cr_assert_eq(r.result, 0, "%d", r.result);
    for (uint32_t i = 0; i < STORE_SLOTS; i++)
        if (i != 3)
            fds_put(r.st, pinned[i]);
    store_close(r.st);
    share_end(&s);
}

Test(store, the_journal_is_rewritten_while_chunks_come_in, .timeout = 120)
{
    for (int round = 0; round < 5; round++) {
        struct share s;
        struct crowd c = {.s = &s, .rewrite = true};

        crowd_share(&s);
        c.st = open_ok(&s);
        c.end = layout_chunks(s.l) * 3 / 4;
        crowd_run(&c);
        store_close(c.st);
        c.st = open_ok(&s);
        cr_assert_eq(store_have(c.st)->count, c.end);
        write_missing(&s, c.st);
        cr_assert_eq(store_sync(c.st), 0);
        store_close(c.st);
        folder_expect(&s, "talk");
        share_end(&s);
    }
}
