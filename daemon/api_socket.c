#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/api_impl.h"
#include "daemon/runtime_dir.h"

enum { API_BACKLOG = 16, API_GROUPS_MAX = 256 };

static int bind_private(int fd, const struct sockaddr_un *addr, bool group)
{
    mode_t old = umask(group ? 0117 : 0177);
    int err = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;

    umask(old);
    return err;
}

/* Is somebody listening there? */
static bool alive(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return true;
    int r = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
    bool refused = r < 0 && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

static int bind_replacing(int fd, const struct sockaddr_un *addr, bool group)
{
    struct stat st;
    int err = bind_private(fd, addr, group);

    if (err != -EADDRINUSE || lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode) ||
        alive(addr))
        return err;
    if (unlink(addr->sun_path) < 0)
        return -errno;
    return bind_private(fd, addr, group);
}

int api_socket_open(const char *runtime_dir, char **path, bool *group, char error[static 1024])
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int err = runtime_dir_make(runtime_dir, group, error);

    *path = NULL;
    if (err)
        return err;
    if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" API_SOCKET_NAME, runtime_dir) >=
        (int)sizeof(addr.sun_path)) {
        snprintf(error, 1024,
                 "the runtime directory %.700s is too long for a socket: at most %zu bytes; "
                 "give another one with --runtime-dir",
                 runtime_dir, sizeof(addr.sun_path) - sizeof("/" API_SOCKET_NAME));
        return -ENAMETOOLONG;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    err = fd < 0 ? -errno : bind_replacing(fd, &addr, *group);
    if (!err && listen(fd, API_BACKLOG) < 0)
        err = -errno;
    if (!err && !(*path = strdup(addr.sun_path)))
        err = -ENOMEM;
    if (!err)
        return fd;
    if (fd >= 0)
        close(fd);
    if (err == -EADDRINUSE)
        snprintf(error, 1024, "another rondad already answers on %s", addr.sun_path);
    else
        snprintf(error, 1024, "cannot listen on %s: %s", addr.sun_path, err_text(err));
    return err;
}

static bool in_group(int fd, gid_t gid)
{
    gid_t groups[API_GROUPS_MAX];
    socklen_t len = sizeof(groups);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof(groups[0]); i++)
        if (groups[i] == gid)
            return true;
    return false;
}

/* The modes of directory and socket already keep others out; this is the second lock. */
bool api_socket_trusted(int fd, const char *path, bool group)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    struct stat st;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return false;
    if (cred.uid == 0 || cred.uid == geteuid())
        return true;
    return group && stat(path, &st) == 0 && (cred.gid == st.st_gid || in_group(fd, st.st_gid));
}
