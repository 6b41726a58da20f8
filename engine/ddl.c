/* Making, changing and dropping streams and consumers: one journal record each (a batch where
 * removals follow), answered when it is durable. No file, no directory, no SQLite here: the
 * checkpoint writes those later. */
#include "engine/config.h"
#include "engine/eng.h"
#include "engine/snapshot.h"

#include <stdlib.h>

/* A request that waits for its ticket. */
struct ddl_wait {
    store_stream_fn stream_fn;
    store_cons_fn cons_fn;
    store_done_fn done_fn;
    void *arg;
    struct store_stream *s;
    struct store_cons *c;
    struct err err;
};

static void ddl_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct ddl_wait *w = arg;
    const struct err *why = err != NULL ? err : &w->err;
    if (st == ST_CLOSED) {
        base_free(w); /* the store goes: nobody is told any more */
        return;
    }
    if (w->stream_fn != NULL) {
        w->stream_fn(w->arg, st, st == ST_OK ? w->s : NULL, why);
    } else if (w->cons_fn != NULL) {
        w->cons_fn(w->arg, st, st == ST_OK ? w->c : NULL, why);
    } else if (w->done_fn != NULL) {
        w->done_fn(w->arg, st, n, why);
    }
    base_free(w);
}

static struct ddl_wait *wait_make(void *arg)
{
    struct ddl_wait *w = base_calloc(1, sizeof *w);
    w->arg = arg;
    return w;
}

static void refuse(struct eng *e, struct ddl_wait *w, enum st st)
{
    eng_wait_own(e, 0, ddl_done, w, st, 0);
}

static bool usable(struct eng *e, struct ddl_wait *w)
{
    if (e->poisoned != ST_OK) {
        w->err = e->poison_err;
        refuse(e, w, ST_POISONED);
        return false;
    }
    return true;
}

static enum st log_cfg(struct store_stream *s, uint32_t sub, uint8_t *body, size_t len, bool more)
{
    uint8_t flags = REC_HAS_TWIN | (more ? REC_BATCH_MORE : 0);
    enum st st = stream_log(s, REC_CFG, flags, sub, body, len, NULL, true, true);
    base_free(body);
    return st;
}

/* --- streams ---------------------------------------------------------------------------------- */

static enum st log_first_seq(struct store_stream *s)
{
    uint8_t body[16] = {0};
    put_u64le(body, s->cfg.first_seq - 1);
    body[8] = REASON_FIRST_SEQ;
    if (s->memory) {
        s->reserved_seq = s->cfg.first_seq - 1; /* the reservation that follows says it */
        return ST_OK;
    }
    return stream_log(s, REC_SKIP, 0, 0, body, sizeof body, NULL, true, true);
}

void ddl_stream_create(struct store *st_, const struct stream_cfg *cfg, store_stream_fn fn,
                       void *arg)
{
    struct eng *e = eng_of(st_);
    struct ddl_wait *w = wait_make(arg);
    w->stream_fn = fn;
    if (!usable(e, w)) {
        return;
    }
    if (eng_stream_find(e, cfg->account, cfg->name) != NULL) {
        err_set(&w->err, ST_EXISTS, 0, "stream \"%s\" already exists", cfg->name);
        refuse(e, w, ST_EXISTS);
        return;
    }
    struct store_stream *s = stream_make(e, e->next_gid, cfg, 1, eng_now_ns(e));
    bool skips = cfg->first_seq > 1;
    struct cfg_head head = {CFG_KIND_STREAM, CFG_OP_CREATE, 1, s->created_ns};
    uint8_t *body;
    size_t len;
    stream_cfg_encode(&head, &s->cfg, &body, &len);
    enum st st = log_cfg(s, 0, body, len, skips && !s->memory);
    if (st != ST_OK) {
        stream_free(s);
        err_set(&w->err, st, 0, "could not create stream \"%s\": %s", cfg->name, st_text(st));
        refuse(e, w, st);
        return;
    }
    e->next_gid++;
    eng_stream_add(e, s);
    eng_stream_link(e, s);
    if (skips) {
        st = log_first_seq(s);
        stream_apply_skip(s, cfg->first_seq - 1);
        s->visible_seq = s->last_seq;
    }
    if (st == ST_OK) {
        st = stream_reserve_seqs(s);
    }
    w->s = s;
    eng_wait_own(e, s->ticket, ddl_done, w, st, 0);
}

/* What the new limits push out, as one floor and single sequences behind it. */
struct shrink {
    uint64_t floor;
    struct seq_runs runs;
    struct store_stream *s;
    uint64_t *seqs; /* owned */
    size_t n, cap;
};

