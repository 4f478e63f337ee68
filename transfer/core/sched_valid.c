/* Every invariant of struct sched, counted anew. The simulator asks after each event, hence
 * the maps are taken a word at a time, and sums over the neighbours lie in bit planes. */
#include "transfer/core/sched_int.h"

enum {
    WORD_BITS = 64,
    SUM_BITS = 7 /* of a number up to SCHED_PEERS_MAX */
};

/* What the lists and maps say of one neighbour. */
struct tally {
    uint32_t queued, active, asked, offered; /* uploads */
    uint32_t requests;
    uint32_t lacks, due;
};

struct census {
    struct tally nb[SCHED_PEERS_MAX];
    uint32_t wired_asked; /* requests of wired neighbours for what they lack */
    uint32_t spread, sole;
    uint32_t getting; /* what avail.wired counts beyond the maps */
};

/* A number for each of 64 chunks: bit i of plane[k] is bit k of the number of chunk i. */
struct sum {
    int planes; /* in use */
    uint64_t plane[SUM_BITS];
};

/* 64 chunks from number first on, or what is left of them. */
struct block {
    uint32_t first, chunks;
    struct sum have[2], sent[2]; /* of wired neighbours, of leaves */
    uint64_t held;               /* by any neighbour */
    uint64_t wired;              /* avail.wired is not 0 */
};

/* One more for each chunk of word. */
static void sum_add(struct sum *sum, uint64_t word)
{
    for (int k = 0; word; k++) {
        uint64_t carry = sum->plane[k] & word;

        sum->plane[k] ^= word;
        word = carry;
        if (k == sum->planes)
            sum->planes++;
    }
}

/* Bit i of byte becomes byte i. */
static uint64_t bits_spread(uint64_t byte)
{
    uint64_t bits = byte * UINT64_C(0x0101010101010101) & UINT64_C(0x8040201008040201);

    return (bits + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
}

/* The numbers of eight chunks, a byte each. */
static uint64_t sum_bytes(const struct sum *sum, uint32_t at)
{
    uint64_t bytes = 0;

    for (int k = sum->planes; k-- > 0;)
        bytes = bytes << 1 | bits_spread(sum->plane[k] >> at & 0xff);
    return bytes;
}

static bool map_valid(const struct sched *s, const struct chunkmap *map)
{
    return map->chunks == s->cfg.chunks && chunkmap_valid(map);
}

static bool maps_valid(const struct sched *s)
{
    for (uint64_t m = s->live; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];

        if (!map_valid(s, &nb->have) || !map_valid(s, &nb->sent))
            return false;
    }
    return map_valid(s, &s->have) && map_valid(s, &s->lost) && map_valid(s, &s->wanted) &&
           map_valid(s, &s->logged) && map_valid(s, &s->todo) && map_valid(s, &s->again);
}

static bool block_count(const struct sched *s, struct block *b)
{
    for (uint64_t m = s->live; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];
        uint64_t have = nb->have.words[b->first / WORD_BITS];
        uint64_t sent = nb->sent.words[b->first / WORD_BITS];

        if (have & sent)
            return false;
        sum_add(&b->have[nb->leaf], have);
        sum_add(&b->sent[nb->leaf], sent);
        b->held |= have;
        b->wired |= nb->leaf ? 0 : have | sent;
    }
    return true;
}

/* Eight chunks of a block, from its chunk number at on. */
static bool avail_valid(const struct sched *s, struct census *n, struct block *b, uint32_t at)
{
    uint64_t wired = sum_bytes(&b->have[0], at), sent = sum_bytes(&b->sent[0], at);
    uint64_t all = wired + sum_bytes(&b->have[1], at);

    wired += sent;
    sent += sum_bytes(&b->sent[1], at);
    for (uint32_t i = at; i < at + 8 && i < b->chunks; i++) {
        const struct sched_avail *avail = &s->avail[b->first + i];

        if (avail->all != (uint8_t)all || avail->sent != (uint8_t)sent ||
            avail->wired < (uint8_t)wired)
            return false;
        n->getting += avail->wired - (uint8_t)wired;
        b->wired |= (uint64_t)(avail->wired != 0) << i;
        all >>= 8;
        wired >>= 8;
        sent >>= 8;
    }
    return true;
}

/* No chunk is in two of them. */
static bool states_valid(const struct sched *s, const struct block *b)
{
    uint32_t at = b->first / WORD_BITS;
    uint64_t have = s->have.words[at], lost = s->lost.words[at], wanted = s->wanted.words[at];

    return !(have & lost) && !(have & wanted) && !(lost & wanted);
}

