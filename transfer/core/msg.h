/* msg: the messages of the peer protocol, to and from bytes. PURE.
 *
 * transfer/PROTOCOL.md draws the dialogue. A frame is {u32 length of what
 * follows, u8 type, body}, big endian. A decoded message points into the frame:
 * it lives as long as the frame's bytes do. No call allocates.
 */
#ifndef RONDA_MSG_H
#define RONDA_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/err.h"
#include "transfer/core/hash.h"

enum {
    MSG_VERSION_MIN = 1,
    MSG_VERSION_MAX = 1,
    MSG_HEAD_BYTES = 5,         /* u32 length + u8 type */
    MSG_DATA_BYTES_MAX = 65536, /* payload of one DATA or META */
    MSG_DATA_HEAD_BYTES = MSG_HEAD_BYTES + 10,
    MSG_FRAME_BYTES_MAX = 80 * 1024, /* a whole frame of any type */
    MSG_NICK_BYTES_MAX = 63,
    MSG_NAME_BYTES_MAX = 255,
    MSG_HAVE_MAX = 1024,             /* chunks in one HAVE */
    MSG_PEERS_MAX = 64,              /* entries in one PEERS */
    MSG_CATALOG_MAX = 128,           /* entries in one CATALOG */
    MSG_CHUNKS_MAX = 1 << 17,        /* in one share: LAYOUT_CHUNKS_MAX */
    MSG_CHUNK_BYTES_MAX = 128 << 20, /* MANIFEST_PIECE_MAX */
    MSG_META_BYTES_MAX = 64 << 20,   /* of one blob: MANIFEST_BYTES_MAX, and the layers */
    MSG_FILES_MAX = 1000000,         /* MANIFEST_FILES_MAX */
    MSG_REASON_NONE = 0xffff         /* BYE in good order */
};

enum msg_type {
    MSG_HELLO = 1,
    MSG_HELLO_ACK,
    MSG_BYE,
    MSG_KEEPALIVE,
    MSG_CATALOG_GET,
    MSG_CATALOG,
    MSG_META_GET,
    MSG_META,
    MSG_META_NO,
    MSG_JOIN,
    MSG_REFUSE,
    MSG_LEAVE,
    MSG_MAP,
    MSG_HAVE,
    MSG_COMPLETE,
    MSG_GRANT,
    MSG_REQUEST,
    MSG_PASS,
    MSG_OFFER,
    MSG_REVOKE,
    MSG_CANCEL,
    MSG_DATA,
    MSG_PEERS,
    MSG_STAT,
    MSG_TYPES
};

enum msg_flag { MSG_FLAG_LEAF = 1, MSG_FLAG_ORIGIN = 2 }; /* wireless; shared here first */
enum msg_what { MSG_WHAT_INFO = 0, MSG_WHAT_LAYERS = 1 };
enum msg_pass { MSG_PASS_FULL = 0, MSG_PASS_NOTHING = 1 };
enum msg_state { MSG_STATE_PARTIAL = 0, MSG_STATE_COMPLETE = 1 };

struct msg_entry { /* one share in a catalogue */
    uint8_t id[HASH_LEN];
    uint8_t key[HASH_LEN];
    uint64_t bytes;
    uint32_t files;
    uint8_t state; /* enum msg_state */
    uint8_t flags; /* MSG_FLAG_ORIGIN */
    char name[MSG_NAME_BYTES_MAX + 1];
};

struct msg_peer { /* where a member of a swarm listens */
    uint8_t node[HASH_LEN];
    uint8_t addr[16]; /* IPv6, or IPv4 mapped into it (RFC 4291 2.5.5.2) */
    uint16_t port;
};

