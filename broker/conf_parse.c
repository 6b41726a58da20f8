/* The parser of the config language: one pass over the text, recursive descent, no token list.
 *
 * A file is read into the tree's memory and stays there. `struct scope` is a block under construction; scopes are
 * linked to the enclosing ones, which is where variables are looked up. An included file and the text of an
 * environment variable have scopes of their own: they see nothing of the file that refers to them (as upstream).
 *
 * Bounds: BRK_CONF_DEPTH_MAX on nesting (recursion depth with it), BRK_CONF_INCLUDE_MAX on includes,
 * BRK_CONF_BYTES_MAX on what is read in all, ENV_MAX on variables that refer to variables. */
#include "broker/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/base/base.h"

#define BLOCK_BYTES ((size_t)16 * KIB)
#define ENV_MAX 8

struct block {
    struct block *next;
    size_t used, cap;
    _Alignas(16) char data[];
};

struct brk_conf {
    struct block *blocks; /* owned; everything else lives in them */
    struct brk_conf_value *root;
    size_t bytes_read;
};

/* A block or array under construction. */
struct scope {
    struct scope *up;               /* borrowed; the enclosing block, NULL at the top and across files */
    struct brk_conf_entry *entries; /* owned, on the heap until the scope closes */
    size_t count, cap;
    uint32_t depth; /* of the deepest value in it */
};

/* Variables being resolved from the environment, innermost first: finds cycles. */
struct env_frame {
    const struct env_frame *up;
    const char *name;
};

struct parser {
    struct brk_conf *conf;
    const struct brk_conf_source *src;
    const char *file; /* owned by conf */
    const char *text;
    size_t len, at;
    size_t line_start;
    uint32_t line;
    unsigned include_depth;
    unsigned nesting;
    const struct brk_conf_pos *fixed; /* text of a variable: everything stands where the reference stands */
    const struct env_frame *env;
    struct err *err;
};

/* --- memory of the tree ---------------------------------------------------------------------------------------- */

