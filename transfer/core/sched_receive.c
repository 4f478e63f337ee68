/* The receiver: what to answer to a GRANT, chunks in flight, endgame. */
#include "transfer/core/sched_int.h"

#include <string.h>

static struct sched_inflight *inflight_at(const struct sched *s, uint32_t chunk)
{
    uint16_t at = s->inflight_of[chunk];

    return at == SCHED_NO_ENTRY ? NULL : &s->inflight[at];
}

static int source_find(const struct sched_inflight *f, uint16_t peer)
{
    for (int i = 0; i < f->sources; i++)
        if (f->source[i].peer == peer)
            return i;
    return -1;
}

/* Asks peer for the chunk of f. */
static void source_add(struct sched *s, uint64_t now_ms, struct sched_inflight *f, uint16_t peer)
{
    struct sched_nb *nb = &s->nb[peer];

    f->source[f->sources++] = (struct sched_source){.peer = peer};
    if (nb->requests++ == 0) {
        nb->moved_ms = now_ms;
        nb->stalled = false;
    }
    sched_meter_run(&s->down, now_ms, true);
}

static void source_remove(struct sched *s, struct sched_inflight *f, int i)
{
    struct sched_nb *nb = &s->nb[f->source[i].peer];

    if (--nb->requests == 0)
        nb->stalled = false;
    f->source[i] = f->source[--f->sources];
}

static struct sched_inflight *inflight_add(struct sched *s, uint32_t chunk)
{
    struct sched_inflight *f = &s->inflight[s->inflight_n];

    s->inflight_of[chunk] = s->inflight_n++;
    chunkmap_clear(&s->wanted, chunk);
    *f = (struct sched_inflight){.chunk = chunk, .from = {SCHED_NO_ENTRY, SCHED_NO_ENTRY}};
    return f;
}

/* wanted: nobody sends the chunk and we still lack it. */
static void inflight_remove(struct sched *s, uint64_t now_ms, struct sched_inflight *f, bool wanted)
{
    uint16_t at = s->inflight_of[f->chunk];
    const struct sched_inflight *last = &s->inflight[s->inflight_n - 1];

    s->inflight_of[f->chunk] = SCHED_NO_ENTRY;
    if (wanted)
        chunkmap_set(&s->wanted, f->chunk);
    if (f->verifying)
        s->verifying--;
    if (last != f) {
        *f = *last;
        s->inflight_of[f->chunk] = at;
    }
    s->inflight_n--;
    sched_meter_run(&s->down, now_ms, s->inflight_n > 0);
}

/* peer will not send chunk after all. */
static void source_drop(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    struct sched_inflight *f = inflight_at(s, chunk);
    int i = f ? source_find(f, peer) : -1;

    if (i < 0)
        return;
    source_remove(s, f, i);
    if (f->sources == 0 && !f->verifying)
        inflight_remove(s, now_ms, f, true);
}

void sched_receive_forget(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    for (uint16_t i = s->inflight_n; i-- > 0;)
        source_drop(s, now_ms, peer, s->inflight[i].chunk);
    s->nb[peer].asks_n = 0;
}

static int ask_put(struct sched *s, uint16_t peer, bool offer, uint32_t chunk)
{
    struct sched_nb *nb = sched_nb_at(s, peer);

    if (!nb || nb->asks_n == SCHED_ASKS_PEER)
        return ERR_PROTOCOL;
    nb->asks[(nb->asks_first + nb->asks_n++) % SCHED_ASKS_PEER] =
        (struct sched_ask){.chunk = chunk, .offer = offer};
    s->asks |= sched_bit(peer);
    return 0;
}

int sched_on_grant(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    (void)now_ms;
    return ask_put(s, peer, false, SCHED_NO_CHUNK);
}

int sched_on_offer(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    if (chunk >= s->cfg.chunks || ask_put(s, peer, true, chunk))
        return ERR_PROTOCOL;
    s->nb[peer].offers_us_ms = now_ms;
    s->nb[peer].origin = true;
    return 0;
}

