/* A whole swarm in one process: real connections over loopback, real stores in a
 * temporary directory, one event loop. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/share_fixture.h"
#include "transfer/io/clock.h"
#include "transfer/io/listener.h"
#include "transfer/io/swarm.h"

enum {
    NODES = 4,
    PIECE = 131072,
    FILE_BYTES = 40 * PIECE + 4711,
    PATIENCE_S = 60,
    CONTACTS = 2 * NODES + SWARM_LINKS_MAX
};

struct node;

struct contact {
    struct node *node;
    struct peer *peer;
};

struct node {
    struct world *world;
    char dir[128];
    struct tls *tls;
    struct listener *listener;
    struct workers *workers;
    struct store *store;
    struct swarm *swarm;
    struct contact contacts[CONTACTS];
    unsigned contact_count;
    bool done, stopped;
    int failed;
    unsigned candidates;
};

struct world {
    struct event_base *base;
    struct manifest *manifest;
    struct layout *layout;
    char dir[64];
    struct node nodes[NODES];
    unsigned waiting;
    pthread_mutex_t *gate; /* NULL, or locked: no worker of nodes[1] is free till a PASS */
    bool full_seen;
    uint64_t told_bytes; /* sent by a puppet before it was started again, as it said then */
};

static void node_dial(struct node *from, uint16_t port);

/* --- peers -------------------------------------------------------------------- */

static void on_up(void *arg, struct peer *p)
{
    struct contact *c = arg;

    if (peer_is_dialer(p) && c->node->swarm != NULL)
        swarm_join(c->node->swarm, p);
}

static void on_msg(void *arg, struct peer *p, const struct msg *m)
{
    struct contact *c = arg;

    if (m->type == MSG_JOIN && c->node->swarm != NULL)
        swarm_on_join(c->node->swarm, p, m);
    else if (swarm_takes(m->type))
        swarm_on_msg(p, m);
}

static void on_writable(void *arg, struct peer *p)
{
    (void)arg;
    swarm_on_writable(p);
}

static void contact_end(struct contact *c)
{
    if (c->peer == NULL)
        return;
    swarm_drop_peer(c->peer);
    peer_free(c->peer, 0);
    c->peer = NULL;
}

static void on_closed(void *arg, struct peer *p, int err)
{
    (void)p;
    (void)err;
    contact_end(arg);
}

static const struct peer_ops ops = {on_up, on_msg, on_writable, on_closed};

static struct peer_cfg node_peer_cfg(struct node *n)
{
    struct contact *c = &n->contacts[n->contact_count++];

    cr_assert_leq(n->contact_count, CONTACTS);
    c->node = n;
    return (struct peer_cfg){
        .base = n->world->base,
        .tls = n->tls,
        .session = {.nick = "test", .port = listener_port(n->listener)},
        .ops = &ops,
        .arg = c,
    };
}

static void on_accept(void *arg, int fd, const struct sockaddr *addr)
{
    struct node *n = arg;
    struct peer_cfg cfg = node_peer_cfg(n);

    (void)addr;
    cr_assert_eq(peer_accept(&cfg, fd, &((struct contact *)cfg.arg)->peer), 0);
}

static void node_dial(struct node *from, uint16_t port)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct peer_cfg cfg = node_peer_cfg(from);

    to.sin6_addr = in6addr_loopback;
    cr_assert_eq(
        peer_dial(&cfg, (struct sockaddr *)&to, sizeof(to), &((struct contact *)cfg.arg)->peer), 0);
}

/* --- swarms --------------------------------------------------------------------- */

static void on_done(void *arg)
{
    struct node *n = arg;

    n->done = true;
    if (--n->world->waiting == 0)
        event_base_loopexit(n->world->base, NULL);
}

static void on_failed(void *arg, int err)
{
    struct node *n = arg;

    n->failed = err;
    event_base_loopexit(n->world->base, NULL);
}

static void on_candidate(void *arg, const struct msg_peer *who, uint16_t of, struct peer *via)
{
    struct node *n = arg;

    (void)of;
    (void)via;
    n->candidates++;
    if (memcmp(tls_node_id(n->tls), who->node, HASH_LEN) < 0)
        node_dial(n, who->port);
}

static void on_banned(void *arg, const uint8_t node[static HASH_LEN], int err)
{
    struct node *n = arg;

    (void)node;
    n->failed = err;
    event_base_loopbreak(n->world->base);
}

