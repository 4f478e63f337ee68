#include "transfer/core/sched_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators"). */
uint64_t sched_random(struct sched *s)
{
    uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform enough for n far below 2^32. */
uint32_t sched_random_below(struct sched *s, uint32_t n)
{
    return (uint32_t)((sched_random(s) >> 32) * n >> 32);
}

struct sched_nb *sched_nb_at(const struct sched *s, uint16_t peer)
{
    return peer < s->cfg.max_peers && s->nb[peer].live ? &s->nb[peer] : NULL;
}

void sched_act_push(struct sched *s, enum sched_act_type type, uint16_t peer, uint32_t chunk)
{
    assert(s->ring_n < s->ring_max);
    s->ring[(s->ring_first + s->ring_n++) % s->ring_max] =
        (struct sched_act){.type = type, .peer = peer, .chunk = chunk};
}

static bool ring_next(struct sched *s, struct sched_act *act)
{
    if (s->ring_n == 0)
        return false;
    *act = s->ring[s->ring_first];
    s->ring_first = (s->ring_first + 1) % s->ring_max;
    s->ring_n--;
    return true;
}

static void ring_forget(struct sched *s, uint16_t peer)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->ring_n; i++) {
        struct sched_act act = s->ring[(s->ring_first + i) % s->ring_max];

        if (act.peer != peer)
            s->ring[(s->ring_first + kept++) % s->ring_max] = act;
    }
    s->ring_n = kept;
}

/* Where the uplink was not used yet, what comes in says how fast this network is. */
double sched_tau_ms(const struct sched *s)
{
    if (s->up.tau_ms > 0)
        return s->up.tau_ms;
    if (s->down.tau_ms > 0)
        return s->down.tau_ms;
    return s->cfg.chunk_bytes / SCHED_GUESS_BYTES_PER_MS;
}

static double round_trip_taus(const struct sched *s)
{
    return s->rtt_ms / sched_larger(sched_tau_ms(s), 0.01);
}

bool sched_fast(const struct sched *s)
{
    return round_trip_taus(s) >= SCHED_FAST_TAUS;
}

/* As many as keep the uplink busy for two round trips: an answer may be a PASS. */
uint32_t sched_ahead(const struct sched *s)
{
    return sched_fast(s) ? SCHED_AHEAD_FAST : 1 + (uint32_t)(2 * round_trip_taus(s));
}

/* Whoever holds that is near the start or the end, where each chunk counts. */
bool sched_tail(const struct sched *s, const struct chunkmap *have)
{
    return have->count < SCHED_TAIL_CHUNKS || s->cfg.chunks - have->count < SCHED_TAIL_CHUNKS;
}

uint64_t sched_stall_ms(const struct sched *s)
{
    double ms = SCHED_STALL_TAUS * sched_larger(sched_tau_ms(s), s->down.tau_ms);

    return ms < SCHED_STALL_MS || sched_ablated(SCHED_REMEDY_STALL) ? SCHED_STALL_MS : (uint64_t)ms;
}

/* 30 ms on an idle LAN. A question may wait behind a chunk in the socket
 * buffers, and its answer behind another, hence tau and the round trip. */
uint64_t sched_expire_ms(const struct sched *s)
{
    double ms = sched_larger(4 * s->rtt_ms, sched_tau_ms(s));

    if (sched_ablated(SCHED_REMEDY_EXPIRY))
        return SCHED_ABLATED_MS;
    if (ms < SCHED_GRANT_EXP_MS)
        return SCHED_GRANT_EXP_MS;
    return ms > SCHED_GRANT_EXP_MAX_MS ? SCHED_GRANT_EXP_MAX_MS : (uint64_t)ms;
}

static int cfg_check(const struct sched_cfg *cfg, const struct chunkmap *have)
{
    if (cfg->chunks >= SCHED_NO_CHUNK || cfg->chunk_bytes == 0)
        return -EINVAL;
    if (cfg->max_peers == 0 || cfg->max_peers > SCHED_PEERS_MAX)
        return -EINVAL;
    if (have && have->chunks != cfg->chunks)
        return -EINVAL;
    return 0;
}

static void sizes_set(struct sched *s)
{
    s->uploads_max = (uint16_t)(s->cfg.max_peers * SCHED_QUEUE_PEER);
    s->inflight_max = (uint16_t)(s->cfg.max_peers * SCHED_REQUESTS_PEER);
    s->ring_max = s->inflight_max * SCHED_SOURCES_MAX + s->uploads_max * 2U +
                  (uint32_t)s->cfg.max_peers * SCHED_OFFERS_KEPT;
}

