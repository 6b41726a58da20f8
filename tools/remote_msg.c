/* The remote store: messages. Publishes with their PubAck as the result, reads by STREAM.MSG.GET
 * (which sees every earlier write; direct get need not), purges. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/remote_int.h"

/* --- append ----------------------------------------------------------------------------------- */

struct append_op {
    struct remote *r;
    store_append_fn fn;
    void *arg;
};

static enum append_verdict store_failed(const char *text)
{
    return strstr(text, "maximum bytes") != NULL      ? APPEND_MAX_BYTES
           : strstr(text, "per subject") != NULL      ? APPEND_MAX_MSGS_PER_SUBJECT
           : strstr(text, "maximum messages") != NULL ? APPEND_MAX_MSGS
                                                      : APPEND_FAILED;
}

static enum append_verdict verdict_of(json_object *error, uint64_t *actual_out)
{
    const char *text = remote_str(error, "description");
    const char *colon = strrchr(text, ':');
    switch (remote_i64(error, "err_code", 0)) {
    case 10071: /* wrong last sequence: N */
        *actual_out = colon == NULL ? 0 : strtoull(colon + 1, NULL, 10);
        return APPEND_WRONG_LAST_SUBJ_SEQ;
    case 10164: /* the same, without saying which */
        return APPEND_WRONG_LAST_SUBJ_SEQ;
    case 10054: /* message size exceeds maximum allowed */
        return APPEND_MSG_TOO_BIG;
    case 10109: /* invalid operation on sealed stream */
        return APPEND_SEALED;
    case 10111: /* rollup */
        return APPEND_ROLLUP_DENIED;
    case 10047: /* insufficient storage */
    case 10023: /* insufficient resources */
        return APPEND_NO_STORE;
    case 10077: /* store failed */
        return store_failed(text);
    default:
        return APPEND_FAILED;
    }
}

static void on_pub_ack(void *arg, natsMsg *m, const struct err *why)
{
    struct append_op *op = arg;
    struct store_append_result res = {.verdict = APPEND_FAILED};
    struct err err = why != NULL ? *why : (struct err){0};
    json_object *error = NULL;
    json_object *o =
        m == NULL ? NULL
                  : json_tokener_parse(natsMsg_GetDataLength(m) > 0 ? natsMsg_GetData(m) : "null");
    if (o != NULL && json_object_object_get_ex(o, "error", &error)) {
        (void)remote_api_err(error, &err);
        res.verdict = verdict_of(error, &res.actual);
    } else if (o != NULL && json_object_is_type(o, json_type_object)) {
        res.verdict = remote_bool(o, "duplicate") ? APPEND_DUPLICATE : APPEND_STORED;
        res.seq = (uint64_t)remote_i64(o, "seq", 0);
    } else if (m != NULL) {
        json_object_put(remote_answer(m, &err));
    }
    op->r->last = err;
    op->fn(op->arg, &res);
    json_object_put(o);
    base_free(op);
}

enum st remote_append(struct store_stream *s, const struct store_append *a, store_append_fn fn,
                      void *arg)
{
    struct append_op *op = base_malloc(sizeof *op);
    *op = (struct append_op){s->r, fn, arg};
    char *subject = base_strndup(a->subject, a->subject_len);
    remote_request(s->r, subject, a->hdr, a->hdr_len, a->data, a->data_len, on_pub_ack, op);
    base_free(subject);
    return ST_OK;
}

/* --- get -------------------------------------------------------------------------------------- */

struct get_op {
    struct remote *r;
    store_get_fn fn;
    void *arg;
};

static void on_got(void *arg, natsMsg *answer, const struct err *why)
{
    struct get_op *op = arg;
    struct err err = why != NULL ? *why : (struct err){0};
    json_object *o = remote_answer(answer, &err), *m = NULL;
    if (o != NULL && !json_object_object_get_ex(o, "message", &m)) {
        err_set(&err, ST_CORRUPT, 0, "the server's answer holds no message");
    }
    if (m == NULL) {
        op->r->last = err;
        op->fn(op->arg, err.code, NULL);
    } else {
        size_t hdr_len, data_len;
        const char *subject = remote_str(m, "subject");
        uint8_t *hdr = remote_base64(m, "hdrs", &hdr_len);
        uint8_t *data = remote_base64(m, "data", &data_len);
        struct msg msg = {.seq = (uint64_t)remote_i64(m, "seq", 0),
                          .ts_ns = remote_time(remote_str(m, "time")),
                          .subj = (const uint8_t *)subject,
                          .subj_len = (uint16_t)strlen(subject),
                          .hdr = hdr_len > 0 ? hdr : NULL,
                          .hdr_len = (uint32_t)hdr_len,
                          .data = data,
                          .data_len = (uint32_t)data_len};
        op->fn(op->arg, ST_OK, &msg);
        base_free(hdr);
        base_free(data);
    }
    json_object_put(o);
    base_free(op);
}

void remote_get(struct store_stream *s, const struct store_get *g, store_get_fn fn, void *arg)
{
    struct get_op *op = base_malloc(sizeof *op);
    *op = (struct get_op){s->r, fn, arg};
    json_object *ask = json_object_new_object();
    json_object *subject =
        json_object_new_string_len(g->subject == NULL ? "" : g->subject, (int)g->subject_len);
    if (g->kind == GET_LAST_BY_SUBJ) {
        json_object_object_add(ask, "last_by_subj", subject);
    } else if (g->kind == GET_NEXT_BY_SUBJ) {
        json_object_object_add(ask, "seq", json_object_new_int64((int64_t)g->seq));
        json_object_object_add(ask, "next_by_subj", subject);
    } else {
        json_object_object_add(ask, "seq", json_object_new_int64((int64_t)g->seq));
        json_object_put(subject);
    }
    remote_api(s->r, "STREAM.MSG.GET.", s->cfg.name, ask, on_got, op);
}

/* --- purge ------------------------------------------------------------------------------------ */

struct done_op {
    struct remote *r;
    store_done_fn fn;
    void *arg;
};

static void on_purged(void *arg, natsMsg *answer, const struct err *why)
{
    struct done_op *op = arg;
    struct err err = why != NULL ? *why : (struct err){0};
    json_object *o = remote_answer(answer, &err);
    op->r->last = err;
    op->fn(op->arg, err.code, o == NULL ? 0 : (uint64_t)remote_i64(o, "purged", 0), &err);
    json_object_put(o);
    base_free(op);
}

void remote_purge(struct store_stream *s, const struct store_purge *p, store_done_fn fn, void *arg)
{
    struct done_op *op = base_malloc(sizeof *op);
    *op = (struct done_op){s->r, fn, arg};
    json_object *ask = json_object_new_object();
    if (p->filter_len > 0) {
        json_object_object_add(ask, "filter",
                               json_object_new_string_len(p->filter, (int)p->filter_len));
    }
    if (p->seq > 0) {
        json_object_object_add(ask, "seq", json_object_new_int64((int64_t)p->seq));
    }
    if (p->keep > 0) {
        json_object_object_add(ask, "keep", json_object_new_int64((int64_t)p->keep));
    }
    remote_api(s->r, "STREAM.PURGE.", s->cfg.name, ask, on_purged, op);
}
