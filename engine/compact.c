/* Compaction: sealed segments that are mostly dead are written anew without what was removed.
 *
 *   owner                   compactor task              meta task           owner
 *   choose, copy what  ---> seg_compact_step ...    ---> (owner builds  ---> new view in place of
 *   is dead                 file and names synced       the row) commit     the old, which goes
 *
 * One segment at a time. After each checkpoint its streams are looked through for segments of
 * which less than half lives; those are rewritten at a bounded rate. Neighbours of like size that
 * are each below half of a segment are merged. Removals alone, without publishes, bring a
 * checkpoint once they are worth it. A request (jsadmin) takes every segment that holds anything
 * removed, the one still being filled too, at full speed.
 *
 * Invariants
 * 1. Left out is only what the catalogue already says is dead (the floor and delete runs of the
 *    last checkpoint): whatever crash follows, no removal has to be replayed to explain a gap.
 * 2. The new file and its name are synced before the row that names it is committed; the old file
 *    is unlinked after that generation is durable in both copies.
 * 3. A compaction and a checkpoint never commit at the same time; a checkpoint that runs while a
 *    segment is being copied may drop it, then the copy is thrown away.
 *
 * A crash leaves either the old file with an unknown one of a higher gen, or the new one with the
 * old: recover_judge_files() removes the one no row names; of two that were merged, both.
 *
 * Threads: the job is made and taken apart by the owner; in COMPACT_WRITING only the compactor
 * touches it, in COMPACT_COMMITTING only the meta task. */
#include "engine/compact.h"

#include "engine/base/limits.h"
#include "engine/base/log.h"

#define STEP_BLOCKS 16u /* blocks copied between two looks at the clock */
#define LOOK_MAX 256u   /* segments looked at in one turn */
#define RETRY_NS (60 * NS_PER_S)
#define ERASE_NS (5 * NS_PER_S) /* secure deletes gather for so long */
#define DEAD_NS (10 * NS_PER_S) /* removals gather for so long before anybody counts them */
/* An active segment this large is rewritten when it is mostly dead, though it is not full. */
#define ACTIVE_BYTES_MIN MIB
#define DEAD_BYTES_MIN (64u * 1024u) /* of segments; less is not worth a checkpoint */
#define BULKY_BYTES_MIN (8u * MIB)   /* of a segment that is not merged if its messages are large */
#define MERGE_SLACK (256u * 1024u)   /* neighbours of like size are merged, small ones always */

/* --- what may be left out --------------------------------------------------------------------- */

static bool kept(const struct compact *k, uint64_t seq)
{
    if (seq < k->committed_first) {
        return false;
    }
    return seq < k->first_seq || !seq_runs_has(&k->dead, seq) || seq_runs_has(&k->fresh, seq);
}

static bool is_kept(void *arg, uint64_t seq)
{
    return kept(arg, seq);
}

/* Messages of the segment that a copy would keep; at most. */
static uint64_t kept_count(const struct store_stream *s, const struct seg_row *row)
{
    uint64_t n = liveset_rank(s->live, row->first_seq, row->last_seq + 1);
    for (size_t i = 0; i < s->ckpt_removed.n; i++) {
        const struct seq_run *r = &s->ckpt_removed.v[i];
        uint64_t lo = u64_max(r->first, row->first_seq);
        uint64_t hi = u64_min(r->first + r->count, row->last_seq + 1);
        n += lo < hi ? hi - lo : 0;
    }
    uint64_t lo = u64_max(s->ckpt_first_seq, row->first_seq);
    uint64_t hi = u64_min(s->first_seq, row->last_seq + 1);
    return n + (lo < hi ? hi - lo : 0);
}

static bool to_be_erased(const struct store_stream *s, const struct seg_row *row)
{
    for (size_t i = 0; i < s->erase.n; i++) {
        const struct seq_run *r = &s->erase.v[i];
        if (r->first <= row->last_seq && row->first_seq < r->first + r->count) {
            return true;
        }
    }
    return false;
}

/* Sequences of `erase` that the copy leaves out, or that lie in no segment at all. */
static bool is_erased(const struct store_stream *s, const struct compact *k, uint64_t seq)
{
    size_t i = s->segs != NULL ? seg_views_find(s->segs->v, s->segs->n, seq) : 0;
    if (seq > s->flushed_seq) {
        return false; /* a file that the lane wrote, or a flush under way, may bring it yet */
    }
    if (s->segs == NULL || i >= s->segs->n || s->segs->v[i]->row.first_seq > seq) {
        return true;
    }
    return k != NULL && (s->segs->v[i] == k->old || s->segs->v[i] == k->next) && !kept(k, seq);
}

