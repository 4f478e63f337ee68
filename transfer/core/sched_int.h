/* sched_int: what the files of sched share among themselves. PURE.
 *
 *   sched.c          life, neighbours coming and going, the order of actions
 *   sched_map.c      who holds what: availability, MAP and HAVE in and out
 *   sched_sent.c     what we sent and nobody has confirmed
 *   sched_air.c      what a wireless route is used for
 *   sched_upload.c   queue and slots, GRANTs out, the own uplink rate
 *   sched_source.c   the source's cursor: OFFERs out
 *   sched_receive.c  GRANTs and OFFERs in, chunks in flight, endgame
 *   sched_valid.c    the invariants
 */
#ifndef RONDA_SCHED_INT_H
#define RONDA_SCHED_INT_H

#include "transfer/core/sched.h"
#include "transfer/core/sched_ablate.h"

/* Simulated, time / bound, source copies and control messages a chunk (10 peers, 1024
 * chunks of 256 KiB, 100 Mbit/s; behind 20 ms of data; 10 peers, 1 Gbit/s):
 *   S 2, G 1, T 5 + G, short backoffs   1.039 1.01 12.0   1.117 1.08 7.6   1.220 1.15 4.4
 *   G + 2                               1.040 1.01 17.7   1.044 1.02 8.8   1.118 1.06 4.8
 *   PASS(full) is a debt, 4 tau         1.043 1.02  9.7   1.040 1.02 8.0   1.117 1.05 4.7
 *   S 3                                 1.030 1.02 10.2   1.035 1.02 8.6   1.043 1.02 6.6
 *   T 6 + G, HAVE_FLUSH 3 tau           1.022 1.01 10.5   1.032 1.02 7.6   1.040 1.02 6.6
 *   T 9 + G, QS up to 16, HAVEs with
 *   GRANTs, FLUSH 12 tau, G by two
 *   round trips, a debt is 6 tau        1.018 1.01  9.8   1.025 1.02 7.3   1.036 1.02 6.2
 * The last two with 1 MiB, 1 Gbit/s: 10 peers 1.022 10.2, 1.016 9.2; 32 peers 1.044 17.8,
 * 1.029 12.3; 100 peers 1.081 15.5, 1.057 9.7. Each chunk takes about log2(peers) hops of
 * as many tau as a receiver has chunks under way: so a larger T fills the uplinks, and
 * costs at both ends. T 12 + G with 100 peers: 1.16.
 */
