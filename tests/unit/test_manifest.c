#include "transfer/core/manifest.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "share_fixture.h"
#include "transfer/core/bencode.h"

enum { PIECE = 65536 };

/* --- what libtorrent makes of the same files ---
 *
 * Made once with python3-libtorrent 2.0.8: the files of fixture_content() written
 * to disk, then lt.add_files(), lt.create_torrent(storage, 65536, v2_only),
 * generate(): SHA-256 of the bencoded info, and of the whole .torrent without its
 * "creation date". */

struct golden {
    const char *name;
    bool single;
    struct fixture_file files[13];
    const char *id, *torrent;
};

static const struct golden golden[] = {
    {"one.bin",
     true,
     {{"one.bin", 1, 3 * PIECE + 5, false}},
     "e97bf00b56a806fd71b1fdc30f6bf91c5a4f814dff9332ce1ff57dfed362c9e7",
     "a8adfd0f91018b56405f64709e9db178b6a6f6bd8e73d81cc63de0a66356fe9e"},
    {"tiny",
     true,
     {{"tiny", 2, 1, true}},
     "4c0f2b57eb52118be40b121eab60b058b1e083e3180423b84d9c49ebce700403",
     "6011fbf22a007797316bb9c213b8ab9ef9dda22ea44d607d9a09b7418a75827b"},
    {"exact",
     true,
     {{"exact", 3, PIECE, false}},
     "9155c39f500980513c86ef7b98e9335d1432a0fef6206bfffa9caad69673c6ae",
     "aefcb7534e8a2509cca03264b13b55eeb06114570d29069ee237e7f651141a71"},
    {"two",
     true,
     {{"two", 4, 2 * PIECE, false}},
     "df2657a2a87c67ee576eb84c32a02961cf637d400e01c36a063c468c31c03284",
     "836c7d0169bf0edf18401cc73a24b08d70e0d665698b4a96d3f48ef9587e4e21"},
    {"talk",
     false,
     {{"a/b/deep.txt", 5, 16383, false},
      {"a.b", 6, 16384, false},
      {"a/b.c", 7, 16385, true},
      {"a/b/z", 8, PIECE - 1, false},
      {"empty", 0, 0, false},
      {"one", 9, 1, false},
      {"z/piece", 10, PIECE, false},
      {"z/over", 11, PIECE + 1, false},
      {"Z", 12, 5 * PIECE + 16384, false},
      {"\xc3\xa9t\xc3\xa9/\xe2\x82\xac", 13, 300, false},
      {"twin1", 14, PIECE + 1, false},
      {"twin2", 14, PIECE + 1, false}},
     "661c813e20e9b52d2bd53615a0364dce6f38a453ba142f1e128f357b4e12e930",
     "77ca7f446b25d9eb7c50c2029162460df5ef729b50fd5ac76a1f9d42b23a9f08"},
};

static void expect_hex(const uint8_t hash[static HASH_LEN], const char *want)
{
    char hex[2 * HASH_LEN + 1];
    for (int i = 0; i < HASH_LEN; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    cr_expect_str_eq(hex, want);
}

static struct manifest *build_golden(const struct golden *g)
{
    struct manifest *m;
    uint32_t count = 0;
    while (g->files[count].path)
        count++;
    cr_assert(eq(int, fixture_build(g->name, g->single, PIECE, g->files, count, &m), 0));
    return m;
}

Test(manifest, ids_and_torrents_are_libtorrents)
{
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
        struct manifest *m = build_golden(&golden[i]);
        uint8_t *torrent, hash[HASH_LEN];
        size_t len;
        expect_hex(manifest_id(m), golden[i].id);
        cr_expect(eq(int, manifest_single(m), golden[i].single));
        cr_assert(eq(int, manifest_torrent(m, &torrent, &len), 0));
        sha256(torrent, len, hash);
        expect_hex(hash, golden[i].torrent);
        free(torrent);
        manifest_free(m);
    }
}

