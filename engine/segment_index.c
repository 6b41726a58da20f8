/* Gathering and encoding of index sections (segment_index.h). */
#include "engine/segment_index.h"

#include <stdlib.h>

#define NONE UINT32_MAX

/* --- gathering -------------------------------------------------------------------------------- */

void segidx_init(struct segidx *x, uint64_t base_seq, uint64_t hash_seed)
{
    memset(x, 0, sizeof(*x));
    x->base_seq = base_seq;
    x->hash_seed = hash_seed;
}

void segidx_fini(struct segidx *x)
{
    base_free(x->blocks);
    base_free(x->names);
    base_free(x->subj);
    base_free(x->table);
    base_free(x->delta);
    base_free(x->size);
    base_free(x->next);
    base_free(x->ttl);
    seq_runs_fini(&x->removed);
    memset(x, 0, sizeof(*x));
}

/* The new capacity of an array that needs room for `need` elements. */
static size_t grown(size_t cap, size_t need)
{
    size_t want = cap < 64 ? 64 : cap + cap / 2;
    return want < need ? need : want;
}

void segidx_add_block(struct segidx *x, const struct seg_bidx_disk *e)
{
    if (x->nblocks == x->blocks_cap) {
        x->blocks_cap = grown(x->blocks_cap, x->nblocks + 1);
        x->blocks = base_realloc(x->blocks, x->blocks_cap * sizeof(*x->blocks));
    }
    x->blocks[x->nblocks++] = *e;
}

static void table_put(struct segidx *x, uint32_t subj_no, uint64_t hash)
{
    size_t mask = x->table_cap - 1;
    size_t i = (size_t)hash & mask;
    while (x->table[i] != 0) {
        i = (i + 1) & mask;
    }
    x->table[i] = subj_no + 1;
}

static void table_grow(struct segidx *x)
{
    base_free(x->table);
    x->table_cap = x->table_cap == 0 ? 256 : x->table_cap * 2;
    x->table = base_calloc(x->table_cap, sizeof(*x->table));
    for (size_t i = 0; i < x->nsubj; i++) {
        const struct segidx_subject *s = &x->subj[i];
        table_put(x, (uint32_t)i, hash64(x->hash_seed, x->names + s->name_off, s->name_len));
    }
}

static struct segidx_subject *subject_add(struct segidx *x, const uint8_t *name, size_t len,
                                          uint64_t hash)
{
    if (x->nsubj == x->subj_cap) {
        x->subj_cap = grown(x->subj_cap, x->nsubj + 1);
        x->subj = base_realloc(x->subj, x->subj_cap * sizeof(*x->subj));
    }
    if (x->names_cap - x->names_len <= len) { /* one to spare: not NULL for an empty subject */
        x->names_cap = grown(x->names_cap, x->names_len + len + 1);
        x->names = base_realloc(x->names, x->names_cap);
    }
    memcpy(x->names + x->names_len, name, len);
    struct segidx_subject *s = &x->subj[x->nsubj];
    *s = (struct segidx_subject){
        .name_off = x->names_len, .name_len = (uint32_t)len, .head = NONE, .tail = NONE};
    x->names_len += len;
    x->nsubj++;
    table_put(x, (uint32_t)(x->nsubj - 1), hash);
    return s;
}

static struct segidx_subject *subject_get(struct segidx *x, const uint8_t *name, size_t len)
{
    if ((x->nsubj + 1) * 2 > x->table_cap) {
        table_grow(x);
    }
    uint64_t hash = hash64(x->hash_seed, name, len);
    size_t mask = x->table_cap - 1;
    for (size_t i = (size_t)hash & mask; x->table[i] != 0; i = (i + 1) & mask) {
        struct segidx_subject *s = &x->subj[x->table[i] - 1];
        if (s->name_len == len && memcmp(x->names + s->name_off, name, len) == 0) {
            return s;
        }
    }
    return subject_add(x, name, len, hash);
}

