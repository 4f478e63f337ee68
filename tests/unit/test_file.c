#include "transfer/io/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static int dir_fd;

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/ronda-file-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    cr_assert(dir_fd >= 0);
}

static void teardown(void)
{
    char cmd[100];

    close(dir_fd);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    cr_assert_eq(system(cmd), 0);
}

TestSuite(file, .init = setup, .fini = teardown);

static void expect_content(const char *name, const char *want)
{
    char got[64] = {0};
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW);

    cr_assert(fd >= 0);
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600, "%o", st.st_mode);
    cr_assert_eq(read(fd, got, sizeof(got) - 1), (ssize_t)strlen(want));
    cr_assert_str_eq(got, want);
    close(fd);
}

Test(file, replace_writes_anew_and_over)
{
    char path[100];

    cr_assert_eq(file_replace(dir_fd, "a", "one and more", 12), 0);
    expect_content("a", "one and more");
    snprintf(path, sizeof(path), "%s/a", dir);
    cr_assert_eq(file_replace(AT_FDCWD, path, "two", 3), 0);
    expect_content("a", "two");
    cr_assert_eq(faccessat(dir_fd, "a.new", F_OK, 0), -1);
}

/* Neither the mode of what stood aside is kept, nor where it pointed to written. */
Test(file, replace_trusts_nothing_left_aside)
{
    int fd = openat(dir_fd, "a.new", O_WRONLY | O_CREAT, 0644);

    cr_assert(fd >= 0);
    close(fd);
    cr_assert_eq(file_replace(dir_fd, "a", "key", 3), 0);
    expect_content("a", "key");
    cr_assert_eq(symlinkat("victim", dir_fd, "b.new"), 0);
    cr_assert_eq(file_replace(dir_fd, "b", "key", 3), 0);
    expect_content("b", "key");
    cr_assert_eq(faccessat(dir_fd, "victim", F_OK, 0), -1);
}

Test(file, a_failed_replace_leaves_what_was_there)
{
    cr_assert_eq(mkdirat(dir_fd, "a", 0700), 0);
    cr_assert_eq(file_replace(dir_fd, "a", "x", 1), -EISDIR);
    cr_assert_eq(faccessat(dir_fd, "a.new", F_OK, 0), -1, "nothing stays aside");
    cr_assert_eq(file_replace(dir_fd, "none/a", "x", 1), -ENOENT);
}

/* A call that moves a part is followed by another; its error is what is told. */
Test(file, all_of_it_or_an_error)
{
    const struct rlimit limit = {.rlim_cur = 64, .rlim_max = RLIM_INFINITY};
    char data[100], back[100] = {0};
    int fd = openat(dir_fd, "a", O_RDWR | O_CREAT, 0600);

    cr_assert(fd >= 0);
    memset(data, 'x', sizeof(data));
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(file_write(fd, data, 100), -EFBIG);
    cr_assert_eq(lseek(fd, 0, SEEK_END), 64);
    cr_assert_eq(file_write_at(fd, data, 100, 10), -EFBIG);
    cr_assert_eq(file_write_at(fd, "yy", 2, 62), 0);
    cr_assert_eq(file_read_at(fd, back, 14, 50), 0);
    cr_assert_arr_eq(back, "xxxxxxxxxxxxyy", 14);
    cr_assert_eq(file_read_at(fd, back, 20, 50), -ENODATA);
    cr_assert_eq(file_read_at(fd, back, 0, 64), 0, "of nothing there is enough");
    cr_assert_eq(file_read_at(-1, back, 1, 0), -EBADF);
    close(fd);
}

Test(file, directories_are_made_all_the_way)
{
    char path[100];
    struct stat st;

    snprintf(path, sizeof(path), "%s/a/b/c", dir);
    cr_assert_eq(file_make_dirs(path), 0);
    cr_assert_eq(file_make_dirs(path), 0, "twice is no error");
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0700);
    cr_assert_eq(file_replace(dir_fd, "f", "x", 1), 0);
    snprintf(path, sizeof(path), "%s/f/b", dir);
    cr_assert_eq(file_make_dirs(path), -ENOTDIR);
}
