/* Opening a receiving store: what is held already, from the journal, the staged
 * files and what stands at the final place. Every extent is read again and
 * checked (XXH3) before it counts, so a flipped bit costs one chunk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "transfer/io/file.h"
#include "transfer/io/store_int.h"

/* What the journal says, on trial. */
struct resume {
    struct store *store;
    struct journal_report report;
    uint64_t *seq; /* of each chunk's EXTENT; 0: none */
    uint64_t upto, mark;
    bool staged;   /* there was a staging directory */
    bool verify;   /* the journal is damaged or gone: SHA-256 for everything */
    bool unsynced; /* something was accepted that may be in memory only */
    char name[NAME_BYTES_MAX + 1];
};

/* The owner's wish, looked at between one chunk or piece and the next. */
static bool is_stopped(const struct store *s)
{
    return s->stop && *s->stop;
}

/* ---- journal ---- */

static void renamed_note(struct store *s, const struct journal_record *r)
{
    struct store_file *f;

    if (r->file >= s->files || r->variant < 1 || r->variant > STORE_VARIANTS_MAX)
        return;
    f = &s->file[r->file];
    f->in_place = true;
    f->variant = r->variant;
    f->stamp = (struct store_stamp){
        .ino = r->ino, .bytes = r->bytes, .mtime_ns = r->mtime_ns, .ctime_ns = r->ctime_ns};
}

static void record_note(void *arg, const struct journal_record *r)
{
    struct resume *x = arg;
    struct store *s = x->store;

    switch (r->type) {
    case JOURNAL_EXTENT:
        if (r->chunk >= s->chunks)
            return;
        x->seq[r->chunk] = r->seq;
        s->chunk_hash[r->chunk] = r->hash;
        return;
    case JOURNAL_SYNCED:
        x->upto = r->upto;
        x->mark = r->mark;
        return;
    case JOURNAL_DROP:
        if (r->chunk < s->chunks)
            x->seq[r->chunk] = 0;
        return;
    case JOURNAL_RENAMED:
        renamed_note(s, r);
        return;
    case JOURNAL_NAME:
        if (name_check(r->name, strlen(r->name)) == 0)
            snprintf(x->name, sizeof(x->name), "%s", r->name);
        return;
    case JOURNAL_FILE_DONE:
        return; /* what counts is where the file is found */
    }
}

static int journal_resume(struct store *s, struct resume *x)
{
    int err = stage_open(s);

    if (err == -ENOENT)
        return 0;
    if (err)
        return err;
    x->staged = true;
    err = journal_load(s->stage_fd, manifest_id(s->manifest), record_note, x, &x->report);
    if (err && err != -ENOENT)
        return err;
    x->verify = x->report.end == JOURNAL_DAMAGED;
    for (uint32_t i = 0; x->verify && i < s->files; i++)
        if (s->file[i].in_place)
            s->file[i] = (struct store_file){.variant = 1};
    return x->verify ? tree_collisions(s) : 0;
}

/* ---- files at their final place ---- */

static int piece_check(struct store *s, int fd, uint32_t file, uint64_t piece, uint8_t *buf)
{
    uint32_t piece_len = manifest_piece_len(s->manifest);
    uint64_t at = piece * piece_len;
    const uint8_t *want = manifest_piece_hash(s->manifest, file, piece);
    struct manifest_file mf;
    struct merkle tree;
    uint8_t got[HASH_LEN];
    uint32_t len;

    manifest_file_at(s->manifest, file, &mf);
    len = mf.bytes - at < piece_len ? (uint32_t)(mf.bytes - at) : piece_len;
    if (file_read_at(fd, buf, len, at) < 0)
        return ERR_HASH;
    merkle_begin(&tree, s->hash);
    for (uint32_t i = 0; i < len; i += MERKLE_LEAF_BYTES)
        merkle_add_block(&tree, buf + i, len - i < MERKLE_LEAF_BYTES ? len - i : MERKLE_LEAF_BYTES);
    merkle_end(&tree, mf.bytes > piece_len ? piece_len / MERKLE_LEAF_BYTES : 0, NULL, got);
    return want && memcmp(got, want, HASH_LEN) == 0 ? 0 : ERR_HASH;
}