static const struct swarm_ops swarm_ops = {on_done, on_failed, on_banned, on_candidate};

static void on_stopped(void *arg)
{
    struct node *n = arg;

    n->stopped = true;
    n->swarm = NULL;
}

static struct store_cfg node_store_cfg(struct node *n)
{
    return (struct store_cfg){
        .manifest = n->world->manifest,
        .layout = n->world->layout,
        .hash = sha256,
        .hash_many = sha256_many,
        .dest = n->dir,
        .boot_mark = 1,
        .reserve_bytes = 0,
    };
}

static void node_begin(struct node *n, bool origin)
{
    struct swarm_cfg cfg = {
        .base = n->world->base,
        .workers = n->workers,
        .hash = sha256,
        .hash_many = sha256_many,
        .manifest = n->world->manifest,
        .layout = n->world->layout,
        .store = n->store,
        .self = tls_node_id(n->tls),
        .receiving = !origin,
        .origin = origin,
        .salt = (uint64_t)(n - n->world->nodes) + 1,
        .ops = &swarm_ops,
        .arg = n,
    };

    cr_assert_eq(swarm_new(&cfg, &n->swarm), 0);
}

static void node_open(struct world *w, unsigned i)
{
    struct node *n = &w->nodes[i];
    char key[192];

    n->world = w;
    snprintf(n->dir, sizeof(n->dir), "%s/n%u", w->dir, i);
    cr_assert_eq(mkdir(n->dir, 0700), 0);
    snprintf(key, sizeof(key), "%s/key", n->dir);
    cr_assert_eq(tls_new(key, &n->tls), 0);
    cr_assert_eq(workers_new(w->base, 2, &n->workers), 0);
    cr_assert_eq(listener_new(w->base, 0, false, on_accept, n, &n->listener), 0);
}

/* --- a world ----------------------------------------------------------------------- */

static void source_file(const struct world *w, char path[static 256])
{
    snprintf(path, 256, "%s/n0/image.bin", w->dir);
}

