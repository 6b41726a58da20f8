#include "tests/sim/sim_model.h"

#include <stdio.h>

#include "engine/base/prng.h"
#include "engine/base/subject.h"

/* --- content ---------------------------------------------------------------------------------- */

const char *md_subject(uint32_t n)
{
    static const char *const names[MD_SUBJECTS] = {
        "a.0", "a.1", "a.2",   "a.3",   "b.0",   "b.1",
        "b.2", "c",   "a.b.0", "a.b.1", "a.0.x", "long.subject.with.five.tokens",
        "a.*", "*.0"};
    return names[n];
}

uint32_t md_header(const struct md_msg *m, char hdr[MD_HDR_MAX])
{
    if (m->marker) {
        return (uint32_t)snprintf(hdr, MD_HDR_MAX,
                                  "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: "
                                  "%ds\r\nNats-Rollup: sub\r\n\r\n",
                                  m->ttl_s);
    }
    char ttl[40] = "";
    if (m->ttl_s != 0) {
        snprintf(ttl, sizeof ttl, m->ttl_s < 0 ? "Nats-TTL: never\r\n" : "Nats-TTL: %d\r\n",
                 m->ttl_s);
    }
    if (m->id != 0) {
        return (uint32_t)snprintf(hdr, MD_HDR_MAX, "NATS/1.0\r\n%sNats-Msg-Id: id-%u\r\n\r\n", ttl,
                                  m->id);
    }
    if (m->fill % 8 != 0 && m->ttl_s == 0) {
        return 0;
    }
    return (uint32_t)snprintf(hdr, MD_HDR_MAX, "NATS/1.0\r\nX: %u\r\n%s\r\n",
                              (unsigned)(m->fill % 1000), ttl);
}

void md_payload(const struct md_msg *m, uint8_t *out)
{
    struct prng p = {m->fill};
    for (uint32_t i = 0; i < m->data_len; i += 8) {
        uint64_t v = m->fill % 3 == 0 ? m->fill : prng_next(&p); /* some compress */
        memcpy(out + i, &v, m->data_len - i < 8 ? m->data_len - i : 8);
    }
}

uint32_t md_size(const struct md_stream *s, const struct md_msg *m)
{
    char hdr[MD_HDR_MAX];
    size_t subject_len = strlen(md_subject(m->subject));
    return s->cfg.storage == STORAGE_MEMORY
               ? (uint32_t)msg_memory_size(subject_len, md_header(m, hdr), m->data_len)
               : (uint32_t)msg_logical_size(subject_len, md_header(m, hdr), m->data_len);
}

void md_event_fini(struct md_event *e)
{
    base_free(e->seqs);
    base_free(e->batch);
    base_free(e->rollups);
    if (e->cfg != NULL) {
        stream_cfg_fini(e->cfg);
        base_free(e->cfg);
    }
    if (e->ccfg != NULL) {
        cons_cfg_fini(e->ccfg);
        base_free(e->ccfg);
    }
    memset(e, 0, sizeof *e);
}

/* --- stream ----------------------------------------------------------------------------------- */

void md_init(struct md_stream *s)
{
    memset(s, 0, sizeof *s);
    stream_cfg_init(&s->cfg);
    s->first_seq = s->first_made = 1;
}

static void cons_destroy(struct md_cons *c)
{
    cons_cfg_fini(&c->cfg);
    base_free(c->pend);
    base_free(c->consumed);
    base_free(c);
}

void md_fini(struct md_stream *s)
{
    for (size_t i = 0; i < s->ncons; i++) {
        cons_destroy(s->cons[i]);
    }
    base_free(s->cons);
    base_free(s->m);
    base_free(s->dedup);
    stream_cfg_fini(&s->cfg);
    memset(s, 0, sizeof *s);
}

struct md_msg *md_find(struct md_stream *s, uint64_t seq)
{
    return seq >= s->first_made && seq - s->first_made < s->n ? &s->m[seq - s->first_made] : NULL;
}

bool md_live(struct md_stream *s, uint64_t seq)
{
    const struct md_msg *m = md_find(s, seq);
    return m != NULL && m->live;
}

static void set_first(struct md_stream *s)
{
    uint64_t seq = s->first_seq > s->first_made ? s->first_seq : s->first_made;
    while (seq <= s->last_seq && !md_live(s, seq)) {
        seq++;
    }
    s->first_seq = seq;
}

static void settle(struct md_cons *c, struct md_pend *p);

static void kill(struct md_stream *s, struct md_msg *m, uint32_t except)
{
    if (!m->live) {
        return;
    }
    m->live = false;
    s->msgs--;
    s->bytes -= m->size;
    for (size_t i = 0; i < s->ncons && !s->replay; i++) {
        struct md_cons *c = s->cons[i];
        struct md_pend *p = c->uid != except && m->seq < c->next_seq ? md_pend(c, m->seq) : NULL;
        if (p != NULL) {
            settle(c, p);
        }
    }
}

