#include "broker/js_origin.h"

#include "broker/js_config.h"
#include "broker/js_xform.h"
#include "engine/base/base.h"
#include "engine/base/subject.h"

/* --- JSON in ---------------------------------------------------------------------------------- */

#define F(type, member) offsetof(struct type, member)

static void transform_free(void *elem)
{
    struct js_transform *t = elem;
    base_free(t->src);
    base_free(t->dest);
}
static const struct json_field transform_fields[] = {
    {"src", JSON_STRING, F(js_transform, src), NULL, NULL},
    {"dest", JSON_STRING, F(js_transform, dest), NULL, NULL},
};
static const struct json_elem transform_type = {
    {"SubjectTransformConfig.StreamConfig.subject_transforms", "server.SubjectTransformConfig",
     transform_fields, ARRAY_LEN(transform_fields)},
    sizeof(struct js_transform),
    transform_free};

static void external_free(void *elem)
{
    struct js_external *x = elem;
    base_free(x->api);
    base_free(x->deliver);
}
static const struct json_field external_fields[] = {
    {"api", JSON_STRING, F(js_external, api), NULL, NULL},
    {"deliver", JSON_STRING, F(js_external, deliver), NULL, NULL},
};
static const struct json_elem external_type = {{"ExternalStream.StreamConfig.external",
                                                "server.ExternalStream", external_fields,
                                                ARRAY_LEN(external_fields)},
                                               sizeof(struct js_external),
                                               external_free};

static void consumer_free(void *elem)
{
    struct js_origin_consumer *c = elem;
    base_free(c->name);
    base_free(c->deliver);
}
static const struct json_field consumer_fields[] = {
    {"name", JSON_STRING, F(js_origin_consumer, name), NULL, NULL},
    {"deliver_subject", JSON_STRING, F(js_origin_consumer, deliver), NULL, NULL},
};
static const struct json_elem consumer_type = {{"StreamConsumerSource.StreamConfig.consumer",
                                                "server.StreamConsumerSource", consumer_fields,
                                                ARRAY_LEN(consumer_fields)},
                                               sizeof(struct js_origin_consumer),
                                               consumer_free};

static void origin_free(void *elem)
{
    struct js_origin *o = elem;
    base_free(o->name);
    base_free(o->filter);
    json_structs_fini(&o->transforms, &transform_type);
    json_structs_fini(&o->external, &external_type);
    json_structs_fini(&o->consumer, &consumer_type);
}
static const struct json_field origin_fields[] = {
    {"name", JSON_STRING, F(js_origin, name), NULL, NULL},
    {"opt_start_seq", JSON_U64, F(js_origin, start_seq), NULL, NULL},
    {"opt_start_time", JSON_TIME_PTR, F(js_origin, start_time_ns), NULL, NULL},
    {"filter_subject", JSON_STRING, F(js_origin, filter), NULL, NULL},
    {"subject_transforms", JSON_STRUCTS, F(js_origin, transforms), NULL, &transform_type.schema},
    {"external", JSON_STRUCT, F(js_origin, external), NULL, &external_type.schema},
    {"consumer", JSON_STRUCT, F(js_origin, consumer), NULL, &consumer_type.schema},
};
const struct json_elem js_mirror_type = {{"StreamSource.StreamConfig.mirror", "server.StreamSource",
                                          origin_fields, ARRAY_LEN(origin_fields)},
                                         sizeof(struct js_origin),
                                         origin_free};
const struct json_elem js_source_type = {{"StreamSource.StreamConfig.sources",
                                          "server.StreamSource", origin_fields,
                                          ARRAY_LEN(origin_fields)},
                                         sizeof(struct js_origin),
                                         origin_free};
static const struct json_field origins_fields[] = {
    {"mirror", JSON_STRUCT, F(js_origins, mirror), NULL, &js_mirror_type.schema},
    {"sources", JSON_STRUCTS, F(js_origins, sources), NULL, &js_source_type.schema},
};
static const struct json_schema origins_schema = {"StreamConfig", "server.StreamConfig",
                                                  origins_fields, ARRAY_LEN(origins_fields)};
