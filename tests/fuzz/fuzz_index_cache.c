/* A damaged index of hashed files: opened, asked, written to, opened again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transfer/io/index_cache.h"

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void write_file(const char *path, const uint8_t *data, size_t len_bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    require(fd >= 0 && write(fd, data, len_bytes) == (ssize_t)len_bytes);
    close(fd);
}

/* What is put in must come out again, now and after the next opening. */
static void use(const char *path, bool put)
{
    const struct store_stamp stamp = {.dev = 1, .ino = 2, .bytes = 3 << 14, .mtime_ns = 4};
    uint8_t root[HASH_LEN] = {5}, layer[3 * HASH_LEN] = {6}, found[HASH_LEN], *found_layer;
    struct index_cache *c;
    require(index_cache_open(path, &c) == 0);
    if (put)
        index_cache_put(c, &stamp, 1 << 14, root, layer);
    require(index_cache_get(c, &stamp, 1 << 14, found, &found_layer) == 0);
    require(memcmp(found, root, HASH_LEN) == 0 && memcmp(found_layer, layer, sizeof(layer)) == 0);
    free(found_layer);
    index_cache_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    char path[64];
    snprintf(path, sizeof(path), "/tmp/ronda-fuzz-index-%d", (int)getpid());
    write_file(path, data, len_bytes);
    use(path, true);
    use(path, false);
    unlink(path);
    return 0;
}
