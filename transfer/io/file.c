#include "transfer/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of what a call returned: the bytes it moved, 0 for one that a signal broke off, or the
 * error; none_error when it moved nothing. */
static ssize_t moved(ssize_t n, int none_error)
{
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    return n > 0 ? n : none_error;
}

int file_write(int fd, const void *data, size_t len_bytes)
{
    const uint8_t *from = data;

    for (size_t done = 0; done < len_bytes;) {
        ssize_t n = moved(write(fd, from + done, len_bytes - done), -EIO);

        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    return 0;
}

int file_write_at(int fd, const void *data, size_t len_bytes, uint64_t offset_bytes)
{
    const uint8_t *from = data;

    for (size_t done = 0; done < len_bytes;) {
        off_t at = (off_t)(offset_bytes + done);
        ssize_t n = moved(pwrite(fd, from + done, len_bytes - done, at), -EIO);

        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    return 0;
}

int file_read_at(int fd, void *data, size_t len_bytes, uint64_t offset_bytes)
{
    uint8_t *to = data;

    for (size_t done = 0; done < len_bytes;) {
        off_t at = (off_t)(offset_bytes + done);
        ssize_t n = moved(pread(fd, to + done, len_bytes - done, at), -ENODATA);

        if (n < 0)
            return (int)n;
        done += (size_t)n;
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
