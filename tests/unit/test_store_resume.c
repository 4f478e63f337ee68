/* The store: what was written is there after any end, failing syncs and full disks
 * included. */
#include "tests/unit/store_fixture.h"

/* ---- resuming ---- */

Test(store_resume, closed_after_every_chunk_goes_on)
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
    finish(st);
    folder_expect(&s, "talk");
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

Test(store_resume, after_a_reboot_only_what_was_synced_counts)
{
    struct share s;
    struct store_cfg cfg;
    struct store *st;

    st = folder_open(&s);
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
    finish_missing(&s, st);
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

Test(store_resume, killed_at_every_call_and_resumed, .timeout = 120)
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
        finish_missing(&s, st);
        folder_expect(&s, "talk");
        cr_assert_eq(dest_entries(&s), 1, "at call %d", calls);
        share_end(&s);
    }
    cr_assert_eq(code, 0, "never got to the end");
    cr_assert_gt(calls, 20);
}

Test(store_resume, killed_again_and_again_still_ends, .timeout = 120)
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

Test(store_resume, a_flipped_bit_costs_one_chunk)
{
    struct share s;
    struct store *st;
    char path[300];
    uint32_t first, last;

    st = folder_open(&s);
    cr_assert(layout_file_chunks(s.l, file_index(&s, "big.bin"), &first, &last));
    for (uint32_t c = first; c < last; c++)
        cr_assert_eq(chunk_write(&s, st, c), 0);
    cr_assert_eq(store_sync(st), 0);
    store_close(st);
    staged_path(&s, "big.bin", path);
    flip(path, 2 * PIECE + 77);
    st = open_ok(&s);
    cr_assert_eq(store_have(st)->count, last - first - 1);
    cr_assert_not(chunkmap_has(store_have(st), first + 2));
    finish_missing(&s, st);
    folder_expect(&s, "talk");
    share_end(&s);
}

/* In the middle (damage: all is verified by SHA-256), in the header, gone. */
Test(store_resume, a_damaged_journal_costs_nothing_that_is_right)
{
    for (int way = 0; way < 3; way++) {
        struct share s;
        struct store *st;
        char journal[300], part[300];
        uint32_t first, last;

        st = folder_open(&s);
        cr_assert(layout_file_chunks(s.l, file_index(&s, "big.bin"), &first, &last));
        for (uint32_t c = 0; c + 1 < layout_chunks(s.l); c++)
            cr_assert_eq(chunk_write(&s, st, c), 0);
        store_close(st);
        stage_path(&s, "journal", journal);
        staged_path(&s, "big.bin", part);
        if (way == 2)
            cr_assert_eq(unlink(journal), 0);
        else
            flip(journal, way ? 3 : JOURNAL_HEAD_BYTES + 30);
        flip(part, 5);
        st = open_ok(&s);
        cr_assert_eq(store_have(st)->count, layout_chunks(s.l) - 2, "way %d", way);
        cr_assert_not(chunkmap_has(store_have(st), first));
        finish_missing(&s, st);
        folder_expect(&s, "talk");
        share_end(&s);
    }
}

Test(store_resume, two_stores_on_one_staging_directory)
{
    struct share s;
    struct store *st, *other;
    struct store_cfg cfg;

    st = folder_open(&s);
    cfg = cfg_of(&s);
    cr_assert_eq(store_open_receive(&cfg, &other), -EBUSY);
    cr_assert_null(other);
    store_close(st);
    st = open_ok(&s);
    store_close(st);
    share_end(&s);
}

Test(store_resume, discard_leaves_only_what_was_finished)
{
    struct share s;
    struct store *st = folder_open(&s);

    cr_assert_eq(store_sync(st), 0);
    cr_assert_eq(chunk_write(&s, st, 0), 0);
    cr_assert_eq(dest_entries(&s), 2);
    cr_assert_eq(store_discard(st), 0);
    store_close(st);
    cr_assert_eq(dest_entries(&s), 1);
    file_expect(&s, "talk/empty", "empty", 0, 0666 & ~umask_now());
    share_end(&s);
}

