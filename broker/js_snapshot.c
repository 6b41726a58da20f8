/* STREAM.SNAPSHOT: a stream in nats-server's format, sent in chunks to the subject that the request
 * names (broker/snap_fmt.h).
 *
 *   request -> snap_open -> (jsck: everything is read once) -> answer -> chunks -> empty message
 *
 * A task of its own reads the store and packs (struct snap_out); finished bytes wait in `ready`,
 * bounded, for the loop to send. A chunk asks for an acknowledgement ($JS.SNAPSHOT.ACK.<stream>.
 * <id>.<size>.<n>); no more than the window is out without one. Five seconds without any: 408 No
 * Flow Response, and it is over. A crash ends a snapshot; the client asks again. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/js_int.h"
#include "broker/snap_out.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/base/subject.h"

#define SNAPSHOTS_MAX 32u /* at a time, of all accounts; beyond: 10023 */
#define CHUNK_DEFAULT (128 * 1024)
#define CHUNK_MAX (1024 * 1024)
#define CHUNK_MIN 1024
#define WINDOW_DEFAULT (8 * 1024 * 1024)
#define WINDOW_MAX (32 * 1024 * 1024)
#define READY_MAX ((size_t)8 * 1024 * 1024) /* packed bytes that wait for the loop */
#define STALL_MS 5000
/* Clients subscribe to a subject of their own when they have the answer; until then a wildcard of
 * theirs (the mux inbox) may match it, and would lose what is sent. So we wait for a subscription
 * to the very subject, this long, as upstream does. */
#define INTEREST_MS 2000
#define INTEREST_LOOK_MS 5
#define CHUNKS_A_TURN 16

struct js_snapshot {
    struct js_snapshot *next;
    struct js_account *ja;
    struct js_req *req; /* not answered yet */
    struct store_snap *snap;
    struct snap_out out;
    char *stream, *deliver, *client; /* owned; client: JSON or NULL */
    char id[23];
    size_t chunk, window, outstanding;
    uint64_t sent, next_chunk;
    int64_t begun_ns, heard_ms;
    struct brk_sub *acks;    /* owned */
    struct brk_timer *stall; /* owned */
    struct env_task *task;   /* owned */
    bool check;              /* jsck */
    bool hooked;
    bool listening; /* somebody was there: clients subscribe after the answer */
    int64_t listen_until_ms;
    struct base_mutex mutex;
    struct snap_buf ready; /* guarded by: mutex */
    bool checked, done;    /* guarded by: mutex */
    enum st st;            /* guarded by: mutex */
    struct err err;        /* guarded by: mutex */
};

struct snapshot_body {
    char *deliver_subject; /* owned */
    bool no_consumers, jsck;
    int64_t chunk_size, window_size;
};
static const struct json_field fields[] = {
    {"deliver_subject", JSON_STRING, offsetof(struct snapshot_body, deliver_subject), NULL, NULL},
    {"no_consumers", JSON_BOOL, offsetof(struct snapshot_body, no_consumers), NULL, NULL},
    {"chunk_size", JSON_INT, offsetof(struct snapshot_body, chunk_size), NULL, NULL},
    {"window_size", JSON_INT, offsetof(struct snapshot_body, window_size), NULL, NULL},
    {"jsck", JSON_BOOL, offsetof(struct snapshot_body, jsck), NULL, NULL},
};
static const struct json_schema schema = {
    "JSApiStreamSnapshotRequest", "server.JSApiStreamSnapshotRequest", fields, ARRAY_LEN(fields)};

/* --- the task --------------------------------------------------------------------------------- */

static void tell(struct js_snapshot *s)
{
    brk_loop_wake(s->ja->js->d.loop);
}

static enum st check_all(struct js_snapshot *s, struct err *err)
{
    const struct store_ops *ops = s->ja->js->ops;
    struct msg m;
    enum st st;
    while ((st = ops->snap_next(s->snap, &m, err)) == ST_OK) {
    }
    ops->snap_rewind(s->snap);
    return st == ST_NOTFOUND ? ST_OK : st;
}

static bool room(struct js_snapshot *s)
{
    base_mutex_lock(&s->mutex);
    bool ok = s->ready.n < READY_MAX && !s->done;
    base_mutex_unlock(&s->mutex);
    return ok;
}

