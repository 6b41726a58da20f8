/* Copiers: life, requests to the origin, what comes from it (js_copier.h). */
#include "broker/js_copier.h"

#include <stdio.h>

#include "engine/base/base.h"
#include "engine/base/env.h"

static void start(struct js_copier *c);

void js_copier_unref(struct js_copier *c)
{
    ASSERT(c->refs > 0);
    if (--c->refs > 0) {
        return;
    }
    ASSERT(c->stream == NULL);
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        c->js->copiers = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    for (size_t i = 0; i < c->origin.transforms.n; i++) {
        js_xform_destroy(c->xforms[i]);
    }
    base_free(c->xforms);
    js_hdr_edit_fini(&c->block);
    struct json_structs one = {base_malloc(sizeof c->origin), 1};
    memcpy(one.v, &c->origin, sizeof c->origin);
    json_structs_fini(&one, &js_source_type);
    base_free(c->key);
    base_free(c->source_key);
    base_free(c->source_head);
    base_free(c->source_tail);
    base_free(c);
}

/* --- subjects --------------------------------------------------------------------------------- */

static const char *api_prefix(const struct js_copier *c)
{
    const struct js_external *x = js_origin_external(&c->origin);
    return x != NULL && x->api != NULL && x->api[0] != '\0' ? x->api : "$JS.API";
}

/* 8 characters that nobody else uses. */
static const char *rand8(struct js_copier *c, char out[23])
{
    js_unique_id(c->js, out);
    out[8] = '\0';
    return out;
}

