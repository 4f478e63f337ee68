#include "transfer/core/bencode.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

/* Walks text to its end: does the reader take all of it? */
static bool is_canonical(const char *text, size_t len)
{
    struct bencode_in in;
    struct bencode_item item;
    bencode_begin(&in, text, len);
    while (bencode_next(&in, &item) != BENCODE_DONE) {
        if (item.type == BENCODE_BAD)
            return false;
    }
    return true;
}

Test(bencode, canonical_values_pass)
{
    static const char *const good[] = {"i0e",
                                       "i1e",
                                       "i-1e",
                                       "i9223372036854775807e",
                                       "i-9223372036854775808e",
                                       "0:",
                                       "3:abc",
                                       "le",
                                       "de",
                                       "li1e1:ae",
                                       "d1:ai1e1:bi2ee",
                                       "d0:de1:adee",
                                       "d1:a0:2:aa0:1:b0:e",
                                       "lllleeee"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_expect(is_canonical(good[i], strlen(good[i])), "%s", good[i]);
}

Test(bencode, everything_else_is_refused)
{
    static const char *const bad[] = {"",
                                      "i",
                                      "ie",
                                      "i-e",
                                      "i-0e",
                                      "i00e",
                                      "i01e",
                                      "i-01e",
                                      "i+1e",
                                      "i1",
                                      "i 1e",
                                      "i1.0e",
                                      "i9223372036854775808e",
                                      "i-9223372036854775809e",
                                      "i99999999999999999999e",
                                      "1:",
                                      "1",
                                      ":",
                                      "01:a",
                                      "00:",
                                      "-1:a",
                                      "2:a",
                                      "99999999999999999999:a",
                                      "l",
                                      "d",
                                      "e",
                                      "li1e",
                                      "d1:ae",
                                      "di1e1:ae",
                                      "d1:bi1e1:ai1ee",
                                      "d1:ai1e1:ai1ee",
                                      "d1:a",
                                      "i1ei1e",
                                      "lee",
                                      "d2:aa0:1:a0:e",
                                      "x",
                                      "d1:ale",
                                      "0:0:",
                                      "d0:0:0:0:e"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect(not(is_canonical(bad[i], strlen(bad[i]))), "%s", bad[i]);
}

Test(bencode, an_error_sticks)
{
    struct bencode_in in;
    struct bencode_item item;
    bencode_begin(&in, "lx1:ae", 6);
    cr_assert(bencode_next(&in, &item) == BENCODE_LIST);
    for (int i = 0; i < 3; i++)
        cr_assert(bencode_next(&in, &item) == BENCODE_BAD);
}

Test(bencode, values_come_with_their_keys)
{
    static const char text[] = "d1:ai-7e1:bd1:c2:xye1:dl1:zee";
    struct bencode_in in;
    struct bencode_item item;
    bencode_begin(&in, text, strlen(text));
    cr_assert(bencode_next(&in, &item) == BENCODE_DICT);
    cr_assert(bencode_next(&in, &item) == BENCODE_INT);
    cr_assert(bencode_key_is(&item, "a"));
    cr_assert(eq(i64, item.number, -7));
    cr_assert(bencode_next(&in, &item) == BENCODE_DICT);
    cr_assert(bencode_key_is(&item, "b"));
    cr_assert(bencode_next(&in, &item) == BENCODE_BYTES);
    cr_assert(bencode_key_is(&item, "c"));
    cr_assert(eq(sz, item.len_bytes, 2));
    cr_assert_arr_eq(item.bytes, "xy", 2);
    cr_assert(bencode_next(&in, &item) == BENCODE_END);
    cr_assert(bencode_next(&in, &item) == BENCODE_LIST);
    cr_assert(bencode_key_is(&item, "d"));
    bencode_skip(&in, &item);
    cr_assert(bencode_next(&in, &item) == BENCODE_END);
    cr_assert(bencode_next(&in, &item) == BENCODE_DONE);
    cr_assert(bencode_next(&in, &item) == BENCODE_DONE);
}

Test(bencode, depth_has_a_ceiling)
{
    char text[2 * BENCODE_DEPTH_MAX + 2];
    memset(text, 'l', BENCODE_DEPTH_MAX);
    memset(text + BENCODE_DEPTH_MAX, 'e', BENCODE_DEPTH_MAX);
    cr_assert(is_canonical(text, 2 * BENCODE_DEPTH_MAX));
    memset(text, 'l', BENCODE_DEPTH_MAX + 1);
    memset(text + BENCODE_DEPTH_MAX + 1, 'e', BENCODE_DEPTH_MAX + 1);
    cr_assert(not(is_canonical(text, sizeof(text))));
}

static void put_sample(struct bencode_out *out)
{
    bencode_put_dict(out);
    bencode_put_text(out, "a");
    bencode_put_int(out, INT64_MIN);
    bencode_put_text(out, "b");
    bencode_put_list(out);
    bencode_put_int(out, 0);
    bencode_put_bytes(out, "0123456789", 10);
    bencode_put_raw(out, "le", 2);
    bencode_put_end(out);
    bencode_put_end(out);
}

Test(bencode, writing_counts_first_then_fills)
{
    static const char want[] = "d1:ai-9223372036854775808e1:bli0e10:0123456789leee";
    char buf[64];
    struct bencode_out count = bencode_out(NULL, 0);
    put_sample(&count);
    cr_assert(eq(sz, count.used_bytes, strlen(want)));
    struct bencode_out out = bencode_out(buf, count.used_bytes);
    put_sample(&out);
    cr_assert(eq(sz, out.used_bytes, count.used_bytes));
    cr_assert_arr_eq(buf, want, strlen(want));
    cr_assert(is_canonical(buf, out.used_bytes));
}
