/* swarm_int: shared by the files of swarm alone: swarm.c (life, pump, actions out),
 * swarm_links.c (neighbours, messages in), swarm_send.c (uploads), swarm_receive.c
 * (chunks in flight, disk). */
#ifndef RONDA_SWARM_INT_H
#define RONDA_SWARM_INT_H

#include <sys/queue.h>

#include "transfer/core/rate.h"
#include "transfer/core/sched.h"
#include "transfer/io/clock.h"
#include "transfer/io/swarm.h"

enum {
    SWARM_SPARE_BUFS = 4,
    SWARM_NODE_PREFIX = 8,
    SWARM_SERVE_RETRY_MS = 50,
    SWARM_SERVE_NOW = 1,         /* serve_ms: long past, so at the next turn of the loop */
    SWARM_INTROS = 64,           /* newcomers remembered */
    SWARM_FULL_MAX_MS = 2000,    /* a socket full for so long has a slow receiver, */
    SWARM_FULL_BYTES = 256 << 10 /* or for what these take at an even part of the uplink */
};

/* A chunk that a neighbour is sending us. */
struct inflight {
    TAILQ_ENTRY(inflight) entry;
    uint32_t chunk;
    uint32_t got_bytes;
    uint32_t total_bytes;
    uint8_t *buf; /* NULL until the first byte is here */
};

/* A chunk that we are sending to a neighbour. */
struct upload {
    TAILQ_ENTRY(upload) entry;
    struct swarm_link *link;
    uint32_t chunk;
    uint32_t sent_bytes;
    uint32_t total_bytes;
    uint8_t *cold; /* what a worker read ahead, or NULL */
    uint32_t cold_at, cold_len;
    bool reading; /* a worker fills cold */
    bool stopped; /* freed when the worker is back */
};

/* A whole chunk that a worker verifies and writes. */
struct write_job {
    TAILQ_ENTRY(write_job) entry; /* while it waits for space */
    struct swarm *swarm;
    uint32_t chunk;
    uint32_t len_bytes;
    uint8_t *buf;
    bool verified;
    uint8_t node[HASH_LEN]; /* who sent it */
};

struct swarm_link {
    struct swarm *swarm;
    struct peer *peer;
    uint16_t own_sid;
    uint16_t their_sid;
    bool up;             /* both JOINs are out: in the scheduler */
    bool blocked;        /* its socket is full */
    bool blocked_told;   /* the scheduler knows */
    uint64_t blocked_ms; /* since then */
    bool sent_something;
    uint8_t flags;        /* MSG_FLAG_* of its JOIN */
    uint16_t number;      /* in the scheduler */
    unsigned pass;        /* last pass of swarm_serve() that wrote to it */
    uint64_t spread_mark; /* bytes handed over when the last chunk was spread */
    TAILQ_HEAD(, inflight) inflight;
};

/* A newcomer that the others have been told of. */
struct swarm_intro {
    uint8_t node[SWARM_NODE_PREFIX];
    uint64_t told_ms;
};

struct swarm_source {
    uint8_t node[SWARM_NODE_PREFIX];
    uint64_t sent_bytes;    /* as it says */
    uint64_t earlier_bytes; /* the same before it was started again and counted from 0 */
};

struct swarm {
    struct swarm_cfg cfg;
    struct sched *sched;
    struct event *pump;  /* active: facts are waiting */
    struct event *timer; /* the earliest of all deadlines */
    struct event *end;   /* active: all is wound up */
    struct swarm_link *links[SWARM_LINKS_MAX];
    struct swarm_link *by_number[SCHED_PEERS_MAX];
    uint32_t link_count;
    uint32_t chunks;

    TAILQ_HEAD(, upload) uploads; /* oldest first */
    unsigned pass;
    uint8_t *frame;       /* DATA head and payload, for reads from the page cache */
    bool spread;          /* every chunk was sent to somebody, or is told to be there */
    uint64_t stat_due_ms; /* 0: nothing new to tell */
    uint64_t serve_ms;    /* 0, or when to serve again: uploads were left that wait for no socket,
                             or a full one is looked at anew */