static void open_source(struct world *w)
{
    struct store_cfg cfg = node_store_cfg(&w->nodes[0]);
    uint8_t *content = fixture_content(7, FILE_BYTES);
    struct store_stamp stamp;
    struct stat st;
    char path[256];
    int fd;

    source_file(w, path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert_eq(write(fd, content, FILE_BYTES), FILE_BYTES);
    cr_assert_eq(fstat(fd, &st), 0);
    close(fd);
    free(content);
    stamp = (struct store_stamp){
        .dev = st.st_dev,
        .ino = st.st_ino,
        .bytes = (uint64_t)st.st_size,
        .mtime_ns = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
        .ctime_ns = st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec,
    };
    cr_assert_eq(store_open_shared(&cfg, path, &stamp, &w->nodes[0].store), 0);
}

static void world_open(struct world *w)
{
    struct fixture_file file = {"image.bin", 7, FILE_BYTES, false};

    memset(w, 0, sizeof(*w));
    signal(SIGPIPE, SIG_IGN);
    snprintf(w->dir, sizeof(w->dir), "/tmp/ronda-swarm-XXXXXX");
    cr_assert_not_null(mkdtemp(w->dir));
    w->base = event_base_new();
    cr_assert_eq(fixture_build("image.bin", true, PIECE, &file, 1, &w->manifest), 0);
    cr_assert_eq(layout_new(w->manifest, &w->layout), 0);
    for (unsigned i = 0; i < NODES; i++)
        node_open(w, i);
    open_source(w);
    for (unsigned i = 1; i < NODES; i++) {
        struct store_cfg cfg = node_store_cfg(&w->nodes[i]);

        cr_assert_eq(store_open_receive(&cfg, &w->nodes[i].store), 0);
    }
    for (unsigned i = 0; i < NODES; i++)
        node_begin(&w->nodes[i], i == 0);
    w->waiting = NODES - 1;
}

static void on_patience_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static void world_run(struct world *w)
{
    struct timeval tv = {PATIENCE_S, 0};
    struct event *patience = evtimer_new(w->base, on_patience_end, w->base);

    event_add(patience, &tv);
    event_base_dispatch(w->base);
    event_free(patience);
}

/* The last HAVE is still on its way when the receivers are done. */
static void world_run_delivered(struct world *w)
{
    uint64_t end_ms = clock_ms() + (uint64_t)PATIENCE_S * 1000;
    struct swarm_stat st;

    do {
        event_base_loop(w->base, EVLOOP_ONCE);
        swarm_stat(w->nodes[0].swarm, &st);
    } while (!st.delivered && clock_ms() < end_ms);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static bool world_stopped(const struct world *w)
{
    for (unsigned i = 0; i < NODES; i++)
        if (!w->nodes[i].stopped)
            return false;
    return true;
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++)
        if (w->nodes[i].swarm != NULL)
            swarm_stop(w->nodes[i].swarm, on_stopped, &w->nodes[i]);
    while (!world_stopped(w))
        event_base_loop(w->base, EVLOOP_ONCE);
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &w->nodes[i];

        for (unsigned k = 0; k < n->contact_count; k++)
            contact_end(&n->contacts[k]);
        listener_free(n->listener);
    }
    event_base_loop(w->base, EVLOOP_NONBLOCK);
    for (unsigned i = 0; i < NODES; i++) {
        workers_free(w->nodes[i].workers);
        store_close(w->nodes[i].store);
    }
    while (event_base_get_num_events(w->base, EVENT_BASE_COUNT_ADDED) > 0)
        event_base_loop(w->base, EVLOOP_ONCE);
    for (unsigned i = 0; i < NODES; i++)
        tls_free(w->nodes[i].tls);
    event_base_free(w->base);
    layout_free(w->layout);
    manifest_free(w->manifest);
    nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static bool same_content(const struct world *w, unsigned node)
{
    uint8_t *want = fixture_content(7, FILE_BYTES), *got = malloc(FILE_BYTES + 1);
    char path[256];
    int fd;
    bool same;

    snprintf(path, sizeof(path), "%s/n%u/image.bin", w->dir, node);
    fd = open(path, O_RDONLY);
    same = fd >= 0 && read(fd, got, FILE_BYTES + 1) == FILE_BYTES &&
           memcmp(want, got, FILE_BYTES) == 0;
    if (fd >= 0)
        close(fd);
    free(want);
    free(got);
    return same;
}

Test(swarm, three_receivers_swap_what_the_source_sends_about_once)
{
    struct world w;
    struct swarm_stat st;

    world_open(&w);
    for (unsigned i = 1; i < NODES; i++)
        node_dial(&w.nodes[i], listener_port(w.nodes[0].listener));
    world_run(&w);
    for (unsigned i = 1; i < NODES; i++) {
        cr_assert(w.nodes[i].done, "node %u is not done", i);
        cr_assert(same_content(&w, i));
        swarm_stat(w.nodes[i].swarm, &st);
        cr_expect_gt(st.received_bytes, st.from_source_bytes,
                     "nothing came from the other receivers");
        cr_expect_gt(w.nodes[i].candidates, 0, "peer exchange told nothing");
    }
    world_run_delivered(&w);
    swarm_stat(w.nodes[0].swarm, &st);
    cr_expect_lt(st.uploaded_bytes, 2ULL * FILE_BYTES, "the source sent %lu of %u",
                 (unsigned long)st.uploaded_bytes, FILE_BYTES);
    cr_expect(st.delivered, "the source may leave");
    world_close(&w);
}

Test(swarm, a_source_that_changed_is_told_and_nothing_wrong_arrives)
{
    struct world w;
    char path[256];
    int fd;

    world_open(&w);
    source_file(&w, path);
    fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "changed", 7, 12345), 7);
    close(fd);
    node_dial(&w.nodes[1], listener_port(w.nodes[0].listener));
    world_run(&w);
    cr_assert_eq(w.nodes[0].failed, ERR_CHANGED);
    cr_assert_not(w.nodes[1].done);
    world_close(&w);
}

static void stop_and_wait(struct world *w, struct node *n)
{
    swarm_stop(n->swarm, on_stopped, n);
    while (!n->stopped)
        event_base_loop(w->base, EVLOOP_ONCE);
    n->stopped = false;
}

