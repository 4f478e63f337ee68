/* All shares in use: what the user and the neighbours ask of them, and the tick. A held share
 * is opened when a neighbour joins it and closed when nobody needs it any more; one being
 * received stays open until it is whole. */
#include <errno.h>

#include "daemon/log.h"
#include "daemon/node_int.h"

/* --- what the user ends ------------------------------------------------------- */

void share_pause(struct share *s)
{
    if (!s->receiving || s->lib == NULL)
        return;
    share_stop(s);
    s->closing = s->phase == SHARE_OPENING;
    s->ended_ms = clock_ms();
    library_set_state(s->node->library, s->lib, LIBRARY_PAUSED);
    node_catalog_changed(s->node);
}

void share_detach(struct share *s)
{
    s->lib = NULL;
    s->closing = true;
    s->error = ERR_CANCELLED;
    share_refuse_pending(s, ERR_NOT_FOUND);
    share_stop(s);
    if (s->phase == SHARE_LOADED && s->discard)
        share_discard_now(s);
    jobs_on_share(s);
}

void share_remove(struct node *n, struct library_share *lib)
{
    struct share *s = share_find(n, lib->id);

    library_remove(n->library, lib);
    if (s != NULL)
        share_detach(s);
    node_catalog_changed(n);
    node_wake(n);
}

/* --- neighbours --------------------------------------------------------------- */

/* The share of ours with this content: one in use first, then any that is whole. */
static struct library_share *share_for_key(const struct node *n, const uint8_t *key)
{
    struct library_share *lib, *best = NULL;
    const struct share *s;

    for (lib = library_find_key(n->library, key, NULL); lib != NULL;
         lib = library_find_key(n->library, key, lib)) {
        if (lib->changed || lib->state == LIBRARY_PAUSED)
            continue;
        s = share_find(n, lib->id);
        if (s != NULL && s->phase == SHARE_ACTIVE)
            return lib;
        if (best == NULL || lib->state == LIBRARY_HELD)
            best = lib;
    }
    return best;
}

void shares_on_join(struct contact *c, const struct msg *m)
{
    struct node *n = c->node;
    struct library_share *lib = share_for_key(n, m->join.key);
    struct share *s;

    int rc = lib == NULL || n->stopping ? ERR_NOT_FOUND : share_lend(n, lib, &s);

    if (rc < 0 && rc != -EINPROGRESS) {
        swarm_refuse(c->peer, m->sid, ERR_NOT_FOUND);
        return;
    }
    s->used_ms = clock_ms();
    if (s->swarm != NULL && s->phase != SHARE_STOPPING) {
        swarm_on_join(s->swarm, c->peer, m);
    } else if (s->join_count < NODE_JOINS_PENDING && s->error == 0) {
        s->joins[s->join_count++] = (struct join_pending){c, m->join.chunks, m->sid, m->join.flags};
        share_open(s);
    } else {
        if (!s->receiving)
            s->error = 0; /* the next one tries again */
        swarm_refuse(c->peer, m->sid, ERR_LIMIT);
    }
    node_wake(n);
}

/* The joiner thought better of it while the share was opening. */
static void shares_forget_join(struct contact *c, uint16_t sid)
{
    struct share *s;

    TAILQ_FOREACH(s, &c->node->shares, entry)
    {
        for (uint32_t i = 0; i < s->join_count;) {
            if (s->joins[i].contact == c && s->joins[i].sid == sid)
                s->joins[i] = s->joins[--s->join_count];
            else
                i++;
        }
    }
}

void shares_on_msg(struct contact *c, const struct msg *m)
{
    if (m->type == MSG_LEAVE)
        shares_forget_join(c, m->sid);
    swarm_on_msg(c->peer, m);
}

void shares_on_host(struct node *n, const struct host *h)
{
    struct share *s;

    TAILQ_FOREACH(s, &n->shares, entry)
    {
        share_on_host(s, h);
    }
}

void shares_drop_contact(struct contact *c)
{
    struct share *s;

    TAILQ_FOREACH(s, &c->node->shares, entry)
    {
        for (uint32_t i = 0; i < s->join_count;) {
            if (s->joins[i].contact == c)
                s->joins[i] = s->joins[--s->join_count];
            else
                i++;
        }
        meta_forget(s, c);
        s->connect_ms = 0;
    }
}

/* --- the tick ----------------------------------------------------------------- */

static bool share_is_idle(const struct share *s, uint64_t now)
{
    return !s->receiving && now > s->used_ms + NODE_SHARE_IDLE_MS && !jobs_use(s->node, s);
}

static bool share_can_go(const struct share *s, uint64_t now)
{
    if (s->phase != SHARE_LOADED || jobs_use(s->node, s))
        return false;
    if (s->manifest != NULL && s->receiving && s->lib != NULL && s->lib->state == LIBRARY_RECEIVING)
        return false;
    return s->lib == NULL || now > s->used_ms + NODE_SHARE_IDLE_MS;
}

static void share_tick(struct share *s, uint64_t now)
{
    struct swarm_stat st;

    share_retry(s, now);
    if (s->phase != SHARE_ACTIVE || s->lib == NULL)
        return;
    swarm_stat(s->swarm, &st);
    if (st.delivered)
        s->lib->delivered = true;
    if (st.disk_full && !s->full_told)
        log_warn("%s: the disk is full: goes on when there is space", s->lib->name);
    s->full_told = st.disk_full;
    if (st.needed)
        s->used_ms = now;
    if (s->receiving && now >= s->connect_ms) {
        share_connect(s);
        s->connect_ms = now + 1000;
    }
    if (share_is_idle(s, now))
        share_stop(s);
}

bool shares_tick(struct node *n, uint64_t now)
{
    struct share *s, *next;
    bool busy = false;

    for (s = TAILQ_FIRST(&n->shares); s != NULL; s = next) {
        next = TAILQ_NEXT(s, entry);
        share_tick(s, now);
        if (share_can_go(s, now))
            share_free(s);
        else
            busy = true;
    }
    return busy;
}

bool shares_busy(const struct node *n)
{
    const struct share *s;

    TAILQ_FOREACH(s, &n->shares, entry)
    {
        if (s->phase != SHARE_LOADED)
            return true;
    }
    return false;
}

void shares_stop(struct node *n)
{
    struct share *s;

    TAILQ_FOREACH(s, &n->shares, entry)
    {
        s->join_count = 0;
        s->closing = true;
        share_stop(s);
    }
}

void shares_free(struct node *n)
{
    while (!TAILQ_EMPTY(&n->shares))
        share_free(TAILQ_FIRST(&n->shares));
}
