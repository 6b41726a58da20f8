/* Streams out of an archive (backup.h): written as imports (store_snap.h), adopted together at the
 * end. A crash before that leaves imports, which the next start drops; after it, the new streams.
 */
#include "engine/archive_walk.h"
#include "engine/backup.h"
#include "engine/base/subject.h"
#include "engine/msg_header.h"

struct target {
    struct store_stream *s; /* the import */
    struct stream_cfg cfg;  /* owned: what it will be */
    int64_t created_ns;
};

struct restore {
    struct eng *e;
    const struct eng_restore_opts *o;
    struct eng_backup_report *out;
    struct target *v; /* owned */
    size_t n;
    bool skipping;     /* the stream under way is not wanted */
    uint64_t last_seq; /* of the stream under way */
    size_t appends;    /* not answered yet */
    bool stuck;        /* on a full disk nothing is answered any more */
    bool done;         /* of the call under way */
    enum st st;
    struct err err;
    enum append_verdict refused;
    struct snap_cons *cons; /* owned: kept until the messages are in */
    size_t ncons;
    uint8_t *window; /* owned: the same; NULL = the archive has none */
    size_t window_len;
};

/* --- waiting ---------------------------------------------------------------------------------- */

static void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct restore *k = arg;
    if (st == ST_OK) {
        k->v[k->n - 1].s = s;
    } else {
        k->st = st;
        k->err = err != NULL ? *err : (struct err){0};
    }
    k->done = true;
}

static void on_adopted(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct restore *k = arg;
    (void)s;
    if (st != ST_OK) {
        k->st = st;
        k->err = err != NULL ? *err : (struct err){0};
    }
    k->appends--;
    k->done = k->appends == 0;
}

static void on_cons(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    (void)c;
    on_adopted(arg, st, NULL, err);
}

static void on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct restore *k = arg;
    (void)n;
    if (st != ST_OK) {
        k->st = st;
        k->err = err != NULL ? *err : (struct err){0};
    }
    k->done = true;
}

static void on_append(void *arg, const struct store_append_result *r)
{
    struct restore *k = arg;
    if (r->verdict != APPEND_STORED) {
        k->refused = r->verdict;
    }
    k->appends--;
}

/* A disk that is full gets no room from waiting: what the journal cannot take is not answered. */
#define STUCK_NS (5 * NS_PER_S)

/* Rests once, not longer than most_ns. since_ns: when something was answered last. */
static enum st rest(struct restore *k, int64_t since_ns, int64_t most_ns, struct err *err)
{
    struct store *s = k->o->drive.store;
    s->ops->poll(s);
    int64_t deadline = s->ops->timers(s), now = env_boot_ns(k->e->env);
    int64_t due = i64_add_sat(since_ns, STUCK_NS);
    int64_t latest = k->e->low_space ? due : INT64_MAX;
    latest = i64_add_sat(now, most_ns) < latest ? i64_add_sat(now, most_ns) : latest;
    if (k->e->low_space && now >= due) {
        k->stuck = true;
        return err_set(err, ST_NOSPACE, 0, "there is no room for its messages");
    }
    return k->o->drive.wait(k->o->drive.arg, deadline < latest ? deadline : latest)
               ? ST_OK
               : err_set(err, ST_CLOSED, 0, "interrupted");
}

static enum st wait_for(struct restore *k, struct err *err)
{
    int64_t since_ns = env_boot_ns(k->e->env);
    while (!k->done) {
        enum st st = rest(k, since_ns, INT64_MAX, err);
        if (st != ST_OK) {
            return st;
        }
    }
    k->done = false;
    if (k->st != ST_OK) {
        return err_set(err, k->st, 0, "%s", k->err.msg[0] != 0 ? k->err.msg : st_text(k->st));
    }
    return ST_OK;
}

