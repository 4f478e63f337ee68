/* sha256: the SHA-256 (OpenSSL's, SHA-NI where the CPU has it) that core is given. */
#ifndef RONDA_SHA256_H
#define RONDA_SHA256_H

#include "transfer/core/hash.h"

/* A hash_fn. Any thread; keeps one digest context a thread. */
void sha256(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN]);

/* A hash_many_fn: Intel's multi-buffer library where the build found it, else sha256() of
 * each. Any thread; keeps a manager of that library a thread. */
void sha256_many(const void *data, size_t each_bytes, size_t count, uint8_t *out);

#endif
