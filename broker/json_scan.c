#include "broker/json_scan.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"

#include "broker/json_in.h"

struct scan {
    const unsigned char *p;
    size_t len, at;
    enum json_scan_form form;
    struct err *err;
};

static bool blank(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->len && blank(s->p[s->at])) {
        s->at++;
    }
}

/* A byte as Go's strconv.Quote shows it, taken for a code point. */
static void quoted(char out[12], unsigned char c)
{
    static const char letters[] = "abtnvfr"; /* 7 to 13 */
    if (c == '\'' || c == '\\') {
        (void)snprintf(out, 12, "\\%c", c);
    } else if (c >= 7 && c <= 13) {
        (void)snprintf(out, 12, "\\%c", letters[c - 7]);
    } else if (c < ' ' || c == 0x7f) {
        (void)snprintf(out, 12, "\\x%02x", c);
    } else if (c < 0x7f) {
        (void)snprintf(out, 12, "%c", c);
    } else if (c <= 0xa0 || c == 0xad) {
        (void)snprintf(out, 12, "\\u%04x", c);
    } else {
        (void)snprintf(out, 12, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
    }
}

/* Go reads a blank behind the end, which stands wrong in the middle of a literal or an escape. */
static bool blank_is_wrong(const char *where)
{
    static const char *const places[] = {"in literal ",  "in numeric ",      "after decimal ",
                                         "in exponent ", "in string escape", "in \\u hexadecimal"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(places) && !found; i++) {
        found = strncmp(where, places[i], strlen(places[i])) == 0;
    }
    return found;
}

static enum st wrong(struct scan *s, const char *where)
{
    if (s->at >= s->len && s->form == JSON_SCAN_WHOLE && blank_is_wrong(where)) {
        return err_set(s->err, ST_INVALID, 0, "invalid character ' ' %s", where);
    }
    if (s->at >= s->len) {
        return err_set(s->err, ST_INVALID, 0,
                       s->form == JSON_SCAN_WHOLE ? "unexpected end of JSON input"
                                                  : "unexpected EOF");
    }
    char c[12];
    quoted(c, s->p[s->at]);
    if (s->form == JSON_SCAN_WHOLE) {
        return err_set(s->err, ST_INVALID, 0, "invalid character '%s' %s", c, where);
    }
    return err_set(s->err, ST_INVALID, 0, "invalid character '%s' %s at offset %zu", c, where,
                   s->at + 1);
}

static bool is(const struct scan *s, unsigned char c)
{
    return s->at < s->len && s->p[s->at] == c;
}

static enum st literal(struct scan *s, const char *word)
{
    for (size_t i = 0; word[i] != '\0'; i++, s->at++) {
        if (!is(s, (unsigned char)word[i])) {
            char where[48];
            (void)snprintf(where, sizeof where, "in literal %s (expecting '%c')", word, word[i]);
            return wrong(s, where);
        }
    }
    return ST_OK;
}

static enum st digits(struct scan *s, const char *where)
{
    if (s->at >= s->len || !digit(s->p[s->at])) {
        return wrong(s, where);
    }
    while (s->at < s->len && digit(s->p[s->at])) {
        s->at++;
    }
    return ST_OK;
}

static enum st number(struct scan *s)
{
    enum st st = ST_OK;
    s->at += is(s, '-') ? 1 : 0;
    if (is(s, '0')) {
        s->at++;
    } else {
        st = digits(s, "in numeric literal");
    }
    if (st == ST_OK && is(s, '.')) {
        s->at++;
        st = digits(s, "after decimal point in numeric literal");
    }
    if (st == ST_OK && (is(s, 'e') || is(s, 'E'))) {
        s->at++;
        s->at += is(s, '+') || is(s, '-') ? 1 : 0;
        st = digits(s, "in exponent of numeric literal");
    }
    return st;
}

static bool hex(unsigned char c)
{
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static enum st escape(struct scan *s)
{
    s->at++;
    if (s->at < s->len && s->p[s->at] != '\0' && strchr("bfnrt\\/\"", s->p[s->at]) != NULL) {
        s->at++;
        return ST_OK;
    }
    if (!is(s, 'u')) {
        return wrong(s, "in string escape code");
    }
    s->at++;
    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at >= s->len || !hex(s->p[s->at])) {
            return wrong(s, "in \\u hexadecimal character escape");
        }
    }
    return ST_OK;
}