/* A purge by request moves consumers up to the new first sequence, as upstream's do. */
static void purged(struct md_stream *s, struct md_cons *c, uint64_t first_seq)
{
    bool settled = c->npend == 0 && md_num_pending(s, c) == 0 &&
                   c->floor_sseq == c->delivered_sseq && c->floor_cseq == c->delivered_cseq;
    if (settled && c->delivered_sseq + 1 >= first_seq) {
        return;
    }
    while (c->npend > 0 && c->pend[0].sseq < first_seq) {
        c->floor_cseq = c->pend[0].cseq > c->floor_cseq ? c->pend[0].cseq : c->floor_cseq;
        memmove(c->pend, c->pend + 1, --c->npend * sizeof *c->pend);
    }
    c->delivered_sseq = u64_max(c->delivered_sseq, first_seq - 1);
    c->next_seq = u64_max(c->next_seq, c->delivered_sseq + 1);
    c->floor_sseq = u64_max(c->floor_sseq, first_seq - 1);
    if (md_nack(c) == 0) {
        c->floor_cseq = c->delivered_cseq;
        c->floor_sseq = c->delivered_sseq;
    }
}

void md_purged_all(struct md_stream *s, const char *filter)
{
    size_t len = strlen(filter);
    bool all = strcmp(filter, ">") == 0;
    uint64_t left = s->last_seq + 1;
    for (size_t i = s->n; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        const char *name = md_subject(s->m[i].subject);
        left = s->m[i].live && subject_match(name, strlen(name), filter, len) ? s->m[i].seq : left;
    }
    for (size_t i = 0; i < s->ncons; i++) {
        struct md_cons *c = s->cons[i];
        bool within = c->cfg.nfilters > 0 && !all, touched = c->cfg.nfilters == 0 || all;
        for (size_t k = 0; k < c->cfg.nfilters; k++) {
            const char *own = c->cfg.filters[k];
            within = within && subject_subset(own, strlen(own), filter, len);
            touched = touched || subject_overlap(own, strlen(own), filter, len);
        }
        if (touched) {
            purged(s, c, within ? left : s->first_seq);
        }
    }
}

static void room(struct md_stream *s)
{
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->m = base_realloc(s->m, s->cap * sizeof *s->m);
    }
}

/* A purge beyond the end: the sequences between were never used. */
static void skip_to(struct md_stream *s, uint64_t next_seq)
{
    while (s->last_seq + 1 < next_seq) {
        s->last_seq++;
        if (s->n > 0) {
            room(s);
            s->m[s->n++] = (struct md_msg){.seq = s->last_seq};
        }
    }
}

static void apply_floor(struct md_stream *s, uint64_t floor)
{
    if (floor <= s->first_seq) {
        return;
    }
    bool all = floor > s->last_seq;
    for (uint64_t seq = s->first_seq; seq < floor && seq <= s->last_seq; seq++) {
        if (md_live(s, seq)) {
            struct md_msg *m = md_find(s, seq);
            if (all) {
                m->live = false; /* consumers hear of it as a whole */
                s->msgs--;
                s->bytes -= m->size;
            } else {
                kill(s, m, 0);
            }
        }
    }
    skip_to(s, floor);
    s->first_seq = floor;
    set_first(s);
    for (size_t i = 0; i < s->ncons && all && !s->replay; i++) {
        while (s->cons[i]->npend > 0) {
            settle(s->cons[i], &s->cons[i]->pend[0]);
        }
    }
}

static void note_id(struct md_stream *s, const struct md_msg *m)
{
    s->last_id = m->id;
    if (m->id == 0 || s->cfg.duplicates_ns <= 0) {
        return;
    }
    if (s->ndedup == s->dedup_cap) {
        s->dedup_cap = s->dedup_cap == 0 ? 32 : s->dedup_cap * 2;
        s->dedup = base_realloc(s->dedup, s->dedup_cap * sizeof *s->dedup);
    }
    s->dedup[s->ndedup++] = (struct md_dedup){m->id, m->seq, m->ts_ns};
}

static bool over(int64_t limit, uint64_t v)
{
    return limit > 0 && v > (uint64_t)limit;
}

/* An interest stream keeps only what some consumer's filter matches. */
static bool nobody(const struct md_stream *s, uint32_t subject)
{
    for (size_t i = 0; i < s->ncons; i++) {
        if (md_matches(s->cons[i], subject)) {
            return false;
        }
    }
    return s->cfg.retention == RETENTION_INTEREST;
}

bool md_unwanted_subject(const struct md_stream *s, uint32_t subject)
{
    return nobody(s, subject);
}

