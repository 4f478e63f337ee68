#include <criterion/criterion.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/library.h"
#include "tests/unit/share_fixture.h"
#include "transfer/io/workers.h"

static char dir[64];
static unsigned problems;
static bool disk_is_silent; /* no read() is answered */

ssize_t read(int fd, void *buf, size_t n)
{
    if (disk_is_silent) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_read, fd, buf, n);
}

static void on_problem(void *arg, const char *text)
{
    (void)arg;
    (void)text;
    problems++;
}

/* What the disk was made to wait for, and by whom. */
static pid_t loop;
static _Atomic unsigned syncs_here, syncs_of_workers;

int fsync(int fd)
{
    if (gettid() == loop)
        syncs_here++;
    else
        syncs_of_workers++;
    return (int)syscall(SYS_fsync, fd);
}

static struct library *open_library(void)
{
    struct library *l;

    struct library_cfg cfg = {.dir = dir, .hash = sha256, .problem = on_problem};

    cr_assert_eq(library_open(&cfg, &l), 0);
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

static void on_saved(void *arg, int result)
{
    *(int *)arg = result;
}

static struct library_share *keep(struct library *l, const struct library_entry *e)
{
    struct library_share *s;
    int saved = 1;

    cr_assert_eq(library_save(l, e, on_saved, &saved), 0);
    cr_assert_eq(saved, 0);
    cr_assert_eq(library_add(l, e, &s), 0);
    return s;
}

static const struct store_stamp stamps[2] = {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}};

Test(library, a_held_share_is_there_after_a_restart)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("talk", 1), *again;
    struct library_share *s;
    struct store_stamp *got;
    uint8_t id[HASH_LEN];

    s = keep(l, &(struct library_entry){
                    .manifest = m, .path = "/srv/t\xff\xfelk", .stamps = stamps, .origin = true});
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
    cr_assert_eq(library_load(l, s->id, &again, &got), 0);
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

    s = keep(l, &(struct library_entry){.manifest = m, .dest = "/home/x"});
    library_set_final_name(l, s, "talk (2)");
    library_set_state(l, s, LIBRARY_PAUSED);
    library_close(l);

    l = open_library();
    cr_assert_eq(library_count(l), 1);
    s = library_at(l, 0);
    cr_assert_eq(s->state, LIBRARY_PAUSED);
    cr_assert_str_eq(s->dest, "/home/x");
    cr_assert_str_eq(s->final_name, "talk (2)");
    cr_assert_eq(library_load(l, s->id, &again, NULL), 0);
    manifest_free(again);
    s = keep(l, &(struct library_entry){
                    .manifest = m, .path = "/home/x/talk (2)", .stamps = stamps, .origin = false});
    cr_assert_eq(library_count(l), 1, "the same id takes the same place");
    cr_assert_eq(s->state, LIBRARY_HELD);
    manifest_free(m);
    library_close(l);
}

Test(library, removing_forgets_one_share_and_keeps_the_rest)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("one", 1), *other = a_manifest("two", 9);
    struct library_share *s;

    s = keep(l, &(struct library_entry){
                    .manifest = m, .path = "/one", .stamps = stamps, .origin = true});
    (void)keep(l, &(struct library_entry){
                      .manifest = other, .path = "/two", .stamps = stamps, .origin = true});
    library_remove(l, s);
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

    s = keep(l, &(struct library_entry){
                    .manifest = m, .path = "/one", .stamps = stamps, .origin = true});
    t = keep(l, &(struct library_entry){
                    .manifest = other, .path = "/two", .stamps = stamps, .origin = true});
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

    s = keep(l, &(struct library_entry){
                    .manifest = m, .path = "/talk", .stamps = stamps, .origin = true});
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

/* Leaves room for so many more descriptors; returns what the limit was. */
static rlim_t leave_descriptors(unsigned more)
{
    struct rlimit lim;
    rlim_t was;
    int next = dup(0);

    cr_assert(next >= 0);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
    was = lim.rlim_cur;
    lim.rlim_cur = (rlim_t)next + more;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
    return was;
}

static void limit_descriptors(rlim_t limit)
{
    struct rlimit lim;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
    lim.rlim_cur = limit;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
}

