/* The receiving side: a chunk that is whole goes to a worker, which hashes it and
 * writes it when it is right; then it is announced. A wrong one costs the neighbour
 * its place. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/verify.h"
#include "transfer/io/swarm_int.h"

/* --- chunk buffers: a few are kept, for they are large and come and go ------ */

static uint8_t *buf_take(struct swarm *w)
{
    if (w->spares > 0)
        return w->spare[--w->spares];
    return malloc(layout_chunk_bytes_max(w->cfg.layout));
}

static void buf_give(struct swarm *w, uint8_t *buf)
{
    if (buf != NULL && w->spares < SWARM_SPARE_BUFS && !w->done_told)
        w->spare[w->spares++] = buf;
    else
        free(buf);
}

static void bufs_release(struct swarm *w)
{
    while (w->spares > 0)
        free(w->spare[--w->spares]);
}

/* --- in flight ---------------------------------------------------------------- */

int swarm_inflight_begin(struct swarm_link *l, uint32_t chunk)
{
    struct inflight *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return -ENOMEM;
    f->chunk = chunk;
    f->total_bytes = layout_chunk_bytes(l->swarm->cfg.layout, chunk);
    TAILQ_INSERT_TAIL(&l->inflight, f, entry);
    return 0;
}

static struct inflight *inflight_find(struct swarm_link *l, uint32_t chunk)
{
    struct inflight *f;

    TAILQ_FOREACH(f, &l->inflight, entry)
    {
        if (f->chunk == chunk)
            return f;
    }
    return NULL;
}

static void inflight_free(struct swarm_link *l, struct inflight *f)
{
    TAILQ_REMOVE(&l->inflight, f, entry);
    buf_give(l->swarm, f->buf);
    free(f);
}

void swarm_inflight_stop(struct swarm_link *l, uint32_t chunk)
{
    struct inflight *f = inflight_find(l, chunk);

    if (f != NULL)
        inflight_free(l, f);
}

void swarm_inflight_drop(struct swarm_link *l)
{
    while (!TAILQ_EMPTY(&l->inflight))
        inflight_free(l, TAILQ_FIRST(&l->inflight));
}

/* --- to the disk ---------------------------------------------------------------- */

static void write_job_submit(struct write_job *j);

/* Not on the loop: SHA-256 is the dearest part of a transfer, and a chunk that has
 * just come in is still in a cache that the worker's core shares. */
static bool write_job_verify(struct write_job *j)
{
    const struct swarm_cfg *cfg = &j->swarm->cfg;
    struct verify v;

    verify_begin(&v, cfg->hash, cfg->manifest, cfg->layout, j->chunk);
    v.many = cfg->hash_many;
    return verify_advance(&v, j->buf, j->len_bytes) == VERIFY_DONE;
}

static int write_job_run(void *arg)
{
    struct write_job *j = arg;

    if (!j->verified)
        j->verified = write_job_verify(j);
    if (!j->verified)
        return ERR_HASH;
    return store_write(j->swarm->cfg.store, j->chunk, j->buf, j->len_bytes);
}

static void write_job_free(struct write_job *j)
{
    buf_give(j->swarm, j->buf);
    free(j);
}

static void write_job_wait(struct write_job *j)
{
    TAILQ_INSERT_TAIL(&j->swarm->waiting, j, entry);
    j->swarm->retry_ms = clock_ms() + SWARM_RETRY_MS;
}

static void write_job_done(void *arg, int result)
{
    struct write_job *j = arg;
    struct swarm *w = j->swarm;

    if (result == -ENOSPC && !w->stopping) {
        w->disk_full = true;
        write_job_wait(j);
    } else {
        if (result == 0) {
            w->dirty = true;
            w->done_bytes += j->len_bytes;
        }
        if (!w->stopping)
            sched_on_stored(w->sched, clock_ms(), j->chunk, result == 0);
        if (result == ERR_HASH && !w->stopping)
            swarm_ban(w, j->node, ERR_HASH);
        else if (result < 0)
            swarm_fail(w, result);
        write_job_free(j);
    }
    swarm_wake(w);
    swarm_job_ended(w);
}

static void write_job_submit(struct write_job *j)
{
    if (workers_submit(j->swarm->cfg.workers, NULL, write_job_run, write_job_done, j) < 0)
        write_job_wait(j); /* the pool's queue is full: as good as a slow disk */
    else
        swarm_job_begun(j->swarm);
}

/* The whole chunk is here. Takes f's buffer. */
static int inflight_store(struct swarm_link *l, struct inflight *f)
{
    struct swarm *w = l->swarm;
    struct write_job *j = calloc(1, sizeof(*j));
    uint32_t chunk = f->chunk;

    if (j != NULL) {
        *j = (struct write_job){
            .swarm = w, .chunk = chunk, .len_bytes = f->total_bytes, .buf = f->buf};
        memcpy(j->node, peer_node(l->peer), HASH_LEN);
        f->buf = NULL;
    }
    inflight_free(l, f);
    sched_on_received(w->sched, clock_ms(), l->number, chunk);
    if (j == NULL) {
        sched_on_stored(w->sched, clock_ms(), chunk, false);
        return -ENOMEM; /* not from the same neighbour over and over */
    }
    write_job_submit(j);
    return 0;
}

/* --- data in ---------------------------------------------------------------- */

