#include "transfer/io/index_cache.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 16384 };

struct scratch {
    char dir[64], path[96];
    struct index_cache *cache;
};

static void scratch_open(struct scratch *s)
{
    cr_assert(eq(int, index_cache_open(s->path, &s->cache), 0));
}

static void scratch_begin(struct scratch *s)
{
    strcpy(s->dir, "/tmp/ronda-test-index-XXXXXX");
    cr_assert(mkdtemp(s->dir) != NULL);
    snprintf(s->path, sizeof(s->path), "%s/index", s->dir);
    scratch_open(s);
}

static void scratch_reopen(struct scratch *s)
{
    index_cache_close(s->cache);
    scratch_open(s);
}

static void scratch_end(struct scratch *s)
{
    index_cache_close(s->cache);
    unlink(s->path);
    cr_assert(eq(int, rmdir(s->dir), 0));
}

static off_t file_length(const struct scratch *s)
{
    struct stat st;
    cr_assert(eq(int, stat(s->path, &st), 0));
    return st.st_size;
}

static struct store_stamp make_stamp(uint64_t ino, uint64_t bytes)
{
    return (struct store_stamp){
        .dev = 1, .ino = ino, .bytes = bytes, .mtime_ns = 1000000000000, .ctime_ns = 2000000000000};
}

static void put(struct scratch *s, const struct store_stamp *stamp, uint8_t fill)
{
    uint8_t root[HASH_LEN], layer[64 * HASH_LEN];
    memset(root, fill, sizeof(root));
    memset(layer, fill + 1, sizeof(layer));
    index_cache_put(s->cache, stamp, PIECE, root, stamp->bytes > PIECE ? layer : NULL);
}

static void expect_found(struct scratch *s, const struct store_stamp *stamp, uint8_t fill)
{
    uint8_t root[HASH_LEN], *layer;
    cr_assert(eq(int, index_cache_get(s->cache, stamp, PIECE, root, &layer), 0));
    cr_assert(eq(u8, root[0], fill));
    cr_assert(eq(u8, root[HASH_LEN - 1], fill));
    cr_assert(eq(int, layer != NULL, stamp->bytes > PIECE));
    size_t len = layer ? (size_t)((stamp->bytes + PIECE - 1) / PIECE) * HASH_LEN : 0;
    for (size_t i = 0; i < len; i++)
        cr_assert(eq(u8, layer[i], fill + 1));
    free(layer);
}

static void expect_missing(struct scratch *s, const struct store_stamp *stamp, uint32_t piece)
{
    uint8_t root[HASH_LEN], *layer;
    cr_assert(eq(int, index_cache_get(s->cache, stamp, piece, root, &layer), ERR_NOT_FOUND));
    cr_assert(layer == NULL);
}

Test(index_cache, keeps_roots_and_layers_across_opening)
{
    struct scratch s;
    scratch_begin(&s);
    struct store_stamp small = make_stamp(1, 10), large = make_stamp(2, 5 * PIECE + 1);
    put(&s, &small, 7);
    put(&s, &large, 9);
    for (int round = 0; round < 2; round++) {
        expect_found(&s, &small, 7);
        expect_found(&s, &large, 9);
        scratch_reopen(&s);
    }
    scratch_end(&s);
}

Test(index_cache, any_difference_in_the_stamp_is_a_miss)
{
    struct scratch s;
    scratch_begin(&s);
    struct store_stamp stamp = make_stamp(1, 10), other;
    put(&s, &stamp, 7);
    expect_missing(&s, &stamp, PIECE * 2);
    other = stamp, other.dev++;
    expect_missing(&s, &other, PIECE);
    other = stamp, other.ino++;
    expect_missing(&s, &other, PIECE);
    other = stamp, other.bytes++;
    expect_missing(&s, &other, PIECE);
    other = stamp, other.mtime_ns++;
    expect_missing(&s, &other, PIECE);
    other = stamp, other.ctime_ns++;
    expect_missing(&s, &other, PIECE);
    expect_found(&s, &stamp, 7);
    scratch_end(&s);
}

Test(index_cache, a_later_record_replaces_the_earlier)
{
    struct scratch s;
    scratch_begin(&s);
    struct store_stamp before = make_stamp(1, 10), after = make_stamp(1, 3 * PIECE);
    put(&s, &before, 7);
    put(&s, &after, 8);
    for (int round = 0; round < 2; round++) {
        expect_missing(&s, &before, PIECE);
        expect_found(&s, &after, 8);
        scratch_reopen(&s);
    }
    scratch_end(&s);
}

