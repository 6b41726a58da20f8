/* Walks over the subject index: entries that match a filter, in byte order, and what is counted or
 * collected from them.
 *
 * The filter is run as a small machine over the bytes of the path: a place in the filter, or
 * ANYTHING once `>` was met. In a literal place only one child can match, so the walk descends only
 * into branches that hold matches (a `*` visits every value of its token). The stack is explicit:
 * subjects may be as deep as they are long. */
#include "engine/subject_index_impl.h"

#include "engine/base/subject.h"

#define ANYTHING SIZE_MAX
#define NOTHING (SIZE_MAX - 1)

struct frame {
    const struct sidx_node *n;
    size_t depth;   /* of the branch byte */
    size_t pos;     /* place in the filter before the branch byte */
    unsigned from;  /* next branch byte to look at */
    bool at_cursor; /* the path equals the cursor's so far */
};
struct walk {
    const struct sidx *x;
    const char *filter;
    size_t filter_len;
    const char *after; /* NULL = no cursor */
    size_t after_len;
    struct frame *stack;
    size_t depth, cap;
    struct frame small[24];
};

static bool is_token(const struct walk *w, size_t pos, char c)
{
    return pos < w->filter_len && w->filter[pos] == c && (pos == 0 || w->filter[pos - 1] == '.') &&
           (pos + 1 == w->filter_len || w->filter[pos + 1] == '.');
}

/* Takes one byte of a subject (0 = its end); returns the next place. */
static size_t step(const struct walk *w, size_t pos, uint8_t c)
{
    if (pos == ANYTHING || is_token(w, pos, '>')) {
        return ANYTHING;
    }
    if (is_token(w, pos, '*')) {
        if (c == 0) {
            return pos + 1 == w->filter_len ? ANYTHING : NOTHING;
        }
        if (c == '.') {
            return pos + 1 < w->filter_len ? pos + 2 : NOTHING;
        }
        return pos;
    }
    if (c == 0) {
        return pos == w->filter_len ? ANYTHING : NOTHING;
    }
    return pos < w->filter_len && (uint8_t)w->filter[pos] == c ? pos + 1 : NOTHING;
}

/* True when several branch bytes may match at this place. */
static bool is_open(const struct walk *w, size_t pos)
{
    return pos == ANYTHING || is_token(w, pos, '>') || is_token(w, pos, '*');
}

static bool entry_matches(const struct walk *w, const struct sidx_entry *e, size_t depth,
                          size_t pos, bool at_cursor)
{
    if (at_cursor) {
        size_t n = u64_min(e->len, w->after_len);
        int cmp = memcmp(e->subj, w->after, n);
        if (cmp < 0 || (cmp == 0 && e->len <= w->after_len)) {
            return false;
        }
    }
    for (; depth < e->len && pos < NOTHING; depth++) {
        pos = step(w, pos, (uint8_t)e->subj[depth]);
    }
    if (pos != ANYTHING && pos != NOTHING && depth == e->len) {
        pos = step(w, pos, 0);
    }
    return pos == ANYTHING;
}

/* Enters a node whose path starts at depth; false when nothing below can match or all lies before
 * the cursor. */
static bool push(struct walk *w, const struct sidx_node *n, size_t depth, size_t pos,
                 bool at_cursor)
{
    const uint8_t *path = node_path(w->x, n, depth);
    for (size_t i = 0; i < n->plen; i++) {
        if (at_cursor) {
            uint8_t c = key_at(w->after, w->after_len, depth + i);
            if (path[i] < c) {
                return false;
            }
            at_cursor = path[i] == c;
        }
        pos = step(w, pos, path[i]);
        if (pos == NOTHING) {
            return false;
        }
    }
    if (w->depth == w->cap) {
        size_t cap = w->cap * 2;
        struct frame *old = w->stack;
        w->stack = base_malloc(cap * sizeof *w->stack);
        memcpy(w->stack, old, w->depth * sizeof *old);
        w->cap = cap;
        if (old != w->small) {
            base_free(old);
        }
    }
    depth += n->plen;
    w->stack[w->depth++] = (struct frame){
        .n = n,
        .depth = depth,
        .pos = pos,
        .from = at_cursor ? key_at(w->after, w->after_len, depth) : 0,
        .at_cursor = at_cursor,
    };
    return true;
}

