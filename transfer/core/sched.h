/* sched: GRANT scheduling, who sends which chunk to whom. PURE.
 *
 * One struct sched for one share on one node. Facts go in (sched_on_*), actions
 * are pulled out (sched_next), the clock (monotonic ms) and the random salt are
 * arguments: the same calls give the same actions. Source: transfer/PROTOCOL.md; the bound is
 * Kumar & Ross, "Peer-Assisted File Distribution: The Minimum Distribution Time".
 *
 *   An idle uploader GRANTs one chunk to a random needy neighbour, which answers
 *   REQUEST(c) with the chunk it wants, or PASS. Until every chunk has been
 *   handed out once the source chooses chunk and receiver: OFFER(c), answered
 *   REQUEST(c) or PASS. Near the end a chunk may come from two peers (endgame).
 *
 * Peers are small integers 0..max_peers-1 given out by sched_peer_add() and used
 * again after sched_peer_gone(). A decision costs O(1) or O(log chunks); the
 * choice of a chunk looks at some 512 chunks or chunks / 64 words of a map at most. MAP,
 * COMPLETE and a peer that leaves are O(chunks). Memory: see sched_memory_bytes().
 */
#ifndef RONDA_SCHED_H
#define RONDA_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transfer/core/chunkmap.h"
#include "transfer/core/err.h"

enum { SCHED_PEERS_MAX = 64 };
#define SCHED_NEVER UINT64_MAX

struct sched;

struct sched_cfg {
    uint32_t chunks;      /* 0 for a share of empty files */
    uint32_t chunk_bytes; /* of a full chunk: C */
    uint16_t max_peers;   /* 1..SCHED_PEERS_MAX */
    bool source;          /* holds all, hands each chunk out once by OFFER first */
    bool polite;          /* source: stop after one copy, but for chunks with no live holder */
    uint64_t salt;        /* seeds the only randomness */
};

enum sched_act_type {
    SCHED_SEND_MAP,      /* tell peer our whole have map (once, after sched_peer_add) */
    SCHED_SEND_HAVE,     /* tell peer we hold chunk; runs to one peer come in a row: batch them */
    SCHED_SEND_COMPLETE, /* tell peer we hold all */
    SCHED_SEND_GRANT,
    SCHED_SEND_REQUEST, /* chunk */
    SCHED_SEND_PASS,    /* pass */
    SCHED_SEND_OFFER,   /* chunk */
    SCHED_SEND_REVOKE,  /* chunk: an OFFER taken back */
    SCHED_SEND_CANCEL,  /* chunk: a REQUEST of ours taken back; drop what came of it */
    SCHED_UPLOAD,       /* begin to send chunk to peer; the order of these is the order to serve */
    SCHED_UPLOAD_STOP   /* the peer cancelled, or left: send no more of chunk to peer */
};

enum sched_pass { SCHED_PASS_FULL, SCHED_PASS_NOTHING };

struct sched_act {
    enum sched_act_type type;
    uint16_t peer;
    uint32_t chunk;
    enum sched_pass pass;
};

/* have: what we hold (copied; NULL: nothing; a source: all). -ENOMEM, -EINVAL. */
int sched_new(const struct sched_cfg *cfg, const struct chunkmap *have, uint64_t now_ms,
              struct sched **out) RONDA_MUST_CHECK;
void sched_free(struct sched *s);

/* Which ends of the route to a neighbour are wireless: what PROTOCOL.md "Wi-Fi" goes by. */
enum sched_route { SCHED_WIRED = 0, SCHED_LEAF_THERE = 1, SCHED_LEAF_HERE = 2 };

/* A neighbour joined, holding nothing that we know of yet. route: enum sched_route,
 * or'ed. ERR_LIMIT when max_peers are there, -ENOMEM. */
int sched_peer_add(struct sched *s, uint64_t now_ms, unsigned route,
                   uint16_t *peer) RONDA_MUST_CHECK;
/* It left or died: its number is free again after this call. Uploads to it and
 * chunks in flight from it are forgotten; no action about it comes any more. */
