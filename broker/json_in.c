#include "broker/json_in.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "broker/json_out.h"
#include "broker/json_scan.h"
#include "engine/base/base.h"

/* --- documents -------------------------------------------------------------------------------- */

/* json-c looks at the shape of sequences only; overlong forms and surrogates would slip through. */
static enum st check_utf8(const unsigned char *p, size_t len, struct err *err)
{
    for (size_t i = 0; i < len;) {
        size_t n = json_utf8_len(p + i, len - i);
        if (n == 0) {
            return err_set(err, ST_INVALID, 0, "invalid UTF-8 at offset %zu", i);
        }
        i += n;
    }
    return ST_OK;
}

/* Whether the literal's digits exceed what 64 bits hold. */
static bool too_big(const unsigned char *digits, size_t n, bool negative)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(digits[i] - '0'), &v)) {
            return true;
        }
    }
    return negative && v > (uint64_t)INT64_MAX + 1;
}

/* json-c makes the nearest number of an integer that does not fit; a purge up to 2^64 must not
 * become one up to 2^64-1. */
static enum st check_numbers(const unsigned char *p, size_t len, struct err *err)
{
    bool string = false;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '"') {
            string = !string;
        } else if (string && p[i] == '\\') {
            i++;
        } else if (!string && p[i] >= '0' && p[i] <= '9') {
            size_t from = i;
            while (i < len && p[i] >= '0' && p[i] <= '9') {
                i++;
            }
            bool fraction = i < len && (p[i] == '.' || p[i] == 'e' || p[i] == 'E');
            bool inside = from > 0 && (p[from - 1] == '.' || p[from - 1] == 'e' ||
                                       p[from - 1] == 'E' || p[from - 1] == '+');
            if (!fraction && !inside && i - from > 18 &&
                too_big(p + from, i - from, from > 0 && p[from - 1] == '-')) {
                int shown = i - from > 64 ? 64 : (int)(i - from);
                return err_set(err, ST_INVALID, 0,
                               "json: cannot unmarshal number %.*s into 64 bits", shown,
                               (const char *)p + from);
            }
            i--;
        }
    }
    return ST_OK;
}

/* A value whose syntax json_scan has let through. */
static enum st parse_value(struct json_in *in, const void *p, size_t len, struct err *err)
{
    enum st st = check_utf8(p, len, err);
    if (st == ST_OK) {
        st = check_numbers(p, len, err);
    }
    if (st != ST_OK) {
        return st;
    }
    struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX);
    if (tok == NULL) {
        return err_set(err, ST_NOMEM, 0, "out of memory");
    }
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    in->root = json_tokener_parse_ex(tok, p, (int)len);
    if (json_tokener_get_error(tok) == json_tokener_continue) {
        /* a number or `null` at the very end wants to see that nothing follows */
        in->root = json_tokener_parse_ex(tok, " ", 1);
    }
    enum json_tokener_error e = json_tokener_get_error(tok);
    json_tokener_free(tok);
    if (e != json_tokener_success) {
        return err_set(err, ST_INVALID, 0, "%s", json_tokener_error_desc(e));
    }
    return ST_OK;
}

enum st json_in_parse(struct json_in *in, const void *p, size_t len, struct err *err)
{
    size_t at = 0, from;
    in->root = NULL;
    if (len > INT32_MAX) {
        return err_set(err, ST_TOOBIG, 0, "request too large");
    }
    enum st st = json_scan(p, len, JSON_SCAN_WHOLE, &at, &from, err);
    return st == ST_OK ? parse_value(in, (const char *)p + from, at - from, err) : st;
}

enum st json_in_read(struct json_decode *d, const void *p, size_t len, const struct json_schema *s,
                     void *base, struct err *err)
{
    size_t at = 0, from;
    enum st st;
    if (len > INT32_MAX) {
        return err_set(err, ST_TOOBIG, 0, "request too large");
    }
    while ((st = json_scan(p, len, JSON_SCAN_NEXT, &at, &from, err)) == ST_OK) {
        struct json_in in = {0};
        st = parse_value(&in, (const char *)p + from, at - from, err);
        if (st == ST_OK) {
            st = json_in_decode(d, in.root, s, base, err);
        }
        json_in_fini(&in);
        if (st != ST_OK) {
            return st;
        }
    }
    return st == ST_NOTFOUND ? ST_OK : st;
}

void json_in_fini(struct json_in *in)
{
    json_object_put(in->root);
    in->root = NULL;
}

