#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "transfer/core/file_tree.h"
#include "transfer/core/manifest.h"
#include "transfer/core/name.h"
#include "transfer/io/indexer_int.h"
#include "transfer/io/store_int.h"

struct walk {
    struct index_tree *tree;
    const atomic_bool *stop;
    size_t path_bytes;
    char path[NAME_PATH_BYTES_MAX + 1]; /* below the root */
};

const char *index_tree_path(const struct index_tree *t, uint32_t file)
{
    return t->paths + t->files[file].path_at;
}

char *index_tree_absolute(const struct index_tree *t, const char *path)
{
    char *absolute = NULL;
    bool below = t->root_fd >= 0 && path[0];
    if (asprintf(&absolute, "%s%s%s", t->root, below ? "/" : "", below ? path : "") < 0)
        return NULL;
    return absolute;
}

static int fail_at(struct walk *w, int err)
{
    if (!w->tree->fault)
        w->tree->fault = index_tree_absolute(w->tree, w->path);
    return err;
}

static int grow(void **array, size_t item_bytes, size_t want, size_t *cap)
{
    if (want <= *cap)
        return 0;
    size_t more = *cap ? *cap * 2 : 1024;
    more = more < want ? want : more;
    void *moved = reallocarray(*array, more, item_bytes);
    if (!moved)
        return -ENOMEM;
    *array = moved;
    *cap = more;
    return 0;
}

static int add_file(struct index_tree *t, const char *path, const struct stat *st)
{
    size_t len = strlen(path) + 1, cap = t->cap;
    void *paths = t->paths, *files = t->files;
    if (t->count == MANIFEST_FILES_MAX)
        return ERR_LIMIT;
    int err = grow(&paths, 1, t->paths_bytes + len, &t->paths_cap);
    t->paths = paths;
    if (!err)
        err = grow(&files, sizeof(*t->files), t->count + 1, &cap);
    t->files = files;
    t->cap = (uint32_t)cap;
    if (err)
        return err;
    struct index_file *f = &t->files[t->count++];
    *f = (struct index_file){.path_at = t->paths_bytes, .exec = st->st_mode & S_IXUSR};
    store_stamp_from(st, &f->stamp);
    memcpy(t->paths + t->paths_bytes, path, len);
    t->paths_bytes += len;
    t->bytes += f->stamp.bytes;
    return 0;
}

static int walk_folder(struct walk *w, int fd, unsigned depth);

static int walk_subfolder(struct walk *w, int parent_fd, const char *name, unsigned depth)
{
    uint32_t before = w->tree->count;
    if (depth + 1 == MANIFEST_DEPTH_MAX)
        return fail_at(w, ERR_LIMIT);
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail_at(w, -errno);
    int err = walk_folder(w, fd, depth + 1);
    if (!err && w->tree->count == before)
        w->tree->skipped++; /* BEP 52 has no word for an empty folder */
    return err;
}

static int walk_entry(struct walk *w, int fd, const char *name, unsigned depth)
{
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : fail_at(w, -errno); /* gone meanwhile: as if never there */
    if (S_ISDIR(st.st_mode))
        return walk_subfolder(w, fd, name, depth);
    if (!S_ISREG(st.st_mode)) {
        w->tree->skipped++;
        return 0;
    }
    int err = add_file(w->tree, w->path, &st);
    return err ? fail_at(w, err) : 0;
}

static int enter_name(struct walk *w, const char *name)
{
    size_t slash = w->path_bytes > 0, len = strlen(name);
    if (w->path_bytes + slash + len > NAME_PATH_BYTES_MAX)
        return fail_at(w, ERR_LIMIT);
    if (slash)
        w->path[w->path_bytes++] = '/';
    memcpy(w->path + w->path_bytes, name, len + 1);
    w->path_bytes += len;
    return 0;
}

/* Takes over fd. Recursion ends at MANIFEST_DEPTH_MAX. */
static int walk_folder(struct walk *w, int fd, unsigned depth)
{
    int err = 0;
    size_t path_bytes = w->path_bytes;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        err = fail_at(w, -errno);
        close(fd);
        return err;
    }
    for (struct dirent *entry; !err && (errno = 0, entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (atomic_load(w->stop)) {
            err = ERR_CANCELLED;
        } else if (name_check(name, strlen(name)) != 0) {
            w->tree->skipped++;
        } else {
            err = enter_name(w, name);
            if (!err)
                err = walk_entry(w, fd, name, depth);
        }
        w->path_bytes = path_bytes;
        w->path[path_bytes] = '\0';
    }
    if (!err && errno != 0)
        err = fail_at(w, -errno);
    closedir(dir);
    return err;
}

static int compare_files(const void *a, const void *b, void *paths)
{
    const struct index_file *left = a, *right = b;
    return file_tree_compare((const char *)paths + left->path_at,
                             (const char *)paths + right->path_at);
}

static int walk_root(struct walk *w, const char *name)
{
    struct index_tree *t = w->tree;
    struct stat st;
    /* Not to hang on a FIFO. */
    int fd = open(t->root, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        /* A socket, or a device without a driver. */
        int err = fail_at(w, errno == ENXIO ? -EINVAL : -errno);
        if (fd >= 0)
            close(fd);
        return err;
    }
    if (S_ISDIR(st.st_mode)) {
        t->root_fd = fd;
        int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return again < 0 ? fail_at(w, -errno) : walk_folder(w, again, 0);
    }
    close(fd);
    return S_ISREG(st.st_mode) ? add_file(t, name, &st) : fail_at(w, -EINVAL);
}

int index_tree_walk(struct index_tree *t, const char *path, const char *name,
                    const atomic_bool *stop)
{
    struct walk w = {.tree = t, .stop = stop};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct index_tree){.root_fd = -1, .root = strdup(path)};
    t->begun_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (!t->root)
        return -ENOMEM;
    int err = walk_root(&w, name);
    if (!err && t->count == 0)
        err = fail_at(&w, ERR_NOT_FOUND);
    if (!err)
        qsort_r(t->files, t->count, sizeof(*t->files), compare_files, t->paths);
    return err;
}

void index_tree_free(struct index_tree *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        free(t->files[i].layer);
    if (t->root_fd >= 0)
        close(t->root_fd);
    free(t->root);
    free(t->paths);
    free(t->files);
    free(t->fault);
    *t = (struct index_tree){.root_fd = -1};
}
