/* See indexer.h. One walk, then parts of the files hashed side by side, then one
 * job that builds the manifest. Whenever nothing is in flight the next step
 * begins, so that jobs never outlive what they work on. */
#include "transfer/io/indexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/core/merkle.h"
#include "transfer/core/name.h"
#include "transfer/io/clock.h"
#include "transfer/io/index_cache.h"
#include "transfer/io/indexer_int.h"

enum {
    BATCH_BYTES = 4 << 20, /* small files of one job */
    BATCH_FILES = 256,
    ATTEMPTS = 2, /* when files change under our hands */
    PROGRESS_MS = 200,
    CACHE_RACY_S = 2
};

enum phase { PHASE_WALK, PHASE_HASH, PHASE_BUILD };

struct indexer {
    struct indexer_cfg cfg;
    char *path, *name;
    enum phase phase;
    unsigned attempt;
    unsigned in_flight;
    atomic_bool stop; /* told to the workers */
    int err;          /* the first */
    bool cancelled;
    struct index_tree tree;
    uint32_t piece_bytes;
    uint32_t next;      /* the first file not given to a worker yet */
    uint64_t next_from; /* in it, when it is hashed in ranges */
    uint64_t done_bytes, hashed_bytes;
    uint64_t told_ms;
    struct manifest *manifest;
};

/* A part on its way through the workers. */
struct part_job {
    struct indexer *indexer;
    struct index_part part;
    uint64_t bytes; /* of progress */
};

static void pump(struct indexer *x);

static void note_error(struct indexer *x, int err)
{
    if (err == 0 || x->err != 0)
        return;
    x->err = err;
    atomic_store(&x->stop, true);
}

static void tell_progress(struct indexer *x)
{
    uint64_t now = clock_ms();
    if (x->err || !x->cfg.on_progress || now - x->told_ms < PROGRESS_MS)
        return;
    x->told_ms = now;
    x->cfg.on_progress(x->cfg.arg, x->done_bytes, x->phase == PHASE_WALK ? 0 : x->tree.bytes);
}

static int submit(struct indexer *x, workers_run_fn *run, workers_done_fn *done, void *arg)
{
    int err = workers_submit(x->cfg.workers, NULL, run, done, arg);
    if (!err)
        x->in_flight++;
    return err;
}

static uint64_t count_pieces(const struct indexer *x, const struct index_file *f)
{
    return f->stamp.bytes / x->piece_bytes + (f->stamp.bytes % x->piece_bytes != 0);
}

/* --- the cache --- */

static void ask_cache(struct indexer *x)
{
    for (uint32_t i = 0; i < x->tree.count && !atomic_load(&x->stop); i++) {
        struct index_file *f = &x->tree.files[i];
        if (f->stamp.bytes == 0)
            f->known = true;
        else if (x->cfg.cache)
            f->known =
                index_cache_get(x->cfg.cache, &f->stamp, x->piece_bytes, f->root, &f->layer) == 0;
    }
}

/* Not when it changed so shortly before it was read that its next change may
 * have left the same time stamps. */
static void tell_cache(const struct indexer *x, const struct index_file *f)
{
    int64_t last = f->stamp.mtime_ns > f->stamp.ctime_ns ? f->stamp.mtime_ns : f->stamp.ctime_ns;
    if (x->cfg.cache && last < x->tree.begun_ns - CACHE_RACY_S * INT64_C(1000000000))
        index_cache_put(x->cfg.cache, &f->stamp, x->piece_bytes, f->root, f->layer);
}

/* --- the walk --- */

static int run_walk(void *arg)
{
    struct indexer *x = arg;
    if (name_check(x->name, strlen(x->name)) != 0)
        return ERR_NAME;
    int err = index_tree_walk(&x->tree, x->path, x->name, &x->stop);
    if (err)
        return err;
    x->piece_bytes = manifest_piece_bytes(x->tree.bytes);
    ask_cache(x);
    return 0;
}

static void on_walked(void *arg, int result)
{
    struct indexer *x = arg;
    x->in_flight--;
    note_error(x, result);
    x->phase = PHASE_HASH;
    tell_progress(x);
    pump(x);
}

static int start_walk(struct indexer *x)
{
    x->phase = PHASE_WALK;
    x->next = 0;
    x->next_from = 0;
    x->done_bytes = 0;
    return submit(x, run_walk, on_walked, x);
}

/* --- hashing --- */