/* peer takes an offer back, or has no chunk any more that it said it had. */
int sched_on_revoke(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    struct sched_nb *nb = sched_nb_at(s, peer);

    if (!nb || chunk >= s->cfg.chunks)
        return ERR_PROTOCOL;
    for (uint8_t i = 0; i < nb->asks_n; i++) {
        struct sched_ask *ask = &nb->asks[(nb->asks_first + i) % SCHED_ASKS_PEER];

        if (ask->offer && ask->chunk == chunk)
            ask->chunk = SCHED_NO_CHUNK; /* still owed an answer: PASS */
    }
    source_drop(s, now_ms, peer, chunk);
    sched_map_drop(s, peer, chunk);
    sched_sent_back(s, peer, chunk);
    return 0;
}

/* The time in which everybody was silent says nothing of how fast we receive: STALL,
 * which grows with that, would have us wait for the silent ones for minutes. */
static void down_resume(struct sched *s, uint64_t now_ms)
{
    if (now_ms > s->in_ms + sched_stall_ms(s))
        sched_meter_again(&s->down, now_ms);
    s->in_ms = now_ms;
}

bool sched_on_data(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk, uint32_t bytes)
{
    struct sched_nb *nb = sched_nb_at(s, peer);
    struct sched_inflight *f = nb && chunk < s->cfg.chunks ? inflight_at(s, chunk) : NULL;
    int i = f ? source_find(f, peer) : -1;

    if (nb && bytes > 0) {
        nb->moved_ms = now_ms;
        nb->stalled = false;
        nb->ask_after_ms = nb->mute_ms = 0;
    }
    if (i < 0) {
        s->duplicate_bytes += bytes;
        return false;
    }
    f->source[i].bytes += bytes;
    down_resume(s, now_ms);
    sched_meter_add(&s->down, now_ms, bytes, false, s->cfg.chunk_bytes);
    return true;
}

/* It promised and stood still: it is asked for nothing for a while, or until a byte comes.
 * Else those who only promise take turns to hold the last chunks up. */
static void mute(const struct sched *s, uint64_t now_ms, struct sched_nb *nb)
{
    uint64_t ms = nb->mute_ms ? nb->mute_ms * 2 : sched_stall_ms(s);

    nb->mute_ms = ms < SCHED_MUTE_MAX_MS ? (uint32_t)ms : SCHED_MUTE_MAX_MS;
    nb->ask_after_ms = now_ms + nb->mute_ms;
}

static bool may_ask(const struct sched_nb *nb, uint64_t now_ms)
{
    return !nb->stalled && now_ms >= nb->ask_after_ms;
}

/* The slower of two sources is told to stop; what it sent was for nothing. */
static void source_cancel(struct sched *s, uint64_t now_ms, struct sched_inflight *f, int i)
{
    struct sched_nb *nb = &s->nb[f->source[i].peer];

    if (nb->stalled)
        mute(s, now_ms, nb);
    s->duplicate_bytes += f->source[i].bytes;
    sched_act_push(s, SCHED_SEND_CANCEL, f->source[i].peer, f->chunk);
    source_remove(s, f, i);
}

void sched_on_received(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    struct sched_inflight *f = chunk < s->cfg.chunks ? inflight_at(s, chunk) : NULL;
    int i = f && sched_nb_at(s, peer) ? source_find(f, peer) : -1;

    if (i < 0)
        return;
    source_remove(s, f, i);
    if (!s->nb[peer].leaf)
        s->wired_ms = now_ms;
    f->from[0] = peer;
    if (f->sources > 0) {
        f->from[1] = f->source[0].peer; /* it may have sent all when it reads our CANCEL */
        source_cancel(s, now_ms, f, 0);
    }
    f->verifying = true;
    s->verifying++;
    sched_meter_add(&s->down, now_ms, 0, true, s->cfg.chunk_bytes);
}

void sched_on_stored(struct sched *s, uint64_t now_ms, uint32_t chunk, bool ok)
{
    struct sched_inflight *f = chunk < s->cfg.chunks ? inflight_at(s, chunk) : NULL;
    struct sched_news news = {.chunk = chunk, .from = {SCHED_NO_ENTRY, SCHED_NO_ENTRY}};

    if (chunk >= s->cfg.chunks)
        return;
    if (f)
        memcpy(news.from, f->from, sizeof(news.from));
    if (f && (ok || f->verifying)) {
        while (f->sources > 0)
            source_cancel(s, now_ms, f, 0);
        inflight_remove(s, now_ms, f, !ok);
    }
    if (ok)
        sched_map_hold(s, now_ms, &news);
}

