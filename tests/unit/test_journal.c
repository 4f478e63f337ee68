/* The journal: what is written is replayed, torn tails are cut, damage is told
 * from a torn tail, stale bytes and other shares' journals are refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transfer/io/journal.h"

enum { SEEN_MAX = 20000 };

static const uint8_t ID[HASH_LEN] = {1, 2, 3, 4, 5};

struct seen {
    uint32_t count;
    struct journal_record r[64];
};

static void on_record(void *arg, const struct journal_record *r)
{
    struct seen *s = arg;

    if (s->count < 64)
        s->r[s->count] = *r;
    s->count++;
}

struct dir {
    char path[64];
    int fd;
};

static void dir_begin(struct dir *d)
{
    snprintf(d->path, sizeof(d->path), "/tmp/test_journal.XXXXXX");
    cr_assert_not_null(mkdtemp(d->path));
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(d->fd, 0);
}

static void dir_end(struct dir *d)
{
    unlinkat(d->fd, "journal", 0);
    unlinkat(d->fd, "journal.new", 0);
    close(d->fd);
    cr_assert_eq(rmdir(d->path), 0);
}

static void put(struct journal *j, struct journal_record r)
{
    cr_assert_eq(journal_put(j, &r), 0);
}

/* One record of each type. */
static void put_six(struct journal *j)
{
    put(j, (struct journal_record){.type = JOURNAL_NAME, .name = "talk (2)"});
    put(j, (struct journal_record){.type = JOURNAL_EXTENT, .chunk = 7, .hash = 0x1122334455667788});
    put(j, (struct journal_record){.type = JOURNAL_SYNCED, .upto = 2, .mark = 99});
    put(j, (struct journal_record){.type = JOURNAL_FILE_DONE, .file = 3});
    put(j, (struct journal_record){.type = JOURNAL_RENAMED,
                                   .file = 3,
                                   .variant = 2,
                                   .ino = 11,
                                   .bytes = 12,
                                   .mtime_ns = -13,
                                   .ctime_ns = 14});
    put(j, (struct journal_record){.type = JOURNAL_DROP, .chunk = 7});
}

