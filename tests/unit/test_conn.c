/* tls, conn and listener over loopback TCP, both ends in one event_base. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "transfer/core/msg.h"
#include "transfer/io/conn.h"
#include "transfer/io/listener.h"

enum { GUARD_S = 60, FRAME_MAX = MSG_FRAME_BYTES_MAX };

struct end {
    struct tls *tls;
    struct conn *conn;
    uint8_t peer[HASH_LEN];
    bool up, closed;
    int err;
    unsigned frames;
    uint64_t bytes;
    void (*up_fn)(struct end *e);
    void (*frame_fn)(struct end *e, uint8_t type, const uint8_t *body, size_t len);
    void (*writable_fn)(struct end *e);
    void *arg;
};

struct pair {
    struct event_base *base;
    struct listener *listener;
    struct event *guard;
    struct end a, b; /* a dials, b accepts */
    struct sockaddr_in6 addr;
    char dir[64];
};

static void end_on_up(void *arg, const uint8_t node[static HASH_LEN])
{
    struct end *e = arg;
    e->up = true;
    memcpy(e->peer, node, HASH_LEN);
    if (e->up_fn)
        e->up_fn(e);
}

static void end_on_frame(void *arg, uint8_t type, const uint8_t *body, size_t len)
{
    struct end *e = arg;
    e->frames++;
    e->bytes += len;
    if (e->frame_fn)
        e->frame_fn(e, type, body, len);
}

static void end_on_writable(void *arg)
{
    struct end *e = arg;
    if (e->writable_fn)
        e->writable_fn(e);
}

static void end_on_closed(void *arg, int err)
{
    struct end *e = arg;
    cr_assert(!e->closed, "told once");
    e->closed = true;
    e->err = err;
    conn_close(e->conn, false);
    e->conn = NULL;
}

static const struct conn_ops end_ops = {end_on_up, end_on_frame, end_on_writable, end_on_closed};

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    cr_assert_fail("nothing came of it");
}

static void pair_on_accept(void *arg, int fd, const struct sockaddr *addr)
{
    struct pair *p = arg;
    (void)addr;
    cr_assert_null(p->b.conn);
    cr_assert_eq(conn_accept(p->base, p->b.tls, fd, &end_ops, &p->b, &p->b.conn), 0);
    cr_assert_not(conn_is_dialer(p->b.conn));
}

static struct tls *make_tls(struct pair *p, const char *name)
{
    char path[128];
    struct tls *t;
    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    cr_assert_eq(tls_new(path, &t), 0);
    unlink(path);
    return t;
}

static void pair_open(struct pair *p)
{
    const struct timeval guard = {GUARD_S, 0};

    signal(SIGPIPE, SIG_IGN);
    memset(p, 0, sizeof(*p));
    strcpy(p->dir, "/tmp/ronda-test-conn-XXXXXX");
    cr_assert_not_null(mkdtemp(p->dir));
    p->base = event_base_new();
    p->guard = event_new(p->base, -1, 0, on_guard, NULL);
    event_add(p->guard, &guard);
    p->a.tls = make_tls(p, "a");
    p->b.tls = make_tls(p, "b");
    cr_assert_eq(listener_new(p->base, 0, false, pair_on_accept, p, &p->listener), 0);
    p->addr = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                    .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                    .sin6_port = htons(listener_port(p->listener))};
}

static void pair_dial(struct pair *p)
{
    cr_assert_eq(conn_dial(p->base, p->a.tls, (struct sockaddr *)&p->addr, sizeof(p->addr),
                           &end_ops, &p->a, &p->a.conn),
                 0);
    cr_assert(conn_is_dialer(p->a.conn));
}

static void pair_turn(struct pair *p)
{
    cr_assert_eq(event_base_loop(p->base, EVLOOP_ONCE), 0);
}

static void pair_up(struct pair *p)
{
    pair_open(p);
    pair_dial(p);
    while (!p->a.up || !p->b.up)
        pair_turn(p);
}

static void pair_free(struct pair *p)
{
    conn_close(p->a.conn, false);
    conn_close(p->b.conn, false);
    event_base_loop(p->base, EVLOOP_NONBLOCK); /* the turn that frees them */
    listener_free(p->listener);
    tls_free(p->a.tls);
    tls_free(p->b.tls);
    event_free(p->guard);
    event_base_free(p->base);
    rmdir(p->dir);
}

