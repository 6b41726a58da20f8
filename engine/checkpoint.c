/* Checkpoints: how journal and memory become segments and catalogue rows (RULES.md, "Checkpoint").
 *
 *   owner            flusher task            meta task (catalogue)      owner
 *   C1 freeze  --->  C2 write, C3 sync  -->  (owner builds rows) C4 --> C5 publish, C6 release
 *
 * One lap at a time, over every stream with something to cover. A unit is a stream with its
 * consumers, frozen at a ticket boundary: what was logged up to freeze_ticket, and nothing else, is
 * in it (I26). Rows are built when that ticket is done (flushed_lsn is then known) and committed in
 * one generation.
 *
 * A crash before C4 leaves blocks past durable_len or files no row names; after C4 everything is in
 * place. A failed lap changes nothing but that the touched segment is closed: the streams stay
 * dirty and the next lap tries again.
 *
 * checkpoint_freeze.c is C1, checkpoint_rows.c what C4 commits, checkpoint_publish.c C5 and C6;
 * here stand C2 and C3, and what drives a lap. checkpoint_tail.c says when one stream wants one.
 *
 * Threads: the job is built and taken apart by the owner; between hand-over and completion only the
 * flusher touches it. */
#include "engine/checkpoint.h"

#include "engine/base/limits.h"
#include "engine/base/log.h"

/* How long a failed lap rests. */
#define RETRY_NS (1 * NS_PER_S)
/* How often free space is looked at. */
#define SPACE_NS (2 * NS_PER_S)

/* --- C2, C3: write and sync (flusher) --------------------------------------------------------- */

static void flush_unit(struct eng *e, struct ckpt_unit *u, uint64_t generation)
{
    if (u->dropped) {
        if (u->drop_dir) {
            u->st = segs_drop_stream(e->segs, u->gid, &u->err);
        }
        return;
    }
    if (u->s->extents != NULL) {
        extents_take(u->s->extents, u->last_seq, &u->extents);
    }
    if (u->blob_only || u->nmsgs == 0) {
        return;
    }
    struct seg_flush_req req = {
        .gid = u->gid,
        .account = u->account,
        .name = u->name,
        .active = u->active,
        .next_segno = u->next_segno,
        .created_generation = generation,
        .prev_last_seq = u->prev_last_seq,
        .msgs = u->msgs,
        .n = u->nmsgs,
        .floor = u->first_seq,
        .removed = &u->removed,
        .segment_bytes = u->segment_bytes,
        .extents = u->extents.v,
        .nextents = u->extents.n,
    };
    u->st = seg_flush(e->segs, &req, &u->flushed, &u->err);
    if (u->st == ST_OK) {
        u->st = segs_sync_dirs(e->segs, u->gid, &u->err);
    }
}

static void write_units(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    for (size_t i = 0; i < k->nunits; i++) {
        flush_unit(e, &k->units[i], k->generation);
    }
}

/* --- C4: commit (meta task) ------------------------------------------------------------------- */

/* Meta task. */
static void committed(void *arg, struct cat_txn *txn, enum st st, uint64_t gen,
                      const struct err *err)
{
    struct eng *e = arg;
    struct ckpt *k = e->ckpt;
    (void)txn;
    k->commit_st = st;
    k->commit_gen = gen;
    if (err != NULL) {
        k->commit_err = *err;
    }
    atomic_store_explicit(&k->phase, CKPT_COMMITTED, memory_order_release);
    e->opts.doorbell(e->opts.doorbell_arg);
}

/* --- the end of a lap (owner) ----------------------------------------------------------------- */

static void answer_requests(struct eng *e, enum st st)
{
    struct ckpt *k = e->ckpt;
    while (k->running_requests != NULL) {
        struct ckpt_request *r = k->running_requests;
        k->running_requests = r->next;
        eng_wait(e, 0, r->fn, r->arg, st, 0);
        base_free(r);
    }
}

