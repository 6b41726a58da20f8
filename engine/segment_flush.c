/* seg_flush: one stream's messages into its active segment and as many new ones as they fill
 * (segment.h). */
#include "engine/extent.h"
#include "engine/segment_impl.h"

/* A file that an earlier, uncommitted flush left under a number is passed by: it is evidence until
 * judged. */
#define SEGNO_TRIES 64u

void seg_flush_result_fini(struct seg_flush_result *r)
{
    for (size_t i = 0; i < r->n; i++) {
        seg_view_release(r->v[i].view);
    }
    base_free(r->v);
    *r = (struct seg_flush_result){0};
}

struct flush {
    struct segs *s;
    const struct seg_flush_req *req;
    struct seg_flush_result *out;
    struct seg_writer_opts wo;
    struct seg_writer *w;
    uint64_t next_segno;
    uint64_t prev_last_seq;
};

static enum st begin_new(struct flush *f, uint64_t first_seq, struct err *err)
{
    enum st st = ST_EXISTS;
    for (unsigned i = 0; st == ST_EXISTS && i < SEGNO_TRIES; i++) {
        st = seg_writer_begin(f->s, &f->wo, f->next_segno++, 0, first_seq, f->prev_last_seq, &f->w,
                              err);
    }
    return st;
}

static enum st end_one(struct flush *f, bool seal, struct err *err)
{
    struct seg_flush_result *r = f->out;
    r->v = base_realloc(r->v, (r->n + 1) * sizeof(*r->v));
    enum st st = seg_writer_end(f->w, seal, &r->v[r->n], &r->bytes_written, err);
    if (st == ST_OK) {
        f->prev_last_seq = u64_max(f->prev_last_seq, r->v[r->n].view->row.last_seq);
        r->n++;
    }
    seg_writer_destroy(f->w);
    f->w = NULL;
    return st;
}

/* Removals are noted in the first file written: they are about what came before. */
static void note_removed(struct flush *f)
{
    if (f->out->n == 0) {
        seg_writer_removed(f->w, f->req->floor, f->req->removed);
    }
}

static uint64_t seq_of(const struct seg_src *src, struct err *err, enum st *st)
{
    struct msg m;
    *st = msg_get(src->msg, src->len, &m);
    if (*st == ST_OK && m.seq == 0) {
        *st = ST_CORRUPT;
    }
    if (*st != ST_OK) {
        err_set(err, *st, 0, "message to be flushed is not valid");
        return 0;
    }
    return m.seq;
}

static enum st add_one(struct flush *f, const struct seg_src *src, struct err *err)
{
    enum st st = ST_FULL;
    if (f->w != NULL) {
        st = seg_writer_add(f->w, src, err);
        if (st != ST_FULL) {
            return st;
        }
        note_removed(f);
        st = end_one(f, true, err);
        if (st != ST_OK) {
            return st;
        }
    }
    uint64_t seq = seq_of(src, err, &st);
    if (st != ST_OK) {
        return st;
    }
    st = begin_new(f, seq, err);
    if (st == ST_OK) {
        st = seg_writer_add(f->w, src, err);
        ASSERT(st != ST_FULL); /* an empty segment takes any message */
    }
    return st;
}

/* A file that the lane has written becomes the next segment; what was being written ends before it,
 * and is not continued: segments hold ascending runs. */
static enum st adopt(struct flush *f, struct extent *e, struct err *err)
{
    enum st st = ST_OK;
    if (f->w != NULL) {
        note_removed(f);
        st = end_one(f, true, err);
    }
    if (st == ST_OK) {
        f->w = e->w;
        f->next_segno = u64_max(f->next_segno, e->file->segno + 1);
        e->w = NULL;
        note_removed(f);
        st = end_one(f, true, err);
        e->adopted = st == ST_OK;
    }
    return st;
}

