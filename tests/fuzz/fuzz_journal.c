/* Replay of arbitrary bytes. The first byte chooses: the rest as it is, or as
 * edits to a sound journal, whose checksums a fuzzer would hardly guess. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "transfer/core/wire.h"
#include "transfer/io/journal.h"

enum { BASE_RECORDS = 8, BASE_MAX = 4096 };

static const uint8_t ID[HASH_LEN] = {7};

static void on_record(void *arg, const struct journal_record *r)
{
    uint64_t *last = arg;

    if (r->seq != *last + 1 || r->type < JOURNAL_EXTENT || r->type > JOURNAL_NAME)
        abort();
    if (memchr(r->name, '\0', sizeof(r->name)) == NULL)
        abort();
    *last = r->seq;
}

static size_t record_build(uint8_t *out, uint64_t seq, const uint8_t **data, size_t *left)
{
    static const uint8_t sizes[] = {0, 12, 16, 4, 40, 4, 20};
    struct wire_out w = wire_out(out, JOURNAL_RECORD_MAX);
    uint8_t type = (uint8_t)(*left ? 1 + **data % 6 : 1), payload[64] = {0};
    size_t take = *left < sizeof(payload) ? *left : sizeof(payload);

    memcpy(payload, *data, take);
    *data += take;
    *left -= take;
    wire_put_u32(&w, sizes[type]);
    wire_put_u16(&w, type);
    wire_put_u16(&w, 0);
    wire_put_u64(&w, seq);
    wire_put_bytes(&w, payload, sizes[type]);
    wire_put_u64(&w, XXH3_64bits_withSeed(out, w.used_bytes, 0));
    return w.used_bytes;
}

/* A header with an all-zero uuid (seed 0) and sound records filled from data. */
static size_t base_build(uint8_t *out, const uint8_t **data, size_t *left)
{
    size_t used = JOURNAL_HEAD_BYTES;
    struct wire_out w = wire_out(out, JOURNAL_HEAD_BYTES);
    uint8_t uuid[16] = {0};

    wire_put_bytes(&w, "RONDAJN1", 8);
    wire_put_bytes(&w, ID, sizeof(ID));
    wire_put_bytes(&w, uuid, sizeof(uuid));
    wire_put_u64(&w, XXH3_64bits(out, JOURNAL_HEAD_BYTES - 8));
    for (uint64_t i = 1; i <= BASE_RECORDS; i++)
        used += record_build(out + used, i, data, left);
    return used;
}

static void replay(const uint8_t *data, size_t size)
{
    struct journal_report rep;
    uint64_t last = 0;
    int err = journal_replay(data, size, ID, on_record, &last, &rep);

    if (err != 0 && err != ERR_DAMAGED)
        abort();
    if (rep.records != last || rep.good_bytes > size)
        abort();
    if ((rep.end == JOURNAL_WHOLE) != (rep.good_bytes == size && size > 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t base[BASE_MAX];
    size_t used;

    if (size < 1)
        return 0;
    if (data[0] & 1) {
        replay(data + 1, size - 1);
        return 0;
    }
    data++;
    size--;
    used = base_build(base, &data, &size);
    for (; size >= 3; data += 3, size -= 3)
        base[((size_t)data[0] << 8 | data[1]) % used] ^= data[2];
    replay(base, used);
    return 0;
}
