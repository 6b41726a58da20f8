/* Stream configs and states between the API's JSON and engine/store.h's structs; small readers. A
 * config that is changed is sent back as it came, but for what was changed: members that we do not
 * know stay. */
#include <stdlib.h>
#include <time.h>

#include "tools/remote_int.h"

const char *remote_str(json_object *o, const char *key)
{
    json_object *v;
    if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string)) {
        return "";
    }
    return json_object_get_string(v);
}

int64_t remote_i64(json_object *o, const char *key, int64_t none)
{
    json_object *v;
    if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int)) {
        return none;
    }
    return json_object_get_int64(v);
}

bool remote_bool(json_object *o, const char *key)
{
    json_object *v;
    return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v) != 0;
}

int64_t remote_time(const char *s)
{
    struct tm tm = {0};
    const char *rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL || tm.tm_year < 70) {
        return 0;
    }
    int64_t ns = 0, unit = NS_PER_S / 10;
    if (*rest == '.') {
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10) {
            ns += (*rest - '0') * unit;
        }
    }
    return (int64_t)timegm(&tm) * NS_PER_S + ns;
}

static int digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

uint8_t *remote_base64(json_object *o, const char *key, size_t *len_out)
{
    const char *s = remote_str(o, key);
    uint8_t *out = base_malloc(strlen(s) / 4 * 3 + 4);
    uint32_t bits = 0, nbits = 0;
    size_t n = 0;
    for (; digit(*s) >= 0; s++) {
        bits = bits << 6 | (uint32_t)digit(*s);
        nbits += 6;
        if (nbits >= 8) {
            nbits -= 8;
            out[n++] = (uint8_t)(bits >> nbits);
        }
    }
    *len_out = n;
    return out;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void set_i64(json_object *o, const char *key, int64_t v)
{
    json_object_object_add(o, key, json_object_new_int64(v));
}

static void set_str(json_object *o, const char *key, const char *v)
{
    json_object_object_add(o, key, json_object_new_string(v == NULL ? "" : v));
}

static void set_bool(json_object *o, const char *key, bool v)
{
    json_object_object_add(o, key, json_object_new_boolean(v));
}

static void set_metadata(json_object *o, const struct stream_cfg *c)
{
    json_object *m = json_object_new_object();
    for (size_t i = 0; i < c->nmetadata; i++) {
        set_str(m, c->metadata[i].key, c->metadata[i].value);
    }
    json_object_object_add(o, "metadata", m);
}

json_object *remote_cfg_json(const struct stream_cfg *c)
{
    json_object *o = json_object_new_object();
    json_object *subjects = json_object_new_array();
    for (size_t i = 0; i < c->nsubjects; i++) {
        json_object_array_add(subjects, json_object_new_string(c->subjects[i]));
    }
    set_str(o, "name", c->name);
    if (c->description != NULL) {
        set_str(o, "description", c->description);
    }
    json_object_object_add(o, "subjects", subjects);
    set_str(o, "retention", "limits");
    set_i64(o, "max_consumers", c->max_consumers);
    set_i64(o, "max_msgs_per_subject", c->max_msgs_per_subject);
    set_i64(o, "max_msgs", c->max_msgs);
    set_i64(o, "max_bytes", c->max_bytes);
    set_i64(o, "max_age", c->max_age_ns);
    set_i64(o, "max_msg_size", c->max_msg_size);
    set_str(o, "storage", c->storage == STORAGE_MEMORY ? "memory" : "file");
    set_str(o, "discard", c->discard == DISCARD_NEW ? "new" : "old");
    set_i64(o, "num_replicas", c->replicas);
    set_i64(o, "duplicate_window", c->duplicates_ns);
    set_bool(o, "deny_delete", c->deny_delete);
    set_bool(o, "deny_purge", c->deny_purge);
    set_bool(o, "allow_rollup_hdrs", c->allow_rollup);
    set_bool(o, "allow_direct", c->allow_direct);
    set_str(o, "compression", c->compression == COMPRESSION_S2 ? "s2" : "none");
    if (c->nmetadata > 0) {
        set_metadata(o, c);
    }
    if (c->allow_msg_ttl) {
        set_bool(o, "allow_msg_ttl", true);
        set_i64(o, "subject_delete_marker_ttl", c->subject_delete_marker_ttl_ns);
    }
    return o;
}

static bool same_metadata(const struct stream_cfg *a, const struct stream_cfg *b)
{
    bool same = a->nmetadata == b->nmetadata;
    for (size_t i = 0; i < a->nmetadata && same; i++) {
        same = strcmp(a->metadata[i].key, b->metadata[i].key) == 0 &&
               strcmp(a->metadata[i].value, b->metadata[i].value) == 0;
    }
    return same;
}

json_object *remote_cfg_changed(json_object *raw, const struct stream_cfg *from,
                                const struct stream_cfg *to)
{
    json_object *o = NULL;
    int bad = json_object_deep_copy(raw, &o, NULL);
    ASSERT(bad == 0);
    const struct {
        const char *key;
        int64_t from, to;
    } number[] = {
        {"max_msgs_per_subject", from->max_msgs_per_subject, to->max_msgs_per_subject},
        {"max_bytes", from->max_bytes, to->max_bytes},
        {"max_age", from->max_age_ns, to->max_age_ns},
        {"max_msg_size", from->max_msg_size, to->max_msg_size},
        {"duplicate_window", from->duplicates_ns, to->duplicates_ns},
        {"subject_delete_marker_ttl", from->subject_delete_marker_ttl_ns,
         to->subject_delete_marker_ttl_ns},
    };
    const struct {
        const char *key;
        bool from, to;
    } flag[] = {
        {"sealed", from->sealed, to->sealed},
        {"deny_delete", from->deny_delete, to->deny_delete},
        {"deny_purge", from->deny_purge, to->deny_purge},
        {"allow_rollup_hdrs", from->allow_rollup, to->allow_rollup},
        {"allow_msg_ttl", from->allow_msg_ttl, to->allow_msg_ttl},
    };
    for (size_t i = 0; i < ARRAY_LEN(number); i++) {
        if (number[i].from != number[i].to) {
            set_i64(o, number[i].key, number[i].to);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(flag); i++) {
        if (flag[i].from != flag[i].to) {
            set_bool(o, flag[i].key, flag[i].to);
        }
    }
    const char *was = from->description == NULL ? "" : from->description;
    if (strcmp(was, to->description == NULL ? "" : to->description) != 0) {
        set_str(o, "description", to->description);
    }
    if (from->compression != to->compression) {
        set_str(o, "compression", to->compression == COMPRESSION_S2 ? "s2" : "none");
    }
    if (from->discard != to->discard) {
        set_str(o, "discard", to->discard == DISCARD_NEW ? "new" : "old");
    }
    if (!same_metadata(from, to)) {
        set_metadata(o, to);
    }
    return o;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void read_subjects(json_object *config, struct stream_cfg *c)
{
    json_object *v;
    if (!json_object_object_get_ex(config, "subjects", &v) ||
        !json_object_is_type(v, json_type_array)) {
        return;
    }
    c->nsubjects = json_object_array_length(v);
    c->subjects = c->nsubjects == 0 ? NULL : base_calloc(c->nsubjects, sizeof *c->subjects);
    for (size_t i = 0; i < c->nsubjects; i++) {
        const char *s = json_object_get_string(json_object_array_get_idx(v, i));
        c->subjects[i] = base_strdup(s == NULL ? "" : s);
    }
}

static void read_metadata(json_object *config, struct stream_cfg *c)
{
    json_object *v;
    if (!json_object_object_get_ex(config, "metadata", &v) ||
        !json_object_is_type(v, json_type_object)) {
        return;
    }
    c->metadata = base_calloc((size_t)json_object_object_length(v) + 1, sizeof *c->metadata);
    json_object_object_foreach(v, key, value)
    {
        const char *s = json_object_get_string(value);
        c->metadata[c->nmetadata++] =
            (struct store_kv){base_strdup(key), base_strdup(s == NULL ? "" : s)};
    }
}

void remote_cfg_read(json_object *config, struct stream_cfg *c)
{
    stream_cfg_init(c);
    const char *description = remote_str(config, "description");
    c->account = base_strdup("");
    c->name = base_strdup(remote_str(config, "name"));
    c->description = *description != 0 ? base_strdup(description) : NULL;
    read_subjects(config, c);
    read_metadata(config, c);
    c->storage =
        strcmp(remote_str(config, "storage"), "memory") == 0 ? STORAGE_MEMORY : STORAGE_FILE;
    c->discard = strcmp(remote_str(config, "discard"), "new") == 0 ? DISCARD_NEW : DISCARD_OLD;
    c->compression =
        strcmp(remote_str(config, "compression"), "s2") == 0 ? COMPRESSION_S2 : COMPRESSION_NONE;
    c->max_msgs = remote_i64(config, "max_msgs", -1);
    c->max_bytes = remote_i64(config, "max_bytes", -1);
    c->max_consumers = remote_i64(config, "max_consumers", -1);
    c->max_msgs_per_subject = remote_i64(config, "max_msgs_per_subject", -1);
    c->max_msg_size = (int32_t)remote_i64(config, "max_msg_size", -1);
    c->max_age_ns = remote_i64(config, "max_age", 0);
    c->duplicates_ns = remote_i64(config, "duplicate_window", 0);
    c->replicas = (uint32_t)remote_i64(config, "num_replicas", 1);
    c->sealed = remote_bool(config, "sealed");
    c->deny_delete = remote_bool(config, "deny_delete");
    c->deny_purge = remote_bool(config, "deny_purge");
    c->allow_rollup = remote_bool(config, "allow_rollup_hdrs");
    c->allow_direct = remote_bool(config, "allow_direct");
    c->allow_msg_ttl = remote_bool(config, "allow_msg_ttl");
    c->subject_delete_marker_ttl_ns = remote_i64(config, "subject_delete_marker_ttl", 0);
    json_object *v;
    c->mirror = json_object_object_get_ex(config, "mirror", &v) && v != NULL;
}

static uint64_t u64(json_object *o, const char *key)
{
    json_object *v;
    return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

void remote_state_read(json_object *info, struct stream_state *out)
{
    json_object *state;
    *out = (struct stream_state){.created_ns = remote_time(remote_str(info, "created"))};
    if (!json_object_object_get_ex(info, "state", &state)) {
        return;
    }
    out->msgs = u64(state, "messages");
    out->bytes = u64(state, "bytes");
    out->first_seq = u64(state, "first_seq");
    out->last_seq = u64(state, "last_seq");
    out->nsubjects = u64(state, "num_subjects");
    out->ndeleted = u64(state, "num_deleted");
    out->nconsumers = u64(state, "consumer_count");
    out->first_ts_ns = remote_time(remote_str(state, "first_ts"));
    out->last_ts_ns = remote_time(remote_str(state, "last_ts"));
}
