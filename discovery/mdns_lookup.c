#include "discovery/mdns_lookup.h"

#include <avahi-common/error.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mdns_error(int avahi)
{
    switch (avahi) {
    case AVAHI_OK:
        return 0;
    case AVAHI_ERR_COLLISION:
        return -EEXIST;
    case AVAHI_ERR_NO_MEMORY:
        return -ENOMEM;
    case AVAHI_ERR_NO_NETWORK:
        return -ENETDOWN;
    case AVAHI_ERR_DBUS_ERROR:
    case AVAHI_ERR_DISCONNECTED:
    case AVAHI_ERR_NO_DAEMON:
        return -ENOTCONN;
    default:
        return -EIO;
    }
}

void mdns_browsed(const struct mdns_listener *to, const struct mdns_key *key, const char *name,
                  AvahiBrowserEvent event, AvahiLookupResultFlags flags)
{
    struct mdns_key named = *key;
    if (!name || flags & AVAHI_LOOKUP_RESULT_OUR_OWN)
        return;
    snprintf(named.name, sizeof named.name, "%s", name);
    if (event == AVAHI_BROWSER_NEW)
        to->events->seen(to->arg, &named);
    else if (event == AVAHI_BROWSER_REMOVE)
        to->events->gone(to->arg, &named);
}

void mdns_group_changed(const struct mdns_listener *to, AvahiEntryGroupState state)
{
    if (state == AVAHI_ENTRY_GROUP_COLLISION)
        to->events->collision(to->arg);
    else if (state == AVAHI_ENTRY_GROUP_ESTABLISHED)
        to->events->published(to->arg);
}

static void lookup_forget_host(struct mdns_lookup *l)
{
    for (unsigned i = 0; i < 2; i++) {
        if (l->addresses[i])
            l->api->addresses_free(l->addresses[i]);
        l->addresses[i] = NULL;
    }
    l->host[0] = '\0';
}

/* True when it is another one than before. */
static bool lookup_set_host(struct mdns_lookup *l, const char *host)
{
    static const uint16_t types[2] = {AVAHI_DNS_TYPE_A, AVAHI_DNS_TYPE_AAAA};
    if (avahi_domain_equal(l->host, host))
        return false;
    lookup_forget_host(l);
    snprintf(l->host, sizeof l->host, "%s", host);
    for (unsigned i = 0; i < 2; i++)
        l->addresses[i] = l->api->addresses_new(l->backend, &l->key, host, types[i], l);
    return true;
}

struct mdns_lookup *mdns_lookup_new(const struct mdns_lookup_api *api, void *backend,
                                    const struct mdns_listener *to, const struct mdns_key *key,
                                    void *instance)
{
    struct mdns_lookup *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    *l = (struct mdns_lookup){
        .api = api, .to = to, .backend = backend, .instance = instance, .key = *key};
    l->resolver = api->resolver_new(backend, key, l);
    if (!l->resolver) {
        free(l);
        return NULL;
    }
    return l;
}

void mdns_lookup_free(void *lookup)
{
    struct mdns_lookup *l = lookup;
    lookup_forget_host(l);
    l->api->resolver_free(l->resolver);
    free(l);
}

void mdns_lookup_answer(struct mdns_lookup *l, const char *host, uint16_t port,
                        const AvahiStringList *txt)
{
    if (!host) {
        lookup_forget_host(l);
        l->to->events->unresolved(l->to->arg, l->instance);
        return;
    }
    struct mdns_answer answer = {.port = port, .txt = txt};
    answer.new_host = lookup_set_host(l, host);
    l->to->events->resolved(l->to->arg, l->instance, &answer);
}

void mdns_lookup_address(struct mdns_lookup *l, AvahiBrowserEvent event, uint16_t type,
                         const void *bytes)
{
    AvahiAddress address = {.proto =
                                type == AVAHI_DNS_TYPE_A ? AVAHI_PROTO_INET : AVAHI_PROTO_INET6};
    if (event != AVAHI_BROWSER_NEW && event != AVAHI_BROWSER_REMOVE)
        return;
    memcpy(address.data.data, bytes, type == AVAHI_DNS_TYPE_A ? 4 : 16);
    l->to->events->address(l->to->arg, l->instance, &address, event == AVAHI_BROWSER_NEW);
}
