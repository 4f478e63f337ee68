#include "discovery/netwatch.h"

#include "discovery/discovery.h"

#include <errno.h>
#include <fnmatch.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const default_skip[] = {"docker*", "veth*", "br-*", "virbr*",
                                           "tun*",    "tap*",  "wg*",  NULL};

struct netwatch {
    struct event_base *base;
    char **skip;
    char **only;
    void (*on_change)(void *arg);
    void *arg;
    int fd;
    struct event *readable;
    struct event *settle;
    unsigned count;
    struct netwatch_link links[NETWATCH_LINKS_MAX];
};

static void patterns_free(char **patterns)
{
    for (char **p = patterns; p && *p; p++)
        free(*p);
    free(patterns);
}

static char **patterns_copy(const char *const *patterns)
{
    size_t count = 0;
    while (patterns[count])
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = strdup(patterns[i]);
        if (!copy[i]) {
            patterns_free(copy);
            return NULL;
        }
    }
    return copy;
}

static bool matches(char *const *patterns, const char *name)
{
    for (; *patterns; patterns++) {
        if (fnmatch(*patterns, name, 0) == 0)
            return true;
    }
    return false;
}

static bool link_usable(const struct netwatch *nw, const char *name, unsigned flags)
{
    const unsigned need = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
    if ((flags & need) != need || flags & IFF_LOOPBACK)
        return false;
    if (nw->only)
        return matches(nw->only, name);
    return !(flags & IFF_POINTOPOINT) && !matches(nw->skip, name);
}

static struct netwatch_link *link_get(struct netwatch_link *links, unsigned *count,
                                      const char *name)
{
    for (unsigned i = 0; i < *count; i++) {
        if (strcmp(links[i].name, name) == 0)
            return &links[i];
    }
    unsigned ifindex = if_nametoindex(name);
    if (ifindex == 0 || *count == NETWATCH_LINKS_MAX)
        return NULL;
    struct netwatch_link *link = &links[(*count)++];
    link->ifindex = ifindex;
    snprintf(link->name, sizeof link->name, "%s", name);
    return link;
}

static bool addr_read(const struct sockaddr *sa, struct netwatch_addr *out)
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
    memset(out, 0, sizeof *out);
    out->family = sa->sa_family;
    if (sa->sa_family == AF_INET) {
        memcpy(out->bytes, &((const struct sockaddr_in *)sa)->sin_addr, 4);
        return true;
    }
    if (sa->sa_family != AF_INET6 || IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ||
        IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr))
        return false;
    memcpy(out->bytes, &in6->sin6_addr, 16);
    return true;
}

static void links_collect(const struct netwatch *nw, const struct ifaddrs *all, sa_family_t family,
                          struct netwatch_link *links, unsigned *count)
{
    for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
        struct netwatch_addr addr;
        if (!a->ifa_addr || a->ifa_addr->sa_family != family || !addr_read(a->ifa_addr, &addr) ||
            !link_usable(nw, a->ifa_name, a->ifa_flags))
            continue;
        struct netwatch_link *link = link_get(links, count, a->ifa_name);
        if (link && link->addr_count < NETWATCH_ADDRS_MAX)
            link->addrs[link->addr_count++] = addr;
    }
}

/* Reads all anew; true when something is different. When the kernel can't answer
 * now, the old list stands. */
static bool links_read(struct netwatch *nw)
{
    struct netwatch_link links[NETWATCH_LINKS_MAX];
    struct ifaddrs *all;
    unsigned count = 0;
    if (getifaddrs(&all) < 0)
        return false;
    memset(links, 0, sizeof links);
    links_collect(nw, all, AF_INET, links, &count);
    links_collect(nw, all, AF_INET6, links, &count);
    freeifaddrs(all);
    bool changed = count != nw->count || memcmp(links, nw->links, sizeof links) != 0;
    memcpy(nw->links, links, sizeof links);
    nw->count = count;
    return changed;
}

static void netwatch_on_settled(evutil_socket_t fd, short what, void *arg)
{
    struct netwatch *nw = arg;
    (void)fd;
    (void)what;
    if (links_read(nw))
        nw->on_change(nw->arg);
}

/* What the messages say does not matter: all is read anew once they stop. An
 * overrun (ENOBUFS) is a reason to do so as well. */
static void netwatch_on_readable(evutil_socket_t fd, short what, void *arg)
{
    const struct timeval settle = {0, NETWATCH_SETTLE_MS * 1000};
    struct netwatch *nw = arg;
    char buffer[8192];
    (void)what;
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
    }
    if (!event_pending(nw->settle, EV_TIMEOUT, NULL))
        event_add(nw->settle, &settle);
}

static int netlink_open(void)
{
    struct sockaddr_nl local = {.nl_family = AF_NETLINK,
                                .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&local, sizeof local) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int netwatch_new(const struct netwatch_cfg *cfg, struct netwatch **out)
{
    int err = -ENOMEM;
    *out = NULL;
    struct netwatch *nw = calloc(1, sizeof *nw);
    if (!nw)
        return -ENOMEM;
    nw->on_change = cfg->on_change;
    nw->arg = cfg->arg;
    nw->fd = netlink_open();
    if (nw->fd < 0) {
        err = nw->fd;
        goto fail;
    }
    nw->skip = patterns_copy(cfg->skip ? cfg->skip : default_skip);
    nw->only = cfg->only ? patterns_copy(cfg->only) : NULL;
    nw->readable = event_new(cfg->base, nw->fd, EV_READ | EV_PERSIST, netwatch_on_readable, nw);
    nw->settle = evtimer_new(cfg->base, netwatch_on_settled, nw);
    if (!nw->skip || (cfg->only && !nw->only) || !nw->readable || !nw->settle ||
        event_add(nw->readable, NULL) < 0)
        goto fail;
    links_read(nw);
    *out = nw;
    return 0;
fail:
    netwatch_free(nw);
    return err;
}

void netwatch_free(struct netwatch *nw)
{
    if (!nw)
        return;
    if (nw->readable)
        event_free(nw->readable);
    if (nw->settle)
        event_free(nw->settle);
    if (nw->fd >= 0)
        close(nw->fd);
    patterns_free(nw->skip);
    patterns_free(nw->only);
    free(nw);
}

const struct netwatch_link *netwatch_links(const struct netwatch *nw, unsigned *count)
{
    *count = nw->count;
    return nw->links;
}
