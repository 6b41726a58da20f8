/* CONSUMER.* requests: create in its three forms, info, list, names, delete. */
#include <stdlib.h>

#include "broker/js_int.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/subject.h"

/* --- info ------------------------------------------------------------------------------------- */

static void put_seqs(struct json_out *j, const char *key, uint64_t cseq, uint64_t sseq,
                     int64_t ts_ns)
{
    json_out_open(j, key);
    json_out_u64(j, "consumer_seq", cseq);
    json_out_u64(j, "stream_seq", sseq);
    if (ts_ns != 0) {
        json_out_time(j, "last_active", ts_ns);
    }
    json_out_end(j);
}

static void put_members(struct js *js, struct json_out *j, struct store_cons *sc, bool config,
                        bool server)
{
    struct cons_state st;
    const struct cons_cfg *k = js->ops->cons_cfg(sc);
    struct js_consumer *c = js->ops->cons_user(sc);
    js->ops->cons_state(sc, &st);
    json_out_str(j, "stream_name", js->ops->stream_cfg(js->ops->cons_stream(sc))->name);
    json_out_str(j, "name", k->name);
    json_out_time(j, "created", st.created_ns);
    if (config) {
        json_out_key(j, "config");
        js_cons_cfg_put(j, k, server);
    }
    put_seqs(j, "delivered", st.delivered_cseq, st.delivered_sseq, st.delivered_ts_ns);
    put_seqs(j, "ack_floor", st.floor_cseq, st.floor_sseq, st.floor_ts_ns);
    json_out_u64(j, "num_ack_pending", st.num_ack_pending);
    json_out_u64(j, "num_redelivered", st.num_redelivered);
    json_out_u64(j, "num_waiting", c == NULL ? 0 : js_pull_waiting(c));
    json_out_u64(j, "num_pending", st.num_pending);
    if (c != NULL && js_consumer_bound(c)) {
        json_out_bool(j, "push_bound", true);
    }
    int64_t left = js_pause_left_ns(js, k->pause_until_ns);
    if (left > 0) {
        json_out_bool(j, "paused", true);
        json_out_i64(j, "pause_remaining", left);
    }
    json_out_time(j, "ts", env_real_ns(js->d.env));
    if (c != NULL) {
        js_priority_put(c, j);
    }
}

void js_put_consumer_members(struct js *js, struct json_out *j, struct store_cons *sc)
{
    put_members(js, j, sc, true, true);
}

void js_put_consumer(struct js *js, struct json_out *j, struct store_cons *c, bool config)
{
    json_out_begin(j);
    put_members(js, j, c, config, false);
    json_out_end(j);
}

/* The consumer of a request that may have no body; NULL: answered. */
static struct js_consumer *bare_consumer(struct js_req *r)
{
    if (!js_req_empty(r)) {
        js_req_fail_with(r, API_NOT_EMPTY_REQUEST);
        return NULL;
    }
    return js_req_consumer(r);
}

void js_h_consumer_info(struct js_req *r)
{
    struct js_consumer *c = bare_consumer(r);
    if (c == NULL) {
        return;
    }
    put_members(r->js, js_req_begin(r), c->sc, true, true);
    js_req_answer_durable(r, r->stream);
}

/* --- list and names --------------------------------------------------------------------------- */

struct list_body {
    int64_t offset;
};
static const struct json_schema paged = {"JSApiConsumersRequest.ApiPagedRequest", NULL, NULL, 0};
static const struct json_field list_fields[] = {
    {"offset", JSON_INT, offsetof(struct list_body, offset), NULL, &paged}};
static const struct json_schema list_schema = {
    "JSApiConsumersRequest", "server.JSApiConsumersRequest", list_fields, ARRAY_LEN(list_fields)};

/* Not those by which other streams copy. */
static bool listed(const struct store_ops *ops, struct store_cons *sc)
{
    return ops->cons_user(sc) != NULL && !ops->cons_cfg(sc)->direct;
}

