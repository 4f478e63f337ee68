#include "transfer/core/msg.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/wire.h"

static uint8_t frame[MSG_FRAME_BYTES_MAX];
static uint8_t again[MSG_FRAME_BYTES_MAX];
static uint8_t blob[MSG_DATA_BYTES_MAX];

static struct msg_entry entries[MSG_CATALOG_MAX + 1];
static uint32_t chunks[MSG_HAVE_MAX + 1];
static struct msg_peer peers[MSG_PEERS_MAX + 1];

static void lists_fill(void)
{
    for (uint32_t i = 0; i <= MSG_CATALOG_MAX; i++) {
        memset(entries[i].id, (int)i, HASH_LEN);
        memset(entries[i].key, (int)i + 1, HASH_LEN);
        entries[i].bytes = (uint64_t)INT64_MAX - i;
        entries[i].files = MSG_FILES_MAX;
        entries[i].state = i % 2;
        entries[i].flags = MSG_FLAG_ORIGIN;
        memset(entries[i].name, 'a' + (int)(i % 26), MSG_NAME_BYTES_MAX);
    }
    for (uint32_t i = 0; i <= MSG_HAVE_MAX; i++)
        chunks[i] = MSG_CHUNKS_MAX - 1 - i;
    for (uint32_t i = 0; i <= MSG_PEERS_MAX; i++) {
        memset(peers[i].node, (int)i, HASH_LEN);
        memset(peers[i].addr, 255 - (int)i, 16);
        peers[i].port = (uint16_t)(i + 1);
    }
    for (uint32_t i = 0; i < sizeof(blob); i++)
        blob[i] = (uint8_t)(i * 7);
}

/* One well-formed message of each type, at its limits. */
static struct msg sample(enum msg_type type)
{
    struct msg m = {.type = type, .sid = 0xfedc};

    lists_fill();
    switch (type) {
    case MSG_HELLO:
        m.sid = 0;
        m.hello.version_min = 1;
        m.hello.version_max = 0xffff;
        m.hello.port = 65535;
        m.hello.flags = MSG_FLAG_LEAF;
        m.hello.catalog_version = UINT64_MAX;
        memset(m.hello.nick, 'n', MSG_NICK_BYTES_MAX);
        break;
    case MSG_HELLO_ACK:
        m.version = 3;
        break;
    case MSG_BYE:
    case MSG_REFUSE:
        m.reason = msg_reason(ERR_LIMIT);
        break;
    case MSG_PASS:
        m.reason = MSG_PASS_NOTHING;
        break;
    case MSG_CATALOG_GET:
        m.first = UINT32_MAX;
        break;
    case MSG_CATALOG:
        m.catalog.version = 1u << 31;
        m.catalog.total = 500;
        m.catalog.first = 500 - MSG_CATALOG_MAX;
        m.catalog.count = MSG_CATALOG_MAX;
        m.catalog.entries = entries;
        break;
    case MSG_META_GET:
    case MSG_META_NO:
    case MSG_META:
        memset(m.meta.id, 0x5a, HASH_LEN);
        m.meta.what = MSG_WHAT_LAYERS;
        if (type == MSG_META_GET)
            m.meta.offset_bytes = MSG_META_BYTES_MAX - 1;
        if (type == MSG_META) {
            m.meta.total_bytes = MSG_META_BYTES_MAX;
            m.meta.offset_bytes = MSG_META_BYTES_MAX - MSG_DATA_BYTES_MAX;
            m.meta.data = blob;
            m.meta.len_bytes = MSG_DATA_BYTES_MAX;
        }
        break;
    case MSG_JOIN:
        memset(m.join.key, 0x77, HASH_LEN);
        m.join.chunks = MSG_CHUNKS_MAX;
        m.join.flags = MSG_FLAG_LEAF | MSG_FLAG_ORIGIN;
        break;
    case MSG_MAP:
        m.map.bits = blob;
        m.map.len_bytes = MSG_CHUNKS_MAX / 8;
        break;
    case MSG_HAVE:
        m.have.count = MSG_HAVE_MAX;
        m.have.chunks = chunks;
        break;
    case MSG_REQUEST:
    case MSG_OFFER:
    case MSG_REVOKE:
    case MSG_CANCEL:
        m.chunk = MSG_CHUNKS_MAX - 1;
        break;
    case MSG_DATA:
        m.chunk = MSG_CHUNKS_MAX - 1;
        m.data.offset_bytes = MSG_CHUNK_BYTES_MAX - MSG_DATA_BYTES_MAX;
        m.data.data = blob;
        m.data.len_bytes = MSG_DATA_BYTES_MAX;
        break;
    case MSG_PEERS:
        m.peers.count = MSG_PEERS_MAX;
        m.peers.peers = peers;
        break;
    case MSG_STAT:
        m.stat.sent_bytes = UINT64_MAX;
        m.stat.flags = MSG_FLAG_ORIGIN;
        break;
    case MSG_KEEPALIVE:
    case MSG_LEAVE:
    case MSG_COMPLETE:
    case MSG_GRANT:
    case MSG_TYPES:
        break;
    }
    return m;
}

