/* wire: cursors over bytes, big endian, with a sticky error. PURE.
 *
 * After the first read past the end (or write past the capacity) a cursor
 * turns to no-op and returns zeros; check `bad` once at the end (the idea is
 * Knot DNS's wire_ctx). No call allocates.
 */
#ifndef RONDA_WIRE_H
#define RONDA_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_in {
    const uint8_t *at;
    size_t left_bytes;
    bool bad;
};

struct wire_out {
    uint8_t *begin;
    size_t used_bytes;
    size_t cap_bytes;
    bool bad;
};

struct wire_in wire_in(const void *data, size_t len_bytes);
uint8_t wire_get_u8(struct wire_in *w);
uint16_t wire_get_u16(struct wire_in *w);
uint32_t wire_get_u32(struct wire_in *w);
uint64_t wire_get_u64(struct wire_in *w);
/* The next len_bytes in place (points into the input); NULL when bad. */
const uint8_t *wire_get_bytes(struct wire_in *w, size_t len_bytes);
void wire_get_copy(struct wire_in *w, void *out, size_t len_bytes); /* zeros when bad */
/* Nothing is left over and nothing went wrong. */
bool wire_in_done(const struct wire_in *w);

struct wire_out wire_out(void *buf, size_t cap_bytes);
void wire_put_u8(struct wire_out *w, uint8_t v);
void wire_put_u16(struct wire_out *w, uint16_t v);
void wire_put_u32(struct wire_out *w, uint32_t v);
void wire_put_u64(struct wire_out *w, uint64_t v);
void wire_put_bytes(struct wire_out *w, const void *data, size_t len_bytes);

#endif
