#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "transfer/core/sched.h"

enum { CHUNK = 1 << 20, ACTS = 4096 };

/* What one sched said, in order. */
struct said {
    struct sched_act act[ACTS];
    size_t n;
};

static struct said *drain(struct sched *s, uint64_t now_ms)
{
    static struct said said;

    said.n = 0;
    while (sched_next(s, now_ms, &said.act[said.n])) {
        cr_assert(sched_valid(s));
        cr_assert_lt(++said.n, ACTS, "sched_next() does not end");
    }
    cr_assert(sched_valid(s));
    return &said;
}

static size_t count(const struct said *said, enum sched_act_type type, int peer)
{
    size_t n = 0;

    for (size_t i = 0; i < said->n; i++)
        n += said->act[i].type == type && (peer < 0 || said->act[i].peer == peer);
    return n;
}

static const struct sched_act *find(const struct said *said, enum sched_act_type type, int peer)
{
    for (size_t i = 0; i < said->n; i++)
        if (said->act[i].type == type && (peer < 0 || said->act[i].peer == peer))
            return &said->act[i];
    return NULL;
}

static struct sched *make(struct sched_cfg cfg, const struct chunkmap *have)
{
    struct sched *s;

    if (!cfg.chunk_bytes)
        cfg.chunk_bytes = CHUNK;
    if (!cfg.max_peers)
        cfg.max_peers = 40;
    cr_assert_eq(sched_new(&cfg, have, 0, &s), 0);
    return s;
}

/* A receiver that holds chunks 0..have-1. */
static struct sched *peer_with(uint32_t chunks, uint32_t have)
{
    struct chunkmap m;
    struct sched *s;

    cr_assert_eq(chunkmap_init(&m, chunks), 0);
    for (uint32_t c = 0; c < have; c++)
        chunkmap_set(&m, c);
    s = make((struct sched_cfg){.chunks = chunks, .salt = 1}, &m);
    chunkmap_free(&m);
    return s;
}

static uint16_t add_route(struct sched *s, uint64_t now_ms, unsigned route)
{
    uint16_t peer;

    cr_assert_eq(sched_peer_add(s, now_ms, route, &peer), 0);
    return peer;
}

static uint16_t add(struct sched *s, uint64_t now_ms)
{
    return add_route(s, now_ms, SCHED_WIRED);
}

/* A neighbour that has it all. */
static uint16_t add_source(struct sched *s)
{
    uint16_t peer = add(s, 0);

    cr_assert_eq(sched_on_complete(s, 0, peer), 0);
    return peer;
}

static uint16_t add_leaf(struct sched *s, uint64_t now_ms)
{
    return add_route(s, now_ms, SCHED_LEAF_THERE);
}

static void granted(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    cr_assert_eq(sched_on_grant(s, now_ms, peer), 0);
}

/* GRANT in: the chunk asked for, or UINT32_MAX after a PASS. */
static uint32_t ask(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    const struct sched_act *act;
    struct said *said;

    granted(s, now_ms, peer);
    said = drain(s, now_ms);
    act = find(said, SCHED_SEND_REQUEST, peer);
    cr_assert(act || find(said, SCHED_SEND_PASS, peer));
    return act ? act->chunk : UINT32_MAX;
}

static void receive(struct sched *s, uint64_t now_ms, uint16_t peer, uint32_t chunk)
{
    cr_assert(sched_on_data(s, now_ms, peer, chunk, CHUNK));
    sched_on_received(s, now_ms, peer, chunk);
    sched_on_stored(s, now_ms, chunk, true);
}

Test(sched, new_refuses_nonsense)
{
    struct sched_cfg cfg = {.chunks = 8, .chunk_bytes = CHUNK, .max_peers = 65};
    struct chunkmap other;
    struct sched *s;

    cr_assert_eq(sched_new(&cfg, NULL, 0, &s), -EINVAL);
    cr_assert_null(s);
    cfg.max_peers = 64;
    cfg.chunk_bytes = 0;
    cr_assert_eq(sched_new(&cfg, NULL, 0, &s), -EINVAL);
    cfg.chunk_bytes = CHUNK;
    cr_assert_eq(chunkmap_init(&other, 9), 0);
    cr_assert_eq(sched_new(&cfg, &other, 0, &s), -EINVAL);
    chunkmap_free(&other);
    sched_free(NULL);
}

Test(sched, a_share_of_empty_files_has_nothing_to_do_but_say_so)
{
    for (unsigned source = 0; source < 2; source++) {
        struct sched *s =
            make((struct sched_cfg){.chunks = 0, .max_peers = 2, .source = source}, NULL);
        struct sched_act act;
        struct sched_stat st;
        uint16_t a = add(s, 0);

        for (uint64_t now = 0; now < 5000; now += 10)
            while (sched_next(s, now, &act))
                cr_assert(act.type == SCHED_SEND_COMPLETE || act.type == SCHED_SEND_MAP);
        cr_assert_eq(sched_on_complete(s, 5000, a), 0);
        cr_assert(chunkmap_full(sched_have(s)));
        cr_assert_not(sched_needed(s));
        sched_stat(s, &st);
        cr_assert_eq(st.spread, 0);
        cr_assert(sched_valid(s));
        sched_free(s);
    }
}

Test(sched, uses_peer_numbers_again_and_has_a_limit)
{
    struct sched *s = make((struct sched_cfg){.chunks = 4, .max_peers = 2}, NULL);
    uint16_t a = add(s, 0), b = add(s, 0), c;

    cr_assert_neq(a, b);
    cr_assert_eq(sched_peer_add(s, 0, SCHED_WIRED, &c), ERR_LIMIT);
    cr_assert_eq(sched_on_complete(s, 0, a), 0);
    sched_peer_gone(s, 0, a);
    cr_assert_eq(add(s, 0), a);
    cr_assert_eq(ask(s, 0, a), UINT32_MAX, "a new neighbour holds nothing");
    sched_free(s);
}

Test(sched, tells_a_new_neighbour_what_it_holds)
{
    struct sched *none = peer_with(4, 0), *some = peer_with(4, 2), *all = peer_with(4, 4);
    struct sched *sources = make((struct sched_cfg){.chunks = 4, .source = true}, NULL);

    add(none, 0);
    add(some, 0);
    add(all, 0);
    add(sources, 0);
    cr_assert_eq(drain(none, 0)->n, 0);
    cr_assert_eq(count(drain(some, 0), SCHED_SEND_MAP, 0), 1);
    cr_assert_eq(count(drain(all, 0), SCHED_SEND_COMPLETE, 0), 1);
    cr_assert_eq(count(drain(sources, 0), SCHED_SEND_COMPLETE, 0), 0, "its cursor still runs");
    sched_free(none);
    sched_free(some);
    sched_free(all);
    sched_free(sources);
}

Test(sched, asks_for_the_rarest_chunk)
{
    struct sched *s = peer_with(8, 0);
    uint16_t a = add(s, 0), b = add(s, 0);

    for (uint32_t c = 0; c < 8; c++)
        cr_assert_eq(sched_on_have(s, 0, a, c), 0);
    for (uint32_t c = 0; c < 8; c++)
        if (c != 5)
            cr_assert_eq(sched_on_have(s, 0, b, c), 0);
    cr_assert_eq(ask(s, 0, a), 5);
    sched_free(s);
}

Test(sched, asks_at_random_among_equals)
{
    uint32_t seen = 0;

    for (uint64_t salt = 0; salt < 200; salt++) {
        struct sched *s = make((struct sched_cfg){.chunks = 8, .salt = salt}, NULL);
        uint16_t a = add_source(s);

        seen |= 1U << ask(s, 0, a);
        sched_free(s);
    }
    cr_assert_eq(seen, 0xff);
}

Test(sched, never_asks_twice_for_a_chunk_while_others_are_missing)
{
    struct sched *s = peer_with(4, 0);
    uint16_t a = add_source(s), b = add(s, 0);
    uint32_t first;

    first = ask(s, 0, a);
    cr_assert_eq(sched_on_have(s, 0, b, first), 0);
    cr_assert_eq(ask(s, 0, b), UINT32_MAX);
    sched_free(s);
}

