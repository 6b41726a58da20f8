/* Storing what a copier gets: order, flow control, a full journal. */
#include "broker/js_copier.h"

#include <stdio.h>

#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/subject.h"

static struct store_stream *store_of(const struct js_copier *c)
{
    return c->stream->ss;
}

static void drop_held(struct js_copier *c)
{
    while (c->held_first != NULL) {
        struct copier_held *h = c->held_first;
        c->held_first = h->next;
        base_free(h);
    }
    c->held_last = NULL;
    c->held_bytes = 0;
}

void js_copier_forget(struct js_copier *c)
{
    drop_held(c);
    c->fc_reply[0] = '\0';
}

void js_copier_rewind(struct js_copier *c)
{
    js_copier_forget(c);
    if (c->mirror) {
        struct stream_state st;
        c->js->ops->stream_state(store_of(c), &st);
        c->tip = st.last_seq;
    } else {
        c->tip = c->js->ops->source_seq(store_of(c), c->source_key, strlen(c->source_key));
    }
    c->source_seq = c->tip;
    c->sseq = 0;
    c->cseq = 0;
    c->broken = false;
}

uint64_t js_copier_start_seq(const struct js_copier *c)
{
    return c->tip > 0 ? c->tip + 1 : 0;
}

void js_copier_skip(struct js_copier *c, uint64_t sseq)
{
    if (sseq > c->tip) {
        c->tip = sseq;
        c->js->ops->seq_skip(store_of(c), sseq, NULL, NULL);
    }
}

/* --- flow control ----------------------------------------------------------------------------- */

static void answer_flow(struct js_copier *c)
{
    if (c->fc_reply[0] == '\0' || c->done < c->fc_at || c->held_first != NULL) {
        return;
    }
    char reply[JS_COPIER_REPLY_MAX], h[96];
    size_t n = strlen(c->fc_reply);
    memcpy(reply, c->fc_reply, n);
    c->fc_reply[0] = '\0'; /* the answer may bring the next request */
    int len = 0;
    if (c->durable && c->fc_cseq > 0) {
        len = snprintf(h, sizeof h,
                       "NATS/1.0\r\nNats-Last-Consumer: %llu\r\nNats-Last-Stream: %llu\r\n\r\n",
                       (unsigned long long)c->fc_cseq, (unsigned long long)c->fc_sseq);
    }
    js_send(c->ja, (struct brk_str){reply, n}, len > 0 ? h : NULL, (size_t)len, NULL, 0);
}

void js_copier_flow(struct js_copier *c, struct brk_str reply)
{
    if (reply.n == 0 || reply.n >= sizeof c->fc_reply || c->broken) {
        return;
    }
    memcpy(c->fc_reply, reply.p, reply.n);
    c->fc_reply[reply.n] = '\0';
    c->fc_at = c->submitted;
    c->fc_cseq = c->cseq;
    c->fc_sseq = c->sseq;
    answer_flow(c);
}

/* --- appending -------------------------------------------------------------------------------- */

static const char *refusal(enum append_verdict v)
{
    switch (v) {
    case APPEND_MAX_MSGS:
        return "maximum messages exceeded";
    case APPEND_MAX_BYTES:
        return "maximum bytes exceeded";
    case APPEND_MAX_MSGS_PER_SUBJECT:
        return "maximum messages per subject exceeded";
    case APPEND_MSG_TOO_BIG:
        return "message size exceeds maximum allowed";
    case APPEND_SEALED:
        return "invalid operation on sealed stream";
    case APPEND_NO_STORE:
    case APPEND_NO_MEMORY:
        return "insufficient resources";
    default:
        return NULL;
    }
}

static void appended(void *arg, const struct store_append_result *r)
{
    struct js_copier *c = arg;
    c->done++;
    if (c->stream != NULL && !c->ja->stopped) {
        if (r->verdict == APPEND_STORED || r->verdict == APPEND_DUPLICATE) {
            answer_flow(c);
        } else if (!c->broken && r->verdict != APPEND_FAILED) {
            const char *text = refusal(r->verdict);
            struct api_error e = {0};
            if (text != NULL) {
                api_error_set2(&e, API_STREAM_STORE_FAILED, text, NULL);
            }
            js_copier_again(c, text != NULL ? &e : NULL);
        }
    }
    js_copier_unref(c);
}

