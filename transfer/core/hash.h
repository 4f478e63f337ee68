/* hash: how core is given a hash function. PURE: core owns none.
 *
 * SHA-256 for whatever a peer can choose (DESIGN.md D2); transfer/io/sha256.h
 * makes the one that the daemon uses.
 */
#ifndef RONDA_HASH_H
#define RONDA_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { HASH_LEN = 32 };

/* out = SHA-256(data[0..len_bytes]). Cannot fail. */
typedef void hash_fn(const void *data, size_t len_bytes, uint8_t out[static HASH_LEN]);
/* out = SHA-256(a[0..len_bytes]), SHA-256(b[0..len_bytes]): one core is faster at two of a
 * length at once than at one after the other. Where one may be given, NULL means: there is none. */
typedef void hash_pair_fn(const void *a, const void *b, size_t len_bytes,
                          uint8_t out[static 2 * HASH_LEN]);

#endif
