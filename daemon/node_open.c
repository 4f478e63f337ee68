/* The store of a share: opened by a worker, with what this node holds of it under another
 * name copied on the way; and what was staged of it, discarded. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/node_int.h"
#include "transfer/io/sha256.h"

/* --- opening ------------------------------------------------------------------ */

static struct store_cfg share_store_cfg(const struct share *s)
{
    return (struct store_cfg){
        .manifest = s->manifest,
        .layout = s->layout,
        .hash = sha256,
        .hash_many = sha256_many,
        .dest = s->open_dest,
        .final_name = s->open_name,
        .boot_mark = s->node->boot_mark,
        .reserve_bytes = s->node->cfg->reserve_bytes,
        .stop = &s->closing,
    };
}

/* What stands here under another name is copied. It is a hint only: what cannot
 * be read there is fetched from the others. */
static int share_copy_twin(struct share *s, const struct store_cfg *cfg)
{
    struct store_stamp *stamps = NULL;
    struct manifest *m = NULL;
    struct store *from = NULL;
    bool source_bad;
    int rc = library_load(s->node->library, s->twin_id, &m, &stamps);

    manifest_free(m);
    if (rc == 0)
        rc = store_open_shared(cfg, s->twin_path, stamps, &from);
    free(stamps);
    if (rc != 0)
        return 0;
    rc = work_copy_chunks(s, from, s->store, &s->closing, NULL, &source_bad);
    store_close(from);
    if (source_bad)
        rc = store_sync(s->store); /* of what was good */
    return rc == ERR_CANCELLED ? 0 : rc;
}

static int share_open_run(void *arg)
{
    struct share *s = arg;
    struct store_cfg cfg = share_store_cfg(s);
    int rc;

    if (s->open_path != NULL)
        return store_open_shared(&cfg, s->open_path, s->stamps, &s->store);
    rc = store_open_receive(&cfg, &s->store);
    if (rc == 0 && s->twin_path != NULL)
        rc = share_copy_twin(s, &cfg);
    return rc;
}

static void share_open_done(void *arg, int result)
{
    struct share *s = arg;

    s->phase = SHARE_LOADED;
    if (s->node->stopping)
        return;
    if (s->lib == NULL || s->lib->changed || /* removed, or found wrong, meanwhile */
        (s->receiving && s->lib->state == LIBRARY_PAUSED))
        share_refuse_pending(s, ERR_NOT_FOUND);
    else if (result == ERR_CANCELLED && s->closing) /* paused, and wanted again meanwhile */
        share_open(s);
    else if (result < 0)
        share_failed(s, result);
    else
        share_start(s);
    if (s->lib == NULL && s->discard)
        share_discard_now(s);
    node_wake(s->node);
}

static void share_forget_places(struct share *s)
{
    free(s->open_path);
    free(s->open_dest);
    free(s->open_name);
    free(s->twin_path);
    s->open_path = s->open_dest = s->open_name = s->twin_path = NULL;
}

/* Does this node hold the same content under another name? */
static void share_find_twin(struct share *s)
{
    struct library_share *lib = NULL;

    while ((lib = library_find_key(s->node->library, s->lib->key, lib)) != NULL)
        if (lib->state == LIBRARY_HELD && !lib->changed)
            break;
    if (lib == NULL)
        return;
    s->twin_path = strdup(lib->path);
    memcpy(s->twin_id, lib->id, HASH_LEN);
}

/* The worker that opens gets its own copies: the library's entry may be replaced
 * or removed meanwhile. */
static int share_copy_places(struct share *s)
{
    const struct library_share *lib = s->lib;

    share_forget_places(s);
    if (!s->receiving)
        s->open_path = strdup(lib->path);
    else
        s->open_dest = strdup(lib->dest);
    if (s->receiving && lib->final_name != NULL)
        s->open_name = strdup(lib->final_name);
    if (s->receiving)
        share_find_twin(s);
    return s->open_path == NULL && s->open_dest == NULL ? -ENOMEM : 0;
}

static void share_unpause(struct share *s)
{
    if (!s->receiving || s->lib->state != LIBRARY_PAUSED)
        return;
    library_set_state(s->node->library, s->lib, LIBRARY_RECEIVING);
    node_catalog_changed(s->node);
}

void share_open(struct share *s)
{
    s->used_ms = clock_ms();
    share_unpause(s);
    if (s->phase == SHARE_STOPPING || s->phase == SHARE_LOADING)
        s->reopen = true;
    if (s->phase != SHARE_LOADED || s->manifest == NULL)
        return;
    s->error = 0;
    s->ended_ms = 0;
    if (s->receiving)
        s->started_ms = s->used_ms;
    if (s->store != NULL) {
        share_start(s);
        return;
    }
    if (share_copy_places(s) < 0) {
        share_failed(s, -ENOMEM);
        return;
    }
    s->closing = false;
    if (workers_submit(s->node->workers, NULL, share_open_run, share_open_done, s) == 0)
        s->phase = SHARE_OPENING;
    else
        share_failed(s, ERR_LIMIT);
}

/* --- discarding --------------------------------------------------------------- */

static int share_discard_run(void *arg)
{
    struct share *s = arg;
    struct store_cfg cfg = share_store_cfg(s);
    int rc = 0;

    cfg.reserve_bytes = 0;
    if (s->store == NULL)
        rc = store_open_receive(&cfg, &s->store);
    return rc < 0 ? rc : store_discard(s->store);
}

static void share_discarded(void *arg, int result)
{
    struct share *s = arg;

    s->phase = SHARE_LOADED;
    store_close(s->store);
    s->store = NULL;
    if (result < 0 && result != -ENOENT && result != ERR_CANCELLED)
        log_warn("what was staged of %s could not be removed: %s", manifest_name(s->manifest),
                 err_text(result));
    node_wake(s->node);
}

/* Nothing of it runs any more. */
void share_discard_now(struct share *s)
{
    s->discard = false;
    s->closing = s->node->stopping;
    s->phase = SHARE_DISCARDING;
    if (workers_submit(s->node->workers, NULL, share_discard_run, share_discarded, s) < 0)
        share_discarded(s, ERR_LIMIT);
}

void share_discard(struct share *s)
{
    s->discard = true;
    if ((s->phase == SHARE_LOADED || s->phase == SHARE_LOADING) && s->store == NULL)
        s->discard = share_copy_places(s) == 0;
}
