#include "discovery/mdns_lookup.h"

#include <avahi-common/error.h>
#include <avahi-common/timeval.h>
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

static const uint16_t address_types[2] = {AVAHI_DNS_TYPE_A, AVAHI_DNS_TYPE_AAAA};

static AvahiProtocol type_protocol(uint16_t type)
{
    return type == AVAHI_DNS_TYPE_A ? AVAHI_PROTO_INET : AVAHI_PROTO_INET6;
}

static void lookup_close_addresses(struct mdns_lookup *l)
{
    for (unsigned i = 0; i < 2; i++) {
        if (l->addresses[i])
            l->api->addresses_free(l->addresses[i]);
        l->addresses[i] = NULL;
        l->scanned[i] = false;
    }
}

static void lookup_open_addresses(struct mdns_lookup *l)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!l->addresses[i])
            l->addresses[i] =
                l->api->addresses_new(l->backend, &l->key, l->host, address_types[i], l);
    }
}

static void lookup_forget_host(struct mdns_lookup *l)
{
    lookup_close_addresses(l);
    l->addr_count = 0;
    l->glanced = false;
    l->host[0] = '\0';
}

static void lookup_close(struct mdns_lookup *l)
{
    lookup_close_addresses(l);
    if (l->resolver)
        l->api->resolver_free(l->resolver);
    l->resolver = NULL;
}

static void lookup_close_when_known(struct mdns_lookup *l)
{
    struct timeval tv;
    if (!l->timer || !l->scanned[0] || !l->scanned[1] || l->addr_count == 0)
        return;
    avahi_elapse_time(&tv, 0, 0);
    l->to->glances->timeout_update(l->timer, &tv);
}

/* All of a node's in one turn of its loop, for it shall sleep while nothing is going on; but not
 * all nodes in the same instant. */
static void lookup_set_glance(struct mdns_lookup *l)
{
    struct timeval tv;
    avahi_elapse_time(&tv, MDNS_GLANCE_MS, 0);
    uint64_t ms = (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000;
    ms -= (ms - l->to->glance_phase_ms) % MDNS_GLANCE_MS;
    tv =
        (struct timeval){.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    l->to->glances->timeout_update(l->timer, &tv);
}

static void lookup_on_timer(AvahiTimeout *timer, void *arg)
{
    struct mdns_lookup *l = arg;
    (void)timer;
    if (l->resolver) {
        lookup_close(l);
        l->glanced = true;
        lookup_set_glance(l);
        return;
    }
    for (unsigned i = 0; i < l->addr_count; i++)
        l->addrs[i].seen = false;
    l->resolver = l->api->resolver_new(l->backend, &l->key, l);
    if (!l->resolver)
        lookup_set_glance(l);
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
    if (to->glances)
        l->timer = to->glances->timeout_new(to->glances, NULL, lookup_on_timer, l);
    l->resolver = api->resolver_new(backend, key, l);
    if (!l->resolver || (to->glances && !l->timer)) {
        mdns_lookup_free(l);
        return NULL;
    }
    return l;
}

void mdns_lookup_free(void *lookup)
{
    struct mdns_lookup *l = lookup;
    lookup_close(l);
    if (l->timer)
        l->to->glances->timeout_free(l->timer);
    avahi_string_list_free(l->txt);
    free(l);
}

void mdns_lookup_answer(struct mdns_lookup *l, const char *host, uint16_t port,
                        const AvahiStringList *txt)
{
    if (!host || !*host) {
        lookup_forget_host(l);
        l->to->events->unresolved(l->to->arg, l->instance);
        return;
    }
    struct mdns_answer answer = {.port = port, .txt = txt};
    answer.new_host = !avahi_domain_equal(l->host, host);
    if (answer.new_host) {
        lookup_forget_host(l);
        snprintf(l->host, sizeof l->host, "%s", host);
    }
    lookup_open_addresses(l);
    if (!answer.new_host && l->port == port && avahi_string_list_equal(l->txt, txt))
        return;
    avahi_string_list_free(l->txt);
    l->txt = avahi_string_list_copy(txt);
    l->port = port;
    l->to->events->resolved(l->to->arg, l->instance, &answer);
}

static struct mdns_lookup_addr *lookup_find(struct mdns_lookup *l, const AvahiAddress *address)
{
    for (unsigned i = 0; i < l->addr_count; i++) {
        if (avahi_address_cmp(&l->addrs[i].address, address) == 0)
            return &l->addrs[i];
    }
    return NULL;
}

static void lookup_add(struct mdns_lookup *l, const AvahiAddress *address)
{
    if (l->addr_count == MDNS_LOOKUP_ADDRS_MAX)
        return;
    l->addrs[l->addr_count++] = (struct mdns_lookup_addr){.address = *address, .seen = true};
    lookup_close_when_known(l); /* it came late */
    l->to->events->address(l->to->arg, l->instance, address, true);
}

static void lookup_remove(struct mdns_lookup *l, struct mdns_lookup_addr *known)
{
    AvahiAddress address = known->address;
    *known = l->addrs[--l->addr_count];
    l->to->events->address(l->to->arg, l->instance, &address, false);
}

void mdns_lookup_address(struct mdns_lookup *l, AvahiBrowserEvent event, uint16_t type,
                         const void *bytes)
{
    AvahiAddress address = {.proto = type_protocol(type)};
    memcpy(address.data.data, bytes, type == AVAHI_DNS_TYPE_A ? 4 : 16);
    struct mdns_lookup_addr *known = lookup_find(l, &address);
    if (event == AVAHI_BROWSER_NEW && known)
        known->seen = true;
    else if (event == AVAHI_BROWSER_NEW)
        lookup_add(l, &address);
    else if (event == AVAHI_BROWSER_REMOVE && known)
        lookup_remove(l, known);
}

/* Addresses of this family that were told before and are not there any more go. */
static void lookup_drop_unseen(struct mdns_lookup *l, AvahiProtocol protocol)
{
    for (unsigned i = 0; i < l->addr_count;) {
        if (l->addrs[i].address.proto == protocol && !l->addrs[i].seen)
            lookup_remove(l, &l->addrs[i]);
        else
            i++;
    }
}

void mdns_lookup_scanned(struct mdns_lookup *l, const void *addresses, bool for_now)
{
    unsigned which = addresses == l->addresses[0] ? 0 : 1;
    AvahiProtocol protocol = type_protocol(address_types[which]);
    unsigned known = 0, seen = 0;
    for (unsigned i = 0; i < l->addr_count; i++) {
        known += l->addrs[i].address.proto == protocol;
        seen += l->addrs[i].address.proto == protocol && l->addrs[i].seen;
    }
    /* A family of which nothing is cached any more is asked for first. */
    if (!for_now && seen == 0 && (known > 0 || !l->glanced))
        return;
    lookup_drop_unseen(l, protocol);
    l->scanned[which] = true;
    lookup_close_when_known(l);
}