static void list(struct js_req *r, size_t page, bool names)
{
    struct list_body b = {0};
    const struct store_ops *ops = r->js->ops;
    if (js_req_is_json(r) && !js_req_decode(r, &list_schema, &b)) {
        js_req_fail(r);
        return;
    }
    struct js_stream *s = js_req_stream(r);
    if (s == NULL) {
        return;
    }
    uint64_t total = 0;
    struct store_cons *sc = NULL;
    while ((sc = ops->cons_next_of(s->ss, sc)) != NULL) {
        total += listed(ops, sc) ? 1 : 0;
    }
    uint64_t from = b.offset < 0 ? 0 : (uint64_t)b.offset > total ? total : (uint64_t)b.offset;
    struct json_out *j = js_req_begin(r);
    json_out_u64(j, "total", total);
    json_out_u64(j, "offset", from);
    json_out_u64(j, "limit", page);
    json_out_array(j, "consumers");
    uint64_t at = 0;
    while ((sc = ops->cons_next_of(s->ss, sc)) != NULL && at < from + page) {
        if (!listed(ops, sc) || at++ < from) {
            continue;
        }
        if (names) {
            const char *name = ops->cons_cfg(sc)->name;
            json_out_val_str(j, name, strlen(name));
        } else {
            js_put_consumer(r->js, j, sc, true);
        }
    }
    json_out_array_end(j);
    js_req_answer_durable(r, s);
}

void js_h_consumer_list(struct js_req *r)
{
    list(r, LIM_LIST_PAGE, false);
}

void js_h_consumer_names(struct js_req *r)
{
    list(r, LIM_NAMES_PAGE, true);
}

/* --- delete ----------------------------------------------------------------------------------- */

static void deleted(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    (void)n;
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_GENERAL_ERROR, st, err);
        return;
    }
    json_out_bool(js_req_begin(r), "success", true);
    js_req_answer(r);
}

void js_h_consumer_delete(struct js_req *r)
{
    struct js_consumer *c = bare_consumer(r);
    if (c == NULL) {
        return;
    }
    struct store_cons *sc = c->sc;
    js_adv_consumer(c, "DELETED", "delete");
    js_consumer_detach(c, "409 Consumer Deleted");
    js_req_applied(r);
    r->js->ops->cons_delete(sc, deleted, r);
}

/* --- create ----------------------------------------------------------------------------------- */

void js_answer_consumer(struct js_req *r, struct js_consumer *c)
{
    put_members(r->js, js_req_begin(r), c->sc, true, true);
    js_req_answer_durable(r, c->stream);
}

static bool fail(struct js_req *r, enum api_err id)
{
    api_error_set(&r->err, id);
    return false;
}

static void made(void *arg, enum st st, struct store_cons *sc, const struct err *err)
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
        js_req_fail_st(r, API_CONSUMER_CREATE, st, err);
        return;
    }
    struct js_consumer *c = js_consumer_attach(r->stream, sc);
    js_adv_consumer(c, "CREATED", "create");
    if (js_paused(c)) {
        js_adv_pause(c, true, c->pause_until_ns);
    }
    js_answer_consumer(r, c);
}

static void changed(void *arg, enum st st, struct store_cons *sc, const struct err *err)
{
    struct js_req *r = arg;
    struct js_consumer *c = r->consumer;
    (void)sc;
    c->held = false;
    if (r->ja->stopped) {
        js_req_fail_with(r, API_CLUSTER_NOT_AVAIL);
        return;
    }
    if (c->gone) {
        js_req_fail_with(r, API_CONSUMER_NOT_FOUND);
        return;
    }
    if (st != ST_OK) {
        js_consumer_queue_run(c);
        js_req_fail_st(r, API_CONSUMER_CREATE, st, err);
        return;
    }
    js_consumer_reload(c);
    if (js_paused(c)) {
        js_adv_pause(c, true, c->pause_until_ns);
    }
    js_answer_consumer(r, c);
}

/* A name is given or made up: 8 characters that no other consumer of the stream has. */
static void make_name(struct js_req *r, struct js_stream *s, struct cons_cfg *c)
{
    char id[23];
    if (c->name != NULL) {
        return;
    }
    do {
        js_unique_id(r->js, id);
    } while (js_consumer_find(s, (struct brk_str){id, 8}) != NULL);
    c->name = base_strndup(id, 8);
    js_cons_mark_made_up(c);
}

/* Looked at when the stream is there. */
static bool check_name(struct js_req *r, const char *name)
{
    if (!js_name_valid(name)) {
        api_error_set2(&r->err, API_STREAM_INVALID_CONFIG,
                       "consumer name can not contain '.', '*', '>', '\\', '/'", NULL);
        return false;
    }
    if (strlen(name) > LIM_NAME_BYTES_MAX) {
        api_error_setf(&r->err, API_CONSUMER_NAME_TOO_LONG, "%u", LIM_NAME_BYTES_MAX);
        return false;
    }
    return true;
}

static bool taken_filter(const struct cons_cfg *a, const struct cons_cfg *b)
{
    if (a->nfilters == 0 || b->nfilters == 0) {
        return true;
    }
    for (size_t i = 0; i < a->nfilters; i++) {
        for (size_t k = 0; k < b->nfilters; k++) {
            if (subject_overlap(a->filters[i], strlen(a->filters[i]), b->filters[k],
                                strlen(b->filters[k]))) {
                return true;
            }
        }
    }
    return false;
}

