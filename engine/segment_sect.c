/* Reading of index sections (segment_index.h). Every bound is checked before it is used, because a
 * checksum only says that the bytes are those that were written. */
#include "engine/segment_index.h"

/* --- head, directory, totals ------------------------------------------------------------------ */

static enum st parse_parts(const uint8_t *body, size_t len, unsigned nparts, struct seg_sect *s)
{
    for (unsigned i = 0; i < nparts; i++) {
        const uint8_t *e = body + SEG_SECT_HEAD + i * SEG_PART_ENTRY;
        uint32_t type = get_u32le(e);
        uint32_t off = get_u32le(e + 4);
        uint32_t part_len = get_u32le(e + 8);
        if (type == 0 || type >= SEG_PARTS_MAX || s->part[type].p != NULL) {
            return ST_CORRUPT;
        }
        if (type > SEG_PART_TOTALS || type == SEG_PART_BLOOM) {
            continue; /* a later minor version may add parts that help; none that is needed */
        }
        if (off % 8 != 0 || off < SEG_SECT_HEAD + SEG_PARTS_MAX * SEG_PART_ENTRY || off > len ||
            part_len > len - off) {
            return ST_CORRUPT;
        }
        s->part[type].p = body + off;
        s->part[type].len = part_len;
        s->part[type].count = get_u32le(e + 12);
    }
    return ST_OK;
}

static enum st parse_totals(struct seg_sect *s)
{
    const uint8_t *p = s->part[SEG_PART_TOTALS].p;
    if (p == NULL || s->part[SEG_PART_TOTALS].len != SEG_TOTALS_SIZE) {
        return ST_CORRUPT;
    }
    s->totals = (struct seg_totals){
        .nmsgs = get_u64le(p),
        .raw_bytes = get_u64le(p + 8),
        .logical_bytes = get_u64le(p + 16),
        .first_seq = get_u64le(p + 24),
        .last_seq = get_u64le(p + 32),
        .min_ts = (int64_t)get_u64le(p + 40),
        .max_ts = (int64_t)get_u64le(p + 48),
        .min_expiry = (int64_t)get_u64le(p + 56),
        .subjects = get_u64le(p + 64),
    };
    const struct seg_totals *t = &s->totals;
    if (t->nmsgs > SEG_MSGS_MAX || t->subjects > t->nmsgs ||
        t->subjects != s->part[SEG_PART_DICT].count) {
        return ST_CORRUPT;
    }
    if (t->nmsgs == 0) {
        return t->first_seq == 0 && t->last_seq == 0 && s->ndata == 0 ? ST_OK : ST_CORRUPT;
    }
    bool ok = t->first_seq >= s->base_seq && t->last_seq >= t->first_seq &&
              t->last_seq - s->base_seq <= SEG_SPAN_MAX &&
              t->nmsgs - 1 <= t->last_seq - t->first_seq && s->ndata != 0;
    return ok ? ST_OK : ST_CORRUPT;
}

/* Blocks ascend in offset and sequence, do not overlap, and hold as many messages as the totals
 * say. */
static enum st check_bidx(const struct seg_sect *s)
{
    uint64_t msgs = 0;
    uint64_t end = 0;
    uint64_t next_seq = s->totals.first_seq;
    struct seg_bidx_disk e;
    for (uint32_t i = 0; i < s->ndata; i++) {
        enum st st =
            seg_bidx_get(s->part[SEG_PART_BIDX].p + (size_t)i * SEG_BIDX_SIZE, s->base_seq, &e);
        if (st != ST_OK) {
            return st;
        }
        if (e.off < end || e.first_seq < next_seq || e.first_seq + e.span > s->totals.last_seq) {
            return ST_CORRUPT;
        }
        if (i == 0 && e.first_seq != s->totals.first_seq) {
            return ST_CORRUPT;
        }
        end = e.off + SEG_BLOCK_HEAD + e.stored_len;
        next_seq = e.first_seq + e.span + 1;
        msgs += e.nmsgs;
    }
    if (msgs != s->totals.nmsgs || (s->ndata != 0 && next_seq != s->totals.last_seq + 1)) {
        return ST_CORRUPT;
    }
    return ST_OK;
}

