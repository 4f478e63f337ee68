#include "daemon/catalog.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct catalog *c;

/* tests/CMakeLists.txt has every qsort() pass through here. */
typedef int cmp_fn(const void *a, const void *b);

void __real_qsort(void *base, size_t count, size_t size, cmp_fn *cmp);
void __wrap_qsort(void *base, size_t count, size_t size, cmp_fn *cmp);

static unsigned sorts;

void __wrap_qsort(void *base, size_t count, size_t size, cmp_fn *cmp)
{
    sorts++;
    __real_qsort(base, count, size, cmp);
}

static void setup(void)
{
    cr_assert_eq(catalog_new(&c), 0);
}

static void teardown(void)
{
    catalog_free(c);
}

TestSuite(catalog, .init = setup, .fini = teardown);

static const uint8_t *node(unsigned n)
{
    static uint8_t nodes[512][HASH_LEN];

    nodes[n][0] = (uint8_t)(n >> 8);
    nodes[n][1] = (uint8_t)n;
    nodes[n][31] = 1;
    return nodes[n];
}

static struct msg_entry entry(unsigned id, unsigned key, const char *name, uint8_t state)
{
    struct msg_entry e = {.bytes = key * 100u, .files = 1, .state = state};

    e.id[0] = (uint8_t)(id >> 8);
    e.id[1] = (uint8_t)id;
    memset(e.key, (int)key, HASH_LEN);
    snprintf(e.name, sizeof(e.name), "%s", name);
    return e;
}

static void put(unsigned host, bool self, struct msg_entry e)
{
    cr_assert_eq(catalog_set(c, node(host), self, &e, 1), 0);
}

static struct catalog_item at(uint32_t i)
{
    struct catalog_item it;

    catalog_at(c, i, &it);
    return it;
}

Test(catalog, empty)
{
    uint32_t item, others[2], count = 2;
    uint8_t id[HASH_LEN];
    const uint8_t *hosts[2];

    cr_assert_eq(catalog_count(c), 0);
    cr_assert_eq(catalog_resolve(c, "x", &item, id, others, &count), ERR_NOT_FOUND);
    cr_assert_eq(count, 0);
    cr_assert_eq(catalog_hosts(c, node(1), hosts, 2, NULL), 0);
    catalog_drop(c, node(1));
    catalog_free(NULL);
}

Test(catalog, same_key_is_one_row_with_two_names)
{
    put(1, false, entry(0x2222, 7, "b.iso", MSG_STATE_COMPLETE));
    put(2, false, entry(0x1111, 7, "a.iso", MSG_STATE_PARTIAL));
    put(3, false, entry(0x2222, 7, "b.iso", MSG_STATE_PARTIAL));
    cr_assert_eq(catalog_count(c), 1);
    struct catalog_item it = at(0);
    cr_assert_str_eq(it.name, "b.iso", "the id that most hosts name");
    cr_assert_eq(it.sources, 1);
    cr_assert_eq(it.partial, 2);
    cr_assert_eq(it.state, CATALOG_REMOTE);
    cr_assert_eq(it.name_count, 2);
    cr_assert_str_eq(catalog_name_at(c, 0, 0), "a.iso");
    cr_assert_str_eq(catalog_name_at(c, 0, 1), "b.iso");
}

Test(catalog, our_own_id_stands_for_the_row)
{
    put(1, false, entry(0x2222, 7, "b", MSG_STATE_COMPLETE));
    put(2, false, entry(0x2222, 7, "b", MSG_STATE_COMPLETE));
    put(9, true, entry(0x3333, 7, "mine", MSG_STATE_PARTIAL));
    cr_assert_str_eq(at(0).name, "mine");
    cr_assert_eq(at(0).state, CATALOG_PARTIAL);
    put(9, true, entry(0x3333, 7, "mine", MSG_STATE_COMPLETE));
    cr_assert_eq(at(0).state, CATALOG_HERE);
    cr_assert_eq(at(0).sources, 3);
}

Test(catalog, tie_goes_to_the_smallest_id)
{
    put(1, false, entry(0x2222, 7, "b", MSG_STATE_COMPLETE));
    put(2, false, entry(0x1111, 7, "z", MSG_STATE_COMPLETE));
    cr_assert_str_eq(at(0).name, "z");
}