/* On a work queue each message has one consumer, and any number of copiers. */
static bool check_unique(struct js_req *r, struct js_stream *s, const struct cons_cfg *c)
{
    const struct store_ops *ops = r->js->ops;
    if (ops->stream_cfg(s->ss)->retention != RETENTION_WORKQUEUE || c->sourcing) {
        return true;
    }
    struct store_cons *sc = NULL;
    while ((sc = ops->cons_next_of(s->ss, sc)) != NULL) {
        const struct cons_cfg *o = ops->cons_cfg(sc);
        if (ops->cons_user(sc) == NULL || o->sourcing || strcmp(o->name, c->name) == 0) {
            continue;
        }
        if (c->nfilters == 0) {
            return fail(r, API_CONSUMER_WQ_MULTIPLE_UNFILTERED);
        }
        if (taken_filter(o, c)) {
            return fail(r, API_CONSUMER_WQ_CONSUMER_NOT_UNIQUE);
        }
    }
    return true;
}

static int64_t most_consumers(const struct js_req *r, struct js_stream *s)
{
    int64_t most = r->js->ops->stream_cfg(s->ss)->max_consumers;
    int64_t account = r->ja->acc->js_limits.max_consumers;
    return account > 0 && (most <= 0 || account < most) ? account : most;
}

/* Whether a new consumer is judged by the others of its stream. */
static bool counted(const struct js_req *r, struct js_stream *s)
{
    return most_consumers(r, s) > 0 ||
           r->js->ops->stream_cfg(s->ss)->retention == RETENTION_WORKQUEUE;
}

static bool check_count(struct js_req *r, struct js_stream *s)
{
    const struct store_ops *ops = r->js->ops;
    int64_t most = most_consumers(r, s);
    uint64_t n = 0;
    struct store_cons *sc = NULL;
    while (most > 0 && (sc = ops->cons_next_of(s->ss, sc)) != NULL) {
        n += ops->cons_user(sc) != NULL && !ops->cons_cfg(sc)->direct ? 1 : 0;
    }
    return most <= 0 || n < (uint64_t)most ? true : fail(r, API_MAXIMUM_CONSUMERS_LIMIT);
}

/* Upstream compares with what there is before it fills in how long an ephemeral consumer may be
 * idle: to "create" it again finds it there already, unless the request or the stream says how
 * long. */
static bool late_default(const struct js_cons_req *q, const struct stream_cfg *stream, bool unset)
{
    struct js_cons_limits cl;
    js_stream_limits(stream, &cl);
    return unset && !q->cfg.durable && q->action == JS_ACTION_CREATE &&
           cl.inactive_threshold_ns <= 0;
}

static void create_or_update(struct js_req *r, struct js_stream *s, struct js_cons_req *q)
{
    const struct store_ops *ops = r->js->ops;
    struct js_consumer *old = q->cfg.name == NULL ? NULL : js_consumer_find(s, js_str(q->cfg.name));
    make_name(r, s, &q->cfg);
    struct js_limits lim = r->js->lim;
    int64_t account = r->ja->acc->js_limits.max_ack_pending;
    if (account > 0 && (lim.max_ack_pending <= 0 || account < lim.max_ack_pending)) {
        lim.max_ack_pending = account;
    }
    bool unset = q->cfg.inactive_threshold_ns <= 0;
    if (!js_cons_req_check(q, ops->stream_cfg(s->ss), &lim, &r->err)) {
        js_req_fail(r);
        return;
    }
    if (old != NULL && unset && ops->cons_cfg(old->sc)->durable &&
        q->cfg.inactive_threshold_ns == JS_INACTIVE_DEFAULT_NS) {
        q->cfg.inactive_threshold_ns = 0; /* a durable that an update makes ephemeral stays */
    }
    if (old == NULL && q->action == JS_ACTION_UPDATE) {
        js_req_fail_with(r, API_CONSUMER_DOES_NOT_EXIST);
        return;
    }
    if (old == NULL) {
        if (!js_cons_check_new(&q->cfg, ops->stream_cfg(s->ss), &r->err) ||
            !check_unique(r, s, &q->cfg) || !check_count(r, s)) {
            js_req_fail(r);
            return;
        }
        if (r->tokens >= 2 && !counted(r, s) && !q->cfg.sourcing) {
            js_req_making(r);
        }
        ops->cons_create(s->ss, &q->cfg, made, r);
        return;
    }
    const struct cons_cfg *have = ops->cons_cfg(old->sc);
    js_consumer_ref(old);
    r->consumer = old;
    q->cfg.pause_until_ns = have->pause_until_ns; /* only CONSUMER.PAUSE changes it */
    if (!late_default(q, ops->stream_cfg(s->ss), unset) && js_cons_cfg_equal(have, &q->cfg)) {
        js_consumer_used(old);
        js_answer_consumer(r, old);
    } else if (q->action == JS_ACTION_CREATE) {
        js_req_fail_with(r, API_CONSUMER_ALREADY_EXISTS);
    } else if (!js_cons_update_check(have, &q->cfg, &r->err)) {
        js_req_fail(r);
    } else if (js_consumer_bound(old) &&
               strcmp(have->deliver_subject, q->cfg.deliver_subject) != 0) {
        js_req_fail_with(r, API_CONSUMER_NAME_EXIST);
    } else if (!check_unique(r, s, &q->cfg)) {
        js_req_fail(r);
    } else {
        old->held = true;
        ops->cons_update(old->sc, &q->cfg, changed, r);
    }
}