/* What of the headers counts in the copy. */
static void read_headers(struct js_copier *c, struct store_append *a)
{
    const struct stream_cfg *cfg = c->js->ops->stream_cfg(store_of(c));
    struct js_headers h;
    js_headers_read(&h, a->hdr, a->hdr_len);
    if (js_hdr_has(&h, JS_HDR_ROLLUP) && cfg->allow_rollup && !cfg->deny_purge) {
        struct brk_str v = h.value[JS_HDR_ROLLUP];
        a->rollup = js_str_eq(v, "sub", 3) ? 1 : js_str_eq(v, "all", 3) ? 2 : 0;
    }
    if (js_hdr_has(&h, JS_HDR_TTL) && cfg->allow_msg_ttl) {
        int64_t ttl;
        struct brk_str v = h.value[JS_HDR_TTL];
        a->flags |= store_ttl_parse(v.p, v.n, &ttl) && ttl != 0 ? MSG_TTL : 0;
    }
    if (js_hdr_has(&h, JS_HDR_MSG_ID) && !c->mirror) {
        a->msg_id = h.value[JS_HDR_MSG_ID].p;
        a->msg_id_len = (uint32_t)h.value[JS_HDR_MSG_ID].n;
    }
}

/* The header block of a message from a source: says where it comes from, and expects nothing. */
static void mark_source(struct js_copier *c, const struct brk_msg *m, uint64_t sseq,
                        struct store_append *a)
{
    struct js_hdr_edit *e = &c->js->edit;
    char *value = base_malloc(strlen(c->source_head) + strlen(c->source_tail) + m->subject.n + 24);
    size_t n = strlen(c->source_head);
    memcpy(value, c->source_head, n);
    char *p = js_put_u64(value + n, sseq);
    memcpy(p, c->source_tail, strlen(c->source_tail));
    p += strlen(c->source_tail);
    memcpy(p, m->subject.p, m->subject.n);
    p += m->subject.n;
    js_hdr_edit_begin(e, m->hdr, m->hdr_len);
    js_hdr_edit_drop_prefix(e, "Nats-Expected-");
    js_hdr_edit_drop_prefix(e, "Nats-Batch-");
    js_hdr_edit_drop(e, "Nats-Stream-Source");
    js_hdr_edit_add(e, "Nats-Stream-Source", value, (size_t)(p - value));
    base_free(value);
    a->hdr = (const uint8_t *)e->buf;
    a->hdr_len = (uint32_t)e->len;
    a->flags |= MSG_SOURCED;
    a->has_expected_source_seq = true;
    a->expected_source_seq = c->source_seq;
}

/* The subject it is stored under. */
static struct brk_str subject_of(struct js_copier *c, struct brk_str subject,
                                 char out[JS_XFORM_SUBJECT_MAX])
{
    uint32_t random;
    size_t n;
    for (size_t i = 0; i < c->origin.transforms.n; i++) {
        const char *src = js_origin_transform(&c->origin, i)->src;
        src = src != NULL && src[0] != '\0' ? src : ">";
        if (!subject_match(subject.p, subject.n, src, strlen(src))) {
            continue;
        }
        env_random(c->js->d.env, &random, sizeof random);
        bool changed =
            c->xforms[i] != NULL && js_xform_apply(c->xforms[i], subject, random, out, &n);
        return changed && subject_literal(out, n) ? (struct brk_str){out, n} : subject;
    }
    return subject;
}

/* A mirror keeps no conditions and no batch: they were the origin's. */
static void drop_conditions(struct js_copier *c, struct store_append *a)
{
    struct js_hdr_edit *e = &c->js->edit;
    if (a->hdr_len == 0 || (memmem(a->hdr, a->hdr_len, "Nats-Expected-", 14) == NULL &&
                            memmem(a->hdr, a->hdr_len, "Nats-Batch-", 11) == NULL)) {
        return;
    }
    js_hdr_edit_begin(e, a->hdr, a->hdr_len);
    js_hdr_edit_drop_prefix(e, "Nats-Expected-");
    js_hdr_edit_drop_prefix(e, "Nats-Batch-");
    a->hdr = (const uint8_t *)e->buf;
    a->hdr_len = (uint32_t)e->len;
}

/* The payload of a counter's message. False: the subject holds no number. */
static bool add_up(struct js_copier *c, struct store_append *a)
{
    struct js_headers h;
    js_headers_read(&h, a->hdr, a->hdr_len);
    return js_counter_apply(c->stream, &h, NULL, true, a, (struct brk_str){0}) == JS_COUNTER_OK;
}

