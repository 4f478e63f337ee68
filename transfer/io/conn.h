/* conn: one TLS connection that carries frames (transfer/core/msg.h).
 *
 * Owns the socket, the SSL, one receive buffer and one bounded send queue.
 * Drives the handshake, cuts the stream into frames (length and type are checked
 * against msg_body_max() before the body is stored), and hands each to its
 * owner. Control frames are queued; DATA goes by conn_write_data(), which takes
 * only what the socket can take now, so that kernel buffers (TCP_NOTSENT_LOWAT)
 * do not swallow the schedule. Loop thread only.
 *
 * A callback may call anything here, conn_close() included: the conn is then
 * dead at once, on_closed does not follow, and its memory goes at a later turn
 * of the loop (so the loop takes one more turn before the base is freed). After
 * on_closed the conn is dead; call conn_close() to let go. on_closed comes from
 * the loop, never from inside a call, also when a call here said that the conn
 * is dead.
 */
#ifndef RONDA_CONN_H
#define RONDA_CONN_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "transfer/core/err.h"
#include "transfer/core/hash.h"
#include "transfer/io/tls.h"

enum {
    CONN_QUEUE_BYTES_MAX = 1 << 20,       /* control frames not yet written */
    CONN_NOTSENT_BYTES = 32 * 1024,       /* TCP_NOTSENT_LOWAT at the least, and */
    CONN_NOTSENT_BYTES_MAX = 1024 * 1024, /* at the most: about 10 ms of what goes out */
    CONN_TURN_BYTES = 512 * 1024,         /* read in one turn before others get theirs */
    CONN_CONNECT_MS = 5000                /* TCP connect and TLS handshake, absolute */
};

struct conn;

struct conn_ops {
    /* TLS is up and the other side's NodeID known. */
    void (*on_up)(void *arg, const uint8_t node[static HASH_LEN]);
    /* A whole frame; body lives for the call only. len_bytes: of the body, at
     * most msg_body_max(type); the body itself is not checked. */
    void (*on_frame)(void *arg, uint8_t type, const uint8_t *body, size_t len_bytes);
    /* The socket takes data again after conn_write_data() returned 0. */
    void (*on_writable)(void *arg);
    /* It ended: ERR_CLOSED, ERR_TLS, ERR_TIMEOUT, ERR_MESSAGE, ERR_LIMIT, -errno. */
    void (*on_closed)(void *arg, int err);
};

/* Dials addr (non-blocking). -errno at once, or later by on_closed. */
int conn_dial(struct event_base *base, struct tls *tls, const struct sockaddr *addr,
              socklen_t addr_len, const struct conn_ops *ops, void *arg,
              struct conn **out) RONDA_MUST_CHECK;
/* Takes over an accepted socket (closed on failure, too). */
int conn_accept(struct event_base *base, struct tls *tls, int fd, const struct conn_ops *ops,
                void *arg, struct conn **out) RONDA_MUST_CHECK;
/* flush: what is queued goes out first, within a second, as far as it can.
 * NULL is fine. */
void conn_close(struct conn *c, bool flush);

/* Another deadline than CONN_CONNECT_MS, from now on; no effect once TLS is up. */
void conn_set_connect_ms(struct conn *c, uint32_t ms);

/* A dial: TCP must be connected within ms; TLS then has CONN_CONNECT_MS of its own. */
void conn_set_reach_ms(struct conn *c, uint32_t ms);

/* Queues a whole frame (msg_encode()). ERR_LIMIT when the queue is full, ERR_CLOSED. */
int conn_send(struct conn *c, const uint8_t *frame, size_t len_bytes) RONDA_MUST_CHECK;
/* Room for data now? False while control frames wait or the socket is full;
 * on_writable follows once it changes. */
bool conn_can_write(struct conn *c);
/* One whole DATA frame (header built by msg_data_head() in front of the
 * payload, in one buffer of the caller's). 1: taken whole (any rest that the
 * socket did not take was copied into the queue); 0: no room now, nothing
 * taken, on_writable follows; negative: the conn is dead. */
int conn_write_data(struct conn *c, const uint8_t *frame, size_t len_bytes) RONDA_MUST_CHECK;

/* The other end. The scope id of a link-local address is kept. */
void conn_peer_addr(const struct conn *c, struct sockaddr_storage *out);
/* Our end; family 0 when there is none. */
void conn_own_addr(const struct conn *c, struct sockaddr_storage *out);
bool conn_is_dialer(const struct conn *c);
/* Control frames that wait to be written. */
size_t conn_queued_bytes(const struct conn *c);
/* On the wire in each direction, TLS included is not: plaintext bytes of frames. */
void conn_bytes(const struct conn *c, uint64_t *in, uint64_t *out);
/* Plaintext bytes handed over so far, and how many of them the other end's kernel
 * has for sure: those survive the end of this process. */
void conn_delivery(const struct conn *c, uint64_t *handed, uint64_t *acked);

#endif
