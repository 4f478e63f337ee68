/* Making durable. Order: sync the part files, then SYNCED and FILE_DONE into the
 * journal, sync that, then the final names, sync the directories, then RENAMED;
 * filesystems keep no other (Pillai et al., "All File Systems Are Not Created
 * Equal", OSDI 2014). One pass takes everything that waits, so ten thousand small
 * files cost a few syncs, not thousands. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transfer/io/clock.h"
#include "transfer/io/store_int.h"

/* What one pass makes durable. Whoever writes meanwhile fills the next one. */
struct batch {
    uint32_t *fresh, *dirty, *whole;
    uint32_t fresh_count, dirty_count, whole_count;
    uint32_t placed; /* whole[0..placed) got their final names */
    uint64_t upto;   /* journal: EXTENTs up to here are covered */
    uint64_t bytes;
    uint64_t since_ms;
};

static void batch_free(struct batch *b)
{
    free(b->fresh);
    free(b->dirty);
    free(b->whole);
}

static uint32_t *list_copy(const uint32_t *list, uint32_t count)
{
    uint32_t *copy = malloc((count + (size_t)1) * sizeof(*copy));

    if (copy && count)
        memcpy(copy, list, count * sizeof(*copy));
    return copy;
}

/* Both locks held. */
static int batch_fill(struct store *s, struct batch *b)
{
    b->fresh_count = s->fresh_count;
    b->dirty_count = s->dirty_count;
    b->whole_count = atomic_load(&s->whole_count);
    b->fresh = list_copy(s->fresh, b->fresh_count);
    b->dirty = list_copy(s->dirty, b->dirty_count);
    b->whole = list_copy(s->whole, b->whole_count);
    if (!b->fresh || !b->dirty || !b->whole)
        return -ENOMEM;
    b->upto = s->journal ? journal_seq(s->journal) : 0;
    for (uint32_t i = 0; i < b->dirty_count; i++)
        s->file[b->dirty[i]].dirty = false;
    s->fresh_count = s->dirty_count = 0;
    atomic_store(&s->whole_count, 0);
    b->bytes = atomic_exchange(&s->unsynced_bytes, 0);
    b->since_ms = atomic_exchange(&s->unsynced_since_ms, 0);
    return 0;
}

static int batch_take(struct store *s, struct batch *b)
{
    int err;

    memset(b, 0, sizeof(*b));
    pthread_mutex_lock(&s->journal_lock);
    pthread_mutex_lock(&s->lock);
    err = batch_fill(s, b);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->journal_lock);
    return err;
}

/* Back on the lists with what was not done. */
static void batch_restore(struct store *s, const struct batch *b, bool synced)
{
    pthread_mutex_lock(&s->journal_lock);
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; !synced && i < b->fresh_count; i++)
        s->fresh[s->fresh_count++] = b->fresh[i];
    for (uint32_t i = 0; !synced && i < b->dirty_count; i++)
        if (!s->file[b->dirty[i]].dirty) {
            s->file[b->dirty[i]].dirty = true;
            s->dirty[s->dirty_count++] = b->dirty[i];
        }
    for (uint32_t i = b->placed; i < b->whole_count; i++)
        s->whole[atomic_fetch_add(&s->whole_count, 1)] = b->whole[i];
    if (!synced) {
        atomic_fetch_add(&s->unsynced_bytes, b->bytes);
        if (b->since_ms)
            atomic_store(&s->unsynced_since_ms, b->since_ms);
    }
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->journal_lock);
}

/* ---- data ---- */

static int file_sync(struct store *s, uint32_t file)
{
    struct fd_slot *slot;
    int err = fds_get(s, file, false, false, &slot);

    if (err)
        return err;
    err = fdatasync(slot->fd) < 0 ? -errno : 0;
    fds_put(s, slot);
    return err;
}

