/* The staging directory of a receiving store and the journal in it: made, locked
 * against a second process, written anew, and removed in the end. Nothing is
 * ever deleted by a name that came from a peer: only digits and the journal's. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "transfer/io/store_int.h"

enum {
    STAGE_SUFFIX_BYTES = 9, /* "-" and 8 hex */
    JOURNAL_PREALLOC_MAX = 64 << 20,
    JOURNAL_BYTES_CHUNK = 80, /* EXTENT and its share of SYNCED */
    JOURNAL_BYTES_FILE = 96   /* FILE_DONE and RENAMED */
};

/* ---- staging directory ---- */

void stage_name_set(struct store *s)
{
    const uint8_t *id = manifest_id(s->manifest);
    char name[NAME_BYTES_MAX + 1];

    name_to_disk(manifest_name(s->manifest), name);
    name_cut(name, NAME_BYTES_MAX - 1 - STAGE_SUFFIX_BYTES);
    snprintf(s->stage_name, sizeof(s->stage_name), ".%.245s-%02x%02x%02x%02x", name, id[0], id[1],
             id[2], id[3]);
}

/* Ours alone: a directory planted by another user in a shared place such as
 * /tmp is refused, and so is a second process on the same one. */
int stage_open(struct store *s)
{
    struct stat st;
    int fd = openat(s->dest_fd, s->stage_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int err = 0;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        err = -errno;
    else if (st.st_uid != geteuid() || (st.st_mode & 0022))
        err = -EACCES;
    else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        err = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (err)
        close(fd);
    else
        s->stage_fd = fd;
    return err;
}

int stage_make(struct store *s)
{
    if (s->stage_fd >= 0)
        return 0;
    if (mkdirat(s->dest_fd, s->stage_name, 0700) < 0)
        return -errno;
    if (fsync(s->dest_fd) < 0)
        return -errno;
    return stage_open(s);
}

static bool stage_entry_ours(const char *name)
{
    size_t digits = strspn(name, "0123456789");

    return (digits > 0 && name[digits] == '\0') || strcmp(name, "journal") == 0 ||
           strcmp(name, "journal.new") == 0;
}

static int stage_empty(int stage_fd)
{
    int fd = fcntl(stage_fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int err = 0;

    if (!dir) {
        err = -errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    rewinddir(dir);
    while ((e = readdir(dir)) != NULL)
        if (stage_entry_ours(e->d_name) && unlinkat(stage_fd, e->d_name, 0) < 0 && !err)
            err = -errno;
    closedir(dir);
    return err;
}

static void stage_journal_close(struct store *s)
{
    pthread_mutex_lock(&s->journal_lock);
    journal_close(s->journal);
    s->journal = NULL;
    pthread_mutex_unlock(&s->journal_lock);
}

/* All of ours in it is closed first: NFS keeps an open file that is removed
 * under another name, and the directory with it. */
int stage_remove(struct store *s)
{
    int err;

    if (s->stage_fd < 0)
        return 0;
    fds_forget_all(s);
    stage_journal_close(s);
    err = stage_empty(s->stage_fd);
    if (!err && unlinkat(s->dest_fd, s->stage_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        err = -errno;
    if (err && err != -ENOTEMPTY && err != -EEXIST)
        return err;
    close(s->stage_fd);
    s->stage_fd = -1;
    return fsync(s->dest_fd) < 0 ? -errno : 0;
}

/* ---- journal ---- */

uint64_t stage_journal_room(const struct store *s)
{
    uint64_t bytes = JOURNAL_HEAD_BYTES + 65536 + (uint64_t)s->chunks * JOURNAL_BYTES_CHUNK +
                     (uint64_t)s->files * JOURNAL_BYTES_FILE;

    return bytes < JOURNAL_PREALLOC_MAX ? bytes : JOURNAL_PREALLOC_MAX;
}

bool store_chunk_in_place(const struct store *s, uint32_t chunk)
{
    struct layout_iter it;
    struct layout_seg seg;

    layout_iter_begin(s->layout, chunk, &it);
    while (layout_iter_next(&it, &seg))
        if (!s->file[seg.file].in_place)
            return false;
    return true;
}

static int put_places(struct store *s, struct journal *j)
{
    struct journal_record r = {.type = JOURNAL_NAME};
    int err;

    snprintf(r.name, sizeof(r.name), "%s", atomic_load(&s->place)->name);
    err = journal_put(j, &r);
    for (uint32_t i = 0; !err && i < s->files; i++) {
        const struct store_file *f = &s->file[i];

        if (!f->in_place)
            continue;
        r = (struct journal_record){.type = JOURNAL_RENAMED,
                                    .file = i,
                                    .variant = f->variant,
                                    .ino = f->stamp.ino,
                                    .bytes = f->stamp.bytes,
                                    .mtime_ns = f->stamp.mtime_ns,
                                    .ctime_ns = f->stamp.ctime_ns};
        err = journal_put(j, &r);
    }
    return err;
}

static int put_extents(struct store *s, struct journal *j, const struct chunkmap *fresh,
                       bool want_fresh)
{
    int err = 0;

    for (uint32_t c = chunkmap_next(&s->have, 0); !err && c < s->chunks;
         c = chunkmap_next(&s->have, c + 1)) {
        struct journal_record r = {.type = JOURNAL_EXTENT, .chunk = c, .hash = s->chunk_hash[c]};

        if (chunkmap_has(fresh, c) == want_fresh && !store_chunk_in_place(s, c))
            err = journal_put(j, &r);
    }
    return err;
}

static int put_all(struct store *s, struct journal *j)
{
    struct journal_record synced = {.type = JOURNAL_SYNCED, .mark = s->boot_mark};
    struct chunkmap fresh;
    int err = chunkmap_init(&fresh, s->chunks);

    if (err)
        return err;
    for (uint32_t i = 0; i < s->fresh_count; i++)
        chunkmap_set(&fresh, s->fresh[i]);
    err = put_places(s, j);
    if (!err)
        err = put_extents(s, j, &fresh, false);
    synced.upto = journal_seq(j);
    if (!err)
        err = journal_put(j, &synced);
    if (!err)
        err = put_extents(s, j, &fresh, true);
    chunkmap_free(&fresh);
    return err;
}

int stage_journal_rewrite(struct store *s)
{
    struct journal *j;
    int err = journal_create(s->stage_fd, manifest_id(s->manifest), stage_journal_room(s), &j);

    if (err)
        return err;
    err = put_all(s, j);
    if (!err)
        err = journal_commit(j);
    if (!journal_committed(j)) {
        journal_close(j);
        return err;
    }
    journal_close(s->journal);
    s->journal = j;
    s->journal_limit_bytes = 2 * journal_bytes(j);
    if (s->journal_limit_bytes < JOURNAL_COMPACT_BYTES)
        s->journal_limit_bytes = JOURNAL_COMPACT_BYTES;
    return err;
}
