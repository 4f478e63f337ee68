/* Directories and names below the root of a share, from peers that may mean harm:
 * everything goes through directory descriptors and openat2(), which refuses to
 * leave the root, to follow a symlink, or to cross into another filesystem. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include "transfer/io/store_int.h"

enum { OPEN_TRIES = 16 }; /* openat2() says EAGAIN when the tree moves under it */

static int open_beneath(int at_fd, const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW,
                           .resolve = resolve | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                      RESOLVE_NO_MAGICLINKS};

    for (int i = 0; i < OPEN_TRIES; i++) {
        long fd = syscall(SYS_openat2, at_fd, path, &how, sizeof(how));

        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR)
            break;
    }
    return -errno;
}

int tree_dir(int at_fd, const char *name, bool create, bool *made)
{
    int fd = open_beneath(at_fd, name, O_RDONLY | O_DIRECTORY, RESOLVE_NO_XDEV);

    if (fd == -ELOOP)
        return -ENOTDIR;
    if (fd != -ENOENT || !create)
        return fd;
    if (mkdirat(at_fd, name, 0777) < 0 && errno != EEXIST)
        return -errno;
    if (made)
        *made = true;
    fd = open_beneath(at_fd, name, O_RDONLY | O_DIRECTORY, RESOLVE_NO_XDEV);
    return fd == -ELOOP ? -ENOTDIR : fd;
}

int tree_folder(int root_fd, const char *path)
{
    return open_beneath(root_fd, path, O_PATH | O_DIRECTORY, 0);
}

int tree_file(int at_fd, const char *path, bool same_fs)
{
    struct stat st;
    int fd =
        open_beneath(at_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, same_fs ? RESOLVE_NO_XDEV : 0);

    if (fd < 0)
        return fd == -ELOOP ? -ENOENT : fd;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -ENOENT;
    }
    return fd;
}

void tree_leaf(const char *component, uint32_t variant, char out[static NAME_BYTES_MAX + 1])
{
    char mapped[NAME_BYTES_MAX + 1];

    if (variant == 0) {
        snprintf(out, NAME_BYTES_MAX + 1, "%s", component);
        return;
    }
    name_to_disk(component, mapped);
    if (variant == 1)
        memcpy(out, mapped, sizeof(mapped));
    else
        name_alternative(mapped, variant, false, out);
}

/* Something other than a directory stands in the way of one: "name (2)". */
static int dir_any(int at_fd, const char *component, bool create, bool sync)
{
    char mapped[NAME_BYTES_MAX + 1], other[NAME_BYTES_MAX + 1];
    bool made = false;
    int fd;

    name_to_disk(component, mapped);
    fd = tree_dir(at_fd, mapped, create, &made);
    for (unsigned n = 2; fd == -ENOTDIR && n <= STORE_VARIANTS_MAX; n++) {
        name_alternative(mapped, n, true, other);
        fd = tree_dir(at_fd, other, create, &made);
    }
    if (fd >= 0 && made && sync && fsync(at_fd) < 0) {
        int err = -errno;

        close(fd);
        return err;
    }
    return fd;
}

static int dup_cloexec(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    return copy < 0 ? -errno : copy;
}

