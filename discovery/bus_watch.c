#include "discovery/bus_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static const char default_socket[] = "/run/dbus/system_bus_socket";

struct bus_watch {
    void (*on_appear)(void *arg);
    void *arg;
    int fd;
    struct event *readable;
    char socket[PATH_MAX];
};

/* The first unix:path= of DBUS_SYSTEM_BUS_ADDRESS, as libdbus itself looks for it. */
static void socket_path(char *out, size_t size)
{
    static const char key[] = "unix:path=";
    const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
    const char *path = address ? strstr(address, key) : NULL;
    snprintf(out, size, "%s", path ? path + strlen(key) : default_socket);
    out[strcspn(out, ",;")] = '\0';
}

/* Watches the nearest folder above the socket that exists. Adding a watch a second
 * time changes nothing. */
static void watch_folder(struct bus_watch *w)
{
    char folder[PATH_MAX];
    memcpy(folder, w->socket, sizeof folder);
    for (char *slash = strrchr(folder, '/'); slash && slash != folder;
         slash = strrchr(folder, '/')) {
        *slash = '\0';
        if (inotify_add_watch(w->fd, folder, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) >= 0)
            return;
    }
}

static void bus_watch_on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct bus_watch *w = arg;
    char buffer[4096];
    (void)what;
    while (read(fd, buffer, sizeof buffer) > 0) {
    }
    watch_folder(w);
    if (access(w->socket, F_OK) == 0)
        w->on_appear(w->arg);
}

int bus_watch_new(struct event_base *base, void (*on_appear)(void *arg), void *arg,
                  struct bus_watch **out)
{
    int err;
    *out = NULL;
    struct bus_watch *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->on_appear = on_appear;
    w->arg = arg;
    socket_path(w->socket, sizeof w->socket);
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        err = -errno;
        free(w);
        return err;
    }
    w->readable = event_new(base, w->fd, EV_READ | EV_PERSIST, bus_watch_on_readable, w);
    if (!w->readable || event_add(w->readable, NULL) < 0) {
        bus_watch_free(w);
        return -ENOMEM;
    }
    watch_folder(w);
    *out = w;
    return 0;
}

void bus_watch_free(struct bus_watch *w)
{
    if (!w)
        return;
    if (w->readable)
        event_free(w->readable);
    close(w->fd);
    free(w);
}