/* --- choosing (owner) ------------------------------------------------------------------------- */

static bool chosen(const struct compact *k, const struct store_stream *s, const struct seg_view *v)
{
    const struct seg_row *row = &v->row;
    if (v->keep || row->first_seq == 0) {
        return false;
    }
    bool all = k->request.on;
    if (row->state == SEG_ACTIVE && !all && !to_be_erased(s, row) &&
        row->durable_len < ACTIVE_BYTES_MIN) {
        return false; /* it will be sealed some day */
    }
    uint64_t n = kept_count(s, row);
    return n < v->nmsgs && (all || n * 2 < v->nmsgs || to_be_erased(s, row));
}

/* Few messages, all large: copying them would cost much and save next to nothing. */
static bool is_bulky(const struct seg_view *v)
{
    return v->row.durable_len >= BULKY_BYTES_MIN &&
           v->row.durable_len / (v->nmsgs + 1) >= LIM_JOURNAL_LARGE_BYTES;
}

/* Two that are each less than half of a segment become one: copying as many bytes as they keep, and
 * each message at most once per doubling of the file that it is in. Not with one that is damaged,
 * or still being filled. */
static bool mergeable(const struct eng *e, const struct store_stream *s, size_t i)
{
    uint64_t half =
        (e->opts.segment_bytes != 0 ? e->opts.segment_bytes : LIM_SEGMENT_BYTES_TARGET) / 2;
    const struct seg_view *a = s->segs->v[i], *b = i + 1 < s->segs->n ? s->segs->v[i + 1] : NULL;
    return b != NULL && !a->keep && !b->keep && a->row.first_seq != 0 && b->row.first_seq != 0 &&
           a->row.state != SEG_ACTIVE && b->row.state != SEG_ACTIVE && a->row.durable_len < half &&
           b->row.durable_len < half &&
           a->row.durable_len <= b->row.durable_len * 2 + MERGE_SLACK &&
           b->row.durable_len <= a->row.durable_len * 2 + MERGE_SLACK &&
           !(is_bulky(a) && is_bulky(b)) && b->row.last_seq - a->row.first_seq < UINT32_MAX;
}

static void begin_job(struct eng *e, struct store_stream *s, size_t i, bool merge)
{
    struct compact *k = e->compact;
    if (s->segs->v[i]->row.state == SEG_ACTIVE) {
        /* not always the last one: a flush that could not go on in it has begun another */
        ckpt_replace_view(s, i, seg_view_closed(s->segs->v[i])); /* the next flush begins another */
        s->ckpt_dirty = true;
    }
    struct seg_view *v = s->segs->v[i];
    k->gid = s->gid;
    k->old = v;
    seg_view_acquire(v);
    k->next = merge ? s->segs->v[i + 1] : NULL;
    if (merge) {
        seg_view_acquire(k->next);
    }
    uint64_t last_seq = merge ? k->next->row.last_seq : v->row.last_seq;
    k->account = base_strdup(s->cfg.account);
    k->name = base_strdup(s->cfg.name);
    k->committed_first = s->ckpt_first_seq;
    k->first_seq = s->first_seq;
    seq_runs_clear(&k->dead);
    seq_runs_clear(&k->fresh);
    uint64_t from = u64_max(v->row.first_seq, s->first_seq);
    if (from <= last_seq) {
        liveset_dead_runs(s->live, from, last_seq + 1, UINT64_MAX, &k->dead);
    }
    for (size_t r = 0; r < s->ckpt_removed.n; r++) {
        seq_runs_add_run(&k->fresh, s->ckpt_removed.v[r].first, s->ckpt_removed.v[r].count);
    }
    k->created_generation = cat_generation(e->cat) + 1;
    k->paced = !k->request.on;
    atomic_store_explicit(&k->phase, COMPACT_WRITING, memory_order_release);
    env_task_wake(e->env, k->task);
}

