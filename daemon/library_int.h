/* library_int: shared by library.c (what is known, on the loop) and library_disk.c
 * (the files, which may block: for a worker, or before the loop runs). */
#ifndef RONDA_LIBRARY_INT_H
#define RONDA_LIBRARY_INT_H

#include "daemon/library.h"

enum { LIBRARY_HEX = 2 * HASH_LEN };

struct library_blob {
    const void *data; /* NULL: this file stays as it is */
    size_t len_bytes;
};

/* What one save writes: the share's whole folder, or only its description. */
struct library_record {
    uint8_t id[HASH_LEN];
    struct library_blob info, layers, stamps; /* of whoever asked for the save */
    char *meta;                               /* malloc'd */
};

void library_hex(const uint8_t *id, char out[static LIBRARY_HEX + 1]);
int library_copy_text(char **to, const char *text) RONDA_MUST_CHECK; /* NULL: *to = NULL */
void library_share_free(struct library_share *s);
int library_share_from(const struct manifest *m, struct library_share **out) RONDA_MUST_CHECK;
char *library_describe(const struct library_share *s); /* share.json, malloc'd; NULL: no memory */

int library_disk_load(int shares_fd, hash_fn *hash, const uint8_t *id,
                      struct library_share **out) RONDA_MUST_CHECK;
int library_disk_manifest(int shares_fd, hash_fn *hash, const uint8_t *id, struct manifest **m,
                          struct store_stamp **stamps) RONDA_MUST_CHECK;
int library_disk_save(int shares_fd, const struct library_record *r) RONDA_MUST_CHECK;
int library_disk_remove(int shares_fd, const uint8_t *id) RONDA_MUST_CHECK;

#endif
