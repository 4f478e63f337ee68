#include "discovery/wireless.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "discovery/discovery.h"

/* As on an IPv6 socket, where IPv4 is mapped (RFC 4291, 2.5.5.2). */
static struct in6_addr address_of(const struct sockaddr *sa)
{
    struct in6_addr a = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

    if (sa->sa_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    memcpy(a.s6_addr + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    return a;
}

static bool is_internet(const struct sockaddr *sa)
{
    return sa && (sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
}

/* The interface that has this address; false: none. */
static bool interface_of(const struct sockaddr *own, char name[static IF_NAMESIZE])
{
    struct in6_addr wanted = address_of(own);
    struct ifaddrs *all;
    bool found = false;

    if (getifaddrs(&all) < 0)
        return false;
    for (const struct ifaddrs *a = all; a && !found; a = a->ifa_next) {
        struct in6_addr has;

        if (!is_internet(a->ifa_addr))
            continue;
        has = address_of(a->ifa_addr);
        found = IN6_ARE_ADDR_EQUAL(&has, &wanted);
        if (found)
            snprintf(name, IF_NAMESIZE, "%s", a->ifa_name);
    }
    freeifaddrs(all);
    return found;
}

/* The scope tells of a link-local address: two interfaces may have the same. */
static unsigned scope_of(const struct sockaddr *own)
{
    return own->sa_family == AF_INET6
               ? ((const struct sockaddr_in6 *)(const void *)own)->sin6_scope_id
               : 0;
}

bool wireless_at(const char *interfaces, const struct sockaddr *own)
{
    static const char *const marks[] = {"phy80211", "wireless"}; /* cfg80211; older drivers */
    char name[IF_NAMESIZE], path[256];
    bool found = false;

    if (!is_internet(own))
        return false;
    if (scope_of(own) ? !if_indextoname(scope_of(own), name) : !interface_of(own, name))
        return false;
    for (int i = 0; i < 2 && !found; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", interfaces, name, marks[i]);
        found = access(path, F_OK) == 0;
    }
    return found;
}

bool discovery_wireless(const struct sockaddr *own)
{
    return wireless_at("/sys/class/net", own);
}
