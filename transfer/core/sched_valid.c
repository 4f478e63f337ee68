/* Every invariant of struct sched, counted anew. */
#include "transfer/core/sched_int.h"

static bool maps_valid(const struct sched *s)
{
    if (!chunkmap_valid(&s->have) || !chunkmap_valid(&s->lost) || !chunkmap_valid(&s->wanted) ||
        !chunkmap_valid(&s->logged) || !chunkmap_valid(&s->todo) || !chunkmap_valid(&s->again))
        return false;
    for (uint32_t c = 0; c < s->cfg.chunks; c++) {
        bool in_flight = s->inflight_of[c] != SCHED_NO_ENTRY;
        int states =
            chunkmap_has(&s->have, c) + chunkmap_has(&s->lost, c) + chunkmap_has(&s->wanted, c);

        /* held, lost, wanted, or in flight; a lost chunk may be in flight no more */
        if (states + in_flight != 1)
            return false;
    }
    return true;
}

/* Requests of wired neighbours for what they lack. */
static uint32_t wired_asked(const struct sched *s)
{
    uint32_t n = 0;

    for (uint16_t at = s->upload_first; at != SCHED_NO_ENTRY; at = s->upload[at].next)
        n += s->upload[at].lacked && !s->nb[s->upload[at].peer].leaf;
    return n;
}

