/* Fast-ingest batch publish (ADR-50): messages are stored as they come; the reply subject says
 * where they stand in a batch, and the server answers only every so many of them:
 *
 *   <prefix>.<id>.<flow>.<ok|fail>.<sequence>.<operation>.$FI
 *
 * A batch starts with an ack after every message (with the client's flow when it is the stream's
 * only one) and doubles up to the client's flow; while publishes wait for the journal it halves.
 * Acks leave when the message is durable. Loop thread. */
#include "broker/js_int.h"

#include <stdio.h>

#include "broker/js_level.h"
#include "engine/base/base.h"

enum fast_op { FAST_START = 0, FAST_APPEND = 1, FAST_COMMIT = 2, FAST_EOB = 3, FAST_PING = 4 };

struct js_fast {
    struct htab_node by_id;       /* in its stream, while open */
    struct js_fast *prev, *next;  /* of the server, until freed */
    struct js_stream *stream;     /* borrowed while open; callbacks hold their own count */
    uint32_t refs;                /* callbacks on their way, 1 while open */
    bool open, gaps_ok, failed;   /* failed: its error has been told */
    uint64_t n;                   /* highest sequence taken */
    uint64_t persisted, last_seq; /* highest one stored, and its sequence in the stream */
    uint64_t last_ack;
    uint32_t flow, flow_max;
    int64_t last_ms;
    size_t id_len;
    char id[LIM_BATCH_ID_BYTES_MAX];
};

struct fast_reply {
    struct brk_str id;
    uint32_t flow;
    bool gaps_ok;
    uint64_t seq;
    enum fast_op op;
};

/* What a callback needs; copied behind the reply of its context. */
struct fast_ctx {
    struct js_fast *b;
    uint64_t seq;
    bool commits;
    uint8_t value_len;
    enum api_err late; /* why the store was asked to refuse it, and the value that was wrong */
    char value[128];
};

/* --- the reply subject ------------------------------------------------------------------------ */

bool js_fast_is(struct brk_str reply)
{
    return reply.n > 4 && memcmp(reply.p + reply.n - 4, ".$FI", 4) == 0;
}

/* Takes the last token of *s; false: there is no other before it. */
static bool last_token(struct brk_str *s, struct brk_str *out)
{
    for (size_t i = s->n; i-- > 0;) {
        if (s->p[i] == '.') {
            *out = (struct brk_str){s->p + i + 1, s->n - i - 1};
            s->n = i;
            return true;
        }
    }
    return false;
}

static bool parse(struct brk_str reply, struct fast_reply *f)
{
    struct brk_str s = {reply.p, reply.n - 4}, op, seq, gap, flow;
    uint64_t v;
    if (!last_token(&s, &op) || !last_token(&s, &seq) || !last_token(&s, &gap) ||
        !last_token(&s, &flow) || !last_token(&s, &f->id) || s.n == 0 || f->id.n == 0) {
        return false;
    }
    if (op.n != 1 || op.p[0] < '0' || op.p[0] > '4' || !js_parse_u64(seq, &f->seq) || f->seq == 0) {
        return false;
    }
    f->op = (enum fast_op)(op.p[0] - '0');
    f->gaps_ok = js_str_eq(gap, "ok", 2);
    f->flow = js_parse_u64(flow, &v) && v > 0 ? (uint32_t)(v < UINT16_MAX ? v : UINT16_MAX)
                                              : JS_FAST_FLOW_DEFAULT;
    if (!f->gaps_ok && !js_str_eq(gap, "fail", 4)) {
        return false;
    }
    return f->seq == 1 ? f->op != FAST_APPEND && f->op != FAST_EOB : f->op != FAST_START;
}

/* --- batches ---------------------------------------------------------------------------------- */

static struct js_fast *find(const struct js_stream *s, struct brk_str id)
{
    uint64_t h = js_name_hash(id.p, id.n);
    for (struct htab_node *n = htab_chain(&s->fasts, h); n != NULL; n = n->next) {
        struct js_fast *b = CONTAINER_OF(n, struct js_fast, by_id);
        if (n->hash == h && js_str_eq(id, b->id, b->id_len)) {
            return b;
        }
    }
    return NULL;
}

static void unref(struct js *js, struct js_fast *b)
{
    if (--b->refs > 0) {
        return;
    }
    *(b->prev != NULL ? &b->prev->next : &js->fasts) = b->next;
    if (b->next != NULL) {
        b->next->prev = b->prev;
    }
    base_free(b);
}

static void close_batch(struct js *js, struct js_fast *b)
{
    if (b->open) {
        b->open = false;
        htab_del(&b->stream->fasts, &b->by_id);
        js->fast_count--;
        unref(js, b);
    }
}

