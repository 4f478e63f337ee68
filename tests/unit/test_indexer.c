#include "transfer/io/indexer.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "share_fixture.h"
#include "transfer/core/merkle.h"
#include "transfer/io/index_cache.h"

enum { PIECE = 128 << 10 };

/* What the last indexing ended with. */
struct outcome {
    struct event_base *base;
    int err, calls;
    char what[512];
    struct indexer_result result;
};

struct scratch {
    char dir[64];
    struct event_base *base;
    struct workers *workers;
    struct outcome last;
};

static void scratch_begin(struct scratch *s)
{
    *s = (struct scratch){.dir = "/tmp/ronda-test-indexer-XXXXXX"};
    cr_assert(mkdtemp(s->dir) != NULL);
    s->base = event_base_new();
    cr_assert(eq(int, workers_new(s->base, 3, &s->workers), 0));
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void forget_result(struct scratch *s)
{
    manifest_free(s->last.result.manifest);
    free(s->last.result.stamps);
    s->last = (struct outcome){0};
}

static void scratch_end(struct scratch *s)
{
    forget_result(s);
    workers_free(s->workers);
    event_base_free(s->base);
    nftw(s->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const struct scratch *s, const char *path, const void *data, size_t len,
                       mode_t mode)
{
    char full[512];
    snprintf(full, sizeof(full), "%s/%s", s->dir, path);
    for (char *slash = full + strlen(s->dir) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(full, 0700);
        *slash = '/';
    }
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, mode);
    cr_assert(ge(int, fd, 0), "%s", full);
    cr_assert(write(fd, data, len) == (ssize_t)len);
    close(fd);
}

static void on_done(void *arg, int err, const char *what, struct indexer_result *result)
{
    struct outcome *o = arg;
    o->err = err;
    o->calls++;
    snprintf(o->what, sizeof(o->what), "%s", what ? what : "");
    if (result)
        o->result = *result;
    event_base_loopbreak(o->base);
}

static struct indexer *start(struct scratch *s, const char *path, const char *name, hash_fn *hash,
                             struct index_cache *cache)
{
    struct indexer *x;
    forget_result(s);
    s->last.base = s->base;
    const struct indexer_cfg cfg = {.workers = s->workers,
                                    .cache = cache,
                                    .hash = hash,
                                    .hash_many = hash == sha256 ? sha256_many : NULL,
                                    .path = path,
                                    .name = name,
                                    .on_done = on_done,
                                    .arg = &s->last};
    cr_assert(eq(int, indexer_start(&cfg, &x), 0));
    cr_assert(eq(int, s->last.calls, 0));
    return x;
}

static int run(struct scratch *s, const char *below, const char *name, hash_fn *hash)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", s->dir, below);
    (void)start(s, path, name, hash, NULL);
    event_base_dispatch(s->base);
    cr_assert(eq(int, s->last.calls, 1));
    return s->last.err;
}

static const struct fixture_file files[] = {
    {"a/b/deep.txt", 1, 16383, false},
    {"a.b", 2, 16384, false},
    {"a/b.c", 3, 16385, true},
    {"piece", 4, PIECE, false},
    {"over", 5, PIECE + 1, false},
    {"empty", 0, 0, false},
    {"one", 6, 1, false},
    {"big", 7, (33 << 20) + 17, false},
};
enum { FILES = sizeof(files) / sizeof(files[0]) };

static void write_files(const struct scratch *s, const char *root)
{
    for (int i = 0; i < FILES; i++) {
        char path[128];
        uint8_t *content = fixture_content(files[i].seed, files[i].bytes);
        snprintf(path, sizeof(path), "%s/%s", root, files[i].path);
        write_file(s, path, content, files[i].bytes, files[i].exec ? 0755 : 0644);
        free(content);
    }
}

/* A folder talk with the files above, and its path. */
static void talk_begin(struct scratch *s, char path[static 512])
{
    scratch_begin(s);
    write_files(s, "talk");
    snprintf(path, 512, "%s/talk", s->dir);
}