    TAILQ_HEAD(, write_job) waiting; /* for disk space, or a worker */
    uint64_t retry_ms;               /* 0: nothing waits */
    bool disk_full;                  /* that is what it waits for */
    uint8_t *spare[SWARM_SPARE_BUFS];
    unsigned spares;
    unsigned jobs; /* on the workers */
    bool syncing, dirty, done_told, failed, fail_told;
    int fail_err;
    uint64_t sync_check_ms;

    bool stopping, final_sync;
    void (*stopped)(void *arg);
    void *stopped_arg;

    struct rate down, up;
    uint64_t done_bytes, received_bytes, from_source_bytes, uploaded_bytes;
    struct swarm_source sources[SWARM_SOURCES_MAX];
    uint32_t source_count;
    uint8_t seen[SWARM_SEEN_MAX][SWARM_NODE_PREFIX];
    uint32_t seen_count;
    struct swarm_intro intros[SWARM_INTROS];           /* the others were told of these */
    struct swarm_intro redirects[SWARM_INTROS];        /* these were told of the others */
    uint8_t liars[SWARM_LINKS_MAX][SWARM_NODE_PREFIX]; /* not linked again */
    uint32_t liar_count;
};

/* swarm.c */
void swarm_wake(struct swarm *w);          /* pump at this turn of the loop */
void swarm_fail(struct swarm *w, int err); /* told to the owner at a later turn */
void swarm_job_begun(struct swarm *w);
void swarm_job_ended(struct swarm *w); /* may end a stopping swarm: last call */

/* swarm_links.c */
struct msg swarm_msg(const struct swarm_link *l, enum msg_type type);
void swarm_send_simple(const struct swarm_link *l, enum msg_type type, uint32_t chunk);
void swarm_link_drop(struct swarm_link *l, bool tell);
/* Its socket is full, or still is, which has to be said anew at each turn: if it stays so, the
 * scheduler is told, and takes it for a slow receiver after a wait of its own. Told at once, with
 * small chunks it took a busy uplink for slow receivers and opened slot after slot, up to sixteen
 * sockets that shared it. Not a rule of the scheduler: the simulator's slots hold a chunk until
 * it is there, sockets take a small one whole. Daemons, time / bound, told at once and later:
 * 64 MiB to 24 at 20 Mbit/s 1.146, 1.129 (2 runs each); links of 10, 50, 100 and 100 Mbit/s, worst
 * class 1.11, 1.07 (2 and 3 runs; never told: 1.129, 1.16). */
void swarm_link_block(struct swarm_link *l);
/* node lied or broke the rules: told to the owner, and never linked again. */
void swarm_ban(struct swarm *w, const uint8_t node[static HASH_LEN], int err);

/* swarm_send.c */
void swarm_upload_begin(struct swarm_link *l, uint32_t chunk);
void swarm_upload_stop(struct swarm_link *l, uint32_t chunk);
void swarm_uploads_drop(struct swarm_link *l); /* all of them */
void swarm_serve(struct swarm *w);             /* oldest first, while sockets take it */
void swarm_tell_stat(struct swarm *w);
void swarm_tell_stat_to(struct swarm_link *l);

/* swarm_receive.c */
int swarm_inflight_begin(struct swarm_link *l, uint32_t chunk);
void swarm_inflight_stop(struct swarm_link *l, uint32_t chunk);
void swarm_inflight_drop(struct swarm_link *l); /* all of them */
int swarm_on_data(struct swarm_link *l, const struct msg *m);
void swarm_disk_pump(struct swarm *w, uint64_t now_ms); /* retries, syncs, done */
uint64_t swarm_disk_deadline_ms(const struct swarm *w); /* SCHED_NEVER: none */
void swarm_disk_free(struct swarm *w);

#endif