static int files_sync(struct store *s, const struct batch *b, bool grew)
{
    int err = 0;

    if (b->dirty_count > STORE_BULK_FILES)
        return syncfs(s->stage_fd) < 0 ? -errno : 0;
    for (uint32_t i = 0; !err && i < b->dirty_count; i++)
        err = file_sync(s, b->dirty[i]);
    if (!err && grew && fsync(s->stage_fd) < 0)
        err = -errno;
    return err;
}

/* The entry of a new file in the staging directory must last as well as its
 * bytes do. */
static int data_sync(struct store *s, const struct batch *b)
{
    bool grew = atomic_exchange(&s->stage_grew, false);
    int err = files_sync(s, b, grew);

    if (err && grew)
        atomic_store(&s->stage_grew, true);
    return err;
}

/* After a failed sync the page cache may hold what the disk does not: out of
 * it, and what is read next comes from the disk. */
static void file_uncache(struct store *s, uint32_t file)
{
    struct fd_slot *slot;

    fds_forget(s, file);
    if (fds_get(s, file, false, false, &slot) != 0)
        return;
    (void)posix_fadvise(slot->fd, 0, 0, POSIX_FADV_DONTNEED);
    fds_put(s, slot);
}

/* Lock held. */
static void files_count_up(struct store *s, uint32_t chunk)
{
    struct layout_iter it;
    struct layout_seg seg;

    layout_iter_begin(s->layout, chunk, &it);
    while (layout_iter_next(&it, &seg))
        if (!s->file[seg.file].in_place)
            s->file[seg.file].missing++;
}

static uint32_t list_keep_whole(const struct store *s, uint32_t *list, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++)
        if (s->file[list[i]].missing == 0)
            list[kept++] = list[i];
    return kept;
}

static void chunk_lost(struct store *s, struct batch *b, uint32_t at)
{
    struct journal_record r = {.type = JOURNAL_DROP, .chunk = b->fresh[at]};

    pthread_mutex_lock(&s->journal_lock);
    if (journal_put(s->journal, &r) != 0 || journal_flush(s->journal) != 0) {
        /* The EXTENT that stays fails its XXH3 check at the next open. */
    }
    pthread_mutex_lock(&s->lock);
    chunkmap_clear(&s->have, r.chunk);
    files_count_up(s, r.chunk);
    b->whole_count = list_keep_whole(s, b->whole, b->whole_count);
    atomic_store(&s->whole_count, list_keep_whole(s, s->whole, atomic_load(&s->whole_count)));
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->journal_lock);
    b->fresh[at] = b->fresh[--b->fresh_count];
}

/* Verifies each chunk of the batch again from disk; those that are wrong are no
 * longer held. Returns how many, or an error. */
static int batch_check(struct store *s, struct batch *b)
{
    uint8_t *buf = malloc(layout_chunk_bytes_max(s->layout));
    int lost = 0;

    if (!buf)
        return -ENOMEM;
    for (uint32_t i = 0; i < b->dirty_count; i++)
        file_uncache(s, b->dirty[i]);
    for (uint32_t i = 0; i < b->fresh_count;) {
        uint32_t chunk = b->fresh[i];
        uint32_t len = layout_chunk_bytes(s->layout, chunk);

        if (store_chunk_read(s, chunk, 0, buf, len, 0) == 0 &&
            store_chunk_check(s, chunk, buf, NULL) == 0) {
            i++;
            continue;
        }
        chunk_lost(s, b, i);
        lost++;
    }
    free(buf);
    return lost;
}

/* A failed sync is never simply tried again and trusted. The caller hears of
 * lost chunks by -EIO, and opens the store again to go on. */
static int data_sync_checked(struct store *s, struct batch *b)
{
    int err = data_sync(s, b);
    int lost;

    if (!err)
        return 0;
    lost = batch_check(s, b);
    if (lost != 0)
        return lost < 0 ? lost : -EIO;
    return data_sync(s, b);
}

/* ---- journal ---- */

