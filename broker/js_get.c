/* Single messages by request through the queue: STREAM.MSG.GET, STREAM.MSG.DELETE. */
#include "broker/js_direct.h"
#include "broker/js_int.h"
#include "engine/base/base.h"

/* --- STREAM.MSG.GET --------------------------------------------------------------------------- */

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
    struct js_get_body b = {0};
    struct store_get g;
    if (js_req_empty(r)) {
        js_req_fail_with(r, API_BAD_REQUEST);
        return;
    }
    bool read = js_req_decode(r, &js_get_schema, &b);
    json_strings_fini(&b.multi); /* only direct gets look at it */
    if (!read) {
        js_req_fail(r);
    } else if (b.batch != 0 || b.max_bytes != 0 || js_get_empty(&b) || !js_get_single(&b, &g)) {
        js_req_fail_with(r, API_BAD_REQUEST);
    } else {
        struct js_stream *s = js_req_stream(r);
        if (s != NULL) {
            r->extra = b.no_hdr ? r : NULL;
            r->js->ops->get(s->ss, &g, got, r);
        }
    }
    js_get_body_fini(&b);
}

/* --- STREAM.MSG.DELETE ------------------------------------------------------------------------ */

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

/* What to say if there is no such message, by the state before later requests change it. Upstream
 * words it by where a file stream misses the message; a memory stream has one word. */
static void not_found(struct js_req *r, struct store_stream *ss, uint64_t seq)
{
    const struct js *js = r->js;
    struct stream_state state;
    js->ops->stream_state(ss, &state);
    bool memory = js->ops->stream_cfg(ss)->storage == STORAGE_MEMORY;
    if (!memory && seq > state.last_seq) {
        api_error_set2(&r->err, API_STREAM_MSG_DELETE_FAILED, "stream store EOF", NULL);
    } else if (!memory && (seq == 0 || seq < state.first_seq)) {
        api_error_set2(&r->err, API_STREAM_MSG_DELETE_FAILED, "no message found", NULL);
    } else {
        api_error_setf(&r->err, API_SEQUENCE_NOT_FOUND, "%llu", (unsigned long long)seq);
    }
}

static void deleted(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_req *r = arg;
    (void)n;
    if (st == ST_NOTFOUND) {
        js_req_fail(r); /* as not_found() prepared it */
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
        not_found(r, s->ss, b.seq);
        js_req_applied(r);
        r->js->ops->msg_delete(s->ss, b.seq, !b.no_erase, deleted, r);
    }
}
