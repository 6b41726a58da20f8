/* Buckets: a stream whose config is the one NATS clients give it (ADR-20), made, found, sealed,
 * deleted. */
#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/base/subject.h"
#include "objstore/obj_int.h"

/* --- handles ---------------------------------------------------------------------------------- */

static void stream_name(char out[LIM_NAME_BYTES_MAX + 1], const char *bucket)
{
    (void)snprintf(out, LIM_NAME_BYTES_MAX + 1, OBJ_STREAM_PREFIX "%s", bucket);
}

static struct obj_bucket *bucket_make(const struct obj_home *home, const char *name,
                                      struct store_stream *s)
{
    struct obj_bucket *b = base_calloc(1, sizeof *b);
    b->magic = OBJ_MAGIC;
    b->refs = 1;
    b->home = *home;
    b->ops = home->store->ops;
    b->s = s;
    b->name = base_strdup(name);
    list_init(&b->watches);
    return b;
}

void obj_release(struct obj_bucket *b)
{
    ASSERT(b->refs > 0);
    if (--b->refs == 0) {
        ASSERT(list_empty(&b->watches));
        base_free(b->name);
        b->magic = 0;
        base_free(b);
    }
}

static enum st find(const struct obj_home *home, const char *bucket, struct store_stream **s_out,
                    struct err *err)
{
    char name[LIM_NAME_BYTES_MAX + 1];
    *s_out = NULL;
    if (!obj_bucket_valid(bucket)) {
        return err_set(err, ST_INVALID, 0, "invalid bucket name \"%.128s\"", bucket);
    }
    stream_name(name, bucket);
    *s_out = home->store->ops->stream_find(home->store, home->account, name);
    if (*s_out == NULL) {
        return err_set(err, ST_NOTFOUND, 0, "bucket \"%s\" not found", bucket);
    }
    return ST_OK;
}

enum st obj_open(const struct obj_home *home, const char *bucket, struct obj_bucket **b_out,
                 struct err *err)
{
    struct store_stream *s;
    *b_out = NULL;
    enum st st = find(home, bucket, &s, err);
    if (st == ST_OK) {
        *b_out = bucket_make(home, bucket, s);
    }
    return st;
}

void obj_close(struct obj_bucket *b)
{
    if (b == NULL) {
        return;
    }
    ASSERT(b->magic == OBJ_MAGIC);
    ASSERT(!b->closed);
    b->closed = true;
    obj_watch_close_all(b);
    obj_release(b);
}

/* --- create, seal, delete --------------------------------------------------------------------- */

static enum st check_config(const struct obj_config *c, struct err *err)
{
    if (c->bucket == NULL || !obj_bucket_valid(c->bucket)) {
        return err_set(err, ST_INVALID, 0, "invalid bucket name \"%.128s\"",
                       c->bucket == NULL ? "" : c->bucket);
    }
    if (c->ttl_ns < 0 || (c->ttl_ns > 0 && c->ttl_ns < 100 * NS_PER_MS)) {
        return err_set(err, ST_INVALID, 0, "a bucket's TTL is 100 ms or more");
    }
    if (c->max_bytes < -1) {
        return err_set(err, ST_INVALID, 0, "a size cannot be negative");
    }
    if (c->description != NULL && strlen(c->description) > LIM_DESCRIPTION_BYTES_MAX) {
        return err_set(err, ST_INVALID, 0, "the description is longer than %zu bytes",
                       (size_t)LIM_DESCRIPTION_BYTES_MAX);
    }
    size_t meta = 0;
    for (size_t i = 0; i < c->nmetadata; i++) {
        meta += strlen(c->metadata[i].key) + strlen(c->metadata[i].value);
    }
    if (meta > LIM_METADATA_BYTES_MAX) {
        return err_set(err, ST_INVALID, 0, "the metadata is larger than %zu bytes",
                       (size_t)LIM_METADATA_BYTES_MAX);
    }
    return ST_OK;
}

