/* Hosts that list, relist and leave, and what a user types: the merged catalogue
 * keeps its promises. */
#include <stdlib.h>
#include <string.h>

#include "daemon/catalog.h"

enum { ENTRIES_MAX = 16, OTHERS = 4 };

struct bytes {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct bytes *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Few ids, keys and names, so that hosts agree, disagree and clash. */
static void host_set(struct catalog *c, struct bytes *in)
{
    struct msg_entry e[ENTRIES_MAX];
    uint8_t host[HASH_LEN] = {take(in) % 8}, count = take(in) % ENTRIES_MAX;

    memset(e, 0, sizeof(e));
    for (uint8_t i = 0; i < count; i++) {
        uint8_t bits = take(in);
        memset(e[i].id, bits & 7, HASH_LEN);
        memset(e[i].key, bits >> 3 & 3, HASH_LEN);
        e[i].state = bits >> 5 & 1;
        e[i].bytes = bits;
        e[i].name[0] = (char)('a' + take(in) % 4);
        e[i].name[1] = (char)(bits & 64 ? 'x' : '\0');
    }
    require(catalog_set(c, host, host[0] == 0, e, count) == 0);
}

static void resolve(const struct catalog *c, const char *what)
{
    uint8_t id[HASH_LEN];
    uint32_t item, others[OTHERS], count = OTHERS;
    const char *names[OTHERS];
    int err = catalog_resolve(c, what, &item, id, others, &count);

    require(err == 0 || err == ERR_NOT_FOUND || err == ERR_AMBIGUOUS);
    require(err != 0 || item < catalog_count(c));
    for (uint32_t i = 0; err == ERR_AMBIGUOUS && i < count; i++)
        require(count <= OTHERS && others[i] < catalog_count(c));
    require(catalog_suggest(c, what, names, OTHERS) <= OTHERS);
}

static void check_item(const struct catalog *c, const struct catalog_item *it)
{
    const uint8_t *hosts[CATALOG_HOSTS_MAX];
    char hex[2 * HASH_LEN + 1];
    uint8_t id[HASH_LEN];
    uint32_t item, others[OTHERS], count = OTHERS;

    for (size_t i = 0; i < HASH_LEN; i++) {
        hex[2 * i] = "0123456789abcdef"[it->id[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[it->id[i] & 15];
    }
    hex[2 * HASH_LEN] = '\0';
    require(catalog_resolve(c, hex, &item, id, others, &count) == 0);
    require(memcmp(id, it->id, HASH_LEN) == 0);
    require(catalog_hosts(c, it->key, hosts, CATALOG_HOSTS_MAX, NULL) <= it->sources + it->partial);
}

static void check(const struct catalog *c)
{
    struct catalog_item it;
    char name[MSG_NAME_BYTES_MAX + 1] = "";

    for (uint32_t i = 0; i < catalog_count(c); i++) {
        catalog_at(c, i, &it);
        require(it.sources + it.partial > 0 && it.name_count > 0);
        require(i == 0 || strcmp(name, it.name) <= 0);
        for (uint32_t j = 1; j < it.name_count; j++)
            require(strcmp(catalog_name_at(c, i, j - 1), catalog_name_at(c, i, j)) < 0);
        strcpy(name, it.name);
        check_item(c, &it);
    }
}

static void type(const struct catalog *c, struct bytes *in)
{
    char what[80] = "";
    size_t len = take(in) % sizeof(what);

    for (size_t i = 0; i < len; i++)
        what[i] = (char)take(in);
    what[sizeof(what) - 1] = '\0';
    resolve(c, what);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    struct bytes in = {data, len_bytes};
    struct catalog *c;

    require(catalog_new(&c) == 0);
    while (in.left > 0) {
        uint8_t op = take(&in);
        uint8_t host[HASH_LEN] = {op >> 2 & 7};
        if (op % 4 < 2)
            host_set(c, &in);
        else if (op % 4 == 2)
            catalog_drop(c, host);
        else
            type(c, &in);
        check(c);
    }
    catalog_free(c);
    return 0;
}