Test(library, a_lack_of_descriptors_is_no_damage)
{
    enum { LOCK, SHARES, SCAN, ONE_SHARE, DESCRIPTORS };
    struct library_cfg cfg = {.dir = dir, .hash = sha256, .problem = on_problem};
    struct library *l = open_library();
    struct manifest *m = a_manifest("talk", 1), *again;
    struct store_stamp *got;
    struct library_share *s;
    rlim_t was;
    int rc;

    s = keep(l, &(struct library_entry){
                    .manifest = m, .path = "/talk", .stamps = stamps, .origin = true});
    was = leave_descriptors(1);
    rc = library_load(l, s->id, &again, &got);
    limit_descriptors(was);
    cr_assert_eq(rc, -EMFILE, "%d", rc);
    library_close(l);

    was = leave_descriptors(DESCRIPTORS);
    rc = library_open(&cfg, &l);
    limit_descriptors(was);
    cr_assert_eq(rc, -EMFILE, "%d", rc);
    l = open_library();
    cr_assert_eq(library_count(l), 1, "nothing was put aside");
    cr_assert_eq(problems, 0);
    manifest_free(m);
    library_close(l);
}

Test(library, what_cannot_be_read_now_is_left_for_the_next_start)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("talk", 1);

    (void)keep(l, &(struct library_entry){
                      .manifest = m, .path = "/talk", .stamps = stamps, .origin = true});
    library_close(l);
    disk_is_silent = true;
    l = open_library();
    disk_is_silent = false;
    cr_assert_eq(library_count(l), 0);
    cr_assert_eq(problems, 1, "and that is said");
    library_close(l);
    l = open_library();
    cr_assert_eq(library_count(l), 1);
    cr_assert_eq(problems, 1);
    manifest_free(m);
    library_close(l);
}

Test(library, what_a_crash_left_half_written_goes_with_the_share)
{
    struct library *l = open_library();
    struct manifest *m = a_manifest("talk", 1);
    struct library_share *s;
    char path[256], folder[256];
    int fd;

    s = keep(l, &(struct library_entry){
                    .manifest = m, .path = "/talk", .stamps = stamps, .origin = true});
    share_file(s, "share.json.new", path);
    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert(fd >= 0);
    close(fd);
    library_remove(l, s);
    cr_assert_eq(problems, 0);
    cr_assert_eq(access(folder, F_OK), -1);
    manifest_free(m);
    library_close(l);
}

Test(library, a_second_daemon_on_the_same_directory_is_refused)
{
    struct library *l = open_library(), *second;
    struct library_cfg cfg = {.dir = dir, .hash = sha256, .problem = on_problem};

    cr_assert_eq(library_open(&cfg, &second), -EWOULDBLOCK);
    cr_assert_null(second);
    library_close(l);
    l = open_library();
    library_close(l);
}

/* --- saving on workers --------------------------------------------------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* keeps the one worker busy */

static int run_gate(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return 0;
}

static int run_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void on_stuck(void *arg)
{
    ++*(unsigned *)arg;
}

struct busy {
    struct event_base *base;
    struct workers *workers;
    struct library *library;
    unsigned stuck;
};

static void busy_begin(struct busy *b)
{
    struct library_cfg cfg = {
        .dir = dir, .hash = sha256, .problem = on_problem, .stuck = on_stuck, .arg = &b->stuck};

    b->stuck = 0;
    syncs_here = syncs_of_workers = 0;
    b->base = event_base_new();
    cr_assert_eq(workers_new(b->base, 1, &b->workers), 0);
    cfg.workers = b->workers;
    cr_assert_eq(library_open(&cfg, &b->library), 0);
    loop = gettid();
    pthread_mutex_lock(&gate);
    cr_assert_eq(workers_submit(b->workers, NULL, run_gate, NULL, NULL), 0);
}

/* The worker goes on, until all is saved. */
static void busy_wait(struct busy *b)
{
    pthread_mutex_unlock(&gate);
    while (library_saving(b->library)) {
        event_base_loop(b->base, EVLOOP_ONCE);
        (void)library_go_on(b->library);
    }
}

static void busy_end(struct busy *b)
{
    workers_free(b->workers);
    library_close(b->library);
    event_base_free(b->base);
}

static void assert_kept(const uint8_t *id, enum library_state state, const char *final_name)
{
    struct library *l = open_library();
    struct library_share *s = library_find(l, id);

    cr_assert_not_null(s);
    cr_assert_eq(s->state, state);
    cr_assert_str_eq(s->final_name, final_name);
    library_close(l);
}

