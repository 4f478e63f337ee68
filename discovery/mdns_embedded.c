/* mDNS by avahi-core in this process. Addresses and service are published and
 * browsed link by link: avahi-core's own lists of interfaces take exact names and
 * can't be changed while it runs. Host addresses are ours for the same reason. */
#include "discovery/discovery.h"
#include "discovery/mdns.h"

#include <avahi-common/domain.h>
#include <avahi-common/error.h>
#include <avahi-common/malloc.h>
#include <avahi-core/core.h>
#include <avahi-core/log.h>
#include <avahi-core/lookup.h>
#include <avahi-core/publish.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Records remembered of each interface and protocol: DISCOVERY_PEERS_MAX peers with
 * PTR, SRV, TXT and some addresses each. A flood fills this and no more. */
enum { CACHE_ENTRIES_MAX = 2048 };

struct embedded {
    AvahiServer *server;
    const struct mdns_events *events;
    void *arg;
};

/* avahi's own resolver tells one address and never takes it back, so that addresses
 * are browsed as records. */
struct resolver {
    struct embedded *embedded;
    void *instance;
    struct mdns_key key;
    char host[AVAHI_DOMAIN_NAME_MAX];
    AvahiSServiceResolver *handle;
    AvahiSRecordBrowser *addresses[2]; /* A, AAAA */
};

static void log_nothing(AvahiLogLevel level, const char *text)
{
    (void)level;
    (void)text;
}

/* Avahi numbers its errors like errno, but otherwise. */
static int error_translate(int avahi)
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
    default:
        return -EIO;
    }
}

static void server_on_state(AvahiServer *server, AvahiServerState state, void *arg)
{
    struct embedded *e = arg;
    (void)server;
    switch (state) {
    case AVAHI_SERVER_RUNNING:
        e->events->ready(e->arg, true);
        break;
    case AVAHI_SERVER_FAILURE:
        e->events->failed(e->arg);
        break;
    case AVAHI_SERVER_COLLISION: /* none: the server itself publishes no name */
    case AVAHI_SERVER_REGISTERING:
    case AVAHI_SERVER_INVALID:
        break;
    }
}

static void config_fill(AvahiServerConfig *config, const struct mdns_env *env)
{
    avahi_server_config_init(config);
    avahi_free(config->host_name);
    config->host_name = avahi_strdup(env->host);
    config->use_ipv4 = 1;
    config->use_ipv6 = 1;
    config->publish_hinfo = 0;
    config->publish_addresses = 0;
    config->publish_workstation = 0;
    config->publish_domain = 0;
    config->use_iff_running = 1;
    config->enable_reflector = 0;
    config->enable_wide_area = 0;
    config->disallow_other_stacks = 0;
    config->allow_point_to_point = env->point_to_point;
    config->n_cache_entries_max = CACHE_ENTRIES_MAX;
}

static void embedded_close(void *backend)
{
    struct embedded *e = backend;
    if (e->server)
        avahi_server_free(e->server); /* sends the goodbyes that are still due */
    free(e);
}

static int embedded_open(const struct mdns_env *env, void **out)
{
    AvahiServerConfig config;
    int error = AVAHI_OK;
    *out = NULL;
    struct embedded *e = calloc(1, sizeof *e);
    if (!e)
        return -ENOMEM;
    e->events = env->events;
    e->arg = env->arg;
    avahi_set_log_function(log_nothing);
    config_fill(&config, env);
    e->server = avahi_server_new(env->poll, &config, server_on_state, e, &error);
    avahi_server_config_free(&config);
    if (!e->server) {
        free(e);
        return error_translate(error);
    }
    *out = e;
    return 0;
}

static void browser_on_event(AvahiSServiceBrowser *b, AvahiIfIndex ifindex, AvahiProtocol protocol,
                             AvahiBrowserEvent event, const char *name, const char *type,
                             const char *domain, AvahiLookupResultFlags flags, void *arg)
{
    struct embedded *e = arg;
    struct mdns_key key = {.ifindex = ifindex, .protocol = protocol};
    (void)b;
    (void)type;
    (void)domain;
    if (!name || flags & AVAHI_LOOKUP_RESULT_OUR_OWN)
        return;
    snprintf(key.name, sizeof key.name, "%s", name);
    if (event == AVAHI_BROWSER_NEW)
        e->events->seen(e->arg, &key);
    else if (event == AVAHI_BROWSER_REMOVE)
        e->events->gone(e->arg, &key);
}