enum {
    SCHED_SLOTS = 3,                 /* S: chunks being sent at once, a peer */
    SCHED_SLOTS_SOURCE = 4,          /* SS: the source */
    SCHED_SLOTS_FAST = 5,            /* both, where a chunk takes less than a round trip */
    SCHED_SLOTS_MAX = 16,            /* SMAX: with those that are blocked or slow */
    SCHED_FAST_TAUS = 2,             /* a round trip so long: the uplink is fast */
    SCHED_AHEAD_FAST = 6,            /* G with SCHED_SLOTS_FAST */
    SCHED_INBOUND = 9,               /* T = 9 + G: chunks asked for at once */
    SCHED_INBOUND_FEW = 5,           /* T = 5 + G in a share that is all start and end */
    SCHED_INBOUND_LAST = 3,          /* and a quarter of what is missing, when all is about */
    SCHED_INBOUND_LEAF = 2,          /* T on a wireless route, whatever G */
    SCHED_OFFERS = 5,                /* QS = 5 + G: offers not delivered yet; or one a peer, */
    SCHED_OFFERS_MAX = 16,           /* up to so many: a share of each downlink fills the uplink */
    SCHED_OFFERS_PEER = 2,           /* PS: of these, to one peer */
    SCHED_SOURCES_MAX = 2,           /* peers that send us the same chunk */
    SCHED_ENDGAME_PERCENT = 75,      /* a chunk received so far gets no second source */
    SCHED_GRANT_EXP_MS = 30,         /* an unanswered GRANT or OFFER is not waited for longer */
    SCHED_GRANT_EXP_MAX_MS = 1000,   /* on links where answers queue behind data */
    SCHED_UNSTORED_BYTES = 24 << 20, /* waiting for the disk: no more OFFERs are taken */
    SCHED_INBOUND_BYTES = 28 << 20,  /* T chunks are no more, */
    SCHED_INBOUND_MIN = 4,           /* unless so few are */
    SCHED_FULL_BACKOFF_MS = 10, /* an OFFER that found the receiver full: tau, at least so long */
    SCHED_EXP_BACKOFF_MS = 120,
    SCHED_EXP_BACKOFF_MAX_MS = 2000,
    SCHED_PASS_BACKOFF_MS = 3,
    SCHED_PASS_BACKOFF_MAX_MS = 30,
    SCHED_FULL_TAUS = 6, /* after PASS(full), unless the uplink runs dry; doubles once */
    SCHED_FULL_BACKOFF_MAX_MS = 2000,
    SCHED_NOTHING_BACKOFF_MAX_MS = 2000, /* from STALL on, if we gain nothing for it */
    SCHED_TAIL_CHUNKS = 64,              /* so near the end (or the start) nothing is put off */
    SCHED_OFFER_BACKOFF_MS = 1000,       /* after a REVOKE */
    SCHED_OFFER_BACKOFF_MAX_MS = 8000,
    SCHED_AIR_PATIENCE_MS = 8000, /* and 2 STALL: then a leaf helps where wired ones do not */
    SCHED_STALL_MS = 250,         /* STALL = max(250 ms, 12 tau) */
    SCHED_STALL_TAUS = 12,
    SCHED_STALL_TICK_MS = 50,
    SCHED_MUTE_MAX_MS = 16000, /* from STALL on, doubling: not asked again for so long */
    SCHED_HAVE_FLUSH_MS = 10,
    SCHED_HAVE_FLUSH_TAUS = 12, /* far from both ends of the share */
    SCHED_HAVE_FLUSH_MAX_MS = 250,
    SCHED_SLOW_FACTOR = 4,           /* a slot older than 4 of the fastest is slow */
    SCHED_BLOCKED_MS = 4,            /* a socket full for less is only a busy uplink */
    SCHED_BLOCKED_BYTES = 256 << 10, /* nor for less than these, or one chunk, take to send */
    SCHED_SWEEP_MS = 2000,           /* a polite source looks for chunks nobody holds */
    SCHED_UNCONFIRMED_MS = 1000,     /* or STALL: a chunk sent and not confirmed is given again */
    SCHED_UNCONFIRMED_MAX = 4096,    /* of these, to all */
    SCHED_REQUESTS_PEER = 16,        /* our requests to one peer */
    SCHED_QUEUE_PEER = SCHED_SLOTS_MAX + SCHED_AHEAD_FAST, /* its requests to us */
    SCHED_ASKS_PEER = 32,  /* its GRANTs and OFFERs that we have not answered */
    SCHED_OFFERS_KEPT = 8, /* offers to one peer with no answer, revoked ones too */
    SCHED_JUMPS = 8,       /* places tried for the cursor */
    SCHED_CANDIDATES = 512 /* chunks looked at in one choice */
};

#define SCHED_NO_CHUNK UINT32_MAX
#define SCHED_NO_ENTRY UINT16_MAX

/* Before the first measurement: 1 Gbit/s and a millisecond each way. */
#define SCHED_GUESS_BYTES_PER_MS 125000.0
#define SCHED_GUESS_RTT_MS       2.0
/* Rates are measured over at least so long: socket buffers swallow the start. */
#define SCHED_SAMPLE_MS 20
/* A pause that a clock of milliseconds hardly sees is none. */
#define SCHED_PAUSE_MS 1

/* A GRANT (chunk = SCHED_NO_CHUNK) or an OFFER that we owe an answer. */
struct sched_ask {
    uint32_t chunk;
    bool offer;
};

/* An OFFER of ours with no answer yet. A revoked one is kept until its answer
 * comes: a REQUEST that crossed the REVOKE must not start an upload. */
struct sched_offer {
    uint32_t chunk;
    bool revoked;
    uint64_t sent_ms;
};

