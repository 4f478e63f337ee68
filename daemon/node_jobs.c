/* What a client of the control API asked for: share, get, verify. A job is moved
 * on by the tick and by what happens to its share; every event is told from
 * there, never from inside the call that starts or abandons it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/log.h"
#include "daemon/node_int.h"
#include "transfer/io/sha256.h"

/* --- life -------------------------------------------------------------------------- */

void job_free(struct node_job *job)
{
    TAILQ_REMOVE(&job->node->jobs, job, entry);
    job->node->job_count--;
    meta_end(job);
    manifest_free(job->manifest);
    free(job->what);
    free(job->dest);
    free(job->name);
    free(job->was);
    free(job->stamps);
    free(job->source_path);
    free(job->result_path);
    free(job);
}

int job_new(struct node *n, enum job_type type, const char *what, node_event_fn *fn, void *arg,
            struct node_job **out)
{
    struct node_job *job;

    *out = NULL;
    if (n->job_count >= NODE_JOBS_MAX || n->stopping)
        return ERR_LIMIT;
    job = calloc(1, sizeof(*job));
    if (job == NULL)
        return -ENOMEM;
    job->node = n;
    job->type = type;
    job->fn = fn;
    job->arg = arg;
    job->started_ms = clock_ms();
    TAILQ_INSERT_TAIL(&n->jobs, job, entry);
    n->job_count++;
    job->what = strdup(what);
    if (job->what == NULL) {
        job_free(job);
        return -ENOMEM;
    }
    *out = job;
    node_hurry(n);
    return 0;
}

static void job_tell(struct node_job *job, struct node_event *ev)
{
    ev->elapsed_ms = clock_ms() - job->started_ms;
    if (job->fn != NULL)
        job->fn(job->arg, ev);
}

/* The last event: the job is gone afterwards. */
static void job_end(struct node_job *job, struct node_event *ev)
{
    job_tell(job, ev);
    job_free(job);
}

void job_error(struct node_job *job, int err, const char *fmt, ...)
{
    char text[NODE_ERROR_BYTES];
    struct node_event ev = {.type = NODE_EVENT_ERROR, .err = err, .text = text};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    job_end(job, &ev);
}

void job_done(struct node_job *job, const struct library_share *lib)
{
    struct node_share ns;
    struct node_event ev = {
        .type = NODE_EVENT_DONE, .share = &ns, .skipped = job->skipped, .was = job->was};

    node_share_describe(job->node, lib, &ns);
    if (job->result_path != NULL) { /* a copy: the share itself stands elsewhere */
        ns.path = job->result_path;
        ns.received_bytes = ns.from_source_bytes = ns.duplicate_bytes = 0;
        ns.peers_seen = 0;
        ns.elapsed_ms = clock_ms() - job->started_ms;
    }
    ev.done_bytes = ev.total_bytes = ns.share->bytes;
    job_end(job, &ev);
}

void job_work(struct node_job *job, workers_run_fn *run, workers_done_fn *done)
{
    if (workers_submit(job->node->workers, NULL, run, done, job) < 0) {
        job_error(job, ERR_LIMIT, "too much to do: try again later");
        return;
    }
    job->working = true;
}

/* --- share --------------------------------------------------------------------------- */

static void job_on_indexed_bytes(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct node_job *job = arg;

    job->done_bytes = done_bytes;
    job->total_bytes = total_bytes;
}

/* What stood at this path before is no longer what is there; its name is kept when
 * nobody finds it by that any more. */
static void job_forget_older(struct node_job *job, const struct library_share *lib)
{
    struct node *n = job->node;

    for (uint32_t i = library_count(n->library); i-- > 0;) {
        struct library_share *old = library_at(n->library, i);

        if (old == lib || old->path == NULL || strcmp(old->path, lib->path) != 0)
            continue;
        if (job->was == NULL && strcmp(old->name, lib->name) != 0)
            job->was = strdup(old->name);
        share_remove(n, old);
    }
}

static struct library_entry job_entry(const struct node_job *job)
{
    return (struct library_entry){
        .manifest = job->manifest, .path = job->what, .stamps = job->stamps, .origin = true};
}

