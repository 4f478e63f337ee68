#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/chunkmap.h"

static struct chunkmap map_of(uint32_t chunks)
{
    struct chunkmap m;

    cr_assert_eq(chunkmap_init(&m, chunks), 0);
    return m;
}

Test(chunkmap, starts_empty)
{
    struct chunkmap m = map_of(100);

    cr_assert_eq(m.count, 0);
    cr_assert(!chunkmap_full(&m));
    cr_assert_eq(chunkmap_next(&m, 0), 100);
    cr_assert(chunkmap_valid(&m));
    chunkmap_free(&m);
    cr_assert_null(m.words);
    chunkmap_free(&m);
    chunkmap_free(NULL);
}

Test(chunkmap, set_and_clear_tell_whether_anything_changed)
{
    struct chunkmap m = map_of(65);

    cr_assert(chunkmap_set(&m, 64));
    cr_assert(!chunkmap_set(&m, 64));
    cr_assert(chunkmap_has(&m, 64));
    cr_assert(!chunkmap_has(&m, 63));
    cr_assert_eq(m.count, 1);
    cr_assert(chunkmap_clear(&m, 64));
    cr_assert(!chunkmap_clear(&m, 64));
    cr_assert_eq(m.count, 0);
    chunkmap_free(&m);
}

Test(chunkmap, numbers_out_of_range_are_never_members)
{
    struct chunkmap m = map_of(10);

    chunkmap_fill(&m);
    cr_assert(!chunkmap_has(&m, 10));
    cr_assert(!chunkmap_set(&m, 10));
    cr_assert(!chunkmap_clear(&m, UINT32_MAX));
    cr_assert(chunkmap_valid(&m));
    chunkmap_free(&m);
}

Test(chunkmap, fill_at_every_size)
{
    for (uint32_t n = 0; n <= 200; n++) {
        struct chunkmap m = map_of(n);

        chunkmap_fill(&m);
        cr_assert(chunkmap_full(&m));
        cr_assert(chunkmap_valid(&m), "size %u", n);
        cr_assert_eq(chunkmap_next(&m, n), n);
        chunkmap_free(&m);
    }
}

Test(chunkmap, next_finds_every_member_in_order)
{
    struct chunkmap m = map_of(1000);
    static const uint32_t members[] = {0, 1, 63, 64, 127, 500, 999};
    uint32_t at = 0;

    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
        chunkmap_set(&m, members[i]);
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        at = chunkmap_next(&m, at);
        cr_assert_eq(at, members[i]);
        at++;
    }
    cr_assert_eq(chunkmap_next(&m, at), 1000);
    cr_assert_eq(chunkmap_next(&m, UINT32_MAX), 1000);
    chunkmap_free(&m);
}

/* BEP 3: the high bit of the first byte is index 0. */
Test(chunkmap, wire_form_is_a_bitfield)
{
    struct chunkmap m = map_of(12);
    uint8_t wire[2];

    chunkmap_set(&m, 0);
    chunkmap_set(&m, 9);
    cr_assert_eq(chunkmap_wire_bytes(12), 2);
    chunkmap_encode(&m, wire);
    cr_assert_eq(wire[0], 0x80);
    cr_assert_eq(wire[1], 0x40);
    chunkmap_free(&m);
}

Test(chunkmap, decode_refuses_length_and_spare_bits_and_keeps_the_map)
{
    struct chunkmap m = map_of(12);
    const uint8_t spare[2] = {0, 0x08};
    const uint8_t lowest[2] = {0xff, 0xf0};

    chunkmap_set(&m, 3);
    cr_assert_eq(chunkmap_decode(&m, spare, 2), ERR_MESSAGE);
    cr_assert_eq(chunkmap_decode(&m, lowest, 1), ERR_MESSAGE);
    cr_assert_eq(chunkmap_decode(&m, lowest, 3), ERR_MESSAGE);
    cr_assert(chunkmap_has(&m, 3));
    cr_assert_eq(m.count, 1);
    cr_assert_eq(chunkmap_decode(&m, lowest, 2), 0);
    cr_assert(chunkmap_full(&m));
    cr_assert(chunkmap_valid(&m));
    chunkmap_free(&m);
}

Test(chunkmap, encode_then_decode_is_the_same_set)
{
    unsigned seed = 7;

    for (uint32_t n = 0; n < 300; n++) {
        struct chunkmap a = map_of(n), b = map_of(n);
        uint8_t wire[64];

        for (uint32_t c = 0; c < n; c++)
            if (rand_r(&seed) % 2)
                chunkmap_set(&a, c);
        chunkmap_encode(&a, wire);
        cr_assert_eq(chunkmap_decode(&b, wire, chunkmap_wire_bytes(n)), 0);
        cr_assert(chunkmap_valid(&b));
        cr_assert_eq(a.count, b.count);
        for (uint32_t c = 0; c < n; c++)
            cr_assert_eq(chunkmap_has(&a, c), chunkmap_has(&b, c), "chunk %u of %u", c, n);
        chunkmap_free(&a);
        chunkmap_free(&b);
    }
}

Test(chunkmap, copy_takes_members_and_count)
{
    struct chunkmap a = map_of(70), b = map_of(70);

    chunkmap_set(&a, 69);
    chunkmap_set(&b, 1);
    chunkmap_copy(&b, &a);
    cr_assert(chunkmap_has(&b, 69));
    cr_assert(!chunkmap_has(&b, 1));
    cr_assert_eq(b.count, 1);
    chunkmap_free(&a);
    chunkmap_free(&b);
}

Test(chunkmap, valid_sees_a_wrong_count_and_stray_bits)
{
    struct chunkmap m = map_of(5);

    m.count = 1;
    cr_assert(!chunkmap_valid(&m));
    m.words[0] = UINT64_C(1) << 5;
    cr_assert(!chunkmap_valid(&m));
    chunkmap_free(&m);
}