static int maps_alloc(struct sched *s)
{
    struct chunkmap *maps[] = {&s->have, &s->lost, &s->wanted, &s->logged, &s->todo, &s->again};

    for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++) {
        int err = chunkmap_init(maps[i], s->cfg.chunks);

        if (err)
            return err;
    }
    return 0;
}

static int tables_alloc(struct sched *s)
{
    s->nb = calloc(s->cfg.max_peers, sizeof(*s->nb));
    s->avail = calloc(s->cfg.chunks, sizeof(*s->avail));
    s->log = calloc(s->cfg.chunks, sizeof(*s->log));
    s->inflight_of = malloc(s->cfg.chunks * sizeof(*s->inflight_of));
    s->upload = calloc(s->uploads_max, sizeof(*s->upload));
    s->inflight = calloc(s->inflight_max, sizeof(*s->inflight));
    s->ring = calloc(s->ring_max, sizeof(*s->ring));
    s->unsure = calloc(SCHED_UNCONFIRMED_MAX, sizeof(*s->unsure));
    if (!s->nb || !s->avail || !s->log || !s->inflight_of || !s->upload || !s->inflight ||
        !s->ring || !s->unsure)
        return -ENOMEM;
    memset(s->inflight_of, 0xff, s->cfg.chunks * sizeof(*s->inflight_of));
    return maps_alloc(s);
}

static void uploads_link(struct sched *s)
{
    for (uint16_t i = 0; i < s->uploads_max; i++)
        s->upload[i].next = (uint16_t)(i + 1);
    s->upload[s->uploads_max - 1].next = SCHED_NO_ENTRY;
    s->upload_free = 0;
    s->upload_first = s->upload_last = SCHED_NO_ENTRY;
}

static void have_set(struct sched *s, const struct chunkmap *have)
{
    if (s->cfg.source)
        chunkmap_fill(&s->have);
    else if (have)
        chunkmap_copy(&s->have, have);
    for (uint32_t c = 0; c < s->cfg.chunks; c++)
        if (!chunkmap_has(&s->have, c))
            chunkmap_set(&s->wanted, c);
    s->sole = s->have.count;
}

int sched_new(const struct sched_cfg *cfg, const struct chunkmap *have, uint64_t now_ms,
              struct sched **out)
{
    int err = cfg_check(cfg, have);
    struct sched *s;

    *out = NULL;
    if (err)
        return err;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->cfg = *cfg;
    sizes_set(s);
    err = tables_alloc(s);
    if (err) {
        sched_free(s);
        return err;
    }
    uploads_link(s);
    have_set(s, have);
    s->random = cfg->salt;
    s->cursor = sched_source_start(cfg);
    if (cfg->source)
        chunkmap_fill(&s->todo);
    s->rtt_ms = SCHED_GUESS_RTT_MS;
    s->ticked_ms = SCHED_NEVER;
    s->stall_tick_ms = s->sweep_ms = s->wired_ms = now_ms;
    *out = s;
    return 0;
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    for (uint16_t i = 0; s->nb && i < s->cfg.max_peers; i++) {
        chunkmap_free(&s->nb[i].have);
        chunkmap_free(&s->nb[i].sent);
    }
    chunkmap_free(&s->have);
    chunkmap_free(&s->lost);
    chunkmap_free(&s->wanted);
    chunkmap_free(&s->logged);
    chunkmap_free(&s->todo);
    chunkmap_free(&s->again);
    free(s->nb);
    free(s->avail);
    free(s->log);
    free(s->inflight_of);
    free(s->upload);
    free(s->inflight);
    free(s->ring);
    free(s->unsure);
    free(s);
}

size_t sched_memory_bytes(const struct sched_cfg *cfg)
{
    struct sched s = {.cfg = *cfg};
    size_t map_bytes = ((size_t)cfg->chunks + 63) / 64 * sizeof(uint64_t);
    size_t per_chunk = sizeof(*s.avail) + sizeof(*s.log) + sizeof(*s.inflight_of);

    sizes_set(&s);
    return sizeof(s) + (size_t)cfg->max_peers * (sizeof(*s.nb) + 2 * map_bytes) + 6 * map_bytes +
           cfg->chunks * per_chunk + s.uploads_max * sizeof(*s.upload) +
           s.inflight_max * sizeof(*s.inflight) + s.ring_max * sizeof(*s.ring) +
           SCHED_UNCONFIRMED_MAX * sizeof(*s.unsure);
}

