#include "transfer/core/name.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

static void expect_check(const char *name, size_t len, bool good)
{
    cr_expect(eq(int, name_check(name, len), good ? 0 : ERR_NAME), "%.*s", (int)len, name);
}

Test(name, ordinary_names_pass)
{
    static const char *const good[] = {"a",
                                       "talk",
                                       "...",
                                       ".bashrc",
                                       "a b",
                                       "a\\b",
                                       "C:",
                                       "CON",
                                       "~",
                                       "-rf",
                                       "\xc3\xa9t\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x8e\x89",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\nb",
                                       "\x1b[31m",
                                       " ",
                                       "..a",
                                       "a.."};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        expect_check(good[i], strlen(good[i]), true);
}

Test(name, what_could_leave_its_folder_is_refused)
{
    static const char *const bad[] = {"", ".", "..", "/", "a/b", "../a", "/etc", "a/", "//"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_check(bad[i], strlen(bad[i]), false);
    expect_check("a\0b", 3, false);
    expect_check("\0", 1, false);
}

Test(name, what_is_not_utf8_is_refused)
{
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xc3",             /* cut short */
        "\xc3(",            /* no continuation */
        "\xc0\xaf",         /* overlong '/' */
        "\xc1\xbf",         /* overlong */
        "\xe0\x80\xaf",     /* overlong '/' */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* surrogate */
        "\xed\xbf\xbf",     /* surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
        "ok\xe2\x82",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_check(bad[i], strlen(bad[i]), false);
}

Test(name, length_is_at_most_255_bytes)
{
    char name[NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof(name));
    expect_check(name, NAME_BYTES_MAX, true);
    expect_check(name, NAME_BYTES_MAX + 1, false);
}

static void expect_on_disk(const char *name, const char *want)
{
    char out[NAME_BYTES_MAX + 1];
    name_to_disk(name, out);
    cr_expect_str_eq(out, want);
}

Test(name, controls_and_overrides_do_not_reach_the_disk)
{
    expect_on_disk("plain.txt", "plain.txt");
    expect_on_disk("a\x1b[2Jb\nc\x7f", "a_[2Jb_c_");
    expect_on_disk("x\xc2\x80\xc2\x9fy\xc2\xa0", "x__y\xc2\xa0");
    expect_on_disk("\xe2\x80\xae"
                   "gpj.exe",
                   "_gpj.exe");
    expect_on_disk("\xe2\x81\xa6\xe2\x81\xa9", "__");
    expect_on_disk("\xe2\x80\x8f\xd7\xa9", "\xe2\x80\x8f\xd7\xa9");
}

static void expect_alternative(const char *name, unsigned n, bool is_dir, const char *want)
{
    char out[NAME_BYTES_MAX + 1];
    name_alternative(name, n, is_dir, out);
    cr_expect_str_eq(out, want);
}

Test(name, alternatives_keep_the_extension)
{
    expect_alternative("talk", 2, true, "talk (2)");
    expect_alternative("talk.d", 2, true, "talk.d (2)");
    expect_alternative("talk.pdf", 3, false, "talk (3).pdf");
    expect_alternative("a.tar.gz", 2, false, "a.tar (2).gz");
    expect_alternative(".bashrc", 2, false, ".bashrc (2)");
    expect_alternative("...x", 2, false, "...x (2)");
    expect_alternative(".a.b", 2, false, ".a (2).b");
    expect_alternative("a.", 2, false, "a (2).");
    expect_alternative("x", 4294967295u, false, "x (4294967295)");
}

Test(name, alternatives_are_cut_on_a_character)
{
    char name[NAME_BYTES_MAX + 1] = "", out[NAME_BYTES_MAX + 1];
    for (int i = 0; i < 84; i++)
        strcat(name, "\xe2\x82\xac");
    strcat(name, ".gz");
    cr_assert(eq(sz, strlen(name), 255));
    name_alternative(name, 2, false, out);
    cr_assert(eq(int, name_check(out, strlen(out)), 0));
    cr_assert(eq(sz, strlen(out), 82 * 3 + 7));
    cr_assert_str_eq(out + strlen(out) - 7, " (2).gz");
}

Test(name, an_endless_extension_is_part_of_the_stem)
{
    char name[NAME_BYTES_MAX + 1], out[NAME_BYTES_MAX + 1];
    memset(name, 'e', NAME_BYTES_MAX);
    name[NAME_BYTES_MAX] = '\0';
    name[1] = '.';
    name_alternative(name, 12, false, out);
    cr_assert(eq(sz, strlen(out), NAME_BYTES_MAX));
    cr_assert_str_eq(out + NAME_BYTES_MAX - 5, " (12)");
}

Test(name, cut_never_splits_a_character)
{
    char text[] = "a\xe2\x82\xac\xf0\x9f\x8e\x89";
    name_cut(text, 8);
    cr_assert(eq(sz, strlen(text), 8));
    name_cut(text, 7);
    cr_assert(eq(sz, strlen(text), 4));
    name_cut(text, 3);
    cr_assert_str_eq(text, "a");
    name_cut(text, 0);
    cr_assert_str_eq(text, "");
}

/* Whatever passes the check stays acceptable under every rewriting. */
Test(name, random_names_stay_good)
{
    static const char *const parts[] = {"a",    ".",        "..",           " ",
                                        "\x01", "\xc3\xa9", "\xe2\x80\xae", "\xf0\x9f\x8e\x89",
                                        "/",    "\xff",     "\xc2\x85",     "abcdefgh"};
    unsigned seed = 20240601, passed = 0;
    for (int round = 0; round < 20000; round++) {
        char name[NAME_BYTES_MAX * 2] = "", out[NAME_BYTES_MAX + 1];
        int count = rand_r(&seed) % 40;
        for (int i = 0; i < count; i++)
            strcat(name, parts[rand_r(&seed) % (count < 4 ? 12 : 8)]);
        if (name_check(name, strlen(name)) != 0)
            continue;
        passed++;
        name_to_disk(name, out);
        cr_assert(eq(int, name_check(out, strlen(out)), 0), "round %d", round);
        name_alternative(name, 2 + (unsigned)round, round & 1, out);
        cr_assert(eq(int, name_check(out, strlen(out)), 0), "round %d", round);
    }
    cr_assert(gt(uint, passed, 10000));
}