static void cache_batch(const struct indexer *x, const struct index_part *p)
{
    for (uint32_t i = p->first; p->hashed_bytes > 0 && i < p->first + p->count; i++) {
        const struct index_file *f = &x->tree.files[i];
        if (f->known && f->fresh)
            tell_cache(x, f);
    }
}

static int run_part(void *arg)
{
    struct part_job *job = arg;
    int err = index_part_hash(&job->part);
    if (!err && job->part.to == 0)
        cache_batch(job->indexer, &job->part);
    return err;
}

static void on_part(void *arg, int result)
{
    struct part_job *job = arg;
    struct indexer *x = job->indexer;
    x->in_flight--;
    x->hashed_bytes += job->part.hashed_bytes;
    x->done_bytes += job->bytes;
    if (result && !x->err && result != ERR_CANCELLED && result != -ENOMEM)
        x->tree.fault = index_tree_absolute(&x->tree, index_tree_path(&x->tree, job->part.fault));
    note_error(x, result);
    free(job);
    tell_progress(x);
    pump(x);
}

static bool is_ranged(const struct index_file *f)
{
    return !f->known && f->stamp.bytes > INDEX_RANGE_BYTES;
}

/* The files from next on that fit into one job. */
static void take_batch(struct indexer *x, struct part_job *job)
{
    uint64_t unknown_bytes = 0;
    while (x->next < x->tree.count && job->part.count < BATCH_FILES &&
           unknown_bytes < BATCH_BYTES) {
        struct index_file *f = &x->tree.files[x->next];
        if (is_ranged(f))
            break;
        f->fresh = !f->known;
        unknown_bytes += f->known ? 0 : f->stamp.bytes;
        job->bytes += f->stamp.bytes;
        job->part.count++;
        x->next++;
    }
}

static int take_range(struct indexer *x, struct part_job *job)
{
    struct index_file *f = &x->tree.files[x->next];
    uint64_t step = x->piece_bytes > INDEX_RANGE_BYTES ? x->piece_bytes : INDEX_RANGE_BYTES;
    uint64_t left = f->stamp.bytes - x->next_from;
    /* A piece may be longer than a range: then such a file has no layer. */
    if (!f->layer && f->stamp.bytes > x->piece_bytes)
        f->layer = calloc(count_pieces(x, f), HASH_LEN);
    if (!f->layer && f->stamp.bytes > x->piece_bytes)
        return -ENOMEM;
    f->fresh = true;
    job->part.count = 1;
    job->part.from = x->next_from;
    job->part.to = x->next_from + (left < step ? left : step);
    job->bytes = job->part.to - job->part.from;
    x->next_from = job->part.to;
    if (x->next_from == f->stamp.bytes) {
        x->next_from = 0;
        x->next++;
    }
    return 0;
}

static int submit_part(struct indexer *x)
{
    struct part_job *job = calloc(1, sizeof(*job));
    uint32_t next = x->next;
    uint64_t next_from = x->next_from;
    if (!job)
        return -ENOMEM;
    job->indexer = x;
    job->part = (struct index_part){.tree = &x->tree,
                                    .hash = x->cfg.hash,
                                    .hash_many = x->cfg.hash_many,
                                    .stop = &x->stop,
                                    .piece_bytes = x->piece_bytes,
                                    .first = next};
    int err = 0;
    if (is_ranged(&x->tree.files[next]))
        err = take_range(x, job);
    else
        take_batch(x, job);
    if (!err)
        err = submit(x, run_part, on_part, job);
    if (err) {
        x->next = next;
        x->next_from = next_from;
        free(job);
    }
    return err;
}

/* --- building --- */

/* Ranges leave the root of their file to be made. */
static void make_roots(struct indexer *x)
{
    for (uint32_t i = 0; i < x->tree.count; i++) {
        struct index_file *f = &x->tree.files[i];
        if (!f->known && f->layer)
            merkle_layer_root(x->cfg.hash, f->layer, count_pieces(x, f), x->piece_bytes, f->root);
    }
}

static int build(struct indexer *x, const char *name)
{
    struct manifest_file *files = calloc(x->tree.count, sizeof(*files));
    if (!files)
        return -ENOMEM;
    for (uint32_t i = 0; i < x->tree.count; i++) {
        const struct index_file *f = &x->tree.files[i];
        files[i] = (struct manifest_file){.path = index_tree_path(&x->tree, i),
                                          .bytes = f->stamp.bytes,
                                          .exec = f->exec,
                                          .layer = f->layer};
        memcpy(files[i].root, f->root, HASH_LEN);
    }
    int err = manifest_build(x->cfg.hash, name, x->tree.root_fd < 0, x->piece_bytes, files,
                             x->tree.count, &x->manifest);
    free(files);
    return err;
}

