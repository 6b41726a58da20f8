/* Meta messages: reading and writing one, and the operations that are made of that: info, update,
 * delete, link. Each is a short chain of steps; a struct carries it, one callback a step. */
#include "objstore/obj_int.h"

#include <stdio.h>

#include "engine/base/limits.h"

/* --- errors ----------------------------------------------------------------------------------- */

enum st obj_verdict_err(const struct obj_bucket *b, const struct store_append_result *r,
                        struct err *err)
{
    switch (r->verdict) {
    case APPEND_MSG_TOO_BIG:
        return err_set(err, ST_TOOBIG, 0, "bucket \"%s\" takes no message of this size", b->name);
    case APPEND_MAX_MSGS:
    case APPEND_MAX_BYTES:
    case APPEND_MAX_MSGS_PER_SUBJECT:
        return err_set(err, ST_FULL, 0, "bucket \"%s\" is full", b->name);
    case APPEND_SEALED:
        return err_set(err, ST_DENIED, 0, "bucket \"%s\" is sealed", b->name);
    case APPEND_ROLLUP_DENIED:
        return err_set(err, ST_DENIED, 0, "bucket \"%s\" does not allow meta to be replaced",
                       b->name);
    case APPEND_NO_STORE:
    case APPEND_NO_MEMORY:
        return err_set(err, ST_NOSPACE, 0, "no room: the store's limit is reached");
    case APPEND_WRONG_LAST_SEQ:
    case APPEND_WRONG_LAST_SUBJ_SEQ:
    case APPEND_WRONG_LAST_MSGID:
    case APPEND_STORED:
    case APPEND_DUPLICATE:
    case APPEND_FAILED:
    default:
        err_clear(err);
        if (b->ops->health(b->home.store, err) == ST_OK) {
            err_set(err, ST_POISONED, 0, "what was written to bucket \"%s\" is not known", b->name);
        }
        return err->code;
    }
}

/* --- reading one ------------------------------------------------------------------------------ */

struct meta_read {
    struct obj_bucket *b; /* shared */
    char *name;           /* owned */
    obj_info_fn fn;
    void *arg;
};

static void on_meta(void *arg, enum st st, const struct msg *m)
{
    struct meta_read *r = arg;
    struct obj_info i = {0};
    struct err err = {0};
    if (st == ST_OK) {
        st = obj_info_parse(m->data, m->data_len, &i, &err);
        if (st == ST_OK) { /* what its subject says: what follows is of this object, or of none */
            base_free(i.name);
            i.name = base_strdup(r->name);
        }
        i.mtime_ns = m->ts_ns;
        i.revision = m->seq;
    } else if (st == ST_NOTFOUND) {
        err_set(&err, st, 0, "object \"%.100s\" not found", r->name);
    } else if (r->b->ops->health(r->b->home.store, &err) == ST_OK) {
        err_set(&err, st, 0, "could not read object \"%.100s\": %s", r->name, st_text(st));
    }
    r->fn(r->arg, st, st == ST_OK ? &i : NULL, st == ST_OK ? NULL : &err);
    obj_info_fini(&i);
    obj_release(r->b);
    base_free(r->name);
    base_free(r);
}

void obj_meta_read(struct obj_bucket *b, const char *name, obj_info_fn fn, void *arg)
{
    struct meta_read *r = base_malloc(sizeof *r);
    *r = (struct meta_read){obj_acquire(b), base_strdup(name), fn, arg};
    char *subject = obj_meta_subject(b, name);
    struct store_get g = {GET_LAST_BY_SUBJ, 0, subject, (uint32_t)strlen(subject), 0};
    b->ops->get(b->s, &g, on_meta, r);
    base_free(subject);
}

/* --- writing one ------------------------------------------------------------------------------ */

struct meta_write {
    struct obj_bucket *b; /* shared */
    store_done_fn fn;
    void *arg;
    char *subject, *json; /* owned */
    size_t json_len;
};

static void write_end(struct meta_write *w, enum st st, uint64_t seq, const struct err *err)
{
    w->fn(w->arg, st, seq, err);
    obj_release(w->b);
    base_free(w->subject);
    base_free(w->json);
    base_free(w);
}

static void on_written(void *arg, const struct store_append_result *r)
{
    struct meta_write *w = arg;
    struct err err = {0};
    if (r->verdict == APPEND_STORED || r->verdict == APPEND_DUPLICATE) {
        write_end(w, ST_OK, r->seq, NULL);
    } else {
        enum st st = obj_verdict_err(w->b, r, &err);
        write_end(w, st, 0, &err);
    }
}

