/* Defaults and rules of streams' configurations. The order of the checks is upstream's where two
 * could fail at once. Consumers': js_config_cons.c. */
#include "broker/js_config.h"
#include "broker/js_config_pub.h"

#include <stdio.h>

#include "broker/js_config_rules.h"
#include "engine/base/godur.h"

bool js_name_valid(const char *s)
{
    if (*s == '\0') {
        return false;
    }
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= ' ' || c == 0x7f || c == '.' || c == '*' || c == '>' || c == '/' || c == '\\') {
            return false;
        }
    }
    return true;
}

static int64_t none_if_unset(int64_t v)
{
    return v <= 0 ? -1 : v;
}

/* --- streams ---------------------------------------------------------------------------------- */

static bool check_stream_name(const struct stream_cfg *c, bool create, struct api_error *e)
{
    if (create && (strchr(c->name, '/') != NULL || strchr(c->name, '\\') != NULL)) {
        return fail(e, API_STREAM_NAME_CONTAINS_PATH_SEPARATORS);
    }
    if (!js_name_valid(c->name)) {
        return fail_cfg(e, "stream name is required and can not contain '.', '*', '>', '\\', '/'");
    }
    if (strlen(c->name) > LIM_NAME_BYTES_MAX) {
        return fail_cfg(e, "stream name is too long, maximum allowed is 255");
    }
    return true;
}

static bool copies(const struct js_stream_req *r)
{
    return r->origins.mirror.n + r->origins.sources.n > 0;
}

static void stream_defaults(struct js_stream_req *r)
{
    struct stream_cfg *c = &r->cfg;
    c->max_consumers = none_if_unset(c->max_consumers);
    c->max_msgs = none_if_unset(c->max_msgs);
    c->max_bytes = none_if_unset(c->max_bytes);
    c->max_msgs_per_subject = none_if_unset(c->max_msgs_per_subject);
    c->max_msg_size = c->max_msg_size <= 0 ? -1 : c->max_msg_size;
    c->replicas = c->replicas == 0 ? 1 : c->replicas;
    if (c->nsubjects == 0 && !copies(r)) {
        c->subjects = base_realloc(c->subjects, sizeof *c->subjects);
        c->subjects[c->nsubjects++] = base_strdup(c->name);
    }
}

static bool check_first_seq(const struct stream_cfg *c, struct api_error *e)
{
    return c->first_seq <= STORE_SEQ_MAX ||
           fail_cfg(e, "first sequence can not be above 4611686018427387904");
}

static bool check_window(struct js_stream_req *r, const struct js_limits *lim, struct api_error *e)
{
    struct stream_cfg *c = &r->cfg;
    if (c->max_age_ns < 0) {
        return fail_cfg(e, "max age can not be negative");
    }
    if (c->max_age_ns != 0 && c->max_age_ns < 100 * NS_PER_MS) {
        return fail_cfg(e, "max age needs to be >= 100ms");
    }
    if (c->duplicates_ns < 0) {
        return fail_cfg(e, "duplicates window can not be negative");
    }
    if (c->duplicates_ns == 0 && copies(r)) {
        return true; /* a copy is stored once without a window */
    }
    if (c->duplicates_ns == 0) {
        int64_t most =
            lim->duplicate_window_ns > 0 ? lim->duplicate_window_ns : LIM_DUP_WINDOW_NS_DEFAULT;
        c->duplicates_ns = most < LIM_DUP_WINDOW_NS_DEFAULT ? most : LIM_DUP_WINDOW_NS_DEFAULT;
        if (c->max_age_ns != 0 && c->max_age_ns < c->duplicates_ns) {
            if (r->pedantic) {
                api_error_set2(e, API_PEDANTIC, "duplicate window cannot be bigger than max age",
                               NULL);
                return false;
            }
            c->duplicates_ns = c->max_age_ns;
        }
    }
    if (c->max_age_ns != 0 && c->duplicates_ns > c->max_age_ns) {
        return fail_cfg(e, "duplicates window can not be larger then max age");
    }
    if (c->duplicates_ns < 100 * NS_PER_MS) {
        return fail_cfg(e, "duplicates window needs to be >= 100ms");
    }
    if (lim->duplicate_window_ns > 0 && c->duplicates_ns > lim->duplicate_window_ns) {
        char text[GODUR_MAX];
        (void)godur_put(text, lim->duplicate_window_ns);
        api_error_setf(e, API_STREAM_INVALID_CONFIG,
                       "duplicates window can not be larger then server limit of %s", text);
        return false;
    }
    return true;
}

/* Subjects that the server itself listens to; a stream on them would answer API requests with acks.
 */
