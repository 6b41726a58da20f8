/* Configurations to and from JSON. The tables below are the wire format: one row a field, in
 * upstream's order. */
#include "broker/js_config.h"

#include <json-c/json.h>
#include <stdio.h>

#include "broker/js_level.h"
#include "engine/base/base.h"

/* --- policies --------------------------------------------------------------------------------- */

static const char *const retention_words[] = {"limits", "interest", "workqueue"};
static const char *const storage_words[] = {"file", "memory"};
static const char *const discard_words[] = {"old", "new"};
static const char *const compression_words[] = {"none", "s2"};
static const char *const persist_words[] = {"default", "async"};
static const char *const deliver_words[] = {
    "all", "last", "new", "by_start_sequence", "by_start_time", "last_per_subject"};
static const char *const ack_words[] = {"none", "all", "explicit", "flow_control"};
static const char *const priority_words[] = {"none", "overflow", "pinned_client", "prioritized"};
static const char *const replay_words[] = {"instant", "original"};

static int find_word(const char *const *words, size_t n, struct json_object *v)
{
    const char *s = json_in_string(v);
    for (size_t i = 0; s != NULL && i < n; i++) {
        if (strcmp(words[i], s) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Enums are ints of the compiler's choice; all have the size of an int here. */
_Static_assert(sizeof(enum store_retention) == sizeof(int), "enum size");

static enum st get_enum(void *base, size_t offset, const char *const *words, size_t n,
                        struct json_object *v, struct err *err)
{
    int i = find_word(words, n, v);
    if (i < 0) {
        return json_in_bad_policy(v, err);
    }
    memcpy((char *)base + offset, &i, sizeof i);
    return ST_OK;
}

static enum st get_retention(void *base, size_t offset, struct json_object *v, struct err *err)
{
    return get_enum(base, offset, retention_words, ARRAY_LEN(retention_words), v, err);
}
static enum st get_storage(void *base, size_t offset, struct json_object *v, struct err *err)
{
    return get_enum(base, offset, storage_words, ARRAY_LEN(storage_words), v, err);
}
static enum st get_discard(void *base, size_t offset, struct json_object *v, struct err *err)
{
    return get_enum(base, offset, discard_words, ARRAY_LEN(discard_words), v, err);
}
static enum st get_compression(void *base, size_t offset, struct json_object *v, struct err *err)
{
    if (v != NULL && json_object_get_type(v) != json_type_string) {
        return json_in_type_error(v, "StreamConfigRequest.StreamConfig.compression", "string", err);
    }
    if (find_word(compression_words, ARRAY_LEN(compression_words), v) < 0) {
        return err_set(err, ST_INVALID, 0, "unknown compression algorithm");
    }
    return get_enum(base, offset, compression_words, ARRAY_LEN(compression_words), v, err);
}
static enum st get_persist(void *base, size_t offset, struct json_object *v, struct err *err)
{
    const char *s = json_in_string(v);
    if (s != NULL && s[0] == '\0') {
        return ST_OK;
    }
    return get_enum(base, offset, persist_words, ARRAY_LEN(persist_words), v, err);
}
static enum st get_deliver(void *base, size_t offset, struct json_object *v, struct err *err)
{
    const char *s = json_in_string(v);
    if (s != NULL && strcmp(s, "undefined") == 0) {
        return ST_OK;
    }
    return get_enum(base, offset, deliver_words, ARRAY_LEN(deliver_words), v, err);
}
static enum st get_ack(void *base, size_t offset, struct json_object *v, struct err *err)
{
    return get_enum(base, offset, ack_words, ARRAY_LEN(ack_words), v, err);
}
static enum st get_priority(void *base, size_t offset, struct json_object *v, struct err *err)
{
    const char *s = json_in_string(v);
    if (find_word(priority_words, ARRAY_LEN(priority_words), v) < 0) {
        const char *raw = json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN);
        return s == NULL ? err_set(err, ST_INVALID, 0, "unknown priority policy: %.60s", raw)
                         : err_set(err, ST_INVALID, 0, "unknown priority policy: \"%.60s\"", s);
    }
    return get_enum(base, offset, priority_words, ARRAY_LEN(priority_words), v, err);
}
static enum st get_replay(void *base, size_t offset, struct json_object *v, struct err *err)
{
    return get_enum(base, offset, replay_words, ARRAY_LEN(replay_words), v, err);
}

/* --- streams: in ------------------------------------------------------------------------------ */

/* The request as the decoder sees it: plain fields, moved into stream_cfg afterwards. */
struct stream_in {
    char *name, *description;
    struct json_strings subjects;
    enum store_retention retention;
    enum store_storage storage;
    enum store_discard discard;
    enum store_compression compression;
    enum store_persist persist;
    int64_t max_consumers, max_msgs, max_bytes, max_msgs_per_subject, max_age, max_msg_size,
        duplicate_window, replicas;
    uint64_t first_seq;
    bool no_ack, sealed, deny_delete, deny_purge, allow_rollup, allow_direct, mirror_direct,
        discard_new_per, allow_msg_ttl, allow_msg_counter, allow_atomic, allow_msg_schedules,
        allow_batched;
    int64_t marker_ttl;
    bool pedantic;
    struct js_cons_limits limits;
    struct js_origins origins;
    struct js_extra extra;
    struct json_map metadata;
};

#define F(member) offsetof(struct stream_in, member)
static const struct json_field limits_fields[] = {
    {"inactive_threshold", JSON_DURATION, F(limits.inactive_threshold_ns), NULL, NULL},
    {"max_ack_pending", JSON_INT, F(limits.max_ack_pending), NULL, NULL},
};
static const struct json_schema limits_schema = {
    "StreamConsumerLimits.StreamConfig.consumer_limits", "server.StreamConsumerLimits",
    limits_fields, ARRAY_LEN(limits_fields)};
static const struct json_schema beside = {"StreamConfigRequest", NULL, NULL, 0};
static const struct json_field stream_fields[] = {
    {"name", JSON_STRING, F(name), NULL, NULL},
    {"description", JSON_STRING, F(description), NULL, NULL},
    {"subjects", JSON_STRINGS, F(subjects), NULL, NULL},
    {"retention", JSON_CUSTOM, F(retention), get_retention, NULL},
    {"max_consumers", JSON_INT, F(max_consumers), NULL, NULL},
    {"max_msgs", JSON_I64, F(max_msgs), NULL, NULL},
    {"max_bytes", JSON_I64, F(max_bytes), NULL, NULL},
    {"max_age", JSON_DURATION, F(max_age), NULL, NULL},
    {"max_msgs_per_subject", JSON_I64, F(max_msgs_per_subject), NULL, NULL},
    {"max_msg_size", JSON_I32, F(max_msg_size), NULL, NULL},
    {"discard", JSON_CUSTOM, F(discard), get_discard, NULL},
    {"storage", JSON_CUSTOM, F(storage), get_storage, NULL},
    {"num_replicas", JSON_INT, F(replicas), NULL, NULL},
    {"no_ack", JSON_BOOL, F(no_ack), NULL, NULL},
    {"duplicate_window", JSON_DURATION, F(duplicate_window), NULL, NULL},
    {"placement", JSON_STRUCT, F(extra.placement), NULL, &js_placement_type.schema},
    {"mirror", JSON_STRUCT, F(origins.mirror), NULL, &js_mirror_type.schema},
    {"sources", JSON_STRUCTS, F(origins.sources), NULL, &js_source_type.schema},
    {"compression", JSON_CUSTOM, F(compression), get_compression, NULL},
    {"first_seq", JSON_U64, F(first_seq), NULL, NULL},
    {"subject_transform", JSON_STRUCT, F(extra.transform), NULL, &js_subject_change_type.schema},
    {"republish", JSON_STRUCT, F(extra.republish), NULL, &js_republish_type.schema},
    {"allow_direct", JSON_BOOL, F(allow_direct), NULL, NULL},
    {"mirror_direct", JSON_BOOL, F(mirror_direct), NULL, NULL},
    {"discard_new_per_subject", JSON_BOOL, F(discard_new_per), NULL, NULL},
    {"sealed", JSON_BOOL, F(sealed), NULL, NULL},
    {"deny_delete", JSON_BOOL, F(deny_delete), NULL, NULL},
    {"deny_purge", JSON_BOOL, F(deny_purge), NULL, NULL},
    {"allow_rollup_hdrs", JSON_BOOL, F(allow_rollup), NULL, NULL},
    {"consumer_limits", JSON_OBJECT, 0, NULL, &limits_schema},
    {"allow_msg_ttl", JSON_BOOL, F(allow_msg_ttl), NULL, NULL},
    {"subject_delete_marker_ttl", JSON_DURATION, F(marker_ttl), NULL, NULL},
    {"allow_msg_counter", JSON_BOOL, F(allow_msg_counter), NULL, NULL},
    {"allow_atomic", JSON_BOOL, F(allow_atomic), NULL, NULL},
    {"allow_msg_schedules", JSON_BOOL, F(allow_msg_schedules), NULL, NULL},
    {"persist_mode", JSON_CUSTOM, F(persist), get_persist, NULL},
    {"allow_batched", JSON_BOOL, F(allow_batched), NULL, NULL},
    {"metadata", JSON_MAP, F(metadata), NULL, NULL},
    {"pedantic", JSON_BOOL, F(pedantic), NULL, &beside},
};
#undef F
static const struct json_schema stream_schema = {"StreamConfigRequest.StreamConfig",
                                                 "server.StreamConfigRequest", stream_fields,
                                                 ARRAY_LEN(stream_fields)};

static void metadata_move(struct json_map *m, struct store_kv **kv_out, size_t *n_out)
{
    *kv_out = NULL;
    *n_out = m->n;
    if (m->n > 0) {
        *kv_out = base_calloc(m->n, sizeof **kv_out);
        for (size_t i = 0; i < m->n; i++) {
            (*kv_out)[i] = (struct store_kv){m->v[i].key, m->v[i].value};
        }
    }
    base_free(m->v);
    *m = (struct json_map){0};
    js_level_strip(*kv_out, n_out);
}

void js_stream_req_init(struct js_stream_req *r)
{
    *r = (struct js_stream_req){0};
    stream_cfg_init(&r->cfg);
}

void js_stream_req_fini(struct js_stream_req *r)
{
    stream_cfg_fini(&r->cfg);
    js_origins_fini(&r->origins);
    js_extra_fini(&r->extra);
    *r = (struct js_stream_req){0};
}

void js_stream_req_seal(struct js_stream_req *r)
{
    const struct js_cons_limits *lim = &r->limits;
    struct json_out j = {0};
    bool limits = lim->inactive_threshold_ns != 0 || lim->max_ack_pending != 0;
    base_free(r->cfg.opaque);
    r->cfg.opaque = NULL;
    r->cfg.opaque_len = 0;
    if (!limits && r->origins.mirror.n + r->origins.sources.n + r->extra.placement.n +
                           r->extra.transform.n + r->extra.republish.n ==
                       0) {
        return;
    }
    json_out_begin(&j);
    if (limits) {
        json_out_open(&j, "consumer_limits");
        json_out_i64(&j, "inactive_threshold", lim->inactive_threshold_ns);
        json_out_i64(&j, "max_ack_pending", lim->max_ack_pending);
        json_out_end(&j);
    }
    js_extra_put_placement(&j, &r->extra);
    js_origins_put(&j, &r->origins);
    js_extra_put_subjects(&j, &r->extra);
    json_out_end(&j);
    r->cfg.opaque = (uint8_t *)json_out_take(&j, &r->cfg.opaque_len);
}

/* Everything moves: `in` owns nothing afterwards. */
static void stream_move(struct js_stream_req *r, struct stream_in *in)
{
    struct stream_cfg *c = &r->cfg;
    c->name = in->name;
    c->description = in->description;
    c->subjects = in->subjects.v;
    c->nsubjects = in->subjects.n;
    c->retention = in->retention;
    c->storage = in->storage;
    c->discard = in->discard;
    c->compression = in->compression;
    c->persist = in->persist;
    c->max_consumers = in->max_consumers;
    c->max_msgs = in->max_msgs;
    c->max_bytes = in->max_bytes;
    c->max_msgs_per_subject = in->max_msgs_per_subject;
    c->max_age_ns = in->max_age;
    c->max_msg_size = (int32_t)in->max_msg_size;
    c->duplicates_ns = in->duplicate_window;
    c->first_seq = in->first_seq;
    c->replicas = in->replicas < 0            ? UINT32_MAX
                  : in->replicas > UINT16_MAX ? UINT16_MAX
                                              : (uint32_t)in->replicas;
    c->no_ack = in->no_ack;
    c->sealed = in->sealed;
    c->deny_delete = in->deny_delete;
    c->deny_purge = in->deny_purge;
    c->allow_rollup = in->allow_rollup;
    c->allow_direct = in->allow_direct;
    c->mirror_direct = in->mirror_direct;
    c->discard_new_per_subject = in->discard_new_per;
    c->allow_msg_ttl = in->allow_msg_ttl;
    c->allow_msg_counter = in->allow_msg_counter;
    c->allow_atomic = in->allow_atomic;
    c->allow_msg_schedules = in->allow_msg_schedules;
    c->allow_batched = in->allow_batched;
    c->subject_delete_marker_ttl_ns = in->marker_ttl;
    metadata_move(&in->metadata, &c->metadata, &c->nmetadata);
    r->limits = in->limits;
    r->pedantic = in->pedantic;
    r->origins = in->origins;
    in->origins = (struct js_origins){0};
    r->extra = in->extra;
    in->extra = (struct js_extra){0};
    c->mirror = r->origins.mirror.n > 0;
    js_stream_req_seal(r);
}

static bool refuse_unserved(const struct json_decode *d, struct api_error *e)
{
    if (d->unserved == NULL) {
        return false;
    }
    api_error_text(e, API_STREAM_INVALID_CONFIG, "%s is not served yet by this version",
                   d->unserved);
    return true;
}

bool js_stream_req_parse(struct js_stream_req *r, const void *p, size_t len,
                         const struct js_limits *lim, struct api_error *e)
{
    struct json_decode d = {.strict = lim->strict};
    struct stream_in in = {0};
    struct err err = {0};
    enum st st = json_in_read(&d, p, len, &stream_schema, &in, &err);
    stream_cfg_fini(&r->cfg);
    stream_cfg_init(&r->cfg);
    js_origins_fini(&r->origins);
    js_extra_fini(&r->extra);
    stream_move(r, &in);
    if (st != ST_OK) {
        api_error_set2(e, API_INVALID_JSON, err.msg, NULL);
        return false;
    }
    return !refuse_unserved(&d, e);
}

void js_stream_limits(const struct stream_cfg *c, struct js_cons_limits *out)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct stream_in in = {0};
    *out = (struct js_cons_limits){0};
    if (c->opaque_len == 0) {
        return;
    }
    if (json_in_parse(&doc, c->opaque, c->opaque_len, NULL) == ST_OK &&
        json_in_decode(&d, doc.root, &stream_schema, &in, NULL) == ST_OK) {
        *out = in.limits;
    }
    json_in_fini(&doc);
    /* what else stands in opaque is dropped */
    struct js_stream_req drop;
    js_stream_req_init(&drop);
    stream_cfg_fini(&drop.cfg);
    stream_cfg_init(&drop.cfg);
    stream_move(&drop, &in);
    js_stream_req_fini(&drop);
}

/* --- streams: out ----------------------------------------------------------------------------- */

static void put_strings(struct json_out *j, const char *key, char *const *v, size_t n)
{
    json_out_array(j, key);
    for (size_t i = 0; i < n; i++) {
        json_out_val_str(j, v[i], strlen(v[i]));
    }
    json_out_array_end(j);
}

static void put_true(struct json_out *j, const char *key, bool v)
{
    if (v) {
        json_out_bool(j, key, true);
    }
}

static void put_limits(struct json_out *j, const struct stream_cfg *c)
{
    struct js_cons_limits lim;
    js_stream_limits(c, &lim);
    json_out_open(j, "consumer_limits");
    if (lim.inactive_threshold_ns != 0) {
        json_out_i64(j, "inactive_threshold", lim.inactive_threshold_ns);
    }
    if (lim.max_ack_pending != 0) {
        json_out_i64(j, "max_ack_pending", lim.max_ack_pending);
    }
    json_out_end(j);
}

void js_stream_cfg_put(struct json_out *j, const struct stream_cfg *c, bool server)
{
    struct js_origins origins;
    struct js_extra extra;
    js_origins_read(c, &origins);
    js_extra_read(c, &extra);
    json_out_begin(j);
    json_out_str(j, "name", c->name);
    if (c->description != NULL && c->description[0] != '\0') {
        json_out_str(j, "description", c->description);
    }
    if (c->nsubjects > 0) {
        put_strings(j, "subjects", c->subjects, c->nsubjects);
    }
    json_out_str(j, "retention", retention_words[c->retention]);
    json_out_i64(j, "max_consumers", c->max_consumers);
    json_out_i64(j, "max_msgs", c->max_msgs);
    json_out_i64(j, "max_bytes", c->max_bytes);
    json_out_i64(j, "max_age", c->max_age_ns);
    json_out_i64(j, "max_msgs_per_subject", c->max_msgs_per_subject);
    json_out_i64(j, "max_msg_size", c->max_msg_size);
    json_out_str(j, "discard", discard_words[c->discard]);
    json_out_str(j, "storage", storage_words[c->storage]);
    json_out_u64(j, "num_replicas", c->replicas);
    if (c->no_ack) {
        json_out_bool(j, "no_ack", true);
    }
    if (c->duplicates_ns != 0) {
        json_out_i64(j, "duplicate_window", c->duplicates_ns);
    }
    js_extra_put_placement(j, &extra);
    js_origins_put(j, &origins);
    js_origins_fini(&origins);
    json_out_str(j, "compression", compression_words[c->compression]);
    if (c->first_seq != 0) {
        json_out_u64(j, "first_seq", c->first_seq);
    }
    js_extra_put_subjects(j, &extra);
    js_extra_fini(&extra);
    json_out_bool(j, "allow_direct", c->allow_direct);
    json_out_bool(j, "mirror_direct", c->mirror_direct);
    if (c->discard_new_per_subject) {
        json_out_bool(j, "discard_new_per_subject", true);
    }
    json_out_bool(j, "sealed", c->sealed);
    json_out_bool(j, "deny_delete", c->deny_delete);
    json_out_bool(j, "deny_purge", c->deny_purge);
    json_out_bool(j, "allow_rollup_hdrs", c->allow_rollup);
    put_limits(j, c);
    json_out_bool(j, "allow_msg_ttl", c->allow_msg_ttl);
    if (c->subject_delete_marker_ttl_ns != 0) {
        json_out_i64(j, "subject_delete_marker_ttl", c->subject_delete_marker_ttl_ns);
    }
    put_true(j, "allow_msg_counter", c->allow_msg_counter);
    put_true(j, "allow_atomic", c->allow_atomic);
    put_true(j, "allow_msg_schedules", c->allow_msg_schedules);
    if (c->persist == PERSIST_ASYNC) {
        json_out_str(j, "persist_mode", persist_words[c->persist]);
    }
    put_true(j, "allow_batched", c->allow_batched);
    js_level_put(j, c->metadata, c->nmetadata, js_level_of_stream(c), server);
    json_out_end(j);
}

/* --- consumers: in ---------------------------------------------------------------------------- */

struct cons_in {
    char *stream_name, *durable, *name, *description, *filter, *deliver_subject, *deliver_group,
        *sample_freq;
    struct json_strings filters;
    struct json_durations backoff;
    enum cons_deliver deliver;
    enum cons_ack_policy ack;
    enum cons_replay replay;
    uint64_t opt_start_seq, rate_limit;
    int64_t opt_start_time, ack_wait, max_deliver, max_ack_pending, max_waiting, max_batch,
        max_expires, max_bytes, heartbeat, inactive_threshold, replicas;
    int64_t pause_until, priority_timeout;
    struct json_strings priority_groups;
    enum cons_priority priority;
    bool flow_control, headers_only, mem_storage, direct, pedantic, sourcing;
    enum js_cons_action action;
    struct json_map metadata;
};

static enum st get_action(void *base, size_t offset, struct json_object *v, struct err *err)
{
    static const char *const words[] = {"", "create", "update"};
    if (find_word(words, ARRAY_LEN(words), v) < 0) {
        int form = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
        return err_set(err, ST_INVALID, 0, "unknown consumer action: %.60s",
                       v == NULL ? "null" : json_object_to_json_string_ext(v, form));
    }
    return get_enum(base, offset, words, ARRAY_LEN(words), v, err);
}

#define F(member) offsetof(struct cons_in, member)
static const struct json_field cons_fields[] = {
    {"durable_name", JSON_STRING, F(durable), NULL, NULL},
    {"name", JSON_STRING, F(name), NULL, NULL},
    {"description", JSON_STRING, F(description), NULL, NULL},
    {"deliver_policy", JSON_CUSTOM, F(deliver), get_deliver, NULL},
    {"opt_start_seq", JSON_U64, F(opt_start_seq), NULL, NULL},
    {"opt_start_time", JSON_TIME_PTR, F(opt_start_time), NULL, NULL},
    {"ack_policy", JSON_CUSTOM, F(ack), get_ack, NULL},
    {"ack_wait", JSON_DURATION, F(ack_wait), NULL, NULL},
    {"max_deliver", JSON_INT, F(max_deliver), NULL, NULL},
    {"backoff", JSON_DURATIONS, F(backoff), NULL, NULL},
    {"filter_subject", JSON_STRING, F(filter), NULL, NULL},
    {"filter_subjects", JSON_STRINGS, F(filters), NULL, NULL},
    {"replay_policy", JSON_CUSTOM, F(replay), get_replay, NULL},
    {"rate_limit_bps", JSON_U64, F(rate_limit), NULL, NULL},
    {"sample_freq", JSON_STRING, F(sample_freq), NULL, NULL},
    {"max_waiting", JSON_INT, F(max_waiting), NULL, NULL},
    {"max_ack_pending", JSON_INT, F(max_ack_pending), NULL, NULL},
    {"flow_control", JSON_BOOL, F(flow_control), NULL, NULL},
    {"headers_only", JSON_BOOL, F(headers_only), NULL, NULL},
    {"max_batch", JSON_INT, F(max_batch), NULL, NULL},
    {"max_expires", JSON_DURATION, F(max_expires), NULL, NULL},
    {"max_bytes", JSON_INT, F(max_bytes), NULL, NULL},
    {"deliver_subject", JSON_STRING, F(deliver_subject), NULL, NULL},
    {"deliver_group", JSON_STRING, F(deliver_group), NULL, NULL},
    {"idle_heartbeat", JSON_DURATION, F(heartbeat), NULL, NULL},
    {"inactive_threshold", JSON_DURATION, F(inactive_threshold), NULL, NULL},
    {"num_replicas", JSON_INT, F(replicas), NULL, NULL},
    {"mem_storage", JSON_BOOL, F(mem_storage), NULL, NULL},
    {"direct", JSON_BOOL, F(direct), NULL, NULL},
    {"metadata", JSON_MAP, F(metadata), NULL, NULL},
    {"pause_until", JSON_TIME, F(pause_until), NULL, NULL},
    {"priority_groups", JSON_STRINGS, F(priority_groups), NULL, NULL},
    {"priority_policy", JSON_CUSTOM, F(priority), get_priority, NULL},
    {"priority_timeout", JSON_DURATION, F(priority_timeout), NULL, NULL},
    {"sourcing", JSON_BOOL, F(sourcing), NULL, NULL},
};
static const struct json_schema cons_schema = {"ConsumerConfig.config", "server.ConsumerConfig",
                                               cons_fields, ARRAY_LEN(cons_fields)};
static const struct json_field create_fields[] = {
    {"stream_name", JSON_STRING, F(stream_name), NULL, NULL},
    {"config", JSON_OBJECT, 0, NULL, &cons_schema},
    {"action", JSON_CUSTOM, F(action), get_action, NULL},
    {"pedantic", JSON_BOOL, F(pedantic), NULL, NULL},
};
#undef F
static const struct json_schema create_schema = {"CreateConsumerRequest",
                                                 "server.CreateConsumerRequest", create_fields,
                                                 ARRAY_LEN(create_fields)};

void js_cons_req_init(struct js_cons_req *r)
{
    *r = (struct js_cons_req){0};
    cons_cfg_init(&r->cfg);
}

void js_cons_req_fini(struct js_cons_req *r)
{
    base_free(r->stream_name);
    base_free(r->durable);
    cons_cfg_fini(&r->cfg);
    *r = (struct js_cons_req){0};
}

/* An empty string is as good as none. */
static char *text_or_null(char *s)
{
    if (s != NULL && s[0] == '\0') {
        base_free(s);
        return NULL;
    }
    return s;
}

static void cons_move_filters(struct js_cons_req *r, struct cons_in *in)
{
    struct cons_cfg *c = &r->cfg;
    c->filters = in->filters.v;
    c->nfilters = in->filters.n;
    c->single_filter = false;
    char *single = text_or_null(in->filter);
    if (single == NULL) {
        return;
    }
    /* both given: an error the check reports; until then the single one stands last */
    c->single_filter = true;
    c->filters = base_realloc(c->filters, (c->nfilters + 1) * sizeof *c->filters);
    c->filters[c->nfilters++] = single;
}

static void cons_move(struct js_cons_req *r, struct cons_in *in)
{
    struct cons_cfg *c = &r->cfg;
    r->stream_name = in->stream_name;
    r->durable = text_or_null(in->durable);
    r->action = in->action;
    r->pedantic = in->pedantic;
    c->name = text_or_null(in->name);
    c->durable = r->durable != NULL;
    c->description = text_or_null(in->description);
    c->deliver = in->deliver;
    c->ack = in->ack;
    c->replay = in->replay;
    c->opt_start_seq = in->opt_start_seq;
    c->opt_start_time_ns = in->opt_start_time;
    c->ack_wait_ns = in->ack_wait;
    c->max_deliver = in->max_deliver;
    c->backoff_ns = in->backoff.v;
    c->nbackoff = in->backoff.n;
    cons_move_filters(r, in);
    c->max_ack_pending = in->max_ack_pending;
    c->max_waiting = in->max_waiting;
    c->max_batch = in->max_batch;
    c->max_bytes = in->max_bytes;
    c->max_expires_ns = in->max_expires;
    c->deliver_subject = text_or_null(in->deliver_subject);
    c->deliver_group = text_or_null(in->deliver_group);
    c->flow_control = in->flow_control;
    c->headers_only = in->headers_only;
    c->mem_storage = in->mem_storage;
    c->direct = in->direct;
    c->heartbeat_ns = in->heartbeat;
    c->inactive_threshold_ns = in->inactive_threshold;
    c->rate_limit_bps = in->rate_limit;
    c->sample_freq = text_or_null(in->sample_freq);
    c->replicas = in->replicas < 0            ? UINT32_MAX
                  : in->replicas > UINT16_MAX ? UINT16_MAX
                                              : (uint32_t)in->replicas;
    c->pause_until_ns = in->pause_until;
    c->priority = in->priority;
    c->priority_groups = in->priority_groups.v;
    c->npriority_groups = in->priority_groups.n;
    c->priority_timeout_ns = in->priority_timeout;
    c->sourcing = in->sourcing;
    metadata_move(&in->metadata, &c->metadata, &c->nmetadata);
}

bool js_cons_req_parse(struct js_cons_req *r, const void *p, size_t len,
                       const struct js_limits *lim, struct api_error *e)
{
    struct json_decode d = {.strict = lim->strict};
    struct cons_in in = {0};
    struct err err = {0};
    enum st st = json_in_read(&d, p, len, &create_schema, &in, &err);
    js_cons_req_fini(r);
    js_cons_req_init(r);
    cons_move(r, &in);
    if (st != ST_OK) {
        api_error_set2(e, API_INVALID_JSON, err.msg, NULL);
        return false;
    }
    return !refuse_unserved(&d, e);
}

/* --- consumers: out --------------------------------------------------------------------------- */

static void put_i64_set(struct json_out *j, const char *key, int64_t v)
{
    if (v != 0) {
        json_out_i64(j, key, v);
    }
}
static void put_str_set(struct json_out *j, const char *key, const char *s)
{
    if (s != NULL && s[0] != '\0') {
        json_out_str(j, key, s);
    }
}
static const char made_up[] = "{\"name_made_up\":true}";

void js_cons_mark_made_up(struct cons_cfg *c)
{
    base_free(c->opaque);
    c->opaque = (uint8_t *)base_strdup(made_up);
    c->opaque_len = sizeof made_up - 1;
}

bool js_cons_name_made_up(const struct cons_cfg *c)
{
    return c->opaque_len == sizeof made_up - 1 && memcmp(c->opaque, made_up, c->opaque_len) == 0;
}

void js_cons_cfg_put(struct json_out *j, const struct cons_cfg *c, bool server)
{
    json_out_begin(j);
    if (c->durable) {
        json_out_str(j, "durable_name", c->name);
    }
    if (!js_cons_name_made_up(c)) {
        json_out_str(j, "name", c->name);
    }
    put_str_set(j, "description", c->description);
    json_out_str(j, "deliver_policy", deliver_words[c->deliver]);
    if (c->opt_start_seq != 0) {
        json_out_u64(j, "opt_start_seq", c->opt_start_seq);
    }
    if (c->opt_start_time_ns != 0) {
        json_out_time(j, "opt_start_time", c->opt_start_time_ns);
    }
    json_out_str(j, "ack_policy", ack_words[c->ack]);
    put_i64_set(j, "ack_wait", c->ack_wait_ns);
    put_i64_set(j, "max_deliver", c->max_deliver);
    if (c->nbackoff > 0) {
        json_out_array(j, "backoff");
        for (size_t i = 0; i < c->nbackoff; i++) {
            json_out_val_i64(j, c->backoff_ns[i]);
        }
        json_out_array_end(j);
    }
    if (c->single_filter && c->nfilters == 1) {
        json_out_str(j, "filter_subject", c->filters[0]);
    } else if (c->nfilters > 0) {
        put_strings(j, "filter_subjects", c->filters, c->nfilters);
    }
    json_out_str(j, "replay_policy", replay_words[c->replay]);
    if (c->rate_limit_bps != 0) {
        json_out_u64(j, "rate_limit_bps", c->rate_limit_bps);
    }
    put_str_set(j, "sample_freq", c->sample_freq);
    put_i64_set(j, "max_waiting", c->max_waiting);
    put_i64_set(j, "max_ack_pending", c->max_ack_pending);
    put_true(j, "flow_control", c->flow_control);
    put_true(j, "headers_only", c->headers_only);
    put_i64_set(j, "max_batch", c->max_batch);
    put_i64_set(j, "max_expires", c->max_expires_ns);
    put_i64_set(j, "max_bytes", c->max_bytes);
    put_str_set(j, "deliver_subject", c->deliver_subject);
    put_str_set(j, "deliver_group", c->deliver_group);
    put_i64_set(j, "idle_heartbeat", c->heartbeat_ns);
    put_i64_set(j, "inactive_threshold", c->inactive_threshold_ns);
    json_out_u64(j, "num_replicas", c->replicas);
    put_true(j, "mem_storage", c->mem_storage);
    put_true(j, "direct", c->direct);
    put_true(j, "sourcing", c->sourcing);
    js_level_put(j, c->metadata, c->nmetadata, js_level_of_consumer(c), server);
    if (c->pause_until_ns != 0) {
        json_out_time(j, "pause_until", c->pause_until_ns);
    }
    if (c->npriority_groups > 0) {
        put_strings(j, "priority_groups", c->priority_groups, c->npriority_groups);
    }
    if (c->priority != PRIORITY_NONE) {
        json_out_str(j, "priority_policy", priority_words[c->priority]);
    }
    put_i64_set(j, "priority_timeout", c->priority_timeout_ns);
    json_out_end(j);
}
