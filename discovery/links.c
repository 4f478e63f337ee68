#include "discovery/links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct address {
    struct netwatch_addr addr;
    void *handle;
};

struct link {
    unsigned ifindex;
    void *browser;
    void *service;
    uint32_t name_serial;
    uint32_t txt_serial;
    unsigned address_count;
    struct address addresses[NETWATCH_ADDRS_MAX];
};

struct links {
    const struct mdns_api *api;
    void *backend;
    unsigned count;
    struct link all[NETWATCH_LINKS_MAX];
};

struct links *links_new(const struct mdns_api *api, void *backend)
{
    struct links *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->api = api;
    l->backend = backend;
    return l;
}

static void link_withdraw(struct links *l, struct link *link)
{
    for (unsigned i = 0; i < link->address_count; i++)
        l->api->address_free(link->addresses[i].handle);
    link->address_count = 0;
    if (link->service)
        l->api->service_free(link->service);
    link->service = NULL;
}

static void link_drop(struct links *l, struct link *link)
{
    link_withdraw(l, link);
    if (link->browser)
        l->api->browser_free(link->browser);
    link->browser = NULL;
}

void links_free(struct links *l)
{
    if (!l)
        return;
    for (unsigned i = 0; i < l->count; i++)
        link_drop(l, &l->all[i]);
    free(l);
}

static const struct netwatch_link *find_wanted(const struct netwatch_link *wanted, unsigned count,
                                               unsigned ifindex)
{
    for (unsigned i = 0; i < count; i++) {
        if (wanted[i].ifindex == ifindex)
            return &wanted[i];
    }
    return NULL;
}

static void drop_unwanted(struct links *l, const struct netwatch_link *wanted, unsigned count)
{
    for (unsigned i = 0; i < l->count;) {
        if (find_wanted(wanted, count, l->all[i].ifindex)) {
            i++;
            continue;
        }
        link_drop(l, &l->all[i]);
        l->all[i] = l->all[--l->count];
    }
}

static struct link *link_get(struct links *l, unsigned ifindex)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (l->all[i].ifindex == ifindex)
            return &l->all[i];
    }
    if (l->count == NETWATCH_LINKS_MAX)
        return NULL;
    struct link *link = &l->all[l->count++];
    memset(link, 0, sizeof *link);
    link->ifindex = ifindex;
    return link;
}

static bool addr_among(const struct netwatch_link *wanted, const struct netwatch_addr *addr)
{
    for (unsigned i = 0; i < wanted->addr_count; i++) {
        if (memcmp(&wanted->addrs[i], addr, sizeof *addr) == 0)
            return true;
    }
    return false;
}

static bool address_published(const struct link *link, const struct netwatch_addr *addr)
{
    for (unsigned i = 0; i < link->address_count; i++) {
        if (memcmp(&link->addresses[i].addr, addr, sizeof *addr) == 0)
            return true;
    }
    return false;
}

static int sync_addresses(struct links *l, struct link *link, const struct netwatch_link *wanted,
                          const struct mdns_service *s)
{
    int result = 0;
    if (!l->api->address_new)
        return 0;
    for (unsigned i = 0; i < link->address_count;) {
        if (addr_among(wanted, &link->addresses[i].addr)) {
            i++;
            continue;
        }
        l->api->address_free(link->addresses[i].handle);
        link->addresses[i] = link->addresses[--link->address_count];
    }
    for (unsigned i = 0; i < wanted->addr_count; i++) {
        struct address *a = &link->addresses[link->address_count];
        if (address_published(link, &wanted->addrs[i]))
            continue;
        int err = l->api->address_new(l->backend, link->ifindex, s, &wanted->addrs[i], &a->handle);
        if (err < 0) {
            result = err;
            continue;
        }
        a->addr = wanted->addrs[i];
        link->address_count++;
    }
    return result;
}

static int sync_service(struct links *l, struct link *link, const struct mdns_service *s)
{
    int err = 0;
    if (!link->service)
        err = l->api->service_new(l->backend, link->ifindex, s, &link->service);
    else if (link->txt_serial != s->txt_serial)
        err = l->api->service_update(l->backend, link->service, link->ifindex, s);
    if (err == 0) {
        link->name_serial = s->name_serial;
        link->txt_serial = s->txt_serial;
    }
    return err;
}

static int link_sync(struct links *l, struct link *link, const struct netwatch_link *wanted,
                     const struct mdns_service *s)
{
    if (!link->browser)
        link->browser = l->api->browser_new(l->backend, link->ifindex);
    if (!s || (link->service && link->name_serial != s->name_serial))
        link_withdraw(l, link);
    if (!s)
        return link->browser ? 0 : -EAGAIN;
    int addresses = sync_addresses(l, link, wanted, s);
    int service = sync_service(l, link, s);
    if (addresses == -EEXIST || service == -EEXIST)
        return -EEXIST;
    return addresses < 0 || service < 0 || !link->browser ? -EAGAIN : 0;
}

int links_sync(struct links *l, const struct netwatch_link *wanted, unsigned count,
               const struct mdns_service *s)
{
    int result = 0;
    drop_unwanted(l, wanted, count);
    for (unsigned i = 0; i < count; i++) {
        struct link *link = link_get(l, wanted[i].ifindex);
        int err = link ? link_sync(l, link, &wanted[i], s) : 0;
        if (err == -EEXIST || result == 0)
            result = err;
    }
    return result;
}

void links_rebrowse(struct links *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (l->all[i].browser)
            l->api->browser_free(l->all[i].browser);
        l->all[i].browser = l->api->browser_new(l->backend, l->all[i].ifindex);
    }
}
