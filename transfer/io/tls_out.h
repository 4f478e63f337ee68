/* tls_out: the BIO that OpenSSL writes its records to.
 *
 * Gathers them, so that one send(2) carries the five records of a DATA frame: a
 * system call each would cost more than their encryption, and the network stack
 * then gets one large piece in place of many. Only what the socket does not take
 * stays behind.
 */
#ifndef RONDA_TLS_OUT_H
#define RONDA_TLS_OUT_H

#include <openssl/bio.h>

#include "transfer/core/err.h"

enum { TLS_OUT_BYTES = 72 * 1024 }; /* a DATA frame's records, and short ones before it */

/* Belongs to the caller, and outlives its BIOs. NULL: no memory. */
BIO_METHOD *tls_out_method(void);
/* fd stays the caller's. NULL: no memory. */
BIO *tls_out_new(const BIO_METHOD *method, int fd);
/* Sends what is gathered. 0: all of it; -EAGAIN: the rest waits for the socket; -errno. */
int tls_out_flush(BIO *bio) RONDA_MUST_CHECK;
size_t tls_out_waiting(BIO *bio); /* bytes gathered and not sent */
/* Frees the buffer if nothing waits in it. */
void tls_out_trim(BIO *bio);

#endif
