/* locate: which socket the daemon listens on. Looks at the file system, opens nothing. */
#ifndef RONDA_LOCATE_H
#define RONDA_LOCATE_H

#include <sys/types.h>

enum { LOCATE_PATH_BYTES = 4096 };

/* What is known; strings NULL or "" when not given. */
struct locate_places {
    const char *option;      /* --socket */
    const char *environment; /* $RONDA_SOCKET */
    const char *runtime_dir; /* $XDG_RUNTIME_DIR */
    const char *tmp_dir;     /* "/tmp" */
    const char *system_dir;  /* "/run" */
    uid_t uid;
};

/* The option, else the environment, whether there or not. Else the first that is
 * there of RUNTIME/ronda/, TMP/ronda-UID/ (only when that directory is ours:
 * anybody can make one there) and SYSTEM/ronda/. When none is there: where this
 * user's daemon would put it. */
void locate_socket(const struct locate_places *places, char path[static LOCATE_PATH_BYTES]);

#endif
