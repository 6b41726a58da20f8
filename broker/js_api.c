/* API requests: taken off the delivery path into a bounded queue per account, dispatched in slices,
 * answered when what they say is durable.
 *
 * Order: requests of an account start in the order they came. One that changes something holds back
 * all later ones until it is answered, or, where one call of the store makes the change (messages
 * and consumers that are deleted, purges), until that call is made; consumers are made side by
 * side, and so is what only reads. At the bound of the queue, in requests or in bytes, a request is
 * refused at once (10023, type system_overloaded) and an advisory tells how many were. */
#include "broker/js_int.h"

#include <stdio.h>

#include "broker/js_level.h"
#include "broker/js_offline.h"
#include "engine/base/base.h"

#define LIST_ERR ",\"total\":0,\"offset\":0,\"limit\":0"

static void h_cluster_only(struct js_req *r);

static const struct js_route routes[] = {
    {"INFO", "account_info", js_h_info, false, NULL},
    {"STREAM.CREATE.*", "stream_create", js_h_stream_create, true, NULL},
    {"STREAM.UPDATE.*", "stream_update", js_h_stream_update, true, NULL},
    {"STREAM.INFO.*", "stream_info", js_h_stream_info, false, LIST_ERR},
    {"STREAM.LIST", "stream_list", js_h_stream_list, false, LIST_ERR ",\"streams\":[]"},
    {"STREAM.NAMES", "stream_names", js_h_stream_names, false, LIST_ERR ",\"streams\":null"},
    {"STREAM.DELETE.*", "stream_delete", js_h_stream_delete, true, NULL},
    {"STREAM.PURGE.*", "stream_purge", js_h_stream_purge, true, ",\"purged\":0"},
    {"STREAM.MSG.GET.*", "stream_msg_get", js_h_msg_get, false, NULL},
    {"STREAM.MSG.DELETE.*", "stream_msg_delete", js_h_msg_delete, true, NULL},
    {"STREAM.SNAPSHOT.*", "stream_snapshot", js_h_stream_snapshot, false, NULL},
    {"STREAM.RESTORE.*", "stream_restore", js_h_stream_restore, false, ",\"deliver_subject\":\"\""},
    {"STREAM.PEER.REMOVE.*", "stream_remove_peer", h_cluster_only, false, NULL},
    {"STREAM.LEADER.STEPDOWN.*", "stream_leader_stepdown", h_cluster_only, false, NULL},
    {"CONSUMER.CREATE.*", "consumer_create", js_h_consumer_create, true, NULL},
    {"CONSUMER.CREATE.*.>", "consumer_create", js_h_consumer_create, true, NULL},
    {"CONSUMER.DURABLE.CREATE.*.*", "consumer_create", js_h_consumer_durable_create, true, NULL},
    {"CONSUMER.NAMES.*", "consumer_names", js_h_consumer_names, false,
     LIST_ERR ",\"consumers\":[]"},
    {"CONSUMER.LIST.*", "consumer_list", js_h_consumer_list, false, LIST_ERR ",\"consumers\":[]"},
    {"CONSUMER.INFO.*.*", "consumer_info", js_h_consumer_info, false, NULL},
    {"CONSUMER.DELETE.*.*", "consumer_delete", js_h_consumer_delete, true, NULL},
    {"CONSUMER.PAUSE.*.*", "consumer_pause", js_h_consumer_pause, true,
     ",\"paused\":false,\"pause_until\":\"0001-01-01T00:00:00Z\""},
    {"CONSUMER.UNPIN.*.*", "consumer_unpin", js_h_consumer_unpin, false, NULL},
    {"CONSUMER.RESET.*.*", "consumer_reset", js_h_consumer_reset, true, ",\"reset_seq\":0"},
    {"CONSUMER.LEADER.STEPDOWN.*.*", "consumer_leader_stepdown", h_cluster_only, false, NULL},
    {"META.LEADER.STEPDOWN", "meta_leader_stepdown", h_cluster_only, false, NULL},
    {"SERVER.REMOVE", "meta_server_remove", h_cluster_only, false, NULL},
    {"ACCOUNT.STREAM.MOVE.*.*", "stream_update", h_cluster_only, false, NULL},
    {"ACCOUNT.STREAM.CANCEL_MOVE.*.*", "stream_update", h_cluster_only, false, NULL},
};

