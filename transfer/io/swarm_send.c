/* The sending side: uploads are served oldest first; the next one gets only what
 * the socket of the one before it does not take: a chunk that is whole sooner is
 * passed on sooner. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/io/swarm_int.h"

void swarm_upload_begin(struct swarm_link *l, uint32_t chunk)
{
    struct swarm *w = l->swarm;
    struct upload *u = calloc(1, sizeof(*u));

    if (u == NULL) {
        swarm_link_drop(l, true);
        return;
    }
    u->link = l;
    u->chunk = chunk;
    u->total_bytes = layout_chunk_bytes(w->cfg.layout, chunk);
    TAILQ_INSERT_TAIL(&w->uploads, u, entry);
    l->blocked_told = false;       /* of this upload nothing was told yet */
    w->serve_ms = SWARM_SERVE_NOW; /* begun after this turn's serving, it must not wait for news */
}

/* Out of the list; its memory stays while a worker writes into it. */
static void upload_drop(struct swarm *w, struct upload *u)
{
    TAILQ_REMOVE(&w->uploads, u, entry);
    u->stopped = true;
    u->link = NULL;
    if (u->reading)
        return;
    free(u->cold);
    free(u);
}

void swarm_upload_stop(struct swarm_link *l, uint32_t chunk)
{
    struct upload *u, *next;

    for (u = TAILQ_FIRST(&l->swarm->uploads); u != NULL; u = next) {
        next = TAILQ_NEXT(u, entry);
        if (u->link == l && u->chunk == chunk)
            upload_drop(l->swarm, u);
    }
}

void swarm_uploads_drop(struct swarm_link *l)
{
    struct upload *u, *next;

    for (u = TAILQ_FIRST(&l->swarm->uploads); u != NULL; u = next) {
        next = TAILQ_NEXT(u, entry);
        if (u->link == l)
            upload_drop(l->swarm, u);
    }
}

/* --- reads that the page cache cannot answer: a worker reads ahead --------- */

struct read_job {
    struct swarm *swarm;
    struct upload *upload;
    uint32_t chunk, at, len;
};

static int read_job_run(void *arg)
{
    struct read_job *j = arg;

    return store_read(j->swarm->cfg.store, j->chunk, j->at, j->upload->cold + MSG_DATA_HEAD_BYTES,
                      j->len);
}

static void read_job_done(void *arg, int result)
{
    struct read_job *j = arg;
    struct swarm *w = j->swarm;
    struct upload *u = j->upload;

    u->reading = false;
    if (u->stopped) {
        free(u->cold);
        free(u);
    } else if (result < 0) {
        swarm_fail(w, result);
    } else {
        u->cold_at = j->at;
        u->cold_len = j->len;
        swarm_wake(w);
    }
    free(j);
    swarm_job_ended(w);
}

/* No memory, or the pool's queue is full. */
static void upload_read_later(struct swarm *w)
{
    w->serve_ms = clock_ms() + SWARM_SERVE_RETRY_MS;
}

static void upload_read_ahead(struct swarm *w, struct upload *u)
{
    struct read_job *j = calloc(1, sizeof(*j));

    if (u->cold == NULL)
        u->cold = malloc(MSG_DATA_HEAD_BYTES + SWARM_READ_BYTES);
    if (j == NULL || u->cold == NULL) {
        free(j);
        upload_read_later(w);
        return;
    }
    *j = (struct read_job){w, u, u->chunk, u->sent_bytes, u->total_bytes - u->sent_bytes};
    if (j->len > SWARM_READ_BYTES)
        j->len = SWARM_READ_BYTES;
    u->cold_len = 0;
    if (workers_submit(w->cfg.workers, NULL, read_job_run, read_job_done, j) < 0) {
        free(j);
        upload_read_later(w);
        return;
    }
    u->reading = true;
    swarm_job_begun(w);
}

/* --- serving ---------------------------------------------------------------- */

/* A whole DATA frame for the next bytes of u, or NULL when they must be read
 * from the disk first. The head goes in front of the payload, in place. */