Test(indexer, a_folder_gives_the_manifest_of_its_files)
{
    struct scratch s;
    struct manifest *want;
    scratch_begin(&s);
    write_files(&s, "talk");
    cr_assert(eq(int, fixture_build("talk", false, PIECE, files, FILES, &want), 0));
    cr_assert(eq(int, run(&s, "talk/", NULL, sha256), 0));
    const struct manifest *got = s.last.result.manifest;
    cr_assert(manifest_complete(got));
    cr_assert_arr_eq(manifest_id(got), manifest_id(want), HASH_LEN);
    cr_assert(eq(u32, s.last.result.skipped, 0));
    cr_assert(eq(u64, s.last.result.hashed_bytes, manifest_bytes(want)));
    for (uint32_t i = 0; i < FILES; i++) {
        struct manifest_file f;
        manifest_file_at(got, i, &f);
        cr_assert(eq(u64, s.last.result.stamps[i].bytes, f.bytes));
    }
    manifest_free(want);
    scratch_end(&s);
}

Test(indexer, a_single_file_may_get_another_name)
{
    struct scratch s;
    struct manifest *want;
    scratch_begin(&s);
    write_files(&s, "talk");
    const struct fixture_file over = {"movie.mkv", 5, PIECE + 1, false};
    cr_assert(eq(int, fixture_build("movie.mkv", true, PIECE, &over, 1, &want), 0));
    cr_assert(eq(int, run(&s, "talk/over", "movie.mkv", sha256), 0));
    cr_assert_arr_eq(manifest_id(s.last.result.manifest), manifest_id(want), HASH_LEN);
    cr_assert(manifest_single(s.last.result.manifest));
    manifest_free(want);
    cr_assert(eq(int, run(&s, "talk/over", "../movie", sha256), ERR_NAME));
    scratch_end(&s);
}

Test(indexer, what_is_no_regular_file_is_left_out)
{
    struct scratch s;
    char path[512];
    scratch_begin(&s);
    write_file(&s, "d/file", "x", 1, 0600);
    write_file(&s, "d/sub/\xff", "x", 1, 0600); /* sub is empty then */
    snprintf(path, sizeof(path), "%s/d/link", s.dir);
    cr_assert(eq(int, symlink("/etc/passwd", path), 0));
    snprintf(path, sizeof(path), "%s/d/fifo", s.dir);
    cr_assert(eq(int, mkfifo(path, 0600), 0));
    snprintf(path, sizeof(path), "%s/d/none", s.dir);
    cr_assert(eq(int, mkdir(path, 0700), 0));
    cr_assert(eq(int, run(&s, "d", NULL, sha256), 0));
    cr_assert(eq(u32, manifest_files(s.last.result.manifest), 1));
    cr_assert(eq(u32, s.last.result.skipped, 5));
    scratch_end(&s);
}

Test(indexer, errors_name_the_path)
{
    struct scratch s;
    char path[512];
    scratch_begin(&s);
    cr_assert(eq(int, run(&s, "missing", NULL, sha256), -ENOENT));
    snprintf(path, sizeof(path), "%s/missing", s.dir);
    cr_assert_str_eq(s.last.what, path);
    snprintf(path, sizeof(path), "%s/link", s.dir);
    cr_assert(eq(int, symlink("/usr", path), 0));
    cr_assert(eq(int, run(&s, "link", NULL, sha256), -ELOOP));
    snprintf(path, sizeof(path), "%s/fifo", s.dir);
    cr_assert(eq(int, mkfifo(path, 0600), 0));
    cr_assert(eq(int, run(&s, "fifo", NULL, sha256), -EINVAL));
    snprintf(path, sizeof(path), "%s/hollow", s.dir);
    cr_assert(eq(int, mkdir(path, 0700), 0));
    cr_assert(eq(int, run(&s, "hollow", NULL, sha256), ERR_NOT_FOUND));
    scratch_end(&s);
}