/* The literal part of a route, without its last dot: "STREAM.CREATE". */
static size_t literal_len(const char *pattern)
{
    size_t n = strcspn(pattern, "*>");
    return n > 0 && pattern[n] != '\0' ? n - 1 : n;
}

/* Of the last four upstream's single server says nothing at all; a client need not wait for that.
 */
static void h_cluster_only(struct js_req *r)
{
    js_req_fail_with(r, API_CLUSTER_REQUIRED);
}

/* --- the queue -------------------------------------------------------------------------------- */

static void split_tokens(struct js_req *r)
{
    size_t skip = sizeof "$JS.API." - 1 + literal_len(r->route->pattern);
    r->tokens = 0;
    if (skip >= r->subject.n) {
        return;
    }
    const char *p = r->subject.p + skip + 1;
    const char *end = r->subject.p + r->subject.n;
    while (p <= end && r->tokens < ARRAY_LEN(r->token)) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        bool last =
            r->tokens + 1 == ARRAY_LEN(r->token); /* the third holds the rest: a filter subject */
        const char *stop = dot == NULL || last ? end : dot;
        r->token[r->tokens++] = (struct brk_str){p, (size_t)(stop - p)};
        p = stop + 1;
    }
}

static char *copy_piece(char *to, struct brk_str s, struct brk_str *out)
{
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    to[s.n] = '\0';
    *out = (struct brk_str){to, s.n};
    return to + s.n + 1;
}

/* One account does not take all of what they share: a quarter is left to the others, and each has
 * room for one request. */
static bool room(size_t all, size_t own, size_t most, bool alone)
{
    return own == 0 || (all < most && (alone || own < most - most / 4));
}

static bool has_room(const struct js_account *ja, size_t size)
{
    const struct js *js = ja->js;
    bool alone = js->accounts->next == NULL;
    return room(js->requests, ja->requests, js->requests_max, alone) &&
           room(js->request_bytes + size - 1, ja->request_bytes == 0 ? 0 : ja->request_bytes + size,
                JS_REQUEST_BYTES_MAX, alone);
}

static void counted(struct js_account *ja, size_t size)
{
    ja->request_bytes += size;
    ja->js->request_bytes += size;
}

static void uncounted(struct js_account *ja, size_t size)
{
    ja->request_bytes -= size;
    ja->js->request_bytes -= size;
}

static struct js_req *make(struct js_api_sub *sub, const struct brk_msg *m)
{
    struct js *js = sub->ja->js;
    size_t size = sizeof(struct js_req) + m->subject.n + m->reply.n + m->payload_len + 3;
    if (!has_room(sub->ja, size)) {
        return NULL;
    }
    struct js_req *r = base_try_malloc(size);
    if (r == NULL) {
        return NULL;
    }
    counted(sub->ja, size);
    *r = (struct js_req){.ja = sub->ja, .js = js, .route = sub->route, .size = size};
    char *p = copy_piece(r->bytes, m->subject, &r->subject);
    p = copy_piece(p, m->reply, &r->reply);
    (void)copy_piece(p, (struct brk_str){(const char *)m->payload, m->payload_len}, &r->body);
    split_tokens(r);
    r->level_too_high = js_level_too_high(m->hdr, m->hdr_len);
    js_audit_begin(r, m->from);
    return r;
}

static void refuse_overload(struct js_account *ja, const struct brk_msg *m)
{
    struct api_error e;
    struct json_out j = {0};
    api_error_set(&e, API_INSUFFICIENT_RESOURCES);
    json_out_begin(&j);
    json_out_str(&j, "type", "io.nats.jetstream.api.v1.system_overloaded");
    api_error_put(&j, &e);
    json_out_end(&j);
    ja->api_total++;
    ja->api_errors++;
    js_send(ja, m->reply, NULL, 0, j.buf, j.len);
    json_out_fini(&j);
    if (ja->js->dropped++ == 0) {
        brk_slice_kick(ja->js->api_slice);
    }
}