void json_strings_fini(struct json_strings *s)
{
    for (size_t i = 0; i < s->n; i++) {
        base_free(s->v[i]);
    }
    base_free(s->v);
    *s = (struct json_strings){0};
}

void json_map_fini(struct json_map *m)
{
    for (size_t i = 0; i < m->n; i++) {
        base_free(m->v[i].key);
        base_free(m->v[i].value);
    }
    base_free(m->v);
    *m = (struct json_map){0};
}

/* --- errors ----------------------------------------------------------------------------------- */

static const char *kind_word(struct json_object *v)
{
    switch (json_object_get_type(v)) {
    case json_type_boolean:
        return "bool";
    case json_type_double:
    case json_type_int:
        return "number";
    case json_type_object:
        return "object";
    case json_type_array:
        return "array";
    case json_type_string:
        return "string";
    case json_type_null:
    default:
        return "null";
    }
}

enum st json_in_type_error(struct json_object *v, const char *where, const char *go_type,
                           struct err *err)
{
    enum json_type t = json_object_get_type(v);
    bool number = (t == json_type_double || t == json_type_int) &&
                  (strncmp(go_type, "int", 3) == 0 || strncmp(go_type, "uint", 4) == 0 ||
                   strcmp(go_type, "time.Duration") == 0);
    return err_set(err, ST_INVALID, 0,
                   "json: cannot unmarshal %s%s%s into Go struct field %s of type %s", kind_word(v),
                   number ? " " : "", number ? json_object_get_string(v) : "", where, go_type);
}

const char *json_in_string(struct json_object *v)
{
    if (json_object_get_type(v) != json_type_string) {
        return NULL;
    }
    const char *s = json_object_get_string(v);
    return strlen(s) == (size_t)json_object_get_string_len(v) ? s : NULL; /* no NUL inside */
}

enum st json_in_bad_policy(struct json_object *v, struct err *err)
{
    const char *s = json_in_string(v);
    if (s != NULL) {
        return err_set(err, ST_INVALID, 0, "can not unmarshal \"\\\"%.100s\\\"\"", s);
    }
    s = v == NULL ? "null" : json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN);
    char text[201]; /* as Go's %q shows it */
    size_t n = 0;
    for (; *s != '\0' && n + 2 < sizeof text; s++) {
        if (*s == '"' || *s == '\\') {
            text[n++] = '\\';
        }
        text[n++] = *s;
    }
    text[n] = '\0';
    return err_set(err, ST_INVALID, 0, "can not unmarshal \"%s\"", text);
}

/* --- values ----------------------------------------------------------------------------------- */

static bool digits(const char *s, size_t n, int *out)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        v = v * 10 + (s[i] - '0');
    }
    *out = v;
    return true;
}