static enum st wait_appends(struct restore *k, size_t below, struct err *err)
{
    int64_t since_ns = env_boot_ns(k->e->env);
    for (size_t had = k->appends; k->appends >= below && k->appends > 0;) {
        enum st st = rest(k, since_ns, INT64_MAX, err);
        if (st != ST_OK) {
            return st;
        }
        if (k->appends != had) {
            had = k->appends;
            since_ns = env_boot_ns(k->e->env);
        }
    }
    switch (k->refused) {
    case APPEND_STORED:
        return ST_OK;
    case APPEND_NO_STORE:
    case APPEND_NO_MEMORY:
        return err_set(err, ST_NOSPACE, 0, "there is no room for its messages");
    default:
        return err_set(err, ST_IO, 0, "its messages could not be written (%d)", (int)k->refused);
    }
}

/* --- a stream --------------------------------------------------------------------------------- */

static bool wanted(const struct restore *k, const struct stream_cfg *cfg)
{
    return (k->o->account == NULL || strcmp(k->o->account, cfg->account) == 0) &&
           (k->o->stream == NULL || strcmp(k->o->stream, cfg->name) == 0);
}

static void rename_text(char **p, const char *to)
{
    if (to != NULL) {
        base_free(*p);
        *p = base_strdup(to);
    }
}

static bool shares_subjects(const struct stream_cfg *a, const struct stream_cfg *b)
{
    for (size_t i = 0; i < a->nsubjects; i++) {
        for (size_t j = 0; j < b->nsubjects; j++) {
            if (subject_overlap(a->subjects[i], strlen(a->subjects[i]), b->subjects[j],
                                strlen(b->subjects[j]))) {
                return true;
            }
        }
    }
    return false;
}

/* Nor by another of the archive's, which one --as-account brings together. */
static enum st check_apart(const struct restore *k, const struct stream_cfg *cfg, struct err *err)
{
    for (size_t i = 0; i < k->n; i++) {
        const struct stream_cfg *c = &k->v[i].cfg;
        if (c == cfg || strcmp(c->account, cfg->account) != 0) {
            continue;
        }
        if (strcmp(c->name, cfg->name) == 0) {
            return err_set(err, ST_INVALID, 0,
                           "two streams of the archive would be \"%s\" of account \"%s\"", c->name,
                           c->account);
        }
        if (shares_subjects(c, cfg)) {
            return err_set(err, ST_INVALID, 0,
                           "streams \"%s\" and \"%s\" would share subjects in account \"%s\"",
                           c->name, cfg->name, c->account);
        }
    }
    return ST_OK;
}

/* Name and subjects are taken by nobody, or by the stream that is replaced. */
static enum st check_free(struct restore *k, const struct stream_cfg *cfg, struct err *err)
{
    for (size_t i = 0; i < k->e->nstreams; i++) {
        const struct stream_cfg *c = &k->e->by_name[i]->cfg;
        if (strcmp(c->account, cfg->account) != 0) {
            continue;
        }
        bool same = strcmp(c->name, cfg->name) == 0;
        if (same && !k->o->replace) {
            return err_set(err, ST_EXISTS, 0, "stream \"%s\" of account \"%s\" is there already",
                           c->name, c->account);
        }
        if (!same && shares_subjects(c, cfg)) {
            return err_set(err, ST_EXISTS, 0,
                           "stream \"%s\" of account \"%s\" has the same subjects", c->name,
                           c->account);
        }
    }
    return ST_OK;
}

/* Without limits, as a mirror: takes every sequence as it comes. */
static void import_cfg(struct stream_cfg *c, const struct stream_cfg *of, uint64_t first_seq,
                       struct env *env)
{
    uint8_t rnd[8];
    char name[17];
    env_random(env, rnd, sizeof rnd);
    for (size_t i = 0; i < 16; i++) {
        name[i] = "0123456789abcdef"[rnd[i / 2] >> (i % 2 * 4) & 15];
    }
    name[16] = 0;
    stream_cfg_init(c);
    c->account = base_strdup(STORE_IMPORT_ACCOUNT);
    c->name = base_strdup(name);
    c->storage = of->storage;
    c->mirror = true;
    c->duplicates_ns = of->duplicates_ns;
    c->allow_msg_ttl = of->allow_msg_ttl;
    c->first_seq = first_seq;
}

