#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/render.h"
#include "cli/table.h"

enum { NAMES = 10000, SEED = 20240611 };

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void set_up(void)
{
    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
}

/* An oracle that shares nothing with the escaper: decodes by mbrtowc(), knows a list of its own. */
static bool is_safe(const char *text, bool ascii)
{
    mbstate_t state = {0};
    size_t len = strlen(text);
    while (len > 0) {
        wchar_t c;
        size_t used = mbrtowc(&c, text, len, &state);
        if (used == (size_t)-1 || used == (size_t)-2 || used == 0)
            return false;
        if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (ascii && c > 0x7f))
            return false;
        if ((c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e ||
            c == 0x200f || c == 0x61c || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0x200b)
            return false;
        text += used;
        len -= used;
    }
    return true;
}

static size_t unescape(char *out, const char *text)
{
    size_t at = 0;
    while (*text != '\0') {
        unsigned byte;
        if (text[0] == '\\' && text[1] == '\\') {
            out[at++] = '\\';
            text += 2;
        } else if (sscanf(text, "\\x%2x", &byte) == 1) {
            out[at++] = (char)byte;
            text += 4;
        } else {
            out[at++] = *text++;
        }
    }
    return at;
}

/* Pieces that attackers use, glued to noise. */
static size_t hostile_name(char *out, size_t room, uint64_t *random)
{
    static const char *const pieces[] = {"\033[31m",
                                         "\033]0;title\007",
                                         "\r",
                                         "\n",
                                         "\b\b",
                                         "\xe2\x80\xae",
                                         "\xe2\x81\xa6",
                                         "\xc2\x9bJ",
                                         "\xe2\x80\x8f",
                                         "\xef\xbb\xbf",
                                         "\x7f",
                                         "\xc0\xaf",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "\xe2\x80",
                                         "a",
                                         "\\x41",
                                         "\\",
                                         "\xc3\xb1",
                                         "\xed\x95\x9c",
                                         "\xf0\x9f\x8d\x89",
                                         "e\xcc\x81"};
    size_t at = 0;
    for (uint64_t n = next_random(random) % 12 + 1; n > 0; n--) {
        uint64_t r = next_random(random);
        char noise[2] = {(char)(r >> 32), '\0'};
        const char *piece =
            r % 3 == 0 ? noise : pieces[(r >> 8) % (sizeof(pieces) / sizeof(pieces[0]))];
        if (at + strlen(piece) >= room)
            break;
        memcpy(out + at, piece, strlen(piece));
        at += strlen(piece);
    }
    out[at] = '\0';
    return at;
}

Test(render, hostile_names_reach_no_terminal, .init = set_up)
{
    uint64_t random = SEED;
    for (unsigned i = 0; i < NAMES; i++) {
        char name[128], back[1024];
        size_t len = hostile_name(name, sizeof(name), &random);
        bool ascii = i % 2 == 1;
        char *clean = render_clean(name, ascii);
        cr_assert_not_null(clean);
        cr_assert(is_safe(clean, ascii), "seed %d, name %u: \"%s\"", SEED, i, clean);
        cr_assert_eq(unescape(back, clean), len, "seed %d, name %u", SEED, i);
        cr_assert_arr_eq(back, name, len, "seed %d, name %u", SEED, i);
        free(clean);
    }
}

Test(render, any_room_cuts_between_characters, .init = set_up)
{
    static const char name[] = "a\xc3\xb1\033\\\xed\x95\x9c\xff"
                               "b";
    char *whole = render_clean(name, false);
    for (size_t room = 1; room <= strlen(whole) + 1; room++) {
        char *out = malloc(room); /* of that size, so that ASan sees a byte too many */
        size_t wrote = render_escape(out, room, name, strlen(name), false);
        cr_assert_lt(wrote, room);
        cr_assert_eq(strlen(out), wrote);
        cr_assert(is_safe(out, false));
        cr_assert_eq(strncmp(out, whole, wrote), 0);
        free(out);
    }
    free(whole);
}

Test(render, good_names_stay, .init = set_up)
{
    static const char *const names[] = {"talk", "se\xc3\xb1or", "\xed\x95\x9c\xea\xb5\xad",
                                        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac",
                                        "a b-c_(2)"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *clean = render_clean(names[i], false);
        cr_expect_str_eq(clean, names[i]);
        free(clean);
    }
}

Test(render, escapes_are_written_out, .init = set_up)
{
    char *clean = render_clean("\033[2J\\ \xe2\x80\xae", false);
    cr_expect_str_eq(clean, "\\x1b[2J\\\\ \\xe2\\x80\\xae");
    free(clean);
    clean = render_clean("\xc3\xb1", true);
    cr_expect_str_eq(clean, "\\xc3\\xb1");
    free(clean);
    clean = render_clean(NULL, false);
    cr_expect_str_eq(clean, "");
    free(clean);
}

Test(render, widths_are_of_the_screen, .init = set_up)
{
    cr_expect_eq(render_width("talk"), 4u);
    cr_expect_eq(render_width("se\xc3\xb1or"), 5u);
    cr_expect_eq(render_width("\xed\x95\x9c\xea\xb5\xad"), 4u);
    cr_expect_eq(render_width("e\xcc\x81"), 1u);
    cr_expect_eq(render_fit("\xed\x95\x9c\xea\xb5\xad", 3), 3u);
    cr_expect_eq(render_fit("abc", 0), 0u);
}

