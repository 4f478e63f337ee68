#include "discovery/txt.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static int parse(struct txt *out, const char *const *items)
{
    AvahiStringList *list = NULL;
    for (; *items; items++)
        list = avahi_string_list_add(list, *items);
    int err = txt_parse(list, out);
    avahi_string_list_free(list);
    return err;
}

#define PARSE(out, ...) parse(out, (const char *const[]){__VA_ARGS__, NULL})

Test(txt, what_is_built_parses_to_the_same)
{
    const struct txt wanted = {.version = 1,
                               .flags = 0xa5,
                               .id = {0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0},
                               .catalog_version = UINT64_MAX};
    struct txt got;
    AvahiStringList *list = txt_build(&wanted);
    cr_assert_not_null(list);
    cr_assert_eq(avahi_string_list_length(list), 4);
    cr_assert_eq(txt_parse(list, &got), 0);
    cr_assert_eq(got.version, 1);
    cr_assert_eq(got.flags, 0xa5);
    cr_assert_eq(got.catalog_version, UINT64_MAX);
    cr_assert_arr_eq(got.id, wanted.id, sizeof got.id);
    avahi_string_list_free(list);
}

Test(txt, short_record_gets_zeroes_and_unknown_keys_are_skipped)
{
    struct txt t;
    cr_assert_eq(PARSE(&t, "v=2", "id=0011223344556677", "new=thing", "flag", "=x", ""), 0);
    cr_assert_eq(t.version, 2);
    cr_assert_eq(t.catalog_version, 0);
    cr_assert_eq(t.flags, 0);
    cr_assert_eq(t.id[7], 0x77);
}

Test(txt, keys_have_no_case_and_order_does_not_matter)
{
    struct txt t;
    cr_assert_eq(PARSE(&t, "F=1", "C=ff", "ID=AABBCCDDEEFF0011", "V=1"), 0);
    cr_assert_eq(t.catalog_version, 255);
    cr_assert_eq(t.id[0], 0xaa);
}

Test(txt, bad_records_are_refused_and_leave_zeroes)
{
    static const char id[] = "id=0011223344556677";
    static const char *const bad[] = {"v=",
                                      "v=0",
                                      "v=256",
                                      "v=-1",
                                      "v=+1",
                                      "v= 1",
                                      "v=1x",
                                      "v=0001",
                                      "c=",
                                      "c=x",
                                      "c=0x1",
                                      "c=00000000000000001",
                                      "f=",
                                      "f=123",
                                      "f=g",
                                      "id=",
                                      "id=00112233445566",
                                      "id=001122334455667788",
                                      "id=001122334455667g"};
    struct txt t;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bool is_version = bad[i][0] == 'v', is_id = bad[i][0] == 'i';
        int err = PARSE(&t, is_version ? "x" : "v=1", is_id ? "x" : id, bad[i]);
        cr_assert_eq(err, -EBADMSG, "%s", bad[i]);
        cr_assert_eq(t.version + t.flags + t.id[0] + t.id[7], 0, "%s", bad[i]);
    }
    cr_assert_eq(PARSE(&t, id), -EBADMSG);
    cr_assert_eq(PARSE(&t, "v=1"), -EBADMSG);
    cr_assert_eq(txt_parse(NULL, &t), -EBADMSG);
}

Test(txt, key_given_twice_is_refused)
{
    struct txt t;
    cr_assert_eq(PARSE(&t, "v=1", "id=0011223344556677", "V=1"), -EBADMSG);
    cr_assert_eq(PARSE(&t, "v=1", "id=0011223344556677", "id=0011223344556678"), -EBADMSG);
}
