#include "discovery/label.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 character at s (RFC 3629: no overlong form, no surrogate,
 * nothing over U+10FFFF), 0 when it is none. */
static size_t utf8_length(const uint8_t *s)
{
    size_t len;
    uint8_t low = 0x80, high = 0xbf;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < len; i++) {
        if (s[i] < low || s[i] > high)
            return 0; /* the final NUL ends up here as well */
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

/* C0, DEL, and C1 (U+0080 to U+009F, in UTF-8 c2 80 to c2 9f). */
static int is_control(const uint8_t *s)
{
    return s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
}

void label_from_name(const char *name, const char *fallback, char *out, size_t size)
{
    const uint8_t *s = (const uint8_t *)name;
    size_t used = 0;
    while (s && *s) {
        size_t len = utf8_length(s);
        size_t step = len ? len : 1;
        if (len == 0 || is_control(s)) {
            len = 1;
            if (used + len >= size)
                break;
            out[used] = '_';
        } else {
            if (used + len >= size)
                break;
            memcpy(out + used, s, len);
        }
        used += len;
        s += step;
    }
    out[used] = '\0';
    if (used == 0)
        snprintf(out, size, "%s", fallback);
}
