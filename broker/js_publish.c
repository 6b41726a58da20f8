/* The publish path: a message on a stream's subject becomes an append, its verdict a PubAck. Hot:
 * no allocation per message in the steady state (contexts are pooled), no JSON library.
 *
 * While the journal window is full (ST_FULL), messages are copied into a queue and appended in
 * order after the next poll of the store. Long before its bound the connections that fill it are
 * not read any more; at its bound (many connections at once) publishers get 10167, as upstream does
 * when its ingest queue is full. */
#include "broker/js_int.h"

#include <stdio.h>

#include "broker/bigdec.h"
#include "engine/base/base.h"

static void add_slab(struct js *js)
{
    struct js_ctx_slab *slab = base_malloc(sizeof *slab);
    slab->next = js->slabs;
    js->slabs = slab;
    for (unsigned i = 0; i < JS_CTX_SLAB; i++) {
        slab->ctx[i].used = false;
        slab->ctx[i].next = js->free_ctx;
        js->free_ctx = &slab->ctx[i];
    }
}

struct js_ctx *js_ctx_take2(struct js *js, struct js_account *ja, struct js_stream *s,
                            struct brk_str reply, struct brk_str extra)
{
    if (js->free_ctx == NULL) {
        add_slab(js);
    }
    struct js_ctx *c = js->free_ctx;
    js->free_ctx = c->next;
    c->used = true;
    c->next = NULL;
    c->ja = ja;
    c->stream = s;
    c->kind = 0;
    size_t n = reply.n + extra.n;
    c->reply = n <= sizeof c->small ? c->small : base_malloc(n);
    c->reply_len = reply.n;
    c->extra_len = extra.n;
    if (reply.n > 0) {
        memcpy(c->reply, reply.p, reply.n);
    }
    if (extra.n > 0) {
        memcpy(c->reply + reply.n, extra.p, extra.n);
    }
    if (s != NULL) {
        js_stream_ref(s);
    }
    return c;
}

struct js_ctx *js_ctx_take(struct js *js, struct js_account *ja, struct js_stream *s,
                           struct brk_str reply)
{
    return js_ctx_take2(js, ja, s, reply, (struct brk_str){0});
}

void js_ctx_free(struct js *js, struct js_ctx *c)
{
    ASSERT(c->used);
    if (c->stream != NULL) {
        js_stream_unref(c->stream);
    }
    if (c->reply != c->small) {
        base_free(c->reply);
    }
    c->used = false;
    c->next = js->free_ctx;
    js->free_ctx = c;
}