static int encode(const struct msg *m)
{
    return msg_encode(m, frame, sizeof(frame));
}

static int decode(int len, struct msg *m)
{
    return msg_decode(frame[4], frame + MSG_HEAD_BYTES, (size_t)len - MSG_HEAD_BYTES, m);
}

/* Makes of a decoded message one that can be encoded: unpacks its list. */
static void unpack(struct msg *m)
{
    static struct msg_entry e[MSG_CATALOG_MAX];
    static uint32_t h[MSG_HAVE_MAX];
    static struct msg_peer p[MSG_PEERS_MAX];
    size_t pos = 0;

    if (m->type == MSG_CATALOG) {
        for (uint16_t i = 0; i < m->catalog.count; i++)
            cr_assert(msg_entry_next(m, &pos, &e[i]));
        cr_assert_not(msg_entry_next(m, &pos, &e[0]) && m->catalog.count > 0);
        m->catalog.entries = e;
    } else if (m->type == MSG_HAVE) {
        for (uint16_t i = 0; i < m->have.count; i++)
            h[i] = msg_have_at(m, i);
        m->have.chunks = h;
    } else if (m->type == MSG_PEERS) {
        for (uint16_t i = 0; i < m->peers.count; i++)
            msg_peer_at(m, i, &p[i]);
        m->peers.peers = p;
    }
}

Test(msg, every_type_goes_there_and_back)
{
    for (int t = MSG_HELLO; t < MSG_TYPES; t++) {
        struct msg m = sample((enum msg_type)t), back;
        int len = encode(&m);
        cr_assert_gt(len, 0, "%s", msg_type_name((uint8_t)t));
        cr_assert_eq(frame[4], t);
        cr_assert_eq((uint32_t)frame[0] << 24 | (uint32_t)frame[1] << 16 | (uint32_t)frame[2] << 8 |
                         frame[3],
                     (uint32_t)len - 4);
        cr_assert_leq((uint32_t)len - MSG_HEAD_BYTES, msg_body_max((uint8_t)t));
        cr_assert_eq(decode(len, &back), 0, "%s", msg_type_name((uint8_t)t));
        cr_assert_eq(back.sid, t >= MSG_JOIN ? m.sid : 0);
        unpack(&back);
        cr_assert_eq(msg_encode(&back, again, sizeof(again)), len);
        cr_assert_arr_eq(again, frame, (size_t)len, "%s", msg_type_name((uint8_t)t));
    }
}

Test(msg, fields_arrive)
{
    struct msg m = sample(MSG_CATALOG), back;
    struct msg_entry e;
    struct msg_peer p;
    size_t pos = 0;

    cr_assert_eq(decode(encode(&m), &back), 0);
    cr_assert_eq(back.catalog.version, 1u << 31);
    cr_assert_eq(back.catalog.first, 500 - MSG_CATALOG_MAX);
    cr_assert(msg_entry_next(&back, &pos, &e));
    cr_assert(msg_entry_next(&back, &pos, &e));
    cr_assert_arr_eq(&e, &entries[1], sizeof(e));
    m = sample(MSG_PEERS);
    cr_assert_eq(decode(encode(&m), &back), 0);
    msg_peer_at(&back, MSG_PEERS_MAX - 1, &p);
    cr_assert_arr_eq(p.addr, peers[MSG_PEERS_MAX - 1].addr, 16);
    cr_assert_eq(p.port, MSG_PEERS_MAX);
    m = sample(MSG_DATA);
    cr_assert_eq(decode(encode(&m), &back), 0);
    cr_assert_eq(back.data.len_bytes, MSG_DATA_BYTES_MAX);
    cr_assert_arr_eq(back.data.data, blob, MSG_DATA_BYTES_MAX);
    m = sample(MSG_STAT);
    cr_assert_eq(decode(encode(&m), &back), 0);
    cr_assert_eq(back.stat.sent_bytes, UINT64_MAX);
    m = sample(MSG_HELLO);
    cr_assert_eq(decode(encode(&m), &back), 0);
    cr_assert_str_eq(back.hello.nick, m.hello.nick);
    cr_assert_eq(back.hello.port, 65535);
}