static void walk_start(struct walk *w, const struct sidx *x, const char *filter, size_t len,
                       const char *after, size_t after_len)
{
    w->x = x;
    w->filter = filter == NULL ? ">" : filter;
    w->filter_len = filter == NULL ? 1 : len;
    w->after = after;
    w->after_len = after_len;
    w->stack = w->small;
    w->depth = 0;
    w->cap = ARRAY_LEN(w->small);
    if (x->root != 0 && !ref_is_entry(x->root)) {
        (void)push(w, ref_node(x, x->root), 0, 0, after != NULL);
    }
}

static void walk_end(struct walk *w)
{
    if (w->stack != w->small) {
        base_free(w->stack);
    }
}

/* The next branch of the frame that can match; 0 = none left. */
static sidx_ref next_branch(const struct walk *w, struct frame *f, uint8_t *c_out)
{
    if (f->from > 255) {
        return 0;
    }
    if (is_open(w, f->pos)) {
        sidx_ref r = node_next(f->n, f->from, c_out);
        f->from = *c_out + 1u;
        return r;
    }
    uint8_t want = key_at(w->filter, w->filter_len, f->pos);
    bool skip = want < f->from;
    f->from = 256;
    uint8_t c = 0;
    sidx_ref r = skip ? 0 : node_next(f->n, want, &c);
    *c_out = want;
    return r != 0 && c == want ? r : 0;
}

/* The next matching entry; NULL = the end. */
static const struct sidx_entry *walk_next(struct walk *w)
{
    while (w->depth > 0) {
        struct frame *f = &w->stack[w->depth - 1];
        uint8_t c = 0;
        sidx_ref r = next_branch(w, f, &c);
        if (r == 0) {
            w->depth--;
            continue;
        }
        bool at_cursor = f->at_cursor && c == key_at(w->after, w->after_len, f->depth);
        if (ref_is_entry(r)) {
            /* The entry runs the branch byte itself: at its end that byte is no byte of the
             * subject. */
            if (entry_matches(w, ref_entry(w->x, r), f->depth, f->pos, at_cursor)) {
                return ref_entry(w->x, r);
            }
            continue;
        }
        size_t pos = step(w, f->pos, c);
        if (pos != NOTHING) {
            (void)push(w, ref_node(w->x, r), f->depth + 1, pos, at_cursor);
        }
    }
    return NULL;
}

void sidx_match(const struct sidx *x, const char *filter, size_t len, const char *after,
                size_t after_len, sidx_fn fn, void *arg)
{
    struct walk w;
    walk_start(&w, x, filter, len, after, after_len);
    const struct sidx_entry *e;
    if (x->root != 0 && ref_is_entry(x->root)) {
        e = ref_entry(x, x->root);
        if (entry_matches(&w, e, 0, 0, after != NULL)) {
            (void)fn(arg, e);
        }
        return;
    }
    while ((e = walk_next(&w)) != NULL && fn(arg, e)) {
    }
    walk_end(&w);
}

/* --- several filters -------------------------------------------------------------------------- */

struct multi {
    const struct sidx_filter *filters;
    size_t at; /* filter being walked */
    sidx_fn fn;
    void *arg;
};

/* Passes an entry on unless a filter before the current one has matched it too. */
static bool multi_entry(void *arg, const struct sidx_entry *e)
{
    struct multi *m = arg;
    for (size_t i = 0; i < m->at; i++) {
        if (subject_match(e->subj, e->len, m->filters[i].s, m->filters[i].len)) {
            return true;
        }
    }
    (void)m->fn(m->arg, e);
    return true;
}

/* Calls fn once for each entry that matches any filter; what fn returns is ignored. */
static void match_any(const struct sidx *x, const struct sidx_filter *filters, size_t n, sidx_fn fn,
                      void *arg)
{
    struct multi m = {.filters = filters, .fn = fn, .arg = arg};
    if (n == 0) {
        sidx_match(x, NULL, 0, NULL, 0, multi_entry, &m);
    }
    for (; m.at < n; m.at++) {
        const struct sidx_filter *f = &filters[m.at];
        if (subject_has_wildcard(f->s, f->len)) {
            sidx_match(x, f->s, f->len, NULL, 0, multi_entry, &m);
        } else {
            const struct sidx_entry *e = sidx_find(x, f->s, f->len);
            if (e != NULL) {
                (void)multi_entry(&m, e);
            }
        }
    }
}

