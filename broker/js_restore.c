/* STREAM.RESTORE: a stream out of a snapshot in nats-server's format (broker/snap_fmt.h).
 *
 *   request -> import made -> answer with a subject -> chunks, each acknowledged -> empty message
 *   -> what was deleted, the last sequence, consumers -> the stream gets its name -> answer
 *
 * Until the last step the stream is an import (engine/store_snap.h) that nobody sees: whatever
 * fails, nothing stands half restored, and a crash leaves nothing. Chunks wait in a bounded queue
 * and are read a frame at a time, in slices; the next is not acknowledged before the one in front
 * of it was read, so a client is held back by the journal. */
#include <json-c/json.h>

#include "broker/js_int.h"
#include "broker/snap_in.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/log.h"

#include <stdio.h>

#define RESTORES_MAX 32u                     /* at a time, of all accounts; beyond: 10023 */
#define QUEUE_MAX ((size_t)64 * 1024 * 1024) /* bytes of chunks that wait; beyond: it fails */
#define APPENDS_MAX 8192u                    /* messages that wait for the journal */
#define REMOVALS_MAX 1024u                   /* of tombstones in one slice */
#define IDLE_MS (120 * 1000)                 /* without a chunk: given up */
#define RETRY_MS 5                           /* the journal's window is full */

struct chunk {
    struct chunk *next;
    size_t len, at;
    size_t reply_len;
    uint8_t bytes[]; /* reply, then what came */
};

struct js_restore {
    struct js_restore *next;
    struct js_account *ja;
    struct js_req *req; /* not answered yet */
    struct js_stream_req q;
    struct snap_in in;
    struct store_stream *ss; /* the import; NULL before and after */
    char *stream, *client;   /* owned */
    char id[23];
    int64_t begun_ns, created_ns;
    uint64_t bytes;
    struct brk_sub *sub;     /* owned */
    struct brk_timer *timer; /* owned: idle, or the journal's window */
    struct brk_slice *slice; /* owned */
    struct chunk *first, *last;
    size_t queued;
    uint32_t pending;        /* store callbacks under way */
    size_t cons_at, gone_at; /* what is done of in.cons, in.gone */
    bool ending, failed, full, stopped;
    enum api_err taken; /* a stream that was made meanwhile stands in the way; or API_OK */
    enum append_verdict refused;
    char why[400];
};

struct restore_body {
    char *config; /* owned: the text of `config` */
    char *state;  /* owned, not looked at */
};

static enum st get_text(void *base, size_t offset, struct json_object *v, struct err *err)
{
    char **to = (char **)(void *)((char *)base + offset);
    (void)err;
    base_free(*to);
    *to = base_strdup(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN));
    return ST_OK;
}

static const struct json_field body_fields[] = {
    {"config", JSON_CUSTOM, offsetof(struct restore_body, config), get_text, NULL},
    {"state", JSON_CUSTOM, offsetof(struct restore_body, state), get_text, NULL},
};
static const struct json_schema body_schema = {"JSApiStreamRestoreRequest",
                                               "server.JSApiStreamRestoreRequest", body_fields,
                                               ARRAY_LEN(body_fields)};

/* What a meta.inf says beside the config. */
struct meta {
    char *name, *consumer; /* owned */
    int64_t created_ns;
};
static const struct json_field meta_fields[] = {
    {"name", JSON_STRING, offsetof(struct meta, name), NULL, NULL},
    {"Name", JSON_STRING, offsetof(struct meta, consumer), NULL, NULL},
    {"Created", JSON_TIME, offsetof(struct meta, created_ns), NULL, NULL},
};
static const struct json_schema meta_schema = {"FileStreamInfo", "server.FileStreamInfo",
                                               meta_fields, ARRAY_LEN(meta_fields)};

static enum st read_meta(struct meta *m, const void *p, size_t n, struct err *err)
{
    struct json_in in = {0};
    struct json_decode d = {0};
    *m = (struct meta){0};
    enum st st = json_in_parse(&in, p, n, err);
    if (st == ST_OK && in.root != NULL) {
        st = json_in_decode(&d, in.root, &meta_schema, m, err);
    }
    json_in_fini(&in);
    return st;
}