/* Layouts are a promise to other versions: pinned byte by byte. */
Test(msg, layout_is_pinned)
{
    struct msg m = {.type = MSG_REQUEST, .sid = 0x0102, .chunk = 0x00010304};
    const uint8_t want[] = {0, 0, 0, 7, MSG_REQUEST, 1, 2, 0, 1, 3, 4};
    const uint8_t hello[] = {0, 0, 0, 19, 1, 0, 1, 0, 2, 0,   9,  1,
                             0, 0, 0, 0,  0, 0, 0, 5, 2, 'a', 'b'};

    cr_assert_eq(encode(&m), (int)sizeof(want));
    cr_assert_arr_eq(frame, want, sizeof(want));
    m = (struct msg){.type = MSG_HELLO,
                     .hello = {.version_min = 1,
                               .version_max = 2,
                               .port = 9,
                               .flags = 1,
                               .catalog_version = 5,
                               .nick = "ab"}};
    cr_assert_eq(encode(&m), (int)sizeof(hello));
    cr_assert_arr_eq(frame, hello, sizeof(hello));
}

Test(msg, data_head_is_that_of_a_whole_frame)
{
    struct msg m = sample(MSG_DATA);
    uint8_t head[MSG_DATA_HEAD_BYTES];

    cr_assert_gt(encode(&m), 0);
    msg_data_head(head, m.sid, m.chunk, m.data.offset_bytes, m.data.len_bytes);
    cr_assert_arr_eq(frame, head, sizeof(head));
}

/* Types whose last field is "the rest" are whole at several lengths. */
static bool ends_open(int t)
{
    return t == MSG_META || t == MSG_MAP || t == MSG_DATA;
}

Test(msg, truncated_at_every_byte)
{
    for (int t = MSG_HELLO; t < MSG_TYPES; t++) {
        struct msg m = sample((enum msg_type)t), back;
        int len = encode(&m);
        for (int cut = MSG_HEAD_BYTES; cut < len; cut++) {
            /* an allocation of that very length: a sanitizer sees one byte too far */
            size_t n = (size_t)cut - MSG_HEAD_BYTES;
            uint8_t *body = malloc(n ? n : 1);
            memcpy(body, frame + MSG_HEAD_BYTES, n);
            int rc = msg_decode((uint8_t)t, body, n, &back);
            cr_assert(rc == ERR_MESSAGE || (rc == 0 && ends_open(t)), "%s cut at %d",
                      msg_type_name((uint8_t)t), cut);
            free(body);
            if (len > 5000 && cut > 300 && cut < len - 300)
                cut += 97;
        }
    }
}

Test(msg, encode_needs_the_room)
{
    for (int t = MSG_HELLO; t < MSG_TYPES; t++) {
        struct msg m = sample((enum msg_type)t);
        int len = encode(&m);
        cr_assert_eq(msg_encode(&m, again, (size_t)len - 1), ERR_LIMIT);
        cr_assert_eq(msg_encode(&m, again, 0), ERR_LIMIT);
        cr_assert_eq(msg_encode(&m, again, (size_t)len), len);
    }
}

Test(msg, nothing_may_be_left_over)
{
    for (int t = MSG_HELLO_ACK; t < MSG_TYPES; t++) {
        struct msg m = sample((enum msg_type)t), back;
        int len = encode(&m);
        frame[len] = 0;
        cr_assert_eq(decode(len + 1, &back), ERR_MESSAGE, "%s", msg_type_name((uint8_t)t));
    }
}

Test(msg, a_later_hello_may_be_longer)
{
    struct msg m = sample(MSG_HELLO), back;
    int len = encode(&m);

    memset(frame + len, 0xee, 1024);
    cr_assert_eq(decode(len + 100, &back), 0);
    cr_assert_eq(back.hello.port, 65535);
    cr_assert_eq(decode(MSG_HEAD_BYTES + 1025, &back), ERR_MESSAGE);
}

