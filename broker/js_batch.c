/* Atomic batch publish (ADR-50). Messages with Nats-Batch-Id are kept here until the one that
 * commits; then all are handed to the store as one atomic batch, checked as single publishes are.
 *
 * Bounds: messages of a batch, open batches of a stream and of the server, a rest of 10 s, and the
 * bytes kept (of a batch and of all). What is kept is lost with the process: nobody was promised
 * it. Loop thread. */
#include "broker/js_int.h"

#include <stdio.h>

#include "broker/js_level.h"
#include "engine/base/base.h"

struct js_batch_msg {
    struct js_batch_msg *next;
    uint32_t subject_len, hdr_len, data_len;
    uint8_t bytes[]; /* subject, header block, payload */
};

struct js_batch {
    struct js_batch *next;
    uint64_t n; /* messages kept */
    size_t bytes;
    int64_t last_ms;
    struct js_batch_msg *first, *last;
    size_t id_len;
    char id[LIM_BATCH_ID_BYTES_MAX];
};

/* --- batches ---------------------------------------------------------------------------------- */

static struct js_batch *find(const struct js_stream *s, struct brk_str id)
{
    for (struct js_batch *b = s->batches; b != NULL; b = b->next) {
        if (js_str_eq(id, b->id, b->id_len)) {
            return b;
        }
    }
    return NULL;
}

static void drop(struct js_stream *s, struct js_batch *b)
{
    struct js *js = s->ja->js;
    for (struct js_batch **p = &s->batches; *p != NULL; p = &(*p)->next) {
        if (*p == b) {
            *p = b->next;
            break;
        }
    }
    while (b->first != NULL) {
        struct js_batch_msg *m = b->first;
        b->first = m->next;
        base_free(m);
    }
    s->batch_count--;
    js->batch_count--;
    js->batch_bytes -= b->bytes;
    base_free(b);
}

static void abandon(struct js_stream *s, struct js_batch *b, const char *reason)
{
    js_adv_batch(s, b->id, b->id_len, reason);
    drop(s, b);
}

void js_batch_drop_all(struct js_stream *s)
{
    while (s->batches != NULL) {
        drop(s, s->batches);
    }
    brk_timer_destroy(s->batch_timer);
    s->batch_timer = NULL;
}

static void timeout(void *arg)
{
    struct js_stream *s = arg;
    int64_t now = js_now_ms(s->ja->js), next = INT64_MAX;
    for (struct js_batch *b = s->batches, *after; b != NULL; b = after) {
        after = b->next;
        if (now - b->last_ms >= LIM_BATCH_IDLE_MS_MAX) {
            abandon(s, b, "timeout");
        } else {
            next = i64_max(b->last_ms, 0) < next ? b->last_ms : next;
        }
    }
    if (s->batches != NULL) {
        brk_timer_start(s->batch_timer, (uint64_t)(next + LIM_BATCH_IDLE_MS_MAX - now), 0);
    }
}

static struct js_batch *open_batch(struct js_stream *s, struct brk_str id)
{
    struct js *js = s->ja->js;
    struct js_batch *b = base_calloc(1, sizeof *b);
    memcpy(b->id, id.p, id.n);
    b->id_len = id.n;
    /* At the end, so that those that rest longest are abandoned first. */
    struct js_batch **p = &s->batches;
    while (*p != NULL) {
        p = &(*p)->next;
    }
    *p = b;
    s->batch_count++;
    js->batch_count++;
    if (s->batch_timer == NULL) {
        s->batch_timer = brk_timer_create(js->d.loop, timeout, s);
    }
    if (!brk_timer_active(s->batch_timer)) {
        brk_timer_start(s->batch_timer, LIM_BATCH_IDLE_MS_MAX, 0);
    }
    return b;
}

