#include "transfer/io/sha256.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

/* FIPS 180-2, appendix B */
static const uint8_t abc[HASH_LEN] = {
    0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
static const uint8_t nothing[HASH_LEN] = {
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55};

Test(sha256, known_answers_one_after_another)
{
    uint8_t out[HASH_LEN];
    for (int i = 0; i < 3; i++) {
        sha256("abc", 3, out);
        cr_assert_arr_eq(out, abc, HASH_LEN);
        sha256("", 0, out);
        cr_assert_arr_eq(out, nothing, HASH_LEN);
    }
}

static void *hash_many(void *arg)
{
    bool *right = arg;
    uint8_t out[HASH_LEN];
    for (int i = 0; i < 2000; i++) {
        sha256("abc", 3, out);
        *right &= memcmp(out, abc, HASH_LEN) == 0;
    }
    return NULL;
}

Test(sha256, threads_do_not_meet)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    bool right[THREADS];
    for (int i = 0; i < THREADS; i++) {
        right[i] = true;
        cr_assert(pthread_create(&threads[i], NULL, hash_many, &right[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        cr_assert(right[i]);
    }
}

Test(sha256, many_are_as_one_by_one)
{
    static const size_t lengths[] = {1, 63, 64, 65, 128, 16383, 16384},
                        counts[] = {1, 2, 7, 16, 33};
    enum { MOST = 33 };
    static uint8_t data[MOST * 16384], want[MOST * HASH_LEN], got[MOST * HASH_LEN];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * i >> 7 ^ i);
    for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            for (size_t i = 0; i < counts[c]; i++)
                sha256(data + i * lengths[l], lengths[l], want + i * HASH_LEN);
            sha256_many(data, lengths[l], counts[c], got);
            cr_assert_arr_eq(got, want, counts[c] * HASH_LEN, "%zu of %zu bytes", counts[c],
                             lengths[l]);
        }
}

/* merkle hashes a node in place: input and output may be the same bytes. */
Test(sha256, output_may_overlap_the_input)
{
    uint8_t buf[64] = "abc";
    sha256(buf, 3, buf);
    cr_assert_arr_eq(buf, abc, HASH_LEN);
}