/* The same after each restart, so that the origin knows a durable one again. */
static void consumer_name(const struct js_copier *c, char *out, size_t size)
{
    static const char abc[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char id[9] = {0};
    uint64_t h = hash64(js_name_hash(c->stream->name, c->stream->name_len), c->key, strlen(c->key));
    h ^= js_name_hash(c->ja->acc->name, strlen(c->ja->acc->name));
    for (size_t i = 0; i < 8; i++, h /= 62) {
        id[i] = abc[h % 62];
    }
    (void)snprintf(out, size, "JS_%s_%s", c->mirror ? "MIRROR" : "SRC", id);
}

/* --- stopping --------------------------------------------------------------------------------- */

static void unsubscribe(struct js_copier *c)
{
    brk_isub_destroy(c->reply_sub);
    brk_isub_destroy(c->deliver_sub);
    c->reply_sub = NULL;
    c->deliver_sub = NULL;
}

/* The consumer is of no use any more; the origin need not wait until it is idle. */
static void delete_consumer(struct js_copier *c)
{
    char subject[512 + 2 * LIM_NAME_BYTES_MAX];
    if (c->consumer[0] == '\0') {
        return;
    }
    int n = snprintf(subject, sizeof subject, "%s.CONSUMER.DELETE.%s.%s", api_prefix(c),
                     c->origin.name, c->consumer);
    c->consumer[0] = '\0';
    if (n > 0 && (size_t)n < sizeof subject) {
        js_send(c->ja, (struct brk_str){subject, (size_t)n}, NULL, 0, NULL, 0);
    }
}

static void stop(struct js_copier *c)
{
    unsubscribe(c);
    delete_consumer(c);
    js_copier_forget(c);
    brk_timer_destroy(c->timer);
    c->timer = NULL;
    c->stream = NULL;
    js_copier_unref(c);
}

void js_copier_again(struct js_copier *c, const struct api_error *why)
{
    if (c->stream == NULL) {
        return;
    }
    unsubscribe(c);
    if (!c->durable) {
        delete_consumer(c);
    }
    c->broken = true; /* what is under way is not waited for, nor what waits for room */
    if (why != NULL) {
        c->err = *why;
        c->failed = true;
    }
    c->state = COPIER_WAIT;
    uint64_t ms = JS_COPIER_RETRY_MIN_MS << (c->fails < 6 ? c->fails : 6);
    c->fails++;
    brk_timer_start(c->timer, ms < JS_COPIER_RETRY_MAX_MS ? ms : JS_COPIER_RETRY_MAX_MS, 0);
}

/* --- what the origin sends -------------------------------------------------------------------- */

static bool begins(struct brk_str s, const char *head, size_t n)
{
    return s.n >= n && memcmp(s.p, head, n) == 0;
}

/* $JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<ts>.<pending>, or with domain and account
 * hash before the stream and perhaps a token more at the end. */
static bool parse_reply(struct brk_str s, uint64_t *sseq, uint64_t *cseq, uint64_t *ts,
                        uint64_t *pending)
{
    struct brk_str tok[12];
    size_t n = 0;
    const char *p = s.p, *end = s.p + s.n;
    while (p <= end && n < ARRAY_LEN(tok)) {
        const char *dot = p < end ? memchr(p, '.', (size_t)(end - p)) : NULL;
        const char *stop_at = dot != NULL ? dot : end;
        tok[n++] = (struct brk_str){p, (size_t)(stop_at - p)};
        p = stop_at + 1;
    }
    size_t at = n == 9 ? 4 : n >= 11 ? 6 : 0;
    return at != 0 && js_parse_u64(tok[at + 1], sseq) && js_parse_u64(tok[at + 2], cseq) &&
           js_parse_u64(tok[at + 3], ts) && js_parse_u64(tok[at + 4], pending);
}

static void sign_of_life(struct js_copier *c)
{
    c->last_ms = js_now_ms(c->js);
    if (js_copier_resetting(c)) {
        return;
    }
    c->fails = 0;
    c->failed = false;
    if (c->state != COPIER_RUN) {
        c->state = COPIER_RUN;
        brk_timer_start(c->timer, JS_COPIER_CHECK_MS, 0);
    }
}

/* Everything the origin had has come. */
static void caught_up(struct js_copier *c)
{
    c->lag = 0;
    if (c->mirror && !c->synced) {
        c->synced = true;
        js_stream_mirror_synced(c->stream);
    }
}

static void on_status(struct js_copier *c, const struct brk_msg *m)
{
    uint64_t last;
    if (m->hdr_len < 12 || memcmp(m->hdr, "NATS/1.0 100", 12) != 0) {
        js_copier_again(c, NULL); /* the consumer is gone */
        return;
    }
    struct brk_str stalled = {0}, seen;
    (void)js_header_find(m->hdr, m->hdr_len, "Nats-Consumer-Stalled", &stalled);
    if (js_header_find(m->hdr, m->hdr_len, "Nats-Last-Consumer", &seen) &&
        js_parse_u64(seen, &last)) {
        if (last > c->cseq) {
            js_copier_again(c, NULL); /* messages were lost on the way */
            return;
        }
        if (c->lag == 0) {
            caught_up(c);
        }
    }
    sign_of_life(c);
    js_copier_flow(c, m->reply.n > 0 ? m->reply : stalled);
}

static void on_deliver(void *arg, const struct brk_msg *m)
{
    struct js_copier *c = arg;
    uint64_t sseq, cseq, ts, pending;
    if (c->stream == NULL || c->ja->stopped) {
        return;
    }
    if (!begins(m->reply, "$JS.ACK.", 8)) {
        if (!js_copier_resetting(c)) {
            on_status(c, m);
        }
        return;
    }
    bool read = parse_reply(m->reply, &sseq, &cseq, &ts, &pending);
    if (js_copier_resetting(c)) {
        if (read && cseq == 1) { /* perhaps it is done: from the start */
            js_copier_rewind(c);
        }
        if (!read || cseq != c->cseq + 1) {
            return;
        }
    }
    if (!read || cseq != c->cseq + 1 || !js_copier_take(c, m, sseq, (int64_t)ts)) {
        js_copier_again(c, NULL);
        return;
    }
    sign_of_life(c);
    c->cseq = cseq;
    c->sseq = sseq;
    c->lag = pending;
    if (pending == 0) {
        caught_up(c);
    }
}

/* --- the request ------------------------------------------------------------------------------ */

struct answer {
    int64_t err_code, code;
    char *description, *name, *durable, *ack, *deliver; /* owned */
    bool has_config, has_error;
    uint64_t sseq, cseq;
};
static const struct json_field error_fields[] = {
    {"code", JSON_INT, offsetof(struct answer, code), NULL, NULL},
    {"err_code", JSON_INT, offsetof(struct answer, err_code), NULL, NULL},
    {"description", JSON_STRING, offsetof(struct answer, description), NULL, NULL},
};
static const struct json_schema error_schema = {"ApiError", "server.ApiError", error_fields,
                                                ARRAY_LEN(error_fields)};
static const struct json_field delivered_fields[] = {
    {"stream_seq", JSON_U64, offsetof(struct answer, sseq), NULL, NULL},
    {"consumer_seq", JSON_U64, offsetof(struct answer, cseq), NULL, NULL},
};
static const struct json_schema delivered_schema = {"SequenceInfo", "server.SequenceInfo",
                                                    delivered_fields, ARRAY_LEN(delivered_fields)};
static const struct json_field config_fields[] = {
    {"durable_name", JSON_STRING, offsetof(struct answer, durable), NULL, NULL},
    {"ack_policy", JSON_STRING, offsetof(struct answer, ack), NULL, NULL},
    {"deliver_subject", JSON_STRING, offsetof(struct answer, deliver), NULL, NULL},
};
static const struct json_schema config_schema = {"ConsumerConfig", "server.ConsumerConfig",
                                                 config_fields, ARRAY_LEN(config_fields)};

static enum st read_config(void *base, size_t offset, struct json_object *v, struct err *err)
{
    struct json_decode d = {0};
    (void)offset;
    if (v == NULL) {
        return ST_OK;
    }
    ((struct answer *)base)->has_config = true;
    return json_in_decode(&d, v, &config_schema, base, err);
}

static enum st read_error(void *base, size_t offset, struct json_object *v, struct err *err)
{
    struct json_decode d = {0};
    (void)offset;
    if (v == NULL) {
        return ST_OK;
    }
    ((struct answer *)base)->has_error = true; /* an empty one, too */
    return json_in_decode(&d, v, &error_schema, base, err);
}

static const struct json_field answer_fields[] = {
    {"name", JSON_STRING, offsetof(struct answer, name), NULL, NULL},
    {"error", JSON_CUSTOM, 0, read_error, NULL},
    {"delivered", JSON_OBJECT, 0, NULL, &delivered_schema},
    {"config", JSON_CUSTOM, 0, read_config, NULL},
};
static const struct json_schema answer_schema = {"ConsumerCreateResponse",
                                                 "server.ConsumerCreateResponse", answer_fields,
                                                 ARRAY_LEN(answer_fields)};

static void refused(struct js_copier *c, const struct answer *a)
{
    struct api_error e = {.err_code = (enum api_err)a->err_code, .code = (int)a->code};
    (void)snprintf(e.text, sizeof e.text, "%s", a->description != NULL ? a->description : "");
    js_copier_again(c, &e);
}

static void accepted(struct js_copier *c, const struct answer *a)
{
    bool given = c->origin.consumer.n > 0;
    if (given && (a->ack == NULL || strcmp(a->ack, "flow_control") != 0)) {
        struct api_error e;
        api_error_set(&e, c->mirror ? API_MIRROR_CONSUMER_REQUIRES_ACK_FC
                                    : API_SOURCE_CONSUMER_REQUIRES_ACK_FC);
        js_copier_again(c, &e);
        return;
    }
    if (a->name != NULL && !given) { /* else it is not ours to delete */
        (void)snprintf(c->consumer, sizeof c->consumer, "%.*s", (int)LIM_NAME_BYTES_MAX, a->name);
    }
    c->durable = a->durable != NULL && a->durable[0] != '\0';
    brk_isub_destroy(c->reply_sub);
    c->reply_sub = NULL;
    /* Below its start the origin has nothing, or nothing that is wanted. */
    if (c->mirror && a->cseq == 0 && c->cseq == 0) {
        js_copier_skip(c, a->sseq);
    }
    sign_of_life(c);
    js_copier_retry(c); /* what came before the answer */
}

/* What answers is no JetStream. The error's text holds its place for the reason unfilled, and only
 * a mirror says so, as at nats-server. */
static void not_json(struct js_copier *c)
{
    struct api_error e;
    api_error_set2(&e, API_INVALID_JSON, "{err}", NULL);
    js_copier_again(c, c->mirror ? &e : NULL);
}

/* An answer that tells neither of a consumer nor of an error, or of one that delivers nowhere. */
static void nothing_made(struct js_copier *c, const char *why)
{
    struct api_error e;
    api_error_set2(&e,
                   c->mirror ? API_MIRROR_CONSUMER_SETUP_FAILED : API_SOURCE_CONSUMER_SETUP_FAILED,
                   why, NULL);
    js_copier_again(c, &e);
}

static void on_answer(void *arg, const struct brk_msg *m)
{
    struct js_copier *c = arg;
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct answer a = {0};
    if (c->stream == NULL || c->ja->stopped || c->state == COPIER_WAIT) {
        return;
    }
    enum st st = m->payload_len > 0 ? json_in_parse(&doc, m->payload, m->payload_len, NULL)
                                    : ST_INVALID; /* nobody is there */
    if (st == ST_OK) {
        st = json_in_decode(&d, doc.root, &answer_schema, &a, NULL);
    }
    json_in_fini(&doc);
    if (m->payload_len == 0) {
        js_copier_again(c, NULL);
    } else if (st != ST_OK) {
        not_json(c);
    } else if (a.has_error) {
        refused(c, &a);
    } else if (!a.has_config) {
        nothing_made(c, "invalid consumer create response");
    } else if (a.deliver == NULL || a.deliver[0] == '\0') {
        nothing_made(c, "malformed subject");
    } else {
        accepted(c, &a);
    }
    base_free(a.description);
    base_free(a.name);
    base_free(a.durable);
    base_free(a.ack);
    base_free(a.deliver);
}

static void put_start(struct js_copier *c, struct json_out *j)
{
    uint64_t seq = js_copier_start_seq(c);
    seq = seq != 0 ? seq : c->origin.start_seq;
    if (seq != 0) {
        json_out_str(j, "deliver_policy", "by_start_sequence");
        json_out_u64(j, "opt_start_seq", seq);
    } else if (c->origin.start_time_ns != 0) {
        json_out_str(j, "deliver_policy", "by_start_time");
        json_out_time(j, "opt_start_time", c->origin.start_time_ns);
    } else {
        json_out_str(j, "deliver_policy", "all");
    }
}

/* The one filter of the copier; NULL: none, or several. */
static const char *only_filter(const struct js_copier *c)
{
    const struct js_origin *o = &c->origin;
    const char *s = o->transforms.n == 1 ? js_origin_transform(o, 0)->src : o->filter;
    return o->transforms.n < 2 && s != NULL && s[0] != '\0' ? s : NULL;
}

static void put_filters(const struct js_copier *c, struct json_out *j)
{
    const struct js_origin *o = &c->origin;
    if (only_filter(c) != NULL) {
        json_out_str(j, "filter_subject", only_filter(c));
    }
    if (o->transforms.n < 2) {
        return;
    }
    json_out_array(j, "filter_subjects");
    for (size_t i = 0; i < o->transforms.n; i++) {
        const char *s = js_origin_transform(o, i)->src;
        s = s != NULL && s[0] != '\0' ? s : ">";
        json_out_val_str(j, s, strlen(s));
    }
    json_out_array_end(j);
}

static void put_request(struct js_copier *c, struct json_out *j, const char *name,
                        const char *deliver)
{
    json_out_begin(j);
    json_out_str(j, "stream_name", c->origin.name);
    json_out_open(j, "config");
    json_out_str(j, "name", name);
    put_start(c, j);
    json_out_str(j, "ack_policy", "none");
    json_out_i64(j, "ack_wait", 22 * 3600 * NS_PER_S);
    json_out_i64(j, "max_deliver", 1);
    put_filters(c, j);
    json_out_str(j, "replay_policy", "instant");
    json_out_bool(j, "flow_control", true);
    json_out_str(j, "deliver_subject", deliver);
    json_out_i64(j, "idle_heartbeat", JS_COPIER_HEARTBEAT_NS);
    json_out_i64(j, "inactive_threshold", JS_COPIER_IDLE_NS);
    json_out_bool(j, "mem_storage", true);
    json_out_bool(j, "direct", true);
    json_out_bool(j, "sourcing", true);
    json_out_open(j, "metadata");
    json_out_str(j, c->mirror ? "_nats.mirror.acc" : "_nats.src.acc", c->ja->acc->name);
    json_out_str(j, c->mirror ? "_nats.mirror.stream" : "_nats.src.stream", c->stream->name);
    json_out_end(j);
    json_out_end(j);
    json_out_end(j);
}

static void subscribe(struct js_copier *c, char *deliver, size_t size, char *reply,
                      size_t reply_size)
{
    char id[23];
    const struct js_external *x = js_origin_external(&c->origin);
    const char *kind = c->mirror ? "M" : "S";
    const struct js_origin_consumer *k = js_origin_consumer(&c->origin);
    if (k != NULL) {
        (void)snprintf(deliver, size, "%s", k->deliver);
    } else if (x != NULL && x->deliver != NULL && x->deliver[0] != '\0') {
        (void)snprintf(deliver, size, "%s.%s.%s", x->deliver, kind, rand8(c, id));
    } else {
        (void)snprintf(deliver, size, "$JS.%s.%s", kind, rand8(c, id));
    }
    (void)snprintf(reply, reply_size, "$JSC.R.%s", rand8(c, id));
    c->deliver_sub =
        brk_isub_create(c->ja->acc, js_str(deliver), (struct brk_str){0}, on_deliver, c);
    c->reply_sub = brk_isub_create(c->ja->acc, js_str(reply), (struct brk_str){0}, on_answer, c);
}

static void send(struct js_copier *c, const char *subject, int len, const char *reply,
                 const struct json_out *j, size_t size)
{
    if (len > 0 && (size_t)len < size) {
        struct brk_msg m = {.subject = {subject, (size_t)len},
                            .reply = js_str(reply),
                            .payload = (const uint8_t *)j->buf,
                            .payload_len = j->len};
        (void)brk_publish(c->ja->acc, &m);
    }
}

/* A consumer that somebody made begins again behind what it knows to be stored; else one is made.
 */
static void start(struct js_copier *c)
{
    char name[LIM_NAME_BYTES_MAX + 1], deliver[512], reply[64], subject[1024];
    const struct js_origin_consumer *k = js_origin_consumer(&c->origin);
    const char *filter = only_filter(c);
    struct json_out j = {0};
    int len;
    unsubscribe(c);
    js_copier_rewind(c);
    subscribe(c, deliver, sizeof deliver, reply, sizeof reply);
    if (k != NULL) {
        len = snprintf(subject, sizeof subject, "%s.CONSUMER.RESET.%s.%s", api_prefix(c),
                       c->origin.name, k->name);
    } else {
        consumer_name(c, name, sizeof name);
        put_request(c, &j, name, deliver);
        len =
            snprintf(subject, sizeof subject, "%s.CONSUMER.CREATE.%s.%s%s%s", api_prefix(c),
                     c->origin.name, name, filter != NULL ? "." : "", filter != NULL ? filter : "");
    }
    c->state = COPIER_ASK;
    brk_timer_start(c->timer, JS_COPIER_ASK_MS, 0);
    send(c, subject, len, reply, &j, sizeof subject);
    json_out_fini(&j);
}

static void on_timer(void *arg)
{
    struct js_copier *c = arg;
    if (c->stream == NULL || c->ja->stopped) {
        return;
    }
    switch (c->state) {
    case COPIER_WAIT:
        start(c);
        return;
    case COPIER_ASK:
        js_copier_again(c, NULL);
        return;
    case COPIER_RUN:
    default:
        if (js_now_ms(c->js) - c->last_ms > JS_COPIER_SILENCE_MS) {
            js_copier_again(c, NULL);
        } else {
            brk_timer_start(c->timer, JS_COPIER_CHECK_MS, 0);
        }
        return;
    }
}

/* --- the copiers of a stream ------------------------------------------------------------------ */

/* What the header of its messages says, and the key of the position: the name (with a hash of the
 * prefix it lives behind and the consumer, where they are given), filters and destinations. */
static void name_source(struct js_copier *c)
{
    const struct js_origin *o = &c->origin;
    const struct js_external *x = js_origin_external(o);
    struct json_out name = {0}, rest = {0}, key = {0};
    json_out_raw(&name, o->name, strlen(o->name));
    const struct js_origin_consumer *k = js_origin_consumer(o);
    if ((x != NULL && x->api != NULL && x->api[0] != '\0') || k != NULL) {
        uint64_t h = x != NULL && x->api != NULL ? js_name_hash(x->api, strlen(x->api)) : 0;
        h ^= k != NULL ? js_name_hash(k->name, strlen(k->name)) : 0;
        char hash[20];
        int n = snprintf(hash, sizeof hash, ":%08llx", (unsigned long long)(h & 0xffffffffu));
        json_out_raw(&name, hash, (size_t)n);
    }
    json_out_raw(&rest, " ", 1);
    js_origin_put_filters(&rest, o, false);
    json_out_raw(&rest, " ", 1);
    js_origin_put_filters(&rest, o, true);
    json_out_raw(&key, name.buf, name.len);
    json_out_raw(&key, rest.buf, rest.len);
    json_out_raw(&key, "", 1);
    json_out_raw(&name, " ", 2); /* with its end */
    json_out_raw(&rest, " ", 2);
    size_t n;
    c->source_key = json_out_take(&key, &n);
    c->source_head = json_out_take(&name, &n);
    c->source_tail = json_out_take(&rest, &n);
}

static void make_xforms(struct js_copier *c)
{
    size_t n = c->origin.transforms.n;
    c->xforms = n > 0 ? base_calloc(n, sizeof *c->xforms) : NULL;
    for (size_t i = 0; i < n; i++) {
        const struct js_transform *t = js_origin_transform(&c->origin, i);
        char why[256];
        (void)js_xform_create(t->src != NULL ? t->src : "", t->dest != NULL ? t->dest : "",
                              &c->xforms[i], why);
    }
}

/* Takes the origin over. */
static struct js_copier *make(struct js_stream *s, struct js_origin *o, char *key, bool mirror)
{
    struct js *js = s->ja->js;
    struct js_copier *c = base_calloc(1, sizeof *c);
    c->js = js;
    c->ja = s->ja;
    c->stream = s;
    c->refs = 1;
    c->origin = *o;
    *o = (struct js_origin){0};
    c->key = key;
    c->mirror = mirror;
    name_source(c);
    make_xforms(c);
    c->last_ms = -1;
    c->next = js->copiers;
    if (js->copiers != NULL) {
        js->copiers->prev = c;
    }
    js->copiers = c;
    c->timer = brk_timer_create(js->d.loop, on_timer, c);
    brk_timer_start(c->timer, 0, 0);
    return c;
}

static char *key_of(const struct js_origin *o, bool mirror)
{
    struct js_origin copy = *o;
    struct js_origins one = {0};
    *(mirror ? &one.mirror : &one.sources) = (struct json_structs){&copy, 1};
    struct json_out j = {0};
    size_t len;
    js_origins_put(&j, &one);
    json_out_raw(&j, "", 1); /* its end */
    return json_out_take(&j, &len);
}

static struct js_copier *take_old(struct js_stream *s, const char *key)
{
    for (size_t i = 0; i < s->copiers_count; i++) {
        struct js_copier *c = s->copiers[i];
        if (c != NULL && strcmp(c->key, key) == 0) {
            s->copiers[i] = NULL;
            return c;
        }
    }
    return NULL;
}

static void stop_all(struct js_copier **v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] != NULL) {
            stop(v[i]);
        }
    }
    base_free(v);
}