static void posting_add(struct segidx *x, struct segidx_subject *s, uint64_t seq, uint32_t size)
{
    ASSERT(seq >= x->base_seq && seq - x->base_seq <= SEG_SPAN_MAX);
    if (x->nmsgs == x->msgs_cap) {
        x->msgs_cap = grown(x->msgs_cap, x->nmsgs + 1);
        x->delta = base_realloc(x->delta, x->msgs_cap * sizeof(*x->delta));
        x->size = base_realloc(x->size, x->msgs_cap * sizeof(*x->size));
        x->next = base_realloc(x->next, x->msgs_cap * sizeof(*x->next));
    }
    uint32_t pos = (uint32_t)x->nmsgs++;
    x->delta[pos] = (uint32_t)(seq - x->base_seq);
    x->size[pos] = size;
    x->next[pos] = NONE;
    if (s->tail == NONE) {
        s->head = pos;
    } else {
        ASSERT(x->delta[s->tail] < x->delta[pos]);
        x->next[s->tail] = pos;
    }
    s->tail = pos;
    s->count++;
}

static void ttl_add(struct segidx *x, uint64_t seq, int64_t expire_ns)
{
    if (x->nttl == x->ttl_cap) {
        x->ttl_cap = grown(x->ttl_cap, x->nttl + 1);
        x->ttl = base_realloc(x->ttl, x->ttl_cap * sizeof(*x->ttl));
    }
    x->ttl[x->nttl++] = (struct segidx_ttl){.seq = seq, .expire_ns = expire_ns};
}

static void totals_merge(struct seg_totals *t, const struct seg_totals *o)
{
    if (o->min_expiry != 0 && (t->min_expiry == 0 || o->min_expiry < t->min_expiry)) {
        t->min_expiry = o->min_expiry;
    }
    if (o->nmsgs == 0) {
        return;
    }
    bool first = t->nmsgs == 0;
    t->first_seq = first ? o->first_seq : u64_min(t->first_seq, o->first_seq);
    t->last_seq = u64_max(t->last_seq, o->last_seq);
    t->min_ts = first || o->min_ts < t->min_ts ? o->min_ts : t->min_ts;
    t->max_ts = first ? o->max_ts : i64_max(t->max_ts, o->max_ts);
    t->nmsgs += o->nmsgs;
    t->raw_bytes += o->raw_bytes;
    t->logical_bytes += o->logical_bytes;
}

void segidx_add_msg(struct segidx *x, const struct msg *m, uint32_t form_len, int64_t expire_ns)
{
    uint64_t logical = msg_logical_size(m->subj_len, m->hdr_len, m->data_len);
    posting_add(x, subject_get(x, m->subj, m->subj_len), m->seq, (uint32_t)logical);
    if (expire_ns != 0) {
        ttl_add(x, m->seq, expire_ns);
    }
    totals_merge(&x->totals, &(struct seg_totals){
                                 .nmsgs = 1,
                                 .raw_bytes = form_len,
                                 .logical_bytes = logical,
                                 .first_seq = m->seq,
                                 .last_seq = m->seq,
                                 .min_ts = m->ts_ns,
                                 .max_ts = m->ts_ns,
                                 .min_expiry = expire_ns,
                             });
}

void segidx_add_removed(struct segidx *x, uint64_t floor, const struct seq_runs *runs)
{
    x->floor = u64_max(x->floor, floor);
    for (size_t i = 0; runs != NULL && i < runs->n; i++) {
        seq_runs_add_run(&x->removed, runs->v[i].first, runs->v[i].count);
    }
}

/* --- encoding --------------------------------------------------------------------------------- */

struct obuf {
    uint8_t *p;
    size_t len, cap;
};

static uint8_t *obuf_room(struct obuf *b, size_t n)
{
    if (b->cap - b->len < n) {
        b->cap = grown(b->cap, b->len + n);
        b->p = base_realloc(b->p, b->cap);
    }
    return b->p + b->len;
}

static void obuf_varint(struct obuf *b, uint64_t v)
{
    b->len += varint_put(obuf_room(b, 10), v);
}

static void obuf_zero(struct obuf *b, size_t n)
{
    memset(obuf_room(b, n), 0, n);
    b->len += n;
}