#undef F

void js_origins_fini(struct js_origins *o)
{
    json_structs_fini(&o->mirror, &js_mirror_type);
    json_structs_fini(&o->sources, &js_source_type);
}

void js_origins_read(const struct stream_cfg *c, struct js_origins *out)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    *out = (struct js_origins){0};
    if (c->opaque_len == 0) {
        return;
    }
    if (json_in_parse(&doc, c->opaque, c->opaque_len, NULL) != ST_OK ||
        json_in_decode(&d, doc.root, &origins_schema, out, NULL) != ST_OK) {
        js_origins_fini(out);
    }
    json_in_fini(&doc);
}

/* --- JSON out --------------------------------------------------------------------------------- */

static const char *text(const char *s)
{
    return s != NULL ? s : "";
}

static bool given(const char *s)
{
    return s != NULL && s[0] != '\0';
}

void js_origin_put_external(struct json_out *j, const struct js_origin *o)
{
    const struct js_external *x = js_origin_external(o);
    if (x != NULL) {
        json_out_open(j, "external");
        json_out_str(j, "api", text(x->api));
        json_out_str(j, "deliver", text(x->deliver));
        json_out_end(j);
    }
}

void js_origin_put_transforms(struct json_out *j, const struct js_origin *o)
{
    if (o->transforms.n == 0) {
        return;
    }
    json_out_array(j, "subject_transforms");
    for (size_t i = 0; i < o->transforms.n; i++) {
        const struct js_transform *t = js_origin_transform(o, i);
        json_out_begin(j);
        json_out_str(j, "src", text(t->src));
        json_out_str(j, "dest", text(t->dest));
        json_out_end(j);
    }
    json_out_array_end(j);
}

void js_origin_put_filters(struct json_out *j, const struct js_origin *o, bool dest)
{
    for (size_t i = 0; i < o->transforms.n; i++) {
        const struct js_transform *t = js_origin_transform(o, i);
        const char *s = dest ? t->dest : t->src;
        json_out_raw(j, "\f", i > 0 ? 1 : 0);
        json_out_raw(j, given(s) ? s : ">", given(s) ? strlen(s) : 1);
    }
    if (o->transforms.n == 0) {
        bool filter = !dest && given(o->filter);
        json_out_raw(j, filter ? o->filter : ">", filter ? strlen(o->filter) : 1);
    }
}

static void put_origin(struct json_out *j, const struct js_origin *o)
{
    json_out_begin(j);
    json_out_str(j, "name", text(o->name));
    if (o->start_seq != 0) {
        json_out_u64(j, "opt_start_seq", o->start_seq);
    }
    if (o->start_time_ns != 0) {
        json_out_time(j, "opt_start_time", o->start_time_ns);
    }
    if (given(o->filter)) {
        json_out_str(j, "filter_subject", o->filter);
    }
    js_origin_put_transforms(j, o);
    js_origin_put_external(j, o);
    if (o->consumer.n > 0) {
        const struct js_origin_consumer *c = o->consumer.v;
        json_out_open(j, "consumer");
        json_out_str(j, "name", text(c->name));
        json_out_str(j, "deliver_subject", text(c->deliver));
        json_out_end(j);
    }
    json_out_end(j);
}

void js_origins_put(struct json_out *j, const struct js_origins *o)
{
    if (o->mirror.n > 0) {
        json_out_key(j, "mirror");
        put_origin(j, o->mirror.v);
    }
    if (o->sources.n > 0) {
        json_out_array(j, "sources");
        for (size_t i = 0; i < o->sources.n; i++) {
            put_origin(j, js_origins_source(o, i));
        }
        json_out_array_end(j);
    }
}

/* --- rules ------------------------------------------------------------------------------------ */

