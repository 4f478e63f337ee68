/* node_int: shared by the files of node alone.
 *
 *   node.c         life: start, stop, discovery, listener, the tick
 *   node_hosts.c   the nodes we know of
 *   node_contacts.c  connections to them, one session each
 *   node_catalogs.c  what they hold
 *   node_load.c    the shares that are in use: their life, from the library into memory
 *   node_open.c    the stores of these: opened, or discarded with what is staged
 *   node_swarm.c   their swarms: whom they link to
 *   node_outcome.c  received whole, or failed
 *   node_shares.c  all of them: what the user and the neighbours ask, the tick
 *   node_meta.c    manifests over the wire: serving and fetching
 *   node_jobs.c    what a client of the control API asked for
 *   node_get.c     of these, the steps of `get`
 *   node_work.c    the part of them that blocks, on a worker
 *   node_own.c     what it asks of our own shares
 */
#ifndef RONDA_NODE_INT_H
#define RONDA_NODE_INT_H

#include <sys/queue.h>

#include "daemon/node.h"
#include "transfer/io/clock.h"
#include "transfer/io/index_cache.h"
#include "transfer/io/indexer.h"
#include "transfer/io/listener.h"
#include "transfer/io/swarm.h"

#define NODE_NEVER UINT64_MAX

enum {
    NODE_STOP_TICK_MS = 20,
    NODE_TICK_MS = 200, /* while anything is going on; else there is no tick */
    NODE_HOSTS_MAX = 512,
    NODE_EXCHANGED_MAX = 128, /* of these, known by peer exchange alone */
    NODE_CONTACTS_MAX = 256,  /* connections at once: a flood of them ends here */
    NODE_UNKNOWN_MAX = 64,    /* of these, accepted and not through HELLO yet */
    NODE_UNKNOWN_PER_ADDR = 8,
    NODE_UNREAD_BYTES_MAX = 32 << 20,  /* to all contacts: over it none gets a second answer */
    NODE_FETCHED_BYTES_MAX = 32 << 20, /* entries of catalogues that are not whole yet */
    NODE_DIALS_MAX = 32,               /* own dials at once */
    NODE_REACH_MS = 1000,              /* then the next address of a host is tried */
    NODE_DIAL_BACKOFF_MS = 1000,       /* doubling, after a failed dial */
    NODE_DIAL_BACKOFF_MAX_MS = 30000,
    NODE_DIAL_TURN_MS = 1000,        /* the larger NodeID of a pair waits so long for the other */
    NODE_CATALOG_MS = 10000,         /* a host that has not answered by then is not waited for */
    NODE_META_MS = 5000,             /* without an answer: ask another host */
    NODE_META_REACH_MS = 10000,      /* none of them can be asked for so long: as if all refused */
    NODE_META_ON_LOOP_BYTES = 65536, /* more than this of a manifest is for a worker */
    NODE_META_ROUNDS = 3,            /* so often all are asked before a `get` ends */
    NODE_GRACE_MS = 5000,            /* after start nobody is told "not found" sooner */
    NODE_REFRESH_MS = 1500,          /* after asking all hosts again for a name nobody had */
    NODE_SHARE_IDLE_MS = 10000,      /* a held share nobody needs is closed */
    NODE_RETRY_MS = 1000, /* doubling: a receiving that failed is tried again by itself */
    NODE_RETRY_MAX_MS = 30000,
    NODE_WANT_MS = 3000, /* a wish for a session lasts so long unless renewed */
    NODE_STOP_MS = 2500,
    NODE_JOINS_PENDING = 64,
    NODE_METAS_PENDING = 64,
    NODE_SHARES_LOADED_MAX = 256, /* with these in memory, none more is loaded for a peer */
    NODE_MEMBERS_MAX = 128,       /* members of a swarm known by peer exchange */
    NODE_PROGRESS_MS = 200
};

