/* The open files of one store: a small cache, least recently used out first.
 * Opening happens under its lock, so no two threads open one file twice. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "transfer/io/store_int.h"

void fds_init(struct store_fds *f)
{
    pthread_mutex_init(&f->lock, NULL);
    for (int i = 0; i < STORE_SLOTS; i++)
        f->slot[i] = (struct fd_slot){.file = STORE_NO_FILE, .fd = -1};
}

static void slot_close(struct fd_slot *slot)
{
    if (slot->fd >= 0)
        close(slot->fd);
    *slot = (struct fd_slot){.file = STORE_NO_FILE, .fd = -1};
}

void fds_close_all(struct store_fds *f)
{
    for (int i = 0; i < STORE_SLOTS; i++)
        slot_close(&f->slot[i]);
    pthread_mutex_destroy(&f->lock);
}

static struct fd_slot *slot_find(struct store_fds *f, uint32_t file)
{
    for (int i = 0; i < STORE_SLOTS; i++)
        if (f->slot[i].fd >= 0 && f->slot[i].file == file)
            return &f->slot[i];
    return NULL;
}

/* A free slot, or the one longest unused; NULL when all are pinned. */
static struct fd_slot *slot_take(struct store_fds *f)
{
    struct fd_slot *best = NULL;

    for (int i = 0; i < STORE_SLOTS; i++) {
        struct fd_slot *slot = &f->slot[i];

        if (slot->fd < 0)
            return slot;
        if (slot->refs == 0 && (!best || slot->used < best->used))
            best = slot;
    }
    if (best)
        slot_close(best);
    return best;
}

/* The kernel applies the umask to the mode, so a file is born with the one it
 * keeps: 0666 & ~umask, and x only where the manifest says so. */
static int staged_open(struct store *s, uint32_t file, bool create)
{
    enum { FLAGS = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };
    struct manifest_file mf;
    char name[16];
    int fd;

    snprintf(name, sizeof(name), "%u", file);
    fd = openat(s->stage_fd, name, FLAGS);
    if (fd >= 0 || errno != ENOENT || !create)
        return fd < 0 ? -errno : fd;
    manifest_file_at(s->manifest, file, &mf);
    fd = openat(s->stage_fd, name, FLAGS | O_CREAT | O_EXCL, mf.exec ? 0777 : 0666);
    if (fd < 0)
        return -errno;
    atomic_store(&s->stage_grew, true);
    return fd;
}

static int file_open(struct store *s, uint32_t file, bool create)
{
    uint32_t variant;
    bool in_place;

    pthread_mutex_lock(&s->lock);
    in_place = s->file[file].in_place;
    variant = s->file[file].variant;
    pthread_mutex_unlock(&s->lock);
    if (in_place)
        return tree_open(s, file, variant);
    if (s->stage_fd < 0)
        return -ENOENT;
    return staged_open(s, file, create);
}

static int get_locked(struct store *s, uint32_t file, bool create, bool cached,
                      struct fd_slot **out)
{
    struct fd_slot *slot = slot_find(&s->fds, file);
    int fd;

    if (!slot) {
        if (cached)
            return -EAGAIN;
        slot = slot_take(&s->fds);
        if (!slot)
            return -EMFILE;
        fd = file_open(s, file, create);
        if (fd < 0)
            return fd;
        slot->fd = fd;
        slot->file = file;
    }
    slot->refs++;
    slot->used = ++s->fds.clock;
    *out = slot;
    return 0;
}

int fds_get(struct store *s, uint32_t file, bool create, bool cached, struct fd_slot **out)
{
    int err;

    *out = NULL;
    if (cached) {
        if (pthread_mutex_trylock(&s->fds.lock) != 0)
            return -EAGAIN;
    } else {
        pthread_mutex_lock(&s->fds.lock);
    }
    err = get_locked(s, file, create, cached, out);
    pthread_mutex_unlock(&s->fds.lock);
    return err;
}

void fds_put(struct store *s, struct fd_slot *slot)
{
    if (!slot)
        return;
    pthread_mutex_lock(&s->fds.lock);
    if (--slot->refs == 0 && slot->file == STORE_NO_FILE)
        slot_close(slot);
    pthread_mutex_unlock(&s->fds.lock);
}

static void slot_forget(struct fd_slot *slot)
{
    if (slot->refs == 0)
        slot_close(slot);
    else
        slot->file = STORE_NO_FILE;
}

void fds_forget(struct store *s, uint32_t file)
{
    struct fd_slot *slot;

    pthread_mutex_lock(&s->fds.lock);
    slot = slot_find(&s->fds, file);
    if (slot)
        slot_forget(slot);
    pthread_mutex_unlock(&s->fds.lock);
}

void fds_forget_all(struct store *s)
{
    pthread_mutex_lock(&s->fds.lock);
    for (int i = 0; i < STORE_SLOTS; i++)
        if (s->fds.slot[i].fd >= 0)
            slot_forget(&s->fds.slot[i]);
    pthread_mutex_unlock(&s->fds.lock);
}
