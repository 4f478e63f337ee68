/* `get`: from a name to a share in its place. A name is resolved (hosts that have
 * not answered yet get their time), the manifest fetched, the share received, or
 * copied when this node holds it already. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/node_int.h"

enum { ASKED_BYTES = 64 };

/* Who was asked, and who of them is silent. */
static void asked_text(const struct node *n, char out[static ASKED_BYTES])
{
    uint32_t asked, waiting;
    int len;

    hosts_waiting(n, &asked, &waiting);
    if (asked == 0) {
        snprintf(out, ASKED_BYTES, "no other host has been found");
        return;
    }
    len = snprintf(out, ASKED_BYTES, "asked %u host%s", asked, asked == 1 ? "" : "s");
    if (waiting > 0 && asked == 1)
        snprintf(out + len, ASKED_BYTES - (size_t)len, ", it did not answer");
    else if (waiting > 0)
        snprintf(out + len, ASKED_BYTES - (size_t)len, ", %u did not answer", waiting);
}

static void job_not_found(struct node_job *job)
{
    const char *names[3];
    uint32_t count = catalog_suggest(job->node->catalog, job->what, names, 3);
    char asked[ASKED_BYTES], hint[600] = "";

    asked_text(job->node, asked);
    if (count > 0)
        snprintf(hint, sizeof(hint), "; did you mean \"%s\"?", names[0]);
    job_error(job, ERR_NOT_FOUND, "nothing called \"%s\" on this network (%s)%s", job->what, asked,
              hint);
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

/* name could not be put into job->dest. */
static void job_place_error(struct node_job *job, int err, const char *name)
{
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
    else if (err == ERR_CANCELLED)
        job_error(job, err, "%s was given up by `ronda unshare`, or shared here meanwhile", name);
    else
        job_error(job, err, "cannot put %s into %s: %s", name, job->dest, err_text(err));
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
    } else if (result == ERR_CHANGED) {
        /* What we held is gone: take it from the others. */
        library_set_changed(n->library, s->lib, true);
        node_catalog_changed(n);
        job->step = JOB_RESOLVE;
    } else {
        job_place_error(job, result, s->lib->name);
    }
    node_wake(n);
}

/* Held here: a copy into dest is all that is needed. */
static void job_copy(struct node_job *job, struct library_share *lib)
{
    struct share *s;
    int rc = share_use(job->node, lib, &s);

    if (rc == -EINPROGRESS)
        return;
    if (rc == 0) {
        job->source_path = strdup(lib->path);
        rc = job->source_path == NULL ? -ENOMEM : 0;
    }
    if (rc < 0) {
        job_error(job, rc, "cannot read %s from the state directory: %s", lib->name, err_text(rc));
        return;
    }
    job->share = s;
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

/* Under way, but stuck: what a user asks for now replaces it. */
static bool share_is_stuck(const struct share *s)
{
    return s != NULL && s->error != 0 && s->phase == SHARE_LOADED;
}

/* In the library already: held, or under way. True when that settles it, or will once
 * the share is loaded: then this is asked again. */
static bool job_known(struct node_job *job, struct library_share *lib)
{
    struct share *s;
    int rc;

    if (lib == NULL || lib->changed)
        return false;
    if (lib->state == LIBRARY_HELD) {
        job_copy(job, lib);
    } else if (strcmp(lib->dest, job->dest) != 0) {
        if (share_is_stuck(share_find(job->node, lib->id)))
            return false;
        job_error(job, -EBUSY,
                  "%s is already being fetched into %s: get it there, or `ronda unshare` it first",
                  lib->name, lib->dest);
    } else {
        rc = share_use(job->node, lib, &s);
        if (rc < 0)
            return rc == -EINPROGRESS; /* else its state is damaged: begin anew */
        job_run(job, s);
    }
    return true;
}

void job_resolve(struct node_job *job, uint64_t now)
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
    if (!job_known(job, library_find(n->library, job->id))) {
        job->step = JOB_META;
        node_hurry(n);
    }
}

/* The transfer is noted in the state directory: it can begin. */
static void job_noted(void *arg, int result)
{
    struct node_job *job = arg;
    struct node *n = job->node;
    struct library_share *lib = library_find(n->library, job->id);
    struct manifest *m = job->manifest;
    struct share *s = NULL;

    job->working = false;
    if (n->stopping) { /* noted: it goes on by itself after the next start */
        job_error(job, ERR_CANCELLED, "stopped");
        return;
    }
    if (result == 0 && job_known(job, lib))
        return;
    if (lib != NULL && share_find(n, lib->id) != NULL)
        share_detach(share_find(n, lib->id));
    job->manifest = NULL;
    if (result == 0)
        result = share_receive(n, m, job->dest, &s);
    else
        manifest_free(m);
    if (result < 0) {
        job_error(job, result, "cannot keep the transfer in the state directory %s: %s",
                  n->cfg->state_dir, err_text(result));
    } else if (job->fn == NULL) { /* the client has gone meanwhile */
        share_pause(s);
        job_free(job);
    } else {
        job_run(job, s);
    }
}

void job_fetch_meta(struct node_job *job, uint64_t now)
{
    struct node *n = job->node;
    struct library_entry e = {.manifest = job->manifest, .dest = job->dest};
    int rc;

    if (!meta_step(job, now))
        return;
    meta_end(job);
    if (job_known(job, library_find(n->library, job->id))) /* another client was quicker */
        return;
    e.manifest = job->manifest;
    job->working = true;
    rc = library_save(n->library, &e, job_noted, job);
    if (rc < 0)
        job_noted(job, rc);
}

int node_job_get(struct node *n, const char *what, const char *dest, node_event_fn *fn, void *arg,
                 struct node_job **out)
{
    int rc = job_new(n, JOB_GET, what, fn, arg, out);

    if (rc < 0)
        return rc;
    (*out)->dest = strdup(dest != NULL ? dest : n->cfg->download_dir);
    if ((*out)->dest != NULL)
        return 0;
    job_free(*out);
    *out = NULL;
    return -ENOMEM;
}

static void job_failed(struct node_job *job, const struct share *s)
{
    const char *name = s->lib != NULL ? s->lib->name : job->what;

    if (s->unsaved)
        job_error(job, s->error,
                  "%s is whole in %s, but cannot be noted in the state directory %s: %s", name,
                  job->dest, s->node->cfg->state_dir, err_text(s->error));
    else
        job_place_error(job, s->error, name);
}

/* A first opening that failed leaves nothing to go on from: forget it, so that
 * the next `get` may choose another place. */
static void share_forget(struct share *s)
{
    if (s->lib != NULL && s->receiving && s->store == NULL && s->swarm == NULL &&
        s->lib->final_name == NULL)
        share_remove(s->node, s->lib);
}

void jobs_on_share(struct share *s)
{
    struct node *n = s->node;
    struct node_job *job, *next;
    bool failed = false;

    for (job = TAILQ_FIRST(&n->jobs); job != NULL; job = next) {
        next = TAILQ_NEXT(job, entry);
        if (job->share != s || job->type != JOB_GET || job->step != JOB_RUN || job->working)
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
