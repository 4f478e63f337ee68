#include "transfer/io/swarm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/merkle.h"
#include "transfer/io/swarm_int.h"

static void swarm_pump(struct swarm *w);
static void swarm_on_end(evutil_socket_t fd, short what, void *arg);

void swarm_wake(struct swarm *w)
{
    if (!w->stopping)
        event_active(w->pump, EV_TIMEOUT, 1);
}

static void swarm_tell_failure(struct swarm *w)
{
    w->fail_told = true;
    w->cfg.ops->on_failed(w->cfg.arg, w->fail_err);
}

static void swarm_on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct swarm *w = arg;

    (void)fd;
    (void)what;
    if (w->stopping)
        return;
    if (!w->failed)
        swarm_pump(w);
    else if (!w->fail_told)
        swarm_tell_failure(w);
}

/* --- actions out -------------------------------------------------------- */

static void swarm_send_map(const struct swarm_link *l)
{
    const struct chunkmap *have = sched_have(l->swarm->sched);
    struct msg m = swarm_msg(l, MSG_MAP);
    uint8_t *bits;

    m.map.len_bytes = (uint32_t)chunkmap_wire_bytes(have->chunks);
    bits = malloc(m.map.len_bytes + 1);
    if (bits == NULL)
        return;
    chunkmap_encode(have, bits);
    m.map.bits = bits;
    peer_send(l->peer, &m);
    free(bits);
}

static void swarm_send_pass(const struct swarm_link *l, enum sched_pass pass)
{
    struct msg m = swarm_msg(l, MSG_PASS);

    m.reason = pass == SCHED_PASS_FULL ? MSG_PASS_FULL : MSG_PASS_NOTHING;
    peer_send(l->peer, &m);
}

/* HAVEs to one peer come in a row: gathered here into one message. */
struct have_batch {
    struct swarm_link *link;
    uint16_t count;
    uint32_t chunks[MSG_HAVE_MAX];
};

static void have_batch_flush(struct have_batch *b)
{
    struct msg m;

    if (b->count == 0)
        return;
    m = swarm_msg(b->link, MSG_HAVE);
    m.have.count = b->count;
    m.have.chunks = b->chunks;
    peer_send(b->link->peer, &m);
    b->count = 0;
}

static void have_batch_add(struct have_batch *b, struct swarm_link *l, uint32_t chunk)
{
    if (b->link != l || b->count == MSG_HAVE_MAX)
        have_batch_flush(b);
    b->link = l;
    b->chunks[b->count++] = chunk;
}

static void swarm_request(struct swarm_link *l, uint32_t chunk)
{
    if (swarm_inflight_begin(l, chunk) == 0)
        swarm_send_simple(l, MSG_REQUEST, chunk);
    else
        swarm_link_drop(l, true); /* no memory: better one neighbour less than a leak in sched */
}

