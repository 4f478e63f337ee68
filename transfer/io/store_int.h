/* store_int: what the files of the store share among themselves; nobody else
 * includes it.
 *
 *   store.c          opening shared ones, reading, verifying, the simple getters
 *   store_receive.c  opening and resuming a receiving store
 *   store_stage.c    the staging directory and the journal in it
 *   store_write.c    chunks in, room for them
 *   store_sync.c     making durable, final names, the end of the staging directory
 *   store_fds.c      open files
 *   store_tree.c     directories and names below the root
 *
 * Locks, outermost first: sync_lock (one sync at a time; held over I/O),
 * journal_lock (appends), fds.lock and lock (memory only, never held over a
 * system call). The loop takes only the last two.
 */
#ifndef RONDA_STORE_INT_H
#define RONDA_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "transfer/core/name.h"
#include "transfer/core/verify.h"
#include "transfer/io/journal.h"
#include "transfer/io/store.h"

enum {
    STORE_SLOTS = 24,            /* of STORE_FDS_MAX: directories and journal take the rest */
    STORE_STEP_BYTES = 64 << 20, /* room is taken so far ahead of the writes */
    STORE_BULK_FILES = 64,       /* more files in one pass: syncfs() instead of one by one */
    STORE_VARIANTS_MAX = 9999,   /* "name (9999)" */
    STORE_PROBE_MAX = 16,        /* variants looked at for a file that may stand there already */
    STORE_DISK_PATH_MAX = 33 * (NAME_BYTES_MAX + 1)
};

#define STORE_NO_FILE UINT32_MAX

struct store_file {
    struct store_stamp stamp; /* in_place only */
    uint8_t *steps;           /* bitmap of STORE_STEP_BYTES steps with room taken, or NULL */
    uint32_t missing;         /* pieces not held, while not in_place */
    uint32_t variant;         /* in_place: 0 the manifest's own bytes, 1 as mapped to disk,
                                 n "name (n)"; else: 1, or more if an earlier file maps alike */
    bool in_place;
    bool dirty; /* on the dirty list */
};

struct fd_slot {
    uint32_t file; /* STORE_NO_FILE: free, or forgotten while still in use */
    int fd;        /* -1: free (no refs), or being opened by who has it pinned */
    unsigned refs;
    uint64_t used; /* clock of the least recently used rule */
};

struct store_fds {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a slot was filled, or is pinned no more */
    uint64_t clock;
    struct fd_slot slot[STORE_SLOTS];
};

/* Kept until the close: getters hand out pointers into it. */
struct store_place {
    struct store_place *older;
    char name[NAME_BYTES_MAX + 1];
    char path[];
};

struct store {
    const struct manifest *manifest;
    const struct layout *layout;
    hash_fn *hash;
    hash_many_fn *hash_many; /* may be NULL */
    bool shared;             /* the user's files, never written */
    bool single;
    uint64_t boot_mark;
    uint64_t reserve_bytes;
    bool in_memory;           /* the destination is on tmpfs */
    const _Atomic bool *stop; /* during the open; else NULL */

    int dest_fd;  /* receiving: destination; shared: parent of the file, or -1 */
    int root_fd;  /* folder of the share, -1 while it does not exist; a single file: dest_fd's */
    int stage_fd; /* -1: shared, or all is in place */
    char *dest;
    char stage_name[NAME_BYTES_MAX + 1];
    _Atomic(struct store_place *) place;

    uint32_t files, chunks;
    struct store_file *file;
    struct chunkmap have;
    uint64_t *chunk_hash; /* XXH3-64 of held chunks that a staged file has part in */
    struct store_fds fds;

    pthread_mutex_t lock, journal_lock, sync_lock;
    pthread_cond_t written;  /* a chunk left `writing` */
    struct chunkmap writing; /* chunks inside store_write() */
    struct journal *journal;
    uint64_t journal_limit_bytes;
    uint32_t *fresh; /* held chunks not synced yet */
    uint32_t *dirty; /* files written to since their last sync */
    uint32_t *whole; /* files to be given their final name */
    uint32_t fresh_count, dirty_count;
    atomic_uint whole_count;
    atomic_uint_fast64_t unsynced_bytes;
    atomic_uint_fast64_t unsynced_since_ms;
    atomic_uint_fast64_t synced_ms; /* end of the last pass; 0: none yet */
    bool names_unsynced;            /* sync_lock: a directory's sync failed after a rename */
    bool journal_doubtful;          /* sync_lock: its sync failed, and none has taken its place */
    atomic_uint files_done;
    atomic_bool done;
    atomic_bool stage_grew; /* files made in the staging directory since its last sync */
};

