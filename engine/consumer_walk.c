/* Where a consumer starts, what matches it, how it finds the next message, and how many are left
 * (I13).
 *
 * Three ways to the next message: without filter, the live set; with one literal filter, the
 * subject's postings; else sequences are walked and their subjects matched, and after a run of
 * misses the index is asked for the next matches in one go (`ahead`). */
#include "engine/consumer_impl.h"

#include "engine/base/subject.h"

enum {
    WALK_MAX = 256,  /* misses in a row before the index is asked */
    AHEAD_MAX = 256, /* sequences fetched from the index at once */
};

void cons_set_filters(struct store_cons *c)
{
    base_free(c->filters);
    base_free(c->wild);
    c->filters = NULL;
    c->wild = NULL;
    c->nfilters = 0;
    c->ahead.n = c->ahead_at = 0;
    for (size_t i = 0; i < c->cfg.nfilters; i++) {
        if (strcmp(c->cfg.filters[i], ">") == 0) {
            return; /* everything */
        }
    }
    if (c->cfg.nfilters == 0) {
        return;
    }
    c->nfilters = c->cfg.nfilters;
    c->filters = base_calloc(c->nfilters, sizeof c->filters[0]);
    c->wild = base_calloc(c->nfilters, sizeof c->wild[0]);
    for (size_t i = 0; i < c->nfilters; i++) {
        const char *f = c->cfg.filters[i];
        c->filters[i] = (struct sidx_filter){f, strlen(f)};
        c->wild[i] = subject_has_wildcard(f, strlen(f));
    }
}

bool cons_matches(const struct store_cons *c, const struct sidx_entry *e)
{
    if (e == NULL) {
        return false;
    }
    if (c->nfilters == 0) {
        return true;
    }
    size_t len;
    const char *subj = sidx_subject(e, &len);
    for (size_t i = 0; i < c->nfilters; i++) {
        const struct sidx_filter *f = &c->filters[i];
        if (c->wild[i] ? subject_match(subj, len, f->s, f->len)
                       : len == f->len && memcmp(subj, f->s, len) == 0) {
            return true;
        }
    }
    return false;
}

bool cons_wants_new(const struct store_cons *c, uint64_t seq, const struct sidx_entry *e)
{
    if (seq < c->next_seq || !cons_matches(c, e)) {
        return false;
    }
    if (seq > c->lps_resume) {
        return true;
    }
    size_t i = seqs_find(&c->lps, c->lps_at, seq);
    return i < c->lps.n && c->lps.v[i] == seq;
}

/* --- positions -------------------------------------------------------------------------------- */

static uint64_t newest_match(const struct store_cons *c)
{
    uint64_t last = c->nfilters == 0 ? liveset_prev(c->s->live, c->s->last_seq) : 0;
    for (size_t i = 0; i < c->nfilters; i++) {
        last = u64_max(last, sidx_last_match(c->s->idx, c->filters[i].s, c->filters[i].len));
    }
    return last;
}

static bool lps_entry(void *arg, const struct sidx_entry *e)
{
    struct store_cons *c = arg;
    uint64_t last = sidx_prev(e, c->lps_resume);
    if (last >= c->next_seq) {
        seqs_push(&c->lps, last);
    }
    return true;
}

/* Finds the newest message of each matching subject as of lps_resume. */
static void find_lps(struct store_cons *c)
{
    c->lps.n = c->lps_at = 0;
    if (c->nfilters == 0) {
        sidx_match(c->s->idx, NULL, 0, NULL, 0, lps_entry, c);
    }
    for (size_t i = 0; i < c->nfilters; i++) {
        sidx_match(c->s->idx, c->filters[i].s, c->filters[i].len, NULL, 0, lps_entry, c);
    }
    seqs_sort(&c->lps);
}

/* Inserts into the rest of the list. */
static void lps_insert(struct store_cons *c, uint64_t seq)
{
    size_t at = seqs_find(&c->lps, c->lps_at, seq);
    seqs_push(&c->lps, seq);
    memmove(c->lps.v + at + 1, c->lps.v + at, (c->lps.n - 1 - at) * sizeof c->lps.v[0]);
    c->lps.v[at] = seq;
}

void cons_lps_replace(struct store_cons *c, uint64_t seq, const struct sidx_entry *e)
{
    uint64_t before = sidx_prev(e, seq - 1);
    if (before >= c->next_seq && before != 0) {
        lps_insert(c, before);
        c->npending += before <= c->counted_to;
    }
}

static uint64_t start_lps(struct store_cons *c)
{
    const struct store_stream *s = c->s;
    c->next_seq = s->first_seq;
    c->lps_resume = s->last_seq;
    find_lps(c);
    if (c->lps.n == 0) {
        c->lps_resume = 0;
        return u64_max(s->last_seq, s->first_seq);
    }
    return c->lps.v[0];
}