Test(catalog, one_host_with_two_names_is_one_source)
{
    struct msg_entry e[] = {entry(0x1111, 7, "a", MSG_STATE_PARTIAL),
                            entry(0x2222, 7, "b", MSG_STATE_COMPLETE)};
    cr_assert_eq(catalog_set(c, node(1), false, e, 2), 0);
    cr_assert_eq(at(0).sources, 1);
    cr_assert_eq(at(0).partial, 0);
}

Test(catalog, sorted_by_name_then_id)
{
    put(1, false, entry(0x0003, 1, "b", MSG_STATE_COMPLETE));
    put(2, false, entry(0x0001, 2, "b", MSG_STATE_COMPLETE));
    put(3, false, entry(0x0002, 3, "a", MSG_STATE_COMPLETE));
    cr_assert_eq(at(0).key[0], 3);
    cr_assert_eq(at(1).key[0], 2);
    cr_assert_eq(at(2).key[0], 1);
}

Test(catalog, set_replaces_and_drop_forgets)
{
    put(1, false, entry(1, 1, "a", MSG_STATE_COMPLETE));
    put(2, false, entry(2, 2, "b", MSG_STATE_COMPLETE));
    put(1, false, entry(3, 3, "c", MSG_STATE_COMPLETE));
    cr_assert_eq(catalog_count(c), 2);
    cr_assert_str_eq(at(1).name, "c");
    catalog_drop(c, node(1));
    cr_assert_eq(catalog_count(c), 1);
    cr_assert_str_eq(at(0).name, "b");
    cr_assert_eq(catalog_set(c, node(2), false, NULL, 0), 0);
    cr_assert_eq(catalog_count(c), 0);
}

static int resolve(const char *what, uint32_t *item, unsigned *id)
{
    uint8_t full[HASH_LEN];
    int rc = catalog_resolve(c, what, item, full, NULL, NULL);

    if (rc == 0)
        *id = (unsigned)full[0] << 8 | full[1];
    return rc;
}

Test(catalog, resolve_name_prefix_and_id)
{
    struct msg_entry e[] = {
        entry(0xabcd, 1, "film", MSG_STATE_COMPLETE), entry(0xabce, 2, "1234", MSG_STATE_COMPLETE),
        entry(0x1234, 3, "song", MSG_STATE_COMPLETE), entry(0x9999, 4, "twin", MSG_STATE_COMPLETE),
        entry(0x8888, 5, "twin", MSG_STATE_COMPLETE)};
    char whole[2 * HASH_LEN + 2] = "";
    uint32_t item, others[4], count = 1;
    uint8_t full[HASH_LEN];
    unsigned id = 0;

    cr_assert_eq(catalog_set(c, node(1), false, e, 5), 0);
    cr_assert_eq(resolve("film", &item, &id), 0);
    cr_assert_eq(id, 0xabcd);
    cr_assert_str_eq(at(item).name, "film");
    cr_assert_eq(resolve("ABCE0", &item, &id), 0);
    cr_assert_eq(id, 0xabce);
    cr_assert_eq(resolve("abc", &item, &id), ERR_NOT_FOUND, "three digits are no prefix");
    cr_assert_eq(resolve("abcx", &item, &id), ERR_NOT_FOUND);
    cr_assert_eq(resolve("abcf", &item, &id), ERR_NOT_FOUND);
    cr_assert_eq(resolve("1234", &item, &id), 0);
    cr_assert_eq(id, 0xabce, "a name wins over a prefix");
    cr_assert_eq(resolve("12340", &item, &id), 0);
    cr_assert_eq(id, 0x1234, "odd number of digits");
    cr_assert_eq(resolve("12341", &item, &id), ERR_NOT_FOUND);
    cr_assert_eq(catalog_resolve(c, "twin", &item, full, others, &count), ERR_AMBIGUOUS);
    cr_assert_eq(count, 1, "never more than there is room for");
    count = 4;
    cr_assert_eq(catalog_resolve(c, "twin", &item, full, others, &count), ERR_AMBIGUOUS);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(at(others[1]).name, "twin");
    snprintf(whole, sizeof(whole), "1234%060d", 0);
    cr_assert_eq(resolve(whole, &item, &id), 0);
    cr_assert_eq(id, 0x1234);
    strcat(whole, "0");
    cr_assert_eq(resolve(whole, &item, &id), ERR_NOT_FOUND);
}

Test(catalog, the_name_typed_gives_its_own_id)
{
    uint32_t item;
    unsigned id = 0;

    put(1, false, entry(0x1111, 7, "a", MSG_STATE_COMPLETE));
    put(2, false, entry(0x2222, 7, "b", MSG_STATE_COMPLETE));
    cr_assert_eq(resolve("b", &item, &id), 0);
    cr_assert_eq(id, 0x2222);
    cr_assert_eq(item, 0);
}