void sched_peer_gone(struct sched *s, uint64_t now_ms, uint16_t peer);

/* What a neighbour says. ERR_PROTOCOL: it cannot be (chunk out of range, a
 * REQUEST for what we do not hold, more REQUESTs than SMAX + G can be queued):
 * the caller drops the peer. Late or crossing messages are no error. */
int sched_on_map(struct sched *s, uint64_t now_ms, uint16_t peer,
                 const struct chunkmap *map) RONDA_MUST_CHECK;
int sched_on_have(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk) RONDA_MUST_CHECK;
int sched_on_complete(struct sched *s, uint64_t now_ms, uint16_t peer) RONDA_MUST_CHECK;
int sched_on_grant(struct sched *s, uint64_t now_ms, uint16_t peer) RONDA_MUST_CHECK;
int sched_on_request(struct sched *s, uint64_t now_ms, uint16_t peer,
                     uint32_t chunk) RONDA_MUST_CHECK;
int sched_on_pass(struct sched *s, uint64_t now_ms, uint16_t peer,
                  enum sched_pass pass) RONDA_MUST_CHECK;
int sched_on_offer(struct sched *s, uint64_t now_ms, uint16_t peer,
                   uint32_t chunk) RONDA_MUST_CHECK;
int sched_on_revoke(struct sched *s, uint64_t now_ms, uint16_t peer,
                    uint32_t chunk) RONDA_MUST_CHECK;
int sched_on_cancel(struct sched *s, uint64_t now_ms, uint16_t peer,
                    uint32_t chunk) RONDA_MUST_CHECK;

/* Our side of the transfers. */
/* bytes more of chunk came in from peer. false: nobody asked (late, after our
 * CANCEL): drop the bytes without blame. */
bool sched_on_data(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk, uint32_t bytes);
/* Every byte of chunk came from peer: it is being verified and written. The
 * other source of the chunk, if any, gets its CANCEL now. */
void sched_on_received(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk);
/* The outcome: held (ok: verified and written: HAVE follows), or wanted again. */
void sched_on_stored(struct sched *s, uint64_t now_ms, uint32_t chunk, bool ok);
/* A chunk we held is lost (file changed under us): no longer offered. */
void sched_on_lost(struct sched *s, uint64_t now_ms, uint32_t chunk);
/* Progress of a SCHED_UPLOAD: bytes more went into the socket; done: all of it. The
 * peer holds the chunk once it says HAVE; if it does not for max(1 s, STALL) or leaves,
 * the chunk is given again.
 * blocked: the socket takes no more (EAGAIN), longer than a shared uplink explains / takes
 * again. */
void sched_on_sent(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk, uint32_t bytes,
                   bool done);
void sched_on_blocked(struct sched *s, uint64_t now_ms, uint16_t peer, bool blocked);

/* Next thing to do at now_ms; false: nothing until a new fact or
 * sched_deadline_ms(). Call in a loop; it always terminates. */
bool sched_next(struct sched *s, uint64_t now_ms, struct sched_act *act);
uint64_t sched_deadline_ms(const struct sched *s); /* SCHED_NEVER: none */

/* Figures for the user. */
struct sched_stat {
    uint32_t have;       /* chunks held */
    uint32_t inflight;   /* asked for or being received, stored not yet */
    uint32_t handed_out; /* source: chunks offered at least once */
    uint32_t spread;     /* chunks that some live neighbour has itself said to hold (merely
                            sent is not held): the source may leave when spread == chunks */
    uint32_t peers;
    uint32_t uploads;         /* now */
    uint64_t duplicate_bytes; /* came in twice (endgame) or after a CANCEL */
};
void sched_stat(const struct sched *s, struct sched_stat *out);
const struct chunkmap *sched_have(const struct sched *s);
/* Does a live neighbour still lack something that we hold? */
bool sched_needed(const struct sched *s);

size_t sched_memory_bytes(const struct sched_cfg *cfg); /* upper bound of what sched_new takes */
bool sched_valid(const struct sched *s);                /* every invariant; for tests; O(chunks) */

#endif
