/* Manifests over the wire. The info dictionary is checked against the id, the
 * piece layers against the pieces roots in it; so any holder will do to ask. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node_int.h"
#include "transfer/io/sha256.h"

/* --- serving ------------------------------------------------------------------- */

static bool meta_blob(const struct manifest *m, uint8_t what, const uint8_t **data, size_t *len)
{
    if (what == MSG_WHAT_INFO) {
        *data = manifest_info(m, len);
        return true;
    }
    *data = manifest_layers(m);
    *len = manifest_layers_bytes(m);
    return *data != NULL || *len == 0;
}

/* s NULL, or only in memory by half: I do not have it. */
static void meta_reply(struct contact *c, const struct share *s, struct msg *m)
{
    const uint8_t *data;
    size_t len;

    if (!contact_may_ask(c))
        return;
    m->type = MSG_META_NO;
    if (s != NULL && s->manifest != NULL && meta_blob(s->manifest, m->meta.what, &data, &len) &&
        (m->meta.offset_bytes < len || m->meta.offset_bytes + len == 0)) {
        m->type = MSG_META;
        m->meta.total_bytes = (uint32_t)len;
        m->meta.data = data + m->meta.offset_bytes;
        m->meta.len_bytes = (uint32_t)(len - m->meta.offset_bytes);
        if (m->meta.len_bytes > MSG_DATA_BYTES_MAX)
            m->meta.len_bytes = MSG_DATA_BYTES_MAX;
    }
    peer_send(c->peer, m);
}

/* A JOIN will follow: a folder of ten thousand files is looked through meanwhile. */
static void meta_prepare(struct share *s)
{
    s->used_ms = clock_ms();
    if (!s->receiving && s->phase == SHARE_LOADED && s->error == 0)
        share_open(s);
    node_wake(s->node);
}

void meta_on_get(struct contact *c, const struct msg *m)
{
    struct library_share *lib = library_find(c->node->library, m->meta.id);
    struct msg reply = *m;
    struct share *s = NULL;
    int rc = lib == NULL ? ERR_NOT_FOUND : share_lend(c->node, lib, &s);

    if (rc == -EINPROGRESS && s->meta_count < NODE_METAS_PENDING) {
        s->metas[s->meta_count++] = (struct meta_pending){c, m->meta.offset_bytes, m->meta.what};
        return;
    }
    if (rc == 0)
        meta_prepare(s);
    meta_reply(c, rc == 0 ? s : NULL, &reply);
}

void meta_serve(struct share *s)
{
    struct meta_pending p;
    struct msg m;

    if (s->meta_count > 0 && s->lib != NULL && s->error_load == 0)
        meta_prepare(s);
    while (s->meta_count > 0) { /* an answer may end its contact, with all that it waits for */
        p = s->metas[0];
        memmove(s->metas, s->metas + 1, --s->meta_count * sizeof(p));
        memset(&m, 0, sizeof(m));
        memcpy(m.meta.id, s->id, HASH_LEN);
        m.meta.what = p.what;
        m.meta.offset_bytes = p.offset_bytes;
        meta_reply(p.contact, s->lib != NULL ? s : NULL, &m);
    }
}

void meta_forget(struct share *s, const struct contact *c)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->meta_count; i++)
        if (s->metas[i].contact != c)
            s->metas[kept++] = s->metas[i];
    s->meta_count = kept;
}

/* --- fetching -------------------------------------------------------------------- */

static void meta_restart(struct node_job *job, uint8_t what)
{
    free(job->blob);
    job->blob = NULL;
    job->blob_bytes = job->blob_total = 0;
    job->blob_what = what;
}

/* The session is no more held for this. */
static void meta_release(struct node_job *job)
{
    struct host *h = job->meta_from != NULL ? job->meta_from->host : NULL;

    job->meta_from = NULL;
    if (h != NULL)
        host_hold(h);
}

bool meta_uses(const struct contact *c)
{
    const struct node_job *job;

    TAILQ_FOREACH(job, &c->node->jobs, entry)
    {
        if (job->meta_from == c)
            return true;
    }
    return false;
}

