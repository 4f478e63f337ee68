/* The swarm of a share, from start to stop: the members we know of, and to whom of them it
 * links. */
#include <string.h>

#include "daemon/log.h"
#include "daemon/node_int.h"
#include "transfer/io/sha256.h"

/* --- whom it links to --------------------------------------------------------- */

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

/* No more are wanted. */
static bool share_has_links(const struct share *s)
{
    return swarm_links(s->swarm) >= share_links_wanted(s);
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
    if (share_has_links(s))
        return;
    if (s->others <= SWARM_LINKS_ALL) {
        share_link(s, h, host_turn_ms(s->node, h));
    } else { /* at random, among all that this message tells of */
        s->connect_ms = 0;
        node_wake(s->node);
    }
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
void share_connect(struct share *s)
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

/* A receiving that has links enough looks by its tick alone: a crowd's catalogues change all
 * the time. */
void share_on_host(struct share *s, const struct host *h)
{
    if (s->phase != SHARE_ACTIVE || share_has_links(s))
        return;
    if (s->receiving)
        share_connect(s);
    else if (share_has_member(s, h->id) && !swarm_linked(s->swarm, h->id))
        swarm_join(s->swarm, h->contact->peer); /* it was told of us, or we of it */
}

/* --- its life ----------------------------------------------------------------- */

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

void share_refuse_pending(struct share *s, int err)
{
    for (uint32_t i = 0; i < s->join_count; i++)
        swarm_refuse(s->joins[i].contact->peer, s->joins[i].sid, err);
    s->join_count = 0;
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