Test(manifest, files_come_back_in_the_order_of_the_tree)
{
    static const char *const want[] = {
        "Z",   "a/b/deep.txt", "a/b/z", "a/b.c",  "a.b",     "empty",
        "one", "twin1",        "twin2", "z/over", "z/piece", "\xc3\xa9t\xc3\xa9/\xe2\x82\xac"};
    struct manifest *m = build_golden(&golden[4]);
    cr_assert(eq(u32, manifest_files(m), 12));
    cr_assert_str_eq(manifest_name(m), "talk");
    cr_assert(eq(u32, manifest_piece_len(m), PIECE));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 12; i++) {
        struct manifest_file f;
        manifest_file_at(m, i, &f);
        cr_expect_str_eq(f.path, want[i]);
        cr_expect(eq(int, f.exec, strcmp(f.path, "a/b.c") == 0));
        sum += f.bytes;
    }
    cr_assert(eq(u64, manifest_bytes(m), sum));
    manifest_free(m);
}

static struct manifest *parse_again(const struct manifest *m)
{
    struct manifest *copy;
    size_t len;
    const uint8_t *info = manifest_info(m, &len);
    cr_assert(eq(int, manifest_parse(sha256, info, len, &copy), 0));
    return copy;
}

Test(manifest, layers_are_checked_against_the_roots)
{
    struct manifest *m = build_golden(&golden[4]), *copy = parse_again(m);
    size_t len = manifest_layers_bytes(m);
    cr_assert(eq(sz, len, (6 + 2 + 2 + 2) * HASH_LEN));
    cr_assert_arr_eq(manifest_id(copy), manifest_id(m), HASH_LEN);
    cr_assert(not(manifest_complete(copy)));
    cr_assert(eq(ptr, (void *)manifest_piece_hash(copy, 0, 0), NULL));
    uint8_t *torrent;
    size_t torrent_len;
    cr_assert(eq(int, manifest_torrent(copy, &torrent, &torrent_len), ERR_DAMAGED));

    uint8_t *blob = malloc(len);
    memcpy(blob, manifest_layers(m), len);
    cr_assert(eq(int, manifest_layers_load(copy, sha256, blob, len - HASH_LEN), ERR_MESSAGE));
    for (size_t i = 0; i < len; i += HASH_LEN) {
        blob[i] ^= 1;
        cr_assert(eq(int, manifest_layers_load(copy, sha256, blob, len), ERR_HASH));
        blob[i] ^= 1;
    }
    cr_assert(not(manifest_complete(copy)));
    cr_assert(eq(int, manifest_layers_load(copy, sha256, blob, len), 0));
    cr_assert(manifest_complete(copy));
    for (uint32_t piece = 0; piece < 6; piece++)
        cr_assert_arr_eq(manifest_piece_hash(copy, 0, piece), blob + piece * HASH_LEN, HASH_LEN);
    free(blob);
    manifest_free(copy);
    manifest_free(m);
}

Test(manifest, a_file_of_one_piece_needs_no_layer)
{
    struct manifest *m = build_golden(&golden[2]), *copy = parse_again(m);
    struct manifest_file f;
    manifest_file_at(copy, 0, &f);
    cr_assert(manifest_complete(copy));
    cr_assert(eq(sz, manifest_layers_bytes(copy), 0));
    cr_assert_arr_eq(manifest_piece_hash(copy, 0, 0), f.root, HASH_LEN);
    cr_assert(eq(int, manifest_layers_load(copy, sha256, NULL, 0), 0));
    manifest_free(copy);
    manifest_free(m);
}

/* --- the key --- */

static void expect_key(bool same, const char *a, const struct fixture_file *of_a, const char *b,
                       const struct fixture_file *of_b, bool single)
{
    struct manifest *x, *y;
    cr_assert(eq(int, fixture_build(a, single, PIECE, of_a, 1, &x), 0));
    cr_assert(eq(int, fixture_build(b, single, PIECE, of_b, 1, &y), 0));
    cr_expect(eq(int, memcmp(manifest_key(x), manifest_key(y), HASH_LEN) == 0, same));
    manifest_free(x);
    manifest_free(y);
}

