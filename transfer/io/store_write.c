/* Chunks in. Order: pwrite, file on the dirty list, EXTENT into the journal,
 * held: so a sync that sees the EXTENT syncs the file, too. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "transfer/io/clock.h"
#include "transfer/io/file.h"
#include "transfer/io/store_int.h"

uint64_t store_space_free(int fd, uint64_t *total_bytes)
{
    struct statvfs v;

    if (fstatvfs(fd, &v) < 0) {
        *total_bytes = 0;
        return UINT64_MAX;
    }
    *total_bytes = (uint64_t)v.f_blocks * v.f_frsize;
    return (uint64_t)v.f_bavail * v.f_frsize;
}

static bool space_for(struct store *s, uint64_t bytes)
{
    uint64_t total;
    uint64_t avail = store_space_free(s->stage_fd, &total);

    return avail >= bytes && avail - bytes >= s->reserve_bytes;
}

static bool step_taken(const uint8_t *steps, uint64_t step)
{
    return steps && (steps[step / 8] >> (step % 8) & 1);
}

/* Marks step; false when there is no memory for the map, which only costs
 * another fallocate() of what is there. */
static void step_mark(struct store *s, uint32_t file, uint64_t file_bytes, uint64_t step)
{
    struct store_file *f = &s->file[file];

    pthread_mutex_lock(&s->lock);
    if (!f->steps)
        f->steps = calloc(1, (size_t)(file_bytes / STORE_STEP_BYTES / 8 + 1));
    if (f->steps)
        f->steps[step / 8] = (uint8_t)(f->steps[step / 8] | 1U << (step % 8));
    pthread_mutex_unlock(&s->lock);
}

static int room_take(int fd, uint64_t offset_bytes, uint64_t len_bytes)
{
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset_bytes, (off_t)len_bytes) == 0)
        return 0;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR)
        return 0;
    return -errno;
}

static bool file_is_small(const struct store *s, uint32_t file, struct manifest_file *mf)
{
    manifest_file_at(s->manifest, file, mf);
    return mf->bytes <= STORE_STEP_BYTES;
}

/* A small file's blocks come with its bytes; whether there is room for them is asked once
 * for all that a chunk has of such files. */
static int small_room(struct store *s, uint32_t chunk)
{
    struct manifest_file mf;
    struct layout_iter it;
    struct layout_seg seg;
    uint64_t bytes = 0;

    layout_iter_begin(s->layout, chunk, &it);
    pthread_mutex_lock(&s->lock);
    while (layout_iter_next(&it, &seg))
        if (!s->file[seg.file].in_place && file_is_small(s, seg.file, &mf))
            bytes += seg.len_bytes;
    pthread_mutex_unlock(&s->lock);
    return bytes == 0 || space_for(s, bytes) ? 0 : -ENOSPC;
}

/* Room for a segment of a large file, with the rest of its step when the filesystem has
 * that much over: 64 MiB at a time keep big files in one piece. On tmpfs there are no
 * pieces, and room ahead would be zeroed first and written over later. */
static int seg_room(struct store *s, const struct layout_seg *seg, int fd)
{
    struct manifest_file mf;
    uint64_t step = seg->offset_bytes / STORE_STEP_BYTES;
    uint64_t begin = step * STORE_STEP_BYTES, len = STORE_STEP_BYTES;
    bool taken;

    if (file_is_small(s, seg->file, &mf))
        return 0;
    if (s->in_memory)
        return space_for(s, seg->len_bytes) ? 0 : -ENOSPC;
    pthread_mutex_lock(&s->lock);
    taken = step_taken(s->file[seg->file].steps, step);
    pthread_mutex_unlock(&s->lock);
    if (taken)
        return 0;
    if (begin + len > mf.bytes)
        len = mf.bytes - begin;
    if (space_for(s, len) && room_take(fd, begin, len) == 0) {
        step_mark(s, seg->file, mf.bytes, step);
        return 0;
    }
    if (!space_for(s, seg->len_bytes))
        return -ENOSPC;
    return room_take(fd, seg->offset_bytes, seg->len_bytes);
}

static void dirty_mark(struct store *s, uint32_t file)
{
    pthread_mutex_lock(&s->lock);
    if (!s->file[file].dirty) {
        s->file[file].dirty = true;
        s->dirty[s->dirty_count++] = file;
    }
    pthread_mutex_unlock(&s->lock);
}

