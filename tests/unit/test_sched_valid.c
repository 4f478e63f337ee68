/* Whatever is wrong, sched_valid() finds: each field of two busy scheds is spoilt, and put right
 * again. The other suite, the fuzzer and the simulator rely on it. */
#include <criterion/criterion.h>

#include "transfer/core/sched_int.h"

enum { CHUNK = 1 << 20, CHUNKS = 130, HELD = 70 };
enum { WIRED, NEWCOMER, LEAF, GONE, PEERS_MAX = 8 }; /* neighbours */

#define WRONG(s, field, value)                                                                     \
    do {                                                                                           \
        __typeof__(field) was = (field);                                                           \
                                                                                                   \
        (field) = (value);                                                                         \
        cr_assert_not(sched_valid(s), "%s", #field " = " #value);                                  \
        (field) = was;                                                                             \
        cr_assert(sched_valid(s), "%s", #field " is as it was");                                   \
    } while (0)
#define OFF_BY_ONE(s, field)                                                                       \
    do {                                                                                           \
        WRONG(s, field, (field) + 1);                                                              \
        WRONG(s, field, (field)-1);                                                                \
    } while (0)

static void drain(struct sched *s, uint64_t now_ms)
{
    struct sched_act act;

    while (sched_next(s, now_ms, &act))
        cr_assert(sched_valid(s));
}

static struct sched *make(struct sched_cfg cfg, uint32_t held)
{
    struct chunkmap have;
    struct sched *s;

    cfg.chunks = CHUNKS;
    cfg.chunk_bytes = CHUNK;
    cfg.max_peers = PEERS_MAX;
    cr_assert_eq(chunkmap_init(&have, CHUNKS), 0);
    for (uint32_t c = 0; c < held; c++)
        chunkmap_set(&have, c);
    cr_assert_eq(sched_new(&cfg, &have, 0, &s), 0);
    chunkmap_free(&have);
    for (uint16_t i = WIRED; i <= GONE; i++) {
        uint16_t peer;

        cr_assert_eq(sched_peer_add(s, 0, i == LEAF ? SCHED_LEAF_THERE : SCHED_WIRED, &peer), 0);
        cr_assert_eq(peer, i);
    }
    sched_peer_gone(s, 0, GONE);
    drain(s, 0);
    return s;
}

/* The first chunk in flight is here. */
static uint32_t receive(struct sched *s, uint64_t now_ms)
{
    uint32_t chunk = s->inflight[0].chunk;

    cr_assert(sched_on_data(s, now_ms, WIRED, chunk, CHUNK));
    sched_on_received(s, now_ms, WIRED, chunk);
    return chunk;
}

/* Serves two, and waits for their word on a chunk; of its own chunks one is lost, one not
 * announced yet, one being verified, others in flight; a GRANT has no answer yet. */
static struct sched *receiver(void)
{
    struct sched *s = make((struct sched_cfg){.salt = 1}, HELD);

    for (uint32_t c = HELD - 10; c < CHUNKS - 1; c++)
        cr_assert_eq(sched_on_have(s, 1, WIRED, c), 0);
    for (uint32_t c = 0; c < 10; c++)
        cr_assert_eq(sched_on_have(s, 1, LEAF, c), 0);
    for (uint32_t c = HELD - 5; c < HELD; c++)
        cr_assert_eq(sched_on_have(s, 1, NEWCOMER, c), 0);
    for (uint32_t c = 20; c < 23; c++) {
        cr_assert_eq(sched_on_request(s, 1, NEWCOMER, c), 0);
        cr_assert_eq(sched_on_request(s, 1, LEAF, c), 0);
    }
    drain(s, 1);
    sched_on_sent(s, 2, NEWCOMER, 20, CHUNK, true);
    sched_on_sent(s, 2, LEAF, 20, CHUNK, true);
    sched_on_lost(s, 2, 30);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(sched_on_grant(s, 3, WIRED), 0);
        drain(s, 3);
    }
    sched_on_stored(s, 4, receive(s, 4), true);
    (void)receive(s, 4);
    cr_assert_eq(sched_on_grant(s, 4, WIRED), 0);
    cr_assert(sched_valid(s));
    cr_assert(s->log_n > 0 && s->active == 2 && s->uploads > 2 && s->unsure_n == 2);
    cr_assert(s->verifying == 1 && s->inflight_n > 1 && s->asks);
    return s;
}

/* Hands out first copies. */
static struct sched *source(void)
{
    struct sched *s = make((struct sched_cfg){.source = true, .salt = 1}, 0);
    struct sched_offer offer = s->nb[WIRED].offers[0];

    cr_assert(s->nb[WIRED].offers_n > 0);
    cr_assert_eq(sched_on_request(s, 1, WIRED, offer.chunk), 0);
    drain(s, 1);
    cr_assert(s->active == 1 && s->offered > 1 && sched_valid(s));
    return s;
}

static void map_wrong(struct sched *s, struct chunkmap *map)
{
    OFF_BY_ONE(s, map->count);
    OFF_BY_ONE(s, map->chunks);
    for (uint32_t bit = 0; bit < 3 * 64; bit++) /* those beyond the last chunk as well */
        WRONG(s, map->words[bit / 64], map->words[bit / 64] ^ UINT64_C(1) << bit % 64);
}

/* Its count goes with it. */
static void member_wrong(struct sched *s, struct chunkmap *map, uint32_t chunk)
{
    bool had = chunkmap_clear(map, chunk);

    if (!had)
        chunkmap_set(map, chunk);
    cr_assert_not(sched_valid(s), "chunk %u: %d", chunk, had);
    if (had)
        chunkmap_set(map, chunk);
    else
        chunkmap_clear(map, chunk);
    cr_assert(sched_valid(s));
}

static void maps_wrong(struct sched *s)
{
    map_wrong(s, &s->have);
    map_wrong(s, &s->lost);
    map_wrong(s, &s->wanted);
    map_wrong(s, &s->logged);
    map_wrong(s, &s->todo);
    map_wrong(s, &s->again);
    for (uint16_t i = WIRED; i <= LEAF; i++) {
        map_wrong(s, &s->nb[i].have);
        map_wrong(s, &s->nb[i].sent);
    }
    for (uint32_t c = 0; c < CHUNKS; c++) {
        member_wrong(s, &s->have, c);
        member_wrong(s, &s->lost, c);
        member_wrong(s, &s->wanted, c);
        member_wrong(s, &s->logged, c);
        for (uint16_t i = WIRED; i <= LEAF; i++) {
            member_wrong(s, &s->nb[i].have, c);
            member_wrong(s, &s->nb[i].sent, c);
        }
    }
}

static void chunks_wrong(struct sched *s)
{
    for (uint32_t c = 0; c < CHUNKS; c++) {
        OFF_BY_ONE(s, s->avail[c].all);
        OFF_BY_ONE(s, s->avail[c].wired);
        OFF_BY_ONE(s, s->avail[c].sent);
        OFF_BY_ONE(s, s->inflight_of[c]);
    }
    OFF_BY_ONE(s, s->spread);
    OFF_BY_ONE(s, s->sole);
}

/* Chunk is held, lost or in flight, and in map as well, instead of one that is nothing now. */
static void two_states_wrong(struct sched *s, struct chunkmap *map, uint32_t chunk)
{
    uint32_t none = chunkmap_next(&s->wanted, 0);
    uint32_t more = map == &s->have;

    chunkmap_clear(&s->wanted, none);
    cr_assert(chunkmap_set(map, chunk));
    s->nb[NEWCOMER].lacks += more;
    s->nb[LEAF].lacks += more;
    cr_assert_not(sched_valid(s));
    s->nb[NEWCOMER].lacks -= more;
    s->nb[LEAF].lacks -= more;
    chunkmap_clear(map, chunk);
    chunkmap_set(&s->wanted, none);
    cr_assert(sched_valid(s));
}

/* A leaf has said that it has a chunk, whose word we wait for all the same. */
static void have_and_sent_wrong(struct sched *s)
{
    struct sched_sent *e = &s->unsure[s->unsure_first + s->unsure_n++];

    *e = (struct sched_sent){.chunk = 0, .peer = LEAF};
    cr_assert(chunkmap_has(&s->nb[LEAF].have, e->chunk));
    chunkmap_set(&s->nb[LEAF].sent, e->chunk);
    s->avail[e->chunk].sent++;
    cr_assert_not(sched_valid(s));
    s->avail[e->chunk].sent--;
    chunkmap_clear(&s->nb[LEAF].sent, e->chunk);
    s->unsure_n--;
    cr_assert(sched_valid(s));
}

/* One too few here, one too many there. */
static void wired_wrong(struct sched *s)
{
    cr_assert_eq(s->avail[HELD - 1].wired, 2);
    s->avail[HELD - 1].wired--;
    s->avail[HELD - 2].wired++;
    cr_assert_not(sched_valid(s));
    s->avail[HELD - 1].wired++;
    s->avail[HELD - 2].wired--;
    cr_assert(sched_valid(s));
}

static void upload_wrong(struct sched *s, struct sched_upload *u)
{
    WRONG(s, u->state, SCHED_UP_FREE);
    WRONG(s, u->state, u->state == SCHED_UP_ACTIVE ? SCHED_UP_QUEUED : SCHED_UP_ACTIVE);
    WRONG(s, u->state, SCHED_UP_REFUSED);
    WRONG(s, u->peer, GONE);
    WRONG(s, u->peer, u->peer == WIRED ? NEWCOMER : WIRED);
    WRONG(s, u->lacked, !u->lacked);
    WRONG(s, u->offered, !u->offered);
    OFF_BY_ONE(s, u->prev);
    WRONG(s, u->next, s->upload_first);
    WRONG(s, u->next, s->upload_free);
}

static void uploads_wrong(struct sched *s)
{
    for (uint16_t at = s->upload_first; at != SCHED_NO_ENTRY; at = s->upload[at].next)
        upload_wrong(s, &s->upload[at]);
    for (uint16_t at = s->upload_free; at != SCHED_NO_ENTRY; at = s->upload[at].next) {
        WRONG(s, s->upload[at].state, SCHED_UP_QUEUED);
        WRONG(s, s->upload[at].next, at);
        WRONG(s, s->upload[at].next, s->upload_first);
    }
    OFF_BY_ONE(s, s->upload_first);
    OFF_BY_ONE(s, s->upload_last);
    OFF_BY_ONE(s, s->upload_free);
    OFF_BY_ONE(s, s->uploads);
    OFF_BY_ONE(s, s->active);
    OFF_BY_ONE(s, s->refused);
}

static void neighbour_wrong(struct sched *s, struct sched_nb *nb)
{
    WRONG(s, nb->live, false);
    WRONG(s, nb->told, s->log_n + 1);
    OFF_BY_ONE(s, nb->lacks);
    OFF_BY_ONE(s, nb->due);
    OFF_BY_ONE(s, nb->queued);
    OFF_BY_ONE(s, nb->active);
    OFF_BY_ONE(s, nb->asked);
    WRONG(s, nb->granted, !nb->granted);
    WRONG(s, nb->offers_n, SCHED_OFFERS_KEPT + 1);
    for (int i = 0; i < nb->offers_n; i++)
        WRONG(s, nb->offers[i].revoked, !nb->offers[i].revoked);
    OFF_BY_ONE(s, nb->offered);
    WRONG(s, nb->asks_n, nb->asks_n ? 0 : 1);
    WRONG(s, nb->asks_n, SCHED_ASKS_PEER + 1);
    OFF_BY_ONE(s, nb->requests);
    if (nb->requests == 0)
        WRONG(s, nb->stalled, true);
}

static void neighbours_wrong(struct sched *s)
{
    for (uint16_t i = WIRED; i <= LEAF; i++) {
        neighbour_wrong(s, &s->nb[i]);
        WRONG(s, s->live, s->live ^ sched_bit(i));
        WRONG(s, s->asks, s->asks ^ sched_bit(i));
        if (!s->nb[i].granted)
            WRONG(s, s->granting, s->granting | sched_bit(i));
        if (s->nb[i].have.count + s->nb[i].sent.count > 0)
            WRONG(s, s->nb[i].leaf, !s->nb[i].leaf);
    }
    WRONG(s, s->nb[GONE].live, true);
    WRONG(s, s->live, s->live | sched_bit(GONE));
    WRONG(s, s->flushing, s->flushing | sched_bit(GONE));
    WRONG(s, s->greet, s->greet | sched_bit(GONE));
    WRONG(s, s->complete, s->complete | sched_bit(GONE));
    WRONG(s, s->asks, s->asks | sched_bit(GONE));
    WRONG(s, s->owed, s->owed | sched_bit(GONE));
    WRONG(s, s->granting, s->granting | sched_bit(GONE));
    OFF_BY_ONE(s, s->offered);
    OFF_BY_ONE(s, s->granted);
}

static void inflight_wrong(struct sched *s)
{
    for (uint16_t i = 0; i < s->inflight_n; i++) {
        struct sched_inflight *f = &s->inflight[i];

        OFF_BY_ONE(s, f->chunk);
        WRONG(s, f->chunk, CHUNKS);
        OFF_BY_ONE(s, f->sources);
        WRONG(s, f->sources, SCHED_SOURCES_MAX + 1);
        WRONG(s, f->verifying, !f->verifying);
        WRONG(s, f->from[0], GONE);
        WRONG(s, f->from[1], GONE);
        if (f->sources > 0)
            WRONG(s, f->source[0].peer, GONE);
        if (f->sources > 0)
            WRONG(s, f->source[0].peer, NEWCOMER);
    }
    OFF_BY_ONE(s, s->inflight_n);
    OFF_BY_ONE(s, s->verifying);
}

/* A request that is counted, where there should be none or another. */
static void source_wrong(struct sched *s, struct sched_inflight *f)
{
    f->source[f->sources++] = (struct sched_source){.peer = WIRED};
    s->nb[WIRED].requests++;
    cr_assert_not(sched_valid(s));
    s->nb[WIRED].requests--;
    f->sources--;
    cr_assert(sched_valid(s));
}

static void no_source_wrong(struct sched *s, struct sched_inflight *f)
{
    f->sources--;
    s->nb[WIRED].requests--;
    cr_assert_not(sched_valid(s));
    s->nb[WIRED].requests++;
    f->sources++;
    cr_assert(sched_valid(s));
}

static void sent_wrong(struct sched *s)
{
    for (uint32_t i = 0; i < s->unsure_n; i++) {
        struct sched_sent *e = &s->unsure[(s->unsure_first + i) % SCHED_UNCONFIRMED_MAX];

        WRONG(s, e->chunk, e->chunk + 1);
        WRONG(s, e->peer, SCHED_NO_ENTRY);
        WRONG(s, e->peer, WIRED);
    }
    if (s->unsure_n > 0)
        OFF_BY_ONE(s, s->unsure_first);
    WRONG(s, s->unsure_first, s->unsure_first + SCHED_UNCONFIRMED_MAX);
    WRONG(s, s->unsure_n, s->unsure_n - 1);
    WRONG(s, s->unsure_n, SCHED_UNCONFIRMED_MAX + 1);
}

static void log_wrong(struct sched *s)
{
    for (uint32_t i = 0; i < s->log_n; i++) {
        WRONG(s, s->log[i].chunk, 0);
        WRONG(s, s->log[i].from[0], GONE);
        WRONG(s, s->log[i].from[1], GONE);
    }
    OFF_BY_ONE(s, s->log_n);
    WRONG(s, s->flush_len, s->log_n + 1);
}

static void rest_wrong(struct sched *s)
{
    WRONG(s, s->ring_n, s->ring_max + 1);
    WRONG(s, s->cursor, CHUNKS);
    WRONG(s, s->up.running, !s->up.running);
    WRONG(s, s->down.running, !s->down.running);
}

static void all_wrong(struct sched *s)
{
    maps_wrong(s);
    chunks_wrong(s);
    uploads_wrong(s);
    neighbours_wrong(s);
    inflight_wrong(s);
    sent_wrong(s);
    log_wrong(s);
    rest_wrong(s);
    sched_free(s);
}

Test(sched_valid, finds_what_is_wrong_in_a_receiver)
{
    all_wrong(receiver());
}

Test(sched_valid, finds_what_is_wrong_in_a_source)
{
    all_wrong(source());
}

Test(sched_valid, finds_what_numbers_hide)
{
    struct sched *s = receiver();
    struct sched_inflight *verified = &s->inflight[0], *asked = &s->inflight[s->inflight_n - 1];

    cr_assert(verified->verifying && asked->sources == 1);
    two_states_wrong(s, &s->wanted, 0);
    two_states_wrong(s, &s->lost, 0);
    two_states_wrong(s, &s->wanted, 30);
    two_states_wrong(s, &s->wanted, asked->chunk);
    two_states_wrong(s, &s->lost, asked->chunk);
    two_states_wrong(s, &s->have, asked->chunk);
    have_and_sent_wrong(s);
    wired_wrong(s);
    source_wrong(s, verified);
    source_wrong(s, asked);
    no_source_wrong(s, asked);
    sched_free(s);
}

Test(sched_valid, sums_are_right_for_any_number_of_neighbours)
{
    struct sched_cfg cfg = {
        .chunks = CHUNKS, .chunk_bytes = CHUNK, .max_peers = SCHED_PEERS_MAX, .salt = 1};
    struct sched *s;
    uint16_t peer;

    cr_assert_eq(sched_new(&cfg, NULL, 0, &s), 0);
    for (int i = 0; i < SCHED_PEERS_MAX; i++) {
        cr_assert_eq(sched_peer_add(s, 0, i % 3 ? SCHED_WIRED : SCHED_LEAF_THERE, &peer), 0);
        for (uint32_t c = (uint32_t)i; c < CHUNKS; c++)
            cr_assert_eq(sched_on_have(s, 0, peer, c), 0);
        cr_assert(sched_valid(s));
    }
    chunks_wrong(s);
    sched_free(s);
}
