/* A stream as the broker sees it: subscriptions on its subjects, direct get, its consumers. */
#include "broker/js_int.h"

#include "broker/js_offline.h"
#include "engine/base/base.h"
#include "engine/base/log.h"

struct js_stream *js_stream_find(struct js_account *ja, struct brk_str name)
{
    uint64_t h = js_name_hash(name.p, name.n);
    for (struct htab_node *n = htab_chain(&ja->streams, h); n != NULL; n = n->next) {
        struct js_stream *s = CONTAINER_OF(n, struct js_stream, by_name);
        if (n->hash == h && js_str_eq(name, s->name, s->name_len)) {
            return s;
        }
    }
    return NULL;
}

void js_stream_ref(struct js_stream *s)
{
    s->refs++;
}

void js_stream_unref(struct js_stream *s)
{
    ASSERT(s->refs > 0);
    if (--s->refs > 0) {
        return;
    }
    ASSERT(s->gone);
    base_free(s->ack_head);
    base_free(s->offline);
    base_free(s);
}

static void drop_subjects(struct js_stream *s)
{
    for (size_t i = 0; i < s->subs_count; i++) {
        brk_isub_destroy(s->subs[i]);
    }
    base_free(s->subs);
    s->subs = NULL;
    s->subs_count = 0;
}

static void drop_direct(struct js_stream *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->direct); i++) {
        brk_isub_destroy(s->direct[i]);
        s->direct[i] = NULL;
    }
}

static void drop_mirror_direct(struct js_stream *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->mirror_direct); i++) {
        brk_isub_destroy(s->mirror_direct[i]);
        s->mirror_direct[i] = NULL;
    }
}

static bool same_subjects(const struct js_stream *s, const struct stream_cfg *c)
{
    if (s->subs_count != c->nsubjects) {
        return false;
    }
    for (size_t i = 0; i < c->nsubjects; i++) {
        if (!js_str_eq(s->subs[i]->subject, c->subjects[i], strlen(c->subjects[i]))) {
            return false;
        }
    }
    return true;
}

static void take_subjects(struct js_stream *s, const struct stream_cfg *c)
{
    if (same_subjects(s, c)) {
        return;
    }
    drop_subjects(s);
    s->subs = base_calloc(c->nsubjects, sizeof *s->subs);
    for (size_t i = 0; i < c->nsubjects; i++) {
        s->subs[i] = brk_isub_create(s->ja->acc, js_str(c->subjects[i]), (struct brk_str){0},
                                     js_publish_cb, s);
    }
    s->subs_count = c->nsubjects;
}

/* Both forms of DIRECT.GET of the stream `name`. */
static void subscribe_direct(struct js_stream *s, const char *name, size_t len,
                             struct brk_sub **subs)
{
    char buf[32 + LIM_NAME_BYTES_MAX];
    size_t n = sizeof "$JS.API.DIRECT.GET." - 1;
    if (subs[0] != NULL || len > LIM_NAME_BYTES_MAX) {
        return;
    }
    memcpy(buf, "$JS.API.DIRECT.GET.", n);
    memcpy(buf + n, name, len);
    n += len;
    subs[0] =
        brk_isub_create(s->ja->acc, (struct brk_str){buf, n}, BRK_STR("_sys_"), js_direct_cb, s);
    memcpy(buf + n, ".>", 2);
    subs[1] = brk_isub_create(s->ja->acc, (struct brk_str){buf, n + 2}, BRK_STR("_sys_"),
                              js_direct_cb, s);
}

static void take_direct(struct js_stream *s)
{
    if (s->allow_direct) {
        subscribe_direct(s, s->name, s->name_len, s->direct);
    } else {
        drop_direct(s);
    }
}

void js_stream_mirror_synced(struct js_stream *s)
{
    const struct stream_cfg *c = s->ja->js->ops->stream_cfg(s->ss);
    struct js_origins o;
    js_origins_read(c, &o);
    const struct js_origin *m = js_origins_mirror(&o);
    if (m != NULL && c->mirror_direct) {
        subscribe_direct(s, m->name, strlen(m->name), s->mirror_direct);
    }
    js_origins_fini(&o);
}

