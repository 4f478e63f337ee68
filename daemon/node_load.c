/* The life of shares in use. What the library knows of a share is read and parsed by a
 * worker: 100,000 files are 10 MB and 50 ms, on a disk that sleeps seconds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/node_int.h"

struct share *share_find(const struct node *n, const uint8_t *id)
{
    struct share *s;

    TAILQ_FOREACH(s, &n->shares, entry)
    {
        if (s->lib != NULL && memcmp(s->id, id, HASH_LEN) == 0)
            return s;
    }
    return NULL;
}

void share_free(struct share *s)
{
    TAILQ_REMOVE(&s->node->shares, s, entry);
    swarm_free(s->swarm);
    store_close(s->store);
    layout_free(s->layout);
    manifest_free(s->manifest);
    free(s->open_path);
    free(s->open_dest);
    free(s->open_name);
    free(s->twin_path);
    free(s->stamps);
    free(s);
}

/* NULL: no memory. */
static struct share *share_new(struct node *n, struct library_share *lib)
{
    struct share *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->node = n;
    s->lib = lib;
    memcpy(s->id, lib->id, HASH_LEN);
    s->phase = SHARE_LOADED;
    s->receiving = lib->state != LIBRARY_HELD;
    s->used_ms = clock_ms();
    TAILQ_INSERT_TAIL(&n->shares, s, entry);
    return s;
}

/* --- loading --------------------------------------------------------------------- */

static int share_load_run(void *arg)
{
    struct share *s = arg;
    int rc = library_load(s->node->library, s->id, &s->manifest, s->receiving ? NULL : &s->stamps);

    if (rc == 0)
        rc = layout_new(s->manifest, &s->layout);
    if (rc < 0) {
        manifest_free(s->manifest);
        s->manifest = NULL;
    }
    return rc;
}

static void share_load_done(void *arg, int result)
{
    struct share *s = arg;
    bool open = s->reopen;

    s->phase = SHARE_LOADED;
    s->reopen = false;
    s->error_load = s->error = result;
    s->used_ms = clock_ms();
    if (s->node->stopping)
        return;
    if (result < 0 && s->lib != NULL)
        log_warn("%s cannot be read from the state directory: %s", s->lib->name, err_text(result));
    meta_serve(s);
    if (result < 0 || s->lib == NULL)
        share_refuse_pending(s, ERR_NOT_FOUND);
    else if (open)
        share_open(s);
    if (s->lib == NULL && s->discard && result == 0)
        share_discard_now(s);
    node_hurry(s->node);
}

/* What is held does not change; of the rest a load sees what was saved before it, and
 * comes before a removal. */
static int share_load(struct node *n, struct library_share *lib, struct share **out)
{
    struct share *s = share_new(n, lib);
    struct strand *strand = s != NULL && s->receiving ? library_strand(n->library) : NULL;
    int rc = s == NULL ? -ENOMEM
                       : workers_submit(n->workers, strand, share_load_run, share_load_done, s);

    if (rc < 0) {
        if (s != NULL)
            share_free(s);
        return rc;
    }
    s->phase = SHARE_LOADING;
    *out = s;
    return -EINPROGRESS;
}

int share_use(struct node *n, struct library_share *lib, struct share **out)
{
    *out = share_find(n, lib->id);
    if (*out == NULL)
        return share_load(n, lib, out);
    return (*out)->phase == SHARE_LOADING ? -EINPROGRESS : (*out)->error_load;
}

int share_lend(struct node *n, struct library_share *lib, struct share **out)
{
    const struct share *s;
    unsigned loaded = 0;

    if (share_find(n, lib->id) == NULL) {
        TAILQ_FOREACH(s, &n->shares, entry)
        {
            if (!s->receiving)
                loaded++;
        }
    }
    if (loaded >= NODE_SHARES_LOADED_MAX)
        return ERR_LIMIT;
    return share_use(n, lib, out);
}

int share_receive(struct node *n, struct manifest *m, const char *dest, struct share **out)
{
    struct library_entry e = {.manifest = m, .dest = dest};
    struct library_share *lib;
    struct layout *layout = NULL;
    struct share *s = NULL;
    int rc = layout_new(m, &layout);

    *out = NULL;
    if (rc == 0)
        rc = library_add(n->library, &e, &lib);
    if (rc == 0)
        s = share_new(n, lib);
    if (s == NULL) {
        layout_free(layout);
        manifest_free(m);
        return rc < 0 ? rc : -ENOMEM;
    }
    s->manifest = m;
    s->layout = layout;
    *out = s;
    node_catalog_changed(n);
    return 0;
}
