#include "tools/table.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "broker/json_out.h"
#include "engine/base/base.h"

#define WRAPPED_MIN 12u /* a column is not wrapped narrower */

static char *plain_dup(const char *s)
{
    size_t len = strlen(s), n = 1;
    char *out = base_strdup(s);
    for (size_t i = 0; i < len; i += n == 0 ? 1 : n) {
        unsigned char c = (unsigned char)s[i];
        n = json_utf8_len((const unsigned char *)s + i, len - i);
        if (n == 2 && c == 0xc2 && (unsigned char)s[i + 1] < 0xa0) {
            out[i] = out[i + 1] = '?';
        } else if (n == 0 || c < 0x20 || c == 0x7f) {
            out[i] = '?';
        }
    }
    return out;
}

void plain_put(FILE *out, const char *s)
{
    char *p = plain_dup(s);
    fputs(p, out);
    base_free(p);
}

/* Columns on the screen: bytes that do not continue a UTF-8 character. */
static size_t display_width(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    }
    return n;
}

static void widen(struct table *t, size_t column, const char *cell)
{
    size_t w = display_width(cell, strlen(cell));
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
        char *cell = plain_dup(cells[i]);
        t->cells[t->nrows * t->columns + i] = cell;
        widen(t, i, cell);
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
    const char *before = l;
    for (size_t i = 0; i < t->columns; i++) {
        if (!t->hidden[i]) {
            fputs(before, out);
            repeat(out, "─", t->width[i] + 2);
            before = m;
        }
    }
    fputs(r, out);
    fputs("\n", out);
}

/* Bytes of s that fit in width columns: all, or up to a blank, or a word cut. */
static size_t fitting(const char *s, size_t width)
{
    size_t n = 0, columns = 0, blank = 0;
    while (s[n] != 0) {
        columns += ((unsigned char)s[n] & 0xc0) != 0x80;
        if (columns > width) {
            return s[n] == ' ' || blank == 0 ? n : blank;
        }
        blank = s[n] == ' ' ? n : blank;
        n++;
    }
    return n;
}

/* One row; a cell wider than its column goes on in the line below. */
static void line(const struct table *t, FILE *out, const char *const *cells, bool head)
{
    const char *rest[TABLE_COLUMNS_MAX];
    memcpy(rest, cells, t->columns * sizeof *cells);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < t->columns; i++) {
            if (t->hidden[i]) {
                continue;
            }
            size_t n = fitting(rest[i], t->width[i]);
            const char *part = rest[i];
            rest[i] += n + (rest[i][n] == ' ');
            more = more || *rest[i] != 0;
            size_t shown = display_width(part, n);
            size_t pad = t->width[i] > shown ? t->width[i] - shown : 0;
            bool left = head || i < t->left;
            fputs("│", out);
            repeat(out, " ", left ? 1 : pad + 1);
            (void)fwrite(part, 1, n, out);
            repeat(out, " ", left ? pad + 1 : 1);
        }
        fputs("│\n", out);
    }
}

/* Between the outer bars. */
static size_t inner_width(const struct table *t)
{
    size_t total = 0;
    for (size_t i = 0; i < t->columns; i++) {
        total += t->hidden[i] ? 0 : t->width[i] + 3;
    }
    return total - 1;
}

static bool uniform(const struct table *t, size_t column)
{
    for (size_t i = 1; i < t->nrows; i++) {
        if (strcmp(t->cells[i * t->columns + column], t->cells[column]) != 0) {
            return false;
        }
    }
    return t->nrows > 0;
}

/* Leaves columns out, then wraps, until it fits. */
static void narrow(struct table *t, size_t screen)
{
    for (size_t i = 0; i < 2 * t->ndroppable && inner_width(t) + 2 > screen; i++) {
        size_t k = i % t->ndroppable;
        if (i < t->ndroppable ? uniform(t, t->droppable[k]) : k < t->nvaried) {
            t->hidden[t->droppable[k]] = true;
        }
    }
    while (inner_width(t) + 2 > screen) {
        size_t widest = 0;
        for (size_t i = 1; i < t->left; i++) {
            widest = !t->hidden[i] && t->width[i] > t->width[widest] ? i : widest;
        }
        if (t->left == 0 || t->hidden[widest] || t->width[widest] <= WRAPPED_MIN) {
            return;
        }
        t->width[widest]--;
    }
}

static void left_out(const struct table *t, FILE *out)
{
    const char *before = "Left out here:";
    for (size_t i = 0; i < t->columns; i++) {
        if (t->hidden[i] && uniform(t, i)) {
            fprintf(out, "%s %s (%s)", before, t->head[i], t->cells[i]);
            before = ",";
        } else if (t->hidden[i]) {
            fprintf(out, "%s %s", before, t->head[i]);
            before = ",";
        }
    }
    fputs(*before == ',' ? ".\n" : "", out);
}

void table_may_drop(struct table *t, const uint8_t *columns, size_t n, size_t nvaried)
{
    t->droppable = columns;
    t->ndroppable = n;
    t->nvaried = nvaried;
}

static size_t screen_width(FILE *out)
{
    struct winsize w = {0};
    return isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &w) == 0 && w.ws_col >= 20
               ? w.ws_col
               : SIZE_MAX;
}

void table_print(struct table *t, FILE *out)
{
    narrow(t, screen_width(out));
    size_t total = inner_width(t);
    size_t title = display_width(t->title, strlen(t->title)),
           before = total > title ? (total - title) / 2 : 0;
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
    left_out(t, out);
}

void table_fini(struct table *t)
{
    for (size_t i = 0; i < t->nrows * t->columns; i++) {
        base_free(t->cells[i]);
    }
    base_free(t->cells);
    memset(t, 0, sizeof *t);
}