static bool check_reserved(const char *s, const struct stream_cfg *c, struct api_error *e)
{
    static const char *const js[] = {"$JS.>", "$JSC.>", "$NRG.>"};
    size_t len = strlen(s);
    if (c->no_ack) {
        return true;
    }
    if (strcmp(s, ">") == 0) {
        return fail_cfg(e, "capturing all subjects requires no-ack to be true");
    }
    for (size_t i = 0; i < ARRAY_LEN(js); i++) {
        bool event = subject_subset(s, len, "$JS.EVENT.>", 11);
        if (overlap(s, js[i]) && !event) {
            return fail_cfg(e,
                            "subjects that overlap with jetstream api require no-ack to be true");
        }
    }
    if (overlap(s, "$SYS.>") && !subject_subset(s, len, "$SYS.ACCOUNT.>", 14)) {
        return fail_cfg(e, "subjects that overlap with system api require no-ack to be true");
    }
    return true;
}

static bool check_subjects(const struct stream_cfg *c, struct api_error *e)
{
    for (size_t i = 0; i < c->nsubjects; i++) {
        const char *s = c->subjects[i];
        if (!subject_valid(s, strlen(s))) {
            return fail_cfg(e, "invalid subject");
        }
    }
    for (size_t i = 0; i < c->nsubjects; i++) {
        for (size_t k = i + 1; k < c->nsubjects; k++) {
            if (overlap(c->subjects[i], c->subjects[k])) {
                api_error_setf(e, API_STREAM_INVALID_CONFIG, "subject \"%s\" overlaps with \"%s\"",
                               c->subjects[i], c->subjects[k]);
                return false;
            }
        }
    }
    for (size_t i = 0; i < c->nsubjects; i++) {
        if (!check_reserved(c->subjects[i], c, e)) {
            return false;
        }
    }
    return true;
}

static bool check_discard(const struct stream_cfg *c, struct api_error *e)
{
    if (c->deny_purge && c->allow_rollup) {
        return fail_cfg(e, "roll-ups require the purge permission");
    }
    if (!js_config_counter_check(c, e)) {
        return false;
    }
    if (c->discard_new_per_subject && c->discard != DISCARD_NEW) {
        return fail_cfg(e, "discard new per subject requires discard new policy to be set");
    }
    if (c->discard_new_per_subject && c->max_msgs_per_subject <= 0) {
        return fail_cfg(e, "discard new per subject requires max msgs per subject > 0");
    }
    return true;
}

/* Pedantic: no limit is -1, not just anything below it. */
static bool check_unlimited(const struct stream_cfg *c, struct api_error *e)
{
    const struct {
        const char *name;
        int64_t value;
    } limits[] = {
        {"max_msgs", c->max_msgs},           {"max_msgs_per_subject", c->max_msgs_per_subject},
        {"max_bytes", c->max_bytes},         {"max_msg_size", c->max_msg_size},
        {"max_consumers", c->max_consumers},
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        if (limits[i].value < -1) {
            char text[64];
            (void)snprintf(text, sizeof text, "%s must be set to -1", limits[i].name);
            api_error_set2(e, API_PEDANTIC, text, NULL);
            return false;
        }
    }
    return true;
}

static bool check_new(const struct js_stream_req *r, struct api_error *e)
{
    if (r->cfg.sealed) {
        return fail_cfg(e, "stream configuration for create can not be sealed");
    }
    if (r->cfg.mirror_direct && r->origins.mirror.n == 0) { /* an update may promote a mirror */
        return fail_cfg(e, "stream has no mirror but does have mirror direct");
    }
    return true;
}

