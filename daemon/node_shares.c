/* Shares in use. A held share is opened when a neighbour joins it and closed when
 * nobody needs it any more; one being received stays open until it is whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/node_int.h"
#include "transfer/io/sha256.h"

/* --- the swarm ---------------------------------------------------------------- */

void share_refuse_pending(struct share *s, int err)
{
    for (uint32_t i = 0; i < s->join_count; i++)
        swarm_refuse(s->joins[i].contact->peer, s->joins[i].sid, err);
    s->join_count = 0;
}

static bool share_has_member(const struct share *s, const uint8_t *id)
{
    for (uint32_t i = 0; i < s->member_count; i++)
        if (memcmp(s->members[i], id, HASH_LEN) == 0)
            return true;
    return false;
}

static void share_add_member(struct share *s, const uint8_t *id)
{
    if (!share_has_member(s, id) && s->member_count < NODE_MEMBERS_MAX)
        memcpy(s->members[s->member_count++], id, HASH_LEN);
}

/* Links to h when there is a session, wishes for one otherwise. */
static void share_link(struct share *s, struct host *h, uint64_t delay_ms)
{
    if (h->contact != NULL && h->contact->open)
        swarm_join(s->swarm, h->contact->peer);
    else
        host_want(h, s->node, delay_ms);
}

/* Among many not all are linked to: a crowd that did would leave no place for the last. */
static uint32_t share_links_wanted(const struct share *s)
{
    if (s->others <= SWARM_LINKS_ALL)
        return SWARM_LINKS_ALL;
    return clock_ms() < s->joined_ms + SWARM_LINKS_FIRST_MS ? SWARM_LINKS_FIRST
                                                            : SWARM_LINKS_WANTED;
}

static void share_on_candidate(void *arg, const struct msg_peer *who, uint16_t of, struct peer *via)
{
    struct share *s = arg;
    struct host *h = host_from_exchange(s->node, who, via);

    if (h == NULL)
        return;
    share_add_member(s, who->node);
    if (s->others < of)
        s->others = of;
    if (swarm_links(s->swarm) >= share_links_wanted(s))
        return;
    if (s->others <= SWARM_LINKS_ALL) {
        share_link(s, h, host_turn_ms(s->node, h));
    } else { /* at random, among all that this message tells of */
        s->connect_ms = 0;
        node_wake(s->node);
    }
}

static void share_on_banned(void *arg, const uint8_t node[static HASH_LEN], int err)
{
    struct share *s = arg;
    const struct host *h = host_by_id(s->node, node);

    log_warn("%s: no more from %s: %s", s->lib != NULL ? s->lib->name : "a removed share",
             h != NULL ? h->name : "a peer", err_text(err));
}

static const struct swarm_ops share_swarm_ops = {
    .on_banned = share_on_banned,
    .on_done = share_on_done,
    .on_failed = share_on_failed,
    .on_candidate = share_on_candidate,
};

static void share_admit_pending(struct share *s)
{
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = MSG_JOIN;
    memcpy(m.join.key, manifest_key(s->manifest), HASH_LEN);
    for (uint32_t i = 0; i < s->join_count; i++) {
        m.sid = s->joins[i].sid;
        m.join.chunks = s->joins[i].chunks;
        m.join.flags = s->joins[i].flags;
        swarm_on_join(s->swarm, s->joins[i].contact->peer, &m);
    }
    s->join_count = 0;
}

static void share_known_add(const struct share *s, struct host *h, struct host **known,
                            uint32_t *count)
{
    if (h == NULL || swarm_linked(s->swarm, h->id))
        return;
    for (uint32_t i = 0; i < *count; i++)
        if (known[i] == h)
            return;
    known[(*count)++] = h;
}

/* Whoever holds this content and is not linked yet -> how many: those that say so in their
 * catalogue, and those that peer exchange told of, while they can be reached. */
static uint32_t share_known(struct share *s, const uint8_t *const *found, uint32_t holders,
                            struct host *known[static NODE_HOSTS_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < holders; i++)
        share_known_add(s, host_by_id(s->node, found[i]), known, &count);
    for (uint32_t i = 0; i < s->member_count;) {
        struct host *h = host_by_id(s->node, s->members[i]);

        if (h == NULL || h->error != 0) {
            memmove(s->members[i], s->members[--s->member_count], HASH_LEN);
        } else {
            share_known_add(s, h, known, &count);
            i++;
        }
    }
    return count;
}

