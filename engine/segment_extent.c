/* Segment files that the lane writes (extent.h). */
#include "engine/extent.h"
#include "engine/base/log.h"
#include "engine/segment_impl.h"

#define SEGNO_TRIES 64u
/* Numbers rise with sequences, and the flusher may write others before this file: it finds so many
 * numbers free below. */
#define SEGNO_GAP 4096u
/* Files open at once, of all streams: each has the index of what is in it. */
#define EXTENTS_MAX 16u

struct extents {
    struct segs *segs; /* borrowed */
    struct extents_opts o;
    char *account, *name; /* owned */

    struct base_mutex mutex; /* held over writes: who waits for it may block, so never the owner */
    struct extent open;      /* guarded by: mutex; w NULL = none */
    struct extent_list done; /* guarded by: mutex; ended, not taken */
    size_t done_cap;         /* guarded by: mutex */
    uint64_t generation;     /* guarded by: mutex */
    atomic_uint_fast64_t boundary, next_generation, next_segno;

    /* lane, within one extents_place */
    uint64_t large; /* bytes */
    bool must_not;  /* one of the group's is not to be placed */
    bool on;
    uint64_t failed_at; /* boundary at which writing failed: not again before the next */

    /* owner */
    struct seg_file **left; /* owned references: to go with the next durable lap */
    size_t nleft;
    uint64_t left_bytes;
};

struct extents *extents_create(struct segs *s, const struct extents_opts *o)
{
    struct extents *x = base_calloc(1, sizeof *x);
    x->segs = s;
    x->o = *o;
    x->account = base_strdup(o->account);
    x->name = base_strdup(o->name);
    x->failed_at = UINT64_MAX;
    base_mutex_init(&x->mutex);
    atomic_init(&x->next_segno, 1);
    return x;
}

static void drop(struct extent *e)
{
    seg_writer_destroy(e->w);
    if (e->file != NULL) {
        seg_file_release(e->file);
    }
}

void extents_destroy(struct extents *x)
{
    if (x == NULL) {
        return;
    }
    drop(&x->open);
    for (size_t i = 0; i < x->done.n; i++) {
        drop(&x->done.v[i]);
    }
    for (size_t i = 0; i < x->nleft; i++) {
        seg_file_release(x->left[i]);
    }
    base_mutex_destroy(&x->mutex);
    base_free(x->done.v);
    base_free(x->left);
    base_free(x->account);
    base_free(x->name);
    base_free(x);
}

/* --- placing (lane) --------------------------------------------------------------------------- */

static void done_add(struct extents *x, const struct extent *e)
{
    if (x->done.n == x->done_cap) {
        x->done_cap = x->done_cap == 0 ? 4 : x->done_cap * 2;
        x->done.v = base_realloc(x->done.v, x->done_cap * sizeof *x->done.v);
    }
    x->done.v[x->done.n++] = *e;
}

/* The open file is complete: what was added to it is durable. */
static enum st end_open(struct extents *x, struct err *err)
{
    if (x->open.w == NULL) {
        return ST_OK;
    }
    enum st st = seg_writer_cut(x->open.w, err);
    if (st == ST_OK) {
        done_add(x, &x->open);
        x->open = (struct extent){0};
    }
    return st;
}

static enum st begin(struct extents *x, uint64_t seq, struct err *err)
{
    struct seg_writer_opts wo = {
        .gid = x->o.gid,
        .account = x->account,
        .name = x->name,
        .created_generation = atomic_load(&x->next_generation),
        .segment_bytes = x->o.segment_bytes,
        .no_compress = true,
        .extent = true,
    };
    enum st st = ST_EXISTS;
    for (unsigned i = 0; st == ST_EXISTS && i < SEGNO_TRIES; i++) {
        uint64_t segno = atomic_fetch_add(&x->next_segno, SEGNO_GAP) + SEGNO_GAP;
        st = seg_writer_begin(x->segs, &wo, segno, 0, seq, 0, &x->open.w, err);
    }
    if (st == ST_OK) {
        x->open.file = seg_writer_file(x->open.w);
        x->open.first_seq = x->open.last_seq = seq;
        x->open.bytes = 0;
    }
    return st;
}

/* A file that could not be written goes on the list with what it has: references to it may stand.
 */
static void give_up(struct extents *x)
{
    if (x->open.w != NULL) {
        seg_writer_destroy(x->open.w);
        x->open.w = NULL;
        done_add(x, &x->open);
        x->open = (struct extent){0};
    }
    x->failed_at = atomic_load(&x->boundary);
}

