/* Streams: the state in memory and the one way it changes (see stream.h). This file: making and
 * freeing, applying records, logging removals, reading. Admission of publishes is in
 * stream_append.c, requests in stream_ops.c.
 *
 * Invariants: 1. msgs and bytes are the sums over live messages (I14). 2. A live sequence stands in
 * liveset, message map and subject index, and in the tail or below flushed_seq. 3. Every change but
 * visibility is a record first. */
#include "engine/eng.h"
#include "engine/extent.h"

#include <stdio.h>

#include "engine/base/limits.h"

/* A DELETE record holds at most this many runs; more make a batch of records. */
enum { DELETE_RUNS_MAX = 32768 };

/* A block being read for somebody. */
struct read_wait {
    struct store_stream *s;
    stream_read_fn fn;
    void *arg;
    uint64_t lo, hi; /* sequences of the block */
    bool sequential; /* asked for by a reader in order */
    struct read_wait *next;
};

static void drop_all(struct store_stream *s, uint64_t first_seq);

struct store_stream *stream_make(struct eng *e, uint32_t gid, const struct stream_cfg *cfg,
                                 uint32_t cfg_version, int64_t created_ns)
{
    struct store_stream *s = base_calloc(1, sizeof *s);
    s->magic = STREAM_MAGIC;
    s->gid = gid;
    s->eng = e;
    s->created_ns = created_ns;
    s->next_sub = 1;
    s->first_seq = 1;
    s->scheds.known = true; /* there are none */
    s->live = base_calloc(1, sizeof *s->live);
    liveset_init(s->live, 1, 0);
    s->idx = sidx_create();
    msgmap_init(&s->map);
    s->dedup = base_calloc(1, sizeof *s->dedup);
    dedup_init(s->dedup);
    env_random(e->env, &s->id_seed, sizeof s->id_seed);
    tail_init(&s->tail);
    s->expiry_at_ns = INT64_MAX;
    stream_cfg_copy(&s->cfg, cfg);
    stream_set_cfg(s, NULL, cfg_version);
    return s;
}

/* cfg NULL: keeps the one it has and only derives what follows from it. */
void stream_set_cfg(struct store_stream *s, const struct stream_cfg *cfg, uint32_t cfg_version)
{
    if (cfg != NULL) {
        struct stream_cfg copy;
        stream_cfg_copy(&copy, cfg);
        stream_cfg_fini(&s->cfg);
        s->cfg = copy;
    }
    s->cfg_version = cfg_version;
    s->memory = s->cfg.storage == STORAGE_MEMORY;
    s->lap_at = s->memory ? UINT64_MAX : s->eng->opts.tail_bytes;
    s->durability = s->memory                            ? DURABILITY_MEMORY
                    : s->cfg.persist == PERSIST_ASYNC    ? DURABILITY_ASYNC
                    : s->eng->opts.sync_interval_ns != 0 ? DURABILITY_RELAXED
                                                         : DURABILITY_DURABLE;
}

void stream_gut(struct store_stream *s)
{
    stream_fail_gets(s);
    stream_op_tap(s, NULL, NULL);
    eng_forget_stream(s->eng, s);
    eng_timer_destroy(s->expiry);
    s->expiry = NULL;
    eng_timer_destroy(s->release);
    s->release = NULL;
    stream_release_blocks(s);
    while (s->reads != NULL) {
        struct read_wait *w = s->reads;
        s->reads = w->next;
        reader_forget(s->eng->pool, w);
        base_free(w);
    }
    if (s->mem_chunk != NULL) {
        jr_chunk_release(s->mem_chunk);
        s->mem_chunk = NULL;
    }
    while (s->ncons > 0) {
        cons_free(s->cons[s->ncons - 1]);
    }
    drop_all(s, s->last_seq + 1);
    dedup_clear(s->dedup);
    srcpos_clear(&s->sources);
    schedset_clear(&s->scheds);
}

void stream_make_extents(struct store_stream *s)
{
    const struct eng_opts *o = &s->eng->opts;
    if (s->extents != NULL) {
        return;
    }
    struct extents_opts xo = {
        .gid = s->gid,
        .account = s->cfg.account,
        .name = s->cfg.name,
        .segment_bytes = o->segment_bytes,
        .message_bytes = o->extent_message_bytes,
        .begin_bytes = o->extent_begin_bytes,
        .goon_bytes = o->extent_begin_bytes / 8,
        .expires_ns = ckpt_expires_ns,
    };
    s->extents = extents_create(s->eng->segs, &xo);
    extents_boundary(s->extents, 0, cat_generation(s->eng->cat) + 1,
                     s->segs != NULL ? s->segs->next_segno : 1);
}

