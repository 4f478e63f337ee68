/* hash: how core is given a hash function. PURE: core owns none.
 *
 * SHA-256 for whatever a peer can choose, for XXH3 can be forged on purpose;
 * transfer/io/sha256.h makes the one that the daemon uses.
 */
#ifndef RONDA_HASH_H
#define RONDA_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { HASH_LEN = 32 };

/* out = SHA-256(data[0..len_bytes]). Cannot fail. */
typedef void hash_fn(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN]);
/* The SHA-256 of each of count pieces of each_bytes (not 0) that follow one another in data; out
 * takes count * HASH_LEN bytes, and may not overlap data. One core is faster at several side by
 * side than one after another. Cannot fail. Where one may be given, NULL means: there is none. */
typedef void hash_many_fn(const void *data, size_t each_bytes, size_t count, uint8_t *out);

#endif
