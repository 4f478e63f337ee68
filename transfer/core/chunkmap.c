#include "transfer/core/chunkmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_BITS = 64 };

static size_t words_for(uint32_t chunks)
{
    return ((size_t)chunks + WORD_BITS - 1) / WORD_BITS;
}

static uint64_t bit_of(uint32_t chunk)
{
    return UINT64_C(1) << (chunk % WORD_BITS);
}

/* The bits of the last word that stand for a chunk. */
static uint64_t tail_mask(uint32_t chunks)
{
    uint32_t used = chunks % WORD_BITS;

    return used ? (UINT64_C(1) << used) - 1 : UINT64_MAX;
}

int chunkmap_init(struct chunkmap *m, uint32_t chunks)
{
    size_t words = words_for(chunks);

    memset(m, 0, sizeof(*m));
    m->words = calloc(words ? words : 1, sizeof(*m->words));
    if (!m->words)
        return -ENOMEM;
    m->chunks = chunks;
    return 0;
}

void chunkmap_free(struct chunkmap *m)
{
    if (!m)
        return;
    free(m->words);
    memset(m, 0, sizeof(*m));
}

bool chunkmap_has(const struct chunkmap *m, uint32_t chunk)
{
    return chunk < m->chunks && (m->words[chunk / WORD_BITS] & bit_of(chunk));
}

bool chunkmap_set(struct chunkmap *m, uint32_t chunk)
{
    if (chunk >= m->chunks || chunkmap_has(m, chunk))
        return false;
    m->words[chunk / WORD_BITS] |= bit_of(chunk);
    m->count++;
    return true;
}

bool chunkmap_clear(struct chunkmap *m, uint32_t chunk)
{
    if (!chunkmap_has(m, chunk))
        return false;
    m->words[chunk / WORD_BITS] &= ~bit_of(chunk);
    m->count--;
    return true;
}

void chunkmap_fill(struct chunkmap *m)
{
    size_t words = words_for(m->chunks);

    if (!words)
        return;
    memset(m->words, 0xff, words * sizeof(*m->words));
    m->words[words - 1] = tail_mask(m->chunks);
    m->count = m->chunks;
}

bool chunkmap_full(const struct chunkmap *m)
{
    return m->count == m->chunks;
}

void chunkmap_copy(struct chunkmap *dst, const struct chunkmap *src)
{
    memcpy(dst->words, src->words, words_for(src->chunks) * sizeof(*src->words));
    dst->count = src->count;
}

uint32_t chunkmap_next(const struct chunkmap *m, uint32_t from)
{
    size_t words = words_for(m->chunks);
    size_t at = from / WORD_BITS;
    uint64_t word;

    if (from >= m->chunks)
        return m->chunks;
    word = m->words[at] & ~(bit_of(from) - 1);
    while (!word) {
        if (++at == words)
            return m->chunks;
        word = m->words[at];
    }
    return (uint32_t)(at * WORD_BITS) + (uint32_t)__builtin_ctzll(word);
}

size_t chunkmap_wire_bytes(uint32_t chunks)
{
    return ((size_t)chunks + 7) / 8;
}

/* The wire puts the lowest chunk in the highest bit, we in the lowest. */
static uint8_t byte_mirror(uint8_t b)
{
    uint32_t v = b;

    v = (v & 0x0f) << 4 | (v & 0xf0) >> 4;
    v = (v & 0x33) << 2 | (v & 0xcc) >> 2;
    v = (v & 0x55) << 1 | (v & 0xaa) >> 1;
    return (uint8_t)v;
}

void chunkmap_encode(const struct chunkmap *m, uint8_t *out)
{
    size_t len_bytes = chunkmap_wire_bytes(m->chunks);

    for (size_t i = 0; i < len_bytes; i++)
        out[i] = byte_mirror((uint8_t)(m->words[i / 8] >> (i % 8 * 8)));
}

int chunkmap_decode(struct chunkmap *m, const uint8_t *in, size_t len_bytes)
{
    uint32_t used = m->chunks % 8;
    uint32_t count = 0;

    if (len_bytes != chunkmap_wire_bytes(m->chunks))
        return ERR_MESSAGE;
    if (used && (in[len_bytes - 1] & (0xff >> used)))
        return ERR_MESSAGE;
    for (size_t w = 0; w < words_for(m->chunks); w++) {
        uint64_t word = 0;

        for (size_t b = 0; b < 8 && w * 8 + b < len_bytes; b++)
            word |= (uint64_t)byte_mirror(in[w * 8 + b]) << (b * 8);
        m->words[w] = word;
        count += (uint32_t)__builtin_popcountll(word);
    }
    m->count = count;
    return 0;
}

bool chunkmap_valid(const struct chunkmap *m)
{
    size_t words = words_for(m->chunks);
    uint32_t count = 0;

    if (!m->words)
        return m->chunks == 0 && m->count == 0;
    for (size_t w = 0; w < words; w++)
        count += (uint32_t)__builtin_popcountll(m->words[w]);
    if (words && (m->words[words - 1] & ~tail_mask(m->chunks)))
        return false;
    return count == m->count;
}