static void meta_fini(struct meta *m)
{
    base_free(m->name);
    base_free(m->consumer);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void chunk_pop(struct js_restore *s)
{
    struct chunk *c = s->first;
    s->first = c->next;
    s->last = s->first != NULL ? s->last : NULL;
    s->queued -= c->len;
    base_free(c);
}

static void destroy(struct js_restore *s)
{
    struct js *js = s->ja->js;
    for (struct js_restore **p = &js->restores; *p != NULL; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;
            js->restores_count--;
            break;
        }
    }
    while (s->first != NULL) {
        chunk_pop(s);
    }
    brk_isub_destroy(s->sub);
    brk_timer_destroy(s->timer);
    brk_slice_destroy(s->slice);
    snap_in_fini(&s->in);
    js_stream_req_fini(&s->q);
    base_free(s->stream);
    base_free(s->client);
    base_free(s);
}

static struct brk_str reply_of(const struct chunk *c)
{
    return (struct brk_str){(const char *)c->bytes, c->reply_len};
}

static void answer_error(struct js_restore *s)
{
    struct api_error e;
    struct json_out j = {0};
    if (s->taken != API_OK) {
        api_error_set(&e, s->taken);
    } else {
        api_error_set2(&e, API_STREAM_RESTORE, s->why, NULL);
    }
    json_out_begin(&j);
    json_out_str(&j, "type", "io.nats.jetstream.api.v1.stream_create_response");
    api_error_put(&j, &e);
    json_out_end(&j);
    for (const struct chunk *c = s->first; c != NULL; c = c->next) {
        js_send(s->ja, reply_of(c), NULL, 0, j.buf, j.len);
    }
    json_out_fini(&j);
}

static void dropped(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)st, (void)n, (void)err;
    destroy(arg);
}

/* Nothing of it stays. Called again as long as the store has something of it under way. */
static void give_up(struct js_restore *s)
{
    if (s->pending > 0 || s->stopped) {
        return;
    }
    if (s->ss != NULL) {
        struct store_stream *ss = s->ss;
        s->ss = NULL;
        s->pending++;
        s->ja->js->ops->stream_delete(s->ja->js->store, ss, dropped, s);
    } else {
        destroy(s);
    }
}

static void fail(struct js_restore *s, const char *why)
{
    if (!s->failed) {
        s->failed = true;
        (void)snprintf(s->why, sizeof s->why, "%s", why);
        log_wrn("Restore failed for %llu bytes for stream '%s > %s': %s",
                (unsigned long long)s->bytes, s->ja->acc->name, s->stream, why);
        answer_error(s);
        brk_isub_destroy(s->sub);
        s->sub = NULL;
        while (s->first != NULL) {
            chunk_pop(s);
        }
    }
    give_up(s);
}