/* Without a period that divides a record: bytes of another place must be noticed. */
static uint8_t pattern(uint8_t fill, size_t i)
{
    return (uint8_t)(fill + i * 7 + (i >> 8) * 31 + (i >> 14));
}

static size_t make_frame(uint8_t *out, uint8_t type, size_t body_len, uint8_t fill)
{
    uint32_t len = htonl((uint32_t)body_len + 1);
    memcpy(out, &len, 4);
    out[4] = type;
    for (size_t i = 0; i < body_len; i++)
        out[5 + i] = pattern(fill, i);
    return 5 + body_len;
}

static void send_frame(struct conn *c, size_t body_len, uint8_t fill)
{
    static uint8_t frame[FRAME_MAX];
    size_t len = make_frame(frame, MSG_DATA, body_len, fill);
    cr_assert_eq(conn_send(c, frame, len), 0);
}

Test(conn, handshake_tells_both_node_ids)
{
    struct pair p;
    struct sockaddr_storage addr;

    pair_up(&p);
    cr_assert_arr_eq(p.a.peer, tls_node_id(p.b.tls), HASH_LEN);
    cr_assert_arr_eq(p.b.peer, tls_node_id(p.a.tls), HASH_LEN);
    cr_assert_arr_neq(p.a.peer, p.b.peer, HASH_LEN);
    conn_peer_addr(p.a.conn, &addr);
    cr_assert_arr_eq(&addr, &p.addr, sizeof(p.addr));
    conn_peer_addr(p.b.conn, &addr);
    cr_assert_eq(addr.ss_family, AF_INET6);
    pair_free(&p);
}

static void echo(struct end *e, uint8_t type, const uint8_t *body, size_t len)
{
    uint8_t *frame = malloc(len + 5);
    uint32_t head = htonl((uint32_t)len + 1);
    memcpy(frame, &head, 4);
    frame[4] = type;
    memcpy(frame + 5, body, len);
    cr_assert_eq(conn_send(e->conn, frame, len + 5), 0);
    free(frame);
}

struct expected {
    size_t len;
    uint8_t fill;
};

static void expect(struct end *e, uint8_t type, const uint8_t *body, size_t len)
{
    const struct expected *x = (const struct expected *)e->arg + e->frames - 1;
    cr_assert_eq(type, MSG_DATA);
    cr_assert_eq(len, x->len);
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(body[i], pattern(x->fill, i));
}

Test(conn, frames_of_every_size_come_back)
{
    enum { COUNT = 400 };
    struct pair p;
    struct expected x[COUNT];
    uint64_t in, out, sum = 0;
    unsigned seed = (unsigned)time(NULL);

    pair_up(&p);
    fprintf(stderr, "seed %u\n", seed);
    srand(seed);
    p.b.frame_fn = echo;
    p.a.frame_fn = expect;
    p.a.arg = x;
    for (unsigned i = 0; i < COUNT; i++) {
        size_t max = msg_body_max(MSG_DATA);
        x[i].len = i < 40 ? i : i == 40 ? max : (size_t)rand() % (i % 2 ? 300 : max + 1);
        x[i].fill = (uint8_t)rand();
        sum += x[i].len + 5;
        send_frame(p.a.conn, x[i].len, x[i].fill);
        while (p.a.frames + 8 < i)
            pair_turn(&p);
    }
    while (p.a.frames < COUNT)
        pair_turn(&p);
    conn_bytes(p.a.conn, &in, &out);
    cr_assert_eq(in, sum);
    cr_assert_eq(out, sum);
    pair_free(&p);
}

/* The source writes numbered data frames as the socket lets it, and a small
 * control frame after every tenth. */
struct stream {
    uint32_t next, count;
    uint8_t frame[FRAME_MAX];
};
enum { STREAM_BODY = 65536 + 10 };

static void stream_pump(struct end *e)
{
    struct stream *s = e->arg;
    uint8_t small[16];

    while (s->next < s->count) {
        make_frame(s->frame, MSG_DATA, STREAM_BODY, (uint8_t)s->next);
        memcpy(s->frame + 5, &s->next, 4);
        int r = conn_write_data(e->conn, s->frame, 5 + STREAM_BODY);
        cr_assert_geq(r, 0);
        if (r == 0)
            return;
        if (++s->next % 10 == 0)
            cr_assert_eq(conn_send(e->conn, small, make_frame(small, MSG_DATA, 1, 0)), 0);
    }
}

