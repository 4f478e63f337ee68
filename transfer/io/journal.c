/* See journal.h. */
#include "transfer/io/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "transfer/core/wire.h"
#include "transfer/io/file.h"

enum {
    UUID_BYTES = 16,
    RECORD_HEAD_BYTES = 16, /* u32 + u16 + u16 + u64 */
    RECORD_SUM_BYTES = 8,
    BUFFER_BYTES = 64 * 1024
};

static const char MAGIC[8] = {'R', 'O', 'N', 'D', 'A', 'J', 'N', '1'};
static const char FILE_NAME[] = "journal";
static const char NEW_NAME[] = "journal.new";

struct journal {
    int dir_fd; /* the caller's */
    int fd;
    bool committed;
    uint64_t seed;
    uint64_t seq;
    uint64_t end_bytes; /* written */
    size_t used_bytes;  /* of buf */
    uint64_t used_records;
    uint8_t buf[BUFFER_BYTES];
};

static uint64_t uuid_seed(const uint8_t uuid[static UUID_BYTES])
{
    struct wire_in w = wire_in(uuid, UUID_BYTES);

    return wire_get_u64(&w);
}

/* ---- replay ---- */

static bool payload_decode(struct journal_record *r, struct wire_in w)
{
    switch (r->type) {
    case JOURNAL_EXTENT:
        r->chunk = wire_get_u32(&w);
        r->hash = wire_get_u64(&w);
        break;
    case JOURNAL_SYNCED:
        r->upto = wire_get_u64(&w);
        r->mark = wire_get_u64(&w);
        break;
    case JOURNAL_FILE_DONE:
        r->file = wire_get_u32(&w);
        break;
    case JOURNAL_RENAMED:
        r->file = wire_get_u32(&w);
        r->variant = wire_get_u32(&w);
        r->ino = wire_get_u64(&w);
        r->bytes = wire_get_u64(&w);
        r->mtime_ns = (int64_t)wire_get_u64(&w);
        r->ctime_ns = (int64_t)wire_get_u64(&w);
        break;
    case JOURNAL_DROP:
        r->chunk = wire_get_u32(&w);
        break;
    case JOURNAL_NAME:
        wire_get_copy(&w, r->name, w.left_bytes);
        break;
    }
    return wire_in_done(&w);
}

static size_t payload_bytes(enum journal_type type, const char *name)
{
    switch (type) {
    case JOURNAL_EXTENT:
        return 12;
    case JOURNAL_SYNCED:
        return 16;
    case JOURNAL_FILE_DONE:
    case JOURNAL_DROP:
        return 4;
    case JOURNAL_RENAMED:
        return 40;
    case JOURNAL_NAME:
        return strlen(name);
    }
    return 0;
}

/* Bytes of the good record at data; 0 when there is none. */
static size_t record_decode(const uint8_t *data, size_t left_bytes, uint64_t seed,
                            struct journal_record *r)
{
    struct wire_in w = wire_in(data, left_bytes);
    uint32_t len = wire_get_u32(&w);
    uint16_t type = wire_get_u16(&w);
    uint16_t flags = wire_get_u16(&w);
    size_t summed = RECORD_HEAD_BYTES + (size_t)len;
    struct wire_in sum;

    memset(r, 0, sizeof(*r));
    r->seq = wire_get_u64(&w);
    if (w.bad || len > JOURNAL_PAYLOAD_MAX || flags != 0 || type < JOURNAL_EXTENT ||
        type > JOURNAL_NAME || left_bytes < summed + RECORD_SUM_BYTES)
        return 0;
    sum = wire_in(data + summed, RECORD_SUM_BYTES);
    if (wire_get_u64(&sum) != XXH3_64bits_withSeed(data, summed, seed))
        return 0;
    r->type = (enum journal_type)type;
    if (!payload_decode(r, wire_in(data + RECORD_HEAD_BYTES, len)))
        return 0;
    return summed + RECORD_SUM_BYTES;
}

static bool good_record_after(const uint8_t *data, size_t len_bytes, size_t at, uint64_t seed)
{
    struct journal_record r;

    for (; at + RECORD_HEAD_BYTES + RECORD_SUM_BYTES <= len_bytes; at++)
        if (record_decode(data + at, len_bytes - at, seed, &r))
            return true;
    return false;
}