static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static bool leap(int y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Fraction of a second, as ns; digits beyond nine are dropped. Returns the bytes read, 0 when there
 * is none.
 */
static size_t fraction(const char *s, size_t len, int64_t *ns_out)
{
    size_t i = 1;
    int64_t ns = 0;
    int64_t unit = NS_PER_S / 10;
    for (; i < len && s[i] >= '0' && s[i] <= '9'; i++) {
        ns += (s[i] - '0') * unit;
        unit /= 10;
    }
    *ns_out = ns;
    return i > 1 ? i : 0;
}

/* "Z" or "+01:00" at the end, as seconds east. */
static bool zone(const char *s, size_t len, int64_t *east_s_out)
{
    int h, m;
    if (len == 1 && s[0] == 'Z') {
        *east_s_out = 0;
        return true;
    }
    if (len != 6 || (s[0] != '+' && s[0] != '-') || s[3] != ':' || !digits(s + 1, 2, &h) ||
        !digits(s + 4, 2, &m) || h > 23 || m > 59) {
        return false;
    }
    *east_s_out = (h * 3600 + m * 60) * (s[0] == '-' ? -1 : 1);
    return true;
}

/* As Go reads it: the hour may have one digit, the fraction a comma. */
bool json_time_parse(const char *s, size_t len, int64_t *ns_out)
{
    int y, mo, d, h, mi, sec;
    if (len < 19 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || !digits(s, 4, &y) ||
        !digits(s + 5, 2, &mo) || !digits(s + 8, 2, &d)) {
        return false;
    }
    size_t hours = s[12] == ':' ? 1 : 2, at = 11 + hours; /* of the first colon */
    if (len < at + 7 || s[at] != ':' || s[at + 3] != ':' || !digits(s + 11, hours, &h) ||
        !digits(s + at + 1, 2, &mi) || !digits(s + at + 4, 2, &sec)) {
        return false;
    }
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (mo < 1 || mo > 12 || d < 1 || d > month_days[mo - 1] + (mo == 2 && leap(y) ? 1 : 0) ||
        h > 23 || mi > 59 || sec > 59) {
        return false;
    }
    at += 6;
    int64_t ns = 0, east_s = 0;
    if (s[at] == '.' || s[at] == ',') {
        size_t n = fraction(s + at, len - at, &ns);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    if (!zone(s + at, len - at, &east_s)) {
        return false;
    }
    if (y == 1 && mo == 1 && d == 1 && h == 0 && mi == 0 && sec == 0 && ns == 0) {
        *ns_out = 0; /* Go's zero time */
        return true;
    }
    int64_t t = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - east_s;
    if (t >= INT64_MAX / NS_PER_S || t <= INT64_MIN / NS_PER_S) {
        t = t < 0 ? INT64_MIN / NS_PER_S + 1 : INT64_MAX / NS_PER_S - 1;
        ns = 0;
    }
    *ns_out = t * NS_PER_S + ns;
    return true;
}

/* An integer within [lo, hi]. */
static bool integer(struct json_object *v, int64_t lo, int64_t hi, int64_t *out)
{
    if (json_object_get_type(v) != json_type_int) {
        return false;
    }
    int64_t n = json_object_get_int64(v);
    if (n == INT64_MAX && json_object_get_uint64(v) != (uint64_t)INT64_MAX) {
        return false;
    }
    if (n < lo || n > hi) {
        return false;
    }
    *out = n;
    return true;
}

static enum st get_strings(struct json_object *v, struct json_strings *out, const char *where,
                           struct err *err)
{
    if (json_object_get_type(v) != json_type_array) {
        return json_in_type_error(v, where, "[]string", err);
    }
    json_strings_fini(out);
    size_t n = json_object_array_length(v);
    out->given = true;
    if (n == 0) {
        return ST_OK;
    }
    out->v = base_calloc(n, sizeof *out->v);
    for (size_t i = 0; i < n; i++) {
        struct json_object *e = json_object_array_get_idx(v, i);
        const char *s = e == NULL ? "" : json_in_string(e);
        if (s == NULL) {
            return json_in_type_error(e, where, "string", err);
        }
        out->v[out->n++] = base_strdup(s);
    }
    return ST_OK;
}

static enum st get_durations(struct json_object *v, struct json_durations *out, const char *where,
                             struct err *err)
{
    if (json_object_get_type(v) != json_type_array) {
        return json_in_type_error(v, where, "[]time.Duration", err);
    }
    base_free(out->v);
    *out = (struct json_durations){0};
    size_t n = json_object_array_length(v);
    if (n == 0) {
        return ST_OK;
    }
    out->v = base_calloc(n, sizeof *out->v);
    for (size_t i = 0; i < n; i++) {
        struct json_object *e = json_object_array_get_idx(v, i);
        if (!integer(e, INT64_MIN, INT64_MAX, &out->v[out->n])) {
            return json_in_type_error(e, where, "time.Duration", err);
        }
        out->n++;
    }
    return ST_OK;
}

static int cmp_pair(const void *a, const void *b)
{
    return strcmp(((const struct json_pair *)a)->key, ((const struct json_pair *)b)->key);
}

static enum st get_map(struct json_object *v, struct json_map *out, const char *where,
                       struct err *err)
{
    if (json_object_get_type(v) != json_type_object) {
        return json_in_type_error(v, where, "map[string]string", err);
    }
    json_map_fini(out);
    int n = json_object_object_length(v);
    if (n <= 0) {
        return ST_OK;
    }
    out->v = base_calloc((size_t)n, sizeof *out->v);
    struct json_object_iterator it = json_object_iter_begin(v), end = json_object_iter_end(v);
    for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        struct json_object *e = json_object_iter_peek_value(&it);
        const char *s = e == NULL ? "" : json_in_string(e);
        if (s == NULL) {
            return json_in_type_error(e, where, "string", err);
        }
        out->v[out->n].key = base_strdup(json_object_iter_peek_name(&it));
        out->v[out->n].value = base_strdup(s);
        out->n++;
    }
    qsort(out->v, out->n, sizeof *out->v, cmp_pair);
    return ST_OK;
}

/* False, 0, "", [] and {} are what an absent field means. */
static bool is_default(struct json_object *v)
{
    switch (json_object_get_type(v)) {
    case json_type_boolean:
        return !json_object_get_boolean(v);
    case json_type_int:
        return json_object_get_int64(v) == 0;
    case json_type_string:
        return json_object_get_string_len(v) == 0 ||
               strcmp(json_object_get_string(v), "none") == 0 ||
               strcmp(json_object_get_string(v), "0001-01-01T00:00:00Z") == 0;
    case json_type_array:
        return json_object_array_length(v) == 0;
    case json_type_object: {
        struct json_object_iterator it = json_object_iter_begin(v), end = json_object_iter_end(v);
        for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
            struct json_object *e = json_object_iter_peek_value(&it);
            if (e != NULL && !is_default(e)) {
                return false;
            }
        }
        return true;
    }
    case json_type_double:
        return false;
    case json_type_null:
    default:
        return true;
    }
}

