/* The uploader: GRANTs out, the queue of requests, the slots. */
#include "transfer/core/sched_int.h"

/* What went before is not counted. */
void sched_meter_again(struct sched_meter *m, uint64_t now_ms)
{
    m->since_ms = now_ms;
    m->bytes = 0;
}

/* Starts or stops the clock of a meter; what is too short is not counted. Chunks that take
 * less than a millisecond, with a pause behind each, would else never be measured. */
void sched_meter_run(struct sched_meter *m, uint64_t now_ms, bool run)
{
    if (m->running == run)
        return;
    m->running = run;
    if (!run)
        m->stopped_ms = now_ms;
    else if (now_ms > m->stopped_ms + SCHED_PAUSE_MS)
        sched_meter_again(m, now_ms);
}

/* end: a whole chunk is through, a good moment to take a sample. */
void sched_meter_add(struct sched_meter *m, uint64_t now_ms, uint64_t bytes, bool end,
                     uint32_t chunk_bytes)
{
    double tau_ms;

    m->bytes += bytes;
    if (!end || !m->running || m->bytes == 0 || now_ms < m->since_ms + SCHED_SAMPLE_MS)
        return;
    tau_ms = (double)(now_ms - m->since_ms) * chunk_bytes / (double)m->bytes;
    m->tau_ms = m->tau_ms > 0 ? m->tau_ms * 0.75 + tau_ms * 0.25 : tau_ms;
    m->since_ms = now_ms;
    m->bytes = 0;
}

/* A GRANT or OFFER of ours was answered. */
void sched_answered(struct sched *s, uint64_t now_ms, uint64_t asked_ms)
{
    double ms = now_ms > asked_ms ? (double)(now_ms - asked_ms) : 0;

    s->rtt_ms += (ms - s->rtt_ms) / 8;
}

/* Walks the requests in order: as many as were granted, unless somebody floods
 * us, and then at most max_peers * SCHED_QUEUE_PEER. */
uint16_t sched_upload_find(const struct sched *s, uint16_t peer, uint32_t chunk)
{
    uint16_t at = s->upload_first;

    if (s->nb[peer].queued == 0)
        return SCHED_NO_ENTRY;
    while (at != SCHED_NO_ENTRY) {
        if (s->upload[at].peer == peer && s->upload[at].chunk == chunk)
            return at;
        at = s->upload[at].next;
    }
    return SCHED_NO_ENTRY;
}

static struct sched_upload *upload_append(struct sched *s, uint16_t peer, uint32_t chunk)
{
    uint16_t at = s->upload_free;
    struct sched_upload *u = &s->upload[at];

    s->upload_free = u->next;
    *u = (struct sched_upload){.state = SCHED_UP_QUEUED,
                               .peer = peer,
                               .chunk = chunk,
                               .next = SCHED_NO_ENTRY,
                               .prev = s->upload_last};
    if (s->upload_last == SCHED_NO_ENTRY)
        s->upload_first = at;
    else
        s->upload[s->upload_last].next = at;
    s->upload_last = at;
    s->uploads++;
    s->nb[peer].queued++;
    return u;
}

static void upload_unlink(struct sched *s, uint16_t at)
{
    struct sched_upload *u = &s->upload[at];

    if (u->prev == SCHED_NO_ENTRY)
        s->upload_first = u->next;
    else
        s->upload[u->prev].next = u->next;
    if (u->next == SCHED_NO_ENTRY)
        s->upload_last = u->prev;
    else
        s->upload[u->next].prev = u->prev;
}

/* Takes an entry out, whatever its state. */
void sched_upload_remove(struct sched *s, uint64_t now_ms, uint16_t entry)
{
    struct sched_upload *u = &s->upload[entry];
    struct sched_nb *nb = &s->nb[u->peer];

    if (u->state == SCHED_UP_ACTIVE) {
        nb->active = SCHED_NO_ENTRY;
        s->active--;
        sched_meter_run(&s->up, now_ms, s->active > 0);
    } else if (u->state == SCHED_UP_REFUSED) {
        s->refused--;
    }
    if (u->lacked) {
        nb->asked--;
        sched_air_unwired(s, nb, u->chunk);
    }
    if (u->offered) {
        nb->offered--;
        s->offered--;
    }
    nb->queued--;
    s->uploads--;
    upload_unlink(s, entry);
    *u = (struct sched_upload){.state = SCHED_UP_FREE, .next = s->upload_free};
    s->upload_free = entry;
}