/* Does fd hold exactly this file of the share? stamp: as it was meanwhile. */
static bool content_same(struct store *s, int fd, uint32_t file, struct store_stamp *stamp)
{
    uint32_t piece_len = manifest_piece_len(s->manifest);
    struct store_stamp after;
    struct manifest_file mf;
    struct stat st;
    uint8_t *buf;
    int err = 0;

    manifest_file_at(s->manifest, file, &mf);
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != mf.bytes)
        return false;
    store_stamp_from(&st, stamp);
    if (mf.bytes == 0)
        return true;
    buf = malloc(mf.bytes < piece_len ? (size_t)mf.bytes : piece_len);
    if (!buf)
        return false;
    for (uint64_t p = 0; !err && p * piece_len < mf.bytes; p++)
        err = is_stopped(s) ? ERR_CANCELLED : piece_check(s, fd, file, p, buf);
    free(buf);
    if (err || fstat(fd, &st) < 0)
        return false;
    store_stamp_from(&st, &after);
    return store_stamp_same(stamp, &after);
}

/* Is it still what was renamed there? */
static bool renamed_stands(struct store *s, uint32_t file)
{
    struct store_file *f = &s->file[file];
    struct store_stamp now;
    struct stat st;
    int fd = tree_open(s, file, f->variant);
    bool same = fd >= 0 && fstat(fd, &st) == 0;

    if (fd >= 0)
        close(fd);
    if (!same)
        return false;
    store_stamp_from(&st, &now);
    if (!store_stamp_same(&now, &f->stamp))
        return false;
    f->stamp = now;
    return true;
}

/* Looks at "name", "name (2)", ... as long as there is something. */
static void file_probe(struct store *s, uint32_t file)
{
    struct store_file *f = &s->file[file];
    uint32_t first = f->variant;
    uint32_t end = s->single ? first + 1 : first + STORE_PROBE_MAX;

    for (uint32_t v = first; v < end && !f->in_place; v++) {
        int fd = tree_open(s, file, v);

        if (fd < 0)
            return;
        if (content_same(s, fd, file, &f->stamp)) {
            f->in_place = true;
            f->variant = v;
        }
        close(fd);
    }
}

static void files_probe(struct store *s)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < s->files && !is_stopped(s); i++) {
        struct store_file *f = &s->file[i];

        if (f->in_place && !renamed_stands(s, i)) {
            f->in_place = false;
            f->variant = 1;
        }
        if (!f->in_place)
            file_probe(s, i);
        done += f->in_place;
    }
    atomic_store(&s->files_done, done);
}

/* ---- the name of the share in its destination ---- */

/* A folder merges into a folder; a single file is another one, or the same:
 * that is noted at once, so that it is read only once. */
