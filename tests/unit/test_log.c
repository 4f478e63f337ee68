#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

static FILE *captured;

/* stderr becomes a file of ours until the test's process ends. */
static void capture(void)
{
    captured = tmpfile();
    cr_assert_neq(dup2(fileno(captured), STDERR_FILENO), -1);
    unsetenv("JOURNAL_STREAM");
}

static void pretend_journal(void)
{
    char text[64];
    struct stat st;

    fstat(STDERR_FILENO, &st);
    snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", text, 1);
}

static const char *written(void)
{
    static char text[32768];
    ssize_t n = pread(fileno(captured), text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

TestSuite(log, .init = capture);

Test(log, levels_have_priorities_in_the_journal)
{
    pretend_journal();
    log_open(LOG_LEVEL_DEBUG);
    log_error("a %d", 1);
    log_warn("b");
    log_info("c");
    log_debug("d");
    cr_assert_str_eq(written(), "<3>a 1\n<4>b\n<6>c\n<7>d\n");
}

Test(log, a_stranger_journal_is_not_ours)
{
    setenv("JOURNAL_STREAM", "1:1", 1);
    log_open(LOG_LEVEL_INFO);
    log_warn("b");
    cr_assert_null(strchr(written(), '<'));
    cr_assert_not_null(strstr(written(), " warning: b\n"));
}

Test(log, lines_above_the_level_are_dropped)
{
    log_open(LOG_LEVEL_WARN);
    log_info("no");
    log_debug("no");
    cr_assert_str_eq(written(), "");
    log_warn("yes");
    cr_assert_not_null(strstr(written(), "yes"));
}

Test(log, what_could_fool_a_reader_is_escaped)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain ñandú 日本 🎉", "plain ñandú 日本 🎉"},
        {"two\nlines\r", "two\\x0alines\\x0d"},
        {"\x1b[31mred\x07", "\\x1b[31mred\\x07"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* C1: CSI */
        {"a\xe2\x80\xae"
         "b",
         "a\\xe2\\x80\\xaeb"}, /* right-to-left override */
        {"a\xe2\x81\xa6"
         "b",
         "a\\xe2\\x81\\xa6b"}, /* isolate */
        {"a\xe2\x80\xa8"
         "b",
         "a\\xe2\\x80\\xa8b"}, /* line separator */
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
        {"cut \xe6\x97", "cut \\xe6\\x97"},
    };

    pretend_journal();
    log_open(LOG_LEVEL_INFO);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[256];
        cr_assert_eq(ftruncate(fileno(captured), 0), 0);
        lseek(fileno(captured), 0, SEEK_SET);
        log_info("%s", cases[i].in);
        snprintf(line, sizeof(line), "<6>%s\n", cases[i].out);
        cr_expect_str_eq(written(), line, "case %zu", i);
    }
}

Test(log, an_endless_text_is_cut)
{
    static char text[5000];

    pretend_journal();
    log_open(LOG_LEVEL_INFO);
    memset(text, 1, sizeof(text) - 1); /* the worst: each byte becomes four */
    log_info("%s", text);
    cr_assert_gt(strlen(written()), 4000);
    cr_assert_lt(strlen(written()), 10000);
    cr_assert_eq(written()[strlen(written()) - 1], '\n');
}