Test(msg, unknown_types)
{
    struct msg back;

    for (int t = 0; t < 256; t++) {
        bool known = t >= MSG_HELLO && t < MSG_TYPES;
        cr_assert_eq(msg_body_max((uint8_t)t) > 0, known, "%d", t);
        cr_assert_eq(strcmp(msg_type_name((uint8_t)t), "?") != 0, known, "%d", t);
        if (!known)
            cr_assert_eq(msg_decode((uint8_t)t, frame, 0, &back), ERR_MESSAGE);
    }
    cr_assert_str_eq(msg_type_name(MSG_GRANT), "GRANT");
}

static void refused_by_encode(const struct msg *m, int line)
{
    cr_assert_eq(encode(m), ERR_LIMIT, "line %d", line);
}

Test(msg, limits_hold_for_ourselves)
{
    struct msg m = sample(MSG_HAVE);

    m.have.count = MSG_HAVE_MAX + 1;
    refused_by_encode(&m, __LINE__);
    m.have.count = 0;
    refused_by_encode(&m, __LINE__);
    m.have.count = 1;
    chunks[0] = MSG_CHUNKS_MAX;
    refused_by_encode(&m, __LINE__);
    m = sample(MSG_PEERS);
    m.peers.count = MSG_PEERS_MAX + 1;
    refused_by_encode(&m, __LINE__);
    m.peers.count = 1;
    peers[0].port = 0;
    refused_by_encode(&m, __LINE__);
    m = sample(MSG_CATALOG);
    m.catalog.count++;
    refused_by_encode(&m, __LINE__);
    m.catalog.count = 1;
    entries[0].name[0] = '\0';
    refused_by_encode(&m, __LINE__);
    m = sample(MSG_DATA);
    m.data.len_bytes = 0;
    refused_by_encode(&m, __LINE__);
    m.data.len_bytes = MSG_DATA_BYTES_MAX + 1;
    refused_by_encode(&m, __LINE__);
    m = sample(MSG_MAP);
    m.map.len_bytes++;
    refused_by_encode(&m, __LINE__);
    m = sample(MSG_META);
    m.meta.len_bytes = 0;
    refused_by_encode(&m, __LINE__);
    m = sample(MSG_CANCEL);
    m.chunk++;
    refused_by_encode(&m, __LINE__);
}

/* Encodes a sample, writes v (len bytes, big endian) over the body at offset,
 * decodes. */
static int patched(enum msg_type type, size_t offset, uint64_t v, size_t len)
{
    struct msg m = sample(type), back;
    int n = encode(&m);

    for (size_t i = 0; i < len; i++)
        frame[MSG_HEAD_BYTES + offset + i] = (uint8_t)(v >> 8 * (len - 1 - i));
    return decode(n, &back);
}