static uint64_t work(void *arg)
{
    struct js_snapshot *s = arg;
    struct err err = {0};
    bool checking = s->check;
    if (!room(s)) {
        return ENV_STEP_IDLE;
    }
    enum st st = checking ? check_all(s, &err) : snap_out_more(&s->out, &err);
    s->check = false;
    base_mutex_lock(&s->mutex);
    s->checked = true;
    if (st == ST_OK && !checking) {
        snap_add(&s->ready, s->out.out.v, s->out.out.n);
        s->out.out.n = 0;
    } else if (st != ST_OK) {
        s->done = true;
        s->st = st == ST_NOTFOUND ? ST_OK : st;
        s->err = err;
    }
    base_mutex_unlock(&s->mutex);
    tell(s);
    return ENV_STEP_AGAIN;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void poll(void *arg);

static void destroy(struct js_snapshot *s)
{
    struct js *js = s->ja->js;
    for (struct js_snapshot **p = &js->snapshots; *p != NULL; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;
            js->snapshots_count--;
            break;
        }
    }
    if (s->task != NULL) {
        env_task_stop(js->d.env, s->task);
    }
    if (s->hooked) {
        brk_loop_off(js->d.loop, poll, s);
    }
    brk_isub_destroy(s->acks);
    brk_timer_destroy(s->stall);
    snap_out_fini(&s->out);
    js->ops->snap_close(s->snap);
    snap_buf_fini(&s->ready);
    base_mutex_destroy(&s->mutex);
    base_free(s->stream);
    base_free(s->deliver);
    base_free(s->client);
    base_free(s);
}

static struct brk_str to(const struct js_snapshot *s)
{
    return js_str(s->deliver);
}

/* status: "408 No Flow Response", or NULL: all is sent. */
static void finish(struct js_snapshot *s, const char *status)
{
    if (status != NULL) {
        js_send_status(s->ja, to(s), status, NULL);
    } else if (s->next_chunk > 1) {
        js_send_status(s->ja, to(s), "204", NULL);
    } else {
        js_send(s->ja, to(s), NULL, 0, NULL, 0); /* as upstream, when one chunk was enough */
    }
    js_adv_snapshot_complete(s->ja, s->stream, s->client, s->begun_ns);
    log_inf("Completed snapshot of %llu bytes for stream '%s > %s'", (unsigned long long)s->sent,
            s->ja->acc->name, s->stream);
    destroy(s);
}

/* Somebody has subscribed to the very subject. */
static bool subscribed(struct js_snapshot *s)
{
    struct brk_match m;
    struct brk_interest *in = &s->ja->acc->interest;
    bool found = false;
    brk_interest_match(in, to(s), &m);
    for (uint32_t i = 0; i < m.count && !found; i++) {
        const struct brk_leaf *l = brk_match_leaves(&m)[i];
        found = l->trie == NULL;
    }
    brk_match_fini(&m);
    return found;
}

static void stalled(void *arg)
{
    struct js_snapshot *s = arg;
    if (!s->listening) {
        if (js_now_ms(s->ja->js) < s->listen_until_ms && !subscribed(s)) {
            brk_timer_start(s->stall, INTEREST_LOOK_MS, 0);
            return;
        }
        if (!brk_account_has_interest(s->ja->acc, to(s))) {
            finish(s, "408 No Interest");
            return;
        }
        s->listening = true;
        s->heard_ms = js_now_ms(s->ja->js);
        brk_timer_start(s->stall, STALL_MS, 0);
        tell(s);
        return;
    }
    int64_t left = s->heard_ms + STALL_MS - js_now_ms(s->ja->js);
    if (s->outstanding == 0 || left > 0) {
        brk_timer_start(s->stall, left > 0 ? (uint64_t)left : STALL_MS, 0);
        return;
    }
    finish(s, "408 No Flow Response");
}

/* --- sending ---------------------------------------------------------------------------------- */

static void send_chunk(struct js_snapshot *s, const uint8_t *p, size_t n, bool last)
{
    char reply[LIM_NAME_BYTES_MAX + 100];
    struct brk_msg m = {.subject = to(s), .payload = p, .payload_len = n};
    if (!last) {
        int len = snprintf(reply, sizeof reply, "$JS.SNAPSHOT.ACK.%s.%s.%zu.%llu", s->stream, s->id,
                           n, (unsigned long long)s->next_chunk++);
        m.reply = (struct brk_str){reply, (size_t)len};
        s->outstanding += n;
    }
    s->sent += n;
    (void)brk_publish(s->ja->acc, &m);
}

