/* journal: what is known about the bytes of a share being received. Owns the
 * file `journal` in the staging directory.
 *
 * A header {8 magic and version, 32 share id, 16 random uuid, u64 XXH3-64 of
 * these}, then records {u32 payload length, u16 type, u16 flags (0), u64 seq,
 * payload, u64 XXH3-64 of all before, seeded with the uuid}, big endian; seq
 * counts 1, 2, 3... A new uuid at every rewrite keeps stale bytes from ever
 * passing for records.
 *
 *   EXTENT     u32 chunk, u64 XXH3-64 of its bytes: they were written (advisory)
 *   SYNCED     u64 upto, u64 boot mark: EXTENTs with seq <= upto are durable; later
 *              ones were written under this boot mark
 *   FILE_DONE  u32 file: whole, synced, about to get its final name
 *   RENAMED    u32 file, u32 variant, u64 ino, u64 bytes, i64 mtime_ns, i64 ctime_ns:
 *              it stands at its final place
 *   DROP       u32 chunk: no longer to be believed
 *   NAME       the name that the share gets in its destination
 *
 * Replay stops at the first bad record. Nothing good after it: a torn tail. A
 * good record somewhere after it: the file is damaged, and nothing it says is
 * worth more than a hint. One thread at a time, the caller sees to that.
 */
#ifndef RONDA_JOURNAL_H
#define RONDA_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/err.h"
#include "transfer/core/hash.h"

enum {
    JOURNAL_HEAD_BYTES = 64,
    JOURNAL_PAYLOAD_MAX = 255,
    JOURNAL_RECORD_MAX = 24 + JOURNAL_PAYLOAD_MAX,
    JOURNAL_COMPACT_BYTES =
        4 << 20,                  /* rewrite above this (and twice its size when last rewritten) */
    JOURNAL_BYTES_MAX = 512 << 20 /* a longer file is not read */
};

enum journal_type {
    JOURNAL_EXTENT = 1,
    JOURNAL_SYNCED,
    JOURNAL_FILE_DONE,
    JOURNAL_RENAMED,
    JOURNAL_DROP,
    JOURNAL_NAME
};

struct journal_record {
    enum journal_type type;
    uint64_t seq; /* set by replay, and by journal_put() */
    uint32_t chunk;
    uint32_t file;
    uint32_t variant;
    uint64_t hash;
    uint64_t upto, mark;
    uint64_t ino, bytes;
    int64_t mtime_ns, ctime_ns;
    char name[JOURNAL_PAYLOAD_MAX + 1];
};

enum journal_end {
    JOURNAL_WHOLE,  /* every byte belongs to a good record */
    JOURNAL_TORN,   /* good records, then an unfinished one */
    JOURNAL_DAMAGED /* bad header, or good records after a bad one */
};

struct journal_report {
    enum journal_end end;
    uint64_t records; /* handed out */
    size_t good_bytes;
};

typedef void journal_fn(void *arg, const struct journal_record *r);

/* Hands each good record up to the first bad one to fn. Reads any bytes; no
 * I/O. ERR_DAMAGED: a sound journal of another share. */
int journal_replay(const uint8_t *data, size_t len_bytes, const uint8_t id[static HASH_LEN],
                   journal_fn *fn, void *arg, struct journal_report *out) RONDA_MUST_CHECK;
/* The same from the file in dir_fd. -ENOENT, -errno, -ENOMEM, ERR_DAMAGED. */
int journal_load(int dir_fd, const uint8_t id[static HASH_LEN], journal_fn *fn, void *arg,
                 struct journal_report *out) RONDA_MUST_CHECK;

struct journal;

/* Begins a new journal beside the one there; it takes that one's place at
 * journal_commit(). Room for prealloc_bytes is taken now, where the filesystem
 * can, so that progress can be saved on a full disk. -ENOSPC, -errno, -ENOMEM. */
int journal_create(int dir_fd, const uint8_t id[static HASH_LEN], uint64_t prealloc_bytes,
                   struct journal **out) RONDA_MUST_CHECK;
/* Writes out, syncs, renames over the old one, syncs the directory. */
int journal_commit(struct journal *j) RONDA_MUST_CHECK;
/* It has the name now, even if the sync of the directory failed. */
bool journal_committed(const struct journal *j);
/* Closes and frees; one never committed is removed. NULL is fine. */
void journal_close(struct journal *j);

/* Adds a record to a buffer, and writes that when it is full. After an error
 * the buffered records are gone and the journal is as it was before them. */
int journal_put(struct journal *j, struct journal_record *r) RONDA_MUST_CHECK;
int journal_flush(struct journal *j) RONDA_MUST_CHECK;
/* fdatasync: durable what was flushed. */
int journal_sync(struct journal *j) RONDA_MUST_CHECK;

uint64_t journal_seq(const struct journal *j);   /* of the last record put */
uint64_t journal_bytes(const struct journal *j); /* length of the file */

#endif
