/* Reading a parsed config: look-ups, durations, the canonical JSON form. */
#include "broker/conf.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/base.h"

const struct brk_conf_value *brk_conf_get(const struct brk_conf_value *map, const char *key)
{
    for (size_t i = map->entries_count; i > 0; i--) { /* the last one wins */
        if (strcmp(map->entries[i - 1].key, key) == 0) {
            return map->entries[i - 1].value;
        }
    }
    return NULL;
}

const char *brk_conf_kind_text(enum brk_conf_kind kind)
{
    switch (kind) {
    case BRK_CONF_BOOL:
        return "a boolean";
    case BRK_CONF_INT:
        return "an integer";
    case BRK_CONF_FLOAT:
        return "a float";
    case BRK_CONF_STRING:
        return "a string";
    case BRK_CONF_DATE:
        return "a date";
    case BRK_CONF_ARRAY:
        return "an array";
    case BRK_CONF_MAP:
        return "a block";
    }
    return "nothing";
}

/* --- durations -------------------------------------------------------------------------------- */

struct unit {
    const char *text;
    double ns;
};

/* The longer spellings first, so that "ms" is not taken for "m". */
static const struct unit units[] = {
    {"ns", 1},   {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3},
    {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9},
};

static const struct unit *find_unit(const char *s)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strncmp(s, units[i].text, strlen(units[i].text)) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* Reads digits[.digits]; returns the end, or NULL when there is no digit. Whole and fraction are
 * kept apart, so that nanoseconds stay exact. */
static const char *read_number(const char *s, uint64_t *whole, double *fraction)
{
    size_t digits = 0;
    *whole = 0;
    *fraction = 0;
    for (; *s >= '0' && *s <= '9'; s++, digits++) {
        if (*whole > (uint64_t)INT64_MAX / 10 - 1) {
            return NULL;
        }
        *whole = *whole * 10 + (uint64_t)(*s - '0');
    }
    if (*s == '.') {
        double scale = 0.1;
        for (s++; *s >= '0' && *s <= '9'; s++, digits++, scale /= 10) {
            *fraction += (*s - '0') * scale;
        }
    }
    return digits == 0 ? NULL : s;
}

enum st brk_conf_duration(const char *text, int64_t *ns_out, struct err *err)
{
    const char *s = text;
    bool negative = *s == '-';
    double total = 0;
    int64_t exact = 0;
    if (*s == '-' || *s == '+') {
        s++;
    }
    if (strcmp(s, "0") == 0) {
        *ns_out = 0;
        return ST_OK;
    }
    if (*s == '\0') {
        return err_set(err, ST_INVALID, 0, "invalid duration \"%.64s\"", text);
    }
    while (*s != '\0') {
        uint64_t whole;
        double fraction;
        s = read_number(s, &whole, &fraction);
        if (s == NULL) {
            return err_set(err, ST_INVALID, 0, "invalid duration \"%.64s\"", text);
        }
        const struct unit *u = find_unit(s);
        if (u == NULL) {
            return *s == '\0'
                       ? err_set(err, ST_INVALID, 0, "missing unit in duration \"%.64s\"", text)
                       : err_set(err, ST_INVALID, 0, "unknown unit in duration \"%.64s\"", text);
        }
        s += strlen(u->text);
        total += ((double)whole + fraction) * u->ns;
        if (total >= 9.2e18) {
            return err_set(err, ST_INVALID, 0, "duration \"%.64s\" is out of range", text);
        }
        exact += (int64_t)whole * (int64_t)u->ns + (int64_t)llround(fraction * u->ns);
    }
    *ns_out = negative ? -exact : exact;
    return ST_OK;
}

/* --- canonical JSON --------------------------------------------------------------------------- */

struct out {
    char *buf;
    size_t len, cap, max;
    bool full; /* max was reached; what is written after that is dropped */
};

static void out_bytes(struct out *o, const char *p, size_t n)
{
    if (o->full || n > o->max - o->len) {
        o->full = true;
        return;
    }
    if (o->len + n + 1 > o->cap) {
        o->cap = (o->len + n + 1) * 2;
        o->buf = base_realloc(o->buf, o->cap);
    }
    memcpy(o->buf + o->len, p, n);
    o->len += n;
    o->buf[o->len] = '\0';
}

static void out_text(struct out *o, const char *s)
{
    out_bytes(o, s, strlen(s));
}

/* Length of a valid UTF-8 sequence at p, 0 when there is none. */
static size_t utf8_len(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;
    if (n == 0 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90)) {
        return 0;
    }
    return n;
}