void js_fast_drop_all(struct js_stream *s)
{
    struct htab_node *n;
    while ((n = htab_first(&s->fasts)) != NULL) {
        close_batch(s->ja->js, CONTAINER_OF(n, struct js_fast, by_id));
    }
    brk_timer_destroy(s->fast_timer);
    s->fast_timer = NULL;
}

void js_fast_fini(struct js *js)
{
    while (js->fasts != NULL) {
        struct js_fast *b = js->fasts;
        js->fasts = b->next;
        base_free(b);
    }
}

/* Looks now and then; a batch that rests is let go without a word. */
static void timeout(void *arg)
{
    struct js_stream *s = arg;
    int64_t now = js_now_ms(s->ja->js);
    for (struct htab_node *n = htab_first(&s->fasts), *next; n != NULL; n = next) {
        struct js_fast *b = CONTAINER_OF(n, struct js_fast, by_id);
        next = htab_next(&s->fasts, n);
        if (now - b->last_ms >= LIM_BATCH_IDLE_MS_MAX) {
            close_batch(s->ja->js, b);
            next = htab_first(&s->fasts); /* the table may have moved */
        }
    }
    if (s->fasts.count > 0) {
        brk_timer_start(s->fast_timer, LIM_BATCH_IDLE_MS_MAX / 10, 0);
    }
}