Test(indexer, depth_has_a_ceiling)
{
    struct scratch s;
    char path[256] = "deep";
    scratch_begin(&s);
    for (int i = 1; i < MANIFEST_DEPTH_MAX; i++)
        strcat(path, "/d");
    strcat(path, "/f");
    write_file(&s, path, "x", 1, 0600);
    cr_assert(eq(int, run(&s, "deep", NULL, sha256), 0));
    path[strlen(path) - 1] = 'd';
    strcat(path, "/f");
    write_file(&s, path, "x", 1, 0600);
    cr_assert(eq(int, run(&s, "deep", NULL, sha256), ERR_LIMIT));
    scratch_end(&s);
}

/* BEP 52 could not tell such a folder from the file alone. */
Test(indexer, a_folder_with_one_file_of_its_name_is_called_otherwise)
{
    struct scratch s;
    scratch_begin(&s);
    write_file(&s, "x/x", "x", 1, 0600);
    cr_assert(eq(int, run(&s, "x", NULL, sha256), 0));
    cr_assert_str_eq(manifest_name(s.last.result.manifest), "x (2)");
    cr_assert(not(manifest_single(s.last.result.manifest)));
    scratch_end(&s);
}

/* --- sparse files --- */

static atomic_int leaves_hashed;

static void hash_and_count(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN])
{
    if (len_bytes == MERKLE_LEAF_BYTES)
        atomic_fetch_add(&leaves_hashed, 1);
    sha256(data, len_bytes, out);
}

/* At both ends of the file, over the border of two pieces, and within one. */
static void write_islands(const struct scratch *s, const char *path, off_t bytes)
{
    const off_t at[] = {0, 3 * PIECE - 1, (20 << 20) + 5000, bytes - 2};
    char full[512];
    snprintf(full, sizeof(full), "%s/%s", s->dir, path);
    int fd = open(full, O_WRONLY);
    cr_assert(eq(int, ftruncate(fd, bytes), 0));
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
        cr_assert(pwrite(fd, "xy", 2, at[i]) == 2);
    close(fd);
}

Test(indexer, holes_are_hashed_once_a_file_and_not_read)
{
    enum { BYTES = (40 << 20) + 77, LEAVES = BYTES / MERKLE_LEAF_BYTES };
    struct scratch s;
    uint8_t id[HASH_LEN], *zeros = calloc(1, BYTES);
    scratch_begin(&s);
    write_file(&s, "sparse/image", "", 0, 0600);
    write_islands(&s, "sparse/image", BYTES);
    write_file(&s, "dense/image", zeros, BYTES, 0600);
    write_islands(&s, "dense/image", BYTES);
    free(zeros);
    atomic_store(&leaves_hashed, 0);
    cr_assert(eq(int, run(&s, "dense", "image disk", hash_and_count), 0));
    cr_assert(ge(int, atomic_load(&leaves_hashed), LEAVES));
    memcpy(id, manifest_id(s.last.result.manifest), HASH_LEN);
    atomic_store(&leaves_hashed, 0);
    cr_assert(eq(int, run(&s, "sparse", "image disk", hash_and_count), 0));
    cr_assert(lt(int, atomic_load(&leaves_hashed), LEAVES / 4));
    cr_assert_arr_eq(manifest_id(s.last.result.manifest), id, HASH_LEN);
    cr_assert(eq(u64, s.last.result.hashed_bytes, BYTES));
    scratch_end(&s);
}

/* --- files that change while they are hashed: the hash function does it --- */

static char changing_path[512];
static atomic_int changes_left;

static void hash_and_change(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN])
{
    if (atomic_fetch_sub(&changes_left, 1) > 0) {
        int fd = open(changing_path, O_WRONLY | O_APPEND);
        cr_assert(write(fd, "more", 4) == 4);
        close(fd);
    }
    sha256(data, len_bytes, out);
}

