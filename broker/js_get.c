/* Single messages by request: STREAM.MSG.GET, STREAM.MSG.DELETE (through the queue), DIRECT.GET (at
 * once). */
#include <stdio.h>

#include "broker/js_int.h"
#include "engine/base/base.h"
#include "engine/base/subject.h"

struct get_body {
    uint64_t seq;
    char *last_by, *next_by; /* owned */
    bool no_hdr;
};
#define F(member) offsetof(struct get_body, member)
static const struct json_field get_fields[] = {
    {"seq", JSON_U64, F(seq), NULL, NULL},
    {"last_by_subj", JSON_STRING, F(last_by), NULL, NULL},
    {"next_by_subj", JSON_STRING, F(next_by), NULL, NULL},
    {"batch", JSON_UNSERVED, 0, NULL, NULL},
    {"max_bytes", JSON_UNSERVED, 0, NULL, NULL},
    {"start_time", JSON_UNSERVED, 0, NULL, NULL},
    {"multi_last", JSON_UNSERVED, 0, NULL, NULL},
    {"up_to_seq", JSON_UNSERVED, 0, NULL, NULL},
    {"up_to_time", JSON_UNSERVED, 0, NULL, NULL},
    {"no_hdr", JSON_BOOL, F(no_hdr), NULL, NULL},
};
#undef F
static const struct json_schema get_schema = {"JSApiMsgGetRequest", "server.JSApiMsgGetRequest",
                                              get_fields, ARRAY_LEN(get_fields)};

static void get_body_fini(struct get_body *b)
{
    base_free(b->last_by);
    base_free(b->next_by);
}

static bool set(const char *s)
{
    return s != NULL && s[0] != '\0';
}

/* False: not a request for one message. */
static bool to_get(const struct get_body *b, struct store_get *g)
{
    bool last = set(b->last_by), next = set(b->next_by);
    if ((last && next) || (last && b->seq != 0) || (!last && !next && b->seq == 0)) {
        return false;
    }
    *g = (struct store_get){.kind = last   ? GET_LAST_BY_SUBJ
                                    : next ? GET_NEXT_BY_SUBJ
                                           : GET_BY_SEQ,
                            .seq = b->seq};
    g->subject = last ? b->last_by : next ? b->next_by : NULL;
    g->subject_len = g->subject != NULL ? (uint32_t)strlen(g->subject) : 0;
    return true;
}

/* --- STREAM.MSG.GET
 * ---------------------------------------------------------------------------------------
 */

static void got(void *arg, enum st st, const struct msg *m)
{
    struct js_req *r = arg;
    bool no_hdr = r->extra != NULL;
    if (st == ST_NOTFOUND) {
        js_req_fail_with(r, API_NO_MESSAGE_FOUND);
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_GENERAL_ERROR, st, NULL);
        return;
    }
    struct json_out *j = js_req_begin(r);
    json_out_open(j, "message");
    json_out_strn(j, "subject", (const char *)m->subj, m->subj_len);
    json_out_u64(j, "seq", m->seq);
    if (m->hdr_len > 0 && !no_hdr) {
        json_out_key(j, "hdrs");
        json_out_val_base64(j, m->hdr, m->hdr_len);
    }
    if (m->data_len > 0) {
        json_out_key(j, "data");
        json_out_val_base64(j, m->data, m->data_len);
    }
    json_out_time(j, "time", m->ts_ns);
    json_out_end(j);
    js_req_answer_durable(r, r->stream);
}

void js_h_msg_get(struct js_req *r)
{
    struct get_body b = {0};
    struct store_get g;
    if (js_req_empty(r)) {
        js_req_fail_with(r, API_BAD_REQUEST);
        return;
    }
    if (!js_req_decode(r, &get_schema, &b)) {
        js_req_fail(r);
    } else if (!to_get(&b, &g)) {
        js_req_fail_with(r, API_BAD_REQUEST);
    } else {
        struct js_stream *s = js_req_stream(r);
        if (s != NULL) {
            r->extra = b.no_hdr ? r : NULL;
            r->js->ops->get(s->ss, &g, got, r);
        }
    }
    get_body_fini(&b);
}

/* --- STREAM.MSG.DELETE
 * ------------------------------------------------------------------------------------
 */

struct delete_body {
    uint64_t seq;
    bool no_erase;
};
static const struct json_field delete_fields[] = {
    {"seq", JSON_U64, offsetof(struct delete_body, seq), NULL, NULL},
    {"no_erase", JSON_BOOL, offsetof(struct delete_body, no_erase), NULL, NULL},
};
static const struct json_schema delete_schema = {"JSApiMsgDeleteRequest",
                                                 "server.JSApiMsgDeleteRequest", delete_fields,
                                                 ARRAY_LEN(delete_fields)};

static void deleted(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    (void)n;
    if (st == ST_NOTFOUND) {
        api_error_set2(&r->err, API_STREAM_MSG_DELETE_FAILED, "no message found", NULL);
        js_req_fail(r);
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_MSG_DELETE_FAILED, st, err);
        return;
    }
    json_out_bool(js_req_begin(r), "success", true);
    js_req_answer(r);
}