Test(library, a_full_queue_holds_up_nobody)
{
    struct busy b;
    struct manifest *m = a_manifest("talk", 1);
    struct library_share *s;
    uint8_t id[HASH_LEN];
    int saved = 1;

    busy_begin(&b);
    while (workers_submit(b.workers, NULL, run_nothing, NULL, NULL) == 0)
        ;
    cr_assert_eq(library_save(b.library, &(struct library_entry){.manifest = m, .dest = "/home/x"},
                              on_saved, &saved),
                 0);
    cr_assert_eq(
        library_add(b.library, &(struct library_entry){.manifest = m, .dest = "/home/x"}, &s), 0);
    library_set_final_name(b.library, s, "talk");
    library_set_state(b.library, s, LIBRARY_PAUSED);
    cr_assert_eq(saved, 1, "told before it could be");
    cr_assert_gt(b.stuck, 0, "nobody would try again");
    memcpy(id, s->id, HASH_LEN);
    busy_wait(&b);
    cr_assert_eq(saved, 0);
    cr_assert_eq(syncs_here, 0, "the loop waited for the disk");
    busy_end(&b);
    assert_kept(id, LIBRARY_PAUSED, "talk");
    manifest_free(m);
}

/* What is long is written from where it stands: to copy it would hold up the loop. */
Test(library, what_is_saved_is_read_when_it_is_written)
{
    struct busy b;
    struct manifest *m = a_manifest("talk", 1), *again;
    struct store_stamp mine[2] = {stamps[0], stamps[1]}, *got;
    int saved = 1;

    busy_begin(&b);
    cr_assert_eq(
        library_save(b.library,
                     &(struct library_entry){.manifest = m, .path = "/srv/talk", .stamps = mine},
                     on_saved, &saved),
        0);
    mine[1].mtime_ns++;
    busy_wait(&b);
    cr_assert_eq(saved, 0);
    cr_assert_eq(library_load(b.library, manifest_id(m), &again, &got), 0);
    cr_assert_arr_eq(got, mine, sizeof(mine));
    free(got);
    manifest_free(again);
    busy_end(&b);
    manifest_free(m);
}

Test(library, of_many_changes_that_wait_the_newest_is_written)
{
    struct busy b;
    struct manifest *m = a_manifest("talk", 1), *again;
    struct library *l = open_library();
    struct library_share *s = keep(l, &(struct library_entry){.manifest = m, .dest = "/home/x"});
    uint8_t id[HASH_LEN];
    char name[32];

    memcpy(id, s->id, HASH_LEN);
    library_close(l);
    busy_begin(&b);
    s = library_find(b.library, id);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "talk (%u)", i);
        library_set_final_name(b.library, s, name);
    }
    busy_wait(&b);
    cr_assert_leq(syncs_of_workers, 3 * 2, "%u", syncs_of_workers);
    cr_assert_eq(library_load(b.library, id, &again, NULL), 0, "the content stays");
    manifest_free(again);
    busy_end(&b);
    assert_kept(id, LIBRARY_RECEIVING, "talk (999)");
    manifest_free(m);
}

Test(library, a_share_that_is_removed_and_saved_again_is_there)
{
    struct busy b;
    struct manifest *m = a_manifest("talk", 1);
    struct library_entry e = {.manifest = m, .dest = "/home/x"};
    struct library_share *s;
    uint8_t id[HASH_LEN];
    int first = 1, second = 1;

    busy_begin(&b);
    cr_assert_eq(library_save(b.library, &e, on_saved, &first), 0);
    cr_assert_eq(library_add(b.library, &e, &s), 0);
    library_remove(b.library, s);
    cr_assert_eq(library_save(b.library, &e, on_saved, &second), 0);
    cr_assert_eq(library_add(b.library, &e, &s), 0);
    library_set_final_name(b.library, s, "talk");
    memcpy(id, s->id, HASH_LEN);
    busy_wait(&b);
    cr_assert_eq(first, 0);
    cr_assert_eq(second, 0);
    busy_end(&b);
    assert_kept(id, LIBRARY_RECEIVING, "talk");
    manifest_free(m);
}

Test(library, what_was_not_saved_by_the_end_is_told)
{
    struct busy b;
    struct manifest *m = a_manifest("talk", 1), *other = a_manifest("other", 5);
    int first = 1, second = 1;

    busy_begin(&b);
    cr_assert_eq(library_save(b.library, &(struct library_entry){.manifest = m, .dest = "/home/x"},
                              on_saved, &first),
                 0);
    cr_assert_eq(library_save(b.library,
                              &(struct library_entry){.manifest = other, .dest = "/home/x"},
                              on_saved, &second),
                 0);
    pthread_mutex_unlock(&gate);
    workers_free(b.workers);
    cr_assert_leq(first, 0);
    cr_assert_leq(second, 0);
    library_close(b.library);
    event_base_free(b.base);
    manifest_free(m);
    manifest_free(other);
}
