/* sha256: the SHA-256 (OpenSSL's, SHA-NI where the CPU has it) that core is given. */
#ifndef RONDA_SHA256_H
#define RONDA_SHA256_H

#include "transfer/core/hash.h"

/* A hash_fn. Any thread; keeps one digest context a thread. */
void sha256(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN]);

/* A hash_pair_fn: quick where the CPU has SHA-NI and len_bytes is a multiple of 64, else
 * sha256() twice. Any thread. out may not overlap the input. */
void sha256_pair(const void *a, const void *b, size_t len_bytes, uint8_t out[static 2 * HASH_LEN]);

#endif