static void keep(struct js_stream *s, struct js_batch *b, const struct brk_msg *m)
{
    size_t size = sizeof(struct js_batch_msg) + m->subject.n + m->hdr_len + m->payload_len;
    struct js_batch_msg *k = base_malloc(size);
    *k = (struct js_batch_msg){.subject_len = (uint32_t)m->subject.n,
                               .hdr_len = (uint32_t)m->hdr_len,
                               .data_len = (uint32_t)m->payload_len};
    memcpy(k->bytes, m->subject.p, m->subject.n);
    memcpy(k->bytes + k->subject_len, m->hdr, m->hdr_len);
    if (m->payload_len > 0) {
        memcpy(k->bytes + k->subject_len + k->hdr_len, m->payload, m->payload_len);
    }
    *(b->last != NULL ? &b->last->next : &b->first) = k;
    b->last = k;
    b->n++;
    b->bytes += size;
    s->ja->js->batch_bytes += size;
    b->last_ms = js_now_ms(s->ja->js);
}

/* --- commit ----------------------------------------------------------------------------------- */

/* The batch as the store takes it. */
struct commit {
    struct store_append *v; /* owned */
    uint8_t **copies;       /* owned array of owned: header blocks and payloads we made */
    size_t n, ncopies;
    bool again;          /* a counter is being read from disk */
    struct js_late late; /* what is wrong with the last of them; those behind it do not matter */
};

static void commit_fini(struct commit *c)
{
    for (size_t i = 0; i < c->ncopies; i++) {
        base_free(c->copies[i]);
    }
    base_free(c->copies);
    base_free(c->v);
}

static const uint8_t *copy_of(struct commit *c, const void *p, size_t len)
{
    uint8_t *copy = base_malloc(len);
    memcpy(copy, p, len);
    c->copies[c->ncopies++] = copy;
    return copy;
}

/* Changed headers and sums lie in js only until the next message is read. */
static void keep_changed(struct js *js, struct commit *c, struct store_append *a)
{
    if (a->hdr == (const uint8_t *)js->edit.buf) {
        a->hdr = copy_of(c, a->hdr, a->hdr_len);
    }
    if (a->data != NULL && a->data == (const uint8_t *)js->counter_buf) {
        a->data = copy_of(c, a->data, a->data_len);
    }
}

/* A counter adds to what the batch itself has made of its subject. */
static bool count(struct js_stream *s, struct commit *c, const struct js_headers *h,
                  struct store_append *a, struct brk_str reply)
{
    struct msg earlier = {0};
    bool found = false;
    for (size_t i = c->n; i-- > 0 && !found;) {
        const struct store_append *b = &c->v[i];
        found =
            b->subject_len == a->subject_len && memcmp(b->subject, a->subject, a->subject_len) == 0;
        earlier = (struct msg){
            .hdr = b->hdr, .hdr_len = b->hdr_len, .data = b->data, .data_len = b->data_len};
    }
    struct api_error e;
    s->ja->js->error_sink = &e; /* it is told when nothing before it is wrong */
    enum js_counter r = js_counter_apply(s, h, found ? &earlier : NULL, false, a, reply);
    s->ja->js->error_sink = NULL;
    c->again = r == JS_COUNTER_AGAIN;
    return r == JS_COUNTER_OK;
}

