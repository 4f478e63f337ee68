/* What becomes of a share: received whole it is one of ours from then on; after an error a
 * receiving is tried again, and what is no longer what was shared is not served. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/log.h"
#include "daemon/node_int.h"

/* --- failed ------------------------------------------------------------------- */

static void share_mark_changed(struct share *s)
{
    log_warn("%s is no longer what was shared: not served until it is shared again", s->lib->path);
    library_set_changed(s->node->library, s->lib, true);
    node_catalog_changed(s->node);
}

/* A full disk, or one that is not mounted, may be there again any time. */
static void share_retry_later(struct share *s)
{
    s->retry_wait_ms = s->retry_wait_ms == 0 ? NODE_RETRY_MS : s->retry_wait_ms * 2;
    if (s->retry_wait_ms > NODE_RETRY_MAX_MS)
        s->retry_wait_ms = NODE_RETRY_MAX_MS;
    s->retry_ms = clock_ms() + s->retry_wait_ms;
}

void share_failed(struct share *s, int err)
{
    s->error = err;
    s->ended_ms = clock_ms();
    share_refuse_pending(s, ERR_NOT_FOUND);
    if (s->receiving)
        share_retry_later(s);
    if (!s->receiving && (err == ERR_CHANGED || err == -ENOENT))
        share_mark_changed(s);
    else if (err != s->error_logged)
        log_error("%s: %s", s->lib->name, err_text(err));
    s->error_logged = err;
    jobs_on_share(s);
}

void share_on_failed(void *arg, int err)
{
    struct share *s = arg;

    if (s->phase == SHARE_ENDING) {
        s->error_late = err;
        return;
    }
    share_failed(s, err);
    share_stop(s);
}

void share_spoiled(struct share *s)
{
    share_on_failed(s, ERR_CHANGED);
}

/* --- received whole ----------------------------------------------------------- */

static void share_held(void *arg, int result);

static struct library_entry share_entry(const struct share *s)
{
    return (struct library_entry){
        .manifest = s->manifest, .path = store_path(s->store), .stamps = s->stamps};
}

/* Whole and in place: from now on a share of ours. */
static void share_hold(struct share *s)
{
    struct library_entry e = share_entry(s);
    int rc;

    s->phase = SHARE_ENDING;
    rc = library_save(s->node->library, &e, share_held, s);
    if (rc < 0)
        share_held(s, rc);
}

/* The swarm failed while the stamps were taken or noted. */
static void share_fail_late(struct share *s)
{
    int err = s->error_late;

    if (err == 0)
        return;
    s->error_late = 0;
    s->unsaved = false; /* opened again it is found whole, and noted then */
    share_on_failed(s, err);
}

static void share_held(void *arg, int result)
{
    struct share *s = arg;
    struct node *n = s->node;
    struct library_entry e = share_entry(s);
    struct library_share *lib;

    s->phase = SHARE_ACTIVE;
    if (n->stopping || s->lib == NULL) {
        share_stop(s);
        return;
    }
    if (result == 0)
        result = library_add(n->library, &e, &lib);
    s->unsaved = result < 0;
    if (result < 0) {
        share_failed(s, result);
        share_fail_late(s);
        return;
    }
    s->lib = lib;
    s->error = s->error_logged = 0;
    s->receiving = false;
    s->ended_ms = clock_ms();
    log_info("received %s", lib->path);
    node_catalog_changed(n);
    jobs_on_share(s);
    share_fail_late(s);
}

static int share_stamps_run(void *arg)
{
    struct share *s = arg;

    return store_stamps(s->store, s->stamps);
}

static void share_stamps_done(void *arg, int result)
{
    struct share *s = arg;

    s->phase = SHARE_ACTIVE;
    if (s->node->stopping || s->lib == NULL) {
        share_stop(s);
    } else if (result == 0) {
        share_hold(s);
    } else {
        s->error_late = 0;
        share_failed(s, result);
        share_stop(s);
    }
}

/* Every file is in place: what they look like now is what we shall share. */
void share_on_done(void *arg)
{
    struct share *s = arg;

    free(s->stamps);
    s->stamps = calloc(manifest_files(s->manifest) + 1, sizeof(*s->stamps));
    if (s->stamps == NULL ||
        workers_submit(s->node->workers, NULL, share_stamps_run, share_stamps_done, s) < 0) {
        share_failed(s, -ENOMEM);
        return;
    }
    s->phase = SHARE_ENDING;
}

/* --- tried again -------------------------------------------------------------- */

/* After an error: opens a receiving again, or notes one that is whole. */
void share_retry(struct share *s, uint64_t now)
{
    if (s->error == 0 || s->lib == NULL || s->lib->state != LIBRARY_RECEIVING || now < s->retry_ms)
        return;
    if (s->phase == SHARE_LOADED)
        share_open(s);
    else if (s->phase == SHARE_ACTIVE && s->unsaved)
        share_hold(s);
    else if (s->phase == SHARE_ACTIVE && store_done(s->store))
        share_on_done(s); /* no worker could be had for the stamps */
}