static void swarm_count_data(struct swarm_link *l, uint32_t len, uint64_t now)
{
    struct swarm *w = l->swarm;
    const uint8_t *node = peer_node(l->peer);

    w->received_bytes += len;
    rate_add(&w->down, now, len);
    if (l->flags & MSG_FLAG_ORIGIN)
        w->from_source_bytes += len;
    if (l->sent_something)
        return;
    l->sent_something = true;
    for (uint32_t i = 0; i < w->seen_count; i++)
        if (memcmp(w->seen[i], node, SWARM_NODE_PREFIX) == 0)
            return;
    if (w->seen_count < SWARM_SEEN_MAX)
        memcpy(w->seen[w->seen_count++], node, SWARM_NODE_PREFIX);
}

static int inflight_take(struct swarm_link *l, struct inflight *f, const struct msg *m)
{
    if (m->data.offset_bytes == 0)
        f->got_bytes = 0; /* a new answer: what came before it was of a REQUEST we cancelled */
    if (m->data.offset_bytes != f->got_bytes)
        return 0; /* the rest of such an old answer: late, no blame */
    if (m->data.len_bytes == 0 || m->data.len_bytes > f->total_bytes - f->got_bytes)
        return ERR_PROTOCOL;
    if (f->buf == NULL) {
        f->buf = buf_take(l->swarm);
        if (f->buf == NULL)
            return -ENOMEM;
    }
    memcpy(f->buf + f->got_bytes, m->data.data, m->data.len_bytes);
    f->got_bytes += m->data.len_bytes;
    return f->got_bytes == f->total_bytes ? inflight_store(l, f) : 0;
}

int swarm_on_data(struct swarm_link *l, const struct msg *m)
{
    struct swarm *w = l->swarm;
    struct inflight *f = inflight_find(l, m->chunk);
    uint64_t now = clock_ms();
    int rc;

    swarm_count_data(l, m->data.len_bytes, now);
    if (!sched_on_data(w->sched, now, l->number, m->chunk, m->data.len_bytes) || f == NULL)
        return 0; /* late, after our CANCEL: no blame */
    rc = inflight_take(l, f, m);
    if (rc == -ENOMEM) {
        swarm_link_drop(l, true);
        return 0;
    }
    return rc;
}

/* --- making durable ---------------------------------------------------------------- */

static int sync_run(void *arg)
{
    struct swarm *w = arg;

    return store_sync(w->cfg.store);
}

/* All is held and synced, and still not every file has its name: do not spin. */
static bool swarm_stuck(const struct swarm *w)
{
    return chunkmap_full(sched_have(w->sched)) && !w->dirty && !store_done(w->cfg.store);
}

static void sync_done(void *arg, int result)
{
    struct swarm *w = arg;

    w->syncing = false;
    if (result == -ENOSPC)
        w->dirty = w->disk_full = true;
    if (result == -ENOSPC || (result == 0 && swarm_stuck(w))) {
        w->retry_ms = clock_ms() + SWARM_RETRY_MS;
    } else if (result < 0) {
        swarm_fail(w, result);
    }
    swarm_wake(w);
    swarm_job_ended(w);
}

static void swarm_sync(struct swarm *w)
{
    if (workers_submit(w->cfg.workers, NULL, sync_run, sync_done, w) < 0) {
        w->dirty = true; /* looked at again in a while */
        return;
    }
    w->syncing = true;
    w->dirty = false;
    swarm_job_begun(w);
}

static void swarm_retry(struct swarm *w)
{
    struct write_job *j;
    TAILQ_HEAD(, write_job) all;

    w->retry_ms = 0;
    w->disk_full = false;
    TAILQ_INIT(&all);
    TAILQ_CONCAT(&all, &w->waiting, entry);
    while ((j = TAILQ_FIRST(&all)) != NULL) {
        TAILQ_REMOVE(&all, j, entry);
        write_job_submit(j);
    }
}

/* A whole share with unfinished files (empty ones, or all found in place) needs
 * a sync as well: the sync is what gives files their names. */
static bool swarm_wants_sync(struct swarm *w, uint64_t now)
{
    if (w->done_told || w->syncing || w->failed || w->retry_ms != 0)
        return false;
    return chunkmap_full(sched_have(w->sched)) || store_sync_due(w->cfg.store, now);
}

/* When to look again whether a sync is due; 0: something else will tell. */
static uint64_t swarm_sync_at_ms(const struct swarm *w, uint64_t now_ms)
{
    uint64_t at = store_sync_at_ms(w->cfg.store);

    if (w->done_told || w->syncing || w->failed || w->retry_ms != 0 || at == UINT64_MAX)
        return 0;
    return at > now_ms ? at : now_ms + STORE_REST_MS; /* due: the workers did not take it */
}

void swarm_disk_pump(struct swarm *w, uint64_t now_ms)
{
    if (w->retry_ms != 0 && now_ms >= w->retry_ms)
        swarm_retry(w);
    if (!w->done_told && !w->syncing && store_done(w->cfg.store)) {
        w->done_told = true;
        w->dirty = false;
        bufs_release(w);
        w->cfg.ops->on_done(w->cfg.arg);
        return;
    }
    if (swarm_wants_sync(w, now_ms))
        swarm_sync(w);
    w->sync_check_ms = swarm_sync_at_ms(w, now_ms);
}

uint64_t swarm_disk_deadline_ms(const struct swarm *w)
{
    uint64_t deadline = SCHED_NEVER;

    if (w->retry_ms != 0)
        deadline = w->retry_ms;
    if (w->sync_check_ms != 0 && w->sync_check_ms < deadline)
        deadline = w->sync_check_ms;
    return deadline;
}

void swarm_disk_free(struct swarm *w)
{
    struct write_job *j;

    while ((j = TAILQ_FIRST(&w->waiting)) != NULL) {
        TAILQ_REMOVE(&w->waiting, j, entry);
        free(j->buf);
        free(j);
    }
    bufs_release(w);
}
