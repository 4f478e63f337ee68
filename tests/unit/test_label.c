#include "discovery/label.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *label(const char *name)
{
    static char out[64];
    label_from_name(name, "fallback", out, sizeof out);
    return out;
}

Test(label, plain_names_stay)
{
    cr_assert_str_eq(label("guest-0a1b"), "guest-0a1b");
    cr_assert_str_eq(label("Ana's laptop. The \\ old one"), "Ana's laptop. The \\ old one");
    cr_assert_str_eq(label("\xc3\xb1"
                           "and\xc3\xba \xf0\x9f\xa7\x89"),
                     "\xc3\xb1"
                     "and\xc3\xba \xf0\x9f\xa7\x89");
}

Test(label, nothing_gives_the_fallback)
{
    cr_assert_str_eq(label(""), "fallback");
    cr_assert_str_eq(label(NULL), "fallback");
}

Test(label, what_is_no_text_becomes_an_underscore)
{
    cr_assert_str_eq(label("a\x1b[31mb\n"), "a_[31mb_");
    cr_assert_str_eq(label("\x7f"), "_");
    cr_assert_str_eq(label("\xc2\x85x"), "_x"); /* C1 */
    cr_assert_str_eq(label("\xff\xfe"), "__");
    cr_assert_str_eq(label("\xc0\xaf"), "__");           /* overlong */
    cr_assert_str_eq(label("\xed\xa0\x80"), "___");      /* surrogate */
    cr_assert_str_eq(label("\xf4\x90\x80\x80"), "____"); /* over U+10FFFF */
    cr_assert_str_eq(label("a\xe2\x82"), "a__");         /* cut short */
}

Test(label, long_names_are_cut_between_characters)
{
    char name[200];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    cr_assert_eq(strlen(label(name)), 63);
    for (size_t before = 59; before <= 63; before++) { /* a 4-byte character around the edge */
        memset(name, 'x', before);
        strcpy(name + before, "\xf0\x9f\xa7\x89tail");
        size_t len = strlen(label(name));
        cr_assert_eq(len, before == 59 ? 63 : before, "%zu: %zu", before, len);
    }
}