/* HAVE: ahead of a GRANT, else after 10 ms, in a row, to those who may not know and to
 * whom it came from. */
Test(sched, announces_in_batches_to_those_who_lack)
{
    struct sched *s = peer_with(8, 0);
    uint16_t a = add_source(s), b = add(s, 0), other = add_source(s);
    struct said *said;
    uint32_t c, d;

    c = ask(s, 0, a);
    d = ask(s, 0, a);
    receive(s, 100, a, c);
    receive(s, 105, a, d);
    said = drain(s, 105);
    cr_assert_eq(count(said, SCHED_SEND_HAVE, b), 2);
    cr_assert_eq(count(said, SCHED_SEND_HAVE, -1), 2);
    cr_assert_eq(said->act[said->n - 1].type, SCHED_SEND_GRANT, "it chooses among what it knows");
    cr_assert_eq(said->act[said->n - 1].peer, b);
    cr_assert_leq(sched_deadline_ms(s), 110);
    said = drain(s, 110);
    cr_assert_eq(count(said, SCHED_SEND_HAVE, b), 0);
    cr_assert_eq(count(said, SCHED_SEND_HAVE, a), 2, "it does not know that they arrived");
    cr_assert_eq(count(said, SCHED_SEND_HAVE, other), 0);
    cr_assert_eq(count(drain(s, 200), SCHED_SEND_HAVE, -1), 0);
    sched_free(s);
}

/* Who heard of a chunk ahead of a GRANT hears of it again, if it was lost meanwhile. */
Test(sched, announces_again_what_was_lost_and_found)
{
    struct sched *s = peer_with(8, 0);
    uint16_t a = add_source(s), b = add(s, 0);
    uint32_t c;

    c = ask(s, 0, a);
    receive(s, 100, a, c);
    cr_assert_eq(count(drain(s, 100), SCHED_SEND_HAVE, b), 1);
    sched_on_lost(s, 101, c);
    sched_on_stored(s, 102, c, true);
    cr_assert_eq(count(drain(s, 110), SCHED_SEND_HAVE, b), 1);
    sched_free(s);
}

/* The number of whoever sent a chunk may be another's by the time of the flush. */
Test(sched, confirms_to_the_sender_alone)
{
    struct sched *s = peer_with(8, 0);
    uint16_t a = add_source(s), b;

    receive(s, 1, a, ask(s, 1, a));
    sched_peer_gone(s, 2, a);
    b = add(s, 2);
    cr_assert_eq(a, b);
    cr_assert_eq(sched_on_complete(s, 2, b), 0);
    cr_assert_eq(count(drain(s, 20), SCHED_SEND_HAVE, b), 0);
    sched_free(s);
}

/* The slower of two sources may have sent all when it reads our CANCEL. */
Test(sched, confirms_to_a_cancelled_source_as_well)
{
    struct sched *s = peer_with(8, 6);
    uint16_t a = add_source(s), b = add(s, 0);
    uint32_t c;

    cr_assert_eq(ask(s, 0, a) != UINT32_MAX, true);
    c = ask(s, 0, a);
    cr_assert_eq(sched_on_have(s, 0, b, c), 0);
    cr_assert_eq(ask(s, 0, b), c);
    receive(s, 1, a, c);
    drain(s, 1);
    cr_assert_eq(count(drain(s, 20), SCHED_SEND_HAVE, b), 1);
    sched_free(s);
}

Test(sched, says_complete_to_all_when_the_last_chunk_is_stored)
{
    struct sched *s = peer_with(2, 1);
    uint16_t a = add_source(s), b = add(s, 0);
    struct said *said;

    drain(s, 0);
    receive(s, 1, a, ask(s, 0, a));
    said = drain(s, 1);
    cr_assert_eq(count(said, SCHED_SEND_COMPLETE, a), 1);
    cr_assert_eq(count(said, SCHED_SEND_COMPLETE, b), 1);
    cr_assert_eq(count(drain(s, 100), SCHED_SEND_HAVE, -1), 0, "COMPLETE said it all");
    sched_free(s);
}

Test(sched, a_chunk_that_fails_its_check_is_wanted_again)
{
    struct sched *s = peer_with(1, 0);
    uint16_t a = add_source(s);

    cr_assert_eq(ask(s, 0, a), 0);
    cr_assert(sched_on_data(s, 1, a, 0, CHUNK));
    sched_on_received(s, 1, a, 0);
    sched_on_stored(s, 2, 0, false);
    cr_assert_eq(ask(s, 3, a), 0);
    sched_free(s);
}

Test(sched, grants_serves_and_learns_who_has_what)
{
    struct sched *s = peer_with(4, 4);
    uint16_t a = add(s, 0);
    struct said *said = drain(s, 0);

    cr_assert_eq(count(said, SCHED_SEND_GRANT, a), 1, "one unanswered GRANT a neighbour");
    cr_assert_eq(sched_on_request(s, 1, a, 2), 0);
    cr_assert_eq(sched_on_request(s, 1, a, 3), 0);
    said = drain(s, 1);
    cr_assert_eq(count(said, SCHED_UPLOAD, a), 1, "one chunk a connection at a time");
    cr_assert_eq(find(said, SCHED_UPLOAD, a)->chunk, 2);
    sched_on_sent(s, 9, a, 2, CHUNK, true);
    cr_assert_eq(find(drain(s, 9), SCHED_UPLOAD, a)->chunk, 3);
    sched_on_sent(s, 18, a, 3, CHUNK, true);
    for (uint32_t c = 2; c < 4; c++)
        cr_assert_eq(sched_on_have(s, 18, a, c), 0);
    cr_assert_eq(sched_on_have(s, 18, a, 0), 0);
    cr_assert_eq(sched_on_have(s, 18, a, 1), 0);
    cr_assert_not(sched_needed(s));
    cr_assert_eq(count(drain(s, 5000), SCHED_SEND_GRANT, -1), 0);
    cr_assert_eq(sched_deadline_ms(s), SCHED_NEVER, "idle costs nothing");
    sched_free(s);
}

Test(sched, cancel_stops_an_upload)
{
    struct sched *s = peer_with(4, 4);
    uint16_t a = add(s, 0);
    struct said *said;

    cr_assert_eq(sched_on_request(s, 0, a, 1), 0);
    drain(s, 0);
    cr_assert_eq(sched_on_cancel(s, 1, a, 1), 0);
    said = drain(s, 1);
    cr_assert_eq(count(said, SCHED_UPLOAD_STOP, a), 1);
    cr_assert_eq(sched_on_cancel(s, 1, a, 1), 0, "crossing messages are no error");
    cr_assert_eq(drain(s, 1)->n, 0);
    sched_free(s);
}

Test(sched, what_cannot_be_is_a_protocol_error)
{
    struct sched *s = peer_with(4, 2);
    uint16_t a = add(s, 0);
    struct chunkmap m;

    cr_assert_eq(chunkmap_init(&m, 5), 0);
    cr_assert_eq(sched_on_request(s, 0, a, 3), ERR_PROTOCOL);
    cr_assert_eq(sched_on_request(s, 0, a, 4), ERR_PROTOCOL);
    cr_assert_eq(sched_on_have(s, 0, a, 4), ERR_PROTOCOL);
    cr_assert_eq(sched_on_offer(s, 0, a, 4), ERR_PROTOCOL);
    cr_assert_eq(sched_on_revoke(s, 0, a, 4), ERR_PROTOCOL);
    cr_assert_eq(sched_on_cancel(s, 0, a, 4), ERR_PROTOCOL);
    cr_assert_eq(sched_on_map(s, 0, a, &m), ERR_PROTOCOL);
    cr_assert_eq(sched_on_grant(s, 0, 7), ERR_PROTOCOL);
    cr_assert_not(sched_on_data(s, 0, a, 99, 1));
    chunkmap_free(&m);
    sched_free(s);
}

Test(sched, floods_end_in_an_error_not_in_memory)
{
    struct sched *s = peer_with(64, 64);
    uint16_t a = add(s, 0);
    uint32_t taken = 0, asked = 0;

    while (taken < 64 && sched_on_request(s, 0, a, taken) == 0)
        taken++;
    cr_assert_eq(taken, 22);
    while (asked < 1000 && sched_on_grant(s, 0, a) == 0)
        asked++;
    cr_assert_eq(asked, 32);
    cr_assert(sched_valid(s));
    sched_free(s);
}

