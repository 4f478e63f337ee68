/* library: what this node shares, holds, or is receiving; kept across restarts.
 *
 * One folder a share below <state-dir>/shares/<id in hex>/: `info` (the info
 * dictionary), `layers` (piece layers), `stamps` (of the files, once all are in
 * place), `share.json` (the rest). Each is written aside, fsynced and renamed.
 * What does not load is renamed to `<id>.bad` and reported, never deleted.
 * Loop thread only; the files are small, but for library_load().
 */
#ifndef RONDA_LIBRARY_H
#define RONDA_LIBRARY_H

#include <stdbool.h>
#include <stdint.h>

#include "transfer/core/manifest.h"
#include "transfer/io/store.h"

enum { LIBRARY_SHARES_MAX = 4096 };

enum library_state {
    LIBRARY_RECEIVING, /* a transfer that goes on by itself after a restart */
    LIBRARY_PAUSED,    /* stopped by the user; staged bytes are kept */
    LIBRARY_HELD       /* complete: shared here, or received whole */
};

struct library_share { /* owned by the library; valid until removed */
    uint8_t id[HASH_LEN];
    uint8_t key[HASH_LEN];
    char *name; /* the manifest's */
    uint64_t bytes;
    uint32_t files;
    uint32_t chunks;
    enum library_state state;
    bool origin;      /* `ronda share` was said here */
    bool changed;     /* a file is no longer what was hashed: not served; share again to mend */
    char *path;       /* HELD: file or root of the folder, absolute. Else NULL */
    char *dest;       /* received: the directory it went or goes into */
    char *final_name; /* received: the name in dest once the store has chosen it, or NULL */
};

struct library;

/* dir: the state directory (0700, made when absent). problem is told each folder
 * that was put aside. -errno, -ENOMEM; -EWOULDBLOCK: another daemon holds the
 * lock on dir. */
int library_open(const char *dir, hash_fn *hash, void (*problem)(void *arg, const char *text),
                 void *arg, struct library **out) RONDA_MUST_CHECK;
void library_close(struct library *l);

/* A share said here, or one received and finished: HELD. An entry of the same id
 * is replaced. stamps: one a file. m stays the caller's. -errno, ERR_LIMIT. */
int library_add_held(struct library *l, const struct manifest *m, const char *path, bool origin,
                     const struct store_stamp *stamps, struct library_share **out) RONDA_MUST_CHECK;
/* A transfer that begins (manifest complete). */
int library_add_receiving(struct library *l, const struct manifest *m, const char *dest,
                          struct library_share **out) RONDA_MUST_CHECK;
/* Saves a change of state, final_name, changed. */
int library_set_state(struct library *l, struct library_share *s,
                      enum library_state state) RONDA_MUST_CHECK;
int library_set_final_name(struct library *l, struct library_share *s,
                           const char *name) RONDA_MUST_CHECK;
int library_set_changed(struct library *l, struct library_share *s, bool changed) RONDA_MUST_CHECK;
/* Forgets the share; never touches the user's files. s is freed. */
int library_remove(struct library *l, struct library_share *s) RONDA_MUST_CHECK;

/* Reads manifest and layers (the caller's to free; manifest_complete holds) and,
 * for HELD, the stamps (malloc'd; else NULL). ERR_DAMAGED when damaged, -errno. */
int library_load(const struct library *l, const struct library_share *s, struct manifest **m,
                 struct store_stamp **stamps) RONDA_MUST_CHECK;

struct library_share *library_find(const struct library *l, const uint8_t id[static HASH_LEN]);
struct library_share *library_find_key(const struct library *l, const uint8_t key[static HASH_LEN],
                                       const struct library_share *after); /* NULL: first */
/* i < library_count(), order of adding. */
uint32_t library_count(const struct library *l);
struct library_share *library_at(const struct library *l, uint32_t i);

#endif