int64_t md_due(const struct md_stream *s, const struct md_msg *m)
{
    int64_t due = INT64_MAX;
    if (s->cfg.max_age_ns > 0 && m->ttl_s >= 0) {
        due = m->ts_ns + s->cfg.max_age_ns;
    }
    if (s->cfg.allow_msg_ttl && m->ttl_s > 0) {
        int64_t ttl = m->ts_ns + m->ttl_s * NS_PER_S;
        due = ttl < due ? ttl : due;
    }
    return due;
}

static void keep_newest(struct md_stream *s, uint32_t subject, uint64_t keep)
{
    uint64_t have = 0;
    for (size_t i = keep != UINT64_MAX ? s->n : 0; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        if (s->m[i].live && s->m[i].subject == subject && ++have > keep) {
            kill(s, &s->m[i], 0);
        }
    }
}

/* A roll-up: of its subject, or of all that a subject with wildcards matches. */
static void keep_last(struct md_stream *s, const struct md_msg *m)
{
    const char *filter = md_subject(m->subject);
    for (size_t i = s->n - 1; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        const char *name = md_subject(s->m[i].subject);
        bool match = m->subject >= MD_DRAWN && !m->marker
                         ? subject_match(name, strlen(name), filter, strlen(filter))
                         : s->m[i].subject == m->subject;
        if (s->m[i].live && match) {
            kill(s, &s->m[i], 0);
        }
    }
}

static void apply_append(struct md_stream *s, const struct md_event *e)
{
    const struct stream_cfg *cfg = &s->cfg;
    bool unwanted = nobody(s, e->msg.subject);
    skip_to(s, e->msg.seq); /* a copy may leave a gap */
    room(s);
    if (s->n == 0) {
        s->first_made = e->msg.seq;
    }
    ASSERT(e->msg.seq == s->first_made + s->n);
    s->m[s->n++] = e->msg;
    struct md_msg *m = &s->m[s->n - 1];
    uint64_t msgs_before = s->msgs, last_before = s->last_seq, floor = 0;
    m->live = true;
    s->last_seq = m->seq;
    s->msgs++;
    s->bytes += m->size;
    s->last_ts_ns = i64_max(s->last_ts_ns, m->ts_ns);
    if (unwanted) {
        if (msgs_before == 0 || e->rollup == 2) {
            apply_floor(s, m->seq + 1);
        } else {
            if (e->rollup == 1) {
                keep_last(s, m);
            }
            kill(s, m, 0);
        }
        if (e->fired != 0) {
            keep_newest(s, e->fired - 1, 0);
        }
        set_first(s);
        note_id(s, &s->m[s->n - 1]);
        return;
    }
    /* Per subject first, then the front, a rollup on top. */
    bool limited = cfg->max_msgs_per_subject > 0 && e->rollup != 2; /* that one takes them all */
    keep_newest(s, m->subject, limited ? (uint64_t)cfg->max_msgs_per_subject : UINT64_MAX);
    if (cfg->discard == DISCARD_OLD) {
        uint64_t msgs = s->msgs, bytes = s->bytes, seq = s->first_seq;
        while (over(cfg->max_msgs, msgs) || over(cfg->max_bytes, bytes)) {
            while (!md_live(s, seq)) {
                seq++;
            }
            msgs--;
            bytes -= md_find(s, seq)->size;
            seq++;
            floor = seq;
        }
    }
    floor = e->rollup == 2 ? u64_max(floor, last_before + 1) : floor;
    if (e->rollup == 1) {
        keep_last(s, m);
    }
    if (e->fired != 0) {
        keep_newest(s, e->fired - 1, 0);
    }
    if (floor != 0) {
        apply_floor(s, floor);
    }
    set_first(s);
    note_id(s, &s->m[s->n - 1]);
}

static void set_cfg(struct md_stream *s, const struct stream_cfg *cfg)
{
    stream_cfg_fini(&s->cfg);
    stream_cfg_copy(&s->cfg, cfg);
}

static void cons_add(struct md_stream *s, const struct md_event *e)
{
    struct md_cons *c = base_calloc(1, sizeof *c);
    c->uid = e->cons_uid;
    cons_cfg_copy(&c->cfg, e->ccfg);
    size_t at = 0;
    while (at < s->ncons && strcmp(s->cons[at]->cfg.name, c->cfg.name) < 0) {
        at++;
    }
    s->cons = base_realloc(s->cons, (s->ncons + 1) * sizeof(struct md_cons *));
    memmove(s->cons + at + 1, s->cons + at, (s->ncons - at) * sizeof(struct md_cons *));
    s->cons[at] = c;
    s->ncons++;
    md_position(s, c);
}

static void cons_remove(struct md_stream *s, uint32_t uid)
{
    for (size_t i = 0; i < s->ncons; i++) {
        if (s->cons[i]->uid == uid) {
            cons_destroy(s->cons[i]);
            memmove(s->cons + i, s->cons + i + 1, (s->ncons - i - 1) * sizeof(struct md_cons *));
            s->ncons--;
            return;
        }
    }
}