void js_stream_reload(struct js_stream *s)
{
    const struct stream_cfg *c = s->ja->js->ops->stream_cfg(s->ss);
    s->no_ack = c->no_ack;
    s->allow_rollup = c->allow_rollup;
    s->sealed = c->sealed;
    s->allow_direct = c->allow_direct;
    s->counter = c->allow_msg_counter;
    if (c->allow_msg_schedules && !s->schedules) {
        js_sched_start(s);
    } else if (!c->allow_msg_schedules) {
        js_sched_drop_all(s);
    }
    s->schedules = c->allow_msg_schedules;
    if (!c->allow_atomic) {
        js_batch_drop_all(s);
    }
    if (!c->allow_batched) {
        js_fast_drop_all(s);
    }
    take_subjects(s, c);
    take_direct(s);
    if (!c->mirror || !c->mirror_direct) {
        drop_mirror_direct(s);
    }
    js_subjects_reload(s);
    js_copiers_reload(s);
}

struct js_stream *js_stream_attach(struct js_account *ja, struct store_stream *ss)
{
    struct js *js = ja->js;
    const struct stream_cfg *c = js->ops->stream_cfg(ss);
    size_t n = strlen(c->name);
    struct js_stream *s = base_calloc(1, sizeof *s + n + 1);
    s->ja = ja;
    s->ss = ss;
    s->refs = 1;
    s->name_len = n;
    memcpy(s->name, c->name, n);
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_strn(&j, "stream", s->name, n);
    js_domain_put(js, &j);
    json_out_key(&j, "seq");
    s->ack_head = json_out_take(&j, &s->ack_head_len);
    htab_add(&ja->streams, &s->by_name, js_name_hash(s->name, n));
    js->ops->stream_set_user(ss, s);
    s->offline = js_offline_reason(js->ops, ss);
    if (s->offline != NULL) {
        log_wrn("stream \"%s\" of account \"%s\" stays offline: %s", s->name, ja->acc->name,
                s->offline);
        return s;
    }
    js_stream_reload(s);
    struct store_cons *sc = NULL;
    while ((sc = js->ops->cons_next_of(ss, sc)) != NULL) {
        (void)js_consumer_attach(s, sc);
    }
    js_copiers_kick(ja, s->name);
    return s;
}

void js_stream_silence(struct js_stream *s)
{
    js_sched_drop_all(s);
    drop_subjects(s);
    drop_direct(s);
    drop_mirror_direct(s);
    js_copiers_stop(s);
    js_subjects_stop(s);
    for (struct htab_node *n = htab_first(&s->consumers); n != NULL;
         n = htab_next(&s->consumers, n)) {
        js_consumer_silence(CONTAINER_OF(n, struct js_consumer, by_name));
    }
}

void js_stream_detach(struct js_stream *s)
{
    ASSERT(!s->gone);
    struct htab_node *n;
    while ((n = htab_first(&s->consumers)) != NULL) {
        js_consumer_detach(CONTAINER_OF(n, struct js_consumer, by_name), "409 Consumer Deleted");
    }
    drop_subjects(s);
    drop_direct(s);
    drop_mirror_direct(s);
    js_copiers_stop(s);
    js_batch_drop_all(s);
    js_sched_drop_all(s);
    js_fast_drop_all(s);
    js_subjects_stop(s);
    htab_del(&s->ja->streams, &s->by_name);
    if (!s->ja->stopped) { /* else the store may be gone */
        s->ja->js->ops->stream_set_user(s->ss, NULL);
    }
    s->gone = true;
    s->ss = NULL;
    js_copiers_kick(s->ja, s->name);
    js_stream_unref(s);
}

int64_t js_reserved(struct js *js, const char *account, enum store_storage storage,
                    const struct store_stream *self)
{
    int64_t sum = 0;
    struct store_stream *ss = NULL;
    while ((ss = js->ops->stream_next(js->store, account, ss)) != NULL) {
        const struct stream_cfg *c = js->ops->stream_cfg(ss);
        if (ss != self && c->storage == storage && c->max_bytes > 0) {
            sum = c->max_bytes > INT64_MAX - sum ? INT64_MAX : sum + c->max_bytes;
        }
    }
    return sum;
}