static void on_request(void *arg, const struct brk_msg *m)
{
    struct js_api_sub *sub = arg;
    struct js_account *ja = sub->ja;
    struct js *js = ja->js;
    struct js_req *r = make(sub, m);
    if (r == NULL) {
        refuse_overload(ja, m);
        return;
    }
    if (ja->req_last != NULL) {
        ja->req_last->next = r;
    } else {
        ja->req_first = r;
    }
    ja->req_last = r;
    js->requests++;
    ja->requests++;
    brk_slice_kick(js->api_slice);
}

/* A store that has failed holds what may never have reached the disk: a deletion that was refused
 * is among it. Nobody is told that something is there, or is not. True: answered. */
static bool store_failed(struct js_req *r)
{
    struct err err = {0};
    enum st st = r->js->ops->health(r->js->store, &err);
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_GENERAL_ERROR, st, &err);
    }
    return st != ST_OK;
}

enum { MAKING_MAX = 256 }; /* being_made() looks at each of them */

/* Only those whose subject tells the name. */
static bool makes_consumer(const struct js_req *r)
{
    return r->tokens >= 2 &&
           (r->route->fn == js_h_consumer_create || r->route->fn == js_h_consumer_durable_create);
}

static bool same_token(const struct js_req *a, const struct js_req *b, size_t i)
{
    return a->token[i].n == b->token[i].n &&
           memcmp(a->token[i].p, b->token[i].p, a->token[i].n) == 0;
}

/* Whether a consumer of this name is on its way to the disk. */
static bool being_made(const struct js_req *r)
{
    for (const struct js_req *a = r->js->active; a != NULL; a = a->next) {
        if (a->ja == r->ja && a->hold == JS_HOLD_BUT_CONSUMERS && same_token(a, r, 0) &&
            same_token(a, r, 1)) {
            return true;
        }
    }
    return false;
}

static bool startable(const struct js_account *ja)
{
    const struct js_req *r = ja->req_first;
    return r != NULL && ja->changing == 0 &&
           (ja->making == 0 || (ja->making < MAKING_MAX && makes_consumer(r) && !being_made(r)));
}

static struct js_account *next_account(struct js *js)
{
    struct js_account *start = js->api_turn != NULL ? js->api_turn : js->accounts;
    for (struct js_account *a = start; a != NULL; a = a->next) {
        if (startable(a)) {
            return a;
        }
    }
    for (struct js_account *a = js->accounts; a != start; a = a->next) {
        if (startable(a)) {
            return a;
        }
    }
    return NULL;
}

bool js_api_slice(void *arg)
{
    struct js *js = arg;
    js_accounts_settle(js);
    struct js_account *ja = next_account(js);
    if (ja == NULL) {
        if (js->dropped > 0 && js->accounts != NULL) {
            js_adv_api_limit(js, js->accounts);
            js->dropped = 0;
        }
        return false;
    }
    js->api_turn = ja->next;
    struct js_req *r = ja->req_first;
    ja->req_first = r->next;
    if (ja->req_first == NULL) {
        ja->req_last = NULL;
    }
    r->next = js->active;
    r->prev = NULL;
    if (js->active != NULL) {
        js->active->prev = r;
    }
    js->active = r;
    js->requests--;
    ja->requests--;
    ja->api_inflight++;
    if (r->route->changes) {
        r->hold = JS_HOLD_ALL;
        ja->changing++;
    }
    if (ja->disabled) {
        js_req_fail_with(r, API_NOT_ENABLED_FOR_ACCOUNT);
    } else if (r->level_too_high) {
        js_req_fail_with(r, API_REQUIRED_API_LEVEL);
    } else if (r->route->changes || !store_failed(r)) {
        r->route->fn(r);
    }
    return true;
}

