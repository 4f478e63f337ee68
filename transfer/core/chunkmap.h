/* chunkmap: a set of chunk numbers, as a bitmap ("have map"). PURE. */
#ifndef RONDA_CHUNKMAP_H
#define RONDA_CHUNKMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/err.h"

struct chunkmap {
    uint32_t chunks; /* numbers 0..chunks-1 */
    uint32_t count;  /* how many are in the set */
    uint64_t *words;
};

/* Empty set over chunks numbers. -ENOMEM. */
int chunkmap_init(struct chunkmap *m, uint32_t chunks) RONDA_MUST_CHECK;
void chunkmap_free(struct chunkmap *m); /* leaves an empty, zeroed struct */

bool chunkmap_has(const struct chunkmap *m, uint32_t chunk);
bool chunkmap_set(struct chunkmap *m, uint32_t chunk);   /* true: it was not there */
bool chunkmap_clear(struct chunkmap *m, uint32_t chunk); /* true: it was there */
void chunkmap_fill(struct chunkmap *m);
bool chunkmap_full(const struct chunkmap *m);
void chunkmap_copy(struct chunkmap *dst, const struct chunkmap *src); /* same chunks */
/* Smallest member >= from; m->chunks when there is none. */
uint32_t chunkmap_next(const struct chunkmap *m, uint32_t from);

/* Wire form: bit 7 of byte 0 is chunk 0 (BEP 3's bitfield), spare bits zero. */
size_t chunkmap_wire_bytes(uint32_t chunks);
void chunkmap_encode(const struct chunkmap *m, uint8_t *out);
/* ERR_MESSAGE when len_bytes is wrong or a spare bit is set; m unchanged then. */
int chunkmap_decode(struct chunkmap *m, const uint8_t *in, size_t len_bytes) RONDA_MUST_CHECK;

bool chunkmap_valid(const struct chunkmap *m); /* every invariant, for tests */

#endif