static enum st begin_stream(void *arg, const struct arc_stream *s, struct err *err)
{
    struct restore *k = arg;
    struct stream_cfg cfg;
    k->skipping = !wanted(k, &s->cfg);
    if (k->skipping) {
        return ST_OK;
    }
    k->v = base_realloc(k->v, (k->n + 1) * sizeof *k->v);
    struct target *t = &k->v[k->n++];
    *t = (struct target){.created_ns = s->created_ns};
    stream_cfg_copy(&t->cfg, &s->cfg);
    rename_text(&t->cfg.account, k->o->to_account);
    rename_text(&t->cfg.name, k->o->to_stream);
    enum st st = check_free(k, &t->cfg, err);
    st = st == ST_OK ? check_apart(k, &t->cfg, err) : st;
    if (st != ST_OK) {
        return st;
    }
    k->last_seq = s->last_seq;
    import_cfg(&cfg, &s->cfg, s->first_seq, k->e->env);
    k->e->base.ops->stream_create(&k->e->base, &cfg, on_stream, k);
    stream_cfg_fini(&cfg);
    return wait_for(k, err);
}

static enum st keep_cons(void *arg, const struct snap_cons *c, struct err *err)
{
    struct restore *k = arg;
    (void)err;
    if (k->skipping) {
        return ST_OK;
    }
    k->cons = base_realloc(k->cons, (k->ncons + 1) * sizeof *k->cons);
    struct snap_cons *to = &k->cons[k->ncons++];
    *to = *c;
    cons_cfg_copy(&to->cfg, &c->cfg);
    to->pend = c->npend > 0 ? base_malloc(c->npend * sizeof *c->pend) : NULL;
    if (c->npend > 0) {
        memcpy(to->pend, c->pend, c->npend * sizeof *c->pend);
    }
    return ST_OK;
}

static enum st keep_window(void *arg, const uint8_t *p, size_t len, struct err *err)
{
    struct restore *k = arg;
    (void)err;
    if (!k->skipping) {
        k->window = base_malloc(len);
        memcpy(k->window, p, len);
        k->window_len = len;
    }
    return ST_OK;
}

static enum st one_msg(void *arg, const struct msg *m, struct err *err)
{
    enum { APPENDS_MAX = 4096 };
    struct restore *k = arg;
    size_t id_len = 0;
    if (k->skipping) {
        return ST_OK;
    }
    struct store_append a = {.subject = (const char *)m->subj,
                             .subject_len = m->subj_len,
                             .hdr = m->hdr,
                             .hdr_len = m->hdr_len,
                             .data = m->data,
                             .data_len = m->data_len,
                             .flags = m->flags & (uint16_t) ~(MSG_HDR | MSG_MSGID),
                             .at_seq = m->seq,
                             .at_time_ns = m->ts_ns};
    if ((m->flags & MSG_MSGID) != 0) {
        a.msg_id = msg_header_get(m->hdr, m->hdr_len, "Nats-Msg-Id", &id_len);
        a.msg_id_len = (uint32_t)id_len;
    }
    for (int64_t since_ns = env_boot_ns(k->e->env);;) {
        enum st st = k->e->base.ops->append(k->v[k->n - 1].s, &a, on_append, k);
        if (st == ST_OK) {
            k->appends++;
            break;
        }
        st = wait_appends(k, k->appends, err); /* the journal is full: until one is answered */
        if (st != ST_OK) {
            return st;
        }
        if (k->appends == 0) {
            st = rest(k, since_ns, NS_PER_MS, err);
            if (st != ST_OK) {
                return st;
            }
        }
    }
    return k->appends >= APPENDS_MAX ? wait_appends(k, APPENDS_MAX / 2, err) : ST_OK;
}

