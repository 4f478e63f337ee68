#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node_int.h"
#include "transfer/core/verify.h"
#include "transfer/io/sha256.h"

/* --- copy: what is here already need not cross the network ---------------------- */

static int read_chunk(const struct share *s, struct store *from, uint32_t chunk, uint8_t *buf,
                      uint32_t len)
{
    struct verify v;
    int rc = store_read(from, chunk, 0, buf, len);

    if (rc < 0)
        return rc;
    verify_begin(&v, sha256, s->manifest, s->layout, chunk);
    v.many = sha256_many;
    rc = verify_advance(&v, buf, len);
    return rc < 0 ? rc : 0;
}

/* One chunk from one store to the other, verified on the way. */
static int copy_chunk(const struct share *s, struct store *from, struct store *to, uint32_t chunk,
                      uint8_t *buf, bool *source_bad)
{
    uint32_t len = layout_chunk_bytes(s->layout, chunk);
    int rc = read_chunk(s, from, chunk, buf, len);

    *source_bad = rc < 0;
    return rc < 0 ? rc : store_write(to, chunk, buf, len);
}

int work_copy_chunks(const struct share *s, struct store *from, struct store *to,
                     const _Atomic bool *cancelled, _Atomic uint64_t *worked_bytes,
                     bool *source_bad)
{
    uint8_t *buf = malloc(layout_chunk_bytes_max(s->layout) + 1);
    int rc = buf == NULL ? -ENOMEM : 0;

    *source_bad = false;

    for (uint32_t c = 0; c < layout_chunks(s->layout) && rc == 0; c++) {
        if (*cancelled)
            rc = ERR_CANCELLED;
        else if (!chunkmap_has(store_have(to), c))
            rc = copy_chunk(s, from, to, c, buf, source_bad);
        if (worked_bytes != NULL)
            *worked_bytes += layout_chunk_bytes(s->layout, c);
        if (rc == 0 && store_sync_due(to, clock_ms()))
            rc = store_sync(to);
    }
    free(buf);
    return rc == 0 ? store_sync(to) : rc;
}

/* A source that is gone or wrong is ERR_CHANGED, whatever the way it showed. */
static int copy_from(struct node_job *job, const struct store_cfg *cfg, struct store *to)
{
    const struct share *s = job->share;
    struct store *from;
    bool source_bad;
    int rc = store_open_shared(cfg, job->source_path, s->stamps, &from);

    if (rc == -ENOENT || rc == -ENOTDIR)
        return ERR_CHANGED;
    if (rc < 0)
        return rc;
    rc = work_copy_chunks(s, from, to, &job->cancelled, &job->worked_bytes, &source_bad);
    store_close(from);
    return source_bad && rc == ERR_HASH ? ERR_CHANGED : rc;
}

int work_copy(void *arg)
{
    struct node_job *job = arg;
    const struct share *s = job->share;
    struct store_cfg cfg = {
        .manifest = s->manifest,
        .layout = s->layout,
        .hash = sha256,
        .hash_many = sha256_many,
        .dest = job->dest,
        .boot_mark = job->node->boot_mark,
        .reserve_bytes = job->node->cfg->reserve_bytes,
        .stop = &job->cancelled,
    };
    struct store *to;
    int rc = store_open_receive(&cfg, &to);

    if (rc < 0)
        return rc;
    rc = copy_from(job, &cfg, to);
    if (rc == 0) {
        job->result_path = strdup(store_path(to));
        rc = store_done(to) ? 0 : -EIO;
    } else if (rc != ERR_CHANGED) { /* else it goes on from there by network */
        (void)!store_discard(to);   /* nobody would know of it */
    }
    store_close(to);
    return rc;
}

/* --- verify ------------------------------------------------------------------------ */

static bool verify_progress(void *arg, uint64_t done_bytes)
{
    struct node_job *job = arg;

    job->worked_bytes = done_bytes;
    return !job->cancelled;
}

int work_verify(void *arg)
{
    struct node_job *job = arg;
    const struct share *s = job->share;
    struct store_cfg cfg = {.manifest = s->manifest,
                            .layout = s->layout,
                            .hash = sha256,
                            .hash_many = sha256_many,
                            .as_found = true};
    struct store *store;
    int rc = store_open_shared(&cfg, job->source_path, s->stamps, &store);

    if (rc < 0)
        return rc;
    rc = store_verify(store, verify_progress, job, &job->first_bad);
    store_close(store);
    return rc;
}