static void lap_failed(struct eng *e, enum st st, const struct err *err)
{
    struct ckpt *k = e->ckpt;
    if (st == ST_POISONED) { /* a flush would write over blocks which the rows in doubt refer to */
        log_err("could not checkpoint: %s; no checkpoint until a restart", err->msg);
        k->in_doubt = true;
        ckpt_finish_lap(e, false);
        answer_requests(e, st);
        return;
    }
    log_err("could not checkpoint: %s (%s); nothing is released, trying again in 1 s", err->msg,
            st_text(st));
    if (st == ST_NOSPACE) {
        k->lap_no_space = true;
        cat_ballast_release(e->cat);
    }
    ckpt_finish_lap(e, false);
    answer_requests(e, st);
    k->wanted = true;
    k->retry_boot_ns = eng_boot_ns(e) + RETRY_NS;
    eng_timer_set(k->timer, k->retry_boot_ns);
}

/* A unit whose flush failed: its active segment is closed by the next lap, which starts a new one.
 */
static enum st first_error(struct ckpt *k, struct err *err)
{
    for (size_t i = 0; i < k->nunits; i++) {
        if (k->units[i].st != ST_OK) {
            *err = k->units[i].err;
            struct seg_set *set = k->units[i].s->segs;
            if (k->units[i].active != NULL && set != NULL && set->n > 0) {
                ckpt_replace_view(k->units[i].s, set->n - 1, seg_view_closed(k->units[i].active));
                k->units[i].s->ckpt_dirty = true;
            }
            if (set != NULL) {
                set->next_segno += 4; /* names that the failed flush may have used */
            }
            return k->units[i].st;
        }
    }
    return ST_OK;
}

/* --- driving (owner) -------------------------------------------------------------------------- */

/* A journal that finds no room for its next file gets some back from a checkpoint, long before its
 * window is a quarter used; what has gone on for longer than a lap takes is a full disk. */
#define STARVED_LAP_NS (2 * NS_PER_S)
#define STARVED_FULL_NS (3 * NS_PER_S)
#define STARVED_USED_MIN MIB /* less gives no file back */

static bool starved_due(struct eng *e, uint64_t used)
{
    struct ckpt *k = e->ckpt;
    int64_t now = eng_boot_ns(e);
    if (k->starved_boot_ns == 0 || used < STARVED_USED_MIN ||
        (k->starved_lap_boot_ns != 0 && now - k->starved_lap_boot_ns < STARVED_LAP_NS)) {
        return false;
    }
    k->starved_lap_boot_ns = now;
    return true;
}

/* A limit that was reckoned from a disk that was full then would refuse for ever what there is room
 * for now. It only rises. */
static void limit_anew(struct eng *e)
{
    if (e->opts.max_file_is_of_free) {
        uint64_t most = atomic_load(&e->ckpt->space_free) / 4 * 3 + e->file_bytes;
        e->opts.max_file_bytes = u64_max(e->opts.max_file_bytes, most);
    }
}

static void look_at_space(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    int64_t now = eng_boot_ns(e);
    if (!jr_starved(e->jr)) {
        k->starved_boot_ns = 0;
        k->starved_lap_boot_ns = 0;
    } else {
        k->starved_boot_ns = k->starved_boot_ns != 0 ? k->starved_boot_ns : now;
        eng_timer_set(k->timer, now + NS_PER_S / 2);
    }
    bool low = atomic_load(&k->space_low) || k->lap_no_space ||
               (k->starved_boot_ns != 0 && now - k->starved_boot_ns >= STARVED_FULL_NS);
    if (low != e->low_space) {
        e->low_space = low;
        log_wrn("%s", low ? "disk is nearly full: publishes are refused until there is room"
                          : "disk has room again: publishes are taken");
        if (!low) {
            limit_anew(e);
        }
    }
}

/* Over which streams; LAP_FINAL: everything, at shutdown. */
enum lap { LAP_NONE, LAP_TAILS, LAP_ALL, LAP_FINAL };

