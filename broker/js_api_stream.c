/* STREAM.* requests but those for messages: create, update, info, list, names, delete, purge. */
#include <stdlib.h>

#include "broker/js_int.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/subject.h"

/* --- info ------------------------------------------------------------------------------------- */

struct info_body {
    char *subjects_filter; /* owned */
    bool deleted_details;
    int64_t offset;
};
static const struct json_schema info_paged = {"JSApiStreamInfoRequest.ApiPagedRequest", NULL, NULL,
                                              0};
static const struct json_field info_fields[] = {
    {"offset", JSON_INT, offsetof(struct info_body, offset), NULL, &info_paged},
    {"deleted_details", JSON_BOOL, offsetof(struct info_body, deleted_details), NULL, NULL},
    {"subjects_filter", JSON_STRING, offsetof(struct info_body, subjects_filter), NULL, NULL},
};
static const struct json_schema info_schema = {
    "JSApiStreamInfoRequest", "server.JSApiStreamInfoRequest", info_fields, ARRAY_LEN(info_fields)};

struct subject_count {
    char *name; /* owned */
    uint64_t count;
};
struct subject_list {
    struct subject_count *v; /* owned */
    size_t n, cap;
};

static bool add_subject(void *arg, const char *subject, uint32_t len, uint64_t count)
{
    struct subject_list *l = arg;
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 64 : l->cap * 2;
        l->v = base_realloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = (struct subject_count){base_strndup(subject, len), count};
    return true;
}

static int cmp_subject(const void *a, const void *b)
{
    return strcmp(((const struct subject_count *)a)->name, ((const struct subject_count *)b)->name);
}

static void subjects_fini(struct subject_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        base_free(l->v[i].name);
    }
    base_free(l->v);
}

static void put_deleted(struct js *js, struct json_out *j, struct store_stream *ss)
{
    struct seq_runs runs = {0};
    js->ops->stream_deleted(ss, &runs, LIM_SUBJECT_DETAILS_PAGE);
    json_out_array(j, "deleted");
    for (size_t i = 0; i < runs.n; i++) {
        for (uint64_t k = 0; k < runs.v[i].count; k++) {
            json_out_val_u64(j, runs.v[i].first + k);
        }
    }
    json_out_array_end(j);
    seq_runs_fini(&runs);
}

/* Those by which other streams copy do not count. */
static uint64_t public_consumers(struct js *js, struct store_stream *ss)
{
    uint64_t n = 0;
    struct store_cons *sc = NULL;
    while ((sc = js->ops->cons_next_of(ss, sc)) != NULL) {
        n += js->ops->cons_cfg(sc)->direct ? 0 : 1;
    }
    return n;
}

/* Upstream begins to count when something is stored, purged, or a first sequence is set. */
static bool nothing_yet(struct js *js, struct store_stream *ss, const struct stream_state *st)
{
    const struct js_stream *s = js->ops->stream_user(ss);
    return st->last_seq == 0 && js->ops->stream_cfg(ss)->first_seq == 0 &&
           (s == NULL || !s->purged);
}

static void put_state(struct js *js, struct json_out *j, struct store_stream *ss,
                      const struct subject_list *subjects, size_t from, bool deleted)
{
    struct stream_state st;
    js->ops->stream_state(ss, &st);
    json_out_open(j, "state");
    json_out_u64(j, "messages", st.msgs);
    json_out_u64(j, "bytes", st.bytes);
    json_out_u64(j, "first_seq", nothing_yet(js, ss, &st) ? 0 : st.first_seq);
    json_out_time(j, "first_ts", st.msgs == 0 ? 0 : st.first_ts_ns);
    json_out_u64(j, "last_seq", st.last_seq);
    json_out_time(j, "last_ts", st.last_ts_ns);
    if (st.nsubjects != 0) {
        json_out_u64(j, "num_subjects", st.nsubjects);
    }
    if (subjects != NULL && subjects->n > from) {
        json_out_open(j, "subjects");
        for (size_t i = from; i < subjects->n && i < from + LIM_SUBJECT_DETAILS_PAGE; i++) {
            json_out_key_escaped(j, subjects->v[i].name, strlen(subjects->v[i].name));
            json_out_val_u64(j, subjects->v[i].count);
        }
        json_out_end(j);
    }
    if (st.ndeleted != 0) {
        json_out_u64(j, "num_deleted", st.ndeleted);
        if (deleted) {
            put_deleted(js, j, ss);
        }
    }
    json_out_u64(j, "consumer_count", public_consumers(js, ss));
    json_out_end(j);
}

