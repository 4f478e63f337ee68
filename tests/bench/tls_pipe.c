/* What the machine can do at best: one TLS 1.3 connection and SHA-256 over what
 * comes in, from memory, nothing on disk. The yardstick beside a transfer.
 *
 *   tls-pipe serve PORT BYTES            "ready", one connection, then the end
 *   tls-pipe fetch ADDRESS PORT [FILE]   prints {"bytes": n, "seconds": s}; into FILE when told:
 *                                        what a new file's memory costs is seen beside it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP = 65536 };

static int fail(const char *what)
{
    fprintf(stderr, "tls-pipe: %s: %s\n", what, strerror(errno));
    return 1;
}

static int give_certificate(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *cert = X509_new();
    int ok = key != NULL && cert != NULL;

    if (ok) {
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
        X509_gmtime_adj(X509_getm_notBefore(cert), 0);
        X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
        ok = X509_set_pubkey(cert, key) && X509_sign(cert, key, NULL) > 0 &&
             SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok ? 0 : -1;
}

/* As transfer/io/tls.c has them: the cipher is a part of what is compared. */
static SSL_CTX *context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (ctx != NULL &&
        !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
                                       "TLS_AES_256_GCM_SHA384")) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static SSL *connection(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (ssl != NULL)
        SSL_set_fd(ssl, fd);
    return ssl;
}

static int serve(const char *port, unsigned long long bytes)
{
    SSL_CTX *ctx = context(TLS_server_method());
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, client;
    unsigned char *block = calloc(1, STEP);
    SSL *ssl;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (ctx == NULL || block == NULL || give_certificate(ctx) < 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
        return fail("serve");
    puts("ready");
    fflush(stdout);
    client = accept(fd, NULL, NULL);
    ssl = connection(ctx, client);
    if (client < 0 || ssl == NULL || SSL_accept(ssl) != 1)
        return fail("accept");
    while (bytes > 0) {
        int n = SSL_write(ssl, block, bytes < STEP ? (int)bytes : STEP);

        if (n <= 0)
            return fail("write");
        bytes -= (unsigned long long)n;
    }
    SSL_shutdown(ssl);
    close(client);
    return 0;
}

static double now_s(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* Hashes all that comes, and writes it when fd >= 0 -> bytes, or -1: also when the connection
 * broke before the other end said that this was all. */
static long long drain(SSL *ssl, int fd)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char *block = malloc(STEP);
    long long bytes = 0;
    int n;

    if (hash == NULL || block == NULL)
        return -1;
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    while ((n = SSL_read(ssl, block, STEP)) > 0) {
        EVP_DigestUpdate(hash, block, (size_t)n);
        if (fd >= 0 && write(fd, block, (size_t)n) != n)
            return -1;
        bytes += n;
    }
    if (SSL_get_error(ssl, n) != SSL_ERROR_ZERO_RETURN) {
        errno = ECONNABORTED;
        bytes = -1;
    }
    EVP_MD_CTX_free(hash);
    free(block);
    return bytes;
}

static int fetch(const char *address, const char *port, const char *path)
{
    SSL_CTX *ctx = context(TLS_client_method());
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int fd = socket(AF_INET, SOCK_STREAM, 0), out = -1;
    long long bytes;
    double started;
    SSL *ssl;

    inet_pton(AF_INET, address, &at.sin_addr);
    if (path != NULL && (out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666)) < 0)
        return fail(path);
    if (ctx == NULL || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return fail("connect");
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, 128 * 1024);
    ssl = connection(ctx, fd);
    if (ssl == NULL || SSL_connect(ssl) != 1)
        return fail("handshake");
    started = now_s();
    if ((bytes = drain(ssl, out)) < 0)
        return fail("drain");
    printf("{\"bytes\": %lld, \"seconds\": %.6f}\n", bytes, now_s() - started);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], strtoull(argv[3], NULL, 10));
    if ((argc == 4 || argc == 5) && strcmp(argv[1], "fetch") == 0)
        return fetch(argv[2], argv[3], argv[4]);
    fprintf(stderr, "usage: tls-pipe serve PORT BYTES | fetch ADDRESS PORT [FILE]\n");
    return 2;
}