struct msg {
    enum msg_type type;
    uint16_t sid;   /* swarm messages: the *sender's* number for the share (its JOIN);
                       REFUSE: the number in the JOIN that is refused */
    uint32_t chunk; /* REQUEST OFFER REVOKE CANCEL DATA */
    union {
        struct {
            uint16_t version_min, version_max;
            uint16_t port; /* where the sender listens, 0: nowhere */
            uint8_t flags; /* MSG_FLAG_LEAF */
            uint64_t catalog_version;
            char nick[MSG_NICK_BYTES_MAX + 1];
        } hello;
        uint16_t version; /* HELLO_ACK */
        uint16_t reason;  /* PASS: enum msg_pass; BYE, REFUSE: msg_reason() */
        uint32_t first;   /* CATALOG_GET: index of the first entry wanted */
        struct {
            uint64_t version;
            uint32_t total; /* entries in the whole catalogue */
            uint32_t first; /* index of the first one here */
            uint16_t count;
            const uint8_t *raw; /* decode: entries, for msg_entry_next; */
            size_t raw_bytes;
            const struct msg_entry *entries; /* encode */
        } catalog;
        struct {
            uint8_t id[HASH_LEN];
            uint8_t what;          /* enum msg_what */
            uint32_t total_bytes;  /* META: of the whole blob */
            uint32_t offset_bytes; /* META_GET asks, META answers, up to MSG_DATA_BYTES_MAX */
            const uint8_t *data;   /* META */
            uint32_t len_bytes;    /* META */
        } meta;                    /* META_GET META META_NO */
        struct {
            uint8_t key[HASH_LEN];
            uint32_t chunks;
            uint8_t flags; /* MSG_FLAG_LEAF, MSG_FLAG_ORIGIN */
        } join;
        struct {
            const uint8_t *bits; /* chunkmap wire form */
            uint32_t len_bytes;
        } map;
        struct {
            uint16_t count;
            const uint8_t *raw;     /* decode: count big-endian u32, msg_have_at() */
            const uint32_t *chunks; /* encode */
        } have;
        struct {
            uint32_t offset_bytes; /* in the chunk */
            uint32_t len_bytes;
            const uint8_t *data;
        } data;
        struct {
            uint16_t count;
            const uint8_t *raw;           /* decode: msg_peer_at() */
            const struct msg_peer *peers; /* encode */
        } peers;
        struct {
            uint64_t sent_bytes; /* payload the sender has uploaded in this swarm */
            uint8_t flags;       /* MSG_FLAG_ORIGIN */
        } stat;
    };
};

/* Longest body of a type, bytes (what follows the type octet): checked on the
 * header alone, before a byte of the body is stored. 0: unknown type. */
uint32_t msg_body_max(uint8_t type);

/* Parses a body. Every count, length, enum and name is checked; ERR_MESSAGE. */
int msg_decode(uint8_t type, const uint8_t *body, size_t len_bytes, struct msg *m) RONDA_MUST_CHECK;

/* Writes a whole frame, header included, and returns its length in bytes;
 * ERR_LIMIT when it does not fit cap_bytes or a limit of the protocol. */
int msg_encode(const struct msg *m, uint8_t *out, size_t cap_bytes) RONDA_MUST_CHECK;

/* Only the header of a DATA frame (MSG_DATA_HEAD_BYTES) for len_bytes of
 * payload that the caller puts right behind it, saving a copy. */
void msg_data_head(uint8_t out[static MSG_DATA_HEAD_BYTES], uint16_t sid, uint32_t chunk,
                   uint32_t offset_bytes, uint32_t len_bytes);

/* Accessors of the packed lists of a decoded message; i < count. */
uint32_t msg_have_at(const struct msg *m, uint16_t i);
void msg_peer_at(const struct msg *m, uint16_t i, struct msg_peer *out);
/* Walks catalog.raw: *pos starts at 0; false at the end. msg_decode() has
 * already checked every entry. */
bool msg_entry_next(const struct msg *m, size_t *pos, struct msg_entry *out);

/* What BYE and REFUSE carry for an error: -1000 - code of err.h; MSG_REASON_NONE
 * for 0; a system error is told as ERR_LIMIT. And back: 0, or the code; a
 * reason that we do not know is ERR_CLOSED. */
uint16_t msg_reason(int err);
int msg_reason_err(uint16_t reason);

const char *msg_type_name(uint8_t type); /* "GRANT"; "?" when unknown */

#endif
