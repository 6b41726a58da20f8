/* Buckets: a stream whose config is the one NATS clients give it (ADR-8), made, found, changed,
 * deleted. */
#include "kv/kv_int.h"

#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/store_bucket.h"
#include "kv/watch.h"

/* --- handles ---------------------------------------------------------------------------------- */

static bool is_key_value(const struct stream_cfg *cfg)
{
    return cfg->max_msgs_per_subject > 0;
}

static const struct bucket_kind kind = {KV_STREAM_PREFIX, kv_bucket_valid, is_key_value};

struct first_subject {
    char *prefix; /* owned: "$KV.<bucket>.", or NULL */
};

static bool take_prefix(void *arg, const char *subject, uint32_t len, uint64_t count)
{
    struct first_subject *f = arg;
    (void)count;
    const char *dot = len > sizeof KV_SUBJECT_PREFIX
                          ? memchr(subject + sizeof KV_SUBJECT_PREFIX - 1, '.',
                                   len - (sizeof KV_SUBJECT_PREFIX - 1))
                          : NULL;
    if (dot == NULL || strncmp(subject, KV_SUBJECT_PREFIX, sizeof KV_SUBJECT_PREFIX - 1) != 0) {
        return true; /* not a key: another */
    }
    f->prefix = base_strndup(subject, (size_t)(dot + 1 - subject));
    return false;
}

/* A mirror keeps its origin's subjects: what stands there tells the prefix. */
static void take_mirror_prefix(struct kv *kv)
{
    struct first_subject f = {NULL};
    kv->ops->stream_subjects(kv->s, NULL, 0, take_prefix, &f);
    if (f.prefix != NULL) {
        base_free(kv->prefix);
        kv->prefix = f.prefix;
        kv->prefix_len = strlen(f.prefix);
    }
}

static struct kv *kv_make(const struct kv_home *home, const char *bucket, struct store_stream *s)
{
    struct kv *kv = base_calloc(1, sizeof *kv);
    kv->magic = KV_MAGIC;
    kv->refs = 1;
    kv->home = *home;
    kv->ops = home->store->ops;
    kv->s = s;
    kv->bucket = base_strdup(bucket);
    kv->prefix_len = sizeof KV_SUBJECT_PREFIX - 1 + strlen(bucket) + 1;
    kv->prefix = base_malloc(kv->prefix_len + 1);
    (void)snprintf(kv->prefix, kv->prefix_len + 1, KV_SUBJECT_PREFIX "%s.", bucket);
    const struct stream_cfg *cfg = kv->ops->stream_cfg(s);
    kv->mirror = cfg->mirror || cfg->nsubjects == 0;
    list_init(&kv->watches);
    if (kv->mirror) {
        take_mirror_prefix(kv);
    }
    return kv;
}

void kv_release(struct kv *kv)
{
    ASSERT(kv->refs > 0);
    if (--kv->refs == 0) {
        ASSERT(list_empty(&kv->watches));
        base_free(kv->bucket);
        base_free(kv->prefix);
        kv->magic = 0;
        base_free(kv);
    }
}

static enum st find(const struct kv_home *home, const char *bucket, struct store_stream **s_out,
                    struct err *err)
{
    struct store_stream *s;
    *s_out = NULL;
    enum st st = bucket_find(&kind, home->store, home->account, bucket, &s, err);
    if (st == ST_OK && !is_key_value(home->store->ops->stream_cfg(s))) {
        return err_set(err, ST_INVALID, 0, "stream \"%s%s\" is not a key-value bucket",
                       KV_STREAM_PREFIX, bucket);
    }
    *s_out = s;
    return st;
}

enum st kv_open(const struct kv_home *home, const char *bucket, struct kv **kv_out, struct err *err)
{
    struct store_stream *s;
    *kv_out = NULL;
    enum st st = find(home, bucket, &s, err);
    if (st == ST_OK) {
        *kv_out = kv_make(home, bucket, s);
    }
    return st;
}

void kv_close(struct kv *kv)
{
    if (kv == NULL) {
        return;
    }
    ASSERT(kv->magic == KV_MAGIC);
    ASSERT(!kv->closed);
    kv->closed = true;
    kv_watch_close_all(kv);
    kv_release(kv);
}

/* --- config ----------------------------------------------------------------------------------- */

static struct bucket_choices choices(const struct kv_config *c)
{
    return (struct bucket_choices){.description = c->description,
                                   .ttl_ns = c->ttl_ns,
                                   .max_bytes = c->max_bytes,
                                   .compression = c->compression,
                                   .metadata = c->metadata,
                                   .nmetadata = c->nmetadata};
}

static enum st check_config(const struct kv_config *c, struct err *err)
{
    struct bucket_choices common = choices(c);
    enum st st = bucket_check(&kind, c->bucket, &common, err);
    if (st != ST_OK) {
        return st;
    }
    if (c->history > KV_HISTORY_MAX) {
        return err_set(err, ST_INVALID, 0, "history of %u is more than %u", c->history,
                       KV_HISTORY_MAX);
    }
    if (c->limit_marker_ttl_ns < 0 || c->limit_marker_ttl_ns % NS_PER_S != 0) {
        return err_set(err, ST_INVALID, 0, "the TTL of limit markers is in whole seconds");
    }
    if (c->max_value_bytes < -1) {
        return err_set(err, ST_INVALID, 0, "a size cannot be negative");
    }
    return ST_OK;
}

