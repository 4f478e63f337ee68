/* Two whole nodes in one process, on one loop: what may block is seen when the loop's
 * own thread does it. Linked with --wrap for each function below. */
#include "daemon/node.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/library_int.h"
#include "daemon/node_int.h"

enum { FILES = 1500, PATIENCE_S = 60 };

static struct {
    bool serving; /* the loop has begun */
    pid_t loop;
    unsigned parses, loads, syncs, cached;
} blocked;

static void note(unsigned *count)
{
    if (blocked.serving && gettid() == blocked.loop)
        (*count)++;
}

int __real_manifest_parse(hash_fn *hash, const uint8_t *data, size_t len, struct manifest **out);
int __wrap_manifest_parse(hash_fn *hash, const uint8_t *data, size_t len, struct manifest **out);
int __wrap_manifest_parse(hash_fn *hash, const uint8_t *data, size_t len, struct manifest **out)
{
    if (len > NODE_META_ON_LOOP_BYTES)
        note(&blocked.parses);
    return __real_manifest_parse(hash, data, len, out);
}

int __real_manifest_layers_load(struct manifest *m, hash_fn *hash, const uint8_t *data, size_t len);
int __wrap_manifest_layers_load(struct manifest *m, hash_fn *hash, const uint8_t *data, size_t len);
int __wrap_manifest_layers_load(struct manifest *m, hash_fn *hash, const uint8_t *data, size_t len)
{
    if (len > NODE_META_ON_LOOP_BYTES)
        note(&blocked.parses);
    return __real_manifest_layers_load(m, hash, data, len);
}

int __real_library_disk_manifest(int fd, hash_fn *hash, const uint8_t *id, struct manifest **m,
                                 struct store_stamp **stamps);
int __wrap_library_disk_manifest(int fd, hash_fn *hash, const uint8_t *id, struct manifest **m,
                                 struct store_stamp **stamps);
int __wrap_library_disk_manifest(int fd, hash_fn *hash, const uint8_t *id, struct manifest **m,
                                 struct store_stamp **stamps)
{
    note(&blocked.loads);
    return __real_library_disk_manifest(fd, hash, id, m, stamps);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    note(&blocked.syncs);
    return __real_fsync(fd);
}

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    note(&blocked.syncs);
    return __real_fdatasync(fd);
}

int __real_index_cache_get(struct index_cache *c, const struct store_stamp *stamp,
                           uint32_t piece_bytes, uint8_t root[static HASH_LEN], uint8_t **layer);
int __wrap_index_cache_get(struct index_cache *c, const struct store_stamp *stamp,
                           uint32_t piece_bytes, uint8_t root[static HASH_LEN], uint8_t **layer);
int __wrap_index_cache_get(struct index_cache *c, const struct store_stamp *stamp,
                           uint32_t piece_bytes, uint8_t root[static HASH_LEN], uint8_t **layer)
{
    note(&blocked.cached);
    return __real_index_cache_get(c, stamp, piece_bytes, root, layer);
}

void __real_index_cache_put(struct index_cache *c, const struct store_stamp *stamp,
                            uint32_t piece_bytes, const uint8_t root[static HASH_LEN],
                            const uint8_t *layer);
void __wrap_index_cache_put(struct index_cache *c, const struct store_stamp *stamp,
                            uint32_t piece_bytes, const uint8_t root[static HASH_LEN],
                            const uint8_t *layer);
void __wrap_index_cache_put(struct index_cache *c, const struct store_stamp *stamp,
                            uint32_t piece_bytes, const uint8_t root[static HASH_LEN],
                            const uint8_t *layer)
{
    note(&blocked.cached);
    __real_index_cache_put(c, stamp, piece_bytes, root, layer);
}

static size_t unread; /* by each contact */

size_t __real_peer_queued_bytes(const struct peer *p);
size_t __wrap_peer_queued_bytes(const struct peer *p);
size_t __wrap_peer_queued_bytes(const struct peer *p)
{
    return unread > 0 ? unread : __real_peer_queued_bytes(p);
}

/* --- two nodes ------------------------------------------------------------------- */

struct guest {
    struct config cfg;
    struct node *node;
    char state[96], runtime[96], downloads[96];
};

static struct {
    char dir[64];
    struct event_base *base;
    struct guest source, taker;
    struct node_event last; /* of the job that ended last */
    char text[NODE_ERROR_BYTES];
    unsigned running;
} party;

static void guest_begin(struct guest *g, const char *name, char *peer)
{
    char error[NODE_ERROR_BYTES];

    snprintf(g->state, sizeof(g->state), "%s/%s-state", party.dir, name);
    snprintf(g->runtime, sizeof(g->runtime), "%s/%s-runtime", party.dir, name);
    snprintf(g->downloads, sizeof(g->downloads), "%s/%s-downloads", party.dir, name);
    cr_assert_eq(mkdir(g->downloads, 0700), 0);
    g->cfg = (struct config){.state_dir = g->state,
                             .runtime_dir = g->runtime,
                             .download_dir = g->downloads,
                             .discovery = DISCOVERY_OFF,
                             .peers = {peer},
                             .reserve_bytes = UINT64_MAX,
                             .workers = 2};
    cr_assert_eq(node_new(party.base, &g->cfg, &g->node, error), 0, "%s", error);
}

