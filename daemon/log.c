#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOG_TEXT_BYTES = 2048, LOG_LINE_BYTES = 4 * LOG_TEXT_BYTES + 64 };

/* The one exception to "no mutable file-scope variable": set by log_open(),
 * before any thread starts, and only read afterwards. */
static struct {
    enum log_level max;
    bool journal;
} state = {.max = LOG_LEVEL_INFO};

/* JOURNAL_STREAM is inherited by children with another stderr: device and inode
 * tell whether it is ours (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
    const char *env = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat st;

    if (!env || fstat(STDERR_FILENO, &st) < 0)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(env, own) == 0;
}

void log_open(enum log_level max)
{
    state.max = max;
    state.journal = stderr_is_journal();
}

/* Length of the well-formed UTF-8 character at s (RFC 3629), 0: none. s ends with NUL. */
static size_t utf8_char(const unsigned char *s, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80       ? 1
                 : s[0] >> 5 == 6  ? 2
                 : s[0] >> 4 == 14 ? 3
                 : s[0] >> 3 == 30 ? 4
                                   : 0;

    if (len < 2) {
        *code = s[0];
        return len;
    }
    *code = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    if (*code < least[len] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
        return 0;
    return len;
}

/* Would it move the cursor, end the line, or turn the text around it? */
static bool must_escape(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x61c ||
           (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

/* out holds four bytes for each of text. Returns the length. */
static size_t escape(char *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;
    uint32_t code;

    while (*s) {
        size_t len = utf8_char(s, &code);
        if (len > 0 && !must_escape(code)) {
            memcpy(out + used, s, len);
            used += len;
        } else {
            len = len ? len : 1;
            for (size_t i = 0; i < len; i++)
                used += (size_t)sprintf(out + used, "\\x%02x", s[i]);
        }
        s += len;
    }
    return used;
}

static size_t put_head(char *out, enum log_level level)
{
    static const char *const names[] = {[LOG_LEVEL_ERROR] = "error: ",
                                        [LOG_LEVEL_WARN] = "warning: ",
                                        [LOG_LEVEL_INFO] = "",
                                        [LOG_LEVEL_DEBUG] = "debug: "};
    struct timespec now;
    struct tm tm;

    if (state.journal)
        return (size_t)sprintf(out, "<%d>", (int)level);
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    size_t used = strftime(out, 32, "%H:%M:%S", &tm);
    return used +
           (size_t)sprintf(out + used, ".%03d %s", (int)(now.tv_nsec / 1000000), names[level]);
}

/* One write(2) a line, so that lines of several threads do not mix. */
static void __attribute__((format(printf, 2, 0)))
log_line(enum log_level level, const char *fmt, va_list ap)
{
    char text[LOG_TEXT_BYTES], line[LOG_LINE_BYTES];
    int saved = errno;

    if (level > state.max)
        return;
    vsnprintf(text, sizeof(text), fmt, ap);
    size_t used = put_head(line, level);
    used += escape(line + used, text);
    line[used++] = '\n';
    ssize_t n = write(STDERR_FILENO, line, used);
    (void)n; /* nowhere left to complain */
    errno = saved;
}

void log_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_ERROR, fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_WARN, fmt, ap);
    va_end(ap);
}

void log_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_INFO, fmt, ap);
    va_end(ap);
}

void log_debug(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_line(LOG_LEVEL_DEBUG, fmt, ap);
    va_end(ap);
}