static void apply_batch(struct md_stream *s, const struct md_event *e)
{
    for (size_t i = 0; i < e->nbatch; i++) {
        struct md_event one = {.kind = EV_APPEND, .msg = e->batch[i], .rollup = e->rollups[i]};
        md_apply(s, &one);
    }
}

void md_apply(struct md_stream *s, const struct md_event *e)
{
    switch (e->kind) {
    case EV_CREATE:
        set_cfg(s, e->cfg);
        if (e->cfg->first_seq > 1) {
            s->last_seq = e->cfg->first_seq - 1;
            s->first_seq = s->first_made = e->cfg->first_seq;
        }
        break;
    case EV_UPDATE:
        set_cfg(s, e->cfg);
        break;
    case EV_DROP:
        break;
    case EV_SKIP:
        skip_to(s, e->floor + 1);
        set_first(s);
        break;
    case EV_APPEND:
        apply_append(s, e);
        if (e->rollup != 0 && !s->replay) {
            md_purged_all(s, e->rollup == 1 ? md_subject(e->msg.subject) : ">");
        }
        break;
    case EV_BATCH:
        apply_batch(s, e);
        break;
    case EV_REMOVE:
        for (size_t i = 0; i < e->nseqs; i++) {
            if (md_live(s, e->seqs[i])) {
                kill(s, md_find(s, e->seqs[i]), e->cons_uid);
            }
        }
        set_first(s);
        if (e->purge != NULL && !s->replay) {
            md_purged_all(s, e->purge);
        }
        break;
    case EV_FLOOR:
        apply_floor(s, e->floor);
        if (e->purge != NULL && !s->replay) {
            md_purged_all(s, e->purge);
        }
        break;
    case EV_CCREATE:
        cons_add(s, e);
        break;
    case EV_CUPDATE: {
        struct md_cons *c = md_cons(s, e->cons_uid);
        if (c != NULL) {
            struct cons_cfg copy;
            cons_cfg_copy(&copy, e->ccfg);
            bool same = c->cfg.nfilters == copy.nfilters;
            for (size_t i = 0; same && i < copy.nfilters; i++) {
                same = strcmp(c->cfg.filters[i], copy.filters[i]) == 0;
            }
            cons_cfg_fini(&c->cfg);
            c->cfg = copy;
            if (!same) {
                c->next_seq = c->delivered_sseq + 1;
            }
        }
        break;
    }
    case EV_CDROP:
        cons_remove(s, e->cons_uid);
        break;
    }
}

uint64_t md_ndeleted(const struct md_stream *s)
{
    return s->last_seq + 1 - s->first_seq - s->msgs;
}

uint64_t md_last_of(const struct md_stream *s, uint32_t subject)
{
    for (size_t i = s->n; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        if (s->m[i].live && s->m[i].subject == subject) {
            return s->m[i].seq;
        }
    }
    return 0;
}

uint64_t md_nsubjects(const struct md_stream *s)
{
    bool seen[MD_SUBJECTS] = {false};
    uint64_t n = 0;
    for (size_t i = s->n; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        if (s->m[i].live && !seen[s->m[i].subject]) {
            seen[s->m[i].subject] = true;
            n++;
        }
    }
    return n;
}

enum append_verdict md_verdict(struct md_stream *s, const struct store_append *a,
                               const struct md_msg *m, int64_t now_ns, uint64_t *seq_out)
{
    const struct stream_cfg *cfg = &s->cfg;
    if (a->has_expected_last_subj_seq && a->expected_last_subj_seq != md_last_of(s, m->subject)) {
        *seq_out = md_last_of(s, m->subject);
        return APPEND_WRONG_LAST_SUBJ_SEQ;
    }
    if (a->has_expected_last_seq && a->expected_last_seq != s->last_seq) {
        *seq_out = s->last_seq;
        return APPEND_WRONG_LAST_SEQ;
    }
    if (m->id != 0 && cfg->duplicates_ns > 0) {
        for (size_t i = s->ndedup; i-- > 0;) {
            if (s->dedup[i].id == m->id && s->dedup[i].ts_ns > now_ns - cfg->duplicates_ns) {
                *seq_out = s->dedup[i].seq;
                return APPEND_DUPLICATE;
            }
        }
    }
    if (a->rollup != 0 && !cfg->allow_rollup) {
        return APPEND_ROLLUP_DENIED;
    }
    if (cfg->max_msg_size >= 0 &&
        (uint64_t)a->hdr_len + a->data_len > (uint64_t)cfg->max_msg_size) {
        return APPEND_MSG_TOO_BIG;
    }
    if (nobody(s, m->subject)) {
        return APPEND_STORED;
    }
    uint64_t have = 0;
    const struct md_msg *oldest = NULL; /* of the subject */
    for (size_t i = s->n; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        if (s->m[i].live && s->m[i].subject == m->subject) {
            have++;
            oldest = &s->m[i];
        }
    }
    bool replaces = cfg->max_msgs_per_subject > 0 && have >= (uint64_t)cfg->max_msgs_per_subject;
    if (cfg->discard != DISCARD_NEW) {
        return APPEND_STORED;
    }
    if (a->rollup == 0 && replaces && cfg->discard_new_per_subject) {
        return APPEND_MAX_MSGS_PER_SUBJECT;
    }
    if (over(cfg->max_msgs, s->msgs + 1) && !replaces) {
        return APPEND_MAX_MSGS;
    }
    if (over(cfg->max_bytes, s->bytes + m->size) && (!replaces || oldest->size < m->size)) {
        return APPEND_MAX_BYTES;
    }
    return APPEND_STORED;
}