static void write_now(void *arg, enum st st, uint64_t n, const struct err *err)
{
    static const char hdr[] = "NATS/1.0\r\nNats-Rollup: sub\r\n\r\n";
    struct meta_write *w = arg;
    struct err big;
    (void)n;
    if (st != ST_OK) {
        write_end(w, st, 0, err);
        return;
    }
    if (w->json_len > OBJ_META_BYTES_MAX) {
        err_set(&big, ST_TOOBIG, 0, "the object's meta is larger than %u bytes",
                OBJ_META_BYTES_MAX);
        write_end(w, ST_TOOBIG, 0, &big);
        return;
    }
    struct store_append a = {.subject = w->subject,
                             .subject_len = (uint32_t)strlen(w->subject),
                             .hdr = (const uint8_t *)hdr,
                             .hdr_len = sizeof hdr - 1,
                             .data = (const uint8_t *)w->json,
                             .data_len = (uint32_t)w->json_len,
                             .rollup = 1};
    st = w->b->ops->append(w->b->s, &a, on_written, w);
    if (st == ST_FULL) { /* the journal window: again in a later turn */
        w->b->ops->stream_barrier(w->b->s, write_now, w);
    } else if (st != ST_OK) {
        struct store_append_result r = {.verdict = APPEND_FAILED};
        on_written(w, &r);
    }
}

void obj_meta_write(struct obj_bucket *b, const struct obj_info *i, store_done_fn fn, void *arg)
{
    struct meta_write *w = base_calloc(1, sizeof *w);
    w->b = obj_acquire(b);
    w->fn = fn;
    w->arg = arg;
    w->subject = obj_meta_subject(b, i->name);
    w->json = obj_info_json(i, &w->json_len);
    if (w->json_len > OBJ_META_BYTES_MAX) { /* told later, as everything is */
        b->ops->stream_barrier(b->s, write_now, w);
    } else {
        write_now(w, ST_OK, 0, NULL);
    }
}

void obj_chunks_purge(struct obj_bucket *b, const char *nuid, store_done_fn fn, void *arg)
{
    char *subject = obj_chunk_subject(b, nuid);
    struct store_purge p = {.filter = subject, .filter_len = (uint32_t)strlen(subject)};
    b->ops->purge(b->s, &p, fn, arg);
    base_free(subject);
}

/* --- operations ------------------------------------------------------------------------------- */

/* One of them under way. Steps: read `name` (link: the target), maybe read the new name, write
 * `next`, maybe purge. */
struct meta_op {
    struct obj_bucket *b; /* shared */
    obj_info_fn fn;
    void *arg;
    char *name;           /* owned: as it is called now */
    char *purge;          /* owned: subject to purge at the end, or NULL */
    struct obj_info next; /* owned: what will stand there */
    bool rename, link;
};

static struct meta_op *op_make(struct obj_bucket *b, const char *name, obj_info_fn fn, void *arg)
{
    ASSERT(b->magic == OBJ_MAGIC);
    ASSERT(fn != NULL);
    struct meta_op *op = base_calloc(1, sizeof *op);
    op->b = obj_acquire(b);
    op->fn = fn;
    op->arg = arg;
    op->name = base_strdup(name);
    return op;
}

static void op_end(struct meta_op *op, enum st st, const struct obj_info *i, const struct err *err)
{
    op->fn(op->arg, st, i, err);
    obj_release(op->b);
    obj_info_fini(&op->next);
    base_free(op->name);
    base_free(op->purge);
    base_free(op);
}

static void op_fail(struct meta_op *op, enum st st, const char *name, const char *what)
{
    struct err err;
    err_set(&err, st, 0, "object \"%.100s\" %s", name, what);
    op_end(op, st, NULL, &err);
}

static void on_purged(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct meta_op *op = arg;
    (void)n;
    op_end(op, st, st == ST_OK ? &op->next : NULL, err);
}

static void on_op_written(void *arg, enum st st, uint64_t seq, const struct err *err)
{
    struct meta_op *op = arg;
    if (st != ST_OK) {
        op_end(op, st, NULL, err);
        return;
    }
    op->next.revision = seq;
    op->next.mtime_ns = env_real_ns(op->b->home.env);
    if (op->purge == NULL) {
        op_end(op, ST_OK, &op->next, NULL);
        return;
    }
    struct store_purge p = {.filter = op->purge, .filter_len = (uint32_t)strlen(op->purge)};
    op->b->ops->purge(op->b->s, &p, on_purged, op);
}

/* info */

static void on_info(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct meta_op *op = arg;
    struct err gone;
    if (st == ST_OK && i->deleted) {
        err_set(&gone, ST_NOTFOUND, 0, "object \"%.100s\" was deleted", op->name);
        op_end(op, ST_NOTFOUND, i, &gone);
    } else {
        op_end(op, st, i, err);
    }
}

enum st obj_info(struct obj_bucket *b, const char *name, obj_info_fn fn, void *arg, struct err *err)
{
    enum st st = obj_check_name(name, err);
    if (st == ST_OK) {
        obj_meta_read(b, name, on_info, op_make(b, name, fn, arg));
    }
    return st;
}

/* update */

/* The place where the new meta goes: is it free? */
static void on_place(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct meta_op *op = arg;
    bool taken = st == ST_OK && !i->deleted && !(op->link && i->link_bucket != NULL);
    if (taken) {
        op_fail(op, ST_EXISTS, op->next.name, "exists");
    } else if (st != ST_OK && st != ST_NOTFOUND) {
        op_end(op, st, NULL, err);
    } else {
        obj_meta_write(op->b, &op->next, on_op_written, op);
    }
}