/* A node we know of. */
struct host {
    TAILQ_ENTRY(host) entry;
    uint8_t id[HASH_LEN]; /* only DISCOVERY_ID_BYTES of it while !id_known */
    bool id_known;
    bool discovered;  /* mDNS tells of it now */
    bool fixed;       /* --peer */
    bool exchanged;   /* nothing but peer exchange has told of it */
    bool name_warned; /* another device has that name */
    char name[DISCOVERY_NAME_BYTES];
    char *fixed_text;
    struct sockaddr_storage addrs[DISCOVERY_ADDRS_MAX];
    unsigned addr_count, addr_next;
    unsigned addr_tried;          /* of them without success, since the last one */
    struct sockaddr_storage good; /* the last that we got through to */
    struct contact *contact;      /* the one session, or the dial that is to become it */
    uint64_t wanted_until_ms;     /* a swarm or a job wants a session with it */
    uint64_t dial_ms;             /* not before; 0: no wish */
    uint64_t backoff_ms;
    int error;         /* of the last try */
    uint32_t failures; /* dials in a row */
    bool resolving;

    uint64_t version_seen; /* of its catalogue, as told by TXT, HELLO or a notice */
    uint64_t version_got;
    bool catalog_known;
    bool fetching;
    uint64_t asked_ms;
    uint64_t fetch_version;
    uint32_t fetch_total, entry_count;
    struct msg_entry *entries; /* while fetching */
    uint32_t share_count;
};

/* One connection, from dial or accept on. */
struct contact {
    TAILQ_ENTRY(contact) entry;
    struct node *node;
    struct peer *peer;
    struct host *host; /* accepted ones: NULL until the session is open */
    bool open;
    bool inbound;
    uint64_t told_version; /* of our catalogue, in HELLO */
    struct sockaddr_storage addr;
};

enum share_phase {
    SHARE_LOADING,   /* a worker reads manifest, layout and stamps: they are not there yet */
    SHARE_LOADED,    /* in memory (or error_load), nothing open */
    SHARE_OPENING,   /* a worker opens the store */
    SHARE_ACTIVE,    /* swarm running */
    SHARE_ENDING,    /* received whole: a worker takes the stamps */
    SHARE_STOPPING,  /* the swarm winds up */
    SHARE_DISCARDING /* a worker removes what was staged */
};

/* A JOIN that waits for the share to open. */
struct join_pending {
    struct contact *contact;
    uint32_t chunks;
    uint16_t sid;
    uint8_t flags;
};

/* A META_GET that waits for the share to be loaded. */
struct meta_pending {
    struct contact *contact;
    uint32_t offset_bytes;
    uint8_t what;
};

/* A share in use: the runtime half of a library_share. */
struct share {
    TAILQ_ENTRY(share) entry;
    struct node *node;
    struct library_share *lib; /* NULL once removed from the library */
    uint8_t id[HASH_LEN];
    struct manifest *manifest; /* NULL while SHARE_LOADING, and after error_load */
    struct layout *layout;
    struct store_stamp *stamps;
    int error_load;
    struct store *store;
    struct swarm *swarm;
    char *open_path, *open_dest, *open_name; /* where the opening worker looks */
    char *twin_path; /* the same content here under another name; NULL: none */
    uint8_t twin_id[HASH_LEN];
    _Atomic bool closing; /* what the opening worker reads and copies is to end */
    enum share_phase phase;
    bool receiving;
    bool reopen;  /* asked for while loading, or again while stopping */
    bool discard; /* to be removed with all that is staged */
    bool unsaved; /* received whole, but the library cannot be written */
    int error;
    int error_late; /* failed while ENDING: dealt with once that is over */
    int error_logged;
    uint64_t retry_ms, retry_wait_ms; /* receiving, after an error */
    uint64_t used_ms;
    uint64_t started_ms, ended_ms; /* of the receiving */
    uint64_t connect_ms;           /* next look for members to link to */
    uint64_t joined_ms;            /* the swarm runs since then */
    uint32_t others;               /* members known, linked or not */
    bool full_told;                /* the log says that the disk is full */
    struct swarm_stat last;        /* of the swarm, kept after it ended */
    struct join_pending joins[NODE_JOINS_PENDING];
    uint32_t join_count;
    struct meta_pending metas[NODE_METAS_PENDING];
    uint32_t meta_count;
    uint8_t members[NODE_MEMBERS_MAX][HASH_LEN];
    uint32_t member_count;
};