/* Looks at no more than LOOK_MAX segments; true when a job was begun. */
static bool look(struct eng *e)
{
    struct compact *k = e->compact;
    size_t looked = 0;
    for (size_t i = 0; i < e->ngids; i++) {
        struct store_stream *s = e->by_gid[i];
        if (!s->compact_look) {
            continue;
        }
        size_t n = s->segs != NULL && !s->dropped ? s->segs->n : 0;
        while (s->compact_at < n) {
            size_t at = s->compact_at++;
            bool merge = mergeable(e, s, at);
            if (merge || chosen(k, s, s->segs->v[at])) {
                begin_job(e, s, at, merge);
                return true;
            }
            if (++looked >= LOOK_MAX) {
                k->more = true;
                return false;
            }
        }
        s->compact_look = false;
    }
    return false;
}

void compact_look_at(struct store_stream *s)
{
    s->compact_look = true;
    s->compact_at = 0;
    s->eng->compact->more = true;
}

static void request_done(struct eng *e, enum st st)
{
    struct compact *k = e->compact;
    if (k->request.on) {
        k->request.on = false;
        k->request.progress.running = false;
        eng_wait(e, 0, k->request.fn, k->request.arg, st, k->request.progress.rewritten);
    }
}

/* --- writing (compactor task) ----------------------------------------------------------------- */

static uint64_t pace(const struct eng *e, const struct compact *k, uint64_t bytes)
{
    uint64_t rate = e->opts.compact_bytes_per_s;
    return k->paced && rate != UINT64_MAX ? bytes * (uint64_t)NS_PER_S / rate : ENV_STEP_AGAIN;
}

static void written(struct eng *e, enum st st)
{
    struct compact *k = e->compact;
    k->st = st;
    k->w = NULL;
    atomic_store_explicit(&k->phase, COMPACT_WRITTEN, memory_order_release);
    e->opts.doorbell(e->opts.doorbell_arg);
}

static uint64_t compactor_step(void *arg)
{
    struct eng *e = arg;
    struct compact *k = e->compact;
    bool done = false;
    enum st st = ST_OK;
    if (atomic_load_explicit(&k->phase, memory_order_acquire) != COMPACT_WRITING) {
        return ENV_STEP_IDLE;
    }
    if (k->w == NULL) {
        st = seg_compact_begin(e->segs, k->old, k->next, k->created_generation, k->account, k->name,
                               is_kept, k, &k->w, &k->err);
    }
    if (st == ST_OK) {
        st = seg_compact_step(k->w, STEP_BLOCKS, &done, &k->err);
    }
    if (st != ST_OK) {
        seg_compact_cancel(k->w);
        written(e, st);
        return ENV_STEP_IDLE;
    }
    if (!done) {
        return pace(e, k, k->old->row.durable_len * STEP_BLOCKS / (k->old->ndata + 1u));
    }
    st = seg_compact_end(k->w, &k->out, &k->err);
    if (st == ST_OK && k->out.n > 0) {
        st = segs_sync_dirs(e->segs, k->gid, &k->err);
    }
    written(e, st);
    return ENV_STEP_IDLE;
}

/* --- swap (owner) ----------------------------------------------------------------------------- */