/* journal_lock held. */
static int records_put(struct store *s, const struct batch *b)
{
    struct journal_record r = {.type = JOURNAL_SYNCED, .upto = b->upto, .mark = s->boot_mark};
    int err = journal_put(s->journal, &r);

    r.type = JOURNAL_FILE_DONE;
    for (uint32_t i = 0; !err && i < b->whole_count; i++) {
        r.file = b->whole[i];
        err = journal_put(s->journal, &r);
    }
    return err ? err : journal_flush(s->journal);
}

/* 0: the journal on disk is whole, and a new one if need be. err: of the sync of the old
 * one, whose write-back cannot be trusted after an error, however often it is asked. */
static int journal_renew(struct store *s, int err)
{
    int renewed;

    pthread_mutex_lock(&s->journal_lock);
    renewed = stage_journal_rewrite(s);
    pthread_mutex_unlock(&s->journal_lock);
    if (!err && renewed == -ENOSPC)
        return 0; /* it is only long */
    s->journal_doubtful = renewed != 0;
    return renewed && err ? err : renewed;
}

/* Only a sync replaces the journal, and this is the only sync: so it may be
 * synced with no lock held, while others append. */
static int journal_batch(struct store *s, const struct batch *b)
{
    bool small;
    int err;

    pthread_mutex_lock(&s->journal_lock);
    err = records_put(s, b);
    small = journal_bytes(s->journal) <= s->journal_limit_bytes;
    pthread_mutex_unlock(&s->journal_lock);
    if (err)
        return err;
    err = s->journal_doubtful ? -EIO : journal_sync(s->journal);
    return !err && small ? 0 : journal_renew(s, err);
}

static int journal_renamed(struct store *s, const struct batch *b)
{
    int err = 0;

    pthread_mutex_lock(&s->journal_lock);
    for (uint32_t i = 0; !err && i < b->placed; i++) {
        const struct store_file *f = &s->file[b->whole[i]];
        struct journal_record r = {.type = JOURNAL_RENAMED,
                                   .file = b->whole[i],
                                   .variant = f->variant,
                                   .ino = f->stamp.ino,
                                   .bytes = f->stamp.bytes,
                                   .mtime_ns = f->stamp.mtime_ns,
                                   .ctime_ns = f->stamp.ctime_ns};

        err = journal_put(s->journal, &r);
    }
    if (!err)
        err = journal_flush(s->journal);
    pthread_mutex_unlock(&s->journal_lock);
    return err;
}

/* ---- final names ---- */

/* Where the next file goes; neighbours in the manifest share a directory. */
struct finisher {
    struct store *store;
    bool bulk;   /* directories are synced all at once, at the end */
    bool failed; /* to sync one: which names last nobody knows */
    int dir_fd;
    const char *prefix; /* path of the last file, of which prefix_bytes name dir_fd */
    size_t prefix_bytes;
};

static int finisher_leave(struct finisher *x)
{
    int err = 0;

    if (x->dir_fd < 0)
        return 0;
    if (!x->bulk && fsync(x->dir_fd) < 0)
        err = -errno;
    x->failed = x->failed || err;
    close(x->dir_fd);
    x->dir_fd = -1;
    return err;
}

static int finisher_enter(struct finisher *x, uint32_t file, const char **component)
{
    struct manifest_file mf;
    const char *slash;
    size_t bytes;
    int err;

    manifest_file_at(x->store->manifest, file, &mf);
    slash = x->store->single ? NULL : strrchr(mf.path, '/');
    bytes = slash ? (size_t)(slash - mf.path) + 1 : 0;
    *component = mf.path + bytes;
    if (x->dir_fd >= 0 && bytes == x->prefix_bytes && memcmp(mf.path, x->prefix, bytes) == 0)
        return 0;
    err = finisher_leave(x);
    if (err)
        return err;
    x->dir_fd = tree_parent(x->store, file, true, !x->bulk, component);
    x->prefix = mf.path;
    x->prefix_bytes = bytes;
    return x->dir_fd < 0 ? x->dir_fd : 0;
}

