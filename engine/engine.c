/* The engine: opening, closing, the owner's turn, and the table behind engine/store.h.
 *
 * Opening is the order of RULES.md, "Start": lock, STORE, catalogue, segments, journal, check both
 * against each other, replay, new journal file, tasks. Nothing is written before the last refusal
 * could have come, but repairs of second copies. */
#include "engine/eng.h"
#include "engine/extent.h"
#include "engine/snapshot.h"

#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"

#define START_FILES_MAX                                                                            \
    3u /* journal files found at a start, from which on a checkpoint is made                       \
        */

/* --- tables ----------------------------------------------------------------------------------- */

static int name_cmp(const struct store_stream *s, const char *account, const char *name)
{
    int c = strcmp(s->cfg.account, account);
    return c != 0 ? c : strcmp(s->cfg.name, name);
}

/* First position whose stream is not below (account, name). */
static size_t name_pos(const struct eng *e, const char *account, const char *name)
{
    size_t lo = 0, hi = e->nstreams;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (name_cmp(e->by_name[mid], account, name) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static size_t gid_pos(const struct eng *e, uint32_t gid)
{
    size_t lo = 0, hi = e->ngids;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e->by_gid[mid]->gid < gid) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void insert(struct store_stream ***v, size_t *n, size_t *cap, size_t pos,
                   struct store_stream *s)
{
    if (*n == *cap) {
        *cap = *cap == 0 ? 16 : *cap * 2;
        *v = base_realloc(*v, *cap * sizeof **v);
    }
    memmove(*v + pos + 1, *v + pos, (*n - pos) * sizeof **v);
    (*v)[pos] = s;
    (*n)++;
}

static void remove_at(struct store_stream **v, size_t *n, size_t pos)
{
    memmove(v + pos, v + pos + 1, (*n - pos - 1) * sizeof *v);
    (*n)--;
}

struct store_stream *eng_stream_by_gid(struct eng *e, uint32_t gid)
{
    size_t i = gid_pos(e, gid);
    return i < e->ngids && e->by_gid[i]->gid == gid ? e->by_gid[i] : NULL;
}

struct store_stream *eng_stream_find(struct eng *e, const char *account, const char *name)
{
    size_t i = name_pos(e, account, name);
    return i < e->nstreams && name_cmp(e->by_name[i], account, name) == 0 ? e->by_name[i] : NULL;
}

void eng_stream_add(struct eng *e, struct store_stream *s)
{
    insert(&e->by_gid, &e->ngids, &e->by_gid_cap, gid_pos(e, s->gid), s);
}

void eng_account_add(struct store_stream *s, uint64_t delta)
{
    if (s->account != NULL) {
        *(s->memory ? &s->account->mem_bytes : &s->account->file_bytes) += delta;
    }
}

static struct eng_account *account_of(struct eng *e, const char *name)
{
    for (size_t i = 0; i < e->naccounts; i++) {
        if (strcmp(e->accounts[i]->name, name) == 0) {
            return e->accounts[i];
        }
    }
    e->accounts = base_realloc(e->accounts, (e->naccounts + 1) * sizeof(struct eng_account *));
    struct eng_account *a = base_calloc(1, sizeof *a);
    a->name = base_strdup(name);
    e->accounts[e->naccounts++] = a;
    return a;
}

static void op_account_bytes(struct store_stream *s, uint64_t *file_out, uint64_t *mem_out)
{
    *file_out = s->account != NULL ? s->account->file_bytes : 0;
    *mem_out = s->account != NULL ? s->account->mem_bytes : 0;
}

void eng_stream_link(struct eng *e, struct store_stream *s)
{
    s->account = account_of(e, s->cfg.account);
    eng_account_add(s, s->bytes);
    insert(&e->by_name, &e->nstreams, &e->by_name_cap, name_pos(e, s->cfg.account, s->cfg.name), s);
}

void eng_stream_unlink(struct eng *e, struct store_stream *s)
{
    size_t i = name_pos(e, s->cfg.account, s->cfg.name);
    if (i < e->nstreams && e->by_name[i] == s) {
        remove_at(e->by_name, &e->nstreams, i);
    }
    eng_account_add(s, 0 - s->bytes);
    s->account = NULL;
}

void eng_stream_forget(struct eng *e, struct store_stream *s)
{
    size_t i = gid_pos(e, s->gid);
    ASSERT(i < e->ngids && e->by_gid[i] == s);
    remove_at(e->by_gid, &e->ngids, i);
}

void eng_note_damage(struct eng *e, uint32_t gid, uint64_t lo, uint64_t hi, const char *text)
{
    struct store_stream *s = gid != 0 ? eng_stream_by_gid(e, gid) : NULL;
    if (s != NULL) {
        log_wrn("damage in stream \"%s\" of account \"%s\": %s first_seq=%llu last_seq=%llu",
                s->cfg.name, s->cfg.account, text, (unsigned long long)lo, (unsigned long long)hi);
        stream_note_damage(s, lo, hi, text);
        return;
    }
    log_wrn("damage in the store: %s gid=%u", text, gid);
    e->unowned = base_realloc(e->unowned, (e->nunowned + 1) * sizeof *e->unowned);
    e->unowned[e->nunowned++] = (struct eng_damage){lo, hi, base_strdup(text)};
}

/* --- the owner's turn ------------------------------------------------------------------------- */

static void entry_done(void *arg, uint64_t ticket, const struct jr_entry *entry)
{
    struct eng *e = arg;
    struct store_stream *s = entry->user;
    e->done_lsn = u64_max(e->done_lsn, entry->last_lsn);
    if (s != NULL) {
        stream_entry_done(s, ticket, entry);
    }
}

static void op_poll(struct store *st)
{
    struct eng *e = eng_of(st);
    e->now_ns = e->boot_ns = 0;
    struct err err;
    enum st bad = jr_poisoned(e->jr, &err);
    e->done_ticket = jw_poll(e->jw, entry_done, e);
    if (bad != ST_OK && e->poisoned == ST_OK) {
        log_err("the journal failed: %s; JetStream takes no more writes until a restart", err.msg);
        eng_poison(e, ST_POISONED, &err);
    }
    reader_poll(e->pool);
    compact_poll(e);
    ckpt_poll(e);
    compact_poll(e);
    eng_run_done(e);
    eng_run_deferred(e);
    jw_seal(e->jw);
}

static void op_turn(struct store *st)
{
    struct eng *e = eng_of(st);
    jw_seal(e->jw);
    eng_run_done(e);
    eng_run_deferred(e);
    ckpt_poll(e);
    compact_poll(e);
    jw_seal(e->jw);
    e->now_ns = e->boot_ns = 0;
}

static int64_t op_timers(struct store *st)
{
    struct eng *e = eng_of(st);
    e->now_ns = e->boot_ns = 0;
    (void)eng_run_timers(e);
    op_turn(st); /* may set new timers: what it delivers has deadlines */
    return e->ndeferred > 0 || e->ready.n > 0 || e->nkick > 0 ? env_boot_ns(e->env)
                                                              : wheel_next(&e->wheel);
}

/* --- ops -------------------------------------------------------------------------------------- */

static struct store_stream *op_find(struct store *st, const char *account, const char *name)
{
    return eng_stream_find(eng_of(st), account, name);
}

static struct store_stream *op_next(struct store *st, const char *account,
                                    struct store_stream *prev)
{
    struct eng *e = eng_of(st);
    size_t i;
    if (prev == NULL) {
        i = name_pos(e, account != NULL ? account : "", "");
    } else if (e->walk_at < e->nstreams && e->by_name[e->walk_at] == prev) {
        i = e->walk_at + 1;
    } else {
        i = name_pos(e, prev->cfg.account, prev->cfg.name) + 1;
    }
    while (account == NULL && i < e->nstreams && stream_is_import(e->by_name[i])) {
        i++;
    }
    if (i >= e->nstreams || (account != NULL && strcmp(e->by_name[i]->cfg.account, account) != 0)) {
        return NULL;
    }
    e->walk_at = i;
    return e->by_name[i];
}

static const struct stream_cfg *op_cfg(struct store_stream *s)
{
    return &s->cfg;
}

static void *op_user(struct store_stream *s)
{
    return s->user;
}

static void op_set_user(struct store_stream *s, void *user)
{
    s->user = user;
}

static struct store_cons *op_cons_find(struct store_stream *s, const char *name)
{
    return cons_by_name(s, name);
}

static struct store_cons *op_cons_next(struct store_stream *s, struct store_cons *prev)
{
    return cons_after(s, prev);
}

static void op_usage(struct store *st, const char *account, struct store_usage *out)
{
    struct eng *e = eng_of(st);
    memset(out, 0, sizeof *out);
    for (struct store_stream *s = op_next(st, account, NULL); s != NULL;
         s = op_next(st, account, s)) {
        *(s->memory ? &out->mem_bytes : &out->file_bytes) += s->bytes;
        out->streams++;
        out->consumers += s->ncons;
    }
    out->file_max_bytes = e->opts.max_file_bytes;
}

static enum st op_health(struct store *st, struct err *err)
{
    struct eng *e = eng_of(st);
    if (e->poisoned != ST_OK && err != NULL) {
        *err = e->poison_err;
    }
    return e->poisoned;
}

static const struct store_ops ops = {
    .stream_create = ddl_stream_create,
    .stream_update = ddl_stream_update,
    .stream_delete = ddl_stream_delete,
    .stream_find = op_find,
    .stream_next = op_next,
    .stream_cfg = op_cfg,
    .stream_state = stream_op_state,
    .stream_barrier = stream_op_barrier,
    .stream_subjects = stream_op_subjects,
    .stream_schedules = stream_op_schedules,
    .stream_schedule_found = stream_op_schedule_found,
    .stream_deleted = stream_op_deleted,
    .stream_seqs = stream_op_seqs,
    .stream_count_from = stream_op_count_from,
    .stream_lasts = stream_op_lasts,
    .account_bytes = op_account_bytes,
    .stream_user = op_user,
    .stream_set_user = op_set_user,
    .stream_tap = stream_op_tap,
    .append = stream_op_append,
    .append_batch = stream_op_append_batch,
    .snap_open = store_snap_open,
    .snap_close = store_snap_close,
    .snap_info = store_snap_info,
    .snap_next = store_snap_next,
    .snap_rewind = store_snap_rewind,
    .cons_import = import_cons,
    .stream_adopt = ddl_stream_adopt,
    .seq_skip = stream_op_skip,
    .source_seq = stream_op_source_seq,
    .get = stream_op_get,
    .last_msg = stream_op_last_msg,
    .msg_delete = stream_op_delete,
    .purge = stream_op_purge,
    .cons_create = ddl_cons_create,
    .cons_update = ddl_cons_update,
    .cons_delete = ddl_cons_delete,
    .cons_find = op_cons_find,
    .cons_next_of = op_cons_next,
    .cons_cfg = cons_op_cfg,
    .cons_stream = cons_op_stream,
    .cons_state = cons_op_state,
    .cons_attach = cons_op_attach,
    .cons_user = cons_op_user,
    .cons_set_user = cons_op_set_user,
    .cons_peek = cons_op_peek,
    .cons_take = cons_op_take,
    .cons_ack = cons_op_ack,
    .cons_reset = cons_op_reset,
    .cons_unacked = cons_op_unacked,
    .usage = op_usage,
    .health = op_health,
    .turn = op_turn,
    .poll = op_poll,
    .timers = op_timers,
};

/* --- open ------------------------------------------------------------------------------------- */

static void ring_owner(void *arg)
{
    struct eng *e = arg;
    e->opts.doorbell(e->opts.doorbell_arg);
}

/* A fresh store: its directories may have been made by a process that was killed before it synced
 * their names. */
static enum st sync_parents(struct eng *e, struct err *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s", e->root);
    enum st st = ST_OK;
    for (char *slash = strrchr(path, '/'); slash != NULL && st == ST_OK;
         slash = strrchr(path, '/')) {
        slash[slash == path] = 0;
        st = env_dirsync(e->env, path, err);
        if (st == ST_DENIED) { /* not ours, so it was there before */
            st = ST_OK;
        }
        if (slash == path) {
            break;
        }
    }
    return st;
}

/* <store_dir>/millrace, made when missing: every directory on the way is made and its parent
 * synced. */
static enum st make_root(struct eng *e, struct err *err)
{
    size_t len = strlen(e->opts.store_dir);
    e->root = base_malloc(len + 16);
    snprintf(e->root, len + 16, "%s/millrace", e->opts.store_dir);
    for (char *p = e->root + 1;; p++) {
        if (*p != '/' && *p != 0) {
            continue;
        }
        char was = *p;
        *p = 0;
        enum st st = env_mkdir(e->env, e->root, err);
        if (st == ST_OK) {
            char *slash = strrchr(e->root, '/');
            if (slash == NULL) {
                st = env_dirsync(e->env, ".", err);
            } else {
                char keep = slash[1];
                slash[slash == e->root] = 0;
                st = env_dirsync(e->env, e->root, err);
                slash[slash == e->root] = slash == e->root ? keep : '/';
            }
        }
        *p = was;
        if (st != ST_OK && st != ST_EXISTS) {
            return st;
        }
        if (was == 0) {
            return ST_OK;
        }
    }
}

static enum st open_identity(struct eng *e, struct err *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/LOCK", e->root);
    enum st st = env_lock_take(e->env, path, &e->lock, err);
    enum store_file_note note = STORE_FILE_OK;
    if (st == ST_OK) {
        st = e->opts.read_only_check
                 ? store_file_check(e->env, e->root, &e->ident, NULL, NULL, err)
                 : store_file_open(e->env, e->root, true, &e->ident, &note, err);
    }
    if (st == ST_OK) {
        e->fresh = note == STORE_FILE_CREATED;
        st = e->fresh ? sync_parents(e, err) : ST_OK;
    }
    if (st == ST_OK) {
        if (note == STORE_FILE_REPAIRED) {
            eng_note_damage(
                e, 0, 0, 0,
                "one of STORE and STORE.2 was damaged or missing and was written again");
        }
        struct cat_opts co = {.root = e->root,
                              .store_uuid = e->ident.store_uuid,
                              .crc_seed = e->ident.crc_seed,
                              .create = !e->opts.read_only_check,
                              .read_only = e->opts.read_only_check};
        st = cat_open(e->env, &co, &e->cat, err);
    }
    return st;
}

static enum st open_parts(struct eng *e, struct err *err)
{
    struct segs_opts so = {.root = e->root, .crc_seed = e->ident.crc_seed};
    memcpy(so.store_uuid, e->ident.store_uuid, 16);
    enum st st = segs_open(e->env, &so, &e->segs, err);
    if (st != ST_OK) {
        return st;
    }
    e->cache = blockcache_create(e->opts.block_cache_bytes);
    struct reader_opts ro = {
        .segs = e->segs, .cache = e->cache, .doorbell = ring_owner, .doorbell_arg = e};
    st = reader_pool_create(e->env, &ro, &e->pool, err);
    if (st != ST_OK) {
        return st;
    }
    char dir[4200];
    snprintf(dir, sizeof dir, "%s/journal/0", e->root);
    e->journal_dir = base_strdup(dir);
    snprintf(dir, sizeof dir, "%s/quarantine", e->root);
    e->quarantine_dir = base_strdup(dir);
    struct jr_opts jo = {.dir = e->journal_dir,
                         .quarantine = e->quarantine_dir,
                         .crc_seed = e->ident.crc_seed,
                         .doorbell = ring_owner,
                         .doorbell_arg = e,
                         .place = extents_place,
                         .file_min_bytes = e->opts.journal_file_min_bytes,
                         .file_max_bytes = e->opts.journal_file_max_bytes,
                         .window_bytes = e->opts.journal_window_bytes,
                         .sync_interval_ns = e->opts.sync_interval_ns};
    memcpy(jo.store_uuid, e->ident.store_uuid, 16);
    return jr_open(e->env, &jo, &e->jr, err);
}

static enum st recover(struct eng *e, struct err *err)
{
    uint64_t checkpoint_lsn = 0, end_lsn = 0;
    struct cat_state cs;
    cat_state_get(e->cat, &cs);
    e->next_gid = cs.next_gid != 0 ? cs.next_gid : 1;
    e->clean = cs.clean;
    e->replaying = true;
    enum st st = recover_load(e, &checkpoint_lsn, &end_lsn, err);
    if (st == ST_OK) {
        st = recover_replay(e, checkpoint_lsn, end_lsn, err);
    }
    if (st == ST_OK) {
        st = cat_check_against_journal(e->cat, e->recovered.any_groups_on_disk,
                                       e->recovered.meta_gen_max, e->recovered.contiguous, err);
    }
    if (st == ST_OK && !e->opts.read_only_check) {
        st = recover_judge_files(e, err);
    }
    e->replaying = false;
    return st;
}

static enum st start(struct eng *e, struct err *err)
{
    enum st st = cat_start(e->cat, err);
    if (st == ST_OK) {
        st = jr_start(e->jr, cat_generation(e->cat), err);
        if (st == ST_NOSPACE && cat_ballast_release(e->cat)) {
            st = jr_start(e->jr, cat_generation(e->cat), err);
        }
    }
    if (st == ST_OK && e->opts.max_file_is_of_free) {
        e->opts.max_file_bytes += e->file_bytes;
    }
    if (st == ST_OK) {
        st = jw_create(e->jr, &e->jw, err);
    }
    if (st == ST_OK) {
        st = ckpt_start(e, err);
    }
    if (st == ST_OK) {
        st = compact_start(e, err);
    }
    if (st == ST_OK) {
        st = recover_finish(e, err);
    }
    /* Every start takes a new file, and only a checkpoint gives files back: a server that is killed
     * again and again with little written would never come to one. */
    if (st == ST_OK && e->recovered.files >= START_FILES_MAX) {
        ckpt_request(e, NULL, NULL);
    }
    return st;
}

static void destroy(struct eng *e)
{
    if (e->jr != NULL) {
        jr_halt(e->jr); /* the lane knows the streams' extents */
    }
    ckpt_destroy(e);
    compact_destroy(e);
    while (e->ngids > 0) {
        struct store_stream *s = e->by_gid[e->ngids - 1];
        e->ngids--;
        stream_free(s);
    }
    reader_pool_destroy(e->pool);
    eng_wait_fini(e);
    if (e->jw != NULL) {
        jw_destroy(e->jw);
    }
    jr_close(e->jr);
    blockcache_destroy(e->cache);
    segs_close(e->segs);
    env_lock_release(e->env, e->lock);
    for (size_t i = 0; i < e->nunowned; i++) {
        base_free(e->unowned[i].text);
    }
    base_free(e->unowned);
    for (size_t i = 0; i < e->naccounts; i++) {
        base_free(e->accounts[i]->name);
        base_free(e->accounts[i]);
    }
    base_free(e->accounts);
    base_free(e->by_name);
    base_free(e->by_gid);
    base_free(e->root);
    base_free(e->journal_dir);
    base_free(e->quarantine_dir);
    e->magic = 0;
    base_free(e);
}

static void defaults(struct eng_opts *o)
{
    o->journal_window_bytes =
        o->journal_window_bytes != 0 ? o->journal_window_bytes : LIM_JOURNAL_WINDOW_BYTES_DEFAULT;
    o->journal_file_min_bytes =
        o->journal_file_min_bytes != 0 ? o->journal_file_min_bytes : LIM_JOURNAL_FILE_BYTES_MIN;
    o->journal_file_max_bytes =
        o->journal_file_max_bytes != 0 ? o->journal_file_max_bytes : LIM_JOURNAL_FILE_BYTES_MAX;
    o->tail_bytes = o->tail_bytes != 0 ? o->tail_bytes : LIM_TAIL_STREAM_BYTES;
    o->compact_bytes_per_s = o->compact_bytes_per_s != 0 ? o->compact_bytes_per_s : 32 * MIB;
    o->block_cache_bytes =
        o->block_cache_bytes != 0 ? o->block_cache_bytes : LIM_BLOCK_CACHE_BYTES_DEFAULT;
    o->extent_message_bytes =
        o->extent_message_bytes != 0 ? o->extent_message_bytes : LIM_JOURNAL_LARGE_BYTES;
    o->few_consumers = o->few_consumers != 0 ? o->few_consumers : 8;
    o->extent_begin_bytes = o->extent_begin_bytes != 0 ? o->extent_begin_bytes : 2 * MIB;
    o->evict_bytes = o->evict_bytes != 0 ? o->evict_bytes : APPEND_EXT_MAX;
    o->clock_hold_ns = o->clock_hold_ns != 0 ? o->clock_hold_ns : 600 * NS_PER_S;
}

enum st eng_open(struct env *env, const struct eng_opts *opts, struct store **store_out,
                 struct err *err)
{
    struct eng *e = base_calloc(1, sizeof *e);
    int64_t began = env_boot_ns(env);
    *store_out = NULL;
    e->base.ops = &ops;
    e->magic = ENG_MAGIC;
    e->env = env;
    e->opts = *opts;
    defaults(&e->opts);
    wheel_init(&e->wheel);
    enum st st = make_root(e, err);
    if (st == ST_OK) {
        st = open_identity(e, err);
    }
    if (st == ST_OK) {
        st = open_parts(e, err);
    }
    if (st == ST_OK) {
        st = ckpt_create(e, err);
        compact_create(e);
    }
    if (st == ST_OK) {
        st = recover(e, err);
    }
    if (st == ST_OK && !opts->read_only_check) {
        store_time_init(&e->time, env_real_ns(env), env_boot_ns(env),
                        (int64_t)e->recovered.wall_ns_max, e->opts.clock_hold_ns);
        e->pace_before_ns = eng_now_ns(e);
        st = start(e, err);
    }
    if (st != ST_OK) {
        if (e->cat != NULL) {
            compact_stop(e);
            ckpt_stop(e);
            cat_stop(e->cat);
            cat_close(e->cat, false);
            e->cat = NULL;
        }
        err_prefix(err, "store directory \"%s\"", e->root);
        destroy(e);
        return st;
    }
    e->recovery_ns = env_boot_ns(env) - began;
    e->base.ops = &ops;
    *store_out = &e->base;
    return ST_OK;
}

void eng_close(struct store *store)
{
    struct eng *e = eng_of(store);
    struct err err;
    bool clean = false;
    if (!e->opts.read_only_check) {
        ckpt_close(e);
        uint64_t end_lsn = 0;
        if (jr_stop(e->jr, &end_lsn, &err) == ST_OK) {
            clean = ckpt_commit_end(e, end_lsn);
        }
        ckpt_stop(e);
        cat_stop(e->cat);
    }
    cat_close(e->cat, clean);
    e->cat = NULL;
    destroy(e);
}

void eng_abandon(struct store *store)
{
    struct eng *e = eng_of(store);
    compact_stop(e);
    ckpt_stop(e);
    cat_stop(e->cat);
    cat_abandon(e->cat);
    e->cat = NULL;
    destroy(e);
}