static void give_up(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    cr_assert_fail("nothing happened for %d s", PATIENCE_S);
}

/* Until there is nothing left to wait for. */
static void party_run(void)
{
    const struct timeval patience = {PATIENCE_S, 0};
    struct event *end = evtimer_new(party.base, give_up, NULL);

    event_add(end, &patience);
    event_base_dispatch(party.base);
    event_free(end);
}

static void job_over(void *arg, const struct node_event *ev)
{
    (void)arg;
    if (ev->type == NODE_EVENT_PROGRESS)
        return;
    party.last = *ev;
    snprintf(party.text, sizeof(party.text), "%s", ev->text != NULL ? ev->text : "");
    if (--party.running == 0)
        event_base_loopbreak(party.base);
}

static void party_wait(void)
{
    party_run();
    cr_assert_eq(party.last.type, NODE_EVENT_DONE, "%s", party.text);
}

static void share_it(const char *path)
{
    struct node_job *job;

    party.running++;
    cr_assert_eq(node_job_share(party.source.node, path, NULL, job_over, NULL, &job), 0);
    party_wait();
}

static void get_it(struct guest *g, const char *what, const char *dest)
{
    struct node_job *job;

    party.running++;
    cr_assert_eq(node_job_get(g->node, what, dest, job_over, NULL, &job), 0);
}

static void write_file(const char *path, size_t bytes)
{
    static const char text[4096] = "what is in it";
    FILE *f = fopen(path, "w");

    cr_assert_not_null(f);
    for (size_t at = 0; at < bytes; at += sizeof(text))
        cr_assert_eq(fwrite(text, bytes - at < sizeof(text) ? bytes - at : sizeof(text), 1, f), 1);
    cr_assert_eq(fclose(f), 0);
}

/* Its info dictionary is too long to be read on the loop. */
static char *folder_of_many(const char *name)
{
    static char dir[128];
    char path[256];

    snprintf(dir, sizeof(dir), "%s/%s", party.dir, name);
    cr_assert_eq(mkdir(dir, 0700), 0);
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(path, sizeof(path), "%s/%s-%u", dir, "a-name-of-some-length", i);
        write_file(path, 1 + i % 7);
    }
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void setup(void)
{
    struct node_info info;
    static char peer[32];

    snprintf(party.dir, sizeof(party.dir), "/tmp/ronda-node-XXXXXX");
    cr_assert_not_null(mkdtemp(party.dir));
    party.base = event_base_new();
    guest_begin(&party.source, "source", NULL);
    node_info(party.source.node, &info);
    snprintf(peer, sizeof(peer), "127.0.0.1:%u", info.port);
    guest_begin(&party.taker, "taker", peer);
    blocked.loop = gettid();
    blocked.serving = true;
}

static void on_stopped(void *arg)
{
    (void)arg;
    if (--party.running == 0)
        event_base_loopbreak(party.base);
}