static bool fail(struct api_error *e, enum api_err id)
{
    api_error_set(e, id);
    return false;
}

enum { PREFIX_MAX = 255 }; /* bytes of a prefix or deliver subject in a config */

static bool literal(const char *s)
{
    return strlen(s) <= PREFIX_MAX && subject_literal(s, strlen(s));
}

static bool check_api(const struct js_origin *o, struct api_error *e)
{
    const struct js_external *x = js_origin_external(o);
    if (x == NULL || !given(x->api)) {
        return true;
    }
    if (!literal(x->api)) {
        api_error_setf(e, API_STREAM_INVALID_CONFIG,
                       "stream external api prefix \"%s\" must be a valid subject without "
                       "wildcards",
                       x->api);
        return false;
    }
    if (subject_overlap(x->api, strlen(x->api), "$JS.API", 7)) {
        api_error_set2(e, API_STREAM_EXTERNAL_API_OVERLAP, x->api, "$JS.API");
        return false;
    }
    return true;
}

static bool check_deliver(const struct js_origin *o, struct api_error *e)
{
    const struct js_external *x = js_origin_external(o);
    if (x != NULL && given(x->deliver) && !literal(x->deliver)) {
        api_error_set2(e, API_STREAM_INVALID_EXTERNAL_DELIVERY_SUBJ, x->deliver, NULL);
        return false;
    }
    return true;
}

/* A consumer that somebody made says itself where it starts and what it filters. */
static bool check_consumer(const struct js_origin *o, enum api_err id, struct api_error *e)
{
    if (o->consumer.n == 0) {
        return true;
    }
    const struct js_origin_consumer *c = o->consumer.v;
    if (!given(c->name) || !js_name_valid(c->name) || !given(c->deliver) || !literal(c->deliver) ||
        o->start_seq != 0 || o->start_time_ns != 0 || given(o->filter)) {
        return fail(e, id);
    }
    return true;
}

static bool overlaps_another(const struct js_origin *o, size_t i)
{
    for (size_t k = 0; k < o->transforms.n; k++) {
        const char *a = js_origin_transform(o, i)->src, *b = js_origin_transform(o, k)->src;
        a = given(a) ? a : ">";
        b = given(b) ? b : ">";
        if (k != i && subject_valid(b, strlen(b)) && subject_overlap(a, strlen(a), b, strlen(b))) {
            return true;
        }
    }
    return false;
}

/* Each has a filter of its own; no message may match two. */
static bool check_transforms(const struct js_origin *o, bool mirror, struct api_error *e)
{
    for (size_t i = 0; i < o->transforms.n; i++) {
        const struct js_transform *t = js_origin_transform(o, i);
        struct js_xform *x = NULL;
        char why[256];
        enum js_xform_fault fault = js_xform_create(text(t->src), text(t->dest), &x, why);
        js_xform_destroy(x);
        if (fault == JS_XFORM_BAD_SOURCE) {
            api_error_set2(
                e, mirror ? API_MIRROR_INVALID_SUBJECT_FILTER : API_SOURCE_INVALID_SUBJECT_FILTER,
                why, NULL);
            return false;
        }
        if (fault != JS_XFORM_OK) {
            api_error_set2(e,
                           mirror ? API_MIRROR_INVALID_TRANSFORM_DESTINATION
                                  : API_SOURCE_INVALID_TRANSFORM_DESTINATION,
                           why, NULL);
            return false;
        }
        if (overlaps_another(o, i)) {
            return fail(e, mirror ? API_MIRROR_OVERLAPPING_SUBJECT_FILTERS
                                  : API_SOURCE_OVERLAPPING_SUBJECT_FILTERS);
        }
    }
    return true;
}

