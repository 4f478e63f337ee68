#include "transfer/core/msg.h"

#include <assert.h>
#include <string.h>

#include "transfer/core/layout.h"
#include "transfer/core/name.h"
#include "transfer/core/wire.h"

enum {
    NONE_BODY_BYTES = 1,     /* 0 would mean "unknown type"; a body is refused all the same */
    HELLO_BODY_BYTES = 1024, /* a later version may append fields: they are skipped */
    PEER_BYTES = HASH_LEN + 16 + 2,
    ENTRY_BYTES_MAX = 2 * HASH_LEN + 8 + 4 + 3 + MSG_NAME_BYTES_MAX,
    CATALOG_BODY_BYTES = 8 + 4 + 4 + 2 + MSG_CATALOG_MAX * ENTRY_BYTES_MAX,
    META_HEAD_BYTES = HASH_LEN + 1 + 4 + 4,
    META_BODY_BYTES = META_HEAD_BYTES + MSG_DATA_BYTES_MAX,
    MAP_BODY_BYTES = 2 + MSG_CHUNKS_MAX / 8,
    HAVE_BODY_BYTES = 2 + 2 + 4 * MSG_HAVE_MAX,
    DATA_BODY_BYTES = MSG_DATA_HEAD_BYTES - MSG_HEAD_BYTES + MSG_DATA_BYTES_MAX,
    PEERS_BODY_BYTES = 2 + 2 + MSG_PEERS_MAX * PEER_BYTES,
    FLAGS_SHARE = MSG_FLAG_LEAF | MSG_FLAG_ORIGIN
};

_Static_assert(MSG_HEAD_BYTES + CATALOG_BODY_BYTES <= MSG_FRAME_BYTES_MAX, "CATALOG fits");
_Static_assert(MSG_HEAD_BYTES + META_BODY_BYTES <= MSG_FRAME_BYTES_MAX, "META fits");
_Static_assert(MSG_HEAD_BYTES + DATA_BODY_BYTES <= MSG_FRAME_BYTES_MAX, "DATA fits");
_Static_assert((int)MSG_CHUNKS_MAX == (int)LAYOUT_CHUNKS_MAX, "one limit");
_Static_assert((int)MSG_CHUNK_BYTES_MAX == (int)MANIFEST_PIECE_MAX, "one limit");
_Static_assert((int)MSG_META_BYTES_MAX == (int)MANIFEST_BYTES_MAX, "one limit");
_Static_assert((int)MSG_META_BYTES_MAX == MANIFEST_PIECES_MAX * HASH_LEN, "one limit");
_Static_assert((int)MSG_FILES_MAX == (int)MANIFEST_FILES_MAX, "one limit");

/* One pair a message. get: false when a value is not allowed (lengths are the
 * cursor's to judge); put: false when a value breaks a limit of the protocol. */
typedef bool get_fn(struct wire_in *w, struct msg *m);
typedef bool put_fn(struct wire_out *w, const struct msg *m);

static const uint8_t *get_rest(struct wire_in *w, uint32_t *len_bytes)
{
    size_t left = w->left_bytes;

    *len_bytes = (uint32_t)left; /* at most a frame: msg_decode() */
    return wire_get_bytes(w, left);
}

static bool get_none(struct wire_in *w, struct msg *m)
{
    (void)w;
    (void)m;
    return true;
}

static bool put_none(struct wire_out *w, const struct msg *m)
{
    (void)w;
    (void)m;
    return true;
}

static bool get_text(struct wire_in *w, char *out, size_t max_bytes)
{
    size_t len = wire_get_u8(w);

    if (len > max_bytes)
        return false;
    wire_get_copy(w, out, len);
    out[len] = '\0';
    return strlen(out) == len; /* a NUL inside would hide what follows it */
}

static void put_text(struct wire_out *w, const char *text, size_t len)
{
    wire_put_u8(w, (uint8_t)len);
    wire_put_bytes(w, text, len);
}

/* HELLO and BYE are the same in every version: they are read before, or
 * without, one being agreed. */
static bool get_hello(struct wire_in *w, struct msg *m)
{
    m->hello.version_min = wire_get_u16(w);
    m->hello.version_max = wire_get_u16(w);
    m->hello.port = wire_get_u16(w);
    m->hello.flags = wire_get_u8(w) & MSG_FLAG_LEAF;
    m->hello.catalog_version = wire_get_u64(w);
    if (!get_text(w, m->hello.nick, MSG_NICK_BYTES_MAX) || w->bad)
        return false;
    (void)wire_get_bytes(w, w->left_bytes);
    return m->hello.version_min >= 1 && m->hello.version_min <= m->hello.version_max &&
           name_utf8(m->hello.nick, strlen(m->hello.nick));
}

