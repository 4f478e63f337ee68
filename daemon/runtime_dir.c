#include "daemon/runtime_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transfer/io/file.h"

/* Below /tmp anybody could have been there before us, with a link for instance. */
int runtime_dir_make(const char *path, bool *group, char error[static 1024])
{
    struct stat st;
    int err = file_make_dirs(path);

    if (!err && lstat(path, &st) < 0)
        err = -errno;
    if (err) {
        snprintf(error, 1024, "cannot make the runtime directory %.700s: %s", path, err_text(err));
        return err;
    }
    if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0) ||
        (st.st_mode & (S_IWGRP | S_IWOTH))) {
        snprintf(error, 1024,
                 "the runtime directory %.700s is not safe: it must be a directory of ours that "
                 "nobody else may write to; give another one with --runtime-dir",
                 path);
        return -EPERM;
    }
    *group = st.st_mode & S_IXGRP;
    return 0;
}

/* A file of ours that holds a number, or is still empty. */
static int mark_open(const char *path)
{
    struct stat st;
    /* O_NONBLOCK: somebody else's FIFO must not hold us up. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
        close(fd);
        return -EPERM;
    }
    return fd;
}

int runtime_dir_boot_mark(const char *dir, uint64_t *mark)
{
    char path[PATH_MAX];
    int fd, rc = 0;

    if (snprintf(path, sizeof(path), "%s/boot-mark", dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    fd = mark_open(path);
    if (fd < 0)
        return fd;
    if (read(fd, mark, sizeof(*mark)) != (ssize_t)sizeof(*mark)) {
        if (getrandom(mark, sizeof(*mark), 0) != (ssize_t)sizeof(*mark) ||
            pwrite(fd, mark, sizeof(*mark), 0) != (ssize_t)sizeof(*mark))
            rc = -EIO;
    }
    close(fd);
    return rc;
}
