#include "transfer/io/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    LISTENER_BACKLOG = 128,
    LISTENER_FDS_SPARE = 64, /* kept for files, discovery and the control socket */
    LISTENER_PAUSE_MS = 500,
    LISTENER_TURN = 16 /* accepts before others get their turn */
};

struct listener {
    struct event *readable, *resume;
    int fd;
    int fd_max; /* a descriptor above this one means: near the limit */
    uint16_t port;
    listener_fn *on_accept;
    void *arg;
};

static void listener_pause(struct listener *l)
{
    const struct timeval delay = {0, LISTENER_PAUSE_MS * 1000};

    event_del(l->readable);
    event_add(l->resume, &delay);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct listener *l = arg;

    event_add(l->readable, NULL);
}

/* Errors of one connection, not of the listener (accept(2)). */
static bool passing(int err)
{
    return err == EINTR || err == ECONNABORTED || err == EPROTO || err == EPERM ||
           err == ENETDOWN || err == ENETUNREACH || err == EHOSTUNREACH || err == EHOSTDOWN;
}

/* False: enough for this turn. */
static bool accept_one(struct listener *l)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    int fd = accept4(l->fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (passing(errno))
            return true;
        if (errno != EAGAIN)
            listener_pause(l); /* EMFILE, ENFILE, ENOBUFS: it would be readable at once again */
        return false;
    }
    if (fd > l->fd_max) {
        close(fd);
        listener_pause(l);
        return false;
    }
    l->on_accept(l->arg, fd, (struct sockaddr *)&addr);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;

    for (int i = 0; i < LISTENER_TURN && accept_one(arg); i++)
        continue;
}

static int try_bind(int fd, uint16_t port)
{
    const struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    return bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 ? 0 : -errno;
}

/* A host with IPv6 switched off still has IPv4. */
static int try_bind4(int fd, uint16_t port)
{
    const struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};

    return bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 ? 0 : -errno;
}

static int open_socket(int family, uint16_t port)
{
    const int on = 1, off = 0;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    int err = family == AF_INET6 ? try_bind(fd, port) : try_bind4(fd, port);
    if (!err && listen(fd, LISTENER_BACKLOG) < 0)
        err = -errno;
    if (err) {
        close(fd);
        return err;
    }
    return fd;
}

static int open_any(uint16_t port, bool fallback)
{
    int fd = open_socket(AF_INET6, port);

    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
        fd = open_socket(AF_INET, port);
    if (fd == -EADDRINUSE && fallback && port != 0)
        return open_any(0, false);
    return fd;
}

static int fd_ceiling(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur > 1 << 30)
        return 1 << 30;
    rlim_t spare = lim.rlim_cur / 4 < LISTENER_FDS_SPARE ? lim.rlim_cur / 4 : LISTENER_FDS_SPARE;
    return (int)(lim.rlim_cur - 1 - spare);
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_in6 addr = {0}; /* the port stands at the same place for IPv4 */
    socklen_t len = sizeof(addr);

    getsockname(fd, (struct sockaddr *)&addr, &len);
    return ntohs(addr.sin6_port);
}

int listener_new(struct event_base *base, uint16_t port, bool fallback, listener_fn *on_accept,
                 void *arg, struct listener **out)
{
    *out = NULL;
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (struct listener){.on_accept = on_accept, .arg = arg, .fd_max = fd_ceiling()};
    l->fd = open_any(port, fallback);
    int err = l->fd < 0 ? l->fd : -ENOMEM;
    if (l->fd < 0)
        goto fail;
    l->port = bound_port(l->fd);
    l->readable = event_new(base, l->fd, EV_READ | EV_PERSIST, on_readable, l);
    l->resume = event_new(base, -1, 0, on_resume, l);
    if (!l->readable || !l->resume || event_add(l->readable, NULL) < 0)
        goto fail;
    *out = l;
    return 0;
fail:
    listener_free(l);
    return err;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    if (l->readable)
        event_free(l->readable);
    if (l->resume)
        event_free(l->resume);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}
