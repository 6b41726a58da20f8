/* Characters, positions, words and scalars of the config language; the memory of the tree. */
#include "broker/conf_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/base/base.h"

#define BLOCK_BYTES ((size_t)16 * KIB)

struct brk_conf_block {
    struct brk_conf_block *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

/* --- memory of the tree ----------------------------------------------------------------------- */

void *brk_conf_grab(struct brk_conf *c, size_t n)
{
    n = (size_t)align_up(n == 0 ? 1 : n, 16);
    if (c->blocks == NULL || c->blocks->cap - c->blocks->used < n) {
        size_t cap = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        struct brk_conf_block *b = base_malloc(sizeof *b + cap);
        b->next = c->blocks;
        b->used = 0;
        b->cap = cap;
        c->blocks = b;
    }
    void *p = c->blocks->data + c->blocks->used;
    c->blocks->used += n;
    memset(p, 0, n);
    return p;
}

char *brk_conf_grab_text(struct brk_conf *c, const char *s, size_t len)
{
    char *p = brk_conf_grab(c, len + 1);
    memcpy(p, s, len);
    return p;
}

void brk_conf_destroy(struct brk_conf *c)
{
    if (c == NULL) {
        return;
    }
    while (c->blocks != NULL) {
        struct brk_conf_block *next = c->blocks->next;
        base_free(c->blocks);
        c->blocks = next;
    }
    base_free(c);
}

const struct brk_conf_value *brk_conf_root(const struct brk_conf *c)
{
    return c->root;
}

/* --- characters, positions, errors ------------------------------------------------------------ */

static int peek_at(const struct brk_conf_parser *p, size_t ahead)
{
    return p->at + ahead < p->len ? (unsigned char)p->text[p->at + ahead] : BRK_CONF_END;
}

void brk_conf_step(struct brk_conf_parser *p)
{
    if (p->text[p->at] == '\n') {
        p->line++;
        p->line_start = p->at + 1;
    }
    p->at++;
}

struct brk_conf_pos brk_conf_here(const struct brk_conf_parser *p)
{
    if (p->fixed != NULL) {
        return *p->fixed;
    }
    return (struct brk_conf_pos){p->file, p->line, (uint32_t)(p->at - p->line_start) + 1};
}

enum st brk_conf_fail(const struct brk_conf_parser *p, struct brk_conf_pos pos, const char *fmt,
                      ...)
{
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(p->err, ST_INVALID, 0, "%s:%u:%u: %s", pos.file, pos.line, pos.column, text);
}

/* What stands at the cursor, for messages. The buffer holds one rendering. */
const char *brk_conf_found(const struct brk_conf_parser *p, char buf[24])
{
    int c = brk_conf_peek(p);
    if (c == BRK_CONF_END) {
        return "the end of the file";
    }
    if (c == '\n') {
        return "a new line";
    }
    snprintf(buf, 24, isprint(c) ? "'%c'" : "byte 0x%02x", c);
    return buf;
}

bool brk_conf_is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool at_comment(const struct brk_conf_parser *p)
{
    return brk_conf_peek(p) == '#' || (brk_conf_peek(p) == '/' && peek_at(p, 1) == '/');
}

void brk_conf_skip_blanks(struct brk_conf_parser *p)
{
    while (brk_conf_is_blank(brk_conf_peek(p))) {
        brk_conf_step(p);
    }
}

void brk_conf_skip_lines(struct brk_conf_parser *p)
{
    while (brk_conf_is_blank(brk_conf_peek(p)) || brk_conf_peek(p) == '\n') {
        brk_conf_step(p);
    }
}

/* Skips blanks, new lines and comments; true when a new line was among them. */
bool brk_conf_skip_space(struct brk_conf_parser *p)
{
    uint32_t line = p->line;
    for (;;) {
        if (brk_conf_is_blank(brk_conf_peek(p)) || brk_conf_peek(p) == '\n') {
            brk_conf_step(p);
        } else if (at_comment(p)) {
            while (brk_conf_peek(p) != BRK_CONF_END && brk_conf_peek(p) != '\n') {
                brk_conf_step(p);
            }
        } else {
            return p->line != line;
        }
    }
}

/* --- words and strings ------------------------------------------------------------------------ */

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads one escape; the cursor stands on the backslash and ends after the escape. */
static enum st read_escape(struct brk_conf_parser *p, char *out)
{
    struct brk_conf_pos pos = brk_conf_here(p);
    char buf[24];
    brk_conf_step(p);
    int c = brk_conf_peek(p);
    static const char names[] = "t\tn\nr\r\"\"\\\\";
    for (size_t i = 0; c != BRK_CONF_END && i + 1 < sizeof names; i += 2) {
        if (names[i] == c) {
            *out = names[i + 1];
            brk_conf_step(p);
            return ST_OK;
        }
    }
    if (c != 'x') {
        return brk_conf_fail(
            p, pos,
            "invalid escape character %s; only \\xXX, \\t, \\n, \\r, \\\", \\\\ are allowed",
            brk_conf_found(p, buf));
    }
    int hi = hex_digit(peek_at(p, 1));
    int lo = hi < 0 ? -1 : hex_digit(peek_at(p, 2));
    if (lo < 0) {
        return brk_conf_fail(p, pos, "expected two hexadecimal digits after '\\x'");
    }
    if (hi == 0 && lo == 0) {
        return brk_conf_fail(p, pos, "a zero byte cannot stand in a string");
    }
    *out = (char)(hi << 4 | lo);
    brk_conf_step(p);
    brk_conf_step(p);
    brk_conf_step(p);
    return ST_OK;
}

bool brk_conf_ends_word(int c)
{
    return c == BRK_CONF_END || brk_conf_is_blank(c) || c == '\n' || c == ',' || c == ';' ||
           c == ']' || c == '}';
}

enum st brk_conf_read_text(struct brk_conf_parser *p, char quote, const char **text_out,
                           size_t *len_out)
{
    struct brk_conf_pos pos = brk_conf_here(p);
    if (quote != 0) {
        brk_conf_step(p);
    }
    /* The text never grows by unescaping: the rest of its file is room enough, but only what is
     * needed is kept. */
    size_t start = p->at, n = 0;
    struct brk_conf_parser look = *p;
    while (quote != 0 ? brk_conf_peek(&look) != BRK_CONF_END && brk_conf_peek(&look) != quote
                      : !brk_conf_ends_word(brk_conf_peek(&look))) {
        if (brk_conf_peek(&look) == '\\' && quote != '\'' && peek_at(&look, 1) != BRK_CONF_END) {
            look.at++;
        }
        look.at++;
    }
    char *out = brk_conf_grab(p->conf, look.at - start + 1);
    while (quote != 0 ? brk_conf_peek(p) != quote : !brk_conf_ends_word(brk_conf_peek(p))) {
        if (brk_conf_peek(p) == BRK_CONF_END) {
            return brk_conf_fail(p, pos,
                                 "unexpected end of file in a quoted string that starts here");
        }
        if (brk_conf_peek(p) == '\\' && quote != '\'') {
            enum st st = read_escape(p, &out[n++]);
            if (st != ST_OK) {
                return st;
            }
        } else {
            out[n++] = p->text[p->at];
            brk_conf_step(p);
        }
    }
    if (quote != 0) {
        brk_conf_step(p);
    }
    *text_out = out;
    *len_out = n;
    return ST_OK;
}

/* --- scalars ---------------------------------------------------------------------------------- */

static bool word_is(const char *s, const char *const list[3])
{
    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(s, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The multiplier of a size suffix ("k", "kb", "ki", "kib" and so on, any case), 0 when it is none.
 */
static int64_t suffix_factor(const char *s)
{
    static const char letters[] = "kmgtpe";
    const char *l = *s == '\0' ? NULL : strchr(letters, tolower((unsigned char)*s));
    bool binary = l != NULL && (strcasecmp(s + 1, "b") == 0 || strcasecmp(s + 1, "i") == 0 ||
                                strcasecmp(s + 1, "ib") == 0);
    if (l == NULL || (s[1] != '\0' && !binary)) {
        return 0;
    }
    int64_t factor = 1;
    for (long i = 0; i <= l - letters; i++) {
        factor *= binary ? 1024 : 1000;
    }
    return factor;
}

static bool all_digits(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)s[i])) {
            return false;
        }
    }
    return len > 0;
}