static enum st add(struct extents *x, struct jr_bulk *b, struct err *err)
{
    struct msg m;
    enum st st = msg_get(b->msg, b->len, &m);
    uint64_t boundary = atomic_load(&x->boundary);
    if (st == ST_OK && x->open.w != NULL && m.seq > boundary && x->open.first_seq <= boundary) {
        st = end_open(x, err);
    }
    if (st == ST_OK && x->open.w == NULL) {
        st = begin(x, m.seq, err);
    }
    if (st != ST_OK) {
        return st;
    }
    struct seg_src src = {.msg = b->msg, .len = b->len, .expire_ns = x->o.expires_ns(b->msg)};
    st = seg_writer_add(x->open.w, &src, err);
    if (st == ST_FULL) {
        st = end_open(x, err);
        st = st == ST_OK ? begin(x, m.seq, err) : st;
        st = st == ST_OK ? seg_writer_add(x->open.w, &src, err) : st;
    }
    if (st == ST_OK) {
        x->open.last_seq = m.seq;
        b->placed = true;
        b->x = (struct msg_extent){.off = seg_writer_block(x->open.w), .data_len = m.data_len};
    }
    return st;
}

/* Which file holds a placed message: the open one, or one that was ended on the way. */
static struct extent *holder(struct extents *x, uint64_t seq)
{
    for (size_t i = x->done.n; i > 0; i--) {
        struct extent *e = &x->done.v[i - 1];
        if (e->w != NULL && seq >= e->first_seq && seq <= e->last_seq) {
            return e;
        }
    }
    return &x->open;
}

/* All of the group's messages of x that lie in v. */
static enum st place_all(struct extents *x, struct jr_bulk *v, size_t n, struct err *err)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        st = v[i].who == x ? add(x, &v[i], err) : ST_OK;
    }
    st = st == ST_OK ? seg_writer_cut(x->open.w, err) : st;
    return st == ST_OK ? segs_sync_dirs(x->segs, x->o.gid, err) : st;
}

static void refer(struct extents *x, struct jr_bulk *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].who != x) {
            continue;
        }
        size_t block = (size_t)v[i].x.off;
        uint32_t data_len = v[i].x.data_len;
        struct extent *e = holder(x, get_u64le(v[i].msg + 8));
        e->bytes += v[i].len;
        seg_writer_extent(e->w, block, &v[i].x);
        v[i].x.data_len = data_len;
    }
}

static void place_stream(struct extents *x, struct jr_bulk *v, size_t n)
{
    struct err err = {0};
    base_mutex_lock(&x->mutex);
    uint64_t least = x->open.w != NULL ? x->o.goon_bytes : x->o.begin_bytes;
    bool room = x->open.w != NULL || atomic_load(&x->segs->extents) < EXTENTS_MAX;
    bool on =
        !x->must_not && room && x->large >= least && x->failed_at != atomic_load(&x->boundary);
    enum st st = on ? place_all(x, v, n, &err) : end_open(x, &err);
    if (st == ST_OK && on) {
        refer(x, v, n);
    } else if (st != ST_OK) {
        log_wrn("stream \"%s\": large messages go through the journal: %s", x->name, err.msg);
        give_up(x);
        for (size_t i = 0; i < n; i++) {
            v[i].placed = v[i].placed && v[i].who != x;
        }
    }
    base_mutex_unlock(&x->mutex);
}

void extents_place(struct jr_bulk *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct extents *x = v[i].who;
        x->large = 0;
        x->must_not = false;
        x->on = false;
        v[i].placed = false;
    }
    for (size_t i = 0; i < n; i++) {
        struct extents *x = v[i].who;
        x->must_not = x->must_not || !v[i].may;
        /* what compresses is better off in a segment that the flusher writes */
        if (v[i].len > x->o.message_bytes &&
            (v[i].len <= SEG_LARGE_BLOCK || seg_looks_random(v[i].msg, v[i].len))) {
            x->large += v[i].len;
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct extents *x = v[i].who;
        if (!x->on) {
            x->on = true;
            place_stream(x, v, n);
        }
    }
}

/* --- taking (flusher), keeping (owner) -------------------------------------------------------- */

void extents_boundary(struct extents *x, uint64_t seq, uint64_t generation, uint64_t segno)
{
    atomic_store(&x->next_generation, generation);
    if (atomic_load(&x->next_segno) < segno) {
        atomic_store(&x->next_segno, segno);
    }
    atomic_store(&x->boundary, seq);
}