static void obuf_bytes(struct obuf *b, const void *p, size_t n)
{
    if (n != 0) {
        memcpy(obuf_room(b, n), p, n);
        b->len += n;
    }
}

static int name_cmp(const void *a, const void *b, void *arg)
{
    const struct segidx *x = arg;
    const struct segidx_subject *s = &x->subj[*(const uint32_t *)a];
    const struct segidx_subject *t = &x->subj[*(const uint32_t *)b];
    size_t n = s->name_len < t->name_len ? s->name_len : t->name_len;
    int c = memcmp(x->names + s->name_off, x->names + t->name_off, n);
    return c != 0 ? c : (s->name_len < t->name_len ? -1 : s->name_len > t->name_len);
}

/* Numbers of runs of adjacent sequences of a subject. */
static uint32_t count_runs(const struct segidx *x, const struct segidx_subject *s)
{
    uint32_t runs = 1;
    for (uint32_t p = s->head; x->next[p] != NONE; p = x->next[p]) {
        runs += x->delta[x->next[p]] != x->delta[p] + 1;
    }
    return runs;
}

static void put_gaps(struct obuf *post, const struct segidx *x, const struct segidx_subject *s)
{
    for (uint32_t p = s->head; x->next[p] != NONE; p = x->next[p]) {
        obuf_varint(post, x->delta[x->next[p]] - x->delta[p] - 1);
    }
}

static void put_runs(struct obuf *post, const struct segidx *x, const struct segidx_subject *s)
{
    uint32_t p = s->head;
    for (;;) {
        uint32_t start = x->delta[p];
        while (x->next[p] != NONE && x->delta[x->next[p]] == x->delta[p] + 1) {
            p = x->next[p];
        }
        obuf_varint(post, x->delta[p] - start);
        uint32_t end = x->delta[p];
        p = x->next[p];
        if (p == NONE) {
            return;
        }
        obuf_varint(post, x->delta[p] - end - 2);
    }
}

static enum seg_post_kind put_postings(struct obuf *post, const struct segidx *x,
                                       const struct segidx_subject *s)
{
    uint32_t runs = count_runs(x, s);
    if (runs == 1) {
        return SEG_POST_RANGE;
    }
    if (runs < s->count / 3) {
        put_runs(post, x, s);
        return SEG_POST_RUNS;
    }
    put_gaps(post, x, s);
    return SEG_POST_GAPS;
}

/* Smallest logical size of a subject's messages, and whether all have it. */
static uint32_t min_size(const struct segidx *x, const struct segidx_subject *s, bool *all_equal)
{
    uint32_t min = x->size[s->head];
    *all_equal = true;
    for (uint32_t p = x->next[s->head]; p != NONE; p = x->next[p]) {
        *all_equal = *all_equal && x->size[p] == x->size[s->head];
        min = x->size[p] < min ? x->size[p] : min;
    }
    return min;
}

/* Postings and sizes of one subject into POST, and what finds them there into DICT. */
static void put_lists(struct obuf *dict, struct obuf *post, const struct segidx *x,
                      const struct segidx_subject *s)
{
    bool all_equal;
    uint32_t min = min_size(x, s, &all_equal);
    size_t start = post->len;
    enum seg_post_kind kind = put_postings(post, x, s);
    obuf_varint(dict, (uint64_t)(post->len - start) << 3 | (all_equal ? SEG_POST_ONE_SIZE : 0) |
                          (uint64_t)kind);
    obuf_varint(dict, min);
    if (all_equal) {
        return;
    }
    start = post->len;
    for (uint32_t p = s->head; p != NONE; p = x->next[p]) {
        obuf_varint(post, x->size[p] - min);
    }
    obuf_varint(dict, post->len - start);
}

static size_t common_prefix(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len;
    size_t i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    return i;
}

/* DICT: u32 number of restarts, per restart its offsets in DICT entries and in POST, then the
 * entries. */
