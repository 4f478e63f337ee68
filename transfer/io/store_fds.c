/* The open files of one store: a small cache, least recently used out first.
 * Its lock is never held over a system call, for the loop takes it, too. A slot
 * that is being filled has its file but no descriptor yet: others who want that
 * file wait, so no two threads open one file twice. No thread pins more than one
 * slot, so one that waits for a free slot gets it in the end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "transfer/io/store_int.h"

void fds_init(struct store_fds *f)
{
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    for (int i = 0; i < STORE_SLOTS; i++)
        f->slot[i] = (struct fd_slot){.file = STORE_NO_FILE, .fd = -1};
}

static void fd_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* Lock held. What was in it is the caller's to close, once the lock is not. */
static int slot_clear(struct fd_slot *slot)
{
    int fd = slot->fd;

    *slot = (struct fd_slot){.file = STORE_NO_FILE, .fd = -1};
    return fd;
}

void fds_close_all(struct store_fds *f)
{
    for (int i = 0; i < STORE_SLOTS; i++)
        fd_close(slot_clear(&f->slot[i]));
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

static struct fd_slot *slot_find(struct store_fds *f, uint32_t file)
{
    for (int i = 0; i < STORE_SLOTS; i++)
        if (f->slot[i].file == file)
            return &f->slot[i];
    return NULL;
}

/* A free slot, or the one longest unused; NULL when all are pinned. */
static struct fd_slot *slot_take(struct store_fds *f, int *old_fd)
{
    struct fd_slot *best = NULL;

    for (int i = 0; i < STORE_SLOTS; i++) {
        struct fd_slot *slot = &f->slot[i];

        if (slot->refs > 0)
            continue;
        if (slot->fd < 0)
            return slot;
        if (!best || slot->used < best->used)
            best = slot;
    }
    if (best)
        *old_fd = slot_clear(best);
    return best;
}

/* Lock held. The slot of file, pinned; without a descriptor it is the caller's to
 * fill. NULL: wait for a change. */
static struct fd_slot *slot_pin(struct store_fds *f, uint32_t file, int *old_fd)
{
    struct fd_slot *slot = slot_find(f, file);

    if (slot && slot->fd < 0)
        return NULL;
    if (!slot)
        slot = slot_take(f, old_fd);
    if (!slot)
        return NULL;
    slot->file = file;
    slot->refs++;
    slot->used = ++f->clock;
    return slot;
}

/* The kernel applies the umask to the mode, so a file is born with the one it
 * keeps: 0666 & ~umask, and x only where the manifest says so. -EEXIST. */
static int staged_create(struct store *s, uint32_t file, const char *name, int flags)
{
    struct manifest_file mf;
    int fd;

    manifest_file_at(s->manifest, file, &mf);
    fd = openat(s->stage_fd, name, flags | O_CREAT | O_EXCL, mf.exec ? 0777 : 0666);
    if (fd < 0)
        return -errno;
    atomic_store(&s->stage_grew, true);
    return fd;
}

/* Who may make the file mostly has to: a small one is opened for writing once. */
static int staged_open(struct store *s, uint32_t file, bool create)
{
    enum { FLAGS = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };
    char name[16];
    int fd = -EEXIST;

    snprintf(name, sizeof(name), "%u", file);
    if (create)
        fd = staged_create(s, file, name, FLAGS);
    if (fd != -EEXIST)
        return fd;
    fd = openat(s->stage_fd, name, FLAGS);
    return fd < 0 ? -errno : fd;
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

static int get_cached(struct store_fds *f, uint32_t file, struct fd_slot **out)
{
    struct fd_slot *slot;

    if (pthread_mutex_trylock(&f->lock) != 0)
        return -EAGAIN;
    slot = slot_find(f, file);
    if (slot && slot->fd >= 0) {
        slot->refs++;
        slot->used = ++f->clock;
        *out = slot;
    }
    pthread_mutex_unlock(&f->lock);
    return *out ? 0 : -EAGAIN;
}

/* fd: what was opened for it, or an error. False: the file was forgotten meanwhile,
 * and what was opened may be what stood there before. */
static bool slot_fill(struct store_fds *f, struct fd_slot *slot, int fd)
{
    bool current;

    pthread_mutex_lock(&f->lock);
    current = slot->file != STORE_NO_FILE;
    if (current && fd >= 0)
        slot->fd = fd;
    else
        (void)slot_clear(slot);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (!current)
        fd_close(fd);
    return current;
}

int fds_get(struct store *s, uint32_t file, bool create, bool cached, struct fd_slot **out)
{
    struct store_fds *f = &s->fds;
    struct fd_slot *slot;
    int fd;

    *out = NULL;
    if (cached)
        return get_cached(f, file, out);
    do {
        int old_fd = -1;

        pthread_mutex_lock(&f->lock);
        while ((slot = slot_pin(f, file, &old_fd)) == NULL)
            pthread_cond_wait(&f->changed, &f->lock);
        fd = slot->fd;
        pthread_mutex_unlock(&f->lock);
        fd_close(old_fd);
        if (fd >= 0)
            break;
        fd = file_open(s, file, create);
    } while (!slot_fill(f, slot, fd));
    if (fd < 0)
        return fd;
    *out = slot;
    return 0;
}

struct fd_slot *fds_hold(struct store *s, uint32_t file)
{
    struct store_fds *f = &s->fds;
    struct fd_slot *slot;
    int old_fd = -1;

    pthread_mutex_lock(&f->lock);
    while ((slot = slot_pin(f, file, &old_fd)) == NULL)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
    fd_close(old_fd);
    return slot;
}

void fds_release(struct store *s, struct fd_slot *slot)
{
    pthread_mutex_lock(&s->fds.lock);
    slot->file = STORE_NO_FILE;
    pthread_mutex_unlock(&s->fds.lock);
    fds_put(s, slot);
}

void fds_put(struct store *s, struct fd_slot *slot)
{
    struct store_fds *f = &s->fds;
    int old_fd = -1;

    if (!slot)
        return;
    pthread_mutex_lock(&f->lock);
    if (--slot->refs == 0) {
        if (slot->file == STORE_NO_FILE)
            old_fd = slot_clear(slot);
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    fd_close(old_fd);
}

/* Lock held. In use, or being filled: it goes when it is put back. */
static int slot_forget(struct fd_slot *slot)
{
    if (slot->refs == 0)
        return slot_clear(slot);
    slot->file = STORE_NO_FILE;
    return -1;
}

void fds_forget(struct store *s, uint32_t file)
{
    struct fd_slot *slot;
    int old_fd = -1;

    pthread_mutex_lock(&s->fds.lock);
    slot = slot_find(&s->fds, file);
    if (slot)
        old_fd = slot_forget(slot);
    pthread_mutex_unlock(&s->fds.lock);
    fd_close(old_fd);
}

void fds_forget_all(struct store *s)
{
    for (int i = 0; i < STORE_SLOTS; i++) {
        int old_fd;

        pthread_mutex_lock(&s->fds.lock);
        old_fd = slot_forget(&s->fds.slot[i]);
        pthread_mutex_unlock(&s->fds.lock);
        fd_close(old_fd);
    }
}
