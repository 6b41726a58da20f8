/* Watches, and what is made of them: keys, history, purge of deletes.
 *
 * A watch is a scan (engine/store_scan.h) of the bucket's stream whose messages are entries. keys,
 * history and purge-deletes are watches that end themselves when they have caught up. */
#include "kv/watch.h"

#include <stdio.h>

#include "engine/base/subject.h"
#include "engine/store_scan.h"
#include "kv/kv_int.h"

struct kv_watch {
    struct list_node node; /* in kv->watches */
    struct kv *kv;         /* shared */
    struct store_scan *scan;
    struct kv_watch_events ev;
    char *key_buf; /* owned: the key being given, with a NUL */
    bool ignore_deletes, meta_only;
    bool busy;   /* inside a callback of the caller */
    bool closed; /* freed when no longer busy */
};

static void watch_free(struct kv_watch *w)
{
    base_free(w->key_buf);
    kv_release(w->kv);
    base_free(w);
}

static void leave(struct kv_watch *w)
{
    w->busy = false;
    if (w->closed) {
        watch_free(w);
    }
}

static void tell_initial_done(struct kv_watch *w)
{
    if (w->ev.initial_done != NULL && !w->closed) {
        w->ev.initial_done(w->ev.arg);
    }
}

static void on_opened(void *arg, enum st st, uint64_t pending, const struct err *err)
{
    struct kv_watch *w = arg;
    (void)pending;
    if (st != ST_OK && w->ev.failed != NULL) {
        w->busy = true;
        w->ev.failed(w->ev.arg, st, err);
        leave(w);
    }
}

static void on_msg(void *arg, const struct msg *m, uint64_t pending)
{
    struct kv_watch *w = arg;
    struct kv_entry e;
    if (!kv_entry_take(w->kv, m, &e, &w->key_buf)) {
        return;
    }
    e.delta = pending;
    if (w->ignore_deletes && e.op != KV_PUT) {
        return;
    }
    if (w->meta_only) {
        e.value = NULL;
        e.value_len = 0;
    }
    w->busy = true;
    w->ev.entry(w->ev.arg, &e);
    leave(w);
}

static void on_caught_up(void *arg)
{
    struct kv_watch *w = arg;
    w->busy = true;
    tell_initial_done(w);
    leave(w);
}

static enum st check_opts(const struct kv_watch_opts *o, struct err *err)
{
    if (o->include_history + o->updates_only + (o->from_revision > 0) > 1) {
        return err_set(err, ST_INVALID, 0,
                       "history, updates only and a first revision exclude each other");
    }
    for (size_t i = 0; i < o->nfilters; i++) {
        if (!kv_filter_valid(o->filters[i])) {
            return err_set(err, ST_INVALID, 0, "invalid filter \"%.128s\"", o->filters[i]);
        }
        for (size_t k = 0; k < i; k++) {
            if (subject_overlap(o->filters[i], strlen(o->filters[i]), o->filters[k],
                                strlen(o->filters[k]))) {
                return err_set(err, ST_INVALID, 0, "filters \"%.100s\" and \"%.100s\" overlap",
                               o->filters[k], o->filters[i]);
            }
        }
    }
    return ST_OK;
}

/* The filters as subjects; *n_out of them, each and the array owned by the caller. */
static enum st filter_subjects(const struct kv *kv, const struct kv_watch_opts *o, char ***out,
                               size_t *n_out, struct err *err)
{
    static const char *const all[] = {">"};
    const char *const *f = o->nfilters > 0 ? o->filters : all;
    size_t n = o->nfilters > 0 ? o->nfilters : 1, len;
    char **v = base_calloc(n, sizeof *v);
    enum st st = ST_OK;
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        st = kv_subject(kv, f[i], &v[i], &len, err);
    }
    *out = v;
    *n_out = n;
    return st;
}

static void filters_free(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        base_free(v[i]);
    }
    base_free(v);
}

