/* Writes: put, create, update, delete, purge are one append each, with the headers clients give it.
 *
 * An operation holds what it writes until it is answered: a full journal window (ST_FULL) makes it
 * wait for a later turn, and create may have to write a second time, over the marker of a deleted
 * key. */
#include "kv/kv_int.h"

#include <stdio.h>

#define HDR_BYTES_MAX 192u

struct write_op {
    struct kv *kv; /* shared */
    kv_revision_fn fn;
    void *arg;
    char *subject; /* owned */
    uint8_t *data; /* owned */
    size_t subject_len, data_len;
    char hdr[HDR_BYTES_MAX];
    size_t hdr_len;
    int64_t ttl_ns;
    uint64_t expected; /* newest revision it must find, where has_expected */
    enum kv_op op;
    bool has_expected;
    bool create;   /* a marker counts as nothing */
    bool replaces; /* create, over a marker */
};

static void submit(struct write_op *w);

static void finish(struct write_op *w, enum st st, uint64_t revision, const struct err *err)
{
    w->fn(w->arg, st, revision, err);
    kv_release(w->kv);
    base_free(w->subject);
    base_free(w->data);
    base_free(w);
}

static const char *key_of(const struct write_op *w)
{
    return w->subject + w->kv->prefix_len;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void fail_verdict(struct write_op *w, const struct store_append_result *r)
{
    struct err err = {0};
    const char *key = key_of(w);
    switch (r->verdict) {
    case APPEND_WRONG_LAST_SUBJ_SEQ:
    case APPEND_WRONG_LAST_SEQ:
        err_set(&err, ST_MISMATCH, 0, "key \"%.100s\" is at revision %llu, not %llu", key,
                (unsigned long long)r->actual, (unsigned long long)w->expected);
        break;
    case APPEND_MSG_TOO_BIG:
        err_set(&err, ST_TOOBIG, 0, "a value of %zu bytes is more than the bucket takes",
                w->data_len);
        break;
    case APPEND_MAX_MSGS:
    case APPEND_MAX_BYTES:
    case APPEND_MAX_MSGS_PER_SUBJECT:
        err_set(&err, ST_FULL, 0, "bucket \"%s\" is full", w->kv->bucket);
        break;
    case APPEND_SEALED:
        err_set(&err, ST_DENIED, 0, "bucket \"%s\" is sealed", w->kv->bucket);
        break;
    case APPEND_ROLLUP_DENIED:
        err_set(&err, ST_DENIED, 0, "bucket \"%s\" does not allow purges", w->kv->bucket);
        break;
    case APPEND_NO_STORE:
    case APPEND_NO_MEMORY:
        err_set(&err, ST_NOSPACE, 0, "no room for key \"%.100s\": the store's limit is reached",
                key);
        break;
    case APPEND_WRONG_LAST_MSGID:
    case APPEND_STORED:
    case APPEND_DUPLICATE:
    case APPEND_FAILED:
    default:
        if (w->kv->ops->health(w->kv->home.store, &err) == ST_OK) {
            err_set(&err, ST_POISONED, 0, "whether key \"%.100s\" was written is not known", key);
        }
        break;
    }
    finish(w, err.code, 0, &err);
}

/* create found a revision: is it a marker? */
static void on_present(void *arg, enum st st, const struct msg *m)
{
    struct write_op *w = arg;
    struct kv_entry e;
    struct err err;
    if (st == ST_NOTFOUND) { /* gone in between */
        w->expected = 0;
        submit(w);
    } else if (st != ST_OK) {
        err_set(&err, st, 0, "could not read key \"%.100s\": %s", key_of(w), st_text(st));
        finish(w, st, 0, &err);
    } else if (!kv_entry_read(w->kv, m, &e) || e.op == KV_PUT) {
        err_set(&err, ST_EXISTS, 0, "key \"%.100s\" exists", key_of(w));
        finish(w, ST_EXISTS, 0, &err);
    } else {
        w->expected = m->seq;
        w->replaces = true;
        submit(w);
    }
}

static void on_appended(void *arg, const struct store_append_result *r)
{
    struct write_op *w = arg;
    if (r->verdict == APPEND_STORED || r->verdict == APPEND_DUPLICATE) {
        finish(w, ST_OK, r->seq, NULL);
        return;
    }
    bool lost = r->verdict == APPEND_WRONG_LAST_SUBJ_SEQ || r->verdict == APPEND_WRONG_LAST_SEQ;
    if (lost && w->create && w->replaces) {
        struct err err; /* somebody else was quicker */
        err_set(&err, ST_EXISTS, 0, "key \"%.100s\" exists", key_of(w));
        finish(w, ST_EXISTS, 0, &err);
        return;
    }
    if (lost && w->create) {
        struct store_get g = {GET_LAST_BY_SUBJ, 0, w->subject, (uint32_t)w->subject_len, 0};
        w->kv->ops->get(w->kv->s, &g, on_present, w);
        return;
    }
    fail_verdict(w, r);
}

/* --- submitting ------------------------------------------------------------------------------- */

static void add_line(struct write_op *w, const char *text)
{
    size_t n = strlen(text);
    ASSERT(w->hdr_len + n < sizeof w->hdr);
    memcpy(w->hdr + w->hdr_len, text, n);
    w->hdr_len += n;
}

/* The header block as clients write it, names in order. */
static void put_headers(struct write_op *w)
{
    char line[80];
    w->hdr_len = 0;
    if (w->op == KV_PUT && !w->has_expected && w->ttl_ns == 0) {
        return;
    }
    add_line(w, "NATS/1.0\r\n");
    if (w->op != KV_PUT) {
        add_line(w, w->op == KV_DELETE ? "KV-Operation: DEL\r\n" : "KV-Operation: PURGE\r\n");
    }
    if (w->has_expected) {
        (void)snprintf(line, sizeof line, "Nats-Expected-Last-Subject-Sequence: %llu\r\n",
                       (unsigned long long)w->expected);
        add_line(w, line);
    }
    if (w->op == KV_PURGE) {
        add_line(w, "Nats-Rollup: sub\r\n");
    }
    if (w->ttl_ns > 0) {
        (void)snprintf(line, sizeof line, "Nats-TTL: %llds\r\n", (long long)(w->ttl_ns / NS_PER_S));
        add_line(w, line);
    }
    add_line(w, "\r\n");
}

static void on_later(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct write_op *w = arg;
    (void)n;
    if (st != ST_OK) {
        finish(w, st, 0, err);
    } else {
        submit(w);
    }
}

static void submit(struct write_op *w)
{
    put_headers(w);
    struct store_append a = {.subject = w->subject,
                             .subject_len = (uint32_t)w->subject_len,
                             .hdr = (const uint8_t *)w->hdr,
                             .hdr_len = (uint32_t)w->hdr_len,
                             .data = w->data,
                             .data_len = (uint32_t)w->data_len,
                             .has_expected_last_subj_seq = w->has_expected,
                             .expected_last_subj_seq = w->expected,
                             .rollup = w->op == KV_PURGE ? 1 : 0,
                             .flags = w->ttl_ns > 0 ? MSG_TTL : 0};
    enum st st = w->kv->ops->append(w->kv->s, &a, on_appended, w);
    if (st == ST_FULL) { /* the journal window: again in a later turn */
        w->kv->ops->stream_barrier(w->kv->s, on_later, w);
    } else if (st != ST_OK) {
        struct store_append_result r = {.verdict = APPEND_FAILED};
        fail_verdict(w, &r);
    }
}

static enum st check_ttl(const struct kv *kv, int64_t ttl_ns, struct err *err)
{
    if (ttl_ns == 0) {
        return ST_OK;
    }
    if (ttl_ns < NS_PER_S || ttl_ns % NS_PER_S != 0) {
        return err_set(err, ST_INVALID, 0, "a key's TTL is in whole seconds");
    }
    if (!kv->ops->stream_cfg(kv->s)->allow_msg_ttl) {
        return err_set(err, ST_UNSUPPORTED, 0, "bucket \"%s\" does not allow a TTL on keys",
                       kv->bucket);
    }
    return ST_OK;
}

/* A value never lives shorter than the marker that follows it; where a key keeps one revision only
 * it may. As the server has it. */
static int64_t ttl_of(const struct kv *kv, int64_t ttl_ns)
{
    const struct stream_cfg *c = kv->ops->stream_cfg(kv->s);
    bool raise = ttl_ns > 0 && c->max_msgs_per_subject != 1;
    return raise ? i64_max(ttl_ns, c->subject_delete_marker_ttl_ns) : ttl_ns;
}

static enum st start(const struct write_op *what, struct kv *kv, const char *key, const void *value,
                     size_t len, struct err *err)
{
    ASSERT(kv->magic == KV_MAGIC);
    ASSERT(what->fn != NULL);
    enum st st = kv_check_key(key, err);
    if (st == ST_OK && kv->mirror) {
        st = err_set(err, ST_DENIED, 0, "bucket \"%s\" is a mirror", kv->bucket);
    }
    if (st == ST_OK && len > UINT32_MAX / 2) {
        st = err_set(err, ST_TOOBIG, 0, "a value of %zu bytes is too large", len);
    }
    if (st == ST_OK) {
        st = check_ttl(kv, what->ttl_ns, err);
    }
    char *subject;
    size_t subject_len;
    if (st == ST_OK) {
        st = kv_subject(kv, key, &subject, &subject_len, err);
    }
    if (st != ST_OK) {
        return st;
    }
    uint8_t *data = NULL;
    if (len > 0) {
        data = base_try_malloc(len);
        if (data == NULL) {
            base_free(subject);
            return err_set(err, ST_NOMEM, 0, "no memory for a value of %zu bytes", len);
        }
        memcpy(data, value, len);
    }
    struct write_op *w = base_malloc(sizeof *w);
    *w = *what;
    w->kv = kv_acquire(kv);
    w->ttl_ns = ttl_of(kv, what->ttl_ns);
    w->subject = subject;
    w->subject_len = subject_len;
    w->data = data;
    w->data_len = len;
    submit(w);
    return ST_OK;
}

/* --- the calls -------------------------------------------------------------------------------- */

enum st kv_put(struct kv *kv, const char *key, const void *value, size_t len, kv_revision_fn fn,
               void *arg, struct err *err)
{
    struct write_op w = {.fn = fn, .arg = arg};
    return start(&w, kv, key, value, len, err);
}

enum st kv_create_key(struct kv *kv, const char *key, const void *value, size_t len, int64_t ttl_ns,
                      kv_revision_fn fn, void *arg, struct err *err)
{
    struct write_op w = {
        .fn = fn, .arg = arg, .has_expected = true, .create = true, .ttl_ns = ttl_ns};
    return start(&w, kv, key, value, len, err);
}

enum st kv_update(struct kv *kv, const char *key, const void *value, size_t len, uint64_t last,
                  kv_revision_fn fn, void *arg, struct err *err)
{
    struct write_op w = {.fn = fn, .arg = arg, .has_expected = true, .expected = last};
    return start(&w, kv, key, value, len, err);
}

enum st kv_delete(struct kv *kv, const char *key, uint64_t last, kv_revision_fn fn, void *arg,
                  struct err *err)
{
    struct write_op w = {
        .fn = fn, .arg = arg, .op = KV_DELETE, .has_expected = last != 0, .expected = last};
    return start(&w, kv, key, NULL, 0, err);
}

enum st kv_purge(struct kv *kv, const char *key, uint64_t last, int64_t ttl_ns, kv_revision_fn fn,
                 void *arg, struct err *err)
{
    struct write_op w = {.fn = fn,
                         .arg = arg,
                         .op = KV_PURGE,
                         .has_expected = last != 0,
                         .expected = last,
                         .ttl_ns = ttl_ns};
    return start(&w, kv, key, NULL, 0, err);
}