void js_put_ours(struct js *js, struct json_out *j, struct store_stream *ss)
{
    static const char *const words[] = {
        [DURABILITY_DURABLE] = "durable",
        [DURABILITY_RELAXED] = "relaxed",
        [DURABILITY_ASYNC] = "async",
        [DURABILITY_MEMORY] = "memory",
    };
    struct stream_state st;
    js->ops->stream_state(ss, &st);
    json_out_str(j, "durability", words[st.durability]);
    json_out_u64(j, "damaged", st.damaged_msgs);
    if (st.store_incidents != 0) {
        json_out_u64(j, "store_incidents", st.store_incidents);
    }
}

/* Upstream's answer takes further members at its top, not in `config`. */
static void put_ours(struct js *js, struct json_out *j, struct store_stream *ss)
{
    json_out_open(j, "millrace");
    js_put_ours(js, j, ss);
    json_out_end(j);
}

static void put_config(struct js *js, struct json_out *j, struct store_stream *ss, bool server)
{
    struct stream_state st;
    js->ops->stream_state(ss, &st);
    json_out_key(j, "config");
    js_stream_cfg_put(j, js->ops->stream_cfg(ss), server);
    json_out_time(j, "created", st.created_ns);
}

static void put_cluster(struct js *js, struct json_out *j)
{
    json_out_open(j, "cluster");
    json_out_str(j, "leader", js->d.server_name);
    json_out_end(j);
}

/* named: with the domain, which upstream leaves out where a stream is made or restored. */
static void put_info(struct js *js, struct json_out *j, struct store_stream *ss, bool server,
                     bool named)
{
    put_config(js, j, ss, server);
    put_state(js, j, ss, NULL, 0, false);
    if (named) {
        js_domain_put(js, j);
    }
    js_copiers_put(js, j, ss);
    json_out_time(j, "ts", env_real_ns(js->d.env));
    put_ours(js, j, ss);
}

void js_put_stream(struct js *js, struct json_out *j, struct store_stream *s, bool config)
{
    const struct stream_cfg *c = js->ops->stream_cfg(s);
    struct stream_state st;
    js->ops->stream_state(s, &st);
    json_out_str(j, "name", c->name);
    json_out_time(j, "created", st.created_ns);
    put_cluster(js, j);
    if (config) {
        json_out_key(j, "config");
        js_stream_cfg_put(j, c, false);
    }
    put_state(js, j, s, NULL, 0, false);
    js_copiers_put(js, j, s);
}

void js_h_stream_info(struct js_req *r)
{
    struct info_body b = {0};
    struct subject_list subjects = {0};
    struct js_stream *s = NULL;
    if (js_req_is_json(r) && !js_req_decode(r, &info_schema, &b)) {
        js_req_fail(r);
    } else {
        s = js_req_stream(r);
    }
    if (s == NULL || js_req_learn_first(r, &s->ss, 1, js_h_stream_info)) {
        base_free(b.subjects_filter);
        return;
    }
    bool details = b.subjects_filter != NULL && b.subjects_filter[0] != '\0';
    if (details) {
        r->js->ops->stream_subjects(s->ss, b.subjects_filter, (uint32_t)strlen(b.subjects_filter),
                                    add_subject, &subjects);
        if (subjects.n > 1) {
            qsort(subjects.v, subjects.n, sizeof *subjects.v, cmp_subject);
        }
    }
    size_t from = b.offset < 0                      ? 0
                  : (uint64_t)b.offset > subjects.n ? subjects.n
                                                    : (size_t)b.offset;
    struct json_out *j = js_req_begin(r);
    json_out_u64(j, "total", subjects.n);
    json_out_u64(j, "offset", subjects.n > 0 && b.offset > 0 ? (uint64_t)b.offset : 0);
    json_out_u64(j, "limit", subjects.n > 0 ? LIM_SUBJECT_DETAILS_PAGE : 0);
    put_config(r->js, j, s->ss, true);
    put_state(r->js, j, s->ss, details ? &subjects : NULL, from, b.deleted_details);
    js_domain_put(r->js, j);
    put_cluster(r->js, j);
    js_copiers_put(r->js, j, s->ss);
    json_out_time(j, "ts", env_real_ns(r->js->d.env));
    put_ours(r->js, j, s->ss);
    subjects_fini(&subjects);
    base_free(b.subjects_filter);
    js_req_answer_durable(r, s);
}

