#include "tests/lib/fake_store.h"

#include <stdlib.h>

#include "engine/base/base.h"
#include "engine/base/subject.h"

struct fmsg {
    char *subj;
    uint8_t *hdr, *data;
    uint32_t hdr_len, data_len;
    uint64_t seq;
    int64_t ts;
    char *msgid;
    bool gone;
};

struct store_stream {
    struct fake *f;
    struct store_stream *next;
    struct stream_cfg cfg;
    struct fmsg *v;
    size_t n, cap;
    uint64_t last_seq, first_seq;
    int64_t created, last_ts;
    struct store_cons *cons;
    void *user;
};

struct pend {
    uint64_t sseq, dcount;
    int64_t due;  /* boot ns of the redelivery; 0: at once */
    bool waiting; /* to be delivered again */
};

struct store_cons {
    struct store_stream *s;
    struct store_cons *next;
    struct cons_cfg cfg;
    struct cons_events ev;
    bool attached;
    uint64_t next_seq, cseq, last_sseq, floor;
    int64_t last_ts, created;
    struct pend *p;
    size_t np, cap;
    size_t redeliver; /* index of the peeked pending entry, SIZE_MAX: a new message */
    uint64_t peek_seq;
    bool kicked;
    uint64_t *last_per; /* DELIVER_LAST_PER_SUBJECT: sequences still to give */
    size_t last_per_n, last_per_at;
    void *user;
};

struct job {
    struct job *next;
    int kind; /* which callback */
    union {
        store_append_fn append;
        store_done_fn done;
        store_stream_fn stream;
        store_cons_fn cons;
        store_get_fn get;
    } fn;
    void *arg;
    enum st st;
    uint64_t n;
    struct store_append_result r;
    struct store_stream *s;
    struct store_cons *c;
    struct msg m;
    uint8_t *bytes;
};

struct fake {
    struct store base;
    struct env *env;
    struct store_stream *streams;
    struct job *first, *last;
    void (*bell)(void *);
    void *bell_arg;
    unsigned full;
};

static struct job *job(struct fake *f, int kind, void *arg)
{
    struct job *j = base_calloc(1, sizeof *j);
    j->kind = kind;
    j->arg = arg;
    if (f->last != NULL) {
        f->last->next = j;
    } else {
        f->first = j;
    }
    f->last = j;
    f->bell(f->bell_arg);
    return j;
}
static void job_done(struct fake *f, store_done_fn fn, void *arg, enum st st, uint64_t n)
{
    if (fn != NULL) {
        struct job *j = job(f, 1, arg);
        j->fn.done = fn;
        j->st = st;
        j->n = n;
    }
}

static uint64_t size_of(const struct fmsg *m)
{
    return msg_logical_size(strlen(m->subj), m->hdr_len, m->data_len);
}
static bool in_stream(const struct store_stream *s, const struct fmsg *m, const char *filter,
                      uint32_t len)
{
    (void)s;
    return !m->gone && (len == 0 || subject_match(m->subj, strlen(m->subj), filter, len));
}
static void drop(struct fmsg *m)
{
    m->gone = true;
}
static void fix_first(struct store_stream *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!s->v[i].gone) {
            s->first_seq = s->v[i].seq;
            return;
        }
    }
    s->first_seq = s->last_seq + 1;
}
static struct fmsg *by_seq(struct store_stream *s, uint64_t seq)
{
    for (size_t i = s->n; i > 0; i--) {
        if (s->v[i - 1].seq == seq && !s->v[i - 1].gone) {
            return &s->v[i - 1];
        }
    }
    return NULL;
}
static void ready_all(struct store_stream *s)
{
    for (struct store_cons *c = s->cons; c != NULL; c = c->next) {
        c->kicked = true;
    }
    s->f->bell(s->f->bell_arg);
}

/* --- streams */
static struct fake *F(struct store *st)
{
    return CONTAINER_OF(st, struct fake, base);
}