/* The same, and the caller is told when bytes may be under way. */
void sched_upload_stop(struct sched *s, uint64_t now_ms, uint16_t entry)
{
    const struct sched_upload *u = &s->upload[entry];

    if (u->state == SCHED_UP_ACTIVE)
        sched_act_push(s, SCHED_UPLOAD_STOP, u->peer, u->chunk);
    sched_upload_remove(s, now_ms, entry);
}

static void grant_settle(struct sched *s, uint16_t peer)
{
    if (!s->nb[peer].granted)
        return;
    s->nb[peer].granted = false;
    s->granting &= ~sched_bit(peer);
    s->granted--;
}

void sched_upload_forget(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    uint16_t at = s->upload_first;

    while (at != SCHED_NO_ENTRY) {
        uint16_t next = s->upload[at].next;

        if (s->upload[at].peer == peer) {
            if (s->upload[at].offered)
                sched_source_unspread(s, s->upload[at].chunk);
            sched_upload_remove(s, now_ms, at);
        }
        at = next;
    }
    grant_settle(s, peer);
}

/* The neighbour is awake and wants something: no reason to wait any more. */
static void backoff_reset(struct sched_nb *nb)
{
    nb->pass_backoff_ms = nb->dry_backoff_ms = nb->exp_backoff_ms = 0;
    nb->grant_after_ms = nb->dry_after_ms = 0;
    nb->sated = false;
}

/* We have something that a sated neighbour may want. */
void sched_upload_unsate(struct sched_nb *nb)
{
    if (nb->sated)
        backoff_reset(nb);
}

static bool request_allowed(const struct sched *s, const struct sched_nb *nb, uint32_t chunk)
{
    if (!nb || chunk >= s->cfg.chunks || nb->queued >= SCHED_QUEUE_PEER)
        return false;
    return chunkmap_has(&s->have, chunk) || chunkmap_has(&s->lost, chunk);
}

int sched_on_request(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    struct sched_nb *nb = sched_nb_at(s, peer);
    struct sched_upload *u;
    int offer;

    if (!request_allowed(s, nb, chunk))
        return ERR_PROTOCOL;
    offer = sched_source_answer(s, now_ms, peer, chunk);
    if (offer == 0 && nb->granted) {
        sched_answered(s, now_ms, nb->granted_ms);
        grant_settle(s, peer);
    }
    backoff_reset(nb);
    nb->origin = false;
    if (offer < 0 || sched_upload_find(s, peer, chunk) != SCHED_NO_ENTRY)
        return 0;
    sched_sent_back(s, peer, chunk); /* it knows best whether it arrived */
    u = upload_append(s, peer, chunk);
    u->offered = offer > 0;
    nb->offered = (uint8_t)(nb->offered + u->offered);
    s->offered += u->offered;
    if (!chunkmap_has(&s->have, chunk)) {
        u->state = SCHED_UP_REFUSED;
        s->refused++;
    } else if (!chunkmap_has(&nb->have, chunk)) {
        nb->starving = nb->starving || (offer == 0 && s->avail[chunk].wired > 0);
        u->lacked = true;
        nb->asked++;
        sched_air_wired(s, nb, chunk);
    }
    return 0;
}

/* Doubles *backoff_ms from least to most, and says when it ends: +-25 %, so that
 * uploaders do not march in step. */
static uint64_t backoff_more(struct sched *s, uint32_t *backoff_ms, uint64_t now_ms, double least,
                             double most)
{
    double ms = sched_larger(*backoff_ms * 2.0, least);
    uint32_t n = (uint32_t)(ms > most ? most : ms);

    *backoff_ms = n;
    return now_ms + n - n / 4 + sched_random_below(s, n / 2 + 1);
}

/* "Full": the neighbour asks by itself once it has room, so there is no hurry but
 * for an uplink that runs dry. "Nothing": all that we could give is in flight to
 * it, so there is no sense in a GRANT before we gain a chunk; the timer is for
 * what is lost on its way, and near the end, where second sources matter. */
