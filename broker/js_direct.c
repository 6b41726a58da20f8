/* DIRECT.GET: one message, a batch from a sequence or time, or the last message of each of several
 * subjects; answered at once, past the queue of API requests.
 *
 * More than one message: the sequences are found first (in the index, in memory), then the messages
 * are read in a window, and sent in order; one that comes before its turn is copied. The end says
 * `204 EOB` with what is still pending. A batch ends early at max_bytes, and at DIRECT_BYTES_MAX
 * without one: the client asks again from there.
 *
 *   start -> (up_to_time) -> (start_time) -> plan -> fill <-> arrived -> end */
#include "broker/js_direct.h"

#include <stdio.h>

#include "broker/js_int.h"
#include "broker/js_level.h"
#include "engine/base/base.h"

#define DIRECT_WINDOW 64u         /* messages being read for one request */
#define DIRECT_AHEAD 256u         /* sequences of a batch that are looked up at a time */
#define DIRECT_REQUESTS_MAX 1024u /* batches under way; beyond: 429 */
#define DIRECT_BYTES_MAX ((int64_t)32 * 1024 * 1024)

/* --- bodies ----------------------------------------------------------------------------------- */

#define F(member) offsetof(struct js_get_body, member)
static const struct json_field get_fields[] = {
    {"seq", JSON_U64, F(seq), NULL, NULL},
    {"last_by_subj", JSON_STRING, F(last_by), NULL, NULL},
    {"next_by_subj", JSON_STRING, F(next_by), NULL, NULL},
    {"batch", JSON_INT, F(batch), NULL, NULL},
    {"max_bytes", JSON_INT, F(max_bytes), NULL, NULL},
    {"start_time", JSON_TIME_PTR, F(start_time_ns), NULL, NULL},
    {"multi_last", JSON_STRINGS, F(multi), NULL, NULL},
    {"up_to_seq", JSON_U64, F(up_to_seq), NULL, NULL},
    {"up_to_time", JSON_TIME, F(up_to_time_ns), NULL, NULL},
    {"no_hdr", JSON_BOOL, F(no_hdr), NULL, NULL},
};
#undef F
const struct json_schema js_get_schema = {"JSApiMsgGetRequest", "server.JSApiMsgGetRequest",
                                          get_fields, ARRAY_LEN(get_fields)};

void js_get_body_fini(struct js_get_body *b)
{
    base_free(b->last_by);
    base_free(b->next_by);
    json_strings_fini(&b->multi);
}

static bool set(const char *s)
{
    return s != NULL && s[0] != '\0';
}

bool js_get_empty(const struct js_get_body *b)
{
    return b->seq == 0 && !set(b->last_by) && !set(b->next_by) && b->multi.n == 0 &&
           b->start_time_ns == 0;
}

bool js_get_single(const struct js_get_body *b, struct store_get *g)
{
    bool last = set(b->last_by), next = set(b->next_by), timed = b->start_time_ns != 0;
    if ((last && next) || (last && b->seq != 0) || (timed && (last || b->seq != 0))) {
        return false;
    }
    *g = (struct store_get){.kind = last            ? GET_LAST_BY_SUBJ
                                    : next || timed ? GET_NEXT_BY_SUBJ
                                                    : GET_BY_SEQ,
                            .seq = b->seq,
                            .since_ns = b->start_time_ns};
    g->subject = last ? b->last_by : next ? b->next_by : NULL;
    g->subject_len = g->subject != NULL ? (uint32_t)strlen(g->subject) : 0;
    return true;
}

static bool contradicts(const struct js_get_body *b)
{
    struct store_get g;
    bool last = set(b->last_by), multi = b->multi.n > 0;
    bool by_subject = last || set(b->next_by);
    return !js_get_single(b, &g) || (b->batch != 0 && last) || (multi && by_subject) ||
           (b->up_to_seq != 0 && b->up_to_time_ns != 0);
}

/* --- one message ------------------------------------------------------------------------------ */

