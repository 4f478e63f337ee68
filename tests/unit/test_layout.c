#include "transfer/core/layout.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "share_fixture.h"
#include "transfer/core/verify.h"

enum { PIECE = 16384 };

static const struct fixture_file party[] = {
    {"a", 1, 100, false},       {"b", 2, PIECE - 100, false}, {"c", 3, 1, false},
    {"d", 0, 0, false},         {"e", 4, PIECE, false},       {"f", 5, 3 * PIECE + 7, false},
    {"g", 6, PIECE - 7, false}, {"h", 7, 1, false},           {"i", 0, 0, false},
    {"j", 8, 2 * PIECE, false}, {"k", 0, 0, false},
};
enum { FILES = sizeof(party) / sizeof(party[0]) };

static void setup(const struct fixture_file *files, uint32_t count, struct manifest **m,
                  struct layout **l)
{
    cr_assert(eq(int, fixture_build("party", false, PIECE, files, count, m), 0));
    cr_assert(eq(int, layout_new(*m, l), 0));
}

static void expect_chunk(const struct layout *l, uint32_t chunk, const struct layout_seg *want,
                         uint32_t count)
{
    struct layout_iter it;
    struct layout_seg seg;
    uint32_t bytes = 0;
    layout_iter_begin(l, chunk, &it);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(layout_iter_next(&it, &seg), "chunk %u", chunk);
        cr_expect(eq(u32, seg.file, want[i].file), "chunk %u", chunk);
        cr_expect(eq(u64, seg.offset_bytes, want[i].offset_bytes), "chunk %u", chunk);
        cr_expect(eq(u32, seg.len_bytes, want[i].len_bytes), "chunk %u", chunk);
        bytes += seg.len_bytes;
    }
    cr_expect(not(layout_iter_next(&it, &seg)), "chunk %u", chunk);
    cr_expect(eq(u32, layout_chunk_bytes(l, chunk), bytes));
}

Test(layout, full_pieces_are_chunks_and_short_ones_are_bundled)
{
    struct manifest *m;
    struct layout *l;
    setup(party, FILES, &m, &l);
    cr_assert(eq(u32, layout_chunks(l), 10));
    cr_assert(eq(u32, layout_chunk_bytes_max(l), PIECE));
    expect_chunk(l, 0, (struct layout_seg[]){{0, 100, 0}, {1, PIECE - 100, 0}}, 2);
    expect_chunk(l, 1, (struct layout_seg[]){{2, 1, 0}}, 1);
    expect_chunk(l, 2, (struct layout_seg[]){{4, PIECE, 0}}, 1);
    expect_chunk(l, 3, (struct layout_seg[]){{5, PIECE, 0}}, 1);
    expect_chunk(l, 5, (struct layout_seg[]){{5, PIECE, 2 * PIECE}}, 1);
    expect_chunk(l, 6, (struct layout_seg[]){{5, 7, 3 * PIECE}, {6, PIECE - 7, 0}}, 2);
    expect_chunk(l, 7, (struct layout_seg[]){{7, 1, 0}}, 1);
    expect_chunk(l, 9, (struct layout_seg[]){{9, PIECE, PIECE}}, 1);
    layout_free(l);
    manifest_free(m);
}

Test(layout, files_know_their_chunks)
{
    static const int want[FILES][2] = {{0, 0}, {0, 0}, {1, 1},   {-1, -1}, {2, 2},  {3, 6},
                                       {6, 6}, {7, 7}, {-1, -1}, {8, 9},   {-1, -1}};
    struct manifest *m;
    struct layout *l;
    setup(party, FILES, &m, &l);
    for (uint32_t i = 0; i < FILES; i++) {
        uint32_t first, last;
        bool any = layout_file_chunks(l, i, &first, &last);
        cr_expect(eq(int, any, want[i][0] >= 0), "file %u", i);
        if (any) {
            cr_expect(eq(int, (int)first, want[i][0]), "file %u", i);
            cr_expect(eq(int, (int)last, want[i][1]), "file %u", i);
        }
    }
    layout_free(l);
    manifest_free(m);
}

Test(layout, nothing_but_empty_files_has_no_chunk)
{
    static const struct fixture_file empty[] = {{"a", 0, 0, false}, {"b", 0, 0, false}};
    struct manifest *m;
    struct layout *l;
    uint32_t first, last;
    setup(empty, 2, &m, &l);
    cr_assert(eq(u32, layout_chunks(l), 0));
    cr_assert(eq(u32, layout_chunk_bytes_max(l), 0));
    cr_assert(not(layout_file_chunks(l, 1, &first, &last)));
    layout_free(l);
    manifest_free(m);
}