/* Trap 1: a GRANT that nobody answers gives its place to others. */
Test(sched, trap1_grants_to_the_dead_expire)
{
    struct sched *s = peer_with(64, 64);
    struct said *said;
    size_t granted_first;

    for (int i = 0; i < 8; i++)
        add(s, 0);
    granted_first = count(drain(s, 0), SCHED_SEND_GRANT, -1);
    cr_assert_eq(granted_first, 4, "S + G");
    cr_assert_leq(sched_deadline_ms(s), 30);
    cr_assert_eq(count(drain(s, 29), SCHED_SEND_GRANT, -1), 0);
    said = drain(s, 30);
    cr_assert_eq(count(said, SCHED_SEND_GRANT, -1), 4);
    sched_free(s);
}

Test(sched, trap1_a_late_request_is_honoured)
{
    struct sched *s = peer_with(64, 64);
    uint16_t a = add(s, 0);

    cr_assert_eq(count(drain(s, 0), SCHED_SEND_GRANT, a), 1);
    cr_assert_eq(count(drain(s, 40), SCHED_SEND_GRANT, a), 0, "backed off");
    cr_assert_eq(sched_on_request(s, 45, a, 9), 0);
    cr_assert_eq(count(drain(s, 45), SCHED_UPLOAD, a), 1);
    sched_free(s);
}

/* Trap 1: offers to the dead go to the living, told by a REVOKE. */
Test(sched, trap1_offers_to_the_dead_are_revoked_and_offered_again)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64, .source = true}, NULL);
    uint16_t dead = add(s, 0), live;
    struct said *said = drain(s, 0);
    uint32_t lost = find(said, SCHED_SEND_OFFER, dead)->chunk;

    cr_assert_eq(count(said, SCHED_SEND_OFFER, dead), 2, "PS");
    live = add(s, 1);
    drain(s, 1);
    cr_assert_eq(sched_on_request(s, 2, live, 2), 0);
    cr_assert_eq(sched_on_request(s, 2, live, 3), 0);
    said = drain(s, 30);
    cr_assert_eq(count(said, SCHED_SEND_REVOKE, dead), 2);
    cr_assert_eq(count(said, SCHED_SEND_OFFER, dead), 0, "backed off");
    sched_on_sent(s, 40, live, 2, CHUNK, true);
    sched_peer_gone(s, 40, dead);
    for (uint64_t now = 41; now < 60; now++) {
        said = drain(s, now);
        for (size_t i = 0; i < said->n; i++) {
            if (said->act[i].type == SCHED_SEND_OFFER && said->act[i].chunk == lost)
                goto again;
            if (said->act[i].type == SCHED_SEND_OFFER)
                cr_assert_eq(sched_on_request(s, now, live, said->act[i].chunk), 0);
            else if (said->act[i].type == SCHED_UPLOAD)
                sched_on_sent(s, now, live, said->act[i].chunk, CHUNK, true);
        }
    }
    cr_assert_fail("chunk %u was never offered again", lost);
again:
    sched_free(s);
}

/* The REQUEST that crosses our REVOKE starts nothing: the peer drops the chunk. */
Test(sched, a_request_that_crosses_the_revoke_is_not_served)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64, .source = true}, NULL);
    uint16_t a = add(s, 0);
    uint32_t c = find(drain(s, 0), SCHED_SEND_OFFER, a)->chunk;
    struct said *said;

    drain(s, 40);
    cr_assert_eq(sched_on_request(s, 41, a, c), 0);
    said = drain(s, 41);
    cr_assert_eq(count(said, SCHED_UPLOAD, a), 0);
    cr_assert_geq(count(said, SCHED_SEND_OFFER, a), 1, "alive: no reason to wait");
    sched_free(s);
}

/* A peer that reads nothing for STALL loses its first copies. */
Test(sched, trap1_a_stuck_upload_of_a_first_copy_is_taken_back)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64, .source = true}, NULL);
    uint16_t a = add(s, 0);
    struct said *said = drain(s, 0);

    for (uint32_t c = 0; c < 2; c++)
        cr_assert_eq(sched_on_request(s, 1, a, c), 0);
    drain(s, 1);
    cr_assert_eq(count(drain(s, 250), SCHED_SEND_REVOKE, a), 0);
    said = drain(s, 252);
    cr_assert_eq(count(said, SCHED_SEND_REVOKE, a), 2);
    cr_assert_eq(count(said, SCHED_UPLOAD_STOP, a), 1);
    sched_free(s);
}

/* Trap 2: a slow peer is measured and then left alone. */
Test(sched, trap2_first_copies_avoid_a_slow_peer)
{
    struct sched *s = make((struct sched_cfg){.chunks = 2000, .source = true}, NULL);
    uint64_t due[5] = {0};
    uint32_t chunk[5] = {0}, offers[5] = {0};

    for (int i = 0; i < 5; i++)
        add(s, 0);
    for (uint64_t now = 1; now < 1500; now++) {
        struct said *said;

        for (uint16_t p = 0; p < 5; p++)
            if (due[p] && now >= due[p]) {
                due[p] = 0;
                sched_on_sent(s, now, p, chunk[p], CHUNK, true);
            }
        said = drain(s, now);
        for (size_t i = 0; i < said->n; i++) {
            const struct sched_act act = said->act[i];

            if (act.type == SCHED_SEND_OFFER) {
                offers[act.peer]++;
                cr_assert_eq(sched_on_request(s, now, act.peer, act.chunk), 0);
            } else if (act.type == SCHED_UPLOAD) {
                chunk[act.peer] = act.chunk;
                due[act.peer] = now + (act.peer == 0 ? 200 : 10);
                sched_on_blocked(s, now, act.peer, act.peer == 0);
            }
        }
    }
    cr_assert_leq(offers[0], 4, "%u", offers[0]);
    cr_assert_gt(offers[1], 50, "%u", offers[1]);
    sched_free(s);
}

/* Trap 3: near the end a chunk comes from two, and one is cancelled. */
Test(sched, trap3_endgame_takes_a_second_source_and_cancels_it)
{
    struct sched *s = peer_with(2, 1);
    uint16_t a = add_source(s), b = add_source(s), c = add_source(s);
    struct sched_stat st;
    struct said *said;

    drain(s, 0);
    cr_assert_eq(ask(s, 0, a), 1);
    cr_assert_eq(ask(s, 0, a), UINT32_MAX, "not twice of the same");
    cr_assert_eq(ask(s, 0, b), 1);
    cr_assert_eq(ask(s, 0, c), UINT32_MAX, "never more than two");
    cr_assert(sched_on_data(s, 5, b, 1, 1000));
    receive(s, 6, a, 1);
    said = drain(s, 6);
    cr_assert_eq(find(said, SCHED_SEND_CANCEL, b)->chunk, 1);
    cr_assert_eq(count(said, SCHED_SEND_CANCEL, -1), 1);
    cr_assert_not(sched_on_data(s, 7, b, 1, 500), "late bytes");
    sched_stat(s, &st);
    cr_assert_eq(st.duplicate_bytes, 1500);
    sched_free(s);
}

Test(sched, trap3_no_second_source_for_what_is_nearly_there)
{
    struct sched *s = peer_with(2, 1);
    uint16_t a = add_source(s), b = add_source(s);

    drain(s, 0);
    cr_assert_eq(ask(s, 0, a), 1);
    cr_assert(sched_on_data(s, 5, a, 1, CHUNK / 4 * 3));
    cr_assert_eq(ask(s, 6, b), UINT32_MAX);
    sched_free(s);
}

/* Stores chunks from peer, ms apart each: sets what the node thinks of the network. */
static void receive_at_pace(struct sched *s, uint64_t *now_ms, uint16_t peer, uint64_t ms)
{
    for (int i = 0; i < 8; i++) {
        uint32_t c = ask(s, *now_ms, peer);

        *now_ms += ms;
        receive(s, *now_ms, peer, c);
    }
}