static void due(void *arg)
{
    struct js_restore *s = arg;
    if (s->full) {
        s->full = false;
        brk_timer_start(s->timer, IDLE_MS, 0);
        brk_slice_kick(s->slice);
    } else if (s->first == NULL && s->pending == 0 && !s->ending) {
        fail(s, "no chunk came for two minutes");
    } else {
        brk_timer_start(s->timer, IDLE_MS, 0);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

static void proceed(struct js_restore *s);
static bool remove_some(struct js_restore *s);

static void on_append(void *arg, const struct store_append_result *r)
{
    struct js_restore *s = arg;
    s->pending--;
    if (r->verdict != APPEND_STORED) {
        s->refused = r->verdict;
    }
    if (s->stopped) {
        return;
    }
    if (s->failed) {
        give_up(s);
    } else if (s->ending && s->pending == 0) {
        proceed(s);
    } else if (s->pending == APPENDS_MAX / 2) {
        brk_slice_kick(s->slice);
    }
}

static enum st one_msg(void *arg, const struct msg *m, struct err *err)
{
    struct js_restore *s = arg;
    struct brk_str v;
    if (s->pending >= APPENDS_MAX) {
        return ST_FULL;
    }
    struct store_append a = {.subject = (const char *)m->subj,
                             .subject_len = m->subj_len,
                             .hdr = m->hdr,
                             .hdr_len = m->hdr_len,
                             .data = m->data,
                             .data_len = m->data_len,
                             .at_seq = m->seq,
                             .at_time_ns = m->ts_ns};
    if (m->hdr_len > 0 && js_header_find(m->hdr, m->hdr_len, "Nats-Msg-Id", &v) && v.n > 0) {
        a.msg_id = v.p;
        a.msg_id_len = (uint32_t)v.n;
    }
    if (m->hdr_len > 0 && s->q.cfg.allow_msg_ttl &&
        js_header_find(m->hdr, m->hdr_len, "Nats-TTL", &v)) {
        a.flags |= MSG_TTL;
    }
    if (m->hdr_len > 0 && s->q.cfg.allow_msg_schedules &&
        js_header_find(m->hdr, m->hdr_len, "Nats-Schedule", &v) && v.n > 0) {
        a.flags |= MSG_SCHED;
    }
    enum st st = s->ja->js->ops->append(s->ss, &a, on_append, s);
    if (st == ST_OK) {
        s->pending++;
    }
    return st == ST_OK || st == ST_FULL ? st : err_set(err, st, 0, "%s", st_text(st));
}

static enum st got_meta(void *arg, const void *p, size_t n, struct err *err)
{
    struct js_restore *s = arg;
    struct meta m;
    enum st st = read_meta(&m, p, n, err);
    if (st == ST_OK && (m.name == NULL || strcmp(m.name, s->stream) != 0)) {
        st = err_set(err, ST_MISMATCH, 0, "stream names do not match");
    }
    s->created_ns = m.created_ns;
    meta_fini(&m);
    return st;
}

static const char *refusal(enum append_verdict v)
{
    return v == APPEND_NO_STORE || v == APPEND_NO_MEMORY
               ? "insufficient storage resources available"
           : v == APPEND_WRONG_LAST_SEQ ? "messages are not in order"
                                        : "messages could not be stored";
}

/* One frame of the chunk in front; when all is read, removals. */
static bool work(void *arg)
{
    struct js_restore *s = arg;
    struct chunk *c = s->first;
    struct err err = {0};
    if (s->ending && s->in.last_seq == 0) { /* put_into_place waited */
        proceed(s);
        return false;
    }
    if (s->ending) {
        return remove_some(s);
    }
    if (s->failed || s->full || c == NULL || s->pending >= APPENDS_MAX) {
        return false;
    }
    if (s->refused != APPEND_STORED) {
        fail(s, refusal(s->refused));
        return false;
    }
    if (c->len == 0) {
        s->ending = true;
        proceed(s);
        return false;
    }
    const uint8_t *p = c->bytes + c->reply_len + c->at;
    size_t left = c->len - c->at;
    enum st st = snap_in_step(&s->in, &p, &left, &err);
    c->at = c->len - left;
    if (st == ST_AGAIN) {
        js_send(s->ja, reply_of(c), NULL, 0, NULL, 0);
        chunk_pop(s);
        return s->first != NULL;
    }
    if (st == ST_FULL) {
        s->full = s->pending < APPENDS_MAX;
        if (s->full) {
            brk_timer_start(s->timer, RETRY_MS, 0);
        }
        return false;
    }
    if (st != ST_OK) {
        fail(s, err.msg);
        return false;
    }
    return true;
}

static void on_chunk(void *arg, const struct brk_msg *m)
{
    struct js_restore *s = arg;
    struct chunk *c = base_try_malloc(sizeof *c + m->reply.n + m->payload_len);
    if (c == NULL || s->queued + m->payload_len > QUEUE_MAX) {
        base_free(c);
        fail(s, "too many chunks are waiting");
        return;
    }
    *c = (struct chunk){.len = m->payload_len, .reply_len = m->reply.n};
    if (m->reply.n > 0) {
        memcpy(c->bytes, m->reply.p, m->reply.n);
    }
    if (m->payload_len > 0) {
        memcpy(c->bytes + m->reply.n, m->payload, m->payload_len);
    }
    *(s->last != NULL ? &s->last->next : &s->first) = c;
    s->last = c;
    s->queued += c->len;
    s->bytes += c->len;
    if (!s->full) {
        brk_timer_start(s->timer, IDLE_MS, 0);
    }
    brk_slice_kick(s->slice);
}

/* --- the last steps --------------------------------------------------------------------------- */

static void step_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct js_restore *s = arg;
    (void)n;
    s->pending--;
    if (s->stopped) {
        return;
    }
    if (st != ST_OK && st != ST_NOTFOUND) {
        fail(s, err != NULL && err->msg[0] != 0 ? err->msg : st_text(st));
    } else if (s->failed) {
        give_up(s);
    } else if (s->pending == 0) {
        proceed(s);
    }
}

static void cons_done(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    (void)c;
    step_done(arg, st, 0, err);
}

/* Positions of a consumer that has not delivered anything follow from where it would begin, for the
 * policies whose beginning is not a sequence. */
static void position(struct snap_cons *k)
{
    bool moves = k->cfg.deliver == DELIVER_LAST || k->cfg.deliver == DELIVER_LAST_PER_SUBJECT;
    if (k->delivered_cseq > 0 || !moves) {
        k->next_seq = k->delivered_sseq + 1;
    }
}

static bool read_cons(struct js_restore *s, const struct snap_in_cons *c, struct snap_cons *k,
                      char why[300])
{
    struct js_limits lim = s->ja->js->lim;
    struct js_cons_req q;
    struct api_error e = {0};
    struct json_out j = {0};
    struct err err = {0};
    struct meta m;
    lim.strict = false;
    json_out_begin(&j);
    json_out_str(&j, "stream_name", s->stream);
    json_out_key(&j, "config");
    json_out_raw(&j, (const char *)c->meta.v, c->meta.n);
    json_out_end(&j);
    js_cons_req_init(&q);
    enum st st = read_meta(&m, c->meta.v, c->meta.n, &err);
    bool ok = st == ST_OK && js_cons_req_parse(&q, j.buf, j.len, &lim, &e) &&
              js_cons_req_check(&q, &s->q.cfg, &lim, &e);
    if (ok) {
        cons_cfg_copy(&k->cfg, &q.cfg);
        base_free(k->cfg.name);
        k->cfg.name = base_strdup(c->name);
        k->created_ns = m.created_ns;
        st = c->state.n > 0 ? snap_cons_get(c->state.v, c->state.n, k) : ST_OK;
        if (st == ST_OK && c->state.n > 0) {
            position(k);
        }
        ok = st == ST_OK && js_name_valid(c->name);
    }
    if (!ok) {
        (void)snprintf(why, 300, "consumer \"%.100s\": %.150s", c->name,
                       e.err_code != API_OK ? e.text : "its state cannot be read");
    }
    meta_fini(&m);
    js_cons_req_fini(&q);
    json_out_fini(&j);
    return ok;
}

static void next_cons(struct js_restore *s)
{
    struct snap_cons k = {0};
    char why[300];
    if (!read_cons(s, &s->in.cons[s->cons_at++], &k, why)) {
        snap_cons_fini(&k);
        fail(s, why);
        return;
    }
    s->pending++;
    s->ja->js->ops->cons_import(s->ss, &k, cons_done, s);
    snap_cons_fini(&k);
}

static void adopted(void *arg, enum st st, struct store_stream *ss, const struct err *err)
{
    struct js_restore *s = arg;
    struct js *js = s->ja->js;
    s->pending--;
    if (!s->stopped) {
        js_change_end(s->ja);
    }
    if (s->stopped) {
        return;
    }
    if (st != ST_OK) {
        fail(s, err != NULL && err->msg[0] != 0 ? err->msg : st_text(st));
        return;
    }
    s->ss = NULL;
    struct js_stream *stream = js_stream_attach(s->ja, ss);
    js_adv_stream(stream, "CREATED", "create");
    for (struct htab_node *n = htab_first(&stream->consumers); n != NULL;
         n = htab_next(&stream->consumers, n)) {
        js_adv_consumer(CONTAINER_OF(n, struct js_consumer, by_name), "CREATED", "create");
    }
    js_adv_restore_complete(s->ja, s->stream, s->client, s->begun_ns, s->bytes);
    log_inf("Completed restore of %llu bytes for stream '%s > %s'", (unsigned long long)s->bytes,
            s->ja->acc->name, s->stream);
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_str(&j, "type", "io.nats.jetstream.api.v1.stream_create_response");
    js_put_stream_info(js, &j, ss);
    json_out_end(&j);
    js_send(s->ja, reply_of(s->first), NULL, 0, j.buf, j.len);
    json_out_fini(&j);
    destroy(s);
}

/* Tombstones, so many at a time, so that the loop turns in between; then the last sequence. For the
 * slice: false when it is to be kicked again. */
static bool remove_some(struct js_restore *s)
{
    const struct store_ops *ops = s->ja->js->ops;
    if (s->pending > 0 || s->failed || s->in.last_seq == 0) {
        return false;
    }
    s->pending++; /* until these are submitted: what is not there is answered at once */
    for (size_t i = 0; i < REMOVALS_MAX && s->gone_at < s->in.gone.len && !s->failed; i++) {
        s->pending++;
        ops->msg_delete(s->ss, s->in.gone.items[s->gone_at++], false, step_done, s);
    }
    s->pending--;
    if (s->failed) {
        give_up(s);
        return false;
    }
    if (s->gone_at < s->in.gone.len) {
        return s->pending == 0; /* else proceed kicks */
    }
    uint64_t last_seq = s->in.last_seq;
    s->in.last_seq = 0;
    s->pending++;
    ops->seq_skip(s->ss, last_seq, step_done, s);
    return false;
}

/* Others may have made streams since the restore began. */
static void put_into_place(struct js_restore *s)
{
    struct js *js = s->ja->js;
    if (s->ja->disabled) {
        fail(s, "JetStream not enabled for account");
        return;
    }
    if (!js_change_begin(s->ja)) {
        s->full = true;
        brk_timer_start(s->timer, RETRY_MS, 0);
        return;
    }
    s->taken = js_stream_find(s->ja, (struct brk_str){s->stream, strlen(s->stream)}) != NULL
                   ? API_STREAM_NAME_EXIST_RESTORE_FAILED
               : js_subjects_taken(s->ja, &s->q.cfg) ? API_STREAM_SUBJECT_OVERLAP
                                                     : API_OK;
    if (s->taken != API_OK) {
        js_change_end(s->ja);
        fail(s, s->taken == API_STREAM_SUBJECT_OVERLAP ? "subjects overlap with an existing stream"
                                                       : "stream name already in use");
        return;
    }
    s->pending++;
    js->ops->stream_adopt(js->store, s->ss, &s->q.cfg, s->created_ns, NULL, adopted, s);
}

/* Everything is read; what is to be done next, once the store has done what is under way. */
static void proceed(struct js_restore *s)
{
    struct err err = {0};
    if (s->pending > 0 || s->failed) {
        return;
    }
    if (s->refused != APPEND_STORED) {
        fail(s, refusal(s->refused));
        return;
    }
    enum st st = s->cons_at == 0 && s->in.stream != NULL ? snap_in_end(&s->in, &err) : ST_OK;
    if (st != ST_OK) {
        fail(s, err.msg);
        return;
    }
    if (s->in.last_seq != 0) {
        brk_slice_kick(s->slice);
        return;
    }
    if (s->cons_at < s->in.ncons) {
        next_cons(s);
        return;
    }
    put_into_place(s);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void imported(void *arg, enum st st, struct store_stream *ss, const struct err *err)
{
    struct js_restore *s = arg;
    struct js *js = s->ja->js;
    struct js_req *r = s->req;
    char subject[LIM_NAME_BYTES_MAX + 60];
    s->pending--;
    s->req = NULL;
    if (s->stopped || s->ja->stopped) {
        return;
    }
    if (st != ST_OK) {
        js_req_fail_st(r, API_STREAM_RESTORE, st, err);
        destroy(s);
        return;
    }
    s->ss = ss;
    int n = snprintf(subject, sizeof subject, "$JS.SNAPSHOT.RESTORE.%s.%s", s->stream, s->id);
    s->sub = brk_isub_create(s->ja->acc, (struct brk_str){subject, (size_t)n}, (struct brk_str){0},
                             on_chunk, s);
    s->slice = brk_slice_create(js->d.loop, work, s);
    s->timer = brk_timer_create(js->d.loop, due, s);
    brk_timer_start(s->timer, IDLE_MS, 0);
    log_inf("Starting restore for stream '%s > %s'", s->ja->acc->name, s->stream);
    js_adv_restore_create(s->ja, s->stream, s->client);
    (void)js_req_begin(r);
    json_out_str(&r->out, "deliver_subject", subject);
    js_req_answer(r);
}

static void begin(struct js_req *r, struct js_restore *s)
{
    struct js *js = r->js;
    struct stream_cfg c;
    s->ja = r->ja;
    s->req = r;
    s->stream = base_strdup(s->q.cfg.name);
    s->client = r->audit != NULL ? base_strdup(r->audit) : NULL;
    s->begun_ns = env_real_ns(js->d.env);
    s->refused = APPEND_STORED;
    js_unique_id(js, s->id);
    s->in = (struct snap_in){.stream = s->stream, .msg = one_msg, .got_meta = got_meta, .arg = s};
    s->next = js->restores;
    js->restores = s;
    js->restores_count++;
    stream_cfg_init(&c);
    c.account = base_strdup(STORE_IMPORT_ACCOUNT);
    c.name = base_strdup(s->id);
    c.storage = s->q.cfg.storage;
    c.mirror = true;
    c.duplicates_ns = s->q.cfg.duplicates_ns;
    c.allow_msg_ttl = s->q.cfg.allow_msg_ttl;
    s->pending++;
    js->ops->stream_create(js->store, &c, imported, s);
    stream_cfg_fini(&c);
}

/* False: r->err says why. */
static bool acceptable(struct js_req *r, struct js_restore *s, const struct restore_body *b)
{
    struct js_stream_req *q = &s->q;
    if (b->config == NULL) {
        api_error_set(&r->err, API_BAD_REQUEST);
    } else if (!js_stream_req_parse(q, b->config, strlen(b->config), &r->js->lim, &r->err)) {
        /* said */
    } else if (q->cfg.name == NULL || q->cfg.name[0] == 0) {
        api_error_set(&r->err, API_BAD_REQUEST);
    } else if (!js_str_eq(r->token[0], q->cfg.name, strlen(q->cfg.name))) {
        api_error_set(&r->err, API_STREAM_MISMATCH);
    } else if (!js_stream_req_check(q, &r->js->lim, &r->err)) {
        /* said */
    } else if (js_stream_find(r->ja, r->token[0]) != NULL) {
        api_error_set(&r->err, API_STREAM_NAME_EXIST_RESTORE_FAILED);
    } else if (r->js->restores_count >= RESTORES_MAX) {
        api_error_set(&r->err, API_INSUFFICIENT_RESOURCES);
    } else {
        base_free(q->cfg.account);
        q->cfg.account = base_strdup(r->ja->acc->name);
        return js_stream_may_be_made(r, &q->cfg);
    }
    return false;
}

void js_h_stream_restore(struct js_req *r)
{
    struct restore_body b = {0};
    if (r->body.n == 0) {
        js_req_fail_with(r, API_BAD_REQUEST);
        return;
    }
    struct js_restore *s = base_calloc(1, sizeof *s);
    js_stream_req_init(&s->q);
    if (js_req_decode(r, &body_schema, &b) && acceptable(r, s, &b)) {
        begin(r, s);
    } else {
        js_req_fail(r);
        js_stream_req_fini(&s->q);
        base_free(s);
    }
    base_free(b.config);
    base_free(b.state);
}

/* What is imported so far is dropped at the next start. */
void js_restores_stop(struct js *js)
{
    for (struct js_restore *s = js->restores; s != NULL; s = s->next) {
        s->stopped = true;
        brk_isub_destroy(s->sub);
        brk_timer_destroy(s->timer);
        brk_slice_destroy(s->slice);
        s->sub = NULL;
        s->timer = NULL;
        s->slice = NULL;
    }
}

void js_restores_fini(struct js *js)
{
    while (js->restores != NULL) {
        destroy(js->restores);
    }
}
