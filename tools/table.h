/* Tables for people: a box with a title, columns as wide as they need, numbers to the right. UTF-8
 * box lines. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

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
    uint64_t marks; /* the user's count */
};

void table_init(struct table *t, const char *title, const char *const *head, size_t columns,
                size_t left_columns);
void table_row(struct table *t, const char *const *cells); /* copies */
void table_print(const struct table *t, FILE *out);
void table_fini(struct table *t);

#endif
