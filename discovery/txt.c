#include "discovery/txt.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

enum { TXT_VERSION = 1, TXT_ID = 2, TXT_CATALOG = 4, TXT_FLAGS = 8 };

AvahiStringList *txt_build(const struct txt *t)
{
    char id[2 * TXT_ID_BYTES + 1];
    for (int i = 0; i < TXT_ID_BYTES; i++) {
        static const char digits[] = "0123456789abcdef";
        id[2 * i] = digits[t->id[i] >> 4];
        id[2 * i + 1] = digits[t->id[i] & 15];
    }
    id[2 * TXT_ID_BYTES] = '\0';
    AvahiStringList *list = avahi_string_list_add_printf(NULL, "v=%u", t->version);
    if (list)
        list = avahi_string_list_add_printf(list, "id=%s", id);
    if (list)
        list = avahi_string_list_add_printf(list, "c=%" PRIx64, t->catalog_version);
    if (list)
        list = avahi_string_list_add_printf(list, "f=%x", t->flags);
    return list;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool read_hex(const uint8_t *s, size_t len, size_t max_digits, uint64_t *out)
{
    uint64_t value = 0;
    if (len == 0 || len > max_digits)
        return false;
    for (size_t i = 0; i < len; i++) {
        int digit = hex_digit(s[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    *out = value;
    return true;
}

static bool read_version(const uint8_t *s, size_t len, uint8_t *out)
{
    unsigned value = 0;
    if (len == 0 || len > 3)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        value = value * 10 + (unsigned)(s[i] - '0');
    }
    *out = (uint8_t)value;
    return value >= 1 && value <= UINT8_MAX;
}

static bool read_id(const uint8_t *s, size_t len, uint8_t out[static TXT_ID_BYTES])
{
    if (len != 2 * TXT_ID_BYTES)
        return false;
    for (size_t i = 0; i < TXT_ID_BYTES; i++) {
        uint64_t byte;
        if (!read_hex(s + 2 * i, 2, 2, &byte))
            return false;
        out[i] = (uint8_t)byte;
    }
    return true;
}

/* Keys are compared without regard to case (RFC 6763 6.4). */
static unsigned key_of(const uint8_t *s, size_t len)
{
    if (len == 2 && (s[0] | 0x20) == 'i' && (s[1] | 0x20) == 'd')
        return TXT_ID;
    if (len != 1)
        return 0;
    switch (s[0] | 0x20) {
    case 'v':
        return TXT_VERSION;
    case 'c':
        return TXT_CATALOG;
    case 'f':
        return TXT_FLAGS;
    default:
        return 0;
    }
}

static bool read_value(unsigned key, const uint8_t *s, size_t len, struct txt *out)
{
    uint64_t flags;
    switch (key) {
    case TXT_VERSION:
        return read_version(s, len, &out->version);
    case TXT_ID:
        return read_id(s, len, out->id);
    case TXT_CATALOG:
        return read_hex(s, len, 16, &out->catalog_version);
    case TXT_FLAGS:
        if (!read_hex(s, len, 2, &flags))
            return false;
        out->flags = (uint8_t)flags;
        return true;
    default:
        return false;
    }
}

int txt_parse(const AvahiStringList *list, struct txt *out)
{
    unsigned have = 0;
    memset(out, 0, sizeof *out);
    for (; list; list = list->next) {
        const uint8_t *equals = memchr(list->text, '=', list->size);
        if (!equals)
            continue;
        size_t key_len = (size_t)(equals - list->text);
        unsigned key = key_of(list->text, key_len);
        if (key == 0)
            continue;
        if (have & key || !read_value(key, equals + 1, list->size - key_len - 1, out))
            goto bad;
        have |= key;
    }
    if ((have & (TXT_VERSION | TXT_ID)) == (TXT_VERSION | TXT_ID))
        return 0;
bad:
    memset(out, 0, sizeof *out);
    return -EBADMSG;
}
