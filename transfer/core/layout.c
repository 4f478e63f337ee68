#include "transfer/core/layout.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct chunk { /* where it begins */
    uint64_t offset_bytes;
    uint32_t file;
    uint32_t bytes;
};

struct layout {
    const struct manifest *manifest;
    uint32_t count, bytes_max;
    struct chunk *chunks;
};

/* The pieces of all files, one after another. */
struct piece_walk {
    const struct manifest *manifest;
    uint32_t next_file;
    uint64_t file_bytes;
    struct layout_seg seg; /* the piece given last */
};

static bool next_piece(struct piece_walk *w)
{
    struct layout_seg *seg = &w->seg;
    uint32_t piece_bytes = manifest_piece_len(w->manifest);

    seg->offset_bytes += seg->len_bytes;
    while (seg->offset_bytes == w->file_bytes) {
        struct manifest_file f;
        if (w->next_file == manifest_files(w->manifest))
            return false;
        manifest_file_at(w->manifest, w->next_file, &f);
        seg->file = w->next_file++;
        seg->offset_bytes = 0;
        w->file_bytes = f.bytes;
    }
    uint64_t left = w->file_bytes - seg->offset_bytes;
    seg->len_bytes = left < piece_bytes ? (uint32_t)left : piece_bytes;
    return true;
}

/* Fills chunks, or only counts them while it is NULL. */
static int cut_chunks(const struct manifest *m, struct chunk *chunks, uint32_t *count)
{
    struct piece_walk w = {.manifest = m};
    uint32_t piece_bytes = manifest_piece_len(m), used = piece_bytes;

    *count = 0;
    while (next_piece(&w)) {
        if (w.seg.len_bytes > piece_bytes - used) {
            if (*count == LAYOUT_CHUNKS_MAX)
                return ERR_LIMIT;
            if (chunks)
                chunks[*count] =
                    (struct chunk){.file = w.seg.file, .offset_bytes = w.seg.offset_bytes};
            ++*count;
            used = 0;
        }
        used += w.seg.len_bytes;
        if (chunks)
            chunks[*count - 1].bytes = used;
    }
    return 0;
}

int layout_new(const struct manifest *m, struct layout **out)
{
    uint32_t count;
    *out = NULL;
    int err = cut_chunks(m, NULL, &count);
    if (err)
        return err;
    struct layout *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->manifest = m;
    l->chunks = calloc(count ? count : 1, sizeof(*l->chunks));
    if (!l->chunks) {
        layout_free(l);
        return -ENOMEM;
    }
    err = cut_chunks(m, l->chunks, &l->count);
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->chunks[i].bytes > l->bytes_max)
            l->bytes_max = l->chunks[i].bytes;
    }
    *out = l;
    return err;
}

void layout_free(struct layout *l)
{
    if (!l)
        return;
    free(l->chunks);
    free(l);
}

uint32_t layout_chunks(const struct layout *l)
{
    return l->count;
}

uint32_t layout_chunk_bytes(const struct layout *l, uint32_t chunk)
{
    assert(chunk < l->count);
    return l->chunks[chunk].bytes;
}

uint32_t layout_chunk_bytes_max(const struct layout *l)
{
    return l->bytes_max;
}

void layout_iter_begin(const struct layout *l, uint32_t chunk, struct layout_iter *it)
{
    assert(chunk < l->count);
    const struct chunk *c = &l->chunks[chunk];
    *it = (struct layout_iter){
        .layout = l, .file = c->file, .offset_bytes = c->offset_bytes, .left_bytes = c->bytes};
}

bool layout_iter_next(struct layout_iter *it, struct layout_seg *seg)
{
    const struct manifest *m = it->layout->manifest;
    struct manifest_file f;
    if (it->left_bytes == 0)
        return false;
    for (manifest_file_at(m, it->file, &f); it->offset_bytes == f.bytes;) {
        it->offset_bytes = 0;
        manifest_file_at(m, ++it->file, &f);
    }
    uint64_t left = f.bytes - it->offset_bytes;
    uint32_t piece_bytes = manifest_piece_len(m);
    *seg = (struct layout_seg){.file = it->file,
                               .offset_bytes = it->offset_bytes,
                               .len_bytes = left < piece_bytes ? (uint32_t)left : piece_bytes};
    it->offset_bytes += seg->len_bytes;
    it->left_bytes -= seg->len_bytes;
    return true;
}

/* The last chunk that begins at or before offset_bytes of file. */
static uint32_t find_chunk(const struct layout *l, uint32_t file, uint64_t offset_bytes)
{
    uint32_t low = 0, high = l->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        const struct chunk *c = &l->chunks[middle];
        if (c->file < file || (c->file == file && c->offset_bytes <= offset_bytes))
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool layout_file_chunks(const struct layout *l, uint32_t file, uint32_t *first, uint32_t *last)
{
    struct manifest_file f;
    manifest_file_at(l->manifest, file, &f);
    if (f.bytes == 0)
        return false;
    *first = find_chunk(l, file, 0);
    *last = find_chunk(l, file, f.bytes - 1);
    return true;
}