/* In upstream's order. */
static bool check_mirror(const struct js_origin *m, const struct js_origins *o,
                         const struct stream_cfg *c, struct api_error *e)
{
    enum api_err not_both = c->first_seq > 0         ? API_MIRROR_WITH_FIRST_SEQ
                            : c->nsubjects > 0       ? API_MIRROR_WITH_SUBJECTS
                            : o->sources.n > 0       ? API_MIRROR_WITH_SOURCES
                            : c->allow_msg_counter   ? API_MIRROR_WITH_COUNTERS
                            : c->allow_atomic        ? API_MIRROR_WITH_ATOMIC_PUBLISH
                            : c->allow_batched       ? API_MIRROR_WITH_BATCH_PUBLISH
                            : c->allow_msg_schedules ? API_MIRROR_WITH_MSG_SCHEDULES
                            : given(m->filter) && m->transforms.n > 0
                                ? API_MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED
                                : API_OK;
    if (not_both != API_OK) {
        return fail(e, not_both);
    }
    if (c->subject_delete_marker_ttl_ns > 0) {
        api_error_setf(e, API_STREAM_INVALID_CONFIG, "subject delete markers forbidden on mirrors");
        return false;
    }
    if (!given(m->name) || !js_name_valid(m->name)) {
        return fail(e, API_MIRROR_INVALID_STREAM_NAME);
    }
    if (given(m->filter) && !subject_valid(m->filter, strlen(m->filter))) {
        api_error_setf(e, API_STREAM_CREATE, "subject filter '%s' for the mirror invalid subject",
                       m->filter);
        return false;
    }
    return check_transforms(m, true, e) && check_api(m, e) && check_deliver(m, e) &&
           check_consumer(m, API_MIRROR_DURABLE_CONSUMER_CFG_INVALID, e);
}

/* What tells sources of the same stream apart. */
static void put_identity(struct json_out *j, const struct js_origin *o)
{
    const struct js_external *x = js_origin_external(o);
    json_out_raw(j, o->name, strlen(o->name));
    json_out_raw(j, " ", 1);
    json_out_raw(j, x != NULL ? text(x->api) : "", x != NULL ? strlen(text(x->api)) : 0);
    json_out_raw(j, " ", 1);
    js_origin_put_filters(j, o, false);
    json_out_raw(j, " ", 1);
    js_origin_put_filters(j, o, true);
    if (o->consumer.n > 0) {
        const struct js_origin_consumer *c = o->consumer.v;
        json_out_raw(j, " ", 1);
        json_out_raw(j, text(c->name), strlen(text(c->name)));
    }
}

static bool twice(const struct js_origins *o, size_t i)
{
    struct json_out a = {0};
    bool same = false;
    put_identity(&a, js_origins_source(o, i));
    for (size_t k = 0; k < i && !same; k++) {
        struct json_out b = {0};
        put_identity(&b, js_origins_source(o, k));
        same = a.len == b.len && memcmp(a.buf, b.buf, a.len) == 0;
        json_out_fini(&b);
    }
    json_out_fini(&a);
    return same;
}

static const char *api_of(const struct js_origin *o)
{
    const struct js_external *x = js_origin_external(o);
    return x != NULL ? text(x->api) : "";
}

/* An earlier source takes its messages from the same consumer. */
static bool same_consumer(const struct js_origins *o, size_t i)
{
    const struct js_origin *a = js_origins_source(o, i);
    const struct js_origin_consumer *ca = js_origin_consumer(a);
    for (size_t k = 0; k < i && ca != NULL; k++) {
        const struct js_origin *b = js_origins_source(o, k);
        const struct js_origin_consumer *cb = js_origin_consumer(b);
        if (cb != NULL && strcmp(ca->name, cb->name) == 0 && strcmp(a->name, b->name) == 0 &&
            strcmp(api_of(a), api_of(b)) == 0) {
            return true;
        }
    }
    return false;
}

