/* The library's files: written aside, synced, renamed. All of it blocks. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/library_int.h"
#include "transfer/core/name.h"
#include "transfer/io/file.h"

enum {
    LIBRARY_FORMAT = 1,
    LIBRARY_BLOB_MAX = 64 << 20 /* info, layers */
};

void library_hex(const uint8_t *id, char out[static LIBRARY_HEX + 1])
{
    for (unsigned i = 0; i < HASH_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

void library_share_free(struct library_share *s)
{
    if (s == NULL)
        return;
    free(s->name);
    free(s->path);
    free(s->dest);
    free(s->final_name);
    free(s);
}

int library_copy_text(char **to, const char *text)
{
    *to = text == NULL ? NULL : strdup(text);
    return text != NULL && *to == NULL ? -ENOMEM : 0;
}

/* --- files --------------------------------------------------------------------------------- */

/* The whole file, malloc'd; len_max is a ceiling on what is believed. ERR_DAMAGED:
 * what is wrong will be wrong the next time as well; -errno may pass. */
static int file_get(int dir, const char *name, size_t len_max, uint8_t **data, size_t *len)
{
    struct stat st;
    int rc = 0, fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t got = 0;

    *data = NULL;
    *len = 0;
    if (fd < 0)
        return errno == ENOENT || errno == ELOOP ? ERR_DAMAGED : -errno;
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

static int share_dir(int shares_fd, const uint8_t *id, bool make)
{
    char hex[LIBRARY_HEX + 1];
    int fd;

    library_hex(id, hex);
    if (make && mkdirat(shares_fd, hex, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(shares_fd, hex, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
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
        return library_copy_text(out, json_string_value(value));
    if (!json_is_array(value))
        return ERR_DAMAGED;
    *out = calloc(1, len + 1);
    if (*out == NULL)
        return -ENOMEM;
    for (i = 0; i < len; i++)
        (*out)[i] = (char)json_integer_value(json_array_get(value, i));
    return 0;
}

char *library_describe(const struct library_share *s)
{
    json_t *doc = json_pack("{s:i, s:s, s:b, s:b, s:o, s:o, s:o}", "format", LIBRARY_FORMAT,
                            "state", state_names[s->state], "origin", s->origin, "changed",
                            s->changed, "path", json_of_text(s->path), "dest",
                            json_of_text(s->dest), "final_name", json_of_text(s->final_name));
    char *text = doc == NULL ? NULL : json_dumps(doc, JSON_INDENT(1));

    json_decref(doc);
    return text;
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

static int manifest_get(int dir, hash_fn *hash, const uint8_t *id, struct manifest **out)
{
    uint8_t *info = NULL, *layers = NULL;
    size_t info_len, layers_len;
    int rc = file_get(dir, "info", LIBRARY_BLOB_MAX, &info, &info_len);

    *out = NULL;
    if (rc == 0)
        rc = manifest_parse(hash, info, info_len, out);
    if (rc == 0 && memcmp(manifest_id(*out), id, HASH_LEN) != 0)
        rc = ERR_DAMAGED;
    if (rc == 0 && manifest_layers_bytes(*out) > 0) {
        rc = file_get(dir, "layers", LIBRARY_BLOB_MAX, &layers, &layers_len);
        if (rc == 0)
            rc = manifest_layers_load(*out, hash, layers, layers_len);
    }
    free(info);
    free(layers);
    if (rc < 0) {
        manifest_free(*out);
        *out = NULL;
    }
    return rc <= ERR_MESSAGE ? ERR_DAMAGED : rc;
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
    return rc;
}

/* A share as far as its manifest tells. */
int library_share_from(const struct manifest *m, struct library_share **out)
{
    struct library_share *s = calloc(1, sizeof(*s));
    struct layout *layout = NULL;
    int rc = s == NULL ? -ENOMEM : library_copy_text(&s->name, manifest_name(m));

    *out = NULL;
    if (rc == 0)
        rc = layout_new(m, &layout);
    if (rc < 0) {
        library_share_free(s);
        return rc;
    }
    memcpy(s->id, manifest_id(m), HASH_LEN);
    memcpy(s->key, manifest_key(m), HASH_LEN);
    s->bytes = manifest_bytes(m);
    s->files = manifest_files(m);
    s->chunks = layout_chunks(layout);
    layout_free(layout);
    *out = s;
    return 0;
}

/* --- whole shares -------------------------------------------------------------------- */

int library_disk_load(int shares_fd, hash_fn *hash, const uint8_t *id, struct library_share **out)
{
    struct library_share *s = NULL;
    struct manifest *m = NULL;
    int rc, dir = share_dir(shares_fd, id, false);

    *out = NULL;
    if (dir < 0)
        return dir;
    rc = manifest_get(dir, hash, id, &m);
    if (rc == 0)
        rc = library_share_from(m, &s);
    if (rc == 0)
        rc = meta_get(dir, s);
    manifest_free(m);
    close(dir);
    if (rc < 0) {
        library_share_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int library_disk_manifest(int shares_fd, hash_fn *hash, const uint8_t *id, struct manifest **m,
                          struct store_stamp **stamps)
{
    int rc, dir = share_dir(shares_fd, id, false);

    *m = NULL;
    if (stamps != NULL)
        *stamps = NULL;
    if (dir < 0)
        return dir;
    rc = manifest_get(dir, hash, id, m);
    if (rc == 0 && stamps != NULL)
        rc = stamps_get(dir, manifest_files(*m), stamps);
    close(dir);
    if (rc < 0) {
        manifest_free(*m);
        *m = NULL;
    }
    return rc;
}

static int blob_put(int dir, const char *name, const struct library_blob *blob)
{
    return blob->data == NULL ? 0 : file_replace(dir, name, blob->data, blob->len_bytes);
}

/* share.json goes last: without it the folder is not believed. */
int library_disk_save(int shares_fd, const struct library_record *r)
{
    const struct library_blob meta = {r->meta, strlen(r->meta)};
    int rc, dir = share_dir(shares_fd, r->id, r->info.data != NULL);

    if (dir < 0)
        return dir;
    rc = blob_put(dir, "info", &r->info);
    if (rc == 0)
        rc = blob_put(dir, "layers", &r->layers);
    if (rc == 0)
        rc = blob_put(dir, "stamps", &r->stamps);
    if (rc == 0)
        rc = blob_put(dir, "share.json", &meta);
    if (rc == 0 && fsync(dir) < 0)
        rc = -errno;
    close(dir);
    if (rc == 0 && r->info.data != NULL && fsync(shares_fd) < 0)
        rc = -errno;
    return rc;
}

int library_disk_remove(int shares_fd, const uint8_t *id)
{
    /* What a save that did not end left behind as well. */
    static const char *const files[] = {"share.json",     "stamps",     "layers",     "info",
                                        "share.json.new", "stamps.new", "layers.new", "info.new"};
    char hex[LIBRARY_HEX + 1];
    int rc = 0, dir = share_dir(shares_fd, id, false);

    if (dir < 0)
        return dir == -ENOENT ? 0 : dir;
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (unlinkat(dir, files[i], 0) < 0 && errno != ENOENT)
            rc = -errno;
    close(dir);
    library_hex(id, hex);
    if (unlinkat(shares_fd, hex, AT_REMOVEDIR) < 0 && rc == 0)
        rc = -errno;
    return rc;
}
