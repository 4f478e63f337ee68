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

static void job_free(struct node_job *job)
{
    TAILQ_REMOVE(&job->node->jobs, job, entry);
    job->node->job_count--;
    meta_end(job);
    manifest_free(job->manifest);
    free(job->what);
    free(job->dest);
    free(job->name);
    free(job->source_path);
    free(job->result_path);
    free(job);
}

static int job_new(struct node *n, enum job_type type, const char *what, node_event_fn *fn,
                   void *arg, struct node_job **out)
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
    node_wake(n);
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

static void job_error(struct node_job *job, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void job_error(struct node_job *job, int err, const char *fmt, ...)
{
    char text[NODE_ERROR_BYTES];
    struct node_event ev = {.type = NODE_EVENT_ERROR, .err = err, .text = text};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    job_end(job, &ev);
}

static void job_done(struct node_job *job, const struct library_share *lib)
{
    struct node_share ns;
    struct node_event ev = {.type = NODE_EVENT_DONE, .share = &ns, .skipped = job->skipped};

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

/* --- share --------------------------------------------------------------------------- */

static void job_on_indexed_bytes(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct node_job *job = arg;

    job->done_bytes = done_bytes;
    job->total_bytes = total_bytes;
}

/* What stood at this path before is no longer what is there. */
static void job_forget_older(struct node *n, const struct library_share *lib)
{
    for (uint32_t i = library_count(n->library); i-- > 0;) {
        struct library_share *old = library_at(n->library, i);

        if (old != lib && old->path != NULL && strcmp(old->path, lib->path) == 0 &&
            share_remove(n, old) < 0)
            log_warn("cannot write to the state directory");
    }
}

static void job_on_indexed(void *arg, int err, const char *what, struct indexer_result *result)
{
    struct node_job *job = arg;
    struct node *n = job->node;
    struct library_share *lib;
    struct share *old;

    job->indexer = NULL;
    if (err < 0 || n->stopping || job->fn == NULL) {
        if (result != NULL) {
            manifest_free(result->manifest);
            free(result->stamps);
        }
        job_error(job, err < 0 ? err : ERR_CANCELLED, "cannot share %s: %s",
                  what != NULL ? what : job->what, err_text(err < 0 ? err : ERR_CANCELLED));
        return;
    }
    old = share_find(n, manifest_id(result->manifest));
    err = library_add_held(n->library, result->manifest, job->what, true, result->stamps, &lib);
    manifest_free(result->manifest);
    free(result->stamps);
    if (err < 0) {
        job_error(job, err, "cannot keep %s in the state directory %s: %s", job->what,
                  n->cfg->state_dir, err_text(err));
        return;
    }
    if (old != NULL)
        share_detach(old);
    job_forget_older(n, lib);
    job->skipped = result->skipped;
    node_catalog_changed(n);
    log_info("sharing %s", lib->path);
    job_done(job, lib);
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

/* --- get ------------------------------------------------------------------------------- */

static void job_not_found(struct node_job *job)
{
    const char *names[3];
    uint32_t asked, waiting, count = catalog_suggest(job->node->catalog, job->what, names, 3);
    char hint[600] = "";

    hosts_waiting(job->node, &asked, &waiting);
    if (count > 0)
        snprintf(hint, sizeof(hint), "; did you mean \"%s\"?", names[0]);
    job_error(job, ERR_NOT_FOUND,
              "nothing called \"%s\" on this network (asked %u hosts, %u did not answer)%s",
              job->what, asked, waiting, hint);
}

static void hex_prefix(const uint8_t *id, char out[static 17])
{
    for (unsigned i = 0; i < 8; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

static void job_ambiguous(struct node_job *job, const uint32_t *items, uint32_t count)
{
    char list[400] = "", hex[17];
    struct catalog_item item;
    size_t used = 0;

    for (uint32_t i = 0; i < count && used + 40 < sizeof(list); i++) {
        catalog_at(job->node->catalog, items[i], &item);
        hex_prefix(item.id, hex);
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", hex);
    }
    job_error(job, ERR_AMBIGUOUS, "\"%s\" means several shares: name one by its id: %s", job->what,
              list);
}

/* Nobody has it so far. Gives discovery its time, then asks all hosts once more. */
static void job_unknown(struct node_job *job, uint64_t now)
{
    struct node *n = job->node;
    uint32_t asked, waiting;

    hosts_waiting(n, &asked, &waiting);
    if (job->refreshed_ms == 0) {
        if (now < n->started_ms + NODE_GRACE_MS ||
            (waiting > 0 && now < job->started_ms + NODE_GRACE_MS))
            return;
        job->refreshed_ms = now;
        hosts_refresh(n);
        return;
    }
    if (now >= job->refreshed_ms + NODE_REFRESH_MS ||
        (waiting == 0 && now >= job->refreshed_ms + NODE_TICK_MS))
        job_not_found(job);
}

static void job_work(struct node_job *job, workers_run_fn *run, workers_done_fn *done)
{
    if (workers_submit(job->node->workers, NULL, run, done, job) < 0) {
        job_error(job, ERR_LIMIT, "too much to do: try again later");
        return;
    }
    job->working = true;
}

static void job_copied(void *arg, int result)
{
    struct node_job *job = arg;
    struct node *n = job->node;
    struct share *s = job->share;

    job->working = false;
    job->share = NULL;
    if (job->fn == NULL || n->stopping || s->lib == NULL) {
        job_error(job, ERR_CANCELLED, "stopped");
    } else if (result == 0) {
        job_done(job, s->lib);
    } else if (result == ERR_CHANGED || result == -ENOENT) {
        /* What we held is gone: take it from the others. */
        if (library_set_changed(n->library, s->lib, true) < 0)
            log_warn("cannot write to the state directory");
        node_catalog_changed(n);
        job->step = JOB_RESOLVE;
    } else {
        job_error(job, result, "cannot put %s into %s: %s", s->lib->name, job->dest,
                  err_text(result));
    }
    node_wake(n);
}

/* Held here: a copy into dest is all that is needed. */
static void job_copy(struct node_job *job, struct library_share *lib)
{
    int rc = share_use(job->node, lib, &job->share);

    if (rc == 0) {
        job->source_path = strdup(lib->path);
        rc = job->source_path == NULL ? -ENOMEM : 0;
    }
    if (rc < 0) {
        job->share = NULL;
        job_error(job, rc, "cannot read %s from the state directory: %s", lib->name, err_text(rc));
        return;
    }
    job->step = JOB_COPY;
    job->total_bytes = lib->bytes;
    job_work(job, work_copy, job_copied);
}

static void job_run(struct node_job *job, struct share *s)
{
    job->share = s;
    job->step = JOB_RUN;
    share_open(s);
}

/* In the library already: held, or under way. True when that settles it. */
static bool job_known(struct node_job *job, struct library_share *lib)
{
    struct share *s;

    if (lib == NULL || lib->changed)
        return false;
    if (lib->state == LIBRARY_HELD) {
        job_copy(job, lib);
    } else if (strcmp(lib->dest, job->dest) != 0) {
        job_error(job, -EBUSY,
                  "%s is already being fetched into %s: get it there, or `ronda unshare` it first",
                  lib->name, lib->dest);
    } else if (share_use(job->node, lib, &s) < 0) {
        return false; /* its state is damaged: begin anew */
    } else {
        job_run(job, s);
    }
    return true;
}

static void job_resolve(struct node_job *job, uint64_t now)
{
    struct node *n = job->node;
    struct catalog_item item;
    uint32_t index, others[8], count = 8, asked, waiting;
    int rc = catalog_resolve(n->catalog, job->what, &index, job->id, others, &count);

    if (rc == ERR_NOT_FOUND) {
        job_unknown(job, now);
        return;
    }
    /* Another host may hold another thing of this name: hear those that answer soon. */
    hosts_waiting(n, &asked, &waiting);
    if (waiting > 0 && now < job->started_ms + 1000 && strlen(job->what) != 2 * (size_t)HASH_LEN)
        return;
    if (rc == ERR_AMBIGUOUS) {
        job_ambiguous(job, others, count);
        return;
    }
    if (rc < 0) {
        job_error(job, rc, "cannot look for \"%s\": %s", job->what, err_text(rc));
        return;
    }
    catalog_at(n->catalog, index, &item);
    memcpy(job->key, item.key, HASH_LEN);
    if (!job_known(job, library_find(n->library, job->id)))
        job->step = JOB_META;
}

static void job_fetch_meta(struct node_job *job, uint64_t now)
{
    struct node *n = job->node;
    struct library_share *lib = library_find(n->library, job->id);
    struct manifest *m;
    struct share *s;
    int rc;

    if (!meta_step(job, now))
        return;
    meta_end(job);
    if (job_known(job, lib)) /* another client asked for it meanwhile */
        return;
    if (lib != NULL && share_find(n, lib->id) != NULL)
        share_detach(share_find(n, lib->id));
    m = job->manifest;
    job->manifest = NULL;
    rc = share_receive(n, m, job->dest, &s);
    if (rc < 0)
        job_error(job, rc, "cannot keep the transfer in the state directory %s: %s",
                  n->cfg->state_dir, err_text(rc));
    else
        job_run(job, s);
}

int node_job_get(struct node *n, const char *what, const char *dest, node_event_fn *fn, void *arg,
                 struct node_job **out)
{
    int rc = job_new(n, JOB_GET, what, fn, arg, out);

    if (rc < 0)
        return rc;
    (*out)->dest = strdup(dest);
    if ((*out)->dest != NULL)
        return 0;
    job_free(*out);
    *out = NULL;
    return -ENOMEM;
}

static void job_failed(struct node_job *job, const struct share *s)
{
    int err = s->error;
    const char *name = s->lib != NULL ? s->lib->name : job->what;

    if (err == -ENOSPC)
        job_error(job, err, "no space for %s in %s: free some, or choose another place with -o",
                  name, job->dest);
    else if (err == -EROFS || err == -EACCES || err == -EPERM)
        job_error(job, err,
                  "rondad cannot write to %s: %s (under systemd see ReadWritePaths= in "
                  "rondad.service)",
                  job->dest, err_text(err));
    else if (err == -ENOENT)
        job_error(job, err, "no such directory: %s", job->dest);
    else
        job_error(job, err, "%s: %s", name, err_text(err));
}

/* An opening that failed leaves nothing to go on from: forget it, so that the
 * next `get` may choose another place. */
static void share_forget(struct share *s)
{
    if (s->lib != NULL && s->receiving && s->store == NULL && s->swarm == NULL &&
        share_remove(s->node, s->lib) < 0)
        log_warn("cannot write to the state directory");
}

void jobs_on_share(struct share *s)
{
    struct node *n = s->node;
    struct node_job *job, *next;
    bool failed = false;

    for (job = TAILQ_FIRST(&n->jobs); job != NULL; job = next) {
        next = TAILQ_NEXT(job, entry);
        if (job->share != s || job->step != JOB_RUN)
            continue;
        if (s->error != 0) {
            job->share = NULL;
            failed = true;
            job_failed(job, s);
        } else if (!s->receiving) {
            job->share = NULL;
            job_done(job, s->lib);
        }
    }
    if (failed)
        share_forget(s);
}

/* --- verify ------------------------------------------------------------------------------ */

static void job_verified(void *arg, int result)
{
    struct node_job *job = arg;
    struct node_share ns;
    struct node_event ev = {.type = NODE_EVENT_DONE, .share = &ns};
    struct library_share *lib = job->share->lib;

    job->working = false;
    job->share = NULL;
    if (lib == NULL || job->fn == NULL) {
        job_error(job, ERR_CANCELLED, "stopped");
        return;
    }
    if (result < 0) {
        job_error(job, result, "%s: %s", lib->path, err_text(result));
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
    rc = share_use(job->node, lib, &job->share);
    job->source_path = strdup(lib->path);
    if (rc < 0 || job->source_path == NULL) {
        job->share = NULL;
        job_error(job, rc < 0 ? rc : -ENOMEM, "cannot read %s from the state directory: %s",
                  lib->name, err_text(rc < 0 ? rc : -ENOMEM));
        return;
    }
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

/* --- own shares ---------------------------------------------------------------------------- */

static bool id_has_prefix(const uint8_t *id, const char *hex)
{
    char text[2 * HASH_LEN + 1];
    size_t len = strlen(hex);

    for (unsigned i = 0; i < HASH_LEN; i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    return len >= CATALOG_PREFIX_MIN && len <= 2 * (size_t)HASH_LEN &&
           strncasecmp(text, hex, len) == 0;
}

int node_find_own(struct node *n, const char *what, struct library_share **out,
                  char error[static NODE_ERROR_BYTES])
{
    struct library_share *by_name = NULL, *by_id = NULL;
    unsigned names = 0, ids = 0;

    *out = NULL;
    for (uint32_t i = 0; i < library_count(n->library); i++) {
        struct library_share *s = library_at(n->library, i);

        if (strcmp(s->name, what) == 0) {
            by_name = s;
            names++;
        }
        if (id_has_prefix(s->id, what)) {
            by_id = s;
            ids++;
        }
    }
    if (names == 1 || (names == 0 && ids == 1)) {
        *out = names == 1 ? by_name : by_id;
        return 0;
    }
    if (names + ids == 0) {
        snprintf(error, NODE_ERROR_BYTES,
                 "this node shares nothing called \"%s\": `ronda status` lists what it has", what);
        return ERR_NOT_FOUND;
    }
    snprintf(error, NODE_ERROR_BYTES,
             "\"%s\" means several shares here: name one by its id (`ronda status`)", what);
    return ERR_AMBIGUOUS;
}

int node_unshare(struct node *n, struct library_share *s)
{
    return share_remove(n, s);
}

int node_torrent(struct node *n, struct library_share *lib, uint8_t **out, size_t *len_bytes)
{
    struct share *s;
    int rc = share_use(n, lib, &s);

    *out = NULL;
    if (rc < 0)
        return rc;
    s->used_ms = clock_ms();
    node_wake(n);
    return manifest_torrent(s->manifest, out, len_bytes);
}