void js_pool_fini(struct js *js)
{
    while (js->slabs != NULL) {
        struct js_ctx_slab *slab = js->slabs;
        js->slabs = slab->next;
        for (unsigned i = 0; i < JS_CTX_SLAB; i++) {
            if (slab->ctx[i].used) { /* its callback never came */
                js_ctx_free(js, &slab->ctx[i]);
            }
        }
        base_free(slab);
    }
    js->free_ctx = NULL;
    js_hdr_edit_fini(&js->edit);
    js_fast_fini(js);
    js_hdr_edit_fini(&js->resend);
    base_free(js->subject);
    base_free(js->resend_to);
    js->subject = js->resend_to = NULL;
    base_free(js->counter_buf);
    js->counter_buf = NULL;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void send_error(struct js_stream *s, struct brk_str reply, const char *hdr,
                       const struct api_error *e)
{
    struct json_out j = {0};
    json_out_begin(&j);
    api_error_put(&j, e);
    json_out_strn(&j, "stream", s->name, s->name_len);
    json_out_u64(&j, "seq", 0);
    json_out_end(&j);
    js_send(s->ja, reply, hdr, strlen(hdr), j.buf, j.len);
    json_out_fini(&j);
}

void js_pub_error(struct js_stream *s, struct brk_str reply, const struct api_error *e)
{
    if (s->ja->js->error_sink != NULL) {
        *s->ja->js->error_sink = *e;
        return;
    }
    if (reply.n == 0 || s->no_ack) {
        return;
    }
    send_error(s, reply, "", e);
}

/* No room for what waits: nothing of the message was looked at. Also with a status, for clients
 * that look there. */
static void too_many(struct js_stream *s, struct brk_str reply)
{
    struct api_error e;
    api_error_set(&e, API_STREAM_TOO_MANY_REQUESTS);
    if (reply.n > 0 && !s->no_ack) {
        send_error(s, reply, "NATS/1.0 429 Too Many Requests\r\n\r\n", &e);
    }
}

static void answer_id(struct js_stream *s, struct brk_str reply, enum api_err id)
{
    struct api_error e;
    api_error_set(&e, id);
    js_pub_error(s, reply, &e);
}

static void answer_text(struct js_stream *s, struct brk_str reply, enum api_err id,
                        const char *text)
{
    struct api_error e;
    api_error_set2(&e, id, text, NULL);
    js_pub_error(s, reply, &e);
}

static void answer_ok(struct js_stream *s, struct brk_str reply, uint64_t seq, bool duplicate)
{
    char buf[96 + 6 * (LIM_NAME_BYTES_MAX + BRK_DOMAIN_MAX)];
    ASSERT(s->ack_head_len + 48 <= sizeof buf);
    memcpy(buf, s->ack_head, s->ack_head_len);
    char *p = js_put_u64(buf + s->ack_head_len, seq);
    if (duplicate) {
        memcpy(p, ",\"duplicate\": true", 18);
        p += 18;
    }
    *p++ = '}';
    js_send(s->ja, reply, NULL, 0, buf, (size_t)(p - buf));
}

void js_pub_verdict(struct js_stream *s, struct brk_str reply, const struct store_append_result *r)
{
    struct api_error e;
    switch (r->verdict) {
    case APPEND_STORED:
    case APPEND_DUPLICATE:
        answer_ok(s, reply, r->seq, r->verdict == APPEND_DUPLICATE);
        return;
    case APPEND_MAX_MSGS:
        answer_text(s, reply, API_STREAM_STORE_FAILED, "maximum messages exceeded");
        return;
    case APPEND_MAX_BYTES:
        answer_text(s, reply, API_STREAM_STORE_FAILED, "maximum bytes exceeded");
        return;
    case APPEND_MAX_MSGS_PER_SUBJECT:
        answer_text(s, reply, API_STREAM_STORE_FAILED, "maximum messages per subject exceeded");
        return;
    case APPEND_MSG_TOO_BIG:
        answer_id(s, reply, API_STREAM_MESSAGE_EXCEEDS_MAXIMUM);
        return;
    case APPEND_WRONG_LAST_SEQ:
    case APPEND_WRONG_LAST_SUBJ_SEQ:
        api_error_setf(&e, API_STREAM_WRONG_LAST_SEQUENCE, "%llu", (unsigned long long)r->actual);
        js_pub_error(s, reply, &e);
        return;
    case APPEND_WRONG_LAST_MSGID:
        answer_text(s, reply, API_STREAM_WRONG_LAST_MSG_ID, r->actual_id);
        return;
    case APPEND_SEALED:
        answer_id(s, reply, API_STREAM_SEALED);
        return;
    case APPEND_ROLLUP_DENIED:
        answer_text(s, reply, API_STREAM_ROLLUP_FAILED, "rollup not permitted");
        return;
    case APPEND_NO_STORE:
    case APPEND_NO_MEMORY:
        answer_id(s, reply,
                  API_INSUFFICIENT_RESOURCES); /* as upstream, for either limit of the server */
        return;
    case APPEND_REFUSED: /* its caller knows the words */
    case APPEND_FAILED:
    default:
        answer_text(s, reply, API_STREAM_STORE_FAILED,
                    "the journal failed; whether the message is stored is not known");
        return;
    }
}

void js_pub_late_error(struct api_error *e, enum api_err id, struct brk_str value)
{
    if (id == API_STREAM_ROLLUP_FAILED) {
        api_error_setf(e, id, "rollup value invalid: \"%.*s\"",
                       (int)(value.n > 128 ? 128 : value.n), value.p);
    } else if (id == API_ATOMIC_PUBLISH_UNSUPPORTED_HEADER_BATCH) {
        api_error_set2(e, id, "Nats-Expected-Last-Msg-Id", NULL);
    } else {
        api_error_set(e, id);
    }
}

static void answer_val(struct js_stream *s, const struct js_ctx *c, uint64_t seq)
{
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_strn(&j, "stream", s->name, s->name_len);
    js_domain_put(s->ja->js, &j);
    json_out_u64(&j, "seq", seq);
    json_out_strn(&j, "val", c->reply + c->reply_len, c->extra_len);
    json_out_end(&j);
    js_send(s->ja, (struct brk_str){c->reply, c->reply_len}, NULL, 0, j.buf, j.len);
    json_out_fini(&j);
}

static void appended(void *arg, const struct store_append_result *r)
{
    struct js_ctx *c = arg;
    struct js *js = c->ja->js;
    if (c->extra_len > 0 && r->verdict == APPEND_STORED) {
        answer_val(c->stream, c, r->seq);
        js_ctx_free(js, c);
        return;
    }
    struct brk_str reply = {c->reply, c->reply_len};
    if (r->verdict == APPEND_REFUSED) {
        struct api_error e;
        js_pub_late_error(&e, (enum api_err)c->kind,
                          (struct brk_str){c->reply + c->reply_len, c->extra_len});
        js_pub_error(c->stream, reply, &e);
    } else {
        js_pub_verdict(c->stream, reply, r);
    }
    js_ctx_free(js, c);
}

/* --- headers ---------------------------------------------------------------------------------- */

/* A number, or one that never matches. */
static uint64_t expected(struct brk_str v)
{
    uint64_t n;
    return js_parse_u64(v, &n) ? n : UINT64_MAX;
}

/* A message never lives shorter than the marker that may follow it; where a subject keeps one
 * message only it may, as upstream has it. */
static enum api_err read_ttl(struct js_stream *s, const struct js_headers *h,
                             struct store_append *a)
{
    const struct stream_cfg *cfg = s->ja->js->ops->stream_cfg(s->ss);
    struct brk_str v = h->value[JS_HDR_TTL];
    int64_t ttl, least = cfg->subject_delete_marker_ttl_ns / NS_PER_S;
    if (!store_ttl_parse(v.p, v.n, &ttl)) {
        return API_MESSAGE_TTL_INVALID;
    }
    if (!cfg->allow_msg_ttl) {
        return API_MESSAGE_TTL_DISABLED;
    }
    a->flags |= MSG_TTL;
    if (ttl != TTL_NEVER && ttl < least && cfg->max_msgs_per_subject != 1) {
        struct js_hdr_edit *e = &s->ja->js->edit;
        char text[24];
        char *end = js_put_u64(text, (uint64_t)least);
        js_hdr_edit_begin(e, a->hdr, a->hdr_len);
        js_hdr_edit_drop(e, "Nats-TTL");
        js_hdr_edit_add(e, "Nats-TTL", text, (size_t)(end - text));
        a->hdr = (const uint8_t *)e->buf;
        a->hdr_len = (uint32_t)e->len;
    }
    return API_OK;
}

static bool equals_fold(struct brk_str v, const char *word)
{
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i] >= 'A' && v.p[i] <= 'Z' ? (char)(v.p[i] + 32) : v.p[i];
        if (word[i] == '\0' || c != word[i]) {
            return false;
        }
    }
    return word[v.n] == '\0';
}