/* The message's own headers, then where it comes from. */
static void send_message(struct js_ctx *x, const struct msg *m, const char *more_headers)
{
    char small[1024];
    size_t keep = m->hdr_len < 12 ? 0 : m->hdr_len - 2;
    size_t need = keep + 256 + x->stream->name_len + m->subj_len + JSON_TIME_MAX;
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
                        "%llu\r\nNats-Time-Stamp: %s\r\n%s\r\n",
                        x->stream->name, (int)m->subj_len, (const char *)m->subj,
                        (unsigned long long)m->seq, time, more_headers);
    js_send(x->ja, (struct brk_str){x->reply, x->reply_len}, buf, n + (size_t)more, m->data,
            m->data_len);
    if (buf != small) {
        base_free(buf);
    }
}

static void send_bare(struct js_ctx *x, const struct msg *m)
{
    js_send(x->ja, (struct brk_str){x->reply, x->reply_len}, NULL, 0, m->data, m->data_len);
}

static void send_failure(struct js_ctx *x, enum st st, const char *not_found)
{
    char text[96];
    (void)snprintf(text, sizeof text, "500 %s", st_text(st));
    js_send_status(x->ja, (struct brk_str){x->reply, x->reply_len},
                   st == ST_NOTFOUND ? not_found : text, NULL);
}

#define NOT_FOUND "404 Message Not Found"
#define NO_RESULTS "404 No Results"
#define KIND_NO_HDR 1u

static void got_one(void *arg, enum st st, const struct msg *m)
{
    struct js_ctx *x = arg;
    if (st != ST_OK) {
        send_failure(x, st, NOT_FOUND);
    } else if ((x->kind & KIND_NO_HDR) != 0) {
        send_bare(x, m);
    } else {
        send_message(x, m, "");
    }
    js_ctx_free(x->ja->js, x);
}

static void get_one(struct js_stream *s, struct brk_str reply, const struct store_get *g,
                    bool no_hdr)
{
    struct js *js = s->ja->js;
    struct js_ctx *x = js_ctx_take(js, s->ja, s, reply);
    x->kind = no_hdr ? KIND_NO_HDR : 0;
    js->ops->get(s->ss, g, got_one, x);
}

/* --- several ---------------------------------------------------------------------------------- */

struct slot {
    struct js_direct *d; /* borrowed */
    bool arrived, found;
    struct msg m;   /* when found: points into bytes */
    uint8_t *bytes; /* owned */
};

struct js_direct {
    struct js_direct *next, *prev; /* of js->directs */
    struct js *js;
    struct js_ctx *x; /* owned: reply, stream */
    struct js_get_body b;
    uint64_t from, upto;
    uint64_t pending; /* behind what was sent last */
    uint64_t last;    /* sequence sent last */
    int64_t left;     /* of the batch; INT64_MAX: no limit */
    int64_t bytes, bytes_max;
    uint64_t *seqs; /* owned: to be read */
    size_t n, at;
    bool ended; /* answered; waits for reads under way */
    uint32_t window_head, window_n;
    struct slot window[DIRECT_WINDOW];
};

static void destroy(struct js_direct *d)
{
    if (d->prev != NULL) {
        d->prev->next = d->next;
    } else {
        d->js->directs = d->next;
    }
    if (d->next != NULL) {
        d->next->prev = d->prev;
    }
    for (size_t i = 0; i < DIRECT_WINDOW; i++) {
        base_free(d->window[i].bytes);
    }
    d->js->directs_count--;
    js_get_body_fini(&d->b);
    base_free(d->seqs);
    base_free(d);
}

void js_direct_fini(struct js *js)
{
    while (js->directs != NULL) {
        destroy(js->directs); /* their callbacks never come; contexts go with their pool */
    }
}

static bool multi(const struct js_direct *d)
{
    return d->b.multi.n > 0;
}

/* The answer is complete. The request goes when nothing is being read for it any more. */
static void end(struct js_direct *d)
{
    if (!d->ended) {
        d->ended = true;
        js_ctx_free(d->js, d->x);
        d->x = NULL;
    }
    if (d->window_n == 0) {
        destroy(d);
    }
}

