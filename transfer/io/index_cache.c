/* See index_cache.h. The table in memory knows only where the record of a file
 * stands; a record is read, and checked again, when it is wanted.
 *
 * record: u32 length of all, u32 piece length, u64 dev, ino, bytes, mtime_ns,
 * ctime_ns, root, layer, u64 XXH3-64 of everything before. Big endian. */
#include "transfer/io/index_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "transfer/core/manifest.h"
#include "transfer/core/wire.h"
#include "transfer/io/file.h"

enum {
    HEADER_BYTES = 16,
    HEAD_BYTES = 48, /* of a record: up to the root */
    SUM_BYTES = 8,
    RECORD_BYTES_MIN = HEAD_BYTES + HASH_LEN + SUM_BYTES,
    RECORD_BYTES_MAX = RECORD_BYTES_MIN + MANIFEST_PIECES_MAX * HASH_LEN,
    SLOTS_MIN = 1024,
    COMPACT_BYTES = 1 << 20 /* less than this of dead records is not worth a rewrite */
};

static const uint8_t header[HEADER_BYTES] = "ronda index 1\n";
static const int64_t racy_ns = 2 * INT64_C(1000000000);

struct slot {
    uint64_t key;
    uint64_t at; /* offset of the record; 0: free */
};

struct index_cache {
    pthread_mutex_t lock; /* of all below, once it is open */
    int fd;
    char *path;
    uint64_t end;  /* of the good records in the file */
    uint64_t dead; /* bytes of records that a later one replaced, or that are damaged */
    struct slot *slots;
    size_t slot_count; /* a power of two */
    size_t used;
};

/* --- the table --- */

static uint64_t make_key(uint64_t dev, uint64_t ino, uint32_t piece_bytes)
{
    const uint64_t words[] = {dev, ino, piece_bytes};
    return XXH3_64bits(words, sizeof(words));
}

/* The slot of key, or the free one where it belongs. */
static struct slot *find_slot(struct slot *slots, size_t count, uint64_t key)
{
    size_t i = (size_t)key & (count - 1);
    while (slots[i].at != 0 && slots[i].key != key)
        i = (i + 1) & (count - 1);
    return &slots[i];
}

static int grow_table(struct index_cache *c)
{
    size_t count = c->slot_count ? c->slot_count * 2 : SLOTS_MIN;
    struct slot *slots = calloc(count, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < c->slot_count; i++) {
        if (c->slots[i].at != 0)
            *find_slot(slots, count, c->slots[i].key) = c->slots[i];
    }
    free(c->slots);
    c->slots = slots;
    c->slot_count = count;
    return 0;
}

static uint32_t record_bytes_at(const struct index_cache *c, uint64_t at)
{
    uint8_t len[4] = {0};
    if (file_read_at(c->fd, len, sizeof(len), at) != 0)
        return 0;
    struct wire_in in = wire_in(len, sizeof(len));
    return wire_get_u32(&in);
}

/* The record at `at` is from now on the one of key. */
static int enter(struct index_cache *c, uint64_t key, uint64_t at)
{
    if (c->used * 2 >= c->slot_count) {
        int err = grow_table(c);
        if (err)
            return err;
    }
    struct slot *s = find_slot(c->slots, c->slot_count, key);
    if (s->at != 0)
        c->dead += record_bytes_at(c, s->at);
    else
        c->used++;
    *s = (struct slot){.key = key, .at = at};
    return 0;
}

/* --- records --- */

static size_t layer_bytes(uint64_t bytes, uint32_t piece_bytes)
{
    if (bytes <= piece_bytes)
        return 0;
    uint64_t pieces = bytes / piece_bytes + (bytes % piece_bytes != 0);
    return pieces > MANIFEST_PIECES_MAX ? SIZE_MAX : (size_t)pieces * HASH_LEN;
}

static bool is_piece_length(uint32_t bytes)
{
    return bytes >= MANIFEST_PIECE_MIN && bytes <= MANIFEST_PIECE_MAX && (bytes & (bytes - 1)) == 0;
}

/* 0 when there is no such record. */
static uint32_t record_bytes(uint64_t bytes, uint32_t piece_bytes)
{
    size_t layer = is_piece_length(piece_bytes) ? layer_bytes(bytes, piece_bytes) : SIZE_MAX;
    return layer == SIZE_MAX ? 0 : (uint32_t)(RECORD_BYTES_MIN + layer);
}

static void put_head(struct wire_out *w, const struct store_stamp *stamp, uint32_t piece_bytes)
{
    wire_put_u32(w, record_bytes(stamp->bytes, piece_bytes));
    wire_put_u32(w, piece_bytes);
    wire_put_u64(w, stamp->dev);
    wire_put_u64(w, stamp->ino);
    wire_put_u64(w, stamp->bytes);
    wire_put_u64(w, (uint64_t)stamp->mtime_ns);
    wire_put_u64(w, (uint64_t)stamp->ctime_ns);
}