static void *embedded_browser_new(void *backend, unsigned ifindex)
{
    struct embedded *e = backend;
    return avahi_s_service_browser_new(e->server, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC,
                                       DISCOVERY_TYPE, "local", AVAHI_LOOKUP_USE_MULTICAST,
                                       browser_on_event, e);
}

static void embedded_browser_free(void *browser)
{
    avahi_s_service_browser_free(browser);
}

static void group_on_state(AvahiServer *server, AvahiSEntryGroup *group, AvahiEntryGroupState state,
                           void *arg)
{
    struct embedded *e = arg;
    (void)server;
    (void)group;
    if (state == AVAHI_ENTRY_GROUP_COLLISION)
        e->events->collision(e->arg);
    else if (state == AVAHI_ENTRY_GROUP_ESTABLISHED)
        e->events->published(e->arg);
}

static int group_finish(AvahiSEntryGroup *group, int error, void **out)
{
    if (error == AVAHI_OK)
        error = avahi_s_entry_group_commit(group);
    if (error != AVAHI_OK) {
        avahi_s_entry_group_free(group);
        return error_translate(error);
    }
    *out = group;
    return 0;
}

static int embedded_service_new(void *backend, unsigned ifindex, const struct mdns_service *s,
                                void **out)
{
    struct embedded *e = backend;
    *out = NULL;
    AvahiSEntryGroup *group = avahi_s_entry_group_new(e->server, group_on_state, e);
    if (!group)
        return -ENOMEM;
    int error = avahi_server_add_service_strlst(
        e->server, group, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC, AVAHI_PUBLISH_USE_MULTICAST,
        s->name, DISCOVERY_TYPE, "local", s->host, s->port, s->txt);
    return group_finish(group, error, out);
}

static int embedded_service_update(void *backend, void *service, unsigned ifindex,
                                   const struct mdns_service *s)
{
    struct embedded *e = backend;
    int error = avahi_server_update_service_txt_strlst(
        e->server, service, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC, AVAHI_PUBLISH_USE_MULTICAST,
        s->name, DISCOVERY_TYPE, "local", s->txt);
    return error_translate(error);
}

static void address_on_state(AvahiServer *server, AvahiSEntryGroup *group,
                             AvahiEntryGroupState state, void *arg)
{
    struct embedded *e = arg;
    (void)server;
    (void)group;
    if (state == AVAHI_ENTRY_GROUP_COLLISION)
        e->events->collision(e->arg);
}

static int embedded_address_new(void *backend, unsigned ifindex, const struct mdns_service *s,
                                const struct netwatch_addr *addr, void **out)
{
    struct embedded *e = backend;
    AvahiAddress address = {.proto =
                                addr->family == AF_INET ? AVAHI_PROTO_INET : AVAHI_PROTO_INET6};
    *out = NULL;
    memcpy(address.data.data, addr->bytes, addr->family == AF_INET ? 4 : 16);
    AvahiSEntryGroup *group = avahi_s_entry_group_new(e->server, address_on_state, e);
    if (!group)
        return -ENOMEM;
    int error = avahi_server_add_address(
        e->server, group, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC,
        AVAHI_PUBLISH_NO_REVERSE | AVAHI_PUBLISH_USE_MULTICAST, s->host, &address);
    return group_finish(group, error, out);
}

static void embedded_group_free(void *group)
{
    avahi_s_entry_group_free(group);
}