void cons_position_fresh(struct store_cons *c)
{
    struct store_stream *s = c->s;
    uint64_t start = s->first_seq;
    c->lps_resume = 0;
    switch (c->cfg.deliver) {
    case DELIVER_ALL:
        break;
    case DELIVER_LAST:
        start = c->cfg.nfilters > 0 ? newest_match(c) : s->last_seq;
        break;
    case DELIVER_NEW:
        start = s->last_seq + 1;
        break;
    case DELIVER_BY_START_SEQ:
        start = c->cfg.opt_start_seq;
        if (c->cfg.direct && start > s->last_seq) { /* a copier gets what comes next */
            start = s->last_seq + 1;
        }
        break;
    case DELIVER_BY_START_TIME:
        start = stream_seq_at_time(s, c->cfg.opt_start_time_ns);
        break;
    case DELIVER_LAST_PER_SUBJECT:
        start = start_lps(c);
        break;
    }
    start = u64_min(u64_max(start, u64_max(s->first_seq, 1)), CONS_SEQ_MAX);
    c->next_seq = start;
    c->delivered_cseq = c->floor_cseq = 0;
    c->delivered_sseq = c->floor_sseq = start - 1;
    c->positioned = true;
}

void cons_recount(struct store_cons *c)
{
    struct store_stream *s = c->s;
    c->counted_to = s->visible_seq;
    uint64_t n = 0;
    if (c->lps_resume != 0) {
        if (c->lps.n == 0) {
            find_lps(c);
        }
        for (size_t i = seqs_find(&c->lps, c->lps_at, c->next_seq); i < c->lps.n; i++) {
            n += c->lps.v[i] <= c->counted_to && liveset_is_live(s->live, c->lps.v[i]);
        }
    }
    uint64_t from = u64_max(c->next_seq, c->lps_resume + 1);
    if (c->nfilters == 0) {
        n += liveset_rank(s->live, from, c->counted_to + 1);
    } else {
        n += sidx_count_from(s->idx, c->filters, c->nfilters, from);
        for (uint64_t seq = liveset_next(s->live, u64_max(from, c->counted_to + 1)); seq != 0;
             seq = liveset_next(s->live, seq + 1)) {
            n -= cons_matches(c, stream_entry(s, seq)); /* not visible yet */
        }
    }
    c->npending = n;
}

/* --- walking ---------------------------------------------------------------------------------- */

/* The last_per_subject phase; false when it is over. */
static bool next_lps(struct store_cons *c, uint64_t *seq_out)
{
    if (c->lps_resume == 0) {
        return false;
    }
    for (; c->lps_at < c->lps.n; c->lps_at++) {
        uint64_t seq = c->lps.v[c->lps_at];
        if (seq >= c->next_seq && liveset_is_live(c->s->live, seq)) {
            *seq_out = seq;
            return true;
        }
    }
    c->next_seq = u64_max(c->next_seq, c->lps_resume + 1);
    c->lps_resume = 0;
    seqs_fini(&c->lps);
    c->lps_at = 0;
    return false;
}

/* Walks some live messages; *seq_out is the match, or 0 when there is none any more; false: too
 * many misses. */
static bool next_dense(struct store_cons *c, uint64_t *seq_out)
{
    const struct store_stream *s = c->s;
    *seq_out = 0;
    for (unsigned i = 0; i < WALK_MAX; i++) {
        uint64_t seq = liveset_next(s->live, c->next_seq);
        if (seq == 0 || seq > c->counted_to) {
            return true;
        }
        c->next_seq = seq;
        if (cons_matches(c, stream_entry(s, seq))) {
            *seq_out = seq;
            return true;
        }
        c->next_seq = seq + 1;
    }
    return false;
}

static uint64_t next_filtered(struct store_cons *c)
{
    const struct store_stream *s = c->s;
    if (c->nfilters == 1 && !c->wild[0]) {
        const struct sidx_entry *e = sidx_find(s->idx, c->filters[0].s, c->filters[0].len);
        return e != NULL ? sidx_next(e, c->next_seq) : 0;
    }
    for (;;) {
        for (; c->ahead_at < c->ahead.n; c->ahead_at++) {
            uint64_t seq = c->ahead.v[c->ahead_at];
            if (seq >= c->next_seq && liveset_is_live(s->live, seq)) {
                return seq;
            }
        }
        uint64_t seq;
        if (next_dense(c, &seq)) {
            return seq;
        }
        if (c->ahead.cap < AHEAD_MAX) {
            c->ahead.v = base_realloc(c->ahead.v, AHEAD_MAX * sizeof c->ahead.v[0]);
            c->ahead.cap = AHEAD_MAX;
        }
        c->ahead.n =
            sidx_collect(s->idx, c->filters, c->nfilters, c->next_seq, c->ahead.v, AHEAD_MAX);
        c->ahead_at = 0;
        if (c->ahead.n == 0) {
            return 0;
        }
    }
}

uint64_t cons_next_new(struct store_cons *c)
{
    if (c->npending == 0) {
        if (c->lps_resume <= c->counted_to) {
            c->next_seq = u64_max(c->next_seq, c->counted_to + 1);
        }
        return 0;
    }
    uint64_t seq;
    if (!next_lps(c, &seq)) {
        seq = c->nfilters > 0 ? next_filtered(c) : liveset_next(c->s->live, c->next_seq);
    }
    return seq <= c->counted_to ? seq : 0;
}
