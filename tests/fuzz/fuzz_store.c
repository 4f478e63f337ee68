/* A peer's manifest made into files: whatever names it has, nothing appears but in
 * the destination, and there only the share itself or its staging directory. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transfer/io/sha256.h"
#include "transfer/io/store.h"

enum { BYTES_MAX = 1 << 20, FILES_MAX = 64 };

/* base/a/dest: "../" and "../../" must not be noticed as well. */
struct place {
    char base[64], mid[80], dest[96];
    int before; /* the fuzzer's own directory: its corpus may be named relative to it */
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void place_make(struct place *p)
{
    p->before = open(".", O_PATH | O_CLOEXEC);
    const char *root = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    snprintf(p->base, sizeof(p->base), "%s/ronda-fuzz-store-XXXXXX", root);
    require(mkdtemp(p->base) != NULL);
    snprintf(p->mid, sizeof(p->mid), "%s/a", p->base);
    snprintf(p->dest, sizeof(p->dest), "%s/dest", p->mid);
    require(mkdir(p->mid, 0700) == 0 && mkdir(p->dest, 0700) == 0 && chdir(p->mid) == 0);
}

static void place_remove(struct place *p)
{
    require(fchdir(p->before) == 0);
    close(p->before);
    nftw(p->base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* How many entries, but for one of this name. */
static unsigned others_in(const char *path, const char *name)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    require(dir != NULL);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                 strcmp(e->d_name, name) != 0;
    closedir(dir);
    return count;
}

static void place_check(const struct place *p, const struct store *s)
{
    require(others_in(p->base, "a") == 0 && others_in(p->mid, "dest") == 0);
    require(others_in(p->dest, store_final_name(s)) <= 1); /* the staging directory */
    require(!store_done(s) || others_in(p->dest, store_final_name(s)) == 0);
}

static void write_all(struct store *s, const struct layout *l)
{
    static const uint8_t zeros[BYTES_MAX];

    for (uint32_t c = 0; c < layout_chunks(l); c++) {
        if (!chunkmap_has(store_have(s), c))
            require(store_write(s, c, zeros, layout_chunk_bytes(l, c)) == 0);
    }
    require(store_sync(s) == 0 && store_done(s));
}

static void receive(const struct place *p, const struct manifest *m, const struct layout *l)
{
    struct store_cfg cfg = {
        .manifest = m, .layout = l, .hash = sha256, .dest = p->dest, .boot_mark = 1};
    struct store *s;

    for (int round = 0; round < 2; round++) {
        if (store_open_receive(&cfg, &s) != 0)
            return; /* names that the filesystem does not take */
        place_check(p, s);
        if (round == 1)
            write_all(s, l);
        place_check(p, s);
        store_close(s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    struct manifest *m;
    struct layout *l = NULL;
    struct place p;

    if (manifest_parse(sha256, data, len_bytes, &m) != 0)
        return 0;
    if (manifest_complete(m) && manifest_bytes(m) <= BYTES_MAX && manifest_files(m) <= FILES_MAX &&
        layout_new(m, &l) == 0) {
        place_make(&p);
        receive(&p, m, l);
        require(others_in(p.base, "a") == 0 && others_in(p.mid, "dest") == 0);
        place_remove(&p);
    }
    layout_free(l);
    manifest_free(m);
    return 0;
}