static bool check_sizes(const struct js_stream_req *r, struct api_error *e)
{
    const struct stream_cfg *c = &r->cfg;
    if (c->description != NULL && strlen(c->description) > LIM_DESCRIPTION_BYTES_MAX) {
        return fail_cfg(e, "stream description is too long, maximum allowed is 4096");
    }
    if (metadata_bytes(c->metadata, c->nmetadata) > LIM_METADATA_BYTES_MAX) {
        return fail_cfg(e, "stream metadata exceeds maximum size of 131072 bytes");
    }
    if (c->replicas == UINT32_MAX) {
        return fail(e, API_REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    }
    if (c->replicas > LIM_REPLICAS_MAX) {
        return fail_cfg(e, "maximum replicas is 5");
    }
    return !r->pedantic || check_unlimited(c, e);
}

bool js_stream_req_check(struct js_stream_req *r, const struct js_limits *lim, struct api_error *e)
{
    struct stream_cfg *c = &r->cfg;
    if (c->name == NULL) {
        return fail_cfg(e, "stream name is required and can not contain '.', '*', '>', '\\', '/'");
    }
    if (!check_stream_name(c, r->create, e) || (r->create && !check_new(r, e)) ||
        !check_sizes(r, e)) {
        return false;
    }
    stream_defaults(r);
    if (!check_first_seq(c, e) || !check_window(r, lim, e) || !check_discard(c, e) ||
        !js_config_pub_check(c, r->pedantic, e) || !js_origins_check(&r->origins, c, e) ||
        (r->others != NULL && !r->others(r->others_arg, r, e)) || !check_subjects(c, e) ||
        !js_extra_check(&r->extra, c, r->pedantic, e)) {
        return false;
    }
    js_stream_req_seal(r);
    if (c->replicas > 1 && r->create) { /* an update says what else is wrong first */
        return fail(e, API_STREAM_REPLICAS_NOT_SUPPORTED);
    }
    return true;
}

static bool same_mirror(const struct js_origins *o, const struct stream_cfg *old)
{
    struct js_origins was, now = {.mirror = o->mirror};
    struct json_out a = {0}, b = {0};
    js_origins_read(old, &was);
    struct js_origins then = {.mirror = was.mirror};
    js_origins_put(&a, &now);
    js_origins_put(&b, &then);
    bool same = a.len == b.len && (a.len == 0 || memcmp(a.buf, b.buf, a.len) == 0);
    json_out_fini(&a);
    json_out_fini(&b);
    js_origins_fini(&was);
    return same;
}

bool js_stream_update_check(struct js_stream_req *r, const struct stream_cfg *old,
                            struct api_error *e)
{
    struct stream_cfg *c = &r->cfg;
    if (c->storage != old->storage) {
        return fail_cfg(e, "stream configuration update can not change storage type");
    }
    if (c->retention != old->retention &&
        (c->retention == RETENTION_WORKQUEUE || old->retention == RETENTION_WORKQUEUE)) {
        return fail_cfg(
            e, "stream configuration update can not change retention policy to/from workqueue");
    }
    if (r->origins.mirror.n > 0 && !same_mirror(&r->origins, old)) {
        return fail(e, API_STREAM_MIRROR_NOT_UPDATABLE); /* it may be left out: promotion */
    }
    if (old->sealed && !c->sealed) {
        return fail_cfg(e, "stream configuration update can not unseal a sealed stream");
    }
    if (old->deny_delete && !c->deny_delete) {
        return fail_cfg(e, "stream configuration update can not cancel deny message deletes");
    }
    if (old->deny_purge && !c->deny_purge) {
        return fail_cfg(e, "stream configuration update can not cancel deny purge");
    }
    if (!js_config_pub_update(c, old, e)) {
        return false;
    }
    if (c->persist != old->persist) {
        return fail_cfg(e, "stream configuration update can not change persist mode");
    }
    if (c->sealed && !old->sealed) {
        c->max_age_ns = 0;
        c->discard = DISCARD_NEW;
        c->deny_delete = true;
        c->deny_purge = true;
        c->allow_rollup = false;
    }
    return true;
}

bool js_stream_cfg_equal(const struct stream_cfg *a, const struct stream_cfg *b)
{
    bool limits = a->max_consumers == b->max_consumers && a->max_msgs == b->max_msgs &&
                  a->max_bytes == b->max_bytes &&
                  a->max_msgs_per_subject == b->max_msgs_per_subject &&
                  a->max_age_ns == b->max_age_ns && a->max_msg_size == b->max_msg_size &&
                  a->duplicates_ns == b->duplicates_ns && a->first_seq == b->first_seq &&
                  a->replicas == b->replicas;
    bool policies = a->retention == b->retention && a->storage == b->storage &&
                    a->discard == b->discard && a->compression == b->compression &&
                    a->persist == b->persist;
    bool flags =
        a->no_ack == b->no_ack && a->sealed == b->sealed && a->deny_delete == b->deny_delete &&
        a->deny_purge == b->deny_purge && a->allow_rollup == b->allow_rollup &&
        a->allow_direct == b->allow_direct && a->mirror_direct == b->mirror_direct &&
        a->discard_new_per_subject == b->discard_new_per_subject &&
        a->allow_msg_ttl == b->allow_msg_ttl && a->allow_msg_counter == b->allow_msg_counter &&
        a->allow_atomic == b->allow_atomic && a->allow_msg_schedules == b->allow_msg_schedules &&
        a->allow_batched == b->allow_batched &&
        a->subject_delete_marker_ttl_ns == b->subject_delete_marker_ttl_ns;
    return limits && policies && flags && str_equal(a->name, b->name) &&
           str_equal(a->description, b->description) &&
           strs_equal(a->subjects, a->nsubjects, b->subjects, b->nsubjects) &&
           kv_equal(a->metadata, a->nmetadata, b->metadata, b->nmetadata) &&
           a->opaque_len == b->opaque_len &&
           (a->opaque_len == 0 || memcmp(a->opaque, b->opaque, a->opaque_len) == 0);
}
