#include "transfer/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_write(int fd, const void *data, size_t len_bytes)
{
    const uint8_t *from = data;

    while (len_bytes > 0) {
        ssize_t n = write(fd, from, len_bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        len_bytes -= (size_t)n;
    }
    return 0;
}

int file_write_at(int fd, const void *data, size_t len_bytes, uint64_t offset_bytes)
{
    const uint8_t *from = data;

    while (len_bytes > 0) {
        ssize_t n = pwrite(fd, from, len_bytes, (off_t)offset_bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        len_bytes -= (size_t)n;
        offset_bytes += (uint64_t)n;
    }
    return 0;
}

int file_read_at(int fd, void *data, size_t len_bytes, uint64_t offset_bytes)
{
    uint8_t *to = data;

    while (len_bytes > 0) {
        ssize_t n = pread(fd, to, len_bytes, (off_t)offset_bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        to += n;
        len_bytes -= (size_t)n;
        offset_bytes += (uint64_t)n;
    }
    return 0;
}

/* Unlinked first: whatever a crash or somebody else left there, this one is new,
 * and ours alone to read. */
static int aside_open(int dir_fd, const char *aside)
{
    int fd;

    if (unlinkat(dir_fd, aside, 0) < 0 && errno != ENOENT)
        return -errno;
    fd = openat(dir_fd, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int file_replace(int dir_fd, const char *name, const void *data, size_t len_bytes)
{
    char aside[PATH_MAX];
    int fd, err;

    if (snprintf(aside, sizeof(aside), "%s.new", name) >= (int)sizeof(aside))
        return -ENAMETOOLONG;
    fd = aside_open(dir_fd, aside);
    if (fd < 0)
        return fd;
    err = file_write(fd, data, len_bytes);
    if (!err && fsync(fd) < 0)
        err = -errno;
    if (close(fd) < 0 && !err)
        err = -errno;
    if (!err && renameat(dir_fd, aside, dir_fd, name) < 0)
        err = -errno;
    if (err)
        (void)unlinkat(dir_fd, aside, 0);
    return err;
}

int file_make_dirs(const char *path)
{
    char part[PATH_MAX];

    if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
        return -ENAMETOOLONG;
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(part, 0700) < 0 && errno != EEXIST ? -errno : 0;
}