/* Else one that joins and leaves in a loop has each join told to up to 39 others. */
Test(swarm, who_comes_again_at_once_is_not_introduced_again)
{
    struct world w;
    unsigned told, heard;

    world_open(&w);
    node_dial(&w.nodes[1], listener_port(w.nodes[0].listener));
    node_dial(&w.nodes[2], listener_port(w.nodes[0].listener));
    w.waiting = 2;
    world_run(&w);
    cr_assert(w.nodes[1].done && w.nodes[2].done);
    for (unsigned k = 0; k < w.nodes[1].contact_count; k++)
        contact_end(&w.nodes[1].contacts[k]);
    stop_and_wait(&w, &w.nodes[1]);
    told = w.nodes[2].candidates;
    heard = w.nodes[1].candidates;
    node_begin(&w.nodes[1], false);
    node_dial(&w.nodes[1], listener_port(w.nodes[0].listener));
    w.waiting = 1;
    while (w.nodes[1].candidates == heard) /* it hears of the other again */
        event_base_loop(w.base, EVLOOP_ONCE);
    for (unsigned i = 0; i < 50; i++)
        event_base_loop(w.base, EVLOOP_NONBLOCK);
    cr_assert_eq(w.nodes[2].candidates, told, "told again: %u, then %u", told,
                 w.nodes[2].candidates);
    world_close(&w);
}

Test(swarm, a_stop_half_way_is_gone_on_from)
{
    struct world w;
    struct timeval soon = {0, 50000};
    struct store_cfg cfg;
    uint32_t before;

    world_open(&w);
    node_dial(&w.nodes[1], listener_port(w.nodes[0].listener));
    event_base_loopexit(w.base, &soon);
    event_base_dispatch(w.base);
    swarm_stop(w.nodes[1].swarm, on_stopped, &w.nodes[1]);
    while (!w.nodes[1].stopped)
        event_base_loop(w.base, EVLOOP_ONCE);
    before = store_have(w.nodes[1].store)->count;
    if (!store_done(w.nodes[1].store)) { /* a quick machine may have all of it already */
        store_close(w.nodes[1].store);
        cfg = node_store_cfg(&w.nodes[1]);
        cr_assert_eq(store_open_receive(&cfg, &w.nodes[1].store), 0);
        cr_assert_eq(store_have(w.nodes[1].store)->count, before);
    }
    w.nodes[1].done = w.nodes[1].stopped = false;
    w.waiting = 1;
    node_begin(&w.nodes[1], false);
    node_dial(&w.nodes[1], listener_port(w.nodes[0].listener));
    if (!store_done(w.nodes[1].store))
        world_run(&w);
    cr_assert(same_content(&w, 1));
    world_close(&w);
}

static void free_without_a_word(struct world *w, struct node *n)
{
    workers_free(n->workers); /* jobs end in here */
    swarm_free(n->swarm);
    n->workers = NULL;
    n->swarm = NULL;
    event_base_loop(w->base, EVLOOP_NONBLOCK);
    cr_assert_not(n->stopped);
    n->stopped = true; /* for world_close() */
}

Test(swarm, freed_half_way_it_tells_nobody)
{
    struct world w;
    struct timeval soon = {0, 50000};

    world_open(&w);
    node_dial(&w.nodes[1], listener_port(w.nodes[0].listener));
    node_dial(&w.nodes[2], listener_port(w.nodes[0].listener));
    event_base_loopexit(w.base, &soon);
    event_base_dispatch(w.base);
    swarm_stop(w.nodes[1].swarm, on_stopped, &w.nodes[1]);
    free_without_a_word(&w, &w.nodes[1]); /* while it winds up */
    free_without_a_word(&w, &w.nodes[2]);
    world_close(&w);
}

/* --- a neighbour played by hand ------------------------------------------------- */

struct puppet {
    struct peer *peer;
    struct swarm_link *link; /* only its address matters: the peer's table wants one */
    uint16_t sid;
    uint8_t *content;
    struct world *world;
    bool lies;
    bool flees; /* is gone before its lie is found out */
};

static void puppet_say(struct puppet *u, enum msg_type type)
{
    struct msg m = {.type = type, .sid = u->sid};

    peer_send(u->peer, &m);
}

static void puppet_data(struct puppet *u, uint32_t chunk, uint32_t offset, bool right)
{
    uint32_t total = layout_chunk_bytes(u->world->layout, chunk), left = total - offset;
    struct msg m = {.type = MSG_DATA, .sid = u->sid, .chunk = chunk};

    m.data.offset_bytes = offset;
    m.data.len_bytes = left < MSG_DATA_BYTES_MAX ? left : MSG_DATA_BYTES_MAX;
    m.data.data = right ? u->content + (size_t)chunk * PIECE + offset : u->content + 1;
    peer_send(u->peer, &m);
}

