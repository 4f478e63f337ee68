#include <stdlib.h>
#include <string.h>

#include "transfer/core/msg.h"
#include "transfer/core/wire.h"
#include "transfer/io/conn_impl.h"

enum { CONN_IN_BYTES = 128 * 1024 }; /* a frame of any type and some records more */

/* Room for a record at least; the bytes not yet cut into frames stay. */
static bool in_room(struct conn *c)
{
    struct conn_buf *b = &c->in;

    c->used = true;
    if (!c->ticking) {
        c->ticking = true;
        conn_timer(c->timer, CONN_TICK_MS);
    }
    if (!b->data) {
        b->data = malloc(CONN_IN_BYTES);
        b->cap = CONN_IN_BYTES;
        return b->data;
    }
    if (b->begin == b->end) {
        b->begin = b->end = 0;
    } else if (b->cap - b->end < CONN_RECORD_BYTES) {
        memmove(b->data, b->data + b->begin, conn_buf_used(b));
        b->end -= b->begin;
        b->begin = 0;
    }
    return true;
}

static bool frame_acceptable(uint32_t len, uint8_t type)
{
    return len > 0 && type > 0 && type < MSG_TYPES && len - 1 <= msg_body_max(type);
}

/* Hands over every whole frame. The owner may close the conn at any of them. */
static void frames_deliver(struct conn *c)
{
    _Static_assert(MSG_FRAME_BYTES_MAX + CONN_RECORD_BYTES <= CONN_IN_BYTES, "a frame fits");

    while (c->state == CONN_UP && conn_buf_used(&c->in) >= MSG_HEAD_BYTES) {
        const uint8_t *at = c->in.data + c->in.begin;
        struct wire_in head = wire_in(at, MSG_HEAD_BYTES);
        uint32_t len = wire_get_u32(&head);
        uint8_t type = wire_get_u8(&head);
        if (!frame_acceptable(len, type)) {
            conn_fail(c, ERR_MESSAGE);
            return;
        }
        if (conn_buf_used(&c->in) < MSG_HEAD_BYTES - 1 + (size_t)len)
            return;
        c->in.begin += MSG_HEAD_BYTES - 1 + (size_t)len;
        c->ops->on_frame(c->arg, type, at + MSG_HEAD_BYTES, len - 1);
    }
}

static void read_stopped(struct conn *c, int why)
{
    conn_push(c); /* an alert, or the answer to a key update */
    if (why < 0) {
        conn_fail(c, c->write_err ? c->write_err : why);
    } else if (c->write_err) {
        conn_fail(c, c->write_err);
    } else if (why == SSL_ERROR_WANT_WRITE) {
        c->read_on_write = true;
        event_add(c->writable, NULL);
    }
}

/* Until nothing is left, or CONN_TURN_BYTES: then goes on after the others. A
 * timer and not the socket's event brings it back, as the rest may be inside
 * OpenSSL, of which the socket knows nothing. */
void conn_read_turn(struct conn *c)
{
    size_t taken = 0;

    while (c->state == CONN_UP) {
        if (taken >= CONN_TURN_BYTES) {
            conn_timer(c->resume, 0);
            return;
        }
        if (!in_room(c)) {
            conn_fail(c, -ENOMEM);
            return;
        }
        ERR_clear_error();
        int n = SSL_read(c->ssl, c->in.data + c->in.end, (int)(c->in.cap - c->in.end));
        if (n <= 0) {
            read_stopped(c, conn_ssl_result(c, n));
            return;
        }
        taken += (size_t)n;
        c->in_bytes += (uint64_t)n;
        c->in.end += (size_t)n;
        frames_deliver(c);
    }
}