static uint8_t *upload_frame(struct swarm *w, struct upload *u, uint32_t *len)
{
    uint32_t left = u->total_bytes - u->sent_bytes;
    uint8_t *frame = w->frame;
    int rc;

    *len = left < MSG_DATA_BYTES_MAX ? left : MSG_DATA_BYTES_MAX;
    if (u->cold_len > 0 && u->sent_bytes >= u->cold_at &&
        u->sent_bytes < u->cold_at + u->cold_len) {
        uint32_t skip = u->sent_bytes - u->cold_at;

        if (*len > u->cold_len - skip)
            *len = u->cold_len - skip;
        frame = u->cold + skip; /* overwrites payload already sent */
    } else {
        rc = store_read_cached(w->cfg.store, u->chunk, u->sent_bytes, frame + MSG_DATA_HEAD_BYTES,
                               *len);
        if (rc == -EAGAIN) {
            upload_read_ahead(w, u);
            return NULL;
        }
        if (rc < 0) {
            swarm_fail(w, rc);
            return NULL;
        }
    }
    msg_data_head(frame, u->link->own_sid, u->chunk, u->sent_bytes, *len);
    return frame;
}

static void upload_sent(struct swarm *w, struct upload *u, uint32_t len)
{
    uint64_t now = clock_ms();
    bool done;

    u->sent_bytes += len;
    done = u->sent_bytes == u->total_bytes;
    w->uploaded_bytes += len;
    rate_add(&w->up, now, len);
    if (w->stat_due_ms == 0 && w->cfg.origin)
        w->stat_due_ms = now + SWARM_STAT_MS;
    sched_on_sent(w->sched, now, u->link->number, u->chunk, len, done);
    if (done)
        upload_drop(w, u);
}

/* Writes one frame of u. True when something went out. */
static bool upload_write(struct swarm *w, struct upload *u, uint32_t *written)
{
    struct swarm_link *l = u->link;
    uint32_t len;
    uint8_t *frame;
    int rc;

    if (l->blocked)
        swarm_link_block(l);
    if (l->blocked || u->reading)
        return false;
    if (!peer_can_write(l->peer)) {
        rc = 0;
    } else {
        frame = upload_frame(w, u, &len);
        if (frame == NULL)
            return false;
        rc = peer_write_data(l->peer, frame, MSG_DATA_HEAD_BYTES + len);
    }
    if (rc == 0)
        swarm_link_block(l);
    if (rc <= 0)
        return false;
    *written += len;
    upload_sent(w, u, len);
    return true;
}

/* The oldest upload that can go on; one chunk a connection at a time, so the
 * first upload of a link stands for it. */
static bool swarm_serve_one(struct swarm *w, uint32_t *written)
{
    struct upload *u;

    w->pass++;
    TAILQ_FOREACH(u, &w->uploads, entry)
    {
        if (u->link->pass == w->pass)
            continue;
        u->link->pass = w->pass;
        if (upload_write(w, u, written))
            return true;
    }
    return false;
}

void swarm_serve(struct swarm *w)
{
    uint32_t written = 0;

    w->serve_ms = 0;
    while (!w->failed && swarm_serve_one(w, &written)) {
        if (written >= SWARM_TURN_BYTES) {
            w->serve_ms = SWARM_SERVE_NOW;
            return;
        }
    }
}

void swarm_tell_stat_to(struct swarm_link *l)
{
    struct msg m = swarm_msg(l, MSG_STAT);

    m.stat.sent_bytes = l->swarm->uploaded_bytes;
    m.stat.flags = l->swarm->cfg.origin ? MSG_FLAG_ORIGIN : 0;
    peer_send(l->peer, &m);
}

void swarm_tell_stat(struct swarm *w)
{
    w->stat_due_ms = 0;
    for (uint32_t i = 0; i < w->link_count; i++)
        if (w->links[i]->up)
            swarm_tell_stat_to(w->links[i]);
}