static uint8_t *slurp(struct dir *d, size_t *len)
{
    int fd = openat(d->fd, "journal", O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *data;

    cr_assert_geq(fd, 0);
    fstat(fd, &st);
    *len = (size_t)st.st_size;
    data = malloc(*len + 1);
    cr_assert_eq(read(fd, data, *len), (ssize_t)*len);
    close(fd);
    return data;
}

/* A journal of the six records, as bytes. */
static uint8_t *six_bytes(size_t *len)
{
    struct dir d;
    struct journal *j;
    uint8_t *data;

    dir_begin(&d);
    cr_assert_eq(journal_create(d.fd, ID, 1 << 16, &j), 0);
    put_six(j);
    cr_assert_eq(journal_commit(j), 0);
    journal_close(j);
    data = slurp(&d, len);
    dir_end(&d);
    return data;
}

Test(journal, replays_what_was_put)
{
    struct seen s = {0};
    struct journal_report rep;
    size_t len;
    uint8_t *data = six_bytes(&len);

    cr_assert_eq(journal_replay(data, len, ID, on_record, &s, &rep), 0);
    cr_assert_eq(rep.end, JOURNAL_WHOLE);
    cr_assert_eq(rep.records, 6);
    cr_assert_str_eq(s.r[0].name, "talk (2)");
    cr_assert_eq(s.r[1].chunk, 7);
    cr_assert_eq(s.r[1].hash, 0x1122334455667788);
    cr_assert_eq(s.r[1].seq, 2);
    cr_assert_eq(s.r[2].upto, 2);
    cr_assert_eq(s.r[2].mark, 99);
    cr_assert_eq(s.r[3].file, 3);
    cr_assert_eq(s.r[4].variant, 2);
    cr_assert_eq(s.r[4].ino, 11);
    cr_assert_eq(s.r[4].bytes, 12);
    cr_assert_eq(s.r[4].mtime_ns, -13);
    cr_assert_eq(s.r[4].ctime_ns, 14);
    cr_assert_eq(s.r[5].type, JOURNAL_DROP);
    free(data);
}

Test(journal, every_truncation_is_a_torn_tail_and_keeps_what_is_whole)
{
    size_t len;
    uint8_t *data = six_bytes(&len);

    for (size_t cut = JOURNAL_HEAD_BYTES; cut < len; cut++) {
        struct seen s = {0};
        struct journal_report rep;

        cr_assert_eq(journal_replay(data, cut, ID, on_record, &s, &rep), 0);
        cr_assert_leq(rep.good_bytes, cut);
        cr_assert_eq(rep.end, rep.good_bytes == cut ? JOURNAL_WHOLE : JOURNAL_TORN);
        cr_assert_lt(rep.records, 6);
    }
    free(data);
}

Test(journal, every_flipped_bit_is_found)
{
    size_t len;
    uint8_t *data = six_bytes(&len);
    struct journal_report rep;

    for (size_t bit = 0; bit < len * 8; bit++) {
        struct seen s = {0};
        int err;

        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        err = journal_replay(data, len, ID, on_record, &s, &rep);
        cr_assert_eq(err, 0);
        cr_assert_lt(rep.records, 6, "bit %zu", bit);
        /* Only the last record (a DROP, 28 bytes) has no good one after it. */
        cr_assert_eq(rep.end, bit / 8 < len - 28 ? JOURNAL_DAMAGED : JOURNAL_TORN, "bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(data);
}

Test(journal, a_record_left_out_is_damage)
{
    struct seen s = {0};
    struct journal_report rep;
    size_t len;
    uint8_t *data = six_bytes(&len);
    size_t name = 24 + strlen("talk (2)"), at = JOURNAL_HEAD_BYTES + name;

    memmove(data + at, data + at + 36, len - at - 36); /* the EXTENT */
    cr_assert_eq(journal_replay(data, len - 36, ID, on_record, &s, &rep), 0);
    cr_assert_eq(rep.records, 1);
    cr_assert_eq(rep.end, JOURNAL_DAMAGED);
    free(data);
}

Test(journal, another_share_is_refused)
{
    static const uint8_t other[HASH_LEN] = {9};
    struct seen s = {0};
    struct journal_report rep;
    size_t len;
    uint8_t *data = six_bytes(&len);

    cr_assert_eq(journal_replay(data, len, other, on_record, &s, &rep), ERR_DAMAGED);
    cr_assert_eq(s.count, 0);
    free(data);
}

Test(journal, records_under_another_uuid_do_not_count)
{
    struct seen s = {0};
    struct journal_report rep;
    size_t a_len, b_len;
    uint8_t *a = six_bytes(&a_len), *b = six_bytes(&b_len);

    memcpy(a, b, JOURNAL_HEAD_BYTES);
    cr_assert_eq(journal_replay(a, a_len, ID, on_record, &s, &rep), 0);
    cr_assert_eq(rep.records, 0);
    cr_assert_eq(rep.end, JOURNAL_TORN);
    free(a);
    free(b);
}

Test(journal, nothing_or_rubbish_is_damage)
{
    struct seen s = {0};
    struct journal_report rep;
    uint8_t rubbish[200] = {0};

    cr_assert_eq(journal_replay(rubbish, 0, ID, on_record, &s, &rep), 0);
    cr_assert_eq(rep.end, JOURNAL_DAMAGED);
    memset(rubbish, 0xa5, sizeof(rubbish));
    cr_assert_eq(journal_replay(rubbish, sizeof(rubbish), ID, on_record, &s, &rep), 0);
    cr_assert_eq(rep.end, JOURNAL_DAMAGED);
}

Test(journal, load_appends_and_rewrite)
{
    struct dir d;
    struct journal *j, *j2;
    struct seen s = {0};
    struct journal_report rep;

    dir_begin(&d);
    cr_assert_eq(journal_load(d.fd, ID, on_record, &s, &rep), -ENOENT);
    cr_assert_eq(journal_create(d.fd, ID, 0, &j), 0);
    cr_assert_eq(journal_load(d.fd, ID, on_record, &s, &rep), -ENOENT);
    cr_assert_eq(journal_commit(j), 0);
    for (int i = 0; i < SEEN_MAX; i++)
        put(j, (struct journal_record){.type = JOURNAL_EXTENT, .chunk = (uint32_t)i});
    cr_assert_eq(journal_flush(j), 0);
    cr_assert_eq(journal_sync(j), 0);
    cr_assert_eq(journal_seq(j), SEEN_MAX);
    cr_assert_eq(journal_bytes(j), JOURNAL_HEAD_BYTES + SEEN_MAX * 36);
    cr_assert_eq(journal_load(d.fd, ID, on_record, &s, &rep), 0);
    cr_assert_eq(s.count, SEEN_MAX);
    cr_assert_eq(rep.end, JOURNAL_WHOLE);

    /* A rewrite that is never committed changes nothing. */
    cr_assert_eq(journal_create(d.fd, ID, 0, &j2), 0);
    put_six(j2);
    journal_close(j2);
    s.count = 0;
    cr_assert_eq(journal_load(d.fd, ID, on_record, &s, &rep), 0);
    cr_assert_eq(s.count, SEEN_MAX);

    cr_assert_eq(journal_create(d.fd, ID, 0, &j2), 0);
    put_six(j2);
    cr_assert_eq(journal_commit(j2), 0);
    journal_close(j);
    journal_close(j2);
    s.count = 0;
    cr_assert_eq(journal_load(d.fd, ID, on_record, &s, &rep), 0);
    cr_assert_eq(s.count, 6);
    dir_end(&d);
}

Test(journal, a_symlink_is_not_read)
{
    struct dir d;
    struct seen s = {0};
    struct journal_report rep;

    dir_begin(&d);
    cr_assert_eq(symlinkat("/etc/passwd", d.fd, "journal"), 0);
    cr_assert_eq(journal_load(d.fd, ID, on_record, &s, &rep), -ELOOP);
    dir_end(&d);
}

Test(journal, names_of_any_allowed_length)
{
    struct dir d;
    struct journal *j;
    struct journal_record r = {.type = JOURNAL_NAME};
    struct seen s = {0};
    struct journal_report rep;

    dir_begin(&d);
    memset(r.name, 'x', JOURNAL_PAYLOAD_MAX);
    cr_assert_eq(journal_create(d.fd, ID, 0, &j), 0);
    cr_assert_eq(journal_put(j, &r), 0);
    cr_assert_eq(journal_commit(j), 0);
    journal_close(j);
    cr_assert_eq(journal_load(d.fd, ID, on_record, &s, &rep), 0);
    cr_assert_eq(strlen(s.r[0].name), JOURNAL_PAYLOAD_MAX);
    dir_end(&d);
}