void js_api_enable(struct js_account *ja)
{
    ja->api = base_calloc(ARRAY_LEN(routes), sizeof *ja->api);
    ja->api_count = ARRAY_LEN(routes);
    for (size_t i = 0; i < ja->api_count; i++) {
        char subject[80];
        int n = snprintf(subject, sizeof subject, "$JS.API.%s", routes[i].pattern);
        ja->api[i] = (struct js_api_sub){.ja = ja, .route = &routes[i]};
        ja->api[i].sub = brk_isub_create(ja->acc, (struct brk_str){subject, (size_t)n},
                                         (struct brk_str){0}, on_request, &ja->api[i]);
    }
}

void js_api_disable(struct js_account *ja)
{
    for (size_t i = 0; i < ja->api_count; i++) {
        brk_isub_destroy(ja->api[i].sub);
        ja->api[i].sub = NULL;
    }
    while (ja->req_first != NULL) {
        struct js_req *r = ja->req_first;
        ja->req_first = r->next;
        ja->js->requests--;
        ja->requests--;
        uncounted(ja, r->size);
        base_free(r->audit);
        base_free(r);
    }
    ja->req_last = NULL;
}

/* --- answers ---------------------------------------------------------------------------------- */

struct json_out *js_req_begin(struct js_req *r)
{
    struct json_out *j = &r->out;
    json_out_begin(j);
    json_out_key(j, "type");
    json_out_raw(j, "\"io.nats.jetstream.api.v1.", 26);
    json_out_raw(j, r->route->type, strlen(r->route->type));
    json_out_raw(j, "_response\"", 10);
    j->comma = true;
    return j;
}

static void release(struct js_req *r)
{
    if (r->prev != NULL) {
        r->prev->next = r->next;
    } else {
        r->js->active = r->next;
    }
    if (r->next != NULL) {
        r->next->prev = r->prev;
    }
    if (r->stream != NULL) {
        js_stream_unref(r->stream);
    }
    if (r->consumer != NULL) {
        js_consumer_unref(r->consumer);
    }
    json_out_fini(&r->out);
    base_free(r->audit);
    uncounted(r->ja, r->size);
    base_free(r);
}

void js_api_fini(struct js *js)
{
    while (js->active != NULL) {
        release(js->active); /* its callback never came */
    }
}

bool js_change_begin(struct js_account *ja)
{
    if (ja->changing > 0 || ja->making > 0) {
        return false;
    }
    ja->changing++;
    return true;
}

void js_change_end(struct js_account *ja)
{
    ja->changing--;
    if (startable(ja) || ja->going_off) {
        brk_slice_kick(ja->js->api_slice);
    }
}

static void let_go(struct js_req *r)
{
    enum js_hold had = r->hold;
    r->hold = JS_HOLD_NONE;
    r->ja->making -= had == JS_HOLD_BUT_CONSUMERS ? 1 : 0;
    if (had == JS_HOLD_ALL) {
        js_change_end(r->ja);
    } else if (startable(r->ja) || r->ja->going_off) {
        brk_slice_kick(r->js->api_slice);
    }
}

void js_req_applied(struct js_req *r)
{
    let_go(r);
}

void js_req_making(struct js_req *r)
{
    ASSERT(r->hold == JS_HOLD_ALL && makes_consumer(r));
    r->hold = JS_HOLD_BUT_CONSUMERS;
    r->ja->making++;
    js_change_end(r->ja);
}

static void finish(struct js_req *r)
{
    js_send(r->ja, r->reply, NULL, 0, r->out.buf, r->out.len);
    js_audit_send(r);
    r->ja->api_total++;
    r->ja->api_inflight--;
    let_go(r);
    release(r);
}

void js_req_answer(struct js_req *r)
{
    json_out_end(&r->out);
    finish(r);
}