static bool put_hello(struct wire_out *w, const struct msg *m)
{
    size_t len = strnlen(m->hello.nick, sizeof(m->hello.nick));

    if (len > MSG_NICK_BYTES_MAX)
        return false;
    wire_put_u16(w, m->hello.version_min);
    wire_put_u16(w, m->hello.version_max);
    wire_put_u16(w, m->hello.port);
    wire_put_u8(w, m->hello.flags);
    wire_put_u64(w, m->hello.catalog_version);
    put_text(w, m->hello.nick, len);
    return true;
}

static bool get_ack(struct wire_in *w, struct msg *m)
{
    m->version = wire_get_u16(w);
    return m->version >= 1;
}

static bool put_ack(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->version);
    return true;
}

static bool get_bye(struct wire_in *w, struct msg *m)
{
    m->reason = wire_get_u16(w);
    return true;
}

static bool put_bye(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->reason);
    return true;
}

static bool get_catalog_get(struct wire_in *w, struct msg *m)
{
    m->first = wire_get_u32(w);
    return true;
}

static bool put_catalog_get(struct wire_out *w, const struct msg *m)
{
    wire_put_u32(w, m->first);
    return true;
}

static bool entry_get(struct wire_in *w, struct msg_entry *e)
{
    wire_get_copy(w, e->id, HASH_LEN);
    wire_get_copy(w, e->key, HASH_LEN);
    e->bytes = wire_get_u64(w);
    e->files = wire_get_u32(w);
    e->state = wire_get_u8(w);
    e->flags = wire_get_u8(w) & MSG_FLAG_ORIGIN;
    size_t len = wire_get_u8(w);
    wire_get_copy(w, e->name, len);
    e->name[len] = '\0';
    return !w->bad && e->bytes <= INT64_MAX && e->files <= MSG_FILES_MAX &&
           e->state <= MSG_STATE_COMPLETE && name_check(e->name, len) == 0;
}

static bool get_catalog(struct wire_in *w, struct msg *m)
{
    struct msg_entry e;

    m->catalog.version = wire_get_u64(w);
    m->catalog.total = wire_get_u32(w);
    m->catalog.first = wire_get_u32(w);
    m->catalog.count = wire_get_u16(w);
    m->catalog.raw = w->at;
    m->catalog.raw_bytes = w->left_bytes;
    m->catalog.entries = NULL;
    if (m->catalog.count > MSG_CATALOG_MAX)
        return false;
    if (m->catalog.count > 0 && /* an empty one also answers a question past the end */
        (m->catalog.first > m->catalog.total ||
         m->catalog.count > m->catalog.total - m->catalog.first))
        return false;
    for (uint16_t i = 0; i < m->catalog.count; i++)
        if (!entry_get(w, &e))
            return false;
    return true;
}

static bool entry_put(struct wire_out *w, const struct msg_entry *e)
{
    size_t len = strnlen(e->name, sizeof(e->name));

    if (len == 0 || len > MSG_NAME_BYTES_MAX || e->bytes > INT64_MAX || e->files > MSG_FILES_MAX ||
        e->state > MSG_STATE_COMPLETE)
        return false;
    wire_put_bytes(w, e->id, HASH_LEN);
    wire_put_bytes(w, e->key, HASH_LEN);
    wire_put_u64(w, e->bytes);
    wire_put_u32(w, e->files);
    wire_put_u8(w, e->state);
    wire_put_u8(w, e->flags);
    put_text(w, e->name, len);
    return true;
}

static bool put_catalog(struct wire_out *w, const struct msg *m)
{
    if (m->catalog.count > MSG_CATALOG_MAX)
        return false;
    wire_put_u64(w, m->catalog.version);
    wire_put_u32(w, m->catalog.total);
    wire_put_u32(w, m->catalog.first);
    wire_put_u16(w, m->catalog.count);
    for (uint16_t i = 0; i < m->catalog.count; i++)
        if (!entry_put(w, &m->catalog.entries[i]))
            return false;
    return true;
}

static bool get_meta_id(struct wire_in *w, struct msg *m)
{
    wire_get_copy(w, m->meta.id, HASH_LEN);
    m->meta.what = wire_get_u8(w);
    return m->meta.what <= MSG_WHAT_LAYERS;
}