static void pass_backoff(struct sched *s, struct sched_nb *nb, uint64_t now_ms,
                         enum sched_pass pass)
{
    double least = SCHED_PASS_BACKOFF_MS, most = SCHED_PASS_BACKOFF_MAX_MS;

    nb->sated = pass == SCHED_PASS_NOTHING;
    nb->dry_after_ms = SCHED_NEVER;
    if (pass == SCHED_PASS_FULL) {
        nb->dry_after_ms = backoff_more(s, &nb->dry_backoff_ms, now_ms, least, most);
        least = sched_larger(least, SCHED_FULL_TAUS * sched_tau_ms(s));
        most = sched_larger(most, 2 * least);
        if (most > SCHED_FULL_BACKOFF_MAX_MS)
            most = SCHED_FULL_BACKOFF_MAX_MS;
    } else if (s->cfg.chunks - nb->have.count >= SCHED_TAIL_CHUNKS) {
        least = (double)sched_stall_ms(s);
        most = SCHED_NOTHING_BACKOFF_MAX_MS;
    }
    nb->grant_after_ms = backoff_more(s, &nb->pass_backoff_ms, now_ms, least, most);
}

int sched_on_pass(struct sched *s, uint64_t now_ms, uint16_t peer, enum sched_pass pass)
{
    struct sched_nb *nb = sched_nb_at(s, peer);

    if (!nb)
        return ERR_PROTOCOL;
    if (sched_source_pass(s, now_ms, peer, pass))
        return 0;
    if (!nb->granted)
        return 0;
    sched_answered(s, now_ms, nb->granted_ms);
    grant_settle(s, peer);
    nb->exp_backoff_ms = 0;
    nb->fed_ms = now_ms;
    nb->starving = nb->starving && pass == SCHED_PASS_FULL;
    pass_backoff(s, nb, now_ms, pass);
    return 0;
}

int sched_on_cancel(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    uint16_t entry;

    if (!sched_nb_at(s, peer) || chunk >= s->cfg.chunks)
        return ERR_PROTOCOL;
    entry = sched_upload_find(s, peer, chunk);
    if (entry != SCHED_NO_ENTRY)
        sched_upload_stop(s, now_ms, entry);
    return 0;
}

/* The fastest slot of late: rises by a 64th of the way so that one lucky chunk,
 * swallowed by empty socket buffers, does not make all others slow for good. */
static void slot_done(struct sched *s, const struct sched_upload *u, uint64_t now_ms)
{
    double took_ms = now_ms > u->started_ms ? (double)(now_ms - u->started_ms) : 0;

    if (s->fastest_ms <= 0 || took_ms < s->fastest_ms)
        s->fastest_ms = sched_larger(took_ms, 1);
    else
        s->fastest_ms += (took_ms - s->fastest_ms) / 64;
}

void sched_on_sent(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk, uint32_t bytes,
                   bool done)
{
    struct sched_nb *nb = sched_nb_at(s, peer);
    struct sched_upload *u;

    if (!nb || nb->active == SCHED_NO_ENTRY || s->upload[nb->active].chunk != chunk)
        return;
    u = &s->upload[nb->active];
    if (bytes > 0)
        u->moved_ms = now_ms;
    sched_meter_add(&s->up, now_ms, bytes, done, s->cfg.chunk_bytes);
    if (!done)
        return;
    slot_done(s, u, now_ms);
    nb->served++;
    if (u->offered)
        sched_source_delivered(s, peer, now_ms - u->started_ms);
    sched_upload_remove(s, now_ms, nb->active);
    sched_sent_put(s, now_ms, peer, chunk);
}

void sched_on_blocked(struct sched *s, uint64_t now_ms, uint16_t peer, bool blocked)
{
    struct sched_nb *nb = sched_nb_at(s, peer);
    struct sched_upload *u;

    if (!nb || nb->active == SCHED_NO_ENTRY)
        return;
    u = &s->upload[nb->active];
    if (blocked && !u->blocked)
        u->blocked_ms = now_ms;
    u->blocked = blocked;
}

/* A full uplink blocks every socket for a moment; only one that stays full while
 * what the sockets buffer could have gone out tells of a slow receiver. A chunk
 * that they buffer whole blocks none for longer than itself takes. */