Test(catalog, a_liar_makes_no_whole_id_ambiguous)
{
    char whole[2 * HASH_LEN + 1];
    uint32_t item;
    unsigned id;

    put(1, false, entry(0x1234, 1, "lie", MSG_STATE_COMPLETE));
    put(2, false, entry(0x1234, 7, "true", MSG_STATE_COMPLETE));
    put(3, false, entry(0x1234, 7, "true", MSG_STATE_COMPLETE));
    snprintf(whole, sizeof(whole), "1234%060d", 0);
    cr_assert_eq(resolve(whole, &item, &id), 0);
    cr_assert_str_eq(at(item).name, "true");
    put(4, true, entry(0x1234, 9, "ours", MSG_STATE_COMPLETE));
    cr_assert_eq(resolve(whole, &item, &id), 0);
    cr_assert_str_eq(at(item).name, "ours");
}

Test(catalog, hosts_whole_ones_first_without_us)
{
    struct msg_entry e = entry(1, 7, "a", MSG_STATE_PARTIAL);
    const uint8_t *hosts[8];
    uint32_t whole;

    put(1, false, e);
    put(2, true, entry(1, 7, "a", MSG_STATE_COMPLETE));
    put(3, false, entry(1, 7, "a", MSG_STATE_COMPLETE));
    put(4, false, entry(2, 8, "b", MSG_STATE_COMPLETE));
    cr_assert_eq(catalog_hosts(c, e.key, hosts, 8, &whole), 2);
    cr_assert_eq(whole, 1);
    cr_assert_arr_eq(hosts[0], node(3), HASH_LEN);
    cr_assert_arr_eq(hosts[1], node(1), HASH_LEN);
    cr_assert_eq(catalog_hosts(c, e.key, hosts, 1, NULL), 1);
    cr_assert(catalog_host_has_id(c, node(1), e.id));
    cr_assert_not(catalog_host_has_id(c, node(4), e.id));
    cr_assert_not(catalog_host_has_id(c, node(5), e.id));
}

/* A crowd's catalogues change all the time, and each receiving asks after every change. */
Test(catalog, who_holds_it_is_told_without_sorting)
{
    struct msg_entry e = entry(1, 7, "a", MSG_STATE_COMPLETE);
    const uint8_t *hosts[8];

    put(1, false, entry(2, 8, "b", MSG_STATE_COMPLETE));
    put(2, false, e);
    cr_assert_eq(catalog_hosts(c, e.key, hosts, 8, NULL), 1);
    cr_assert_eq(sorts, 0);
    cr_assert_eq(catalog_count(c), 2);
    cr_assert_gt(sorts, 0);
}

Test(catalog, suggestions_nearest_first)
{
    struct msg_entry e[] = {entry(1, 1, "debian-12.iso", MSG_STATE_COMPLETE),
                            entry(2, 2, "Holidays", MSG_STATE_COMPLETE),
                            entry(3, 3, "holidais", MSG_STATE_COMPLETE),
                            entry(4, 4, "zzz", MSG_STATE_COMPLETE)};
    const char *names[3];

    cr_assert_eq(catalog_set(c, node(1), false, e, 4), 0);
    cr_assert_eq(catalog_suggest(c, "holidays", names, 3), 2);
    cr_assert_str_eq(names[0], "Holidays");
    cr_assert_str_eq(names[1], "holidais");
    cr_assert_eq(catalog_suggest(c, "holidays", names, 1), 1);
    cr_assert_str_eq(names[0], "Holidays");
    cr_assert_eq(catalog_suggest(c, "debian", names, 3), 1);
    cr_assert_eq(catalog_suggest(c, "debain-12.iso", names, 3), 1);
    cr_assert_eq(catalog_suggest(c, "qq", names, 3), 0, "two edits are all of it");
    cr_assert_eq(catalog_suggest(c, "zzz", names, 0), 0);
}

static struct msg_entry *many(unsigned host, uint32_t count)
{
    struct msg_entry *e = calloc(count, sizeof(*e));

    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = (host * count + i) * 2654435761u;
        memcpy(e[i].id, &n, sizeof(n));
        memcpy(e[i].key + 4, &n, sizeof(n));
        e[i].state = MSG_STATE_COMPLETE;
        snprintf(e[i].name, sizeof(e[i].name), "share-%08x", n);
    }
    return e;
}

