/* lines: cuts a byte stream into the lines of NDJSON. PURE. */
#ifndef RONDA_LINES_H
#define RONDA_LINES_H

#include <stddef.h>

/* A status line of 4096 transfers is some 4 MiB; more than this is not our daemon. */
enum { LINES_LINE_MAX = 32 << 20 };

struct lines {
    char *data; /* the line that has not ended yet */
    size_t len, room;
};

/* 0 goes on; anything else stops the feed and is its result. */
typedef int lines_fn(void *arg, const char *line, size_t len);

/* Calls fn for every line that ends in data, without its newline; empty ones are
 * left out. Result of fn, -ENOMEM, or -EMSGSIZE: a line over LINES_LINE_MAX. */
int lines_feed(struct lines *l, const char *data, size_t len, lines_fn *fn, void *arg);
/* The end of the stream: a last line that has no newline. */
int lines_end(struct lines *l, lines_fn *fn, void *arg);
void lines_free(struct lines *l);

#endif