Test(render, shortened_names_keep_to_their_columns, .init = set_up)
{
    char out[64];
    render_shorten(out, sizeof(out), "a-long-name.iso", 10);
    cr_expect_str_eq(out, "a-long-...");
    render_shorten(out, sizeof(out), "short", 10);
    cr_expect_str_eq(out, "short");
    render_shorten(out, sizeof(out), "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4", 5);
    cr_expect_str_eq(out, "\xed\x95\x9c...");
    for (unsigned columns = 0; columns < 12; columns++) {
        render_shorten(out, sizeof(out), "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 abc", columns);
        cr_expect_leq(render_width(out), columns);
    }
    render_shorten(out, 8, "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4", 60);
    cr_expect_str_eq(out, "\xed\x95\x9c...");
}

Test(render, sizes)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1536, "1.5 KiB"},
                 {1048575, "1.0 MiB"},
                 {268435456, "256.0 MiB"},
                 {UINT64_C(8) << 30, "8.0 GiB"},
                 {UINT64_MAX, "16.0 EiB"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[RENDER_UNIT_BYTES];
        render_size(out, cases[i].bytes);
        cr_expect_str_eq(out, cases[i].text);
    }
}

Test(render, rates)
{
    char out[RENDER_UNIT_BYTES];
    render_rate(out, 11639193);
    cr_expect_str_eq(out, "11.1 MiB/s");
    render_rate(out, NAN);
    cr_expect_str_eq(out, "0 B/s");
    render_rate(out, -5);
    cr_expect_str_eq(out, "0 B/s");
    render_rate(out, INFINITY);
    cr_expect_str_eq(out, "0 B/s");
}

Test(render, durations)
{
    static const struct {
        double seconds;
        const char *text, *clock;
    } cases[] = {{0, "0.0 s", "0:00"},
                 {23.1, "23.1 s", "0:23"},
                 {59.96, "1 min 00 s", "1:00"},
                 {125, "2 min 05 s", "2:05"},
                 {3599.9, "1 h 00 min", "1:00:00"},
                 {11220, "3 h 07 min", "3:07:00"},
                 {187200, "2 d 4 h", "52:00:00"},
                 {400000, "4 d 15 h", "-:--"},
                 {-1, "?", "-:--"},
                 {NAN, "?", "-:--"},
                 {1e300, "?", "-:--"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[RENDER_UNIT_BYTES];
        render_seconds(out, cases[i].seconds);
        cr_expect_str_eq(out, cases[i].text);
        render_clock(out, cases[i].seconds);
        cr_expect_str_eq(out, cases[i].clock);
    }
}

static const struct render_progress half = {.name = "talk",
                                            .done_bytes = 128 << 20,
                                            .total_bytes = 256 << 20,
                                            .bytes_per_s = 11639193,
                                            .source_copies = 1.02,
                                            .peers = 10};

Test(render, progress_tells_all_when_there_is_room)
{
    char line[RENDER_LINE_BYTES];
    render_progress(line, &half, 140);
    cr_expect_str_eq(line, "talk  [====================>                   ]   50%  "
                           "128.0 MiB/256.0 MiB  11.1 MiB/s  ETA 0:12  10 peers  "
                           "source sent 1.02 copies");
}

Test(render, progress_never_wraps, .init = set_up)
{
    struct render_progress p = half;
    p.name = "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4 and more of a name that is long";
    for (unsigned columns = 8; columns < 300; columns++) {
        char line[RENDER_LINE_BYTES];
        p.note = columns % 2 == 0 ? "waiting for somebody who has it" : NULL;
        render_progress(line, &p, columns);
        cr_expect_leq(render_width(line), columns, "%u columns: %s", columns, line);
    }
}

Test(render, progress_says_100_only_at_the_end)
{
    struct render_progress p = half;
    char line[RENDER_LINE_BYTES];
    p.done_bytes = p.total_bytes - 1;
    render_progress(line, &p, 100);
    cr_expect_not_null(strstr(line, " 99%"));
    p.done_bytes = p.total_bytes;
    render_progress(line, &p, 100);
    cr_expect_not_null(strstr(line, "100%"));
    p.total_bytes = 0;
    render_progress(line, &p, 100);
    cr_expect_null(strchr(line, '%'));
}

static const struct table_column columns[] = {
    {"ID", TABLE_LEFT, 1}, {"NAME", TABLE_SHRINKS, 0}, {"SIZE", TABLE_RIGHT, 0}};

static char *print_table(const struct render_style *style, const char *name)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    struct table *t = table_new(columns, 3, style);
    table_add(t, "3fa9", TABLE_PLAIN);
    table_add(t, name, TABLE_BOLD);
    table_add_size(t, 1024);
    cr_assert_eq(table_print(t, f), 0);
    table_free(t);
    fclose(f);
    return text;
}

Test(table, columns_line_up_by_width, .init = set_up)
{
    const struct render_style style = {0};
    char *text = print_table(&style, "\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4");
    cr_expect_str_eq(text, "ID    NAME       SIZE\n"
                           "3fa9  \xed\x95\x9c\xea\xb5\xad\xec\x96\xb4  1.0 KiB\n");
    free(text);
}

Test(table, narrow_terminals_hide_then_shrink, .init = set_up)
{
    const struct render_style style = {.columns = 20};
    char *text = print_table(&style, "a-name-of-many-letters");
    cr_expect_str_eq(text, "NAME            SIZE\na-name-o...  1.0 KiB\n");
    free(text);
}

Test(table, cells_are_escaped_and_dressed, .init = set_up)
{
    const struct render_style style = {.colour = true};
    char *text = print_table(&style, "\033c");
    cr_expect_not_null(strstr(text, "\033[1m\\x1bc\033[0m  "));
    free(text);
}

Test(table, nothing_is_printed_for_no_rows)
{
    const struct render_style style = {0};
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    struct table *t = table_new(columns, 3, &style);
    cr_assert_eq(table_print(t, f), 0);
    table_free(t);
    fclose(f);
    cr_expect_eq(len, 0u);
    free(text);
}