/* A crowd may have links enough, and none to one that holds all: a source that was started
 * again is linked to by nobody, and knows of nobody. */
static void share_link_whole(struct share *s, const uint8_t *const *found, uint32_t whole)
{
    struct host *h;

    for (uint32_t i = 0; i < whole; i++)
        if (swarm_linked(s->swarm, found[i]) && !swarm_banned(s->swarm, found[i]))
            return;
    h = whole > 0 ? host_by_id(s->node, found[node_random(s->node) % whole]) : NULL;
    if (h != NULL && !swarm_linked(s->swarm, h->id))
        share_link(s, h, 0);
}

/* Links to as many as are missing, at random; first to those that it is waiting for. Who
 * could not be dialled takes no place: it is tried again besides. */
static void share_connect(struct share *s)
{
    const uint8_t *found[CATALOG_HOSTS_MAX];
    struct host *known[NODE_HOSTS_MAX];
    uint32_t whole,
        holders = catalog_hosts(s->node->catalog, s->lib->key, found, CATALOG_HOSTS_MAX, &whole);
    uint32_t count = share_known(s, found, holders, known);
    uint32_t links = swarm_links(s->swarm), wanted;

    s->others = links + count;
    wanted = share_links_wanted(s);
    share_link_whole(s, found, whole);
    for (uint32_t i = 0; i < count && links < wanted;) {
        bool failing = known[i]->backoff_ms != 0;

        if (!failing && !host_is_wanted(known[i])) {
            i++;
            continue;
        }
        share_link(s, known[i], 0);
        known[i] = known[--count];
        links += !failing;
    }
    for (; count > 0 && links < wanted; links++) {
        uint32_t i = (uint32_t)(node_random(s->node) % count);

        share_link(s, known[i], 0);
        known[i] = known[--count];
    }
}

void share_start(struct share *s)
{
    struct swarm_cfg cfg = {
        .base = s->node->base,
        .workers = s->node->workers,
        .hash = sha256,
        .hash_many = sha256_many,
        .manifest = s->manifest,
        .layout = s->layout,
        .store = s->store,
        .self = s->node->id,
        .receiving = s->receiving,
        .origin = s->lib->origin && !s->receiving,
        .sent_bytes = s->lib->sent_bytes,
        .salt = node_random(s->node),
        .ops = &share_swarm_ops,
        .arg = s,
    };
    int rc = swarm_new(&cfg, &s->swarm);

    s->error_late = 0;
    if (rc < 0) {
        share_failed(s, rc);
        return;
    }
    s->phase = SHARE_ACTIVE;
    s->joined_ms = clock_ms();
    if (s->receiving && s->lib->final_name == NULL)
        library_set_final_name(s->node->library, s->lib, store_final_name(s->store));
    share_admit_pending(s);
    if (s->receiving && !store_done(s->store)) /* else the swarm's first turn says done */
        share_connect(s);
}

static void share_stopped(void *arg)
{
    struct share *s = arg;

    s->swarm = NULL;
    s->phase = SHARE_LOADED;
    if (s->discard) {
        share_discard_now(s);
        return;
    }
    store_close(s->store);
    s->store = NULL;
    if (s->reopen && s->lib != NULL && !s->node->stopping) {
        s->reopen = false;
        share_open(s);
    } else {
        share_refuse_pending(s, ERR_NOT_FOUND);
    }
    node_wake(s->node);
}

void share_stop(struct share *s)
{
    s->reopen = false;
    if (s->phase != SHARE_ACTIVE || s->swarm == NULL)
        return;
    swarm_stat(s->swarm, &s->last);
    if (s->lib != NULL)
        s->lib->sent_bytes = s->last.uploaded_bytes;
    s->phase = SHARE_STOPPING;
    swarm_stop(s->swarm, share_stopped, s);
    node_wake(s->node);
}

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
        if (s->phase != SHARE_ACTIVE)
            continue;
        if (s->receiving)
            share_connect(s);
        else if (share_has_member(s, h->id) && !swarm_linked(s->swarm, h->id) &&
                 swarm_links(s->swarm) < share_links_wanted(s))
            swarm_join(s->swarm, h->contact->peer); /* it was told of us, or we of it */
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
