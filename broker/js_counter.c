/* Counters (ADR-49): on a stream with allow_msg_counter each subject is a number. A publish carries
 * Nats-Incr and no payload; what is stored is {"val":"<sum>"} with the sum of any length, and the
 * PubAck says it.
 *
 * The sum is taken from the subject's last message in the same turn in which the record is
 * written, so that nothing comes between. Loop thread. */
#include "broker/js_int.h"

#include "broker/bigdec.h"
#include "broker/json_in.h"
#include "engine/base/base.h"

enum api_err js_counter_check(const struct js_headers *h, const struct store_append *a)
{
    static const enum js_hdr not_with[] = {
        JS_HDR_ROLLUP,          JS_HDR_EXP_STREAM,        JS_HDR_EXP_LAST_SEQ,
        JS_HDR_EXP_LAST_MSG_ID, JS_HDR_EXP_LAST_SUBJ_SEQ, JS_HDR_EXP_LAST_SUBJ_SEQ_SUBJ,
    };
    if (!js_hdr_has(h, JS_HDR_INCR)) {
        return API_MESSAGE_INCR_MISSING;
    }
    if (!bigdec_valid(h->value[JS_HDR_INCR].p, h->value[JS_HDR_INCR].n)) {
        return API_MESSAGE_INCR_INVALID;
    }
    if (a->data_len > 0) {
        return API_MESSAGE_INCR_PAYLOAD;
    }
    for (size_t i = 0; i < ARRAY_LEN(not_with); i++) {
        if (js_hdr_has(h, not_with[i])) {
            return API_MESSAGE_INCR_INVALID;
        }
    }
    return API_OK;
}

struct value {
    char *val; /* owned */
};
static const struct json_field value_fields[] = {
    {"val", JSON_STRING, offsetof(struct value, val), NULL, NULL},
};
static const struct json_schema value_schema = {"CounterValue", "server.CounterValue", value_fields,
                                                ARRAY_LEN(value_fields)};

char *js_counter_value(const uint8_t *data, size_t len)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct value v = {0};
    bool fine = json_in_parse(&doc, data, len, NULL) == ST_OK && doc.root != NULL &&
                json_in_decode(&d, doc.root, &value_schema, &v, NULL) == ST_OK && v.val != NULL &&
                bigdec_valid(v.val, strlen(v.val));
    json_in_fini(&doc);
    if (!fine) {
        base_free(v.val);
        v.val = NULL;
    }
    return v.val;
}

static void make_sum(struct js *js, const char *last, struct brk_str incr, struct store_append *a)
{
    static const char head[] = "{\"val\":\"";
    size_t last_len = strlen(last), most = (last_len > incr.n ? last_len : incr.n) + 16;
    if (most > js->counter_cap) {
        js->counter_cap = most * 2;
        js->counter_buf = base_realloc(js->counter_buf, js->counter_cap);
    }
    char *p = js->counter_buf;
    memcpy(p, head, sizeof head - 1);
    size_t n = bigdec_add(last, last_len, incr.p, incr.n, p + sizeof head - 1);
    js->counter_val = (struct brk_str){p + sizeof head - 1, n};
    memcpy(p + sizeof head - 1 + n, "\"}", 2);
    a->data = (const uint8_t *)p;
    a->data_len = (uint32_t)(sizeof head - 1 + n + 2);
}

/* What sources have brought so far goes from message to message, whatever the publish says about
 * it. False: it cannot be read. */
static bool keep_sources(struct js *js, const struct msg *last, struct store_append *a)
{
    struct js_headers old;
    struct json_out kept = {0};
    js_headers_read(&old, last->hdr, last->hdr_len);
    if (!js_hdr_has(&old, JS_HDR_COUNTER_SOURCES)) {
        return true;
    }
    bool fine = js_counter_sources_kept(old.value[JS_HDR_COUNTER_SOURCES], &kept);
    if (kept.len > 0) {
        if (a->hdr != (const uint8_t *)js->edit.buf) {
            js_hdr_edit_begin(&js->edit, a->hdr, a->hdr_len);
        }
        js_hdr_edit_drop(&js->edit, "Nats-Counter-Sources");
        js_hdr_edit_add(&js->edit, "Nats-Counter-Sources", kept.buf, kept.len);
        a->hdr = (const uint8_t *)js->edit.buf;
        a->hdr_len = (uint32_t)js->edit.len;
    }
    json_out_fini(&kept);
    return fine;
}

enum js_counter js_counter_apply(struct js_stream *s, const struct js_headers *h,
                                 const struct msg *earlier, bool sourced, struct store_append *a,
                                 struct brk_str reply)
{
    struct js *js = s->ja->js;
    struct msg last;
    char *value = NULL;
    enum st st = ST_OK;
    if (earlier != NULL) {
        last = *earlier;
    } else {
        st = js->ops->last_msg(s->ss, a->subject, a->subject_len, &last);
    }
    if (st == ST_AGAIN) {
        return JS_COUNTER_AGAIN;
    }
    if (st == ST_OK) {
        value = js_counter_value(last.data, last.data_len);
        if (value != NULL && !sourced && !keep_sources(js, &last, a)) {
            base_free(value);
            value = NULL;
        }
    } else if (st == ST_NOTFOUND) {
        value = base_strdup("0");
    }
    if (value == NULL) {
        struct api_error e;
        api_error_set(&e, API_MESSAGE_COUNTER_BROKEN);
        js_pub_error(s, reply, &e);
        return JS_COUNTER_REFUSED;
    }
    make_sum(js, value, h->value[JS_HDR_INCR], a);
    base_free(value);
    return JS_COUNTER_OK;
}