static void make_cfg(struct stream_cfg *cfg, const struct obj_home *home,
                     const struct obj_config *c)
{
    char name[LIM_NAME_BYTES_MAX + 1], subject[LIM_NAME_BYTES_MAX + 8];
    stream_name(name, c->bucket);
    stream_cfg_init(cfg);
    cfg->account = base_strdup(home->account);
    cfg->name = base_strdup(name);
    cfg->description =
        c->description != NULL && *c->description != 0 ? base_strdup(c->description) : NULL;
    cfg->subjects = base_calloc(2, sizeof *cfg->subjects);
    for (cfg->nsubjects = 0; cfg->nsubjects < 2; cfg->nsubjects++) {
        (void)snprintf(subject, sizeof subject, "$O.%s.%c.>", c->bucket,
                       cfg->nsubjects == 0 ? 'C' : 'M');
        cfg->subjects[cfg->nsubjects] = base_strdup(subject);
    }
    cfg->storage = c->storage;
    cfg->discard = DISCARD_NEW;
    cfg->compression = c->compression ? COMPRESSION_S2 : COMPRESSION_NONE;
    cfg->max_age_ns = c->ttl_ns;
    cfg->max_bytes = c->max_bytes <= 0 ? -1 : c->max_bytes;
    cfg->duplicates_ns = c->ttl_ns > 0 && c->ttl_ns < LIM_DUP_WINDOW_NS_DEFAULT
                             ? c->ttl_ns
                             : LIM_DUP_WINDOW_NS_DEFAULT;
    cfg->allow_rollup = cfg->allow_direct = true;
    cfg->metadata = c->nmetadata == 0 ? NULL : base_calloc(c->nmetadata, sizeof *cfg->metadata);
    for (; cfg->nmetadata < c->nmetadata; cfg->nmetadata++) {
        const struct store_kv *m = &c->metadata[cfg->nmetadata];
        cfg->metadata[cfg->nmetadata] =
            (struct store_kv){base_strdup(m->key), base_strdup(m->value)};
    }
}

struct bucket_op {
    struct obj_home home;
    char *bucket;         /* owned */
    obj_bucket_fn fn;     /* create */
    struct obj_bucket *b; /* seal: shared */
    store_done_fn done;
    void *arg;
};

static void bucket_op_free(struct bucket_op *op)
{
    if (op->b != NULL) {
        obj_release(op->b);
    }
    base_free(op->bucket);
    base_free(op);
}

static void on_created(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct bucket_op *op = arg;
    op->fn(op->arg, st, st == ST_OK ? bucket_make(&op->home, op->bucket, s) : NULL, err);
    bucket_op_free(op);
}

/* No other stream may listen to what is put here. */
static enum st check_overlap(const struct obj_home *home, const struct stream_cfg *cfg,
                             struct err *err)
{
    const struct store_ops *ops = home->store->ops;
    for (struct store_stream *s = ops->stream_next(home->store, home->account, NULL); s != NULL;
         s = ops->stream_next(home->store, home->account, s)) {
        const struct stream_cfg *other = ops->stream_cfg(s);
        if (strcmp(other->name, cfg->name) == 0) {
            return err_set(err, ST_EXISTS, 0, "bucket \"%s\" already exists",
                           cfg->name + sizeof OBJ_STREAM_PREFIX - 1);
        }
        for (size_t i = 0; i < other->nsubjects * cfg->nsubjects; i++) {
            const char *a = other->subjects[i / cfg->nsubjects];
            const char *b = cfg->subjects[i % cfg->nsubjects];
            if (subject_overlap(a, strlen(a), b, strlen(b))) {
                return err_set(err, ST_EXISTS, 0, "stream \"%s\" has the bucket's subjects",
                               other->name);
            }
        }
    }
    return ST_OK;
}