enum st seg_sect_parse(const uint8_t *body, size_t len, struct seg_sect *s)
{
    memset(s, 0, sizeof(*s));
    if (len < SEG_SECT_HEAD + SEG_PARTS_MAX * SEG_PART_ENTRY) {
        return ST_CORRUPT;
    }
    uint16_t version = get_u16le(body);
    uint16_t nparts = get_u16le(body + 2);
    if (version != SEG_VERSION) {
        return version > SEG_VERSION ? ST_VERSION : ST_CORRUPT;
    }
    if (get_u32le(body + 4) != 0 || get_u32le(body + 36) != 0) {
        return ST_UNSUPPORTED;
    }
    s->prev_section = get_u64le(body + 8);
    s->base_seq = get_u64le(body + 16);
    s->ndata = get_u32le(body + 24);
    s->nsections = get_u32le(body + 28);
    s->first_data = get_u32le(body + 32);
    if (nparts > SEG_PARTS_MAX || s->base_seq == 0 ||
        s->base_seq > UINT64_MAX - 2 * (uint64_t)SEG_SPAN_MAX) {
        return ST_CORRUPT;
    }
    enum st st = parse_parts(body, len, nparts, s);
    if (st != ST_OK) {
        return st;
    }
    if (s->part[SEG_PART_BIDX].p == NULL || s->part[SEG_PART_DICT].p == NULL ||
        s->part[SEG_PART_POST].p == NULL || s->part[SEG_PART_REMOVED].p == NULL ||
        s->part[SEG_PART_BIDX].len != (uint64_t)s->ndata * SEG_BIDX_SIZE) {
        return ST_CORRUPT;
    }
    st = parse_totals(s);
    return st == ST_OK ? check_bidx(s) : st;
}

void seg_sect_block(const struct seg_sect *s, uint32_t i, struct seg_bidx_disk *e_out)
{
    ASSERT(i < s->ndata);
    enum st st =
        seg_bidx_get(s->part[SEG_PART_BIDX].p + (size_t)i * SEG_BIDX_SIZE, s->base_seq, e_out);
    ASSERT(st == ST_OK); /* seg_sect_parse has seen it */
}

/* --- dictionary and postings ------------------------------------------------------------------ */

