/* What is known of an object, as the JSON that stands in its meta message (ADR-20): members in the
 * order of the clients' structs, mtime as they write it (the zero time: readers take the
 * message's). What comes from a stream is anybody's: types are checked, unknown members passed
 * over. Pure. */
#include "objstore/obj_int.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/subject.h"

#define JSON_DEPTH_MAX 16

void obj_info_fini(struct obj_info *i)
{
    base_free(i->name);
    base_free(i->description);
    base_free(i->bucket);
    base_free(i->nuid);
    base_free(i->digest);
    base_free(i->link_bucket);
    base_free(i->link_name);
    for (size_t k = 0; k < i->nheaders; k++) {
        base_free(i->headers[k].name);
        base_free(i->headers[k].value);
    }
    base_free(i->headers);
    for (size_t k = 0; k < i->nmetadata; k++) {
        base_free(i->metadata[k].key);
        base_free(i->metadata[k].value);
    }
    base_free(i->metadata);
    *i = (struct obj_info){0};
}

static char *dup_or_null(const char *s)
{
    return s == NULL ? NULL : base_strdup(s);
}

static void put_headers(struct obj_info *i, const struct obj_header *v, size_t n)
{
    i->headers = n == 0 ? NULL : base_calloc(n, sizeof *i->headers);
    for (i->nheaders = 0; i->nheaders < n; i->nheaders++) {
        i->headers[i->nheaders] = (struct obj_header){base_strdup(v[i->nheaders].name),
                                                      base_strdup(v[i->nheaders].value)};
    }
}

static void put_metadata(struct obj_info *i, const struct store_kv *v, size_t n)
{
    i->metadata = n == 0 ? NULL : base_calloc(n, sizeof *i->metadata);
    for (i->nmetadata = 0; i->nmetadata < n; i->nmetadata++) {
        i->metadata[i->nmetadata] =
            (struct store_kv){base_strdup(v[i->nmetadata].key), base_strdup(v[i->nmetadata].value)};
    }
}

void obj_info_copy(struct obj_info *to, const struct obj_info *from)
{
    *to = *from;
    to->name = dup_or_null(from->name);
    to->description = dup_or_null(from->description);
    to->bucket = dup_or_null(from->bucket);
    to->nuid = dup_or_null(from->nuid);
    to->digest = dup_or_null(from->digest);
    to->link_bucket = dup_or_null(from->link_bucket);
    to->link_name = dup_or_null(from->link_name);
    put_headers(to, from->headers, from->nheaders);
    put_metadata(to, from->metadata, from->nmetadata);
}