void js_pub_late_note(struct js_late *l, enum append_refuse stage, enum api_err id)
{
    if (id != API_OK && (l->stage == REFUSE_NOT || stage < l->stage)) {
        *l = (struct js_late){.id = id, .stage = (uint8_t)stage, .batch = l->batch};
    }
}

/* Whether the stream permits it is the store's to say, behind other checks. */
static void read_rollup(struct js_stream *s, struct brk_str v, struct store_append *a,
                        struct js_late *late)
{
    bool sub = equals_fold(v, "sub") || !s->allow_rollup;
    if (sub || equals_fold(v, "all")) {
        a->rollup = sub ? 1 : 2;
    } else {
        js_pub_late_note(late, late->batch ? REFUSE_AFTER_ROLLUP : REFUSE_AFTER_IDS,
                         API_STREAM_ROLLUP_FAILED);
        if (late->id == API_STREAM_ROLLUP_FAILED) {
            late->value = v;
        }
    }
}

static void read_expected(const struct js_headers *h, struct store_append *a)
{
    if (js_hdr_has(h, JS_HDR_MSG_ID)) {
        a->msg_id = h->value[JS_HDR_MSG_ID].p;
        a->msg_id_len = (uint32_t)h->value[JS_HDR_MSG_ID].n;
    }
    if (js_hdr_has(h, JS_HDR_EXP_LAST_SEQ)) {
        a->has_expected_last_seq = true;
        a->expected_last_seq = expected(h->value[JS_HDR_EXP_LAST_SEQ]);
    }
    if (js_hdr_has(h, JS_HDR_EXP_LAST_MSG_ID)) {
        a->expected_last_msgid = h->value[JS_HDR_EXP_LAST_MSG_ID].p;
        a->expected_last_msgid_len = (uint32_t)h->value[JS_HDR_EXP_LAST_MSG_ID].n;
    }
    if (js_hdr_has(h, JS_HDR_EXP_LAST_SUBJ_SEQ)) {
        a->has_expected_last_subj_seq = true;
        a->expected_last_subj_seq = expected(h->value[JS_HDR_EXP_LAST_SUBJ_SEQ]);
    }
    if (js_hdr_has(h, JS_HDR_EXP_LAST_SUBJ_SEQ_SUBJ)) {
        a->expected_subject = h->value[JS_HDR_EXP_LAST_SUBJ_SEQ_SUBJ].p;
        a->expected_subject_len = (uint32_t)h->value[JS_HDR_EXP_LAST_SUBJ_SEQ_SUBJ].n;
    }
}