static void barrier_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    (void)n;
    (void)err;
    ASSERT(r->pending > 0);
    if (st != ST_OK && st != ST_NOTFOUND && r->err.err_code == API_OK) {
        /* what the answer rests on may not be durable: say so instead */
        api_error_from_st(&r->err, API_STREAM_GENERAL_ERROR, st, err);
    }
    if (--r->pending > 0) {
        return;
    }
    if (r->err.err_code != API_OK) {
        json_out_reset(&r->out);
        js_req_fail(r);
        return;
    }
    js_req_answer(r);
}

void js_req_barrier(struct js_req *r, struct js_stream *s)
{
    if (s == NULL || s->ss == NULL) {
        return;
    }
    r->pending++;
    r->js->ops->stream_barrier(s->ss, barrier_done, r);
}

void js_req_answer_all(struct js_req *r)
{
    if (r->pending == 0) {
        js_req_answer(r);
    }
}

static void learnt(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    (void)st; /* the answer has a barrier of its own */
    (void)n;
    (void)err;
    if (--r->pending > 0) {
        return;
    }
    if (r->stream != NULL) {
        js_stream_unref(r->stream);
        r->stream = NULL;
    }
    r->again(r);
}

bool js_req_learn_first(struct js_req *r, struct store_stream *const *v, size_t n,
                        void (*again)(struct js_req *))
{
    enum { TIMES = 4 }; /* meanwhile another may have become the first */
    if (r->learnt == TIMES) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct stream_state st;
        r->js->ops->stream_state(v[i], &st);
        if (st.msgs > 0 && st.first_ts_ns == 0) {
            r->pending++;
            r->js->ops->stream_barrier(v[i], learnt, r);
        }
    }
    r->learnt++;
    r->again = again;
    return r->pending > 0;
}

void js_req_answer_durable(struct js_req *r, struct js_stream *s)
{
    js_req_barrier(r, s);
    js_req_answer_all(r);
}

void js_req_fail(struct js_req *r)
{
    json_out_reset(&r->out);
    struct json_out *j = js_req_begin(r);
    api_error_put(j, &r->err);
    if (r->route->on_error != NULL) {
        json_out_raw(j, r->route->on_error, strlen(r->route->on_error));
    }
    r->ja->api_errors++;
    js_req_answer(r);
}

void js_req_fail_durable(struct js_req *r, struct js_stream *s)
{
    ASSERT(r->err.err_code != API_OK);
    js_req_barrier(r, s);
    if (r->pending == 0) {
        js_req_fail(r);
    }
}

void js_req_fail_with(struct js_req *r, enum api_err id)
{
    api_error_set(&r->err, id);
    js_req_fail(r);
}

void js_req_fail_st(struct js_req *r, enum api_err id, enum st st, const struct err *err)
{
    api_error_from_st(&r->err, id, st, err);
    js_req_fail(r);
}

struct js_stream *js_req_stream_any(struct js_req *r)
{
    struct js_stream *s = js_stream_find(r->ja, r->token[0]);
    if (s == NULL) {
        if (!store_failed(r)) {
            js_req_fail_with(r, API_STREAM_NOT_FOUND);
        }
        return NULL;
    }
    js_stream_ref(s);
    r->stream = s;
    return s;
}

struct js_stream *js_req_stream(struct js_req *r)
{
    struct js_stream *s = js_req_stream_any(r);
    if (s != NULL && s->offline != NULL) {
        api_error_set2(&r->err, API_STREAM_OFFLINE_REASON, s->offline, NULL);
        js_req_fail(r);
        return NULL;
    }
    return s;
}

/* True: the consumer itself is why its stream is offline; answered. */
static bool consumer_offline(struct js_req *r, const struct js_stream *s)
{
    char name[LIM_NAME_BYTES_MAX + 1];
    if (s->offline == NULL || r->token[1].n > LIM_NAME_BYTES_MAX) {
        return false;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)r->token[1].n, r->token[1].p);
    struct store_cons *sc = r->js->ops->cons_find(s->ss, name);
    char *reason = sc != NULL ? js_offline_consumer_reason(r->js->ops->cons_cfg(sc)) : NULL;
    if (reason == NULL) {
        return false;
    }
    api_error_set2(&r->err, API_CONSUMER_OFFLINE_REASON, reason, NULL);
    base_free(reason);
    js_req_fail(r);
    return true;
}