void stream_free(struct store_stream *s)
{
    ASSERT(s->magic == STREAM_MAGIC);
    stream_gut(s);
    if (s->eng->jw != NULL) {
        jw_forget(s->eng->jw, s);
    }
    base_free(s->batches);
    base_free(s->dropped_subs);
    base_free(s->load_tail);
    base_free(s->cons);
    base_free(s->by_sub);
    if (s->segs != NULL) {
        for (size_t i = 0; i < s->segs->n; i++) {
            seg_view_release(s->segs->v[i]);
        }
        base_free(s->segs->v);
        base_free(s->segs);
    }
    for (size_t i = 0; i < s->ndamage; i++) {
        base_free(s->damage[i].text);
    }
    base_free(s->damage);
    seq_runs_fini(&s->ckpt_removed);
    seq_runs_fini(&s->erase);
    extents_destroy(s->extents);
    liveset_fini(s->live);
    base_free(s->live);
    sidx_destroy(s->idx);
    msgmap_fini(&s->map);
    dedup_fini(s->dedup);
    base_free(s->dedup);
    tail_fini(&s->tail);
    ttl_heap_fini(&s->ttl);
    stream_cfg_fini(&s->cfg);
    s->magic = 0;
    base_free(s);
}

void stream_note_damage(struct store_stream *s, uint64_t lo, uint64_t hi, const char *text)
{
    for (size_t i = 0; i < s->ndamage; i++) {
        if (s->damage[i].lo == lo && s->damage[i].hi == hi) {
            return; /* known */
        }
    }
    s->damage = base_realloc(s->damage, (s->ndamage + 1) * sizeof *s->damage);
    s->damage[s->ndamage++] = (struct eng_damage){lo, hi, base_strdup(text)};
    s->ckpt_dirty = true; /* the next lap writes it down */
    /* Damage without known sequences counts as one message only as long as nothing better is known:
     * a lost record is often told twice, with its sequence by the journal's index and as a gap in
     * the stream's ordinals. */
    if (lo != 0 && hi >= lo) {
        s->damaged_msgs = (s->damage_vague ? 0 : s->damaged_msgs) + (hi - lo + 1);
        s->damage_vague = false;
    } else if (s->damaged_msgs == 0) {
        s->damaged_msgs = 1;
        s->damage_vague = true;
    }
}

const struct sidx_entry *stream_entry(const struct store_stream *s, uint64_t seq)
{
    uint32_t id, size;
    return msgmap_get(&s->map, seq, &id, &size) ? sidx_by_id(s->idx, id) : NULL;
}

/* --- applying --------------------------------------------------------------------------------- */

static void account_bytes(struct store_stream *s, int64_t delta)
{
    s->bytes += (uint64_t)delta;
    uint64_t *sum = s->memory ? &s->eng->mem_bytes : &s->eng->file_bytes;
    *sum += (uint64_t)delta;
    eng_account_add(s, (uint64_t)delta);
}

static void set_first(struct store_stream *s)
{
    liveset_tidy(s->live);
    s->first_seq = s->live->first;
}

static bool remove_one(struct store_stream *s, uint64_t seq, const struct store_cons *except)
{
    uint32_t id, size;
    if (!msgmap_get(&s->map, seq, &id, &size)) {
        return false;
    }
    const struct sidx_entry *entry = sidx_by_id(s->idx, id);
    if (!s->eng->replaying) {
        cons_tell_removed(s, seq, entry, except);
    }
    size_t len;
    const char *subject = sidx_subject(entry, &len);
    bool was = sidx_remove(s->idx, subject, len, seq);
    ASSERT(was);
    msgmap_clear(&s->map, seq);
    liveset_remove(s->live, seq);
    tail_kill(&s->tail, seq);
    if (seq <= s->flushed_seq) {
        seq_runs_add(&s->ckpt_removed, seq);
    }
    account_bytes(s, -(int64_t)size);
    s->msgs--;
    return true;
}

