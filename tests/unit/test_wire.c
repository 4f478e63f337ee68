#include "transfer/core/wire.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

Test(wire, numbers_are_big_endian)
{
    uint8_t buf[15];
    struct wire_out out = wire_out(buf, sizeof(buf));
    wire_put_u8(&out, 0x01);
    wire_put_u16(&out, 0x0203);
    wire_put_u32(&out, 0x04050607);
    wire_put_u64(&out, UINT64_C(0x08090a0b0c0d0e0f));
    cr_assert(not(out.bad));
    cr_assert(eq(sz, out.used_bytes, 15));
    for (unsigned i = 0; i < 15; i++)
        cr_assert(eq(u8, buf[i], i + 1));

    struct wire_in in = wire_in(buf, sizeof(buf));
    cr_assert(eq(u8, wire_get_u8(&in), 0x01));
    cr_assert(eq(u16, wire_get_u16(&in), 0x0203));
    cr_assert(eq(u32, wire_get_u32(&in), 0x04050607));
    cr_assert(eq(u64, wire_get_u64(&in), UINT64_C(0x08090a0b0c0d0e0f)));
    cr_assert(wire_in_done(&in));
}

Test(wire, reading_past_the_end_sticks)
{
    const uint8_t buf[3] = {1, 2, 3};
    struct wire_in in = wire_in(buf, sizeof(buf));
    cr_assert(eq(u32, wire_get_u32(&in), 0));
    cr_assert(in.bad);
    /* One byte would still be there, but after an error nothing is given. */
    cr_assert(eq(u8, wire_get_u8(&in), 0));
    cr_assert(eq(ptr, (void *)wire_get_bytes(&in, 1), NULL));
    cr_assert(not(wire_in_done(&in)));
}

Test(wire, left_over_bytes_are_not_done)
{
    const uint8_t buf[3] = {1, 2, 3};
    struct wire_in in = wire_in(buf, sizeof(buf));
    cr_assert(eq(u16, wire_get_u16(&in), 0x0102));
    cr_assert(not(in.bad));
    cr_assert(not(wire_in_done(&in)));
}

Test(wire, bytes_point_into_the_input)
{
    const uint8_t buf[4] = {1, 2, 3, 4};
    struct wire_in in = wire_in(buf, sizeof(buf));
    cr_assert(eq(ptr, (void *)wire_get_bytes(&in, 0), (void *)buf));
    cr_assert(eq(ptr, (void *)wire_get_bytes(&in, 3), (void *)buf));
    cr_assert(eq(ptr, (void *)wire_get_bytes(&in, SIZE_MAX), NULL));
    cr_assert(in.bad);
}

Test(wire, copy_is_zeros_when_bad)
{
    const uint8_t buf[4] = {1, 2, 3, 4};
    uint8_t out[4];
    struct wire_in in = wire_in(buf, sizeof(buf));
    wire_get_copy(&in, out, 4);
    cr_assert_arr_eq(out, buf, 4);
    wire_get_copy(&in, out, 4);
    cr_assert_arr_eq(out, "\0\0\0\0", 4);
    cr_assert(in.bad);
}

Test(wire, empty_input_and_output)
{
    struct wire_in in = wire_in(NULL, 0);
    wire_get_copy(&in, NULL, 0);
    cr_assert(wire_in_done(&in));
    struct wire_out out = wire_out(NULL, 0);
    wire_put_bytes(&out, NULL, 0);
    cr_assert(not(out.bad));
    wire_put_u8(&out, 1);
    cr_assert(out.bad);
}

Test(wire, writing_past_the_capacity_sticks)
{
    uint8_t buf[4] = {9, 9, 9, 9};
    struct wire_out out = wire_out(buf, 3);
    wire_put_u8(&out, 1);
    wire_put_u32(&out, 0);
    cr_assert(out.bad);
    wire_put_u8(&out, 2);
    cr_assert(eq(sz, out.used_bytes, 1));
    cr_assert_arr_eq(buf, "\1\11\11\11", 4);
}
