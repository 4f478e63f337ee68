/* peer: one neighbour we are connected to: a conn that speaks the peer protocol.
 *
 * Joins conn (bytes) to session (rules): HELLO, keepalives, deadlines and BYE
 * happen in here; what is left for the owner are the messages of an open
 * session. Also keeps the table of swarm links (swarm.h) of this neighbour:
 * our number (sid) for a share is the index of its link. Loop thread only.
 *
 * After on_closed the peer is dead; its owner calls peer_free(), from inside a
 * callback too: the memory goes at a later turn of the loop.
 */
#ifndef RONDA_PEER_H
#define RONDA_PEER_H

#include "transfer/core/session.h"
#include "transfer/io/conn.h"

struct peer;
struct swarm_link;

struct peer_ops {
    void (*on_up)(void *arg, struct peer *p);
    void (*on_msg)(void *arg, struct peer *p, const struct msg *m); /* m lives for the call */
    void (*on_writable)(void *arg, struct peer *p);
    void (*on_closed)(void *arg, struct peer *p, int err);
};

struct peer_cfg {
    struct event_base *base;
    struct tls *tls;
    struct session_cfg session;
    const struct peer_ops *ops;
    void *arg;
};

/* Errors as conn_dial() and conn_accept(); fd is closed on failure. */
int peer_dial(const struct peer_cfg *cfg, const struct sockaddr *addr, socklen_t addr_len,
              struct peer **out) RONDA_MUST_CHECK;
/* As conn_set_reach_ms(). */
void peer_set_reach_ms(struct peer *p, uint32_t ms);
int peer_accept(const struct peer_cfg *cfg, int fd, struct peer **out) RONDA_MUST_CHECK;
/* Dead at once and without on_closed; BYE is said first when there is a session. */
void peer_free(struct peer *p, int err);

/* Queues m. A failure ends the peer: on_closed follows at a later turn. */
void peer_send(struct peer *p, const struct msg *m);
bool peer_can_write(struct peer *p);
/* As conn_write_data(). */
int peer_write_data(struct peer *p, const uint8_t *frame, size_t len_bytes) RONDA_MUST_CHECK;

bool peer_is_dialer(const struct peer *p);
const uint8_t *peer_node(const struct peer *p);     /* NodeID; zeros before TLS is up */
const struct msg *peer_hello(const struct peer *p); /* only while open */
void peer_addr(const struct peer *p, struct sockaddr_storage *out);
/* Our end of the connection. */
void peer_own_addr(const struct peer *p, struct sockaddr_storage *out);
/* Our end is wireless: before TLS is up, so that HELLO tells it. At first: wired. */
void peer_set_leaf(struct peer *p);
bool peer_is_leaf(const struct peer *p);
/* Where it listens: its address and the port of its HELLO. false: nowhere. */
bool peer_listen_addr(const struct peer *p, struct msg_peer *out);
size_t peer_queued_bytes(const struct peer *p); /* as conn_queued_bytes() */
void peer_bytes(const struct peer *p, uint64_t *in, uint64_t *out);
/* As conn_delivery(). */
void peer_delivery(const struct peer *p, uint64_t *handed, uint64_t *acked);

/* Something of the owner's needs this session even without a link (a catalogue
 * or manifest is on its way). Links alone keep it active as well. */
void peer_hold(struct peer *p, bool hold);

/* The links of this peer. peer_link_add gives our sid; ERR_LIMIT. */
int peer_link_add(struct peer *p, struct swarm_link *link, uint16_t *sid) RONDA_MUST_CHECK;
void peer_link_remove(struct peer *p, uint16_t sid);
struct swarm_link *peer_link_at(const struct peer *p, uint16_t sid); /* NULL: free number */

#endif
