/* The links of a swarm: JOIN both ways, peer exchange, and what neighbours say. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/io/swarm_int.h"

struct msg swarm_msg(const struct swarm_link *l, enum msg_type type)
{
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = type;
    m.sid = l->own_sid;
    return m;
}

void swarm_send_simple(const struct swarm_link *l, enum msg_type type, uint32_t chunk)
{
    struct msg m = swarm_msg(l, type);

    m.chunk = chunk;
    peer_send(l->peer, &m);
}

static struct swarm_link *swarm_link_to(const struct swarm *w, const struct peer *p)
{
    for (uint32_t i = 0; i < w->link_count; i++)
        if (w->links[i]->peer == p)
            return w->links[i];
    return NULL;
}

bool swarm_banned(const struct swarm *w, const uint8_t node[static HASH_LEN])
{
    for (uint32_t i = 0; i < w->liar_count; i++)
        if (memcmp(w->liars[i], node, SWARM_NODE_PREFIX) == 0)
            return true;
    return false;
}

static void swarm_say_join(struct swarm_link *l)
{
    const struct swarm *w = l->swarm;
    struct msg m = swarm_msg(l, MSG_JOIN);

    memcpy(m.join.key, manifest_key(w->cfg.manifest), HASH_LEN);
    m.join.chunks = w->chunks;
    m.join.flags = (uint8_t)((peer_is_leaf(l->peer) ? MSG_FLAG_LEAF : 0) |
                             (w->cfg.origin ? MSG_FLAG_ORIGIN : 0));
    peer_send(l->peer, &m);
}

static bool swarm_admits(const struct swarm *w, const struct peer *p)
{
    return !w->stopping && !swarm_banned(w, peer_node(p));
}

/* A new link with our JOIN on its way; NULL when there is no room for one. */
static struct swarm_link *swarm_link_new(struct swarm *w, struct peer *p)
{
    struct swarm_link *l;

    if (w->link_count == SWARM_LINKS_MAX || !swarm_admits(w, p))
        return NULL;
    l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    l->swarm = w;
    l->peer = p;
    TAILQ_INIT(&l->inflight);
    if (peer_link_add(p, l, &l->own_sid) < 0) {
        free(l);
        return NULL;
    }
    w->links[w->link_count++] = l;
    swarm_say_join(l);
    return l;
}

/* Takes l out of the swarm; tell: the peer lives and is told LEAVE. */
void swarm_link_drop(struct swarm_link *l, bool tell)
{
    struct swarm *w = l->swarm;

    if (tell)
        swarm_send_simple(l, MSG_LEAVE, 0);
    if (l->up) {
        swarm_uploads_drop(l);
        swarm_inflight_drop(l);
        w->by_number[l->number] = NULL;
        sched_peer_gone(w->sched, clock_ms(), l->number);
    }
    peer_link_remove(l->peer, l->own_sid);
    for (uint32_t i = 0; i < w->link_count; i++)
        if (w->links[i] == l)
            w->links[i] = w->links[--w->link_count];
    free(l);
    swarm_wake(w);
}

void swarm_join(struct swarm *w, struct peer *p)
{
    if (swarm_link_to(w, p) == NULL)
        (void)swarm_link_new(w, p);
}

/* Not each time that the node joins and leaves in a loop. */
static bool intro_due(struct swarm_intro intros[static SWARM_INTROS], const uint8_t *node)
{
    struct swarm_intro *slot = &intros[0];
    uint64_t now = clock_ms();

    for (uint32_t i = 0; i < SWARM_INTROS; i++) {
        struct swarm_intro *in = &intros[i];

        if (in->told_ms != 0 && memcmp(in->node, node, SWARM_NODE_PREFIX) == 0) {
            slot = in;
            break;
        }
        if (in->told_ms < slot->told_ms)
            slot = in;
    }
    if (slot->told_ms != 0 && now < slot->told_ms + SWARM_INTRO_MS &&
        memcmp(slot->node, node, SWARM_NODE_PREFIX) == 0)
        return false;
    memcpy(slot->node, node, SWARM_NODE_PREFIX);
    slot->told_ms = now;
    return true;
}