/* The name of a file at try n of its variants; a single file's first try is
 * the name chosen at open. */
static void finisher_name(const struct store *s, uint32_t file, const char *component,
                          uint32_t variant, char out[static NAME_BYTES_MAX + 1])
{
    if (s->single && variant == s->file[file].variant)
        snprintf(out, NAME_BYTES_MAX + 1, "%s", atomic_load(&s->place)->name);
    else
        tree_leaf(component, variant, out);
}

/* leaf: the name given. The number of its variant, or negative. */
static int name_give(struct finisher *x, uint32_t file, const char *staged, const char *component,
                     char leaf[static NAME_BYTES_MAX + 1])
{
    struct store *s = x->store;
    uint32_t variant;
    int err = -EEXIST;

    for (variant = s->file[file].variant; variant <= STORE_VARIANTS_MAX; variant++) {
        finisher_name(s, file, component, variant, leaf);
        err = tree_rename_new(s->stage_fd, staged, x->dir_fd, leaf);
        if (err != -EEXIST)
            break;
    }
    if (!err && s->single && strcmp(leaf, atomic_load(&s->place)->name) != 0)
        err = store_place_set(s, leaf);
    return err ? err : (int)variant;
}

static int stat_checked(const struct store *s, uint32_t file, int dir_fd, const char *name,
                        struct stat *st)
{
    struct manifest_file mf;

    manifest_file_at(s->manifest, file, &mf);
    if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return (uint64_t)st->st_size == mf.bytes && S_ISREG(st->st_mode) ? 0 : -EIO;
}

/* No chunk has made it. */
static int empty_file_make(struct store *s, uint32_t file, bool sync)
{
    struct fd_slot *slot;
    int err = fds_get(s, file, true, false, &slot);

    if (err)
        return err;
    if (sync && fsync(slot->fd) < 0)
        err = -errno;
    fds_put(s, slot);
    return err;
}

static void file_placed(struct store *s, uint32_t file, uint32_t variant, const struct stat *st)
{
    struct store_file *f = &s->file[file];

    pthread_mutex_lock(&s->lock);
    store_stamp_from(st, &f->stamp);
    f->variant = variant;
    f->in_place = true;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->files_done, 1);
}

/* From the staging directory to its final place. What stands there afterwards must be
 * what was staged, not something that somebody put there since. */
static int file_move(struct finisher *x, uint32_t file, const char *component)
{
    struct store *s = x->store;
    char leaf[NAME_BYTES_MAX + 1], staged[16];
    struct stat before, st;
    int variant = 0, err;

    snprintf(staged, sizeof(staged), "%u", file);
    err = stat_checked(s, file, s->stage_fd, staged, &before);
    if (!err)
        err = variant = name_give(x, file, staged, component, leaf);
    if (err >= 0)
        err = stat_checked(s, file, x->dir_fd, leaf, &st);
    if (!err && (st.st_ino != before.st_ino || st.st_dev != before.st_dev))
        err = -EIO;
    if (!err)
        file_placed(s, file, (uint32_t)variant, &st);
    return err;
}

/* The file is held until its new place is known, so that a reader never looks for
 * it under the old name. Closed then: a program cannot be started while somebody
 * has it open for writing. By name alone, not opened: with ten thousand small
 * files that is half of what finishing one costs. */
static int file_finish(struct finisher *x, uint32_t file)
{
    struct store *s = x->store;
    struct manifest_file mf;
    struct fd_slot *slot;
    const char *component;
    int err = finisher_enter(x, file, &component);

    manifest_file_at(s->manifest, file, &mf);
    if (!err && mf.bytes == 0)
        err = empty_file_make(s, file, !x->bulk);
    if (err)
        return err;
    slot = fds_hold(s, file);
    err = file_move(x, file, component);
    fds_release(s, slot);
    return err;
}

