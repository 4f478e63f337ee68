#include "transfer/core/file_tree.h"

#include <string.h>

void file_tree_begin(struct file_tree *t, const struct bencode_in *at)
{
    t->in = *at;
    t->depth = 0;
    t->path_bytes = 0;
    t->path[0] = '\0';
    t->empty = true;
    t->at_file = false;
}

/* --- the properties of one file --- */

struct properties {
    int64_t length; /* -1: not said */
    const uint8_t *root;
    bool exec;
};

/* BEP 47: a letter an attribute. Links and padding name no content of their own. */
static int read_attr(const struct bencode_item *item, struct properties *p)
{
    if (item->type != BENCODE_BYTES || memchr(item->bytes, 'l', item->len_bytes) ||
        memchr(item->bytes, 'p', item->len_bytes))
        return ERR_MANIFEST;
    p->exec = memchr(item->bytes, 'x', item->len_bytes) != NULL;
    return 0;
}

static int read_property(struct bencode_in *in, const struct bencode_item *item,
                         struct properties *p)
{
    if (bencode_key_is(item, "attr"))
        return read_attr(item, p);
    if (bencode_key_is(item, "length")) {
        if (item->type != BENCODE_INT || item->number < 0)
            return ERR_MANIFEST;
        p->length = item->number;
    } else if (bencode_key_is(item, "pieces root")) {
        if (item->type != BENCODE_BYTES || item->len_bytes != HASH_LEN)
            return ERR_MANIFEST;
        p->root = item->bytes;
    }
    bencode_skip(in, item);
    return 0;
}

static int read_properties(struct bencode_in *in, struct properties *p)
{
    struct bencode_item item;
    *p = (struct properties){.length = -1};
    while (bencode_next(in, &item) != BENCODE_END) {
        int err = item.type == BENCODE_BAD ? ERR_BENCODE : read_property(in, &item, p);
        if (err)
            return err;
    }
    /* A file has a root if and only if it has content. */
    return p->length < 0 || (p->length > 0) != (p->root != NULL) ? ERR_MANIFEST : 0;
}

/* --- the walk --- */

static int open_component(struct file_tree *t, const struct bencode_item *item)
{
    int err = name_check((const char *)item->key, item->key_bytes);
    if (err)
        return err;
    size_t slash = t->depth > 0;
    if (t->depth == MANIFEST_DEPTH_MAX ||
        t->path_bytes + slash + item->key_bytes > NAME_PATH_BYTES_MAX)
        return ERR_LIMIT;
    t->begins[t->depth++] = t->path_bytes;
    if (slash)
        t->path[t->path_bytes++] = '/';
    memcpy(t->path + t->path_bytes, item->key, item->key_bytes);
    t->path_bytes = (uint16_t)(t->path_bytes + item->key_bytes);
    t->path[t->path_bytes] = '\0';
    t->empty = true;
    return 0;
}

static void close_component(struct file_tree *t)
{
    t->path_bytes = t->begins[--t->depth];
    t->path[t->path_bytes] = '\0';
    t->empty = false;
}

/* The empty key sorts first, so that what is a file and a folder shows behind it. */
static int read_file(struct file_tree *t, struct file_tree_entry *e)
{
    struct properties p;
    struct bencode_item item;
    if (t->depth == 0)
        return ERR_MANIFEST;
    int err = read_properties(&t->in, &p);
    if (err)
        return err;
    if (bencode_next(&t->in, &item) != BENCODE_END)
        return item.type == BENCODE_BAD ? ERR_BENCODE : ERR_MANIFEST;
    *e = (struct file_tree_entry){.path = t->path,
                                  .path_bytes = t->path_bytes,
                                  .bytes = (uint64_t)p.length,
                                  .root = p.root,
                                  .exec = p.exec};
    t->at_file = true;
    return 1;
}

int file_tree_next(struct file_tree *t, struct file_tree_entry *e)
{
    struct bencode_item item;
    if (t->at_file)
        close_component(t);
    t->at_file = false;
    while (bencode_next(&t->in, &item) != BENCODE_BAD) {
        if (item.type == BENCODE_END && t->depth == 0)
            return 0;
        if (item.type == BENCODE_END) {
            if (t->empty)
                return ERR_MANIFEST; /* neither a file nor a folder of files */
            close_component(t);
            continue;
        }
        if (item.type != BENCODE_DICT)
            return ERR_MANIFEST;
        if (item.key_bytes == 0)
            return read_file(t, e);
        int err = open_component(t, &item);
        if (err)
            return err;
    }
    return ERR_BENCODE;
}

/* --- paths --- */

int file_tree_check_path(const char *path)
{
    if (strlen(path) > NAME_PATH_BYTES_MAX)
        return ERR_LIMIT;
    for (unsigned depth = 1;; depth++) {
        size_t len = strcspn(path, "/");
        int err = name_check(path, len);
        if (err)
            return err;
        if (depth > MANIFEST_DEPTH_MAX)
            return ERR_LIMIT;
        if (path[len] == '\0')
            return 0;
        path += len + 1;
    }
}

/* '/' ends a component, so it comes before whatever goes on with it. */
static int path_byte(char c)
{
    return c == '/' ? 1 : c == '\0' ? 0 : (uint8_t)c + 1;
}

int file_tree_compare(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return path_byte(*a) - path_byte(*b);
}

/* --- writing --- */

static unsigned count_slashes(const char *path)
{
    unsigned slashes = 0;
    for (; *path; path++)
        slashes += *path == '/';
    return slashes;
}

/* Length of the folders in front that both paths have in common, with the '/'. */
static size_t common_folders(const char *a, const char *b)
{
    size_t common = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
        if (a[i] == '/')
            common = i + 1;
    }
    return common;
}

static void put_file(struct bencode_out *out, const char *leaf, const struct manifest_file *file)
{
    bencode_put_text(out, leaf);
    bencode_put_dict(out);
    bencode_put_text(out, "");
    bencode_put_dict(out);
    if (file->exec) {
        bencode_put_text(out, "attr");
        bencode_put_text(out, "x");
    }
    bencode_put_text(out, "length");
    bencode_put_int(out, (int64_t)file->bytes);
    if (file->bytes > 0) {
        bencode_put_text(out, "pieces root");
        bencode_put_bytes(out, file->root, HASH_LEN);
    }
    bencode_put_end(out);
    bencode_put_end(out);
}

static void put_ends(struct bencode_out *out, unsigned count)
{
    while (count-- > 0)
        bencode_put_end(out);
}

void file_tree_put(struct bencode_out *out, const struct manifest_file *const *sorted,
                   uint32_t count)
{
    const char *before = "";
    bencode_put_dict(out);
    for (uint32_t i = 0; i < count; i++) {
        const char *left = sorted[i]->path + common_folders(before, sorted[i]->path);
        put_ends(out, count_slashes(before + (left - sorted[i]->path)));
        for (const char *slash; (slash = strchr(left, '/')); left = slash + 1) {
            bencode_put_bytes(out, left, (size_t)(slash - left));
            bencode_put_dict(out);
        }
        put_file(out, left, sorted[i]);
        before = sorted[i]->path;
    }
    put_ends(out, count_slashes(before) + 1);
}