/* Of all that are linked and can be dialled, but the one that is told. */
static void swarm_tell_members(const struct swarm_link *to)
{
    const struct swarm *w = to->swarm;
    struct msg_peer list[SWARM_LINKS_MAX];
    struct msg m = swarm_msg(to, MSG_PEERS);
    uint16_t count = 0;

    for (uint32_t i = 0; i < w->link_count; i++)
        if (w->links[i] != to && w->links[i]->up &&
            peer_listen_addr(w->links[i]->peer, &list[count]))
            count++;
    m.peers.count = count;
    m.peers.peers = list;
    if (count > 0)
        peer_send(to->peer, &m);
}

/* Peer exchange: the newcomer hears of all, all hear of the newcomer. */
static void swarm_introduce(struct swarm_link *fresh)
{
    struct swarm *w = fresh->swarm;
    struct msg_peer newcomer;

    swarm_tell_members(fresh);
    if (!peer_listen_addr(fresh->peer, &newcomer) || !intro_due(w->intros, peer_node(fresh->peer)))
        return;
    for (uint32_t i = 0; i < w->link_count; i++) {
        const struct swarm_link *l = w->links[i];
        struct msg one = swarm_msg(l, MSG_PEERS);

        if (l == fresh || !l->up)
            continue;
        one.peers.count = 1;
        one.peers.peers = &newcomer;
        peer_send(l->peer, &one);
    }
}

void swarm_refuse(struct peer *p, uint16_t their_sid, int err)
{
    struct msg m;

    memset(&m, 0, sizeof(m));
    m.type = MSG_REFUSE;
    m.sid = their_sid;
    m.reason = msg_reason(err);
    peer_send(p, &m);
}

static unsigned swarm_route(const struct swarm_link *l)
{
    return (peer_is_leaf(l->peer) ? SCHED_LEAF_HERE : 0U) |
           ((l->flags & MSG_FLAG_LEAF) != 0 ? SCHED_LEAF_THERE : 0U);
}

/* No place for a newcomer, who may know of nobody else: it hears of the others, and that we
 * are gone. */
static void swarm_redirect(struct swarm *w, struct peer *p, uint16_t their_sid)
{
    struct swarm_link l = {.swarm = w, .peer = p};

    if (!intro_due(w->redirects, peer_node(p)) || peer_link_add(p, &l, &l.own_sid) < 0) {
        swarm_refuse(p, their_sid, ERR_LIMIT);
        return;
    }
    swarm_say_join(&l);
    swarm_tell_members(&l);
    swarm_send_simple(&l, MSG_LEAVE, 0);
    peer_link_remove(p, l.own_sid);
}

void swarm_on_join(struct swarm *w, struct peer *p, const struct msg *m)
{
    struct swarm_link *l = swarm_link_to(w, p);

    if (l == NULL)
        l = swarm_link_new(w, p);
    if (l == NULL) {
        if (w->link_count == SWARM_LINKS_MAX && swarm_admits(w, p))
            swarm_redirect(w, p, m->sid);
        else
            swarm_refuse(p, m->sid, ERR_LIMIT);
        return;
    }
    if (l->up || m->join.chunks != w->chunks) {
        swarm_link_drop(l, true);
        return;
    }
    l->their_sid = m->sid;
    l->flags = m->join.flags;
    if (sched_peer_add(w->sched, clock_ms(), swarm_route(l), &l->number) < 0) {
        swarm_link_drop(l, true);
        return;
    }
    l->up = true;
    w->by_number[l->number] = l;
    swarm_introduce(l);
    if (w->cfg.origin)
        swarm_tell_stat_to(l);
    swarm_wake(w);
}

static struct swarm_link *swarm_link_find(const struct peer *p, uint16_t their_sid)
{
    for (uint16_t i = 0; i < SESSION_JOINS_MAX; i++) {
        struct swarm_link *l = peer_link_at(p, i);

        if (l != NULL && l->up && l->their_sid == their_sid)
            return l;
    }
    return NULL;
}

void swarm_drop_peer(struct peer *p)
{
    for (uint16_t i = 0; i < SESSION_JOINS_MAX; i++)
        if (peer_link_at(p, i) != NULL)
            swarm_link_drop(peer_link_at(p, i), false);
}

