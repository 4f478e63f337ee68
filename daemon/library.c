#include "daemon/library.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transfer/core/name.h"

enum {
    LIBRARY_FORMAT = 1,
    LIBRARY_BLOB_MAX = 64 << 20, /* info, layers */
    LIBRARY_HEX = 2 * HASH_LEN
};

struct library {
    int lock_fd;
    int dir_fd; /* of shares/ */
    hash_fn *hash;
    struct library_share **shares;
    uint32_t count;
};

/* --- small things ------------------------------------------------------------------ */

static void hex_of(const uint8_t *id, char out[static LIBRARY_HEX + 1])
{
    for (unsigned i = 0; i < HASH_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

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

static void share_release(struct library_share *s)
{
    if (s == NULL)
        return;
    free(s->name);
    free(s->path);
    free(s->dest);
    free(s->final_name);
    free(s);
}

static int copy_text(char **to, const char *text)
{
    *to = text == NULL ? NULL : strdup(text);
    return text != NULL && *to == NULL ? -ENOMEM : 0;
}

/* --- files: written aside, synced, renamed ---------------------------------------------- */

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int file_put(int dir, const char *name, const void *data, size_t len)
{
    char aside[32];
    int fd, rc;

    snprintf(aside, sizeof(aside), "%s.new", name);
    fd = openat(dir, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    rc = write_all(fd, data, len);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && renameat(dir, aside, dir, name) < 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(dir, aside, 0);
    return rc;
}

/* The whole file, malloc'd; len_max is a ceiling on what is believed. */
static int file_get(int dir, const char *name, size_t len_max, uint8_t **data, size_t *len)
{
    struct stat st;
    int rc = 0, fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t got = 0;

    *data = NULL;
    *len = 0;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        rc = -errno;
    else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > len_max)
        rc = ERR_DAMAGED;
    else if ((*data = malloc((size_t)st.st_size + 1)) == NULL)
        rc = -ENOMEM;
    while (rc == 0 && got < (size_t)st.st_size) {
        ssize_t n = read(fd, *data + got, (size_t)st.st_size - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            rc = n < 0 ? -errno : ERR_DAMAGED;
        else
            got += (size_t)n;
    }
    close(fd);
    if (rc < 0) {
        free(*data);
        *data = NULL;
        return rc;
    }
    *len = got;
    return 0;
}

static int share_dir(const struct library *l, const uint8_t *id, bool make)
{
    char hex[LIBRARY_HEX + 1];
    int fd;

    hex_of(id, hex);
    if (make && mkdirat(l->dir_fd, hex, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(l->dir_fd, hex, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

/* --- share.json --------------------------------------------------------------------------- */

static const char *const state_names[] = {
    [LIBRARY_RECEIVING] = "receiving",
    [LIBRARY_PAUSED] = "paused",
    [LIBRARY_HELD] = "held",
};

/* Paths are bytes, JSON is UTF-8: what is not goes as an array of numbers. */
static json_t *json_of_text(const char *text)
{
    json_t *array;

    if (text == NULL)
        return json_null();
    if (name_utf8(text, strlen(text)))
        return json_string(text);
    array = json_array();
    for (; *text != '\0'; text++)
        json_array_append_new(array, json_integer((uint8_t)*text));
    return array;
}

static int text_of_json(const json_t *value, char **out)
{
    size_t i, len = json_array_size(value);

    *out = NULL;
    if (value == NULL || json_is_null(value))
        return 0;
    if (json_is_string(value))
        return copy_text(out, json_string_value(value));
    if (!json_is_array(value))
        return ERR_DAMAGED;
    *out = calloc(1, len + 1);
    if (*out == NULL)
        return -ENOMEM;
    for (i = 0; i < len; i++)
        (*out)[i] = (char)json_integer_value(json_array_get(value, i));
    return 0;
}

static int meta_put(int dir, const struct library_share *s)
{
    json_t *doc = json_pack("{s:i, s:s, s:b, s:b, s:o, s:o, s:o}", "format", LIBRARY_FORMAT,
                            "state", state_names[s->state], "origin", s->origin, "changed",
                            s->changed, "path", json_of_text(s->path), "dest",
                            json_of_text(s->dest), "final_name", json_of_text(s->final_name));
    char *text = doc == NULL ? NULL : json_dumps(doc, JSON_INDENT(1));
    int rc = text == NULL ? -ENOMEM : file_put(dir, "share.json", text, strlen(text));

    free(text);
    json_decref(doc);
    return rc;
}

static int state_parse(const char *text, enum library_state *state)
{
    for (unsigned i = 0; text != NULL && i < sizeof(state_names) / sizeof(state_names[0]); i++) {
        if (strcmp(text, state_names[i]) == 0) {
            *state = (enum library_state)i;
            return 0;
        }
    }
    return ERR_DAMAGED;
}

static int meta_get(int dir, struct library_share *s)
{
    uint8_t *text;
    size_t len;
    json_t *doc;
    int rc = file_get(dir, "share.json", 1 << 20, &text, &len);

    if (rc < 0)
        return rc;
    doc = json_loadb((const char *)text, len, 0, NULL);
    free(text);
    if (json_integer_value(json_object_get(doc, "format")) != LIBRARY_FORMAT)
        rc = ERR_DAMAGED;
    if (rc == 0)
        rc = state_parse(json_string_value(json_object_get(doc, "state")), &s->state);
    if (rc == 0)
        rc = text_of_json(json_object_get(doc, "path"), &s->path);
    if (rc == 0)
        rc = text_of_json(json_object_get(doc, "dest"), &s->dest);
    if (rc == 0)
        rc = text_of_json(json_object_get(doc, "final_name"), &s->final_name);
    s->origin = json_is_true(json_object_get(doc, "origin"));
    s->changed = json_is_true(json_object_get(doc, "changed"));
    json_decref(doc);
    if (rc == 0 && (s->state == LIBRARY_HELD ? s->path == NULL : s->dest == NULL))
        rc = ERR_DAMAGED;
    return rc;
}

/* --- manifests and stamps --------------------------------------------------------------------- */

static int manifest_get(const struct library *l, int dir, const uint8_t *id, struct manifest **out)
{
    uint8_t *info = NULL, *layers = NULL;
    size_t info_len, layers_len;
    int rc = file_get(dir, "info", LIBRARY_BLOB_MAX, &info, &info_len);

    *out = NULL;
    if (rc == 0)
        rc = manifest_parse(l->hash, info, info_len, out);
    if (rc == 0 && memcmp(manifest_id(*out), id, HASH_LEN) != 0)
        rc = ERR_DAMAGED;
    if (rc == 0 && manifest_layers_bytes(*out) > 0) {
        rc = file_get(dir, "layers", LIBRARY_BLOB_MAX, &layers, &layers_len);
        if (rc == 0)
            rc = manifest_layers_load(*out, l->hash, layers, layers_len);
    }
    free(info);
    free(layers);
    if (rc < 0) {
        manifest_free(*out);
        *out = NULL;
    }
    return rc == -ENOMEM || rc == 0 ? rc : ERR_DAMAGED;
}

static int manifest_put(int dir, const struct manifest *m)
{
    size_t len, layers_len = manifest_layers_bytes(m);
    const uint8_t *info = manifest_info(m, &len);
    int rc = file_put(dir, "info", info, len);

    if (rc == 0 && layers_len > 0)
        rc = file_put(dir, "layers", manifest_layers(m), layers_len);
    return rc;
}

static int stamps_get(int dir, uint32_t files, struct store_stamp **out)
{
    uint8_t *data;
    size_t len;
    int rc = file_get(dir, "stamps", (size_t)files * sizeof(**out), &data, &len);

    *out = NULL;
    if (rc == 0 && len != (size_t)files * sizeof(**out)) {
        free(data);
        rc = ERR_DAMAGED;
    }
    if (rc == 0)
        *out = (struct store_stamp *)(void *)data;
    return rc == -ENOENT ? ERR_DAMAGED : rc;
}

static void share_describe(struct library_share *s, const struct manifest *m, uint32_t chunks)
{
    memcpy(s->id, manifest_id(m), HASH_LEN);
    memcpy(s->key, manifest_key(m), HASH_LEN);
    s->bytes = manifest_bytes(m);
    s->files = manifest_files(m);
    s->chunks = chunks;
}

/* A share as far as its manifest tells. */
static int share_from(const struct manifest *m, struct library_share **out)
{
    struct library_share *s = calloc(1, sizeof(*s));
    struct layout *layout = NULL;
    int rc = s == NULL ? -ENOMEM : copy_text(&s->name, manifest_name(m));

    *out = NULL;
    if (rc == 0)
        rc = layout_new(m, &layout);
    if (rc < 0) {
        share_release(s);
        return rc;
    }
    share_describe(s, m, layout_chunks(layout));
    layout_free(layout);
    *out = s;
    return 0;
}

/* --- opening -------------------------------------------------------------------------------------
 */

static int share_load(const struct library *l, const uint8_t *id, struct library_share **out)
{
    struct library_share *s = NULL;
    struct manifest *m = NULL;
    int rc, dir = share_dir(l, id, false);

    *out = NULL;
    if (dir < 0)
        return dir;
    rc = manifest_get(l, dir, id, &m);
    if (rc == 0)
        rc = share_from(m, &s);
    if (rc == 0)
        rc = meta_get(dir, s);
    manifest_free(m);
    close(dir);
    if (rc < 0) {
        share_release(s);
        return rc;
    }
    *out = s;
    return 0;
}

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
static void put_aside(struct library *l, const char *hex, int err,
                      void (*problem)(void *arg, const char *text), void *arg)
{
    char aside[LIBRARY_HEX + 16], text[256];

    snprintf(aside, sizeof(aside), "%s.bad", hex);
    for (unsigned n = 2; renameat2(l->dir_fd, hex, l->dir_fd, aside, RENAME_NOREPLACE) < 0 &&
                         errno == EEXIST && n < 100;
         n++)
        snprintf(aside, sizeof(aside), "%s.bad%u", hex, n);
    snprintf(text, sizeof(text), "what is known of share %s does not load (%s): put aside as %s",
             hex, err_text(err), aside);
    problem(arg, text);
}

static int library_scan(struct library *l, void (*problem)(void *arg, const char *text), void *arg)
{
    int fd = openat(l->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct library_share *s;
    struct dirent *e;
    uint8_t id[HASH_LEN];
    int rc = 0;

    if (dir == NULL)
        return -errno;
    while (rc == 0 && (e = readdir(dir)) != NULL) {
        if (!hex_parse(e->d_name, id))
            continue;
        rc = share_load(l, id, &s);
        if (rc == 0) {
            rc = library_append(l, s);
            if (rc < 0)
                share_release(s);
        } else if (rc != -ENOMEM && rc != -EMFILE && rc != -ENFILE) {
            put_aside(l, e->d_name, rc, problem, arg);
            rc = 0;
        }
    }
    closedir(dir);
    return rc;
}

static int make_dirs(const char *path)
{
    char part[4096];
    int rc = 0;

    if (strlen(path) >= sizeof(part))
        return -ENAMETOOLONG;
    snprintf(part, sizeof(part), "%s", path);
    for (char *p = part + 1; rc == 0; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        bool last = *p == '\0';

        *p = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            rc = -errno;
        if (last)
            break;
        *p = '/';
    }
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

int library_open(const char *dir, hash_fn *hash, void (*problem)(void *arg, const char *text),
                 void *arg, struct library **out)
{
    struct library *l = calloc(1, sizeof(*l));
    int rc;

    *out = NULL;
    if (l == NULL)
        return -ENOMEM;
    l->hash = hash;
    l->lock_fd = l->dir_fd = -1;
    rc = make_dirs(dir);
    if (rc == 0)
        rc = library_lock(l, dir);
    if (rc == 0)
        rc = library_scan(l, problem, arg);
    if (rc < 0) {
        library_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

void library_close(struct library *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->count; i++)
        share_release(l->shares[i]);
    free(l->shares);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    free(l);
}

/* --- adding and changing -----------------------------------------------------------------------
 */

/* Puts s in the place of an entry of the same id, or at the end. */
static int library_place(struct library *l, struct library_share *s)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (memcmp(l->shares[i]->id, s->id, HASH_LEN) != 0)
            continue;
        share_release(l->shares[i]);
        l->shares[i] = s;
        return 0;
    }
    return library_append(l, s);
}

/* share.json goes last: without it the folder is not believed. */
static int share_save(struct library *l, const struct library_share *s, const struct manifest *m,
                      const struct store_stamp *stamps)
{
    int rc, dir = share_dir(l, s->id, true);

    if (dir < 0)
        return dir;
    rc = manifest_put(dir, m);
    if (rc == 0 && stamps != NULL)
        rc = file_put(dir, "stamps", stamps, (size_t)s->files * sizeof(*stamps));
    if (rc == 0)
        rc = meta_put(dir, s);
    if (rc == 0 && fsync(dir) < 0)
        rc = -errno;
    close(dir);
    if (rc == 0 && fsync(l->dir_fd) < 0)
        rc = -errno;
    return rc;
}

/* Takes s. */
static int share_add(struct library *l, struct library_share *s, const struct manifest *m,
                     const struct store_stamp *stamps, struct library_share **out)
{
    int rc = l->count >= LIBRARY_SHARES_MAX && library_find(l, s->id) == NULL ? ERR_LIMIT : 0;

    if (rc == 0)
        rc = share_save(l, s, m, stamps);
    if (rc == 0)
        rc = library_place(l, s);
    if (rc < 0) {
        share_release(s);
        return rc;
    }
    *out = s;
    return 0;
}

int library_add_held(struct library *l, const struct manifest *m, const char *path, bool origin,
                     const struct store_stamp *stamps, struct library_share **out)
{
    struct library_share *s;
    int rc = share_from(m, &s);

    *out = NULL;
    if (rc < 0)
        return rc;
    s->state = LIBRARY_HELD;
    s->origin = origin;
    rc = copy_text(&s->path, path);
    if (rc < 0) {
        share_release(s);
        return rc;
    }
    return share_add(l, s, m, stamps, out);
}

int library_add_receiving(struct library *l, const struct manifest *m, const char *dest,
                          struct library_share **out)
{
    struct library_share *s;
    int rc = share_from(m, &s);

    *out = NULL;
    if (rc < 0)
        return rc;
    s->state = LIBRARY_RECEIVING;
    rc = copy_text(&s->dest, dest);
    if (rc < 0) {
        share_release(s);
        return rc;
    }
    return share_add(l, s, m, NULL, out);
}

static int share_resave(struct library *l, const struct library_share *s)
{
    int rc, dir = share_dir(l, s->id, false);

    if (dir < 0)
        return dir;
    rc = meta_put(dir, s);
    if (rc == 0 && fsync(dir) < 0)
        rc = -errno;
    close(dir);
    return rc;
}

int library_set_state(struct library *l, struct library_share *s, enum library_state state)
{
    s->state = state;
    return share_resave(l, s);
}

int library_set_final_name(struct library *l, struct library_share *s, const char *name)
{
    char *copy = strdup(name);

    if (copy == NULL)
        return -ENOMEM;
    free(s->final_name);
    s->final_name = copy;
    return share_resave(l, s);
}

int library_set_changed(struct library *l, struct library_share *s, bool changed)
{
    s->changed = changed;
    return share_resave(l, s);
}

int library_remove(struct library *l, struct library_share *s)
{
    static const char *const files[] = {"share.json", "stamps", "layers", "info"};
    char hex[LIBRARY_HEX + 1];
    int rc = 0, dir = share_dir(l, s->id, false);

    for (unsigned i = 0; dir >= 0 && i < sizeof(files) / sizeof(files[0]); i++)
        if (unlinkat(dir, files[i], 0) < 0 && errno != ENOENT)
            rc = -errno;
    if (dir >= 0)
        close(dir);
    hex_of(s->id, hex);
    if (dir >= 0 && unlinkat(l->dir_fd, hex, AT_REMOVEDIR) < 0 && rc == 0)
        rc = -errno;
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->shares[i] != s)
            continue;
        memmove(&l->shares[i], &l->shares[i + 1], (l->count - i - 1) * sizeof(*l->shares));
        l->count--;
        break;
    }
    share_release(s);
    return rc;
}

/* --- reading -----------------------------------------------------------------------------------
 */

int library_load(const struct library *l, const struct library_share *s, struct manifest **m,
                 struct store_stamp **stamps)
{
    int rc, dir = share_dir(l, s->id, false);

    *m = NULL;
    *stamps = NULL;
    if (dir < 0)
        return dir;
    rc = manifest_get(l, dir, s->id, m);
    if (rc == 0 && s->state == LIBRARY_HELD)
        rc = stamps_get(dir, s->files, stamps);
    close(dir);
    if (rc < 0) {
        manifest_free(*m);
        *m = NULL;
    }
    return rc;
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
