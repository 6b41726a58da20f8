/* The parser of the config language: one pass over the text, recursive descent, no token list.
 *
 * A file is read into the tree's memory and stays there. `struct scope` is a block under
 * construction; scopes are linked to the enclosing ones, which is where variables are looked up. An
 * included file and the text of an environment variable have scopes of their own: they see nothing
 * of the file that refers to them (as upstream).
 *
 * Bounds: BRK_CONF_DEPTH_MAX on nesting (recursion depth with it), BRK_CONF_INCLUDE_MAX on
 * includes, BRK_CONF_BYTES_MAX on what is read in all, ENV_MAX on variables that refer to
 * variables. */
#include "broker/conf_text.h"

#include <stdio.h>
#include <strings.h>

#include "engine/base/base.h"

#define ENV_MAX 8

/* A block or array under construction. */
struct scope {
    struct scope *up; /* borrowed; the enclosing block, NULL at the top and across files */
    struct brk_conf_entry *entries; /* owned, on the heap until the scope closes */
    size_t count, cap;
    uint32_t depth; /* of the deepest value in it */
};

/* Variables being resolved from the environment, innermost first: finds cycles. */
struct brk_conf_env {
    const struct brk_conf_env *up;
    const char *name;
};

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
    v->entries = brk_conf_grab(c, s->count * sizeof *s->entries);
    if (s->count > 0) {
        memcpy(v->entries, s->entries, s->count * sizeof *s->entries);
    }
    v->entries_count = s->count;
    v->depth = s->depth + 1;
    base_free(s->entries);
    s->entries = NULL;
}

static enum st parse_value(struct brk_conf_parser *p, struct scope *scope,
                           struct brk_conf_value **value_out);

/* Parses the text of an environment variable as a value that stands at `pos`. */
static enum st parse_env(struct brk_conf_parser *p, const char *name, const char *text,
                         struct brk_conf_pos pos, struct brk_conf_value **value_out)
{
    struct brk_conf_env frame = {p->env, name};
    unsigned depth = 0;
    for (const struct brk_conf_env *f = p->env; f != NULL; f = f->up, depth++) {
        if (strcmp(f->name, name) == 0) {
            return brk_conf_fail(p, pos, "variable reference cycle for '%.64s'", name);
        }
    }
    if (depth >= ENV_MAX) {
        return brk_conf_fail(p, pos, "variable reference for '%.64s' is nested too deep", name);
    }
    size_t len = strlen(text);
    if (len > BRK_CONF_BYTES_MAX - p->conf->bytes_read) {
        return brk_conf_fail(p, pos, "variables and files of more than %u bytes in all",
                             BRK_CONF_BYTES_MAX);
    }
    p->conf->bytes_read += len;
    struct brk_conf_parser sub = {
        .conf = p->conf,
        .src = p->src,
        .include_depth = p->include_depth,
        .file = p->file,
        .text = brk_conf_grab_text(p->conf, text, len),
        .len = len,
        .line = 1,
        .nesting = p->nesting,
        .fixed = &pos,
        .env = &frame,
        .err = p->err,
    };
    brk_conf_skip_blanks(&sub);
    if (brk_conf_peek(&sub) == BRK_CONF_END) {
        struct brk_conf_value *v = brk_conf_grab(p->conf, sizeof *v);
        *v = (struct brk_conf_value){.kind = BRK_CONF_STRING, .pos = pos, .text = ""};
        *value_out = v;
        return ST_OK;
    }
    struct scope none = {0};
    char buf[24];
    enum st st = parse_value(&sub, &none, value_out);
    if (st == ST_OK && brk_conf_skip_space(&sub) == false && brk_conf_peek(&sub) != BRK_CONF_END &&
        brk_conf_peek(&sub) != ',' && brk_conf_peek(&sub) != ';') {
        return brk_conf_fail(
            p, pos,
            "variable reference for '%.64s' could not be parsed: unexpected %s after the value",
            name, brk_conf_found(&sub, buf));
    }
    return st;
}

static enum st parse_variable(struct brk_conf_parser *p, struct scope *scope, const char *name,
                              struct brk_conf_pos pos, struct brk_conf_value **value_out)
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
    return brk_conf_fail(p, pos, "variable reference for '%.64s' can not be found", name);
}

static bool looks_bcrypt(const char *s)
{
    return s[0] == '$' && s[1] == '2' && s[2] != '\0' && strchr("abxy", s[2]) != NULL &&
           s[3] == '$';
}