enum form { FORM_EPHEMERAL, FORM_NAMED, FORM_DURABLE };

static bool check_durable_form(struct js_req *r, const struct js_cons_req *q)
{
    if (q->durable == NULL) {
        return fail(r, API_CONSUMER_DURABLE_NAME_NOT_SET);
    }
    if (!js_str_eq(r->token[1], q->durable, strlen(q->durable))) {
        return fail(r, API_CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
    }
    return true;
}

static bool check_named_form(struct js_req *r, const struct js_cons_req *q)
{
    if (q->durable != NULL && !js_str_eq(r->token[1], q->durable, strlen(q->durable))) {
        return fail(r, API_CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT);
    }
    if (r->tokens < 3) {
        return true;
    }
    if (q->cfg.nfilters > (q->cfg.single_filter ? 1 : 0)) {
        return fail(r, API_CONSUMER_MULTIPLE_FILTERS_NOT_ALLOWED);
    }
    if (q->cfg.nfilters == 0 ||
        !js_str_eq(r->token[2], q->cfg.filters[0], strlen(q->cfg.filters[0]))) {
        return fail(r, API_CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH);
    }
    return true;
}

/* What subject and body say must agree. */
static bool check_form(struct js_req *r, const struct js_cons_req *q, enum form form)
{
    if (q->stream_name == NULL || !js_str_eq(r->token[0], q->stream_name, strlen(q->stream_name))) {
        return fail(r, API_STREAM_MISMATCH);
    }
    switch (form) {
    case FORM_EPHEMERAL:
        return q->durable == NULL || fail(r, API_CONSUMER_EPHEMERAL_WITH_DURABLE_NAME);
    case FORM_DURABLE:
        return check_durable_form(r, q);
    case FORM_NAMED:
    default:
        return check_named_form(r, q);
    }
}

static void take_name(struct js_req *r, struct js_cons_req *q, enum form form)
{
    if (form != FORM_EPHEMERAL) {
        base_free(q->cfg.name);
        q->cfg.name = base_strndup(r->token[1].p, r->token[1].n);
    }
    q->cfg.durable = q->durable != NULL;
}

static void create(struct js_req *r, enum form form)
{
    struct js_cons_req q;
    js_cons_req_init(&q);
    if (!js_cons_req_parse(&q, r->body.p, r->body.n, &r->js->lim, &r->err) ||
        !check_form(r, &q, form)) {
        js_req_fail(r);
        js_cons_req_fini(&q);
        return;
    }
    take_name(r, &q, form);
    if (q.cfg.name != NULL && strpbrk(q.cfg.name, "/\\") != NULL) {
        js_req_fail_with(r, API_CONSUMER_NAME_CONTAINS_PATH_SEPARATORS);
    } else if (q.cfg.replicas > 1 && q.cfg.replicas != UINT32_MAX) { /* before the stream */
        js_req_fail_with(r, API_STREAM_REPLICAS_NOT_SUPPORTED);
    } else {
        struct js_stream *s = js_req_stream(r);
        if (s != NULL && q.cfg.name != NULL && !check_name(r, q.cfg.name)) {
            js_req_fail(r);
        } else if (s != NULL && js_sourcing_adapt(r, s, &q)) {
            create_or_update(r, s, &q);
        }
    }
    js_cons_req_fini(&q);
}

void js_h_consumer_create(struct js_req *r)
{
    create(r, r->tokens >= 2 ? FORM_NAMED : FORM_EPHEMERAL);
}

void js_h_consumer_durable_create(struct js_req *r)
{
    create(r, FORM_DURABLE);
}