static void end_status(struct js_direct *d, const char *status)
{
    js_send_status(d->x->ja, (struct brk_str){d->x->reply, d->x->reply_len}, status, NULL);
    end(d);
}

static void end_batch(struct js_direct *d)
{
    char text[160];
    int n = snprintf(text, sizeof text, "Nats-Num-Pending: %llu\r\nNats-Last-Sequence: %llu\r\n",
                     (unsigned long long)d->pending, (unsigned long long)d->last);
    if (multi(d)) {
        (void)snprintf(text + n, sizeof text - (size_t)n, "Nats-UpTo-Sequence: %llu\r\n",
                       (unsigned long long)d->upto);
    }
    js_send_status(d->x->ja, (struct brk_str){d->x->reply, d->x->reply_len}, "204 EOB", text);
    end(d);
}

static void send_next(struct js_direct *d, const struct msg *m)
{
    if (d->b.no_hdr && !multi(d)) {
        send_bare(d->x, m);
    } else {
        char text[96];
        d->pending -= d->pending > 0;
        (void)snprintf(text, sizeof text, "Nats-Num-Pending: %llu\r\nNats-Last-Sequence: %llu\r\n",
                       (unsigned long long)d->pending, (unsigned long long)d->last);
        send_message(d->x, m, text);
    }
    d->last = m->seq;
    d->bytes += (int64_t)m->subj_len + m->hdr_len + m->data_len;
}

static void keep(struct slot *t, const struct msg *m)
{
    size_t n = (size_t)m->subj_len + m->hdr_len + m->data_len;
    t->bytes = base_malloc(n + 1);
    t->m = *m;
    memcpy(t->bytes, m->subj, m->subj_len);
    if (m->hdr_len > 0) {
        memcpy(t->bytes + m->subj_len, m->hdr, m->hdr_len);
    }
    if (m->data_len > 0) {
        memcpy(t->bytes + m->subj_len + m->hdr_len, m->data, m->data_len);
    }
    t->m.subj = t->bytes;
    t->m.hdr = t->bytes + m->subj_len;
    t->m.data = t->m.hdr + m->hdr_len;
}

/* Takes what has arrived from the front; `now` is the message of the slot that just did. */
static void drain(struct js_direct *d, struct slot *fresh, const struct msg *now)
{
    while (d->window_n > 0) {
        struct slot *t = &d->window[d->window_head];
        if (!t->arrived) {
            break;
        }
        if (t->found && !d->ended && d->bytes < d->bytes_max) {
            send_next(d, t == fresh ? now : &t->m);
        } else if (!t->found) {
            d->pending -= d->pending > 0; /* it went away meanwhile */
        }
        base_free(t->bytes);
        *t = (struct slot){0};
        d->window_head = (d->window_head + 1) % DIRECT_WINDOW;
        d->window_n--;
    }
    if (fresh->arrived && fresh->found && fresh->bytes == NULL) {
        keep(fresh, now); /* not its turn yet */
    }
}

static void fill(struct js_direct *d);

static void arrived(void *arg, enum st st, const struct msg *m)
{
    struct slot *t = arg;
    struct js_direct *d = t->d;
    t->arrived = true;
    t->found = st == ST_OK;
    drain(d, t, m);
    if (d->ended) {
        end(d);
    } else if (st != ST_OK && st != ST_NOTFOUND && st != ST_CORRUPT) {
        send_failure(d->x, st, NOT_FOUND);
        end(d);
    } else {
        fill(d);
    }
}