static enum st parse_word(struct brk_conf_parser *p, struct scope *scope, struct brk_conf_value *v,
                          struct brk_conf_value **value_out)
{
    bool variable = brk_conf_peek(p) == '$';
    char buf[24];
    if (brk_conf_ends_word(brk_conf_peek(p))) {
        return brk_conf_fail(p, v->pos, "expected a value, but got %s", brk_conf_found(p, buf));
    }
    enum st st = brk_conf_read_text(p, 0, &v->text, &v->text_len);
    if (st != ST_OK) {
        return st;
    }
    if (variable && !looks_bcrypt(v->text)) {
        return parse_variable(p, scope, v->text + 1, v->pos, value_out);
    }
    *value_out = v;
    return brk_conf_classify(p, v);
}

/* `(`, then text up to a line that holds only `)`. The text is taken as it stands. */
static enum st parse_block_text(struct brk_conf_parser *p, struct brk_conf_value *v)
{
    brk_conf_step(p);
    size_t start = p->at;
    for (; brk_conf_peek(p) != BRK_CONF_END; brk_conf_step(p)) {
        if (brk_conf_peek(p) != ')' || p->at != p->line_start) {
            continue;
        }
        size_t after = p->at + 1;
        while (after < p->len && brk_conf_is_blank((unsigned char)p->text[after])) {
            after++;
        }
        if (after == p->len || p->text[after] == '\n') {
            v->kind = BRK_CONF_STRING;
            v->text = brk_conf_grab_text(p->conf, p->text + start, p->at - start);
            v->text_len = p->at - start;
            brk_conf_step(p);
            return ST_OK;
        }
    }
    return brk_conf_fail(
        p, v->pos,
        "unexpected end of file in a text block that starts here; it ends with a line that holds "
        "only ')'");
}

/* --- blocks and arrays ------------------------------------------------------------------------ */

static void note_depth(struct scope *s, const struct brk_conf_value *v)
{
    if (v->depth > s->depth) {
        s->depth = v->depth;
    }
}

/* After an element: skips to the next one or to `closer`. Blocks take ',' ';' or a new line, arrays
 * ',' or a new line; one separator only, before or after new lines. */
static enum st end_of_entry(struct brk_conf_parser *p, int closer, const char *what)
{
    char buf[24];
    bool line = brk_conf_skip_space(p);
    int c = brk_conf_peek(p);
    if (c == ',' || (c == ';' && closer != ']')) {
        brk_conf_step(p);
        return ST_OK;
    }
    if (line || c == closer || c == BRK_CONF_END) {
        return ST_OK; /* an end that comes too early is told by who opened the block */
    }
    return brk_conf_fail(p, brk_conf_here(p), "expected %s, but got %s", what,
                         brk_conf_found(p, buf));
}