static void stream_create(struct store *st, const struct stream_cfg *cfg, store_stream_fn fn,
                          void *arg)
{
    struct fake *f = F(st);
    struct store_stream *s = base_calloc(1, sizeof *s);
    s->f = f;
    stream_cfg_copy(&s->cfg, cfg);
    s->created = env_real_ns(f->env);
    s->last_seq = cfg->first_seq > 1 ? cfg->first_seq - 1 : 0;
    s->first_seq = cfg->first_seq > 1 ? cfg->first_seq : 0;
    struct store_stream **at = &f->streams;
    while (*at != NULL && (strcmp((*at)->cfg.account, cfg->account) < 0 ||
                           (strcmp((*at)->cfg.account, cfg->account) == 0 &&
                            strcmp((*at)->cfg.name, cfg->name) < 0))) {
        at = &(*at)->next;
    }
    s->next = *at;
    *at = s;
    struct job *j = job(f, 2, arg);
    j->fn.stream = fn;
    j->s = s;
}
static void stream_update(struct store *st, struct store_stream *s, const struct stream_cfg *cfg,
                          store_stream_fn fn, void *arg)
{
    stream_cfg_fini(&s->cfg);
    stream_cfg_copy(&s->cfg, cfg);
    struct job *j = job(F(st), 2, arg);
    j->fn.stream = fn;
    j->s = s;
}
static void cons_free(struct store_cons *c)
{
    cons_cfg_fini(&c->cfg);
    base_free(c->p);
    base_free(c->last_per);
    base_free(c);
}
static void stream_free(struct store_stream *s)
{
    while (s->cons != NULL) {
        struct store_cons *c = s->cons;
        s->cons = c->next;
        cons_free(c);
    }
    for (size_t i = 0; i < s->n; i++) {
        base_free(s->v[i].subj);
        base_free(s->v[i].hdr);
        base_free(s->v[i].data);
        base_free(s->v[i].msgid);
    }
    base_free(s->v);
    stream_cfg_fini(&s->cfg);
    base_free(s);
}
static void stream_delete(struct store *st, struct store_stream *s, store_done_fn fn, void *arg)
{
    struct store_stream **at = &F(st)->streams;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    job_done(F(st), fn, arg, ST_OK, 0);
    stream_free(s);
}
static struct store_stream *stream_find(struct store *st, const char *acc, const char *name)
{
    for (struct store_stream *s = F(st)->streams; s != NULL; s = s->next) {
        if (strcmp(s->cfg.account, acc) == 0 && strcmp(s->cfg.name, name) == 0) {
            return s;
        }
    }
    return NULL;
}
static struct store_stream *stream_next(struct store *st, const char *acc,
                                        struct store_stream *prev)
{
    struct store_stream *s = prev == NULL ? F(st)->streams : prev->next;
    while (s != NULL && acc != NULL && strcmp(s->cfg.account, acc) != 0) {
        s = s->next;
    }
    return s;
}
static const struct stream_cfg *stream_cfg_of(struct store_stream *s)
{
    return &s->cfg;
}
static void stream_state(struct store_stream *s, struct stream_state *o)
{
    *o = (struct stream_state){.created_ns = s->created,
                               .first_seq = s->first_seq,
                               .last_seq = s->last_seq,
                               .last_ts_ns = s->last_ts};
    const char **subj = base_calloc(s->n + 1, sizeof(char *));
    for (size_t i = 0; i < s->n; i++) {
        struct fmsg *m = &s->v[i];
        if (m->gone) {
            continue;
        }
        o->first_ts_ns = o->msgs++ == 0 ? m->ts : o->first_ts_ns;
        o->bytes += size_of(m);
        size_t k = 0;
        while (k < o->nsubjects && strcmp(subj[k], m->subj) != 0) {
            k++;
        }
        if (k == o->nsubjects) {
            subj[o->nsubjects++] = m->subj;
        }
    }
    base_free(subj);
    if (o->msgs > 0) {
        o->ndeleted = s->last_seq - s->first_seq + 1 - o->msgs;
    }
    for (struct store_cons *c = s->cons; c != NULL; c = c->next) {
        o->nconsumers++;
    }
    o->durability = s->cfg.storage == STORAGE_MEMORY ? DURABILITY_MEMORY : DURABILITY_DURABLE;
}
static void stream_barrier(struct store_stream *s, store_done_fn fn, void *arg)
{
    job_done(s->f, fn, arg, ST_OK, 0);
}
static void stream_subjects(struct store_stream *s, const char *filter, uint32_t len,
                            bool (*fn)(void *, const char *, uint32_t, uint64_t), void *arg)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!in_stream(s, &s->v[i], filter, len)) {
            continue;
        }
        uint64_t count = 0;
        bool first = true;
        for (size_t k = 0; k < s->n; k++) {
            if (!s->v[k].gone && strcmp(s->v[k].subj, s->v[i].subj) == 0) {
                first = first && k >= i;
                count++;
            }
        }
        if (first && !fn(arg, s->v[i].subj, (uint32_t)strlen(s->v[i].subj), count)) {
            return;
        }
    }
}
static void stream_deleted(struct store_stream *s, struct seq_runs *out, uint64_t max)
{
    for (uint64_t q = s->first_seq; q < s->last_seq && max > 0; q++) {
        if (by_seq(s, q) == NULL) {
            seq_runs_add(out, q);
            max--;
        }
    }
}
static void *stream_user(struct store_stream *s)
{
    return s->user;
}
static void stream_tap(struct store_stream *s, store_tap_fn fn, void *arg)
{
    (void)s;
    (void)fn;
    (void)arg; /* no test of the broker alone listens */
}

