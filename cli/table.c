#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, SHRINK_MIN = 8, SHRINK_FAIR = 20 };

struct cell {
    char *text; /* clean */
    unsigned width;
    enum table_colour colour;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    struct render_style style;
    struct cell *cells;
    size_t count, room;
    bool failed;
};

struct table *table_new(const struct table_column *columns, size_t count,
                        const struct render_style *style)
{
    struct table *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->columns = columns;
    t->column_count = count;
    t->style = *style;
    return t;
}

void table_free(struct table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++)
        free(t->cells[i].text);
    free(t->cells);
    free(t);
}

static bool table_grow(struct table *t)
{
    if (t->count < t->room)
        return true;
    size_t room = t->room == 0 ? 64 : t->room * 2;
    struct cell *cells = reallocarray(t->cells, room, sizeof(*cells));
    if (cells == NULL)
        return false;
    t->cells = cells;
    t->room = room;
    return true;
}

void table_add(struct table *t, const char *text, enum table_colour colour)
{
    if (t->failed)
        return;
    char *clean = render_clean(text, t->style.ascii);
    if (clean == NULL || !table_grow(t)) {
        free(clean);
        t->failed = true;
        return;
    }
    t->cells[t->count++] = (struct cell){clean, render_width(clean), colour};
}

void table_add_number(struct table *t, uint64_t value)
{
    char text[RENDER_UNIT_BYTES];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    table_add(t, text, TABLE_PLAIN);
}

void table_add_size(struct table *t, uint64_t bytes)
{
    char text[RENDER_UNIT_BYTES];
    render_size(text, bytes);
    table_add(t, text, TABLE_PLAIN);
}

static unsigned column_width(const struct table *t, size_t column)
{
    unsigned widest = render_width(t->columns[column].title);
    for (size_t i = column; i < t->count; i += t->column_count)
        if (t->cells[i].width > widest)
            widest = t->cells[i].width;
    return widest;
}

/* A column of width 0 is hidden. */
static uint64_t line_width(const struct table *t, const unsigned *widths, unsigned shrink_to)
{
    uint64_t total = 0;
    for (size_t i = 0; i < t->column_count; i++) {
        bool shrinks = t->columns[i].kind == TABLE_SHRINKS && widths[i] > shrink_to;
        unsigned width = shrinks ? shrink_to : widths[i];
        if (width != 0)
            total += width + (total == 0 ? 0U : GAP);
    }
    return total;
}

static void hide_columns(const struct table *t, unsigned *widths)
{
    for (unsigned turn = 1; turn <= t->column_count; turn++)
        for (size_t i = 0; i < t->column_count; i++)
            if (t->columns[i].hides == turn &&
                line_width(t, widths, SHRINK_FAIR) > t->style.columns)
                widths[i] = 0;
}

static void shrink_columns(const struct table *t, unsigned *widths)
{
    for (size_t i = t->column_count; i-- > 0;) {
        uint64_t total = line_width(t, widths, UINT32_MAX);
        if (total <= t->style.columns)
            return;
        if (t->columns[i].kind != TABLE_SHRINKS || widths[i] <= SHRINK_MIN)
            continue;
        uint64_t over = total - t->style.columns, most = widths[i] - SHRINK_MIN;
        widths[i] -= (unsigned)(over < most ? over : most);
    }
}

static void table_measure(const struct table *t, unsigned *widths)
{
    for (size_t i = 0; i < t->column_count; i++)
        widths[i] = column_width(t, i);
    if (t->style.columns == 0)
        return;
    hide_columns(t, widths);
    shrink_columns(t, widths);
}

static const char *colour_code(enum table_colour colour)
{
    switch (colour) {
    case TABLE_PLAIN:
        return "";
    case TABLE_BOLD:
        return "\033[1m";
    case TABLE_GREEN:
        return "\033[32m";
    case TABLE_YELLOW:
        return "\033[33m";
    case TABLE_RED:
        return "\033[31m";
    }
    return "";
}

struct layout {
    unsigned *widths;
    size_t last; /* column that is shown */
};

static void print_cell(const struct table *t, FILE *out, const struct cell *cell, size_t column,
                       const struct layout *layout)
{
    bool right = t->columns[column].kind == TABLE_RIGHT;
    unsigned width = layout->widths[column];
    bool dress = t->style.colour && cell->colour != TABLE_PLAIN;
    char cut[RENDER_LINE_BYTES];
    const char *text = cell->text;
    if (width == 0)
        return;
    unsigned shown = cell->width;
    if (shown > width) {
        render_shorten(cut, sizeof(cut), cell->text, width);
        text = cut;
        shown = render_width(cut);
    }
    int pad = shown < width ? (int)(width - shown) : 0;
    fprintf(out, "%*s%s%s%s", right ? pad : 0, "", dress ? colour_code(cell->colour) : "", text,
            dress ? "\033[0m" : "");
    if (column != layout->last)
        fprintf(out, "%*s", (right ? 0 : pad) + GAP, "");
}

static void print_titles(const struct table *t, FILE *out, const struct layout *layout)
{
    for (size_t i = 0; i < t->column_count; i++) {
        /* titles are ours: nothing to escape */
        struct cell title = {.width = render_width(t->columns[i].title), .colour = TABLE_BOLD};
        char text[RENDER_UNIT_BYTES];
        snprintf(text, sizeof(text), "%s", t->columns[i].title);
        title.text = text;
        print_cell(t, out, &title, i, layout);
    }
    fputc('\n', out);
}

int table_print(const struct table *t, FILE *out)
{
    if (t->failed)
        return -ENOMEM;
    if (t->count == 0)
        return 0;
    struct layout layout = {.widths = calloc(t->column_count, sizeof(*layout.widths))};
    if (layout.widths == NULL)
        return -ENOMEM;
    table_measure(t, layout.widths);
    for (size_t i = 0; i < t->column_count; i++)
        if (layout.widths[i] != 0)
            layout.last = i;
    print_titles(t, out, &layout);
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->column_count;
        print_cell(t, out, &t->cells[i], column, &layout);
        if (column + 1 == t->column_count)
            fputc('\n', out);
    }
    free(layout.widths);
    return 0;
}