/* Hashed and noted in the state directory: it can be fetched. */
static void job_shared(void *arg, int result)
{
    struct node_job *job = arg;
    struct node *n = job->node;
    struct share *old = share_find(n, manifest_id(job->manifest));
    struct library_entry e = job_entry(job);
    struct library_share *lib;

    job->working = false;
    if (result == 0)
        result = library_add(n->library, &e, &lib);
    if (result < 0) {
        job_error(job, result, "cannot keep %s in the state directory %s: %s", job->what,
                  n->cfg->state_dir, err_text(result));
        return;
    }
    if (old != NULL)
        share_detach(old);
    job_forget_older(job, lib);
    node_catalog_changed(n);
    log_info("sharing %s", lib->path);
    job_done(job, lib);
}

static const char *index_error_text(int err)
{
    switch (err) {
    case -EINVAL:
        return "neither a file nor a folder";
    case ERR_NAME:
        return "a name has 1 to 255 bytes of UTF-8 and no \"/\": choose one with --name";
    case ERR_CHANGED:
        return "it changes while it is read";
    default:
        return err_text(err);
    }
}

static void job_on_indexed(void *arg, int err, const char *what, struct indexer_result *result)
{
    struct node_job *job = arg;
    struct node *n = job->node;
    struct library_entry e;

    job->indexer = NULL;
    if (result != NULL) {
        job->manifest = result->manifest;
        job->stamps = result->stamps;
        job->skipped = result->skipped;
    }
    if (err == 0 && (n->stopping || job->fn == NULL))
        err = ERR_CANCELLED;
    if (err == ERR_NOT_FOUND) {
        job_error(job, ERR_LIMIT, "nothing to share in %s: it holds no files", job->what);
        return;
    }
    if (err < 0) {
        job_error(job, err, "cannot share %s: %s", what != NULL && *what ? what : job->what,
                  index_error_text(err));
        return;
    }
    e = job_entry(job);
    job->working = true;
    err = library_save(n->library, &e, job_shared, job);
    if (err < 0)
        job_shared(job, err);
}

int node_job_share(struct node *n, const char *path, const char *name, node_event_fn *fn, void *arg,
                   struct node_job **out)
{
    struct node_job *job;
    struct indexer_cfg cfg;
    int rc = job_new(n, JOB_SHARE, path, fn, arg, &job);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (name != NULL) {
        job->name = strdup(name);
        if (job->name == NULL) {
            job_free(job);
            return -ENOMEM;
        }
    }
    cfg = (struct indexer_cfg){
        .workers = n->workers,
        .cache = n->cache,
        .hash = sha256,
        .hash_many = sha256_many,
        .path = job->what,
        .name = job->name,
        .on_progress = job_on_indexed_bytes,
        .on_done = job_on_indexed,
        .arg = job,
    };
    rc = indexer_start(&cfg, &job->indexer);
    if (rc < 0) {
        job_free(job);
        return rc;
    }
    *out = job;
    return 0;
}

/* --- verify ------------------------------------------------------------------------------ */

static void job_verified(void *arg, int result)
{
    struct node_job *job = arg;
    struct node_share ns;
    struct node_event ev = {.type = NODE_EVENT_DONE, .share = &ns};
    struct share *s = job->share;
    struct library_share *lib = s->lib;
    bool gone = result == -ENOENT || result == -ENOTDIR;

    job->working = false;
    job->share = NULL;
    if (lib == NULL || job->fn == NULL) {
        job_error(job, ERR_CANCELLED, "stopped");
        return;
    }
    if (result > 0 || gone)
        share_spoiled(s);
    if (result < 0) {
        job_error(job, gone ? ERR_CHANGED : result, "%s: %s", lib->path, err_text(result));
        return;
    }
    node_share_describe(job->node, lib, &ns);
    ev.done_bytes = ev.total_bytes = lib->bytes;
    ev.bad_chunks = (uint32_t)result;
    ev.first_bad = job->first_bad;
    job_end(job, &ev);
}

