/* What we sent and the neighbour has not confirmed: the socket took the last byte,
 * but only its HAVE says that the chunk arrived. Until then nobody holds it by it;
 * it is just not given to the same neighbour twice. */
#include "transfer/core/sched_int.h"

static struct sched_sent *sent_at(const struct sched *s, uint32_t i)
{
    return &s->unsure[(s->unsure_first + i) % SCHED_UNCONFIRMED_MAX];
}

/* Closed at once: the same chunk may be sent to the same neighbour again, and has the
 * whole time anew. Words come about in the order of sending: it is near the front. */
static void unsure_close(struct sched *s, uint16_t peer, uint32_t chunk)
{
    for (uint32_t i = 0; i < s->unsure_n; i++) {
        struct sched_sent *e = sent_at(s, i);

        if (e->peer == peer && e->chunk == chunk) {
            e->peer = SCHED_NO_ENTRY;
            return;
        }
    }
}

/* Takes off the front what is settled, so that the first one's time is the earliest. */
static void unsure_trim(struct sched *s)
{
    while (s->unsure_n > 0 && sent_at(s, 0)->peer == SCHED_NO_ENTRY) {
        s->unsure_first = (s->unsure_first + 1) % SCHED_UNCONFIRMED_MAX;
        s->unsure_n--;
    }
}

/* Keeps the open entries, but none of the neighbour without. */
static void unsure_compact(struct sched *s, int without)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->unsure_n; i++) {
        struct sched_sent e = *sent_at(s, i);

        if (e.peer != without && e.peer != SCHED_NO_ENTRY)
            s->unsure[(s->unsure_first + kept++) % SCHED_UNCONFIRMED_MAX] = e;
    }
    s->unsure_n = kept;
}

static void sent_unmark(struct sched *s, uint16_t peer, uint32_t chunk)
{
    sched_air_unwired(s, &s->nb[peer], chunk);
    chunkmap_clear(&s->nb[peer].sent, chunk);
    s->avail[chunk].sent--;
}

/* Ends the wait for a word on chunk; false: there was none. The caller counts lacks. */
bool sched_sent_settle(struct sched *s, uint16_t peer, uint32_t chunk)
{
    if (!chunkmap_has(&s->nb[peer].sent, chunk))
        return false;
    sent_unmark(s, peer, chunk);
    unsure_close(s, peer, chunk);
    unsure_trim(s);
    return true;
}

/* peer has not got chunk after all, for all that we know: it is given again. */
static void sent_lacked(struct sched *s, uint16_t peer, uint32_t chunk)
{
    struct sched_nb *nb = &s->nb[peer];

    if (chunkmap_has(&s->have, chunk))
        sched_air_lack(s, nb, chunk);
    sched_upload_unsate(nb);
    sched_source_unspread(s, chunk);
}

void sched_sent_back(struct sched *s, uint16_t peer, uint32_t chunk)
{
    if (sched_sent_settle(s, peer, chunk))
        sent_lacked(s, peer, chunk);
}

/* The last byte of chunk was handed to the socket of peer. */
void sched_sent_put(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    struct sched_nb *nb = &s->nb[peer];

    if (!sched_lacks(nb, chunk))
        return;
    if (chunkmap_has(&s->have, chunk))
        sched_air_unlack(s, nb, chunk);
    chunkmap_set(&nb->sent, chunk);
    s->avail[chunk].sent++;
    sched_air_wired(s, nb, chunk);
    if (s->unsure_n == SCHED_UNCONFIRMED_MAX)
        unsure_compact(s, -1);
    if (s->unsure_n == SCHED_UNCONFIRMED_MAX)
        sched_sent_back(s, sent_at(s, 0)->peer, sent_at(s, 0)->chunk);
    s->unsure[(s->unsure_first + s->unsure_n++) % SCHED_UNCONFIRMED_MAX] =
        (struct sched_sent){.chunk = chunk, .peer = peer, .sent_ms = now_ms};
}

/* peer is gone, and with it what was on its way. */
void sched_sent_forget(struct sched *s, uint16_t peer)
{
    const struct chunkmap *sent = &s->nb[peer].sent;

    unsure_compact(s, peer);
    for (uint32_t c = chunkmap_next(sent, 0); c < s->cfg.chunks; c = chunkmap_next(sent, c + 1)) {
        sent_unmark(s, peer, c);
        sent_lacked(s, peer, c);
    }
}

static uint64_t sent_until_ms(const struct sched *s)
{
    uint64_t stall_ms = sched_stall_ms(s);

    return sent_at(s, 0)->sent_ms +
           (stall_ms > SCHED_UNCONFIRMED_MS ? stall_ms : SCHED_UNCONFIRMED_MS);
}

void sched_sent_tick(struct sched *s, uint64_t now_ms)
{
    while (s->unsure_n > 0 && now_ms >= sent_until_ms(s))
        sched_sent_back(s, sent_at(s, 0)->peer, sent_at(s, 0)->chunk);
}

uint64_t sched_sent_deadline(const struct sched *s)
{
    return s->unsure_n > 0 ? sent_until_ms(s) : SCHED_NEVER;
}
