#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "transfer/io/conn_impl.h"

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

/* How many bytes the socket took; fewer than len_bytes: now blocked or failed.
 * OpenSSL then holds a record made of the bytes that follow, which must come
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
            if (why == SSL_ERROR_WANT_WRITE) {
                c->blocked = true;
                event_add(c->writable, NULL);
            } else {
                write_failed(c, why == SSL_ERROR_WANT_READ ? ERR_TLS : why);
            }
            break;
        }
        done += (size_t)n;
    }
    c->out_bytes += done;
    return done;
}

void conn_flush(struct conn *c)
{
    if (c->blocked || c->write_err || !c->out.data)
        return;
    c->out.begin += write_some(c, c->out.data + c->out.begin, conn_buf_used(&c->out));
    if (conn_buf_used(&c->out) == 0)
        conn_buf_drop(&c->out);
}

static bool conn_alive(const struct conn *c)
{
    return c->state <= CONN_UP && !c->write_err;
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
    int waiting = 0; /* in the kernel, TLS included */

    *handed = c->out_bytes + conn_buf_used(&c->out);
    if (c->fd >= 0 && ioctl(c->fd, SIOCOUTQ, &waiting) < 0)
        waiting = 0;
    *acked = c->out_bytes > (uint64_t)waiting ? c->out_bytes - (uint64_t)waiting : 0;
}

void conn_write_turn(struct conn *c)
{
    conn_flush(c);
    if (c->want_writable && conn_alive(c) && !c->blocked) {
        c->want_writable = false;
        c->ops->on_writable(c->arg);
    }
}
