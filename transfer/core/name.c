#include "transfer/core/name.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the character that text begins with and its code point; 0 when it is
 * not UTF-8: RFC 3629 forbids overlong forms, surrogates, and more than U+10FFFF. */
static size_t utf8_decode(const char *text, size_t len_bytes, uint32_t *point)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *s = (const uint8_t *)text;
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (len == 0 || len > len_bytes || s[0] >= 0xf8)
        return 0;
    *point = len == 1 ? s[0] : s[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *point = *point << 6 | (s[i] & 0x3f);
    }
    if (*point < smallest[len] || *point > 0x10ffff || (*point >= 0xd800 && *point <= 0xdfff))
        return 0;
    return len;
}

bool name_utf8(const char *text, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes;) {
        uint32_t point;
        size_t len = utf8_decode(text + i, len_bytes - i, &point);
        if (len == 0 || point == 0)
            return false;
        i += len;
    }
    return true;
}

static bool is_dots(const char *name, size_t len_bytes)
{
    return (len_bytes == 1 && name[0] == '.') || (len_bytes == 2 && memcmp(name, "..", 2) == 0);
}

int name_check(const char *name, size_t len_bytes)
{
    if (len_bytes == 0 || len_bytes > NAME_BYTES_MAX || is_dots(name, len_bytes))
        return ERR_NAME;
    if (memchr(name, '/', len_bytes) || !name_utf8(name, len_bytes))
        return ERR_NAME;
    return 0;
}

/* Controls can drive a terminal; embeddings, overrides and isolates can make
 * "exe.txt" out of "txt.exe". The marks (U+200E...) are left: scripts need them. */
static bool is_treacherous(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point <= 0x9f) ||
           (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

void name_to_disk(const char *name, char out[static NAME_BYTES_MAX + 1])
{
    size_t left = strnlen(name, NAME_BYTES_MAX);
    size_t used = 0;

    while (left > 0) {
        uint32_t point;
        size_t len = utf8_decode(name, left, &point);
        if (len == 0 || is_treacherous(point)) {
            out[used++] = '_';
        } else {
            memcpy(out + used, name, len);
            used += len;
        }
        len = len ? len : 1;
        name += len;
        left -= len;
    }
    out[used] = '\0';
}

/* Where the extension of name begins; its end when there is none. */
static const char *find_extension(const char *name, bool is_dir)
{
    const char *end = name + strlen(name);
    const char *dot = is_dir ? NULL : strrchr(name, '.');
    if (!dot || strspn(name, ".") >= (size_t)(dot - name))
        return end;
    /* One that leaves no room for the rest is not worth keeping. */
    return end - dot > NAME_BYTES_MAX / 2 ? end : dot;
}

void name_alternative(const char *name, unsigned n, bool is_dir,
                      char out[static NAME_BYTES_MAX + 1])
{
    const char *extension = find_extension(name, is_dir);
    size_t extension_bytes = strlen(extension);
    size_t stem_bytes = (size_t)(extension - name);
    char number[16];
    size_t number_bytes = (size_t)snprintf(number, sizeof(number), " (%u)", n);
    size_t room_bytes = NAME_BYTES_MAX - number_bytes - extension_bytes;

    stem_bytes = stem_bytes > NAME_BYTES_MAX ? NAME_BYTES_MAX : stem_bytes;
    memcpy(out, name, stem_bytes);
    out[stem_bytes] = '\0';
    name_cut(out, room_bytes);
    stem_bytes = strlen(out);
    memcpy(out + stem_bytes, number, number_bytes);
    memcpy(out + stem_bytes + number_bytes, extension, extension_bytes + 1);
}

void name_cut(char *text, size_t max_bytes)
{
    size_t len = strlen(text);
    if (len <= max_bytes)
        return;
    len = max_bytes;
    while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80)
        len--;
    text[len] = '\0';
}