static enum st end_stream(void *arg, const struct arc_entry *e, struct err *err)
{
    struct restore *k = arg;
    if (k->skipping) {
        return ST_OK;
    }
    struct store_stream *s = k->v[k->n - 1].s;
    enum st st = wait_appends(k, 1, err);
    if (st == ST_OK) {
        k->e->base.ops->seq_skip(s, k->last_seq, on_done, k);
        st = wait_for(k, err);
    }
    if (st == ST_OK && k->window != NULL) { /* in place of what the messages made */
        window_import(s, k->window, k->window_len, on_done, k);
        st = wait_for(k, err);
    }
    base_free(k->window);
    k->window = NULL;
    for (size_t i = 0; i < k->ncons && st == ST_OK; i++) {
        k->appends = 1;
        k->e->base.ops->cons_import(s, &k->cons[i], on_cons, k);
        st = wait_for(k, err);
    }
    for (size_t i = 0; i < k->ncons; i++) {
        snap_cons_fini(&k->cons[i]);
    }
    k->out->streams++;
    k->out->consumers += k->ncons;
    k->out->msgs += e->msgs;
    k->out->bytes += e->bytes;
    k->ncons = 0;
    return st;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct restore *k = arg;
    if (k->o->progress != NULL) {
        k->o->progress(k->o->arg, done, total);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

/* All in one turn: their records go out together. */
static enum st adopt_all(struct restore *k, struct err *err)
{
    k->appends = k->n;
    k->done = k->n == 0;
    for (size_t i = 0; i < k->n; i++) {
        struct target *t = &k->v[i];
        struct store_stream *there = eng_stream_find(k->e, t->cfg.account, t->cfg.name);
        k->e->base.ops->stream_adopt(&k->e->base, t->s, &t->cfg, t->created_ns,
                                     k->o->replace ? there : NULL, on_adopted, k);
        t->s = NULL;
    }
    return wait_for(k, err);
}

static void undo(struct restore *k)
{
    struct err err;
    k->st = ST_OK;
    if (!k->stuck) {
        (void)wait_appends(k, 1, &err);
    }
    for (size_t i = 0; i < k->n && !k->stuck; i++) { /* else the next start does it */
        if (k->v[i].s != NULL) {
            k->done = false;
            k->e->base.ops->stream_delete(&k->e->base, k->v[i].s, on_done, k);
            (void)wait_for(k, &err);
        }
    }
}

enum st eng_restore(struct store *store, const struct eng_restore_opts *o,
                    struct eng_backup_report *out, struct err *err)
{
    struct restore k = {.e = eng_of(store), .o = o, .out = out, .refused = APPEND_STORED};
    struct arc_walk w = {.stream = begin_stream,
                         .cons = keep_cons,
                         .msg = one_msg,
                         .window = keep_window,
                         .end = end_stream,
                         .progress = on_progress,
                         .arg = &k};
    struct arc_reader *r;
    *out = (struct eng_backup_report){0};
    enum st st = arc_open(k.e->env, o->path, &r, err);
    if (st != ST_OK) {
        return st;
    }
    out->created_ns = arc_head_of(r)->created_ns;
    out->file_bytes = arc_file_bytes(r);
    memcpy(out->archive_uuid, arc_head_of(r)->archive_uuid, 16);
    memcpy(out->store_uuid, arc_head_of(r)->store_uuid, 16);
    st = arc_walk(r, &w, err);
    if (st == ST_OK && k.n == 0 && o->stream != NULL) {
        st = err_set(err, ST_NOTFOUND, 0, "the archive has no stream \"%s\"", o->stream);
    }
    if (st == ST_OK && k.n == 0 && o->account != NULL) {
        st =
            err_set(err, ST_NOTFOUND, 0, "the archive has no stream of account \"%s\"", o->account);
    }
    if (st == ST_OK && k.n > 1 && o->to_stream != NULL) {
        st = err_set(err, ST_INVALID, 0, "%zu streams cannot have the same name", k.n);
    }
    if (st == ST_OK) {
        st = adopt_all(&k, err);
    }
    if (st != ST_OK) {
        undo(&k);
    }
    for (size_t i = 0; i < k.ncons; i++) {
        snap_cons_fini(&k.cons[i]);
    }
    for (size_t i = 0; i < k.n; i++) {
        stream_cfg_fini(&k.v[i].cfg);
    }
    base_free(k.cons);
    base_free(k.window);
    base_free(k.v);
    arc_close(r);
    return st;
}
