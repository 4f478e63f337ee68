/* swarm: one share being passed around, on this node.
 *
 * Pumps the pure scheduler (transfer/core/sched.h): messages and bytes become
 * facts, actions become messages, uploads and disk writes. Owns the links to
 * the neighbours in this share, the chunks in flight and the uploads; borrows
 * manifest, layout and store. Loop thread only; whatever may block goes to the
 * workers. Wire dialogue: transfer/PROTOCOL.md.
 *
 * Memory, for 100 GB (23,842 chunks of 4 MiB) and 40 neighbours; in brackets what grows:
 *   chunks asked for and not stored yet   28 MiB  (SCHED_INBOUND_BYTES, or 4 chunks)
 *   first copies beyond these              8 MiB  (2 chunks a source that deals out)
 *   connections that carry data            8 MiB  (0.2 a neighbour: 128 KiB received, 80 in
 *                                                  TLS; 64 more each while its socket is full)
 *   uploads from a cold disk               4 MiB  (SWARM_READ_BYTES each, 16 at once)
 *   scheduler                            0.8 MiB  (32 bytes a chunk; 65,536 chunks: 1.8)
 *   manifest, layout, checksums          1.3 MiB  (56 bytes a chunk)
 * on top of the daemon's own 13. Measured (bench.py memory): 22 MiB at the source, 60 at a
 * receiver.
 */
#ifndef RONDA_SWARM_H
#define RONDA_SWARM_H

#include "transfer/core/layout.h"
#include "transfer/io/peer.h"
#include "transfer/io/store.h"
#include "transfer/io/workers.h"

enum {
    SWARM_LINKS_MAX = 40,          /* accepted; who comes then is told of the others */
    SWARM_LINKS_ALL = 32,          /* wished for where not more others are known */
    SWARM_LINKS_FIRST = 16,        /* wished for among more, by a newcomer */
    SWARM_LINKS_WANTED = 24,       /* wished for among more, later */
    SWARM_LINKS_FIRST_MS = 1000,   /* so long it is a newcomer */
    SWARM_TURN_BYTES = 1 << 20,    /* uploaded in one turn of the loop before others get theirs */
    SWARM_READ_BYTES = 256 * 1024, /* one cold read by a worker */
    SWARM_STAT_MS = 1000,          /* an uploading holder tells how much it has sent */
    SWARM_RETRY_MS = 2000,         /* disk full: try the write again */
    SWARM_INTRO_MS = 10000,        /* no more often the others hear of a node, or it of them */
    SWARM_SOURCES_MAX = 16,        /* origins whose figures are kept */
    SWARM_SEEN_MAX = 512           /* nodes counted as having sent us something */
};

struct swarm;

struct swarm_ops {
    /* Receiving: the last file is verified and in place. The swarm goes on as a holder. */
    void (*on_done)(void *arg);
    /* Disk or file failed for good (ERR_CHANGED, -EIO, ...): the owner stops the swarm. */
    void (*on_failed)(void *arg, int err);
    /* A neighbour broke the rules or sent a wrong chunk (ERR_HASH): it is out of this
     * swarm for good. */
    void (*on_banned)(void *arg, const uint8_t node[static HASH_LEN], int err);
    /* Another member, by peer exchange: one of `of` that via told of at once. Not linked yet. */
    void (*on_candidate)(void *arg, const struct msg_peer *who, uint16_t of, struct peer *via);
};

struct swarm_cfg {
    struct event_base *base;
    struct workers *workers;
    hash_fn *hash;
    hash_many_fn *hash_many;         /* may be NULL */
    const struct manifest *manifest; /* complete */
    const struct layout *layout;
    struct store *store;
    const uint8_t *self; /* our NodeID, HASH_LEN bytes */
    bool receiving;      /* on_done is wanted, also when nothing is missing any more */
    bool origin;         /* shared here first: hands each chunk out once (sched source) */
    uint64_t sent_bytes; /* payload sent in earlier swarms of this share: counted on */
    uint64_t salt;
    const struct swarm_ops *ops;
    void *arg;
};

/* -ENOMEM. Everything in cfg outlives the swarm. */
int swarm_new(const struct swarm_cfg *cfg, struct swarm **out) RONDA_MUST_CHECK;
/* Leaves all neighbours, lets running disk jobs end, makes durable what was
 * written, then calls stopped (never from inside this call) and is gone. */
void swarm_stop(struct swarm *w, void (*stopped)(void *arg), void *arg);

/* Gone at once, stopped or not, and nothing is told any more. Only when none of its
 * jobs waits or runs: after workers_free(). NULL is fine. */
void swarm_free(struct swarm *w);

/* Wants p in this swarm: sends JOIN unless it is linked already. */
void swarm_join(struct swarm *w, struct peer *p);
/* p sent JOIN for this share: answered with ours unless that went out before. */
void swarm_on_join(struct swarm *w, struct peer *p, const struct msg *m);
/* Answers a JOIN under their_sid that is not taken: REFUSE with err. */
void swarm_refuse(struct peer *p, uint16_t their_sid, int err);
/* Any other swarm message of p (m->sid is its number); finds the link itself.
 * A message for a share that we have left is dropped. */
void swarm_on_msg(struct peer *p, const struct msg *m);
/* Is m for swarm_on_msg()? */
bool swarm_takes(enum msg_type type);
void swarm_on_writable(struct peer *p);
/* p is gone: all its links in all swarms go. */
void swarm_drop_peer(struct peer *p);

/* Linked, or banned: there is no use in another try. */
bool swarm_linked(const struct swarm *w, const uint8_t node[static HASH_LEN]);
bool swarm_banned(const struct swarm *w, const uint8_t node[static HASH_LEN]);
uint32_t swarm_links(const struct swarm *w);

struct swarm_stat {
    uint32_t chunks, have, spread, peers, peers_seen;
    uint64_t done_bytes; /* verified and written */
    uint64_t received_bytes, from_source_bytes, duplicate_bytes, uploaded_bytes;
    double down_per_s, up_per_s;
    uint64_t source_bytes; /* sent by the origins since they were started, as they say,
                              ourselves included */
    bool source_known;
    bool source_restarted; /* one was started again: source_bytes has what it told before, too,
                              and is the least that they have sent: the last it had not told */
    bool disk_full;        /* a write waits for space */
    bool needed;           /* a neighbour lacks something that we hold */
    bool done;             /* all files in place */
    bool delivered;        /* spread == chunks, and none of it still waits in our sockets */
};
void swarm_stat(const struct swarm *w, struct swarm_stat *out);

#endif
