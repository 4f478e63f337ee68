#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/library.h"
#include "tests/unit/share_fixture.h"

static char dir[64];
static unsigned problems;

static void on_problem(void *arg, const char *text)
{
    (void)arg;
    (void)text;
    problems++;
}

static struct library *open_library(void)
{
    struct library *l;

    cr_assert_eq(library_open(dir, sha256, on_problem, NULL, &l), 0);
    return l;
}

static struct manifest *a_manifest(const char *name, uint32_t seed)
{
    struct fixture_file files[] = {{"a", seed, 200000, false}, {"b/c", seed + 1, 10, true}};
    struct manifest *m;

    cr_assert_eq(fixture_build(name, false, 16384, files, 2, &m), 0);
    return m;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/ronda-library-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    problems = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(library, .init = setup, .fini = teardown);

static const struct store_stamp stamps[2] = {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}};

Test(library, a_held_share_is_there_after_a_restart)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("talk", 1), *again;
    struct library_share *s;
    struct store_stamp *got;
    uint8_t id[HASH_LEN];

    cr_assert_eq(library_add_held(l, m, "/srv/t\xff\xfelk", true, stamps, &s), 0);
    memcpy(id, s->id, HASH_LEN);
    library_close(l);

    l = open_library();
    s = library_find(l, id);
    cr_assert_not_null(s);
    cr_assert_str_eq(s->name, "talk");
    cr_assert_str_eq(s->path, "/srv/t\xff\xfelk", "a path is bytes, UTF-8 or not");
    cr_assert(s->origin);
    cr_assert_eq(s->state, LIBRARY_HELD);
    cr_assert_eq(s->bytes, 200010);
    cr_assert_eq(s->files, 2);
    cr_assert_eq(library_load(l, s, &again, &got), 0);
    cr_assert(manifest_complete(again));
    cr_assert_eq(memcmp(got, stamps, sizeof(stamps)), 0);
    free(got);
    manifest_free(again);
    manifest_free(m);
    library_close(l);
}

Test(library, a_transfer_keeps_its_state_and_becomes_held)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("talk", 1), *again;
    struct library_share *s;
    struct store_stamp *got;

    cr_assert_eq(library_add_receiving(l, m, "/home/x", &s), 0);
    cr_assert_eq(library_set_final_name(l, s, "talk (2)"), 0);
    cr_assert_eq(library_set_state(l, s, LIBRARY_PAUSED), 0);
    library_close(l);

    l = open_library();
    cr_assert_eq(library_count(l), 1);
    s = library_at(l, 0);
    cr_assert_eq(s->state, LIBRARY_PAUSED);
    cr_assert_str_eq(s->dest, "/home/x");
    cr_assert_str_eq(s->final_name, "talk (2)");
    cr_assert_eq(library_load(l, s, &again, &got), 0);
    cr_assert_null(got);
    manifest_free(again);
    cr_assert_eq(library_add_held(l, m, "/home/x/talk (2)", false, stamps, &s), 0);
    cr_assert_eq(library_count(l), 1, "the same id takes the same place");
    cr_assert_eq(s->state, LIBRARY_HELD);
    manifest_free(m);
    library_close(l);
}

Test(library, removing_forgets_one_share_and_keeps_the_rest)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("one", 1), *other = a_manifest("two", 9);
    struct library_share *s, *t;

    cr_assert_eq(library_add_held(l, m, "/one", true, stamps, &s), 0);
    cr_assert_eq(library_add_held(l, other, "/two", true, stamps, &t), 0);
    cr_assert_eq(library_remove(l, s), 0);
    cr_assert_eq(library_count(l), 1);
    library_close(l);
    l = open_library();
    cr_assert_eq(library_count(l), 1);
    cr_assert_str_eq(library_at(l, 0)->name, "two");
    cr_assert_eq(problems, 0);
    manifest_free(m);
    manifest_free(other);
    library_close(l);
}

Test(library, one_content_under_two_names_is_found_by_its_key)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("one", 1), *other = a_manifest("two", 1);
    struct library_share *s, *t;

    cr_assert_eq(library_add_held(l, m, "/one", true, stamps, &s), 0);
    cr_assert_eq(library_add_held(l, other, "/two", true, stamps, &t), 0);
    cr_assert_eq(library_find_key(l, s->key, NULL), s);
    cr_assert_eq(library_find_key(l, s->key, s), t);
    cr_assert_null(library_find_key(l, s->key, t));
    manifest_free(m);
    manifest_free(other);
    library_close(l);
}

static void share_file(const struct library_share *s, const char *file, char out[static 256])
{
    int used = snprintf(out, 256, "%s/shares/", dir);

    for (unsigned i = 0; i < HASH_LEN; i++)
        used += snprintf(out + used, 256 - (size_t)used, "%02x", s->id[i]);
    snprintf(out + used, 256 - (size_t)used, "%s%s", *file ? "/" : ".bad", file);
}

static void damaged_file_is_put_aside(const char *file)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("talk", 1);
    struct library_share *s;
    char path[256], aside[256];
    int fd;

    cr_assert_eq(library_add_held(l, m, "/talk", true, stamps, &s), 0);
    share_file(s, file, path);
    share_file(s, "", aside);
    library_close(l);
    fd = open(path, O_WRONLY);
    cr_assert(fd >= 0);
    cr_assert_eq(pwrite(fd, "\x01", 1, 3), 1);
    close(fd);

    l = open_library();
    cr_assert_eq(library_count(l), 0);
    cr_assert_eq(problems, 1);
    cr_assert_eq(access(aside, F_OK), 0, "kept for whoever wants to look");
    manifest_free(m);
    library_close(l);
}

Test(library, a_damaged_manifest_is_put_aside)
{
    damaged_file_is_put_aside("info");
}

Test(library, damaged_layers_are_put_aside)
{
    damaged_file_is_put_aside("layers");
}

Test(library, a_damaged_description_is_put_aside)
{
    damaged_file_is_put_aside("share.json");
}

Test(library, a_second_daemon_on_the_same_directory_is_refused)
{
    struct library *l = open_library(), *second;

    cr_assert_eq(library_open(dir, sha256, on_problem, NULL, &second), -EWOULDBLOCK);
    cr_assert_null(second);
    library_close(l);
    l = open_library();
    library_close(l);
}
