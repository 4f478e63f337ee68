/* Which addresses may be dialled: anybody can forge a record in mDNS, and it must not
 * make us knock at hosts elsewhere. */
#include "discovery/discovery.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

/* A netmask shorter than this calls half the Internet on-link. */
enum { ON_LINK_PREFIX_MIN = 8 };

static bool in4_private(uint32_t a)
{
    return a >> 24 == 10                     /* RFC 1918 */
           || a >> 20 == 0xac1               /* 172.16/12 */
           || a >> 16 == 0xc0a8              /* 192.168/16 */
           || a >> 16 == 0xa9fe              /* 169.254/16, RFC 3927 */
           || a >> 24 == 127                 /* loopback */
           || a >> 22 == (0x64400000 >> 22); /* 100.64/10, RFC 6598 */
}

static bool in4_never(uint32_t a)
{
    return a >> 24 == 0 || a >> 28 >= 0xe; /* this network; multicast, reserved, broadcast */
}

static bool prefix_equal(const uint8_t *a, const uint8_t *b, const uint8_t *mask, size_t len)
{
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++) {
        bits += (unsigned)__builtin_popcount(mask[i]);
        if ((a[i] & mask[i]) != (b[i] & mask[i]))
            return false;
    }
    return bits >= ON_LINK_PREFIX_MIN;
}

static const uint8_t *addr_bytes(const struct sockaddr *sa, size_t *len)
{
    if (sa->sa_family == AF_INET) {
        *len = 4;
        return (const uint8_t *)&((const struct sockaddr_in *)sa)->sin_addr;
    }
    *len = 16;
    return (const uint8_t *)&((const struct sockaddr_in6 *)sa)->sin6_addr;
}

/* In the subnet of one of our interfaces: some LANs have public addresses. */
static bool on_link(const struct sockaddr *sa)
{
    struct ifaddrs *all;
    bool found = false;
    size_t len;
    if (getifaddrs(&all) < 0)
        return false;
    const uint8_t *bytes = addr_bytes(sa, &len);
    for (const struct ifaddrs *a = all; a && !found; a = a->ifa_next) {
        if (a->ifa_addr && a->ifa_netmask && a->ifa_addr->sa_family == sa->sa_family)
            found = prefix_equal(bytes, addr_bytes(a->ifa_addr, &len),
                                 addr_bytes(a->ifa_netmask, &len), len);
    }
    freeifaddrs(all);
    return found;
}

static bool in4_dialable(const struct sockaddr *sa, uint32_t host_order)
{
    if (in4_never(host_order))
        return false;
    return in4_private(host_order) || on_link(sa);
}

static bool in6_dialable(const struct sockaddr *sa, const struct in6_addr *a)
{
    if (IN6_IS_ADDR_V4MAPPED(a)) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        memcpy(&in.sin_addr, a->s6_addr + 12, 4);
        return in4_dialable((const struct sockaddr *)&in, ntohl(in.sin_addr.s_addr));
    }
    if (IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_MULTICAST(a))
        return false;
    return IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_LINKLOCAL(a) ||
           (a->s6_addr[0] & 0xfe) == 0xfc /* RFC 4193 */
           || on_link(sa);
}

bool discovery_dialable(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET)
        return in4_dialable(addr, ntohl(((const struct sockaddr_in *)addr)->sin_addr.s_addr));
    if (addr->sa_family == AF_INET6)
        return in6_dialable(addr, &((const struct sockaddr_in6 *)addr)->sin6_addr);
    return false;
}
