/* term: what the terminal is, and the one line on stderr that is drawn over. */
#ifndef RONDA_TERM_H
#define RONDA_TERM_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/render.h"

struct term {
    bool out, err; /* stdout, stderr is a terminal */
    bool ascii;    /* its charset is not UTF-8 */
    bool colour;   /* stdout may be coloured */
    bool drawn;    /* a progress line stands on stderr */
};

/* Sets LC_CTYPE from the environment and looks at stdout and stderr. */
void term_open(struct term *t);
/* For text to `out` (stdout or stderr); asks for the size anew each time. */
struct render_style term_style(const struct term *t, FILE *out);
unsigned term_rows(void); /* of stdout; 0: unknown */

/* Draws over the progress line; without a terminal on stderr, nothing. */
void term_progress(struct term *t, const struct render_progress *p);
void term_clear(struct term *t);

/* A descriptor that becomes readable on SIGINT, SIGTERM or SIGHUP, which are
 * blocked from now on. -errno. */
int term_stop_fd(void);

#endif
