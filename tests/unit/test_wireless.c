#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "discovery/discovery.h"
#include "discovery/wireless.h"

/* A list of interfaces with lo in it, marked as a wireless one is; removed again. */
static bool wireless(const char *own, unsigned scope, const char *mark)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_scope_id = scope};
    bool v4 = inet_pton(AF_INET, own, &in.sin_addr) == 1, found;
    char dir[] = "/tmp/test-wireless-XXXXXX", lo[64], marked[128];

    cr_assert_not_null(mkdtemp(dir));
    snprintf(lo, sizeof lo, "%s/lo", dir);
    snprintf(marked, sizeof marked, "%s/%s", lo, mark);
    cr_assert_eq(mkdir(lo, 0700), 0);
    cr_assert_eq(mkdir(marked, 0700), 0);
    cr_assert(v4 || inet_pton(AF_INET6, own, &in6.sin6_addr) == 1);
    found = wireless_at(dir, v4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6);
    rmdir(marked);
    rmdir(lo);
    rmdir(dir);
    return found;
}

Test(wireless, the_mark_of_the_interface_with_the_address_tells)
{
    cr_assert(wireless("127.0.0.1", 0, "phy80211"));
    cr_assert(wireless("127.0.0.1", 0, "wireless"));
    cr_assert_not(wireless("127.0.0.1", 0, "queues"));
}

Test(wireless, a_connection_that_came_to_an_ipv6_socket_too)
{
    cr_assert(wireless("::ffff:127.0.0.1", 0, "phy80211"));
}

Test(wireless, of_a_link_local_address_the_scope_tells)
{
    cr_assert(wireless("fe80::1", if_nametoindex("lo"), "phy80211"));
    cr_assert_not(wireless("fe80::1", 0x7fffffff, "phy80211"));
}

Test(wireless, an_address_of_nobody_is_not)
{
    struct sockaddr_storage none = {.ss_family = AF_UNSPEC};

    cr_assert_not(wireless("192.0.2.1", 0, "phy80211"));
    cr_assert_not(discovery_wireless((const struct sockaddr *)&none));
}