static bool header_good(const uint8_t *data, size_t len_bytes)
{
    struct wire_in sum;

    if (len_bytes < JOURNAL_HEAD_BYTES || memcmp(data, MAGIC, sizeof(MAGIC)) != 0)
        return false;
    sum = wire_in(data + JOURNAL_HEAD_BYTES - RECORD_SUM_BYTES, RECORD_SUM_BYTES);
    return wire_get_u64(&sum) == XXH3_64bits(data, JOURNAL_HEAD_BYTES - RECORD_SUM_BYTES);
}

int journal_replay(const uint8_t *data, size_t len_bytes, const uint8_t id[static HASH_LEN],
                   journal_fn *fn, void *arg, struct journal_report *out)
{
    struct journal_record r;
    uint64_t seed;
    size_t n;

    *out = (struct journal_report){.end = JOURNAL_DAMAGED};
    if (!header_good(data, len_bytes))
        return 0;
    if (memcmp(data + sizeof(MAGIC), id, HASH_LEN) != 0)
        return ERR_DAMAGED;
    seed = uuid_seed(data + sizeof(MAGIC) + HASH_LEN);
    out->good_bytes = JOURNAL_HEAD_BYTES;
    while ((n = record_decode(data + out->good_bytes, len_bytes - out->good_bytes, seed, &r)) > 0 &&
           r.seq == out->records + 1) {
        fn(arg, &r);
        out->records++;
        out->good_bytes += n;
    }
    if (out->good_bytes == len_bytes)
        out->end = JOURNAL_WHOLE;
    else if (!good_record_after(data, len_bytes, out->good_bytes, seed))
        out->end = JOURNAL_TORN;
    return 0;
}

static int file_read(int fd, uint8_t **out, size_t *len_bytes)
{
    struct stat st;
    size_t have = 0;
    uint8_t *data;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > JOURNAL_BYTES_MAX)
        return -EFBIG;
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        return -ENOMEM;
    while (have < (size_t)st.st_size) {
        ssize_t n = pread(fd, data + have, (size_t)st.st_size - have, (off_t)have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int err = -errno;

            free(data);
            return err;
        }
        if (n == 0)
            break;
        have += (size_t)n;
    }
    *out = data;
    *len_bytes = have;
    return 0;
}

int journal_load(int dir_fd, const uint8_t id[static HASH_LEN], journal_fn *fn, void *arg,
                 struct journal_report *out)
{
    int fd = openat(dir_fd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    uint8_t *data = NULL;
    size_t len_bytes = 0;
    int err;

    *out = (struct journal_report){.end = JOURNAL_DAMAGED};
    if (fd < 0)
        return -errno;
    err = file_read(fd, &data, &len_bytes);
    close(fd);
    if (err)
        return err == -EFBIG ? 0 : err;
    err = journal_replay(data, len_bytes, id, fn, arg, out);
    free(data);
    return err;
}

/* ---- writing ---- */

static int header_put(struct journal *j, const uint8_t id[static HASH_LEN])
{
    uint8_t uuid[UUID_BYTES];
    struct wire_out w = wire_out(j->buf, JOURNAL_HEAD_BYTES);

    if (getrandom(uuid, sizeof(uuid), 0) != (ssize_t)sizeof(uuid))
        return -EIO;
    j->seed = uuid_seed(uuid);
    wire_put_bytes(&w, MAGIC, sizeof(MAGIC));
    wire_put_bytes(&w, id, HASH_LEN);
    wire_put_bytes(&w, uuid, sizeof(uuid));
    wire_put_u64(&w, XXH3_64bits(j->buf, JOURNAL_HEAD_BYTES - RECORD_SUM_BYTES));
    j->used_bytes = JOURNAL_HEAD_BYTES;
    return 0;
}

/* The length stays as written: a tail of zeros would look like a torn record. */
static int room_take(int fd, uint64_t bytes)
{
    if (bytes == 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0)
        return 0;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
        return 0;
    return -errno;
}

int journal_create(int dir_fd, const uint8_t id[static HASH_LEN], uint64_t prealloc_bytes,
                   struct journal **out)
{
    struct journal *j = calloc(1, sizeof(*j));
    int err;