static uint64_t blocked_after_ms(const struct sched *s)
{
    double ms = sched_tau_ms(s) * SCHED_BLOCKED_BYTES / s->cfg.chunk_bytes;

    if (s->cfg.chunk_bytes < SCHED_BLOCKED_BYTES)
        ms = sched_tau_ms(s);
    return ms > SCHED_BLOCKED_MS ? (uint64_t)ms : SCHED_BLOCKED_MS;
}

static uint64_t slow_after_ms(const struct sched *s)
{
    return (uint64_t)(SCHED_SLOW_FACTOR * sched_larger(s->fastest_ms, sched_tau_ms(s))) + 1;
}

/* When the slot begins to count as one that does not fill the uplink. */
static uint64_t slot_extra_ms(const struct sched *s, const struct sched_upload *u)
{
    uint64_t at = u->started_ms + slow_after_ms(s);

    return u->blocked ? sched_min(at, u->blocked_ms + blocked_after_ms(s)) : at;
}

/* min(S + extra, SMAX). *change_ms: when the answer may be another. */
static uint32_t slots_allowed(const struct sched *s, uint64_t now_ms, uint64_t *change_ms)
{
    uint32_t slots = s->cfg.source ? SCHED_SLOTS_SOURCE : SCHED_SLOTS;

    if (sched_fast(s))
        slots = SCHED_SLOTS_FAST;
    *change_ms = SCHED_NEVER;
    for (uint64_t m = s->live; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];
        uint64_t at;

        if (nb->active == SCHED_NO_ENTRY)
            continue;
        at = slot_extra_ms(s, &s->upload[nb->active]);
        if (at <= now_ms)
            slots++;
        else
            *change_ms = sched_min(*change_ms, at);
    }
    return slots < SCHED_SLOTS_MAX ? slots : SCHED_SLOTS_MAX;
}

static bool may_grant(const struct sched *s)
{
    return !s->cfg.source || (s->advertised && !s->cfg.polite);
}

/* Would a GRANT make sense, were it not for the backoff? */
static bool grant_wanted(const struct sched_nb *nb)
{
    return !nb->granted && nb->lacks > nb->asked && nb->queued < SCHED_QUEUE_PEER;
}

/* Hardly more is asked of us than the slots hold: a refusal is not waited out. On a
 * wireless route it is: who is full there is so for as long as all take the air. */
static bool uplink_dry(const struct sched *s, const struct sched_nb *nb)
{
    return s->uploads + s->granted <= SCHED_SLOTS && !nb->leaf && !nb->air;
}

static uint64_t grant_after_ms(const struct sched *s, const struct sched_nb *nb, uint64_t air_ms)
{
    uint64_t at =
        uplink_dry(s, nb) ? sched_min(nb->grant_after_ms, nb->dry_after_ms) : nb->grant_after_ms;

    air_ms = sched_air_after_ms(s, nb, air_ms);
    return at > air_ms ? at : air_ms;
}

static uint64_t grant_candidates(const struct sched *s, uint64_t now_ms, uint64_t *change_ms)
{
    uint64_t cand = 0, air_ms = sched_air_from_ms(s);

    for (uint64_t m = s->live; m; m &= m - 1) {
        uint16_t peer = sched_lowest(m);
        const struct sched_nb *nb = &s->nb[peer];
        uint64_t after_ms;

        if (!grant_wanted(nb))
            continue;
        after_ms = grant_after_ms(s, nb, air_ms);
        if (after_ms <= now_ms)
            cand |= sched_bit(peer);
        else
            *change_ms = sched_min(*change_ms, after_ms);
    }
    return cand;
}

static uint16_t mask_pick(struct sched *s, uint64_t mask)
{
    uint32_t skip = sched_random_below(s, (uint32_t)__builtin_popcountll(mask));

    while (skip--)
        mask &= mask - 1;
    return sched_lowest(mask);
}

/* The neighbour chooses among what it knows of: the news goes ahead of the GRANT. */
static bool granting_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    if (!s->granting)
        return false;
    if (sched_map_next(s, now_ms, act))
        return true;
    *act = (struct sched_act){.type = SCHED_SEND_GRANT, .peer = sched_lowest(s->granting)};
    s->granting &= s->granting - 1;
    return true;
}