static void stream_check(struct end *e, uint8_t type, const uint8_t *body, size_t len)
{
    struct stream *s = e->arg;
    uint32_t number;
    (void)type;

    if (len == 1)
        return;
    cr_assert_eq(len, STREAM_BODY);
    memcpy(&number, body, 4);
    cr_assert_eq(number, s->next, "in order");
    for (size_t i = 4; i < len; i++)
        if (body[i] != pattern((uint8_t)number, i))
            cr_assert_fail("byte %zu of frame %u", i, number);
    s->next++;
}

Test(conn, data_of_64_mib_arrives_intact)
{
    static struct stream from = {.count = 1024}, to;
    struct pair p;

    pair_up(&p);
    p.a.arg = &from;
    p.b.arg = &to;
    p.a.writable_fn = stream_pump;
    p.b.frame_fn = stream_check;
    stream_pump(&p.a);
    cr_assert_lt(from.next, from.count, "the socket must not swallow all of it");
    while (to.next < from.count)
        pair_turn(&p);
    pair_free(&p);
}

Test(conn, a_full_socket_takes_little)
{
    static struct stream from = {.count = 1 << 20};
    struct pair p;
    uint64_t in, out;

    pair_up(&p);
    p.a.arg = &from;
    stream_pump(&p.a); /* nobody reads: the loop does not run */
    cr_assert_not(conn_can_write(p.a.conn));
    conn_bytes(p.a.conn, &in, &out);
    cr_assert_lt(out, 16u << 20);
    pair_free(&p);
}

Test(conn, queue_has_a_ceiling)
{
    static uint8_t frame[FRAME_MAX];
    struct pair p;
    size_t sent = 0;
    int err;

    pair_up(&p);
    size_t len = make_frame(frame, MSG_DATA, 60000, 0);
    while ((err = conn_send(p.a.conn, frame, len)) == 0)
        sent += len;
    cr_assert_eq(err, ERR_LIMIT);
    cr_assert_leq(sent, CONN_QUEUE_BYTES_MAX);
    cr_assert_gt(sent + len, CONN_QUEUE_BYTES_MAX);
    while (p.b.bytes + 5 * p.b.frames < sent)
        pair_turn(&p);
    pair_free(&p);
}

static void check_refused(const uint8_t head[5])
{
    struct pair p;

    pair_up(&p);
    cr_assert_eq(conn_send(p.a.conn, head, 5), 0);
    while (!p.b.closed)
        pair_turn(&p);
    cr_assert_eq(p.b.err, ERR_MESSAGE);
    cr_assert_eq(p.b.frames, 0);
    while (!p.a.closed)
        pair_turn(&p);
    pair_free(&p);
}

Test(conn, a_header_over_its_limit_is_refused_before_the_body)
{
    uint32_t over = htonl(msg_body_max(MSG_DATA) + 2);
    uint8_t head[5] = {0, 0, 0, 0, MSG_DATA};

    memcpy(head, &over, 4);
    check_refused(head);
    check_refused((const uint8_t[5]){0xff, 0xff, 0xff, 0xff, MSG_DATA});
    check_refused((const uint8_t[5]){0, 0, 0, 0, MSG_DATA});
    check_refused((const uint8_t[5]){0, 0, 0, 1, 0});
    check_refused((const uint8_t[5]){0, 0, 0, 1, MSG_TYPES});
    check_refused((const uint8_t[5]){0, 0, 0, 1, 255});
}

static void close_now(struct end *e)
{
    conn_close(e->conn, false);
    e->conn = NULL;
}

static void close_on_frame(struct end *e, uint8_t type, const uint8_t *body, size_t len)
{
    uint8_t first = body[0];
    (void)type, (void)len;
    close_now(e);
    cr_assert_eq(body[0], first, "the body outlives conn_close()");
}

Test(conn, closing_in_on_up)
{
    struct pair p;

    pair_open(&p);
    p.b.up_fn = close_now;
    pair_dial(&p);
    while (!p.a.closed)
        pair_turn(&p);
    cr_assert(p.b.up);
    cr_assert_not(p.b.closed, "no on_closed after conn_close()");
    pair_free(&p);
}