/* Trap 4: what is a stall depends on how long a chunk takes. */
Test(sched, trap4_stall_grows_with_the_service_time)
{
    static const uint64_t pace_ms[2] = {5, 100};

    for (int slow = 0; slow < 2; slow++) {
        struct sched *s = peer_with(64, 0);
        uint16_t a = add(s, 0), b = add(s, 0);
        uint64_t now = 1;
        uint32_t c;

        for (uint32_t i = 0; i < 32; i++)
            cr_assert_eq(sched_on_have(s, 0, a, i), 0);
        receive_at_pace(s, &now, a, pace_ms[slow]);
        c = ask(s, now, a);
        cr_assert_eq(sched_on_have(s, now, b, c), 0);
        drain(s, now + 260);
        cr_assert_eq(ask(s, now + 320, b), slow ? UINT32_MAX : c, "pace %lu ms",
                     (unsigned long)pace_ms[slow]);
        drain(s, now + 1300);
        cr_assert_eq(ask(s, now + 1400, b), slow ? c : UINT32_MAX);
        sched_free(s);
    }
}

/* Trap 5: neither the neediest nor the least served, but chance. */
Test(sched, trap5_grants_go_to_anybody_needy)
{
    uint32_t first[4] = {0};

    for (uint64_t salt = 0; salt < 400; salt++) {
        struct sched *s =
            make((struct sched_cfg){.chunks = 32, .source = false, .salt = salt}, NULL);

        for (uint32_t c = 0; c < 32; c++)
            sched_on_stored(s, 0, c, true);
        for (uint16_t i = 0; i < 4; i++) {
            uint16_t p = add(s, 0);

            for (uint32_t c = 0; c < 8U * i; c++)
                cr_assert_eq(sched_on_have(s, 0, p, c), 0);
        }
        first[find(drain(s, 0), SCHED_SEND_GRANT, -1)->peer]++;
        sched_free(s);
    }
    for (int i = 0; i < 4; i++)
        cr_assert(first[i] > 60 && first[i] < 140, "neighbour %d: %u of 400", i, first[i]);
}

/* Trap 7: with all neighbours backed off, the timer wakes the uploader. */
Test(sched, trap7_a_deadline_is_set_while_all_are_backed_off)
{
    struct sched *s = peer_with(8, 8);
    uint16_t a = add(s, 0);
    uint64_t now = 0, last = 0;

    cr_assert_eq(count(drain(s, now), SCHED_SEND_GRANT, a), 1);
    for (int i = 0; i < 12; i++) {
        cr_assert_eq(sched_on_pass(s, now, a, SCHED_PASS_FULL), 0);
        cr_assert_eq(drain(s, now)->n, 0);
        last = sched_deadline_ms(s);
        cr_assert_gt(last, now);
        cr_assert_leq(last, now + 38, "30 ms and a quarter");
        now = last;
        cr_assert_eq(count(drain(s, now), SCHED_SEND_GRANT, a), 1);
    }
    sched_free(s);
}

static uint32_t requests_of(struct sched *s, uint32_t grants)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < grants; i++) {
        uint16_t p = add_source(s);

        n += ask(s, 0, p) != UINT32_MAX;
    }
    return n;
}

/* Every GRANT is refused; how many come until until_ms? */
static uint32_t grants_until(struct sched *s, uint64_t *now_ms, uint64_t until_ms,
                             enum sched_pass pass)
{
    uint32_t n = 0;

    for (; *now_ms < until_ms; ++*now_ms) {
        struct said *said = drain(s, *now_ms);

        for (size_t i = 0; i < said->n; i++)
            if (said->act[i].type == SCHED_SEND_GRANT) {
                n++;
                cr_assert_eq(sched_on_pass(s, *now_ms, said->act[i].peer, pass), 0);
            }
    }
    return n;
}

/* Refused by all for a second: who is full will ask by itself, who has all that we
 * could give is left alone until we gain something. */
Test(sched, a_pass_is_not_followed_by_another_grant_at_once)
{
    for (int nothing = 0; nothing < 2; nothing++) {
        struct sched *s = peer_with(1000, 500);
        enum sched_pass pass = nothing ? SCHED_PASS_NOTHING : SCHED_PASS_FULL;
        uint64_t now = 0;
        uint32_t n;

        for (int i = 0; i < 10; i++)
            add(s, 0);
        for (uint16_t p = 5; p < 9; p++)
            cr_assert_eq(sched_on_request(s, 0, p, p), 0);
        n = grants_until(s, &now, 1000, pass);
        cr_assert_leq(n, nothing ? 40 : 250, "%u GRANTs", n);
        cr_assert_geq(n, 10, "the timers run");
        sched_free(s);
    }
}

/* While all share the air everybody is full: questions would take it as well. */
Test(sched, a_full_leaf_is_left_to_ask_by_itself)
{
    uint32_t n[2];

    for (unsigned leaf = 0; leaf < 2; leaf++) {
        struct sched *s = peer_with(1000, 500);
        uint64_t now = 0;

        add_route(s, 0, leaf ? SCHED_LEAF_THERE : SCHED_WIRED);
        n[leaf] = grants_until(s, &now, 1000, SCHED_PASS_FULL);
        sched_free(s);
    }
    cr_assert_geq(n[0], 30);
    cr_assert_leq(n[1], 20, "%u GRANTs", n[1]);
}

Test(sched, a_chunk_gained_ends_the_wait_after_pass_nothing)
{
    struct sched *s = peer_with(1000, 500);
    uint16_t a = add(s, 0), b = add(s, 0);

    drain(s, 0);
    cr_assert_eq(sched_on_pass(s, 1, a, SCHED_PASS_NOTHING), 0);
    cr_assert_eq(sched_on_pass(s, 1, b, SCHED_PASS_NOTHING), 0);
    cr_assert_eq(count(drain(s, 100), SCHED_SEND_GRANT, -1), 0);
    cr_assert_eq(sched_on_have(s, 100, b, 700), 0);
    sched_on_stored(s, 100, 700, true);
    cr_assert_eq(count(drain(s, 100), SCHED_SEND_GRANT, a), 1);
    cr_assert_eq(count(drain(s, 100), SCHED_SEND_GRANT, b), 0, "it has that one");
    cr_assert_eq(count(drain(s, 1000), SCHED_SEND_GRANT, b), 1, "lost in flight, perhaps");
    sched_free(s);
}

/* Whoever was refused for want of room is asked when there is some: the youngest. */
Test(sched, a_full_receiver_asks_when_it_has_room)
{
    struct sched *s = make((struct sched_cfg){.chunks = 256}, NULL);
    uint16_t late, later;
    struct said *said;

    cr_assert_eq(requests_of(s, 10), 10);
    late = add(s, 0);
    later = add(s, 0);
    cr_assert_eq(sched_on_complete(s, 0, late), 0);
    cr_assert_eq(sched_on_complete(s, 0, later), 0);
    cr_assert_eq(ask(s, 1, late), UINT32_MAX);
    cr_assert_eq(ask(s, 2, later), UINT32_MAX);
    sched_peer_gone(s, 3, 0);
    said = drain(s, 3);
    cr_assert_eq(count(said, SCHED_SEND_REQUEST, later), 1);
    cr_assert_eq(count(said, SCHED_SEND_REQUEST, -1), 1, "one place, one chunk");
    sched_peer_gone(s, 4, 1);
    cr_assert_eq(count(drain(s, 4), SCHED_SEND_REQUEST, late), 1);
    sched_peer_gone(s, 5, 2);
    cr_assert_eq(count(drain(s, 5), SCHED_SEND_REQUEST, -1), 0, "a GRANT is good for one");
    cr_assert_eq(ask(s, 6, later) == UINT32_MAX, false);
    cr_assert_eq(ask(s, 6, late), UINT32_MAX);
    sched_peer_gone(s, 3000, 3);
    cr_assert_eq(count(drain(s, 3000), SCHED_SEND_REQUEST, -1), 0, "nor for ever");
    sched_free(s);
}