static bool put_meta_id(struct wire_out *w, const struct msg *m)
{
    wire_put_bytes(w, m->meta.id, HASH_LEN);
    wire_put_u8(w, m->meta.what);
    return m->meta.what <= MSG_WHAT_LAYERS;
}

static bool get_meta_get(struct wire_in *w, struct msg *m)
{
    bool ok = get_meta_id(w, m);

    m->meta.offset_bytes = wire_get_u32(w);
    return ok && m->meta.offset_bytes < MSG_META_BYTES_MAX;
}

static bool put_meta_get(struct wire_out *w, const struct msg *m)
{
    bool ok = put_meta_id(w, m);

    wire_put_u32(w, m->meta.offset_bytes);
    return ok && m->meta.offset_bytes < MSG_META_BYTES_MAX;
}

/* An empty answer would let a peer keep us asking for ever. */
static bool meta_valid(const struct msg *m)
{
    uint32_t total = m->meta.total_bytes;

    return total <= MSG_META_BYTES_MAX && m->meta.offset_bytes <= total &&
           m->meta.len_bytes <= total - m->meta.offset_bytes &&
           m->meta.len_bytes <= MSG_DATA_BYTES_MAX && (m->meta.len_bytes > 0 || total == 0);
}

static bool get_meta(struct wire_in *w, struct msg *m)
{
    bool ok = get_meta_id(w, m);

    m->meta.total_bytes = wire_get_u32(w);
    m->meta.offset_bytes = wire_get_u32(w);
    m->meta.data = get_rest(w, &m->meta.len_bytes);
    return ok && meta_valid(m);
}

static bool put_meta(struct wire_out *w, const struct msg *m)
{
    if (!put_meta_id(w, m) || !meta_valid(m))
        return false;
    wire_put_u32(w, m->meta.total_bytes);
    wire_put_u32(w, m->meta.offset_bytes);
    wire_put_bytes(w, m->meta.data, m->meta.len_bytes);
    return true;
}

static bool get_join(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    wire_get_copy(w, m->join.key, HASH_LEN);
    m->join.chunks = wire_get_u32(w);
    m->join.flags = wire_get_u8(w) & FLAGS_SHARE;
    return m->join.chunks <= MSG_CHUNKS_MAX;
}

static bool put_join(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->sid);
    wire_put_bytes(w, m->join.key, HASH_LEN);
    wire_put_u32(w, m->join.chunks);
    wire_put_u8(w, m->join.flags);
    return m->join.chunks <= MSG_CHUNKS_MAX;
}

static bool get_refuse(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    m->reason = wire_get_u16(w);
    return true;
}

static bool put_refuse(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->sid);
    wire_put_u16(w, m->reason);
    return true;
}

/* LEAVE, COMPLETE, GRANT */
static bool get_sid(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    return true;
}

static bool put_sid(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->sid);
    return true;
}

/* REQUEST, OFFER, REVOKE, CANCEL */
static bool get_chunk(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    m->chunk = wire_get_u32(w);
    return m->chunk < MSG_CHUNKS_MAX;
}

static bool put_chunk(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->sid);
    wire_put_u32(w, m->chunk);
    return m->chunk < MSG_CHUNKS_MAX;
}

static bool get_map(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    m->map.bits = get_rest(w, &m->map.len_bytes);
    return true;
}

static bool put_map(struct wire_out *w, const struct msg *m)
{
    if (m->map.len_bytes > MSG_CHUNKS_MAX / 8)
        return false;
    wire_put_u16(w, m->sid);
    wire_put_bytes(w, m->map.bits, m->map.len_bytes);
    return true;
}

static bool get_have(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    m->have.count = wire_get_u16(w);
    m->have.raw = w->at;
    m->have.chunks = NULL;
    if (m->have.count == 0 || m->have.count > MSG_HAVE_MAX)
        return false;
    for (uint16_t i = 0; i < m->have.count; i++)
        if (wire_get_u32(w) >= MSG_CHUNKS_MAX)
            return false;
    return true;
}

static bool put_have(struct wire_out *w, const struct msg *m)
{
    if (m->have.count == 0 || m->have.count > MSG_HAVE_MAX)
        return false;
    wire_put_u16(w, m->sid);
    wire_put_u16(w, m->have.count);
    for (uint16_t i = 0; i < m->have.count; i++) {
        if (m->have.chunks[i] >= MSG_CHUNKS_MAX)
            return false;
        wire_put_u32(w, m->have.chunks[i]);
    }
    return true;
}

static bool get_pass(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    m->reason = wire_get_u8(w);
    return m->reason <= MSG_PASS_NOTHING;
}

