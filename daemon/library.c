#include "daemon/library.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/library_int.h"
#include "transfer/io/file.h"
#include "transfer/io/workers.h"

struct library {
    struct library_cfg cfg;
    struct strand *strand; /* saves happen in the order asked for */
    int lock_fd;
    int dir_fd; /* of shares/ */
    struct library_share **shares;
    uint32_t count;
    uint32_t saving;                     /* not told yet */
    struct save *running, *first, *last; /* one is on the strand, the others wait here */
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_parse(const char *hex, uint8_t id[static HASH_LEN])
{
    if (strlen(hex) != LIBRARY_HEX)
        return false;
    for (unsigned i = 0; i < HASH_LEN; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        id[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* --- opening -------------------------------------------------------------------------------------
 */

static int library_append(struct library *l, struct library_share *s)
{
    struct library_share **grown;

    if (l->count >= LIBRARY_SHARES_MAX)
        return ERR_LIMIT;
    grown = realloc(l->shares, (l->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    l->shares = grown;
    l->shares[l->count++] = s;
    return 0;
}

/* Never deleted: whoever wants to know what was there can still look. */
static void put_aside(struct library *l, const char *hex, int err)
{
    char aside[LIBRARY_HEX + 16], text[256];

    snprintf(aside, sizeof(aside), "%s.bad", hex);
    for (unsigned n = 2; renameat2(l->dir_fd, hex, l->dir_fd, aside, RENAME_NOREPLACE) < 0 &&
                         errno == EEXIST && n < 100;
         n++)
        snprintf(aside, sizeof(aside), "%s.bad%u", hex, n);
    snprintf(text, sizeof(text), "what is known of share %s does not load (%s): put aside as %s",
             hex, err_text(err), aside);
    l->cfg.problem(l->cfg.arg, text);
}

/* Damage stays; what a lack of descriptors or memory, or a disk that does not
 * answer, keeps from us may be there the next time, and is left alone. */
static bool is_damage(int err)
{
    return err <= ERR_MESSAGE || err == -ENOTDIR || err == -ELOOP;
}

static void report_unread(struct library *l, const char *hex, int err)
{
    char text[256];

    snprintf(text, sizeof(text), "what is known of share %s cannot be read now (%s): left as it is",
             hex, err_text(err));
    l->cfg.problem(l->cfg.arg, text);
}

static int scan_one(struct library *l, const char *hex, const uint8_t id[static HASH_LEN])
{
    struct library_share *s;
    int rc = library_disk_load(l->dir_fd, l->cfg.hash, id, &s);

    if (rc == 0) {
        rc = library_append(l, s);
        if (rc < 0)
            library_share_free(s);
        return rc;
    }
    if (rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE)
        return rc;
    if (is_damage(rc))
        put_aside(l, hex, rc);
    else
        report_unread(l, hex, rc);
    return 0;
}

static int library_scan(struct library *l)
{
    int fd = openat(l->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    uint8_t id[HASH_LEN];
    int rc = 0;

    if (dir == NULL)
        return -errno;
    while (rc == 0 && (e = readdir(dir)) != NULL) {
        if (hex_parse(e->d_name, id))
            rc = scan_one(l, e->d_name, id);
    }
    closedir(dir);
    return rc;
}

static int library_lock(struct library *l, const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    l->lock_fd = openat(fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->lock_fd >= 0 && flock(l->lock_fd, LOCK_EX | LOCK_NB) == 0 &&
        (mkdirat(fd, "shares", 0700) == 0 || errno == EEXIST))
        l->dir_fd = openat(fd, "shares", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dir_fd < 0) {
        int err = errno;

        close(fd);
        return -err;
    }
    close(fd);
    return 0;
}

/* --- saving: on a worker, so that no fsync holds up the loop ------------------------------ */

struct save {
    struct save *next;
    struct library *library;
    struct library_record record;
    bool remove;
    library_saved_fn *saved;
    void *arg;
};

static void save_free(struct save *v)
{
    free(v->record.meta);
    free(v);
}

static int save_run(void *arg)
{
    struct save *v = arg;

    if (v->remove)
        return library_disk_remove(v->library->dir_fd, v->record.id);
    return library_disk_save(v->library->dir_fd, &v->record);
}

static void save_tell(struct save *v, int result)
{
    struct library *l = v->library;
    char text[256];

    l->saving--;
    if (v->saved != NULL) {
        v->saved(v->arg, result);
    } else if (result < 0) {
        snprintf(text, sizeof(text), "cannot write to the state directory: %s", err_text(result));
        l->cfg.problem(l->cfg.arg, text);
    }
    save_free(v);
}

static struct save *save_pop(struct library *l)
{
    struct save *v = l->first;

    if (v == NULL)
        return NULL;
    l->first = v->next;
    if (l->first == NULL)
        l->last = NULL;
    return v;
}

static void save_done(void *arg, int result)
{
    struct save *v = arg;
    struct library *l = v->library;

    l->running = NULL;
    save_tell(v, result);
    if (library_go_on(l))
        l->cfg.stuck(l->cfg.arg);
}

bool library_go_on(struct library *l)
{
    struct save *v = l->first;
    int rc;

    if (l->running != NULL || v == NULL)
        return false;
    rc = workers_submit(l->cfg.workers, l->strand, save_run, save_done, v);
    if (rc == 0)
        l->running = save_pop(l);
    while (rc == ERR_CANCELLED && (v = save_pop(l)) != NULL) /* the workers end */
        save_tell(v, rc);
    return l->first != NULL && l->running == NULL;
}

static void blob_take(struct library_blob *to, const struct library_blob *from)
{
    if (from->data != NULL)
        *to = *from;
}

/* A whole share is only saved for somebody who waits, and keeps what is written until told. */
static void record_take(struct library_record *to, struct library_record *from)
{
    blob_take(&to->info, &from->info);
    blob_take(&to->layers, &from->layers);
    blob_take(&to->stamps, &from->stamps);
    free(to->meta);
    to->meta = from->meta;
    from->meta = NULL;
}

/* Of two saves of one share that wait the newest wins; what it does not write is the
 * older one's. Each of them that somebody waits for stays. */
static bool save_merge(struct save *v)
{
    struct library *l = v->library;
    struct save *old = NULL;

    for (struct save *p = l->first; p != NULL; p = p->next)
        if (memcmp(p->record.id, v->record.id, HASH_LEN) == 0)
            old = p;
    if (old == NULL || old->remove || (old->saved != NULL && (v->saved != NULL || v->remove)))
        return false;
    record_take(&old->record, &v->record);
    old->remove = v->remove;
    if (v->saved != NULL) {
        old->saved = v->saved;
        old->arg = v->arg;
    }
    save_free(v);
    return true;
}

/* Takes v. Without workers it is done here and now. */
static void save_submit(struct save *v)
{
    struct library *l = v->library;

    if (l->strand != NULL && save_merge(v))
        return;
    l->saving++;
    if (l->strand == NULL) {
        save_tell(v, save_run(v));
        return;
    }
    if (l->last != NULL)
        l->last->next = v;
    else
        l->first = v;
    l->last = v;
    if (library_go_on(l))
        l->cfg.stuck(l->cfg.arg);
}

/* A save of s's description. NULL: no memory. */
static struct save *save_new(struct library *l, const struct library_share *s)
{
    struct save *v = calloc(1, sizeof(*v));

    if (v == NULL)
        return NULL;
    v->library = l;
    memcpy(v->record.id, s->id, HASH_LEN);
    v->record.meta = library_describe(s);
    if (v->record.meta == NULL) {
        free(v);
        return NULL;
    }
    return v;
}

/* By reference: 500,000 files are 70 MB, and 0.1 s to copy. */
static void save_add_content(struct save *v, const struct manifest *m,
                             const struct store_stamp *stamps)
{
    struct library_record *r = &v->record;

    r->info.data = manifest_info(m, &r->info.len_bytes);
    if (manifest_layers_bytes(m) > 0)
        r->layers = (struct library_blob){manifest_layers(m), manifest_layers_bytes(m)};
    if (stamps != NULL)
        r->stamps = (struct library_blob){stamps, manifest_files(m) * sizeof(*stamps)};
}

bool library_saving(const struct library *l)
{
    return l->saving > 0;
}

/* --- life ------------------------------------------------------------------------------- */

void library_close(struct library *l)
{
    struct save *v;

    if (l == NULL)
        return;
    while ((v = save_pop(l)) != NULL)
        save_free(v);
    for (uint32_t i = 0; i < l->count; i++)
        library_share_free(l->shares[i]);
    free(l->shares);
    strand_free(l->strand);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    free(l);
}

int library_open(const struct library_cfg *cfg, struct library **out)
{
    struct library *l = calloc(1, sizeof(*l));
    int rc;

    *out = NULL;
    if (l == NULL)
        return -ENOMEM;
    l->cfg = *cfg;
    l->lock_fd = l->dir_fd = -1;
    rc = file_make_dirs(cfg->dir);
    if (rc == 0)
        rc = library_lock(l, cfg->dir);
    if (rc == 0)
        rc = library_scan(l);
    if (rc == 0 && cfg->workers != NULL)
        rc = strand_new(cfg->workers, &l->strand);
    if (rc < 0) {
        library_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

/* --- adding and changing -------------------------------------------------------------------- */

/* Puts s in the place of an entry of the same id, or at the end. */
static int library_place(struct library *l, struct library_share *s)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (memcmp(l->shares[i]->id, s->id, HASH_LEN) != 0)
            continue;
        library_share_free(l->shares[i]);
        l->shares[i] = s;
        return 0;
    }
    return library_append(l, s);
}

static int share_from_entry(const struct library_entry *e, struct library_share **out)
{
    int rc = library_share_from(e->manifest, out);

    if (rc < 0)
        return rc;
    (*out)->state = e->path != NULL ? LIBRARY_HELD : LIBRARY_RECEIVING;
    (*out)->origin = e->origin;
    rc = library_copy_text(&(*out)->path, e->path);
    if (rc == 0)
        rc = library_copy_text(&(*out)->dest, e->path != NULL ? NULL : e->dest);
    if (rc < 0) {
        library_share_free(*out);
        *out = NULL;
    }
    return rc;
}

int library_save(struct library *l, const struct library_entry *e, library_saved_fn *saved,
                 void *arg)
{
    struct library_share *s;
    struct save *v;
    int rc = share_from_entry(e, &s);

    assert(saved != NULL); /* somebody keeps what is written by reference */
    if (rc < 0)
        return rc;
    v = save_new(l, s);
    library_share_free(s);
    if (v == NULL)
        return -ENOMEM;
    save_add_content(v, e->manifest, e->stamps);
    v->saved = saved;
    v->arg = arg;
    save_submit(v);
    return 0;
}

int library_add(struct library *l, const struct library_entry *e, struct library_share **out)
{
    int rc = share_from_entry(e, out);

    if (rc == 0)
        rc = library_place(l, *out);
    if (rc < 0) {
        library_share_free(*out);
        *out = NULL;
    }
    return rc;
}

static void share_resave(struct library *l, const struct library_share *s)
{
    struct save *v = save_new(l, s);

    if (v != NULL)
        save_submit(v);
    else
        l->cfg.problem(l->cfg.arg, "a change of a share's state is not kept: out of memory");
}

void library_set_state(struct library *l, struct library_share *s, enum library_state state)
{
    s->state = state;
    share_resave(l, s);
}

void library_set_final_name(struct library *l, struct library_share *s, const char *name)
{
    char *copy = strdup(name);

    if (copy != NULL) {
        free(s->final_name);
        s->final_name = copy;
    }
    share_resave(l, s);
}

void library_set_changed(struct library *l, struct library_share *s, bool changed)
{
    s->changed = changed;
    share_resave(l, s);
}

void library_remove(struct library *l, struct library_share *s)
{
    struct save *v = save_new(l, s);

    if (v != NULL) {
        v->remove = true;
        save_submit(v);
    }
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->shares[i] != s)
            continue;
        memmove(&l->shares[i], &l->shares[i + 1],
                (l->count - i - 1) * sizeof(struct library_share *));
        l->count--;
        break;
    }
    library_share_free(s);
}

/* --- reading -----------------------------------------------------------------------------------
 */

int library_load(const struct library *l, const uint8_t id[static HASH_LEN], struct manifest **m,
                 struct store_stamp **stamps)
{
    return library_disk_manifest(l->dir_fd, l->cfg.hash, id, m, stamps);
}

struct strand *library_strand(const struct library *l)
{
    return l->strand;
}

struct library_share *library_find(const struct library *l, const uint8_t id[static HASH_LEN])
{
    for (uint32_t i = 0; i < l->count; i++)
        if (memcmp(l->shares[i]->id, id, HASH_LEN) == 0)
            return l->shares[i];
    return NULL;
}

struct library_share *library_find_key(const struct library *l, const uint8_t key[static HASH_LEN],
                                       const struct library_share *after)
{
    bool from = after == NULL;

    for (uint32_t i = 0; i < l->count; i++) {
        if (from && memcmp(l->shares[i]->key, key, HASH_LEN) == 0)
            return l->shares[i];
        from = from || l->shares[i] == after;
    }
    return NULL;
}

uint32_t library_count(const struct library *l)
{
    return l->count;
}

struct library_share *library_at(const struct library *l, uint32_t i)
{
    return l->shares[i];
}
