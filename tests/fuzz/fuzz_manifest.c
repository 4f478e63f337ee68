/* A peer's info dictionary: bencode, manifest, layout and a round trip. */
#include <stdlib.h>
#include <string.h>

#include "transfer/core/bencode.h"
#include "transfer/core/layout.h"
#include "transfer/core/name.h"
#include "transfer/io/sha256.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void walk_bencode(const uint8_t *data, size_t len_bytes)
{
    struct bencode_in in;
    struct bencode_item item;
    size_t items = 0;
    bencode_begin(&in, data, len_bytes);
    do {
        bencode_next(&in, &item);
        require(in.depth <= BENCODE_DEPTH_MAX && items++ <= len_bytes + 1);
    } while (item.type != BENCODE_BAD && item.type != BENCODE_DONE);
}

/* Chunks and segments are the bytes of all files, once each and in order. */
static void walk_layout(const struct manifest *m, const struct layout *l)
{
    uint64_t sum = 0;
    for (uint32_t chunk = 0; chunk < layout_chunks(l); chunk++) {
        struct layout_iter it;
        struct layout_seg seg;
        uint32_t bytes = 0;
        layout_iter_begin(l, chunk, &it);
        while (layout_iter_next(&it, &seg)) {
            uint32_t first, last;
            require(layout_file_chunks(l, seg.file, &first, &last));
            require(first <= chunk && chunk <= last);
            bytes += seg.len_bytes;
        }
        require(bytes == layout_chunk_bytes(l, chunk) && bytes <= manifest_piece_len(m));
        sum += bytes;
    }
    require(sum == manifest_bytes(m));
}

/* Building from what was parsed gives files in the same order. */
static void check_files(const struct manifest *m)
{
    for (uint32_t i = 0; i < manifest_files(m); i++) {
        struct manifest_file f;
        manifest_file_at(m, i, &f);
        require(name_utf8(f.path, strlen(f.path)) && f.path[0] != '/' && !strstr(f.path, "//"));
    }
}

static void check_rebuild(const struct manifest *m)
{
    uint32_t count = manifest_files(m);
    struct manifest_file *files = calloc(count, sizeof(*files));
    struct manifest *again = NULL;
    require(files != NULL);
    for (uint32_t i = 0; i < count; i++)
        manifest_file_at(m, count - 1 - i, &files[i]);
    if (manifest_layers_bytes(m) == 0) {
        int err = manifest_build(sha256, manifest_name(m), manifest_single(m),
                                 manifest_piece_len(m), files, count, &again);
        require(err == 0 || err == ERR_LIMIT);
    }
    for (uint32_t i = 0; again && i < count; i++) {
        struct manifest_file f;
        manifest_file_at(again, i, &f);
        require(strcmp(f.path, files[count - 1 - i].path) == 0);
    }
    manifest_free(again);
    free(files);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    struct manifest *m;
    struct layout *l = NULL;
    walk_bencode(data, len_bytes);
    if (manifest_parse(sha256, data, len_bytes, &m) != 0)
        return 0;
    check_files(m);
    check_rebuild(m);
    if (layout_new(m, &l) == 0)
        walk_layout(m, l);
    layout_free(l);
    manifest_free(m);
    return 0;
}