/* True for the shape dddd-dd-ddTdd:dd:ddZ with a month, day and time that exist. */
static bool is_date(const char *s, size_t len)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    if (len != sizeof shape - 1) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (shape[i] == 'd' ? !isdigit((unsigned char)s[i]) : s[i] != shape[i]) {
            return false;
        }
    }
#define TWO(at) ((s[at] - '0') * 10 + (s[(at) + 1] - '0'))
    int year = TWO(0) * 100 + TWO(2), month = TWO(5), day = TWO(8);
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month >= 1 && month <= 12 && day >= 1 &&
           day <= days[month - 1] + (leap && month == 2 ? 1 : 0) && TWO(11) < 24 && TWO(14) < 60 &&
           TWO(17) < 60;
#undef TWO
}

enum st brk_conf_classify(struct brk_conf_parser *p, struct brk_conf_value *v)
{
    static const char *const yes[] = {"true", "yes", "on"};
    static const char *const no[] = {"false", "no", "off"};
    const char *s = v->text, *digits = s + (*s == '-');
    size_t n = strspn(digits, "0123456789");
    const char *rest = digits + n;
    v->kind = BRK_CONF_STRING;
    if (word_is(s, yes) || word_is(s, no)) {
        v->kind = BRK_CONF_BOOL;
        v->u.b = word_is(s, yes);
    } else if (n > 0 && rest[0] == '.' && all_digits(rest + 1, strlen(rest + 1))) {
        v->kind = BRK_CONF_FLOAT;
        v->u.f = strtod(s, NULL);
    } else if (n > 0 && (rest[0] == '\0' || suffix_factor(rest) != 0)) {
        int64_t factor = rest[0] == '\0' ? 1 : suffix_factor(rest);
        errno = 0;
        long long number = strtoll(s, NULL, 10);
        v->kind = BRK_CONF_INT;
        if (errno != 0 || __builtin_mul_overflow((int64_t)number, factor, &v->u.i)) {
            return brk_conf_fail(p, v->pos, "integer '%.40s' is out of range", s);
        }
    } else if (is_date(s, v->text_len)) {
        v->kind = BRK_CONF_DATE;
    }
    return ST_OK;
}