/* Sends what may go. True: it is over, s is gone. */
static bool pump(struct js_snapshot *s)
{
    const char *status = NULL;
    char text[300];
    size_t at = 0;
    if (!s->listening) {
        return false;
    }
    base_mutex_lock(&s->mutex);
    for (int i = 0;
         i < CHUNKS_A_TURN && s->ready.n - at >= s->chunk && s->outstanding + s->chunk <= s->window;
         i++) {
        send_chunk(s, s->ready.v + at, s->chunk, false);
        at += s->chunk;
    }
    bool over = s->done && s->ready.n - at < s->chunk;
    if (over && s->st != ST_OK) {
        (void)snprintf(text, sizeof text, "500 %.250s", s->err.msg);
        status = text;
    } else if (over && s->ready.n > at) {
        send_chunk(s, s->ready.v + at, s->ready.n - at, true);
        at = s->ready.n;
    }
    bool more = s->ready.n - at >= s->chunk && s->outstanding + s->chunk <= s->window;
    snap_cut(&s->ready, at);
    base_mutex_unlock(&s->mutex);
    if (over) {
        finish(s, status);
        return true;
    }
    if (at > 0) {
        env_task_wake(s->ja->js->d.env, s->task);
    }
    if (more) {
        tell(s);
    }
    return false;
}

static void on_ack(void *arg, const struct brk_msg *m)
{
    struct js_snapshot *s = arg;
    struct brk_str subject = m->subject;
    uint64_t n = 0;
    const char *dot = memrchr(subject.p, '.', subject.n);
    const char *end = dot;
    while (end != NULL && end > subject.p && end[-1] != '.') {
        end--;
    }
    if (dot == NULL || !js_parse_u64((struct brk_str){end, (size_t)(dot - end)}, &n)) {
        return;
    }
    s->outstanding -= n < s->outstanding ? (size_t)n : s->outstanding;
    s->heard_ms = js_now_ms(s->ja->js);
    tell(s);
}

static void answer(struct js_snapshot *s)
{
    struct js_req *r = s->req;
    struct js *js = s->ja->js;
    const struct snap_info *i = js->ops->snap_info(s->snap);
    struct err err = {0};
    enum st st;
    s->req = NULL;
    base_mutex_lock(&s->mutex);
    st = s->st;
    err = s->err;
    base_mutex_unlock(&s->mutex);
    if (st != ST_OK) {
        api_error_set2(&r->err, API_STREAM_SNAPSHOT, err.msg, NULL);
        js_req_fail(r);
        destroy(s);
        return;
    }
    struct json_out *j = js_req_begin(r);
    json_out_key(j, "config");
    js_stream_cfg_put(j, &i->cfg, false);
    js_put_snap_state(j, &i->state);
    js_adv_snapshot_create(s->ja, s->stream, s->client, &i->state);
    js_req_answer(r);
    s->listen_until_ms = js_now_ms(js) + INTEREST_MS;
    stalled(s);
}