/* --- list and names --------------------------------------------------------------------------- */

struct list_body {
    int64_t offset;
    char *subject; /* owned */
};
static const struct json_schema names_paged = {"JSApiStreamNamesRequest.ApiPagedRequest", NULL,
                                               NULL, 0};
static const struct json_field names_fields[] = {
    {"offset", JSON_INT, offsetof(struct list_body, offset), NULL, &names_paged},
    {"subject", JSON_STRING, offsetof(struct list_body, subject), NULL, NULL},
};
static const struct json_schema names_schema = {"JSApiStreamNamesRequest",
                                                "server.JSApiStreamNamesRequest", names_fields,
                                                ARRAY_LEN(names_fields)};
static const struct json_schema list_paged = {"JSApiStreamListRequest.ApiPagedRequest", NULL, NULL,
                                              0};
static const struct json_field list_fields[] = {
    {"offset", JSON_INT, offsetof(struct list_body, offset), NULL, &list_paged},
    {"subject", JSON_STRING, offsetof(struct list_body, subject), NULL, NULL},
};
static const struct json_schema list_schema = {
    "JSApiStreamListRequest", "server.JSApiStreamListRequest", list_fields, ARRAY_LEN(list_fields)};

static bool on_subject(const struct stream_cfg *c, const char *subject)
{
    if (subject == NULL || subject[0] == '\0') {
        return true;
    }
    for (size_t i = 0; i < c->nsubjects; i++) {
        if (subject_overlap(subject, strlen(subject), c->subjects[i], strlen(c->subjects[i]))) {
            return true;
        }
    }
    return false;
}

/* Streams that match, in order of their names. */
static struct store_stream **matching(struct js_req *r, const char *subject, size_t *n_out)
{
    struct store_stream **v = NULL;
    size_t n = 0, cap = 0;
    struct store_stream *ss = NULL;
    while ((ss = r->js->ops->stream_next(r->js->store, r->ja->acc->name, ss)) != NULL) {
        if (r->js->ops->stream_user(ss) == NULL ||
            !on_subject(r->js->ops->stream_cfg(ss), subject)) {
            continue;
        }
        if (n == cap) {
            cap = cap == 0 ? 32 : cap * 2;
            v = base_realloc(v, cap * sizeof(struct store_stream *));
        }
        v[n++] = ss;
    }
    *n_out = n;
    return v;
}

static bool list_begin(struct js_req *r, const struct json_schema *schema, struct store_stream ***v,
                       size_t *n, size_t *from, size_t page)
{
    struct list_body body = {0}, *b = &body;
    if (js_req_is_json(r) && !js_req_decode(r, schema, b)) {
        base_free(b->subject);
        js_req_fail(r);
        return false;
    }
    *v = matching(r, b->subject, n);
    base_free(b->subject);
    *from = b->offset < 0 ? 0 : (uint64_t)b->offset > *n ? *n : (size_t)b->offset;
    struct json_out *j = js_req_begin(r);
    json_out_u64(j, "total", *n);
    json_out_u64(j, "offset", *from);
    json_out_u64(j, "limit", page);
    return true;
}

static const char *offline(struct js *js, struct store_stream *ss)
{
    const struct js_stream *s = js->ops->stream_user(ss);
    return s != NULL ? s->offline : NULL;
}

/* Which of the page are not listed, and why. */
static void put_offline(struct js_req *r, struct store_stream **v, size_t n)
{
    struct json_out *j = &r->out;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (offline(r->js, v[i]) != NULL) {
            const char *name = r->js->ops->stream_cfg(v[i])->name;
            if (count++ == 0) {
                json_out_array(j, "missing");
            }
            json_out_val_str(j, name, strlen(name));
        }
    }
    if (count == 0) {
        return;
    }
    json_out_array_end(j);
    json_out_open(j, "offline");
    for (size_t i = 0; i < n; i++) {
        if (offline(r->js, v[i]) != NULL) {
            const char *name = r->js->ops->stream_cfg(v[i])->name;
            json_out_key_escaped(j, name, strlen(name));
            const char *why = offline(r->js, v[i]);
            json_out_val_str(j, why, strlen(why));
        }
    }
    json_out_end(j);
}

