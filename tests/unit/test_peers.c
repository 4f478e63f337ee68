/* The table of instances and peers, with a back end that answers nothing by itself. */
#include "discovery/peers.h"
#include "discovery/txt.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STARTED_MAX = 1024 };

static struct {
    unsigned open;
    unsigned count;
    struct instance *started[STARTED_MAX];
    struct mdns_key keys[STARTED_MAX];
} fake;

static void *fake_resolver_new(void *backend, const struct mdns_key *key, void *instance)
{
    (void)backend;
    fake.open++;
    fake.keys[fake.count % STARTED_MAX] = *key;
    fake.started[fake.count++ % STARTED_MAX] = instance;
    return malloc(1);
}

static void fake_resolver_free(void *resolver)
{
    fake.open--;
    free(resolver);
}

static const struct mdns_api api = {
    .name = "fake", .resolver_new = fake_resolver_new, .resolver_free = fake_resolver_free};
static struct peers *peers;

static void setup(void)
{
    static const uint8_t own[DISCOVERY_ID_BYTES] = {9, 9, 9, 9, 9, 9, 9, 9};
    memset(&fake, 0, sizeof fake);
    peers = peers_new(own);
}

static void teardown(void)
{
    peers_drop_all(peers, &api, 0, 0);
    peers_free(peers);
    cr_assert_eq(fake.open, 0, "resolvers leak");
}

TestSuite(peers, .init = setup, .fini = teardown, .timeout = 20);

static struct mdns_key key_of(const char *name, AvahiIfIndex ifindex, AvahiProtocol protocol)
{
    struct mdns_key key = {.ifindex = ifindex, .protocol = protocol};
    snprintf(key.name, sizeof key.name, "%s", name);
    return key;
}

static struct instance *see(const char *name, AvahiIfIndex ifindex, AvahiProtocol protocol,
                            uint64_t now)
{
    struct mdns_key key = key_of(name, ifindex, protocol);
    unsigned before = fake.count;
    peers_seen(peers, &key, now);
    peers_work(peers, &api, NULL, now);
    return fake.count > before ? fake.started[before % STARTED_MAX] : NULL;
}

static void answer(struct instance *i, uint8_t id, uint64_t catalog, uint64_t now)
{
    struct txt txt = {.version = 1, .id = {id}, .catalog_version = catalog};
    AvahiStringList *list = txt_build(&txt);
    struct mdns_answer a = {.port = 4000, .txt = list};
    peers_resolved(peers, i, &a, now);
    avahi_string_list_free(list);
}

static void address(struct instance *i, const char *text, bool present)
{
    AvahiAddress a;
    avahi_address_parse(text, AVAHI_PROTO_UNSPEC, &a);
    peers_address(peers, i, &a, present);
}

/* Peer 1, catalogue 7, at 10.0.0.2. */
static struct instance *see_ana(uint64_t now)
{
    struct instance *i = see("ana", 3, AVAHI_PROTO_INET, now);
    answer(i, 1, 7, now);
    address(i, "10.0.0.2", true);
    return i;
}

/* The last thing told, and how many. */
static unsigned told(uint64_t now, enum peers_news *news, struct discovery_peer *out)
{
    const struct discovery_peer *peer;
    unsigned count = 0;
    while (peers_next(peers, now, news, &peer)) {
        *out = *peer;
        count++;
    }
    return count;
}

Test(peers, found_with_port_and_scope)
{
    enum peers_news news;
    struct discovery_peer peer;
    struct instance *i = see("ana", 3, AVAHI_PROTO_INET, 0);
    cr_assert_not_null(i);
    answer(i, 1, 7, 0);
    cr_assert_eq(told(0, &news, &peer), 0, "no address yet");
    address(i, "10.0.0.2", true);
    address(i, "fe80::2", true);
    address(i, "fe80::2", true);
    cr_assert_eq(told(0, &news, &peer), 1);
    cr_assert_eq(news, PEERS_FOUND);
    cr_assert_str_eq(peer.instance, "ana");
    cr_assert_eq(peer.catalog_version, 7);
    cr_assert_eq(peer.addr_count, 2);
    struct sockaddr_in *in = (struct sockaddr_in *)&peer.addrs[0];
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&peer.addrs[1];
    cr_assert_eq(ntohs(in->sin_port), 4000);
    cr_assert_eq(ntohs(in6->sin6_port), 4000);
    cr_assert_eq(in6->sin6_scope_id, 3);
    cr_assert_eq(peer.ifindexes[1], 3);
    cr_assert_eq(told(0, &news, &peer), 0, "told once");
}

