#include "tools/table.h"

#include <string.h>

#include "engine/base/base.h"

/* Columns on the screen: bytes that do not continue a UTF-8 character. */
static size_t display_width(const char *s)
{
    size_t n = 0;
    for (; *s != 0; s++) {
        n += ((unsigned char)*s & 0xc0) != 0x80;
    }
    return n;
}

static void widen(struct table *t, size_t column, const char *cell)
{
    size_t w = display_width(cell);
    t->width[column] = w > t->width[column] ? w : t->width[column];
}

void table_init(struct table *t, const char *title, const char *const *head, size_t columns,
                size_t left_columns)
{
    ASSERT(columns <= TABLE_COLUMNS_MAX);
    memset(t, 0, sizeof *t);
    t->title = title;
    t->head = head;
    t->columns = columns;
    t->left = left_columns;
    for (size_t i = 0; i < columns; i++) {
        widen(t, i, head[i]);
    }
}

void table_row(struct table *t, const char *const *cells)
{
    if ((t->nrows + 1) * t->columns > t->cap) {
        t->cap = (t->nrows + 8) * 2 * t->columns;
        t->cells = base_realloc(t->cells, t->cap * sizeof(char *));
    }
    for (size_t i = 0; i < t->columns; i++) {
        t->cells[t->nrows * t->columns + i] = base_strdup(cells[i]);
        widen(t, i, cells[i]);
    }
    t->nrows++;
}

static void repeat(FILE *out, const char *s, size_t n)
{
    while (n-- > 0) {
        fputs(s, out);
    }
}

static void rule(const struct table *t, FILE *out, const char *l, const char *m, const char *r)
{
    fputs(l, out);
    for (size_t i = 0; i < t->columns; i++) {
        repeat(out, "─", t->width[i] + 2);
        fputs(i + 1 < t->columns ? m : r, out);
    }
    fputs("\n", out);
}

static void line(const struct table *t, FILE *out, const char *const *cells, bool head)
{
    fputs("│", out);
    for (size_t i = 0; i < t->columns; i++) {
        size_t pad = t->width[i] - display_width(cells[i]);
        bool left = head || i < t->left;
        repeat(out, " ", left ? 1 : pad + 1);
        fputs(cells[i], out);
        repeat(out, " ", left ? pad + 1 : 1);
        fputs("│", out);
    }
    fputs("\n", out);
}

void table_print(const struct table *t, FILE *out)
{
    size_t total = t->columns - 1;
    for (size_t i = 0; i < t->columns; i++) {
        total += t->width[i] + 2;
    }
    size_t title = display_width(t->title), before = total > title ? (total - title) / 2 : 0;
    fputs("╭", out);
    repeat(out, "─", total);
    fputs("╮\n│", out);
    repeat(out, " ", before);
    fputs(t->title, out);
    repeat(out, " ", total > before + title ? total - before - title : 0);
    fputs("│\n", out);
    rule(t, out, "├", "┬", "┤");
    line(t, out, t->head, true);
    rule(t, out, "├", "┼", "┤");
    for (size_t i = 0; i < t->nrows; i++) {
        line(t, out, (const char *const *)(t->cells + i * t->columns), false);
    }
    rule(t, out, "╰", "┴", "╯");
}

void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->nrows * t->columns; i++) {
        base_free(t->cells[i]);
    }
    base_free(t->cells);
    memset(t, 0, sizeof *t);
}