static void put_dict(struct obuf *dict, struct obuf *post, struct segidx *x)
{
    uint32_t *order = base_malloc((x->nsubj + 1) * sizeof(*order));
    for (size_t i = 0; i < x->nsubj; i++) {
        order[i] = (uint32_t)i;
    }
    qsort_r(order, x->nsubj, sizeof(*order), name_cmp, x);
    size_t nrestarts = (x->nsubj + SEG_DICT_RESTART - 1) / SEG_DICT_RESTART;
    obuf_zero(dict, 4 + nrestarts * 8);
    put_u32le(dict->p, (uint32_t)nrestarts);
    size_t entries = dict->len;
    const struct segidx_subject *prev = NULL;
    for (size_t i = 0; i < x->nsubj; i++) {
        const struct segidx_subject *s = &x->subj[order[i]];
        const uint8_t *name = x->names + s->name_off;
        size_t shared = 0;
        if (i % SEG_DICT_RESTART == 0) {
            uint8_t *r = dict->p + 4 + i / SEG_DICT_RESTART * 8;
            put_u32le(r, (uint32_t)(dict->len - entries));
            put_u32le(r + 4, (uint32_t)post->len);
        } else {
            shared = common_prefix(x->names + prev->name_off, prev->name_len, name, s->name_len);
        }
        obuf_varint(dict, shared);
        obuf_varint(dict, s->name_len - shared);
        obuf_bytes(dict, name + shared, s->name_len - shared);
        obuf_varint(dict, s->count);
        obuf_varint(dict, x->delta[s->head]);
        obuf_varint(dict, x->delta[s->tail] - x->delta[s->head]);
        put_lists(dict, post, x, s);
        prev = s;
    }
    base_free(order);
}

static void put_ttl(struct obuf *b, const struct segidx *x)
{
    int64_t base = x->totals.min_expiry;
    put_u64le(obuf_room(b, 8), (uint64_t)base);
    b->len += 8;
    uint64_t at = x->base_seq;
    for (size_t i = 0; i < x->nttl; i++) {
        obuf_varint(b, x->ttl[i].seq - at);
        obuf_varint(b, (uint64_t)x->ttl[i].expire_ns - (uint64_t)base);
        at = x->ttl[i].seq;
    }
}

static void put_totals(struct obuf *b, const struct seg_totals *t)
{
    uint8_t *p = obuf_room(b, SEG_TOTALS_SIZE);
    put_u64le(p, t->nmsgs);
    put_u64le(p + 8, t->raw_bytes);
    put_u64le(p + 16, t->logical_bytes);
    put_u64le(p + 24, t->first_seq);
    put_u64le(p + 32, t->last_seq);
    put_u64le(p + 40, (uint64_t)t->min_ts);
    put_u64le(p + 48, (uint64_t)t->max_ts);
    put_u64le(p + 56, (uint64_t)t->min_expiry);
    put_u64le(p + 64, t->subjects);
    b->len += SEG_TOTALS_SIZE;
}

/* Notes a part in the directory and pads behind it. `start` is where it begins in the body. */
static void part_end(struct obuf *b, unsigned *nparts, enum seg_part type, size_t start,
                     size_t count)
{
    uint8_t *e = b->p + SEG_SECT_HEAD + *nparts * SEG_PART_ENTRY;
    put_u32le(e, (uint32_t)type);
    put_u32le(e + 4, (uint32_t)start);
    put_u32le(e + 8, (uint32_t)(b->len - start));
    put_u32le(e + 12, (uint32_t)count);
    ++*nparts;
    obuf_zero(b, (size_t)(align_up(b->len, 8) - b->len));
}

