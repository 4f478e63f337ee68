/* netwatch: the network interfaces that discovery may use, kept up to date by
 * rtnetlink(7). A link is usable when it is up, has carrier and an address, can
 * multicast, is no loopback, and its name passes the patterns.
 */
#ifndef RONDA_DISCOVERY_NETWATCH_H
#define RONDA_DISCOVERY_NETWATCH_H

#include <event2/event.h>
#include <net/if.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    NETWATCH_LINKS_MAX = 32, /* further links are not used */
    NETWATCH_ADDRS_MAX = 8,  /* addresses told of one link; IPv4 first */
    NETWATCH_SETTLE_MS = 150 /* a burst of netlink messages is one change */
};

struct netwatch_addr {
    sa_family_t family;
    uint8_t bytes[16]; /* network order; 4 of them for AF_INET */
};

struct netwatch_link {
    unsigned ifindex;
    char name[IF_NAMESIZE];
    unsigned addr_count;
    struct netwatch_addr addrs[NETWATCH_ADDRS_MAX];
};

struct netwatch;

struct netwatch_cfg {
    struct event_base *base;
    const char *const *skip; /* fnmatch(3) patterns, NULL-terminated; NULL: the default */
    const char *const *only; /* NULL: all; point-to-point links are used only when named here */
    void (*on_change)(
        void *arg); /* the list of usable links or of their addresses is another one */
    void *arg;
};

/* Reads the links at once. 0, -ENOMEM, or -errno when rtnetlink can't be opened.
 * The patterns are copied. */
int netwatch_new(const struct netwatch_cfg *cfg, struct netwatch **out)
    __attribute__((warn_unused_result));
void netwatch_free(struct netwatch *nw);

/* Valid until the next on_change. */
const struct netwatch_link *netwatch_links(const struct netwatch *nw, unsigned *count);

#endif