static void begin_changing(struct scratch *s, int changes)
{
    write_file(s, "log/log.txt", "begin", 5, 0600);
    write_file(s, "log/other", "other", 5, 0600);
    snprintf(changing_path, sizeof(changing_path), "%s/log/log.txt", s->dir);
    atomic_store(&changes_left, changes);
}

Test(indexer, a_file_that_changed_once_is_hashed_again)
{
    struct scratch s;
    scratch_begin(&s);
    begin_changing(&s, 1);
    cr_assert(eq(int, run(&s, "log", NULL, hash_and_change), 0));
    cr_assert(eq(u64, manifest_bytes(s.last.result.manifest), 5 + 5 + 4));
    scratch_end(&s);
}

Test(indexer, a_file_that_goes_on_changing_is_an_error)
{
    struct scratch s;
    scratch_begin(&s);
    begin_changing(&s, 1000000);
    cr_assert(eq(int, run(&s, "log", NULL, hash_and_change), ERR_CHANGED));
    cr_assert_str_eq(s.last.what, changing_path);
    scratch_end(&s);
}

/* --- out of memory: linked with --wrap=malloc --- */

enum { READING_BYTES = 256 << 10 }; /* what reading a file asks for, and nothing else here */

static atomic_bool no_reading;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes)
{
    return atomic_load(&no_reading) && bytes >= READING_BYTES ? NULL : __real_malloc(bytes);
}

Test(indexer, without_memory_no_file_is_at_fault)
{
    struct scratch s;
    char path[512];
    talk_begin(&s, path);
    atomic_store(&no_reading, true);
    cr_assert(eq(int, run(&s, "talk", NULL, sha256), -ENOMEM));
    cr_assert_str_eq(s.last.what, path);
    scratch_end(&s);
}

/* --- */

Test(indexer, cancelling_ends_it_once)
{
    struct scratch s;
    char path[512];
    talk_begin(&s, path);
    struct indexer *x = start(&s, path, NULL, sha256, NULL);
    indexer_cancel(x);
    cr_assert(eq(int, s.last.calls, 0));
    event_base_dispatch(s.base);
    cr_assert(eq(int, s.last.calls, 1));
    cr_assert(eq(int, s.last.err, ERR_CANCELLED));
    scratch_end(&s);
}

/* Files of the system: their time stamps are old enough to be trusted. */
Test(indexer, unchanged_files_come_out_of_the_cache)
{
    struct scratch s;
    struct index_cache *cache;
    char path[512];
    uint8_t id[HASH_LEN];
    scratch_begin(&s);
    snprintf(path, sizeof(path), "%s/index", s.dir);
    cr_assert(eq(int, index_cache_open(path, &cache), 0));
    for (int round = 0; round < 2; round++) {
        (void)start(&s, "/usr/share/common-licenses", NULL, sha256, cache);
        event_base_dispatch(s.base);
        cr_assert(eq(int, s.last.err, 0));
        const struct manifest *m = s.last.result.manifest;
        cr_assert(eq(u64, s.last.result.hashed_bytes, round ? 0 : manifest_bytes(m)));
        if (round)
            cr_assert_arr_eq(manifest_id(m), id, HASH_LEN);
        memcpy(id, manifest_id(m), HASH_LEN);
    }
    index_cache_close(cache);
    scratch_end(&s);
}

Test(indexer, thousands_of_small_files)
{
    enum { COUNT = 3000 };
    struct scratch s;
    scratch_begin(&s);
    for (int i = 0; i < COUNT; i++) {
        char path[64];
        snprintf(path, sizeof(path), "many/%d/%d", i % 7, i);
        write_file(&s, path, path, strlen(path), 0600);
    }
    cr_assert(eq(int, run(&s, "many", NULL, sha256), 0));
    cr_assert(eq(u32, manifest_files(s.last.result.manifest), COUNT));
    scratch_end(&s);
}