static bool check_source(const struct js_origin *x, struct api_error *e)
{
    if (!given(x->name) || !js_name_valid(x->name)) {
        return fail(e, API_SOURCE_INVALID_STREAM_NAME);
    }
    if (given(x->filter) && x->transforms.n > 0) {
        return fail(e, API_SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED);
    }
    if (given(x->filter) && !subject_valid(x->filter, strlen(x->filter))) {
        api_error_setf(e, API_STREAM_CREATE, "subject filter '%s' for the source: invalid subject",
                       x->filter);
        return false;
    }
    return check_transforms(x, false, e) &&
           check_consumer(x, API_SOURCE_DURABLE_CONSUMER_CFG_INVALID, e);
}

bool js_origins_check(const struct js_origins *o, const struct stream_cfg *c, struct api_error *e)
{
    const struct js_origin *m = js_origins_mirror(o);
    if (m != NULL && !check_mirror(m, o, c, e)) {
        return false;
    }
    if (o->sources.n > 0 && c->allow_msg_schedules) {
        return fail(e, API_SOURCE_WITH_MSG_SCHEDULES);
    }
    for (size_t i = 0; i < o->sources.n; i++) {
        if (!check_source(js_origins_source(o, i), e)) {
            return false;
        }
        if (twice(o, i)) {
            return fail(e, API_SOURCE_DUPLICATE_DETECTED);
        }
        if (same_consumer(o, i)) {
            return fail(e, API_SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED);
        }
    }
    return true;
}

/* --- the other streams ------------------------------------------------------------------------ */

/* --- cycles: as upstream looks for them, stream by stream in the order in which they are reached.
 * What is reached again is a cycle, also where two ways only meet: sources [a, b] are refused where
 * b copies a, and taken as [b, a]. --- */

enum { WALK_MAX = 1024 }; /* streams looked at; more is refused as a cycle */

/* Streams to look at, in order; the first `seen` of them have been, and those that exist are
 * marked. */
struct walk {
    struct stop {
        char *name;
        bool marked;
    } * v;
    size_t n, seen, cap;
};

