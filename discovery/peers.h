/* peers: the instances that a back end shows, one for each interface and protocol,
 * merged into one peer by id. No I/O of its own; the clock is an argument
 * (monotonic, ms). Facts go in; what the owner must be told is pulled out.
 *
 * A peer of which nothing is left stays for a grace: a rename, a restart or a
 * change of the back end is no loss.
 */
#ifndef RONDA_DISCOVERY_PEERS_H
#define RONDA_DISCOVERY_PEERS_H

#include "discovery/discovery.h"
#include "discovery/mdns.h"

enum {
    PEERS_INSTANCES_MAX = 512, /* a peer shows itself once for each interface and protocol */
    PEERS_GRACE_MS = 2000,
    PEERS_TRIES_MAX = 6 /* an instance that never answers is then forgotten */
};

#define PEERS_NEVER UINT64_MAX

struct peers;
struct instance;

struct peers *peers_new(const uint8_t own_id[static DISCOVERY_ID_BYTES]); /* NULL: no memory */
void peers_free(struct peers *p); /* resolvers must be gone: peers_drop_all */

void peers_seen(struct peers *p, const struct mdns_key *key, uint64_t now_ms);
void peers_gone(struct peers *p, const struct mdns_key *key, uint64_t now_ms);
void peers_resolved(struct peers *p, struct instance *i, const struct mdns_answer *answer,
                    uint64_t now_ms);
void peers_address(struct peers *p, struct instance *i, const AvahiAddress *address, bool present);
void peers_unresolved(struct peers *p, struct instance *i, uint64_t now_ms);

/* Starts and frees resolvers as due. What shows itself over IPv4 and IPv6 on one link is
 * resolved over IPv4 alone, as long as that works: the records are the same.
 * Not from inside a back end's callback. */
void peers_work(struct peers *p, const struct mdns_api *api, void *backend, uint64_t now_ms);
/* The back end goes: frees all resolvers; peers live on for grace_ms. */
void peers_drop_all(struct peers *p, const struct mdns_api *api, uint64_t grace_ms,
                    uint64_t now_ms);
/* True once after instances had to be ignored and there is room again. */
bool peers_want_rebrowse(struct peers *p);

enum peers_news { PEERS_FOUND, PEERS_LOST };
/* Next thing to tell; *out stays valid until the next call. Call until false. */
bool peers_next(struct peers *p, uint64_t now_ms, enum peers_news *news,
                const struct discovery_peer **out);

/* When peers_work or peers_next has something to do by itself. */
uint64_t peers_deadline_ms(const struct peers *p);

#endif