Test(layout, chunks_have_a_ceiling)
{
    char info[256];
    struct manifest *m;
    struct layout *l;
    const uint64_t most = (uint64_t)LAYOUT_CHUNKS_MAX * PIECE;
    for (uint64_t extra = 0; extra < 2; extra++) {
        int len = snprintf(info, sizeof(info),
                           "d9:file treed1:ad0:d6:lengthi%llue11:pieces root32:"
                           "0123456789abcdef0123456789abcdefeee"
                           "12:meta versioni2e4:name1:n12:piece lengthi16384ee",
                           (unsigned long long)(most + extra));
        cr_assert(eq(int, manifest_parse(sha256, (uint8_t *)info, (size_t)len, &m), 0));
        cr_assert(eq(int, layout_new(m, &l), extra ? ERR_LIMIT : 0));
        cr_assert(eq(int, l != NULL, !extra));
        layout_free(l);
        manifest_free(m);
    }
}

/* --- verify --- */

/* The bytes of a chunk, from the files. */
static uint8_t *chunk_content(const struct fixture_file *files, const struct layout *l,
                              uint32_t chunk)
{
    uint8_t *data = malloc(layout_chunk_bytes(l, chunk));
    uint32_t at = 0;
    struct layout_iter it;
    struct layout_seg seg;
    layout_iter_begin(l, chunk, &it);
    while (layout_iter_next(&it, &seg)) {
        uint8_t *file = fixture_content(files[seg.file].seed, files[seg.file].bytes);
        memcpy(data + at, file + seg.offset_bytes, seg.len_bytes);
        at += seg.len_bytes;
        free(file);
    }
    return data;
}

static int verify_in_steps(const struct manifest *m, const struct layout *l, uint32_t chunk,
                           const uint8_t *data, uint32_t step, hash_many_fn *many)
{
    struct verify v;
    uint32_t total = layout_chunk_bytes(l, chunk);
    verify_begin(&v, sha256, m, l, chunk);
    v.many = many;
    for (uint32_t have = 0; have < total; have += step) {
        int result = verify_advance(&v, data, have);
        if (result != 0)
            return result;
    }
    return verify_advance(&v, data, total);
}

static void check_chunks(const struct fixture_file *files, uint32_t count, uint32_t piece_bytes,
                         hash_many_fn *many)
{
    static const uint32_t steps[] = {1000, 16383, 16384, 16385, 32768, 100000, 1 << 20};
    struct manifest *m;
    struct layout *l;
    cr_assert(eq(int, fixture_build("party", false, piece_bytes, files, count, &m), 0));
    cr_assert(eq(int, layout_new(m, &l), 0));
    for (uint32_t chunk = 0; chunk < layout_chunks(l); chunk++) {
        uint8_t *data = chunk_content(files, l, chunk);
        uint32_t total = layout_chunk_bytes(l, chunk);
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
            cr_expect(eq(int, verify_in_steps(m, l, chunk, data, steps[i], many), VERIFY_DONE));
        for (uint32_t at = 0; at < total; at += total / 5 + 1) {
            data[at] ^= 0x10;
            cr_expect(eq(int, verify_in_steps(m, l, chunk, data, 16384, many), ERR_HASH));
            data[at] ^= 0x10;
        }
        data[total - 1] ^= 1;
        cr_expect(eq(int, verify_in_steps(m, l, chunk, data, total, many), ERR_HASH));
        free(data);
    }
    layout_free(l);
    manifest_free(m);
}

static void check_every_chunk(const struct fixture_file *files, uint32_t count,
                              uint32_t piece_bytes)
{
    check_chunks(files, count, piece_bytes, NULL);
    check_chunks(files, count, piece_bytes, sha256_many);
}

Test(verify, right_chunks_pass_and_one_wrong_bit_does_not)
{
    check_every_chunk(party, FILES, 16384);
    check_every_chunk(party, FILES, 32768);
    check_every_chunk(party, FILES, 65536);
}

/* The tail of a long file is padded to a whole piece, a file of the same content
 * alone is not. */
Test(verify, tails_are_padded_to_a_piece)
{
    static const struct fixture_file files[] = {{"long", 1, (4 << 16) + 1, false},
                                                {"longer", 2, (5 << 16) + 16385, false},
                                                {"short", 3, 1, false}};
    check_every_chunk(files, 3, 1 << 16);
    check_every_chunk(files, 3, 1 << 17);
}

Test(verify, a_wrong_piece_is_found_before_the_chunk_is_whole)
{
    struct manifest *m;
    struct layout *l;
    struct verify v;
    setup(party, FILES, &m, &l);
    uint8_t *data = chunk_content(party, l, 0);
    data[99] ^= 1;
    verify_begin(&v, sha256, m, l, 0);
    cr_assert(eq(int, verify_advance(&v, data, 99), 0));
    cr_assert(eq(int, verify_advance(&v, data, 100), ERR_HASH));
    free(data);
    layout_free(l);
    manifest_free(m);
}