/* The files before seq, or around it. *upto: what is in them. */
static enum st adopt_before(struct flush *f, size_t *next, uint64_t seq, uint64_t *upto,
                            struct err *err)
{
    enum st st = ST_OK;
    for (; st == ST_OK && *next < f->req->nextents; (*next)++) {
        struct extent *e = &f->req->extents[*next];
        if (e->w != NULL && e->first_seq > seq) {
            break;
        }
        if (e->w != NULL && e->last_seq >= seq) { /* else nothing of it lives */
            st = adopt(f, e, err);
            *upto = e->last_seq;
        }
    }
    return st;
}

static enum st run(struct flush *f, struct err *err)
{
    const struct seg_flush_req *req = f->req;
    size_t extent = 0;
    uint64_t upto = 0;
    enum st st = ST_OK;
    if (req->active != NULL) {
        st = seg_writer_continue(f->s, &f->wo, req->active, &f->w, err);
        if (st == ST_CLOSED || st == ST_NOTFOUND || st == ST_CORRUPT) {
            err_clear(err); /* a new one is begun */
            st = ST_OK;
        }
    }
    for (size_t i = 0; st == ST_OK && i < req->n; i++) {
        uint64_t seq = get_u64le(req->msgs[i].msg + 8);
        st = adopt_before(f, &extent, seq, &upto, err);
        if (st == ST_OK && seq > upto) {
            st = add_one(f, &req->msgs[i], err);
        }
    }
    if (st == ST_OK && f->w != NULL) {
        note_removed(f);
        st = end_one(f, req->seal || seg_writer_full(f->w), err);
    }
    return st;
}

static bool is_extent(const struct flush *f, const struct seg_view *v)
{
    for (size_t i = 0; i < f->req->nextents; i++) {
        if (f->req->extents[i].file == v->file) {
            return true;
        }
    }
    return false;
}

/* Nothing of a failed flush will be named by a row: new files go, the continued one is cut back.
 * Room matters, because a full disk is what makes flushes fail. */
static void undo(struct flush *f)
{
    struct seg_flush_result *r = f->out;
    for (size_t i = 0; i < r->n; i++) {
        if (is_extent(f, r->v[i].view)) {
            continue; /* the journal refers to it */
        }
        if (!r->v[i].replaces_active) {
            seg_view_drop(r->v[i].view);
            continue;
        }
        const struct seg_row *row = &f->req->active->row;
        atomic_store(&r->v[i].view->file->written_len, UINT64_MAX);
        char path[SEG_PATH_MAX];
        struct env_file *file = NULL;
        segs_path_file(f->s, row->gid, row->segno, row->gen, path);
        enum st st = env_open(f->s->env, path, ENV_RDWR, &file, NULL);
        if (st == ST_OK) {
            st = env_truncate(f->s->env, file, row->durable_len, NULL);
            env_close(f->s->env, file);
        }
        (void)st;
    }
    seg_flush_result_fini(r);
    (void)segs_reap(f->s);
}

enum st seg_flush(struct segs *s, const struct seg_flush_req *req, struct seg_flush_result *out,
                  struct err *err)
{
    *out = (struct seg_flush_result){0};
    ASSERT(IMPLIES(req->active != NULL, req->active->row.state == SEG_ACTIVE));
    struct flush f = {
        .s = s,
        .req = req,
        .out = out,
        .wo =
            {
                .gid = req->gid,
                .account = req->account,
                .name = req->name,
                .created_generation = req->created_generation,
                .block_raw_bytes = req->block_raw_bytes,
                .segment_bytes = req->segment_bytes,
                .no_compress = req->no_compress,
            },
        .next_segno = req->next_segno,
        .prev_last_seq = req->prev_last_seq,
    };
    enum st st = run(&f, err);
    seg_writer_destroy(f.w);
    if (st != ST_OK) {
        err_prefix(err, "flush of stream %u", req->gid);
        undo(&f);
    }
    return st;
}
