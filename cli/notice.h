/* notice: what `get` says once, in a line of its own, where there is no terminal to draw a
 * progress line on: that it stands still, and that it goes on. PURE. */
#ifndef RONDA_NOTICE_H
#define RONDA_NOTICE_H

#include <stdint.h>

enum { NOTICE_AFTER_MS = 2000 };

struct notice { /* {0} to begin with */
    enum notice_stall { NOTICE_NONE, NOTICE_DISK_FULL, NOTICE_WAITING } stall, said;
    uint64_t since_ms; /* of stall */
};

/* Is told the state of each progress line and the time; returns what is to be said
 * now, behind the name of the share, or NULL. */
const char *notice_step(struct notice *n, const char *state, uint64_t now_ms);

#endif