void json_structs_fini(struct json_structs *s, const struct json_elem *type)
{
    for (size_t i = 0; i < s->n; i++) {
        type->free((char *)s->v + i * type->size);
    }
    base_free(s->v);
    *s = (struct json_structs){0};
}

/* JSON null among the elements is an element of nothing. */
static enum st get_structs(struct json_decode *d, const struct json_field *f, struct json_object *v,
                           struct json_structs *to, const char *where, struct err *err)
{
    const struct json_elem *type = (const struct json_elem *)(const void *)f->sub;
    bool many = f->kind == JSON_STRUCTS;
    if (json_object_get_type(v) != (many ? json_type_array : json_type_object)) {
        char name[96];
        (void)snprintf(name, sizeof name, "%s%s", many ? "[]*" : "", f->sub->go_type);
        return json_in_type_error(v, where, name, err);
    }
    json_structs_fini(to, type);
    size_t n = many ? json_object_array_length(v) : 1;
    if (n == 0) {
        return ST_OK;
    }
    to->v = base_calloc(n, type->size);
    for (; to->n < n; to->n++) {
        struct json_object *e = many ? json_object_array_get_idx(v, to->n) : v;
        if (e != NULL && json_object_get_type(e) != json_type_object) {
            return json_in_type_error(e, where, f->sub->go_type, err);
        }
        enum st st = json_in_decode(d, e, f->sub, (char *)to->v + to->n * type->size, err);
        if (st != ST_OK) {
            to->n++; /* what was read of it is owned too */
            return st;
        }
    }
    return ST_OK;
}

static enum st get_scalar(const struct json_field *f, struct json_object *v, void *to,
                          const char *where, struct err *err)
{
    const char *s = json_in_string(v);
    int64_t n;
    switch (f->kind) {
    case JSON_STRING:
        if (s == NULL) {
            return json_in_type_error(v, where, "string", err);
        }
        base_free(*(char **)to);
        *(char **)to = base_strdup(s);
        return ST_OK;
    case JSON_I64:
    case JSON_INT:
    case JSON_DURATION:
        if (!integer(v, INT64_MIN, INT64_MAX, &n)) {
            const char *type = f->kind == JSON_I64   ? "int64"
                               : f->kind == JSON_INT ? "int"
                                                     : "time.Duration";
            return json_in_type_error(v, where, type, err);
        }
        *(int64_t *)to = n;
        return ST_OK;
    case JSON_I32:
        if (!integer(v, INT32_MIN, INT32_MAX, &n)) {
            return json_in_type_error(v, where, "int32", err);
        }
        *(int64_t *)to = n;
        return ST_OK;
    case JSON_U64:
        if (json_object_get_type(v) != json_type_int ||
            (json_object_get_int64(v) < 0 && json_object_get_uint64(v) <= (uint64_t)INT64_MAX)) {
            return json_in_type_error(v, where, "uint64", err);
        }
        *(uint64_t *)to = json_object_get_uint64(v);
        return ST_OK;
    case JSON_BOOL:
        if (json_object_get_type(v) != json_type_boolean) {
            return json_in_type_error(v, where, "bool", err);
        }
        *(bool *)to = json_object_get_boolean(v) != 0;
        return ST_OK;
    case JSON_TIME:
    case JSON_TIME_PTR:
        if (s == NULL) {
            return err_set(err, ST_INVALID, 0, "Time.UnmarshalJSON: input is not a JSON string");
        }
        if (!json_time_parse(s, strlen(s), to)) {
            return err_set(err, ST_INVALID, 0,
                           "parsing time \"%.60s\" as \"2006-01-02T15:04:05Z07:00\": cannot parse "
                           "\"%.60s\" as \"2006\"",
                           s, s);
        }
        if (f->kind == JSON_TIME_PTR && *(int64_t *)to == 0) {
            *(int64_t *)to = s[0] == '1' ? JSON_EPOCH_TIME : JSON_ZERO_TIME;
        }
        return ST_OK;
    case JSON_STRINGS:
    case JSON_DURATIONS:
    case JSON_MAP:
    case JSON_OBJECT:
    case JSON_STRUCT:
    case JSON_STRUCTS:
    case JSON_CUSTOM:
    case JSON_UNSERVED:
    default:
        ASSERT(false);
        return ST_INTERNAL;
    }
}