struct cursor {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static inline uint64_t take(struct cursor *c)
{
    /* one and two byte numbers are nearly all there are */
    if (c->left > 0 && c->p[0] < 0x80) {
        c->left--;
        return *c->p++;
    }
    uint64_t v = 0;
    size_t n = varint_get(c->p, c->left, &v);
    if (n == 0) {
        c->bad = true;
        c->left = 0;
        return 0;
    }
    c->p += n;
    c->left -= n;
    return v;
}

struct subject_entry {
    uint64_t count, first, last;
    uint64_t post_len, size_len; /* bytes in POST */
    uint64_t min_size;
    enum seg_post_kind kind;
    bool one_size;
};

/* Sequences on their way to the callback, in chunks. */
struct emitter {
    seg_subject_fn fn;
    void *arg;
    const uint8_t *name;
    size_t name_len;
    uint64_t *seqs;
    uint32_t *sizes;
    size_t n;
    struct cursor size; /* of the subject under way; empty with one_size */
    uint64_t min_size;
    bool one_size;
};

static inline void emit(struct emitter *e, uint64_t seq)
{
    uint64_t size = e->min_size + (e->one_size ? 0 : take(&e->size));
    if (size > UINT32_MAX) {
        e->size.bad = true;
    }
    if (e->fn == NULL) {
        return;
    }
    e->sizes[e->n] = (uint32_t)size;
    e->seqs[e->n++] = seq;
    if (e->n == SEG_POST_CHUNK) {
        e->fn(e->arg, e->name, e->name_len, e->seqs, e->sizes, e->n);
        e->n = 0;
    }
}

static bool post_range(const struct subject_entry *s, struct emitter *e)
{
    if (s->last - s->first != s->count - 1) {
        return false;
    }
    /* with nothing to give and one size, there is nothing to look at either */
    for (uint64_t i = 0; (e->fn != NULL || !e->one_size) && i < s->count; i++) {
        emit(e, s->first + i);
    }
    return true;
}

static bool post_gaps(const struct subject_entry *s, struct cursor c, struct emitter *e)
{
    uint64_t seq = s->first;
    emit(e, seq);
    for (uint64_t i = 1; i < s->count; i++) {
        uint64_t gap = take(&c);
        if (c.bad || gap >= s->last - seq) {
            return false;
        }
        seq += gap + 1;
        emit(e, seq);
    }
    return seq == s->last && c.left == 0;
}

static bool post_runs(const struct subject_entry *s, struct cursor c, struct emitter *e)
{
    uint64_t seq = s->first;
    uint64_t left = s->count;
    for (;;) {
        uint64_t run = take(&c);
        if (c.bad || run >= left || run > s->last - seq) {
            return false;
        }
        for (uint64_t i = 0; (e->fn != NULL || !e->one_size) && i <= run; i++) {
            emit(e, seq + i);
        }
        seq += run;
        left -= run + 1;
        if (left == 0) {
            return seq == s->last && c.left == 0;
        }
        uint64_t gap = take(&c);
        if (c.bad || s->last - seq < 2 || gap > s->last - seq - 2) {
            return false;
        }
        seq += gap + 2;
    }
}

static bool post_decode(const struct subject_entry *s, struct cursor c, struct emitter *e)
{
    bool ok = false;
    e->min_size = s->min_size;
    e->one_size = s->one_size;
    switch (s->kind) {
    case SEG_POST_RANGE:
        ok = c.left == 0 && post_range(s, e);
        break;
    case SEG_POST_GAPS:
        ok = post_gaps(s, c, e);
        break;
    case SEG_POST_RUNS:
        ok = post_runs(s, c, e);
        break;
    case SEG_POST_ROARING:
        break;
    }
    ok = ok && !e->size.bad && e->size.left == 0;
    if (ok && e->fn != NULL && e->n != 0) {
        e->fn(e->arg, e->name, e->name_len, e->seqs, e->sizes, e->n);
    }
    e->n = 0;
    return ok;
}

/* Reads one name over the one before it; false when it does not come after it. */
static bool take_name(struct cursor *d, bool restart, uint8_t *name, size_t *name_len)
{
    uint64_t shared = take(d);
    uint64_t suffix = take(d);
    if (d->bad || shared > *name_len || suffix > UINT16_MAX - shared || suffix > d->left ||
        (restart && shared != 0)) {
        return false;
    }
    /* sorted: the first byte that differs is greater, or the name before is a prefix */
    if (shared < *name_len && !restart && (suffix == 0 || d->p[0] <= name[shared])) {
        return false;
    }
    memcpy(name + shared, d->p, (size_t)suffix);
    *name_len = (size_t)(shared + suffix);
    d->p += suffix;
    d->left -= (size_t)suffix;
    return true;
}

static bool take_entry(struct cursor *d, const struct seg_sect *s, struct subject_entry *e)
{
    e->count = take(d);
    uint64_t first = take(d);
    uint64_t span = take(d);
    uint64_t post = take(d);
    e->min_size = take(d);
    e->one_size = (post & SEG_POST_ONE_SIZE) != 0;
    e->size_len = e->one_size ? 0 : take(d);
    if (d->bad || e->count == 0 || e->count > s->totals.nmsgs || first > SEG_SPAN_MAX ||
        span > SEG_SPAN_MAX) {
        return false;
    }
    e->first = s->base_seq + first;
    e->last = e->first + span;
    e->kind = (enum seg_post_kind)(post & 3);
    e->post_len = post >> 3;
    if (e->min_size > UINT32_MAX || (!e->one_size && e->size_len < e->count)) {
        return false;
    }
    return e->first >= s->totals.first_seq && e->last <= s->totals.last_seq && span >= e->count - 1;
}

enum st seg_sect_subjects(const struct seg_sect *s, seg_subject_fn fn, void *arg)
{
    struct cursor d = {.p = s->part[SEG_PART_DICT].p, .left = s->part[SEG_PART_DICT].len};
    struct cursor post = {.p = s->part[SEG_PART_POST].p, .left = s->part[SEG_PART_POST].len};
    uint64_t nrestarts = (s->totals.subjects + SEG_DICT_RESTART - 1) / SEG_DICT_RESTART;
    if (d.left < 4 || get_u32le(d.p) != nrestarts || (d.left - 4) / 8 < nrestarts) {
        return ST_CORRUPT;
    }
    d.p += 4 + nrestarts * 8;
    d.left -= 4 + (size_t)nrestarts * 8;
    uint8_t *name = base_malloc(UINT16_MAX + 1);
    size_t name_len = 0;
    struct emitter em = {.fn = fn, .arg = arg, .name = name};
    if (fn != NULL) {
        em.seqs = base_malloc(SEG_POST_CHUNK * sizeof(*em.seqs));
        em.sizes = base_malloc(SEG_POST_CHUNK * sizeof(*em.sizes));
    }
    uint64_t total = 0;
    bool ok = true;
    for (uint64_t i = 0; ok && i < s->totals.subjects; i++) {
        struct subject_entry e;
        ok = take_name(&d, i % SEG_DICT_RESTART == 0, name, &name_len) && take_entry(&d, s, &e) &&
             e.post_len <= post.left && e.size_len <= post.left - e.post_len;
        if (ok) {
            em.name_len = name_len;
            em.size = (struct cursor){.p = post.p + e.post_len, .left = (size_t)e.size_len};
            ok = post_decode(&e, (struct cursor){.p = post.p, .left = (size_t)e.post_len}, &em);
            post.p += e.post_len + e.size_len;
            post.left -= (size_t)(e.post_len + e.size_len);
            total += e.count;
        }
    }
    base_free(em.sizes);
    base_free(em.seqs);
    base_free(name);
    return ok && total == s->totals.nmsgs && post.left == 0 && d.left == 0 ? ST_OK : ST_CORRUPT;
}

/* --- expiries and removals -------------------------------------------------------------------- */

enum st seg_sect_ttl(const struct seg_sect *s, seg_ttl_fn fn, void *arg)
{
    struct cursor c = {.p = s->part[SEG_PART_TTL].p, .left = s->part[SEG_PART_TTL].len};
    if (c.p == NULL) {
        return ST_OK;
    }
    uint32_t count = s->part[SEG_PART_TTL].count;
    if (c.left < 8 || count > s->totals.nmsgs) {
        return ST_CORRUPT;
    }
    uint64_t base = get_u64le(c.p);
    c.p += 8;
    c.left -= 8;
    uint64_t seq = s->base_seq;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t gap = take(&c);
        uint64_t after = take(&c);
        if (c.bad || gap > s->totals.last_seq - seq || (i != 0 && gap == 0)) {
            return ST_CORRUPT;
        }
        seq += gap;
        if (seq < s->totals.first_seq || after > (uint64_t)INT64_MAX - (base & INT64_MAX) ||
            base > INT64_MAX) {
            return ST_CORRUPT;
        }
        if (fn != NULL) {
            fn(arg, seq, (int64_t)(base + after));
        }
    }
    return c.left == 0 ? ST_OK : ST_CORRUPT;
}

enum st seg_sect_removed(const struct seg_sect *s, uint64_t *floor_out, struct seq_runs *runs)
{
    const uint8_t *p = s->part[SEG_PART_REMOVED].p;
    size_t len = s->part[SEG_PART_REMOVED].len;
    if (len < 8) {
        return ST_CORRUPT;
    }
    *floor_out = get_u64le(p);
    size_t used = 0;
    enum st st = seq_runs_get(p + 8, len - 8, &used, runs);
    if (st == ST_OK && used != len - 8) {
        st = ST_CORRUPT;
    }
    return st;
}

enum st seg_sect_check(const struct seg_sect *s)
{
    enum st st = seg_sect_subjects(s, NULL, NULL);
    if (st == ST_OK) {
        st = seg_sect_ttl(s, NULL, NULL);
    }
    if (st == ST_OK) {
        struct seq_runs runs = {0};
        uint64_t floor;
        st = seg_sect_removed(s, &floor, &runs);
        seq_runs_fini(&runs);
    }
    return st;
}