/* Messages of the batch before i on m[i]'s subject. */
static uint64_t before_in_batch(const struct md_msg *m, size_t i)
{
    uint64_t n = 0;
    for (size_t k = 0; k < i; k++) {
        n += m[k].subject == m[i].subject;
    }
    return n;
}

static uint64_t live_of(const struct md_stream *s, uint32_t subject)
{
    uint64_t n = 0;
    for (size_t i = s->n; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        n += s->m[i].live && s->m[i].subject == subject;
    }
    return n;
}

static bool known_id(const struct md_stream *s, const struct md_msg *m, size_t i, int64_t now_ns,
                     uint64_t *seq_out)
{
    *seq_out = 0;
    if (m[i].id == 0 || s->cfg.duplicates_ns <= 0) {
        return false;
    }
    for (size_t k = s->ndedup; k-- > 0;) {
        if (s->dedup[k].id == m[i].id && s->dedup[k].ts_ns > now_ns - s->cfg.duplicates_ns) {
            *seq_out = s->dedup[k].seq;
            return true;
        }
    }
    for (size_t k = 0; k < i; k++) {
        if (m[k].id == m[i].id) {
            return true;
        }
    }
    return false;
}

enum append_verdict md_batch_verdict(struct md_stream *s, const struct store_append *a,
                                     const struct md_msg *m, size_t n, int64_t now_ns,
                                     uint64_t *seq_out)
{
    const struct stream_cfg *cfg = &s->cfg;
    uint64_t bytes = s->bytes;
    for (size_t i = 0; i < n; i++) {
        uint64_t earlier = before_in_batch(m, i), last = md_last_of(s, m[i].subject);
        bytes += m[i].size;
        if (known_id(s, m, i, now_ns, seq_out)) {
            return APPEND_DUPLICATE;
        }
        if (a[i].has_expected_last_seq && a[i].expected_last_seq != s->last_seq + i) {
            *seq_out = s->last_seq + i;
            return APPEND_WRONG_LAST_SEQ;
        }
        if ((a[i].has_expected_last_seq && i > 0) ||
            (a[i].has_expected_last_subj_seq && earlier > 0)) {
            return APPEND_WRONG_LAST_CONSTANT;
        }
        if (a[i].has_expected_last_subj_seq && a[i].expected_last_subj_seq != last) {
            *seq_out = last;
            return APPEND_WRONG_LAST_SUBJ_SEQ;
        }
        if (cfg->max_msg_size >= 0 && a[i].hdr_len + a[i].data_len > (uint32_t)cfg->max_msg_size) {
            return APPEND_MSG_TOO_BIG;
        }
        if (a[i].rollup == 1 && earlier > 0) {
            return APPEND_ROLLUP_BATCH_SUB;
        }
        if (a[i].rollup == 2 && i > 0) {
            return APPEND_ROLLUP_BATCH_ALL;
        }
        if (cfg->discard != DISCARD_NEW) {
            continue;
        }
        if (over(cfg->max_msgs, s->msgs + i + 1)) {
            return APPEND_MAX_MSGS;
        }
        if (over(cfg->max_bytes, bytes)) {
            return APPEND_MAX_BYTES;
        }
        if (cfg->discard_new_per_subject && a[i].rollup == 0 &&
            over(cfg->max_msgs_per_subject, live_of(s, m[i].subject) + earlier + 1)) {
            return APPEND_MAX_MSGS_PER_SUBJECT;
        }
    }
    return APPEND_STORED;
}

bool md_scheduled(const struct md_stream *s, uint32_t subject)
{
    uint64_t last = md_last_of(s, subject);
    return last != 0 && s->m[last - s->first_made].sched;
}

/* --- consumers -------------------------------------------------------------------------------- */

struct md_cons *md_cons(struct md_stream *s, uint32_t uid)
{
    for (size_t i = 0; i < s->ncons; i++) {
        if (s->cons[i]->uid == uid) {
            return s->cons[i];
        }
    }
    return NULL;
}