void js_h_stream_list(struct js_req *r)
{
    struct store_stream **v;
    size_t n, from;
    if (!list_begin(r, &list_schema, &v, &n, &from, LIM_LIST_PAGE)) {
        return;
    }
    size_t to = n - from < LIM_LIST_PAGE ? n : from + LIM_LIST_PAGE;
    if (js_req_learn_first(r, v + from, to - from, js_h_stream_list)) {
        base_free(v);
        json_out_reset(&r->out);
        return;
    }
    json_out_array(&r->out, "streams");
    for (size_t i = from; i < to; i++) {
        if (offline(r->js, v[i]) != NULL) {
            continue;
        }
        json_out_begin(&r->out);
        put_info(r->js, &r->out, v[i], false, true);
        json_out_end(&r->out);
    }
    json_out_array_end(&r->out);
    put_offline(r, v + from, to - from);
    for (size_t i = from; i < to; i++) {
        js_req_barrier(r, r->js->ops->stream_user(v[i]));
    }
    base_free(v);
    js_req_answer_all(r);
}

void js_h_stream_names(struct js_req *r)
{
    struct store_stream **v;
    size_t n, from;
    if (!list_begin(r, &names_schema, &v, &n, &from, LIM_NAMES_PAGE)) {
        return;
    }
    size_t to = n - from < LIM_NAMES_PAGE ? n : from + LIM_NAMES_PAGE;
    if (from == to) {
        json_out_key(&r->out, "streams");
        json_out_val_null(&r->out);
    } else {
        json_out_array(&r->out, "streams");
        for (size_t i = from; i < to; i++) {
            const char *name = r->js->ops->stream_cfg(v[i])->name;
            json_out_val_str(&r->out, name, strlen(name));
        }
        json_out_array_end(&r->out);
    }
    base_free(v);
    js_req_answer(r);
}

/* --- create and update ------------------------------------------------------------------------ */

/* A stream of the account whose subjects overlap, other than `self`. */
static bool subjects_taken(struct js_account *ja, const struct stream_cfg *c,
                           const struct store_stream *self)
{
    const struct js *js = ja->js;
    struct store_stream *ss = NULL;
    while ((ss = js->ops->stream_next(js->store, ja->acc->name, ss)) != NULL) {
        if (ss == self || js->ops->stream_user(ss) == NULL) {
            continue;
        }
        const struct stream_cfg *o = js->ops->stream_cfg(ss);
        for (size_t i = 0; i < c->nsubjects; i++) {
            if (on_subject(o, c->subjects[i])) {
                return true;
            }
        }
    }
    return false;
}

/* How many bytes max_bytes may promise: to one account, or (NULL) on the server. */
static bool reserve(struct js_req *r, const struct stream_cfg *c, const char *account, int64_t most,
                    const struct store_stream *self)
{
    int64_t taken = most <= 0 ? 0 : js_reserved(r->js, account, c->storage, self);
    if (most <= 0 || (taken <= most && c->max_bytes <= most - taken)) {
        return true;
    }
    api_error_set(&r->err, c->storage == STORAGE_MEMORY ? API_MEMORY_RESOURCES_EXCEEDED
                                                        : API_STORAGE_RESOURCES_EXCEEDED);
    return false;
}

/* What max_bytes of all streams may promise. A default follows the store's: it rises when a disk
 * that was full at the start has room. */
static int64_t server_most(const struct js *js, bool memory)
{
    struct store_usage u;
    if (memory || js->d.opts->max_file_store >= 0) {
        return memory ? js->d.max_memory_bytes : js->d.max_file_bytes;
    }
    js->ops->usage(js->store, NULL, &u);
    return u.file_max_bytes > INT64_MAX ? INT64_MAX : (int64_t)u.file_max_bytes;
}

/* What max_bytes promises must fit into the limits of account and server. False: *err is set. */
static bool reservation_fits(struct js_req *r, const struct stream_cfg *c,
                             const struct store_stream *self)
{
    const struct brk_js_account_limits *l = &r->ja->acc->js_limits;
    bool memory = c->storage == STORAGE_MEMORY;
    int64_t one = memory ? l->memory_max_stream_bytes : l->store_max_stream_bytes;
    if (c->max_bytes <= 0) {
        if (l->max_bytes_required) {
            api_error_set(&r->err, API_STREAM_MAX_BYTES_REQUIRED);
        }
        return !l->max_bytes_required;
    }
    if (one > 0 && c->max_bytes > one) {
        api_error_set(&r->err, API_STREAM_MAX_STREAM_BYTES_EXCEEDED);
        return false;
    }
    return reserve(r, c, r->ja->acc->name, memory ? l->max_memory : l->max_store, self) &&
           reserve(r, c, NULL, server_most(r->js, memory), self);
}