static void record_on_event(AvahiSRecordBrowser *b, AvahiIfIndex ifindex, AvahiProtocol protocol,
                            AvahiBrowserEvent event, AvahiRecord *record,
                            AvahiLookupResultFlags flags, void *arg)
{
    struct resolver *r = arg;
    AvahiAddress address;
    (void)b, (void)ifindex, (void)protocol, (void)flags;
    if (!record || (event != AVAHI_BROWSER_NEW && event != AVAHI_BROWSER_REMOVE))
        return;
    if (record->key->type == AVAHI_DNS_TYPE_A) {
        address.proto = AVAHI_PROTO_INET;
        address.data.ipv4 = record->data.a.address;
    } else {
        address.proto = AVAHI_PROTO_INET6;
        address.data.ipv6 = record->data.aaaa.address;
    }
    r->embedded->events->address(r->embedded->arg, r->instance, &address,
                                 event == AVAHI_BROWSER_NEW);
}

static void resolver_forget_host(struct resolver *r)
{
    for (unsigned i = 0; i < 2; i++) {
        if (r->addresses[i])
            avahi_s_record_browser_free(r->addresses[i]);
        r->addresses[i] = NULL;
    }
    r->host[0] = '\0';
}

/* True when it is another one than before. */
static bool resolver_set_host(struct resolver *r, const char *host)
{
    static const uint16_t types[2] = {AVAHI_DNS_TYPE_A, AVAHI_DNS_TYPE_AAAA};
    if (avahi_domain_equal(r->host, host))
        return false;
    resolver_forget_host(r);
    snprintf(r->host, sizeof r->host, "%s", host);
    for (unsigned i = 0; i < 2; i++) {
        AvahiKey *key = avahi_key_new(host, AVAHI_DNS_CLASS_IN, types[i]);
        if (!key)
            continue;
        r->addresses[i] =
            avahi_s_record_browser_new(r->embedded->server, r->key.ifindex, r->key.protocol, key,
                                       AVAHI_LOOKUP_USE_MULTICAST, record_on_event, r);
        avahi_key_unref(key);
    }
    return true;
}

static void resolver_on_event(AvahiSServiceResolver *handle, AvahiIfIndex ifindex,
                              AvahiProtocol protocol, AvahiResolverEvent event, const char *name,
                              const char *type, const char *domain, const char *host,
                              const AvahiAddress *address, uint16_t port, AvahiStringList *txt,
                              AvahiLookupResultFlags flags, void *arg)
{
    struct resolver *r = arg;
    struct mdns_answer answer = {.port = port, .txt = txt};
    (void)handle, (void)ifindex, (void)protocol, (void)name, (void)type, (void)domain;
    (void)address, (void)flags;
    if (event == AVAHI_RESOLVER_FOUND && host) {
        answer.new_host = resolver_set_host(r, host);
        r->embedded->events->resolved(r->embedded->arg, r->instance, &answer);
    } else {
        resolver_forget_host(r);
        r->embedded->events->unresolved(r->embedded->arg, r->instance);
    }
}

static void *embedded_resolver_new(void *backend, const struct mdns_key *key, void *instance)
{
    struct embedded *e = backend;
    struct resolver *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->embedded = e;
    r->instance = instance;
    r->key = *key;
    r->handle = avahi_s_service_resolver_new(e->server, key->ifindex, key->protocol, key->name,
                                             DISCOVERY_TYPE, "local", AVAHI_PROTO_UNSPEC,
                                             AVAHI_LOOKUP_USE_MULTICAST | AVAHI_LOOKUP_NO_ADDRESS,
                                             resolver_on_event, r);
    if (!r->handle) {
        free(r);
        return NULL;
    }
    return r;
}

static void embedded_resolver_free(void *resolver)
{
    struct resolver *r = resolver;
    resolver_forget_host(r);
    avahi_s_service_resolver_free(r->handle);
    free(r);
}

const struct mdns_api mdns_embedded = {.name = "embedded",
                                       .open = embedded_open,
                                       .close = embedded_close,
                                       .browser_new = embedded_browser_new,
                                       .browser_free = embedded_browser_free,
                                       .service_new = embedded_service_new,
                                       .service_update = embedded_service_update,
                                       .service_free = embedded_group_free,
                                       .address_new = embedded_address_new,
                                       .address_free = embedded_group_free,
                                       .resolver_new = embedded_resolver_new,
                                       .resolver_free = embedded_resolver_free};