static enum lap due(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    uint64_t used = jr_window_used(e->jr);
    if (k->in_doubt || eng_boot_ns(e) < k->retry_boot_ns) {
        return LAP_NONE;
    }
    /* A lap that could not cover anything new would follow lap for ever. */
    if (k->wanted || k->tombstones_wait ||
        (e->done_lsn > k->checkpoint_lsn &&
         (used > e->opts.journal_window_bytes / 100 * LIM_JOURNAL_CHECKPOINT_PERCENT ||
          starved_due(e, used)))) {
        return LAP_ALL;
    }
    return k->tail_full ? LAP_TAILS : LAP_NONE;
}

/* Whether the lap goes over this stream. A lap for memory's sake leaves the many small ones to the
 * next whole lap: their tails are not worth a flush each. What was dropped goes along: its row
 * holds the name that a new stream may have by now. */
static bool takes(const struct store_stream *s, enum lap lap)
{
    if (s->dropped) {
        return s->ckpt_dirty || s->tomb_generation != 0;
    }
    return s->ckpt_dirty &&
           (lap != LAP_TAILS || (!s->memory && s->tail.bytes >= s->eng->opts.tail_bytes / 4));
}

static void begin_lap(struct eng *e, enum lap lap)
{
    struct ckpt *k = e->ckpt;
    k->tail_full = false;
    if (lap != LAP_TAILS) {
        k->wanted = false;
        k->tombstones_wait = false;
    }
    for (size_t i = 0; i < e->nstreams && lap != LAP_FINAL; i++) {
        struct store_stream *s = e->by_name[i];
        for (size_t c = 0; takes(s, lap) && c < s->ncons; c++) {
            cons_flush(s->cons[c]);
        }
    }
    /* A compaction under way may commit before this lap does: what a crash then leaves of the lap
     * must not pass for files of an older generation. */
    k->generation = cat_generation(e->cat) + 1 + (compact_idle(e) ? 0 : 1);
    jw_seal(e->jw);
    k->freeze_ticket = jw_open_ticket(e->jw) - 1;
    for (size_t i = 0; i < e->ngids; i++) {
        struct store_stream *s = e->by_gid[i];
        if (takes(s, lap)) {
            ckpt_freeze(e, s);
            k->units[k->nunits - 1].drop_dir =
                s->dropped && s->tomb_generation != 0 && !s->dir_gone;
        }
    }
    if (lap == LAP_TAILS) {
        return; /* who asked for everything waits for a lap over everything */
    }
    struct ckpt_request **tail =
        &k->running_requests; /* behind those of a lap that was cut short */
    while (*tail != NULL) {
        tail = &(*tail)->next;
    }
    *tail = k->requests;
    k->requests = NULL;
}

/* The catalogue never runs ahead of the journal: what relaxed and async streams applied is synced
 * first (I8, C4). */
static bool durable(struct eng *e)
{
    uint64_t lsn = 0;
    for (size_t i = 0; i < e->ckpt->nunits; i++) {
        const struct store_stream *s = e->ckpt->units[i].s;
        lsn = u64_max(lsn, e->ckpt->units[i].dropped ? s->newest_lsn : s->last_lsn);
    }
    if (jr_durable_lsn(e->jr) > lsn) {
        return true;
    }
    jr_want_sync(e->jr);
    return false;
}

/* Some unit's messages may be on their way to files of their own. */
static bool has_extents(const struct ckpt *k)
{
    for (size_t i = 0; i < k->nunits; i++) {
        if (!k->units[i].dropped && k->units[i].s->extents != NULL) {
            return true;
        }
    }
    return false;
}

static void hand_over(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    bool ready = e->done_ticket >= k->freeze_ticket || !has_extents(k);
    atomic_store_explicit(&k->phase, ready ? CKPT_WRITING : CKPT_FROZEN, memory_order_release);
    if (ready) {
        env_task_wake(e->env, k->flusher);
    }
}

