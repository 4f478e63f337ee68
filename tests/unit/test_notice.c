#include <criterion/criterion.h>

#include "cli/notice.h"

static void expect_none(struct notice *n, const char *state, uint64_t now_ms)
{
    const char *text = notice_step(n, state, now_ms);
    cr_expect_null(text, "%s at %llu: %s", state, (unsigned long long)now_ms, text);
}

static void expect_text(struct notice *n, const char *state, uint64_t now_ms, const char *want)
{
    const char *text = notice_step(n, state, now_ms);
    cr_assert_not_null(text, "%s at %llu", state, (unsigned long long)now_ms);
    cr_expect_str_eq(text, want);
}

Test(notice, a_short_stall_is_not_worth_a_line)
{
    struct notice n = {0};
    expect_none(&n, "running", 9000);
    expect_none(&n, "waiting", 10000);
    expect_none(&n, "waiting", 12000);
    expect_none(&n, "running", 12500);
    expect_none(&n, "disk-full", 13000);
    expect_none(&n, "waiting", 15000); /* another reason: its own time */
    expect_none(&n, "finishing", 17000);
}

Test(notice, each_change_is_said_once)
{
    struct notice n = {0};
    expect_none(&n, "disk-full", 0);
    expect_text(&n, "disk-full", 2001, "the disk is full: goes on when there is space");
    expect_none(&n, "disk-full", 90000);
    expect_none(&n, "waiting", 90500);
    expect_text(&n, "waiting", 92501, "nobody who has it can be reached: waiting");
    expect_text(&n, "running", 92600, "goes on");
    expect_none(&n, "running", 92700);
    expect_none(&n, "waiting", 92800);
    expect_text(&n, "waiting", 95000, "nobody who has it can be reached: waiting");
}

Test(notice, a_failure_does_not_go_on)
{
    struct notice n = {0};
    expect_none(&n, "waiting", 1);
    expect_text(&n, "waiting", 3000, "nobody who has it can be reached: waiting");
    expect_none(&n, "failed", 4000);
    expect_none(&n, "paused", 4000);
}