static void stream_set_user(struct store_stream *s, void *u)
{
    s->user = u;
}

/* --- messages */
static struct fmsg *last_of(struct store_stream *s, const char *subject, uint32_t len)
{
    for (size_t i = s->n; i > 0; i--) {
        if (in_stream(s, &s->v[i - 1], subject, len)) {
            return &s->v[i - 1];
        }
    }
    return NULL;
}
static uint64_t count_of(struct store_stream *s, const char *subject, uint32_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        n += in_stream(s, &s->v[i], subject, len) ? 1 : 0;
    }
    return n;
}
static void verdict(struct store_stream *s, const struct store_append *a,
                    struct store_append_result *r)
{
    for (size_t i = 0; a->msg_id != NULL && i < s->n; i++) {
        if (s->v[i].msgid != NULL && strlen(s->v[i].msgid) == a->msg_id_len &&
            memcmp(s->v[i].msgid, a->msg_id, a->msg_id_len) == 0) {
            r->verdict = APPEND_DUPLICATE;
            r->seq = s->v[i].seq;
            return;
        }
    }
    if (s->cfg.sealed) {
        r->verdict = APPEND_SEALED;
        return;
    }
    if (a->has_expected_last_seq && a->expected_last_seq != s->last_seq) {
        r->verdict = APPEND_WRONG_LAST_SEQ;
        r->actual = s->last_seq;
        return;
    }
    if (a->has_expected_last_subj_seq) {
        struct fmsg *m = a->expected_subject != NULL
                             ? last_of(s, a->expected_subject, a->expected_subject_len)
                             : last_of(s, a->subject, a->subject_len);
        r->actual = m == NULL ? 0 : m->seq;
        if (r->actual != a->expected_last_subj_seq) {
            r->verdict = APPEND_WRONG_LAST_SUBJ_SEQ;
            return;
        }
    }
    if (a->expected_last_msgid != NULL) {
        const char *have = s->n > 0 && s->v[s->n - 1].msgid != NULL ? s->v[s->n - 1].msgid : "";
        if (strlen(have) != a->expected_last_msgid_len ||
            memcmp(have, a->expected_last_msgid, strlen(have)) != 0) {
            r->verdict = APPEND_WRONG_LAST_MSGID;
            r->actual_id = have;
            return;
        }
    }
    struct stream_state st;
    stream_state(s, &st);
    uint64_t per = count_of(s, a->subject, a->subject_len);
    bool room_by_subject =
        s->cfg.max_msgs_per_subject > 0 && per >= (uint64_t)s->cfg.max_msgs_per_subject;
    if (s->cfg.discard == DISCARD_NEW) {
        uint64_t add = msg_logical_size(a->subject_len, a->hdr_len, a->data_len);
        if (s->cfg.discard_new_per_subject && room_by_subject) {
            r->verdict = APPEND_MAX_MSGS_PER_SUBJECT;
        } else if (s->cfg.max_msgs > 0 && st.msgs >= (uint64_t)s->cfg.max_msgs &&
                   !room_by_subject) {
            r->verdict = APPEND_MAX_MSGS;
        } else if (s->cfg.max_bytes > 0 && st.bytes + add > (uint64_t)s->cfg.max_bytes) {
            r->verdict = APPEND_MAX_BYTES;
        }
    }
}
static uint8_t *copy(const uint8_t *p, size_t n)
{
    uint8_t *c = base_malloc(n + 1);
    if (n > 0) {
        memcpy(c, p, n);
    }
    return c;
}
static void limits(struct store_stream *s, const char *subject)
{
    uint32_t len = (uint32_t)strlen(subject);
    for (size_t i = 0; s->cfg.max_msgs_per_subject > 0 && i < s->n; i++) {
        if (count_of(s, subject, len) <= (uint64_t)s->cfg.max_msgs_per_subject) {
            break;
        }
        if (in_stream(s, &s->v[i], subject, len)) {
            drop(&s->v[i]);
        }
    }
    for (size_t i = 0;
         s->cfg.max_msgs > 0 && i < s->n && count_of(s, NULL, 0) > (uint64_t)s->cfg.max_msgs; i++) {
        drop(&s->v[i]);
    }
    fix_first(s);
}
static enum st append(struct store_stream *s, const struct store_append *a, store_append_fn fn,
                      void *arg)
{
    struct store_append_result r = {.verdict = APPEND_STORED};
    if (s->f->full > 0) {
        s->f->full--;
        s->f->bell(s->f->bell_arg);
        return ST_FULL;
    }
    verdict(s, a, &r);
    if (r.verdict == APPEND_STORED) {
        if (a->rollup != 0) {
            for (size_t i = 0; i < s->n; i++) {
                if (a->rollup == 2 || in_stream(s, &s->v[i], a->subject, a->subject_len)) {
                    drop(&s->v[i]);
                }
            }
        }
        if (s->n == s->cap) {
            s->cap = s->cap == 0 ? 16 : s->cap * 2;
            s->v = base_realloc(s->v, s->cap * sizeof *s->v);
        }
        struct fmsg *m = &s->v[s->n++];
        *m = (struct fmsg){.subj = base_strndup(a->subject, a->subject_len),
                           .hdr_len = a->hdr_len,
                           .data_len = a->data_len};
        m->hdr = copy(a->hdr, a->hdr_len);
        m->data = copy(a->data, a->data_len);
        m->seq = r.seq = s->last_seq = a->at_seq != 0 ? a->at_seq : s->last_seq + 1;
        m->ts = s->last_ts = a->at_seq != 0 ? a->at_time_ns : env_real_ns(s->f->env);
        m->msgid = a->msg_id != NULL ? base_strndup(a->msg_id, a->msg_id_len) : NULL;
        limits(s, m->subj);
        ready_all(s);
    }
    if (fn != NULL) {
        struct job *j = job(s->f, 0, arg);
        j->fn.append = fn;
        j->r = r;
    }
    return ST_OK;
}
static void msg_of(const struct fmsg *m, struct msg *o)
{
    *o = (struct msg){.seq = m->seq,
                      .ts_ns = m->ts,
                      .subj = (const uint8_t *)m->subj,
                      .hdr = m->hdr_len > 0 ? m->hdr : NULL,
                      .data = m->data,
                      .hdr_len = m->hdr_len,
                      .data_len = m->data_len,
                      .subj_len = (uint16_t)strlen(m->subj)};
}
static void get(struct store_stream *s, const struct store_get *g, store_get_fn fn, void *arg)
{
    struct fmsg *m = NULL;
    if (g->kind == GET_BY_SEQ) {
        m = by_seq(s, g->seq);
    } else if (g->kind == GET_LAST_BY_SUBJ) {
        m = last_of(s, g->subject, g->subject_len);
    } else {
        for (size_t i = 0; i < s->n && m == NULL; i++) {
            m = s->v[i].seq >= g->seq && in_stream(s, &s->v[i], g->subject, g->subject_len)
                    ? &s->v[i]
                    : NULL;
        }
    }
    struct job *j = job(s->f, 4, arg);
    j->fn.get = fn;
    j->st = m == NULL ? ST_NOTFOUND : ST_OK;
    if (m != NULL) {
        msg_of(m, &j->m);
    }
}
static void msg_delete(struct store_stream *s, uint64_t seq, bool secure, store_done_fn fn,
                       void *arg)
{
    struct fmsg *m = by_seq(s, seq);
    (void)secure;
    if (m != NULL) {
        drop(m);
        fix_first(s);
    }
    job_done(s->f, fn, arg, m == NULL ? ST_NOTFOUND : ST_OK, 0);
}
static uint64_t source_seq(struct store_stream *s, const char *key, size_t key_len)
{
    (void)s;
    (void)key;
    (void)key_len;
    return 0;
}
static void seq_skip(struct store_stream *s, uint64_t last_seq, store_done_fn fn, void *arg)
{
    s->last_seq = last_seq > s->last_seq ? last_seq : s->last_seq;
    fix_first(s);
    job_done(s->f, fn, arg, ST_OK, 0);
}
static void purge(struct store_stream *s, const struct store_purge *p, store_done_fn fn, void *arg)
{
    uint64_t n = 0, matching = count_of(s, p->filter, p->filter_len);
    for (size_t i = 0; i < s->n; i++) {
        if (!in_stream(s, &s->v[i], p->filter, p->filter_len) ||
            (p->seq != 0 && s->v[i].seq >= p->seq) || (p->keep != 0 && matching - n <= p->keep)) {
            continue;
        }
        drop(&s->v[i]);
        n++;
    }
    fix_first(s);
    job_done(s->f, fn, arg, ST_OK, n);
}