void extents_take(struct extents *x, uint64_t seq, struct extent_list *out)
{
    *out = (struct extent_list){0};
    base_mutex_lock(&x->mutex);
    if (x->open.w != NULL && x->open.last_seq <= seq) {
        done_add(x, &x->open);
        x->open = (struct extent){0};
    }
    size_t n = 0;
    while (n < x->done.n && x->done.v[n].last_seq <= seq) {
        n++;
    }
    if (n > 0) {
        out->v = base_malloc(n * sizeof *out->v);
        out->n = n;
        memcpy(out->v, x->done.v, n * sizeof *out->v);
        memmove(x->done.v, x->done.v + n, (x->done.n - n) * sizeof *out->v);
        x->done.n -= n;
    }
    base_mutex_unlock(&x->mutex);
}

static void leave(struct extents *x, struct seg_file *f)
{
    x->left = base_realloc(x->left, (x->nleft + 1) * sizeof(struct seg_file *));
    x->left[x->nleft++] = f;
}

uint64_t extents_done(struct extents *x, struct extent_list *l)
{
    uint64_t bytes = x->left_bytes;
    for (size_t i = 0; i < x->nleft; i++) {
        seg_file_doom(x->left[i]);
        seg_file_release(x->left[i]);
    }
    x->nleft = 0;
    x->left_bytes = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct extent *e = &l->v[i];
        bytes += e->bytes;
        if (!e->adopted) {
            seg_file_doom(e->file);
        }
        drop(e);
    }
    base_free(l->v);
    *l = (struct extent_list){0};
    return bytes;
}

void extents_undone(struct extents *x, struct extent_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        seg_writer_destroy(l->v[i].w);
        x->left_bytes += l->v[i].bytes;
        leave(x, l->v[i].file);
    }
    base_free(l->v);
    *l = (struct extent_list){0};
}

void extents_referred(struct extents *x, uint64_t segno, const uint8_t uuid[16])
{
    if (!extents_refers_to(x, segno)) {
        leave(x, seg_file_create(x->segs, x->o.gid, segno, 0, uuid));
        atomic_store(&x->next_segno, u64_max(atomic_load(&x->next_segno), segno));
    }
}

bool extents_refers_to(const struct extents *x, uint64_t segno)
{
    for (size_t i = x->nleft; i > 0; i--) {
        if (x->left[i - 1]->segno == segno) {
            return true;
        }
    }
    return false;
}

/* --- reading (start-up) ----------------------------------------------------------------------- */

void segs_trim(struct segs *s)
{
    if (!atomic_exchange(&s->extent_pages_used, false)) {
        base_pages_free(atomic_exchange(&s->extent_pages, NULL), SEG_EXTENT_BYTES);
    }
}

bool segs_is_extent(struct segs *s, const char *path)
{
    uint8_t half[SEG_HALF];
    struct seg_header h;
    struct seg_io io = {.env = s->env, .limit = UINT64_MAX};
    if (env_open(s->env, path, ENV_RDONLY, &io.f, NULL) != ST_OK) {
        return false;
    }
    bool is = seg_io_read(&io, half, sizeof half, 0, NULL) == ST_OK &&
              seg_header_get(half, &h) == ST_OK && memcmp(h.store_uuid, s->store_uuid, 16) == 0 &&
              (h.flags & SEG_EXTENT) != 0;
    env_close(s->env, io.f);
    return is;
}

static enum st find_form(const uint8_t *raw, size_t raw_len, uint64_t seq, uint8_t *out, size_t len,
                         struct err *err)
{
    struct msg m;
    for (size_t at = 0; at < raw_len && msg_get(raw + at, raw_len - at, &m) == ST_OK;) {
        size_t form = (size_t)msg_size(m.subj_len, m.hdr_len, m.data_len);
        if (m.seq == seq && form == len) {
            memcpy(out, raw + at, len);
            return ST_OK;
        }
        at += form;
    }
    return err_set(err, ST_CORRUPT, 0, "the block does not hold it");
}

enum st segs_read_extent(struct segs *s, uint32_t gid, const struct msg_extent *x, uint64_t seq,
                         uint8_t *out, size_t len, struct err *err)
{
    char path[SEG_PATH_MAX];
    uint8_t *raw = NULL;
    struct seg_io io = {.env = s->env, .uuid = x->uuid};
    struct seg_scratch sc = {0};
    struct seg_bh bh = {0};
    segs_path_file(s, gid, x->segno, 0, path);
    enum st st = env_open(s->env, path, ENV_RDONLY, &io.f, err);
    if (st != ST_OK) {
        return st == ST_NOTFOUND ? ST_CORRUPT : st;
    }
    st = env_size(s->env, io.f, &io.limit, err);
    if (st == ST_OK) {
        st = seg_io_block(&io, x->off, x->stored_len, &sc, &bh, &raw, err);
    }
    if (st == ST_OK) {
        st = find_form(raw, bh.raw_len, seq, out, len, err);
    }
    base_free(raw);
    seg_scratch_fini(&sc);
    env_close(s->env, io.f);
    return st;
}