uint64_t stream_apply_removed(struct store_stream *s, const struct seq_runs *runs,
                              const struct store_cons *except)
{
    uint64_t n = 0;
    for (size_t i = 0; i < runs->n; i++) {
        uint64_t end = runs->v[i].first + runs->v[i].count;
        for (uint64_t seq = liveset_next(s->live, runs->v[i].first); seq != 0 && seq < end;
             seq = liveset_next(s->live, seq + 1)) {
            n += remove_one(s, seq, except);
        }
    }
    compact_removed(s);
    set_first(s);
    return n;
}

/* Everything goes: no walk over the messages. */
static void drop_all(struct store_stream *s, uint64_t first_seq)
{
    sidx_clear(s->idx);
    msgmap_reset(&s->map);
    ttl_heap_clear(&s->ttl);
    tail_trim(&s->tail, UINT64_MAX);
    account_bytes(s, -(int64_t)s->bytes);
    s->msgs = 0;
    liveset_set_floor(s->live, first_seq);
    ASSERT(s->live->msgs == 0);
}

void stream_apply_floor(struct store_stream *s, uint64_t first_seq)
{
    if (first_seq <= s->first_seq) {
        return;
    }
    if (first_seq > s->last_seq) {
        drop_all(s, first_seq);
        s->last_seq = first_seq - 1;
    } else {
        for (uint64_t seq = liveset_next(s->live, s->first_seq); seq != 0 && seq < first_seq;
             seq = liveset_next(s->live, seq + 1)) {
            remove_one(s, seq, NULL);
        }
        liveset_set_floor(s->live, first_seq);
    }
    compact_removed(s);
    set_first(s);
    if (s->visible_seq + 1 < s->first_seq && s->msgs == 0) {
        s->visible_seq = s->last_seq;
    }
    if (!s->eng->replaying && s->msgs == 0) {
        for (size_t i = 0; i < s->ncons; i++) {
            cons_on_floor(s->cons[i], s->first_seq);
        }
    }
}

void stream_apply_skip(struct store_stream *s, uint64_t last_seq)
{
    if (last_seq > s->last_seq) {
        liveset_skip(s->live, last_seq);
        s->last_seq = last_seq;
        set_first(s);
    }
}

void stream_apply_append(struct store_stream *s, const struct msg *m, struct jr_chunk *chunk,
                         uint32_t off, uint64_t new_floor, const struct seq_runs *evicted)
{
    ASSERT(m->seq > s->last_seq);
    uint64_t size = stream_msg_size(s, m->subj_len, m->hdr_len, m->data_len);
    const char *subject = (const char *)m->subj;
    if (m->seq > s->last_seq + 1) {
        liveset_skip(s->live, m->seq - 1); /* a copy of a stream with holes; or lost to damage */
    }
    liveset_append(s->live, m->seq);
    const struct sidx_entry *entry = sidx_add(s->idx, subject, m->subj_len, m->seq);
    msgmap_set(&s->map, m->seq, sidx_id(entry), (uint32_t)size);
    tail_add(&s->tail, m->seq, chunk, off,
             (uint32_t)msg_size(m->subj_len, m->hdr_len, m->data_len));
    account_bytes(s, (int64_t)size);
    if ((m->flags & MSG_TTL) != 0) {
        stream_ttl_add(s, m->seq, msg_expires_ns(m));
    }
    if ((m->flags & MSG_SCHED) != 0) {
        schedset_add(&s->scheds, s->live, m->seq);
    }
    s->msgs++;
    s->last_seq = m->seq;
    s->last_ts_ns = i64_max(s->last_ts_ns, m->ts_ns);
    if (evicted != NULL && evicted->n > 0) {
        stream_apply_removed(s, evicted, NULL);
    }
    if (new_floor != 0) {
        stream_apply_floor(s, new_floor);
    }
    set_first(s);
    if (s->tail.bytes >= s->lap_at) {
        ckpt_tail_grew(s);
    }
}

/* --- logging ---------------------------------------------------------------------------------- */

static bool needs_sync(const struct store_stream *s, bool sync)
{
    return s->durability == DURABILITY_DURABLE || (s->durability == DURABILITY_RELAXED && sync);
}

