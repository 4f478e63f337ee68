/* exit: the exit codes of `ronda`, fixed: scripts rely on them. The daemon's
 * errors carry one of them as `code` (daemon/api.h). */
#ifndef RONDA_EXIT_H
#define RONDA_EXIT_H

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NO_DAEMON = 3,
    EXIT_NOT_FOUND = 4, /* or ambiguous */
    EXIT_INTEGRITY = 5,
    EXIT_NO_SPACE = 6,
    EXIT_STOPPED = 130 /* Ctrl-C, as a shell reports it */
};

/* Of a call that returns one of these. */
#define EXIT_MUST_CHECK __attribute__((warn_unused_result))

#endif