static void puppet_stat(struct puppet *u, uint64_t sent_bytes)
{
    struct msg m = {.type = MSG_STAT, .sid = u->sid};

    m.stat.sent_bytes = sent_bytes;
    m.stat.flags = MSG_FLAG_ORIGIN;
    peer_send(u->peer, &m);
}

static void puppet_on_up(void *arg, struct peer *p)
{
    struct puppet *u = arg;
    struct msg m = {.type = MSG_JOIN};

    cr_assert_eq(peer_link_add(p, u->link, &u->sid), 0);
    m.sid = u->sid;
    memcpy(m.join.key, manifest_key(u->world->manifest), HASH_LEN);
    m.join.chunks = layout_chunks(u->world->layout);
    m.join.flags = MSG_FLAG_ORIGIN;
    peer_send(p, &m);
    puppet_say(u, MSG_COMPLETE);
    puppet_stat(u, u->world->told_bytes / 2);
    puppet_stat(u, u->world->told_bytes);
    puppet_stat(u, 0);
    puppet_stat(u, 500);
    puppet_say(u, MSG_GRANT);
}

static void puppet_end(struct puppet *u)
{
    if (u->peer == NULL)
        return;
    peer_link_remove(u->peer, u->sid);
    peer_free(u->peer, 0);
    u->peer = NULL;
}

/* Answers each REQUEST with what is left over of an older answer, then with the
 * start of one, then with all of it: the last one must count. */
/* The swarm takes no more: its chunks wait for a worker, not for space. */
static void puppet_open_gate(struct world *w)
{
    struct swarm_stat st;

    if (w->gate == NULL)
        return;
    swarm_stat(w->nodes[1].swarm, &st);
    w->full_seen = st.disk_full;
    pthread_mutex_unlock(w->gate);
    w->gate = NULL;
}

static void puppet_on_msg(void *arg, struct peer *p, const struct msg *m)
{
    struct puppet *u = arg;
    uint32_t chunk = m->chunk;

    (void)p;
    if (m->type == MSG_PASS) { /* its disk is behind: later, then */
        puppet_open_gate(u->world);
        puppet_say(u, MSG_GRANT);
    }
    if (m->type == MSG_REFUSE)
        event_base_loopbreak(u->world->base);
    if (m->type != MSG_REQUEST)
        return;
    puppet_data(u, chunk, layout_chunk_bytes(u->world->layout, chunk) / 2, false);
    puppet_data(u, chunk, 0, u->lies ? false : true);
    for (uint32_t at = 0; at < layout_chunk_bytes(u->world->layout, chunk);
         at += MSG_DATA_BYTES_MAX)
        puppet_data(u, chunk, at, !u->lies);
    if (u->flees)
        puppet_end(u);
    else
        puppet_say(u, MSG_GRANT);
}

static void puppet_on_writable(void *arg, struct peer *p)
{
    (void)arg;
    (void)p;
}

static void puppet_on_closed(void *arg, struct peer *p, int err)
{
    (void)p;
    (void)err;
    puppet_end(arg);
}

static void puppet_play(struct world *w, struct puppet *u, bool lies, bool flees)
{
    static const struct peer_ops puppet_ops = {puppet_on_up, puppet_on_msg, puppet_on_writable,
                                               puppet_on_closed};
    static char address;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6};
    struct peer_cfg cfg = {.base = w->base, .tls = w->nodes[0].tls, .ops = &puppet_ops, .arg = u};

    *u = (struct puppet){.link = (struct swarm_link *)&address, .world = w};
    u->lies = lies;
    u->flees = flees;
    u->content = fixture_content(7, FILE_BYTES);
    cfg.session.nick = "puppet";
    to.sin6_port = htons(listener_port(w->nodes[1].listener));
    to.sin6_addr = in6addr_loopback;
    cr_assert_eq(peer_dial(&cfg, (struct sockaddr *)&to, sizeof(to), &u->peer), 0);
    w->waiting = 1;
    world_run(w);
}

Test(swarm, leftovers_of_a_cancelled_answer_are_dropped_without_blame)
{
    struct world w;
    struct puppet u;

    world_open(&w);
    puppet_play(&w, &u, false, false);
    cr_assert_eq(w.nodes[1].failed, 0);
    cr_assert(w.nodes[1].done);
    cr_assert(same_content(&w, 1));
    puppet_end(&u);
    free(u.content);
    world_close(&w);
}

