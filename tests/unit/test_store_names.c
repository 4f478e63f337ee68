/* The store: where files go, what stands there already, and that nothing of the
 * user's is touched. */
#include "tests/unit/store_fixture.h"

/* ---- what stands there already ---- */

Test(store_names, what_is_there_already_is_not_fetched)
{
    struct share s;
    struct store *st;
    uint32_t chunks;

    st = folder_open(&s);
    finish_missing(&s, st);
    st = open_ok(&s);
    cr_assert(store_done(st));
    cr_assert_str_eq(store_final_name(st), "talk");
    chunks = layout_chunks(s.l);
    cr_assert_eq(store_have(st)->count, chunks);
    store_close(st);
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

Test(store_names, single_file_identical_and_different)
{
    struct manifest_file f = {.path = "one.tar.gz", .bytes = 2 * PIECE + 5};
    struct share s;
    struct store *st;

    share_make(&s, "one.tar.gz", true, &f, 1);
    file_put(s.dest, "one.tar.gz", "mine", 4);
    st = open_ok(&s);
    cr_assert_str_eq(store_final_name(st), "one.tar (2).gz");
    finish_missing(&s, st);
    file_expect(&s, "one.tar (2).gz", "one.tar.gz", f.bytes, 0666 & ~umask_now());
    st = open_ok(&s);
    cr_assert(store_done(st));
    cr_assert_str_eq(store_final_name(st), "one.tar (2).gz");
    store_close(st);
    cr_assert_eq(dest_entries(&s), 2);
    share_end(&s);
}

Test(store_names, the_name_is_taken_while_it_is_fetched)
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

Test(store_names, files_of_the_user_in_a_folder_stay)
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
    chunks_expect(&s, st);
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

Test(store_names, a_file_where_the_folder_should_be)
{
    struct share s;
    struct store *st;

    folder_make(&s);
    file_put(s.dest, "talk", "mine", 4);
    st = open_ok(&s);
    cr_assert_str_eq(store_final_name(st), "talk (2)");
    finish_missing(&s, st);
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

Test(store_names, planted_symlinks_are_not_followed)
{
    struct share s;
    struct store *st;
    char outside[100], talk[100];

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
    finish_missing(&s, st);
    file_expect(&s, "talk/a (2)/b/c/deep.txt", "a/b/c/deep.txt", 1, 0666 & ~umask_now());
    file_expect(&s, "talk/small2 (2)", "small2", 20000, 0666 & ~umask_now());
    cr_assert_eq(dir_entries(outside), 0, "nothing was made outside");
    share_end(&s);
}

Test(store_names, a_staging_directory_that_is_a_symlink_is_refused)
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

Test(store_names, names_that_become_the_same_on_disk)
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
    chunks_expect(&s, st);
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

Test(store_names, modes_follow_the_umask)
{
    static const mode_t masks[] = {0, 022, 077, 027};

    for (size_t i = 0; i < 4; i++) {
        struct share s;
        struct store *st;
        mode_t old = umask(masks[i]);

        st = folder_open(&s);
        finish_missing(&s, st);
        folder_expect(&s, "talk");
        umask(old);
        share_end(&s);
    }
}