enum st kv_watch(struct kv *kv, const struct kv_watch_opts *o, const struct kv_watch_events *ev,
                 struct kv_watch **watch_out, struct err *err)
{
    ASSERT(kv->magic == KV_MAGIC);
    ASSERT(ev->entry != NULL);
    *watch_out = NULL;
    char **subjects = NULL;
    size_t n = 0;
    enum st st = check_opts(o, err);
    if (st == ST_OK) {
        st = filter_subjects(kv, o, &subjects, &n, err);
    }
    if (st == ST_OK) {
        struct kv_watch *w = base_calloc(1, sizeof *w);
        w->kv = kv_acquire(kv);
        w->ev = *ev;
        w->ignore_deletes = o->ignore_deletes;
        w->meta_only = o->meta_only;
        list_push_back(&kv->watches, &w->node);
        struct store_scan_opts so = {.filters = (const char *const *)subjects,
                                     .nfilters = n,
                                     .deliver = o->from_revision > 0 ? DELIVER_BY_START_SEQ
                                                : o->include_history ? DELIVER_ALL
                                                : o->updates_only    ? DELIVER_NEW
                                                                     : DELIVER_LAST_PER_SUBJECT,
                                     .start_seq = o->from_revision,
                                     .headers_only = o->meta_only};
        struct store_scan_events se = {
            .arg = w, .opened = on_opened, .msg = on_msg, .caught_up = on_caught_up};
        w->scan = store_scan_open(kv->home.store, kv->home.env, kv->s, &so, &se);
        *watch_out = w;
    }
    filters_free(subjects, n);
    return st;
}

void kv_watch_pause(struct kv_watch *w)
{
    store_scan_pause(w->scan);
}

void kv_watch_resume(struct kv_watch *w)
{
    store_scan_resume(w->scan);
}

void kv_watch_close(struct kv_watch *w)
{
    if (w == NULL) {
        return;
    }
    ASSERT(!w->closed);
    w->closed = true;
    list_remove(&w->node);
    store_scan_close(w->scan);
    if (!w->busy) {
        watch_free(w);
    }
}

/* --- keys, history ---------------------------------------------------------------------------- */

/* A watch that ends when it has caught up. */
struct sweep {
    struct kv_watch *w;
    kv_each_fn each;
    store_done_fn done;
    void *arg;
    char *key; /* owned: history's, for its error */
    uint64_t count;
};

static void sweep_entry(void *arg, const struct kv_entry *e)
{
    struct sweep *s = arg;
    s->count++;
    if (s->each != NULL) {
        s->each(s->arg, e);
    }
}

static void sweep_end(struct sweep *s, enum st st, const struct err *err)
{
    kv_watch_close(s->w);
    s->done(s->arg, st, s->count, err);
    base_free(s->key);
    base_free(s);
}

static void sweep_done(void *arg)
{
    struct sweep *s = arg;
    struct err err;
    if (s->key != NULL && s->count == 0) {
        sweep_end(s, err_set(&err, ST_NOTFOUND, 0, "key \"%.100s\" not found", s->key), &err);
    } else {
        sweep_end(s, ST_OK, NULL);
    }
}

static void sweep_failed(void *arg, enum st st, const struct err *err)
{
    sweep_end(arg, st, err);
}

static enum st sweep_start(struct kv *kv, const struct kv_watch_opts *o, const struct sweep *what,
                           struct err *err)
{
    ASSERT(what->done != NULL);
    struct sweep *s = base_malloc(sizeof *s);
    *s = *what;
    struct kv_watch_events ev = {s, sweep_entry, sweep_done, sweep_failed};
    enum st st = kv_watch(kv, o, &ev, &s->w, err);
    if (st != ST_OK) {
        base_free(s->key);
        base_free(s);
    }
    return st;
}

enum st kv_keys(struct kv *kv, const char *const *filters, size_t nfilters, kv_each_fn each,
                store_done_fn done, void *arg, struct err *err)
{
    struct kv_watch_opts o = {
        .filters = filters, .nfilters = nfilters, .ignore_deletes = true, .meta_only = true};
    struct sweep s = {.each = each, .done = done, .arg = arg};
    return sweep_start(kv, &o, &s, err);
}

enum st kv_history(struct kv *kv, const char *key, kv_each_fn each, store_done_fn done, void *arg,
                   struct err *err)
{
    enum st st = kv_check_key(key, err);
    if (st != ST_OK) {
        return st;
    }
    struct kv_watch_opts o = {.filters = &key, .nfilters = 1, .include_history = true};
    struct sweep s = {.each = each, .done = done, .arg = arg, .key = base_strdup(key)};
    return sweep_start(kv, &o, &s, err);
}