static enum st get_field(struct json_decode *d, const struct json_schema *s,
                         const struct json_field *f, struct json_object *v, void *base,
                         struct err *err)
{
    char where[160];
    if (v == NULL && f->kind != JSON_CUSTOM) {
        return ST_OK; /* null: as if it were not there */
    }
    bool embedded = f->sub != NULL && f->sub->n == 0;
    (void)snprintf(where, sizeof where, "%s.%s", embedded ? f->sub->go_name : s->go_name, f->name);
    void *to = (char *)base + f->offset;
    switch (f->kind) {
    case JSON_STRINGS:
        return get_strings(v, to, where, err);
    case JSON_DURATIONS:
        return get_durations(v, to, where, err);
    case JSON_MAP:
        return get_map(v, to, where, err);
    case JSON_OBJECT:
        if (json_object_get_type(v) != json_type_object) {
            return json_in_type_error(v, where, f->sub->go_type, err);
        }
        return json_in_decode(d, v, f->sub, base, err);
    case JSON_STRUCT:
    case JSON_STRUCTS:
        return get_structs(d, f, v, to, where, err);
    case JSON_CUSTOM:
        d->hard = true;
        return f->custom(base, f->offset, v, err);
    case JSON_UNSERVED:
        if (d->unserved == NULL && !is_default(v)) {
            d->unserved = f->name;
        }
        return ST_OK;
    case JSON_STRING:
    case JSON_I64:
    case JSON_INT:
    case JSON_I32:
    case JSON_U64:
    case JSON_BOOL:
    case JSON_DURATION:
        return get_scalar(f, v, to, where, err);
    case JSON_TIME:
    case JSON_TIME_PTR:
    default:
        d->hard = true;
        return get_scalar(f, v, to, where, err);
    }
}

/* Go matches names exactly first, then without regard to case. */
static const struct json_field *find_field(const struct json_schema *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->fields[i].name, name) == 0) {
            return &s->fields[i];
        }
    }
    for (size_t i = 0; i < s->n; i++) {
        if (strcasecmp(s->fields[i].name, name) == 0) {
            return &s->fields[i];
        }
    }
    return NULL;
}

static enum st get_member(struct json_decode *d, const struct json_schema *s, const char *name,
                          struct json_object *v, void *base, struct err *err)
{
    const struct json_field *f = find_field(s, name);
    if (f != NULL) {
        return get_field(d, s, f, v, base, err);
    }
    return d->strict ? err_set(err, ST_INVALID, 0, "json: unknown field \"%.120s\"", name) : ST_OK;
}

enum st json_in_decode(struct json_decode *d, struct json_object *o, const struct json_schema *s,
                       void *base, struct err *err)
{
    if (o == NULL) {
        return ST_OK;
    }
    if (json_object_get_type(o) != json_type_object) {
        return err_set(err, ST_INVALID, 0, "json: cannot unmarshal %s into Go value of type %s",
                       kind_word(o), s->go_type);
    }
    struct json_object_iterator it = json_object_iter_begin(o), end = json_object_iter_end(o);
    struct err first, now;
    enum st st = ST_OK;
    for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        d->hard = false;
        now = (struct err){0};
        enum st one = get_member(d, s, json_object_iter_peek_name(&it),
                                 json_object_iter_peek_value(&it), base, &now);
        if (one != ST_OK && (st == ST_OK || d->hard)) {
            st = one;
            first = now;
        }
        if (one != ST_OK && d->hard) {
            break;
        }
    }
    if (st != ST_OK && err != NULL) {
        *err = first;
    }
    return st;
}