Test(catalog, ceilings)
{
    struct msg_entry *e = many(0, CATALOG_HOST_ENTRIES_MAX + 1);
    unsigned h;

    cr_assert_eq(catalog_set(c, node(0), false, e, CATALOG_HOST_ENTRIES_MAX + 1), 0);
    cr_assert_eq(catalog_count(c), CATALOG_HOST_ENTRIES_MAX);
    free(e);
    for (h = 1; h < CATALOG_HOSTS_MAX - 1; h++) {
        e = many(h, CATALOG_HOST_ENTRIES_MAX);
        cr_assert_eq(catalog_set(c, node(h), false, e, CATALOG_HOST_ENTRIES_MAX), 0);
        free(e);
    }
    cr_assert_eq(catalog_count(c), CATALOG_ENTRIES_MAX);
    cr_assert_eq(catalog_set(c, node(h), false, NULL, 0), ERR_LIMIT);
    cr_assert_eq(catalog_set(c, node(h), true, NULL, 0), 0, "there is always room for ourselves");
    cr_assert_eq(catalog_set(c, node(h + 1), false, NULL, 0), ERR_LIMIT);
    cr_assert_eq(catalog_set(c, node(1), false, NULL, 0), 0, "known ones may change");
    cr_assert_eq(catalog_count(c), CATALOG_ENTRIES_MAX - CATALOG_HOST_ENTRIES_MAX);
}

/* The same questions answered by brute force over what was put in. */
Test(catalog, random_against_a_slow_reference)
{
    enum { HOSTS = 6, KEYS = 9 };
    const unsigned seed = 20260101;
    struct msg_entry held[HOSTS][KEYS];
    uint32_t count[HOSTS] = {0};

    srand(seed);
    for (unsigned round = 0; round < 400; round++) {
        unsigned h = (unsigned)rand() % HOSTS;
        count[h] = (uint32_t)rand() % (KEYS + 1);
        for (uint32_t i = 0; i < count[h]; i++) {
            unsigned key = 1 + (unsigned)rand() % KEYS, alias = (unsigned)rand() % 3;
            char name[] = {(char)('a' + (int)alias), (char)('0' + (int)key), 0};
            held[h][i] = entry(key * 16 + alias, key, name, (uint8_t)(rand() % 2));
        }
        if (rand() % 5 == 0) {
            count[h] = 0;
            catalog_drop(c, node(h));
        } else {
            cr_assert_eq(catalog_set(c, node(h), h == 0, held[h], count[h]), 0);
        }
        uint32_t keys = 0;
        for (unsigned key = 1; key <= KEYS; key++) {
            uint32_t whole = 0, part = 0, others_whole = 0, others = 0, told;
            const uint8_t *hosts[HOSTS];
            for (unsigned k = 0; k < HOSTS; k++) {
                int best = -1;
                for (uint32_t i = 0; i < count[k]; i++)
                    if (held[k][i].key[0] == key && held[k][i].state > best)
                        best = held[k][i].state;
                whole += best == MSG_STATE_COMPLETE;
                part += best == MSG_STATE_PARTIAL;
                others_whole += k > 0 && best == MSG_STATE_COMPLETE;
                others += k > 0 && best >= 0;
            }
            struct msg_entry asked = entry(1, key, "", 0);
            cr_assert_eq(catalog_hosts(c, asked.key, hosts, HOSTS, &told), others,
                         "seed %u round %u", seed, round);
            cr_assert_eq(told, others_whole, "seed %u round %u", seed, round);
            keys += whole + part > 0;
            for (uint32_t i = 0; i < catalog_count(c); i++) {
                if (at(i).key[0] != key)
                    continue;
                cr_assert_eq(at(i).sources, whole, "seed %u round %u", seed, round);
                cr_assert_eq(at(i).partial, part, "seed %u round %u", seed, round);
                for (uint32_t j = 1; j < at(i).name_count; j++)
                    cr_assert_lt(strcmp(catalog_name_at(c, i, j - 1), catalog_name_at(c, i, j)), 0);
            }
        }
        cr_assert_eq(catalog_count(c), keys, "seed %u round %u", seed, round);
        for (uint32_t i = 1; i < catalog_count(c); i++)
            cr_assert_leq(strcmp(at(i - 1).name, at(i).name), 0, "seed %u round %u", seed, round);
    }
}