Test(msg, values_are_checked)
{
    cr_assert_eq(patched(MSG_HELLO, 0, 0, 2), ERR_MESSAGE, "version 0");
    cr_assert_eq(patched(MSG_HELLO, 0, 0x00020001, 4), ERR_MESSAGE, "min above max");
    cr_assert_eq(patched(MSG_HELLO, 15, 64, 1), ERR_MESSAGE, "nick too long");
    cr_assert_eq(patched(MSG_HELLO, 16, 0xff, 1), ERR_MESSAGE, "nick not UTF-8");
    cr_assert_eq(patched(MSG_HELLO, 16, 0, 1), ERR_MESSAGE, "NUL in nick");
    cr_assert_eq(patched(MSG_HELLO_ACK, 0, 0, 2), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_CATALOG, 8, MSG_CATALOG_MAX - 1, 4), ERR_MESSAGE, "first > total");
    cr_assert_eq(patched(MSG_CATALOG, 12, UINT32_MAX, 4), ERR_MESSAGE, "sum overflows");
    cr_assert_eq(patched(MSG_CATALOG, 16, MSG_CATALOG_MAX + 1, 2), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_CATALOG, 16, MSG_CATALOG_MAX - 1, 2), ERR_MESSAGE, "left over");
    cr_assert_eq(patched(MSG_CATALOG, 18 + 64, 1ull << 63, 8), ERR_MESSAGE, "8 EiB");
    cr_assert_eq(patched(MSG_CATALOG, 18 + 72, MSG_FILES_MAX + 1, 4), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_CATALOG, 18 + 76, 2, 1), ERR_MESSAGE, "state");
    cr_assert_eq(patched(MSG_CATALOG, 18 + 78, 0, 1), ERR_MESSAGE, "empty name");
    cr_assert_eq(patched(MSG_CATALOG, 18 + 79, '/', 1), ERR_MESSAGE, "name with a slash");
    cr_assert_eq(patched(MSG_META_GET, 32, 2, 1), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_META_GET, 33, MSG_META_BYTES_MAX, 4), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_META_NO, 32, 2, 1), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_META, 33, MSG_META_BYTES_MAX + 1u, 4), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_META, 33, MSG_DATA_BYTES_MAX, 4), ERR_MESSAGE, "offset beyond");
    cr_assert_eq(patched(MSG_META, 37, MSG_META_BYTES_MAX - 1, 4), ERR_MESSAGE, "end beyond");
    cr_assert_eq(patched(MSG_JOIN, 34, MSG_CHUNKS_MAX + 1, 4), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_HAVE, 2, 0, 2), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_HAVE, 2, MSG_HAVE_MAX + 1, 2), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_HAVE, 4, MSG_CHUNKS_MAX, 4), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_PASS, 2, 2, 1), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_REQUEST, 2, MSG_CHUNKS_MAX, 4), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_DATA, 2, MSG_CHUNKS_MAX, 4), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_DATA, 6, MSG_CHUNK_BYTES_MAX - MSG_DATA_BYTES_MAX + 1, 4),
                 ERR_MESSAGE);
    cr_assert_eq(patched(MSG_DATA, 6, UINT32_MAX, 4), ERR_MESSAGE, "offset overflows");
    cr_assert_eq(patched(MSG_PEERS, 2, MSG_PEERS_MAX + 1, 2), ERR_MESSAGE);
    cr_assert_eq(patched(MSG_PEERS, 4 + 48, 0, 2), ERR_MESSAGE, "port 0");
}

Test(msg, unknown_flags_are_ignored)
{
    struct msg back;

    cr_assert_eq(patched(MSG_JOIN, 38, 0xff, 1), 0);
    cr_assert_eq(msg_decode(MSG_JOIN, frame + MSG_HEAD_BYTES, 39, &back), 0);
    cr_assert_eq(back.join.flags, MSG_FLAG_LEAF | MSG_FLAG_ORIGIN);
}

Test(msg, smallest_lists)
{
    struct msg m = {.type = MSG_CATALOG}, back;
    struct msg_entry e;
    size_t pos = 0;

    cr_assert_eq(decode(encode(&m), &back), 0);
    cr_assert_not(msg_entry_next(&back, &pos, &e));
    m.catalog.first = 7;
    cr_assert_eq(decode(encode(&m), &back), 0, "asked past the end");
    m = (struct msg){.type = MSG_PEERS};
    cr_assert_eq(decode(encode(&m), &back), 0);
    m = (struct msg){.type = MSG_META};
    cr_assert_eq(decode(encode(&m), &back), 0, "an empty blob has one empty answer");
    m = (struct msg){.type = MSG_HELLO, .hello = {.version_min = 1, .version_max = 1}};
    cr_assert_eq(decode(encode(&m), &back), 0);
}

Test(msg, reasons)
{
    for (int err = ERR_LAST; err <= ERR_MESSAGE; err++)
        cr_assert_eq(msg_reason_err(msg_reason(err)), err);
    cr_assert_eq(msg_reason_err(msg_reason(0)), 0);
    cr_assert_eq(msg_reason(ERR_MESSAGE), 0);
    cr_assert_eq(msg_reason_err(msg_reason(-12)), ERR_LIMIT);
    cr_assert_eq(msg_reason_err(msg_reason(ERR_LAST - 1)), ERR_CLOSED);
    cr_assert_eq(msg_reason_err(4711), ERR_CLOSED);
}

Test(msg, random_bytes_never_do_harm)
{
    const unsigned seed = 4242;
    struct msg m;

    srand(seed);
    for (int round = 0; round < 200000; round++) {
        size_t len = (size_t)rand() % 90;
        uint8_t *body = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            body[i] = (uint8_t)(rand() % 4 ? 0 : rand());
        uint8_t type = (uint8_t)(rand() % (MSG_TYPES + 2));
        if (msg_decode(type, body, len, &m) == 0) {
            unpack(&m);
            if (type != MSG_HELLO)
                cr_assert_eq(msg_encode(&m, again, sizeof(again)), (int)len + MSG_HEAD_BYTES,
                             "seed %u round %d", seed, round);
        }
        free(body);
    }
}
