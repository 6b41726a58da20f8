/* JSON from outside, read strictly: UTF-8, bounded depth, exact 64-bit integers. Objects are
 * decoded into structs by tables of fields; unknown fields are found in the order they stand in.
 * The words of an error are those NATS clients know from nats-server (which are Go's): `json:
 * unknown field "x"`.
 *
 * Wraps json-c. One thread at a time; a document stays valid until json_in_fini. */
#ifndef BROKER_JSON_IN_H
#define BROKER_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

struct json_object;

#define JSON_DEPTH_MAX 24 /* levels of nesting; the deepest request of the API has 6 */

struct json_in {
    struct json_object *root; /* owned; NULL: the document is `null` or nothing was parsed */
};

/* Parses a whole document, as Go's json.Unmarshal. ST_INVALID with the reason in err->msg. */
MUST_USE enum st json_in_parse(struct json_in *in, const void *p, size_t len, struct err *err);
void json_in_fini(struct json_in *in);

enum json_kind {
    JSON_STRING,    /* char *, owned by the target (the old value is freed) */
    JSON_I64,       /* int64_t */
    JSON_INT,       /* as JSON_I64; Go's "int" in texts */
    JSON_I32,       /* int64_t target, range of int32 */
    JSON_U64,       /* uint64_t */
    JSON_BOOL,      /* bool */
    JSON_DURATION,  /* int64_t, nanoseconds */
    JSON_TIME,      /* int64_t, unix ns from RFC 3339; 0 = not given or Go's zero time */
    JSON_TIME_PTR,  /* the same; 0 = not given; JSON_ZERO_TIME, JSON_EPOCH_TIME (json_out.h) */
    JSON_STRINGS,   /* struct json_strings */
    JSON_DURATIONS, /* struct json_durations */
    JSON_MAP,       /* struct json_map: strings by name, sorted by name */
    JSON_OBJECT,    /* nested struct at the same base: `sub` */
    JSON_STRUCT,  /* struct json_structs of at most one: an object; `sub` is a struct json_elem's */
    JSON_STRUCTS, /* struct json_structs: an array of objects */
    JSON_CUSTOM,  /* `custom` reads the value */
    JSON_UNSERVED, /* known, not served: remembered in struct json_decode when it is not the default
                    */
};

struct json_strings {
    char **v; /* owned */
    size_t n;
    bool given; /* there was a list, maybe of none */
};
struct json_durations {
    int64_t *v; /* owned */
    size_t n;
};
struct json_pair {
    char *key, *value; /* owned */
};
struct json_map {
    struct json_pair *v; /* owned */
    size_t n;
};
/* Zeroed elements of one type, filled by its schema. Who owns one frees what its elements own. */
struct json_structs {
    void *v; /* owned: n elements of the size that struct json_elem says */
    size_t n;
};
void json_strings_fini(struct json_strings *s);
void json_map_fini(struct json_map *m);

struct json_schema;
/* Reads `v` (never JSON null) into the struct at base. */
typedef enum st (*json_custom_fn)(void *base, size_t offset, struct json_object *v,
                                  struct err *err);

struct json_field {
    const char *name;
    enum json_kind kind;
    size_t offset;
    json_custom_fn custom;         /* JSON_CUSTOM */
    const struct json_schema *sub; /* JSON_OBJECT; of a scalar: one without fields, whose go_name
                                      stands in error texts instead of that of the whole */
};
struct json_schema {
    const char *go_name; /* as it stands in error texts: "StreamConfigRequest.StreamConfig" */
    const char
        *go_type; /* of the whole, where the document is no object: "server.StreamConfigRequest" */
    const struct json_field *fields;
    size_t n;
};
/* The schema of an element of json_structs. `free` frees what an element owns. */
struct json_elem {
    struct json_schema schema; /* first: `sub` of a field points here */
    size_t size;
    void (*free)(void *elem);
};
/* Frees the elements and the list. */
void json_structs_fini(struct json_structs *s, const struct json_elem *type);

struct json_decode {
    bool strict; /* unknown fields are an error */
    bool hard;   /* out, where decoding failed: by a value with words of its own, which ends it at
                    once; other errors are told when all has been read, the first of them */
    const char *
        unserved; /* out: name of the first field that is known, not served, and set; static text */
};

/* Decodes an object into the struct at base. ST_INVALID: err->msg says why; what was decoded so far
 * stays (and is owned by base). JSON null leaves the target as it is. */
MUST_USE enum st json_in_decode(struct json_decode *d, struct json_object *o,
                                const struct json_schema *s, void *base, struct err *err);

/* Decodes one value after another, as API requests are read upstream: later ones change what
 * earlier ones said; blanks only leave base as it is. Errors as of json_in_decode. */
MUST_USE enum st json_in_read(struct json_decode *d, const void *p, size_t len,
                              const struct json_schema *s, void *base, struct err *err);

/* For custom readers. The string of v, or NULL when v is no string or holds a NUL. Borrowed from
 * the document. */
const char *json_in_string(struct json_object *v);
/* `json: cannot unmarshal number into Go struct field <where> of type <go_type>` */
MUST_USE enum st json_in_type_error(struct json_object *v, const char *where, const char *go_type,
                                    struct err *err);
/* `can not unmarshal "\"foo\""`, as upstream's policies say. */
MUST_USE enum st json_in_bad_policy(struct json_object *v, struct err *err);

/* RFC 3339 to unix ns. What does not fit is the end of what does, in 1677 or 2262: all the same for
 * a start, a pause or a schedule. False when it is none. */
bool json_time_parse(const char *s, size_t len, int64_t *ns_out);

#endif
