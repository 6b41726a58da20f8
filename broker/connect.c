#include "broker/connect.h"

#include <json-c/json.h>
#include <sodium.h>
#include <strings.h>

#include "engine/base/base.h"

#define CONNECT_DEPTH_MAX 16

enum field_kind { FIELD_BOOL, FIELD_TEXT, FIELD_INT };

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
};

#define FIELD(name, kind, member)                                                                  \
    {                                                                                              \
        name, kind, offsetof(struct brk_connect, member)                                           \
    }
static const struct field fields[] = {
    FIELD("verbose", FIELD_BOOL, verbose),
    FIELD("pedantic", FIELD_BOOL, pedantic),
    FIELD("echo", FIELD_BOOL, echo),
    FIELD("headers", FIELD_BOOL, headers),
    FIELD("no_responders", FIELD_BOOL, no_responders),
    FIELD("protocol", FIELD_INT, protocol),
    FIELD("user", FIELD_TEXT, user),
    FIELD("pass", FIELD_TEXT, pass),
    FIELD("auth_token", FIELD_TEXT, token),
    FIELD("name", FIELD_TEXT, name),
    FIELD("lang", FIELD_TEXT, lang),
    FIELD("version", FIELD_TEXT, version),
};

void brk_secret_free(char *s)
{
    if (s != NULL) {
        sodium_memzero(s, strlen(s));
        base_free(s);
    }
}

void brk_connect_fini(struct brk_connect *c)
{
    base_free(c->user);
    brk_secret_free(c->pass);
    brk_secret_free(c->token);
    base_free(c->name);
    base_free(c->lang);
    base_free(c->version);
    *c = (struct brk_connect){0};
}

static enum st set_text(char **slot, struct json_object *v, const struct field *f, struct err *err)
{
    if (!json_object_is_type(v, json_type_string)) {
        return err_set(err, ST_INVALID, 0, "CONNECT: \"%s\" is not a string", f->name);
    }
    const char *s = json_object_get_string(v);
    size_t len = (size_t)json_object_get_string_len(v);
    if (memchr(s, 0, len) != NULL) {
        return err_set(err, ST_INVALID, 0, "CONNECT: \"%s\" holds a zero byte", f->name);
    }
    brk_secret_free(*slot);
    *slot = len == 0 ? NULL : base_strndup(s, len);
    return ST_OK;
}

static enum st set_field(struct brk_connect *c, const struct field *f, struct json_object *v,
                         struct err *err)
{
    void *at = (char *)c + f->offset;
    if (v == NULL) {
        return ST_OK;
    }
    switch (f->kind) {
    case FIELD_BOOL:
        if (!json_object_is_type(v, json_type_boolean)) {
            return err_set(err, ST_INVALID, 0, "CONNECT: \"%s\" is not true or false", f->name);
        }
        *(bool *)at = json_object_get_boolean(v) != 0;
        return ST_OK;
    case FIELD_INT:
        if (!json_object_is_type(v, json_type_int)) {
            return err_set(err, ST_INVALID, 0, "CONNECT: \"%s\" is not a whole number", f->name);
        }
        *(int64_t *)at = json_object_get_int64(v);
        return ST_OK;
    case FIELD_TEXT:
        return set_text(at, v, f, err);
    }
    return ST_INTERNAL;
}

static enum st set_all(struct brk_connect *c, struct json_object *o, struct err *err)
{
    struct json_object_iterator it = json_object_iter_begin(o), end = json_object_iter_end(o);
    for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        const char *key = json_object_iter_peek_name(&it);
        for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
            if (strcasecmp(key, fields[i].name) == 0) {
                enum st st = set_field(c, &fields[i], json_object_iter_peek_value(&it), err);
                if (st != ST_OK) {
                    return st;
                }
            }
        }
    }
    return ST_OK;
}

enum st brk_connect_parse(struct brk_connect *c, struct brk_str json, struct err *err)
{
    if (json.n == 0 || memchr(json.p, 0, json.n) != NULL) {
        return err_set(err, ST_INVALID, 0, "CONNECT: not a JSON object");
    }
    char *text = base_strndup(json.p, json.n);
    struct json_tokener *tok = json_tokener_new_ex(CONNECT_DEPTH_MAX);
    ASSERT(tok != NULL);
    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *o = json_tokener_parse_ex(tok, text, (int)json.n + 1);
    enum json_tokener_error je = json_tokener_get_error(tok);
    enum st st = ST_OK;
    if (je != json_tokener_success) {
        st = err_set(err, ST_INVALID, 0, "CONNECT: %s at byte %zu", json_tokener_error_desc(je),
                     json_tokener_get_parse_end(tok));
    } else if (o != NULL && !json_object_is_type(o, json_type_object)) {
        st = err_set(err, ST_INVALID, 0, "CONNECT: not a JSON object");
    } else if (o != NULL) {
        st = set_all(c, o, err);
    }
    json_object_put(o);
    json_tokener_free(tok);
    brk_secret_free(text);
    return st;
}