static bool put_pass(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->sid);
    wire_put_u8(w, (uint8_t)m->reason);
    return m->reason <= MSG_PASS_NOTHING;
}

static bool data_valid(const struct msg *m)
{
    return m->chunk < MSG_CHUNKS_MAX && m->data.len_bytes > 0 &&
           m->data.len_bytes <= MSG_DATA_BYTES_MAX &&
           m->data.offset_bytes <= MSG_CHUNK_BYTES_MAX - m->data.len_bytes;
}

static bool get_data(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    m->chunk = wire_get_u32(w);
    m->data.offset_bytes = wire_get_u32(w);
    m->data.data = get_rest(w, &m->data.len_bytes);
    return data_valid(m);
}

static bool put_data(struct wire_out *w, const struct msg *m)
{
    if (!data_valid(m))
        return false;
    wire_put_u16(w, m->sid);
    wire_put_u32(w, m->chunk);
    wire_put_u32(w, m->data.offset_bytes);
    wire_put_bytes(w, m->data.data, m->data.len_bytes);
    return true;
}

static void peer_get(struct wire_in *w, struct msg_peer *p)
{
    wire_get_copy(w, p->node, HASH_LEN);
    wire_get_copy(w, p->addr, sizeof(p->addr));
    p->port = wire_get_u16(w);
}

static bool get_peers(struct wire_in *w, struct msg *m)
{
    struct msg_peer p;

    m->sid = wire_get_u16(w);
    m->peers.count = wire_get_u16(w);
    m->peers.raw = w->at;
    m->peers.peers = NULL;
    if (m->peers.count > MSG_PEERS_MAX)
        return false;
    for (uint16_t i = 0; i < m->peers.count; i++) {
        peer_get(w, &p);
        if (p.port == 0)
            return false;
    }
    return true;
}

static bool put_peers(struct wire_out *w, const struct msg *m)
{
    if (m->peers.count > MSG_PEERS_MAX)
        return false;
    wire_put_u16(w, m->sid);
    wire_put_u16(w, m->peers.count);
    for (uint16_t i = 0; i < m->peers.count; i++) {
        const struct msg_peer *p = &m->peers.peers[i];
        if (p->port == 0)
            return false;
        wire_put_bytes(w, p->node, HASH_LEN);
        wire_put_bytes(w, p->addr, sizeof(p->addr));
        wire_put_u16(w, p->port);
    }
    return true;
}

static bool get_stat(struct wire_in *w, struct msg *m)
{
    m->sid = wire_get_u16(w);
    m->stat.sent_bytes = wire_get_u64(w);
    m->stat.flags = wire_get_u8(w) & MSG_FLAG_ORIGIN;
    return true;
}

static bool put_stat(struct wire_out *w, const struct msg *m)
{
    wire_put_u16(w, m->sid);
    wire_put_u64(w, m->stat.sent_bytes);
    wire_put_u8(w, m->stat.flags);
    return true;
}

struct form {
    const char *name;
    uint32_t body_max;
    get_fn *get;
    put_fn *put;
};

static const struct form forms[MSG_TYPES] = {
    [MSG_HELLO] = {"HELLO", HELLO_BODY_BYTES, get_hello, put_hello},
    [MSG_HELLO_ACK] = {"HELLO_ACK", 2, get_ack, put_ack},
    [MSG_BYE] = {"BYE", 2, get_bye, put_bye},
    [MSG_KEEPALIVE] = {"KEEPALIVE", NONE_BODY_BYTES, get_none, put_none},
    [MSG_CATALOG_GET] = {"CATALOG_GET", 4, get_catalog_get, put_catalog_get},
    [MSG_CATALOG] = {"CATALOG", CATALOG_BODY_BYTES, get_catalog, put_catalog},
    [MSG_META_GET] = {"META_GET", HASH_LEN + 1 + 4, get_meta_get, put_meta_get},
    [MSG_META] = {"META", META_BODY_BYTES, get_meta, put_meta},
    [MSG_META_NO] = {"META_NO", HASH_LEN + 1, get_meta_id, put_meta_id},
    [MSG_JOIN] = {"JOIN", 2 + HASH_LEN + 4 + 1, get_join, put_join},
    [MSG_REFUSE] = {"REFUSE", 4, get_refuse, put_refuse},
    [MSG_LEAVE] = {"LEAVE", 2, get_sid, put_sid},
    [MSG_MAP] = {"MAP", MAP_BODY_BYTES, get_map, put_map},
    [MSG_HAVE] = {"HAVE", HAVE_BODY_BYTES, get_have, put_have},
    [MSG_COMPLETE] = {"COMPLETE", 2, get_sid, put_sid},
    [MSG_GRANT] = {"GRANT", 2, get_sid, put_sid},
    [MSG_REQUEST] = {"REQUEST", 6, get_chunk, put_chunk},
    [MSG_PASS] = {"PASS", 3, get_pass, put_pass},
    [MSG_OFFER] = {"OFFER", 6, get_chunk, put_chunk},
    [MSG_REVOKE] = {"REVOKE", 6, get_chunk, put_chunk},
    [MSG_CANCEL] = {"CANCEL", 6, get_chunk, put_chunk},
    [MSG_DATA] = {"DATA", DATA_BODY_BYTES, get_data, put_data},
    [MSG_PEERS] = {"PEERS", PEERS_BODY_BYTES, get_peers, put_peers},
    [MSG_STAT] = {"STAT", 2 + 8 + 1, get_stat, put_stat},
};