static void poll(void *arg)
{
    struct js_snapshot *s = arg;
    if (s->req != NULL) {
        base_mutex_lock(&s->mutex);
        bool checked = s->checked;
        base_mutex_unlock(&s->mutex);
        if (!checked) {
            return;
        }
        bool failed = s->st != ST_OK;
        answer(s);
        if (failed) {
            return;
        }
    }
    (void)pump(s);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static char *meta_text(int64_t created_ns, const char *name, const struct json_out *cfg,
                       size_t *len_out)
{
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_time(&j, "Created", created_ns);
    if (name != NULL) {
        json_out_str(&j, "Name", name);
    }
    if (cfg->len > 2) {
        json_out_raw(&j, ",", 1);
        json_out_raw(&j, cfg->buf + 1, cfg->len - 2);
    }
    json_out_end(&j);
    return json_out_take(&j, len_out);
}

static void prepare(struct js_snapshot *s)
{
    struct js *js = s->ja->js;
    const struct snap_info *i = js->ops->snap_info(s->snap);
    struct json_out cfg = {0};
    struct snap_out *o = &s->out;
    *o = (struct snap_out){
        .ops = js->ops, .snap = s->snap, .name = base_strdup(s->stream), .now_ns = s->begun_ns};
    js_stream_cfg_put(&cfg, &i->cfg, false);
    o->meta = meta_text(i->state.created_ns, NULL, &cfg, &o->meta_len);
    json_out_fini(&cfg);
    o->cons = base_calloc(i->ncons + 1, sizeof *o->cons);
    o->ncons = i->ncons;
    for (size_t k = 0; k < i->ncons; k++) {
        const struct snap_cons *c = &i->cons[k];
        if (c->cfg.mem_storage) {
            continue;
        }
        js_cons_cfg_put(&cfg, &c->cfg, false);
        o->cons[k].name = base_strdup(c->cfg.name);
        o->cons[k].meta = meta_text(c->created_ns, c->cfg.name, &cfg, &o->cons[k].meta_len);
        json_out_fini(&cfg);
    }
}

static void opened(void *arg, enum st st, struct store_snap *snap)
{
    struct js_snapshot *s = arg;
    struct js *js = s->ja->js;
    char subject[LIM_NAME_BYTES_MAX + 60];
    struct err err = {0};
    s->snap = snap;
    if (st == ST_OK && s->ja->stopped) {
        st = ST_CLOSED;
    }
    if (st == ST_OK) {
        prepare(s);
        s->stall = brk_timer_create(js->d.loop, stalled, s);
        int n = snprintf(subject, sizeof subject, "$JS.SNAPSHOT.ACK.%s.%s.>", s->stream, s->id);
        s->acks = brk_isub_create(s->ja->acc, (struct brk_str){subject, (size_t)n},
                                  (struct brk_str){0}, on_ack, s);
        brk_loop_on_wake(js->d.loop, poll, s);
        s->hooked = true;
        st = env_task_start(js->d.env, "snapshot", 5, work, s, &s->task, &err);
    }
    if (st != ST_OK) {
        js_req_fail_st(s->req, API_STREAM_SNAPSHOT, st, &err);
        destroy(s);
        return;
    }
    env_task_wake(js->d.env, s->task);
}

static size_t bounded(int64_t asked, int64_t least, int64_t most, int64_t otherwise)
{
    int64_t v = asked <= 0 ? otherwise : asked;
    return (size_t)(v < least ? least : v > most ? most : v);
}

static void begin(struct js_req *r, const struct snapshot_body *b)
{
    struct js_snapshot *s = base_calloc(1, sizeof *s);
    struct js *js = r->js;
    base_mutex_init(&s->mutex);
    s->ja = r->ja;
    s->req = r;
    s->stream = base_strdup(r->stream->name);
    s->deliver = base_strdup(b->deliver_subject);
    s->client = r->audit != NULL ? base_strdup(r->audit) : NULL;
    s->chunk = bounded(b->chunk_size, CHUNK_MIN, CHUNK_MAX, CHUNK_DEFAULT);
    s->window = bounded(b->window_size, (int64_t)s->chunk, WINDOW_MAX, WINDOW_DEFAULT);
    s->check = b->jsck;
    s->next_chunk = 1;
    s->begun_ns = env_real_ns(js->d.env);
    js_unique_id(js, s->id);
    s->next = js->snapshots;
    js->snapshots = s;
    js->snapshots_count++;
    js->ops->snap_open(r->stream->ss, !b->no_consumers, opened, s);
}

void js_h_stream_snapshot(struct js_req *r)
{
    struct snapshot_body b = {0};
    if (js_req_empty(r)) {
        js_req_fail_with(r, API_BAD_REQUEST);
        return;
    }
    if (js_req_stream(r) == NULL) {
        return;
    }
    bool decoded = js_req_decode(r, &schema, &b);
    const char *d = b.deliver_subject;
    if (!decoded) {
        js_req_fail(r);
    } else if (d == NULL || !subject_literal(d, strlen(d))) {
        js_req_fail_with(r, API_SNAPSHOT_DELIVER_SUBJECT_INVALID);
    } else if (r->js->ops->stream_cfg(r->stream->ss)->storage == STORAGE_MEMORY) {
        api_error_set2(&r->err, API_STREAM_SNAPSHOT, "no impl", NULL); /* as upstream */
        js_req_fail(r);
    } else if (r->js->snapshots_count >= SNAPSHOTS_MAX) {
        js_req_fail_with(r, API_INSUFFICIENT_RESOURCES);
    } else {
        begin(r, &b);
    }
    base_free(b.deliver_subject);
}

void js_snapshots_stop(struct js *js)
{
    struct js_snapshot *s = js->snapshots;
    while (s != NULL) {
        struct js_snapshot *next = s->next;
        if (s->snap != NULL) { /* else its callback never comes: only the memory is left */
            destroy(s);
        }
        s = next;
    }
}

void js_snapshots_fini(struct js *js)
{
    while (js->snapshots != NULL) {
        destroy(js->snapshots);
    }
}