Test(peers, changes_are_told_and_repetitions_are_not)
{
    enum peers_news news;
    struct discovery_peer peer;
    struct instance *i = see_ana(0);
    cr_assert_eq(told(0, &news, &peer), 1);
    answer(i, 1, 7, 10);
    cr_assert_eq(told(10, &news, &peer), 0);
    answer(i, 1, 8, 20);
    cr_assert_eq(told(20, &news, &peer), 1);
    cr_assert_eq(peer.catalog_version, 8);
    address(i, "10.0.0.3", true);
    address(i, "10.0.0.2", false);
    cr_assert_eq(told(30, &news, &peer), 1);
    cr_assert_eq(peer.addr_count, 1);
}

Test(peers, loopback_public_and_own_are_ignored)
{
    enum peers_news news;
    struct discovery_peer peer;
    struct instance *i = see("trick", 3, AVAHI_PROTO_INET, 0);
    answer(i, 1, 7, 0);
    address(i, "127.0.0.1", true);
    address(i, "203.0.113.7", true);
    address(i, "::1", true);
    address(i, "ff02::1", true);
    cr_assert_eq(told(0, &news, &peer), 0);
    struct instance *own = see("me", 3, AVAHI_PROTO_INET, 0);
    struct txt txt = {.version = 1, .id = {9, 9, 9, 9, 9, 9, 9, 9}};
    AvahiStringList *list = txt_build(&txt);
    peers_resolved(peers, own, &(struct mdns_answer){.port = 1, .txt = list}, 0);
    avahi_string_list_free(list);
    address(own, "10.0.0.1", true);
    cr_assert_eq(told(0, &news, &peer), 0);
}

Test(peers, interfaces_merge_and_the_last_one_gone_is_a_loss_after_the_grace)
{
    enum peers_news news;
    struct discovery_peer peer;
    struct instance *wired = see("ana", 3, AVAHI_PROTO_INET, 0);
    struct instance *wireless = see("ana", 4, AVAHI_PROTO_INET, 0);
    answer(wired, 1, 7, 0);
    answer(wireless, 1, 7, 0);
    address(wired, "10.0.0.2", true);
    address(wireless, "10.0.1.2", true);
    cr_assert_eq(told(0, &news, &peer), 1);
    cr_assert_eq(peer.addr_count, 2);
    struct mdns_key key = key_of("ana", 3, AVAHI_PROTO_INET);
    peers_gone(peers, &key, 100);
    peers_work(peers, &api, NULL, 100);
    cr_assert_eq(told(100, &news, &peer), 1);
    cr_assert_eq(peer.addr_count, 1);
    cr_assert_eq(peer.ifindexes[0], 4);
    key.ifindex = 4;
    peers_gone(peers, &key, 200);
    peers_work(peers, &api, NULL, 200);
    cr_assert_eq(told(200, &news, &peer), 0);
    cr_assert_eq(peers_deadline_ms(peers), 200 + PEERS_GRACE_MS);
    cr_assert_eq(told(200 + PEERS_GRACE_MS, &news, &peer), 1);
    cr_assert_eq(news, PEERS_LOST);
    cr_assert_eq(peer.id[0], 1);
    cr_assert_eq(peers_deadline_ms(peers), PEERS_NEVER);
}

Test(peers, change_of_back_end_is_no_loss_when_confirmed_in_time)
{
    enum peers_news news;
    struct discovery_peer peer;
    see_ana(0);
    cr_assert_eq(told(0, &news, &peer), 1);
    peers_drop_all(peers, &api, 10000, 100);
    cr_assert_eq(told(100, &news, &peer), 0);
    see_ana(5000);
    cr_assert_eq(told(5000, &news, &peer), 0, "the same as before");
    cr_assert_eq(told(60000, &news, &peer), 0);
}

Test(peers, ipv6_twin_waits_until_ipv4_fails)
{
    cr_assert_not_null(see("ana", 3, AVAHI_PROTO_INET, 0));
    cr_assert_null(see("ana", 3, AVAHI_PROTO_INET6, 0));
    cr_assert_not_null(see("ana", 4, AVAHI_PROTO_INET6, 0), "another link");
    peers_unresolved(peers, fake.started[0], 10);
    cr_assert_eq(peers_deadline_ms(peers), 0);
    peers_work(peers, &api, NULL, 10);
    cr_assert_eq(fake.count, 3);
    cr_assert_eq(fake.keys[2].protocol, AVAHI_PROTO_INET6);
    cr_assert_eq(fake.keys[2].ifindex, 3);
}

