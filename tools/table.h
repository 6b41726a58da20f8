/* Tables for people: a box with a title, columns as wide as they need, numbers to the right. UTF-8
 * box lines. On a terminal that is too narrow, columns that may be left out are, and the table says
 * which; then the widest text column is wrapped. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 16u

struct table {
    const char *title;       /* borrowed */
    const char *const *head; /* borrowed */
    size_t columns;
    size_t left;  /* this many columns are text; the others stand to the right */
    char **cells; /* owned, row by row */
    size_t nrows, cap;
    size_t width[TABLE_COLUMNS_MAX];
    bool hidden[TABLE_COLUMNS_MAX];
    const uint8_t *droppable; /* borrowed; columns that may be left out, the first one first */
    size_t ndroppable, nvaried;
    uint64_t marks; /* the user's count */
};

void table_init(struct table *t, const char *title, const char *const *head, size_t columns,
                size_t left_columns);
void table_row(struct table *t, const char *const *cells); /* copies */
/* Columns that may be left out where the screen is narrow, in this order: first those that say the
 * same in every row (of all n), then also others (of the first nvaried). */
void table_may_drop(struct table *t, const uint8_t *columns, size_t n, size_t nvaried);
/* Prints it, as wide as the terminal that out is; as wide as it needs where out is none. */
void table_print(struct table *t, FILE *out);
void table_fini(struct table *t);

/* What others wrote (names, descriptions), for a terminal: control characters, which would move its
 * cursor or more, and what is not UTF-8 are question marks. Cells of a table are printed so, too.
 */
void plain_put(FILE *out, const char *s);

#endif