static void teardown(void)
{
    party.running = 2;
    node_stop(party.source.node, on_stopped, NULL);
    node_stop(party.taker.node, on_stopped, NULL);
    party_run();
    blocked.serving = false;
    node_free(party.source.node);
    node_free(party.taker.node);
    event_base_loop(party.base, EVLOOP_NONBLOCK);
    event_base_free(party.base);
    nftw(party.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(node, .init = setup, .fini = teardown);

static void assert_never_blocked(void)
{
    cr_expect_eq(blocked.parses, 0, "a long manifest was read on the loop");
    cr_expect_eq(blocked.loads, 0, "the loop read a share from the disk");
    cr_expect_eq(blocked.cached, 0, "the loop read or wrote the index of hashed files");
    cr_expect_eq(blocked.syncs, 0, "the loop waited for the disk");
}

Test(node, a_folder_of_many_files_never_holds_up_the_loop)
{
    char other[128];

    share_it(folder_of_many("many"));
    get_it(&party.taker, "many", NULL);
    party_wait();
    cr_assert_eq(party.last.done_bytes, party.last.total_bytes);
    assert_never_blocked();

    /* Again, from what is here: it is read back. */
    snprintf(other, sizeof(other), "%s/other", party.dir);
    cr_assert_eq(mkdir(other, 0700), 0);
    get_it(&party.source, "many", other);
    party_wait();
    assert_never_blocked();
}

Test(node, two_clients_of_one_share_are_both_served_while_it_is_loaded)
{
    char other[128];

    share_it(folder_of_many("many"));
    snprintf(other, sizeof(other), "%s/other", party.dir);
    cr_assert_eq(mkdir(other, 0700), 0);
    get_it(&party.taker, "many", NULL);
    get_it(&party.source, "many", other);
    party_wait();
    assert_never_blocked();
}

Test(node, what_is_verified_is_loaded_on_a_worker)
{
    struct node_job *job;

    share_it(folder_of_many("many"));
    party.running++;
    cr_assert_eq(node_job_verify(party.source.node, "many", job_over, NULL, &job), 0);
    party_wait();
    cr_assert_eq(party.last.bad_chunks, 0);
    assert_never_blocked();
}

Test(node, a_client_that_leaves_at_any_turn_does_no_harm)
{
    share_it(folder_of_many("many"));
    for (unsigned turns = 0; turns < 60; turns++) {
        struct node_job *job;

        cr_assert_eq(node_job_get(party.taker.node, "many", NULL, job_over, NULL, &job), 0);
        party.running = 2; /* nobody ends the loop */
        for (unsigned i = 0; i < turns && party.running == 2; i++)
            event_base_loop(party.base, EVLOOP_ONCE);
        if (party.running == 2)
            node_job_abandon(job);
    }
    party.running = 1;
    get_it(&party.taker, "many", NULL);
    party.running = 1;
    party_wait();
    assert_never_blocked();
}

Test(node, unsharing_what_is_just_being_loaded_is_safe)
{
    struct library_share *own;
    char error[NODE_ERROR_BYTES];

    share_it(folder_of_many("many"));
    get_it(&party.source, "many", party.dir); /* begins to load it, at the next turn */
    event_base_loop(party.base, EVLOOP_ONCE);
    cr_assert_eq(node_find_own(party.source.node, "many", &own, error), 0);
    cr_assert_eq(node_unshare(party.source.node, own), 0);
    party_run();
    cr_assert_eq(node_share_count(party.source.node), 0);
}

/* --- ceilings ------------------------------------------------------------------- */

static void assert_not_found(const char *what)
{
    get_it(&party.taker, what, NULL);
    party_run();
    cr_assert_eq(party.last.type, NODE_EVENT_ERROR);
    cr_assert_eq(party.last.err, ERR_NOT_FOUND, "%s", party.text);
}

static void assert_found(const char *what)
{
    get_it(&party.taker, what, NULL);
    party_wait();
}

Test(node, who_asks_for_more_than_it_reads_is_left)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/talk", party.dir);
    write_file(path, 100);
    share_it(path);
    unread = NODE_UNREAD_BYTES_MAX;
    assert_not_found("talk");
    unread = NODE_UNREAD_BYTES_MAX - 1;
    assert_found("talk");
}

Test(node, catalogues_on_their_way_have_one_ceiling)
{
    char path[128];
    struct host *others = host_new(party.taker.node);

    cr_assert_not_null(others);
    snprintf(path, sizeof(path), "%s/talk", party.dir);
    write_file(path, 100);
    share_it(path);
    others->entry_count = NODE_FETCHED_BYTES_MAX / sizeof(struct msg_entry);
    assert_not_found("talk");
    others->entry_count--;
    assert_found("talk");
}

/* It takes connections, and never says a word. */
static int silent_host(struct node *n)
{
    struct sockaddr_storage addr = {.ss_family = AF_INET};
    struct sockaddr_in *in = (struct sockaddr_in *)&addr;
    socklen_t len = sizeof(*in);
    struct host *h = host_new(n);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(fd, (struct sockaddr *)in, len), 0);
    cr_assert_eq(listen(fd, 4), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)in, &len), 0);
    host_add_addr(h, &addr);
    h->discovered = true;
    return fd;
}

Test(node, of_a_name_that_nobody_has_it_is_told_who_was_asked)
{
    int silent;

    assert_not_found("talk");
    cr_expect_str_eq(party.text, "nothing called \"talk\" on this network (asked 1 host)");
    silent = silent_host(party.taker.node);
    assert_not_found("talk");
    cr_expect_str_eq(party.text, "nothing called \"talk\" on this network (asked 2 hosts, 1 did "
                                 "not answer)");
    close(silent);
}

/* --- rates ---------------------------------------------------------------------- */

/* Of the one share of g, which is open; false: its rates are not known yet. */
static bool rates_known(const struct guest *g)
{
    const struct share *s = share_find(g->node, library_at(g->node->library, 0)->id);
    struct swarm_stat st;

    swarm_stat(s->swarm, &st);
    return st.up_per_s > 0 || st.down_per_s > 0;
}

static void assert_still(const struct guest *g)
{
    struct node_share ns;

    while (!rates_known(g))
        event_base_loop(party.base, EVLOOP_ONCE);
    node_share_at(g->node, 0, &ns);
    cr_expect_eq(ns.state, NODE_IDLE);
    cr_expect_eq(ns.up_per_s, 0, "up %g", ns.up_per_s);
    cr_expect_eq(ns.down_per_s, 0, "down %g", ns.down_per_s);
}

/* The rate is a mean of the last seconds. */
Test(node, what_is_idle_has_no_rate_though_the_mean_has_not_sunk_yet, .timeout = PATIENCE_S)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/talk", party.dir);
    write_file(path, 1 << 20);
    share_it(path);
    assert_found("talk");
    assert_still(&party.source);
    assert_still(&party.taker);
}
