/* The source: hands each chunk out once, choosing the receiver as well. */
#include "transfer/core/sched_int.h"

#include <string.h>

/* Does the cursor still decide what is sent? */
bool sched_source_running(const struct sched *s)
{
    return s->cfg.source && (!s->advertised || s->cfg.polite);
}

static int offer_find(const struct sched_nb *nb, uint32_t chunk)
{
    for (int i = 0; i < nb->offers_n; i++)
        if (nb->offers[i].chunk == chunk)
            return i;
    return -1;
}

/* chunk is on its way to somebody. */
static bool chunk_handed(const struct sched *s, uint32_t chunk)
{
    if (s->avail[chunk].sent > 0)
        return true;
    for (uint64_t m = s->offered ? s->live : 0; m; m &= m - 1) {
        uint16_t peer = sched_lowest(m);
        int i = offer_find(&s->nb[peer], chunk);

        if (i >= 0 && !s->nb[peer].offers[i].revoked)
            return true;
        if (sched_upload_find(s, peer, chunk) != SCHED_NO_ENTRY)
            return true;
    }
    return false;
}

/* Nobody that we know has the chunk, or was sent it of late. */
static bool chunk_untold(const struct sched *s, uint32_t c)
{
    return s->avail[c].all == 0 && s->avail[c].sent == 0 && chunkmap_has(&s->have, c);
}

/* The last known copy of chunk may be gone: it is handed out once more. */
void sched_source_unspread(struct sched *s, uint32_t chunk)
{
    if (!sched_source_running(s) || chunkmap_has(&s->todo, chunk))
        return;
    if (chunk_untold(s, chunk))
        chunkmap_set(&s->again, chunk);
}

/* Where the cursor begins: origins of the same share begin apart (Fibonacci
 * hashing spreads any salts, small ones too). */
uint32_t sched_source_start(const struct sched_cfg *cfg)
{
    uint64_t part = cfg->salt * UINT64_C(0x9e3779b97f4a7c15) >> 32;

    return (uint32_t)(part * cfg->chunks >> 32);
}

/* The cursor met chunks of another origin. Behind them it would run side by side
 * with that one's cursor, both offering the same: it goes on elsewhere. */
static void cursor_jump(struct sched *s)
{
    for (int tries = 0; tries < SCHED_JUMPS; tries++) {
        uint32_t c = sched_random_below(s, s->cfg.chunks);

        if (chunkmap_has(&s->todo, c) && chunk_untold(s, c)) {
            s->cursor = c;
            return;
        }
    }
}

/* What to offer next; SCHED_NO_CHUNK: all is handed out. A chunk that a live
 * neighbour holds is skipped: a source that starts again half way sends the rest. */
static uint32_t chunk_next(struct sched *s)
{
    while (s->again.count > 0) {
        uint32_t c = chunkmap_next(&s->again, 0);

        if (s->avail[c].all == 0 && chunkmap_has(&s->have, c) && !chunk_handed(s, c))
            return c;
        chunkmap_clear(&s->again, c);
    }
    while (s->todo.count > 0) {
        uint32_t c = chunkmap_next(&s->todo, s->cursor);

        if (c >= s->cfg.chunks)
            c = chunkmap_next(&s->todo, 0);
        s->cursor = c;
        if (chunk_untold(s, c))
            return c;
        chunkmap_clear(&s->todo, c);
        cursor_jump(s);
    }
    return SCHED_NO_CHUNK;
}

static void chunk_taken(struct sched *s, uint32_t chunk)
{
    if (chunkmap_clear(&s->again, chunk))
        return;
    chunkmap_clear(&s->todo, chunk);
    s->cursor = chunk + 1 < s->cfg.chunks ? chunk + 1 : 0;
}

static void offer_uncount(struct sched *s, struct sched_nb *nb)
{
    nb->offered--;
    s->offered--;
}

static void offer_drop(struct sched_nb *nb, int i)
{
    nb->offers_n--;
    memmove(&nb->offers[i], &nb->offers[i + 1], (size_t)(nb->offers_n - i) * sizeof(nb->offers[0]));
}

static void offer_revoke(struct sched *s, uint16_t peer, struct sched_offer *offer)
{
    offer->revoked = true;
    offer_uncount(s, &s->nb[peer]);
    if (!sched_ablated(SCHED_REMEDY_REVOKE))
        sched_act_push(s, SCHED_SEND_REVOKE, peer, offer->chunk);
    sched_source_unspread(s, offer->chunk);
}