static int run_build(void *arg)
{
    struct indexer *x = arg;
    char other[NAME_BYTES_MAX + 1];
    make_roots(x);
    int err = build(x, x->name);
    if (err == ERR_NAME) {
        /* A folder with one file of its own name would read as that file. */
        name_alternative(x->name, 2, true, other);
        err = build(x, other);
    }
    for (uint32_t i = 0; !err && i < x->tree.count; i++) {
        if (!x->tree.files[i].known)
            tell_cache(x, &x->tree.files[i]);
    }
    return err;
}

static void on_built(void *arg, int result)
{
    struct indexer *x = arg;
    x->in_flight--;
    note_error(x, result);
    pump(x);
}

/* --- the end --- */

static void indexer_free(struct indexer *x)
{
    index_tree_free(&x->tree);
    manifest_free(x->manifest);
    free(x->path);
    free(x->name);
    free(x);
}

static int make_result(struct indexer *x, struct indexer_result *result)
{
    struct store_stamp *stamps = calloc(x->tree.count + 1U, sizeof(*stamps));
    if (!stamps)
        return -ENOMEM;
    for (uint32_t i = 0; i < x->tree.count; i++)
        stamps[i] = x->tree.files[i].stamp;
    *result = (struct indexer_result){.manifest = x->manifest,
                                      .stamps = stamps,
                                      .hashed_bytes = x->hashed_bytes,
                                      .skipped = x->tree.skipped};
    x->manifest = NULL;
    return 0;
}

static void finish(struct indexer *x)
{
    struct indexer_result result;
    int err = x->cancelled ? ERR_CANCELLED : x->err;
    if (!err)
        err = make_result(x, &result);
    const char *what = x->tree.fault ? x->tree.fault : x->path;
    x->cfg.on_done(x->cfg.arg, err, err ? what : NULL, err ? NULL : &result);
    indexer_free(x);
}

/* Sizes, and with them the piece length, may be others now: all from the start.
 * What did not change comes out of the cache. */
static void start_over(struct indexer *x)
{
    x->attempt++;
    index_tree_free(&x->tree);
    x->err = 0;
    atomic_store(&x->stop, false);
    int err = start_walk(x);
    if (err) {
        note_error(x, err);
        finish(x);
    }
}

/* Nothing is in flight and nothing more was taken. */
static void next_phase(struct indexer *x)
{
    if (x->err == ERR_CHANGED && !x->cancelled && x->attempt < ATTEMPTS) {
        start_over(x);
        return;
    }
    if (!x->err && x->phase == PHASE_HASH) {
        x->phase = PHASE_BUILD;
        note_error(x, submit(x, run_build, on_built, x));
        if (!x->err)
            return;
    }
    finish(x);
}

static void pump(struct indexer *x)
{
    unsigned most = 2 * workers_threads(x->cfg.workers);
    while (!x->err && x->phase == PHASE_HASH && x->next < x->tree.count && x->in_flight < most) {
        int err = submit_part(x);
        if (err == ERR_LIMIT && x->in_flight > 0)
            return; /* the queue is full of others' work: again when one of ours is done */
        note_error(x, err);
    }
    if (x->in_flight == 0)
        next_phase(x);
}

/* --- the beginning --- */

/* Without slashes at the end; "/" becomes "", which no name may be. */
static char *copy_path(const char *path)
{
    size_t len = strlen(path);
    while (len > 0 && path[len - 1] == '/')
        len--;
    return strndup(path, len);
}

int indexer_start(const struct indexer_cfg *cfg, struct indexer **out)
{
    *out = NULL;
    struct indexer *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    x->cfg = *cfg;
    x->attempt = 1;
    x->tree.root_fd = -1;
    atomic_init(&x->stop, false);
    x->path = copy_path(cfg->path);
    if (x->path) {
        const char *slash = strrchr(x->path, '/');
        x->name = strdup(cfg->name ? cfg->name : slash ? slash + 1 : x->path);
    }
    int err = x->path && x->name ? start_walk(x) : -ENOMEM;
    if (err)
        indexer_free(x);
    else
        *out = x;
    return err;
}

void indexer_cancel(struct indexer *x)
{
    x->cancelled = true;
    note_error(x, ERR_CANCELLED);
}