static bool walked(const struct walk *w, const char *name)
{
    for (size_t i = 0; i < w->seen; i++) {
        if (w->v[i].marked && strcmp(w->v[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void walk_to(struct walk *w, const char *name)
{
    if (w->n == w->cap) {
        w->cap = w->cap == 0 ? 16 : 2 * w->cap;
        w->v = base_realloc(w->v, w->cap * sizeof *w->v);
    }
    w->v[w->n++] = (struct stop){base_strdup(name), false};
}

/* A stream may copy back what its own subjects do not catch. */
static bool harmless(const struct js_origin *x, const struct stream_cfg *c)
{
    if (!given(x->filter)) {
        return false;
    }
    for (size_t i = 0; i < c->nsubjects; i++) {
        if (subject_overlap(x->filter, strlen(x->filter), c->subjects[i], strlen(c->subjects[i]))) {
            return false;
        }
    }
    return true;
}

/* Takes up where c copies from. False: from a stream that was looked at already. */
static bool walk_on(struct walk *w, const struct js_origins *o, const struct stream_cfg *c)
{
    for (size_t i = 0; i < o->mirror.n + o->sources.n; i++) {
        bool mirror = i < o->mirror.n;
        const struct js_origin *x = mirror ? o->mirror.v : js_origins_source(o, i - o->mirror.n);
        if (x->external.n > 0) {
            continue;
        }
        if (!walked(w, x->name)) {
            walk_to(w, x->name);
        } else if (mirror || !harmless(x, c)) {
            return false;
        }
    }
    return true;
}

static bool check_cycles(const struct js_origins *o, const struct stream_cfg *c,
                         js_origin_find_fn find, void *arg, struct api_error *e)
{
    struct walk w = {0};
    walk_to(&w, c->name);
    w.v[w.seen++].marked = true;
    bool ok = walk_on(&w, o, c);
    while (ok && w.seen < w.n) {
        struct stop *at = &w.v[w.seen++];
        const struct stream_cfg *next = find(arg, at->name);
        if (next != NULL) {
            at->marked = true;
            struct js_origins origins;
            js_origins_read(next, &origins);
            ok = w.seen < WALK_MAX && walk_on(&w, &origins, next);
            js_origins_fini(&origins);
        }
    }
    for (size_t i = 0; i < w.n; i++) {
        base_free(w.v[i].name);
    }
    base_free(w.v);
    if (!ok) {
        api_error_set2(e, API_STREAM_INVALID_CONFIG, "detected cycle", NULL);
    }
    return ok;
}

static bool check_other(const struct js_origin *x, const struct stream_cfg *c, bool mirror,
                        bool pedantic, js_origin_find_fn find, void *arg, struct api_error *e)
{
    if (x->external.n > 0) {
        return true;
    }
    const struct stream_cfg *other = find(arg, x->name);
    if (other != NULL && other->max_msg_size > 0 && c->max_msg_size > 0 &&
        c->max_msg_size < other->max_msg_size) {
        return fail(e, mirror ? API_MIRROR_MAX_MESSAGE_SIZE_TOO_BIG
                              : API_SOURCE_MAX_MESSAGE_SIZE_TOO_BIG);
    }
    if (pedantic && mirror && other != NULL && other->allow_direct != c->mirror_direct) {
        api_error_set2(e, API_PEDANTIC, "origin stream has direct get set, mirror has it disabled",
                       NULL);
        return false;
    }
    return true;
}

/* What comes below the prefix could look like what is stored under `subject`. */
static bool looks_like(const char *prefix, const char *subject)
{
    size_t p = strlen(prefix), n = strlen(subject);
    char *both = base_malloc(p + 1 + n);
    memcpy(both, prefix, p);
    both[p] = '.';
    memcpy(both + p + 1, subject, n);
    bool yes = subject_overlap(subject, n, both, p + 1 + n);
    base_free(both);
    return yes;
}

/* What an external source delivers may not look like what a source in the same account stores. */
static bool check_delivered(const struct js_origins *o, const char *prefix, js_origin_find_fn find,
                            void *arg, struct api_error *e)
{
    for (size_t i = 0; i < o->sources.n; i++) {
        const struct js_origin *x = js_origins_source(o, i);
        const struct stream_cfg *other = x->external.n > 0 ? NULL : find(arg, x->name);
        for (size_t k = 0; other != NULL && k < other->nsubjects; k++) {
            if (looks_like(prefix, other->subjects[k])) {
                api_error_set2(e, API_STREAM_EXTERNAL_DEL_PREFIX_OVERLAPS, prefix,
                               other->subjects[k]);
                return false;
            }
        }
    }
    return true;
}

static bool check_externals(const struct js_origins *o, js_origin_find_fn find, void *arg,
                            struct api_error *e)
{
    for (size_t i = 0; i < o->sources.n; i++) {
        const struct js_origin *x = js_origins_source(o, i);
        const struct js_external *ext = js_origin_external(x);
        if (ext != NULL && given(ext->deliver) &&
            (!check_deliver(x, e) || !check_delivered(o, ext->deliver, find, arg, e))) {
            return false;
        }
    }
    for (size_t i = 0; i < o->sources.n; i++) {
        if (!check_api(js_origins_source(o, i), e)) {
            return false;
        }
    }
    return true;
}

bool js_origins_check_others(const struct js_origins *o, const struct stream_cfg *c, bool pedantic,
                             js_origin_find_fn find, void *arg, struct api_error *e)
{
    const struct js_origin *m = js_origins_mirror(o);
    bool ok = m == NULL || check_other(m, c, true, pedantic, find, arg, e);
    for (size_t i = 0; i < o->sources.n && ok; i++) {
        ok = check_other(js_origins_source(o, i), c, false, pedantic, find, arg, e);
    }
    return ok && check_externals(o, find, arg, e) && check_cycles(o, c, find, arg, e);
}