static void job_verify(struct node_job *job)
{
    char text[NODE_ERROR_BYTES];
    struct library_share *lib;
    struct share *s;
    int rc = node_find_own(job->node, job->what, &lib, text);

    if (rc < 0) {
        job_error(job, rc, "%s", text);
        return;
    }
    if (lib->state != LIBRARY_HELD) {
        job_error(job, -EBUSY, "%s is not whole yet: every chunk is verified as it comes in",
                  lib->name);
        return;
    }
    rc = share_use(job->node, lib, &s);
    if (rc == -EINPROGRESS) /* back here by the tick */
        return;
    job->source_path = strdup(lib->path);
    if (rc < 0 || job->source_path == NULL) {
        job_error(job, rc < 0 ? rc : -ENOMEM, "cannot read %s from the state directory: %s",
                  lib->name, err_text(rc < 0 ? rc : -ENOMEM));
        return;
    }
    job->share = s;
    job->step = JOB_RUN;
    job->total_bytes = lib->bytes;
    job_work(job, work_verify, job_verified);
}

int node_job_verify(struct node *n, const char *what, node_event_fn *fn, void *arg,
                    struct node_job **out)
{
    return job_new(n, JOB_VERIFY, what, fn, arg, out);
}

/* --- the tick ------------------------------------------------------------------------------ */

static void job_progress(struct node_job *job, uint64_t now)
{
    struct node_share ns;
    struct node_event ev = {.type = NODE_EVENT_PROGRESS};

    if (now < job->progress_ms + NODE_PROGRESS_MS)
        return;
    if (job->type == JOB_GET && (job->share == NULL || job->share->lib == NULL))
        return;
    job->progress_ms = now;
    if (job->working)
        job->done_bytes = job->worked_bytes;
    ev.done_bytes = job->done_bytes;
    ev.total_bytes = job->total_bytes;
    if (job->type == JOB_GET) {
        node_share_describe(job->node, job->share->lib, &ns);
        if (job->step == JOB_COPY) {
            ns.state = NODE_CHECKING;
            ns.done_bytes = job->done_bytes;
        }
        ev.share = &ns;
    }
    job_tell(job, &ev);
}

/* One step; the job may be gone afterwards. */
static void job_tick(struct node_job *job, uint64_t now)
{
    if (job->working || job->type == JOB_SHARE || job->step == JOB_RUN) {
        if (job->type == JOB_VERIFY && !job->working)
            job_verify(job);
        else
            job_progress(job, now);
    } else if (job->type == JOB_VERIFY) {
        job_verify(job);
    } else if (job->step == JOB_RESOLVE) {
        job_resolve(job, now);
    } else if (job->step == JOB_META) {
        job_fetch_meta(job, now);
    }
}

bool jobs_tick(struct node *n, uint64_t now)
{
    struct node_job *job, *next;

    for (job = TAILQ_FIRST(&n->jobs); job != NULL; job = next) {
        next = TAILQ_NEXT(job, entry);
        job_tick(job, now);
    }
    return !TAILQ_EMPTY(&n->jobs);
}

bool jobs_use(const struct node *n, const struct share *s)
{
    const struct node_job *job;

    TAILQ_FOREACH(job, &n->jobs, entry)
    {
        if (job->share == s)
            return true;
    }
    return false;
}

bool jobs_working(const struct node *n)
{
    const struct node_job *job;

    TAILQ_FOREACH(job, &n->jobs, entry)
    {
        if (job->working || job->indexer != NULL)
            return true;
    }
    return false;
}

void node_job_abandon(struct node_job *job)
{
    struct share *s = job->share;

    job->fn = NULL;
    job->cancelled = true;
    if (job->indexer != NULL) {
        indexer_cancel(job->indexer); /* job_on_indexed() frees */
    } else if (!job->working) {
        struct node *n = job->node;

        job_free(job);
        if (s != NULL && !jobs_use(n, s))
            share_pause(s);
    }
}

/* The daemon stops: whoever waits is told; transfers go on after the next start. */
void jobs_cancel(struct node *n)
{
    struct node_job *job, *next;

    for (job = TAILQ_FIRST(&n->jobs); job != NULL; job = next) {
        struct node_event ev = {.type = NODE_EVENT_ERROR,
                                .err = ERR_CANCELLED,
                                .text = "rondad is stopping; a transfer goes on when it is "
                                        "started again"};

        next = TAILQ_NEXT(job, entry);
        job_tell(job, &ev);
        job->fn = NULL;
        job->cancelled = true;
        if (job->indexer != NULL)
            indexer_cancel(job->indexer);
        else if (!job->working)
            job_free(job);
    }
}

void jobs_free(struct node *n)
{
    while (!TAILQ_EMPTY(&n->jobs))
        job_free(TAILQ_FIRST(&n->jobs));
}