enum job_type { JOB_SHARE, JOB_GET, JOB_VERIFY };
enum job_step { JOB_RESOLVE, JOB_META, JOB_RUN, JOB_COPY };

struct node_job {
    TAILQ_ENTRY(node_job) entry;
    struct node *node;
    enum job_type type;
    enum job_step step;
    node_event_fn *fn; /* NULL: abandoned */
    void *arg;
    char *what; /* path for JOB_SHARE */
    char *dest;
    char *name;
    uint64_t started_ms, progress_ms;
    uint64_t refreshed_ms; /* all hosts were asked again then; 0: not yet */
    uint8_t id[HASH_LEN], key[HASH_LEN];
    struct share *share;
    struct indexer *indexer;
    struct store_stamp *stamps; /* of what was indexed */
    uint64_t done_bytes, total_bytes;
    uint32_t skipped;
    char *was; /* JOB_SHARE: see struct node_event; NULL: none */

    /* JOB_META */
    struct manifest *manifest;
    uint8_t *blob;
    uint32_t blob_bytes, blob_total;
    uint8_t blob_what;
    struct contact *meta_from;
    uint32_t meta_tries;
    uint32_t meta_fails; /* in this round: no answer, or a refusal */
    uint32_t meta_rounds;
    uint64_t meta_ms;
    uint64_t meta_reach_ms; /* somebody must be there to ask by then; 0: not set */
    uint64_t meta_pause_ms; /* back to JOB_RESOLVE then; 0: no */

    /* on a worker (node_work.c) */
    bool working;
    _Atomic bool cancelled;
    _Atomic uint64_t worked_bytes;
    char *source_path, *result_path;
    const char *first_bad;
};

struct node {
    struct event_base *base;
    struct config *cfg;
    struct tls *tls;
    struct workers *workers;
    struct discovery *discovery;
    struct listener *listener;
    struct library *library;
    struct catalog *catalog;
    struct index_cache *cache;
    struct event *tick;
    char name[DISCOVERY_NAME_BYTES];
    char discovery_state[160];
    const uint8_t *id;
    uint64_t started_ms;
    uint64_t tick_ms; /* while ticking: when */
    uint64_t boot_mark;
    uint64_t catalog_version;
    uint64_t rng;
    bool ticking, stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
    uint64_t stop_ms;

    TAILQ_HEAD(, host) hosts;
    uint32_t host_count;
    TAILQ_HEAD(, contact) contacts;
    uint32_t contact_count, unknown_count;
    TAILQ_HEAD(, share) shares;
    TAILQ_HEAD(, node_job) jobs;
    uint32_t job_count;
};

/* node.c */
void node_wake(struct node *n);  /* there is something to look after: tick */
void node_hurry(struct node *n); /* a user waits for the next step: tick at the next turn */
uint64_t node_random(struct node *n);
void node_catalog_changed(struct node *n); /* our own library changed */
/* Our library as catalogue entries from first on; returns how many were written. */
uint32_t node_entries(const struct node *n, uint32_t first, struct msg_entry *out, uint32_t max,
                      uint32_t *total);
void node_on_msg(struct contact *c, const struct msg *m);

