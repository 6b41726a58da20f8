/* Reading an object: its meta (links followed once), then a scan of its chunks.
 *
 * A get from an offset jumps: chunks of an object are numbered by their place on one subject, and a
 * scan that begins at sequence g says how many of them lie from g on, which tells the number of the
 * first. The chunk k of an object whose chunk i has sequence s lies at s + (k - i) or behind it, so
 * a jump never goes too far, and where nothing else was written in between it is exact. */
#include <stdio.h>

#include "objstore/obj_int.h"

#define GET_MAGIC 0x4f474554u
#define JUMPS_MAX 16u /* then chunks are walked over */

struct obj_get {
    uint32_t magic;
    struct obj_bucket *b; /* shared: where the bytes are */
    struct obj_get_events ev;
    char *name;                /* owned: in b */
    char *only_nuid;           /* owned or NULL */
    struct obj_info info;      /* owned */
    char *chunk_subject;       /* owned */
    struct obj_digest *digest; /* owned; NULL: cannot be verified */
    struct store_scan *scan;   /* NULL but while chunks are read */
    uint64_t offset, end;      /* bytes wanted: [offset, end) */
    uint64_t at;               /* offset of the next chunk's first byte */
    uint64_t given;            /* bytes */
    uint64_t target;           /* number of the chunk that holds offset */
    uint64_t jump_seq;         /* != 0: the scan under way begins here */
    uint64_t number;           /* of the next chunk, once landed */
    unsigned jumps;
    bool linked; /* a link was followed */
    bool landed; /* the next chunk's number is known: at holds */
    bool paused, cancelled;
    bool busy;    /* a callback is on its way; the end waits for it */
    bool in_call; /* inside a callback of the caller */
};

static void get_free(struct obj_get *g)
{
    obj_info_fini(&g->info);
    obj_digest_destroy(g->digest);
    obj_release(g->b);
    base_free(g->name);
    base_free(g->only_nuid);
    base_free(g->chunk_subject);
    g->magic = 0;
    base_free(g);
}

static void stop_scan(struct obj_get *g)
{
    store_scan_close(g->scan);
    g->scan = NULL;
}

static void get_end(struct obj_get *g, enum st st, const struct err *err)
{
    stop_scan(g);
    g->ev.done(g->ev.arg, st, g->given, err);
    get_free(g);
}