static bool name_usable(struct store *s, const char *name)
{
    struct stat st;
    int fd;

    if (fstatat(s->dest_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    if (!s->single)
        return S_ISDIR(st.st_mode);
    fd = tree_file(s->dest_fd, name, true);
    if (fd < 0)
        return false;
    s->file[0].in_place = content_same(s, fd, 0, &s->file[0].stamp);
    close(fd);
    return s->file[0].in_place;
}

static int place_choose(struct store *s, const char *given)
{
    char mapped[NAME_BYTES_MAX + 1], name[NAME_BYTES_MAX + 1];

    if (given && name_check(given, strlen(given)) != 0)
        return ERR_NAME;
    if (given)
        return store_place_set(s, given);
    name_to_disk(manifest_name(s->manifest), mapped);
    memcpy(name, mapped, sizeof(name));
    for (unsigned n = 2; !name_usable(s, name); n++) {
        if (is_stopped(s))
            return ERR_CANCELLED;
        if (n > STORE_VARIANTS_MAX)
            return -EEXIST;
        name_alternative(mapped, n, !s->single, name);
    }
    return store_place_set(s, name);
}

static int place_open(struct store *s, const struct store_cfg *cfg, const struct resume *x)
{
    int err = place_choose(s, x->name[0] ? x->name : cfg->final_name);

    if (!err)
        err = tree_root(s, false);
    if (err == -ENOENT || err == -ENOTDIR)
        err = 0; /* made, or given another name, when the first file is whole */
    if (!err)
        files_probe(s);
    return !err && is_stopped(s) ? ERR_CANCELLED : err;
}

/* ---- chunks ---- */

static bool chunk_good(struct store *s, struct resume *x, uint32_t chunk, uint8_t *buf)
{
    uint32_t len = layout_chunk_bytes(s->layout, chunk);
    bool synced = x->seq[chunk] != 0 && x->seq[chunk] <= x->upto;
    bool cached = x->seq[chunk] != 0 && x->mark == s->boot_mark;

    if (store_chunk_in_place(s, chunk))
        return true;
    if (!x->staged || (!x->verify && !synced && !cached))
        return false;
    if (store_chunk_read(s, chunk, 0, buf, len, 0) != 0)
        return false;
    if (x->verify) {
        if (store_chunk_check(s, chunk, buf, NULL) != 0)
            return false;
        s->chunk_hash[chunk] = XXH3_64bits(buf, len);
    } else if (XXH3_64bits(buf, len) != s->chunk_hash[chunk]) {
        return false;
    }
    x->unsynced |= x->verify || !synced;
    return true;
}

static int chunks_check(struct store *s, struct resume *x)
{
    uint8_t *buf = malloc(layout_chunk_bytes_max(s->layout) + (size_t)1);

    if (!buf)
        return -ENOMEM;
    for (uint32_t c = 0; c < s->chunks && !is_stopped(s); c++)
        if (chunk_good(s, x, c, buf))
            chunkmap_set(&s->have, c);
    free(buf);
    return is_stopped(s) ? ERR_CANCELLED : 0;
}

static void files_count(struct store *s)
{
    struct layout_iter it;
    struct layout_seg seg;
    uint32_t whole = 0;

    for (uint32_t c = 0; c < s->chunks; c++) {
        if (chunkmap_has(&s->have, c))
            continue;
        layout_iter_begin(s->layout, c, &it);
        while (layout_iter_next(&it, &seg))
            s->file[seg.file].missing++;
    }
    for (uint32_t i = 0; i < s->files; i++)
        if (!s->file[i].in_place && s->file[i].missing == 0)
            s->whole[whole++] = i;
    atomic_store(&s->whole_count, whole);
}

/* ---- space ---- */

static uint64_t staged_blocks(const struct store *s, uint32_t file)
{
    char name[16];
    struct stat st;

    snprintf(name, sizeof(name), "%u", file);
    if (s->stage_fd < 0 || fstatat(s->stage_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

static void reserve_set(struct store *s, uint64_t total_bytes)
{
    uint64_t floor = 1ULL << 30;

    if (s->reserve_bytes != UINT64_MAX)
        return;
    s->reserve_bytes = total_bytes / 20 > floor ? total_bytes / 20 : floor;
    if (s->reserve_bytes > total_bytes / 10)
        s->reserve_bytes = total_bytes / 10;
}

static int space_check(struct store *s)
{
    uint64_t total, need = 0;
    uint64_t avail = store_space_free(s->dest_fd, &total);

    reserve_set(s, total);
    s->in_memory = store_fs_is_memory(s->dest_fd);
    for (uint32_t i = 0; i < s->files; i++) {
        struct manifest_file mf;
        uint64_t there;

        if (s->file[i].in_place)
            continue;
        manifest_file_at(s->manifest, i, &mf);
        there = staged_blocks(s, i);
        need += mf.bytes > there ? mf.bytes - there : 0;
    }
    if (need == 0)
        return 0;
    need += stage_journal_room(s);
    return avail >= need && avail - need >= s->reserve_bytes ? 0 : -ENOSPC;
}

/* ---- opening ---- */

static int dest_open(struct store *s, const char *dest)
{
    s->dest = strdup(dest);
    if (!s->dest)
        return -ENOMEM;
    s->dest_fd = open(dest, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->dest_fd < 0 ? -errno : 0;
}

/* What was accepted from memory only is synced before the new journal says so. */
static int stage_begin(struct store *s, const struct resume *x)
{
    int err = stage_make(s);

    if (!err && x->unsynced && syncfs(s->stage_fd) < 0)
        err = -errno;
    if (!err)
        err = stage_journal_rewrite(s);
    if (err && !x->staged)
        (void)!stage_remove(s);
    return err;
}

static int receive_open(struct store *s, const struct store_cfg *cfg, struct resume *x)
{
    int err = dest_open(s, cfg->dest);

    if (!err)
        err = tree_collisions(s);
    stage_name_set(s);
    if (!err)
        err = journal_resume(s, x);
    if (!err)
        err = place_open(s, cfg, x);
    if (!err)
        err = space_check(s); /* before the long reading: a full disk is tried often */
    if (!err)
        err = chunks_check(s, x);
    if (err)
        return err;
    files_count(s);
    if (atomic_load(&s->files_done) < s->files)
        return stage_begin(s, x);
    (void)!stage_remove(s);
    atomic_store(&s->done, true);
    return 0;
}

int store_open_receive(const struct store_cfg *cfg, struct store **out)
{
    struct resume x = {0};
    struct store *s;
    int err = store_alloc(cfg, false, &s);

    *out = NULL;
    if (err)
        return err;
    x.store = s;
    x.seq = calloc(s->chunks + (size_t)1, sizeof(*x.seq));
    err = x.seq ? receive_open(s, cfg, &x) : -ENOMEM;
    free(x.seq);
    if (err) {
        store_close(s);
        return err;
    }
    s->stop = NULL;
    *out = s;
    return 0;
}

int store_discard(struct store *s)
{
    return s->shared ? 0 : stage_remove(s);
}