Test(store_resume, a_foreign_file_in_the_staging_directory_stays)
{
    struct share s;
    struct store *st;
    char stage[300], foreign[300];

    st = folder_open(&s);
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

Test(store_resume, discard_leaves_a_foreign_file)
{
    struct share s;
    struct store *st;
    char path[300];

    st = folder_open(&s);
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

/* ---- failing syncs ---- */

Test(store_resume, a_failed_sync_is_verified_from_disk_then_tried_once)
{
    struct share s;
    struct store *st = folder_open(&s);

    write_missing(&s, st);
    atomic_store(&fsync_fails, 1);
    finish(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

Test(store_resume, two_failed_syncs_in_a_row_are_an_error)
{
    struct share s;
    struct store *st = folder_open(&s);

    write_missing(&s, st);
    atomic_store(&fsync_fails, 2);
    cr_assert_eq(store_sync(st), -EIO);
    cr_assert_eq(store_files_done(st), 0);
    cr_assert_not(store_done(st));
    finish(st);
    folder_expect(&s, "talk");
    share_end(&s);
}

Test(store_resume, what_a_failed_sync_lost_is_no_longer_held)
{
    struct share s;
    struct store *st;
    char path[300];
    uint32_t first, last;

    st = folder_open(&s);
    cr_assert(layout_file_chunks(s.l, file_index(&s, "big.bin"), &first, &last));
    write_missing(&s, st);
    staged_path(&s, "big.bin", path);
    flip(path, PIECE + 3);
    atomic_store(&fsync_fails, 1);
    cr_assert_eq(store_sync(st), -EIO);
    cr_assert_not(chunkmap_has(store_have(st), first + 1));
    cr_assert_eq(store_have(st)->count, layout_chunks(s.l) - 1);
    finish_missing(&s, st);
    folder_expect(&s, "talk");
    share_end(&s);
}

/* Whichever sync fails, the open or the sync says so or gets over it, and the
 * next try ends well. */
Test(store_resume, each_sync_may_fail_once, .timeout = 120)
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

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static void renamed_count(void *arg, const struct journal_record *r)
{
    *(int *)arg += r->type == JOURNAL_RENAMED;
}

static int renamed_in_journal(const struct share *s, const struct store *st)
{
    struct journal_report rep;
    int n = 0;

    cr_assert_eq(journal_load(st->stage_fd, manifest_id(s->m), renamed_count, &n, &rep), 0);
    return n;
}

/* A store with two files in one folder and one in the next, after a pass in which the
 * sync of what ends with path failed. */
static struct store *sync_failed(struct share *s, const char *path)
{
    for (int n = 0; n < KILL_TRIES_MAX; n++) {
        struct manifest_file f[] = {{.path = "a/1", .bytes = 1000},
                                    {.path = "a/2", .bytes = 1000},
                                    {.path = "b/1", .bytes = 1000}};
        struct store *st;

        share_make(s, "two", false, f, 3);
        st = open_ok(s);
        write_missing(s, st);
        sync_failed_at[0] = 0;
        atomic_store(&fsync_skip, n);
        atomic_store(&fsync_fails, 1);
        if (store_sync(st) != 0 && ends_with(sync_failed_at, path))
            return st;
        cr_assert_eq(atomic_load(&fsync_fails), 0, "nothing syncs %s", path);
        store_close(st);
        share_end(s);
    }
    cr_assert_fail();
    return NULL;
}

/* RENAMED says that the name lasts: neither before its folder is synced, nor because
 * the journal is rewritten meanwhile. */
Test(store_resume, names_that_may_not_last_are_not_in_the_journal)
{
    struct share s;
    struct store *st = sync_failed(&s, "/two/a");

    cr_assert_eq(renamed_in_journal(&s, st), 0);
    syncfs_broken = true;
    st->journal_limit_bytes = 0;
    cr_assert_eq(store_sync(st), -EIO);
    cr_assert_eq(renamed_in_journal(&s, st), 0);
    syncfs_broken = false;
    finish(st);
    folder_expect(&s, "two");
    cr_assert_eq(dest_entries(&s), 1);
    share_end(&s);
}

/* The kernel reports a failed write-back once: the second sync of the same journal
 * would succeed, whatever the disk holds. */
Test(store_resume, a_journal_whose_sync_failed_is_written_anew_or_not_believed)
{
    struct share s;
    struct store *st;
    int n, err;

    for (n = 0; n < KILL_TRIES_MAX; n++) {
        st = folder_open(&s);
        cr_assert_eq(chunk_write(&s, st, 0), 0);
        no_room_for_journal = true;
        sync_failed_at[0] = 0;
        atomic_store(&fsync_skip, n);
        atomic_store(&fsync_fails, 1);
        err = store_sync(st);
        if (ends_with(sync_failed_at, "/journal"))
            break;
        no_room_for_journal = false;
        cr_assert_eq(atomic_load(&fsync_fails), 0, "nothing syncs the journal");
        store_close(st);
        share_end(&s);
    }
    cr_assert_eq(err, -EIO);
    cr_assert_eq(chunk_write(&s, st, 1), 0);
    cr_assert_eq(store_sync(st), -EIO, "no room yet for a new one");
    no_room_for_journal = false;
    cr_assert_eq(store_sync(st), 0);
    finish_missing(&s, st);
    folder_expect(&s, "talk");
    share_end(&s);
}

/* ---- space ---- */

Test(store_resume, too_little_room_is_said_at_open)
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

Test(store_resume, full_disk_is_no_loss)
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
    finish_missing(&s, st);
    file_expect(&s, "one.iso", "one.iso", f.bytes, 0666 & ~umask_now());
    umount(s.dest);
    free(junk);
    share_end(&s);
}