static void cancelled(struct obj_get *g)
{
    struct err err;
    err_set(&err, ST_CLOSED, 0, "the get of object \"%.100s\" was cancelled", g->name);
    get_end(g, ST_CLOSED, &err);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Early clients wrote the digest's kind in small letters. */
static bool digest_is(const char *said, const char *sum)
{
    static const char small[] = "sha-256=";
    size_t n = sizeof small - 1;
    return strcmp(said, sum) == 0 ||
           (strncmp(said, small, n) == 0 && strcmp(said + n, sum + n) == 0);
}

static void finish(struct obj_get *g)
{
    struct err err;
    if (g->digest == NULL || g->end != g->info.size || g->info.digest == NULL) {
        get_end(g, ST_OK, NULL);
        return;
    }
    char *sum = obj_digest_text(g->digest);
    bool same = digest_is(g->info.digest, sum);
    base_free(sum);
    if (same) {
        get_end(g, ST_OK, NULL);
    } else {
        err_set(&err, ST_CORRUPT, 0, "object \"%.100s\": the digest differs", g->name);
        get_end(g, ST_CORRUPT, &err);
    }
}

/* Chunks are missing: because it was replaced or deleted while it was read? */
static void on_meta_again(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct obj_get *g = arg;
    struct err why;
    (void)err;
    g->busy = false;
    bool same = st == ST_OK && !i->deleted && i->nuid != NULL && strcmp(i->nuid, g->info.nuid) == 0;
    if (g->cancelled) {
        cancelled(g);
    } else if (same) {
        err_set(&why, ST_CORRUPT, 0, "object \"%.100s\": chunks are missing (%llu of %llu bytes)",
                g->name, (unsigned long long)g->at, (unsigned long long)g->info.size);
        get_end(g, ST_CORRUPT, &why);
    } else {
        err_set(&why, ST_MISMATCH, 0, "object \"%.100s\" was replaced while it was read", g->name);
        get_end(g, ST_MISMATCH, &why);
    }
}

static void missing(struct obj_get *g)
{
    stop_scan(g);
    g->busy = true;
    obj_meta_read(g->b, g->name, on_meta_again, g);
}

/* --- chunks ----------------------------------------------------------------------------------- */

static void scan_from(struct obj_get *g, uint64_t seq);

/* Gives what of the chunk is wanted. The get may be over behind it. */
static void give(struct obj_get *g, const struct msg *m)
{
    uint64_t lo = u64_max(g->at, g->offset), hi = u64_min(g->at + m->data_len, g->end);
    uint64_t from = g->at;
    g->at += m->data_len;
    if (lo < hi) {
        const uint8_t *p = m->data + (lo - from);
        size_t n = (size_t)(hi - lo);
        if (g->digest != NULL) {
            obj_digest_add(g->digest, p, n);
        }
        g->given += n;
        g->in_call = true;
        g->ev.data(g->ev.arg, p, n);
        g->in_call = false;
    }
    if (g->cancelled) {
        cancelled(g);
    } else if (g->at > g->info.size) {
        missing(g); /* more than the meta says: as wrong as less */
    } else if (g->at >= g->end) {
        finish(g);
    }
}

/* The first chunk of a scan: which one is it? False: another jump was made, or it is before the
 * target (and at says where). */
static bool land(struct obj_get *g, const struct msg *m, uint64_t behind)
{
    uint64_t index = g->info.chunks - u64_min(g->info.chunks, behind + 1);
    g->landed = true;
    if (index + 1 < g->info.chunks && m->data_len != g->info.chunk_bytes) {
        g->target = g->at = g->number = 0; /* not of one size after all: from the beginning */
        stop_scan(g);
        scan_from(g, 0);
        return false;
    }
    if (index < g->target && g->jumps < JUMPS_MAX && g->target - index > 1) {
        g->landed = false;
        g->jumps++;
        stop_scan(g);
        scan_from(g, m->seq + (g->target - index));
        return false;
    }
    g->number = index;
    g->at = index * g->info.chunk_bytes;
    return true;
}

static void on_chunk(void *arg, const struct msg *m, uint64_t behind)
{
    struct obj_get *g = arg;
    if (!g->landed && !land(g, m, behind)) {
        return;
    }
    if (g->number + 1 + behind != g->info.chunks) { /* one was passed over, or all are going */
        missing(g);
        return;
    }
    g->number++;
    give(g, m);
}

static void on_caught_up(void *arg)
{
    missing(arg);
}

static void on_opened(void *arg, enum st st, uint64_t pending, const struct err *err)
{
    struct obj_get *g = arg;
    if (st != ST_OK) {
        struct err why = {.code = st};
        get_end(g, st, err != NULL ? err : &why);
        return;
    }
    if (g->jump_seq == 0 && pending != g->info.chunks) {
        missing(g);
    }
}

static void scan_from(struct obj_get *g, uint64_t seq)
{
    const char *filter = g->chunk_subject;
    struct store_scan_opts o = {.filters = &filter,
                                .nfilters = 1,
                                .deliver = seq == 0 ? DELIVER_ALL : DELIVER_BY_START_SEQ,
                                .start_seq = seq};
    struct store_scan_events ev = {
        .arg = g, .opened = on_opened, .msg = on_chunk, .caught_up = on_caught_up};
    g->jump_seq = seq;
    g->scan = store_scan_open(g->b->home.store, g->b->home.env, g->b->s, &o, &ev);
    if (g->paused) {
        store_scan_pause(g->scan);
    }
}

/* --- the beginning ---------------------------------------------------------------------------- */

static void fail(struct obj_get *g, enum st st, const char *what)
{
    struct err err;
    err_set(&err, st, 0, "object \"%.100s\": %s", g->name, what);
    get_end(g, st, &err);
}

static void start_chunks(struct obj_get *g)
{
    const struct obj_info *i = &g->info;
    if (g->offset > i->size) {
        fail(g, ST_INVALID, "the offset lies behind its end");
        return;
    }
    g->end = g->end == 0 || g->end > i->size ? i->size : g->end;
    g->in_call = true;
    g->ev.info(g->ev.arg, i);
    g->in_call = false;
    if (g->cancelled) {
        cancelled(g);
    } else if (g->offset == g->end) {
        finish(g);
    } else if (i->nuid == NULL || i->chunks == 0) {
        fail(g, ST_CORRUPT, "it has a size and no chunks");
    } else {
        g->chunk_subject = obj_chunk_subject(g->b, i->nuid);
        /* Jumping needs chunks of one size. */
        uint64_t c = i->chunk_bytes;
        bool even = c != 0 && i->chunks == (i->size - 1) / c + 1;
        g->target = even ? g->offset / c : 0;
        g->landed = g->target == 0;
        scan_from(g, 0);
    }
}

static void on_meta(void *arg, enum st st, const struct obj_info *i, const struct err *err);

static void follow(struct obj_get *g, const struct obj_info *i)
{
    struct obj_bucket *to = NULL;
    struct err err;
    if (i->link_name == NULL) {
        fail(g, ST_INVALID, "it is a link to a bucket");
        return;
    }
    if (g->linked) {
        fail(g, ST_CORRUPT, "it is a link that leads to a link");
        return;
    }
    g->linked = true;
    base_free(g->name);
    g->name = base_strdup(i->link_name);
    if (strcmp(i->link_bucket, g->b->name) != 0) {
        enum st st = obj_open(&g->b->home, i->link_bucket, &to, &err);
        if (st != ST_OK) {
            get_end(g, st, &err);
            return;
        }
        obj_release(g->b); /* the handle's own reference becomes ours */
        to->closed = true;
        g->b = to;
    }
    if (obj_check_name(g->name, &err) != ST_OK) {
        get_end(g, ST_CORRUPT, &err);
        return;
    }
    g->busy = true;
    obj_meta_read(g->b, g->name, on_meta, g);
}

static void on_meta(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct obj_get *g = arg;
    g->busy = false;
    if (g->cancelled) {
        cancelled(g);
    } else if (st != ST_OK) {
        get_end(g, st, err);
    } else if (i->deleted) {
        fail(g, ST_NOTFOUND, "it was deleted");
    } else if (i->link_bucket != NULL) {
        follow(g, i);
    } else if (g->only_nuid != NULL && (i->nuid == NULL || strcmp(i->nuid, g->only_nuid) != 0)) {
        fail(g, ST_MISMATCH, "it was replaced by another");
    } else {
        obj_info_copy(&g->info, i);
        start_chunks(g);
    }
}

enum st obj_get_open(struct obj_bucket *b, const char *name, const struct obj_get_opts *opts,
                     const struct obj_get_events *ev, struct obj_get **get_out, struct err *err)
{
    ASSERT(b->magic == OBJ_MAGIC);
    ASSERT(ev->info != NULL && ev->data != NULL);
    ASSERT(ev->done != NULL);
    *get_out = NULL;
    enum st st = obj_check_name(name, err);
    if (st == ST_OK && opts->length > UINT64_MAX - opts->offset) {
        st = err_set(err, ST_INVALID, 0, "the range is larger than any object");
    }
    if (st != ST_OK) {
        return st;
    }
    struct obj_get *g = base_calloc(1, sizeof *g);
    g->magic = GET_MAGIC;
    g->b = obj_acquire(b);
    g->ev = *ev;
    g->name = base_strdup(name);
    g->only_nuid = opts->nuid != NULL ? base_strdup(opts->nuid) : NULL;
    g->offset = opts->offset;
    g->end = opts->length == 0 ? 0 : opts->offset + opts->length;
    g->digest = opts->before != NULL ? opts->before
                : opts->offset == 0  ? obj_digest_create()
                                     : NULL;
    g->busy = true;
    obj_meta_read(b, name, on_meta, g);
    *get_out = g;
    return ST_OK;
}

void obj_get_pause(struct obj_get *g)
{
    ASSERT(g->magic == GET_MAGIC);
    g->paused = true;
    if (g->scan != NULL) {
        store_scan_pause(g->scan);
    }
}

void obj_get_resume(struct obj_get *g)
{
    ASSERT(g->magic == GET_MAGIC);
    g->paused = false;
    if (g->scan != NULL) {
        store_scan_resume(g->scan);
    }
}

static void on_cancel(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)st;
    (void)n;
    (void)err;
    cancelled(arg);
}

void obj_get_cancel(struct obj_get *g)
{
    ASSERT(g->magic == GET_MAGIC);
    if (g->cancelled) {
        return;
    }
    g->cancelled = true;
    if (g->busy || g->in_call) {
        return; /* the callback that is on its way sees it */
    }
    stop_scan(g); /* else in a later turn: nothing else can end it now */
    g->b->ops->stream_barrier(g->b->s, on_cancel, g);
}
