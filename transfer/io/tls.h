/* tls: who we are and how a connection is protected.
 *
 * Owns the node's Ed25519 key and the OpenSSL context. TLS 1.3 only, X25519,
 * mutual certificates, ALPN "ronda/1", no tickets, no session cache, no PSK.
 * NodeID = SHA-256(SubjectPublicKeyInfo). The certificate is self-signed, constant
 * name, dates 1970-9999; the other side's must be exactly one Ed25519 certificate of
 * at most 1 KiB; its dates and issuer do not matter.
 */
#ifndef RONDA_TLS_H
#define RONDA_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/err.h"
#include "transfer/core/hash.h"

enum { TLS_CERT_BYTES_MAX = 1024 };

struct tls;

/* Reads the key at key_path (PEM, PKCS#8), or makes one there (0600, written
 * aside, fsynced, renamed). A file that is there but is no Ed25519 key:
 * ERR_DAMAGED, and it is left as it is. -errno, -ENOMEM, ERR_TLS. */
int tls_new(const char *key_path, struct tls **out) RONDA_MUST_CHECK;
void tls_free(struct tls *t);
const uint8_t *tls_node_id(const struct tls *t); /* HASH_LEN bytes */

/* A new SSL for one connection over fd (which stays the caller's), for the caller to
 * SSL_free(). What it writes gathers until tls_flush(): call that after whatever may
 * have written. NULL: no memory. */
SSL *tls_ssl(struct tls *t, int fd, bool dialer);
/* 0: all is with the socket; -EAGAIN: the rest waits until it is writable; -errno. */
int tls_flush(SSL *ssl) RONDA_MUST_CHECK;
size_t tls_unsent(const SSL *ssl); /* bytes, TLS included, that wait for tls_flush() */
/* Frees the buffers that hold nothing. */
void tls_trim(SSL *ssl);
/* NodeID of the other side after the handshake. ERR_TLS when there is none. */
int tls_peer_id(SSL *ssl, uint8_t out[static HASH_LEN]) RONDA_MUST_CHECK;

#endif