enum st stream_log(struct store_stream *s, enum rec_type type, uint8_t flags, uint32_t sub,
                   const uint8_t *body, size_t body_len, const struct seq_runs *removed, bool sync,
                   bool urgent)
{
    struct eng *e = s->eng;
    bool durable_anyway = type == REC_CFG || type == REC_DROP || type == REC_SKIP;
    if (s->memory && !durable_anyway) {
        return ST_OK;
    }
    if (e->poisoned != ST_OK) {
        return ST_POISONED;
    }
    uint8_t *p;
    struct jr_chunk *chunk;
    uint32_t off;
    size_t len = REC_HEAD_SIZE + body_len;
    enum st st = jw_reserve(e->jw, len, urgent, &p, &chunk, &off);
    if (st != ST_OK) {
        return st;
    }
    if (body_len > 0) {
        memcpy(p + REC_HEAD_SIZE, body, body_len);
    }
    s->oseq++;
    rec_seal(p, type, flags, s->gid, sub, (uint32_t)s->oseq, 0, body_len, e->ident.crc_seed);
    struct jw_rec r = {.user = s,
                       .gid = s->gid,
                       .oseq = s->oseq,
                       .last_seq = s->memory ? s->reserved_seq : s->last_seq,
                       .floor = s->first_seq,
                       .removed = removed,
                       .type = type,
                       .flags = flags,
                       .sync = needs_sync(s, sync) || durable_anyway};
    if (type == REC_SKIP && body_len >= 8) {
        r.last_seq = get_u64le(body);
    }
    if (type == REC_FLOOR && body_len >= 8) {
        r.floor = get_u64le(body);
        r.last_seq = u64_max(r.last_seq, r.floor - 1);
    }
    s->ticket = jw_commit(e->jw, &r, len);
    s->ckpt_dirty = true;
    return ST_OK;
}

/* DELETE body: reason u8, secure u8, zero u16 x3, runs. */
static enum st log_delete(struct store_stream *s, const struct seq_runs *runs,
                          enum rec_reason reason, bool secure, bool more)
{
    size_t len = 8 + seq_runs_size(runs);
    uint8_t *body = base_calloc(1, len);
    body[0] = (uint8_t)reason;
    body[1] = secure;
    len = 8 + seq_runs_put(body + 8, runs);
    enum st st =
        stream_log(s, REC_DELETE, more ? REC_BATCH_MORE : 0, 0, body, len, runs, true, true);
    base_free(body);
    return st;
}

enum st stream_delete_logged(struct store_stream *s, uint64_t seq, bool secure)
{
    struct seq_runs one = {0};
    seq_runs_add(&one, seq);
    enum st st = log_delete(s, &one, REASON_USER, secure, false);
    if (st == ST_OK) {
        stream_apply_removed(s, &one, NULL);
    }
    seq_runs_fini(&one);
    return st;
}

enum st stream_remove_logged(struct store_stream *s, const struct seq_runs *runs,
                             enum rec_reason reason, uint8_t flags)
{
    for (size_t i = 0; i < runs->n; i += DELETE_RUNS_MAX) {
        size_t n = runs->n - i < DELETE_RUNS_MAX ? runs->n - i : DELETE_RUNS_MAX;
        struct seq_runs part = {runs->v + i, n, n};
        bool more = i + n < runs->n || (flags & REC_BATCH_MORE) != 0;
        enum st st = log_delete(s, &part, reason, false, more);
        if (st != ST_OK) {
            return st;
        }
    }
    stream_apply_removed(s, runs, NULL);
    return ST_OK;
}

enum st stream_floor_logged(struct store_stream *s, uint64_t first_seq, enum rec_reason reason,
                            uint8_t flags)
{
    uint8_t body[16] = {0};
    put_u64le(body, first_seq);
    body[8] = (uint8_t)reason;
    enum st st = stream_log(s, REC_FLOOR, flags, 0, body, sizeof body, NULL, true, true);
    if (st == ST_OK) {
        stream_apply_floor(s, first_seq);
    }
    return st;
}

/* Sequences of a memory stream are used only below a durable reservation, so that a restart never
 * issues one twice. */
