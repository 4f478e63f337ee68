#include "cli/render.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum { BAR_MIN = 12, BAR_MAX = 42, ESCAPE_BYTES = 4, PROGRESS_COLUMNS = 80 };

struct range {
    uint32_t first, last;
};

/* Code points that move, hide or reorder text. U+200C and U+200D stay: Persian
 * and composed emoji need them, and they reorder nothing. */
static const struct range unsafe[] = {
    {0x0000, 0x001f}, {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x061c, 0x061c},   {0x115f, 0x1160},
    {0x180e, 0x180e}, {0x200b, 0x200b},   {0x200e, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
    {0x3164, 0x3164}, {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
    {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, {0xf0000, 0x10ffff}};

static bool code_is_unsafe(uint32_t code)
{
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        if (code >= unsafe[i].first && code <= unsafe[i].last)
            return true;
    return false;
}

/* Length of the UTF-8 sequence that lead opens, with the smallest code point it may stand for
 * (longer forms of a smaller one are invalid). 0: not a lead byte. */
static size_t utf8_lead(unsigned char lead, uint32_t *code, uint32_t *least)
{
    if (lead < 0x80) {
        *code = lead;
        *least = 0;
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        *code = lead & 0x1fU;
        *least = 0x80;
        return 2;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        *code = lead & 0x0fU;
        *least = 0x800;
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        *code = lead & 0x07U;
        *least = 0x10000;
        return 4;
    }
    return 0;
}

/* Bytes of the character at text, 0: invalid UTF-8 there. */
static size_t utf8_decode(const char *text, size_t len, uint32_t *code)
{
    uint32_t least;
    size_t need = len == 0 ? 0 : utf8_lead((unsigned char)text[0], code, &least);
    if (need == 0 || need > len)
        return 0;
    for (size_t i = 1; i < need; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (c & 0x3fU);
    }
    if (*code < least || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
        return 0;
    return need;
}

/* Writes one character as itself or as escapes; 0: no room. */
static size_t escape_one(char *out, size_t room, const char *text, size_t chars, bool plain)
{
    if (plain && text[0] != '\\') {
        if (chars > room)
            return 0;
        memcpy(out, text, chars);
        return chars;
    }
    if (text[0] == '\\') {
        if (room < 2)
            return 0;
        out[0] = out[1] = '\\';
        return 2;
    }
    if (chars * ESCAPE_BYTES > room)
        return 0;
    for (size_t i = 0; i < chars; i++) {
        static const char hex[] = "0123456789abcdef";
        unsigned char c = (unsigned char)text[i];
        char *at = out + i * ESCAPE_BYTES;
        at[0] = '\\';
        at[1] = 'x';
        at[2] = hex[c >> 4];
        at[3] = hex[c & 15];
    }
    return chars * ESCAPE_BYTES;
}

size_t render_escape(char *out, size_t out_bytes, const char *text, size_t len, bool ascii)
{
    size_t at = 0;
    while (len > 0) {
        uint32_t code = 0;
        size_t chars = utf8_decode(text, len, &code);
        bool plain = chars != 0 && !code_is_unsafe(code) && (!ascii || code < 0x80);
        if (chars == 0)
            chars = 1;
        size_t wrote = escape_one(out + at, out_bytes - 1 - at, text, chars, plain);
        if (wrote == 0)
            break;
        at += wrote;
        text += chars;
        len -= chars;
    }
    out[at] = '\0';
    return at;
}

char *render_clean(const char *text, bool ascii)
{
    size_t len = text == NULL ? 0 : strlen(text);
    char *out = malloc(len * ESCAPE_BYTES + 1);
    if (out != NULL)
        render_escape(out, len * ESCAPE_BYTES + 1, text, len, ascii);
    return out;
}

/* Columns of a code point; what this libc does not know yet is taken for narrow. */
static unsigned code_width(uint32_t code)
{
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (unsigned)width;
}

/* Walks clean text up to columns wide; returns bytes passed, *width what they take. */
static size_t walk(const char *clean, unsigned columns, unsigned *width)
{
    size_t len = strlen(clean), at = 0;
    *width = 0;
    while (at < len) {
        uint32_t code = 0;
        size_t chars = utf8_decode(clean + at, len - at, &code);
        unsigned wide = chars == 0 ? 1 : code_width(code);
        if (wide > columns - *width)
            break;
        *width += wide;
        at += chars == 0 ? 1 : chars;
    }
    return at;
}

unsigned render_width(const char *clean)
{
    unsigned width;
    walk(clean, UINT32_MAX, &width);
    return width;
}

size_t render_fit(const char *clean, unsigned columns)
{
    unsigned width;
    return walk(clean, columns, &width);
}

void render_shorten(char *out, size_t out_bytes, const char *clean, unsigned columns)
{
    bool whole = render_width(clean) <= columns && strlen(clean) < out_bytes;
    unsigned dots = columns < 3 ? columns : 3;
    size_t keep = whole ? strlen(clean) : render_fit(clean, columns - dots);
    if (!whole && keep + dots >= out_bytes) {
        /* by bytes: back to the start of a character */
        keep = out_bytes > dots + 1U ? out_bytes - 1 - dots : 0;
        while (keep > 0 && ((unsigned char)clean[keep] & 0xc0) == 0x80)
            keep--;
    }
    snprintf(out, out_bytes, "%.*s%.*s", (int)keep, clean, whole ? 0 : (int)dots, "...");
}

static void format_size(char *out, size_t out_bytes, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        snprintf(out, out_bytes, "%u B", (unsigned)bytes);
        return;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    /* 1023.95 and more would be printed as 1024.0 */
    while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, out_bytes, "%.1f %s", value, units[unit]);
}

void render_size(char out[static RENDER_UNIT_BYTES], uint64_t bytes)
{
    format_size(out, RENDER_UNIT_BYTES, bytes);
}

void render_rate(char out[static RENDER_UNIT_BYTES], double bytes_per_s)
{
    bool sane = isfinite(bytes_per_s) && bytes_per_s > 0 && bytes_per_s < 1e18;
    char size[RENDER_UNIT_BYTES - 2];
    format_size(size, sizeof(size), sane ? (uint64_t)bytes_per_s : 0);
    snprintf(out, RENDER_UNIT_BYTES, "%s/s", size);
}

void render_seconds(char out[static RENDER_UNIT_BYTES], double seconds)
{
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e12) {
        snprintf(out, RENDER_UNIT_BYTES, "?");
    } else if (seconds < 59.95) {
        snprintf(out, RENDER_UNIT_BYTES, "%.1f s", seconds);
    } else {
        uint64_t s = (uint64_t)(seconds + 0.5);
        if (s < 3600)
            snprintf(out, RENDER_UNIT_BYTES, "%u min %02u s", (unsigned)(s / 60),
                     (unsigned)(s % 60));
        else if (s < 86400)
            snprintf(out, RENDER_UNIT_BYTES, "%u h %02u min", (unsigned)(s / 3600),
                     (unsigned)(s % 3600 / 60));
        else
            snprintf(out, RENDER_UNIT_BYTES, "%u d %u h", (unsigned)(s / 86400),
                     (unsigned)(s % 86400 / 3600));
    }
}

void render_clock(char out[static RENDER_UNIT_BYTES], double seconds)
{
    if (!isfinite(seconds) || seconds < 0 || seconds > 99.0 * 3600) {
        snprintf(out, RENDER_UNIT_BYTES, "-:--");
        return;
    }
    unsigned s = (unsigned)(seconds + 0.5);
    if (s < 3600)
        snprintf(out, RENDER_UNIT_BYTES, "%u:%02u", s / 60, s % 60);
    else
        snprintf(out, RENDER_UNIT_BYTES, "%u:%02u:%02u", s / 3600, s % 3600 / 60, s % 60);
}

/* "[=====>    ]", width >= 3 */
static void draw_bar(char *out, unsigned width, double fraction)
{
    unsigned inner = width - 2, full = (unsigned)(fraction * inner);
    char *at = out;
    *at++ = '[';
    for (unsigned i = 0; i < inner; i++)
        *at++ = i < full ? '=' : i == full ? '>' : ' ';
    *at++ = ']';
    *at = '\0';
}

struct line {
    char text[RENDER_LINE_BYTES / 2];
    unsigned room; /* columns left */
};

/* Appends a field if it still fits whole. */
static void line_add(struct line *l, const char *field)
{
    size_t at = strlen(l->text), len = strlen(field);
    unsigned wide = render_width(field) + 2;
    if (len == 0 || wide > l->room || at + len + 3 > sizeof(l->text))
        return;
    snprintf(l->text + at, sizeof(l->text) - at, "  %s", field);
    l->room -= wide;
}

static double progress_fraction(const struct render_progress *p)
{
    if (p->total_bytes == 0)
        return 0;
    return p->done_bytes >= p->total_bytes ? 1 : (double)p->done_bytes / (double)p->total_bytes;
}

static void add_amounts(struct line *l, const struct render_progress *p)
{
    char field[2 * RENDER_UNIT_BYTES + 8], done[RENDER_UNIT_BYTES], total[RENDER_UNIT_BYTES];
    /* 99 until it is all there: "100%" is a promise */
    snprintf(field, sizeof(field), "%3u%%", (unsigned)(progress_fraction(p) * 100));
    if (p->total_bytes != 0)
        line_add(l, field);
    render_size(done, p->done_bytes);
    render_size(total, p->total_bytes);
    snprintf(field, sizeof(field), p->total_bytes == 0 ? "%s" : "%s/%s", done, total);
    line_add(l, field);
}

static void add_pace(struct line *l, const struct render_progress *p)
{
    char field[RENDER_UNIT_BYTES + 8], part[RENDER_UNIT_BYTES];
    if (p->bytes_per_s < 0)
        return;
    render_rate(field, p->bytes_per_s);
    line_add(l, field);
    if (p->total_bytes == 0)
        return;
    uint64_t left = p->total_bytes > p->done_bytes ? p->total_bytes - p->done_bytes : 0;
    render_clock(part, p->bytes_per_s > 0 ? (double)left / p->bytes_per_s : -1);
    snprintf(field, sizeof(field), "ETA %s", part);
    line_add(l, field);
}

static void add_swarm(struct line *l, const struct render_progress *p)
{
    char field[2 * RENDER_UNIT_BYTES];
    if (p->peers >= 0) {
        snprintf(field, sizeof(field), "%lld peer%s", (long long)p->peers,
                 p->peers == 1 ? "" : "s");
        line_add(l, field);
    }
    if (p->source_copies >= 0 && p->source_copies < 1e6) {
        snprintf(field, sizeof(field), "source sent %.2f copies", p->source_copies);
        line_add(l, field);
    }
}

void render_progress(char out[static RENDER_LINE_BYTES], const struct render_progress *p,
                     unsigned columns)
{
    char name[RENDER_LINE_BYTES / 4], bar[BAR_MAX + 1] = "";
    if (columns == 0)
        columns = PROGRESS_COLUMNS;
    render_shorten(name, sizeof(name), p->name, columns / 4 + 4);
    unsigned wide = render_width(name), kept = 0;
    /* a note is worth more than a bar */
    if (columns >= (p->note != NULL ? 100U : 60U))
        kept = BAR_MIN + 2;
    struct line tail = {.room = columns > wide + kept ? columns - wide - kept : 0};
    add_amounts(&tail, p);
    if (p->note != NULL)
        line_add(&tail, p->note);
    else
        add_pace(&tail, p);
    add_swarm(&tail, p);
    if (kept != 0 && p->total_bytes != 0) {
        unsigned width = tail.room + BAR_MIN;
        draw_bar(bar, width > BAR_MAX ? BAR_MAX : width, progress_fraction(p));
    }
    snprintf(out, RENDER_LINE_BYTES, "%s%s%s%s", name, bar[0] ? "  " : "", bar, tail.text);
}
