#include "transfer/io/conn.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transfer/io/conn_impl.h"

enum {
    CONN_FLUSH_MS = 1000,
    CONN_DEAD_PEER_MS = 15000,
    CONN_KEEPALIVE_S = 30,
    CONN_KEEPALIVE_STEP_S = 5
};

static void conn_to(struct conn *c, enum conn_state state)
{
    static const unsigned allowed[] = {
        [CONN_CONNECTING] = 1u << CONN_HANDSHAKE | 1u << CONN_FAILED | 1u << CONN_GONE,
        [CONN_HANDSHAKE] = 1u << CONN_UP | 1u << CONN_FAILED | 1u << CONN_GONE,
        [CONN_UP] = 1u << CONN_FLUSHING | 1u << CONN_FAILED | 1u << CONN_GONE,
        [CONN_FLUSHING] = 1u << CONN_GONE,
        [CONN_FAILED] = 1u << CONN_ENDED | 1u << CONN_GONE,
        [CONN_ENDED] = 1u << CONN_GONE,
        [CONN_GONE] = 0,
    };

    assert(allowed[c->state] & 1u << state);
    c->state = state;
}

void conn_timer(struct event *ev, uint32_t ms)
{
    const struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};

    event_add(ev, &tv);
}

/* No more socket; what the state asks for next is due at the next turn. */
static void conn_cut(struct conn *c)
{
    event_del(c->readable);
    event_del(c->writable);
    event_del(c->resume);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    conn_timer(c->timer, 0);
}

void conn_fail(struct conn *c, int err)
{
    c->err = err;
    conn_to(c, CONN_FAILED);
    conn_cut(c);
}

void conn_gone(struct conn *c)
{
    conn_to(c, CONN_GONE);
    conn_cut(c);
}

static void conn_free(struct conn *c)
{
    struct event *const events[] = {c->readable, c->writable, c->resume, c->timer};

    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i])
            event_free(events[i]);
    if (c->fd >= 0)
        close(c->fd);
    SSL_free(c->ssl);
    free(c->in.data);
    free(c->out.data);
    free(c);
}

int conn_ssl_result(const struct conn *c, int ret)
{
    int system_error = errno;
    int why = SSL_get_error(c->ssl, ret);

    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return why;
    if (why == SSL_ERROR_ZERO_RETURN)
        return ERR_CLOSED;
    if (why == SSL_ERROR_SYSCALL)
        return system_error ? -system_error : ERR_CLOSED;
    /* No close_notify: the peer is gone. Our lengths and hashes find truncation. */
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return ERR_CLOSED;
    return ERR_TLS;
}

/* FLUSHING: what the peer still sends is thrown away; close(2) with unread bytes
 * would reset the connection and take our last words with it. */
static void drain(struct conn *c)
{
    uint8_t scratch[CONN_RECORD_BYTES];
    ssize_t n = recv(c->fd, scratch, sizeof(scratch), 0);

    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    if (n < 0 || c->shut)
        conn_gone(c);
    else
        event_del(c->readable); /* the peer's end of file: only ours is missing */
}

static void flush_turn(struct conn *c)
{
    conn_flush(c);
    if (c->state != CONN_FLUSHING || c->out.data || c->blocked || c->shut)
        return;
    ERR_clear_error();
    SSL_shutdown(c->ssl);
    (void)!tls_flush(c->ssl); /* a close_notify that does not fit is not missed */
    shutdown(c->fd, SHUT_WR);
    c->shut = true;
    if (!event_pending(c->readable, EV_READ, NULL))
        conn_gone(c);
}

static void conn_is_up(struct conn *c)
{
    uint8_t node[HASH_LEN];
    int err = tls_peer_id(c->ssl, node);

    if (err) {
        conn_fail(c, err);
        return;
    }
    conn_to(c, CONN_UP);
    event_del(c->timer);
    if (c->out.data || c->want_writable)
        event_active(c->writable, EV_WRITE, 0);
    c->ops->on_up(c->arg, node);
    conn_read_turn(c); /* the peer's first frames may have come with its last flight */
}

static void handshake(struct conn *c)
{
    ERR_clear_error();
    int n = SSL_do_handshake(c->ssl);
    int why = n == 1 ? 0 : conn_ssl_result(c, n);
    int err = tls_flush(c->ssl);
    if (why < 0)
        conn_fail(c, why);
    else if (err < 0 && err != -EAGAIN)
        conn_fail(c, err);
    else if (err < 0 || why == SSL_ERROR_WANT_WRITE)
        event_add(c->writable, NULL);
    if (n == 1 && c->state == CONN_HANDSHAKE)
        conn_is_up(c);
}

