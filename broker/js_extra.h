/* What a stream's config says of the way of a message: `subject_transform` before it is stored,
 * `republish` after; and `placement`, which one server keeps and shows. The store holds them as
 * JSON in cfg.opaque.
 *
 * Pure functions; any thread. */
#ifndef BROKER_JS_EXTRA_H
#define BROKER_JS_EXTRA_H

#include "broker/api_errors.h"
#include "broker/js_xform.h"
#include "broker/json_in.h"
#include "broker/json_out.h"
#include "engine/store.h"

struct js_placement {
    char *cluster, *preferred; /* owned or NULL */
    struct json_strings tags;
};
struct js_republish {
    char *src, *dest; /* owned or NULL */
    bool headers_only;
};
struct js_subject_change {
    char *src, *dest; /* owned or NULL */
};
struct js_extra {
    struct json_structs placement; /* owned: at most one of each */
    struct json_structs republish;
    struct json_structs transform;
};

/* For the fields of a schema (JSON_STRUCT). */
extern const struct json_elem js_placement_type, js_republish_type, js_subject_change_type;

static inline const struct js_republish *js_extra_republish(const struct js_extra *x)
{
    return x->republish.n > 0 ? x->republish.v : NULL;
}
static inline const struct js_subject_change *js_extra_transform(const struct js_extra *x)
{
    return x->transform.n > 0 ? x->transform.v : NULL;
}

void js_extra_fini(struct js_extra *x);
/* What stands in a config that the store has. */
void js_extra_read(const struct stream_cfg *c, struct js_extra *out);
/* `,"placement":{...}`, and `,"subject_transform":{...},"republish":{...}`; nothing for what is not
 * there. */
void js_extra_put_placement(struct json_out *j, const struct js_extra *x);
void js_extra_put_subjects(struct json_out *j, const struct js_extra *x);
/* Fills in defaults and judges; false: *e says why. */
bool js_extra_check(struct js_extra *x, const struct stream_cfg *c, bool pedantic,
                    struct api_error *e);

#endif
