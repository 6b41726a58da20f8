/* The remote store: connection, requests and answers, streams. See remote.h. */
#include "tools/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/store_scan.h"
#include "tools/remote_int.h"

#define RECONNECTS_MAX 10
#define RECONNECT_WAIT_MS 1000

/* --- hand-over from libnats ------------------------------------------------------------------- */

static void take_in(struct remote *r, uint64_t id, natsMsg *m)
{
    base_mutex_lock(&r->mutex);
    if (r->closing) {
        natsMsg_Destroy(m);
    } else {
        VEC_PUSH(&r->queue, (struct remote_in){id, m});
    }
    (void)pthread_cond_signal(&r->came);
    base_mutex_unlock(&r->mutex);
}

static void on_answer(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg)
{
    (void)nc;
    (void)sub;
    take_in(arg, 0, m);
}

static void on_delivery(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg)
{
    struct remote_door *d = arg;
    (void)nc;
    (void)sub;
    take_in(d->r, d->id, m);
}

struct remote_door *remote_door_open(struct remote *r, uint64_t id)
{
    char inbox[96];
    struct remote_door *d = base_calloc(1, sizeof *d);
    d->r = r;
    d->id = id;
    VEC_PUSH(&r->doors, d);
    (void)snprintf(inbox, sizeof inbox, "%s.c.%llu", r->inbox, (unsigned long long)id);
    if (natsConnection_Subscribe(&d->sub, r->nc, inbox, on_delivery, d) != NATS_OK ||
        natsSubscription_SetPendingLimits(d->sub, -1, -1) != NATS_OK) {
        return NULL;
    }
    return d;
}

void remote_door_shut(struct remote_door *d)
{
    if (d != NULL && d->sub != NULL) {
        (void)natsSubscription_Unsubscribe(d->sub);
    }
}

