/* A stream of facts of any order and any nonsense: sched must stay valid, end its
 * sched_next() loops, never speak of a peer that left, and count as spread just
 * what the living have said to hold. */
#include <stdlib.h>

#include "transfer/core/sched.h"

enum { CHUNK = 1 << 18, STEPS_MAX = 100000, CHUNKS_MAX = 100 };

struct fuzz {
    const uint8_t *at;
    size_t left;
    struct sched *s;
    uint64_t now_ms;
    uint64_t live;
    uint64_t said[CHUNKS_MAX]; /* by whom, a bit each */
};

static uint8_t take(struct fuzz *f)
{
    if (f->left == 0)
        return 0;
    f->left--;
    return *f->at++;
}

static void check(bool good)
{
    if (!good)
        abort();
}

static void pump(struct fuzz *f)
{
    struct sched_act act;
    int steps = 0;

    while (sched_next(f->s, f->now_ms, &act)) {
        check(act.peer < SCHED_PEERS_MAX && f->live >> act.peer & 1);
        check(++steps < STEPS_MAX);
    }
    check(sched_deadline_ms(f->s) > f->now_ms);
}

static void said_set(struct fuzz *f, uint16_t peer, uint32_t chunk, bool holds)
{
    uint64_t bit = UINT64_C(1) << peer;

    f->said[chunk] = holds ? f->said[chunk] | bit : f->said[chunk] & ~bit;
}

static void said_all(struct fuzz *f, uint16_t peer, bool holds)
{
    for (uint32_t c = 0; c < CHUNKS_MAX; c++)
        said_set(f, peer, c, holds);
}

static void check_spread(const struct fuzz *f, uint32_t chunks)
{
    struct sched_stat st;
    uint32_t spread = 0;

    for (uint32_t c = 0; c < chunks; c++)
        spread += f->said[c] != 0;
    sched_stat(f->s, &st);
    check(st.spread == spread);
}

static void peers_change(struct fuzz *f, uint16_t peer, bool add)
{
    if (add) {
        if (sched_peer_add(f->s, f->now_ms, peer & 3, &peer) == 0)
            f->live |= UINT64_C(1) << peer;
        return;
    }
    sched_peer_gone(f->s, f->now_ms, peer);
    said_all(f, peer, false);
    f->live &= ~(UINT64_C(1) << peer);
}

static void map_send(struct fuzz *f, uint16_t peer, uint32_t chunks)
{
    struct chunkmap m;

    if (chunkmap_init(&m, chunks))
        return;
    for (uint32_t c = 0; c < chunks; c += 1 + take(f) % 8)
        chunkmap_set(&m, c);
    if (sched_on_map(f->s, f->now_ms, peer, &m) == 0)
        for (uint32_t c = 0; c < chunks; c++)
            said_set(f, peer, c, chunkmap_has(&m, c));
    chunkmap_free(&m);
}

static void step(struct fuzz *f, uint32_t chunks)
{
    uint8_t op = take(f);
    uint16_t peer = take(f) % 10;
    uint32_t chunk = take(f) % (chunks + 1);
    uint64_t now = f->now_ms;

    switch (op % 20) {
    case 0:
        if (sched_on_have(f->s, now, peer, chunk) == 0)
            said_set(f, peer, chunk, true);
        break;
    case 1:
        if (sched_on_complete(f->s, now, peer) == 0)
            said_all(f, peer, true);
        break;
    case 2:
        (void)!sched_on_grant(f->s, now, peer);
        break;
    case 3:
        (void)!sched_on_request(f->s, now, peer, chunk);
        break;
    case 4:
        (void)!sched_on_pass(f->s, now, peer, op & 32 ? SCHED_PASS_FULL : SCHED_PASS_NOTHING);
        break;
    case 5:
        (void)!sched_on_offer(f->s, now, peer, chunk);
        break;
    case 6:
        if (sched_on_revoke(f->s, now, peer, chunk) == 0)
            said_set(f, peer, chunk, false);
        break;
    case 7:
        (void)!sched_on_cancel(f->s, now, peer, chunk);
        break;
    case 8:
        (void)!sched_on_data(f->s, now, peer, chunk, 1000U * op);
        break;
    case 9:
        sched_on_received(f->s, now, peer, chunk);
        break;
    case 10:
        sched_on_stored(f->s, now, chunk, op & 32);
        break;
    case 11:
        sched_on_lost(f->s, now, chunk);
        break;
    case 12:
        sched_on_sent(f->s, now, peer, chunk, 1000U * op, op & 32);
        break;
    case 13:
        sched_on_blocked(f->s, now, peer, op & 32);
        break;
    case 14:
        map_send(f, peer, op & 64 ? chunks : chunk + 1);
        break;
    case 15:
        peers_change(f, peer, true);
        break;
    case 16:
        peers_change(f, peer, !(op & 32));
        break;
    case 17:
        f->now_ms += op & 32 ? 10U * op : op;
        break;
    case 18:
        f->now_ms += chunk;
        break;
    case 19:
        pump(f);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    struct fuzz f = {.at = data, .left = len_bytes, .now_ms = 1};
    uint8_t flags = take(&f);
    struct sched_cfg cfg = {.chunks = 1U + take(&f) % CHUNKS_MAX,
                            .chunk_bytes = CHUNK,
                            .max_peers = (uint16_t)(1 + take(&f) % 8),
                            .source = flags & 1,
                            .polite = flags & 4,
                            .salt = flags};

    if (sched_new(&cfg, NULL, f.now_ms, &f.s))
        return 0;
    while (f.left > 0) {
        step(&f, cfg.chunks);
        check(sched_valid(f.s));
        check_spread(&f, cfg.chunks);
    }
    pump(&f);
    sched_free(f.s);
    return 0;
}
