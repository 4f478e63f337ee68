#include "transfer/io/peer.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "transfer/io/clock.h"

struct peer {
    struct event_base *base;
    struct conn *conn;
    struct session *session;
    struct event *timer; /* session deadlines; also the deferred end */
    struct session_cfg session_cfg;
    const struct peer_ops *ops;
    void *arg;
    struct swarm_link *links[SESSION_JOINS_MAX];
    unsigned link_count;
    uint16_t next_sid;    /* in turn, so that a late REFUSE does not hit a new JOIN */
    uint64_t in_bytes;    /* at the last look */
    uint64_t accepted_ms; /* 0: dialled */
    bool held;
    bool dead;   /* no callback any more */
    bool doomed; /* failed while its owner was calling: on_closed at the next turn */
    int doom_err;
    uint8_t node[HASH_LEN];
};

static void peer_pump(struct peer *p);

static void peer_release(evutil_socket_t fd, short what, void *arg)
{
    struct peer *p = arg;

    (void)fd;
    (void)what;
    event_free(p->timer);
    session_free(p->session);
    free(p);
}

/* Nothing may be freed inside its own callback: the last turn does it. */
static void peer_reap_later(struct peer *p)
{
    static const struct timeval now = {0, 0};

    event_del(p->timer);
    if (event_base_once(p->base, -1, EV_TIMEOUT, peer_release, p, &now) < 0)
        peer_release(-1, 0, p);
}

static void peer_end(struct peer *p, int err)
{
    if (p->dead)
        return;
    p->dead = true;
    conn_close(p->conn, true);
    p->conn = NULL;
    p->ops->on_closed(p->arg, p, err);
}

static void peer_doom(struct peer *p, int err)
{
    if (p->dead || p->doomed)
        return;
    p->doomed = true;
    p->doom_err = err;
    event_active(p->timer, EV_TIMEOUT, 1);
}

/* Queues a message; false when the peer is past receiving any. */
static bool peer_queue(struct peer *p, const struct msg *m)
{
    uint8_t small[512], *frame = small;
    size_t cap = sizeof(small);
    int len;

    if (p->dead || p->doomed || p->conn == NULL)
        return false;
    len = msg_encode(m, frame, cap);
    if (len == ERR_LIMIT) {
        cap = MSG_FRAME_BYTES_MAX;
        frame = malloc(cap);
        len = frame == NULL ? -ENOMEM : msg_encode(m, frame, cap);
    }
    if (len > 0)
        len = conn_send(p->conn, frame, (size_t)len);
    if (frame != small)
        free(frame);
    if (len < 0) {
        peer_doom(p, len);
        return false;
    }
    if (p->session != NULL)
        session_on_bytes_out(p->session, clock_ms());
    return true;
}

static void peer_arm(struct peer *p)
{
    uint64_t deadline = session_deadline_ms(p->session), now = clock_ms();
    struct timeval tv;

    if (p->dead)
        return;
    if (deadline == UINT64_MAX) {
        event_del(p->timer);
        return;
    }
    clock_timeval(deadline > now ? deadline - now : 0, &tv);
    event_add(p->timer, &tv);
}

/* A frame that takes long on a slow link is a sign of life, too. */
static void peer_note_bytes(struct peer *p)
{
    uint64_t in, out;

    conn_bytes(p->conn, &in, &out);
    if (in != p->in_bytes)
        session_on_bytes_in(p->session, clock_ms());
    p->in_bytes = in;
}

/* Does what the session asks for. */
static void peer_pump(struct peer *p)
{
    struct session_act act;

    if (!p->dead && p->session != NULL)
        peer_note_bytes(p);
    while (!p->dead && p->session != NULL && session_next(p->session, clock_ms(), &act)) {
        switch (act.type) {
        case SESSION_SEND:
            (void)peer_queue(p, &act.msg);
            break;
        case SESSION_UP:
            p->ops->on_up(p->arg, p);
            break;
        case SESSION_CLOSE:
            peer_end(p, act.err == 0 ? ERR_CLOSED : act.err);
            break;
        }
    }
    if (!p->dead && p->session != NULL)
        peer_arm(p);
}

static void peer_on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct peer *p = arg;

    (void)fd;
    (void)what;
    if (p->doomed)
        peer_end(p, p->doom_err);
    else
        peer_pump(p);
}

