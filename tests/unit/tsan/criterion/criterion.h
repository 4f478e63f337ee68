/* A stand-in for Criterion, for the tsan preset alone: Criterion's own allocator does not
 * start under ThreadSanitizer. It knows what the suites with threads use of it. Each test
 * runs in a process of its own, made before any thread is; what a failing one says in
 * words is left out, file, line and expression are there. */
#ifndef RONDA_TESTS_TSAN_CRITERION_H
#define RONDA_TESTS_TSAN_CRITERION_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TSAN_TESTS_MAX = 200, TSAN_TIMEOUT_S = 300, TSAN_SKIPPED = 99 };

struct tsan_options {
    unsigned timeout; /* ignored: here all is ten times slower */
    void (*init)(void), (*fini)(void);
};

struct tsan_test {
    const char *suite, *name;
    void (*run)(void);
    struct tsan_options with;
};

static struct tsan_test tsan_tests[TSAN_TESTS_MAX];
static int tsan_count, tsan_expect_failed;

static void tsan_add(const char *suite, const char *name, void (*run)(void),
                     struct tsan_options with)
{
    if (tsan_count == TSAN_TESTS_MAX)
        abort();
    tsan_tests[tsan_count++] = (struct tsan_test){suite, name, run, with};
}

static inline void tsan_failed(const char *file, int line, const char *what, int fatal)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    tsan_expect_failed = 1;
    if (fatal)
        _exit(1);
}

#define Test(suite, name, ...)                                                                     \
    static void suite##_##name(void);                                                              \
    __attribute__((constructor)) static void suite##_##name##_add(void)                            \
    {                                                                                              \
        tsan_add(#suite, #name, suite##_##name, (struct tsan_options){__VA_ARGS__});               \
    }                                                                                              \
    static void suite##_##name(void)

#define TSAN_HOLDS(fatal, holds)                                                                   \
    ((holds) ? (void)0 : tsan_failed(__FILE__, __LINE__, #holds, fatal))
#define cr_assert(a, ...)           TSAN_HOLDS(1, a)
#define cr_assert_not(a, ...)       TSAN_HOLDS(1, !(a))
#define cr_assert_null(a, ...)      TSAN_HOLDS(1, (a) == NULL)
#define cr_assert_not_null(a, ...)  TSAN_HOLDS(1, (a) != NULL)
#define cr_assert_eq(a, b, ...)     TSAN_HOLDS(1, (a) == (b))
#define cr_assert_neq(a, b, ...)    TSAN_HOLDS(1, (a) != (b))
#define cr_assert_lt(a, b, ...)     TSAN_HOLDS(1, (a) < (b))
#define cr_assert_leq(a, b, ...)    TSAN_HOLDS(1, (a) <= (b))
#define cr_assert_gt(a, b, ...)     TSAN_HOLDS(1, (a) > (b))
#define cr_assert_geq(a, b, ...)    TSAN_HOLDS(1, (a) >= (b))
#define cr_assert_str_eq(a, b, ...) TSAN_HOLDS(1, strcmp(a, b) == 0)
#define cr_assert_fail(...)         tsan_failed(__FILE__, __LINE__, "must not be reached", 1)
#define cr_expect(a, ...)           TSAN_HOLDS(0, a)
#define cr_expect_eq(a, b, ...)     TSAN_HOLDS(0, (a) == (b))
#define cr_expect_lt(a, b, ...)     TSAN_HOLDS(0, (a) < (b))
#define cr_expect_gt(a, b, ...)     TSAN_HOLDS(0, (a) > (b))
#define cr_skip_test(...)           _exit(TSAN_SKIPPED)

static int tsan_run(const struct tsan_test *t)
{
    int status = 0;
    pid_t pid = fork();

    if (pid < 0)
        return 1;
    if (pid == 0) {
        alarm(TSAN_TIMEOUT_S);
        if (t->with.init)
            t->with.init();
        t->run();
        if (t->with.fini)
            t->with.fini();
        exit(tsan_expect_failed); /* a race that was seen makes it 66 */
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Arguments: parts of names, of which a test must have one; none: all tests. */
int main(int argc, char **argv)
{
    int failed = 0, passed = 0;

    for (int i = 0; i < tsan_count; i++) {
        const struct tsan_test *t = &tsan_tests[i];
        int wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= strstr(t->name, argv[a]) != NULL;
        int code = wanted ? tsan_run(t) : TSAN_SKIPPED;
        if (code != 0 && code != TSAN_SKIPPED)
            fprintf(stderr, "%s.%s: FAILED (%d)\n", t->suite, t->name, code);
        failed += code != 0 && code != TSAN_SKIPPED;
        passed += code == 0;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}

#endif