static struct js_fast *open_batch(struct js_stream *s, const struct fast_reply *f)
{
    struct js *js = s->ja->js;
    struct js_fast *b = base_calloc(1, sizeof *b);
    b->stream = s;
    b->open = true;
    b->refs = 1;
    b->gaps_ok = f->gaps_ok;
    b->flow_max = f->flow;
    b->flow = s->fasts.count == 0 ? f->flow : 1;
    b->last_ms = js_now_ms(js);
    memcpy(b->id, f->id.p, f->id.n);
    b->id_len = f->id.n;
    b->next = js->fasts;
    if (b->next != NULL) {
        b->next->prev = b;
    }
    js->fasts = b;
    js->fast_count++;
    htab_add(&s->fasts, &b->by_id, js_name_hash(b->id, b->id_len));
    if (s->fast_timer == NULL) {
        s->fast_timer = brk_timer_create(js->d.loop, timeout, s);
    }
    if (!brk_timer_active(s->fast_timer)) {
        brk_timer_start(s->fast_timer, LIM_BATCH_IDLE_MS_MAX / 10, 0);
    }
    return b;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void say(struct js_stream *s, struct brk_str reply, const char *text, int len)
{
    if (!s->no_ack) {
        js_send(s->ja, reply, NULL, 0, text, (size_t)len);
    }
}

static void say_ack(struct js_stream *s, struct brk_str reply, const struct js_fast *b)
{
    char text[96];
    say(s, reply, text,
        snprintf(text, sizeof text, "{\"type\":\"ack\",\"seq\":%llu,\"msgs\":%u}",
                 (unsigned long long)b->last_ack, (unsigned)b->flow));
}

static void say_gap(struct js_stream *s, struct brk_str reply, uint64_t expected, uint64_t got)
{
    char text[96];
    say(s, reply, text,
        snprintf(text, sizeof text, "{\"type\":\"gap\",\"last_seq\":%llu,\"seq\":%llu}",
                 (unsigned long long)expected, (unsigned long long)got));
}

static void say_error(struct js_stream *s, struct brk_str reply, uint64_t seq,
                      const struct api_error *e)
{
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_str(&j, "type", "err");
    json_out_u64(&j, "seq", seq);
    api_error_put(&j, e);
    json_out_end(&j);
    say(s, reply, j.buf, (int)j.len);
    json_out_fini(&j);
}

static void say_end(struct js_stream *s, struct brk_str reply, const struct js_fast *b)
{
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_strn(&j, "stream", s->name, s->name_len);
    js_domain_put(s->ja->js, &j);
    json_out_u64(&j, "seq", b->last_seq);
    json_out_strn(&j, "batch", b->id, b->id_len);
    json_out_u64(&j, "count", b->persisted);
    json_out_end(&j);
    say(s, reply, j.buf, (int)j.len);
    json_out_fini(&j);
}

static struct js_ctx *ctx_make(struct js_stream *s, struct brk_str reply, struct js_fast *b,
                               uint64_t seq, bool commits, const struct js_late *late)
{
    struct fast_ctx f = {.b = b, .seq = seq, .commits = commits};
    if (late != NULL) {
        f.late = late->id;
        f.value_len = (uint8_t)u64_min(late->value.n, sizeof f.value);
        memcpy(f.value, late->value.p != NULL ? late->value.p : "", f.value_len);
    }
    b->refs++;
    size_t n = offsetof(struct fast_ctx, value) + f.value_len;
    return js_ctx_take2(s->ja->js, s->ja, s, reply, (struct brk_str){(const char *)&f, n});
}

static struct fast_ctx ctx_get(const struct js_ctx *c)
{
    struct fast_ctx f;
    memcpy(&f, c->reply + c->reply_len, c->extra_len);
    return f;
}

static void ctx_done(struct js_ctx *c, struct js_fast *b)
{
    struct js *js = c->ja->js;
    js_ctx_free(js, c);
    unref(js, b);
}

/* An error of one message: told at once, and the batch's end where gaps are not allowed. */
static void failed(struct js_stream *s, struct brk_str reply, struct js_fast *b, uint64_t seq,
                   bool commits, const struct api_error *e)
{
    if (b->failed) {
        return;
    }
    if (!b->gaps_ok && b->persisted == 0 && seq == 1) {
        b->failed = true;
        js_pub_error(s, reply, e);
        return;
    }
    say_error(s, reply, seq, e);
    if (!b->gaps_ok || commits) {
        b->failed = !b->gaps_ok;
        say_end(s, reply, b);
    }
}

static void appended(void *arg, const struct store_append_result *r)
{
    struct js_ctx *c = arg;
    struct fast_ctx f = ctx_get(c);
    struct js_fast *b = f.b;
    struct js_stream *s = c->stream;
    struct brk_str reply = {c->reply, c->reply_len};
    bool duplicate = r->verdict == APPEND_DUPLICATE;
    if (r->verdict == APPEND_WRONG_LAST_MSGID && !b->failed) {
        js_pub_verdict(s, reply, r); /* as of a single one, and the batch stays open */
        ctx_done(c, b);
        return;
    }
    if (r->verdict != APPEND_STORED && !duplicate) {
        struct api_error e;
        s->ja->js->error_sink = &e;
        if (r->verdict == APPEND_REFUSED) {
            js_pub_late_error(&e, f.late, (struct brk_str){f.value, f.value_len});
        } else {
            js_pub_verdict(s, reply, r);
        }
        s->ja->js->error_sink = NULL;
        failed(s, reply, b, f.seq, f.commits, &e);
        ctx_done(c, b);
        return;
    }
    b->persisted = f.seq > b->persisted ? f.seq : b->persisted;
    b->last_seq = duplicate ? b->last_seq : r->seq;
    if (f.seq >= b->last_ack + b->flow && (!f.commits || duplicate)) {
        b->last_ack = f.seq;
        b->flow = s->ja->js->held_first != NULL ? (b->flow + 1) / 2
                  : b->flow * 2 < b->flow_max   ? b->flow * 2
                                                : b->flow_max;
        say_ack(s, reply, b);
    }
    if (f.commits) {
        say_end(s, reply, b);
    }
    ctx_done(c, b);
}

static void ended(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_ctx *c = arg;
    struct fast_ctx f = ctx_get(c);
    (void)n;
    (void)err;
    if (st == ST_OK && !f.b->failed) {
        f.b->persisted = f.b->gaps_ok ? f.seq : f.b->persisted; /* as upstream counts them */
        say_end(c->stream, (struct brk_str){c->reply, c->reply_len}, f.b);
    }
    ctx_done(c, f.b);
}

/* Ends it without another message: the answer comes when what it has is durable. */
static bool end(struct js_stream *s, struct brk_str reply, struct js_fast *b)
{
    struct js *js = s->ja->js;
    js->ops->stream_barrier(s->ss, ended, ctx_make(s, reply, b, b->n, true, NULL));
    close_batch(js, b);
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

/* What the message asks for. False: a counter is being read from disk. */
static bool prepare(struct js_stream *s, const struct brk_msg *m, struct store_append *a,
                    struct js_late *late)
{
    struct js_headers h = {0};
    struct api_error e;
    js_headers_read(&h, m->hdr, m->hdr_len);
    (void)js_pub_read_headers(s, &h, a, m->reply, late);
    if (!s->counter || (late->stage != REFUSE_NOT && late->stage <= REFUSE_BATCH_IDS)) {
        return true;
    }
    s->ja->js->error_sink = &e; /* it is told when nothing before it is wrong */
    enum js_counter r = js_counter_apply(s, &h, NULL, false, a, m->reply);
    s->ja->js->error_sink = NULL;
    if (r == JS_COUNTER_REFUSED) {
        js_pub_late_note(late, REFUSE_BATCH_IDS, API_MESSAGE_COUNTER_BROKEN);
        a->refuse = late->stage;
    }
    return r != JS_COUNTER_AGAIN;
}

/* False: the journal window is full, nothing was changed. */
static bool store(struct js_stream *s, const struct brk_msg *m, const struct fast_reply *f,
                  struct js_fast *b, bool fresh)
{
    struct js *js = s->ja->js;
    struct store_append a = js_pub_append_of(m);
    struct js_late late = {.batch = true};
    enum append_verdict verdict = APPEND_STORED;
    bool commits = f->op == FAST_COMMIT;
    if (!prepare(s, m, &a, &late)) {
        return false;
    }
    a.batch_order = true;
    a.verdict_now = &verdict;
    struct js_ctx *c =
        ctx_make(s, m->reply, b, f->seq, commits, late.stage != REFUSE_NOT ? &late : NULL);
    enum st st = js->ops->append(s->ss, &a, appended, c);
    if (st != ST_OK) {
        ctx_done(c, b);
        return false;
    }
    if ((a.flags & MSG_SCHED) != 0) {
        js_sched_note(s, &a);
    }
    uint64_t expected = b->n + 1;
    b->n = f->seq;
    b->last_ms = js_now_ms(js);
    if (fresh && f->op == FAST_START) {
        say_ack(s, m->reply, b);
    }
    if (f->seq > expected) {
        say_gap(s, m->reply, expected, f->seq);
    }
    bool good = verdict == APPEND_STORED || verdict == APPEND_DUPLICATE;
    if (verdict != APPEND_WRONG_LAST_MSGID && (commits || (!good && !b->gaps_ok))) {
        close_batch(js, b);
    }
    return true;
}

static bool ping(struct js_stream *s, struct brk_str reply, const struct fast_reply *f,
                 struct js_fast *b)
{
    b->last_ms = js_now_ms(s->ja->js);
    if (f->seq > b->n) {
        say_gap(s, reply, b->n + 1, f->seq + 1);
        if (!b->gaps_ok) {
            return end(s, reply, b);
        }
        b->n = f->seq;
    }
    say_ack(s, reply, b);
    return true;
}

static bool known(struct js_stream *s, const struct brk_msg *m, const struct fast_reply *f,
                  struct js_fast *b)
{
    if (f->op == FAST_PING) {
        return ping(s, m->reply, f, b);
    }
    if (f->seq <= b->n) {
        return end(s, m->reply, b);
    }
    if (f->seq > b->n + 1 && !b->gaps_ok) {
        say_gap(s, m->reply, b->n + 1, f->seq);
        return end(s, m->reply, b);
    }
    if (f->op == FAST_EOB) {
        if (f->seq > b->n + 1) {
            say_gap(s, m->reply, b->n + 1, f->seq);
        }
        return end(s, m->reply, b);
    }
    return store(s, m, f, b, false);
}

bool js_fast_publish(struct js_stream *s, const struct brk_msg *m)
{
    struct js *js = s->ja->js;
    const struct stream_cfg *cfg = js->ops->stream_cfg(s->ss);
    struct fast_reply f;
    if (!cfg->allow_batched) {
        return refuse(s, m->reply, API_BATCH_PUBLISH_DISABLED);
    }
    if (!parse(m->reply, &f)) {
        return refuse(s, m->reply, API_BATCH_PUBLISH_INVALID_PATTERN);
    }
    if (f.id.n > LIM_BATCH_ID_BYTES_MAX) {
        return refuse(s, m->reply, API_BATCH_PUBLISH_INVALID_BATCH_ID);
    }
    if (js_level_too_high(m->hdr, m->hdr_len)) {
        return refuse(s, m->reply, API_REQUIRED_API_LEVEL);
    }
    if (cfg->max_msg_size >= 0 && m->hdr_len + m->payload_len > (size_t)cfg->max_msg_size) {
        return refuse(s, m->reply, API_STREAM_MESSAGE_EXCEEDS_MAXIMUM);
    }
    struct js_fast *b = find(s, f.id);
    if (b != NULL) {
        return known(s, m, &f, b);
    }
    if (f.seq != 1) {
        return refuse(s, m->reply, API_BATCH_PUBLISH_UNKNOWN_BATCH_ID);
    }
    if (s->fasts.count >= JS_FAST_STREAM_MAX || js->fast_count >= JS_FAST_SERVER_MAX) {
        return refuse(s, m->reply, API_BATCH_PUBLISH_TOO_MANY_INFLIGHT);
    }
    b = open_batch(s, &f);
    if (f.op == FAST_PING) { /* as upstream has it: a batch whose first message was lost */
        return ping(s, m->reply, &f, b);
    }
    if (store(s, m, &f, b, true)) {
        return true;
    }
    close_batch(js, b);
    return false;
}