int tree_root(struct store *s, bool create)
{
    bool made = false;
    int fd;

    if (s->root_fd >= 0)
        return 0;
    fd = tree_dir(s->dest_fd, atomic_load(&s->place)->name, create, &made);
    if (fd < 0)
        return fd;
    if (made && fsync(s->dest_fd) < 0) {
        int err = -errno;

        close(fd);
        return err;
    }
    /* Readers look at root_fd only for files in place, which come later. */
    pthread_mutex_lock(&s->lock);
    s->root_fd = fd;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int root_of(struct store *s)
{
    int fd;

    pthread_mutex_lock(&s->lock);
    fd = s->single ? s->dest_fd : s->root_fd;
    pthread_mutex_unlock(&s->lock);
    return fd;
}

int tree_parent(struct store *s, uint32_t file, bool create, bool sync, const char **component)
{
    struct manifest_file mf;
    const char *at, *slash;
    int fd = root_of(s);

    manifest_file_at(s->manifest, file, &mf);
    *component = mf.path;
    if (fd < 0)
        return -ENOENT;
    fd = dup_cloexec(fd);
    if (s->single)
        return fd;
    for (at = mf.path; fd >= 0 && (slash = strchr(at, '/')) != NULL; at = slash + 1) {
        char name[NAME_BYTES_MAX + 1];
        int next;

        snprintf(name, sizeof(name), "%.*s", (int)(slash - at), at);
        next = dir_any(fd, name, create, sync);
        close(fd);
        fd = next;
    }
    *component = at;
    return fd;
}

/* The whole path at once, each component under its usual name on disk. */
static void path_on_disk(const char *path, uint32_t variant, char out[static STORE_DISK_PATH_MAX])
{
    const char *at = path, *slash;
    size_t used = 0;
    char name[NAME_BYTES_MAX + 1], mapped[NAME_BYTES_MAX + 1];

    for (; (slash = strchr(at, '/')) != NULL; at = slash + 1) {
        snprintf(name, sizeof(name), "%.*s", (int)(slash - at), at);
        tree_leaf(name, variant > 0, mapped);
        used += (size_t)snprintf(out + used, STORE_DISK_PATH_MAX - used, "%s/", mapped);
    }
    tree_leaf(at, variant, mapped);
    snprintf(out + used, STORE_DISK_PATH_MAX - used, "%s", mapped);
}

/* The directories have other names than usual: walk them. */
static int open_walking(struct store *s, uint32_t file, uint32_t variant)
{
    char leaf[NAME_BYTES_MAX + 1];
    const char *component;
    int dir, fd;

    dir = tree_parent(s, file, false, false, &component);
    if (dir < 0)
        return dir == -ENOTDIR ? -ENOENT : dir;
    tree_leaf(component, variant, leaf);
    fd = tree_file(dir, leaf, !s->shared);
    close(dir);
    return fd;
}

int tree_open(struct store *s, uint32_t file, uint32_t variant)
{
    char path[STORE_DISK_PATH_MAX];
    struct manifest_file mf;
    int fd, root = root_of(s);

    if (root < 0)
        return -ENOENT;
    if (s->single)
        return tree_file(root, atomic_load(&s->place)->name, !s->shared);
    manifest_file_at(s->manifest, file, &mf);
    path_on_disk(mf.path, variant, path);
    fd = tree_file(root, path, !s->shared);
    if ((fd == -ENOENT || fd == -ENOTDIR) && variant > 0 && strchr(mf.path, '/'))
        fd = open_walking(s, file, variant);
    return fd == -ENOTDIR ? -ENOENT : fd;
}

static int rename_by_link(int from_fd, const char *from, int to_fd, const char *to)
{
    if (linkat(from_fd, from, to_fd, to, 0) < 0)
        return -errno;
    return unlinkat(from_fd, from, 0) < 0 ? -errno : 0;
}

int tree_rename_new(int from_fd, const char *from, int to_fd, const char *to)
{
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EINVAL || errno == ENOSYS)
        return rename_by_link(from_fd, from, to_fd, to);
    return -errno;
}

/* ---- names that become the same on disk ---- */

struct disk_key {
    uint64_t key;
    uint32_t file;
};

static int key_cmp(const void *a, const void *b)
{
    const struct disk_key *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

/* Keys of all files; returns whether any name is changed on its way to disk:
 * else no two can meet, the manifest having no path twice. */
static bool keys_fill(struct store *s, struct disk_key *keys)
{
    char path[STORE_DISK_PATH_MAX];
    bool any = false;

    for (uint32_t i = 0; i < s->files; i++) {
        struct manifest_file mf;

        manifest_file_at(s->manifest, i, &mf);
        path_on_disk(mf.path, 1, path);
        any |= strcmp(path, mf.path) != 0;
        keys[i] = (struct disk_key){.key = XXH3_64bits(path, strlen(path)), .file = i};
    }
    return any;
}

int tree_collisions(struct store *s)
{
    struct disk_key *keys;

    for (uint32_t i = 0; i < s->files; i++)
        s->file[i].variant = 1;
    if (s->single)
        return 0;
    keys = calloc(s->files + (size_t)1, sizeof(*keys));
    if (!keys)
        return -ENOMEM;
    if (keys_fill(s, keys)) {
        qsort(keys, s->files, sizeof(*keys), key_cmp);
        for (uint32_t i = 1; i < s->files; i++)
            if (keys[i].key == keys[i - 1].key)
                s->file[keys[i].file].variant = s->file[keys[i - 1].file].variant + 1;
    }
    free(keys);
    return 0;
}