static void lacks_count(const struct sched *s, struct census *n, const struct block *b)
{
    uint32_t at = b->first / WORD_BITS;
    uint64_t have = s->have.words[at];

    n->sole += (uint32_t)__builtin_popcountll(have & ~b->wired);
    for (uint64_t m = s->live; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];
        struct tally *t = &n->nb[sched_lowest(m)];
        uint64_t lacks = have & ~(nb->have.words[at] | nb->sent.words[at]);

        t->lacks += (uint32_t)__builtin_popcountll(lacks);
        if (lacks & ~b->wired)
            t->due += (uint32_t)__builtin_popcountll(lacks & ~b->wired);
    }
}

static bool blocks_valid(const struct sched *s, struct census *n)
{
    for (uint32_t first = 0; first < s->cfg.chunks; first += WORD_BITS) {
        uint32_t left = s->cfg.chunks - first;
        struct block b = {.first = first, .chunks = left < WORD_BITS ? left : WORD_BITS};

        if (!states_valid(s, &b) || !block_count(s, &b))
            return false;
        for (uint32_t at = 0; at < b.chunks; at += 8)
            if (!avail_valid(s, n, &b, at))
                return false;
        n->spread += (uint32_t)__builtin_popcountll(b.held);
        lacks_count(s, n, &b);
    }
    return n->spread == s->spread && n->sole == s->sole && n->getting == n->wired_asked;
}

static bool from_valid(const struct sched *s, const uint16_t from[SCHED_SOURCES_MAX])
{
    for (int i = 0; i < SCHED_SOURCES_MAX; i++)
        if (from[i] != SCHED_NO_ENTRY && !sched_nb_at(s, from[i]))
            return false;
    return true;
}

/* Each chunk that waits for a word is in the ring, once, and the ring begins with one. */
static bool sent_valid(const struct sched *s)
{
    uint32_t open = 0, sent = 0;

    if (s->unsure_n > SCHED_UNCONFIRMED_MAX || s->unsure_first >= SCHED_UNCONFIRMED_MAX)
        return false;
    for (uint32_t i = 0; i < s->unsure_n; i++) {
        const struct sched_sent *e = &s->unsure[(s->unsure_first + i) % SCHED_UNCONFIRMED_MAX];

        if (e->peer == SCHED_NO_ENTRY ? i == 0 : !chunkmap_has(&s->nb[e->peer].sent, e->chunk))
            return false;
        open += e->peer != SCHED_NO_ENTRY;
    }
    for (uint16_t i = 0; i < s->cfg.max_peers; i++)
        sent += s->nb[i].sent.count;
    return open == sent;
}

static bool log_valid(const struct sched *s)
{
    if (s->log_n != s->logged.count || s->flush_len > s->log_n)
        return false;
    for (uint32_t i = 0; i < s->log_n; i++)
        if (!chunkmap_has(&s->logged, s->log[i].chunk) || !from_valid(s, s->log[i].from))
            return false;
    return ((s->flushing | s->greet | s->complete | s->asks | s->owed | s->granting) & ~s->live) ==
           0;
}

/* Walks the list of uploads. */
static bool uploads_valid(const struct sched *s, struct census *n)
{
    uint32_t queued = 0, active = 0, refused = 0;
    uint16_t prev = SCHED_NO_ENTRY;

    for (uint16_t at = s->upload_first; at != SCHED_NO_ENTRY; at = s->upload[at].next) {
        const struct sched_upload *u = &s->upload[at];
        struct tally *t;

        if (++queued > s->uploads_max || u->prev != prev || u->state == SCHED_UP_FREE ||
            !sched_nb_at(s, u->peer))
            return false;
        prev = at;
        active += u->state == SCHED_UP_ACTIVE;
        refused += u->state == SCHED_UP_REFUSED;
        n->wired_asked += u->lacked && !s->nb[u->peer].leaf;
        t = &n->nb[u->peer];
        t->queued++;
        t->active += u->state == SCHED_UP_ACTIVE;
        t->asked += u->lacked;
        t->offered += u->offered;
    }
    return prev == s->upload_last && queued == s->uploads && active == s->active &&
           refused == s->refused;
}

static bool free_valid(const struct sched *s)
{
    uint32_t n = 0;

    for (uint16_t at = s->upload_free; at != SCHED_NO_ENTRY; at = s->upload[at].next)
        if (s->upload[at].state != SCHED_UP_FREE || ++n > s->uploads_max)
            return false;
    return n + s->uploads == s->uploads_max;
}