struct md_cons *md_cons_by_name(struct md_stream *s, const char *name)
{
    for (size_t i = 0; i < s->ncons; i++) {
        if (strcmp(s->cons[i]->cfg.name, name) == 0) {
            return s->cons[i];
        }
    }
    return NULL;
}

bool md_matches(const struct md_cons *c, uint32_t subject)
{
    const char *name = md_subject(subject);
    for (size_t i = 0; i < c->cfg.nfilters; i++) {
        if (subject_match(name, strlen(name), c->cfg.filters[i], strlen(c->cfg.filters[i]))) {
            return true;
        }
    }
    return c->cfg.nfilters == 0;
}

/* Up to lps_resume only the newest message of each subject counts. */
static bool newest_of_subject(const struct md_stream *s, const struct md_msg *m, uint64_t upto)
{
    for (size_t i = s->n; i-- > 0 && s->m[i].seq > m->seq;) {
        if (s->m[i].live && s->m[i].seq <= upto && s->m[i].subject == m->subject) {
            return false;
        }
    }
    return true;
}

static bool wants_new(const struct md_stream *s, const struct md_cons *c, const struct md_msg *m)
{
    return m->live && m->seq >= c->next_seq && md_matches(c, m->subject) &&
           (m->seq > c->lps_resume || newest_of_subject(s, m, c->lps_resume));
}

void md_position(struct md_stream *s, struct md_cons *c)
{
    uint64_t start = s->first_seq;
    c->lps_resume = 0;
    switch (c->cfg.deliver) {
    case DELIVER_LAST:
        start = c->cfg.nfilters > 0 ? 0 : s->last_seq;
        for (uint32_t i = 0; i < MD_SUBJECTS && c->cfg.nfilters > 0; i++) {
            start = md_matches(c, i) ? u64_max(start, md_last_of(s, i)) : start;
        }
        break;
    case DELIVER_NEW:
        start = s->last_seq + 1;
        break;
    case DELIVER_BY_START_SEQ:
        start = c->cfg.opt_start_seq;
        break;
    case DELIVER_LAST_PER_SUBJECT:
        c->next_seq = s->first_seq;
        c->lps_resume = s->last_seq;
        start = md_next(s, c);
        if (start == 0) {
            c->lps_resume = 0;
            start = u64_max(s->last_seq, s->first_seq);
        }
        break;
    default:
        break;
    }
    start = u64_max(start, u64_max(s->first_seq, 1));
    c->next_seq = start;
    c->delivered_cseq = c->floor_cseq = 0;
    c->delivered_sseq = c->floor_sseq = start - 1;
}

uint64_t md_num_pending(struct md_stream *s, struct md_cons *c)
{
    uint64_t n = 0;
    for (size_t i = s->n; i-- > 0 && s->m[i].seq >= c->next_seq;) {
        n += wants_new(s, c, &s->m[i]);
    }
    return n;
}

uint64_t md_next(struct md_stream *s, struct md_cons *c)
{
    for (size_t i = 0; i < s->n; i++) {
        if (wants_new(s, c, &s->m[i])) {
            return s->m[i].seq;
        }
    }
    return 0;
}

struct md_pend *md_pend(struct md_cons *c, uint64_t sseq)
{
    for (size_t i = 0; i < c->npend; i++) {
        if (c->pend[i].sseq == sseq) {
            return &c->pend[i];
        }
    }
    return NULL;
}

uint64_t md_nack(const struct md_cons *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->npend; i++) {
        n += !c->pend[i].exhausted;
    }
    return n;
}

uint64_t md_nredelivered(const struct md_cons *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->npend; i++) {
        n += c->pend[i].dcount > 1;
    }
    return n;
}

static int64_t wait_ns(const struct md_cons *c, uint32_t dcount)
{
    if (c->cfg.nbackoff > 0) {
        size_t i = dcount - 1 < c->cfg.nbackoff ? dcount - 1 : c->cfg.nbackoff - 1;
        return c->cfg.backoff_ns[i];
    }
    return c->cfg.ack_wait_ns > 0 ? c->cfg.ack_wait_ns : INT64_MAX / 2;
}

static void consume(struct md_stream *s, struct md_cons *c, uint64_t sseq)
{
    if (s->cfg.retention == RETENTION_LIMITS) {
        return;
    }
    if (c->nconsumed == c->consumed_cap) {
        c->consumed_cap = c->consumed_cap == 0 ? 16 : c->consumed_cap * 2;
        c->consumed = base_realloc(c->consumed, c->consumed_cap * sizeof *c->consumed);
    }
    c->consumed[c->nconsumed++] = sseq;
}

