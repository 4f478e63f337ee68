/* A frame of a peer's: first byte the type, the rest its body. Whatever decodes
 * encodes again, into bytes that decode to the same. */
#include <stdlib.h>
#include <string.h>

#include "transfer/core/msg.h"

static struct msg_entry entries[MSG_CATALOG_MAX];
static uint32_t chunks[MSG_HAVE_MAX];
static struct msg_peer peers[MSG_PEERS_MAX];

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void unpack(struct msg *m)
{
    size_t pos = 0;

    if (m->type == MSG_CATALOG) {
        for (uint16_t i = 0; i < m->catalog.count; i++)
            check(msg_entry_next(m, &pos, &entries[i]));
        check(pos == m->catalog.raw_bytes);
        m->catalog.entries = entries;
    } else if (m->type == MSG_HAVE) {
        for (uint16_t i = 0; i < m->have.count; i++)
            chunks[i] = msg_have_at(m, i);
        m->have.chunks = chunks;
    } else if (m->type == MSG_PEERS) {
        for (uint16_t i = 0; i < m->peers.count; i++)
            msg_peer_at(m, i, &peers[i]);
        m->peers.peers = peers;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t first[MSG_FRAME_BYTES_MAX], second[MSG_FRAME_BYTES_MAX];
    struct msg m, again;

    if (size < 1 || msg_decode(data[0], data + 1, size - 1, &m) < 0)
        return 0;
    check(size - 1 <= msg_body_max(data[0]));
    unpack(&m);
    int len = msg_encode(&m, first, sizeof(first));
    check(len > 0 && (size_t)len <= size + MSG_HEAD_BYTES - 1);
    check(msg_decode(first[4], first + MSG_HEAD_BYTES, (size_t)len - MSG_HEAD_BYTES, &again) == 0);
    unpack(&again);
    check(msg_encode(&again, second, sizeof(second)) == len);
    check(memcmp(first, second, (size_t)len) == 0);
    return 0;
}
