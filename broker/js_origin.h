/* Where a stream copies from: `mirror` and `sources` of its config. The store keeps them as JSON in
 * cfg.opaque; here they are read, written, judged (with upstream's codes and words) and compared.
 *
 * Pure functions; any thread. */
#ifndef BROKER_JS_ORIGIN_H
#define BROKER_JS_ORIGIN_H

#include "broker/api_errors.h"
#include "broker/json_in.h"
#include "broker/json_out.h"
#include "engine/store.h"

struct js_transform {
    char *src, *dest; /* owned or NULL */
};
/* The origin lives behind other subjects (another account or domain). */
struct js_external {
    char *api, *deliver; /* owned or NULL: prefix instead of $JS.API, and of the deliver subject */
};
/* A consumer of the origin that somebody made. */
struct js_origin_consumer {
    char *name, *deliver; /* owned or NULL */
};
struct js_origin {
    char *name; /* owned or NULL */
    uint64_t start_seq;
    int64_t start_time_ns;
    char *filter;                   /* owned or NULL */
    struct json_structs transforms; /* owned: struct js_transform */
    struct json_structs external;   /* owned: at most one struct js_external */
    struct json_structs consumer;   /* owned: at most one struct js_origin_consumer */
};
struct js_origins {
    struct json_structs mirror;  /* owned: at most one struct js_origin */
    struct json_structs sources; /* owned: struct js_origin */
};

/* For the fields `mirror` (JSON_STRUCT) and `sources` (JSON_STRUCTS) of a schema. */
extern const struct json_elem js_mirror_type, js_source_type;

static inline const struct js_origin *js_origins_mirror(const struct js_origins *o)
{
    return o->mirror.n > 0 ? o->mirror.v : NULL;
}
static inline const struct js_origin *js_origins_source(const struct js_origins *o, size_t i)
{
    return (const struct js_origin *)o->sources.v + i;
}
static inline const struct js_external *js_origin_external(const struct js_origin *o)
{
    return o->external.n > 0 ? o->external.v : NULL;
}
static inline const struct js_origin_consumer *js_origin_consumer(const struct js_origin *o)
{
    return o->consumer.n > 0 ? o->consumer.v : NULL;
}
static inline const struct js_transform *js_origin_transform(const struct js_origin *o, size_t i)
{
    return (const struct js_transform *)o->transforms.v + i;
}

void js_origins_fini(struct js_origins *o);
/* What stands in a config that the store has. */
void js_origins_read(const struct stream_cfg *c, struct js_origins *out);
/* `,"mirror":{...}` or `,"sources":[...]`, as configs show them; nothing for what is not there. */
void js_origins_put(struct json_out *j, const struct js_origins *o);
/* The members external and subject_transforms, as configs and infos show them. */
void js_origin_put_external(struct json_out *j, const struct js_origin *o);
void js_origin_put_transforms(struct json_out *j, const struct js_origin *o);

/* What a `Nats-Stream-Source` header says of filters (destinations: dest): one, or those of all
 * transforms with form feeds between; ">" for none. */
void js_origin_put_filters(struct json_out *j, const struct js_origin *o, bool dest);

/* Looks up another stream's config of the account; NULL: there is none. */
typedef const struct stream_cfg *(*js_origin_find_fn)(void *arg, const char *name);

/* Rules that need only the config; false: *e says why. */
bool js_origins_check(const struct js_origins *o, const struct stream_cfg *c, struct api_error *e);
/* Rules that need the other streams of the account: message sizes, cycles. */
bool js_origins_check_others(const struct js_origins *o, const struct stream_cfg *c, bool pedantic,
                             js_origin_find_fn find, void *arg, struct api_error *e);

#endif