/* 1 s doubling to 8 s without an offer. */
static void offer_backoff(struct sched_nb *nb, uint64_t now_ms)
{
    uint32_t ms = nb->offer_backoff_ms ? nb->offer_backoff_ms * 2 : SCHED_OFFER_BACKOFF_MS;

    nb->offer_backoff_ms = ms < SCHED_OFFER_BACKOFF_MAX_MS ? ms : SCHED_OFFER_BACKOFF_MAX_MS;
    nb->offer_after_ms = now_ms + nb->offer_backoff_ms;
}

/* A REQUEST(chunk) came: 1, it takes our offer; -1, that offer is revoked (the
 * peer will drop the chunk when it reads so); 0, it answers no offer. */
int sched_source_answer(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    struct sched_nb *nb = &s->nb[peer];
    int i = offer_find(nb, chunk);
    bool revoked;

    if (i < 0)
        return 0;
    sched_answered(s, now_ms, nb->offers[i].sent_ms);
    revoked = nb->offers[i].revoked;
    offer_drop(nb, i);
    if (revoked) {
        nb->offer_after_ms = now_ms; /* alive after all */
        return -1;
    }
    offer_uncount(s, nb);
    return 1;
}

/* We know of nothing that it holds or gets. */
static bool nb_untouched(const struct sched_nb *nb)
{
    return nb->have.count == 0 && nb->served == 0 && nb->queued == 0;
}

/* A receiver whose disk is behind gets the time of a chunk to catch up. */
static uint64_t full_backoff_ms(const struct sched *s)
{
    double tau_ms = sched_tau_ms(s);

    if (tau_ms > SCHED_EXP_BACKOFF_MS)
        return SCHED_EXP_BACKOFF_MS;
    return tau_ms < SCHED_FULL_BACKOFF_MS ? SCHED_FULL_BACKOFF_MS : (uint64_t)tau_ms;
}

/* A PASS answers the oldest question. False: that was no offer. "Nothing" means
 * that the peer has the chunk or gets it from another: it is spread without us.
 * Not so when the peer is another origin: that chunk of its is told to nobody. */
bool sched_source_pass(struct sched *s, uint64_t now_ms, uint16_t peer, enum sched_pass pass)
{
    struct sched_nb *nb = &s->nb[peer];
    struct sched_offer offer;

    if (nb->offers_n == 0)
        return false;
    offer = nb->offers[0];
    offer_drop(nb, 0);
    sched_answered(s, now_ms, offer.sent_ms);
    nb->offer_after_ms = now_ms;
    if (offer.revoked)
        return true;
    offer_uncount(s, nb);
    if (pass == SCHED_PASS_NOTHING && (nb->origin || nb_untouched(nb))) {
        nb->origin = true;
        sched_source_unspread(s, offer.chunk);
    } else if (pass == SCHED_PASS_FULL) {
        nb->offer_after_ms = now_ms + full_backoff_ms(s);
        sched_source_unspread(s, offer.chunk);
    }
    return true;
}

/* An offered chunk went out to peer, took_ms after its slot began. */
void sched_source_delivered(struct sched *s, uint16_t peer, uint64_t took_ms)
{
    struct sched_nb *nb = &s->nb[peer];
    double ms = took_ms ? (double)took_ms : 1;

    nb->service_ms = nb->service_ms > 0 ? (nb->service_ms + ms) / 2 : ms;
    nb->offer_backoff_ms = 0;
}

/* peer left: what it was offered and nobody else holds is wanted elsewhere. */
void sched_source_forget(struct sched *s, uint16_t peer)
{
    struct sched_nb *nb = &s->nb[peer];

    for (int i = 0; i < nb->offers_n; i++) {
        if (nb->offers[i].revoked)
            continue;
        offer_uncount(s, nb);
        sched_source_unspread(s, nb->offers[i].chunk);
    }
    nb->offers_n = 0;
}

/* We hold chunk no more. */
void sched_source_lost(struct sched *s, uint32_t chunk)
{
    chunkmap_clear(&s->again, chunk);
    for (uint64_t m = s->live; m; m &= m - 1) {
        uint16_t peer = sched_lowest(m);
        struct sched_nb *nb = &s->nb[peer];

        for (int i = 0; i < nb->offers_n; i++)
            if (nb->offers[i].chunk == chunk && !nb->offers[i].revoked)
                offer_revoke(s, peer, &nb->offers[i]);
    }
}