struct counting {
    uint64_t from, count;
};

static bool count_entry(void *arg, const struct sidx_entry *e)
{
    struct counting *c = arg;
    c->count += sidx_rank_from(e, c->from);
    return true;
}

uint64_t sidx_count_from(const struct sidx *x, const struct sidx_filter *filters, size_t n,
                         uint64_t from_seq)
{
    struct counting c = {.from = from_seq};
    match_any(x, filters, n, count_entry, &c);
    return c.count;
}

/* A max-heap of the lowest sequences found so far. */
struct collecting {
    uint64_t from;
    uint64_t *v;
    size_t n, max;
};

static void sift_down(uint64_t *v, size_t n, size_t i)
{
    for (;;) {
        size_t kid = 2 * i + 1;
        if (kid >= n) {
            return;
        }
        if (kid + 1 < n && v[kid + 1] > v[kid]) {
            kid++;
        }
        if (v[i] >= v[kid]) {
            return;
        }
        uint64_t t = v[i];
        v[i] = v[kid];
        v[kid] = t;
        i = kid;
    }
}

static void heap_push(struct collecting *c, uint64_t seq)
{
    size_t i = c->n++;
    c->v[i] = seq;
    while (i > 0 && c->v[(i - 1) / 2] < c->v[i]) {
        uint64_t t = c->v[i];
        c->v[i] = c->v[(i - 1) / 2];
        c->v[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static bool collect_entry(void *arg, const struct sidx_entry *e)
{
    struct collecting *c = arg;
    for (uint64_t seq = sidx_next(e, c->from); seq != 0; seq = sidx_next(e, seq + 1)) {
        if (c->n < c->max) {
            heap_push(c, seq);
        } else if (seq < c->v[0]) {
            c->v[0] = seq;
            sift_down(c->v, c->n, 0);
        } else {
            break;
        }
    }
    return true;
}

size_t sidx_collect(const struct sidx *x, const struct sidx_filter *filters, size_t n,
                    uint64_t from_seq, uint64_t *out, size_t max)
{
    struct collecting c = {.from = from_seq, .v = out, .max = max};
    if (max == 0) {
        return 0;
    }
    match_any(x, filters, n, collect_entry, &c);
    for (size_t left = c.n; left > 1;) { /* heap sort: the greatest goes last */
        left--;
        uint64_t t = out[0];
        out[0] = out[left];
        out[left] = t;
        sift_down(out, left, 0);
    }
    return c.n;
}

static bool last_entry(void *arg, const struct sidx_entry *e)
{
    uint64_t *last = arg;
    *last = u64_max(*last, e->last);
    return true;
}

uint64_t sidx_last_match(const struct sidx *x, const char *filter, size_t len)
{
    uint64_t last = 0;
    struct sidx_filter f = {filter, len};
    match_any(x, &f, filter == NULL ? 0 : 1, last_entry, &last);
    return last;
}

uint64_t sidx_next_match(const struct sidx *x, const char *filter, size_t len, uint64_t from_seq)
{
    uint64_t seq = 0;
    struct sidx_filter f = {filter, len};
    return sidx_collect(x, &f, filter == NULL ? 0 : 1, from_seq, &seq, 1) == 1 ? seq : 0;
}

/* --- check ------------------------------------------------------------------------------------ */

struct checking {
    const struct sidx *x;
    const struct sidx_entry *before;
    uint64_t subjects, msgs;
    bool good;
};

static bool check_entry(void *arg, const struct sidx_entry *e)
{
    struct checking *c = arg;
    const struct sidx_entry *b = c->before;
    if (b != NULL) {
        int cmp = memcmp(b->subj, e->subj, u64_min(b->len, e->len));
        c->good = c->good && (cmp < 0 || (cmp == 0 && b->len < e->len));
    }
    c->good = c->good && posts_check(e) && sidx_by_id(c->x, e->id) == e &&
              sidx_find(c->x, e->subj, e->len) == e;
    c->before = e;
    c->subjects++;
    c->msgs += sidx_count(e);
    return c->good;
}

bool sidx_check(const struct sidx *x)
{
    struct checking c = {.x = x, .good = true};
    sidx_match(x, NULL, 0, NULL, 0, check_entry, &c);
    return c.good && c.subjects == x->subjects && c.msgs == x->msgs;
}