static bool avail_valid(const struct sched *s)
{
    uint32_t spread = 0, sole = 0, getting = 0;

    for (uint32_t c = 0; c < s->cfg.chunks; c++) {
        uint32_t all = 0, wired = 0, sent = 0;

        for (uint64_t m = s->live; m; m &= m - 1) {
            const struct sched_nb *nb = &s->nb[sched_lowest(m)];

            all += chunkmap_has(&nb->have, c);
            wired += !sched_lacks(nb, c) && !nb->leaf;
            sent += chunkmap_has(&nb->sent, c);
            if (chunkmap_has(&nb->have, c) && chunkmap_has(&nb->sent, c))
                return false;
        }
        if (all != s->avail[c].all || wired > s->avail[c].wired || sent != s->avail[c].sent)
            return false;
        spread += all > 0;
        sole += s->avail[c].wired == 0 && chunkmap_has(&s->have, c);
        getting += s->avail[c].wired - wired;
    }
    return spread == s->spread && sole == s->sole && getting == wired_asked(s);
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

struct tally {
    uint32_t queued, active, refused, asked, offered;
};

/* Walks the list of uploads for those of one neighbour (or of all). */
static bool uploads_count(const struct sched *s, int peer, struct tally *t)
{
    uint16_t prev = SCHED_NO_ENTRY;
    uint32_t steps = 0;

    *t = (struct tally){0};
    for (uint16_t at = s->upload_first; at != SCHED_NO_ENTRY; at = s->upload[at].next) {
        const struct sched_upload *u = &s->upload[at];

        if (++steps > s->uploads_max || u->prev != prev || u->state == SCHED_UP_FREE)
            return false;
        prev = at;
        if (peer >= 0 && u->peer != peer)
            continue;
        t->queued++;
        t->active += u->state == SCHED_UP_ACTIVE;
        t->refused += u->state == SCHED_UP_REFUSED;
        t->asked += u->lacked;
        t->offered += u->offered;
    }
    return prev == s->upload_last;
}

static bool free_valid(const struct sched *s)
{
    uint32_t n = 0;

    for (uint16_t at = s->upload_free; at != SCHED_NO_ENTRY; at = s->upload[at].next)
        if (s->upload[at].state != SCHED_UP_FREE || ++n > s->uploads_max)
            return false;
    return n + s->uploads == s->uploads_max;
}

static bool nb_upload_valid(const struct sched *s, uint16_t peer)
{
    const struct sched_nb *nb = &s->nb[peer];
    uint32_t open = 0;
    struct tally t;

    for (int i = 0; i < nb->offers_n; i++)
        open += !nb->offers[i].revoked;
    if (!uploads_count(s, peer, &t) || nb->offers_n > SCHED_OFFERS_KEPT)
        return false;
    if (t.queued != nb->queued || t.asked != nb->asked || t.offered + open != nb->offered)
        return false;
    if (nb->active == SCHED_NO_ENTRY)
        return t.active == 0;
    return t.active == 1 && s->upload[nb->active].peer == peer &&
           s->upload[nb->active].state == SCHED_UP_ACTIVE && nb->queued <= SCHED_QUEUE_PEER;
}

static bool nb_map_valid(const struct sched *s, const struct sched_nb *nb)
{
    uint32_t lacks = 0, due = 0;

    if (!chunkmap_valid(&nb->have) || !chunkmap_valid(&nb->sent))
        return false;
    for (uint32_t c = 0; c < s->cfg.chunks; c++) {
        bool lacked = chunkmap_has(&s->have, c) && sched_lacks(nb, c);

        lacks += lacked;
        due += lacked && s->avail[c].wired == 0;
    }
    return lacks == nb->lacks && due == nb->due;
}

static bool nb_receive_valid(const struct sched *s, uint16_t peer)
{
    const struct sched_nb *nb = &s->nb[peer];
    uint32_t requests = 0;

    for (uint16_t i = 0; i < s->inflight_n; i++)
        for (int k = 0; k < s->inflight[i].sources; k++)
            requests += s->inflight[i].source[k].peer == peer;
    if (requests != nb->requests || nb->requests > SCHED_REQUESTS_PEER)
        return false;
    if (nb->asks_n > SCHED_ASKS_PEER || (nb->asks_n > 0) != !!(s->asks & sched_bit(peer)))
        return false;
    return !nb->stalled || nb->requests > 0;
}

static bool neighbours_valid(const struct sched *s)
{
    uint32_t offered = 0, granted = 0;

    for (uint16_t i = 0; i < s->cfg.max_peers; i++) {
        const struct sched_nb *nb = &s->nb[i];

        if (nb->live != !!(s->live & sched_bit(i)))
            return false;
        if (!nb->live)
            continue;
        if (!nb_upload_valid(s, i) || !nb_map_valid(s, nb) || !nb_receive_valid(s, i))
            return false;
        offered += nb->offered;
        granted += nb->granted;
        if (nb->told > s->log_n || (!nb->granted && s->granting & sched_bit(i)))
            return false;
    }
    return offered == s->offered && granted == s->granted;
}

static bool inflight_valid(const struct sched *s)
{
    uint32_t verifying = 0;

    if (s->inflight_n > s->inflight_max)
        return false;
    for (uint16_t i = 0; i < s->inflight_n; i++) {
        const struct sched_inflight *f = &s->inflight[i];

        verifying += f->verifying;
        if (s->inflight_of[f->chunk] != i || f->sources > SCHED_SOURCES_MAX)
            return false;
        if (f->verifying ? f->sources != 0 : f->sources == 0)
            return false;
        if (!from_valid(s, f->from))
            return false;
        if (f->sources == 2 && f->source[0].peer == f->source[1].peer)
            return false;
        for (int k = 0; k < f->sources; k++)
            if (!sched_nb_at(s, f->source[k].peer))
                return false;
    }
    return verifying == s->verifying;
}

bool sched_valid(const struct sched *s)
{
    struct tally t;

    if (!uploads_count(s, -1, &t) || t.queued != s->uploads || t.active != s->active ||
        t.refused != s->refused)
        return false;
    if (s->ring_n > s->ring_max || (s->cfg.chunks > 0 && s->cursor >= s->cfg.chunks))
        return false;
    if (s->up.running != (s->active > 0) || s->down.running != (s->inflight_n > 0))
        return false;
    return maps_valid(s) && avail_valid(s) && sent_valid(s) && log_valid(s) && free_valid(s) &&
           neighbours_valid(s) && inflight_valid(s);
}