static bool stream_count_fits(struct js_req *r)
{
    int64_t most = r->ja->acc->js_limits.max_streams;
    struct store_usage u = {0};
    if (most < 0) {
        return true;
    }
    r->js->ops->usage(r->js->store, r->ja->acc->name, &u);
    if (u.streams >= (uint64_t)most) {
        api_error_set(&r->err, API_MAXIMUM_STREAMS_LIMIT);
        return false;
    }
    return true;
}

static const struct stream_cfg *find_cfg(void *arg, const char *name)
{
    struct js_req *r = arg;
    struct store_stream *ss = r->js->ops->stream_find(r->js->store, r->ja->acc->name, name);
    return ss != NULL && r->js->ops->stream_user(ss) != NULL ? r->js->ops->stream_cfg(ss) : NULL;
}

/* What the other streams say about copying from them. */
static bool check_origins(void *arg, struct js_stream_req *q, struct api_error *e)
{
    struct js_req *r = arg;
    const struct js_origin *m = js_origins_mirror(&q->origins);
    if (!js_origins_check_others(&q->origins, &q->cfg, q->pedantic, find_cfg, r, e)) {
        return false;
    }
    const struct stream_cfg *origin = m != NULL && m->external.n == 0 ? find_cfg(r, m->name) : NULL;
    if (origin != NULL) {
        q->cfg.mirror_direct = origin->allow_direct;
    }
    return true;
}

/* Reads and judges the body; false: answered. */
static bool read_request(struct js_req *r, struct js_stream_req *q, bool update)
{
    if (!js_stream_req_parse(q, r->body.p, r->body.n, &r->js->lim, &r->err)) {
        js_req_fail(r);
        return false;
    }
    bool named = q->cfg.name != NULL && js_str_eq(r->token[0], q->cfg.name, strlen(q->cfg.name));
    if (!named && !update) {
        js_req_fail_with(r, API_STREAM_MISMATCH);
        return false;
    }
    q->create = !update;
    q->others = check_origins;
    q->others_arg = r;
    if (!js_stream_req_check(q, &r->js->lim, &r->err)) {
        js_req_fail(r);
        return false;
    }
    if (!named) {
        js_req_fail_with(r, API_STREAM_MISMATCH);
        return false;
    }
    base_free(q->cfg.account);
    q->cfg.account = base_strdup(r->ja->acc->name);
    return true;
}

static void answer_created(struct js_req *r, struct js_stream *s)
{
    (void)js_req_begin(r);
    put_info(r->js, &r->out, s->ss, true, false);
    json_out_bool(&r->out, "did_create", true);
    js_req_answer_durable(r, s);
}

static void created(void *arg, enum st st, struct store_stream *ss, const struct err *err)
{
    struct js_req *r = arg;
    if (r->ja->stopped) {
        js_req_fail_with(r, API_CLUSTER_NOT_AVAIL); /* nobody hears it */
        return;
    }
    if (st == ST_UNSUPPORTED) {
        api_error_text(&r->err, API_STREAM_INVALID_CONFIG, "%s",
                       err != NULL ? err->msg : st_text(st));
        js_req_fail(r);
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_CREATE, st, err);
        return;
    }
    struct js_stream *s = js_stream_attach(r->ja, ss);
    js_adv_stream(s, "CREATED", "create");
    answer_created(r, s);
}

void js_h_stream_create(struct js_req *r)
{
    struct js_stream_req q;
    js_stream_req_init(&q);
    if (!read_request(r, &q, false)) {
        js_stream_req_fini(&q);
        return;
    }
    struct js_stream *old = js_stream_find(r->ja, r->token[0]);
    if (old != NULL && old->offline != NULL) {
        (void)js_req_stream(r); /* says why */
    } else if (old != NULL && js_stream_cfg_equal(r->js->ops->stream_cfg(old->ss), &q.cfg)) {
        answer_created(r, old);
    } else if (old != NULL) {
        js_req_fail_with(r, API_STREAM_NAME_EXIST);
    } else if (subjects_taken(r->ja, &q.cfg, NULL)) {
        js_req_fail_with(r, API_STREAM_SUBJECT_OVERLAP);
    } else if (!stream_count_fits(r) || !reservation_fits(r, &q.cfg, NULL)) {
        js_req_fail(r);
    } else {
        r->js->ops->stream_create(r->js->store, &q.cfg, created, r);
    }
    js_stream_req_fini(&q);
}