static void swarm_act(struct swarm *w, const struct sched_act *act, struct have_batch *haves)
{
    struct swarm_link *l = w->by_number[act->peer];

    assert(l != NULL);
    if (act->type != SCHED_SEND_HAVE)
        have_batch_flush(haves);
    switch (act->type) {
    case SCHED_SEND_MAP:
        swarm_send_map(l);
        break;
    case SCHED_SEND_HAVE:
        have_batch_add(haves, l, act->chunk);
        break;
    case SCHED_SEND_COMPLETE:
        swarm_send_simple(l, MSG_COMPLETE, 0);
        break;
    case SCHED_SEND_GRANT:
        swarm_send_simple(l, MSG_GRANT, 0);
        break;
    case SCHED_SEND_REQUEST:
        swarm_request(l, act->chunk);
        break;
    case SCHED_SEND_PASS:
        swarm_send_pass(l, act->pass);
        break;
    case SCHED_SEND_OFFER:
        swarm_send_simple(l, MSG_OFFER, act->chunk);
        break;
    case SCHED_SEND_REVOKE:
        swarm_send_simple(l, MSG_REVOKE, act->chunk);
        break;
    case SCHED_SEND_CANCEL:
        swarm_inflight_stop(l, act->chunk);
        swarm_send_simple(l, MSG_CANCEL, act->chunk);
        break;
    case SCHED_UPLOAD:
        swarm_upload_begin(l, act->chunk);
        break;
    case SCHED_UPLOAD_STOP:
        swarm_upload_stop(l, act->chunk);
        break;
    }
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void swarm_arm(struct swarm *w, uint64_t now)
{
    uint64_t deadline = sched_deadline_ms(w->sched);
    struct timeval tv;

    deadline = min_u64(deadline, swarm_disk_deadline_ms(w));
    if (w->serve_ms != 0)
        deadline = min_u64(deadline, w->serve_ms);
    if (w->stat_due_ms != 0)
        deadline = min_u64(deadline, w->stat_due_ms);
    if (deadline == SCHED_NEVER) {
        event_del(w->timer);
        return;
    }
    clock_timeval(deadline > now ? deadline - now : 0, &tv);
    event_add(w->timer, &tv);
}

/* A chunk that we have sent counts as held by its receiver, but part of it may
 * still be in our socket: notes how far the sockets have to get. */
static void swarm_mark_spread(struct swarm *w)
{
    struct sched_stat ss;
    uint64_t acked;
    bool was = w->spread;

    sched_stat(w->sched, &ss);
    w->spread = ss.spread == w->chunks;
    for (uint32_t i = 0; w->spread && !was && i < w->link_count; i++)
        peer_delivery(w->links[i]->peer, &w->links[i]->spread_mark, &acked);
}

static bool swarm_delivered(const struct swarm *w)
{
    uint64_t handed, acked;

    for (uint32_t i = 0; w->spread && i < w->link_count; i++) {
        peer_delivery(w->links[i]->peer, &handed, &acked);
        if (acked < w->links[i]->spread_mark)
            return false;
    }
    return w->spread;
}

/* Everything there is to do now. Facts only set it off (swarm_wake), so that a
 * turn of the loop with fifty frames pumps once. */
static void swarm_pump(struct swarm *w)
{
    struct have_batch haves = {.link = NULL, .count = 0};
    struct sched_act act;
    uint64_t now = clock_ms();

    while (sched_next(w->sched, now, &act))
        swarm_act(w, &act, &haves);
    have_batch_flush(&haves);
    swarm_serve(w);
    while (sched_next(w->sched, now, &act)) /* slots that serving has freed */
        swarm_act(w, &act, &haves);
    have_batch_flush(&haves);
    swarm_mark_spread(w);
    if (w->stat_due_ms != 0 && now >= w->stat_due_ms)
        swarm_tell_stat(w);
    swarm_disk_pump(w, now);
    if (!w->stopping)
        swarm_arm(w, now);
}

/* --- life ---------------------------------------------------------------- */

static int swarm_events(struct swarm *w)
{
    w->pump = event_new(w->cfg.base, -1, 0, swarm_on_turn, w);
    w->timer = evtimer_new(w->cfg.base, swarm_on_turn, w);
    w->end = event_new(w->cfg.base, -1, 0, swarm_on_end, w);
    w->frame = malloc(MSG_DATA_HEAD_BYTES + MSG_DATA_BYTES_MAX);
    if (w->pump == NULL || w->timer == NULL || w->end == NULL || w->frame == NULL)
        return -ENOMEM;
    return 0;
}

static uint64_t swarm_bytes_held(const struct swarm *w)
{
    const struct chunkmap *have = store_have(w->cfg.store);
    uint64_t sum = 0;

    for (uint32_t c = chunkmap_next(have, 0); c < have->chunks; c = chunkmap_next(have, c + 1))
        sum += layout_chunk_bytes(w->cfg.layout, c);
    return sum;
}

static void swarm_release(struct swarm *w)
{
    if (w->pump != NULL)
        event_free(w->pump);
    if (w->timer != NULL)
        event_free(w->timer);
    if (w->end != NULL)
        event_free(w->end);
    sched_free(w->sched);
    swarm_disk_free(w);
    free(w->frame);
    free(w);
}

int swarm_new(const struct swarm_cfg *cfg, struct swarm **out)
{
    struct swarm *w = calloc(1, sizeof(*w));
    struct sched_cfg sc = {
        .chunks = layout_chunks(cfg->layout),
        .chunk_bytes = layout_chunk_bytes_max(cfg->layout) > 0 ? layout_chunk_bytes_max(cfg->layout)
                                                               : MERKLE_LEAF_BYTES,
        .max_peers = SWARM_LINKS_MAX,
        .source = cfg->origin,
        .salt = cfg->salt,
    };
    int rc;

    *out = NULL;
    if (w == NULL)
        return -ENOMEM;
    w->cfg = *cfg;
    w->chunks = sc.chunks;
    TAILQ_INIT(&w->uploads);
    TAILQ_INIT(&w->waiting);
    rc = sched_new(&sc, store_have(cfg->store), clock_ms(), &w->sched);
    if (rc == 0)
        rc = swarm_events(w);
    if (rc < 0) {
        swarm_release(w);
        return rc;
    }
    w->done_bytes = swarm_bytes_held(w);
    w->done_told = !cfg->receiving;
    w->uploaded_bytes = cfg->sent_bytes;
    *out = w;
    swarm_wake(w);
    return 0;
}

void swarm_fail(struct swarm *w, int err)
{
    if (w->failed || w->stopping)
        return;
    w->failed = true;
    w->fail_err = err;
    swarm_wake(w); /* told at a turn of its own: whoever calls still walks our lists */
}

void swarm_job_begun(struct swarm *w)
{
    w->jobs++;
}

static void swarm_on_end(evutil_socket_t fd, short what, void *arg)
{
    struct swarm *w = arg;
    void (*stopped)(void *) = w->stopped;
    void *stopped_arg = w->stopped_arg;

    (void)fd;
    (void)what;
    swarm_release(w);
    stopped(stopped_arg);
}

static int swarm_run_last_sync(void *arg)
{
    struct swarm *w = arg;

    return store_sync(w->cfg.store);
}

static void swarm_last_sync_done(void *arg, int result)
{
    (void)result; /* what is not durable is fetched again: nothing else to do at the end */
    swarm_job_ended(arg);
}

/* Nothing runs any more: sync once, then the end, at a turn of its own. */
static void swarm_wind_up(struct swarm *w)
{
    if (w->dirty && !w->final_sync) {
        w->final_sync = true;
        if (workers_submit(w->cfg.workers, NULL, swarm_run_last_sync, swarm_last_sync_done, w) ==
            0) {
            w->jobs++;
            return;
        }
    }
    event_active(w->end, EV_TIMEOUT, 1);
}

void swarm_job_ended(struct swarm *w)
{
    assert(w->jobs > 0);
    if (--w->jobs == 0 && w->stopping)
        swarm_wind_up(w);
}

void swarm_stop(struct swarm *w, void (*stopped)(void *arg), void *arg)
{
    assert(!w->stopping);
    while (w->link_count > 0)
        swarm_link_drop(w->links[0], true);
    w->stopping = true;
    w->stopped = stopped;
    w->stopped_arg = arg;
    event_del(w->timer);
    event_del(w->pump);
    if (w->jobs == 0)
        swarm_wind_up(w);
}

void swarm_free(struct swarm *w)
{
    if (w == NULL)
        return;
    while (w->link_count > 0)
        swarm_link_drop(w->links[0], false);
    swarm_release(w);
}

static void swarm_stat_sources(const struct swarm *w, struct swarm_stat *out)
{
    out->source_known = w->cfg.origin || w->source_count > 0;
    out->source_bytes = w->cfg.origin ? w->uploaded_bytes : 0;
    for (uint32_t i = 0; i < w->source_count; i++) {
        out->source_bytes += w->sources[i].earlier_bytes + w->sources[i].sent_bytes;
        out->source_restarted |= w->sources[i].earlier_bytes > 0;
    }
    if (out->source_restarted && out->source_bytes < w->from_source_bytes)
        out->source_bytes = w->from_source_bytes;
}

void swarm_stat(const struct swarm *w, struct swarm_stat *out)
{
    struct sched_stat ss;
    uint64_t now = clock_ms();

    memset(out, 0, sizeof(*out));
    sched_stat(w->sched, &ss);
    out->chunks = w->chunks;
    out->have = ss.have;
    out->spread = ss.spread;
    out->peers = ss.peers;
    out->peers_seen = w->seen_count;
    out->done_bytes = w->done_bytes;
    out->received_bytes = w->received_bytes;
    out->from_source_bytes = w->from_source_bytes;
    out->duplicate_bytes = ss.duplicate_bytes;
    out->uploaded_bytes = w->uploaded_bytes;
    out->down_per_s = rate_per_s(&w->down, now);
    out->up_per_s = rate_per_s(&w->up, now);
    out->disk_full = w->disk_full;
    out->needed = sched_needed(w->sched);
    out->done = store_done(w->cfg.store);
    out->delivered = ss.spread == w->chunks && swarm_delivered(w);
    swarm_stat_sources(w, out);
}
