/* bencode: reading and writing canonical bencoding. PURE.
 *
 * Source: BEP 3, "bencoding". Canonical means that a value has one encoding
 * only: no leading zeros, no "-0", dictionary keys strictly ascending by raw
 * bytes. Anything else is an error, so that equal content has equal hashes.
 *
 * The reader is a cursor that gives one item after another, with a stack of
 * constant depth and no recursion; items point into the input. No call
 * allocates.
 */
#ifndef RONDA_BENCODE_H
#define RONDA_BENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCODE_DEPTH_MAX = 40 };

enum bencode_type {
    BENCODE_BAD,   /* the input is not canonical; every later item is BAD too */
    BENCODE_INT,   /* number */
    BENCODE_BYTES, /* bytes, len_bytes */
    BENCODE_LIST,  /* its items follow, then END */
    BENCODE_DICT,  /* its values follow, each with its key, then END */
    BENCODE_END,   /* of the innermost list or dictionary */
    BENCODE_DONE   /* the one value at the top is over, and so is the input */
};

struct bencode_item {
    enum bencode_type type;
    int64_t number;
    const uint8_t *bytes;
    size_t len_bytes;
    const uint8_t *key; /* of a value in a dictionary; NULL elsewhere */
    size_t key_bytes;
};

/* One open list or dictionary. */
struct bencode_level {
    bool is_dict;
    const uint8_t *key; /* the last one read; NULL before the first */
    size_t key_bytes;
};

struct bencode_in {
    const uint8_t *at;
    size_t left_bytes;
    unsigned depth; /* lists and dictionaries open now */
    bool begun, bad;
    struct bencode_level levels[BENCODE_DEPTH_MAX];
};

void bencode_begin(struct bencode_in *in, const void *data, size_t len_bytes);
/* Returns item->type, for use in a switch. */
enum bencode_type bencode_next(struct bencode_in *in, struct bencode_item *item);
/* Reads past what is inside item when it is a list or dictionary. */
void bencode_skip(struct bencode_in *in, const struct bencode_item *item);
bool bencode_key_is(const struct bencode_item *item, const char *key);

/* Writes into begin[0..cap_bytes); what does not fit is only counted. So a first
 * run with no buffer tells how large the buffer of a second one must be. The
 * order of keys is the caller's duty. */
struct bencode_out {
    uint8_t *begin;
    size_t cap_bytes;
    size_t used_bytes; /* would be used, when > cap_bytes */
};

struct bencode_out bencode_out(void *buf, size_t cap_bytes);
void bencode_put_int(struct bencode_out *out, int64_t number);
void bencode_put_bytes(struct bencode_out *out, const void *bytes, size_t len_bytes);
void bencode_put_text(struct bencode_out *out, const char *text);
void bencode_put_dict(struct bencode_out *out); /* begins; close with bencode_put_end() */
void bencode_put_list(struct bencode_out *out); /* begins; close with bencode_put_end() */
void bencode_put_end(struct bencode_out *out);
/* What is bencoded already. */
void bencode_put_raw(struct bencode_out *out, const void *bytes, size_t len_bytes);

#endif