void meta_end(struct node_job *job)
{
    meta_restart(job, MSG_WHAT_INFO);
    meta_release(job);
}

static void meta_ask(struct node_job *job, uint64_t now)
{
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = MSG_META_GET;
    memcpy(m.meta.id, job->id, HASH_LEN);
    m.meta.what = job->blob_what;
    m.meta.offset_bytes = job->blob_bytes;
    job->meta_ms = now + NODE_META_MS;
    peer_send(job->meta_from->peer, &m);
}

/* Another holder of exactly this id: the next in turn that there is a session
 * with; the others are wished for meanwhile. holders: how many there are. */
static struct contact *meta_holder(struct node_job *job, uint32_t *holders)
{
    struct node *n = job->node;
    const uint8_t *found[CATALOG_HOSTS_MAX];
    struct contact *open[CATALOG_HOSTS_MAX];
    uint32_t opens = 0, count = catalog_hosts(n->catalog, job->key, found, CATALOG_HOSTS_MAX, NULL);

    for (uint32_t i = 0; i < count; i++) {
        struct host *h = host_by_id(n, found[i]);

        if (h == NULL || !catalog_host_has_id(n->catalog, found[i], job->id))
            continue;
        (*holders)++;
        if (h->contact != NULL && h->contact->open)
            open[opens++] = h->contact;
        else if (i < SWARM_LINKS_ALL)
            host_want(h, n, 0);
    }
    return opens == 0 ? NULL : open[job->meta_tries++ % opens];
}

static int meta_take_info(struct node_job *job)
{
    int rc = manifest_parse(sha256, job->blob, job->blob_total, &job->manifest);

    if (rc == 0 && memcmp(manifest_id(job->manifest), job->id, HASH_LEN) != 0)
        rc = ERR_HASH;
    if (rc == 0 && memcmp(manifest_key(job->manifest), job->key, HASH_LEN) != 0)
        memcpy(job->key, manifest_key(job->manifest),
               HASH_LEN); /* the catalogue lied: ours holds */
    if (rc < 0) {
        manifest_free(job->manifest);
        job->manifest = NULL;
    }
    return rc;
}

/* A whole blob is here, and while a worker is at it, it and the manifest are the
 * worker's. 1: the manifest is complete; 0: go on; negative: bad. */
static int meta_read(void *arg)
{
    struct node_job *job = arg;
    int rc;

    if (job->blob_what == MSG_WHAT_INFO)
        rc = meta_take_info(job);
    else
        rc = manifest_layers_load(job->manifest, sha256, job->blob, job->blob_total);
    if (rc < 0)
        return rc;
    return manifest_complete(job->manifest) ? 1 : 0;
}

static bool meta_append(struct node_job *job, const struct msg *m)
{
    uint8_t *grown;

    if (m->meta.offset_bytes != job->blob_bytes || m->meta.total_bytes > MANIFEST_BYTES_MAX ||
        (job->blob_bytes > 0 && m->meta.total_bytes != job->blob_total) ||
        m->meta.len_bytes > m->meta.total_bytes - job->blob_bytes)
        return false;
    if (m->meta.len_bytes == 0 && job->blob_bytes < m->meta.total_bytes)
        return false;
    job->blob_total = m->meta.total_bytes;
    grown = realloc(job->blob, job->blob_bytes + m->meta.len_bytes + 1); /* grows with what came */
    if (grown == NULL)
        return false;
    job->blob = grown;
    memcpy(grown + job->blob_bytes, m->meta.data, m->meta.len_bytes);
    job->blob_bytes += m->meta.len_bytes;
    return true;
}

/* This holder did not serve: start the blob again with the next. */
static void meta_next_holder(struct node_job *job)
{
    meta_restart(job, job->blob_what);
    if (job->manifest == NULL)
        job->blob_what = MSG_WHAT_INFO;
    meta_release(job);
    job->meta_fails++;
    job->meta_ms = 0;
    node_wake(job->node);
}

static void meta_taken(struct node_job *job, int result)
{
    meta_restart(job, MSG_WHAT_LAYERS);
    if (result < 0)
        meta_next_holder(job);
    else if (result == 0 && job->meta_from != NULL)
        meta_ask(job, clock_ms());
    else
        job->meta_ms = 0;
    node_hurry(job->node);
}

