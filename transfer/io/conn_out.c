#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "transfer/io/clock.h"
#include "transfer/io/conn_impl.h"

enum {
    CONN_NOTSENT_MS = 10, /* TCP_NOTSENT_LOWAT: what goes out in so long */
    CONN_PACE_MS = 50     /* thought over so often */
};

void conn_buf_drop(struct conn_buf *b)
{
    free(b->data);
    *b = (struct conn_buf){0};
}

static int buf_append(struct conn_buf *b, const uint8_t *data, size_t len_bytes)
{
    if (b->begin > 0 && b->end + len_bytes > b->cap) {
        memmove(b->data, b->data + b->begin, conn_buf_used(b));
        b->end -= b->begin;
        b->begin = 0;
    }
    if (b->end + len_bytes > b->cap) {
        size_t cap = b->cap ? b->cap : 2048;
        while (cap < b->end + len_bytes)
            cap *= 2;
        uint8_t *grown = realloc(b->data, cap);
        if (!grown)
            return -ENOMEM;
        b->data = grown;
        b->cap = cap;
    }
    memcpy(b->data + b->end, data, len_bytes);
    b->end += len_bytes;
    return 0;
}

static void write_failed(struct conn *c, int err)
{
    if (c->state == CONN_FLUSHING) {
        conn_gone(c);
        return;
    }
    c->write_err = err;
    conn_timer(c->resume, 0);
}

static void wait_writable(struct conn *c)
{
    c->blocked = true;
    event_add(c->writable, NULL);
}

/* How many bytes were made records, which conn_push() sends; fewer than len_bytes:
 * now blocked or failed. OpenSSL then holds a record made of the bytes that follow, which must come
 * again: whoever calls has to keep them in the queue. */
static size_t write_some(struct conn *c, const uint8_t *data, size_t len_bytes)
{
    size_t done = 0;

    while (done < len_bytes) {
        ERR_clear_error();
        int n = SSL_write(c->ssl, data + done, (int)(len_bytes - done));
        if (n <= 0) {
            int why = conn_ssl_result(c, n);
            /* TLS 1.3 never has to read before it can write application data. */
            if (why == SSL_ERROR_WANT_WRITE)
                wait_writable(c);
            else
                write_failed(c, why == SSL_ERROR_WANT_READ ? ERR_TLS : why);
            break;
        }
        done += (size_t)n;
    }
    c->out_bytes += done;
    return done;
}

void conn_push(struct conn *c)
{
    int err = c->blocked || c->write_err ? 0 : tls_flush(c->ssl);

    if (err == -EAGAIN)
        wait_writable(c);
    else if (err)
        write_failed(c, err);
}

void conn_set_notsent(struct conn *c, int bytes)
{
    if (c->notsent_bytes == bytes)
        return;
    c->notsent_bytes = bytes;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

/* What waits in the kernel keeps the schedule waiting, and control messages: on a
 * slow link it must be little. On a fast one little means that the socket runs dry
 * each time the loop is busy elsewhere. So it follows the rate, in powers of two. */
static void notsent_pace(struct conn *c)
{
    uint64_t now = clock_ms(), ms, due;
    int bytes = CONN_NOTSENT_BYTES;

    if (now > c->wrote_ms + CONN_PACE_MS) { /* idle since: that is no rate */
        c->paced_ms = now;
        c->paced_bytes = c->out_bytes;
    }
    c->wrote_ms = now;
    ms = now - c->paced_ms;
    if (ms < CONN_PACE_MS)
        return;
    due = (c->out_bytes - c->paced_bytes) * CONN_NOTSENT_MS / ms;
    while (bytes < CONN_NOTSENT_BYTES_MAX && (uint64_t)bytes * 2 <= due)
        bytes *= 2;
    conn_set_notsent(c, bytes);
    c->paced_ms = now;
    c->paced_bytes = c->out_bytes;
}

void conn_flush(struct conn *c)
{
    conn_push(c);
    if (c->blocked || c->write_err || !c->out.data)
        return;
    c->out.begin += write_some(c, c->out.data + c->out.begin, conn_buf_used(&c->out));
    if (conn_buf_used(&c->out) == 0)
        conn_buf_drop(&c->out);
    conn_push(c);
}

static bool conn_alive(const struct conn *c)
{
    return c->state <= CONN_UP && !c->write_err;
}

size_t conn_queued_bytes(const struct conn *c)
{
    return conn_buf_used(&c->out);
}

int conn_send(struct conn *c, const uint8_t *frame, size_t len_bytes)
{
    if (!conn_alive(c))
        return ERR_CLOSED;
    if (len_bytes > CONN_QUEUE_BYTES_MAX ||
        conn_buf_used(&c->out) > CONN_QUEUE_BYTES_MAX - len_bytes)
        return ERR_LIMIT;
    int err = buf_append(&c->out, frame, len_bytes);
    if (err)
        return err;
    /* Written after the callbacks that are due now: several frames, one record. */
    if (c->state == CONN_UP && !c->blocked)
        event_active(c->writable, EV_WRITE, 0);
    return 0;
}

bool conn_can_write(struct conn *c)
{
    if (!conn_alive(c))
        return false;
    if (c->state == CONN_UP)
        conn_flush(c);
    if (c->write_err)
        return false;
    if (c->state != CONN_UP || c->blocked) {
        c->want_writable = true;
        return false;
    }
    return true;
}

int conn_write_data(struct conn *c, const uint8_t *frame, size_t len_bytes)
{
    if (!conn_can_write(c))
        return conn_alive(c) ? 0 : ERR_CLOSED;
    size_t done = write_some(c, frame, len_bytes);
    conn_push(c);
    notsent_pace(c);
    if (c->write_err)
        return ERR_CLOSED;
    if (done < len_bytes && buf_append(&c->out, frame + done, len_bytes - done) < 0) {
        write_failed(c, -ENOMEM);
        return -ENOMEM;
    }
    return 1;
}

void conn_delivery(const struct conn *c, uint64_t *handed, uint64_t *acked)
{
    int queued = 0; /* in the kernel, TLS included */
    uint64_t waiting;

    *handed = c->out_bytes + conn_buf_used(&c->out);
    if (c->fd >= 0 && ioctl(c->fd, SIOCOUTQ, &queued) < 0)
        queued = 0;
    waiting = (uint64_t)queued + tls_unsent(c->ssl);
    *acked = c->out_bytes > waiting ? c->out_bytes - waiting : 0;
}

void conn_write_turn(struct conn *c)
{
    conn_flush(c);
    if (c->want_writable && conn_alive(c) && !c->blocked) {
        c->want_writable = false;
        c->ops->on_writable(c->arg);
    }
}