static void *grab(struct brk_conf *c, size_t n)
{
    n = (size_t)align_up(n == 0 ? 1 : n, 16);
    if (c->blocks == NULL || c->blocks->cap - c->blocks->used < n) {
        size_t cap = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        struct block *b = base_malloc(sizeof *b + cap);
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

static char *grab_text(struct brk_conf *c, const char *s, size_t len)
{
    char *p = grab(c, len + 1);
    memcpy(p, s, len);
    return p;
}

void brk_conf_destroy(struct brk_conf *c)
{
    if (c == NULL) {
        return;
    }
    while (c->blocks != NULL) {
        struct block *next = c->blocks->next;
        base_free(c->blocks);
        c->blocks = next;
    }
    base_free(c);
}

const struct brk_conf_value *brk_conf_root(const struct brk_conf *c) { return c->root; }

static struct brk_conf_entry *scope_add(struct scope *s)
{
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 8 : s->cap * 2;
        s->entries = base_realloc(s->entries, s->cap * sizeof *s->entries);
    }
    struct brk_conf_entry *e = &s->entries[s->count++];
    memset(e, 0, sizeof *e);
    return e;
}

/* Moves the entries of a scope into the tree. */
static void scope_close(struct brk_conf *c, struct scope *s, struct brk_conf_value *v)
{
    v->entries = grab(c, s->count * sizeof *s->entries);
    if (s->count > 0) {
        memcpy(v->entries, s->entries, s->count * sizeof *s->entries);
    }
    v->entries_count = s->count;
    v->depth = s->depth + 1;
    base_free(s->entries);
    s->entries = NULL;
}

/* --- characters, positions, errors ----------------------------------------------------------------------------- */

#define END (-1)

static int peek(const struct parser *p) { return p->at < p->len ? (unsigned char)p->text[p->at] : END; }
static int peek_at(const struct parser *p, size_t ahead)
{
    return p->at + ahead < p->len ? (unsigned char)p->text[p->at + ahead] : END;
}

static void step(struct parser *p)
{
    if (p->text[p->at] == '\n') {
        p->line++;
        p->line_start = p->at + 1;
    }
    p->at++;
}

static struct brk_conf_pos here(const struct parser *p)
{
    if (p->fixed != NULL) {
        return *p->fixed;
    }
    return (struct brk_conf_pos){p->file, p->line, (uint32_t)(p->at - p->line_start) + 1};
}

static enum st fail_at(const struct parser *p, struct brk_conf_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static enum st fail_at(const struct parser *p, struct brk_conf_pos pos, const char *fmt, ...)
{
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(p->err, ST_INVALID, 0, "%s:%u:%u: %s", pos.file, pos.line, pos.column, text);
}

/* What stands at the cursor, for messages. The buffer holds one rendering. */
static const char *found(const struct parser *p, char buf[24])
{
    int c = peek(p);
    if (c == END) {
        return "the end of the file";
    }
    if (c == '\n') {
        return "a new line";
    }
    snprintf(buf, 24, isprint(c) ? "'%c'" : "byte 0x%02x", c);
    return buf;
}

static bool is_blank(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

static bool at_comment(const struct parser *p)
{
    return peek(p) == '#' || (peek(p) == '/' && peek_at(p, 1) == '/');
}

static void skip_blanks(struct parser *p)
{
    while (is_blank(peek(p))) {
        step(p);
    }
}

static void skip_lines(struct parser *p)
{
    while (is_blank(peek(p)) || peek(p) == '\n') {
        step(p);
    }
}

/* Skips blanks, new lines and comments; true when a new line was among them. */
static bool skip_space(struct parser *p)
{
    uint32_t line = p->line;
    for (;;) {
        if (is_blank(peek(p)) || peek(p) == '\n') {
            step(p);
        } else if (at_comment(p)) {
            while (peek(p) != END && peek(p) != '\n') {
                step(p);
            }
        } else {
            return p->line != line;
        }
    }
}

/* --- words and strings ----------------------------------------------------------------------------------------- */

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads one escape; the cursor stands on the backslash and ends after the escape. */
static enum st read_escape(struct parser *p, char *out)
{
    struct brk_conf_pos pos = here(p);
    char buf[24];
    step(p);
    int c = peek(p);
    static const char names[] = "t\tn\nr\r\"\"\\\\";
    for (size_t i = 0; c != END && i + 1 < sizeof names; i += 2) {
        if (names[i] == c) {
            *out = names[i + 1];
            step(p);
            return ST_OK;
        }
    }
    if (c != 'x') {
        return fail_at(p, pos, "invalid escape character %s; only \\xXX, \\t, \\n, \\r, \\\", \\\\ are allowed",
                       found(p, buf));
    }
    int hi = hex_digit(peek_at(p, 1));
    int lo = hi < 0 ? -1 : hex_digit(peek_at(p, 2));
    if (lo < 0) {
        return fail_at(p, pos, "expected two hexadecimal digits after '\\x'");
    }
    if (hi == 0 && lo == 0) {
        return fail_at(p, pos, "a zero byte cannot stand in a string");
    }
    *out = (char)(hi << 4 | lo);
    step(p);
    step(p);
    step(p);
    return ST_OK;
}

static bool ends_word(int c)
{
    return c == END || is_blank(c) || c == '\n' || c == ',' || c == ';' || c == ']' || c == '}';
}

/* Reads up to the closing quote (`quote` is '"' or '\'') or, with quote 0, a bare word. Result in the tree. */
static enum st read_text(struct parser *p, char quote, const char **text_out, size_t *len_out)
{
    struct brk_conf_pos pos = here(p);
    if (quote != 0) {
        step(p);
    }
    /* The text never grows by unescaping: the rest of its file is room enough, but only what is needed is kept. */
    size_t start = p->at, n = 0;
    struct parser look = *p;
    while (quote != 0 ? peek(&look) != END && peek(&look) != quote : !ends_word(peek(&look))) {
        if (peek(&look) == '\\' && quote != '\'' && peek_at(&look, 1) != END) {
            look.at++;
        }
        look.at++;
    }
    char *out = grab(p->conf, look.at - start + 1);
    while (quote != 0 ? peek(p) != quote : !ends_word(peek(p))) {
        if (peek(p) == END) {
            return fail_at(p, pos, "unexpected end of file in a quoted string that starts here");
        }
        if (peek(p) == '\\' && quote != '\'') {
            enum st st = read_escape(p, &out[n++]);
            if (st != ST_OK) {
                return st;
            }
        } else {
            out[n++] = p->text[p->at];
            step(p);
        }
    }
    if (quote != 0) {
        step(p);
    }
    *text_out = out;
    *len_out = n;
    return ST_OK;
}

/* --- scalars --------------------------------------------------------------------------------------------------- */

static bool word_is(const char *s, const char *const list[3])
{
    for (size_t i = 0; i < 3; i++) {
        if (strcasecmp(s, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The multiplier of a size suffix ("k", "kb", "ki", "kib" and so on, any case), 0 when it is none. */
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
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (leap && month == 2 ? 1 : 0) &&
           TWO(11) < 24 && TWO(14) < 60 && TWO(17) < 60;
#undef TWO
}

/* Gives a bare word its kind: boolean, integer, float, date, or string. */
static enum st classify(struct parser *p, struct brk_conf_value *v)
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
            return fail_at(p, v->pos, "integer '%.40s' is out of range", s);
        }
    } else if (is_date(s, v->text_len)) {
        v->kind = BRK_CONF_DATE;
    }
    return ST_OK;
}

static enum st parse_value(struct parser *p, struct scope *scope, struct brk_conf_value **value_out);

/* Parses the text of an environment variable as a value that stands at `pos`. */
static enum st parse_env(struct parser *p, const char *name, const char *text, struct brk_conf_pos pos,
                         struct brk_conf_value **value_out)
{
    struct env_frame frame = {p->env, name};
    unsigned depth = 0;
    for (const struct env_frame *f = p->env; f != NULL; f = f->up, depth++) {
        if (strcmp(f->name, name) == 0) {
            return fail_at(p, pos, "variable reference cycle for '%.64s'", name);
        }
    }
    if (depth >= ENV_MAX) {
        return fail_at(p, pos, "variable reference for '%.64s' is nested too deep", name);
    }
    size_t len = strlen(text);
    if (len > BRK_CONF_BYTES_MAX - p->conf->bytes_read) {
        return fail_at(p, pos, "variables and files of more than %u bytes in all", BRK_CONF_BYTES_MAX);
    }
    p->conf->bytes_read += len;
    struct parser sub = {
        .conf = p->conf,
        .src = p->src,
        .include_depth = p->include_depth,
        .file = p->file,
        .text = grab_text(p->conf, text, len),
        .len = len,
        .line = 1,
        .nesting = p->nesting,
        .fixed = &pos,
        .env = &frame,
        .err = p->err,
    };
    skip_blanks(&sub);
    if (peek(&sub) == END) {
        struct brk_conf_value *v = grab(p->conf, sizeof *v);
        *v = (struct brk_conf_value){.kind = BRK_CONF_STRING, .pos = pos, .text = ""};
        *value_out = v;
        return ST_OK;
    }
    struct scope none = {0};
    char buf[24];
    enum st st = parse_value(&sub, &none, value_out);
    if (st == ST_OK && skip_space(&sub) == false && peek(&sub) != END && peek(&sub) != ',' && peek(&sub) != ';') {
        return fail_at(p, pos, "variable reference for '%.64s' could not be parsed: unexpected %s after the value", name,
                       found(&sub, buf));
    }
    return st;
}

static enum st parse_variable(struct parser *p, struct scope *scope, const char *name, struct brk_conf_pos pos,
                              struct brk_conf_value **value_out)
{
    for (struct scope *s = scope; s != NULL; s = s->up) {
        for (size_t i = s->count; i > 0; i--) {
            struct brk_conf_entry *e = &s->entries[i - 1];
            if (e->value != NULL && e->key != NULL && strcmp(e->key, name) == 0) {
                e->used_as_variable = true;
                /* The tree owns every value, and only this file hands out const ones. */
                *value_out = (struct brk_conf_value *)(uintptr_t)e->value;
                return ST_OK;
            }
        }
    }
    const char *env = *name == '\0' ? NULL : p->src->getenv(p->src->arg, name);
    if (env != NULL) {
        return parse_env(p, name, env, pos, value_out);
    }
    return fail_at(p, pos, "variable reference for '%.64s' can not be found", name);
}

static bool looks_bcrypt(const char *s)
{
    return s[0] == '$' && s[1] == '2' && s[2] != '\0' && strchr("abxy", s[2]) != NULL && s[3] == '$';
}

static enum st parse_word(struct parser *p, struct scope *scope, struct brk_conf_value *v,
                          struct brk_conf_value **value_out)
{
    bool variable = peek(p) == '$';
    char buf[24];
    if (ends_word(peek(p))) {
        return fail_at(p, v->pos, "expected a value, but got %s", found(p, buf));
    }
    enum st st = read_text(p, 0, &v->text, &v->text_len);
    if (st != ST_OK) {
        return st;
    }
    if (variable && !looks_bcrypt(v->text)) {
        return parse_variable(p, scope, v->text + 1, v->pos, value_out);
    }
    *value_out = v;
    return classify(p, v);
}

/* `(`, then text up to a line that holds only `)`. The text is taken as it stands. */
static enum st parse_block_text(struct parser *p, struct brk_conf_value *v)
{
    step(p);
    size_t start = p->at;
    for (; peek(p) != END; step(p)) {
        if (peek(p) != ')' || p->at != p->line_start) {
            continue;
        }
        size_t after = p->at + 1;
        while (after < p->len && is_blank((unsigned char)p->text[after])) {
            after++;
        }
        if (after == p->len || p->text[after] == '\n') {
            v->kind = BRK_CONF_STRING;
            v->text = grab_text(p->conf, p->text + start, p->at - start);
            v->text_len = p->at - start;
            step(p);
            return ST_OK;
        }
    }
    return fail_at(p, v->pos, "unexpected end of file in a text block that starts here; it ends with a line that holds "
                              "only ')'");
}

/* --- blocks and arrays ----------------------------------------------------------------------------------------- */

static void note_depth(struct scope *s, const struct brk_conf_value *v)
{
    if (v->depth > s->depth) {
        s->depth = v->depth;
    }
}

/* After an element: skips to the next one or to `closer`. Blocks take ',' ';' or a new line, arrays ',' or a new
 * line; one separator only, before or after new lines. */
static enum st end_of_entry(struct parser *p, int closer, const char *what)
{
    char buf[24];
    bool line = skip_space(p);
    int c = peek(p);
    if (c == ',' || (c == ';' && closer != ']')) {
        step(p);
        return ST_OK;
    }
    if (line || c == closer || c == END) {
        return ST_OK; /* an end that comes too early is told by who opened the block */
    }
    return fail_at(p, here(p), "expected %s, but got %s", what, found(p, buf));
}

static enum st parse_array(struct parser *p, struct scope *outer, struct brk_conf_value *v)
{
    struct scope s = {.up = NULL};
    char buf[24];
    enum st st = ST_OK;
    v->kind = BRK_CONF_ARRAY;
    step(p);
    for (skip_space(p); peek(p) != ']'; skip_space(p)) {
        struct brk_conf_value *element = NULL;
        struct brk_conf_pos pos = here(p);
        if (peek(p) == END) {
            st = fail_at(p, v->pos, "unexpected end of file in an array that starts here");
        } else if (ends_word(peek(p))) {
            st = fail_at(p, pos, "expected an array element or ']', but got %s", found(p, buf));
        } else {
            st = parse_value(p, outer, &element);
        }
        if (st != ST_OK) {
            goto free_scope;
        }
        *scope_add(&s) = (struct brk_conf_entry){.pos = pos, .value = element};
        note_depth(&s, element);
        st = end_of_entry(p, ']', "',', a new line or ']' after an array element");
        if (st != ST_OK) {
            goto free_scope;
        }
    }
    step(p);
    scope_close(p->conf, &s, v);
    return ST_OK;
free_scope:
    base_free(s.entries);
    return st;
}

static enum st parse_entries(struct parser *p, struct scope *s, int closer, struct brk_conf_pos open);

static enum st parse_map(struct parser *p, struct scope *outer, struct brk_conf_value *v)
{
    struct scope s = {.up = outer};
    v->kind = BRK_CONF_MAP;
    step(p);
    enum st st = parse_entries(p, &s, '}', v->pos);
    if (st != ST_OK) {
        base_free(s.entries);
        return st;
    }
    step(p);
    scope_close(p->conf, &s, v);
    return ST_OK;
}

static enum st parse_value(struct parser *p, struct scope *scope, struct brk_conf_value **value_out)
{
    struct brk_conf_value *v = grab(p->conf, sizeof *v);
    enum st st = ST_OK;
    int c = peek(p);
    v->pos = here(p);
    *value_out = v;
    if (p->nesting >= BRK_CONF_DEPTH_MAX) {
        return fail_at(p, v->pos, "more than %d blocks and arrays inside each other", BRK_CONF_DEPTH_MAX);
    }
    p->nesting++;
    if (c == '{') {
        st = parse_map(p, scope, v);
    } else if (c == '[') {
        st = parse_array(p, scope, v);
    } else if (c == '(') {
        st = parse_block_text(p, v);
    } else if (c == '"' || c == '\'') {
        v->kind = BRK_CONF_STRING;
        st = read_text(p, (char)c, &v->text, &v->text_len);
    } else {
        st = parse_word(p, scope, v, value_out);
    }
    p->nesting--;
    if (st == ST_OK && (*value_out)->depth + p->nesting >= BRK_CONF_DEPTH_MAX) {
        return fail_at(p, v->pos, "more than %d blocks and arrays inside each other", BRK_CONF_DEPTH_MAX);
    }
    return st;
}

/* --- includes -------------------------------------------------------------------------------------------------- */

/* Reads a file into the tree's memory. */
static enum st load(struct brk_conf *c, const struct brk_conf_source *src, const char *path, const char **text_out,
                    size_t *len_out, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum st st = src->read(src->arg, path, &text, &len, err);
    if (st != ST_OK) {
        return st;
    }
    if (len > BRK_CONF_BYTES_MAX - c->bytes_read) {
        base_free(text);
        return err_set(err, ST_TOOBIG, 0, "config files of more than %u bytes in all", BRK_CONF_BYTES_MAX);
    }
    c->bytes_read += len;
    *text_out = grab_text(c, text, len);
    *len_out = len;
    base_free(text);
    return ST_OK;
}

/* The path of `name` seen from the folder of `file`. */
static const char *beside(struct brk_conf *c, const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    if (slash == NULL) {
        return name;
    }
    size_t dir = (size_t)(slash - file) + 1;
    while (*name == '/') {
        name++;
    }
    char *path = grab(c, dir + strlen(name) + 1);
    memcpy(path, file, dir);
    memcpy(path + dir, name, strlen(name));
    return path;
}

static enum st parse_whole(struct parser *p, struct scope *s);

/* `include path`: the cursor stands on the path. Upstream joins even an absolute path to the folder of the file; we
 * try that first and then the path as it stands. */
static enum st parse_include(struct parser *p, struct scope *s)
{
    struct brk_conf_pos pos = here(p);
    const char *name = NULL, *text = NULL;
    size_t name_len = 0, len = 0;
    char buf[24];
    int c = peek(p);
    struct err why = {0};
    if (c != '"' && c != '\'' && ends_word(c)) {
        return fail_at(p, pos, "expected the name of a file to include, but got %s", found(p, buf));
    }
    enum st st = read_text(p, c == '"' || c == '\'' ? (char)c : 0, &name, &name_len);
    if (st != ST_OK) {
        return st;
    }
    if (p->include_depth + 1 > BRK_CONF_INCLUDE_MAX) {
        return fail_at(p, pos, "more than %d files including each other", BRK_CONF_INCLUDE_MAX);
    }
    const char *path = beside(p->conf, p->file, name);
    st = load(p->conf, p->src, path, &text, &len, &why);
    if (st == ST_NOTFOUND && name[0] == '/') {
        path = name;
        st = load(p->conf, p->src, path, &text, &len, &why);
    }
    if (st != ST_OK) {
        return fail_at(p, pos, "error parsing include file '%.64s': %s", name, why.msg);
    }
    struct parser sub = {
        .conf = p->conf,
        .src = p->src,
        .file = path,
        .text = text,
        .len = len,
        .line = 1,
        .include_depth = p->include_depth + 1,
        .nesting = p->nesting,
        .err = p->err,
    };
    struct scope own = {0};
    st = parse_whole(&sub, &own);
    for (size_t i = 0; st == ST_OK && i < own.count; i++) {
        *scope_add(s) = own.entries[i];
        note_depth(s, own.entries[i].value);
    }
    base_free(own.entries);
    return st;
}

/* --- entries --------------------------------------------------------------------------------------------------- */

/* Reads a key: quoted (as it stands, no escapes) or bare (up to a blank, ':' or '='). */
static enum st read_key(struct parser *p, struct brk_conf_entry *e)
{
    int quote = peek(p) == '"' || peek(p) == '\'' ? peek(p) : 0;
    char buf[24];
    e->pos = here(p);
    if (quote == 0 && (strchr(":=,;[]{}()", peek(p)) != NULL)) {
        return fail_at(p, e->pos, "expected a key, but got %s", found(p, buf));
    }
    if (quote != 0) {
        step(p);
    }
    size_t start = p->at;
    for (;; step(p)) {
        int c = peek(p);
        if (c == END && quote != 0) {
            return fail_at(p, e->pos, "unexpected end of file in a quoted key that starts here");
        }
        if (quote != 0 ? c == quote : c == END || c == '\n' || is_blank(c) || c == ':' || c == '=') {
            break;
        }
    }
    e->key_len = p->at - start;
    e->key = grab_text(p->conf, p->text + start, e->key_len);
    if (quote != 0) {
        step(p);
    }
    return ST_OK;
}

/* key [':' | '='] value */
static enum st parse_entry(struct parser *p, struct scope *s)
{
    struct brk_conf_entry e = {0};
    bool quoted = peek(p) == '"' || peek(p) == '\'';
    enum st st = read_key(p, &e);
    if (st != ST_OK) {
        return st;
    }
    skip_blanks(p);
    bool separator = peek(p) == ':' || peek(p) == '=';
    /* No comments between key and value: `pass: #secret` is a value, as upstream has it. */
    if (!quoted && !separator && strcasecmp(e.key, "include") == 0) {
        return parse_include(p, s);
    }
    if (!separator) {
        skip_lines(p);
        separator = peek(p) == ':' || peek(p) == '=';
    }
    if (separator) {
        step(p);
        skip_lines(p);
    }
    if (peek(p) == END) {
        return fail_at(p, e.pos, "key \"%.64s\" has no value", e.key);
    }
    struct brk_conf_value *value = NULL;
    st = parse_value(p, s, &value);
    if (st != ST_OK) {
        return st;
    }
    e.value = value;
    *scope_add(s) = e;
    note_depth(s, value);
    return ST_OK;
}

/* Entries up to `closer` (which is not consumed) or, for END, to the end of the file. */
static enum st parse_entries(struct parser *p, struct scope *s, int closer, struct brk_conf_pos open)
{
    for (;;) {
        skip_space(p);
        if (peek(p) == closer) {
            return ST_OK;
        }
        if (peek(p) == END) {
            return fail_at(p, open, "unexpected end of file in a block that starts here");
        }
        enum st st = parse_entry(p, s);
        if (st == ST_OK) {
            st = end_of_entry(p, closer,
                              closer == END ? "a new line, ',', a comment or the end of the file after the value"
                                            : "a new line, ',' or '}' after the value");
        }
        if (st != ST_OK) {
            return st;
        }
    }
}

/* A whole file: entries, or one block in braces as JSON has it. */
static enum st parse_whole(struct parser *p, struct scope *s)
{
    const char *zero = memchr(p->text, '\0', p->len);
    char buf[24];
    if (p->len >= 3 && memcmp(p->text, "\xef\xbb\xbf", 3) == 0) {
        p->at = p->line_start = 3; /* a byte order mark */
    }
    if (zero != NULL) {
        while (p->at < (size_t)(zero - p->text)) {
            step(p);
        }
        return fail_at(p, here(p), "a zero byte cannot stand in a config file");
    }
    skip_space(p);
    if (peek(p) != '{') {
        return parse_entries(p, s, END, here(p));
    }
    struct brk_conf_pos open = here(p);
    step(p);
    enum st st = parse_entries(p, s, '}', open);
    if (st != ST_OK) {
        return st;
    }
    step(p);
    skip_space(p);
    return peek(p) == END ? ST_OK : fail_at(p, here(p), "expected the end of the file after '}', but got %s",
                                            found(p, buf));
}

/* --- entry points ---------------------------------------------------------------------------------------------- */

static enum st parse_top(struct brk_conf *c, const struct brk_conf_source *src, const char *name, const char *text,
                         size_t len, struct brk_conf **conf_out, struct err *err)
{
    struct parser p = {.conf = c, .src = src, .text = text, .len = len, .line = 1, .err = err};
    struct scope top = {0};
    p.file = grab_text(c, name, strlen(name));
    c->root = grab(c, sizeof *c->root);
    c->root->kind = BRK_CONF_MAP;
    c->root->pos = here(&p);
    enum st st = parse_whole(&p, &top);
    if (st != ST_OK) {
        base_free(top.entries);
        brk_conf_destroy(c);
        return st;
    }
    scope_close(c, &top, c->root);
    *conf_out = c;
    return ST_OK;
}

enum st brk_conf_parse_text(const struct brk_conf_source *src, const char *name, const char *text, size_t len,
                            struct brk_conf **conf_out, struct err *err)
{
    *conf_out = NULL;
    struct brk_conf *c = base_calloc(1, sizeof *c);
    if (len > BRK_CONF_BYTES_MAX) {
        base_free(c);
        return err_set(err, ST_TOOBIG, 0, "config files of more than %u bytes in all", BRK_CONF_BYTES_MAX);
    }
    c->bytes_read = len;
    return parse_top(c, src, name, grab_text(c, text, len), len, conf_out, err);
}

enum st brk_conf_parse_file(const struct brk_conf_source *src, const char *path, struct brk_conf **conf_out,
                            struct err *err)
{
    *conf_out = NULL;
    struct brk_conf *c = base_calloc(1, sizeof *c);
    const char *text = NULL;
    size_t len = 0;
    enum st st = load(c, src, path, &text, &len, err);
    if (st != ST_OK) {
        brk_conf_destroy(c);
        return st;
    }
    return parse_top(c, src, path, text, len, conf_out, err);
}