/* What is refused before the stream is looked at; the order is upstream's. */
static enum api_err refused_early(struct js_stream *s, const struct js_headers *h,
                                  struct store_append *a, struct js_late *late)
{
    struct brk_str incr = h->value[JS_HDR_INCR];
    enum api_err off = API_OK;
    if (s->counter) {
        off = js_counter_check(h, a);
    } else if (js_hdr_has(h, JS_HDR_INCR)) {
        off = bigdec_valid(incr.p, incr.n) ? API_MESSAGE_INCR_DISABLED : API_MESSAGE_INCR_INVALID;
    }
    if (off == API_MESSAGE_INCR_MISSING) {
        js_pub_late_note(late, late->batch ? REFUSE_BATCH_IDS : REFUSE_AFTER_ROLLUP, off);
        off = API_OK;
    }
    if (off == API_OK && js_hdr_has(h, JS_HDR_EXP_STREAM) &&
        !js_str_eq(h->value[JS_HDR_EXP_STREAM], s->name, s->name_len)) {
        off = API_STREAM_NOT_MATCH;
    }
    if (off == API_OK && js_hdr_has(h, JS_HDR_TTL)) {
        off = read_ttl(s, h, a);
    }
    if (off == API_MESSAGE_TTL_INVALID && late->batch) {
        off = s->ja->js->ops->stream_cfg(s->ss)->allow_msg_ttl ? off : API_MESSAGE_TTL_DISABLED;
    } else if (off == API_MESSAGE_TTL_INVALID) {
        js_pub_late_note(late, REFUSE_AFTER_SIZE, off);
        off = API_OK;
    }
    if (off == API_OK && js_hdr_has(h, JS_HDR_EXP_LAST_SUBJ_SEQ_SUBJ) &&
        !js_hdr_has(h, JS_HDR_EXP_LAST_SUBJ_SEQ)) {
        off = API_STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID;
    }
    return off;
}

bool js_pub_read_headers(struct js_stream *s, const struct js_headers *h, struct store_append *a,
                         struct brk_str reply, struct js_late *late)
{
    struct js_late mine = {0}, *l = late != NULL ? late : &mine;
    if (h->have == 0 && !s->counter) {
        return true;
    }
    enum api_err off = refused_early(s, h, a, l);
    if (off != API_OK && l->batch) {
        bool seq = off == API_STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID;
        js_pub_late_note(l, seq ? REFUSE_BATCH_SEQ : REFUSE_BATCH_FIRST, off);
    } else if (off != API_OK) {
        answer_id(s, reply, off);
        return false;
    }
    read_expected(h, a);
    js_pub_late_note(l, REFUSE_AFTER_SEQS, js_sched_read(s, h, a));
    if (js_hdr_has(h, JS_HDR_ROLLUP)) {
        read_rollup(s, h->value[JS_HDR_ROLLUP], a, l);
    }
    if (late == NULL && l->stage != REFUSE_NOT) {
        struct api_error e;
        js_pub_late_error(&e, l->id, l->value);
        js_pub_error(s, reply, &e);
        return false;
    }
    a->refuse = l->stage;
    return true;
}

