/* sha256: the SHA-256 (OpenSSL's, SHA-NI where the CPU has it) that core is given. */
#ifndef RONDA_SHA256_H
#define RONDA_SHA256_H

#include "transfer/core/hash.h"

/* A hash_fn. Any thread; keeps one digest context a thread. */
void sha256(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN]);

#endif
