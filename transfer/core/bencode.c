#include "transfer/core/bencode.h"

#include <assert.h>
#include <string.h>

void bencode_begin(struct bencode_in *in, const void *data, size_t len_bytes)
{
    in->at = data;
    in->left_bytes = len_bytes;
    in->depth = 0;
    in->begun = in->bad = false;
}

static enum bencode_type fail(struct bencode_in *in, struct bencode_item *item)
{
    in->bad = true;
    item->type = BENCODE_BAD;
    return BENCODE_BAD;
}

static bool take_char(struct bencode_in *in, char c)
{
    if (in->left_bytes == 0 || *in->at != (uint8_t)c)
        return false;
    in->at++;
    in->left_bytes--;
    return true;
}

static bool at_digit(const struct bencode_in *in)
{
    return in->left_bytes > 0 && *in->at >= '0' && *in->at <= '9';
}

/* A decimal number without leading zeros, at most max. */
static bool take_decimal(struct bencode_in *in, uint64_t max, uint64_t *number)
{
    *number = 0;
    if (take_char(in, '0'))
        return !at_digit(in);
    if (!at_digit(in))
        return false;
    for (; at_digit(in); in->at++, in->left_bytes--) {
        unsigned digit = *in->at - (unsigned)'0';
        if (digit > max || *number > (max - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return true;
}

static bool take_bytes(struct bencode_in *in, const uint8_t **bytes, size_t *len_bytes)
{
    uint64_t len;
    if (!take_decimal(in, in->left_bytes, &len) || !take_char(in, ':') || len > in->left_bytes)
        return false;
    *bytes = in->at;
    *len_bytes = (size_t)len;
    in->at += len;
    in->left_bytes -= len;
    return true;
}

static bool take_int(struct bencode_in *in, int64_t *number)
{
    uint64_t magnitude;
    bool negative = take_char(in, '-');
    uint64_t max = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (!take_decimal(in, max, &magnitude) || !take_char(in, 'e') || (negative && magnitude == 0))
        return false;
    *number = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

/* Memory order of bytes, the shorter first when one begins the other. */
static int compare_bytes(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    if (order != 0)
        return order;
    return a_bytes < b_bytes ? -1 : a_bytes > b_bytes;
}

/* Every value in a dictionary has a key in front, greater than the one before. */
static bool take_key(struct bencode_in *in, struct bencode_level *level, struct bencode_item *item)
{
    if (!take_bytes(in, &item->key, &item->key_bytes))
        return false;
    if (level->key && compare_bytes(level->key, level->key_bytes, item->key, item->key_bytes) >= 0)
        return false;
    level->key = item->key;
    level->key_bytes = item->key_bytes;
    return true;
}

static bool open_level(struct bencode_in *in, bool is_dict)
{
    if (in->depth == BENCODE_DEPTH_MAX)
        return false;
    in->levels[in->depth++] = (struct bencode_level){.is_dict = is_dict};
    return true;
}

static bool take_value(struct bencode_in *in, struct bencode_item *item)
{
    if (at_digit(in)) {
        item->type = BENCODE_BYTES;
        return take_bytes(in, &item->bytes, &item->len_bytes);
    }
    if (take_char(in, 'i')) {
        item->type = BENCODE_INT;
        return take_int(in, &item->number);
    }
    if (take_char(in, 'l')) {
        item->type = BENCODE_LIST;
        return open_level(in, false);
    }
    item->type = BENCODE_DICT;
    return take_char(in, 'd') && open_level(in, true);
}

enum bencode_type bencode_next(struct bencode_in *in, struct bencode_item *item)
{
    *item = (struct bencode_item){.type = BENCODE_DONE};
    if (in->bad)
        return fail(in, item);
    if (in->depth == 0 && in->begun)
        return in->left_bytes == 0 ? BENCODE_DONE : fail(in, item);
    in->begun = true;

    if (in->depth > 0) {
        if (take_char(in, 'e')) {
            in->depth--;
            return item->type = BENCODE_END;
        }
        struct bencode_level *level = &in->levels[in->depth - 1];
        if (level->is_dict && !take_key(in, level, item))
            return fail(in, item);
    }
    return take_value(in, item) ? item->type : fail(in, item);
}

void bencode_skip(struct bencode_in *in, const struct bencode_item *item)
{
    if (item->type != BENCODE_LIST && item->type != BENCODE_DICT)
        return;
    struct bencode_item inner;
    unsigned outside = in->depth - 1;
    while (in->depth > outside && bencode_next(in, &inner) != BENCODE_BAD)
        ;
}

bool bencode_key_is(const struct bencode_item *item, const char *key)
{
    return item->key && item->key_bytes == strlen(key) &&
           memcmp(item->key, key, item->key_bytes) == 0;
}

struct bencode_out bencode_out(void *buf, size_t cap_bytes)
{
    return (struct bencode_out){.begin = buf, .cap_bytes = cap_bytes};
}

void bencode_put_raw(struct bencode_out *out, const void *bytes, size_t len_bytes)
{
    assert(len_bytes <= SIZE_MAX - out->used_bytes);
    size_t end = out->used_bytes + len_bytes;
    if (len_bytes > 0 && end <= out->cap_bytes)
        memcpy(out->begin + out->used_bytes, bytes, len_bytes);
    out->used_bytes = end;
}

static void put_decimal(struct bencode_out *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    bencode_put_raw(out, digits + at, sizeof(digits) - at);
}

void bencode_put_int(struct bencode_out *out, int64_t number)
{
    bencode_put_raw(out, number < 0 ? "i-" : "i", number < 0 ? 2 : 1);
    put_decimal(out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    bencode_put_raw(out, "e", 1);
}

void bencode_put_bytes(struct bencode_out *out, const void *bytes, size_t len_bytes)
{
    put_decimal(out, len_bytes);
    bencode_put_raw(out, ":", 1);
    bencode_put_raw(out, bytes, len_bytes);
}

void bencode_put_text(struct bencode_out *out, const char *text)
{
    bencode_put_bytes(out, text, strlen(text));
}

void bencode_put_dict(struct bencode_out *out)
{
    bencode_put_raw(out, "d", 1);
}

void bencode_put_list(struct bencode_out *out)
{
    bencode_put_raw(out, "l", 1);
}

void bencode_put_end(struct bencode_out *out)
{
    bencode_put_raw(out, "e", 1);
}