/* --- the path --------------------------------------------------------------------------------- */

struct store_append js_pub_append_of(const struct brk_msg *m)
{
    return (struct store_append){.subject = m->subject.p,
                                 .subject_len = (uint32_t)m->subject.n,
                                 .hdr = m->hdr,
                                 .hdr_len = (uint32_t)m->hdr_len,
                                 .data = m->payload,
                                 .data_len = (uint32_t)m->payload_len};
}

/* What the account's streams hold at this moment, messages that are not durable yet included. An
 * atomic batch that is being gathered counts when it is stored. */
static bool account_has_room(struct js_stream *s, const struct brk_msg *m)
{
    struct js_account *ja = s->ja;
    struct js *js = ja->js;
    const struct brk_js_account_limits *l = &ja->acc->js_limits;
    if (l->max_memory < 0 && l->max_store < 0) {
        return true;
    }
    uint64_t file_bytes, mem_bytes;
    js->ops->account_bytes(s->ss, &file_bytes, &mem_bytes);
    bool memory = js->ops->stream_cfg(s->ss)->storage == STORAGE_MEMORY;
    int64_t most = memory ? l->max_memory : l->max_store;
    uint64_t size = memory ? msg_memory_size(m->subject.n, m->hdr_len, m->payload_len)
                           : msg_logical_size(m->subject.n, m->hdr_len, m->payload_len);
    return most < 0 || (memory ? mem_bytes : file_bytes) + size <= (uint64_t)most;
}

/* False: the journal window is full, nothing was taken. */
static bool append(struct js_stream *s, const struct brk_msg *m)
{
    struct js *js = s->ja->js;
    struct store_append a = js_pub_append_of(m);
    if (s->sealed) {
        answer_id(s, m->reply, API_STREAM_SEALED);
        return true;
    }
    if (m->hdr_len > LIM_HEADER_BYTES_MAX) {
        answer_id(s, m->reply, API_STREAM_HEADER_EXCEEDS_MAXIMUM);
        return true;
    }
    if (!account_has_room(s, m)) {
        answer_id(s, m->reply, API_ACCOUNT_RESOURCES_EXCEEDED);
        return true;
    }
    if (js_fast_is(m->reply)) {
        return js_fast_publish(s, m);
    }
    struct brk_str val = {0};
    struct js_late late = {0};
    if (m->hdr_len > 0 || s->counter) {
        struct js_headers h;
        js_headers_read(&h, m->hdr, m->hdr_len);
        if (js_hdr_has(&h, JS_HDR_BATCH_ID)) {
            return js_batch_publish(s, m, &h);
        }
        if (!js_pub_read_headers(s, &h, &a, m->reply, &late)) {
            return true;
        }
        if (s->counter && late.stage == REFUSE_NOT) {
            enum js_counter r = js_counter_apply(s, &h, NULL, false, &a, m->reply);
            if (r != JS_COUNTER_OK) {
                return r == JS_COUNTER_REFUSED;
            }
            val = js->counter_val;
        }
    }
    bool ack = m->reply.n > 0 && !s->no_ack;
    if (late.stage != REFUSE_NOT) {
        if (!ack && late.stage != REFUSE_AFTER_SIZE) {
            return true;
        }
        val = late.value;
    }
    struct js_ctx *c = ack ? js_ctx_take2(js, s->ja, s, m->reply, val) : NULL;
    if (c != NULL) {
        c->kind = (uint32_t)late.id;
    }
    enum st st = js->ops->append(s->ss, &a, ack ? appended : NULL, c);
    if (st == ST_OK) {
        if ((a.flags & MSG_SCHED) != 0) {
            js_sched_note(s, &a);
        }
        return true;
    }
    if (c != NULL) {
        js_ctx_free(js, c);
    }
    if (st == ST_FULL) {
        return false;
    }
    if (ack) {
        struct api_error e;
        api_error_from_st(&e, API_STREAM_STORE_FAILED, st, NULL);
        js_pub_error(s, m->reply, &e);
    }
    return true;
}

