/* Writing an object: chunks as they fill, then the meta that makes them an object, then away with
 * the chunks of the one it replaces (ADR-20's order: readers see the old object or the new one).
 *
 *   WRITING --finish--> DRAINING --chunks stored--> META --stored--> OLD --purged--> done
 *      \------- failed or cancelled -------/--> FAILING --chunks settled, purged--> done
 *
 * In META and behind nothing can be cancelled any more. Held in memory: one chunk; on their way, in
 * the store's own memory: PUT_BYTES_MAX, at least two chunks. */
#include "objstore/obj_int.h"

#define PUT_MAGIC 0x4f505554u
#define PUT_BYTES_MAX (4 * MIB)

enum put_state { PUT_WRITING, PUT_DRAINING, PUT_META, PUT_OLD, PUT_FAILING };

struct obj_put {
    uint32_t magic;
    enum put_state state;
    struct obj_bucket *b; /* shared */
    struct obj_put_events ev;
    struct obj_info info;      /* owned */
    struct obj_digest *digest; /* owned */
    char *chunk_subject;       /* owned */
    char *old_nuid;            /* owned or NULL */
    uint8_t *buf;              /* owned, chunk_bytes */
    size_t buf_len;
    unsigned in_flight, in_flight_max;
    bool waiting; /* the chunk in buf is to be sent in a later turn */
    bool purging; /* FAILING: the last step is on its way */
    enum st st;   /* FAILING: why */
    struct err err;
};

static void put_end(struct obj_put *p, enum st st, const struct err *err)
{
    p->ev.done(p->ev.arg, st, st == ST_OK ? &p->info : NULL, err);
    obj_info_fini(&p->info);
    obj_digest_destroy(p->digest);
    obj_release(p->b);
    base_free(p->chunk_subject);
    base_free(p->old_nuid);
    base_free(p->buf);
    p->magic = 0;
    base_free(p);
}

/* --- failing ---------------------------------------------------------------------------------- */

static void on_own_purged(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct obj_put *p = arg;
    (void)st; /* what remains without meta is nobody's object */
    (void)n;
    (void)err;
    put_end(p, p->st, &p->err);
}

static void fail_if_settled(struct obj_put *p)
{
    if (p->in_flight == 0 && !p->waiting && !p->purging) {
        p->purging = true;
        obj_chunks_purge(p->b, p->info.nuid, on_own_purged, p);
    }
}