static bool nb_upload_valid(const struct sched *s, uint16_t peer, const struct tally *t)
{
    const struct sched_nb *nb = &s->nb[peer];
    uint32_t open = 0;

    if (nb->offers_n > SCHED_OFFERS_KEPT)
        return false;
    for (int i = 0; i < nb->offers_n; i++)
        open += !nb->offers[i].revoked;
    if (t->queued != nb->queued || t->asked != nb->asked || t->offered + open != nb->offered)
        return false;
    if (nb->active == SCHED_NO_ENTRY)
        return t->active == 0;
    return t->active == 1 && s->upload[nb->active].peer == peer &&
           s->upload[nb->active].state == SCHED_UP_ACTIVE && nb->queued <= SCHED_QUEUE_PEER;
}

static bool nb_receive_valid(const struct sched *s, uint16_t peer, const struct tally *t)
{
    const struct sched_nb *nb = &s->nb[peer];

    if (t->requests != nb->requests || nb->requests > SCHED_REQUESTS_PEER)
        return false;
    if (nb->asks_n > SCHED_ASKS_PEER || (nb->asks_n > 0) != !!(s->asks & sched_bit(peer)))
        return false;
    return !nb->stalled || nb->requests > 0;
}

static bool neighbours_valid(const struct sched *s, const struct census *n)
{
    uint32_t offered = 0, granted = 0;

    for (uint16_t i = 0; i < s->cfg.max_peers; i++) {
        const struct sched_nb *nb = &s->nb[i];
        const struct tally *t = &n->nb[i];

        if (nb->live != !!(s->live & sched_bit(i)))
            return false;
        if (!nb->live)
            continue;
        if (!nb_upload_valid(s, i, t) || !nb_receive_valid(s, i, t))
            return false;
        if (t->lacks != nb->lacks || t->due != nb->due)
            return false;
        offered += nb->offered;
        granted += nb->granted;
        if (nb->told > s->log_n || (!nb->granted && s->granting & sched_bit(i)))
            return false;
    }
    return offered == s->offered && granted == s->granted;
}

/* Chunks that say they are in flight. */
static uint32_t inflight_count(const struct sched *s)
{
    uint32_t n = 0;

    for (uint32_t c = 0; c < s->cfg.chunks; c++)
        n += s->inflight_of[c] != SCHED_NO_ENTRY;
    return n;
}

/* Each chunk is held, lost, wanted, or in flight; a lost one may be in flight no more. */
static bool inflight_valid(const struct sched *s, struct census *n)
{
    uint32_t verifying = 0;

    if (s->inflight_n > s->inflight_max || s->inflight_n != inflight_count(s) ||
        s->have.count + s->lost.count + s->wanted.count + s->inflight_n != s->cfg.chunks)
        return false;
    for (uint16_t i = 0; i < s->inflight_n; i++) {
        const struct sched_inflight *f = &s->inflight[i];

        verifying += f->verifying;
        if (f->chunk >= s->cfg.chunks || s->inflight_of[f->chunk] != i ||
            f->sources > SCHED_SOURCES_MAX)
            return false;
        if (chunkmap_has(&s->have, f->chunk) || chunkmap_has(&s->lost, f->chunk) ||
            chunkmap_has(&s->wanted, f->chunk))
            return false;
        if (f->verifying ? f->sources != 0 : f->sources == 0)
            return false;
        if (!from_valid(s, f->from))
            return false;
        if (f->sources == 2 && f->source[0].peer == f->source[1].peer)
            return false;
        for (int k = 0; k < f->sources; k++) {
            if (!sched_nb_at(s, f->source[k].peer))
                return false;
            n->nb[f->source[k].peer].requests++;
        }
    }
    return verifying == s->verifying;
}

bool sched_valid(const struct sched *s)
{
    struct census n = {.spread = 0};

    if (s->ring_n > s->ring_max || (s->cfg.chunks > 0 && s->cursor >= s->cfg.chunks))
        return false;
    if (s->up.running != (s->active > 0) || s->down.running != (s->inflight_n > 0))
        return false;
    return uploads_valid(s, &n) && free_valid(s) && inflight_valid(s, &n) && maps_valid(s) &&
           blocks_valid(s, &n) && sent_valid(s) && log_valid(s) && neighbours_valid(s, &n);
}