struct sched_nb {
    bool live;
    bool leaf;            /* its end of the route is wireless */
    bool air;             /* our end is */
    uint32_t told;        /* it knows so much of our log */
    struct chunkmap have; /* it said so */
    struct chunkmap sent; /* by us, and it has not said that it arrived */
    uint32_t lacks;       /* chunks that we hold, and that it neither has nor was sent */
    uint32_t due;         /* of these, with no wired holder */
    uint64_t fed_ms;      /* it joined, told of a chunk, or refused a GRANT */
    bool starving;        /* it took of us over the air what wired ones hold, and goes on */

    /* we send */
    uint16_t queued; /* entries of upload[] */
    uint16_t active; /* the one in a slot, or SCHED_NO_ENTRY */
    uint16_t asked;  /* entries whose chunk it still lacks */
    bool granted;    /* a GRANT is unanswered */
    uint64_t granted_ms;
    bool sated; /* it passed: nothing of ours is missing there that is not in flight */
    uint64_t grant_after_ms;
    uint64_t dry_after_ms; /* the same for an uplink that runs dry, after PASS(full) */
    uint32_t pass_backoff_ms;
    uint32_t dry_backoff_ms;
    uint32_t exp_backoff_ms;

    /* we offer */
    struct sched_offer offers[SCHED_OFFERS_KEPT];
    uint8_t offers_n;
    uint8_t offered; /* offers neither delivered nor taken back */
    uint64_t offer_after_ms;
    uint32_t offer_backoff_ms;
    bool origin;       /* it seems to hold all and to deal out as we do */
    double service_ms; /* an offered chunk takes so long; 0: unmeasured */
    uint32_t served;

    /* we receive */
    struct sched_ask asks[SCHED_ASKS_PEER];
    uint8_t asks_first;
    uint8_t asks_n;
    uint64_t owed_until_ms;
    uint16_t requests; /* sources of inflight[] */
    bool stalled;
    uint64_t ask_after_ms; /* it stood still and what it owed came from another */
    uint32_t mute_ms;
    uint64_t moved_ms;     /* last byte, or the first request after none */
    uint64_t offers_us_ms; /* its last OFFER to us; 0: never. It is a source then. */
};

enum sched_upload_state {
    SCHED_UP_FREE,
    SCHED_UP_QUEUED,
    SCHED_UP_ACTIVE,
    SCHED_UP_REFUSED /* for a chunk that we lost: answered with REVOKE */
};

struct sched_upload {
    enum sched_upload_state state;
    uint16_t peer;
    uint32_t chunk;
    uint16_t next, prev; /* in order of arrival; next also links the free ones */
    bool lacked;         /* counted in asked of the neighbour */
    bool offered;        /* it answers an OFFER */
    bool blocked;
    uint64_t blocked_ms;
    uint64_t started_ms;
    uint64_t moved_ms;
};

struct sched_source {
    uint16_t peer;
    uint32_t bytes;
};

struct sched_inflight {
    uint32_t chunk;
    uint8_t sources;
    bool verifying;                   /* all bytes are here; no source any more */
    uint16_t from[SCHED_SOURCES_MAX]; /* then: who sent them, or SCHED_NO_ENTRY */
    struct sched_source source[SCHED_SOURCES_MAX];
};

/* A chunk of ours to announce, to those as well who sent it to us. */
struct sched_news {
    uint32_t chunk;
    uint16_t from[SCHED_SOURCES_MAX]; /* or SCHED_NO_ENTRY */
};

struct sched_sent {
    uint32_t chunk;
    uint16_t peer; /* or SCHED_NO_ENTRY: settled */
    uint64_t sent_ms;
};

/* Throughput over stretches of being busy. */
struct sched_meter {
    uint64_t since_ms;
    uint64_t stopped_ms;
    uint64_t bytes;
    bool running;
    double tau_ms; /* of one chunk; 0: not measured */
};

struct sched_avail {
    uint8_t all;   /* live neighbours that hold the chunk */
    uint8_t wired; /* wired ones that hold it, were sent it, or asked us for it lacking it */
    uint8_t sent;  /* neighbours to which we sent it, unconfirmed */
};

struct sched {
    struct sched_cfg cfg;
    uint64_t random;
    uint64_t ticked_ms; /* expiries were looked at; UINT64_MAX: never */

