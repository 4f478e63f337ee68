/* conn_impl: what conn.c (life, handshake, events), conn_in.c (frames cut from the
 * stream) and conn_out.c (queue and data) share. For these three alone.
 */
#ifndef RONDA_CONN_IMPL_H
#define RONDA_CONN_IMPL_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "transfer/io/conn.h"

enum {
    CONN_RECORD_BYTES = 16 * 1024, /* the most that one TLS record carries (RFC 8446 5.1) */
    CONN_TICK_MS = 2000            /* a receive buffer not used for so long goes */
};

/*   CONNECTING --> HANDSHAKE --> UP --close, flush--> FLUSHING --+
 *        |             |         |                               |
 *        +--error------+---------+--> FAILED --> ENDED ----------+--> GONE
 *   and conn_close() leads from every state to GONE (or FLUSHING). */
enum conn_state {
    CONN_CONNECTING,
    CONN_HANDSHAKE,
    CONN_UP,
    CONN_FLUSHING, /* the owner let go; the queue still goes out */
    CONN_FAILED,   /* on_closed is due */
    CONN_ENDED,    /* on_closed was called; conn_close() is due */
    CONN_GONE      /* freed by the next turn of the loop */
};

/* Bytes begin..end of a buffer are waiting. */
struct conn_buf {
    uint8_t *data;
    size_t begin, end, cap;
};

struct conn {
    enum conn_state state;
    int fd;
    int err;       /* what on_closed will say */
    int write_err; /* writing failed: what the peer sent before is still read */
    bool dialer;
    bool reach_short;   /* TCP alone had a deadline of its own */
    bool blocked;       /* the socket took no more; EV_WRITE is waited for */
    bool want_writable; /* the owner waits for on_writable */
    bool read_on_write; /* SSL_read() waits for the socket to be writable */
    bool ticking;       /* the timer watches the receive buffer */
    bool used;          /* received something since the last tick */
    bool shut;          /* FLUSHING: our side is closed, the peer's is awaited */
    SSL *ssl;
    struct event *readable, *writable, *resume;
    struct event *timer; /* one purpose a state: on_timer() */
    struct conn_buf in, out;
    uint64_t in_bytes, out_bytes;
    uint64_t wrote_ms;              /* data, last */
    int notsent_bytes;              /* TCP_NOTSENT_LOWAT as it is */
    uint64_t paced_ms, paced_bytes; /* when it was last thought over, and out_bytes then */
    const struct conn_ops *ops;
    void *arg;
    struct sockaddr_storage addr;
};

static inline size_t conn_buf_used(const struct conn_buf *b)
{
    return b->end - b->begin;
}
void conn_buf_drop(struct conn_buf *b);

void conn_timer(struct event *ev, uint32_t ms);
/* What SSL_read() and its like meant by ret: SSL_ERROR_WANT_READ or _WRITE
 * (positive), or the error that ended the connection. */
int conn_ssl_result(const struct conn *c, int ret);

/* on_closed(err) at the next turn of the loop. */
void conn_fail(struct conn *c, int err);
/* Freed at the next turn of the loop. */
void conn_gone(struct conn *c);

/* conn_in.c: reads and delivers until nothing is left, or CONN_TURN_BYTES. */
void conn_read_turn(struct conn *c);
/* conn_out.c: what OpenSSL made goes to the socket, unless that is full. */
void conn_push(struct conn *c);
/* conn_out.c: what is queued, as far as the socket takes it. */
void conn_flush(struct conn *c);
/* conn_out.c: the same, then on_writable when it is due. */
void conn_write_turn(struct conn *c);
/* conn_out.c: the socket's TCP_NOTSENT_LOWAT. */
void conn_set_notsent(struct conn *c, int bytes);

#endif