/* It counts from 0 again. */
Test(swarm, what_a_source_sent_before_it_was_started_again_counts)
{
    struct world w;
    struct puppet u;
    struct swarm_stat st;

    world_open(&w);
    w.told_bytes = 1 << 30;
    puppet_play(&w, &u, false, false);
    swarm_stat(w.nodes[1].swarm, &st);
    cr_assert(st.source_known);
    cr_assert(st.source_restarted);
    cr_assert_eq(st.source_bytes, (1 << 30) + 500);
    puppet_end(&u);
    free(u.content);
    world_close(&w);
}

/* What it had sent when it was killed it had last told a while before that. */
Test(swarm, a_source_that_was_killed_has_sent_at_least_what_is_here)
{
    struct world w;
    struct puppet u;
    struct swarm_stat st;

    world_open(&w);
    w.told_bytes = 30000;
    puppet_play(&w, &u, false, false);
    swarm_stat(w.nodes[1].swarm, &st);
    cr_assert(st.source_restarted);
    cr_assert_geq(st.from_source_bytes, FILE_BYTES);
    cr_assert_eq(st.source_bytes, st.from_source_bytes);
    puppet_end(&u);
    free(u.content);
    world_close(&w);
}

Test(swarm, a_source_that_was_not_started_again_is_taken_at_its_word)
{
    struct world w;
    struct puppet u;
    struct swarm_stat st;

    world_open(&w);
    puppet_play(&w, &u, false, false);
    swarm_stat(w.nodes[1].swarm, &st);
    cr_assert_not(st.source_restarted);
    cr_assert_eq(st.source_bytes, 500);
    puppet_end(&u);
    free(u.content);
    world_close(&w);
}

static int gate_pass(void *arg)
{
    pthread_mutex_lock(arg);
    pthread_mutex_unlock(arg);
    return 0;
}

static void gate_passed(void *arg, int result)
{
    (void)arg;
    (void)result;
}

Test(swarm, a_full_queue_of_workers_is_no_full_disk)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct world w;
    struct puppet u;

    world_open(&w);
    pthread_mutex_lock(&gate);
    w.gate = &gate;
    while (workers_submit(w.nodes[1].workers, NULL, gate_pass, gate_passed, &gate) == 0)
        ;
    puppet_play(&w, &u, false, false);
    cr_assert_null(w.gate, "nothing had to wait");
    cr_assert_not(w.full_seen);
    cr_assert(w.nodes[1].done);
    puppet_end(&u);
    free(u.content);
    world_close(&w);
}

Test(swarm, a_wrong_chunk_costs_its_sender_the_share)
{
    struct world w;
    struct puppet u;
    struct swarm_stat st;

    world_open(&w);
    puppet_play(&w, &u, true, false);
    cr_assert_eq(w.nodes[1].failed, ERR_HASH);
    swarm_stat(w.nodes[1].swarm, &st);
    cr_assert_eq(st.have, 0);
    cr_assert_eq(st.peers, 0);
    puppet_end(&u);
    free(u.content);
    world_close(&w);
}

/* Chunks are verified after the last byte came: who sent them may have left. */
Test(swarm, a_liar_that_flees_is_not_taken_in_again)
{
    struct world w;
    struct puppet u;
    struct swarm_stat st;

    world_open(&w);
    puppet_play(&w, &u, true, true);
    cr_assert_eq(w.nodes[1].failed, ERR_HASH);
    free(u.content);
    w.nodes[1].failed = 0;
    puppet_play(&w, &u, true, false);
    swarm_stat(w.nodes[1].swarm, &st);
    cr_assert_eq(st.peers, 0);
    cr_assert_eq(w.nodes[1].failed, 0);
    puppet_end(&u);
    free(u.content);
    world_close(&w);
}

/* --- a swarm that is full -------------------------------------------------------------- */

/* A member that only joins, and writes down how it is received. */
struct visitor {
    struct world *world;
    struct peer *peer;
    uint16_t sid;
    char heard[16]; /* a letter for each JOIN, PEERS, LEAVE, REFUSE */
    unsigned told;  /* others that the last PEERS named */
};

static void visitor_join(struct visitor *v)
{
    struct msg m = {.type = MSG_JOIN};

    v->heard[0] = '\0';
    cr_assert_eq(peer_link_add(v->peer, (struct swarm_link *)v, &v->sid), 0);
    m.sid = v->sid;
    memcpy(m.join.key, manifest_key(v->world->manifest), HASH_LEN);
    m.join.chunks = layout_chunks(v->world->layout);
    peer_send(v->peer, &m);
}