/* --- purge of deletes ------------------------------------------------------------------------- */

#define PURGES_MAX 64u /* under way at once; beyond: the scan pauses */

struct tidy {
    struct kv *kv; /* shared */
    struct kv_watch *w;
    store_done_fn done;
    void *arg;
    int64_t before_ns; /* markers older than this go too */
    uint64_t count;
    unsigned under_way;
    bool caught_up;
    enum st st;
    struct err err;
};

static void tidy_end_if_over(struct tidy *t)
{
    if (!t->caught_up || t->under_way > 0) {
        return;
    }
    kv_watch_close(t->w);
    t->done(t->arg, t->st, t->count, t->st != ST_OK ? &t->err : NULL);
    kv_release(t->kv);
    base_free(t);
}

static void on_purged(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct tidy *t = arg;
    (void)n;
    t->under_way--;
    t->count += st == ST_OK;
    if (st != ST_OK && t->st == ST_OK) {
        t->st = st;
        err_set(&t->err, st, 0, "could not purge: %s", err != NULL ? err->msg : st_text(st));
    }
    kv_watch_resume(t->w);
    tidy_end_if_over(t);
}

static void tidy_entry(void *arg, const struct kv_entry *e)
{
    struct tidy *t = arg;
    char *subject;
    size_t len;
    /* Anybody can publish to "*" or ">": as a filter it would be everybody's keys. */
    if (e->op == KV_PUT || !subject_literal(e->key, e->key_len) ||
        kv_subject(t->kv, e->key, &subject, &len, NULL) != ST_OK) {
        return;
    }
    /* Up to the marker: what was put behind it in the meantime stays. */
    bool old = e->created_ns < t->before_ns;
    struct store_purge p = {
        .filter = subject, .filter_len = (uint32_t)len, .seq = e->revision + (old ? 1 : 0)};
    t->under_way++;
    t->kv->ops->purge(t->kv->s, &p, on_purged, t);
    base_free(subject);
    if (t->under_way == PURGES_MAX) {
        kv_watch_pause(t->w);
    }
}

static void tidy_caught_up(void *arg)
{
    struct tidy *t = arg;
    t->caught_up = true;
    tidy_end_if_over(t);
}

static void tidy_failed(void *arg, enum st st, const struct err *err)
{
    struct tidy *t = arg;
    t->st = st;
    t->err = err != NULL ? *err : (struct err){.code = st};
    tidy_caught_up(t);
}

enum st kv_purge_deletes(struct kv *kv, int64_t older_than_ns, store_done_fn done, void *arg,
                         struct err *err)
{
    ASSERT(done != NULL);
    if (kv->mirror || kv->ops->stream_cfg(kv->s)->sealed) {
        return err_set(err, ST_DENIED, 0, "bucket \"%s\" cannot be changed", kv->bucket);
    }
    struct tidy *t = base_calloc(1, sizeof *t);
    t->done = done;
    t->arg = arg;
    t->before_ns = older_than_ns <= 0 ? INT64_MAX : env_real_ns(kv->home.env) - older_than_ns;
    struct kv_watch_opts o = {.meta_only = true};
    struct kv_watch_events ev = {t, tidy_entry, tidy_caught_up, tidy_failed};
    enum st st = kv_watch(kv, &o, &ev, &t->w, err);
    if (st != ST_OK) {
        base_free(t);
        return st;
    }
    t->kv = kv_acquire(kv);
    return ST_OK;
}

/* Sweeps end with their handle: their callers are told. */
void kv_watch_close_all(struct kv *kv)
{
    LIST_EACH(&kv->watches, n)
    {
        struct kv_watch *w = CONTAINER_OF(n, struct kv_watch, node);
        struct err err;
        if (w->ev.entry == sweep_entry) {
            sweep_end(w->ev.arg, err_set(&err, ST_CLOSED, 0, "the bucket was closed"), &err);
        } else if (w->ev.entry == tidy_entry) {
            struct tidy *t = w->ev.arg;
            t->st = err_set(&t->err, ST_CLOSED, 0, "the bucket was closed");
            tidy_caught_up(t); /* or with the last purge under way */
        } else {
            kv_watch_close(w);
        }
    }
}
