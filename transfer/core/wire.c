#include "transfer/core/wire.h"

#include <string.h>

struct wire_in wire_in(const void *data, size_t len_bytes)
{
    return (struct wire_in){.at = data, .left_bytes = len_bytes};
}

const uint8_t *wire_get_bytes(struct wire_in *w, size_t len_bytes)
{
    if (w->bad || len_bytes > w->left_bytes) {
        w->bad = true;
        return NULL;
    }
    const uint8_t *bytes = w->at;
    if (len_bytes > 0)
        w->at += len_bytes;
    w->left_bytes -= len_bytes;
    return bytes;
}

static uint64_t get_number(struct wire_in *w, size_t len_bytes)
{
    const uint8_t *bytes = wire_get_bytes(w, len_bytes);
    if (!bytes)
        return 0;
    uint64_t v = 0;
    for (size_t i = 0; i < len_bytes; i++)
        v = v << 8 | bytes[i];
    return v;
}

uint8_t wire_get_u8(struct wire_in *w)
{
    return (uint8_t)get_number(w, 1);
}

uint16_t wire_get_u16(struct wire_in *w)
{
    return (uint16_t)get_number(w, 2);
}

uint32_t wire_get_u32(struct wire_in *w)
{
    return (uint32_t)get_number(w, 4);
}

uint64_t wire_get_u64(struct wire_in *w)
{
    return get_number(w, 8);
}

void wire_get_copy(struct wire_in *w, void *out, size_t len_bytes)
{
    const uint8_t *bytes = wire_get_bytes(w, len_bytes);
    if (len_bytes == 0)
        return;
    if (bytes)
        memcpy(out, bytes, len_bytes);
    else
        memset(out, 0, len_bytes);
}

bool wire_in_done(const struct wire_in *w)
{
    return !w->bad && w->left_bytes == 0;
}

struct wire_out wire_out(void *buf, size_t cap_bytes)
{
    return (struct wire_out){.begin = buf, .cap_bytes = cap_bytes};
}

void wire_put_bytes(struct wire_out *w, const void *data, size_t len_bytes)
{
    if (w->bad || len_bytes > w->cap_bytes - w->used_bytes) {
        w->bad = true;
        return;
    }
    if (len_bytes > 0)
        memcpy(w->begin + w->used_bytes, data, len_bytes);
    w->used_bytes += len_bytes;
}

static void put_number(struct wire_out *w, uint64_t v, size_t len_bytes)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < len_bytes; i++)
        bytes[i] = (uint8_t)(v >> 8 * (len_bytes - 1 - i));
    wire_put_bytes(w, bytes, len_bytes);
}

void wire_put_u8(struct wire_out *w, uint8_t v)
{
    put_number(w, v, 1);
}

void wire_put_u16(struct wire_out *w, uint16_t v)
{
    put_number(w, v, 2);
}

void wire_put_u32(struct wire_out *w, uint32_t v)
{
    put_number(w, v, 4);
}

void wire_put_u64(struct wire_out *w, uint64_t v)
{
    put_number(w, v, 8);
}