static bool sum_is_right(const uint8_t *record, uint32_t len_bytes)
{
    struct wire_in in = wire_in(record + len_bytes - SUM_BYTES, SUM_BYTES);
    return wire_get_u64(&in) == XXH3_64bits(record, len_bytes - SUM_BYTES);
}

/* --- opening --- */

/* Length and key from the head of a record; 0 when it is none. */
static uint32_t read_head(const uint8_t head[static HEAD_BYTES], uint64_t *key)
{
    struct wire_in in = wire_in(head, HEAD_BYTES);
    uint32_t len = wire_get_u32(&in), piece_bytes = wire_get_u32(&in);
    uint64_t dev = wire_get_u64(&in), ino = wire_get_u64(&in), bytes = wire_get_u64(&in);
    *key = make_key(dev, ino, piece_bytes);
    return len != 0 && len == record_bytes(bytes, piece_bytes) ? len : 0;
}

/* 1: a record was read (damaged ones count as dead); 0: nothing more that makes
 * sense; negative: an error. */
static int load_record(struct index_cache *c, FILE *f)
{
    uint8_t head[HEAD_BYTES];
    uint64_t key;
    if (c->used >= INDEX_CACHE_RECORDS_MAX || fread(head, HEAD_BYTES, 1, f) != 1)
        return 0;
    uint32_t len = read_head(head, &key);
    if (len == 0)
        return 0;
    uint8_t *record = malloc(len);
    if (!record)
        return -ENOMEM;
    memcpy(record, head, HEAD_BYTES);
    int result = (int)fread(record + HEAD_BYTES, len - HEAD_BYTES, 1, f);
    if (result == 1) {
        int err = 0;
        if (sum_is_right(record, len))
            err = enter(c, key, c->end);
        else
            c->dead += len;
        c->end += len;
        result = err ? err : 1;
    }
    free(record);
    return result;
}

static int load_records(struct index_cache *c)
{
    uint8_t found[HEADER_BYTES];
    int fd = dup(c->fd), more = 0;
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (!f) {
        int err = -errno;
        if (fd >= 0)
            close(fd);
        return err;
    }
    rewind(f);
    if (fread(found, HEADER_BYTES, 1, f) == 1 && memcmp(found, header, HEADER_BYTES) == 0) {
        c->end = HEADER_BYTES;
        while ((more = load_record(c, f)) > 0)
            ;
    }
    fclose(f);
    return more;
}

static int copy_record(const struct index_cache *c, int to, uint64_t from_at, uint64_t to_at,
                       uint32_t *len)
{
    *len = record_bytes_at(c, from_at);
    if (*len < RECORD_BYTES_MIN || *len > RECORD_BYTES_MAX)
        return -EIO;
    uint8_t *record = malloc(*len);
    if (!record)
        return -ENOMEM;
    int err = file_read_at(c->fd, record, *len, from_at);
    if (!err)
        err = file_write_at(to, record, *len, to_at);
    free(record);
    return err;
}

static int copy_live(struct index_cache *c, int to)
{
    uint64_t at = HEADER_BYTES;
    int err = file_write_at(to, header, HEADER_BYTES, 0);
    for (size_t i = 0; !err && i < c->slot_count; i++) {
        uint32_t len;
        if (c->slots[i].at == 0)
            continue;
        err = copy_record(c, to, c->slots[i].at, at, &len);
        c->slots[i].at = at;
        at += err ? 0 : len;
    }
    c->end = at;
    c->dead = 0;
    return err;
}

/* Writes the live records to a new file. Not synced: what a crash tears is found
 * by its checksum, and costs no more than a hashing. On an error the table no
 * longer fits the file: only index_cache_close() or drop_all() may follow. */
static int rewrite(struct index_cache *c)
{
    char *aside = NULL;
    if (asprintf(&aside, "%s.new", c->path) < 0)
        return -ENOMEM;
    int fd = open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = fd < 0 ? -errno : copy_live(c, fd);
    if (!err && rename(aside, c->path) != 0)
        err = -errno;
    if (err) {
        if (fd >= 0)
            close(fd);
        (void)unlink(aside);
    } else {
        close(c->fd);
        c->fd = fd;
    }
    free(aside);
    return err;
}

static int drop_all(struct index_cache *c)
{
    memset(c->slots, 0, c->slot_count * sizeof(*c->slots));
    c->used = 0;
    c->dead = 0;
    c->end = HEADER_BYTES;
    if (ftruncate(c->fd, 0) != 0)
        return -errno;
    return file_write_at(c->fd, header, HEADER_BYTES, 0);
}

/* Another len bytes are too many. */
static bool is_full(const struct index_cache *c, uint64_t len)
{
    return c->used >= INDEX_CACHE_RECORDS_MAX || c->end + len > INDEX_CACHE_BYTES_MAX;
}