/* More sequences of a batch; false: there are none. */
static bool look_ahead(struct js_direct *d)
{
    if (multi(d) || d->x->stream->gone || d->left <= 0) {
        return false;
    }
    const char *filter = set(d->b.next_by) ? d->b.next_by : "";
    if (d->seqs == NULL) {
        d->seqs = base_malloc(DIRECT_AHEAD * sizeof *d->seqs);
    }
    size_t want = d->left < DIRECT_AHEAD ? (size_t)d->left : DIRECT_AHEAD;
    d->at = 0;
    d->n = d->js->ops->stream_seqs(d->x->stream->ss, filter, (uint32_t)strlen(filter), d->from,
                                   d->seqs, want);
    d->left -= (int64_t)d->n;
    if (d->n > 0) {
        d->from = d->seqs[d->n - 1] + 1;
    }
    return d->n > 0;
}

static void fill(struct js_direct *d)
{
    bool full = d->bytes >= d->bytes_max;
    while (!full && d->window_n < DIRECT_WINDOW && !d->x->stream->gone &&
           (d->at < d->n || look_ahead(d))) {
        struct slot *t = &d->window[(d->window_head + d->window_n++) % DIRECT_WINDOW];
        struct store_get g = {.kind = GET_BY_SEQ, .seq = d->seqs[d->at++]};
        *t = (struct slot){.d = d};
        d->js->ops->get(d->x->stream->ss, &g, arrived, t);
    }
    if (full || d->window_n == 0) {
        end_batch(d);
    }
}

static void plan_multi(struct js_direct *d)
{
    struct store_stream *ss = d->x->stream->ss;
    struct stream_state st;
    size_t skip = 0, n;
    d->js->ops->stream_state(ss, &st);
    d->upto = d->upto != 0 ? d->upto : st.last_seq;
    bool memory = d->js->ops->stream_cfg(ss)->storage == STORAGE_MEMORY;
    if (d->upto > st.last_seq && !memory) { /* upstream's two stores differ in this */
        end_status(d, NO_RESULTS);
        return;
    }
    d->seqs = base_malloc(LIM_MULTI_LAST_SUBJECTS_MAX * sizeof *d->seqs);
    n = d->js->ops->stream_lasts(ss, d->b.multi.v, d->b.multi.n, d->upto, d->seqs,
                                 LIM_MULTI_LAST_SUBJECTS_MAX);
    if (n > LIM_MULTI_LAST_SUBJECTS_MAX) {
        end_status(d, "413 Too Many Results");
        return;
    }
    while (skip < n && d->seqs[skip] < d->from) {
        skip++;
    }
    d->at = skip;
    d->pending = n - skip;
    bool limit = d->left > 0; /* as upstream: less than nothing limits nothing here */
    d->n = limit && d->left < (int64_t)(n - skip) ? skip + (size_t)d->left : n;
    if (n == 0) {
        end_status(d, NO_RESULTS);
    } else if (d->pending == 0) {
        end_batch(d); /* all of them below the sequence asked for */
    } else {
        fill(d);
    }
}

/* A batch of less than none is at its end, whatever there is. */
static void found_none(struct js_direct *d)
{
    if (d->left < 0) {
        end_batch(d);
    } else {
        end_status(d, NOT_FOUND);
    }
}

static void plan(struct js_direct *d)
{
    if (d->x->stream->gone) {
        end_status(d, NOT_FOUND);
        return;
    }
    if (multi(d)) {
        plan_multi(d);
        return;
    }
    const char *filter = set(d->b.next_by) ? d->b.next_by : "";
    d->from = d->from != 0 ? d->from : 1;
    d->pending =
        d->js->ops->stream_count_from(d->x->stream->ss, filter, (uint32_t)strlen(filter), d->from);
    if (d->pending == 0) {
        found_none(d);
        return;
    }
    fill(d);
}

static void got_start(void *arg, enum st st, const struct msg *m)
{
    struct js_direct *d = arg;
    if (st == ST_NOTFOUND && !multi(d)) {
        found_none(d);
        return;
    }
    if (st != ST_OK) {
        send_failure(d->x, st, NO_RESULTS);
        end(d);
        return;
    }
    d->from = m->seq;
    plan(d);
}