/* --- consumers */
static bool wants(const struct store_cons *c, const struct fmsg *m)
{
    if (m->gone) {
        return false;
    }
    for (size_t i = 0; i < c->cfg.nfilters; i++) {
        if (subject_match(m->subj, strlen(m->subj), c->cfg.filters[i], strlen(c->cfg.filters[i]))) {
            return true;
        }
    }
    return c->cfg.nfilters == 0;
}
static void place(struct store_cons *c)
{
    struct store_stream *s = c->s;
    c->next_seq = 1;
    switch (c->cfg.deliver) {
    case DELIVER_NEW:
        c->next_seq = s->last_seq + 1;
        break;
    case DELIVER_LAST:
        c->next_seq = s->last_seq + 1;
        for (size_t i = 0; i < s->n; i++) {
            c->next_seq = wants(c, &s->v[i]) ? s->v[i].seq : c->next_seq;
        }
        break;
    case DELIVER_BY_START_SEQ:
        c->next_seq = c->cfg.opt_start_seq;
        break;
    case DELIVER_BY_START_TIME:
        c->next_seq = s->last_seq + 1;
        for (size_t i = s->n; i > 0; i--) {
            c->next_seq =
                s->v[i - 1].ts >= c->cfg.opt_start_time_ns ? s->v[i - 1].seq : c->next_seq;
        }
        break;
    case DELIVER_LAST_PER_SUBJECT:
        c->last_per = base_calloc(s->n + 1, sizeof *c->last_per);
        for (size_t i = 0; i < s->n; i++) {
            if (wants(c, &s->v[i]) &&
                last_of(s, s->v[i].subj, (uint32_t)strlen(s->v[i].subj)) == &s->v[i]) {
                c->last_per[c->last_per_n++] = s->v[i].seq;
            }
        }
        c->next_seq = s->last_seq + 1;
        break;
    case DELIVER_ALL:
    default:
        break;
    }
    c->floor = c->next_seq - 1;
    c->last_sseq = c->next_seq - 1;
}
static void cons_create(struct store_stream *s, const struct cons_cfg *cfg, store_cons_fn fn,
                        void *arg)
{
    struct store_cons *c = base_calloc(1, sizeof *c);
    c->s = s;
    cons_cfg_copy(&c->cfg, cfg);
    c->created = env_real_ns(s->f->env);
    place(c);
    struct store_cons **at = &s->cons;
    while (*at != NULL && strcmp((*at)->cfg.name, cfg->name) < 0) {
        at = &(*at)->next;
    }
    c->next = *at;
    *at = c;
    struct job *j = job(s->f, 3, arg);
    j->fn.cons = fn;
    j->c = c;
}
static void cons_update(struct store_cons *c, const struct cons_cfg *cfg, store_cons_fn fn,
                        void *arg)
{
    cons_cfg_fini(&c->cfg);
    cons_cfg_copy(&c->cfg, cfg);
    struct job *j = job(c->s->f, 3, arg);
    j->fn.cons = fn;
    j->c = c;
}
static void cons_delete(struct store_cons *c, store_done_fn fn, void *arg)
{
    struct store_cons **at = &c->s->cons;
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    job_done(c->s->f, fn, arg, ST_OK, 0);
    cons_free(c);
}
static struct store_cons *cons_find(struct store_stream *s, const char *name)
{
    struct store_cons *c = s->cons;
    while (c != NULL && strcmp(c->cfg.name, name) != 0) {
        c = c->next;
    }
    return c;
}
static struct store_cons *cons_next_of(struct store_stream *s, struct store_cons *p)
{
    return p == NULL ? s->cons : p->next;
}
static const struct cons_cfg *cons_cfg_of(struct store_cons *c)
{
    return &c->cfg;
}
static struct store_stream *cons_stream(struct store_cons *c)
{
    return c->s;
}
static struct fmsg *next_new(struct store_cons *c)
{
    while (c->last_per_at < c->last_per_n) {
        struct fmsg *m = by_seq(c->s, c->last_per[c->last_per_at]);
        if (m != NULL) {
            return m;
        }
        c->last_per_at++;
    }
    for (size_t i = 0; i < c->s->n; i++) {
        if (c->s->v[i].seq >= c->next_seq && wants(c, &c->s->v[i])) {
            return &c->s->v[i];
        }
    }
    return NULL;
}
static uint64_t pending_of(struct store_cons *c)
{
    uint64_t n = c->last_per_n - c->last_per_at;
    for (size_t i = 0; i < c->s->n; i++) {
        n += c->s->v[i].seq >= c->next_seq && wants(c, &c->s->v[i]) ? 1 : 0;
    }
    return n;
}
static void cons_state(struct store_cons *c, struct cons_state *o)
{
    *o = (struct cons_state){.delivered_cseq = c->cseq,
                             .delivered_sseq = c->last_sseq,
                             .delivered_ts_ns = c->last_ts,
                             .num_ack_pending = c->np,
                             .created_ns = c->created,
                             .num_pending = pending_of(c)};
    o->floor_sseq = c->np > 0 ? c->floor : c->last_sseq;
    o->floor_cseq = c->np > 0 ? 0 : c->cseq;
    for (size_t i = 0; i < c->np; i++) {
        o->num_redelivered += c->p[i].dcount > 1 ? 1 : 0;
    }
}
static void cons_attach(struct store_cons *c, const struct cons_events *ev)
{
    c->attached = ev != NULL;
    if (ev != NULL) {
        c->ev = *ev;
        c->kicked = true;
        c->s->f->bell(c->s->f->bell_arg);
    }
}
static void *cons_user(struct store_cons *c)
{
    return c->user;
}
static void cons_set_user(struct store_cons *c, void *u)
{
    c->user = u;
}
static void forget(struct store_cons *c, size_t i)
{
    memmove(&c->p[i], &c->p[i + 1], (--c->np - i) * sizeof *c->p);
}
static enum st cons_peek(struct store_cons *c, struct cons_peek *o)
{
    o->keep = (struct msg_keep){0};
    c->redeliver = SIZE_MAX;
    for (size_t i = 0; i < c->np; i++) {
        if (!c->p[i].waiting) {
            continue;
        }
        struct fmsg *m = by_seq(c->s, c->p[i].sseq);
        if (m == NULL ||
            (c->cfg.max_deliver > 0 && c->p[i].dcount >= (uint64_t)c->cfg.max_deliver)) {
            if (m != NULL && c->attached) {
                c->ev.max_deliver(c->ev.arg, c, c->p[i].sseq, c->p[i].dcount);
            }
            forget(c, i--);
            continue;
        }
        c->redeliver = i;
        c->peek_seq = m->seq;
        msg_of(m, &o->m);
        o->dcount = c->p[i].dcount + 1;
        o->cseq = c->cseq + 1;
        o->num_pending = pending_of(c);
        return ST_OK;
    }
    if (c->cfg.ack != ACK_NONE && c->cfg.max_ack_pending > 0 &&
        c->np >= (uint64_t)c->cfg.max_ack_pending) {
        return ST_FULL;
    }
    struct fmsg *m = next_new(c);
    if (m == NULL) {
        return ST_NOTFOUND;
    }
    c->peek_seq = m->seq;
    msg_of(m, &o->m);
    o->dcount = 1;
    o->cseq = c->cseq + 1;
    o->num_pending = pending_of(c) - 1;
    return ST_OK;
}
static void cons_take(struct store_cons *c)
{
    int64_t due = env_boot_ns(c->s->f->env) + c->cfg.ack_wait_ns;
    c->cseq++;
    c->last_ts = env_real_ns(c->s->f->env);
    if (c->redeliver != SIZE_MAX) {
        c->p[c->redeliver].dcount++;
        c->p[c->redeliver].waiting = false;
        c->p[c->redeliver].due = due;
        return;
    }
    if (c->last_per_at < c->last_per_n) {
        c->last_per_at++;
    } else {
        c->next_seq = c->peek_seq + 1;
    }
    c->last_sseq = c->peek_seq;
    if (c->cfg.ack == ACK_NONE) {
        return;
    }
    if (c->np == c->cap) {
        c->cap = c->cap == 0 ? 16 : c->cap * 2;
        c->p = base_realloc(c->p, c->cap * sizeof *c->p);
    }
    c->p[c->np++] = (struct pend){.sseq = c->peek_seq, .dcount = 1, .due = due};
}
static bool cons_unacked(struct store_cons *c, uint64_t sseq, struct cons_unacked *o)
{
    for (size_t i = 0; i < c->np; i++) {
        if (c->p[i].sseq == sseq) {
            *o = (struct cons_unacked){.dcount = c->p[i].dcount,
                                       .delivered_ns = c->p[i].due - c->cfg.ack_wait_ns};
            return true;
        }
    }
    return false;
}
static void cons_reset(struct store_cons *c, uint64_t seq, store_done_fn fn, void *arg)
{
    c->np = 0;
    c->cseq = 0;
    c->next_seq = seq != 0 ? seq : c->floor + 1;
    c->last_sseq = c->floor = c->next_seq - 1;
    job_done(c->s->f, fn, arg, ST_OK, 0);
    c->s->f->bell(c->s->f->bell_arg);
}
static void cons_ack(struct store_cons *c, enum cons_ack_kind kind, uint64_t sseq, uint64_t cseq,
                     int64_t delay, store_done_fn fn, void *arg)
{
    (void)cseq;
    int64_t now = env_boot_ns(c->s->f->env);
    bool found = false;
    for (size_t i = 0; i < c->np; i++) {
        if (c->p[i].sseq != sseq &&
            !(c->cfg.ack == ACK_ALL && kind == CONS_ACK && c->p[i].sseq < sseq)) {
            continue;
        }
        found = true;
        if (kind == CONS_NAK) {
            c->p[i].due = now + delay;
        } else if (kind == CONS_PROGRESS) {
            c->p[i].due = now + c->cfg.ack_wait_ns;
        } else {
            forget(c, i--);
            struct fmsg *m = by_seq(c->s, sseq);
            if (c->s->cfg.retention == RETENTION_WORKQUEUE && m != NULL) {
                drop(m);
                fix_first(c->s);
            }
        }
    }
    c->kicked = true;
    job_done(c->s->f, fn, arg, found ? ST_OK : ST_NOTFOUND, 0);
    c->s->f->bell(c->s->f->bell_arg);
}

