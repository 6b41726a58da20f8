/* Buckets: a stream whose config is the one NATS clients give it (ADR-20), made, found, sealed,
 * deleted. */
#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/store_bucket.h"
#include "objstore/obj_int.h"

/* --- handles ---------------------------------------------------------------------------------- */

static const struct bucket_kind kind = {OBJ_STREAM_PREFIX, obj_bucket_valid, NULL};

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

enum st obj_open(const struct obj_home *home, const char *bucket, struct obj_bucket **b_out,
                 struct err *err)
{
    struct store_stream *s;
    *b_out = NULL;
    enum st st = bucket_find(&kind, home->store, home->account, bucket, &s, err);
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

static struct bucket_choices choices(const struct obj_config *c)
{
    return (struct bucket_choices){.description = c->description,
                                   .ttl_ns = c->ttl_ns,
                                   .max_bytes = c->max_bytes,
                                   .compression = c->compression,
                                   .metadata = c->metadata,
                                   .nmetadata = c->nmetadata};
}

static void make_cfg(struct stream_cfg *cfg, const struct obj_home *home,
                     const struct obj_config *c)
{
    char subject[LIM_NAME_BYTES_MAX + 8];
    struct bucket_choices common = choices(c);
    bucket_cfg_init(cfg, &kind, home->account, c->bucket, 2);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(subject, sizeof subject, "$O.%s.%c.>", c->bucket, i == 0 ? 'C' : 'M');
        cfg->subjects[i] = base_strdup(subject);
    }
    cfg->storage = c->storage;
    bucket_put_choices(cfg, &common);
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

enum st obj_create(const struct obj_home *home, const struct obj_config *c, obj_bucket_fn fn,
                   void *arg, struct err *err)
{
    ASSERT(fn != NULL);
    struct bucket_choices common = choices(c);
    enum st st = bucket_check(&kind, c->bucket, &common, err);
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
    enum st st = bucket_find(&kind, home->store, home->account, bucket, &s, err);
    if (st == ST_OK) {
        home->store->ops->stream_delete(home->store, s, fn, arg);
    }
    return st;
}

/* --- looking ---------------------------------------------------------------------------------- */

const char *obj_next_bucket(const struct obj_home *home, const char *prev)
{
    return bucket_next(&kind, home->store, home->account, prev);
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