    struct sched_nb *nb; /* max_peers */
    uint64_t live;       /* one bit a neighbour, as all masks */
    uint64_t greet;      /* is owed a MAP or COMPLETE */
    uint64_t asks;       /* asks_n > 0 */
    uint64_t owed;       /* GRANTed while we were full: asked when there is room */

    struct chunkmap have;
    struct chunkmap lost;   /* held once: neither offered nor wanted */
    struct chunkmap wanted; /* neither held, lost nor in flight */
    struct sched_avail *avail;
    uint32_t spread; /* chunks with avail.all > 0 */
    uint32_t sole;   /* chunks held with avail.wired == 0 */

    struct sched_news *log; /* chunks stored and not announced yet, each once */
    uint32_t log_n;
    struct chunkmap logged;
    uint64_t flush_ms;  /* when log is due */
    uint32_t flush_len; /* entries that the running flush tells to all; 0: none runs */
    uint64_t flushing;  /* neighbours that are being told */
    uint64_t complete;  /* is owed a COMPLETE */

    struct sched_sent *unsure;       /* SCHED_UNCONFIRMED_MAX, a ring, oldest first */
    uint32_t unsure_first, unsure_n; /* the first one is open: in sent of its neighbour */

    struct sched_upload *upload; /* uploads_max */
    uint16_t uploads_max;
    uint16_t upload_free;
    uint16_t upload_first, upload_last;
    uint16_t uploads; /* not free */
    uint16_t active;
    uint16_t refused;
    uint16_t granted;
    uint64_t granting; /* neighbours whose GRANT goes out behind what they are being told */
    double fastest_ms; /* slot time, a slowly rising minimum; 0: unmeasured */
    double rtt_ms;     /* from a GRANT or OFFER to its answer */
    struct sched_meter up;

    bool advertised; /* cursor done: COMPLETE was told */
    uint32_t cursor;
    struct chunkmap todo;  /* neither handed out nor seen elsewhere */
    struct chunkmap again; /* handed out, and the copy was lost */
    uint32_t offered;      /* sum over the neighbours */
    uint64_t sweep_ms;

    struct sched_inflight *inflight;
    uint16_t inflight_n, inflight_max;
    uint16_t verifying;
    uint16_t *inflight_of; /* chunk -> index, or SCHED_NO_ENTRY */
    uint64_t stall_tick_ms;
    struct sched_meter down;
    uint64_t in_ms; /* bytes of a chunk that we want came last */
    uint64_t duplicate_bytes;
    uint64_t wired_ms; /* a chunk came from a wired neighbour, or we began */

    /* CANCEL, REVOKE, UPLOAD_STOP: each ends something that an earlier action
     * began, and these go first, so that the ring cannot overflow. */
    struct sched_act *ring;
    uint32_t ring_first, ring_n, ring_max;
};

/* sched.c */
uint64_t sched_random(struct sched *s);
uint32_t sched_random_below(struct sched *s, uint32_t n);
void sched_act_push(struct sched *s, enum sched_act_type type, uint16_t peer, uint32_t chunk);
struct sched_nb *sched_nb_at(const struct sched *s, uint16_t peer);

/* What follows from tau and the control latency. */
double sched_tau_ms(const struct sched *s);
bool sched_fast(const struct sched *s);
uint32_t sched_ahead(const struct sched *s);
uint64_t sched_stall_ms(const struct sched *s);
uint64_t sched_expire_ms(const struct sched *s);
bool sched_tail(const struct sched *s, const struct chunkmap *have);

/* sched_map.c */
void sched_map_gain(struct sched *s, uint16_t peer, uint32_t chunk);
void sched_map_forget(struct sched *s, uint16_t peer);
void sched_map_drop(struct sched *s, uint16_t peer, uint32_t chunk);
void sched_map_hold(struct sched *s, uint64_t now_ms, const struct sched_news *news);
void sched_map_unsend(struct sched *s, uint16_t peer);
void sched_map_tell(struct sched *s, uint16_t peer);
void sched_map_announce_all(struct sched *s);
bool sched_map_next(struct sched *s, uint64_t now_ms, struct sched_act *act);

