/* The store: files of the user, read, audited, and refused when they changed. */
#include "tests/unit/store_fixture.h"

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

Test(store_shared, shared_folder_reads_and_verifies)
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
    chunks_expect(&s, st);
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
Test(store_shared, a_changed_source_is_refused)
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

Test(store_shared, what_was_only_touched_is_found_right)
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

Test(store_shared, a_change_during_the_read_is_seen)
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

Test(store_shared, a_finished_file_that_is_edited_is_refused)
{
    struct share s;
    struct store *st;
    uint8_t buf[PIECE];
    uint32_t first, last;
    char path[200];

    st = folder_open(&s);
    write_missing(&s, st);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(layout_file_chunks(s.l, file_index(&s, "big.bin"), &first, &last));
    snprintf(path, sizeof(path), "%s/talk/big.bin", s.dest);
    flip(path, 3);
    cr_assert_eq(store_read(st, first, 0, buf, 100), ERR_CHANGED);
    store_close(st);
    share_end(&s);
}

Test(store_shared, verify_names_the_wrong_file)
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

Test(store_shared, verify_stops_when_told)
{
    struct share s;
    struct store *st;
    const char *first;
    uint64_t at = 2 * PIECE;

    st = folder_open(&s);
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
    finish(st);
    stop = true;
    cr_assert_eq(store_open_receive(&cfg, &st), ERR_CANCELLED,
                 "while looking at what stands there");
    cr_assert_eq(dest_entries(s), 1);
}

Test(store_shared, an_open_stops_when_told)
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