Test(peers, silent_instance_is_asked_less_and_less_and_then_forgotten)
{
    uint64_t now = 0, last_wait = 0;
    see("mute", 3, AVAHI_PROTO_INET, 0);
    for (unsigned n = 1; n < PEERS_TRIES_MAX; n++) {
        peers_unresolved(peers, fake.started[fake.count - 1], now);
        peers_work(peers, &api, NULL, now);
        cr_assert_eq(fake.count, n);
        uint64_t wait = peers_deadline_ms(peers) - now;
        cr_assert_gt(wait, last_wait);
        last_wait = wait;
        now += wait;
        peers_work(peers, &api, NULL, now);
        cr_assert_eq(fake.count, n + 1);
    }
    peers_unresolved(peers, fake.started[fake.count - 1], now);
    peers_work(peers, &api, NULL, now);
    cr_assert_eq(fake.open, 0);
    cr_assert_eq(peers_deadline_ms(peers), PEERS_NEVER);
}

/* Junk fills its table and no more, and does not keep peers out for good. */
Test(peers, flood_is_bounded_and_makes_room)
{
    char name[32];
    for (unsigned n = 0; n < 5000; n++) {
        snprintf(name, sizeof name, "junk %u", n);
        see(name, 3, AVAHI_PROTO_INET, 0);
    }
    cr_assert_eq(fake.open, PEERS_INSTANCES_MAX);
    cr_assert_not(peers_want_rebrowse(peers));
    for (unsigned try = 0; try < PEERS_TRIES_MAX; try++) {
        unsigned from = fake.count - PEERS_INSTANCES_MAX;
        for (unsigned n = 0; n < PEERS_INSTANCES_MAX; n++)
            peers_unresolved(peers, fake.started[(from + n) % STARTED_MAX], 0);
        peers_work(peers, &api, NULL, UINT64_MAX);
    }
    cr_assert_eq(fake.open, 0);
    cr_assert(peers_want_rebrowse(peers));
    cr_assert_not(peers_want_rebrowse(peers), "once");
}

Test(peers, at_most_so_many_peers_and_the_next_when_one_goes)
{
    enum peers_news news;
    struct discovery_peer peer;
    char name[32];
    for (unsigned n = 0; n <= DISCOVERY_PEERS_MAX; n++) {
        struct txt txt = {.version = 1, .id = {1, (uint8_t)(n >> 8), (uint8_t)n}};
        snprintf(name, sizeof name, "peer %u", n);
        struct instance *i = see(name, 3, AVAHI_PROTO_INET, 0);
        AvahiStringList *list = txt_build(&txt);
        peers_resolved(peers, i, &(struct mdns_answer){.port = 1, .txt = list}, 0);
        avahi_string_list_free(list);
        address(i, "10.0.0.2", true);
    }
    cr_assert_eq(told(0, &news, &peer), DISCOVERY_PEERS_MAX);
    struct mdns_key key = key_of("peer 0", 3, AVAHI_PROTO_INET);
    peers_gone(peers, &key, 0);
    peers_work(peers, &api, NULL, 0);
    told(0, &news, &peer);
    cr_assert_eq(told(PEERS_GRACE_MS, &news, &peer), 2, "one lost, one found");
}

Test(peers, second_host_with_the_same_id_cannot_crowd_out_the_first)
{
    enum peers_news news;
    struct discovery_peer peer;
    char text[32];
    struct instance *liar = see("liar", 3, AVAHI_PROTO_INET, 0);
    struct instance *ana = see("ana", 3, AVAHI_PROTO_INET, 0);
    answer(liar, 1, 7, 0);
    answer(ana, 1, 7, 0);
    for (unsigned n = 1; n < 20; n++) {
        snprintf(text, sizeof text, "10.6.6.%u", n);
        address(liar, text, true);
    }
    address(ana, "10.0.0.2", true);
    told(0, &news, &peer);
    cr_assert_eq(peer.addr_count, DISCOVERY_ADDRS_MAX);
    bool there = false;
    for (unsigned n = 0; n < peer.addr_count; n++)
        there |= ((struct sockaddr_in *)&peer.addrs[n])->sin_addr.s_addr == inet_addr("10.0.0.2");
    cr_assert(there);
}