static void link_unblock(struct swarm_link *l)
{
    if (l->blocked_told)
        sched_on_blocked(l->swarm->sched, clock_ms(), l->number, false);
    l->blocked = l->blocked_told = false;
}

/* How long a socket is full though its receiver is fast. Of a small chunk it and the queue
 * before it hold most: they are full for as long as the chunk takes, and sockets that have data
 * share the uplink evenly. A rate that falls because all stand still makes it no longer for good.
 */
static uint64_t blocked_by_others_ms(const struct swarm *w, uint64_t now_ms)
{
    double bytes_per_s, ms;
    unsigned sharing = 0;

    if (layout_chunk_bytes_max(w->cfg.layout) >= SWARM_FULL_BYTES)
        return 0;
    bytes_per_s = rate_per_s(&w->up, now_ms);
    if (bytes_per_s < 1)
        return 0;
    for (uint32_t i = 0; i < w->link_count; i++)
        sharing += w->links[i]->blocked;
    ms = sharing * SWARM_FULL_BYTES * 1000.0 / bytes_per_s;
    return ms < SWARM_FULL_MAX_MS ? (uint64_t)ms : SWARM_FULL_MAX_MS;
}

void swarm_link_block(struct swarm_link *l)
{
    struct swarm *w = l->swarm;
    uint64_t now_ms, due_ms;

    if (l->blocked && l->blocked_told)
        return;
    now_ms = clock_ms();
    if (!l->blocked)
        l->blocked_ms = now_ms;
    l->blocked = true;
    due_ms = l->blocked_ms + blocked_by_others_ms(w, now_ms);
    if (now_ms < due_ms) {
        if (w->serve_ms == 0 || due_ms < w->serve_ms)
            w->serve_ms = due_ms; /* looked at again then */
        return;
    }
    l->blocked_told = true;
    sched_on_blocked(w->sched, now_ms, l->number, true);
}

void swarm_on_writable(struct peer *p)
{
    for (uint16_t i = 0; i < SESSION_JOINS_MAX; i++) {
        struct swarm_link *l = peer_link_at(p, i);

        if (l == NULL || !l->up || !l->blocked)
            continue;
        link_unblock(l);
        swarm_wake(l->swarm);
    }
}

bool swarm_linked(const struct swarm *w, const uint8_t node[static HASH_LEN])
{
    for (uint32_t i = 0; i < w->link_count; i++)
        if (memcmp(peer_node(w->links[i]->peer), node, HASH_LEN) == 0)
            return true;
    return swarm_banned(w, node);
}

uint32_t swarm_links(const struct swarm *w)
{
    return w->link_count;
}

/* --- messages in -------------------------------------------------------- */

bool swarm_takes(enum msg_type type)
{
    return type >= MSG_REFUSE && type < MSG_TYPES;
}

static int swarm_on_map(struct swarm_link *l, const struct msg *m)
{
    struct chunkmap map;
    int rc = chunkmap_init(&map, l->swarm->chunks);

    if (rc == 0)
        rc = chunkmap_decode(&map, m->map.bits, m->map.len_bytes);
    if (rc == 0)
        rc = sched_on_map(l->swarm->sched, clock_ms(), l->number, &map);
    chunkmap_free(&map);
    return rc;
}

static int swarm_on_have(struct swarm_link *l, const struct msg *m)
{
    int rc = 0;

    for (uint16_t i = 0; i < m->have.count && rc == 0; i++)
        rc = sched_on_have(l->swarm->sched, clock_ms(), l->number, msg_have_at(m, i));
    return rc;
}

static int swarm_on_complete(struct swarm_link *l)
{
    if (l->swarm->cfg.origin)
        swarm_tell_stat_to(l);
    return sched_on_complete(l->swarm->sched, clock_ms(), l->number);
}

static int swarm_on_peers(struct swarm_link *l, const struct msg *m)
{
    struct swarm *w = l->swarm;
    struct msg_peer who;

    for (uint16_t i = 0; i < m->peers.count; i++) {
        msg_peer_at(m, i, &who);
        if (memcmp(who.node, w->cfg.self, HASH_LEN) != 0 && !swarm_linked(w, who.node))
            w->cfg.ops->on_candidate(w->cfg.arg, &who, m->peers.count, l->peer);
    }
    return 0;
}