/* What the caller may choose, into a stream's config. */
static void put_choices(struct stream_cfg *cfg, const struct kv_config *c)
{
    struct bucket_choices common = choices(c);
    bucket_put_choices(cfg, &common);
    cfg->max_msgs_per_subject = c->history == 0 ? 1 : c->history;
    cfg->max_msg_size = c->max_value_bytes <= 0 ? -1 : c->max_value_bytes;
    cfg->allow_msg_ttl = cfg->allow_msg_ttl || c->limit_marker_ttl_ns > 0;
    cfg->subject_delete_marker_ttl_ns = c->limit_marker_ttl_ns;
}

static void make_cfg(struct stream_cfg *cfg, const struct kv_home *home, const struct kv_config *c)
{
    char subject[LIM_NAME_BYTES_MAX + 8];
    (void)snprintf(subject, sizeof subject, KV_SUBJECT_PREFIX "%s.>", c->bucket);
    bucket_cfg_init(cfg, &kind, home->account, c->bucket, 1);
    cfg->subjects[0] = base_strdup(subject);
    cfg->storage = c->storage;
    cfg->deny_delete = true;
    put_choices(cfg, c);
}

/* --- create, update, delete ------------------------------------------------------------------- */

struct bucket_op {
    struct kv_home home;
    char *bucket;    /* owned */
    kv_bucket_fn fn; /* create */
    struct kv *kv;   /* update: shared */
    store_done_fn done;
    void *arg;
};

static void bucket_op_free(struct bucket_op *op)
{
    if (op->kv != NULL) {
        kv_release(op->kv);
    }
    base_free(op->bucket);
    base_free(op);
}

static void on_created(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct bucket_op *op = arg;
    op->fn(op->arg, st, st == ST_OK ? kv_make(&op->home, op->bucket, s) : NULL, err);
    bucket_op_free(op);
}

enum st kv_create(const struct kv_home *home, const struct kv_config *c, kv_bucket_fn fn, void *arg,
                  struct err *err)
{
    ASSERT(fn != NULL);
    enum st st = check_config(c, err);
    if (st != ST_OK) {
        return st;
    }
    struct stream_cfg cfg;
    make_cfg(&cfg, home, c);
    st = bucket_check_overlap(&kind, home->store, &cfg, err);
    if (st == ST_OK) {
        struct bucket_op *op = base_calloc(1, sizeof *op);
        *op = (struct bucket_op){
            .home = *home, .bucket = base_strdup(c->bucket), .fn = fn, .arg = arg};
        home->store->ops->stream_create(home->store, &cfg, on_created, op);
    }
    stream_cfg_fini(&cfg);
    return st;
}

static void on_updated(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct bucket_op *op = arg;
    (void)s;
    op->done(op->arg, st, 0, err);
    bucket_op_free(op);
}

enum st kv_update_config(struct kv *kv, const struct kv_config *c, store_done_fn fn, void *arg,
                         struct err *err)
{
    ASSERT(kv->magic == KV_MAGIC);
    ASSERT(fn != NULL);
    struct kv_config named = *c;
    named.bucket = kv->bucket;
    enum st st = check_config(&named, err);
    if (st != ST_OK) {
        return st;
    }
    struct stream_cfg cfg;
    stream_cfg_copy(&cfg, kv->ops->stream_cfg(kv->s));
    put_choices(&cfg, &named);
    struct bucket_op *op = base_calloc(1, sizeof *op);
    *op = (struct bucket_op){.kv = kv_acquire(kv), .done = fn, .arg = arg};
    kv->ops->stream_update(kv->home.store, kv->s, &cfg, on_updated, op);
    stream_cfg_fini(&cfg);
    return ST_OK;
}

enum st kv_delete_bucket(const struct kv_home *home, const char *bucket, store_done_fn fn,
                         void *arg, struct err *err)
{
    struct store_stream *s;
    enum st st = find(home, bucket, &s, err);
    if (st == ST_OK) {
        home->store->ops->stream_delete(home->store, s, fn, arg);
    }
    return st;
}

/* --- looking ---------------------------------------------------------------------------------- */

const char *kv_next_bucket(const struct kv_home *home, const char *prev)
{
    return bucket_next(&kind, home->store, home->account, prev);
}

struct status_op {
    struct kv *kv; /* shared */
    kv_status_fn fn;
    void *arg;
};

static void on_settled(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct status_op *op = arg;
    struct kv *kv = op->kv;
    (void)n;
    if (st != ST_OK) {
        op->fn(op->arg, st, NULL, err);
    } else {
        struct stream_state state;
        const struct stream_cfg *c = kv->ops->stream_cfg(kv->s);
        kv->ops->stream_state(kv->s, &state);
        struct kv_status s = {.bucket = kv->bucket,
                              .description = c->description,
                              .values = state.msgs,
                              .bytes = state.bytes,
                              .keys = state.nsubjects,
                              .last_revision = state.last_seq,
                              .history = (uint32_t)c->max_msgs_per_subject,
                              .replicas = c->replicas,
                              .ttl_ns = c->max_age_ns,
                              .limit_marker_ttl_ns = c->subject_delete_marker_ttl_ns,
                              .max_bytes = c->max_bytes,
                              .max_value_bytes = c->max_msg_size,
                              .storage = c->storage,
                              .durability = state.durability,
                              .compression = c->compression != COMPRESSION_NONE,
                              .sealed = c->sealed,
                              .read_only = kv->mirror || c->sealed,
                              .metadata = c->metadata,
                              .nmetadata = c->nmetadata};
        op->fn(op->arg, ST_OK, &s, NULL);
    }
    kv_release(kv);
    base_free(op);
}

void kv_status(struct kv *kv, kv_status_fn fn, void *arg)
{
    ASSERT(kv->magic == KV_MAGIC);
    struct status_op *op = base_calloc(1, sizeof *op);
    *op = (struct status_op){kv_acquire(kv), fn, arg};
    kv->ops->stream_barrier(kv->s, on_settled, op);
}
