/* library: what this node shares, holds, or is receiving; kept across restarts.
 *
 * One folder a share below <state-dir>/shares/<id in hex>/: `info` (the info
 * dictionary), `layers` (piece layers), `stamps` (of the files, once all are in
 * place), `share.json` (the rest). Each is written aside, fsynced and renamed.
 * What is damaged is renamed to `<id>.bad` and reported, never deleted; what only
 * cannot be read now is reported and left for the next start.
 * Loop thread only, but for library_load().
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
    bool origin;         /* `ronda share` was said here */
    bool changed;        /* a file is no longer what was hashed: not served; share again to mend */
    char *path;          /* HELD: file or root of the folder, absolute. Else NULL */
    char *dest;          /* RECEIVING, PAUSED: the directory it goes into. Else NULL */
    uint64_t sent_bytes; /* payload uploaded since the daemon started; not saved */
    bool delivered;      /* the others have held all of it between them; not saved */
    char *final_name;    /* RECEIVING, PAUSED: the name in dest once the store has chosen it.
                            Else NULL */
};

struct library;
struct strand;
struct workers;

struct library_cfg {
    const char *dir; /* the state directory: 0700, made when absent */
    hash_fn *hash;
    struct workers *workers; /* save there; NULL: save inside the call (tests) */
    /* One sentence: a folder that was put aside, or a save that failed. */
    void (*problem)(void *arg, const char *text);
    /* No worker takes a save now: call library_go_on() soon. With workers only. */
    void (*stuck)(void *arg);
    void *arg;
};

/* The outcome of a save, on the loop: 0 or -errno. */
typedef void library_saved_fn(void *arg, int result);

/* -errno (-EMFILE, -ENFILE, -ENOMEM also in the midst of reading); -EWOULDBLOCK: another daemon
 * holds the lock on dir. */
int library_open(const struct library_cfg *cfg, struct library **out) RONDA_MUST_CHECK;
void library_close(struct library *l); /* once the workers are freed */
bool library_saving(const struct library *l);
/* Tries again to hand a save to a worker; true: it has to be called again. */
bool library_go_on(struct library *l);

/* What is known of a share that is to be kept: held (path, stamps), or being
 * received into dest (path NULL). */
struct library_entry {
    const struct manifest *manifest; /* complete */
    const char *path;
    const struct store_stamp *stamps; /* one a file */
    bool origin;
    const char *dest;
};

/* Writes the files of a share, on a worker; saves of one share happen in the order asked
 * for. At most one waits for each share, and one for each call whose saved is not told
 * yet: a newer one takes the place of an older that nobody waits for. saved (not NULL) is told the
 * outcome, perhaps from inside the call; until then, or until the workers are freed, e->manifest
 * and e->stamps have to stay. -ENOMEM. */
int library_save(struct library *l, const struct library_entry *e, library_saved_fn *saved,
                 void *arg) RONDA_MUST_CHECK;
/* Takes a saved share in: HELD or RECEIVING; nothing of e is kept by reference. An entry of
 * the same id is replaced (and freed). ERR_LIMIT, -ENOMEM. */
int library_add(struct library *l, const struct library_entry *e,
                struct library_share **out) RONDA_MUST_CHECK;

/* Changes hold at once in memory, and are saved in the background; a save that
 * fails is told to problem. */
void library_set_state(struct library *l, struct library_share *s, enum library_state state);
void library_set_final_name(struct library *l, struct library_share *s, const char *name);
void library_set_changed(struct library *l, struct library_share *s, bool changed);
/* Forgets the share; never touches the user's files. s is freed. */
void library_remove(struct library *l, struct library_share *s);

/* Reads manifest and layers back (the caller's to free; manifest_complete holds) and
 * the stamps (malloc'd), which only what is HELD has; stamps NULL: not wanted.
 * ERR_DAMAGED: and will be the next time; -errno: perhaps only now. It reads files and
 * hashes: for a worker, while saves may go on. */
int library_load(const struct library *l, const uint8_t id[static HASH_LEN], struct manifest **m,
                 struct store_stamp **stamps) RONDA_MUST_CHECK;
/* Saves and removals run on it: a load submitted there sees what was asked for before,
 * and nothing of what is asked for later. */
struct strand *library_strand(const struct library *l);

struct library_share *library_find(const struct library *l, const uint8_t id[static HASH_LEN]);
struct library_share *library_find_key(const struct library *l, const uint8_t key[static HASH_LEN],
                                       const struct library_share *after); /* NULL: first */
/* i < library_count(), order of adding. */
uint32_t library_count(const struct library *l);
struct library_share *library_at(const struct library *l, uint32_t i);

#endif