bool remote_wait(void *arg, int64_t deadline_boot_ns)
{
    struct remote *r = remote_of(arg);
    int64_t rest = i64_max(deadline_boot_ns - env_boot_ns(r->env), 0);
    int64_t at = env_real_ns(r->env) + (rest < NS_PER_S ? rest : NS_PER_S);
    struct timespec until = {.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
    base_mutex_lock(&r->mutex);
    while (r->queue.len == 0 && base_cond_timedwait(&r->came, &r->mutex, &until) == 0) {
    }
    base_mutex_unlock(&r->mutex);
    return true;
}

/* --- requests --------------------------------------------------------------------------------- */

static enum st nats_err(natsStatus s, const char *what, struct err *err)
{
    enum st st = s == NATS_TIMEOUT                                             ? ST_TIMEOUT
                 : s == NATS_NOT_PERMITTED || s == NATS_CONNECTION_AUTH_FAILED ? ST_DENIED
                 : s == NATS_INVALID_ARG                                       ? ST_INVALID
                                                                               : ST_IO;
    const char *text = natsStatus_GetText(s), *more = nats_GetLastError(NULL);
    if (more != NULL && *more == '(' && strstr(more, "): ") != NULL) {
        more = strstr(more, "): ") + 3; /* libnats's own file and line */
    }
    if (more == NULL || *more == 0 || strcmp(more, text) == 0) {
        return err_set(err, st, 0, "%s: %s", what, text);
    }
    return err_set(err, st, 0, "%s: %s: %.120s", what, text, more);
}

static void complete(struct remote *r, struct remote_req *q, natsMsg *m, const struct err *err)
{
    list_remove(&q->node);
    r->last = err != NULL ? *err : (struct err){0};
    q->fn(q->arg, m, err);
    err_clear(&r->last);
    base_free(q);
}

static void add_headers(natsMsg *m, const char *p, size_t n)
{
    const char *end = p + n, *line = memchr(p, '\n', n);
    for (line = line == NULL ? end : line + 1; line < end;) {
        const char *stop = memchr(line, '\r', (size_t)(end - line));
        const char *colon = memchr(line, ':', (size_t)(end - line));
        if (stop == NULL || stop == line || colon == NULL || colon > stop) {
            return;
        }
        char *name = base_strndup(line, (size_t)(colon - line));
        for (colon++; colon < stop && *colon == ' '; colon++) {
        }
        char *value = base_strndup(colon, (size_t)(stop - colon));
        (void)natsMsgHeader_Add(m, name, value);
        base_free(name);
        base_free(value);
        line = stop + 2;
    }
}

void remote_request(struct remote *r, const char *subject, const uint8_t *hdr, size_t hdr_len,
                    const void *data, size_t len, remote_fn fn, void *arg)
{
    struct remote_req *q = base_calloc(1, sizeof *q);
    char reply[96];
    natsMsg *m = NULL;
    q->id = r->next_id++;
    q->fn = fn;
    q->arg = arg;
    q->deadline_ns = env_boot_ns(r->env) + REMOTE_TIMEOUT_NS;
    list_push_back(&r->requests, &q->node);
    (void)snprintf(reply, sizeof reply, "%s.%llu", r->inbox, (unsigned long long)q->id);
    natsStatus s = natsMsg_Create(&m, subject, reply, data, (int)len);
    if (s == NATS_OK && hdr_len > 0) {
        add_headers(m, (const char *)hdr, hdr_len);
    }
    if (s == NATS_OK) {
        s = natsConnection_PublishMsg(r->nc, m);
    }
    natsMsg_Destroy(m);
    if (s != NATS_OK) {
        q->deadline_ns = 0; /* told by the next timers call, never in here */
        q->sent = s;
        list_remove(&q->node);
        list_push_front(&r->requests, &q->node);
    }
}

void remote_api(struct remote *r, const char *what, const char *name, json_object *json,
                remote_fn fn, void *arg)
{
    char subject[1200];
    const char *text = json == NULL ? "" : json_object_to_json_string_ext(json, 0);
    (void)snprintf(subject, sizeof subject, "$JS.API.%s%s", what, name);
    remote_request(r, subject, NULL, 0, text, strlen(text), fn, arg);
    json_object_put(json);
}

enum st remote_publish(struct remote *r, const char *subject, const char *reply, const char *json)
{
    natsStatus s = natsConnection_PublishRequest(r->nc, subject, reply, json, (int)strlen(json));
    return s == NATS_OK ? ST_OK : ST_IO;
}

enum st remote_api_err(json_object *error, struct err *err)
{
    int64_t code = remote_i64(error, "err_code", 0);
    const char *text = remote_str(error, "description");
    enum st st = ST_INVALID;
    switch (code) {
    case 10037: /* message not found */
    case 10014: /* consumer not found */
    case 10059: /* stream not found */
        st = ST_NOTFOUND;
        break;
    case 10058: /* stream name in use */
    case 10065: /* subjects overlap */
        st = ST_EXISTS;
        break;
    case 10023: /* insufficient resources */
    case 10047: /* insufficient storage */
    case 10028: /* memory */
        st = ST_NOSPACE;
        break;
    case 10109: /* sealed */
    case 10110: /* delete or purge not permitted */
        st = ST_DENIED;
        break;
    case 10039: /* JetStream not enabled for account */
    case 10076: /* JetStream not enabled */
        st = ST_UNSUPPORTED;
        break;
    default:
        break;
    }
    return err_set(err, st, 0, "%s (%lld)", text, (long long)code);
}

json_object *remote_answer(natsMsg *answer, struct err *err)
{
    const char *status = NULL;
    if (answer == NULL) {
        return NULL;
    }
    if (natsMsgHeader_Get(answer, "Status", &status) == NATS_OK && strcmp(status, "503") == 0) {
        err_set(err, ST_UNSUPPORTED, 0, "nobody answers: no such stream, or no JetStream");
        return NULL;
    }
    struct json_tokener *t = json_tokener_new();
    json_object *o =
        json_tokener_parse_ex(t, natsMsg_GetData(answer), natsMsg_GetDataLength(answer));
    json_tokener_free(t);
    json_object *error;
    if (o == NULL || !json_object_is_type(o, json_type_object)) {
        json_object_put(o);
        err_set(err, ST_CORRUPT, 0, "the server's answer is no JSON");
        return NULL;
    }
    if (json_object_object_get_ex(o, "error", &error)) {
        (void)remote_api_err(error, err);
        json_object_put(o);
        return NULL;
    }
    return o;
}

json_object *remote_ask(struct remote *r, const char *what, const char *name, json_object *json,
                        struct err *err)
{
    char subject[1200];
    natsMsg *m = NULL;
    const char *text = json == NULL ? "" : json_object_to_json_string_ext(json, 0);
    (void)snprintf(subject, sizeof subject, "$JS.API.%s%s", what, name);
    natsStatus s = natsConnection_Request(&m, r->nc, subject, text, (int)strlen(text),
                                          REMOTE_TIMEOUT_NS / NS_PER_MS);
    json_object_put(json);
    if (s == NATS_NO_RESPONDERS) {
        err_set(err, ST_UNSUPPORTED, 0, "the server has no JetStream for this account");
        return NULL;
    }
    if (s != NATS_OK) {
        (void)nats_err(s, "no answer from the server", err);
        return NULL;
    }
    json_object *o = remote_answer(m, err);
    natsMsg_Destroy(m);
    return o;
}

/* --- streams ---------------------------------------------------------------------------------- */

static bool name_fits(const char *name)
{
    return strlen(name) <= 255;
}

static void stream_load(struct store_stream *s, json_object *info)
{
    json_object *config;
    if (json_object_object_get_ex(info, "config", &config)) {
        stream_cfg_fini(&s->cfg);
        remote_cfg_read(config, &s->cfg);
        json_object_put(s->raw);
        s->raw = json_object_get(config);
    }
    remote_state_read(info, &s->state);
}

/* The handle of the stream that info tells of: the one given before, or a new one. */
static struct store_stream *stream_of(struct remote *r, json_object *info)
{
    json_object *config;
    if (!json_object_object_get_ex(info, "config", &config)) {
        return NULL;
    }
    const char *name = remote_str(config, "name");
    struct store_stream *s = NULL;
    for (size_t i = 0; i < r->streams.len && s == NULL; i++) {
        s = strcmp(r->streams.items[i]->cfg.name, name) == 0 ? r->streams.items[i] : NULL;
    }
    if (s == NULL) {
        s = base_calloc(1, sizeof *s);
        s->r = r;
        stream_cfg_init(&s->cfg);
        VEC_PUSH(&r->streams, s);
    }
    stream_load(s, info);
    return s;
}

static struct store_stream *op_find(struct store *st, const char *account, const char *name)
{
    struct remote *r = remote_of(st);
    struct err err = {0};
    (void)account; /* the connection's */
    if (!name_fits(name)) {
        return NULL;
    }
    json_object *info = remote_ask(r, "STREAM.INFO.", name, NULL, &err);
    struct store_stream *s = info == NULL ? NULL : stream_of(r, info);
    json_object_put(info);
    if (info == NULL && err.code != ST_NOTFOUND) {
        fprintf(stderr, "jsadmin: %s\n", err.msg);
    }
    return s;
}

/* Every page of the list, into r->listed. */
static void load_list(struct remote *r)
{
    struct err err = {0};
    int64_t total = 1;
    r->listed.len = 0;
    while ((int64_t)r->listed.len < total) {
        json_object *ask = json_object_new_object(), *v;
        json_object_object_add(ask, "offset", json_object_new_int64((int64_t)r->listed.len));
        json_object *page = remote_ask(r, "STREAM.LIST", "", ask, &err);
        if (page == NULL) {
            fprintf(stderr, "jsadmin: %s\n", err.msg);
            return;
        }
        size_t before = r->listed.len;
        total = remote_i64(page, "total", 0);
        size_t n = json_object_object_get_ex(page, "streams", &v) &&
                           json_object_is_type(v, json_type_array)
                       ? json_object_array_length(v)
                       : 0;
        for (size_t i = 0; i < n; i++) {
            struct store_stream *s = stream_of(r, json_object_array_get_idx(v, i));
            if (s != NULL) {
                VEC_PUSH(&r->listed, s);
            }
        }
        json_object_put(page);
        if (r->listed.len == before) {
            return;
        }
    }
}

static struct store_stream *op_next(struct store *st, const char *account,
                                    struct store_stream *prev)
{
    struct remote *r = remote_of(st);
    (void)account;
    size_t at = 0;
    if (prev == NULL) {
        load_list(r);
    }
    for (size_t i = 0; i < r->listed.len && prev != NULL; i++) {
        at = r->listed.items[i] == prev ? i + 1 : at;
    }
    return at < r->listed.len ? r->listed.items[at] : NULL;
}

static const struct stream_cfg *op_cfg(struct store_stream *s)
{
    return &s->cfg;
}

static void op_state(struct store_stream *s, struct stream_state *out)
{
    *out = s->state;
}

/* Waits for the server; the first page of subjects only. */
static void op_subjects(struct store_stream *s, const char *filter, uint32_t filter_len,
                        bool (*fn)(void *arg, const char *subject, uint32_t len, uint64_t count),
                        void *arg)
{
    struct err err;
    json_object *ask = json_object_new_object(), *state, *subjects;
    json_object_object_add(ask, "subjects_filter",
                           filter_len > 0 ? json_object_new_string_len(filter, (int)filter_len)
                                          : json_object_new_string(">"));
    json_object *info = remote_ask(s->r, "STREAM.INFO.", s->cfg.name, ask, &err);
    if (info != NULL && json_object_object_get_ex(info, "state", &state) &&
        json_object_object_get_ex(state, "subjects", &subjects) &&
        json_object_is_type(subjects, json_type_object)) {
        json_object_object_foreach(subjects, key, value)
        {
            if (!fn(arg, key, (uint32_t)strlen(key), json_object_get_uint64(value))) {
                break;
            }
        }
    }
    json_object_put(info);
}

/* A request about a stream, answered with its info. */
struct stream_op {
    struct remote *r;
    struct store_stream *s; /* NULL: create */
    store_stream_fn fn;
    store_done_fn done;
    void *arg;
};

static void on_stream(void *arg, natsMsg *m, const struct err *why)
{
    struct stream_op *op = arg;
    struct err err = why != NULL ? *why : (struct err){0};
    json_object *o = remote_answer(m, &err);
    struct store_stream *s = op->s;
    if (o != NULL && op->done == NULL) {
        s = stream_of(op->r, o);
    } else if (o != NULL && op->fn == NULL && s != NULL) {
        stream_load(s, o);
    }
    op->r->last = err;
    if (op->fn != NULL) {
        op->fn(op->arg, err.code, err.code == ST_OK ? s : NULL, &err);
    } else if (op->done != NULL) {
        op->done(op->arg, err.code, 0, &err);
    }
    json_object_put(o);
    base_free(op);
}

static struct stream_op *stream_op(struct remote *r, struct store_stream *s, store_stream_fn fn,
                                   store_done_fn done, void *arg)
{
    struct stream_op *op = base_malloc(sizeof *op);
    *op = (struct stream_op){r, s, fn, done, arg};
    return op;
}

static void op_create(struct store *st, const struct stream_cfg *cfg, store_stream_fn fn, void *arg)
{
    struct remote *r = remote_of(st);
    remote_api(r, "STREAM.CREATE.", cfg->name, remote_cfg_json(cfg), on_stream,
               stream_op(r, NULL, fn, NULL, arg));
}

static void op_update(struct store *st, struct store_stream *s, const struct stream_cfg *cfg,
                      store_stream_fn fn, void *arg)
{
    struct remote *r = remote_of(st);
    remote_api(r, "STREAM.UPDATE.", cfg->name, remote_cfg_changed(s->raw, &s->cfg, cfg), on_stream,
               stream_op(r, s, fn, NULL, arg));
}

static void op_delete(struct store *st, struct store_stream *s, store_done_fn fn, void *arg)
{
    struct remote *r = remote_of(st);
    remote_api(r, "STREAM.DELETE.", s->cfg.name, NULL, on_stream,
               stream_op(r, NULL, NULL, fn, arg));
}

static void op_barrier(struct store_stream *s, store_done_fn fn, void *arg)
{
    remote_api(s->r, "STREAM.INFO.", s->cfg.name, NULL, on_stream,
               stream_op(s->r, s, NULL, fn, arg));
}

static enum st op_health(struct store *st, struct err *err)
{
    struct remote *r = remote_of(st);
    if (r->last.code != ST_OK && err != NULL) {
        *err = r->last;
    }
    return r->last.code;
}

/* --- driving ---------------------------------------------------------------------------------- */

static void dispatch_delivery(struct remote *r, const struct remote_in *in)
{
    LIST_EACH(&r->conses, n)
    {
        struct store_cons *c = CONTAINER_OF(n, struct store_cons, node);
        if (c->id == in->id) {
            remote_cons_deliver(c, in->m);
            return;
        }
    }
    natsMsg_Destroy(in->m); /* it was deleted */
}

static void dispatch_answer(struct remote *r, natsMsg *m)
{
    const char *subject = natsMsg_GetSubject(m);
    unsigned long long id = 0;
    if (strlen(subject) > r->inbox_len) {
        id = strtoull(subject + r->inbox_len + 1, NULL, 10);
    }
    LIST_EACH(&r->requests, n)
    {
        struct remote_req *q = CONTAINER_OF(n, struct remote_req, node);
        if (q->id == id) {
            complete(r, q, m, NULL);
            break;
        }
    }
    natsMsg_Destroy(m);
}

static void op_poll(struct store *st)
{
    struct remote *r = remote_of(st);
    base_mutex_lock(&r->mutex);
    for (size_t i = 0; i < r->queue.len; i++) {
        VEC_PUSH(&r->taken, r->queue.items[i]);
    }
    r->queue.len = 0;
    base_mutex_unlock(&r->mutex);
    for (size_t i = 0; i < r->taken.len; i++) {
        if (r->taken.items[i].id != 0) {
            dispatch_delivery(r, &r->taken.items[i]);
        } else {
            dispatch_answer(r, r->taken.items[i].m);
        }
    }
    r->taken.len = 0;
}

static void op_turn(struct store *st)
{
    (void)st;
}

static int64_t op_timers(struct store *st)
{
    struct remote *r = remote_of(st);
    int64_t now = env_boot_ns(r->env), next = INT64_MAX;
    struct list_node *n;
    for (size_t left = 64; left > 0 && (n = list_first(&r->requests)) != NULL; left--) {
        struct remote_req *q = CONTAINER_OF(n, struct remote_req, node);
        if (q->deadline_ns > now) {
            break;
        }
        struct err err;
        if (q->deadline_ns == 0) {
            err_set(&err, ST_IO, 0, "could not send to the server: %s",
                    natsStatus_GetText(q->sent));
        } else {
            err_set(&err, ST_TIMEOUT, 0, "no answer from the server");
        }
        complete(r, q, NULL, &err);
    }
    LIST_EACH(&r->requests, at)
    {
        next = CONTAINER_OF(at, struct remote_req, node)->deadline_ns;
        break;
    }
    LIST_EACH(&r->conses, at)
    {
        int64_t t = remote_cons_timer(CONTAINER_OF(at, struct store_cons, node), now);
        next = t < next ? t : next;
    }
    return next;
}

static const struct store_ops ops = {.stream_create = op_create,
                                     .stream_update = op_update,
                                     .stream_delete = op_delete,
                                     .stream_find = op_find,
                                     .stream_next = op_next,
                                     .stream_cfg = op_cfg,
                                     .stream_state = op_state,
                                     .stream_subjects = op_subjects,
                                     .stream_barrier = op_barrier,
                                     .append = remote_append,
                                     .get = remote_get,
                                     .purge = remote_purge,
                                     .cons_create = remote_cons_create,
                                     .cons_delete = remote_cons_delete,
                                     .cons_state = remote_cons_state,
                                     .cons_attach = remote_cons_attach,
                                     .cons_peek = remote_cons_peek,
                                     .cons_take = remote_cons_take,
                                     .health = op_health,
                                     .turn = op_turn,
                                     .poll = op_poll,
                                     .timers = op_timers};

/* --- open, close ------------------------------------------------------------------------------ */

static natsStatus put_options(natsOptions *o, const struct remote_opts *opts)
{
    natsStatus s = natsOptions_SetURL(o, opts->url);
    if (s == NATS_OK) {
        s = natsOptions_SetName(o, opts->name);
    }
    if (s == NATS_OK) {
        s = natsOptions_SetTimeout(o, 5000);
    }
    if (s == NATS_OK) {
        /* a server may start again; one that does not is told (remote_cons_timer) */
        s = natsOptions_SetMaxReconnect(o, RECONNECTS_MAX);
    }
    if (s == NATS_OK) {
        s = natsOptions_SetReconnectWait(o, RECONNECT_WAIT_MS);
    }
    if (s == NATS_OK && opts->user != NULL) {
        s = natsOptions_SetUserInfo(o, opts->user, opts->password == NULL ? "" : opts->password);
    }
    if (s == NATS_OK && opts->token != NULL) {
        s = natsOptions_SetToken(o, opts->token);
    }
    if (s == NATS_OK && opts->creds != NULL) {
        s = natsOptions_SetUserCredentialsFromFiles(o, opts->creds, NULL);
    }
    if (s == NATS_OK && (opts->tls_ca != NULL || opts->tls_cert != NULL)) {
        s = natsOptions_SetSecure(o, true);
    }
    if (s == NATS_OK && opts->tls_ca != NULL) {
        s = natsOptions_LoadCATrustedCertificates(o, opts->tls_ca);
    }
    if (s == NATS_OK && opts->tls_cert != NULL) {
        s = natsOptions_LoadCertificatesChain(o, opts->tls_cert, opts->tls_key);
    }
    return s;
}

enum st remote_open(struct env *env, const struct remote_opts *opts, struct store **store_out,
                    struct err *err)
{
    struct remote *r = base_calloc(1, sizeof *r);
    natsOptions *o = NULL;
    char nuid[STORE_NUID_SIZE], all[80];
    *store_out = NULL;
    r->base.ops = &ops;
    r->env = env;
    r->next_id = 1;
    list_init(&r->requests);
    list_init(&r->conses);
    base_mutex_init(&r->mutex);
    (void)pthread_cond_init(&r->came, NULL);
    store_nuid(env, nuid);
    r->inbox_len = (size_t)snprintf(r->inbox, sizeof r->inbox, "_INBOX.%s", nuid);
    (void)snprintf(all, sizeof all, "%s.*", r->inbox);
    natsStatus s = natsOptions_Create(&o);
    if (s == NATS_OK) {
        s = put_options(o, opts);
    }
    if (s == NATS_OK) {
        s = natsConnection_Connect(&r->nc, o);
    }
    if (s == NATS_OK) {
        s = natsConnection_Subscribe(&r->sub, r->nc, all, on_answer, r);
    }
    if (s == NATS_OK) {
        s = natsSubscription_SetPendingLimits(r->sub, -1, -1);
    }
    natsOptions_Destroy(o);
    if (s != NATS_OK) {
        const char *secret_end = strrchr(opts->url, '@'); /* user and password stand before it */
        char what[300];
        (void)snprintf(what, sizeof what, "could not connect to %.250s",
                       secret_end == NULL ? opts->url : secret_end + 1);
        enum st st = nats_err(s, what, err);
        remote_close(&r->base);
        return st;
    }
    *store_out = &r->base;
    return ST_OK;
}

void remote_close(struct store *st)
{
    if (st == NULL) {
        return;
    }
    struct remote *r = remote_of(st);
    (void)natsConnection_FlushTimeout(r->nc, 2000);
    base_mutex_lock(&r->mutex);
    r->closing = true;
    for (size_t i = 0; i < r->queue.len; i++) {
        natsMsg_Destroy(r->queue.items[i].m);
    }
    base_mutex_unlock(&r->mutex);
    LIST_EACH(&r->conses, n)
    {
        remote_cons_free(CONTAINER_OF(n, struct store_cons, node));
    }
    LIST_EACH(&r->requests, n)
    {
        list_remove(n);
        base_free(CONTAINER_OF(n, struct remote_req, node));
    }
    for (size_t i = 0; i < r->doors.len; i++) {
        natsSubscription_Destroy(r->doors.items[i]->sub);
    }
    natsSubscription_Destroy(r->sub);
    natsConnection_Destroy(r->nc);
    nats_CloseAndWait(5000); /* libnats is gone: no callback runs, no call of it may come */
    for (size_t i = 0; i < r->doors.len; i++) {
        base_free(r->doors.items[i]);
    }
    for (size_t i = 0; i < r->streams.len; i++) {
        stream_cfg_fini(&r->streams.items[i]->cfg);
        json_object_put(r->streams.items[i]->raw);
        base_free(r->streams.items[i]);
    }
    VEC_FREE(&r->queue);
    VEC_FREE(&r->taken);
    VEC_FREE(&r->doors);
    VEC_FREE(&r->streams);
    VEC_FREE(&r->listed);
    (void)pthread_cond_destroy(&r->came);
    base_mutex_destroy(&r->mutex);
    base_free(r);
}
