/* table: rows of text in columns aligned by display width. PURE.
 *
 * Cells are added row by row, left to right. A failed allocation sticks and
 * comes out of table_print().
 */
#ifndef RONDA_TABLE_H
#define RONDA_TABLE_H

#include <stdio.h>

#include "cli/render.h"

enum table_colour { TABLE_PLAIN, TABLE_BOLD, TABLE_GREEN, TABLE_YELLOW, TABLE_RED };

struct table_column {
    const char *title;
    enum { TABLE_LEFT, TABLE_RIGHT, TABLE_SHRINKS } kind; /* SHRINKS: left, gives way first */
    unsigned hides; /* 1 is left out first when the terminal is narrow; 0: never */
};

struct table;

/* columns outlives the table. NULL: out of memory. */
struct table *table_new(const struct table_column *columns, size_t count,
                        const struct render_style *style);
void table_free(struct table *t);
/* text is escaped here; NULL is "". */
void table_add(struct table *t, const char *text, enum table_colour colour);
void table_add_number(struct table *t, uint64_t value);
void table_add_size(struct table *t, uint64_t bytes);
/* Title line and rows; with no row, nothing. 0 or -ENOMEM. */
int table_print(const struct table *t, FILE *out);

#endif