/* Nearly so: better to begin anew now than to learn nothing until the next start. */
static bool is_nearly_full(const struct index_cache *c)
{
    return c->used >= INDEX_CACHE_RECORDS_MAX / 8 * 7 || is_full(c, INDEX_CACHE_BYTES_MAX / 8);
}

static int open_file(struct index_cache *c)
{
    c->fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (c->fd < 0)
        return -errno;
    int err = load_records(c);
    if (err)
        return err;
    off_t length = lseek(c->fd, 0, SEEK_END);
    if (length < 0)
        return -errno;
    if (c->end == 0)
        return drop_all(c);
    bool damaged = (uint64_t)length != c->end;
    if (damaged || (c->dead > COMPACT_BYTES && (c->dead > c->end / 2 || is_nearly_full(c))))
        err = rewrite(c);
    return !err && is_nearly_full(c) ? drop_all(c) : err;
}

int index_cache_open(const char *path, struct index_cache **out)
{
    *out = NULL;
    struct index_cache *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    pthread_mutex_init(&c->lock, NULL);
    c->fd = -1;
    c->path = strdup(path);
    int err = c->path ? grow_table(c) : -ENOMEM;
    if (!err)
        err = open_file(c);
    if (err)
        index_cache_close(c);
    else
        *out = c;
    return err;
}

void index_cache_close(struct index_cache *c)
{
    if (!c)
        return;
    if (c->fd >= 0)
        close(c->fd);
    pthread_mutex_destroy(&c->lock);
    free(c->slots);
    free(c->path);
    free(c);
}

/* --- use --- */

static int get(const struct index_cache *c, const struct store_stamp *stamp, uint32_t piece_bytes,
               uint8_t root[static HASH_LEN], uint8_t **layer)
{
    uint64_t key = make_key(stamp->dev, stamp->ino, piece_bytes);
    const struct slot *s = find_slot(c->slots, c->slot_count, key);
    uint32_t len = record_bytes(stamp->bytes, piece_bytes);
    if (s->at == 0 || len == 0)
        return ERR_NOT_FOUND;
    uint8_t head[HEAD_BYTES], found[HEAD_BYTES];
    struct wire_out w = wire_out(head, sizeof(head));
    put_head(&w, stamp, piece_bytes);
    if (file_read_at(c->fd, found, HEAD_BYTES, s->at) != 0 || memcmp(head, found, HEAD_BYTES) != 0)
        return ERR_NOT_FOUND;

    uint8_t *record = malloc(len);
    if (!record)
        return ERR_NOT_FOUND;
    if (file_read_at(c->fd, record, len, s->at) != 0 || !sum_is_right(record, len)) {
        free(record);
        return ERR_NOT_FOUND;
    }
    memcpy(root, record + HEAD_BYTES, HASH_LEN);
    if (len > RECORD_BYTES_MIN) {
        memmove(record, record + HEAD_BYTES + HASH_LEN, len - RECORD_BYTES_MIN);
        *layer = record;
    } else {
        free(record);
    }
    return 0;
}

int index_cache_get(struct index_cache *c, const struct store_stamp *stamp, uint32_t piece_bytes,
                    uint8_t root[static HASH_LEN], uint8_t **layer)
{
    *layer = NULL;
    pthread_mutex_lock(&c->lock);
    int err = get(c, stamp, piece_bytes, root, layer);
    pthread_mutex_unlock(&c->lock);
    return err;
}

/* Its next change could leave the same time stamps. */
static bool is_racy(const struct store_stamp *stamp)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    int64_t last = stamp->mtime_ns > stamp->ctime_ns ? stamp->mtime_ns : stamp->ctime_ns;
    return last > now_ns - racy_ns;
}

static void put(struct index_cache *c, const struct store_stamp *stamp, uint32_t piece_bytes,
                const uint8_t root[static HASH_LEN], const uint8_t *layer)
{
    uint32_t len = record_bytes(stamp->bytes, piece_bytes);
    if (len == 0 || is_full(c, len) || is_racy(stamp))
        return;
    uint8_t *record = malloc(len);
    if (!record)
        return;
    struct wire_out w = wire_out(record, len);
    put_head(&w, stamp, piece_bytes);
    wire_put_bytes(&w, root, HASH_LEN);
    wire_put_bytes(&w, layer, len - RECORD_BYTES_MIN);
    wire_put_u64(&w, XXH3_64bits(record, w.used_bytes));
    if (file_write_at(c->fd, record, len, c->end) != 0)
        (void)!ftruncate(c->fd, (off_t)c->end); /* a torn record would hide later ones */
    else if (enter(c, make_key(stamp->dev, stamp->ino, piece_bytes), c->end) == 0)
        c->end += len;
    free(record);
}

void index_cache_put(struct index_cache *c, const struct store_stamp *stamp, uint32_t piece_bytes,
                     const uint8_t root[static HASH_LEN], const uint8_t *layer)
{
    pthread_mutex_lock(&c->lock);
    put(c, stamp, piece_bytes, root, layer);
    pthread_mutex_unlock(&c->lock);
}
