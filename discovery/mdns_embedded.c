/* mDNS by avahi-core in this process. Addresses and service are published and
 * browsed link by link: avahi-core's own lists of interfaces take exact names and
 * can't be changed while it runs. Host addresses are ours for the same reason. */
#include "discovery/discovery.h"
#include "discovery/mdns_lookup.h"

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
#include <sys/random.h>

/* Records remembered of each interface and protocol: DISCOVERY_PEERS_MAX peers with
 * PTR, SRV, TXT and some addresses each. A flood fills this and no more. */
enum { CACHE_ENTRIES_MAX = 2048 };

struct embedded {
    AvahiServer *server;
    struct mdns_listener to;
};

static void log_nothing(AvahiLogLevel level, const char *text)
{
    (void)level;
    (void)text;
}

static void server_on_state(AvahiServer *server, AvahiServerState state, void *arg)
{
    struct embedded *e = arg;
    (void)server;
    switch (state) {
    case AVAHI_SERVER_RUNNING:
        e->to.events->ready(e->to.arg, true);
        break;
    case AVAHI_SERVER_FAILURE:
        e->to.events->failed(e->to.arg);
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

/* avahi-core draws its delays from rand(), which starts alike in every process: a crowd
 * would speak in the same instant, and nobody hear another in time to keep quiet.
 * Returns what it was seeded with; 0 where the kernel has nothing random yet. */
static unsigned seed_delays(void)
{
    unsigned seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        return 0;
    srand(seed);
    return seed;
}

static int embedded_open(const struct mdns_env *env, void **out)
{
    AvahiServerConfig config;
    int error = AVAHI_OK;
    *out = NULL;
    struct embedded *e = calloc(1, sizeof *e);
    if (!e)
        return -ENOMEM;
    e->to = (struct mdns_listener){.events = env->events,
                                   .arg = env->arg,
                                   .glances = env->poll,
                                   .glance_phase_ms = seed_delays() % MDNS_GLANCE_MS};
    avahi_set_log_function(log_nothing);
    config_fill(&config, env);
    e->server = avahi_server_new(env->poll, &config, server_on_state, e, &error);
    avahi_server_config_free(&config);
    if (!e->server) {
        free(e);
        return mdns_error(error);
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
    (void)b, (void)type, (void)domain;
    mdns_browsed(&e->to, &key, name, event, flags);
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
    mdns_group_changed(&e->to, state);
}

static int group_finish(AvahiSEntryGroup *group, int error, void **out)
{
    if (error == AVAHI_OK)
        error = avahi_s_entry_group_commit(group);
    if (error != AVAHI_OK) {
        avahi_s_entry_group_free(group);
        return mdns_error(error);
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
    return mdns_error(error);
}

static void address_on_state(AvahiServer *server, AvahiSEntryGroup *group,
                             AvahiEntryGroupState state, void *arg)
{
    struct embedded *e = arg;
    (void)server;
    (void)group;
    if (state == AVAHI_ENTRY_GROUP_COLLISION)
        e->to.events->collision(e->to.arg);
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
    (void)ifindex, (void)protocol, (void)flags;
    if (event == AVAHI_BROWSER_CACHE_EXHAUSTED || event == AVAHI_BROWSER_ALL_FOR_NOW)
        mdns_lookup_scanned(arg, b, event == AVAHI_BROWSER_ALL_FOR_NOW);
    if (!record)
        return;
    uint16_t type = record->key->type;
    mdns_lookup_address(arg, event, type,
                        type == AVAHI_DNS_TYPE_A ? (const void *)&record->data.a.address
                                                 : (const void *)&record->data.aaaa.address);
}

static void *addresses_new(void *backend, const struct mdns_key *key, const char *host,
                           uint16_t type, struct mdns_lookup *l)
{
    struct embedded *e = backend;
    AvahiKey *record = avahi_key_new(host, AVAHI_DNS_CLASS_IN, type);
    if (!record)
        return NULL;
    void *browser = avahi_s_record_browser_new(e->server, key->ifindex, key->protocol, record,
                                               AVAHI_LOOKUP_USE_MULTICAST, record_on_event, l);
    avahi_key_unref(record);
    return browser;
}

static void addresses_free(void *addresses)
{
    avahi_s_record_browser_free(addresses);
}

static void resolver_on_event(AvahiSServiceResolver *handle, AvahiIfIndex ifindex,
                              AvahiProtocol protocol, AvahiResolverEvent event, const char *name,
                              const char *type, const char *domain, const char *host,
                              const AvahiAddress *address, uint16_t port, AvahiStringList *txt,
                              AvahiLookupResultFlags flags, void *arg)
{
    (void)handle, (void)ifindex, (void)protocol, (void)name, (void)type, (void)domain;
    (void)address, (void)flags;
    mdns_lookup_answer(arg, event == AVAHI_RESOLVER_FOUND ? host : NULL, port, txt);
}

static void *resolver_new(void *backend, const struct mdns_key *key, struct mdns_lookup *l)
{
    struct embedded *e = backend;
    return avahi_s_service_resolver_new(e->server, key->ifindex, key->protocol, key->name,
                                        DISCOVERY_TYPE, "local", AVAHI_PROTO_UNSPEC,
                                        AVAHI_LOOKUP_USE_MULTICAST | AVAHI_LOOKUP_NO_ADDRESS,
                                        resolver_on_event, l);
}

static void resolver_free(void *resolver)
{
    avahi_s_service_resolver_free(resolver);
}

static void *embedded_resolver_new(void *backend, const struct mdns_key *key, void *instance)
{
    static const struct mdns_lookup_api api = {.resolver_new = resolver_new,
                                               .resolver_free = resolver_free,
                                               .addresses_new = addresses_new,
                                               .addresses_free = addresses_free};
    const struct embedded *e = backend;
    return mdns_lookup_new(&api, backend, &e->to, key, instance);
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
                                       .resolver_free = mdns_lookup_free};