struct js_consumer *js_req_consumer(struct js_req *r)
{
    struct js_stream *found = js_stream_find(r->ja, r->token[0]);
    if (found != NULL && consumer_offline(r, found)) {
        return NULL;
    }
    struct js_stream *s = js_req_stream(r);
    if (s == NULL) {
        return NULL;
    }
    struct js_consumer *c = js_consumer_find(s, r->token[1]);
    if (c == NULL) {
        if (!store_failed(r)) {
            api_error_set(&r->err, API_CONSUMER_NOT_FOUND);
            js_req_fail_durable(r, s); /* it may have been deleted just now */
        }
        return NULL;
    }
    js_consumer_ref(c);
    r->consumer = c;
    return c;
}

bool js_req_empty(const struct js_req *r)
{
    static const char object[] = "{}";
    size_t seen = 0;
    for (size_t i = 0; i < r->body.n; i++) {
        char c = r->body.p[i];
        if ((unsigned char)c > ' ' && (seen == 2 || c != object[seen++])) {
            return false;
        }
    }
    return r->body.n == 0 || seen == 2;
}

bool js_req_is_json(const struct js_req *r)
{
    size_t i = 0;
    while (i < r->body.n && strchr(" \t\r\n", r->body.p[i]) != NULL) {
        i++;
    }
    return i < r->body.n && (r->body.p[i] == '{' || r->body.p[i] == '[');
}

bool js_req_decode(struct js_req *r, const struct json_schema *s, void *base)
{
    struct json_decode d = {.strict = r->js->lim.strict};
    struct err err = {0};
    if (json_in_read(&d, r->body.p, r->body.n, s, base, &err) != ST_OK) {
        api_error_set2(&r->err, API_INVALID_JSON, err.msg, NULL);
        return false;
    }
    return true;
}

/* --- account info ----------------------------------------------------------------------------- */

void js_h_info(struct js_req *r)
{
    struct store_usage u = {0};
    const struct brk_js_account_limits *l = &r->ja->acc->js_limits;
    struct json_out *j = js_req_begin(r);
    r->js->ops->usage(r->js->store, r->ja->acc->name, &u);
    json_out_u64(j, "memory", u.mem_bytes);
    json_out_u64(j, "storage", u.file_bytes);
    json_out_i64(j, "reserved_memory", js_reserved(r->js, r->ja->acc->name, STORAGE_MEMORY, NULL));
    json_out_i64(j, "reserved_storage", js_reserved(r->js, r->ja->acc->name, STORAGE_FILE, NULL));
    json_out_u64(j, "streams", u.streams);
    json_out_u64(j, "consumers", u.consumers);
    json_out_open(j, "limits");
    json_out_i64(j, "max_memory", l->max_memory);
    json_out_i64(j, "max_storage", l->max_store);
    json_out_i64(j, "max_streams", l->max_streams);
    json_out_i64(j, "max_consumers", l->max_consumers);
    json_out_i64(j, "max_ack_pending", l->max_ack_pending);
    json_out_i64(j, "memory_max_stream_bytes", l->memory_max_stream_bytes);
    json_out_i64(j, "storage_max_stream_bytes", l->store_max_stream_bytes);
    json_out_bool(j, "max_bytes_required", l->max_bytes_required);
    json_out_end(j);
    js_domain_put(r->js, j);
    json_out_open(j, "api");
    json_out_u64(j, "level", JS_API_LEVEL);
    json_out_u64(j, "total", r->ja->api_total);
    json_out_u64(j, "errors", r->ja->api_errors);
    if (r->ja->api_inflight > 1) {
        json_out_u64(j, "inflight", r->ja->api_inflight - 1);
    }
    json_out_end(j);
    js_req_answer(r);
}
