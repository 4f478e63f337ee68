/* mDNS by the host's avahi-daemon, over D-Bus (libavahi-client). Its calls wait for
 * the daemon's answer: microseconds on the system bus. */
#include "discovery/avahi_clash.h"
#include "discovery/discovery.h"
#include "discovery/mdns.h"

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
    const struct mdns_events *events;
    void *arg;
};

/* avahi's own resolver tells one address and never takes it back, so that addresses
 * are browsed as records. */
struct resolver {
    struct system *system;
    void *instance;
    struct mdns_key key;
    char host[AVAHI_DOMAIN_NAME_MAX];
    AvahiServiceResolver *handle;
    AvahiRecordBrowser *addresses[2]; /* A, AAAA */
};

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
    case AVAHI_ERR_DBUS_ERROR:
    case AVAHI_ERR_DISCONNECTED:
    case AVAHI_ERR_NO_DAEMON:
        return -ENOTCONN;
    default:
        return -EIO;
    }
}

/* May run before avahi_client_new() has returned. */
static void client_on_state(AvahiClient *client, AvahiClientState state, void *arg)
{
    struct system *s = arg;
    (void)client;
    switch (state) {
    case AVAHI_CLIENT_S_RUNNING:
        s->events->ready(s->arg, true);
        break;
    case AVAHI_CLIENT_S_REGISTERING: /* the daemon's host name is not settled */
    case AVAHI_CLIENT_S_COLLISION:
    case AVAHI_CLIENT_CONNECTING:
        s->events->ready(s->arg, false);
        break;
    case AVAHI_CLIENT_FAILURE:
        s->events->failed(s->arg);
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
    s->events = env->events;
    s->arg = env->arg;
    s->client = avahi_client_new(env->poll, AVAHI_CLIENT_NO_FAIL | AVAHI_CLIENT_IGNORE_USER_CONFIG,
                                 client_on_state, s, &error);
    if (!s->client) {
        free(s);
        return error_translate(error);
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
    (void)b;
    (void)type;
    (void)domain;
    if (!name || flags & AVAHI_LOOKUP_RESULT_OUR_OWN)
        return;
    snprintf(key.name, sizeof key.name, "%s", name);
    if (event == AVAHI_BROWSER_NEW)
        s->events->seen(s->arg, &key);
    else if (event == AVAHI_BROWSER_REMOVE)
        s->events->gone(s->arg, &key);
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
    if (state == AVAHI_ENTRY_GROUP_COLLISION)
        s->events->collision(s->arg);
    else if (state == AVAHI_ENTRY_GROUP_ESTABLISHED)
        s->events->published(s->arg);
}

static int system_service_new(void *backend, unsigned ifindex, const struct mdns_service *service,
                              void **out)
{
    struct system *s = backend;
    *out = NULL;
    AvahiEntryGroup *group = avahi_entry_group_new(s->client, group_on_state, s);
    if (!group)
        return error_translate(avahi_client_errno(s->client));
    int error = avahi_entry_group_add_service_strlst(
        group, (AvahiIfIndex)ifindex, AVAHI_PROTO_UNSPEC, AVAHI_PUBLISH_USE_MULTICAST,
        service->name, DISCOVERY_TYPE, NULL, NULL, service->port, service->txt);
    if (error == AVAHI_OK)
        error = avahi_entry_group_commit(group);
    if (error != AVAHI_OK) {
        avahi_clash_client_group_free(group);
        return error_translate(error);
    }
    *out = group;
    return 0;
}

static int system_service_update(void *backend, void *service, unsigned ifindex,
                                 const struct mdns_service *wanted)
{
    (void)backend;
    return error_translate(avahi_entry_group_update_service_txt_strlst(
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
    struct resolver *r = arg;
    AvahiAddress address;
    size_t expected = type == AVAHI_DNS_TYPE_A ? 4 : 16;
    (void)b, (void)ifindex, (void)protocol, (void)name, (void)class, (void)flags;
    if ((event != AVAHI_BROWSER_NEW && event != AVAHI_BROWSER_REMOVE) || !rdata || size != expected)
        return;
    address.proto = type == AVAHI_DNS_TYPE_A ? AVAHI_PROTO_INET : AVAHI_PROTO_INET6;
    memcpy(address.data.data, rdata, size);
    r->system->events->address(r->system->arg, r->instance, &address, event == AVAHI_BROWSER_NEW);
}

static void resolver_forget_host(struct resolver *r)
{
    for (unsigned i = 0; i < 2; i++) {
        if (r->addresses[i])
            avahi_record_browser_free(r->addresses[i]);
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
    for (unsigned i = 0; i < 2; i++)
        r->addresses[i] = avahi_record_browser_new(
            r->system->client, r->key.ifindex, r->key.protocol, host, AVAHI_DNS_CLASS_IN, types[i],
            AVAHI_LOOKUP_USE_MULTICAST, record_on_event, r);
    return true;
}

static void resolver_on_event(AvahiServiceResolver *handle, AvahiIfIndex ifindex,
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
        r->system->events->resolved(r->system->arg, r->instance, &answer);
    } else {
        resolver_forget_host(r);
        r->system->events->unresolved(r->system->arg, r->instance);
    }
}

static void *system_resolver_new(void *backend, const struct mdns_key *key, void *instance)
{
    struct system *s = backend;
    struct resolver *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->system = s;
    r->instance = instance;
    r->key = *key;
    r->handle = avahi_service_resolver_new(s->client, key->ifindex, key->protocol, key->name,
                                           DISCOVERY_TYPE, "local", AVAHI_PROTO_UNSPEC,
                                           AVAHI_LOOKUP_USE_MULTICAST | AVAHI_LOOKUP_NO_ADDRESS,
                                           resolver_on_event, r);
    if (!r->handle) {
        free(r);
        return NULL;
    }
    return r;
}

static void system_resolver_free(void *resolver)
{
    struct resolver *r = resolver;
    resolver_forget_host(r);
    avahi_service_resolver_free(r->handle);
    free(r);
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
                                     .resolver_free = system_resolver_free};