static void on_update(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct meta_op *op = arg;
    if (st != ST_OK) {
        op_end(op, st, NULL, err);
        return;
    }
    if (i->deleted) {
        op_fail(op, ST_NOTFOUND, op->name, "was deleted");
        return;
    }
    /* the choices are the new ones, the rest is what it was */
    struct obj_info old;
    obj_info_copy(&old, i);
    struct obj_info *n = &op->next;
    n->bucket = old.bucket;
    n->nuid = old.nuid;
    n->digest = old.digest;
    n->link_bucket = old.link_bucket;
    n->link_name = old.link_name;
    n->size = old.size;
    n->chunks = old.chunks;
    n->chunk_bytes = old.chunk_bytes;
    old.bucket = old.nuid = old.digest = old.link_bucket = old.link_name = NULL;
    obj_info_fini(&old);
    if (op->rename) {
        op->purge = obj_meta_subject(op->b, op->name);
        obj_meta_read(op->b, n->name, on_place, op);
    } else {
        obj_meta_write(op->b, n, on_op_written, op);
    }
}

enum st obj_update_meta(struct obj_bucket *b, const char *name, const struct obj_meta *meta,
                        obj_info_fn fn, void *arg, struct err *err)
{
    enum st st = obj_check_name(name, err);
    if (st == ST_OK) {
        st = obj_check_meta(meta, err);
    }
    if (st == ST_OK) {
        struct meta_op *op = op_make(b, name, fn, arg);
        obj_info_from_meta(&op->next, meta);
        op->rename = strcmp(name, meta->name) != 0;
        obj_meta_read(b, name, on_update, op);
    }
    return st;
}

/* delete */

static void on_delete(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct meta_op *op = arg;
    if (st != ST_OK) {
        op_end(op, st, NULL, err);
        return;
    }
    if (i->deleted) {
        op_fail(op, ST_NOTFOUND, op->name, "was deleted");
        return;
    }
    obj_info_copy(&op->next, i);
    op->next.deleted = true;
    op->next.size = op->next.chunks = 0;
    base_free(op->next.digest);
    op->next.digest = NULL;
    op->purge = i->nuid != NULL ? obj_chunk_subject(op->b, i->nuid) : NULL;
    obj_meta_write(op->b, &op->next, on_op_written, op);
}

enum st obj_delete(struct obj_bucket *b, const char *name, obj_info_fn fn, void *arg,
                   struct err *err)
{
    enum st st = obj_check_name(name, err);
    if (st == ST_OK) {
        obj_meta_read(b, name, on_delete, op_make(b, name, fn, arg));
    }
    return st;
}

/* links */

static void on_target(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct meta_op *op = arg;
    if (st != ST_OK) {
        op_end(op, st, NULL, err);
    } else if (i->deleted) {
        op_fail(op, ST_NOTFOUND, i->name, "was deleted");
    } else if (i->link_bucket != NULL) {
        op_fail(op, ST_INVALID, i->name, "is a link, and no link leads to a link");
    } else {
        obj_meta_read(op->b, op->next.name, on_place, op);
    }
}

static struct meta_op *link_make(struct obj_bucket *b, const char *name, const char *bucket,
                                 const char *target, obj_info_fn fn, void *arg)
{
    char nuid[STORE_NUID_SIZE];
    struct meta_op *op = op_make(b, name, fn, arg);
    store_nuid(b->home.env, nuid);
    op->link = true;
    op->next.name = base_strdup(name);
    op->next.bucket = base_strdup(b->name);
    op->next.nuid = base_strdup(nuid);
    op->next.link_bucket = base_strdup(bucket);
    op->next.link_name = target != NULL ? base_strdup(target) : NULL;
    return op;
}

enum st obj_link(struct obj_bucket *b, const char *name, struct obj_bucket *target,
                 const char *target_name, obj_info_fn fn, void *arg, struct err *err)
{
    ASSERT(target->magic == OBJ_MAGIC);
    enum st st = obj_check_name(name, err);
    if (st == ST_OK) {
        st = obj_check_name(target_name, err);
    }
    if (st == ST_OK) {
        struct meta_op *op = link_make(b, name, target->name, target_name, fn, arg);
        obj_meta_read(target, target_name, on_target, op);
    }
    return st;
}

enum st obj_link_bucket(struct obj_bucket *b, const char *name, const char *bucket, obj_info_fn fn,
                        void *arg, struct err *err)
{
    enum st st = obj_check_name(name, err);
    if (st == ST_OK && !obj_bucket_valid(bucket)) {
        st = err_set(err, ST_INVALID, 0, "invalid bucket name \"%.128s\"", bucket);
    }
    if (st == ST_OK) {
        obj_meta_read(b, name, on_place, link_make(b, name, bucket, NULL, fn, arg));
    }
    return st;
}