/* stalled: something is outstanding and no byte came for STALL. */
void sched_receive_tick(struct sched *s, uint64_t now_ms)
{
    if (now_ms < s->stall_tick_ms || s->inflight_n == 0)
        return;
    s->stall_tick_ms = now_ms + SCHED_STALL_TICK_MS;
    for (uint64_t m = s->live; m; m &= m - 1) {
        struct sched_nb *nb = &s->nb[sched_lowest(m)];

        nb->stalled = nb->requests > 0 && now_ms >= nb->moved_ms + sched_stall_ms(s);
    }
}

/* Requests whose bytes we count on, and what waits for the disk. */
static uint32_t inbound(const struct sched *s)
{
    uint32_t n = s->verifying;

    for (uint64_t m = s->live; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];

        if (!nb->stalled)
            n += nb->requests;
    }
    return n;
}

/* T. In a short share each chunk counts: queued at one uploader it is not asked of the
 * next that could send it at once. So does each of the last: once all have come out of the
 * source, some are left for whoever is free, and when all are on their way one at a time is
 * asked of a second. Simulated, 32 peers, 64 and 256 chunks: time 1.305 -> 1.293 and
 * 1.098 -> 1.093, what came twice 2.0 -> 1.4 and 0.75 -> 0.29 %. */
static uint32_t inbound_chunks(const struct sched *s)
{
    bool few = s->cfg.chunks <= 2 * SCHED_TAIL_CHUNKS;
    uint32_t most = (few ? SCHED_INBOUND_FEW : SCHED_INBOUND) + sched_ahead(s);
    uint32_t missing = s->cfg.chunks - s->have.count;
    uint32_t last = SCHED_INBOUND_LAST + missing / 4;

    if (s->wanted.count == 0 && last < missing + 1)
        last = missing + 1;
    return s->spread == s->cfg.chunks && last < most ? last : most;
}

/* T is not raised when the downlink looks idle: on a shared medium it always does. Every
 * chunk on its way is memory: large ones are fewer. */
static uint32_t inbound_max(const struct sched *s, bool air)
{
    uint32_t chunks = inbound_chunks(s);
    uint32_t room = SCHED_INBOUND_BYTES / s->cfg.chunk_bytes;

    if (air && !sched_ablated(SCHED_REMEDY_LEAF_T))
        return SCHED_INBOUND_LEAF;
    if (room < SCHED_INBOUND_MIN)
        room = SCHED_INBOUND_MIN;
    return chunks < room ? chunks : room;
}

struct choice {
    uint32_t chunk;
    uint32_t avail;
    uint32_t ties;
    uint32_t seen;
};

/* Of a leaf we ask what no wired neighbour has, if there is any. */
static uint32_t choice_avail(const struct sched *s, const struct sched_nb *nb, uint32_t chunk)
{
    uint32_t all = s->avail[chunk].all;

    return nb->leaf && s->avail[chunk].wired > 0 ? all + SCHED_PEERS_MAX : all;
}

static void choice_try(struct sched *s, const struct sched_nb *nb, struct choice *best,
                       uint32_t chunk)
{
    uint32_t avail = choice_avail(s, nb, chunk);

    best->seen++;
    if (best->chunk != SCHED_NO_CHUNK && avail > best->avail)
        return;
    if (best->chunk == SCHED_NO_CHUNK || avail < best->avail) {
        best->avail = avail;
        best->ties = 0;
    }
    if (sched_random_below(s, ++best->ties) == 0)
        best->chunk = chunk;
}

/* Least available chunk of nb.have & wanted, random among equals. Walks the maps
 * a word at a time from a random place and looks at SCHED_CANDIDATES chunks at
 * most: a fair sample when nb has more than that for us. */
static uint32_t chunk_choose(struct sched *s, const struct sched_nb *nb)
{
    struct choice best = {.chunk = SCHED_NO_CHUNK};
    uint32_t words = (s->cfg.chunks + 63) / 64;
    uint32_t at = sched_random_below(s, words);

    if (s->wanted.count == 0 || nb->have.count == 0)
        return SCHED_NO_CHUNK;
    for (uint32_t n = 0; n < words && best.seen < SCHED_CANDIDATES; n++) {
        uint64_t word = nb->have.words[at] & s->wanted.words[at];

        for (; word; word &= word - 1)
            choice_try(s, nb, &best, at * 64 + (uint32_t)__builtin_ctzll(word));
        at = at + 1 < words ? at + 1 : 0;
    }
    return best.chunk;
}