enum st obj_create(const struct obj_home *home, const struct obj_config *c, obj_bucket_fn fn,
                   void *arg, struct err *err)
{
    ASSERT(fn != NULL);
    enum st st = check_config(c, err);
    if (st != ST_OK) {
        return st;
    }
    struct stream_cfg cfg;
    make_cfg(&cfg, home, c);
    st = check_overlap(home, &cfg, err);
    if (st == ST_OK) {
        struct bucket_op *op = base_calloc(1, sizeof *op);
        *op = (struct bucket_op){
            .home = *home, .bucket = base_strdup(c->bucket), .fn = fn, .arg = arg};
        home->store->ops->stream_create(home->store, &cfg, on_created, op);
    }
    stream_cfg_fini(&cfg);
    return st;
}

static void on_sealed(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct bucket_op *op = arg;
    (void)s;
    op->done(op->arg, st, 0, err);
    bucket_op_free(op);
}

void obj_seal(struct obj_bucket *b, store_done_fn fn, void *arg)
{
    ASSERT(b->magic == OBJ_MAGIC);
    ASSERT(fn != NULL);
    struct stream_cfg cfg;
    stream_cfg_copy(&cfg, b->ops->stream_cfg(b->s));
    /* What a server makes of a config that asks for it. */
    cfg.sealed = cfg.deny_delete = cfg.deny_purge = true;
    cfg.allow_rollup = false;
    cfg.max_age_ns = 0;
    cfg.discard = DISCARD_NEW;
    struct bucket_op *op = base_calloc(1, sizeof *op);
    *op = (struct bucket_op){.b = obj_acquire(b), .done = fn, .arg = arg};
    b->ops->stream_update(b->home.store, b->s, &cfg, on_sealed, op);
    stream_cfg_fini(&cfg);
}

enum st obj_delete_bucket(const struct obj_home *home, const char *bucket, store_done_fn fn,
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

const char *obj_next_bucket(const struct obj_home *home, const char *prev)
{
    const struct store_ops *ops = home->store->ops;
    struct store_stream *s = NULL;
    if (prev != NULL) {
        char name[LIM_NAME_BYTES_MAX + 1];
        stream_name(name, prev);
        s = ops->stream_find(home->store, home->account, name);
        if (s == NULL) {
            return NULL;
        }
    }
    while ((s = ops->stream_next(home->store, home->account, s)) != NULL) {
        const char *name = ops->stream_cfg(s)->name;
        if (strncmp(name, OBJ_STREAM_PREFIX, sizeof OBJ_STREAM_PREFIX - 1) == 0 &&
            obj_bucket_valid(name + sizeof OBJ_STREAM_PREFIX - 1)) {
            return name + sizeof OBJ_STREAM_PREFIX - 1;
        }
    }
    return NULL;
}

struct status_op {
    struct obj_bucket *b; /* shared */
    obj_status_fn fn;
    void *arg;
};

static void on_settled(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct status_op *op = arg;
    struct obj_bucket *b = op->b;
    (void)n;
    if (st != ST_OK) {
        op->fn(op->arg, st, NULL, err);
    } else {
        struct stream_state state;
        const struct stream_cfg *c = b->ops->stream_cfg(b->s);
        b->ops->stream_state(b->s, &state);
        struct obj_status s = {.bucket = b->name,
                               .description = c->description,
                               .bytes = state.bytes,
                               .messages = state.msgs,
                               .ttl_ns = c->max_age_ns,
                               .max_bytes = c->max_bytes,
                               .replicas = c->replicas,
                               .storage = c->storage,
                               .durability = state.durability,
                               .compression = c->compression != COMPRESSION_NONE,
                               .sealed = c->sealed,
                               .metadata = c->metadata,
                               .nmetadata = c->nmetadata};
        op->fn(op->arg, ST_OK, &s, NULL);
    }
    obj_release(b);
    base_free(op);
}

void obj_status(struct obj_bucket *b, obj_status_fn fn, void *arg)
{
    ASSERT(b->magic == OBJ_MAGIC);
    struct status_op *op = base_calloc(1, sizeof *op);
    *op = (struct status_op){obj_acquire(b), fn, arg};
    b->ops->stream_barrier(b->s, on_settled, op);
}