/* Far from both ends of a share HAVEs wait longer. */
Test(sched, haves_wait_where_there_is_choice)
{
    struct sched *s = peer_with(1000, 500);
    uint16_t a = add_source(s);
    uint64_t now = 1;
    uint32_t c;

    for (int i = 0; i < 8; i++) {
        c = ask(s, now, a);
        now += 20;
        receive(s, now, a, c);
    }
    drain(s, now += 300);
    receive(s, now, a, ask(s, now, a));
    cr_assert_eq(count(drain(s, now + 200), SCHED_SEND_HAVE, a), 0);
    cr_assert_eq(count(drain(s, now + 250), SCHED_SEND_HAVE, a), 1);
    sched_free(s);
}

/* Trap 7: REVOKE frees the place of the receiver. */
Test(sched, trap7_revoke_gives_the_chunk_back)
{
    struct sched *s = peer_with(8, 0);
    uint16_t a = add(s, 0), b = add(s, 0);
    struct sched_stat st;

    cr_assert_eq(sched_on_offer(s, 0, a, 3), 0);
    cr_assert_eq(find(drain(s, 0), SCHED_SEND_REQUEST, a)->chunk, 3);
    cr_assert_eq(sched_on_revoke(s, 1, a, 3), 0);
    sched_stat(s, &st);
    cr_assert_eq(st.inflight, 0);
    cr_assert_eq(sched_on_have(s, 2, b, 3), 0);
    cr_assert_eq(ask(s, 2, b), 3);
    sched_free(s);
}

/* Thirty neighbours, and each would send one now: how many are asked? */
static uint32_t asked_at_once(uint32_t chunk_bytes)
{
    struct sched *s = make((struct sched_cfg){.chunks = 512, .chunk_bytes = chunk_bytes}, NULL);
    uint32_t n = 0;

    for (uint16_t i = 0; i < 30; i++) {
        uint16_t peer = add_source(s);

        n += ask(s, 0, peer) != UINT32_MAX;
    }
    cr_assert(sched_valid(s));
    sched_free(s);
    return n;
}

/* Each is memory: a receiver of 100 GB, chunks of 4 MiB, took 63 MiB. */
Test(sched, large_chunks_on_their_way_are_fewer)
{
    cr_assert_geq(asked_at_once(1 << 20), 7);
    cr_assert_leq(asked_at_once(4 << 20), 8);
    cr_assert_eq(asked_at_once(8 << 20), 4);
    cr_assert_eq(asked_at_once(128 << 20), 4);
}

/* First copies come whatever T says, but for a disk that is behind: each is a
 * chunk in memory. */
Test(sched, offers_wait_while_the_disk_is_behind)
{
    struct sched *s = peer_with(64, 0);
    uint16_t a = add(s, 0);
    uint32_t taken = 0;
    struct said *said;

    for (uint32_t c = 0; c < 64; c++) {
        cr_assert_eq(sched_on_offer(s, 0, a, c), 0);
        said = drain(s, 0);
        if (find(said, SCHED_SEND_REQUEST, a) == NULL)
            break;
        cr_assert(sched_on_data(s, 0, a, c, CHUNK));
        sched_on_received(s, 0, a, c); /* and never stored */
        taken++;
    }
    cr_assert_leq(taken, 32, "%u MiB wait in memory", taken);
    cr_assert_eq(find(said, SCHED_SEND_PASS, a)->pass, SCHED_PASS_FULL);
    sched_on_stored(s, 1, 0, true);
    cr_assert_eq(sched_on_offer(s, 1, a, taken), 0);
    cr_assert_not_null(find(drain(s, 1), SCHED_SEND_REQUEST, a));
    cr_assert(sched_valid(s));
    sched_free(s);
}

Test(sched, a_revoke_before_our_answer_is_answered_by_pass)
{
    struct sched *s = peer_with(8, 0);
    uint16_t a = add(s, 0);
    struct said *said;

    cr_assert_eq(sched_on_offer(s, 0, a, 3), 0);
    cr_assert_eq(sched_on_revoke(s, 0, a, 3), 0);
    said = drain(s, 0);
    cr_assert_eq(said->n, 1);
    cr_assert_eq(said->act[0].type, SCHED_SEND_PASS);
    sched_free(s);
}

/* Trap 8: all is revealed once the last chunk is offered, not delivered. */
Test(sched, trap8_complete_follows_the_last_offer)
{
    struct sched *s = make((struct sched_cfg){.chunks = 3, .source = true}, NULL);
    struct sched_stat st;
    struct said *said;

    add(s, 0);
    said = drain(s, 0);
    cr_assert_eq(count(said, SCHED_SEND_OFFER, -1), 2);
    cr_assert_eq(count(said, SCHED_SEND_COMPLETE, -1), 0);
    add(s, 1);
    said = drain(s, 1);
    cr_assert_eq(count(said, SCHED_SEND_OFFER, -1), 1);
    cr_assert_eq(count(said, SCHED_SEND_COMPLETE, -1), 2);
    sched_stat(s, &st);
    cr_assert_eq(st.handed_out, 3);
    cr_assert_eq(st.spread, 0);
    sched_free(s);
}

/* Trap 9: a fixed number of chunks in flight, fewer on a wireless route. */
Test(sched, trap9_inbound_requests_have_a_limit)
{
    struct sched *s = make((struct sched_cfg){.chunks = 256}, NULL);
    uint16_t air;

    for (int i = 0; i < 3; i++) {
        air = add_route(s, 0, SCHED_LEAF_HERE);
        cr_assert_eq(sched_on_complete(s, 0, air), 0);
        cr_assert_eq(ask(s, 0, air) == UINT32_MAX, i == 2, "the %d. over the air", i + 1);
    }
    granted(s, 0, air);
    cr_assert_eq(drain(s, 0)->act[0].pass, SCHED_PASS_FULL);
    cr_assert_eq(requests_of(s, 20), 8, "10 in all");
    sched_free(s);
}

/* Requests to one neighbour wait for each other: the next goes to one that owes us less. */
Test(sched, a_full_receiver_asks_where_it_waits_for_least)
{
    struct sched *s = make((struct sched_cfg){.chunks = 256}, NULL);
    uint16_t busy, idle;

    cr_assert_eq(requests_of(s, 8), 8);
    busy = add_source(s);
    idle = add_source(s);
    cr_assert_neq(ask(s, 0, busy), UINT32_MAX);
    cr_assert_neq(ask(s, 0, busy), UINT32_MAX);
    cr_assert_eq(ask(s, 1, idle), UINT32_MAX, "full");
    cr_assert_eq(ask(s, 2, busy), UINT32_MAX);
    sched_peer_gone(s, 3, 0);
    cr_assert_eq(count(drain(s, 3), SCHED_SEND_REQUEST, idle), 1);
    sched_free(s);
}

/* A share that is all start and end. */
Test(sched, a_short_share_asks_for_fewer_chunks_at_once)
{
    struct sched *s = make((struct sched_cfg){.chunks = 128}, NULL);

    cr_assert_eq(requests_of(s, 20), 6);
    sched_free(s);
}

/* Somebody will soon be free: the last chunks do not all wait in the queues of those that
 * are busy now. */
Test(sched, some_of_the_last_chunks_are_left_for_whoever_is_free)
{
    struct sched *s = peer_with(40, 32);

    cr_assert_eq(requests_of(s, 20), 5, "3 and a quarter of 8");
    sched_free(s);
}

/* Those that send the last ones may trickle: one more is asked. */
Test(sched, one_of_the_last_chunks_has_a_second_source)
{
    struct sched *s = peer_with(40, 36);

    cr_assert_eq(requests_of(s, 20), 5, "4 and 1");
    sched_free(s);
}

/* STALL grows with the time that a chunk takes; not with that in which nobody sends. */
Test(sched, a_long_silence_does_not_teach_patience)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64}, NULL);
    uint16_t silent = add_source(s), b = add_source(s), rescuer = add(s, 0);
    uint32_t c;

    cr_assert_neq(ask(s, 0, silent), UINT32_MAX);
    c = ask(s, 9000, b);
    cr_assert(sched_on_data(s, 9010, b, c, CHUNK / 2));
    receive(s, 9040, b, c);
    c = ask(s, 9050, b);
    cr_assert_eq(sched_on_have(s, 9050, rescuer, c), 0);
    drain(s, 11000);
    cr_assert_eq(ask(s, 11000, rescuer), c, "b stands still");
    sched_free(s);
}