/* --- driving */
static void usage(struct store *st, const char *acc, struct store_usage *o)
{
    *o = (struct store_usage){0};
    struct store_stream *s = NULL;
    while ((s = stream_next(st, acc, s)) != NULL) {
        struct stream_state x;
        stream_state(s, &x);
        *(s->cfg.storage == STORAGE_MEMORY ? &o->mem_bytes : &o->file_bytes) += x.bytes;
        o->streams++;
        o->consumers += x.nconsumers;
    }
}
static enum st health(struct store *st, struct err *err)
{
    (void)st;
    (void)err;
    return ST_OK;
}
static void run_job(struct job *j)
{
    switch (j->kind) {
    case 0:
        j->fn.append(j->arg, &j->r);
        break;
    case 1:
        j->fn.done(j->arg, j->st, j->n, NULL);
        break;
    case 2:
        j->fn.stream(j->arg, j->st, j->s, NULL);
        break;
    case 3:
        j->fn.cons(j->arg, j->st, j->c, NULL);
        break;
    default:
        j->fn.get(j->arg, j->st, j->st == ST_OK ? &j->m : NULL);
        break;
    }
}
static void kick(struct fake *f)
{
    for (struct store_stream *s = f->streams, *sn; s != NULL; s = sn) {
        sn = s->next;
        for (struct store_cons *c = s->cons, *n; c != NULL; c = n) {
            n = c->next;
            if (c->kicked && c->attached) {
                c->kicked = false;
                c->ev.ready(c->ev.arg, c);
            }
        }
    }
}
static void poll_jobs(struct store *st)
{
    struct fake *f = F(st);
    while (f->first != NULL) {
        struct job *j = f->first;
        f->first = j->next;
        f->last = f->first == NULL ? NULL : f->last;
        run_job(j);
        base_free(j);
    }
    kick(f);
}
static void turn(struct store *st)
{
    (void)st;
}
static int64_t timers(struct store *st)
{
    struct fake *f = F(st);
    int64_t now = env_boot_ns(f->env), next = INT64_MAX;
    for (struct store_stream *s = f->streams; s != NULL; s = s->next) {
        for (struct store_cons *c = s->cons; c != NULL; c = c->next) {
            for (size_t i = 0; i < c->np; i++) {
                if (c->p[i].waiting) {
                    continue;
                }
                if (c->p[i].due <= now) {
                    c->p[i].waiting = true;
                    c->kicked = true;
                } else if (c->p[i].due < next) {
                    next = c->p[i].due;
                }
            }
        }
    }
    kick(f);
    return next;
}