void obj_info_from_meta(struct obj_info *i, const struct obj_meta *m)
{
    *i = (struct obj_info){0};
    i->name = base_strdup(m->name);
    i->description =
        m->description != NULL && *m->description != 0 ? base_strdup(m->description) : NULL;
    put_headers(i, m->headers, m->nheaders);
    put_metadata(i, m->metadata, m->nmetadata);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* *out stays as it is where the member is missing; false: it is of another type. */
static bool take_str(json_object *o, const char *key, char **out)
{
    json_object *v;
    if (!json_object_object_get_ex(o, key, &v) || v == NULL) {
        return true;
    }
    if (!json_object_is_type(v, json_type_string)) {
        return false;
    }
    size_t n = (size_t)json_object_get_string_len(v);
    const char *s = json_object_get_string(v);
    if (memchr(s, 0, n) != NULL) {
        return false;
    }
    if (n > 0) {
        base_free(*out);
        *out = base_strndup(s, n);
    }
    return true;
}

static bool take_u64(json_object *o, const char *key, uint64_t *out)
{
    json_object *v;
    if (!json_object_object_get_ex(o, key, &v) || v == NULL) {
        return true;
    }
    int64_t n = json_object_get_int64(v);
    if (!json_object_is_type(v, json_type_int) || n < 0) {
        return false;
    }
    *out = (uint64_t)n;
    return true;
}

static bool take_metadata(json_object *o, struct obj_info *i)
{
    json_object *v;
    if (!json_object_object_get_ex(o, "metadata", &v) || v == NULL) {
        return true;
    }
    if (!json_object_is_type(v, json_type_object)) {
        return false;
    }
    i->metadata = base_calloc((size_t)json_object_object_length(v) + 1, sizeof *i->metadata);
    json_object_object_foreach(v, key, value)
    {
        if (value == NULL || !json_object_is_type(value, json_type_string)) {
            return false;
        }
        i->metadata[i->nmetadata++] =
            (struct store_kv){base_strdup(key), base_strdup(json_object_get_string(value))};
    }
    return true;
}

static bool add_header(struct obj_info *i, const char *name, json_object *value)
{
    if (value == NULL || !json_object_is_type(value, json_type_string)) {
        return false;
    }
    i->headers = base_realloc(i->headers, (i->nheaders + 1) * sizeof *i->headers);
    i->headers[i->nheaders++] =
        (struct obj_header){base_strdup(name), base_strdup(json_object_get_string(value))};
    return true;
}

static bool take_headers(json_object *o, struct obj_info *i)
{
    json_object *v;
    if (!json_object_object_get_ex(o, "headers", &v) || v == NULL) {
        return true;
    }
    if (!json_object_is_type(v, json_type_object)) {
        return false;
    }
    json_object_object_foreach(v, key, values)
    {
        if (values == NULL || !json_object_is_type(values, json_type_array)) {
            return false;
        }
        size_t n = json_object_array_length(values);
        for (size_t k = 0; k < n; k++) {
            if (!add_header(i, key, json_object_array_get_idx(values, k))) {
                return false;
            }
        }
    }
    return true;
}

static bool take_options(json_object *o, struct obj_info *i)
{
    json_object *v, *link;
    uint64_t chunk = 0;
    if (!json_object_object_get_ex(o, "options", &v) || v == NULL) {
        return true;
    }
    if (!json_object_is_type(v, json_type_object) || !take_u64(v, "max_chunk_size", &chunk) ||
        chunk > UINT32_MAX) {
        return false;
    }
    i->chunk_bytes = (uint32_t)chunk;
    if (!json_object_object_get_ex(v, "link", &link) || link == NULL) {
        return true;
    }
    return json_object_is_type(link, json_type_object) &&
           take_str(link, "bucket", &i->link_bucket) && take_str(link, "name", &i->link_name) &&
           i->link_bucket != NULL;
}

static bool take_deleted(json_object *o, struct obj_info *i)
{
    json_object *v;
    if (json_object_object_get_ex(o, "deleted", &v) && v != NULL) {
        i->deleted = json_object_get_boolean(v) != 0;
        return json_object_is_type(v, json_type_boolean);
    }
    return true;
}

/* Its chunks' subject is made of it: a wildcard there would be everybody's chunks. */
static bool nuid_harmless(const struct obj_info *i)
{
    return i->nuid == NULL ||
           (subject_literal(i->nuid, strlen(i->nuid)) &&
            subject_tokens(i->nuid, strlen(i->nuid)) == 1 && strlen(i->nuid) <= LIM_NAME_BYTES_MAX);
}

static bool take_all(json_object *o, struct obj_info *i)
{
    return json_object_is_type(o, json_type_object) && take_str(o, "name", &i->name) &&
           take_str(o, "description", &i->description) && take_headers(o, i) &&
           take_metadata(o, i) && take_options(o, i) && take_str(o, "bucket", &i->bucket) &&
           take_str(o, "nuid", &i->nuid) && take_u64(o, "size", &i->size) &&
           take_u64(o, "chunks", &i->chunks) && take_str(o, "digest", &i->digest) &&
           take_deleted(o, i) && i->name != NULL && nuid_harmless(i);
}

enum st obj_info_parse(const uint8_t *json, size_t len, struct obj_info *out, struct err *err)
{
    *out = (struct obj_info){0};
    if (len == 0 || len > OBJ_META_BYTES_MAX) {
        return err_set(err, ST_CORRUPT, 0, "the object's meta has %zu bytes", len);
    }
    struct json_tokener *t = json_tokener_new_ex(JSON_DEPTH_MAX);
    json_object *o = json_tokener_parse_ex(t, (const char *)json, (int)len);
    bool whole = o != NULL && json_tokener_get_error(t) == json_tokener_success;
    bool ok = whole && take_all(o, out);
    json_object_put(o);
    json_tokener_free(t);
    if (!ok) {
        obj_info_fini(out);
        return err_set(err, ST_CORRUPT, 0, "the object's meta is not what it should be");
    }
    return ST_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

struct text {
    char *p; /* owned */
    size_t n, cap;
};

static void add(struct text *t, const char *s, size_t n)
{
    if (t->n + n > t->cap) {
        t->cap = (t->n + n) * 2 + 256;
        t->p = base_realloc(t->p, t->cap);
    }
    memcpy(t->p + t->n, s, n);
    t->n += n;
}

static void add_text(struct text *t, const char *s)
{
    add(t, s, strlen(s));
}

static void add_quoted(struct text *t, const char *s)
{
    char esc[8];
    add(t, "\"", 1);
    for (; *s != 0; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            esc[0] = '\\';
            esc[1] = *s;
            add(t, esc, 2);
        } else if (c < 0x20) {
            add(t, esc, (size_t)snprintf(esc, sizeof esc, "\\u%04x", c));
        } else {
            add(t, s, 1);
        }
    }
    add(t, "\"", 1);
}

/* ,"key": */
static void add_key(struct text *t, const char *key)
{
    if (t->p[t->n - 1] != '{') {
        add(t, ",", 1);
    }
    add_quoted(t, key);
    add(t, ":", 1);
}

static void add_str(struct text *t, const char *key, const char *value)
{
    add_key(t, key);
    add_quoted(t, value == NULL ? "" : value);
}

static void add_u64(struct text *t, const char *key, uint64_t v)
{
    char buf[32];
    add_key(t, key);
    add(t, buf, (size_t)snprintf(buf, sizeof buf, "%llu", (unsigned long long)v));
}

struct header_at {
    const char *name;
    size_t k;    /* in the info */
    size_t same; /* of a name's first one: how many there are */
};

static int by_name(const void *a, const void *b)
{
    const struct header_at *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c != 0 ? c : (x->k > y->k) - (x->k < y->k);
}

static int by_place(const void *a, const void *b)
{
    const struct header_at *x = *(struct header_at *const *)a, *y = *(struct header_at *const *)b;
    return (x->k > y->k) - (x->k < y->k);
}

static void add_values(struct text *t, const struct obj_info *i, const struct header_at *first)
{
    add_key(t, first->name);
    for (size_t n = 0; n < first->same; n++) {
        add_text(t, n == 0 ? "[" : ",");
        add_quoted(t, i->headers[first[n].k].value);
    }
    add(t, "]", 1);
}

/* Equal names stand together, where the first one stood: their values are one array. Sorted, as
 * what a stream holds may have tens of thousands. */
static void add_headers(struct text *t, const struct obj_info *i)
{
    struct header_at *v = base_calloc(i->nheaders, sizeof *v);
    struct header_at **first = base_calloc(i->nheaders, sizeof *first);
    size_t n = 0;
    for (size_t k = 0; k < i->nheaders; k++) {
        v[k] = (struct header_at){.name = i->headers[k].name, .k = k};
    }
    qsort(v, i->nheaders, sizeof *v, by_name);
    for (size_t k = 0; k < i->nheaders; k++) {
        if (k == 0 || strcmp(v[k].name, v[k - 1].name) != 0) {
            first[n++] = &v[k];
        }
        first[n - 1]->same++;
    }
    qsort(first, n, sizeof *first, by_place);
    add_key(t, "headers");
    add(t, "{", 1);
    for (size_t k = 0; k < n; k++) {
        add_values(t, i, first[k]);
    }
    add(t, "}", 1);
    base_free(first);
    base_free(v);
}

static void add_options(struct text *t, const struct obj_info *i)
{
    add_key(t, "options");
    add(t, "{", 1);
    if (i->link_bucket != NULL) {
        add_key(t, "link");
        add(t, "{", 1);
        add_str(t, "bucket", i->link_bucket);
        if (i->link_name != NULL) {
            add_str(t, "name", i->link_name);
        }
        add(t, "}", 1);
    }
    if (i->chunk_bytes != 0) {
        add_u64(t, "max_chunk_size", i->chunk_bytes);
    }
    add(t, "}", 1);
}

char *obj_info_json(const struct obj_info *i, size_t *len_out)
{
    struct text t = {0};
    add(&t, "{", 1);
    add_str(&t, "name", i->name);
    if (i->description != NULL) {
        add_str(&t, "description", i->description);
    }
    if (i->nheaders > 0) {
        add_headers(&t, i);
    }
    if (i->nmetadata > 0) {
        add_key(&t, "metadata");
        add(&t, "{", 1);
        for (size_t k = 0; k < i->nmetadata; k++) {
            add_str(&t, i->metadata[k].key, i->metadata[k].value);
        }
        add(&t, "}", 1);
    }
    if (i->link_bucket != NULL || i->chunk_bytes != 0) {
        add_options(&t, i);
    }
    add_str(&t, "bucket", i->bucket);
    add_str(&t, "nuid", i->nuid);
    add_u64(&t, "size", i->size);
    add_str(&t, "mtime", "0001-01-01T00:00:00Z");
    add_u64(&t, "chunks", i->chunks);
    if (i->digest != NULL) {
        add_str(&t, "digest", i->digest);
    }
    if (i->deleted) {
        add_key(&t, "deleted");
        add_text(&t, "true");
    }
    add(&t, "}", 1);
    *len_out = t.n;
    add(&t, "", 1);
    return t.p;
}