Test(manifest, the_key_ignores_the_share_s_own_name_and_nothing_else)
{
    static const struct fixture_file a = {"a", 1, 100, false},
                                     long_name = {"a longer name", 1, 100, false},
                                     other = {"a", 2, 100, false}, exec = {"a", 1, 100, true};
    expect_key(true, "a", &a, "a longer name", &long_name, true);
    expect_key(false, "a", &a, "a", &other, true);
    expect_key(false, "a", &a, "a", &exec, true);
    expect_key(true, "folder", &a, "another folder", &a, false);
    expect_key(false, "folder", &a, "folder", &long_name, false);
}

Test(manifest, the_key_is_the_hash_of_the_emptied_dictionary)
{
    static const struct fixture_file empty = {"a", 0, 0, false};
    static const char single[] = "d9:file treed0:d0:d6:lengthi0eeee12:meta versioni2e4:name0:"
                                 "12:piece lengthi65536ee";
    static const char folder[] = "d9:file treed1:ad0:d6:lengthi0eeee12:meta versioni2e4:name0:"
                                 "12:piece lengthi65536ee";
    uint8_t want[HASH_LEN];
    struct manifest *m;
    cr_assert(eq(int, fixture_build("a", true, PIECE, &empty, 1, &m), 0));
    sha256(single, strlen(single), want);
    cr_expect_arr_eq(manifest_key(m), want, HASH_LEN);
    manifest_free(m);
    cr_assert(eq(int, fixture_build("dir", false, PIECE, &empty, 1, &m), 0));
    sha256(folder, strlen(folder), want);
    cr_expect_arr_eq(manifest_key(m), want, HASH_LEN);
    manifest_free(m);
}

/* --- what is refused --- */

static void expect_parse(const char *info, int want)
{
    struct manifest *m;
    cr_expect(eq(int, manifest_parse(sha256, (const uint8_t *)info, strlen(info), &m), want), "%s",
              info);
    cr_expect(eq(int, m != NULL, want == 0), "%s", info);
    manifest_free(m);
}

#define TAIL    "12:meta versioni2e4:name1:n12:piece lengthi65536ee"
#define ROOT    "11:pieces root32:0123456789abcdef0123456789abcdef"
#define TREE(t) "d9:file treed" t "e" TAIL
#define FILE1   "d0:d6:lengthi1e" ROOT "ee"
#define EMPTY   "d0:d6:lengthi0eee"

Test(manifest, accepts)
{
    expect_parse(TREE("1:a" FILE1), 0);
    expect_parse(TREE("1:a" EMPTY), 0);
    expect_parse(TREE("1:ad1:b" EMPTY "e1:b" FILE1), 0);
    expect_parse(TREE("1:ad0:d4:attr1:h6:lengthi0e5:otherl1:xeee"), 0);
    expect_parse("d4:abcd"
                 "le9:file treed1:a" EMPTY "e" TAIL,
                 0);
}

Test(manifest, refuses_what_is_not_a_v2_dictionary)
{
    expect_parse("", ERR_BENCODE);
    expect_parse("x", ERR_BENCODE);
    expect_parse("de", ERR_MANIFEST);
    expect_parse("le", ERR_MANIFEST);
    expect_parse("i1e", ERR_MANIFEST);
    expect_parse(TREE("1:a" FILE1) "e", ERR_BENCODE);
    expect_parse("d9:file tree0:" TAIL, ERR_MANIFEST);
    expect_parse("d9:file treed1:a" FILE1 "e12:meta versioni1e4:name1:n12:piece lengthi65536ee",
                 ERR_MANIFEST);
    expect_parse("d9:file treed1:a" FILE1 "e4:name1:n12:piece lengthi65536ee", ERR_MANIFEST);
    expect_parse("d9:file treed1:a" FILE1 "e12:meta versioni2e12:piece lengthi65536ee",
                 ERR_MANIFEST);
    expect_parse("d9:file treed1:a" FILE1 "e12:meta versioni2e4:name1:nee", ERR_BENCODE);
    expect_parse("d9:file treed1:a" FILE1 "e12:meta versioni2e4:name1:ne", ERR_MANIFEST);
    expect_parse("d9:file treed1:a" FILE1 "e12:meta versioni2e4:name2:..12:piece lengthi65536ee",
                 ERR_NAME);
    expect_parse("d9:file treed1:a" FILE1 "e12:meta versioni2e4:name3:a/b12:piece lengthi65536ee",
                 ERR_NAME);
}

