#include "broker/js_extra.h"

#include "engine/base/base.h"
#include "engine/base/subject.h"

/* --- JSON in ---------------------------------------------------------------------------------- */

#define F(type, member) offsetof(struct type, member)

static void placement_free(void *elem)
{
    struct js_placement *p = elem;
    base_free(p->cluster);
    base_free(p->preferred);
    json_strings_fini(&p->tags);
}
static const struct json_field placement_fields[] = {
    {"cluster", JSON_STRING, F(js_placement, cluster), NULL, NULL},
    {"tags", JSON_STRINGS, F(js_placement, tags), NULL, NULL},
    {"preferred", JSON_STRING, F(js_placement, preferred), NULL, NULL},
};
const struct json_elem js_placement_type = {{"Placement.StreamConfig.placement", "server.Placement",
                                             placement_fields, ARRAY_LEN(placement_fields)},
                                            sizeof(struct js_placement),
                                            placement_free};

static void republish_free(void *elem)
{
    struct js_republish *r = elem;
    base_free(r->src);
    base_free(r->dest);
}
static const struct json_field republish_fields[] = {
    {"src", JSON_STRING, F(js_republish, src), NULL, NULL},
    {"dest", JSON_STRING, F(js_republish, dest), NULL, NULL},
    {"headers_only", JSON_BOOL, F(js_republish, headers_only), NULL, NULL},
};
const struct json_elem js_republish_type = {{"RePublish.StreamConfig.republish", "server.RePublish",
                                             republish_fields, ARRAY_LEN(republish_fields)},
                                            sizeof(struct js_republish),
                                            republish_free};

static void change_free(void *elem)
{
    struct js_subject_change *t = elem;
    base_free(t->src);
    base_free(t->dest);
}
static const struct json_field change_fields[] = {
    {"src", JSON_STRING, F(js_subject_change, src), NULL, NULL},
    {"dest", JSON_STRING, F(js_subject_change, dest), NULL, NULL},
};
const struct json_elem js_subject_change_type = {
    {"SubjectTransformConfig.StreamConfig.subject_transform", "server.SubjectTransformConfig",
     change_fields, ARRAY_LEN(change_fields)},
    sizeof(struct js_subject_change),
    change_free};

static const struct json_field extra_fields[] = {
    {"placement", JSON_STRUCT, F(js_extra, placement), NULL, &js_placement_type.schema},
    {"subject_transform", JSON_STRUCT, F(js_extra, transform), NULL,
     &js_subject_change_type.schema},
    {"republish", JSON_STRUCT, F(js_extra, republish), NULL, &js_republish_type.schema},
};
static const struct json_schema extra_schema = {"StreamConfig", "server.StreamConfig", extra_fields,
                                                ARRAY_LEN(extra_fields)};
#undef F

void js_extra_fini(struct js_extra *x)
{
    json_structs_fini(&x->placement, &js_placement_type);
    json_structs_fini(&x->republish, &js_republish_type);
    json_structs_fini(&x->transform, &js_subject_change_type);
}

void js_extra_read(const struct stream_cfg *c, struct js_extra *out)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    *out = (struct js_extra){0};
    if (c->opaque_len == 0) {
        return;
    }
    if (json_in_parse(&doc, c->opaque, c->opaque_len, NULL) != ST_OK ||
        json_in_decode(&d, doc.root, &extra_schema, out, NULL) != ST_OK) {
        js_extra_fini(out);
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

void js_extra_put_placement(struct json_out *j, const struct js_extra *x)
{
    if (x->placement.n == 0) {
        return;
    }
    const struct js_placement *p = x->placement.v;
    json_out_open(j, "placement");
    if (given(p->cluster)) {
        json_out_str(j, "cluster", p->cluster);
    }
    if (p->tags.n > 0) {
        json_out_array(j, "tags");
        for (size_t i = 0; i < p->tags.n; i++) {
            json_out_val_str(j, p->tags.v[i], strlen(p->tags.v[i]));
        }
        json_out_array_end(j);
    }
    json_out_end(j);
}

void js_extra_put_subjects(struct json_out *j, const struct js_extra *x)
{
    const struct js_subject_change *t = js_extra_transform(x);
    const struct js_republish *r = js_extra_republish(x);
    if (t != NULL) {
        json_out_open(j, "subject_transform");
        json_out_str(j, "src", text(t->src));
        json_out_str(j, "dest", text(t->dest));
        json_out_end(j);
    }
    if (r != NULL) {
        json_out_open(j, "republish");
        json_out_str(j, "src", text(r->src));
        json_out_str(j, "dest", text(r->dest));
        if (r->headers_only) {
            json_out_bool(j, "headers_only", true);
        }
        json_out_end(j);
    }
}

/* --- rules ------------------------------------------------------------------------------------ */

static bool fail_cfg(struct api_error *e, const char *words)
{
    api_error_set2(e, API_STREAM_INVALID_CONFIG, words, NULL);
    return false;
}

static bool check_transform(const struct js_subject_change *t, struct api_error *e)
{
    struct js_xform *made;
    char why[256];
    enum js_xform_fault fault = js_xform_create(t->src, t->dest, &made, why);
    js_xform_destroy(made);
    if (fault != JS_XFORM_OK) {
        api_error_set2(e,
                       fault == JS_XFORM_BAD_SOURCE ? API_STREAM_TRANSFORM_INVALID_SOURCE
                                                    : API_STREAM_TRANSFORM_INVALID_DESTINATION,
                       why, NULL);
        return false;
    }
    return true;
}

static bool check_republish(struct js_republish *r, const struct stream_cfg *c, bool pedantic,
                            struct api_error *e)
{
    struct js_xform *made;
    char why[256];
    if (!given(r->src)) {
        if (pedantic) {
            api_error_set2(e, API_PEDANTIC, "republish source can not be empty", NULL);
            return false;
        }
        base_free(r->src);
        r->src = base_strdup(">");
    }
    for (size_t i = 0; given(r->dest) && i < c->nsubjects; i++) {
        if (subject_overlap(r->dest, strlen(r->dest), c->subjects[i], strlen(c->subjects[i]))) {
            return fail_cfg(e, "stream configuration for republish destination forms a cycle");
        }
    }
    enum js_xform_fault fault = js_xform_create(r->src, r->dest, &made, why);
    js_xform_destroy(made);
    if (fault != JS_XFORM_OK) {
        api_error_setf(
            e, API_STREAM_INVALID_CONFIG,
            "stream configuration for republish with transform from '%s' to '%s' not valid", r->src,
            text(r->dest));
        return false;
    }
    return true;
}

bool js_extra_check(struct js_extra *x, const struct stream_cfg *c, bool pedantic,
                    struct api_error *e)
{
    const struct js_subject_change *t = js_extra_transform(x);
    const struct js_placement *p = x->placement.n > 0 ? x->placement.v : NULL;
    if (p != NULL && !given(p->cluster) && !given(p->preferred) && !p->tags.given) {
        json_structs_fini(&x->placement, &js_placement_type);
        p = NULL;
    }
    if ((t != NULL && !check_transform(t, e)) ||
        (x->republish.n > 0 && !check_republish(x->republish.v, c, pedantic, e))) {
        return false;
    }
    return p == NULL || !given(p->preferred) ||
           fail_cfg(e, "preferred server not permitted in placement");
}