bool sched_grant_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    uint64_t change_ms;
    uint32_t limit = slots_allowed(s, now_ms, &change_ms) + sched_ahead(s);
    uint64_t cand;
    uint16_t peer;

    if (granting_next(s, now_ms, act))
        return true;
    if (s->uploads + s->granted >= limit || !may_grant(s))
        return false;
    cand = sched_air_prefer(s, grant_candidates(s, now_ms, &change_ms));
    if (!cand)
        return false;
    peer = mask_pick(s, sched_ablated_mask(s, cand));
    s->nb[peer].granted = true;
    s->nb[peer].granted_ms = now_ms;
    s->granted++;
    s->granting |= sched_bit(peer);
    sched_map_tell(s, peer);
    return granting_next(s, now_ms, act);
}

/* A GRANT with no answer must not hold an uplink: its neighbour may be dead. */
void sched_upload_tick(struct sched *s, uint64_t now_ms)
{
    for (uint64_t m = s->granted ? s->live : 0; m; m &= m - 1) {
        struct sched_nb *nb = &s->nb[sched_lowest(m)];

        if (!nb->granted || now_ms < nb->granted_ms + sched_expire_ms(s))
            continue;
        grant_settle(s, sched_lowest(m));
        nb->exp_backoff_ms = nb->exp_backoff_ms ? nb->exp_backoff_ms * 2 : SCHED_EXP_BACKOFF_MS;
        if (nb->exp_backoff_ms > SCHED_EXP_BACKOFF_MAX_MS)
            nb->exp_backoff_ms = SCHED_EXP_BACKOFF_MAX_MS;
        nb->grant_after_ms = now_ms + nb->exp_backoff_ms;
        nb->dry_after_ms = SCHED_NEVER;
        nb->sated = false;
    }
}

static bool refuse_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    uint16_t at = s->upload_first;

    if (!s->refused)
        return false;
    while (s->upload[at].state != SCHED_UP_REFUSED)
        at = s->upload[at].next;
    *act = (struct sched_act){
        .type = SCHED_SEND_REVOKE, .peer = s->upload[at].peer, .chunk = s->upload[at].chunk};
    sched_upload_remove(s, now_ms, at);
    return true;
}

/* The next request moves into a slot: the oldest whose neighbour has none. */
static bool slot_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    uint64_t change_ms;
    uint16_t at = s->upload_first;

    if (s->active == s->uploads || s->active >= slots_allowed(s, now_ms, &change_ms))
        return false;
    for (; at != SCHED_NO_ENTRY; at = s->upload[at].next) {
        struct sched_upload *u = &s->upload[at];

        if (u->state != SCHED_UP_QUEUED || s->nb[u->peer].active != SCHED_NO_ENTRY)
            continue;
        u->state = SCHED_UP_ACTIVE;
        u->started_ms = u->moved_ms = now_ms;
        s->nb[u->peer].active = at;
        s->active++;
        sched_meter_run(&s->up, now_ms, true);
        *act = (struct sched_act){.type = SCHED_UPLOAD, .peer = u->peer, .chunk = u->chunk};
        return true;
    }
    return false;
}

bool sched_upload_next(struct sched *s, uint64_t now_ms, struct sched_act *act)
{
    return refuse_next(s, now_ms, act) || slot_next(s, now_ms, act);
}

/* Without these timers a node whose neighbours are all backed off sleeps for good. */
uint64_t sched_upload_deadline(const struct sched *s)
{
    uint64_t at;
    uint64_t now_ms = s->ticked_ms == SCHED_NEVER ? 0 : s->ticked_ms;
    uint32_t limit = slots_allowed(s, now_ms, &at) + sched_ahead(s);

    for (uint64_t m = s->granted ? s->live : 0; m; m &= m - 1) {
        const struct sched_nb *nb = &s->nb[sched_lowest(m)];

        if (nb->granted)
            at = sched_min(at, nb->granted_ms + sched_expire_ms(s));
    }
    if (s->uploads + s->granted >= limit || !may_grant(s))
        return at;
    if (sched_ablated(SCHED_REMEDY_TIMER))
        return at;
    (void)grant_candidates(s, now_ms, &at);
    return at;
}
