/* Reads of one value: the newest of a key, or a revision. One look-up each. */
#include "kv/kv_int.h"

struct read_op {
    struct kv *kv; /* shared */
    kv_entry_fn fn;
    void *arg;
    char *subject; /* owned */
    size_t subject_len;
    uint64_t revision; /* 0 = the newest */
};

static void finish(struct read_op *r, enum st st, const struct kv_entry *e, const struct err *err)
{
    r->fn(r->arg, st, e, err);
    kv_release(r->kv);
    base_free(r->subject);
    base_free(r);
}

static void fail(struct read_op *r, enum st st, const struct kv_entry *e)
{
    struct err err = {0};
    const char *key = r->subject + r->kv->prefix_len;
    if (st == ST_POISONED || st == ST_CLOSED) {
        (void)r->kv->ops->health(r->kv->home.store, &err);
    }
    if (st == ST_NOTFOUND && e != NULL) {
        err_set(&err, st, 0, "key \"%.100s\" was deleted", key);
    } else if (st == ST_NOTFOUND && r->revision != 0) {
        err_set(&err, st, 0, "no revision %llu of key \"%.100s\"", (unsigned long long)r->revision,
                key);
    } else if (st == ST_NOTFOUND) {
        err_set(&err, st, 0, "key \"%.100s\" not found", key);
    } else if (err.code == ST_OK) {
        err_set(&err, st, 0, "could not read key \"%.100s\": %s", key, st_text(st));
    }
    finish(r, st, e, &err);
}

static void on_get(void *arg, enum st st, const struct msg *m)
{
    struct read_op *r = arg;
    struct kv_entry e;
    if (st != ST_OK) {
        fail(r, st, NULL);
        return;
    }
    bool same = m->subj_len == r->subject_len && memcmp(m->subj, r->subject, m->subj_len) == 0;
    if (!same || !kv_entry_read(r->kv, m, &e)) {
        fail(r, ST_NOTFOUND, NULL);
        return;
    }
    e.key = r->subject + r->kv->prefix_len;
    if (e.op != KV_PUT) {
        fail(r, ST_NOTFOUND, &e);
    } else {
        finish(r, ST_OK, &e, NULL);
    }
}

static enum st start(struct kv *kv, const char *key, uint64_t revision, kv_entry_fn fn, void *arg,
                     struct err *err)
{
    ASSERT(kv->magic == KV_MAGIC);
    ASSERT(fn != NULL);
    char *subject;
    size_t len;
    enum st st = kv_check_key(key, err);
    if (st == ST_OK) {
        st = kv_subject(kv, key, &subject, &len, err);
    }
    if (st != ST_OK) {
        return st;
    }
    struct read_op *r = base_malloc(sizeof *r);
    *r = (struct read_op){kv_acquire(kv), fn, arg, subject, len, revision};
    struct store_get g = {revision != 0 ? GET_BY_SEQ : GET_LAST_BY_SUBJ, revision, subject,
                          (uint32_t)len, 0};
    kv->ops->get(kv->s, &g, on_get, r);
    return ST_OK;
}

enum st kv_get(struct kv *kv, const char *key, kv_entry_fn fn, void *arg, struct err *err)
{
    return start(kv, key, 0, fn, arg, err);
}

enum st kv_get_revision(struct kv *kv, const char *key, uint64_t revision, kv_entry_fn fn,
                        void *arg, struct err *err)
{
    if (revision == 0) {
        return err_set(err, ST_INVALID, 0, "revisions begin at 1");
    }
    return start(kv, key, revision, fn, arg, err);
}
