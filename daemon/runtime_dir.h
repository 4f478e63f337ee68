/* runtime_dir: the directory for what lives as long as this boot of the machine: the
 * control socket and the boot mark. Nothing is opened in it before it was checked. */
#ifndef RONDA_RUNTIME_DIR_H
#define RONDA_RUNTIME_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/err.h"

/* Makes it (0700, with what is above it) when absent. It must be a directory of ours
 * or root's, no symlink, that nobody else may write to. group: its group may enter.
 * -errno, -EPERM; error: one sentence. */
int runtime_dir_make(const char *path, bool *group, char error[static 1024]) RONDA_MUST_CHECK;
/* The same number until the machine boots anew (the directory is on a tmpfs): the page
 * cache has lived through a plain kill, so what was written and not synced may be
 * believed. -errno, -EPERM. */
int runtime_dir_boot_mark(const char *dir, uint64_t *mark) RONDA_MUST_CHECK;

#endif