static int swarm_on_stat(struct swarm_link *l, const struct msg *m)
{
    struct swarm *w = l->swarm;
    const uint8_t *node = peer_node(l->peer);
    struct swarm_source *from;
    uint32_t i;

    if ((m->stat.flags & MSG_FLAG_ORIGIN) == 0)
        return 0;
    for (i = 0; i < w->source_count; i++)
        if (memcmp(w->sources[i].node, node, SWARM_NODE_PREFIX) == 0)
            break;
    if (i == SWARM_SOURCES_MAX)
        return 0;
    from = &w->sources[i];
    memcpy(from->node, node, SWARM_NODE_PREFIX);
    if (m->stat.sent_bytes < from->sent_bytes)
        from->earlier_bytes += from->sent_bytes;
    from->sent_bytes = m->stat.sent_bytes;
    if (i == w->source_count)
        w->source_count++;
    return 0;
}

/* One message of an established link. Negative: the peer cannot be trusted with
 * this share any more. */
static int swarm_dispatch(struct swarm_link *l, const struct msg *m)
{
    struct sched *s = l->swarm->sched;
    uint64_t now = clock_ms();

    switch (m->type) {
    case MSG_MAP:
        return swarm_on_map(l, m);
    case MSG_HAVE:
        return swarm_on_have(l, m);
    case MSG_COMPLETE:
        return swarm_on_complete(l);
    case MSG_GRANT:
        return sched_on_grant(s, now, l->number);
    case MSG_REQUEST:
        return sched_on_request(s, now, l->number, m->chunk);
    case MSG_PASS:
        return sched_on_pass(s, now, l->number,
                             m->reason == MSG_PASS_FULL ? SCHED_PASS_FULL : SCHED_PASS_NOTHING);
    case MSG_OFFER:
        return sched_on_offer(s, now, l->number, m->chunk);
    case MSG_REVOKE:
        return sched_on_revoke(s, now, l->number, m->chunk);
    case MSG_CANCEL:
        return sched_on_cancel(s, now, l->number, m->chunk);
    case MSG_DATA:
        return swarm_on_data(l, m);
    case MSG_PEERS:
        return swarm_on_peers(l, m);
    case MSG_STAT:
        return swarm_on_stat(l, m);
    case MSG_HELLO:
    case MSG_HELLO_ACK:
    case MSG_BYE:
    case MSG_KEEPALIVE:
    case MSG_CATALOG_GET:
    case MSG_CATALOG:
    case MSG_META_GET:
    case MSG_META:
    case MSG_META_NO:
    case MSG_JOIN:
    case MSG_REFUSE:
    case MSG_LEAVE:
    case MSG_TYPES:
        break;
    }
    return ERR_PROTOCOL;
}

void swarm_ban(struct swarm *w, const uint8_t node[static HASH_LEN], int err)
{
    if (swarm_banned(w, node))
        return; /* several of its chunks were on their way */
    w->cfg.ops->on_banned(w->cfg.arg, node, err);
    if (w->liar_count < SWARM_LINKS_MAX)
        memcpy(w->liars[w->liar_count++], node, SWARM_NODE_PREFIX);
    for (uint32_t i = 0; i < w->link_count; i++) {
        if (memcmp(peer_node(w->links[i]->peer), node, HASH_LEN) != 0)
            continue;
        swarm_link_drop(w->links[i], true);
        return;
    }
}

void swarm_on_msg(struct peer *p, const struct msg *m)
{
    struct swarm_link *l;
    struct swarm *w;
    int rc;

    if (m->type == MSG_REFUSE) { /* of our own JOIN: the number in it is ours */
        l = peer_link_at(p, m->sid);
        if (l != NULL && !l->up)
            swarm_link_drop(l, true); /* every JOIN ends with one LEAVE */
        return;
    }
    l = swarm_link_find(p, m->sid);
    if (l == NULL)
        return;
    if (m->type == MSG_LEAVE) {
        swarm_link_drop(l, true);
        return;
    }
    w = l->swarm;
    rc = swarm_dispatch(l, m); /* may drop l when memory is short */
    if (rc == ERR_PROTOCOL || rc == ERR_MESSAGE)
        swarm_ban(w, peer_node(p), rc);
    else
        swarm_wake(w);
}