static void out_string(struct out *o, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    out_text(o, "\"");
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len(p + i, len - i);
        char esc[8];
        if (n == 0) {
            out_text(o, "\\ufffd");
            i++;
            continue;
        }
        if (p[i] == '"' || p[i] == '\\') {
            snprintf(esc, sizeof esc, "\\%c", p[i]);
        } else if (p[i] == '\n' || p[i] == '\r' || p[i] == '\t' || p[i] == '\b' || p[i] == '\f') {
            const char *names = "\nn\rr\tt\bb\ff";
            snprintf(esc, sizeof esc, "\\%c", strchr(names, p[i])[1]);
        } else if (p[i] < 0x20 || strchr("<>&", p[i]) != NULL) {
            snprintf(esc, sizeof esc, "\\u%04x", p[i]);
        } else if (n == 3 && p[i] == 0xe2 && p[i + 1] == 0x80 &&
                   (p[i + 2] == 0xa8 || p[i + 2] == 0xa9)) {
            snprintf(esc, sizeof esc, "\\u20%02x", p[i + 2] - 0x80);
        } else {
            out_bytes(o, s + i, n);
            i += n;
            continue;
        }
        out_text(o, esc);
        i += n;
    }
    out_text(o, "\"");
}

static int by_key(const void *a, const void *b)
{
    const struct brk_conf_entry *x = *(const struct brk_conf_entry *const *)a;
    const struct brk_conf_entry *y = *(const struct brk_conf_entry *const *)b;
    size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
    int c = memcmp(x->key, y->key, n);
    if (c == 0) {
        c = x->key_len < y->key_len ? -1 : x->key_len > y->key_len;
    }
    return c != 0 ? c : x < y ? -1 : x > y;
}

static void out_value(struct out *o, const struct brk_conf_value *v);

static void out_map(struct out *o, const struct brk_conf_value *v)
{
    const struct brk_conf_entry **sorted = base_malloc((v->entries_count + 1) * sizeof *sorted);
    bool first = true;
    for (size_t i = 0; i < v->entries_count; i++) {
        sorted[i] = &v->entries[i];
    }
    qsort(sorted, v->entries_count, sizeof *sorted, by_key);
    out_text(o, "{");
    for (size_t i = 0; i < v->entries_count && !o->full; i++) {
        const struct brk_conf_entry *e = sorted[i];
        if (i + 1 < v->entries_count && sorted[i + 1]->key_len == e->key_len &&
            memcmp(sorted[i + 1]->key, e->key, e->key_len) == 0) {
            continue; /* a later one of the same name wins */
        }
        out_text(o, first ? "" : ",");
        first = false;
        out_string(o, e->key, e->key_len);
        out_text(o, ":");
        out_value(o, e->value);
    }
    out_text(o, "}");
    base_free(sorted);
}

/* The shortest decimal that reads back as the same number; with an exponent only below 1e-6 and
 * from 1e21 on.
 */
static void out_float(struct out *o, double f)
{
    char num[400];
    int digits = 0;
    do {
        snprintf(num, sizeof num, "%.*e", digits, f);
    } while (strtod(num, NULL) != f && ++digits <= 17);
    int exponent = (int)strtol(strchr(num, 'e') + 1, NULL, 10);
    if (f == 0 || (exponent >= -6 && exponent < 21)) {
        snprintf(num, sizeof num, "%.*f", digits > exponent ? digits - exponent : 0, f);
    } else {
        snprintf(num, sizeof num, "%.*g", digits + 1, f);
        char *e = strchr(num, 'e'); /* Go writes e-7, not e-07 */
        if (e != NULL && e[2] == '0') {
            memmove(e + 2, e + 3, strlen(e + 3) + 1);
        }
    }
    out_text(o, num);
}

static void out_value(struct out *o, const struct brk_conf_value *v)
{
    char num[32];
    switch (v->kind) {
    case BRK_CONF_BOOL:
        out_text(o, v->u.b ? "true" : "false");
        return;
    case BRK_CONF_INT:
        snprintf(num, sizeof num, "%lld", (long long)v->u.i);
        out_text(o, num);
        return;
    case BRK_CONF_FLOAT:
        out_float(o, v->u.f);
        return;
    case BRK_CONF_STRING:
    case BRK_CONF_DATE:
        out_string(o, v->text, v->text_len);
        return;
    case BRK_CONF_ARRAY:
        out_text(o, "[");
        for (size_t i = 0; i < v->entries_count && !o->full; i++) {
            out_text(o, i == 0 ? "" : ",");
            out_value(o, v->entries[i].value);
        }
        out_text(o, "]");
        return;
    case BRK_CONF_MAP:
        out_map(o, v);
        return;
    }
}

char *brk_conf_json(const struct brk_conf *conf, size_t max)
{
    struct out o = {.max = max};
    out_value(&o, brk_conf_root(conf));
    out_text(&o, "\n");
    if (o.full) {
        base_free(o.buf);
        return NULL;
    }
    return o.buf;
}