/* False: what follows does not matter, since this one will be refused; or c->again. */
static bool add(struct js_stream *s, struct commit *c, struct store_append a, bool eob,
                struct brk_str reply)
{
    struct js_headers h;
    struct js *js = s->ja->js;
    struct js_late *late = &c->late;
    late->batch = true;
    js_headers_read(&h, a.hdr, a.hdr_len);
    if (js_hdr_has(&h, JS_HDR_EXP_LAST_MSG_ID)) {
        js_pub_late_note(late, REFUSE_BATCH_FIRST, API_ATOMIC_PUBLISH_UNSUPPORTED_HEADER_BATCH);
    }
    (void)js_pub_read_headers(s, &h, &a, reply, late);
    bool counts = s->counter && (late->stage == REFUSE_NOT || late->stage > REFUSE_BATCH_IDS);
    if (counts && !count(s, c, &h, &a, reply)) {
        if (c->again) {
            return false;
        }
        js_pub_late_note(late, REFUSE_BATCH_IDS, API_MESSAGE_COUNTER_BROKEN);
    }
    if (late->stage != REFUSE_NOT) {
        if (late->value.n > 0) {
            late->value.p = (const char *)copy_of(c, late->value.p, late->value.n);
        }
        a.refuse = late->stage;
        c->v[c->n++] = a;
        return false;
    }
    struct brk_str level;
    bool said = js_header_find(a.hdr, a.hdr_len, "Nats-Required-Api-Level", &level);
    if (eob || said) {
        if (a.hdr != (const uint8_t *)js->edit.buf) {
            js_hdr_edit_begin(&js->edit, a.hdr, a.hdr_len);
        }
        if (said) { /* meant for the request; upstream does not store it either */
            js_hdr_edit_drop(&js->edit, "Nats-Required-Api-Level");
        }
        if (eob) { /* the last one that is stored says that the batch ends */
            js_hdr_edit_add_str(&js->edit, "Nats-Batch-Commit", "1");
        }
        a.hdr = (const uint8_t *)js->edit.buf;
        a.hdr_len = (uint32_t)js->edit.len;
    }
    keep_changed(js, c, &a);
    c->v[c->n++] = a;
    return true;
}

static void collect(struct js_stream *s, struct commit *c, const struct js_batch *b,
                    const struct brk_msg *last, bool eob)
{
    size_t most = (size_t)b->n + 1;
    c->v = base_calloc(most, sizeof *c->v);
    c->copies = base_calloc(2 * most + 1, sizeof *c->copies);
    for (const struct js_batch_msg *m = b->first; m != NULL; m = m->next) {
        struct store_append a = {.subject = (const char *)m->bytes,
                                 .subject_len = m->subject_len,
                                 .hdr = m->bytes + m->subject_len,
                                 .hdr_len = m->hdr_len,
                                 .data = m->bytes + m->subject_len + m->hdr_len,
                                 .data_len = m->data_len};
        if (!add(s, c, a, eob && m->next == NULL, last->reply)) {
            return;
        }
    }
    struct store_append a = {.subject = last->subject.p,
                             .subject_len = (uint32_t)last->subject.n,
                             .hdr = last->hdr,
                             .hdr_len = (uint32_t)last->hdr_len,
                             .data = last->payload,
                             .data_len = (uint32_t)last->payload_len};
    if (!eob) {
        (void)add(s, c, a, false, last->reply);
    }
}

static void answer(struct js_stream *s, struct brk_str reply, struct brk_str id, uint64_t count,
                   const struct store_append_result *r)
{
    struct api_error e;
    char text[32];
    switch (r->verdict) {
    case APPEND_STORED: {
        struct json_out j = {0};
        json_out_begin(&j);
        json_out_strn(&j, "stream", s->name, s->name_len);
        js_domain_put(s->ja->js, &j);
        json_out_u64(&j, "seq", r->seq);
        json_out_strn(&j, "batch", id.p, id.n);
        json_out_u64(&j, "count", count);
        json_out_end(&j);
        js_send(s->ja, reply, NULL, 0, j.buf, j.len);
        json_out_fini(&j);
        return;
    }
    case APPEND_DUPLICATE:
        api_error_set(&e, API_ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE);
        break;
    case APPEND_WRONG_LAST_CONSTANT:
        api_error_set(&e, API_STREAM_WRONG_LAST_SEQUENCE_CONSTANT);
        break;
    case APPEND_ROLLUP_BATCH_SUB:
        api_error_set2(&e, API_STREAM_ROLLUP_FAILED, "batch rollup sub invalid", NULL);
        break;
    case APPEND_ROLLUP_BATCH_ALL:
        api_error_set2(&e, API_STREAM_ROLLUP_FAILED, "batch rollup all invalid", NULL);
        break;
    case APPEND_BATCH_TOO_LARGE:
        (void)snprintf(text, sizeof text, "%zu bytes", JS_BATCH_BYTES_MAX);
        api_error_set2(&e, API_ATOMIC_PUBLISH_TOO_LARGE_BATCH, text, NULL);
        break;
    default:
        js_pub_verdict(s, reply, r);
        return;
    }
    js_pub_error(s, reply, &e);
}