void js_h_msg_delete(struct js_req *r)
{
    struct delete_body b = {0};
    if (js_req_empty(r)) {
        js_req_fail_with(r, API_BAD_REQUEST);
        return;
    }
    if (!js_req_decode(r, &delete_schema, &b)) {
        js_req_fail(r);
        return;
    }
    struct js_stream *s = js_req_stream(r);
    if (s == NULL) {
        return;
    }
    const struct stream_cfg *c = r->js->ops->stream_cfg(s->ss);
    if (c->sealed) {
        js_req_fail_with(r, API_STREAM_SEALED);
    } else if (c->deny_delete) {
        api_error_set2(&r->err, API_STREAM_MSG_DELETE_FAILED, "message delete not permitted", NULL);
        js_req_fail(r);
    } else {
        r->js->ops->msg_delete(s->ss, b.seq, !b.no_erase, deleted, r);
    }
}

/* --- DIRECT.GET
 * -------------------------------------------------------------------------------------------
 */

/* The message's own headers, then where it comes from. */
static void send_direct(struct js_ctx *x, const struct msg *m, bool no_hdr)
{
    char small[1024];
    size_t keep = no_hdr || m->hdr_len < 12 ? 0 : m->hdr_len - 2;
    size_t need = keep + 128 + x->stream->name_len + m->subj_len + JSON_TIME_MAX;
    char *buf = need <= sizeof small ? small : base_malloc(need);
    char time[JSON_TIME_MAX + 1];
    time[json_time_text(time, m->ts_ns)] = '\0';
    size_t n = keep;
    if (keep > 0) {
        memcpy(buf, m->hdr, keep);
    } else {
        memcpy(buf, "NATS/1.0\r\n", 10);
        n = 10;
    }
    int more = snprintf(buf + n, need - n,
                        "Nats-Stream: %s\r\nNats-Subject: %.*s\r\nNats-Sequence: "
                        "%llu\r\nNats-Time-Stamp: %s\r\n\r\n",
                        x->stream->name, (int)m->subj_len, (const char *)m->subj,
                        (unsigned long long)m->seq, time);
    js_send(x->ja, (struct brk_str){x->reply, x->reply_len}, buf, n + (size_t)more, m->data,
            m->data_len);
    if (buf != small) {
        base_free(buf);
    }
}

#define DIRECT_NO_HDR 1u

static void direct_got(void *arg, enum st st, const struct msg *m)
{
    struct js_ctx *x = arg;
    struct brk_str reply = {x->reply, x->reply_len};
    if (st == ST_OK) {
        send_direct(x, m, (x->kind & DIRECT_NO_HDR) != 0);
    } else if (st == ST_NOTFOUND) {
        js_send_status(x->ja, reply, "404 Message Not Found", NULL);
    } else {
        char text[96];
        (void)snprintf(text, sizeof text, "500 %s", st_text(st));
        js_send_status(x->ja, reply, text, NULL);
    }
    js_ctx_free(x->ja->js, x);
}

static void direct_submit(struct js_stream *s, struct brk_str reply, const struct store_get *g,
                          uint32_t kind)
{
    struct js *js = s->ja->js;
    struct js_ctx *x = js_ctx_take(js, s->ja, s, reply);
    x->kind = kind;
    js->ops->get(s->ss, g, direct_got, x);
}

static void direct_body(struct js_stream *s, const struct brk_msg *msg)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct get_body b = {0};
    struct store_get g;
    if (msg->payload_len == 0) {
        js_send_status(s->ja, msg->reply, "408 Empty Request", NULL);
        return;
    }
    enum st st = json_in_parse(&doc, msg->payload, msg->payload_len, NULL);
    if (st == ST_OK) {
        st = json_in_decode(&d, doc.root, &get_schema, &b, NULL);
    }
    json_in_fini(&doc);
    if (st != ST_OK) {
        js_send_status(s->ja, msg->reply, "408 Malformed Request", NULL);
    } else if (d.unserved != NULL) {
        char text[96];
        (void)snprintf(text, sizeof text, "408 Bad Request - %s is not served yet by this version",
                       d.unserved);
        js_send_status(s->ja, msg->reply, text, NULL);
    } else if (b.seq == 0 && !set(b.last_by) && !set(b.next_by)) {
        js_send_status(s->ja, msg->reply, "408 Empty Request", NULL);
    } else if (!to_get(&b, &g)) {
        js_send_status(s->ja, msg->reply, "408 Bad Request", NULL);
    } else {
        direct_submit(s, msg->reply, &g, b.no_hdr ? DIRECT_NO_HDR : 0);
    }
    get_body_fini(&b);
}

void js_direct_cb(void *arg, const struct brk_msg *msg)
{
    struct js_stream *s = arg;
    size_t head = sizeof "$JS.API.DIRECT.GET." - 1;
    if (msg->reply.n == 0 || s->gone) {
        return;
    }
    /* the stream's own name, or that of what it mirrors */
    const char *dot = memchr(msg->subject.p + head, '.', msg->subject.n - head);
    head = dot != NULL ? (size_t)(dot - msg->subject.p) : msg->subject.n;
    if (js_level_too_high(msg->hdr, msg->hdr_len)) {
        js_send_status(s->ja, msg->reply, "412 Required Api Level", NULL);
        return;
    }
    if (msg->subject.n <= head + 1) {
        direct_body(s, msg);
        return;
    }
    struct store_get g = {.kind = GET_LAST_BY_SUBJ,
                          .subject = msg->subject.p + head + 1,
                          .subject_len = (uint32_t)(msg->subject.n - head - 1)};
    if (msg->payload_len > 0) {
        js_send_status(s->ja, msg->reply, "408 Bad Request", NULL);
        return;
    }
    direct_submit(s, msg->reply, &g, 0);
}
