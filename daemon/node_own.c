/* What the control API asks of this node's own shares. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/node_int.h"

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

        /* A whole id is never a name: anybody may call a share like the id of another. */
        if (strlen(what) == 2 * (size_t)HASH_LEN && id_has_prefix(s->id, what)) {
            *out = s;
            return 0;
        }
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
                 "this host holds nothing called \"%s\": `ronda status` lists what it has", what);
        return ERR_NOT_FOUND;
    }
    snprintf(error, NODE_ERROR_BYTES,
             "\"%s\" means several shares here: name one by its id (`ronda status`)", what);
    return ERR_AMBIGUOUS;
}

int node_unshare(struct node *n, struct library_share *s)
{
    struct share *running;
    int rc = s->state != LIBRARY_HELD ? share_use(n, s, &running) : ERR_NOT_FOUND;

    if (rc == 0 || rc == -EINPROGRESS)
        share_discard(running);
    share_remove(n, s);
    return 0;
}

int node_torrent(struct node *n, struct library_share *lib, uint8_t **out, size_t *len_bytes)
{
    const struct share *s = share_find(n, lib->id);
    struct manifest *m;
    int rc;

    *out = NULL;
    if (s != NULL && s->phase != SHARE_LOADING && s->manifest != NULL)
        return manifest_torrent(s->manifest, out, len_bytes);
    rc = library_load(n->library, lib->id, &m, NULL);
    if (rc == 0)
        rc = manifest_torrent(m, out, len_bytes);
    manifest_free(m);
    return rc;
}

/* --- for the control API ---------------------------------------------------------------------- */

/* Who fetched it may have gone, or stopped sharing it, since the links to them were closed. Looks
 * through all catalogues: asked only of what those who are linked do not say. */
static bool others_hold(const struct node *n, const struct library_share *lib)
{
    const uint8_t *host;
    uint32_t whole;

    (void)catalog_hosts(n->catalog, lib->key, &host, 1, &whole);
    return whole > 0;
}

static void share_describe_swarm(const struct share *s, struct node_share *out)
{
    struct swarm_stat now;
    const struct swarm_stat *st = &s->last;
    uint64_t bytes = s->lib->bytes;

    if (s->swarm != NULL && s->phase != SHARE_STOPPING) {
        swarm_stat(s->swarm, &now);
        st = &now;
        out->may_leave = !s->receiving && st->chunks > 0 && st->delivered;
    }
    out->done_bytes = s->receiving ? st->done_bytes : bytes;
    out->peers = s->swarm != NULL ? st->peers : 0;
    out->peers_seen = st->peers_seen;
    out->down_per_s = s->swarm != NULL ? st->down_per_s : 0;
    out->up_per_s = s->swarm != NULL ? st->up_per_s : 0;
    out->received_bytes = st->received_bytes;
    out->from_source_bytes = st->from_source_bytes;
    out->duplicate_bytes = st->duplicate_bytes;
    if (s->swarm != NULL)
        out->uploaded_bytes = st->uploaded_bytes;
    out->source_copies =
        st->source_known && bytes > 0 ? (double)st->source_bytes / (double)bytes : -1;
    out->source_restarted = st->source_restarted;
    out->spread = st->spread;
    if (s->receiving && st->disk_full)
        out->state = NODE_FULL;
    else if (s->receiving && s->swarm != NULL)
        out->state = st->have == st->chunks ? NODE_FINISHING
                     : st->peers == 0       ? NODE_WAITING
                                            : NODE_RUNNING;
    else if (st->needed && s->swarm != NULL)
        out->state = NODE_SEEDING;
}

static void share_describe(const struct share *s, struct node_share *out)
{
    share_describe_swarm(s, out);
    if ((s->phase == SHARE_OPENING || s->phase == SHARE_LOADING) && s->receiving)
        out->state = NODE_CHECKING;
    if (s->error != 0)
        out->state = s->receiving && s->error == -ENOSPC ? NODE_FULL : NODE_FAILED;
    out->error = s->error;
    out->elapsed_ms =
        s->started_ms == 0 ? 0 : (s->ended_ms ? s->ended_ms : clock_ms()) - s->started_ms;
    if (s->phase != SHARE_OPENING && s->store != NULL) { /* a worker sets it while opening */
        out->path = store_path(s->store);
        out->files_done = store_files_done(s->store);
    }
}

/* The rates are means of the last seconds, and have not sunk yet when all has come to rest. */
static void share_describe_rest(struct node_share *out)
{
    if (out->state != NODE_RUNNING)
        out->down_per_s = 0;
    if (out->state == NODE_IDLE || out->state == NODE_WAITING || out->state == NODE_PAUSED)
        out->up_per_s = 0;
}

uint32_t node_share_count(const struct node *n)
{
    return library_count(n->library);
}

void node_share_describe(const struct node *n, const struct library_share *lib,
                         struct node_share *out)
{
    const struct share *s = share_find(n, lib->id);

    memset(out, 0, sizeof(*out));
    out->share = lib;
    out->source_copies = -1;
    out->path = lib->path;
    out->state = lib->state == LIBRARY_HELD ? NODE_IDLE : NODE_PAUSED;
    out->done_bytes = lib->state == LIBRARY_HELD ? lib->bytes : 0;
    out->files_done = lib->state == LIBRARY_HELD ? lib->files : 0;
    out->uploaded_bytes = lib->sent_bytes;
    if (s != NULL)
        share_describe(s, out);
    if (!out->may_leave && (s == NULL || !s->receiving))
        out->may_leave = lib->delivered && others_hold(n, lib);
    if (lib->state == LIBRARY_PAUSED)
        out->state = NODE_PAUSED;
    share_describe_rest(out);
}

void node_share_at(const struct node *n, uint32_t i, struct node_share *out)
{
    node_share_describe(n, library_at(n->library, i), out);
}
