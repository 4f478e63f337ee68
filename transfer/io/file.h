/* file: small files written whole, and directories on the way to them. All of it
 * blocks.
 */
#ifndef RONDA_FILE_H
#define RONDA_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "transfer/core/err.h"

/* All of data, however many writes that takes. -errno. */
int file_write(int fd, const void *data, size_t len_bytes) RONDA_MUST_CHECK;
int file_write_at(int fd, const void *data, size_t len_bytes,
                  uint64_t offset_bytes) RONDA_MUST_CHECK;
/* len_bytes from offset_bytes on. -ENODATA: the file ends before; -errno. */
int file_read_at(int fd, void *data, size_t len_bytes, uint64_t offset_bytes) RONDA_MUST_CHECK;

/* The file `name` below dir_fd (a path from AT_FDCWD) holds data from now on, mode
 * 0600: written to "<name>.new", synced, renamed. After a crash it is there whole,
 * as it was or as it is now, and perhaps a "<name>.new" beside it. The directory is
 * not synced: that is the caller's, once for all files in it. -errno: the file
 * that was there is untouched. */
int file_replace(int dir_fd, const char *name, const void *data, size_t len_bytes) RONDA_MUST_CHECK;

/* path and whatever is missing above it, 0700. What is there already stays as it
 * is, a directory or not. -errno. */
int file_make_dirs(const char *path) RONDA_MUST_CHECK;

#endif