/* peer takes nothing: its accepted offers go to others. */
static void uploads_revoke(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    uint16_t at = s->upload_first;

    while (at != SCHED_NO_ENTRY) {
        const struct sched_upload *u = &s->upload[at];
        uint16_t next = u->next;

        if (u->peer == peer && u->offered) {
            uint32_t chunk = u->chunk;

            sched_upload_stop(s, now_ms, at);
            sched_act_push(s, SCHED_SEND_REVOKE, peer, chunk);
            sched_source_unspread(s, chunk);
        }
        at = next;
    }
}

/* STALL is for the usual number of slots: among more, each has its turn the later. */
static uint64_t stuck_after_ms(const struct sched *s)
{
    uint64_t slots = s->active > SCHED_SLOTS_SOURCE ? s->active : SCHED_SLOTS_SOURCE;

    return sched_stall_ms(s) * slots / SCHED_SLOTS_SOURCE;
}

static bool peer_stuck(const struct sched *s, const struct sched_nb *nb, uint64_t now_ms)
{
    return nb->active != SCHED_NO_ENTRY && s->upload[nb->active].offered &&
           now_ms >= s->upload[nb->active].moved_ms + stuck_after_ms(s);
}

static void peer_tick(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    struct sched_nb *nb = &s->nb[peer];
    bool stuck = peer_stuck(s, nb, now_ms);
    bool revoked = stuck;

    for (int i = 0; i < nb->offers_n; i++) {
        struct sched_offer *offer = &nb->offers[i];

        if (offer->revoked || (!stuck && now_ms < offer->sent_ms + sched_expire_ms(s)))
            continue;
        offer_revoke(s, peer, offer);
        revoked = true;
    }
    if (stuck)
        uploads_revoke(s, now_ms, peer);
    if (revoked)
        offer_backoff(nb, now_ms);
}

/* A polite source has told nobody that it is there: what got lost on the way it
 * must find itself. */
static void sweep(struct sched *s, uint64_t now_ms)
{
    if (!s->cfg.polite || s->todo.count > 0 || s->spread == s->cfg.chunks)
        return;
    if (s->again.count > 0 || now_ms < s->sweep_ms)
        return;
    s->sweep_ms = now_ms + SCHED_SWEEP_MS;
    for (uint32_t c = 0; c < s->cfg.chunks; c++)
        if (s->avail[c].all == 0 && !chunk_handed(s, c))
            sched_source_unspread(s, c);
}

void sched_source_tick(struct sched *s, uint64_t now_ms)
{
    if (!s->cfg.source)
        return;
    for (uint64_t m = s->offered ? s->live : 0; m; m &= m - 1)
        peer_tick(s, now_ms, sched_lowest(m));
    sweep(s, now_ms);
}

/* Is it one to deal to, now or once it has room? */
static bool takes_offers(const struct sched_nb *nb)
{
    return !nb->origin && !chunkmap_full(&nb->have);
}

/* Offers not delivered yet, to one peer. Where a chunk takes less than a round trip
 * two of them are sent before the next ones are answered: the few peers that there
 * are then share what all may have. Not before the uplink is measured: at the start
 * the others are yet to join. */
static uint32_t offers_peer(const struct sched *s)
{
    uint32_t live = (uint32_t)__builtin_popcountll(s->live);
    uint32_t share = live ? (SCHED_OFFERS + sched_ahead(s)) / live : 0;

    if (s->up.tau_ms <= 0 || !sched_fast(s) || share < SCHED_OFFERS_PEER)
        return SCHED_OFFERS_PEER;
    return share;
}

static bool offer_room(const struct sched *s, const struct sched_nb *nb)
{
    return takes_offers(nb) && nb->offered < offers_peer(s) && nb->offers_n < SCHED_OFFERS_KEPT &&
           nb->queued < SCHED_QUEUE_PEER;
}

/* Wireless neighbours get a first copy only when there is no wired one to take it. */
static uint64_t offer_peers(const struct sched *s, uint64_t now_ms)
{
    uint64_t wired = 0, leaves = 0;

    for (uint64_t m = s->live; m; m &= m - 1) {
        uint16_t peer = sched_lowest(m);
        const struct sched_nb *nb = &s->nb[peer];

        if (nb->offer_after_ms > now_ms || !takes_offers(nb))
            continue;
        if (nb->leaf)
            leaves |= sched_bit(peer);
        else
            wired |= sched_bit(peer);
    }
    return wired ? wired : leaves;
}

