#include "transfer/io/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transfer/io/file.h"
#include "transfer/io/tls_out.h"

enum {
    TLS_KEY_FILE_BYTES_MAX = 4096,
    TLS_PEER_CERTS_BYTES_MAX = 4096,   /* of the whole Certificate message */
    TLS_READ_BUFFER_BYTES = 128 * 1024 /* one read(2) brings up to eight records */
};

static const unsigned char alpn[] = {7, 'r', 'o', 'n', 'd', 'a', '/', '1'};

struct tls {
    SSL_CTX *ctx;
    BIO_METHOD *out;
    EVP_PKEY *key;
    X509 *cert;
    uint8_t id[HASH_LEN];
};

/* Without it OpenSSL would ask for the passphrase of an encrypted key on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf, (void)size, (void)rwflag, (void)arg;
    return -1;
}

static EVP_PKEY *key_parse(const char *pem, int len_bytes)
{
    BIO *bio = BIO_new_mem_buf(pem, len_bytes);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    if (key && EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    ERR_clear_error();
    return key;
}

/* The whole file, at most cap_bytes; its length or -errno. */
static ssize_t read_whole(int fd, char *buf, size_t cap_bytes)
{
    size_t used = 0;

    while (used < cap_bytes) {
        ssize_t n = read(fd, buf + used, cap_bytes - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

static int key_read(const char *path, EVP_PKEY **out)
{
    char pem[TLS_KEY_FILE_BYTES_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -errno;
    ssize_t n = read_whole(fd, pem, sizeof(pem));
    close(fd);
    if (n >= 0)
        *out = key_parse(pem, (int)n);
    OPENSSL_cleanse(pem, sizeof(pem));
    if (n < 0)
        return (int)n;
    return *out ? 0 : ERR_DAMAGED;
}

static int sync_parent(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;

    if (len >= sizeof(dir))
        return -ENAMETOOLONG;
    memcpy(dir, path, len);
    dir[len] = '\0';
    int fd = open(len ? dir : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return err;
}

static int key_make(const char *path, EVP_PKEY **out)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_secmem());
    char *pem = NULL;
    int err = ERR_TLS;

    if (!key || !bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        goto out;
    long len = BIO_get_mem_data(bio, &pem);
    if (len <= 0)
        goto out;
    err = file_replace(AT_FDCWD, path, pem, (size_t)len);
    if (!err)
        err = sync_parent(path);
out:
    BIO_free(bio);
    ERR_clear_error();
    if (err)
        EVP_PKEY_free(key);
    else
        *out = key;
    return err;
}

static int cert_id(const X509 *cert, uint8_t out[static HASH_LEN])
{
    unsigned char *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

    if (len <= 0)
        return ERR_TLS;
    SHA256(spki, (size_t)len, out);
    OPENSSL_free(spki);
    return 0;
}

/* Constant but for the key: a certificate tells nothing more about us than the
 * NodeID, and a wrong clock does not make it invalid. */
static X509 *cert_make(EVP_PKEY *key)
{
    X509 *x = X509_new();

    if (!x)
        return NULL;
    X509_NAME *name = X509_get_subject_name(x);
    if (X509_set_version(x, X509_VERSION_3) && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"ronda", -1, -1,
                                   0) &&
        X509_set_issuer_name(x, name) &&
        ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "19700101000000Z") &&
        ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "99991231235959Z") &&
        X509_set_pubkey(x, key) && X509_sign(x, key, NULL) > 0)
        return x;
    X509_free(x);
    return NULL;
}

/* In place of chain building: exactly one short Ed25519 certificate. That the
 * other side holds its key is proven by the handshake's own signature. */
static int verify(X509_STORE_CTX *store, void *arg)
{
    (void)arg;
    X509 *cert = X509_STORE_CTX_get0_cert(store);
    const EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    int len = cert ? i2d_X509(cert, NULL) : 0;

    if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519 || len <= 0 ||
        len > TLS_CERT_BYTES_MAX || sk_X509_num(X509_STORE_CTX_get0_untrusted(store)) != 1) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
        return 0;
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static int alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned int in_len, void *arg)
{
    (void)ssl, (void)arg;
    unsigned char *chosen;

    if (SSL_select_next_proto(&chosen, out_len, alpn, sizeof(alpn), in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool ctx_restrict(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, TLS_PEER_CERTS_BYTES_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, alpn_select, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_set_num_tickets(ctx, 0) &&
           SSL_CTX_set1_groups_list(ctx, "X25519") && SSL_CTX_set1_sigalgs_list(ctx, "ed25519") &&
           /* AES-128 first: as strong as X25519, and faster than AES-256. */
           SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
                                         "TLS_AES_256_GCM_SHA384") &&
           SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn)) == 0;
}

static int ctx_make(struct tls *t)
{
    t->ctx = SSL_CTX_new(TLS_method());
    t->cert = cert_make(t->key);
    t->out = tls_out_method();
    if (!t->ctx || !t->cert || !t->out || cert_id(t->cert, t->id) != 0 || !ctx_restrict(t->ctx))
        return ERR_TLS;
    if (SSL_CTX_use_certificate(t->ctx, t->cert) != 1 ||
        SSL_CTX_use_PrivateKey(t->ctx, t->key) != 1)
        return ERR_TLS;
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(t->ctx, 1);
    SSL_CTX_set_default_read_buffer_len(t->ctx, TLS_READ_BUFFER_BYTES);
    return 0;
}

int tls_new(const char *key_path, struct tls **out)
{
    *out = NULL;
    struct tls *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    int err = key_read(key_path, &t->key);
    if (err == -ENOENT)
        err = key_make(key_path, &t->key);
    if (!err)
        err = ctx_make(t);
    ERR_clear_error();
    if (err) {
        tls_free(t);
        return err;
    }
    *out = t;
    return 0;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->out);
    X509_free(t->cert);
    EVP_PKEY_free(t->key);
    free(t);
}

const uint8_t *tls_node_id(const struct tls *t)
{
    return t->id;
}

SSL *tls_ssl(struct tls *t, int fd, bool dialer)
{
    SSL *ssl = SSL_new(t->ctx);
    BIO *in = BIO_new_socket(fd, BIO_NOCLOSE);
    BIO *out = tls_out_new(t->out, fd);

    if (!ssl || !in || !out) {
        SSL_free(ssl);
        BIO_free(in);
        BIO_free(out);
        return NULL;
    }
    SSL_set_bio(ssl, in, out);
    if (dialer)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return ssl;
}

int tls_flush(SSL *ssl)
{
    return tls_out_flush(SSL_get_wbio(ssl));
}

size_t tls_unsent(const SSL *ssl)
{
    return tls_out_waiting(SSL_get_wbio(ssl));
}

void tls_trim(SSL *ssl)
{
    SSL_free_buffers(ssl);
    tls_out_trim(SSL_get_wbio(ssl));
}

int tls_peer_id(SSL *ssl, uint8_t out[static HASH_LEN])
{
    const unsigned char *proto;
    unsigned int proto_len;
    const X509 *cert = SSL_get0_peer_certificate(ssl);

    /* A peer that sends no ALPN at all never reaches alpn_select(). */
    SSL_get0_alpn_selected(ssl, &proto, &proto_len);
    if (!cert || proto_len != sizeof(alpn) - 1 || memcmp(proto, alpn + 1, proto_len) != 0)
        return ERR_TLS;
    return cert_id(cert, out);
}