/* False: the journal window is full, or what it rests on is being read. */
static bool append(struct js_copier *c, const struct brk_msg *m, uint64_t sseq, int64_t ts_ns)
{
    char other[JS_XFORM_SUBJECT_MAX];
    if (sseq <= c->tip) {
        return true; /* there already */
    }
    struct brk_str subject = subject_of(c, m->subject, other);
    bool counter = !c->mirror && c->stream->counter;
    struct brk_msg copy = *m;
    if (counter) {
        enum js_counter is = js_counter_from_source(c, m, subject, &c->block);
        if (is != JS_COUNTER_OK) {
            c->tip = is == JS_COUNTER_REFUSED ? sseq : c->tip; /* passed over */
            return is == JS_COUNTER_REFUSED;
        }
        copy.hdr = (const uint8_t *)c->block.buf;
        copy.hdr_len = c->block.len;
        m = &copy;
    }
    struct store_append a = {.subject = subject.p,
                             .subject_len = (uint32_t)subject.n,
                             .hdr = m->hdr,
                             .hdr_len = (uint32_t)m->hdr_len,
                             .data = m->payload,
                             .data_len = (uint32_t)m->payload_len};
    if (c->mirror) {
        drop_conditions(c, &a);
        a.at_seq = sseq;
        a.at_time_ns = ts_ns;
        a.has_expected_last_seq = true;
        a.expected_last_seq = c->tip;
    } else {
        mark_source(c, m, sseq, &a);
    }
    if (counter && !add_up(c, &a)) {
        c->tip = sseq;
        return true;
    }
    if (a.hdr_len > 0) {
        read_headers(c, &a);
    }
    c->refs++;
    enum st st = c->js->ops->append(store_of(c), &a, appended, c);
    if (st != ST_OK) {
        c->refs--;
        return false;
    }
    c->submitted++;
    c->source_seq = sseq;
    c->tip = sseq;
    return true;
}

static bool hold(struct js_copier *c, const struct brk_msg *m, uint64_t sseq, int64_t ts_ns)
{
    size_t len = m->subject.n + m->hdr_len + m->payload_len;
    if (c->held_bytes + len > JS_COPIER_HELD_MAX) {
        return false;
    }
    struct copier_held *h = base_try_malloc(sizeof *h + len);
    if (h == NULL) {
        return false;
    }
    *h = (struct copier_held){.sseq = sseq,
                              .ts_ns = ts_ns,
                              .subject_len = (uint32_t)m->subject.n,
                              .hdr_len = (uint32_t)m->hdr_len,
                              .data_len = (uint32_t)m->payload_len};
    memcpy(h->bytes, m->subject.p, m->subject.n);
    if (m->hdr_len > 0) {
        memcpy(h->bytes + m->subject.n, m->hdr, m->hdr_len);
    }
    if (m->payload_len > 0) {
        memcpy(h->bytes + m->subject.n + m->hdr_len, m->payload, m->payload_len);
    }
    if (c->held_last != NULL) {
        c->held_last->next = h;
    } else {
        c->held_first = h;
    }
    c->held_last = h;
    c->held_bytes += len;
    return true;
}

bool js_copier_take(struct js_copier *c, const struct brk_msg *m, uint64_t sseq, int64_t ts_ns)
{
    return (c->held_first == NULL && !js_copier_resetting(c) && append(c, m, sseq, ts_ns)) ||
           hold(c, m, sseq, ts_ns);
}

void js_copier_retry(struct js_copier *c)
{
    while (c->held_first != NULL && !c->broken) {
        struct copier_held *h = c->held_first;
        struct brk_msg m = {.subject = {(const char *)h->bytes, h->subject_len},
                            .hdr = h->bytes + h->subject_len,
                            .hdr_len = h->hdr_len,
                            .payload = h->bytes + h->subject_len + h->hdr_len,
                            .payload_len = h->data_len};
        if (!append(c, &m, h->sseq, h->ts_ns)) {
            return;
        }
        c->held_first = h->next;
        c->held_bytes -= h->subject_len + h->hdr_len + h->data_len;
        if (c->held_first == NULL) {
            c->held_last = NULL;
        }
        base_free(h);
    }
    c->fc_at = c->submitted;
    answer_flow(c);
}