static double service_best(const struct sched *s)
{
    double best = 0;

    for (uint64_t m = s->live; m; m &= m - 1) {
        double ms = s->nb[sched_lowest(m)].service_ms;

        if (ms > 0 && (best <= 0 || ms < best))
            best = ms;
    }
    return best;
}

/* A slow peer must not absorb first copies that the others wait for. */
static double offer_cost(const struct sched_nb *nb, double best_ms)
{
    double slower = best_ms > 0 ? nb->service_ms / best_ms : 1;

    if (sched_ablated(SCHED_REMEDY_SERVICE))
        return nb->served;
    return (nb->offered + 1) * (slower < 2 ? 1 : slower);
}

static struct sched_nb *offer_pick(const struct sched *s, uint64_t now_ms, uint16_t *peer)
{
    struct sched_nb *pick = NULL;
    double best_ms = service_best(s), pick_cost = 0;

    for (uint64_t m = offer_peers(s, now_ms); m; m &= m - 1) {
        struct sched_nb *nb = &s->nb[sched_lowest(m)];
        double cost = offer_cost(nb, best_ms);

        if (!offer_room(s, nb))
            continue;
        if (pick && (cost > pick_cost || (cost >= pick_cost && nb->served >= pick->served)))
            continue;
        pick = nb;
        pick_cost = cost;
        *peer = sched_lowest(m);
    }
    return pick;
}

/* The last chunk is offered, delivered or not: from here on anybody may ask. */
static void cursor_done(struct sched *s)
{
    if (s->cfg.polite || s->advertised || (s->offered && sched_ablated(SCHED_REMEDY_REVEAL)))
        return;
    s->advertised = true;
    sched_map_announce_all(s);
}

/* QS. Not two a peer: slow ones would always have some of the first copies. */
static uint32_t offers_max(const struct sched *s)
{
    uint32_t least = SCHED_OFFERS + sched_ahead(s);
    uint32_t peers = (uint32_t)__builtin_popcountll(s->live);

    if (peers > SCHED_OFFERS_MAX)
        peers = SCHED_OFFERS_MAX;
    return peers > least ? peers : least;
}

bool sched_source_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    struct sched_nb *nb;
    uint32_t chunk;
    uint16_t peer = 0;

    if (!sched_source_running(s) || !s->live)
        return false;
    chunk = chunk_next(s);
    if (chunk == SCHED_NO_CHUNK) {
        cursor_done(s);
        return sched_map_next(s, now_ms, act);
    }
    if (s->offered >= offers_max(s))
        return false;
    nb = offer_pick(s, now_ms, &peer);
    if (!nb)
        return false;
    chunk_taken(s, chunk);
    nb->offers[nb->offers_n++] = (struct sched_offer){.chunk = chunk, .sent_ms = now_ms};
    nb->offered++;
    s->offered++;
    *act = (struct sched_act){.type = SCHED_SEND_OFFER, .peer = peer, .chunk = chunk};
    return true;
}

static uint64_t nb_deadline(const struct sched *s, const struct sched_nb *nb)
{
    uint64_t at = SCHED_NEVER;

    for (int i = 0; i < nb->offers_n; i++)
        if (!nb->offers[i].revoked)
            at = sched_min(at, nb->offers[i].sent_ms + sched_expire_ms(s));
    if (nb->active != SCHED_NO_ENTRY && s->upload[nb->active].offered)
        at = sched_min(at, s->upload[nb->active].moved_ms + stuck_after_ms(s));
    if (nb->offer_after_ms > s->ticked_ms && offer_room(s, nb))
        at = sched_min(at, nb->offer_after_ms);
    return at;
}

uint64_t sched_source_deadline(const struct sched *s)
{
    uint64_t at = SCHED_NEVER;

    if (!sched_source_running(s) && !s->offered)
        return at;
    for (uint64_t m = s->live; m; m &= m - 1)
        at = sched_min(at, nb_deadline(s, &s->nb[sched_lowest(m)]));
    if (s->cfg.polite && s->live && s->todo.count == 0 && s->spread < s->cfg.chunks)
        at = sched_min(at, s->sweep_ms);
    return at;
}