static void updated(void *arg, enum st st, struct store_stream *ss, const struct err *err)
{
    struct js_req *r = arg;
    (void)ss;
    if (r->ja->stopped) {
        js_req_fail_with(r, API_CLUSTER_NOT_AVAIL);
        return;
    }
    if (st == ST_UNSUPPORTED) {
        api_error_text(&r->err, API_STREAM_INVALID_CONFIG, "%s",
                       err != NULL ? err->msg : st_text(st));
        js_req_fail(r);
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_UPDATE, st, err);
        return;
    }
    js_stream_reload(r->stream);
    js_adv_stream(r->stream, "UPDATED", "modify");
    (void)js_req_begin(r);
    put_info(r->js, &r->out, r->stream->ss, true, true);
    js_req_answer_durable(r, r->stream);
}

/* The consumers there are must fit under new consumer_limits. False: *err says which do not. */
static bool consumers_fit(struct js_req *r, const struct js_cons_limits *lim)
{
    struct json_out names = {0};
    struct store_cons *sc = NULL;
    while ((sc = r->js->ops->cons_next_of(r->stream->ss, sc)) != NULL) {
        const struct cons_cfg *c = r->js->ops->cons_cfg(sc);
        bool many = lim->max_ack_pending > 0 && c->max_ack_pending > lim->max_ack_pending;
        bool late =
            lim->inactive_threshold_ns > 0 && c->inactive_threshold_ns > lim->inactive_threshold_ns;
        if (many || late) {
            json_out_raw(&names, ", ", names.len > 0 ? 2 : 0);
            json_out_raw(&names, c->name, strlen(c->name));
        }
    }
    bool fit = names.len == 0;
    if (!fit) {
        api_error_setf(&r->err, API_STREAM_UPDATE, "change to limits violates consumers: %.*s",
                       (int)(names.len > 1024 ? 1024 : names.len), names.buf);
    }
    json_out_fini(&names);
    return fit;
}

void js_h_stream_update(struct js_req *r)
{
    struct js_stream_req q;
    js_stream_req_init(&q);
    if (!read_request(r, &q, true)) {
        js_stream_req_fini(&q);
        return;
    }
    struct js_stream *s = js_req_stream(r);
    if (s != NULL) {
        if (!js_stream_update_check(&q, r->js->ops->stream_cfg(s->ss), &r->err)) {
            js_req_fail(r);
        } else if (subjects_taken(r->ja, &q.cfg, s->ss)) {
            js_req_fail_with(r, API_STREAM_SUBJECT_OVERLAP);
        } else if (!reservation_fits(r, &q.cfg, s->ss) || !consumers_fit(r, &q.limits)) {
            js_req_fail(r);
        } else if (q.cfg.replicas > 1) {
            js_req_fail_with(r, API_STREAM_REPLICAS_NOT_SUPPORTED);
        } else {
            r->js->ops->stream_update(r->js->store, s->ss, &q.cfg, updated, r);
        }
    }
    js_stream_req_fini(&q);
}

/* --- delete and purge ------------------------------------------------------------------------- */

static void deleted(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    (void)n;
    if (st != ST_OK) {
        if (!r->ja->stopped) {
            (void)js_stream_attach(r->ja, r->extra); /* it is still there */
        }
        js_req_fail_st(r, API_STREAM_DELETE, st, err);
        return;
    }
    json_out_bool(js_req_begin(r), "success", true);
    js_req_answer(r);
}

void js_stream_advise_deleted(struct js_stream *s)
{
    for (struct htab_node *n = htab_first(&s->consumers); n != NULL;
         n = htab_next(&s->consumers, n)) {
        js_adv_consumer(CONTAINER_OF(n, struct js_consumer, by_name), "DELETED", "delete");
    }
    js_adv_stream(s, "DELETED", "delete");
}

void js_h_stream_delete(struct js_req *r)
{
    if (!js_req_empty(r)) {
        js_req_fail_with(r, API_NOT_EMPTY_REQUEST);
        return;
    }
    struct js_stream *s = js_req_stream_any(r);
    if (s == NULL) {
        return;
    }
    struct store_stream *ss = s->ss;
    js_stream_advise_deleted(s);
    js_stream_detach(s);
    r->extra = ss;
    r->js->ops->stream_delete(r->js->store, ss, deleted, r);
}