/* sched_sent.c */
void sched_sent_put(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk);
bool sched_sent_settle(struct sched *s, uint16_t peer, uint32_t chunk);
void sched_sent_back(struct sched *s, uint16_t peer, uint32_t chunk);
void sched_sent_forget(struct sched *s, uint16_t peer);
void sched_sent_tick(struct sched *s, uint64_t now_ms);
uint64_t sched_sent_deadline(const struct sched *s);

/* sched_air.c */
void sched_air_lack(const struct sched *s, struct sched_nb *nb, uint32_t chunk);
void sched_air_unlack(const struct sched *s, struct sched_nb *nb, uint32_t chunk);
void sched_air_wired(struct sched *s, const struct sched_nb *nb, uint32_t chunk);
void sched_air_unwired(struct sched *s, const struct sched_nb *nb, uint32_t chunk);
bool sched_air_fed(const struct sched *s, uint64_t now_ms);
uint64_t sched_air_from_ms(const struct sched *s);
uint64_t sched_air_after_ms(const struct sched *s, const struct sched_nb *nb, uint64_t from_ms);
uint64_t sched_air_prefer(const struct sched *s, uint64_t cand);

/* sched_upload.c */
void sched_meter_add(struct sched_meter *m, uint64_t now_ms, uint64_t bytes, bool end,
                     uint32_t chunk_bytes);
void sched_meter_run(struct sched_meter *m, uint64_t now_ms, bool run);
void sched_meter_again(struct sched_meter *m, uint64_t now_ms);
uint16_t sched_upload_find(const struct sched *s, uint16_t peer, uint32_t chunk);
void sched_upload_remove(struct sched *s, uint64_t now_ms, uint16_t entry);
void sched_upload_stop(struct sched *s, uint64_t now_ms, uint16_t entry);
void sched_upload_forget(struct sched *s, uint64_t now_ms, uint16_t peer);
void sched_upload_tick(struct sched *s, uint64_t now_ms);
bool sched_upload_next(struct sched *s, uint64_t now_ms, struct sched_act *act);
bool sched_grant_next(struct sched *s, uint64_t now_ms, struct sched_act *act);
uint64_t sched_upload_deadline(const struct sched *s);
void sched_upload_unsate(struct sched_nb *nb);
void sched_answered(struct sched *s, uint64_t now_ms, uint64_t asked_ms);

/* sched_source.c */
uint32_t sched_source_start(const struct sched_cfg *cfg);
bool sched_source_running(const struct sched *s);
void sched_source_unspread(struct sched *s, uint32_t chunk);
void sched_source_delivered(struct sched *s, uint16_t peer, uint64_t took_ms);
int sched_source_answer(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk);
bool sched_source_pass(struct sched *s, uint64_t now_ms, uint16_t peer, enum sched_pass pass);
void sched_source_forget(struct sched *s, uint16_t peer);
void sched_source_lost(struct sched *s, uint32_t chunk);
void sched_source_tick(struct sched *s, uint64_t now_ms);
bool sched_source_next(struct sched *s, uint64_t now_ms, struct sched_act *act);
uint64_t sched_source_deadline(const struct sched *s);

/* sched_receive.c */
void sched_receive_forget(struct sched *s, uint64_t now_ms, uint16_t peer);
void sched_receive_tick(struct sched *s, uint64_t now_ms);
bool sched_receive_next(struct sched *s, uint64_t now_ms, struct sched_act *act);
uint64_t sched_receive_deadline(const struct sched *s);

static inline uint64_t sched_bit(uint16_t peer)
{
    return UINT64_C(1) << peer;
}

/* It neither said that it has chunk nor was sent it. */
static inline bool sched_lacks(const struct sched_nb *nb, uint32_t chunk)
{
    return !chunkmap_has(&nb->have, chunk) && !chunkmap_has(&nb->sent, chunk);
}

/* A source advertises nothing until each chunk was handed out. */
static inline bool sched_silent(const struct sched *s)
{
    return s->cfg.source && !s->advertised;
}

static inline double sched_larger(double a, double b)
{
    return a > b ? a : b;
}

/* The lowest neighbour of a mask that is not empty. */
static inline uint16_t sched_lowest(uint64_t mask)
{
    return (uint16_t)__builtin_ctzll(mask);
}

static inline uint64_t sched_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