static void visitor_leave(struct visitor *v)
{
    struct msg m = {.type = MSG_LEAVE, .sid = v->sid};

    peer_send(v->peer, &m);
    peer_link_remove(v->peer, v->sid);
}

static void visitor_on_up(void *arg, struct peer *p)
{
    (void)p;
    visitor_join(arg);
}

/* Whoever is turned away leaves, as every JOIN ends. */
static void visitor_on_msg(void *arg, struct peer *p, const struct msg *m)
{
    static const char letters[MSG_TYPES] = {
        [MSG_JOIN] = 'J', [MSG_PEERS] = 'P', [MSG_LEAVE] = 'L', [MSG_REFUSE] = 'R'};
    struct visitor *v = arg;
    size_t len = strlen(v->heard);

    (void)p;
    if (letters[m->type] == '\0' || len + 1 == sizeof(v->heard))
        return;
    v->heard[len] = letters[m->type];
    v->heard[len + 1] = '\0';
    if (m->type == MSG_PEERS)
        v->told = m->peers.count;
    if (m->type == MSG_LEAVE || m->type == MSG_REFUSE)
        visitor_leave(v);
}

static void visitor_on_closed(void *arg, struct peer *p, int err)
{
    (void)arg;
    (void)p;
    (void)err; /* not told in every build */
    cr_assert_fail("a visitor was cut off: %d", err);
}

/* Dials the source as the node `as`, with a port that others could dial. */
static void visitor_come(struct world *w, struct visitor *v, unsigned as)
{
    static const struct peer_ops visitor_ops = {visitor_on_up, visitor_on_msg, puppet_on_writable,
                                                visitor_on_closed};
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct peer_cfg cfg = {.base = w->base,
                           .tls = w->nodes[as].tls,
                           .session = {.nick = "visitor", .port = 4711},
                           .ops = &visitor_ops,
                           .arg = v};

    to.sin6_port = htons(listener_port(w->nodes[0].listener));
    *v = (struct visitor){.world = w};
    cr_assert_eq(peer_dial(&cfg, (struct sockaddr *)&to, sizeof(to), &v->peer), 0);
}

/* Until it has heard that. */
static void visitor_wait(const struct visitor *v, char what)
{
    uint64_t end_ms = clock_ms() + (uint64_t)PATIENCE_S * 1000;

    while (strchr(v->heard, what) == NULL && clock_ms() < end_ms)
        event_base_loop(v->world->base, EVLOOP_ONCE);
}

/* A newcomer with nobody else to turn to is told of the others, but not time and again. */
Test(swarm, who_finds_it_full_is_told_of_the_others_once)
{
    enum { FIRST = SWARM_LINKS_MAX, SECOND };
    struct world w;
    struct visitor v[SWARM_LINKS_MAX + 2];

    world_open(&w);
    for (unsigned i = 0; i < SWARM_LINKS_MAX; i++) {
        visitor_come(&w, &v[i], 1);
        visitor_wait(&v[i], 'J');
    }
    visitor_come(&w, &v[FIRST], 2);
    visitor_wait(&v[FIRST], 'L');
    cr_assert_str_eq(v[FIRST].heard, "JPL");
    cr_assert_eq(v[FIRST].told, SWARM_LINKS_MAX);
    cr_assert_eq(swarm_links(w.nodes[0].swarm), SWARM_LINKS_MAX);

    visitor_join(&v[FIRST]);
    visitor_wait(&v[FIRST], 'R');
    cr_assert_str_eq(v[FIRST].heard, "R", "told once more, within SWARM_INTRO_MS");

    visitor_come(&w, &v[SECOND], 3);
    visitor_wait(&v[SECOND], 'L');
    cr_assert_str_eq(v[SECOND].heard, "JPL", "it was not told before");
    cr_assert_eq(swarm_links(w.nodes[0].swarm), SWARM_LINKS_MAX);

    for (unsigned i = 0; i < SWARM_LINKS_MAX; i++)
        visitor_leave(&v[i]);
    for (unsigned i = 0; i < SWARM_LINKS_MAX + 2; i++)
        peer_free(v[i].peer, 0);
    world_close(&w);
}