Test(manifest, refuses_odd_piece_lengths)
{
    static const char *const lengths[] = {
        "0", "-16384", "8192", "16383", "98304", "268435456", "9223372036854775807"};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        char info[256];
        snprintf(info, sizeof(info),
                 "d9:file treed1:a" EMPTY "e12:meta versioni2e4:name1:n12:piece lengthi%see",
                 lengths[i]);
        expect_parse(info, ERR_MANIFEST);
    }
}

Test(manifest, refuses_bad_trees)
{
    expect_parse(TREE(""), ERR_MANIFEST);
    expect_parse(TREE("0:d6:lengthi0ee"), ERR_MANIFEST);
    expect_parse(TREE("1:ade"), ERR_MANIFEST);
    expect_parse(TREE("1:ad1:bdee"), ERR_MANIFEST);
    expect_parse(TREE("1:a" FILE1 "1:bde"), ERR_MANIFEST);
    expect_parse(TREE("1:ai1e"), ERR_MANIFEST);
    expect_parse(TREE("1:a0:"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:i1ee"), ERR_MANIFEST);
    /* a file and a folder at once */
    expect_parse(TREE("1:ad0:d6:lengthi0ee1:b" EMPTY "e"), ERR_MANIFEST);
    expect_parse(TREE("1:a" EMPTY "1:a" EMPTY), ERR_BENCODE);
    expect_parse(TREE("1:b" EMPTY "1:a" EMPTY), ERR_BENCODE);
    expect_parse(TREE("2:.." EMPTY), ERR_NAME);
    expect_parse(TREE("1:." EMPTY), ERR_NAME);
    expect_parse(TREE("3:a/b" EMPTY), ERR_NAME);
    expect_parse(TREE("1:\xff" EMPTY), ERR_NAME);
    expect_parse(TREE("2:..d1:a" EMPTY "e"), ERR_NAME);
}

Test(manifest, refuses_bad_files)
{
    expect_parse(TREE("1:ad0:dee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d6:lengthi-1eee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d6:length1:1ee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d6:lengthi1eee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d6:lengthi0e" ROOT "ee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d6:lengthi1e11:pieces root4:abcdee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d4:attr1:l6:lengthi0eee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d4:attr1:p6:lengthi0eee"), ERR_MANIFEST);
    expect_parse(TREE("1:ad0:d4:attri1e6:lengthi0eee"), ERR_MANIFEST);
}

/* 8 EiB - 1 in one file, and more than 2^63 in several. */
Test(manifest, refuses_claims_beyond_the_ceilings)
{
#define HUGE_FILE "d0:d6:lengthi9223372036854775807e" ROOT "ee"
    expect_parse(TREE("1:a" HUGE_FILE), ERR_LIMIT);
    expect_parse(TREE("1:a" HUGE_FILE "1:b" HUGE_FILE "1:c" HUGE_FILE), ERR_LIMIT);
    expect_parse(TREE("1:ad0:d6:lengthi9223372036854775808e" ROOT "ee"), ERR_BENCODE);
    /* 2^21 pieces of 64 KiB are the most; one byte more is a piece more. */
    expect_parse(TREE("1:ad0:d6:lengthi137438953472e" ROOT "ee"), 0);
    expect_parse(TREE("1:ad0:d6:lengthi137438953473e" ROOT "ee"), ERR_LIMIT);
}

static int build_deep(unsigned depth)
{
    char path[256] = "";
    struct manifest *m;
    for (unsigned i = 0; i < depth; i++)
        strcat(path, i ? "/d" : "d");
    int err = fixture_build("n", false, PIECE, &(struct fixture_file){path, 1, 1, false}, 1, &m);
    manifest_free(m);
    return err;
}

Test(manifest, depth_has_a_ceiling)
{
    cr_assert(eq(int, build_deep(MANIFEST_DEPTH_MAX), 0));
    cr_assert(eq(int, build_deep(MANIFEST_DEPTH_MAX + 1), ERR_LIMIT));
    char info[1024] = "d9:file treed";
    for (int i = 0; i <= MANIFEST_DEPTH_MAX; i++)
        strcat(info, i ? "d1:d" : "1:d");
    strcat(info, EMPTY);
    for (int i = 0; i < MANIFEST_DEPTH_MAX; i++)
        strcat(info, "e");
    strcat(info, "e" TAIL);
    expect_parse(info, ERR_LIMIT);
}

/* One deep folder, very many files: every path would repeat 4 KB. */
Test(manifest, paths_stay_in_proportion_to_the_dictionary)
{
    enum { FOLDERS = 15, FILES = 20000, CAP = 1 << 20 };
    char *info = malloc(CAP), folder[200];
    memset(folder, 'd', sizeof(folder));
    struct bencode_out out = bencode_out(info, CAP);
    bencode_put_dict(&out);
    bencode_put_text(&out, "file tree");
    for (int i = 0; i < FOLDERS; i++) {
        bencode_put_dict(&out);
        bencode_put_bytes(&out, folder, sizeof(folder));
    }
    bencode_put_dict(&out);
    for (int i = 0; i < FILES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%05d", i);
        bencode_put_text(&out, name);
        bencode_put_raw(&out, EMPTY, strlen(EMPTY));
    }
    for (int i = 0; i <= FOLDERS; i++)
        bencode_put_end(&out);
    bencode_put_raw(&out, TAIL, strlen(TAIL));
    cr_assert(le(sz, out.used_bytes, CAP));
    struct manifest *m;
    int err = manifest_parse(sha256, (const uint8_t *)info, out.used_bytes, &m);
    cr_assert(eq(int, err, ERR_LIMIT));
    free(info);
}

/* --- building --- */

static void expect_build(const char *name, bool single, const char *a, const char *b, int want)
{
    struct manifest *m;
    const struct fixture_file files[] = {{a, 1, 10, false}, {b, 2, 20, false}};
    cr_expect(eq(int, fixture_build(name, single, PIECE, files, b ? 2 : 1, &m), want), "%s, %s", a,
              b ? b : "");
    manifest_free(m);
}

Test(manifest, build_refuses_what_it_cannot_name)
{
    expect_build("n", false, "a", "a", ERR_MANIFEST);
    expect_build("n", false, "a/b", "a", ERR_MANIFEST);
    expect_build("n", false, "a//b", NULL, ERR_NAME);
    expect_build("n", false, "/a", NULL, ERR_NAME);
    expect_build("n", false, "a/", NULL, ERR_NAME);
    expect_build("n", false, "", NULL, ERR_NAME);
    expect_build("n", false, "../a", NULL, ERR_NAME);
    expect_build("..", false, "a", NULL, ERR_NAME);
    expect_build("a", false, "a", NULL, ERR_NAME);
    expect_build("a", true, "b", NULL, ERR_MANIFEST);
    expect_build("a", true, "a", NULL, 0);
    expect_build("a", false, "a", "b", 0);
    expect_build("a", false, "a/b", "a.b", 0);
    struct manifest *m;
    cr_expect(eq(int, fixture_build("n", false, PIECE, NULL, 0, &m), ERR_MANIFEST));
    const struct fixture_file f = {"a", 1, 1, false};
    cr_expect(eq(int, fixture_build("n", false, PIECE - 1, &f, 1, &m), ERR_MANIFEST));
}

Test(manifest, build_checks_the_layers_it_is_given)
{
    uint8_t layer[2 * HASH_LEN] = {0};
    struct manifest *m;
    struct manifest_file f = {.path = "a", .bytes = PIECE + 1, .layer = layer};
    cr_assert(eq(int, manifest_build(sha256, "n", false, PIECE, &f, 1, &m), ERR_HASH));
    f.layer = NULL;
    cr_assert(eq(int, manifest_build(sha256, "n", false, PIECE, &f, 1, &m), ERR_MANIFEST));
    f.bytes = UINT64_MAX;
    cr_assert(eq(int, manifest_build(sha256, "n", false, PIECE, &f, 1, &m), ERR_LIMIT));
}

/* Random trees: what is built is parsed to the same, in sorted order. */
Test(manifest, random_trees_survive_the_round_trip)
{
    static const char *const parts[] = {"a", "b", "a.b", "a-b", "B", "\xc3\xa9", "a b", "ab"};
    unsigned seed = 7;
    for (int round = 0; round < 300; round++) {
        char paths[20][64];
        struct fixture_file files[20];
        uint32_t count = 1 + (uint32_t)rand_r(&seed) % 20;
        for (uint32_t i = 0; i < count; i++) {
            snprintf(paths[i], sizeof(paths[i]), "%s/%s/%u", parts[rand_r(&seed) % 8],
                     parts[rand_r(&seed) % 8], i);
            if (rand_r(&seed) % 3 == 0)
                snprintf(paths[i], sizeof(paths[i]), "%u.%s", i, parts[rand_r(&seed) % 8]);
            files[i] = (struct fixture_file){paths[i], i, (uint32_t)rand_r(&seed) % 70000, i % 2};
        }
        struct manifest *m, *copy;
        cr_assert(eq(int, fixture_build("n", false, PIECE, files, count, &m), 0), "round %d",
                  round);
        copy = parse_again(m);
        cr_assert(eq(u32, manifest_files(copy), count));
        cr_assert_arr_eq(manifest_key(copy), manifest_key(m), HASH_LEN);
        manifest_free(copy);
        manifest_free(m);
    }
}

Test(manifest, a_hundred_thousand_files)
{
    enum { COUNT = 100000 };
    struct manifest_file *files = calloc(COUNT, sizeof(*files));
    for (uint32_t i = 0; i < COUNT; i++) {
        char *path = malloc(64);
        snprintf(path, 64, "folder %u/sub %u/file %u.txt", i % 97, i % 13, i);
        files[i] = (struct manifest_file){.path = path, .bytes = 1 + i % 5000, .root = {1}};
    }
    struct timespec begin, end;
    struct manifest *m;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    cr_assert(eq(int, manifest_build(sha256, "many", false, PIECE, files, COUNT, &m), 0));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    cr_log_info("built in %.0f ms", (double)(end.tv_sec - begin.tv_sec) * 1e3 +
                                        (double)(end.tv_nsec - begin.tv_nsec) / 1e6);
    cr_assert(eq(u32, manifest_files(m), COUNT));
    manifest_free(m);
    for (uint32_t i = 0; i < COUNT; i++)
        free((void *)files[i].path);
    free(files);
}

Test(manifest, piece_lengths)
{
    const uint64_t mib = 1 << 20, gib = 1 << 30;
    const struct {
        uint64_t total;
        uint32_t piece;
    } want[] = {{0, 128 << 10},          {256 * mib, 128 << 10},     {256 * mib + 1, 256 << 10},
                {512 * mib, 256 << 10},  {512 * mib + 1, 512 << 10}, {gib, 512 << 10},
                {gib + 1, 1 << 20},      {8 * gib, 4 << 20},         {9 * gib, 4 << 20},
                {128 * gib, 4 << 20},    {128 * gib + 1, 8 << 20},   {1024 * gib, 32 << 20},
                {4096 * gib, 128 << 20}, {UINT64_MAX, 128 << 20}};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        cr_expect(eq(u32, manifest_piece_bytes(want[i].total), want[i].piece), "%zu", i);
}
