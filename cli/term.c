#include "cli/term.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* The C locale says nothing about the terminal: nearly all are UTF-8, and its own
 * wcwidth() knows ASCII only. */
static bool charset_open(void)
{
    setlocale(LC_CTYPE, "");
    const char *name = setlocale(LC_CTYPE, NULL);
    if (name == NULL || strcmp(name, "C") == 0 || strcmp(name, "POSIX") == 0)
        setlocale(LC_CTYPE, "C.UTF-8");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void term_open(struct term *t)
{
    const char *kind = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    bool dumb = kind == NULL || strcmp(kind, "dumb") == 0;
    *t = (struct term){.ascii = !charset_open()};
    t->out = isatty(STDOUT_FILENO) == 1 && !dumb;
    t->err = isatty(STDERR_FILENO) == 1 && !dumb;
    t->colour = t->out && (no_colour == NULL || no_colour[0] == '\0');
}

static struct winsize term_size(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    return size;
}

struct render_style term_style(const struct term *t, FILE *out)
{
    bool is_out = out == stdout, terminal = is_out ? t->out : t->err;
    struct render_style style = {.ascii = t->ascii, .colour = is_out && t->colour};
    if (terminal)
        style.columns = term_size(is_out ? STDOUT_FILENO : STDERR_FILENO).ws_col;
    return style;
}

unsigned term_rows(void)
{
    return term_size(STDOUT_FILENO).ws_row;
}

void term_progress(struct term *t, const struct render_progress *p)
{
    char line[RENDER_LINE_BYTES];
    if (!t->err)
        return;
    unsigned columns = term_style(t, stderr).columns;
    /* the last column stays free: some terminals wrap on it */
    render_progress(line, p, columns > 1 ? columns - 1 : columns);
    fprintf(stderr, "\r%s\033[K", line);
    t->drawn = true;
}

void term_clear(struct term *t)
{
    if (t->drawn)
        fputs("\r\033[K", stderr);
    t->drawn = false;
}

int term_stop_fd(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}