Test(sched, an_offer_bypasses_the_limit)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64}, NULL);
    uint16_t source = add_route(s, 0, SCHED_LEAF_HERE), p = add_route(s, 0, SCHED_LEAF_HERE);

    for (uint32_t c = 0; c < 8; c++)
        cr_assert_eq(sched_on_have(s, 0, p, c), 0);
    ask(s, 0, p);
    ask(s, 0, p);
    cr_assert_eq(sched_on_offer(s, 0, source, 60), 0);
    cr_assert_eq(find(drain(s, 0), SCHED_SEND_REQUEST, source)->chunk, 60);
    sched_free(s);
}

/* One that holds chunks 0..have-1, all its routes wireless: to a wired neighbour that
 * is number 0, and to a wireless one, 1. */
static struct sched *leaf_with(uint32_t chunks, uint32_t have)
{
    struct sched *s = peer_with(chunks, have);

    cr_assert_eq(add_route(s, 0, SCHED_LEAF_HERE), 0);
    cr_assert_eq(add_route(s, 0, SCHED_LEAF_HERE | SCHED_LEAF_THERE), 1);
    return s;
}

Test(sched, a_leaf_serves_nobody_while_a_wired_holder_lives)
{
    struct sched *s = leaf_with(4, 4);

    cr_assert_eq(sched_on_complete(s, 0, 0), 0);
    cr_assert_eq(count(drain(s, 0), SCHED_SEND_GRANT, -1), 0);
    sched_peer_gone(s, 10, 0);
    cr_assert_eq(count(drain(s, 10), SCHED_SEND_GRANT, 1), 1);
    sched_free(s);
}

Test(sched, leaves_among_themselves_are_a_swarm)
{
    struct sched *s = leaf_with(4, 4);

    sched_peer_gone(s, 0, 0);
    cr_assert_eq(count(drain(s, 0), SCHED_SEND_GRANT, 1), 1);
    sched_free(s);
}

/* A laptop in its dock: what it has by Wi-Fi besides does not slow the cable. */
Test(sched, only_the_wireless_route_is_spared)
{
    struct sched *s = leaf_with(4, 4);
    uint16_t wired = add(s, 0);
    const struct said *said;

    cr_assert_eq(sched_on_complete(s, 0, 0), 0);
    said = drain(s, 0);
    cr_assert_eq(count(said, SCHED_SEND_GRANT, wired), 1);
    cr_assert_eq(count(said, SCHED_SEND_GRANT, -1), 1);
    sched_free(s);
}

/* The last copy of chunk 3 is here: it flows, by way of the wired neighbour. */
Test(sched, a_leaf_gives_what_no_wired_one_has_and_that_to_a_wired_one_first)
{
    struct sched *s = leaf_with(8, 4);
    uint16_t holder = add_route(s, 0, SCHED_LEAF_HERE);
    struct said *said;

    for (uint32_t c = 0; c < 3; c++)
        cr_assert_eq(sched_on_have(s, 0, holder, c), 0);
    sched_peer_gone(s, 0, 0);
    said = drain(s, 0);
    cr_assert_eq(count(said, SCHED_SEND_GRANT, -1), 1);
    cr_assert_eq(count(said, SCHED_SEND_GRANT, holder), 1, "the one that lacks only this");
    cr_assert_eq(sched_on_request(s, 1, holder, 3), 0);
    said = drain(s, 1);
    cr_assert_eq(count(said, SCHED_UPLOAD, holder), 1);
    cr_assert_eq(count(said, SCHED_SEND_GRANT, -1), 0, "it will be with a wired one soon");
    sched_on_sent(s, 5, holder, 3, CHUNK, true);
    cr_assert_eq(count(drain(s, 5), SCHED_SEND_GRANT, -1), 0);
    sched_peer_gone(s, 9, holder);
    cr_assert_eq(count(drain(s, 9), SCHED_SEND_GRANT, 1), 1, "none but the leaf is left");
    sched_free(s);
}

Test(sched, of_a_leaf_we_ask_what_no_wired_one_has)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64}, NULL);
    uint16_t leaf = add_leaf(s, 0), others[2] = {add_leaf(s, 0), add_leaf(s, 0)}, wired = add(s, 0);

    cr_assert_eq(sched_on_complete(s, 0, leaf), 0);
    for (uint32_t c = 0; c < 64; c++)
        if (c != 7)
            cr_assert_eq(sched_on_have(s, 0, wired, c), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(sched_on_have(s, 0, others[i], 7), 0);
    cr_assert_eq(ask(s, 0, leaf), 7, "though two more have it");
    cr_assert_eq(ask(s, 0, leaf), UINT32_MAX, "the wired one will bring it");
    cr_assert_neq(ask(s, 0, wired), UINT32_MAX);
    sched_free(s);
}

/* A wired neighbour says that it holds all, and brings nothing. */
Test(sched, who_starves_takes_anything_of_a_leaf)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64}, NULL);
    uint16_t leaf = add_leaf(s, 0), wired = add(s, 0);
    uint32_t c;

    cr_assert_eq(sched_on_complete(s, 0, leaf), 0);
    cr_assert_eq(sched_on_complete(s, 0, wired), 0);
    c = ask(s, 1000, wired);
    cr_assert_eq(ask(s, 8000, leaf), UINT32_MAX);
    cr_assert_neq(ask(s, 10000, leaf), UINT32_MAX);
    receive(s, 10001, wired, c);
    cr_assert_eq(ask(s, 18000, leaf), UINT32_MAX);
    sched_free(s);
}

/* A wired source that deals out in silence holds all: its offers show that it is there. */
Test(sched, a_leaf_waits_for_a_wired_source_to_speak)
{
    struct sched *s = leaf_with(8, 0);

    cr_assert_eq(sched_on_offer(s, 1, 0, 5), 0);
    drain(s, 1);
    receive(s, 2, 0, 5);
    cr_assert_eq(count(drain(s, 100), SCHED_SEND_GRANT, -1), 0);
    cr_assert_geq(sched_deadline_ms(s), 8000);
    sched_peer_gone(s, 200, 0);
    cr_assert_eq(count(drain(s, 200), SCHED_SEND_GRANT, 1), 1);
    sched_free(s);
}

/* Whether the wired holders feed a neighbour, only it can tell. */
Test(sched, a_leaf_asks_now_and_then_and_helps_whom_the_wired_do_not_feed)
{
    struct sched *s = leaf_with(64, 64);
    uint64_t at, asked = 0;

    cr_assert_eq(sched_on_complete(s, 0, 0), 0);
    for (at = 0; at < 60000; at += 100) {
        bool asks = count(drain(s, at), SCHED_SEND_GRANT, 1) > 0;

        asked += asks;
        cr_assert_eq(sched_on_pass(s, at, 1, SCHED_PASS_NOTHING), 0);
    }
    cr_assert(asked >= 5 && asked <= 7, "%lu", (unsigned long)asked);
    while (count(drain(s, at), SCHED_SEND_GRANT, 1) == 0)
        at += 100;
    for (uint32_t c = 0; c < 3; c++) {
        cr_assert_eq(sched_on_request(s, at, 1, c), 0);
        cr_assert_eq(count(drain(s, at), SCHED_SEND_GRANT, 1), 1, "as many as to any other");
        cr_assert_eq(sched_on_have(s, at, 1, c + 20), 0);
    }
    for (uint32_t c = 0; c < 3; c++)
        cr_assert_eq(sched_on_cancel(s, at, 1, c), 0);
    cr_assert_eq(sched_on_request(s, at, 1, 3), 0);
    cr_assert_eq(count(drain(s, at), SCHED_SEND_GRANT, 1), 1);
    cr_assert_eq(sched_on_pass(s, at, 1, SCHED_PASS_NOTHING), 0);
    cr_assert_eq(count(drain(s, at + 5000), SCHED_SEND_GRANT, 1), 0, "it is fed again");
    sched_free(s);
}