/* Index of the job's segment among its stream's; SIZE_MAX when it is not there any more. */
static size_t place(struct eng *e, struct store_stream **s_out)
{
    const struct compact *k = e->compact;
    struct store_stream *s = eng_stream_by_gid(e, k->gid);
    *s_out = s;
    for (size_t i = 0; s != NULL && !s->dropped && s->segs != NULL && i < s->segs->n; i++) {
        if (s->segs->v[i] == k->old &&
            (k->next == NULL || (i + 1 < s->segs->n && s->segs->v[i + 1] == k->next))) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void put_erase(struct cat_txn *t, const struct store_stream *s, const struct seq_runs *runs)
{
    if (runs->n == 0) {
        cat_del_segdel(t, s->gid, SEGDEL_ERASE, 0);
        return;
    }
    size_t len = seq_runs_size(runs);
    uint8_t *buf = base_malloc(len);
    len = seq_runs_put(buf, runs);
    struct cat_segdel d = {s->gid, SEGDEL_ERASE, 0, {buf, len}};
    cat_put_segdel(t, &d);
    base_free(buf);
}

void compact_put_erase(struct cat_txn *t, struct store_stream *s)
{
    if (s->erase.n > 0) {
        put_erase(t, s, &s->erase);
        s->erase_saved = true;
    } else if (s->erase_saved) {
        cat_del_segdel(t, s->gid, SEGDEL_ERASE, 0);
        s->erase_saved = false;
    }
}

static void still_to_erase(const struct store_stream *s, const struct compact *k,
                           struct seq_runs *out)
{
    for (size_t i = 0; i < s->erase.n; i++) {
        for (uint64_t n = 0; n < s->erase.v[i].count; n++) {
            if (!is_erased(s, k, s->erase.v[i].first + n)) {
                seq_runs_add(out, s->erase.v[i].first + n);
            }
        }
    }
}

/* Meta task. */
static void committed(void *arg, struct cat_txn *txn, enum st st, uint64_t gen,
                      const struct err *err)
{
    struct eng *e = arg;
    struct compact *k = e->compact;
    (void)txn, (void)gen;
    k->st = st;
    if (err != NULL) {
        k->err = *err;
    }
    atomic_store_explicit(&k->phase, COMPACT_COMMITTED, memory_order_release);
    e->opts.doorbell(e->opts.doorbell_arg);
}

static void clear_job(struct compact *k)
{
    if (k->out.n > 0 && k->out.v[0].view != NULL && !k->in_doubt) {
        seg_view_drop(k->out.v[0].view); /* written for nothing */
    }
    seg_flush_result_fini(&k->out);
    seg_view_release(k->old);
    seg_view_release(k->next);
    cat_txn_destroy(k->txn);
    base_free(k->account);
    base_free(k->name);
    k->old = k->next = NULL;
    k->txn = NULL;
    k->account = k->name = NULL;
    atomic_store_explicit(&k->phase, COMPACT_IDLE, memory_order_relaxed);
}

static void job_failed(struct eng *e, struct store_stream *s, size_t at)
{
    struct compact *k = e->compact;
    if (k->st == ST_POISONED) {
        k->in_doubt = true; /* a row may name the new file, or the old one: both stay */
        log_err("could not compact: %s; no compaction until a restart", k->err.msg);
    } else if (at == SIZE_MAX) {
        return; /* its stream is gone, and the directory with it */
    } else if ((k->st == ST_CORRUPT || k->st == ST_UNSUPPORTED) && k->next != NULL) {
        log_wrn("segments %llu and %llu of stream \"%s\" are not merged: %s",
                (unsigned long long)k->old->row.segno, (unsigned long long)k->next->row.segno,
                s->cfg.name, k->err.msg);
        s->segs->v[at]->keep = s->segs->v[at + 1]->keep = true;
        k->request.progress.damaged++;
    } else if (k->st == ST_CORRUPT || k->st == ST_UNSUPPORTED) {
        log_wrn("segment %llu of stream \"%s\" is not compacted: %s",
                (unsigned long long)k->old->row.segno, s->cfg.name, k->err.msg);
        s->segs->v[at]->keep = true;
        k->request.progress.damaged++;
    } else {
        log_wrn("could not compact: %s; trying again in 60 s", k->err.msg);
        k->retry_boot_ns = eng_boot_ns(e) + RETRY_NS;
        if (k->request.on) {
            k->request.st = k->st;
        }
    }
}

static void submit(struct eng *e)
{
    struct compact *k = e->compact;
    struct store_stream *s;
    size_t at = place(e, &s);
    if (k->st != ST_OK || at == SIZE_MAX) {
        job_failed(e, s, at);
        clear_job(k);
        return;
    }
    k->txn = cat_txn_create();
    if (k->out.n > 0) {
        ckpt_put_segment(k->txn, &k->out.v[0].view->row);
    } else {
        cat_del_segment(k->txn, k->gid, k->old->row.segno);
    }
    if (k->next != NULL) {
        cat_del_segment(k->txn, k->gid, k->next->row.segno);
    }
    if (s->erase_saved) {
        struct seq_runs rest = {0};
        still_to_erase(s, k, &rest);
        put_erase(k->txn, s, &rest);
        seq_runs_fini(&rest);
    }
    atomic_store_explicit(&k->phase, COMPACT_COMMITTING, memory_order_release);
    k->st = cat_submit(e->cat, k->txn, committed, e);
    if (k->st != ST_OK) {
        err_set(&k->err, k->st, 0, "catalogue takes no transaction");
        job_failed(e, s, at);
        clear_job(k);
    }
}

static void publish(struct eng *e)
{
    struct compact *k = e->compact;
    struct store_stream *s;
    size_t at = place(e, &s);
    if (k->st != ST_OK || at == SIZE_MAX) { /* dropped since: the row goes with the stream's */
        job_failed(e, s, at);
        clear_job(k);
        return;
    }
    uint64_t before = k->old->row.durable_len;
    if (k->next != NULL) {
        before += k->next->row.durable_len;
        blockcache_forget_file(e->cache, seg_view_file_id(k->next));
        seg_view_drop(k->next);
        ckpt_remove_view(s, at + 1);
    }
    struct seq_runs rest = {0};
    still_to_erase(s, k, &rest);
    seq_runs_fini(&s->erase);
    s->erase = rest;
    uint64_t after = 0;
    blockcache_forget_file(e->cache, seg_view_file_id(k->old));
    seg_view_drop(k->old);
    if (k->out.n > 0) {
        after = k->out.v[0].view->row.durable_len;
        ckpt_replace_view(s, at, k->out.v[0].view);
        k->out.v[0].view = NULL;
    } else {
        ckpt_remove_view(s, at);
    }
    s->compact_at = 0; /* positions may have moved */
    stream_release_blocks(s);
    e->compactions++;
    e->compacted_bytes += before - u64_min(after, before);
    k->request.progress.rewritten++;
    k->request.progress.todo = u64_max(k->request.progress.todo, k->request.progress.rewritten);
    k->request.progress.bytes_in += before;
    k->request.progress.bytes_out += after;
    clear_job(k);
    ckpt_wake_flusher(e); /* unlinks the old file */
}

/* --- driving (owner) -------------------------------------------------------------------------- */

bool compact_committing(const struct eng *e)
{
    int phase = atomic_load_explicit(&e->compact->phase, memory_order_acquire);
    return phase == COMPACT_COMMITTING || phase == COMPACT_COMMITTED;
}

bool compact_idle(const struct eng *e)
{
    return atomic_load_explicit(&e->compact->phase, memory_order_acquire) == COMPACT_IDLE;
}

static void idle(struct eng *e)
{
    struct compact *k = e->compact;
    if (k->in_doubt || k->task == NULL || e->poisoned != ST_OK ||
        (e->low_space && !k->request.on) || eng_boot_ns(e) < k->retry_boot_ns) {
        request_done(e, k->in_doubt || e->poisoned != ST_OK ? ST_POISONED : k->request.st);
        return;
    }
    if (k->request.on && k->request.st != ST_OK) {
        request_done(e, k->request.st);
        return;
    }
    if (!k->more) {
        request_done(e, ST_OK);
        return;
    }
    if (!ckpt_idle(e)) {
        return; /* its end rings */
    }
    k->more = false;
    if (look(e)) {
        k->more = true;
    }
}

void compact_poll(struct eng *e)
{
    struct compact *k = e->compact;
    switch ((enum compact_phase)atomic_load_explicit(&k->phase, memory_order_acquire)) {
    case COMPACT_IDLE:
        if (k->more || k->request.on) {
            idle(e);
        }
        break;
    case COMPACT_WRITTEN:
        if (!ckpt_committing(e)) {
            submit(e);
        }
        break;
    case COMPACT_COMMITTED:
        publish(e);
        break;
    default:
        break;
    }
}

/* --- secure deletes --------------------------------------------------------------------------- */

static void erase_due(void *arg)
{
    ckpt_request(arg, NULL, NULL); /* the segments are looked at when its deletes are durable */
}

void compact_erase(struct store_stream *s, uint64_t seq)
{
    struct eng *e = s->eng;
    if (!s->memory) {
        jr_scrub(e->jr);
    }
    if (s->memory || (seq > s->flushed_seq && !s->ckpt_busy && s->extents == NULL)) {
        return; /* dies in memory: it never reaches a segment */
    }
    seq_runs_add(&s->erase, seq);
    if (e->compact->erase_timer != NULL && !e->replaying) {
        eng_timer_set(e->compact->erase_timer, eng_boot_ns(e) + ERASE_NS);
    }
}

/* --- removals alone --------------------------------------------------------------------------- */

/* Messages in segments that are dead, more than half of all there, a quarter of them since the last
 * time: a checkpoint is worth it, though nobody publishes. */
static bool is_worth(struct store_stream *s)
{
    uint64_t total = 0, bytes = 0;
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        total += s->segs->v[i]->nmsgs;
        bytes += s->segs->v[i]->row.durable_len;
    }
    uint64_t live = liveset_rank(s->live, s->first_seq, s->flushed_seq + 1);
    uint64_t dead = total - u64_min(live, total);
    s->dead_seen = u64_min(s->dead_seen, dead); /* segments went since */
    if (bytes < DEAD_BYTES_MIN || dead * 2 < total || dead - s->dead_seen < total / 4) {
        return false;
    }
    s->dead_seen = dead;
    return true;
}

static void dead_due(void *arg)
{
    struct eng *e = arg;
    bool worth = false;
    e->compact->dead_armed = false;
    for (size_t i = 0; i < e->nstreams; i++) {
        struct store_stream *s = e->by_name[i];
        if (s->dead_look) {
            s->dead_look = false;
            worth = is_worth(s) || worth;
        }
    }
    if (worth) {
        ckpt_request(e, NULL, NULL); /* which looks for what to compact */
    }
}

void compact_removed(struct store_stream *s)
{
    struct compact *k = s->eng->compact;
    if (s->memory || s->segs == NULL || s->segs->n == 0) {
        return;
    }
    s->dead_look = true;
    if (k != NULL && k->dead_timer != NULL && !k->dead_armed && !s->eng->replaying) {
        k->dead_armed = true;
        eng_timer_set(k->dead_timer, eng_boot_ns(s->eng) + DEAD_NS);
    }
}

/* --- requests --------------------------------------------------------------------------------- */

static void request_begin(struct eng *e, enum st st)
{
    struct compact *k = e->compact;
    k->request.st = st;
    k->retry_boot_ns = 0;
    for (size_t i = 0; i < e->nstreams && st == ST_OK; i++) {
        struct store_stream *s = e->by_name[i];
        compact_look_at(s);
        for (size_t v = 0; s->segs != NULL && v < s->segs->n; v++) {
            k->request.progress.todo += chosen(k, s, s->segs->v[v]);
        }
    }
    k->more = true;
    k->request.progress.running = true;
}

static void checkpointed(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct eng *e = arg;
    (void)n, (void)err;
    e->compact->request.waiting = false;
    e->compact->request.on = true;
    request_begin(e, st);
}

void eng_compact(struct store *store, store_done_fn done, void *arg)
{
    struct eng *e = eng_of(store);
    struct compact *k = e->compact;
    ASSERT(done != NULL);
    if (k->request.on || k->request.waiting) {
        eng_wait(e, 0, done, arg, ST_BUSY, 0);
        return;
    }
    memset(&k->request, 0, sizeof k->request);
    k->request.waiting = true;
    k->request.fn = done;
    k->request.arg = arg;
    ckpt_request(e, checkpointed, e);
}

void eng_compact_progress(struct store *store, struct eng_compact_progress *out)
{
    *out = eng_of(store)->compact->request.progress;
}

/* --- life ------------------------------------------------------------------------------------- */

void compact_create(struct eng *e)
{
    e->compact = base_calloc(1, sizeof *e->compact);
    e->compact->erase_timer = eng_timer_create(e, erase_due, e);
    e->compact->dead_timer = eng_timer_create(e, dead_due, e);
}

enum st compact_start(struct eng *e, struct err *err)
{
    for (size_t i = 0; i < e->nstreams; i++) {
        compact_look_at(e->by_name[i]);
        if (e->by_name[i]->erase.n > 0) {
            eng_timer_set(e->compact->erase_timer, eng_boot_ns(e) + ERASE_NS);
        }
        if (e->by_name[i]->dead_look) {
            compact_removed(e->by_name[i]);
        }
    }
    return env_task_start(e->env, "compactor", 10, compactor_step, e, &e->compact->task, err);
}

void compact_stop(struct eng *e)
{
    struct compact *k = e->compact;
    if (k != NULL && k->task != NULL) {
        env_task_stop(e->env, k->task);
        k->task = NULL;
    }
}

void compact_settle(struct eng *e)
{
    struct compact *k = e->compact;
    enum compact_phase phase = (enum compact_phase)atomic_load(&k->phase);
    if (phase == COMPACT_COMMITTED) {
        publish(e);
    } else if (phase != COMPACT_IDLE) {
        ASSERT(phase != COMPACT_COMMITTING);
        seg_compact_cancel(k->w);
        k->w = NULL;
        clear_job(k);
    }
}

void compact_destroy(struct eng *e)
{
    struct compact *k = e->compact;
    if (k == NULL) {
        return;
    }
    if (atomic_load(&k->phase) != COMPACT_IDLE) {
        k->in_doubt = true; /* nothing is removed any more */
        seg_compact_cancel(k->w);
        clear_job(k);
    }
    seq_runs_fini(&k->dead);
    seq_runs_fini(&k->fresh);
    eng_timer_destroy(k->erase_timer);
    eng_timer_destroy(k->dead_timer);
    base_free(k);
    e->compact = NULL;
}