void js_copiers_reload(struct js_stream *s)
{
    struct js_origins o;
    js_origins_read(s->ja->js->ops->stream_cfg(s->ss), &o);
    size_t n = o.mirror.n + o.sources.n;
    struct js_copier **v = n > 0 ? base_calloc(n, sizeof(struct js_copier *)) : NULL;
    for (size_t i = 0; i < n; i++) {
        bool mirror = i < o.mirror.n;
        struct js_origin *x = mirror ? (struct js_origin *)o.mirror.v
                                     : (struct js_origin *)o.sources.v + (i - o.mirror.n);
        char *key = key_of(x, mirror);
        v[i] = take_old(s, key);
        if (v[i] != NULL) {
            base_free(key);
        } else {
            v[i] = make(s, x, key, mirror);
        }
    }
    stop_all(s->copiers, s->copiers_count);
    s->copiers = v;
    s->copiers_count = n;
    js_origins_fini(&o);
}

void js_copiers_stop(struct js_stream *s)
{
    stop_all(s->copiers, s->copiers_count);
    s->copiers = NULL;
    s->copiers_count = 0;
}

void js_copiers_kick(struct js_account *ja, const char *origin)
{
    for (struct js_copier *c = ja->js->copiers; c != NULL; c = c->next) {
        if (c->ja != ja || c->stream == NULL || c->origin.external.n > 0 ||
            strcmp(c->origin.name, origin) != 0 || ja->stopped) {
            continue;
        }
        c->consumer[0] = '\0'; /* it was the old stream's */
        c->durable = false;
        c->fails = 0;
        js_copier_again(c, NULL);
        brk_timer_start(c->timer, 0, 0);
    }
}