static void committed(void *arg, const struct store_append_result *r)
{
    struct js_ctx *c = arg;
    struct js *js = c->ja->js;
    if (r->verdict == APPEND_REFUSED) {
        struct api_error e;
        js_pub_late_error(&e, (enum api_err)c->kind,
                          (struct brk_str){c->reply + c->reply_len, c->extra_len});
        js_pub_error(c->stream, (struct brk_str){c->reply, c->reply_len}, &e);
        js_ctx_free(js, c);
        return;
    }
    answer(c->stream, (struct brk_str){c->reply, c->reply_len},
           (struct brk_str){c->reply + c->reply_len, c->extra_len}, c->kind, r);
    js_ctx_free(js, c);
}

/* False: the journal window is full; nothing was changed. */
static bool commit(struct js_stream *s, struct js_batch *b, const struct brk_msg *last, bool eob)
{
    struct js *js = s->ja->js;
    struct commit c = {0};
    enum st st = ST_OK;
    collect(s, &c, b, last, eob);
    if (!c.again) {
        struct js_ctx *ctx = NULL;
        if (last->reply.n > 0 && !s->no_ack) {
            bool late = c.late.stage != REFUSE_NOT; /* then it cannot be stored */
            struct brk_str id = {b->id, b->id_len};
            ctx = js_ctx_take2(js, s->ja, s, last->reply, late ? c.late.value : id);
            ctx->kind = late ? (uint32_t)c.late.id : (uint32_t)c.n;
        }
        st = js->ops->append_batch(s->ss, c.v, c.n, ctx != NULL ? committed : NULL, ctx);
        if (st != ST_OK && ctx != NULL) {
            js_ctx_free(js, ctx);
        }
    }
    bool again = c.again || st == ST_FULL;
    for (size_t i = 0; i < c.n && st == ST_OK; i++) {
        if ((c.v[i].flags & MSG_SCHED) != 0) {
            js_sched_note(s, &c.v[i]);
        }
    }
    commit_fini(&c);
    if (again) {
        return false;
    }
    drop(s, b);
    return true;
}

/* --- a message -------------------------------------------------------------------------------- */

static bool refuse(struct js_stream *s, struct brk_str reply, enum api_err id)
{
    struct api_error e;
    api_error_set(&e, id);
    js_pub_error(s, reply, &e);
    return true;
}

static bool refuse_large(struct js_stream *s, struct js_batch *b, struct brk_str reply,
                         const char *limit)
{
    struct api_error e;
    if (b != NULL) {
        abandon(s, b, "large");
    }
    api_error_set2(&e, API_ATOMIC_PUBLISH_TOO_LARGE_BATCH, limit, NULL);
    js_pub_error(s, reply, &e);
    return true;
}

/* 0: goes on; 1: commits; 2: commits without itself; -1: invalid. */
static int read_commit(const struct js_headers *h)
{
    if (!js_hdr_has(h, JS_HDR_BATCH_COMMIT)) {
        return 0;
    }
    struct brk_str v = h->value[JS_HDR_BATCH_COMMIT];
    return js_str_eq(v, "1", 1) ? 1 : js_str_eq(v, "eob", 3) ? 2 : -1;
}

