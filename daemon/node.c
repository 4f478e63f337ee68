#include "daemon/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/log.h"
#include "daemon/node_int.h"
#include "daemon/runtime_dir.h"
#include "transfer/core/name.h"
#include "transfer/io/sha256.h"

/* --- the tick: only while something is going on -------------------------- */

static void node_end(struct node *n)
{
    void (*stopped)(void *) = n->stopped;

    n->stopped = NULL;
    if (stopped != NULL)
        stopped(n->stopped_arg);
}

static bool node_quiet(const struct node *n)
{
    return !shares_busy(n) && !jobs_working(n) && !library_saving(n->library);
}

/* The next tick comes at at_ms at the latest. */
static void node_tick_by(struct node *n, uint64_t at_ms)
{
    uint64_t now = clock_ms();
    struct timeval tv;

    if (at_ms == NODE_NEVER || (n->ticking && n->tick_ms <= at_ms))
        return;
    n->ticking = true;
    n->tick_ms = at_ms;
    clock_timeval(at_ms > now ? at_ms - now : 0, &tv);
    event_add(n->tick, &tv);
}

static void node_on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct node *n = arg;
    uint64_t now = clock_ms();
    uint64_t next;
    bool soon;

    (void)fd;
    (void)what;
    n->ticking = false;
    soon = library_go_on(n->library);
    if (n->stopping) {
        if (node_quiet(n) || now >= n->stop_ms)
            node_end(n);
        else
            node_wake(n);
        return;
    }
    next = hosts_tick(n, now);
    soon = jobs_tick(n, now) || soon;
    soon = shares_tick(n, now) || soon;
    if (next <= now || (soon && next > now + NODE_TICK_MS))
        next = now + NODE_TICK_MS;
    node_tick_by(n, next);
}

void node_wake(struct node *n)
{
    node_tick_by(n, clock_ms() + (n->stopping ? NODE_STOP_TICK_MS : NODE_TICK_MS));
}

void node_hurry(struct node *n)
{
    if (!n->stopping)
        node_tick_by(n, 0);
}

/* xorshift64*: jitter and dial order need no better (Vigna, 2014). */
uint64_t node_random(struct node *n)
{
    n->rng ^= n->rng >> 12;
    n->rng ^= n->rng << 25;
    n->rng ^= n->rng >> 27;
    return n->rng * 2685821657736338717ULL;
}

/* --- our own catalogue ------------------------------------------------------ */

static void node_entry(const struct library_share *s, struct msg_entry *e)
{
    memset(e, 0, sizeof(*e));
    memcpy(e->id, s->id, HASH_LEN);
    memcpy(e->key, s->key, HASH_LEN);
    e->bytes = s->bytes;
    e->files = s->files;
    e->state = s->state == LIBRARY_HELD ? MSG_STATE_COMPLETE : MSG_STATE_PARTIAL;
    e->flags = s->origin ? MSG_FLAG_ORIGIN : 0;
    snprintf(e->name, sizeof(e->name), "%s", s->name);
}

uint32_t node_entries(const struct node *n, uint32_t first, struct msg_entry *out, uint32_t max,
                      uint32_t *total)
{
    struct msg_entry e;
    uint32_t count = 0;

    *total = 0;
    for (uint32_t i = 0; i < library_count(n->library); i++) {
        const struct library_share *s = library_at(n->library, i);

        if (s->changed || s->state == LIBRARY_PAUSED)
            continue;
        node_entry(s, &e);
        if (*total >= first && count < max)
            out[count++] = e;
        (*total)++;
    }
    return count;
}

static void node_catalog_self(struct node *n)
{
    uint32_t count = 0;
    struct msg_entry *entries = calloc(library_count(n->library) + 1, sizeof(*entries));

    if (entries == NULL)
        return;
    for (uint32_t i = 0; i < library_count(n->library); i++) /* paused ones as well: `ls` here */
        if (!library_at(n->library, i)->changed)
            node_entry(library_at(n->library, i), &entries[count++]);
    if (catalog_set(n->catalog, n->id, true, entries, count) < 0)
        log_warn("the catalogue of this node is not complete: out of memory");
    free(entries);
}

/* For TXT, which goes out on all interfaces: only a connection knows its route. */
static uint8_t node_flags(const struct node *n)
{
    return n->cfg->wireless > 0 ? MSG_FLAG_LEAF : 0;
}

void node_catalog_changed(struct node *n)
{
    n->catalog_version++;
    node_catalog_self(n);
    if (n->discovery != NULL)
        discovery_update(n->discovery, n->catalog_version, node_flags(n));
    hosts_notice(n);
}

/* --- messages ---------------------------------------------------------------- */

void node_on_msg(struct contact *c, const struct msg *m)
{
    if (m->type == MSG_CATALOG_GET)
        hosts_on_catalog_get(c, m);
    else if (m->type == MSG_CATALOG)
        hosts_on_catalog(c, m);
    else if (m->type == MSG_META_GET)
        meta_on_get(c, m);
    else if (m->type == MSG_META || m->type == MSG_META_NO)
        meta_on_answer(c, m);
    else if (m->type == MSG_JOIN)
        shares_on_join(c, m);
    else if (swarm_takes(m->type))
        shares_on_msg(c, m);
}