/* Something that is no folder took our name meanwhile: the next one. */
static int root_make(struct store *s)
{
    char mapped[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];
    int err;

    if (s->single)
        return 0;
    err = tree_root(s, true);
    name_to_disk(manifest_name(s->manifest), mapped);
    for (unsigned n = 2; err == -ENOTDIR && n <= STORE_VARIANTS_MAX; n++) {
        name_alternative(mapped, n, true, name);
        err = store_place_set(s, name);
        if (!err)
            err = tree_root(s, true);
    }
    return err;
}

static int file_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static int batch_finish(struct store *s, struct batch *b)
{
    struct finisher x = {.store = s, .bulk = b->whole_count > STORE_BULK_FILES, .dir_fd = -1};
    int err, end;

    if (b->whole_count == 0)
        return 0;
    qsort(b->whole, b->whole_count, sizeof(*b->whole), file_cmp);
    err = root_make(s);
    while (!err && b->placed < b->whole_count) {
        err = file_finish(&x, b->whole[b->placed]);
        if (!err)
            b->placed++;
    }
    end = finisher_leave(&x);
    if (!end && x.bulk && b->placed && syncfs(s->dest_fd) < 0)
        end = -errno;
    if (!end && !x.failed)
        end = journal_renamed(s, b);
    if (!err)
        err = end;
    s->names_unsynced |= err != 0;
    return err;
}

/* ---- the pass ---- */

static int batch_run(struct store *s, struct batch *b)
{
    int err = data_sync_checked(s, b);

    if (!err)
        err = journal_batch(s, b);
    if (err) {
        batch_restore(s, b, false);
        return err;
    }
    err = batch_finish(s, b);
    if (b->placed < b->whole_count)
        batch_restore(s, b, true);
    return err;
}

/* Names given in a pass that failed: whichever directory it was, they are on
 * one filesystem. Before all else: a journal written anew says that they last. */
static int names_sync(struct store *s)
{
    if (!s->names_unsynced)
        return 0;
    if (syncfs(s->dest_fd) < 0)
        return -errno;
    s->names_unsynced = false;
    return 0;
}

static int sync_locked(struct store *s)
{
    struct batch b;
    int err;

    if (atomic_load(&s->done))
        return 0;
    err = names_sync(s);
    if (err)
        return err;
    err = batch_take(s, &b);
    if (!err && (b.dirty_count || b.whole_count || b.fresh_count))
        err = batch_run(s, &b);
    batch_free(&b);
    if (!err && atomic_load(&s->files_done) == s->files) {
        (void)!stage_remove(s); /* every file stands where it belongs, whatever is left of it */
        atomic_store(&s->done, true);
    }
    return err;
}

int store_sync(struct store *s)
{
    int err;

    if (s->shared)
        return 0;
    pthread_mutex_lock(&s->sync_lock);
    err = sync_locked(s);
    atomic_store(&s->synced_ms, clock_ms());
    pthread_mutex_unlock(&s->sync_lock);
    return err;
}

/* A pass costs a commit of the filesystem or more, whatever it covers: small files wait
 * for company. With 10,000 of them 70 passes become a handful. */
static uint64_t names_at_ms(const struct store *s)
{
    uint64_t synced = atomic_load(&s->synced_ms);

    if (atomic_load(&s->whole_count) == 0)
        return UINT64_MAX;
    return synced == 0 ? 0 : synced + STORE_REST_MS;
}

uint64_t store_sync_at_ms(const struct store *s)
{
    uint64_t since = atomic_load(&s->unsynced_since_ms), at;

    if (s->shared || atomic_load(&s->done))
        return UINT64_MAX;
    if (atomic_load(&s->unsynced_bytes) >= STORE_SYNC_BYTES)
        return 0;
    at = names_at_ms(s);
    return since != 0 && since + STORE_SYNC_MS < at ? since + STORE_SYNC_MS : at;
}

bool store_sync_due(const struct store *s, uint64_t now_ms)
{
    uint64_t at = store_sync_at_ms(s);

    return at != UINT64_MAX && at <= now_ms;
}