/* Not over the air twice what wired neighbours will bring. */
static bool chunk_spared(const struct sched *s, uint64_t now_ms, const struct sched_nb *nb,
                         uint32_t chunk)
{
    return nb->leaf && chunk != SCHED_NO_CHUNK && s->avail[chunk].wired > 0 &&
           sched_air_fed(s, now_ms);
}

static bool second_allowed(const struct sched_inflight *f, const struct sched_nb *nb, uint16_t peer)
{
    return f->sources == 1 && !f->verifying && f->source[0].peer != peer &&
           chunkmap_has(&nb->have, f->chunk);
}

static bool sources_stalled(const struct sched *s, const struct sched_inflight *f)
{
    for (int i = 0; i < f->sources; i++)
        if (!s->nb[f->source[i].peer].stalled)
            return false;
    return f->sources > 0;
}

/* Rescue: a chunk in flight on connections that stand still. Two that promised it and are
 * silent must not keep it: the first is given up. */
static struct sched_inflight *stalled_choose(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    for (uint16_t i = 0; i < s->inflight_n; i++) {
        struct sched_inflight *f = &s->inflight[i];

        if (!sources_stalled(s, f) || source_find(f, peer) >= 0 ||
            !chunkmap_has(&s->nb[peer].have, f->chunk))
            continue;
        if (f->sources == SCHED_SOURCES_MAX)
            source_cancel(s, now_ms, f, 0);
        return f;
    }
    return NULL;
}

/* Endgame: every missing chunk is in flight; the one that is furthest from done. */
static struct sched_inflight *endgame_choose(struct sched *s, uint16_t peer)
{
    struct sched_inflight *best = NULL;
    uint64_t enough = (uint64_t)s->cfg.chunk_bytes * SCHED_ENDGAME_PERCENT / 100;

    if (s->wanted.count > 0 || sched_ablated(SCHED_REMEDY_ENDGAME))
        return NULL;
    for (uint16_t i = 0; i < s->inflight_n; i++) {
        struct sched_inflight *f = &s->inflight[i];

        if (!second_allowed(f, &s->nb[peer], peer) || f->source[0].bytes >= enough)
            continue;
        if (!best || f->source[0].bytes < best->source[0].bytes)
            best = f;
    }
    return best;
}

static void answer_pass(struct sched_act *act, enum sched_pass pass)
{
    act->type = SCHED_SEND_PASS;
    act->pass = pass;
}

static void answer_request(struct sched *s, uint64_t now_ms, struct sched_inflight *f,
                           struct sched_act *act)
{
    source_add(s, now_ms, f, act->peer);
    act->type = SCHED_SEND_REQUEST;
    act->chunk = f->chunk;
}

static bool requests_full(const struct sched *s, const struct sched_nb *nb)
{
    return nb->requests >= SCHED_REQUESTS_PEER || s->inflight_n == s->inflight_max;
}

/* A GRANT that found us full is good for a while: long enough for a place to get
 * free, short enough for the granter to have no better use of its uplink yet. */
static void owe(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    double ms = SCHED_FULL_TAUS * sched_tau_ms(s);

    if (ms > SCHED_FULL_BACKOFF_MAX_MS)
        ms = SCHED_FULL_BACKOFF_MAX_MS;
    s->owed |= sched_bit(peer);
    s->nb[peer].owed_until_ms = now_ms + (uint64_t)ms;
}

static void grant_answer(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    const struct sched_nb *nb = &s->nb[act->peer];
    struct sched_inflight *f;
    uint32_t chunk;

    if (!may_ask(nb, now_ms)) { /* let it first send what it owes */
        answer_pass(act, SCHED_PASS_NOTHING);
        return;
    }
    if (inbound(s) >= inbound_max(s, nb->air) || requests_full(s, nb)) {
        answer_pass(act, SCHED_PASS_FULL);
        owe(s, now_ms, act->peer);
        return;
    }
    chunk = chunk_choose(s, nb);
    if (chunk_spared(s, now_ms, nb, chunk)) {
        answer_pass(act, SCHED_PASS_NOTHING);
        return;
    }
    if (chunk != SCHED_NO_CHUNK)
        f = inflight_add(s, chunk);
    else
        f = stalled_choose(s, now_ms, act->peer);
    if (!f)
        f = endgame_choose(s, act->peer);
    if (f)
        answer_request(s, now_ms, f, act);
    else
        answer_pass(act, SCHED_PASS_NOTHING);
}