/* --- discovery ------------------------------------------------------------------ */

static void node_on_found(void *arg, const struct discovery_peer *peer)
{
    hosts_on_found(arg, peer);
}

static void node_on_lost(void *arg, const uint8_t id[static DISCOVERY_ID_BYTES])
{
    hosts_on_lost(arg, id);
}

static void node_on_state(void *arg, const char *backend, const char *what)
{
    struct node *n = arg;

    snprintf(n->discovery_state, sizeof(n->discovery_state), "%s", what);
    log_info("discovery (%s): %s", backend, what);
}

static void node_on_network(void *arg)
{
    hosts_on_network(arg);
}

static const struct discovery_ops node_discovery_ops = {
    .peer_found = node_on_found,
    .peer_lost = node_on_lost,
    .on_state = node_on_state,
    .on_network = node_on_network,
};

static int node_discover(struct node *n)
{
    struct discovery_cfg dc = {
        .base = n->base,
        .mode = n->cfg->discovery,
        .name = n->name,
        .port = listener_port(n->listener),
        .version = MSG_VERSION_MAX,
        .flags = node_flags(n),
        .catalog_version = n->catalog_version,
        .skip_interfaces = n->cfg->skip_set ? (const char *const *)n->cfg->skip_interfaces : NULL,
        .only_interfaces =
            n->cfg->only_interfaces[0] ? (const char *const *)n->cfg->only_interfaces : NULL,
        .ops = &node_discovery_ops,
        .arg = n,
    };

    memcpy(dc.id, n->id, DISCOVERY_ID_BYTES);
    return discovery_new(&dc, &n->discovery);
}

/* --- life ------------------------------------------------------------------------- */

static void node_accept(void *arg, int fd, const struct sockaddr *addr)
{
    hosts_on_accept(arg, fd, addr);
}

static void node_problem(void *arg, const char *text)
{
    (void)arg;
    log_warn("%s", text);
}

/* First of all: nothing else is worth doing without it. */
static int node_open_runtime(struct node *n, char error[static NODE_ERROR_BYTES])
{
    const char *dir = n->cfg->runtime_dir;
    bool group;
    int rc = runtime_dir_make(dir, &group, error);

    if (rc < 0)
        return rc;
    rc = runtime_dir_boot_mark(dir, &n->boot_mark);
    if (rc < 0)
        snprintf(error, NODE_ERROR_BYTES,
                 "cannot use %.400s/boot-mark: %s; remove it, or choose another runtime directory "
                 "with --runtime-dir",
                 dir, err_text(rc));
    return rc;
}

static void node_stuck(void *arg)
{
    node_wake(arg);
}

static int node_open_state(struct node *n, char error[static NODE_ERROR_BYTES])
{
    const char *dir = n->cfg->state_dir;
    char path[4096];
    struct library_cfg lc = {.dir = dir,
                             .hash = sha256,
                             .workers = n->workers,
                             .problem = node_problem,
                             .stuck = node_stuck,
                             .arg = n};
    int rc = library_open(&lc, &n->library);

    if (rc == -EWOULDBLOCK) {
        snprintf(error, NODE_ERROR_BYTES,
                 "another rondad uses the state directory %s: stop it, or give this one its own "
                 "with --state-dir",
                 dir);
        return rc;
    }
    if (rc < 0) {
        snprintf(error, NODE_ERROR_BYTES, "cannot use the state directory %s: %s", dir,
                 err_text(rc));
        return rc;
    }
    snprintf(path, sizeof(path), "%s/node.key", dir);
    rc = tls_new(path, &n->tls);
    if (rc < 0) {
        snprintf(error, NODE_ERROR_BYTES, "cannot use the node key %s/node.key: %s%s", dir,
                 err_text(rc), rc == ERR_DAMAGED ? "; move it away to get a new identity" : "");
        return rc;
    }
    n->id = tls_node_id(n->tls);
    snprintf(path, sizeof(path), "%s/index", dir);
    rc = index_cache_open(path, &n->cache);
    if (rc < 0)
        log_warn("no index of hashed files at %s (%s): files will be hashed again", path,
                 err_text(rc));
    return 0;
}

static int node_listen(struct node *n, char error[static NODE_ERROR_BYTES])
{
    int rc = listener_new(n->base, n->cfg->port, !n->cfg->port_set, node_accept, n, &n->listener);
    if (rc < 0) {
        snprintf(error, NODE_ERROR_BYTES,
                 "cannot listen on TCP port %u: %s; choose another with --listen", n->cfg->port,
                 err_text(rc));
        return rc;
    }
    if (listener_port(n->listener) != n->cfg->port && n->cfg->port != 0)
        log_warn("port %u is taken: listening on %u", n->cfg->port, listener_port(n->listener));
    return 0;
}