static void connected(struct conn *c)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (!err && event_add(c->readable, NULL) < 0)
        err = ENOMEM;
    if (err) {
        conn_fail(c, -err);
        return;
    }
    if (c->reach_short)
        conn_timer(c->timer, CONN_CONNECT_MS);
    conn_to(c, CONN_HANDSHAKE);
    handshake(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct conn *c = arg;

    if (c->state == CONN_HANDSHAKE)
        handshake(c);
    else if (c->state == CONN_UP)
        conn_read_turn(c);
    else if (c->state == CONN_FLUSHING)
        drain(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct conn *c = arg;

    c->blocked = false;
    if (c->state == CONN_CONNECTING)
        connected(c);
    else if (c->state == CONN_HANDSHAKE)
        handshake(c);
    else if (c->state == CONN_FLUSHING)
        flush_turn(c);
    else if (c->state == CONN_UP)
        conn_write_turn(c);
    if (c->state == CONN_UP && c->read_on_write) {
        c->read_on_write = false;
        conn_read_turn(c);
    }
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct conn *c = arg;

    if (c->state == CONN_UP)
        conn_read_turn(c);
}

/* An idle connection costs no receive buffer and wakes nobody. */
static void tick(struct conn *c)
{
    c->ticking = c->used;
    c->used = false;
    if (c->ticking)
        conn_timer(c->timer, CONN_TICK_MS);
    else if (conn_buf_used(&c->in) == 0)
        conn_buf_drop(&c->in);
    if (!c->ticking)
        tls_trim(c->ssl);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct conn *c = arg;

    switch (c->state) {
    case CONN_CONNECTING:
    case CONN_HANDSHAKE:
        conn_fail(c, ERR_TIMEOUT);
        break;
    case CONN_UP:
        tick(c);
        break;
    case CONN_FLUSHING:
        conn_gone(c);
        break;
    case CONN_FAILED:
        conn_to(c, CONN_ENDED);
        c->ops->on_closed(c->arg, c->err);
        break;
    case CONN_ENDED:
        break;
    case CONN_GONE:
        conn_free(c);
        break;
    }
}

/* All but TCP_NODELAY only tune; the kernel's autotuning of SO_SNDBUF and
 * SO_RCVBUF is left alone. */
static void socket_tune(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, CONN_DEAD_PEER_MS},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, CONN_KEEPALIVE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, CONN_KEEPALIVE_STEP_S},
        {IPPROTO_TCP, TCP_KEEPCNT, CONN_DEAD_PEER_MS / 1000 / CONN_KEEPALIVE_STEP_S},
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* Takes fd, also when it fails (NULL: no memory). */
static struct conn *conn_new(struct event_base *base, struct tls *tls, int fd, bool dialer)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (!c) {
        close(fd);
        return NULL;
    }
    c->fd = fd;
    c->dialer = dialer;
    c->state = dialer ? CONN_CONNECTING : CONN_HANDSHAKE;
    c->ssl = tls_ssl(tls, fd, dialer);
    c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(base, fd, EV_WRITE, on_writable, c);
    c->resume = event_new(base, -1, 0, on_resume, c);
    c->timer = event_new(base, -1, 0, on_timer, c);
    if (!c->ssl || !c->readable || !c->writable || !c->resume || !c->timer) {
        conn_free(c);
        return NULL;
    }
    socket_tune(fd);
    conn_set_notsent(c, CONN_NOTSENT_BYTES);
    conn_timer(c->timer, CONN_CONNECT_MS);
    return c;
}

int conn_dial(struct event_base *base, struct tls *tls, const struct sockaddr *addr,
              socklen_t addr_len, const struct conn_ops *ops, void *arg, struct conn **out)
{
    *out = NULL;
    if (addr_len > sizeof(struct sockaddr_storage))
        return -EINVAL;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct conn *c = conn_new(base, tls, fd, true);
    if (!c)
        return -ENOMEM;
    c->ops = ops;
    c->arg = arg;
    memcpy(&c->addr, addr, addr_len);
    int err = connect(fd, addr, addr_len) < 0 && errno != EINPROGRESS ? -errno : 0;
    if (!err && event_add(c->writable, NULL) < 0)
        err = -ENOMEM;
    if (err) {
        conn_free(c);
        return err;
    }
    *out = c;
    return 0;
}

int conn_accept(struct event_base *base, struct tls *tls, int fd, const struct conn_ops *ops,
                void *arg, struct conn **out)
{
    *out = NULL;
    struct conn *c = conn_new(base, tls, fd, false);
    if (!c)
        return -ENOMEM;
    c->ops = ops;
    c->arg = arg;
    socklen_t len = sizeof(c->addr);
    int err = getpeername(fd, (struct sockaddr *)&c->addr, &len) < 0 ? -errno : 0;
    if (!err && evutil_make_socket_nonblocking(fd) < 0)
        err = -errno;
    if (!err && event_add(c->readable, NULL) < 0)
        err = -ENOMEM;
    if (err) {
        conn_free(c);
        return err;
    }
    *out = c;
    return 0;
}

void conn_set_connect_ms(struct conn *c, uint32_t ms)
{
    if (c->state == CONN_CONNECTING || c->state == CONN_HANDSHAKE)
        conn_timer(c->timer, ms);
}

void conn_set_reach_ms(struct conn *c, uint32_t ms)
{
    if (c->state != CONN_CONNECTING)
        return;
    c->reach_short = true;
    conn_timer(c->timer, ms);
}

void conn_close(struct conn *c, bool flush)
{
    if (!c)
        return;
    assert(c->state != CONN_FLUSHING && c->state != CONN_GONE);
    if (!flush || c->state != CONN_UP || c->write_err) {
        conn_gone(c);
        return;
    }
    conn_to(c, CONN_FLUSHING);
    event_del(c->resume);
    conn_timer(c->timer, CONN_FLUSH_MS);
    if (!c->blocked)
        event_active(c->writable, EV_WRITE, 0);
}

void conn_peer_addr(const struct conn *c, struct sockaddr_storage *out)
{
    *out = c->addr;
}

void conn_own_addr(const struct conn *c, struct sockaddr_storage *out)
{
    socklen_t len = sizeof(*out);

    memset(out, 0, sizeof(*out));
    if (c->fd >= 0)
        (void)getsockname(c->fd, (struct sockaddr *)out, &len);
}

bool conn_is_dialer(const struct conn *c)
{
    return c->dialer;
}

void conn_bytes(const struct conn *c, uint64_t *in, uint64_t *out)
{
    *in = c->in_bytes;
    *out = c->out_bytes;
}
