/* Who holds what: the neighbours' maps, the availability of each chunk, and
 * what we tell of our own. */
#include "transfer/core/sched_int.h"

#include <string.h>

/* An upload of chunk to peer no longer brings it something that it lacks. */
static void upload_settle(struct sched *s, struct sched_nb *nb, uint16_t peer, uint32_t chunk)
{
    uint16_t entry = nb->queued ? sched_upload_find(s, peer, chunk) : SCHED_NO_ENTRY;

    if (entry == SCHED_NO_ENTRY || !s->upload[entry].lacked)
        return;
    s->upload[entry].lacked = false;
    nb->asked--;
    sched_air_unwired(s, nb, chunk);
}

/* peer holds chunk: it said so. */
void sched_map_gain(struct sched *s, uint16_t peer, uint32_t chunk)
{
    struct sched_nb *nb = &s->nb[peer];

    if (chunkmap_has(&nb->have, chunk))
        return;
    if (chunkmap_has(&s->have, chunk) && sched_lacks(nb, chunk))
        sched_air_unlack(s, nb, chunk);
    chunkmap_set(&nb->have, chunk);
    if (s->avail[chunk].all++ == 0)
        s->spread++;
    sched_air_wired(s, nb, chunk);
    (void)sched_sent_settle(s, peer, chunk);
    upload_settle(s, nb, peer, chunk);
}

/* peer holds chunk no more. */
void sched_map_drop(struct sched *s, uint16_t peer, uint32_t chunk)
{
    struct sched_nb *nb = &s->nb[peer];

    if (!chunkmap_clear(&nb->have, chunk))
        return;
    if (chunkmap_has(&s->have, chunk))
        sched_air_lack(s, nb, chunk);
    sched_upload_unsate(nb);
    sched_air_unwired(s, nb, chunk);
    if (--s->avail[chunk].all == 0) {
        s->spread--;
        sched_source_unspread(s, chunk);
    }
}

void sched_map_forget(struct sched *s, uint16_t peer)
{
    struct sched_nb *nb = &s->nb[peer];
    uint32_t c = chunkmap_next(&nb->have, 0);

    while (c < s->cfg.chunks) {
        sched_map_drop(s, peer, c);
        c = chunkmap_next(&nb->have, c + 1);
    }
}

/* HAVEs wait for company: where neither end is near, each neighbour has other
 * chunks to choose from. */
static uint64_t flush_wait_ms(const struct sched *s)
{
    double ms = SCHED_HAVE_FLUSH_TAUS * sched_tau_ms(s);

    if (sched_tail(s, &s->have) || ms < SCHED_HAVE_FLUSH_MS)
        return SCHED_HAVE_FLUSH_MS;
    return ms < SCHED_HAVE_FLUSH_MAX_MS ? (uint64_t)ms : SCHED_HAVE_FLUSH_MAX_MS;
}

/* Everybody is told the whole log, from its first entry on. */
static void told_back(struct sched *s)
{
    for (uint64_t m = s->live; m; m &= m - 1)
        s->nb[sched_lowest(m)].told = 0;
}

/* We hold a chunk from now on. */
void sched_map_hold(struct sched *s, uint64_t now_ms, const struct sched_news *news)
{
    uint32_t chunk = news->chunk;

    if (!chunkmap_set(&s->have, chunk))
        return;
    chunkmap_clear(&s->lost, chunk);
    chunkmap_clear(&s->wanted, chunk);
    if (s->avail[chunk].wired == 0)
        s->sole++;
    for (uint64_t m = s->live; m; m &= m - 1) {
        struct sched_nb *nb = &s->nb[sched_lowest(m)];

        if (!sched_lacks(nb, chunk))
            continue;
        sched_air_lack(s, nb, chunk);
        sched_upload_unsate(nb);
    }
    if (sched_silent(s))
        return;
    if (!chunkmap_set(&s->logged, chunk)) {
        told_back(s); /* held, lost and held again: nobody knows who knows */
        return;
    }
    if (s->log_n == s->flush_len)
        s->flush_ms = now_ms + flush_wait_ms(s);
    s->log[s->log_n++] = *news;
    if (chunkmap_full(&s->have))
        sched_map_announce_all(s);
}

static void from_forget(uint16_t from[SCHED_SOURCES_MAX], uint16_t peer)
{
    for (int i = 0; i < SCHED_SOURCES_MAX; i++)
        if (from[i] == peer)
            from[i] = SCHED_NO_ENTRY;
}

/* Whoever gets the number of peer next has sent us nothing. */
void sched_map_unsend(struct sched *s, uint16_t peer)
{
    for (uint32_t i = 0; i < s->log_n; i++)
        from_forget(s->log[i].from, peer);
    for (uint16_t i = 0; i < s->inflight_n; i++)
        from_forget(s->inflight[i].from, peer);
}

static void log_clear(struct sched *s)
{
    for (uint32_t i = 0; i < s->log_n; i++)
        chunkmap_clear(&s->logged, s->log[i].chunk);
    s->log_n = s->flush_len = 0;
    s->flushing = 0;
    told_back(s);
}

/* COMPLETE to all: it says more than any HAVE that is still due. */
void sched_map_announce_all(struct sched *s)
{
    if (sched_silent(s))
        return;
    log_clear(s);
    s->complete = s->live;
    s->greet = 0;
}