static enum st string(struct scan *s)
{
    s->at++;
    while (!is(s, '"')) {
        if (s->at >= s->len || s->p[s->at] < ' ') {
            return wrong(s, "in string literal");
        }
        if (is(s, '\\')) {
            enum st st = escape(s);
            if (st != ST_OK) {
                return st;
            }
        } else {
            s->at++;
        }
    }
    s->at++;
    return ST_OK;
}

static enum st scalar(struct scan *s)
{
    unsigned char c = s->at < s->len ? s->p[s->at] : 0;
    switch (c) {
    case '"':
        return string(s);
    case 't':
        return literal(s, "true");
    case 'f':
        return literal(s, "false");
    case 'n':
        return literal(s, "null");
    default:
        return c == '-' || digit(c) ? number(s) : wrong(s, "looking for beginning of value");
    }
}

/* Up to the value of the next member. */
static enum st member(struct scan *s)
{
    skip_blanks(s);
    enum st st = is(s, '"') ? string(s) : wrong(s, "looking for beginning of object key string");
    if (st != ST_OK) {
        return st;
    }
    skip_blanks(s);
    if (!is(s, ':')) {
        return wrong(s, "after object key");
    }
    s->at++;
    return ST_OK;
}

/* Bit i of `objects`: what level i is. */
struct nest {
    uint32_t objects;
    unsigned depth;
};

static enum st opened(struct scan *s, struct nest *n, bool *value_next)
{
    bool object = s->p[s->at++] == '{';
    if (n->depth == JSON_DEPTH_MAX) {
        return err_set(s->err, ST_INVALID, 0, "exceeded max depth");
    }
    skip_blanks(s);
    *value_next = !is(s, object ? '}' : ']');
    n->objects = object ? n->objects | 1u << n->depth : n->objects & ~(1u << n->depth);
    n->depth++;
    return object && *value_next ? member(s) : ST_OK;
}

/* Behind a value, or at the end of an empty object or array. */
static enum st closed(struct scan *s, struct nest *n, bool *value_next)
{
    bool object = (n->objects >> (n->depth - 1) & 1u) != 0;
    *value_next = false;
    if (is(s, object ? '}' : ']')) {
        s->at++;
        n->depth--;
        return ST_OK;
    }
    if (!is(s, ',')) {
        return wrong(s, object ? "after object key:value pair" : "after array element");
    }
    s->at++;
    *value_next = true;
    return object ? member(s) : ST_OK;
}

static enum st value(struct scan *s)
{
    _Static_assert(JSON_DEPTH_MAX <= 32, "a bit for each level");
    struct nest n = {0};
    bool value_next = true;
    enum st st = ST_OK;
    do {
        skip_blanks(s);
        if (!value_next) {
            st = closed(s, &n, &value_next);
        } else if (is(s, '{') || is(s, '[')) {
            st = opened(s, &n, &value_next);
        } else {
            st = scalar(s);
            value_next = false;
        }
    } while (st == ST_OK && (value_next || n.depth > 0));
    return st;
}

enum st json_scan(const void *p, size_t len, enum json_scan_form form, size_t *at, size_t *from,
                  struct err *err)
{
    struct scan s = {.p = p, .len = len, .at = *at, .form = form, .err = err};
    skip_blanks(&s);
    if (s.at == s.len && form == JSON_SCAN_NEXT) {
        *at = s.at;
        return ST_NOTFOUND;
    }
    *from = s.at;
    enum st st = value(&s);
    if (st == ST_OK && form == JSON_SCAN_WHOLE) {
        size_t end = s.at;
        skip_blanks(&s);
        if (s.at < s.len) {
            return wrong(&s, "after top-level value");
        }
        s.at = end;
    }
    *at = s.at;
    return st;
}