void ckpt_poll(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    enum ckpt_phase phase = (enum ckpt_phase)atomic_load_explicit(&k->phase, memory_order_acquire);
    struct err err;
    look_at_space(e);
    if ((e->poisoned != ST_OK || k->in_doubt) && k->requests != NULL &&
        k->running_requests == NULL) {
        k->running_requests = k->requests; /* nothing will come of them */
        k->requests = NULL;
        answer_requests(e, ST_POISONED);
    }
    if (e->poisoned != ST_OK) {
        return;
    }
    switch (phase) {
    case CKPT_IDLE: {
        enum lap lap = k->flusher != NULL ? due(e) : LAP_NONE;
        if (lap != LAP_NONE) {
            begin_lap(e, lap);
            hand_over(e);
        }
        break;
    }
    case CKPT_FROZEN:
        hand_over(e);
        break;
    case CKPT_WRITTEN: {
        enum st st = first_error(k, &err);
        if (st != ST_OK) {
            lap_failed(e, st, &err);
        } else if (e->done_ticket >= k->freeze_ticket && durable(e) && !compact_committing(e)) {
            ckpt_build_txn(e);
            atomic_store_explicit(&k->phase, CKPT_COMMITTING, memory_order_release);
            st = cat_submit(e->cat, k->txn, committed, e);
            if (st != ST_OK) {
                err_set(&err, st, 0, "catalogue takes no transaction");
                lap_failed(e, st, &err);
            }
        }
        break;
    }
    case CKPT_COMMITTED:
        if (k->commit_st != ST_OK) {
            err = k->commit_err;
            lap_failed(e, k->commit_st, &err);
            break;
        }
        ckpt_finish_lap(e, true);
        answer_requests(e, ST_OK);
        break;
    default:
        break;
    }
}

static uint64_t flusher_step(void *arg)
{
    struct eng *e = arg;
    struct ckpt *k = e->ckpt;
    if (atomic_load_explicit(&k->phase, memory_order_acquire) == CKPT_WRITING) {
        write_units(e);
        atomic_store_explicit(&k->phase, CKPT_WRITTEN, memory_order_release);
        e->opts.doorbell(e->opts.doorbell_arg);
    }
    segs_reap(e->segs);
    int64_t now = env_boot_ns(e->env);
    if (now >= k->trim_at_ns) {
        jr_chunks_trim();
        segs_trim(e->segs);
        k->trim_at_ns = now + SPACE_NS;
    }
    uint64_t free_bytes, total_bytes;
    if (env_space(e->env, e->root, &free_bytes, &total_bytes, NULL) == ST_OK) {
        uint64_t low =
            u64_min(u64_max(LIM_LOW_WATER_BYTES, total_bytes / 100 * LIM_LOW_WATER_PERCENT),
                    total_bytes / 100 * LIM_LOW_WATER_PERCENT_MAX);
        bool is_low = free_bytes < low;
        atomic_store(&k->space_free, free_bytes);
        if (is_low != atomic_load(&k->space_low)) {
            atomic_store(&k->space_low, is_low);
            e->opts.doorbell(e->opts.doorbell_arg);
        }
    }
    return SPACE_NS;
}

void ckpt_request(struct eng *e, store_done_fn done, void *arg)
{
    struct ckpt *k = e->ckpt;
    k->wanted = true;
    if (done != NULL) {
        struct ckpt_request *r = base_malloc(sizeof *r);
        *r = (struct ckpt_request){done, arg, k->requests};
        k->requests = r;
    }
}

bool ckpt_committing(const struct eng *e)
{
    int phase = atomic_load_explicit(&e->ckpt->phase, memory_order_acquire);
    return phase == CKPT_COMMITTING || phase == CKPT_COMMITTED;
}

void ckpt_wake_flusher(struct eng *e)
{
    if (e->ckpt->flusher != NULL) {
        env_task_wake(e->env, e->ckpt->flusher);
    }
}

bool ckpt_idle(struct eng *e)
{
    return atomic_load(&e->ckpt->phase) == CKPT_IDLE;
}

static void wake_owner(void *arg)
{
    (void)arg; /* the turn after the timer polls */
}

enum st ckpt_create(struct eng *e, struct err *err)
{
    (void)err;
    e->ckpt = base_calloc(1, sizeof *e->ckpt);
    e->ckpt->timer = eng_timer_create(e, wake_owner, e);
    return ST_OK;
}