static enum st parse_array(struct brk_conf_parser *p, struct scope *outer, struct brk_conf_value *v)
{
    struct scope s = {.up = NULL};
    char buf[24];
    enum st st = ST_OK;
    v->kind = BRK_CONF_ARRAY;
    brk_conf_step(p);
    for (brk_conf_skip_space(p); brk_conf_peek(p) != ']'; brk_conf_skip_space(p)) {
        struct brk_conf_value *element = NULL;
        struct brk_conf_pos pos = brk_conf_here(p);
        if (brk_conf_peek(p) == BRK_CONF_END) {
            st = brk_conf_fail(p, v->pos, "unexpected end of file in an array that starts here");
        } else if (brk_conf_ends_word(brk_conf_peek(p))) {
            st = brk_conf_fail(p, pos, "expected an array element or ']', but got %s",
                               brk_conf_found(p, buf));
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
    brk_conf_step(p);
    scope_close(p->conf, &s, v);
    return ST_OK;
free_scope:
    base_free(s.entries);
    return st;
}

static enum st parse_entries(struct brk_conf_parser *p, struct scope *s, int closer,
                             struct brk_conf_pos open);

static enum st parse_map(struct brk_conf_parser *p, struct scope *outer, struct brk_conf_value *v)
{
    struct scope s = {.up = outer};
    v->kind = BRK_CONF_MAP;
    brk_conf_step(p);
    enum st st = parse_entries(p, &s, '}', v->pos);
    if (st != ST_OK) {
        base_free(s.entries);
        return st;
    }
    brk_conf_step(p);
    scope_close(p->conf, &s, v);
    return ST_OK;
}

static enum st parse_value(struct brk_conf_parser *p, struct scope *scope,
                           struct brk_conf_value **value_out)
{
    struct brk_conf_value *v = brk_conf_grab(p->conf, sizeof *v);
    enum st st = ST_OK;
    int c = brk_conf_peek(p);
    v->pos = brk_conf_here(p);
    *value_out = v;
    if (p->nesting >= BRK_CONF_DEPTH_MAX) {
        return brk_conf_fail(p, v->pos, "more than %d blocks and arrays inside each other",
                             BRK_CONF_DEPTH_MAX);
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
        st = brk_conf_read_text(p, (char)c, &v->text, &v->text_len);
    } else {
        st = parse_word(p, scope, v, value_out);
    }
    p->nesting--;
    if (st == ST_OK && (*value_out)->depth + p->nesting >= BRK_CONF_DEPTH_MAX) {
        return brk_conf_fail(p, v->pos, "more than %d blocks and arrays inside each other",
                             BRK_CONF_DEPTH_MAX);
    }
    return st;
}

/* --- includes --------------------------------------------------------------------------------- */

/* Reads a file into the tree's memory. */
static enum st load(struct brk_conf *c, const struct brk_conf_source *src, const char *path,
                    const char **text_out, size_t *len_out, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum st st = src->read(src->arg, path, &text, &len, err);
    if (st != ST_OK) {
        return st;
    }
    if (len > BRK_CONF_BYTES_MAX - c->bytes_read) {
        base_free(text);
        return err_set(err, ST_TOOBIG, 0, "config files of more than %u bytes in all",
                       BRK_CONF_BYTES_MAX);
    }
    c->bytes_read += len;
    *text_out = brk_conf_grab_text(c, text, len);
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
    char *path = brk_conf_grab(c, dir + strlen(name) + 1);
    memcpy(path, file, dir);
    memcpy(path + dir, name, strlen(name));
    return path;
}

static enum st parse_whole(struct brk_conf_parser *p, struct scope *s);

/* `include path`: the cursor stands on the path. Upstream joins even an absolute path to the folder
 * of the file; we try that first and then the path as it stands. */
static enum st parse_include(struct brk_conf_parser *p, struct scope *s)
{
    struct brk_conf_pos pos = brk_conf_here(p);
    const char *name = NULL, *text = NULL;
    size_t name_len = 0, len = 0;
    char buf[24];
    int c = brk_conf_peek(p);
    struct err why = {0};
    if (c != '"' && c != '\'' && brk_conf_ends_word(c)) {
        return brk_conf_fail(p, pos, "expected the name of a file to include, but got %s",
                             brk_conf_found(p, buf));
    }
    enum st st = brk_conf_read_text(p, c == '"' || c == '\'' ? (char)c : 0, &name, &name_len);
    if (st != ST_OK) {
        return st;
    }
    if (p->include_depth + 1 > BRK_CONF_INCLUDE_MAX) {
        return brk_conf_fail(p, pos, "more than %d files including each other",
                             BRK_CONF_INCLUDE_MAX);
    }
    const char *path = beside(p->conf, p->file, name);
    st = load(p->conf, p->src, path, &text, &len, &why);
    if (st == ST_NOTFOUND && name[0] == '/') {
        path = name;
        st = load(p->conf, p->src, path, &text, &len, &why);
    }
    if (st != ST_OK) {
        return brk_conf_fail(p, pos, "error parsing include file '%.64s': %s", name, why.msg);
    }
    struct brk_conf_parser sub = {
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

/* --- entries ---------------------------------------------------------------------------------- */

/* Reads a key: quoted (as it stands, no escapes) or bare (up to a blank, ':' or '='). */
static enum st read_key(struct brk_conf_parser *p, struct brk_conf_entry *e)
{
    int quote = brk_conf_peek(p) == '"' || brk_conf_peek(p) == '\'' ? brk_conf_peek(p) : 0;
    char buf[24];
    e->pos = brk_conf_here(p);
    if (quote == 0 && (strchr(":=,;[]{}()", brk_conf_peek(p)) != NULL)) {
        return brk_conf_fail(p, e->pos, "expected a key, but got %s", brk_conf_found(p, buf));
    }
    if (quote != 0) {
        brk_conf_step(p);
    }
    size_t start = p->at;
    for (;; brk_conf_step(p)) {
        int c = brk_conf_peek(p);
        if (c == BRK_CONF_END && quote != 0) {
            return brk_conf_fail(p, e->pos,
                                 "unexpected end of file in a quoted key that starts here");
        }
        if (quote != 0
                ? c == quote
                : c == BRK_CONF_END || c == '\n' || brk_conf_is_blank(c) || c == ':' || c == '=') {
            break;
        }
    }
    e->key_len = p->at - start;
    e->key = brk_conf_grab_text(p->conf, p->text + start, e->key_len);
    if (quote != 0) {
        brk_conf_step(p);
    }
    return ST_OK;
}

/* key [':' | '='] value */
static enum st parse_entry(struct brk_conf_parser *p, struct scope *s)
{
    struct brk_conf_entry e = {0};
    bool quoted = brk_conf_peek(p) == '"' || brk_conf_peek(p) == '\'';
    enum st st = read_key(p, &e);
    if (st != ST_OK) {
        return st;
    }
    brk_conf_skip_blanks(p);
    bool separator = brk_conf_peek(p) == ':' || brk_conf_peek(p) == '=';
    /* No comments between key and value: `pass: #secret` is a value, as upstream has it. */
    if (!quoted && !separator && strcasecmp(e.key, "include") == 0) {
        return parse_include(p, s);
    }
    if (!separator) {
        brk_conf_skip_lines(p);
        separator = brk_conf_peek(p) == ':' || brk_conf_peek(p) == '=';
    }
    if (separator) {
        brk_conf_step(p);
        brk_conf_skip_lines(p);
    }
    if (brk_conf_peek(p) == BRK_CONF_END) {
        return brk_conf_fail(p, e.pos, "key \"%.64s\" has no value", e.key);
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

/* Entries up to `closer` (which is not consumed) or, for BRK_CONF_END, to the end of the file. */
static enum st parse_entries(struct brk_conf_parser *p, struct scope *s, int closer,
                             struct brk_conf_pos open)
{
    for (;;) {
        brk_conf_skip_space(p);
        if (brk_conf_peek(p) == closer) {
            return ST_OK;
        }
        if (brk_conf_peek(p) == BRK_CONF_END) {
            return brk_conf_fail(p, open, "unexpected end of file in a block that starts here");
        }
        enum st st = parse_entry(p, s);
        if (st == ST_OK) {
            st = end_of_entry(
                p, closer,
                closer == BRK_CONF_END
                    ? "a new line, ',', a comment or the end of the file after the value"
                    : "a new line, ',' or '}' after the value");
        }
        if (st != ST_OK) {
            return st;
        }
    }
}

/* A whole file: entries, or one block in braces as JSON has it. */
static enum st parse_whole(struct brk_conf_parser *p, struct scope *s)
{
    const char *zero = memchr(p->text, '\0', p->len);
    char buf[24];
    if (p->len >= 3 && memcmp(p->text, "\xef\xbb\xbf", 3) == 0) {
        p->at = p->line_start = 3; /* a byte order mark */
    }
    if (zero != NULL) {
        while (p->at < (size_t)(zero - p->text)) {
            brk_conf_step(p);
        }
        return brk_conf_fail(p, brk_conf_here(p), "a zero byte cannot stand in a config file");
    }
    brk_conf_skip_space(p);
    if (brk_conf_peek(p) != '{') {
        return parse_entries(p, s, BRK_CONF_END, brk_conf_here(p));
    }
    struct brk_conf_pos open = brk_conf_here(p);
    brk_conf_step(p);
    enum st st = parse_entries(p, s, '}', open);
    if (st != ST_OK) {
        return st;
    }
    brk_conf_step(p);
    brk_conf_skip_space(p);
    return brk_conf_peek(p) == BRK_CONF_END
               ? ST_OK
               : brk_conf_fail(p, brk_conf_here(p),
                               "expected the end of the file after '}', but got %s",
                               brk_conf_found(p, buf));
}

/* --- entry points ----------------------------------------------------------------------------- */

static enum st parse_top(struct brk_conf *c, const struct brk_conf_source *src, const char *name,
                         const char *text, size_t len, struct brk_conf **conf_out, struct err *err)
{
    struct brk_conf_parser p = {
        .conf = c, .src = src, .text = text, .len = len, .line = 1, .err = err};
    struct scope top = {0};
    p.file = brk_conf_grab_text(c, name, strlen(name));
    c->root = brk_conf_grab(c, sizeof *c->root);
    c->root->kind = BRK_CONF_MAP;
    c->root->pos = brk_conf_here(&p);
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

enum st brk_conf_parse_text(const struct brk_conf_source *src, const char *name, const char *text,
                            size_t len, struct brk_conf **conf_out, struct err *err)
{
    *conf_out = NULL;
    struct brk_conf *c = base_calloc(1, sizeof *c);
    if (len > BRK_CONF_BYTES_MAX) {
        base_free(c);
        return err_set(err, ST_TOOBIG, 0, "config files of more than %u bytes in all",
                       BRK_CONF_BYTES_MAX);
    }
    c->bytes_read = len;
    return parse_top(c, src, name, brk_conf_grab_text(c, text, len), len, conf_out, err);
}

enum st brk_conf_parse_file(const struct brk_conf_source *src, const char *path,
                            struct brk_conf **conf_out, struct err *err)
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