enum st stream_reserve_seqs(struct store_stream *s)
{
    enum { RESERVE = 65536 };
    if (!s->memory || s->cfg.mirror || s->last_seq + RESERVE / 2 < s->reserved_seq) {
        return ST_OK;
    }
    uint64_t upto = u64_max(s->last_seq, s->reserved_seq) + RESERVE;
    uint8_t body[16] = {0};
    put_u64le(body, upto);
    body[8] = REASON_RESERVE;
    enum st st = stream_log(s, REC_SKIP, 0, 0, body, sizeof body, NULL, true, true);
    if (st == ST_OK) {
        s->reserved_seq = upto;
    }
    return st;
}

/* --- replay ----------------------------------------------------------------------------------- */

static enum st corrupt(struct err *err, const struct rec *r, const char *what)
{
    return err_set(err, ST_CORRUPT, 0, "record of type %d: %s", (int)r->type, what);
}

static enum st replay_append(struct store_stream *s, const struct rec *r, const uint8_t *bytes,
                             struct jr_chunk *chunk, struct err *err)
{
    struct msg m;
    uint64_t floor = 0;
    struct seq_runs evicted = {0};
    enum st st = msg_get(r->body, r->body_len, &m);
    if (st == ST_OK && r->ext_len > 0) {
        st = append_ext_get(r->ext, r->ext_len, &floor, &evicted);
    }
    if (st != ST_OK) {
        seq_runs_fini(&evicted);
        return corrupt(err, r, "cannot be decoded");
    }
    if (m.seq > s->last_seq) {
        ASSERT(bytes >= chunk->base && r->body >= bytes);
        stream_apply_append(s, &m, chunk, (uint32_t)(r->body - chunk->base), floor, &evicted);
        stream_dedup_note(s, &m);
    }
    seq_runs_fini(&evicted);
    return ST_OK;
}

static enum st replay_delta(struct store_stream *s, const struct rec *r, struct err *err)
{
    struct seq_runs removed = {0};
    struct store_cons *c = cons_by_sub(s, r->sub);
    enum st st = c != NULL ? cons_apply_delta(c, r->body, r->body_len, &removed)
                           : cons_delta_removed(r->body, r->body_len, &removed);
    if (st == ST_OK) {
        stream_apply_removed(s, &removed, NULL);
        s->release_owed = s->release_owed || (c != NULL && cons_was_reset(c));
    }
    seq_runs_fini(&removed);
    return st == ST_OK ? ST_OK : corrupt(err, r, "consumer delta cannot be decoded");
}

enum st stream_replay(struct store_stream *s, const struct rec *r, const uint8_t *bytes,
                      struct jr_chunk *chunk, struct err *err)
{
    struct seq_runs runs = {0};
    enum st st = ST_OK;
    switch (r->type) {
    case REC_APPEND:
        return replay_append(s, r, bytes, chunk, err);
    case REC_CONS_DELTA:
        return replay_delta(s, r, err);
    case REC_DELETE: {
        size_t used;
        if (r->body_len < 8 || seq_runs_get(r->body + 8, r->body_len - 8, &used, &runs) != ST_OK) {
            st = corrupt(err, r, "runs cannot be decoded");
        } else {
            stream_apply_removed(s, &runs, NULL);
            for (size_t i = 0; i < runs.n && r->body[1] != 0; i++) {
                for (uint64_t n = 0; n < runs.v[i].count; n++) {
                    compact_erase(s, runs.v[i].first + n);
                }
            }
        }
        seq_runs_fini(&runs);
        return st;
    }
    case REC_FLOOR:
        if (r->body_len < 16) {
            return corrupt(err, r, "too short");
        }
        stream_apply_floor(s, get_u64le(r->body));
        s->release_owed = s->release_owed && r->body[8] != REASON_NOINTEREST;
        return ST_OK;
    case REC_SKIP:
        if (r->body_len < 16) {
            return corrupt(err, r, "too short");
        }
        if (r->body[8] == REASON_WINDOW) {
            return window_replay(s, r->body, r->body_len) == ST_OK
                       ? ST_OK
                       : corrupt(err, r, "holds no duplicate window");
        }
        if (r->body[8] == REASON_SOURCE) {
            return stream_replay_source(s, r->body, r->body_len)
                       ? ST_OK
                       : corrupt(err, r, "names no source");
        }
        if (s->memory) {
            s->reserved_seq = u64_max(s->reserved_seq, get_u64le(r->body));
        } else {
            stream_apply_skip(s, get_u64le(r->body));
        }
        return ST_OK;
    default:
        return corrupt(err, r, "not a record of a stream");
    }
}

