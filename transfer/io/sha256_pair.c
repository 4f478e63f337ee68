/* Two SHA-256 at once (FIPS 180-4; Intel SHA extensions). One alone leaves the unit half
 * idle: each instruction waits for the one before. The second's go in between. */
#include "transfer/io/sha256.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define SHA_NI        __attribute__((target("sha,sse4.1")))
#define SHA_NI_INLINE inline __attribute__((target("sha,sse4.1"), always_inline))

enum { BLOCK_BYTES = 64, LENGTH_BYTES = 8 };

static const uint32_t round_keys[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* One hash on its way: its eight words as the instructions want them (first named, highest),
 * and the next sixteen words of the message schedule. */
struct lane {
    __m128i abef, cdgh, w[4];
};

static SHA_NI void lane_begin(struct lane *l)
{
    l->abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c);
    l->cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19);
}

static SHA_NI void lane_end(const struct lane *l, uint8_t out[static HASH_LEN])
{
    static const unsigned order[8] = {3, 2, 7, 6, 1, 0, 5, 4}; /* of a, b, ... in word */
    uint32_t word[8];

    _mm_storeu_si128((__m128i *)word, l->abef);
    _mm_storeu_si128((__m128i *)(word + 4), l->cdgh);
    for (size_t i = 0; i < 8; i++) {
        uint32_t big_endian = __builtin_bswap32(word[order[i]]);

        memcpy(out + 4 * i, &big_endian, sizeof(big_endian));
    }
}

static SHA_NI_INLINE void lane_load(struct lane *l, const uint8_t *block)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

    for (int i = 0; i < 4; i++)
        l->w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), big_endian);
}

/* Four rounds, with words 4 i .. 4 i + 3 of those in w. */
static SHA_NI_INLINE void lane_rounds(struct lane *l, int i, const uint32_t *keys)
{
    __m128i wk = _mm_add_epi32(l->w[i], _mm_load_si128((const __m128i *)(keys + 4 * i)));

    l->cdgh = _mm_sha256rnds2_epu32(l->cdgh, l->abef, wk);
    l->abef = _mm_sha256rnds2_epu32(l->abef, l->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

/* The four words sixteen further on, in place of those. */
static SHA_NI_INLINE void lane_schedule(struct lane *l, int i)
{
    __m128i w1 = l->w[(i + 1) % 4], w2 = l->w[(i + 2) % 4], w3 = l->w[(i + 3) % 4];
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(l->w[i], w1), _mm_alignr_epi8(w3, w2, 4));

    l->w[i] = _mm_sha256msg2_epu32(sum, w3);
}

static SHA_NI_INLINE void both_step(struct lane *x, struct lane *y, int i, const uint32_t *keys)
{
    lane_rounds(x, i, keys);
    lane_rounds(y, i, keys);
    lane_schedule(x, i);
    lane_schedule(y, i);
}

static SHA_NI_INLINE void both_block(struct lane *x, struct lane *y)
{
    const uint32_t *keys = round_keys;

    for (; keys < round_keys + 48; keys += 16) {
        both_step(x, y, 0, keys);
        both_step(x, y, 1, keys);
        both_step(x, y, 2, keys);
        both_step(x, y, 3, keys);
    }
    for (int i = 0; i < 4; i++) {
        lane_rounds(x, i, keys);
        lane_rounds(y, i, keys);
    }
}

static SHA_NI_INLINE void lane_add(struct lane *l, const struct lane *before)
{
    l->abef = _mm_add_epi32(l->abef, before->abef);
    l->cdgh = _mm_add_epi32(l->cdgh, before->cdgh);
}

static SHA_NI void both_add(struct lane *x, struct lane *y, const uint8_t *a, const uint8_t *b,
                            size_t blocks)
{
    struct lane p = *x, q = *y; /* in registers */

    for (; blocks > 0; blocks--, a += BLOCK_BYTES, b += BLOCK_BYTES) {
        const struct lane p_before = p, q_before = q;

        lane_load(&p, a);
        lane_load(&q, b);
        both_block(&p, &q);
        lane_add(&p, &p_before);
        lane_add(&q, &q_before);
    }
    *x = p;
    *y = q;
}

static SHA_NI void pair_hash(const void *a, const void *b, size_t len_bytes,
                             uint8_t out[static 2 * HASH_LEN])
{
    struct lane x, y;
    uint8_t last[BLOCK_BYTES] = {0x80};
    uint64_t bits = __builtin_bswap64((uint64_t)len_bytes * 8);

    memcpy(last + BLOCK_BYTES - LENGTH_BYTES, &bits, LENGTH_BYTES);
    lane_begin(&x);
    lane_begin(&y);
    both_add(&x, &y, a, b, len_bytes / BLOCK_BYTES);
    both_add(&x, &y, last, last, 1);
    lane_end(&x, out);
    lane_end(&y, out + HASH_LEN);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_sha_ni;

static void look_at_cpu(void)
{
    unsigned a, b, c, d;

    have_sha_ni = __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
                  (b & bit_SHA) != 0;
}

void sha256_pair(const void *a, const void *b, size_t len_bytes, uint8_t out[static 2 * HASH_LEN])
{
    pthread_once(&once, look_at_cpu);
    if (have_sha_ni && len_bytes % BLOCK_BYTES == 0) {
        pair_hash(a, b, len_bytes, out);
        return;
    }
    sha256(a, len_bytes, out);
    sha256(b, len_bytes, out + HASH_LEN);
}

#else

void sha256_pair(const void *a, const void *b, size_t len_bytes, uint8_t out[static 2 * HASH_LEN])
{
    sha256(a, len_bytes, out);
    sha256(b, len_bytes, out + HASH_LEN);
}

#endif