static bool shrink_subject(void *arg, const struct sidx_entry *entry)
{
    struct shrink *sh = arg;
    uint64_t max = (uint64_t)sh->s->cfg.max_msgs_per_subject;
    for (uint64_t i = 0; i + max < sidx_count(entry); i++) {
        if (sh->n == sh->cap) {
            sh->cap = sh->cap == 0 ? 64 : sh->cap * 2;
            sh->seqs = base_realloc(sh->seqs, sh->cap * sizeof *sh->seqs);
        }
        sh->seqs[sh->n++] = sidx_nth(entry, i);
    }
    return true;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Puts together what goes for its subject's number (`seqs`, ascending) and, of a stream that
 * becomes one of interest, what its consumers are done with already: no ack will come for that. */
static void plan_single(struct store_stream *s, struct shrink *sh, bool to_interest)
{
    uint64_t from = u64_max(sh->floor, s->first_seq);
    uint64_t done = to_interest ? cons_next_settled(s, from) : 0;
    for (size_t i = 0; i < sh->n || done != 0;) {
        uint64_t seq = i < sh->n && (done == 0 || sh->seqs[i] <= done) ? sh->seqs[i] : done;
        if (seq >= sh->floor) {
            seq_runs_add(&sh->runs, seq);
        }
        i += i < sh->n && sh->seqs[i] == seq ? 1 : 0;
        done = seq == done ? cons_next_settled(s, seq + 1) : done;
    }
}

static void plan_shrink(struct store_stream *s, struct shrink *sh, bool to_interest)
{
    uint64_t msgs = s->msgs, bytes = s->bytes, seq = s->first_seq;
    bool front = s->cfg.discard == DISCARD_OLD; /* else what is there stays, as upstream has it */
    sh->s = s;
    while (front && msgs > 0 &&
           ((s->cfg.max_msgs > 0 && msgs > (uint64_t)s->cfg.max_msgs) ||
            (s->cfg.max_bytes > 0 && bytes > (uint64_t)s->cfg.max_bytes))) {
        uint32_t id, size = 0;
        seq = liveset_next(s->live, seq);
        (void)msgmap_get(&s->map, seq, &id, &size);
        msgs--;
        bytes -= size;
        seq++;
        sh->floor = seq;
    }
    if (s->cfg.max_msgs_per_subject > 0) {
        sidx_match(s->idx, NULL, 0, NULL, 0, shrink_subject, sh);
        if (sh->n > 1) {
            qsort(sh->seqs, sh->n, sizeof *sh->seqs, by_seq);
        }
    }
    plan_single(s, sh, to_interest);
}

/* Logs and applies the config with what it removes; answers. */
static void update(struct eng *e, struct store_stream *s, const struct stream_cfg *cfg,
                   struct ddl_wait *w)
{
    struct shrink sh = {0};
    bool to_interest =
        cfg->retention == RETENTION_INTEREST && s->cfg.retention != RETENTION_INTEREST;
    for (size_t i = 0; i < s->ncons && to_interest; i++) {
        cons_flush(s->cons[i]);
    }
    stream_set_cfg(s, cfg, s->cfg_version + 1);
    plan_shrink(s, &sh, to_interest);
    struct cfg_head head = {CFG_KIND_STREAM, CFG_OP_UPDATE, s->cfg_version, s->created_ns};
    uint8_t *body;
    size_t len;
    stream_cfg_encode(&head, &s->cfg, &body, &len);
    /* What a memory stream removes is no record: nothing would end the batch. */
    enum st st = log_cfg(s, 0, body, len, !s->memory && (sh.floor != 0 || sh.runs.n > 0));
    if (st == ST_OK && sh.floor != 0) {
        st = stream_floor_logged(s, sh.floor, REASON_CONFIG, sh.runs.n > 0 ? REC_BATCH_MORE : 0);
    }
    if (st == ST_OK && sh.runs.n > 0) {
        st = stream_remove_logged(s, &sh.runs, REASON_CONFIG, 0);
    }
    seq_runs_fini(&sh.runs);
    base_free(sh.seqs);
    s->removal_ticket = s->ticket;
    stream_arm_expiry(s);
    eng_wait_own(e, s->ticket, ddl_done, w, st, 0);
}

void ddl_stream_update(struct store *st_, struct store_stream *s, const struct stream_cfg *cfg,
                       store_stream_fn fn, void *arg)
{
    struct eng *e = eng_of(st_);
    struct ddl_wait *w = wait_make(arg);
    w->stream_fn = fn;
    w->s = s;
    if (!usable(e, w)) {
        return;
    }
    if (strcmp(cfg->name, s->cfg.name) != 0 || strcmp(cfg->account, s->cfg.account) != 0 ||
        cfg->storage != s->cfg.storage) {
        err_set(&w->err, ST_INVALID, 0, "name, account and storage of stream \"%s\" cannot change",
                s->cfg.name);
        refuse(e, w, ST_INVALID);
        return;
    }
    update(e, s, cfg, w);
}

/* An import gets its true name (store_snap.h). Both records lie in one ticket, so in one group. */
void ddl_stream_adopt(struct store *st_, struct store_stream *s, const struct stream_cfg *cfg,
                      int64_t created_ns, struct store_stream *replaced, store_stream_fn fn,
                      void *arg)
{
    struct eng *e = eng_of(st_);
    struct ddl_wait *w = wait_make(arg);
    w->stream_fn = fn;
    w->s = s;
    if (!usable(e, w)) {
        return;
    }
    const struct store_stream *there = eng_stream_find(e, cfg->account, cfg->name);
    enum st st = there != replaced || (replaced != NULL && replaced->gid > s->gid) ? ST_EXISTS
                 : !stream_is_import(s) || cfg->storage != s->cfg.storage          ? ST_INVALID
                                                                                   : ST_OK;
    if (st != ST_OK) {
        err_set(&w->err, st, 0, "stream \"%s\" cannot be put into place", cfg->name);
        refuse(e, w, st);
        return;
    }
    jw_seal(e->jw);
    st = replaced != NULL ? ddl_drop_now(e, replaced) : ST_OK;
    if (st != ST_OK) {
        refuse(e, w, st);
        return;
    }
    eng_stream_unlink(e, s);
    s->created_ns = created_ns != 0 ? created_ns : s->created_ns;
    update(e, s, cfg, w);
    eng_stream_link(e, s);
    st = stream_reserve_seqs(s); /* should it fail, the next publish asks again */
    (void)st;
}

enum st ddl_drop_now(struct eng *e, struct store_stream *s)
{
    uint8_t body[8] = {CFG_KIND_STREAM};
    enum st st = stream_log(s, REC_DROP, REC_HAS_TWIN, 0, body, sizeof body, NULL, true, true);
    if (st != ST_OK) {
        return st;
    }
    eng_stream_unlink(e, s);
    s->dropped = true;
    ckpt_stream_dropped(s);
    stream_gut(s);
    return ST_OK;
}

void ddl_stream_delete(struct store *st_, struct store_stream *s, store_done_fn fn, void *arg)
{
    struct eng *e = eng_of(st_);
    struct ddl_wait *w = wait_make(arg);
    w->done_fn = fn;
    if (!usable(e, w)) {
        return;
    }
    enum st st = ddl_drop_now(e, s);
    if (st != ST_OK) {
        refuse(e, w, st);
        return;
    }
    eng_wait_own(e, s->ticket, ddl_done, w, ST_OK, 0);
}

/* --- consumers -------------------------------------------------------------------------------- */

void ddl_cons_create(struct store_stream *s, const struct cons_cfg *cfg, store_cons_fn fn,
                     void *arg)
{
    struct eng *e = s->eng;
    struct ddl_wait *w = wait_make(arg);
    w->cons_fn = fn;
    if (!usable(e, w)) {
        return;
    }
    if (cons_by_name(s, cfg->name) != NULL) {
        err_set(&w->err, ST_EXISTS, 0, "consumer \"%s\" already exists", cfg->name);
        refuse(e, w, ST_EXISTS);
        return;
    }
    uint32_t sub = s->next_sub;
    struct cfg_head head = {CFG_KIND_CONSUMER, CFG_OP_CREATE, 1, eng_now_ns(e)};
    uint8_t *body;
    size_t len;
    cons_cfg_encode(&head, cfg, &body, &len);
    enum st st = log_cfg(s, sub, body, len, false);
    if (st != ST_OK) {
        err_set(&w->err, st, 0, "could not create consumer \"%s\": %s", cfg->name, st_text(st));
        refuse(e, w, st);
        return;
    }
    s->next_sub++;
    w->c = cons_make(s, sub, cfg, 1, head.created_ns, true);
    cons_flush(w->c);
    eng_wait_own(e, s->ticket, ddl_done, w, ST_OK, 0);
}

void ddl_cons_update(struct store_cons *c, const struct cons_cfg *cfg, store_cons_fn fn, void *arg)
{
    struct store_stream *s = cons_op_stream(c);
    struct ddl_wait *w = wait_make(arg);
    w->cons_fn = fn;
    w->c = c;
    if (!usable(s->eng, w)) {
        return;
    }
    struct cfg_head head = {CFG_KIND_CONSUMER, CFG_OP_UPDATE, cons_cfg_version(c) + 1,
                            cons_created_ns(c)};
    uint8_t *body;
    size_t len;
    cons_cfg_encode(&head, cfg, &body, &len);
    enum st st = log_cfg(s, cons_sub(c), body, len, false);
    if (st != ST_OK) {
        refuse(s->eng, w, st);
        return;
    }
    bool same = cons_same_filters(cons_op_cfg(c), cfg);
    cons_set_cfg(c, cfg, head.cfg_version);
    cons_flush(c);
    if (!same) {
        cons_release_unwanted(s); /* it may want less now */
    }
    eng_wait_own(s->eng, s->ticket, ddl_done, w, ST_OK, 0);
}

void ddl_cons_delete(struct store_cons *c, store_done_fn fn, void *arg)
{
    struct store_stream *s = cons_op_stream(c);
    struct ddl_wait *w = wait_make(arg);
    w->done_fn = fn;
    if (!usable(s->eng, w)) {
        return;
    }
    uint8_t body[8] = {CFG_KIND_CONSUMER};
    enum st st =
        stream_log(s, REC_DROP, REC_HAS_TWIN, cons_sub(c), body, sizeof body, NULL, true, true);
    if (st != ST_OK) {
        refuse(s->eng, w, st);
        return;
    }
    ckpt_consumer_dropped(s, cons_sub(c));
    cons_free(c);
    cons_release_unwanted(s);
    eng_wait_own(s->eng, s->ticket, ddl_done, w, ST_OK, 0);
}