static void put_parts(struct obuf *b, struct segidx *x, unsigned *nparts)
{
    size_t start = b->len;
    for (size_t i = 0; i < x->nblocks; i++) {
        seg_bidx_put(obuf_room(b, SEG_BIDX_SIZE), &x->blocks[i], x->base_seq);
        b->len += SEG_BIDX_SIZE;
    }
    part_end(b, nparts, SEG_PART_BIDX, start, x->nblocks);

    struct obuf post = {0};
    start = b->len;
    struct obuf dict = {0};
    put_dict(&dict, &post, x);
    obuf_bytes(b, dict.p, dict.len);
    base_free(dict.p);
    part_end(b, nparts, SEG_PART_DICT, start, x->nsubj);
    start = b->len;
    obuf_bytes(b, post.p, post.len);
    base_free(post.p);
    part_end(b, nparts, SEG_PART_POST, start, x->nmsgs);

    if (x->nttl != 0) {
        start = b->len;
        put_ttl(b, x);
        part_end(b, nparts, SEG_PART_TTL, start, x->nttl);
    }
    start = b->len;
    put_u64le(obuf_room(b, 8), x->floor);
    b->len += 8;
    b->len += seq_runs_put(obuf_room(b, seq_runs_size(&x->removed)), &x->removed);
    part_end(b, nparts, SEG_PART_REMOVED, start, x->removed.n);
    start = b->len;
    x->totals.subjects = x->nsubj;
    put_totals(b, &x->totals);
    part_end(b, nparts, SEG_PART_TOTALS, start, 1);
}

enum st segidx_encode(struct segidx *x, uint64_t prev_section, uint32_t nsections,
                      uint32_t first_data, uint8_t **out, size_t *len_out)
{
    *out = NULL;
    *len_out = 0;
    struct obuf b = {0};
    unsigned nparts = 0;
    obuf_zero(&b, SEG_SECT_HEAD + SEG_PARTS_MAX * SEG_PART_ENTRY);
    put_parts(&b, x, &nparts);
    if (b.len > SEG_RAW_MAX) {
        base_free(b.p);
        return ST_TOOBIG;
    }
    put_u16le(b.p, SEG_VERSION);
    put_u16le(b.p + 2, (uint16_t)nparts);
    put_u64le(b.p + 8, prev_section);
    put_u64le(b.p + 16, x->base_seq);
    put_u32le(b.p + 24, (uint32_t)x->nblocks);
    put_u32le(b.p + 28, nsections);
    put_u32le(b.p + 32, first_data);
    *out = b.p;
    *len_out = b.len;
    return ST_OK;
}

/* --- merging ---------------------------------------------------------------------------------- */

static void merge_ttl(void *arg, uint64_t seq, int64_t expire_ns)
{
    ttl_add(arg, seq, expire_ns);
}

static void merge_subject(void *arg, const uint8_t *subj, size_t len, const uint64_t *seqs,
                          const uint32_t *sizes, size_t n)
{
    struct segidx *x = arg;
    struct segidx_subject *s = subject_get(x, subj, len);
    for (size_t i = 0; i < n; i++) {
        posting_add(x, s, seqs[i], sizes[i]);
    }
}

enum st segidx_add_sect(struct segidx *x, const struct seg_sect *s)
{
    struct seg_bidx_disk e;
    for (uint32_t i = 0; i < s->ndata; i++) {
        seg_sect_block(s, i, &e);
        segidx_add_block(x, &e);
    }
    enum st st = seg_sect_subjects(s, merge_subject, x);
    if (st == ST_OK) {
        st = seg_sect_ttl(s, merge_ttl, x);
    }
    uint64_t floor = 0;
    if (st == ST_OK) {
        st = seg_sect_removed(s, &floor, &x->removed);
    }
    x->floor = u64_max(x->floor, floor);
    totals_merge(&x->totals, &s->totals);
    return st;
}

void segidx_subjects(const struct segidx *x, seg_subject_fn fn, void *arg)
{
    uint64_t *seqs = base_malloc(SEG_POST_CHUNK * sizeof(*seqs));
    uint32_t *sizes = base_malloc(SEG_POST_CHUNK * sizeof(*sizes));
    for (size_t i = 0; i < x->nsubj; i++) {
        const struct segidx_subject *s = &x->subj[i];
        size_t n = 0;
        for (uint32_t p = s->head; p != NONE; p = x->next[p]) {
            sizes[n] = x->size[p];
            seqs[n++] = x->base_seq + x->delta[p];
            if (n == SEG_POST_CHUNK || x->next[p] == NONE) {
                fn(arg, x->names + s->name_off, s->name_len, seqs, sizes, n);
                n = 0;
            }
        }
    }
    base_free(sizes);
    base_free(seqs);
}