static void meta_read_done(void *arg, int result)
{
    struct node_job *job = arg;

    job->working = false;
    if (job->fn == NULL || job->node->stopping)
        job_error(job, ERR_CANCELLED, "stopped");
    else
        meta_taken(job, result);
}

static void meta_answer(struct node_job *job, const struct msg *m)
{
    if (m->type == MSG_META_NO || m->meta.what != job->blob_what || !meta_append(job, m))
        meta_next_holder(job);
    else if (job->blob_bytes < job->blob_total)
        meta_ask(job, clock_ms());
    else if (job->blob_total > NODE_META_ON_LOOP_BYTES)
        job_work(job, meta_read, meta_read_done);
    else
        meta_taken(job, meta_read(job));
}

/* Several clients may want one share: each answer goes to who asked for that part. */
static bool meta_is_for(const struct node_job *job, const struct msg *m)
{
    return memcmp(job->id, m->meta.id, HASH_LEN) == 0 && job->blob_what == m->meta.what &&
           (m->type == MSG_META_NO || job->blob_bytes == m->meta.offset_bytes);
}

void meta_on_answer(struct contact *c, const struct msg *m)
{
    struct node_job *job;

    TAILQ_FOREACH(job, &c->node->jobs, entry)
    {
        if (job->step == JOB_META && job->meta_from == c && !job->working && meta_is_for(job, m)) {
            meta_answer(job, m);
            return;
        }
    }
}

void meta_drop_contact(struct contact *c)
{
    struct node_job *job;

    TAILQ_FOREACH(job, &c->node->jobs, entry)
    {
        if (job->meta_from != c)
            continue;
        if (job->working) /* the blob is whole, and a worker's */
            meta_release(job);
        else
            meta_next_holder(job);
    }
}

/* Nobody gave it out. The catalogues may be old: they are asked for again, and the
 * name is looked up anew in what comes; a few times, then the user is told. */
static void meta_give_up_round(struct node_job *job, uint32_t holders, uint64_t now)
{
    if (holders > 0 && ++job->meta_rounds >= NODE_META_ROUNDS) {
        job_error(job, ERR_NOT_FOUND,
                  "\"%s\" is listed, but no host that lists it gives it out (asked %u): try again "
                  "when its owner is back",
                  job->what, holders);
        return;
    }
    job->meta_pause_ms = now + NODE_REFRESH_MS;
    if (job->refreshed_ms == 0)
        job->refreshed_ms = now;
    hosts_refresh(job->node);
}

/* Back to the name, with what was learnt since. */
static void meta_resolve_again(struct node_job *job)
{
    meta_end(job);
    manifest_free(job->manifest);
    job->manifest = NULL;
    job->meta_fails = 0;
    job->meta_pause_ms = job->meta_reach_ms = 0;
    job->step = JOB_RESOLVE;
    node_hurry(job->node);
}

static void meta_try_next(struct node_job *job, uint64_t now)
{
    uint32_t holders = 0;
    struct contact *c = meta_holder(job, &holders);

    if (job->meta_reach_ms == 0)
        job->meta_reach_ms = now + NODE_META_REACH_MS;
    if (holders == 0 || job->meta_fails >= 2 * holders || (c == NULL && now > job->meta_reach_ms)) {
        meta_give_up_round(job, holders, now);
    } else if (c != NULL) {
        job->meta_from = c;
        job->meta_reach_ms = 0;
        host_hold(c->host);
        meta_ask(job, now);
    }
}

bool meta_step(struct node_job *job, uint64_t now)
{
    if (job->manifest != NULL && manifest_complete(job->manifest))
        return true;
    if (job->meta_pause_ms != 0) {
        if (now >= job->meta_pause_ms)
            meta_resolve_again(job);
        return false;
    }
    if (job->meta_from != NULL && now > job->meta_ms)
        meta_next_holder(job);
    if (job->meta_from == NULL)
        meta_try_next(job, now);
    return false;
}