static void fail(struct obj_put *p, enum st st, const struct err *err)
{
    if (p->state != PUT_FAILING) {
        p->state = PUT_FAILING;
        p->st = st;
        p->err = *err;
    }
    fail_if_settled(p);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void on_old_purged(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct obj_put *p = arg;
    (void)st; /* the new object stands; what remains of the old one is nobody's */
    (void)n;
    (void)err;
    put_end(p, ST_OK, NULL);
}

static void on_meta_written(void *arg, enum st st, uint64_t seq, const struct err *err)
{
    struct obj_put *p = arg;
    if (st != ST_OK) {
        fail(p, st, err);
        return;
    }
    p->info.revision = seq;
    p->info.mtime_ns = env_real_ns(p->b->home.env);
    p->state = PUT_OLD;
    if (p->old_nuid != NULL) {
        obj_chunks_purge(p->b, p->old_nuid, on_old_purged, p);
    } else {
        put_end(p, ST_OK, NULL);
    }
}

static void on_old_meta(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct obj_put *p = arg;
    (void)err; /* one that cannot be read is replaced all the same */
    if (st == ST_OK && !i->deleted && i->nuid != NULL) {
        p->old_nuid = base_strdup(i->nuid);
    }
    obj_meta_write(p->b, &p->info, on_meta_written, p);
}

static void drain(struct obj_put *p)
{
    if (p->in_flight > 0 || p->waiting) {
        return;
    }
    p->state = PUT_META;
    p->info.digest = obj_digest_text(p->digest);
    obj_meta_read(p->b, p->info.name, on_old_meta, p);
}

/* --- chunks ----------------------------------------------------------------------------------- */

static void on_chunk(void *arg, const struct store_append_result *r)
{
    struct obj_put *p = arg;
    bool was_full = obj_put_room(p) == 0;
    ASSERT(p->in_flight > 0);
    p->in_flight--;
    if (r->verdict != APPEND_STORED && r->verdict != APPEND_DUPLICATE) {
        struct err err = {0};
        enum st st = obj_verdict_err(p->b, r, &err);
        fail(p, st, &err);
    } else if (p->state == PUT_FAILING) {
        fail_if_settled(p);
    } else if (p->state == PUT_DRAINING) {
        drain(p);
    } else if (was_full && obj_put_room(p) > 0 && p->ev.room != NULL) {
        p->ev.room(p->ev.arg);
    }
}

static void send_chunk(struct obj_put *p);

static void on_later(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct obj_put *p = arg;
    (void)n;
    p->waiting = false;
    if (p->state == PUT_FAILING) {
        fail_if_settled(p);
        return;
    }
    if (st != ST_OK) {
        struct err why = {.code = st};
        fail(p, st, err != NULL ? err : &why);
        return;
    }
    send_chunk(p);
    if (!p->waiting && p->state == PUT_WRITING && obj_put_room(p) > 0 && p->ev.room != NULL) {
        p->ev.room(p->ev.arg);
    }
}

static void send_chunk(struct obj_put *p)
{
    struct store_append a = {.subject = p->chunk_subject,
                             .subject_len = (uint32_t)strlen(p->chunk_subject),
                             .data = p->buf,
                             .data_len = (uint32_t)p->buf_len};
    enum st st = p->b->ops->append(p->b->s, &a, on_chunk, p);
    if (st == ST_FULL) { /* the journal window: again in a later turn */
        p->waiting = true;
        p->b->ops->stream_barrier(p->b->s, on_later, p);
    } else if (st != ST_OK) {
        struct store_append_result r = {.verdict = APPEND_FAILED};
        struct err err = {0};
        st = obj_verdict_err(p->b, &r, &err);
        fail(p, st, &err);
    } else {
        p->in_flight++;
        p->info.chunks++;
        p->buf_len = 0;
    }
}

/* --- the calls -------------------------------------------------------------------------------- */

enum st obj_put_open(struct obj_bucket *b, const struct obj_meta *meta,
                     const struct obj_put_events *ev, struct obj_put **put_out, struct err *err)
{
    ASSERT(b->magic == OBJ_MAGIC);
    ASSERT(ev->done != NULL);
    *put_out = NULL;
    enum st st = obj_check_meta(meta, err);
    if (st != ST_OK) {
        return st;
    }
    uint32_t chunk = meta->chunk_bytes != 0 ? meta->chunk_bytes : OBJ_CHUNK_BYTES_DEFAULT;
    uint8_t *buf = base_try_malloc(chunk);
    if (buf == NULL) {
        return err_set(err, ST_NOMEM, 0, "no memory for a chunk of %u bytes", chunk);
    }
    struct obj_put *p = base_calloc(1, sizeof *p);
    char nuid[STORE_NUID_SIZE];
    store_nuid(b->home.env, nuid);
    p->magic = PUT_MAGIC;
    p->b = obj_acquire(b);
    p->ev = *ev;
    obj_info_from_meta(&p->info, meta);
    p->info.bucket = base_strdup(b->name);
    p->info.nuid = base_strdup(nuid);
    p->info.chunk_bytes = chunk;
    p->chunk_subject = obj_chunk_subject(b, nuid);
    p->digest = obj_digest_create();
    p->buf = buf;
    p->in_flight_max = (unsigned)u64_max(PUT_BYTES_MAX / chunk, 2);
    p->in_flight_max = p->in_flight_max > 256 ? 256 : p->in_flight_max;
    *put_out = p;
    return ST_OK;
}

size_t obj_put_room(const struct obj_put *p)
{
    ASSERT(p->magic == PUT_MAGIC);
    if (p->state == PUT_FAILING) {
        return p->info.chunk_bytes; /* dropped */
    }
    if (p->waiting || p->in_flight >= p->in_flight_max) {
        return 0;
    }
    return p->info.chunk_bytes - p->buf_len;
}

void obj_put_write(struct obj_put *p, const void *data, size_t len)
{
    ASSERT(p->state == PUT_WRITING || p->state == PUT_FAILING);
    ASSERT(len <= obj_put_room(p));
    if (p->state == PUT_FAILING || len == 0) {
        return;
    }
    obj_digest_add(p->digest, data, len);
    memcpy(p->buf + p->buf_len, data, len);
    p->buf_len += len;
    p->info.size += len;
    if (p->buf_len == p->info.chunk_bytes) {
        send_chunk(p);
    }
}

void obj_put_finish(struct obj_put *p)
{
    ASSERT(p->magic == PUT_MAGIC);
    if (p->state == PUT_FAILING) {
        return; /* done is on its way */
    }
    ASSERT(p->state == PUT_WRITING);
    p->state = PUT_DRAINING;
    if (p->buf_len > 0 && !p->waiting) {
        send_chunk(p);
    }
    if (p->state == PUT_DRAINING) {
        drain(p);
    }
}

void obj_put_cancel(struct obj_put *p)
{
    ASSERT(p->magic == PUT_MAGIC);
    if (p->state == PUT_WRITING || p->state == PUT_DRAINING) {
        struct err err;
        err_set(&err, ST_CLOSED, 0, "the put of object \"%.100s\" was cancelled", p->info.name);
        fail(p, ST_CLOSED, &err);
    }
}