/* node_hosts.c */
void hosts_on_found(struct node *n, const struct discovery_peer *p);
void hosts_on_lost(struct node *n, const uint8_t *id);
void hosts_on_network(struct node *n); /* links or addresses changed */
int hosts_add_fixed(struct node *n, const char *text) RONDA_MUST_CHECK;
struct host *host_new(struct node *n);                            /* NULL: no room */
struct host *host_by_id(const struct node *n, const uint8_t *id); /* HASH_LEN bytes */
struct host *host_by_prefix(const struct node *n, const uint8_t *id);
/* The address that worked before is the first to be tried again. */
void host_prefer_good(struct host *h);
void host_add_addr(struct host *h, const struct sockaddr_storage *addr);
/* A member told by peer exchange; NULL when it cannot be dialled. */
struct host *host_from_exchange(struct node *n, const struct msg_peer *who, struct peer *via);
/* Wants a session with h for the next NODE_WANT_MS. */
void host_want(struct host *h, struct node *n, uint64_t delay_ms);
bool host_is_wanted(const struct host *h);
/* h answers at the address that `old` was given by --peer: h is that peer now. */
void host_take_fixed(struct node *n, struct host *h, struct host *old);
/* h has proved its NodeID: another that used its name is another device. */
void host_check_name(struct host *h, const struct node *n);
void host_drop_fixed(struct node *n, struct host *h);   /* that --peer is of no use */
void host_forget_stale(struct node *n, struct host *h); /* h may be gone afterwards */
/* How long we leave the dial to the other of the pair: 0 for the smaller NodeID. */
uint64_t host_turn_ms(const struct node *n, const struct host *h);
/* Keeps the session while something of this host's is awaited, or no mDNS tells of it. */
void host_hold(struct host *h);
uint64_t hosts_tick(struct node *n, uint64_t now); /* when to look again; NODE_NEVER */
void hosts_close(struct node *n);
void hosts_free(struct node *n);

/* node_contacts.c */
void hosts_on_accept(struct node *n, int fd, const struct sockaddr *addr);
void host_dial(struct node *n, struct host *h);
void host_failed(struct host *h, struct node *n, int err); /* backs off */
unsigned contact_links(const struct contact *c);           /* swarms in common */
void contact_free(struct contact *c, int err);
/* false: c is gone, for it asks for more than it reads, and so do others. To be asked
 * before each answer of some length. */
bool contact_may_ask(struct contact *c);

/* node_catalogs.c */
bool host_catalog_stale(const struct host *h);
void host_fetch_end(struct host *h); /* no more answers will come */
void host_forget_catalog(struct host *h, struct node *n);
void host_fetch_catalog(struct host *h, struct node *n);
void hosts_waiting(const struct node *n, uint32_t *asked, uint32_t *waiting);
void hosts_refresh(struct node *n); /* ask every host for its catalogue again */
void hosts_notice(struct node *n);  /* tell open sessions that our catalogue changed */
void contact_notice(struct contact *c);
void hosts_on_catalog_get(struct contact *c, const struct msg *m);
void hosts_on_catalog(struct contact *c, const struct msg *m);

/* node_load.c */
struct share *share_find(const struct node *n, const uint8_t *id);
void share_free(struct share *s);
/* The runtime of lib. -EINPROGRESS: a worker reads it, *out is SHARE_LOADING; jobs ask
 * again by their tick, which then comes at once. Else errors of library_load(), the same
 * for NODE_SHARE_IDLE_MS, or ERR_LIMIT, -ENOMEM. */
int share_use(struct node *n, struct library_share *lib, struct share **out) RONDA_MUST_CHECK;
/* The same for a peer: ERR_LIMIT when peers have had many loaded already. */
int share_lend(struct node *n, struct library_share *lib, struct share **out) RONDA_MUST_CHECK;
/* A manifest just fetched: library entry and runtime. Takes m. */
int share_receive(struct node *n, struct manifest *m, const char *dest,
                  struct share **out) RONDA_MUST_CHECK;

/* node_open.c */
void share_open(struct share *s); /* to SHARE_ACTIVE; nothing when under way already */
/* Removes the staging directory, too, once the share leaves the library. */
void share_discard(struct share *s);
void share_discard_now(struct share *s); /* nothing of it runs any more */

/* node_swarm.c */
void share_start(struct share *s);   /* its store is open: to SHARE_ACTIVE, or share_failed() */
void share_stop(struct share *s);    /* back to SHARE_LOADED, in its time */
void share_connect(struct share *s); /* looks for members to link to */
void share_on_host(struct share *s, const struct host *h); /* see shares_on_host() */
/* Whoever waits to join is told that it cannot. */
void share_refuse_pending(struct share *s, int err);