/* The lowest number not in use; its maps stay allocated between two uses. */
static struct sched_nb *nb_take(struct sched *s, uint16_t *peer)
{
    for (uint16_t i = 0; i < s->cfg.max_peers; i++)
        if (!s->nb[i].live) {
            *peer = i;
            return &s->nb[i];
        }
    return NULL;
}

int sched_peer_add(struct sched *s, uint64_t now_ms, unsigned route, uint16_t *peer)
{
    struct sched_nb *nb = nb_take(s, peer);
    struct chunkmap have, sent;

    if (!nb)
        return ERR_LIMIT;
    if (!nb->have.words && chunkmap_init(&nb->have, s->cfg.chunks))
        return -ENOMEM;
    if (!nb->sent.words && chunkmap_init(&nb->sent, s->cfg.chunks))
        return -ENOMEM;
    have = nb->have;
    sent = nb->sent;
    *nb = (struct sched_nb){.live = true,
                            .leaf = route & SCHED_LEAF_THERE,
                            .air = route & SCHED_LEAF_HERE,
                            .have = have,
                            .sent = sent,
                            .active = SCHED_NO_ENTRY};
    nb->lacks = s->have.count;
    nb->due = s->sole;
    nb->moved_ms = nb->fed_ms = now_ms;
    s->live |= sched_bit(*peer);
    if (s->have.count > 0)
        s->greet |= sched_bit(*peer);
    return 0;
}

void sched_peer_gone(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    struct sched_nb *nb = sched_nb_at(s, peer);
    uint64_t others = ~sched_bit(peer);

    if (!nb)
        return;
    sched_receive_forget(s, now_ms, peer);
    sched_upload_forget(s, now_ms, peer);
    sched_map_forget(s, peer);
    sched_map_unsend(s, peer);
    sched_sent_forget(s, peer);
    sched_source_forget(s, peer);
    ring_forget(s, peer);
    s->live &= others;
    s->greet &= others;
    s->asks &= others;
    s->owed &= others;
    s->complete &= others;
    s->flushing &= others;
    nb->live = false;
}

static void tick(struct sched *s, uint64_t now_ms)
{
    if (s->ticked_ms == now_ms)
        return;
    s->ticked_ms = now_ms;
    sched_receive_tick(s, now_ms);
    sched_upload_tick(s, now_ms);
    sched_sent_tick(s, now_ms);
    sched_source_tick(s, now_ms);
}

/* What ends something comes first; answers before questions, since an answer
 * keeps somebody else's uplink busy; then data, then what asks for more. */
bool sched_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    tick(s, now_ms);
    return ring_next(s, act) || sched_map_next(s, now_ms, act) ||
           sched_receive_next(s, now_ms, act) || sched_upload_next(s, now_ms, act) ||
           sched_source_next(s, now_ms, act) || sched_grant_next(s, now_ms, act);
}

uint64_t sched_deadline_ms(const struct sched *s)
{
    uint64_t at = SCHED_NEVER;

    if (s->ring_n || s->asks || s->refused || s->flushing || s->granting || s->complete ||
        (s->greet && !sched_silent(s)))
        return 0;
    if (s->log_n)
        at = s->flush_ms;
    at = sched_min(at, sched_receive_deadline(s));
    at = sched_min(at, sched_upload_deadline(s));
    at = sched_min(at, sched_source_deadline(s));
    at = sched_min(at, sched_sent_deadline(s));
    /* What fell due by facts of this very ms is looked at in the next. */
    return s->ticked_ms == SCHED_NEVER || at > s->ticked_ms ? at : s->ticked_ms + 1;
}

void sched_stat(const struct sched *s, struct sched_stat *out)
{
    *out = (struct sched_stat){
        .have = s->have.count,
        .inflight = s->inflight_n,
        .handed_out = s->cfg.source ? s->cfg.chunks - s->todo.count : 0,
        .spread = s->spread,
        .peers = (uint32_t)__builtin_popcountll(s->live),
        .uploads = s->active,
        .duplicate_bytes = s->duplicate_bytes,
    };
}

const struct chunkmap *sched_have(const struct sched *s)
{
    return &s->have;
}

bool sched_needed(const struct sched *s)
{
    for (uint64_t m = s->live; m; m &= m - 1)
        if (s->nb[sched_lowest(m)].lacks > 0)
            return true;
    return false;
}
