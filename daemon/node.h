/* node: owns everything that runs and joins discovery to transfer. The control
 * API (api.c) is its only client. Loop thread only.
 */
#ifndef RONDA_NODE_H
#define RONDA_NODE_H

#include <event2/event.h>

#include "daemon/catalog.h"
#include "daemon/config.h"
#include "daemon/library.h"

struct node;

enum { NODE_ERROR_BYTES = 1024, NODE_JOBS_MAX = 64 };

/* error: one sentence that names the thing and the way out. cfg outlives the node. */
int node_new(struct event_base *base, struct config *cfg, struct node **out,
             char error[static NODE_ERROR_BYTES]) RONDA_MUST_CHECK;
/* Begins an orderly end: goodbye by mDNS, BYE to peers, journals synced; done
 * is called once, within 3 s, whether the disks have answered or not. */
void node_stop(struct node *n, void (*done)(void *arg), void *arg);
/* After node_stop(). false: a disk keeps a worker longer than wait_ms, and would keep
 * node_free() as well: leave without it. Nothing that was promised is lost: what was
 * not synced and journalled was never called durable, and is read again, or fetched, as
 * after a kill; a share is told as done only once it is saved. */
bool node_settle(struct node *n, uint32_t wait_ms) RONDA_MUST_CHECK;
void node_free(struct node *n);

const struct catalog *node_catalog(const struct node *n);

struct node_info {
    const uint8_t *id; /* NodeID */
    const char *name;  /* instance name now */
    uint16_t port;
    const char *discovery_backend; /* "avahi-daemon", "embedded", "off" */
    const char *discovery_state;   /* last on_state clause */
    uint64_t uptime_ms;
    uint32_t hosts_asked;   /* neighbours whose catalogue we know or asked for */
    uint32_t hosts_waiting; /* of these, not answered yet */
};
void node_info(const struct node *n, struct node_info *out);

/* One share as it stands now: status, progress and summaries are made of it. */
struct node_share {
    const struct library_share *share;
    enum {
        NODE_IDLE,      /* held; nobody asks */
        NODE_SEEDING,   /* held, and a neighbour fetches */
        NODE_CHECKING,  /* receiving: reads what is already there */
        NODE_WAITING,   /* receiving: no peer that has it right now */
        NODE_RUNNING,   /* receiving */
        NODE_FULL,      /* receiving: paused, disk full */
        NODE_FINISHING, /* receiving: last syncs and renames */
        NODE_PAUSED,    /* stopped by the user */
        NODE_FAILED     /* error says why */
    } state;
    uint64_t done_bytes;        /* verified */
    uint32_t files_done;        /* in place */
    uint32_t peers;             /* in the swarm now */
    uint32_t peers_seen;        /* that sent us at least one byte */
    double down_per_s;          /* 0 unless RUNNING */
    double up_per_s;            /* 0 when IDLE, WAITING or PAUSED */
    uint64_t received_bytes;    /* payload, all peers, this transfer */
    uint64_t from_source_bytes; /* of these, from the node where it was shared */
    uint64_t duplicate_bytes;
    uint64_t uploaded_bytes; /* payload we sent since the daemon started */
    double source_copies;    /* what the source(s) have sent since they were started / bytes; < 0:
                                unknown */
    bool source_restarted;   /* meanwhile: source_copies counts what is known of before, too */
    uint32_t spread;         /* chunks that the others hold between them */
    bool may_leave;          /* those linked hold every chunk between them, or delivered
                                and another host lists it whole; not while receiving */
    uint64_t elapsed_ms;     /* since `get` */
    int error;               /* FAILED */
    const char *path;        /* final or staging place; NULL while unknown */
};
uint32_t node_share_count(const struct node *n);
void node_share_at(const struct node *n, uint32_t i, struct node_share *out);

struct node_peer {
    uint8_t id[HASH_LEN]; /* zeros beyond the first 8 bytes while never connected */
    const char *name;
    struct sockaddr_storage addr; /* where it listens; port 0: nowhere */
    enum { NODE_PEER_KNOWN, NODE_PEER_DIALLING, NODE_PEER_CONNECTED, NODE_PEER_FAILED } state;
    int error; /* FAILED: of the last try */
    bool catalog_known;
    uint32_t shares; /* entries in its catalogue */
    uint32_t swarms; /* transfers in common */
    uint64_t in_bytes, out_bytes;
    bool wireless, wireless_here; /* CONNECTED: its end of the route, as it says; ours */
};
uint32_t node_peer_count(const struct node *n);
void node_peer_at(const struct node *n, uint32_t i, struct node_peer *out);

/* Long-running requests. Events come on the loop, never from inside the call
 * that starts the job. After DONE or ERROR the job is gone. */
struct node_job;
struct node_event {
    enum { NODE_EVENT_PROGRESS, NODE_EVENT_DONE, NODE_EVENT_ERROR } type;
    uint64_t done_bytes, total_bytes; /* share, verify; total 0: not known yet */
    const struct node_share *share;   /* get: always; share and verify: on DONE */
    uint64_t elapsed_ms;
    uint32_t skipped;      /* share, DONE: things left out (symlinks...) */
    const char *was;       /* share, DONE: another name that this path was shared by, or NULL */
    uint32_t bad_chunks;   /* verify, DONE */
    const char *first_bad; /* verify, DONE: path or NULL */
    int err;               /* ERROR */
    const char *text;      /* ERROR: one sentence that names the thing and the way out */
};
typedef void node_event_fn(void *arg, const struct node_event *ev);

/* path absolute; name NULL: its last component. DONE once it can be fetched. */
int node_job_share(struct node *n, const char *path, const char *name, node_event_fn *fn, void *arg,
                   struct node_job **out) RONDA_MUST_CHECK;
/* Waits for hosts that have not answered yet before ERR_NOT_FOUND. dest absolute; NULL:
 * the download directory of the settings. */
int node_job_get(struct node *n, const char *what, const char *dest, node_event_fn *fn, void *arg,
                 struct node_job **out) RONDA_MUST_CHECK;
int node_job_verify(struct node *n, const char *what, node_event_fn *fn, void *arg,
                    struct node_job **out) RONDA_MUST_CHECK;
/* The client went away: no more events. The indexing of a share stops, and so does
 * a verify. A get pauses: what is staged stays, the same command goes on from there. */
void node_job_abandon(struct node_job *job);

/* ERR_NOT_FOUND, ERR_AMBIGUOUS with error text. Only what this node shares or holds. */
int node_find_own(struct node *n, const char *what, struct library_share **out,
                  char error[static NODE_ERROR_BYTES]) RONDA_MUST_CHECK;
int node_unshare(struct node *n, struct library_share *s) RONDA_MUST_CHECK;
/* The .torrent of a share that this node holds, malloc'd. Known bad: it reads the share's
 * manifest on the loop when that is not in memory (100,000 files: 50 ms; 500,000: 0.35 s). */
int node_torrent(struct node *n, struct library_share *s, uint8_t **out,
                 size_t *len_bytes) RONDA_MUST_CHECK;

#endif
