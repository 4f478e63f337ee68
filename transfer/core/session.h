/* session: the peer protocol's state machine for one connection. PURE.
 *
 * Decides which messages are allowed when, negotiates the version, keeps the
 * deadlines and the table of shares each side has joined. Sends nothing:
 * session_next() says what to send. The caller owns socket and clock.
 *
 *   SESSION_HELLO --HELLO in, versions overlap--> SESSION_ACK (our HELLO_ACK is due)
 *   SESSION_ACK   --HELLO_ACK in-->  SESSION_OPEN
 *   any           --BYE in, error, deadline--> SESSION_CLOSED
 *
 * Both sides send HELLO at once; both answer HELLO_ACK. "Connected" is
 * SESSION_OPEN, not the TLS handshake: a TLS 1.3 client ends that before the server
 * has judged its certificate (RFC 8446, figure 1).
 */
#ifndef RONDA_SESSION_H
#define RONDA_SESSION_H

#include "transfer/core/msg.h"

enum {
    SESSION_HELLO_MS = 5000,     /* absolute, from session_new() to OPEN */
    SESSION_HELLO_BYTES = 4096,  /* in all before OPEN */
    SESSION_KEEPALIVE_MS = 1000, /* sent when nothing else was, while active */
    SESSION_DEAD_MS = 3000,      /* nothing received for so long, while active */
    SESSION_IDLE_MS = 10000,     /* not active for so long: close in good order */
    SESSION_JOINS_MAX = 64       /* shares joined at once, each direction */
};

enum session_state { SESSION_HELLO, SESSION_ACK, SESSION_OPEN, SESSION_CLOSED };

struct session;

struct session_cfg {
    const char *nick;
    uint16_t port;
    uint8_t flags; /* MSG_FLAG_LEAF */
    uint64_t catalog_version;
};

enum session_act_type {
    SESSION_SEND, /* send act->msg (HELLO, HELLO_ACK, KEEPALIVE or BYE) */
    SESSION_UP,   /* now OPEN: told once */
    SESSION_CLOSE /* close the connection, reason act->err (0: in good order); told once */
};

struct session_act {
    enum session_act_type type;
    struct msg msg;
    int err;
};

/* -ENOMEM. now_ms: monotonic. */
int session_new(const struct session_cfg *cfg, uint64_t now_ms,
                struct session **out) RONDA_MUST_CHECK;
void session_free(struct session *s);

/* A frame came in (len_bytes with its header). Checks it against the state;
 * 0: the caller may act on it (nothing to do for HELLO, HELLO_ACK, KEEPALIVE,
 * BYE). ERR_PROTOCOL, ERR_VERSION, ERR_LIMIT: the session is CLOSED and
 * session_next() says BYE and CLOSE. ERR_CLOSED: it was CLOSED before. A REFUSE
 * changes nothing here: the joiner answers it with LEAVE (session_leave()). */
int session_on_msg(struct session *s, uint64_t now_ms, const struct msg *m,
                   size_t len_bytes) RONDA_MUST_CHECK;
/* Bytes came in or went out (any amount): they push the deadlines. */
void session_on_bytes_in(struct session *s, uint64_t now_ms);
void session_on_bytes_out(struct session *s, uint64_t now_ms);

/* Do we need this peer now (a transfer runs, or an answer is awaited)? Only an
 * active session sends keepalives and expects them. A session is also active
 * while the *other* side has joined a share of ours (see PROTOCOL.md). One that
 * is not active answers a KEEPALIVE with one, and starts its idle time again. */
void session_set_active(struct session *s, uint64_t now_ms, bool active);
/* Orderly or faulty end by us: BYE with err, then CLOSE. */
void session_close(struct session *s, uint64_t now_ms, int err);

bool session_next(struct session *s, uint64_t now_ms, struct session_act *act);
uint64_t session_deadline_ms(const struct session *s); /* UINT64_MAX: none */

enum session_state session_state(const struct session *s);
/* What the other side said in HELLO; valid from SESSION_ACK on. */
const struct msg *session_hello(const struct session *s);
uint16_t session_version(const struct session *s); /* agreed; 0 before OPEN */

/* Our own JOIN went out under sid / our LEAVE. ERR_LIMIT at SESSION_JOINS_MAX. */
int session_join(struct session *s, uint16_t sid) RONDA_MUST_CHECK;
void session_leave(struct session *s, uint16_t sid);
/* Has the other side joined under its number sid? */
bool session_peer_joined(const struct session *s, uint16_t sid);

bool session_valid(const struct session *s);

#endif
