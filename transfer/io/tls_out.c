#include "transfer/io/tls_out.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct tls_out {
    int fd;
    size_t begin, end; /* of what waits in data */
    uint8_t *data;     /* TLS_OUT_BYTES, or NULL */
};

static int out_send(struct tls_out *o)
{
    while (o->begin < o->end) {
        ssize_t n = send(o->fd, o->data + o->begin, o->end - o->begin, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        o->begin += (size_t)n;
    }
    o->begin = o->end = 0;
    return 0;
}

static void out_compact(struct tls_out *o)
{
    memmove(o->data, o->data + o->begin, o->end - o->begin);
    o->end -= o->begin;
    o->begin = 0;
}

/* Room for len_bytes, by sending when it has to. 0, -EAGAIN, -errno. */
static int out_room(struct tls_out *o, size_t len_bytes)
{
    int err;

    if (!o->data)
        o->data = malloc(TLS_OUT_BYTES);
    if (!o->data)
        return -ENOMEM;
    if (TLS_OUT_BYTES - o->end >= len_bytes)
        return 0;
    err = out_send(o);
    if (err && err != -EAGAIN)
        return err;
    out_compact(o);
    return TLS_OUT_BYTES - o->end >= len_bytes ? 0 : -EAGAIN;
}

static int out_write(BIO *bio, const char *data, int len_bytes)
{
    struct tls_out *o = BIO_get_data(bio);
    int err;

    BIO_clear_retry_flags(bio);
    if (len_bytes <= 0 || len_bytes > TLS_OUT_BYTES)
        return -1;
    err = out_room(o, (size_t)len_bytes);
    if (err) {
        if (err == -EAGAIN)
            BIO_set_retry_write(bio);
        errno = -err;
        return -1;
    }
    memcpy(o->data + o->end, data, (size_t)len_bytes);
    o->end += (size_t)len_bytes;
    return len_bytes;
}

/* OpenSSL flushes after each flight of the handshake. The owner of the socket does
 * it, for all kinds of records, when OpenSSL is through. */
static long out_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

static int out_destroy(BIO *bio)
{
    struct tls_out *o = BIO_get_data(bio);

    if (o)
        free(o->data);
    free(o);
    BIO_set_data(bio, NULL);
    return 1;
}

BIO_METHOD *tls_out_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "ronda records");

    if (method && BIO_meth_set_write(method, out_write) && BIO_meth_set_ctrl(method, out_ctrl) &&
        BIO_meth_set_destroy(method, out_destroy))
        return method;
    BIO_meth_free(method);
    return NULL;
}

BIO *tls_out_new(const BIO_METHOD *method, int fd)
{
    struct tls_out *o = calloc(1, sizeof(*o));
    BIO *bio = o ? BIO_new(method) : NULL;

    if (!bio) {
        free(o);
        return NULL;
    }
    o->fd = fd;
    BIO_set_data(bio, o);
    BIO_set_init(bio, 1);
    return bio;
}

int tls_out_flush(BIO *bio)
{
    return out_send(BIO_get_data(bio));
}

size_t tls_out_waiting(BIO *bio)
{
    const struct tls_out *o = BIO_get_data(bio);

    return o->end - o->begin;
}

void tls_out_trim(BIO *bio)
{
    struct tls_out *o = BIO_get_data(bio);

    if (o->begin != o->end)
        return;
    free(o->data);
    o->data = NULL;
}