static int node_begin(struct node *n, char error[static NODE_ERROR_BYTES])
{
    int rc = catalog_new(&n->catalog);

    if (rc == 0)
        rc = node_discover(n);
    if (rc < 0) {
        snprintf(error, NODE_ERROR_BYTES, "cannot start: %s", err_text(rc));
        return rc;
    }
    for (char **p = n->cfg->peers; *p != NULL; p++) {
        rc = hosts_add_fixed(n, *p);
        if (rc < 0) {
            snprintf(error, NODE_ERROR_BYTES, "cannot use the peer \"%s\": %s", *p, err_text(rc));
            return rc;
        }
    }
    return 0;
}

/* Transfers that were under way when the daemon ended go on by themselves. */
static void node_resume(struct node *n)
{
    struct share *s;
    int rc;

    for (uint32_t i = 0; i < library_count(n->library); i++) {
        struct library_share *lib = library_at(n->library, i);

        if (lib->state != LIBRARY_RECEIVING)
            continue;
        rc = share_use(n, lib, &s);
        if (rc == 0 || rc == -EINPROGRESS)
            share_open(s);
        else
            log_warn("cannot go on with %s: %s", lib->name, err_text(rc));
    }
}

static void node_name(struct node *n)
{
    if (n->cfg->name != NULL)
        snprintf(n->name, sizeof(n->name), "%s", n->cfg->name);
    else
        snprintf(n->name, sizeof(n->name), "guest-%02x%02x", n->id[0], n->id[1]);
    name_cut(n->name, DISCOVERY_NAME_BYTES - 1);
}

int node_new(struct event_base *base, struct config *cfg, struct node **out,
             char error[static NODE_ERROR_BYTES])
{
    struct node *n = calloc(1, sizeof(*n));
    int rc = -ENOMEM;

    *out = NULL;
    snprintf(error, NODE_ERROR_BYTES, "out of memory");
    if (n == NULL)
        return rc;
    n->base = base;
    n->cfg = cfg;
    n->started_ms = clock_ms();
    TAILQ_INIT(&n->hosts);
    TAILQ_INIT(&n->contacts);
    TAILQ_INIT(&n->shares);
    TAILQ_INIT(&n->jobs);
    snprintf(n->discovery_state, sizeof(n->discovery_state), "starting");
    if (getrandom(&n->rng, sizeof(n->rng), 0) != (ssize_t)sizeof(n->rng))
        n->rng = n->started_ms;
    n->rng |= 1;
    /* Only has to differ from what an earlier run has told. */
    n->catalog_version = (uint64_t)time(NULL) << 20;
    n->tick = evtimer_new(base, node_on_tick, n);
    if (n->tick == NULL)
        goto fail;
    rc = node_open_runtime(n, error);
    if (rc < 0)
        goto fail;
    rc = workers_new(base, cfg->workers, &n->workers);
    if (rc < 0) {
        snprintf(error, NODE_ERROR_BYTES, "cannot start threads: %s", err_text(rc));
        goto fail;
    }
    rc = node_open_state(n, error);
    if (rc < 0)
        goto fail;
    node_name(n);
    rc = node_listen(n, error);
    if (rc < 0)
        goto fail;
    rc = node_begin(n, error);
    if (rc < 0)
        goto fail;
    node_catalog_self(n);
    node_resume(n);
    *out = n;
    node_wake(n);
    return 0;
fail:
    node_free(n);
    return rc;
}

void node_stop(struct node *n, void (*done)(void *arg), void *arg)
{
    n->stopping = true;
    n->stopped = done;
    n->stopped_arg = arg;
    n->stop_ms = clock_ms() + NODE_STOP_MS;
    discovery_free(n->discovery);
    n->discovery = NULL;
    listener_free(n->listener);
    n->listener = NULL;
    jobs_cancel(n);
    shares_stop(n);
    hosts_close(n);
    event_del(n->tick);
    n->ticking = false;
    node_wake(n);
}

bool node_settle(struct node *n, uint32_t wait_ms)
{
    return workers_stop(n->workers, wait_ms);
}

void node_free(struct node *n)
{
    if (n == NULL)
        return;
    n->stopping = true; /* for the jobs that end in workers_free() */
    discovery_free(n->discovery);
    listener_free(n->listener);
    hosts_close(n);
    if (n->workers != NULL)
        workers_free(n->workers);
    jobs_free(n);
    shares_free(n);
    hosts_free(n);
    catalog_free(n->catalog);
    index_cache_close(n->cache);
    library_close(n->library);
    tls_free(n->tls);
    if (n->tick != NULL)
        event_free(n->tick);
    free(n);
}

const struct catalog *node_catalog(const struct node *n)
{
    return n->catalog;
}

void node_info(const struct node *n, struct node_info *out)
{
    memset(out, 0, sizeof(*out));
    out->id = n->id;
    out->name = n->discovery != NULL ? discovery_name(n->discovery) : n->name;
    out->port = n->listener != NULL ? listener_port(n->listener) : 0;
    out->discovery_backend = n->discovery != NULL ? discovery_backend(n->discovery) : "off";
    out->discovery_state = n->discovery_state;
    out->uptime_ms = clock_ms() - n->started_ms;
    hosts_waiting(n, &out->hosts_asked, &out->hosts_waiting);
}