/* store.c */
int store_alloc(const struct store_cfg *cfg, bool shared, struct store **out) RONDA_MUST_CHECK;
/* The directory is s->dest. -ENOMEM. */
int store_place_set(struct store *s, const char *name) RONDA_MUST_CHECK;
enum store_read_flag {
    STORE_READ_CACHED = 1, /* never wait: -EAGAIN */
    STORE_READ_LENIENT = 2 /* whatever stands there, changed or not */
};
/* Bytes of a chunk, held or not. -ENOENT: no such file yet. */
int store_chunk_read(struct store *s, uint32_t chunk, uint32_t offset_bytes, uint8_t *buf,
                     uint32_t len_bytes, unsigned flags) RONDA_MUST_CHECK;
/* Whole chunk in data. 0, ERR_HASH. bad_file may be NULL. */
int store_chunk_check(struct store *s, uint32_t chunk, const uint8_t *data,
                      uint32_t *bad_file) RONDA_MUST_CHECK;
bool store_fs_is_memory(int fd); /* tmpfs */
void store_stamp_from(const struct stat *st, struct store_stamp *out);
/* dev is left out: device numbers change from boot to boot. */
bool store_stamp_same(const struct store_stamp *a, const struct store_stamp *b);

/* store_stage.c */
void stage_name_set(struct store *s);
/* Ours alone, and locked. -ENOENT: there is none yet; -EACCES: somebody else's;
 * -EBUSY: another store has it open. */
int stage_open(struct store *s) RONDA_MUST_CHECK;
/* Makes it unless it is there. */
int stage_make(struct store *s) RONDA_MUST_CHECK;
/* Closes the journal, removes what we put into the staging directory, and it,
 * unless something else is in there. */
int stage_remove(struct store *s) RONDA_MUST_CHECK;
/* Writes the journal anew from memory. journal_lock held, or nobody else there yet. */
int stage_journal_rewrite(struct store *s) RONDA_MUST_CHECK;
uint64_t stage_journal_room(const struct store *s);               /* bytes taken in advance */
bool store_chunk_in_place(const struct store *s, uint32_t chunk); /* all its files are */

/* store_write.c */
uint64_t store_space_free(int fd, uint64_t *total_bytes);

/* store_fds.c */
void fds_init(struct store_fds *f);
void fds_close_all(struct store_fds *f);
/* The open file, pinned until fds_put(); one at a time for each thread. create: a
 * staged one may be made. cached: only when it is open already and no wait is
 * needed, else -EAGAIN; else it may wait for a slot, or for another thread's open. */
int fds_get(struct store *s, uint32_t file, bool create, bool cached,
            struct fd_slot **out) RONDA_MUST_CHECK;
void fds_put(struct store *s, struct fd_slot *slot);
/* Holds file as it is, open or not: until fds_release() nobody opens it, and who gets it
 * afterwards opens it anew. Counts as the one slot that a thread may have. */
struct fd_slot *fds_hold(struct store *s, uint32_t file);
void fds_release(struct store *s, struct fd_slot *slot);
/* The next fds_get() opens anew. */
void fds_forget(struct store *s, uint32_t file);
void fds_forget_all(struct store *s);

/* store_tree.c */
/* A directory below at, through no symlink; create: made when absent (made is
 * set then). -errno; -ENOTDIR when something else stands there. */
int tree_dir(int at_fd, const char *name, bool create, bool *made) RONDA_MUST_CHECK;
/* A directory below the root of a shared folder, to look up names in. -errno. */
int tree_folder(int root_fd, const char *path) RONDA_MUST_CHECK;
/* A regular file below at by a relative path, through no symlink, read only. */
int tree_file(int at_fd, const char *path, bool same_fs) RONDA_MUST_CHECK;
/* Name on disk of the last component under a variant (store_file.variant). */
void tree_leaf(const char *component, uint32_t variant, char out[static NAME_BYTES_MAX + 1]);
/* Directory that gets file, a new descriptor; *component: its last component.
 * sync: each directory in which one was made. */
int tree_parent(struct store *s, uint32_t file, bool create, bool sync,
                const char **component) RONDA_MUST_CHECK;
/* Opens file at its final place under a variant. */
int tree_open(struct store *s, uint32_t file, uint32_t variant) RONDA_MUST_CHECK;
/* Makes dest/<final name>, when it is not there yet. */
int tree_root(struct store *s, bool create) RONDA_MUST_CHECK;
/* Sets the variants of files that map to the same bytes as an earlier one. */
int tree_collisions(struct store *s) RONDA_MUST_CHECK;
/* renameat2(RENAME_NOREPLACE), or the nearest that the filesystem has. -EEXIST. */
int tree_rename_new(int from_fd, const char *from, int to_fd, const char *to) RONDA_MUST_CHECK;

#endif
