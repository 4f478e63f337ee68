/* mDNS by the host's avahi-daemon, over D-Bus (libavahi-client). Its calls wait for
 * the daemon's answer: microseconds on the system bus. */
#include "discovery/avahi_clash.h"
#include "discovery/discovery.h"
#include "discovery/mdns_lookup.h"

#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/domain.h>
#include <avahi-common/error.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct system {
    AvahiClient *client;
    struct mdns_listener to;
};

/* May run before avahi_client_new() has returned. */
static void client_on_state(AvahiClient *client, AvahiClientState state, void *arg)
{
    struct system *s = arg;
    (void)client;
    switch (state) {
    case AVAHI_CLIENT_S_RUNNING:
        s->to.events->ready(s->to.arg, true);
        break;
    case AVAHI_CLIENT_S_REGISTERING: /* the daemon's host name is not settled */
    case AVAHI_CLIENT_S_COLLISION:
    case AVAHI_CLIENT_CONNECTING:
        s->to.events->ready(s->to.arg, false);
        break;
    case AVAHI_CLIENT_FAILURE:
        s->to.events->failed(s->to.arg);
        break;
    }
}

static void system_close(void *backend)
{
    struct system *s = backend;
    if (s->client)
        avahi_client_free(s->client); /* the daemon says goodbye for us */
    free(s);
}

static int system_open(const struct mdns_env *env, void **out)
{
    int error = AVAHI_OK;
    *out = NULL;
    struct system *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->to = (struct mdns_listener){.events = env->events, .arg = env->arg};
    s->client = avahi_client_new(env->poll, AVAHI_CLIENT_NO_FAIL | AVAHI_CLIENT_IGNORE_USER_CONFIG,
                                 client_on_state, s, &error);
    if (!s->client) {
        free(s);
        return mdns_error(error);
    }
    *out = s;
    return 0;
}

static void browser_on_event(AvahiServiceBrowser *b, AvahiIfIndex ifindex, AvahiProtocol protocol,
                             AvahiBrowserEvent event, const char *name, const char *type,
                             const char *domain, AvahiLookupResultFlags flags, void *arg)
{
    struct system *s = arg;
    struct mdns_key key = {.ifindex = ifindex, .protocol = protocol};
    (void)b, (void)type, (void)domain;
    mdns_browsed(&s->to, &key, name, event, flags);
}

static void *system_browser_new(void *backend, unsigned ifindex)
{
    struct system *s = backend;
    return avahi_service_browser_new(s->client, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC,
                                     DISCOVERY_TYPE, "local", AVAHI_LOOKUP_USE_MULTICAST,
                                     browser_on_event, s);
}

static void system_browser_free(void *browser)
{
    avahi_service_browser_free(browser);
}

static void group_on_state(AvahiEntryGroup *group, AvahiEntryGroupState state, void *arg)
{
    struct system *s = arg;
    (void)group;
    mdns_group_changed(&s->to, state);
}

static int system_service_new(void *backend, unsigned ifindex, const struct mdns_service *service,
                              void **out)
{
    struct system *s = backend;
    *out = NULL;
    AvahiEntryGroup *group = avahi_entry_group_new(s->client, group_on_state, s);
    if (!group)
        return mdns_error(avahi_client_errno(s->client));
    int error = avahi_entry_group_add_service_strlst(
        group, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC, AVAHI_PUBLISH_USE_MULTICAST,
        service->name, DISCOVERY_TYPE, NULL, NULL, service->port, service->txt);
    if (error == AVAHI_OK)
        error = avahi_entry_group_commit(group);
    if (error != AVAHI_OK) {
        avahi_clash_client_group_free(group);
        return mdns_error(error);
    }
    *out = group;
    return 0;
}

static int system_service_update(void *backend, void *service, unsigned ifindex,
                                 const struct mdns_service *wanted)
{
    (void)backend;
    return mdns_error(avahi_entry_group_update_service_txt_strlst(
        service, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC, AVAHI_PUBLISH_USE_MULTICAST,
        wanted->name, DISCOVERY_TYPE, NULL, wanted->txt));
}

static void system_service_free(void *service)
{
    avahi_clash_client_group_free(service);
}

static void record_on_event(AvahiRecordBrowser *b, AvahiIfIndex ifindex, AvahiProtocol protocol,
                            AvahiBrowserEvent event, const char *name, uint16_t class,
                            uint16_t type, const void *rdata, size_t size,
                            AvahiLookupResultFlags flags, void *arg)
{
    (void)b, (void)ifindex, (void)protocol, (void)name, (void)class, (void)flags;
    if (rdata && size == (type == AVAHI_DNS_TYPE_A ? 4 : 16))
        mdns_lookup_address(arg, event, type, rdata);
}

static void *addresses_new(void *backend, const struct mdns_key *key, const char *host,
                           uint16_t type, struct mdns_lookup *l)
{
    struct system *s = backend;
    return avahi_record_browser_new(s->client, key->ifindex, key->protocol, host,
                                    AVAHI_DNS_CLASS_IN, type, AVAHI_LOOKUP_USE_MULTICAST,
                                    record_on_event, l);
}

static void addresses_free(void *addresses)
{
    avahi_record_browser_free(addresses);
}

static void resolver_on_event(AvahiServiceResolver *handle, AvahiIfIndex ifindex,
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
    struct system *s = backend;
    return avahi_service_resolver_new(s->client, key->ifindex, key->protocol, key->name,
                                      DISCOVERY_TYPE, "local", AVAHI_PROTO_UNSPEC,
                                      AVAHI_LOOKUP_USE_MULTICAST | AVAHI_LOOKUP_NO_ADDRESS,
                                      resolver_on_event, l);
}

static void resolver_free(void *resolver)
{
    avahi_service_resolver_free(resolver);
}

static void *system_resolver_new(void *backend, const struct mdns_key *key, void *instance)
{
    static const struct mdns_lookup_api api = {.resolver_new = resolver_new,
                                               .resolver_free = resolver_free,
                                               .addresses_new = addresses_new,
                                               .addresses_free = addresses_free};
    const struct system *s = backend;
    return mdns_lookup_new(&api, backend, &s->to, key, instance);
}

const struct mdns_api mdns_system = {.name = "avahi-daemon",
                                     .open = system_open,
                                     .close = system_close,
                                     .browser_new = system_browser_new,
                                     .browser_free = system_browser_free,
                                     .service_new = system_service_new,
                                     .service_update = system_service_update,
                                     .service_free = system_service_free,
                                     .resolver_new = system_resolver_new,
                                     .resolver_free = mdns_lookup_free};