Test(conn, closing_in_on_frame)
{
    struct pair p;

    pair_up(&p);
    p.b.frame_fn = close_on_frame;
    for (uint8_t i = 0; i < 10; i++)
        send_frame(p.a.conn, 10, i);
    while (!p.a.closed)
        pair_turn(&p);
    cr_assert_eq(p.b.frames, 1, "the frames behind it are not delivered");
    cr_assert_not(p.b.closed);
    pair_free(&p);
}

Test(conn, closing_in_on_writable)
{
    static struct stream from = {.count = 1 << 20};
    struct pair p;

    pair_up(&p);
    p.a.arg = &from;
    stream_pump(&p.a);
    p.a.writable_fn = close_now;
    while (!p.b.closed)
        pair_turn(&p);
    cr_assert_not(p.a.closed);
    pair_free(&p);
}

Test(conn, closing_with_flush_delivers_what_was_queued)
{
    struct pair p;

    pair_up(&p);
    for (uint8_t i = 0; i < 10; i++)
        send_frame(p.a.conn, 60000, i);
    for (uint8_t i = 0; i < 10; i++) /* unread at a when it closes: no reset may follow */
        send_frame(p.b.conn, 60000, i);
    conn_close(p.a.conn, true);
    p.a.conn = NULL;
    while (!p.b.closed)
        pair_turn(&p);
    cr_assert_eq(p.b.frames, 10);
    cr_assert_eq(p.b.err, ERR_CLOSED);
    cr_assert_eq(p.a.frames, 0);
    pair_free(&p);
}

Test(conn, closing_at_once_reaches_the_peer)
{
    struct pair p;

    pair_up(&p);
    close_now(&p.a);
    while (!p.b.closed)
        pair_turn(&p);
    cr_assert_eq(p.b.err, ERR_CLOSED);
    pair_free(&p);
}

Test(conn, a_frame_queued_before_the_handshake_goes_out_after_it)
{
    struct pair p;

    pair_open(&p);
    pair_dial(&p);
    send_frame(p.a.conn, 33, 1);
    cr_assert_not(conn_can_write(p.a.conn));
    while (p.b.frames < 1)
        pair_turn(&p);
    cr_assert_eq(p.b.bytes, 33);
    pair_free(&p);
}

Test(conn, nobody_listens)
{
    struct pair p;

    pair_open(&p);
    listener_free(p.listener);
    p.listener = NULL;
    pair_dial(&p);
    while (!p.a.closed)
        pair_turn(&p);
    cr_assert_eq(p.a.err, -ECONNREFUSED);
    pair_free(&p);
}

/* --- peers that are no ronda --- */

static int raw_connect(const struct pair *p)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&p->addr, sizeof(p->addr)), 0);
    evutil_make_socket_nonblocking(fd);
    return fd;
}

Test(conn, half_open_peer_is_dropped_at_the_deadline)
{
    struct pair p;

    pair_open(&p);
    int fd = raw_connect(&p);
    while (!p.b.conn)
        pair_turn(&p);
    conn_set_connect_ms(p.b.conn, 20);
    while (!p.b.closed)
        pair_turn(&p);
    cr_assert_eq(p.b.err, ERR_TIMEOUT);
    close(fd);
    pair_free(&p);
}

static void accept_and_hold(void *arg, int fd, const struct sockaddr *addr)
{
    (void)addr;
    *(int *)arg = fd;
}

/* A pair of which a has dialled a raw listener in the place of b; fd: the raw end. */
static void pair_dial_raw(struct pair *p, int *fd)
{
    *fd = -1;
    pair_open(p);
    listener_free(p->listener);
    cr_assert_eq(listener_new(p->base, 0, false, accept_and_hold, fd, &p->listener), 0);
    p->addr.sin6_port = htons(listener_port(p->listener));
    pair_dial(p);
    while (*fd < 0)
        pair_turn(p);
}

Test(conn, a_server_that_says_nothing_is_dropped_at_the_deadline)
{
    struct pair p;
    int fd;

    pair_dial_raw(&p, &fd);
    conn_set_connect_ms(p.a.conn, 20);
    while (!p.a.closed)
        pair_turn(&p);
    cr_assert_eq(p.a.err, ERR_TIMEOUT);
    close(fd);
    pair_free(&p);
}