enum st ckpt_start(struct eng *e, struct err *err)
{
    return env_task_start(e->env, "flusher", 5, flusher_step, e, &e->ckpt->flusher, err);
}

void ckpt_stop(struct eng *e)
{
    if (e->ckpt != NULL && e->ckpt->flusher != NULL) {
        env_task_stop(e->env, e->ckpt->flusher);
        e->ckpt->flusher = NULL;
    }
}

void ckpt_destroy(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    if (k == NULL) {
        return;
    }
    for (size_t i = 0; i < k->nunits; i++) {
        ckpt_unit_fini(&k->units[i]);
    }
    while (k->requests != NULL) {
        struct ckpt_request *r = k->requests;
        k->requests = r->next;
        base_free(r);
    }
    while (k->running_requests != NULL) {
        struct ckpt_request *r = k->running_requests;
        k->running_requests = r->next;
        base_free(r);
    }
    cat_txn_destroy(k->txn);
    eng_timer_destroy(k->timer);
    base_free(k->units);
    base_free(k);
    e->ckpt = NULL;
}

/* --- drops ------------------------------------------------------------------------------------ */

void ckpt_consumer_dropped(struct store_stream *s, uint32_t sub)
{
    s->dropped_subs =
        base_realloc(s->dropped_subs, (s->ndropped_subs + 1) * sizeof *s->dropped_subs);
    s->dropped_subs[s->ndropped_subs++] = sub;
    s->ckpt_dirty = true;
}

void ckpt_stream_dropped(struct store_stream *s)
{
    for (size_t i = 0; i < s->ncons; i++) {
        ckpt_consumer_dropped(s, cons_sub(s->cons[i]));
    }
    s->ckpt_dirty = true;
}

/* --- shutdown --------------------------------------------------------------------------------- */

/* Ends a running lap on this thread, whatever its phase. The flusher has been stopped. */
static void drain_lap(struct eng *e)
{
    struct ckpt *k = e->ckpt;
    struct err err;
    if (atomic_load(&k->phase) == CKPT_WRITING) {
        write_units(e);
        atomic_store(&k->phase, CKPT_WRITTEN);
    }
    cat_stop(e->cat); /* a submitted transaction is committed or given back: committed() has run */
    if (atomic_load(&k->phase) == CKPT_COMMITTED) {
        err = k->commit_err;
        ckpt_finish_lap(e, k->commit_st == ST_OK);
    } else if (atomic_load(&k->phase) == CKPT_WRITTEN || atomic_load(&k->phase) == CKPT_FROZEN) {
        (void)first_error(k, &err);
        ckpt_finish_lap(e, false);
    }
}

void ckpt_close(struct eng *e)
{
    for (size_t i = 0; i < e->nstreams; i++) {
        for (size_t c = 0; c < e->by_name[i]->ncons; c++) {
            cons_flush(e->by_name[i]->cons[c]);
        }
    }
    jw_seal(e->jw);
    compact_stop(e);
    ckpt_stop(e);
    drain_lap(e);
    compact_settle(e);
}

bool ckpt_commit_end(struct eng *e, uint64_t end_lsn)
{
    struct ckpt *k = e->ckpt;
    struct err err;
    e->base.ops->poll(&e->base);
    if (e->poisoned != ST_OK || k->in_doubt) {
        return false;
    }
    k->end_lsn = end_lsn;
    for (int lap = 0; lap < 3; lap++) { /* a second and third for tombstones */
        begin_lap(e, LAP_FINAL);
        bool more = k->nunits > 0;
        write_units(e);
        enum st st = first_error(k, &err);
        if (st == ST_OK) {
            ckpt_build_txn(e);
            st = cat_commit(e->cat, k->txn, &k->commit_gen, &err);
        }
        if (st != ST_OK) {
            log_err("could not checkpoint at shutdown: %s; the journal has everything", err.msg);
            ckpt_finish_lap(e, false);
            return false;
        }
        ckpt_finish_lap(e, true);
        if (!more || !k->tombstones_wait) {
            break;
        }
    }
    segs_reap(e->segs);
    return true;
}