static void hold(struct js_stream *s, const struct brk_msg *m)
{
    struct js *js = s->ja->js;
    size_t size = sizeof(struct js_held) + m->subject.n + m->reply.n + m->hdr_len + m->payload_len;
    struct js_held *h = NULL;
    if (js->held_msgs < JS_HELD_MSGS_MAX && js->held_bytes + size <= JS_HELD_BYTES_MAX) {
        h = base_try_malloc(size);
    }
    if (h == NULL) {
        too_many(s, m->reply);
        return;
    }
    h->next = NULL;
    h->stream = s;
    js_stream_ref(s);
    h->subject_len = (uint32_t)m->subject.n;
    h->reply_len = (uint32_t)m->reply.n;
    h->hdr_len = (uint32_t)m->hdr_len;
    h->data_len = (uint32_t)m->payload_len;
    uint8_t *p = h->bytes;
    memcpy(p, m->subject.p, m->subject.n);
    p += m->subject.n;
    if (m->reply.n > 0) {
        memcpy(p, m->reply.p, m->reply.n);
        p += m->reply.n;
    }
    if (m->hdr_len > 0) {
        memcpy(p, m->hdr, m->hdr_len);
        p += m->hdr_len;
    }
    if (m->payload_len > 0) {
        memcpy(p, m->payload, m->payload_len);
    }
    if (js->held_last != NULL) {
        js->held_last->next = h;
    } else {
        js->held_first = h;
    }
    js->held_last = h;
    js->held_msgs++;
    js->held_bytes += size;
    if (m->from != NULL &&
        (js->held_msgs > JS_HELD_REST_MSGS || js->held_bytes > JS_HELD_REST_BYTES)) {
        brk_publisher_hold(m->from);
        js->resting = s->ja->acc->server;
    }
}

void js_publish_cb(void *arg, const struct brk_msg *msg)
{
    struct js_stream *s = arg;
    if (s->gone || s->ss == NULL) {
        return;
    }
    struct brk_msg m = *msg;
    m.subject = js_subject_of(s, msg->subject);
    if (s->ja->js->held_first != NULL || !append(s, &m)) {
        hold(s, &m);
    }
}

static void held_free(struct js *js, struct js_held *h)
{
    js->held_msgs--;
    js->held_bytes -= sizeof *h + h->subject_len + h->reply_len + h->hdr_len + h->data_len;
    js_stream_unref(h->stream);
    base_free(h);
}

static void append_held(struct js *js)
{
    while (js->held_first != NULL) {
        struct js_held *h = js->held_first;
        struct brk_msg m = {0};
        const char *p = (const char *)h->bytes;
        m.subject = (struct brk_str){p, h->subject_len};
        m.reply = (struct brk_str){p + h->subject_len, h->reply_len};
        m.hdr = h->bytes + h->subject_len + h->reply_len;
        m.hdr_len = h->hdr_len;
        m.payload = m.hdr + h->hdr_len;
        m.payload_len = h->data_len;
        if (!h->stream->gone && h->stream->ss != NULL && !append(h->stream, &m)) {
            return;
        }
        js->held_first = h->next;
        if (js->held_first == NULL) {
            js->held_last = NULL;
        }
        held_free(js, h);
    }
}

void js_publish_retry(struct js *js)
{
    append_held(js);
    if (js->resting != NULL && js->held_msgs <= JS_HELD_REST_MSGS / 2 &&
        js->held_bytes <= JS_HELD_REST_BYTES / 2) {
        brk_publishers_go(js->resting);
        js->resting = NULL;
    }
}

void js_publish_fini(struct js *js)
{
    if (js->resting != NULL) {
        brk_publishers_go(js->resting);
        js->resting = NULL;
    }
    while (js->held_first != NULL) {
        struct js_held *h = js->held_first;
        js->held_first = h->next;
        held_free(js, h);
    }
    js->held_last = NULL;
}
