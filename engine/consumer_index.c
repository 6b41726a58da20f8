/* Whom a message concerns: a stream with thousands of consumers of a few subjects each (watchers of
 * keys) must not ask all of them about every message.
 *
 * Consumers with filters stand in a filter_index. Those that want everything, and those that may
 * hold messages which their filters do not match (`odd`: the filters were changed), stand in a
 * list and are asked always. While there are few consumers, asking all is cheaper: a message then
 * costs them nothing when many become visible at once. */
#include "engine/base/subject.h"
#include "engine/consumer_impl.h"
#include "engine/eng.h"
#include "engine/filter_index.h"

struct cons_index {
    struct filter_index filters;
    struct store_cons **wide; /* owned array of borrowed */
    size_t nwide, wide_cap;
    uint64_t indexed; /* consumers in `filters` */
    uint64_t round;   /* of cons_tell_removed */
};

static bool few(const struct store_stream *s)
{
    return s->ncons < s->eng->opts.few_consumers;
}

static bool is_wide(const struct store_cons *c)
{
    return c->nfilters == 0 || c->odd;
}

void cons_index_add(struct store_cons *c)
{
    struct cons_index *x = c->s->cons_index;
    if (x == NULL) {
        x = c->s->cons_index = base_calloc(1, sizeof *x);
        filter_index_init(&x->filters, c->s->id_seed);
    }
    c->round = x->round;
    c->wide = is_wide(c);
    if (!c->wide) {
        x->indexed++;
        for (size_t i = 0; i < c->nfilters; i++) {
            filter_index_add(&x->filters, c->filters[i].s, c->filters[i].len, c);
        }
        return;
    }
    if (x->nwide == x->wide_cap) {
        x->wide_cap = x->wide_cap == 0 ? 4 : x->wide_cap * 2;
        x->wide = base_realloc(x->wide, x->wide_cap * sizeof *x->wide);
    }
    c->wide_at = x->nwide;
    x->wide[x->nwide++] = c;
}

void cons_index_remove(struct store_cons *c)
{
    struct cons_index *x = c->s->cons_index;
    if (!c->wide) {
        x->indexed--;
        for (size_t i = 0; i < c->nfilters; i++) {
            filter_index_remove(&x->filters, c->filters[i].s, c->filters[i].len, c);
        }
    } else {
        ASSERT(x->wide[c->wide_at] == c);
        x->wide[c->wide_at] = x->wide[--x->nwide];
        x->wide[c->wide_at]->wide_at = c->wide_at;
    }
    if (x->nwide + x->indexed == 0) {
        filter_index_fini(&x->filters);
        base_free(x->wide);
        base_free(x);
        c->s->cons_index = NULL;
    }
}

void cons_distrust(struct store_cons *c)
{
    cons_index_remove(c);
    c->odd = true;
    cons_index_add(c);
}

/* fn for all consumers that a message with this subject may concern; those with two filters that
 * match it twice. False: fn ended it. */
static bool each_concerned(const struct store_stream *s, const struct sidx_entry *e,
                           filter_index_fn fn, void *arg)
{
    const struct cons_index *x = s->cons_index;
    bool all = few(s);
    struct store_cons *const *v = all ? s->cons : x->wide;
    size_t n = all ? s->ncons : x->nwide, len;
    for (size_t i = 0; i < n; i++) {
        if (!fn(arg, v[i])) {
            return false;
        }
    }
    if (all || x->indexed == 0 || e == NULL) {
        return true;
    }
    const char *subject = sidx_subject(e, &len);
    return filter_index_match(&x->filters, subject, len, fn, arg);
}

/* --- what is asked ---------------------------------------------------------------------------- */

struct span {
    uint64_t from, to;
};

static bool on_visible(void *arg, void *c)
{
    const struct span *v = arg;
    cons_on_visible(c, v->from, v->to);
    return true;
}

void cons_tell_visible(struct store_stream *s, uint64_t from_seq, uint64_t to_seq)
{
    struct span v = {from_seq, to_seq};
    if (s->ncons == 0) {
        return;
    }
    (void)each_concerned(s, NULL, on_visible, &v);
    if (few(s) || s->cons_index->indexed == 0) {
        return;
    }
    for (uint64_t seq = liveset_next(s->live, from_seq + 1); seq != 0 && seq <= to_seq;
         seq = liveset_next(s->live, seq + 1)) {
        size_t len;
        const struct sidx_entry *e = stream_entry(s, seq);
        if (e != NULL) {
            const char *subject = sidx_subject(e, &len);
            (void)filter_index_match(&s->cons_index->filters, subject, len, on_visible, &v);
        }
    }
}

struct removal {
    uint64_t seq, round;
    const struct sidx_entry *e;
    const struct store_cons *except;
};

static bool on_remove(void *arg, void *who)
{
    const struct removal *r = arg;
    struct store_cons *c = who;
    if (c != r->except && c->round != r->round) {
        c->round = r->round;
        cons_on_remove(c, r->seq, r->e);
    }
    return true;
}

void cons_tell_removed(struct store_stream *s, uint64_t seq, const struct sidx_entry *e,
                       const struct store_cons *except)
{
    if (s->ncons > 0) {
        struct removal r = {seq, ++s->cons_index->round, e, except};
        (void)each_concerned(s, e, on_remove, &r);
    }
}

struct question {
    uint64_t seq;
    const struct sidx_entry *e;
};

static bool not_wanted(void *arg, void *c)
{
    const struct question *q = arg;
    return !cons_wants(c, q->seq, q->e);
}

bool cons_any_wants(const struct store_stream *s, uint64_t seq, const struct sidx_entry *e)
{
    struct question q = {seq, e};
    return s->ncons > 0 && !each_concerned(s, e, not_wanted, &q);
}

struct subject {
    const char *s;
    size_t len;
};

static bool no_match(void *arg, void *who)
{
    const struct subject *q = arg;
    const struct store_cons *c = who;
    bool match = c->nfilters == 0;
    for (size_t i = 0; i < c->nfilters && !match; i++) {
        match = subject_match(q->s, q->len, c->filters[i].s, c->filters[i].len);
    }
    return !match;
}

static bool found(void *arg, void *who)
{
    (void)arg, (void)who;
    return false;
}

bool cons_any_matches(const struct store_stream *s, const char *subject, size_t len)
{
    struct subject q = {subject, len};
    if (s->ncons == 0) {
        return false;
    }
    return !each_concerned(s, NULL, no_match, &q) ||
           (!few(s) && !filter_index_match(&s->cons_index->filters, subject, len, found, NULL));
}