static void find_start(struct js_direct *d)
{
    if (d->b.start_time_ns == 0 || d->x->stream->gone) {
        plan(d);
        return;
    }
    struct store_get g = {.kind = GET_NEXT_BY_SUBJ, .since_ns = d->b.start_time_ns};
    d->js->ops->get(d->x->stream->ss, &g, got_start, d);
}

static void got_upto(void *arg, enum st st, const struct msg *m)
{
    struct js_direct *d = arg;
    if (st == ST_OK && m->seq > 1) {
        d->upto = m->seq - 1;
    } else if (st == ST_OK) {
        end_status(d, NO_RESULTS);
        return;
    } /* else there is nothing behind that time: up to the last */
    find_start(d);
}

static void get_several(struct js_stream *s, struct brk_str reply, struct js_get_body *b)
{
    struct js *js = s->ja->js;
    if (js->directs_count >= DIRECT_REQUESTS_MAX) {
        js_send_status(s->ja, reply, "429 Too Many Requests", NULL);
        return;
    }
    struct js_direct *d = base_calloc(1, sizeof *d);
    d->js = js;
    d->x = js_ctx_take(js, s->ja, s, reply);
    d->b = *b;
    *b = (struct js_get_body){0};
    d->from = d->b.seq;
    d->upto = d->b.up_to_seq;
    d->left = d->b.batch != 0 ? d->b.batch : INT64_MAX;
    bool limit = d->b.max_bytes != 0 && d->b.max_bytes < DIRECT_BYTES_MAX;
    d->bytes_max = !limit ? DIRECT_BYTES_MAX : d->b.max_bytes > 0 ? d->b.max_bytes : 1;
    d->next = js->directs;
    if (js->directs != NULL) {
        js->directs->prev = d;
    }
    js->directs = d;
    js->directs_count++;
    if (multi(d) && d->b.up_to_time_ns != 0) {
        struct store_get g = {.kind = GET_NEXT_BY_SUBJ, .since_ns = d->b.up_to_time_ns};
        js->ops->get(s->ss, &g, got_upto, d);
    } else {
        find_start(d);
    }
}

/* --- requests --------------------------------------------------------------------------------- */

static void direct_body(struct js_stream *s, const struct brk_msg *msg, struct brk_str subject)
{
    struct json_in doc = {0};
    struct json_decode d = {0};
    struct js_get_body b = {0};
    struct store_get g;
    const char *refusal = NULL;
    enum st st = ST_OK;
    if (msg->payload_len > 0) {
        st = json_in_parse(&doc, msg->payload, msg->payload_len, NULL);
        st = st == ST_OK ? json_in_decode(&d, doc.root, &js_get_schema, &b, NULL) : st;
        json_in_fini(&doc);
    }
    bool twice = subject.n > 0 && (set(b.last_by) || b.up_to_seq != 0 || b.up_to_time_ns != 0);
    if (subject.n > 0) {
        base_free(b.last_by);
        b.last_by = base_strndup(subject.p, subject.n);
    }
    if (st != ST_OK) {
        refusal = "408 Malformed Request";
    } else if (js_get_empty(&b)) {
        refusal = "408 Empty Request";
    } else if (twice || contradicts(&b)) {
        refusal = "408 Bad Request";
    } else if (b.batch != 0 || b.multi.n > 0) {
        get_several(s, msg->reply, &b);
    } else if (js_get_single(&b, &g)) {
        get_one(s, msg->reply, &g, b.no_hdr);
    }
    if (refusal != NULL) {
        js_send_status(s->ja, msg->reply, refusal, NULL);
    }
    js_get_body_fini(&b);
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
    struct brk_str subject = {0};
    if (msg->subject.n > head + 1) {
        subject = (struct brk_str){msg->subject.p + head + 1, msg->subject.n - head - 1};
    }
    if (subject.n > 0 && msg->payload_len == 0) { /* the path of key-value reads */
        struct store_get g = {
            .kind = GET_LAST_BY_SUBJ, .subject = subject.p, .subject_len = (uint32_t)subject.n};
        get_one(s, msg->reply, &g, false);
        return;
    }
    direct_body(s, msg, subject);
}