static void peer_on_conn_up(void *arg, const uint8_t node[static HASH_LEN])
{
    struct peer *p = arg;
    int rc;

    memcpy(p->node, node, HASH_LEN);
    /* Who comes to us has 5 s in all; half of it spent on TLS is gone. */
    rc = session_new(&p->session_cfg, p->accepted_ms ? p->accepted_ms : clock_ms(), &p->session);
    if (rc < 0)
        peer_end(p, rc);
    else
        peer_pump(p);
}

static bool peer_is_for_session(enum msg_type type)
{
    return type == MSG_HELLO || type == MSG_HELLO_ACK || type == MSG_BYE || type == MSG_KEEPALIVE;
}

static void peer_on_conn_frame(void *arg, uint8_t type, const uint8_t *body, size_t len_bytes)
{
    struct peer *p = arg;
    struct msg m;
    uint64_t now = clock_ms();
    int rc;

    if (p->dead || p->doomed || p->session == NULL)
        return;
    session_on_bytes_in(p->session, now);
    rc = msg_decode(type, body, len_bytes, &m);
    if (rc < 0) {
        session_close(p->session, now, rc);
    } else {
        rc = session_on_msg(p->session, now, &m, len_bytes + MSG_HEAD_BYTES);
        if (rc == 0 && !peer_is_for_session(m.type)) {
            p->ops->on_msg(p->arg, p, &m);
            return; /* the owner may have let go of p's session: nothing new to pump */
        }
    }
    peer_pump(p);
}

static void peer_on_conn_writable(void *arg)
{
    struct peer *p = arg;

    if (!p->dead && !p->doomed)
        p->ops->on_writable(p->arg, p);
}

static void peer_on_conn_closed(void *arg, int err)
{
    peer_end(arg, err);
}

static const struct conn_ops peer_conn_ops = {
    .on_up = peer_on_conn_up,
    .on_frame = peer_on_conn_frame,
    .on_writable = peer_on_conn_writable,
    .on_closed = peer_on_conn_closed,
};

static struct peer *peer_alloc(const struct peer_cfg *cfg)
{
    struct peer *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->timer = evtimer_new(cfg->base, peer_on_timer, p);
    if (p->timer == NULL) {
        free(p);
        return NULL;
    }
    p->base = cfg->base;
    p->session_cfg = cfg->session;
    p->ops = cfg->ops;
    p->arg = cfg->arg;
    return p;
}

static int peer_begun(struct peer *p, int rc, struct peer **out)
{
    if (rc < 0) {
        event_free(p->timer);
        free(p);
        return rc;
    }
    *out = p;
    return 0;
}

int peer_dial(const struct peer_cfg *cfg, const struct sockaddr *addr, socklen_t addr_len,
              struct peer **out)
{
    struct peer *p = peer_alloc(cfg);

    *out = NULL;
    if (p == NULL)
        return -ENOMEM;
    return peer_begun(
        p, conn_dial(cfg->base, cfg->tls, addr, addr_len, &peer_conn_ops, p, &p->conn), out);
}

void peer_set_reach_ms(struct peer *p, uint32_t ms)
{
    if (p->conn != NULL)
        conn_set_reach_ms(p->conn, ms);
}

int peer_accept(const struct peer_cfg *cfg, int fd, struct peer **out)
{
    struct peer *p = peer_alloc(cfg);

    *out = NULL;
    if (p == NULL) {
        evutil_closesocket(fd);
        return -ENOMEM;
    }
    p->accepted_ms = clock_ms();
    return peer_begun(p, conn_accept(cfg->base, cfg->tls, fd, &peer_conn_ops, p, &p->conn), out);
}

/* The last words of a session that we end. */
static void peer_say_bye(struct peer *p, int err)
{
    struct session_act act;

    session_close(p->session, clock_ms(), err);
    while (session_next(p->session, clock_ms(), &act))
        if (act.type == SESSION_SEND)
            (void)peer_queue(p, &act.msg);
}

void peer_free(struct peer *p, int err)
{
    if (p == NULL)
        return;
    assert(p->link_count == 0);
    if (!p->dead) {
        if (p->session != NULL && !p->doomed)
            peer_say_bye(p, err);
        p->dead = true;
        conn_close(p->conn, true);
        p->conn = NULL;
    }
    peer_reap_later(p);
}