/* Files already in place (they stood there before) are never written to. */
static int seg_write(struct store *s, const struct layout_seg *seg, const uint8_t *data)
{
    struct fd_slot *slot;
    bool in_place;
    int err;

    pthread_mutex_lock(&s->lock);
    in_place = s->file[seg->file].in_place;
    pthread_mutex_unlock(&s->lock);
    if (in_place)
        return 0;
    err = fds_get(s, seg->file, true, false, &slot);
    if (err)
        return err;
    err = seg_room(s, seg, slot->fd);
    if (!err)
        err = file_write_at(slot->fd, data, seg->len_bytes, seg->offset_bytes);
    fds_put(s, slot);
    dirty_mark(s, seg->file);
    return err;
}

static int segs_write(struct store *s, uint32_t chunk, const uint8_t *data)
{
    struct layout_iter it;
    struct layout_seg seg;
    int err = small_room(s, chunk);

    layout_iter_begin(s->layout, chunk, &it);
    while (!err && layout_iter_next(&it, &seg)) {
        err = seg_write(s, &seg, data);
        data += seg.len_bytes;
    }
    return err;
}

/* Lock held. */
static void files_count_down(struct store *s, uint32_t chunk)
{
    struct layout_iter it;
    struct layout_seg seg;

    layout_iter_begin(s->layout, chunk, &it);
    while (layout_iter_next(&it, &seg)) {
        struct store_file *f = &s->file[seg.file];

        if (!f->in_place && --f->missing == 0)
            s->whole[atomic_fetch_add(&s->whole_count, 1)] = seg.file;
    }
}

static void chunk_held(struct store *s, uint32_t chunk, uint64_t hash, uint32_t len_bytes)
{
    uint64_t none = 0;

    pthread_mutex_lock(&s->lock);
    s->chunk_hash[chunk] = hash;
    chunkmap_set(&s->have, chunk);
    s->fresh[s->fresh_count++] = chunk;
    files_count_down(s, chunk);
    atomic_fetch_add(&s->unsynced_bytes, len_bytes);
    atomic_compare_exchange_strong(&s->unsynced_since_ms, &none, clock_ms());
    pthread_mutex_unlock(&s->lock);
}

/* The record and what memory says of the chunk change together, so that a
 * rewrite of the journal loses nothing. */
static int chunk_record(struct store *s, uint32_t chunk, uint64_t hash, uint32_t len_bytes)
{
    struct journal_record r = {.type = JOURNAL_EXTENT, .chunk = chunk, .hash = hash};
    int err;

    pthread_mutex_lock(&s->journal_lock);
    err = s->journal ? journal_put(s->journal, &r) : -EBADF;
    if (!err)
        err = journal_flush(s->journal);
    if (!err)
        chunk_held(s, chunk, hash, len_bytes);
    pthread_mutex_unlock(&s->journal_lock);
    return err;
}

/* One writer a chunk: a second one of the same bytes (endgame) waits for the
 * first. True: held already. */
static bool writing_begin(struct store *s, uint32_t chunk)
{
    bool held;

    pthread_mutex_lock(&s->lock);
    while (chunkmap_has(&s->writing, chunk))
        pthread_cond_wait(&s->written, &s->lock);
    held = chunkmap_has(&s->have, chunk);
    if (!held)
        chunkmap_set(&s->writing, chunk);
    pthread_mutex_unlock(&s->lock);
    return held;
}

static void writing_end(struct store *s, uint32_t chunk)
{
    pthread_mutex_lock(&s->lock);
    chunkmap_clear(&s->writing, chunk);
    pthread_cond_broadcast(&s->written);
    pthread_mutex_unlock(&s->lock);
}

int store_write(struct store *s, uint32_t chunk, const uint8_t *data, uint32_t len_bytes)
{
    int err;

    if (s->shared || chunk >= s->chunks || len_bytes != layout_chunk_bytes(s->layout, chunk))
        return -EINVAL;
    if (writing_begin(s, chunk))
        return 0;
    err = segs_write(s, chunk, data);
    if (!err)
        err = chunk_record(s, chunk, XXH3_64bits(data, len_bytes), len_bytes);
    writing_end(s, chunk);
    return err == -EDQUOT ? -ENOSPC : err;
}