Test(sched, first_copies_go_to_wired_neighbours)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64, .source = true}, NULL);
    uint16_t leaf = add_leaf(s, 0), wired = add(s, 0);
    struct said *said = drain(s, 0);

    cr_assert_eq(count(said, SCHED_SEND_OFFER, leaf), 0);
    cr_assert_eq(count(said, SCHED_SEND_OFFER, wired), 2);
    sched_peer_gone(s, 1, wired);
    cr_assert_eq(count(drain(s, 1), SCHED_SEND_OFFER, leaf), 2);
    sched_free(s);
}

/* Another origin takes no offers: the wireless ones are not to wait for it. */
Test(sched, a_wired_origin_does_not_keep_first_copies_from_leaves)
{
    struct sched *s = make((struct sched_cfg){.chunks = 64, .source = true}, NULL);
    uint16_t leaf = add_leaf(s, 0), origin = add(s, 0);

    cr_assert_eq(count(drain(s, 0), SCHED_SEND_OFFER, origin), 2);
    cr_assert_eq(sched_on_pass(s, 1, origin, SCHED_PASS_NOTHING), 0);
    cr_assert_eq(sched_on_pass(s, 1, origin, SCHED_PASS_NOTHING), 0);
    cr_assert_eq(count(drain(s, 1), SCHED_SEND_OFFER, leaf), 2);
    sched_free(s);
}

/* Two origins begin apart, and the one that meets the other's chunks goes on
 * elsewhere instead of side by side with it. */
Test(sched, origins_begin_apart_and_jump)
{
    struct sched_cfg cfg = {.chunks = 1000, .source = true, .salt = 1};
    struct sched *s = make(cfg, NULL);
    uint16_t a = add(s, 0);
    uint32_t first = find(drain(s, 0), SCHED_SEND_OFFER, a)->chunk, next;
    struct said *said;

    cr_assert_gt(first, 100);
    for (uint32_t c = first + 2; c < first + 100; c++)
        cr_assert_eq(sched_on_have(s, 1, a, c), 0);
    cr_assert_eq(sched_on_request(s, 1, a, first), 0);
    drain(s, 1);
    sched_on_sent(s, 2, a, first, CHUNK, true);
    said = drain(s, 2);
    next = find(said, SCHED_SEND_OFFER, a)->chunk;
    cr_assert(next < first || next > first + 100, "%u after %u", next, first);
    sched_free(s);
}

/* What another origin holds is told to nobody: it goes to somebody else. */
Test(sched, an_origin_that_passes_gets_no_offers_and_spreads_nothing)
{
    struct sched *s = make((struct sched_cfg){.chunks = 100, .source = true}, NULL);
    uint16_t origin = add(s, 0), a;
    struct said *said = drain(s, 0);
    uint32_t seen = 0;

    cr_assert_eq(count(said, SCHED_SEND_OFFER, origin), 2);
    cr_assert_eq(sched_on_pass(s, 1, origin, SCHED_PASS_NOTHING), 0);
    cr_assert_eq(sched_on_offer(s, 1, origin, 50), 0);
    cr_assert_eq(sched_on_pass(s, 1, origin, SCHED_PASS_NOTHING), 0);
    said = drain(s, 1);
    cr_assert_eq(count(said, SCHED_SEND_OFFER, origin), 0);
    a = add(s, 2);
    said = drain(s, 2);
    for (size_t i = 0; i < said->n; i++)
        if (said->act[i].type == SCHED_SEND_OFFER && said->act[i].peer == a)
            seen |= 1U << said->act[i].chunk;
    cr_assert_eq(seen, 3, "the two that the origin refused");
    cr_assert_eq(sched_on_have(s, 3, origin, 60), 0);
    cr_assert_eq(count(drain(s, 3), SCHED_SEND_OFFER, origin), 2, "no origin after all");
    sched_free(s);
}

Test(sched, a_source_that_starts_again_sends_only_what_nobody_holds)
{
    struct sched *s = make((struct sched_cfg){.chunks = 8, .source = true}, NULL);
    uint16_t a = add(s, 0);
    struct chunkmap map;
    struct said *said;

    cr_assert_eq(chunkmap_init(&map, 8), 0);
    chunkmap_fill(&map);
    chunkmap_clear(&map, 6);
    cr_assert_eq(sched_on_map(s, 0, a, &map), 0);
    said = drain(s, 0);
    cr_assert_eq(count(said, SCHED_SEND_OFFER, -1), 1);
    cr_assert_eq(find(said, SCHED_SEND_OFFER, a)->chunk, 6);
    cr_assert_eq(count(said, SCHED_SEND_COMPLETE, a), 1);
    chunkmap_free(&map);
    sched_free(s);
}

Test(sched, a_source_whose_peers_all_die_starts_over_with_the_next)
{
    struct sched *s = make((struct sched_cfg){.chunks = 8, .source = true}, NULL);
    uint16_t a = add(s, 0);
    uint32_t seen = 0;

    drain(s, 0);
    cr_assert_eq(sched_on_request(s, 1, a, 0), 0);
    drain(s, 1);
    sched_on_sent(s, 5, a, 0, CHUNK, true);
    sched_peer_gone(s, 6, a);
    drain(s, 6);
    a = add(s, 7);
    for (uint64_t now = 7; now < 60; now++) {
        struct said *said = drain(s, now);

        for (size_t i = 0; i < said->n; i++) {
            if (said->act[i].type == SCHED_SEND_OFFER) {
                seen |= 1U << said->act[i].chunk;
                cr_assert_eq(sched_on_request(s, now, a, said->act[i].chunk), 0);
            } else if (said->act[i].type == SCHED_UPLOAD) {
                sched_on_sent(s, now, a, said->act[i].chunk, CHUNK, true);
            }
        }
    }
    cr_assert_eq(seen, 0xff);
    sched_free(s);
}

static uint32_t spread(const struct sched *s)
{
    struct sched_stat st;

    sched_stat(s, &st);
    return st.spread;
}

/* A source with one neighbour, 0, to which one chunk was sent at 5 ms; no more is
 * asked for, and no offer is open. */
static struct sched *sent_one(uint32_t *chunk)
{
    struct sched *s = make((struct sched_cfg){.chunks = 8, .source = true}, NULL);
    uint16_t a = add(s, 0);

    *chunk = find(drain(s, 0), SCHED_SEND_OFFER, a)->chunk;
    cr_assert_eq(sched_on_request(s, 1, a, *chunk), 0);
    cr_assert_eq(count(drain(s, 1), SCHED_UPLOAD, a), 1);
    sched_on_sent(s, 5, a, *chunk, CHUNK, true);
    return s;
}

/* Is chunk offered (to anybody) from from_ms on and before until_ms? */
static bool offered_within(struct sched *s, uint32_t chunk, uint64_t from_ms, uint64_t until_ms)
{
    for (uint64_t now = from_ms; now < until_ms; now++) {
        struct said *said = drain(s, now);

        for (size_t i = 0; i < said->n; i++)
            if (said->act[i].type == SCHED_SEND_OFFER && said->act[i].chunk == chunk)
                return true;
    }
    return false;
}

/* What the own kernel took may never arrive: "held" is what the neighbour says. */
Test(sched, a_chunk_sent_is_spread_once_the_peer_says_so)
{
    uint32_t c;
    struct sched *s = sent_one(&c);

    cr_assert_eq(spread(s), 0, "it may be in our kernel still");
    cr_assert_not(offered_within(s, c, 5, 100), "it is on its way");
    cr_assert_eq(sched_on_have(s, 100, 0, c), 0);
    cr_assert_eq(spread(s), 1);
    cr_assert_not(offered_within(s, c, 100, 3000));
    sched_free(s);
}

Test(sched, a_chunk_sent_to_one_that_dies_unconfirmed_is_offered_again)
{
    uint32_t c;
    struct sched *s = sent_one(&c);

    drain(s, 6);
    add(s, 10);
    drain(s, 10);
    sched_peer_gone(s, 11, 0);
    cr_assert_eq(spread(s), 0);
    cr_assert(offered_within(s, c, 11, 1500));
    sched_free(s);
}

Test(sched, a_chunk_not_confirmed_in_time_is_offered_again)
{
    uint32_t c;
    struct sched *s = sent_one(&c);

    add(s, 5);
    drain(s, 5);
    cr_assert_not(offered_within(s, c, 6, 1005));
    cr_assert_leq(sched_deadline_ms(s), 1005);
    cr_assert(offered_within(s, c, 1005, 3000));
    sched_free(s);
}

