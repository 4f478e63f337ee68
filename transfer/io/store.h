/* store: the bytes of one share on disk, received or shared.
 *
 * A receiving store stages in `<dest>/.<name>-<8 hex of the id>/` (0700, same
 * filesystem), files named by index, with a journal (journal.h), and gives each
 * file its final name only when every byte of it is verified and synced:
 * renameat2(RENAME_NOREPLACE); a name already taken by something else becomes
 * "name (2)". A sharing store only reads the user's files, and refuses a block
 * whose file is no longer the one that was hashed.
 *
 * Calls marked [worker] block and belong on a worker; those of one store may run
 * on several workers at once. The others are for the loop and never block.
 * Source of the order of syncs: Pillai et al., ALICE (OSDI '14).
 */
#ifndef RONDA_STORE_H
#define RONDA_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/chunkmap.h"
#include "transfer/core/layout.h"

enum {
    STORE_SYNC_BYTES = 64 << 20, /* sync after so many unsynced bytes */
    STORE_SYNC_MS = 5000,        /* or after so long */
    STORE_REST_MS = 250,         /* between two syncs for the sake of whole files */
    STORE_FDS_MAX = 32           /* open files of one store */
};

struct store;

/* What a shared file looked like when it was hashed, or when it was finished. */
struct store_stamp {
    uint64_t dev, ino, bytes;
    int64_t mtime_ns, ctime_ns;
};

struct store_cfg {
    const struct manifest *manifest; /* complete; outlives the store */
    const struct layout *layout;     /* outlives the store */
    hash_fn *hash;
    hash_many_fn *hash_many; /* may be NULL */
    const char *dest;        /* receiving: the directory that gets the share, absolute */
    const char
        *final_name;          /* receiving: chosen at an earlier open (store_final_name), or NULL:
                                 the manifest's name, or "name (2)" when something else stands there */
    uint64_t boot_mark;       /* random, new at every boot of the machine: the same mark means that
                                 the page cache survived, so unsynced extents are worth a check */
    uint64_t reserve_bytes;   /* leave so much of the filesystem free; UINT64_MAX: max(1 GiB, 5 %),
                                 but never more than a tenth of the filesystem */
    bool as_found;            /* sharing: take what stands there, changed or gone, for
                                 store_verify() alone; it tells what is wrong with it */
    const _Atomic bool *stop; /* receiving: read during the open only; once it is true the open
                              ends with ERR_CANCELLED. NULL: never */
};

/* [worker] Opens or resumes. Skips files that already stand at their final place
 * with the right content (they count as held). Checks the space first.
 * -ENOENT: no such destination; -EBUSY: open in another store; -ENOSPC, -EACCES,
 * -EROFS, ... ; ERR_DAMAGED: the journal belongs to another share; ERR_CANCELLED: stop
 * was set. Nothing of the user's was touched after an error. */
int store_open_receive(const struct store_cfg *cfg, struct store **out) RONDA_MUST_CHECK;

/* [worker] path: the shared file, or the root of the shared folder, absolute.
 * stamps: one a file in manifest order, as the indexer or store_stamps() gave
 * them (copied). ERR_CHANGED when a file is gone or not the same; -errno: what
 * tells nothing of that (-EMFILE, -EIO; -ENOSYS: no openat2() here). */
int store_open_shared(const struct store_cfg *cfg, const char *path,
                      const struct store_stamp *stamps, struct store **out) RONDA_MUST_CHECK;

/* Closes and frees; what is staged stays for the next open. Not while a call on
 * a worker runs. NULL is fine. */
void store_close(struct store *s);
/* [worker] Removes the staging directory (never a finished file, nor what is not
 * ours in it: then the directory stays, too), for a cancelled transfer. -errno. */
int store_discard(struct store *s) RONDA_MUST_CHECK;

/* What is held, verified and readable. Grows as store_write() returns; read it
 * right after open, or after store_write() on the loop. */
const struct chunkmap *store_have(const struct store *s);

/* [worker] A verified chunk, whole. May be read back at once; durable only after
 * the next store_sync(). -ENOSPC: nothing is lost, try again later. -EIO... */
int store_write(struct store *s, uint32_t chunk, const uint8_t *data,
                uint32_t len_bytes) RONDA_MUST_CHECK;

/* len_bytes of a held chunk from offset_bytes on. store_read [worker] may wait
 * for the disk; store_read_cached reads only what the page cache has
 * (preadv2 RWF_NOWAIT; tmpfs has all) and returns -EAGAIN otherwise, or where that cannot be
 * asked. ERR_CHANGED: the file is not what was hashed; ERR_NOT_FOUND: not held; -EIO. */
int store_read(struct store *s, uint32_t chunk, uint32_t offset_bytes, uint8_t *buf,
               uint32_t len_bytes) RONDA_MUST_CHECK;
int store_read_cached(struct store *s, uint32_t chunk, uint32_t offset_bytes, uint8_t *buf,
                      uint32_t len_bytes) RONDA_MUST_CHECK;

/* [worker] Makes durable what was written: data, then journal; then finishes every
 * file whose chunks are all held: mode, sync, rename, sync of the directories.
 * Once the last file is in place the staging directory goes, unless somebody put
 * something into it; the share is done in any case. After an error
 * nothing is lost and the next call tries again, but for -EIO: what a failed sync
 * lost from the disk is no longer in store_have(), so look there again. */
int store_sync(struct store *s) RONDA_MUST_CHECK;
/* When a sync is worth while (a file is whole and the last sync STORE_REST_MS ago,
 * STORE_SYNC_BYTES waiting, or anything waiting for STORE_SYNC_MS): a time on clock_ms(),
 * maybe past; UINT64_MAX: nothing waits. And is it now? Any thread. */
uint64_t store_sync_at_ms(const struct store *s);
bool store_sync_due(const struct store *s, uint64_t now_ms);

/* Every file of the share stands verified at its final place. */
bool store_done(const struct store *s);
uint32_t store_files_done(const struct store *s);

/* The name the share got in dest ("talk", "talk (2)"); for a sharing store the
 * last component of its path. And the absolute path. Owned by the store. */
const char *store_final_name(const struct store *s);
const char *store_path(const struct store *s);
/* Stamps of all files of a finished store, manifest order, for
 * store_open_shared() later. [worker] */
int store_stamps(struct store *s, struct store_stamp *out) RONDA_MUST_CHECK;

/* [worker] Reads everything again and checks it against the manifest. Returns
 * the number of wrong chunks (0: all is well), at most INT_MAX; *first_bad is the
 * path below the root of the first wrong file (owned by the manifest) or NULL.
 * progress may be NULL; it is called on the worker after every chunk, and false
 * from it ends the reading. ERR_CANCELLED, -ENOMEM. */
int store_verify(struct store *s, bool (*progress)(void *arg, uint64_t done_bytes), void *arg,
                 const char **first_bad) RONDA_MUST_CHECK;

#endif