void sched_on_lost(struct sched *s, uint64_t now_ms, uint32_t chunk)
{
    if (!chunkmap_clear(&s->have, chunk))
        return;
    chunkmap_set(&s->lost, chunk);
    if (s->avail[chunk].wired == 0)
        s->sole--;
    for (uint64_t m = s->live; m; m &= m - 1)
        if (sched_lacks(&s->nb[sched_lowest(m)], chunk))
            sched_air_unlack(s, &s->nb[sched_lowest(m)], chunk);
    for (uint64_t m = s->live; m; m &= m - 1) {
        uint16_t peer = sched_lowest(m);
        uint16_t entry = sched_upload_find(s, peer, chunk);

        if (entry == SCHED_NO_ENTRY)
            continue;
        sched_upload_stop(s, now_ms, entry);
        sched_act_push(s, SCHED_SEND_REVOKE, peer, chunk);
    }
    sched_source_lost(s, chunk);
}

int sched_on_have(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    if (!sched_nb_at(s, peer) || chunk >= s->cfg.chunks)
        return ERR_PROTOCOL;
    s->nb[peer].origin = false;
    s->nb[peer].fed_ms = now_ms;
    sched_map_gain(s, peer, chunk);
    return 0;
}

int sched_on_complete(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    struct sched_nb *nb = sched_nb_at(s, peer);

    if (!nb)
        return ERR_PROTOCOL;
    nb->fed_ms = now_ms;
    if (chunkmap_full(&nb->have))
        return 0;
    for (uint32_t c = 0; c < s->cfg.chunks; c++)
        sched_map_gain(s, peer, c);
    return 0;
}

/* Chunks first..first+63 of peer are now those of word: only differences cost. */
static void word_take(struct sched *s, uint16_t peer, uint32_t first, uint64_t word)
{
    uint64_t diff = word ^ s->nb[peer].have.words[first / 64];

    for (; diff; diff &= diff - 1) {
        uint32_t bit = (uint32_t)__builtin_ctzll(diff);

        if (word >> bit & 1)
            sched_map_gain(s, peer, first + bit);
        else
            sched_map_drop(s, peer, first + bit);
    }
}

int sched_on_map(struct sched *s, uint64_t now_ms, uint16_t peer, const struct chunkmap *map)
{
    struct sched_nb *nb = sched_nb_at(s, peer);

    if (!nb || map->chunks != s->cfg.chunks)
        return ERR_PROTOCOL;
    nb->fed_ms = now_ms;
    for (uint32_t first = 0; first < s->cfg.chunks; first += 64)
        word_take(s, peer, first, map->words[first / 64]);
    return 0;
}

/* The first word to a new neighbour. A source stays silent until its cursor is done. */
static bool greet_next(struct sched *s, struct sched_act *act)
{
    if (!s->greet || sched_silent(s))
        return false;
    act->peer = sched_lowest(s->greet);
    s->nb[act->peer].told = s->log_n;
    act->type = chunkmap_full(&s->have) ? SCHED_SEND_COMPLETE : SCHED_SEND_MAP;
    s->greet &= s->greet - 1;
    return true;
}

static bool complete_next(struct sched *s, struct sched_act *act)
{
    if (!s->complete)
        return false;
    act->type = SCHED_SEND_COMPLETE;
    act->peer = sched_lowest(s->complete);
    s->complete &= s->complete - 1;
    return true;
}

/* Tells peer what it has not been told; a neighbour that is owed a greeting learns it by that. */
void sched_map_tell(struct sched *s, uint16_t peer)
{
    if (s->nb[peer].told < s->log_n)
        s->flushing |= sched_bit(peer) & ~s->greet;
}

static void flush_begin(struct sched *s, uint64_t now_ms)
{
    if (s->flush_len > 0 || s->log_n == 0 || now_ms < s->flush_ms)
        return;
    s->flush_len = s->log_n;
    s->flushing = s->live & ~s->greet;
}

/* Takes what every neighbour has been told off the log. */
static void flush_end(struct sched *s, uint64_t now_ms)
{
    for (uint32_t i = 0; i < s->flush_len; i++)
        chunkmap_clear(&s->logged, s->log[i].chunk);
    s->log_n -= s->flush_len;
    memmove(s->log, s->log + s->flush_len, s->log_n * sizeof(*s->log));
    for (uint64_t m = s->live; m; m &= m - 1) {
        struct sched_nb *nb = &s->nb[sched_lowest(m)];

        nb->told -= nb->told < s->flush_len ? nb->told : s->flush_len;
    }
    s->flush_len = 0;
    s->flush_ms = now_ms + flush_wait_ms(s);
}

/* Told to those that may lack the chunk, and to whoever sent it: all that it knows
 * is that its socket took the bytes. */
static bool news_for(const struct sched *s, const struct sched_news *news, uint16_t peer)
{
    if (!chunkmap_has(&s->have, news->chunk))
        return false;
    return !chunkmap_has(&s->nb[peer].have, news->chunk) || news->from[0] == peer ||
           news->from[1] == peer;
}

static bool have_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    flush_begin(s, now_ms);
    for (; s->flushing; s->flushing &= s->flushing - 1) {
        uint16_t peer = sched_lowest(s->flushing);
        struct sched_nb *nb = &s->nb[peer];

        while (nb->told < s->log_n) {
            const struct sched_news *news = &s->log[nb->told++];

            if (!news_for(s, news, peer))
                continue;
            *act = (struct sched_act){.type = SCHED_SEND_HAVE, .peer = peer, .chunk = news->chunk};
            return true;
        }
    }
    if (s->flush_len > 0)
        flush_end(s, now_ms);
    return false;
}

bool sched_map_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    *act = (struct sched_act){.chunk = SCHED_NO_CHUNK};
    return complete_next(s, act) || greet_next(s, act) || have_next(s, now_ms, act);
}