void peer_send(struct peer *p, const struct msg *m)
{
    (void)peer_queue(p, m);
}

bool peer_can_write(struct peer *p)
{
    return !p->dead && !p->doomed && conn_can_write(p->conn);
}

int peer_write_data(struct peer *p, const uint8_t *frame, size_t len_bytes)
{
    int rc;

    if (p->dead || p->doomed)
        return ERR_CLOSED;
    rc = conn_write_data(p->conn, frame, len_bytes);
    if (rc > 0)
        session_on_bytes_out(p->session, clock_ms());
    else if (rc < 0)
        peer_doom(p, rc);
    return rc;
}

bool peer_is_dialer(const struct peer *p)
{
    return conn_is_dialer(p->conn);
}

const uint8_t *peer_node(const struct peer *p)
{
    return p->node;
}

const struct msg *peer_hello(const struct peer *p)
{
    return session_hello(p->session);
}

void peer_addr(const struct peer *p, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (p->conn != NULL)
        conn_peer_addr(p->conn, out);
}

void peer_own_addr(const struct peer *p, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (p->conn != NULL)
        conn_own_addr(p->conn, out);
}

void peer_set_leaf(struct peer *p)
{
    p->session_cfg.flags |= MSG_FLAG_LEAF;
}

bool peer_is_leaf(const struct peer *p)
{
    return (p->session_cfg.flags & MSG_FLAG_LEAF) != 0;
}

bool peer_listen_addr(const struct peer *p, struct msg_peer *out)
{
    struct sockaddr_storage ss;

    peer_addr(p, &ss);
    memcpy(out->node, p->node, HASH_LEN);
    memset(out->addr, 0, sizeof(out->addr));
    out->port = session_hello(p->session)->hello.port;
    if (ss.ss_family == AF_INET6) {
        memcpy(out->addr, &((const struct sockaddr_in6 *)&ss)->sin6_addr, sizeof(out->addr));
    } else if (ss.ss_family == AF_INET) {
        out->addr[10] = out->addr[11] = 0xff;
        memcpy(out->addr + 12, &((const struct sockaddr_in *)&ss)->sin_addr, 4);
    } else {
        return false;
    }
    return out->port != 0;
}

size_t peer_queued_bytes(const struct peer *p)
{
    return p->conn != NULL ? conn_queued_bytes(p->conn) : 0;
}

void peer_bytes(const struct peer *p, uint64_t *in, uint64_t *out)
{
    *in = *out = 0;
    if (p->conn != NULL)
        conn_bytes(p->conn, in, out);
}

void peer_delivery(const struct peer *p, uint64_t *handed, uint64_t *acked)
{
    *handed = *acked = 0;
    if (p->conn != NULL)
        conn_delivery(p->conn, handed, acked);
}

static void peer_update_active(struct peer *p)
{
    if (p->dead || p->session == NULL)
        return;
    session_set_active(p->session, clock_ms(), p->held || p->link_count > 0);
    peer_arm(p);
}

void peer_hold(struct peer *p, bool hold)
{
    p->held = hold;
    peer_update_active(p);
}

int peer_link_add(struct peer *p, struct swarm_link *link, uint16_t *sid)
{
    int rc;

    for (uint16_t n = 0; n < SESSION_JOINS_MAX; n++) {
        uint16_t i = (uint16_t)((p->next_sid + n) % SESSION_JOINS_MAX);

        if (p->links[i] != NULL)
            continue;
        rc = session_join(p->session, i);
        if (rc < 0)
            return rc;
        p->links[i] = link;
        p->link_count++;
        p->next_sid = (uint16_t)(i + 1);
        *sid = i;
        peer_update_active(p);
        return 0;
    }
    return ERR_LIMIT;
}

void peer_link_remove(struct peer *p, uint16_t sid)
{
    assert(p->links[sid] != NULL);
    p->links[sid] = NULL;
    p->link_count--;
    session_leave(p->session, sid);
    peer_update_active(p);
}

struct swarm_link *peer_link_at(const struct peer *p, uint16_t sid)
{
    return sid < SESSION_JOINS_MAX ? p->links[sid] : NULL;
}