static const struct form *form_of(uint8_t type)
{
    return type < MSG_TYPES && forms[type].name ? &forms[type] : NULL;
}

uint32_t msg_body_max(uint8_t type)
{
    const struct form *f = form_of(type);

    return f ? f->body_max : 0;
}

const char *msg_type_name(uint8_t type)
{
    const struct form *f = form_of(type);

    return f ? f->name : "?";
}

int msg_decode(uint8_t type, const uint8_t *body, size_t len_bytes, struct msg *m)
{
    const struct form *f = form_of(type);
    struct wire_in w = wire_in(body, len_bytes);

    memset(m, 0, sizeof(*m));
    if (!f || len_bytes > f->body_max)
        return ERR_MESSAGE;
    m->type = (enum msg_type)type;
    return f->get(&w, m) && wire_in_done(&w) ? 0 : ERR_MESSAGE;
}

int msg_encode(const struct msg *m, uint8_t *out, size_t cap_bytes)
{
    const struct form *f = form_of((uint8_t)m->type);
    struct wire_out w = wire_out(out, cap_bytes);
    struct wire_out head = wire_out(out, cap_bytes);

    assert(f);
    wire_put_u32(&w, 0); /* the length comes last */
    wire_put_u8(&w, (uint8_t)m->type);
    if (!f->put(&w, m) || w.bad)
        return ERR_LIMIT;
    wire_put_u32(&head, (uint32_t)w.used_bytes - 4);
    return (int)w.used_bytes;
}

void msg_data_head(uint8_t out[static MSG_DATA_HEAD_BYTES], uint16_t sid, uint32_t chunk,
                   uint32_t offset_bytes, uint32_t len_bytes)
{
    struct wire_out w = wire_out(out, MSG_DATA_HEAD_BYTES);

    wire_put_u32(&w, MSG_DATA_HEAD_BYTES - 4 + len_bytes);
    wire_put_u8(&w, MSG_DATA);
    wire_put_u16(&w, sid);
    wire_put_u32(&w, chunk);
    wire_put_u32(&w, offset_bytes);
}

uint32_t msg_have_at(const struct msg *m, uint16_t i)
{
    struct wire_in w = wire_in(m->have.raw + (size_t)i * 4, 4);

    assert(i < m->have.count);
    return wire_get_u32(&w);
}

void msg_peer_at(const struct msg *m, uint16_t i, struct msg_peer *out)
{
    struct wire_in w = wire_in(m->peers.raw + (size_t)i * PEER_BYTES, PEER_BYTES);

    assert(i < m->peers.count);
    peer_get(&w, out);
}

bool msg_entry_next(const struct msg *m, size_t *pos, struct msg_entry *out)
{
    if (*pos >= m->catalog.raw_bytes)
        return false;
    struct wire_in w = wire_in(m->catalog.raw + *pos, m->catalog.raw_bytes - *pos);
    if (!entry_get(&w, out))
        return false;
    *pos = m->catalog.raw_bytes - w.left_bytes;
    return true;
}

uint16_t msg_reason(int err)
{
    if (err >= 0)
        return MSG_REASON_NONE;
    return (uint16_t)(ERR_MESSAGE - (err > ERR_MESSAGE ? ERR_LIMIT : err));
}

int msg_reason_err(uint16_t reason)
{
    if (reason == MSG_REASON_NONE)
        return 0;
    return reason <= ERR_MESSAGE - ERR_LAST ? ERR_MESSAGE - reason : ERR_CLOSED;
}