/* The same for who is no source: no GRANT for what is sent, until the time is up. */
Test(sched, what_was_sent_is_not_granted_for_until_its_time_is_up)
{
    struct sched *s = peer_with(1, 1);
    uint16_t a = add(s, 0);

    drain(s, 0);
    cr_assert_eq(sched_on_request(s, 1, a, 0), 0);
    drain(s, 1);
    sched_on_sent(s, 9, a, 0, CHUNK, true);
    cr_assert_not(sched_needed(s));
    cr_assert_eq(count(drain(s, 1008), SCHED_SEND_GRANT, a), 0);
    cr_assert_eq(sched_deadline_ms(s), 1009);
    cr_assert_eq(count(drain(s, 1009), SCHED_SEND_GRANT, a), 1);
    cr_assert(sched_needed(s));
    cr_assert_eq(sched_on_have(s, 1010, a, 0), 0);
    cr_assert_not(sched_needed(s));
    sched_free(s);
}

/* It did not match its hash there: what the peer asks for it lacks. */
Test(sched, a_request_for_what_was_sent_is_served_again)
{
    struct sched *s = peer_with(1, 1);
    uint16_t a = add(s, 0);

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(sched_on_request(s, 1, a, 0), 0);
        cr_assert(sched_needed(s));
        cr_assert_eq(count(drain(s, 1), SCHED_UPLOAD, a), 1);
        sched_on_sent(s, 2, a, 0, CHUNK, true);
        drain(s, 2);
    }
    sched_free(s);
}

/* Its time begins anew, whatever was sent before it still waits. */
Test(sched, what_is_sent_again_waits_its_whole_time)
{
    struct sched *s = peer_with(2, 2);
    uint16_t a = add(s, 0);

    drain(s, 0);
    for (uint32_t c = 0; c < 2; c++) {
        cr_assert_eq(sched_on_request(s, 1, a, c), 0);
        drain(s, 1);
        sched_on_sent(s, 10 + c, a, c, CHUNK, true);
        drain(s, 10 + c);
    }
    cr_assert_eq(sched_on_request(s, 890, a, 1), 0);
    drain(s, 890);
    sched_on_sent(s, 900, a, 1, CHUNK, true);
    cr_assert_eq(sched_on_have(s, 950, a, 0), 0);
    drain(s, 950);
    cr_assert_not(sched_needed(s));
    drain(s, 1899);
    cr_assert_not(sched_needed(s), "sent at 900 ms, not at 11");
    drain(s, 1900);
    cr_assert(sched_needed(s));
    sched_free(s);
}

/* More on its way unconfirmed than is kept: the oldest is forgotten, not the count. */
Test(sched, what_waits_for_confirmation_has_a_ceiling)
{
    struct sched *s = peer_with(20000, 20000);
    uint16_t a = add(s, 0);

    for (uint32_t c = 0; c < 20000; c++) {
        cr_assert_eq(sched_on_request(s, 1, a, c), 0);
        for (struct sched_act act; sched_next(s, 1, &act);)
            ;
        sched_on_sent(s, 1, a, c, CHUNK, true);
    }
    cr_assert(sched_valid(s));
    cr_assert_eq(spread(s), 0);
    sched_peer_gone(s, 1, a);
    cr_assert(sched_valid(s));
    cr_assert_eq(sched_deadline_ms(s), SCHED_NEVER);
    sched_free(s);
}

/* Serves every offer of s to peer at once until nothing more comes. */
static uint32_t serve_all(struct sched *s, uint64_t now_ms, uint16_t peer)
{
    uint32_t offers = 0;
    struct said *said;

    while ((said = drain(s, now_ms))->n > 0)
        for (size_t i = 0; i < said->n; i++) {
            if (said->act[i].type == SCHED_SEND_OFFER) {
                offers++;
                cr_assert_eq(sched_on_request(s, now_ms, peer, said->act[i].chunk), 0);
            } else if (said->act[i].type == SCHED_UPLOAD) {
                sched_on_sent(s, now_ms, peer, said->act[i].chunk, CHUNK, true);
                cr_assert_eq(sched_on_have(s, now_ms, peer, said->act[i].chunk), 0);
            }
        }
    return offers;
}

Test(sched, a_polite_source_stops_after_one_copy_but_not_for_lost_chunks)
{
    struct sched *s = make((struct sched_cfg){.chunks = 8, .source = true, .polite = true}, NULL);
    uint16_t a = add(s, 0), b;
    struct sched_stat st;

    cr_assert_eq(serve_all(s, 0, a), 8);
    sched_stat(s, &st);
    cr_assert_eq(st.spread, 8, "may leave now");
    b = add(s, 10);
    cr_assert_eq(drain(s, 5000)->n, 0, "others can serve it");
    sched_peer_gone(s, 6000, a);
    cr_assert_eq(serve_all(s, 6000, b), 8);
    sched_free(s);
}

Test(sched, a_lost_chunk_is_taken_back_and_not_wanted)
{
    struct sched *s = peer_with(4, 4);
    uint16_t a = add(s, 0);
    struct said *said;

    drain(s, 0);
    cr_assert_eq(sched_on_request(s, 1, a, 2), 0);
    drain(s, 1);
    sched_on_lost(s, 2, 2);
    said = drain(s, 2);
    cr_assert_eq(count(said, SCHED_UPLOAD_STOP, a), 1);
    cr_assert_eq(count(said, SCHED_SEND_REVOKE, a), 1);
    cr_assert_eq(sched_on_request(s, 3, a, 2), 0, "we did say that we hold it");
    said = drain(s, 3);
    cr_assert_eq(count(said, SCHED_SEND_REVOKE, a), 1);
    cr_assert_eq(count(said, SCHED_UPLOAD, a), 0);
    cr_assert_eq(sched_on_complete(s, 4, a), 0);
    cr_assert_eq(ask(s, 4, a), UINT32_MAX);
    sched_free(s);
}

Test(sched, death_gives_back_what_was_asked_of_the_dead)
{
    struct sched *s = peer_with(4, 0);
    uint16_t a = add_source(s), b = add(s, 0);
    uint32_t c;

    c = ask(s, 0, a);
    cr_assert_eq(sched_on_have(s, 0, b, c), 0);
    granted(s, 0, a);
    sched_peer_gone(s, 1, a);
    cr_assert_eq(ask(s, 1, b), c);
    cr_assert_eq(count(drain(s, 1), SCHED_SEND_PASS, a), 0, "nothing about it comes any more");
    sched_free(s);
}

Test(sched, blocked_slots_do_not_hold_the_uplink)
{
    struct sched *s = peer_with(64, 64);

    for (uint16_t p = 0; p < 6; p++) {
        add(s, 0);
        cr_assert_eq(sched_on_request(s, 0, p, p), 0);
    }
    cr_assert_eq(count(drain(s, 0), SCHED_UPLOAD, -1), 3, "S");
    sched_on_blocked(s, 1, 0, true);
    cr_assert_eq(count(drain(s, 2), SCHED_UPLOAD, -1), 0, "a busy uplink looks the same");
    cr_assert_leq(sched_deadline_ms(s), 20);
    cr_assert_eq(count(drain(s, 20), SCHED_UPLOAD, -1), 1);
    sched_free(s);
}

Test(sched, the_same_calls_give_the_same_actions)
{
    uint64_t sum[2] = {0};

    for (int run = 0; run < 2; run++) {
        struct sched *s = make((struct sched_cfg){.chunks = 500, .salt = 42}, NULL);

        for (int i = 0; i < 10; i++) {
            uint16_t p = add_source(s);

            sum[run] = sum[run] * 31 + ask(s, 0, p);
        }
        sched_free(s);
    }
    cr_assert_eq(sum[0], sum[1]);
}

Test(sched, memory_has_a_known_bound)
{
    struct sched_cfg cfg = {.chunks = 65536, .chunk_bytes = CHUNK, .max_peers = 40};

    cr_assert_lt(sched_memory_bytes(&cfg), 2 << 20);
}
