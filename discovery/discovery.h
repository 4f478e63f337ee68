/* discovery: who is on the LAN, by mDNS/DNS-SD (RFC 6762, RFC 6763), through the
 * host's avahi-daemon when it is there, else by avahi-core inside this process;
 * changes over live when avahi-daemon comes or goes.
 *
 * What it tells is a hint: anybody can put anything into mDNS. Identity comes
 * from TLS alone. Includes nothing else of ronda. Loop thread only. Never logs:
 * on_state tells what there is to say.
 *
 * TXT: v= protocol version, id= first 8 bytes of the NodeID in hex,
 * c= catalogue version in hex, f= flags (1: told to be wireless; whether it is, only a
 * connection shows). Never a share's name.
 */
#ifndef RONDA_DISCOVERY_H
#define RONDA_DISCOVERY_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define DISCOVERY_TYPE "_ronda._tcp"

enum {
    DISCOVERY_NAME_BYTES = 64, /* DNS label: 63 bytes + NUL (RFC 1035 2.3.4) */
    DISCOVERY_ID_BYTES = 8,
    DISCOVERY_PEERS_MAX = 256, /* candidates kept; further ones are ignored */
    DISCOVERY_ADDRS_MAX = 8    /* addresses kept of one peer */
};

enum discovery_mode { DISCOVERY_AUTO, DISCOVERY_SYSTEM, DISCOVERY_EMBEDDED, DISCOVERY_OFF };

struct discovery;

/* One instance as it is known now. Lives for the callback only. */
struct discovery_peer {
    char instance[DISCOVERY_NAME_BYTES]; /* unescaped UTF-8 */
    uint8_t id[DISCOVERY_ID_BYTES];
    uint64_t catalog_version;
    uint8_t version;
    uint8_t flags;
    uint16_t port; /* host order */
    unsigned addr_count;
    struct sockaddr_storage addrs[DISCOVERY_ADDRS_MAX]; /* port set; scope id set on fe80 */
    unsigned ifindexes[DISCOVERY_ADDRS_MAX];
};

struct discovery_ops {
    /* New, or anything about it changed. Our own instance is never told. */
    void (*peer_found)(void *arg, const struct discovery_peer *peer);
    void (*peer_lost)(void *arg, const uint8_t id[static DISCOVERY_ID_BYTES]);
    /* Backend and one English clause: "avahi-daemon", "embedded", "off"; "published as ...",
     * "no interface yet", "renamed to ...". For the log and `ronda status`. */
    void (*on_state)(void *arg, const char *backend, const char *what);
    /* An interface or address came or went (rtnetlink), already debounced. */
    void (*on_network)(void *arg);
};

struct discovery_cfg {
    struct event_base *base;
    enum discovery_mode mode;
    const char *name; /* instance name wanted; cut cleanly to 63 bytes */
    uint16_t port;
    uint8_t version;
    uint8_t flags;
    uint8_t id[DISCOVERY_ID_BYTES];
    uint64_t catalog_version;
    /* NULL-terminated fnmatch(3) patterns of interface names. skip NULL: the default
     * docker*, veth*, br-*, virbr*, tun*, tap*, wg*; only: NULL means all others. */
    const char *const *skip_interfaces;
    const char *const *only_interfaces;
    const struct discovery_ops *ops;
    void *arg;
};

/* 0 even when nothing can be published yet (no network, no daemon): it goes on
 * trying. -ENOMEM, -errno when rtnetlink can't be opened. */
int discovery_new(const struct discovery_cfg *cfg, struct discovery **out)
    __attribute__((warn_unused_result));
/* Says goodbye (RFC 6762 10.1) and frees. NULL is fine. */
void discovery_free(struct discovery *d);

/* New catalogue version or flags: the TXT record is updated (coalesced, at most
 * once a second; RFC 6762 8.4). */
void discovery_update(struct discovery *d, uint64_t catalog_version, uint8_t flags);

/* The instance name now in use (after renames), backend as in on_state. */
const char *discovery_name(const struct discovery *d);
const char *discovery_backend(const struct discovery *d);

/* Is this address of ours on a wireless interface (/sys/class/net/X/phy80211 or wireless)?
 * A bridge, a bond or a virtual machine's card above one does not tell. */
bool discovery_wireless(const struct sockaddr *own);
/* May this address be dialled at all: on-link or private (RFC 1918, RFC 4193, link-local,
 * loopback, 100.64/10), never multicast or unspecified. */
bool discovery_dialable(const struct sockaddr *addr);

#endif
