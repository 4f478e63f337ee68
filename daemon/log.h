/* log: the only logger. Lines go to stderr, one event a line; with a
 * sd-daemon(3) "<N>" priority prefix when stderr is the journal
 * (JOURNAL_STREAM). Whatever came from a peer is escaped here, once: control
 * characters, invalid UTF-8 and bidi overrides as \xNN. */
#ifndef RONDA_LOG_H
#define RONDA_LOG_H

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* Lines above max are dropped. Call once, before any thread starts. */
void log_open(enum log_level max);
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