    *out = NULL;
    if (!j)
        return -ENOMEM;
    j->dir_fd = dir_fd;
    j->fd = -1;
    if (unlinkat(dir_fd, NEW_NAME, 0) < 0 && errno != ENOENT) {
        err = -errno;
        goto fail;
    }
    j->fd = openat(dir_fd, NEW_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (j->fd < 0) {
        err = -errno;
        goto fail;
    }
    err = room_take(j->fd, prealloc_bytes);
    if (!err)
        err = header_put(j, id);
    if (err)
        goto fail;
    *out = j;
    return 0;
fail:
    journal_close(j);
    return err;
}

int journal_commit(struct journal *j)
{
    int err = journal_flush(j);

    if (err)
        return err;
    if (fsync(j->fd) < 0)
        return -errno;
    if (renameat(j->dir_fd, NEW_NAME, j->dir_fd, FILE_NAME) < 0)
        return -errno;
    j->committed = true;
    return fsync(j->dir_fd) < 0 ? -errno : 0;
}

bool journal_committed(const struct journal *j)
{
    return j->committed;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0) {
        close(j->fd);
        if (!j->committed)
            (void)unlinkat(j->dir_fd, NEW_NAME, 0);
    }
    free(j);
}

static void payload_encode(const struct journal_record *r, struct wire_out *w)
{
    switch (r->type) {
    case JOURNAL_EXTENT:
        wire_put_u32(w, r->chunk);
        wire_put_u64(w, r->hash);
        break;
    case JOURNAL_SYNCED:
        wire_put_u64(w, r->upto);
        wire_put_u64(w, r->mark);
        break;
    case JOURNAL_FILE_DONE:
        wire_put_u32(w, r->file);
        break;
    case JOURNAL_RENAMED:
        wire_put_u32(w, r->file);
        wire_put_u32(w, r->variant);
        wire_put_u64(w, r->ino);
        wire_put_u64(w, r->bytes);
        wire_put_u64(w, (uint64_t)r->mtime_ns);
        wire_put_u64(w, (uint64_t)r->ctime_ns);
        break;
    case JOURNAL_DROP:
        wire_put_u32(w, r->chunk);
        break;
    case JOURNAL_NAME:
        wire_put_bytes(w, r->name, strlen(r->name));
        break;
    }
}

int journal_put(struct journal *j, struct journal_record *r)
{
    size_t payload = payload_bytes(r->type, r->name);
    size_t total = RECORD_HEAD_BYTES + payload + RECORD_SUM_BYTES;
    struct wire_out w;

    if (payload > JOURNAL_PAYLOAD_MAX)
        return -EINVAL;
    if (j->used_bytes + total > BUFFER_BYTES) {
        int err = journal_flush(j);

        if (err)
            return err;
    }
    r->seq = ++j->seq;
    w = wire_out(j->buf + j->used_bytes, total);
    wire_put_u32(&w, (uint32_t)payload);
    wire_put_u16(&w, (uint16_t)r->type);
    wire_put_u16(&w, 0);
    wire_put_u64(&w, r->seq);
    payload_encode(r, &w);
    wire_put_u64(&w, XXH3_64bits_withSeed(j->buf + j->used_bytes, w.used_bytes, j->seed));
    j->used_bytes += total;
    j->used_records++;
    return 0;
}

/* What a failed write left behind the end is written over later: cutting it off
 * would give back the room taken in advance. */
int journal_flush(struct journal *j)
{
    int err;

    if (j->used_bytes == 0)
        return 0;
    err = file_write_at(j->fd, j->buf, j->used_bytes, j->end_bytes);
    if (err) {
        j->seq -= j->used_records;
    } else {
        j->end_bytes += j->used_bytes;
    }
    j->used_bytes = 0;
    j->used_records = 0;
    return err;
}

int journal_sync(struct journal *j)
{
    return fdatasync(j->fd) < 0 ? -errno : 0;
}

uint64_t journal_seq(const struct journal *j)
{
    return j->seq;
}

uint64_t journal_bytes(const struct journal *j)
{
    return j->end_bytes + j->used_bytes;
}