/* Chunks that may wait for the disk: at least T. */
static uint32_t unstored_max(const struct sched *s)
{
    uint32_t chunks = SCHED_UNSTORED_BYTES / s->cfg.chunk_bytes;

    return chunks > inbound_max(s, false) ? chunks : inbound_max(s, false);
}

/* A first copy is welcome, T or not; unless the disk is behind: what came in and is
 * not stored yet stays in memory, and nothing but our PASS holds a source up. */
static void offer_answer(struct sched *s, uint64_t now_ms, uint32_t chunk, struct sched_act *act)
{
    if (chunk == SCHED_NO_CHUNK || !chunkmap_has(&s->wanted, chunk))
        answer_pass(act, SCHED_PASS_NOTHING);
    else if (requests_full(s, &s->nb[act->peer]) || s->verifying >= unstored_max(s))
        answer_pass(act, SCHED_PASS_FULL);
    else
        answer_request(s, now_ms, inflight_add(s, chunk), act);
}

/* Of the neighbours whose GRANT found us full: the one with fewest of our requests, for they
 * wait for each other there; of these the youngest GRANT, for its uplink is the likeliest to be
 * idle still. */
static bool owed_better(const struct sched_nb *nb, const struct sched_nb *best)
{
    if (!best || nb->requests != best->requests)
        return !best || nb->requests < best->requests;
    return nb->owed_until_ms >= best->owed_until_ms;
}

/* Takes the best of the GRANTs that found us full. False: none is good any more. */
static bool owed_take(struct sched *s, uint64_t now_ms, uint16_t *peer)
{
    const struct sched_nb *best = NULL;
    uint32_t n = inbound(s);

    for (uint64_t m = s->owed; m; m &= m - 1) {
        uint16_t p = sched_lowest(m);
        const struct sched_nb *nb = &s->nb[p];

        if (nb->owed_until_ms < now_ms) {
            s->owed &= ~sched_bit(p);
        } else if (n < inbound_max(s, nb->air) && owed_better(nb, best)) {
            best = nb;
            *peer = p;
        }
    }
    s->owed &= ~(best ? sched_bit(*peer) : 0);
    return best != NULL;
}

/* Asks for what was granted before, once there is room. */
static bool owed_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    uint16_t peer = 0;

    while (s->owed && owed_take(s, now_ms, &peer)) {
        uint32_t chunk = SCHED_NO_CHUNK;

        if (!requests_full(s, &s->nb[peer]) && may_ask(&s->nb[peer], now_ms))
            chunk = chunk_choose(s, &s->nb[peer]);
        if (chunk == SCHED_NO_CHUNK || chunk_spared(s, now_ms, &s->nb[peer], chunk))
            continue;
        *act = (struct sched_act){.peer = peer};
        answer_request(s, now_ms, inflight_add(s, chunk), act);
        return true;
    }
    return false;
}

bool sched_receive_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    struct sched_ask ask;
    struct sched_nb *nb;

    if (s->asks && now_ms < s->flush_ms && sched_ablated(SCHED_REMEDY_PROMPT))
        return false;
    if (!s->asks)
        return owed_next(s, now_ms, act);
    *act = (struct sched_act){.peer = sched_lowest(s->asks), .chunk = SCHED_NO_CHUNK};
    nb = &s->nb[act->peer];
    ask = nb->asks[nb->asks_first];
    nb->asks_first = (uint8_t)((nb->asks_first + 1) % SCHED_ASKS_PEER);
    if (--nb->asks_n == 0)
        s->asks &= ~sched_bit(act->peer);
    s->owed &= ~sched_bit(act->peer);
    if (ask.offer)
        offer_answer(s, now_ms, ask.chunk, act);
    else
        grant_answer(s, now_ms, act);
    return true;
}

uint64_t sched_receive_deadline(const struct sched *s)
{
    uint64_t at = SCHED_NEVER;

    for (uint64_t m = s->inflight_n ? s->live : 0; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];

        if (nb->requests > 0 && !nb->stalled)
            at = sched_min(at, nb->moved_ms + sched_stall_ms(s));
    }
    return at == SCHED_NEVER || at > s->stall_tick_ms ? at : s->stall_tick_ms;
}