/* --- what became durable ---------------------------------------------------------------------- */

void stream_set_visible(struct store_stream *s, uint64_t seq)
{
    if (seq <= s->visible_seq) {
        return;
    }
    uint64_t from = s->visible_seq;
    s->visible_seq = seq;
    cons_tell_visible(s, from, seq);
}

void stream_entry_done(struct store_stream *s, uint64_t ticket, const struct jr_entry *entry)
{
    bool behind_freeze = s->ckpt_busy && ticket > s->freeze_ticket;
    uint64_t *dirty = behind_freeze ? &s->next_dirty_lsn : &s->first_dirty_lsn;
    if (*dirty == 0) {
        *dirty = entry->first_lsn;
    }
    if (!behind_freeze) {
        s->last_lsn = entry->last_lsn;
    }
    s->newest_lsn = entry->last_lsn;
    if (s->memory) {
        s->reserved_done_seq =
            u64_max(s->reserved_done_seq, entry->last_seq); /* SKIP says it there */
    } else if (!s->dropped) {
        stream_set_visible(s, s->nbatches == 0 ? entry->last_seq
                                               : stream_batch_visible(s, ticket, entry->last_seq));
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Asked for in lots, so that one waking of the readers serves several blocks. */
enum { HELD_BLOCKS = 4, READ_AHEAD_BLOCKS = 8, READ_AHEAD_LOT = 4 };
/* Large messages are a block each, and come with few large transfers. */
enum { LARGE_AHEAD_BLOCKS = 64, LARGE_AHEAD_LOT = 8 };

static void hold(struct store_stream *s, struct block *b)
{
    if (s->blocks[s->block_next] != NULL) {
        eng_hold_block(s->eng,
                       s->blocks[s->block_next]); /* somebody may still look into it this turn */
    }
    s->blocks[s->block_next] = b;
    s->block_next = (s->block_next + 1) % HELD_BLOCKS;
}

void stream_release_blocks(struct store_stream *s)
{
    for (size_t i = 0; i < HELD_BLOCKS; i++) {
        block_release(s->blocks[i]);
        s->blocks[i] = NULL;
    }
}

static void unlink_wait(struct read_wait *w)
{
    for (struct read_wait **p = &w->s->reads; *p != NULL; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            return;
        }
    }
}

static void read_done(void *arg, enum st st, struct block *b, const struct err *err)
{
    struct read_wait *w = arg;
    unlink_wait(w);
    if (st == ST_OK) {
        block_acquire(b);
        hold(w->s, b);
        if (w->sequential) {
            reader_passed(w->s->eng->pool, b);
        }
    } else if (st !=
               ST_CLOSED) { /* closed: the segment was dropped meanwhile, and the message with it */
        char text[300];
        snprintf(text, sizeof text, "block of sequences %llu..%llu cannot be read: %s",
                 (unsigned long long)w->lo, (unsigned long long)w->hi,
                 err != NULL && err->msg[0] != 0 ? err->msg : st_text(st));
        eng_note_damage(w->s->eng, w->s->gid, w->lo, w->hi, text);
    }
    stream_read_fn fn = w->fn;
    void *fn_arg = w->arg;
    base_free(w);
    fn(fn_arg);
}

static struct block *block_of(const struct store_stream *s, const struct msg *m)
{
    for (size_t i = 0; i < HELD_BLOCKS; i++) {
        struct block *b = s->blocks[i];
        if (b != NULL && m->subj >= b->raw && m->subj < b->raw + b->raw_len) {
            return b;
        }
    }
    return NULL;
}

struct block *stream_block_of(const struct store_stream *s, const struct msg *m)
{
    struct block *b = block_of(s, m);
    if (b != NULL) {
        block_acquire(b);
    }
    return b;
}

static void acquire_block(void *block)
{
    block_acquire(block);
}

static void release_block(void *block)
{
    block_release(block);
}

struct msg_keep stream_keep_large(const struct store_stream *s, const struct msg *m)
{
    return (struct msg_keep){block_of(s, m), acquire_block, release_block};
}

static struct block *held_block(struct store_stream *s, uint64_t file_id, uint32_t block_no)
{
    for (size_t i = 0; i < HELD_BLOCKS; i++) {
        struct block *b = s->blocks[i];
        if (b != NULL && b->file_id == file_id && b->block_no == block_no) {
            return b;
        }
    }
    return NULL;
}

/* Ranges that a read found unreadable; only asked when nothing in memory has the message. */
static bool known_damaged(const struct store_stream *s, uint64_t seq)
{
    for (size_t i = 0; i < s->ndamage; i++) {
        if (seq >= s->damage[i].lo && seq <= s->damage[i].hi) {
            return true;
        }
    }
    return false;
}

static enum stream_read from_block(struct block *b, uint64_t seq, struct msg *m_out)
{
    enum st st = block_find(b, seq, m_out);
    return st == ST_OK ? STREAM_READ_OK : STREAM_READ_DAMAGED; /* live, but not there: lost */
}

static bool is_large(const struct seg_view *v, uint32_t block_no)
{
    return v->bidx[block_no].stored_len > LIM_BLOCK_BYTES_TARGET;
}

/* A reader in order has come to this block: now and then what it will want is asked for, also
 * across the end of a segment. */
static void read_on(struct store_stream *s, size_t seg, uint32_t block_no)
{
    struct seg_view *v = s->segs->v[seg];
    bool large = is_large(v, block_no);
    if (block_no % (large ? LARGE_AHEAD_LOT : READ_AHEAD_LOT) != 0) {
        return;
    }
    uint32_t want = large ? LARGE_AHEAD_BLOCKS : READ_AHEAD_BLOCKS, left = v->ndata - 1 - block_no;
    reader_prefetch(s->eng->pool, v, block_no + 1, want);
    if (left < want && seg + 1 < s->segs->n) {
        reader_prefetch(s->eng->pool, s->segs->v[seg + 1], 0, want - left);
    }
}

enum stream_read stream_read(struct store_stream *s, uint64_t seq, bool hint_sequential,
                             struct msg *m_out, stream_read_fn fn, void *arg)
{
    if (!liveset_is_live(s->live, seq)) {
        return STREAM_READ_GONE;
    }
    const uint8_t *p = tail_get(&s->tail, seq, NULL);
    if (p != NULL) {
        return msg_get(p, get_u32le(p), m_out) == ST_OK ? STREAM_READ_OK : STREAM_READ_DAMAGED;
    }
    size_t n = s->segs != NULL ? s->segs->n : 0;
    size_t i = n > 0 ? seg_views_find(s->segs->v, n, seq) : 0;
    uint32_t block_no;
    if (i >= n || !seg_view_block_of(s->segs->v[i], seq, &block_no)) {
        return STREAM_READ_DAMAGED;
    }
    struct seg_view *v = s->segs->v[i];
    struct block *b = held_block(s, seg_view_file_id(v), block_no);
    if (b == NULL && (b = reader_get(s->eng->pool, v, block_no)) != NULL) {
        hold(s, b);
        if (hint_sequential) {
            reader_passed(s->eng->pool, b);
        }
        if (hint_sequential) {
            read_on(s, i, block_no);
        }
    }
    if (b != NULL) {
        return from_block(b, seq, m_out);
    }
    if (known_damaged(s, seq)) {
        return STREAM_READ_DAMAGED;
    }
    struct read_wait *w = base_malloc(sizeof *w);
    *w = (struct read_wait){s, fn, arg, 0, 0, hint_sequential, s->reads};
    seg_view_block_range(v, block_no, &w->lo, &w->hi);
    unsigned ahead = is_large(v, block_no) ? LARGE_AHEAD_BLOCKS : READ_AHEAD_BLOCKS;
    enum st st =
        reader_submit(s->eng->pool, v, block_no, hint_sequential ? ahead : 0, read_done, w);
    if (st == ST_OK) {
        s->reads = w;
        return STREAM_READ_PENDING;
    }
    base_free(w);
    if (st == ST_FULL) { /* the pool's bound: ask again next turn */
        eng_defer(s->eng, fn, arg);
        return STREAM_READ_PENDING;
    }
    return STREAM_READ_DAMAGED;
}

void stream_read_cancel(struct store_stream *s, stream_read_fn fn, void *arg)
{
    for (struct read_wait **p = &s->reads; *p != NULL;) {
        struct read_wait *w = *p;
        if (w->fn == fn && w->arg == arg) {
            *p = w->next;
            reader_forget(s->eng->pool, w);
            base_free(w);
        } else {
            p = &w->next;
        }
    }
}