Test(conn, plain_text_is_refused)
{
    static const char hello[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct pair p;

    pair_open(&p);
    int fd = raw_connect(&p);
    cr_assert_eq(write(fd, hello, sizeof(hello)), sizeof(hello));
    while (!p.b.closed)
        pair_turn(&p);
    cr_assert_eq(p.b.err, ERR_TLS);
    close(fd);
    pair_free(&p);
}

enum wrong {
    RIGHT,
    NO_CERT,
    RSA_CERT,
    P256_CERT,
    TWO_CERTS,
    LONG_CERT,
    NO_ALPN,
    OTHER_ALPN,
    TLS_1_2,
    OTHER_GROUP
};

static X509 *make_cert(EVP_PKEY *key, bool longer)
{
    X509 *x = X509_new();
    char text[1200] = "ASN1:UTF8String:";
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_gmtime_adj(X509_getm_notBefore(x), -2000);
    X509_gmtime_adj(X509_getm_notAfter(x), -1000); /* expired: must not matter */
    X509_set_pubkey(x, key);
    if (longer) {
        memset(text + strlen(text), 'x', sizeof(text) - strlen(text) - 1);
        text[sizeof(text) - 1] = '\0';
        X509_EXTENSION *ext = X509V3_EXT_conf(NULL, NULL, "1.2.3.4", text);
        cr_assert_not_null(ext);
        X509_add_ext(x, ext, -1);
        X509_EXTENSION_free(ext);
    }
    bool plain = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    cr_assert_gt(X509_sign(x, key, plain ? NULL : EVP_sha256()), 0);
    return x;
}

static EVP_PKEY *make_key(enum wrong w)
{
    if (w == RSA_CERT)
        return EVP_RSA_gen(2048);
    if (w == P256_CERT)
        return EVP_EC_gen("P-256");
    return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

static SSL_CTX *wrong_ctx(enum wrong w)
{
    static const unsigned char alpn[] = "\x07ronda/1", other[] = "\x02h2";
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    EVP_PKEY *key = make_key(w);
    X509 *cert = make_cert(key, w == LONG_CERT);

    if (w != NO_CERT) {
        cr_assert_eq(SSL_CTX_use_certificate(ctx, cert), 1);
        cr_assert_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
    }
    if (w == TWO_CERTS)
        SSL_CTX_add0_chain_cert(ctx, make_cert(key, false));
    if (w == OTHER_ALPN)
        SSL_CTX_set_alpn_protos(ctx, other, 3);
    else if (w != NO_ALPN)
        SSL_CTX_set_alpn_protos(ctx, alpn, 8);
    if (w == TLS_1_2)
        SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    if (w == OTHER_GROUP)
        SSL_CTX_set1_groups_list(ctx, "P-256");
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

/* The raw end goes on until the conn has made up its mind. */
static void verdict_expect(struct pair *p, struct end *e, SSL *ssl, enum wrong w)
{
    char byte;

    while (!e->closed && !e->up) {
        SSL_read(ssl, &byte, 1);
        event_base_loop(p->base, EVLOOP_NONBLOCK);
    }
    cr_expect_eq(e->up, w == RIGHT, "kind %d", w);
    cr_expect_eq(e->err, w == RIGHT ? 0 : ERR_TLS, "kind %d: %d", w, e->err);
    SSL_free(ssl);
}

/* A raw dialer of the wrong (or right) kind meets a conn that accepts. */
static void meet_accepting(enum wrong w)
{
    struct pair p;

    pair_open(&p);
    SSL_CTX *ctx = wrong_ctx(w);
    SSL *ssl = SSL_new(ctx);
    int fd = raw_connect(&p);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    verdict_expect(&p, &p.b, ssl, w);
    close(fd);
    if (w == RIGHT) {
        while (!p.b.closed)
            pair_turn(&p);
        cr_expect_eq(p.b.err, ERR_CLOSED, "no close_notify: %d", p.b.err);
    }
    SSL_CTX_free(ctx);
    pair_free(&p);
}

static int select_any(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                      const unsigned char *in, unsigned int in_len, void *arg)
{
    (void)ssl, (void)in_len, (void)arg;
    *out = in + 1;
    *out_len = in[0];
    return SSL_TLSEXT_ERR_OK;
}

/* A conn dials a raw listener of the wrong (or right) kind. */
static void meet_dialing(enum wrong w)
{
    struct pair p;
    int fd;

    pair_dial_raw(&p, &fd);
    SSL_CTX *ctx = wrong_ctx(w);
    if (w != NO_ALPN)
        SSL_CTX_set_alpn_select_cb(ctx, select_any, NULL);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    verdict_expect(&p, &p.a, ssl, w);
    SSL_CTX_free(ctx);
    close(fd);
    pair_free(&p);
}

Test(conn, only_one_short_ed25519_certificate_is_accepted)
{
    for (enum wrong w = RIGHT; w <= OTHER_GROUP; w++)
        meet_accepting(w);
}

Test(conn, only_the_right_server_is_accepted)
{
    meet_dialing(RIGHT);
    for (enum wrong w = RSA_CERT; w <= OTHER_GROUP; w++)
        if (w != OTHER_ALPN)
            meet_dialing(w);
}

/* --- tls --- */

Test(tls, the_key_is_made_once_and_kept_private)
{
    char dir[] = "/tmp/ronda-test-tls-XXXXXX", path[64];
    struct tls *t, *again;
    struct stat st;

    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key.pem", dir);
    umask(0);
    cr_assert_eq(tls_new(path, &t), 0);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(tls_new(path, &again), 0);
    cr_assert_arr_eq(tls_node_id(t), tls_node_id(again), HASH_LEN);
    tls_free(t);
    tls_free(again);
    unlink(path);
    cr_assert_eq(rmdir(dir), 0, "nothing is left aside");
}

static void check_key_file(const char *path, const char *text, int expected)
{
    char back[4096] = "";
    struct tls *t;
    FILE *f = fopen(path, "w");

    fputs(text, f);
    fclose(f);
    cr_expect_eq(tls_new(path, &t), expected);
    cr_expect_null(t);
    f = fopen(path, "r");
    back[fread(back, 1, sizeof(back) - 1, f)] = '\0';
    fclose(f);
    cr_expect_str_eq(back, text, "the file is left as it is");
}

Test(tls, a_file_that_is_no_ed25519_key_is_left_alone)
{
    char dir[] = "/tmp/ronda-test-tls-XXXXXX", path[64], pem[4096];
    EVP_PKEY *rsa = EVP_RSA_gen(2048), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_mem());
    struct tls *t;

    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key.pem", dir);
    check_key_file(path, "", ERR_DAMAGED);
    check_key_file(path, "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n", ERR_DAMAGED);
    PEM_write_bio_PrivateKey(bio, rsa, NULL, NULL, 0, NULL, NULL);
    pem[BIO_read(bio, pem, sizeof(pem) - 1)] = '\0';
    check_key_file(path, pem, ERR_DAMAGED);
    PEM_write_bio_PKCS8PrivateKey(bio, ed, EVP_aes_128_cbc(), "secret", 6, NULL, NULL);
    pem[BIO_read(bio, pem, sizeof(pem) - 1)] = '\0';
    check_key_file(path, pem, ERR_DAMAGED); /* and nobody is asked for a passphrase */
    unlink(path);
    rmdir(dir);
    cr_assert_eq(tls_new(path, &t), -ENOENT, "no directory");
    cr_assert_null(t);
    BIO_free(bio);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ed);
}

/* --- listener --- */

static void count_accept(void *arg, int fd, const struct sockaddr *addr)
{
    (void)addr;
    ++*(int *)arg;
    close(fd);
}

Test(listener, a_taken_port)
{
    struct event_base *base = event_base_new();
    struct listener *first, *second;
    int count = 0;

    cr_assert_eq(listener_new(base, 0, false, count_accept, &count, &first), 0);
    uint16_t port = listener_port(first);
    cr_assert_neq(port, 0);
    cr_assert_eq(listener_new(base, port, false, count_accept, &count, &second), -EADDRINUSE);
    cr_assert_null(second);
    cr_assert_eq(listener_new(base, port, true, count_accept, &count, &second), 0);
    cr_assert_neq(listener_port(second), port);
    listener_free(first);
    listener_free(second);
    event_base_free(base);
}

Test(listener, hears_ipv4_too)
{
    struct event_base *base = event_base_new();
    struct listener *l;
    int count = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    cr_assert_eq(listener_new(base, 0, false, count_accept, &count, &l), 0);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons(listener_port(l))};
    int r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
    cr_assert(r == 0 || errno == EINPROGRESS);
    while (count == 0)
        event_base_loop(base, EVLOOP_ONCE);
    close(fd);
    listener_free(l);
    event_base_free(base);
}