struct purge_body {
    uint64_t seq, keep;
    char *filter; /* owned */
};
static const struct json_field purge_fields[] = {
    {"seq", JSON_U64, offsetof(struct purge_body, seq), NULL, NULL},
    {"filter", JSON_STRING, offsetof(struct purge_body, filter), NULL, NULL},
    {"keep", JSON_U64, offsetof(struct purge_body, keep), NULL, NULL},
};
static const struct json_schema purge_schema = {"JSApiStreamPurgeRequest",
                                                "server.JSApiStreamPurgeRequest", purge_fields,
                                                ARRAY_LEN(purge_fields)};

static void purged(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    if (st == ST_INVALID) {
        api_error_set2(&r->err, API_STREAM_PURGE_FAILED,
                       "purge sequence can not be above 4611686018427387904", NULL);
        js_req_fail(r);
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_PURGE_FAILED, st, err);
        return;
    }
    if (r->extra != NULL) {
        r->stream->purged = true;
    }
    struct json_out *j = js_req_begin(r);
    json_out_bool(j, "success", true);
    json_out_u64(j, "purged", n);
    js_req_answer(r);
}

static void purge(struct js_req *r, const struct purge_body *b)
{
    struct js_stream *s = js_req_stream(r);
    if (s == NULL) {
        return;
    }
    const struct stream_cfg *c = r->js->ops->stream_cfg(s->ss);
    if (c->sealed) {
        js_req_fail_with(r, API_STREAM_SEALED);
        return;
    }
    if (c->deny_purge) {
        api_error_set2(&r->err, API_STREAM_PURGE_FAILED, "stream purge not permitted", NULL);
        js_req_fail(r);
        return;
    }
    struct store_purge p = {.filter = b->filter,
                            .filter_len = b->filter == NULL ? 0 : (uint32_t)strlen(b->filter),
                            .seq = b->seq,
                            .keep = b->keep};
    bool whole = p.seq == 0 && p.keep == 0 &&
                 (p.filter_len == 0 || (p.filter_len == 1 && p.filter[0] == '>'));
    r->extra = whole ? s : NULL;
    if (!whole) { /* else purged() has something to note first */
        js_req_applied(r);
    }
    r->js->ops->purge(s->ss, &p, purged, r);
}

void js_h_stream_purge(struct js_req *r)
{
    struct purge_body b = {0};
    if (!js_req_decode(r, &purge_schema, &b)) {
        js_req_fail(r);
    } else if (b.seq != 0 && b.keep != 0) {
        js_req_fail_with(r, API_BAD_REQUEST);
    } else {
        purge(r, &b);
    }
    base_free(b.filter);
}

/* --- for snapshots and restores --------------------------------------------------------------- */

bool js_subjects_taken(struct js_account *ja, const struct stream_cfg *c)
{
    return subjects_taken(ja, c, NULL);
}

bool js_stream_may_be_made(struct js_req *r, const struct stream_cfg *c)
{
    if (subjects_taken(r->ja, c, NULL)) {
        api_error_set(&r->err, API_STREAM_SUBJECT_OVERLAP);
        return false;
    }
    return reservation_fits(r, c, NULL);
}

void js_put_stream_info(struct js *js, struct json_out *j, struct store_stream *ss)
{
    put_info(js, j, ss, true, false);
}

void js_put_snap_state(struct json_out *j, const struct stream_state *st)
{
    json_out_open(j, "state");
    json_out_u64(j, "messages", st->msgs);
    json_out_u64(j, "bytes", st->bytes);
    json_out_u64(j, "first_seq", st->last_seq == 0 ? 0 : st->first_seq);
    json_out_time(j, "first_ts", st->msgs == 0 ? 0 : st->first_ts_ns);
    json_out_u64(j, "last_seq", st->last_seq);
    json_out_time(j, "last_ts", st->last_ts_ns);
    if (st->nsubjects != 0) {
        json_out_u64(j, "num_subjects", st->nsubjects);
    }
    if (st->ndeleted != 0) {
        json_out_u64(j, "num_deleted", st->ndeleted);
    }
    json_out_u64(j, "consumer_count", st->nconsumers);
    json_out_end(j);
}