void md_take(struct md_stream *s, struct md_cons *c, uint64_t sseq, bool again, int64_t boot_ns)
{
    c->delivered_cseq++;
    if (again) {
        struct md_pend *p = md_pend(c, sseq);
        ASSERT(p != NULL);
        p->due = false;
        p->dcount++;
        p->deadline_ns = boot_ns + wait_ns(c, p->dcount);
        return;
    }
    c->next_seq = sseq + 1;
    c->delivered_sseq = sseq;
    if (c->cfg.ack == ACK_NONE) {
        c->floor_cseq = c->delivered_cseq;
        c->floor_sseq = sseq;
        consume(s, c, sseq);
        return;
    }
    if (c->npend == c->pend_cap) {
        c->pend_cap = c->pend_cap == 0 ? 16 : c->pend_cap * 2;
        c->pend = base_realloc(c->pend, c->pend_cap * sizeof *c->pend);
    }
    c->pend[c->npend++] = (struct md_pend){.sseq = sseq,
                                           .cseq = c->delivered_cseq,
                                           .dcount = 1,
                                           .deadline_ns = boot_ns + wait_ns(c, 1)};
}

/* The floor follows an ack of the oldest pending message, and jumps to `delivered` when nothing is
 * pending. */
static void settle(struct md_cons *c, struct md_pend *p)
{
    uint64_t sseq = p->sseq, cseq = p->cseq;
    bool counted = !p->exhausted;
    size_t i = (size_t)(p - c->pend);
    memmove(c->pend + i, c->pend + i + 1, (c->npend - i - 1) * sizeof *c->pend);
    c->npend--;
    if (!counted) {
        return;
    }
    if (md_nack(c) == 0) {
        c->floor_cseq = c->delivered_cseq;
        c->floor_sseq = c->delivered_sseq;
    } else if (cseq == c->floor_cseq + 1) {
        const struct md_pend *low = NULL;
        for (i = 0; i < c->npend && low == NULL; i++) {
            low = c->pend[i].sseq > sseq && !c->pend[i].exhausted ? &c->pend[i] : NULL;
        }
        c->floor_cseq = low != NULL ? low->cseq - 1 : cseq;
        c->floor_sseq = low != NULL ? low->sseq - 1 : sseq;
    }
}

enum st md_ack(struct md_stream *s, struct md_cons *c, enum cons_ack_kind kind, uint64_t sseq,
               uint64_t cseq, int64_t delay_ns, int64_t boot_ns)
{
    if (sseq == 0 || sseq > c->delivered_sseq) {
        return ST_INVALID;
    }
    struct md_pend *p = md_pend(c, sseq);
    if (c->cfg.ack == ACK_NONE) {
        return ST_NOTFOUND;
    }
    if (kind == CONS_NAK || kind == CONS_PROGRESS) {
        if (p == NULL || p->exhausted) {
            return ST_NOTFOUND;
        }
        if (kind == CONS_PROGRESS) {
            p->deadline_ns = boot_ns + wait_ns(c, p->dcount);
            return ST_OK;
        }
        bool used_up = c->cfg.max_deliver > 0 && p->dcount >= (uint64_t)c->cfg.max_deliver;
        p->deadline_ns = delay_ns <= 0 ? boot_ns : boot_ns + delay_ns;
        p->due = delay_ns > 0 ? false : p->due || !used_up;
        return ST_OK;
    }
    if (c->cfg.ack == ACK_ALL) {
        if (sseq <= c->floor_sseq) {
            return ST_NOTFOUND;
        }
        uint64_t floor_cseq = u64_min(u64_max(c->floor_cseq, cseq), c->delivered_cseq);
        while (c->npend > 0 && c->pend[0].sseq <= sseq) {
            consume(s, c, c->pend[0].sseq);
            settle(c, &c->pend[0]);
        }
        c->floor_sseq = sseq;
        c->floor_cseq = floor_cseq;
        return ST_OK;
    }
    if (p != NULL) {
        settle(c, p);
        consume(s, c, sseq);
        return ST_OK;
    }
    if (s->cfg.retention == RETENTION_WORKQUEUE && md_live(s, sseq) &&
        md_matches(c, md_find(s, sseq)->subject)) {
        consume(s, c, sseq);
        return ST_OK;
    }
    return ST_NOTFOUND;
}

void md_reset(struct md_cons *c, uint64_t seq)
{
    uint64_t at = seq != 0 ? seq - 1 : c->floor_sseq;
    c->npend = 0;
    c->delivered_cseq = c->floor_cseq = 0;
    c->delivered_sseq = c->floor_sseq = at;
    c->next_seq = at + 1;
    c->lps_resume = 0;
}

void md_scan(struct md_cons *c, int64_t boot_ns)
{
    for (size_t i = 0; i < c->npend; i++) {
        struct md_pend *p = &c->pend[i];
        if (p->due || p->exhausted || p->deadline_ns > boot_ns) {
            continue;
        }
        if (c->cfg.max_deliver > 0 && p->dcount >= (uint64_t)c->cfg.max_deliver) {
            p->exhausted = true;
        } else {
            p->due = true;
        }
    }
}