/* Opens the batch, or takes the next message's place in it. NULL: refused, and answered. */
static struct js_batch *place(struct js_stream *s, struct brk_str id, uint64_t seq, bool eob,
                              struct brk_str reply)
{
    struct js_batch *b = find(s, id);
    enum api_err off = API_ATOMIC_PUBLISH_INCOMPLETE_BATCH;
    if (b != NULL && seq == b->n + 1) {
        return b;
    }
    if (b != NULL) {
        abandon(s, b, "incomplete");
    } else if (seq == 1 && eob) {
        js_adv_batch(s, id.p, id.n, "incomplete");
    } else if (seq == 1) {
        if (s->batch_count < LIM_BATCH_OPEN_PER_STREAM &&
            s->ja->js->batch_count < LIM_BATCH_OPEN_TOTAL) {
            return open_batch(s, id);
        }
        off = API_ATOMIC_PUBLISH_TOO_MANY_INFLIGHT;
    }
    (void)refuse(s, reply, off);
    return NULL;
}

bool js_batch_publish(struct js_stream *s, const struct brk_msg *m, const struct js_headers *h)
{
    const struct stream_cfg *cfg = s->ja->js->ops->stream_cfg(s->ss);
    struct brk_str id = h->value[JS_HDR_BATCH_ID];
    uint64_t seq;
    if (!cfg->allow_atomic && cfg->max_msg_size >= 0 &&
        m->hdr_len + m->payload_len > (size_t)cfg->max_msg_size) {
        return refuse(s, m->reply, API_STREAM_MESSAGE_EXCEEDS_MAXIMUM);
    }
    if (!cfg->allow_atomic) {
        return refuse(s, m->reply, API_ATOMIC_PUBLISH_DISABLED);
    }
    if (cfg->max_msg_size >= 0 && m->hdr_len + m->payload_len > (size_t)cfg->max_msg_size) {
        return refuse(s, m->reply, API_STREAM_MESSAGE_EXCEEDS_MAXIMUM);
    }
    if (id.n > LIM_BATCH_ID_BYTES_MAX) {
        return refuse(s, m->reply, API_ATOMIC_PUBLISH_INVALID_BATCH_ID);
    }
    if (!js_hdr_has(h, JS_HDR_BATCH_SEQ) || !js_parse_u64(h->value[JS_HDR_BATCH_SEQ], &seq)) {
        return refuse(s, m->reply, API_ATOMIC_PUBLISH_MISSING_SEQ);
    }
    struct js_batch *b = find(s, id);
    int commits = read_commit(h);
    bool late = b == NULL && seq != 1; /* told of before anything else of it */
    if (!late && (commits < 0 || js_level_too_high(m->hdr, m->hdr_len))) {
        if (commits >= 0) {
            js_adv_batch(s, id.p, id.n, "unsupported");
        }
        if (b != NULL) {
            drop(s, b);
        }
        return refuse(s, m->reply,
                      commits < 0 ? API_ATOMIC_PUBLISH_INVALID_BATCH_COMMIT
                                  : API_REQUIRED_API_LEVEL);
    }
    bool gap = b != NULL && seq != b->n + 1; /* told before the size, as upstream does */
    if (b == NULL && seq == 0 && commits == 2) {
        seq = UINT64_MAX; /* the one before it; upstream's wraps */
    }
    if (!gap && seq > LIM_BATCH_MSGS_MAX + (commits == 2)) {
        return refuse_large(s, b, m->reply, "1000");
    }
    b = place(s, id, seq, commits == 2, m->reply);
    if (b == NULL) {
        return true;
    }
    if (commits != 0) {
        return commit(s, b, m, commits == 2);
    }
    size_t size = m->subject.n + m->hdr_len + m->payload_len;
    if (b->bytes + size > JS_BATCH_BYTES_MAX) {
        return refuse_large(s, b, m->reply, "67108864 bytes");
    }
    if (s->ja->js->batch_bytes + size > JS_BATCH_BYTES_ALL_MAX) {
        abandon(s, b, "large");
        return refuse(s, m->reply, API_ATOMIC_PUBLISH_TOO_MANY_INFLIGHT);
    }
    keep(s, b, m);
    if (m->reply.n > 0 && !s->no_ack) {
        js_send(s->ja, m->reply, NULL, 0, "", 0);
    }
    return true;
}
