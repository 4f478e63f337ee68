/* The store: what was written is there, finished files are whole, many of them and
 * many workers at once. */
#include "tests/unit/store_fixture.h"

#include "transfer/io/clock.h"

/* ---- the plain way ---- */

Test(store, folder_from_nothing_to_done)
{
    struct share s;
    struct store *st;
    const char *first;
    char path[200];

    st = folder_open(&s);
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
    chunks_expect(&s, st);
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
    struct store *st = folder_open(&s);

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

/* The first whole file gets its name at once; those after it wait for company. */
Test(store, whole_files_wait_for_company)
{
    struct share s;
    struct store *st;
    uint64_t at;

    st = folder_open(&s);
    cr_assert_eq(store_sync_at_ms(st), 0, "empty files wait, and no sync was yet");
    cr_assert_eq(store_sync(st), 0);
    cr_assert_eq(store_sync_at_ms(st), UINT64_MAX);
    for (uint32_t c = 0; c < layout_chunks(s.l); c++)
        cr_assert_eq(chunk_write(&s, st, c), 0);
    at = store_sync_at_ms(st);
    cr_assert_leq(at, clock_ms() + STORE_REST_MS);
    cr_assert(store_sync_due(st, at));
    cr_assert_not(store_sync_due(st, at - 1));
    cr_assert_eq(store_sync(st), 0);
    cr_assert_eq(store_sync_at_ms(st), UINT64_MAX);
    store_close(st);
    share_end(&s);
}

/* Somebody cut what is staged: it gets no name. */
Test(store, a_staged_file_of_another_size_is_not_named)
{
    struct share s;
    struct store *st;
    char path[300];

    st = folder_open(&s);
    write_missing(&s, st);
    staged_path(&s, "small1", path);
    cr_assert_eq(truncate(path, 1), 0);
    cr_assert_eq(store_sync(st), -EIO);
    cr_assert_not(store_done(st));
    cr_assert_eq(access(path, F_OK), 0);
    store_close(st);
    share_end(&s);
}

Test(store, wrong_arguments)
{
    struct share s;
    struct store *st;
    uint8_t buf[PIECE] = {0};

    st = folder_open(&s);
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

    st = folder_open(&s);
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

    st = folder_open(&s);
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

/* ---- many files ---- */

Test(store, bundles_of_small_files, .timeout = 60)
{
    static struct manifest_file f[FILES_MAX];
    static char path[FILES_MAX][32];
    struct share s;
    struct store *st;

    for (uint32_t i = 0; i < FILES_MAX; i++) {
        snprintf(path[i], sizeof(path[i]), "d%u/f%u", i / 50, i);
        f[i] = (struct manifest_file){.path = path[i], .bytes = i * 37 % 9000};
    }
    share_make(&s, "talk", false, f, FILES_MAX);
    st = open_ok(&s);
    write_missing(&s, st);
    cr_assert_lt(dir_entries("/proc/self/fd"), STORE_FDS_MAX + 14);
    cr_assert_eq(store_sync(st), 0);
    cr_assert(store_done(st));
    chunks_expect(&s, st);
    store_close(st);
    folder_expect(&s, "talk");
    cr_assert_eq(dest_entries(&s), 1);
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
    finish(c.st);
    folder_expect(&s, "talk");
    share_end(&s);
}

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

/* A rewrite beside running writes forgets none of them. */
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
        finish_missing(&s, c.st);
        folder_expect(&s, "talk");
        share_end(&s);
    }
}