Test(index_cache, a_file_changed_just_now_is_not_put_in)
{
    struct scratch s;
    struct timespec now;
    scratch_begin(&s);
    clock_gettime(CLOCK_REALTIME, &now);
    struct store_stamp stamp = make_stamp(1, 10);
    stamp.ctime_ns = (int64_t)now.tv_sec * 1000000000;
    put(&s, &stamp, 7);
    expect_missing(&s, &stamp, PIECE);
    stamp.ctime_ns += INT64_C(3600) * 1000000000; /* from the future */
    put(&s, &stamp, 7);
    expect_missing(&s, &stamp, PIECE);
    scratch_end(&s);
}

static void flip_byte(const struct scratch *s, off_t at)
{
    uint8_t byte;
    int fd = open(s->path, O_RDWR);
    cr_assert(pread(fd, &byte, 1, at) == 1);
    byte ^= 0x20;
    cr_assert(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

/* Whatever byte is flipped: no wrong hash comes out, and the file heals. */
Test(index_cache, damage_is_dropped)
{
    struct scratch s;
    scratch_begin(&s);
    struct store_stamp a = make_stamp(1, 10), b = make_stamp(2, 2 * PIECE), c = make_stamp(3, 30);
    put(&s, &a, 7);
    put(&s, &b, 8);
    put(&s, &c, 9);
    off_t length = file_length(&s);
    index_cache_close(s.cache);
    for (off_t at = 0; at < length; at++) {
        uint8_t root[HASH_LEN], *layer;
        const struct store_stamp *all[] = {&a, &b, &c};
        flip_byte(&s, at);
        scratch_open(&s);
        for (int i = 0; i < 3; i++) {
            if (index_cache_get(s.cache, all[i], PIECE, root, &layer) == 0)
                cr_assert(eq(u8, root[0], 7 + i), "byte %ld", (long)at);
            free(layer);
        }
        put(&s, &a, 7);
        put(&s, &b, 8);
        put(&s, &c, 9);
        scratch_reopen(&s);
        expect_found(&s, &a, 7);
        expect_found(&s, &b, 8);
        expect_found(&s, &c, 9);
        index_cache_close(s.cache);
        unlink(s.path);
        scratch_open(&s);
        put(&s, &a, 7);
        put(&s, &b, 8);
        put(&s, &c, 9);
        index_cache_close(s.cache);
    }
    scratch_open(&s);
    scratch_end(&s);
}

Test(index_cache, a_torn_tail_is_cut_off)
{
    struct scratch s;
    scratch_begin(&s);
    struct store_stamp a = make_stamp(1, 10), b = make_stamp(2, 20);
    put(&s, &a, 7);
    off_t whole = file_length(&s);
    put(&s, &b, 8);
    cr_assert(eq(int, truncate(s.path, file_length(&s) - 1), 0));
    scratch_reopen(&s);
    expect_found(&s, &a, 7);
    expect_missing(&s, &b, PIECE);
    cr_assert(eq(int, (int)file_length(&s), (int)whole));
    scratch_end(&s);
}

Test(index_cache, what_is_no_cache_is_started_over)
{
    struct scratch s;
    scratch_begin(&s);
    index_cache_close(s.cache);
    FILE *f = fopen(s.path, "w");
    fputs("something else altogether, longer than a header", f);
    fclose(f);
    scratch_open(&s);
    struct store_stamp a = make_stamp(1, 10);
    expect_missing(&s, &a, PIECE);
    put(&s, &a, 7);
    scratch_reopen(&s);
    expect_found(&s, &a, 7);
    scratch_end(&s);
}

Test(index_cache, many_files_and_a_rewrite)
{
    enum { COUNT = 20000 };
    struct scratch s;
    scratch_begin(&s);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < COUNT; i++) {
            struct store_stamp stamp = make_stamp(i, (uint64_t)round + 1);
            put(&s, &stamp, (uint8_t)i);
        }
    }
    off_t before = file_length(&s);
    scratch_reopen(&s); /* two thirds are dead: written anew */
    cr_assert(lt(int, (int)file_length(&s), (int)before / 2));
    for (uint64_t i = 0; i < COUNT; i += 97) {
        struct store_stamp stamp = make_stamp(i, 3);
        expect_found(&s, &stamp, (uint8_t)i);
    }
    scratch_end(&s);
}
