/* name: which names may come from a peer, and how they reach the disk. PURE.
 *
 * The one check for every peer-supplied name: share names and each component of a
 * path. A peer may send `..`, slashes, invalid UTF-8 on purpose.
 */
#ifndef RONDA_NAME_H
#define RONDA_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "transfer/core/err.h"

enum { NAME_BYTES_MAX = 255, NAME_PATH_BYTES_MAX = 4096 };

/* One component: 1..255 bytes, valid UTF-8 (RFC 3629), no NUL, no '/', not "."
 * nor "..". ERR_NAME otherwise. */
int name_check(const char *name, size_t len_bytes) RONDA_MUST_CHECK;

/* Is text valid UTF-8 without NUL? */
bool name_utf8(const char *text, size_t len_bytes);

/* The component as it is written to disk: control characters (C0, DEL, C1) and
 * bidirectional overrides become '_'; all else keeps its bytes. out holds
 * NAME_BYTES_MAX + 1. name passed name_check(). */
void name_to_disk(const char *name, char out[static NAME_BYTES_MAX + 1]);

/* "stem (n).ext" for the n-th try at a free name, n >= 2, cut on a character
 * boundary so that it fits NAME_BYTES_MAX. A leading dot is no extension; a
 * directory (is_dir) has none. */
void name_alternative(const char *name, unsigned n, bool is_dir,
                      char out[static NAME_BYTES_MAX + 1]);

/* Cuts text in place to at most max_bytes on a UTF-8 character boundary. */
void name_cut(char *text, size_t max_bytes);

#endif