void js_copiers_retry(struct js *js)
{
    struct js_copier *next;
    for (struct js_copier *c = js->copiers; c != NULL; c = next) {
        next = c->next;
        if (c->held_first != NULL && c->stream != NULL && !c->broken && !js_copier_resetting(c)) {
            js_copier_retry(c);
        }
    }
}

void js_copiers_fini(struct js *js)
{
    while (js->copiers != NULL) {
        struct js_copier *c = js->copiers;
        ASSERT(c->stream == NULL);
        c->refs = 1; /* appends whose callback never comes */
        js_copier_unref(c);
    }
}

/* --- info ------------------------------------------------------------------------------------- */

static void put_info(struct json_out *j, const struct js_copier *c)
{
    int64_t now = js_now_ms(c->js);
    json_out_begin(j);
    json_out_str(j, "name", c->origin.name);
    js_origin_put_external(j, &c->origin);
    json_out_u64(j, "lag", c->lag);
    json_out_i64(j, "active", c->last_ms < 0 ? -1 : (now - c->last_ms) * NS_PER_MS);
    if (c->failed) {
        api_error_put(j, &c->err);
    }
    bool begun = !c->mirror || c->last_ms >= 0; /* upstream shows a mirror's filter from then on */
    if (begun && c->origin.filter != NULL && c->origin.filter[0] != '\0') {
        json_out_str(j, "filter_subject", c->origin.filter);
    }
    js_origin_put_transforms(j, &c->origin);
    json_out_end(j);
}

void js_copiers_put(struct js *js, struct json_out *j, struct store_stream *ss)
{
    const struct js_stream *s = js->ops->stream_user(ss);
    if (s == NULL || s->copiers_count == 0) {
        return;
    }
    if (s->copiers[0]->mirror) {
        json_out_key(j, "mirror");
        put_info(j, s->copiers[0]);
        return;
    }
    json_out_array(j, "sources");
    for (size_t i = 0; i < s->copiers_count; i++) {
        put_info(j, s->copiers[i]);
    }
    json_out_array_end(j);
}