static bool wants(const struct md_stream *s, const struct md_cons *c, const struct md_msg *m)
{
    ASSERT(m != NULL);
    if (m->seq >= c->next_seq) {
        return wants_new(s, c, m);
    }
    for (size_t i = 0; i < c->npend; i++) {
        if (c->pend[i].sseq == m->seq) {
            return !c->pend[i].exhausted || s->cfg.retention == RETENTION_WORKQUEUE;
        }
    }
    return false;
}

bool md_wanted(const struct md_stream *s, const struct md_msg *m, int64_t boot_ns)
{
    for (size_t i = 0; i < s->ncons; i++) {
        const struct md_cons *c = s->cons[i];
        bool worn = false;
        for (size_t k = 0; k < c->npend; k++) {
            const struct md_pend *p = &c->pend[k];
            worn = worn || (p->sseq == m->seq && p->deadline_ns <= boot_ns &&
                            c->cfg.max_deliver > 0 && p->dcount >= (uint64_t)c->cfg.max_deliver);
        }
        if (!worn && wants(s, c, m)) {
            return true;
        }
    }
    return false;
}

/* A consumer has had it, and none wants it any more. */
static bool settled(const struct md_stream *s, const struct md_msg *m)
{
    bool had = false;
    for (size_t i = 0; i < s->ncons; i++) {
        if (wants(s, s->cons[i], m)) {
            return false;
        }
        had = had || (m->seq < s->cons[i]->next_seq && md_matches(s->cons[i], m->subject));
    }
    return had;
}

void md_shrink(struct md_stream *s, bool to_interest, uint64_t *floor_out, uint64_t **seqs_out,
               size_t *n_out)
{
    uint64_t msgs = s->msgs, bytes = s->bytes, floor = 0;
    for (uint64_t seq = s->first_seq;
         s->cfg.discard == DISCARD_OLD && seq <= s->last_seq &&
         (over(s->cfg.max_msgs, msgs) || over(s->cfg.max_bytes, bytes));
         seq++) {
        if (md_live(s, seq)) {
            msgs--;
            bytes -= md_find(s, seq)->size;
            floor = seq + 1;
        }
    }
    *floor_out = floor;
    *seqs_out = NULL;
    *n_out = 0;
    uint64_t have[MD_SUBJECTS] = {0};
    for (size_t i = s->n; i-- > 0 && s->m[i].seq >= s->first_seq;) {
        const struct md_msg *m = &s->m[i];
        bool gone = m->live && over(s->cfg.max_msgs_per_subject, ++have[m->subject]);
        if (m->live && m->seq >= floor && (gone || (to_interest && settled(s, m)))) {
            *seqs_out = base_realloc(*seqs_out, (*n_out + 1) * sizeof **seqs_out);
            (*seqs_out)[(*n_out)++] = m->seq;
        }
    }
}

/* Who is done with a message must ask the others. */
static bool shared(const struct md_stream *s)
{
    bool is = s->cfg.retention == RETENTION_INTEREST;
    for (size_t i = 0; i < s->ncons && s->cfg.retention == RETENTION_WORKQUEUE; i++) {
        is = is || s->cons[i]->cfg.sourcing;
    }
    return is;
}

size_t md_take_consumed(struct md_stream *s, struct md_cons *c, uint64_t **seqs_out)
{
    size_t n = 0;
    *seqs_out = NULL;
    for (size_t i = 0; i < c->nconsumed; i++) {
        const struct md_msg *m = md_find(s, c->consumed[i]);
        bool wanted = m == NULL || !m->live;
        for (size_t k = 0; k < s->ncons && !wanted && shared(s); k++) {
            wanted = s->cons[k] != c && wants(s, s->cons[k], m);
        }
        if (!wanted) {
            *seqs_out = base_realloc(*seqs_out, (n + 1) * sizeof **seqs_out);
            (*seqs_out)[n++] = c->consumed[i];
        }
    }
    c->nconsumed = 0;
    return n;
}

size_t md_unwanted(struct md_stream *s, uint64_t *floor_out, uint64_t **seqs_out)
{
    size_t n = 0;
    *seqs_out = NULL;
    *floor_out = 0;
    if (s->cfg.retention != RETENTION_INTEREST || s->msgs == 0) {
        return 0;
    }
    if (s->ncons == 0) {
        *floor_out = s->last_seq + 1;
        return 0;
    }
    for (size_t i = 0; i < s->n; i++) {
        bool wanted = !s->m[i].live;
        for (size_t k = 0; k < s->ncons && !wanted; k++) {
            wanted = wants(s, s->cons[k], &s->m[i]);
        }
        if (!wanted) {
            *seqs_out = base_realloc(*seqs_out, (n + 1) * sizeof **seqs_out);
            (*seqs_out)[n++] = s->m[i].seq;
        }
    }
    return n;
}
