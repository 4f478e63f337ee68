/* render: text for people. PURE: strings and numbers in, strings out; wcwidth()
 * follows the LC_CTYPE that main() set.
 *
 * What a neighbour chose (names, paths, error sentences that quote them) passes
 * render_escape() before it reaches a terminal, and nothing else does that job:
 * control sequences and bidi overrides are theirs to send. Escaped text is called
 * `clean` below.
 */
#ifndef RONDA_RENDER_H
#define RONDA_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RENDER_UNIT_BYTES = 32, RENDER_LINE_BYTES = 1024 };

struct render_style {
    unsigned columns; /* of the terminal; 0: no limit, nothing is cut */
    unsigned rows;    /* of the terminal, for what must fit into it; 0: no limit */
    bool colour;
    bool redraws; /* a line must not wrap: the screen is counted in lines */
    bool ascii;   /* the terminal's charset is not UTF-8 */
};

/* Writes text with control characters (C0, DEL, C1), invalid UTF-8, bidirectional
 * and invisible formatting as \xNN, one a byte, and `\` as `\\`, so that
 * what is shown means one name only. ascii: all that is not ASCII too. Stops
 * before what no longer fits whole; always ends with NUL (out_bytes >= 1).
 * Returns the bytes written, NUL not counted. */
size_t render_escape(char *out, size_t out_bytes, const char *text, size_t len, bool ascii);
/* The same, malloc'd whole. NULL: out of memory. text NULL is "". */
char *render_clean(const char *text, bool ascii);

/* Columns that clean text takes. */
unsigned render_width(const char *clean);
/* How many bytes of clean text fit into columns. */
size_t render_fit(const char *clean, unsigned columns);
/* Copies clean text, cut to columns with "..." at its end when it is longer. */
void render_shorten(char *out, size_t out_bytes, const char *clean, unsigned columns);

/* "17 B", "1.5 KiB", "256.0 MiB" */
void render_size(char out[static RENDER_UNIT_BYTES], uint64_t bytes);
/* "11.1 MiB/s" */
void render_rate(char out[static RENDER_UNIT_BYTES], double bytes_per_s);
/* "0.4 s", "23.1 s", "2 min 05 s", "3 h 07 min", "2 d 4 h" */
void render_seconds(char out[static RENDER_UNIT_BYTES], double seconds);
/* "0:09", "12:41", "1:02:03", "-:--" when it makes no sense (negative, NaN, > 99 h) */
void render_clock(char out[static RENDER_UNIT_BYTES], double seconds);

/* What a progress line tells. name: clean. */
struct render_progress {
    const char *name;
    const char *note;                 /* said in place of the rate, or NULL */
    uint64_t done_bytes, total_bytes; /* total 0: not known yet */
    double bytes_per_s;               /* < 0: not known */
    double source_copies;             /* < 0: not known */
    int64_t peers;                    /* < 0: not a transfer */
};
/* One line that fits into columns: the less important goes first when it is narrow. */
void render_progress(char out[static RENDER_LINE_BYTES], const struct render_progress *p,
                     unsigned columns);

#endif