static const struct store_ops ops = {
    .stream_create = stream_create,
    .stream_update = stream_update,
    .stream_delete = stream_delete,
    .stream_find = stream_find,
    .stream_next = stream_next,
    .stream_cfg = stream_cfg_of,
    .stream_state = stream_state,
    .stream_barrier = stream_barrier,
    .stream_subjects = stream_subjects,
    .stream_deleted = stream_deleted,
    .stream_user = stream_user,
    .stream_set_user = stream_set_user,
    .stream_tap = stream_tap,
    .append = append,
    .seq_skip = seq_skip,
    .source_seq = source_seq,
    .get = get,
    .msg_delete = msg_delete,
    .purge = purge,
    .cons_create = cons_create,
    .cons_update = cons_update,
    .cons_delete = cons_delete,
    .cons_find = cons_find,
    .cons_next_of = cons_next_of,
    .cons_cfg = cons_cfg_of,
    .cons_stream = cons_stream,
    .cons_state = cons_state,
    .cons_attach = cons_attach,
    .cons_user = cons_user,
    .cons_set_user = cons_set_user,
    .cons_peek = cons_peek,
    .cons_take = cons_take,
    .cons_ack = cons_ack,
    .cons_reset = cons_reset,
    .cons_unacked = cons_unacked,
    .usage = usage,
    .health = health,
    .turn = turn,
    .poll = poll_jobs,
    .timers = timers,
};

struct store *fake_store_create(struct env *env, void (*doorbell)(void *), void *arg)
{
    struct fake *f = base_calloc(1, sizeof *f);
    f->base.ops = &ops;
    f->env = env;
    f->bell = doorbell;
    f->bell_arg = arg;
    return &f->base;
}
void fake_store_destroy(struct store *st)
{
    struct fake *f = F(st);
    while (f->streams != NULL) {
        struct store_stream *s = f->streams;
        f->streams = s->next;
        stream_free(s);
    }
    while (f->first != NULL) {
        struct job *j = f->first;
        f->first = j->next;
        base_free(j);
    }
    base_free(f);
}
void fake_store_full(struct store *s, unsigned n)
{
    F(s)->full = n;
}