/* node_outcome.c */
void share_failed(struct share *s, int err); /* noted, told to the jobs; tried again in its time */
void share_on_failed(void *arg, int err);    /* the swarm of this share did, or has to end */
void share_on_done(void *arg);               /* its swarm has all files in place */
/* What it shares was found to be wrong: not served until it is shared again. */
void share_spoiled(struct share *s);
/* After an error: opens a receiving again, or notes one that is whole. */
void share_retry(struct share *s, uint64_t now);

/* node_shares.c */
/* Stops a receiving and remembers that the user wished it. */
void share_pause(struct share *s);
/* The runtime lets go of its library entry, which was replaced or removed. */
void share_detach(struct share *s);
/* Leaves the library; the runtime goes when nothing runs any more. */
void share_remove(struct node *n, struct library_share *lib);
void shares_on_join(struct contact *c, const struct msg *m);
void shares_on_msg(struct contact *c, const struct msg *m); /* swarm_takes() it */
void shares_on_host(struct node *n, const struct host *h); /* a session, or its catalogue, is new */
void shares_drop_contact(struct contact *c);
bool shares_tick(struct node *n, uint64_t now);
bool shares_busy(const struct node *n); /* a worker or a swarm still runs */
void shares_stop(struct node *n);
void shares_free(struct node *n);

/* node_meta.c */
void meta_on_get(struct contact *c, const struct msg *m);
void meta_serve(struct share *s); /* it is loaded, or cannot be: answers who waited */
void meta_forget(struct share *s, const struct contact *c);
void meta_on_answer(struct contact *c, const struct msg *m);
void meta_drop_contact(struct contact *c);
bool meta_uses(const struct contact *c); /* an answer is awaited from there */
/* Goes on fetching; true: job->manifest is complete. Otherwise the job may be gone, or
 * back at JOB_RESOLVE: nobody who lists the share gave it out. */
bool meta_step(struct node_job *job, uint64_t now);
void meta_end(struct node_job *job);

/* node_work.c: what a job does on a worker. The share's manifest and layout stay
 * as long as the job does; nothing else of the loop's is touched. */
/* Copies content that this node holds (job->share, at job->source_path) into
 * job->dest under the names of manifest; job->result_path is where it went.
 * ERR_CHANGED: it is not there any more, what could be copied is staged in dest. */
int work_copy(void *arg);
/* The chunks of s that `to` lacks, from another store of the same content, each
 * verified on the way, then synced. worked_bytes may be NULL. source_bad: the
 * error is from's, not to's. */
int work_copy_chunks(const struct share *s, struct store *from, struct store *to,
                     const _Atomic bool *cancelled, _Atomic uint64_t *worked_bytes,
                     bool *source_bad);
/* Number of bad chunks, job->first_bad; or an error. */
int work_verify(void *arg);

/* node_jobs.c */
int job_new(struct node *n, enum job_type type, const char *what, node_event_fn *fn, void *arg,
            struct node_job **out) RONDA_MUST_CHECK;
void job_free(struct node_job *job);
/* The last event of a job, which is gone afterwards: an error in one sentence... */
void job_error(struct node_job *job, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* ... or success, with lib as it stands now. */
void job_done(struct node_job *job, const struct library_share *lib);
/* Hands the job to a worker; it may have ended by job_error() afterwards. */
void job_work(struct node_job *job, workers_run_fn *run, workers_done_fn *done);
bool jobs_tick(struct node *n, uint64_t now);
bool jobs_use(const struct node *n, const struct share *s);
bool jobs_working(const struct node *n);
void jobs_cancel(struct node *n);
void jobs_free(struct node *n);

/* node_get.c: the steps of JOB_GET; the job may be gone after each. */
void job_resolve(struct node_job *job, uint64_t now);
void job_fetch_meta(struct node_job *job, uint64_t now);
void jobs_on_share(struct share *s); /* its state changed: done or failed */

/* node_own.c: lib as it stands now, in use or not. */
void node_share_describe(const struct node *n, const struct library_share *lib,
                         struct node_share *out);

#endif
